//! Fitting a mapping to one file: its header row, or which of the mapping's layouts it has.

use crate::decode::cells::{Cell, Text};
use crate::decode::delimited::Dialect;
use crate::decode::fixed::Range;
use crate::decode::json::Paths;
use crate::decode::lines::{BYTE_ORDER_MARK, Record, Records};
use crate::decode::mapping::{Header, Layout, Place, Rules, Shape};
use crate::record::decoded::Span;
use crate::record::field::{Codec, TimeFormat};
use std::sync::Arc;

pub use crate::decode::file::FileDecoder;

/// Why a file does not fit its mapping. Names of the mapping are printed; a name from the file only
/// if it looks like a column name, since a file without a header has a record in its first row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the header has no column `{column}`, which the mapping needs (does the file begin with its header row?)")]
    MissingColumn { column: String },
    #[error("column {number}{} is not one that this mapping knows (does the file begin with its header row?)", .name.as_ref().map(|n| format!(" `{n}`")).unwrap_or_default())]
    UnknownColumn { number: usize, name: Option<String> },
    #[error("column `{column}` stands twice in the header")]
    RepeatedColumn { column: String },
    #[error("the header row cannot be read: {0}")]
    Header(&'static str),
    #[error("path `{0}` leads through another path of the mapping")]
    Path(String),
    #[error("columns can be named only where the mapping has a `header`: take the feed's `columns` away")]
    NoHeader,
}

impl FileDecoder {
    pub(crate) fn open(rules: Arc<Rules>, head: &[u8]) -> Result<FileDecoder, OpenError> {
        match &rules.shape {
            Shape::Delimited { dialect, header: Header::None } => {
                fit(&rules, &rules.layouts[layout_of(&rules, dialect, head)], Resolver::default())
            }
            Shape::Delimited { dialect, .. } => match head_records(&rules, head).next() {
                None => Ok(FileDecoder::empty(rules.clone())),
                Some(row) => {
                    let names = split_header(dialect, row.span.of(head))?;
                    let header = names.as_slice().into();
                    let decoder = FileDecoder::under_header(rules.clone(), Some(u64::from(row.line)), names)?;
                    Ok(FileDecoder { header: Some(header), ..decoder })
                }
            },
            _ => fit(&rules, &rules.layouts[0], Resolver::default()),
        }
    }

    /// A decoder for records whose columns have these names; `line` is that of the row that says so.
    pub(crate) fn under_header(
        rules: Arc<Rules>,
        line: Option<u64>,
        names: Vec<String>,
    ) -> Result<FileDecoder, OpenError> {
        let other = rules.other_files.iter().find(|(_, column)| names.iter().any(|n| same(n, column)));
        let mut decoder = match other {
            Some((rule, _)) => FileDecoder::all_dropped(rules.clone(), rule.clone()),
            None => {
                if matches!(rules.shape, Shape::Delimited { header: Header::Strict, .. }) {
                    known_columns(&rules, &names)?;
                }
                fit(&rules, &rules.layouts[0], Resolver { names: Some(names), ..Resolver::default() })?
            }
        };
        decoder.header_line = line;
        Ok(decoder)
    }

    /// A decoder for a file that had no record when it was opened.
    fn empty(rules: Arc<Rules>) -> FileDecoder {
        let drops = rules.dispatch.iter().flat_map(|d| d.drops.iter().cloned()).collect();
        FileDecoder {
            picks: vec![Vec::new(); rules.specs.len()],
            inputs: vec![0; rules.specs.len()].into(),
            drops,
            all_dropped: None,
            header_line: None,
            header: None,
            unfitted: true,
            counts: Vec::new(),
            dispatch: None,
            alone: None,
            same: Vec::new(),
            any_order: Vec::new(),
            ranges: Vec::new(),
            paths: Paths::default(),
            path_count: 0,
            rules,
        }
    }

    /// A decoder for a file of another kind, whose every record goes by one named rule.
    fn all_dropped(rules: Arc<Rules>, rule: Arc<str>) -> FileDecoder {
        let mut decoder = FileDecoder::empty(rules);
        let known = decoder.drops.iter().position(|d| *d == rule);
        decoder.all_dropped = Some(known.unwrap_or_else(|| {
            decoder.drops.push(rule);
            decoder.drops.len() - 1
        }));
        decoder
    }
}

