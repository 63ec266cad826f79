//! `cdrveil-vault recipient add|list`.

use super::context::Context;
use super::error::CliError;
use crate::config::form;
use crate::vault::recipients;
use clap::{Args, Subcommand};
use serde_json::json;

/// Who is given records under pseudonyms of its own: register, list
#[derive(Args)]
pub struct RecipientArgs {
    #[command(subcommand)]
    command: RecipientCommand,
}

#[derive(Subcommand)]
enum RecipientCommand {
    /// Register a recipient and hand its keys to ingest (repeating is harmless)
    #[command(after_long_help = "\
Example:
  cdrveil-vault recipient add acme/contract-17

Then write recipient = \"acme/contract-17\" under [sinks.kafka]. Its pseudonyms are made of the lake's
under a key of its own, one each month, so that no two recipients can join what they were given. One
name for each party and contract.")]
    Add {
        /// Lower-case letters, digits, hyphens and slashes
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
    },
    /// Show every recipient
    List,
}

fn name(text: &str) -> Result<String, String> {
    if form::is_recipient(text) { Ok(text.to_owned()) } else { Err(format!("a name {}", form::RECIPIENT)) }
}

pub fn run(args: RecipientArgs, context: &Context) -> Result<(), CliError> {
    match args.command {
        RecipientCommand::Add { name } => {
            let added = recipients::add(&context.site_dir, context.passphrases()?, &name, &*context.clock)?;
            if context.json {
                context.print_json(&json!({
                    "recipient": name, "new": added.new, "handed_over": added.handed_over,
                }));
                return Ok(());
            }
            let what = if added.new { "registered" } else { "there already" };
            let handed = if added.handed_over {
                "ingest/keys.age written anew; a running ingest takes it up by itself"
            } else {
                "ingest/keys.age says the same already"
            };
            context.print_lines(&[format!("{what}: {name}"), handed.into()]);
        }
        RecipientCommand::List => {
            let names = recipients::list(&context.site_dir, context.vault_passphrase()?)?;
            if context.json {
                context.print_json(&json!({ "recipients": names }));
            } else {
                context.print_lines(&names);
            }
        }
    }
    Ok(())
}
