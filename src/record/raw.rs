//! What a source hands out: a run of whole records as they arrived, with their position.

/// How a source finds the end of a record. Part of a mapping, so that sources stay format-blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A record ends at `\n` (a `\r` before it is not part of the record).
    Lines,
    /// As `Lines`, but a `\n` between two `quote` bytes belongs to the record (RFC 4180).
    QuotedLines { quote: u8 },
}

/// Record-aligned bytes of one file, and where they stood.
///
/// No `Debug`: the bytes hold clear identifiers.
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
}
