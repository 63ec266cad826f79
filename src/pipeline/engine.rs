//! One feed partition at work: workers, the stage under construction, the way to commit it.

use super::block::{Done, Formats, Job, SequenceRun, Work};
use super::halves::Halves;
use super::pool::Pool;
use super::summary::{Observer, Summary};
use super::{Feed, Keys, PipelineError};
use crate::clock::Clock;
use crate::failpoint;
use crate::keys::KeySource;
use crate::lake::batches::{AppendPosition, BatchLog, Counts, FORMAT, Manifest, Source};
use crate::lake::contract::{Column, ColumnKind, Contract, column};
use crate::lake::durable::random_name;
use crate::lake::sweep::Swept;
use crate::lake::{parquet, tables};
use crate::pseudonymise::hmac::keyed_digest;
use crate::record::time::Day;
use crate::sink::cdr::Constants;
use crate::sink::commit::{Committer, Outcome};
use crate::sink::encode::TableFormat;
use crate::sink::quarantine::{self, Refused};
use crate::sink::stage::{Stage, table_folder};
use crate::sink::{SinkError, commit};
use crate::tally;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a feed works and with what.
pub struct Setting<'a> {
    pub site: &'a Path,
    pub feed: Arc<Feed>,
    pub partition: &'a str,
    pub keys: &'a dyn KeySource,
    pub clock: &'a dyn Clock,
    /// Worker threads.
    pub workers: usize,
    /// Go on although open halves can no longer be read again.
    pub forget_open: bool,
    /// Files that were staged and not committed may be swept at this age; a batch is given up at
    /// half of it.
    pub orphan_after_ms: i64,
}

/// Runs blocks through the workers into a stage, and commits it.
pub struct Engine<'a> {
    // Dependencies.
    pub setting: Setting<'a>,
    runtime: tokio::runtime::Runtime,
    pool: Pool,
    formats: Arc<Formats>,
    committer: Committer,
    keys: Arc<Keys>,
    // What the batch log says.
    watermark_ms: Option<i64>,
    last_sequence: Option<u64>,
    last_finished: bool,
    positions: Vec<AppendPosition>,
    pub halves: Halves,
    // The batch under construction.
    open: Option<Batch>,
    generation: u64,
    index: u64,
    pub summary: Summary,
}

/// Everything staged since the last commit.
struct Batch {
    stage: Stage,
    constants: Arc<Constants>,
    arrival: Day,
    window: (i64, i64),
    sources: Vec<Source>,
    counts: Counts,
    newest_ms: Option<i64>,
    epochs: BTreeSet<String>,
    sequences: Vec<(u64, SequenceRun)>,
    moved: Vec<AppendPosition>,
    begun_ms: i64,
}

/// Growing files of one feed whose positions are kept; beyond it the one moved longest ago is
/// forgotten.
const POSITIONS_MAX: usize = 4096;

/// What became of a commit.
pub enum Progress {
    Committed,
    /// Another process loaded some of these files meanwhile: the stage was dropped.
    Dropped,
}

