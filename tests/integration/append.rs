//! Files that grow and are rotated, and watched folders, through the real program.

use crate::site::{self, Run, Site};
use crate::twin::{Twin, assert_same, chance};
use cdrveil::clock::{Clock, SystemClock};
use cdrveil::record::time::Day;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FEED: &str = "asterisk";

#[test]
fn only_new_rows_of_a_growing_file_are_loaded() {
    let site = in_utc();
    let file = site.file("Master.csv", calls(0..100));
    assert_eq!(of(&site.load(FEED, [&file])), (100, "loaded".into()));
    let half = calls(150..151);
    append(&file, format!("{}{}", calls(100..150), &half[..40]));
    assert_eq!(of(&site.load(FEED, [&file])), (50, "loaded".into()));
    append(&file, &half[40..]);
    assert_eq!(of(&site.load(FEED, [&file])), (1, "loaded".into()));
    let copy = site.file("yesterday.csv", fs::read(&file).unwrap());
    let packed = site.file("archive.gz", gzip(&fs::read(&file).unwrap()));
    for again in [&file, &copy, &packed] {
        assert_eq!(of(&site.load(FEED, [again])), (0, "already_loaded".into()), "{}", again.display());
    }
    let found = site::python("recount_tables.py", [site.dir().as_os_str(), FEED.as_ref()]);
    assert_eq!((&found["veiled"], &found["quarantined"]), (&151.into(), &0.into()), "{found}");
}

/// Whatever the writer, the rotation and `kill -9` do to each other, every row is there once.
#[test]
fn rotations_and_kills_lose_and_double_nothing() {
    let mut rng = chance("append");
    let home = in_utc();
    let (twin, reference) = (Twin::of(&home, "watched", 1 << 20), Twin::of(&home, "reference", 1 << 20));
    let mut writer = Writer::new(twin.dir.join("inbox").join(FEED), &mut rng);
    writer.lines(50);
    let first = spawn(watch(&twin));
    wait_for("the first rows", || records(&twin.dir) > 0);
    let stop = AtomicBool::new(false);
    let (writer, last) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.until(&stop));
        kill(first);
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| killed_often(&twin, &mut rng)));
        stop.store(true, Ordering::SeqCst);
        (writing.join().unwrap(), killed.unwrap_or_else(|e| std::panic::resume_unwind(e)))
    });
    let ended = terminate(last);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    ended.summary();
    // What the writer added after the last look.
    ingest(&twin, &writer.live());
    let whole = home.file("all.csv", &writer.all);
    ingest(&reference, &whole);
    let (found, expected) = (recount(&twin.dir), recount(&reference.dir));
    assert_eq!(found["records_in"], writer.next, "{} rotations", writer.rotations);
    assert_eq!(found["tally_by_hour"], by_hour(&writer.all));
    assert_same(&found, &expected, "kills and rotations");
    assert!(writer.rotations >= 6, "only {} rotations", writer.rotations);
}

/// Ends the watching program at fail points and at random moments; the last one is left running.
fn killed_often(twin: &Twin<'_>, rng: &mut StdRng) -> Running {
    let steps = ["block.staged", "stage.finished", "tally.written", "manifest.before", "manifest.put", "commit.cdr"];
    let more = ["commit.tally", "commit.evidence", "commit.identities", "commit.done"];
    let mut rounds: Vec<Option<&str>> = steps.into_iter().chain(more).map(Some).chain([None; 5]).collect();
    rounds.shuffle(rng);
    for round in rounds {
        let Some(step) = round else {
            let child = spawn(watch(twin));
            std::thread::sleep(Duration::from_millis(rng.random_range(50..2000)));
            kill(child);
            continue;
        };
        die_at(twin, &format!("{step}:1"));
        // What these leave is finished by the next one, which dies of it too.
        match step {
            "manifest.put" => die_at(twin, "recover.before:1"),
            "commit.evidence" => die_at(twin, "recover.done:1"),
            _ => {}
        }
    }
    die_at(twin, "commit.done:2");
    let before = records(&twin.dir);
    let last = spawn(watch(twin));
    wait_for("rows after the last kill", || records(&twin.dir) > before);
    last
}

