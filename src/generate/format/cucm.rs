//! Cisco Unified Communications Manager CDR: a row of names, a row of types, then calls; IPv4
//! addresses as signed 32-bit integers, least significant octet first; times in Unix seconds.

use super::{Row, mark};
use crate::generate::breakage::Marks;
use crate::generate::event::Peer;
use crate::generate::notation;
use crate::generate::random::Random;
use crate::generate::subscriber::Line;
use crate::generate::text;

/// A subset of the documented columns, in their order.
const COLUMNS: [(&str, &str); 48] = [
    ("cdrRecordType", "INTEGER"),
    ("globalCallID_callManagerId", "INTEGER"),
    ("globalCallID_callId", "INTEGER"),
    ("origLegCallIdentifier", "INTEGER"),
    ("dateTimeOrigination", "INTEGER"),
    ("origNodeId", "INTEGER"),
    ("origSpan", "INTEGER"),
    ("origIpAddr", "INTEGER"),
    ("callingPartyNumber", "VARCHAR(50)"),
    ("callingPartyUnicodeLoginUserID", "VARCHAR(128)"),
    ("origCause_location", "INTEGER"),
    ("origCause_value", "INTEGER"),
    ("origPrecedenceLevel", "INTEGER"),
    ("origMediaTransportAddress_IP", "INTEGER"),
    ("origMediaTransportAddress_Port", "INTEGER"),
    ("origMediaCap_payloadCapability", "INTEGER"),
    ("destLegIdentifier", "INTEGER"),
    ("destNodeId", "INTEGER"),
    ("destSpan", "INTEGER"),
    ("destIpAddr", "INTEGER"),
    ("originalCalledPartyNumber", "VARCHAR(50)"),
    ("finalCalledPartyNumber", "VARCHAR(50)"),
    ("finalCalledPartyUnicodeLoginUserID", "VARCHAR(128)"),
    ("destCause_location", "INTEGER"),
    ("destCause_value", "INTEGER"),
    ("destPrecedenceLevel", "INTEGER"),
    ("destMediaTransportAddress_IP", "INTEGER"),
    ("destMediaTransportAddress_Port", "INTEGER"),
    ("destMediaCap_payloadCapability", "INTEGER"),
    ("dateTimeConnect", "INTEGER"),
    ("dateTimeDisconnect", "INTEGER"),
    ("lastRedirectDn", "VARCHAR(50)"),
    ("pkid", "UNIQUEIDENTIFIER"),
    ("originalCalledPartyNumberPartition", "VARCHAR(50)"),
    ("callingPartyNumberPartition", "VARCHAR(50)"),
    ("finalCalledPartyNumberPartition", "VARCHAR(50)"),
    ("lastRedirectDnPartition", "VARCHAR(50)"),
    ("duration", "INTEGER"),
    ("origDeviceName", "VARCHAR(129)"),
    ("destDeviceName", "VARCHAR(129)"),
    ("origCallTerminationOnBehalfOf", "INTEGER"),
    ("destCallTerminationOnBehalfOf", "INTEGER"),
    ("destConversationId", "INTEGER"),
    ("globalCallId_ClusterID", "VARCHAR(50)"),
    ("joinOnBehalfOf", "INTEGER"),
    ("comment", "VARCHAR(2048)"),
    ("origIpv4v6Addr", "VARCHAR(64)"),
    ("destIpv4v6Addr", "VARCHAR(64)"),
];

pub fn header(out: &mut Vec<u8>) {
    let names: Vec<&str> = COLUMNS.iter().map(|c| c.0).collect();
    let types: Vec<&str> = COLUMNS.iter().map(|c| c.1).collect();
    out.extend_from_slice(format!("{}\n{}\n", names.join(","), types.join(",")).as_bytes());
}

pub fn row(row: &Row, out: &mut Vec<u8>, marks: &mut Marks, random: &mut Random) {
    let (event, id) = (row.event, row.event.id);
    let ips = [0x0a_00_00_00 | (id[0] as u32 & 0x00ff_ffff), 0x0a_00_00_00 | (id[1] as u32 & 0x00ff_ffff)];
    let (start_s, connect_s) = (event.start_ms / 1000, event.start_ms / 1000 + event.ring_s as i64);
    let call = row.number % 2_000_000_000 + 1;
    ints(out, &[1, 2, call as i64, call as i64 * 2]);
    marks.time = mark(out, |o| text::int(o, start_s));
    out.push(b',');
    ints(out, &[2, 0, signed_le(ips[0])]);
    party(out, event.a, id[0], row, random);
    out.extend_from_slice(b",,");
    let cause = event.cause as i64;
    ints(out, &[0, if event.answered { cause } else { 0 }, 4, signed_le(ips[0]), 20_586, 4]);
    ints(out, &[call as i64 * 2 + 1, 2, 0, signed_le(ips[1])]);
    marks.number = mark(out, |o| party(o, event.b, id[1], row, random));
    let called = marks.number.clone();
    out.push(b',');
    match event.c {
        Some(line) => notation::e164(out, line),
        None => out.extend_from_within(called.clone()),
    }
    out.extend_from_slice(b",,");
    ints(out, &[0, if event.answered { 0 } else { cause }, 4, signed_le(ips[1]), 22_656, 4]);
    ints(out, &[if event.answered { connect_s } else { 0 }, connect_s + event.duration_s as i64]);
    out.extend_from_within(called);
    out.push(b',');
    text::uuid(out, id[0], id[1]);
    out.extend_from_slice(b",Phones,Phones,Phones,Phones,");
    text::uint(out, event.duration_s);
    for bits in id {
        out.extend_from_slice(b",SEP");
        text::padded(out, bits % 1_000_000_000_000, 12);
    }
    out.extend_from_slice(b",12,0,0,StandAloneCluster,0,");
    for ip in ips {
        out.push(b',');
        dotted(out, ip);
    }
}

/// A telephone inside the company by its four digits, everybody else in E.164 with `+`.
fn party(out: &mut Vec<u8>, peer: Peer, id: u64, row: &Row, random: &mut Random) {
    match peer {
        Peer::Line(Line { calling_code, .. }) if calling_code == row.home.calling_code && id.is_multiple_of(5) => {
            text::uint(out, 2000 + (id >> 8) % 4000);
        }
        Peer::Line(line) => notation::e164(out, line),
        Peer::Unavailable | Peer::Withheld => {}
        other => notation::peer(out, other, notation::Habit::Digits, row.home, random),
    }
}

fn ints(out: &mut Vec<u8>, values: &[i64]) {
    for value in values {
        text::int(out, *value);
        out.push(b',');
    }
}

/// Cisco writes an IPv4 address as the signed integer whose low byte is the first octet.
fn signed_le(ip: u32) -> i64 {
    i64::from(i32::from_le_bytes(ip.to_be_bytes()))
}

fn dotted(out: &mut Vec<u8>, ip: u32) {
    let [a, b, c, d] = ip.to_be_bytes().map(u64::from);
    text::uint(out, a);
    for octet in [b, c, d] {
        out.push(b'.');
        text::uint(out, octet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_signed_and_little_endian() {
        // Cisco's own example: -1139627840 is 192.168.18.188
        assert_eq!(signed_le(u32::from_be_bytes([192, 168, 18, 188])), -1_139_627_840);
    }
}
