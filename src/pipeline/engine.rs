//! One feed at work in one process: the workers, the open tables, and its lanes.
//!
//! A lane is a feed partition: its batch log and the batch under construction. Feeds of files have
//! one, [`FILES`](super::lane::FILES) (see `file_lane`); a Kafka feed has one for each partition
//! that it was assigned (see `stream`). `round` commits.

use super::block::{Done, Formats, Job, Work};
use super::file_lane;
use super::halves::Halves;
use super::lane::{Batch, Lane, LaneId};
use super::pool::Pool;
use super::summary::Summary;
use super::{Feed, Keys, PipelineError};
use crate::clock::Clock;
use crate::failpoint;
use crate::keys::KeySource;
use crate::lake::batches::{Counts, Source, StreamPosition};
use crate::lake::contract::{Column, ColumnKind, Contract, column};
use crate::lake::sweep::Swept;
use crate::lake::tables;
use crate::sink::SinkError;
use crate::sink::commit::Committer;
use crate::sink::encode::TableFormat;
use crate::sink::identities::StageSerial;
use crate::tally;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Where a feed works and with what.
pub struct Setting<'a> {
    pub site: &'a Path,
    pub feed: Arc<Feed>,
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

/// Runs blocks through the workers into the stages of lanes, and commits them.
pub struct Engine<'a> {
    // Dependencies.
    pub setting: Setting<'a>,
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) pool: Pool,
    pub(super) formats: Arc<Formats>,
    pub(super) committer: Committer,
    pub(super) keys: Arc<Keys>,
    pub(super) lanes: BTreeMap<LaneId, Lane>,
    /// Halves of calls; only feeds of files have them.
    pub halves: Halves,
    opened: u32,
    /// Serial number that the next batch takes.
    next_batch: u32,
    pub(super) generation: u64,
    index: u64,
    pub summary: Summary,
}

/// What became of a commit.
pub enum Progress {
    Committed,
    /// Another process was first: the stage was dropped.
    Dropped,
}

