//! What some calls of one endpoint, or host, come to for the checks.

use serde::{Deserialize, Serialize};

use super::fact::{Counts, Facts};
use super::finding::{Sample, Samples};
use crate::inventory::Distinct;

/// Checks of which samples are kept; what shows more faults than that shows enough.
const SAMPLED_MAX: usize = 8;

/// Counts of facts, who showed faults, and some calls that did. In 16 KiB at most.
///
/// `merge` is associative and commutative in counts and callers; samples are of the checks that were shown first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// How often each fact was there.
    pub counts: Counts,
    /// Callers that showed a fault, whichever.
    pub callers: Distinct,
    /// Calls that showed one, by the check's number.
    pub samples: Vec<(u8, Samples)>,
}

impl Shown {
    /// True when nothing was there that a check looks at.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().next().is_none()
    }

    /// Adds a call.
    ///
    /// * `caller`: hash of the identity.
    /// * `sample`: what is shown of the call for a check, which is given by its number; asked for when it is kept.
    pub fn add(&mut self, facts: Facts, caller: u64, at_ms: i64, sample: impl Fn(u8) -> Sample) {
        self.counts.add(facts);
        if !facts.is_bad() {
            return;
        }
        self.callers.insert(caller);
        for number in facts.faults() {
            if let Some(samples) = self.samples_of(number)
                && samples.wants(at_ms)
            {
                samples.keep(sample(number));
            }
        }
    }

    /// Adds what other calls come to.
    pub fn merge(&mut self, other: &Shown) {
        self.counts.merge(&other.counts);
        self.callers.merge(&other.callers);
        for (number, theirs) in &other.samples {
            if let Some(samples) = self.samples_of(*number) {
                samples.merge(theirs);
            }
        }
    }

    fn samples_of(&mut self, number: u8) -> Option<&mut Samples> {
        let at = self.samples.binary_search_by_key(&number, |(of, _)| *of);
        let at = match at {
            Ok(at) => at,
            Err(_) if SAMPLED_MAX <= self.samples.len() => return None,
            Err(at) => {
                self.samples.insert(at, (number, Samples::default()));
                at
            }
        };
        Some(&mut self.samples[at].1)
    }
}
