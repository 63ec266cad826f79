//! Coming and going: brokers that must be found, partitions that are given and taken, and where
//! each is to be read from.

use super::figures::StreamObserver;
use super::track::Track;
use super::{Conductor, Rebalance, Start};
use crate::kafka::{Backoff, KafkaError};
use crate::pipeline::PipelineError;
use crate::pipeline::messages::Assembler;
use crate::source::kafka::consumer::{Consumer, TopicPartition, UNKNOWN_FOR};
use std::time::{Duration, Instant};

/// A new leader may know less for a moment than the old one had told.
const BEHIND_FOR: Duration = Duration::from_secs(15);

/// Waits for brokers as long as it takes; what cannot mend itself is an error. False: it was told
/// to stop.
pub(super) fn reach(
    consumer: &Consumer,
    stop: &dyn Fn() -> bool,
    observer: &mut dyn StreamObserver,
) -> Result<bool, PipelineError> {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
    while !stop() {
        match reach_topics(consumer) {
            Ok(()) => return Ok(true),
            Err(e) if e.is_retriable() => {
                if backoff.failures() == 0 {
                    observer.waits(&e.to_string());
                }
                let until = Instant::now() + backoff.next_wait();
                while !stop() && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(false)
}

/// One attempt, with patience for a topic that is unknown.
fn reach_topics(consumer: &Consumer) -> Result<(), KafkaError> {
    let begun = Instant::now();
    loop {
        match consumer.reach(Duration::from_secs(2)) {
            Err(KafkaError::UnknownTopic(_)) if begun.elapsed() < UNKNOWN_FOR => {
                std::thread::sleep(Duration::from_millis(200));
            }
            other => return other,
        }
    }
}

impl Conductor<'_, '_> {
    /// Answers what the group has decided since the last time.
    pub(super) fn answer_group(&mut self) -> Result<(), PipelineError> {
        while let Some(decision) = self.consumer.decided() {
            self.idle.restless();
            match decision {
                Rebalance::Assigned(new) => self.assigned(new)?,
                Rebalance::Revoked { partitions, lost } => self.revoked(&partitions, lost)?,
            }
        }
        Ok(())
    }

    fn assigned(&mut self, new: Vec<TopicPartition>) -> Result<(), PipelineError> {
        let feed = std::sync::Arc::clone(&self.engine.setting.feed);
        let mut from = Vec::new();
        for partition in &new {
            let lane = self.engine.open_lane(&partition.name())?;
            let committed = self.engine.stream_position(lane).map(|p| p.next_offset);
            let assembler = Assembler::new(&feed.mapping, self.stream.columns, self.stream.limits)?;
            let mut track = Track::new(partition.clone(), lane, assembler, committed);
            track.sought = committed.is_some();
            if let Some(next) = committed {
                from.push((partition.clone(), next));
                self.told.entry(partition.clone()).or_insert((next, 0)).0 = next;
            }
            self.tracks.push(track);
        }
        self.tell_summary();
        // Partitions whose beginning the broker must be asked for are added when it has answered.
        self.consumer.assign(&from)?;
        self.idle.assigned(true);
        self.ask_again = Instant::now();
        self.observer.assigned(&new, self.tracks.len());
        self.ask_brokers()
    }

    fn revoked(&mut self, gone: &[TopicPartition], lost: bool) -> Result<(), PipelineError> {
        if !lost {
            // All lanes, in one round: the others would only have to follow.
            self.commit(false)?;
        }
        for partition in gone {
            if let Some(at) = self.tracks.iter().position(|t| t.partition == *partition) {
                let track = self.tracks.swap_remove(at);
                self.engine.close_lane(track.lane)?;
            }
        }
        if self.tracks.is_empty() {
            self.idle.assigned(false);
        }
        if !self.tracks.iter().any(Track::has_unflushed) {
            self.open_since = None;
        }
        self.consumer.unassign(gone)?;
        self.observer.revoked(gone, self.tracks.len());
        Ok(())
    }

    /// Compares where partitions are read on with what the broker has.
    pub(super) fn ask_brokers(&mut self) -> Result<(), PipelineError> {
        if Instant::now() < self.ask_again {
            return Ok(());
        }
        for at in 0..self.tracks.len() {
            if self.tracks[at].checked {
                continue;
            }
            let partition = self.tracks[at].partition.clone();
            match self.consumer.bounds(&partition) {
                Ok(bounds) => self.check(at, bounds)?,
                Err(e) if e.is_retriable() || matches!(e, KafkaError::UnknownTopic(_)) => {
                    self.ask_again = Instant::now() + self.unanswered.next_wait();
                    return Ok(());
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.unanswered.reset();
        Ok(())
    }

    fn check(&mut self, at: usize, (low, high): (i64, i64)) -> Result<(), PipelineError> {
        let track = &mut self.tracks[at];
        let partition = track.partition.clone();
        track.ends(high);
        let Some(next) = track.next else {
            return self.begin(at, (low, high));
        };
        if next < low {
            if !self.stream.skip_lost {
                return Err(PipelineError::OffsetsLost { partition: partition.name(), next, low });
            }
            // What was read before the gap is committed before it.
            self.commit(false)?;
            let track = &mut self.tracks[at];
            let from = track.next.unwrap_or(next);
            track.jump(low);
            track.skipped = low.saturating_sub(from).max(0) as u64;
            track.moved = true;
            self.open_since.get_or_insert_with(Instant::now);
            self.observer.skipped(&partition, from, low);
            let sought = self.consumer.begin_anew(&partition, low)?;
            self.tracks[at].fetched_anew(sought);
        } else if next > high {
            let behind = *self.behind.entry(partition.clone()).or_insert_with(Instant::now);
            if behind.elapsed() > BEHIND_FOR {
                return Err(PipelineError::TopicRemade { partition: partition.name(), next, high });
            }
            self.ask_again = Instant::now() + Duration::from_millis(500);
            return Ok(());
        } else if self.tracks[at].was_gone || !self.tracks[at].sought {
            // The client gave up on some partition, and does not say which.
            let sought = self.consumer.begin_anew(&partition, next)?;
            self.tracks[at].fetched_anew(sought);
        }
        self.behind.remove(&partition);
        self.tracks[at].was_gone = false;
        self.tracks[at].checked = true;
        Ok(())
    }

    /// The first commit of a partition says where it began, so that `latest` is said once and for all.
    fn begin(&mut self, at: usize, (low, high): (i64, i64)) -> Result<(), PipelineError> {
        let track = &mut self.tracks[at];
        let from = match self.stream.start {
            Start::Earliest => low,
            Start::Latest => high,
        };
        track.jump(from);
        track.ends(high);
        track.moved = self.stream.start == Start::Latest;
        if track.moved {
            self.open_since.get_or_insert_with(Instant::now);
        }
        (track.checked, track.sought) = (true, true);
        let partition = track.partition.clone();
        Ok(self.consumer.assign(&[(partition, from)])?)
    }
}
