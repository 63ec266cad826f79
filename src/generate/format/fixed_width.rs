//! Fixed width: one header, call rows, one trailer with the row count and the first and last time.
//!
//! A call row has 223 characters, the gaps filled with blanks: 0 `CDR`, 3 row number (7),
//! 14 start `YYYYMMDDhhmmss` local (14), 30 A number (19), 52 B number (28), 80 route (3),
//! 127 seconds (6), 146 bearer (4), 199 zone (3), 203 charge in ten-thousandths (10),
//! 213 `Y` answered or `N`.

use super::{Row, mark};
use crate::generate::breakage::Marks;
use crate::generate::notation::{self, Habit};
use crate::generate::random::Random;
use crate::generate::text;

const ROW: usize = 223;
const HEAD: usize = 155;

pub fn row(row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    let (event, base) = (row.event, out.len());
    let to = |column: usize, out: &mut Vec<u8>| out.resize(base + column, b' ');
    out.extend_from_slice(b"CDR");
    text::padded(out, (row.number + 1) % 10_000_000, 7);
    to(14, out);
    let local_ms = event.start_ms + i64::from(event.offset_s) * 1000;
    marks.time = mark(out, |o| text::compact_date_time(o, local_ms));
    to(30, out);
    notation::peer(out, event.a, Habit::Digits, row.home, random);
    to(52, out);
    marks.number = mark(out, |o| notation::peer(o, event.b, Habit::Digits, row.home, random));
    to(80, out);
    out.extend_from_slice(if event.trunk_out.is_some() { b"001" } else { b"004" });
    to(127, out);
    text::padded(out, event.duration_s, 6);
    to(146, out);
    out.extend_from_slice(b"ISDN");
    to(199, out);
    out.extend_from_slice(b"NAT");
    to(203, out);
    text::padded(out, event.charge.unwrap_or(0), 10);
    out.push(if event.answered { b'Y' } else { b'N' });
    to(ROW, out);
}

pub fn header(out: &mut Vec<u8>, ms: i64) {
    let base = out.len();
    out.extend_from_slice(b"HDR0001CDRVEIL  GENERATED");
    out.resize(base + 135, b' ');
    text::compact_date_time(out, ms);
    out.resize(base + HEAD, b' ');
    out.push(b'\n');
}

pub fn trailer(out: &mut Vec<u8>, rows: u64, ms: i64) {
    let base = out.len();
    out.extend_from_slice(b"TRL0001CDRVEIL  GENERATED");
    out.resize(base + 135, b' ');
    text::compact_date_time(out, ms);
    text::padded(out, rows, 10);
    out.push(b'\n');
}
