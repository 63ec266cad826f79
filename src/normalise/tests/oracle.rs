//! The `phonenumber` crate (libphonenumber's rules) as a second opinion, and injectivity at scale.

use crate::normalise::profile::Profile;
use crate::normalise::selection;
use crate::normalise::tests::{callers, decoded, months, spec};
use crate::normalise::{Accept, Normaliser};
use crate::record::field::Field;
use crate::record::identifier::{Kind, Party};
use phonenumber::Metadata;
use phonenumber::metadata::{DATABASE, Descriptor};

type Pick = fn(&Metadata) -> Option<&Descriptor>;

const TYPES: [Pick; 10] = [
    |m| m.descriptors().fixed_line(),
    |m| m.descriptors().mobile(),
    |m| m.descriptors().toll_free(),
    |m| m.descriptors().premium_rate(),
    |m| m.descriptors().shared_cost(),
    |m| m.descriptors().personal_number(),
    |m| m.descriptors().voip(),
    |m| m.descriptors().pager(),
    |m| m.descriptors().uan(),
    |m| m.descriptors().voicemail(),
];

/// (region, calling code, national number) of every example number that exists.
fn examples() -> Vec<(String, u16, String)> {
    let mut all = Vec::new();
    for meta in DATABASE.iter() {
        for pick in TYPES {
            if let Some(example) = pick(meta).and_then(|d| d.example()) {
                all.push((meta.id().to_string(), meta.country_code(), example.to_string()));
            }
        }
    }
    all
}

