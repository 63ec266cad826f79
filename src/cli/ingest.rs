//! `cdrveil ingest`: files, standard input or a watched folder into the lake and the vault.

use super::context::Context;
use super::error::CliError;
use super::metered::Metered;
use crate::config::{Cubes, FeedKind, Site};
use crate::generalise::TrunkList;
use crate::lake::batches::Counts;
use crate::lake::sweep::Swept;
use crate::normalise::Normaliser;
use crate::normalise::profile::{AcceptLate, Evidence, Profile};
use crate::pipeline::engine::{Engine, Setting};
use crate::pipeline::run::{self, Input};
use crate::pipeline::summary::{Fate, FileReport, Observer, Summary};
use crate::pipeline::{Feed, PipelineError, follow, watch};
use crate::shutdown::Stop;
use crate::sink::evidence::Original;
use crate::source::Limits;
use crate::tally::Cube;
use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod sink;
mod stream;

/// Read call records, veil them, and commit them to the lake and the vault
#[derive(Args)]
#[command(after_help = "\
Examples:
  cdrveil ingest --feed generic-voice calls-2026-11-21.csv.gz
  zcat old/*.gz | cdrveil ingest --feed asterisk -       (standard input cannot tell a re-delivery)
  cdrveil ingest --feed generic-voice --accept-late unlimited 2024-*.csv     (epochs: cdrveil-vault)
  cdrveil ingest --feed generic-voice --watch            (the feed's inbox, until SIGTERM)
  cdrveil ingest --feed voice-stream                     (its Kafka topics, until SIGTERM)
  cdrveil ingest --feed voice-stream --until-idle 10     (what is there now)

On a feed of kind append a file grows: what is new in it since the last time is loaded, through its
rotations. With --watch every file of the inbox is followed that does not look rotated.

A file is loaded whole or not at all, once, whatever its name. Refused records go sealed to
vault/quarantine; the summary counts them by reason.")]
pub struct IngestArgs {
    /// Feed of cdrveil.toml that the records belong to
    #[arg(long, value_name = "NAME")]
    pub feed: String,
    /// Files to load, or - for standard input; none for a feed of Kafka topics
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Load what is put into the feed's inbox, without end
    #[arg(long, conflicts_with = "files")]
    pub watch: bool,
    /// Kafka feeds: end when every partition is read to its end and nothing came for that long
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["files", "watch"])]
    pub until_idle: Option<u64>,
    /// How old an event may be, in days or `unlimited`, for this run [default: the feed's]
    #[arg(long, value_name = "DAYS|unlimited", value_parser = accept_late)]
    pub accept_late: Option<AcceptLate>,
    /// Go on although open halves of calls can no longer be read again; they are counted as lost
    #[arg(long)]
    pub forget_open: bool,
    /// Feeds of kind append: take a growing file as new when it no longer begins with what was read
    /// of it and no rotated file does; records between may be missing
    #[arg(long)]
    pub from_start: bool,
}

pub fn run(args: IngestArgs, context: &Context) -> Result<(), CliError> {
    let site = Site::load(&context.site_dir, &context.environment)?;
    let inputs = args.files.iter().map(|f| input(f)).collect::<Vec<_>>();
    let configured = site.feeds.get(&args.feed).ok_or_else(|| unknown_feed(&site, &args.feed))?;
    if let Some(kafka) = &configured.kafka {
        let summary = stream::ingest(&args, configured, kafka, &site, context)?;
        return stream::print(&summary, context);
    }
    if args.until_idle.is_some() {
        return Err(CliError::usage(format!("feed {} is not one of Kafka topics", configured.name))
            .fix("leave --until-idle out, or give the feed a table [feeds.NAME.kafka]"));
    }
    if args.files.is_empty() && !args.watch {
        return Err(CliError::usage("nothing to load: no file is named")
            .fix("name files, - for standard input, or --watch for the feed's inbox"));
    }
    let summary = ingest(&args, &inputs, &site, context, &mut Reporter::new(context))?;
    if context.json {
        context.print_json(&serde_json::to_value(&summary).map_err(|e| CliError::failed(e.to_string()))?);
    } else {
        print_summary(&summary, context);
    }
    // What a watched folder still holds waits for the next start; what it could not take was told then.
    if args.watch { Ok(()) } else { verdict(&summary) }
}

/// Runs the feed over `inputs` (or its inbox) and returns the summary; what `demo` calls too.
pub fn ingest(
    args: &IngestArgs,
    inputs: &[Input],
    site: &Site,
    context: &Context,
    observer: &mut dyn Observer,
) -> Result<Summary, CliError> {
    let begun = Instant::now();
    let configured = site.feeds.get(&args.feed).ok_or_else(|| unknown_feed(site, &args.feed))?;
    let feed = Arc::new(feed(configured, &site.cubes, args.accept_late)?);
    let keys = context.ingest_keys()?;
    let limits = limits(site);
    let setting = Setting {
        site: &context.site_dir,
        feed: Arc::clone(&feed),
        keys: &keys,
        clock: &*context.clock,
        workers: workers(site),
        forget_open: args.forget_open,
        orphan_after_ms: orphan_after_ms(site),
    };
    let mut metered = Metered::start(site, &feed, observer)?;
    let grows = configured.kind == FeedKind::Append;
    if grows && feed.mapping.joins() {
        return Err(CliError::usage(format!("feed {} cannot be of kind append: its calls are joined", feed.name))
            .fix("set kind = \"files\": a half is read again where it stood, which a rotation would move"));
    }
    let mut engine = Engine::open(setting)?;
    sweep(&engine, context);
    if args.watch {
        let stop = Stop::on_signals(site.ingest.stop_within)
            .map_err(|e| CliError::failed(format!("cannot listen for signals: {e}")))?;
        let health = metered.open();
        let stop = || {
            health.moved();
            stop.is_asked()
        };
        let settle = Duration::from_secs(configured.settle_s);
        let inbox = &configured.inbox;
        if grows {
            follow::inbox::watch(&mut engine, inbox, limits, args.from_start, &stop, &mut metered)?;
        } else {
            watch::watch(&mut engine, inbox, settle, limits, &stop, Arc::clone(&context.clock), &mut metered)?;
        }
    } else if grows {
        metered.open();
        follow::once(&mut engine, inputs, limits, args.from_start, &mut metered)?;
    } else {
        metered.open();
        run::run(&mut engine, inputs, limits, &mut metered)?;
    }
    Ok(measured(std::mem::take(&mut engine.summary), begun))
}

fn measured(mut summary: Summary, begun: Instant) -> Summary {
    summary.seconds = begun.elapsed().as_secs_f64();
    summary.records_per_second = (summary.records_in as f64 / summary.seconds.max(1e-9)).round();
    summary.peak_rss_bytes = peak_rss_bytes();
    summary
}

pub fn orphan_after_ms(site: &Site) -> i64 {
    i64::try_from(site.ingest.orphan_after_hours).unwrap_or(i64::MAX / 3_600_000) * 3_600_000
}

/// What an earlier run left; a sweep that fails is said, and stops nothing.
fn sweep(engine: &Engine<'_>, context: &Context) {
    match engine.sweep() {
        Ok(Swept { files: 0, .. }) => {}
        Ok(_) if context.json => {}
        Ok(Swept { files, bytes }) => {
            eprintln!("swept {files} files ({}) of a batch that was never committed", HumanBytes(bytes));
        }
        Err(e) => eprintln!("warning: files of broken runs were not swept: {e}"),
    }
}

fn input(path: &Path) -> Input {
    if path == Path::new("-") { Input::Stdin } else { Input::File(path.to_owned()) }
}

pub fn accept_late(text: &str) -> Result<AcceptLate, String> {
    match text {
        "unlimited" => Ok(AcceptLate::Unlimited),
        days => days.parse().map(AcceptLate::Days).map_err(|_| "a number of days or `unlimited` is needed".into()),
    }
}

pub fn unknown_feed(site: &Site, name: &str) -> CliError {
    let known: Vec<&str> = site.feeds.keys().map(String::as_str).collect();
    CliError::usage(format!("no feed `{name}` in cdrveil.toml")).fix(format!("the feeds are: {}", known.join(", ")))
}

/// The configured feed with everything compiled.
pub fn feed(
    configured: &crate::config::Feed,
    cubes: &Cubes,
    accept_late: Option<AcceptLate>,
) -> Result<Feed, CliError> {
    let wrong = |e: String| CliError::usage(format!("feed {}: {e}", configured.name)).fix("see `cdrveil check`");
    let mut profile = Profile::deserialize(configured.profile.clone()).map_err(|e| wrong(e.message().to_owned()))?;
    let profile_digest = profile.digest();
    if let Some(bound) = accept_late {
        profile.accept_late_days = bound;
    }
    let normaliser = Normaliser::new(&profile, configured.mapping.specs()).map_err(|e| wrong(e.to_string()))?;
    Ok(Feed {
        name: configured.name.clone(),
        mapping: configured.mapping.clone(),
        normaliser,
        profile_version: profile.version,
        profile_digest,
        accept_late_days: match profile.accept_late_days {
            AcceptLate::Days(days) => Some(days),
            AcceptLate::Unlimited => None,
        },
        future_hours: profile.future_hours,
        original: match profile.evidence {
            Evidence::Packed => Original::Packed,
            Evidence::Original => Original::Bytes,
        },
        trunks: TrunkList::new(&profile.trunks),
        join_window_ms: configured.join_window_s as i64 * 1000,
        cube: Cube::traffic_hourly().switched(cubes.traffic_hourly),
    })
}

pub fn limits(site: &Site) -> Limits {
    Limits {
        batch_bytes: site.ingest.block_bytes,
        batch_lines: site.ingest.block_rows,
        max_record_bytes: site.ingest.max_record_bytes,
        max_ratio: site.ingest.max_ratio,
        ..Limits::default()
    }
}

pub fn workers(site: &Site) -> usize {
    match site.ingest.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        n => n,
    }
}

/// `VmHWM` of Linux; 0 where there is none.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().strip_suffix("kB")).and_then(|k| k.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Refused files make the run fail; everything else that could be loaded was.
fn verdict(summary: &Summary) -> Result<(), CliError> {
    let refused: Vec<&FileReport> = summary.files.iter().filter(|f| f.fate == Fate::Refused).collect();
    let waiting = summary.files.iter().filter(|f| f.fate == Fate::Waiting).count();
    let Some(first) = refused.first() else {
        return match waiting {
            0 => Ok(()),
            n => Err(CliError::failed(format!(
                "{n} of {} files are not complete yet; nothing of them was loaded",
                summary.files.len()
            ))
            .fix("run it again when they are")),
        };
    };
    let message = format!("{} of {} files refused", refused.len(), summary.files.len());
    let fix = first.reason.clone().unwrap_or_default();
    let usage = refused.iter().any(|f| f.usage);
    Err(if usage { CliError::usage(message) } else { CliError::failed(message) }.fix(fix))
}

impl From<PipelineError> for CliError {
    fn from(e: PipelineError) -> CliError {
        match e {
            PipelineError::Keys(e) => e.into(),
            PipelineError::Open(e) => CliError::usage(e.to_string()),
            e @ (PipelineError::OffsetsLost { .. } | PipelineError::TopicRemade { .. }) => {
                CliError::failed(e.to_string()).fix("what was committed stays; nothing was skipped")
            }
            e @ PipelineError::JoinsInStream { .. } => {
                CliError::usage(e.to_string()).fix("send whole calls, or load files")
            }
            e @ PipelineError::NoColumns { .. } => CliError::usage(e.to_string())
                .fix("name them in the order of the file's header row: --columns start,a_number,b_number"),
            PipelineError::JoinsInReplay { feed } => super::quarantine::replay::joins(&feed),
            PipelineError::Kafka(e) => CliError::from(e),
            PipelineError::NoRecipient(e) => {
                let command = format!("cdrveil-vault recipient add {}", e.recipient);
                CliError::locked_out(e.to_string())
                    .fix(format!("register it once: `{command}`; or correct `recipient` of [sinks.kafka]"))
            }
            e => CliError::failed(e.to_string())
                .fix("nothing half-done was committed: run it again when the cause is gone"),
        }
    }
}

/// A progress bar on a terminal, plain lines elsewhere, nothing with `--json`.
struct Reporter {
    bar: Option<ProgressBar>,
    plain: bool,
}

impl Reporter {
    fn new(context: &Context) -> Reporter {
        use std::io::IsTerminal;
        let terminal = std::io::stderr().is_terminal() && !context.json;
        let bar = terminal.then(|| ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8)));
        if let Some(bar) = &bar {
            let style = "{msg:.bold} {bar:30.cyan/blue} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {prefix}";
            bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
        Reporter { bar, plain: !terminal && !context.json }
    }
}

impl Observer for Reporter {
    fn file_begins(&mut self, path: &str, bytes: Option<u64>) {
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(bytes.unwrap_or(0));
            bar.set_message(
                Path::new(path).file_name().map_or_else(|| path.to_owned(), |n| n.to_string_lossy().into_owned()),
            );
        }
    }

    fn progress(&mut self, raw_bytes: u64, records: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(raw_bytes);
            let per_second = records as f64 / bar.elapsed().as_secs_f64().max(1e-3);
            bar.set_prefix(format!("{} records, {}/s", HumanCount(records), HumanCount(per_second as u64)));
        }
    }

    fn file_ends(&mut self, report: &FileReport) {
        let line = match &report.reason {
            Some(reason) => format!("{}: {}: {reason}", report.path, fate_words(report.fate)),
            None => format!("{}: {}, {} records", report.path, fate_words(report.fate), report.records),
        };
        match &self.bar {
            Some(bar) => bar.println(line),
            None if self.plain => eprintln!("{line}"),
            None => {}
        }
    }

    fn committed(&mut self, number: u64, counts: &Counts) {
        if self.plain {
            let Counts { records_in, veiled, joined, quarantined, dropped, .. } = counts;
            eprintln!(
                "batch {number} committed: {records_in} in, {veiled} veiled, {joined} joined, {quarantined} quarantined, {dropped} dropped"
            );
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

pub fn fate_words(fate: Fate) -> &'static str {
    match fate {
        Fate::Loaded => "loaded",
        Fate::AlreadyLoaded => "loaded before, not again",
        Fate::Empty => "empty",
        Fate::Waiting => "not complete yet",
        Fate::Refused => "refused",
    }
}

/// The summary table at the end of a run.
pub fn print_summary(summary: &Summary, context: &Context) {
    let mut table = context.table(&["records", "count", "why"]);
    let n = |v: u64| HumanCount(v).to_string();
    let from = match (summary.files.len(), summary.offsets.len()) {
        (files, 0) => format!("{files} files"),
        (_, partitions) => format!("{partitions} partitions"),
    };
    table.add_row(["in".into(), n(summary.records_in), from]);
    table.add_row(["veiled".into(), n(summary.veiled), "pseudonymised into lake/cdr".into()]);
    for (what, total, by) in [
        ("quarantined", summary.quarantined, &summary.quarantined_by),
        ("dropped", summary.dropped, &summary.dropped_by),
    ] {
        table.add_row([what.to_owned(), n(total), if total == 0 { String::new() } else { "by reason:".into() }]);
        for (reason, count) in by {
            table.add_row([String::new(), n(*count), reason.clone()]);
        }
    }
    if summary.joined + summary.open > 0 {
        table.add_row(["joined".into(), n(summary.joined), "into the call they belong to".into()]);
        table.add_row(["open".into(), n(summary.open), "wait for their other half".into()]);
    }
    if summary.sequence_gaps > 0 {
        table.add_row(["missing".into(), n(summary.sequence_gaps), "sequence numbers that never came".into()]);
    }
    if let Some(sink) = &summary.sink {
        let topic = format!("to the sink in {} transactions, {} aborted", n(sink.transactions), n(sink.aborted));
        table.add_row(["sent".into(), n(sink.sent), topic]);
        table.add_row(["dead letters".into(), n(sink.dead_letters), format!("of {} refused", n(sink.refused))]);
    }
    context.print_table(&table);
    context.print_lines(&[format!(
        "{} in {:.2} s: {} records/s, peak memory {}",
        HumanBytes(summary.bytes_in),
        summary.seconds,
        HumanCount(summary.records_per_second as u64),
        HumanBytes(summary.peak_rss_bytes)
    )]);
}

#[cfg(test)]
mod tests;
