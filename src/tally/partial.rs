//! Cells of one batch, built block by block on the hot path.
//!
//! A block is counted in three passes: every row finds its cell and adds to its sums; rows are
//! grouped by cell (a counting sort); per cell and side a small table folds rows of one token
//! together, so that sketches and contributors see each party once per block. No allocation per
//! row. The plain twin in the tests does the same with hash maps and sets.

use super::cell::{Cell, Key, Sum, sides_of};
use super::contract;
use super::cube::Cube;
use crate::record::clear::{ABSENT_I64, ABSENT_U32, ABSENT_U64, Answered, Clear, Service};
use crate::record::identifier::Country;
use crate::record::time::Day;
use crate::record::veiled::Veils;
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

const MS_PER_HOUR: i64 = 3_600_000;
/// The row belongs to no cell of this cube.
const NO_CELL: u32 = u32::MAX;

/// Cells counted so far. No `Debug`: it holds tokens.
pub struct Partial {
    cube_name: String,
    cube_version: u32,
    /// The cube is switched off: counts nothing.
    off: bool,
    index: HashMap<u128, u32, KeyState>,
    keys: Vec<u128>,
    cells: Vec<Cell>,
    scratch: Scratch,
}

/// Reused between blocks.
#[derive(Default)]
struct Scratch {
    /// Cell of each row.
    cell_of: Vec<u32>,
    /// Rows per cell, then the end of each cell's run in `rows`.
    ends: Vec<u32>,
    /// Row numbers grouped by cell.
    rows: Vec<u32>,
    fold: Fold,
}

