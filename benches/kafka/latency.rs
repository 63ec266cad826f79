//! From produced to committed: timestamps of messages against the manifests that hold them.

use crate::cluster::Cluster;
use crate::site::Site;
use crate::traffic::{self, Shape};
use crate::{Options, configure, topics, wait_until};
use rdkafka::message::Message;
use serde_json::Value;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;

/// Milliseconds over all messages.
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    pub messages: usize,
    pub records_per_second: f64,
}

/// Produces at `rate` records per second beside a running pipeline that commits every second.
pub fn measure(
    options: &Options,
    cluster: &Cluster,
    shape: Shape,
    rate: f64,
) -> Result<Latency, Box<dyn std::error::Error>> {
    let topic = topics::create(cluster, "latency", options.partitions, &[]);
    let site = Site::of_country("BE");
    configure(&site, cluster, &topic, "1s")?;
    // It must have its partitions before the clock runs: the first records make the first manifest.
    let mut child = site
        .cdrveil()
        .args(["ingest", "--json", "--feed", "calls", "--until-idle", "5"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let warm = shape.records() * 200;
    traffic::send(cluster, &topic, options, shape, warm, None);
    if !wait_until(Duration::from_secs(60), || !manifests(&site, &topic).is_empty()) {
        child.kill()?;
        return Err(format!("nothing is committed: {:?}", child.wait_with_output()?).into());
    }
    let before: HashMap<i32, i64> =
        (0..options.partitions).map(|p| (p, topics::bounds(cluster, &topic, p).1)).collect();
    traffic::send(cluster, &topic, options, shape, (rate * options.seconds as f64) as u64, Some(rate));
    let ended = child.wait_with_output()?;
    if !ended.status.success() {
        return Err(String::from_utf8_lossy(&ended.stderr).into_owned().into());
    }
    let mut all = latencies(cluster, &topic, &before, &manifests(&site, &topic))?;
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize];
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    Ok(Latency { p50, p99, max, messages: all.len(), records_per_second: rate })
}

/// Where a manifest ends in its partition, and when it was put in its place, in ms.
struct Put {
    next_offset: i64,
    at_ms: f64,
}

/// By partition, in order.
fn manifests(site: &Site, topic: &str) -> HashMap<i32, Vec<Put>> {
    let mut found: HashMap<i32, Vec<Put>> = HashMap::new();
    let Ok(folders) = std::fs::read_dir(site.path("lake/_batches/calls")) else { return found };
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let Some(partition) = name.strip_prefix(&format!("{topic}-")).and_then(|p| p.parse().ok()) else { continue };
        let mut files: Vec<_> = std::fs::read_dir(folder.path()).into_iter().flatten().flatten().collect();
        files.sort_by_key(std::fs::DirEntry::file_name);
        for file in files.iter().filter(|f| f.path().extension().is_some_and(|e| e == "json")) {
            let (Ok(text), Ok(about)) = (std::fs::read(file.path()), file.metadata()) else { continue };
            let Ok(manifest) = serde_json::from_slice::<Value>(&text) else { continue };
            let Some(next_offset) = manifest["stream"]["next_offset"].as_i64() else { continue };
            // A link is the last change to a file's inode: then the batch was committed.
            let at_ms = about.ctime() as f64 * 1e3 + about.ctime_nsec() as f64 / 1e6;
            found.entry(partition).or_default().push(Put { next_offset, at_ms });
        }
    }
    found
}

/// Of every message from `before` on.
fn latencies(
    cluster: &Cluster,
    topic: &str,
    before: &HashMap<i32, i64>,
    puts: &HashMap<i32, Vec<Put>>,
) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let consumer = traffic::from_the_beginning(cluster, topic, true);
    let mut left: i64 = before.keys().map(|p| topics::bounds(cluster, topic, *p).1).sum();
    let mut all = Vec::new();
    while left > 0 {
        let message = consumer.poll(Duration::from_secs(30)).ok_or("the topic ends too early")??;
        left -= 1;
        let (partition, offset) = (message.partition(), message.offset());
        if offset < before[&partition] {
            continue;
        }
        let puts = puts.get(&partition).ok_or("a partition has no manifest")?;
        let put = &puts.get(puts.partition_point(|p| p.next_offset <= offset)).ok_or("a message is in no manifest")?;
        let produced = message.timestamp().to_millis().ok_or("a message has no timestamp")?;
        all.push(put.at_ms - produced as f64);
    }
    Ok(all)
}
