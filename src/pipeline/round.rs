//! A commit round: everything that lanes have staged, into the batch logs and the tables.

use super::PipelineError;
use super::engine::{Engine, Progress};
use super::file_lane::LANE;
use super::headers;
use super::lane::{Batch, Lane, LaneId};
use super::summary::Observer;
use crate::lake::batches::{Counts, Manifest};
use crate::lake::delta::AddFile;
use crate::sink::commit::{Committed, Outcome};
use crate::tally::Partial;
use std::collections::BTreeMap;
use std::path::Path;

/// Lanes whose files are closed and synced at the same time.
const SEALED_AT_ONCE: usize = 8;

/// What became of one lane's batch.
pub struct Settled {
    pub lane: LaneId,
    pub fate: Fate,
}

pub enum Fate {
    Committed {
        number: u64,
        counts: Counts,
        /// Decompressed.
        bytes: u64,
    },
    /// Somebody else put a manifest first. Nothing of the batch was loaded; the partition is read
    /// on where that manifest says.
    Dropped,
}

/// A batch with nothing left to do but to be put.
struct Ready {
    lane: LaneId,
    batch: Batch,
    manifest: Manifest,
    gaps: u64,
}

impl Engine<'_> {
    /// For feeds of files: commits what is staged; with nothing staged, does nothing unless
    /// `finished` must be said.
    pub fn commit(&mut self, finished: bool, observer: &mut dyn Observer) -> Result<Progress, PipelineError> {
        if !self.has_staged() && (!finished || self.lane(LANE).last_finished) {
            return Ok(Progress::Committed);
        }
        self.batch(LANE);
        let mut round = self.make_ready(&[LANE], finished)?;
        loop {
            let outcome = self.put(&mut round)?.remove(0);
            match outcome {
                Outcome::Committed(committed) => {
                    let ready = round.remove(0);
                    observer.committed(committed.number, &ready.manifest.counts);
                    self.took_effect(ready, &committed);
                    return Ok(Progress::Committed);
                }
                Outcome::Overtaken(other) => {
                    let Ready { batch, manifest, .. } = &mut round[0];
                    let lane = self.lane_mut(LANE);
                    lane.follow(&other);
                    manifest.watermark_ms = manifest.watermark_ms.max(lane.watermark_ms);
                    manifest.last_sequence = manifest.last_sequence.max(lane.last_sequence);
                    manifest.append.clone_from(&lane.positions);
                    let ledger = lane.log.ledger();
                    let theirs = manifest.sources.iter().any(|s| s.file.as_ref().is_some_and(|f| ledger.knows(f)));
                    let halves = manifest.counts.open_before + manifest.counts.open_after > 0;
                    if theirs || !batch.moved.is_empty() || halves {
                        self.generation += 1;
                        return Ok(Progress::Dropped);
                    }
                }
            }
        }
    }

    /// For streams: commits what the lanes have staged, in one round. With `finished`, a lane whose
    /// newest manifest does not say that the run ended says so, staged or not.
    pub fn commit_round(&mut self, finished: bool) -> Result<Vec<Settled>, PipelineError> {
        let due = |lane: &Lane| lane.open.is_some() || (finished && !lane.last_finished);
        let lanes: Vec<LaneId> = self.lanes.iter().filter(|(_, lane)| due(lane)).map(|(id, _)| *id).collect();
        if lanes.is_empty() {
            return Ok(Vec::new());
        }
        for lane in &lanes {
            self.batch(*lane);
        }
        let mut round = self.make_ready(&lanes, finished)?;
        let outcomes = self.put(&mut round)?;
        let mut settled = Vec::with_capacity(round.len());
        for (ready, outcome) in round.into_iter().zip(outcomes) {
            let lane = ready.lane;
            let fate = match outcome {
                Outcome::Committed(committed) => {
                    let counts = ready.manifest.counts.clone();
                    let bytes = ready.batch.bytes();
                    self.took_effect(ready, &committed);
                    Fate::Committed { number: committed.number, counts, bytes }
                }
                // Whoever was first has moved the position: these rows are his to bring, or were brought.
                Outcome::Overtaken(other) => {
                    self.lane_mut(lane).follow(&other);
                    self.generation += 1;
                    Fate::Dropped
                }
            };
            settled.push(Settled { lane, fate });
        }
        Ok(settled)
    }

    /// Waits for the workers and writes what is left to write.
    fn make_ready(&mut self, lanes: &[LaneId], finished: bool) -> Result<Vec<Ready>, PipelineError> {
        self.drain()?;
        let mut tallies = self.pool.flush()?;
        let mut batches = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let batch = self.lane_mut(*lane).open.take().expect("a round is of lanes with a batch");
            let tally = tallies.remove(&batch.serial);
            batches.push((*lane, batch, tally));
        }
        let adds = seal_all(self.setting.site, &mut batches)?;
        let now = self.setting.clock.now_ms();
        let open_before = self.halves.committed();
        let (open, open_after) = self.halves.to_commit(&self.keys)?;
        let mut ready = Vec::with_capacity(batches.len());
        for ((id, mut batch, _), adds) in batches.into_iter().zip(adds) {
            if now - batch.begun_ms > self.setting.orphan_after_ms / 2 {
                self.generation += 1;
                return Err(PipelineError::TooLong { feed: self.setting.feed.name.clone() });
            }
            if let (Some(_), Some(read)) = (&batch.stream, batch.sources.first_mut()) {
                read.records = batch.counts.records_in;
            }
            batch.counts.open_before = open_before;
            batch.counts.open_after = open_after;
            let lane = self.lane(id);
            let (gaps, _) = lane.sequence_gaps(&batch);
            let headers = headers::seal(&self.keys, &batch.headers)?;
            let manifest = lane.manifest(&self.setting, &batch, adds, open.clone(), headers, finished);
            ready.push(Ready { lane: id, batch, manifest, gaps });
        }
        Ok(ready)
    }

    fn put(&mut self, round: &mut Vec<Ready>) -> Result<Vec<Outcome>, PipelineError> {
        let mut logs: BTreeMap<LaneId, _> = self.lanes.iter_mut().map(|(id, lane)| (*id, &mut lane.log)).collect();
        let mut pairs = Vec::with_capacity(round.len());
        for ready in round.iter_mut() {
            let log = logs.remove(&ready.lane).expect("a round is of open lanes");
            pairs.push((log, &mut ready.manifest));
        }
        let outcomes = self.runtime.block_on(self.committer.commit(&mut pairs));
        outcomes.map_err(|e| {
            for ready in round.drain(..) {
                // A manifest that stands, or may stand, owns its files: whoever comes next finishes
                // it with them.
                if !self.lane(ready.lane).log.surely_not_put(&ready.manifest) {
                    ready.batch.stage.committed();
                }
            }
            e.into()
        })
    }

    fn took_effect(&mut self, ready: Ready, _: &Committed) {
        let Ready { lane, batch, manifest, gaps } = ready;
        batch.stage.committed();
        self.lane_mut(lane).follow(&manifest);
        self.halves.took_effect();
        self.summary.add(&manifest.counts);
        self.summary.sequence_gaps += gaps;
        self.summary.batches += 1;
        self.summary.open = manifest.counts.open_after;
        self.summary.bytes_in += manifest.sources.iter().map(|s| s.bytes).sum::<u64>();
    }
}

/// Seals every batch; what each one's manifest names, in order. Waiting for the disk is most of it,
/// so lanes wait together.
fn seal_all(
    site: &Path,
    batches: &mut [(LaneId, Batch, Option<Partial>)],
) -> Result<Vec<BTreeMap<String, Vec<AddFile>>>, PipelineError> {
    if let [(_, batch, tally)] = batches {
        return Ok(vec![batch.seal(site, tally.take())?]);
    }
    let mut adds = Vec::with_capacity(batches.len());
    for some in batches.chunks_mut(SEALED_AT_ONCE) {
        std::thread::scope(|scope| {
            let jobs: Vec<_> = some
                .iter_mut()
                .map(|(_, batch, tally)| {
                    let tally = tally.take();
                    scope.spawn(move || batch.seal(site, tally))
                })
                .collect();
            for job in jobs {
                adds.push(job.join().map_err(|_| PipelineError::Worker)??);
            }
            Ok::<(), PipelineError>(())
        })?;
    }
    Ok(adds)
}
