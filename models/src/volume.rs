//! Runs of touches, and the limit nobody usual comes near.
//!
//! A *run* is a series of touches of objects that are not the caller's own, each within a gap of the one before: what
//! is loaded in a sitting, an export, an enumeration. A run is *too long* when it is a [`factor`] times the longest
//! the caller has finished before, and as many times what 19 in 20 callers of the collection have ever done. The knob
//! moves the factor, nobody guesses the limit, and no share of a caller's own traffic hides a run. Who loads all of its
//! own things meets next to nothing of others: at least one object in [`OTHERS_ONE_IN`] must be somebody else's, or
//! refused; of a newcomer's run [`NEWCOMERS_OTHERS`] must, as no run is usual for it yet. [`crate::judge`] follows two
//! sorts of runs, all new objects and those that keep to the order of the ids.
//!
//! Each caller counts once among its peers, by its longest run, so that a batch job is one among many. Where a
//! collection has too few callers, those of all collections say what is usual.
//! Source: the idea of record values, whose chance among exchangeable callers falls as one over their number.
//!
//! 28 bytes a run, 64 bytes a collection.

use serde::{Deserialize, Serialize};

/// A run is too long only when one object in so many is another's.
pub const OTHERS_ONE_IN: f64 = 6.0;
/// Share of others' objects from which on a newcomer's run is too long. Jobs and auditors begin with runs, through all
/// there is; who enumerates with a fresh account finds mostly what others use.
pub const NEWCOMERS_OTHERS: f64 = 0.75;
/// How many times what is usual a run must be at a knob of one.
const FACTOR: f64 = 3.0;
/// Tail index assumed of run lengths: the chance of a run falls as its length to this power.
const TAIL: f64 = 8.0;
/// Callers from which on a collection speaks for itself.
const CALLERS_MIN: u32 = 30;
/// Share of the callers whose longest runs are usual.
const USUAL_SHARE: f64 = 0.95;
/// Lengths are told apart by half octaves, up to 46,000 objects.
const BINS: usize = 32;

/// How many times what is usual a run must be, by the knob: ten times fewer false alerts take runs a third longer.
/// The tail is steep because the limit is already beyond 19 in 20 callers, the caller itself among them.
pub fn factor(false_alerts_per_million_events: f64) -> f64 {
    (FACTOR * false_alerts_per_million_events.powf(-1.0 / TAIL)).max(1.0)
}

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

/// One touch of a run.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// False when it ends the run before it, whatever the time between.
    pub goes_on: bool,
    /// Event time, ms.
    pub at_ms: i64,
    /// How much of it is another's, in [0, 1].
    pub others: f64,
    /// True while the caller is in its first sitting of all.
    pub newcomer: bool,
}

