//! Input and machines at their worst: every record is sealed with position and reason or the run fails
//! cleanly, memory stays bounded, and nothing is lost or loaded twice.

use crate::sealed;
use crate::site::{Run, Site, generate};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

const HEADER: &str = "start,a_number,b_number,imsi,imei,duration,charge,currency,network\n";
/// The bound that the project promises, whatever the input.
const MEMORY: u64 = 512 << 20;

/// Row, reason, 1-based column (0: the record as a whole; none: not told here).
const REFUSED: [(&[u8], &str, Option<i64>); 24] = [
    (b"2026-03-01T00:00:00Z,\"+447700900001,+447700900002,,,1,,,", "unbalanced_quote", None),
    (b"2026-03-01T00:00:00Z,\"+447700900001\"7,+447700900002,,,1,,,", "unbalanced_quote", None),
    (b"2026-03-01T00:00:00Z,+447700900001", "column_count", None),
    (b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,1,,,,,,,", "column_count", None),
    (b"2026-03-01T00:00:00Z,+44770\xff0900001,+447700900002,,,1,,,", "invalid_utf8", None),
    (b"2026-03-01T00:00:00Z,+447700900001,+4477\xc3\x289,,,1,,,", "invalid_utf8", None),
    (b"2026-03-01T00:00:00Z,+4477009\x0000001,+447700900002,,,1,,,", "nul_byte", None),
    (b",+447700900001,+447700900002,,,1,,,", "missing_field", Some(1)),
    (b"2026-02-29T00:00:00Z,+447700900001,+447700900002,,,1,,,", "invalid_time", Some(1)),
    (b"2026-03-01T25:00:00Z,+447700900001,+447700900002,,,1,,,", "invalid_time", Some(1)),
    (b"yesterday,+447700900001,+447700900002,,,1,,,", "invalid_time", Some(1)),
    (b"2099-03-01T00:00:00Z,+447700900001,+447700900002,,,1,,,", "future_event", Some(1)),
    (b"1999-03-01T00:00:00Z,+447700900001,+447700900002,,,1,,,", "no_epoch_key", Some(1)),
    (b"2026-03-01T00:00:00Z,7777777777777777777777777777777777777777,+447700900002,,,1,,,", "number_length", Some(2)),
    (b"2026-03-01T00:00:00Z,+447700900001,+,,,1,,,", "number_length", Some(3)),
    (b"2026-03-01T00:00:00Z,+447700900001,4477q0900002,,,1,,,", "invalid_number", Some(3)),
    (b"2026-03-01T00:00:00Z,+447700900001,+447700900002,0010101234567890,,1,,,", "invalid_imsi", Some(4)),
    (b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,2605317931138,1,,,", "invalid_imei", Some(5)),
    (b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,-1,,,", "invalid_duration", Some(6)),
    (b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,99999999999,,,", "invalid_duration", Some(6)),
    (b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,1,free,GBP,", "invalid_charge", Some(7)),
    (b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,1,1.25,POUND,", "invalid_currency", Some(8)),
    (b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,1,1.25,,", "invalid_currency", Some(8)),
    (b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,1,,,2", "invalid_network", Some(9)),
];

#[test]
fn every_bad_record_is_sealed_with_its_position_and_reason() {
    let site = Site::new();
    site.open_epoch("2026-03");
    let good = b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,1,,,\r\n";
    let mut file = HEADER.as_bytes().to_vec();
    for (row, _, _) in REFUSED {
        file.extend_from_slice(row);
        file.extend_from_slice(b"\r\n");
        file.extend_from_slice(good);
    }
    let summary = site.load("generic-voice", [site.file("bad.csv", &file)]);
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    REFUSED.iter().for_each(|r| *reasons.entry(r.1).or_default() += 1);
    assert_eq!(summary["quarantined_by"], serde_json::to_value(&reasons).unwrap(), "{summary}");
    assert_eq!((&summary["veiled"], &summary["quarantined"]), (&24.into(), &24.into()));
    let quarantined = sealed::quarantine(&site);
    assert_eq!(quarantined.len(), REFUSED.len());
    for (i, (found, (row, reason, column))) in quarantined.iter().zip(REFUSED).enumerate() {
        assert_eq!((found.line, found.reason.as_str()), (2 + 2 * i as i64, reason));
        assert!(found.bytes.trim_ascii_end() == row, "row {i} was not sealed as it arrived");
        assert_eq!(&file[found.offset as usize..][..row.len()], row, "offset of row {i}");
        assert!(column.is_none_or(|c| c == found.column), "row {i}: column {}", found.column);
    }

    // The same month, under the feed's own bound on lateness.
    let late = site
        .file("late.csv", [HEADER.as_bytes(), b"2026-03-02T00:00:00Z,+447700900001,+447700900002,,,1,,,\n"].concat());
    let run = Run::of(site.cdrveil().args(["ingest", "--json", "--feed", "generic-voice"]).arg(late));
    assert_eq!((run.code, &run.summary()["quarantined_by"]), (0, &serde_json::json!({"late_event": 1})));
}

#[test]
fn a_line_without_end_is_one_reject_in_little_memory() {
    let site = Site::new();
    site.open_epoch("2026-03");
    let good = b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,1,,,\n";
    let long = vec![b'7'; 64 << 20];
    let summary =
        site.load("generic-voice", [site.file("long.csv", [HEADER.as_bytes(), good, &long, b"\n", good].concat())]);
    let told = ["records_in", "veiled", "quarantined"].map(|n| summary[n].as_u64().unwrap());
    assert_eq!(told, [3, 2, 1], "{summary}");
    assert_eq!(summary["quarantined_by"], serde_json::json!({"record_too_long": 1}));
    assert!(summary["peak_rss_bytes"].as_u64().unwrap() < MEMORY, "{summary}");
    assert!(sealed::quarantine(&site).iter().all(|q| q.line == 3 && q.reason == "record_too_long"));
}

#[test]
fn a_decompression_bomb_is_refused_in_little_memory() {
    let site = Site::new();
    // 4 GiB of one row in some hundred kilobytes.
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let row = b"2026-03-01T00:00:00Z,+447700900001,+447700900002,,,1,,,\n".repeat(1 << 14);
    bomb.write_all(HEADER.as_bytes()).unwrap();
    for _ in 0..(4u64 << 30) / row.len() as u64 {
        bomb.write_all(&row).unwrap();
    }
    let run = site.ingest("generic-voice", [site.file("bomb.zst", bomb.finish().unwrap())]);
    let summary = run.summary();
    assert_eq!(
        (run.code, &summary["records_in"], &summary["files"][0]["fate"]),
        (1, &0.into(), &"refused".into()),
        "{summary}"
    );
    assert!(run.error()["fix"].as_str().unwrap().starts_with("bomb"), "{}", run.stderr);
    assert!(summary["peak_rss_bytes"].as_u64().unwrap() < MEMORY, "{summary}");
    assert_eq!(
        files_under(&site, "lake/cdr", "parquet") + files_under(&site, "vault/evidence", "parquet"),
        0,
        "left behind"
    );
}

/// A small disk for one zone fills up; nothing is committed; with more room the same command loads
/// every record once.
#[test]
fn a_full_disk_fails_the_run_and_loses_nothing() {
    for zone in ["lake", "vault"] {
        let site = Site::of_country("BE");
        let file = site.files().join("calls.csv");
        generate(&file, &["--records", "150000", "--broken", "0.01"]);
        let site_dir = site.dir();
        let steps = "set -e
            cp -a $SITE/$ZONE $SITE/$ZONE.before
            mount -t tmpfs -o size=6m none $SITE/$ZONE
            cp -a $SITE/$ZONE.before/. $SITE/$ZONE/
            set +e; $CDRVEIL ingest --json --feed generic-voice $FILE; echo code $?; set -e
            mount -o remount,size=1g $SITE/$ZONE
            $CDRVEIL ingest --json --feed generic-voice $FILE; echo code $?
            mkdir $SITE/$ZONE.after; cp -a $SITE/$ZONE/. $SITE/$ZONE.after/";
        let ingest = site.cdrveil();
        let mut shell = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            shell.args(["--user", "--map-root-user"]);
        }
        shell.args(["--mount", "sh", "-c", steps]).env("ZONE", zone).env("SITE", &site_dir).env("FILE", &file);
        shell.env("CDRVEIL", ingest.get_program()).envs(ingest.get_envs().filter_map(|(k, v)| Some((k, v?))));
        let run = Run::of(&mut shell);
        let lines: Vec<&str> = run.stdout.lines().collect();
        let failed = run.stderr.lines().find(|l| l.contains("\"error\"")).unwrap_or_default();
        assert!(lines.contains(&"code 1") && lines.last() == Some(&"code 0"), "{zone}: {}{}", run.stdout, run.stderr);
        assert!(failed.to_lowercase().contains("space"), "{zone}: {}", run.stderr);
        let summary: serde_json::Value = serde_json::from_str(lines[lines.len() - 2]).unwrap();
        assert_eq!(summary["records_in"], 150_000, "{zone}: {summary}");
        for (from, to) in
            [(format!("{zone}.before"), None), (zone.to_owned(), None), (format!("{zone}.after"), Some(zone))]
        {
            match to {
                None => std::fs::remove_dir_all(site.path(&from)).unwrap(),
                Some(to) => std::fs::rename(site.path(&from), site.path(to)).unwrap(),
            }
        }
        let veiled = summary["veiled"].as_u64().unwrap() as usize;
        assert_eq!(sealed::rows(&site, "lake/cdr", "event_day"), veiled, "{zone}");
        assert_eq!(sealed::rows(&site, "vault/evidence", "event_day"), veiled, "{zone}");
        let quarantined = sealed::rows(&site, "vault/quarantine", "arrival_day");
        assert_eq!(quarantined as u64, summary["quarantined"].as_u64().unwrap(), "{zone}");
    }
}

fn files_under(site: &Site, dir: &str, extension: &str) -> usize {
    let mut found = 0;
    let mut folders = vec![site.path(dir)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension() == Some(extension.as_ref()) {
                found += 1;
            }
        }
    }
    found
}
