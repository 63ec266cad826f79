//! The command lines of both programs: parse, dispatch, print what failed, exit.
//!
//! Each command is one file with its arguments and `run(args, &Context) -> Result<(), CliError>`.
//! Results go to stdout, everything else to stderr.

pub mod check;
pub mod compact;
pub mod completions;
pub mod context;
pub mod demo;
pub mod epoch;
pub mod error;
pub mod generate;
pub mod ingest;
mod metered;
pub mod init;

pub mod passphrase;
pub mod quarantine;
pub mod query;
pub mod recipient;
pub mod steward;
pub mod sweep;

use crate::config::environment::Environment;
use clap::{Args, CommandFactory, Parser, Subcommand};
use context::Context;
use error::{CliError, Failure};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of every command.
#[derive(Args)]
pub struct Common {
    /// Folder of the site [env: CDRVEIL_SITE] [default: the current folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// Results as JSON on stdout, errors as JSON on stderr
    #[arg(long, global = true)]
    pub json: bool,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, with rejects or without; 1 failed, safe to repeat; 2 wrong usage or configuration;
3 locked out (no passphrase, a wrong one, or no lease).";

const CDRVEIL_HELP: &str = "\
Examples:
  cdrveil demo                             everything at once, on synthetic calls
  cdrveil init /srv/cdr --country BE       make a site: configuration, keys, inboxes
  cdrveil check --site /srv/cdr            is the configuration right?
  cdrveil ingest --site /srv/cdr --feed asterisk Master.csv
  cdrveil quarantine list --site /srv/cdr  what was refused, and why
  cdrveil steward --site /srv/cdr --once   release what is complete
  cdrveil query --site /srv/cdr --sql \"SELECT * FROM traffic_hourly LIMIT 10\"
  cdrveil generate --records 1000 | head   synthetic records to try it on

Passphrases: CDRVEIL_PASSPHRASE_FILE names a file that holds the one of ingest/keys.age; without it
the terminal is asked. Any setting can be overridden: CDRVEIL__RELEASE__STORE=/srv/release.sqlite";

/// Call detail records made safe to analyse
#[derive(Parser)]
#[command(name = "cdrveil", version, about, after_help = EXIT_CODES, after_long_help = format!("{CDRVEIL_HELP}\n\n{EXIT_CODES}"))]
pub struct Cdrveil {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Check(check::CheckArgs),
    Steward(steward::StewardArgs),
    Query(query::QueryArgs),
    Generate(generate::GenerateArgs),
    Ingest(ingest::IngestArgs),
    Quarantine(quarantine::QuarantineArgs),
    Completions(completions::CompletionsArgs),
}

const VAULT_HELP: &str = "\
Examples:
  cdrveil-vault epoch list --site /srv/cdr
  cdrveil-vault epoch create --epoch 2025-01 --through 2025-12     to load older history
  cdrveil-vault recipient add acme/contract-17                     to write a topic for somebody
  cdrveil-vault compact --site /srv/cdr                            keep its tables small, while ingest goes on

Passphrases: CDRVEIL_VAULT_PASSPHRASE_FILE names a file that holds the one of vault/keys.age, and
CDRVEIL_PASSPHRASE_FILE that of ingest/keys.age, which is written anew when ingest is handed its
lease; without them the terminal is asked.";

/// The keys of a cdrveil site, and what was sealed under them
#[derive(Parser)]
#[command(name = "cdrveil-vault", version, about, after_help = EXIT_CODES, after_long_help = format!("{VAULT_HELP}\n\n{EXIT_CODES}"))]
pub struct CdrveilVault {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: VaultCommand,
}

#[derive(Subcommand)]
pub enum VaultCommand {
    Epoch(epoch::EpochArgs),
    Recipient(recipient::RecipientArgs),
    Compact(compact::CompactArgs),
    Sweep(sweep::SweepArgs),
    Quarantine(quarantine::release::VaultQuarantineArgs),
    Completions(completions::CompletionsArgs),
}

/// `cdrveil`.
pub fn main() -> ExitCode {
    start(|parsed: Cdrveil, environment| {
        let context = Context::new(parsed.common.site, parsed.common.json, environment);
        match parsed.command {
            Command::Demo(args) => demo::run(args, &context),
            Command::Init(args) => init::run(args, &context),
            Command::Check(args) => check::run(args, &context),
            Command::Ingest(args) => ingest::run(args, &context),
            Command::Quarantine(args) => quarantine::run(args, &context),
            Command::Steward(args) => steward::run(args, &context),
            Command::Query(args) => query::run(args, &context),
            Command::Generate(args) => {
                generate::run(args).map_err(|e| CliError::failed(format!("cannot write the records: {e}")))
            }
            Command::Completions(args) => completions::run(args, Cdrveil::command(), &context),
        }
    })
}

/// `cdrveil-vault`.
pub fn vault_main() -> ExitCode {
    start(|parsed: CdrveilVault, environment| {
        let context = Context::new(parsed.common.site, parsed.common.json, environment);
        match parsed.command {
            VaultCommand::Epoch(args) => epoch::run(args, &context),
            VaultCommand::Recipient(args) => recipient::run(args, &context),
            VaultCommand::Compact(args) => compact::run(&args, &context),
            VaultCommand::Sweep(args) => sweep::run(&args, &context),
            VaultCommand::Quarantine(args) => quarantine::release::run(args, &context),
            VaultCommand::Completions(args) => completions::run(args, CdrveilVault::command(), &context),
        }
    })
}

fn start<P: Parser>(run: impl FnOnce(P, Environment) -> Result<(), CliError>) -> ExitCode {
    quiet_panics();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Known before parsing, so that a usage error can be an object too.
    let json = arguments.iter().skip(1).take_while(|a| *a != "--").any(|a| a == "--json");
    let parsed = match P::try_parse_from(&arguments) {
        Ok(parsed) => parsed,
        Err(error) if json && error.use_stderr() => {
            CliError::usage(error.to_string().trim_end()).print(true);
            return ExitCode::from(Failure::Usage as u8);
        }
        Err(error) => error.exit(),
    };
    match run(parsed, Environment::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print(json);
            error.exit_code()
        }
    }
}

/// A panic message may hold what was being worked on, which is never to be printed: place only.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place =
            info.location().map_or_else(|| "an unknown place".to_owned(), |l| format!("{}:{}", l.file(), l.line()));
        eprintln!(
            "error: a defect in cdrveil at {place}; nothing was committed by the step that failed, repeating it is safe"
        );
    }));
}

#[cfg(test)]
mod tests;
