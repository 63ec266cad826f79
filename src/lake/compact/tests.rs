use super::*;
use crate::clock::MockClock;
use crate::lake::contract::{ColumnKind, column};
use crate::lake::delta::{AddFile, Addition, Appended};
use crate::lake::durable::random_name;
use crate::lake::parquet::{read_file, write_file};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use arrow::record_batch::RecordBatch;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const DAY: &str = "2026-11-22";
static CLOCK: std::sync::LazyLock<MockClock> = std::sync::LazyLock::new(|| MockClock::at_ms(0));

/// Sealed rows as evidence and identities have them.
fn layout(unique: bool) -> Layout {
    let columns = vec![
        column("a", ColumnKind::Id, true),
        column("b", ColumnKind::Id, true),
        column("kind", ColumnKind::Symbol, true),
        column("block", ColumnKind::Header, false),
        column("row", ColumnKind::Integer, false),
        column("header", ColumnKind::Header, false),
        column("sealed", ColumnKind::Binary, false),
    ];
    let partition = vec![column("event_day", ColumnKind::Date, false)];
    Layout {
        contract: Contract { name: "t", columns, partition },
        order: if unique { Order::ById(vec!["a"]) } else { Order::ById(vec!["a", "b"]) },
        lookup: vec!["a", "b"],
        unique,
    }
}

fn limits(target_bytes: u64) -> Limits {
    Limits { target_bytes, small_files: 4, give_up_after_ms: 1000, ..Limits::default() }
}

/// Every file of the tests is small.
const PACK: u64 = 1 << 20;
/// Every file is large: runs are merged.
const MERGE: u64 = 1;

/// One row: identifiers by number, a word, and which block.
type Row = (Option<u8>, Option<u8>, Option<bool>, u8);

fn id(n: u8) -> [u8; 16] {
    [n.wrapping_add(1); 16].map(|b| b.wrapping_mul(37))
}

/// A file of these rows; what is sealed tells rows apart.
fn file(dir: &Path, rows: &[Row]) -> AddFile {
    let name = random_name();
    let ids = |of: &dyn Fn(&Row) -> Option<u8>| -> ArrayRef {
        let values = rows.iter().map(|r| of(r).map(id));
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16).unwrap())
    };
    let words = rows.iter().map(|r| r.2.map(|w| if w { "e164" } else { "imsi" }));
    let block = |r: &Row| format!("{name}{:03}", r.3);
    let columns: Vec<ArrayRef> = vec![
        ids(&|r| r.0),
        ids(&|r| r.1),
        Arc::new(words.collect::<StringArray>()),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(block))),
        Arc::new(Int32Array::from_iter_values(0..rows.len() as i32)),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|r| block(r).repeat(30)))),
        Arc::new(BinaryArray::from_iter_values((0..rows.len()).map(|i| format!("{name} {i}")))),
    ];
    let schema = layout(false).contract.arrow();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let partition = BTreeMap::from([("event_day".to_owned(), DAY.to_owned())]);
    write_file(dir, &format!("event_day={DAY}/{name}.parquet"), partition, schema, &[batch]).unwrap()
}

/// Every row of a file as text, by row.
fn rows_of(path: &Path) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for batch in read_file(path).unwrap() {
        let columns: Vec<ArrayRef> = batch
            .columns()
            .iter()
            .map(|c| if c.data_type() == &DataType::Int32 { c.clone() } else { cast(c, &DataType::Binary).unwrap() })
            .collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| value(c, row)).collect());
        }
    }
    rows
}

fn value(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".into();
    }
    match column.as_primitive_opt::<Int32Type>() {
        Some(numbers) => numbers.value(row).to_string(),
        None => column.as_binary::<i32>().value(row).iter().map(|b| format!("{b:02x}")).collect(),
    }
}

/// Rows of all live files, file by file.
fn live(table: &Table) -> Vec<Vec<Vec<String>>> {
    table.files().unwrap().iter().map(|f| rows_of(&f.path)).collect()
}

fn in_order(files: &[Vec<Vec<String>>]) -> Vec<Vec<String>> {
    let mut rows = files.concat();
    rows.sort();
    rows
}

struct Site {
    _folder: tempfile::TempDir,
    dir: PathBuf,
    table: Table,
    number: i64,
}

