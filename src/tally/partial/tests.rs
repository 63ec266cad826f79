use super::*;
use crate::record::clear::Direction;
use crate::record::plmn::Plmn;
use crate::record::veiled::Naming;
use crate::tally::cell::{Side, Sums};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// One row in small numbers; `row` spreads them over few cells and parties.
#[derive(Clone, Copy, Debug)]
struct Row {
    start_ms: i64,
    service: u8,
    direction: u8,
    countries: (u8, u8),
    network: u8,
    home: u8,
    currency: u8,
    duration: Option<u32>,
    bytes: Option<u64>,
    charge: Option<i64>,
    answered: u8,
    tokens: (u64, u64),
    sensitive: bool,
}

fn country(n: u8) -> Country {
    [Country::NONE, Country(*b"BE"), Country(*b"NL"), Country::OTHER][usize::from(n) % 4]
}

fn plmn(n: u8) -> Plmn {
    [Plmn::NONE, Plmn::new(206, 1, 2).unwrap(), Plmn::new(310, 410, 3).unwrap()][usize::from(n) % 3]
}

fn block(rows: &[Row]) -> (Clear, Veils) {
    let (mut clear, mut veils) = (Clear::default(), Veils::default());
    for r in rows {
        clear.start_ms.push(r.start_ms);
        clear.service.push(Service::ALL[usize::from(r.service) % 3]);
        clear.direction.push(Direction::ALL[usize::from(r.direction) % 4]);
        clear.a_country.push(country(r.countries.0));
        clear.b_country.push(country(r.countries.1));
        clear.network.push(plmn(r.network));
        clear.home_network.push(plmn(r.home));
        clear.currency.push([*b"EUR", *b"USD"][usize::from(r.currency) % 2]);
        clear.duration_s.push(r.duration.unwrap_or(ABSENT_U32));
        clear.bytes_up.push(r.bytes.unwrap_or(ABSENT_U64));
        clear.bytes_down.push(r.bytes.map_or(ABSENT_U64, |b| b / 2));
        clear.charge_micro.push(r.charge.unwrap_or(ABSENT_I64));
        clear.answered.push([Answered::Unknown, Answered::No, Answered::Yes][usize::from(r.answered) % 3]);
        clear.sensitive.push(r.sensitive);
        veils.a_token.push(r.tokens.0);
        veils.b_token.push(r.tokens.1);
    }
    (clear, veils)
}

/// What the plain twin knows of a cell.
#[derive(Default)]
struct Plain {
    sums: Sums,
    parties: [HashSet<u64>; 2],
    shares: [[BTreeMap<u64, u64>; 3]; 2],
}

fn plain(rows: &[Row]) -> BTreeMap<Key, Plain> {
    let mut cells: BTreeMap<Key, Plain> = BTreeMap::new();
    for r in rows.iter().filter(|r| !r.sensitive) {
        let service = Service::ALL[usize::from(r.service) % 3];
        let data = service == Service::Data;
        let key = Key {
            hour: r.start_ms.div_euclid(3_600_000) as i32,
            service,
            direction: Direction::ALL[usize::from(r.direction) % 4],
            a_country: country(r.countries.0),
            b_country: if data { Country::NONE } else { country(r.countries.1) },
            network: if plmn(r.network).is_none() { plmn(r.home) } else { plmn(r.network) },
            currency: if r.charge.is_some() { [*b"EUR", *b"USD"][usize::from(r.currency) % 2] } else { [0; 3] },
        };
        let cell = cells.entry(key).or_default();
        let bytes = r.bytes.map_or(0, |b| b + b / 2);
        cell.sums.records += 1;
        cell.sums.answered += u64::from(r.answered % 3 == 2);
        cell.sums.seconds += u64::from(r.duration.unwrap_or(0));
        cell.sums.bytes += bytes;
        cell.sums.charge_micro += i128::from(r.charge.unwrap_or(0));
        let weights = [u64::from(r.duration.unwrap_or(0)), bytes, r.charge.unwrap_or(0).unsigned_abs()];
        for (side, token) in [r.tokens.0, r.tokens.1].into_iter().enumerate().take(if data { 1 } else { 2 }) {
            if token != 0 {
                cell.parties[side].insert(token);
            }
            for (share, w) in cell.shares[side].iter_mut().zip(weights) {
                *share.entry(token).or_default() += w;
            }
        }
    }
    cells
}