/// A limit on runs.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// How many times what is usual a run must be, from [`factor`].
    pub factor: f64,
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
    /// True when it began in the caller's first sitting.
    newcomer: bool,
    n_others: f32,
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
    /// * `judged`: false while too little is known to say what is too long; the run grows all the same.
    pub fn touch(
        &mut self,
        step: Step,
        judged: bool,
        limit: Limit,
        [peers, all]: [&mut RunPeers; 2],
    ) -> bool {
        if self.length.touch(step.goes_on, step.at_ms, limit.gap_ms) {
            self.vote(peers, all);
            self.n_others = 0.0;
        }
        if self.n() == 1 {
            self.newcomer = step.newcomer;
        }
        self.n_others += step.others as f32;
        let least = if self.newcomer {
            NEWCOMERS_OTHERS
        } else {
            1.0 / OTHERS_ONE_IN
        };
        let is_own = f64::from(self.n_others) < f64::from(self.n()) * least;
        if self.told || !judged || self.n() < limit.least || is_own {
            return false;
        }
        let usual = peers.usual().or_else(|| all.usual());
        let too_long = self.too_long_at(limit, usual);
        self.told = too_long.is_some_and(|too_long| too_long <= self.n());
        self.told
    }

    /// Objects from which on the current run is too long, if enough of them are others'; none while nothing is known of
    /// others.
    ///
    /// * `usual`: of the caller's peers, or of all.
    pub fn too_long_at(&self, limit: Limit, usual: Option<f64>) -> Option<u32> {
        let passed = |n: f64| ((limit.factor * n) as u32).saturating_add(1);
        let usual = passed(usual?);
        let for_it = passed(f64::from(self.longest()));
        Some(limit.least.max(usual).max(for_it))
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

    fn limit() -> Limit {
        Limit {
            factor: factor(1.0),
            least: 10,
            gap_ms: 1000,
        }
    }

    fn step(at_ms: i64) -> Step {
        Step {
            goes_on: true,
            at_ms,
            others: 1.0,
            newcomer: false,
        }
    }

    /// What a collection of so many callers, whose runs are of `usual` objects, is like.
    fn peers(callers: usize, usual: u32) -> RunPeers {
        let (mut peers, mut all) = (RunPeers::default(), RunPeers::default());
        for _ in 0..callers {
            let mut runs = Runs::default();
            for _ in 0..usual {
                runs.touch(step(0), false, limit(), [&mut peers, &mut all]);
            }
            runs.touch(step(5000), false, limit(), [&mut peers, &mut all]);
        }
        peers
    }

    /// Touches until a run of `runs` is too long; none in a thousand.
    fn too_long(
        runs: &mut Runs,
        step: Step,
        peers: &mut RunPeers,
        all: &mut RunPeers,
    ) -> Option<u32> {
        (1..=1000).find(|_| runs.touch(step, true, limit(), [peers, all]))
    }

    #[test]
    fn a_run_is_too_long_at_three_times_what_peers_do_and_three_times_what_the_caller_did() {
        let (mut known, mut all) = (peers(100, 8), RunPeers::default());
        let mut runs = Runs::default();
        let told = runs.too_long_at(limit(), known.usual());
        let n = too_long(&mut runs, step(10_000), &mut known, &mut all);
        assert_eq!(n, told, "known before");
        assert!((24..=36).contains(&n.expect("too long")), "{n:?}");
        assert_eq!(
            too_long(&mut runs, step(10_000), &mut known, &mut all),
            None,
            "told once a run"
        );
        let next = too_long(&mut runs, step(20_000), &mut known, &mut all);
        assert_eq!(next, None, "it has done more than a third of that before");
    }

    #[test]
    fn a_run_through_things_of_its_own_is_never_too_long() {
        for (newcomer, others, is_told) in [
            (false, 0.0, false),
            (false, 0.16, false),
            (false, 0.17, true),
            (true, 0.74, false),
            (true, 0.75, true),
        ] {
            let (mut known, mut all) = (peers(100, 8), RunPeers::default());
            let step = Step {
                others,
                newcomer,
                ..step(10_000)
            };
            let n = too_long(&mut Runs::default(), step, &mut known, &mut all);
            let row = format!("{others} of others, newcomer {newcomer}: {n:?}");
            assert_eq!(n.is_some(), is_told, "{row}");
        }
    }

    #[test]
    fn the_knob_moves_the_factor_and_never_below_one() {
        assert!((factor(1.0) - 3.0).abs() < 1e-9);
        assert!((factor(0.1) / factor(1.0) - 4.0 / 3.0).abs() < 0.01);
        assert_eq!(factor(1e9), 1.0);
    }

    #[test]
    fn few_callers_borrow_from_all_and_nobody_is_judged_without_any() {
        let (mut few, mut none) = (peers(5, 8), RunPeers::default());
        assert_eq!(
            too_long(&mut Runs::default(), step(10_000), &mut few, &mut none),
            None
        );
        let mut all = peers(100, 8);
        assert!(too_long(&mut Runs::default(), step(10_000), &mut few, &mut all).is_some());
    }

    #[test]
    fn one_batch_job_among_many_callers_moves_no_limit() {
        let mut known = peers(100, 8);
        let usual = known.usual();
        let mut job = Runs::default();
        for i in 0..50_000 {
            job.touch(
                step(i / 5000 * 5000),
                false,
                limit(),
                [&mut known, &mut RunPeers::default()],
            );
        }
        assert_eq!(known.usual(), usual);
        let mut renewed = Runs::default();
        renewed.inherit(job.longest());
        assert_eq!(
            too_long(&mut renewed, step(0), &mut known, &mut RunPeers::default()),
            None
        );
    }
}
