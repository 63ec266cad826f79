//! What scripts rely on when something is wrong: exit codes, error objects, overrides from the environment.

use crate::site::{Run, Site};
use serde_json::json;
use std::path::Path;
use std::process::Command;

#[test]
fn every_failure_has_its_exit_code_and_its_error_object() {
    let site = Site::new();
    let calls = site.file("calls.csv", "start,a_number,b_number\n2026-03-01T00:00:00Z,+447700900001,+447700900002\n");
    let calls = calls.to_str().unwrap();
    let wrong = site.file("wrong.txt", "not the passphrase");
    let elsewhere = site.files().join("empty");
    std::fs::create_dir(&elsewhere).unwrap();
    let key = site.file("short.hex", "0011");
    let ingest = |feed: &'static str| vec!["ingest", "--feed", feed, calls];
    let site_dir = site.dir();
    let import = ["epoch", "import", "--epoch", "2026-11", "--key-file", key.to_str().unwrap()];
    let cases: Vec<(&str, Command, i32)> = vec![
        ("an unknown command", with(site.cdrveil(), &["nonsense"]), 2),
        ("no feed", with(site.cdrveil(), &["ingest", calls]), 2),
        ("an unknown feed", with(site.cdrveil(), &ingest("generic-vioce")), 2),
        ("a wrong bound", with(site.cdrveil(), &["ingest", "--feed", "asterisk", "--accept-late", "soon", calls]), 2),
        ("no site", with(site.cdrveil(), &["--site", elsewhere.to_str().unwrap(), "check"]), 2),
        ("a site already", with(site.cdrveil(), &["init", site_dir.to_str().unwrap()]), 2),
        ("nothing released yet", with(site.cdrveil(), &["query", "--sql", "SELECT 1"]), 1),
        ("no passphrase", without(with(site.cdrveil(), &ingest("generic-voice")), "CDRVEIL_PASSPHRASE_FILE"), 3),
        (
            "a wrong passphrase",
            wrongly(with(site.cdrveil(), &ingest("generic-voice")), "CDRVEIL_PASSPHRASE_FILE", &wrong),
            3,
        ),
        (
            "a passphrase file that is missing",
            wrongly(with(site.cdrveil(), &ingest("generic-voice")), "CDRVEIL_PASSPHRASE_FILE", Path::new("/nowhere")),
            3,
        ),
        (
            "the vault without passphrase",
            without(with(site.vault(), &["epoch", "list"]), "CDRVEIL_VAULT_PASSPHRASE_FILE"),
            3,
        ),
        (
            "the vault with a wrong one",
            wrongly(with(site.vault(), &["epoch", "list"]), "CDRVEIL_VAULT_PASSPHRASE_FILE", &wrong),
            3,
        ),
        ("a month that is none", with(site.vault(), &["epoch", "create", "--epoch", "2026-13"]), 2),
        ("a key that is none", with(site.vault(), &import), 2),
    ];
    for (what, mut command, code) in cases {
        let run = Run::of(command.arg("--json"));
        assert_eq!(run.code, code, "{what}: {}{}", run.stdout, run.stderr);
        assert_eq!(run.stdout, "", "{what}");
        let error = run.error();
        assert!(!error["error"].as_str().unwrap().is_empty(), "{what}: {error}");
    }
    let run = site.run_cdrveil(ingest("generic-vioce"));
    assert!(run.stderr.starts_with("error: ") && run.stderr.contains("generic-voice"), "{}", run.stderr);
    std::fs::rename(site.path("ingest/keys.age"), site.path("ingest/keys.gone")).unwrap();
    let run = site.ingest("generic-voice", [calls]);
    assert_eq!(run.code, 3, "no lease: {}", run.stderr);
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line_and_the_fix() {
    let site = Site::new();
    let path = site.path("cdrveil.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let line_of = |text: &str, what: &str| text.lines().position(|l| l == what).unwrap() as u64 + 1;
    for (what, from, to) in [
        ("an unknown setting", "[ingest]", "[ingest]\nwrokers = 2"),
        ("a wrong unit", "[ingest]", "[ingest]\nblock_bytes = \"8 MB\""),
        ("out of bounds", "[release]", "[release]\ndistinct_subscribers = 1"),
        ("an unknown section", "[lake]", "[laek]"),
        ("a mapping that is missing", "mapping = \"generic-sms\"", "mapping = \"nowhere.toml\""),
        ("a country that is none", "\nhome_country = \"GB\"", "\nhome_country = \"Belgium\""),
        ("a secret", "[site]", "[site]\npassphrase = \"correct horse\""),
    ] {
        let changed = text.replacen(from, to, 1);
        std::fs::write(&path, &changed).unwrap();
        let run = site.run_cdrveil(["check", "--json"]);
        assert_eq!(run.code, 2, "{what}: {}", run.stdout);
        let error = run.error();
        let problem = &error["problems"][0];
        let line = line_of(&changed, to.lines().last().unwrap());
        assert_eq!(problem["line"], line, "{what}: {error}");
        assert!(problem["fix"].as_str().is_some_and(|f| !f.is_empty()), "{what}: {error}");
        assert!(!run.stderr.contains("correct horse"), "{}", run.stderr);
    }
    std::fs::write(&path, &text).unwrap();
    let check = site.run_cdrveil(["check", "--json"]).json();
    let shipped = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/cdr")).unwrap();
    let mut shipped: Vec<String> =
        shipped.filter_map(|e| e.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned)).collect();
    shipped.sort();
    let mut feeds: Vec<&str> = check["feeds"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    feeds.sort_unstable();
    assert_eq!(feeds, shipped, "one feed per shipped mapping");
}

#[test]
fn any_one_setting_can_be_overridden_from_the_environment() {
    let site = Site::new();
    let store = site.files().join("elsewhere.sqlite");
    let overridden = |args: &[&str]| Run::of(site.cdrveil().args(args).env("CDRVEIL__RELEASE__STORE", &store));
    assert_eq!(overridden(&["check", "--json"]).json()["overrides"], json!(["CDRVEIL__RELEASE__STORE"]));
    assert_eq!(overridden(&["steward", "--once"]).code, 0);
    assert!(store.is_file() && !site.path("lake/release.sqlite").exists());
    let asked = overridden(&["query", "--json", "--sql", "SELECT count(*) AS n FROM traffic_hourly"]);
    assert_eq!((asked.code, asked.stdout.contains("\"n\":0")), (0, true), "{}{}", asked.stdout, asked.stderr);
    let misspelt = Run::of(site.cdrveil().args(["check", "--json"]).env("CDRVEIL__RELEASE__STOER", "x"));
    assert_eq!(misspelt.code, 2);
    assert_eq!(misspelt.error()["problems"][0]["variable"], "CDRVEIL__RELEASE__STOER");

    // --site goes before the variable, the current folder after it.
    let dir = site.dir();
    let named = with(without(site.cdrveil(), "CDRVEIL_SITE"), &["--site", dir.to_str().unwrap(), "check"]);
    let current = with(without(site.cdrveil(), "CDRVEIL_SITE"), &["check"]);
    for (mut command, at) in [(named, site.files()), (current, dir)] {
        assert_eq!(Run::of(command.current_dir(at)).code, 0);
    }
}

fn with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

fn without(mut command: Command, variable: &str) -> Command {
    command.env_remove(variable);
    command
}

fn wrongly(mut command: Command, variable: &str, value: &Path) -> Command {
    command.env(variable, value);
    command
}
