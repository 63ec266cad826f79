use super::*;
use crate::cli::init::create_site;
use crate::clock::{Clock, MockClock, SystemClock};
use crate::config::environment::Environment;
use crate::lake::delta::Table;
use crate::lake::parquet::read_file;
use crate::pipeline::run::Loader;
use crate::pipeline::summary::Silent;
use crate::record::time::Day;
use crate::vault::epochs;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// 2026-11-22T00:00:00Z.
const MIDNIGHT_MS: i64 = 1_795_305_600_000;

/// A site with real key files, and a clock to be moved.
struct Desk {
    dir: tempfile::TempDir,
    context: Context,
}

impl Desk {
    fn new(clock: Arc<dyn Clock>) -> Desk {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("ingest.txt", "one\n"), ("vault.txt", "two\n")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let path = |name: &str| dir.path().join(name).display().to_string();
        let environment = Environment::of(&[
            ("CDRVEIL_PASSPHRASE_FILE", &path("ingest.txt")),
            ("CDRVEIL_VAULT_PASSPHRASE_FILE", &path("vault.txt")),
            ("CDRVEIL_SITE", &path("site")),
            ("CDRVEIL__INGEST__WORKERS", "2"),
        ]);
        let mut context = Context::new(None, true, environment);
        context.clock = clock;
        create_site(&context.site_dir, "BE", context.passphrases().unwrap(), &*context.clock).unwrap();
        Desk { dir, context }
    }

    fn at(ms: i64) -> (Desk, Arc<MockClock>) {
        let clock = Arc::new(MockClock::at_ms(ms));
        (Desk::new(Arc::<MockClock>::clone(&clock)), clock)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let file = fs::OpenOptions::new().create(true).append(true).open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn site(&self) -> Site {
        Site::load(&self.context.site_dir, &self.context.environment).unwrap()
    }

    fn ingest(&self, feed: &str, names: &[&str]) -> Summary {
        let inputs: Vec<Input> = names.iter().map(|n| Input::File(self.path(n))).collect();
        super::ingest(&args(feed), &inputs, &self.site(), &self.context, &mut Silent).unwrap()
    }

    /// Runs `work` with an engine of `feed`.
    fn with_engine<R>(&self, name: &str, work: impl FnOnce(&mut Engine<'_>, Limits) -> R) -> R {
        let site = self.site();
        let keys = self.context.ingest_keys().unwrap();
        let setting = Setting {
            site: &self.context.site_dir,
            feed: Arc::new(feed(&site.feeds[name], &site.cubes, None).unwrap()),
            keys: &keys,
            clock: &*self.context.clock,
            workers: 1,
            forget_open: false,
            orphan_after_ms: 24 * 3_600_000,
        };
        work(&mut Engine::open(setting).unwrap(), limits(&site))
    }

    /// Runs a watcher of `feed` while `during` runs; its reports.
    fn watching(&self, feed: &str, during: impl FnOnce()) -> Vec<FileReport> {
        let stop = AtomicBool::new(false);
        let stopped = || stop.load(Ordering::SeqCst);
        let inbox = self.path("site/inbox").join(feed);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                self.with_engine(feed, |engine, limits| {
                    let (settle, clock) = (Duration::ZERO, Arc::clone(&self.context.clock));
                    if feed == "asterisk" {
                        follow::inbox::watch(engine, &inbox, limits, false, &stopped, &mut Silent).unwrap();
                    } else {
                        watch::watch(engine, &inbox, settle, limits, &stopped, clock, &mut Silent).unwrap();
                    }
                    std::mem::take(&mut engine.summary.files)
                })
            });
            during();
            stop.store(true, Ordering::SeqCst);
            watcher.join().unwrap()
        })
    }

    fn files(&self, table: &str) -> Vec<crate::lake::delta::DataFile> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let table = runtime.block_on(Table::open(&self.context.site_dir.join(table))).unwrap();
        table.files().unwrap()
    }

    /// Rows of the lake, and how many different callers stand in them.
    fn rows(&self) -> (usize, usize) {
        let mut callers = HashSet::new();
        let mut rows = 0;
        for batch in self.files("lake/cdr").iter().flat_map(|f| read_file(&f.path).unwrap()) {
            let column = batch.column_by_name("a_party").unwrap();
            let column = arrow::array::AsArray::as_fixed_size_binary(column.as_ref());
            rows += batch.num_rows();
            callers.extend(column.iter().map(|id| id.unwrap().to_vec()));
        }
        (rows, callers.len())
    }

    fn quarantined(&self) -> BTreeMap<String, usize> {
        let mut days: BTreeMap<String, usize> = BTreeMap::new();
        for file in self.files("vault/quarantine") {
            *days.entry(file.partition["arrival_day"].clone().unwrap()).or_default() += file.rows.unwrap();
        }
        days
    }
}

