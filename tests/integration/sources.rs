//! Files as they come: every shipped format, every compression under any name, twice, too early, not
//! at all, on a pipe; and calls whose two records stand in two files.

use crate::sealed;
use crate::site::{Run, Site, generate};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// 2026-03 is the month of the samples.
fn site_for_samples() -> Site {
    let site = Site::new();
    site.open_epoch("2026-03");
    site
}

#[test]
fn every_shipped_sample_loads_with_a_truthful_summary() {
    let site = site_for_samples();
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/cdr");
    let mut samples = 0;
    for feed in list(&schemas).into_iter().filter(|p| p.is_dir()) {
        for file in list(&feed.join("good")) {
            if file.extension() == Some("expected".as_ref()) {
                continue;
            }
            samples += 1;
            let expected = std::fs::read_to_string(format!("{}.expected", file.display())).unwrap();
            let rows = expected.lines().filter(|l| l.split(':').next().unwrap().parse::<u64>().is_ok()).count();
            let counted = |what: &str| -> u64 {
                let lines = expected.lines().filter_map(|l| l.strip_prefix(what));
                lines.map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
            };
            let name = feed.file_name().unwrap().to_str().unwrap();
            let summary = site.load(name, [&file]);
            let told = ["veiled", "joined", "dropped", "quarantined", "open"].map(|n| summary[n].as_u64().unwrap());
            assert_eq!(told, [rows as u64, counted("joined "), counted("dropped "), 0, 0], "{file:?}: {summary}");
            // What is joined went into a row of another record.
            assert_eq!(summary["records_in"], told.iter().sum::<u64>(), "{file:?}: {summary}");
            assert_eq!(summary["files"][0]["fate"], "loaded");
            assert_eq!(summary["bytes_in"], std::fs::metadata(&file).unwrap().len());
        }
        assert_balanced(&site, feed.file_name().unwrap().to_str().unwrap());
    }
    assert!(samples >= 20, "{samples} samples");
}

#[test]
fn compression_is_told_by_content_and_a_redelivery_by_its_bytes() {
    let site = site_for_samples();
    let packed: [(&str, fn(&[u8]) -> Vec<u8>); 4] =
        [("plain.gz", <[u8]>::to_vec), ("gz.zst", gzip), ("zst.bz2", zstandard), ("bz2.csv", bzip2)];
    for (n, (name, pack)) in packed.iter().enumerate() {
        let text = voice(n, 100);
        let summary = site.load("generic-voice", [site.file(name, pack(text.as_bytes()))]);
        assert_eq!((&summary["veiled"], &summary["bytes_in"]), (&100.into(), &text.len().into()), "{name}: {summary}");
        for (_, again) in packed {
            let summary = site.load("generic-voice", [site.file("renamed", again(text.as_bytes()))]);
            assert_eq!((fate(&summary, 0), &summary["records_in"]), ("already_loaded", &0.into()), "{summary}");
        }
    }
    let text = voice(9, 10);
    let twice = [site.file("one", &text), site.file("two", gzip(text.as_bytes()))];
    let summary = site.load("generic-voice", [&twice[0], &twice[1], &twice[0]]);
    assert_eq!([0, 1, 2].map(|i| fate(&summary, i)), ["loaded", "already_loaded", "already_loaded"]);
    assert_eq!(summary["veiled"], 10);
    assert_eq!(sealed::rows(&site, "lake/cdr", "event_day"), 410);
    assert_balanced(&site, "generic-voice");
}

#[test]
fn what_is_not_complete_waits_and_is_loaded_whole_later() {
    let site = site_for_samples();
    let text = voice(1, 5000);
    let whole = gzip(text.as_bytes());
    for cut in [whole.len() - 1, whole.len() / 2, 20] {
        let run = site.ingest("generic-voice", [site.file("cut.csv.gz", &whole[..cut])]);
        assert_eq!((run.code, fate(&run.summary(), 0)), (1, "waiting"), "{}", run.stderr);
        assert_eq!(run.summary()["records_in"], 0);
        run.error();
    }
    // Of several files, those that can be loaded are.
    let other = site.file("other.csv", voice(2, 7));
    let run = site.ingest("generic-voice", [&site.files().join("cut.csv.gz"), &other]);
    assert_eq!((run.code, &run.summary()["veiled"]), (1, &7.into()));
    assert_eq!(site.load("generic-voice", [site.file("cut.csv.gz", &whole)])["veiled"], 5000);

    let growing = site.files().join("growing.csv");
    generate(&growing, &["--records", "60000", "--broken", "0", "--seed", "5"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = std::fs::OpenOptions::new().append(true).open(&growing).unwrap();
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                file.write_all(b"\n").unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let run = site.ingest("generic-voice", [&growing]);
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        run
    });
    assert_eq!((run.code, fate(&run.summary(), 0)), (1, "waiting"), "{}", run.stdout);
    assert_eq!(run.summary()["records_in"], 0);
    assert_eq!(site.load("generic-voice", [&growing])["veiled"], 60_000);
    assert_balanced(&site, "generic-voice");
}

