//! Sealed originals of one block, found again by blind index only.

use super::SinkError;
use super::encode::{Cells, Group, TableFormat, constant, ids};
use crate::keys::SealingKey;
use crate::record::clear::{Clear, wipe};
use crate::record::decoded::Decoded;
use crate::record::identifier::Party;
use crate::record::packed::pack;
use crate::record::time::Day;
use crate::record::veiled::Veils;
use crate::seal::{BlockSealer, SealKind, TAG_LEN};
use arrow::array::Int32Array;
use std::sync::Arc;

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
    // Packed in the order of arrival, which reads every column straight through; sealed in the
    // order of the table, which then jumps once a row.
    let arrival = packed(original, &rows, clear, decoded);
    let mut sealed = SealedRows::with_capacity(rows.len(), arrival.bytes.len() / rows.len().max(1) + 17);
    for &row in &rows {
        sealed.push(&mut sealer, arrival.row(row))?;
    }
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

/// Plain originals of a block by row number, wiped when dropped. No `Debug`.
struct Packed {
    bytes: Vec<u8>,
    /// By row number of the batch; only rows of the block are filled in.
    spans: Vec<(u32, u32)>,
}

impl Packed {
    fn row(&self, row: u32) -> &[u8] {
        let (start, end) = self.spans[row as usize];
        &self.bytes[start as usize..end as usize]
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

fn packed(original: Original, rows: &[u32], clear: &Clear, decoded: &Decoded) -> Packed {
    let mut ours = vec![false; clear.rows()];
    rows.iter().for_each(|r| ours[*r as usize] = true);
    // Room for the longest records seen, so that no clear copy is left behind by growing.
    let room = match original {
        Original::Packed => clear.text.len() + rows.len() * 64,
        Original::Bytes => decoded.text.len(),
    };
    let mut packed = Packed { bytes: Vec::with_capacity(room), spans: vec![(0, 0); clear.rows()] };
    for row in (0..clear.rows()).filter(|r| ours[*r]) {
        let start = packed.bytes.len() as u32;
        match original {
            Original::Packed => pack(clear, row, &mut packed.bytes),
            Original::Bytes => {
                let record = clear.record[row] as usize;
                packed.bytes.extend_from_slice(decoded.records[record].of(&decoded.text));
            }
        }
        packed.spans[row] = (start, packed.bytes.len() as u32);
    }
    packed
}

/// The four sealed columns of a block under construction.
pub(super) struct SealedRows {
    /// Ciphertexts with their lengths, as a Parquet page wants them.
    values: Vec<u8>,
    numbers: Vec<i32>,
}

impl SealedRows {
    pub(super) fn with_capacity(rows: usize, bytes_per_row: usize) -> SealedRows {
        SealedRows { values: Vec::with_capacity(rows * (bytes_per_row + 4)), numbers: Vec::with_capacity(rows) }
    }

    pub(super) fn push(&mut self, sealer: &mut BlockSealer, plain: &[u8]) -> Result<(), SinkError> {
        self.values.extend_from_slice(&((plain.len() + TAG_LEN) as u32).to_le_bytes());
        self.numbers.push(sealer.seal(plain, &mut self.values)? as i32);
        Ok(())
    }

    /// Block, row, header, sealed.
    pub(super) fn finish(self, sealer: &BlockSealer) -> [Cells; 4] {
        let rows = self.numbers.len();
        [
            constant(sealer.block(), rows),
            Cells::Array(Arc::new(Int32Array::from(self.numbers))),
            constant(sealer.header(), rows),
            Cells::Blobs(self.values),
        ]
    }
}