impl<'a> Engine<'a> {
    /// For a feed of files: opens the tables, finishes what an earlier run began, takes up where
    /// it stopped.
    pub fn open(setting: Setting<'a>) -> Result<Engine<'a>, PipelineError> {
        let mut engine = Engine::without_lanes(setting)?;
        file_lane::open(&mut engine)?;
        Ok(engine)
    }

    /// Opens the tables and starts the workers.
    pub fn without_lanes(setting: Setting<'a>) -> Result<Engine<'a>, PipelineError> {
        let keys = Arc::new(Keys::new(setting.keys.refresh()?.ok_or(PipelineError::Worker)?));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(crate::lake::LakeError::io("cannot start a runtime in", setting.site))?;
        let contracts = contracts();
        let formats = Arc::new(formats(&contracts)?);
        let committer = runtime.block_on(Committer::open(setting.site, &contracts))?;
        Ok(Engine {
            pool: Pool::new(setting.workers, &setting.feed, &formats),
            lanes: BTreeMap::new(),
            halves: Halves::default(),
            summary: Summary { feed: setting.feed.name.clone(), ..Summary::default() },
            opened: 0,
            next_batch: 1,
            generation: 0,
            index: 0,
            setting,
            runtime,
            formats,
            committer,
            keys,
        })
    }

    /// Opens a feed partition, and finishes what its newest manifest began.
    pub fn open_lane(&mut self, partition: &str) -> Result<LaneId, PipelineError> {
        let (log, newest) =
            self.runtime.block_on(self.committer.open_log(self.setting.site, &self.setting.feed.name, partition))?;
        let id = LaneId(self.opened);
        self.opened += 1;
        self.lanes.insert(id, Lane::new(partition, log, newest.as_ref()));
        if let Some(newest) = newest {
            let (feed, forget) = (Arc::clone(&self.setting.feed), self.setting.forget_open);
            self.halves.restore(&newest.open, &feed, &self.keys, forget)?;
        }
        Ok(id)
    }

    /// Closes a lane; what it has staged and not committed is dropped.
    pub fn close_lane(&mut self, id: LaneId) -> Result<(), PipelineError> {
        self.drop_stage(id)?;
        self.lanes.remove(&id);
        Ok(())
    }

    /// Takes up new keys when the key file changed (a month began, an epoch was opened).
    pub fn refresh_keys(&mut self) -> Result<(), PipelineError> {
        if let Some(ring) = self.setting.keys.refresh()? {
            self.keys = Arc::new(Keys::new(ring));
        }
        Ok(())
    }

    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Removes what a run that ended badly left in the lake's tables, if it is old enough to be
    /// nobody's.
    pub fn sweep(&self) -> Result<Swept, PipelineError> {
        let before_ms = self.setting.clock.now_ms() - self.setting.orphan_after_ms;
        let lake = self.setting.site.join("lake");
        Ok(self.runtime.block_on(self.committer.sweep(&lake, before_ms))?)
    }

    /// Blocks handed in and not yet in a stage.
    pub fn queued_blocks(&self) -> usize {
        self.pool.pending()
    }

    /// Where the newest manifest of a lane says that its Kafka partition is read on.
    pub fn stream_position(&self, id: LaneId) -> Option<&StreamPosition> {
        self.lane(id).stream.as_ref()
    }

    /// Newest event time of a lane's committed records, floored to 15 minutes.
    pub fn watermark_ms(&self, id: LaneId) -> Option<i64> {
        self.lane(id).watermark_ms
    }

    /// The next commit of this lane moves its Kafka partition to `position`, with the records of
    /// `source` and everything else that it has staged.
    pub fn stage_stream(&mut self, id: LaneId, position: StreamPosition, source: Option<Source>) {
        let batch = self.batch(id);
        batch.stream = Some(position);
        batch.sources.extend(source);
    }

    /// Sends one block of the lane's next source to the workers.
    pub fn submit_to(&mut self, id: LaneId, work: Work, continuation: bool) -> Result<(), PipelineError> {
        self.index += 1;
        let index = self.index;
        let keys = Arc::clone(&self.keys);
        let (settled_below, generation) = (self.settled_below(), self.generation);
        let batch = self.batch(id);
        let own = batch.serial;
        let job = Job {
            work,
            keys,
            constants: Arc::clone(&batch.constants),
            window: batch.window,
            arrival: batch.arrival,
            source: batch.sources.len() as i32,
            continuation,
            lane: id,
            // A batch that this very call began is not settled either.
            serial: StageSerial { own, settled_below: settled_below.min(own), generation },
            index,
        };
        let mut taken = Vec::new();
        self.pool.submit(job, &mut taken)?;
        self.collect(taken)
    }

    /// Whether a worker has nothing to do; blocks that are done go into their stages.
    pub fn has_idle_worker(&mut self) -> Result<bool, PipelineError> {
        let mut taken = Vec::new();
        self.pool.take_ready(&mut taken)?;
        self.collect(taken)?;
        Ok(self.pool.pending() < self.setting.workers)
    }

    /// Waits until every block handed in is in its stage.
    pub fn drain(&mut self) -> Result<(), PipelineError> {
        let mut taken = Vec::new();
        self.pool.drain(&mut taken)?;
        self.collect(taken)
    }

    /// What a lane took in since its last commit.
    pub fn taken_in(&self, id: LaneId) -> Counts {
        self.lane(id).open.as_ref().map_or_else(Counts::default, |b| b.counts.clone())
    }

    /// Drops what a lane has staged since its last commit: nothing of it was loaded.
    pub fn drop_stage(&mut self, id: LaneId) -> Result<(), PipelineError> {
        let mut taken = Vec::new();
        // What the workers still hold must not reach the lane's next stage.
        let drained = self.pool.drain(&mut taken);
        if let Some(lane) = self.lanes.get_mut(&id)
            && lane.open.take().is_some()
        {
            self.generation += 1;
        }
        drained?;
        self.collect(taken)
    }

    pub(super) fn lane(&self, id: LaneId) -> &Lane {
        self.lanes.get(&id).expect("a lane is named by its id only while it is open")
    }

    pub(super) fn lane_mut(&mut self, id: LaneId) -> &mut Lane {
        self.lanes.get_mut(&id).expect("a lane is named by its id only while it is open")
    }

    /// The batch under construction, begun if there is none.
    pub(super) fn batch(&mut self, id: LaneId) -> &mut Batch {
        let lane = self.lanes.get_mut(&id).expect("a lane is named by its id only while it is open");
        lane.open.get_or_insert_with(|| {
            let serial = self.next_batch;
            self.next_batch += 1;
            Batch::begin(&self.setting, &self.formats, &self.keys, serial)
        })
    }

    /// Batches with a lower serial number were committed, or dropped in an earlier generation.
    fn settled_below(&self) -> u32 {
        let open = self.lanes.values().filter_map(|lane| lane.open.as_ref());
        open.map(|batch| batch.serial).min().unwrap_or(self.next_batch)
    }

    fn collect(&mut self, taken: Vec<Done>) -> Result<(), PipelineError> {
        for done in taken {
            let open = self.lanes.get_mut(&done.lane).and_then(|lane| lane.open.as_mut());
            // A block of a stage that was dropped meanwhile goes with it.
            let Some(batch) = open.filter(|batch| batch.serial == done.stage) else { continue };
            for group in done.groups {
                batch.stage.append(group)?;
            }
            if let Some(headed) = done.headed {
                batch.headers.entry(headed.columns).or_default().extend(headed.blocks);
            }
            batch.counts.add(&done.counts);
            batch.newest_ms = batch.newest_ms.max(done.newest_ms);
            batch.epochs.extend(done.epochs.iter().map(ToString::to_string));
            batch.sequences.extend(done.sequence.map(|s| (done.index, s)));
            failpoint::reached("block.staged");
        }
        Ok(())
    }
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
