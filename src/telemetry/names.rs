//! Every metric there is. `schemas/telemetry/metrics.md` is the same list for people.

pub(super) const RECORDS_IN: &str = "cdrveil_records_in_total";
pub(super) const RECORDS_VEILED: &str = "cdrveil_records_veiled_total";
pub(super) const RECORDS_JOINED: &str = "cdrveil_records_joined_total";
pub(super) const RECORDS_QUARANTINED: &str = "cdrveil_records_quarantined_total";
pub(super) const RECORDS_DROPPED: &str = "cdrveil_records_dropped_total";
pub(super) const RECORDS_LATE: &str = "cdrveil_records_late_total";
pub(super) const BYTES_IN: &str = "cdrveil_bytes_in_total";
pub(super) const BATCHES_COMMITTED: &str = "cdrveil_batches_committed_total";
pub(super) const BATCHES_DROPPED: &str = "cdrveil_batches_dropped_total";
pub(super) const BATCH_SECONDS: &str = "cdrveil_batch_seconds";
pub(super) const COMMIT_SECONDS: &str = "cdrveil_commit_seconds";
pub(super) const LAG_OFFSETS: &str = "cdrveil_kafka_lag_offsets";
pub(super) const LAG_SECONDS: &str = "cdrveil_kafka_lag_seconds";
pub(super) const KAFKA_OFFSET: &str = "cdrveil_kafka_offset";
pub(super) const OFFSETS_SKIPPED: &str = "cdrveil_kafka_offsets_skipped_total";
pub(super) const WATERMARK_SECONDS: &str = "cdrveil_watermark_seconds";
pub(super) const QUEUE_BLOCKS: &str = "cdrveil_queue_blocks";
pub(super) const STAGED_BYTES: &str = "cdrveil_staged_bytes";
pub(super) const RESIDENT_BYTES: &str = "cdrveil_resident_bytes";
pub(super) const PARTITIONS_ASSIGNED: &str = "cdrveil_partitions_assigned";
pub(super) const SINK_RECORDS: &str = "cdrveil_sink_records_total";
pub(super) const SINK_TRANSACTIONS: &str = "cdrveil_sink_transactions_total";
pub(super) const SINK_DEAD_LETTERS: &str = "cdrveil_sink_dead_letters_total";
pub(super) const SINK_LAG_OFFSETS: &str = "cdrveil_sink_lag_offsets";
pub(super) const BUILD_INFO: &str = "cdrveil_build_info";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    /// A gauge for each partition that this process has.
    PerPartition,
    Histogram,
}

pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, help }
}

const FEED: &[&str] = &["feed"];
const PARTITION: &[&str] = &["feed", "topic", "partition"];

pub const METRICS: &[Metric] = &[
    metric(
        RECORDS_IN,
        Kind::Counter,
        "records",
        FEED,
        "Records read and committed, refused and dropped ones included.",
    ),
    metric(RECORDS_VEILED, Kind::Counter, "records", FEED, "Records committed to lake/cdr under pseudonyms."),
    metric(RECORDS_JOINED, Kind::Counter, "records", FEED, "Records that became part of the row of another one."),
    metric(
        RECORDS_QUARANTINED,
        Kind::Counter,
        "records",
        &["feed", "reason"],
        "Records refused and sealed into the quarantine.",
    ),
    metric(RECORDS_DROPPED, Kind::Counter, "records", &["feed", "rule"], "Records left out by a rule of the mapping."),
    metric(RECORDS_LATE, Kind::Counter, "records", FEED, "Records refused as older than the feed accepts."),
    metric(BYTES_IN, Kind::Counter, "bytes", FEED, "Input committed, decompressed."),
    metric(BATCHES_COMMITTED, Kind::Counter, "batches", FEED, "Batches committed to the batch log."),
    metric(
        BATCHES_DROPPED,
        Kind::Counter,
        "batches",
        FEED,
        "Batches given up because another process was first; their records are that one's.",
    ),
    metric(BATCH_SECONDS, Kind::Histogram, "seconds", FEED, "From the first record read of a batch to its commit."),
    metric(
        COMMIT_SECONDS,
        Kind::Histogram,
        "seconds",
        FEED,
        "The commit of a batch alone: files closed, manifest, tables.",
    ),
    metric(
        LAG_OFFSETS,
        Kind::PerPartition,
        "offsets",
        PARTITION,
        "Offsets between the partition's end and what was read.",
    ),
    metric(
        LAG_SECONDS,
        Kind::PerPartition,
        "seconds",
        PARTITION,
        "Age of the oldest message that was read and is not committed; 0 when all is committed.",
    ),
    metric(KAFKA_OFFSET, Kind::PerPartition, "offsets", PARTITION, "Next offset to be read, as committed to the lake."),
    metric(
        OFFSETS_SKIPPED,
        Kind::Counter,
        "offsets",
        FEED,
        "Offsets that the topic's retention had deleted before they were read.",
    ),
    metric(
        WATERMARK_SECONDS,
        Kind::PerPartition,
        "seconds",
        &["feed", "partition"],
        "Newest event time committed, as Unix time, floored to 15 minutes.",
    ),
    metric(QUEUE_BLOCKS, Kind::Gauge, "blocks", FEED, "Blocks that the workers have or that wait for them."),
    metric(STAGED_BYTES, Kind::Gauge, "bytes", FEED, "Input read and not yet committed, decompressed."),
    metric(RESIDENT_BYTES, Kind::Gauge, "bytes", &[], "Memory of this process."),
    metric(PARTITIONS_ASSIGNED, Kind::Gauge, "partitions", FEED, "Kafka partitions that this process reads."),
    metric(
        SINK_RECORDS,
        Kind::Counter,
        "records",
        FEED,
        "Records written by committed transactions of the Kafka sink.",
    ),
    metric(
        SINK_TRANSACTIONS,
        Kind::Counter,
        "transactions",
        &["feed", "outcome"],
        "Transactions of the Kafka sink: committed or aborted.",
    ),
    metric(
        SINK_DEAD_LETTERS,
        Kind::Counter,
        "records",
        FEED,
        "Refused records written by committed transactions of the Kafka sink.",
    ),
    metric(
        SINK_LAG_OFFSETS,
        Kind::Gauge,
        "offsets",
        FEED,
        "Offsets between the ends of the sink's partitions and what it has read, all together.",
    ),
    metric(BUILD_INFO, Kind::Gauge, "none", &["version"], "1; its label is the version of the program."),
];
