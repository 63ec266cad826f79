//! `cdrveil steward`: what may be released, and the lake's tables kept small.

use super::compact;
use super::context::Context;
use super::error::CliError;
use super::sweep::orphan_after_ms;
use crate::clock::Clock;
use crate::config::Site;
use crate::publish::store::hour_text;
use crate::record::time::Day;
use crate::release::rules::{Audience, Rules, Withheld};
use crate::steward::compaction::Upkeep;
use crate::steward::{self, Open, OpenWindow, ReleasedWindow, Report, Steward};
use crate::tally::cube::Cube;
use comfy_table::{CellAlignment, Table};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Release what is complete, compact the lake's tables, sweep what nothing needs any more
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  cdrveil steward                   a pass every [lake] upkeep_interval, until it is told to stop
  cdrveil steward --once            one pass, for a timer
  cdrveil steward --once --json     the same, window by window, for machines

A window is released when every feed has delivered past its end and release_after_hours have gone
by. What came later makes a new vintage of the window; nothing released is rewritten. Small files of
cdr and tally are compacted when their day is complete, or [lake] compact_files of about one size are
there. `cdrveil-vault compact` does it for the vault.")]
pub struct StewardArgs {
    /// One pass, then stop
    #[arg(long)]
    once: bool,
}

/// Runs one pass, or one after another, and prints what each did.
pub fn run(args: StewardArgs, context: &Context) -> Result<(), CliError> {
    let site = context.site()?;
    if !site.cubes.traffic_hourly {
        return Err(CliError::usage("no cube is on").fix("set traffic_hourly = true under [cubes]"));
    }
    for warning in &site.warnings {
        eprintln!("{}", warning.text());
    }
    let steward = of_site(&site);
    let one = || {
        let report = pass(&steward, &*context.clock)?;
        let upkeep = upkeep(&steward, &site, &*context.clock)?;
        if context.json {
            let mut report = as_json(&report);
            report["compacted"] = json!({ "cdr": upkeep.cdr, "tally": upkeep.tally });
            report["swept"] = json!(upkeep.swept);
            context.print_json(&report);
        } else {
            let mut lines = vec![as_text(&report, &steward, context).trim_end().to_owned()];
            lines.extend(
                [compact::text("cdr", &upkeep.cdr), compact::text("tally", &upkeep.tally)].into_iter().flatten(),
            );
            lines.extend(compact::swept_text(&upkeep.swept));
            context.print_lines(&lines);
        }
        Ok(())
    };
    if args.once { one() } else { compact::forever(&site, context.json, one) }
}

/// Compaction and sweep of the lake's tables.
fn upkeep(steward: &Steward, site: &Site, clock: &dyn Clock) -> Result<Upkeep, CliError> {
    let before_ms = clock.now_ms() - orphan_after_ms(site);
    let limits = compact::limits(site);
    runtime()?
        .block_on(steward::compaction::pass(steward, &limits, before_ms, clock))
        .map_err(|e| CliError::failed(e.to_string()).fix("nothing was lost: every row is where it was; run it again"))
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| CliError::failed(format!("cannot start: {e}")))
}

/// One pass at the time of `clock`; `demo` makes one, too.
pub fn pass(steward: &Steward, clock: &dyn Clock) -> Result<Report, CliError> {
    runtime()?.block_on(steward::pass(steward, clock)).map_err(|e| CliError::failed(e.to_string()))
}

/// The steward of a configured site.
pub fn of_site(site: &Site) -> Steward {
    let release = &site.release;
    let hours = |h: u64| u32::try_from(h).unwrap_or(u32::MAX);
    Steward {
        lake: site.dir.join("lake"),
        store: release.store.clone(),
        cube: Cube::traffic_hourly().for_site(hours(release.release_after_hours), release.rounding_base),
        rules: Rules::new(release.distinct_subscribers),
        idle_after_hours: hours(release.idle_after_hours),
    }
}

