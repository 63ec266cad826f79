//! Everything in `vault/keys.age`: epoch keys, private halves of all sealing keys, the file key.

use super::epoch_key::EpochKey;
use super::opener::OpeningKey;
use crate::keyfile::{self, Passphrase, SecretHex, WriteError};
use crate::keys::{DOMAIN_ANALYTICS, DOMAIN_TALLY, DayKeys, EpochLease, KeyError, KeyRing, recipient_domain};
use crate::record::time::{Day, Epoch};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const ZONE: &str = "vault";

/// How far an epoch's key has come. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpochState {
    /// Ingest holds its domain keys and may write records of this month.
    Leased,
    /// Finds and opens what was sealed; nothing new is written.
    VaultOnly,
}

impl EpochState {
    pub fn name(self) -> &'static str {
        match self {
            EpochState::Leased => "leased",
            EpochState::VaultOnly => "vault-only",
        }
    }
}

/// Secrets of one epoch.
pub struct EpochSecret {
    pub generation: u32,
    pub state: EpochState,
    /// Brought in from outside instead of drawn here: whoever had it may have it still.
    pub imported: bool,
    pub key: EpochKey,
    pub identities: OpeningKey,
}

/// Private halves of one day.
pub struct DaySecret {
    pub evidence: OpeningKey,
    pub quarantine: OpeningKey,
}

/// The opened key store. Changes are in memory until `save`.
pub struct KeyStore {
    path: PathBuf,
    passphrase: Passphrase,
    file_key: Zeroizing<[u8; 32]>,
    epochs: BTreeMap<Epoch, EpochSecret>,
    days: BTreeMap<Day, DaySecret>,
    /// Whose keys ingest is handed; the keys themselves are derived from each epoch's.
    recipients: BTreeSet<String>,
}

impl KeyStore {
    /// An empty store with a fresh file key; nothing is written yet.
    pub fn new(path: &Path, passphrase: Passphrase) -> KeyStore {
        let mut file_key = Zeroizing::new([0u8; 32]);
        rand::rng().fill_bytes(&mut *file_key);
        KeyStore {
            path: path.to_owned(),
            passphrase,
            file_key,
            epochs: BTreeMap::new(),
            days: BTreeMap::new(),
            recipients: BTreeSet::new(),
        }
    }

    pub fn open(path: &Path, passphrase: Passphrase) -> Result<KeyStore, KeyError> {
        let plain = keyfile::read(path, &passphrase)?;
        keyfile::check_header(path, &plain, ZONE)?;
        let file: StoreFile = serde_json::from_slice(&plain).map_err(|e| keyfile::malformed(path, &e))?;
        let bad = |what: &str| KeyError::Unreadable {
            path: path.display().to_string(),
            reason: format!("{what} in it is not valid or is listed twice"),
        };
        let mut store = KeyStore {
            path: path.to_owned(),
            passphrase,
            file_key: Zeroizing::new(*file.file_key.expose()),
            epochs: BTreeMap::new(),
            days: BTreeMap::new(),
            recipients: file.recipients.into_iter().collect(),
        };
        for entry in file.epochs {
            let epoch = entry.epoch.parse().map_err(|()| bad("an epoch"))?;
            if store.epochs.insert(epoch, entry.into_secret()).is_some() {
                return Err(bad("an epoch"));
            }
        }
        for entry in file.days {
            let day = entry.day.parse().map_err(|()| bad("a day"))?;
            if store.days.insert(day, entry.into_secret()).is_some() {
                return Err(bad("a day"));
            }
        }
        Ok(store)
    }

    /// Writes the file durably, all or nothing.
    pub fn save(&self) -> Result<(), WriteError> {
        let file = StoreFile {
            version: keyfile::VERSION,
            zone: ZONE.into(),
            file_key: SecretHex::new(*self.file_key),
            epochs: self.epochs.iter().map(|(epoch, secret)| EpochEntry::of(*epoch, secret)).collect(),
            days: self.days.iter().map(|(day, secret)| DayEntry::of(*day, secret)).collect(),
            recipients: self.recipients.iter().cloned().collect(),
        };
        let names: usize = file.recipients.iter().map(|name| name.len() + 16).sum();
        let room = 1024 + file.epochs.len() * 512 + file.days.len() * 256 + names;
        keyfile::write(&self.path, &self.passphrase, &keyfile::to_wiped_json(&file, room))
    }

    pub fn epochs(&self) -> impl Iterator<Item = (Epoch, &EpochSecret)> {
        self.epochs.iter().map(|(epoch, secret)| (*epoch, secret))
    }

