//! The lake's own tables kept small: compaction of `cdr` and `tally`, and the sweep.
//!
//! A vintage names the tally files that it took in, so files may be put together only if, in every
//! hour that both have records of, the same vintage took in both, or none did yet. The new file
//! names what it was made of, hour by hour. A release that is at work meanwhile may have read files that are being
//! put together and judge some of them: so the mark of every release table is moved between reading
//! its history and committing the compaction, which refuses that release its commit. One that
//! begins later reads mark before tally, and finds every file that the compaction knew, or the new one.

use super::history::{self, History, Hours, TallyFile};
use super::{APP, Steward, StewardError, by_day, read_watermark};
use crate::clock::Clock;
use crate::failpoint;
use crate::lake::compact::output::{Rewritten, refused};
use crate::lake::compact::rows::Order;
use crate::lake::compact::{self, Compacted, Layout, Limits, ends_at_ms, plan};
use crate::lake::contract::{ColumnKind, Contract, column};
use crate::lake::delta::{Appended, DataFile, Table};
use crate::lake::sweep::{Swept, sweep};
use crate::lake::{LakeError, batches, tables};
use crate::record::time::Day;
use crate::tally;
use crate::tally::windows::Watermark;
use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::Path;

/// What a pass did to the files of the lake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Upkeep {
    pub cdr: Compacted,
    pub tally: Compacted,
    pub swept: Swept,
}

/// One pass: compacts what is due, then removes what was replaced, or never committed, before
/// `sweep_before_ms`. Safe to cut off anywhere.
pub async fn pass(
    steward: &Steward,
    limits: &Limits,
    sweep_before_ms: i64,
    clock: &dyn Clock,
) -> Result<Upkeep, StewardError> {
    let mut done = Upkeep::default();
    let latest = batches::latest(&steward.lake)?;
    let mut open = Vec::new();
    for name in ["cdr", "tally"] {
        let dir = steward.lake.join(name);
        if !Table::exists(&dir) {
            continue;
        }
        let mut table = Table::open(&dir).await?;
        let watermark = read_watermark(steward, &latest, &table, clock).await?;
        let is_closed = |value: &str| {
            let Watermark::Complete { until_ms, .. } = watermark else { return false };
            ends_at_ms(value).is_some_and(|end| end <= until_ms)
        };
        if name == "cdr" {
            done.cdr = compact::table(&mut table, &tables::cdr_layout(), limits, &is_closed, clock).await?;
        } else {
            done.tally = tally(steward, &mut table, limits, &is_closed, clock).await?;
        }
        table.refresh().await?;
        open.push((name, table));
    }
    let open: Vec<(&str, &Table)> = open.iter().map(|(name, table)| (*name, table)).collect();
    done.swept = sweep(&steward.lake, &open, sweep_before_ms).await?;
    Ok(done)
}

async fn tally(
    steward: &Steward,
    table: &mut Table,
    limits: &Limits,
    is_closed: &dyn Fn(&str) -> bool,
    clock: &dyn Clock,
) -> Result<Compacted, StewardError> {
    table.keep(limits.keep_log, limits.keep_removed).await?;
    let mut done = Compacted::default();
    for (day, files) in by_day(table.files()?) {
        let closed = is_closed(&day.to_string());
        // Whatever belongs together, these would be too few.
        if !plan::groups(&files, closed, limits).is_empty() {
            done.add(&tally_day(steward, table, limits, day, closed, clock).await?);
        }
    }
    Ok(done)
}

async fn tally_day(
    steward: &Steward,
    table: &mut Table,
    limits: &Limits,
    day: Day,
    closed: bool,
    clock: &dyn Clock,
) -> Result<Compacted, StewardError> {
    let begun_ms = clock.now_ms();
    let mut releases = Vec::new();
    for mut release in release_tables(&steward.lake).await? {
        release.refresh().await?;
        let number = release.mark(APP).await?.unwrap_or(0) + 1;
        let history = History::read(&release, day)?;
        releases.push((release, number, history));
    }
    table.refresh().await?;
    let files = by_day(table.files()?).remove(&day).unwrap_or_default();
    let histories: Vec<&History> = releases.iter().map(|r| &r.2).collect();
    let rewritten = rewritten(table.dir(), &files, &histories, limits, closed)?;
    if rewritten.is_empty() {
        return Ok(Compacted::default());
    }
    let mut done = Compacted::default();
    for (release, number, _) in &mut releases {
        if release.append(APP, *number, &[]).await? == Appended::AlreadyThere {
            done.conflicts += rewritten.len() as u64;
            return Ok(done);
        }
    }
    failpoint::reached("compact.fenced");
    for rewritten in rewritten {
        done.add(&compact::put(table, rewritten, limits, begun_ms, clock).await?);
    }
    Ok(done)
}

