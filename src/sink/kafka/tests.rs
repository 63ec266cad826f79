//! What is written, against the schema that is published. Avro is read by `fastavro`, which is not
//! ours, in `tests/integration/kafka_recount.py`.

use super::fields::{Row, Writer};
use super::*;
use crate::record::clear::{Answered, CauseClass, Direction, Service};
use crate::record::identifier::{Country, Kind};
use crate::record::plmn::Plmn;
use crate::record::veiled::{ExportedColumn, TRUNK_OTHER};
use serde_json::{Value, json};

/// A call with everything, one with next to nothing, a sensitive one.
fn veiled() -> Veiled {
    let column = |kinds: [Kind; 3], first: u8, random: bool| ExportedColumn {
        kinds: kinds.to_vec(),
        pseudonyms: (0..3).map(|row| if kinds[row].is_hashed() { [first + row as u8; 16] } else { [0; 16] }).collect(),
        random: vec![false, false, random],
    };
    let none = || column([Kind::Absent; 3], 0, false);
    let exported = Exported {
        parties: [
            column([Kind::E164, Kind::Withheld, Kind::E164], 0xa0, true),
            column([Kind::Service, Kind::E164, Kind::Emergency], 0xb0, true),
            none(),
            column([Kind::Imsi, Kind::Absent, Kind::Absent], 0xc0, false),
            none(),
            none(),
        ],
        epoch: vec!["2026-11".parse().unwrap(); 3],
    };
    let coarse = Coarse {
        service: vec![Service::Voice, Service::Data, Service::Voice],
        direction: vec![Direction::Originating, Direction::Unknown, Direction::Originating],
        start_us: vec![1_795_169_700_000_000, 1_795_169_700_000_000, 1_795_132_800_000_000],
        duration: vec![Some(30), None, None],
        volume: vec![None, Some(10_000_000_000), None],
        charge: vec![Some(100_000), None, None],
        currency: vec![*b"EUR", [0; 3], [0; 3]],
        answered: vec![Answered::Yes, Answered::Unknown, Answered::Unknown],
        cause: vec![CauseClass::Normal, CauseClass::Unknown, CauseClass::Unknown],
        a_country: vec![Country(*b"BE"), Country::NONE, Country(*b"BE")],
        b_country: vec![Country::OTHER, Country(*b"FR"), Country(*b"BE")],
        home_network: vec![Plmn::new(206, 1, 2).unwrap(), Plmn::NONE, Plmn::NONE],
        visited_network: vec![Plmn::NONE; 3],
        trunk_in: vec![1, 0, 0],
        trunk_out: vec![TRUNK_OTHER, 0, 0],
    };
    Veiled::new(exported, coarse)
}

fn outlet(encoding: Encoding) -> Outlet {
    Outlet { feed: "calls".into(), trunks: vec!["TG \"1\"".into()], encoding }
}

/// Key, timestamp and value of every message, in the order of the block.
fn written(encoding: Encoding, latest_ms: i64) -> Vec<(Option<Pseudonym>, i64, Vec<u8>)> {
    let mut found = Vec::new();
    let sent: Result<(), ()> = veiled().messages(&outlet(encoding), latest_ms, |m| {
        found.push((m.key, m.timestamp_ms, m.value.to_vec()));
        Ok(())
    });
    sent.unwrap();
    found.sort_by_key(|(_, _, value)| value.len());
    found
}

#[test]
fn a_json_message_holds_every_field() {
    let messages = written(Encoding::Json, i64::MAX);
    let (key, timestamp, value) = &messages[2];
    assert_eq!((*key, *timestamp), (Some([0xa0; 16]), 1_795_169_700_000));
    let found: Value = serde_json::from_slice(value).unwrap();
    let expected = json!({
        "epoch": "2026-11", "service": "voice", "direction": "MO", "start": "2026-11-20T10:15:00Z", "duration": 30,
        "volume": null, "charge": 100_000, "currency": "EUR", "answered": true, "cause_class": "normal",
        "a_party": "a0".repeat(16), "a_party_kind": "e164", "b_party": "b0".repeat(16), "b_party_kind": "service",
        "c_party": null, "c_party_kind": "absent", "imsi": "c0".repeat(16), "imsi_kind": "imsi",
        "imei": null, "imei_kind": "absent", "address": null, "address_kind": "absent",
        "a_country": "BE", "b_country": "other-intl", "home_network": "206-01", "visited_network": null,
        "trunk_in": "TG \"1\"", "trunk_out": "other", "feed": "calls", "canon": 1,
    });
    assert_eq!(found.to_string(), expected.to_string(), "in the order of the schema");
}

