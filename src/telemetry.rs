//! What a running feed tells Prometheus, and whether it is alive and ready.
//!
//! A leaf: it is told numbers, it asks nobody. Labels hold names of the configuration and codes,
//! never content. Nothing is counted per record: the flow tells of batches and of each second.

mod health;
mod names;

pub use health::Health;
pub use names::{Kind, METRICS, Metric};

use metrics::{Counter, Gauge, Histogram, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Upper bounds of the histograms' buckets, in seconds.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The metrics of this process. Clones are the same.
#[derive(Clone)]
pub struct Telemetry {
    handle: PrometheusHandle,
    /// How the partitions of each feed stand. Kept apart from the registry, which cannot forget a
    /// partition that went to another process.
    partitions: Arc<Mutex<HashMap<String, Vec<Partition>>>>,
}

/// How one partition stands now; of a feed of files there is one, `files`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partition {
    /// Empty for files.
    pub topic: String,
    pub partition: i32,
    pub lag_offsets: Option<u64>,
    pub lag: Option<Duration>,
    /// Next offset to be read, as committed to the lake.
    pub offset: Option<i64>,
    pub watermark_ms: Option<i64>,
}

/// What became of records with one commit.
#[derive(Clone, Debug, Default)]
pub struct Committed<'a> {
    pub records_in: u64,
    pub veiled: u64,
    pub joined: u64,
    /// Decompressed.
    pub bytes: u64,
    pub quarantined: Vec<(&'a str, u64)>,
    pub dropped: Vec<(&'a str, u64)>,
    pub batches: u64,
    /// From the first record read to the commit.
    pub batch: Option<Duration>,
    /// The commit alone.
    pub commit: Option<Duration>,
}

impl Telemetry {
    /// Takes this process's metrics; the same ones when it is called again.
    pub fn install() -> Telemetry {
        static INSTALLED: OnceLock<Telemetry> = OnceLock::new();
        INSTALLED
            .get_or_init(|| {
                let (recorder, telemetry) = Telemetry::new();
                // Nothing else in this program installs one.
                let _ = metrics::set_global_recorder(recorder);
                describe();
                telemetry
            })
            .clone()
    }

    /// Metrics that go nowhere: without an installed recorder a feed's calls cost next to nothing.
    pub fn off() -> Telemetry {
        Telemetry::new().1
    }

    fn new() -> (PrometheusRecorder, Telemetry) {
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS).expect("there are buckets");
        let recorder = builder.build_recorder();
        let telemetry = Telemetry { handle: recorder.handle(), partitions: Arc::default() };
        (recorder, telemetry)
    }

    /// The page behind `/metrics`, in Prometheus' text format.
    pub fn page(&self) -> String {
        metrics::gauge!(names::RESIDENT_BYTES).set(resident_bytes() as f64);
        let mut page = self.handle.render();
        let feeds = self.partitions();
        let mut all: Vec<(&String, &Partition)> =
            feeds.iter().flat_map(|(f, ps)| ps.iter().map(move |p| (f, p))).collect();
        all.sort_by(|a, b| (a.0, &a.1.topic, a.1.partition).cmp(&(b.0, &b.1.topic, b.1.partition)));
        for metric in METRICS.iter().filter(|m| m.kind == Kind::PerPartition) {
            let _ = write!(page, "# HELP {} {}\n# TYPE {} gauge\n", metric.name, metric.help, metric.name);
            for (feed, partition) in &all {
                if let Some(value) = partition.value(metric.name) {
                    let _ = writeln!(page, "{}{{{}}} {value}", metric.name, partition.labels(metric, feed));
                }
            }
            page.push('\n');
        }
        page
    }

    /// Metrics of one feed, all at 0. `reasons` and `rules` are the codes there are.
    pub fn feed<'a>(
        &self,
        name: &str,
        reasons: impl Iterator<Item = &'a str>,
        rules: impl Iterator<Item = &'a str>,
    ) -> Feed {
        let counter = |metric: &'static str| metrics::counter!(metric, "feed" => name.to_owned());
        let gauge = |metric: &'static str| metrics::gauge!(metric, "feed" => name.to_owned());
        let histogram = |metric: &'static str| metrics::histogram!(metric, "feed" => name.to_owned());
        let mut feed = Feed {
            name: name.to_owned(),
            records_in: counter(names::RECORDS_IN),
            veiled: counter(names::RECORDS_VEILED),
            joined: counter(names::RECORDS_JOINED),
            late: counter(names::RECORDS_LATE),
            bytes: counter(names::BYTES_IN),
            batches: counter(names::BATCHES_COMMITTED),
            batches_dropped: counter(names::BATCHES_DROPPED),
            offsets_skipped: counter(names::OFFSETS_SKIPPED),
            batch_seconds: histogram(names::BATCH_SECONDS),
            commit_seconds: histogram(names::COMMIT_SECONDS),
            queue_blocks: gauge(names::QUEUE_BLOCKS),
            staged_bytes: gauge(names::STAGED_BYTES),
            assigned: gauge(names::PARTITIONS_ASSIGNED),
            quarantined: HashMap::new(),
            dropped: HashMap::new(),
            partitions: Arc::clone(&self.partitions),
        };
        for gauge in [&feed.queue_blocks, &feed.staged_bytes, &feed.assigned] {
            gauge.set(0.0);
        }
        reasons.for_each(|reason| feed.count(Labelled::Reason, reason, 0));
        rules.for_each(|rule| feed.count(Labelled::Rule, rule, 0));
        // Counters of the sink are there without one, at 0.
        feed.sink();
        feed
    }

    fn partitions(&self) -> MutexGuard<'_, HashMap<String, Vec<Partition>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The metrics of one feed. Without an installed recorder every call does nothing.
