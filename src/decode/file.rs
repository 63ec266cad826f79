//! The record loop: a batch of one file to its fields.

use crate::decode::cells::{Cell, Fault, Text};
use crate::decode::fixed::{self, Range};
use crate::decode::json::{self, Paths};
use crate::decode::lines::{BYTE_ORDER_MARK, Record, Records};
use crate::decode::mapping::{Fate, Rules, Shape};
use crate::record::decoded::{Decoded, Half, Span};
use crate::record::raw::{Framing, Holds, MessageMark, RawBatch};
use crate::record::reject::{Reason, Reject};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Drop rule for a message without a record: no bytes, a header alone, a tombstone.
pub const EMPTY_MESSAGE: &str = "empty_message";

/// A mapping fitted to one file. Batches of the file may be decoded in any order and at once.
pub struct FileDecoder {
    pub(crate) rules: Arc<Rules>,
    /// Per spec, the cells it may be read from, best first.
    pub(crate) picks: Vec<Vec<usize>>,
    pub(crate) inputs: Arc<[u16]>,
    pub(crate) drops: Vec<Arc<str>>,
    /// Index into `drops` when the whole file is of another kind.
    pub(crate) all_dropped: Option<usize>,
    pub(crate) header_line: Option<u64>,
    /// The names in the header row, where the data brought one.
    pub(crate) header: Option<Arc<[String]>>,
    /// The file had no record when it was opened: records that come all the same cannot be read.
    pub(crate) unfitted: bool,
    pub(crate) counts: Vec<u16>,
    pub(crate) dispatch: Option<usize>,
    pub(crate) alone: Option<usize>,
    pub(crate) same: Vec<usize>,
    pub(crate) any_order: Vec<usize>,
    pub(crate) ranges: Vec<Range>,
    pub(crate) paths: Paths,
    pub(crate) path_count: usize,
}

impl FileDecoder {
    /// Decodes one batch. Total: every record ends as a row, a half, a reject or a counted drop.
    pub fn decode(&self, mut batch: RawBatch) -> Decoded {
        let (bytes, messages) = (std::mem::take(&mut batch.bytes), std::mem::take(&mut batch.messages));
        let RawBatch { file, offset, first_line, oversize, .. } = batch;
        let mut run = Run::new(self, bytes, oversize);
        if oversize {
            run.oversize(messages.first());
        } else if messages.is_empty() {
            run.records(offset, first_line);
        } else {
            run.messages(&messages);
        }
        let mut decoded = run.into_decoded(file, offset, first_line);
        decoded.messages = messages;
        decoded
    }

    /// Column names in the order of the header row that came with the data; `None` where columns go
    /// by number or by configuration.
    pub fn header(&self) -> Option<&Arc<[String]>> {
        self.header.as_ref()
    }

    fn quote(&self) -> u8 {
        match &self.rules.shape {
            Shape::Delimited { dialect, .. } => dialect.quote.unwrap_or(0),
            _ => 0,
        }
    }

    /// Fault column of a cell.
    fn column_of(&self, slot: usize) -> u16 {
        self.ranges.get(slot).map_or_else(|| u16::try_from(slot + 1).unwrap_or(u16::MAX), |range| range.at)
    }
}

/// What stands somewhere in a message.
struct Found {
    span: Span,
    line: u32,
    message: u32,
    what: What,
}

enum What {
    Record,
    /// A message that could not be taken apart.
    Refused(Reason),
    /// A message without a record.
    Nothing,
}

/// Without the white space around it.
fn trimmed(span: Span, bytes: &[u8]) -> Span {
    let text = span.of(bytes);
    let from = text.len() - text.trim_ascii_start().len();
    Span { start: span.start + from as u32, len: text.trim_ascii().len() as u32 }
}

/// The work on one batch.
struct Run<'d> {
    decoder: &'d FileDecoder,
    text: Text,
    cells: Vec<Cell>,
    /// Specs that some cell fills; the others are constant over the batch.
    live: Vec<usize>,
    /// Spec and cell of every live spec, if each has one cell whatever the record says.
    direct: Option<Vec<(usize, usize)>>,
    constants: Vec<Span>,
    records: Vec<Span>,
    lines: Vec<u32>,
    /// The message of each record; empty for files.
    in_message: Vec<u32>,
    rows: Vec<u32>,
    columns: Vec<Vec<Span>>,
    rejects: Vec<Reject>,
    dropped: Vec<u64>,
    empty_messages: u64,
    halves: Vec<Half>,
    /// The batch as a whole was checked, so that its records need not be.
    all_utf8: bool,
    no_nul: bool,
    /// Nor does any record hold a quote.
    no_quote: bool,
    quote: u8,
}

