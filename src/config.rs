//! The site's configuration: `cdrveil.toml` and what overrides it, checked whole before anything
//! starts. Errors name the file and line, or the variable, and the fix.

pub mod document;
pub mod environment;
pub mod form;
mod kafka;
mod options;
pub mod problem;
pub mod settings;
pub mod template;
pub mod warning;

use crate::decode::mapping::Mapping;
use crate::decode::shipped::shipped;
use document::Document;
use environment::Environment;
pub use kafka::{KafkaFeed, KafkaSink, LostOffsets, SinkFormat, Start};
use problem::{ConfigError, Place, Problem};
use settings::{FEED, KAFKA_FEED, KAFKA_SINK, SECTIONS, Setting};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::{Table, Value};

/// Name of the file in a site's folder.
pub const FILE: &str = "cdrveil.toml";

/// Names of the mappings that come with the program; a new site has one feed of the same name each.
pub fn shipped_mappings() -> Vec<&'static str> {
    shipped().iter().map(|(name, _)| *name).collect()
}

/// A checked configuration. Every path is absolute or relative to the working folder, never to the
/// file any more.
#[derive(Debug)]
pub struct Site {
    pub dir: PathBuf,
    pub name: String,
    pub ingest: Ingest,
    pub lake: Lake,
    pub release: Release,
    pub cubes: Cubes,
    pub feeds: BTreeMap<String, Feed>,
    pub telemetry: Telemetry,
    pub kafka_sink: Option<KafkaSink>,
    /// Environment variables that were applied.
    pub overrides: Vec<String>,
    /// Where the tables and options of Kafka stand, by path.
    places: BTreeMap<String, Place>,
    /// Settings that are weaker than the product promises; every command that acts on them says so.
    pub warnings: Vec<warning::Warning>,
}

/// `[ingest]`
#[derive(Debug)]
pub struct Ingest {
    /// Threads; 0 takes one per core.
    pub workers: usize,
    pub block_bytes: usize,
    pub block_rows: usize,
    pub max_record_bytes: usize,
    /// Largest decompressed size per compressed byte.
    pub max_ratio: u64,
    pub orphan_after_hours: u64,
    /// How often Kafka feeds commit.
    pub commit_interval: Duration,
    /// How long a stop may take.
    pub stop_within: Duration,
}

/// `[telemetry]`
#[derive(Debug)]
pub struct Telemetry {
    /// Where metrics and health are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

/// `[lake]`
#[derive(Debug)]
pub struct Lake {
    pub compression_level: i32,
    /// Size of the files that compaction makes.
    pub compact_target_bytes: u64,
    pub compact_files: usize,
    pub upkeep_interval: Duration,
}

/// `[release]`
#[derive(Debug)]
pub struct Release {
    pub store: PathBuf,
    pub distinct_subscribers: u64,
    pub release_after_hours: u64,
    pub idle_after_hours: u64,
    pub rounding_base: u64,
}

/// `[cubes]`
#[derive(Debug)]
pub struct Cubes {
    pub traffic_hourly: bool,
}

/// `[feeds.NAME]`
#[derive(Debug)]
pub struct Feed {
    pub name: String,
    pub mapping: Mapping,
    /// Where the mapping comes from; `None` for a shipped one.
    pub mapping_file: Option<PathBuf>,
    pub kind: FeedKind,
    pub inbox: PathBuf,
    pub settle_s: u64,
    pub join_window_s: u64,
    pub idle_after_s: u64,
    /// Columns of delimited messages without a header.
    pub columns: Vec<String>,
    /// The records come from topics, not from files.
    pub kafka: Option<KafkaFeed>,
    /// What `[feeds.NAME.profile]` sets, overrides applied, defaults left out.
    pub profile: Table,
    /// Where each setting of the profile stands, and under the empty name the feed itself.
    pub places: BTreeMap<String, Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedKind {
    /// Each file is complete and loaded whole.
    Files,
    /// One file grows and is rotated.
    Append,
}

impl Site {
    /// Reads and checks `DIR/cdrveil.toml`; all problems at once.
    pub fn load(dir: &Path, environment: &Environment) -> Result<Site, ConfigError> {
        let file = dir.join(FILE);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) => return Err(unreadable(file, &e)),
        };
        let mut document = Document::read(&text, environment);
        let feeds = feeds(dir, &mut document);
        let kafka_sink = kafka::sink(dir, &mut document);
        kafka::shared(&feeds, &mut document);
        kafka::circular(&feeds, kafka_sink.as_ref(), &mut document);
        if !document.problems.is_empty() {
            document.problems.sort_by_key(|p| if let Place::Line(line) = p.place { line } else { usize::MAX });
            return Err(ConfigError { file, problems: document.problems });
        }
        let values = Values(&document);
        Ok(Site {
            dir: dir.to_owned(),
            name: values.text("site.name"),
            ingest: Ingest {
                workers: values.number("ingest.workers") as usize,
                block_bytes: values.number("ingest.block_bytes") as usize,
                block_rows: values.number("ingest.block_rows") as usize,
                max_record_bytes: values.number("ingest.max_record_bytes") as usize,
                max_ratio: values.number("ingest.max_ratio"),
                orphan_after_hours: values.number("ingest.orphan_after_hours"),
                commit_interval: values.duration("ingest.commit_interval"),
                stop_within: values.duration("ingest.stop_within"),
            },
            telemetry: Telemetry { listen: values.text("telemetry.listen").parse().ok() },
            lake: Lake {
                compression_level: values.number("lake.compression_level") as i32,
                compact_target_bytes: values.number("lake.compact_target_mib") << 20,
                compact_files: values.number("lake.compact_files") as usize,
                upkeep_interval: values.duration("lake.upkeep_interval"),
            },
            release: Release {
                store: dir.join(values.text("release.store")),
                distinct_subscribers: values.number("release.distinct_subscribers"),
                release_after_hours: values.number("release.release_after_hours"),
                idle_after_hours: values.number("release.idle_after_hours"),
                rounding_base: values.number("release.rounding_base"),
            },
            cubes: Cubes { traffic_hourly: values.flag("cubes.traffic_hourly") },
            feeds,
            kafka_sink,
            places: kafka::places(&document),
            overrides: environment.overrides().map(|(name, _)| name.to_owned()).collect(),
            warnings: warning::warnings(dir, &document, values.number("release.distinct_subscribers")),
        })
    }

