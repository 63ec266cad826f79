//! Recipients: who is given records under pseudonyms of its own (privacy.md 1.3, chaining mode).
//!
//! A recipient is a name in the vault's file. Its keys, one for each epoch, are derived when ingest
//! is handed its lease; a new epoch brings them along. They turn a lake pseudonym into the
//! recipient's and never back, so what the recipient returns can be matched without a number being
//! opened.

use super::epochs::{EpochError, Passphrases, check_ingest, hand_over, io, lock_vault, vault_key_file};
use super::events::{self, RecipientEvent};
use super::keystore::KeyStore;
use crate::clock::Clock;
use crate::keyfile::Passphrase;
use std::path::Path;

/// What `recipient add` did.
#[derive(Debug, PartialEq, Eq)]
pub struct Added {
    /// False: it was registered already.
    pub new: bool,
    /// `ingest/keys.age` was written anew.
    pub handed_over: bool,
}

/// Registers `name` and hands its keys to ingest; repeating is harmless.
pub fn add(site: &Path, passphrases: Passphrases, name: &str, clock: &dyn Clock) -> Result<Added, EpochError> {
    let _lock = lock_vault(site)?;
    let mut store = KeyStore::open(&vault_key_file(site), passphrases.vault)?;
    let new = store.add_recipient(name);
    if new {
        check_ingest(site, &passphrases.ingest)?;
        store.save()?;
        let event =
            RecipientEvent { time: events::timestamp(clock.now_ms()), event: "recipient-added", recipient: name };
        let vault = site.join("vault");
        events::append(&vault, &[event]).map_err(|e| io(&vault, &e))?;
    }
    let handed_over = hand_over(site, &store, &passphrases.ingest)?;
    Ok(Added { new, handed_over })
}

/// All names, in order.
pub fn list(site: &Path, vault: Passphrase) -> Result<Vec<String>, EpochError> {
    let store = KeyStore::open(&vault_key_file(site), vault)?;
    Ok(store.recipients().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MockClock;
    use crate::keyfile::IngestKeyFile;
    use crate::keys::{KeyRing, KeySource};
    use crate::record::time::{Epoch, MS_PER_DAY};
    use crate::vault::epoch_key::EpochKey;
    use crate::vault::epochs::{create, ingest_key_file};
    use zeroize::Zeroizing;

    fn passphrases(ingest: &str) -> Passphrases {
        let phrase = |text: &str| Passphrase::new(Zeroizing::new(text.to_owned())).unwrap();
        Passphrases { vault: phrase("v"), ingest: phrase(ingest) }
    }

    /// A site whose one epoch has the key of the documented vectors.
    fn site() -> (tempfile::TempDir, MockClock) {
        let (dir, clock) = (tempfile::tempdir().unwrap(), MockClock::at_ms(20_779 * MS_PER_DAY));
        for folder in ["vault", "ingest"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let mut store = KeyStore::new(&vault_key_file(dir.path()), passphrases("i").vault);
        store.import_epoch(epoch("2026-11"), EpochKey::from_bytes(std::array::from_fn(|i| i as u8)));
        store.save().unwrap();
        (dir, clock)
    }

    fn epoch(text: &str) -> Epoch {
        text.parse().unwrap()
    }

    fn ring(site: &Path) -> KeyRing {
        IngestKeyFile::open(&ingest_key_file(site), passphrases("i").ingest).unwrap().refresh().unwrap().unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn ingest_is_handed_the_documented_key_of_every_epoch_new_ones_included() {
        let (dir, clock) = site();
        let name = "acme/contract-17";
        assert_eq!(add(dir.path(), passphrases("i"), name, &clock).unwrap(), Added { new: true, handed_over: true });
        assert_eq!(add(dir.path(), passphrases("i"), name, &clock).unwrap(), Added { new: false, handed_over: false });
        assert!(add(dir.path(), passphrases("i"), "desk", &clock).unwrap().new);
        assert_eq!(list(dir.path(), passphrases("i").vault).unwrap(), [name, "desk"]);
        create(dir.path(), passphrases("i"), epoch("2026-12"), epoch("2026-12"), &clock).unwrap();
        let ring = ring(dir.path());
        let of = |e: &str, name: &str| hex(ring.epochs[&epoch(e)].recipients[name].expose());
        assert_eq!(of("2026-11", name), "a2d76533bc742e02c542287fcb19682746a47fd16d7130273dcecd93724bb402");
        let all = [of("2026-11", name), of("2026-11", "desk"), of("2026-12", name), of("2026-12", "desk")];
        assert!((0..4).all(|i| !all[..i].contains(&all[i])), "each has keys of its own");
        let events = std::fs::read_to_string(dir.path().join("vault/events.jsonl")).unwrap();
        assert!(events.starts_with("{\"time\":\"2026-11-22T00:00:00Z\",\"event\":\"recipient-added\""), "{events}");
        assert_eq!(events.lines().filter(|l| l.contains("recipient-added")).count(), 2);
    }

    #[test]
    fn a_wrong_passphrase_registers_nobody() {
        let (dir, clock) = site();
        add(dir.path(), passphrases("i"), "desk", &clock).unwrap();
        assert!(add(dir.path(), passphrases("x"), "other", &clock).is_err());
        assert_eq!(list(dir.path(), passphrases("i").vault).unwrap(), ["desk"]);
    }
}
