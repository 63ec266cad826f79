//! Partials as rows of the lake table `tally`: `schemas/lake/tally.md` in code, both ways.

use super::cell::{Cell, Key, Side, Sum, Sums};
use super::contributors::Contributors;
use super::distinct::Distinct;
use crate::record::clear::{Direction, Service};
use crate::record::identifier::Country;
use crate::record::plmn::Plmn;
use crate::record::veiled::Naming;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

const US_PER_HOUR: i64 = 3_600_000_000;

/// Every column of the Parquet files: name, Delta type, nullable. The partition column
/// `event_day` stands in the path, not in the file.
const COLUMNS: [(&str, &str, bool); 25] = [
    ("cube", "string", false),
    ("cube_version", "integer", false),
    ("hour", "timestamp", false),
    ("service", "string", false),
    ("direction", "string", false),
    ("a_country", "string", true),
    ("b_country", "string", true),
    ("network", "string", true),
    ("currency", "string", true),
    ("records", "long", false),
    ("answered", "long", false),
    ("seconds", "long", false),
    ("bytes", "long", false),
    ("charge_micro", "long", false),
    ("a_parties", "binary", false),
    ("a_parties_imsi", "binary", false),
    ("a_parties_uri", "binary", false),
    ("b_parties", "binary", false),
    ("b_parties_uri", "binary", false),
    ("a_top_seconds", "binary", false),
    ("a_top_bytes", "binary", false),
    ("a_top_charge", "binary", false),
    ("b_top_seconds", "binary", false),
    ("b_top_bytes", "binary", false),
    ("b_top_charge", "binary", false),
];

/// Columns for the Delta table, without the partition column.
pub fn delta_columns() -> &'static [(&'static str, &'static str, bool)] {
    &COLUMNS
}

/// Schema of the Parquet files.
pub fn schema() -> SchemaRef {
    let kind = |k: &str| match k {
        "string" => DataType::Utf8,
        "integer" => DataType::Int32,
        "long" => DataType::Int64,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Binary,
    };
    Arc::new(Schema::new(COLUMNS.iter().map(|(n, k, null)| Field::new(*n, kind(k), *null)).collect::<Vec<_>>()))
}

/// A row of `tally` that cannot be read. Says where, never what.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("row {row}: column {column} of a tally file is not as schemas/lake/tally.md says")]
pub struct ContractError {
    pub column: &'static str,
    pub row: usize,
}