fn args(feed: &str) -> IngestArgs {
    IngestArgs {
        feed: feed.into(),
        files: Vec::new(),
        watch: false,
        until_idle: None,
        accept_late: None,
        forget_open: false,
        from_start: false,
    }
}

/// Rows of Asterisk's cdr_csv, each from another caller.
fn calls(range: std::ops::Range<u32>) -> String {
    let call = |n: u32| {
        format!(
            "\"\",\"0475{n:06}\",\"025551234\",\"ctx\",\"\"\"x\"\" <1>\",\"SIP/1\",\"SIP/2\",\"Dial\",\"SIP/2\",\"2026-11-21 \
             10:00:00\",\"2026-11-21 10:00:05\",\"2026-11-21 10:01:00\",60,55,\"ANSWERED\",\"DOCUMENTATION\"\n"
        )
    };
    range.map(call).collect()
}

fn fates(summary: &Summary) -> Vec<(Fate, u64)> {
    summary.files.iter().map(|f| (f.fate, f.records)).collect()
}

#[test]
fn a_growing_file_brings_what_is_new_through_its_rotation() {
    let (desk, _) = Desk::at(MIDNIGHT_MS);
    desk.append("m.csv", &calls(0..3));
    assert_eq!(fates(&desk.ingest("asterisk", &["m.csv"])), [(Fate::Loaded, 3)]);
    assert_eq!(fates(&desk.ingest("asterisk", &["m.csv"])), [(Fate::AlreadyLoaded, 0)]);
    let next = calls(3..5);
    desk.append("m.csv", &next[..next.len() - 20]);
    let summary = desk.ingest("asterisk", &["m.csv"]);
    assert_eq!(fates(&summary), [(Fate::Loaded, 1)]);
    assert!(summary.files[0].reason.as_ref().unwrap().starts_with("growing"));
    desk.append("m.csv", &next[next.len() - 20..]);
    fs::rename(desk.path("m.csv"), desk.path("m.csv.1")).unwrap();
    desk.append("m.csv", &calls(5..9));
    assert_eq!(fates(&desk.ingest("asterisk", &["m.csv"])), [(Fate::Loaded, 5)]);
    assert_eq!(desk.rows(), (9, 9));
    // The same content under every other name and wrapping.
    fs::copy(desk.path("m.csv"), desk.path("copy.csv")).unwrap();
    fs::copy(desk.path("m.csv.1"), desk.path("older.csv")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&fs::read(desk.path("m.csv.1")).unwrap()).unwrap();
    fs::write(desk.path("backup.gz"), packed.finish().unwrap()).unwrap();
    let again = desk.ingest("asterisk", &["copy.csv", "older.csv", "backup.gz", "m.csv.1", "m.csv"]);
    assert_eq!(fates(&again), [(Fate::AlreadyLoaded, 0); 5]);
    // A copy that holds more moves the position of the file it is a copy of.
    desk.append("copy.csv", &calls(9..10));
    assert_eq!(fates(&desk.ingest("asterisk", &["copy.csv"])), [(Fate::Loaded, 1)]);
    desk.append("m.csv", &calls(9..11));
    assert_eq!(fates(&desk.ingest("asterisk", &["m.csv", "older.csv"])), [(Fate::Loaded, 1), (Fate::AlreadyLoaded, 0)]);
    assert_eq!(desk.rows(), (11, 11));
}

