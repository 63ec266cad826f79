use super::*;
use crate::clock::MockClock;
use crate::lake::batches::{BatchLog, Counts, FORMAT, Manifest};
use crate::lake::compact::Limits;
use crate::publish::store_path;
use crate::record::clear::{ABSENT_U32, ABSENT_U64, Answered, Clear, Direction, Service};
use crate::record::identifier::Country;
use crate::record::plmn::Plmn;
use crate::record::veiled::{Naming, Veils};
use crate::tally::{self, Partial};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};
use std::ops::Range;

const HOUR_MS: i64 = 3_600_000;
/// 2026-11-20T00:00:00Z
const DAY: Day = Day(20_777);

/// A lake that batches are put into, as ingest does.
struct Site {
    _folder: tempfile::TempDir,
    steward: Steward,
    clock: MockClock,
    number: u64,
}

impl Site {
    fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let mut cube = Cube::traffic_hourly();
        cube.release_after_hours = 2;
        let steward = Steward {
            lake: folder.path().join("lake"),
            store: folder.path().join("release.sqlite"),
            cube,
            rules: Rules::new(20),
            idle_after_hours: 24,
        };
        Site { _folder: folder, steward, clock: MockClock::at_ms(DAY.start_ms() + 30 * HOUR_MS), number: 0 }
    }

    /// One batch: calls of 60 s in hours of `DAY`, one per party, each to one of as many others.
    async fn deliver(&mut self, calls: &[(i64, Range<u64>)], finished: bool) {
        self.number += 1;
        let watermark_ms = calls.iter().map(|c| DAY.start_ms() + c.0 * HOUR_MS).max();
        self.manifest(watermark_ms, finished);
        self.tally(calls).await;
    }

    fn manifest(&self, watermark_ms: Option<i64>, finished: bool) {
        BatchLog::new(&self.steward.lake, "f", "0").put(&self.of(watermark_ms, finished)).unwrap();
    }

    fn of(&self, watermark_ms: Option<i64>, finished: bool) -> Manifest {
        Manifest {
            format: FORMAT,
            feed: "f".into(),
            partition: "0".into(),
            number: self.number,
            batch: format!("{:032x}", self.number),
            committed_ms: self.clock.now_ms(),
            program: String::new(),
            mapping: String::new(),
            mapping_version: 1,
            mapping_digest: String::new(),
            profile_version: 1,
            profile_digest: String::new(),
            sources: vec![],
            counts: Counts::default(),
            epochs: vec![],
            watermark_ms,
            finished,
            last_sequence: None,
            adds: BTreeMap::new(),
            open: vec![],
            append: Vec::new(),
            stream: None,
            headers: Vec::new(),
            replay: None,
        }
    }

    async fn tally(&self, calls: &[(i64, Range<u64>)]) {
        let dir = self.steward.lake.join("tally");
        let mut table = Table::open_or_create(&dir, &compaction::layout().contract).await.unwrap();
        let mut partial = Partial::new(&self.steward.cube);
        let (clear, veils) = block(calls);
        partial.add(&clear, &veils);
        let files = partial.into_batches().into_iter().map(|(day, batch)| {
            let partition = BTreeMap::from([("event_day".to_owned(), day.to_string())]);
            let relative = format!("event_day={day}/{}.parquet", durable::random_name());
            parquet::write_file(&dir, &relative, partition, tally::schema(), &[batch]).unwrap()
        });
        let files: Vec<_> = files.collect();
        table.append("f/0", self.number as i64, &files).await.unwrap();
    }

    async fn pass(&self) -> Report {
        pass(&self.steward, &self.clock).await.unwrap()
    }

    /// Rows of the store, every value as text.
    async fn ask(&self, audience: Audience, sql: &'static str) -> Vec<Vec<Option<String>>> {
        let options = SqliteConnectOptions::new().filename(store_path(&self.steward.store, audience));
        let mut connection = options.connect().await.unwrap();
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows.iter().map(|r| (0..r.len()).map(|i| r.try_get_unchecked(i).unwrap()).collect()).collect()
    }

    async fn number(&self, audience: Audience, sql: &'static str) -> i64 {
        self.ask(audience, sql).await[0][0].as_ref().map_or(0, |n| n.parse().unwrap())
    }
}

