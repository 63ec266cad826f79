//! What a command fails with: text with the fix, and the exit code that scripts rely on.

use crate::config::problem::{ConfigError, Place};
use crate::kafka::KafkaError;
use crate::keyfile::WriteError;
use crate::keys::KeyError;
use crate::vault::epochs::EpochError;
use std::process::ExitCode;

/// Exit codes of every command; 0 is done, with rejects or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something went wrong on the way; doing the same again is safe.
    Failed = 1,
    /// Wrong usage or configuration; doing the same again will fail again.
    Usage = 2,
    /// No passphrase, a wrong one, or no lease.
    LockedOut = 3,
}

#[derive(Debug)]
pub struct CliError {
    failure: Failure,
    message: String,
    fix: Option<String>,
    /// Single problems, for `--json`.
    problems: Vec<serde_json::Value>,
}

impl CliError {
    pub fn failed(message: impl Into<String>) -> CliError {
        CliError { failure: Failure::Failed, message: message.into(), fix: None, problems: Vec::new() }
    }

    pub fn usage(message: impl Into<String>) -> CliError {
        CliError { failure: Failure::Usage, message: message.into(), fix: None, problems: Vec::new() }
    }

    pub fn locked_out(message: impl Into<String>) -> CliError {
        CliError { failure: Failure::LockedOut, message: message.into(), fix: None, problems: Vec::new() }
    }

    /// What the reader can do about it: a sentence or a command.
    pub fn fix(mut self, fix: impl Into<String>) -> CliError {
        self.fix = Some(fix.into());
        self
    }

    pub fn failure(&self) -> Failure {
        self.failure
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.failure as u8)
    }

    /// Two lines for people; with `--json` one object.
    pub fn print(&self, json: bool) {
        if json {
            let code = self.failure as u8;
            let mut object = serde_json::json!({ "error": self.message, "fix": self.fix, "exit_code": code });
            if !self.problems.is_empty() {
                object["problems"] = self.problems.clone().into();
            }
            eprintln!("{object}");
            return;
        }
        eprintln!("error: {}", self.message);
        if let Some(fix) = &self.fix {
            eprintln!("  fix: {fix}");
        }
    }
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> CliError {
        let message = error.to_string();
        match error {
            KeyError::NoPassphrase { .. } | KeyError::WrongPassphrase { .. } => CliError::locked_out(message),
            KeyError::Unreadable { .. } | KeyError::Version { .. } => CliError::locked_out(message)
                .fix("name the site with --site DIR; `cdrveil init DIR` makes one, `cdrveil-vault epoch ensure` makes ingest/keys.age anew"),
        }
    }
}

impl From<KafkaError> for CliError {
    fn from(error: KafkaError) -> CliError {
        let message = error.to_string();
        match error {
            KafkaError::Secret { .. }
            | KafkaError::UnknownOption(_)
            | KafkaError::BadValue(_)
            | KafkaError::Options(_) => {
                CliError::usage(message).fix("correct the options in cdrveil.toml; `cdrveil check` names the line")
            }
            KafkaError::Credentials(_) | KafkaError::NotAuthorised(..) => CliError::locked_out(message),
            _ => CliError::failed(message),
        }
    }
}

impl From<WriteError> for CliError {
    fn from(error: WriteError) -> CliError {
        CliError::failed(error.to_string())
    }
}

impl From<EpochError> for CliError {
    fn from(error: EpochError) -> CliError {
        let message = error.to_string();
        match error {
            EpochError::Key(error) => error.into(),
            EpochError::Write(_) | EpochError::Sealed(_) | EpochError::Io { .. } | EpochError::IngestRunning => {
                CliError::failed(message)
            }
            EpochError::Exists(_)
            | EpochError::Backwards { .. }
            | EpochError::TooMany { .. }
            | EpochError::AlreadySealed(_) => CliError::usage(message),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> CliError {
        let problems = error.problems.iter().map(|problem| {
            let (file, line, variable) = match &problem.place {
                Place::Line(line) => (&error.file, Some(*line), None),
                Place::Mapping { file, line } => (file, Some(*line), None),
                Place::Variable(name) => (&error.file, None, Some(name.clone())),
                Place::File => (&error.file, None, None),
            };
            serde_json::json!({
                "file": file, "line": line, "variable": variable, "message": problem.message, "fix": problem.fix,
            })
        });
        CliError { problems: problems.collect(), ..CliError::usage(error.to_string()) }
    }
}
