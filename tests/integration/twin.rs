//! Copies of one site under the same keys, loaded and interrupted in different ways, recounted from
//! outside and compared.

use crate::site::{self, Run, Site};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

pub const FEED: &str = "generic-voice";

/// A generator for what is left to chance, and its seed on the output: `CDRVEIL_TEST_SEED` repeats it.
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a failed run is repeated by its seed")]
pub fn chance(test: &str) -> StdRng {
    let given = std::env::var("CDRVEIL_TEST_SEED").ok().and_then(|s| s.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    println!("{test}: CDRVEIL_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Files of generic-voice records: how many, of how many records each, some of them compressed.
pub struct Load {
    pub large: (u64, u64),
    pub small: (u64, u64),
    /// What a file must outgrow twice to be loaded on its own.
    pub block_bytes: u64,
}

impl Load {
    /// Every third file is compressed.
    pub fn generate(&self, folder: &Path) -> Vec<PathBuf> {
        let sizes = [self.large, self.small].into_iter().flat_map(|(files, n)| (0..files).map(move |_| n));
        let file = |(i, n): (usize, u64)| {
            let path = folder.join(format!("calls-{i}.csv"));
            let (n, seed) = (n.to_string(), (i + 1).to_string());
            site::generate(&path, &["--records", &n, "--seed", &seed, "--days", "2", "--country", "GB"]);
            if i % 3 != 2 {
                return path;
            }
            assert!(Command::new("gzip").arg("-1").arg(&path).status().unwrap().success());
            path.with_extension("csv.gz")
        };
        sizes.enumerate().map(file).collect()
    }
}

/// A copy of a site as `init` left it; its folder goes away with it.
pub struct Twin<'a> {
    home: &'a Site,
    pub dir: PathBuf,
    block_bytes: String,
}

/// How a run ended.
pub enum End {
    Killed,
    Done(Run),
}

impl<'a> Twin<'a> {
    pub fn of(home: &'a Site, name: &str, block_bytes: u64) -> Twin<'a> {
        Twin::from(home, &home.dir(), name, block_bytes)
    }

    /// A copy of `site`, which shares the keys of `home`.
    pub fn from(home: &'a Site, site: &Path, name: &str, block_bytes: u64) -> Twin<'a> {
        let dir = home.files().with_file_name(name);
        let copied = Command::new("cp").arg("-a").arg(site).arg(&dir).status().unwrap();
        assert!(copied.success());
        Twin { home, dir, block_bytes: block_bytes.to_string() }
    }

    /// `cdrveil ingest --json FILES…` on this copy.
    pub fn ingest(&self, files: &[PathBuf]) -> Command {
        let mut command = self.program();
        command.args(["ingest", "--json", "--feed", FEED]).args(files);
        command
    }

    /// `cdrveil` on this copy.
    pub fn program(&self) -> Command {
        let mut command = self.home.cdrveil();
        command.env("CDRVEIL_SITE", &self.dir).env("CDRVEIL__INGEST__BLOCK_BYTES", &self.block_bytes);
        command
    }

    /// Loads `files` to the end; the summary.
    pub fn load(&self, files: &[PathBuf]) -> Value {
        let run = Run::of(&mut self.ingest(files));
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        run.summary()
    }

    /// Loads `files` until the n-th passing of a fail point.
    pub fn load_until(&self, files: &[PathBuf], step: &str, n: u64) -> End {
        end(self.ingest(files).env("CDRVEIL_FAILPOINT", format!("{step}:{n}")).output().unwrap())
    }

    /// Loads `files` until `after` has passed.
    pub fn load_for(&self, files: &[PathBuf], after: Duration) -> End {
        let mut command = self.ingest(files);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(after);
        // Not waited for yet, so that the number cannot be another process's.
        child.kill().unwrap();
        end(child.wait_with_output().unwrap())
    }

    /// What `recount_tables.py` finds; it fails on what must not be in any site.
    pub fn recount(&self, csv: &[PathBuf]) -> Value {
        recount(&self.dir, csv)
    }

    pub fn has_manifests(&self) -> bool {
        self.dir.join("lake/_batches").join(FEED).join("files").join(format!("{:020}.json", 1)).exists()
    }
}

impl Drop for Twin<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn end(output: Output) -> End {
    match output.status.signal() {
        Some(9) => End::Killed,
        _ => End::Done(Run::ended(output)),
    }
}

pub fn recount(site: &Path, csv: &[PathBuf]) -> Value {
    let args = [site.as_os_str(), FEED.as_ref()].into_iter().chain(csv.iter().map(|p| p.as_os_str()));
    site::python("recount_tables.py", args)
}

/// The same records in every table, each as often.
pub fn assert_same(found: &Value, expected: &Value, when: &str) {
    for what in
        ["records_in", "veiled", "quarantined", "tally_by_hour", "tally", "cdr", "evidence", "quarantine", "identities"]
    {
        assert_eq!(found[what], expected[what], "{what} after {when}");
    }
}

/// A recount against the input, counted by nobody of ours.
pub fn assert_complete(recount: &Value) {
    let n = |v: &Value| v.as_u64().unwrap();
    assert_eq!(recount["csv_records"], recount["records_in"], "lines of the files without their headers");
    let (mut missing, sensitive) = (0, n(&recount["sensitive"]));
    for (hour, records) in recount["csv_by_hour"].as_object().unwrap() {
        let told = recount["tally_by_hour"].get(hour).map_or(0, n);
        assert!(told <= n(records), "{hour}: {told} tallied of {records}");
        missing += n(records) - told;
    }
    assert!(missing <= n(&recount["quarantined"]) + sensitive, "{missing} calls are missing");
    for kind in recount["random_by_called_kind"].as_object().unwrap().keys() {
        assert!(["emergency", "helpline"].contains(&kind.as_str()), "a caller of {kind} has no identity");
    }
}