/// A decoder for records that have this layout, or the columns that the resolver knows by name.
pub(crate) fn fit(rules: &Arc<Rules>, layout: &Layout, mut resolver: Resolver) -> Result<FileDecoder, OpenError> {
    let mut picks = Vec::new();
    for (places, rule) in layout.from.iter().zip(&rules.fields) {
        picks.push(resolver.places(places, rule.optional || rule.constant.is_some())?);
    }
    let mut need = |place: &Place| resolver.places(std::slice::from_ref(place), false).map(|slots| slots[0]);
    let dispatch = rules.dispatch.as_ref().map(|d| need(&d.place)).transpose()?;
    let alone = rules.dispatch.as_ref().and_then(|d| d.alone.as_ref()).map(|(place, _)| need(place)).transpose()?;
    let (same, any_order) = match &rules.join {
        None => (Vec::new(), Vec::new()),
        Some(key) => (
            key.same.iter().map(&mut need).collect::<Result<_, _>>()?,
            key.any_order.iter().map(&mut need).collect::<Result<_, _>>()?,
        ),
    };
    let counts = match &resolver.names {
        Some(names) => vec![names.len() as u16],
        None => layout.columns.clone(),
    };
    let mut decoder = FileDecoder::empty(rules.clone());
    decoder.inputs = picks.iter().map(|slots| slots.first().map_or(0, |slot| resolver.input(*slot))).collect();
    decoder.counts = counts;
    decoder.unfitted = false;
    decoder.picks = picks;
    decoder.dispatch = dispatch;
    decoder.alone = alone;
    decoder.same = same;
    decoder.any_order = any_order;
    decoder.ranges = resolver.ranges;
    decoder.paths = resolver.paths;
    decoder.path_count = resolver.path_names.len();
    Ok(decoder)
}

/// Places to slots: the numbers of the cells that a record is split into.
#[derive(Default)]
pub(crate) struct Resolver {
    names: Option<Vec<String>>,
    ranges: Vec<Range>,
    paths: Paths,
    path_names: Vec<String>,
}

impl Resolver {
    /// The slots of the places that this file has; an error if it has none and one is needed.
    fn places(&mut self, places: &[Place], optional: bool) -> Result<Vec<usize>, OpenError> {
        let mut slots = Vec::new();
        for place in places {
            slots.extend(self.slot(place)?);
        }
        match places.first() {
            Some(Place::Name(column)) if slots.is_empty() && !optional => {
                Err(OpenError::MissingColumn { column: column.clone() })
            }
            _ => Ok(slots),
        }
    }

    fn slot(&mut self, place: &Place) -> Result<Option<usize>, OpenError> {
        match place {
            Place::Column(n) => Ok(Some(usize::from(*n) - 1)),
            Place::Bytes(range) => Ok(Some(self.ranges.iter().position(|r| r == range).unwrap_or_else(|| {
                self.ranges.push(*range);
                self.ranges.len() - 1
            }))),
            Place::Name(name) => match &self.names {
                None => self.path(name).map(Some),
                Some(names) => {
                    let mut found = names.iter().enumerate().filter(|(_, n)| same(n, name)).map(|(i, _)| i);
                    let first = found.next();
                    if found.next().is_some() {
                        return Err(OpenError::RepeatedColumn { column: name.clone() });
                    }
                    Ok(first)
                }
            },
        }
    }

    fn path(&mut self, name: &str) -> Result<usize, OpenError> {
        if let Some(slot) = self.path_names.iter().position(|n| n == name) {
            return Ok(slot);
        }
        let slot = self.path_names.len();
        let steps: Vec<&str> = name.split('.').collect();
        if !self.paths.add(&steps, slot) {
            return Err(OpenError::Path(name.to_owned()));
        }
        self.path_names.push(name.to_owned());
        Ok(slot)
    }

    /// The 1-based input column of a slot; of a byte range, the byte where it begins.
    fn input(&self, slot: usize) -> u16 {
        self.ranges.get(slot).map_or_else(|| u16::try_from(slot + 1).unwrap_or(u16::MAX), |range| range.at)
    }
}

fn same(in_file: &str, in_mapping: &str) -> bool {
    in_file.eq_ignore_ascii_case(in_mapping)
}

/// The records of a head that hold data or the header, with their line numbers.
fn head_records<'h>(rules: &'h Rules, head: &'h [u8]) -> impl Iterator<Item = Record> + 'h {
    let at = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    Records::new(head, at, rules.framing).filter(move |r| is_data(rules, r, head))
}

/// Neither skipped nor a comment.
pub(crate) fn is_data(rules: &Rules, record: &Record, head: &[u8]) -> bool {
    u64::from(record.line) >= rules.skip_rows && rules.comment.is_none_or(|c| record.span.of(head).first() != Some(&c))
}

/// The names in a header row.
pub(crate) fn split_header(dialect: &Dialect, row: &[u8]) -> Result<Vec<String>, OpenError> {
    if memchr::memchr(0, row).is_some() {
        return Err(OpenError::Header("it holds NUL bytes"));
    }
    let mut cells = Vec::new();
    let whole = Span { start: 0, len: row.len() as u32 };
    dialect.split(row, whole, &mut cells).map_err(|_| OpenError::Header("its quotes do not balance"))?;
    if cells.len() > usize::from(u16::MAX) {
        return Err(OpenError::Header("it has more than 65535 columns"));
    }
    let text = Text { raw: row.to_vec(), tail: Vec::new() };
    let name = |cell: &Cell| String::from_utf8(text.value(*cell, dialect.quote.unwrap_or(0)).trim_ascii().to_vec());
    let names = cells.iter().map(name).collect::<Result<Vec<_>, _>>();
    names.map_err(|_| OpenError::Header("it is not UTF-8"))
}

