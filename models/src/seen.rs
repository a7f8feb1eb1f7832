//! Which objects an identity already knows.
//!
//! Comes in: (identity, object, read or write) and how the call ended. Goes out: whether the call is
//! new to this identity. Only new ones travel to the object's owner and are judged, which is 13 to
//! 28 % of the calls of a first day and far fewer later.
//!
//! 16 bytes a pair and table slack; beyond `pairs_max` the pairs least recently used are forgotten.
//! A forgotten pair is sent again as new, and its object's owner then says that it is known: memory
//! lost costs traffic, not false evidence.

use crate::generations::Generations;
use crate::walk::Walk;

/// How a call on an object ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered below 400.
    Success,
    /// 401, 403 or 404: the caller may not, or learned that the object does not exist.
    Denied,
    /// Anything else (400, 429, 5xx, no status): says nothing about the object.
    Neither,
}

impl Outcome {
    /// The outcome of a call by its status.
    pub fn of(status: Option<u16>) -> Outcome {
        match status {
            Some(100..=399) => Outcome::Success,
            Some(401 | 403 | 404 | 410) => Outcome::Denied,
            _ => Outcome::Neither,
        }
    }
}

/// What a call on an object is to the identity that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The first call on this object, or the first success after denials: goes on to be judged.
    New {
        /// True when the identity met the object in no way before: not by a denial, not by the other of read
        /// and write. So one object counts once among those it knows.
        first: bool,
    },
    /// A call on an object that answered before: usual. Every fourfold count is told to the owner.
    Known {
        /// True at the 4th, 16th, 64th … time.
        reminder: bool,
    },
    /// A denial repeated, or a call that says nothing: no evidence in either direction.
    Repeat,
}

const SUCCEEDED: u16 = 1;
const DENIED: u16 = 2;
const COUNT_ONE: u16 = 4;

/// The pairs (identity, object) seen, reads and writes apart.
#[derive(Debug)]
pub struct SeenFilter {
    pairs: Generations<u64, u16>,
}

impl SeenFilter {
    /// Bytes a pair takes at most.
    pub const PAIR_BYTES: usize = Generations::<u64, u16>::ENTRY_BYTES;

    /// A filter of at most `pairs_max` pairs.
    pub fn new(pairs_max: usize) -> Self {
        Self {
            pairs: Generations::new(pairs_max),
        }
    }

    /// Notes one call and says what it is.
    pub fn sight(&mut self, identity: u64, object: u64, write: bool, outcome: Outcome) -> Sighting {
        if outcome == Outcome::Neither {
            return Sighting::Repeat;
        }
        let key = pair_key(identity, object, write);
        let other = pair_key(identity, object, !write);
        let pair = self.pairs.entry(key);
        let before = *pair;
        match outcome {
            Outcome::Success if before & SUCCEEDED == 0 => {
                *pair = (before | SUCCEEDED).saturating_add(COUNT_ONE);
                Sighting::New {
                    first: before == 0 && self.pairs.get(&other).is_none(),
                }
            }
            Outcome::Denied if before == 0 => {
                *pair = DENIED + COUNT_ONE;
                Sighting::New {
                    first: self.pairs.get(&other).is_none(),
                }
            }
            Outcome::Denied if before & SUCCEEDED == 0 => Sighting::Repeat,
            _ => {
                if before < u16::MAX - COUNT_ONE {
                    *pair = before + COUNT_ONE;
                }
                let n = *pair / COUNT_ONE;
                let reminder =
                    *pair != before && n.is_power_of_two() && n.trailing_zeros().is_multiple_of(2);
                Sighting::Known { reminder }
            }
        }
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("seen.pairs", &mut self.pairs);
    }

    /// Pairs held.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// True when nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Pairs forgotten at the bound.
    pub fn n_evicted(&self) -> u64 {
        self.pairs.n_evicted()
    }

    /// Bytes held.
    pub fn state_bytes(&self) -> usize {
        self.pairs.table_bytes()
    }
}

fn pair_key(identity: u64, object: u64, write: bool) -> u64 {
    // A 64-bit mix (the finaliser of splitmix64): the inputs are xxh3 hashes already.
    let mut z = identity ^ object.rotate_left(29) ^ (u64::from(write) << 63);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_new_once_and_again_at_its_first_success() {
        let known = |reminder| Sighting::Known { reminder };
        let new = |first| Sighting::New { first };
        let table = [
            ("the first success is new", Outcome::Success, new(true)),
            ("the second is known", Outcome::Success, known(false)),
            ("the third is known", Outcome::Success, known(false)),
            (
                "the fourth reminds the owner",
                Outcome::Success,
                known(true),
            ),
            (
                "a denial of a known object is known",
                Outcome::Denied,
                known(false),
            ),
            (
                "a server error says nothing",
                Outcome::Neither,
                Sighting::Repeat,
            ),
        ];
        let mut seen = SeenFilter::new(1000);
        for (row, outcome, expected) in table {
            assert_eq!(seen.sight(1, 2, false, outcome), expected, "{row}");
        }
        assert_eq!(
            seen.sight(1, 2, true, Outcome::Success),
            new(false),
            "writes apart, but the object is known"
        );
        assert_eq!(
            seen.sight(3, 2, false, Outcome::Denied),
            new(true),
            "a first denial"
        );
        assert_eq!(
            seen.sight(3, 2, false, Outcome::Denied),
            Sighting::Repeat,
            "the same denial"
        );
        assert_eq!(
            seen.sight(3, 2, false, Outcome::Success),
            new(false),
            "denied, then allowed"
        );
    }
}