#[test]
fn a_cube_that_is_switched_off_leaves_nothing_in_the_tally() {
    let (desk, _) = Desk::at(MIDNIGHT_MS);
    let mut site = desk.site();
    for (on, tally) in [(false, 0), (true, 1)] {
        site.cubes.traffic_hourly = on;
        desk.append("m.csv", &calls(0..3));
        let input = [Input::File(desk.path("m.csv"))];
        super::ingest(&args("asterisk"), &input, &site, &desk.context, &mut Silent).unwrap();
        assert_eq!(desk.files("lake/tally").len(), tally, "{on}");
    }
    assert_eq!(desk.rows().0, 6);
}

#[test]
fn each_growing_file_has_a_position_of_its_own() {
    let (desk, _) = Desk::at(MIDNIGHT_MS);
    desk.append("a.csv", &calls(0..2));
    desk.append("b.csv", &calls(10..13));
    assert_eq!(fates(&desk.ingest("asterisk", &["a.csv", "b.csv"])), [(Fate::Loaded, 2), (Fate::Loaded, 3)]);
    for n in 0..3 {
        desk.append("a.csv", &calls(20 + n..21 + n));
        assert_eq!(fates(&desk.ingest("asterisk", &["a.csv"])), [(Fate::Loaded, 1)]);
    }
    desk.append("b.csv", &calls(30..31));
    let inputs = ["b.csv", "a.csv", "gone.csv"];
    let summary = desk.ingest("asterisk", &inputs);
    assert_eq!(fates(&summary), [(Fate::Loaded, 1), (Fate::AlreadyLoaded, 0), (Fate::Refused, 0)]);
    assert_eq!(desk.rows(), (9, 9));
}

#[test]
fn a_file_that_was_replaced_stops_until_told_to_start_again() {
    let (desk, _) = Desk::at(MIDNIGHT_MS);
    desk.append("m.csv", &calls(0..3));
    desk.ingest("asterisk", &["m.csv"]);
    fs::write(desk.path("m.csv"), calls(7..9)).unwrap();
    let summary = desk.ingest("asterisk", &["m.csv"]);
    assert_eq!(fates(&summary), [(Fate::Refused, 0)]);
    assert!(summary.files[0].reason.as_ref().unwrap().starts_with("prefix_changed"));
    let forced = IngestArgs { from_start: true, ..args("asterisk") };
    let input = [Input::File(desk.path("m.csv"))];
    for expected in [(Fate::Loaded, 2), (Fate::AlreadyLoaded, 0)] {
        let summary = super::ingest(&forced, &input, &desk.site(), &desk.context, &mut Silent).unwrap();
        assert_eq!(fates(&summary), [expected]);
    }
    assert_eq!(desk.rows(), (5, 5));
}

#[test]
fn of_two_processes_on_a_growing_file_one_goes_on_after_the_other() {
    let (desk, _) = Desk::at(MIDNIGHT_MS);
    desk.append("m.csv", &calls(0..3));
    let input = [Input::File(desk.path("m.csv"))];
    let once = |engine: &mut Engine<'_>, limits| follow::once(engine, &input, limits, false, &mut Silent).unwrap();
    desk.with_engine("asterisk", |slow, limits| {
        desk.with_engine("asterisk", once);
        desk.append("m.csv", &calls(3..5));
        // It opened before the other one committed: its first three rows are dropped.
        once(slow, limits);
        assert_eq!((slow.summary.records_in, slow.summary.files[0].records), (2, 2));
    });
    assert_eq!(desk.rows(), (5, 5));
}

