//! Joining the records of one call (a SIP INVITE and its BYE), across batches and files.
//!
//! Records in + open before = rows + joined + rejects + dropped + open after, for every `absorb`.

use crate::record::decoded::{Decoded, Half, Span};
use crate::record::field::Field;
use std::collections::HashMap;
use std::sync::Arc;
use zeroize::Zeroize;

/// Drop rule for a second record of the same part of a call (a re-INVITE, a BYE sent again).
pub const REPEATED: &str = "repeated";
/// Drop rule for a filling record (an ACK) that nothing needed.
pub const SPARE: &str = "spare";

/// Holds halves until their call is whole. Deterministic: what comes out depends on the order of
/// `absorb` alone. No `Debug`: it holds records in clear.
#[derive(Default)]
pub struct Joiner {
    open: HashMap<[u8; 16], Vec<Held>>,
}

/// What `Joiner::absorb` gives back.
pub struct Joined {
    /// The batch without halves. A joined call is a row of the record that completed it; that
    /// record's span then holds all records of the call in the order of the call, a line feed
    /// between, behind the raw batch in `text`. Its position is its line.
    pub decoded: Decoded,
    /// Halves that went away into the row of another.
    pub joined: u64,
}

/// Position of a half that waits; with `arrived_ms` all that a restart needs to read it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenHalf {
    pub file: u32,
    /// Of its first byte, in the decompressed file; or of its message.
    pub offset: u64,
    /// Zero-based, in the file or the message.
    pub line: u64,
    /// In bytes, without line end.
    pub len: u32,
    /// As given to `absorb`.
    pub arrived_ms: i64,
}

/// A half that was given up: to quarantine as `Reason::Unpaired`. No `Debug`: holds a raw record.
pub struct Unpaired {
    pub at: OpenHalf,
    pub raw: Vec<u8>,
}

/// What `Joiner::expire` gives up.
pub struct Expired {
    pub unpaired: Vec<Unpaired>,
    pub dropped: Vec<(Arc<str>, u64)>,
}

impl Joiner {
    /// Takes the halves of a batch and gives back the calls that became whole. `arrived_ms` is when
    /// the batch arrived, on the clock that `expire` goes by. To restore open halves after a restart,
    /// decode each from its position and absorb it with its old `arrived_ms`, in the order of `open`.
    pub fn absorb(&mut self, mut decoded: Decoded, arrived_ms: i64) -> Joined {
        let halves = std::mem::take(&mut decoded.halves);
        let Some(start) = decoded.specs.iter().position(|s| s.field == Field::Start) else {
            unreachable!("a mapping without a start field does not parse")
        };
        let (mut joined, mut repeated, mut spare) = (0, 0, 0);
        let mut calls = Vec::new();
        for half in halves {
            let held = Held::new(&decoded, &half, start, arrived_ms);
            let parts = self.open.entry(half.key).or_default();
            match fit(parts, &held) {
                Fit::Repeated => repeated += 1,
                Fit::Spare => spare += 1,
                Fit::Wanted => {
                    let at = parts.partition_point(|p| p.part <= held.part);
                    parts.insert(at, held);
                    if is_whole(parts) {
                        let parts = self.open.remove(&half.key).unwrap_or_default();
                        joined += parts.len() as u64 - 1;
                        calls.push((half.record, merge(&mut decoded, half.record, &parts)));
                    }
                }
            }
        }
        insert_rows(&mut decoded, calls);
        count(&mut decoded.dropped, REPEATED, repeated);
        count(&mut decoded.dropped, SPARE, spare);
        Joined { decoded, joined }
    }

    /// Gives up every half that arrived before `before_ms`.
    pub fn expire(&mut self, before_ms: i64) -> Expired {
        let mut unpaired = Vec::new();
        let mut spare = 0;
        self.open.retain(|_, parts| {
            for held in parts.extract_if(.., |held| held.at.arrived_ms < before_ms) {
                match held.part {
                    Part::Fills => spare += 1,
                    _ => unpaired.push(Unpaired { at: held.at, raw: held.raw().to_vec() }),
                }
            }
            !parts.is_empty()
        });
        unpaired.sort_by_key(|u| u.at);
        let mut dropped = Vec::new();
        count(&mut dropped, SPARE, spare);
        Expired { unpaired, dropped }
    }

    /// The halves that wait, in the order of their positions.
    pub fn open(&self) -> Vec<OpenHalf> {
        let mut all: Vec<OpenHalf> = self.open.values().flatten().map(|h| h.at).collect();
        all.sort();
        all
    }

