//! When a run with `--until-idle` is over: nothing came for that long, and by the brokers' own word
//! nothing is left.

use super::Conductor;
use super::track::Track;
use crate::pipeline::PipelineError;
use std::time::{Duration, Instant};

pub(super) struct Idle {
    /// The group has assigned something, be it no partition at all.
    assigned: bool,
    /// Since when every partition stands at its end.
    since: Option<Instant>,
}

/// Between two questions to brokers that left one unanswered, or had more.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Idle {
    pub(super) fn new() -> Idle {
        Idle { assigned: false, since: None }
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
}

impl Conductor<'_, '_> {
    pub(super) fn is_over(&mut self) -> Result<bool, PipelineError> {
        let Some(patience) = self.stream.until_idle else { return Ok(false) };
        let at_end = self.tracks.iter().all(|t| t.checked && t.is_at_end());
        match self.idle.lasts(at_end, Instant::now()) {
            Some(lasts) if lasts >= patience => {}
            _ => return Ok(false),
        }
        // What was heard last may be old: a broker that hangs tells nothing new.
        for at in 0..self.tracks.len() {
            match self.consumer.bounds(&self.tracks[at].partition) {
                Ok((_, high)) => self.tracks[at].ends(high),
                Err(e) if e.is_retriable() => {
                    self.idle.since = Instant::now().checked_sub(patience.saturating_sub(ASK_AGAIN));
                    return Ok(false);
                }
                Err(e) => return Err(e.into()),
            }
        }
        let over = self.tracks.iter().all(Track::is_at_end);
        if !over {
            self.idle.restless();
        }
        Ok(over)
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
