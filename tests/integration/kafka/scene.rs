//! A site with a feed on topics of its own: who produces, who consumes, and the recount at the end.

use super::cluster::Cluster;
use super::topics;
use crate::recount::epoch_keys;
use crate::site::{self, Run, Site, generate};
use cdrveil::clock::{Clock, SystemClock};
use cdrveil::record::time::Day;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::cell::Cell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const FEED: &str = "calls";
/// Who the sink's pseudonyms are for.
pub const RECIPIENT: &str = "acme/contract-17";
/// Longer than any run takes that is not stuck.
const PATIENCE: Duration = Duration::from_secs(240);
const COLUMNS: &str = "start,a_number,b_number,c_number,imsi,imei,direction,duration,answered,cause,cell,network,\
                       trunk_in,trunk_out,charge,currency";

/// What a feed's configuration says beyond the usual.
#[derive(Clone, Default)]
pub struct Settings {
    /// `[feeds.calls.kafka]`, line by line.
    pub kafka: Vec<String>,
    /// `[feeds.calls.kafka.options]` and `[sinks.kafka.options]`.
    pub options: Vec<(&'static str, String)>,
    /// Messages begin with a header line, so that the feed names no columns.
    pub header: bool,
    /// A `cdr.veiled` topic is written, too.
    pub sink: bool,
    /// More of `[sinks.kafka]`, line by line; a topic of dead letters.
    pub sink_lines: Vec<String>,
    pub dead_letter: Option<String>,
    /// More of `[sinks.kafka.options]`.
    pub sink_options: Vec<(&'static str, String)>,
}

pub struct Scene {
    pub home: Site,
    pub topics: Vec<String>,
    /// Where the sink writes, if there is one.
    pub veiled: String,
    pub group: String,
    /// Past any proxy, for producers and the recount.
    direct: String,
    brokers: Cell<String>,
    settings: Settings,
    files: Cell<u32>,
    runs: Cell<u32>,
}

impl Scene {
    /// A Belgian site whose feed reads one topic per entry of `partitions`, of that many each.
    pub fn new(cluster: &Cluster, name: &str, partitions: &[i32], settings: Settings) -> Scene {
        let topics: Vec<String> = partitions.iter().map(|n| topics::create(cluster, name, *n, &[])).collect();
        let veiled = topics::create(cluster, &format!("{name}-veiled"), 2, &[]);
        Scene::on(cluster.bootstrap(), topics, veiled, settings)
    }

    /// The same over topics that are there, reached at `brokers`.
    pub fn on(brokers: String, topics: Vec<String>, veiled: String, settings: Settings) -> Scene {
        let home = Site::of_country("BE");
        if settings.sink {
            let added = home.run_vault(["recipient", "add", RECIPIENT]);
            assert_eq!(added.code, 0, "{}", added.stderr);
        }
        let group = format!("group-{}", topics[0]);
        let (files, runs) = (Cell::new(0), Cell::new(0));
        let scene = Scene {
            home,
            topics,
            veiled,
            group,
            direct: brokers.clone(),
            brokers: Cell::new(brokers),
            settings,
            files,
            runs,
        };
        std::fs::copy(scene.home.path("cdrveil.toml"), scene.home.path("cdrveil.toml.shipped")).unwrap();
        scene.configure();
        scene
    }

    /// Changes the configuration for the runs to come.
    pub fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.configure();
    }

    /// From now on the pipeline reaches the brokers there.
    pub fn reach(&self, brokers: &str) {
        self.brokers.set(brokers.to_owned());
        self.configure();
    }

    fn configure(&self) {
        let shipped = std::fs::read_to_string(self.home.path("cdrveil.toml.shipped")).unwrap();
        let brokers = self.brokers.take();
        let list = |names: &mut dyn Iterator<Item = &str>| {
            let quoted: Vec<String> = names.map(|n| format!("{n:?}")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let brokers_list = list(&mut brokers.split(','));
        let mut text = format!("{shipped}\n[feeds.{FEED}]\nmapping = \"generic-voice\"\n");
        if !self.settings.header {
            writeln!(text, "columns = {}", list(&mut COLUMNS.split(','))).unwrap();
        }
        writeln!(text, "\n[feeds.{FEED}.profile]\nversion = 1\nhome_country = \"BE\"\n").unwrap();
        writeln!(text, "[feeds.{FEED}.kafka]\nbrokers = {brokers_list}").unwrap();
        writeln!(text, "topics = {}", list(&mut self.topics.iter().map(String::as_str))).unwrap();
        writeln!(text, "group = \"{}\"\n{}", self.group, self.settings.kafka.join("\n")).unwrap();
        writeln!(text, "\n[feeds.{FEED}.kafka.options]").unwrap();
        options(&mut text, QUICK.iter().map(|(n, v)| (*n, (*v).to_owned())).chain(self.settings.options.clone()));
        if self.settings.sink {
            writeln!(text, "\n[sinks.kafka]\nbrokers = {brokers_list}\ntopic = \"{}\"", self.veiled).unwrap();
            writeln!(text, "transactional_id = \"{}\"\nrecipient = \"{RECIPIENT}\"", self.group).unwrap();
            writeln!(text, "{}", self.settings.sink_lines.join("\n")).unwrap();
            if let Some(topic) = &self.settings.dead_letter {
                writeln!(text, "dead_letter = {topic:?}").unwrap();
            }
            writeln!(text, "\n[sinks.kafka.options]").unwrap();
            options(&mut text, self.settings.options.iter().chain(&self.settings.sink_options).cloned());
        }
        std::fs::write(self.home.path("cdrveil.toml"), text).unwrap();
        self.brokers.set(brokers);
    }

    /// A file of that many good records, of other calls than all before.
    pub fn calls(&self, records: u64) -> PathBuf {
        let n = self.files.replace(self.files.get() + 1);
        let path = self.home.files().join(format!("calls-{n}.csv"));
        let day = Day(Day::of_ms(SystemClock.now_ms()).0 - 4).to_string();
        let (records, seed) = (records.to_string(), (n + 7).to_string());
        let common = ["--subscribers", "3000", "--days", "2", "--country", "BE", "--broken", "0", "--start", &day];
        generate(&path, &[&["--records", &records, "--seed", &seed], &common[..]].concat());
        path
    }

    /// Produces `records` calls to the first topic, and waits until the brokers have them.
    pub fn produce(&self, records: u64, how: &[&str]) -> Value {
        self.producer(&self.topics[0], records, how).end()
    }

    /// Produces in the background.
    pub fn producer(&self, topic: &str, records: u64, how: &[&str]) -> Producer {
        let file = self.calls(records);
        let mut command = site::script("kafka_produce.py");
        command.args([&self.direct, topic]).arg(self.truth()).arg(&file);
        command.args(["--seed", &self.files.get().to_string()]).args(how);
        if self.settings.header {
            command.arg("--header");
        }
        Producer(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    /// What must be found at the end; written by the producers.
    pub fn truth(&self) -> PathBuf {
        self.home.files().join("truth")
    }

    /// Adds messages of the first topic's first partition to those that must be in quarantine, each
    /// in so many pieces.
    pub fn refused(&self, messages: &[(i64, u64)]) {
        let mut file = File::options().append(true).create(true).open(self.truth().join("refused.jsonl")).unwrap();
        for (offset, pieces) in messages {
            let place =
                json!({ "topic": self.topics[0], "partition": 0, "offset": offset, "line": null, "pieces": pieces });
            writeln!(file, "{place}").unwrap();
        }
    }

    /// Takes what stood at these offsets of the first topic out of the truth: retention was quicker.
    pub fn lost(&self, partition: i32, from: i64, to: i64) {
        let range = json!({ "topic": self.topics[0], "partition": partition, "from": from, "to": to });
        std::fs::write(self.truth().join("lost.json"), json!([range]).to_string()).unwrap();
    }

    /// `cdrveil ingest` on the feed, without end.
    pub fn ingest(&self) -> Command {
        let mut command = self.home.cdrveil();
        command.args(["ingest", "--json", "--feed", FEED]).env("CDRVEIL__INGEST__COMMIT_INTERVAL", "300ms");
        command
    }

    /// The same until nothing has come for that long.
    pub fn until_idle(&self, seconds: u32) -> Command {
        let mut command = self.ingest();
        command.args(["--until-idle", &seconds.to_string()]);
        command
    }

    /// Starts a pipeline in the background.
    pub fn start(&self, command: Command) -> Pipeline {
        let n = self.runs.replace(self.runs.get() + 1);
        Pipeline::start(command, &self.home.files().join(format!("run-{n}")))
    }

    /// Reads on to the end of every topic; the summary.
    pub fn finish(&self) -> Value {
        let run = self.start(self.until_idle(2)).end();
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        run.summary()
    }

    /// Every record once, everywhere, by readers that are not ours; what `kafka_recount.py` tells.
    pub fn recount(&self, when: &str) -> Value {
        let keys = self.home.file("keys.json", epoch_keys(&self.home).to_string());
        let mut script = site::script("kafka_recount.py");
        script.arg(self.home.dir()).arg(FEED).arg(self.truth()).arg(&keys);
        if self.settings.sink {
            script.args([&self.direct, &self.veiled, RECIPIENT]).args(&self.settings.dead_letter);
        }
        let run = Run::of(&mut script);
        assert_eq!(run.code, 0, "{when}\n{}\n{}", run.stdout, run.stderr);
        run.json()
    }
}

/// Who is gone is known soon, so that a test takes seconds.
const QUICK: [(&str, &str); 5] = [
    ("session.timeout.ms", "2500"),
    ("heartbeat.interval.ms", "400"),
    ("max.poll.interval.ms", "20000"),
    ("topic.metadata.refresh.interval.ms", "2000"),
    ("reconnect.backoff.max.ms", "1000"),
];

/// The last of several settings of a name counts.
fn options(text: &mut String, given: impl Iterator<Item = (&'static str, String)>) {
    let all: std::collections::BTreeMap<&str, String> = given.collect();
    for (name, value) in all {
        // A secret is a table that says where it is.
        let value = if value.starts_with('{') { value } else { format!("{value:?}") };
        writeln!(text, "\"{name}\" = {value}").unwrap();
    }
}

/// `kafka_produce.py`, at work.
pub struct Producer(Option<Child>);

impl Producer {
    pub fn runs(&mut self) -> bool {
        self.0.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Waits for it; what it says it produced.
    pub fn end(mut self) -> Value {
        let run = Run::ended(self.0.take().unwrap().wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        run.json()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A running `cdrveil ingest`; dropped, it is killed.
pub struct Pipeline {
    child: Child,
    output: PathBuf,
}

impl Pipeline {
    fn start(mut command: Command, output: &Path) -> Pipeline {
        let file = |end: &str| File::create(output.with_extension(end)).unwrap();
        let child = command.stdout(file("out")).stderr(file("err")).spawn().unwrap();
        Pipeline { child, output: output.to_owned() }
    }

    fn signal(&self, signal: Signal) {
        // Not waited for, so that the number is still the child's.
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM: it commits what it holds, and ends.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits at most so long; whether it ended by `kill -9`, of a fail point.
    pub fn killed_within(&mut self, wait: Duration) -> bool {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.signal(), Some(9), "it ended by itself: {status}\n{}", self.said());
                return true;
            }
            if begun.elapsed() >= wait {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has said on standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.output.with_extension("err")).unwrap()
    }

    /// Waits for its end.
    pub fn end(self) -> Run {
        self.end_within(PATIENCE)
    }

    pub fn end_within(mut self, wait: Duration) -> Run {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < wait, "it does not end\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let stdout = std::fs::read_to_string(self.output.with_extension("out")).unwrap();
        Run { code, stdout, stderr: self.said() }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
