//! The Kafka sink of `cdrveil ingest` on a feed of topics: what it is made of, and what it tells.

use super::stream::start;
use super::{IngestArgs, limits};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::config::{KafkaFeed, KafkaSink, LostOffsets, SinkFormat, Site};
use crate::keyfile::IngestKeyFile;
use crate::pipeline::Feed;
use crate::pipeline::summary::SinkSummary;
use crate::pipeline::veiled_stream::{self, Flow, Observer, Round};
use crate::shutdown::Stop;
use crate::sink::kafka::producer::{Producer, Settings};
use crate::sink::kafka::slot::Slot;
use crate::sink::kafka::{Encoding, Outlet};
use crate::source::kafka::consumer::TopicPartition;
use crate::telemetry::{self, Health};
use std::sync::Arc;
use std::time::Duration;

/// A process that is no more leaves its transaction open for its commit interval and this long.
const TIMEOUT_BEYOND: Duration = Duration::from_secs(15);
/// What brokers allow if they are not told otherwise (transaction.max.timeout.ms).
const TIMEOUT_MAX: Duration = Duration::from_secs(900);

/// Everything that the sink of one run is made of.
pub(super) struct Sink<'a> {
    pub(super) args: &'a IngestArgs,
    pub(super) configured: &'a crate::config::Feed,
    pub(super) kafka: &'a KafkaFeed,
    pub(super) settings: &'a KafkaSink,
    pub(super) site: &'a Site,
    pub(super) context: &'a Context,
    pub(super) feed: Arc<Feed>,
    /// The sink's own reader: it learns of new keys by itself.
    pub(super) keys: IngestKeyFile,
    pub(super) metrics: telemetry::Sink,
}

impl Sink<'_> {
    /// Until it is idle, or stopped. `health` is told of it where nothing else is.
    pub(super) fn run(self, stop: &Stop, health: Option<Health>) -> Result<SinkSummary, CliError> {
        let Sink { args, configured, kafka, settings, site, context, .. } = self;
        let group = format!("{}.sink", kafka.group);
        let interval = site.ingest.commit_interval;
        let mut told = Told { metrics: self.metrics, health };
        let health = told.health.clone();
        let stop = || {
            health.iter().for_each(Health::moved);
            stop.is_asked()
        };
        let topics: Vec<String> = settings.topic.iter().chain(&settings.dead_letter).cloned().collect();
        let producer = Producer::new(
            Settings {
                cluster: &settings.cluster,
                group: &group,
                topics,
                transaction_timeout: interval.saturating_add(TIMEOUT_BEYOND).min(TIMEOUT_MAX),
                stopping: &stop,
            },
            Slot::take(&context.site_dir.join("ingest"), &settings.transactional_id),
        );
        let flow = Flow {
            cluster: &kafka.cluster,
            topics: &kafka.topics,
            group: &group,
            start: start(kafka),
            skip_lost: kafka.lost_offsets == LostOffsets::Skip,
            columns: &configured.columns,
            limits: limits(site).of_messages(kafka.max_message_bytes),
            keys: &self.keys,
            clock: &*context.clock,
            recipient: &settings.recipient,
            outlet: Outlet {
                feed: self.feed.name.clone(),
                trunks: self.feed.trunks.names().map(str::to_owned).collect(),
                encoding: match settings.format {
                    SinkFormat::Json => Encoding::Json,
                    SinkFormat::Avro => Encoding::Avro { schema_id: settings.schema_id },
                },
            },
            topic: settings.topic.clone(),
            dead_letter: settings.dead_letter.clone(),
            max_message_bytes: producer.max_message_bytes()?,
            commit_interval: interval.min(producer.transaction_timeout()? / 2),
            stop_within: site.ingest.stop_within,
            until_idle: args.until_idle.map(Duration::from_secs),
            feed: self.feed,
        };
        Ok(veiled_stream::run(&flow, producer, &stop, &mut told)?)
    }
}

/// Counts, and warns of what somebody should know.
struct Told {
    metrics: telemetry::Sink,
    health: Option<Health>,
}

impl Observer for Told {
    fn waits(&mut self, why: &str) {
        eprintln!("the sink waits for a broker: {why}");
    }

    fn assigned(&mut self, _: usize) {
        self.health.iter().for_each(Health::opened);
    }

    fn skipped(&mut self, partition: &TopicPartition, from: i64, to: i64) {
        let name = partition.name();
        eprintln!("warning: {name}: offsets {from} to {} were deleted before the sink read them", to - 1);
    }

    fn committed(&mut self, round: &Round) {
        self.metrics.committed(round.sent, round.dead_letters);
        self.health.iter().for_each(Health::committed);
    }

    fn aborted(&mut self) {
        self.metrics.aborted();
    }

    fn stands(&mut self, lag: u64, open: bool) {
        self.metrics.lag(lag);
        self.health.iter().for_each(|health| health.staged(open));
    }
}
