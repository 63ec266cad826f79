//! The plain twin of the assembler: each message alone, read as a file of its bytes.

use super::*;
use crate::decode::file::EMPTY_MESSAGE;
use crate::decode::shipped::shipped;
use crate::record::decoded::Decoded;
use crate::source::from_reader;
use proptest::prelude::*;
use std::io::{Cursor, Write};

const HEADED: &str = r##"
name = "headed"
version = 1
kind = "delimited"
delimiter = ","
quote = '"'
multiline = true
header = "strict"
comment = "#"
[fields.start]
time = "unix_seconds"
[fields.a_number]
[fields.b_number]
optional = true
"##;

const TITLED: &str = r##"
name = "titled"
version = 1
kind = "delimited"
delimiter = ","
quote = '"'
header = "named"
skip_rows = 1
[fields.start]
time = "unix_seconds"
[fields.a_number]
"##;

const LAYOUTS: &str = r##"
name = "layouts"
version = 1
kind = "delimited"
delimiter = ","
quote = '"'
[fields.start]
time = "unix_seconds"
[fields.a_number]
[[layout]]
name = "time first"
columns = [2, 3]
probe = "start"
fields = { start = 1, a_number = 2 }
[[layout]]
name = "time second"
columns = [2, 3]
probe = "start"
fields = { start = 2, a_number = 1 }
"##;

const JSON: &str = r##"
name = "json"
version = 1
kind = "json"
[fields.start]
time = "unix_seconds"
[fields.a_number]
from = "a.number"
"##;

const FIXED: &str = r##"
name = "fixed"
version = 1
kind = "fixed"
length = 6
[fields.start]
from = { at = 1, len = 3 }
time = "unix_seconds"
[fields.a_number]
from = { at = 4, len = 3 }
"##;

const MAPPINGS: [(&str, &str); 5] =
    [("headed", HEADED), ("titled", TITLED), ("layouts", LAYOUTS), ("json", JSON), ("fixed", FIXED)];

fn shipped_mapping(name: &str) -> Mapping {
    let (name, text) = shipped().iter().find(|(n, _)| *n == name).unwrap();
    Mapping::parse(name, text).unwrap()
}

fn packed(how: u8, bytes: &[u8]) -> Vec<u8> {
    match how {
        1 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        }
        2 => zstd::encode_all(bytes, 1).unwrap(),
        3 => {
            let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            bzip2.write_all(bytes).unwrap();
            bzip2.finish().unwrap()
        }
        _ => bytes.to_vec(),
    }
}

/// One record and what became of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    offset: u64,
    line: u64,
    what: String,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} {:?} {:?}", self.offset, self.line, self.what, String::from_utf8_lossy(&self.bytes))
    }
}

/// Every record of a batch; of a file, as if its message stood at `offset`.
fn seen(decoded: &Decoded, offset: Option<u64>) -> Vec<Seen> {
    let mut what = vec!["dropped".to_owned(); decoded.records.len()];
    for (row, record) in decoded.rows.iter().enumerate() {
        let texts = decoded.columns.iter().map(|column| String::from_utf8_lossy(column[row].of(&decoded.text)));
        what[*record as usize] = texts.collect::<Vec<_>>().join("|");
    }
    for reject in &decoded.rejects {
        what[reject.record as usize] = format!("{} at {}", reject.reason.code(), reject.column);
    }
    let one = |(record, what): (usize, String)| {
        let place = decoded.place(record as u32);
        let bytes = decoded.records[record].of(&decoded.text).to_vec();
        // A message without records has no line.
        let line = if what == "dropped" { 0 } else { place.line };
        Seen { offset: offset.unwrap_or(place.offset), line, what, bytes }
    };
    what.into_iter().enumerate().map(one).collect()
}

/// Brackets outside of texts open first, and are all closed at the last byte and not before.
fn is_bracketed(text: &[u8]) -> bool {
    let parts: Vec<&[u8]> = text.split(|b| *b == b'"').collect();
    let outside: Vec<u8> = parts.iter().step_by(2).copied().collect::<Vec<_>>().concat();
    let depth = |bytes: &[u8]| {
        let count = |set: [u8; 2]| bytes.iter().filter(|b| set.contains(b)).count() as i64;
        count(*b"{[") - count(*b"}]")
    };
    let within = (1..outside.len()).all(|at| depth(&outside[..at]) > 0);
    parts.len() % 2 == 1
        && outside.len() > 1
        && within
        && depth(&outside) == 0
        && text.ends_with(&outside[outside.len() - 1..])
}

