//! What the group remembers, for a sink whose positions move with its transactions.

use super::{ASKING, Consumer, TopicPartition, list, partitions};
use crate::kafka::KafkaError;
use rdkafka::consumer::{Consumer as _, ConsumerGroupMetadata};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

impl Consumer {
    /// Who this member is now. Brokers refuse offsets under it once the member is no longer one
    /// (KIP-447). `None`: it is none already, and metadata without a member would fence nothing.
    pub fn fence(&self) -> Option<ConsumerGroupMetadata> {
        let metadata = self.client.group_metadata()?;
        // Looked at afterwards: a membership that ends is marked before its metadata changes.
        (!self.client.assignment_lost()).then_some(metadata)
    }

    /// Offsets that the group has committed, `None` where it has none yet. As long as a transaction
    /// is under way that holds offsets of one of them, the answer is an error that passes.
    pub fn committed(&self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, Option<i64>)>, KafkaError> {
        let mut asked = TopicPartitionList::with_capacity(of.len());
        for p in of {
            asked.add_partition(&p.topic, p.partition);
        }
        let explain = |e| self.link.explain(&e, &self.group);
        let found = self.client.committed_offsets(asked, ASKING).map_err(explain)?;
        if let Some(error) = found.elements().iter().find_map(|e| e.error().err()) {
            return Err(explain(error));
        }
        let offset = |offset: Offset| match offset {
            Offset::Offset(next) => Some(next),
            _ => None,
        };
        let offsets: Vec<Option<i64>> = found.elements().iter().map(|e| offset(e.offset())).collect();
        Ok(partitions(&found).into_iter().zip(offsets).collect())
    }
}

/// Offsets as a transaction takes them.
pub fn offsets(next: &[(TopicPartition, i64)]) -> Result<TopicPartitionList, KafkaError> {
    list(next)
}
