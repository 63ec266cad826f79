//! One pass of the steward: judge windows that are complete, freeze what may be shown, publish it.
//!
//! Safe to cut off anywhere and to run again: a day's vintages are one Delta commit on top of the
//! mark this pass started from, and publishing follows the table.

pub mod compaction;
pub mod history;

use crate::clock::Clock;
use crate::lake::delta::{AddFile, Appended, DataFile, Table};
use crate::lake::resolved::REPLAY;
use crate::lake::{LakeError, batches, durable, parquet};
use crate::publish::{self, PublishError};
use crate::record::time::Day;
use crate::release::rules::{Audience, Rules, Withheld};
use crate::release::table::{self, Frozen};
use crate::release::window::{Judged, Tiers, judge};
use crate::tally::cell::{Cell, Key};
use crate::tally::contract;
use crate::tally::cube::Cube;
use crate::tally::windows::{FeedMark, Watermark, closes_at_ms, watermark};
use history::{History, TallyFile};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the steward works and by which rules.
#[derive(Clone, Debug)]
pub struct Steward {
    pub lake: PathBuf,
    /// Store of the internal audience; the external one stands beside it.
    pub store: PathBuf,
    /// With the site's `release_after_hours` and rounding in place of the definition's own.
    pub cube: Cube,
    pub rules: Rules,
    pub idle_after_hours: u32,
}

/// What a pass did, exact; for the steward's eyes.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub released: Vec<ReleasedWindow>,
    /// Windows that hold records and were not released.
    pub open: Vec<OpenWindow>,
    /// Windows put into stores, over both audiences.
    pub published: u64,
}

/// A vintage that this pass released.
#[derive(Clone, Debug)]
pub struct ReleasedWindow {
    pub hour: i32,
    pub vintage: u32,
    /// By `Audience`.
    pub cells: [u64; 2],
    pub withheld: [BTreeMap<Withheld, u64>; 2],
}

#[derive(Clone, Debug)]
pub struct OpenWindow {
    pub hour: i32,
    /// Cells with records that are not shown.
    pub cells: u64,
    pub why: Open,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open {
    /// The watermark has not come to this time (ms UTC); it stands at `at_ms`, held by a feed.
    Waiting { until_ms: i64, at_ms: i64, held_by: String },
    /// The tally does not yet hold the newest batch of this feed: run ingest again.
    Trailing { feed: String },
    /// Released before; records came later, too few to be shown by themselves.
    LateAndFew,
}

#[derive(Debug, thiserror::Error)]
pub enum StewardError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("{path}: {source}")]
    Tally { path: PathBuf, source: contract::ContractError },
    #[error("{path}: {source}")]
    Release { path: PathBuf, source: table::TableError },
    #[error("{path}: its records were compacted with others that another vintage took in, so it cannot be judged")]
    Mixed { path: PathBuf },
    #[error("another steward is at work on {cube}; nothing was changed, run again")]
    Another { cube: String },
}

/// Application id of the steward's mark in a release table.
const APP: &str = "steward";

/// One pass over release and publication.
pub async fn pass(steward: &Steward, clock: &dyn Clock) -> Result<Report, StewardError> {
    let mut report = Report::default();
    let dir = steward.lake.join("release").join(&steward.cube.name);
    let mut table = Table::open_or_create(&dir, &table::contract()).await?;
    let tally_dir = steward.lake.join("tally");
    if Table::exists(&tally_dir) {
        // manifests first: whatever the table then holds beyond them is judged too, never missed
        let latest = batches::latest(&steward.lake)?;
        let mut tally = Table::open(&tally_dir).await?;
        let watermark = read_watermark(steward, &latest, &tally, clock).await?;
        let mut days = by_day(tally.files()?);
        for day in days.keys().copied().collect::<Vec<_>>() {
            // the day before moved the mark
            table.refresh().await?;
            // Only then the tally: a compaction of its files moves the mark first (`compaction`).
            let version = tally.version();
            tally.refresh().await?;
            if tally.version() != version {
                days = by_day(tally.files()?);
            }
            let files = days.get(&day).map_or(&[][..], Vec::as_slice);
            release_day(steward, &mut table, day, files, &watermark, &mut report).await?;
        }
    }
    table.refresh().await?;
    report.published = publish::publish(&table.files()?, &steward.store).await?;
    Ok(report)
}

async fn read_watermark(
    steward: &Steward,
    latest: &[batches::Latest],
    tally: &Table,
    clock: &dyn Clock,
) -> Result<Watermark, LakeError> {
    let mut feeds = Vec::new();
    for feed in latest {
        let name = format!("{}/{}", feed.feed, feed.partition);
        let counted = tally.mark(&name).await?.unwrap_or(0) >= feed.number as i64;
        // Replayed records are late by nature: that some came says nothing about how far others are.
        if counted && feed.partition == REPLAY {
            continue;
        }
        feeds.push(FeedMark {
            counted,
            name,
            newest_event_ms: feed.watermark_ms,
            finished: feed.finished,
            committed_ms: feed.committed_ms,
        });
    }
    Ok(watermark(&feeds, clock.now_ms(), i64::from(steward.idle_after_hours) * 3_600_000))
}

