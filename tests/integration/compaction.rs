//! Ingest goes on while both zones compact, and are killed at it: nothing is lost, nothing is twice,
//! and nobody who reads the tables or asks the release could tell.

use crate::sealed;
use crate::site::{Run, Site, installed, python, script};
use crate::twin::{FEED, Load, Twin, assert_complete, assert_same, chance};
use cdrveil::failpoint::COMPACTION_STEPS;
use rand::Rng;
use serde_json::Value;
use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const LOAD: Load = Load { large: (1, 20_000), small: (40, 700), block_bytes: 1 << 18 };
/// Nothing is released before the end, so that all that is released is vintage 1 everywhere.
const LATER: (&str, &str) = ("CDRVEIL__RELEASE__RELEASE_AFTER_HOURS", "8760");

fn steward(twin: &Twin<'_>) -> Command {
    let mut command = twin.program();
    command.args(["steward", "--once", "--json"]).env("CDRVEIL__LAKE__COMPACT_FILES", "3");
    command
}

/// `cdrveil-vault compact --once` on `site`, without a passphrase: none is needed.
fn vault(site: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdrveil-vault"));
    command.args(VAULT).env("CDRVEIL_SITE", site).env("CDRVEIL__LAKE__COMPACT_FILES", "3").stdin(Stdio::null());
    command
}

/// The same when the month is over, with files so small that runs of identities are merged.
fn vault_next_month(site: &Path) -> Command {
    let mut command = Command::new("faketime");
    command.args(["-f", "+40d", env!("CARGO_BIN_EXE_cdrveil-vault")]).args(VAULT);
    command.env("CDRVEIL_SITE", site).env("CDRVEIL__LAKE__COMPACT_TARGET_MIB", "1").stdin(Stdio::null());
    // What ingest has just staged is not forty days old.
    command.env("CDRVEIL__INGEST__ORPHAN_AFTER_HOURS", "8760");
    command
}

const VAULT: [&str; 3] = ["compact", "--once", "--json"];

#[test]
fn ingest_goes_on_while_both_zones_compact_and_are_killed() {
    let mut rng = chance("compaction");
    let home = Site::of_country("GB");
    let files = LOAD.generate(&home.files());
    let reference = Twin::of(&home, "reference", LOAD.block_bytes);
    reference.load(&files);
    let expected = reference.recount(&files);
    assert_complete(&expected);
    // The same batches, so that sketches were merged from the same parts, and no compaction.
    let plain = Twin::of(&home, "plain", LOAD.block_bytes);
    let twin = Twin::of(&home, "compacted", LOAD.block_bytes);
    let runs: Vec<&[PathBuf]> = files.chunks(2).collect();
    runs.iter().for_each(|some| drop(plain.load(some)));
    twin.load(runs[0]);
    let over = AtomicBool::new(false);
    let mut killed = HashSet::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Runs of one file or two, as a folder brings them.
            runs[1..].iter().for_each(|some| drop(twin.load(some)));
            over.store(true, Ordering::SeqCst);
        });
        let mut round = 0;
        while !over.load(Ordering::SeqCst) {
            round += 1;
            let step = COMPACTION_STEPS[round % COMPACTION_STEPS.len()];
            let in_vault = if rng.random() { vault(&twin.dir) } else { vault_next_month(&twin.dir) };
            let both = [steward(&twin), in_vault].map(|mut command| {
                if rng.random_range(0..4) > 0 {
                    command.env("CDRVEIL_FAILPOINT", format!("{step}:{}", rng.random_range(1..3)));
                }
                command.env(LATER.0, LATER.1).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            });
            for output in both.map(Child::wait_with_output) {
                let output = output.unwrap();
                let signal = output.status.signal();
                let run = Run::ended(output);
                // `faketime` says of its child what it cannot tell by its own status.
                if signal == Some(9) || run.stderr.contains("Caught Killed") {
                    killed.insert(step);
                } else {
                    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
                }
            }
        }
    });
    assert!(killed.len() >= COMPACTION_STEPS.len() - 1, "only killed at {killed:?}");
    assert_same(&twin.recount(&files), &expected, "compactions that were killed");

    // The last pass finds every day complete, and few files are left.
    let done = Run::of(steward(&twin).env(LATER.0, LATER.1));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let done = Run::of(&mut vault_next_month(&twin.dir));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let counted = twin.recount(&files);
    assert_same(&counted, &expected, "the last compaction");
    for (table, most) in [("cdr", 6), ("tally", 6), ("evidence", 16), ("identities", 8), ("quarantine", 2)] {
        let left = counted["live_files"][table].as_u64().unwrap();
        assert!((1..=most).contains(&left), "{table}: {left} files");
    }

    // A batch that was finished is not brought back by a run that finds its manifest newest.
    let again = twin.load(&files[files.len() - 1..]);
    assert_eq!(again["records_in"], 0, "{again}");
    assert_same(&twin.recount(&files), &expected, "a run after compaction");
    shows_nothing_of_compaction(&released(&twin), &released(&plain));
    spark_reads(&twin);
}

