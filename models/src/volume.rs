//! Runs of touches, and the limit nobody usual comes near.
//!
//! A *run* is a series of touches of objects that are not the caller's own, each within a gap of the one before: what
//! is loaded in a sitting, an export, an enumeration. A run is *too long* when it is [`FACTOR`] times the longest
//! the caller has finished before, and [`FACTOR`] times what 19 in 20 callers of the collection have ever done.
//! Nobody guesses the limit, and no share of a caller's own traffic hides a run: what counts is the length alone.
//! [`crate::judge`] follows two sorts of runs, all new objects and those that keep to the order of the ids.
//!
//! Each caller counts once among its peers, by its longest run, so that a batch job is one among many. Where a
//! collection has too few callers, those of all collections say what is usual.
//! Source: the idea of record values, whose chance among exchangeable callers falls as one over their number.
//!
//! 16 bytes a run, 64 bytes a collection.

use serde::{Deserialize, Serialize};

/// How many times what is usual a run must be.
pub const FACTOR: f64 = 4.0;
/// Callers from which on a collection speaks for itself.
const CALLERS_MIN: u32 = 30;
/// Share of the callers whose longest runs are usual.
const USUAL_SHARE: f64 = 0.95;
/// Lengths are told apart by half octaves, up to 46,000 objects.
const BINS: usize = 32;

fn bin(n: u32) -> u8 {
    let half_octaves = (f64::from(n.max(1)).log2() * 2.0 + 1e-9) as usize;
    half_octaves.min(BINS - 1) as u8
}

/// The longest runs of the callers of one collection, one a caller.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunPeers {
    longest: [u16; BINS],
}

impl RunPeers {
    /// Objects that 19 in 20 callers never passed in a run; none while too few are known.
    pub fn usual(&self) -> Option<f64> {
        let n: u32 = self.longest.iter().map(|n| u32::from(*n)).sum();
        if n < CALLERS_MIN {
            return None;
        }
        let rank = (f64::from(n) * USUAL_SHARE) as u32;
        let mut below = 0;
        let at = self.longest.iter().position(|n| {
            below += u32::from(*n);
            rank <= below
        })?;
        Some(2_f64.powf((at + 1) as f64 / 2.0))
    }

    fn replace(&mut self, old: Option<u8>, new: u8) {
        if let Some(old) = old {
            let n = &mut self.longest[usize::from(old)];
            *n = n.saturating_sub(1);
        }
        let n = &mut self.longest[usize::from(new)];
        *n = n.saturating_add(1);
    }
}

/// A limit on runs.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Objects below which no run is too long, however short the others are.
    pub least: u32,
    /// Event time between two touches that ends a run, in milliseconds.
    pub gap_ms: i64,
}

/// How long a caller's runs are: the current one, and the longest that has ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Length {
    n: u32,
    ended: u32,
    last_ms: i64,
}

impl Length {
    /// Notes one touch; true when the run before it has ended.
    ///
    /// * `goes_on`: false when it ends that run whatever the time between.
    pub fn touch(&mut self, goes_on: bool, at_ms: i64, gap_ms: i64) -> bool {
        let has_ended = self.n != 0 && (!goes_on || gap_ms < at_ms - self.last_ms);
        if has_ended {
            self.ended = self.longest();
            self.n = 0;
        }
        self.last_ms = self.last_ms.max(at_ms);
        self.n = self.n.saturating_add(1);
        has_ended
    }

    /// Objects of the longest run, the current one among them.
    pub fn longest(&self) -> u32 {
        self.ended.max(self.n)
    }
}

/// The runs of one caller in one collection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Runs {
    length: Length,
    vote: Option<u8>,
    told: bool,
}

impl Runs {
    /// Objects in the current run.
    pub fn n(&self) -> u32 {
        self.length.n
    }

    /// Objects of the longest run that has ended.
    pub fn longest(&self) -> u32 {
        self.length.ended
    }

    /// The caller did as much before, under another name: a run of `n` is usual for it.
    pub fn inherit(&mut self, n: u32) {
        self.length.ended = self.length.ended.max(n);
    }

