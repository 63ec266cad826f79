//! The batch log: numbered manifests under `lake/_batches/FEED/PARTITION/`. Putting manifest N is
//! the commit point of a batch; the tables' own commits are its consequences (architecture 4).

use super::LakeError;
use super::delta::AddFile;
use super::durable;
use super::resolved::Replay;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The tables a batch writes, by their names in a manifest.
pub const TABLES: [&str; 5] = ["cdr", "tally", "evidence", "identities", "quarantine"];

/// Everything the next owner needs to finish a batch, and nothing that identifies anybody.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    pub feed: String,
    pub partition: String,
    pub number: u64,
    /// 128 random bits in hex: tells whose manifest stands at a number.
    pub batch: String,
    pub committed_ms: i64,
    pub program: String,
    pub mapping: String,
    pub mapping_version: u32,
    pub mapping_digest: String,
    pub profile_version: u32,
    pub profile_digest: String,
    pub sources: Vec<Source>,
    pub counts: Counts,
    /// Every epoch in which this batch made pseudonyms.
    pub epochs: Vec<String>,
    /// Newest event time this feed partition has seen up to here, floored to 15 minutes.
    pub watermark_ms: Option<i64>,
    /// The run that wrote this was finite and ended with this batch.
    pub finished: bool,
    /// Highest sequence number so far, for feeds that number their records.
    pub last_sequence: Option<u64>,
    pub adds: BTreeMap<String, Vec<AddFile>>,
    /// Halves of calls still waiting for their other half.
    pub open: Vec<OpenHalf>,
    /// Where an `append` feed goes on reading: one for each growing file, the one moved last at the end.
    pub append: Vec<AppendPosition>,
    /// Where a Kafka partition is read on; none for files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamPosition>,
    /// Under which header row the records of a sealed block stood that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Headed>,
    /// What this batch decided on records that were refused before; only in the partition `replay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

pub const FORMAT: u32 = 1;

/// One input file, or one stretch of a growing one.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// HMAC(site file key, SHA-256 of the decompressed bytes), hex; none for standard input.
    pub file: Option<String>,
    pub offset: u64,
    pub bytes: u64,
    pub records: u64,
}

/// The balance of a batch: `records_in + open_before = veiled + joined + quarantined + dropped + open_after`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub records_in: u64,
    pub open_before: u64,
    pub veiled: u64,
    pub joined: u64,
    pub quarantined: u64,
    pub dropped: u64,
    pub open_after: u64,
    pub quarantined_by: BTreeMap<String, u64>,
    pub dropped_by: BTreeMap<String, u64>,
}

impl Counts {
    pub fn balances(&self) -> bool {
        self.records_in + self.open_before
            == self.veiled + self.joined + self.quarantined + self.dropped + self.open_after
            && self.quarantined == self.quarantined_by.values().sum::<u64>()
            && self.dropped == self.dropped_by.values().sum::<u64>()
    }

    pub fn add(&mut self, other: &Counts) {
        self.records_in += other.records_in;
        self.veiled += other.veiled;
        self.joined += other.joined;
        self.quarantined += other.quarantined;
        self.dropped += other.dropped;
        for (k, v) in &other.quarantined_by {
            *self.quarantined_by.entry(k.clone()).or_default() += v;
        }
        for (k, v) in &other.dropped_by {
            *self.dropped_by.entry(k.clone()).or_default() += v;
        }
    }
}

/// Where a waiting half can be read again. The path is encrypted under the site's file key, as a
/// file's name may say more than it should.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct OpenHalf {
    pub path: String,
    pub offset: u64,
    pub bytes: u64,
    pub line: u64,
    pub seen_ms: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AppendPosition {
    /// HMAC(site file key, path), hex: which growing file.
    pub path: String,
    /// HMAC(site file key, SHA-256 of the bytes before `offset`), hex.
    pub prefix: String,
    pub offset: u64,
    /// It only decides between files that begin alike.
    pub inode: u64,
}

/// Blocks of `vault/quarantine` whose records stood under one header row.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Headed {
    /// The column names in order, encrypted under the site's file key, hex: they are not ours.
    pub columns: String,
    /// Ids of the blocks, hex.
    pub blocks: Vec<String>,
}

/// Where a Kafka partition is read on after a batch. This, and not what the consumer group
/// remembers, is the truth.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct StreamPosition {
    pub topic: String,
    pub partition: i32,
    pub next_offset: i64,
    /// Offsets before this batch that the broker had deleted unread, and that the feed was told to
    /// go on without.
    #[serde(default)]
    pub skipped: u64,
}

/// The batch log of one feed partition.
pub struct BatchLog {
    dir: PathBuf,
    feed: String,
    partition: String,
}

