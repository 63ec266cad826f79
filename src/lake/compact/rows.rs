//! Rows of many files in one order, in memory: never more than one group of files.
//!
//! Columns of few values (symbols, and the headers of sealed blocks, 1168 bytes each) stay
//! dictionaries on the whole way: spelt out, a header in every row would be ten times the rest.

use super::Layout;
use super::output::{GROUP_ROWS, Outputs, Rewritten, refused};
use crate::lake::LakeError;
use crate::lake::contract::{ColumnKind, Contract};
use crate::lake::delta::DataFile;
use crate::lake::parquet::row_groups;
use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch};
use arrow::compute::{SortColumn, concat, interleave, lexsort_to_indices};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::KeyValue;
use rand::Rng;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// The order of a table's rows in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// By one or two columns of 16 bytes; ties in random order.
    ById(Vec<&'static str>),
    /// By these columns, as Arrow compares them.
    By(Vec<&'static str>),
    AsTheyStand,
}

/// Rows handed to the writer at a time; a divisor of `GROUP_ROWS`.
pub const STEP: usize = 65_536;
const _: () = assert!(GROUP_ROWS.is_multiple_of(STEP));

/// The rows of `files` in the layout's order, written beside them as one file.
pub fn sorted(dir: &Path, layout: &Layout, files: &[&DataFile], about: Vec<KeyValue>) -> Result<Rewritten, LakeError> {
    let schema = reading_schema(&layout.contract);
    let mut outputs = Outputs::new(dir, layout, Arc::clone(&schema), files, about)?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    for file in files {
        for group in 0..row_groups(&file.path)? {
            for batch in open_group(&file.path, group, &schema, STEP)? {
                batches.push(batch.map_err(|e| refused(&file.path, &e))?);
            }
        }
    }
    outputs.read(batches.iter().map(RecordBatch::num_rows).sum());
    // Rows that are no longer wanted (rejects that were resolved) would be left out of `order`, here.
    let order = order(layout, &batches).map_err(|e| refused(dir, &e))?;
    for picks in order.chunks(STEP) {
        outputs.write(&gather(&schema, &batches, picks).map_err(|e| refused(dir, &e))?)?;
    }
    outputs.finish()
}

/// The contract's columns as they are read here: symbols and headers as dictionaries.
pub fn reading_schema(contract: &Contract) -> SchemaRef {
    let words = |of: DataType| DataType::Dictionary(Box::new(DataType::Int32), Box::new(of));
    let plain = contract.arrow();
    let fields = contract.columns.iter().zip(plain.fields()).map(|(column, field)| {
        let kind = match column.kind {
            ColumnKind::Symbol => words(DataType::Utf8),
            ColumnKind::Header => words(DataType::Binary),
            _ => field.data_type().clone(),
        };
        Field::new(column.name, kind, column.nullable)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// One row group, in batches of `rows`. By itself, so that its dictionaries are not spelt out.
pub fn open_group(
    path: &Path,
    group: usize,
    schema: &SchemaRef,
    rows: usize,
) -> Result<ParquetRecordBatchReader, LakeError> {
    let file = File::open(path).map_err(LakeError::io("cannot open", path))?;
    let options = ArrowReaderOptions::new().with_schema(Arc::clone(schema));
    ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .map(|builder| builder.with_row_groups(vec![group]).with_batch_size(rows))
        .and_then(|builder| builder.build())
        .map_err(|e| refused(path, &e))
}

/// (batch, row) of every row that is kept, in order.
fn order(layout: &Layout, batches: &[RecordBatch]) -> Result<Vec<(usize, usize)>, ArrowError> {
    let all = || batches.iter().enumerate().flat_map(|(b, batch)| (0..batch.num_rows()).map(move |r| (b, r)));
    match &layout.order {
        Order::AsTheyStand => Ok(all().collect()),
        Order::By(columns) => by_columns(batches, columns, all().collect()),
        Order::ById(columns) => by_id(batches, columns, layout.unique),
    }
}

fn by_columns(
    batches: &[RecordBatch],
    columns: &[&str],
    all: Vec<(usize, usize)>,
) -> Result<Vec<(usize, usize)>, ArrowError> {
    if all.is_empty() {
        return Ok(all);
    }
    let keys = columns.iter().map(|name| {
        let parts: Vec<&dyn Array> =
            batches.iter().map(|b| Ok(column(b, name)?.as_ref())).collect::<Result<_, ArrowError>>()?;
        Ok(SortColumn { values: concat(&parts)?, options: None })
    });
    let keys = keys.collect::<Result<Vec<_>, ArrowError>>()?;
    let order = lexsort_to_indices(&keys, None)?;
    Ok(order.values().iter().map(|i| all[*i as usize]).collect())
}

/// Two rows that are equal in the columns stand in an order that says nothing: each draws a number.
fn by_id(batches: &[RecordBatch], columns: &[&str], unique: bool) -> Result<Vec<(usize, usize)>, ArrowError> {
    let mut rng = rand::rng();
    let mut keyed: Vec<(u128, u64, u32, u32, u32)> = Vec::new();
    for (b, batch) in batches.iter().enumerate() {
        let first = ids(column(batch, columns[0])?)?;
        let second = columns.get(1).map(|name| ids(column(batch, name)?)).transpose()?;
        for (row, id) in first.into_iter().enumerate() {
            let next = second.as_ref().map_or(0, |s| (s[row] >> 64) as u64);
            // Of duplicates, the row of the earliest batch is kept: blocks that give few rows go.
            let tie = if unique { b as u32 } else { rng.random() };
            keyed.push((id, next, tie, b as u32, row as u32));
        }
    }
    keyed.sort_unstable();
    if unique {
        keyed.dedup_by_key(|k| k.0);
    }
    Ok(keyed.into_iter().map(|k| (k.3 as usize, k.4 as usize)).collect())
}

/// A column of 16 bytes as numbers that compare as the bytes do; 0 for null, which comes first.
pub fn ids(column: &ArrayRef) -> Result<Vec<u128>, ArrowError> {
    let wrong = || ArrowError::SchemaError("an identifier column is not of 16 bytes".into());
    let column = column.as_fixed_size_binary_opt().ok_or_else(wrong)?;
    let number = |id: Option<&[u8]>| id.map_or(Ok(0), |id| id.try_into().map(u128::from_be_bytes).map_err(|_| wrong()));
    column.iter().map(number).collect()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError("a column of the contract is missing".into()))
}

/// The rows that `picks` names (batch, row), as one batch.
pub fn gather(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    picks: &[(usize, usize)],
) -> Result<RecordBatch, ArrowError> {
    let columns = (0..schema.fields().len()).map(|i| {
        let parts: Vec<&dyn Array> = batches.iter().map(|b| b.column(i).as_ref()).collect();
        match schema.field(i).data_type() {
            DataType::Dictionary(..) => gather_words(&parts, picks),
            _ => interleave(&parts, picks),
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

/// The same for dictionaries: one that holds each word in use once.
fn gather_words(parts: &[&dyn Array], picks: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
    let parts: Vec<&DictionaryArray<Int32Type>> = parts.iter().map(|p| p.as_dictionary()).collect();
    // By part and its key: place of the word in `words`, once seen.
    let mut places: Vec<Vec<i32>> = vec![Vec::new(); parts.len()];
    let mut known: HashMap<&[u8], i32> = HashMap::new();
    let mut words: Vec<(usize, usize)> = Vec::new();
    let mut keys: Vec<Option<i32>> = Vec::with_capacity(picks.len());
    for &(part, row) in picks {
        let Some(key) = parts[part].key(row) else {
            keys.push(None);
            continue;
        };
        let places = &mut places[part];
        if places.is_empty() {
            places.resize(parts[part].values().len(), -1);
        }
        if places[key] < 0 {
            places[key] = *known.entry(word(parts[part].values(), key)).or_insert_with(|| {
                words.push((part, key));
                words.len() as i32 - 1
            });
        }
        keys.push(Some(places[key]));
    }
    let values: Vec<&dyn Array> = parts.iter().map(|p| p.values().as_ref()).collect();
    let words = interleave(&values, &words)?;
    Ok(Arc::new(DictionaryArray::try_new(Int32Array::from(keys), words)?))
}

fn word(values: &ArrayRef, key: usize) -> &[u8] {
    match values.as_binary_opt::<i32>() {
        Some(bytes) => bytes.value(key),
        None => values.as_string::<i32>().value(key).as_bytes(),
    }
}
