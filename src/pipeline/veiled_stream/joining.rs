//! Coming and going: partitions that are given and taken, and where each is to be read from.

use super::track::Track;
use super::{Conductor, Observer};
use crate::kafka::{Backoff, KafkaError};
use crate::pipeline::PipelineError;
use crate::pipeline::messages::Assembler;
use crate::pipeline::stream::Start;
use crate::sink::kafka::producer::{Producer, Trouble};
use crate::source::kafka::consumer::{Consumer, Rebalance, TopicPartition, UNKNOWN_FOR};
use std::time::{Duration, Instant};

/// A new leader may know less for a moment than the old one had told.
const BEHIND_FOR: Duration = Duration::from_secs(15);

/// Waits for brokers, and for whatever our transactional id left open, as long as it takes; what
/// cannot mend itself is an error. False: it was told to stop.
pub(super) fn reach(
    consumer: &Consumer,
    producer: &mut Producer<'_>,
    stop: &dyn Fn() -> bool,
    observer: &mut dyn Observer,
) -> Result<bool, PipelineError> {
    let (begun, mut backoff) = (Instant::now(), Backoff::new(Duration::from_millis(250), Duration::from_secs(5)));
    while !stop() {
        let reached = consumer.reach(Duration::from_secs(2)).map_err(|e| match e.is_retriable() {
            true => Trouble::Passes(e),
            false => Trouble::Stays(e),
        });
        match reached.and_then(|()| producer.ready()) {
            Ok(()) => return Ok(true),
            Err(Trouble::Stays(KafkaError::UnknownTopic(_))) if begun.elapsed() < UNKNOWN_FOR => {}
            Err(Trouble::Stays(e)) => return Err(e.into()),
            Err(Trouble::Passes(e)) if backoff.failures() == 0 => observer.waits(&e.to_string()),
            Err(Trouble::Passes(_)) => {}
        }
        let until = Instant::now() + backoff.next_wait();
        while !stop() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(false)
}

impl Conductor<'_> {
    /// Answers what the group has decided since the last time.
    pub(super) fn answer_group(&mut self) -> Result<(), PipelineError> {
        while let Some(decision) = self.consumer.decided() {
            self.idle.restless();
            // Of this very decision's generation; before it is answered nobody else has what is ours.
            self.fence = self.consumer.fence();
            match decision {
                Rebalance::Assigned(new) => self.assigned(new)?,
                Rebalance::Revoked { partitions, lost } => self.revoked(&partitions, lost)?,
            }
            self.fence = self.consumer.fence();
        }
        Ok(())
    }

    fn assigned(&mut self, new: Vec<TopicPartition>) -> Result<(), PipelineError> {
        for partition in new {
            let assembler = Assembler::new(&self.flow.feed.mapping, self.flow.columns, self.flow.limits)?;
            self.tracks.push(Track::new(partition, assembler));
        }
        // Partitions are added when it is known where they begin.
        self.consumer.assign(&[])?;
        self.idle.assigned(true);
        self.ask_again = Instant::now();
        self.observer.assigned(self.tracks.len());
        self.locate()
    }

    fn revoked(&mut self, gone: &[TopicPartition], lost: bool) -> Result<(), PipelineError> {
        if lost {
            self.abandon(&KafkaError::AssignmentLost(gone.first().map_or_else(String::new, TopicPartition::name)));
        } else {
            // All partitions, in one transaction: it holds records of each.
            self.commit()?;
        }
        self.tracks.retain(|t| !gone.contains(&t.partition));
        if self.tracks.is_empty() {
            self.idle.assigned(false);
        }
        self.consumer.unassign(gone)?;
        self.observer.assigned(self.tracks.len());
        Ok(())
    }

    /// Asks the group and the brokers where partitions begin that are not read yet.
    pub(super) fn locate(&mut self) -> Result<(), PipelineError> {
        if Instant::now() < self.ask_again || self.tracks.iter().all(|t| t.ready) {
            return Ok(());
        }
        let located = self.try_to_locate();
        match located {
            Ok(()) => self.unanswered.reset(),
            Err(PipelineError::Kafka(e)) if e.is_retriable() || matches!(e, KafkaError::UnknownTopic(_)) => {
                self.ask_again = Instant::now() + self.unanswered.next_wait();
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn try_to_locate(&mut self) -> Result<(), PipelineError> {
        if let Err(trouble) = self.producer.ready() {
            return self.failed(trouble);
        }
        let unknown: Vec<TopicPartition> =
            self.tracks.iter().filter(|t| !t.asked).map(|t| t.partition.clone()).collect();
        if !unknown.is_empty() {
            for (partition, offset) in self.consumer.committed(&unknown)? {
                if let Some(track) = self.tracks.iter_mut().find(|t| t.partition == partition) {
                    (track.asked, track.committed) = (true, offset);
                    offset.into_iter().for_each(|next| track.jump(next));
                }
            }
        }
        for at in 0..self.tracks.len() {
            // A transaction that fails on the way forgets all of them.
            if self.tracks[at].asked && !self.tracks[at].ready {
                let bounds = self.consumer.bounds(&self.tracks[at].partition)?;
                self.check(at, bounds)?;
            }
        }
        Ok(())
    }

    /// Compares where a partition is read on with what the broker has, and begins there.
    fn check(&mut self, at: usize, (low, high): (i64, i64)) -> Result<(), PipelineError> {
        let track = &mut self.tracks[at];
        let partition = track.partition.clone();
        track.ends(high);
        let next = match (track.next, self.flow.start) {
            (Some(next), _) => next,
            (None, Start::Earliest) => low,
            (None, Start::Latest) => {
                // Said once and for all with the next transaction.
                track.moved = true;
                self.open_since.get_or_insert_with(Instant::now);
                high
            }
        };
        if next < low {
            return self.skip(at, next, low);
        }
        if next > high {
            let behind = *self.behind.entry(partition.clone()).or_insert_with(Instant::now);
            if behind.elapsed() > BEHIND_FOR {
                return Err(PipelineError::TopicRemade { partition: partition.name(), next, high });
            }
            self.ask_again = Instant::now() + Duration::from_millis(500);
            return Ok(());
        }
        self.behind.remove(&partition);
        self.begin(at, next)
    }

    /// Retention has deleted what would be read next.
    fn skip(&mut self, at: usize, next: i64, low: i64) -> Result<(), PipelineError> {
        let partition = self.tracks[at].partition.clone();
        if !self.flow.skip_lost {
            return Err(PipelineError::OffsetsLost { partition: partition.name(), next, low });
        }
        // What was read before the gap is committed before it; if that fails, it is found again.
        if !self.commit()? {
            return Ok(());
        }
        let track = &mut self.tracks[at];
        track.skipped = low.saturating_sub(next).max(0) as u64;
        track.moved = true;
        self.open_since.get_or_insert_with(Instant::now);
        self.observer.skipped(&partition, next, low);
        self.begin(at, low)
    }

    /// Has the client fetch a partition from `next` on.
    pub(super) fn begin(&mut self, at: usize, next: i64) -> Result<(), PipelineError> {
        let track = &mut self.tracks[at];
        track.jump(next);
        if track.fetching {
            // If not, it is not ours, and the revocation on its way.
            track.ready = self.consumer.begin_anew(&track.partition, next)?;
        } else {
            self.consumer.assign(&[(track.partition.clone(), next)])?;
            (track.fetching, track.ready) = (true, true);
        }
        Ok(())
    }
}
