//! Released windows into a release store: one SQLite file per audience.
//!
//! The store is a copy. `release/CUBE` in the lake is the truth, and each of its files is taken
//! over in one transaction together with its own mark, so that a store cut off anywhere, or
//! deleted, comes out the same after the next pass.

pub mod store;

use crate::lake::delta::DataFile;
use crate::lake::{LakeError, parquet};
use crate::release::rules::Audience;
use crate::release::table;
use std::path::{Path, PathBuf};
use store::Store;

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error("{path}: {source}")]
    Table { path: PathBuf, source: table::TableError },
    #[error("release store {path}: {source}")]
    Store { path: PathBuf, source: sqlx::Error },
    #[error(
        "release store {path} was made by layout {found}, this program writes {known}; move it away, it is made anew"
    )]
    Layout { path: PathBuf, found: i64, known: i64 },
}

/// Path of the store of an audience: the configured file for internal, `…-external` beside it.
pub fn store_path(store: &Path, audience: Audience) -> PathBuf {
    if audience == Audience::Internal {
        return store.to_owned();
    }
    let stem = store.file_stem().unwrap_or_default().to_string_lossy();
    let end = store.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    store.with_file_name(format!("{stem}-{}{end}", audience.name()))
}

/// Takes every file of the release table that the stores lack. Returns windows published.
pub async fn publish(files: &[DataFile], store: &Path) -> Result<u64, PublishError> {
    let mut published = 0;
    for audience in Audience::ALL {
        let mut store = Store::open(&store_path(store, audience)).await?;
        let known = store.taken().await?;
        for file in files.iter().filter(|f| f.partition.get("audience") == Some(&Some(audience.name().to_owned()))) {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if known.contains(&name) {
                continue;
            }
            let windows = table::windows(&parquet::read_file(&file.path)?, audience)
                .map_err(|source| PublishError::Table { path: file.path.clone(), source })?;
            store.take(&name, &windows.iter().map(|w| &w.window).collect::<Vec<_>>()).await?;
            published += windows.len() as u64;
        }
        store.close().await?;
    }
    Ok(published)
}
