//! Our own documented CSV: headed, UTC times in RFC 3339.

use super::{Row, mark};
use crate::generate::breakage::Marks;
use crate::generate::event::Served;
use crate::generate::notation::{self, Habit};
use crate::generate::random::Random;
use crate::generate::subscriber::Address;
use crate::generate::text;

pub const VOICE_HEADER: &[u8] = b"start,a_number,b_number,c_number,imsi,imei,direction,duration,answered,cause,cell,network,trunk_in,trunk_out,charge,currency\n";
pub const SMS_HEADER: &[u8] = b"start,a_number,b_number,imsi,imei,direction,cell,network,charge,currency\n";
pub const DATA_HEADER: &[u8] =
    b"start,a_number,imsi,imei,address,duration,bytes_up,bytes_down,cell,network,charge,currency\n";

pub fn voice(row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    let event = row.event;
    start(row, out, marks);
    notation::peer(out, event.a, Habit::Mixed, row.home, random);
    out.push(b',');
    marks.number = mark(out, |o| notation::peer(o, event.b, Habit::Mixed, row.home, random));
    out.push(b',');
    if let Some(line) = event.c {
        notation::number(out, line, Habit::Mixed, row.home, random);
    }
    out.push(b',');
    sim_and_phone(event.served.as_ref(), out, random);
    out.extend_from_slice(event.direction.name().as_bytes());
    out.push(b',');
    text::uint(out, event.duration_s);
    out.extend_from_slice(if event.answered { b",true," } else { b",false," });
    text::uint(out, event.cause);
    out.push(b',');
    place(event.served.as_ref(), out);
    for trunk in [&event.trunk_in, &event.trunk_out] {
        if let Some(trunk) = trunk {
            self::trunk(out, trunk);
        }
        out.push(b',');
    }
    charge(row, out);
}

pub fn sms(row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    let event = row.event;
    start(row, out, marks);
    notation::peer(out, event.a, Habit::Mixed, row.home, random);
    out.push(b',');
    marks.number = mark(out, |o| notation::peer(o, event.b, Habit::Mixed, row.home, random));
    out.push(b',');
    sim_and_phone(event.served.as_ref(), out, random);
    out.extend_from_slice(event.direction.name().as_bytes());
    out.push(b',');
    place(event.served.as_ref(), out);
    charge(row, out);
}

pub fn data(row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    let event = row.event;
    start(row, out, marks);
    marks.number = mark(out, |o| notation::peer(o, event.a, Habit::Mixed, row.home, random));
    out.push(b',');
    sim_and_phone(event.served.as_ref(), out, random);
    if let Some(served) = &event.served {
        address(out, &served.address);
    }
    for n in [event.duration_s, event.bytes_up, event.bytes_down] {
        out.push(b',');
        text::uint(out, n);
    }
    out.push(b',');
    place(event.served.as_ref(), out);
    charge(row, out);
}

fn start(row: &Row, out: &mut Vec<u8>, marks: &mut Marks) {
    marks.time = mark(out, |o| {
        text::date_time(o, row.event.start_ms, b'T');
        o.push(b'Z');
    });
    out.push(b',');
}

fn sim_and_phone(served: Option<&Served>, out: &mut Vec<u8>, random: &mut Random) {
    let Some(served) = served else { return out.extend_from_slice(b",,") };
    text::padded(out, served.imsi, 15);
    out.push(b',');
    notation::imei(out, served.imei14, random);
    out.push(b',');
}

fn place(served: Option<&Served>, out: &mut Vec<u8>) {
    let Some(served) = served else { return out.extend_from_slice(b",,") };
    cell(out, served);
    out.push(b',');
    network(out, served);
    out.push(b',');
}

fn charge(row: &Row, out: &mut Vec<u8>) {
    let Some(charge) = row.event.charge else { return out.push(b',') };
    text::money(out, charge);
    out.push(b',');
    out.extend_from_slice(row.home.currency.as_bytes());
}

/// `MCC-MNC-LAC-CI` (3GPP TS 23.003, 4.3.1).
pub fn cell(out: &mut Vec<u8>, served: &Served) {
    network(out, served);
    out.push(b'-');
    text::uint(out, served.area);
    out.push(b'-');
    text::uint(out, served.cell);
}

/// `MCC-MNC`.
pub fn network(out: &mut Vec<u8>, served: &Served) {
    text::padded(out, served.country.mcc, 3);
    out.push(b'-');
    text::padded(out, served.mnc, 2);
}

pub fn trunk(out: &mut Vec<u8>, trunk: &crate::generate::event::Trunk) {
    out.extend_from_slice(b"INT-");
    out.extend_from_slice(trunk.country.iso.as_bytes());
    out.push(b'-');
    text::padded(out, trunk.number, 2);
}

pub fn address(out: &mut Vec<u8>, address: &Address) {
    match *address {
        Address::V4(low) => {
            let ip = 0x6440_0000 | low;
            for (i, octet) in ip.to_be_bytes().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                text::uint(out, u64::from(octet));
            }
        }
        Address::V6(low) => {
            out.extend_from_slice(b"2001:db8:");
            text::hex(out, low >> 32, 4);
            out.push(b':');
            text::hex(out, low >> 16, 4);
            out.push(b':');
            text::hex(out, low, 4);
            out.extend_from_slice(b"::1");
        }
    }
}