impl<'a> Engine<'a> {
    /// Opens the tables, finishes what an earlier run began, takes up where it stopped.
    pub fn open(setting: Setting<'a>) -> Result<Engine<'a>, PipelineError> {
        let keys = Arc::new(Keys::new(setting.keys.refresh()?.ok_or(PipelineError::Worker)?));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(crate::lake::LakeError::io("cannot start a runtime in", setting.site))?;
        let contracts = contracts();
        let formats = Arc::new(formats(&contracts)?);
        let opening = Committer::open(setting.site, &setting.feed.name, setting.partition, &contracts);
        let (committer, last) = runtime.block_on(opening)?;
        let last = last.as_ref();
        let mut engine = Engine {
            pool: Pool::new(setting.workers, &setting.feed, &formats),
            watermark_ms: committer.ledger().watermark_ms(),
            last_sequence: last.and_then(|m| m.last_sequence),
            last_finished: last.is_none_or(|m| m.finished),
            positions: last.map(|m| m.append.clone()).unwrap_or_default(),
            halves: Halves::default(),
            summary: Summary { feed: setting.feed.name.clone(), ..Summary::default() },
            open: None,
            generation: 0,
            index: 0,
            setting,
            runtime,
            formats,
            committer,
            keys,
        };
        if let Some(last) = last {
            let forget = engine.setting.forget_open;
            engine.halves.restore(&last.open, &engine.setting.feed, &engine.keys, forget)?;
        }
        Ok(engine)
    }

    /// Forgets what a dropped stage absorbed: open halves are again those of the newest manifest,
    /// which may be another process's.
    pub fn restore_halves(&mut self) -> Result<(), PipelineError> {
        let feed = Arc::clone(&self.setting.feed);
        if !feed.mapping.joins() {
            return Ok(());
        }
        let log = BatchLog::new(&self.setting.site.join("lake"), &feed.name, self.setting.partition);
        let newest = log.last()?;
        let open = if newest > 0 { log.read(newest)?.open } else { Vec::new() };
        self.halves.restore(&open, &feed, &self.keys, self.setting.forget_open)
    }

    /// Takes up new keys when the key file changed (a month began, an epoch was opened).
    pub fn refresh_keys(&mut self) -> Result<(), PipelineError> {
        if let Some(ring) = self.setting.keys.refresh()? {
            self.keys = Arc::new(Keys::new(ring));
        }
        Ok(())
    }

    /// How a finished file is recognised: HMAC(site file key, SHA-256 of its content), hex.
    pub fn file_identity(&self, sha256: &[u8; 32]) -> String {
        keyed_digest(&self.keys.ring.file_key, sha256)
    }

    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Whether a file of this content is loaded, or staged to be.
    pub fn knows(&self, identity: &str) -> bool {
        let staged = self.open.iter().flat_map(|b| &b.sources).any(|s| s.file.as_deref() == Some(identity));
        staged || self.committer.ledger().knows(identity)
    }

    /// How far each growing file was loaded.
    pub fn positions(&self) -> &[AppendPosition] {
        &self.positions
    }

    pub fn position(&self, path: &str) -> Option<&AppendPosition> {
        self.positions.iter().find(|p| p.path == path)
    }

    /// The next commit moves this growing file to `position`, with everything staged so far.
    pub fn stage_position(&mut self, position: AppendPosition) {
        move_to(&mut self.batch().moved, position);
    }

    /// Removes what a run that ended badly left in the lake's tables, if it is old enough to be
    /// nobody's.
    pub fn sweep(&self) -> Result<Swept, PipelineError> {
        let before_ms = self.setting.clock.now_ms() - self.setting.orphan_after_ms;
        Ok(self.committer.sweep(&self.setting.site.join("lake"), before_ms)?)
    }

    pub fn has_staged(&self) -> bool {
        self.open.is_some()
    }

    /// Decompressed bytes staged since the last commit.
    pub fn staged_bytes(&self) -> u64 {
        self.open.iter().flat_map(|b| &b.sources).map(|s| s.bytes).sum()
    }

    /// Sends one block of source number `staged_sources()` to the workers.
    pub fn submit(&mut self, work: Work, continuation: bool) -> Result<(), PipelineError> {
        self.index += 1;
        let (generation, index) = (self.generation, self.index);
        let keys = Arc::clone(&self.keys);
        let batch = self.batch();
        let job = Job {
            work,
            keys,
            constants: Arc::clone(&batch.constants),
            window: batch.window,
            arrival: batch.arrival,
            source: batch.sources.len() as i32,
            continuation,
            generation,
            index,
        };
        let mut taken = Vec::new();
        self.pool.submit(job, &mut taken)?;
        self.collect(taken)
    }

    /// Waits for the workers and notes `source` as staged whole. Returns its records.
    pub fn end_source(&mut self, source: Source) -> Result<(), PipelineError> {
        self.drain()?;
        self.batch().sources.push(source);
        failpoint::reached("file.staged");
        Ok(())
    }

    /// Waits until every block handed in is in the stage.
    pub fn drain(&mut self) -> Result<(), PipelineError> {
        let mut taken = Vec::new();
        self.pool.drain(&mut taken)?;
        self.collect(taken)
    }

    /// Records taken in since the last commit.
    pub fn staged_records(&self) -> u64 {
        self.open.as_ref().map_or(0, |b| b.counts.records_in)
    }

    pub fn staged_counts(&self) -> Counts {
        self.open.as_ref().map_or_else(Counts::default, |b| b.counts.clone())
    }

    /// Drops everything staged since the last commit: nothing of it was loaded.
    pub fn abandon(&mut self) -> Result<(), PipelineError> {
        let mut taken = Vec::new();
        // What the workers still hold must not reach the next stage.
        let drained = self.pool.drain(&mut taken);
        self.open = None;
        self.generation += 1;
        drained
    }

    /// Counts halves that were joined into rows.
    pub fn count_joined(&mut self, joined: u64) {
        self.batch().counts.joined += joined;
    }

    /// Counts records that a named rule dropped outside a block.
    pub fn count_dropped(&mut self, rule: &str, n: u64) {
        let counts = &mut self.batch().counts;
        counts.dropped += n;
        *counts.dropped_by.entry(rule.to_owned()).or_default() += n;
    }

    /// Seals records that were refused outside a block (halves that never found their other half).
    pub fn quarantine(&mut self, refused: &[Refused<'_>]) -> Result<(), PipelineError> {
        if refused.is_empty() {
            return Ok(());
        }
        let formats = Arc::clone(&self.formats);
        let keys = Arc::clone(&self.keys);
        let batch = self.batch();
        let day = batch.arrival;
        let key = keys.ring.days.get(&day).ok_or_else(|| SinkError::NoKey { unit: day.to_string() })?;
        let whose = (batch.constants.feed.as_str(), batch.constants.batch.as_str());
        for group in quarantine::groups(&formats.quarantine, &key.quarantine, day, whose, refused)? {
            batch.stage.append(group)?;
        }
        batch.counts.quarantined += refused.len() as u64;
        for r in refused {
            *batch.counts.quarantined_by.entry(r.reason.code().to_owned()).or_default() += 1;
        }
        Ok(())
    }

    /// Commits what is staged; with nothing staged, does nothing unless `finished` must be said.
    pub fn commit(&mut self, finished: bool, observer: &mut dyn Observer) -> Result<Progress, PipelineError> {
        if self.open.is_none() && (!finished || self.last_finished) {
            return Ok(Progress::Committed);
        }
        self.drain()?;
        let partial = self.pool.flush(self.generation)?;
        let open_before = self.halves.committed();
        let (open, open_after) = self.halves.to_commit(&self.keys);
        self.batch();
        let mut batch = self.open.take().expect("made by batch()");
        let mut adds = batch.stage.finish()?;
        failpoint::reached("stage.finished");
        self.write_tally(&mut batch.stage, partial, &mut adds)?;
        failpoint::reached("tally.written");
        if self.setting.clock.now_ms() - batch.begun_ms > self.setting.orphan_after_ms / 2 {
            self.generation += 1;
            return Err(PipelineError::TooLong { feed: self.setting.feed.name.clone() });
        }
        batch.counts.open_before = open_before;
        batch.counts.open_after = open_after;
        let gaps = self.sequence_gaps(&mut batch.sequences);
        let mut manifest = self.manifest(&batch, adds, open, finished);
        loop {
            let outcome = match self.runtime.block_on(self.committer.commit(&mut manifest)) {
                Ok(outcome) => outcome,
                Err(e) => {
                    // A manifest that stands, or may stand, owns its files: whoever comes next
                    // finishes it with them.
                    if !self.committer.surely_not_put(&manifest) {
                        batch.stage.committed();
                    }
                    return Err(e.into());
                }
            };
            match outcome {
                Outcome::Committed(commit::Committed { number, .. }) => {
                    batch.stage.committed();
                    self.took_effect(&manifest, gaps);
                    observer.committed(number, &manifest.counts);
                    return Ok(Progress::Committed);
                }
                Outcome::Overtaken(other) => {
                    // A feed's watermark never goes back, whoever moved it.
                    self.watermark_ms = self.watermark_ms.max(other.watermark_ms);
                    self.last_sequence = self.last_sequence.max(other.last_sequence);
                    self.positions = other.append;
                    manifest.watermark_ms = manifest.watermark_ms.max(self.watermark_ms);
                    manifest.last_sequence = manifest.last_sequence.max(self.last_sequence);
                    manifest.append = self.positions.clone();
                    let known = |file: &String| self.committer.ledger().knows(file);
                    let theirs = manifest.sources.iter().any(|s| s.file.as_ref().is_some_and(known));
                    if theirs || !batch.moved.is_empty() || open_before + open_after > 0 {
                        self.generation += 1;
                        return Ok(Progress::Dropped);
                    }
                }
            }
        }
    }

    fn batch(&mut self) -> &mut Batch {
        let setting = &self.setting;
        self.open.get_or_insert_with(|| {
            let now = setting.clock.now_ms();
            let name = random_name();
            let constants = Constants {
                feed: setting.feed.name.clone(),
                batch: name.clone(),
                trunks: setting.feed.trunks.names().map(str::to_owned).collect(),
            };
            let formats =
                [&self.formats.cdr, &self.formats.evidence, &self.formats.identities, &self.formats.quarantine];
            let tables: HashMap<&'static str, (Arc<TableFormat>, PathBuf)> =
                formats.map(|f| (f.name, (Arc::clone(f), table_folder(setting.site, f.name)))).into();
            Batch {
                stage: Stage::new(name, tables),
                constants: Arc::new(constants),
                arrival: self.keys.quarantine_day(Day::of_ms(now)),
                window: setting.feed.window(now),
                sources: Vec::new(),
                counts: Counts::default(),
                newest_ms: None,
                epochs: BTreeSet::new(),
                sequences: Vec::new(),
                moved: Vec::new(),
                begun_ms: now,
            }
        })
    }

    fn collect(&mut self, taken: Vec<Done>) -> Result<(), PipelineError> {
        for done in taken {
            let batch = self.batch();
            for group in done.groups {
                batch.stage.append(group)?;
            }
            batch.counts.add(&done.counts);
            batch.newest_ms = batch.newest_ms.max(done.newest_ms);
            batch.epochs.extend(done.epochs.iter().map(ToString::to_string));
            batch.sequences.extend(done.sequence.map(|s| (done.index, s)));
            failpoint::reached("block.staged");
        }
        Ok(())
    }

    fn write_tally(
        &self,
        stage: &mut Stage,
        partial: tally::Partial,
        adds: &mut BTreeMap<String, Vec<crate::lake::delta::AddFile>>,
    ) -> Result<(), PipelineError> {
        let dir = table_folder(self.setting.site, "tally");
        for (day, cells) in partial.into_batches() {
            let partition = BTreeMap::from([("event_day".to_owned(), day.to_string())]);
            let relative = format!("event_day={day}/{}", stage.file_name());
            stage.adopt(dir.join(&relative));
            let add = parquet::write_file(&dir, &relative, partition, tally::schema(), &[cells])?;
            adds.entry("tally".to_owned()).or_default().push(add);
        }
        Ok(())
    }

    fn sequence_gaps(&self, runs: &mut [(u64, SequenceRun)]) -> (u64, Option<u64>) {
        runs.sort_unstable_by_key(|r| r.0);
        let (mut gaps, mut last) = (0, self.last_sequence);
        for (_, run) in runs.iter() {
            gaps += run.missing + last.map_or(0, |l| run.first.saturating_sub(l + 1));
            last = last.max(Some(run.last));
        }
        (gaps, last)
    }

    fn manifest(
        &self,
        batch: &Batch,
        adds: BTreeMap<String, Vec<crate::lake::delta::AddFile>>,
        open: Vec<crate::lake::batches::OpenHalf>,
        finished: bool,
    ) -> Manifest {
        let feed = &self.setting.feed;
        let mut sequences = batch.sequences.clone();
        let mut append = self.positions.clone();
        batch.moved.iter().for_each(|p| move_to(&mut append, p.clone()));
        Manifest {
            format: FORMAT,
            feed: feed.name.clone(),
            partition: self.setting.partition.to_owned(),
            number: 0,
            batch: batch.stage.batch().to_owned(),
            committed_ms: self.setting.clock.now_ms(),
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
            last_sequence: self.sequence_gaps(&mut sequences).1,
            adds,
            open,
            append,
        }
    }

    fn took_effect(&mut self, manifest: &Manifest, (gaps, last): (u64, Option<u64>)) {
        self.positions.clone_from(&manifest.append);
        self.watermark_ms = manifest.watermark_ms;
        self.last_sequence = last;
        self.last_finished = manifest.finished;
        self.halves.took_effect();
        self.summary.add(&manifest.counts);
        self.summary.sequence_gaps += gaps;
        self.summary.batches += 1;
        self.summary.open = manifest.counts.open_after;
        self.summary.bytes_in += manifest.sources.iter().map(|s| s.bytes).sum::<u64>();
    }
}

/// Floored to 15 minutes: the log stands in the lake, where no exact time of a call may stand.
fn quarter(ms: i64) -> i64 {
    const QUARTER_MS: i64 = 15 * 60 * 1000;
    ms.div_euclid(QUARTER_MS) * QUARTER_MS
}

/// Puts `position` at the end in place of its file's older one.
fn move_to(positions: &mut Vec<AppendPosition>, position: AppendPosition) {
    positions.retain(|p| p.path != position.path);
    positions.push(position);
    let surplus = positions.len().saturating_sub(POSITIONS_MAX);
    positions.drain(..surplus);
}

/// The five tables a batch writes.
pub fn contracts() -> Vec<Contract> {
    let kind = |k: &str| match k {
        "string" => ColumnKind::String,
        "integer" => ColumnKind::Integer,
        "long" => ColumnKind::Long,
        "timestamp" => ColumnKind::Timestamp,
        _ => ColumnKind::Binary,
    };
    let tally_columns: Vec<Column> =
        tally::delta_columns().iter().map(|(n, k, null)| column(n, kind(k), *null)).collect();
    let tally = Contract {
        name: "tally",
        columns: tally_columns,
        partition: vec![column("event_day", ColumnKind::Date, false)],
    };
    vec![tables::cdr(), tally, tables::evidence(), tables::identities(), tables::quarantine()]
}

fn formats(contracts: &[Contract]) -> Result<Formats, SinkError> {
    let format = |name: &str, lookup: &[&str]| {
        let contract = contracts.iter().find(|c| c.name == name).expect("one of the five");
        TableFormat::new(contract, lookup).map(Arc::new)
    };
    Ok(Formats {
        cdr: format("cdr", &[])?,
        evidence: format("evidence", &["a_party", "b_party", "c_party", "imsi", "imei", "address"])?,
        identities: format("identities", &[])?,
        quarantine: format("quarantine", &[])?,
    })
}