    pub fn len(&self) -> usize {
        self.open.values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Opens,
    Fills,
    Closes,
}

struct Held {
    at: OpenHalf,
    part: Part,
    timed: bool,
    /// The raw record, then what of its fields does not stand in it.
    text: Vec<u8>,
    /// Into `text`.
    fields: Vec<Span>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl Held {
    fn new(decoded: &Decoded, half: &Half, start: usize, arrived_ms: i64) -> Held {
        let record = decoded.records[half.record as usize];
        let mut text = record.of(&decoded.text).to_vec();
        let moved = |span: &Span| {
            if span.is_none() {
                return Span::NONE;
            }
            if span.start >= record.start && span.start + span.len <= record.start + record.len {
                return Span { start: span.start - record.start, len: span.len };
            }
            let start = text.len() as u32;
            text.extend_from_slice(span.of(&decoded.text));
            Span { start, len: span.len }
        };
        let fields: Vec<Span> = half.fields.iter().map(moved).collect();
        let part = match (half.opens, half.fills) {
            (true, false) => Part::Opens,
            (true, true) => Part::Fills,
            (false, _) => Part::Closes,
        };
        let place = decoded.place(half.record);
        let at = OpenHalf { file: decoded.file, offset: place.offset, line: place.line, len: record.len, arrived_ms };
        Held { at, part, timed: fields[start].len > 0, text, fields }
    }

    fn raw(&self) -> &[u8] {
        &self.text[..self.at.len as usize]
    }
}

enum Fit {
    Wanted,
    Repeated,
    Spare,
}

fn fit(parts: &[Held], held: &Held) -> Fit {
    if held.part == Part::Fills && parts.iter().any(|p| p.part != Part::Closes && p.timed) {
        return Fit::Spare;
    }
    if parts.iter().any(|p| p.part == held.part) { Fit::Repeated } else { Fit::Wanted }
}

/// A call is whole when it was opened, was closed, and one of its opening records bears the time.
fn is_whole(parts: &[Held]) -> bool {
    let has = |part| parts.iter().any(|p| p.part == part);
    has(Part::Opens) && has(Part::Closes) && parts.iter().any(|p| p.part != Part::Closes && p.timed)
}

/// Appends the records of a call to the batch's text; the call's fields, each from the first part
/// that has it.
fn merge(decoded: &mut Decoded, record: u32, parts: &[Held]) -> Vec<Span> {
    let mut raws = Vec::new();
    let whole = decoded.text.len() as u32;
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            decoded.text.push(b'\n');
        }
        raws.push(decoded.text.len() as u32);
        decoded.text.extend_from_slice(part.raw());
    }
    decoded.records[record as usize] = Span { start: whole, len: decoded.text.len() as u32 - whole };
    let mut fields = vec![Span::NONE; decoded.specs.len()];
    for (part, raw) in parts.iter().zip(raws) {
        let rest = decoded.text.len() as u32;
        decoded.text.extend_from_slice(&part.text[part.at.len as usize..]);
        for (field, span) in fields.iter_mut().zip(&part.fields) {
            if field.len > 0 || span.is_none() {
                continue;
            }
            let start =
                if span.start + span.len <= part.at.len { raw + span.start } else { rest + span.start - part.at.len };
            *field = Span { start, len: span.len };
        }
    }
    fields
}

/// Adds rows among those that the batch has, so that `rows` stays ascending.
fn insert_rows(decoded: &mut Decoded, calls: Vec<(u32, Vec<Span>)>) {
    if calls.is_empty() {
        return;
    }
    let old_rows = std::mem::take(&mut decoded.rows);
    let old = std::mem::replace(
        &mut decoded.columns,
        vec![Vec::with_capacity(old_rows.len() + calls.len()); decoded.specs.len()],
    );
    let mut calls = calls.into_iter().peekable();
    let mut old_rows = old_rows.into_iter().enumerate().peekable();
    loop {
        let take_old = match (old_rows.peek(), calls.peek()) {
            (None, None) => return,
            (Some((_, row)), Some((call, _))) => row < call,
            (row, _) => row.is_some(),
        };
        if take_old {
            let Some((i, row)) = old_rows.next() else { return };
            decoded.rows.push(row);
            for (new, old) in decoded.columns.iter_mut().zip(&old) {
                new.push(old[i]);
            }
        } else {
            let Some((row, fields)) = calls.next() else { return };
            decoded.rows.push(row);
            for (new, span) in decoded.columns.iter_mut().zip(fields) {
                new.push(span);
            }
        }
    }
}

