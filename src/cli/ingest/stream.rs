//! `cdrveil ingest` on a feed of Kafka topics: what it is told, and what it tells.

use super::{IngestArgs, feed, limits, measured, orphan_after_ms, print_summary, sink, sweep, workers};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::metered::{committed, serve_metrics};
use crate::config::{Feed, KafkaFeed, LostOffsets, Site, Start};
use crate::lake::batches::Counts;
use crate::pipeline::engine::{Engine, Setting};
use crate::pipeline::stream::figures::{Figures, PartitionFigures, Round, StreamObserver};
use crate::pipeline::stream::{self, Stream};
use crate::pipeline::summary::Summary;
use crate::shutdown::Stop;
use crate::source::kafka::consumer::TopicPartition;
use crate::telemetry::{self, Committed, Health};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lines about commits come at most this often.
const EVERY: Duration = Duration::from_secs(5);

pub(super) fn ingest(
    args: &IngestArgs,
    configured: &Feed,
    kafka: &KafkaFeed,
    site: &Site,
    context: &Context,
) -> Result<Summary, CliError> {
    if !args.files.is_empty() || args.watch {
        return Err(CliError::usage(format!("feed {} reads Kafka topics, not files", configured.name))
            .fix("leave the files and --watch out, or name another feed"));
    }
    let begun = Instant::now();
    let feed = Arc::new(feed(configured, &site.cubes, args.accept_late)?);
    let keys = context.ingest_keys()?;
    let (metrics, health) = serve_metrics(site, &feed)?;
    let stop = Stop::on_signals(site.ingest.stop_within)
        .map_err(|e| CliError::failed(format!("cannot listen for signals: {e}")))?;
    let mut sink = None;
    if let Some(settings) = &site.kafka_sink {
        let (feed, keys, metrics) = (Arc::clone(&feed), keys.another()?, metrics.sink());
        sink = Some(sink::Sink { args, configured, kafka, settings, site, context, feed, keys, metrics });
    }
    let lake = {
        let (stop, health, name) = (stop.clone(), health.clone(), configured.name.clone());
        let setting = Setting {
            site: &context.site_dir,
            feed,
            keys: &keys,
            clock: &*context.clock,
            workers: workers(site),
            forget_open: false,
            orphan_after_ms: orphan_after_ms(site),
        };
        move || {
            let observer = Measured { teller: Teller::new(&name, context), metrics, health: health.clone() };
            let stop = || {
                health.moved();
                stop.is_asked()
            };
            lake(setting, &stream(args, configured, kafka, site), &stop, observer, context)
        }
    };
    let (summary, sink) = match sink {
        None => (lake()?, None),
        // Nothing of the lake is opened.
        Some(sink) if !sink.settings.lake => {
            let summary = Summary { feed: configured.name.clone(), ..Summary::default() };
            (summary, Some(sink.run(&stop, Some(health))?))
        }
        Some(sink) => {
            let (summary, sink) = beside(&stop, lake, || sink.run(&stop, None))?;
            (summary, Some(sink))
        }
    };
    Ok(measured(Summary { sink, ..summary }, begun))
}

fn stream<'a>(args: &IngestArgs, configured: &'a Feed, kafka: &'a KafkaFeed, site: &Site) -> Stream<'a> {
    Stream {
        cluster: &kafka.cluster,
        topics: &kafka.topics,
        group: &kafka.group,
        start: start(kafka),
        skip_lost: kafka.lost_offsets == LostOffsets::Skip,
        columns: &configured.columns,
        limits: limits(site).of_messages(kafka.max_message_bytes),
        commit_interval: site.ingest.commit_interval,
        stop_within: site.ingest.stop_within,
        until_idle: args.until_idle.map(Duration::from_secs),
    }
}

pub(super) fn start(kafka: &KafkaFeed) -> stream::Start {
    match kafka.start {
        Start::Earliest => stream::Start::Earliest,
        Start::Latest => stream::Start::Latest,
    }
}

