//! SIGTERM in the middle of everything: what is held is committed; a second signal ends at once.

use super::cluster::shared;
use super::scene::{Scene, Settings};
use super::topics;
use std::time::{Duration, Instant};

#[test]
fn a_first_signal_commits_and_a_second_ends_at_once() {
    let cluster = shared();
    let scene = Scene::new(&cluster, "stops", &[3], Settings { sink: true, ..Settings::default() });
    let mut producer = scene.producer(&scene.topics[0], 24_000, &["--rate", "2000"]);
    while (0..3).all(|partition| topics::bounds(&cluster, &scene.topics[0], partition).1 == 0) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut rounds = 0;
    while producer.runs() {
        rounds += 1;
        // Nothing is due for a commit before the signal comes.
        let mut command = scene.ingest();
        command.env("CDRVEIL__INGEST__COMMIT_INTERVAL", "60s");
        let mut pipeline = scene.start(command);
        std::thread::sleep(Duration::from_millis(2_500));
        pipeline.terminate();
        let begun = Instant::now();
        if rounds % 2 == 0 {
            // Two signals at once would be one.
            std::thread::sleep(Duration::from_millis(50));
            if pipeline.runs() {
                pipeline.terminate();
            }
            let run = pipeline.end_within(Duration::from_secs(2));
            assert!(run.code == 1 || run.code == 0, "{}: {}", run.code, run.stderr);
        } else {
            let run = pipeline.end_within(Duration::from_secs(30));
            assert_eq!(run.code, 0, "{}", run.stderr);
            assert!(run.summary()["records_in"].as_u64() > Some(0), "what was held is committed: {}", run.stdout);
            assert!(begun.elapsed() < Duration::from_secs(30));
        }
    }
    producer.end();
    assert!(rounds >= 2);
    scene.finish();
    let positions = scene.recount("signals")["positions"].clone();
    for (name, next) in positions.as_object().unwrap() {
        let partition = name.rsplit_once('-').unwrap().1.parse().unwrap();
        assert_eq!(topics::committed(&cluster, &scene.group, &scene.topics[0], partition), next.as_i64(), "{name}");
    }
}
