//! Whatever bytes arrive, the readers of outside input answer: no panic, and no record lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use cdrveil::decode::mapping::Mapping;
use cdrveil::decode::shipped::shipped;
use cdrveil::normalise::profile::Profile;
use cdrveil::normalise::{Accept, Normaliser};
use cdrveil::record::packed;
use cdrveil::record::raw::{Framing, RawBatch};
use cdrveil::record::time::Day;
use cdrveil::source::{self, Limits};
use cdrveil::tally::contributors::Contributors;
use cdrveil::tally::distinct::Distinct;
use proptest::prelude::*;

const DAY: Day = Day(20_778);

/// Bytes that mean something to some format, more often than chance has them.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b",".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"{\"start\":".to_vec()),
        Just(b"}".to_vec()),
        Just(b"2026-11-21T10:00:00Z".to_vec()),
        Just(b"1795255200".to_vec()),
        Just(b"+32470123456".to_vec()),
        Just(b"sip:%34@[::1]".to_vec()),
        Just(vec![0]),
        Just(vec![0xff, 0xfe]),
        prop::collection::vec(any::<u8>(), 0..24),
        "[0-9a-f+*#(). -]{0,20}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// The head that a format's files have, so that what follows is read as records.
fn head(mapping: &str) -> Vec<u8> {
    let format = cdrveil::generate::format::Format::from_name(mapping);
    let Some(format) = format else { return Vec::new() };
    let home = cdrveil::generate::country::home("BE").unwrap();
    let plan = cdrveil::generate::Plan {
        format,
        records: 2,
        subscribers: 10,
        first: DAY,
        days: 1,
        seed: 1,
        broken_ppm: 0,
        home,
    };
    let mut bytes = Vec::new();
    cdrveil::generate::write(&plan, &mut bytes).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Every record is a row, a half, a reject or a counted drop; every row a clear row or a reject.
    #[test]
    fn every_shipped_mapping_accounts_for_every_record(tail in text(), headed in any::<bool>()) {
        for (name, toml) in shipped() {
            let mapping = Mapping::parse(name, toml).unwrap();
            let mut bytes = if headed { head(name) } else { Vec::new() };
            bytes.extend_from_slice(&tail);
            let Ok(decoder) = mapping.open(&bytes) else { continue };
            let batch = RawBatch::of_file(bytes, 0, 0);
            let decoded = decoder.decode(batch);
            let dropped: u64 = decoded.dropped.iter().map(|d| d.1).sum();
            let settled = decoded.rows.len() + decoded.rejects.len() + decoded.halves.len();
            prop_assert_eq!(settled as u64 + dropped, decoded.records.len() as u64, "{}", name);
            prop_assert!(decoded.columns.iter().all(|c| c.len() == decoded.rows.len()), "{}", name);

            let profile = Profile { currency: Some("EUR".into()), ..Profile::of("BE", "Europe/Brussels") };
            let normaliser = Normaliser::new(&profile, mapping.specs()).unwrap();
            let epochs = [DAY.epoch()];
            let accept = Accept { earliest_ms: i64::MIN, latest_ms: i64::MAX, epochs: &epochs };
            let (clear, rejects) = normaliser.normalise(&decoded, &accept);
            prop_assert_eq!(clear.rows() + rejects.len(), decoded.rows.len(), "{}", name);
            for row in 0..clear.rows() {
                let mut packed = Vec::new();
                packed::pack(&clear, row, &mut packed);
                prop_assert!(packed::unpack(&packed).is_some(), "{}", name);
            }
        }
    }

    /// Blocks hold every byte that came, in order, whatever compression it claims to be.
    #[test]
    fn a_source_hands_out_what_it_read_or_refuses(
        bytes in prop_oneof![text(), text().prop_map(|t| [&[0x1f, 0x8b, 8][..], &t].concat()),
            text().prop_map(|t| [&[0x28, 0xb5, 0x2f, 0xfd][..], &t].concat()),
            text().prop_map(|t| [&b"BZh9"[..], &t].concat())],
        quoted in any::<bool>(),
    ) {
        let framing = if quoted { Framing::QuotedLines { quote: b'"' } } else { Framing::Lines };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, &bytes).unwrap();
        let limits = Limits { batch_bytes: 64, max_record_bytes: 48, ..Limits::default() };
        if let Ok(mut blocks) = source::open(&path, framing, limits) {
            let mut seen = Vec::new();
            while let Ok(Some(batch)) = blocks.next() {
                prop_assert_eq!(batch.offset, seen.len() as u64);
                seen.extend_from_slice(&batch.bytes);
            }
            if let Ok(finished) = blocks.finish() {
                prop_assert_eq!(finished.bytes, seen.len() as u64);
            }
        }
    }

    #[test]
    fn stored_forms_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = packed::unpack(&bytes);
        let versioned = [&[packed::VERSION][..], &bytes].concat();
        let _ = packed::unpack(&versioned);
        let _ = Contributors::from_bytes(&bytes);
        let _ = Distinct::from_bytes(&bytes);
    }

    #[test]
    fn a_query_is_let_through_or_refused(sql in "(SELECT|FROM|cells|--|/\\*|\\*/|;|'|\"|\\$\\$|[ a-z(),é]){0,30}") {
        let _ = cdrveil::query::guard::check(&sql);
    }

    /// A mapping is damaged in one place: it is refused with a line of the text, or is a mapping.
    #[test]
    fn a_damaged_mapping_is_refused_with_a_line(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        junk in "[\\[\\]=\"{}a-z0-9\n.]{0,6}",
    ) {
        let (name, text) = shipped()[which.index(shipped().len())];
        let at = at.index(text.len());
        prop_assume!(text.is_char_boundary(at));
        let damaged = format!("{}{junk}{}", &text[..at], &text[at..]);
        if let Err(error) = Mapping::parse(name, &damaged) {
            prop_assert!(error.line <= damaged.lines().count() + 1);
            prop_assert!(!error.message.is_empty());
        }
    }
}