#[test]
fn nobody_and_random_pseudonyms_are_no_keys_and_no_stamp_is_ahead() {
    let messages = written(Encoding::Json, 1_795_000_000_000);
    let by_kind = |kind: &str| {
        let holds = |m: &&(Option<Pseudonym>, i64, Vec<u8>)| String::from_utf8(m.2.clone()).unwrap().contains(kind);
        messages.iter().find(holds).unwrap()
    };
    assert_eq!(by_kind("\"a_party_kind\":\"withheld\"").0, None);
    assert_eq!(by_kind("\"b_party_kind\":\"emergency\"").0, None);
    assert!(messages.iter().all(|m| m.1 == 1_795_000_000_000), "brokers refuse stamps far ahead");
}

#[test]
fn avro_is_framed_and_as_long_as_it_must_be() {
    let messages = written(Encoding::Avro { schema_id: 0x0102_0304 }, i64::MAX);
    for (_, _, value) in &messages {
        assert_eq!(value[..5], [0, 1, 2, 3, 4]);
    }
    let (_, _, most) = &messages[2];
    assert_eq!(most[5..13], *b"\x0e2026-11");
    assert!(most.ends_with(b"\x0acalls\x02"));
}

/// Names and types as the encodings are given them.
#[derive(Default)]
struct Listed(Vec<(String, Value)>);

impl Listed {
    fn add(&mut self, name: &str, kind: Value) {
        self.0.push((name.to_owned(), kind));
    }
}

impl Writer for Listed {
    fn text(&mut self, name: &'static str, _: &str) {
        self.add(name, json!("string"));
    }

    fn text_or_null(&mut self, name: &'static str, _: Option<&str>) {
        self.add(name, json!(["null", "string"]));
    }

    fn int(&mut self, name: &'static str, _: i32) {
        self.add(name, json!("int"));
    }

    fn int_or_null(&mut self, name: &'static str, _: Option<i32>) {
        self.add(name, json!(["null", "int"]));
    }

    fn long_or_null(&mut self, name: &'static str, _: Option<i64>) {
        self.add(name, json!(["null", "long"]));
    }

    fn flag_or_null(&mut self, name: &'static str, _: Option<bool>) {
        self.add(name, json!(["null", "boolean"]));
    }

    fn time(&mut self, name: &'static str, _: i64) {
        self.add(name, json!({"type": "long", "logicalType": "timestamp-millis"}));
    }

    fn pseudonym_or_null(&mut self, name: &'static str, _: Option<&Pseudonym>) {
        self.add(name, json!(["null", "Pseudonym"]));
    }
}

/// The published schema is the list of what is written, with a word about each.
#[test]
fn the_schema_lists_what_is_written() {
    let schema: Value = serde_json::from_str(include_str!("../../../schemas/kafka/cdr.veiled.avsc")).unwrap();
    let veiled = veiled();
    let mut listed = Listed::default();
    Row { at: 0, exported: &veiled.exported, coarse: &veiled.coarse, outlet: &outlet(Encoding::Json) }
        .write(&mut listed);
    let published = schema["fields"].as_array().unwrap().iter().map(|field| {
        assert!(field["doc"].as_str().is_some_and(|doc| doc.len() > 4), "{field}");
        let mut kind = field["type"].clone();
        assert_eq!(kind.is_array(), field.get("default") == Some(&Value::Null), "{field}");
        if kind[1]["type"] == "fixed" {
            assert_eq!((&kind[1]["name"], &kind[1]["size"]), (&json!("Pseudonym"), &json!(16)));
            kind[1] = json!("Pseudonym");
        }
        (field["name"].as_str().unwrap().to_owned(), kind)
    });
    assert_eq!(published.collect::<Vec<_>>(), listed.0);
}
