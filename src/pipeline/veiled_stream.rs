//! The Kafka sink of a feed of topics: one thread that reads them once more, in a group of its own,
//! and writes what it reads in transactions (architecture 4).
//!
//! Where a partition is read on stands in the group's offsets, which move only with a transaction
//! that holds the records up to there, under the group's own fence (KIP-447). Whatever fails, fails
//! the transaction: it is aborted, everything read since the last one is forgotten, and reading goes
//! on where the group says. So nothing here has to know why a step failed, and a process that slept
//! through a rebalance changes nothing. The lake's side is another consumer and knows nothing of this
//! one.

mod block;
mod idle;
mod joining;
mod track;

use self::block::{Failure, Keyed, Passed, pass_on};
use self::track::Track;
use super::idle::Idle;
use super::messages::{Assembler, Piece};
use super::stream::Start;
use super::summary::SinkSummary;
use super::{Feed, PipelineError};
use crate::clock::Clock;
use crate::kafka::{Backoff, Cluster, KafkaError};
use crate::keys::KeySource;
use crate::lake::batches::StreamPosition;
use crate::sink::kafka::Outlet;
use crate::sink::kafka::producer::{Producer, Trouble};
use crate::source::Limits;
use crate::source::kafka::consumer::group::offsets;
use crate::source::kafka::consumer::{Consumer, Polled, TopicPartition};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes read before a commit, at most (and a little more).
const OPEN_MAX: u64 = 128 << 20;
/// Bytes that wait in all partitions together for a block to be full.
const HELD_MAX: usize = 64 << 20;
/// Messages taken between two looks at the clock.
const STRIDE: u32 = 256;
/// How long a poll waits.
const POLL: Duration = Duration::from_millis(50);
/// Keys, statistics and figures.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// What is read, and what becomes of it.
pub struct Flow<'a> {
    // The source.
    pub feed: Arc<Feed>,
    pub cluster: &'a Cluster,
    pub topics: &'a [String],
    /// The sink's own.
    pub group: &'a str,
    pub start: Start,
    /// Go on, and count, when the broker has deleted what would be read next.
    pub skip_lost: bool,
    pub columns: &'a [String],
    pub limits: Limits,
    // Veiling.
    pub keys: &'a dyn KeySource,
    pub clock: &'a dyn Clock,
    pub recipient: &'a str,
    // The sink.
    pub outlet: Outlet,
    /// Of veiled records; without one none are written.
    pub topic: Option<String>,
    /// Of refused records.
    pub dead_letter: Option<String>,
    /// Of a dead letter, at most.
    pub max_message_bytes: usize,
    // The run.
    /// No longer than the brokers leave a transaction open.
    pub commit_interval: Duration,
    pub stop_within: Duration,
    /// End when nothing has come for that long.
    pub until_idle: Option<Duration>,
}

/// What one committed transaction brought.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub sent: u64,
    pub dead_letters: u64,
}

/// Is told how the sink goes. All methods are called from one thread.
pub trait Observer {
    /// No broker answers yet; said once.
    fn waits(&mut self, why: &str);
    fn assigned(&mut self, all: usize);
    /// Offsets `from..to` were deleted before they were read.
    fn skipped(&mut self, partition: &TopicPartition, from: i64, to: i64);
    fn committed(&mut self, round: &Round);
    fn aborted(&mut self);
    /// About twice a second: offsets to be read yet, and whether anything is read that is not committed.
    fn stands(&mut self, lag: u64, open: bool);
}

/// Reads until `stop` says so, or until idle; what is open then is committed.
pub fn run(
    flow: &Flow<'_>,
    mut producer: Producer<'_>,
    stop: &dyn Fn() -> bool,
    observer: &mut dyn Observer,
) -> Result<SinkSummary, PipelineError> {
    if flow.feed.mapping.joins() {
        return Err(PipelineError::JoinsInStream { feed: flow.feed.name.clone() });
    }
    // A wrong list of columns and a recipient without keys are told before anybody is asked.
    Assembler::new(&flow.feed.mapping, flow.columns, flow.limits)?;
    let keyed = Keyed::new(flow.keys.refresh()?.ok_or(PipelineError::Worker)?, flow.recipient)?;
    let consumer = Consumer::new(flow.cluster, flow.group, flow.topics)?;
    if !joining::reach(&consumer, &mut producer, stop, observer)? {
        return Ok(SinkSummary::default());
    }
    consumer.subscribe()?;
    let mut conductor = Conductor {
        flow,
        consumer: &consumer,
        producer,
        observer,
        keyed,
        tracks: Vec::new(),
        last: 0,
        ready: Vec::new(),
        fence: None,
        open: Passed::default(),
        open_bytes: 0,
        open_since: None,
        setbacks: Backoff::new(Duration::from_millis(200), Duration::from_secs(5)),
        unanswered: Backoff::new(Duration::from_millis(200), Duration::from_secs(5)),
        ask_again: Instant::now(),
        failures: 0,
        behind: BTreeMap::new(),
        kept: Instant::now(),
        idle: Idle::default(),
        told: BTreeMap::new(),
        summary: SinkSummary::default(),
    };
    let ended = conductor.conduct(stop);
    if conductor.producer.is_open() {
        // Else readers of the topic would wait for the brokers to miss us.
        conductor.abandon(&KafkaError::Other { name: "the run ends".into(), retriable: false });
    }
    let summary = conductor.summary();
    drop(conductor);
    let closed = consumer.close(Vec::new(), flow.stop_within);
    ended?;
    if !closed {
        eprintln!("warning: the sink's group was left without a goodbye; what was written is committed");
    }
    Ok(summary)
}

