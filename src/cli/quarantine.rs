//! `cdrveil quarantine list|show|replay|discard`: refused records, told of without opening one, and
//! decided on.

use super::context::Context;
use super::error::CliError;
use crate::lake::LakeError;
use crate::lake::delta::Table;
use crate::lake::rejects::{self, Reject};
use crate::lake::resolved::{Handle, Outcome, Resolved};
use crate::record::reject::Reason;
use crate::record::time::Day;
use clap::{Args, Subcommand, ValueEnum};
use std::collections::HashSet;
use std::path::PathBuf;

pub mod discard;
pub mod list;
pub mod pipe;
pub mod release;
pub mod replay;
pub mod show;

/// Refused records: what there is, why, and what becomes of it
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cdrveil quarantine list                                  counts by feed, reason and state
  cdrveil quarantine show --feed asterisk --reason invalid_number
  cdrveil quarantine replay --feed asterisk --reason invalid_number --dry-run
  cdrveil quarantine replay --feed generic-voice --reason late_event --accept-late 90
  cdrveil quarantine discard --feed asterisk --reason column_count --note \"test lines\" --yes

A refused record lies sealed in vault/quarantine. list and show read where it stood and why it was
refused, never the record; they need no passphrase, but leave to read vault/quarantine and
lake/_batches: where the zones are apart, run them under the vault's account. When the cause is gone
(a mapping or profile corrected, a month's keys made), replay has the vault open a selection and takes
it through the feed as it is configured now, each record once, whatever happens on the way. What is
refused again waits on. Rows are removed later, by the vault, and never before the decision on them
stands in lake/_batches.")]
pub struct QuarantineArgs {
    #[command(subcommand)]
    command: QuarantineCommand,
}

#[derive(Subcommand)]
enum QuarantineCommand {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Replay(replay::ReplayArgs),
    Discard(discard::DiscardArgs),
}

pub fn run(args: QuarantineArgs, context: &Context) -> Result<(), CliError> {
    match args.command {
        QuarantineCommand::List(args) => list::run(&args, context),
        QuarantineCommand::Show(args) => show::run(&args, context),
        QuarantineCommand::Replay(args) => replay::run(args, context),
        QuarantineCommand::Discard(args) => discard::run(&args, context),
    }
}

/// Which rows, beside those of a feed.
#[derive(Args)]
pub struct Chosen {
    /// Only records refused for this reason; may be repeated
    #[arg(long = "reason", value_name = "CODE", value_parser = reason)]
    reasons: Vec<Reason>,
    /// Only this record, as `show` names it; may be repeated
    #[arg(long = "handle", value_name = "BLOCK-ROW", value_parser = handle)]
    handles: Vec<Handle>,
    /// Only records that arrived on this day or later
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    since: Option<Day>,
    /// Only records that arrived on this day or before
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    until: Option<Day>,
}

impl Chosen {
    fn takes_day(&self, arrival: Day) -> bool {
        self.since.is_none_or(|day| day <= arrival) && self.until.is_none_or(|day| arrival <= day)
    }

    fn takes(&self, row: &Reject<'_>) -> bool {
        let reason = || self.reasons.is_empty() || self.reasons.iter().any(|r| r.code() == row.reason);
        let handle = || self.handles.is_empty() || self.handles.contains(&row.handle);
        self.takes_day(row.arrival) && reason() && handle()
    }
}

/// What has become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum State {
    Waiting,
    Replayed,
    Discarded,
}

impl State {
    fn of(resolved: &Resolved, handle: Handle) -> State {
        match resolved.decision(handle).map(|d| d.outcome) {
            None => State::Waiting,
            Some(Outcome::Veiled | Outcome::Dropped) => State::Replayed,
            Some(Outcome::Discarded) => State::Discarded,
        }
    }

    fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Replayed => "replayed",
            State::Discarded => "discarded",
        }
    }
}

/// A waiting row of a selection.
#[derive(Clone, Copy)]
pub struct Selected {
    pub handle: Handle,
    pub arrival: Day,
    pub reason: Reason,
    /// From 1.
    pub line: i64,
    /// Length of what is sealed, its tag included.
    pub sealed_bytes: u64,
}

/// The waiting rows of `feed` among the chosen ones, and how many others are resolved.
fn select(feed: &str, chosen: &Chosen, sizes: bool, context: &Context) -> Result<(Vec<Selected>, u64), CliError> {
    let table = readable_table(context)?;
    let resolved = Resolved::of_feed(&context.site_dir.join("lake"), feed).map_err(failed)?;
    let (mut selected, mut already, mut unknown) = (Vec::new(), 0, false);
    let mut asked: HashSet<Handle> = chosen.handles.iter().copied().collect();
    let visit = |row: &Reject<'_>| {
        if row.feed != feed || !chosen.takes(row) {
            return;
        }
        asked.remove(&row.handle);
        if resolved.decision(row.handle).is_some() {
            already += 1;
            return;
        }
        let Reject { handle, arrival, line, sealed_bytes, .. } = *row;
        match Reason::of_code(row.reason) {
            Some(reason) => selected.push(Selected { handle, arrival, reason, line, sealed_bytes }),
            None => unknown = true,
        }
    };
    runtime()?.block_on(rejects::scan(&table, |day| chosen.takes_day(day), sizes, visit)).map_err(failed)?;
    if unknown {
        return Err(CliError::failed("a record was refused for a reason that this program does not know")
            .fix("use the program that wrote it, or a newer one"));
    }
    if let Some(first) = asked.iter().min() {
        return Err(CliError::usage(format!(
            "{} of the records named are not in vault/quarantine: {first}",
            asked.len()
        ))
        .fix(format!("`cdrveil quarantine show --feed {feed}` names those that are")));
    }
    Ok((selected, already))
}

/// The folder of the table, if what was decided on its rows can be known here too.
fn readable_table(context: &Context) -> Result<PathBuf, CliError> {
    let table = context.site_dir.join("vault/quarantine");
    let log = context.site_dir.join("lake/_batches");
    if Table::exists(&table) && !log.is_dir() {
        return Err(CliError::failed(format!(
            "{} is not here, so nobody can tell which records are resolved",
            log.display()
        ))
        .fix("mount the lake's batch log for reading"));
    }
    Ok(table)
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::failed(format!("cannot start a runtime: {e}")))
}

fn failed(error: LakeError) -> CliError {
    CliError::failed(error.to_string()).fix("run it again: files may have been rewritten meanwhile")
}

fn reason(text: &str) -> Result<Reason, String> {
    Reason::of_code(text).ok_or_else(|| "no such reason; `cdrveil quarantine list` shows those that occur".into())
}

fn handle(text: &str) -> Result<Handle, String> {
    text.parse().map_err(|()| "32 hexadecimal digits, `-` and a number are expected, as `show` writes them".into())
}

fn day(text: &str) -> Result<Day, String> {
    text.parse().map_err(|_| "a day is expected, like 2026-11-24".into())
}