    pub fn epoch(&self, epoch: Epoch) -> Option<&EpochSecret> {
        self.epochs.get(&epoch)
    }

    pub fn day(&self, day: Day) -> Option<&DaySecret> {
        self.days.get(&day)
    }

    /// Names of all recipients, in order.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.recipients.iter().map(String::as_str)
    }

    /// Registers a recipient; `false` if it is there.
    pub fn add_recipient(&mut self, name: &str) -> bool {
        self.recipients.insert(name.to_owned())
    }

    /// Adds an epoch with a random key and key pairs for each of its days; `false` if it is there.
    pub fn create_epoch(&mut self, epoch: Epoch) -> bool {
        if self.epochs.contains_key(&epoch) {
            return false;
        }
        self.put_epoch(epoch, EpochKey::random(), false);
        true
    }

    /// Puts a key from outside in the epoch's place, with a fresh identity key pair. The caller
    /// has made sure that the epoch has sealed nothing.
    pub fn import_epoch(&mut self, epoch: Epoch, key: EpochKey) {
        self.put_epoch(epoch, key, true);
    }

    fn put_epoch(&mut self, epoch: Epoch, key: EpochKey, imported: bool) {
        let secret =
            EpochSecret { generation: 1, state: EpochState::Leased, imported, key, identities: OpeningKey::random() };
        self.epochs.insert(epoch, secret);
        for day in epoch.days() {
            self.days
                .entry(day)
                .or_insert_with(|| DaySecret { evidence: OpeningKey::random(), quarantine: OpeningKey::random() });
        }
    }

    /// What ingest may hold: domain keys of leased epochs and public halves, nothing that opens.
    pub fn lease(&self) -> KeyRing {
        let leased = |epoch: &Epoch| self.epochs.get(epoch).is_some_and(|s| s.state == EpochState::Leased);
        KeyRing {
            file_key: self.file_key.clone(),
            epochs: self
                .epochs
                .iter()
                .filter(|(epoch, _)| leased(epoch))
                .map(|(epoch, s)| (*epoch, s.lease(*epoch, &self.recipients)))
                .collect(),
            days: self.days.iter().filter(|(day, _)| leased(&day.epoch())).map(|(day, s)| (*day, s.lease())).collect(),
        }
    }
}

impl EpochSecret {
    fn lease(&self, epoch: Epoch, recipients: &BTreeSet<String>) -> EpochLease {
        let key = |name: &String| (name.clone(), self.key.domain(&recipient_domain(name), epoch));
        EpochLease {
            generation: self.generation,
            analytics: self.key.domain(DOMAIN_ANALYTICS, epoch),
            tally: self.key.domain(DOMAIN_TALLY, epoch),
            identities: self.identities.public(),
            recipients: recipients.iter().map(key).collect(),
        }
    }
}

impl DaySecret {
    fn lease(&self) -> DayKeys {
        DayKeys { evidence: self.evidence.public(), quarantine: self.quarantine.public() }
    }
}

/// The JSON of `vault/keys.age`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreFile {
    version: u32,
    zone: String,
    file_key: SecretHex,
    epochs: Vec<EpochEntry>,
    days: Vec<DayEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochEntry {
    epoch: String,
    generation: u32,
    state: EpochState,
    imported: bool,
    key: SecretHex,
    identities: SecretHex,
}

impl EpochEntry {
    fn of(epoch: Epoch, secret: &EpochSecret) -> EpochEntry {
        EpochEntry {
            epoch: epoch.to_string(),
            generation: secret.generation,
            state: secret.state,
            imported: secret.imported,
            key: SecretHex::new(*secret.key.expose()),
            identities: SecretHex::new(*secret.identities.expose()),
        }
    }

    fn into_secret(self) -> EpochSecret {
        EpochSecret {
            generation: self.generation,
            state: self.state,
            imported: self.imported,
            key: EpochKey::from_bytes(*self.key.expose()),
            identities: OpeningKey::from_seed(*self.identities.expose()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DayEntry {
    day: String,
    evidence: SecretHex,
    quarantine: SecretHex,
}

impl DayEntry {
    fn of(day: Day, secret: &DaySecret) -> DayEntry {
        DayEntry {
            day: day.to_string(),
            evidence: SecretHex::new(*secret.evidence.expose()),
            quarantine: SecretHex::new(*secret.quarantine.expose()),
        }
    }

    fn into_secret(self) -> DaySecret {
        DaySecret {
            evidence: OpeningKey::from_seed(*self.evidence.expose()),
            quarantine: OpeningKey::from_seed(*self.quarantine.expose()),
        }
    }
}