fn die_at(twin: &Twin<'_>, failpoint: &str) {
    let mut command = watch(twin);
    let mut child = spawn_ref(command.env("CDRVEIL_FAILPOINT", failpoint));
    wait_for(failpoint, || child.0.try_wait().unwrap().is_some());
    let output = child.ended();
    assert_eq!(output.status.signal(), Some(9), "{failpoint}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_watched_folder_takes_what_is_complete() {
    let home = Site::new();
    let made = |name: &str, seed: &str| {
        let path = home.files().join(name);
        site::generate(&path, &["--records", "2000", "--days", "2", "--country", "GB", "--seed", seed]);
        fs::read(path).unwrap()
    };
    let (slow, renamed, cut) = (made("slow.csv", "1"), made("renamed.csv", "2"), gzip(&made("cut.csv", "3")));
    let inbox = home.path("inbox/generic-voice");
    let mut command = home.cdrveil();
    command.args(["ingest", "--json", "--watch", "--feed", "generic-voice"]);
    let child = spawn_ref(command.env("CDRVEIL__FEEDS__GENERIC_VOICE__SETTLE_S", "1"));
    let loaded = |n: u64| wait_for(&format!("{n} records"), || records_of(&home.dir(), "generic-voice") == n);

    fs::write(inbox.join("cut.csv.gz"), &cut[..cut.len() / 2]).unwrap();
    let mut growing = File::create(inbox.join("slow.csv")).unwrap();
    for piece in slow.chunks(slow.len() / 6 + 1) {
        assert_eq!(records_of(&home.dir(), "generic-voice"), 0, "a file was taken while it grew");
        growing.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(400));
    }
    loaded(2000);
    fs::write(inbox.join("renamed.csv.tmp"), &renamed).unwrap();
    fs::rename(inbox.join("renamed.csv.tmp"), inbox.join("renamed.csv")).unwrap();
    loaded(4000);
    append(&inbox.join("cut.csv.gz"), &cut[cut.len() / 2..]);
    loaded(6000);
    fs::write(inbox.join("again.csv.gz"), gzip(&slow)).unwrap();
    fs::write(inbox.join("again.csv"), &renamed).unwrap();
    std::thread::sleep(Duration::from_millis(2500));

    let ended = terminate(child);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    let summary = ended.summary();
    assert_eq!(summary["records_in"], 6000, "{summary}");
    let fate = |name: &str, fate: &str| (name.to_owned(), fate.to_owned());
    let expected = BTreeMap::from([
        fate("slow.csv", "loaded"),
        fate("renamed.csv", "loaded"),
        fate("cut.csv.gz", "loaded"),
        fate("again.csv.gz", "already_loaded"),
        fate("again.csv", "already_loaded"),
    ]);
    assert_eq!(fates(&summary), expected);
    assert_eq!(summary["files"].as_array().unwrap().len(), 5, "one report a file: {summary}");
}

#[test]
fn what_the_demo_loaded_is_followed_and_not_loaded_again() {
    let home = Site::new();
    let dir = home.files().join("demo");
    let args = ["demo".as_ref(), dir.as_os_str(), "--records".as_ref(), "5000".as_ref()];
    let demo = home.run_cdrveil(args);
    assert_eq!(demo.code, 0, "{}", demo.stderr);
    let before = records(&dir);
    assert!(before > 0);
    let file = fs::read_dir(dir.join("inbox").join(FEED)).unwrap().next().unwrap().unwrap().path();
    let mut command = home.cdrveil();
    let child = spawn_ref(command.arg("--site").arg(&dir).args(["ingest", "--json", "--watch", "--feed", FEED]));
    std::thread::sleep(Duration::from_millis(1500));
    append(&file, calls(0..1));
    wait_for("the row that was added", || records(&dir) != before);
    let ended = terminate(child);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(ended.summary()["records_in"], 1, "{}", ended.stdout);
    assert_eq!(records(&dir), before + 1);
}

/// What an exchange does to `Master.csv`, and logrotate with `delaycompress`.
struct Writer {
    dir: PathBuf,
    file: File,
    rng: StdRng,
    /// Rows written, the halves of them included that are not ended yet.
    next: u64,
    all: String,
    rotations: u32,
}

impl Writer {
    fn new(dir: PathBuf, rng: &mut StdRng) -> Writer {
        let file = opened(&dir.join("Master.csv"));
        let rng = rand::SeedableRng::seed_from_u64(rng.random());
        Writer { dir, file, rng, next: 0, all: String::new(), rotations: 0 }
    }

    fn live(&self) -> PathBuf {
        self.dir.join("Master.csv")
    }

    fn until(mut self, stop: &AtomicBool) -> Writer {
        let mut rotated = Instant::now();
        while !stop.load(Ordering::SeqCst) {
            let n = self.rng.random_range(1..20);
            self.lines(n);
            if rotated.elapsed() > Duration::from_millis(500) {
                self.rotate();
                rotated = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(self.rng.random_range(1..20)));
        }
        self
    }

    /// Rows, every fifth time with a pause inside one.
    fn lines(&mut self, n: u64) {
        let text = self.more(n);
        let cut = self.rng.random_range(0..text.len());
        self.put(&text[..cut]);
        if self.rng.random_range(0..5) == 0 {
            std::thread::sleep(Duration::from_millis(self.rng.random_range(1..300)));
        }
        self.put(&text[cut..]);
    }

    fn more(&mut self, n: u64) -> String {
        let text = calls(self.next..self.next + n);
        self.next += n;
        self.all.push_str(&text);
        text
    }