/// What the pass did, for people: a line per day and vintage, what was withheld, what is open.
pub fn as_text(report: &Report, steward: &Steward, context: &Context) -> String {
    let mut text = String::new();
    if report.released.is_empty() {
        text.push_str("Nothing new to release.\n");
    } else {
        for line in released_table(&report.released, context).lines() {
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push_str(&withheld_text(report, steward));
    }
    let n = report.published;
    let _ = writeln!(text, "{n} window{} published to {}", if n == 1 { "" } else { "s" }, steward.store.display());
    text.push_str(&open_text(&report.open));
    text
}

fn released_table(released: &[ReleasedWindow], context: &Context) -> Table {
    let mut days: BTreeMap<(Day, u32), (u64, [u64; 2], u64)> = BTreeMap::new();
    for window in released {
        let day = days.entry((Day(window.hour.div_euclid(24)), window.vintage)).or_default();
        day.0 += 1;
        day.1.iter_mut().zip(window.cells).for_each(|(sum, n)| *sum += n);
        day.2 += cells_withheld(&window.withheld[0]);
    }
    let mut table =
        context.table(&["day", "vintage", "windows", "cells internal", "cells external", "withheld internally"]);
    for ((day, vintage), (windows, cells, withheld)) in days {
        let numbers = [u64::from(vintage), windows, cells[0], cells[1], withheld].map(|n| n.to_string());
        table.add_row(std::iter::once(day.to_string()).chain(numbers));
    }
    table.column_iter_mut().skip(1).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
    table
}

fn cells_withheld(withheld: &BTreeMap<Withheld, u64>) -> u64 {
    [Withheld::FewA, Withheld::FewB].iter().filter_map(|w| withheld.get(w)).sum()
}

fn withheld_text(report: &Report, steward: &Steward) -> String {
    let mut text = String::new();
    for audience in Audience::ALL {
        let mut reasons: BTreeMap<Withheld, u64> = BTreeMap::new();
        for window in &report.released {
            window.withheld[audience as usize].iter().for_each(|(why, n)| *reasons.entry(*why).or_default() += n);
        }
        let list: Vec<_> = reasons.iter().map(|(why, n)| format!("{n} {}", why.text())).collect();
        if !list.is_empty() {
            let k = steward.rules.threshold(audience);
            let _ = writeln!(text, "withheld, {} (at least {k} subscribers): {}", audience.name(), list.join(", "));
        }
    }
    text
}

fn open_text(open: &[OpenWindow]) -> String {
    let mut reasons: BTreeMap<String, (u64, i32, i32)> = BTreeMap::new();
    for window in open {
        let entry = reasons.entry(why_text(&window.why)).or_insert((0, window.hour, window.hour));
        *entry = (entry.0 + 1, entry.1.min(window.hour), entry.2.max(window.hour));
    }
    let mut text = String::new();
    for (why, (n, first, last)) in reasons {
        let span =
            if first == last { hour_text(first) } else { format!("{} to {}", hour_text(first), hour_text(last)) };
        let _ = writeln!(text, "still open: {n} window{} ({span}): {why}", if n == 1 { "" } else { "s" });
    }
    text
}

fn why_text(why: &Open) -> String {
    match why {
        Open::Waiting { at_ms, .. } if *at_ms == i64::MIN => "no feed has brought a record yet".to_owned(),
        Open::Waiting { at_ms, held_by, .. } => {
            format!("the watermark stands at {}, held by feed {held_by}", minute_text(*at_ms))
        }
        Open::Trailing { feed } => format!("the last batch of feed {feed} is not in the tally yet; run ingest again"),
        Open::LateAndFew => "released before; what came later is too little to show by itself".to_owned(),
    }
}

fn minute_text(ms: i64) -> String {
    let minutes = ms.div_euclid(60_000);
    format!("{}T{:02}:{:02}Z", Day::of_ms(ms), minutes.div_euclid(60).rem_euclid(24), minutes.rem_euclid(60))
}

/// The same for machines, window by window.
pub fn as_json(report: &Report) -> serde_json::Value {
    let reasons = |w: &BTreeMap<Withheld, u64>| -> serde_json::Map<String, serde_json::Value> {
        Withheld::ALL.iter().map(|why| (why.name().to_owned(), w.get(why).copied().unwrap_or(0).into())).collect()
    };
    let released = report.released.iter().map(|w| {
        let audience =
            |a: Audience| json!({"cells": w.cells[a as usize], "withheld": reasons(&w.withheld[a as usize])});
        json!({"hour": hour_text(w.hour), "vintage": w.vintage,
            "internal": audience(Audience::Internal), "external": audience(Audience::External)})
    });
    let released: Vec<_> = released.collect();
    let open = report.open.iter().map(|w| {
        let why = match w.why {
            Open::Waiting { .. } => "waiting",
            Open::Trailing { .. } => "trailing",
            Open::LateAndFew => "late_and_few",
        };
        json!({"hour": hour_text(w.hour), "cells": w.cells, "why": why, "text": why_text(&w.why)})
    });
    let open: Vec<_> = open.collect();
    let cells = |a: Audience| report.released.iter().map(|w| w.cells[a as usize]).sum::<u64>();
    json!({"windows_released": released.len(), "cells_internal": cells(Audience::Internal),
        "cells_external": cells(Audience::External), "windows_published": report.published,
        "released": released, "open": open})
}
