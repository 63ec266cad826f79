//! Sorted runs of a partition merged into one, duplicates left out: a few pages of each run are in
//! memory, however large the partition.

use super::output::{Outputs, Rewritten, refused, run_of};
use super::rows::{Order, STEP, gather, ids, open_group, reading_schema};
use super::{Compacted, Layout, Limits, partitions, put};
use crate::clock::Clock;
use crate::failpoint;
use crate::lake::LakeError;
use crate::lake::delta::{DataFile, Table};
use crate::lake::parquet::row_groups;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs merged at once: each holds a file open, and a batch in memory.
const RUNS: usize = 64;
/// Rows of one run in memory.
const BATCH_ROWS: usize = 8_192;

/// Makes one run of all of a closed partition; of one that fills, of its large runs once there are
/// enough. Files of ingest that were too large to be packed are sorted first, one by one.
pub async fn partition(
    table: &mut Table,
    layout: &Layout,
    limits: &Limits,
    value: &str,
    closed: bool,
    clock: &dyn Clock,
) -> Result<Compacted, LakeError> {
    let mut done = Compacted::default();
    loop {
        table.refresh().await?;
        let files = partitions(table.files()?, layout).remove(value).unwrap_or_default();
        let begun_ms = clock.now_ms();
        let rewritten = match due(&files, limits, closed) {
            Due::Nothing => return Ok(done),
            Due::Sort(file) => super::rewrite(table.dir(), layout, &[file], Vec::new())?,
            Due::Merge(runs) => {
                let merged = merged(table.dir(), layout, limits, &runs)?;
                failpoint::reached("compact.merged");
                merged
            }
        };
        let step = put(table, rewritten, limits, begun_ms, clock).await?;
        done.add(&step);
        if step.commits == 0 {
            return Ok(done);
        }
    }
}

/// A sorted run: its files, by their place in it.
type Run<'a> = Vec<(u32, &'a DataFile)>;

enum Due<'a> {
    Nothing,
    /// A file of ingest, whose rows are in order within a row group only.
    Sort(&'a DataFile),
    Merge(Vec<Run<'a>>),
}

fn due<'a>(files: &'a [DataFile], limits: &Limits, closed: bool) -> Due<'a> {
    let mut sorted: BTreeMap<String, Run<'_>> = BTreeMap::new();
    let mut unsorted = Vec::new();
    for file in files {
        match run_of(&file.path) {
            Some((run, part)) => sorted.entry(run).or_default().push((part, file)),
            None => unsorted.push(file),
        }
    }
    let large = |bytes: u64| bytes >= limits.target_bytes / 2;
    let of = |run: &Run<'_>| run.iter().map(|f| f.1.bytes).sum::<u64>();
    unsorted.retain(|f| closed || large(f.bytes));
    let mut runs: Vec<Run<'_>> = sorted.into_values().filter(|run| closed || large(of(run))).collect();
    let enough = runs.len() + unsorted.len() >= limits.small_files.max(2);
    let (all, largest) = (runs.iter().map(of).sum::<u64>(), runs.iter().map(of).max().unwrap_or(0));
    // As for files: a few stragglers do not rewrite a partition.
    let worth_it = enough || closed && runs.len() > 1 && (all - largest) * 16 >= largest;
    match unsorted.first() {
        Some(file) if closed || enough => Due::Sort(file),
        _ if worth_it && runs.len() > 1 => {
            runs.sort_by_key(of);
            runs.truncate(RUNS);
            runs.iter_mut().for_each(|run| run.sort_by_key(|f| f.0));
            Due::Merge(runs)
        }
        _ => Due::Nothing,
    }
}

