//! The files a compaction writes.

use super::Layout;
use super::rows::Order;
use crate::lake::LakeError;
use crate::lake::contract::ColumnKind;
use crate::lake::delta::{AddFile, DataFile};
use crate::lake::durable::{create_folders, random_name};
use crate::lake::parquet::finish_file;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Rows of a row group: what one Bloom filter speaks of.
pub const GROUP_ROWS: usize = 262_144;
/// Rows of a data page: what a lookup has to read for one row.
const PAGE_ROWS: usize = 8_192;
/// As those of ingest (`sink::encode`).
const BLOOM_FPP: f64 = 0.01;
/// A header is 1168 bytes, and a row group may hold rows of many blocks. Beyond the limit every row
/// would carry its own.
const DICTIONARY_BYTES: usize = 1 << 30;

/// Compacted files are told by name, and which of them came out of one run in which order.
const PREFIX: &str = "compacted-";

/// Which run a compacted file belongs to, and its place in it; `None` for files of ingest.
pub fn run_of(path: &Path) -> Option<(String, u32)> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(".parquet")?;
    let (run, part) = name.split_once('-')?;
    Some((run.to_owned(), part.parse().ok()?))
}

/// New files and those whose rows they hold. Dropped, the new ones vanish.
pub struct Rewritten {
    /// Relative to the table.
    pub inputs: Vec<String>,
    pub files: Vec<AddFile>,
    pub bytes_before: u64,
    pub rows_before: u64,
    dir: PathBuf,
    kept: bool,
}

impl Rewritten {
    /// From now on the files are not removed when this is dropped.
    pub(super) fn keep(mut self) -> Rewritten {
        self.kept = true;
        self
    }

    /// Removes the new files, which surely are in no table.
    pub(super) fn remove(mut self) {
        self.kept = false;
    }
}

impl Drop for Rewritten {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is an orphan for the sweep.
            self.files.iter().for_each(|f| drop(fs::remove_file(self.dir.join(&f.path))));
        }
    }
}

/// Writes sorted rows into files of about a target size, one after another.
pub struct Outputs<'a> {
    layout: &'a Layout,
    schema: SchemaRef,
    about: Vec<KeyValue>,
    run: String,
    folder: String,
    partition: BTreeMap<String, String>,
    open: Option<(ArrowWriter<File>, PathBuf, String, i64)>,
    done: Rewritten,
}

