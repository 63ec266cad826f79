//! Sealed originals of one block, found again by blind index only.

use super::SinkError;
use super::encode::{Cells, Group, TableFormat, constant, ids};
use crate::keys::SealingKey;
use crate::record::clear::Clear;
use crate::record::decoded::Decoded;
use crate::record::identifier::Party;
use crate::record::packed::pack;
use crate::record::time::Day;
use crate::record::veiled::Veils;
use crate::seal::{BlockSealer, SealKind};
use arrow::array::{BinaryArray, Int32Array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use std::sync::Arc;
use zeroize::Zeroize;

/// What is sealed: the packed canonical record, or the bytes that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    Packed,
    Bytes,
}

/// Seals and encodes `rows` of `day`, sorted by the A-party's blind index: an order that has
/// nothing in common with the lake's.
pub fn group(
    format: &TableFormat,
    key: &SealingKey,
    original: Original,
    day: Day,
    mut rows: Vec<u32>,
    (clear, veils, decoded): (&Clear, &Veils, &Decoded),
) -> Result<Group, SinkError> {
    let [a, ..] = &veils.parties;
    rows.sort_unstable_by_key(|r| (u128::from_be_bytes(a.blind[*r as usize]), *r));
    let mut sealer = BlockSealer::new(SealKind::Evidence, day.0, &day, key)?;
    let mut sealed = SealedRows::with_capacity(rows.len(), 160);
    let mut plain = Vec::with_capacity(4096);
    for &row in &rows {
        plain.clear();
        match original {
            Original::Packed => pack(clear, row as usize, &mut plain),
            Original::Bytes => {
                let record = clear.record[row as usize] as usize;
                plain.extend_from_slice(decoded.records[record].of(&decoded.text));
            }
        }
        sealed.push(&mut sealer, &plain)?;
    }
    plain.zeroize();
    let mut columns: Vec<Cells> = Party::ALL
        .iter()
        .map(|p| {
            let column = &veils.parties[*p as usize];
            ids(&column.blind, &rows, |r| column.kinds[r].is_hashed())
        })
        .collect();
    columns.extend(sealed.finish(&sealer));
    format.encode(day.to_string(), rows.len(), columns)
}

/// The four sealed columns of a block under construction.
pub(super) struct SealedRows {
    values: Vec<u8>,
    offsets: Vec<i32>,
    numbers: Vec<i32>,
}

impl SealedRows {
    pub(super) fn with_capacity(rows: usize, bytes_per_row: usize) -> SealedRows {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        SealedRows { values: Vec::with_capacity(rows * bytes_per_row), offsets, numbers: Vec::with_capacity(rows) }
    }

    pub(super) fn push(&mut self, sealer: &mut BlockSealer, plain: &[u8]) -> Result<(), SinkError> {
        self.numbers.push(sealer.seal(plain, &mut self.values)? as i32);
        self.offsets.push(self.values.len() as i32);
        Ok(())
    }

    /// Block, row, header, sealed.
    pub(super) fn finish(self, sealer: &BlockSealer) -> [Cells; 4] {
        let rows = self.numbers.len();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        [
            constant(sealer.block(), rows),
            Cells::Array(Arc::new(Int32Array::from(self.numbers))),
            constant(sealer.header(), rows),
            Cells::Array(Arc::new(BinaryArray::new(offsets, self.values.into(), None))),
        ]
    }
}
