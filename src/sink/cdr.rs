//! The lake's `cdr` rows of one block: sorted by pseudonym, so that neither order nor commit time
//! gives an exact second back.

use super::SinkError;
use super::encode::{Cells, Group, TableFormat, constant, ids, symbols};
use crate::lake::tables::CANON;
use crate::record::clear::{Answered, CauseClass, Direction, Service};
use crate::record::identifier::{Country, Kind, Party};
use crate::record::plmn::Plmn;
use crate::record::time::Day;
use crate::record::veiled::{Coarse, TRUNK_OTHER, VeiledColumn, Veils};
use arrow::array::{BooleanArray, Int32Array, Int64Array, TimestampMicrosecondArray};
use rand::Rng;
use std::sync::Arc;

/// What is the same for every row of a batch.
pub struct Constants {
    pub feed: String,
    pub batch: String,
    pub trunks: Vec<String>,
}

/// Rows of one day, ordered by A-party pseudonym, then B; ties in random order.
///
/// Ties are many where nobody is named (data sessions known by IMSI alone). Each draws a number of
/// its own: of any rule with one secret, two rows that are known would tell where all others stood.
pub fn order(veils: &Veils, mut rows: Vec<u32>) -> Vec<u32> {
    let mut rng = rand::rng();
    let head = |column: &VeiledColumn, row: u32| {
        let id: [u8; 8] = column.pseudonyms[row as usize][..8].try_into().expect("8 of 16 bytes");
        u64::from_be_bytes(id)
    };
    let [a, b, ..] = &veils.parties;
    let mut keyed: Vec<(u64, u64, u32, u32)> =
        rows.iter().map(|&r| (head(a, r), head(b, r), rng.random::<u32>(), r)).collect();
    keyed.sort_unstable();
    rows.clear();
    rows.extend(keyed.into_iter().map(|k| k.3));
    rows
}

/// Encodes the rows of `day` named by `order`.
pub fn group(
    format: &TableFormat,
    constants: &Constants,
    day: Day,
    order: &[u32],
    veils: &Veils,
    coarse: &Coarse,
) -> Result<Group, SinkError> {
    let n = order.len();
    let rows = || order.iter().map(|r| *r as usize);
    let mut columns = vec![
        constant(day.epoch().to_string(), n),
        symbols(rows().map(|r| Some(coarse.service[r] as u16)), names(Service::ALL.map(Service::name))),
        symbols(rows().map(|r| Some(coarse.direction[r] as u16)), names(Direction::ALL.map(Direction::name))),
        Cells::Array(Arc::new(
            TimestampMicrosecondArray::from_iter_values(rows().map(|r| coarse.start_us[r])).with_timezone("UTC"),
        )),
        Cells::Array(Arc::new(rows().map(|r| coarse.duration[r]).collect::<Int32Array>())),
        Cells::Array(Arc::new(rows().map(|r| coarse.volume[r]).collect::<Int64Array>())),
        Cells::Array(Arc::new(rows().map(|r| coarse.charge[r]).collect::<Int64Array>())),
        currencies(&coarse.currency, order),
        Cells::Array(Arc::new(rows().map(|r| answered(coarse.answered[r])).collect::<BooleanArray>())),
        symbols(rows().map(|r| Some(coarse.cause[r] as u16)), names(CauseClass::ALL.map(CauseClass::name))),
    ];
    for party in Party::ALL {
        let column = &veils.parties[party as usize];
        columns.push(ids(&column.pseudonyms, order, |r| column.kinds[r].is_hashed()));
        columns.push(symbols(rows().map(|r| Some(column.kinds[r] as u16)), kind_names()));
    }
    for countries in [&coarse.a_country, &coarse.b_country] {
        columns.push(distinct(order, |r| countries[r], |c: &Country| c.name().map(str::to_owned)));
    }
    for networks in [&coarse.home_network, &coarse.visited_network] {
        columns.push(distinct(order, |r| networks[r], |p: &Plmn| (!p.is_none()).then(|| p.to_string())));
    }
    for trunk in [&coarse.trunk_in, &coarse.trunk_out] {
        columns.push(trunks(trunk, order, &constants.trunks));
    }
    // No table of type allocation codes is shipped, so the class of a device is not known.
    columns.push(symbols(rows().map(|_| None), vec![String::new()]));
    columns.push(constant(&constants.feed, n));
    columns.push(Cells::Array(Arc::new(Int32Array::from_value(CANON, n))));
    columns.push(constant(&constants.batch, n));
    format.encode(day.to_string(), n, columns)
}

fn names<const N: usize>(all: [&'static str; N]) -> Vec<String> {
    all.map(str::to_owned).to_vec()
}

/// Indexed by the byte of `Kind`; gaps are never used.
fn kind_names() -> Vec<String> {
    let last = Kind::ALL.iter().map(|k| *k as usize).max().unwrap_or(0);
    let mut names = vec![String::new(); last + 1];
    for kind in Kind::ALL {
        names[kind as usize] = kind.name().to_owned();
    }
    names
}

fn answered(value: Answered) -> Option<bool> {
    match value {
        Answered::Unknown => None,
        Answered::No => Some(false),
        Answered::Yes => Some(true),
    }
}

fn currencies(values: &[[u8; 3]], order: &[u32]) -> Cells {
    distinct(order, |r| values[r], |c: &[u8; 3]| (*c != [0; 3]).then(|| String::from_utf8_lossy(c).into_owned()))
}

fn trunks(values: &[u16], order: &[u32], names: &[String]) -> Cells {
    let other = names.len() as u16;
    let key = |v: u16| match v {
        0 => None,
        TRUNK_OTHER => Some(other),
        listed => Some(listed - 1),
    };
    let mut texts = names.to_vec();
    texts.push("other".to_owned());
    symbols(order.iter().map(|r| key(values[*r as usize])), texts)
}

/// A dictionary made on the way, for values of few kinds. Runs of one value cost one comparison.
fn distinct<T: Copy + PartialEq + std::hash::Hash + Eq>(
    order: &[u32],
    value: impl Fn(usize) -> T,
    name: impl Fn(&T) -> Option<String>,
) -> Cells {
    let mut keys: std::collections::HashMap<T, Option<u16>> = std::collections::HashMap::new();
    let mut texts = Vec::new();
    let mut last: Option<(T, Option<u16>)> = None;
    let of = |row: &u32| {
        let v = value(*row as usize);
        if let Some((l, key)) = last
            && l == v
        {
            return key;
        }
        let key = *keys.entry(v).or_insert_with(|| {
            name(&v).map(|text| {
                texts.push(text);
                (texts.len() - 1) as u16
            })
        });
        last = Some((v, key));
        key
    };
    let keys: Vec<Option<u16>> = order.iter().map(of).collect();
    if texts.is_empty() {
        texts.push(String::new());
    }
    symbols(keys.into_iter(), texts)
}
