//! What a message may hold: one record or many, packed or not, whole or broken.

use super::cluster::shared;
use super::scene::{FEED, Scene, Settings};
use super::topics;
use crate::sealed;
use cdrveil::record::time::Day;
use cdrveil::seal::SealKind;
use cdrveil::vault::opener::BlockOpener;
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
    let sink = &summary["sink"];
    assert_eq!((&sink["sent"], &sink["dead_letters"]), (&23_000.into(), &0.into()), "{summary}");
    assert!(sink["transactions"].as_u64() > Some(0) && sink["offsets"].as_array().unwrap().len() == 5, "{summary}");
    scene.recount("one run over two topics");
    // More, of which a second run reads nothing twice.
    scene.producer(first, 2_000, &["--shape", "blocks", "--codec", "lz4"]).end();
    scene.producer(second, 500, &["--shape", "one", "--codec", "snappy"]).end();
    let summary = scene.finish();
    assert_eq!(summary["veiled"], 2_500, "{summary}");
    let positions = scene.recount("a second run")["positions"].clone();
    the_group_stands_where_the_batch_log_does(&cluster, &scene, &positions);
    let third = scene.finish();
    assert_eq!(
        (&third["records_in"], &third["sink"]["records_in"]),
        (&0.into(), &0.into()),
        "a third run finds nothing"
    );
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
/// What is refused stands in the quarantine and among the dead letters, and opens as the same.
#[test]
fn poison_is_sealed_and_nothing_else_is_lost() {
    let cluster = shared();
    for (header, format) in [(false, "format = \"json\""), (true, "format = \"avro\"\nschema_id = 7")] {
        let dead_letter = Some(topics::create(&cluster, "letters", 2, &[]));
        let sink_lines = vec![format.to_owned()];
        let settings = Settings { header, sink: true, sink_lines, dead_letter, ..Settings::default() };
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
        let mut quarantined: Vec<_> = sealed.into_iter().map(|q| (q.offset, q.line, q.reason, q.bytes)).collect();
        quarantined.sort();
        assert!(opened(&scene, &recount["sink"]["letters"]) == quarantined, "dead letters are what is in quarantine");
    }
}

/// Offset, line, reason and bytes of dead letters, opened with the vault's keys; in order.
fn opened(scene: &Scene, letters: &Value) -> Vec<(i64, i64, String, Vec<u8>)> {
    let keys = sealed::keys(&scene.home);
    let open = |letter: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let day: Day = text(&letter["arrival_day"]).parse().unwrap();
        let unhex = |name: &str| -> Vec<u8> {
            let hex = text(&letter["sealed"][name]);
            (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
        };
        let (block, header) = (unhex("block").try_into().unwrap(), unhex("header"));
        let key = &keys.day(day).unwrap().quarantine;
        let opener = BlockOpener::new(SealKind::Quarantine, day.0, &day, key, block, &header).unwrap();
        let mut plain = Vec::new();
        opener.open(letter["sealed"]["row"].as_u64().unwrap() as u32, &unhex("bytes"), &mut plain).unwrap();
        let number = |name: &str| letter[name].as_i64().unwrap();
        (number("offset"), number("line"), text(&letter["reason"]), plain)
    };
    let mut opened: Vec<_> = letters.as_array().unwrap().iter().map(open).collect();
    opened.sort();
    opened
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
