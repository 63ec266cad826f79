//! The power goes at any moment: what was synced is there, what was not may be; after a restart
//! every table holds every record once.

use crate::disk::{Trace, traced};
use crate::site::Site;
use crate::twin::{Load, Twin, assert_same, chance};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

const LOAD: Load = Load { large: (1, 6_000), small: (4, 500), block_bytes: 65_536 * 4 };
const BLOCK: u64 = LOAD.block_bytes;

#[test]
fn a_power_cut_at_any_moment() {
    let mut rng = chance("power");
    let home = Site::of_country("GB");
    let files = LOAD.generate(&home.files());
    let run = Twin::of(&home, "traced", BLOCK);
    let log = home.files().join("calls.strace");
    assert!(traced(&run.ingest(&files), &log, None).output().unwrap().status.success());
    let expected = run.recount(&[]);
    let trace = Trace::read(&log, &run.dir);
    the_simulation_notices_a_missing_sync(&home, &trace, &run, &mut rng);
    let manifests = trace.after_names(|name| name.contains("/_batches/") && name.ends_with(".json"));
    let commits = trace.after_names(|name| name.contains("/_delta_log/") && name.ends_with(".json"));
    assert!(manifests.len() >= 2 && commits.len() >= 10);
    let mut moments = vec![trace.len()];
    // Before a name is durable, right after it is, and between the tables' commits.
    moments.extend(manifests.iter().flat_map(|m| [*m, m + 2]));
    moments.extend(commits.choose_multiple(&mut rng, 5));
    moments.extend((0..8).map(|_| rng.random_range(1..trace.len())));
    for moment in moments {
        cut(&home, &home.dir(), &trace, moment, &mut rng, &files, &expected);
    }
}

/// What a killed process had not yet synced, the next one relies on.
#[test]
fn a_power_cut_after_a_kill() {
    let mut rng = chance("power after a kill");
    let home = Site::of_country("GB");
    let files = LOAD.generate(&home.files());
    let plain = Twin::of(&home, "plain", BLOCK);
    let log = home.files().join("plain.strace");
    assert!(traced(&plain.ingest(&files), &log, None).output().unwrap().status.success());
    let expected = plain.recount(&[]);
    let model = Trace::read(&log, &plain.dir);
    // Killed with a name there that nobody has synced: a manifest, a table's folder or partition.
    let manifest = *model.after_names(|n| n.contains("/_batches/") && n.ends_with(".json")).choose(&mut rng).unwrap();
    let folder = *model.after_names(|n| n.ends_with("/lake/_batches/generic-voice/files")).first().unwrap();
    let partition = *model.after_names(|n| n.contains("/event_day=")).choose(&mut rng).unwrap();
    for at in [manifest, folder, partition] {
        let run = Twin::of(&home, "killed", BLOCK);
        let log = home.files().join("killed.strace");
        let killed = traced(&run.ingest(&files), &log, Some(model.next_sync(at))).output().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{}", String::from_utf8_lossy(&killed.stderr));
        let before = Trace::read(&log, &run.dir).len();
        assert!(traced(&run.ingest(&files), &log, None).output().unwrap().status.success());
        let trace = Trace::read(&log, &run.dir);
        let commits = trace.after_names(|n| n.contains("/_delta_log/") && n.ends_with(".json"));
        let mut later: Vec<usize> = commits.into_iter().filter(|c| *c > before).map(|c| c + 3).collect();
        later.push(trace.len());
        for moment in [*later.first().unwrap(), *later.choose(&mut rng).unwrap(), trace.len()] {
            cut(&home, &home.dir(), &trace, moment, &mut rng, &files, &expected);
        }
        std::fs::remove_file(log).unwrap();
    }
}

/// The hundredth commit of a table writes a checkpoint, and readers then begin there.
#[test]
fn a_power_cut_around_a_checkpoint() {
    let mut rng = chance("power around a checkpoint");
    let home = Site::of_country("GB");
    // Each file outgrows two blocks and so has a commit of its own.
    let files = Load { large: (122, 1_200), small: (0, 0), block_bytes: 65_536 }.generate(&home.files());
    let run = Twin::of(&home, "traced", 65_536);
    run.load(&files[..97]);
    let base = run.dir.with_file_name("base");
    copy(&run.dir, &base);
    let log = home.files().join("checkpoint.strace");
    assert!(traced(&run.ingest(&files), &log, None).output().unwrap().status.success());
    let expected = run.recount(&[]);
    let trace = Trace::read(&log, &run.dir);
    let checkpoints = trace.after_names(|n| n.contains("checkpoint"));
    assert!(checkpoints.len() >= 5, "no table has written a checkpoint");
    let mut moments: Vec<usize> = checkpoints.choose_multiple(&mut rng, 4).flat_map(|c| [*c, c + 2]).collect();
    moments.extend((0..2).map(|_| rng.random_range(checkpoints[0]..trace.len())));
    for moment in moments {
        cut(&home, &base, &trace, moment, &mut rng, &files, &expected);
    }
}

/// Cuts the power, restarts, and recounts.
fn cut(home: &Site, base: &Path, trace: &Trace, moment: usize, rng: &mut StdRng, files: &[PathBuf], expected: &Value) {
    let luck = *[0.0, 0.0, 0.5].choose(rng).unwrap();
    let twin = Twin::from(home, base, "cut", BLOCK);
    trace.cut(moment, luck, rng, &twin.dir);
    twin.load(files);
    let when = format!("a power cut after {moment} of {} calls, luck {luck}", trace.len());
    assert_same(&twin.recount(&[]), expected, &when);
}

/// The control: had the data files not been synced, the disk would hold broken ones at the end.
fn the_simulation_notices_a_missing_sync(home: &Site, trace: &Trace, run: &Twin<'_>, rng: &mut StdRng) {
    for (trace, whole) in [(trace.without_syncs(".parquet"), false), (trace.without_syncs(".nothing"), true)] {
        let twin = Twin::of(home, "control", BLOCK);
        trace.cut(trace.len(), 0.0, rng, &twin.dir);
        let same =
            |p: &PathBuf| std::fs::read(p).ok() == std::fs::read(twin.dir.join(p.strip_prefix(&run.dir).unwrap())).ok();
        let written = parquet_files(&run.dir);
        assert!(written.len() >= 5);
        assert_eq!(written.iter().all(same), whole);
    }
}

fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}
