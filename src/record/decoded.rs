//! Fields found, not yet read: for every record and every mapped field a span of bytes.

use super::field::{Field, FieldSpec};
use super::raw::MessageMark;
use super::reject::Reject;
use std::sync::Arc;

/// A run of bytes in `Decoded::text`. `Span::NONE` is "not there", which differs from empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

impl Span {
    pub const NONE: Span = Span { start: u32::MAX, len: 0 };

    #[inline]
    pub fn of(self, text: &[u8]) -> &[u8] {
        if self.start == u32::MAX { &[] } else { &text[self.start as usize..(self.start + self.len) as usize] }
    }

    #[inline]
    pub fn is_none(self) -> bool {
        self.start == u32::MAX
    }
}

/// One batch after decoding.
///
/// `text` begins with the raw batch itself; what had to be unescaped, and constants, are appended
/// to it. Every record of the batch is in exactly one of: the rows of `columns`, `rejects`,
/// `dropped`. No `Debug`: `text` holds clear identifiers, and is wiped when dropped.
pub struct Decoded {
    pub text: Vec<u8>,
    pub file: u32,
    /// Offset in the decompressed file of `text[0]`.
    pub offset: u64,
    /// Zero-based number, within its file, of the first line in `text`.
    pub first_line: u64,
    /// Every record of the batch in file order: its raw bytes without line end.
    pub records: Vec<Span>,
    /// Zero-based line number relative to `first_line`, or in its message; one per entry of `records`.
    pub lines: Vec<u32>,
    /// As in the raw batch; empty for files.
    pub messages: Vec<MessageMark>,
    /// Index into `messages`, one per entry of `records`; empty for files.
    pub in_message: Vec<u32>,
    /// Index into `records`, one per decoded row, ascending.
    pub rows: Vec<u32>,
    /// What the columns are; shared by all batches of a mapping.
    pub specs: Arc<[FieldSpec]>,
    /// One per entry of `specs`; each as long as `rows`.
    pub columns: Vec<Vec<Span>>,
    /// Input column number (1-based) per entry of `specs`, for error positions; 0 for constants.
    pub inputs: Arc<[u16]>,
    pub rejects: Vec<Reject>,
    /// Records left out by a named rule of the mapping (headers, other record types), counted.
    pub dropped: Vec<(Arc<str>, u64)>,
    /// Halves of calls that must be joined before they are rows; empty for most formats.
    pub halves: Vec<Half>,
}

/// One record that is only part of a call (a SIP INVITE or its BYE).
pub struct Half {
    /// Index into `Decoded::records`.
    pub record: u32,
    /// Digest of what the two records of one call share (dialogue identifiers).
    pub key: [u8; 16],
    /// True for the record that opens the call, false for the one that ends it.
    pub opens: bool,
    /// With `opens`: a record that only completes an opening one that lacks its time (a SIP ACK).
    pub fills: bool,
    /// The mapped fields that this half has, in the order of `specs`.
    pub fields: Vec<Span>,
}

/// Where a record stood, counted from 0: byte and line of its file, or the offset of its message in
/// the partition and the line in that message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub line: u64,
}

impl Drop for Decoded {
    fn drop(&mut self) {
        super::clear::wipe(&mut self.text);
    }
}

impl Decoded {
    /// Where a record (an index into `records`) stood.
    pub fn place(&self, record: u32) -> Place {
        let line = u64::from(self.lines[record as usize]);
        match self.in_message.get(record as usize) {
            Some(message) => Place { offset: self.messages[*message as usize].offset as u64, line },
            None => Place {
                offset: self.offset + u64::from(self.records[record as usize].start),
                line: self.first_line + line,
            },
        }
    }

    /// The column of a field, if the mapping fills it.
    pub fn column(&self, field: Field) -> Option<(&FieldSpec, &[Span])> {
        let i = self.specs.iter().position(|s| s.field == field)?;
        Some((&self.specs[i], &self.columns[i]))
    }
}
