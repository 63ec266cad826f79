//! Many commits on one table, compacted, cleaned and swept beside it: files and logs do not grow with
//! their number. Two figures still do, and are printed: opening a ledger lists every manifest, and
//! resident memory creeps; the bound on it is loose, and would not tell.

use arrow::array::{ArrayRef, BinaryArray, FixedSizeBinaryArray, Int32Array, StringArray};
use arrow::record_batch::RecordBatch;
use cdrveil::clock::{Clock, SystemClock};
use cdrveil::lake::batches::{BatchLog, Counts, FORMAT, Manifest, Put, Source};
use cdrveil::lake::compact::{self, Compacted, Limits};
use cdrveil::lake::contract::Contract;
use cdrveil::lake::delta::{AddFile, Appended, Table};
use cdrveil::lake::durable::random_name;
use cdrveil::lake::ledger::Ledger;
use cdrveil::lake::parquet::write_file;
use cdrveil::lake::sweep::{Swept, sweep};
use cdrveil::lake::tables::{self, vault_layouts};
use cdrveil::record::time::Day;
use rand::RngCore;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of one commit.
const ROWS: usize = 20;
/// Commits between two passes of upkeep, in a process of its own as far as the table is concerned.
const UPKEEP_EVERY: u64 = 100;

#[test]
fn three_hundred_commits_leave_little_behind() {
    soak(300, 60, Duration::ZERO);
}

#[test]
#[ignore = "slow: tests/run --slow"]
fn twenty_thousand_commits_slow() {
    soak(20_000, 2_000, Duration::from_secs(10));
}

/// What was measured at the end of one stretch of commits.
#[derive(Debug)]
#[expect(dead_code, reason = "all of it is printed, and some of it judged")]
struct Measured {
    commits: u64,
    commit_ms: f64,
    open_ms: f64,
    ledger_ms: f64,
    log_files: usize,
    log_bytes: u64,
    /// In the fullest day.
    live_per_day: usize,
    /// Of all days, with what waits to be swept.
    files_on_disk: usize,
    resident_mib: u64,
}

/// `per_day` commits go into one day; what was replaced, and old log entries, are kept for `keep`.
#[expect(clippy::print_stdout, reason = "timings are for people")]
fn soak(commits: u64, per_day: u64, keep: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut soak = runtime.block_on(Soak::new(folder.path(), keep));
    let mut measured: Vec<Measured> = Vec::new();
    let mut latencies = Vec::new();
    for n in 1..=commits {
        let day = Day(20_000 + (n / per_day) as i32);
        let file = soak.file(day);
        soak.manifest(n, &file);
        let begun = Instant::now();
        let appended = runtime.block_on(soak.table.append("f/p", n as i64, &[file])).unwrap();
        latencies.push(begun.elapsed());
        assert_eq!(appended, Appended::Now);
        if n % UPKEEP_EVERY == 0 {
            runtime.block_on(soak.upkeep(day));
        }
        if n % (commits / 20).max(UPKEEP_EVERY) == 0 {
            latencies.sort_unstable();
            let median = latencies[latencies.len() / 2];
            latencies.clear();
            let now = runtime.block_on(soak.measure(n, median));
            println!("{now:?}");
            measured.push(now);
        }
    }
    println!("{:?} {:?}", soak.compacted, soak.swept);
    let table = runtime.block_on(Table::open(&soak.dir)).unwrap();
    let rows: usize = table.files().unwrap().iter().map(|f| f.rows.unwrap()).sum();
    assert_eq!(rows, commits as usize * ROWS, "every row is there once");
    assert_eq!(runtime.block_on(table.mark("f/p")).unwrap(), Some(commits as i64));
    nothing_grows(&measured);
}

