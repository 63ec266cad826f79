//! Cuts a stream of bytes into batches of whole records.
//!
//! The rule, exact, so that a decoder walking a batch finds the same records:
//!
//! * `Lines`: a record ends at each `\n`.
//! * `QuotedLines`: a record ends at the first `\n` that has an even number of quote bytes before it
//!   since the record's start (a doubled quote keeps parity by itself).
//! * The last record of a stream may lack its `\n`.
//! * A record with more than `max_record_bytes` (its line end counted), or with the end of the
//!   stream inside a quote, has no such end. If it holds a `\n` within the bound, the quote is taken
//!   for broken: the record is its first line, and the next line begins a record. That record is
//!   always the *last of its batch*, so a decoder sees its quote open at the batch's end.
//!   Otherwise the line itself is too long: it is handed out up to its `\n` as `oversize` pieces of at
//!   most `max_record_bytes`, and never in one batch with anything else.
//!
//! Memory: one buffer of about `batch_bytes + max_record_bytes`, whatever the stream holds.

use std::io::{ErrorKind, Read};

use memchr::{memchr, memchr_iter, memrchr, memrchr2};

use crate::record::clear::wipe;
use crate::record::raw::{Framing, RawBatch};

/// Bounds of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes that a batch aims at; it ends at the last record that ends within them.
    pub batch_bytes: usize,
    /// Lines that a batch holds at most (but one record at least).
    pub batch_lines: usize,
    /// Bytes of one record at most, its line end included.
    pub max_record_bytes: usize,
}

/// The state between two batches. Holds clear bytes, so it has no `Debug` and is wiped when dropped.
pub struct Framer {
    framing: Framing,
    bounds: Bounds,
    /// Bytes read and not yet handed out; begins at a record (or inside an oversize one).
    buffer: Vec<u8>,
    offset: u64,
    line: u64,
    in_oversize: bool,
    /// The last byte handed out ended a line; true at the start.
    at_line_start: bool,
}

impl Framer {
    pub fn new(framing: Framing, bounds: Bounds) -> Framer {
        Framer::at(framing, bounds, 0, 0)
    }

    /// A framer whose next byte is the start of a record at `offset`, on zero-based line `line`.
    pub fn at(framing: Framing, bounds: Bounds, offset: u64, line: u64) -> Framer {
        let bounds = Bounds {
            batch_bytes: bounds.batch_bytes.max(1),
            batch_lines: bounds.batch_lines.max(1),
            max_record_bytes: bounds.max_record_bytes.max(1),
        };
        Framer { framing, bounds, buffer: Vec::new(), offset, line, in_oversize: false, at_line_start: true }
    }

    /// Offset of the next byte to be handed out: all before it stands in batches already returned.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Lines handed out, an unended last one counted.
    pub fn lines(&self) -> u64 {
        self.line + u64::from(!self.at_line_start)
    }

    /// Bytes read and not handed out yet.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next batch, `None` when `input` is at its end and nothing (whole) is left.
    ///
    /// `last` says that the end of `input` is the end of the stream; without it, an unended record
    /// waits for a later call (with the same or another `input`).
    pub fn next(&mut self, input: &mut dyn Read, last: bool) -> std::io::Result<Option<RawBatch>> {
        let mut want = self.first_want();
        loop {
            let ended = self.fill(input, want)?;
            if self.buffer.is_empty() {
                return Ok(None);
            }
            if self.in_oversize {
                if let Some(piece) = self.oversize_piece(ended && last) {
                    return Ok(Some(piece));
                }
            } else {
                match self.cut(ended && last) {
                    Cut::Batch(bytes) => return Ok(Some(self.take(bytes, false))),
                    Cut::TooLong => {
                        self.in_oversize = true;
                        continue;
                    }
                    Cut::More => {}
                }
            }
            if ended {
                return Ok(None);
            }
            // Doubling keeps the repeated look at one long record linear.
            want = self.buffer.len().saturating_mul(2).max(want);
        }
    }

    /// In an oversize record only a piece is wanted, so that the buffer runs empty again.
    fn first_want(&self) -> usize {
        if self.in_oversize { self.bounds.max_record_bytes } else { self.bounds.batch_bytes }
    }