pub struct Feed {
    name: String,
    records_in: Counter,
    veiled: Counter,
    joined: Counter,
    late: Counter,
    bytes: Counter,
    batches: Counter,
    batches_dropped: Counter,
    offsets_skipped: Counter,
    batch_seconds: Histogram,
    commit_seconds: Histogram,
    queue_blocks: Gauge,
    staged_bytes: Gauge,
    assigned: Gauge,
    quarantined: HashMap<String, Counter>,
    dropped: HashMap<String, Counter>,
    partitions: Arc<Mutex<HashMap<String, Vec<Partition>>>>,
}

/// Counters with a second label.
#[derive(Clone, Copy)]
enum Labelled {
    Reason,
    Rule,
}

/// Code of the reason that makes a record late: older than the feed's `accept_late_days`.
const LATE: &str = "late_event";

impl Feed {
    /// Counters move with the commit: what is not committed has not happened.
    pub fn committed(&mut self, committed: &Committed<'_>) {
        self.records_in.increment(committed.records_in);
        self.veiled.increment(committed.veiled);
        self.joined.increment(committed.joined);
        self.bytes.increment(committed.bytes);
        self.batches.increment(committed.batches);
        for (reason, n) in &committed.quarantined {
            self.count(Labelled::Reason, reason, *n);
            if *reason == LATE {
                self.late.increment(*n);
            }
        }
        for (rule, n) in &committed.dropped {
            self.count(Labelled::Rule, rule, *n);
        }
        for (histogram, took) in [(&self.batch_seconds, committed.batch), (&self.commit_seconds, committed.commit)] {
            if let Some(took) = took {
                histogram.record(took.as_secs_f64());
            }
        }
    }

    /// Decompressed bytes, where they are known apart from the commit.
    pub fn bytes(&self, n: u64) {
        self.bytes.increment(n);
    }

    /// Batches that somebody else was first to commit.
    pub fn batches_dropped(&self, n: u64) {
        self.batches_dropped.increment(n);
    }

    /// Offsets that retention had deleted before they were read.
    pub fn offsets_skipped(&self, n: u64) {
        self.offsets_skipped.increment(n);
    }

