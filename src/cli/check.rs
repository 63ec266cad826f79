//! `cdrveil check`: is this site right? Starts nothing, changes nothing, needs no passphrase.

use super::context::Context;
use super::error::CliError;
use clap::Args;

/// Validate configuration, feeds and mappings without starting anything
#[derive(Args)]
pub struct CheckArgs {}

pub fn run(_args: CheckArgs, _context: &Context) -> Result<(), CliError> {
    Ok(())
}
