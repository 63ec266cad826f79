//! Table contracts and the batch log, shared by writer, reader, sweeper and eraser.
//!
//! The tables are Delta Lake tables (PROTOCOL.md of delta-io/delta) that any Delta reader opens
//! without us. Data files are our own Parquet; commits, checkpoints and conflicts are
//! `deltalake-core`'s, through a store that syncs what it writes.

pub mod batches;
pub mod compact;
pub mod contract;
pub mod delta;
pub mod durable;
pub mod ledger;
pub mod marks;
pub mod parquet;
pub mod rejects;
pub mod resolved;
pub mod sweep;
pub mod tables;

use std::path::PathBuf;

/// What can go wrong on the way to disk. Paths and positions only, never content.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error("{what} {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("table {path}: {reason}")]
    Table { path: PathBuf, reason: String },
    #[error("table {path} has mark {found} for {app}, expected {expected}: the batch log and the table disagree")]
    Gap { path: PathBuf, app: String, found: i64, expected: i64 },
    #[error("manifest {path} cannot be read: {reason}")]
    Manifest { path: PathBuf, reason: String },
}

impl LakeError {
    pub fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> LakeError {
        let path = path.into();
        move |source| LakeError::Io { what, path, source }
    }
}