impl Site {
    async fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("t");
        let table = Table::open_or_create(&dir, &layout(false).contract).await.unwrap();
        Site { _folder: folder, dir, table, number: 0 }
    }

    async fn add(&mut self, rows: &[Row]) -> AddFile {
        self.number += 1;
        let file = file(&self.dir, rows);
        assert_eq!(self.table.append("f/p", self.number, std::slice::from_ref(&file)).await.unwrap(), Appended::Now);
        self.table.refresh().await.unwrap();
        file
    }

    async fn compact(&mut self, layout: &Layout, target_bytes: u64) -> Compacted {
        let done = super::table(&mut self.table, layout, &limits(target_bytes), &|_| true, &*CLOCK).await.unwrap();
        self.table.refresh().await.unwrap();
        done
    }
}

fn some_rows() -> impl Strategy<Value = Vec<Row>> {
    let id = || proptest::option::weighted(0.8, 0u8..20);
    proptest::collection::vec((id(), id(), any::<Option<bool>>(), 0u8..4), 1..60)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_row_is_kept_as_it_was_and_in_order(files in proptest::collection::vec(some_rows(), 2..12)) {
        runtime().block_on(async {
            let mut site = Site::new().await;
            for rows in &files {
                site.add(rows).await;
            }
            let before = in_order(&live(&site.table));
            let done = site.compact(&layout(false), PACK).await;
            let after = live(&site.table);
            prop_assert_eq!((done.commits, done.files_before, done.files_after), (1, files.len() as u64, 1));
            prop_assert_eq!((done.rows_before, done.rows_after), (before.len() as u64, before.len() as u64));
            let keys: Vec<_> = after[0].iter().map(|r| [0, 1].map(|c| r[c].replace("null", ""))).collect();
            prop_assert!(keys.is_sorted());
            prop_assert_eq!(in_order(&after), before);
            Ok(())
        })?;
    }

    /// By packing, by merging runs, however the files lie: one row of each identity, and a whole one.
    #[test]
    fn one_row_of_each_identity_is_kept(
        files in proptest::collection::vec(some_rows(), 2..12),
        first in 1usize..6,
        targets in proptest::sample::select(vec![[PACK, PACK], [PACK, MERGE], [MERGE, PACK], [MERGE, MERGE]]),
    ) {
        runtime().block_on(async {
            let mut site = Site::new().await;
            let split = first.min(files.len() - 1);
            for rows in &files[..split] {
                site.add(rows).await;
            }
            let mut before: Vec<Vec<String>> = in_order(&live(&site.table));
            site.compact(&layout(true), targets[0]).await;
            for rows in &files[split..] {
                let added = site.add(rows).await;
                before.extend(rows_of(&site.dir.join(added.path)));
            }
            site.compact(&layout(true), targets[1]).await;
            let after = [live(&site.table).concat()];
            let wanted: BTreeSet<&String> = before.iter().map(|r| &r[0]).collect();
            let found: Vec<&String> = after[0].iter().map(|r| &r[0]).collect();
            prop_assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
            prop_assert!(after[0].iter().all(|row| before.contains(row)));
            Ok(())
        })?;
    }
}

/// The manifest of a batch names its files as they were added; finishing it again must not bring them back.
#[tokio::test]
async fn what_was_compacted_is_not_added_again() {
    let mut site = Site::new().await;
    let mut files = Vec::new();
    for n in 0..5 {
        files.push(site.add(&[(Some(n), None, None, 0), (Some(n), Some(1), Some(true), 0)]).await);
    }
    let before = in_order(&live(&site.table));
    let mut other = Table::open(&site.dir).await.unwrap();
    assert_eq!(site.compact(&layout(false), PACK).await.files_after, 1);
    // Recovery, of a process that saw nothing of it, and of one that opens the table now.
    let again = [Addition { app: "f/p", number: 5, files: &files[4..] }];
    assert!(matches!(other.append_all(&again).await.unwrap()[..], [Ok(Appended::AlreadyThere)]));
    let mut fresh = Table::open(&site.dir).await.unwrap();
    assert!(matches!(fresh.append_all(&again).await.unwrap()[..], [Ok(Appended::AlreadyThere)]));
    fresh.refresh().await.unwrap();
    assert_eq!(in_order(&live(&fresh)), before);
    site.add(&[(Some(9), None, None, 0)]).await;
    assert_eq!(site.table.files().unwrap().len(), 2);
}