fn block(calls: &[(i64, Range<u64>)]) -> (Clear, Veils) {
    let (mut clear, mut veils) = (Clear::default(), Veils::default());
    for (hour, parties) in calls {
        for p in parties.clone() {
            clear.start_ms.push(DAY.start_ms() + hour * HOUR_MS + 5);
            clear.service.push(Service::Voice);
            clear.direction.push(Direction::Originating);
            clear.a_country.push(Country(*b"BE"));
            clear.b_country.push(Country::OTHER);
            clear.network.push(Plmn::new(206, 1, 2).unwrap());
            clear.home_network.push(Plmn::NONE);
            clear.currency.push(*b"EUR");
            clear.duration_s.push(if p % 7 == 6 { ABSENT_U32 } else { 60 });
            clear.bytes_up.push(ABSENT_U64);
            clear.bytes_down.push(ABSENT_U64);
            clear.charge_micro.push(100_000);
            clear.answered.push(Answered::Yes);
            clear.sensitive.push(false);
            veils.a_token.push(Naming::Number.token((p + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            veils.b_token.push(Naming::Number.token((p + 1).wrapping_mul(0xd6e8_feb8_6659_fd93)));
        }
    }
    (clear, veils)
}

const RECORDS: &str = "SELECT sum(records) FROM traffic_hourly";

#[tokio::test]
async fn windows_wait_for_the_watermark_and_are_released_once() {
    let mut site = Site::new();
    assert!(site.pass().await.released.is_empty(), "nothing there yet");
    site.deliver(&[(8, 0..60), (9, 0..30), (10, 0..19), (14, 0..40)], false).await;
    let report = site.pass().await;
    // watermark 14:00, two hours after the end: windows up to 11:00 are complete
    let hours: Vec<_> = report.released.iter().map(|w| (w.hour - DAY.0 * 24, w.cells)).collect();
    assert_eq!(hours, [(8, [1, 1]), (9, [1, 0]), (10, [0, 0])]);
    assert_eq!(report.released[2].withheld[0].get(&Withheld::FewA), Some(&1));
    assert_eq!(report.open.len(), 1);
    assert!(matches!(&report.open[0].why, Open::Waiting { held_by, .. } if held_by == "f/0"));
    assert_eq!(site.number(Audience::Internal, RECORDS).await, 90);
    assert_eq!(site.number(Audience::External, RECORDS).await, 60);

    let again = site.pass().await;
    assert_eq!((again.released.len(), again.published), (0, 0));
    site.deliver(&[], true).await;
    assert_eq!(site.pass().await.released.len(), 1, "a finished run counts as its clock");
    // what is settled is not read again: its files may even be gone
    let day = site.steward.lake.join(format!("tally/event_day={DAY}"));
    for file in std::fs::read_dir(day).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    assert_eq!(site.pass().await.released.len(), 0);
    assert_eq!(site.number(Audience::Internal, RECORDS).await, 130);
}

#[tokio::test]
async fn one_pass_releases_every_day_that_is_complete() {
    let mut site = Site::new();
    site.deliver(&[(-30, 0..40), (-5, 0..30), (3, 0..50)], true).await;
    assert_eq!(site.pass().await.released.len(), 3, "three days, three commits");
    assert_eq!(site.number(Audience::Internal, RECORDS).await, 120);
    assert!(site.pass().await.released.is_empty());
}

#[tokio::test]
async fn a_batch_that_the_tally_lacks_holds_everything() {
    let mut site = Site::new();
    site.deliver(&[(8, 0..60)], true).await;
    site.number += 1;
    site.manifest(None, true);
    let report = site.pass().await;
    assert_eq!((report.released.len(), &report.open[0].why), (0, &Open::Trailing { feed: "f/0".into() }));
    site.tally(&[(8, 100..110)]).await;
    assert_eq!(site.pass().await.released.len(), 1);
    assert_eq!(site.number(Audience::Internal, RECORDS).await, 70, "with its last batch");
}

/// A replay of old records, long ago or just now, says nothing about how far the feed is; but no
/// window is judged without the records that it brought.
#[tokio::test]
async fn a_replay_holds_nothing_up_once_it_is_counted() {
    let mut site = Site::new();
    site.deliver(&[(8, 0..60), (14, 0..40)], false).await;
    let old = Some(DAY.start_ms() - 60 * 24 * HOUR_MS);
    let replay = Manifest { partition: REPLAY.into(), committed_ms: DAY.start_ms(), ..site.of(old, true) };
    BatchLog::new(&site.steward.lake, "f", REPLAY).put(&replay).unwrap();
    let report = site.pass().await;
    assert_eq!((report.released.len(), &report.open[0].why), (0, &Open::Trailing { feed: "f/replay".into() }));
    let mut tally = Table::open(&site.steward.lake.join("tally")).await.unwrap();
    tally.append("f/replay", 1, &[]).await.unwrap();
    let report = site.pass().await;
    assert_eq!(report.released.len(), 1);
    assert!(matches!(&report.open[0].why, Open::Waiting { held_by, .. } if held_by == "f/0"));
}

#[tokio::test]
async fn late_records_make_a_vintage_only_when_they_pass_alone() {
    let mut site = Site::new();
    site.deliver(&[(8, 0..60)], true).await;
    site.pass().await;
    site.deliver(&[(8, 100..115)], true).await;
    let report = site.pass().await;
    assert!(report.released.is_empty());
    assert_eq!((report.open.len(), report.open[0].cells, &report.open[0].why), (1, 1, &Open::LateAndFew));
    assert_eq!(site.number(Audience::Internal, RECORDS).await, 60);
    site.deliver(&[(8, 115..125)], true).await;
    let report = site.pass().await;
    assert_eq!((report.released.len(), report.released[0].vintage, report.released[0].cells), (1, 2, [1, 0]));
    assert_eq!(site.number(Audience::Internal, RECORDS).await, 85);
    assert_eq!(site.number(Audience::External, RECORDS).await, 60, "25 more are too few outside");
    let vintages =
        site.ask(Audience::Internal, "SELECT vintage, records FROM traffic_hourly_vintages ORDER BY 1").await;
    let pair = |a: &str, b: &str| vec![Some(a.to_owned()), Some(b.to_owned())];
    assert_eq!(vintages, [pair("1", "60"), pair("2", "85")], "nothing is rewritten");
    site.deliver(&[(8, 200..260)], true).await;
    assert_eq!(site.pass().await.released[0].cells, [1, 1]);
    assert_eq!(site.number(Audience::External, RECORDS).await, 145);
}

/// The store holds what the Delta table says, row for row, and is made anew from it.
#[tokio::test]
async fn the_store_is_a_copy_of_the_table() {
    let mut site = Site::new();
    site.deliver(&[(8, 0..60), (9, 0..25), (10, 0..7)], true).await;
    site.pass().await;
    site.deliver(&[(8, 300..360)], true).await;
    site.pass().await;
    let sql = "SELECT * FROM traffic_hourly_vintages ORDER BY hour, vintage";
    for audience in Audience::ALL {
        let before = (
            site.ask(audience, sql).await,
            site.ask(audience, "SELECT * FROM traffic_hourly_windows ORDER BY 1, 2").await,
        );
        let frozen = truth(&site.steward, audience).await;
        assert_eq!(before.1.len(), frozen.len());
        let mut cells: Vec<_> = frozen.iter().flat_map(|f| f.window.cells.iter().map(move |c| (f, c))).collect();
        cells.sort_by_key(|(f, _)| (f.window.hour, f.window.vintage));
        assert_eq!(before.0.len(), cells.len());
        for (row, (frozen, cell)) in before.0.iter().zip(cells) {
            let text = |n: i64| Some(n.to_string());
            assert_eq!(row[0], Some(publish::store::hour_text(frozen.window.hour)));
            assert_eq!((&row[1], row[5].as_deref()), (&text(frozen.window.vintage.into()), Some("other-intl")));
            assert_eq!((&row[8], &row[13]), (&text(cell.records), &text(cell.a_parties)));
            assert_eq!(row[10], cell.sums[0].and_then(text));
            assert_eq!(row[12].as_ref().map(|r| r.parse().unwrap()), cell.sums[2].map(|micro| micro as f64 / 1e6));
        }
        std::fs::remove_file(store_path(&site.steward.store, audience)).unwrap();
        assert!(site.pass().await.published > 0);
        let after = (
            site.ask(audience, sql).await,
            site.ask(audience, "SELECT * FROM traffic_hourly_windows ORDER BY 1, 2").await,
        );
        assert_eq!(before, after);
    }
}

async fn truth(steward: &Steward, audience: Audience) -> Vec<Frozen> {
    let dir = steward.lake.join("release/traffic_hourly");
    let table = Table::open(&dir).await.unwrap();
    let mut frozen = Vec::new();
    for file in table.files().unwrap() {
        if file.partition["audience"].as_deref() == Some(audience.name()) {
            frozen.extend(table::windows(&parquet::read_file(&file.path).unwrap(), audience).unwrap());
        }
    }
    frozen
}

/// Cut off between any two steps: files written but not committed; committed but not published;
/// published without the mark that says so.
#[tokio::test]
async fn a_pass_cut_off_anywhere_comes_out_the_same() {
    let mut site = Site::new();
    site.deliver(&[(8, 0..60), (9, 0..25)], true).await;
    let dir = site.steward.lake.join("release/traffic_hourly");
    let mut table = Table::open_or_create(&dir, &table::contract()).await.unwrap();
    // a file that no commit names
    write(&dir, Audience::Internal, DAY, &[], None).unwrap();
    // committed, and then nothing: the stores do not exist yet
    let tally = Table::open(&site.steward.lake.join("tally")).await.unwrap();
    let done = Watermark::Complete { until_ms: i64::MAX, held_by: String::new() };
    let mut report = Report::default();
    let files = tally.files().unwrap();
    release_day(&site.steward, &mut table, DAY, &files, &done, &mut report).await.unwrap();
    assert_eq!(report.released.len(), 2);
    let again = site.pass().await;
    assert_eq!((again.released.len(), again.published), (0, 4), "published, not released again");
    assert_eq!(site.number(Audience::Internal, RECORDS).await, 85);
    // rows there, mark lost: the unique keys keep each row once
    let options = SqliteConnectOptions::new().filename(&site.steward.store);
    let mut connection = options.connect().await.unwrap();
    sqlx::query("DELETE FROM release_files").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    site.pass().await;
    assert_eq!(site.number(Audience::Internal, "SELECT count(*) FROM traffic_hourly_vintages").await, 2);
    assert_eq!(site.number(Audience::Internal, "SELECT count(*) FROM traffic_hourly_windows").await, 2);
}

#[tokio::test]
async fn of_two_stewards_one_releases() {
    let mut site = Site::new();
    site.deliver(&[(8, 0..60), (9, 0..25)], true).await;
    let (a, b) = tokio::join!(pass(&site.steward, &site.clock), pass(&site.steward, &site.clock));
    let released: usize = [&a, &b].iter().filter_map(|r| r.as_ref().ok()).map(|r| r.released.len()).sum();
    assert_eq!(released, 2);
    let other = |r: &Result<Report, StewardError>| r.is_ok() || matches!(r, Err(StewardError::Another { .. }));
    assert!(other(&a) && other(&b));
    site.pass().await;
    assert_eq!(site.number(Audience::Internal, RECORDS).await, 85);
}

impl Site {
    /// Files of the tally, after a compaction that takes two of about a size for enough.
    async fn compact(&self) -> usize {
        let limits = Limits { small_files: 2, ..Limits::default() };
        compaction::pass(&self.steward, &limits, 0, &self.clock).await.unwrap();
        let tally = Table::open(&self.steward.lake.join("tally")).await.unwrap();
        tally.files().unwrap().len()
    }
}

/// Two sites are told the same; one compacts after every step. Nobody could tell which.
#[tokio::test]
async fn compaction_changes_nothing_of_what_is_released() {
    let (mut plain, mut compacted) = (Site::new(), Site::new());
    let steps: [(&[(i64, Range<u64>)], bool, usize); 8] = [
        (&[(3, 0..60), (4, 0..30)], false, 1),
        (&[(4, 20..70), (5, 0..19)], false, 1),
        // Hour 3 is released now; late records for it, too few by themselves, must stay apart.
        (&[(7, 0..40)], false, 1),
        (&[(3, 100..110), (8, 0..25)], false, 2),
        (&[(9, 0..50)], false, 2),
        // With these they are enough: the second vintage of hour 3.
        (&[(3, 110..130), (10, 0..50)], false, 2),
        // What two vintages of an hour took in stays apart for good, and what none did, again.
        (&[(11, 0..50)], true, 2),
        (&[(3, 200..203)], true, 3),
    ];
    for (n, (calls, finished, files)) in steps.into_iter().enumerate() {
        for site in [&mut plain, &mut compacted] {
            site.deliver(calls, finished).await;
        }
        compacted.compact().await;
        let (a, b) = (plain.pass().await, compacted.pass().await);
        let told = |r: &Report| {
            let released: Vec<_> =
                r.released.iter().map(|w| (w.hour, w.vintage, w.cells, w.withheld.clone())).collect();
            let open: Vec<_> = r.open.iter().map(|o| (o.hour, o.cells, o.why.clone())).collect();
            (released, open, r.published)
        };
        assert_eq!(told(&a), told(&b), "step {n}");
        assert_eq!(compacted.compact().await, files, "step {n}");
        assert!(compacted.pass().await.released.is_empty(), "step {n}: compaction makes no vintage");
        for audience in Audience::ALL {
            for table in ["traffic_hourly_vintages", "traffic_hourly_windows"] {
                let sql = if table.ends_with("vintages") {
                    "SELECT * FROM traffic_hourly_vintages ORDER BY hour, vintage"
                } else {
                    "SELECT * FROM traffic_hourly_windows ORDER BY hour, vintage"
                };
                assert_eq!(plain.ask(audience, sql).await, compacted.ask(audience, sql).await, "step {n} {table}");
            }
        }
    }
    assert_eq!(Table::open(&plain.steward.lake.join("tally")).await.unwrap().files().unwrap().len(), 8);
}

/// A release that read the tally before files were put together cannot commit what it judged.
#[tokio::test]
async fn a_release_at_work_is_refused_by_a_compaction() {
    let mut site = Site::new();
    site.deliver(&[(8, 0..60)], false).await;
    site.deliver(&[(8, 60..90), (12, 0..40)], false).await;
    site.pass().await;
    site.deliver(&[(13, 0..40)], false).await;
    site.deliver(&[(13, 50..90)], false).await;
    let dir = site.steward.lake.join("release").join(&site.steward.cube.name);
    let mut at_work = Table::open(&dir).await.unwrap();
    let number = at_work.mark(APP).await.unwrap().unwrap() + 1;
    assert_eq!(site.compact().await, 1);
    assert_eq!(at_work.append(APP, number, &[]).await.unwrap(), Appended::AlreadyThere);
}

/// A compacted file that does not say what it was made of cannot be judged: nothing is released.
#[tokio::test]
async fn a_compacted_file_without_its_inputs_stops_the_release() {
    let mut site = Site::new();
    site.deliver(&[(8, 0..60)], true).await;
    let dir = site.steward.lake.join("tally");
    let mut table = Table::open(&dir).await.unwrap();
    let files = table.files().unwrap();
    let bare = crate::lake::compact::rewrite(&dir, &compaction::layout(), &[&files[0]], Vec::new()).unwrap();
    crate::lake::compact::put(&mut table, bare, &Limits::default(), 0, &MockClock::at_ms(0)).await.unwrap();
    assert!(matches!(pass(&site.steward, &site.clock).await, Err(StewardError::Lake(LakeError::Table { .. }))));
}

/// A vintage also names files without records of its hour. That must not be taken for theirs.
#[tokio::test]
async fn a_file_is_known_by_the_hours_it_has_records_of() {
    let mut site = Site::new();
    site.deliver(&[(3, 0..60)], false).await;
    site.deliver(&[(9, 0..60)], false).await;
    site.pass().await;
    site.deliver(&[(10, 0..60)], false).await;
    let dir = site.steward.lake.join("tally");
    let mut table = Table::open(&dir).await.unwrap();
    // A compaction has read the tally and moved the mark, and is about to commit, ...
    let files = table.files().unwrap();
    let members: Vec<(history::TallyFile<'_>, history::Hours)> = files
        .iter()
        .map(|f| {
            let hour =
                contract::cells(&parquet::read_file(&f.path).unwrap()[0], &site.steward.cube.name).unwrap()[0].0.hour;
            let mut hours = history::Hours::default();
            hours.add(hour);
            (history::TallyFile::read(f).unwrap(), hours)
        })
        .collect();
    let text = history::inputs_text(members.iter().map(|(f, hours)| (f, *hours)));
    let about = ::parquet::file::metadata::KeyValue::new(history::INPUTS.to_owned(), text);
    let all: Vec<&DataFile> = files.iter().collect();
    let made = crate::lake::compact::rewrite(&dir, &compaction::layout(), &all, vec![about]).unwrap();
    // ... when late records make a second vintage of hour 3, which names every file that it has not named.
    site.deliver(&[(3, 100..140), (10, 60..61)], false).await;
    let released: Vec<_> = site.pass().await.released.iter().map(|w| (w.hour - DAY.0 * 24, w.vintage)).collect();
    assert_eq!(released, [(3, 2)]);
    crate::lake::compact::put(&mut table, made, &Limits::default(), 0, &MockClock::at_ms(0)).await.unwrap();
    site.deliver(&[(12, 0..40)], true).await;
    let released: Vec<_> = site.pass().await.released.iter().map(|w| (w.hour - DAY.0 * 24, w.vintage)).collect();
    assert_eq!(released, [(9, 1), (10, 1), (12, 1)], "hour 3 stays as it is");
    assert_eq!(site.number(Audience::Internal, RECORDS).await, 60 + 40 + 60 + 60 + 40);
}