struct Conductor<'r> {
    // Dependencies.
    flow: &'r Flow<'r>,
    consumer: &'r Consumer,
    producer: Producer<'r>,
    observer: &'r mut dyn Observer,
    keyed: Keyed,
    // What is assigned.
    tracks: Vec<Track>,
    /// Index of the track that the last message was of.
    last: usize,
    /// Blocks on their way from an assembler to the producer; empty between calls.
    ready: Vec<Piece>,
    /// Who we are in the group as of its last decision.
    fence: Option<ConsumerGroupMetadata>,
    // The open transaction.
    open: Passed,
    open_bytes: u64,
    /// When the first message was read that is not committed.
    open_since: Option<Instant>,
    /// Between transactions that fail, and between questions that brokers do not answer.
    setbacks: Backoff,
    unanswered: Backoff,
    ask_again: Instant,
    /// Transactions that failed in this run.
    failures: u64,
    /// Partitions that are to be read on behind their end, and since when that was seen.
    behind: BTreeMap<TopicPartition, Instant>,
    kept: Instant,
    idle: Idle,
    /// Where every partition stands that this run had, and offsets skipped.
    told: BTreeMap<TopicPartition, (i64, u64)>,
    summary: SinkSummary,
}

impl Conductor<'_> {
    fn conduct(&mut self, stop: &dyn Fn() -> bool) -> Result<(), PipelineError> {
        let mut taken = 0;
        let mut drained = false;
        loop {
            if taken >= STRIDE || drained {
                taken = 0;
                if stop() {
                    return self.commit().map(drop);
                }
                self.answer_group()?;
                self.locate()?;
                self.keep_house(drained)?;
                if self.is_due() {
                    self.commit()?;
                }
                if drained && self.is_over()? && self.commit()? {
                    return Ok(());
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
                    self.tracks.iter_mut().for_each(|t| t.ready = false);
                    self.ask_again = Instant::now();
                    drained = true;
                }
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
        if !track.ready || track.next.is_none_or(|next| offset < next) {
            return Ok(());
        }
        track.assembler.push(offset, message.payload(), message.timestamp().to_millis(), &mut self.ready);
        track.next = Some(offset + 1);
        self.idle.restless();
        self.open_since.get_or_insert_with(Instant::now);
        if self.ready.is_empty() { Ok(()) } else { self.pass_on(self.last) }
    }

    /// Puts what is ready of a track into the transaction.
    fn pass_on(&mut self, at: usize) -> Result<(), PipelineError> {
        for piece in std::mem::take(&mut self.ready) {
            let bytes = piece.batch.bytes.len() as u64;
            let (flow, keyed, producer) = (self.flow, &self.keyed, &mut self.producer);
            let from = &self.tracks[at].partition;
            let now_ms = flow.clock.now_ms();
            let (outcome, strayed) = self.consumer.busy_with(|| pass_on(piece, from, flow, keyed, now_ms, producer));
            match outcome {
                Ok(passed) => self.open.add(&passed),
                Err(Failure::Trouble(trouble)) => return self.failed(trouble),
                Err(Failure::Ends(e)) => return Err(e),
            }
            self.open_bytes += bytes;
            self.read_again(&strayed)?;
        }
        Ok(())
    }

    /// Passes on all that a track holds, full block or not.
    fn flush(&mut self, at: usize) -> Result<(), PipelineError> {
        self.tracks[at].assembler.flush(&mut self.ready);
        self.pass_on(at)
    }

    /// What came while nobody could take it.
    fn read_again(&mut self, strayed: &[(TopicPartition, i64)]) -> Result<(), PipelineError> {
        for (partition, _) in strayed {
            if let Some(at) = self.tracks.iter().position(|t| t.partition == *partition && t.ready)
                && let Some(next) = self.tracks[at].next
            {
                self.begin(at, next)?;
            }
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.open_since.is_some_and(|since| since.elapsed() >= self.flow.commit_interval || self.open_bytes > OPEN_MAX)
    }

    /// Commits everything read so far, of every partition. False: it was not to be, and all of it is
    /// read again.
    fn commit(&mut self) -> Result<bool, PipelineError> {
        let failures = self.failures;
        if self.consumer.assignment_lost() {
            // Others are at work on these partitions; the revocation is on its way.
            self.abandon(&KafkaError::AssignmentLost(self.flow.group.to_owned()));
            return Ok(false);
        }
        for at in 0..self.tracks.len() {
            self.flush(at)?;
        }
        if self.failures > failures {
            return Ok(false);
        }
        let next: Vec<(TopicPartition, i64)> = self.tracks.iter().filter_map(Track::to_commit).collect();
        if next.is_empty() {
            self.open_since = None;
            return Ok(true);
        }
        let Some(fence) = &self.fence else {
            self.abandon(&KafkaError::AssignmentLost(self.flow.group.to_owned()));
            return Ok(false);
        };
        let (offsets, producer) = (offsets(&next)?, &mut self.producer);
        let (outcome, strayed) = self.consumer.busy_with(|| producer.commit(&offsets, fence));
        match outcome {
            Ok(()) => self.took_effect(),
            Err(trouble) => {
                self.failed(trouble)?;
                return Ok(false);
            }
        }
        self.read_again(&strayed)?;
        Ok(true)
    }

    fn took_effect(&mut self) {
        for track in &mut self.tracks {
            if let Some((partition, next)) = track.to_commit() {
                let told = self.told.entry(partition).or_insert((next, 0));
                *told = (next, told.1 + track.skipped);
                track.took_effect();
            }
        }
        let passed = std::mem::take(&mut self.open);
        let summary = &mut self.summary;
        summary.records_in += passed.counts.records_in;
        summary.sent += passed.sent;
        summary.refused += passed.counts.quarantined;
        summary.dropped += passed.counts.dropped;
        summary.dead_letters += passed.dead_letters;
        summary.transactions += 1;
        (self.open_bytes, self.open_since) = (0, None);
        self.setbacks.reset();
        self.observer.committed(&Round { sent: passed.sent, dead_letters: passed.dead_letters });
    }

    /// The transaction failed: what was in it is read again, after a while. Trouble that stays ends
    /// the run.
    fn failed(&mut self, trouble: Trouble) -> Result<(), PipelineError> {
        let stays = matches!(trouble, Trouble::Stays(_));
        let error = trouble.error();
        self.abandon(&error);
        if stays {
            return Err(error.into());
        }
        self.producer.complain(&format!("a transaction was given up, and what was in it is read again: {error}"));
        self.ask_again = Instant::now() + self.setbacks.next_wait();
        Ok(())
    }

    /// Aborts the transaction, if one is open, and forgets everything read since the last one.
    fn abandon(&mut self, why: &KafkaError) {
        self.failures += 1;
        self.ready.clear();
        if self.producer.is_open() {
            self.summary.aborted += 1;
            self.observer.aborted();
        }
        let producer = &mut self.producer;
        let ((), _) = self.consumer.busy_with(|| producer.give_up(why));
        self.tracks.iter_mut().for_each(Track::forget);
        (self.open, self.open_bytes, self.open_since) = (Passed::default(), 0, None);
        self.idle.restless();
        self.fence = self.consumer.fence();
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
        if let Some(ring) = self.flow.keys.refresh()? {
            self.keyed = Keyed::new(ring, self.flow.recipient)?;
        }
        self.producer.serve();
        for track in &mut self.tracks {
            track.hear(self.consumer.heard(&track.partition), drained);
        }
        let lag = self.tracks.iter().map(Track::lag).sum();
        self.observer.stands(lag, self.open_since.is_some());
        Ok(())
    }

    fn summary(&self) -> SinkSummary {
        let position = |(p, (next_offset, skipped)): (&TopicPartition, &(i64, u64))| StreamPosition {
            topic: p.topic.clone(),
            partition: p.partition,
            next_offset: *next_offset,
            skipped: *skipped,
        };
        SinkSummary { offsets: self.told.iter().map(position).collect(), ..self.summary.clone() }
    }
}
