//! `cdrveil quarantine list`: how many records were refused, by feed, reason and state.

use super::{Chosen, State, failed, readable_table, runtime};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::lake::rejects::{self, Reject};
use crate::lake::resolved::Resolved;
use crate::record::time::Day;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;

/// Count refused records by feed, reason and state; opens nothing
#[derive(Args)]
#[command(after_help = "\
Examples:
  cdrveil quarantine list
  cdrveil quarantine list --feed asterisk --state waiting --by-day
  cdrveil quarantine list --since 2026-11-20 --json

Rows are counted: a record too long to be one counts once for every piece.")]
pub struct ListArgs {
    /// Only this feed
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    #[command(flatten)]
    chosen: Chosen,
    /// Only records in this state
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// A line for every arrival day
    #[arg(long)]
    by_day: bool,
}

/// Feed, reason, state.
type Group = (String, String, State);

pub fn run(args: &ListArgs, context: &Context) -> Result<(), CliError> {
    let table = readable_table(context)?;
    let resolved = Resolved::read(&context.site_dir.join("lake")).map_err(failed)?;
    let mut groups: BTreeMap<Group, BTreeMap<Day, u64>> = BTreeMap::new();
    let visit = |row: &Reject<'_>| {
        let state = State::of(&resolved, row.handle);
        let wanted = args.feed.as_ref().is_none_or(|f| f == row.feed) && args.state.is_none_or(|s| s == state);
        if wanted && args.chosen.takes(row) {
            let group = (row.feed.to_owned(), row.reason.to_owned(), state);
            *groups.entry(group).or_default().entry(row.arrival).or_default() += 1;
        }
    };
    runtime()?.block_on(rejects::scan(&table, |day| args.chosen.takes_day(day), false, visit)).map_err(failed)?;
    if context.json {
        context.print_json(&as_json(&groups));
    } else {
        print(&groups, args.by_day, context);
    }
    Ok(())
}

fn as_json(groups: &BTreeMap<Group, BTreeMap<Day, u64>>) -> serde_json::Value {
    let rows = |state: State| -> u64 {
        groups.iter().filter(|((_, _, s), _)| *s == state).flat_map(|(_, days)| days.values()).sum()
    };
    let group = |((feed, reason, state), days): (&Group, &BTreeMap<Day, u64>)| {
        let by_day: BTreeMap<String, u64> = days.iter().map(|(day, n)| (day.to_string(), *n)).collect();
        json!({
            "feed": feed, "reason": reason, "state": state.name(), "rows": days.values().sum::<u64>(),
            "oldest": days.keys().next().map(Day::to_string), "newest": days.keys().next_back().map(Day::to_string),
            "days": by_day,
        })
    };
    json!({
        "waiting": rows(State::Waiting), "replayed": rows(State::Replayed), "discarded": rows(State::Discarded),
        "groups": groups.iter().map(group).collect::<Vec<_>>(),
    })
}

fn print(groups: &BTreeMap<Group, BTreeMap<Day, u64>>, by_day: bool, context: &Context) {
    if groups.is_empty() {
        context.print_lines(&["no refused records".to_owned()]);
        return;
    }
    let when: &[&str] = if by_day { &["arrived"] } else { &["oldest", "newest"] };
    let mut table = context.table(&[&["feed", "reason", "state", "rows"], when].concat());
    for ((feed, reason, state), days) in groups {
        let mut add = |rows: u64, when: Vec<String>| {
            let row = [feed.clone(), reason.clone(), state.name().to_owned(), rows.to_string()];
            table.add_row(row.into_iter().chain(when));
        };
        if by_day {
            days.iter().for_each(|(day, rows)| add(*rows, vec![day.to_string()]));
        } else {
            let ends = days.keys().next().into_iter().chain(days.keys().next_back());
            add(days.values().sum(), ends.map(Day::to_string).collect());
        }
    }
    context.print_table(&table);
}
