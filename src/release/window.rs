//! One window, one vintage: which cells pass, for whom, and what stays open.
//!
//! Pure. Tally files that a vintage of a window has taken in are its *tiers*; what no published
//! value holds yet is judged by itself, per cell, per measure and per audience.

use super::released::Released;
use super::rules::{Audience, Rules, Withheld, round_to, sums_of};
use crate::tally::cell::{Cell, Key, Sum, sides_of};
use crate::tally::contract::{country_text, currency_text};
use crate::tally::cube::RoundTo;
use std::collections::BTreeMap;

/// What a window's tally holds of one cell: the vintage that took the records in, and the records.
pub type Tiers = Vec<(u32, Cell)>;

/// The last vintage in which a cell's values were published; 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Records, answered, parties.
    pub counts: u32,
    /// By `Sum`.
    pub sums: [u32; Sum::COUNT],
    /// Party counts as they were last shown, A and B.
    pub parties: [i64; 2],
}

/// Published values of one cell in one vintage, all rounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellValues {
    pub key: Key,
    pub records: i64,
    pub answered: i64,
    /// By `Sum`; none where the cell has no such measure, or it is withheld.
    pub sums: [Option<i64>; Sum::COUNT],
    pub a_parties: i64,
    /// None for data.
    pub b_parties: Option<i64>,
    /// Sums that are withheld.
    pub withheld: Vec<Sum>,
}

impl CellValues {
    /// Countries of A and B, network and currency as they are written; none where there is none.
    pub fn places(&self) -> [Option<String>; 4] {
        let key = &self.key;
        let network = (!key.network.is_none()).then(|| key.network.to_string());
        [country_text(key.a_country), country_text(key.b_country), network, currency_text(key.currency)]
    }

    /// Names of the sums that are withheld, separated by spaces.
    pub fn withheld_names(&self) -> Option<String> {
        let names: Vec<_> = self.withheld.iter().map(|s| s.name()).collect();
        (!names.is_empty()).then(|| names.join(" "))
    }
}

/// A vintage of a window for one audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowValues {
    pub audience: Audience,
    /// Hours since 1970-01-01 UTC.
    pub hour: i32,
    /// From 1.
    pub vintage: u32,
    pub cells: Vec<CellValues>,
    /// Cells (for dominance and partners: sums) that this vintage withholds, rounded as records are.
    pub withheld: BTreeMap<Withheld, i64>,
}

/// A vintage as it was decided.
pub struct Judged {
    /// By `Audience`.
    pub windows: [Released<WindowValues>; 2],
    /// What each withholds, exact: for the steward's eyes, never stored.
    pub withheld: [BTreeMap<Withheld, u64>; 2],
}

/// Decides a vintage. `cells` are the window's cells by tier (new records bear `vintage`), `last`
/// what was published of them before.
///
/// `None` where this is not the first vintage and nothing new passes: the records stay open.
pub fn judge(
    (hour, vintage): (i32, u32),
    cells: &BTreeMap<Key, Tiers>,
    last: &impl Fn(Audience, &Key) -> Published,
    rules: &Rules,
    round: &RoundTo,
) -> Option<Judged> {
    let empty = |audience| WindowValues { audience, hour, vintage, cells: Vec::new(), withheld: BTreeMap::new() };
    let mut windows = Audience::ALL.map(empty);
    let mut withheld: [BTreeMap<Withheld, u64>; 2] = Default::default();
    for (key, tiers) in cells {
        let mut inner: Option<CellValues> = None;
        for audience in Audience::ALL {
            let candidate = Candidate { key, tiers, last: last(audience, key), audience, rules, round };
            let has_inner = audience != Audience::Internal;
            inner = candidate.judge(has_inner, inner.as_ref(), &mut withheld[audience as usize]);
            windows[audience as usize].cells.extend(inner.clone());
        }
    }
    if vintage > 1 && windows[0].cells.is_empty() {
        return None;
    }
    for (window, exact) in windows.iter_mut().zip(&withheld) {
        let rounded = exact.iter().map(|(why, n)| (*why, round_to((*n).into(), round.records)));
        window.withheld = rounded.filter(|r| r.1 != 0).collect();
    }
    Some(Judged { windows: windows.map(Released::new), withheld })
}