    pub fn queue(&self, blocks: usize) {
        self.queue_blocks.set(blocks as f64);
    }

    pub fn staged(&self, bytes: u64) {
        self.staged_bytes.set(bytes as f64);
    }

    pub fn assigned(&self, partitions: usize) {
        self.assigned.set(partitions as f64);
    }

    /// How all partitions of this feed stand that this process has; others are forgotten.
    pub fn partitions(&self, partitions: Vec<Partition>) {
        let mut all = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(self.name.clone(), partitions);
    }

    /// The metrics of the feed's Kafka sink, for the thread that runs it.
    pub fn sink(&self) -> Sink {
        let counter = |metric: &'static str| metrics::counter!(metric, "feed" => self.name.clone());
        let transactions = |outcome: &'static str| metrics::counter!(names::SINK_TRANSACTIONS, "feed" => self.name.clone(), "outcome" => outcome);
        let sink = Sink {
            records: counter(names::SINK_RECORDS),
            dead_letters: counter(names::SINK_DEAD_LETTERS),
            committed: transactions("committed"),
            aborted: transactions("aborted"),
            lag: metrics::gauge!(names::SINK_LAG_OFFSETS, "feed" => self.name.clone()),
        };
        sink.lag(0);
        sink
    }

    fn count(&mut self, which: Labelled, label: &str, n: u64) {
        let (metric, key, counters) = match which {
            Labelled::Reason => (names::RECORDS_QUARANTINED, "reason", &mut self.quarantined),
            Labelled::Rule => (names::RECORDS_DROPPED, "rule", &mut self.dropped),
        };
        if let Some(counter) = counters.get(label) {
            return counter.increment(n);
        }
        let counter = metrics::counter!(metric, "feed" => self.name.clone(), key => label.to_owned());
        counter.increment(n);
        counters.insert(label.to_owned(), counter);
    }
}

/// The metrics of one feed's Kafka sink.
pub struct Sink {
    records: Counter,
    dead_letters: Counter,
    committed: Counter,
    aborted: Counter,
    lag: Gauge,
}

impl Sink {
    /// A transaction was committed, with so many veiled and refused records.
    pub fn committed(&self, records: u64, dead_letters: u64) {
        self.records.increment(records);
        self.dead_letters.increment(dead_letters);
        self.committed.increment(1);
    }

    pub fn aborted(&self) {
        self.aborted.increment(1);
    }

    /// Offsets that the sink has not read yet.
    pub fn lag(&self, offsets: u64) {
        self.lag.set(offsets as f64);
    }
}

impl Partition {
    fn value(&self, metric: &str) -> Option<f64> {
        match metric {
            names::LAG_OFFSETS => self.lag_offsets.map(|n| n as f64),
            names::LAG_SECONDS => self.lag.map(|d| d.as_secs_f64()),
            names::KAFKA_OFFSET => self.offset.map(|n| n as f64),
            _ => self.watermark_ms.map(|ms| ms as f64 / 1000.0),
        }
    }

    /// Topics and feeds are of letters, digits, dots, hyphens and underscores: nothing to escape.
    fn labels(&self, metric: &Metric, feed: &str) -> String {
        let Partition { topic, partition, .. } = self;
        match (metric.labels.contains(&"topic"), topic.is_empty()) {
            (true, _) => format!("feed=\"{feed}\",topic=\"{topic}\",partition=\"{partition}\""),
            (false, true) => format!("feed=\"{feed}\",partition=\"files\""),
            (false, false) => format!("feed=\"{feed}\",partition=\"{topic}-{partition}\""),
        }
    }
}

fn describe() {
    for metric in METRICS {
        let unit = match metric.unit {
            "seconds" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            _ => Unit::Count,
        };
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, unit, metric.help),
            Kind::PerPartition => {}
        }
    }
    metrics::gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// `VmRSS` of Linux; 0 where there is none.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests;
