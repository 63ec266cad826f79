//! `cdrveil quarantine show`: refused records one by one, by their positions.

use super::{Chosen, State, failed, readable_table, runtime};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::lake::LakeError;
use crate::lake::batches::{self, BatchLog};
use crate::lake::rejects::{self, Reject};
use crate::lake::resolved::{Handle, Resolved};
use crate::record::time::Day;
use crate::seal::TAG_LEN;
use crate::vault::events::timestamp;
use clap::Args;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Show refused records one by one: where each stood, why it was refused; opens nothing
#[derive(Args)]
#[command(after_help = "\
Examples:
  cdrveil quarantine show --feed asterisk --reason invalid_number
  cdrveil quarantine show --state replayed --limit 1000 --json
  cdrveil quarantine show --handle 3f0c…-17            what has become of it?

source is the file's index in `sources` of the batch's manifest, line counts from 1, byte from 0.")]
pub struct ShowArgs {
    /// Only this feed
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    #[command(flatten)]
    chosen: Chosen,
    /// Only records in this state
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Records at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on behind this record
    #[arg(long, value_name = "BLOCK-ROW", value_parser = super::handle)]
    after: Option<Handle>,
}

/// A row; ordered as it is shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    arrival: Day,
    feed: String,
    batch: String,
    source: i64,
    offset: i64,
    line: i64,
    handle: Handle,
    reason: String,
    column: i64,
    bytes: u64,
}

impl Row {
    fn of(row: &Reject<'_>) -> Row {
        Row {
            arrival: row.arrival,
            feed: row.feed.to_owned(),
            batch: row.batch.to_owned(),
            source: row.source,
            offset: row.offset,
            line: row.line,
            handle: row.handle,
            reason: row.reason.to_owned(),
            column: row.column,
            bytes: row.sealed_bytes.saturating_sub(TAG_LEN as u64),
        }
    }
}

/// The first rows of an order, in bounded memory.
struct First {
    rows: Vec<Row>,
    limit: usize,
}

impl First {
    fn push(&mut self, row: Row) {
        self.rows.push(row);
        if self.rows.len() >= self.limit.saturating_mul(2).max(1024) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.rows.sort_unstable();
        self.rows.truncate(self.limit);
    }
}

pub fn run(args: &ShowArgs, context: &Context) -> Result<(), CliError> {
    let table = readable_table(context)?;
    let resolved = Resolved::read(&context.site_dir.join("lake")).map_err(failed)?;
    let after = match args.after {
        Some(handle) => Some(find(&table, handle)?),
        None => None,
    };
    // One more than is shown tells whether there are more.
    let mut first = First { rows: Vec::new(), limit: args.limit as usize + 1 };
    let visit = |reject: &Reject<'_>| {
        let wanted = args.feed.as_ref().is_none_or(|f| f == reject.feed)
            && args.state.is_none_or(|s| s == State::of(&resolved, reject.handle));
        if wanted && args.chosen.takes(reject) {
            let row = Row::of(reject);
            if after.as_ref().is_none_or(|after| *after < row) {
                first.push(row);
            }
        }
    };
    runtime()?.block_on(rejects::scan(&table, |day| args.chosen.takes_day(day), true, visit)).map_err(failed)?;
    first.cut();
    let mut rows = first.rows;
    let more = rows.len() > args.limit as usize;
    rows.truncate(args.limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.handle);
    let streams = streams(&context.site_dir.join("lake"), &rows).map_err(failed)?;
    if context.json {
        let rows: Vec<Value> = rows.iter().map(|row| as_json(row, &streams, &resolved)).collect();
        context.print_json(&json!({ "rows": rows, "next": next.map(|h| h.to_string()) }));
        return Ok(());
    }
    print(&rows, &streams, &resolved, context);
    if let Some(next) = next {
        eprintln!("there are more: --after {next}");
    }
    Ok(())
}

fn find(table: &Path, handle: Handle) -> Result<Row, CliError> {
    let mut found = None;
    let visit = |row: &Reject<'_>| {
        if row.handle == handle {
            found = Some(Row::of(row));
        }
    };
    runtime()?.block_on(rejects::scan(table, |_| true, true, visit)).map_err(failed)?;
    found.ok_or_else(|| CliError::usage(format!("--after: {handle} is not in vault/quarantine")))
}

/// Topic and partition by batch, of the batches of these rows that came from a stream.
fn streams(lake: &Path, rows: &[Row]) -> Result<HashMap<String, (String, i32)>, LakeError> {
    let mut wanted: HashSet<&str> = rows.iter().map(|row| row.batch.as_str()).collect();
    let feeds: HashSet<&str> = rows.iter().map(|row| row.feed.as_str()).collect();
    let mut found = HashMap::new();
    for (feed, partition) in batches::partitions(lake)? {
        let log = BatchLog::new(lake, &feed, &partition);
        let numbers = if feeds.contains(&*feed) { log.numbers()? } else { Vec::new() };
        for number in numbers.into_iter().rev() {
            if wanted.is_empty() {
                return Ok(found);
            }
            let manifest = log.read(number)?;
            if wanted.remove(&*manifest.batch)
                && let Some(stream) = manifest.stream
            {
                found.insert(manifest.batch, (stream.topic, stream.partition));
            }
        }
    }
    Ok(found)
}

fn as_json(row: &Row, streams: &HashMap<String, (String, i32)>, resolved: &Resolved) -> Value {
    let decision = resolved.decision(row.handle);
    let mut json = json!({
        "handle": row.handle.to_string(), "arrived": row.arrival.to_string(), "feed": row.feed, "batch": row.batch,
        "reason": row.reason, "column": row.column,
    });
    match streams.get(&row.batch) {
        Some((topic, partition)) => (json["topic"], json["partition"]) = (json!(topic), json!(partition)),
        None => json["source"] = json!(row.source),
    }
    json["offset"] = json!(row.offset);
    json["line"] = json!(row.line);
    json["bytes"] = json!(row.bytes);
    json["state"] = json!(State::of(resolved, row.handle).name());
    json["outcome"] = json!(decision.map(|d| d.outcome.name()));
    json["decided"] = json!(decision.map(|d| timestamp(d.committed_ms)));
    json
}

fn print(rows: &[Row], streams: &HashMap<String, (String, i32)>, resolved: &Resolved, context: &Context) {
    if rows.is_empty() {
        context.print_lines(&["no such records".to_owned()]);
        return;
    }
    let mut table = context.table(&["handle", "arrived", "feed", "reason", "column", "where", "bytes", "state"]);
    for row in rows {
        let place = match streams.get(&row.batch) {
            Some((topic, partition)) => format!("{topic}-{partition} offset {} line {}", row.offset, row.line),
            None => format!("source {} line {} byte {}", row.source, row.line, row.offset),
        };
        let state = State::of(resolved, row.handle).name();
        let state = match resolved.decision(row.handle).map(|d| d.outcome.name()) {
            Some(outcome) if outcome != state => format!("{state} ({outcome})"),
            _ => state.to_owned(),
        };
        table.add_row([
            row.handle.to_string(),
            row.arrival.to_string(),
            row.feed.clone(),
            row.reason.clone(),
            row.column.to_string(),
            place,
            row.bytes.to_string(),
            state,
        ]);
    }
    context.print_table(&table);
}