/// Cell for cell the same. Beyond the exact range of a sketch, distinct counts are estimates and depend a
/// little on the order in which parts are merged, which is that of files; so may, now and then, whether one
/// party might dominate a sum.
fn shows_nothing_of_compaction(compacted: &[Value], plain: &[Value]) {
    assert_eq!(compacted.len(), plain.len());
    let mut withheld_in_one = 0;
    for (a, b) in compacted.iter().zip(plain) {
        for (name, value) in a.as_object().unwrap() {
            let (ours, theirs) = (value, &b[name]);
            let estimate = name.ends_with("_parties") && value.as_f64() > Some(150.0);
            let sum = ["seconds", "bytes", "charge", "withheld"].contains(&name.as_str());
            if estimate {
                let (ours, theirs) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
                assert!((ours - theirs).abs() <= 5.0 + theirs * 0.08, "{name}: {a} {b}");
            } else if sum && ours != theirs {
                assert!(name == "withheld" || ours.is_null() || theirs.is_null(), "{name}: {a} {b}");
                withheld_in_one += 1;
            } else {
                assert_eq!(ours, theirs, "{name}: {a} {b}");
            }
        }
    }
    assert!(withheld_in_one <= plain.len() / 50, "{withheld_in_one} of {}", plain.len());
}

/// One pass of the release, and all that was ever shown.
fn released(twin: &Twin<'_>) -> Vec<Value> {
    let pass = Run::of(&mut steward(twin));
    assert_eq!(pass.code, 0, "{}", pass.stderr);
    let sql = "SELECT * FROM traffic_hourly_vintages ORDER BY 1, 2, 3, 4, 5, 6, 7, 8";
    let shown = Run::of(twin.program().args(["query", "--json", "--sql", sql]));
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let cells: Vec<Value> = serde_json::from_str(&shown.stdout).unwrap();
    assert!(cells.len() > 20, "{cells:?}");
    cells
}

fn spark_reads(twin: &Twin<'_>) {
    let jars = installed("CDRVEIL_TEST_SPARK_JARS", "spark/jars");
    let run = Run::of(script("spark_counts.py").args([twin.dir.as_os_str(), jars.as_os_str()]));
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    let counts = run.json();
    assert_eq!(counts["spark"], counts["deltalake"]);
}

