//! Rows to disk: blocks become Parquet row groups on the workers, row groups become files on the
//! collecting thread, files become a batch by one manifest.

pub mod cdr;
pub mod chunk;
pub mod commit;
pub mod encode;
pub mod evidence;
pub mod identities;
pub mod kafka;
pub mod quarantine;
pub mod stage;

use crate::lake::LakeError;
use crate::seal::SealError;

#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("encoding table {table} failed: {reason}")]
    Encode { table: &'static str, reason: String },
    #[error("no public key for {unit}: run `cdrveil-vault epoch ensure`")]
    NoKey { unit: String },
    #[error(
        "a defect in cdrveil stopped a worker (its place is on standard error); nothing of the batch was committed"
    )]
    Defect,
    #[error("the counts of a batch do not balance; nothing was committed")]
    Unbalanced,
}
