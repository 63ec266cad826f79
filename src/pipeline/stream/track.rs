//! One assigned partition: what was read of it, and where it is read on.

use super::figures::PartitionFigures;
use crate::lake::batches::{Source, StreamPosition};
use crate::pipeline::lane::LaneId;
use crate::pipeline::messages::{Assembler, Stretch};
use crate::source::kafka::consumer::{Heard, TopicPartition};
use std::time::{Duration, Instant};

/// After a jump, statistics of before it still come for this long.
const STALE: Duration = Duration::from_millis(1500);

pub(super) struct Track {
    pub(super) partition: TopicPartition,
    pub(super) lane: LaneId,
    pub(super) assembler: Assembler,
    /// Where the newest manifest says that reading goes on.
    pub(super) committed: Option<i64>,
    /// The next offset to take. None: where it begins is not known yet, nothing is fetched.
    pub(super) next: Option<i64>,
    /// Where the next commit must say that reading goes on, be it without a record.
    pub(super) moved: bool,
    /// Offsets lost before what is staged.
    pub(super) skipped: u64,
    /// It was compared with what the broker has.
    pub(super) checked: bool,
    /// Fetching begins at `next`. If not, what comes may leave a gap, and is not taken.
    pub(super) sought: bool,
    /// The client may have given up fetching it.
    pub(super) was_gone: bool,
    staged: Option<Stretch>,
    /// Time of the oldest message that is not committed, and of the newest that was read.
    oldest_ms: Option<i64>,
    newest_ms: Option<i64>,
    end: Option<i64>,
    /// Everything before it was read, also where there was nothing to see.
    reached: i64,
    jumped: Instant,
}

impl Track {
    pub(super) fn new(partition: TopicPartition, lane: LaneId, assembler: Assembler, committed: Option<i64>) -> Track {
        Track {
            partition,
            lane,
            assembler,
            committed,
            next: committed,
            moved: false,
            skipped: 0,
            checked: false,
            sought: false,
            was_gone: false,
            staged: None,
            oldest_ms: None,
            newest_ms: None,
            end: None,
            reached: 0,
            jumped: Instant::now(),
        }
    }

    /// Notes a message that was taken.
    pub(super) fn took(&mut self, offset: i64, timestamp_ms: Option<i64>) {
        self.next = Some(offset + 1);
        if self.oldest_ms.is_none() {
            self.oldest_ms = timestamp_ms;
        }
        self.newest_ms = timestamp_ms.or(self.newest_ms);
    }

    /// Notes what the assembler has handed out.
    pub(super) fn stage(&mut self, stretch: Option<Stretch>) {
        let Some(more) = stretch else { return };
        match &mut self.staged {
            None => self.staged = Some(more),
            Some(all) => {
                all.next = more.next;
                all.messages += more.messages;
                all.bytes += more.bytes;
            }
        }
    }

    /// Whether there is anything to commit, once the assembler is flushed.
    pub(super) fn is_due(&self) -> bool {
        self.staged.is_some() || self.moved
    }

    /// What the manifest says of everything staged: where reading goes on, and what was read.
    pub(super) fn to_commit(&self) -> Option<(StreamPosition, Option<Source>)> {
        let next_offset = self.next.filter(|_| self.is_due())?;
        let position = StreamPosition {
            topic: self.partition.topic.clone(),
            partition: self.partition.partition,
            next_offset,
            skipped: self.skipped,
        };
        let read = |s: Stretch| Source { file: None, offset: s.first.max(0) as u64, bytes: s.bytes, records: 0 };
        Some((position, self.staged.map(read)))
    }

    pub(super) fn took_effect(&mut self) {
        self.committed = self.next;
        self.forget_staged();
    }

    /// Reading goes on at `offset`, once the client has sought it; what was read and not committed
    /// is forgotten.
    pub(super) fn jump(&mut self, offset: i64) {
        self.assembler.clear();
        self.forget_staged();
        self.next = Some(offset);
        self.reached = offset;
        (self.sought, self.checked) = (false, false);
        self.jumped = Instant::now();
    }

    /// The client has been told to fetch from `next` anew: what it had fetched beyond is gone, and what
    /// it says of that no longer holds.
    pub(super) fn fetched_anew(&mut self, sought: bool) {
        self.sought = sought;
        self.reached = self.next.unwrap_or(0);
        self.jumped = Instant::now();
    }

    fn forget_staged(&mut self) {
        (self.staged, self.oldest_ms, self.skipped, self.moved) = (None, None, 0, false);
    }

    /// Bytes read and not committed.
    pub(super) fn open_bytes(&self) -> u64 {
        self.staged.map_or(0, |s| s.bytes) + self.assembler.held_bytes() as u64
    }

    pub(super) fn has_unflushed(&self) -> bool {
        self.assembler.held_bytes() > 0 || self.oldest_ms.is_some()
    }

    /// Takes up what the client has heard. `drained`: nothing that was fetched waits to be taken.
    pub(super) fn hear(&mut self, heard: Option<Heard>, drained: bool) {
        let Some(heard) = heard.filter(|h| h.at > self.jumped + STALE) else { return };
        self.end = Some(heard.end);
        if let Some(to) = heard.fetched_to.filter(|_| drained) {
            self.reached = self.reached.max(to);
        }
    }

    /// Notes what the broker says of its end.
    pub(super) fn ends(&mut self, end: i64) {
        self.end = Some(end);
    }

    /// Everything that consumers can see of it was read, as far as is known.
    pub(super) fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.next.is_some_and(|next| next.max(self.reached) >= end))
    }

    pub(super) fn figures(&self, now_ms: i64, watermark_ms: Option<i64>) -> PartitionFigures {
        let read = self.next.map(|next| next.max(self.reached));
        let lag = self.end.zip(read).map(|(end, read)| end.saturating_sub(read).max(0) as u64);
        // What is behind the newest message read is not older than it.
        let since = self.oldest_ms.or_else(|| self.newest_ms.filter(|_| lag > Some(0)));
        PartitionFigures {
            partition: self.partition.clone(),
            lag_offsets: lag,
            lag_ms: since.map_or(0, |t| now_ms.saturating_sub(t).max(0) as u64),
            next_offset: self.committed,
            watermark_ms,
        }
    }
}
