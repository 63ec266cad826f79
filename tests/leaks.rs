//! Marked identifiers through every path there is; none may stand anywhere afterwards, in any encoding:
//! not in the lake, not in a Delta log, not in a message, a file name or a temporary file. The vault is
//! searched too: what stands there is sealed.
//!
//! The search itself is `tests/integration/leaks.py`, with a planted control for every encoding.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

#[path = "integration/site.rs"]
#[allow(dead_code, reason = "shared with the integration tests, which use all of it")]
mod site;

use serde_json::json;
use site::{Run, Site, python};
use std::path::PathBuf;

const HEADER: &str = "start,a_number,b_number,c_number,imsi,imei,duration,charge,currency\n";

/// Everything that may be marked, by the path it takes.
fn markers() -> serde_json::Value {
    json!({
        "good a": "447700900101", "good b": "447700900102", "good c": "447700900103",
        "good imsi": "234150000000731", "good imei": "26053179317731",
        "bad date": "447700900110", "unbalanced quote": "447700900111", "column count": "447700900112",
        "invalid utf8": "447700900113", "nul": "447700900114", "too long a number": "447700900115",
        "bad imsi": "447700900116", "future": "447700900117", "late": "447700900118", "long line": "447700900119",
        "emergency caller": "447700900120", "helpline caller": "447700900121", "restricted": "447700900122",
        "headless": "447700900130", "in a header": "447700900131", "unknown column": "447700900132",
        "truncated archive": "447700900133", "stdin": "447700900134", "a file's name": "447700900135",
        "invite": "447700900140", "bye": "447700900141", "unpaired": "447700900142", "call id": "c7731@voip-7731.example.net",
        "json": "447700900150", "json unlisted": "447700900151", "json broken": "447700900152",
        "clid": "Zebediah Quux", "channel": "447700900161", "last data": "447700900162",
        "sender": "JANEDOE7731", "uri": "marie.curie.7731@voip.example.net", "opaque": "sales-desk-7731",
        "ipv4": "203.0.113.77", "ipv6": "2001:db8:7731::31",
    })
}

#[test]
fn no_marked_identifier_stands_anywhere_after_every_path() {
    let mut scene = Scene::new();
    scene.good_and_refused_records();
    scene.refused_files();
    scene.other_formats();
    scene.halves();
    scene.everything_else();
    let markers = scene.site.file("markers.json", markers().to_string());
    let found = python("leaks.py", [markers.as_os_str(), scene.site.dir().as_os_str(), scene.outputs.as_os_str()]);
    assert_eq!(found["missed"], json!([]), "the search does not find what was planted");
    assert_eq!(found["hits"], json!([]));
    assert!(found["bytes"].as_u64() > Some(100_000) && found["needles"].as_u64() > Some(1000), "{found}");
    assert!(
        scene.veiled >= 12 && scene.quarantined >= 10,
        "{} veiled, {} quarantined",
        scene.veiled,
        scene.quarantined
    );
}

struct Scene {
    site: Site,
    /// What every command printed, and its temporary files.
    outputs: PathBuf,
    runs: usize,
    veiled: u64,
    quarantined: u64,
}

impl Scene {
    fn new() -> Scene {
        let site = Site::new();
        site.open_epoch("2026-03");
        let outputs = site.files().join("outputs");
        std::fs::create_dir_all(outputs.join("tmp")).unwrap();
        Scene { site, outputs, runs: 0, veiled: 0, quarantined: 0 }
    }

