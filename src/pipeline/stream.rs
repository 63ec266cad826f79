//! A feed of Kafka topics: one thread that polls, stages and commits (architecture 4).
//!
//! Each assigned partition has a lane of the engine and a `Track`. Where it is read on stands in
//! its batch log, never in the group: whoever is assigned it finishes what the last manifest began
//! and goes on there. A partition that is revoked is committed first; one that was lost is dropped.
//! Whoever comes second to a manifest's number drops its batch and goes on where the first one's
//! manifest says, so a process that slept through a rebalance changes nothing.

pub mod figures;
mod idle;
mod joining;
mod track;

use self::figures::{Figures, Round, StreamObserver};
use self::track::Track;
use super::PipelineError;
use super::block::Work;
use super::engine::Engine;
use super::idle::Idle;
use super::messages::{Assembler, Piece};
use super::round::Fate;
use crate::kafka::{Backoff, Cluster, KafkaError};
use crate::lake::batches::StreamPosition;
use crate::source::Limits;
use crate::source::kafka::consumer::{Consumer, Polled, Rebalance, TopicPartition};
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes read before a commit, at most (and a little more): what is read again after a crash.
const STAGED_MAX: u64 = 1 << 30;
/// Bytes that wait in all partitions together for a block to be full.
const HELD_MAX: usize = 64 << 20;
/// How long before a commit blocks are no longer waited for to be full, at most half the interval.
const AHEAD: Duration = Duration::from_secs(2);
/// A block of less is not worth its sealed header.
const AHEAD_BYTES: usize = 512 << 10;
/// Messages taken between two looks at the clock.
const STRIDE: u32 = 256;
/// How long a poll waits: signals and due commits are looked at this often.
const POLL: Duration = Duration::from_millis(50);
/// Keys, statistics and figures.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// Where a partition begins of which nothing was committed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
}

/// What is read, and how.
pub struct Stream<'a> {
    pub cluster: &'a Cluster,
    pub topics: &'a [String],
    pub group: &'a str,
    pub start: Start,
    /// Go on, and count, when the broker has deleted what would be read next.
    pub skip_lost: bool,
    /// Of delimited messages without a header line.
    pub columns: &'a [String],
    pub limits: Limits,
    pub commit_interval: Duration,
    pub stop_within: Duration,
    /// End when nothing has come for that long.
    pub until_idle: Option<Duration>,
}

/// Reads until `stop` says so, or until idle; what is staged then is committed.
pub fn run(
    engine: &mut Engine<'_>,
    stream: &Stream<'_>,
    stop: &dyn Fn() -> bool,
    observer: &mut dyn StreamObserver,
) -> Result<(), PipelineError> {
    let feed = Arc::clone(&engine.setting.feed);
    if feed.mapping.joins() {
        return Err(PipelineError::JoinsInStream { feed: feed.name.clone() });
    }
    // A wrong list of columns is told before anybody is asked.
    Assembler::new(&feed.mapping, stream.columns, stream.limits)?;
    let consumer = Consumer::new(stream.cluster, stream.group, stream.topics)?;
    if !joining::reach(&consumer, stop, observer)? {
        return Ok(());
    }
    consumer.subscribe()?;
    let mut conductor = Conductor {
        engine,
        stream,
        consumer: &consumer,
        observer,
        tracks: Vec::new(),
        last: 0,
        ready: Vec::new(),
        unanswered: Backoff::new(Duration::from_millis(200), Duration::from_secs(5)),
        ask_again: Instant::now(),
        behind: BTreeMap::new(),
        open_since: None,
        kept: Instant::now(),
        idle: Idle::default(),
        told: BTreeMap::new(),
    };
    let ended = conductor.conduct(stop);
    let positions = conductor.positions();
    // What is staged after an error was dropped with its lanes; it is read again.
    let closed = consumer.close(positions, stream.stop_within);
    ended?;
    if !closed {
        eprintln!("warning: the group was left without a goodbye; what was read is committed");
    }
    Ok(())
}

struct Conductor<'r, 'a> {
    // Dependencies.
    engine: &'r mut Engine<'a>,
    stream: &'r Stream<'r>,
    consumer: &'r Consumer,
    observer: &'r mut dyn StreamObserver,
    // What is assigned.
    tracks: Vec<Track>,
    /// Index of the track that the last message was of.
    last: usize,
    /// Blocks on their way from an assembler to the workers; empty between calls.
    ready: Vec<Piece>,
    /// Brokers that did not say where a partition begins and ends are asked again then.
    unanswered: Backoff,
    ask_again: Instant,
    /// Partitions that are to be read on behind their end, and since when that was seen.
    behind: BTreeMap<TopicPartition, Instant>,
    /// When the first message was read that is not committed.
    open_since: Option<Instant>,
    kept: Instant,
    idle: Idle,
    /// Where every partition stands that this run had, for the group and the summary.
    told: BTreeMap<TopicPartition, (i64, u64)>,
}