/// Nobody, or one of few parties, each always named the same way.
fn token<const N: usize>(namings: [Naming; N], n: u64) -> u64 {
    if n == 0 { 0 } else { namings[n as usize % N].token(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let shape = (-3i64..4, 0u8..3, 0u8..2, (0u8..4, 0u8..3), 0u8..3, 0u8..3, 0u8..2);
    let amounts = (
        proptest::option::of(0u32..4000),
        proptest::option::of(0u64..1 << 40),
        proptest::option::of(-50_000i64..5_000_000),
        0u8..3,
    );
    let row =
        (shape, amounts, (0u64..60, 0u64..60), proptest::bool::weighted(0.1)).prop_map(|(s, a, t, sensitive)| Row {
            start_ms: s.0 * 1_800_000 + 7,
            service: s.1,
            direction: s.2,
            countries: s.3,
            network: s.4,
            home: s.5,
            currency: s.6,
            duration: a.0,
            bytes: a.1,
            charge: a.2,
            answered: a.3,
            tokens: (
                token([Naming::Number, Naming::Imsi, Naming::Uri], t.0),
                token([Naming::Number, Naming::Uri], t.1),
            ),
            sensitive,
        });
    proptest::collection::vec(row, 0..400)
}

fn counted(blocks: &[&[Row]]) -> Partial {
    let mut partial = Partial::new(&Cube::traffic_hourly());
    for rows in blocks {
        let (clear, veils) = block(rows);
        partial.add(&clear, &veils);
    }
    partial
}

/// Through the batches of the lake and back.
fn stored(partial: Partial) -> Vec<(Key, Cell)> {
    let mut cells = Vec::new();
    for (day, batch) in partial.into_batches() {
        let read = contract::cells(&batch, "traffic_hourly").unwrap();
        assert!(read.iter().all(|c| c.0.day() == day));
        assert!(contract::cells(&batch, "another").unwrap().is_empty());
        cells.extend(read);
    }
    assert!(cells.windows(2).all(|w| w[0].0 < w[1].0), "sorted, one row per cell");
    cells
}

fn agrees(side: &Side, plain: &Plain, n: usize) -> Result<(), TestCaseError> {
    let named = |naming| plain.parties[n].iter().filter(|t| Naming::of_token(**t) == naming).count() as u64;
    for naming in Naming::ALL {
        prop_assert_eq!(side.parties[naming as usize].count(), named(naming));
    }
    prop_assert_eq!(side.distinct(), Naming::ALL.map(named).into_iter().max().unwrap());
    for (top, share) in side.contributors.iter().zip(&plain.shares[n]) {
        for (token, weight) in share {
            prop_assert!(top.upper_bound(*token) >= *weight);
        }
        if share.values().filter(|w| **w > 0).count() <= crate::tally::contributors::KEPT {
            prop_assert_eq!(top.two_largest().0, share.values().copied().max().unwrap_or(0));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn agrees_with_the_plain_twin_through_the_lake(rows in rows(), cut in 0usize..400) {
        let cut = cut.min(rows.len());
        let cells = stored(counted(&[&rows[..cut], &rows[cut..]]));
        let twin = plain(&rows);
        prop_assert_eq!(cells.len(), twin.len());
        for ((key, cell), (twin_key, twin)) in cells.iter().zip(&twin) {
            prop_assert_eq!(key, twin_key);
            prop_assert_eq!(cell.sums, twin.sums);
            agrees(&cell.sides[0], twin, 0)?;
            agrees(&cell.sides[1], twin, 1)?;
        }
    }

    #[test]
    fn merging_in_any_shape_counts_the_same(rows in rows(), a in 0usize..400, b in 0usize..400) {
        let (a, b) = (a.min(b).min(rows.len()), a.max(b).min(rows.len()));
        let part = |r: &[Row]| counted(&[r]);
        let mut left = part(&rows[..a]);
        left.merge(part(&rows[a..b]));
        left.merge(part(&rows[b..]));
        let mut tail = part(&rows[a..b]);
        tail.merge(part(&rows[b..]));
        let mut right = part(&rows[..a]);
        right.merge(tail);
        let (left, right) = (stored(left), stored(right));
        let twin = plain(&rows);
        prop_assert_eq!(left.len(), twin.len());
        for ((l, r), (key, twin)) in left.iter().zip(&right).zip(&twin) {
            prop_assert_eq!((&l.0, &r.0), (key, key));
            prop_assert_eq!((l.1.sums, r.1.sums), (twin.sums, twin.sums));
            for side in 0..2 {
                agrees(&l.1.sides[side], twin, side)?;
                agrees(&r.1.sides[side], twin, side)?;
            }
        }
    }
}

fn call(a: u64, b: u64) -> Row {
    Row {
        start_ms: 1_795_000_000_000,
        service: 0,
        direction: 1,
        countries: (1, 2),
        network: 1,
        home: 1,
        currency: 0,
        duration: Some(60),
        bytes: None,
        charge: Some(5),
        answered: 2,
        tokens: (a, b),
        sensitive: false,
    }
}

#[test]
fn sensitive_calls_leave_no_trace() {
    let rows: Vec<Row> = (1..50).map(|i| Row { sensitive: true, ..call(i, 0) }).collect();
    assert!(counted(&[&rows]).is_empty());
    assert!(stored(counted(&[&rows])).is_empty());
}

#[test]
fn a_cube_that_is_off_counts_nothing() {
    let (clear, veils) = block(&(1..50).map(|i| call(i, i)).collect::<Vec<_>>());
    for (on, cells) in [(true, 1), (false, 0)] {
        let mut partial = Partial::new(&Cube::traffic_hourly().switched(on));
        partial.add(&clear, &veils);
        assert_eq!((partial.cells(), partial.into_batches().len()), (cells, cells));
    }
}

#[test]
fn those_without_a_token_add_to_sums_only_and_weigh_as_one() {
    let rows: Vec<Row> = (0..30).map(|i| call(0, if i < 3 { 7 } else { 0 })).collect();
    let cells = stored(counted(&[&rows]));
    let cell = &cells[0].1;
    assert_eq!((cell.sums.records, cell.sums.seconds), (30, 1800));
    assert_eq!((cell.sides[0].distinct(), cell.sides[1].distinct()), (0, 1));
    assert_eq!(cell.sides[0].contributors[Sum::Seconds as usize].two_largest(), (1800, 0));
}

#[test]
fn hostile_amounts_saturate_and_do_not_wrap() {
    let huge = Row { bytes: Some(u64::MAX - 1), charge: Some(i64::MAX), service: 2, ..call(1, 2) };
    let cells = stored(counted(&[&[huge, huge, huge]]));
    assert_eq!((cells[0].1.sums.bytes, cells[0].1.sums.charge_micro), (i64::MAX as u64, i64::MAX.into()));
    assert_eq!(cells[0].0.b_country, Country::NONE, "data has no B side");
    assert!(cells[0].1.sides[1].contributors[Sum::Bytes as usize].two_largest().0 == 0);
}

/// `cargo test --release -- --ignored --nocapture tally::partial::tests::cost`: ns per row.
#[test]
#[ignore = "a measurement, not a check; benches/ has the kept one"]
fn cost_of_a_block() {
    let mut x = 1u64;
    let mut next = move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        x >> 20
    };
    for (hours, label) in [(1, "one hour"), (24, "a day, mixed")] {
        let rows: Vec<Row> = (0..131_072)
            .map(|_| {
                let (a, b) = (next() % 50_000 + 1, next() % 50_000 + 1);
                Row {
                    start_ms: 1_795_000_000_000 + (next() % hours) as i64 * 3_600_000,
                    service: (next() % 8).saturating_sub(5) as u8,
                    direction: (next() % 2) as u8,
                    countries: (1, if next() % 10 == 0 { (next() % 4) as u8 } else { 1 }),
                    charge: Some(next() as i64 & 0xffff),
                    ..call(a.wrapping_mul(0x9e37_79b9_7f4a_7c15), b.wrapping_mul(0xd6e8_feb8_6659_fd93))
                }
            })
            .collect();
        let (clear, veils) = block(&rows);
        let mut partial = Partial::new(&Cube::traffic_hourly());
        let start = std::time::Instant::now();
        for _ in 0..10 {
            partial.add(&clear, &veils);
        }
        let ns = start.elapsed().as_nanos() / 10 / 131_072;
        let cells = partial.cells();
        let start = std::time::Instant::now();
        let batches = partial.into_batches();
        assert!(!batches.is_empty());
        eprintln!("{label}: {ns} ns per row, {cells} cells, {} us to write", start.elapsed().as_micros());
    }
}
