//! The rules, each as a plain function of one cell.

use crate::record::clear::Service;
use crate::tally::cell::{Cell, Key, Sum, sides_of};

/// Who is shown a release. Ordered: what one is denied, every later one is denied too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Audience {
    Internal = 0,
    External = 1,
}

impl Audience {
    pub const ALL: [Audience; 2] = [Audience::Internal, Audience::External];

    pub fn name(self) -> &'static str {
        match self {
            Audience::Internal => "internal",
            Audience::External => "external",
        }
    }
}

/// Numbers of the rules; privacy.md 7.1 of the design gives their sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Least distinct subscribers on a side, by `Audience`.
    threshold: [u64; 2],
}

/// Largest share of one contributor, and of two, in percent of the sum.
const LARGEST_PERCENT: u128 = 50;
const TWO_LARGEST_PERCENT: u128 = 80;
const EXTERNAL_THRESHOLD: u64 = 50;

/// Why a cell, or one sum of it, is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Withheld {
    /// Too few distinct A parties.
    FewA,
    /// Too few distinct B parties.
    FewB,
    /// Denied to an audience before this one.
    Inner,
    /// One or two parties make too much of the sum.
    Dominance,
    /// Nobody counted over how many partners a charge is spread.
    Partners,
}

impl Withheld {
    pub const ALL: [Withheld; 5] =
        [Withheld::FewA, Withheld::FewB, Withheld::Inner, Withheld::Dominance, Withheld::Partners];

    pub fn name(self) -> &'static str {
        match self {
            Withheld::FewA => "few_a",
            Withheld::FewB => "few_b",
            Withheld::Inner => "inner_audience",
            Withheld::Dominance => "dominance",
            Withheld::Partners => "partners",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Withheld::FewA => "too few A subscribers",
            Withheld::FewB => "too few B subscribers",
            Withheld::Inner => "withheld internally too",
            Withheld::Dominance => "one or two parties dominate a sum",
            Withheld::Partners => "charge not shown outside",
        }
    }
}

impl Rules {
    /// Thresholds for a site whose internal one is `internal`; the external one is 50, or the
    /// internal one where that is higher.
    pub fn new(internal: u64) -> Rules {
        Rules { threshold: [internal, internal.max(EXTERNAL_THRESHOLD)] }
    }

    pub fn threshold(&self, audience: Audience) -> u64 {
        self.threshold[audience as usize]
    }

    /// Rule 1, on every side that the service has.
    pub fn threshold_fault(&self, audience: Audience, service: Service, cell: &Cell) -> Option<Withheld> {
        let few = |side: usize| cell.sides[side].distinct() < self.threshold(audience);
        match sides_of(service) {
            _ if few(0) => Some(Withheld::FewA),
            2 if few(1) => Some(Withheld::FewB),
            _ => None,
        }
    }

    /// Rule 2 for one sum, on every side; by upper bounds, so that doubt withholds.
    pub fn sum_fault(&self, audience: Audience, service: Service, cell: &Cell, sum: Sum) -> Option<Withheld> {
        if audience == Audience::External && sum == Sum::Charge {
            return Some(Withheld::Partners);
        }
        let total = match sum {
            Sum::Seconds => cell.sums.seconds.into(),
            Sum::Bytes => cell.sums.bytes.into(),
            // credits against charges shrink the sum but not the shares: that withholds, too
            Sum::Charge => cell.sums.charge_micro.unsigned_abs(),
        };
        let dominated = cell.sides[..sides_of(service)].iter().any(|side| {
            let (first, two) = side.largest(sum);
            first * 100 > total * LARGEST_PERCENT || two * 100 > total * TWO_LARGEST_PERCENT
        });
        dominated.then_some(Withheld::Dominance)
    }
}

/// The sums that a cell has: seconds of voice and data, bytes of data, charges where there is a
/// currency.
pub fn sums_of(key: &Key) -> impl Iterator<Item = Sum> {
    let (service, charged) = (key.service, key.currency != [0; 3]);
    Sum::ALL.into_iter().filter(move |sum| match sum {
        Sum::Seconds => service != Service::Sms,
        Sum::Bytes => service == Service::Data,
        Sum::Charge => charged,
    })
}

