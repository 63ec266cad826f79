//! The definition of a cube, read from TOML (`schemas/cubes`).

use crate::record::clear::Service;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a cube counts and how it may be shown. Strict: unknown keys are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cube {
    pub name: String,
    pub version: u32,
    /// Hours between the watermark's passing of a window's end and its release.
    pub release_after_hours: u32,
    pub dimensions: Vec<String>,
    /// Published totals; this version has none.
    pub margins: Vec<Vec<String>>,
    /// Sides on which subscribers are counted, by service.
    pub sides: BTreeMap<String, Vec<String>>,
    pub round_to: RoundTo,
    /// The site has switched it off: nothing is counted for it.
    #[serde(skip)]
    pub off: bool,
}

/// Rounding base of each measure; at least 1.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundTo {
    pub records: u64,
    pub answered: u64,
    pub seconds: u64,
    pub bytes: u64,
    /// Millionths of the currency.
    pub charge: u64,
    pub a_parties: u64,
    pub b_parties: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("cube definition, line {line}: {message}")]
pub struct CubeError {
    /// 1-based; 0 where the whole file is meant.
    pub line: usize,
    pub message: String,
}

const TRAFFIC_HOURLY: &str = include_str!("../../schemas/cubes/traffic_hourly.toml");
const DIMENSIONS: [&str; 7] = ["hour", "service", "direction", "a_country", "b_country", "network", "currency"];

impl Cube {
    /// The cube that comes with the program.
    pub fn traffic_hourly() -> Cube {
        Cube::parse(TRAFFIC_HOURLY).expect("the shipped definition is read by a test")
    }

    /// Off unless `on`, as `[cubes]` says.
    pub fn switched(mut self, on: bool) -> Cube {
        self.off = !on;
        self
    }

    /// The definition under a site's own settings (`[release]`): how long a window waits, and to
    /// what counts of records and subscribers are rounded. `rounding_base` is at least 1.
    pub fn for_site(mut self, release_after_hours: u32, rounding_base: u64) -> Cube {
        let base = rounding_base.max(1);
        self.release_after_hours = release_after_hours;
        (self.round_to.records, self.round_to.answered) = (base, base);
        (self.round_to.a_parties, self.round_to.b_parties) = (base, base);
        self
    }

    /// Reads a definition and refuses what this version cannot count or cannot protect.
    pub fn parse(text: &str) -> Result<Cube, CubeError> {
        let cube: Cube = toml::from_str(text).map_err(|e| CubeError {
            line: e.span().map_or(0, |s| text[..s.start].matches('\n').count() + 1),
            message: e.message().to_owned(),
        })?;
        match cube.fault() {
            None => Ok(cube),
            Some((key, message)) => Err(CubeError { line: line_of(text, key), message }),
        }
    }

    /// The first key that this version cannot honour, and why.
    fn fault(&self) -> Option<(&'static str, String)> {
        let name_ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.name.is_empty() || self.name.len() > 63 || !self.name.chars().all(name_ok) {
            return Some(("name", "a cube is named by small letters, digits and _".to_owned()));
        }
        if self.dimensions != DIMENSIONS {
            return Some(("dimensions", format!("this version counts by exactly {}", DIMENSIONS.join(", "))));
        }
        if !self.margins.is_empty() {
            return Some((
                "margins",
                "published totals need complementary suppression, which this version lacks".to_owned(),
            ));
        }
        for service in Service::ALL {
            let needed: &[&str] = if service == Service::Data { &["a"] } else { &["a", "b"] };
            if self.sides.get(service.name()).is_none_or(|s| s != needed) {
                return Some(("sides", format!("{} = {needed:?} is the only protection that fits it", service.name())));
            }
        }
        if self.sides.len() != Service::ALL.len() {
            return Some(("sides", "services are voice, sms and data".to_owned()));
        }
        let r = &self.round_to;
        if [r.records, r.answered, r.seconds, r.bytes, r.charge, r.a_parties, r.b_parties].contains(&0) {
            return Some(("round_to", "a rounding base is at least 1".to_owned()));
        }
        None
    }
}

fn line_of(text: &str, key: &str) -> usize {
    text.lines().position(|l| l.trim_start().trim_start_matches('[').starts_with(key)).map_or(0, |i| i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_definition_is_sound() {
        let cube = Cube::traffic_hourly();
        assert_eq!((cube.name.as_str(), cube.version), ("traffic_hourly", 1));
    }

    #[test]
    fn what_cannot_be_counted_or_protected_is_refused_with_its_line() {
        for (from, to, line, part) in [
            ("name = \"traffic_hourly\"", "name = \"Traffic; drop\"", 6, "small letters"),
            ("margins = []", "margins = [[\"hour\"]]", 19, "complementary"),
            ("data = [\"a\"]", "data = [\"a\", \"b\"]", 22, "protection"),
            ("sms = [\"a\", \"b\"]", "sms = [\"a\"]", 22, "protection"),
            ("\"network\", ", "", 15, "exactly"),
            ("seconds = 60", "seconds = 0", 29, "at least 1"),
            ("version = 1", "version = 1\nk = 5", 8, "unknown field"),
        ] {
            assert!(TRAFFIC_HOURLY.contains(from), "{from}");
            let error = Cube::parse(&TRAFFIC_HOURLY.replace(from, to)).map(|c| c.name).unwrap_err();
            assert!(error.message.contains(part), "{from}: {error}");
            assert_eq!(error.line, line, "{from}: {error}");
        }
    }
}