/// Cells as one batch. Sums beyond i64 are stored as its largest value.
pub fn batch(cube: &str, version: u32, cells: &[(Key, Cell)]) -> RecordBatch {
    let text = |f: &dyn Fn(&Key) -> Option<String>| -> ArrayRef {
        Arc::new(cells.iter().map(|c| f(&c.0)).collect::<StringArray>())
    };
    let long = |f: &dyn Fn(&Sums) -> i64| -> ArrayRef {
        Arc::new(cells.iter().map(|c| f(&c.1.sums)).collect::<Vec<_>>().into_iter().map(Some).collect::<Int64Array>())
    };
    let bytes = |f: &dyn Fn(&Cell) -> Vec<u8>| -> ArrayRef {
        Arc::new(BinaryArray::from_iter_values(cells.iter().map(|c| f(&c.1))))
    };
    let parties = |side: usize, naming: Naming| bytes(&move |c| c.sides[side].parties[naming as usize].to_bytes());
    let top = |side: usize, sum: Sum| bytes(&move |c| c.sides[side].contributors[sum as usize].to_bytes());
    let hours = cells.iter().map(|c| i64::from(c.0.hour) * US_PER_HOUR);
    let columns: Vec<ArrayRef> = vec![
        text(&|_| Some(cube.to_owned())),
        Arc::new(Int32Array::from(vec![version as i32; cells.len()])),
        Arc::new(TimestampMicrosecondArray::from_iter_values(hours).with_timezone("UTC")),
        text(&|k| Some(k.service.name().to_owned())),
        text(&|k| Some(k.direction.name().to_owned())),
        text(&|k| country_text(k.a_country)),
        text(&|k| country_text(k.b_country)),
        text(&|k| (!k.network.is_none()).then(|| k.network.to_string())),
        text(&|k| currency_text(k.currency)),
        long(&|s| clamp(s.records.into())),
        long(&|s| clamp(s.answered.into())),
        long(&|s| clamp(s.seconds.into())),
        long(&|s| clamp(s.bytes.into())),
        long(&|s| clamp(s.charge_micro)),
        parties(0, Naming::Number),
        parties(0, Naming::Imsi),
        parties(0, Naming::Uri),
        parties(1, Naming::Number),
        parties(1, Naming::Uri),
        top(0, Sum::Seconds),
        top(0, Sum::Bytes),
        top(0, Sum::Charge),
        top(1, Sum::Seconds),
        top(1, Sum::Bytes),
        top(1, Sum::Charge),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns follow the schema above")
}

/// The cells of one cube in a batch read back from `tally`.
pub fn cells(batch: &RecordBatch, cube: &str) -> Result<Vec<(Key, Cell)>, ContractError> {
    let columns = Columns::of(batch)?;
    (0..batch.num_rows())
        .filter(|row| columns.text[0].value(*row) == cube)
        .map(|row| Ok((columns.key(row)?, columns.cell(row)?)))
        .collect()
}

/// ISO code, `other-intl` for rare, shared and satellite codes; absent as null.
pub fn country_text(country: Country) -> Option<String> {
    country.name().map(str::to_owned)
}

/// The inverse of `country_text` for what is not null.
pub fn country_of(text: &str) -> Option<Country> {
    if Country::OTHER.name() == Some(text) { Some(Country::OTHER) } else { Country::parse(text) }
}

pub fn currency_text(currency: [u8; 3]) -> Option<String> {
    (currency != [0; 3]).then(|| String::from_utf8_lossy(&currency).into_owned())
}

/// Reads `MCC-MNC`, the text of `Plmn`.
pub fn network_of(text: &str) -> Option<Plmn> {
    let (mcc, mnc) = text.split_once('-')?;
    let plmn = Plmn::new(mcc.parse().ok()?, mnc.parse().ok()?, mnc.len() as u32)?;
    (mcc.len() == 3).then_some(plmn)
}

fn clamp(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Typed views of a batch, checked once.
struct Columns<'a> {
    hour: &'a TimestampMicrosecondArray,
    /// cube, service, direction, a_country, b_country, network, currency
    text: [&'a StringArray; 7],
    long: [&'a Int64Array; 5],
    binary: [&'a BinaryArray; 11],
}

const TEXT: [&str; 7] = ["cube", "service", "direction", "a_country", "b_country", "network", "currency"];
const LONG: [&str; 5] = ["records", "answered", "seconds", "bytes", "charge_micro"];
const BINARY: [&str; 11] = [
    "a_parties",
    "a_parties_imsi",
    "a_parties_uri",
    "b_parties",
    "b_parties_uri",
    "a_top_seconds",
    "a_top_bytes",
    "a_top_charge",
    "b_top_seconds",
    "b_top_bytes",
    "b_top_charge",
];

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Columns<'a>, ContractError> {
        let column = |name: &'static str| batch.column_by_name(name).ok_or(ContractError { column: name, row: 0 });
        let text = |name| column(name)?.as_string_opt::<i32>().ok_or(ContractError { column: name, row: 0 });
        let long = |name| column(name)?.as_primitive_opt::<Int64Type>().ok_or(ContractError { column: name, row: 0 });
        let binary = |name| column(name)?.as_binary_opt::<i32>().ok_or(ContractError { column: name, row: 0 });
        let wrong = |name| ContractError { column: name, row: 0 };
        column("cube_version")?.as_primitive_opt::<Int32Type>().ok_or(wrong("cube_version"))?;
        Ok(Columns {
            hour: column("hour")?.as_primitive_opt::<TimestampMicrosecondType>().ok_or(wrong("hour"))?,
            text: all(TEXT, text)?,
            long: all(LONG, long)?,
            binary: all(BINARY, binary)?,
        })
    }

    fn key(&self, row: usize) -> Result<Key, ContractError> {
        let wrong = |column| ContractError { column, row };
        let text = |i: usize| (!self.text[i].is_null(row)).then(|| self.text[i].value(row));
        let country = |i: usize| match text(i) {
            None => Ok(Country::NONE),
            Some(t) => country_of(t).ok_or(wrong(TEXT[i])),
        };
        let hour = self.hour.value(row);
        if self.hour.is_null(row) || hour % US_PER_HOUR != 0 {
            return Err(wrong("hour"));
        }
        Ok(Key {
            hour: i32::try_from(hour / US_PER_HOUR).map_err(|_| wrong("hour"))?,
            service: Service::ALL.into_iter().find(|s| Some(s.name()) == text(1)).ok_or(wrong("service"))?,
            direction: Direction::ALL.into_iter().find(|d| Some(d.name()) == text(2)).ok_or(wrong("direction"))?,
            a_country: country(3)?,
            b_country: country(4)?,
            network: text(5).map_or(Some(Plmn::NONE), network_of).ok_or(wrong("network"))?,
            currency: match text(6) {
                None => [0; 3],
                Some(t) => t.as_bytes().try_into().map_err(|_| wrong("currency"))?,
            },
        })
    }

    fn cell(&self, row: usize) -> Result<Cell, ContractError> {
        let wrong = |column| ContractError { column, row };
        let count = |i: usize| u64::try_from(self.long[i].value(row)).map_err(|_| wrong(LONG[i]));
        let distinct = |i: usize| Distinct::from_bytes(self.binary[i].value(row)).ok_or(wrong(BINARY[i]));
        let top = |i: usize| Contributors::from_bytes(self.binary[i].value(row)).ok_or(wrong(BINARY[i]));
        let tops = |t: usize| Ok([top(t)?, top(t + 1)?, top(t + 2)?]);
        // a SIM is only ever the A side's
        let a = Side { parties: [distinct(0)?, distinct(1)?, distinct(2)?], contributors: tops(5)? };
        let b = Side { parties: [distinct(3)?, Distinct::default(), distinct(4)?], contributors: tops(8)? };
        Ok(Cell {
            sums: Sums {
                records: count(0)?,
                answered: count(1)?,
                seconds: count(2)?,
                bytes: count(3)?,
                charge_micro: self.long[4].value(row).into(),
            },
            sides: [a, b],
        })
    }
}

fn all<T, const N: usize>(
    names: [&'static str; N],
    get: impl Fn(&'static str) -> Result<T, ContractError>,
) -> Result<[T; N], ContractError> {
    let list = names.into_iter().map(get).collect::<Result<Vec<T>, _>>()?;
    Ok(list.try_into().unwrap_or_else(|_| unreachable!("one value per name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_read_back_as_written() {
        for plmn in [Plmn::new(206, 1, 2), Plmn::new(310, 4, 3), Plmn::new(999, 999, 3)] {
            assert_eq!(network_of(&plmn.unwrap().to_string()), plmn);
        }
        for bad in ["", "206", "20-601", "206-1", "206-0001", "206-x1", "1206-01"] {
            assert_eq!(network_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_document_names_every_column_with_its_type() {
        let document = include_str!("../../schemas/lake/tally.md");
        for (name, kind, nullable) in delta_columns() {
            let row = format!("| `{name}` | {kind} | {} |", if *nullable { "yes" } else { "no" });
            assert!(document.contains(&row), "{row}");
        }
        assert_eq!(schema().fields().len(), delta_columns().len());
    }
}
