//! What a running stream tells: its partitions' lag and position, what each round brought.

use crate::lake::batches::Counts;
use crate::source::kafka::consumer::TopicPartition;
use std::time::Duration;

/// How one partition stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionFigures {
    pub partition: TopicPartition,
    /// Offsets between the end, as consumers see it, and what was read. None: not known yet.
    pub lag_offsets: Option<u64>,
    /// Age of the oldest message that was read and is not committed; 0 when there is none.
    pub lag_ms: u64,
    /// As the batch log says.
    pub next_offset: Option<i64>,
    pub watermark_ms: Option<i64>,
}

/// How the stream as a whole stands now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub partitions: Vec<PartitionFigures>,
    /// Blocks that the workers have or wait for.
    pub queued_blocks: usize,
    /// Read and not committed.
    pub staged_bytes: u64,
}

/// What one commit round brought, over all partitions.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub counts: Counts,
    /// Decompressed.
    pub bytes: u64,
    pub committed: u64,
    /// Batches of partitions that somebody else was first to commit.
    pub dropped: u64,
    /// From the first message read to the commit.
    pub took: Duration,
    /// The commit alone.
    pub commit_took: Duration,
    /// Offsets that were gone before they were read.
    pub skipped: u64,
}

/// Is told how a stream goes. All methods are called from one thread.
pub trait StreamObserver {
    /// No broker answers yet; said once.
    fn waits(&mut self, why: &str);
    fn assigned(&mut self, new: &[TopicPartition], all: usize);
    fn revoked(&mut self, gone: &[TopicPartition], left: usize);
    /// Offsets `from..to` were deleted before they were read.
    fn skipped(&mut self, partition: &TopicPartition, from: i64, to: i64);
    fn committed(&mut self, round: &Round);
    /// About once a second.
    fn stands(&mut self, figures: &Figures);
}
