//! Asterisk `cdr_csv`: 18 columns in the default order, local time, every text quoted.

use super::{Row, mark};
use crate::generate::breakage::Marks;
use crate::generate::event::Peer;
use crate::generate::notation::{self, Habit};
use crate::generate::random::Random;
use crate::generate::text;

pub fn row(row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    let (event, id) = (row.event, row.event.id[0]);
    out.extend_from_slice(b"\"\",\"");
    let source = mark(out, |o| notation::peer(o, event.a, Habit::Digits, row.home, random));
    out.extend_from_slice(b"\",\"");
    marks.number = mark(out, |o| notation::peer(o, event.b, Habit::Digits, row.home, random));
    out.extend_from_slice(b"\",\"from-internal\",\"\"\"");
    // display name and number, as in `"Name" <number>`
    out.extend_from_slice(if event.a == Peer::Withheld { b"Anonymous".as_slice() } else { b"Subscriber".as_slice() });
    out.extend_from_slice(b"\"\" <");
    out.extend_from_within(source);
    out.extend_from_slice(b">\",\"PJSIP/trunk-");
    text::hex(out, id, 8);
    out.extend_from_slice(b"\",\"PJSIP/peer-");
    text::hex(out, id >> 32, 8);
    out.extend_from_slice(b"\",\"Dial\",\"PJSIP/");
    out.extend_from_within(marks.number.clone());
    out.extend_from_slice(b"@peer,60,tT\",\"");
    let local_ms = event.start_ms + i64::from(event.offset_s) * 1000;
    let answer_ms = local_ms + event.ring_s as i64 * 1000;
    marks.time = mark(out, |o| text::date_time(o, local_ms, b' '));
    out.extend_from_slice(b"\",\"");
    if event.answered {
        text::date_time(out, answer_ms, b' ');
    }
    out.extend_from_slice(b"\",\"");
    text::date_time(out, answer_ms + event.duration_s as i64 * 1000, b' ');
    out.extend_from_slice(b"\",");
    text::uint(out, event.ring_s + event.duration_s);
    out.push(b',');
    text::uint(out, event.duration_s);
    out.extend_from_slice(b",\"");
    out.extend_from_slice(disposition(event.answered, event.cause));
    out.extend_from_slice(b"\",\"DOCUMENTATION\",\"");
    text::int(out, event.start_ms / 1000);
    out.push(b'.');
    text::uint(out, row.number);
    out.extend_from_slice(b"\",\"\"");
}

fn disposition(answered: bool, cause: u64) -> &'static [u8] {
    match cause {
        _ if answered => b"ANSWERED",
        17 => b"BUSY",
        18..=21 => b"NO ANSWER",
        _ => b"FAILED",
    }
}
