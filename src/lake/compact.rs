//! Compaction: small files of a partition rewritten as large ones, sorted, in place.
//!
//! Rows move as they are: what is sealed stays sealed under its block, header and row number. A
//! group of files is at most one target size, is sorted in memory, and takes the place of its files
//! in one commit that changes no data. Whoever is cut off leaves files that no log names; files
//! that were replaced stay until no reader can want them any more (`sweep`).

pub mod merge;
pub mod output;
pub mod plan;
pub mod rows;

use super::LakeError;
use super::contract::Contract;
use super::delta::upkeep::{KEEP_LOG, KEEP_REMOVED, Replaced};
use super::delta::{DataFile, Table};
use crate::clock::Clock;
use crate::failpoint;
use crate::record::time::{Day, Epoch};
use output::Rewritten;
use parquet::file::metadata::KeyValue;
use rows::Order;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How the files of one table are written anew.
#[derive(Clone, Debug)]
pub struct Layout {
    pub contract: Contract,
    pub order: Order,
    /// Columns that point lookups go by: they get Bloom filters.
    pub lookup: Vec<&'static str>,
    /// Of rows that are equal in their first ordering column, one is kept.
    pub unique: bool,
}

/// How large files become, when it is worth the work, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files are made about this large, and memory is bounded by a small multiple of it.
    pub target_bytes: u64,
    /// So many small files of about one size are compacted while their partition still fills.
    pub small_files: usize,
    /// A rewrite that took longer is dropped: a sweep may take its files for orphans.
    pub give_up_after_ms: i64,
    /// How long log entries, and entries of removed files, are kept (`Table::keep`).
    pub keep_log: Duration,
    pub keep_removed: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            target_bytes: 128 << 20,
            small_files: 16,
            give_up_after_ms: 12 * 3_600_000,
            keep_log: KEEP_LOG,
            keep_removed: KEEP_REMOVED,
        }
    }
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    pub files_before: u64,
    pub files_after: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub rows_before: u64,
    /// Fewer than before only where duplicates went.
    pub rows_after: u64,
    pub commits: u64,
    /// Rewrites that were dropped because a file had gone meanwhile; the next pass takes them up.
    pub conflicts: u64,
}

impl Compacted {
    pub fn add(&mut self, other: &Compacted) {
        self.files_before += other.files_before;
        self.files_after += other.files_after;
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
        self.rows_before += other.rows_before;
        self.rows_after += other.rows_after;
        self.commits += other.commits;
        self.conflicts += other.conflicts;
    }

    pub fn is_nothing(&self) -> bool {
        self.commits + self.conflicts == 0
    }

    fn took(&mut self, rewritten: &Rewritten) {
        self.commits += 1;
        self.files_before += rewritten.inputs.len() as u64;
        self.bytes_before += rewritten.bytes_before;
        self.rows_before += rewritten.rows_before;
        for file in &rewritten.files {
            self.files_after += 1;
            self.bytes_after += file.bytes.unsigned_abs();
            self.rows_after += file.rows.unsigned_abs();
        }
    }
}

/// Compacts every partition of `table`. `is_closed` tells, by the value of its partition column,
/// whether a partition fills no more.
pub async fn table(
    table: &mut Table,
    layout: &Layout,
    limits: &Limits,
    is_closed: &dyn Fn(&str) -> bool,
    clock: &dyn Clock,
) -> Result<Compacted, LakeError> {
    table.keep(limits.keep_log, limits.keep_removed).await?;
    let mut done = Compacted::default();
    for (value, files) in partitions(table.files()?, layout) {
        let closed = is_closed(&value);
        done.add(&partition(table, layout, limits, &files, closed, clock).await?);
        if layout.unique {
            done.add(&merge::partition(table, layout, limits, &value, closed, clock).await?);
        }
    }
    Ok(done)
}

/// Files by the value of the table's one partition column.
pub fn partitions(files: Vec<DataFile>, layout: &Layout) -> BTreeMap<String, Vec<DataFile>> {
    let column = layout.contract.partition[0].name;
    let mut partitions: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        if let Some(value) = file.partition.get(column).cloned().flatten() {
            partitions.entry(value).or_default().push(file);
        }
    }
    partitions
}

/// When the time of a partition, a day or a month, is over: ms since 1970-01-01 UTC.
pub fn ends_at_ms(value: &str) -> Option<i64> {
    let day = |d: Day| Day(d.0 + 1).start_ms();
    let month = |e: Epoch| e.next().first_day().start_ms();
    value.parse().map(day).or_else(|()| value.parse().map(month)).ok()
}

async fn partition(
    table: &mut Table,
    layout: &Layout,
    limits: &Limits,
    files: &[DataFile],
    closed: bool,
    clock: &dyn Clock,
) -> Result<Compacted, LakeError> {
    let mut done = Compacted::default();
    for group in plan::groups(files, closed, limits) {
        let begun_ms = clock.now_ms();
        let rewritten = rewrite(table.dir(), layout, &group, Vec::new())?;
        done.add(&put(table, rewritten, limits, begun_ms, clock).await?);
    }
    Ok(done)
}

/// Writes the rows of `files` (of one partition) as one sorted file beside them; durable on return,
/// and gone again when dropped. `about` goes into its footer.
pub fn rewrite(dir: &Path, layout: &Layout, files: &[&DataFile], about: Vec<KeyValue>) -> Result<Rewritten, LakeError> {
    failpoint::reached("compact.before");
    let rewritten = rows::sorted(dir, layout, files, about)?;
    failpoint::reached("compact.written");
    Ok(rewritten)
}

/// Commits a rewrite that was begun at `begun_ms`.
pub async fn put(
    table: &mut Table,
    rewritten: Rewritten,
    limits: &Limits,
    begun_ms: i64,
    clock: &dyn Clock,
) -> Result<Compacted, LakeError> {
    let mut done = Compacted::default();
    if clock.now_ms() - begun_ms > limits.give_up_after_ms {
        done.conflicts += 1;
        return Ok(done);
    }
    // From here on the files may be the table's, whatever error comes back.
    let rewritten = rewritten.keep();
    match table.replace(&rewritten.inputs, &rewritten.files).await? {
        Replaced::Now => done.took(&rewritten),
        Replaced::Gone => {
            rewritten.remove();
            done.conflicts += 1;
        }
    }
    failpoint::reached("compact.done");
    Ok(done)
}

#[cfg(test)]
mod tests;
