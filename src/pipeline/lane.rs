//! One feed partition at work: what its batch log says, and the batch under construction.

use super::block::{Formats, SequenceRun};
use super::engine::Setting;
use super::{Keys, PipelineError};
use crate::failpoint;
use crate::lake::batches::{AppendPosition, Counts, FORMAT, Headed, Manifest, OpenHalf, Source, StreamPosition};
use crate::lake::delta::AddFile;
use crate::lake::durable::random_name;
use crate::lake::parquet;
use crate::lake::resolved::Replay;
use crate::record::time::Day;
use crate::sink::cdr::Constants;
use crate::sink::commit::PartitionLog;
use crate::sink::encode::TableFormat;
use crate::sink::stage::{Stage, table_folder};
use crate::tally::{self, Partial};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The partition of a feed of files.
pub const FILES: &str = "files";

/// Growing files of one feed whose positions are kept; beyond it the one moved longest ago is
/// forgotten.
const POSITIONS_MAX: usize = 4096;

/// Names a lane for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub(super) u32);

/// An open feed partition.
pub struct Lane {
    pub(super) partition: String,
    pub(super) log: PartitionLog,
    // What the newest manifest says.
    pub(super) watermark_ms: Option<i64>,
    pub(super) last_sequence: Option<u64>,
    pub(super) last_finished: bool,
    pub(super) positions: Vec<AppendPosition>,
    pub(super) stream: Option<StreamPosition>,
    // The batch under construction.
    pub(super) open: Option<Batch>,
}

/// Everything a lane has staged since its last commit.
pub struct Batch {
    pub(super) stage: Stage,
    /// `StageSerial::own` of its blocks.
    pub(super) serial: u32,
    pub(super) constants: Arc<Constants>,
    pub(super) arrival: Day,
    pub(super) window: (i64, i64),
    pub(super) sources: Vec<Source>,
    pub(super) counts: Counts,
    pub(super) newest_ms: Option<i64>,
    pub(super) epochs: BTreeSet<String>,
    pub(super) sequences: Vec<(u64, SequenceRun)>,
    pub(super) moved: Vec<AppendPosition>,
    pub(super) stream: Option<StreamPosition>,
    /// Sealed blocks of refused records by the header row these stood under.
    pub(super) headers: BTreeMap<Arc<[String]>, Vec<[u8; 16]>>,
    pub(super) replay: Option<Replay>,
    pub(super) begun_ms: i64,
}

impl Lane {
    pub(super) fn new(partition: &str, log: PartitionLog, newest: Option<&Manifest>) -> Lane {
        Lane {
            partition: partition.to_owned(),
            watermark_ms: log.ledger().watermark_ms(),
            last_sequence: newest.and_then(|m| m.last_sequence),
            last_finished: newest.is_none_or(|m| m.finished),
            positions: newest.map(|m| m.append.clone()).unwrap_or_default(),
            stream: newest.and_then(|m| m.stream.clone()),
            open: None,
            log,
        }
    }

    /// Takes up what `manifest`, the newest one now, says; a watermark never goes back.
    pub(super) fn follow(&mut self, manifest: &Manifest) {
        self.watermark_ms = self.watermark_ms.max(manifest.watermark_ms);
        self.last_sequence = self.last_sequence.max(manifest.last_sequence);
        self.last_finished = manifest.finished;
        self.positions.clone_from(&manifest.append);
        self.stream.clone_from(&manifest.stream);
    }

