//! What others script against: the documented pseudonym of an imported key, found in the lake by
//! readers that are not ours, and everything sealed behind it.

use crate::sealed;
use crate::site::{Run, Site, script};
use cdrveil::record::identifier::{Kind, Party};
use std::collections::{BTreeSet, HashMap};

/// 32 bytes 00, 01 … 1f: the epoch key of the known-answer vectors.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const EPOCH: &str = "2026-11";
/// Column, class, canonical form, documented pseudonym.
const VECTORS: [(&str, u8, &str, &str); 3] = [
    ("a_party", 1, "+447700900123", "a6b24c9d6ffce2eaf172864c65e5f8da"),
    ("imsi", 2, "001010123456789", "0880ac32d34274d1edfe6176b9937659"),
    ("imei", 3, "26053179311383", "a6eda50c2bb57961bcdc964dd8dab20f"),
];

const HEADER: &str = "start,a_number,b_number,c_number,imsi,imei,direction,duration,answered,cause,cell,network,trunk_in,trunk_out,charge,currency\n";

fn site_with_the_documented_key() -> Site {
    let site = Site::new();
    site.open_epoch(EPOCH);
    let key = site.file("key.hex", format!("{KEY}\n"));
    let import = site.run_vault([
        "epoch".as_ref(),
        "import".as_ref(),
        "--epoch".as_ref(),
        EPOCH.as_ref(),
        "--key-file".as_ref(),
        key.as_os_str(),
    ]);
    assert_eq!(import.code, 0, "{}", import.stderr);
    assert!(import.stderr.contains("WARNING"), "{}", import.stderr);
    site
}

#[test]
fn documented_pseudonyms_are_found_by_three_readers() {
    let site = site_with_the_documented_key();
    let record =
        "2026-11-05T10:07:31Z,+447700900123,+447700900456,,001010123456789,260531793113837,MO,61,true,16,,,,,,\n";
    // More rows and days, so that there is an order to look at and more than one partition.
    let more: String = (0..500)
        .map(|n| {
            format!(
                "2026-11-{:02}T{:02}:{:02}:{:02}Z,+44770090{:04},07700 900456,,,,MO,{n},true,16,,,,,,\n",
                1 + n % 20,
                n % 24,
                n % 60,
                n * 7 % 60,
                n * 13 % 1000
            )
        })
        .collect();
    let summary = site.load("generic-voice", [site.file("one.csv", format!("{HEADER}{record}{more}"))]);
    assert_eq!((&summary["records_in"], &summary["veiled"]), (&501.into(), &501.into()), "{summary}");

    let mut wanted: Vec<_> =
        VECTORS.iter().map(|(column, class, text, _)| serde_json::json!([column, class, text])).collect();
    wanted.push(serde_json::json!(["b_party", 1, "+447700900456"]));
    let input = serde_json::Value::from(wanted).to_string();
    let answer =
        Run::fed(script("contract.py").args([site.dir().as_os_str(), EPOCH.as_ref(), KEY.as_ref()]), input.as_bytes());
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    let answer = answer.json();
    assert_eq!(answer["rows"], 501);
    for (i, (column, _, _, pseudonym)) in VECTORS.iter().enumerate() {
        assert_eq!(answer["found"][i], serde_json::json!([column, pseudonym]));
    }

    // The epoch has sealed something: its key can no longer be replaced.
    let key = site.file("other.hex", "ff".repeat(32));
    let again = site.run_vault([
        "--json".as_ref(),
        "epoch".as_ref(),
        "import".as_ref(),
        "--epoch".as_ref(),
        EPOCH.as_ref(),
        "--key-file".as_ref(),
        key.as_os_str(),
    ]);
    assert_eq!(again.code, 2, "{}", again.stderr);
    let events = std::fs::read_to_string(site.path("vault/events.jsonl")).unwrap();
    assert!(events.contains("import"), "{events}");
    assert!(!events.contains(KEY));
}

