//! What each role sees: asked of the store, read from the lake, measured in the vault.

use crate::cli::error::CliError;
use crate::cli::query;
use crate::config::Site;
use crate::lake::delta::{self, DataFile};
use crate::lake::{LakeError, parquet};
use crate::pipeline::summary::Summary;
use crate::publish::store::hour_text;
use crate::query::{Answer, Limits, Value};
use arrow::array::{Array, FixedSizeBinaryArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest cells of the busiest hour.
pub(super) const BUSIEST: &str = "\
SELECT hour, service, direction AS dir, a_country AS a, b_country AS b, network,
       records, answered, seconds / 60 AS minutes, a_parties AS callers
FROM traffic_hourly
WHERE hour = (SELECT hour FROM traffic_hourly GROUP BY hour ORDER BY sum(records) DESC LIMIT 1)
ORDER BY records DESC LIMIT 8";

/// What is not shown, over all hours.
pub(super) const WITHHELD: &str = "\
SELECT sum(cells) AS shown, sum(withheld_few_a) AS few_callers, sum(withheld_few_b) AS few_called,
       sum(withheld_dominance) AS sums_dominated
FROM traffic_hourly_windows";

/// 1234567 → 1,234,567
pub(super) fn grouped(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// Asks the release store as `cdrveil query` does.
pub(super) fn ask(sql: &str, site: &Site) -> Result<Answer, CliError> {
    query::ask(
        &site.release.store,
        sql,
        Limits { rows: 1_000, time: Duration::from_secs(60), bytes: query::ANSWER_BYTES },
    )
}

/// Rows of an answer as objects.
pub(super) fn objects(answer: &Answer) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let json = |value: &Value| match value {
        Value::Integer(i) => (*i).into(),
        Value::Real(r) => (*r).into(),
        Value::Text(text) => text.clone().into(),
        Value::Null | Value::Blob(_) => serde_json::Value::Null,
    };
    answer.rows.iter().map(|row| answer.columns.iter().cloned().zip(row.iter().map(json)).collect()).collect()
}

/// One row of the lake's `cdr` table, as texts.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LakeRow(pub(super) BTreeMap<&'static str, String>);

/// What is shown of a row; the table has more.
pub(super) const COLUMNS: [&str; 11] = [
    "start",
    "service",
    "direction",
    "duration",
    "a_party",
    "a_party_kind",
    "b_party",
    "b_party_kind",
    "a_country",
    "b_country",
    "visited_network",
];
const ROWS: usize = 5;

/// Five neighbours of the largest data file, from a person on who has three rows.
pub(super) fn lake_rows(site: &Path) -> Result<Vec<LakeRow>, CliError> {
    let file = table(&site.join("lake/cdr"))?.into_iter().max_by_key(|f| f.rows.unwrap_or(0));
    let Some(file) = file else { return Ok(Vec::new()) };
    let batches = parquet::read_file(&file.path).map_err(failed)?;
    let found = batches.iter().find_map(|b| Some((b, three_of_one(b)?)));
    match found.or_else(|| batches.first().map(|b| (b, 0))) {
        Some((batch, first)) => (first..batch.num_rows().min(first + ROWS)).map(|row| lake_row(batch, row)).collect(),
        None => Ok(Vec::new()),
    }
}

fn three_of_one(batch: &RecordBatch) -> Option<usize> {
    let ids = batch.column_by_name("a_party")?.as_any().downcast_ref::<FixedSizeBinaryArray>()?;
    let same = |i: usize, j: usize| ids.is_valid(i) && ids.is_valid(j) && ids.value(i) == ids.value(j);
    let starts = 1..ids.len().saturating_sub(ROWS);
    starts.into_iter().find(|&i| !same(i - 1, i) && same(i, i + 2) && !same(i, i + 3))
}

fn lake_row(batch: &RecordBatch, row: usize) -> Result<LakeRow, CliError> {
    let texts = COLUMNS.iter().filter_map(|name| Some((*name, batch.column_by_name(name)?)));
    let texts = texts.map(|(name, column)| Ok((name, text(column.as_ref(), row)?)));
    texts.collect::<Result<_, CliError>>().map(LakeRow)
}

/// Identifiers in hex, times in UTC.
fn text(column: &dyn Array, row: usize) -> Result<String, CliError> {
    if let Some(times) = column.as_any().downcast_ref::<TimestampMicrosecondArray>() {
        let minutes = times.value(row).div_euclid(60_000_000);
        let hour = hour_text(i32::try_from(minutes.div_euclid(60)).unwrap_or(i32::MAX));
        return Ok(hour.replace(":00:00Z", &format!(":{:02}Z", minutes.rem_euclid(60))));
    }
    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default());
    formatter.map(|f| f.value(row).to_string()).map_err(|e| CliError::failed(e.to_string()))
}

/// A part of the vault zone.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Held {
    pub(super) path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
    pub(super) bytes: u64,
    #[serde(skip)]
    pub(super) what: &'static str,
}

/// Sizes of what stands in the vault.
pub(super) fn vault(site: &Path) -> Result<Vec<Held>, CliError> {
    let parts = [
        ("vault/evidence", "the exact record behind each row of the lake"),
        ("vault/identities", "the number behind each pseudonym"),
        ("vault/quarantine", "the bytes of every refused record"),
        ("vault/keys.age", "the keys that open them, under a passphrase"),
    ];
    let held = parts.into_iter().map(|(name, what)| {
        let path = site.join(name);
        let rows = match delta::Table::exists(&path) {
            true => Some(table(&path)?.iter().map(|f| f.rows.unwrap_or(0) as u64).sum()),
            false => None,
        };
        let bytes = bytes(&path).map_err(|e| CliError::failed(format!("cannot read {}: {e}", path.display())))?;
        Ok(Held { path, rows, bytes, what })
    });
    held.collect()
}

fn table(dir: &Path) -> Result<Vec<DataFile>, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| CliError::failed(e.to_string()))?;
    runtime.block_on(delta::Table::open(dir)).and_then(|t| t.files()).map_err(failed)
}

fn bytes(path: &Path) -> std::io::Result<u64> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + bytes(&entry?.path())?))
}

fn failed(e: LakeError) -> CliError {
    CliError::failed(e.to_string())
}

/// Sums over feeds.
pub(super) fn add(total: &mut Summary, feed: &Summary) {
    total.records_in += feed.records_in;
    total.veiled += feed.veiled;
    total.joined += feed.joined;
    total.quarantined += feed.quarantined;
    total.dropped += feed.dropped;
    total.open += feed.open;
    total.bytes_in += feed.bytes_in;
    total.seconds += feed.seconds;
    total.peak_rss_bytes = total.peak_rss_bytes.max(feed.peak_rss_bytes);
    for (from, to) in [(&feed.quarantined_by, &mut total.quarantined_by), (&feed.dropped_by, &mut total.dropped_by)] {
        from.iter().for_each(|(reason, n)| *to.entry(reason.clone()).or_default() += n);
    }
    total.records_per_second = (total.records_in as f64 / total.seconds.max(1e-9)).round();
}