/// Rule 4: the nearest multiple of `base`, halves away from zero.
pub fn round_to(value: i128, base: u64) -> i64 {
    let base = i128::from(base);
    let rounded = (value.abs() + base / 2) / base * base * value.signum();
    rounded.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::veiled::Naming;

    fn cell(a: u64, b: u64, weights: &[u64]) -> Cell {
        let mut cell = Cell::default();
        for (side, n) in [a, b].into_iter().enumerate() {
            (1..=n).for_each(|t| cell.sides[side].add(t));
            cell.sides[side].contributors[0].add(weights.iter().enumerate().map(|(i, w)| (i as u64 + 1, *w)));
        }
        cell.sums.seconds = weights.iter().sum();
        cell
    }

    #[test]
    fn thresholds_hold_on_each_side_that_the_service_has() {
        let rules = Rules::new(20);
        let (a, b) = (Some(Withheld::FewA), Some(Withheld::FewB));
        for (service, audience, sides, verdict) in [
            (Service::Voice, Audience::Internal, (19, 100), a),
            (Service::Voice, Audience::Internal, (20, 100), None),
            (Service::Voice, Audience::Internal, (21, 100), None),
            (Service::Voice, Audience::Internal, (100, 19), b),
            (Service::Voice, Audience::Internal, (100, 20), None),
            (Service::Sms, Audience::Internal, (20, 19), b),
            (Service::Sms, Audience::Internal, (20, 21), None),
            (Service::Data, Audience::Internal, (19, 0), a),
            (Service::Data, Audience::Internal, (20, 0), None),
            (Service::Voice, Audience::External, (49, 50), a),
            (Service::Voice, Audience::External, (50, 49), b),
            (Service::Voice, Audience::External, (50, 50), None),
            (Service::Data, Audience::External, (50, 0), None),
        ] {
            let cell = cell(sides.0, sides.1, &[]);
            assert_eq!(rules.threshold_fault(audience, service, &cell), verdict, "{service:?} {audience:?} {sides:?}");
        }
        assert_eq!(Rules::new(80).threshold(Audience::External), 80, "never below the internal one");
    }

    #[test]
    fn a_sum_that_one_or_two_make_is_withheld() {
        let rules = Rules::new(20);
        for (weights, withheld) in [
            (&[50, 10, 10, 10, 10, 10][..], false),
            (&[51, 10, 10, 10, 10, 9], true),
            (&[40, 40, 10, 10], false),
            (&[41, 40, 10, 9], true),
            (&[100], true),
            (&[], false),
            (&[0, 0], false),
        ] {
            let fault = rules.sum_fault(Audience::Internal, Service::Voice, &cell(0, 0, weights), Sum::Seconds);
            assert_eq!(fault.is_some(), withheld, "{weights:?}");
        }
        let mut flat = cell(0, 0, &[10; 10]);
        flat.sides[1].contributors[0].add([(1, 95)].into_iter());
        assert!(
            rules.sum_fault(Audience::Internal, Service::Voice, &flat, Sum::Seconds).is_some(),
            "B side counts too"
        );
        assert!(rules.sum_fault(Audience::Internal, Service::Data, &flat, Sum::Seconds).is_none(), "data has none");
        assert_eq!(rules.sum_fault(Audience::External, Service::Voice, &flat, Sum::Charge), Some(Withheld::Partners));
    }

    /// Whoever is seen by number here and by SIM there may be one person: neither counts nor shares
    /// take them for two.
    #[test]
    fn namings_are_not_added_up() {
        let rules = Rules::new(20);
        for (numbers, sims, uris, passes) in
            [(19, 19, 19, false), (20, 0, 0, true), (0, 20, 0, true), (5, 0, 20, true), (20, 20, 3, true)]
        {
            let mut cell = Cell::default();
            for (naming, n) in Naming::ALL.into_iter().zip([numbers, sims, uris]) {
                (1..=n).for_each(|t| cell.sides[0].add(naming.token(t << 8)));
            }
            let fault = rules.threshold_fault(Audience::Internal, Service::Data, &cell);
            assert_eq!(fault.is_none(), passes, "{numbers} {sims} {uris}");
        }
        for (sim_share, withheld) in [(10, false), (31, true)] {
            let mut cell = Cell::default();
            let (number, sim) = (Naming::Number.token(1 << 8), Naming::Imsi.token(2 << 8));
            let small = (0..10u64).map(|i| (Naming::Number.token((i + 9) << 8), (70 - sim_share) / 10));
            cell.sides[0].add(sim);
            cell.sides[0].contributors[0].add([(number, 30), (sim, sim_share)].into_iter().chain(small));
            cell.sums.seconds = 100;
            let fault = rules.sum_fault(Audience::Internal, Service::Voice, &cell, Sum::Seconds);
            assert_eq!(fault.is_some(), withheld, "30 by number, {sim_share} by SIM");
        }
    }

    #[test]
    fn rounding_goes_to_the_nearest_multiple() {
        for (value, base, rounded) in
            [(0, 5, 0), (2, 5, 0), (3, 5, 5), (7, 5, 5), (8, 5, 10), (-3, 5, -5), (29, 60, 0), (30, 60, 60), (7, 1, 7)]
        {
            assert_eq!(round_to(value, base), rounded, "{value} to {base}");
        }
        assert_eq!(round_to(i128::MAX / 4, 5), i64::MAX);
    }
}
