//! The demo on a terminal, and the same without colour when it is piped.

use super::Demo;
use super::look::{self, grouped};
use super::place::Place;
use crate::cli::context::Context;
use crate::pipeline::summary::Summary;
use crate::query::{Answer, Value};
use comfy_table::{Cell, CellAlignment, Table};
use indicatif::HumanBytes;

/// First, before the work: where it happens.
pub(super) fn site(place: &Place, context: &Context) {
    heading("A new site", context);
    context.print_lines(&[format!("  {}", place.dir.display())]);
    if place.passphrases_inside {
        let note = "Its passphrases stand in ingest/passphrase.txt and vault/passphrase.txt. Only a demo does that:";
        context.print_lines(&[
            dim(note, context),
            dim("a real site keeps them elsewhere, apart from each other.", context),
        ]);
    }
}

pub(super) fn all(demo: &Demo, context: &Context) {
    operator(demo, context);
    lake(demo, context);
    vault(demo, context);
    analyst(demo, context);
    next(demo, context);
}

fn operator(demo: &Demo, context: &Context) {
    heading(&format!("What an operator sees: the calls of {}, from nine kinds of source", demo.day), context);
    let mut table = context.table(&["feed", "records", "veiled", "joined", "refused", "left out", "records/s"]);
    let mut total = Summary::default();
    for feed in &demo.feeds {
        look::add(&mut total, feed);
        table.add_row(counts(&feed.feed, feed));
    }
    table.add_row(counts("all", &total));
    align(&mut table, 1);
    context.print_table(&table);
    let refused = reasons(&total.quarantined_by);
    let mut lines = vec![String::new(), format!("Refused, sealed into the quarantine: {refused}")];
    if total.dropped > 0 {
        lines.push(format!("Left out by rule: {}", reasons(&total.dropped_by)));
    }
    if total.open > 0 {
        lines.push(format!("Halves of calls that wait for their other half: {}", grouped(total.open)));
    }
    lines.push(format!(
        "{} in {:.1} s, keys unlocked and tables committed for each feed; peak memory {}",
        HumanBytes(total.bytes_in),
        total.seconds,
        HumanBytes(total.peak_rss_bytes)
    ));
    context.print_lines(&lines);
}

fn counts(name: &str, feed: &Summary) -> Vec<String> {
    let numbers =
        [feed.records_in, feed.veiled, feed.joined, feed.quarantined, feed.dropped, feed.records_per_second as u64];
    std::iter::once(name.to_owned()).chain(numbers.map(grouped)).collect()
}

fn reasons(by: &std::collections::BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<_> = by.iter().collect();
    sorted.sort_by_key(|(reason, n)| (std::cmp::Reverse(**n), reason.as_str()));
    sorted.iter().map(|(reason, n)| format!("{} {reason}", grouped(**n))).collect::<Vec<_>>().join(", ")
}

fn lake(demo: &Demo, context: &Context) {
    heading("What the lake holds: pseudonyms and coarse attributes", context);
    let wide = context.table(&[]).width().is_none_or(|columns| columns >= WIDE);
    let mut table = context.table(&["start", "seconds", "a_party", "kind", "b_party", "kind", "to"]);
    for row in &demo.rows {
        let value = |name: &str| row.0.get(name).cloned().unwrap_or_default();
        let id = |name: &str| if wide { value(name) } else { shortened(&value(name)) };
        table.add_row([
            value("start"),
            value("duration"),
            id("a_party"),
            value("a_party_kind"),
            id("b_party"),
            value("b_party_kind"),
            value("b_country"),
        ]);
    }
    context.print_table(&table);
    context.print_lines(&[
        String::new(),
        "One person has one pseudonym for a month, so calls can be counted and linked without a name. Times stand"
            .into(),
        "in quarters of an hour, durations in buckets; there is no cell, and no key, in the lake.".into(),
    ]);
}

/// Room for two identifiers of 32 hexadecimal digits.
const WIDE: u16 = 124;

fn shortened(hex: &str) -> String {
    if hex.len() > 12 { format!("{}…", &hex[..12]) } else { hex.to_owned() }
}

fn vault(demo: &Demo, context: &Context) {
    heading("Where the originals are: sealed, in the vault zone", context);
    let mut table = context.table(&["path", "rows", "size", "what"]);
    for held in &demo.vault {
        let path = held.path.strip_prefix(&demo.place.dir).unwrap_or(&held.path).display().to_string();
        let rows = held.rows.map_or_else(String::new, grouped);
        table.add_row(vec![
            Cell::new(path),
            Cell::new(rows).set_alignment(CellAlignment::Right),
            Cell::new(HumanBytes(held.bytes)).set_alignment(CellAlignment::Right),
            Cell::new(held.what),
        ]);
    }
    context.print_table(&table);
    context.print_lines(&[
        String::new(),
        "Ingest writes here and cannot open what it wrote: it has public keys only, and never reads vault/keys.age."
            .into(),
    ]);
}

fn analyst(demo: &Demo, context: &Context) {
    let k = demo.site.release.distinct_subscribers;
    heading("What an analyst sees: released cells, by SQL", context);
    context.print_lines(&look::BUSIEST.lines().map(|line| dim(line, context)).collect::<Vec<_>>());
    context.print_lines(&[String::new()]);
    context.print_table(&answer(&demo.busiest, context));
    let mut lines = vec![
        String::new(),
        format!(
            "and what is not shown, and why (fewer than {k} subscribers on a side, or one of them dominates a sum):"
        ),
        String::new(),
    ];
    lines.extend(look::WITHHELD.lines().map(|line| dim(line, context)));
    lines.push(String::new());
    context.print_lines(&lines);
    context.print_table(&answer(&demo.withheld, context));
    let open = demo.report.open.len();
    let released = demo.report.released.len();
    context.print_lines(&[
        String::new(),
        format!(
            "{released} hours released, {open} still open. Counts are rounded to {}.",
            demo.site.release.rounding_base
        ),
    ]);
}

fn answer(answer: &Answer, context: &Context) -> Table {
    let head: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let mut table = context.table(&head);
    for row in &answer.rows {
        table.add_row(row.iter().map(cell).collect::<Vec<_>>());
    }
    table
}

fn cell(value: &Value) -> Cell {
    let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    match value {
        Value::Integer(n) => number(u64::try_from(*n).map_or_else(|_| n.to_string(), grouped)),
        Value::Real(n) => number(n.to_string()),
        Value::Text(text) => Cell::new(text),
        Value::Null | Value::Blob(_) => Cell::new(""),
    }
}

fn next(demo: &Demo, context: &Context) {
    heading("What to try next", context);
    let mut lines = Vec::new();
    for command in demo.place.next_commands(demo.day) {
        if !command.what.is_empty() {
            lines.push(dim(&format!("# {}", command.what), context));
        }
        lines.push(command.line);
    }
    lines.push(String::new());
    lines.push(format!("All of this took {:.1} s.", demo.seconds));
    context.print_lines(&lines);
}

fn align(table: &mut Table, from: usize) {
    table.column_iter_mut().skip(from).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
}

fn heading(text: &str, context: &Context) {
    let line = if context.terminal { format!("\x1b[1;36m{text}\x1b[0m") } else { text.to_owned() };
    let under = if context.terminal { String::new() } else { "-".repeat(text.chars().count()) };
    let mut lines = vec![String::new(), line];
    if !under.is_empty() {
        lines.push(under);
    }
    lines.push(String::new());
    context.print_lines(&lines);
}

fn dim(text: &str, context: &Context) -> String {
    if context.terminal { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
}
