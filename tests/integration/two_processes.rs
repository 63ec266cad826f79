//! Two processes load one feed at once, one of them a zombie now and then.

use crate::site::{Run, Site};
use crate::twin::{Load, Twin, assert_complete, assert_same, chance};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

const ROUNDS: usize = 10;
const LOAD: Load = Load { large: (3, 9_000), small: (9, 1_500), block_bytes: 1 << 18 };

#[test]
fn two_processes_on_one_feed_load_every_record_once() {
    let mut rng = chance("two processes");
    let home = Site::of_country("GB");
    let files = LOAD.generate(&home.files());
    let reference = Twin::of(&home, "reference", LOAD.block_bytes);
    reference.load(&files);
    let expected = reference.recount(&files);
    assert_complete(&expected);
    let mut contended = 0;
    for round in 0..ROUNDS {
        let twin = Twin::of(&home, "contended", LOAD.block_bytes);
        // Every file is given to one of the two at least, most to both.
        let (mut first, mut second) = (files.clone(), files[2..].to_vec());
        first.truncate(files.len() - 2);
        first.shuffle(&mut rng);
        second.shuffle(&mut rng);
        let runs = at_once(&twin, [&first, &second], &mut rng);
        let mut loads: BTreeMap<String, u32> = BTreeMap::new();
        for (run, given) in runs.iter().zip([&first, &second]) {
            assert_eq!(run.code, 0, "round {round}: {}\n{}", run.stdout, run.stderr);
            let summary = run.summary();
            let reports = summary["files"].as_array().unwrap();
            assert_eq!(reports.len(), given.len(), "every file has one report: {summary}");
            for file in reports {
                let loaded = u32::from(file["fate"] == "loaded");
                assert!(loaded == 1 || file["fate"] == "already_loaded", "round {round}: {summary}");
                contended += 1 - loaded;
                *loads.entry(file["path"].as_str().unwrap().to_owned()).or_default() += loaded;
            }
        }
        assert!(loads.len() == files.len() && loads.values().all(|n| *n == 1), "round {round}: {loads:?}");
        let sum = |what: &str| runs.iter().map(|r| r.summary()[what].as_u64().unwrap()).sum::<u64>();
        assert_eq!(Value::from(sum("veiled")), expected["veiled"], "the two summaries tell each record once");
        assert_same(&twin.recount(&[]), &expected, &format!("round {round}"));
    }
    assert!(contended > 0);
}

/// Runs both, each stopped and continued at random, until both are over.
fn at_once(twin: &Twin<'_>, files: [&Vec<PathBuf>; 2], rng: &mut StdRng) -> [Run; 2] {
    let mut children: Vec<Child> =
        files.iter().map(|f| twin.ingest(f).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    while children.iter_mut().any(|c| c.try_wait().unwrap().is_none()) {
        let child = &mut children[rng.random_range(0..2)];
        let pause = Duration::from_millis(rng.random_range(0..250));
        if child.try_wait().unwrap().is_none() {
            // Not waited for since, so the number is still the child's.
            let pid = Pid::from_child(child);
            kill_process(pid, Signal::STOP).unwrap();
            std::thread::sleep(pause);
            kill_process(pid, Signal::CONT).unwrap();
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..120)));
    }
    let mut runs = children.into_iter().map(|c| Run::ended(c.wait_with_output().unwrap()));
    [runs.next().unwrap(), runs.next().unwrap()]
}
