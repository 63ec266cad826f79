use super::*;
use crate::config::settings::PROFILE;
use std::fs;

/// A folder with one feed's inbox and mapping, and `text` as its configuration.
fn site(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("inbox/generic-voice")).unwrap();
    let (_, mapping) = shipped().iter().find(|(name, _)| *name == "generic-voice").unwrap();
    fs::write(dir.path().join("my.toml"), mapping.replacen("\"generic-voice\"", "\"my\"", 1)).unwrap();
    fs::write(dir.path().join("bad.toml"), "name = \"bad\"\nnonsense = 1\n").unwrap();
    fs::write(dir.path().join(FILE), text).unwrap();
    dir
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Site, ConfigError> {
    Site::load(site(text).path(), &Environment::of(variables))
}

/// Place, message and fix of the one problem.
fn problem(text: &str, variables: &[(&str, &str)]) -> (Place, String, String) {
    let mut error = load(text, variables).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    let p = error.problems.remove(0);
    (p.place, p.message, p.fix)
}

const FEED_TEXT: &str =
    "[feeds.generic-voice]\nmapping = \"generic-voice\"\n[feeds.generic-voice.profile]\nhome_country = \"GB\"\n";

#[test]
fn a_new_site_loads_and_has_every_default() {
    let dir = tempfile::tempdir().unwrap();
    for mapping in shipped_mappings() {
        fs::create_dir_all(dir.path().join("inbox").join(mapping)).unwrap();
    }
    fs::write(dir.path().join(FILE), template::site_file("a \"name\"", "GB", &shipped_mappings())).unwrap();
    let site = Site::load(dir.path(), &Environment::default()).unwrap();
    assert_eq!(site.name, "a \"name\"");
    assert_eq!((site.release.distinct_subscribers, site.release.rounding_base), (20, 5));
    assert_eq!(site.release.store, dir.path().join("lake/release.sqlite"));
    assert!(site.cubes.traffic_hourly);
    assert_eq!(site.feeds.len(), shipped_mappings().len());
    let feed = site.feed("asterisk").unwrap();
    assert_eq!((feed.mapping.name(), &feed.mapping_file), ("asterisk", &None));
    assert_eq!((feed.kind, feed.settle_s), (FeedKind::Append, 10));
    assert_eq!(feed.profile["home_country"].as_str(), Some("GB"));
    assert!(site.feed("asterix").unwrap_err().contains("asterisk"));
}

#[test]
fn the_template_shows_every_setting_and_defaults_that_are_right() {
    let text = template::site_file("s", "BE", &["generic-voice"]);
    assert!(text.lines().all(|l| l.len() <= 102), "{:?}", text.lines().find(|l| l.len() > 102));
    for section in SECTIONS {
        assert!(text.contains(&format!("\n[{}]\n", section.name)));
    }
    let of_feeds = FEED.iter().chain(PROFILE).chain(KAFKA_FEED).chain(KAFKA_SINK);
    for setting in SECTIONS.iter().flat_map(|s| s.settings).chain(of_feeds) {
        assert!(text.contains(setting.name), "{}", setting.name);
        if !setting.default.is_empty() {
            let default = parse_value(setting.default).unwrap();
            assert_eq!(setting.form.refuse(&default), None, "{}", setting.name);
        }
    }
    // With every # of a default taken away it still loads, and says the same.
    let uncommented: String = text
        .lines()
        .map(|l| match l.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ") => {
                format!("{rest}\n")
            }
            _ => format!("{l}\n"),
        })
        .collect();
    let (plain, full) = (load(&text, &[]).unwrap(), load(&uncommented, &[]).unwrap());
    assert_eq!(format!("{:?}", plain.ingest), format!("{:?}", full.ingest));
    assert_eq!(plain.release.distinct_subscribers, full.release.distinct_subscribers);
}

