//! The sealed number behind each pseudonym, at least once each; none for random pseudonyms.

use super::SinkError;
use super::encode::{Group, TableFormat, ids, symbols};
use super::evidence::SealedRows;
use crate::keys::SealingKey;
use crate::record::clear::Clear;
use crate::record::identifier::{Kind, Party};
use crate::record::packed::pack_identity;
use crate::record::time::Epoch;
use crate::record::veiled::{Pseudonym, Veils};
use crate::seal::{BlockSealer, MAX_BLOCK_ROWS, SealKind};

/// Pseudonyms whose identity was sealed not long ago: a bounded, exact cache, one per worker.
///
/// Direct-mapped over whole pseudonyms: a miss seals a mapping once more, a hit is certain. A
/// Bloom filter would be smaller and would now and then lose a mapping for good.
pub struct SealedBefore {
    slots: Vec<Pseudonym>,
    generation: u64,
}

/// 2^20 pseudonyms of 16 bytes: 16 MiB per worker.
const SLOTS: usize = 1 << 20;

impl SealedBefore {
    pub fn new() -> SealedBefore {
        SealedBefore { slots: vec![[0; 16]; SLOTS], generation: 0 }
    }

    /// Forgets everything when `generation` moved: what was sealed into a dropped stage is gone.
    pub fn at_generation(&mut self, generation: u64) {
        if self.generation != generation {
            self.slots.fill([0; 16]);
            self.generation = generation;
        }
    }

    fn first_time(&mut self, pseudonym: &Pseudonym) -> bool {
        let hash = u64::from_le_bytes(pseudonym[..8].try_into().expect("8 of 16 bytes"));
        let slot = &mut self.slots[hash as usize % SLOTS];
        let new = slot != pseudonym;
        *slot = *pseudonym;
        new
    }
}

impl Default for SealedBefore {
    fn default() -> Self {
        SealedBefore::new()
    }
}

/// Seals and encodes what `rows` (all of `epoch`) bring that the cache does not know.
pub fn groups(
    format: &TableFormat,
    key: &SealingKey,
    epoch: Epoch,
    rows: &[u32],
    (clear, veils): (&Clear, &Veils),
    cache: &mut SealedBefore,
) -> Result<Vec<Group>, SinkError> {
    let mut new: Vec<(Pseudonym, Party, u32)> = Vec::new();
    for party in Party::ALL {
        let column = &veils.parties[party as usize];
        for &row in rows {
            let r = row as usize;
            if column.kinds[r].is_hashed() && !column.random[r] && cache.first_time(&column.pseudonyms[r]) {
                new.push((column.pseudonyms[r], party, row));
            }
        }
    }
    // Sorted, so that the order of first appearance is gone.
    new.sort_unstable_by_key(|n| (u128::from_be_bytes(n.0), n.2));
    new.chunks(MAX_BLOCK_ROWS).map(|chunk| group(format, key, epoch, chunk, (clear, veils))).collect()
}

fn group(
    format: &TableFormat,
    key: &SealingKey,
    epoch: Epoch,
    new: &[(Pseudonym, Party, u32)],
    (clear, veils): (&Clear, &Veils),
) -> Result<Group, SinkError> {
    let mut sealer = BlockSealer::new(SealKind::Identity, epoch.0, &epoch, key)?;
    let mut sealed = SealedRows::with_capacity(new.len(), 40);
    let mut plain = Vec::with_capacity(64);
    let kind_of = |party: Party, row: u32| veils.parties[party as usize].kinds[row as usize];
    for &(_, party, row) in new {
        plain.clear();
        pack_identity(kind_of(party, row), clear.identifier(party, row as usize), &mut plain);
        sealed.push(&mut sealer, &plain)?;
    }
    let pseudonyms: Vec<Pseudonym> = new.iter().map(|n| n.0).collect();
    let order: Vec<u32> = (0..new.len() as u32).collect();
    let kinds = new.iter().map(|n| Some(kind_of(n.1, n.2) as u16));
    let names = (0..=Kind::Opaque as u8).map(|b| Kind::from_byte(b).map_or("", Kind::name).to_owned()).collect();
    let mut columns = vec![ids(&pseudonyms, &order, |_| true), symbols(kinds, names)];
    columns.extend(sealed.finish(&sealer));
    format.encode(epoch.to_string(), new.len(), columns)
}
