//! For how long a run with `--until-idle` had nothing to do; for the lake's side and the sink's.

use std::time::{Duration, Instant};

/// Between two questions to brokers that left one unanswered, or had more.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Beyond a session: until the group has handed over what a member that is gone had.
pub const HANDING_OVER: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Idle {
    /// The group has assigned something, be it no partition at all, and nothing was lost since.
    assigned: bool,
    /// Since when every partition stands at its end.
    since: Option<Instant>,
    /// Brokers are not asked before.
    ask_at: Option<Instant>,
}

impl Idle {
    /// Something happened.
    pub fn restless(&mut self) {
        self.since = None;
    }

    /// The group has said what is ours; or, with `false`, nothing is any more.
    pub fn assigned(&mut self, said: bool) {
        (self.assigned, self.since) = (said, None);
    }

    /// For how long everything stands at its end.
    pub fn lasts(&mut self, at_end: bool, now: Instant) -> Option<Duration> {
        if !self.assigned || !at_end {
            self.since = None;
            return None;
        }
        Some(now.duration_since(*self.since.get_or_insert(now)))
    }

    /// Whether brokers may be asked now; then not again for a while.
    pub fn may_ask(&mut self, now: Instant) -> bool {
        let may = self.ask_at.is_none_or(|at| now >= at);
        if may {
            self.ask_at = Some(now + ASK_AGAIN);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idleness_counts_from_assignment_and_the_end_of_every_partition() {
        let (mut idle, start) = (Idle::default(), Instant::now());
        let s = |n: u64| start + Duration::from_secs(n);
        assert_eq!(idle.lasts(true, s(1)), None, "nothing is assigned yet");
        idle.assigned(true);
        assert_eq!(idle.lasts(false, s(2)), None, "there is more to read");
        assert_eq!(idle.lasts(true, s(3)), Some(Duration::ZERO));
        assert_eq!(idle.lasts(true, s(5)), Some(Duration::from_secs(2)));
        idle.restless();
        assert_eq!(idle.lasts(true, s(6)), Some(Duration::ZERO), "a message came");
        assert_eq!(idle.lasts(false, s(7)), None);
        assert_eq!(idle.lasts(true, s(9)), Some(Duration::ZERO), "it was away from the end meanwhile");
        idle.assigned(false);
        assert_eq!(idle.lasts(true, s(12)), None, "having no partition left says nothing");
    }

    #[test]
    fn brokers_are_asked_once_a_second() {
        let (mut idle, start) = (Idle::default(), Instant::now());
        let asked: Vec<bool> =
            [0, 400, 999, 1000, 1500, 2100].map(|ms| idle.may_ask(start + Duration::from_millis(ms))).to_vec();
        assert_eq!(asked, [true, false, false, true, false, true]);
    }
}
