//! `cdrveil-vault quarantine open`: the vault's end of a replay.

use super::pipe::{Request, write_end, write_record};
use super::runtime;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::passphrase::{self, Zone};
use crate::failpoint;
use crate::vault::epochs::vault_key_file;
use crate::vault::keystore::KeyStore;
use crate::vault::quarantine::{self as vault, Quarantine, QuarantineError};
use clap::{Args, Subcommand};
use std::fs::File;
use std::io::{BufRead, IsTerminal};
use std::os::fd::AsFd;

/// Refused records: open what a replay asks for
#[derive(Args)]
pub struct VaultQuarantineArgs {
    #[command(subcommand)]
    command: VaultQuarantineCommand,
}

#[derive(Subcommand)]
enum VaultQuarantineCommand {
    /// Open refused records for `cdrveil quarantine replay`, which starts this
    #[command(after_help = "\
Reads requests from standard input, one a line, and writes the records in frames to standard output,
which must be a pipe. Every opening stands in vault/events.jsonl (who, when, which feed, how many by
reason) before anything is written. There is no need to start this by hand.")]
    Open,
}

pub fn run(args: VaultQuarantineArgs, context: &Context) -> Result<(), CliError> {
    match args.command {
        VaultQuarantineCommand::Open => open(context),
    }
}

fn open(context: &Context) -> Result<(), CliError> {
    if std::io::stdout().is_terminal() {
        return Err(CliError::usage("opened records are not for a terminal")
            .fix("`cdrveil quarantine replay` starts this program by itself"));
    }
    let passphrase = passphrase::beside_a_pipe(Zone::Vault, &context.environment)?;
    let keys = KeyStore::open(&vault_key_file(&context.site_dir), passphrase)?;
    let mut quarantine = Quarantine::new(&context.site_dir, &keys);
    let runtime = runtime()?;
    let broken = |e: std::io::Error| CliError::failed(format!("cannot use the pipe: {e}"));
    // Not through the standard library's buffer, which nobody wipes.
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned().map_err(broken)?);
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(broken)?;
        let wrong = || CliError::usage("a request cannot be read");
        let request: Request = serde_json::from_str(&line).map_err(|_| wrong())?;
        let (rows, days) = request.rows().ok_or_else(wrong)?;
        let uid = rustix::process::getuid().as_raw();
        let asked = vault::Request { feed: &request.feed, rows, days, purpose: &request.purpose, uid };
        let mut records = 0;
        let release = |handle, record: &[u8]| {
            failpoint::reached("vault.release");
            records += 1;
            write_record(&mut out, handle, record)
        };
        runtime.block_on(quarantine.open(&asked, &*context.clock, release))?;
        write_end(&mut out, records).map_err(broken)?;
    }
    Ok(())
}

impl From<QuarantineError> for CliError {
    fn from(error: QuarantineError) -> CliError {
        let message = error.to_string();
        match error {
            QuarantineError::OtherFeed { .. } => CliError::usage(message),
            QuarantineError::NoKey(_) => CliError::locked_out(message).fix("narrow the selection with --since"),
            QuarantineError::Missing { .. } | QuarantineError::Lake(_) => {
                CliError::failed(message).fix("nothing was loaded; run it again")
            }
            QuarantineError::Open(_) | QuarantineError::Events(_) | QuarantineError::Release(_) => {
                CliError::failed(message)
            }
        }
    }
}