#[test]
fn standard_input_is_loaded_and_cannot_tell_a_redelivery() {
    let site = site_for_samples();
    let text = voice(1, 50);
    for pass in 1..=2 {
        let summary = site.load_stdin("generic-voice", &gzip(text.as_bytes()));
        assert_eq!((&summary["veiled"], &summary["files"][0]["path"]), (&50.into(), &"-".into()), "pass {pass}");
    }
    let summary = site.load_stdin("generic-voice", b"");
    assert_eq!(fate(&summary, 0), "empty");
    assert_eq!(sealed::rows(&site, "lake/cdr", "event_day"), 100);
}

#[test]
fn what_cannot_be_read_is_named_and_nothing_of_it_shown() {
    let site = site_for_samples();
    let empty = site.load("generic-voice", [site.file("empty.csv", "")]);
    assert_eq!((fate(&empty, 0), &empty["records_in"]), ("empty", &0.into()));
    let heads_only = site.load("generic-voice", [site.file("heads.csv", "start,a_number,b_number\n")]);
    assert_eq!(heads_only["records_in"], 0, "{heads_only}");

    let unknown = "start,a_number,b_number,shoe_size\n2026-03-01T00:00:00Z,+447700900001,+447700900002,44\n";
    let headless = "2026-03-01T00:00:00Z,+447700900001,+447700900002,61\n";
    let missing = "start,b_number\n2026-03-01T00:00:00Z,+447700900002\n";
    for (what, path, code, says) in [
        ("a directory", site.files(), 2, "a directory"),
        ("no file", site.files().join("nowhere.csv"), 2, "no such file"),
        ("an unknown column", site.file("unknown.csv", unknown), 2, "`shoe_size`"),
        ("a file without header", site.file("headless.csv", headless), 2, "header"),
        ("a missing column", site.file("missing.csv", missing), 2, "`a_number`"),
        ("another archive", site.file("archive.zip", b"PK\x03\x04rest of it"), 1, "zip"),
    ] {
        let run = site.ingest("generic-voice", [&path]);
        assert_eq!((run.code, fate(&run.summary(), 0)), (code, "refused"), "{what}: {}{}", run.stdout, run.stderr);
        assert!(run.error()["fix"].as_str().unwrap().contains(says), "{what}: {}", run.stderr);
        for private in ["447700900001", "447700900002"] {
            assert!(
                !run.stdout.contains(private) && !run.stderr.contains(private),
                "{what}: {}{}",
                run.stdout,
                run.stderr
            );
        }
    }
    let denied = site.file("denied.csv", voice(1, 1));
    std::fs::set_permissions(&denied, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let run = Run::of(&mut without_privileges(&site, &denied));
    assert_eq!((run.code, fate(&run.summary(), 0)), (1, "refused"), "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("no permission"), "{}", run.stderr);
    assert!(site.manifests("generic-voice").iter().all(|m| m["counts"]["records_in"] == 0));
}

/// Root reads everything; without these two capabilities it is refused like anybody else.
fn without_privileges(site: &Site, file: &Path) -> Command {
    let ingest = site.cdrveil();
    let arguments = ["ingest", "--json", "--accept-late", "unlimited", "--feed", "generic-voice"];
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]).arg(ingest.get_program());
        command
    } else {
        Command::new(ingest.get_program())
    };
    command.args(arguments).arg(file);
    command.envs(ingest.get_envs().filter_map(|(k, v)| Some((k, v?))));
    command
}

