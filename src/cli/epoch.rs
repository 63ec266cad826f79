//! `cdrveil-vault epoch create|import|ensure|list`.

use super::context::Context;
use super::error::CliError;
use crate::keyfile;
use crate::record::time::Epoch;
use crate::vault::epoch_key::EpochKey;
use crate::vault::epochs::{self, Outcome};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Keys of calendar months: make, bring in, list
#[derive(Args)]
pub struct EpochArgs {
    #[command(subcommand)]
    command: EpochCommand,
}

#[derive(Subcommand)]
enum EpochCommand {
    /// Make the keys of one month or several, to load older history
    #[command(after_long_help = "\
Example:
  cdrveil-vault epoch create --epoch 2025-01 --through 2025-12

Records of these months are then accepted as far as the feed's accept_late_days allows. Months that
exist are left alone.")]
    Create {
        /// The month, or the first of them
        #[arg(long, value_name = "YYYY-MM", value_parser = epoch)]
        epoch: Epoch,
        /// The last month, included
        #[arg(long, value_name = "YYYY-MM", value_parser = epoch)]
        through: Option<Epoch>,
    },
    /// Put a key from outside in the place of a month that has sealed nothing yet
    #[command(after_long_help = "\
Example:
  cdrveil-vault epoch import --epoch 2026-11 --key-file old-key.hex

For migrating from another system whose pseudonyms must stay the same. The file holds 32 bytes as 64
hexadecimal digits. A key that has been elsewhere can be elsewhere still: whoever has it can turn
every number of that month into its pseudonym. Prefer a key drawn here.")]
    Import {
        #[arg(long, value_name = "YYYY-MM", value_parser = epoch)]
        epoch: Epoch,
        /// 32 bytes in hexadecimal; a line end after them is fine
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
    /// Make the current and the next month if they are missing (for a timer; repeating is harmless)
    Ensure,
    /// Show every month that has a key
    List,
}

fn epoch(text: &str) -> Result<Epoch, String> {
    text.parse().map_err(|()| "a month is expected, like 2026-11".into())
}

pub fn run(args: EpochArgs, context: &Context) -> Result<(), CliError> {
    let (site, clock) = (&context.site_dir, &*context.clock);
    match args.command {
        EpochCommand::Create { epoch, through } => {
            let outcome = epochs::create(site, context.passphrases()?, epoch, through.unwrap_or(epoch), clock)?;
            report(context, &outcome, "created");
        }
        EpochCommand::Ensure => {
            let outcome = epochs::ensure(site, context.passphrases()?, clock)?;
            report(context, &outcome, "created");
        }
        EpochCommand::Import { epoch, key_file } => {
            let key = read_key(&key_file)?;
            let outcome = epochs::import(site, context.passphrases()?, epoch, key, clock)?;
            eprintln!(
                "WARNING: epoch {epoch} now runs on an IMPORTED key. Whoever has a copy of it can compute the pseudonym of \
                 every number of that month. Destroy {} and every other copy. This is recorded in vault/events.jsonl.",
                key_file.display()
            );
            report(context, &outcome, "imported");
        }
        EpochCommand::List => list(context)?,
    }
    Ok(())
}

fn read_key(path: &Path) -> Result<EpochKey, CliError> {
    let refused = |reason: &str| {
        CliError::usage(format!("{}: {reason}", path.display()))
            .fix("the file must hold 32 bytes as 64 hexadecimal digits, as `openssl rand -hex 32` writes them")
    };
    let mut text = Zeroizing::new(Vec::with_capacity(128));
    let file = std::fs::File::open(path).map_err(|e| refused(&e.to_string()))?;
    file.take(100).read_to_end(&mut text).map_err(|e| refused(&e.to_string()))?;
    let key = keyfile::decode_key(&text).ok_or_else(|| refused("it is not a key"))?;
    Ok(EpochKey::from_bytes(*key))
}

fn report(context: &Context, outcome: &Outcome, done: &str) {
    let names = |epochs: &[Epoch]| epochs.iter().map(Epoch::to_string).collect::<Vec<_>>();
    if context.json {
        context.print_json(&json!({
            done: names(&outcome.created), "kept": names(&outcome.kept), "handed_over": outcome.handed_over,
        }));
        return;
    }
    let mut lines = Vec::new();
    for (what, epochs) in [(done, &outcome.created), ("there already", &outcome.kept)] {
        if !epochs.is_empty() {
            lines.push(format!("{what}: {}", names(epochs).join(", ")));
        }
    }
    lines.push(if outcome.handed_over {
        "ingest/keys.age written anew; a running ingest takes it up by itself".into()
    } else {
        "ingest/keys.age says the same already".to_string()
    });
    context.print_lines(&lines);
}

fn list(context: &Context) -> Result<(), CliError> {
    let lines = epochs::list(&context.site_dir, context.vault_passphrase()?)?;
    if context.json {
        let epochs: Vec<_> = lines
            .iter()
            .map(|l| {
                json!({
                    "epoch": l.epoch.to_string(), "generation": l.generation, "state": l.state.name(),
                    "imported": l.imported, "sealed": l.sealed, "commitment": l.commitment,
                })
            })
            .collect();
        context.print_json(&json!({ "epochs": epochs }));
        return Ok(());
    }
    let mut table = context.table(&["epoch", "generation", "state", "key", "records", "commitment"]);
    for l in &lines {
        let origin = if l.imported { "imported" } else { "drawn here" };
        let records = if l.sealed { "sealed" } else { "none yet" };
        table.add_row([
            &l.epoch.to_string(),
            &l.generation.to_string(),
            l.state.name(),
            origin,
            records,
            &l.commitment,
        ]);
    }
    context.print_table(&table);
    Ok(())
}
