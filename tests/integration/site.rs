//! A site in a temporary folder, driven through the real binaries.

use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub const PASSPHRASE: &str = "ingest: correct horse";
pub const VAULT_PASSPHRASE: &str = "vault: battery staple";

/// A fresh site; its folder goes away with it.
///
/// `site/` is the site itself, `files/` beside it is for inputs, `secrets/` holds the passphrases.
pub struct Site {
    root: TempDir,
}

impl Site {
    /// `cdrveil init` with GB as home country, so that national numbers are those of the United Kingdom.
    pub fn new() -> Site {
        Site::of_country("GB")
    }

    pub fn of_country(country: &str) -> Site {
        let root = tempfile::Builder::new().prefix("cdrveil-test-").tempdir().unwrap();
        for folder in ["files", "secrets"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        std::fs::write(root.path().join("secrets/ingest.txt"), PASSPHRASE).unwrap();
        std::fs::write(root.path().join("secrets/vault.txt"), VAULT_PASSPHRASE).unwrap();
        let site = Site { root };
        let dir = site.dir();
        let init = site.run_cdrveil(["init".as_ref(), dir.as_os_str(), "--country".as_ref(), country.as_ref()]);
        assert_eq!(init.code, 0, "{}", init.stderr);
        site
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().join("site")
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir().join(inside)
    }

    /// Where inputs are put: outside the site.
    pub fn files(&self) -> PathBuf {
        self.root.path().join("files")
    }

    /// Writes an input file.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `cdrveil` with this site and its passphrases in the environment; arguments are the caller's.
    pub fn cdrveil(&self) -> Command {
        self.program(env!("CARGO_BIN_EXE_cdrveil"))
    }

    /// `cdrveil-vault`, likewise.
    pub fn vault(&self) -> Command {
        self.program(env!("CARGO_BIN_EXE_cdrveil-vault"))
    }

    fn program(&self, path: &str) -> Command {
        let mut command = Command::new(path);
        command
            .env("CDRVEIL_SITE", self.dir())
            .env("CDRVEIL_PASSPHRASE_FILE", self.root.path().join("secrets/ingest.txt"))
            .env("CDRVEIL_VAULT_PASSPHRASE_FILE", self.root.path().join("secrets/vault.txt"))
            .current_dir(self.root.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run_cdrveil<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.cdrveil().args(args))
    }

    pub fn run_vault<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.vault().args(args))
    }

    /// `cdrveil ingest --json --feed FEED ARGS…`, whatever comes of it.
    pub fn ingest<A: AsRef<OsStr>>(&self, feed: &str, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.cdrveil().args(["ingest", "--json", "--accept-late", "unlimited", "--feed", feed]).args(args))
    }

    /// The same, which must end well; its summary.
    pub fn load<A: AsRef<OsStr>>(&self, feed: &str, args: impl IntoIterator<Item = A>) -> Value {
        let run = self.ingest(feed, args);
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        run.summary()
    }

    /// The same from standard input.
    pub fn load_stdin(&self, feed: &str, input: &[u8]) -> Value {
        let mut command = self.cdrveil();
        command.args(["ingest", "--json", "--accept-late", "unlimited", "--feed", feed, "-"]);
        let run = Run::fed(&mut command, input);
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        run.summary()
    }

    /// Opens a month on purpose, for records older or newer than those that `init` made keys for.
    pub fn open_epoch(&self, month: &str) {
        let run = self.run_vault(["epoch", "create", "--epoch", month]);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }

    /// Manifests of a feed, oldest first.
    pub fn manifests(&self, feed: &str) -> Vec<Value> {
        let dir = self.path("lake/_batches").join(feed).join("files");
        let mut files: Vec<PathBuf> = match std::fs::read_dir(dir) {
            Ok(list) => list.map(|e| e.unwrap().path()).filter(|p| p.extension() == Some("json".as_ref())).collect(),
            Err(_) => Vec::new(),
        };
        files.sort();
        files.iter().map(|f| serde_json::from_slice(&std::fs::read(f).unwrap()).unwrap()).collect()
    }
}

/// A program that ended.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(command: &mut Command) -> Run {
        Run::ended(command.output().unwrap())
    }

    /// Runs with `input` on standard input; a program that stops reading early is no error here.
    pub fn fed(command: &mut Command, input: &[u8]) -> Run {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = pipe.write_all(input);
            });
            child.wait_with_output().unwrap()
        });
        Run::ended(output)
    }

    pub fn ended(output: Output) -> Run {
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The object on the last line of stdout, as `--json` promises.
    pub fn json(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    /// The summary of an ingest run, balanced.
    pub fn summary(&self) -> Value {
        let summary = self.json();
        let n = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("no {name} in {summary}"));
        for (total, by) in [("quarantined", "quarantined_by"), ("dropped", "dropped_by")] {
            let sum: u64 = summary[by].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
            assert_eq!(n(total), sum, "{by} does not add up: {summary}");
        }
        summary
    }

    #[allow(dead_code, reason = "for the leak test, a binary of its own")]
    /// The summary, or null where the run failed before there was one.
    pub fn summary_if_any(&self) -> Value {
        if self.stdout.trim().is_empty() { Value::Null } else { self.summary() }
    }

    /// The error object that `--json` puts on the last line of stderr.
    pub fn error(&self) -> Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {}", self.stderr));
        assert_eq!(error["exit_code"], self.code, "{error}");
        error
    }
}

/// Runs a script of `tests/integration/` under the Python that `tests/run` installed, and returns
/// the JSON on its last line.
pub fn python<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>) -> Value {
    let run = Run::of(self::script(script).args(args));
    assert_eq!(run.code, 0, "{script}\n{}\n{}", run.stdout, run.stderr);
    run.json()
}

/// A script of `tests/integration/`, without arguments yet.
pub fn script(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration").join(name);
    let mut command = Command::new(interpreter());
    command.arg("-B").arg(path).env("PYTHONWARNINGS", "ignore");
    command
}

fn interpreter() -> PathBuf {
    installed("CDRVEIL_TEST_PYTHON", "venv/bin/python")
}

/// What `tests/run` installed: where `variable` says, else in its cache.
#[allow(clippy::disallowed_methods, reason = "settings of the tests come from tests/run, not from a configuration")]
pub fn installed(variable: &str, cached: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let path = std::env::var_os(variable).map_or_else(|| home().join(".cache/cdrveil").join(cached), PathBuf::from);
    assert!(path.exists(), "{} is not there: run tests/run, which installs it", path.display());
    path
}

/// `cdrveil generate ARGS…` into a file.
pub fn generate(to: &Path, args: &[&str]) {
    let out = std::fs::File::create(to).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_cdrveil")).arg("generate").args(args).stdout(out).status().unwrap();
    assert!(status.success());
}