impl<'r> Conductor<'r, '_> {
    fn conduct(&mut self, stop: &dyn Fn() -> bool) -> Result<(), PipelineError> {
        let mut taken = 0;
        let mut drained = false;
        loop {
            if taken >= STRIDE || drained {
                taken = 0;
                if stop() {
                    return self.commit(false);
                }
                self.answer_group()?;
                self.ask_brokers()?;
                self.keep_house(drained)?;
                self.work_ahead()?;
                if self.is_due() {
                    self.commit(false)?;
                }
                if drained && self.is_over()? {
                    return self.commit(true);
                }
            }
            let consumer = self.consumer;
            drained = false;
            match consumer.poll(POLL) {
                Polled::Message(message) => {
                    taken += 1;
                    self.take(&message)?;
                }
                Polled::Nothing => drained = true,
                Polled::OffsetGone => {
                    self.tracks.iter_mut().for_each(|t| (t.checked, t.was_gone) = (false, true));
                    drained = true;
                }
                // It may be made anew this moment; if it stays away, that is said.
                Polled::Trouble(KafkaError::UnknownTopic(_)) => consumer.await_topics()?,
                Polled::Trouble(e) => return Err(e.into()),
            }
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<(), PipelineError> {
        let (topic, number, offset) = (message.topic(), message.partition(), message.offset());
        let is_of = |t: &Track| t.partition.partition == number && t.partition.topic == topic;
        if !self.tracks.get(self.last).is_some_and(is_of) {
            // Of a partition that went away a message may still be under way.
            let Some(at) = self.tracks.iter().position(is_of) else { return Ok(()) };
            self.last = at;
        }
        let track = &mut self.tracks[self.last];
        // Fetched before a jump, or before it is known where to begin.
        if !track.sought || track.next.is_none_or(|next| offset < next) {
            return Ok(());
        }
        let timestamp = message.timestamp().to_millis();
        track.assembler.push(offset, message.payload(), timestamp, &mut self.ready);
        track.took(offset, timestamp);
        self.idle.restless();
        if self.open_since.is_none() {
            self.open_since = Some(Instant::now());
        }
        if self.ready.is_empty() { Ok(()) } else { self.hand_over(self.last) }
    }

    /// Sends what is ready of a track to the workers.
    fn hand_over(&mut self, at: usize) -> Result<(), PipelineError> {
        let lane = self.tracks[at].lane;
        for piece in std::mem::take(&mut self.ready) {
            self.engine.submit_to(lane, Work::Raw(piece.batch, piece.decoder), piece.continuation)?;
        }
        Ok(())
    }

    /// Hands over all that a track holds, full block or not.
    fn flush(&mut self, at: usize) -> Result<(), PipelineError> {
        let stretch = self.tracks[at].assembler.flush(&mut self.ready);
        self.tracks[at].stage(stretch);
        self.hand_over(at)
    }

    fn is_due(&self) -> bool {
        let bytes = || self.tracks.iter().map(Track::open_bytes).sum::<u64>();
        self.open_since.is_some_and(|since| since.elapsed() >= self.stream.commit_interval || bytes() > STAGED_MAX)
    }

    /// Shortly before a commit is due, idle workers get what is held for blocks that are not full: what
    /// is left to do then is what everybody who waits for the commit waits for.
    fn work_ahead(&mut self) -> Result<(), PipelineError> {
        let interval = self.stream.commit_interval;
        let begins = interval - AHEAD.min(interval / 2);
        if self.open_since.is_none_or(|since| since.elapsed() < begins) || !self.engine.has_idle_worker()? {
            return Ok(());
        }
        let held = |at: &usize| self.tracks[*at].assembler.held_bytes();
        match (0..self.tracks.len()).max_by_key(held) {
            Some(fullest) if held(&fullest) >= AHEAD_BYTES => self.flush(fullest),
            _ => Ok(()),
        }
    }

    /// One round: everything read so far, of every partition.
    fn commit(&mut self, finished: bool) -> Result<(), PipelineError> {
        if self.consumer.assignment_lost() {
            // Others are at work on these partitions; the revocation is on its way.
            return self.drop_all();
        }
        let begun = Instant::now();
        for at in 0..self.tracks.len() {
            self.flush(at)?;
            let track = &self.tracks[at];
            if let Some((position, source)) = track.to_commit() {
                self.engine.stage_stream(track.lane, position, source);
            }
        }
        let engine = &mut *self.engine;
        let (settled, strayed) = self.consumer.busy_with(|| engine.commit_round(finished));
        let mut round = Round { took: self.open_since.map_or(Duration::ZERO, |s| s.elapsed()), ..Round::default() };
        for settled in settled? {
            let Some(at) = self.tracks.iter().position(|t| t.lane == settled.lane) else { continue };
            match settled.fate {
                Fate::Committed { counts, bytes, .. } => {
                    round.counts.add(&counts);
                    round.bytes += bytes;
                    round.committed += 1;
                    round.skipped += self.tracks[at].skipped;
                    self.took_effect(at);
                }
                Fate::Dropped => {
                    round.dropped += 1;
                    self.go_back(at);
                }
            }
        }
        for (partition, _) in strayed {
            if let Some(track) = self.tracks.iter_mut().find(|t| t.partition == partition)
                && let Some(next) = track.next
            {
                let sought = self.consumer.begin_anew(&partition, next)?;
                track.fetched_anew(sought);
            }
        }
        self.open_since = None;
        round.commit_took = begun.elapsed();
        if round.committed + round.dropped > 0 {
            self.consumer.tell_group(&self.positions(), false);
            self.observer.committed(&round);
        }
        Ok(())
    }

    fn took_effect(&mut self, at: usize) {
        let track = &mut self.tracks[at];
        let skipped = track.skipped;
        track.took_effect();
        if let Some(next) = track.committed {
            let told = self.told.entry(track.partition.clone()).or_insert((next, 0));
            *told = (next, told.1 + skipped);
        }
        self.tell_summary();
    }

    /// Somebody else committed this partition: reads on where that one's manifest says.
    fn go_back(&mut self, at: usize) {
        let track = &mut self.tracks[at];
        let Some(next) = self.engine.stream_position(track.lane).map(|p| p.next_offset) else { return };
        track.jump(next);
        track.committed = Some(next);
        self.idle.restless();
        // If it cannot be sought, it may be lost, and the revocation on its way; else it is begun
        // anew when the brokers are asked about it.
        track.sought = self.consumer.seek(&track.partition, next);
    }

    /// Forgets everything read since the last commit.
    fn drop_all(&mut self) -> Result<(), PipelineError> {
        for at in 0..self.tracks.len() {
            self.engine.drop_stage(self.tracks[at].lane)?;
            let next = self.tracks[at].committed.or(self.tracks[at].next);
            if let Some(next) = next {
                let track = &mut self.tracks[at];
                track.jump(next);
                track.sought = self.consumer.seek(&track.partition, next);
            }
        }
        self.open_since = None;
        Ok(())
    }

    fn positions(&self) -> Vec<(TopicPartition, i64)> {
        self.tracks.iter().filter_map(|t| Some((t.partition.clone(), t.committed?))).collect()
    }

    /// Now and then: keys, memory, statistics.
    fn keep_house(&mut self, drained: bool) -> Result<(), PipelineError> {
        while self.tracks.iter().map(|t| t.assembler.held_bytes()).sum::<usize>() > HELD_MAX {
            let fullest = (0..self.tracks.len()).max_by_key(|at| self.tracks[*at].assembler.held_bytes());
            self.flush(fullest.unwrap_or(0))?;
        }
        if self.kept.elapsed() < HOUSEKEEPING {
            return Ok(());
        }
        self.kept = Instant::now();
        self.engine.refresh_keys()?;
        let now_ms = self.engine.setting.clock.now_ms();
        let mut figures = Figures { queued_blocks: self.engine.queued_blocks(), ..Figures::default() };
        for track in &mut self.tracks {
            track.hear(self.consumer.heard(&track.partition), drained);
            figures.staged_bytes += track.open_bytes();
            figures.partitions.push(track.figures(now_ms, self.engine.watermark_ms(track.lane)));
        }
        self.observer.stands(&figures);
        Ok(())
    }

    fn tell_summary(&mut self) {
        let told = self.told.iter();
        self.engine.summary.offsets = told
            .map(|(p, (next_offset, skipped))| StreamPosition {
                topic: p.topic.clone(),
                partition: p.partition,
                next_offset: *next_offset,
                skipped: *skipped,
            })
            .collect();
    }
}
