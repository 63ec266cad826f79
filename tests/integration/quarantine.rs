//! Refused records: told of without a word of their content, replayed through a corrected mapping
//! exactly once whatever happens on the way, discarded on purpose.

use crate::sealed;
use crate::site::{Run, Site, python};
use cdrveil::clock::{Clock, SystemClock};
use cdrveil::record::identifier::Party;
use cdrveil::record::time::Day;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FEED: &str = "generic-voice";
/// What every number of these tests holds and nothing else does.
const MARK: &str = "7700900";

/// A site with a file in it: 2 good records, 3 with a time that only the corrected mapping reads, and
/// one that nothing can read.
struct Scene {
    site: Site,
}

impl Scene {
    fn new() -> Scene {
        let site = Site::new();
        let day = days_ago(2);
        // Not the order of the mapping: columns go by their names.
        let text = format!(
            "b_number,start,duration,a_number\n\
             +447700900001,{day}T10:00:00Z,60,+447700900101\n\
             +447700900002,{day} 11:00:00,61,+447700900102\n\
             +447700900003,{day} 11:20:00,62,+447700900103\n\
             +447700900004,{day}T12:00:00Z,63,+447700900104\n\
             +447700900005,{day} 13:40:00,64,+447700900105\n\
             +447700900006,yesterday,65,+447700900106\n"
        );
        let file = site.file("calls.csv", text);
        let summary = site.load(FEED, [&file]);
        assert_eq!((&summary["veiled"], &summary["quarantined_by"]), (&2.into(), &json!({"invalid_time": 4})));
        Scene { site }
    }

    /// With the mapping corrected: start is a local time of UTC.
    fn corrected() -> Scene {
        let scene = Scene::new();
        correct_mapping(&scene.site, &scene.site.dir());
        scene
    }

    /// The same site, copied.
    fn copy(&self, name: &str) -> PathBuf {
        let to = self.site.files().with_file_name(name);
        assert!(Command::new("cp").arg("-a").arg(self.site.dir()).arg(&to).status().unwrap().success());
        to
    }

