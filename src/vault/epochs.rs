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
    for file in [vault_key_file(site), ingest_key_file(site)] {
        if file.exists() {
            return Err(EpochError::Exists(file.display().to_string()));
        }
    }
    let _lock = lock_vault(site)?;
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
    // Opened before anything changes: with a wrong passphrase the vault must not get ahead.
    keyfile::read(&ingest, &passphrases.ingest)?;
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

/// Writes `ingest/keys.age` unless it says the same already; `true` if it was written.
fn hand_over(site: &Path, store: &KeyStore, passphrase: &Passphrase) -> Result<bool, EpochError> {
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
fn lock_vault(site: &Path) -> Result<File, EpochError> {
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

fn io(path: &Path, error: &std::io::Error) -> EpochError {
    EpochError::Io { path: path.display().to_string(), reason: error.to_string() }
}
