//! The tables under `schemas/numbering`, parsed once: numbering plans, public and sensitive
//! services, mobile networks, brands.

use crate::normalise::selection::Selection;
use crate::normalise::trie::{Position, Trie, Walk};
use crate::record::identifier::{Country, Kind};
use std::sync::LazyLock;

/// One country's part of a calling code.
pub(crate) struct Plan {
    /// Calling code, ASCII digits.
    pub(crate) code: Vec<u8>,
    pub(crate) country: Country,
    /// National (trunk) prefix; empty where there is none.
    pub(crate) trunk: Vec<u8>,
    /// International prefixes dialled there.
    pub(crate) international: Vec<Vec<u8>>,
    /// Bit `n` is set where national numbers of `n` digits exist.
    lengths: u32,
    /// What is dialled before its numbers, or inside them.
    pub(crate) selection: Selection,
    /// Fewest digits of a fixed or mobile subscriber number.
    pub(crate) shortest_subscriber: usize,
}

impl Plan {
    /// True where national significant numbers of this many digits exist.
    #[inline]
    pub(crate) fn possible(&self, digits: usize) -> bool {
        digits < 32 && self.lengths >> digits & 1 == 1
    }

    pub(crate) fn shortest(&self) -> usize {
        self.lengths.trailing_zeros() as usize
    }
}

pub(crate) struct Numbering {
    trie: Trie,
    plans: Vec<Plan>,
    brands: Vec<&'static str>,
}

static SHIPPED: LazyLock<Numbering> = LazyLock::new(|| {
    Numbering::parse(
        include_str!("../../schemas/numbering/plans.tsv"),
        include_str!("../../schemas/numbering/services.tsv"),
        include_str!("../../schemas/numbering/sensitive.tsv"),
        include_str!("../../schemas/numbering/brands.tsv"),
    )
});

impl Numbering {
    pub(crate) fn shipped() -> &'static Numbering {
        &SHIPPED
    }

    /// `digits`: calling code and national number.
    #[inline]
    pub(crate) fn walk(&self, digits: &[u8]) -> Walk {
        self.trie.walk(digits)
    }

    /// Where the numbers of a plan begin.
    pub(crate) fn position(&self, plan: &Plan) -> Position {
        self.trie.position(&plan.code).expect("every plan's calling code is in the trie")
    }

    /// As `walk` over a calling code and then `national`.
    #[inline]
    pub(crate) fn walk_from(&self, code: Position, national: &[u8]) -> Walk {
        self.trie.walk_from(code, national)
    }

    #[inline]
    pub(crate) fn plan(&self, index: u16) -> &Plan {
        &self.plans[usize::from(index)]
    }

    /// The plan of a country; for one with several calling codes the first.
    pub(crate) fn plan_of(&self, country: Country) -> Option<&Plan> {
        self.plans.iter().find(|p| p.country == country)
    }

    /// `sender` in upper case.
    pub(crate) fn is_brand(&self, sender: &[u8]) -> bool {
        self.brands.binary_search_by(|b| b.as_bytes().cmp(sender)).is_ok()
    }

    fn parse(plans: &'static str, services: &'static str, sensitive: &'static str, brands: &'static str) -> Numbering {
        let mut trie = Trie::new();
        let plans = parse_plans(plans, &mut trie);
        for row in rows(services) {
            for lead in row[1].split(',') {
                trie.add_service(&[row[0].as_bytes(), lead.as_bytes()].concat());
            }
        }
        add_sensitive(sensitive, &plans, &mut trie);
        let mut brands: Vec<&str> = brands.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).collect();
        brands.sort_unstable();
        Numbering { trie, plans, brands }
    }
}

/// The lines of a table that are not comments, cut at tabs.
pub(crate) fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(|l| l.split('\t').collect())
}

fn list(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(',').filter(|s| *s != "-")
}

fn parse_plans(table: &'static str, trie: &mut Trie) -> Vec<Plan> {
    let mut plans = Vec::new();
    for row in rows(table) {
        let [code, country, trunk, international, lengths, subscriber, leads] = row[..] else {
            panic!("plans.tsv: a row has not seven cells")
        };
        let index = plans.len() as u16;
        if leads == "-" && plans.last().is_none_or(|p: &Plan| p.code != code.as_bytes()) {
            trie.add_plan(code.as_bytes(), index, code.len());
        }
        for lead in list(leads) {
            trie.add_plan(&[code.as_bytes(), lead.as_bytes()].concat(), index, code.len());
        }
        plans.push(Plan {
            code: code.as_bytes().to_vec(),
            selection: Selection::under(code.as_bytes()),
            country: Country::parse(country).expect("plans.tsv: countries are two capitals"),
            trunk: list(trunk).collect::<String>().into_bytes(),
            international: list(international).map(|p| p.as_bytes().to_vec()).collect(),
            lengths: list(lengths).map(|n| 1u32 << n.parse::<u32>().expect("plans.tsv: lengths are numbers")).sum(),
            shortest_subscriber: subscriber.parse().expect("plans.tsv: the shortest number is a number"),
        });
    }
    plans
}

/// Numbers in full first, then ranges; of one number listed twice the emergency wins.
fn add_sensitive(table: &'static str, plans: &[Plan], trie: &mut Trie) {
    for (kind, name, ranges) in [
        (Kind::Emergency, "emergency", false),
        (Kind::Helpline, "helpline", false),
        (Kind::Emergency, "emergency", true),
        (Kind::Helpline, "helpline", true),
    ] {
        for row in rows(table).filter(|r| r[1] == name) {
            for number in list(row[2]).filter(|n| n.contains('x') == ranges) {
                if row[0] != "*" {
                    trie.add_sensitive(&[row[0].as_bytes(), number.as_bytes()].concat(), kind);
                    continue;
                }
                for plan in plans {
                    trie.add_sensitive(&[&plan.code, number.as_bytes()].concat(), kind);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_shipped_tables_is_used() {
        let numbering = Numbering::shipped();
        for row in rows(include_str!("../../schemas/numbering/sensitive.tsv")) {
            assert_eq!(row.len(), 5, "a row without source or date");
            assert!(["emergency", "helpline"].contains(&row[1]));
            assert!(row[4].parse::<crate::record::time::Day>().is_ok(), "not a date: {}", row[4]);
            if row[0] != "*" {
                for number in row[2].split(',') {
                    let digits = [row[0], &number.replace('x', "7")].concat();
                    assert!(numbering.walk(digits.as_bytes()).sensitive.is_some(), "{digits}");
                }
            }
        }
        for plan in &numbering.plans {
            assert!((2..=17).contains(&plan.shortest()) && plan.shortest_subscriber >= plan.shortest());
        }
    }

    #[test]
    fn countries_of_shared_calling_codes_are_told_by_leading_digits() {
        let numbering = Numbering::shipped();
        for (digits, country) in [
            ("12125551234", "US"),
            ("14165551234", "CA"),
            ("12425551234", "BS"),
            ("18095551234", "DO"),
            ("74951234567", "RU"),
            ("77011234567", "KZ"),
            ("441624712345", "IM"),
            ("447700900123", "GB"),
            ("3906698123", "VA"),
            ("390612345678", "IT"),
            ("870773111632", "ZZ"),
            ("881612345678", "ZZ"),
            ("32470123456", "BE"),
            ("351912345678", "PT"),
            ("423660234567", "LI"),
        ] {
            let (plan, _) = numbering.walk(digits.as_bytes()).plan.unwrap();
            assert_eq!(numbering.plan(plan).country.0, country.as_bytes(), "{digits}");
        }
        assert!(numbering.walk(b"2105551234").plan.is_none());
    }
}