/// Everything opens after it was moved, and says what it said; each number has one identity.
#[test]
fn what_is_sealed_opens_after_compaction() {
    let site = Site::of_country("GB");
    let load = Load { large: (0, 0), small: (12, 1_500), block_bytes: 1 << 18 };
    let files: Vec<PathBuf> = load.generate(&site.files());
    for file in &files {
        site.load(FEED, [file]);
    }
    let evidence = || {
        let mut all: Vec<_> =
            sealed::evidence(&site).iter().map(|e| (e.day, e.blind, format!("{:?}", e.record.parties))).collect();
        all.sort();
        all
    };
    let identities = || -> (usize, HashSet<_>) {
        let all = sealed::identities(&site);
        (all.len(), all.into_iter().map(|i| (i.epoch, i.pseudonym, i.canonical)).collect())
    };
    let quarantine = || {
        let mut all: Vec<_> = sealed::quarantine(&site).into_iter().map(|q| (q.line, q.offset, q.bytes)).collect();
        all.sort();
        all
    };
    let before = (evidence(), identities(), quarantine());
    assert!(before.0.len() > 10_000 && before.1.0 > before.1.1.len(), "{} {}", before.0.len(), before.1.0);
    let run = Run::of(&mut vault_next_month(&site.dir()));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let done = run.json();
    for table in ["evidence", "identities", "quarantine"] {
        let compacted = &done["compacted"][table];
        assert!(compacted["files_before"].as_u64() > compacted["files_after"].as_u64(), "{done}");
    }
    let after = (evidence(), identities(), quarantine());
    assert!(after.0 == before.0 && after.2 == before.2, "evidence or quarantine changed");
    assert_eq!(after.1.0, before.1.1.len(), "one row of each identity");
    assert!(after.1.1 == before.1.1, "identities are lost or others");
    // A second pass finds nothing to do.
    let again = Run::of(&mut vault_next_month(&site.dir())).json();
    for table in ["evidence", "identities", "quarantine"] {
        assert_eq!(again["compacted"][table]["commits"], 0, "{again}");
    }

    // An outside reader counts them, too.
    let recount = python("recount_tables.py", [site.dir().as_os_str(), FEED.as_ref()]);
    assert_eq!(recount["veiled"].as_u64().unwrap() as usize, after.0.len());
}

/// Files that a compaction replaced stay for readers, and go with the sweep; leftovers of a killed one, too.
#[test]
fn what_was_replaced_goes_when_nobody_can_want_it() {
    let site = Site::of_country("GB");
    let load = Load { large: (0, 0), small: (5, 300), block_bytes: 1 << 18 };
    for file in load.generate(&site.files()) {
        site.load(FEED, [file]);
    }
    let files = |table: &str| -> usize {
        let folders = std::fs::read_dir(site.path(table)).unwrap().map(|e| e.unwrap().path());
        let days = folders.filter(|p| p.to_str().unwrap().contains("=20"));
        days.map(|p| std::fs::read_dir(p).unwrap().count()).sum()
    };
    let killed =
        site.vault().args(["compact", "--once"]).env("CDRVEIL_FAILPOINT", "compact.written:1").output().unwrap();
    assert_eq!(killed.status.signal(), Some(9));
    let before = files("vault/evidence") + files("vault/identities");
    let compact = |command: &mut Command| {
        let run = Run::of(command.args(["compact", "--once", "--json"]));
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.json()
    };
    let done = compact(&mut site.vault());
    assert_eq!(done["swept"]["files"], 0, "{done}");
    let kept = files("vault/evidence") + files("vault/identities");
    assert!(kept > before, "what was replaced is still there");
    // Two days later, by the clock of the machine.
    let mut later = Command::new("faketime");
    later.args(["-f", "+2d", env!("CARGO_BIN_EXE_cdrveil-vault")]).env("CDRVEIL_SITE", site.dir());
    let done = compact(&mut later);
    assert!(done["swept"]["files"].as_u64() > Some(0), "{done}");
    let left = files("vault/evidence") + files("vault/identities");
    let live = python("recount_tables.py", [site.dir().as_os_str(), FEED.as_ref()]);
    let live = |table: &str| live["live_files"][table].as_u64().unwrap() as usize;
    assert_eq!(left, live("evidence") + live("identities"), "what is live, and nothing else");
}
