//! What became of refused records: which rows of `vault/quarantine` were replayed or discarded.
//!
//! The manifests of each feed's partition [`REPLAY`] say so, and nothing else does. The partition
//! has one number sequence for both kinds of decision, so of two that decide on a row at once one
//! finds its number taken and looks again.

use super::LakeError;
use super::batches::{self, BatchLog};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The partition of a feed in which its refused records are decided on.
pub const REPLAY: &str = "replay";

/// Names one row of `vault/quarantine` for good: files are rewritten, sealed rows never move to
/// another block. Written `BLOCK-ROW`: 32 hex digits and a decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub block: [u8; 16],
    pub row: u32,
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", block_text(&self.block), self.row)
    }
}

impl FromStr for Handle {
    type Err = ();

    fn from_str(text: &str) -> Result<Handle, ()> {
        let (block, row) = text.split_once('-').ok_or(())?;
        Ok(Handle { block: block_of(block).ok_or(())?, row: row.parse().map_err(|_| ())? })
    }
}

/// A block's id as manifests write it: 32 hex digits.
pub fn block_text(block: &[u8; 16]) -> String {
    block.iter().map(|b| format!("{b:02x}")).collect()
}

/// The reverse of [`block_text`].
pub fn block_of(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut block = [0u8; 16];
    for (i, byte) in block.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(block)
}

/// What was decided on a refused record; final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Replayed: its rows are in `cdr`, from the batch that says so.
    Veiled,
    /// Replayed: the mapping now leaves such a record out by a named rule.
    Dropped,
    /// Given up by an operator.
    Discarded,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Veiled => "veiled",
            Outcome::Dropped => "dropped",
            Outcome::Discarded => "discarded",
        }
    }
}

/// `replay` of a manifest: what its batch decided.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    pub resolved: Vec<Resolution>,
    /// How many of them had been refused for which reason.
    pub resolved_by: BTreeMap<String, u64>,
    /// Replayed and refused again, by their new reason; they wait on.
    pub refused_by: BTreeMap<String, u64>,
    /// User id of the process that decided.
    pub uid: u32,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Rows of one block with the same outcome.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    pub block: String,
    pub rows: Vec<u32>,
    pub outcome: Outcome,
}

impl Replay {
    /// Gathers decisions by block; `reason` is the one that the record was refused for.
    pub fn of<'r>(decided: impl IntoIterator<Item = (Handle, Outcome, &'r str)>) -> Replay {
        let mut by_block: BTreeMap<([u8; 16], Outcome), Vec<u32>> = BTreeMap::new();
        let mut replay = Replay::default();
        for (handle, outcome, reason) in decided {
            by_block.entry((handle.block, outcome)).or_default().push(handle.row);
            *replay.resolved_by.entry(reason.to_owned()).or_default() += 1;
        }
        let resolution = |((block, outcome), mut rows): (([u8; 16], Outcome), Vec<u32>)| {
            rows.sort_unstable();
            Resolution { block: block_text(&block), rows, outcome }
        };
        replay.resolved = by_block.into_iter().map(resolution).collect();
        replay
    }
}

/// When and how a row was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub outcome: Outcome,
    /// Clock of the manifest, ms since 1970-01-01 UTC.
    pub committed_ms: i64,
}

/// Every resolved row of one feed or of all.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    blocks: HashMap<[u8; 16], BTreeMap<u32, Decision>>,
    /// The newest manifest that was taken, by feed.
    taken: BTreeMap<String, u64>,
}

impl Resolved {
    /// Reads the decisions on all feeds' refused records under `lake`.
    ///
    /// What this returns is durable: the logs are synced first, since whoever put the newest
    /// manifest may have been killed before it was. So a row that is resolved here may be removed
    /// from `vault/quarantine`: the files that its batch adds were synced before its manifest.
    ///
    /// # Errors
    /// A log or a manifest that cannot be read: then nothing may be removed.
    pub fn read(lake: &Path) -> Result<Resolved, LakeError> {
        let mut resolved = Resolved::default();
        for (feed, partition) in batches::partitions(lake)? {
            if partition == REPLAY {
                resolved.follow(lake, &feed)?;
            }
        }
        Ok(resolved)
    }

    /// The decisions on one feed's refused records.
    pub fn of_feed(lake: &Path, feed: &str) -> Result<Resolved, LakeError> {
        let mut resolved = Resolved::default();
        resolved.follow(lake, feed)?;
        Ok(resolved)
    }

    /// Takes up what was decided on this feed's records since the last time; as durable as `read`.
    pub fn follow(&mut self, lake: &Path, feed: &str) -> Result<(), LakeError> {
        let log = BatchLog::new(lake, feed, REPLAY);
        log.sync()?;
        let from = self.taken.get(feed).copied().unwrap_or(0);
        for number in log.numbers()?.into_iter().filter(|n| *n > from) {
            let manifest = log.read(number)?;
            if let Some(replay) = &manifest.replay {
                self.take(replay, manifest.committed_ms).ok_or_else(|| LakeError::Manifest {
                    path: log.folder().join(format!("{number:020}.json")),
                    reason: "a block under `replay` is not 32 hex digits".into(),
                })?;
            }
            self.taken.insert(feed.to_owned(), number);
        }
        Ok(())
    }

    /// What was decided on a row; `None` while it waits.
    pub fn decision(&self, handle: Handle) -> Option<Decision> {
        self.blocks.get(&handle.block)?.get(&handle.row).copied()
    }

