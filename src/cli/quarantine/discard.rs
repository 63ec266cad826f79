//! `cdrveil quarantine discard`: refused records are given up, for good.

use super::{Chosen, select};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::ingest;
use crate::pipeline::replay;
use clap::Args;
use serde_json::json;

/// Rows of one manifest at most.
const BATCH_ROWS: usize = 65_536;
const NOTE_CHARS: usize = 200;

/// Give up refused records: they can never be replayed again
#[derive(Args)]
#[command(after_help = "\
Examples:
  cdrveil quarantine discard --feed asterisk --reason column_count      how many would it be?
  cdrveil quarantine discard --feed asterisk --reason column_count --note \"test lines\" --yes

The decision (when, which user, how many by reason, the note) stands in lake/_batches/FEED/replay. The
rows are removed later, by the vault. No passphrase is needed: nothing is opened.")]
pub struct DiscardArgs {
    /// Feed of cdrveil.toml that the records belong to
    #[arg(long, value_name = "NAME")]
    feed: String,
    #[command(flatten)]
    chosen: Chosen,
    /// Why, in a few words; kept with the decision, so no number or name of anybody
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Do it
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &DiscardArgs, context: &Context) -> Result<(), CliError> {
    args.note.as_deref().map_or(Ok(()), check_note)?;
    let site = context.site()?;
    let configured = site.feeds.get(&args.feed).ok_or_else(|| ingest::unknown_feed(&site, &args.feed))?;
    let feed = ingest::feed(configured, &site.cubes, None)?;
    let (selected, mut already) = select(&feed.name, &args.chosen, false, context)?;
    if !args.yes && !selected.is_empty() {
        return Err(CliError::usage(format!("{} records would be discarded for good", selected.len()))
            .fix("say --yes if that is meant"));
    }
    let before = already;
    for rows in selected.chunks(BATCH_ROWS) {
        let rows = rows.iter().map(|row| (row.handle, row.reason)).collect();
        already += replay::discard(&context.site_dir, &feed, &*context.clock, rows, args.note.as_deref())?;
    }
    let discarded = selected.len() as u64 - (already - before);
    if context.json {
        context.print_json(&json!({
            "feed": feed.name, "selected": selected.len(), "discarded": discarded, "already_resolved": already,
        }));
    } else {
        context.print_lines(&[format!("{discarded} records discarded, {already} resolved before")]);
    }
    Ok(())
}

/// A note stands in the lake, where nothing may stand that identifies anybody. A refused one is not
/// repeated.
fn check_note(text: &str) -> Result<(), CliError> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    if text.chars().count() > NOTE_CHARS || text.chars().any(char::is_control) {
        return Err(CliError::usage(format!("--note: one line of at most {NOTE_CHARS} characters")));
    }
    if digits >= 5 || text.contains('@') {
        return Err(CliError::usage("--note: five digits in a row or an @ may be somebody's number or address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_nobody() {
        for good in ["", "test lines of 2026-11-24", "see ticket 1234"] {
            assert!(check_note(good).is_ok(), "{good}");
        }
        for bad in ["caller 447700900123", "mail of a@example.org", "two\nlines", &"x".repeat(201)] {
            let refused = check_note(bad).unwrap_err();
            assert!(!refused.message().contains(&bad[..5]), "{bad}");
        }
    }
}
