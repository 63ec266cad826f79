//! The stream against what the brokers give at best, all on one machine:
//! `cargo bench --bench kafka -- [--json] [--records N] [--partitions N] [--codec NAME] [--shape one|blocks] [--seconds N] [--rate N]`.
//!
//! For one record a message, then for blocks of 100: a bare `rdkafka` consumer that only counts (as it
//! comes, and tuned), then
//! `cdrveil ingest` from its start to its last table commit, over the same topic of real brokers on the
//! same cores. Last, how long a record takes from being produced to being committed, at half that rate
//! with a commit each second: from the brokers' timestamps and the manifests' files.
//!
//! Needs what `tests/run` installs. Without cargo's `--bench` (as `cargo test` calls it) a small run.

#![allow(clippy::unwrap_used, reason = "what is shared with the tests ends where it cannot go on")]

#[path = "../../tests/integration/kafka/cluster.rs"]
#[allow(dead_code, reason = "shared with the integration tests, which use all of it")]
mod cluster;
#[path = "../../tests/integration/kafka/guard.rs"]
#[allow(dead_code, reason = "as above")]
mod guard;
mod latency;
#[path = "../../tests/integration/kafka/ports.rs"]
mod ports;
#[path = "../../tests/integration/site.rs"]
#[allow(dead_code, reason = "as above")]
mod site;
#[path = "../../tests/integration/kafka/topics.rs"]
#[allow(dead_code, reason = "as above")]
mod topics;
#[path = "../../tests/integration/kafka/toxiproxy.rs"]
#[allow(dead_code, reason = "as above")]
mod toxiproxy;
mod traffic;

use cluster::Cluster;
use serde_json::{Value, json};
use site::Site;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use traffic::Shape;

/// What a broker runs with in service, but for the heap.
const JVM: &str = "-Xmx768m";

pub struct Options {
    json: bool,
    records: u64,
    partitions: i32,
    codec: String,
    shapes: Vec<Shape>,
    /// How long latency is watched.
    seconds: u64,
    /// At how many records per second; half of what was reached, if nothing is said.
    rate: Option<f64>,
}

/// One shape's figures.
struct Figures {
    shape: Shape,
    messages: u64,
    bytes: u64,
    /// As librdkafka comes, and tuned.
    bare_s: [f64; 2],
    ingest_s: f64,
    ingest: Value,
    latency: latency::Latency,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = options()?;
    let cluster = Cluster::start(3, Some(JVM));
    let mut all = Vec::new();
    for shape in &options.shapes {
        all.push(figures(&options, &cluster, *shape)?);
    }
    let mut out = std::io::stdout().lock();
    if options.json {
        let shapes: Vec<Value> = all.iter().map(|f| as_json(&options, f)).collect();
        writeln!(out, "{:#}", json!({ "partitions": options.partitions, "codec": options.codec, "shapes": shapes }))?;
    } else {
        writeln!(out, "{}", as_table(&options, &all))?;
    }
    Ok(())
}

fn options() -> Result<Options, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let full = arguments.iter().any(|a| a == "--bench");
    let (records, seconds) = if full { (2_000_000, 20) } else { (20_000, 3) };
    let (codec, shapes) = ("none".to_owned(), vec![Shape::One, Shape::Blocks]);
    let mut options = Options { json: false, records, partitions: 6, codec, shapes, seconds, rate: None };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--bench" => {}
            "--json" => options.json = true,
            "--records" => options.records = value()?.parse()?,
            "--partitions" => options.partitions = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--rate" => options.rate = Some(value()?.parse()?),
            "--codec" => options.codec = value()?.clone(),
            "--shape" => options.shapes = vec![if value()? == "one" { Shape::One } else { Shape::Blocks }],
            _ => return Err(format!("unknown: {argument}").into()),
        }
    }
    Ok(options)
}

fn figures(options: &Options, cluster: &Cluster, shape: Shape) -> Result<Figures, Box<dyn std::error::Error>> {
    let topic = topics::create(cluster, "bench", options.partitions, &[("retention.bytes", "-1")]);
    let sent = traffic::produce(cluster, &topic, options, shape);
    let bare_s = [false, true].map(|tuned| traffic::count(cluster, &topic, sent.messages, tuned));
    let site = Site::of_country("BE");
    configure(&site, cluster, &topic, "15s")?;
    let (ingest_s, ingest) = ingest(&site)?;
    if ingest["veiled"] != options.records {
        return Err(format!("{} of {} records veiled", ingest["veiled"], options.records).into());
    }
    drop(site);
    let rate = options.rate.unwrap_or(options.records as f64 / ingest_s / 2.0);
    let latency = latency::measure(options, cluster, shape, rate)?;
    Ok(Figures { shape, messages: sent.messages, bytes: sent.bytes, bare_s, ingest_s, ingest, latency })
}