#[test]
fn an_inbox_is_followed_with_all_its_files() {
    let (desk, _) = Desk::at(MIDNIGHT_MS);
    let inbox = |name: &str| format!("site/inbox/asterisk/{name}");
    desk.append(&inbox("m.csv"), &calls(0..3));
    desk.append(&inbox("m.csv.1"), &calls(90..93));
    desk.append(&inbox("other-2026.csv"), &calls(80..83));
    let pause = || std::thread::sleep(Duration::from_millis(700));
    let reports = desk.watching("asterisk", || {
        pause();
        desk.append(&inbox("m.csv"), &calls(3..5));
        pause();
        fs::rename(desk.path(&inbox("m.csv.1")), desk.path(&inbox("m.csv.2"))).unwrap();
        fs::rename(desk.path(&inbox("m.csv")), desk.path(&inbox("m.csv.1"))).unwrap();
        desk.append(&inbox("m.csv"), &calls(5..6));
        desk.append(&inbox("second.csv"), &calls(40..44));
        std::thread::sleep(Duration::from_millis(3000));
        desk.append(&inbox("m.csv"), &calls(6..7));
        pause();
    });
    let by_name: HashMap<String, (Fate, u64)> = reports
        .iter()
        .map(|r| (Path::new(&r.path).file_name().unwrap().to_string_lossy().into_owned(), (r.fate, r.records)))
        .collect();
    assert_eq!(by_name["m.csv"], (Fate::Loaded, 7));
    assert_eq!(by_name["second.csv"], (Fate::Loaded, 4));
    assert_eq!(by_name["other-2026.csv"], (Fate::Waiting, 0), "it looks rotated, from a file that is not there");
    assert_eq!(desk.rows(), (11, 11));
    assert!(desk.watching("asterisk", || ()).iter().all(|r| r.fate != Fate::Loaded));
    assert_eq!(desk.rows(), (11, 11));
}

#[test]
fn a_batch_that_took_too_long_is_given_up() {
    let (desk, clock) = Desk::at(MIDNIGHT_MS);
    desk.append("v.csv", "start,a_number,b_number\n2026-11-21T10:00:00Z,+32475000001,+32475000002\n");
    desk.with_engine("generic-voice", |engine, limits| {
        let mut silent = Silent;
        let mut loader = Loader::new(engine, limits, &mut silent);
        loader.load(&Input::File(desk.path("v.csv"))).unwrap();
        clock.set_ms(MIDNIGHT_MS + 12 * 3_600_000 + 1);
        assert!(matches!(loader.commit_shared(true), Err(PipelineError::TooLong { .. })));
    });
    assert_eq!(desk.rows(), (0, 0));
    assert_eq!(fates(&desk.ingest("generic-voice", &["v.csv"])), [(Fate::Loaded, 1)]);
    assert_eq!(desk.rows(), (1, 1));
}

#[test]
fn what_a_broken_run_left_is_swept_by_the_next() {
    let (desk, clock) = Desk::at(MIDNIGHT_MS);
    desk.append("m.csv", &calls(0..3));
    desk.ingest("asterisk", &["m.csv"]);
    let orphans = ["lake/cdr/event_day=2026-11-21/x-1.parquet", "vault/evidence/event_day=2026-11-21/x-2.parquet"];
    orphans.iter().for_each(|o| fs::write(desk.path("site").join(o), "x").unwrap());
    let there = || orphans.map(|o| desk.path("site").join(o).exists());
    clock.set_ms(SystemClock.now_ms() + 23 * 3_600_000);
    desk.ingest("asterisk", &["m.csv"]);
    assert_eq!(there(), [true, true], "too young");
    clock.set_ms(SystemClock.now_ms() + 25 * 3_600_000);
    desk.ingest("asterisk", &["m.csv"]);
    assert_eq!(there(), [false, true], "the vault's tables are the vault's to sweep");
    crate::cli::sweep::run(&crate::cli::sweep::SweepArgs {}, &desk.context).unwrap();
    assert_eq!(there(), [false, false]);
    assert_eq!(desk.rows(), (3, 3));
    assert!(desk.files("vault/evidence").iter().all(|f| f.path.exists()));
}

