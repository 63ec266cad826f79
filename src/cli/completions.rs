//! `completions SHELL`: a completion script on stdout.

use super::context::Context;
use super::error::CliError;
use clap::Args;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Args)]
#[command(after_long_help = "\
Example:
  cdrveil completions bash > /etc/bash_completion.d/cdrveil")]
pub struct CompletionsArgs {
    shell: Shell,
}

pub fn run(args: CompletionsArgs, mut command: clap::Command, context: &Context) -> Result<(), CliError> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    context.print_lines(&[String::from_utf8_lossy(&script).trim_end().to_owned()]);
    Ok(())
}