    /// The feed of that name, or the names that there are.
    pub fn feed(&self, name: &str) -> Result<&Feed, String> {
        self.feeds.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.feeds.keys().map(String::as_str).collect();
            match problem::nearest(name, &names) {
                Some(near) => format!("there is no feed of that name; did you mean {near}?"),
                None => format!("there is no feed of that name; there are: {}", names.join(", ")),
            }
        })
    }
}

fn unreadable(file: PathBuf, error: &std::io::Error) -> ConfigError {
    let (message, fix) = match error.kind() {
        std::io::ErrorKind::NotFound => (
            "there is no such file".to_owned(),
            "name the site with --site DIR or CDRVEIL_SITE; `cdrveil init DIR` makes one",
        ),
        std::io::ErrorKind::InvalidData => ("it is not UTF-8 text".to_owned(), "save it as UTF-8"),
        _ => (error.to_string(), "check the rights of this account"),
    };
    ConfigError { file, problems: vec![Problem { place: Place::File, message, fix: fix.into() }] }
}

fn feeds(dir: &Path, document: &mut Document) -> BTreeMap<String, Feed> {
    let names: Vec<(String, Place)> = document.feeds.iter().map(|(n, p)| (n.clone(), p.clone())).collect();
    names.into_iter().filter_map(|(name, place)| Some((name.clone(), feed(dir, &name, place, document)?))).collect()
}

/// `None` when a problem was noted.
fn feed(dir: &Path, name: &str, place: Place, document: &mut Document) -> Option<Feed> {
    let path = |setting: &str| format!("feeds.{name}.{setting}");
    let mapping = mapping(dir, &path("mapping"), place.clone(), document);
    let inbox = match document.value(&path("inbox")) {
        Some(Value::String(inbox)) => dir.join(inbox),
        _ => dir.join("inbox").join(name),
    };
    let kafka = kafka::feed(dir, name, document);
    let reads_topics = document.tables.contains_key(&path("kafka"));
    if !reads_topics && document.values.contains_key(&path("columns")) {
        let at = document.place(&path("columns"));
        let fix = "remove it: a file begins with its header line; or read topics, with [feeds.NAME.kafka]";
        document.refuse(at, format!("`{}` is for Kafka feeds", path("columns")), fix.into());
    }
    if !reads_topics && !inbox.is_dir() {
        let at =
            if document.values.contains_key(&path("inbox")) { document.place(&path("inbox")) } else { place.clone() };
        document.refuse(
            at,
            format!("the inbox of feed `{name}` is not a folder: {}", inbox.display()),
            format!("mkdir -p {}", inbox.display()),
        );
    }
    let prefix = path("profile.");
    let profile: Table = document
        .values
        .iter()
        .filter_map(|(path, found)| Some((path.strip_prefix(&prefix)?.to_owned(), found.value.clone())))
        .collect();
    let mut places: BTreeMap<String, Place> =
        profile.keys().map(|key| (key.clone(), document.place(&format!("{prefix}{key}")))).collect();
    places.insert(String::new(), place);
    let refused = |setting: &str| document.problems.iter().any(|p| p.message.contains(setting));
    if !places.contains_key("home_country") && !refused(&format!("{prefix}home_country")) {
        let fix = format!("add home_country = \"BE\" (yours) below [feeds.{name}.profile]");
        document.refuse(places[""].clone(), format!("`{prefix}home_country` is missing"), fix);
    }
    let values = Values(document);
    let (mapping, mapping_file) = mapping?;
    Some(Feed {
        name: name.to_owned(),
        mapping,
        mapping_file,
        kind: if values.text(&path("kind")) == "append" { FeedKind::Append } else { FeedKind::Files },
        inbox,
        settle_s: values.number(&path("settle_s")),
        join_window_s: values.number(&path("join_window_s")),
        idle_after_s: values.number(&path("idle_after_s")),
        columns: values.list(&path("columns")),
        kafka,
        profile,
        places,
    })
}

