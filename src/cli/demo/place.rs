//! The folder of the demo: a new site, and the passphrases that only a demo keeps in it.

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::init;
use crate::cli::passphrase::{self, Zone};
use crate::config;
use crate::config::environment::{Environment, PASSPHRASE_FILE, VAULT_PASSPHRASE_FILE};
use crate::generate::country::Country;
use crate::record::time::Day;
use crate::vault::epochs::Passphrases;
use rand::Rng;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the demo happens.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    /// File with the passphrase of `ingest/keys.age`.
    pub(super) ingest_passphrase: PathBuf,
    /// File with the passphrase of `vault/keys.age`.
    pub(super) vault_passphrase: PathBuf,
    /// The passphrases were made here and stand inside the site.
    pub(super) passphrases_inside: bool,
}

/// Something to try next.
pub(super) struct NextCommand {
    pub(super) what: &'static str,
    pub(super) line: String,
}

impl Place {
    /// Makes the site in `dir`, or in a new folder under the system's temporary one.
    pub(super) fn make(dir: Option<&Path>, country: &Country, context: &Context) -> Result<Place, CliError> {
        let dir = match dir {
            Some(dir) => given(dir)?,
            None => temporary()?,
        };
        let environment = &context.environment;
        let (set, vault_set) = (environment.passphrase_file(), environment.vault_passphrase_file());
        let place = Place {
            passphrases_inside: set.is_none() || vault_set.is_none(),
            ingest_passphrase: set.map_or_else(|| written(&dir, "ingest"), Ok)?,
            vault_passphrase: vault_set.map_or_else(|| written(&dir, "vault"), Ok)?,
            dir,
        };
        let environment = place.environment(environment);
        let passphrases = Passphrases {
            ingest: passphrase::existing(Zone::Ingest, &environment)?,
            vault: passphrase::existing(Zone::Vault, &environment)?,
        };
        init::create_site(&place.dir, country.iso, passphrases, &*context.clock)?;
        Ok(place)
    }

    /// What the commands run in: this site, these passphrases, otherwise as the demo itself.
    pub(super) fn context(&self, outer: &Context) -> Context {
        Context {
            site_dir: self.dir.clone(),
            json: outer.json,
            terminal: outer.terminal,
            environment: self.environment(&outer.environment),
            clock: Arc::clone(&outer.clock),
        }
    }

    fn environment(&self, outer: &Environment) -> Environment {
        outer
            .clone()
            .with(PASSPHRASE_FILE, &self.ingest_passphrase.to_string_lossy())
            .with(VAULT_PASSPHRASE_FILE, &self.vault_passphrase.to_string_lossy())
    }

    /// Commands that work as they stand, in the shell that ran the demo.
    pub(super) fn next_commands(&self, day: Day) -> Vec<NextCommand> {
        let (cdrveil, vault) = programs();
        let word = |path: &Path| quoted(&path.to_string_lossy());
        let site = format!("--site {}", word(&self.dir));
        let voice = word(&self.dir.join(format!("inbox/generic-voice/{day}.csv")));
        let more = word(&self.dir.join("more.csv"));
        let next = |what, line| NextCommand { what, line };
        vec![
            next(
                "who may ingest, and who may open",
                format!("export {PASSPHRASE_FILE}={}", word(&self.ingest_passphrase)),
            ),
            next("", format!("export {VAULT_PASSPHRASE_FILE}={}", word(&self.vault_passphrase))),
            next(
                "what has been loaded is known, under any name",
                format!("{cdrveil} ingest {site} --feed generic-voice {voice}"),
            ),
            next("more calls of the same day", format!("{cdrveil} generate --start {day} --seed 99 > {more}")),
            next("", format!("{cdrveil} ingest {site} --feed generic-voice {more}")),
            next("release what came later, as a new vintage", format!("{cdrveil} steward {site} --once")),
            next("what there is to ask, and an answer", format!("{cdrveil} query {site}")),
            next(
                "",
                format!(
                    "{cdrveil} query {site} --sql \"SELECT service, sum(records) FROM traffic_hourly GROUP BY service\""
                ),
            ),
            next(
                "the lake, with any Delta reader",
                format!("duckdb -c \"SELECT * FROM delta_scan({}) LIMIT 5\"", sql_text(&self.dir.join("lake/cdr"))),
            ),
            next("the keys, month by month", format!("{vault} epoch list {site}")),
            next("every setting, explained", format!("less {}", word(&self.dir.join(config::FILE)))),
            next("away with it", format!("rm -r {}", word(&self.dir))),
        ]
    }
}

/// A folder that is new or empty.
fn given(dir: &Path) -> Result<PathBuf, CliError> {
    let unusable = |e: std::io::Error| {
        CliError::failed(format!("cannot use {}: {e}", dir.display()))
            .fix("name a new or empty folder that this account may write to")
    };
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(false) => {}
        Ok(true) => {
            return Err(CliError::usage(format!("{} is not empty", dir.display()))
                .fix("name a new folder; `cdrveil demo` without one makes a temporary one"));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).recursive(true).create(dir).map_err(unusable)?;
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(CliError::usage(format!("{} is not a folder", dir.display())).fix("name a new or empty folder"));
        }
        Err(e) => return Err(unusable(e)),
    }
    dir.canonicalize().map_err(unusable)
}

/// A folder of its own that nobody else can have put there: making it fails if it exists.
fn temporary() -> Result<PathBuf, CliError> {
    let dir = std::env::temp_dir().join(format!("cdrveil-demo-{:08x}", rand::rng().random::<u32>()));
    DirBuilder::new().mode(0o700).create(&dir).map_err(|e| {
        CliError::failed(format!("cannot make {}: {e}", dir.display())).fix("name a folder: cdrveil demo DIR")
    })?;
    Ok(dir)
}

/// A new passphrase of 128 random bits in a file beside the key file that it opens.
fn written(dir: &Path, zone: &str) -> Result<PathBuf, CliError> {
    let folder = dir.join(zone);
    let path = folder.join("passphrase.txt");
    let words = format!("{:032x}\n", rand::rng().random::<u128>());
    let made = DirBuilder::new().mode(0o700).recursive(true).create(&folder);
    let written = made
        .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path))
        .and_then(|mut file| file.write_all(words.as_bytes()).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => Ok(path),
        Err(e) => Err(CliError::failed(format!("cannot write {}: {e}", path.display()))),
    }
}

/// Both programs, as this one was called.
fn programs() -> (String, String) {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let name = |n: &str| match called.parent() {
        Some(folder) if folder != Path::new("") && called.file_name() == Some(OsStr::new("cdrveil")) => {
            quoted(&folder.join(n).to_string_lossy())
        }
        _ => n.to_owned(),
    };
    (name("cdrveil"), name("cdrveil-vault"))
}

/// A word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:@%=,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn sql_text(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        for text in ["/tmp/a-b_c.1", "/tmp/with space", "it's", "$(x)", "", "a\"b", "~"] {
            let echoed = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(text))).output();
            assert_eq!(String::from_utf8(echoed.unwrap().stdout).unwrap(), text);
        }
    }

    #[test]
    fn only_a_new_or_an_empty_folder_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert!(given(dir.path()).is_ok());
        assert!(given(&dir.path().join("a/b")).is_ok());
        let refused = given(dir.path()).unwrap_err();
        assert!(refused.message().contains("not empty"));
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(given(&file).unwrap_err().message().contains("not a folder"));
    }
}
