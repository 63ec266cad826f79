//! A day of records, counted a second time by a Python script that shares nothing with us, and the
//! vault's tables compared with the lake's row by row.

use crate::sealed;
use crate::site::{Run, Site, generate, installed, python, script};
use cdrveil::clock::{Clock, SystemClock};
use cdrveil::pseudonymise::twin;
use cdrveil::record::identifier::{Kind, Party};
use cdrveil::record::time::{Day, Epoch};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

const RECORDS: usize = 60_000;

#[test]
fn the_lake_the_release_and_the_vault_agree_with_an_independent_recount() {
    let site = Site::of_country("BE");
    let day = Day(Day::of_ms(SystemClock.now_ms()).0 - 4);
    let file = site.files().join("two-days.csv");
    let (records, start) = (RECORDS.to_string(), day.to_string());
    let common = ["--subscribers", "3000", "--start", &start, "--days", "2", "--seed", "7"];
    generate(&file, &[&["--records", &records, "--broken", "0"], &common[..]].concat());
    let summary = site.load("generic-voice", [&file]);
    assert_eq!((&summary["veiled"], &summary["quarantined"]), (&RECORDS.into(), &0.into()), "{summary}");

    let keys = site.file("keys.json", epoch_keys(&site).to_string());
    let recount = python("recount.py", [site.dir().as_os_str(), file.as_os_str(), keys.as_os_str()]);
    assert_eq!(recount["rows"], RECORDS);
    assert!(recount["sensitive"].as_u64() > Some(20), "{}", recount["sensitive"]);
    release_is_what_the_recount_lets_through(&site, recount["shown"].as_array().unwrap());
    identities_are_those_of_the_lake(&site);
    evidence_is_that_of_the_lake(&site);

    // Every table with rows, read by Spark.
    let broken = site.files().join("broken.csv");
    generate(&broken, &[&["--format", "generic-sms", "--records", "2000", "--broken", "0.1"], &common[..]].concat());
    let sms = site.load("generic-sms", [&broken]);
    spark_reads_every_table(&site, &sms);
}

pub fn epoch_keys(site: &Site) -> Value {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let store = sealed::keys(site);
    let keys: Map<String, Value> = store.epochs().map(|(e, s)| (e.to_string(), hex(s.key.expose()).into())).collect();
    keys.into()
}