    /// Rows that are resolved.
    pub fn len(&self) -> usize {
        self.blocks.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn take(&mut self, replay: &Replay, committed_ms: i64) -> Option<()> {
        for Resolution { block, rows, outcome } in &replay.resolved {
            let known = self.blocks.entry(block_of(block)?).or_default();
            for row in rows {
                // The first decision stands; a second one could only be a defect.
                known.entry(*row).or_insert(Decision { outcome: *outcome, committed_ms });
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::batches::{Counts, FORMAT, Manifest, Put};

    fn handle(block: u8, row: u32) -> Handle {
        Handle { block: [block; 16], row }
    }

    fn manifest(feed: &str, number: u64, replay: Option<Replay>) -> Manifest {
        Manifest {
            format: FORMAT,
            feed: feed.into(),
            partition: REPLAY.into(),
            number,
            batch: format!("{number:032x}"),
            committed_ms: number as i64 * 1000,
            program: String::new(),
            mapping: String::new(),
            mapping_version: 1,
            mapping_digest: String::new(),
            profile_version: 1,
            profile_digest: String::new(),
            sources: Vec::new(),
            counts: Counts::default(),
            epochs: Vec::new(),
            watermark_ms: None,
            finished: true,
            last_sequence: None,
            adds: BTreeMap::new(),
            open: Vec::new(),
            append: Vec::new(),
            stream: None,
            headers: Vec::new(),
            replay,
        }
    }

    fn put(lake: &Path, manifest: &Manifest) {
        let log = BatchLog::new(lake, &manifest.feed, REPLAY);
        assert!(matches!(log.put(manifest).unwrap(), Put::Done));
    }

    #[test]
    fn a_handle_is_read_as_it_was_written() {
        let one = Handle { block: std::array::from_fn(|i| 250 + i as u8 % 6), row: 262_143 };
        assert_eq!(one.to_string().parse(), Ok(one));
        for wrong in ["", "-", "00-1", &format!("{}-", "0".repeat(32)), &format!("{}-x", "0".repeat(32))] {
            assert_eq!(wrong.parse::<Handle>(), Err(()), "{wrong}");
        }
        // Sixteen characters of two bytes each are 32 bytes and no hex digits.
        assert_eq!(format!("{}-1", "é".repeat(16)).parse::<Handle>(), Err(()));
    }

    #[test]
    fn what_manifests_decided_is_known_by_feed_and_of_all() {
        let lake = tempfile::tempdir().unwrap();
        assert_eq!(Resolved::read(lake.path()).unwrap(), Resolved::default());
        let first = Replay::of([
            (handle(1, 7), Outcome::Veiled, "invalid_number"),
            (handle(1, 2), Outcome::Veiled, "late_event"),
            (handle(2, 2), Outcome::Dropped, "late_event"),
        ]);
        assert_eq!(first.resolved[0].rows, [2, 7]);
        assert_eq!(first.resolved_by, BTreeMap::from([("invalid_number".into(), 1), ("late_event".into(), 2)]));
        put(lake.path(), &manifest("a", 1, Some(first)));
        put(lake.path(), &manifest("a", 2, None));
        let again = [(handle(1, 3), Outcome::Discarded, "x"), (handle(1, 7), Outcome::Discarded, "x")];
        put(lake.path(), &manifest("a", 3, Some(Replay::of(again))));
        put(lake.path(), &manifest("b", 1, Some(Replay::of([(handle(9, 0), Outcome::Discarded, "x")]))));
        // A manifest of another partition says nothing about rejects.
        let other = BatchLog::new(lake.path(), "a", "files");
        let stray = Replay::of([(handle(8, 8), Outcome::Discarded, "x")]);
        let _ = other.put(&Manifest { partition: "files".into(), ..manifest("a", 1, Some(stray)) }).unwrap();
        let all = Resolved::read(lake.path()).unwrap();
        let of_a = Resolved::of_feed(lake.path(), "a").unwrap();
        let outcome = |r: &Resolved, h| r.decision(h).map(|d| (d.outcome, d.committed_ms));
        for (h, want) in [
            (handle(1, 7), Some((Outcome::Veiled, 1000))),
            (handle(1, 2), Some((Outcome::Veiled, 1000))),
            (handle(2, 2), Some((Outcome::Dropped, 1000))),
            (handle(1, 3), Some((Outcome::Discarded, 3000))),
            (handle(1, 4), None),
            (handle(8, 8), None),
        ] {
            assert_eq!((outcome(&all, h), outcome(&of_a, h)), (want, want), "{h}");
        }
        assert_eq!((outcome(&all, handle(9, 0)), outcome(&of_a, handle(9, 0))).1, None);
        assert_eq!((all.len(), of_a.len()), (5, 4));
        let mut following = of_a;
        put(lake.path(), &manifest("a", 4, Some(Replay::of([(handle(1, 4), Outcome::Dropped, "x")]))));
        following.follow(lake.path(), "a").unwrap();
        assert_eq!(outcome(&following, handle(1, 4)), Some((Outcome::Dropped, 4000)));
        assert_eq!(following, Resolved::of_feed(lake.path(), "a").unwrap());
    }

    #[test]
    fn a_manifest_that_cannot_be_understood_is_an_error() {
        let lake = tempfile::tempdir().unwrap();
        let resolution = Resolution { block: "zz".into(), rows: vec![1], outcome: Outcome::Veiled };
        let replay = Replay { resolved: vec![resolution], ..Replay::default() };
        put(lake.path(), &manifest("a", 1, Some(replay)));
        assert!(matches!(Resolved::read(lake.path()), Err(LakeError::Manifest { .. })));
    }
}
