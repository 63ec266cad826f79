//! What a feed partition has finished so far, and its checkpoints beside the manifests, so that
//! opening a feed costs the same after a year as after a day.
//!
//! A checkpoint (`%020d.ledger`) is a convenience made of manifests: a missing, damaged or foreign
//! one is passed over, and the manifests themselves are read.

use super::LakeError;
use super::batches::{BatchLog, Manifest};
use super::durable;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Manifests between two checkpoints.
pub const EVERY: u64 = 256;
const MAGIC: &[u8; 16] = b"cdrveil ledger 1";

/// Digests of all finished files, and the watermark, up to one manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    number: u64,
    watermark_ms: Option<i64>,
    files: HashSet<[u8; 32]>,
}

impl Ledger {
    /// Reads the newest good checkpoint and every manifest after it. Returns the newest manifest
    /// too, for what only it says.
    pub fn open(log: &BatchLog) -> Result<(Ledger, Option<Manifest>), LakeError> {
        let numbers = log.numbers()?;
        let mut ledger = newest_checkpoint(log, &numbers)?;
        let began = ledger.number;
        let mut newest = None;
        // The checkpoint's own manifest is read again: the newest one is always needed.
        for number in numbers.into_iter().filter(|n| *n >= began) {
            let manifest = log.read(number)?;
            ledger.take(&manifest);
            newest = Some(manifest);
        }
        if ledger.number >= began + EVERY {
            ledger.checkpoint(log);
        }
        Ok((ledger, newest))
    }

    /// Adds what `manifest`, the next one, has finished.
    pub fn take(&mut self, manifest: &Manifest) {
        self.number = self.number.max(manifest.number);
        self.watermark_ms = self.watermark_ms.max(manifest.watermark_ms);
        self.files.extend(manifest.sources.iter().filter_map(|s| digest(s.file.as_deref()?)));
    }

    /// Whether a file of this keyed digest (hex) is loaded.
    pub fn knows(&self, file: &str) -> bool {
        digest(file).is_some_and(|d| self.files.contains(&d))
    }

    pub fn watermark_ms(&self) -> Option<i64> {
        self.watermark_ms
    }

    /// Writes a checkpoint when one is due after the manifest taken last.
    pub fn checkpoint_if_due(&self, log: &BatchLog) {
        if self.number > 0 && self.number.is_multiple_of(EVERY) {
            self.checkpoint(log);
        }
    }

    /// Failing costs the next opening time, and nothing else: no error stops a batch that stands.
    fn checkpoint(&self, log: &BatchLog) {
        let path = log.folder().join(format!("{:020}.ledger", self.number));
        if durable::replace(&path, &self.encode()).is_ok() {
            let mut older = checkpoints(log.folder());
            older.retain(|n| *n < self.number);
            // One more is kept, should this one turn out damaged.
            older.pop();
            for number in older {
                let _ = fs::remove_file(log.folder().join(format!("{number:020}.ledger")));
            }
        }
    }

