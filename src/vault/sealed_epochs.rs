//! Which epochs have sealed something: read from the batch log and the log of `vault/identities`.
//!
//! Fails closed: whatever cannot be read or understood counts as a reason not to replace a key.

use crate::record::time::Epoch;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[error("cannot tell which epochs have sealed something: {path}: {reason}")]
pub struct SealedError {
    pub path: String,
    pub reason: String,
}

/// Epochs named by any manifest under `lake/_batches/FEED/PARTITION/` (field `epochs`), by any file
/// that `vault/identities/_delta_log` has added (partition value), or by a folder of data files there.
pub fn sealed_epochs(site: &Path) -> Result<BTreeSet<Epoch>, SealedError> {
    let mut sealed = BTreeSet::new();
    for path in json_files(&site.join("lake/_batches"), 2)? {
        from_manifest(&path, &mut sealed)?;
    }
    for path in json_files(&site.join("vault/identities/_delta_log"), 0)? {
        from_delta_log(&path, &mut sealed)?;
    }
    from_partitions(&site.join("vault/identities"), &mut sealed)?;
    Ok(sealed)
}

fn from_manifest(path: &Path, sealed: &mut BTreeSet<Epoch>) -> Result<(), SealedError> {
    let text = fs::read(path).map_err(|e| failed(path, &e))?;
    let manifest: serde_json::Value = serde_json::from_slice(&text).map_err(|_| unclear(path))?;
    let epochs = manifest.get("epochs").and_then(|e| e.as_array()).ok_or_else(|| unclear(path))?;
    for epoch in epochs {
        sealed.insert(epoch.as_str().and_then(|e| e.parse().ok()).ok_or_else(|| unclear(path))?);
    }
    Ok(())
}

/// One JSON action per line; `add` carries `partitionValues` (Delta protocol, "Add File").
fn from_delta_log(path: &Path, sealed: &mut BTreeSet<Epoch>) -> Result<(), SealedError> {
    let text = fs::read_to_string(path).map_err(|e| failed(path, &e))?;
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let action: serde_json::Value = serde_json::from_str(line).map_err(|_| unclear(path))?;
        let Some(add) = action.get("add") else { continue };
        let values = add.get("partitionValues").and_then(|v| v.as_object()).ok_or_else(|| unclear(path))?;
        sealed.extend(values.values().filter_map(|v| v.as_str()?.parse::<Epoch>().ok()));
    }
    Ok(())
}

/// Partition folders `epoch=YYYY-MM` that hold data: they stand where the lake, and with it the batch
/// log, is on another machine, and when older entries of the Delta log were cleaned away.
fn from_partitions(table: &Path, sealed: &mut BTreeSet<Epoch>) -> Result<(), SealedError> {
    for entry in entries(table)? {
        let (name, path) = (entry.file_name(), entry.path());
        let Some(epoch) = name.to_str().and_then(|n| n.strip_prefix("epoch=")) else { continue };
        if entries(&path)?.iter().any(|file| file.path().extension().is_some_and(|e| e == "parquet")) {
            sealed.insert(epoch.parse().map_err(|()| unclear(&path))?);
        }
    }
    Ok(())
}

/// What stands in a folder; nothing in one that does not exist.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, SealedError> {
    match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(failed(folder, &e)),
        Ok(list) => list.collect::<Result<_, _>>().map_err(|e| failed(folder, &e)),
    }
}

/// All `*.json` exactly `depth` folders down; a folder that does not exist has none.
fn json_files(folder: &Path, depth: u32) -> Result<Vec<PathBuf>, SealedError> {
    let mut found = Vec::new();
    for entry in entries(folder)? {
        let (path, kind) = (entry.path(), entry.file_type().map_err(|e| failed(folder, &e))?);
        if depth > 0 && kind.is_dir() {
            found.extend(json_files(&path, depth - 1)?);
        } else if depth == 0 && path.extension().is_some_and(|e| e == "json") {
            found.push(path);
        }
    }
    Ok(found)
}

fn failed(path: &Path, error: &io::Error) -> SealedError {
    SealedError { path: path.display().to_string(), reason: error.to_string() }
}

fn unclear(path: &Path) -> SealedError {
    SealedError { path: path.display().to_string(), reason: "its content is not as expected".into() }
}
