//! What a message may hold: one record or many, packed or not, whole or broken.

use super::cluster::shared;
use super::scene::{FEED, Scene, Settings};
use super::topics;
use crate::sealed;
use serde_json::Value;

/// Two topics in one feed: a record a message, and blocks of 100, of which Kafka compresses some.
#[test]
fn every_record_of_two_topics_is_there_once() {
    let cluster = shared();
    let scene = Scene::new(&cluster, "two", &[3, 2], Settings { sink: true, ..Settings::default() });
    let [first, second] = [&scene.topics[0], &scene.topics[1]];
    scene.producer(first, 3_000, &["--shape", "one"]).end();
    scene.producer(second, 20_000, &["--shape", "blocks", "--codec", "zstd"]).end();
    let summary = scene.finish();
    assert_eq!((&summary["records_in"], &summary["veiled"]), (&23_000.into(), &23_000.into()), "{summary}");
    scene.recount("one run over two topics");
    // More, of which a second run reads nothing twice.
    scene.producer(first, 2_000, &["--shape", "blocks", "--codec", "lz4"]).end();
    scene.producer(second, 500, &["--shape", "one", "--codec", "snappy"]).end();
    let summary = scene.finish();
    assert_eq!(summary["veiled"], 2_500, "{summary}");
    let positions = scene.recount("a second run")["positions"].clone();
    the_group_stands_where_the_batch_log_does(&cluster, &scene, &positions);
    assert_eq!(scene.finish()["records_in"], 0, "a third run finds nothing");
}

/// Lag tools see the group's offsets: those of the batch log.
fn the_group_stands_where_the_batch_log_does(cluster: &super::cluster::Cluster, scene: &Scene, positions: &Value) {
    let positions = positions.as_object().unwrap();
    assert_eq!(positions.len(), 5, "{positions:?}");
    for (name, next) in positions {
        let (topic, partition) = name.rsplit_once('-').unwrap();
        let found = topics::committed(cluster, &scene.group, topic, partition.parse().unwrap());
        assert_eq!(found, next.as_i64(), "{name}");
    }
}

/// Records of every shape with broken ones among them, in transactions of which many were aborted.
#[test]
fn poison_is_sealed_and_nothing_else_is_lost() {
    let cluster = shared();
    for header in [false, true] {
        let settings = Settings { header, sink: true, ..Settings::default() };
        let scene = Scene::new(&cluster, "poison", &[3], settings);
        let topic = &scene.topics[0];
        scene.producer(topic, 6_000, &["--shape", "mixed", "--poison", "0.25"]).end();
        let told = scene.producer(topic, 4_000, &["--shape", "mixed", "--poison", "0.25", "--transactions"]).end();
        assert!(told["refused"].as_u64() > Some(10), "{told}");
        scene.finish();
        let recount = scene.recount("a topic with poison messages");
        let sealed = sealed::quarantine(&scene.home);
        assert_eq!(sealed.len() as u64, recount["refused"].as_u64().unwrap());
        assert!(sealed.iter().all(|q| q.feed == FEED), "and each opens with the vault's keys");
    }
}

/// An empty topic, then partitions that come while it is read.
#[test]
fn partitions_that_come_later_are_read_from_their_beginning() {
    let cluster = shared();
    let scene = Scene::new(&cluster, "grows", &[1], Settings::default());
    assert_eq!(scene.finish()["records_in"], 0, "an empty topic");
    let pipeline = scene.start(scene.ingest());
    scene.produce(2_000, &[]);
    topics::grow(&cluster, &scene.topics[0], 4);
    scene.produce(4_000, &["--shape", "blocks"]);
    std::thread::sleep(std::time::Duration::from_secs(4));
    pipeline.terminate();
    let run = pipeline.end();
    assert_eq!(run.code, 0, "{}", run.stderr);
    scene.finish();
    let recount = scene.recount("a topic that grew");
    assert!(recount["positions"].as_object().unwrap().len() > 1, "{recount}");
}