fn lake(
    setting: Setting<'_>,
    stream: &Stream<'_>,
    stop: &dyn Fn() -> bool,
    mut observer: Measured,
    context: &Context,
) -> Result<Summary, CliError> {
    let mut engine = Engine::without_lanes(setting)?;
    sweep(&engine, context);
    stream::run(&mut engine, stream, stop, &mut observer)?;
    Ok(std::mem::take(&mut engine.summary))
}

/// Both to their end, each in a thread. When one fails, the other is asked to stop.
fn beside<A, B: Send>(
    stop: &Stop,
    lake: impl FnOnce() -> Result<A, CliError>,
    sink: impl FnOnce() -> Result<B, CliError> + Send,
) -> Result<(A, B), CliError> {
    let (lake, sink) = std::thread::scope(|scope| {
        let sink = scope.spawn(|| to_its_end(stop, sink));
        let lake = to_its_end(stop, lake);
        (lake, sink.join().unwrap_or_else(|_| Err(defect())))
    });
    Ok((lake?, sink?))
}

/// A side that fails, be it by a defect, must not leave the other running as if nothing were.
fn to_its_end<T>(stop: &Stop, side: impl FnOnce() -> Result<T, CliError>) -> Result<T, CliError> {
    catch_unwind(AssertUnwindSafe(side)).unwrap_or_else(|_| Err(defect())).inspect_err(|_| stop.ask())
}

fn defect() -> CliError {
    CliError::failed("a defect in cdrveil ended the run (its place is on standard error)")
        .fix("what was committed stays; the rest is read again at the next start")
}

/// Prints the summary of a stream: positions in place of files.
pub(super) fn print(summary: &Summary, context: &Context) -> Result<(), CliError> {
    if !context.json {
        print_summary(summary, context);
        return Ok(());
    }
    let mut json = serde_json::to_value(summary).map_err(|e| CliError::failed(e.to_string()))?;
    if let Some(fields) = json.as_object_mut() {
        fields.shift_remove("files");
        fields.entry("offsets").or_insert_with(|| serde_json::Value::Array(Vec::new()));
    }
    context.print_json(&json);
    Ok(())
}

/// Counts what the teller tells of.
struct Measured {
    teller: Teller,
    metrics: telemetry::Feed,
    health: Health,
}

impl StreamObserver for Measured {
    fn waits(&mut self, why: &str) {
        self.teller.waits(why);
    }

    fn assigned(&mut self, new: &[TopicPartition], all: usize) {
        self.health.opened();
        self.metrics.assigned(all);
        self.teller.assigned(new, all);
    }

    fn revoked(&mut self, gone: &[TopicPartition], left: usize) {
        self.metrics.assigned(left);
        self.teller.revoked(gone, left);
    }

    fn skipped(&mut self, partition: &TopicPartition, from: i64, to: i64) {
        self.teller.skipped(partition, from, to);
    }

    fn committed(&mut self, round: &Round) {
        self.health.committed();
        self.metrics.committed(&Committed {
            bytes: round.bytes,
            batches: round.committed,
            batch: Some(round.took),
            commit: Some(round.commit_took),
            ..committed(&round.counts)
        });
        self.metrics.batches_dropped(round.dropped);
        self.metrics.offsets_skipped(round.skipped);
        self.teller.committed(round);
    }

    fn stands(&mut self, figures: &Figures) {
        self.health.staged(figures.staged_bytes > 0);
        self.metrics.queue(figures.queued_blocks);
        self.metrics.staged(figures.staged_bytes);
        let partition = |p: &PartitionFigures| telemetry::Partition {
            topic: p.partition.topic.clone(),
            partition: p.partition.partition,
            lag_offsets: p.lag_offsets,
            lag: Some(Duration::from_millis(p.lag_ms)),
            offset: p.next_offset,
            watermark_ms: p.watermark_ms,
        };
        self.metrics.partitions(figures.partitions.iter().map(partition).collect());
        self.teller.stands(figures);
    }
}

/// Lines on stderr; on a terminal one line that is kept up to date; nothing with `--json` but
/// warnings.
struct Teller {
    feed: String,
    quiet: bool,
    line: Option<ProgressBar>,
    last: Option<Instant>,
    untold: Counts,
    batches: u64,
    total: u64,
}