#[test]
fn a_watcher_crosses_midnight_and_the_end_of_the_month() {
    let end_of_november = MIDNIGHT_MS + 8 * 86_400_000 + 86_399_000;
    let (desk, clock) = Desk::at(end_of_november);
    let rows = |n: u32, starts: &[&str]| -> String {
        let row = |(i, start): (usize, &&str)| format!("{start},+32475{:06},+32475999999\n", n * 10 + i as u32);
        std::iter::once("start,a_number,b_number\n".to_owned()).chain(starts.iter().enumerate().map(row)).collect()
    };
    let deliver = |n: u32, starts: &[&str]| {
        fs::write(desk.path("new"), rows(n, starts)).unwrap();
        fs::rename(desk.path("new"), desk.path(&format!("site/inbox/generic-voice/{n}.csv"))).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
    };
    let january = 1_798_761_600_000;
    let reports = desk.watching("generic-voice", || {
        deliver(1, &["2026-11-30T23:00:00Z", "never"]);
        clock.set_ms(end_of_november + 2000);
        deliver(2, &["2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z", "never"]);
        // January begins and nobody has made its keys: only its records wait, in quarantine.
        clock.set_ms(january + 3_600_000);
        deliver(3, &["2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"]);
        let passphrases = desk.context.passphrases().unwrap();
        assert!(epochs::ensure(&desk.context.site_dir, passphrases, &*clock).unwrap().handed_over);
        deliver(4, &["2027-01-01T00:10:00Z", "never"]);
    });
    assert_eq!(reports.iter().map(|r| r.fate).collect::<Vec<_>>(), [Fate::Loaded; 4]);
    let days: BTreeMap<String, usize> = [
        ("2026-11-30", 1),
        ("2026-12-01", 1),
        // Sealed under the last key there was; December's keys end with December.
        ("2026-12-31", 1),
        ("2027-01-01", 1),
    ]
    .map(|(day, n)| (day.to_owned(), n))
    .into();
    assert_eq!(desk.quarantined(), days);
    assert_eq!(desk.rows(), (5, 5));
    let loaded: HashSet<String> =
        desk.files("lake/cdr").iter().map(|f| f.partition["event_day"].clone().unwrap()).collect();
    assert_eq!(loaded, ["2026-11-30", "2026-12-01", "2026-12-31", "2027-01-01"].map(str::to_owned).into());
}

#[test]
fn a_restarted_watcher_reads_only_what_changed() {
    let desk = Desk::new(Arc::new(SystemClock));
    let day = Day::of_ms(SystemClock.now_ms() - 86_400_000).to_string();
    let inbox = desk.path("site/inbox/generic-voice");
    let row = |n: u32| format!("start,a_number,b_number\n{day}T00:00:00Z,+32475{n:06},+32475999999\n");
    for n in 0..3 {
        fs::write(inbox.join(format!("{n}.csv")), row(n)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1100));
    let look = || {
        let mut found: Vec<(String, Fate, bool)> = desk
            .watching("generic-voice", || std::thread::sleep(Duration::from_millis(2000)))
            .into_iter()
            .map(|r| (r.path[inbox.to_str().unwrap().len() + 1..].to_owned(), r.fate, r.bytes > 0))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.into_iter().map(|f| (f.1, f.2)).collect::<Vec<_>>()
    };
    let (loaded, unread, read) = ((Fate::Loaded, true), (Fate::AlreadyLoaded, false), (Fate::AlreadyLoaded, true));
    assert_eq!(look(), [loaded; 3]);
    assert_eq!(look(), [unread; 3], "recognised without reading");
    // Other content of the same size, with the old time of change put back.
    let changed = inbox.join("1.csv");
    let modified = fs::metadata(&changed).unwrap().modified().unwrap();
    fs::write(&changed, row(7)).unwrap();
    fs::File::options().write(true).open(&changed).unwrap().set_modified(modified).unwrap();
    fs::rename(inbox.join("2.csv"), inbox.join("renamed.csv")).unwrap();
    assert_eq!(look(), [unread, loaded, read]);
    let memory = desk.path("site/ingest/seen/generic-voice.json");
    assert!(!fs::read_to_string(&memory).unwrap().contains(".csv"));
    fs::write(&memory, "{ damaged").unwrap();
    assert_eq!(look(), [read; 3]);
    assert_eq!(desk.rows(), (4, 4));
}
