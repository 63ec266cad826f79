//! A day of traffic: a file for each feed, made and loaded.

use super::DemoArgs;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::ingest::{self, IngestArgs};
use crate::config::Site;
use crate::generate::{self, Plan, format::Format};
use crate::lake::batches::Counts;
use crate::pipeline::run::Input;
use crate::pipeline::summary::{Fate, FileReport, Observer, Summary};
use crate::record::time::Day;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal};
use std::path::{Path, PathBuf};

/// Rows of each feed, in thousandths of the voice calls.
const SHARES: [(Format, u64); 9] = [
    (Format::GenericVoice, 1000),
    (Format::GenericSms, 160),
    (Format::GenericData, 160),
    (Format::Asterisk, 120),
    (Format::Freeswitch, 100),
    (Format::CiscoCucm, 80),
    (Format::Kamailio, 120),
    (Format::FixedWidth, 70),
    (Format::JsonLines, 100),
];

/// Two rows in a thousand are damaged.
const BROKEN_PPM: u32 = 2_000;
/// A network of this many calls a day and subscriber.
const CALLS_PER_SUBSCRIBER: u64 = 8;

const MS_PER_HOUR: i64 = 3_600_000;

/// The last day whose every window may be released by now: yesterday, or early in the morning the
/// day before it.
pub(super) fn complete_day(now_ms: i64, release_after_hours: u64) -> Day {
    let wait_ms = i64::try_from(release_after_hours).unwrap_or(0).saturating_mul(MS_PER_HOUR);
    Day(Day::of_ms(now_ms.saturating_sub(wait_ms)).0 - 1)
}

/// Writes a file into each feed's inbox and loads it; summaries in the order of the feeds.
pub(super) fn run(args: &DemoArgs, day: Day, site: &Site, context: &Context) -> Result<Vec<Summary>, CliError> {
    let mut progress = Progress::new(context);
    let mut files = Vec::new();
    for (format, share) in SHARES {
        progress.step("writing calls", format.name());
        files.push((format, written(args, format, args.records * share / 1000, day, site)?));
    }
    progress.expect(files.iter().map(|(_, path)| length(path)).sum());
    let mut summaries = Vec::new();
    for (format, path) in files {
        progress.step("ingesting", format.name());
        summaries.push(loaded(format.name(), &path, site, context, &mut progress)?);
        progress.before += length(&path);
    }
    Ok(summaries)
}

fn written(args: &DemoArgs, format: Format, records: u64, day: Day, site: &Site) -> Result<PathBuf, CliError> {
    let plan = Plan {
        format,
        records,
        subscribers: u32::try_from((args.records / CALLS_PER_SUBSCRIBER).max(100))
            .unwrap_or(u32::MAX)
            .min(generate::MAX_SUBSCRIBERS),
        first: day,
        days: 1,
        seed: args.seed,
        broken_ppm: BROKEN_PPM,
        home: args.country,
    };
    let path = site.dir.join("inbox").join(format.name()).join(format!("{day}.{}", extension(format)));
    let failed = |e: std::io::Error| CliError::failed(format!("cannot write {}: {e}", path.display()));
    let file = File::create_new(&path).map_err(failed)?;
    let mut writer = BufWriter::new(file);
    generate::write(&plan, &mut writer).map_err(failed)?;
    Ok(path)
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::JsonLines => "jsonl",
        Format::FixedWidth => "txt",
        Format::Kamailio => "log",
        _ => "csv",
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.len())
}

fn loaded(
    feed: &str,
    path: &Path,
    site: &Site,
    context: &Context,
    progress: &mut Progress,
) -> Result<Summary, CliError> {
    let args = IngestArgs {
        feed: feed.to_owned(),
        files: vec![path.to_owned()],
        watch: false,
        until_idle: None,
        accept_late: None,
        forget_open: false,
        from_start: false,
    };
    let summary = ingest::ingest(&args, &[Input::File(path.to_owned())], site, context, progress)?;
    match summary.files.iter().find(|f| f.fate != Fate::Loaded) {
        None => Ok(summary),
        Some(file) => Err(CliError::failed(format!(
            "feed {feed} did not load its file: {}",
            file.reason.as_deref().unwrap_or(ingest::fate_words(file.fate))
        ))),
    }
}

/// One bar over all feeds on a terminal, a line per feed elsewhere, nothing with `--json`.
struct Progress {
    bar: Option<ProgressBar>,
    plain: bool,
    /// Bytes of the files that are done.
    before: u64,
}

impl Progress {
    fn new(context: &Context) -> Progress {
        let terminal = std::io::stderr().is_terminal() && !context.json;
        let bar = terminal.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(12)));
        let progress = Progress { bar, plain: !terminal && !context.json, before: 0 };
        progress.style("{spinner:.cyan} {prefix:.bold} {msg}");
        progress
    }

    fn style(&self, template: &str) {
        if let Some(bar) = &self.bar {
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
    }

    /// From here on it is known how many bytes are to come.
    fn expect(&self, bytes: u64) {
        self.style("{spinner:.cyan} {prefix:.bold} {bar:30.cyan/blue} {bytes}/{total_bytes} {msg}");
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(bytes);
        }
    }

    fn step(&self, what: &'static str, feed: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(what);
            bar.set_message(feed);
            bar.tick();
        }
    }
}

impl Observer for Progress {
    fn file_begins(&mut self, _: &str, _: Option<u64>) {}

    fn progress(&mut self, raw_bytes: u64, _: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.before + raw_bytes);
        }
    }

    fn file_ends(&mut self, report: &FileReport) {
        if self.plain {
            eprintln!("{}: {} records", report.path, HumanCount(report.records));
        }
    }

    fn committed(&mut self, _: u64, _: &Counts) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_the_last_one_that_may_be_released_whole() {
        let noon: Day = "2026-11-22".parse().unwrap();
        for (hours, wait, expected) in [
            (12, 6, "2026-11-21"),
            (6, 6, "2026-11-21"),
            (5, 6, "2026-11-20"),
            (12, 48, "2026-11-19"),
            (0, 0, "2026-11-21"),
        ] {
            assert_eq!(complete_day(noon.start_ms() + hours * MS_PER_HOUR, wait).to_string(), expected);
        }
    }
}
