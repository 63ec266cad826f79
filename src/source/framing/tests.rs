use std::io::Read;

use proptest::prelude::*;

use crate::record::raw::{Framing, RawBatch};
use crate::source::framing::{Bounds, Framer};

const QUOTED: Framing = Framing::QuotedLines { quote: b'"' };

/// A record of the plain twin: where it ends, whether its quote was broken, whether it is too long.
#[derive(Debug, PartialEq)]
struct Record {
    end: usize,
    broken: bool,
    oversize: bool,
}

/// The rule of the module, byte by byte, over the whole input.
fn twin(framing: Framing, input: &[u8], max: usize) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut start = 0;
    while start < input.len() {
        let rest = &input[start..];
        let record = match twin_end(framing, rest, max) {
            Some(len) => Record { end: start + len, broken: false, oversize: false },
            None => {
                let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
                // Lines of their own and the end of the input are no fault of a quote.
                let oversize = line > max;
                Record { end: start + line, broken: !oversize, oversize }
            }
        };
        start = record.end;
        records.push(record);
    }
    records
}

fn twin_end(framing: Framing, rest: &[u8], max: usize) -> Option<usize> {
    let mut quotes = 0;
    for (at, byte) in rest.iter().enumerate().take(max) {
        match framing {
            Framing::QuotedLines { quote } if *byte == quote => quotes += 1,
            _ if *byte == b'\n' && quotes % 2 == 0 => return Some(at + 1),
            _ => {}
        }
    }
    // The last record of a stream may lack its line end.
    (rest.len() <= max && quotes % 2 == 0).then_some(rest.len())
}

/// Gives bytes in pieces of changing size, as pipes do.
struct Dribble<'a> {
    rest: &'a [u8],
    steps: Vec<usize>,
    turn: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let step = self.steps.get(self.turn % self.steps.len().max(1)).copied().unwrap_or(usize::MAX);
        self.turn += 1;
        let read = step.max(1).min(into.len()).min(self.rest.len());
        into[..read].copy_from_slice(&self.rest[..read]);
        self.rest = &self.rest[read..];
        Ok(read)
    }
}

fn frame(framing: Framing, bounds: Bounds, input: &[u8], steps: &[usize]) -> Vec<RawBatch> {
    let mut framer = Framer::new(framing, bounds);
    let mut dribble = Dribble { rest: input, steps: steps.to_vec(), turn: 0 };
    let mut batches = Vec::new();
    while let Some(batch) = framer.next(&mut dribble, true).unwrap() {
        batches.push(batch);
    }
    let lines = input.split_inclusive(|byte| *byte == b'\n').count();
    assert_eq!(framer.lines(), lines as u64);
    assert_eq!(framer.offset(), input.len() as u64);
    batches
}

/// Every promise of the module at once.
fn check(framing: Framing, bounds: Bounds, input: &[u8], steps: &[usize]) {
    let records = twin(framing, input, bounds.max_record_bytes);
    let ends: Vec<usize> = records.iter().map(|record| record.end).collect();
    let mut offset = 0;
    let mut oversize_from = None;
    for batch in frame(framing, bounds, input, steps) {
        let end = offset + batch.bytes.len();
        assert_eq!(batch.offset, offset as u64);
        assert!(batch.bytes == input[offset..end]);
        assert!(!batch.bytes.is_empty());
        if batch.oversize {
            assert!(batch.bytes.len() <= bounds.max_record_bytes);
            let start: usize = *oversize_from.get_or_insert(offset);
            assert_eq!(batch.first_line, line_at(input, start));
            let index = ends.iter().position(|end| *end > start).unwrap();
            assert!(records[index].oversize && end <= ends[index]);
            if end == ends[index] {
                oversize_from = None;
            }
        } else {
            assert_eq!(oversize_from, None, "an oversize record is handed out to its end");
            assert_eq!(batch.first_line, line_at(input, offset));
            let inside: Vec<&Record> = records.iter().filter(|r| r.end > offset && r.end <= end).collect();
            assert_eq!(inside.last().map(|r| r.end), Some(end), "a batch ends with a record");
            assert!(inside.iter().all(|r| !r.oversize));
            assert!(inside[..inside.len() - 1].iter().all(|r| !r.broken), "a broken record is the last of its batch");
            let lines = batch.bytes.split_inclusive(|byte| *byte == b'\n').count();
            assert!(lines <= bounds.batch_lines || inside.len() == 1, "{lines} lines");
            // What a decoder finds that walks the batch by the rule, knowing nothing else.
            let seen: Vec<usize> = twin(framing, &batch.bytes, usize::MAX).iter().map(|r| offset + r.end).collect();
            assert_eq!(seen, inside.iter().map(|r| r.end).collect::<Vec<_>>());
        }
        offset = end;
    }
    assert_eq!(offset, input.len());
}

fn line_at(input: &[u8], offset: usize) -> u64 {
    input[..offset].iter().filter(|byte| **byte == b'\n').count() as u64
}

fn bounds(batch_bytes: usize, batch_lines: usize, max_record_bytes: usize) -> Bounds {
    Bounds { batch_bytes, batch_lines, max_record_bytes }
}

/// Mostly the bytes that matter, so that every rule meets every other.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(b'a'), 3 => Just(b'"'), 3 => Just(b'\n'), 1 => Just(0u8), 1 => any::<u8>()];
    proptest::collection::vec(byte, 0..400)
}

