//! `kill -9` at any moment, restart: every table holds every record once.

use crate::site::Site;
use crate::twin::{End, FEED, Load, Twin, assert_complete, assert_same, chance};
use cdrveil::failpoint::STEPS;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Small files share batches, the large ones have their own.
const LOAD: Load = Load { large: (2, 50_000), small: (20, 5_000), block_bytes: 1 << 20 };
/// Two million records, in blocks of the default size.
const SLOW_LOAD: Load = Load { large: (4, 400_000), small: (40, 10_000), block_bytes: 8 << 20 };

#[test]
fn every_record_is_there_once_after_kills_at_any_moment() {
    torture(&LOAD, kills_wanted(20));
}

#[test]
#[ignore = "slow: tests/run --slow"]
fn kills_slow() {
    torture(&SLOW_LOAD, kills_wanted(200));
}

/// A batch that was begun is finished with the very files its manifest names, whatever has changed
/// since: the profile, the mapping, the clock, which would all judge its records otherwise now.
#[test]
fn a_batch_is_finished_as_it_was_begun() {
    let home = Site::of_country("GB");
    let files = Load { large: (1, 30_000), small: (3, 2_000), block_bytes: 1 << 20 }.generate(&home.files());
    let reference = Twin::of(&home, "reference", 1 << 20);
    reference.load(&files);
    let expected = reference.recount(&[]);
    for step in ["manifest.put", "commit.cdr", "commit.identities"] {
        let twin = Twin::of(&home, "edited", 1 << 20);
        // Both batches of the run were put, and the second (the small files) is not in every table.
        assert!(matches!(twin.load_until(&files, step, 2), End::Killed));
        let (begun, named) = named_files(&twin.dir);
        edit(&twin.dir, &home);
        let mut again = Command::new("faketime");
        again.args(["-f", "+20d"]).arg(env!("CARGO_BIN_EXE_cdrveil"));
        let plain = twin.ingest(&files);
        again.args(plain.get_args()).args(["--accept-late", "0"]);
        for (name, value) in plain.get_envs() {
            again.env(name, value.unwrap());
        }
        let run = crate::site::Run::of(&mut again);
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        let summary = run.summary();
        assert_eq!(summary["records_in"], 0, "{summary}");
        let (after, named_after) = named_files(&twin.dir);
        assert_eq!((after, &named_after), (begun, &named), "nothing was added");
        assert_same(&twin.recount(&[]), &expected, step);
    }
}

/// What a dropped stage sealed is gone: numbers first seen there must be sealed again.
#[test]
fn a_truncated_file_takes_nothing_with_it() {
    let home = Site::of_country("GB");
    let files = Load { large: (3, 40_000), small: (4, 4_000), block_bytes: 1 << 20 }.generate(&home.files());
    let reference = Twin::of(&home, "reference", 1 << 20);
    let mut rng = chance("truncated");
    for large in &files[..2] {
        // The truncated twin of a file holds the same numbers, and comes before it.
        let cut = cut_gzip(large, &mut rng);
        let mut inputs = files.clone();
        inputs.insert(rng.random_range(0..2), cut.clone());
        inputs[2..].shuffle(&mut rng);
        let twin = Twin::of(&home, "truncated", 1 << 20);
        let run = crate::site::Run::of(&mut twin.ingest(&inputs));
        assert_eq!(run.code, 1, "a file that is not complete is told: {}\n{}", run.stdout, run.stderr);
        let fate = |path: &Path| fates(&run.summary())[&path.display().to_string()].clone();
        assert_eq!(fate(&cut), "waiting");
        assert!(files.iter().all(|f| fate(f) == "loaded"));
        if !reference.has_manifests() {
            reference.load(&files);
        }
        let found = twin.recount(&files);
        assert_complete(&found);
        assert_same(&found, &reference.recount(&[]), "a truncated file");
    }
}

