//! Rules that are shed: what whoever has a lane found of a rule by the clock, the way it stands in the lane's log.
//!
//! A lane knows no clock, so it can't decide that a rule is too slow. Its owner measures, and writes an [`Act`] into the lane's
//! own log; whoever reads that log sheds the rule at that offset, in a replay too. A rule that is shed is as one that is not in
//! the set: it keeps no state and finds nothing.
//!
//! On the log: postcard, under the header that [`crate::log::act_headers`] names.

use serde::{Deserialize, Serialize};

/// What a rule cost, when it was found too slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Nanoseconds a row of its table.
    pub row_ns: u64,
    /// Share of the time its lane worked, in percent.
    pub percent: u64,
    /// How long the lane's rows had waited in their log, ms.
    pub behind_ms: u64,
    /// What it may cost: nanoseconds a row.
    pub row_ns_max: u64,
    /// What it may cost: share of the lane's time, in percent. Only a rule beyond both is too slow.
    pub percent_max: u64,
}

/// A rule that is shed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shed {
    /// XXH3 of its text: with another text it is another rule, and runs.
    pub hash: u64,
    /// What it cost.
    pub cost: Cost,
}

/// What a log says of one rule, by name, from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// It is shed, if it has that text.
    Shed(String, Shed),
    /// It runs again.
    Lift(String),
}

impl Act {
    /// As bytes of a log's record.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("texts and numbers have an encoding")
    }

    /// From the bytes of a log's record.
    ///
    /// # Errors
    /// They are no act.
    pub fn decode(bytes: &[u8]) -> Result<Act, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}
