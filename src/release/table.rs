//! Released windows as rows of the Delta table `release/CUBE`: `schemas/lake/release.md` in code.
//!
//! The table is the truth of what was shown; release stores are rebuilt from it. One file holds
//! whole windows of one audience and one day: a row for the window, then its cells.

use super::released::Released;
use super::rules::{Audience, Withheld};
use super::window::{CellValues, WindowValues};
use crate::lake::contract::{Column, ColumnKind, Contract, column};
use crate::record::clear::{Direction, Service};
use crate::record::identifier::Country;
use crate::record::plmn::Plmn;
use crate::record::time::Day;
use crate::tally::cell::{Key, Sum};
use crate::tally::contract::{country_of, network_of};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use std::collections::BTreeMap;
use std::sync::Arc;

const US_PER_HOUR: i64 = 3_600_000_000;

/// A window as it stands in the table.
#[derive(Clone)]
pub struct Frozen {
    pub window: Released<WindowValues>,
    /// Digests of the tally files that this vintage took in (internal audience only).
    pub inputs: Vec<u64>,
}

/// A release file that does not read back. Says where, never what.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("row {row}: column {column} of a release file is not as schemas/lake/release.md says")]
pub struct TableError {
    pub column: &'static str,
    pub row: usize,
}

const TEXT: [&str; 8] =
    ["row", "service", "direction", "a_country", "b_country", "network", "currency", "withheld_sums"];
const LONG: [&str; 13] = [
    "records",
    "answered",
    "seconds",
    "bytes",
    "charge_micro",
    "a_parties",
    "b_parties",
    "cells",
    "withheld_few_a",
    "withheld_few_b",
    "withheld_inner_audience",
    "withheld_dominance",
    "withheld_partners",
];

/// The table of a cube.
pub fn contract() -> Contract {
    let mut columns: Vec<Column> =
        vec![column("hour", ColumnKind::Timestamp, false), column("vintage", ColumnKind::Integer, false)];
    columns.extend(TEXT.map(|n| column(n, ColumnKind::String, n != "row")));
    columns.extend(LONG.map(|n| column(n, ColumnKind::Long, true)));
    columns.push(column("inputs", ColumnKind::Binary, true));
    Contract {
        name: "traffic_hourly",
        columns,
        partition: vec![column("audience", ColumnKind::String, false), column("event_day", ColumnKind::Date, false)],
    }
}

/// Windows of one audience as a batch. `settled`: a day, and digests of all its tally files, where
/// every window that they speak of has been decided.
pub fn batch(windows: &[Frozen], settled: Option<(Day, &[u64])>) -> RecordBatch {
    let mut rows: Vec<Row> = settled.iter().map(|(day, files)| Row::of_day(*day, files)).collect();
    for frozen in windows {
        rows.push(Row::of_window(frozen));
        rows.extend(frozen.window.cells.iter().map(|c| Row::of_cell(&frozen.window, c)));
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.hour)).with_timezone("UTC")),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.vintage))),
    ];
    for i in 0..TEXT.len() {
        columns.push(Arc::new(rows.iter().map(|r| r.text[i].as_deref()).collect::<StringArray>()));
    }
    for i in 0..LONG.len() {
        columns.push(Arc::new(rows.iter().map(|r| r.long[i]).collect::<Int64Array>()));
    }
    columns.push(Arc::new(rows.iter().map(|r| r.inputs.as_deref()).collect::<BinaryArray>()));
    RecordBatch::try_new(contract().arrow(), columns).expect("columns follow the contract above")
}

