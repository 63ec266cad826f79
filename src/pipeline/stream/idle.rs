//! When a run with `--until-idle` is over: nothing came for that long, and by the brokers' own word
//! nothing is left.

use super::track::Track;
use super::{Conductor, HANDING_OVER};
use crate::lake::batches::BatchLog;
use crate::pipeline::PipelineError;
use std::time::{Duration, Instant};

pub(super) struct Idle {
    /// The group has assigned something, be it no partition at all.
    assigned: bool,
    /// Since when every partition stands at its end.
    since: Option<Instant>,
    /// Brokers are not asked before.
    ask_at: Option<Instant>,
}

/// Between two questions to brokers that left one unanswered, or had more.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Idle {
    pub(super) fn new() -> Idle {
        Idle { assigned: false, since: None, ask_at: None }
    }

    /// Something happened.
    pub(super) fn restless(&mut self) {
        self.since = None;
    }

    pub(super) fn assigned(&mut self) {
        self.assigned = true;
        self.since = None;
    }

    /// For how long everything stands at its end.
    fn lasts(&mut self, at_end: bool, now: Instant) -> Option<Duration> {
        if !self.assigned || !at_end {
            self.since = None;
            return None;
        }
        Some(now.duration_since(*self.since.get_or_insert(now)))
    }

    /// Whether brokers may be asked now; then not again for a while.
    fn may_ask(&mut self, now: Instant) -> bool {
        let may = self.ask_at.is_none_or(|at| now >= at);
        if may {
            self.ask_at = Some(now + ASK_AGAIN);
        }
        may
    }
}

impl Conductor<'_, '_> {
    pub(super) fn is_over(&mut self) -> Result<bool, PipelineError> {
        let Some(patience) = self.stream.until_idle else { return Ok(false) };
        let at_end = self.tracks.iter().all(|t| t.checked && t.is_at_end());
        let now = Instant::now();
        let Some(lasts) = self.idle.lasts(at_end, now) else { return Ok(false) };
        if lasts < patience || !self.idle.may_ask(now) {
            return Ok(false);
        }
        match self.is_at_the_brokers_end(lasts) {
            Ok(over) => Ok(over),
            Err(PipelineError::Kafka(e)) if e.is_retriable() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// What was heard last may be old: a broker that hangs tells nothing new.
    fn is_at_the_brokers_end(&mut self, lasts: Duration) -> Result<bool, PipelineError> {
        for track in &mut self.tracks {
            let (_, high) = self.consumer.bounds(&track.partition)?;
            track.ends(high);
        }
        if !self.tracks.iter().all(Track::is_at_end) {
            self.idle.restless();
            return Ok(false);
        }
        // The group may hold a partition for a member that is gone, until its session has ended.
        // Whoever has it after that is alive, and brings it to its end.
        Ok(lasts >= self.consumer.session() + HANDING_OVER || self.others_are_at_the_end()?)
    }

    /// By the batch log, partitions that others have are read to their end.
    fn others_are_at_the_end(&self) -> Result<bool, PipelineError> {
        let setting = &self.engine.setting;
        for partition in self.consumer.partitions()? {
            if self.tracks.iter().any(|t| t.partition == partition) {
                continue;
            }
            let log = BatchLog::new(&setting.site.join("lake"), &setting.feed.name, &partition.name());
            let next = match log.last()? {
                0 => None,
                number => log.read(number)?.stream.map(|s| s.next_offset),
            };
            let (low, high) = self.consumer.bounds(&partition)?;
            if next.unwrap_or(low) < high {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idleness_counts_from_assignment_and_the_end_of_every_partition() {
        let mut idle = Idle::new();
        let start = Instant::now();
        let s = |n: u64| start + Duration::from_secs(n);
        assert_eq!(idle.lasts(true, s(1)), None, "nothing is assigned yet");
        idle.assigned();
        assert_eq!(idle.lasts(false, s(2)), None, "there is more to read");
        assert_eq!(idle.lasts(true, s(3)), Some(Duration::ZERO));
        assert_eq!(idle.lasts(true, s(5)), Some(Duration::from_secs(2)));
        idle.restless();
        assert_eq!(idle.lasts(true, s(6)), Some(Duration::ZERO), "a message came");
        assert_eq!(idle.lasts(false, s(7)), None);
        assert_eq!(idle.lasts(true, s(9)), Some(Duration::ZERO), "it was away from the end meanwhile");
    }
}