/// Both read the same files and write them anew: the second one's are dropped, and vanish.
#[tokio::test]
async fn two_compactions_of_one_file_do_not_both_stand() {
    let mut site = Site::new().await;
    for n in 0..3 {
        site.add(&[(Some(n), None, None, 0)]).await;
    }
    let before = in_order(&live(&site.table));
    let mut other = Table::open(&site.dir).await.unwrap();
    let files = site.table.files().unwrap();
    let all: Vec<&DataFile> = files.iter().collect();
    let layout = layout(false);
    let one = rewrite(&site.dir, &layout, &all, Vec::new()).unwrap();
    let two = rewrite(&site.dir, &layout, &all[..2], Vec::new()).unwrap();
    let dropped = site.dir.join(&two.files[0].path);
    let slow = rewrite(&site.dir, &layout, &all[1..], Vec::new()).unwrap();
    // Ingest goes on between reading and committing.
    site.add(&[(Some(7), None, None, 0)]).await;
    assert_eq!(put(&mut other, one, &limits(PACK), 0, &*CLOCK).await.unwrap().commits, 1);
    assert!(dropped.exists());
    let done = put(&mut site.table, two, &limits(PACK), 0, &*CLOCK).await.unwrap();
    assert_eq!((done.commits, done.conflicts, dropped.exists()), (0, 1, false));
    let late = MockClock::at_ms(1001);
    assert_eq!(put(&mut site.table, slow, &limits(PACK), 0, &late).await.unwrap().conflicts, 1, "it took too long");
    site.table.refresh().await.unwrap();
    assert_eq!(in_order(&live(&site.table)).len(), before.len() + 1);
    assert_eq!(std::fs::read_dir(site.dir.join(format!("event_day={DAY}"))).unwrap().count(), 5, "4 added, 1 made");
}

/// Writers that were still for long find their way, though the log they knew is gone; marks stay.
#[tokio::test]
async fn old_log_entries_go_and_marks_stay() {
    let mut site = Site::new().await;
    let mut idle = Table::open(&site.dir).await.unwrap();
    idle.append("idle/p", 1, &[]).await.unwrap();
    site.table.keep(Duration::ZERO, Duration::ZERO).await.unwrap();
    site.table.keep(Duration::ZERO, Duration::ZERO).await.unwrap();
    for _ in 0..320 {
        site.number += 1;
        site.table.append("f/p", site.number, &[]).await.unwrap();
    }
    let log = || std::fs::read_dir(site.dir.join("_delta_log")).unwrap().count();
    assert!(log() < 250, "{} entries", log());
    assert!(!site.dir.join("_delta_log").join(format!("{:020}.json", 0)).exists());
    assert_eq!(idle.append("idle/p", 1, &[]).await.unwrap(), Appended::AlreadyThere);
    assert_eq!(idle.append("idle/p", 2, &[]).await.unwrap(), Appended::Now);
    let fresh = Table::open(&site.dir).await.unwrap();
    assert_eq!((fresh.mark("idle/p").await.unwrap(), fresh.mark("f/p").await.unwrap()), (Some(2), Some(320)));
}

/// What a lookup goes by: a filter in every row group, pages with their places, and no statistics.
#[tokio::test]
async fn lookups_find_filters_and_nothing_else_is_told() {
    let mut site = Site::new().await;
    for n in 0..4 {
        site.add(&[(Some(n), Some(n + 100), Some(true), 0), (None, None, None, 0)]).await;
    }
    site.compact(&layout(false), PACK).await;
    let path = site.table.files().unwrap()[0].path.clone();
    let read = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(read).with_page_index().build();
    let reader = SerializedFileReader::new_with_options(File::open(&path).unwrap(), options).unwrap();
    let groups = reader.metadata().row_groups();
    assert_eq!((groups.len(), groups[0].sorting_columns().map(Vec::len)), (1, Some(2)));
    for (i, column) in groups[0].columns().iter().enumerate() {
        assert!(column.statistics().is_none() && column.column_index_offset().is_none());
        assert!(column.offset_index_offset().is_some());
        let group = reader.get_row_group(0).unwrap();
        let filter = group.get_column_bloom_filter(i);
        assert_eq!(filter.is_some(), i < 2, "{i}");
        if let Some(filter) = filter {
            let known: Vec<u8> = (0..=255).filter(|n| filter.check(&id(*n).to_vec())).collect();
            let there = (0..4).map(|n| if i == 0 { n } else { n + 100 });
            assert!(there.clone().all(|n| known.contains(&n)) && known.len() < 12, "{known:?}");
        }
    }
    // Each header once in a group, however many rows have it.
    let header = groups[0].columns().last().map(|_| &groups[0].columns()[5]).unwrap();
    assert!(header.dictionary_page_offset().is_some());
    let words: HashMap<String, usize> = rows_of(&path).into_iter().map(|r| (r[5].clone(), 0)).collect();
    assert_eq!(words.len(), 4);
}

#[test]
fn a_partition_ends_with_its_day_or_month() {
    for (value, end) in
        [("1970-01-01", Some(86_400_000)), ("1970-01", Some(31 * 86_400_000)), ("1970", None), ("", None)]
    {
        assert_eq!(ends_at_ms(value), end, "{value}");
    }
}
