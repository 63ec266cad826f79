//! Epochs of a site: make them, bring one in from outside, list them, and hand the lease to ingest.
//!
//! Order of every change: vault file, event log, ingest file. A crash in between leaves the vault
//! ahead, and the next command (`ensure` at the latest) hands over what ingest lacks.

use super::epoch_key::EpochKey;
use super::events::{self, Event};
use super::keystore::{EpochState, KeyStore};
use super::sealed_epochs::{SealedError, sealed_epochs};
use crate::clock::Clock;
use crate::keyfile::{self, LeaseLock, Passphrase, WriteError};
use crate::keys::KeyError;
use crate::record::time::{Day, Epoch};
use rustix::fs::FlockOperation;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// One command makes at most this many: 20 years. More is a typing error.
const MAX_EPOCHS_AT_ONCE: i32 = 240;

/// Where the key files of a site stand.
pub fn vault_key_file(site: &Path) -> PathBuf {
    site.join("vault/keys.age")
}

pub fn ingest_key_file(site: &Path) -> PathBuf {
    site.join("ingest/keys.age")
}

/// Both passphrases of a site: the vault's, and the one under which ingest is handed its lease.
pub struct Passphrases {
    pub vault: Passphrase,
    pub ingest: Passphrase,
}

#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Sealed(#[from] SealedError),
    #[error("cannot work in {path}: {reason}")]
    Io { path: String, reason: String },
    #[error("{0} exists already; remove it by hand if the site is to be made anew")]
    Exists(String),
    #[error("the last epoch, {last}, is before the first, {first}")]
    Backwards { first: Epoch, last: Epoch },
    #[error("{first} to {last} is more than {MAX_EPOCHS_AT_ONCE} months; make them in steps if that is meant")]
    TooMany { first: Epoch, last: Epoch },
    #[error(
        "epoch {0} has sealed records already: replacing its key would cut them off. Import into an epoch that is \
         still empty, or migrate before the first ingest"
    )]
    AlreadySealed(Epoch),
    #[error("an ingest is running with the present keys; stop it, then import")]
    IngestRunning,
}

/// What a command did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub created: Vec<Epoch>,
    /// Asked for, but there already; left alone.
    pub kept: Vec<Epoch>,
    /// `ingest/keys.age` was written anew.
    pub handed_over: bool,
}

/// Makes both key files of a new site, with the previous, the current and the next epoch.
pub fn init(site: &Path, passphrases: Passphrases, clock: &dyn Clock) -> Result<Outcome, EpochError> {
    // Locked first: of two that make one site, the second must see the keys of the first.
    let _lock = lock_vault(site)?;
    for file in [vault_key_file(site), ingest_key_file(site)] {
        if file.exists() {
            return Err(EpochError::Exists(file.display().to_string()));
        }
    }
    let now = Day::of_ms(clock.now_ms()).epoch();
    let mut store = KeyStore::new(&vault_key_file(site), passphrases.vault);
    let created: Vec<Epoch> = [now.previous(), now, now.next()].into();
    for epoch in &created {
        store.create_epoch(*epoch);
    }
    store.save()?;
    log(site, clock, &store, "epoch-created", &created, None)?;
    keyfile::write(&ingest_key_file(site), &passphrases.ingest, &keyfile::ring_text(&store.lease()))?;
    Ok(Outcome { created, kept: Vec::new(), handed_over: true })
}

/// Makes the epochs from `first` to `last`, both included; those that exist are left alone.
pub fn create(
    site: &Path,
    passphrases: Passphrases,
    first: Epoch,
    last: Epoch,
    clock: &dyn Clock,
) -> Result<Outcome, EpochError> {
    if last < first {
        return Err(EpochError::Backwards { first, last });
    }
    if last.0 - first.0 >= MAX_EPOCHS_AT_ONCE {
        return Err(EpochError::TooMany { first, last });
    }
    let _lock = lock_vault(site)?;
    let mut store = KeyStore::open(&vault_key_file(site), passphrases.vault)?;
    let (created, kept): (Vec<Epoch>, Vec<Epoch>) = (first.0..=last.0).map(Epoch).partition(|e| store.create_epoch(*e));
    if !created.is_empty() {
        check_ingest(site, &passphrases.ingest)?;
        store.save()?;
        log(site, clock, &store, "epoch-created", &created, None)?;
    }
    let handed_over = hand_over(site, &store, &passphrases.ingest)?;
    Ok(Outcome { created, kept, handed_over })
}

