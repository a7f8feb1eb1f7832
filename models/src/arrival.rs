//! Who came just now: callers in their first sitting.
//!
//! What a newcomer does first is usual for nobody yet. A job, an auditor or a support agent that is seen for the first
//! time reads hundreds of things in its first hour, as does who enumerates with a fresh account; only what the objects
//! are to others can tell them apart. So [`crate::judge`] asks more of a newcomer's runs, and learns its misses at once.
//!
//! 16 bytes a caller and table slack; beyond `callers_max` the least recently seen are forgotten, and are newcomers
//! again when they come back.

use serde::{Deserialize, Serialize};

use crate::generations::Generations;
use crate::judge::SITTING_GAP_MS;
use crate::walk::Walk;

/// Event time after which nobody is a newcomer any more, in milliseconds: who never pauses would be one for ever.
const NEWCOMER_MS: i64 = 86_400_000;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
enum Caller {
    #[default]
    Unseen,
    /// Since its first call, ms; its latest, ms.
    New(i64, i64),
    Settled,
}

/// The callers of one lane.
#[derive(Debug)]
pub struct Arrivals {
    callers: Generations<u64, Caller>,
}

impl Arrivals {
    /// Bytes a caller takes at most.
    pub const CALLER_BYTES: usize = Generations::<u64, Caller>::ENTRY_BYTES;

    /// A table of at most `callers_max` callers.
    pub fn new(callers_max: usize) -> Self {
        Self {
            callers: Generations::new(callers_max),
        }
    }

    /// Notes one call; true while the caller is in its first sitting, and for a day at most.
    pub fn is_newcomer(&mut self, identity: u64, at_ms: i64) -> bool {
        let caller = self.callers.entry(identity);
        *caller = match *caller {
            Caller::Unseen => Caller::New(at_ms, at_ms),
            Caller::New(first_ms, last_ms)
                if at_ms - last_ms <= SITTING_GAP_MS && at_ms - first_ms < NEWCOMER_MS =>
            {
                Caller::New(first_ms, last_ms.max(at_ms))
            }
            _ => Caller::Settled,
        };
        matches!(caller, Caller::New(..))
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("arrival.callers", &mut self.callers);
    }

    /// Callers held.
    pub fn len(&self) -> usize {
        self.callers.len()
    }

    /// True when nobody called.
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// Bytes held.
    pub fn state_bytes(&self) -> usize {
        self.callers.table_bytes()
    }

    /// Callers forgotten at the bound.
    pub fn n_evicted(&self) -> u64 {
        self.callers.n_evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_newcomer_is_one_until_it_pauses_or_a_day_is_over() {
        let mut arrivals = Arrivals::new(100);
        assert!(arrivals.is_newcomer(1, 0));
        assert!(arrivals.is_newcomer(1, HOUR_MS));
        assert!(arrivals.is_newcomer(1, HOUR_MS - 5000), "out of order");
        assert!(!arrivals.is_newcomer(1, 3 * HOUR_MS), "after a pause");
        assert!(!arrivals.is_newcomer(1, 3 * HOUR_MS + 1), "never again");
        let told = (0..40).filter(|hour| arrivals.is_newcomer(2, hour * HOUR_MS));
        assert_eq!(told.count(), 24, "one that never pauses");
    }
}