/// The tables `release/CUBE`.
async fn release_tables(lake: &Path) -> Result<Vec<Table>, LakeError> {
    let root = lake.join("release");
    let mut tables = Vec::new();
    let entries = match fs::read_dir(&root) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(tables),
        other => other.map_err(LakeError::io("cannot list", &root))?,
    };
    for entry in entries {
        let dir = entry.map_err(LakeError::io("cannot list", &root))?.path();
        if Table::exists(&dir) {
            tables.push(Table::open(&dir).await?);
        }
    }
    Ok(tables)
}

fn rewritten(
    dir: &Path,
    files: &[DataFile],
    histories: &[&History],
    limits: &Limits,
    closed: bool,
) -> Result<Vec<Rewritten>, StewardError> {
    let layout = layout();
    let mut small = Vec::new();
    for file in files.iter().filter(|f| f.bytes < limits.target_bytes / 2) {
        small.push((TallyFile::read(file)?, hours(&file.path)?));
    }
    let mut rewritten = Vec::new();
    for set in together(&small, histories)? {
        let of_set: Vec<DataFile> = set.iter().map(|(f, _)| f.file.clone()).collect();
        for group in plan::groups(&of_set, closed, limits) {
            let is_member = |f: &TallyFile<'_>| group.iter().any(|g| g.path == f.file.path);
            let members = set.iter().filter(|(f, _)| is_member(f)).map(|(f, hours)| (f, of_day(hours)));
            let about = KeyValue::new(history::INPUTS.to_owned(), history::inputs_text(members));
            rewritten.push(compact::rewrite(dir, &layout, &group, vec![about])?);
        }
    }
    Ok(rewritten)
}

/// A file, and the hours that it has cells of.
type Member<'a> = (TallyFile<'a>, BTreeSet<i32>);

/// By release table and hour that a set has cells of: the vintage that took them in, if one did.
type Taken = HashMap<(usize, i32), Option<u32>>;

/// Splits files into sets whose members may be put together.
fn together<'a>(files: &'a [Member<'a>], histories: &[&History]) -> Result<Vec<Vec<&'a Member<'a>>>, StewardError> {
    let mut sets: Vec<(Vec<&Member<'_>>, Taken)> = Vec::new();
    for member in files {
        let (file, hours) = member;
        let mut taken = Taken::new();
        for (i, history) in histories.iter().enumerate() {
            for hour in hours {
                taken.insert((i, *hour), history.tier(*hour, file)?);
            }
        }
        let fits = |of_set: &Taken| taken.iter().all(|(at, vintage)| of_set.get(at).is_none_or(|v| v == vintage));
        match sets.iter_mut().find(|(_, of_set)| fits(of_set)) {
            Some((set, of_set)) => {
                set.push(member);
                of_set.extend(taken);
            }
            None => sets.push((vec![member], taken)),
        }
    }
    Ok(sets.into_iter().map(|(set, _)| set).collect())
}

fn of_day(hours: &BTreeSet<i32>) -> Hours {
    let mut of_day = Hours::default();
    hours.iter().for_each(|hour| of_day.add(*hour));
    of_day
}

/// Hours that a tally file has cells of.
fn hours(path: &Path) -> Result<BTreeSet<i32>, LakeError> {
    let wrong = |e: &dyn std::fmt::Display| refused(path, e);
    let file = File::open(path).map_err(LakeError::io("cannot open", path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| wrong(&e))?;
    let hour = ProjectionMask::columns(builder.parquet_schema(), ["hour"]);
    let reader = builder.with_projection(hour).build().map_err(|e| wrong(&e))?;
    let mut hours = BTreeSet::new();
    for batch in reader {
        let batch = batch.map_err(|e| wrong(&e))?;
        let column =
            batch.column(0).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| wrong(&"no hours"))?;
        hours.extend(column.values().iter().map(|us| us.div_euclid(3_600_000_000) as i32));
    }
    Ok(hours)
}

/// How compaction writes `tally`: its rows as they are, since a vintage may need one of them alone.
pub fn layout() -> Layout {
    let kind = |k: &str| match k {
        "string" => ColumnKind::String,
        "integer" => ColumnKind::Integer,
        "long" => ColumnKind::Long,
        "timestamp" => ColumnKind::Timestamp,
        _ => ColumnKind::Binary,
    };
    let contract = Contract {
        name: "tally",
        columns: tally::delta_columns().iter().map(|(n, k, null)| column(n, kind(k), *null)).collect(),
        partition: vec![column("event_day", ColumnKind::Date, false)],
    };
    let dimensions = ["cube", "cube_version", "hour", "service", "direction", "a_country", "b_country", "network"];
    let order = Order::By(dimensions.into_iter().chain(["currency"]).collect());
    Layout { contract, order, lookup: Vec::new(), unique: false }
}
