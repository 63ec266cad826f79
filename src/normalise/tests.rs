//! Whole batches through `normalise`, and the `phonenumber` crate as an oracle (tests only).

use crate::normalise::profile::{NationalForm, Profile, TonCoding};
use crate::normalise::{Accept, Normaliser};
use crate::record::clear::{ABSENT_U32, Answered, Clear, Service};
use crate::record::decoded::{Decoded, Span};
use crate::record::field::{Codec, DurationUnit, Field, FieldSpec, TimeFormat, TimeZoneChoice};
use crate::record::identifier::{Kind, Party};
use crate::record::reject::{Reason, Reject};
use crate::record::time::Epoch;
use std::collections::BTreeMap;
use std::sync::Arc;

mod oracle;
mod times;

const START: &str = "2026-11-22T12:00:00Z";

fn spec(field: Field) -> FieldSpec {
    let codec = match field {
        Field::Start | Field::Answer | Field::End => Codec::Time(TimeFormat::Rfc3339),
        _ => Codec::Plain,
    };
    FieldSpec { field, codec, null: Vec::new() }
}

fn decoded(specs: &[FieldSpec], rows: &[Vec<&str>]) -> Decoded {
    let mut text = Vec::new();
    let mut columns = vec![Vec::new(); specs.len()];
    for row in rows {
        for (column, cell) in columns.iter_mut().zip(row) {
            column.push(Span { start: text.len() as u32, len: cell.len() as u32 });
            text.extend_from_slice(cell.as_bytes());
        }
    }
    Decoded {
        text,
        file: 0,
        offset: 0,
        first_line: 0,
        records: vec![Span { start: 0, len: 0 }; rows.len()],
        lines: (0..rows.len() as u32).collect(),
        messages: Vec::new(),
        in_message: Vec::new(),
        rows: (0..rows.len() as u32).collect(),
        specs: Arc::from(specs),
        columns,
        inputs: (1..=specs.len() as u16).collect(),
        rejects: Vec::new(),
        dropped: Vec::new(),
        halves: Vec::new(),
    }
}

fn local(pattern: &str, zone: TimeZoneChoice) -> FieldSpec {
    let pattern = TimeFormat::Pattern { pattern: pattern.into(), zone };
    FieldSpec { field: Field::Start, codec: Codec::Time(pattern), null: Vec::new() }
}

fn months() -> Vec<Epoch> {
    (0..2400).map(|m| Epoch(1970 * 12 + m)).collect()
}

fn run(profile: &Profile, specs: &[FieldSpec], rows: &[Vec<&str>]) -> (Clear, Vec<Reject>) {
    let epochs = months();
    let accept = Accept { earliest_ms: i64::MIN, latest_ms: i64::MAX, epochs: &epochs };
    Normaliser::new(profile, specs).unwrap().normalise(&decoded(specs, rows), &accept)
}

/// Class and canonical form of texts in the A column, or the reason of the refusal.
fn callers(profile: &Profile, texts: &[&str]) -> Vec<Result<(Kind, String), Reason>> {
    parties(profile, Field::ANumber, Party::A, texts)
}

fn parties(profile: &Profile, field: Field, party: Party, texts: &[&str]) -> Vec<Result<(Kind, String), Reason>> {
    let rows: Vec<Vec<&str>> = texts.iter().map(|t| vec![START, t]).collect();
    let (clear, rejects) = run(profile, &[spec(Field::Start), spec(field)], &rows);
    assert_eq!(clear.rows() + rejects.len(), rows.len());
    let mut found: Vec<Option<Result<(Kind, String), Reason>>> = vec![None; rows.len()];
    for reject in rejects {
        assert_eq!(reject.column, 2);
        found[reject.record as usize] = Some(Err(reject.reason));
    }
    for row in 0..clear.rows() {
        let text = String::from_utf8_lossy(clear.identifier(party, row)).into_owned();
        let kind = clear.parties[party as usize].kinds[row];
        assert_eq!(kind.is_hashed(), !text.is_empty());
        assert_eq!(clear.sensitive[row], kind.is_sensitive());
        found[clear.record[row] as usize] = Some(Ok((kind, text)));
    }
    found.into_iter().map(|f| f.unwrap()).collect()
}

fn one(profile: &Profile, text: &str) -> Result<(Kind, String), Reason> {
    callers(profile, &[text]).pop().unwrap()
}

fn be() -> Profile {
    Profile::of("BE", "Europe/Brussels")
}