    fn good_and_refused_records(&mut self) {
        let mut text = HEADER.as_bytes().to_vec();
        for row in [
            &b"2026-03-01T10:00:00Z,+447700900101,07700 900102,00447700900103,234150000000731,260531793177310,61,1.25,GBP"[..],
            b"2026-03-01T10:00:00Z,anonymous,sip:+447700900102@voip.example.net;user=phone,,,,0,,",
            b"2026-03-01T10:00:00Z,sip:marie.curie.7731@voip.example.net,sales-desk-7731,,,,0,,",
            b"2026-03-01T10:00:00Z,\"Ann <+447700900122>\",+447700900101,,,,0,,",
            b"2026-03-01T11:00:00Z,+447700900120,112,,,,30,,",
            b"2026-03-01T11:00:00Z,+447700900121,116123,,,,30,,",
            b"2026-02-30T10:00:00Z,+447700900110,+447700900110,,,,1,,",
            b"2026-03-01T10:00:00Z,\"+447700900111,+447700900111,,,,1,,",
            b"2026-03-01T10:00:00Z,+447700900112,+447700900112",
            b"2026-03-01T10:00:00Z,+447700900113\xff,+447700900113,,,,1,,",
            b"2026-03-01T10:00:00Z,+447700900114\0,+447700900114,,,,1,,",
            b"2026-03-01T10:00:00Z,+447700900115447700900115,+447700900115,,,,1,,",
            b"2026-03-01T10:00:00Z,+447700900116,+447700900116,,4477009001164477,,1,,",
            b"2099-03-01T10:00:00Z,+447700900117,+447700900117,,,,1,,",
            b"1999-03-01T10:00:00Z,+447700900118,+447700900118,,,,1,,",
        ] {
            text.extend_from_slice(row);
            text.push(b'\n');
        }
        text.extend(b"+447700900119,".repeat(100_000));
        let file = self.site.file("447700900135.csv", &text);
        self.load("generic-voice", &[file.to_str().unwrap()], b"", 0);
        let file = self.site.file("again.csv", &text);
        self.load("generic-voice", &[file.to_str().unwrap()], b"", 0);
        let input = format!("{HEADER}2026-03-01T10:00:00Z,+447700900134,07700900134,,,,1,,\n");
        self.load("generic-voice", &["-"], input.as_bytes(), 0);
    }

    fn refused_files(&mut self) {
        let headless =
            self.site.file("headless.csv", "2026-03-01T10:00:00Z,+447700900130,07700900130\n447700900130,1,2\n");
        self.load("generic-voice", &[headless.to_str().unwrap()], b"", 2);
        let header = self.site.file("header.csv", "start,a_number,b_number,+447700900131,07700900131 Ann\nx,1,2,3,4\n");
        self.load("generic-voice", &[header.to_str().unwrap()], b"", 2);
        let unknown = "start,a_number,b_number,shoe\n2026-03-01T10:00:00Z,+447700900132,07700900132,+447700900132\n";
        let unknown = self.site.file("unknown.csv", unknown);
        self.load("generic-voice", &[unknown.to_str().unwrap()], b"", 2);
        let rows = "2026-03-01T10:00:00Z,+447700900133,07700900133,,,,1,,\n".repeat(1000);
        let mut packed = zstd::encode_all(format!("{HEADER}{rows}").as_bytes(), 1).unwrap();
        packed.truncate(packed.len() - 2);
        let cut = self.site.file("cut.csv", packed);
        self.load("generic-voice", &[cut.to_str().unwrap()], b"", 1);
    }

    fn other_formats(&mut self) {
        let sms = "start,a_number,b_number\n2026-03-02T10:00:00Z,JaneDoe7731,+447700900101\n";
        self.load("generic-sms", &["-"], sms.as_bytes(), 0);
        let data = "start,a_number,imsi,imei,address,duration,bytes_up,bytes_down\n\
            2026-03-02T10:00:00Z,,234150000000731,,203.0.113.77,1,1,1\n2026-03-02T10:00:00Z,,234150000000731,,2001:db8:7731::31,1,1,1\n";
        self.load("generic-data", &["-"], data.as_bytes(), 0);
        let lines = concat!(
            r#"{"service":"voice","start":"2026-03-07T08:00:00Z","a_number":"+447700900150","b_number":"+447700900150","note":"447700900151"}"#,
            "\n",
            r#"{"service":"voice","start":"2026-03-07T08:00:00Z","a_number":"+447700900152","b_number":"+4477009"#,
            "\n",
            r#"{"service":"voice","start":"x","a_number":{"deep":"+447700900152"},"b_number":"+447700900152"}"#,
            "\n",
        );
        self.load("json-lines", &["-"], lines.as_bytes(), 0);
        let asterisk = "\"\",\"07700900101\",\"07700900102\",\"default\",\"\"\"Zebediah Quux\"\" <07700900101>\",\"SIP/447700900161-00\",\
            \"SIP/447700900161-01\",\"Dial\",\"SIP/447700900162\",\"2026-03-04 08:00:00\",\"2026-03-04 08:00:10\",\
            \"2026-03-04 08:01:00\",\"60\",\"50\",\"ANSWERED\",\"DOCUMENTATION\"\n";
        self.load("asterisk", &["-"], asterisk.as_bytes(), 0);
    }