/// Windows back from a file of `audience`, in its order.
pub fn windows(batches: &[RecordBatch], audience: Audience) -> Result<Vec<Frozen>, TableError> {
    let mut found: Vec<(WindowValues, Vec<u64>)> = Vec::new();
    for batch in batches {
        let columns = Columns::of(batch)?;
        for row in 0..batch.num_rows() {
            match columns.text(0, row) {
                Some("window") => found.push((columns.window(row, audience)?, columns.inputs(row)?)),
                Some("cell") => {
                    let (hour, vintage, cell) = columns.cell(row)?;
                    let window = found.last_mut().filter(|w| (w.0.hour, w.0.vintage) == (hour, vintage));
                    window.ok_or(TableError { column: "row", row })?.0.cells.push(cell);
                }
                Some("day") => {}
                _ => return Err(TableError { column: "row", row }),
            }
        }
    }
    Ok(found.into_iter().map(|(w, inputs)| Frozen { window: Released::new(w), inputs }).collect())
}

/// Digests of the tally files on which nothing is left to decide.
pub fn settled(batches: &[RecordBatch]) -> Result<Vec<u64>, TableError> {
    let mut files = Vec::new();
    for batch in batches {
        let columns = Columns::of(batch)?;
        for row in (0..batch.num_rows()).filter(|row| columns.text(0, *row) == Some("day")) {
            files.extend(columns.inputs(row)?);
        }
    }
    Ok(files)
}

#[derive(Default)]
struct Row {
    hour: i64,
    vintage: i32,
    text: [Option<String>; TEXT.len()],
    long: [Option<i64>; LONG.len()],
    inputs: Option<Vec<u8>>,
}

impl Row {
    fn of_day(day: Day, files: &[u64]) -> Row {
        let inputs = files.iter().flat_map(|d| d.to_be_bytes()).collect();
        let mut row = Row { hour: i64::from(day.0) * 24 * US_PER_HOUR, inputs: Some(inputs), ..Row::default() };
        row.text[0] = Some("day".to_owned());
        row
    }

    fn of_window(frozen: &Frozen) -> Row {
        let window = &frozen.window;
        let mut row =
            Row { hour: i64::from(window.hour) * US_PER_HOUR, vintage: window.vintage as i32, ..Row::default() };
        row.text[0] = Some("window".to_owned());
        row.long[7] = Some(window.cells.len() as i64);
        for why in Withheld::ALL {
            row.long[8 + why as usize] = Some(window.withheld.get(&why).copied().unwrap_or(0));
        }
        let inputs = frozen.inputs.iter().flat_map(|d| d.to_be_bytes());
        row.inputs = (window.audience == Audience::Internal).then(|| inputs.collect());
        row
    }

    fn of_cell(window: &WindowValues, cell: &CellValues) -> Row {
        let key = &cell.key;
        let [a_country, b_country, network, currency] = cell.places();
        let [seconds, bytes, charge] = cell.sums;
        let mut row =
            Row { hour: i64::from(window.hour) * US_PER_HOUR, vintage: window.vintage as i32, ..Row::default() };
        row.text = [
            Some("cell".to_owned()),
            Some(key.service.name().to_owned()),
            Some(key.direction.name().to_owned()),
            a_country,
            b_country,
            network,
            currency,
            cell.withheld_names(),
        ];
        let values =
            [Some(cell.records), Some(cell.answered), seconds, bytes, charge, Some(cell.a_parties), cell.b_parties];
        row.long[..7].copy_from_slice(&values);
        row
    }
}

