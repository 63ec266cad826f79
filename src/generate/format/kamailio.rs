//! Kamailio `acc` flat store: `method|from_tag|to_tag|callid|code|reason|time|source|destination`.
//! An answered call is an INVITE row and, later, a BYE row; a failed one only the INVITE.

use super::{Row, mark};
use crate::generate::breakage::Marks;
use crate::generate::event::Event;
use crate::generate::notation::{self, Habit};
use crate::generate::random::Random;
use crate::generate::text;

/// What a BYE row repeats of its call.
pub struct Open {
    id: [u64; 2],
    end_s: i64,
}

impl Open {
    /// The call that this event opened, if it was answered.
    pub fn of(event: &Event) -> Option<Open> {
        let end_s = event.start_ms / 1000 + (event.ring_s + event.duration_s) as i64;
        event.answered.then_some(Open { id: event.id, end_s })
    }
}

pub fn invite(row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    let event = row.event;
    out.extend_from_slice(b"INVITE|");
    dialog(out, event.id, event.answered);
    let (code, reason) = status(event.cause, event.answered);
    text::uint(out, code);
    out.push(b'|');
    out.extend_from_slice(reason);
    out.push(b'|');
    marks.time = mark(out, |o| text::int(o, event.start_ms / 1000));
    out.push(b'|');
    notation::peer(out, event.a, Habit::Mixed, row.home, random);
    out.push(b'|');
    marks.number = mark(out, |o| notation::peer(o, event.b, Habit::Mixed, row.home, random));
}

pub fn bye(open: &Open, out: &mut Vec<u8>, marks: &mut Marks) {
    out.extend_from_slice(b"BYE|");
    dialog(out, open.id, true);
    out.extend_from_slice(b"200|OK|");
    marks.time = mark(out, |o| text::int(o, open.end_s));
    out.push(b'|');
    marks.number = out.len()..out.len();
    out.push(b'|');
}

/// From-tag, to-tag (empty when nothing answered) and call id.
fn dialog(out: &mut Vec<u8>, id: [u64; 2], answered: bool) {
    text::hex(out, id[0], 8);
    out.push(b'|');
    if answered {
        text::hex(out, id[1], 8);
    }
    out.push(b'|');
    text::hex(out, id[0], 16);
    text::hex(out, id[1], 16);
    out.extend_from_slice(b"@192.0.2.10|");
}

fn status(cause: u64, answered: bool) -> (u64, &'static [u8]) {
    match cause {
        _ if answered => (200, b"OK"),
        1 => (404, b"Not Found"),
        17 => (486, b"Busy here"),
        18 => (408, b"Request Timeout"),
        19 => (487, b"Request Terminated"),
        20 => (480, b"Temporarily Unavailable"),
        21 => (603, b"Decline"),
        _ => (503, b"Service Unavailable"),
    }
}