/// Text in which broken quotes are rare, so that records are long and bounds matter.
fn likely_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => "[a-z,]{1,12}\n",
        6 => "\"[a-z]{0,6}\n?[a-z]{0,6}\",\"\"\n",
        2 => "\"[a-z]{0,20}\n",
        1 => "[a-z]{20,90}\n",
        1 => "[a-z]{1,5}",
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn framing_equals_its_plain_twin(
        input in prop_oneof![hostile_bytes(), likely_text()],
        quoted in any::<bool>(),
        batch_bytes in 1usize..200,
        batch_lines in 1usize..20,
        max_record_bytes in 1usize..80,
        steps in proptest::collection::vec(1usize..50, 0..4),
    ) {
        let framing = if quoted { QUOTED } else { Framing::Lines };
        check(framing, bounds(batch_bytes, batch_lines, max_record_bytes), &input, &steps);
    }

    #[test]
    fn an_unended_record_waits_for_the_rest(input in likely_text(), cut in 0usize..400, batch_bytes in 1usize..99) {
        let cut = cut.min(input.len());
        let mut framer = Framer::new(QUOTED, bounds(batch_bytes, 50, 60));
        let mut out = Vec::new();
        for (part, last) in [(&input[..cut], false), (&input[cut..], true)] {
            let mut rest = part;
            while let Some(batch) = framer.next(&mut rest, last).unwrap() {
                out.extend((!batch.oversize).then_some(batch.offset + batch.bytes.len() as u64));
            }
        }
        prop_assert_eq!(framer.offset(), input.len() as u64);
        let ends: Vec<u64> = twin(QUOTED, &input, 60).iter().map(|record| record.end as u64).collect();
        prop_assert!(out.iter().all(|end| ends.contains(end)), "no record was cut where the bytes happened to end");
    }
}

/// The batches of `input` as text, oversize ones marked.
fn shown(framing: Framing, bounds: Bounds, input: &str) -> Vec<String> {
    let show = |batch: RawBatch| {
        let text = String::from_utf8(batch.bytes.clone()).unwrap();
        if batch.oversize { format!("{}>{text}", batch.first_line) } else { text }
    };
    frame(framing, bounds, input.as_bytes(), &[]).into_iter().map(show).collect()
}

#[test]
fn rules_by_example() {
    let cases: [(&str, Framing, &str, &[&str]); 8] = [
        ("a quoted line end stays inside", QUOTED, "1,\"x\ny\"\n2\n3\n", &["1,\"x\ny\"\n", "2\n3\n"]),
        ("a doubled quote keeps parity", QUOTED, "1,\"\"\"\"\n22222\n3\n", &["1,\"\"\"\"\n", "22222\n3\n"]),
        ("lines do not know quotes", Framing::Lines, "1,\"x\ny\"\n2\n3\n", &["1,\"x\ny\"\n", "2\n3\n"]),
        ("a quote open at the end breaks its line only", QUOTED, "1\n\"x\n2\n3", &["1\n\"x\n", "2\n3"]),
        (
            "a quote open past the bound too",
            QUOTED,
            "\"x\n2\n3\n4\n5\n6\n7\n8\n9\n",
            &["\"x\n", "2\n3\n4\n5\n", "6\n7\n8\n9\n"],
        ),
        ("a line too long", QUOTED, "1\nabcdefghijklmnopq\n2\n", &["1\n", "1>abcdefghijkl", "1>mnopq\n", "2\n"]),
        ("its quotes do not matter", QUOTED, "abcdefghijklm\"nopq\n2\n", &["0>abcdefghijkl", "0>m\"nopq\n", "2\n"]),
        ("as long as allowed, unended", Framing::Lines, "abcdefghijkl", &["abcdefghijkl"]),
    ];
    for (name, framing, input, expected) in cases {
        assert_eq!(shown(framing, bounds(9, 4, 12), input), expected, "{name}");
        check(framing, bounds(9, 4, 12), input.as_bytes(), &[3]);
    }
    assert_eq!(shown(QUOTED, bounds(9, 4, 12), ""), [""; 0]);
}

#[test]
fn a_line_of_a_gibibyte_needs_no_more_memory_than_a_short_one() {
    const GIB: u64 = 1 << 30;
    let bounds = bounds(4 << 20, 131_072, 1 << 20);
    for (framing, byte, length) in [(Framing::Lines, b'x', GIB), (QUOTED, b'"', GIB / 16)] {
        let mut framer = Framer::new(framing, bounds);
        let mut input = std::io::repeat(byte).take(length).chain(&b"\nnext\n"[..]);
        let (mut pieces, mut last) = (0u64, Vec::new());
        while let Some(batch) = framer.next(&mut input, true).unwrap() {
            let held = framer.buffer.capacity() + batch.bytes.capacity();
            assert!(held <= 3 * bounds.batch_bytes, "{held} bytes held");
            pieces += u64::from(batch.oversize);
            if !batch.oversize {
                assert_eq!((batch.first_line, batch.offset), (1, length + 1));
                last = batch.bytes.clone();
            }
        }
        assert_eq!(pieces, length / bounds.max_record_bytes as u64 + 1);
        assert_eq!(last, b"next\n");
    }
}

#[test]
fn a_broken_quote_on_every_line_stays_linear() {
    // Parity flips on each line: every second line end is inside a quote.
    let input = "\"a\n".repeat(2_000_000).into_bytes();
    let batches = frame(QUOTED, bounds(1 << 20, 131_072, 1 << 16), &input, &[]);
    assert!(batches.iter().all(|batch| !batch.oversize && batch.bytes.len() % 6 == 0));
    assert!(batches.len() < 60);
    // One broken quote that nothing closes, then only whole lines.
    let input = [b"\"a\n".as_slice(), &b"b\n".repeat(2_000_000)].concat();
    assert_eq!(frame(QUOTED, bounds(1 << 20, 131_072, 1 << 16), &input, &[])[0].bytes, b"\"a\n");
}