/// Makes the current and the next epoch if they are missing, and hands over what ingest lacks.
/// Made for a timer: changes nothing when nothing is due.
pub fn ensure(site: &Path, passphrases: Passphrases, clock: &dyn Clock) -> Result<Outcome, EpochError> {
    let now = Day::of_ms(clock.now_ms()).epoch();
    create(site, passphrases, now, now.next(), clock)
}

/// Puts a key from outside in the place of an epoch that has sealed nothing yet.
pub fn import(
    site: &Path,
    passphrases: Passphrases,
    epoch: Epoch,
    key: EpochKey,
    clock: &dyn Clock,
) -> Result<Outcome, EpochError> {
    let _lock = lock_vault(site)?;
    let ingest = ingest_key_file(site);
    let mut store = KeyStore::open(&vault_key_file(site), passphrases.vault)?;
    check_ingest(site, &passphrases.ingest)?;
    let _nobody_ingests =
        LeaseLock::exclusive(&ingest).map_err(|e| io(&ingest, &e))?.ok_or(EpochError::IngestRunning)?;
    if sealed_epochs(site)?.contains(&epoch) {
        return Err(EpochError::AlreadySealed(epoch));
    }
    let replaced = store.epoch(epoch).map(|secret| secret.key.commitment());
    store.import_epoch(epoch, key);
    store.save()?;
    log(site, clock, &store, "epoch-imported", &[epoch], replaced)?;
    let handed_over = hand_over(site, &store, &passphrases.ingest)?;
    Ok(Outcome { created: vec![epoch], kept: Vec::new(), handed_over })
}

/// One line of `epoch list`.
pub struct EpochLine {
    pub epoch: Epoch,
    pub generation: u32,
    pub state: EpochState,
    pub imported: bool,
    /// It has sealed something, so its key can no longer be replaced.
    pub sealed: bool,
    pub commitment: String,
}

/// All epochs, oldest first.
pub fn list(site: &Path, vault: Passphrase) -> Result<Vec<EpochLine>, EpochError> {
    let store = KeyStore::open(&vault_key_file(site), vault)?;
    let sealed = sealed_epochs(site)?;
    let lines = store.epochs().map(|(epoch, secret)| EpochLine {
        epoch,
        generation: secret.generation,
        state: secret.state,
        imported: secret.imported,
        sealed: sealed.contains(&epoch),
        commitment: secret.key.commitment(),
    });
    Ok(lines.collect())
}

/// Before anything changes: with a wrong passphrase the vault must not get ahead of ingest.
pub(super) fn check_ingest(site: &Path, passphrase: &Passphrase) -> Result<(), EpochError> {
    let path = ingest_key_file(site);
    if path.exists() {
        keyfile::read(&path, passphrase)?;
    }
    Ok(())
}

/// Writes `ingest/keys.age` unless it says the same already; `true` if it was written.
pub(super) fn hand_over(site: &Path, store: &KeyStore, passphrase: &Passphrase) -> Result<bool, EpochError> {
    let path = ingest_key_file(site);
    let due = keyfile::ring_text(&store.lease());
    // A wrong passphrase must stop here: writing would lock the running ingest out of its own keys.
    if path.exists() && *keyfile::read(&path, passphrase)? == *due {
        return Ok(false);
    }
    keyfile::write(&path, passphrase, &due)?;
    Ok(true)
}

fn log(
    site: &Path,
    clock: &dyn Clock,
    store: &KeyStore,
    event: &str,
    epochs: &[Epoch],
    replaced: Option<String>,
) -> Result<(), EpochError> {
    let time = events::timestamp(clock.now_ms());
    let lines: Vec<Event<'_>> = epochs
        .iter()
        .filter_map(|epoch| Some((epoch, store.epoch(*epoch)?)))
        .map(|(epoch, secret)| Event {
            time: time.clone(),
            event,
            epoch: epoch.to_string(),
            generation: secret.generation,
            commitment: secret.key.commitment(),
            replaced: replaced.clone(),
        })
        .collect();
    let vault = site.join("vault");
    events::append(&vault, &lines).map_err(|e| io(&vault, &e))
}

