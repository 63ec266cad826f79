//! The TOML of a mapping file, checked. Its manual is `schemas/cdr/README.md`.

use super::check::Check;
use super::{MappingError, Rules};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileText {
    pub(super) name: Spanned<String>,
    pub(super) version: Spanned<u32>,
    pub(super) kind: KindText,
    pub(super) delimiter: Option<Spanned<String>>,
    pub(super) quote: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) space_before_quote: bool,
    #[serde(default)]
    pub(super) multiline: bool,
    pub(super) header: Option<Spanned<HeaderText>>,
    pub(super) columns: Option<Spanned<Vec<u16>>>,
    #[serde(default)]
    pub(super) skip_rows: u64,
    pub(super) comment: Option<Spanned<String>>,
    pub(super) length: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) constants: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, Spanned<FieldText>>,
    #[serde(default)]
    pub(super) layout: Vec<Spanned<LayoutText>>,
    pub(super) records: Option<Spanned<RecordsText>>,
    pub(super) join: Option<Spanned<JoinText>>,
    #[serde(default)]
    pub(super) other_files: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindText {
    Delimited,
    Fixed,
    Json,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum HeaderText {
    None,
    Named,
    Strict,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldText {
    pub(super) from: Option<PlacesText>,
    pub(super) time: Option<String>,
    pub(super) zone: Option<ZoneText>,
    pub(super) duration: Option<DurationText>,
    pub(super) ipv4: Option<Ipv4Text>,
    pub(super) words: Option<BTreeMap<String, String>>,
    pub(super) scale: Option<u64>,
    #[serde(default)]
    pub(super) null: Vec<String>,
    #[serde(default)]
    pub(super) optional: bool,
    pub(super) of: Option<HalfText>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ZoneText {
    Feed,
    Utc,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DurationText {
    Seconds,
    Millis,
    Micros,
    #[serde(rename = "ticks_10ms")]
    Ticks10ms,
    Hms,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ipv4Text {
    SignedLe,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum HalfText {
    Opens,
    Closes,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a column number, a column name, { at, len }, or a list of these")]
pub(super) enum PlacesText {
    // First, because serde would also read a list of two numbers as { at, len }.
    Many(Vec<PlaceText>),
    One(PlaceText),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a column number, a column name, or { at, len }")]
pub(super) enum PlaceText {
    Column(u16),
    Name(String),
    Bytes(RangeText),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RangeText {
    pub(super) at: u16,
    pub(super) len: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayoutText {
    #[serde(rename = "name")]
    pub(super) _name: String,
    pub(super) columns: Vec<u16>,
    pub(super) probe: Option<String>,
    pub(super) fields: BTreeMap<String, PlacesText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordsText {
    pub(super) from: PlaceText,
    #[serde(default)]
    pub(super) calls: Vec<String>,
    #[serde(default)]
    pub(super) opens: Vec<String>,
    #[serde(default)]
    pub(super) closes: Vec<String>,
    #[serde(default)]
    pub(super) fills: Vec<String>,
    pub(super) alone: Option<AloneText>,
    #[serde(default)]
    pub(super) drop: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AloneText {
    pub(super) from: PlaceText,
    pub(super) at_least: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinText {
    pub(super) same: PlacesText,
    pub(super) any_order: Option<PlacesText>,
}

/// Reads and checks a mapping file.
pub(super) fn rules(name: &str, toml: &str) -> Result<Rules, MappingError> {
    let file: FileText = toml::from_str(toml).map_err(|e| MappingError {
        line: e.span().map_or(0, |s| line_of(toml, s.start)),
        message: e.message().to_owned(),
    })?;
    Check { toml, kind: file.kind, header: file.header.as_ref().map_or(HeaderText::None, |h| *h.get_ref()) }
        .file(name, file)
}

pub(super) fn line_of(toml: &str, offset: usize) -> usize {
    toml.as_bytes()[..offset.min(toml.len())].iter().filter(|b| **b == b'\n').count() + 1
}

pub(super) fn digest(toml: &str) -> String {
    Sha256::digest(toml.as_bytes()).iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mapping::Place;
    use crate::record::raw::Framing;

    const GOOD: &str = r#"name = "x"
version = 3
kind = "delimited"
delimiter = ";"
columns = [3]
[fields.start]
from = 1
time = "unix_seconds"
[fields.a_number]
from = [2, 3]
"#;

    #[test]
    fn a_good_mapping_reads() {
        let rules = rules("x", GOOD).unwrap();
        assert_eq!((rules.version, rules.framing), (3, Framing::Lines));
        assert_eq!(rules.layouts[0].from, [vec![Place::Column(1)], vec![Place::Column(2), Place::Column(3)]]);
    }

    #[test]
    fn mistakes_are_refused_with_line_and_fix() {
        let cases: [(&str, &str, usize, &str); 17] = [
            ("kind =", "flavour = 1\nkind =", 3, "unknown field `flavour`"),
            ("time =", "tiem = 1\ntime =", 8, "unknown field `tiem`"),
            ("[fields.a_number]", "[fields.anumber]", 9, "no canonical field is called `anumber`; there are: start,"),
            ("\"x\"", "\"y\"", 1, "its file `x`"),
            ("version = 3", "version = 0", 2, "counts from 1"),
            ("\";\"", "\";;\"", 4, "one ASCII character"),
            ("columns = [3]", "columns = [2]\nquote = \";\"", 4, "the same character"),
            ("from = 1", "from = 4", 5, "column 4 is beyond the 3 columns"),
            ("from = 1", "from = 0", 6, "columns count from 1"),
            ("from = 1", "from = \"start\"", 6, "without a header, columns are numbers"),
            ("from = 1\n", "", 6, "needs `from`"),
            ("unix_seconds", "%Y-%m-%d", 6, "needs `zone`"),
            ("\"unix_seconds\"", "\"%Y %Q\"\nzone = \"utc\"", 6, "`%Q` is not a time code"),
            ("unix_seconds", "epoch", 6, "`time` is rfc3339"),
            ("from = [2, 3]", "from = 2\ntime = \"rfc3339\"", 9, "for start, answer and end"),
            ("[fields.start]", "[fields.end]", 1, "needs [fields.start]"),
            ("columns = [3]", "length = 9", 5, "for kind = \"fixed\" only"),
        ];
        for (from, to, line, message) in cases {
            let error = rules("x", &GOOD.replacen(from, to, 1)).expect_err(to);
            assert_eq!(error.line, line, "{to}: {error}");
            assert!(error.message.contains(message), "{to}: {error}");
        }
    }

    #[test]
    fn record_kinds_and_joins_must_fit() {
        let records = |text: &str| rules("x", &format!("{GOOD}{text}"));
        assert!(records("[records]\nfrom = 1\ncalls = [\"1\"]\n[records.drop]\nquality = [\"2\"]\n").is_ok());
        for (text, message) in [
            ("[records]\nfrom = 1\nopens = [\"I\"]\n", "need a [join]"),
            ("[join]\nsame = 1\n", "needs [records] with `opens` and `closes`"),
            ("[records]\nfrom = 1\ncalls = [\"1\", \"1\"]\n", "names one text twice"),
            ("[other_files]\nx = \"y\"\n", "set `header`"),
            ("[constants]\na_number = \"1\"\n", "both a constant and a field"),
        ] {
            let error = records(text).expect_err(text);
            assert!(error.message.contains(message), "{text}: {error}");
        }
    }
}