#[test]
fn a_weak_threshold_is_allowed_and_warned_of_with_its_line() {
    for (k, variables, warned) in [
        ("20", &[][..], None),
        ("19", &[][..], Some("cdrveil.toml:2")),
        ("2", &[][..], Some("cdrveil.toml:2")),
        ("50", &[("CDRVEIL__RELEASE__DISTINCT_SUBSCRIBERS", "5")], Some("CDRVEIL__RELEASE__DISTINCT_SUBSCRIBERS")),
    ] {
        let site = load(&format!("[release]\ndistinct_subscribers = {k}\n{FEED_TEXT}"), variables).unwrap();
        let found: Vec<_> = site.warnings.iter().map(|w| w.text()).collect();
        assert_eq!(found.len(), usize::from(warned.is_some()), "{k}: {found:?}");
        assert!(warned.is_none_or(|place| found[0].contains(place) && found[0].starts_with("WARNING")), "{found:?}");
    }
    assert!(load(FEED_TEXT, &[]).unwrap().warnings.is_empty());
}

/// Every feed needs a home country; a test of another mistake gets one at the end.
fn with_country(text: &str) -> String {
    let feed =
        text.lines().find_map(|l| l.strip_prefix("[feeds.")?.strip_suffix(']')).filter(|n| !n.contains(['.', '"']));
    match feed {
        Some(_) if text.contains("home_country") => text.to_owned(),
        Some(_) if text.contains(".profile]") => format!("{text}\nhome_country = \"GB\""),
        Some(feed) => format!("{text}\n[feeds.{feed}.profile]\nhome_country = \"GB\""),
        None => text.to_owned(),
    }
}

#[test]
fn every_mistake_is_refused_with_its_line_and_a_fix() {
    let cases: &[(&str, usize, &str, &str)] = &[
        ("[site\nname = \"x\"", 1, "not TOML", "mend"),
        ("[site]\nname = \"x", 2, "not TOML", "mend"),
        ("[site]\nname = \"x\"\nname = \"y\"", 3, "not TOML", "mend"),
        ("[sites]\n", 1, "`sites` is not a section", "`site`"),
        ("\n\nrelease = 5\n", 3, "`release` is a section", "[release]"),
        ("[release]\nstroe = \"x\"", 2, "`stroe` is not a setting in [release]", "`store`"),
        ("[lake]\nstroe = \"x\"", 2, "`stroe` is not a setting in [lake]", "`store` in [release]"),
        ("[ingest]\nstore = \"x\"", 2, "`store` is not a setting in [ingest]", "[release]"),
        ("[ingest]\ncolour = \"x\"", 2, "`colour` is not a setting", "known here: workers"),
        ("[release]\n# a comment\ndistinct_subscribers = \"20\"", 3, "whole number from 2", "correct"),
        ("[release]\ndistinct_subscribers = 1", 2, "whole number from 2", "correct"),
        ("[release]\ndistinct_subscribers = 20.0", 2, "whole number", "correct"),
        ("[release]\nrelease_after_hours = \"6h\"", 2, "in hours, without a unit", "correct"),
        ("[release]\nidle_after_days = 1", 2, "not a setting", "`idle_after_hours` (in hours"),
        ("[release]\nstore = 5", 2, "must be text", "correct"),
        ("[release]\nstore = \"\"", 2, "must be text", "correct"),
        ("[release.store]\nx = 1", 1, "must be text", "correct"),
        ("[cubes]\ntraffic_hourly = \"yes\"", 2, "true or false", "correct"),
        ("[site]\npassphrase = \"hunter2\"", 2, "looks like a secret", "CDRVEIL_PASSPHRASE_FILE"),
        ("[site]\nname = \"AGE-SECRET-KEY-1QQQ\"", 2, "looks like a key", "never stand"),
        ("[secrets]\nx = 1", 1, "looks like a secret", "never stand"),
        ("[feeds]\nx = 5", 2, "`x` is a feed", "[feeds.x]"),
        ("[feeds.\"Söme\"]\nmapping = \"asterisk\"", 1, "name that is not allowed", "lower-case"),
        ("[feeds.generic-voice]\nkind = \"files\"", 1, "`feeds.generic-voice.mapping` is missing", "generic-sms"),
        ("[feeds.generic-voice]\nmapping = 1", 2, "must be text", "correct"),
        ("[feeds.generic-voice]\nmapping = \"generic-vioce\"", 2, "no shipped mapping", "\"generic-voice\""),
        ("[feeds.generic-voice]\nmapping = \"gone.toml\"", 2, "a file that is not there", "relative"),
        ("[feeds.elsewhere]\nmapping = \"asterisk\"", 1, "is not a folder", "mkdir -p"),
        ("[feeds.elsewhere]\nmapping = \"asterisk\"\ninbox = \"my.toml\"", 3, "is not a folder", "mkdir -p"),
        ("[feeds.generic-voice]\nmapping = \"asterisk\"\nkind = \"stream\"", 3, "\"files\", \"append\"", "correct"),
        ("[feeds.generic-voice]\nmapping = \"asterisk\"\nsettle_ms = 5", 3, "not a setting", "`settle_s` (in seconds"),
        (
            "[feeds.generic-voice]\nmapping = \"asterisk\"\n[feeds.generic-voice.profile]\nhome_country = \"Belgium\"",
            4,
            "two upper-case",
            "correct",
        ),
        (
            "[feeds.generic-voice]\nmapping = \"asterisk\"\n[feeds.generic-voice.profile]\nzone = \"Europe/Brussel\"",
            4,
            "time zone",
            "correct",
        ),
        (
            "[feeds.generic-voice]\nmapping = \"asterisk\"\n[feeds.generic-voice.profile]\naccept_late_days = \"forever\"",
            4,
            "or \"unlimited\"",
            "correct",
        ),
        (
            "[feeds.generic-voice]\nmapping = \"asterisk\"\n[feeds.generic-voice.profile]\naccept_late = 5",
            4,
            "not a setting",
            "`accept_late_days`",
        ),
        (
            "[feeds.generic-voice]\nmapping = \"asterisk\"\n[feeds.generic-voice.profile]\ncurrency = \"eur\"",
            4,
            "ISO 4217",
            "correct",
        ),
        (
            "[feeds.generic-voice]\nmapping = \"asterisk\"\n[feeds.generic-voice.profile]\ntrunks = [1]",
            4,
            "list of texts",
            "correct",
        ),
    ];
    for (text, line, message, fix) in cases {
        let (place, m, f) = problem(&with_country(text), &[]);
        assert_eq!(place, Place::Line(*line), "{text}\n{m}");
        assert!(m.contains(message), "{text}\n{m}");
        assert!(f.contains(fix), "{text}\n{f}");
    }
}