/// Shown are exactly the cells with at least 20 subscribers on both sides, with the recount's
/// values, rounded; distinct counts beyond an HLL sketch's exact range may be a few percent off.
fn release_is_what_the_recount_lets_through(site: &Site, expected: &[Value]) {
    let steward = site.run_cdrveil(["steward", "--once", "--json"]);
    assert_eq!(steward.code, 0, "{}", steward.stderr);
    let query = site.run_cdrveil(["query", "--json", "--sql", "SELECT * FROM traffic_hourly"]);
    assert_eq!(query.code, 0, "{}", query.stderr);
    let rows: Vec<Value> = serde_json::from_str(&query.stdout).unwrap();
    let dimensions = ["hour", "service", "direction", "a_country", "b_country", "network", "currency"];
    let key = |row: &Value| dimensions.map(|d| row[d].as_str().unwrap_or("").to_owned());
    let shown: HashMap<_, &Value> = rows.iter().map(|row| (key(row), row)).collect();
    assert_eq!(shown.len(), rows.len(), "every cell once");
    assert!(expected.len() > 60, "{} cells are a poor test", expected.len());
    // A distinct count within a sketch's error of the threshold may fall on either side of it.
    let expected: HashMap<_, &Value> = expected.iter().map(|cell| (key(cell), cell)).collect();
    let keys = |cells: &HashMap<[String; 7], &Value>| -> HashSet<[String; 7]> { cells.keys().cloned().collect() };
    assert_eq!(keys(&shown), keys(&expected));
    let mut withheld_sums = 0;
    for (key, cell) in expected {
        let row = shown[&key];
        for name in ["records", "answered"] {
            assert_eq!(row[name], nearest(cell[name].as_i64().unwrap(), 5), "{name} of {key:?}");
        }
        for name in ["a_parties", "b_parties"] {
            let (exact, told) = (cell[name].as_f64().unwrap(), row[name].as_f64().unwrap());
            let error = if exact <= 100.0 { 2.5 } else { 2.5 + exact * 0.08 };
            assert!((exact - told).abs() <= error, "{name} of {key:?}: {exact} told as {told}");
        }
        match row["seconds"].as_i64() {
            Some(told) => {
                assert_eq!(told, nearest(cell["seconds"].as_i64().unwrap(), 60), "seconds of {key:?}");
                assert_eq!(cell["dominated"], false, "{key:?} shows a sum that one or two make");
            }
            None => withheld_sums += 1,
        }
    }
    assert!(withheld_sums < rows.len() / 2, "{withheld_sums} of {} sums withheld", rows.len());
    let writing = site.run_cdrveil(["query", "--sql", "DELETE FROM traffic_hourly_vintages"]);
    assert_eq!(writing.code, 2, "{}", writing.stderr);
    let again = site.run_cdrveil(["steward", "--once", "--json"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let once_more = site.run_cdrveil(["query", "--json", "--sql", "SELECT count(*) AS n FROM traffic_hourly_vintages"]);
    let counted: Value = serde_json::from_str(&once_more.stdout).unwrap();
    assert_eq!(counted[0]["n"], rows.len(), "a second pass publishes nothing twice");
}

fn nearest(value: i64, base: i64) -> i64 {
    (value + base / 2) / base * base
}

/// Every pseudonym of the lake that is not random has an identity, which opens to the number that
/// the pseudonym is made of; there are no others.
fn identities_are_those_of_the_lake(site: &Site) {
    let store = sealed::keys(site);
    let mut sealed_for: HashSet<(Epoch, [u8; 16])> = HashSet::new();
    for identity in sealed::identities(site) {
        let key = store.epoch(identity.epoch).unwrap().key.domain("analytics", identity.epoch);
        let made = twin::hash(&key, identity.kind as u8, &identity.canonical);
        assert!(made[..16] == identity.pseudonym, "an identity is not that of its pseudonym");
        sealed_for.insert((identity.epoch, identity.pseudonym));
    }
    let columns = Party::ALL.map(|party| sealed::cdr(site, party));
    let sensitive = |row: usize| columns.iter().any(|column| column[row].1.is_sensitive());
    let mut in_lake = HashSet::new();
    for column in &columns {
        for (row, (day, _, pseudonym)) in column.iter().enumerate() {
            if let Some(pseudonym) = pseudonym
                && !sensitive(row)
            {
                in_lake.insert((day.epoch(), *pseudonym));
            }
        }
    }
    assert!(in_lake == sealed_for, "{} pseudonyms in the lake, {} sealed", in_lake.len(), sealed_for.len());
    assert!(in_lake.len() > 5000);
}

/// As many records are sealed as veiled, day by day, and their parties give the lake's pseudonyms.
fn evidence_is_that_of_the_lake(site: &Site) {
    let store = sealed::keys(site);
    let mut found: HashMap<(Day, Kind, Option<[u8; 16]>), i64> = HashMap::new();
    let mut keys = HashMap::new();
    for evidence in sealed::evidence(site) {
        let epoch = evidence.day.epoch();
        let key = keys.entry(epoch).or_insert_with(|| store.epoch(epoch).unwrap().key.domain("analytics", epoch));
        let (kind, id) = &evidence.record.parties[Party::A as usize];
        let both = kind.is_hashed().then(|| twin::hash(key, *kind as u8, id));
        assert_eq!(evidence.blind[Party::A as usize].as_ref().map(|b| &b[..]), both.as_ref().map(|h| &h[16..]));
        let pseudonym = both.map(|h| h[..16].try_into().unwrap()).filter(|_| !evidence.record.sensitive);
        *found.entry((evidence.day, *kind, pseudonym)).or_default() += 1;
    }
    let far = sealed::cdr(site, Party::B);
    let near = sealed::cdr(site, Party::A);
    for ((day, kind, pseudonym), other) in near.into_iter().zip(far) {
        let pseudonym = pseudonym.filter(|_| !kind.is_sensitive() && !other.1.is_sensitive());
        *found.entry((day, kind, pseudonym)).or_default() -= 1;
    }
    let unequal = found.values().filter(|n| **n != 0).count();
    assert_eq!(unequal, 0, "of {} parties by day", found.len());
}

fn spark_reads_every_table(site: &Site, sms: &Value) {
    let jars = installed("CDRVEIL_TEST_SPARK_JARS", "spark/jars");
    let run = Run::of(script("spark_counts.py").args([site.dir().as_os_str(), jars.as_os_str()]));
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    let counts = run.json();
    assert_eq!(counts["spark"], counts["deltalake"]);
    let veiled = RECORDS as u64 + sms["veiled"].as_u64().unwrap();
    assert_eq!(counts["spark"]["lake/cdr"], veiled);
    assert_eq!(counts["spark"]["vault/evidence"], veiled);
    assert_eq!(counts["spark"]["vault/quarantine"], sms["quarantined"]);
    for name in ["lake/tally", "vault/identities", "lake/release/traffic_hourly", "vault/quarantine"] {
        assert!(counts["spark"][name].as_u64() > Some(0), "{name}: {counts}");
    }
    assert_ne!(counts["a_parties"], json!(0));
}