impl Teller {
    fn new(feed: &str, context: &Context) -> Teller {
        use std::io::IsTerminal;
        let terminal = std::io::stderr().is_terminal() && !context.json;
        let line = terminal.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(4)));
        if let Some(line) = &line {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        }
        Teller {
            feed: feed.to_owned(),
            quiet: context.json,
            line,
            last: None,
            untold: Counts::default(),
            batches: 0,
            total: 0,
        }
    }

    fn say(&self, text: String) {
        match &self.line {
            Some(line) => line.println(text),
            None if self.quiet => {}
            None => eprintln!("{text}"),
        }
    }

    fn tell_commits(&mut self) {
        if self.batches > 0 {
            let Counts { records_in, veiled, quarantined, dropped, .. } = &self.untold;
            let batches = self.batches;
            self.say(format!(
                "{batches} batches committed: {records_in} in, {veiled} veiled, {quarantined} quarantined, {dropped} dropped"
            ));
            (self.untold, self.batches) = (Counts::default(), 0);
            self.last = Some(Instant::now());
        }
    }
}

impl StreamObserver for Teller {
    fn waits(&mut self, why: &str) {
        eprintln!("waiting for a broker: {why}");
    }

    fn assigned(&mut self, new: &[TopicPartition], all: usize) {
        let names: Vec<String> = new.iter().map(TopicPartition::name).collect();
        let feed = &self.feed;
        self.say(format!("feed {feed}: assigned {} ({all} partitions now)", names.join(" ")));
    }

    fn revoked(&mut self, gone: &[TopicPartition], left: usize) {
        let names: Vec<String> = gone.iter().map(TopicPartition::name).collect();
        let feed = &self.feed;
        self.say(format!("feed {feed}: gave back {} ({left} partitions now)", names.join(" ")));
    }

    fn skipped(&mut self, partition: &TopicPartition, from: i64, to: i64) {
        eprintln!("warning: {}: offsets {from} to {} were deleted before they were read", partition.name(), to - 1);
    }

    fn committed(&mut self, round: &Round) {
        self.untold.add(&round.counts);
        self.batches += round.committed;
        self.total += round.counts.records_in;
        if round.dropped > 0 {
            self.say(format!("{} batches were another process's already, and were dropped", round.dropped));
        }
        if self.line.is_none() && self.last.is_none_or(|last| last.elapsed() >= EVERY) {
            self.tell_commits();
        }
    }

    fn stands(&mut self, figures: &Figures) {
        let Some(line) = &self.line else {
            if self.last.is_some_and(|last| last.elapsed() >= EVERY) {
                self.tell_commits();
            }
            return;
        };
        let lag: u64 = figures.partitions.iter().filter_map(|p| p.lag_offsets).sum();
        line.set_message(format!(
            "{}: {} partitions, {} records committed, {} messages behind",
            self.feed,
            figures.partitions.len(),
            HumanCount(self.total),
            HumanCount(lag)
        ));
        line.tick();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        match &self.line {
            Some(line) => line.finish_and_clear(),
            None => self.tell_commits(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A side that goes on until it is asked to stop.
    fn endless(stop: &Stop) -> Result<(), CliError> {
        while !stop.is_asked() {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    #[test]
    fn a_side_that_fails_or_breaks_asks_the_other_to_stop() {
        let fails = || Err::<(), _>(CliError::failed("no broker"));
        let breaks = || -> Result<(), CliError> { panic!("a defect") };
        let message = |ended: Result<((), ()), CliError>| ended.unwrap_err().message().to_owned();
        let stop = Stop::default();
        assert_eq!(message(beside(&stop, || endless(&stop), fails)), "no broker");
        let stop = Stop::default();
        assert_eq!(message(beside(&stop, fails, || endless(&stop))), "no broker");
        let stop = Stop::default();
        assert!(message(beside(&stop, || endless(&stop), breaks)).contains("defect"));
        let stop = Stop::default();
        assert!(message(beside(&stop, breaks, || endless(&stop))).contains("defect"));
        let stop = Stop::default();
        assert!(beside(&stop, || Ok(()), || Ok(())).is_ok() && !stop.is_asked());
    }
}
