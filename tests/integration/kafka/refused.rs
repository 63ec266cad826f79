//! What cannot be: topics that are not there, credentials that are wrong, messages that are too much.

use super::cluster::{Cluster, shared};
use super::scene::{Scene, Settings};
use crate::site::Run;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, Instant};

/// Runs for at most so long, then asks it to stop: whatever is wrong must have been told by then.
fn told(scene: &Scene, seconds: u64) -> Run {
    let mut pipeline = scene.start(scene.ingest());
    let begun = Instant::now();
    while pipeline.runs() && begun.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(50));
    }
    if pipeline.runs() {
        pipeline.terminate();
    }
    let run = pipeline.end_within(Duration::from_secs(20));
    assert!(run.stderr.lines().count() < 40, "a log storm: {}", run.stderr);
    run
}

#[test]
fn an_unknown_topic_is_named() {
    let cluster = shared();
    let mut scene = Scene::new(&cluster, "known", &[1], Settings::default());
    let missing = format!("{}-typo", scene.topics[0]);
    scene.topics.push(missing.clone());
    scene.change(|_| {});
    let run = told(&scene, 10);
    assert!(run.code != 0 && run.stderr.contains(&missing), "{}\n{}", run.code, run.stderr);
}

/// TLS with a certificate of ours and SCRAM, by librdkafka's own option names.
fn secure(cluster: &Cluster, user: &str, password: &str, authority: &str) -> Vec<(&'static str, String)> {
    let file = |name: &str| cluster.certificate(name).display().to_string();
    vec![
        ("security.protocol", "SASL_SSL".into()),
        ("sasl.mechanism", "SCRAM-SHA-512".into()),
        ("sasl.username", user.into()),
        ("sasl.password", password.into()),
        ("ssl.ca.location", file(authority)),
        ("ssl.certificate.location", file("client.pem")),
        ("ssl.key.location", file("client.key")),
    ]
}

#[test]
fn credentials_and_rights_are_told_apart() {
    let cluster = shared();
    let mut scene = Scene::new(&cluster, "secure", &[2], Settings { sink: true, ..Settings::default() });
    scene.produce(1_000, &["--shape", "blocks"]);
    scene.reach(&cluster.secure());
    let password =
        |name: &str, text: &str| format!("{{ file = {:?} }}", scene.home.file(name, text).display().to_string());
    let (right, wrong) = (password("right.txt", "battery-staple"), password("wrong.txt", "hunter2-7731"));
    let stranger = password("stranger.txt", "correct-horse");

    scene.change(|s| s.options = secure(&cluster, "cdrveil-test", &wrong, "ca.pem"));
    let run = told(&scene, 10);
    assert!(run.stderr.to_lowercase().contains("authentication"), "{}", run.stderr);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);

    scene.change(|s| s.options = secure(&cluster, "cdrveil-test", &right, "other-ca.pem"));
    let run = told(&scene, 10);
    assert!(run.stderr.to_lowercase().contains("certificate"), "{}", run.stderr);

    scene.change(|s| s.options = secure(&cluster, "stranger", &stranger, "ca.pem"));
    let run = told(&scene, 10);
    assert!(run.code == 3 && run.stderr.contains("the account may not use"), "{}\n{}", run.code, run.stderr);

    scene.change(|s| s.options = secure(&cluster, "cdrveil-test", &right, "ca.pem"));
    scene.finish();
    scene.recount("TLS, client certificates and SCRAM");
}

/// One message of 10 MiB of records; one that is no record at all; one that unpacks to a gigabyte.
#[test]
fn messages_that_are_too_much() {
    let cluster = shared();
    let scene = Scene::new(&cluster, "large", &[1], Settings::default());
    scene.produce(70_000, &["--shape", "whole"]);
    scene.produce(100, &[]);
    let producer: BaseProducer = cluster.client().set("message.max.bytes", "16000000").create().unwrap();
    let send = |bytes: &[u8]| {
        producer.send(BaseRecord::<(), _>::to(&scene.topics[0]).payload(bytes)).map_err(|(e, _)| e).unwrap();
        producer.flush(Duration::from_secs(60)).unwrap();
    };
    send(&vec![b'x'; 10 << 20]);
    send(&bomb());
    // A record without end is sealed in pieces of 1 MiB; it is one record all the same.
    scene.refused(&[(101, 10), (102, 1)]);
    scene.produce(100, &["--shape", "blocks"]);
    let summary = scene.finish();
    let peak = summary["peak_rss_bytes"].as_u64().unwrap();
    assert!(peak < 1 << 30, "{peak} bytes of memory for messages of 10 MiB");
    scene.recount("messages of 10 MiB and a bomb");
}

/// A gigabyte of zeros, in a megabyte.
fn bomb() -> Vec<u8> {
    let zeros =
        std::process::Command::new("sh").args(["-c", "head -c 1073741824 /dev/zero | gzip -1"]).output().unwrap();
    assert!(zeros.status.success() && zeros.stdout.len() < 8 << 20);
    zeros.stdout
}