/// Runs, each of files in the order of their parts, as one.
fn merged(dir: &Path, layout: &Layout, limits: &Limits, runs: &[Run<'_>]) -> Result<Rewritten, LakeError> {
    let schema = reading_schema(&layout.contract);
    let Order::ById(columns) = &layout.order else {
        return Err(LakeError::Table {
            path: dir.to_owned(),
            reason: "a merge needs rows ordered by identifier".into(),
        });
    };
    let inputs: Vec<&DataFile> = runs.iter().flat_map(|run| run.iter().map(|f| f.1)).collect();
    let mut outputs = Outputs::new(dir, layout, Arc::clone(&schema), &inputs, Vec::new())?;
    let mut window = Window { batches: Vec::new(), picks: Vec::new() };
    let mut cursors = Vec::with_capacity(runs.len());
    let mut heap = BinaryHeap::with_capacity(runs.len());
    for (i, run) in runs.iter().enumerate() {
        let mut cursor = Cursor::open(run, columns[0], &schema)?;
        if cursor.load(&mut window, &mut outputs)? {
            heap.push(Reverse((cursor.keys[0], i)));
        }
        cursors.push(cursor);
    }
    let mut last = None;
    while let Some(Reverse((key, i))) = heap.pop() {
        let cursor = &mut cursors[i];
        if last != Some(key) {
            window.picks.push((cursor.batch, cursor.row));
            last = Some(key);
        }
        cursor.row += 1;
        if cursor.row < cursor.keys.len() || cursor.load(&mut window, &mut outputs)? {
            heap.push(Reverse((cursor.keys[cursor.row], i)));
        }
        // Of duplicates nothing is picked, but their batches are there.
        if window.picks.len() == STEP || window.batches.len() > 3 * runs.len() {
            window.flush(&schema, &mut outputs, &mut cursors, dir)?;
            outputs.roll(limits.target_bytes)?;
        }
    }
    window.flush(&schema, &mut outputs, &mut [], dir)?;
    outputs.finish()
}

/// Batches in use, and the rows chosen of them so far.
struct Window {
    batches: Vec<RecordBatch>,
    picks: Vec<(usize, usize)>,
}

impl Window {
    /// Writes what was chosen and lets go of every batch that no cursor stands in.
    fn flush(
        &mut self,
        schema: &SchemaRef,
        outputs: &mut Outputs<'_>,
        cursors: &mut [Cursor],
        dir: &Path,
    ) -> Result<(), LakeError> {
        if !self.picks.is_empty() {
            outputs.write(&gather(schema, &self.batches, &self.picks).map_err(|e| refused(dir, &e))?)?;
            self.picks.clear();
        }
        let mut kept = Vec::new();
        for cursor in cursors.iter_mut().filter(|c| c.row < c.keys.len()) {
            kept.push(self.batches[cursor.batch].clone());
            cursor.batch = kept.len() - 1;
        }
        self.batches = kept;
        Ok(())
    }
}

/// Where a run is being read.
struct Cursor {
    /// Row groups still to come, the next one last.
    parts: Vec<(PathBuf, usize)>,
    reader: Option<(ParquetRecordBatchReader, PathBuf)>,
    column: &'static str,
    schema: SchemaRef,
    batch: usize,
    row: usize,
    keys: Vec<u128>,
}

impl Cursor {
    fn open(files: &Run<'_>, column: &'static str, schema: &SchemaRef) -> Result<Cursor, LakeError> {
        let mut parts = Vec::new();
        for (_, file) in files {
            parts.extend((0..row_groups(&file.path)?).map(|group| (file.path.clone(), group)));
        }
        parts.reverse();
        Ok(Cursor { parts, reader: None, column, schema: Arc::clone(schema), batch: 0, row: 0, keys: Vec::new() })
    }

    /// The next batch of the run into the window; false at its end.
    fn load(&mut self, window: &mut Window, outputs: &mut Outputs<'_>) -> Result<bool, LakeError> {
        loop {
            if let Some((reader, path)) = &mut self.reader
                && let Some(batch) = reader.next()
            {
                let batch = batch.map_err(|e| refused(path, &e))?;
                let wrong = || LakeError::Table { path: path.clone(), reason: "a column is missing".into() };
                let column = batch.column_by_name(self.column).ok_or_else(wrong)?;
                self.keys = ids(column).map_err(|e| refused(path, &e))?;
                (self.row, self.batch) = (0, window.batches.len());
                outputs.read(batch.num_rows());
                window.batches.push(batch);
                if !self.keys.is_empty() {
                    return Ok(true);
                }
                continue;
            }
            let Some((path, group)) = self.parts.pop() else {
                self.keys.clear();
                self.row = 0;
                return Ok(false);
            };
            self.reader = Some((open_group(&path, group, &self.schema, BATCH_ROWS)?, path));
        }
    }
}