#[test]
fn every_notation_of_a_number_gives_one_canonical_form() {
    let mut belgium = be();
    belgium.carrier_prefixes = vec!["1077".into()];
    belgium.porting_prefixes = vec!["c021".into(), "D7".into()];
    let mobile = [
        "+32470123456",
        "0032470123456",
        "0470123456",
        "32470123456",
        "470123456",
        "+32 470 12 34 56",
        "0470/12.34.56",
        "(0470) 12-34-56",
        "+32 (0)470 123456",
        "tel:+32-470-12-34-56",
        "tel:0470123456;phone-context=+32",
        "tel:470123456;phone-context=+32",
        "sip:+32470123456@example.net;user=phone",
        "sip:0470123456@10.0.0.1:5060;user=phone",
        "sips:%2B32470123456@host",
        "\"A. Caller\" <sip:+32470123456@host;tag=1>",
        "\"\" <0470123456>",
        "SIP:+32470123456;npdi;rn=+32987@gw.example",
        "+32470123456@ims.example",
        "٠٤٧٠١٢٣٤٥٦",
        "＋３２４７０１２３４５６",
        "+32\u{a0}470\u{2011}12\u{2011}34\u{2011}56",
        "10770470123456",
        "10770032470123456",
        "c0210470123456",
        "d7470123456",
        "b0470123456",
        "*31#0470123456",
        "#31#+32470123456",
        "0470123456,1234",
        "0470123456p99",
        "0470123456;ext=12",
        "0470123456 ext. 12",
        "0470123456x12",
        "0470123456fff",
        "0470123456#",
        " 0470123456 ",
        "\u{200e}+32470123456\u{200f}",
        "०४७०१२३४५६",
    ];
    for (text, found) in mobile.iter().zip(callers(&belgium, &mobile)) {
        assert_eq!(found, Ok((Kind::E164, "+32470123456".into())), "{text}");
    }
    let usa = Profile::of("US", "America/New_York");
    let notations = [
        "+12025550123",
        "12025550123",
        "2025550123",
        "(202) 555-0123",
        "1-202-555-0123",
        "202.555.0123",
        "01112025550123",
        "0012025550123",
        "tel:+1-202-555-0123",
        "sip:2025550123@host",
        "sip:12025550123@host;user=phone",
        "202/555/0123 x9",
        "tel:2025550123;phone-context=+1",
    ];
    for (text, found) in notations.iter().zip(callers(&usa, &notations)) {
        assert_eq!(found, Ok((Kind::E164, "+12025550123".into())), "{text}");
    }
    let russia = Profile::of("RU", "Europe/Moscow");
    let notations = [
        "+74951234567",
        "84951234567",
        "74951234567",
        "4951234567",
        "810 7 495 1234567",
        "007 495 123-45-67",
        "8 (495) 123-45-67",
        "tel:+7(495)1234567",
        "sip:84951234567@host",
        "+7 495 123 45 67",
        "8.495.123.45.67",
        "８４９５１２３４５６７",
    ];
    for (text, found) in notations.iter().zip(callers(&russia, &notations)) {
        assert_eq!(found, Ok((Kind::E164, "+74951234567".into())), "{text}");
    }
}

#[test]
fn type_of_number_columns_decide_before_the_dialling_rules() {
    for (ton, text, canonical) in [
        (TonCoding::ThreeGpp, "1|33612345678", "+33612345678"),
        (TonCoding::ThreeGpp, "91|33612345678", "+33612345678"),
        (TonCoding::ThreeGpp, "145|33612345678", "+33612345678"),
        (TonCoding::ThreeGpp, "1|0033612345678", "+33612345678"),
        (TonCoding::ThreeGpp, "A1|470123456", "+32470123456"),
        (TonCoding::ThreeGpp, "2|0470123456", "+32470123456"),
        (TonCoding::ThreeGpp, "0|0470123456", "+32470123456"),
        (TonCoding::ThreeGpp, "4|470123456", "32#470123456"),
        (TonCoding::ThreeGpp, "5|MyShop", "MYSHOP"),
        (TonCoding::Isup, "4|33612345678", "+33612345678"),
        (TonCoding::Isup, "3|470123456", "+32470123456"),
        (TonCoding::Isup, "1|470123456", "32#470123456"),
        (TonCoding::None, "4|0470123456", "+32470123456"),
    ] {
        let mut profile = be();
        profile.ton = ton;
        let (ton, number) = text.split_once('|').unwrap();
        let specs = [spec(Field::Start), spec(Field::ANumber), spec(Field::ATon)];
        let (clear, rejects) = run(&profile, &specs, &[vec![START, number, ton]]);
        assert!(rejects.is_empty(), "{text}");
        assert_eq!(clear.identifier(Party::A, 0), canonical.as_bytes(), "{text}");
    }
}