/// What one message says, read as a file.
fn twin(mapping: &Mapping, limits: Limits, offset: u64, text: &[u8], payload: &[u8]) -> Vec<Seen> {
    let whole = |line, what: &str, bytes: &[u8]| vec![Seen { offset, line, what: what.into(), bytes: bytes.to_vec() }];
    // A byte order mark says nothing, and counts in no bound.
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let document = text.trim_ascii();
    let text = match mapping.name() == "json" && document.contains(&b'\n') && is_bracketed(document) {
        true => document.iter().map(|b| if *b == b'\n' { b' ' } else { *b }).collect(),
        false => text.to_vec(),
    };
    let Ok(decoder) = mapping.open(&text) else { return whole(0, "message_header at 0", payload) };
    let mut blocks = from_reader(Box::new(Cursor::new(text)), "message", mapping.framing(), limits).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = blocks.next().unwrap() {
        all.extend(seen(&decoder.decode(batch), Some(offset)));
    }
    if all.is_empty() { whole(0, "dropped", b"") } else { all }
}

fn small(batch_bytes: usize) -> Limits {
    Limits { batch_bytes, batch_lines: 40, max_record_bytes: 90, ..Limits::default() }.of_messages(1 << 20)
}

/// A message as it may come: header or title lines, records whole and torn, its end.
fn text_for(mapping: &'static str) -> BoxedStrategy<String> {
    let cell = prop_oneof![
        3 => "[a-z0-9]{0,5}",
        1 => Just("1700000000".to_owned()),
        1 => "\"[a-z,\n\"]{0,4}\"",
        1 => "[a\"\n\r#]{1,2}",
        1 => "[a-z]{80,120}",
    ];
    let row = prop::collection::vec(cell, 1..4).prop_map(|cells| cells.join(","));
    let json = prop_oneof![
        Just(r#"{"start":17,"a":{"number":"+3"}}"#.to_owned()),
        Just("{\n \"start\": 17,\n \"a\": {\"number\": \"}{\"}\n}".to_owned()),
        Just("[\n1\n]".to_owned()),
        Just(r#"{"start":17,"#.to_owned()),
        "[a{}\\[\\]\"\n]{0,6}",
        Just(format!("{{\"start\":1,\n\"x\":\"{}\"}}", "y".repeat(60))),
    ];
    let fixed = "[0-9]{5,7}";
    let record: BoxedStrategy<String> = match mapping {
        "json" => json.boxed(),
        "fixed" => fixed.boxed(),
        _ => row.boxed(),
    };
    let head: BoxedStrategy<String> = match mapping {
        "headed" => prop_oneof![
            6 => Just("start,a_number,b_number\n".to_owned()),
            2 => Just("a_number,start\r\n".to_owned()),
            1 => Just("# note\nstart,\"a_number\"\n".to_owned()),
            1 => Just("start,a_number".to_owned()),
            1 => Just("start,other\n".to_owned()),
            1 => Just(String::new()),
        ]
        .boxed(),
        "titled" => prop_oneof![
            4 => "[a-z]{0,3}\n".prop_map(|title| format!("{title}start,a_number,more\n")),
            1 => Just("\na_number,start\n".to_owned()),
            1 => Just("start,a_number\n".to_owned()),
        ]
        .boxed(),
        _ => Just(String::new()).boxed(),
    };
    let end = prop_oneof![Just("\n"), Just(""), Just("\r\n"), Just("\n\n")];
    (any::<u8>(), head, prop::collection::vec(record, 0..6), end)
        .prop_map(|(mark, head, records, end)| {
            let mark = if mark < 20 { "\u{feff}" } else { "" };
            format!("{mark}{head}{}{end}", records.join("\n"))
        })
        .boxed()
}

/// A mapping and messages for it: text, packing, whether to flush behind it.
fn feeds() -> impl Strategy<Value = (usize, Vec<(String, u8, bool)>)> {
    (0..MAPPINGS.len()).prop_flat_map(|which| {
        let message = (text_for(MAPPINGS[which].0), 0u8..12, prop::bool::weighted(0.1));
        (Just(which), prop::collection::vec(message, 0..12))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    /// However messages fall into batches, each record is what it is in a file of its message alone,
    /// and its position names that message and the line in it.
    #[test]
    #[ignore = "open (issue 4): some random case in about one run of two still differs from the twin"]
    fn records_are_those_of_each_message_alone((which, messages) in feeds(), batch_bytes in 60usize..600) {
        let (name, toml) = MAPPINGS[which];
        let mapping = Mapping::parse(name, toml).unwrap();
        let limits = small(batch_bytes);
        let mut assembler = Assembler::new(&mapping, &[], limits).unwrap();
        let (mut ready, mut expected) = (Vec::new(), Vec::new());
        for (n, (text, how, flush)) in messages.iter().enumerate() {
            let offset = 3 * n as u64;
            let payload = packed(*how, text.as_bytes());
            expected.extend(twin(&mapping, limits, offset, text.as_bytes(), &payload));
            assembler.push(offset as i64, Some(&payload), None, &mut ready);
            if *flush {
                assembler.flush(&mut ready);
                prop_assert_eq!(assembler.held_bytes(), 0);
            }
        }
        assembler.flush(&mut ready);
        let mut found = Vec::new();
        for Piece { batch, decoder, .. } in ready {
            prop_assert!(batch.messages.len() == 1 || batch.bytes.len() <= batch_bytes + batch.messages.len());
            let decoded = decoder.decode(batch);
            let dropped: u64 = decoded.dropped.iter().map(|d| d.1).sum();
            let settled = decoded.rows.len() + decoded.rejects.len();
            prop_assert_eq!(settled as u64 + dropped, decoded.records.len() as u64);
            found.extend(seen(&decoded, None));
        }
        if mapping.name() == "json" {
            // The twin reads a document with its line ends made blanks.
            let blanks = |bytes: &mut Vec<u8>| bytes.iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b' ');
            found.iter_mut().chain(&mut expected).for_each(|seen| blanks(&mut seen.bytes));
        }
        // Kinds of message are handed out one after the other.
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}

fn assemble(mapping: &Mapping, limits: Limits, messages: &[Option<&[u8]>]) -> Vec<Decoded> {
    let mut assembler = Assembler::new(mapping, &[], limits).unwrap();
    let mut ready = Vec::new();
    for (offset, message) in messages.iter().enumerate() {
        assembler.push(offset as i64, *message, None, &mut ready);
    }
    assembler.flush(&mut ready);
    ready.into_iter().map(|piece| piece.decoder.decode(piece.batch)).collect()
}

fn outcomes(decoded: &[Decoded]) -> Vec<(u64, u64, String)> {
    let mut all: Vec<_> = decoded.iter().flat_map(|d| seen(d, None)).collect();
    all.sort();
    all.into_iter().map(|s| (s.offset, s.line, s.what)).collect()
}

#[test]
fn a_quote_left_open_never_reaches_the_next_message() {
    let mapping = Mapping::parse("headed", HEADED).unwrap();
    let message = |text: &'static str| Some(text.as_bytes());
    let decoded = assemble(
        &mapping,
        Limits::default(),
        &[
            message("start,a_number\n1,\"open"),
            message("start,a_number\n2,b\"\n"),
            message("start,a_number\n3,\"c\nd\""),
        ],
    );
    assert_eq!(decoded.len(), 1, "they share a batch all the same");
    let expected = [(0, 1, "unbalanced_quote at 2"), (1, 1, "unbalanced_quote at 2"), (2, 1, "3|c\nd|")];
    assert_eq!(outcomes(&decoded), expected.map(|(offset, line, what)| (offset, line, what.to_owned())));
}

/// Two messages of half a character each are no character.
#[test]
fn text_never_runs_from_one_message_into_the_next() {
    let mapping = Mapping::parse("json", JSON).unwrap();
    let half = [b"{\"start\":1}\n{\"start\":\"\xC3" as &[u8], b"\xA9\"}"];
    let decoded = assemble(&mapping, Limits::default(), &half.map(Some));
    let rejects: Vec<_> = decoded[0].rejects.iter().map(|r| (r.record, r.reason)).collect();
    assert_eq!(rejects, [(1, Reason::InvalidUtf8), (2, Reason::InvalidUtf8)]);
}

#[test]
fn headers_share_batches_and_are_parsed_once() {
    let mapping = shipped_mapping("generic-voice");
    let mut assembler = Assembler::new(&mapping, &[], Limits::default().of_messages(64 << 20)).unwrap();
    let mut ready = Vec::new();
    for offset in 0..100 {
        let text = match offset % 2 {
            0 => "start,a_number,b_number\n2026-11-21T10:00:00Z,+32470123456,+32470123457\n",
            _ => "b_number,a_number,start\n+32470123457,+32470123456,2026-11-21T10:00:00Z",
        };
        assembler.push(offset, Some(text.as_bytes()), Some(1000 - offset), &mut ready);
    }
    assert!(ready.is_empty());
    let stretch = assembler.flush(&mut ready).unwrap();
    assert_eq!((stretch.first, stretch.next, stretch.messages, stretch.newest_ms), (0, 100, 100, Some(1000)));
    assert_eq!(assembler.flush(&mut ready), None);
    assert_eq!(ready.iter().map(|p| p.batch.messages.len()).collect::<Vec<_>>(), [50, 50]);
    assert!(ready.into_iter().all(|p| p.decoder.decode(p.batch).rows.len() == 50));
}

#[test]
fn more_headers_than_are_kept_apart_lose_nothing() {
    let mapping = shipped_mapping("cisco-cucm");
    let cisco = shipped().iter().find(|(n, _)| *n == "cisco-cucm").unwrap().1;
    assert!(cisco.contains("header = \"named\""), "columns nobody asked for make headers differ");
    let good = include_str!("../../../schemas/cdr/cisco-cucm/good/plain.csv");
    let (header, row) = good.split_once('\n').unwrap();
    let texts: Vec<String> = (0..60).map(|n| format!("{header},\"extra{}\"\n{}", n % 20, row)).collect();
    let messages: Vec<Option<&[u8]>> = texts.iter().map(|t| Some(t.as_bytes())).collect();
    let decoded = assemble(&mapping, Limits::default(), &messages);
    let records: usize = decoded.iter().map(|d| d.records.len()).sum();
    assert_eq!(records, 60 * row.lines().count());
}

#[test]
fn named_columns_stand_for_the_header() {
    let mapping = shipped_mapping("generic-voice");
    let columns = ["a_number", "start", "b_number"].map(String::from);
    let mut assembler = Assembler::new(&mapping, &columns, Limits::default()).unwrap();
    let mut ready = Vec::new();
    assembler.push(7, Some(b"+32470123456,2026-11-21T10:00:00Z,+32470123457"), None, &mut ready);
    assembler.flush(&mut ready);
    let Piece { batch, decoder, .. } = ready.pop().unwrap();
    let decoded = decoder.decode(batch);
    let start = decoded.column(crate::record::field::Field::Start).unwrap().1[0];
    assert_eq!(start.of(&decoded.text), b"2026-11-21T10:00:00Z");

    let unknown = ["start", "a_number", "nonsense"].map(String::from);
    assert!(matches!(
        Assembler::new(&mapping, &unknown, Limits::default()).err(),
        Some(OpenError::UnknownColumn { number: 3, .. })
    ));
    let positional = shipped_mapping("asterisk");
    assert_eq!(Assembler::new(&positional, &columns, Limits::default()).err(), Some(OpenError::NoHeader));
}

#[test]
fn what_cannot_be_taken_apart_is_one_reject_with_its_reason() {
    let mapping = Mapping::parse("titled", TITLED).unwrap();
    let zeros = vec![b'0'; 8 << 20];
    let gzip = packed(1, b"\nstart,a_number\n1,2\n");
    let damaged = [&gzip[..gzip.len() - 6], &[0xff; 6]].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (packed(1, &zeros), "message_bomb at 0"),
        (packed(2, &zeros), "message_bomb at 0"),
        (packed(3, &zeros), "message_bomb at 0"),
        (gzip[..gzip.len() - 3].to_vec(), "message_damaged at 0"),
        (damaged, "message_damaged at 0"),
        (vec![0x1f, 0x8b], "message_damaged at 0"),
        (packed(2, b"x")[..9].to_vec(), "message_damaged at 0"),
        (b"PK\x03\x04rest".to_vec(), "message_unsupported at 0"),
        (zeros, "message_too_long at 0"),
        (b"\nstart,nothing\n1,2\n".to_vec(), "message_header at 0"),
        (b"\nstart,\"a_number\n1,2\n".to_vec(), "message_header at 0"),
        (b"title\nstart,a_number\n".to_vec(), "dropped"),
        (packed(1, b""), "dropped"),
        (b"\n\n".to_vec(), "dropped"),
        (b"".to_vec(), "dropped"),
        (gzip, "1|2"),
    ];
    for (payload, what) in &cases {
        let limits = Limits { max_ratio: 100, ..Limits::default() }.of_messages(4 << 20);
        let decoded = assemble(&mapping, limits, &[Some(payload)]);
        assert_eq!(decoded.len(), 1);
        let found = seen(&decoded[0], None);
        assert_eq!(found.iter().map(|s| s.what.as_str()).collect::<Vec<_>>(), [*what]);
        match *what {
            "dropped" => assert_eq!(decoded[0].dropped, [(EMPTY_MESSAGE.into(), 1)]),
            "1|2" => assert_eq!(found[0].line, 2),
            _ => assert!(found[0].bytes == *payload, "sealed as it arrived"),
        }
    }
    assert_eq!(assemble(&mapping, Limits::default(), &[None])[0].dropped, [(EMPTY_MESSAGE.into(), 1)]);
}

/// A bomb costs what the bounds allow, not what it would unpack to.
#[test]
fn a_bomb_is_refused_after_bounded_work() {
    let mut unpacker = Unpacker::new(Limits::default().of_messages(4 << 20));
    let zeros = vec![0; 20 << 20];
    let (gzip, bzip2) = (packed(1, &zeros), packed(3, &zeros));
    assert_eq!(unpacker.unpack(&gzip), Err(Reason::MessageBomb));
    assert_eq!(unpacker.work(), (4 << 20) + 1, "by size");
    assert!(bzip2.len() < 4000);
    assert_eq!(unpacker.unpack(&bzip2), Err(Reason::MessageBomb));
    assert_eq!(unpacker.work(), (bzip2.len() * 1000).max(1 << 20) + 1, "by ratio");
}

#[test]
fn records_too_long_come_in_pieces_and_count_once() {
    let mapping = Mapping::parse("layouts", LAYOUTS).unwrap();
    let text = format!("1,a\n{}\n2,b\n", "x".repeat(200));
    let mut assembler = Assembler::new(&mapping, &[], small(100)).unwrap();
    let mut ready = Vec::new();
    assembler.push(4, Some(text.as_bytes()), None, &mut ready);
    let found: Vec<_> = ready
        .into_iter()
        .map(|Piece { batch, decoder, continuation }| {
            let decoded = decoder.decode(batch);
            let seen = seen(&decoded, None).remove(0);
            (seen.offset, seen.line, seen.what, continuation)
        })
        .collect();
    let long = |continuation| (4, 1, "record_too_long at 0".to_owned(), continuation);
    let row = |line, what: &str| (4, line, what.to_owned(), false);
    assert_eq!(found, [row(0, "1|a"), long(false), long(true), long(true), row(2, "2|b")]);
}

#[test]
fn what_is_held_can_be_forgotten() {
    let mapping = Mapping::parse("fixed", FIXED).unwrap();
    let mut assembler = Assembler::new(&mapping, &[], Limits::default()).unwrap();
    let mut ready = Vec::new();
    assembler.push(1, Some(b"123456"), None, &mut ready);
    assert_eq!(assembler.held_bytes(), 6);
    assembler.clear();
    assert_eq!((assembler.held_bytes(), assembler.flush(&mut ready)), (0, None));
    assert!(ready.is_empty());
}
