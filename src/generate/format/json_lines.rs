//! JSON lines: one object per record, keys named as our canonical fields; absent values left out.

use super::{Row, generic, mark};
use crate::generate::breakage::Marks;
use crate::generate::notation::{self, Habit};
use crate::generate::random::Random;
use crate::generate::text;
use crate::record::clear::Service;
use crate::record::field::Field;

pub fn row(row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    let event = row.event;
    out.push(b'{');
    marks.time = quoted(out, Field::Start, |o| {
        text::date_time(o, event.start_ms, b'T');
        o.push(b'Z');
    });
    quoted(out, Field::Service, |o| o.extend_from_slice(event.service.name().as_bytes()));
    marks.number = quoted(out, Field::ANumber, |o| notation::peer(o, event.a, Habit::Mixed, row.home, random));
    if event.service != Service::Data {
        quoted(out, Field::Direction, |o| o.extend_from_slice(event.direction.name().as_bytes()));
        marks.number = quoted(out, Field::BNumber, |o| notation::peer(o, event.b, Habit::Mixed, row.home, random));
    }
    if let Some(line) = event.c {
        quoted(out, Field::CNumber, |o| notation::e164(o, line));
    }
    if let Some(served) = &event.served {
        quoted(out, Field::Imsi, |o| text::padded(o, served.imsi, 15));
        quoted(out, Field::Imei, |o| notation::imei(o, served.imei14, random));
        quoted(out, Field::Cell, |o| generic::cell(o, served));
        quoted(out, Field::Network, |o| generic::network(o, served));
    }
    service_fields(row, out);
    if let Some(trunk) = &event.trunk_in {
        quoted(out, Field::TrunkIn, |o| generic::trunk(o, trunk));
    }
    if let Some(trunk) = &event.trunk_out {
        quoted(out, Field::TrunkOut, |o| generic::trunk(o, trunk));
    }
    if let Some(charge) = event.charge {
        bare(out, Field::Charge, |o| text::money(o, charge));
        quoted(out, Field::Currency, |o| o.extend_from_slice(row.home.currency.as_bytes()));
    }
    out.pop();
    out.push(b'}');
}

fn service_fields(row: &Row, out: &mut Vec<u8>) {
    let event = row.event;
    match (event.service, &event.served) {
        (Service::Voice, _) => {
            bare(out, Field::Duration, |o| text::uint(o, event.duration_s));
            let answered: &[u8] = if event.answered { b"true" } else { b"false" };
            bare(out, Field::Answered, |o| o.extend_from_slice(answered));
            bare(out, Field::Cause, |o| text::uint(o, event.cause));
        }
        (Service::Data, Some(served)) => {
            quoted(out, Field::Address, |o| generic::address(o, &served.address));
            bare(out, Field::Duration, |o| text::uint(o, event.duration_s));
            bare(out, Field::BytesUp, |o| text::uint(o, event.bytes_up));
            bare(out, Field::BytesDown, |o| text::uint(o, event.bytes_down));
        }
        _ => {}
    }
}

fn quoted(out: &mut Vec<u8>, field: Field, write: impl FnOnce(&mut Vec<u8>)) -> std::ops::Range<usize> {
    key(out, field);
    out.push(b'"');
    let written = mark(out, write);
    out.extend_from_slice(b"\",");
    written
}

fn bare(out: &mut Vec<u8>, field: Field, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, field);
    write(out);
    out.push(b',');
}

fn key(out: &mut Vec<u8>, field: Field) {
    out.push(b'"');
    out.extend_from_slice(field.name().as_bytes());
    out.extend_from_slice(b"\":");
}
