//! The columns of a table, once, for Delta, Arrow and the documentation under `schemas/lake`.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::{DataType as DeltaType, PrimitiveType, StructField};
use std::sync::Arc;

/// Logical column types, each with one Arrow and one Delta type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    String,
    /// A string of few values: written as a dictionary.
    Symbol,
    /// 16 bytes.
    Id,
    Binary,
    /// A binary value repeated over a block: written as a dictionary.
    Header,
    Integer,
    Long,
    Boolean,
    /// Microseconds, UTC.
    Timestamp,
    Date,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnKind,
    pub nullable: bool,
}

/// A table: its data columns in file order, then its partition columns.
#[derive(Clone, Debug)]
pub struct Contract {
    pub name: &'static str,
    pub columns: Vec<Column>,
    pub partition: Vec<Column>,
}

pub fn column(name: &'static str, kind: ColumnKind, nullable: bool) -> Column {
    Column { name, kind, nullable }
}

impl Contract {
    /// Schema of the data files: without the partition columns, which stand in the path.
    pub fn arrow(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns.iter().map(|c| Field::new(c.name, arrow_type(c.kind), c.nullable)).collect::<Vec<_>>(),
        ))
    }

    pub fn delta_columns(&self) -> Vec<StructField> {
        self.columns
            .iter()
            .chain(&self.partition)
            .map(|c| StructField::new(c.name, delta_type(c.kind), c.nullable))
            .collect()
    }
}

fn arrow_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::String | ColumnKind::Symbol => DataType::Utf8,
        ColumnKind::Id => DataType::FixedSizeBinary(16),
        ColumnKind::Binary | ColumnKind::Header => DataType::Binary,
        ColumnKind::Integer => DataType::Int32,
        ColumnKind::Long => DataType::Int64,
        ColumnKind::Boolean => DataType::Boolean,
        ColumnKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnKind::Date => DataType::Date32,
    }
}

fn delta_type(kind: ColumnKind) -> DeltaType {
    DeltaType::Primitive(match kind {
        ColumnKind::String | ColumnKind::Symbol => PrimitiveType::String,
        ColumnKind::Id | ColumnKind::Binary | ColumnKind::Header => PrimitiveType::Binary,
        ColumnKind::Integer => PrimitiveType::Integer,
        ColumnKind::Long => PrimitiveType::Long,
        ColumnKind::Boolean => PrimitiveType::Boolean,
        ColumnKind::Timestamp => PrimitiveType::Timestamp,
        ColumnKind::Date => PrimitiveType::Date,
    })
}