/// The parsed mapping and the file it stands in; `None` when a problem was noted.
fn mapping(dir: &Path, path: &str, feed: Place, document: &mut Document) -> Option<(Mapping, Option<PathBuf>)> {
    let place = document.place(path);
    let Some(Value::String(choice)) = document.value(path).cloned() else {
        // A mapping of the wrong type was refused already.
        if !document.problems.iter().any(|p| p.message.contains(path)) {
            let names = shipped_mappings().join(", ");
            let fix = format!("add mapping = \"NAME\", one of {names}, or the path of a .toml file");
            document.refuse(feed, format!("`{path}` is missing"), fix);
        }
        return None;
    };
    let (name, text, file) = match shipped().iter().find(|(name, _)| *name == choice) {
        Some((name, text)) => ((*name).to_owned(), (*text).to_owned(), None),
        None => {
            let (text, file) = mapping_file(dir, &choice, path, place, document)?;
            let name = file.file_stem().map_or(choice, |stem| stem.to_string_lossy().into_owned());
            (name, text, Some(file))
        }
    };
    match Mapping::parse(&name, &text) {
        Ok(mapping) => Some((mapping, file)),
        Err(e) => {
            let place = Place::Mapping { file: file.unwrap_or_else(|| PathBuf::from(&name)), line: e.line };
            document.refuse(place, e.message, format!("mend the mapping that `{path}` names"));
            None
        }
    }
}

fn mapping_file(
    dir: &Path,
    choice: &str,
    path: &str,
    place: Place,
    document: &mut Document,
) -> Option<(String, PathBuf)> {
    if !choice.ends_with(".toml") {
        let names = shipped_mappings();
        let fix = match problem::nearest(choice, &names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("use one of {}, or the path of a .toml file", names.join(", ")),
        };
        document.refuse(place, format!("`{path}` names no shipped mapping"), fix);
        return None;
    }
    let file = dir.join(choice);
    match std::fs::read_to_string(&file) {
        Ok(text) => Some((text, file)),
        Err(e) => {
            let reason = match e.kind() {
                std::io::ErrorKind::NotFound => "a file that is not there".to_owned(),
                _ => format!("a file that cannot be read ({})", e.kind()),
            };
            let fix = "correct the path (it is relative to this file), or the rights of the file";
            document.refuse(place, format!("`{path}` names {reason}: {}", file.display()), fix.into());
            None
        }
    }
}

/// Checked values with their defaults.
struct Values<'a>(&'a Document);

impl Values<'_> {
    fn number(&self, path: &str) -> u64 {
        self.value(path).as_integer().and_then(|n| u64::try_from(n).ok()).unwrap_or_default()
    }

    fn text(&self, path: &str) -> String {
        self.value(path).as_str().unwrap_or_default().to_owned()
    }

    fn duration(&self, path: &str) -> Duration {
        form::duration(&self.text(path)).unwrap_or_default()
    }

    fn list(&self, path: &str) -> Vec<String> {
        let items = self.0.value(path).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn flag(&self, path: &str) -> bool {
        self.value(path).as_bool().unwrap_or_default()
    }

    fn value(&self, path: &str) -> Value {
        self.0.value(path).cloned().unwrap_or_else(|| default_of(path))
    }
}

/// A default is written in TOML; a test makes sure that each one parses and fits its form.
fn default_of(path: &str) -> Value {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let settings: &[Setting] = match SECTIONS.iter().find(|s| s.name == section) {
        Some(section) => section.settings,
        None if section == "sinks.kafka" => KAFKA_SINK,
        None if section.matches('.').count() == 2 && section.ends_with(".kafka") => KAFKA_FEED,
        None => FEED,
    };
    let setting = settings.iter().find(|s| s.name == name);
    setting.and_then(|s| parse_value(s.default)).unwrap_or(Value::Boolean(false))
}

/// One TOML value.
fn parse_value(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("v = {text}")).ok()?.remove("v")
}

#[cfg(test)]
mod tests;