/// One command at a time changes the vault's keys; a second waits.
pub(super) fn lock_vault(site: &Path) -> Result<File, EpochError> {
    let path = site.join("vault/keys.lock");
    let take = || -> std::io::Result<File> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    };
    if !fs::exists(site.join("vault")).unwrap_or(false) {
        return Err(EpochError::Io {
            path: site.join("vault").display().to_string(),
            reason: "there is no such folder; `cdrveil init` makes a site".into(),
        });
    }
    take().map_err(|e| io(&path, &e))
}

pub(super) fn io(path: &Path, error: &std::io::Error) -> EpochError {
    EpochError::Io { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MockClock;
    use crate::keyfile::IngestKeyFile;
    use crate::keys::{KeyRing, KeySource};
    use crate::record::time::MS_PER_DAY;
    use std::sync::OnceLock;
    use zeroize::Zeroizing;

    fn passphrases(vault: &str, ingest: &str) -> Passphrases {
        let phrase = |text: &str| Passphrase::new(Zeroizing::new(text.to_owned())).unwrap();
        Passphrases { vault: phrase(vault), ingest: phrase(ingest) }
    }

    fn both() -> Passphrases {
        passphrases("v", "i")
    }

    fn epoch(text: &str) -> Epoch {
        text.parse().unwrap()
    }

    /// A site made on 2026-11-22. Made once and copied, as 184 key pairs take a while unoptimised.
    fn site() -> (tempfile::TempDir, MockClock) {
        static FILES: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
        let (dir, clock) = (tempfile::tempdir().unwrap(), MockClock::at_ms(20_779 * MS_PER_DAY));
        for folder in ["vault", "ingest"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let files = FILES.get_or_init(|| {
            init(dir.path(), both(), &clock).unwrap();
            let made = ["vault/keys.age", "vault/events.jsonl", "ingest/keys.age"];
            made.map(|name| (name, fs::read(dir.path().join(name)).unwrap())).into()
        });
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        (dir, clock)
    }

    fn ring(site: &Path) -> KeyRing {
        IngestKeyFile::open(&ingest_key_file(site), both().ingest).unwrap().refresh().unwrap().unwrap()
    }

    fn seal_in(site: &Path, epoch: &str) {
        let folder = site.join("lake/_batches/f/0");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("00000000000000000001.json"), format!(r#"{{"epochs":["{epoch}"]}}"#)).unwrap();
    }

    #[test]
    fn a_new_site_has_three_epochs_with_every_day() {
        let (dir, clock) = site();
        let ring = ring(dir.path());
        let epochs: Vec<String> = ring.epochs.keys().map(Epoch::to_string).collect();
        assert_eq!(epochs, ["2026-10", "2026-11", "2026-12"]);
        assert_eq!(ring.days.len(), 31 + 30 + 31);
        assert!(matches!(init(dir.path(), both(), &clock), Err(EpochError::Exists(_))));
    }

    #[test]
    fn what_ingest_gets_is_derived_from_and_opened_by_the_vault() {
        let (dir, _) = site();
        let (ring, store) = (ring(dir.path()), KeyStore::open(&vault_key_file(dir.path()), both().vault).unwrap());
        let (e, day) = (epoch("2026-11"), Day(20_779));
        let secret = store.epoch(e).unwrap();
        assert_eq!(ring.epochs[&e].analytics.expose(), secret.key.domain("analytics", e).expose());
        assert_eq!(ring.epochs[&e].tally.expose(), secret.key.domain("tally", e).expose());
        assert!(ring.epochs[&e].identities == secret.identities.public());
        assert!(ring.days[&day].evidence == store.day(day).unwrap().evidence.public());
        assert!(ring.days[&day].quarantine == store.day(day).unwrap().quarantine.public());
        assert!(ring.days[&day].evidence != ring.days[&day].quarantine);
    }

    #[test]
    fn nothing_secret_of_the_vault_is_handed_to_ingest() {
        let (dir, _) = site();
        let store = KeyStore::open(&vault_key_file(dir.path()), both().vault).unwrap();
        let plain = keyfile::read(&ingest_key_file(dir.path()), &both().ingest).unwrap();
        let text = std::str::from_utf8(&plain).unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        for (_, secret) in store.epochs() {
            assert!(!text.contains(&hex(secret.key.expose())) && !text.contains(&hex(secret.identities.expose())));
        }
        let day = store.day(Day(20_779)).unwrap();
        assert!(!text.contains(&hex(day.evidence.expose())) && !text.contains(&hex(day.quarantine.expose())));
        // The search finds what is there.
        assert!(text.contains(&hex(&day.evidence.public().0)));
    }

    #[test]
    fn older_history_is_opened_and_what_exists_is_left_alone() {
        let (dir, clock) = site();
        let before = list(dir.path(), both().vault).unwrap();
        let outcome = create(dir.path(), both(), epoch("2026-08"), epoch("2026-11"), &clock).unwrap();
        assert_eq!(outcome.created, [epoch("2026-08"), epoch("2026-09")]);
        assert_eq!(outcome.kept, [epoch("2026-10"), epoch("2026-11")]);
        assert!(outcome.handed_over && ring(dir.path()).days.contains_key(&"2026-08-31".parse().unwrap()));
        let after = list(dir.path(), both().vault).unwrap();
        assert_eq!(after.len(), 5);
        for line in before {
            assert!(after.iter().any(|l| l.epoch == line.epoch && l.commitment == line.commitment));
        }
        let wrong = [("2026-02", "2026-01"), ("2000-01", "2020-01")];
        for (first, last) in wrong {
            assert!(create(dir.path(), both(), epoch(first), epoch(last), &clock).is_err(), "{first} {last}");
        }
    }

    #[test]
    fn ensure_makes_what_the_calendar_needs_once() {
        let (dir, clock) = site();
        assert_eq!(
            ensure(dir.path(), both(), &clock).unwrap(),
            Outcome { created: vec![], kept: vec![epoch("2026-11"), epoch("2026-12")], handed_over: false }
        );
        clock.set_ms("2026-12-01".parse::<Day>().unwrap().start_ms());
        assert_eq!(ensure(dir.path(), both(), &clock).unwrap().created, [epoch("2027-01")]);
        assert!(!ensure(dir.path(), both(), &clock).unwrap().handed_over);
    }

    #[test]
    fn ensure_hands_over_what_a_crash_left_behind() {
        let (dir, clock) = site();
        let old = fs::read(ingest_key_file(dir.path())).unwrap();
        create(dir.path(), both(), epoch("2026-09"), epoch("2026-09"), &clock).unwrap();
        fs::write(ingest_key_file(dir.path()), old).unwrap();
        let outcome = ensure(dir.path(), both(), &clock).unwrap();
        assert!(outcome.created.is_empty() && outcome.handed_over);
        assert!(ring(dir.path()).epochs.contains_key(&epoch("2026-09")));
        fs::remove_file(ingest_key_file(dir.path())).unwrap();
        assert!(ensure(dir.path(), both(), &clock).unwrap().handed_over);
    }

    #[test]
    fn an_imported_key_stands_in_the_place_of_an_unused_one_and_is_logged() {
        let (dir, clock) = site();
        let vector: [u8; 32] = std::array::from_fn(|i| i as u8);
        import(dir.path(), both(), epoch("2026-11"), EpochKey::from_bytes(vector), &clock).unwrap();
        let hex: String =
            ring(dir.path()).epochs[&epoch("2026-11")].analytics.expose().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "c02015982c3ef16d984ed537f09f155bbb844a493971748e44c0b9c399a2adbc");
        let imported: Vec<bool> = list(dir.path(), both().vault).unwrap().iter().map(|l| l.imported).collect();
        assert_eq!(imported, [false, true, false]);
        let log = fs::read_to_string(dir.path().join("vault/events.jsonl")).unwrap();
        let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(log.lines().count(), 4);
        assert_eq!(
            (last["event"].as_str(), last["epoch"].as_str(), last["time"].as_str()),
            (Some("epoch-imported"), Some("2026-11"), Some("2026-11-22T00:00:00Z"))
        );
        assert_eq!(last["commitment"], EpochKey::from_bytes(vector).commitment());
        assert!(last["replaced"].is_string() && !log.contains("000102030405"));
        // A month that did not exist gets its days too.
        import(dir.path(), both(), epoch("2020-02"), EpochKey::random(), &clock).unwrap();
        assert!(ring(dir.path()).days.contains_key(&"2020-02-29".parse().unwrap()));
    }

    #[test]
    fn a_key_that_has_sealed_something_is_not_replaced() {
        let (dir, clock) = site();
        seal_in(dir.path(), "2026-11");
        let before = fs::read(vault_key_file(dir.path())).unwrap();
        let try_import = |e: &str| import(dir.path(), both(), epoch(e), EpochKey::random(), &clock).err();
        assert!(matches!(try_import("2026-11"), Some(EpochError::AlreadySealed(_))));
        assert!(try_import("2026-12").is_none());
        assert_ne!(fs::read(vault_key_file(dir.path())).unwrap(), before);
        let sealed: Vec<bool> = list(dir.path(), both().vault).unwrap().iter().map(|l| l.sealed).collect();
        assert_eq!(sealed, [false, true, false]);
        // A batch log that cannot be understood says nothing about any epoch, so none is replaced.
        for unclear in ["", "{}", "{", r#"{"epochs":[5]}"#, r#"{"epochs":"2026-11"}"#, r#"{"epochs":["2026-13"]}"#] {
            fs::write(dir.path().join("lake/_batches/f/0/00000000000000000002.json"), unclear).unwrap();
            assert!(matches!(try_import("2026-12"), Some(EpochError::Sealed(_))), "{unclear}");
        }
    }

    #[test]
    fn the_log_of_identities_counts_as_sealed_too() {
        let (dir, clock) = site();
        let log = dir.path().join("vault/identities/_delta_log");
        fs::create_dir_all(&log).unwrap();
        let lines = "{\"commitInfo\":{}}\n{\"add\":{\"path\":\"x\",\"partitionValues\":{\"epoch\":\"2026-10\"}}}\n";
        fs::write(log.join("00000000000000000001.json"), lines).unwrap();
        let try_import = |e: &str| import(dir.path(), both(), epoch(e), EpochKey::random(), &clock).err();
        assert!(matches!(try_import("2026-10"), Some(EpochError::AlreadySealed(_))));
        assert!(try_import("2026-11").is_none());
    }

    #[test]
    fn no_key_is_replaced_under_a_running_ingest() {
        let (dir, clock) = site();
        let running = IngestKeyFile::open(&ingest_key_file(dir.path()), both().ingest).unwrap();
        let try_import = || import(dir.path(), both(), epoch("2026-12"), EpochKey::random(), &clock).err();
        assert!(matches!(try_import(), Some(EpochError::IngestRunning)));
        // Making one is fine, and the running ingest sees it.
        running.refresh().unwrap();
        create(dir.path(), both(), epoch("2027-01"), epoch("2027-01"), &clock).unwrap();
        assert!(running.refresh().unwrap().unwrap().epochs.contains_key(&epoch("2027-01")));
        drop(running);
        assert!(try_import().is_none());
    }

    #[test]
    fn wrong_passphrases_change_nothing() {
        let (dir, clock) = site();
        let state = || [vault_key_file(dir.path()), ingest_key_file(dir.path())].map(|p| fs::read(p).unwrap());
        let before = state();
        let import = |p| import(dir.path(), p, epoch("2026-11"), EpochKey::random(), &clock).err();
        let create = |p| create(dir.path(), p, epoch("2026-01"), epoch("2026-01"), &clock).err();
        for (what, error) in [
            ("import, vault", import(passphrases("x", "i"))),
            ("import, ingest", import(passphrases("v", "x"))),
            ("create, vault", create(passphrases("x", "i"))),
            ("create, ingest", create(passphrases("v", "x"))),
        ] {
            assert!(matches!(error, Some(EpochError::Key(KeyError::WrongPassphrase { .. }))), "{what}");
        }
        assert!(state() == before);
    }
}