/// What became of an attempt to put a manifest.
#[derive(Debug)]
pub enum Put {
    Done,
    /// Somebody else's manifest stands at that number.
    Taken(Box<Manifest>),
}

impl BatchLog {
    pub fn new(lake: &Path, feed: &str, partition: &str) -> BatchLog {
        BatchLog {
            dir: lake.join("_batches").join(feed).join(partition),
            feed: feed.into(),
            partition: partition.into(),
        }
    }

    /// The application id of this partition's marks in every table.
    pub fn app(&self) -> String {
        format!("{}/{}", self.feed, self.partition)
    }

    /// Number of the newest manifest; 0 when there is none.
    pub fn last(&self) -> Result<u64, LakeError> {
        Ok(numbers(&self.dir)?.into_iter().max().unwrap_or(0))
    }

    pub fn read(&self, number: u64) -> Result<Manifest, LakeError> {
        read_manifest(&self.path(number))
    }

    /// Numbers of all manifests, ascending.
    pub fn numbers(&self) -> Result<Vec<u64>, LakeError> {
        let mut numbers = numbers(&self.dir)?;
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// Puts `manifest` at its number if nothing stands there. An answer that was lost is
    /// recognised by the batch id.
    pub fn put(&self, manifest: &Manifest) -> Result<Put, LakeError> {
        let path = self.path(manifest.number);
        durable::create_folders(&self.dir)?;
        let text = serde_json::to_vec(manifest)
            .map_err(|e| LakeError::Manifest { path: path.clone(), reason: e.to_string() })?;
        match durable::put_new(&path, &text) {
            Ok(()) => Ok(Put::Done),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // The other writer may not have come to it yet, and the tables follow at once.
                self.sync()?;
                let standing = read_manifest(&path)?;
                Ok(if standing.batch == manifest.batch { Put::Done } else { Put::Taken(Box::new(standing)) })
            }
            Err(e) => Err(LakeError::io("cannot put manifest", &path)(e)),
        }
    }

    /// Makes durable what stands in the log, whoever put it there.
    pub fn sync(&self) -> Result<(), LakeError> {
        match durable::sync_folder(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(LakeError::io("cannot sync", &self.dir)),
        }
    }

    /// Whether this very batch stands at its number.
    pub fn holds(&self, manifest: &Manifest) -> Result<bool, LakeError> {
        match self.read(manifest.number) {
            Ok(standing) => Ok(standing.batch == manifest.batch),
            Err(LakeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:020}.json"))
    }
}

/// The newest manifest of one feed partition.
#[derive(Clone, Debug)]
pub struct Latest {
    pub feed: String,
    pub partition: String,
    pub number: u64,
    pub watermark_ms: Option<i64>,
    pub finished: bool,
    pub committed_ms: i64,
}

/// The newest manifest of every feed partition that has delivered.
pub fn latest(lake: &Path) -> Result<Vec<Latest>, LakeError> {
    let mut all = Vec::new();
    for (feed, partition) in partitions(lake)? {
        let log = BatchLog::new(lake, &feed, &partition);
        let number = log.last()?;
        if number > 0 {
            let m = log.read(number)?;
            all.push(Latest {
                feed,
                partition,
                number,
                watermark_ms: m.watermark_ms,
                finished: m.finished,
                committed_ms: m.committed_ms,
            });
        }
    }
    Ok(all)
}

/// Every (feed, partition) that has a batch log.
pub fn partitions(lake: &Path) -> Result<Vec<(String, String)>, LakeError> {
    let root = lake.join("_batches");
    let mut found = Vec::new();
    for feed in folders(&root)? {
        for partition in folders(&root.join(&feed))? {
            found.push((feed.clone(), partition));
        }
    }
    found.sort();
    Ok(found)
}

fn folders(dir: &Path) -> Result<Vec<String>, LakeError> {
    let mut names = Vec::new();
    for entry in entries(dir)? {
        if entry.path().is_dir() {
            names.extend(entry.file_name().to_str().map(str::to_owned));
        }
    }
    Ok(names)
}

fn numbers(dir: &Path) -> Result<Vec<u64>, LakeError> {
    let number = |e: fs::DirEntry| e.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
    Ok(entries(dir)?.into_iter().filter_map(number).collect())
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, LakeError> {
    match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(LakeError::io("cannot list", dir)(e)),
        Ok(list) => list.collect::<Result<_, _>>().map_err(LakeError::io("cannot list", dir)),
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, LakeError> {
    let text = fs::read(path).map_err(LakeError::io("cannot read", path))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|e| LakeError::Manifest { path: path.to_owned(), reason: e.to_string() })?;
    if manifest.format != FORMAT {
        return Err(LakeError::Manifest {
            path: path.to_owned(),
            reason: format!("format {}, this program reads {FORMAT}", manifest.format),
        });
    }
    Ok(manifest)
}
