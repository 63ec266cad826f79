//! Waiting longer after each failure, up to a bound.

use std::time::Duration;

/// Capped exponential backoff with jitter: between half the step and the whole, so that many
/// clients of one broken broker do not come back in the same instant.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// `first` doubles with each failure as far as `cap`.
    pub fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff { first, cap, failures: 0 }
    }

    /// How long to wait after one more failure.
    pub fn next_wait(&mut self) -> Duration {
        let step = self.first.saturating_mul(1 << self.failures.min(20)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(0.5 + 0.5 * rand::random::<f64>())
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// After a success the next failure waits the first step again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_cap_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1000));
        for whole in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait();
            assert!(wait >= ms(whole / 2) && wait <= ms(whole), "{wait:?} of {whole}");
        }
        for _ in 0..100 {
            assert!(backoff.next_wait() <= ms(1000));
        }
        backoff.reset();
        assert!(backoff.failures() == 0 && backoff.next_wait() <= ms(100));
        let waits: std::collections::BTreeSet<_> =
            (0..20).map(|_| Backoff::new(ms(1000), ms(1000)).next_wait()).collect();
        assert!(waits.len() > 10, "no jitter");
    }
}
