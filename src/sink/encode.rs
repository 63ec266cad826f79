//! A block of one table to Parquet column chunks, on the thread that made it.
//!
//! Only appending the finished chunks to a file is left for the collecting thread.

use super::SinkError;
use crate::lake::contract::{ColumnKind, Contract};
use arrow::array::{ArrayRef, DictionaryArray, FixedSizeBinaryArray, StringArray, UInt16Array};
use arrow::buffer::{Buffer, NullBuffer};
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
}

/// One row group, encoded; goes into the file of its partition.
pub struct Group {
    pub table: &'static str,
    /// Value of the table's one partition column.
    pub partition: String,
    pub rows: usize,
    pub chunks: Vec<ArrowColumnChunk>,
}

impl TableFormat {
    /// Identifiers and sealed bytes are random: no dictionary, no compression. Everything else is
    /// of few values. `lookup` names the columns that point lookups go by (Bloom filters).
    pub fn new(contract: &Contract, lookup: &[&str], rows_per_group: u64) -> Result<TableFormat, SinkError> {
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
        for name in lookup {
            let path = ColumnPath::from(*name);
            properties = properties
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_max_ndv(path.clone(), rows_per_group)
                .set_column_bloom_filter_fpp(path, 0.01);
        }
        let properties = Arc::new(properties.build());
        // Column writers come from a factory that wants a file; they never touch it.
        let nowhere = SerializedFileWriter::new(std::io::sink(), parquet.root_schema_ptr(), Arc::clone(&properties))
            .map_err(refused(contract.name))?;
        let columns = ArrowRowGroupWriterFactory::new(&nowhere, Arc::clone(&schema));
        Ok(TableFormat {
            name: contract.name,
            schema,
            parquet,
            properties,
            partition: contract.partition[0].name,
            columns,
        })
    }

    /// Encodes one row group; `arrays` in the order of the contract.
    pub fn encode(&self, partition: String, arrays: &[ArrayRef]) -> Result<Group, SinkError> {
        let refused = refused(self.name);
        let mut writers = self.columns.create_column_writers(0).map_err(&refused)?;
        let mut chunks = Vec::with_capacity(arrays.len());
        for ((writer, field), array) in writers.drain(..).zip(self.schema.fields()).zip(arrays) {
            let mut writer = writer;
            for leaf in compute_leaves(field, array).map_err(&refused)? {
                writer.write(&leaf).map_err(&refused)?;
            }
            chunks.push(writer.close().map_err(&refused)?);
        }
        Ok(Group { table: self.name, partition, rows: arrays.first().map_or(0, |a| a.len()), chunks })
    }
}

pub(super) fn refused(table: &'static str) -> impl Fn(parquet::errors::ParquetError) -> SinkError {
    move |e| SinkError::Encode { table, reason: e.to_string() }
}

/// A column of few texts: one key per row into `values`, `None` for null.
pub(super) fn symbols(keys: impl Iterator<Item = Option<u16>>, values: Vec<String>) -> ArrayRef {
    let keys: UInt16Array = keys.collect();
    Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(values))))
}

/// A column that has the same text in every row.
pub(super) fn constant(text: &str, rows: usize) -> ArrayRef {
    Arc::new(DictionaryArray::new(UInt16Array::from(vec![0; rows]), Arc::new(StringArray::from(vec![text]))))
}

/// A column that has the same bytes in every row.
pub(super) fn constant_bytes(bytes: &[u8], rows: usize) -> ArrayRef {
    let values = arrow::array::BinaryArray::from(vec![bytes]);
    Arc::new(DictionaryArray::new(UInt16Array::from(vec![0; rows]), Arc::new(values)))
}

/// A 16-byte column in the order of `order`, null where `present` says so.
pub(super) fn ids(values: &[[u8; 16]], order: &[u32], present: impl Fn(usize) -> bool) -> ArrayRef {
    let mut bytes = Vec::with_capacity(order.len() * 16);
    let mut nulls = arrow::array::BooleanBufferBuilder::new(order.len());
    for &row in order {
        bytes.extend_from_slice(&values[row as usize]);
        nulls.append(present(row as usize));
    }
    Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(bytes), Some(NullBuffer::new(nulls.finish()))))
}
