use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::*;

fn plan(format: Format, records: u64) -> Plan {
    Plan {
        format,
        records,
        subscribers: 1000,
        first: "2026-11-16".parse().unwrap(),
        days: 3,
        seed: 42,
        broken_ppm: 0,
        home: country::home("BE").unwrap(),
    }
}

fn bytes(plan: &Plan) -> Vec<u8> {
    let mut out = Vec::new();
    write(plan, &mut out).unwrap();
    out
}

fn lines(plan: &Plan) -> Vec<Vec<u8>> {
    let out = bytes(plan);
    if out.is_empty() {
        return Vec::new();
    }
    assert_eq!(out.last(), Some(&b'\n'));
    out[..out.len() - 1].split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

/// Rows of a clean comma-separated plan, header left out.
fn csv_rows(plan: &Plan) -> Vec<csv::StringRecord> {
    let out = bytes(plan);
    let headed =
        matches!(plan.format, Format::GenericVoice | Format::GenericSms | Format::GenericData | Format::CiscoCucm);
    csv::ReaderBuilder::new().has_headers(headed).from_reader(&out[..]).records().map(Result::unwrap).collect()
}

fn framing_lines(format: Format) -> usize {
    match format {
        Format::GenericVoice | Format::GenericSms | Format::GenericData => 1,
        Format::CiscoCucm | Format::FixedWidth => 2,
        _ => 0,
    }
}

/// A change of these bytes changes every benchmark and demo: do it on purpose.
#[test]
fn the_same_plan_gives_the_same_bytes_on_every_machine() {
    let pinned: [(Format, &str); 9] = [
        (Format::GenericVoice, "53b6ee316e3e5b58"),
        (Format::GenericSms, "e67c83248175b469"),
        (Format::GenericData, "64311b16f62fbf7c"),
        (Format::Asterisk, "fb93a7776b2beed5"),
        (Format::Freeswitch, "fdc9a7e900adb716"),
        (Format::CiscoCucm, "a919e53ffdf207d2"),
        (Format::Kamailio, "7ab13bccaf500ec8"),
        (Format::FixedWidth, "3d7b66eedf46b41c"),
        (Format::JsonLines, "c43d7801c2e6319a"),
    ];
    let seen = pinned.map(|(format, _)| {
        let digest = Sha256::digest(bytes(&Plan { broken_ppm: 10_000, ..plan(format, 5000) }));
        (format, digest[..8].iter().map(|b| format!("{b:02x}")).collect::<String>())
    });
    let expected = pinned.map(|(format, digest)| (format, digest.to_owned()));
    assert_eq!(seen, expected);
}

#[test]
fn another_seed_gives_other_records() {
    let one = plan(Format::GenericVoice, 100);
    assert_ne!(bytes(&one), bytes(&Plan { seed: 43, ..plan(Format::GenericVoice, 100) }));
}

#[test]
fn every_format_writes_as_many_rows_as_asked() {
    for format in Format::ALL {
        for records in [0, 1, 2, 7, 100, 5003] {
            let rows = lines(&plan(format, records)).len() - framing_lines(format);
            assert_eq!(rows as u64, records, "{}", format.name());
        }
    }
}

#[test]
fn rows_have_the_shape_of_their_format() {
    let columns = [
        (Format::GenericVoice, 16),
        (Format::GenericSms, 10),
        (Format::GenericData, 12),
        (Format::Asterisk, 18),
        (Format::Freeswitch, 15),
        (Format::CiscoCucm, 48),
    ];
    for (format, width) in columns {
        for row in csv_rows(&plan(format, 3000)) {
            assert_eq!(row.len(), width, "{}", format.name());
        }
    }
    for row in lines(&plan(Format::JsonLines, 3000)) {
        let value: serde_json::Value = serde_json::from_slice(&row).unwrap();
        for key in value.as_object().unwrap().keys() {
            assert!(crate::record::field::Field::from_name(key).is_some(), "{key}");
        }
    }
    let fixed = lines(&plan(Format::FixedWidth, 3000));
    assert!(fixed[1..3001].iter().all(|row| row.len() == 223 && row.starts_with(b"CDR")));
    assert!(fixed[0].starts_with(b"HDR") && fixed[3001].starts_with(b"TRL") && fixed[3001].ends_with(b"0000003000"));
}

#[test]
fn headers_of_the_generic_formats_are_canonical_names() {
    for format in [Format::GenericVoice, Format::GenericSms, Format::GenericData] {
        let header = String::from_utf8(lines(&plan(format, 1))[0].clone()).unwrap();
        for name in header.split(',') {
            assert!(crate::record::field::Field::from_name(name).is_some(), "{name}");
        }
    }
}

#[test]
fn damage_touches_its_share_of_rows_and_no_other() {
    for format in Format::ALL {
        let clean = lines(&plan(format, 40_000));
        let damaged = lines(&Plan { broken_ppm: 20_000, ..plan(format, 40_000) });
        assert_eq!(clean.len(), damaged.len(), "{}", format.name());
        let differing = clean.iter().zip(&damaged).filter(|(a, b)| a != b).count();
        assert!((650..950).contains(&differing), "{}: {differing} of 800", format.name());
    }
}

#[test]
fn every_answered_kamailio_call_is_closed_and_in_order() {
    let rows = lines(&plan(Format::Kamailio, 5000));
    let mut open = HashSet::new();
    let mut failed = 0;
    for row in &rows {
        let fields: Vec<&[u8]> = row.split(|b| *b == b'|').collect();
        assert_eq!(fields.len(), 9);
        match (fields[0], fields[4]) {
            (b"INVITE", b"200") => assert!(open.insert(fields[3].to_vec())),
            (b"INVITE", _) => failed += 1,
            (b"BYE", b"200") => assert!(open.remove(fields[3])),
            _ => panic!("unknown row"),
        }
    }
    assert!(failed > 500, "{failed}");
    assert!(open.len() <= 1, "one call may lack its last row when the count is odd");
}

#[test]
fn all_days_are_covered_and_none_beside_them() {
    let mut days: HashMap<String, u32> = HashMap::new();
    for row in csv_rows(&plan(Format::GenericVoice, 30_000)) {
        *days.entry(row[0][..10].to_owned()).or_default() += 1;
    }
    let mut seen: Vec<(String, u32)> = days.into_iter().collect();
    seen.sort();
    assert_eq!(seen.iter().map(|d| d.0.as_str()).collect::<Vec<_>>(), ["2026-11-16", "2026-11-17", "2026-11-18"]);
    assert!(seen.iter().all(|d| d.1 > 9_000));
}

#[test]
fn few_callers_make_many_calls() {
    let mut calls: HashMap<String, u32> = HashMap::new();
    let mut total = 0;
    for row in csv_rows(&plan(Format::GenericVoice, 50_000)).iter().filter(|r| !r[4].is_empty()) {
        *calls.entry(row[4].to_owned()).or_default() += 1;
        total += 1;
    }
    let mut counts: Vec<u32> = calls.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let top_tenth: u32 = counts[..100].iter().sum();
    assert!(top_tenth * 3 > total, "a tenth of the callers makes {top_tenth} of {total} calls");
    assert!(counts.len() > 900, "and nearly everybody calls");
}

#[test]
fn the_load_has_the_variety_of_a_real_feed() {
    let rows = csv_rows(&plan(Format::GenericVoice, 100_000));
    let share = |of: &dyn Fn(&csv::StringRecord) -> bool| rows.iter().filter(|r| of(r)).count() * 1000 / rows.len();
    let a_starts = |prefix: &'static str| move |r: &csv::StringRecord| r[1].starts_with(prefix);
    assert!((300..600).contains(&share(&a_starts("+"))));
    assert!((50..250).contains(&share(&a_starts("00"))));
    assert!(share(&|r| r[1].starts_with('0') && !r[1].starts_with("00")) > 150);
    assert!(share(&a_starts("tel:")) > 20 && share(&a_starts("sip:")) > 10);
    assert!(share(&a_starts("anonymous")) > 5);
    assert!((200..350).contains(&share(&|r| &r[8] == "false")), "unanswered");
    assert!((10..60).contains(&share(&|r| !r[11].is_empty() && !r[11].starts_with("206"))), "roaming");
    assert!(rows.iter().any(|r| &r[2] == "112") && rows.iter().any(|r| &r[2] == "116123"), "sensitive");
    assert!(share(&|r| !r[12].is_empty()) > 20 && share(&|r| !r[13].is_empty()) > 20, "trunks");
    assert!(share(&|r| !r[3].is_empty()) > 3, "forwarded");
    assert!(rows.iter().all(|r| r[14].is_empty() == r[15].is_empty()), "a charge has its currency");
    let sms = csv_rows(&plan(Format::GenericSms, 10_000));
    assert!(sms.iter().any(|r| &r[1] == "MYBANK"), "alphanumeric senders");
}

#[test]
fn a_reader_that_goes_away_is_an_error_of_its_kind() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = write(&plan(Format::GenericVoice, 10), &mut Gone).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