/// Sizes and counts only: how long things take is for people to read.
fn nothing_grows(measured: &[Measured]) {
    let last = measured.last().unwrap();
    // Days behind the present one are whole files; the present one holds what two sizes may hold.
    for m in measured {
        assert!(m.live_per_day <= 3 * 16 + UPKEEP_EVERY as usize, "{m:?}");
    }
    if measured.len() < 20 {
        assert!(last.log_files < 310, "{last:?}");
        return;
    }
    let early = measured[1..8].iter();
    let most = |of: &dyn Fn(&Measured) -> u64| early.clone().map(of).max().unwrap();
    for (what, of, slack) in [
        ("log files", &(|m: &Measured| m.log_files as u64) as &dyn Fn(&Measured) -> u64, 500),
        ("log bytes", &|m| m.log_bytes, 1 << 20),
        ("resident memory", &|m| m.resident_mib, 64),
        ("files on disk", &|m| m.files_on_disk as u64, 1000),
    ] {
        assert!(of(last) <= most(of) * 3 / 2 + slack, "{what} grow: {measured:#?}");
    }
}

struct Soak {
    lake: PathBuf,
    dir: PathBuf,
    table: Table,
    log: BatchLog,
    limits: Limits,
    compacted: Compacted,
    swept: Swept,
}

impl Soak {
    async fn new(folder: &Path, keep: Duration) -> Soak {
        let lake = folder.join("lake");
        let dir = lake.join("evidence");
        let mut table = Table::open_or_create(&dir, &tables::evidence()).await.unwrap();
        // As in production, the log tells of removed files for longer than they are kept.
        let limits = Limits { keep_log: keep, keep_removed: keep * 3, target_bytes: 8 << 20, ..Limits::default() };
        table.keep(limits.keep_log, limits.keep_removed).await.unwrap();
        let log = BatchLog::new(&lake, "f", "p");
        Soak { lake, dir, table, log, limits, compacted: Compacted::default(), swept: Swept::default() }
    }

    fn file(&self, day: Day) -> AddFile {
        let contract = tables::evidence();
        write_file(
            &self.dir,
            &format!("event_day={day}/{}.parquet", random_name()),
            BTreeMap::from([("event_day".to_owned(), day.to_string())]),
            contract.arrow(),
            &[evidence(&contract, ROWS)],
        )
        .unwrap()
    }

    fn manifest(&self, number: u64, file: &AddFile) {
        let manifest = Manifest {
            format: FORMAT,
            feed: "f".into(),
            partition: "p".into(),
            number,
            batch: format!("{number:032x}"),
            committed_ms: SystemClock.now_ms(),
            program: String::new(),
            mapping: String::new(),
            mapping_version: 1,
            mapping_digest: String::new(),
            profile_version: 1,
            profile_digest: String::new(),
            sources: vec![Source { file: Some(format!("{number:064x}")), offset: 0, bytes: 1, records: 0 }],
            counts: Counts::default(),
            epochs: Vec::new(),
            watermark_ms: Some(number as i64),
            finished: false,
            last_sequence: None,
            adds: BTreeMap::from([("evidence".to_owned(), vec![file.clone()])]),
            open: Vec::new(),
            append: Vec::new(),
            stream: None,
            headers: Vec::new(),
            replay: None,
        };
        assert!(matches!(self.log.put(&manifest).unwrap(), Put::Done));
    }

    /// What `cdrveil-vault compact --once` does, with a table of its own.
    async fn upkeep(&mut self, today: Day) {
        let mut table = Table::open(&self.dir).await.unwrap();
        let [layout, ..] = vault_layouts();
        let closed = |value: &str| value.parse::<Day>().is_ok_and(|day| day.0 < today.0);
        let done = compact::table(&mut table, &layout, &self.limits, &closed, &SystemClock).await.unwrap();
        self.compacted.add(&done);
        table.refresh().await.unwrap();
        let before_ms = SystemClock.now_ms() - self.limits.keep_log.as_millis() as i64;
        let swept = sweep(&self.lake, &[("evidence", &table)], before_ms).await.unwrap();
        self.swept.files += swept.files;
        self.swept.bytes += swept.bytes;
    }

