//! Several pipelines share a feed: they join, leave, are killed, and sleep through their session.

use super::cluster::shared;
use super::scene::{Pipeline, Scene, Settings};
use crate::twin::chance;
use rand::Rng;
use std::time::Duration;

#[test]
fn pipelines_join_and_leave_every_few_seconds() {
    come_and_go(9);
}

#[test]
#[ignore = "slow: tests/run --slow"]
fn pipelines_join_and_leave_for_minutes() {
    come_and_go(80);
}

/// One, then two, then three pipelines at most; who leaves does so by SIGTERM or `kill -9`.
fn come_and_go(changes: u32) {
    let mut rng = chance("joins and leaves");
    let cluster = shared();
    let scene = Scene::new(&cluster, "members", &[5], Settings { sink: true, ..Settings::default() });
    let mut producer = scene.producer(&scene.topics[0], 2_000 * u64::from(changes) * 3, &["--rate", "2000"]);
    let mut members: Vec<Pipeline> = vec![scene.start(scene.ingest())];
    let (mut killed, mut left) = (0, 0);
    for change in 0..changes {
        std::thread::sleep(Duration::from_millis(rng.random_range(1_500..4_000)));
        for member in &mut members {
            assert!(member.runs(), "it ended by itself: {}", member.said());
        }
        if members.len() < 2 || (members.len() < 3 && change % 3 != 2) {
            members.push(scene.start(scene.ingest()));
            continue;
        }
        let member = members.swap_remove(rng.random_range(0..members.len()));
        if rng.random_bool(0.4) {
            member.kill();
            killed += 1;
        } else {
            member.terminate();
            let run = member.end();
            assert_eq!(run.code, 0, "{}", run.stderr);
            left += 1;
        }
    }
    while producer.runs() {
        std::thread::sleep(Duration::from_millis(100));
    }
    producer.end();
    for member in members {
        member.terminate();
        assert_eq!(member.end().code, 0);
    }
    scene.finish();
    scene.recount(&format!("{killed} members killed, {left} left"));
}

/// A process that was stopped for longer than its session comes back to partitions that are another's.
#[test]
fn a_zombie_changes_nothing() {
    sleepers(3);
}

#[test]
#[ignore = "slow: tests/run --slow"]
fn zombies_for_minutes() {
    sleepers(30);
}

fn sleepers(naps: u32) {
    let mut rng = chance("zombies");
    let cluster = shared();
    let scene = Scene::new(&cluster, "zombies", &[3], Settings { sink: true, ..Settings::default() });
    let mut producer = scene.producer(&scene.topics[0], 2_000 * u64::from(naps) * 8, &["--rate", "2000"]);
    let mut pair = [scene.start(scene.ingest()), scene.start(scene.ingest())];
    std::thread::sleep(Duration::from_secs(3));
    for nap in 0..naps {
        let sleeper = &pair[nap as usize % 2];
        sleeper.pause();
        std::thread::sleep(Duration::from_millis(rng.random_range(3_000..5_500)));
        sleeper.go_on();
        std::thread::sleep(Duration::from_millis(rng.random_range(500..3_000)));
        for member in &mut pair {
            assert!(member.runs(), "it ended by itself: {}", member.said());
        }
    }
    while producer.runs() {
        std::thread::sleep(Duration::from_millis(100));
    }
    producer.end();
    for member in pair {
        member.terminate();
        assert_eq!(member.end().code, 0);
    }
    scene.finish();
    scene.recount("zombies");
}

/// The broker gives a transaction up while its pipeline sleeps: what was in it is written anew.
#[test]
fn a_transaction_that_times_out_costs_nothing() {
    let cluster = shared();
    let sink_options = vec![("transaction.timeout.ms", "1500".to_owned())];
    let scene = Scene::new(&cluster, "timeout", &[2], Settings { sink: true, sink_options, ..Settings::default() });
    let producer = scene.producer(&scene.topics[0], 20_000, &["--rate", "2500"]);
    // With a long commit interval there is always a transaction open.
    let mut command = scene.ingest();
    command.env("CDRVEIL__INGEST__COMMIT_INTERVAL", "1s");
    let pipeline = scene.start(command);
    std::thread::sleep(Duration::from_secs(3));
    for _ in 0..2 {
        pipeline.pause();
        std::thread::sleep(Duration::from_secs(4));
        pipeline.go_on();
        std::thread::sleep(Duration::from_secs(2));
    }
    producer.end();
    pipeline.terminate();
    assert_eq!(pipeline.end().code, 0);
    scene.finish();
    scene.recount("transactions that timed out");
}
