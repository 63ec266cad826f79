//! Messages of one partition to batches with their decoder.
//!
//! Messages whose records are read alike (the same header line, the same layout) share a batch, so
//! that a header is parsed once. A message that cannot be read at all is one refused record with a
//! reason of its own; nothing that arrives is an error.

use crate::decode::file::FileDecoder;
use crate::decode::mapping::Mapping;
use crate::decode::open::OpenError;
use crate::record::raw::{Holds, RawBatch};
use crate::record::reject::Reason;
use crate::source::Limits;
use crate::source::kafka::messages::{Collecting, Unpacker, cut, lines};
use std::sync::Arc;

/// Kinds of message that are kept apart; beyond it, the one used longest ago makes room.
const KINDS: usize = 16;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A batch and what it is decoded with. `Engine::submit` takes it as `Work::Raw(batch, decoder)`.
pub struct Piece {
    pub batch: RawBatch,
    pub decoder: Arc<FileDecoder>,
    /// A later piece of a record too long to be one: sealed, but not counted again.
    pub continuation: bool,
}

/// What was pushed since the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Offset of the first message.
    pub first: i64,
    /// Offset behind the last message.
    pub next: i64,
    pub messages: u64,
    /// Unpacked, headers included.
    pub bytes: u64,
    /// Newest timestamp of a message, as its producer or the broker set it.
    pub newest_ms: Option<i64>,
}

/// Collects the messages of one partition of one feed.
pub struct Assembler {
    unpacker: Unpacker,
    shelf: Shelf,
    stretch: Option<Stretch>,
}

impl Assembler {
    /// `columns` are those of delimited messages without a header line; empty: each message begins
    /// with its own, if the mapping has headers at all. `limits` as [`Limits::of_messages`] makes them.
    pub fn new(mapping: &Mapping, columns: &[String], limits: Limits) -> Result<Assembler, OpenError> {
        Ok(Assembler { unpacker: Unpacker::new(limits), shelf: Shelf::new(mapping, columns, limits)?, stretch: None })
    }

    /// Takes one message; `None` is a tombstone. Batches that are full go to `ready`.
    pub fn push(&mut self, offset: i64, payload: Option<&[u8]>, timestamp_ms: Option<i64>, ready: &mut Vec<Piece>) {
        let payload = payload.unwrap_or_default();
        let bytes = match self.unpacker.unpack(payload) {
            Ok(message) => {
                self.shelf.place(offset, message, payload, ready);
                message.len()
            }
            Err(reason) => {
                self.shelf.refuse(offset, payload, reason, ready);
                payload.len()
            }
        };
        let stretch =
            self.stretch.get_or_insert(Stretch { first: offset, next: offset, messages: 0, bytes: 0, newest_ms: None });
        stretch.next = offset + 1;
        stretch.messages += 1;
        stretch.bytes += bytes as u64;
        stretch.newest_ms = stretch.newest_ms.max(timestamp_ms);
    }

    /// Hands out all that is held. Then every message pushed so far is in a piece. `None`: nothing
    /// was pushed since the last flush.
    pub fn flush(&mut self, ready: &mut Vec<Piece>) -> Option<Stretch> {
        self.unpacker.wipe();
        self.shelf.hand_out(ready);
        self.stretch.take()
    }

    /// Forgets all that is held: the partition is another's now.
    pub fn clear(&mut self) {
        self.unpacker.wipe();
        self.shelf.kinds.iter_mut().for_each(|kind| kind.held.clear());
        (self.shelf.held_bytes, self.shelf.held_lines) = (0, 0);
        self.stretch = None;
    }

    /// Bytes held for a batch that is not full yet.
    pub fn held_bytes(&self) -> usize {
        self.shelf.held_bytes
    }
}

/// How it is told which kind a message is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sorting {
    /// There is one.
    One,
    /// By the layout of its first record that decides.
    Layout,
    /// By its header line.
    Header,
}

/// Messages by kind. The first kind is of those without a record to read: refused, or empty.
struct Shelf {
    mapping: Mapping,
    limits: Limits,
    sorting: Sorting,
    kinds: Vec<Kind>,
    held_bytes: usize,
    held_lines: usize,
    /// Counts uses, so that the kind used longest ago is known.
    turn: u64,
}

/// Messages that one decoder reads.
struct Kind {
    decoder: Arc<FileDecoder>,
    /// The header record, and all that stood before the records of the last message of this kind.
    header: Vec<u8>,
    head: Vec<u8>,
    head_lines: u32,
    held: Collecting,
    used: u64,
}

impl Kind {
    fn new(decoder: FileDecoder, header: &[u8]) -> Kind {
        Kind {
            decoder: Arc::new(decoder),
            header: header.to_vec(),
            head: Vec::new(),
            head_lines: 0,
            held: Collecting::default(),
            used: 0,
        }
    }
}

