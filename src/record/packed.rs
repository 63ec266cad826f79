//! The exact canonical record in a packed binary form: what `evidence` seals by default.
//!
//! Version 1, all integers little-endian LEB128 unless said otherwise:
//! version (1 byte), service, direction, answered, cause, flags (1 byte each; flag 1 = sensitive,
//! 2 = restricted), start (zigzag ms), duration + 1 s (0 absent), bytes up + 1, bytes down + 1,
//! charge (zigzag millionths, + 1 after zigzag, 0 absent), currency (3 bytes, only with a charge),
//! network, home network, then per party kind (1 byte) and, if hashed, length and canonical form,
//! then cell, trunk in, trunk out (length + 1 and bytes, 0 absent).

use super::clear::{ABSENT_I64, ABSENT_U32, ABSENT_U64, Clear};
use super::decoded::Span;
use super::identifier::{Kind, Party};

pub const VERSION: u8 = 1;

/// Appends row `row` of `clear` to `out`.
pub fn pack(clear: &Clear, row: usize, out: &mut Vec<u8>) {
    let flags = u8::from(clear.sensitive[row]) | u8::from(clear.restricted[row]) << 1;
    // Fixed-size fields first go into a buffer on the stack: one bounds check instead of forty.
    let mut head = Head { bytes: [0; HEAD], len: 0 };
    for byte in [
        VERSION,
        clear.service[row] as u8,
        clear.direction[row] as u8,
        clear.answered[row] as u8,
        clear.cause[row] as u8,
        flags,
    ] {
        head.push(byte);
    }
    head.varint(zigzag(clear.start_ms[row]));
    let duration = clear.duration_s[row];
    head.varint(if duration == ABSENT_U32 { 0 } else { u64::from(duration) + 1 });
    for volume in [clear.bytes_up[row], clear.bytes_down[row]] {
        head.varint(if volume == ABSENT_U64 { 0 } else { volume + 1 });
    }
    if clear.charge_micro[row] == ABSENT_I64 {
        head.varint(0);
    } else {
        head.varint(zigzag(clear.charge_micro[row]) + 1);
        clear.currency[row].iter().for_each(|b| head.push(*b));
    }
    head.varint(u64::from(clear.network[row].0));
    head.varint(u64::from(clear.home_network[row].0));
    out.extend_from_slice(&head.bytes[..head.len]);
    for party in Party::ALL {
        let kind = clear.parties[party as usize].kinds[row];
        if kind.is_hashed() {
            let id = clear.identifier(party, row);
            if id.len() < 0x80 {
                out.extend_from_slice(&[kind as u8, id.len() as u8]);
            } else {
                out.push(kind as u8);
                varint(id.len() as u64, out);
            }
            out.extend_from_slice(id);
        } else {
            out.push(kind as u8);
        }
    }
    for span in [clear.cell[row], clear.trunk_in[row], clear.trunk_out[row]] {
        if span.is_none() {
            out.push(0);
        } else {
            varint(u64::from(span.len) + 1, out);
            out.extend_from_slice(span.of(&clear.text));
        }
    }
}

/// Six bytes, seven numbers of at most ten, a currency.
const HEAD: usize = 6 + 7 * 10 + 3;

struct Head {
    bytes: [u8; HEAD],
    len: usize,
}

impl Head {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.push(v as u8);
    }
}

/// One unpacked record. No `Debug`: it is clear.
#[derive(PartialEq)]
pub struct Unpacked {
    pub service: u8,
    pub direction: u8,
    pub answered: u8,
    pub cause: u8,
    pub sensitive: bool,
    pub restricted: bool,
    pub start_ms: i64,
    pub duration_s: Option<u64>,
    pub bytes_up: Option<u64>,
    pub bytes_down: Option<u64>,
    pub charge_micro: Option<i64>,
    pub currency: [u8; 3],
    pub network: u32,
    pub home_network: u32,
    pub parties: [(Kind, Vec<u8>); Party::COUNT],
    pub cell: Option<Vec<u8>>,
    pub trunk_in: Option<Vec<u8>>,
    pub trunk_out: Option<Vec<u8>>,
}

/// Reads what `pack` wrote; `None` for anything else. Total: never panics.
pub fn unpack(bytes: &[u8]) -> Option<Unpacked> {
    let mut r = Reader(bytes);
    let head: [u8; 6] = r.take(6)?.try_into().ok()?;
    if head[0] != VERSION {
        return None;
    }
    let start_ms = unzigzag(r.varint()?);
    let mut optional = || Some(r.varint()?.checked_sub(1));
    let (duration_s, bytes_up, bytes_down) = (optional()?, optional()?, optional()?);
    let charge_micro = optional()?.map(unzigzag);
    let currency = if charge_micro.is_some() { r.take(3)?.try_into().ok()? } else { [0; 3] };
    let network = u32::try_from(r.varint()?).ok()?;
    let home_network = u32::try_from(r.varint()?).ok()?;
    let mut party = || {
        let kind = Kind::from_byte(r.take(1)?[0])?;
        let id = if kind.is_hashed() { r.counted()?.to_vec() } else { Vec::new() };
        Some((kind, id))
    };
    let parties = [party()?, party()?, party()?, party()?, party()?, party()?];
    let mut text = || match r.varint()?.checked_sub(1) {
        None => Some(None),
        Some(n) => Some(Some(r.take(usize::try_from(n).ok()?)?.to_vec())),
    };
    let (cell, trunk_in, trunk_out) = (text()?, text()?, text()?);
    if !r.0.is_empty() {
        return None;
    }
    Some(Unpacked {
        service: head[1],
        direction: head[2],
        answered: head[3],
        cause: head[4],
        sensitive: head[5] & 1 != 0,
        restricted: head[5] & 2 != 0,
        start_ms,
        duration_s,
        bytes_up,
        bytes_down,
        charge_micro,
        currency,
        network,
        home_network,
        parties,
        cell,
        trunk_in,
        trunk_out,
    })
}

/// Appends identity bytes: class (1) ‖ canonical form.
pub fn pack_identity(kind: Kind, canonical: &[u8], out: &mut Vec<u8>) {
    out.push(kind as u8);
    out.extend_from_slice(canonical);
}

fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

fn varint(mut v: u64, out: &mut Vec<u8>) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let n = usize::try_from(self.varint()?).ok()?;
        self.take(n)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

/// `Span::NONE` for an empty text, else the span it will have at the end of `text`.
#[inline]
pub fn append(text: &mut Vec<u8>, bytes: &[u8]) -> Span {
    if bytes.is_empty() {
        return Span::NONE;
    }
    let span = Span { start: text.len() as u32, len: bytes.len() as u32 };
    text.extend_from_slice(bytes);
    span
}