mod kafka;

#[test]
fn no_value_is_ever_repeated_in_an_error() {
    for text in [
        "[site]\npassphrase = \"hunter2\"",
        "[site]\nname = hunter2",
        "[site]\nname = \"hunter2",
        "[release]\ndistinct_subscribers = \"hunter2\"",
        "[feeds.generic-voice]\nmapping = \"hunter2\"",
    ] {
        assert!(!load(text, &[]).unwrap_err().to_string().contains("hunter2"), "{text}");
    }
    let error = load(FEED_TEXT, &[("CDRVEIL__RELEASE__ROUNDING_BASE", "hunter2"), ("CDRVEIL__PASSPHRASE", "hunter2")])
        .unwrap_err();
    assert_eq!(error.problems.len(), 2);
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_file() {
    let error = load("[release]\nx = 1\n[ingest]\nworkers = -1\n[aaa]\n", &[]).unwrap_err();
    let lines: Vec<_> = error.problems.iter().map(|p| p.place.clone()).collect();
    assert_eq!(lines, [Place::Line(2), Place::Line(4), Place::Line(5)]);
    assert_eq!(error.to_string().matches("\n  fix: ").count(), 3);
}

#[test]
fn a_missing_or_unreadable_file_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let load = || Site::load(dir.path(), &Environment::default()).unwrap_err().to_string();
    assert!(load().contains("cdrveil init"));
    fs::write(dir.path().join(FILE), b"\xff\xfe").unwrap();
    assert!(load().contains("UTF-8"));
    fs::remove_file(dir.path().join(FILE)).unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    assert!(load().contains("fix: "));
}

