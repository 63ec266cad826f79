//! The rows of `vault/quarantine`, without what is sealed in them: where a refused record stood and
//! why it was refused. Nothing is opened and no key is needed; who reads the table's files may read
//! this.

use super::LakeError;
use super::delta::{DataFile, Table};
use super::parquet::read_columns;
use super::resolved::Handle;
use crate::record::time::Day;
use arrow::array::{Array, AsArray, BinaryArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use std::path::Path;

/// One refused record; columns as in `schemas/lake/quarantine.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject<'a> {
    pub arrival: Day,
    pub feed: &'a str,
    pub batch: &'a str,
    pub source: i64,
    pub line: i64,
    pub offset: i64,
    pub reason: &'a str,
    pub column: i64,
    pub handle: Handle,
    /// Length of what is sealed, its tag included; 0 unless it was asked for.
    pub sealed_bytes: u64,
}

const COLUMNS: [&str; 9] = ["feed", "batch", "source", "line", "offset", "reason", "column", "block", "row"];

/// Shows `visit` every row of the table at `dir` that arrived on a day that `wanted` takes, in the
/// order of the files. A table that does not exist has no row.
///
/// # Errors
/// A file that cannot be read; it may have been rewritten meanwhile, so doing it again is safe.
pub async fn scan(
    dir: &Path,
    wanted: impl Fn(Day) -> bool,
    sizes: bool,
    mut visit: impl FnMut(&Reject<'_>),
) -> Result<(), LakeError> {
    if !Table::exists(dir) {
        return Ok(());
    }
    let mut columns = COLUMNS.to_vec();
    columns.extend(sizes.then_some("sealed"));
    for (arrival, file) in files_by_day(dir).await? {
        if wanted(arrival) {
            for batch in read_columns(&file.path, &columns, None)? {
                visit_batch(&file.path, arrival, &batch?, sizes, &mut visit)?;
            }
        }
    }
    Ok(())
}

/// The data files of the quarantine table at `dir` by arrival day, oldest first.
pub async fn files_by_day(dir: &Path) -> Result<Vec<(Day, DataFile)>, LakeError> {
    let mut files = Vec::new();
    for file in Table::open(dir).await?.files()? {
        let day = file.partition.get("arrival_day").and_then(|d| d.as_deref()?.parse::<Day>().ok());
        let day = day.ok_or_else(|| unclear(&file.path, "its arrival day is not a date"))?;
        files.push((day, file));
    }
    files.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
    Ok(files)
}

fn visit_batch(
    path: &Path,
    arrival: Day,
    batch: &RecordBatch,
    sizes: bool,
    visit: &mut impl FnMut(&Reject<'_>),
) -> Result<(), LakeError> {
    let [feed, batch_id, reason] =
        [text(path, batch, "feed")?, text(path, batch, "batch")?, text(path, batch, "reason")?];
    let [source, line, offset] =
        [long(path, batch, "source")?, long(path, batch, "line")?, long(path, batch, "offset")?];
    let [column, row] = [long(path, batch, "column")?, long(path, batch, "row")?];
    let block = binary(path, batch, "block")?;
    let sealed = if sizes { Some(binary(path, batch, "sealed")?) } else { None };
    for i in 0..batch.num_rows() {
        visit(&Reject {
            arrival,
            feed: feed.value(i),
            batch: batch_id.value(i),
            source: source.value(i),
            line: line.value(i),
            offset: offset.value(i),
            reason: reason.value(i),
            column: column.value(i),
            handle: handle(path, block.value(i), row.value(i))?,
            sealed_bytes: sealed.as_ref().map_or(0, |s| s.value_length(i).unsigned_abs().into()),
        });
    }
    Ok(())
}

/// The handle of a row by its columns `block` and `row`.
pub fn handle(path: &Path, block: &[u8], row: i64) -> Result<Handle, LakeError> {
    let block = block.try_into().map_err(|_| unclear(path, "a block id has not 16 bytes"))?;
    let row = u32::try_from(row).map_err(|_| unclear(path, "a row number is out of range"))?;
    Ok(Handle { block, row })
}

/// A column of texts, whatever their encoding in the file.
pub fn text(path: &Path, batch: &RecordBatch, name: &str) -> Result<StringArray, LakeError> {
    Ok(column(path, batch, name, &DataType::Utf8)?.as_string().clone())
}

/// A column of bytes.
pub fn binary(path: &Path, batch: &RecordBatch, name: &str) -> Result<BinaryArray, LakeError> {
    Ok(column(path, batch, name, &DataType::Binary)?.as_binary().clone())
}

/// A column of whole numbers.
pub fn long(path: &Path, batch: &RecordBatch, name: &str) -> Result<Int64Array, LakeError> {
    Ok(column(path, batch, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn column(path: &Path, batch: &RecordBatch, name: &str, kind: &DataType) -> Result<arrow::array::ArrayRef, LakeError> {
    let column = batch.column_by_name(name).and_then(|c| cast(c, kind).ok());
    column.filter(|c| c.null_count() == 0).ok_or_else(|| unclear(path, "a column is missing, of another type or null"))
}

fn unclear(path: &Path, reason: &str) -> LakeError {
    LakeError::Table { path: path.to_owned(), reason: reason.to_owned() }
}
