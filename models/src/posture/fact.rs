//! What one call says, as bits; what many calls say, as counts of them.

use serde::{Deserialize, Serialize};

use super::check::{CHECKS_MAX, Scope};
use super::list::CHECKS;

/// What one call says: for each check whether it could have shown the fault and whether it did, and some [`Context`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u128);

/// Bits of a [`Facts`].
pub const FACTS: usize = 128;

/// The bits of faults: the odd ones below those of the contexts.
const BAD: u128 = ((u128::MAX / 3) << 1) & ((1 << (2 * CHECKS_MAX)) - 1);

/// What a call says beside the checks; guards compare these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Answered with 2xx, and neither preflight, `HEAD` nor a route meant for everybody.
    Success = 0,
    /// Of these, with a credential.
    AuthenticatedSuccess,
    /// Of these, with a client certificate.
    CertificateSuccess,
    /// A write whose body has a type.
    TypedWrite,
    /// Of these, JSON.
    JsonWrite,
    /// Answered with 2xx and a type.
    TypedAnswer,
    /// Of these, JSON.
    JsonAnswer,
    /// Answered with 500.
    Failed,
    /// Answered at all.
    Answered,
    /// Any origin, or `null`, was let in with credentials.
    AnyOrigin,
    /// A strange origin was reflected with credentials; the origin's hash names one of eight such bits.
    Reflected,
    /// A redirect went to another owner's host that a parameter named; the host's hash names one of eight such bits.
    Redirected = Context::Reflected as isize + ORIGIN_BUCKETS as isize,
}

/// Bits that origins are sorted into, and hosts of redirects: as many of them are set, at least as many there were.
pub const ORIGIN_BUCKETS: usize = 8;

impl Facts {
    /// Bit of the calls that could have shown check `number` (from 1).
    pub const fn eligible(number: u8) -> u8 {
        2 * (number - 1)
    }

    /// Bit of the calls that showed it.
    pub const fn bad(number: u8) -> u8 {
        Facts::eligible(number) + 1
    }

    /// Bit of a context.
    pub const fn context(context: Context) -> u8 {
        (2 * CHECKS_MAX) as u8 + context as u8
    }

    pub(super) fn set(&mut self, bit: u8) {
        self.0 |= 1 << bit;
    }

    /// Notes that a call could have shown a check, and whether it did.
    #[inline(always)]
    pub(crate) fn judge(&mut self, number: u8, eligible: bool, bad: bool) {
        self.0 |= u128::from(eligible) << Facts::eligible(number);
        self.0 |= u128::from(eligible && bad) << Facts::bad(number);
    }

    #[inline(always)]
    pub(super) fn note(&mut self, context: Context, holds: bool) {
        self.0 |= u128::from(holds) << Facts::context(context);
    }

    /// True when the bit is set.
    pub fn has(self, bit: u8) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// True when a call showed a fault.
    pub fn is_bad(self) -> bool {
        self.0 & BAD != 0
    }

    /// Numbers of the checks whose fault a call showed, ascending.
    pub(super) fn faults(self) -> impl Iterator<Item = u8> {
        Facts(self.0 & BAD).iter().map(|bit| bit / 2 + 1)
    }

    /// Those of the checks that are about `scope`.
    pub fn of_scope(self, scope: Scope) -> Facts {
        const SOURCE: u128 = mask(Scope::Source);
        const IDENTITY: u128 = mask(Scope::Identity);
        match scope {
            Scope::Source => Facts(self.0 & SOURCE),
            Scope::Identity => Facts(self.0 & IDENTITY),
            Scope::Endpoint | Scope::Host => self,
        }
    }

    /// The bits.
    pub fn bits(self) -> u128 {
        self.0
    }

    /// The bits set, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as u8)?;
            rest &= rest - 1;
            Some(bit)
        })
    }
}

/// The bits of the checks of a scope.
const fn mask(scope: Scope) -> u128 {
    let (mut mask, mut at) = (0, 0);
    while at < CHECKS_MAX {
        if CHECKS[at].scope as u8 == scope as u8 {
            mask |= 3 << Facts::eligible(at as u8 + 1);
        }
        at += 1;
    }
    mask
}

const _: () = assert!(
    Facts::context(Context::Redirected) as usize + ORIGIN_BUCKETS <= FACTS,
    "the bits suffice"
);

/// How often each bit was set. Sums of these are sums of their calls, in any order.
///
/// 8 bytes for each bit that was ever set, and 16: 1 KiB at most, some 200 bytes for an ordinary endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u8, u64)>", into = "Vec<(u8, u64)>")]
pub struct Counts {
    /// The bits that were ever set; their counts lie in the order of the bits.
    bits: Facts,
    counts: Vec<u64>,
}

impl From<Vec<(u8, u64)>> for Counts {
    fn from(pairs: Vec<(u8, u64)>) -> Counts {
        Counts::from_pairs(pairs.into_iter())
    }
}