#[test]
fn digits_without_prefix_follow_the_profile() {
    let mut germany = Profile::of("DE", "Europe/Berlin");
    for (form, text, canonical) in [
        (NationalForm::Auto, "491511234567", "+491511234567"),
        (NationalForm::Auto, "1511234567", "+491511234567"),
        (NationalForm::International, "33612345678", "+33612345678"),
        (NationalForm::National, "4921123456", "+494921123456"),
        (NationalForm::International, "4921123456", "+4921123456"),
        (NationalForm::International, "01511234567", "+491511234567"),
    ] {
        germany.national_form = form;
        assert_eq!(one(&germany, text).unwrap().1, canonical, "{text}");
    }
    assert_eq!(one(&be(), "33612345678").unwrap().1, "+33612345678");
    assert_eq!(one(&be(), "9991234567"), Ok((Kind::Short, "32#9991234567".into())));
}

#[test]
fn machine_and_unassigned_ranges_pass_and_keep_their_digits() {
    let (m2m, unassigned) = ("+3277123456789012", "+2105551234567");
    assert_eq!(one(&be(), m2m), Ok((Kind::E164, m2m.into())));
    assert_eq!(one(&be(), "077123456789012"), Ok((Kind::E164, m2m.into())));
    assert_eq!(one(&be(), unassigned), Ok((Kind::E164, unassigned.into())));
    assert_eq!(one(&be(), "+3280012345").unwrap().0, Kind::Service);
    assert_eq!(one(&be(), "+881612345678").unwrap().0, Kind::E164);
}

#[test]
fn tokens_opaque_names_and_short_codes() {
    for (text, kind, canonical) in [
        ("", Kind::Absent, ""),
        ("-", Kind::Absent, ""),
        ("anonymous", Kind::Withheld, ""),
        ("Restricted", Kind::Withheld, ""),
        ("sip:anonymous@anonymous.invalid", Kind::Withheld, ""),
        ("\"Anonymous\" <sip:anonymous@192.0.2.1>", Kind::Withheld, ""),
        ("unknown", Kind::Unavailable, ""),
        ("sip:unavailable@unknown.invalid", Kind::Unavailable, ""),
        ("0", Kind::Unavailable, ""),
        ("0000000000", Kind::Unavailable, ""),
        ("payphone", Kind::Payphone, ""),
        ("1001", Kind::Short, "32#1001"),
        ("sip:1001@10.0.0.1", Kind::Short, "32#1001"),
        ("*98", Kind::Short, "32#*98"),
        ("s", Kind::Opaque, "s"),
        ("client1", Kind::Opaque, "client1"),
        ("&", Kind::Opaque, "&"),
        ("a1001", Kind::Opaque, "a1001"),
        ("\"\" <client1>", Kind::Opaque, "client1"),
        ("Zoë", Kind::Opaque, "Zoë"),
        ("sip:Alice@EXAMPLE.com:5060;transport=tcp?x=y", Kind::Uri, "sip:Alice@example.com"),
        ("alice@example.com", Kind::Uri, "sip:alice@example.com"),
        ("<sips:alice@Example.com>", Kind::Uri, "sip:alice@example.com"),
        ("sip:alice:secret@example.com", Kind::Uri, "sip:alice@example.com"),
        ("sip:al%69ce@example.com:5070", Kind::Uri, "sip:alice@example.com:5070"),
        ("urn:service:sos.police", Kind::Emergency, ""),
    ] {
        assert_eq!(one(&be(), text), Ok((kind, canonical.into())), "{text}");
    }
    let called = parties(&be(), Field::BNumber, Party::B, &["0", "000000"]);
    assert_eq!(called, [Ok((Kind::Short, "32#0".into())), Ok((Kind::Unavailable, String::new()))]);
}