    /// Notes one touch; true on the one that makes the run too long, once a run.
    ///
    /// * `goes_on`: as for [`Length::touch`].
    /// * `judged`: false while too little is known to say what is too long; the run grows all the same.
    pub fn touch(
        &mut self,
        goes_on: bool,
        at_ms: i64,
        judged: bool,
        limit: Limit,
        [peers, all]: [&mut RunPeers; 2],
    ) -> bool {
        if self.length.touch(goes_on, at_ms, limit.gap_ms) {
            self.vote(peers, all);
        }
        let n = f64::from(self.n());
        let usual_for_it = FACTOR * f64::from(self.longest());
        if self.told || !judged || self.n() < limit.least || n <= usual_for_it {
            return false;
        }
        let usual = peers.usual().or_else(|| all.usual());
        let too_long = self.too_long_at(limit.least, usual);
        self.told = too_long.is_some_and(|too_long| too_long <= self.n());
        self.told
    }

    /// Objects from which on the current run is too long; none while nothing is known of others.
    ///
    /// * `least`: as in [`Limit`]. `usual`: of the caller's peers, or of all.
    pub fn too_long_at(&self, least: u32, usual: Option<f64>) -> Option<u32> {
        let passed = |n: f64| ((FACTOR * n) as u32).saturating_add(1);
        let usual = passed(usual?);
        Some(least.max(usual).max(passed(f64::from(self.longest()))))
    }

    /// A run has ended: what it says of the caller to its peers.
    fn vote(&mut self, peers: &mut RunPeers, all: &mut RunPeers) {
        self.told = false;
        let longest = bin(self.longest());
        if self.vote != Some(longest) {
            peers.replace(self.vote, longest);
            all.replace(self.vote, longest);
            self.vote = Some(longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        least: 10,
        gap_ms: 1000,
    };

    /// What a collection of so many callers, whose runs are of `usual` objects, is like.
    fn peers(callers: usize, usual: u32) -> RunPeers {
        let (mut peers, mut all) = (RunPeers::default(), RunPeers::default());
        for _ in 0..callers {
            let mut runs = Runs::default();
            for _ in 0..usual {
                runs.touch(true, 0, false, LIMIT, [&mut peers, &mut all]);
            }
            runs.touch(true, 5000, false, LIMIT, [&mut peers, &mut all]);
        }
        peers
    }

    /// Touches until a run of `runs` is too long; none in a thousand.
    fn too_long(
        runs: &mut Runs,
        from_ms: i64,
        peers: &mut RunPeers,
        all: &mut RunPeers,
    ) -> Option<u32> {
        (1..=1000).find(|_| runs.touch(true, from_ms, true, LIMIT, [peers, all]))
    }

    #[test]
    fn a_run_is_too_long_at_four_times_what_peers_do_and_four_times_what_the_caller_did() {
        let (mut known, mut all) = (peers(100, 8), RunPeers::default());
        let mut runs = Runs::default();
        let told = runs.too_long_at(LIMIT.least, known.usual());
        let n = too_long(&mut runs, 10_000, &mut known, &mut all);
        assert_eq!(n, told, "known before");
        assert!((32..=48).contains(&n.expect("too long")), "{n:?}");
        assert_eq!(
            too_long(&mut runs, 10_000, &mut known, &mut all),
            None,
            "told once a run"
        );
        let next = too_long(&mut runs, 20_000, &mut known, &mut all);
        assert_eq!(next, None, "it has done more than a quarter of that before");
    }

    #[test]
    fn few_callers_borrow_from_all_and_nobody_is_judged_without_any() {
        let (mut few, mut none) = (peers(5, 8), RunPeers::default());
        assert_eq!(
            too_long(&mut Runs::default(), 10_000, &mut few, &mut none),
            None
        );
        let mut all = peers(100, 8);
        assert!(too_long(&mut Runs::default(), 10_000, &mut few, &mut all).is_some());
    }

    #[test]
    fn one_batch_job_among_many_callers_moves_no_limit() {
        let mut known = peers(100, 8);
        let usual = known.usual();
        let mut job = Runs::default();
        for i in 0..50_000 {
            job.touch(
                true,
                i / 5000 * 5000,
                false,
                LIMIT,
                [&mut known, &mut RunPeers::default()],
            );
        }
        assert_eq!(known.usual(), usual);
        let mut renewed = Runs::default();
        renewed.inherit(job.longest());
        assert_eq!(
            too_long(&mut renewed, 0, &mut known, &mut RunPeers::default()),
            None
        );
    }
}