    fn put(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).unwrap();
    }

    fn rotate(&mut self) {
        let name = |n: u32, packed: &str| self.dir.join(format!("Master.csv.{n}{packed}"));
        for n in (2..=self.rotations).rev() {
            fs::rename(name(n, ".gz"), name(n + 1, ".gz")).unwrap();
        }
        let newest = name(1, "");
        if newest.exists() {
            fs::rename(&newest, name(2, "")).unwrap();
            assert!(Command::new("gzip").arg("-1").arg(name(2, "")).status().unwrap().success());
        }
        if self.rotations.is_multiple_of(2) {
            // The writer is inside a row, and ends it in the file it has open.
            let text = self.more(1);
            self.put(&text[..30]);
            fs::rename(self.live(), &newest).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            self.put(&text[30..]);
            self.file = opened(&self.live());
        } else {
            fs::copy(self.live(), &newest).unwrap();
            self.file.set_len(0).unwrap();
        }
        self.rotations += 1;
    }
}

fn opened(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

fn append(path: &Path, text: impl AsRef<[u8]>) {
    opened(path).write_all(text.as_ref()).unwrap();
}

/// Rows of cdr_csv of yesterday, each another one.
fn calls(rows: Range<u64>) -> String {
    let day = Day(Day::of_ms(SystemClock.now_ms()).0 - 1);
    let row = |i: u64| {
        let (h, m, s) = (i % 24, i / 24 % 60, i / 1440 % 55);
        let (a, b) = (7_911_120_000 + i * 7919 % 500, 2_079_460_000 + i * 104_729 % 3000);
        let at = |s: u64| format!("\"{day} {h:02}:{m:02}:{s:02}\"");
        format!(
            "\"\",\"+44{a}\",\"+44{b}\",\"out\",\"\",\"SIP/a-{i:08x}\",\"SIP/b-{i:08x}\",\"Dial\",\"SIP/b,60\",{},{},{},4,3,\"ANSWERED\",\"DOCUMENTATION\",\"{i}.1\",\"\"\n",
            at(s),
            at(s + 1),
            at(s + 4)
        )
    };
    rows.map(row).collect()
}

/// Rows by hour, read from the text as `recount_tables.py` names hours.
fn by_hour(all: &str) -> Value {
    let mut hours: BTreeMap<String, u64> = BTreeMap::new();
    for line in all.lines() {
        let start = line.split('"').find(|f| f.len() == 19 && f.as_bytes()[4] == b'-').unwrap();
        *hours.entry(start[..13].replace(' ', "T")).or_default() += 1;
    }
    serde_json::to_value(hours).unwrap()
}

/// A site whose times are read as UTC in any season.
fn in_utc() -> Site {
    let site = Site::new();
    let path = site.path("cdrveil.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("zone = \"Europe/London\""));
    fs::write(&path, text.replace("zone = \"Europe/London\"", "zone = \"UTC\"")).unwrap();
    site
}

fn watch(twin: &Twin<'_>) -> Command {
    let mut command = twin.program();
    command.args(["ingest", "--json", "--watch", "--feed", FEED]);
    command
}

fn ingest(twin: &Twin<'_>, file: &Path) {
    let run = Run::of(twin.program().args(["ingest", "--json", "--feed", FEED]).arg(file));
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
}

fn recount(dir: &Path) -> Value {
    site::python("recount_tables.py", [dir.as_os_str(), FEED.as_ref()])
}

fn spawn(mut command: Command) -> Running {
    spawn_ref(&mut command)
}

fn spawn_ref(command: &mut Command) -> Running {
    Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// A program without end; it does not outlive a test that fails.
struct Running(Child);

impl Running {
    fn ended(mut self) -> Output {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: self.0.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Those that were waited for are left alone by both.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that had ended by itself is an error.
fn kill(mut child: Running) {
    child.0.kill().unwrap();
    let output = child.ended();
    assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
}

fn terminate(child: Running) -> Run {
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    Run::ended(child.ended())
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "no sign of {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn records(dir: &Path) -> u64 {
    records_of(dir, FEED)
}

/// Records that the manifests of a feed took in so far.
fn records_of(dir: &Path, feed: &str) -> u64 {
    let Ok(list) = fs::read_dir(dir.join("lake/_batches").join(feed).join("files")) else { return 0 };
    let paths = list.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
    let count = |p: PathBuf| {
        let manifest: Value = serde_json::from_slice(&fs::read(p).unwrap()).unwrap();
        manifest["counts"]["records_in"].as_u64().unwrap()
    };
    paths.map(count).sum()
}

/// Records of a run and what became of its only file.
fn of(summary: &Value) -> (u64, String) {
    let fates = fates(summary);
    assert_eq!(fates.len(), 1, "{summary}");
    (summary["records_in"].as_u64().unwrap(), fates.into_values().next().unwrap())
}

fn fates(summary: &Value) -> BTreeMap<String, String> {
    let name = |v: &Value| Path::new(v.as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned();
    let fate = |v: &Value| v.as_str().unwrap().to_owned();
    summary["files"].as_array().unwrap().iter().map(|f| (name(&f["path"]), fate(&f["fate"]))).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(bytes).unwrap());
        child.wait_with_output().unwrap().stdout
    })
}
