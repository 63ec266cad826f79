//! Who calls how often: Zipf–Mandelbrot over ranks, drawn in constant time from an alias table
//! (Walker 1974, Vose 1991) built in integers, so that it is the same on every machine.

use super::random::Random;

/// The weight of rank r is 1 / (r + OFFSET): without the offset the first caller alone would make
/// several per cent of all calls, which no network sees.
const OFFSET: u64 = 20;
const SCALE: u64 = 1 << 40;

pub struct Zipf {
    /// Chance, in 2^32nds, that a slot keeps its own rank.
    keep: Vec<u32>,
    other: Vec<u32>,
}

impl Zipf {
    /// Over ranks `0..n`; `n` at least 1.
    pub fn new(n: u32) -> Zipf {
        let count = u128::from(n);
        let weight = |rank: u32| u128::from(SCALE / (u64::from(rank) + OFFSET)) * count;
        let mean: u128 = (0..n).map(|r| weight(r) / count).sum();
        let mut left: Vec<u128> = (0..n).map(weight).collect();
        let mut keep = vec![u32::MAX; n as usize];
        let mut other: Vec<u32> = (0..n).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) = (0..n).partition(|&r| left[r as usize] < mean);
        while let (Some(s), Some(&l)) = (small.pop(), large.last()) {
            keep[s as usize] = (left[s as usize] * u128::from(u32::MAX) / mean) as u32;
            other[s as usize] = l;
            left[l as usize] -= mean - left[s as usize];
            if left[l as usize] < mean {
                large.pop();
                small.push(l);
            }
        }
        Zipf { keep, other }
    }

    pub fn draw(&self, random: &mut Random) -> u32 {
        let slot = random.below(self.keep.len() as u64) as usize;
        if random.bits() as u32 <= self.keep[slot] { slot as u32 } else { self.other[slot] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_in_proportion_to_their_weight() {
        let (n, draws) = (1000u32, 1_000_000u64);
        let zipf = Zipf::new(n);
        let mut random = Random::new(7, 7);
        let mut seen = vec![0u64; n as usize];
        for _ in 0..draws {
            seen[zipf.draw(&mut random) as usize] += 1;
        }
        let total: f64 = (0..n).map(|r| 1.0 / f64::from(r + OFFSET as u32)).sum();
        for rank in [0u32, 1, 10, 100, 500, 999] {
            let expected = draws as f64 / f64::from(rank + OFFSET as u32) / total;
            let got = seen[rank as usize] as f64;
            assert!((got - expected).abs() < 6.0 * expected.sqrt(), "rank {rank}: {got} for {expected}");
        }
    }

    #[test]
    fn one_rank_is_enough() {
        assert_eq!(Zipf::new(1).draw(&mut Random::new(0, 0)), 0);
    }
}
