//! Which tokens are one caller's: a new one goes on where the device's last one ended.
//!
//! Where nothing but a token names the caller, every renewal makes a new identity, and what is usual for it, whom it
//! shares with and the evidence against it would begin anew. So tokens are put in *lines*. A token's *home* is the
//! address and user agent of its first call. A token whose home had another one within two days takes its place:
//! the two are one line, known by its first token, the *root*, and all that [`crate::judge`] keeps is kept by root.
//! Nothing is moved, and the evidence stays: a new token makes nobody innocent.
//!
//! Two that call at once behind one home are two callers. When a token speaks after another took its place, the line
//! stays its own, the other begins anew, and its home links nobody until it was silent for two days: an office behind one
//! address. So what a stranger can get of another's habits ends when that other calls, and the price of a wrong link is
//! a mix of two callers until then.
//!
//! Comes in: each judged touch of a caller that may come back under another name. Goes out: its root, and what it is to
//! its line. 40 bytes a token, 48 a home and 16 a pair of line and object, with table slack; beyond
//! their bounds the least recently used are forgotten: a token forgotten is a line of its own.

use serde::{Deserialize, Serialize};

use crate::generations::Generations;
use crate::judge::SITTING_GAP_MS;
use crate::seen::{Outcome, SeenFilter, Sighting};
use crate::walk::Walk;

/// Event time after which nobody takes the place of a home's last token, in milliseconds.
const FORGET_MS: i64 = 48 * 3_600_000;
/// Event time for which a token may still be used after the next one: calls under way, clocks apart. In milliseconds.
const OVERLAP_MS: i64 = 60_000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Token {
    /// The first token of its line; 0 in a token never seen.
    root: u64,
    /// Event time of the line's latest touch, ms; of a root.
    last_ms: i64,
    /// True while the line is in its first sitting; of a root.
    newcomer: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Home {
    /// The latest token; 0 before any.
    token: u64,
    /// Event time of its first touch, and of the home's latest, ms.
    first_ms: i64,
    last_ms: i64,
    shared: bool,
}

/// What a touch is to the line of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first token of the line.
    pub root: u64,
    /// True while the line is in its first sitting.
    pub newcomer: bool,
    /// True when the line has met the object before, under whatever token.
    pub known: bool,
}

/// One touch as its line takes it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Hash of the identity.
    pub identity: u64,
    /// Hash of the address and user agent of its first call.
    pub home: u64,
    /// Event time, ms.
    pub at_ms: i64,
    /// Hash of the object.
    pub object: u64,
    /// True for a write.
    pub write: bool,
    /// True when it was refused or not found.
    pub denied: bool,
    /// True while the identity is in its first sitting.
    pub newcomer: bool,
}

/// The lines of one lane.
#[derive(Debug)]
pub struct Lineage {
    tokens: Generations<u64, Token>,
    homes: Generations<u64, Home>,
    seen: SeenFilter,
}

impl Lineage {
    /// Bytes a token takes at most, with its home.
    pub const TOKEN_BYTES: usize =
        Generations::<u64, Token>::ENTRY_BYTES + Generations::<u64, Home>::ENTRY_BYTES;

    /// Lines of at most `tokens_max` tokens and `pairs_max` pairs of line and object.
    pub fn new(tokens_max: usize, pairs_max: usize) -> Self {
        Self {
            tokens: Generations::new(tokens_max),
            homes: Generations::new(tokens_max),
            seen: SeenFilter::new(pairs_max),
        }
    }

    /// The first token of the line of `identity`: itself, when nothing else is known.
    pub fn root(&self, identity: u64) -> u64 {
        self.tokens
            .get(&identity)
            .map_or(identity, |token| token.root)
    }

    /// Notes one touch.
    pub fn touch(&mut self, call: &Call) -> Place {
        let root = self.line(call);
        let line = self.tokens.entry(root);
        let is_first = line.root == 0;
        // A root that was forgotten while its line goes on begins again.
        line.root = root;
        line.newcomer = call.newcomer
            && (is_first
                || root == call.identity
                || line.newcomer && call.at_ms - line.last_ms <= SITTING_GAP_MS);
        line.last_ms = line.last_ms.max(call.at_ms);
        let newcomer = line.newcomer;
        let outcome = if call.denied {
            Outcome::Denied
        } else {
            Outcome::Success
        };
        let sighting = self.seen.sight(root, call.object, call.write, outcome);
        Place {
            root,
            newcomer,
            known: !matches!(sighting, Sighting::New { .. }),
        }
    }

