use super::*;
use crate::record::clear::{Direction, Service};
use crate::record::identifier::Country;
use crate::record::plmn::Plmn;
use crate::record::veiled::Naming;
use std::cell::RefCell;
use std::collections::HashMap;

const ROUND: RoundTo =
    RoundTo { records: 5, answered: 5, seconds: 60, bytes: 1000, charge: 1000, a_parties: 5, b_parties: 5 };

fn key(service: Service, b: &[u8; 2], charged: bool) -> Key {
    let currency = if charged { *b"EUR" } else { [0; 3] };
    let b_country = if service == Service::Data { Country::NONE } else { Country(*b) };
    let (direction, a_country) = (Direction::Originating, Country(*b"BE"));
    Key { hour: 500_000, service, direction, a_country, b_country, network: Plmn::NONE, currency }
}

/// One call of 60 seconds and 1000 micro for each of `parties`, who call one another.
fn calls(parties: std::ops::Range<u64>) -> Cell {
    weighted(parties.map(|p| (p, 60)))
}

fn weighted(parties: impl Iterator<Item = (u64, u64)>) -> Cell {
    let mut cell = Cell::default();
    for (p, seconds) in parties {
        let token = Naming::Number.token((p + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        cell.sums.records += 1;
        cell.sums.answered += 1;
        cell.sums.seconds += seconds;
        cell.sums.charge_micro += 1000;
        for side in &mut cell.sides {
            side.add(token);
            side.contributors[Sum::Seconds as usize].add([(token, seconds)].into_iter());
            side.contributors[Sum::Charge as usize].add([(token, 1000)].into_iter());
        }
    }
    cell
}

fn both(mut one: Cell, other: Cell) -> Cell {
    one.merge(&other);
    one
}

/// A site that keeps what it published, as the release table does.
#[derive(Default)]
struct Site {
    round: Option<RoundTo>,
    published: RefCell<HashMap<(Audience, Key), Published>>,
}

impl Site {
    fn judge(&self, vintage: u32, cells: &[(Key, Tiers)]) -> Option<Judged> {
        let cells = cells.iter().cloned().collect();
        let last = |a: Audience, k: &Key| self.published.borrow().get(&(a, *k)).copied().unwrap_or_default();
        let judged = judge((500_000, vintage), &cells, &last, &Rules::new(20), &self.round.unwrap_or(ROUND))?;
        for window in &judged.windows {
            for cell in &window.cells {
                let mut all = self.published.borrow_mut();
                let published = all.entry((window.audience, cell.key)).or_default();
                published.counts = vintage;
                published.parties = [cell.a_parties, cell.b_parties.unwrap_or(0)];
                for sum in Sum::ALL.into_iter().filter(|s| cell.sums[*s as usize].is_some()) {
                    published.sums[sum as usize] = vintage;
                }
            }
        }
        Some(judged)
    }
}

fn records(judged: &Judged, audience: Audience) -> Vec<i64> {
    judged.windows[audience as usize].cells.iter().map(|c| c.records).collect()
}

#[test]
fn thresholds_decide_per_audience_and_the_first_vintage_always_stands() {
    for (parties, internal, external) in [
        (19, vec![], vec![]),
        (20, vec![20], vec![]),
        (21, vec![20], vec![]),
        (49, vec![50], vec![]),
        (50, vec![50], vec![50]),
    ] {
        for service in Service::ALL {
            let judged =
                Site::default().judge(1, &[(key(service, b"NL", false), vec![(1, calls(0..parties))])]).unwrap();
            assert_eq!(records(&judged, Audience::Internal), internal, "{parties} {service:?}");
            assert_eq!(records(&judged, Audience::External), external, "{parties} {service:?}");
            let denied = u64::from(internal.is_empty());
            assert_eq!(judged.withheld[0].get(&Withheld::FewA).copied().unwrap_or(0), denied);
        }
    }
}

#[test]
fn what_is_shown_is_rounded_and_fits_the_service() {
    let cells = [
        (key(Service::Voice, b"NL", true), vec![(1, calls(0..52))]),
        (key(Service::Data, b"NL", false), vec![(1, calls(0..52))]),
        (key(Service::Sms, b"NL", false), vec![(1, calls(0..52))]),
    ];
    let judged = Site::default().judge(1, &cells).unwrap();
    let [voice, sms, data] = &judged.windows[0].cells[..] else { panic!() };
    assert_eq!((voice.records, voice.a_parties, voice.b_parties), (50, 50, Some(50)));
    assert_eq!(voice.sums, [Some(3120), None, Some(52_000)]);
    assert_eq!((sms.sums, sms.b_parties), ([None; 3], Some(50)));
    assert_eq!((data.sums, data.b_parties), ([Some(3120), Some(0), None], None));
    let outside = &judged.windows[1].cells[0];
    assert_eq!((outside.sums[2], &outside.withheld[..]), (None, &[Sum::Charge][..]), "charge stays inside");
}

#[test]
fn one_who_dominates_takes_the_sum_away_and_no_more() {
    let cell = weighted((0..60).map(|p| (p, if p == 0 { 60_000 } else { 60 })));
    let judged = Site::default().judge(1, &[(key(Service::Voice, b"NL", true), vec![(1, cell)])]).unwrap();
    for window in &judged.windows {
        let cell = &window.cells[0];
        assert_eq!((cell.records, cell.sums[0]), (60, None));
        assert!(cell.withheld.contains(&Sum::Seconds));
    }
    assert_eq!(judged.withheld[1].get(&Withheld::Inner), Some(&1), "denied inside, so denied outside");
}

#[test]
fn later_records_make_a_vintage_only_if_they_pass_by_themselves() {
    let k = key(Service::Voice, b"NL", false);
    for (late, released) in [(0..19, None), (0..20, Some(60)), (500..519, None), (500..525, Some(65))] {
        let site = Site::default();
        let first = calls(0..40);
        assert_eq!(records(&site.judge(1, &[(k, vec![(1, first.clone())])]).unwrap(), Audience::Internal), [40]);
        let judged = site.judge(2, &[(k, vec![(1, first.clone()), (2, calls(late.clone()))])]);
        assert_eq!(judged.as_ref().map(|j| records(j, Audience::Internal)), released.map(|r| vec![r]), "{late:?}");
        if let Some(judged) = &judged {
            // outside, nothing was published before: the whole is judged as one cell
            let distinct = if late.start == 0 { 40 } else { 65 };
            assert_eq!(records(judged, Audience::External).is_empty(), distinct < 50);
        } else {
            // what stays open adds up until it passes
            let third = vec![(1, first), (2, calls(late)), (2, calls(700..719))];
            assert!(site.judge(2, &[(k, third)]).is_some());
        }
    }
}

#[test]
fn a_withheld_cell_may_pass_later_as_a_whole() {
    let (site, k) = (Site::default(), key(Service::Voice, b"NL", false));
    assert!(records(&site.judge(1, &[(k, vec![(1, calls(0..12))])]).unwrap(), Audience::Internal).is_empty());
    assert!(site.judge(2, &[(k, vec![(1, calls(0..12)), (2, calls(0..19))])]).is_none());
    let judged = site.judge(2, &[(k, vec![(1, calls(0..12)), (2, calls(12..20))])]).unwrap();
    assert_eq!(records(&judged, Audience::Internal), [20]);
}

#[test]
fn records_alone_do_not_open_a_second_vintage_and_old_cells_are_not_shown_again() {
    let (site, nl, fr) = (Site::default(), key(Service::Voice, b"NL", false), key(Service::Voice, b"FR", false));
    site.judge(1, &[(nl, vec![(1, calls(0..30))]), (fr, vec![(1, calls(0..30))])]).unwrap();
    assert!(site.judge(2, &[(nl, vec![(1, calls(0..30))]), (fr, vec![(1, calls(0..30))])]).is_none());
    let judged = site.judge(2, &[(nl, vec![(1, calls(0..30)), (2, calls(0..30))]), (fr, vec![(1, calls(0..30))])]);
    let shown = &judged.unwrap().windows[0].cells;
    assert_eq!((shown.len(), shown[0].key, shown[0].records), (1, nl, 60));
}

#[test]
fn outside_never_sees_more_records_than_inside() {
    let (site, k) = (Site::default(), key(Service::Voice, b"NL", false));
    site.judge(1, &[(k, vec![(1, calls(0..45))])]).unwrap();
    // 8 more callers: too few for inside; outside would have 53, and must wait
    let open = vec![(1, calls(0..45)), (2, calls(45..53))];
    let other = key(Service::Sms, b"FR", false);
    let judged = site.judge(2, &[(k, open), (other, vec![(2, calls(0..60))])]).unwrap();
    for window in &judged.windows {
        assert!(window.cells.iter().all(|c| c.key == other), "{:?}", window.audience);
    }
    assert_eq!(judged.withheld[1].get(&Withheld::Inner), Some(&1));
}

/// No margin is published, so no sum or difference of published values may be a withheld cell:
/// cells of a vintage are disjoint, and two vintages of a cell differ by what passed by itself.
#[test]
fn no_pair_of_vintages_differs_by_a_cell_that_would_be_withheld() {
    let k = key(Service::Voice, b"NL", false);
    for late in 1..60u64 {
        let site = Site::default();
        let tiers = |v: u32| vec![(1, calls(0..60)), (v, calls(1000..1000 + late))];
        site.judge(1, &[(k, vec![(1, calls(0..60))])]).unwrap();
        let second = site.judge(2, &[(k, tiers(2))]);
        for audience in Audience::ALL {
            let shown = second.as_ref().is_some_and(|j| !records(j, audience).is_empty());
            assert_eq!(shown, late >= Rules::new(20).threshold(audience), "{late} {audience:?}");
        }
    }
}

/// Late calls of `old` callers of the first vintage and of `new` ones: the difference of any two
/// party counts that anybody sees, of one audience or of both together, counts nobody or at least k.
#[test]
fn no_difference_of_party_counts_is_a_count_of_few() {
    let k = key(Service::Voice, b"NL", false);
    let exact = RoundTo { records: 1, answered: 1, seconds: 1, bytes: 1, charge: 1, a_parties: 1, b_parties: 1 };
    for first in [30u64, 60] {
        for (old, new) in (0..=30).step_by(5).flat_map(|old| (0..60).map(move |new| (old, new))) {
            let site = Site { round: Some(exact), ..Site::default() };
            let late = |v: u32| (v, both(calls(0..old), calls(100 * u64::from(v)..100 * u64::from(v) + new)));
            let mut seen: [Vec<i64>; 2] = Default::default();
            for vintages in 1..=3u32 {
                let mut tiers = vec![(1, calls(0..first))];
                tiers.extend((2..=vintages).map(late));
                let Some(judged) = site.judge(vintages, &[(k, tiers)]) else { break };
                for window in &judged.windows {
                    for cell in &window.cells {
                        assert_eq!(cell.b_parties, Some(cell.a_parties));
                        seen[window.audience as usize].push(cell.a_parties);
                    }
                }
            }
            let all: Vec<i64> = seen.concat();
            for (values, least) in [(&all, 20), (&seen[1], 50)] {
                for (x, y) in values.iter().flat_map(|x| values.iter().map(move |y| (x, y))) {
                    assert!(x == y || (x - y).abs() >= least, "{first} {old} {new}: {x} {y}");
                }
            }
            if old == 30 && new >= 20 {
                assert!(seen[0].contains(&((first + new) as i64)), "enough new ones are shown: {first} {new}");
            }
        }
    }
}