/// Judges the windows of one event day and freezes their vintages in one commit.
async fn release_day(
    steward: &Steward,
    table: &mut Table,
    day: Day,
    tally_files: &[DataFile],
    watermark: &Watermark,
    report: &mut Report,
) -> Result<(), StewardError> {
    let number = table.mark(APP).await?.unwrap_or(0) + 1;
    let history = History::read(table, day)?;
    let mut digests: Vec<_> = tally_files.iter().map(|f| history::digest(&f.path)).collect();
    if digests.iter().all(|d| history.settled.contains(d)) {
        return Ok(());
    }
    digests.sort_unstable();
    let mut settled = true;
    let tally_files = tally_files.iter().map(TallyFile::read).collect::<Result<Vec<_>, _>>()?;
    let windows = read_day(steward, &tally_files, &history)?;
    let mut frozen: [Vec<Frozen>; 2] = Default::default();
    let mut released = Vec::new();
    for (hour, window) in &windows {
        if let Some(why) = still_open(*hour, steward.cube.release_after_hours, watermark) {
            settled = false;
            report.open.push(OpenWindow { hour: *hour, cells: window.cells.len() as u64, why });
            continue;
        }
        if !window.has_new {
            continue;
        }
        let vintage = history.vintage(*hour) + 1;
        let last = |audience, key: &Key| history.published(audience, key);
        match judge((*hour, vintage), &window.cells, &last, &steward.rules, &steward.cube.round_to) {
            None => {
                report.open.push(OpenWindow { hour: *hour, cells: window.new_cells(vintage), why: Open::LateAndFew })
            }
            Some(judged) => {
                released.push(summary(*hour, vintage, &judged));
                let inputs = history.new_inputs(*hour, &tally_files);
                for (frozen, window) in frozen.iter_mut().zip(judged.windows) {
                    frozen.push(Frozen { window, inputs: inputs.clone() });
                }
            }
        }
    }
    if released.is_empty() && !settled {
        return Ok(());
    }
    let settled = settled.then_some((day, &digests[..]));
    let mut files = vec![write(table.dir(), Audience::Internal, day, &frozen[0], settled)?];
    if !frozen[1].is_empty() {
        files.push(write(table.dir(), Audience::External, day, &frozen[1], None)?);
    }
    if table.append(APP, number, &files).await? == Appended::AlreadyThere {
        return Err(StewardError::Another { cube: steward.cube.name.clone() });
    }
    // An append leaves the snapshot as it was; the next day counts on from the new mark.
    table.refresh().await?;
    report.released.extend(released);
    Ok(())
}

fn still_open(hour: i32, release_after_hours: u32, watermark: &Watermark) -> Option<Open> {
    let until_ms = closes_at_ms(hour, release_after_hours);
    match watermark {
        Watermark::Trailing { feed } => Some(Open::Trailing { feed: feed.clone() }),
        Watermark::Nothing => Some(Open::Waiting { until_ms, at_ms: i64::MIN, held_by: String::new() }),
        Watermark::Complete { until_ms: at_ms, held_by } if *at_ms < until_ms => {
            Some(Open::Waiting { until_ms, at_ms: *at_ms, held_by: held_by.clone() })
        }
        Watermark::Complete { .. } => None,
    }
}

fn summary(hour: i32, vintage: u32, judged: &Judged) -> ReleasedWindow {
    let cells = [0, 1].map(|i: usize| judged.windows[i].cells.len() as u64);
    ReleasedWindow { hour, vintage, cells, withheld: judged.withheld.clone() }
}

fn write(
    dir: &Path,
    audience: Audience,
    day: Day,
    windows: &[Frozen],
    settled: Option<(Day, &[u64])>,
) -> Result<AddFile, LakeError> {
    let partition = BTreeMap::from([
        ("audience".to_owned(), audience.name().to_owned()),
        ("event_day".to_owned(), day.to_string()),
    ]);
    let folder = parquet::partition_folder(&partition, &["audience", "event_day"]);
    let relative = format!("{folder}{}.parquet", durable::random_name());
    parquet::write_file(dir, &relative, partition, table::contract().arrow(), &[table::batch(windows, settled)])
}

/// Tally files by event day, oldest first.
fn by_day(files: Vec<DataFile>) -> BTreeMap<Day, Vec<DataFile>> {
    let mut days: BTreeMap<Day, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        let day = file.partition.get("event_day").and_then(|d| d.as_deref()?.parse().ok());
        if let Some(day) = day {
            days.entry(day).or_default().push(file);
        }
    }
    days
}

/// What one hour of the tally holds.
#[derive(Default)]
struct Window {
    cells: BTreeMap<Key, Tiers>,
    /// Records that no vintage has taken in.
    has_new: bool,
}

impl Window {
    fn new_cells(&self, vintage: u32) -> u64 {
        self.cells.values().filter(|tiers| tiers.iter().any(|t| t.0 == vintage)).count() as u64
    }
}

fn read_day(
    steward: &Steward,
    files: &[TallyFile<'_>],
    history: &History,
) -> Result<BTreeMap<i32, Window>, StewardError> {
    let mut windows: BTreeMap<i32, Window> = BTreeMap::new();
    for file in files {
        let path = &file.file.path;
        for batch in parquet::read_file(path)? {
            let cells = contract::cells(&batch, &steward.cube.name)
                .map_err(|source| StewardError::Tally { path: path.clone(), source })?;
            for (key, cell) in cells {
                let taken = history.tier(key.hour, file)?;
                let window = windows.entry(key.hour).or_default();
                window.has_new |= taken.is_none();
                let tier = taken.unwrap_or_else(|| history.vintage(key.hour) + 1);
                add(window.cells.entry(key).or_default(), tier, cell);
            }
        }
    }
    Ok(windows)
}

fn add(tiers: &mut Tiers, tier: u32, cell: Cell) {
    match tiers.iter_mut().find(|t| t.0 == tier) {
        Some(known) => known.1.merge(&cell),
        None => tiers.push((tier, cell)),
    }
}

#[cfg(test)]
mod tests;
