//! `cdrveil-vault compact`: the vault's small files into large ones. No key: sealed rows move as they are.

use super::context::Context;
use super::error::CliError;
use super::sweep::orphan_after_ms;
use crate::clock::Clock;
use crate::config::Site;
use crate::lake::batches::{self, BatchLog};
use crate::lake::compact::{self, Compacted, Limits, ends_at_ms};
use crate::lake::delta::Table;
use crate::lake::resolved::REPLAY;
use crate::lake::sweep::{Swept, sweep};
use crate::lake::{LakeError, tables};
use crate::shutdown::Stop;
use crate::tally::windows::{FeedMark, Watermark, watermark};
use indicatif::HumanBytes;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Compact the vault's tables: evidence, identities (one row per pseudonym and month), quarantine
///
/// Small files of a day that is over are put together; of one that still fills, once there are
/// [lake] compact_files of about one size. Files that were replaced are removed after [ingest]
/// orphan_after_hours. No key and no passphrase is needed: sealed rows stay as they are. Ingest may
/// go on meanwhile.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  cdrveil-vault compact --once           one pass, for a timer
  cdrveil-vault compact                  a pass every [lake] upkeep_interval, until it is told to stop")]
pub struct CompactArgs {
    /// One pass, then stop
    #[arg(long)]
    once: bool,
}

/// What a pass did, by table.
struct Pass {
    tables: Vec<(&'static str, Compacted)>,
    swept: Swept,
    seconds: f64,
}

pub fn run(args: &CompactArgs, context: &Context) -> Result<(), CliError> {
    let site = Site::load(&context.site_dir, &context.environment)?;
    let one = || {
        let done = pass(&site, &*context.clock).map_err(|e| {
            CliError::failed(e.to_string()).fix("nothing was lost: every row is where it was; run it again")
        })?;
        print(&done, context);
        Ok(())
    };
    if args.once { one() } else { forever(&site, context.json, one) }
}

/// A pass every `upkeep_interval` until the process is asked to stop. One that fails is told, and the
/// next one tries again.
pub(super) fn forever(site: &Site, json: bool, pass: impl Fn() -> Result<(), CliError>) -> Result<(), CliError> {
    let stop = Stop::on_signals(site.ingest.stop_within)
        .map_err(|e| CliError::failed(format!("cannot listen for signals: {e}")))?;
    while !stop.is_asked() {
        let begun = Instant::now();
        if let Err(error) = pass() {
            error.print(json);
        }
        while !stop.is_asked() && begun.elapsed() < site.lake.upkeep_interval {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// How a site compacts.
pub(super) fn limits(site: &Site) -> Limits {
    Limits {
        target_bytes: site.lake.compact_target_bytes,
        small_files: site.lake.compact_files,
        give_up_after_ms: orphan_after_ms(site) / 2,
        ..Limits::default()
    }
}

fn pass(site: &Site, clock: &dyn Clock) -> Result<Pass, LakeError> {
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LakeError::io("cannot start a runtime in", &site.dir))?;
    let lake = site.dir.join("lake");
    let mut done = Pass { tables: Vec::new(), swept: Swept::default(), seconds: 0.0 };
    runtime.block_on(async {
        let mut open = Vec::new();
        for layout in tables::vault_layouts() {
            let name = layout.contract.name;
            let dir = site.dir.join("vault").join(name);
            if !Table::exists(&dir) {
                continue;
            }
            let mut table = Table::open(&dir).await?;
            let complete_ms = match name {
                // By the day on which a record came, whatever time it speaks of.
                "quarantine" => clock.now_ms(),
                _ => complete_until_ms(site, &lake, &table, clock).await?,
            };
            let is_closed = |value: &str| ends_at_ms(value).is_some_and(|end| end <= complete_ms);
            let compacted = compact::table(&mut table, &layout, &limits(site), &is_closed, clock).await?;
            done.tables.push((name, compacted));
            table.refresh().await?;
            open.push((name, table));
        }
        let open: Vec<(&str, &Table)> = open.iter().map(|(name, table)| (*name, table)).collect();
        done.swept = sweep(&lake, &open, clock.now_ms() - orphan_after_ms(site)).await?;
        Ok::<(), LakeError>(())
    })?;
    done.seconds = begun.elapsed().as_secs_f64();
    Ok(done)
}

/// Up to when event time is complete in `table`: the watermark, as for the release.
async fn complete_until_ms(site: &Site, lake: &Path, table: &Table, clock: &dyn Clock) -> Result<i64, LakeError> {
    let mut feeds = Vec::new();
    for feed in batches::latest(lake)?.into_iter().filter(|feed| feed.partition != REPLAY) {
        let name = BatchLog::new(lake, &feed.feed, &feed.partition).app();
        let mark = table.mark(&name).await?.unwrap_or(0);
        feeds.push(FeedMark {
            counted: u64::try_from(mark).is_ok_and(|mark| mark >= feed.number),
            name,
            newest_event_ms: feed.watermark_ms,
            finished: feed.finished,
            committed_ms: feed.committed_ms,
        });
    }
    let idle_after_ms = i64::try_from(site.release.idle_after_hours).unwrap_or(i64::MAX / 3_600_000) * 3_600_000;
    Ok(match watermark(&feeds, clock.now_ms(), idle_after_ms) {
        Watermark::Complete { until_ms, .. } => until_ms,
        Watermark::Nothing | Watermark::Trailing { .. } => i64::MIN,
    })
}

fn print(done: &Pass, context: &Context) {
    if context.json {
        let tables: serde_json::Map<String, serde_json::Value> =
            done.tables.iter().map(|(name, c)| ((*name).to_owned(), json!(c))).collect();
        context.print_json(&json!({ "compacted": tables, "swept": done.swept, "seconds": done.seconds }));
    } else {
        let mut lines: Vec<String> = done.tables.iter().filter_map(|(name, c)| text(name, c)).collect();
        lines.extend(swept_text(&done.swept));
        if lines.is_empty() {
            lines.push("Nothing to compact.".to_owned());
        }
        context.print_lines(&lines);
    }
}

/// A line on what was compacted of a table; none if nothing was.
pub(super) fn text(name: &str, c: &Compacted) -> Option<String> {
    if c.is_nothing() {
        return None;
    }
    let bytes = |n| HumanBytes(n);
    let mut line = format!(
        "compacted {name}: {} files ({}) into {} ({})",
        c.files_before,
        bytes(c.bytes_before),
        c.files_after,
        bytes(c.bytes_after)
    );
    if c.rows_before > c.rows_after {
        line.push_str(&format!(", {} duplicates left out", c.rows_before - c.rows_after));
    }
    if c.conflicts > 0 {
        line.push_str(&format!("; {} put off to the next pass", c.conflicts));
    }
    Some(line)
}

pub(super) fn swept_text(swept: &Swept) -> Option<String> {
    let Swept { files, bytes } = *swept;
    (files > 0).then(|| format!("swept {files} files ({}) that nothing needs any more", HumanBytes(bytes)))
}
