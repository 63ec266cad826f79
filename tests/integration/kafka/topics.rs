//! Topics and what stands in them, by the admin client of librdkafka.

use super::cluster::Cluster;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(30);

/// Makes a topic of that many partitions; its full name, which no other test has.
pub fn create(cluster: &Cluster, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
    let topic = format!("{name}-{:08x}", rand::random::<u32>());
    let mut new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(-1));
    for (setting, value) in settings {
        new = new.set(setting, value);
    }
    let made = block_on(admin(cluster).create_topics(&[new], &options())).unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    await_leaders(cluster, &topic, partitions);
    topic
}

/// More partitions for a topic that is being read.
pub fn grow(cluster: &Cluster, topic: &str, partitions: i32) {
    let grown = NewPartitions::new(topic, usize::try_from(partitions).unwrap());
    let made = block_on(admin(cluster).create_partitions(&[grown], &options())).unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    await_leaders(cluster, topic, partitions);
}

/// What retention does: everything before `offset` is gone.
pub fn delete_before(cluster: &Cluster, topic: &str, partition: i32, offset: i64) {
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    let deleted = block_on(admin(cluster).delete_records(&before, &options())).unwrap();
    assert!(deleted.elements().iter().all(|e| e.error().is_ok()), "{deleted:?}");
}

/// Index of the broker that leads a partition.
pub fn leader(cluster: &Cluster, topic: &str, partition: i32) -> usize {
    let metadata = consumer(cluster, "nobody").fetch_metadata(Some(topic), WAIT).unwrap();
    let found = metadata.topics()[0].partitions().iter().find(|p| p.id() == partition).unwrap();
    usize::try_from(found.leader()).unwrap() - 1
}

/// First and next offset of a partition.
pub fn bounds(cluster: &Cluster, topic: &str, partition: i32) -> (i64, i64) {
    consumer(cluster, "nobody").fetch_watermarks(topic, partition, WAIT).unwrap()
}

/// What a group has committed for a partition, as lag tools see it.
pub fn committed(cluster: &Cluster, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let found = consumer(cluster, group).committed_offsets(asked, WAIT).unwrap();
    match found.elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

fn await_leaders(cluster: &Cluster, topic: &str, partitions: i32) {
    let consumer = consumer(cluster, "nobody");
    for _ in 0..300 {
        if let Ok(metadata) = consumer.fetch_metadata(Some(topic), WAIT) {
            let found = metadata.topics()[0].partitions();
            if found.len() == usize::try_from(partitions).unwrap() && found.iter().all(|p| p.leader() >= 0) {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("topic {topic} has no leaders");
}

fn consumer(cluster: &Cluster, group: &str) -> BaseConsumer {
    cluster.client().set("group.id", group).create().unwrap()
}

fn admin(cluster: &Cluster) -> AdminClient<DefaultClientContext> {
    cluster.client().create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WAIT)).operation_timeout(Some(WAIT))
}

/// librdkafka's own thread does the work; we only wait for it.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
