//! `[feeds.NAME.kafka]` and `[sinks.kafka]`: from checked values to a cluster, and what must fit together.

use super::document::Document;
use super::problem::{ConfigError, Place, Problem};
use super::{FILE, Feed, Site, Values, options};
use crate::kafka::{Cluster, KafkaError};
use std::collections::BTreeMap;
use std::path::Path;
use toml::Value;

/// `[feeds.NAME.kafka]`
#[derive(Clone, Debug)]
pub struct KafkaFeed {
    pub cluster: Cluster,
    pub topics: Vec<String>,
    pub group: String,
    pub start: Start,
    pub lost_offsets: LostOffsets,
    /// Decompressed.
    pub max_message_bytes: usize,
}

/// Where a partition begins that has no batch yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
}

/// When retention has deleted what would be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostOffsets {
    Stop,
    Skip,
}

/// `[sinks.kafka]`
#[derive(Clone, Debug)]
pub struct KafkaSink {
    pub cluster: Cluster,
    pub topic: Option<String>,
    pub dead_letter: Option<String>,
    /// Prefix.
    pub transactional_id: String,
    pub recipient: String,
    pub format: SinkFormat,
    /// Number of the schema in a registry, for the framing of Avro.
    pub schema_id: u32,
    /// `false`: this process does not write the lake.
    pub lake: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkFormat {
    Json,
    Avro,
}

/// The Kafka side of a feed, if it has one; `None` too when a problem was noted.
pub(super) fn feed(dir: &Path, name: &str, document: &mut Document) -> Option<KafkaFeed> {
    let table = format!("feeds.{name}.kafka");
    let place = document.tables.get(&table)?.clone();
    for setting in ["kind", "inbox", "settle_s"] {
        let path = format!("feeds.{name}.{setting}");
        if document.values.contains_key(&path) {
            let at = document.place(&path);
            document.refuse(
                at,
                format!("`{path}` is for files, and this feed reads topics"),
                format!("remove it, or [{table}]"),
            );
        }
    }
    let whole = ["brokers", "topics", "group"].map(|setting| required(&table, setting, &place, document));
    let cluster = cluster(dir, &table, &place, document);
    let values = Values(document);
    let path = |setting: &str| format!("{table}.{setting}");
    let feed = KafkaFeed {
        cluster,
        topics: values.list(&path("topics")),
        group: values.text(&path("group")),
        start: if values.text(&path("start")) == "latest" { Start::Latest } else { Start::Earliest },
        lost_offsets: if values.text(&path("lost_offsets")) == "skip" { LostOffsets::Skip } else { LostOffsets::Stop },
        max_message_bytes: values.number(&path("max_message_bytes")) as usize,
    };
    whole.iter().all(|there| *there).then_some(feed)
}

pub(super) fn sink(dir: &Path, document: &mut Document) -> Option<KafkaSink> {
    let table = "sinks.kafka";
    let place = document.tables.get(table)?.clone();
    let whole = ["brokers", "transactional_id", "recipient"].map(|setting| required(table, setting, &place, document));
    let cluster = cluster(dir, table, &place, document);
    let text = |document: &Document, setting: &str| {
        document.value(&format!("{table}.{setting}")).and_then(Value::as_str).map(str::to_owned)
    };
    let (topic, dead_letter) = (text(document, "topic"), text(document, "dead_letter"));
    if topic.is_none() && dead_letter.is_none() {
        let fix = "add topic = \"cdr.veiled\", or dead_letter = \"cdr.rejects\", or both";
        document.refuse(place.clone(), format!("[{table}] has neither `topic` nor `dead_letter`"), fix.into());
    }
    if topic.is_some() && topic == dead_letter {
        let at = document.place(&format!("{table}.dead_letter"));
        document.refuse(at, "`topic` and `dead_letter` are one topic".into(), "give refused records their own".into());
    }
    let avro = Values(document).text(&format!("{table}.format")) == "avro";
    if avro && document.value(&format!("{table}.schema_id")).is_none() {
        let at = document.place(&format!("{table}.format"));
        let fix = "register schemas/kafka/ there and write its number: schema_id = 7";
        document.refuse(at, format!("`{table}.schema_id` is missing: avro messages begin with it"), fix.into());
    }
    let values = Values(document);
    let path = |setting: &str| format!("{table}.{setting}");
    let sink = KafkaSink {
        cluster,
        topic,
        dead_letter,
        transactional_id: values.text(&path("transactional_id")),
        recipient: values.text(&path("recipient")),
        format: if avro { SinkFormat::Avro } else { SinkFormat::Json },
        schema_id: values.number(&path("schema_id")) as u32,
        lake: values.flag(&path("lake")),
    };
    whole.iter().all(|there| *there).then_some(sink)
}

/// Whether `setting` is there; a wrong one was refused already.
fn required(table: &str, setting: &str, place: &Place, document: &mut Document) -> bool {
    let path = format!("{table}.{setting}");
    let there = document.values.contains_key(&path);
    if !there && !document.problems.iter().any(|p| p.message.contains(&path)) {
        let example = match setting {
            "brokers" => "[\"kafka1:9092\"]",
            "topics" => "[\"cdr.voice\"]",
            "recipient" => "\"fraud-desk\"",
            _ => "\"cdrveil\"",
        };
        document.refuse(place.clone(), format!("`{path}` is missing"), format!("add {setting} = {example} (yours)"));
    }
    there
}

fn cluster(dir: &Path, table: &str, place: &Place, document: &mut Document) -> Cluster {
    let prefix = format!("{table}.options.");
    let found = document.values.iter().filter_map(|(path, found)| Some((path.strip_prefix(&prefix)?, found)));
    let set: Vec<_> = found.map(|(name, found)| (name.to_owned(), options::value(dir, name, &found.value))).collect();
    let token_file = document.value(&format!("{table}.token_file")).and_then(Value::as_str).map(|file| dir.join(file));
    let plain = |name: &str| document.value(&format!("{prefix}{name}")).and_then(Value::as_str).map(str::to_owned);
    let mechanism = plain("sasl.mechanism").or_else(|| plain("sasl.mechanisms"));
    let bearer = mechanism.as_deref() == Some("OAUTHBEARER");
    if bearer && token_file.is_none() {
        let fix = "add token_file = \"/path\" beside `brokers`, and have the token written there";
        document.refuse(place.clone(), format!("[{table}] has no `token_file` for OAUTHBEARER"), fix.into());
    }
    if token_file.is_some() && mechanism.is_some_and(|m| m != "OAUTHBEARER") {
        let at = document.place(&format!("{table}.token_file"));
        let fix = "remove one: a token is for the mechanism OAUTHBEARER";
        document.refuse(at, format!("`{table}.token_file` and another sasl.mechanism do not go together"), fix.into());
    }
    Cluster { brokers: Values(document).list(&format!("{table}.brokers")), options: set, token_file }
}

/// No two feeds may read one topic in one group: each record would go to either of them, by chance.
pub(super) fn shared(feeds: &BTreeMap<String, Feed>, document: &mut Document) {
    let mut seen: BTreeMap<(Vec<String>, &str, &str), &str> = BTreeMap::new();
    for feed in feeds.values() {
        let Some(kafka) = &feed.kafka else { continue };
        let mut brokers = kafka.cluster.brokers.clone();
        brokers.sort();
        for topic in &kafka.topics {
            if let Some(other) = seen.insert((brokers.clone(), &kafka.group, topic), &feed.name) {
                let table = format!("feeds.{}.kafka", feed.name);
                let place = document.tables.get(&table).cloned().unwrap_or(Place::File);
                document.refuse(
                    place,
                    format!("[{table}] reads topic `{topic}` in the group of feed `{other}`"),
                    "give each feed topics or a group of its own".into(),
                );
            }
        }
    }
}

/// No feed may read what the sink writes.
pub(super) fn circular(feeds: &BTreeMap<String, Feed>, sink: Option<&KafkaSink>, document: &mut Document) {
    let Some(sink) = sink else { return };
    for (setting, written) in [("topic", &sink.topic), ("dead_letter", &sink.dead_letter)] {
        let Some(written) = written else { continue };
        let reads = |feed: &&Feed| feed.kafka.as_ref().is_some_and(|kafka| kafka.topics.contains(written));
        if let Some(feed) = feeds.values().find(reads) {
            let at = document.place(&format!("sinks.kafka.{setting}"));
            let message = format!("`sinks.kafka.{setting}` is a topic that feed `{}` reads", feed.name);
            document.refuse(at, message, "write to a topic of its own".into());
        }
    }
}

/// Where tables and options stand, for what `check_clusters` finds.
pub(super) fn places(document: &Document) -> BTreeMap<String, Place> {
    let options = document.values.iter().filter(|(path, _)| path.contains(".kafka.options."));
    let options = options.map(|(path, found)| (path.clone(), found.place.clone()));
    document.tables.iter().map(|(path, place)| (path.clone(), place.clone())).chain(options).collect()
}

impl Site {
    /// Whether every cluster's options go together and its secrets, certificates and keys can be
    /// read, by making a client of each that connects to nothing. What `check` asks, on the machine
    /// and under the account of ingest.
    pub fn check_clusters(&self) -> Result<(), ConfigError> {
        let feeds =
            self.feeds.values().filter_map(|f| Some((format!("feeds.{}.kafka", f.name), &f.kafka.as_ref()?.cluster)));
        let sink = self.kafka_sink.iter().map(|sink| ("sinks.kafka".to_owned(), &sink.cluster));
        let problems: Vec<Problem> = feeds
            .chain(sink)
            .filter_map(|(table, cluster)| Some(self.problem_of(&table, cluster.check().err()?)))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { file: self.dir.join(FILE), problems }) }
    }

    fn problem_of(&self, table: &str, error: KafkaError) -> Problem {
        let (option, fix) = match &error {
            KafkaError::Secret { option, .. } => {
                (Some(option), "put it there, readable by the account of ingest (and no other)")
            }
            KafkaError::UnknownOption(option) | KafkaError::BadValue(option) => (Some(option), "correct it"),
            _ => (None, "correct the options, or the files they name"),
        };
        let of_option = option.and_then(|option| self.places.get(&format!("{table}.options.{option}")));
        let place = of_option.or_else(|| self.places.get(table)).cloned().unwrap_or(Place::File);
        Problem { place, message: format!("[{table}]: {error}"), fix: fix.into() }
    }
}
