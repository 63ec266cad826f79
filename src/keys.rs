//! Keys that the ingest zone may hold: leased domain keys and public sealing keys. Nothing here
//! can open what was sealed, and no epoch key ever appears here (those live in `vault`).

use crate::record::time::{Day, Epoch};
use std::collections::BTreeMap;
use zeroize::{Zeroize, Zeroizing};

/// The two domains that ingest writes (privacy.md 1.3): pseudonyms of the lake, tokens of tallies.
pub const DOMAIN_ANALYTICS: &str = "analytics";
pub const DOMAIN_TALLY: &str = "tally";

/// The domain of one recipient's pseudonyms: no two recipients can join what they were given.
pub fn recipient_domain(name: &str) -> String {
    format!("recipient:{name}")
}

/// HMAC key of one domain in one epoch. Its one use is to make pseudonyms.
///
/// No `Debug`, no `Clone`, no comparison; wiped when dropped.
pub struct DomainKey([u8; 32]);

impl DomainKey {
    pub fn from_bytes(bytes: [u8; 32]) -> DomainKey {
        DomainKey(bytes)
    }

    /// The raw key, for the HMAC and for the sealed key file only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for DomainKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// X-Wing public key (X25519 + ML-KEM-768, 1216 bytes): seals, never opens.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey(pub Vec<u8>);

/// What ingest leases for one epoch.
pub struct EpochLease {
    /// 1 at creation, one more after every `burn`; recorded per row.
    pub generation: u32,
    pub analytics: DomainKey,
    pub tally: DomainKey,
    pub identities: SealingKey,
    /// Of every registered recipient, by its name.
    pub recipients: BTreeMap<String, DomainKey>,
}

/// Public keys of one day.
pub struct DayKeys {
    pub evidence: SealingKey,
    /// For records that *arrive* on this day and are refused.
    pub quarantine: SealingKey,
}

/// Everything in `ingest/keys.age`.
pub struct KeyRing {
    /// Keys the digests that recognise a re-delivered file; never leaves the ingest zone.
    pub file_key: Zeroizing<[u8; 32]>,
    pub epochs: BTreeMap<Epoch, EpochLease>,
    pub days: BTreeMap<Day, DayKeys>,
}

/// Where ingest gets its keys, and gets them again when a month begins. Implemented by the key
/// file; a leasing vault is a second one.
pub trait KeySource: Send + Sync {
    /// A fresh ring, if it changed since the last call; the file is re-read, the passphrase kept.
    fn refresh(&self) -> Result<Option<KeyRing>, KeyError>;
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "no passphrase for {path}: set {variable} to the path of a file that holds it, or run on a terminal to be asked"
    )]
    NoPassphrase { path: String, variable: &'static str },
    #[error("wrong passphrase for {path}")]
    WrongPassphrase { path: String },
    #[error("cannot read {path}: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("{path} is not a cdrveil key file (version {found}, this program reads {known})")]
    Version { path: String, found: u32, known: u32 },
}