impl<'a> Outputs<'a> {
    /// For the rows of `inputs`, which are files of one partition of the table at `dir`.
    pub fn new(
        dir: &Path,
        layout: &'a Layout,
        schema: SchemaRef,
        inputs: &[&DataFile],
        about: Vec<KeyValue>,
    ) -> Result<Outputs<'a>, LakeError> {
        let column = layout.contract.partition[0].name;
        let wrong = || LakeError::Table { path: dir.to_owned(), reason: "a data file is not where it belongs".into() };
        let value = inputs.first().and_then(|f| f.partition.get(column)?.clone()).ok_or_else(wrong)?;
        let relative = |f: &&DataFile| Some(f.path.strip_prefix(dir).ok()?.to_str()?.to_owned());
        let names = inputs.iter().map(relative).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
        let done = Rewritten {
            inputs: names,
            files: Vec::new(),
            bytes_before: inputs.iter().map(|f| f.bytes).sum(),
            rows_before: 0,
            dir: dir.to_owned(),
            kept: false,
        };
        let folder = format!("{column}={value}");
        let partition = BTreeMap::from([(column.to_owned(), value)]);
        Ok(Outputs { layout, schema, about, run: random_name(), folder, partition, open: None, done })
    }

    /// Counts what was read, kept or not.
    pub fn read(&mut self, rows: usize) {
        self.done.rows_before += rows as u64;
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        let Some((writer, path, _, rows)) = &mut self.open else { return Ok(()) };
        writer.write(batch).map_err(|e| refused(path, &e))?;
        *rows += batch.num_rows() as i64;
        Ok(())
    }

    /// Closes the present file if it has grown to `target_bytes`.
    pub fn roll(&mut self, target_bytes: u64) -> Result<(), LakeError> {
        match &self.open {
            Some((writer, ..)) if (writer.bytes_written() + writer.in_progress_size()) as u64 >= target_bytes => {
                self.close()
            }
            _ => Ok(()),
        }
    }

    /// Every file closed and synced.
    pub fn finish(mut self) -> Result<Rewritten, LakeError> {
        self.close()?;
        let dir = self.done.dir.clone();
        let nothing = Rewritten { inputs: vec![], files: vec![], bytes_before: 0, rows_before: 0, dir, kept: true };
        Ok(std::mem::replace(&mut self.done, nothing))
    }

    fn begin(&self) -> Result<(ArrowWriter<File>, PathBuf, String, i64), LakeError> {
        let name = format!("{PREFIX}{}-{}.parquet", self.run, self.done.files.len());
        let relative = format!("{}/{name}", self.folder);
        let path = self.done.dir.join(&relative);
        create_folders(path.parent().unwrap_or(&self.done.dir))?;
        let file = File::create_new(&path).map_err(LakeError::io("cannot create", &path))?;
        // As in the files of ingest: no Arrow schema beside Parquet's own.
        let options = ArrowWriterOptions::new()
            .with_properties(properties(self.layout, self.about.clone()))
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, self.schema.clone(), options);
        Ok((writer.map_err(|e| refused(&path, &e))?, path, relative, 0))
    }

    fn close(&mut self) -> Result<(), LakeError> {
        let Some((writer, path, relative, rows)) = self.open.take() else { return Ok(()) };
        let closed = writer
            .into_inner()
            .map_err(|e| refused(&path, &e))
            .and_then(|file| finish_file(file, &path, &relative, self.partition.clone(), rows));
        if closed.is_err() {
            let _ = fs::remove_file(&path);
        }
        self.done.files.push(closed?);
        Ok(())
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        if let Some((_, path, ..)) = self.open.take() {
            let _ = fs::remove_file(path);
        }
    }
}

/// Encodings of ingest (`sink::encode`), in pages that can be skipped. No column has statistics.
fn properties(layout: &Layout, about: Vec<KeyValue>) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_key_value_metadata((!about.is_empty()).then_some(about));
    for column in &layout.contract.columns {
        let path = ColumnPath::from(column.name);
        properties = match column.kind {
            ColumnKind::Id => properties.set_column_dictionary_enabled(path, false),
            // Sealed bytes are random; others (sketches) are not.
            ColumnKind::Binary if column.name == "sealed" => properties.set_column_dictionary_enabled(path, false),
            ColumnKind::Binary => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_compression(path, Compression::ZSTD(ZstdLevel::default())),
            ColumnKind::Integer if column.name == "row" => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            _ => properties.set_column_compression(path, Compression::ZSTD(ZstdLevel::default())),
        };
    }
    for name in &layout.lookup {
        let path = ColumnPath::from(*name);
        properties = properties
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), BLOOM_FPP)
            .set_column_bloom_filter_max_ndv(path, GROUP_ROWS as u64);
    }
    let index = |name: &&str| layout.contract.columns.iter().position(|c| c.name == *name);
    let sorted = match &layout.order {
        Order::ById(columns) | Order::By(columns) => columns.iter().filter_map(index).collect(),
        Order::AsTheyStand => Vec::new(),
    };
    let sorted =
        sorted.into_iter().map(|i: usize| SortingColumn { column_idx: i as i32, descending: false, nulls_first: true });
    let sorted: Vec<SortingColumn> = sorted.collect();
    properties.set_sorting_columns((!sorted.is_empty()).then_some(sorted)).build()
}

pub fn refused(path: &Path, error: &dyn std::fmt::Display) -> LakeError {
    LakeError::Table { path: path.to_owned(), reason: error.to_string() }
}
