//! Attributes made coarse before they stand beside a pseudonym (design privacy.md 2.3, 2.4): an
//! exact time and duration would let anyone who was party to one call find the other party.

use crate::record::clear::{ABSENT_I64, ABSENT_U32, ABSENT_U64, Answered, CauseClass, Clear};
use crate::record::decoded::Span;
use crate::record::plmn::Plmn;
use crate::record::time::MS_PER_DAY;
use crate::record::veiled::{Coarse, TRUNK_OTHER};

const QUARTER_MS: i64 = 15 * 60 * 1000;

/// Lower bounds of the duration buckets, in seconds.
pub const DURATION_BUCKETS: [i32; 10] = [0, 1, 10, 30, 60, 120, 300, 600, 1800, 3600];
/// Lower bounds of the volume buckets, in octets.
pub const VOLUME_BUCKETS: [i64; 8] = [0, 1, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];
/// Lower bounds of the charge buckets, in millionths of the currency.
pub const CHARGE_BUCKETS: [i64; 8] = [0, 1, 100_000, 500_000, 1_000_000, 5_000_000, 20_000_000, 100_000_000];

/// The feed's allow-list of trunk groups; anything else is stored as `other`.
#[derive(Default)]
pub struct TrunkList(Vec<Vec<u8>>);

impl TrunkList {
    pub fn new(names: &[String]) -> TrunkList {
        TrunkList(names.iter().map(|n| n.as_bytes().to_vec()).collect())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|n| std::str::from_utf8(n).ok())
    }

    fn index(&self, span: Span, text: &[u8]) -> u16 {
        if span.is_none() {
            return 0;
        }
        let name = span.of(text);
        self.0.iter().position(|n| n == name).map_or(TRUNK_OTHER, |i| i as u16 + 1)
    }
}

/// The coarse attributes of every row. Of a call to a sensitive service only the day, the service and
/// the countries are left: nothing that could be matched with a bill.
pub fn generalise(clear: &Clear, trunks: &TrunkList) -> Coarse {
    let rows = 0..clear.rows();
    let start = |row: usize| {
        let (ms, step) = (clear.start_ms[row], if clear.sensitive[row] { MS_PER_DAY } else { QUARTER_MS });
        ms.div_euclid(step) * step * 1000
    };
    let mut coarse = Coarse {
        service: clear.service.clone(),
        direction: clear.direction.clone(),
        start_us: rows.clone().map(start).collect(),
        duration: clear
            .duration_s
            .iter()
            .map(|&s| (s != ABSENT_U32).then(|| bucket(&DURATION_BUCKETS, i32::try_from(s).unwrap_or(i32::MAX))))
            .collect(),
        volume: rows.clone().map(|row| volume(clear.bytes_up[row], clear.bytes_down[row])).collect(),
        charge: clear
            .charge_micro
            .iter()
            .map(|&c| (c != ABSENT_I64).then(|| bucket(&CHARGE_BUCKETS, c.max(0))))
            .collect(),
        currency: clear.currency.clone(),
        answered: clear.answered.clone(),
        cause: clear.cause.clone(),
        a_country: clear.a_country.clone(),
        b_country: clear.b_country.clone(),
        home_network: clear.home_network.clone(),
        visited_network: clear.network.clone(),
        trunk_in: clear.trunk_in.iter().map(|&s| trunks.index(s, &clear.text)).collect(),
        trunk_out: clear.trunk_out.iter().map(|&s| trunks.index(s, &clear.text)).collect(),
    };
    for row in rows.filter(|row| clear.sensitive[*row]) {
        hide(&mut coarse, row);
    }
    coarse
}

fn hide(coarse: &mut Coarse, row: usize) {
    (coarse.duration[row], coarse.volume[row], coarse.charge[row]) = (None, None, None);
    (coarse.currency[row], coarse.answered[row], coarse.cause[row]) = ([0; 3], Answered::Unknown, CauseClass::Unknown);
    (coarse.home_network[row], coarse.visited_network[row]) = (Plmn::NONE, Plmn::NONE);
    (coarse.trunk_in[row], coarse.trunk_out[row]) = (0, 0);
}

fn volume(up: u64, down: u64) -> Option<i64> {
    if up == ABSENT_U64 && down == ABSENT_U64 {
        return None;
    }
    let known = |v: u64| if v == ABSENT_U64 { 0 } else { v };
    let total = i64::try_from(known(up).saturating_add(known(down))).unwrap_or(i64::MAX);
    Some(bucket(&VOLUME_BUCKETS, total))
}

fn bucket<T: PartialOrd + Copy>(bounds: &[T], value: T) -> T {
    bounds.iter().rev().copied().find(|bound| *bound <= value).unwrap_or(bounds[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_keep_their_lower_bound() {
        for (value, expected) in [(0, 0), (1, 1), (9, 1), (10, 10), (59, 30), (3599, 1800), (i32::MAX, 3600)] {
            assert_eq!(bucket(&DURATION_BUCKETS, value), expected);
        }
        assert_eq!(volume(ABSENT_U64, ABSENT_U64), None);
        assert_eq!(volume(99_999, 1), Some(100_000));
        assert_eq!(volume(u64::MAX - 1, u64::MAX - 1), Some(10_000_000_000));
    }

    #[test]
    fn a_trunk_that_is_not_listed_is_other() {
        let list = TrunkList::new(&["TG1".into()]);
        let text = b"TG1TG2";
        assert_eq!(list.index(Span { start: 0, len: 3 }, text), 1);
        assert_eq!(list.index(Span { start: 3, len: 3 }, text), TRUNK_OTHER);
        assert_eq!(list.index(Span::NONE, text), 0);
    }
}
