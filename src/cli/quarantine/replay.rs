//! `cdrveil quarantine replay`: refused records through the feed as it is configured now.

use super::pipe::Vault;
use super::{Chosen, Selected, select};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::ingest;
use crate::normalise::profile::AcceptLate;
use crate::pipeline::engine::{Engine, Setting};
use crate::pipeline::replay::{Replayed, Replayer, Rules};
use clap::Args;
use serde_json::json;
use std::sync::Arc;

/// Records of one batch at most, and their bytes: what is in clear at a time.
const BATCH_RECORDS: usize = 16_384;
const BATCH_BYTES: u64 = 32 << 20;

/// Take refused records through the feed's present mapping and profile
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  cdrveil quarantine replay --feed asterisk --reason invalid_time --dry-run    how many would pass?
  cdrveil quarantine replay --feed asterisk --reason invalid_time
  cdrveil quarantine replay --feed generic-voice --reason late_event --accept-late unlimited
  cdrveil quarantine replay --feed generic-voice --columns start,a_number,b_number

First correct what was wrong: the mapping, the profile, the month's keys. The record is then read
again as it arrived, so a mapping that reads other columns or another notation takes effect.

The vault opens the selection: cdrveil-vault is started as a process of its own under the passphrase
of vault/keys.age, and hands the records over through a pipe. Each opening is logged in
vault/events.jsonl first, that of a dry run too.

Records that pass are committed to the lake and the vault, once each; what is refused again waits on
and is counted by its new reason. It can be interrupted and started again at any moment. Records of
formats that join two halves of a call cannot be replayed, nor pieces of a record that was too long.

Passphrases: CDRVEIL_PASSPHRASE_FILE and CDRVEIL_VAULT_PASSPHRASE_FILE, or the terminal is asked.")]
pub struct ReplayArgs {
    /// Feed of cdrveil.toml that the records belong to
    #[arg(long, value_name = "NAME")]
    feed: String,
    #[command(flatten)]
    chosen: Chosen,
    /// How old an event may be, in days or `unlimited`, for this replay [default: the feed's]
    #[arg(long, value_name = "DAYS|unlimited", value_parser = ingest::accept_late)]
    accept_late: Option<AcceptLate>,
    /// Column names in order, for records read by name whose header row was not kept, or in its place
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// Say how the records would fare; load nothing (they are opened all the same)
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: ReplayArgs, context: &Context) -> Result<(), CliError> {
    let site = context.site()?;
    let configured = site.feeds.get(&args.feed).ok_or_else(|| ingest::unknown_feed(&site, &args.feed))?;
    let feed = Arc::new(ingest::feed(configured, &site.cubes, args.accept_late)?);
    if feed.mapping.joins() {
        return Err(joins(&feed.name));
    }
    if !args.columns.is_empty() && !feed.mapping.has_header() {
        return Err(CliError::usage(format!("records of feed {} are not read by column names", feed.name))
            .fix("leave --columns out"));
    }
    let (selected, already_resolved) = select(&feed.name, &args.chosen, true, context)?;
    let mut replayed = Replayed::default();
    if !selected.is_empty() {
        let keys = context.ingest_keys()?;
        let limits = ingest::limits(&site);
        let rules = Rules {
            given_columns: args.columns.clone(),
            configured_columns: configured.columns.clone(),
            limits,
            message_limits: configured.kafka.as_ref().map(|k| limits.of_messages(k.max_message_bytes)),
            dry_run: args.dry_run,
        };
        let mut engine = Engine::without_lanes(Setting {
            site: &context.site_dir,
            feed: Arc::clone(&feed),
            keys: &keys,
            clock: &*context.clock,
            workers: ingest::workers(&site),
            forget_open: false,
            orphan_after_ms: ingest::orphan_after_ms(&site),
        })?;
        let pairs: Vec<_> = selected.iter().map(|row| (row.handle, row.reason)).collect();
        let mut replayer = Replayer::open(&mut engine, rules, &pairs)?;
        replay(&selected, &args, &mut replayer, context)?;
        replayed = replayer.replayed;
    }
    print(&args, selected.len(), already_resolved, &replayed, context);
    Ok(())
}

fn replay(
    selected: &[Selected],
    args: &ReplayArgs,
    replayer: &mut Replayer<'_, '_>,
    context: &Context,
) -> Result<(), CliError> {
    let mut vault = Vault::start(context)?;
    let purpose = if args.dry_run { "dry-run" } else { "replay" };
    for batch in batches(selected) {
        let records = vault.open(&args.feed, purpose, batch)?;
        replayer.take(records)?;
    }
    vault.finish();
    Ok(())
}

/// Cuts a selection into what is opened at a time.
fn batches(mut rows: &[Selected]) -> impl Iterator<Item = &[Selected]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |row: &&Selected| {
            bytes += row.sealed_bytes;
            bytes <= BATCH_BYTES
        };
        let records = rows.iter().take(BATCH_RECORDS).take_while(fits).count();
        // One that is larger than all that is allowed goes alone.
        let (batch, rest) = rows.split_at(records.max(1).min(rows.len()));
        rows = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

fn print(args: &ReplayArgs, selected: usize, already: u64, replayed: &Replayed, context: &Context) {
    let Replayed { veiled, rows, dropped, refused_by, batches, .. } = replayed;
    let refused: u64 = refused_by.values().sum();
    // Somebody else was faster with some of the selection.
    let already = already + replayed.already_resolved;
    if context.json {
        context.print_json(&json!({
            "feed": args.feed, "dry_run": args.dry_run, "selected": selected, "veiled": veiled, "rows": rows,
            "dropped": dropped, "refused": refused, "refused_by": refused_by, "already_resolved": already,
            "batches": batches,
        }));
        return;
    }
    let would = if args.dry_run { "would be " } else { "" };
    let mut lines = vec![
        format!("{selected} records selected, {already} resolved before"),
        format!("{would}veiled          {veiled}"),
        format!("{would}dropped         {dropped}"),
        format!("{would}refused again   {refused}"),
    ];
    lines.extend(refused_by.iter().map(|(reason, n)| format!("  {reason}  {n}")));
    context.print_lines(&lines);
}

pub(crate) fn joins(feed: &str) -> CliError {
    CliError::usage(crate::pipeline::PipelineError::JoinsInReplay { feed: feed.to_owned() }.to_string())
        .fix("load the file again under another feed's name, or discard the records")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::resolved::Handle;
    use crate::record::reject::Reason;
    use crate::record::time::Day;

    fn rows(sizes: &[u64]) -> Vec<Selected> {
        let row = |(i, bytes): (usize, &u64)| Selected {
            handle: Handle { block: [0; 16], row: i as u32 },
            arrival: Day(20_000),
            reason: Reason::InvalidNumber,
            line: 1,
            sealed_bytes: *bytes,
        };
        sizes.iter().enumerate().map(row).collect()
    }

    #[test]
    fn a_selection_is_cut_by_count_and_by_bytes_and_nothing_is_lost() {
        let cut = |sizes: &[u64]| batches(&rows(sizes)).map(<[Selected]>::len).collect::<Vec<_>>();
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&[100; 3]), [3]);
        assert_eq!(cut(&[BATCH_BYTES, 1, BATCH_BYTES + 1, 1, 1]), [1, 1, 1, 2]);
        assert_eq!(cut(&vec![10; BATCH_RECORDS + 1]), [BATCH_RECORDS, 1]);
    }
}
