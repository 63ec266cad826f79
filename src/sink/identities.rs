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
use zeroize::Zeroizing;

/// Pseudonyms whose identity was sealed not long ago: a bounded, exact cache, one per worker.
///
/// Direct-mapped over whole pseudonyms: a miss seals a mapping once more, a hit is certain. A
/// Bloom filter would be smaller and would now and then lose a mapping for good.
///
/// Several feed partitions stage at once, and each commits or is dropped by itself: what was sealed
/// into another one's open stage may still vanish, so it counts as sealed only once it is settled.
pub struct SealedBefore {
    slots: Vec<Slot>,
    generation: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    pseudonym: Pseudonym,
    /// Serial number of the stage that it was sealed into.
    stage: u32,
}

const FREE: Slot = Slot { pseudonym: [0; 16], stage: 0 };

/// 2^20 pseudonyms of 16 bytes, and their stages: 20 MiB per worker.
const SLOTS: usize = 1 << 20;

/// The stage that a block goes into, and which stages can no longer vanish.
#[derive(Clone, Copy, Debug)]
pub struct StageSerial {
    /// Counts up within a process, over all feed partitions.
    pub own: u32,
    /// Every stage with a lower number was committed, as far as no generation began since.
    pub settled_below: u32,
    /// Moves when a stage was dropped.
    pub generation: u64,
}

impl SealedBefore {
    pub fn new() -> SealedBefore {
        SealedBefore { slots: vec![FREE; SLOTS], generation: 0 }
    }

    /// Forgets everything when the generation moved: what was sealed into a dropped stage is gone.
    pub fn at_generation(&mut self, generation: u64) {
        if self.generation != generation {
            self.slots.fill(FREE);
            self.generation = generation;
        }
    }

    fn first_time(&mut self, pseudonym: &Pseudonym, serial: StageSerial) -> bool {
        let hash = u64::from_le_bytes(pseudonym[..8].try_into().expect("8 of 16 bytes"));
        let slot = &mut self.slots[hash as usize % SLOTS];
        let known = slot.pseudonym == *pseudonym && (slot.stage == serial.own || slot.stage < serial.settled_below);
        if !known {
            *slot = Slot { pseudonym: *pseudonym, stage: serial.own };
        }
        !known
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
    (cache, serial): (&mut SealedBefore, StageSerial),
) -> Result<Vec<Group>, SinkError> {
    let mut new: Vec<(Pseudonym, Party, u32)> = Vec::new();
    for party in Party::ALL {
        let column = &veils.parties[party as usize];
        for &row in rows {
            let r = row as usize;
            if column.kinds[r].is_hashed() && !column.random[r] && cache.first_time(&column.pseudonyms[r], serial) {
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
    let mut plain = Zeroizing::new(Vec::with_capacity(64));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(own: u32, settled_below: u32) -> StageSerial {
        StageSerial { own, settled_below, generation: 0 }
    }

    #[test]
    fn only_what_cannot_vanish_counts_as_sealed() {
        let mut cache = SealedBefore::new();
        let one = [7u8; 16];
        // (stage at work, everything below is committed) → must be sealed
        for (own, settled, first) in [
            (1, 1, true),
            (1, 1, false),
            // Another partition's open stage has it; that stage may be dropped.
            (2, 1, true),
            (2, 1, false),
            // Both were committed.
            (3, 3, false),
            (4, 3, false),
        ] {
            assert_eq!(cache.first_time(&one, stage(own, settled)), first, "stage {own}");
        }
        cache.at_generation(1);
        assert!(cache.first_time(&one, stage(5, 3)), "a stage was dropped: nothing is certain");
    }

    #[test]
    fn another_pseudonym_in_its_slot_hides_one_but_is_never_taken_for_it() {
        let mut cache = SealedBefore::new();
        let (one, mut two) = ([7u8; 16], [7u8; 16]);
        two[15] = 8;
        for (pseudonym, first) in [(one, true), (two, true), (one, true), (one, false)] {
            assert_eq!(cache.first_time(&pseudonym, stage(1, 1)), first);
        }
    }
}
