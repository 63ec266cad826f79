//! Opens chosen rows of `vault/quarantine`, for a replay that ingest asked for. What is about to be
//! opened is in the event log, synced, before the first byte is released.

use super::events::{self, Opening};
use super::keystore::KeyStore;
use super::opener::{BlockOpener, OpenError};
use crate::clock::Clock;
use crate::lake::LakeError;
use crate::lake::parquet::read_columns;
use crate::lake::rejects::{binary, files_by_day, handle, long, text};
use crate::lake::resolved::Handle;
use crate::record::time::Day;
use crate::seal::SealKind;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// Which rows are asked for, by whom and what for.
pub struct Request<'a> {
    pub feed: &'a str,
    pub rows: HashSet<Handle>,
    /// Arrival days that they stand under.
    pub days: BTreeSet<Day>,
    /// `replay`, or `dry-run`.
    pub purpose: &'a str,
    /// User id of the process that asks.
    pub uid: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(
        "{missing} of the rows that were asked for are not in vault/quarantine: they were removed or moved meanwhile"
    )]
    Missing { missing: usize },
    #[error("a row that was asked for belongs to another feed than {feed}; nothing was opened")]
    OtherFeed { feed: String },
    #[error("the keys of {0} are gone: what arrived on that day can no longer be opened")]
    NoKey(Day),
    #[error("vault/quarantine: {0}")]
    Open(#[from] OpenError),
    #[error("cannot write vault/events.jsonl, so nothing was opened: {0}")]
    Events(io::Error),
    #[error("cannot hand over what was opened: {0}")]
    Release(io::Error),
}

/// A row as it stands sealed.
struct Sealed {
    handle: Handle,
    bytes: Vec<u8>,
}

/// Rows of one block.
struct Block {
    day: Day,
    header: Vec<u8>,
    rows: Vec<Sealed>,
}

/// Opens the rows of `request` and hands each to `release`, in no particular order.
///
/// # Errors
/// Unless every row is there and of that feed, nothing is opened. An error later on means that some
/// were released; all of them were logged.
pub async fn open(
    site: &Path,
    keys: &KeyStore,
    request: &Request<'_>,
    clock: &dyn Clock,
    mut release: impl FnMut(Handle, &[u8]) -> io::Result<()>,
) -> Result<(), QuarantineError> {
    let vault = site.join("vault");
    let (blocks, reasons) = find(&vault.join("quarantine"), request).await?;
    if let Some(block) = blocks.values().find(|block| keys.day(block.day).is_none()) {
        return Err(QuarantineError::NoKey(block.day));
    }
    let days: BTreeSet<Day> = blocks.values().map(|block| block.day).collect();
    let opening = Opening {
        time: events::timestamp(clock.now_ms()),
        event: "quarantine-opened",
        feed: request.feed,
        purpose: request.purpose,
        uid: request.uid,
        rows: request.rows.len() as u64,
        reasons,
        days: days.iter().map(Day::to_string).collect(),
    };
    events::append(&vault, &[opening]).map_err(QuarantineError::Events)?;
    let mut plain = Zeroizing::new(Vec::new());
    for (id, block) in blocks {
        let key = &keys.day(block.day).ok_or(QuarantineError::NoKey(block.day))?.quarantine;
        let opener = BlockOpener::new(SealKind::Quarantine, block.day.0, &block.day, key, id, &block.header)?;
        for row in &block.rows {
            opener.open(row.handle.row, &row.bytes, &mut plain)?;
            release(row.handle, &plain).map_err(QuarantineError::Release)?;
        }
    }
    Ok(())
}

/// The rows, still sealed, by block; and how many were refused for which reason.
async fn find(
    dir: &Path,
    request: &Request<'_>,
) -> Result<(HashMap<[u8; 16], Block>, BTreeMap<String, u64>), QuarantineError> {
    const COLUMNS: [&str; 6] = ["feed", "reason", "block", "row", "header", "sealed"];
    let blocks_wanted: HashSet<[u8; 16]> = request.rows.iter().map(|h| h.block).collect();
    let mut blocks: HashMap<[u8; 16], Block> = HashMap::new();
    let (mut reasons, mut found) = (BTreeMap::new(), HashSet::new());
    for (day, file) in files_by_day(dir).await? {
        if !request.days.contains(&day) {
            continue;
        }
        for batch in read_columns(&file.path, &COLUMNS)? {
            let (path, batch) = (&file.path, batch?);
            let block = binary(path, &batch, "block")?;
            if !block.iter().flatten().any(|b| <[u8; 16]>::try_from(b).is_ok_and(|b| blocks_wanted.contains(&b))) {
                continue;
            }
            let (feed, reason) = (text(path, &batch, "feed")?, text(path, &batch, "reason")?);
            let (row, header) = (long(path, &batch, "row")?, binary(path, &batch, "header")?);
            let sealed = binary(path, &batch, "sealed")?;
            for i in 0..batch.num_rows() {
                let handle = handle(path, block.value(i), row.value(i))?;
                if !request.rows.contains(&handle) || !found.insert(handle) {
                    continue;
                }
                if feed.value(i) != request.feed {
                    return Err(QuarantineError::OtherFeed { feed: request.feed.to_owned() });
                }
                *reasons.entry(reason.value(i).to_owned()).or_default() += 1;
                let block = blocks.entry(handle.block).or_insert_with(|| Block {
                    day,
                    header: header.value(i).to_vec(),
                    rows: Vec::new(),
                });
                block.rows.push(Sealed { handle, bytes: sealed.value(i).to_vec() });
            }
        }
    }
    match request.rows.len() - found.len() {
        0 => Ok((blocks, reasons)),
        missing => Err(QuarantineError::Missing { missing }),
    }
}