impl From<Counts> for Vec<(u8, u64)> {
    fn from(counts: Counts) -> Vec<(u8, u64)> {
        counts.iter().collect()
    }
}

/// Calls that could have shown a fault, and those that did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Calls that showed it.
    pub bad: u64,
    /// Calls that could have, these included.
    pub of: u64,
}

impl Tally {
    /// What was counted since `before`, an earlier state of the same count.
    pub fn since(self, before: Tally) -> Tally {
        Tally {
            bad: self.bad.saturating_sub(before.bad),
            of: self.of.saturating_sub(before.of),
        }
    }
}

impl Counts {
    /// Counts one call.
    pub fn add(&mut self, facts: Facts) {
        if facts.0 & !self.bits.0 != 0 {
            self.make_room(facts);
        }
        if facts == self.bits {
            // The calls of an endpoint are much alike.
            self.counts
                .iter_mut()
                .for_each(|n| *n = n.saturating_add(1));
            return;
        }
        for bit in facts.iter() {
            let at = self.place(bit);
            self.counts[at] = self.counts[at].saturating_add(1);
        }
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Counts) {
        self.make_room(other.bits);
        for (bit, n) in other.iter() {
            let at = self.place(bit);
            self.counts[at] = self.counts[at].saturating_add(n);
        }
    }

    /// How often the bit was set.
    pub fn get(&self, bit: u8) -> u64 {
        if self.bits.has(bit) {
            self.counts[self.place(bit)]
        } else {
            0
        }
    }

    /// What was counted for check `number`.
    pub fn tally(&self, number: u8) -> Tally {
        Tally {
            bad: self.get(Facts::bad(number)),
            of: self.get(Facts::eligible(number)),
        }
    }

    /// The bits that were set, ascending, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (u8, u64)> {
        self.bits.iter().zip(self.counts.iter().copied())
    }

    /// Counts read back from what [`iter`](Counts::iter) gave; bits beyond [`FACTS`] are dropped, equal ones added.
    pub fn from_pairs(pairs: impl Iterator<Item = (u8, u64)>) -> Counts {
        let mut counts = Counts::default();
        for (bit, n) in pairs.filter(|(bit, n)| usize::from(*bit) < FACTS && *n != 0) {
            counts.make_room(Facts(1 << bit));
            let at = counts.place(bit);
            counts.counts[at] = counts.counts[at].saturating_add(n);
        }
        counts
    }

    /// Where the count of a bit lies.
    fn place(&self, bit: u8) -> usize {
        (self.bits.0 & ((1 << bit) - 1)).count_ones() as usize
    }

    fn make_room(&mut self, facts: Facts) {
        for bit in Facts(facts.0 & !self.bits.0).iter() {
            let at = self.place(bit);
            self.counts.insert(at, 0);
            self.bits.set(bit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(calls: &[u128]) -> Counts {
        let mut counts = Counts::default();
        calls.iter().for_each(|bits| counts.add(Facts(*bits)));
        counts
    }

    #[test]
    fn bits_of_checks_and_contexts_never_meet() {
        let mut facts = Facts::default();
        facts.judge(47, true, true);
        assert!(facts.is_bad());
        assert!((0..11).all(|at| !facts.has((2 * CHECKS_MAX) as u8 + at)));
        let mut context = Facts::default();
        context.note(Context::Success, true);
        context.note(Context::Reflected, true);
        context.note(Context::Redirected, true);
        context.judge(1, true, false);
        assert!(!context.is_bad());
    }

    #[test]
    fn facts_of_a_scope_are_those_of_its_checks() {
        let all = Facts(u128::MAX);
        let numbers = |scope| -> Vec<u8> {
            let facts = all.of_scope(scope);
            let has = |n: &u8| facts.has(Facts::eligible(*n)) && facts.has(Facts::bad(*n));
            (1..=CHECKS_MAX as u8).filter(has).collect()
        };
        assert_eq!(numbers(Scope::Source), [35, 47]);
        assert_eq!(numbers(Scope::Identity), [11, 37]);
        assert!(
            !all.of_scope(Scope::Source)
                .has(Facts::context(Context::Success))
        );
    }

    proptest! {
        #[test]
        fn merging_is_counting_in_any_order(a in prop::collection::vec(any::<u128>(), 0..9), b in prop::collection::vec(any::<u128>(), 0..9), c in prop::collection::vec(any::<u128>(), 0..9)) {
            let all = counted(&[a.clone(), b.clone(), c.clone()].concat());
            let (a, b, c) = (counted(&a), counted(&b), counted(&c));
            let mut left = a.clone();
            left.merge(&b);
            left.merge(&c);
            let mut right = c;
            right.merge(&b);
            right.merge(&a);
            prop_assert_eq!(&left, &all);
            prop_assert_eq!(&right, &all);
            prop_assert_eq!(&Counts::from_pairs(all.iter()), &all);
        }
    }
}