#[test]
fn the_example_numbers_of_every_region_are_read_as_the_oracle_reads_them() {
    let examples = examples();
    assert!(examples.len() > 1000, "{}", examples.len());
    let texts: Vec<String> = examples.iter().map(|(_, code, national)| format!("+{code}{national}")).collect();
    let found = callers(&Profile::of("BE", "UTC"), &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let (mut wrong, mut agreed) = (Vec::new(), 0);
    for (((region, code, national), text), found) in examples.iter().zip(&texts).zip(found) {
        // The crate strips a trunk prefix 8 from a few +7, +370 and +375 examples of its own data.
        let oracle = phonenumber::parse(None, text);
        agreed += usize::from(oracle.is_ok_and(|o| o.code().value() == *code && o.national().to_string() == *national));
        match found {
            Ok((Kind::E164 | Kind::Service, canonical)) if canonical == *text => {}
            // A sensitive service is a token, whatever the oracle says.
            Ok((kind, _)) if kind.is_sensitive() => {}
            // Canada's 310 numbers cannot be dialled from abroad.
            Ok((Kind::Short, canonical)) if canonical == "1#3101234" => {}
            found => wrong.push(format!("{region} {text} {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        examples.len() - agreed <= 12,
        "the oracle reads {} of its own examples otherwise",
        examples.len() - agreed
    );
}

#[test]
fn example_numbers_dialled_at_home_are_the_same_numbers() {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for meta in DATABASE.iter().filter(|m| m.id() != "001") {
        let profile = Profile::of(meta.id(), "UTC");
        let prefix = meta.national_prefix().unwrap_or("");
        for pick in &TYPES[..2] {
            let Some(example) = pick(meta).and_then(|d| d.example()) else { continue };
            let expected = format!("+{}{example}", meta.country_code());
            let dialled = format!("{prefix}{example}");
            let found = callers(&profile, &[&dialled, &expected, &expected.replace('+', "00")]);
            tried += 1;
            for found in found {
                if !matches!(&found, Ok((Kind::E164 | Kind::Service, canonical)) if *canonical == expected) {
                    wrong.push(format!("{} {dialled} {expected} {found:?}", meta.id()));
                }
            }
        }
    }
    assert!(tried > 400);
    assert!(wrong.is_empty(), "{} of {tried} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Trunk prefix, every international prefix, `+CC (0)`, and whatever a carrier's customers dial.
#[test]
fn every_notation_of_one_number_gives_one_form() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for meta in DATABASE.iter().filter(|m| m.id() != "001") {
        let code = meta.country_code().to_string();
        let trunk = meta.national_prefix().unwrap_or("");
        for pick in &TYPES[..2] {
            let Some(example) = pick(meta).and_then(|d| d.example()) else { continue };
            let example = example.to_string();
            let expected = format!("+{code}{example}");
            let mut texts = vec![format!("{trunk}{example}"), format!("00{code}{example}"), format!("tel:{expected}")];
            texts.extend((trunk == "0").then(|| format!("+{code} (0) {example}")));
            for (_, prefix, lengths) in selection::samples().filter(|s| s.0 == code) {
                if lengths >> example.len() & 1 == 1 {
                    texts.extend([format!("{prefix}{example}"), format!("+{code}{prefix}{example}")]);
                }
            }
            tried += texts.len();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            for (text, found) in texts.iter().zip(callers(&Profile::of(meta.id(), "UTC"), &texts)) {
                if !matches!(&found, Ok((Kind::E164 | Kind::Service, canonical)) if *canonical == expected) {
                    wrong.push(format!("{} {text} {expected} {found:?}", meta.id()));
                }
            }
        }
    }
    assert!(tried > 1500, "{tried}");
    assert!(wrong.is_empty(), "{} of {tried} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn mobile_numbers_that_are_written_otherwise_at_home_are_the_same_numbers() {
    for (country, expected, texts) in [
        (
            "AR",
            "+5491123456789",
            &["011 15 2345-6789", "11 15 23456789", "+54 11 15 2345 6789", "+54 9 11 2345 6789", "0 9 11 23456789"][..],
        ),
        ("AR", "+5493541234567", &["03541 15 234567", "+54 3541 15 234567", "+54 9 3541 15 234567"]),
        ("AR", "+541123456789", &["011 2345-6789", "+54 11 2345 6789"]),
        (
            "BR",
            "+5511987654321",
            &["0 15 11 98765 4321", "90 21 11 987654321", "011 987654321", "+55 0 31 11 987654321"],
        ),
        ("MX", "+525512345678", &["55 1234 5678", "+52 1 55 1234 5678", "00 52 1 55 1234 5678"]),
        ("LT", "+37061234567", &["8 612 34567", "0 612 34567", "+370 8 612 34567"]),
        ("CN", "+8613812345678", &["17951 138 1234 5678", "13812345678"]),
        ("CN", "+8617951138123", &["17951138123"]),
    ] {
        for (text, found) in texts.iter().zip(callers(&Profile::of(country, "UTC"), texts)) {
            assert_eq!(found, Ok((Kind::E164, expected.to_owned())), "{country} {text}");
        }
    }
}

/// Every number the oracle calls possible passes; what it calls impossible is our own affair.
#[test]
fn possible_numbers_pass() {
    let mut state = 7u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let texts: Vec<String> = (0..3000)
        .map(|_| {
            let len = 8 + next() % 8;
            let first = 1 + next() % 9;
            format!("+{first}{}", (1..len).map(|_| char::from(b'0' + (next() % 10) as u8)).collect::<String>())
        })
        .collect();
    let found = callers(&Profile::of("BE", "UTC"), &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut possible = 0;
    for (text, found) in texts.iter().zip(found) {
        if phonenumber::parse(None, text).is_ok() {
            possible += 1;
            assert!(found.is_ok(), "{text}");
        }
    }
    assert!(possible > 500, "{possible}");
}

/// Distinct numbers never merge: every canonical form is the number itself.
///
/// The numbers are calling code and national number without a trunk zero, so that each is the
/// only notation of its number; equality of form and number for all is injectivity.
#[test]
fn ten_million_distinct_numbers_stay_distinct() {
    let total: u64 = if cfg!(debug_assertions) { 400_000 } else { 10_000_000 };
    let specs = [spec(Field::Start), spec(Field::ANumber)];
    let normaliser = Normaliser::new(&Profile::of("BE", "UTC"), &specs).unwrap();
    let epochs = months();
    let accept = Accept { earliest_ms: i64::MIN, latest_ms: i64::MAX, epochs: &epochs };
    // A bit per number: 10^8 numbers behind each of eight leads.
    let leads = ["+324", "+336", "+4477", "+49151", "+120", "+749", "+3519", "+86138"];
    let mut seen = vec![0u64; (leads.len() * 100_000_000).div_ceil(64)];
    let mut merged = 0;
    for from in (0..total).step_by(100_000) {
        // A multiplier without common factor with 8 * 10^8 visits each number once.
        let numbers = (from..from + 100_000).map(|i| i * 387_420_489 % 800_000_000);
        let texts: Vec<String> =
            numbers.map(|n| format!("{}{:08}", leads[(n / 100_000_000) as usize], n % 100_000_000)).collect();
        let rows: Vec<Vec<&str>> = texts.iter().map(|t| vec!["2026-11-22T12:00:00Z", t.as_str()]).collect();
        let (clear, rejects) = normaliser.normalise(&decoded(&specs, &rows), &accept);
        assert!(rejects.is_empty());
        for row in 0..clear.rows() {
            assert!(clear.parties[0].kinds[row].is_hashed());
            let (lead, rest) = clear.identifier(Party::A, row).split_last_chunk::<8>().unwrap();
            let lead = leads.iter().position(|l| l.as_bytes() == lead).unwrap();
            let slot = lead * 100_000_000 + rest.iter().fold(0usize, |n, b| n * 10 + usize::from(b - b'0'));
            merged += seen[slot / 64] >> (slot % 64) & 1;
            seen[slot / 64] |= 1 << (slot % 64);
        }
    }
    assert_eq!(merged, 0);
}

/// Not a benchmark, a figure: run with `--nocapture`.
#[test]
fn time_per_record_with_four_identifiers() {
    let fields =
        [Field::Start, Field::ANumber, Field::BNumber, Field::Imsi, Field::Imei, Field::Duration, Field::Direction];
    let specs = fields.map(spec);
    let texts: Vec<[String; 2]> = (0..100_000)
        .map(|i| [format!("+324{:08}", i * 997 % 100_000_000), format!("04{:08}", i * 991 % 100_000_000)])
        .collect();
    let rows: Vec<Vec<&str>> = texts
        .iter()
        .map(|[a, b]| vec!["2026-11-22T12:00:00Z", a, b, "206010123456789", "35123456789012", "63", "MO"])
        .collect();
    let decoded = decoded(&specs, &rows);
    let normaliser = Normaliser::new(&Profile::of("BE", "UTC"), &specs).unwrap();
    let epochs = months();
    let accept = Accept { earliest_ms: i64::MIN, latest_ms: i64::MAX, epochs: &epochs };
    let mut best = u128::MAX;
    for _ in 0..5 {
        let started = std::time::Instant::now();
        let (clear, _) = normaliser.normalise(&decoded, &accept);
        best = best.min(started.elapsed().as_nanos() / 100_000);
        assert_eq!(clear.rows(), 100_000);
    }
    eprintln!("normalise: {best} ns/record");
}