/// A table that cannot take its commit (a full disk; here, a folder in the entry's place) fails the
/// run after the manifest was put: the batch must lose nothing by it.
#[test]
fn a_failed_table_commit_costs_nothing() {
    let home = Site::of_country("GB");
    let files = Load { large: (1, 20_000), small: (3, 2_000), block_bytes: 1 << 20 }.generate(&home.files());
    let reference = Twin::of(&home, "reference", 1 << 20);
    reference.load(&files);
    let expected = reference.recount(&files);
    for table in ["lake/cdr", "lake/tally", "vault/evidence", "vault/identities", "vault/quarantine"] {
        let twin = Twin::of(&home, "obstructed", 1 << 20);
        twin.load(&files[..1]);
        let log = twin.dir.join(table).join("_delta_log");
        let obstacle = log.join(format!("{:020}.json", std::fs::read_dir(&log).unwrap().count()));
        std::fs::create_dir(&obstacle).unwrap();
        let run = crate::site::Run::of(&mut twin.ingest(&files));
        assert_eq!(run.code, 1, "{table}: {}\n{}", run.stdout, run.stderr);
        std::fs::remove_dir(&obstacle).unwrap();
        twin.load(&files);
        assert_same(&twin.recount(&[]), &expected, table);
    }
}

#[expect(clippy::disallowed_methods, reason = "how long the test may take is for tests/run to say")]
fn kills_wanted(default: u32) -> u32 {
    std::env::var("CDRVEIL_TEST_KILLS").map_or(default, |n| n.parse().unwrap())
}

#[expect(clippy::print_stdout, reason = "where the kills fell")]
fn torture(load: &Load, wanted: u32) {
    let mut rng = chance("kills");
    let home = Site::of_country("GB");
    let files = load.generate(&home.files());
    let reference = Twin::of(&home, "reference", load.block_bytes);
    let begun = Instant::now();
    reference.load(&files);
    let whole = begun.elapsed();
    let expected = reference.recount(&files);
    assert_complete(&expected);
    let mut plan = Plan::new(whole, &files, &expected, load);
    let mut campaigns = 0;
    while plan.kills() < wanted {
        campaigns += 1;
        assert!(campaigns <= 20 + 2 * wanted, "too few runs are hit: {:?}", plan.hits);
        let twin = Twin::of(&home, "killed", load.block_bytes);
        let mut history = Vec::new();
        for _ in 0..rng.random_range(3..=8) {
            if plan.kills() == wanted || !plan.kill(&twin, &files, &mut rng, &mut history) {
                break;
            }
        }
        let mut order = files.clone();
        order.shuffle(&mut rng);
        let summary = twin.load(&order);
        assert!(fates(&summary).values().all(|f| f == "loaded" || f == "already_loaded"), "{summary}");
        let when = history.join(", ");
        assert_same(&twin.recount(&[]), &expected, &when);
        again_under_other_names(&twin, &files, &when);
    }
    println!("kills: {:?} in {campaigns} campaigns", plan.hits);
    if wanted as usize > STEPS.len() {
        let missed: Vec<_> = STEPS.iter().filter(|s| !plan.hits.contains_key(*s)).collect();
        assert!(missed.is_empty(), "never killed at {missed:?}");
    }
}

/// Where the next kill falls: every step in turn, and one in five at no step at all.
struct Plan {
    whole: Duration,
    /// How often an undisturbed run passes steps of files, of blocks, of batches.
    passings: [u64; 3],
    waiting: Vec<&'static str>,
    hits: BTreeMap<&'static str, u32>,
}

impl Plan {
    fn new(whole: Duration, files: &[PathBuf], expected: &Value, load: &Load) -> Plan {
        let batches = expected["manifests"].as_u64().unwrap();
        let blocks = load.large.0 * load.large.1 * 130 / load.block_bytes + load.small.0;
        Plan { whole, passings: [files.len() as u64, blocks, batches], waiting: Vec::new(), hits: BTreeMap::new() }
    }

    fn kills(&self) -> u32 {
        self.hits.values().sum()
    }

