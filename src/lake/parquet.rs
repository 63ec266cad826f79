//! Data files: Parquet written by us, synced before anybody is told of them.

use super::LakeError;
use super::delta::AddFile;
use super::durable::{create_folders, sync_folder};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Folder part of a data file: `column=value/…` in the order of the contract.
pub fn partition_folder(partition: &BTreeMap<String, String>, order: &[&str]) -> String {
    order.iter().map(|c| format!("{c}={}/", partition[*c])).collect()
}

/// Writes `batches` as one data file of the table at `dir`; durable on return.
pub fn write_file(
    dir: &Path,
    relative: &str,
    partition: BTreeMap<String, String>,
    schema: SchemaRef,
    batches: &[RecordBatch],
) -> Result<AddFile, LakeError> {
    let path = dir.join(relative);
    let folder = path.parent().unwrap_or(dir);
    create_folders(folder)?;
    let file = File::create_new(&path).map_err(LakeError::io("cannot create", &path))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let refused = |e: parquet::errors::ParquetError| LakeError::Table { path: path.clone(), reason: e.to_string() };
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(refused)?;
    for batch in batches {
        writer.write(batch).map_err(refused)?;
    }
    // Writes the footer too.
    let file = writer.into_inner().map_err(refused)?;
    finish_file(file, &path, relative, partition, batches.iter().map(|b| b.num_rows() as i64).sum())
}

/// Syncs a complete data file and its folder, and describes it.
pub fn finish_file(
    file: File,
    path: &Path,
    relative: &str,
    partition: BTreeMap<String, String>,
    rows: i64,
) -> Result<AddFile, LakeError> {
    file.sync_all().map_err(LakeError::io("cannot sync", path))?;
    let meta = file.metadata().map_err(LakeError::io("cannot read", path))?;
    sync_folder(path.parent().unwrap_or(path)).map_err(LakeError::io("cannot sync", path))?;
    let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    Ok(AddFile {
        path: relative.to_owned(),
        partition,
        bytes: meta.len() as i64,
        rows,
        modified_ms: modified.map_or(0, |d| d.as_millis() as i64),
    })
}

/// All record batches of one data file.
pub fn read_file(path: &Path) -> Result<Vec<RecordBatch>, LakeError> {
    let file = File::open(path).map_err(LakeError::io("cannot open", path))?;
    let refused = |e: String| LakeError::Table { path: path.to_owned(), reason: e };
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(|b| b.build()).map_err(|e| refused(e.to_string()))?;
    reader.collect::<Result<Vec<_>, _>>().map_err(|e| refused(e.to_string()))
}

/// Batches of a data file with these columns only, in the order of the file; of all row groups, or of
/// one, counted from 0.
pub fn read_columns(
    path: &Path,
    columns: &[&str],
    group: Option<usize>,
) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>> + use<>, LakeError> {
    let file = File::open(path).map_err(LakeError::io("cannot open", path))?;
    let owned = path.to_owned();
    let refused = move |e: String| LakeError::Table { path: owned.clone(), reason: e };
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| refused(e.to_string()))?;
    if let Some(group) = group {
        builder = builder.with_row_groups(vec![group]);
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(|e| refused(e.to_string()))?;
    Ok(reader.map(move |batch| batch.map_err(|e| refused(e.to_string()))))
}

/// How many row groups a data file has.
pub fn row_groups(path: &Path) -> Result<usize, LakeError> {
    let file = File::open(path).map_err(LakeError::io("cannot open", path))?;
    let reader = SerializedFileReader::new(file)
        .map_err(|e| LakeError::Table { path: path.to_owned(), reason: e.to_string() })?;
    Ok(reader.num_row_groups())
}

/// What the footer of a data file holds under `key`.
pub fn footer_text(path: &Path, key: &str) -> Result<Option<String>, LakeError> {
    let file = File::open(path).map_err(LakeError::io("cannot open", path))?;
    let refused = |e: String| LakeError::Table { path: path.to_owned(), reason: e };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| refused(e.to_string()))?;
    let about = builder.metadata().file_metadata().key_value_metadata();
    let found = about.and_then(|pairs| pairs.iter().find(|p| p.key == key));
    Ok(found.and_then(|p| p.value.clone()))
}