    fn halves(&mut self) {
        let call = "c7731@voip-7731.example.net";
        let invite =
            |id: &str, n: &str| format!("INVITE|aa|bb|{id}{call}|200|OK|1772697600||07700900{n}|07700900{n}||1:2\n");
        let first = self.site.file("447700900135.log", invite("", "140"));
        self.load("kamailio", &[first.to_str().unwrap()], b"", 0);
        let bye = format!("BYE|bb|aa|{call}|200|OK|1772697660||07700900141|07700900141||1:2\n{}", invite("u", "142"));
        let second = self.site.file("second.log", bye);
        self.load("kamailio", &[second.to_str().unwrap()], b"", 0);
        std::fs::remove_file(&second).unwrap();
        let third = self.site.file("third.log", invite("v", "142"));
        self.load("kamailio", &[third.to_str().unwrap()], b"", 1);
        self.load("kamailio", &["--forget-open", third.to_str().unwrap()], b"", 0);
    }

    fn everything_else(&mut self) {
        for args in [
            &["check"][..],
            &["steward", "--once"],
            &["query", "--sql", "SELECT * FROM traffic_hourly_windows"],
            &["query", "--sql", "SELECT nonsense"],
            &["quarantine", "list"],
            &["quarantine", "show", "--limit", "1000"],
            &["quarantine", "show", "--limit", "1000", "--json"],
            &["quarantine", "replay", "--feed", "generic-voice", "--dry-run"],
            &["quarantine", "replay", "--feed", "generic-voice", "--accept-late", "unlimited", "--json"],
            &["quarantine", "replay", "--feed", "json-lines"],
            &["quarantine", "discard", "--feed", "json-lines", "--yes"],
        ] {
            let mut command = self.site.cdrveil();
            let run = Run::of(command.args(args).env("RUST_LOG", "trace"));
            self.keep(&run);
        }
        let run = self.site.run_vault(["epoch", "list"]);
        self.keep(&run);
    }

    /// Ingests once with `--json`; the same command without it sees a re-delivery or the same refusal.
    fn load(&mut self, feed: &str, args: &[&str], input: &[u8], code: i32) {
        for json in [true, false] {
            let mut command = self.site.cdrveil();
            command.args(["ingest", "--accept-late", "unlimited", "--feed", feed]).args(args);
            command.args(json.then_some("--json")).env("RUST_LOG", "trace").env("TMPDIR", self.outputs.join("tmp"));
            let run = Run::fed(&mut command, input);
            // Once lost halves are forgotten, the same command has nothing to complain of.
            assert_eq!(run.code, code, "{feed} {args:?}: {}{}", run.stdout, run.stderr);
            if json {
                let summary = run.summary_if_any();
                self.veiled += summary["veiled"].as_u64().unwrap_or(0);
                self.quarantined += summary["quarantined"].as_u64().unwrap_or(0);
            }
            self.keep(&run);
        }
    }

    /// An input's own path is printed as it was given; nothing else of it may be.
    fn keep(&mut self, run: &Run) {
        self.runs += 1;
        for (name, text) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
            let text = text.replace("447700900135.", "input.");
            std::fs::write(self.outputs.join(format!("{}.{name}", self.runs)), text).unwrap();
        }
    }
}