impl<'d> Run<'d> {
    fn new(decoder: &'d FileDecoder, bytes: Vec<u8>, oversize: bool) -> Run<'d> {
        let specs = decoder.rules.specs.len();
        // A byte range may cut a character in two: only ASCII is safe to cut.
        let all_utf8 = !oversize
            && match decoder.rules.shape {
                Shape::Fixed { .. } => bytes.is_ascii(),
                _ => bytes.is_ascii() || std::str::from_utf8(&bytes).is_ok(),
            };
        let no_nul = !oversize && memchr::memchr(0, &bytes).is_none();
        let quote = decoder.quote();
        let no_quote = matches!(&decoder.rules.shape, Shape::Delimited { dialect, .. }
            if dialect.quote.is_none_or(|quote| memchr::memchr(quote, &bytes).is_none()));
        let mut text = Text { raw: bytes, tail: Vec::new() };
        let constant = |rule: &crate::decode::mapping::FieldRule| {
            rule.constant.as_ref().map_or(Span::NONE, |c| text.append(c.as_bytes()))
        };
        let constants = decoder.rules.fields.iter().map(constant).collect();
        let live: Vec<usize> = (0..specs).filter(|i| !decoder.picks[*i].is_empty()).collect();
        let direct = |spec: &usize| match decoder.picks[*spec][..] {
            [slot] if !decoder.rules.fields[*spec].of_closing => Some((*spec, slot)),
            _ => None,
        };
        Run {
            decoder,
            text,
            cells: Vec::new(),
            direct: live.iter().map(direct).collect(),
            live,
            constants,
            records: Vec::new(),
            lines: Vec::new(),
            in_message: Vec::new(),
            rows: Vec::new(),
            columns: vec![Vec::new(); specs],
            rejects: Vec::new(),
            dropped: vec![0; decoder.drops.len()],
            empty_messages: 0,
            halves: Vec::new(),
            all_utf8,
            no_nul,
            no_quote,
            quote,
        }
    }

    /// A piece of a record longer than the source's bound: one record, refused as it is.
    fn oversize(&mut self, message: Option<&MessageMark>) {
        self.records.push(Span { start: 0, len: self.text.raw.len() as u32 });
        self.lines.push(message.map_or(0, |mark| mark.first_line));
        self.in_message.extend(message.map(|_| 0));
        self.rejects.push(Reject { record: 0, reason: Reason::RecordTooLong, column: 0 });
    }

    fn records(&mut self, offset: u64, first_line: u64) {
        let bytes = std::mem::take(&mut self.text.raw);
        let marked = offset == 0 && bytes.starts_with(BYTE_ORDER_MARK);
        let at = if marked { BYTE_ORDER_MARK.len() } else { 0 };
        let framing = if self.no_quote { Framing::Lines } else { self.decoder.rules.framing };
        // All records first: reading one may append to the text that the iterator would borrow.
        let found: Vec<Record> = Records::new(&bytes, at, framing).collect();
        self.text.raw = bytes;
        self.reserve(found.len());
        for record in found {
            let index = self.records.len() as u32;
            if self.is_no_record(self.text.get(record.span), first_line + u64::from(record.line)) {
                continue;
            }
            self.records.push(record.span);
            self.lines.push(record.line);
            self.take(index, record.span);
        }
    }

    /// Each message for itself: its end ends its last record.
    fn messages(&mut self, marks: &[MessageMark]) {
        let bytes = std::mem::take(&mut self.text.raw);
        let framing = if self.no_quote { Framing::Lines } else { self.decoder.rules.framing };
        let mut found = Vec::with_capacity(marks.len());
        for (message, mark) in marks.iter().enumerate() {
            let end = marks.get(message + 1).map_or(bytes.len(), |next| next.start as usize);
            let whole = Span { start: mark.start, len: end as u32 - mark.start };
            let mut add = |span, line, what| found.push(Found { span, line, message: message as u32, what });
            match mark.holds {
                Holds::Refused(reason) => add(whole, mark.first_line, What::Refused(reason)),
                Holds::Document => add(trimmed(whole, &bytes), mark.first_line, What::Record),
                Holds::Records | Holds::Part => {
                    let mut none = mark.holds == Holds::Records;
                    for record in Records::new(&bytes[..end], mark.start as usize, framing) {
                        let line = mark.first_line + record.line;
                        if !self.is_no_record(record.span.of(&bytes), u64::from(line)) {
                            add(record.span, line, What::Record);
                            none = false;
                        }
                    }
                    if none {
                        add(Span { start: mark.start, len: 0 }, mark.first_line, What::Nothing);
                    }
                }
            }
        }
        self.text.raw = bytes;
        self.reserve(found.len());
        self.in_message.reserve_exact(found.len());
        for Found { span, line, message, what } in found {
            let index = self.records.len() as u32;
            self.records.push(span);
            self.lines.push(line);
            self.in_message.push(message);
            match what {
                What::Record => self.take(index, span),
                What::Refused(reason) => self.rejects.push(Reject { record: index, reason, column: 0 }),
                What::Nothing => self.empty_messages += 1,
            }
        }
    }

    fn reserve(&mut self, records: usize) {
        self.records.reserve_exact(records);
        self.lines.reserve_exact(records);
        self.rows.reserve_exact(records);
        for spec in &self.live {
            self.columns[*spec].reserve_exact(records);
        }
    }

    /// A header row, a skipped row, a comment: not a record of anything, and not counted as one.
    fn is_no_record(&self, record: &[u8], line: u64) -> bool {
        let rules = &self.decoder.rules;
        line < rules.skip_rows
            || self.decoder.header_line == Some(line)
            || rules.comment.is_some_and(|c| record.first() == Some(&c))
    }

    fn take(&mut self, index: u32, record: Span) {
        if let Some(rule) = self.decoder.all_dropped {
            self.dropped[rule] += 1;
        } else if let Err(fault) = self.record(index, record) {
            self.rejects.push(Reject { record: index, reason: fault.reason, column: fault.column });
        }
    }

    fn record(&mut self, index: u32, record: Span) -> Result<(), Fault> {
        if !self.no_nul && memchr::memchr(0, self.text.get(record)).is_some() {
            return Err(Fault { reason: Reason::NulByte, column: 0 });
        }
        self.split(record)?;
        let fate = self.fate()?;
        if let Fate::Drop(rule) = fate {
            self.dropped[rule] += 1;
            return Ok(());
        }
        if let Shape::Fixed { length: Some(length) } = self.decoder.rules.shape {
            fixed::check_length(record, length)?;
        }
        if !self.all_utf8 && !self.text.get(record).is_ascii() {
            self.check_utf8()?;
        }
        match fate {
            Fate::Call => self.push_row(index),
            Fate::Opens if self.is_alone() => self.push_row(index),
            _ => return self.push_half(index, fate),
        }
        Ok(())
    }

    fn split(&mut self, record: Span) -> Result<(), Fault> {
        let decoder = self.decoder;
        if decoder.unfitted {
            return Err(Fault { reason: Reason::ColumnCount, column: 0 });
        }
        match &decoder.rules.shape {
            Shape::Json => json::split(&mut self.text, record, &decoder.paths, decoder.path_count, &mut self.cells),
            Shape::Fixed { .. } => {
                fixed::split(&self.text.raw, record, &decoder.ranges, &mut self.cells);
                Ok(())
            }
            Shape::Delimited { dialect, .. } => {
                if self.no_quote {
                    dialect.split_plain(&self.text.raw, record, &mut self.cells);
                } else {
                    dialect.split(&self.text.raw, record, &mut self.cells)?;
                }
                let count = self.cells.len();
                if decoder.counts.is_empty() || decoder.counts.iter().any(|c| usize::from(*c) == count) {
                    return Ok(());
                }
                Err(Fault { reason: Reason::ColumnCount, column: u16::try_from(count).unwrap_or(u16::MAX) })
            }
        }
    }

    fn cell(&self, slot: usize) -> Cell {
        self.cells.get(slot).copied().unwrap_or(Cell::NONE)
    }

    fn fate(&self) -> Result<Fate, Fault> {
        let (Some(slot), Some(dispatch)) = (self.decoder.dispatch, &self.decoder.rules.dispatch) else {
            return Ok(Fate::Call);
        };
        let kind = self.text.value(self.cell(slot), self.quote);
        match dispatch.kinds.iter().find(|(text, _)| **text == *kind) {
            Some((_, fate)) => Ok(*fate),
            None => Err(Fault { reason: Reason::UnknownRecordType, column: self.decoder.column_of(slot) }),
        }
    }

    /// Whether an opening record is a whole call (a SIP request that was refused).
    fn is_alone(&self) -> bool {
        let Some((_, least)) = self.decoder.rules.dispatch.as_ref().and_then(|d| d.alone.as_ref()) else {
            return false;
        };
        let Some(slot) = self.decoder.alone else { return false };
        let text = self.text.value(self.cell(slot), self.quote);
        std::str::from_utf8(&text).ok().and_then(|t| t.parse::<u32>().ok()).is_some_and(|n| n >= *least)
    }

    /// Only what is mapped must be UTF-8: free text beside it may be in any encoding.
    fn check_utf8(&self) -> Result<(), Fault> {
        let mapped = self.live.iter().flat_map(|i| &self.decoder.picks[*i]);
        for slot in mapped {
            let value = self.text.get(self.cell(*slot).span());
            if std::str::from_utf8(value).is_err() {
                return Err(Fault { reason: Reason::InvalidUtf8, column: self.decoder.column_of(*slot) });
            }
        }
        Ok(())
    }

    /// The value of a live spec: the first of its cells that says something.
    fn pick(&mut self, spec: usize) -> Span {
        let decoder = self.decoder;
        let slots = &decoder.picks[spec];
        let mut cell = self.cell(slots[0]);
        if slots.len() > 1 {
            let null = &decoder.rules.specs[spec].null;
            let says = |cell: &Cell| {
                let value = self.text.value(*cell, self.quote);
                !value.is_empty() && null.iter().all(|n| n.as_bytes() != &*value)
            };
            cell = slots.iter().map(|slot| self.cell(*slot)).find(says).unwrap_or(cell);
        }
        self.text.settle(cell, self.quote)
    }

    fn push_row(&mut self, index: u32) {
        self.rows.push(index);
        if let Some(direct) = &self.direct {
            for &(spec, slot) in direct {
                let cell = self.cells.get(slot).copied().unwrap_or(Cell::NONE);
                self.columns[spec].push(self.text.settle(cell, self.quote));
            }
            return;
        }
        for n in 0..self.live.len() {
            let spec = self.live[n];
            let span = if self.decoder.rules.fields[spec].of_closing { Span::NONE } else { self.pick(spec) };
            self.columns[spec].push(span);
        }
    }

    fn push_half(&mut self, index: u32, fate: Fate) -> Result<(), Fault> {
        let closing = fate == Fate::Closes;
        let key = self.key()?;
        let mut fields = if closing { vec![Span::NONE; self.constants.len()] } else { self.constants.clone() };
        for n in 0..self.live.len() {
            let spec = self.live[n];
            if self.decoder.rules.fields[spec].of_closing == closing {
                fields[spec] = self.pick(spec);
            }
        }
        self.halves.push(Half { record: index, key, opens: !closing, fills: fate == Fate::Fills, fields });
        Ok(())
    }

    /// Digest of what the records of one call share; values that may change places are sorted.
    fn key(&self) -> Result<[u8; 16], Fault> {
        let value = |slot: &usize| self.text.value(self.cell(*slot), self.quote);
        let mut hash = Sha256::new();
        for slot in &self.decoder.same {
            let value = value(slot);
            if value.is_empty() {
                return Err(Fault { reason: Reason::MissingField, column: self.decoder.column_of(*slot) });
            }
            hash.update((value.len() as u64).to_le_bytes());
            hash.update(&value);
        }
        let mut loose: Vec<_> = self.decoder.any_order.iter().map(value).collect();
        loose.sort();
        for value in loose {
            hash.update((value.len() as u64).to_le_bytes());
            hash.update(&value);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        Ok(key)
    }

    fn into_decoded(mut self, file: u32, offset: u64, first_line: u64) -> Decoded {
        let rows = self.rows.len();
        for (spec, column) in self.columns.iter_mut().enumerate() {
            if self.decoder.picks[spec].is_empty() {
                *column = vec![self.constants[spec]; rows];
            }
        }
        let empty = (self.empty_messages > 0).then(|| (EMPTY_MESSAGE.into(), self.empty_messages));
        let by_rule = self.decoder.drops.iter().cloned().zip(self.dropped).chain(empty);
        let dropped = by_rule.filter(|(_, n)| *n > 0).collect();
        Decoded {
            text: self.text.into_bytes(),
            file,
            offset,
            first_line,
            records: self.records,
            lines: self.lines,
            messages: Vec::new(),
            in_message: self.in_message,
            rows: self.rows,
            specs: self.decoder.rules.specs.clone(),
            columns: self.columns,
            inputs: self.decoder.inputs.clone(),
            rejects: self.rejects,
            dropped,
            halves: self.halves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mapping::Mapping;
    use proptest::prelude::*;

    const MAPPING: &str = r##"
name = "x"
version = 1
kind = "delimited"
delimiter = ","
quote = '"'
comment = "#"
skip_rows = 1
columns = [3]
[constants]
service = "voice"
[fields.start]
from = 1
time = "unix_seconds"
[fields.a_number]
from = [2, 3]
null = ["-"]
"##;

    fn decode(bytes: &[u8], offset: u64, first_line: u64) -> Decoded {
        let mapping = Mapping::parse("x", MAPPING).unwrap();
        let batch = RawBatch::of_file(bytes.to_vec(), offset, first_line);
        mapping.open(bytes).unwrap().decode(batch)
    }

    fn texts(decoded: &Decoded, spec: usize) -> Vec<&[u8]> {
        decoded.columns[spec].iter().map(|s| s.of(&decoded.text)).collect()
    }

    #[test]
    fn the_first_place_that_says_something_wins() {
        let decoded = decode(b"title\n# 1\n1,a,b\n2,,b\n3,-,\"b\"\"\"\n4,,\n", 0, 0);
        assert_eq!(texts(&decoded, 1), [&b"a"[..], b"b", b"b\"", b""]);
        assert_eq!(texts(&decoded, 2), [&b"voice"[..]; 4]);
        assert_eq!(decoded.rows, [0, 1, 2, 3]);
        assert_eq!(decoded.dropped, []);
        assert_eq!(&*decoded.inputs, [1, 2, 0]);
    }

    #[test]
    fn rejects_have_reason_and_column() {
        let cases: [(&[u8], Reason, u16); 5] = [
            (b"1,2", Reason::ColumnCount, 2),
            (b"1,2,3,4", Reason::ColumnCount, 4),
            (b"1,\"2,3", Reason::UnbalancedQuote, 2),
            (b"1,2,\0", Reason::NulByte, 0),
            (b"1,2,\xff", Reason::InvalidUtf8, 3),
        ];
        for (bytes, reason, column) in cases {
            let both = [bytes, b"\n5,6,7\n"].concat();
            let decoded = decode(&both, 100, 9);
            assert_eq!(decoded.rejects, [Reject { record: 0, reason, column }]);
            assert_eq!(decoded.rows, [1], "the next record is not touched");
        }
    }

    proptest! {
        /// No bytes whatever panic or lose a record, whichever format reads them.
        #[test]
        fn any_bytes_balance(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b','), Just(b'"'), Just(b'{'), Just(b'|'), any::<u8>()], 0..200)) {
            for (name, text) in crate::decode::shipped::shipped() {
                let mapping = Mapping::parse(name, text).unwrap();
                let Ok(decoder) = mapping.open(&bytes) else { continue };
                let batch = RawBatch::of_file(bytes.clone(), 0, 0);
                let decoded = decoder.decode(batch);
                let dropped: u64 = decoded.dropped.iter().map(|d| d.1).sum();
                prop_assert_eq!(decoded.records.len() as u64, (decoded.rows.len() + decoded.rejects.len() + decoded.halves.len()) as u64 + dropped);
                prop_assert!(decoded.columns.iter().all(|c| c.len() == decoded.rows.len()));
            }
        }
    }
}