impl Shelf {
    fn new(mapping: &Mapping, columns: &[String], limits: Limits) -> Result<Shelf, OpenError> {
        let mut kinds = vec![Kind::new(mapping.open(b"")?, b"")];
        let sorting = if !columns.is_empty() {
            kinds.push(Kind::new(mapping.open_columns(columns)?, b""));
            Sorting::One
        } else if mapping.has_header() {
            Sorting::Header
        } else {
            for layout in 0..mapping.layouts() {
                kinds.push(Kind::new(mapping.open_layout(layout)?, b""));
            }
            if mapping.layouts() > 1 { Sorting::Layout } else { Sorting::One }
        };
        let mapping = mapping.clone();
        Ok(Shelf { mapping, limits, sorting, kinds, held_bytes: 0, held_lines: 0, turn: 0 })
    }

    /// Puts a message to those of its kind. `payload` is the message as it arrived.
    fn place(&mut self, offset: i64, message: &[u8], payload: &[u8], ready: &mut Vec<Piece>) {
        let message = message.strip_prefix(BYTE_ORDER_MARK).unwrap_or(message);
        match self.sorting {
            Sorting::One if self.mapping.is_document(message) => match message.len() {
                len if len > self.limits.max_record_bytes => self.refuse(offset, payload, Reason::RecordTooLong, ready),
                _ => self.add(1, offset, 0, Holds::Document, message, ready),
            },
            Sorting::One => self.add(1, offset, 0, Holds::Records, message, ready),
            Sorting::Layout => {
                let layout = self.mapping.layout_of(message);
                self.add(1 + layout, offset, 0, Holds::Records, message, ready);
            }
            Sorting::Header => {
                if let Some(kind) = self.known_head(message) {
                    let (bytes, lines) = (self.kinds[kind].head.len(), self.kinds[kind].head_lines);
                    return self.add(kind, offset, lines, Holds::Records, &message[bytes..], ready);
                }
                self.place_by_header(offset, message, payload, ready);
            }
        }
    }

    /// The kind of a message that begins exactly as one before it did.
    fn known_head(&self, message: &[u8]) -> Option<usize> {
        let known = |kind: &Kind| !kind.head.is_empty() && message.starts_with(&kind.head);
        self.kinds.iter().position(known)
    }

    fn place_by_header(&mut self, offset: i64, message: &[u8], payload: &[u8], ready: &mut Vec<Piece>) {
        let Some(row) = self.mapping.header_row(message) else {
            return self.add(0, offset, 0, Holds::Records, b"", ready);
        };
        let header = row.span.of(message);
        let known = self.kinds.iter().skip(1).position(|kind| kind.header == header).map(|at| at + 1);
        let kind = match known {
            Some(kind) => kind,
            None => match self.mapping.open_header(header) {
                Ok(decoder) => self.new_kind(Kind::new(decoder, header), ready),
                Err(_) => return self.refuse(offset, payload, Reason::MessageHeader, ready),
            },
        };
        let (head, body) = message.split_at(row.body);
        // Without its line end a header would also begin a longer one.
        if head.ends_with(b"\n") {
            self.kinds[kind].head.clear();
            self.kinds[kind].head.extend_from_slice(head);
            self.kinds[kind].head_lines = row.lines;
        }
        self.add(kind, offset, row.lines, Holds::Records, body, ready);
    }

    fn new_kind(&mut self, kind: Kind, ready: &mut Vec<Piece>) -> usize {
        if self.kinds.len() <= KINDS {
            self.kinds.push(kind);
            return self.kinds.len() - 1;
        }
        self.hand_out(ready);
        let oldest = (1..self.kinds.len()).min_by_key(|at| self.kinds[*at].used).unwrap_or(1);
        self.kinds[oldest] = kind;
        oldest
    }

    fn refuse(&mut self, offset: i64, payload: &[u8], reason: Reason, ready: &mut Vec<Piece>) {
        self.add(0, offset, 0, Holds::Refused(reason), payload, ready);
    }

    fn add(&mut self, kind: usize, offset: i64, first_line: u32, holds: Holds, body: &[u8], ready: &mut Vec<Piece>) {
        let lines = if matches!(holds, Holds::Refused(_)) { 1 } else { lines(body) };
        let Limits { batch_bytes, batch_lines, max_record_bytes, .. } = self.limits;
        if self.held_bytes + body.len() > batch_bytes || self.held_lines + lines > batch_lines {
            self.hand_out(ready);
        }
        let long = body.len() > max_record_bytes || lines > batch_lines;
        if holds == Holds::Records && long {
            let framing = self.mapping.framing();
            let decoder = &self.kinds[kind].decoder;
            ready.extend(cut(offset, first_line, body, framing, self.limits).map(|(batch, continuation)| Piece {
                batch,
                decoder: Arc::clone(decoder),
                continuation,
            }));
            return;
        }
        self.turn += 1;
        let kind = &mut self.kinds[kind];
        kind.used = self.turn;
        kind.held.push(offset, first_line, holds, body);
        self.held_bytes += body.len();
        self.held_lines += lines;
    }

    fn hand_out(&mut self, ready: &mut Vec<Piece>) {
        for kind in &mut self.kinds {
            if let Some(batch) = kind.held.take() {
                ready.push(Piece { batch, decoder: Arc::clone(&kind.decoder), continuation: false });
            }
        }
        (self.held_bytes, self.held_lines) = (0, 0);
    }
}

#[cfg(test)]
mod tests;
