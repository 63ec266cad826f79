//! What a run tells its observer goes to Prometheus too, and the health endpoints along with it.

use super::error::CliError;
use crate::config::Site;
use crate::lake::batches::Counts;
use crate::pipeline::Feed;
use crate::pipeline::summary::{Fate, FileReport, Observer};
use crate::record::reject::Reason;
use crate::serve;
use crate::telemetry::{self, Committed, Health, Telemetry};
use std::time::{Duration, Instant};

/// What is staged longer than this is reported as not ready, whatever the interval.
const OVERDUE_AT_LEAST: Duration = Duration::from_secs(60);

/// The observer of a run, with its metrics.
pub(super) struct Metered<'o> {
    inner: &'o mut dyn Observer,
    feed: telemetry::Feed,
    health: Health,
    /// When the first record was read that is not committed.
    begun: Option<Instant>,
}

impl<'o> Metered<'o> {
    pub(super) fn start(site: &Site, feed: &Feed, inner: &'o mut dyn Observer) -> Result<Metered<'o>, CliError> {
        let (feed, health) = serve_metrics(site, feed)?;
        Ok(Metered { inner, feed, health, begun: None })
    }

    /// The source is open.
    pub(super) fn open(&self) -> Health {
        self.health.opened();
        self.health.clone()
    }
}

/// Serves metrics and health if the site wants it; a port that is taken ends the run before it
/// begins.
pub(super) fn serve_metrics(site: &Site, feed: &Feed) -> Result<(telemetry::Feed, Health), CliError> {
    let health = Health::new(OVERDUE_AT_LEAST.max(site.ingest.commit_interval * 4));
    let reasons = Reason::ALL.iter().map(|reason| reason.code());
    let rules = feed.mapping.drop_rules();
    let metrics = match site.telemetry.listen {
        Some(listen) => {
            let telemetry = Telemetry::install();
            let metrics = telemetry.feed(&feed.name, reasons, rules.into_iter());
            let bound = serve::start(listen, telemetry, health.clone()).map_err(|e| {
                CliError::usage(e.to_string()).fix(
                    "set another [telemetry] listen, or CDRVEIL__TELEMETRY__LISTEN for this process; each process \
                     needs a port of its own",
                )
            })?;
            if listen.port() == 0 {
                eprintln!("metrics on http://{bound}/metrics");
            }
            metrics
        }
        None => Telemetry::off().feed(&feed.name, reasons, rules.into_iter()),
    };
    Ok((metrics, health))
}

impl Observer for Metered<'_> {
    fn file_begins(&mut self, path: &str, bytes: Option<u64>) {
        self.health.moved();
        self.begun.get_or_insert_with(Instant::now);
        self.inner.file_begins(path, bytes);
    }

    fn progress(&mut self, raw_bytes: u64, records: u64) {
        self.health.moved();
        self.inner.progress(raw_bytes, records);
    }

    fn file_ends(&mut self, report: &FileReport) {
        if report.fate == Fate::Loaded {
            self.feed.bytes(report.bytes);
        }
        self.inner.file_ends(report);
    }

    fn committed(&mut self, number: u64, counts: &Counts) {
        self.health.committed();
        let batch = self.begun.take().map(|begun| begun.elapsed());
        self.feed.committed(&Committed { batches: 1, batch, ..committed(counts) });
        self.inner.committed(number, counts);
    }
}

pub(super) fn committed(counts: &Counts) -> Committed<'_> {
    Committed {
        records_in: counts.records_in,
        veiled: counts.veiled,
        joined: counts.joined,
        quarantined: counts.quarantined_by.iter().map(|(code, n)| (code.as_str(), *n)).collect(),
        dropped: counts.dropped_by.iter().map(|(rule, n)| (rule.as_str(), *n)).collect(),
        ..Committed::default()
    }
}