struct Columns<'a> {
    hour: &'a TimestampMicrosecondArray,
    vintage: &'a Int32Array,
    text: Vec<&'a StringArray>,
    long: Vec<&'a Int64Array>,
    inputs: &'a BinaryArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Columns<'a>, TableError> {
        let wrong = |column| TableError { column, row: 0 };
        let column = |name: &'static str| batch.column_by_name(name).ok_or(wrong(name));
        let text = |n: &&'static str| column(n)?.as_string_opt::<i32>().ok_or(wrong(n));
        let long = |n: &&'static str| column(n)?.as_primitive_opt::<Int64Type>().ok_or(wrong(n));
        Ok(Columns {
            hour: column("hour")?.as_primitive_opt::<TimestampMicrosecondType>().ok_or(wrong("hour"))?,
            vintage: column("vintage")?.as_primitive_opt::<Int32Type>().ok_or(wrong("vintage"))?,
            text: TEXT.iter().map(text).collect::<Result<_, _>>()?,
            long: LONG.iter().map(long).collect::<Result<_, _>>()?,
            inputs: column("inputs")?.as_binary_opt::<i32>().ok_or(wrong("inputs"))?,
        })
    }

    fn text(&self, column: usize, row: usize) -> Option<&'a str> {
        (!self.text[column].is_null(row)).then(|| self.text[column].value(row))
    }

    fn long(&self, column: usize, row: usize) -> Option<i64> {
        (!self.long[column].is_null(row)).then(|| self.long[column].value(row))
    }

    fn at(&self, row: usize) -> Result<(i32, u32), TableError> {
        let hour = i32::try_from(self.hour.value(row) / US_PER_HOUR).map_err(|_| TableError { column: "hour", row })?;
        let vintage = u32::try_from(self.vintage.value(row)).map_err(|_| TableError { column: "vintage", row })?;
        Ok((hour, vintage))
    }

    fn window(&self, row: usize, audience: Audience) -> Result<WindowValues, TableError> {
        let (hour, vintage) = self.at(row)?;
        let counts = Withheld::ALL.map(|why| (why, self.long(8 + why as usize, row).unwrap_or(0)));
        let withheld: BTreeMap<_, _> = counts.into_iter().filter(|c| c.1 != 0).collect();
        Ok(WindowValues { audience, hour, vintage, cells: Vec::new(), withheld })
    }

    fn inputs(&self, row: usize) -> Result<Vec<u64>, TableError> {
        if self.inputs.is_null(row) {
            return Ok(Vec::new());
        }
        let (digests, rest) = self.inputs.value(row).as_chunks::<8>();
        if !rest.is_empty() {
            return Err(TableError { column: "inputs", row });
        }
        Ok(digests.iter().map(|d| u64::from_be_bytes(*d)).collect())
    }

    fn cell(&self, row: usize) -> Result<(i32, u32, CellValues), TableError> {
        let wrong = |column| TableError { column, row };
        let (hour, vintage) = self.at(row)?;
        let country = |i: usize| self.text(i, row).map_or(Some(Country::NONE), country_of).ok_or(wrong(TEXT[i]));
        let currency = self.text(6, row).map_or(Ok([0; 3]), |t| t.as_bytes().try_into());
        let key = Key {
            hour,
            service: named(Service::ALL, Service::name, self.text(1, row)).ok_or(wrong("service"))?,
            direction: named(Direction::ALL, Direction::name, self.text(2, row)).ok_or(wrong("direction"))?,
            a_country: country(3)?,
            b_country: country(4)?,
            network: self.text(5, row).map_or(Some(Plmn::NONE), network_of).ok_or(wrong("network"))?,
            currency: currency.map_err(|_| wrong("currency"))?,
        };
        let count = |i: usize| self.long(i, row).ok_or(wrong(LONG[i]));
        let sum = |name: &str| named(Sum::ALL, Sum::name, Some(name)).ok_or(wrong("withheld_sums"));
        let withheld = self.text(7, row).unwrap_or("").split_whitespace().map(sum).collect::<Result<_, _>>()?;
        let sums = [self.long(2, row), self.long(3, row), self.long(4, row)];
        let values = CellValues {
            key,
            records: count(0)?,
            answered: count(1)?,
            sums,
            a_parties: count(5)?,
            b_parties: self.long(6, row),
            withheld,
        };
        Ok((hour, vintage, values))
    }
}

