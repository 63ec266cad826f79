//! What callers put before a national number, and Argentina's 15 inside one: `selection.tsv`.
//!
//! Each notation of a number must give one canonical form, or one person gets two pseudonyms.

use crate::normalise::numbering::rows;
use std::sync::LazyLock;

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| parse(include_str!("../../schemas/numbering/selection.tsv")));

struct Row {
    /// Calling code.
    code: &'static [u8],
    areas: bool,
    /// `x` stands for any digit.
    patterns: Vec<&'static [u8]>,
    /// Bit `n` is set where a number of `n` digits may follow.
    lengths: u32,
}

fn parse(table: &'static str) -> Vec<Row> {
    rows(table)
        .map(|row| {
            let [code, what, digits, lengths] = row[..] else { panic!("selection.tsv: a row has not four cells") };
            Row {
                code: code.as_bytes(),
                areas: what == "area",
                patterns: digits.split(',').map(str::as_bytes).collect(),
                lengths: lengths
                    .split(',')
                    .map(|n| 1u32 << n.parse::<u32>().expect("selection.tsv: lengths are numbers"))
                    .sum(),
            }
        })
        .collect()
}

/// What is dialled so under one calling code. Looked up once per plan: nearly all have nothing.
#[derive(Clone, Copy)]
pub(crate) struct Selection {
    carriers: Option<&'static Row>,
    areas: Option<&'static Row>,
}

impl Selection {
    pub(crate) fn under(code: &[u8]) -> Selection {
        let find = |areas: bool| TABLE.iter().find(|r| r.areas == areas && r.code == code);
        Selection { carriers: find(false), areas: find(true) }
    }

    /// The national number behind a carrier's code, if `national` begins with one.
    #[inline]
    pub(crate) fn behind<'n>(&self, national: &'n [u8]) -> Option<&'n [u8]> {
        let row = self.carriers?;
        let fits = |pattern: &&&[u8]| {
            pattern.len() < national.len() && pattern.iter().zip(national).all(|(p, n)| *p == b'x' || p == n)
        };
        let rest = |pattern: &&[u8]| &national[pattern.len()..];
        let long_enough = |rest: &&[u8]| rest.len() < 32 && row.lengths >> rest.len() & 1 == 1;
        row.patterns.iter().filter(fits).map(rest).find(long_enough)
    }

    /// Area code and subscriber of an Argentine mobile number that is written with 15 between them.
    #[inline]
    pub(crate) fn argentine_mobile<'n>(&self, national: &'n [u8]) -> Option<(&'n [u8], &'n [u8])> {
        let row = self.areas?;
        let national = if national.len() == 13 { national.strip_prefix(b"9")? } else { national };
        let split = |area: &&[u8]| {
            let subscriber = national.strip_prefix(*area)?.strip_prefix(b"15")?;
            (area.len() + subscriber.len() == 10).then_some((&national[..area.len()], subscriber))
        };
        row.patterns.iter().find_map(split)
    }
}

/// Every code and pattern that may be put before a number, with `x` as 1.
#[cfg(test)]
pub(crate) fn samples() -> impl Iterator<Item = (&'static str, String, u32)> {
    let text = |p: &&'static [u8]| String::from_utf8_lossy(p).replace('x', "1");
    let code = |r: &'static Row| std::str::from_utf8(r.code).unwrap();
    let rows = TABLE.iter().filter(|r| !r.areas);
    rows.flat_map(move |r| r.patterns.iter().map(move |p| (code(r), text(p), r.lengths)))
}
