//! When a run with `--until-idle` is over for the sink.

use super::Conductor;
use super::track::Track;
use crate::kafka::KafkaError;
use crate::pipeline::PipelineError;
use crate::pipeline::stream::HANDING_OVER;
use std::time::{Duration, Instant};

/// Between two questions to brokers that left one unanswered.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// For how long there was nothing to do.
#[derive(Default)]
pub(super) struct Idle {
    /// The group has assigned something, be it no partition at all, and nothing was lost since.
    assigned: bool,
    /// Since when every partition stands at its end.
    since: Option<Instant>,
    /// Brokers are not asked before.
    ask_again: Option<Instant>,
}

impl Idle {
    /// Something happened.
    pub(super) fn restless(&mut self) {
        self.since = None;
    }

    /// The group has said what is ours.
    pub(super) fn assigned(&mut self, said: bool) {
        (self.assigned, self.since) = (said, None);
    }

    /// For how long everything stands at its end.
    fn lasts(&mut self, at_end: bool, now: Instant) -> Option<Duration> {
        if !self.assigned || !at_end {
            self.since = None;
            return None;
        }
        Some(now.duration_since(*self.since.get_or_insert(now)))
    }
}

impl Conductor<'_> {
    pub(super) fn is_over(&mut self) -> Result<bool, PipelineError> {
        let Some(patience) = self.flow.until_idle else { return Ok(false) };
        let at_end = self.tracks.iter().all(Track::is_at_end);
        match self.idle.lasts(at_end, Instant::now()) {
            Some(lasts) if lasts >= patience => {}
            _ => return Ok(false),
        }
        if self.idle.ask_again.is_some_and(|at| Instant::now() < at) {
            return Ok(false);
        }
        // What was heard last may be old: a broker that hangs tells nothing new.
        for track in &mut self.tracks {
            match self.consumer.bounds(&track.partition) {
                Ok((_, high)) => track.ends(high),
                Err(e) if e.is_retriable() => {
                    self.idle.ask_again = Some(Instant::now() + ASK_AGAIN);
                    return Ok(false);
                }
                Err(e) => return Err(e.into()),
            }
        }
        if !self.tracks.iter().all(Track::is_at_end) {
            self.idle.restless();
            return Ok(false);
        }
        // As on the lake's side: the group may hold partitions for a member that is gone.
        let lasts = self.idle.lasts(true, Instant::now()).unwrap_or_default();
        if lasts >= self.consumer.session() + HANDING_OVER {
            return Ok(true);
        }
        match self.others_are_at_the_end() {
            Ok(true) => Ok(true),
            Err(e) if !e.is_retriable() => Err(e.into()),
            Ok(false) | Err(_) => {
                self.idle.ask_again = Some(Instant::now() + ASK_AGAIN);
                Ok(false)
            }
        }
    }

    /// By the group's offsets, partitions that others have are read to their end.
    fn others_are_at_the_end(&self) -> Result<bool, KafkaError> {
        let mut others = self.consumer.partitions()?;
        others.retain(|p| self.tracks.iter().all(|t| t.partition != *p));
        if others.is_empty() {
            return Ok(true);
        }
        for (partition, next) in self.consumer.committed(&others)? {
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
    fn a_run_whose_partitions_were_lost_is_not_idle() {
        let (mut idle, start) = (Idle::default(), Instant::now());
        let s = |n: u64| start + Duration::from_secs(n);
        assert_eq!(idle.lasts(true, s(1)), None, "nothing is assigned yet");
        idle.assigned(true);
        assert_eq!(idle.lasts(true, s(3)), Some(Duration::ZERO));
        assert_eq!(idle.lasts(true, s(5)), Some(Duration::from_secs(2)));
        idle.assigned(false);
        assert_eq!(idle.lasts(true, s(9)), None, "having no partition left says nothing");
        idle.assigned(true);
        idle.restless();
        assert_eq!(idle.lasts(true, s(9)), Some(Duration::ZERO));
    }
}