    /// What is to be put for `batch`; its number is the committer's to give.
    pub(super) fn manifest(
        &self,
        setting: &Setting<'_>,
        batch: &Batch,
        adds: BTreeMap<String, Vec<AddFile>>,
        open: Vec<OpenHalf>,
        headers: Vec<Headed>,
        finished: bool,
    ) -> Manifest {
        let feed = &setting.feed;
        let mut append = self.positions.clone();
        batch.moved.iter().for_each(|p| move_to(&mut append, p.clone()));
        Manifest {
            format: FORMAT,
            feed: feed.name.clone(),
            partition: self.partition.clone(),
            number: 0,
            batch: batch.stage.batch().to_owned(),
            committed_ms: setting.clock.now_ms(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            mapping: feed.mapping.name().to_owned(),
            mapping_version: feed.mapping.version(),
            mapping_digest: feed.mapping.digest().to_owned(),
            profile_version: feed.profile_version,
            profile_digest: feed.profile_digest.clone(),
            sources: batch.sources.clone(),
            counts: batch.counts.clone(),
            epochs: batch.epochs.iter().cloned().collect(),
            watermark_ms: self.watermark_ms.max(batch.newest_ms.map(quarter)),
            finished,
            last_sequence: self.sequence_gaps(batch).1,
            adds,
            open,
            append,
            stream: batch.stream.clone().or_else(|| self.stream.clone().map(|s| StreamPosition { skipped: 0, ..s })),
            headers,
            replay: batch.replay.clone(),
        }
    }

    /// Sequence numbers that never came, and the highest one so far.
    pub(super) fn sequence_gaps(&self, batch: &Batch) -> (u64, Option<u64>) {
        let mut runs: Vec<&(u64, SequenceRun)> = batch.sequences.iter().collect();
        runs.sort_unstable_by_key(|r| r.0);
        let (mut gaps, mut last) = (0, self.last_sequence);
        for (_, run) in runs {
            gaps += run.missing + last.map_or(0, |l| run.first.saturating_sub(l + 1));
            last = last.max(Some(run.last));
        }
        (gaps, last)
    }
}

impl Batch {
    pub(super) fn begin(setting: &Setting<'_>, formats: &Formats, keys: &Keys, serial: u32) -> Batch {
        let now = setting.clock.now_ms();
        let name = random_name();
        let constants = Constants {
            feed: setting.feed.name.clone(),
            batch: name.clone(),
            trunks: setting.feed.trunks.names().map(str::to_owned).collect(),
        };
        let formats = [&formats.cdr, &formats.evidence, &formats.identities, &formats.quarantine];
        let tables: HashMap<&'static str, (Arc<TableFormat>, PathBuf)> =
            formats.map(|f| (f.name, (Arc::clone(f), table_folder(setting.site, f.name)))).into();
        Batch {
            stage: Stage::new(name, tables),
            serial,
            constants: Arc::new(constants),
            arrival: keys.quarantine_day(Day::of_ms(now)),
            window: setting.feed.window(now),
            sources: Vec::new(),
            counts: Counts::default(),
            newest_ms: None,
            epochs: BTreeSet::new(),
            sequences: Vec::new(),
            moved: Vec::new(),
            stream: None,
            headers: BTreeMap::new(),
            replay: None,
            begun_ms: now,
        }
    }

    /// Decompressed bytes of the sources that ended in it.
    pub(super) fn bytes(&self) -> u64 {
        self.sources.iter().map(|s| s.bytes).sum()
    }

    /// Closes and syncs every file, the tally's too: all that a manifest may name.
    pub(super) fn seal(
        &mut self,
        site: &Path,
        tally: Option<Partial>,
    ) -> Result<BTreeMap<String, Vec<AddFile>>, PipelineError> {
        let mut adds = self.stage.finish()?;
        failpoint::reached("stage.finished");
        let dir = table_folder(site, "tally");
        for (day, cells) in tally.map(Partial::into_batches).unwrap_or_default() {
            let partition = BTreeMap::from([("event_day".to_owned(), day.to_string())]);
            let relative = format!("event_day={day}/{}", self.stage.file_name());
            self.stage.adopt(dir.join(&relative));
            let add = parquet::write_file(&dir, &relative, partition, tally::schema(), &[cells])?;
            adds.entry("tally".to_owned()).or_default().push(add);
        }
        failpoint::reached("tally.written");
        Ok(adds)
    }
}

/// Floored to 15 minutes: the log stands in the lake, where no exact time of a call may stand.
fn quarter(ms: i64) -> i64 {
    const QUARTER_MS: i64 = 15 * 60 * 1000;
    ms.div_euclid(QUARTER_MS) * QUARTER_MS
}

/// Puts `position` at the end in place of its file's older one.
pub(super) fn move_to(positions: &mut Vec<AppendPosition>, position: AppendPosition) {
    positions.retain(|p| p.path != position.path);
    positions.push(position);
    let surplus = positions.len().saturating_sub(POSITIONS_MAX);
    positions.drain(..surplus);
}
