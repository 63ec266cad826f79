//! What a source hands out: a run of whole records as they arrived, with their position.

use crate::record::reject::Reason;

/// How a source finds the end of a record. Part of a mapping, so that sources stay format-blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A record ends at `\n` (a `\r` before it is not part of the record).
    Lines,
    /// As `Lines`, but a `\n` between two `quote` bytes belongs to the record (RFC 4180).
    QuotedLines { quote: u8 },
}

/// Record-aligned bytes of one file, or of messages of one partition, and where they stood.
///
/// No `Debug`: the bytes hold clear identifiers, and are wiped when dropped (`std::mem::take` hands
/// them on).
pub struct RawBatch {
    /// Whole records, each with its line end (the last of a file may lack it).
    pub bytes: Vec<u8>,
    /// Which file of this run; position only, never a name.
    pub file: u32,
    /// Offset of `bytes[0]` in the decompressed file.
    pub offset: u64,
    /// Zero-based number, within its file, of the first line in `bytes`.
    pub first_line: u64,
    /// Set on pieces of a record longer than the source's bound: such bytes are sealed to
    /// quarantine as they are and never decoded.
    pub oversize: bool,
    /// The messages that `bytes` holds, in order; empty for files. No record reaches from one into
    /// the next, whatever its quotes say. `offset` and `first_line` are then without meaning.
    pub messages: Vec<MessageMark>,
}

impl RawBatch {
    /// Whole records of a file, whose first byte stands at `offset` on line `first_line` (from 0).
    pub fn of_file(bytes: Vec<u8>, offset: u64, first_line: u64) -> RawBatch {
        RawBatch { bytes, file: 0, offset, first_line, oversize: false, messages: Vec::new() }
    }
}

/// One message of a stream, or a part of a long one, within a batch. It ends where the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageMark {
    /// Index in `bytes` of its first byte there. No byte at all: the message is empty.
    pub start: u32,
    /// Zero-based line of that byte within the message: a header may have been taken off.
    pub first_line: u32,
    /// Of the message in its partition.
    pub offset: i64,
    pub holds: Holds,
}

/// What the bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Records, found by the framing; none at all is an empty message.
    Records,
    /// As `Records`, but only a part of the message: none in it says nothing about the message.
    Part,
    /// One record, line ends in it or not.
    Document,
    /// The message as it arrived, which could not be taken apart: one reject.
    Refused(Reason),
}

impl Drop for RawBatch {
    fn drop(&mut self) {
        super::clear::wipe(&mut self.bytes);
    }
}
