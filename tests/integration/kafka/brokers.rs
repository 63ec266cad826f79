//! Brokers that die, hang, or are hard to reach.

use super::cluster::{alone, shared};
use super::scene::{Scene, Settings};
use super::topics;
use crate::twin::chance;
use rand::Rng;
use serde_json::json;
use std::time::{Duration, Instant};

fn both() -> Settings {
    Settings { sink: true, ..Settings::default() }
}

#[test]
fn brokers_and_leaders_may_be_killed() {
    kill_brokers(2);
}

#[test]
#[ignore = "slow: tests/run --slow"]
fn brokers_are_killed_for_minutes() {
    kill_brokers(20);
}

/// In turn the leader of a partition of ours, and any broker.
fn kill_brokers(rounds: usize) {
    let mut rng = chance("kills of brokers");
    let mut cluster = alone();
    let scene = Scene::new(&cluster, "brokers", &[3], both());
    let topic = scene.topics[0].clone();
    let producer = scene.producer(&topic, 15_000 * rounds as u64, &["--rate", "1500"]);
    let mut pipeline = scene.start(scene.ingest());
    std::thread::sleep(Duration::from_secs(2));
    for round in 0..rounds {
        let broker = if round % 2 == 0 { topics::leader(&cluster, &topic, 0) } else { rng.random_range(0..3) };
        cluster.kill(broker);
        std::thread::sleep(Duration::from_millis(rng.random_range(500..6_000)));
        cluster.mend().unwrap();
        assert!(pipeline.runs(), "it ended by itself: {}", pipeline.said());
    }
    producer.end();
    pipeline.terminate();
    let run = pipeline.end();
    assert_eq!(run.code, 0, "{}", run.stderr);
    quiet(&run.stderr);
    scene.finish();
    scene.recount("killed brokers");
}

/// Stopped, a broker keeps its connections and answers nothing, for longer than any session lasts.
#[test]
fn a_broker_that_hangs_costs_nothing() {
    hang(1);
}

#[test]
#[ignore = "slow: tests/run --slow"]
fn brokers_hang_for_minutes() {
    hang(12);
}

fn hang(rounds: usize) {
    let mut cluster = alone();
    let scene = Scene::new(&cluster, "hangs", &[3], both());
    let producer = scene.producer(&scene.topics[0], 15_000 * rounds as u64, &["--rate", "1500"]);
    let mut pipeline = scene.start(scene.ingest());
    std::thread::sleep(Duration::from_secs(2));
    for round in 0..rounds {
        // The group's coordinator is one of them, whichever.
        let broker = (topics::leader(&cluster, &scene.topics[0], 0) + round) % 3;
        cluster.pause(broker);
        std::thread::sleep(Duration::from_secs(9));
        cluster.mend().unwrap();
        assert!(pipeline.runs(), "it ended by itself: {}", pipeline.said());
    }
    producer.end();
    pipeline.terminate();
    assert_eq!(pipeline.end().code, 0);
    scene.finish();
    scene.recount("a broker that hung");
}

#[test]
fn a_bad_network_costs_nothing() {
    bad_network(6);
}

#[test]
#[ignore = "slow: tests/run --slow"]
fn the_network_is_bad_for_minutes() {
    bad_network(60);
}

/// Delays, resets and cuts in turn, between the pipeline and all brokers.
fn bad_network(rounds: usize) {
    let mut rng = chance("bad network");
    // Nobody else comes through the proxies.
    let cluster = shared();
    let scene = Scene::new(&cluster, "network", &[3], both());
    scene.reach(&cluster.proxied());
    let producer = scene.producer(&scene.topics[0], 5_000 * rounds as u64, &["--rate", "2000"]);
    let mut pipeline = scene.start(scene.ingest());
    std::thread::sleep(Duration::from_secs(2));
    for round in 0..rounds {
        match round % 3 {
            0 => cluster.network.poison("latency", &json!({ "latency": 300, "jitter": 250 })),
            1 => cluster.network.poison("reset_peer", &json!({ "timeout": rng.random_range(50..700) })),
            _ => (0..3).for_each(|broker| cluster.network.cut(broker)),
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(500..4_500)));
        cluster.network.heal();
        std::thread::sleep(Duration::from_millis(rng.random_range(200..1_500)));
        assert!(pipeline.runs(), "it ended by itself: {}", pipeline.said());
    }
    producer.end();
    pipeline.terminate();
    let run = pipeline.end();
    assert_eq!(run.code, 0, "{}", run.stderr);
    quiet(&run.stderr);
    scene.finish();
    scene.recount("a bad network");
}

/// A broken link is told of, and not in thousands of lines.
fn quiet(said: &str) {
    assert!(said.lines().count() < 200, "a log storm of {} lines: {said:.2000}", said.lines().count());
}

/// Nobody there: it goes on trying, says so, says little, and can be stopped.
#[test]
fn no_broker_is_told_and_waited_for() {
    let cluster = shared();
    let scene = Scene::new(&cluster, "nobody", &[1], Settings::default());
    scene.produce(500, &[]);
    let nobody = format!("127.0.0.1:{}", super::ports::free());
    scene.reach(&nobody);
    let mut pipeline = scene.start(scene.ingest());
    let begun = Instant::now();
    while pipeline.runs() && begun.elapsed() < Duration::from_secs(8) {
        std::thread::sleep(Duration::from_millis(100));
    }
    if pipeline.runs() {
        pipeline.terminate();
    }
    let run = pipeline.end_within(Duration::from_secs(20));
    assert!(run.stderr.contains(&nobody) || run.stderr.contains("broker"), "{}", run.stderr);
    assert!(run.stderr.lines().count() < 30, "{}", run.stderr);
    scene.reach(&cluster.bootstrap());
    scene.finish();
    scene.recount("a broker that was not there at first");
}
