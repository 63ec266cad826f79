//! Records into a topic, as quickly as can be or at a given rate, and the bare consumer.

use crate::Options;
use crate::cluster::Cluster;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub const COLUMNS: &str = "start,a_number,b_number,c_number,imsi,imei,direction,duration,answered,cause,cell,network,\
                           trunk_in,trunk_out,charge,currency";
const BLOCK: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy)]
pub enum Shape {
    /// One record a message.
    One,
    /// 100 records a message.
    Blocks,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Shape::One => "one record",
            Shape::Blocks => "100 records",
        }
    }

    pub fn records(self) -> u64 {
        match self {
            Shape::One => 1,
            Shape::Blocks => BLOCK,
        }
    }
}

pub struct Sent {
    pub messages: u64,
    pub bytes: u64,
}

/// Produces `options.records` records, keyed by A number, and waits until the brokers have them.
pub fn produce(cluster: &Cluster, topic: &str, options: &Options, shape: Shape) -> Sent {
    send(cluster, topic, options, shape, options.records, None)
}

/// The same of `records`, at so many records per second where `rate` says.
pub fn send(cluster: &Cluster, topic: &str, options: &Options, shape: Shape, records: u64, rate: Option<f64>) -> Sent {
    let mut config = cluster.client();
    config.set("compression.codec", &options.codec).set("acks", "all").set("enable.idempotence", "true");
    config.set("linger.ms", if rate.is_some() { "5" } else { "50" }).set("queue.buffering.max.messages", "500000");
    let producer: BaseProducer = config.create().expect("a producer's settings are right");
    let mut generate = Command::new(env!("CARGO_BIN_EXE_cdrveil"))
        .args(["generate", "--records", &records.to_string(), "--country", "BE", "--broken", "0", "--days", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("our own program starts");
    let mut lines = BufReader::with_capacity(1 << 20, generate.stdout.take().expect("piped above"));
    let (mut block, mut key) = (Vec::new(), Vec::new());
    lines.read_until(b'\n', &mut block).expect("a header line");
    assert_eq!(String::from_utf8_lossy(&block).trim_end(), COLUMNS);
    let (mut sent, mut done, begun) = (Sent { messages: 0, bytes: 0 }, 0u64, Instant::now());
    while done < records {
        block.clear();
        for _ in 0..shape.records().min(records - done) {
            done += u64::from(lines.read_until(b'\n', &mut block).expect("generate goes on") > 0);
        }
        key.clear();
        key.extend(block.split(|b| *b == b',').nth(1).unwrap_or_default());
        enqueue(&producer, topic, &key, &block);
        sent.messages += 1;
        sent.bytes += block.len() as u64;
        if let Some(rate) = rate {
            let ahead = done as f64 / rate - begun.elapsed().as_secs_f64();
            if ahead > 0.002 {
                producer.poll(Duration::from_secs_f64(ahead));
            }
        }
        if sent.messages % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    assert!(generate.wait().expect("it was started").success());
    producer.flush(PATIENCE).expect("the brokers take all");
    sent
}

fn enqueue(producer: &BaseProducer, topic: &str, key: &[u8], block: &[u8]) {
    let mut record = BaseRecord::to(topic).key(key).payload(block);
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(20));
            }
            Err((e, _)) => panic!("a message is refused: {e}"),
        }
    }
}

/// Seconds that a consumer needs which only counts, from its first message to its last. As librdkafka
/// comes it waits for a second whenever its queue was full; `tuned`, as the pipeline's own, for 20 ms.
pub fn count(cluster: &Cluster, topic: &str, messages: u64, tuned: bool) -> f64 {
    let consumer = from_the_beginning(cluster, topic, tuned);
    let (mut seen, mut bytes, mut begun) = (0, 0, None);
    let started = Instant::now();
    while seen < messages {
        assert!(started.elapsed() < PATIENCE, "{seen} of {messages} messages");
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("the brokers answer");
            begun.get_or_insert_with(Instant::now);
            seen += 1;
            bytes += message.payload_len() as u64;
        }
    }
    assert!(bytes > 0);
    begun.expect("there are messages").elapsed().as_secs_f64()
}

/// A consumer of every partition, in no group.
pub fn from_the_beginning(cluster: &Cluster, topic: &str, tuned: bool) -> BaseConsumer {
    let mut config = cluster.client();
    config.set("group.id", "bare").set("enable.auto.commit", "false").set("isolation.level", "read_committed");
    if tuned {
        config.set("fetch.queue.backoff.ms", "20");
    }
    let consumer: BaseConsumer = config.create().expect("a consumer's settings are right");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("the brokers answer");
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        all.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a place in the topic");
    }
    consumer.assign(&all).expect("the partitions are there");
    consumer
}
