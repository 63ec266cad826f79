//! FreeSWITCH `mod_cdr_csv`, the template "example": 15 columns, local time, no header. The
//! template has a space before the account code.

use super::{Row, mark};
use crate::generate::breakage::Marks;
use crate::generate::notation::{self, Habit};
use crate::generate::random::Random;
use crate::generate::text;

pub fn row(row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    let event = row.event;
    out.extend_from_slice(b"\"Subscriber\",\"");
    notation::peer(out, event.a, Habit::Mixed, row.home, random);
    out.extend_from_slice(b"\",\"");
    marks.number = mark(out, |o| notation::peer(o, event.b, Habit::Mixed, row.home, random));
    out.extend_from_slice(b"\",\"public\",\"");
    let local_ms = event.start_ms + i64::from(event.offset_s) * 1000;
    let answer_ms = local_ms + event.ring_s as i64 * 1000;
    marks.time = mark(out, |o| text::date_time(o, local_ms, b' '));
    out.extend_from_slice(b"\",\"");
    if event.answered {
        text::date_time(out, answer_ms, b' ');
    }
    out.extend_from_slice(b"\",\"");
    text::date_time(out, answer_ms + event.duration_s as i64 * 1000, b' ');
    out.extend_from_slice(b"\",\"");
    text::uint(out, event.ring_s + event.duration_s);
    out.extend_from_slice(b"\",\"");
    text::uint(out, event.duration_s);
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(hangup_cause(event.cause));
    out.extend_from_slice(b"\",\"");
    text::uuid(out, event.id[0], event.id[1]);
    out.extend_from_slice(b"\",\"");
    if event.answered {
        text::uuid(out, event.id[1], event.id[0]);
    }
    out.extend_from_slice(b"\", \"\",\"PCMA\",\"PCMA\"");
}

fn hangup_cause(cause: u64) -> &'static [u8] {
    match cause {
        1 => b"UNALLOCATED_NUMBER",
        16 => b"NORMAL_CLEARING",
        17 => b"USER_BUSY",
        18 => b"NO_USER_RESPONSE",
        19 => b"NO_ANSWER",
        20 => b"SUBSCRIBER_ABSENT",
        21 => b"CALL_REJECTED",
        34 => b"NORMAL_CIRCUIT_CONGESTION",
        _ => b"NETWORK_OUT_OF_ORDER",
    }
}