    /// Loads until killed; false if the run was over before.
    fn kill(&mut self, twin: &Twin<'_>, files: &[PathBuf], rng: &mut StdRng, history: &mut Vec<String>) -> bool {
        let mut order = files.to_vec();
        order.shuffle(rng);
        if self.kills() % 5 == 4 {
            // Of what is left to load: a run that is over before ends its campaign.
            let left = 1.0 / (1 + history.len()) as f64;
            let after = self.whole.mul_f64(rng.random_range(0.0..left));
            return self.note("any time", &format!("{after:?}"), twin.load_for(&order, after), history);
        }
        if self.waiting.is_empty() {
            self.waiting = STEPS.to_vec();
            self.waiting.shuffle(rng);
        }
        let possible = |s: &&str| twin.has_manifests() || !s.starts_with("recover.");
        let at = self.waiting.iter().position(possible).unwrap_or(0);
        let step = self.waiting.remove(at);
        let most = match step.split('.').next().unwrap() {
            "file" => self.passings[0],
            "block" => self.passings[1],
            "recover" => 1,
            _ => self.passings[2],
        };
        // Most steps are passed less often the more is loaded.
        let n = rng.random_range(1..=(most / (2 + 2 * history.len() as u64)).max(1));
        let hit = self.note(step, &n.to_string(), twin.load_until(&order, step, n), history);
        if !hit {
            self.waiting.push(step);
        }
        hit
    }

    fn note(&mut self, step: &'static str, detail: &str, end: End, history: &mut Vec<String>) -> bool {
        match end {
            End::Killed => {
                *self.hits.entry(step).or_default() += 1;
                history.push(format!("{step}:{detail}"));
                true
            }
            End::Done(run) => {
                assert_eq!(run.code, 0, "after {history:?}, then {step}:{detail}: {}\n{}", run.stdout, run.stderr);
                false
            }
        }
    }
}

/// The same content under other names is recognised.
fn again_under_other_names(twin: &Twin<'_>, files: &[PathBuf], when: &str) {
    let folder = twin.dir.with_file_name("renamed");
    std::fs::create_dir(&folder).unwrap();
    let renamed: Vec<PathBuf> = (0..files.len()).map(|i| folder.join(format!("again-{i}"))).collect();
    for (file, name) in files.iter().zip(&renamed) {
        std::fs::hard_link(file, name).unwrap();
    }
    let summary = twin.load(&renamed);
    assert_eq!(summary["records_in"], 0, "after {when}: {summary}");
    assert!(fates(&summary).values().all(|f| f == "already_loaded"), "after {when}: {summary}");
    std::fs::remove_dir_all(folder).unwrap();
}

fn fates(summary: &Value) -> BTreeMap<String, String> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    summary["files"].as_array().unwrap().iter().map(|f| (text(&f["path"]), text(&f["fate"]))).collect()
}

/// Number of the newest manifest, and every data file that any names.
fn named_files(site: &Path) -> (usize, Vec<String>) {
    let dir = site.join("lake/_batches").join(FEED).join("files");
    let json = |p: &PathBuf| p.extension().is_some_and(|e| e == "json");
    let manifests: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(json).collect();
    let mut named = Vec::new();
    for path in &manifests {
        let manifest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for adds in manifest["adds"].as_object().unwrap().values() {
            named.extend(adds.as_array().unwrap().iter().map(|a| a["path"].to_string()));
        }
    }
    named.sort();
    (manifests.len(), named)
}

/// Another home country and version in the profile, another version of the mapping.
fn edit(site: &Path, home: &Site) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/cdr/generic-voice.toml");
    let mapping = std::fs::read_to_string(shipped).unwrap();
    let edited = home.file("generic-voice.toml", mapping.replacen("version = 1", "version = 2", 1));
    let path = site.join("cdrveil.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, feed) = text.split_once("\n[feeds.generic-voice]\n").unwrap();
    let feed = feed
        .replacen("mapping = \"generic-voice\"", &format!("mapping = \"{}\"", edited.display()), 1)
        .replacen("version = 1", "version = 2", 1)
        .replacen("home_country = \"GB\"", "home_country = \"FR\"", 1);
    std::fs::write(&path, format!("{before}\n[feeds.generic-voice]\n{feed}")).unwrap();
}

/// The first part of a file, as a gzip stream that ends too early.
fn cut_gzip(file: &Path, rng: &mut StdRng) -> PathBuf {
    let packed = Command::new("gzip").arg("-c").arg(file).output().unwrap().stdout;
    let keep = packed.len() * rng.random_range(50..95) / 100;
    let path = file.with_extension("cut.gz");
    std::fs::write(&path, &packed[..keep]).unwrap();
    path
}