    /// Reads until the buffer holds `want` bytes; true at the end of `input`.
    fn fill(&mut self, input: &mut dyn Read, want: usize) -> std::io::Result<bool> {
        const STEP: usize = 256 * 1024;
        while self.buffer.len() < want {
            let held = self.buffer.len();
            self.buffer.reserve_exact(want - held);
            self.buffer.resize(held + (want - held).min(STEP), 0);
            let read = read_some(input, &mut self.buffer[held..]);
            self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the batch at the start of the buffer ends. `last`: nothing follows the buffer.
    fn cut(&self, last: bool) -> Cut {
        let bytes = self.line_bounded(&self.buffer);
        let whole = bytes.len() == self.buffer.len();
        let mut at = 0;
        while at < bytes.len() {
            let window = &bytes[at..bytes.len().min(at + self.bounds.max_record_bytes)];
            if let Some(end) = self.last_end(window) {
                at += end;
                continue;
            }
            // One byte more than the bound must be there, or the end, before a record is judged.
            let full = bytes.len() > at + self.bounds.max_record_bytes;
            let at_end = whole && last;
            if !(full || at_end) {
                break;
            }
            return self.cut_endless(at, window, full);
        }
        if at > 0 {
            return Cut::Batch(at);
        }
        if whole { Cut::More } else { self.cut_long_first(last) }
    }

    /// The record at `at` has no end within its bound or the stream.
    fn cut_endless(&self, at: usize, window: &[u8], full: bool) -> Cut {
        match memchr(b'\n', window) {
            // The last record, without its line end but with others between its quotes.
            _ if !full && self.is_balanced(window) => Cut::Batch(at + window.len()),
            Some(newline) => Cut::Batch(at + newline + 1),
            None if !full => Cut::Batch(at + window.len()),
            None if at > 0 => Cut::Batch(at),
            None => Cut::TooLong,
        }
    }

    /// The first record alone has more lines than a batch should: it makes a batch of its own.
    fn cut_long_first(&self, last: bool) -> Cut {
        let window = &self.buffer[..self.buffer.len().min(self.bounds.max_record_bytes)];
        match self.first_end(window) {
            Some(end) => Cut::Batch(end),
            None if self.buffer.len() > window.len() => self.cut_endless(0, window, true),
            None if last => self.cut_endless(0, window, false),
            None => Cut::More,
        }
    }

    /// The start of `bytes` that holds at most `batch_lines` lines.
    fn line_bounded<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        // Counting is much cheaper than finding, and nearly always enough.
        if memchr_iter(b'\n', bytes).count() < self.bounds.batch_lines {
            return bytes;
        }
        match memchr_iter(b'\n', bytes).nth(self.bounds.batch_lines - 1) {
            Some(newline) => &bytes[..newline + 1],
            None => bytes,
        }
    }

    /// The end of the last record that ends within `bytes`, which begin at a record.
    fn last_end(&self, bytes: &[u8]) -> Option<usize> {
        let Framing::QuotedLines { quote } = self.framing else {
            return memrchr(b'\n', bytes).map(|at| at + 1);
        };
        let mut inside = memchr_iter(quote, bytes).count() % 2 == 1;
        let mut until = bytes.len();
        while let Some(at) = memrchr2(b'\n', quote, &bytes[..until]) {
            if bytes[at] == quote {
                inside = !inside;
            } else if !inside {
                return Some(at + 1);
            }
            until = at;
        }
        None
    }

    fn is_balanced(&self, bytes: &[u8]) -> bool {
        match self.framing {
            Framing::QuotedLines { quote } => memchr_iter(quote, bytes).count().is_multiple_of(2),
            Framing::Lines => true,
        }
    }

    /// The end of the first record within `bytes`, which begin at it.
    fn first_end(&self, bytes: &[u8]) -> Option<usize> {
        let Framing::QuotedLines { quote } = self.framing else {
            return memchr(b'\n', bytes).map(|at| at + 1);
        };
        let mut inside = false;
        for at in memchr::memchr2_iter(b'\n', quote, bytes) {
            if bytes[at] == quote {
                inside = !inside;
            } else if !inside {
                return Some(at + 1);
            }
        }
        None
    }

    /// The next piece of the oversize record at the start of the buffer.
    fn oversize_piece(&mut self, last: bool) -> Option<RawBatch> {
        let most = self.buffer.len().min(self.bounds.max_record_bytes);
        if let Some(newline) = memchr(b'\n', &self.buffer[..most]) {
            self.in_oversize = false;
            return Some(self.take(newline + 1, true));
        }
        if most == self.bounds.max_record_bytes || last {
            return Some(self.take(most, true));
        }
        None
    }

    /// Hands out the first `bytes` of the buffer.
    fn take(&mut self, bytes: usize, oversize: bool) -> RawBatch {
        let rest = self.buffer.len() - bytes;
        let taken = if rest <= bytes {
            let mut next = Vec::with_capacity(rest.max(self.bounds.batch_bytes));
            next.extend_from_slice(&self.buffer[bytes..]);
            self.buffer.truncate(bytes);
            std::mem::replace(&mut self.buffer, next)
        } else {
            let taken = self.buffer[..bytes].to_vec();
            self.buffer.drain(..bytes);
            taken
        };
        let mut batch = RawBatch::of_file(taken, self.offset, self.line);
        batch.oversize = oversize;
        self.offset += bytes as u64;
        self.line += memchr_iter(b'\n', &batch.bytes).count() as u64;
        self.at_line_start = batch.bytes.ends_with(b"\n");
        batch
    }
}

impl Drop for Framer {
    fn drop(&mut self) {
        wipe(&mut self.buffer);
    }
}

enum Cut {
    /// A batch of that many bytes.
    Batch(usize),
    /// The first record cannot be judged without more bytes.
    More,
    /// The first line alone breaks the bound.
    TooLong,
}

/// One read that a signal cannot fail.
fn read_some(input: &mut dyn Read, into: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match input.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests;
