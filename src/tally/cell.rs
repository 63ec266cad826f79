//! A cell of the traffic cubes: what it is (`Key`), how much (`Sums`), and who (`Side`).

use super::contributors::Contributors;
use super::distinct::Distinct;
use crate::record::clear::{Direction, Service};
use crate::record::identifier::Country;
use crate::record::plmn::Plmn;
use crate::record::time::Day;
use crate::record::veiled::Naming;

/// Summed measures that have contributors, in the order of every array here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Sum {
    Seconds = 0,
    Bytes = 1,
    /// Millionths of the cell's currency.
    Charge = 2,
}

impl Sum {
    pub const COUNT: usize = 3;
    pub const ALL: [Sum; Sum::COUNT] = [Sum::Seconds, Sum::Bytes, Sum::Charge];

    pub fn name(self) -> &'static str {
        match self {
            Sum::Seconds => "seconds",
            Sum::Bytes => "bytes",
            Sum::Charge => "charge",
        }
    }
}

/// The dimensions of a cell. `packed` orders by them from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Hours since 1970-01-01 UTC.
    pub hour: i32,
    pub service: Service,
    pub direction: Direction,
    pub a_country: Country,
    /// `Country::NONE` for data, which has no B side.
    pub b_country: Country,
    /// Serving network where the record states one, else home network.
    pub network: Plmn,
    /// Of the charge; zeros where the record has no charge.
    pub currency: [u8; 3],
}

impl Key {
    pub fn day(&self) -> Day {
        Day(self.hour.div_euclid(24))
    }

    /// 116 bits: hour 32, service 2, direction 2, countries 16 each, network 24, currency 24.
    pub fn packed(&self) -> u128 {
        let [a0, a1] = self.a_country.0;
        let [b0, b1] = self.b_country.0;
        let [c0, c1, c2] = self.currency;
        let high = u64::from(self.hour as u32 ^ 0x8000_0000) << 4 | (self.service as u64) << 2 | self.direction as u64;
        let countries = u64::from(u32::from_be_bytes([a0, a1, b0, b1]));
        let low = u64::from(self.network.0 & 0xff_ffff) << 24 | u64::from(u32::from_be_bytes([0, c0, c1, c2]));
        u128::from(high) << 80 | u128::from(countries) << 48 | u128::from(low)
    }

    pub fn unpack(packed: u128) -> Key {
        let high = (packed >> 80) as u64;
        let [a0, a1, b0, b1] = ((packed >> 48) as u32).to_be_bytes();
        let [_, c0, c1, c2] = (packed as u32).to_be_bytes();
        Key {
            hour: ((high >> 4) as u32 ^ 0x8000_0000) as i32,
            service: Service::ALL[(high >> 2 & 3) as usize],
            direction: Direction::ALL[(high & 3) as usize],
            a_country: Country([a0, a1]),
            b_country: Country([b0, b1]),
            network: Plmn((packed >> 24) as u32 & 0xff_ffff),
            currency: [c0, c1, c2],
        }
    }
}

/// Exact sums. Seconds and bytes saturate; the charge is wide, so that merging is associative.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sums {
    pub records: u64,
    pub answered: u64,
    pub seconds: u64,
    pub bytes: u64,
    pub charge_micro: i128,
}

/// One side of the calls of a cell: how many parties, and who adds most to each sum.
///
/// Records whose party has no token (withheld, random pseudonym) count in no sketch. In
/// `contributors` they are all one party, token 0: nobody can tell whether they are.
#[derive(Clone, Default, PartialEq)]
pub struct Side {
    /// By `Naming`.
    pub parties: [Distinct; Naming::COUNT],
    /// By `Sum`; the weight of a charge is its absolute value.
    pub contributors: [Contributors; Sum::COUNT],
}

impl Side {
    /// Counts a party; 0 is nobody.
    #[inline]
    pub fn add(&mut self, token: u64) {
        if token != 0 {
            self.parties[Naming::of_token(token) as usize].add(token);
        }
    }

    /// Subscribers that there are at least: somebody seen under two namings is one of each, so the
    /// namings are not added up.
    pub fn distinct(&self) -> u64 {
        self.parties.iter().map(Distinct::count).max().unwrap_or(0)
    }

    /// Upper bounds of what the largest contributor adds to a sum, and the two largest together:
    /// the largest of every naming may be the same person.
    pub fn largest(&self, sum: Sum) -> (u128, u128) {
        let top = &self.contributors[sum as usize];
        let (mut one, mut two) = (0, 0);
        for naming in Naming::ALL {
            // token 0, nobody, reads as a number
            if naming == Naming::Number || !self.parties[naming as usize].is_empty() {
                let (first, second) = top.two_largest_of(|t| Naming::of_token(t) == naming);
                one += u128::from(first);
                two += u128::from(first) + u128::from(second);
            }
        }
        (one, two)
    }

    fn merge(&mut self, other: &Side) {
        self.parties.iter_mut().zip(&other.parties).for_each(|(p, o)| p.merge(o));
        self.contributors.iter_mut().zip(&other.contributors).for_each(|(c, o)| c.merge(o));
    }
}

/// Everything known of one cell. No `Debug`: it holds tokens.
#[derive(Clone, Default, PartialEq)]
pub struct Cell {
    pub sums: Sums,
    /// A, B. The B side of data stays empty.
    pub sides: [Side; 2],
}

impl Cell {
    pub fn merge(&mut self, other: &Cell) {
        let (s, o) = (&mut self.sums, &other.sums);
        s.records += o.records;
        s.answered += o.answered;
        s.seconds = s.seconds.saturating_add(o.seconds);
        s.bytes = s.bytes.saturating_add(o.bytes);
        s.charge_micro += o.charge_micro;
        self.sides.iter_mut().zip(&other.sides).for_each(|(mine, theirs)| mine.merge(theirs));
    }
}

/// Sides that the calls of a service have: both, or the A side alone for data.
pub fn sides_of(service: Service) -> usize {
    if service == Service::Data { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packing_keeps_every_dimension_and_the_order(
            a in (any::<i32>(), 0usize..3, 0usize..4, any::<[u8; 4]>(), 0u32..10_000_000, any::<[u8; 3]>()),
            b in (any::<i32>(), 0usize..3, 0usize..4, any::<[u8; 4]>(), 0u32..10_000_000, any::<[u8; 3]>()),
        ) {
            let key = |(hour, s, d, c, n, currency): (i32, usize, usize, [u8; 4], u32, [u8; 3])| Key {
                hour, service: Service::ALL[s], direction: Direction::ALL[d],
                a_country: Country([c[0], c[1]]), b_country: Country([c[2], c[3]]), network: Plmn(n), currency,
            };
            let (a, b) = (key(a), key(b));
            prop_assert_eq!(Key::unpack(a.packed()), a);
            prop_assert_eq!(a.packed().cmp(&b.packed()), a.cmp(&b));
        }
    }
}
