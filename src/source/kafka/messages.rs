//! The bytes of messages: unpacked within bounds, put side by side into batches, cut when long.
//!
//! No message stops the flow. One that cannot be unpacked has a [`Reason`], and goes on as it
//! arrived, to be sealed. Nothing here knows a broker: payloads come in as bytes.

use std::io::Read;

use memchr::memchr_iter;
use zeroize::Zeroize;

use crate::record::raw::{Framing, Holds, MessageMark, RawBatch};
use crate::record::reject::Reason;
use crate::source::Limits;
use crate::source::compression::{Compression, is_window_too_large};
use crate::source::framing::Framer;

/// Unpacked bytes from which the ratio of a message is judged: small blocks of equal records pack well.
const RATIO_FROM_BYTES: u64 = 1 << 20;
/// Room that is kept from one unpacked message to the next.
const KEPT_ROOM: usize = 4 << 20;

impl Limits {
    /// The bounds of files, with those for one unpacked message in place of a whole archive.
    pub fn of_messages(self, max_message_bytes: usize) -> Limits {
        Limits { ratio_from_bytes: RATIO_FROM_BYTES, max_decompressed_bytes: max_message_bytes as u64, ..self }
    }
}

/// Undoes the compression of one message after the other. Holds clear bytes, so it has no `Debug`.
pub struct Unpacker {
    limits: Limits,
    bytes: Vec<u8>,
}

impl Unpacker {
    pub fn new(limits: Limits) -> Unpacker {
        Unpacker { limits, bytes: Vec::new() }
    }

    /// The bytes of a message, packed or not. The work is bounded whatever an archive claims.
    pub fn unpack<'a>(&'a mut self, payload: &'a [u8]) -> Result<&'a [u8], Reason> {
        match Compression::detect(payload) {
            Compression::Plain if payload.len() as u64 > self.limits.max_decompressed_bytes => {
                Err(Reason::MessageTooLong)
            }
            Compression::Plain => Ok(payload),
            Compression::Unsupported(_) => Err(Reason::MessageUnsupported),
            archive => self.unpack_archive(archive, payload),
        }
    }

    fn unpack_archive(&mut self, archive: Compression, payload: &[u8]) -> Result<&[u8], Reason> {
        let Limits { max_ratio, ratio_from_bytes, max_decompressed_bytes, .. } = self.limits;
        let by_ratio = (payload.len() as u64).saturating_mul(max_ratio).max(ratio_from_bytes);
        let most = by_ratio.min(max_decompressed_bytes);
        self.wipe();
        let read = archive.reader(payload).and_then(|input| {
            // One byte more shows that there is more.
            input.take(most.saturating_add(1)).read_to_end(&mut self.bytes)
        });
        match read {
            Ok(bytes) if bytes as u64 > most => Err(Reason::MessageBomb),
            Ok(_) => Ok(&self.bytes),
            Err(error) if is_window_too_large(&error) => Err(Reason::MessageUnsupported),
            Err(_) => Err(Reason::MessageDamaged),
        }
    }

    /// Bytes that the last archive was unpacked to, refused or not.
    pub fn work(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the last message.
    pub fn wipe(&mut self) {
        self.bytes.zeroize();
        self.bytes.shrink_to(KEPT_ROOM);
    }
}

/// Messages side by side, on their way into one batch. No `Debug`: clear bytes.
#[derive(Default)]
pub struct Collecting {
    bytes: Vec<u8>,
    messages: Vec<MessageMark>,
    /// Bytes and messages of the batch before this one: about as many will come again.
    before: (usize, usize),
}

impl Collecting {
    /// Adds a message (without what stood before line `first_line`, from 0).
    pub fn push(&mut self, offset: i64, first_line: u32, holds: Holds, body: &[u8]) {
        if self.messages.is_empty() {
            self.bytes.reserve(self.before.0);
            self.messages.reserve(self.before.1);
        }
        self.messages.push(MessageMark { start: self.bytes.len() as u32, first_line, offset, holds });
        self.bytes.extend_from_slice(body);
        // Between two messages there is always a byte that neither text nor UTF-8 runs across. What
        // is sealed as it arrived stays so.
        if !matches!(holds, Holds::Refused(_)) && body.last().is_some_and(|last| *last != b'\n') {
            self.bytes.push(b'\n');
        }
    }

    /// What was added since the last time, if anything was.
    pub fn take(&mut self) -> Option<RawBatch> {
        if self.messages.is_empty() {
            return None;
        }
        self.before = (self.bytes.len(), self.messages.len());
        let messages = std::mem::take(&mut self.messages);
        let mut batch = RawBatch::of_file(std::mem::take(&mut self.bytes), 0, 0);
        batch.messages = messages;
        Some(batch)
    }

    /// Forgets what was added since the last time.
    pub fn clear(&mut self) {
        self.bytes.zeroize();
        self.messages.clear();
    }
}

/// Lines of a message, an unended last one counted; at least one.
pub fn lines(body: &[u8]) -> usize {
    let ended = memchr_iter(b'\n', body).count();
    (ended + usize::from(!body.ends_with(b"\n"))).max(1)
}

/// Cuts a message that is too long for a batch, exactly as a file of these bytes is cut. The second
/// of a pair says that the batch goes on with a record too long to be one.
pub fn cut(
    offset: i64,
    first_line: u32,
    mut body: &[u8],
    framing: Framing,
    limits: Limits,
) -> impl Iterator<Item = (RawBatch, bool)> {
    let mut framer = Framer::new(framing, limits.bounds());
    let mut oversize = None;
    std::iter::from_fn(move || {
        let mut batch = framer.next(&mut body, true).expect("bytes in memory can be read")?;
        let continuation = batch.oversize && oversize == Some(batch.first_line);
        oversize = batch.oversize.then_some(batch.first_line);
        let first_line = first_line.saturating_add(batch.first_line as u32);
        (batch.offset, batch.first_line) = (0, 0);
        batch.messages = vec![MessageMark { start: 0, first_line, offset, holds: Holds::Part }];
        Some((batch, continuation))
    })
}
