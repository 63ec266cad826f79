//! The TOML of a mapping file, checked. Its manual is `schemas/cdr/README.md`.

use super::{Dispatch, Fate, FieldRule, Header, JoinKey, Layout, MappingError, Place, Rules, Shape};
use crate::decode::delimited::Dialect;
use crate::decode::fixed::Range;
use crate::record::field::{Codec, DurationUnit, Field, FieldSpec, TimeFormat, TimeZoneChoice};
use crate::record::raw::Framing;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    name: Spanned<String>,
    version: Spanned<u32>,
    kind: KindText,
    delimiter: Option<Spanned<String>>,
    quote: Option<Spanned<String>>,
    #[serde(default)]
    space_before_quote: bool,
    #[serde(default)]
    multiline: bool,
    header: Option<Spanned<HeaderText>>,
    columns: Option<Spanned<Vec<u16>>>,
    #[serde(default)]
    skip_rows: u64,
    comment: Option<Spanned<String>>,
    length: Option<Spanned<u32>>,
    #[serde(default)]
    constants: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    fields: BTreeMap<String, Spanned<FieldText>>,
    #[serde(default)]
    layout: Vec<Spanned<LayoutText>>,
    records: Option<Spanned<RecordsText>>,
    join: Option<Spanned<JoinText>>,
    #[serde(default)]
    other_files: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum KindText {
    Delimited,
    Fixed,
    Json,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum HeaderText {
    None,
    Named,
    Strict,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldText {
    from: Option<PlacesText>,
    time: Option<String>,
    zone: Option<ZoneText>,
    duration: Option<DurationText>,
    ipv4: Option<Ipv4Text>,
    words: Option<BTreeMap<String, String>>,
    scale: Option<u64>,
    #[serde(default)]
    null: Vec<String>,
    #[serde(default)]
    optional: bool,
    of: Option<HalfText>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ZoneText {
    Feed,
    Utc,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DurationText {
    Seconds,
    Millis,
    Micros,
    #[serde(rename = "ticks_10ms")]
    Ticks10ms,
    Hms,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ipv4Text {
    SignedLe,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum HalfText {
    Opens,
    Closes,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a column number, a column name, { at, len }, or a list of these")]
enum PlacesText {
    // First, because serde would also read a list of two numbers as { at, len }.
    Many(Vec<PlaceText>),
    One(PlaceText),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a column number, a column name, or { at, len }")]
enum PlaceText {
    Column(u16),
    Name(String),
    Bytes(RangeText),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeText {
    at: u16,
    len: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutText {
    #[serde(rename = "name")]
    _name: String,
    columns: Vec<u16>,
    probe: Option<String>,
    fields: BTreeMap<String, PlacesText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordsText {
    from: PlaceText,
    #[serde(default)]
    calls: Vec<String>,
    #[serde(default)]
    opens: Vec<String>,
    #[serde(default)]
    closes: Vec<String>,
    #[serde(default)]
    fills: Vec<String>,
    alone: Option<AloneText>,
    #[serde(default)]
    drop: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AloneText {
    from: PlaceText,
    at_least: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinText {
    same: PlacesText,
    any_order: Option<PlacesText>,
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

fn line_of(toml: &str, offset: usize) -> usize {
    toml.as_bytes()[..offset.min(toml.len())].iter().filter(|b| **b == b'\n').count() + 1
}

fn digest(toml: &str) -> String {
    Sha256::digest(toml.as_bytes()).iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Offset of a part of the file, or of nothing in particular.
type At = std::ops::Range<usize>;

struct Check<'t> {
    toml: &'t str,
    kind: KindText,
    header: HeaderText,
}

impl Check<'_> {
    fn wrong<T>(&self, at: At, message: impl Into<String>) -> Result<T, MappingError> {
        Err(MappingError { line: line_of(self.toml, at.start), message: message.into() })
    }

    fn file(&self, name: &str, file: FileText) -> Result<Rules, MappingError> {
        if file.name.get_ref() != name {
            return self.wrong(
                file.name.span(),
                format!("the mapping is called `{}` but its file `{name}`: make them the same", file.name.get_ref()),
            );
        }
        if *file.version.get_ref() == 0 {
            return self.wrong(file.version.span(), "version counts from 1");
        }
        let shape = self.shape(&file)?;
        let (specs, fields) = self.fields(&file)?;
        let layouts = self.layouts(&file, &specs, &fields)?;
        let dispatch = file.records.as_ref().map(|r| self.dispatch(r.span(), r.get_ref())).transpose()?;
        let join = file.join.as_ref().map(|j| self.join(j.span(), j.get_ref())).transpose()?;
        self.join_fits(&file, dispatch.as_ref(), join.is_some())?;
        if !file.other_files.is_empty() && self.header == HeaderText::None {
            return self.wrong(0..0, "`other_files` looks at header names: set `header`");
        }
        Ok(Rules {
            name: name.to_owned(),
            version: *file.version.get_ref(),
            digest: digest(self.toml),
            framing: match &shape {
                Shape::Delimited { dialect: Dialect { quote: Some(quote), .. }, .. } if file.multiline => {
                    Framing::QuotedLines { quote: *quote }
                }
                _ => Framing::Lines,
            },
            specs: specs.into(),
            fields,
            shape,
            layouts,
            comment: file.comment.as_ref().map(|c| self.byte(c, "comment")).transpose()?,
            skip_rows: file.skip_rows,
            dispatch,
            join,
            other_files: file.other_files.into_iter().map(|(rule, column)| (rule.into(), column)).collect(),
        })
    }

    /// A setting that must be one ASCII character.
    fn byte(&self, text: &Spanned<String>, key: &str) -> Result<u8, MappingError> {
        match text.get_ref().as_bytes() {
            [b] if b.is_ascii() && !matches!(b, b'\n' | b'\r' | 0) => Ok(*b),
            _ => self.wrong(text.span(), format!("`{key}` must be one ASCII character")),
        }
    }

    fn shape(&self, file: &FileText) -> Result<Shape, MappingError> {
        let delimited_only = [
            (file.delimiter.as_ref().map(Spanned::span), "delimiter"),
            (file.quote.as_ref().map(Spanned::span), "quote"),
            (file.header.as_ref().map(Spanned::span), "header"),
            (file.columns.as_ref().map(Spanned::span), "columns"),
            (file.layout.first().map(Spanned::span), "layout"),
        ];
        if self.kind != KindText::Delimited
            && let Some((Some(at), key)) = delimited_only.into_iter().find(|(at, _)| at.is_some())
        {
            return self.wrong(at, format!("`{key}` is for kind = \"delimited\" only"));
        }
        if let (Some(length), false) = (&file.length, self.kind == KindText::Fixed) {
            return self.wrong(length.span(), "`length` is for kind = \"fixed\" only");
        }
        match self.kind {
            KindText::Fixed => Ok(Shape::Fixed { length: file.length.as_ref().map(|l| *l.get_ref()) }),
            KindText::Json => Ok(Shape::Json),
            KindText::Delimited => self.delimited(file),
        }
    }

    fn delimited(&self, file: &FileText) -> Result<Shape, MappingError> {
        let Some(delimiter) = &file.delimiter else {
            return self.wrong(file.name.span(), "kind = \"delimited\" needs a `delimiter`");
        };
        let quote = match &file.quote {
            Some(quote) if !quote.get_ref().is_empty() => Some(self.byte(quote, "quote")?),
            _ => None,
        };
        let dialect = Dialect {
            delimiter: self.byte(delimiter, "delimiter")?,
            quote,
            space_before_quote: file.space_before_quote,
        };
        if quote == Some(dialect.delimiter) {
            return self.wrong(delimiter.span(), "`delimiter` and `quote` are the same character");
        }
        if quote.is_none() && (file.multiline || file.space_before_quote) {
            return self.wrong(delimiter.span(), "`multiline` and `space_before_quote` need a `quote`");
        }
        let header = match self.header {
            HeaderText::None => Header::None,
            HeaderText::Named => Header::Named,
            HeaderText::Strict => Header::Strict,
        };
        if let (Some(columns), true) = (&file.columns, header != Header::None) {
            return self
                .wrong(columns.span(), "`columns` is for files without a header; with one, the header is the count");
        }
        if let (Some(columns), Some(_)) = (&file.columns, file.layout.first()) {
            return self.wrong(columns.span(), "each [[layout]] has its own `columns`");
        }
        Ok(Shape::Delimited { dialect, header })
    }

    fn field(&self, at: At, name: &str) -> Result<Field, MappingError> {
        let Some(field) = Field::from_name(name) else {
            let known: Vec<_> = Field::ALL.iter().map(|f| f.name()).collect();
            return self.wrong(at, format!("no canonical field is called `{name}`; there are: {}", known.join(", ")));
        };
        Ok(field)
    }

    fn fields(&self, file: &FileText) -> Result<(Vec<FieldSpec>, Vec<FieldRule>), MappingError> {
        let mut found: BTreeMap<Field, (FieldSpec, FieldRule)> = BTreeMap::new();
        for (name, text) in &file.fields {
            let (at, text) = (text.span(), text.get_ref());
            let field = self.field(at.clone(), name)?;
            let of_closing = text.of == Some(HalfText::Closes);
            if text.of.is_some() && file.join.is_none() {
                return self.wrong(at, "`of` is for formats with a [join]");
            }
            let spec = FieldSpec { field, codec: self.codec(at, field, text)?, null: text.null.clone() };
            found.insert(field, (spec, FieldRule { optional: text.optional, of_closing, constant: None }));
        }
        for (name, text) in &file.constants {
            let field = self.field(text.span(), name)?;
            let rule = FieldRule { constant: Some(text.get_ref().clone()), ..FieldRule::default() };
            let spec = FieldSpec { field, codec: Codec::Plain, null: Vec::new() };
            if found.insert(field, (spec, rule)).is_some() {
                return self.wrong(text.span(), format!("`{name}` is both a constant and a field"));
            }
        }
        if !found.contains_key(&Field::Start) {
            return self.wrong(file.name.span(), "a mapping needs [fields.start]: without it no record can be dated");
        }
        Ok(found.into_values().unzip())
    }

    fn codec(&self, at: At, field: Field, text: &FieldText) -> Result<Codec, MappingError> {
        let given = [
            text.time.is_some(),
            text.duration.is_some(),
            text.ipv4.is_some(),
            text.words.is_some(),
            text.scale.is_some(),
        ];
        if given.into_iter().filter(|g| *g).count() > 1 {
            return self.wrong(at, "a field has one of `time`, `duration`, `ipv4`, `words`, `scale`");
        }
        let is_time = matches!(field, Field::Start | Field::Answer | Field::End);
        if is_time != text.time.is_some() {
            return self
                .wrong(at, if is_time { "this field needs `time`" } else { "`time` is for start, answer and end" });
        }
        if text.duration.is_some() != (field == Field::Duration) {
            return self.wrong(at, "`duration` (its unit) belongs to the field duration, and is needed there");
        }
        if text.ipv4.is_some() && field != Field::Address {
            return self.wrong(at, "`ipv4` is for the field address");
        }
        if text.zone.is_some() && !text.time.as_ref().is_some_and(|t| t.contains('%')) {
            return self.wrong(at, "`zone` is for `time` patterns; the other formats say it themselves");
        }
        if let Some(time) = &text.time {
            return self.time(at, time, text.zone);
        }
        Ok(match (text.duration, text.ipv4, &text.words, text.scale) {
            (Some(unit), ..) => Codec::Duration(match unit {
                DurationText::Seconds => DurationUnit::Seconds,
                DurationText::Millis => DurationUnit::Millis,
                DurationText::Micros => DurationUnit::Micros,
                DurationText::Ticks10ms => DurationUnit::Ticks10ms,
                DurationText::Hms => DurationUnit::Hms,
            }),
            (_, Some(Ipv4Text::SignedLe), ..) => Codec::Ipv4SignedLe,
            (_, _, Some(words), _) => Codec::Words(Arc::new(words.clone())),
            (.., Some(0)) => return self.wrong(at, "`scale` is at least 1"),
            (.., Some(scale)) => Codec::Scaled(scale),
            _ => Codec::Plain,
        })
    }

    fn time(&self, at: At, time: &str, zone: Option<ZoneText>) -> Result<Codec, MappingError> {
        let format = match time {
            "rfc3339" => TimeFormat::Rfc3339,
            "unix_seconds" => TimeFormat::UnixSeconds,
            "unix_millis" => TimeFormat::UnixMillis,
            "unix_micros" => TimeFormat::UnixMicros,
            pattern if pattern.contains('%') => {
                let mut codes = pattern.split('%').skip(1);
                if let Some(code) = codes.find(|c| !c.starts_with(['Y', 'm', 'd', 'H', 'M', 'S', 'f', 'y'])) {
                    let code = code.chars().next().map(String::from).unwrap_or_default();
                    return self.wrong(at, format!("`%{code}` is not a time code; there are %Y %y %m %d %H %M %S %f"));
                }
                let zone = match zone {
                    Some(ZoneText::Utc) => TimeZoneChoice::Utc,
                    Some(ZoneText::Feed) => TimeZoneChoice::Feed,
                    None => return self.wrong(at, "a time pattern needs `zone`: \"feed\" or \"utc\""),
                };
                TimeFormat::Pattern { pattern: pattern.to_owned(), zone }
            }
            _ => return self.wrong(
                at,
                "`time` is rfc3339, unix_seconds, unix_millis, unix_micros, or a pattern such as \"%Y-%m-%d %H:%M:%S\"",
            ),
        };
        Ok(Codec::Time(format))
    }

    fn layouts(&self, file: &FileText, specs: &[FieldSpec], rules: &[FieldRule]) -> Result<Vec<Layout>, MappingError> {
        if file.layout.is_empty() {
            let mut from = Vec::new();
            for (spec, rule) in specs.iter().zip(rules) {
                let text = file.fields.get(spec.field.name());
                let at = text.map_or(0..0, Spanned::span);
                match text.and_then(|t| t.get_ref().from.as_ref()) {
                    Some(places) => from.push(self.places(at, places)?),
                    None if rule.constant.is_some() => from.push(Vec::new()),
                    None if self.header != HeaderText::None || self.kind == KindText::Json => {
                        from.push(vec![Place::Name(spec.field.name().to_owned())])
                    }
                    None => return self.wrong(at, "this field needs `from`"),
                }
            }
            let columns = file.columns.as_ref().map_or(Vec::new(), |c| c.get_ref().clone());
            let layout = Layout { columns, probe: None, from };
            self.reachable(file.columns.as_ref().map_or(0..0, Spanned::span), &layout, rules)?;
            return Ok(vec![layout]);
        }
        if let Some(text) = file.fields.values().find(|t| t.get_ref().from.is_some()) {
            return self.wrong(text.span(), "with [[layout]], `from` stands in each layout's `fields`");
        }
        file.layout.iter().map(|text| self.layout(text.span(), text.get_ref(), specs, rules)).collect()
    }

    fn layout(
        &self,
        at: At,
        text: &LayoutText,
        specs: &[FieldSpec],
        rules: &[FieldRule],
    ) -> Result<Layout, MappingError> {
        if self.header != HeaderText::None {
            return self.wrong(at, "[[layout]] is for files without a header");
        }
        let mut from = vec![Vec::new(); specs.len()];
        for (name, places) in &text.fields {
            let Some(i) = specs.iter().position(|s| s.field.name() == name) else {
                return self.wrong(at, format!("the layout places `{name}`, which [fields] does not have"));
            };
            from[i] = self.places(at.clone(), places)?;
        }
        if let Some(i) =
            (0..specs.len()).find(|i| from[*i].is_empty() && !rules[*i].optional && rules[*i].constant.is_none())
        {
            return self.wrong(at, format!("the layout does not place `{}`", specs[i].field.name()));
        }
        let probe = match &text.probe {
            None => None,
            Some(name) => {
                match specs.iter().position(|s| s.field.name() == name && matches!(s.codec, Codec::Time(_))) {
                    None => return self.wrong(at, "`probe` names a time field of [fields]"),
                    found => found,
                }
            }
        };
        let layout = Layout { columns: text.columns.clone(), probe, from };
        self.reachable(at, &layout, rules)?;
        Ok(layout)
    }

    /// Every numbered column must be one that records of the layout have.
    fn reachable(&self, at: At, layout: &Layout, rules: &[FieldRule]) -> Result<(), MappingError> {
        let (Some(least), Some(most)) = (layout.columns.iter().min(), layout.columns.iter().max()) else {
            return Ok(());
        };
        for (places, rule) in layout.from.iter().zip(rules) {
            let reach = if rule.optional { most } else { least };
            let first = places.iter().find_map(|p| if let Place::Column(n) = p { Some(n) } else { None });
            if let Some(n) = first.filter(|n| *n > reach) {
                return self.wrong(at, format!("column {n} is beyond the {reach} columns that a record has"));
            }
        }
        Ok(())
    }

    fn places(&self, at: At, text: &PlacesText) -> Result<Vec<Place>, MappingError> {
        let list = match text {
            PlacesText::One(one) => std::slice::from_ref(one),
            PlacesText::Many(many) => many,
        };
        if list.is_empty() {
            return self.wrong(at, "an empty list of places");
        }
        list.iter().map(|p| self.place(at.clone(), p)).collect()
    }

    fn place(&self, at: At, text: &PlaceText) -> Result<Place, MappingError> {
        let named = self.header != HeaderText::None || self.kind == KindText::Json;
        match text {
            PlaceText::Column(0) => self.wrong(at, "columns count from 1"),
            PlaceText::Column(n) if self.kind == KindText::Delimited && !named => Ok(Place::Column(*n)),
            PlaceText::Name(name) if named && !name.is_empty() => Ok(Place::Name(name.clone())),
            PlaceText::Bytes(RangeText { at: from, len }) if self.kind == KindText::Fixed && *from > 0 && *len > 0 => {
                Ok(Place::Bytes(Range { at: *from, len: *len }))
            }
            _ => self.wrong(
                at,
                match self.kind {
                    KindText::Fixed => "a place in a fixed-width record is { at = N, len = N }, counting bytes from 1",
                    KindText::Json => "a place in a JSON document is a dotted path",
                    KindText::Delimited if named => "with a header, columns are named",
                    KindText::Delimited => "without a header, columns are numbers; names need `header`",
                },
            ),
        }
    }

    fn dispatch(&self, at: At, text: &RecordsText) -> Result<Dispatch, MappingError> {
        let mut kinds: Vec<(Vec<u8>, Fate)> = Vec::new();
        let mut drops: Vec<Arc<str>> = Vec::new();
        let plain = [
            (&text.calls, Fate::Call),
            (&text.opens, Fate::Opens),
            (&text.closes, Fate::Closes),
            (&text.fills, Fate::Fills),
        ];
        for (texts, fate) in plain {
            kinds.extend(texts.iter().map(|t| (t.clone().into_bytes(), fate)));
        }
        for (rule, texts) in &text.drop {
            kinds.extend(texts.iter().map(|t| (t.clone().into_bytes(), Fate::Drop(drops.len()))));
            drops.push(rule.as_str().into());
        }
        let mut seen: Vec<_> = kinds.iter().map(|k| &k.0).collect();
        seen.sort();
        if seen.windows(2).any(|w| w[0] == w[1]) {
            return self.wrong(at, "[records] names one text twice");
        }
        let alone = match &text.alone {
            Some(a) => Some((self.place(at.clone(), &a.from)?, a.at_least)),
            None => None,
        };
        Ok(Dispatch { place: self.place(at, &text.from)?, kinds, drops, alone })
    }

    fn join(&self, at: At, text: &JoinText) -> Result<JoinKey, MappingError> {
        let any_order = text.any_order.as_ref().map(|p| self.places(at.clone(), p)).transpose()?.unwrap_or_default();
        Ok(JoinKey { same: self.places(at, &text.same)?, any_order })
    }

    fn join_fits(&self, file: &FileText, dispatch: Option<&Dispatch>, joins: bool) -> Result<(), MappingError> {
        let has = |fate| dispatch.is_some_and(|d| d.kinds.iter().any(|k| k.1 == fate));
        let halves = has(Fate::Opens) && has(Fate::Closes);
        let at = file.records.as_ref().map_or(0..0, Spanned::span);
        if joins && !halves {
            return self.wrong(at, "[join] needs [records] with `opens` and `closes`");
        }
        if !joins && (has(Fate::Opens) || has(Fate::Closes) || has(Fate::Fills)) {
            return self.wrong(at, "`opens`, `closes` and `fills` need a [join]");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
