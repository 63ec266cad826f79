//! `kill -9` of the pipeline at any moment, again and again, while records go on coming.

use super::cluster::shared;
use super::scene::{Scene, Settings};
use crate::twin::chance;
use cdrveil::failpoint::{SINK_STEPS, STEPS};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn every_record_is_there_once_after_kills() {
    torture(10);
}

#[test]
#[ignore = "slow: tests/run --slow"]
fn kills_slow() {
    torture(60);
}

/// Records per second, so that there is always something to interrupt.
const RATE: u64 = 2_500;

#[expect(clippy::print_stdout, reason = "where the kills fell")]
fn torture(wanted: u32) {
    let mut rng = chance("kills of a stream");
    let cluster = shared();
    // A killed member is missed quickly, or the next would wait for its partitions.
    let options = vec![("session.timeout.ms", "1500".to_owned()), ("heartbeat.interval.ms", "300".to_owned())];
    let scene = Scene::new(&cluster, "kills", &[4], Settings { sink: true, options, ..Settings::default() });
    let rate = RATE.to_string();
    let topic = &scene.topics[0];
    let mut producer = scene.producer(topic, RATE * 30, &["--shape", "mixed", "--rate", &rate]);
    let steps = [&STEPS[..], &SINK_STEPS[..], &SINK_STEPS[..]].concat();
    let mut hits: BTreeMap<&str, u32> = BTreeMap::new();
    let mut missed = 0;
    while hits.values().sum::<u32>() < wanted {
        if !producer.runs() {
            producer.end();
            producer = scene.producer(topic, RATE * 30, &["--shape", "mixed", "--rate", &rate]);
        }
        let step = *steps.choose(&mut rng).unwrap();
        if rng.random_bool(0.4) {
            let pipeline = scene.start(scene.ingest());
            std::thread::sleep(Duration::from_millis(rng.random_range(500..5_000)));
            pipeline.kill();
            *hits.entry("any time").or_default() += 1;
            continue;
        }
        let n = if step.starts_with("recover.") { 1 } else { rng.random_range(1..=6) };
        let mut command = scene.ingest();
        command.env("CDRVEIL_FAILPOINT", format!("{step}:{n}"));
        let mut pipeline = scene.start(command);
        if pipeline.killed_within(Duration::from_secs(8)) {
            *hits.entry(step).or_default() += 1;
        } else {
            // A step that a stream does not pass, or not so often: killed all the same.
            missed += 1;
            pipeline.kill();
            *hits.entry("any time").or_default() += 1;
        }
    }
    println!("kills: {hits:?}, {missed} of them not at the step meant");
    producer.end();
    scene.finish();
    scene.recount(&format!("kills at {hits:?}"));
}