    fn on(&self, site: &Path, args: &[&str]) -> Command {
        let mut command = self.site.cdrveil();
        command.env("CDRVEIL_SITE", site).args(["quarantine", "--json"]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::of(&mut self.on(&self.site.dir(), args))
    }

    fn ok(&self, args: &[&str]) -> Value {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {}\n{}", run.stdout, run.stderr);
        run.json()
    }
}

fn days_ago(n: i32) -> Day {
    Day(Day::of_ms(SystemClock.now_ms()).0 - n)
}

fn correct_mapping(home: &Site, site: &Path) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/cdr/generic-voice.toml");
    let mapping = std::fs::read_to_string(shipped).unwrap();
    let corrected = mapping.replacen("version = 1", "version = 2", 1).replacen(
        "time = \"rfc3339\"",
        "time = \"%Y-%m-%d %H:%M:%S\"\nzone = \"utc\"",
        1,
    );
    assert_ne!(corrected, mapping);
    let file = home.file("generic-voice.toml", corrected);
    let path = site.join("cdrveil.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, feed) = text.split_once("\n[feeds.generic-voice]\n").unwrap();
    let feed = feed.replacen("mapping = \"generic-voice\"", &format!("mapping = \"{}\"", file.display()), 1);
    std::fs::write(&path, format!("{before}\n[feeds.generic-voice]\n{feed}")).unwrap();
}

fn recount(site: &Path) -> Value {
    python("quarantine_recount.py", [site.as_os_str(), FEED.as_ref()])
}

#[test]
fn refused_records_are_told_of_without_being_opened() {
    let scene = Scene::new();
    let today = days_ago(0).to_string();
    let list = scene.ok(&["list"]);
    assert_eq!((&list["waiting"], &list["replayed"], &list["discarded"]), (&4.into(), &0.into(), &0.into()));
    let group = &list["groups"][0];
    assert_eq!((&group["feed"], &group["reason"], &group["rows"]), (&FEED.into(), &"invalid_time".into(), &4.into()));
    assert_eq!((&group["oldest"], &group["days"][&today]), (&today.clone().into(), &4.into()), "{list}");
    assert_eq!(scene.ok(&["list", "--until", &days_ago(1).to_string()])["groups"], json!([]));
    assert_eq!(scene.ok(&["list", "--reason", "late_event"])["waiting"], 0);

    let show = scene.ok(&["show", "--feed", FEED]);
    let rows = show["rows"].as_array().unwrap();
    let lines: Vec<&Value> = rows.iter().map(|r| &r["line"]).collect();
    assert_eq!(lines, [3, 4, 6, 7], "{show}");
    // What the positions point at is what lies sealed there.
    for (row, sealed) in rows.iter().zip(sealed::quarantine(&scene.site)) {
        assert_eq!((row["offset"].as_i64(), row["line"].as_i64()), (Some(sealed.offset), Some(sealed.line)));
        assert_eq!(row["bytes"].as_u64(), Some(sealed.bytes.len() as u64));
        assert_eq!((&row["state"], &row["outcome"], &row["column"]), (&"waiting".into(), &Value::Null, &2.into()));
    }
    // Page by page it is the same.
    let first = scene.ok(&["show", "--limit", "3"]);
    let next = first["next"].as_str().unwrap();
    let rest = scene.ok(&["show", "--limit", "3", "--after", next]);
    assert_eq!(rest["next"], Value::Null);
    let both = [first["rows"].as_array().unwrap().as_slice(), rest["rows"].as_array().unwrap()].concat();
    assert_eq!(&both, rows);
    let one = scene.ok(&["show", "--handle", next]);
    assert_eq!(one["rows"].as_array().unwrap(), &rows[2..3]);

    // Without any passphrase, and without a word of a record, in every form of output.
    for args in [&["list"][..], &["list", "--by-day"], &["show"], &["show", "--json"], &["list", "--json"]] {
        let mut command = scene.site.cdrveil();
        command.env_remove("CDRVEIL_PASSPHRASE_FILE").env_remove("CDRVEIL_VAULT_PASSPHRASE_FILE");
        let run = Run::of(command.arg("quarantine").args(args));
        assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        assert!(run.stdout.contains("invalid_time"), "{}", run.stdout);
        assert!(!run.stdout.contains(MARK) && !run.stderr.contains(MARK) && !run.stdout.contains("yesterday"));
    }
    assert!(!std::fs::read_to_string(scene.site.path("vault/events.jsonl")).unwrap().contains("quarantine-opened"));
}

#[test]
fn a_replay_through_the_corrected_mapping_loads_each_record_once() {
    let scene = Scene::new();
    // Nothing is corrected: all are refused again, wait on, and double in no table.
    let vain = scene.ok(&["replay", "--feed", FEED]);
    assert_eq!((&vain["veiled"], &vain["refused_by"]), (&0.into(), &json!({"invalid_time": 4})), "{vain}");
    assert_eq!(scene.ok(&["list"])["waiting"], 4);
    assert_eq!(sealed::rows(&scene.site, "vault/quarantine", "arrival_day"), 4);

    correct_mapping(&scene.site, &scene.site.dir());
    let dry = scene.ok(&["replay", "--feed", FEED, "--dry-run"]);
    let said = |v: &Value| [&v["selected"], &v["veiled"], &v["rows"], &v["refused"]].map(|n| n.as_u64().unwrap());
    assert_eq!((said(&dry), &dry["batches"]), ([4, 3, 3, 1], &0.into()), "{dry}");
    assert_eq!(recount(&scene.site.dir())["cdr"], 2, "a dry run loads nothing");

    // One by its handle, then all.
    let handle = scene.ok(&["show", "--limit", "1"])["rows"][0]["handle"].as_str().unwrap().to_owned();
    let one = scene.ok(&["replay", "--feed", FEED, "--handle", &handle]);
    assert_eq!(said(&one), [1, 1, 1, 0], "{one}");
    let run = scene.run(&["replay", "--feed", FEED]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let all = run.json();
    assert_eq!((said(&all), &all["already_resolved"]), ([3, 2, 2, 1], &1.into()), "{all}");
    assert!(!run.stdout.contains(MARK));
    let again = scene.ok(&["replay", "--feed", FEED]);
    assert_eq!((said(&again), &again["already_resolved"]), ([1, 0, 0, 1], &3.into()), "{again}");

    let found = recount(&scene.site.dir());
    assert_eq!((&found["cdr"], &found["replayed_rows"], &found["quarantine"]), (&5.into(), &3.into(), &4.into()));
    assert_eq!((&found["outcomes"], &found["waiting"]), (&json!({"veiled": 3}), &1.into()), "{found}");
    // The very calls, in the lake and in the vault.
    let mut numbers: Vec<String> = sealed::evidence(&scene.site)
        .iter()
        .map(|e| String::from_utf8(e.record.parties[Party::A as usize].1.clone()).unwrap())
        .collect();
    numbers.sort();
    assert_eq!(numbers, [101, 102, 103, 104, 105].map(|n| format!("+447700900{n}")));
    assert_eq!(sealed::identities(&scene.site).len(), 10);
    let states = scene.ok(&["show"]);
    let states: Vec<_> = states["rows"].as_array().unwrap().iter().map(|r| (&r["state"], &r["outcome"])).collect();
    let (done, open) = (("replayed", json!("veiled")), ("waiting", Value::Null));
    let expected = [&done, &done, &done, &open].map(|(state, outcome)| (Value::from(*state), outcome.clone()));
    assert_eq!(states, expected.each_ref().map(|(state, outcome)| (state, outcome)));
    every_opening_is_logged(&scene.site);
    nothing_in_clear_is_left(&scene.site);
}

/// Each before anything of it was released: who, what for, how many and why.
fn every_opening_is_logged(site: &Site) {
    let events = std::fs::read_to_string(site.path("vault/events.jsonl")).unwrap();
    let opened: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "quarantine-opened")
        .collect();
    let told: Vec<_> = opened.iter().map(|e| (e["purpose"].as_str().unwrap(), e["rows"].as_u64().unwrap())).collect();
    assert_eq!(told, [("replay", 4), ("dry-run", 4), ("replay", 1), ("replay", 3), ("replay", 1)]);
    assert!(opened.iter().all(|e| e["feed"] == FEED && e["reasons"]["invalid_time"] == e["rows"]), "{opened:?}");
}

/// The search of the leak test over the whole site; the input itself lies outside.
fn nothing_in_clear_is_left(site: &Site) {
    let numbers = (1..=6).flat_map(|n| [format!("44{MARK}00{n}"), format!("44{MARK}10{n}")]);
    let markers: serde_json::Map<String, Value> = numbers.map(|n| (n.clone(), n.into())).collect();
    let markers = site.file("markers.json", Value::from(markers).to_string());
    let found = python("leaks.py", [markers.as_os_str(), site.dir().as_os_str()]);
    assert_eq!((&found["hits"], &found["missed"]), (&json!([]), &json!([])));
}

#[test]
fn late_records_are_replayed_when_they_are_let_in() {
    let site = Site::new();
    let day = days_ago(70);
    site.open_epoch(&day.epoch().to_string());
    let text = format!("start,a_number,b_number\n{day}T10:00:00Z,+447700900101,+447700900001\n");
    let file = site.file("late.csv", text);
    let load = Run::of(site.cdrveil().args(["ingest", "--json", "--feed", FEED]).arg(&file));
    assert_eq!(load.summary()["quarantined_by"], json!({"late_event": 1}));
    let scene = Scene { site };
    let refused = scene.ok(&["replay", "--feed", FEED, "--accept-late", "60"]);
    assert_eq!(refused["refused_by"], json!({"late_event": 1}), "{refused}");
    let veiled = scene.ok(&["replay", "--feed", FEED, "--reason", "late_event", "--accept-late", "unlimited"]);
    assert_eq!((&veiled["veiled"], &veiled["refused"]), (&1.into(), &0.into()), "{veiled}");
    assert_eq!(recount(&scene.site.dir())["cdr"], 1);
    // The steward does not wait for replays: they say nothing about how far the feed is.
    let steward = scene.site.run_cdrveil(["steward", "--once", "--json"]);
    assert_eq!(steward.code, 0, "{}", steward.stderr);
}

#[test]
fn without_the_vaults_passphrase_nothing_is_opened_or_loaded() {
    let scene = Scene::corrected();
    let wrong = scene.site.file("wrong.txt", "not it");
    for variable in ["CDRVEIL_VAULT_PASSPHRASE_FILE", "CDRVEIL_PASSPHRASE_FILE"] {
        let run = Run::of(scene.on(&scene.site.dir(), &["replay", "--feed", FEED]).env(variable, &wrong));
        assert_eq!(run.code, 3, "{variable}: {}\n{}", run.stdout, run.stderr);
        assert!(run.error()["error"].as_str().unwrap().contains("wrong passphrase"), "{}", run.stderr);
    }
    let found = recount(&scene.site.dir());
    assert_eq!((&found["cdr"], &found["replays"]), (&2.into(), &0.into()));
    assert!(!std::fs::read_to_string(scene.site.path("vault/events.jsonl")).unwrap().contains("quarantine-opened"));
    // Nor does the vault's program write to whoever happens to start it with a wrong request.
    let run = Run::fed(scene.site.vault().args(["quarantine", "open", "--json"]), b"{\"feed\":\"x\"}\n");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
}

/// Ended at every step of the way, once and again: the next replay finishes it, and the site is the
/// same as one that was never disturbed.
#[test]
fn a_replay_killed_at_any_step_is_finished_by_the_next() {
    let scene = Scene::corrected();
    let reference = scene.copy("reference");
    assert_eq!(Run::of(&mut scene.on(&reference, &["replay", "--feed", FEED])).code, 0);
    let expected = recount(&reference);
    assert_eq!(expected["outcomes"], json!({"veiled": 3}));
    let steps = ["block.staged", "stage.finished", "tally.written", "manifest.before", "manifest.put", "commit.cdr"];
    let more = ["commit.tally", "commit.evidence", "commit.identities", "commit.quarantine", "commit.done"];
    for (i, step) in ["replay.judged"].iter().chain(&steps).chain(&more).enumerate() {
        let twin = scene.copy(&format!("killed-{i}"));
        killed(&scene, &twin, step);
        if i >= 5 {
            // The manifest stands: the next run is killed as it finishes the tables, and as it has.
            killed(&scene, &twin, "recover.before");
            killed(&scene, &twin, "recover.done");
        }
        let last = Run::of(&mut scene.on(&twin, &["replay", "--feed", FEED]));
        assert_eq!(last.code, 0, "{step}: {}", last.stderr);
        let found = recount(&twin);
        for what in ["cdr", "rows", "tally", "identities", "quarantine", "waiting", "outcomes", "replayed_rows"] {
            assert_eq!(found[what], expected[what], "{what} after {step}");
        }
        std::fs::remove_dir_all(&twin).unwrap();
    }
}

fn killed(scene: &Scene, site: &Path, step: &str) {
    let mut command = scene.on(site, &["replay", "--feed", FEED]);
    let output = command.env("CDRVEIL_FAILPOINT", format!("{step}:1")).output().unwrap();
    assert_eq!(output.status.signal(), Some(9), "{step}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn when_the_vault_dies_midway_nothing_is_committed() {
    let scene = Scene::corrected();
    for n in 1..=4 {
        let mut command = scene.on(&scene.site.dir(), &["replay", "--feed", FEED]);
        let run = Run::of(command.env("CDRVEIL_FAILPOINT", format!("vault.release:{n}")));
        assert_eq!(run.code, 1, "{}\n{}", run.stdout, run.stderr);
        assert!(run.error()["error"].as_str().unwrap().contains("ended before"), "{}", run.stderr);
        assert_eq!(run.stdout, "");
    }
    let found = recount(&scene.site.dir());
    assert_eq!((&found["cdr"], &found["replays"], &found["waiting"]), (&2.into(), &0.into(), &4.into()));
    assert_eq!(scene.ok(&["replay", "--feed", FEED])["veiled"], 3);
}

#[test]
fn of_several_at_once_each_record_is_taken_by_one() {
    let scene = Scene::corrected();
    let before = Run::of(&mut scene.on(&scene.site.dir(), &["discard", "--feed", FEED]));
    assert_eq!(before.code, 2, "{}", before.stderr);
    let start = |args: &[&str]| {
        let mut command = scene.on(&scene.site.dir(), args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let replays: Vec<_> = (0..4).map(|_| start(&["replay", "--feed", FEED])).collect();
    let discard = start(&["discard", "--feed", FEED, "--yes"]);
    let ended: Vec<Run> =
        replays.into_iter().chain([discard]).map(|child| Run::ended(child.wait_with_output().unwrap())).collect();
    assert!(ended.iter().all(|run| run.code == 0), "{}", ended.iter().map(|r| r.stderr.clone()).collect::<String>());
    let sum = |name: &str| ended.iter().filter_map(|run| run.json()[name].as_u64()).sum::<u64>();
    let found = recount(&scene.site.dir());
    let outcome = |name: &str| found["outcomes"][name].as_u64().unwrap_or(0);
    assert_eq!((sum("veiled"), sum("discarded")), (outcome("veiled"), outcome("discarded")), "{found}");
    assert_eq!((outcome("veiled") + outcome("discarded"), &found["waiting"]), (4, &0.into()), "{found}");
}

#[test]
fn what_is_discarded_is_never_loaded() {
    let scene = Scene::corrected();
    let last = scene.ok(&["show"])["rows"][3]["handle"].as_str().unwrap().to_owned();
    let asked = scene.run(&["discard", "--feed", FEED, "--handle", &last]);
    assert_eq!(asked.code, 2);
    assert!(asked.error()["error"].as_str().unwrap().starts_with("1 records"), "{}", asked.stderr);
    let noted = scene.run(&["discard", "--feed", FEED, "--note", "of +447700900106", "--yes"]);
    assert_eq!(noted.code, 2, "a note must name nobody");
    assert!(!noted.stderr.contains(MARK), "and is not repeated: {}", noted.stderr);
    let done = scene.ok(&["discard", "--feed", FEED, "--handle", &last, "--note", "a test line", "--yes"]);
    assert_eq!((&done["discarded"], &done["already_resolved"]), (&1.into(), &0.into()), "{done}");
    let again = scene.ok(&["discard", "--feed", FEED, "--handle", &last, "--yes"]);
    assert_eq!((&again["discarded"], &again["already_resolved"]), (&0.into(), &1.into()), "{again}");
    let replay = scene.ok(&["replay", "--feed", FEED]);
    assert_eq!((&replay["veiled"], &replay["already_resolved"]), (&3.into(), &1.into()), "{replay}");
    let list = scene.ok(&["list", "--state", "discarded"]);
    assert_eq!((&list["discarded"], &list["waiting"]), (&1.into(), &0.into()), "{list}");
    let found = recount(&scene.site.dir());
    assert_eq!(found["outcomes"], json!({"veiled": 3, "discarded": 1}), "{found}");
    assert_eq!(found["quarantine"], 4, "rows are not removed by a decision");
    let manifest = std::fs::read(scene.site.path("lake/_batches/generic-voice/replay/00000000000000000001.json"));
    let manifest: Value = serde_json::from_slice(&manifest.unwrap()).unwrap();
    assert_eq!(manifest["replay"]["note"], "a test line");
    assert_eq!(manifest["replay"]["resolved_by"], json!({"invalid_time": 1}));
    assert!(manifest["replay"]["uid"].is_u64());
}

/// Records that were refused before header rows were kept say nothing about their columns.
#[test]
fn without_its_header_row_a_record_is_not_guessed_at() {
    let scene = Scene::corrected();
    let path = scene.site.path("lake/_batches/generic-voice/files/00000000000000000001.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let headers = manifest.as_object_mut().unwrap().shift_remove("headers").unwrap();
    assert!(!headers.to_string().contains("number"), "column names are the sender's: {headers}");
    std::fs::write(&path, manifest.to_string()).unwrap();
    let run = scene.run(&["replay", "--feed", FEED]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.error()["fix"].as_str().unwrap().contains("--columns"), "{}", run.stderr);
    let wrong = scene.run(&["replay", "--feed", FEED, "--columns", "b_number,started,duration,a_number"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert_eq!(recount(&scene.site.dir())["replays"], 0);
    let events = std::fs::read_to_string(scene.site.path("vault/events.jsonl")).unwrap();
    assert!(!events.contains("quarantine-opened"), "nothing was opened in vain");
    let named = scene.ok(&["replay", "--feed", FEED, "--columns", "b_number,start,duration,a_number"]);
    assert_eq!((&named["veiled"], &named["refused"]), (&3.into(), &1.into()), "{named}");
    recount(&scene.site.dir());
}

#[test]
fn what_cannot_be_replayed_is_said() {
    let scene = Scene::new();
    let joined = scene.run(&["replay", "--feed", "kamailio"]);
    assert_eq!(joined.code, 2, "{}", joined.stderr);
    assert!(joined.error()["error"].as_str().unwrap().contains("halves"), "{}", joined.stderr);
    assert_eq!(scene.run(&["replay", "--feed", "nobody"]).code, 2);
    assert_eq!(scene.run(&["replay", "--feed", FEED, "--reason", "whatever"]).code, 2);
    let stranger = format!("{}-0", "0".repeat(32));
    assert_eq!(scene.run(&["replay", "--feed", FEED, "--handle", &stranger]).code, 2);
    let nothing = scene.ok(&["replay", "--feed", FEED, "--reason", "nul_byte"]);
    assert_eq!((&nothing["selected"], &nothing["batches"]), (&0.into(), &0.into()));
}