    /// Magic, number, watermark (flag and value), digests in order, SHA-256 of it all; big-endian.
    fn encode(&self) -> Vec<u8> {
        let mut files: Vec<&[u8; 32]> = self.files.iter().collect();
        files.sort_unstable();
        let mut bytes = Vec::with_capacity(80 + 32 * files.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.push(u8::from(self.watermark_ms.is_some()));
        bytes.extend_from_slice(&self.watermark_ms.unwrap_or(0).to_be_bytes());
        files.iter().for_each(|f| bytes.extend_from_slice(*f));
        let check: [u8; 32] = Sha256::digest(&bytes).into();
        bytes.extend_from_slice(&check);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Ledger> {
        let (body, check) = bytes.split_last_chunk::<32>()?;
        let sum: [u8; 32] = Sha256::digest(body).into();
        if sum != *check {
            return None;
        }
        let (number, rest) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let (flag, rest) = rest.split_first()?;
        let (watermark, digests) = rest.split_first_chunk::<8>()?;
        let (files, left) = digests.as_chunks::<32>();
        left.is_empty().then(|| Ledger {
            number: u64::from_be_bytes(*number),
            watermark_ms: (*flag == 1).then(|| i64::from_be_bytes(*watermark)),
            files: files.iter().copied().collect(),
        })
    }
}

/// The newest checkpoint that is whole and whose manifest stands; an empty ledger without one.
fn newest_checkpoint(log: &BatchLog, manifests: &[u64]) -> Result<Ledger, LakeError> {
    for number in checkpoints(log.folder()).into_iter().rev() {
        let path = log.folder().join(format!("{number:020}.ledger"));
        let good = fs::read(path).ok().and_then(|bytes| Ledger::decode(&bytes)).filter(|l| l.number == number);
        if let Some(ledger) = good
            && manifests.binary_search(&number).is_ok()
        {
            return Ok(ledger);
        }
    }
    Ok(Ledger::default())
}

/// Numbers of the checkpoints that stand, ascending.
fn checkpoints(folder: &Path) -> Vec<u64> {
    let number = |e: fs::DirEntry| e.file_name().to_str()?.strip_suffix(".ledger")?.parse().ok();
    let mut numbers: Vec<u64> = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    if hex.len() != 64 {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::batches::{Counts, FORMAT, Put, Source};
    use std::collections::BTreeMap;

    fn manifest(number: u64) -> Manifest {
        Manifest {
            format: FORMAT,
            feed: "f".into(),
            partition: "p".into(),
            number,
            batch: format!("{number:032x}"),
            committed_ms: 0,
            program: String::new(),
            mapping: String::new(),
            mapping_version: 1,
            mapping_digest: String::new(),
            profile_version: 1,
            profile_digest: String::new(),
            sources: vec![Source { file: Some(file(number)), offset: 0, bytes: 1, records: 0 }],
            counts: Counts::default(),
            epochs: Vec::new(),
            watermark_ms: Some(number as i64),
            finished: false,
            last_sequence: None,
            adds: BTreeMap::new(),
            open: Vec::new(),
            append: Vec::new(),
            stream: None,
            headers: Vec::new(),
            replay: None,
        }
    }

    fn file(number: u64) -> String {
        format!("{number:064x}")
    }

    /// Manifests written without syncs: the log's own durable put is tested elsewhere.
    fn log_of(lake: &Path, range: std::ops::RangeInclusive<u64>) -> BatchLog {
        let log = BatchLog::new(lake, "f", "p");
        fs::create_dir_all(log.folder()).unwrap();
        for n in range {
            let text = serde_json::to_vec(&manifest(n)).unwrap();
            fs::write(log.folder().join(format!("{n:020}.json")), text).unwrap();
        }
        log
    }

    #[test]
    fn two_thousand_manifests_are_read_once() {
        let lake = tempfile::tempdir().unwrap();
        let log = log_of(lake.path(), 1..=2000);
        let (from_all, newest) = Ledger::open(&log).unwrap();
        assert_eq!((from_all.number, newest.unwrap().number), (2000, 2000));
        assert_eq!(checkpoints(log.folder()), [2000]);
        // Were the old manifests read again, this would fail.
        for n in 1..2000 {
            fs::write(log.folder().join(format!("{n:020}.json")), "not a manifest").unwrap();
        }
        log_of(lake.path(), 2001..=2010);
        let (ledger, newest) = Ledger::open(&log).unwrap();
        assert_eq!(newest.unwrap().number, 2010);
        assert_eq!(ledger.watermark_ms(), Some(2010));
        for n in [1, 999, 2000, 2001, 2010] {
            assert!(ledger.knows(&file(n)), "{n}");
        }
        assert!(!ledger.knows(&file(2011)) && !ledger.knows("short") && !ledger.knows(&"zz".repeat(32)));
    }

    #[test]
    fn a_damaged_or_foreign_checkpoint_is_passed_over() {
        let lake = tempfile::tempdir().unwrap();
        let log = log_of(lake.path(), 1..=300);
        let (whole, _) = Ledger::open(&log).unwrap();
        let path = log.folder().join(format!("{:020}.ledger", 300));
        let good = fs::read(&path).unwrap();
        for damage in [&good[..good.len() - 1], &[&good[..40], b"x", &good[41..]].concat(), b""] {
            fs::write(&path, damage).unwrap();
            assert_eq!(Ledger::open(&log).unwrap().0, whole);
        }
        // One of a later number, of a log that was restored from an older copy.
        fs::write(log.folder().join(format!("{:020}.ledger", 301)), &good).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(Ledger::open(&log).unwrap().0, whole);
    }

    #[test]
    fn the_writer_leaves_two_checkpoints() {
        let lake = tempfile::tempdir().unwrap();
        let log = BatchLog::new(lake.path(), "f", "p");
        let mut ledger = Ledger::default();
        for n in 1..=3 * EVERY {
            let manifest = manifest(n);
            if n % EVERY == 0 {
                assert!(matches!(log.put(&manifest).unwrap(), Put::Done));
            }
            ledger.take(&manifest);
            ledger.checkpoint_if_due(&log);
        }
        assert_eq!(checkpoints(log.folder()), [2 * EVERY, 3 * EVERY]);
        assert_eq!(Ledger::open(&log).unwrap().0, ledger);
    }
}
