//! Distinct parties behind a cell: a HyperLogLog of tally tokens (Apache DataSketches format).

use datasketches::hll::{HllSketch, HllType, HllUnion};

/// 2^11 registers: standard error 2.3 %. Up to 192 tokens the sketch is a plain set, so every
/// count near a threshold (20, 50, 100) is exact.
const LG_K: u8 = 11;
/// Tokens up to which `count` is exact (3/4 of the 2^(LG_K − 3) slots of the set).
pub const EXACT_UP_TO: u64 = 192;

/// A set of tokens that can be counted and merged. Most cells have nobody of most namings, so an
/// empty set holds no sketch.
#[derive(Clone, Default, PartialEq)]
pub struct Distinct(Option<Box<HllSketch>>);

fn empty() -> HllSketch {
    HllSketch::new(LG_K, HllType::Hll8).expect("LG_K is within 4..=21")
}

impl Distinct {
    pub fn add(&mut self, token: u64) {
        self.0.get_or_insert_with(|| Box::new(empty())).update(token);
    }

    pub fn merge(&mut self, other: &Distinct) {
        let Some(theirs) = &other.0 else { return };
        let Some(ours) = &mut self.0 else {
            *self = other.clone();
            return;
        };
        let mut union = HllUnion::new(LG_K).expect("LG_K is within 4..=21");
        union.update(ours);
        union.update(theirs);
        **ours = union.to_sketch(HllType::Hll8);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Exact up to `EXACT_UP_TO` (but for collisions of 26-bit slots, which only make it smaller).
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |s| s.estimate().round() as u64)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.as_ref().map_or_else(|| empty().serialize(), |s| s.serialize())
    }

    /// `None` where the bytes are not a sketch of this size.
    pub fn from_bytes(bytes: &[u8]) -> Option<Distinct> {
        let sketch = HllSketch::deserialize(bytes).ok().filter(|s| s.lg_config_k() == LG_K)?;
        Some(Distinct((!sketch.is_empty()).then(|| Box::new(sketch))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(n: u64) -> u64 {
        n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn counts_near_every_threshold_are_exact_in_one_piece_and_merged() {
        for n in 0..=150u64 {
            let (mut whole, mut left, mut right) = (Distinct::default(), Distinct::default(), Distinct::default());
            for i in 0..n {
                whole.add(spread(i));
                whole.add(spread(i));
                // overlap of a third
                if i % 3 != 0 {
                    left.add(spread(i));
                }
                if i % 3 != 1 {
                    right.add(spread(i));
                }
            }
            assert_eq!(whole.count(), n);
            left.merge(&right);
            assert_eq!(left.count(), n, "merged");
            let back = Distinct::from_bytes(&left.to_bytes()).unwrap();
            assert_eq!(back.count(), n, "stored");
        }
    }

    #[test]
    fn large_counts_stay_within_ten_percent_through_merges() {
        let mut all = Distinct::default();
        for part in 0..20u64 {
            let mut one = Distinct::default();
            (0..5_000).for_each(|i| one.add(spread(part * 4_000 + i)));
            all.merge(&Distinct::from_bytes(&one.to_bytes()).unwrap());
        }
        let truth = 81_000.0;
        assert!((all.count() as f64 - truth).abs() < truth * 0.1, "{}", all.count());
    }

    #[test]
    fn bytes_that_are_no_sketch_are_refused() {
        let good = {
            let mut d = Distinct::default();
            d.add(7);
            d.to_bytes()
        };
        assert!(Distinct::from_bytes(&good[..good.len() - 1]).is_none());
        assert!(Distinct::from_bytes(&[]).is_none());
        let other = HllSketch::new(12, HllType::Hll8).unwrap().serialize();
        assert!(Distinct::from_bytes(&other).is_none());
    }
}