#[test]
fn what_was_sealed_opens_with_the_vaults_keys_only_and_says_what_was_fed() {
    let site = site_with_the_documented_key();
    // Ingest never opens the vault's keys: it runs on without them.
    let (keys, aside) = (site.path("vault/keys.age"), site.files().join("keys.age"));
    std::fs::rename(&keys, &aside).unwrap();
    let rows = "\
2026-11-05T10:07:31Z,+447700900123,07700 900456,+32470000001,001010123456789,260531793113837,MO,61,true,16,234-15-1-2,234-15,T1,T2,1.25,GBP\n\
2026-11-05T10:08:31Z,+447700900123,112,,001010123456789,260531793113837,MO,30,true,16,,,,,,\n\
2026-11-05T11:08:31Z,07700900123,112,,001010123456789,260531793113837,MO,30,true,16,,,,,,\n\
2026-11-06T00:00:00Z,tel:+447700900123,116123,,,,MO,600,true,16,,,,,,\n\
2026-11-07T00:00:00Z,anonymous,sip:+447700900456@ims.example.net;user=phone,,,,MT,0,false,17,,,,,,\n\
2026-11-31T00:00:00Z,+447700900123,+447700900456,,,,MO,0,false,17,,,,,,\n\
2026-11-08T00:00:00Z,+447700900123,+4477009004567777777777777777,,,,MO,0,false,17,,,,,,\n";
    let summary = site.load("generic-voice", [site.file("sealed.csv", format!("{HEADER}{rows}"))]);
    assert_eq!((&summary["veiled"], &summary["quarantined"]), (&5.into(), &2.into()), "{summary}");
    std::fs::rename(&aside, &keys).unwrap();

    evidence_is_the_exact_record(&site);
    sensitive_calls_cannot_be_linked(&site);
    let known: HashMap<Vec<u8>, (Kind, [u8; 16])> =
        sealed::identities(&site).into_iter().map(|i| (i.canonical, (i.kind, i.pseudonym))).collect();
    for (_, class, canonical, pseudonym) in VECTORS {
        let (kind, found) = known[canonical.as_bytes()];
        assert_eq!((kind as u8, hex(&found)), (class, pseudonym.to_owned()));
    }
    let others: BTreeSet<&[u8]> = known.keys().map(Vec::as_slice).collect();
    let expected = [&b"+32470000001"[..], b"+447700900123", b"+447700900456", b"001010123456789", b"26053179311383"];
    assert_eq!(others, expected.into(), "an identity for every pseudonym, none for random ones");

    let quarantined = sealed::quarantine(&site);
    let lines: Vec<&str> = rows.lines().collect();
    let found: Vec<_> = quarantined.iter().map(|q| (q.line, q.reason.as_str(), q.column, q.bytes.as_slice())).collect();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].0, found[0].1, found[0].2), (7, "invalid_time", 1));
    assert_eq!((found[1].0, found[1].1, found[1].2), (8, "number_length", 3));
    assert!(found[0].3.trim_ascii_end() == lines[5].as_bytes() && found[1].3.trim_ascii_end() == lines[6].as_bytes());
    assert!(quarantined.iter().all(|q| q.feed == "generic-voice"));
}

fn evidence_is_the_exact_record(site: &Site) {
    let evidence = sealed::evidence(site);
    assert_eq!(evidence.len(), 5);
    let by_start =
        |ms: i64| evidence.iter().find(|e| e.record.start_ms == ms).expect("every veiled record has evidence");
    let first = by_start(1_793_873_251_000);
    let r = &first.record;
    assert_eq!((r.duration_s, r.charge_micro, &r.currency), (Some(61), Some(1_250_000), b"GBP"));
    let texts =
        [&r.cell, &r.trunk_in, &r.trunk_out].map(|t| t.as_deref().map(|t| String::from_utf8_lossy(t).into_owned()));
    assert_eq!(texts.each_ref().map(|t| t.as_deref()), [Some("234-15-1-2"), Some("T1"), Some("T2")]);
    let parties: Vec<(Kind, &[u8])> = r.parties.iter().map(|(k, id)| (*k, id.as_slice())).collect();
    let e164 = |text: &'static [u8]| (Kind::E164, text);
    assert!(
        parties
            == [
                e164(b"+447700900123"),
                e164(b"+447700900456"),
                e164(b"+32470000001"),
                (Kind::Imsi, b"001010123456789"),
                (Kind::Imei, b"26053179311383"),
                (Kind::Absent, b""),
            ]
    );
    // The sealed record of a sensitive call names its caller, and is found by the same blind index.
    let emergency: Vec<_> = evidence.iter().filter(|e| e.record.parties[1].0 == Kind::Emergency).collect();
    assert_eq!(emergency.len(), 2);
    for e in &emergency {
        assert!(e.record.sensitive && e.record.parties[0].1 == b"+447700900123");
        assert_eq!(e.blind[0], first.blind[0]);
    }
    let helpline = by_start(1_793_923_200_000);
    assert!(helpline.record.parties[1].0 == Kind::Helpline && helpline.record.sensitive);
    assert!(
        evidence
            .iter()
            .all(|e| e.day.start_ms() <= e.record.start_ms && e.record.start_ms < e.day.start_ms() + 86_400_000)
    );
}

fn sensitive_calls_cannot_be_linked(site: &Site) {
    let callers = sealed::cdr(site, Party::A);
    let called = sealed::cdr(site, Party::B);
    assert_eq!(callers.len(), 5);
    let mut seen = BTreeSet::new();
    for ((_, kind, caller), (_, far, number)) in callers.iter().zip(&called) {
        match kind {
            Kind::Withheld => assert_eq!(*caller, None),
            _ => assert!(seen.insert(caller.expect("a number has a pseudonym")), "each call has a caller of its own"),
        }
        assert_eq!(number.is_none(), far.is_sensitive());
    }
    assert_eq!(seen.len(), 4, "three sensitive calls and an ordinary one, all of one caller");
    let identities: BTreeSet<[u8; 16]> = sealed::identities(site).into_iter().map(|i| i.pseudonym).collect();
    assert_eq!(seen.intersection(&identities).count(), 1, "random pseudonyms have no identity");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
