//! The cells of one record: byte ranges, before anything is unescaped.

use crate::record::decoded::Span;
use crate::record::reject::Reason;
use std::borrow::Cow;

/// Where the text of one input column stands in the batch (or in its tail).
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) start: u32,
    pub(crate) len: u32,
    /// Holds doubled quotes that must be made single before use.
    pub(crate) doubled: bool,
}

impl Cell {
    pub(crate) const NONE: Cell = Cell { start: u32::MAX, len: 0, doubled: false };

    pub(crate) fn new(start: usize, len: usize) -> Cell {
        Cell { start: start as u32, len: len as u32, doubled: false }
    }

    pub(crate) fn span(self) -> Span {
        Span { start: self.start, len: self.len }
    }
}

/// Why a record has no cells, and the 1-based column that showed it (0: the record as a whole).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    pub(crate) column: u16,
}

/// Bytes of a batch plus what was appended to it, addressed as one.
///
/// Kept apart until the batch is done, so that the batch itself is never moved while it is read.
pub(crate) struct Text {
    pub(crate) raw: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

impl Text {
    pub(crate) fn get(&self, span: Span) -> &[u8] {
        if span.is_none() {
            return &[];
        }
        let (start, end) = (span.start as usize, (span.start + span.len) as usize);
        let raw = self.raw.len();
        if start < raw || span.len == 0 {
            &self.raw[start.min(raw)..end.min(raw)]
        } else {
            &self.tail[start - raw..end - raw]
        }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.raw.len() + self.tail.len();
        self.tail.extend_from_slice(bytes);
        Span { start: start as u32, len: bytes.len() as u32 }
    }

    /// The span of a cell's value; a cell with doubled quotes is copied to the tail.
    pub(crate) fn settle(&mut self, cell: Cell, quote: u8) -> Span {
        if !cell.doubled {
            return cell.span();
        }
        let from = self.raw.len() + self.tail.len();
        let bytes = &self.raw[cell.start as usize..(cell.start + cell.len) as usize];
        let mut rest = bytes;
        while let Some(i) = memchr::memchr(quote, rest) {
            self.tail.extend_from_slice(&rest[..=i]);
            rest = &rest[(i + 2).min(rest.len())..];
        }
        self.tail.extend_from_slice(rest);
        Span { start: from as u32, len: (self.raw.len() + self.tail.len() - from) as u32 }
    }

    /// The value of a cell, for comparing with texts of the mapping.
    pub(crate) fn value(&self, cell: Cell, quote: u8) -> Cow<'_, [u8]> {
        let bytes = self.get(cell.span());
        if !cell.doubled {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(i) = memchr::memchr(quote, rest) {
            out.extend_from_slice(&rest[..=i]);
            rest = &rest[(i + 2).min(rest.len())..];
        }
        out.extend_from_slice(rest);
        Cow::Owned(out)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let Text { mut raw, tail } = self;
        raw.extend_from_slice(&tail);
        raw
    }
}
