//! Is the process at work (`live`), and does what it is there for get done (`ready`)?

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The thread that drives a feed looks after itself at least this often; a commit may take a while.
const LIVE_WITHIN: Duration = Duration::from_secs(120);

/// Told by the thread that drives the feed, asked by the HTTP server. Clones are the same.
#[derive(Clone)]
pub struct Health(Arc<Mutex<State>>);

struct State {
    moved: Instant,
    /// Why nothing is read at present.
    closed: Option<String>,
    /// Since when something is staged that is not committed.
    staged_since: Option<Instant>,
    overdue_after: Duration,
}

impl Health {
    /// What is staged is overdue when it is not committed within `overdue_after`.
    pub fn new(overdue_after: Duration) -> Health {
        Health(Arc::new(Mutex::new(State {
            moved: Instant::now(),
            closed: Some("the source is not open yet".into()),
            staged_since: None,
            overdue_after,
        })))
    }

    /// The driving thread went round once more.
    pub fn moved(&self) {
        self.state().moved = Instant::now();
    }

    pub fn opened(&self) {
        self.state().closed = None;
    }

    /// Nothing is read, and why.
    pub fn closed(&self, why: &str) {
        self.state().closed = Some(why.to_owned());
    }

    /// Whether anything is read that is not committed.
    pub fn staged(&self, something: bool) {
        let mut state = self.state();
        match (something, state.staged_since) {
            (true, None) => state.staged_since = Some(Instant::now()),
            (false, _) => state.staged_since = None,
            _ => {}
        }
    }

    pub fn committed(&self) {
        let mut state = self.state();
        (state.moved, state.staged_since) = (Instant::now(), None);
    }

    /// Why not, in words.
    pub fn live(&self) -> Result<(), String> {
        self.live_at(Instant::now())
    }

    pub fn ready(&self) -> Result<(), String> {
        self.ready_at(Instant::now())
    }

    fn live_at(&self, now: Instant) -> Result<(), String> {
        let still = now.saturating_duration_since(self.state().moved);
        if still <= LIVE_WITHIN {
            return Ok(());
        }
        Err(format!("nothing has moved for {} s, {} are allowed", still.as_secs(), LIVE_WITHIN.as_secs()))
    }

    fn ready_at(&self, now: Instant) -> Result<(), String> {
        self.live_at(now)?;
        let state = self.state();
        if let Some(why) = &state.closed {
            return Err(why.clone());
        }
        let waits = state.staged_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if waits > state.overdue_after {
            let (waits, bound) = (waits.as_secs(), state.overdue_after.as_secs());
            return Err(format!("what was read {waits} s ago is not committed, {bound} are allowed"));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_follows_the_feed() {
        let health = Health::new(Duration::from_secs(60));
        let after = |s: u64| Instant::now() + Duration::from_secs(s);
        assert_eq!(health.live(), Ok(()));
        assert!(health.ready().unwrap_err().contains("not open yet"));
        health.opened();
        assert_eq!(health.ready(), Ok(()));
        health.staged(true);
        assert_eq!(health.ready_at(after(59)), Ok(()));
        health.staged(true);
        assert!(health.ready_at(after(62)).unwrap_err().contains("is not committed, 60 are allowed"));
        assert_eq!(health.live_at(after(62)), Ok(()));
        health.committed();
        assert_eq!(health.ready_at(after(62)), Ok(()));
        assert!(health.live_at(after(200)).unwrap_err().contains("nothing has moved"));
        assert!(health.ready_at(after(200)).is_err());
        health.moved();
        health.closed("no broker answers");
        assert_eq!(health.ready().unwrap_err(), "no broker answers");
    }
}