#[test]
fn sensitive_services_become_tokens_on_every_side_and_in_every_notation() {
    let belgian = [
        "100",
        "101",
        "112",
        "102",
        "103",
        "105",
        "106",
        "107",
        "108",
        "110",
        "119",
        "116000",
        "116123",
        "1712",
        "1813",
        "+32112",
        "+321712",
        "0032116111",
        "+32 116 123",
        "tel:1813;phone-context=+32",
        "sip:112@host;user=phone",
        "*31#1712",
        "080032123",
        "+3280032123",
        "0800 32 123",
        "+112",
        "sip:+32107@host",
    ];
    for (field, party) in [(Field::ANumber, Party::A), (Field::BNumber, Party::B), (Field::CNumber, Party::C)] {
        for (text, found) in belgian.iter().zip(parties(&be(), field, party, &belgian)) {
            assert!(matches!(found, Ok((kind, _)) if kind.is_sensitive()), "{text}");
        }
    }
    for (country, text) in [
        ("DE", "08001110111"),
        ("GB", "999"),
        ("GB", "08001111"),
        ("US", "911"),
        ("US", "988"),
        ("AU", "000"),
        ("FR", "3919"),
        ("RU", "112"),
        ("JP", "110"),
        ("BE", "+4408001111"),
        ("BE", "+498001110111"),
        ("BE", "0033119"),
    ] {
        let found = one(&Profile::of(country, "UTC"), text);
        assert!(matches!(found, Ok((kind, _)) if kind.is_sensitive()), "{country} {text}");
    }
    assert_eq!(one(&be(), "1714"), Ok((Kind::Short, "32#1714".into())));
    assert_eq!(one(&be(), "+31611611611").unwrap().0, Kind::E164);
}

#[test]
fn senders_of_messages_may_be_names() {
    let specs = [spec(Field::Start), spec(Field::ANumber), spec(Field::Service)];
    let rows: Vec<Vec<&str>> = ["My  Bank", "ｍｙ bank", "WhatsApp", "+32470123456", "Zoë", "24SHOP"]
        .iter()
        .map(|t| vec![START, t, "sms"])
        .collect();
    let (clear, rejects) = run(&be(), &specs, &rows);
    assert!(rejects.is_empty());
    let found: Vec<_> = (0..6).map(|r| (clear.parties[0].kinds[r], clear.identifier(Party::A, r))).collect();
    let expected: [(Kind, &[u8]); 6] = [
        (Kind::Alphanumeric, b"MY BANK"),
        (Kind::Alphanumeric, b"MY BANK"),
        (Kind::Brand, b""),
        (Kind::E164, b"+32470123456"),
        (Kind::Alphanumeric, "ZOË".as_bytes()),
        (Kind::Alphanumeric, b"24SHOP"),
    ];
    assert!(found == expected);
}

#[test]
fn presentation_restricts_a_number_and_explains_a_missing_one() {
    let specs = [spec(Field::Start), spec(Field::ANumber), spec(Field::APresentation)];
    let rows = [
        vec![START, "+32470123456", "restricted"],
        vec![START, "", "1"],
        vec![START, "", "2"],
        vec![START, "", "allowed"],
        vec![START, "+32470123456", ""],
    ];
    let (clear, rejects) = run(&be(), &specs, &rows);
    assert!(rejects.is_empty());
    assert_eq!(clear.parties[0].kinds, [Kind::E164, Kind::Withheld, Kind::Unavailable, Kind::Absent, Kind::E164]);
    assert_eq!(clear.restricted, [true, false, false, false, false]);
}