/// A feed named `calls` on the topic, all else as shipped.
fn configure(site: &Site, cluster: &Cluster, topic: &str, interval: &str) -> std::io::Result<()> {
    let path = site.path("cdrveil.toml");
    let brokers: Vec<String> = cluster.bootstrap().split(',').map(|b| format!("{b:?}")).collect();
    let columns: Vec<String> = traffic::COLUMNS.split(',').map(|c| format!("{c:?}")).collect();
    let text = std::fs::read_to_string(&path)?;
    // Read before the tables of feeds: the section stands in the file, its settings as comments.
    let text = text.replacen("[ingest]\n", &format!("[ingest]\ncommit_interval = \"{interval}\"\n"), 1);
    let (brokers, columns) = (brokers.join(", "), columns.join(", "));
    std::fs::write(
        path,
        format!(
            "{text}\n[feeds.calls]\nmapping = \"generic-voice\"\ncolumns = [{columns}]\n\n[feeds.calls.profile]\nversion = 1\n\
             home_country = \"BE\"\n\n[feeds.calls.kafka]\nbrokers = [{brokers}]\ntopics = [\"{topic}\"]\ngroup = \"bench-{topic}\"\n"
        ),
    )
}

/// Seconds from the start of the process to its last commit of a table; and its summary.
fn ingest(site: &Site) -> Result<(f64, Value), Box<dyn std::error::Error>> {
    let (begun, clock) = (Instant::now(), now());
    let run = site.ingest("calls", ["--until-idle", "2"]);
    if run.code != 0 {
        return Err(format!("ingest ended with {}: {}", run.code, run.stderr).into());
    }
    let committed = newest(&site.path("lake"), "_delta_log")?.max(newest(&site.path("vault"), "_delta_log")?);
    let seconds = committed.duration_since(clock)?.as_secs_f64();
    if seconds > begun.elapsed().as_secs_f64() {
        return Err("the clock was set meanwhile".into());
    }
    Ok((seconds, run.summary()))
}

/// When the newest file in a folder of that name, anywhere below `folder`, was written.
fn newest(folder: &Path, inside: &str) -> std::io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|e| Ok((e.path(), e.file_type()?)))?;
        if kind.is_dir() {
            newest = newest.max(self::newest(&path, inside)?);
        } else if folder.ends_with(inside) {
            newest = newest.max(std::fs::metadata(&path)?.modified()?);
        }
    }
    Ok(newest)
}

#[expect(clippy::disallowed_methods, reason = "compared with the times of files")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn as_json(options: &Options, f: &Figures) -> Value {
    let per_second = |seconds: f64| options.records as f64 / seconds;
    json!({
        "shape": f.shape.name(),
        "records": options.records,
        "messages": f.messages,
        "bytes": f.bytes,
        "bare_consumer_records_per_second": per_second(f.bare_s[0]),
        "tuned_bare_consumer_records_per_second": per_second(f.bare_s[1]),
        "ingest_seconds": f.ingest_s,
        "ingest_records_per_second": per_second(f.ingest_s),
        "ratio": f.bare_s[0] / f.ingest_s,
        "ratio_to_tuned": f.bare_s[1] / f.ingest_s,
        "peak_rss_bytes": f.ingest["peak_rss_bytes"],
        "latency_ms": { "p50": f.latency.p50, "p99": f.latency.p99, "max": f.latency.max,
                        "records_per_second": f.latency.records_per_second, "messages": f.latency.messages },
    })
}

fn as_table(options: &Options, all: &[Figures]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "messages of",
        "bare consumer / tuned, records/s",
        "ingest, records/s",
        "of the bare / tuned",
        "p50 / p99 / max ms at records/s",
    ]);
    for f in all {
        let per_second = |seconds: f64| format!("{:.0}", options.records as f64 / seconds);
        let l = &f.latency;
        table.add_row([
            f.shape.name().to_owned(),
            f.bare_s.map(per_second).join(" / "),
            per_second(f.ingest_s),
            f.bare_s.map(|bare_s| format!("{:.1} %", bare_s / f.ingest_s * 100.0)).join(" / "),
            format!("{:.0} / {:.0} / {:.0} at {:.0}", l.p50, l.p99, l.max, l.records_per_second),
        ]);
    }
    let bytes: u64 = all.iter().map(|f| f.bytes).sum();
    format!(
        "{table}\n{} records per shape in {} partitions, {:.0} MB in all, compressed by Kafka: {}; brokers, producer and \
         pipeline on the same {} cores",
        options.records,
        options.partitions,
        bytes as f64 / 1e6,
        options.codec,
        std::thread::available_parallelism().map_or(0, usize::from)
    )
}

/// Waits until `condition` holds, at most so long.
fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}