#[test]
fn any_one_setting_is_overridden_from_the_environment() {
    let load = |name: &str, text: &str| load(FEED_TEXT, &[(name, text)]).unwrap();
    assert_eq!(load("CDRVEIL__RELEASE__STORE", "/srv/r.sqlite").release.store, Path::new("/srv/r.sqlite"));
    assert_eq!(load("CDRVEIL__RELEASE__DISTINCT_SUBSCRIBERS", "50").release.distinct_subscribers, 50);
    assert!(!load("CDRVEIL__CUBES__TRAFFIC_HOURLY", "false").cubes.traffic_hourly);
    assert_eq!(load("CDRVEIL__SITE__NAME", "5").name, "5");
    let feed = |name: &str, text: &str| load(name, text).feeds.remove("generic-voice").unwrap();
    assert_eq!(feed("CDRVEIL__FEEDS__GENERIC_VOICE__SETTLE_S", "60").settle_s, 60);
    let mapped = feed("CDRVEIL__FEEDS__GENERIC_VOICE__MAPPING", "my.toml");
    assert!(mapped.mapping.name() == "my" && mapped.mapping_file.unwrap().ends_with("my.toml"));
    let profile =
        |name: &str, text: &str| feed(&format!("CDRVEIL__FEEDS__GENERIC_VOICE__PROFILE__{name}"), text).profile;
    assert_eq!(profile("ACCEPT_LATE_DAYS", "unlimited")["accept_late_days"].as_str(), Some("unlimited"));
    assert_eq!(profile("ACCEPT_LATE_DAYS", "90")["accept_late_days"].as_integer(), Some(90));
    assert_eq!(profile("TRUNKS", "a, b")["trunks"].as_array().unwrap().len(), 2);
    assert_eq!(profile("HOME_COUNTRY", "GB")["home_country"].as_str(), Some("GB"));
}

#[test]
fn an_override_wins_over_the_file_and_is_listed() {
    let text = format!("[release]\nrounding_base = 7\n{FEED_TEXT}");
    let site =
        load(&text, &[("CDRVEIL__RELEASE__ROUNDING_BASE", "9"), ("CDRVEIL_SITE", "/x"), ("OTHER", "1")]).unwrap();
    assert_eq!(site.release.rounding_base, 9);
    assert_eq!(site.overrides, ["CDRVEIL__RELEASE__ROUNDING_BASE"]);
}

#[test]
fn a_wrong_override_is_refused_by_name() {
    for (name, text, message, fix) in [
        ("CDRVEIL__RELEASE__STROE", "x", "no such setting", "CDRVEIL__RELEASE__STORE"),
        ("CDRVEIL__NOTHING__OF__THE__SORT", "x", "no such setting", "unset it"),
        ("CDRVEIL__FEEDS__CISCO_CUCM__SETTLE_S", "5", "no such setting", "unset it"),
        ("CDRVEIL__RELEASE__ROUNDING_BASE", "five", "whole number", "correct"),
        ("CDRVEIL__RELEASE__ROUNDING_BASE", "", "whole number", "correct"),
        ("CDRVEIL__CUBES__TRAFFIC_HOURLY", "1", "true or false", "correct"),
        ("CDRVEIL__INGEST__SECRET", "x", "looks like a secret", "never stand"),
        ("CDRVEIL__release__store", "x", "no such setting", ""),
    ] {
        let (place, m, f) = problem(FEED_TEXT, &[(name, text)]);
        assert_eq!(place, Place::Variable(name.into()));
        assert!(m.contains(message) && f.contains(fix), "{name}: {m}; {f}");
    }
}

#[test]
fn a_feed_needs_a_home_country_and_a_mapping_that_parses() {
    let (place, message, _) = problem("\n[feeds.generic-voice]\nmapping = \"asterisk\"", &[]);
    assert!(place == Place::Line(2) && message.contains("home_country` is missing"));
    let variable = [("CDRVEIL__FEEDS__GENERIC_VOICE__MAPPING", "bad.toml")];
    let (place, _, _) = problem(FEED_TEXT, &variable);
    assert!(matches!(place, Place::Mapping { file, .. } if file.ends_with("bad.toml")));
    let text = load(FEED_TEXT, &variable).unwrap_err().to_string();
    assert!(text.contains("bad.toml:"), "{text}");
}