/// One cell before one audience.
struct Candidate<'a> {
    key: &'a Key,
    tiers: &'a Tiers,
    last: Published,
    audience: Audience,
    rules: &'a Rules,
    round: &'a RoundTo,
}

impl Candidate<'_> {
    /// `inner`: what the audience before this one is shown in this vintage, if there is one.
    fn judge(
        &self,
        has_inner: bool,
        inner: Option<&CellValues>,
        withheld: &mut BTreeMap<Withheld, u64>,
    ) -> Option<CellValues> {
        let added = self.since(self.last.counts)?;
        let mut deny = |why| *withheld.entry(why).or_default() += 1;
        let fault = self.rules.threshold_fault(self.audience, self.key.service, &added);
        if let Some(why) = fault.or((has_inner && inner.is_none()).then_some(Withheld::Inner)) {
            deny(why);
            return None;
        }
        let total = self.since(0)?;
        let mut values = self.counts(&total, inner);
        for sum in sums_of(self.key) {
            let shown_inside = inner.is_none_or(|i| i.sums[sum as usize].is_some());
            match if shown_inside { self.sum_fault(sum) } else { Some(Withheld::Inner) } {
                None => values.sums[sum as usize] = Some(self.rounded(&total, sum)),
                Some(why) => {
                    deny(why);
                    values.withheld.push(sum);
                }
            }
        }
        Some(values)
    }

    /// Records that vintages after `vintage` took in; `None` where there are none.
    fn since(&self, vintage: u32) -> Option<Cell> {
        merged(self.tiers.iter().filter(|t| t.0 > vintage))
    }

    /// Records that vintages up to `vintage` took in.
    fn until(&self, vintage: u32) -> Cell {
        merged(self.tiers.iter().filter(|t| t.0 <= vintage)).unwrap_or_default()
    }

    /// What a sum would gain is judged by itself, thresholds included: it may have been withheld
    /// in vintages that published the counts, and the other way round never.
    fn sum_fault(&self, sum: Sum) -> Option<Withheld> {
        let added = self.since(self.last.sums[sum as usize]).unwrap_or_default();
        let threshold = self.rules.threshold_fault(self.audience, self.key.service, &added);
        threshold.or_else(|| self.rules.sum_fault(self.audience, self.key.service, &added, sum))
    }

    fn counts(&self, total: &Cell, inner: Option<&CellValues>) -> CellValues {
        let count = |n: u64, base| round_to(n.into(), base);
        let (a, b) = (self.round.a_parties, self.round.b_parties);
        CellValues {
            key: *self.key,
            records: count(total.sums.records, self.round.records),
            answered: count(total.sums.answered, self.round.answered),
            sums: [None; Sum::COUNT],
            a_parties: self.parties(0, a, total, inner.map(|i| i.a_parties)),
            b_parties: (sides_of(self.key.service) == 2)
                .then(|| self.parties(1, b, total, inner.and_then(|i| i.b_parties))),
            withheld: Vec::new(),
        }
    }

    /// How many parties a side had. The difference of two vintages is a count of those who came
    /// new, so the number stays as it was last shown until at least k are new. What an audience is
    /// shown, the ones before it are shown too: together they learn no further difference.
    fn parties(&self, side: usize, base: u64, total: &Cell, inside: Option<i64>) -> i64 {
        let distinct = total.sides[side].distinct();
        let now = round_to(distinct.into(), base);
        if self.last.counts == 0 {
            return inside.unwrap_or(now);
        }
        let before = self.until(self.last.counts).sides[side].distinct();
        let enough_are_new = distinct.saturating_sub(before) >= self.rules.threshold(self.audience);
        if enough_are_new && inside.is_none_or(|i| i == now) { now } else { self.last.parties[side] }
    }

    fn rounded(&self, total: &Cell, sum: Sum) -> i64 {
        match sum {
            Sum::Seconds => round_to(total.sums.seconds.into(), self.round.seconds),
            Sum::Bytes => round_to(total.sums.bytes.into(), self.round.bytes),
            Sum::Charge => round_to(total.sums.charge_micro, self.round.charge),
        }
    }
}

fn merged<'a>(tiers: impl Iterator<Item = &'a (u32, Cell)>) -> Option<Cell> {
    let mut cells = tiers.map(|t| &t.1);
    let mut whole = cells.next()?.clone();
    cells.for_each(|c| whole.merge(c));
    Some(whole)
}

#[cfg(test)]
mod tests;