impl Partial {
    pub fn new(cube: &Cube) -> Partial {
        Partial {
            cube_name: cube.name.clone(),
            cube_version: cube.version,
            off: cube.off,
            index: HashMap::with_hasher(KeyState::new()),
            keys: Vec::new(),
            cells: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Counts a block. Rows of sensitive services are left out: they enter no cube of traffic.
    pub fn add(&mut self, clear: &Clear, veils: &Veils) {
        if self.off {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.find_cells(clear, &mut scratch.cell_of);
        self.group(&mut scratch);
        let mut start = 0;
        for cell in 0..self.cells.len() {
            let end = scratch.ends[cell] as usize;
            if end > start {
                self.add_parties(cell, &scratch.rows[start..end], clear, veils, &mut scratch.fold);
            }
            start = end;
        }
        self.scratch = scratch;
    }

    pub fn merge(&mut self, other: Partial) {
        if self.is_empty() {
            (self.index, self.keys, self.cells) = (other.index, other.keys, other.cells);
            return;
        }
        for (key, cell) in other.keys.into_iter().zip(other.cells) {
            let at = self.slot(key);
            self.cells[at as usize].merge(&cell);
        }
    }

    /// One batch per event day in the schema of `contract::schema`, days ascending, rows in the
    /// order of `Key`.
    pub fn into_batches(self) -> Vec<(Day, RecordBatch)> {
        let mut cells: Vec<(Key, Cell)> = self.keys.into_iter().map(Key::unpack).zip(self.cells).collect();
        cells.sort_unstable_by_key(|c| c.0);
        cells
            .chunk_by(|a, b| a.0.day() == b.0.day())
            .map(|day| (day[0].0.day(), contract::batch(&self.cube_name, self.cube_version, day)))
            .collect()
    }

    /// First pass: the cell of every row, and its sums.
    fn find_cells(&mut self, clear: &Clear, cell_of: &mut Vec<u32>) {
        cell_of.clear();
        let mut last = (0u128, NO_CELL);
        for row in 0..clear.rows() {
            if clear.sensitive[row] {
                cell_of.push(NO_CELL);
                continue;
            }
            let key = key_of(clear, row).packed();
            if last.1 == NO_CELL || last.0 != key {
                last = (key, self.slot(key));
            }
            cell_of.push(last.1);
            let sums = &mut self.cells[last.1 as usize].sums;
            sums.records += 1;
            sums.answered += u64::from(clear.answered[row] == Answered::Yes);
            sums.seconds = sums.seconds.saturating_add(weight(clear, row, Sum::Seconds));
            sums.bytes = sums.bytes.saturating_add(weight(clear, row, Sum::Bytes));
            let charge = clear.charge_micro[row];
            sums.charge_micro += if charge == ABSENT_I64 { 0 } else { i128::from(charge) };
        }
    }

    /// Second pass: row numbers, one run per cell.
    fn group(&self, scratch: &mut Scratch) {
        let Scratch { cell_of, ends, rows, .. } = scratch;
        ends.clear();
        ends.resize(self.cells.len(), 0);
        cell_of.iter().filter(|c| **c != NO_CELL).for_each(|c| ends[*c as usize] += 1);
        let mut sum = 0;
        for n in ends.iter_mut() {
            sum += *n;
            *n = sum - *n;
        }
        rows.clear();
        rows.resize(sum as usize, 0);
        for (row, cell) in cell_of.iter().enumerate().filter(|c| *c.1 != NO_CELL) {
            let at = &mut ends[*cell as usize];
            rows[*at as usize] = row as u32;
            *at += 1;
        }
    }

    /// Third pass: the parties of one cell's rows.
    fn add_parties(&mut self, cell: usize, rows: &[u32], clear: &Clear, veils: &Veils, fold: &mut Fold) {
        let cell = &mut self.cells[cell];
        let service = clear.service[rows[0] as usize];
        let tokens = [&veils.a_token, &veils.b_token];
        for (side, tokens) in cell.sides.iter_mut().zip(tokens).take(sides_of(service)) {
            fold.start(rows.len());
            for &row in rows {
                let row = row as usize;
                fold.add(tokens[row], Sum::ALL.map(|s| weight(clear, row, s)));
            }
            let parties = &fold.parties;
            parties.iter().for_each(|p| side.add(p.token));
            for sum in Sum::ALL {
                if fold.any[sum as usize] {
                    side.contributors[sum as usize].add(parties.iter().map(|p| (p.token, p.weights[sum as usize])));
                }
            }
        }
    }

    fn slot(&mut self, key: u128) -> u32 {
        *self.index.entry(key).or_insert_with(|| {
            self.keys.push(key);
            self.cells.push(Cell::default());
            (self.keys.len() - 1) as u32
        })
    }
}

/// The cell of a row. Data has no B side, so no B country either.
fn key_of(clear: &Clear, row: usize) -> Key {
    let service = clear.service[row];
    let serving = clear.network[row];
    Key {
        hour: clear.start_ms[row].div_euclid(MS_PER_HOUR) as i32,
        service,
        direction: clear.direction[row],
        a_country: clear.a_country[row],
        b_country: if service == Service::Data { Country::NONE } else { clear.b_country[row] },
        network: if serving.is_none() { clear.home_network[row] } else { serving },
        currency: if clear.charge_micro[row] == ABSENT_I64 { [0; 3] } else { clear.currency[row] },
    }
}

/// What a row adds to a sum; the charge by its absolute value.
fn weight(clear: &Clear, row: usize, sum: Sum) -> u64 {
    let stated = |v: u64| if v == ABSENT_U64 { 0 } else { v };
    match sum {
        Sum::Seconds if clear.duration_s[row] == ABSENT_U32 => 0,
        Sum::Seconds => u64::from(clear.duration_s[row]),
        Sum::Bytes => stated(clear.bytes_up[row]).saturating_add(stated(clear.bytes_down[row])),
        Sum::Charge if clear.charge_micro[row] == ABSENT_I64 => 0,
        Sum::Charge => clear.charge_micro[row].unsigned_abs(),
    }
}

/// Rows of one cell folded by token: open addressing over an index of parties.
#[derive(Default)]
struct Fold {
    parties: Vec<PartySums>,
    /// Index into `parties` plus one; 0 is free. A power of two long.
    slots: Vec<u32>,
    mask: usize,
    /// Sums that any row adds to.
    any: [bool; Sum::COUNT],
}

struct PartySums {
    token: u64,
    weights: [u64; Sum::COUNT],
}

impl Fold {
    fn start(&mut self, rows: usize) {
        let size = (rows * 2).next_power_of_two();
        self.slots.clear();
        self.slots.resize(size, 0);
        self.mask = size - 1;
        self.parties.clear();
        self.any = [false; Sum::COUNT];
    }

    fn add(&mut self, token: u64, weights: [u64; Sum::COUNT]) {
        for (any, w) in self.any.iter_mut().zip(weights) {
            *any |= w > 0;
        }
        // tokens are output of a keyed hash: their low bits are spread already
        let mut at = token as usize & self.mask;
        loop {
            match self.slots[at] {
                0 => {
                    self.parties.push(PartySums { token, weights });
                    self.slots[at] = self.parties.len() as u32;
                    return;
                }
                n if self.parties[n as usize - 1].token == token => {
                    let sums = &mut self.parties[n as usize - 1].weights;
                    sums.iter_mut().zip(weights).for_each(|(s, w)| *s = s.saturating_add(w));
                    return;
                }
                _ => at = (at + 1) & self.mask,
            }
        }
    }
}

/// Hashes packed keys in a few cycles, seeded per table so that nobody can aim at one bucket.
#[derive(Clone)]
struct KeyState(u64);

impl KeyState {
    fn new() -> KeyState {
        KeyState(RandomState::new().hash_one(0u8) | 1)
    }
}

impl BuildHasher for KeyState {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(self.0)
    }
}

struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write_u128(&mut self, n: u128) {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        let low = fold(n as u64 ^ self.0, 0x9e37_79b9_7f4a_7c15);
        self.0 = fold((n >> 64) as u64 ^ low, 0xd6e8_feb8_6659_fd93 ^ self.0);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_u128(u128::from(*b)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