    async fn measure(&self, commits: u64, commit: Duration) -> Measured {
        let begun = Instant::now();
        let table = Table::open(&self.dir).await.unwrap();
        let open = begun.elapsed();
        let begun = Instant::now();
        let (ledger, newest) = Ledger::open(&self.log).unwrap();
        let ledger_open = begun.elapsed();
        assert!(ledger.knows(&format!("{commits:064x}")) && newest.unwrap().number == commits);
        let log: Vec<u64> = sizes(&self.dir.join("_delta_log"));
        let mut days: BTreeMap<String, usize> = BTreeMap::new();
        for file in table.files().unwrap() {
            *days.entry(file.partition["event_day"].clone().unwrap()).or_default() += 1;
        }
        let folders = fs::read_dir(&self.dir).unwrap().map(|e| e.unwrap().path());
        let on_disk = folders.filter(|p| p.to_str().unwrap().contains("event_day=")).map(|p| sizes(&p).len());
        Measured {
            commits,
            commit_ms: ms(commit),
            open_ms: ms(open),
            ledger_ms: ms(ledger_open),
            log_files: log.len(),
            log_bytes: log.iter().sum(),
            live_per_day: days.values().copied().max().unwrap_or(0),
            files_on_disk: on_disk.sum(),
            resident_mib: resident_mib(),
        }
    }
}

/// Sealed rows of one block, as far as their sizes go.
fn evidence(contract: &Contract, rows: usize) -> RecordBatch {
    let random = |n: usize| {
        let mut bytes = vec![0; n];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    };
    let (block, header) = (random(16), random(1168));
    let columns = contract.columns.iter().map(|c| -> ArrayRef {
        let values = |n: usize| (0..rows).map(move |_| random(n));
        match c.name {
            "block" => Arc::new(BinaryArray::from_iter_values((0..rows).map(|_| &block))),
            "header" => Arc::new(BinaryArray::from_iter_values((0..rows).map(|_| &header))),
            "row" => Arc::new(Int32Array::from_iter_values(0..rows as i32)),
            "sealed" => Arc::new(BinaryArray::from_iter_values(values(90))),
            "kind" => Arc::new(StringArray::from_iter_values((0..rows).map(|_| "e164"))),
            _ => Arc::new(FixedSizeBinaryArray::try_from_iter(values(16)).unwrap()),
        }
    });
    RecordBatch::try_new(contract.arrow(), columns.collect()).unwrap()
}

fn sizes(folder: &Path) -> Vec<u64> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().metadata().map_or(0, |m| m.len())).collect()
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn ms(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e4).round() / 10.0
}

/// How fast identities are deduplicated: three million rows, two of three duplicates, in files that
/// are packed first and merged then.
#[test]
#[ignore = "slow: tests/run --slow"]
#[expect(clippy::print_stdout, reason = "timings are for people")]
fn identities_are_deduplicated_fast_slow() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("identities");
    let [_, layout, _] = vault_layouts();
    let mut table = runtime.block_on(Table::open_or_create(&dir, &layout.contract)).unwrap();
    const FILES: usize = 60;
    const EACH: usize = 50_000;
    for n in 0..FILES {
        let partition = BTreeMap::from([("epoch".to_owned(), "2026-11".to_owned())]);
        let mut batch = evidence(&layout.contract, EACH);
        let of = |i: usize| (((n * EACH + i) % (FILES * EACH / 3)) as u128 * 0x9e37_79b9_7f4a_7c15_u128).to_le_bytes();
        let mut ids: Vec<[u8; 16]> = (0..EACH).map(of).collect();
        ids.sort_unstable();
        let mut columns = batch.columns().to_vec();
        columns[0] = Arc::new(FixedSizeBinaryArray::try_from_iter(ids.iter()).unwrap());
        batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let path = format!("epoch=2026-11/{}.parquet", random_name());
        let file = write_file(&dir, &path, partition, layout.contract.arrow(), &[batch]).unwrap();
        runtime.block_on(table.append("f/p", n as i64 + 1, &[file])).unwrap();
    }
    runtime.block_on(table.refresh()).unwrap();
    let limits = Limits { target_bytes: 64 << 20, ..Limits::default() };
    let begun = Instant::now();
    let done = runtime.block_on(compact::table(&mut table, &layout, &limits, &|_| true, &SystemClock)).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    runtime.block_on(table.refresh()).unwrap();
    let left: usize = table.files().unwrap().iter().map(|f| f.rows.unwrap()).sum();
    let rows = FILES * EACH;
    println!(
        "{rows} rows in {seconds:.2} s: {:.0} rows/s, resident {} MiB; {done:?}",
        rows as f64 / seconds,
        resident_mib()
    );
    assert_eq!(left, rows / 3);
}