#[test]
fn a_call_whose_records_stand_in_two_files_is_one_row() {
    let site = site_for_samples();
    let invite = "INVITE|aa|bb|c1@192.0.2.1|200|OK|1772697600||07700900401|07700900402||1:2\n";
    let bye = "BYE|bb|aa|c1@192.0.2.1|200|OK|1772697660|||||1:2\n";
    let first = site.load("kamailio", [site.file("first.log", invite)]);
    assert_eq!([&first["records_in"], &first["veiled"], &first["open"]], [1, 0, 1], "{first}");
    let second = site.load("kamailio", [site.file("second.log", bye)]);
    let told = ["records_in", "veiled", "joined", "open"].map(|n| &second[n]);
    assert_eq!(told, [1, 1, 1, 0], "{second}");
    assert_balanced(&site, "kamailio");
    let manifest = std::fs::read_to_string(list(&site.path("lake/_batches/kamailio/files"))[0].clone()).unwrap();
    assert!(!manifest.contains("first.log"), "an open half's path is readable");
    let evidence = sealed::evidence(&site);
    assert_eq!(evidence.iter().filter(|e| e.record.duration_s == Some(60)).count(), 1);

    // A half that can no longer be read again stops the feed, until it is told to go on.
    let lost = site.file("lost.log", invite.replace("c1@", "c2@"));
    assert_eq!(site.load("kamailio", [&lost])["open"], 1);
    std::fs::remove_file(&lost).unwrap();
    let third = site.file("third.log", invite.replace("c1@", "c3@").replace("|200|OK", "|404|Not Found"));
    let stopped = site.ingest("kamailio", [&third]);
    assert_eq!(stopped.code, 1, "{}{}", stopped.stdout, stopped.stderr);
    let forced = site.load("kamailio", ["--forget-open".as_ref(), third.as_os_str()]);
    assert_eq!((&forced["veiled"], &forced["dropped_by"]), (&1.into(), &json!({"open_half_lost": 1})), "{forced}");
    assert_balanced(&site, "kamailio");
}

/// Files too large to be held in memory are staged before it is known whether they are whole and new.
#[test]
fn a_large_file_of_halves_that_is_given_up_leaves_open_calls_open() {
    let site = Site::of_country("BE");
    let big = site.files().join("big.log");
    generate(&big, &["--format", "kamailio", "--records", "200000", "--broken", "0"]);
    let text = std::fs::read_to_string(&big).unwrap();
    assert!(text.len() > 17 << 20, "{} bytes are read in two batches", text.len());
    let half = text.lines().find(|l| l.starts_with("INVITE|") && l.contains("|200|")).unwrap();
    let half = format!("{}\n", half.replacen("INVITE|", "INVITE|a-tag-of-its-own", 1));
    assert_eq!(site.load("kamailio", [site.file("half.log", &half)])["open"], 1);

    let whole = gzip(text.as_bytes());
    let cut = site.file("cut.log.gz", &whole[..whole.len() - 9]);
    let other = site.file("other.log", half.replace("a-tag-of-its-own", "another-tag"));
    let run = site.ingest("kamailio", [&cut, &other]);
    let summary = run.summary();
    assert_eq!([fate(&summary, 0), fate(&summary, 1)], ["waiting", "loaded"], "{summary}{}", run.stderr);
    assert_eq!((run.code, &summary["records_in"], &summary["open"]), (1, &1.into(), &2.into()), "{summary}");

    let loaded = site.load("kamailio", [&big]);
    assert_eq!((&loaded["records_in"], fate(&loaded, 0)), (&200_000.into(), "loaded"), "{loaded}");
    let again = site.load("kamailio", [site.file("again.log.gz", &whole)]);
    assert_eq!((&again["records_in"], fate(&again, 0)), (&0.into(), "already_loaded"), "{again}");
    let veiled = loaded["veiled"].as_u64().unwrap() as usize;
    assert_eq!(sealed::rows(&site, "lake/cdr", "event_day"), veiled);
    assert_balanced(&site, "kamailio");
}

/// `records in + open before = veiled + joined + quarantined + dropped + open after` in every manifest.
fn assert_balanced(site: &Site, feed: &str) {
    for (i, manifest) in site.manifests(feed).iter().enumerate() {
        let counts = &manifest["counts"];
        let n = |name: &str| counts[name].as_u64().unwrap();
        let outgoing = n("veiled") + n("joined") + n("quarantined") + n("dropped") + n("open_after");
        assert_eq!(n("records_in") + n("open_before"), outgoing, "manifest {} of {feed}: {counts}", i + 1);
        assert_eq!(manifest["open"].as_array().unwrap().len() as u64, n("open_after"));
    }
}

fn fate(summary: &Value, file: usize) -> &str {
    summary["files"][file]["fate"].as_str().unwrap()
}

/// A headed file of `rows` calls; another `seed`, other content.
fn voice(seed: usize, rows: usize) -> String {
    let row = |n: usize| {
        format!(
            "2026-03-{:02}T10:{:02}:{:02}Z,+44770090{:04},0770090{:04},{seed}\n",
            1 + n % 28,
            n % 60,
            n / 60 % 60,
            n % 1000,
            n * 7 % 1000
        )
    };
    std::iter::once("start,a_number,b_number,duration\n".to_owned()).chain((0..rows).map(row)).collect()
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}
