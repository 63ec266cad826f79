//! One assigned partition on its way into the sink: what was read of it, and where it is read on.

use crate::pipeline::messages::Assembler;
use crate::source::kafka::consumer::{Heard, TopicPartition};
use std::time::{Duration, Instant};

/// After a jump, statistics of before it still come for this long.
const STALE: Duration = Duration::from_millis(1500);

pub(super) struct Track {
    pub(super) partition: TopicPartition,
    pub(super) assembler: Assembler,
    /// As the group says. `None`: it has no offset of it, or was not asked.
    pub(super) committed: Option<i64>,
    /// The group was asked since the last transaction that failed.
    pub(super) asked: bool,
    /// The next offset to take.
    pub(super) next: Option<i64>,
    /// Fetching begins at `next`. If not, what comes may leave a gap, and is not taken.
    pub(super) ready: bool,
    /// The client has it assigned with an offset.
    pub(super) fetching: bool,
    /// The next transaction must say where reading goes on, be it without a record.
    pub(super) moved: bool,
    /// Offsets lost before what is in the open transaction.
    pub(super) skipped: u64,
    end: Option<i64>,
    /// Everything before it was read, also where there was nothing to see.
    reached: i64,
    jumped: Instant,
}

impl Track {
    pub(super) fn new(partition: TopicPartition, assembler: Assembler) -> Track {
        Track {
            partition,
            assembler,
            committed: None,
            asked: false,
            next: None,
            ready: false,
            fetching: false,
            moved: false,
            skipped: 0,
            end: None,
            reached: 0,
            jumped: Instant::now(),
        }
    }

    /// What was read and not committed is read again, from where the group says.
    pub(super) fn forget(&mut self) {
        self.assembler.clear();
        (self.committed, self.next) = (None, None);
        (self.asked, self.ready, self.moved, self.skipped) = (false, false, false, 0);
    }

    /// Reading goes on at `offset`.
    pub(super) fn jump(&mut self, offset: i64) {
        (self.next, self.reached, self.jumped) = (Some(offset), offset, Instant::now());
    }

    /// What the next transaction must say of it.
    pub(super) fn to_commit(&self) -> Option<(TopicPartition, i64)> {
        let due = self.moved || self.next != self.committed;
        Some((self.partition.clone(), self.next.filter(|_| due)?))
    }

    pub(super) fn took_effect(&mut self) {
        (self.committed, self.moved, self.skipped) = (self.next, false, 0);
    }

    /// Takes up what the client has heard. `drained`: nothing that was fetched waits to be taken.
    pub(super) fn hear(&mut self, heard: Option<Heard>, drained: bool) {
        let Some(heard) = heard.filter(|h| self.ready && h.at > self.jumped + STALE) else { return };
        self.end = Some(heard.end);
        if let Some(to) = heard.fetched_to.filter(|_| drained) {
            self.reached = self.reached.max(to);
        }
    }

    /// Notes what the broker says of its end.
    pub(super) fn ends(&mut self, end: i64) {
        self.end = Some(end);
    }

    fn read(&self) -> Option<i64> {
        self.next.map(|next| next.max(self.reached))
    }

    /// Everything that consumers can see of it was read, as far as is known.
    pub(super) fn is_at_end(&self) -> bool {
        self.ready && self.end.zip(self.read()).is_some_and(|(end, read)| read >= end)
    }

    /// Offsets between the end and what was read; 0 as long as either is not known.
    pub(super) fn lag(&self) -> u64 {
        self.end.zip(self.read()).map_or(0, |(end, read)| end.saturating_sub(read).max(0) as u64)
    }
}