/// One row per reason that this stage can give: the broken field and its text.
#[test]
fn each_rule_refuses_its_hostile_record() {
    let forty = "1".repeat(40);
    let long_name = "x".repeat(65);
    let mut profile = be();
    profile.currency = Some("EUR".into());
    let cases: Vec<(Reason, Field, &str)> = vec![
        (Reason::MissingField, Field::Start, ""),
        (Reason::InvalidTime, Field::Start, "2026-02-30T00:00:00Z"),
        (Reason::InvalidTime, Field::Start, "2026-11-22T24:00:00Z"),
        (Reason::InvalidTime, Field::Start, "2026-11-22 12:00:00"),
        (Reason::InvalidTime, Field::End, "yesterday"),
        (Reason::InvalidDuration, Field::Duration, "-5"),
        (Reason::InvalidDuration, Field::End, "2026-11-22T11:59:59Z"),
        (Reason::InvalidNumber, Field::ANumber, "1-800-FLOWERS"),
        (Reason::InvalidNumber, Field::BNumber, "+0470123456"),
        (Reason::InvalidNumber, Field::BNumber, "+32470\u{0}123456"),
        (Reason::InvalidNumber, Field::CNumber, "0470z23456"),
        (Reason::InvalidNumber, Field::ANumber, "32+470123456"),
        (Reason::NumberLength, Field::ANumber, &forty),
        (Reason::NumberLength, Field::BNumber, "+"),
        (Reason::NumberLength, Field::BNumber, "+324701234567890123456"),
        (Reason::InvalidUri, Field::ANumber, "sip:@host"),
        (Reason::InvalidUri, Field::ANumber, "sip:alice@"),
        (Reason::InvalidUri, Field::ANumber, "<sip:alice@host"),
        (Reason::InvalidUri, Field::ANumber, "sip:al%zzice@host"),
        (Reason::InvalidUri, Field::ANumber, "tel:alice"),
        (Reason::InvalidImsi, Field::Imsi, "2060x"),
        (Reason::InvalidImei, Field::Imei, "1234"),
        (Reason::InvalidAddress, Field::Address, "10.0.0"),
        (Reason::InvalidService, Field::Service, "fax"),
        (Reason::InvalidDirection, Field::Direction, "sideways"),
        (Reason::InvalidAnswered, Field::Answered, "maybe"),
        (Reason::InvalidCause, Field::Cause, "sunspots"),
        (Reason::InvalidText, Field::Cell, &long_name),
        (Reason::InvalidText, Field::TrunkIn, "tr\u{e9}nk"),
        (Reason::InvalidNetwork, Field::Network, "2060"),
        (Reason::InvalidCharge, Field::Charge, "free"),
        (Reason::InvalidCurrency, Field::Currency, "euros"),
        (Reason::InvalidVolume, Field::BytesUp, "-1"),
        (Reason::InvalidVolume, Field::BytesDown, "many"),
    ];
    let specs = Field::ALL.map(spec);
    for (reason, field, text) in cases {
        let mut row = vec![""; Field::COUNT];
        row[Field::Start as usize] = START;
        row[Field::Charge as usize] = if field == Field::Currency { "1" } else { "" };
        row[Field::Answer as usize] = if field == Field::End { START } else { "" };
        row[field as usize] = text;
        let (clear, rejects) = run(&profile, &specs, &[row]);
        assert_eq!(rejects, [Reject { record: 0, reason, column: field as u16 + 1 }], "{} {text:?}", field.name());
        assert!(clear.rows() == 0 && clear.text.is_empty());
    }
}

#[test]
fn rejected_rows_leave_no_trace_and_shift_nothing() {
    let specs = [spec(Field::Start), spec(Field::ANumber), spec(Field::BNumber)];
    let rows = [
        vec![START, "+32470000001", "+32470000002"],
        vec![START, "+32470000003", "+0"],
        vec![START, "+32470000004", "+32470000005"],
    ];
    let (clear, rejects) = run(&be(), &specs, &rows);
    assert_eq!(rejects, [Reject { record: 1, reason: Reason::InvalidNumber, column: 3 }]);
    assert_eq!(clear.record, [0, 2]);
    assert_eq!(clear.identifier(Party::B, 1), b"+32470000005");
    assert_eq!(clear.text, b"+32470000001+32470000002+32470000004+32470000005");
}

proptest::proptest! {
    /// Total: any text whatever in any field is one row or one reject, and never a panic.
    #[test]
    fn any_text_is_a_row_or_a_reject(texts in proptest::collection::vec("\\PC{0,40}", Field::COUNT), digits in "[-+0-9a-fpwx*#@:;%<>. ]{0,60}") {
        let mut profile = be();
        profile.currency = Some("EUR".into());
        let specs = Field::ALL.map(spec);
        for field in Field::ALL {
            for text in [&texts[field as usize], &digits] {
                let mut row = vec![""; Field::COUNT];
                row[0] = START;
                row[field as usize] = text;
                let (clear, rejects) = run(&profile, &specs, &[row]);
                proptest::prop_assert_eq!(clear.rows() + rejects.len(), 1);
            }
        }
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (clear, rejects) = run(&profile, &specs, &[all]);
        proptest::prop_assert_eq!(clear.rows() + rejects.len(), 1);
    }

    /// A canonical form read again is itself.
    #[test]
    fn canonical_forms_are_fixed_points(text in "[+0]{0,2}[0-9]{1,18}") {
        if let Ok((Kind::E164 | Kind::Service, canonical)) = one(&be(), &text) {
            proptest::prop_assert_eq!(one(&be(), &canonical).unwrap().1, canonical);
        }
    }
}