/// Refuses columns that no field of the mapping is filled from.
fn known_columns(rules: &Rules, names: &[String]) -> Result<(), OpenError> {
    let fields = rules.layouts[0].from.iter().flatten();
    let known: Vec<&Place> = fields.chain(rules.dispatch.as_ref().map(|d| &d.place)).collect();
    let is_known = |name: &str| known.iter().any(|place| matches!(place, Place::Name(n) if same(name, n)));
    // A row in which no name is known is no header but a record, whose sender's name looks like one.
    let is_header = names.iter().any(|name| is_known(name));
    match names.iter().position(|name| !is_known(name)) {
        None => Ok(()),
        Some(i) => Err(OpenError::UnknownColumn { number: i + 1, name: printable(&names[i]).filter(|_| is_header) }),
    }
}

/// A header name that may be printed: a letter, then letters, digits, `_ . -` and spaces, at most 40
/// bytes, no run of 5 digits. Anything else may be a record of a file without a header.
fn printable(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_. -".contains(b);
    let digits = bytes.split(|b| !b.is_ascii_digit()).map(<[u8]>::len).max().unwrap_or(0);
    let fine = bytes.len() <= 40 && bytes.first()?.is_ascii_alphabetic() && bytes.iter().all(plain) && digits < 5;
    fine.then(|| name.to_owned())
}

/// The number of the first layout whose probe reads as a time in the earliest record that decides;
/// else of the last.
pub(crate) fn layout_of(rules: &Rules, dialect: &Dialect, head: &[u8]) -> usize {
    let last = rules.layouts.len() - 1;
    if last == 0 {
        return 0;
    }
    let mut cells = Vec::new();
    for record in head_records(rules, head) {
        if dialect.split(head, record.span, &mut cells).is_err() {
            continue;
        }
        let fits = |layout: &Layout| {
            let Some(spec) = layout.probe.filter(|_| layout.columns.contains(&(cells.len() as u16))) else {
                return false;
            };
            let cell = layout.from[spec]
                .iter()
                .find_map(|p| if let Place::Column(n) = p { cells.get(usize::from(*n) - 1) } else { None });
            let Codec::Time(format) = &rules.specs[spec].codec else { return false };
            cell.is_some_and(|cell| looks_like_time(cell.span().of(head), format))
        };
        if let Some(layout) = rules.layouts.iter().position(fits) {
            return layout;
        }
    }
    last
}

/// Whether text has the shape of a time format (not whether such a time exists).
fn looks_like_time(text: &[u8], format: &TimeFormat) -> bool {
    let TimeFormat::Pattern { pattern, .. } = format else {
        let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
        return match format {
            TimeFormat::Rfc3339 => digits == 4 && text.get(4) == Some(&b'-') && text.len() >= 20,
            _ => digits > 0 && (digits == text.len() || text[digits] == b'.'),
        };
    };
    let (mut rest, mut pattern) = (text, pattern.bytes());
    while let Some(b) = pattern.next() {
        let take = match if b == b'%' { pattern.next() } else { None } {
            None if rest.first() == Some(&b) => 1,
            Some(b'Y') if digits(rest, 4) => 4,
            Some(b'f') => rest.iter().take_while(|b| b.is_ascii_digit()).count(),
            Some(b'm' | b'd' | b'H' | b'M' | b'S' | b'y') if digits(rest, 2) => 2,
            _ => return false,
        };
        rest = &rest[take..];
    }
    rest.is_empty()
}

fn digits(text: &[u8], n: usize) -> bool {
    text.len() >= n && text[..n].iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_name_is_printed() {
        for name in ["a_number", "Start time", "x-1.2", "abc1234"] {
            assert_eq!(printable(name).as_deref(), Some(name));
        }
        for text in ["", "+447700900123", "447700900123", "SEP12345", "a@b", "Zoë", "_x", "a".repeat(41).as_str()] {
            assert_eq!(printable(text), None, "{text}");
        }
    }

    #[test]
    fn the_shape_of_a_time() {
        let local = TimeFormat::Pattern {
            pattern: "%Y-%m-%d %H:%M:%S".into(),
            zone: crate::record::field::TimeZoneChoice::Feed,
        };
        let cases: [(&str, &TimeFormat, bool); 8] = [
            ("2026-11-22 10:00:00", &local, true),
            ("2026-11-22 10:00", &local, false),
            ("2026-11-22 10:00:00Z", &local, false),
            ("", &local, false),
            ("2026-11-22T10:00:00Z", &TimeFormat::Rfc3339, true),
            ("1700000000.5", &TimeFormat::UnixSeconds, true),
            ("x1700000000", &TimeFormat::UnixSeconds, false),
            ("", &TimeFormat::UnixSeconds, false),
        ];
        for (text, format, want) in cases {
            assert_eq!(looks_like_time(text.as_bytes(), format), want, "{text}");
        }
    }
}