fn named<T: Copy, const N: usize>(all: [T; N], name: fn(T) -> &'static str, text: Option<&str>) -> Option<T> {
    all.into_iter().find(|t| Some(name(*t)) == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cells() -> impl Strategy<Value = Vec<CellValues>> {
        let dimensions = (0usize..3, 0usize..4, 0usize..4, 0usize..4, 0u32..3, any::<bool>());
        let value = || 0i64..1_000_000_000;
        let sums = [proptest::option::of(value()), proptest::option::of(value()), proptest::option::of(value())];
        let cell = (dimensions, value(), value(), sums, value(), proptest::option::of(value()), 0usize..8);
        let cell = cell.prop_map(|(d, records, answered, sums, a_parties, b_parties, withheld)| {
            let country = |n: usize| [Country::NONE, Country::OTHER, Country(*b"BE"), Country(*b"NL")][n];
            CellValues {
                key: Key {
                    hour: 500_000,
                    service: Service::ALL[d.0],
                    direction: Direction::ALL[d.1],
                    a_country: country(d.2),
                    b_country: country(d.3),
                    network: [Plmn::NONE, Plmn(2_060_012), Plmn(3_104_103)][d.4 as usize],
                    currency: if d.5 { *b"EUR" } else { [0; 3] },
                },
                records,
                answered,
                sums,
                a_parties,
                b_parties,
                withheld: Sum::ALL.into_iter().filter(|s| withheld >> (*s as usize) & 1 == 1).collect(),
            }
        });
        proptest::collection::vec(cell, 0..6)
    }

    proptest! {
        #[test]
        fn windows_read_back_as_written(
            list in proptest::collection::vec((1u32..9, cells(), proptest::collection::vec(any::<u64>(), 0..5), 0i64..50), 0..4),
            external in any::<bool>(),
        ) {
            let audience = Audience::ALL[usize::from(external)];
            let frozen: Vec<Frozen> = list.into_iter().map(|(vintage, cells, inputs, few)| {
                let withheld = Withheld::ALL.into_iter().map(|w| (w, few)).filter(|w| w.1 != 0).collect();
                let window = WindowValues { audience, hour: 500_000, vintage, cells, withheld };
                Frozen { window: Released::new(window), inputs: if external { vec![] } else { inputs } }
            }).collect();
            let files = [external.into(), 7];
            let batch = batch(&frozen, Some((Day(3), &files)));
            let back = windows(std::slice::from_ref(&batch), audience).unwrap();
            prop_assert_eq!(settled(&[batch]).unwrap(), files);
            prop_assert_eq!(back.len(), frozen.len());
            for (b, f) in back.iter().zip(&frozen) {
                prop_assert_eq!(&b.window, &f.window);
                prop_assert_eq!(&b.inputs, &f.inputs);
            }
        }
    }

    #[test]
    fn cells_without_their_window_are_refused() {
        let cell = CellValues {
            key: Key {
                hour: 5,
                service: Service::Voice,
                direction: Direction::Transit,
                a_country: Country::NONE,
                b_country: Country::NONE,
                network: Plmn::NONE,
                currency: [0; 3],
            },
            records: 20,
            answered: 20,
            sums: [None; 3],
            a_parties: 20,
            b_parties: Some(20),
            withheld: vec![],
        };
        let audience = Audience::Internal;
        let window = WindowValues { audience, hour: 5, vintage: 1, cells: vec![cell], withheld: BTreeMap::new() };
        let whole = batch(&[Frozen { window: Released::new(window), inputs: vec![1] }], None);
        assert_eq!(windows(&[whole.slice(1, 1)], audience).err(), Some(TableError { column: "row", row: 0 }));
        let lacking = whole.project(&(1..whole.num_columns()).collect::<Vec<_>>()).unwrap();
        assert_eq!(windows(&[lacking], audience).err(), Some(TableError { column: "hour", row: 0 }));
    }

    #[test]
    fn the_document_names_every_column() {
        let document = include_str!("../../schemas/lake/release.md");
        for column in contract().columns {
            let null = if column.nullable { "yes" } else { "no" };
            let row = format!("| `{}` | {} | {null} |", column.name, format!("{:?}", column.kind).to_lowercase());
            assert!(document.contains(&row), "{row}");
        }
    }
}