#[test]
fn durations_and_answers_are_derived_where_no_field_says_them() {
    let null = |field, text: &str| FieldSpec { null: vec![text.into()], ..spec(field) };
    let specs =
        [spec(Field::Start), null(Field::Answer, "0"), spec(Field::End), spec(Field::Duration), spec(Field::Service)];
    let rows = [
        vec![START, "2026-11-22T12:00:10Z", "2026-11-22T12:01:10Z", "", ""],
        vec![START, "0", "2026-11-22T12:01:10Z", "", ""],
        vec![START, "2026-11-22T12:00:10Z", "", "7", ""],
        vec![START, "", "", "", ""],
        vec![START, "", "", "", "sms"],
    ];
    let (clear, rejects) = run(&be(), &specs, &rows);
    assert!(rejects.is_empty());
    assert_eq!(clear.duration_s, [60, 0, 7, ABSENT_U32, ABSENT_U32]);
    assert_eq!(clear.answered, [Answered::Yes, Answered::No, Answered::Yes, Answered::No, Answered::Unknown]);
    assert_eq!(clear.service[4], Service::Sms);
    let (clear, _) = run(&be(), &[spec(Field::Start), spec(Field::End)], &[vec![START, "2026-11-22T12:00:30Z"]]);
    assert_eq!((clear.duration_s[0], clear.answered[0]), (30, Answered::Yes));
}

#[test]
fn codecs_translate_words_and_scale() {
    let words = |field, list: &[(&str, &str)]| FieldSpec {
        field,
        codec: Codec::Words(Arc::new(
            list.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<BTreeMap<_, _>>(),
        )),
        null: Vec::new(),
    };
    let specs = [
        spec(Field::Start),
        words(Field::Answered, &[("ANSWERED", "yes"), ("*", "no")]),
        words(Field::Direction, &[("in", "MT"), ("out", "MO")]),
        FieldSpec { field: Field::BytesUp, codec: Codec::Scaled(1024), null: Vec::new() },
        FieldSpec { field: Field::Duration, codec: Codec::Duration(DurationUnit::Hms), null: Vec::new() },
        FieldSpec { field: Field::Address, codec: Codec::Ipv4SignedLe, null: vec!["0".into()] },
    ];
    let rows = [
        vec![START, "ANSWERED", "out", "2", "0:01:01", "239138826"],
        vec![START, "BUSY", "", "", "", "0"],
        vec![START, "", "around", "", "", ""],
    ];
    let (clear, rejects) = run(&be(), &specs, &rows);
    assert_eq!(rejects, [Reject { record: 2, reason: Reason::InvalidDirection, column: 3 }]);
    assert_eq!(clear.answered, [Answered::Yes, Answered::No]);
    assert_eq!((clear.bytes_up[0], clear.duration_s[0]), (2048, 61));
    assert_eq!(clear.identifier(Party::Address, 0)[12..], [10, 248, 64, 14]);
    assert_eq!(clear.parties[Party::Address as usize].kinds[1], Kind::Absent);
}

#[test]
fn profiles_that_cannot_work_are_refused_by_setting() {
    let specs = [spec(Field::Start), spec(Field::Charge)];
    let refused = |change: fn(&mut Profile)| {
        let mut profile = be();
        profile.currency = Some("EUR".into());
        change(&mut profile);
        Normaliser::new(&profile, &specs).err().map(|e| e.setting)
    };
    assert_eq!(refused(|_| {}), None);
    assert_eq!(refused(|p| p.zone = "Europe/Bruxelles".into()), Some("zone"));
    assert_eq!(refused(|p| p.home_country = "be".into()), Some("home_country"));
    assert_eq!(refused(|p| p.home_country = "QQ".into()), Some("home_country"));
    assert_eq!(refused(|p| p.currency = Some("euro".into())), Some("currency"));
    assert_eq!(refused(|p| p.currency = None), Some("currency"));
    assert_eq!(refused(|p| p.national_prefix = Some("x".into())), Some("national_prefix"));
    assert_eq!(refused(|p| p.porting_prefixes = vec!["".into()]), Some("porting_prefixes"));
    assert_eq!(Normaliser::new(&be(), &[]).err().map(|e| e.setting), Some("start"));
    assert_eq!(Normaliser::new(&be(), &[local("%H:%M", TimeZoneChoice::Utc)]).err().map(|e| e.setting), Some("start"));
}
