//! Who adds most to a sum: a bounded summary whose answers are never below the truth.
//!
//! The summary is Misra and Gries' with the merge of Agarwal et al. ("Mergeable summaries", PODS
//! 2012): at most `KEPT` counters; when there are more, the weight of the one too many is taken
//! from all of them and remembered as `error`. A party's true weight lies in
//! `counter ..= counter + error`, and `error` is at most the whole sum divided by `KEPT + 1`.

/// Counters kept. More than the internal threshold of 20, so that small cells stay exact.
pub const KEPT: usize = 24;

/// The largest contributors to one sum, by tally token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contributors {
    /// (token, counter), ascending by token; counters above 0.
    items: Vec<(u64, u64)>,
    error: u64,
}

impl Contributors {
    /// Adds weights; every token at most once in one call, in any order.
    pub fn add(&mut self, weights: impl Iterator<Item = (u64, u64)> + Clone) {
        let cut = cut(weights.clone().map(|w| w.1));
        let mut kept = [(0u64, 0u64); KEPT];
        let mut n = 0;
        for (token, weight) in weights.filter(|w| w.1 > cut) {
            kept[n] = (token, weight - cut);
            n += 1;
        }
        kept[..n].sort_unstable();
        self.join(&kept[..n], cut);
    }

    pub fn merge(&mut self, other: &Contributors) {
        self.join(&other.items, other.error);
    }

    /// Upper bounds of the largest and of the second largest contribution.
    pub fn two_largest(&self) -> (u64, u64) {
        self.two_largest_of(|_| true)
    }

    /// The same among the tokens that `counts`.
    pub fn two_largest_of(&self, counts: impl Fn(u64) -> bool) -> (u64, u64) {
        let (mut first, mut second) = (0, 0);
        for &(_, counter) in self.items.iter().filter(|i| counts(i.0)) {
            if counter > first {
                (first, second) = (counter, first);
            } else if counter > second {
                second = counter;
            }
        }
        (first.saturating_add(self.error), second.saturating_add(self.error))
    }

    /// The most that one party can have added.
    pub fn upper_bound(&self, token: u64) -> u64 {
        let counter = self.items.binary_search_by_key(&token, |i| i.0).map_or(0, |i| self.items[i].1);
        counter.saturating_add(self.error)
    }

    /// `error`, then token and counter of each item; all u64 little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.items.len() * 16);
        bytes.extend_from_slice(&self.error.to_le_bytes());
        for (token, counter) in &self.items {
            bytes.extend_from_slice(&token.to_le_bytes());
            bytes.extend_from_slice(&counter.to_le_bytes());
        }
        bytes
    }

    /// `None` where the bytes break the layout of `to_bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Option<Contributors> {
        let (error, rest) = bytes.split_first_chunk::<8>()?;
        if rest.len() % 16 != 0 || rest.len() / 16 > KEPT {
            return None;
        }
        let word = |b: &[u8]| u64::from_le_bytes(b.try_into().expect("chunks of 16 halve into 8"));
        let items: Vec<_> = rest.chunks_exact(16).map(|c| (word(&c[..8]), word(&c[8..]))).collect();
        let sound = items.windows(2).all(|w| w[0].0 < w[1].0) && items.iter().all(|i| i.1 > 0);
        sound.then_some(Contributors { items, error: u64::from_le_bytes(*error) })
    }

    /// Adds another summary: `theirs` ascending by token, at most `KEPT`.
    fn join(&mut self, theirs: &[(u64, u64)], error: u64) {
        let mut both = [(0u64, 0u64); 2 * KEPT];
        let (mut n, mut i, mut j) = (0, 0, 0);
        while i < self.items.len() || j < theirs.len() {
            let left = self.items.get(i).map_or(u64::MAX, |x| x.0);
            let right = theirs.get(j).map_or(u64::MAX, |x| x.0);
            let take_left = i < self.items.len() && (left <= right || j == theirs.len());
            let take_right = j < theirs.len() && (right <= left || i == self.items.len());
            let mut weight = 0u64;
            if take_left {
                weight = self.items[i].1;
                i += 1;
            }
            if take_right {
                weight = weight.saturating_add(theirs[j].1);
                j += 1;
            }
            both[n] = (if take_left { left } else { right }, weight);
            n += 1;
        }
        let cut = cut(both[..n].iter().map(|x| x.1));
        self.items.clear();
        self.items.extend(both[..n].iter().filter(|x| x.1 > cut).map(|x| (x.0, x.1 - cut)));
        self.error = self.error.saturating_add(error).saturating_add(cut);
    }
}

/// The weight of the first one too many: the (`KEPT` + 1)th largest, 0 where there are fewer.
fn cut(weights: impl Iterator<Item = u64>) -> u64 {
    let mut top = [0u64; KEPT + 1];
    for weight in weights {
        if weight > top[KEPT] {
            let at = top.partition_point(|t| *t >= weight);
            top.copy_within(at..KEPT, at + 1);
            top[at] = weight;
        }
    }
    top[KEPT]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn up_to_the_number_kept_everything_is_exact() {
        let mut c = Contributors::default();
        c.add((1..=KEPT as u64).map(|t| (t, t * 10)));
        c.add((1..=KEPT as u64).map(|t| (t, 1)));
        assert_eq!(c.two_largest(), (241, 231));
        assert_eq!(c.upper_bound(3), 31);
        assert_eq!(c.upper_bound(999), 0);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let mut c = Contributors::default();
        c.add([(5, 1), (9, 2)].into_iter());
        let good = c.to_bytes();
        assert!(Contributors::from_bytes(&good).unwrap() == c);
        let mut twice = good.clone();
        twice.extend_from_slice(&good[8..24]);
        for bad in [&good[..7], &good[..good.len() - 1], &twice[..], &[0u8; 8 + 16]] {
            assert!(Contributors::from_bytes(bad).is_none(), "{} bytes", bad.len());
        }
    }

    proptest! {
        #[test]
        fn bounds_are_never_below_the_truth_and_never_far_above(
            blocks in proptest::collection::vec(proptest::collection::vec((0u64..200, 0u64..1000), 0..120), 1..8),
            extremes in any::<bool>(),
        ) {
            let mut truth: HashMap<u64, u64> = HashMap::new();
            let mut parts = Vec::new();
            for block in &blocks {
                let mut sums: HashMap<u64, u64> = HashMap::new();
                for (t, w) in block {
                    let t = if extremes && *t == 0 { u64::MAX } else { *t };
                    *sums.entry(t).or_default() += w;
                    *truth.entry(t).or_default() += w;
                }
                let mut c = Contributors::default();
                let list: Vec<_> = sums.into_iter().collect();
                c.add(list.iter().copied());
                parts.push(Contributors::from_bytes(&c.to_bytes()).unwrap());
            }
            // two shapes of merging
            let mut chain = Contributors::default();
            parts.iter().for_each(|p| chain.merge(p));
            while parts.len() > 1 {
                let last = parts.pop().unwrap();
                let at = parts.len() / 2;
                parts[at].merge(&last);
            }
            let total: u64 = truth.values().sum();
            let mut sorted: Vec<u64> = truth.values().copied().chain([0, 0]).collect();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            for c in [&chain, &parts[0]] {
                for (t, w) in &truth {
                    prop_assert!(c.upper_bound(*t) >= *w);
                }
                let (first, second) = c.two_largest();
                let slack = total / (KEPT as u64 + 1);
                prop_assert!(first >= sorted[0] && first <= sorted[0] + slack);
                prop_assert!(first + second >= sorted[0] + sorted[1]);
                prop_assert!(c.items.len() <= KEPT);
            }
        }
    }
}
