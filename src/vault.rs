//! The vault zone: epoch keys, private halves, and the only code that opens what ingest sealed.
//!
//! Everything secret stands in `vault/keys.age`. The vault leases to ingest by writing
//! `ingest/keys.age` (domain keys and public keys, nothing that opens). On one machine it needs
//! that file's passphrase too; where the zones are apart, the operator runs the command on the
//! vault's machine and carries the file over: it is the same file, sealed the same way.

pub mod epoch_key;
pub mod epochs;
pub mod events;
pub mod keystore;
pub mod opener;
pub mod recipients;
pub mod quarantine;
pub mod sealed_epochs;
