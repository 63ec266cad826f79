//! A block of one table to Parquet column chunks, on the thread that made it.
//!
//! Only appending the finished chunks to a file is left for the collecting thread.

use super::SinkError;
use super::chunk::{self, Chunk};
use crate::lake::contract::{ColumnKind, Contract};
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use std::sync::Arc;

/// How one table's files are written.
pub struct TableFormat {
    pub name: &'static str,
    pub schema: SchemaRef,
    pub parquet: SchemaDescriptor,
    pub properties: WriterPropertiesPtr,
    pub partition: &'static str,
    columns: ArrowRowGroupWriterFactory,
    /// Which columns point lookups go by.
    lookup: Vec<bool>,
}

/// One row group, encoded; goes into the file of its partition.
pub struct Group {
    pub table: &'static str,
    /// Value of the table's one partition column.
    pub partition: String,
    pub rows: usize,
    pub chunks: Vec<Encoded>,
}

/// An encoded column of a row group.
pub enum Encoded {
    Ours(Chunk),
    Theirs(ArrowColumnChunk),
}

/// False positive rate of the Bloom filters that point lookups go by.
const BLOOM_FPP: f64 = 0.01;

impl TableFormat {
    /// Identifiers and sealed bytes are random: no dictionary, no compression. Everything else is
    /// of few values. `lookup` names the columns that point lookups go by (Bloom filters).
    pub fn new(contract: &Contract, lookup: &[&str]) -> Result<TableFormat, SinkError> {
        let schema = contract.arrow();
        let parquet = ArrowSchemaConverter::new().convert(&schema).map_err(refused(contract.name))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .set_data_page_row_count_limit(usize::MAX);
        for column in &contract.columns {
            let path = ColumnPath::from(column.name);
            properties = match column.kind {
                ColumnKind::Id | ColumnKind::Binary => properties.set_column_dictionary_enabled(path, false),
                ColumnKind::Integer if column.name == "row" => properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
                _ => properties.set_column_compression(path, Compression::ZSTD(ZstdLevel::default())),
            };
        }
        let properties = Arc::new(properties.build());
        // Column writers come from a factory that wants a file; they never touch it.
        let nowhere = SerializedFileWriter::new(std::io::sink(), parquet.root_schema_ptr(), Arc::clone(&properties))
            .map_err(refused(contract.name))?;
        let columns = ArrowRowGroupWriterFactory::new(&nowhere, Arc::clone(&schema));
        let lookup = contract.columns.iter().map(|c| lookup.contains(&c.name)).collect();
        Ok(TableFormat {
            name: contract.name,
            schema,
            parquet,
            properties,
            partition: contract.partition[0].name,
            columns,
            lookup,
        })
    }

    /// Encodes one row group; `columns` in the order of the contract.
    pub(super) fn encode(&self, partition: String, rows: usize, columns: Vec<Cells>) -> Result<Group, SinkError> {
        let refused = refused(self.name);
        let writers = self.columns.create_column_writers(0).map_err(&refused)?;
        let mut chunks = Vec::with_capacity(columns.len());
        for (i, (mut writer, cells)) in writers.into_iter().zip(columns).enumerate() {
            let column = self.parquet.column(i);
            chunks.push(match cells {
                Cells::Symbols(keys, words) => Encoded::Ours(chunk::symbols(&column, &keys, &words).map_err(&refused)?),
                Cells::Ids(bytes, valid) => {
                    let bloom = self.lookup[i].then_some(BLOOM_FPP);
                    Encoded::Ours(chunk::ids(&column, &bytes, &valid, bloom).map_err(&refused)?)
                }
                Cells::Blobs(plain) => Encoded::Ours(chunk::blobs(&column, plain, rows).map_err(&refused)?),
                Cells::Array(array) => {
                    for leaf in compute_leaves(self.schema.field(i), &array).map_err(&refused)? {
                        writer.write(&leaf).map_err(&refused)?;
                    }
                    Encoded::Theirs(writer.close().map_err(&refused)?)
                }
            });
        }
        Ok(Group { table: self.name, partition, rows, chunks })
    }
}

pub(super) fn refused(table: &'static str) -> impl Fn(parquet::errors::ParquetError) -> SinkError {
    move |e| SinkError::Encode { table, reason: e.to_string() }
}

/// A column of a block, in the cheapest shape its values allow.
pub(super) enum Cells {
    /// Few distinct values: keys into words, `chunk::NULL` for none.
    Symbols(Vec<u16>, Vec<Vec<u8>>),
    /// 16-byte values: those that are there, and which rows have one.
    Ids(Vec<u8>, Vec<bool>),
    /// Byte strings, each with its length (4 bytes, little-endian) before it.
    Blobs(Vec<u8>),
    Array(ArrayRef),
}

/// A column of few texts: one key per row into `words`, `None` for null.
pub(super) fn symbols(keys: impl Iterator<Item = Option<u16>>, words: Vec<String>) -> Cells {
    Cells::Symbols(
        keys.map(|k| k.unwrap_or(chunk::NULL)).collect(),
        words.into_iter().map(String::into_bytes).collect(),
    )
}

/// A column that has the same bytes in every row.
pub(super) fn constant(bytes: impl AsRef<[u8]>, rows: usize) -> Cells {
    Cells::Symbols(vec![0; rows], vec![bytes.as_ref().to_vec()])
}

/// A 16-byte column in the order of `order`, null where `present` says so.
pub(super) fn ids(values: &[[u8; 16]], order: &[u32], present: impl Fn(usize) -> bool) -> Cells {
    let mut bytes = Vec::with_capacity(order.len() * 16);
    let mut valid = Vec::with_capacity(order.len());
    for &row in order {
        let there = present(row as usize);
        valid.push(there);
        if there {
            bytes.extend_from_slice(&values[row as usize]);
        }
    }
    Cells::Ids(bytes, valid)
}
