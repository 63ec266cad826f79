//! What a run tells at its end. Field names are a contract that others script against.

use crate::lake::batches::{Counts, StreamPosition};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// File reports that a run without end keeps.
const REPORTS_MAX: usize = 10_000;

/// What became of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Committed whole.
    Loaded,
    /// Its content was loaded before, under this or another name; nothing was loaded now.
    AlreadyLoaded,
    /// It holds no record.
    Empty,
    /// It is not complete yet; nothing was loaded, a later run takes it.
    Waiting,
    /// It cannot be read; nothing was loaded.
    Refused,
}

#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// As it was named to us.
    pub path: String,
    pub fate: Fate,
    /// Why it waits or was refused: a code, then words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub records: u64,
    pub bytes: u64,
    /// The refusal is a matter of usage or configuration, not of the file's state.
    #[serde(skip)]
    pub usage: bool,
    /// How its content is recognised; known once it is loaded.
    #[serde(skip)]
    pub identity: Option<String>,
    /// Which input of the run it was: small files are settled later than what came after them.
    #[serde(skip)]
    pub input: usize,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub feed: String,
    pub records_in: u64,
    pub veiled: u64,
    pub joined: u64,
    pub quarantined: u64,
    pub quarantined_by: BTreeMap<String, u64>,
    pub dropped: u64,
    pub dropped_by: BTreeMap<String, u64>,
    /// Halves of calls that wait for their other half.
    pub open: u64,
    /// Sequence numbers that never came, for feeds that number their records.
    pub sequence_gaps: u64,
    pub batches: u64,
    /// Of a run without end, the newest [`REPORTS_MAX`].
    pub files: Vec<FileReport>,
    /// Of a Kafka feed: where each partition stands that this run had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<StreamPosition>,
    /// Of a Kafka feed with a sink: what that wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<SinkSummary>,
    /// Decompressed.
    pub bytes_in: u64,
    pub seconds: f64,
    pub records_per_second: f64,
    pub peak_rss_bytes: u64,
}

/// What the Kafka sink did in a run: of committed transactions only.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SinkSummary {
    pub records_in: u64,
    /// Veiled records written.
    pub sent: u64,
    pub refused: u64,
    pub dropped: u64,
    /// Refused records written; 0 where no topic is for them.
    pub dead_letters: u64,
    pub transactions: u64,
    pub aborted: u64,
    /// Where each partition stands, as the group `GROUP.sink` says.
    pub offsets: Vec<StreamPosition>,
}

impl Summary {
    pub fn add(&mut self, counts: &Counts) {
        self.records_in += counts.records_in;
        self.veiled += counts.veiled;
        self.joined += counts.joined;
        self.quarantined += counts.quarantined;
        self.dropped += counts.dropped;
        for (from, to) in
            [(&counts.quarantined_by, &mut self.quarantined_by), (&counts.dropped_by, &mut self.dropped_by)]
        {
            for (k, v) in from {
                *to.entry(k.clone()).or_default() += v;
            }
        }
    }

    /// For runs without end: a file that had to wait and came again is told of once, and the list
    /// stays short. Reports from `since` on are new.
    pub fn tidy(&mut self, since: usize) {
        if self.files.len() == since {
            return;
        }
        let new: HashSet<String> = self.files[since..].iter().map(|f| f.path.clone()).collect();
        let mut at = 0;
        self.files.retain(|f| {
            at += 1;
            at > since || f.fate != Fate::Waiting || !new.contains(&f.path)
        });
        self.files.drain(..self.files.len().saturating_sub(REPORTS_MAX));
    }
}

/// Tells somebody how far a run is. All methods are called from one thread.
pub trait Observer {
    fn file_begins(&mut self, path: &str, bytes: Option<u64>);
    /// Raw bytes read of the current file, records taken in over the whole run.
    fn progress(&mut self, raw_bytes: u64, records: u64);
    fn file_ends(&mut self, report: &FileReport);
    fn committed(&mut self, number: u64, counts: &Counts);
}

/// Tells nobody.
pub struct Silent;

impl Observer for Silent {
    fn file_begins(&mut self, _: &str, _: Option<u64>) {}
    fn progress(&mut self, _: u64, _: u64) {}
    fn file_ends(&mut self, _: &FileReport) {}
    fn committed(&mut self, _: u64, _: &Counts) {}
}
