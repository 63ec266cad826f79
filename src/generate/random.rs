//! A small pseudo-random generator, ours so that a seed gives the same bytes on every machine and
//! in every version. Not for secrets.

/// xoshiro256** (Blackman and Vigna, 2018), seeded by SplitMix64.
pub struct Random([u64; 4]);

impl Random {
    /// `stream` separates generators that share a seed.
    pub fn new(seed: u64, stream: u64) -> Random {
        let base = mix(seed ^ mix(stream));
        Random([1, 2, 3, 4].map(|n| mix(base.wrapping_add(n))))
    }

    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `0..n` (multiply and shift; the bias is below n / 2^64). `n` of 0 gives 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// True in `parts` of `whole` cases.
    pub fn chance(&mut self, parts: u64, whole: u64) -> bool {
        self.below(whole) < parts
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// SplitMix64's finaliser: a fixed, well mixed function of 64 bits, for facts that belong to a
/// subscriber and must be the same whenever they are looked at.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `mix` reduced to `0..n`.
pub fn mix_below(x: u64, n: u64) -> u64 {
    ((u128::from(mix(x)) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mix_is_splitmix64() {
        // first outputs of the reference SplitMix64 with seed 0
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn below_is_uniform_and_bounded() {
        let mut random = Random::new(1, 1);
        let mut seen = [0u32; 10];
        for _ in 0..100_000 {
            seen[random.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
    }
}