    /// The line a token belongs to, a new one's among them.
    fn line(&mut self, call: &Call) -> u64 {
        let (identity, at_ms) = (call.identity, call.at_ms);
        let known = self.tokens.get(&identity).map(|token| token.root);
        let home = self.homes.entry(call.home);
        if FORGET_MS < at_ms - home.last_ms {
            *home = Home::default();
        }
        home.last_ms = home.last_ms.max(at_ms);
        let Home {
            token, first_ms, ..
        } = *home;
        if known.is_none() || token == 0 {
            (home.token, home.first_ms) = (identity, at_ms);
        }
        let is_second = token != 0 && token != identity && !home.shared;
        if let Some(root) = known {
            if is_second && first_ms + OVERLAP_MS < at_ms {
                home.shared = true;
                self.tokens.entry(token).root = token;
            }
            return root;
        }
        let root = if is_second {
            self.root(token)
        } else {
            identity
        };
        self.tokens.entry(identity).root = root;
        root
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("lineage.tokens", &mut self.tokens);
        walk.table("lineage.homes", &mut self.homes);
        self.seen.walk(walk);
    }

    /// Tokens, homes and pairs held.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.homes.len() + self.seen.len()
    }

    /// True when no token was seen.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Bytes held.
    pub fn state_bytes(&self) -> usize {
        self.tokens.table_bytes() + self.homes.table_bytes() + self.seen.state_bytes()
    }

    /// Tokens, homes and pairs forgotten at the bounds.
    pub fn n_evicted(&self) -> u64 {
        self.tokens.n_evicted() + self.homes.n_evicted() + self.seen.n_evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    /// A token's touch of an object of its number, at home 9.
    fn call(identity: u64, at_ms: i64) -> Call {
        Call {
            identity,
            home: 9,
            at_ms,
            object: identity,
            write: false,
            denied: false,
            newcomer: true,
        }
    }

    fn roots(calls: &[(u64, i64)]) -> Vec<u64> {
        let mut lineage = Lineage::new(100, 100);
        let calls = calls.iter();
        calls
            .map(|&(identity, at_ms)| lineage.touch(&call(identity, at_ms)).root)
            .collect()
    }

    #[test]
    fn a_new_token_takes_the_place_of_the_last_one_of_its_home() {
        for (row, calls, expected) in [
            (
                "three tokens, one line",
                vec![(1, 0), (2, 2 * HOUR_MS), (3, 30 * HOUR_MS)],
                vec![1, 1, 1],
            ),
            (
                "two days later nobody knows",
                vec![(1, 0), (2, 49 * HOUR_MS)],
                vec![1, 2],
            ),
            (
                "calls that were under way",
                vec![(1, 0), (2, HOUR_MS), (1, HOUR_MS + 5000), (2, 2 * HOUR_MS)],
                vec![1, 1, 1, 1],
            ),
            (
                "a row that comes late",
                vec![(2, HOUR_MS), (3, 2 * HOUR_MS), (2, HOUR_MS + 5)],
                vec![2, 2, 2],
            ),
            (
                "two callers at once: each its own, and no line from there on",
                vec![
                    (1, 0),
                    (2, HOUR_MS),
                    (1, 2 * HOUR_MS),
                    (2, 2 * HOUR_MS),
                    (3, 3 * HOUR_MS),
                ],
                vec![1, 1, 1, 2, 3],
            ),
        ] {
            assert_eq!(roots(&calls), expected, "{row}");
        }
    }

    #[test]
    fn a_line_knows_what_each_of_its_tokens_met_and_is_a_newcomer_once() {
        let mut lineage = Lineage::new(100, 100);
        let first = lineage.touch(&call(1, 0));
        assert!(first.newcomer && !first.known);
        let again = |identity, at_ms| Call {
            object: 1,
            ..call(identity, at_ms)
        };
        let in_its_sitting = lineage.touch(&again(2, HOUR_MS));
        assert!(in_its_sitting.newcomer && in_its_sitting.known);
        let next_day = lineage.touch(&again(3, 20 * HOUR_MS));
        assert!(!next_day.newcomer && next_day.known);
        let elsewhere = lineage.touch(&Call {
            home: 8,
            ..again(4, 20 * HOUR_MS)
        });
        assert!(elsewhere.newcomer && !elsewhere.known && elsewhere.root == 4);
    }

    #[test]
    fn lines_are_bounded() {
        let mut lineage = Lineage::new(100, 100);
        for identity in 1..10_000 {
            lineage.touch(&Call {
                home: identity,
                ..call(identity, identity as i64)
            });
        }
        assert!(lineage.len() <= 600, "{}", lineage.len());
        assert!(0 < lineage.n_evicted());
    }
}
