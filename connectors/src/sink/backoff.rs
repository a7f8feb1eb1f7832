//! How long to wait before something is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Longest wait a sink can ask for, so that a wrong answer does not silence it for a day.
const ASKED_MAX: Duration = Duration::from_secs(600);

/// Waits that double, each between half and all of what it may be: senders that failed together don't come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    n_failed: u32,
}

impl Backoff {
    /// Waits from `first` up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff {
            first,
            longest,
            n_failed: 0,
        }
    }

    /// Failures since the last success.
    pub fn n_failed(&self) -> u32 {
        self.n_failed
    }

    /// Notes a failure, and says how long to wait: at least what the sink asked for, up to ten minutes.
    pub fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.n_failed.min(20));
        self.n_failed = self.n_failed.saturating_add(1);
        let most = doubled.min(self.longest);
        // A hasher with keys of its own is the standard library's one source of randomness.
        let random = RandomState::new().hash_one(self.n_failed) >> 11;
        let share = 0.5 + 0.5 * random as f64 / (1_u64 << 53) as f64;
        let wait = most.mul_f64(share);
        wait.max(asked.unwrap_or_default().min(ASKED_MAX))
    }

    /// Notes a success.
    pub fn succeeded(&mut self) {
        self.n_failed = 0;
    }
}
