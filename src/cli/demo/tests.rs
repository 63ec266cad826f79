use super::*;
use crate::clock::MockClock;
use crate::config::environment::Environment;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// 2026-11-22, noon UTC.
const NOON_MS: i64 = 1_795_348_800_000;

fn context(variables: &[(&str, &str)]) -> Context {
    let mut context = Context::new(None, true, Environment::of(variables));
    context.clock = Arc::new(MockClock::at_ms(NOON_MS));
    context
}

fn args(dir: &Path) -> DemoArgs {
    DemoArgs { dir: Some(dir.to_owned()), records: 4_000, country: country::home("BE").unwrap(), seed: 1 }
}

fn demo(dir: &Path, context: &Context) -> Demo {
    let args = args(dir);
    let place = Place::make(args.dir.as_deref(), args.country, context).unwrap();
    let inside = place.context(context);
    Demo::of(&args, place, &inside, Instant::now()).unwrap()
}

#[test]
fn every_role_is_shown_what_is_really_there() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    let context = context(&[]);
    let demo = demo(&site, &context);
    let object = demo.as_json();

    assert_eq!(object["day"], "2026-11-21");
    assert_eq!(demo.feeds.len(), 9);
    let number = |name: &str| object[name].as_u64().unwrap();
    let open: u64 = demo.feeds.iter().map(|f| f.open).sum();
    assert_eq!(
        number("records_in"),
        number("veiled") + number("joined") + number("quarantined") + number("dropped") + open
    );
    assert!(number("veiled") > 4_000 && number("quarantined") > 0 && number("joined") > 0);

    assert_eq!(object["steward"]["windows_released"], 24, "every window of the day is past its waiting time");
    assert!(demo.report.open.is_empty(), "local times are read in the country's zone, so nothing falls on another day");
    assert!(object["busiest"].as_array().unwrap().len() > 1);
    assert!(object["withheld"][0]["few_callers"].as_u64().unwrap() > 0);

    let rows = object["lake_rows"].as_array().unwrap();
    let callers: HashSet<&str> = rows.iter().map(|r| r["a_party"].as_str().unwrap()).collect();
    assert!(rows.len() == 5 && callers.len() < 5, "neighbours of one person");
    assert!(callers.iter().all(|c| c.len() == 32 && c.bytes().all(|b| b.is_ascii_hexdigit())));
    for (held, name) in demo.vault.iter().zip(["evidence", "identities", "quarantine", "keys.age"]) {
        assert!(held.path == demo.place.dir.join("vault").join(name) && held.bytes > 0);
    }
    assert_eq!(demo.vault[0].rows, Some(number("veiled")));
    assert_eq!(demo.vault[2].rows, Some(number("quarantined")));

    // A site like any other: it loads, its keys open with the passphrases in it, a second demo is refused.
    assert!(demo.place.context(&context).ingest_keys().is_ok());
    assert_eq!(demo.site.feeds.len(), crate::config::shipped_mappings().len());
    assert!(run(args(&site), &context).unwrap_err().message().contains("not empty"));
}

#[test]
fn passphrases_of_the_environment_are_taken_and_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = dir.path().join(name);
        fs::write(&path, name).unwrap();
        path.display().to_string()
    };
    let context =
        context(&[("CDRVEIL_PASSPHRASE_FILE", &file("one")), ("CDRVEIL_VAULT_PASSPHRASE_FILE", &file("two"))]);
    let site = dir.path().join("site");
    let place = Place::make(Some(&site), country::home("BE").unwrap(), &context).unwrap();
    assert!(!place.passphrases_inside);
    assert!(!site.join("ingest/passphrase.txt").exists() && !site.join("vault/passphrase.txt").exists());
    let mut inside = place.context(&context);
    assert!(inside.ingest_keys().is_ok() && inside.site().is_ok());
    assert_eq!(inside.clock.now_ms(), NOON_MS);
    inside.json = false;
    print::site(&place, &inside);
}
