//! Where passphrases come from: a file named in the environment, else a question on the terminal.

use super::error::CliError;
use crate::config::environment::{Environment, PASSPHRASE_FILE, VAULT_PASSPHRASE_FILE};
use crate::keyfile::Passphrase;
use crate::keys::KeyError;
use std::io::{IsTerminal, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// The two key files of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Ingest,
    Vault,
}

impl Zone {
    fn key_file(self) -> &'static str {
        match self {
            Zone::Ingest => "ingest/keys.age",
            Zone::Vault => "vault/keys.age",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Zone::Ingest => PASSPHRASE_FILE,
            Zone::Vault => VAULT_PASSPHRASE_FILE,
        }
    }
}

/// The passphrase of an existing key file.
pub fn existing(zone: Zone, environment: &Environment) -> Result<Passphrase, CliError> {
    match from_file(zone, environment)? {
        Some(passphrase) => Ok(passphrase),
        None => ask(zone, &format!("Passphrase of {}: ", zone.key_file())),
    }
}

/// The passphrase of an existing key file, for a program whose standard streams are pipes: if it must
/// be asked for, the terminal itself is.
pub fn beside_a_pipe(zone: Zone, environment: &Environment) -> Result<Passphrase, CliError> {
    match from_file(zone, environment)? {
        Some(passphrase) => Ok(passphrase),
        None => ask_terminal(zone, &format!("Passphrase of {}: ", zone.key_file())),
    }
}

/// The passphrase of a key file to be made; asked for twice on a terminal.
pub fn fresh(zone: Zone, environment: &Environment) -> Result<Passphrase, CliError> {
    if let Some(passphrase) = from_file(zone, environment)? {
        return Ok(passphrase);
    }
    loop {
        let first = ask(zone, &format!("New passphrase for {}: ", zone.key_file()))?;
        let second = ask(zone, "The same again: ")?;
        if first.same_as(&second) {
            return Ok(first);
        }
        eprintln!("They differ; once more.");
    }
}

fn from_file(zone: Zone, environment: &Environment) -> Result<Option<Passphrase>, CliError> {
    let path = match zone {
        Zone::Ingest => environment.passphrase_file(),
        Zone::Vault => environment.vault_passphrase_file(),
    };
    path.map(|path| read_file(zone, &path)).transpose()
}

fn read_file(zone: Zone, path: &Path) -> Result<Passphrase, CliError> {
    const MOST: u64 = 64 << 10;
    let locked = |reason: &str| {
        CliError::locked_out(format!("no passphrase for {}: {}: {reason}", zone.key_file(), path.display()))
            .fix(format!("{} must name a readable file that holds nothing but the passphrase", zone.variable()))
    };
    let file = std::fs::File::open(path).map_err(|e| locked(&e.to_string()))?;
    let mut text = Zeroizing::new(String::with_capacity(MOST as usize + 1));
    file.take(MOST + 1).read_to_string(&mut text).map_err(|e| locked(&e.to_string()))?;
    if text.len() as u64 > MOST {
        return Err(locked("the file is too large"));
    }
    Passphrase::new(text).ok_or_else(|| locked("the file is empty"))
}

fn ask(zone: Zone, question: &str) -> Result<Passphrase, CliError> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(none(zone));
    }
    ask_terminal(zone, question)
}

fn ask_terminal(zone: Zone, question: &str) -> Result<Passphrase, CliError> {
    let text = rpassword::prompt_password(question).map_err(|_| none(zone))?;
    Passphrase::new(Zeroizing::new(text)).ok_or_else(|| none(zone))
}

fn none(zone: Zone) -> CliError {
    CliError::from(KeyError::NoPassphrase { path: zone.key_file().into(), variable: zone.variable() })
}