fn count(dropped: &mut Vec<(Arc<str>, u64)>, rule: &str, n: u64) {
    if n == 0 {
        return;
    }
    match dropped.iter_mut().find(|(r, _)| &**r == rule) {
        Some((_, have)) => *have += n,
        None => dropped.push((rule.into(), n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mapping::Mapping;
    use crate::decode::shipped::shipped;
    use crate::record::raw::RawBatch;
    use proptest::prelude::*;

    fn mapping() -> Mapping {
        let (name, text) = shipped().iter().find(|s| s.0 == "kamailio").unwrap();
        Mapping::parse(name, text).unwrap()
    }

    fn decoded(mapping: &Mapping, file: u32, offset: u64, line: u64, bytes: &[u8]) -> Decoded {
        let mut batch = RawBatch::of_file(bytes.to_vec(), offset, line);
        batch.file = file;
        mapping.open(b"").unwrap().decode(batch)
    }

    fn invite(call: usize, time: &str) -> String {
        format!("INVITE|a|b|call{call}|200|OK|{time}|x|0770090{call:04}|07700900000||1\n")
    }

    fn ack(call: usize) -> String {
        format!("ACK|a|b|call{call}|200|OK|150|x|0770090{call:04}|07700900000||1\n")
    }

    fn bye(call: usize) -> String {
        format!("BYE|b|a|call{call}|200|OK|200|||||1\n")
    }

    fn rows(decoded: &Decoded) -> Vec<Vec<String>> {
        let wanted = [Field::Start, Field::End, Field::ANumber, Field::Service];
        let text = |field, row: usize| {
            String::from_utf8(decoded.column(field).unwrap().1[row].of(&decoded.text).to_vec()).unwrap()
        };
        (0..decoded.rows.len()).map(|row| wanted.iter().map(|f| text(*f, row)).collect()).collect()
    }

    #[test]
    fn halves_meet_across_files_in_either_order() {
        let mapping = mapping();
        let (first, second) = (invite(1, "100") + &bye(2), bye(1) + &invite(2, "101"));
        let mut joiner = Joiner::default();
        let one = joiner.absorb(decoded(&mapping, 7, 0, 0, first.as_bytes()), 1_000);
        assert_eq!((one.decoded.rows.len(), one.joined, joiner.len()), (0, 0, 2));
        let at = invite(1, "100").len();
        let bye_at = OpenHalf { file: 7, offset: at as u64, line: 1, len: bye(2).len() as u32 - 1, arrived_ms: 1_000 };
        assert_eq!(joiner.open()[1], bye_at);
        let two = joiner.absorb(decoded(&mapping, 8, 0, 0, second.as_bytes()), 2_000);
        assert_eq!(
            rows(&two.decoded),
            [["100", "200", "07700900001", "voice"], ["101", "200", "07700900002", "voice"]]
        );
        assert_eq!((two.joined, joiner.is_empty()), (2, true));
        let raw = two.decoded.records[two.decoded.rows[1] as usize].of(&two.decoded.text);
        assert_eq!(raw, (invite(2, "101") + bye(2).trim_end()).as_bytes(), "evidence holds both records");
    }

    #[test]
    fn acks_fill_what_lacks_a_time_and_are_spare_elsewhere() {
        let mapping = mapping();
        let mut joiner = Joiner::default();
        let batch = invite(1, "")
            + &bye(1)
            + &ack(1)
            + &invite(2, "100")
            + &ack(2)
            + &bye(2)
            + &ack(3)
            + &invite(4, "1")
            + &invite(4, "9");
        let joined = joiner.absorb(decoded(&mapping, 0, 0, 0, batch.as_bytes()), 5);
        assert_eq!(
            rows(&joined.decoded),
            [["150", "200", "07700900001", "voice"], ["100", "200", "07700900002", "voice"]]
        );
        assert_eq!(joined.decoded.dropped, [(REPEATED.into(), 1), (SPARE.into(), 1)]);
        assert_eq!((joined.joined, joiner.len()), (3, 2));
        assert_eq!(joiner.expire(5).unpaired.len(), 0);
        let expired = joiner.expire(6);
        assert_eq!(expired.dropped, [(SPARE.into(), 1)]);
        assert_eq!(expired.unpaired.len(), 1);
        assert_eq!(expired.unpaired[0].raw, invite(4, "1").trim_end().as_bytes());
        assert!(joiner.is_empty());
    }

    proptest! {
        /// Whatever the order and the batches: the count balances, and a restart that reads the open
        /// halves again by their positions changes nothing.
        #[test]
        fn balances_and_survives_restarts(picks in prop::collection::vec((0_usize..4, 0_usize..6, any::<bool>()), 1..40)) {
            let mapping = mapping();
            let (mut plain, mut restarted) = (Joiner::default(), Joiner::default());
            let mut files: Vec<String> = Vec::new();
            for (file, (kind, call, cut)) in picks.into_iter().enumerate() {
                let record = [invite(call, "100"), invite(call, ""), ack(call), bye(call)][kind].clone();
                let before = plain.len() as u64;
                let a = plain.absorb(decoded(&mapping, file as u32, 0, 0, record.as_bytes()), file as i64);
                let b = restarted.absorb(decoded(&mapping, file as u32, 0, 0, record.as_bytes()), file as i64);
                let dropped: u64 = a.decoded.dropped.iter().map(|d| d.1).sum();
                prop_assert_eq!(1 + before, a.decoded.rows.len() as u64 + a.joined + dropped + plain.len() as u64);
                prop_assert_eq!(rows(&a.decoded), rows(&b.decoded));
                files.push(record);
                if cut {
                    let open = restarted.open();
                    restarted = Joiner::default();
                    for half in open {
                        let (from, len) = (half.offset as usize, half.len as usize);
                        let bytes = &files[half.file as usize].as_bytes()[from..from + len];
                        let again = restarted.absorb(decoded(&mapping, half.file, half.offset, half.line, bytes), half.arrived_ms);
                        prop_assert!(again.decoded.rows.is_empty() && again.decoded.dropped.is_empty());
                    }
                }
                prop_assert_eq!(plain.open(), restarted.open());
            }
        }
    }
}
