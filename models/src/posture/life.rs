//! The life of a finding: candidate, open, stale, resolved, regressed.
//!
//! Comes in: a check's counts, merged, at an event time. Goes out: the next state and what changed.
//!
//! * **Candidate** from the first call that shows the fault; **open** when the check's test holds over the calls since.
//! * **Still seen** is told once a day, and at tenfold growth at once.
//! * **Stale** when no call could have shown it for a week: nobody asked, so nothing is known.
//! * **Resolved** by contrary evidence alone: so many calls in a row that could have shown it and did not. By the rule of
//!   three, none in n puts the rate below 3/n. Asked after each of s sightings anew, that would be passed by luck
//!   sooner or later, so it is (3 + 2 ln s)/p, which a fault that is still there passes with probability
//!   e^-3 pi^2/6 = 8 % in all its life, however long; more while few have been seen, as p is then unknown. At least 20 calls, and
//!   twice the longest pause so far. What is opened by one call may be taken for mended once before its pauses are known.
//! * **Regressed** when the test holds again, over calls since it was resolved. Each time twice as much is asked for to
//!   resolve it, and what was learnt of its pauses stays, so it does not flap.
//!
//! **Invariant**: the next state is a function of state, counts and event time. Equal input again changes nothing. What the
//! counts were merged from, and in which order, can't be seen; who wants the same states whatever the batches evaluates at
//! fixed event times. Time that goes back is taken as standing still, and counts that do start anew as nothing happened.

use serde::{Deserialize, Serialize};

use super::check::Check;
use super::evaluate::{Standing, is_finding, wilson};
use super::fact::Tally;

/// Event time without a call that could have shown the fault after which nothing is known of it: a week, in milliseconds.
pub const STALE_MS: i64 = 7 * DAY_MS;
/// Contrary calls asked for, at least.
const CONTRARY_MIN: u64 = 20;
/// Calls after which the window of a rate begins anew, so that what is told is of late.
const WINDOW_CALLS_MAX: u64 = 100_000;
const DAY_MS: i64 = 86_400_000;
/// Times that what is asked for is doubled: a thousandfold.
const DOUBLINGS_MAX: u32 = 10;
/// A pause teaches at most so many times what was asked for: one of a year, in which it was mended, says nothing of its pauses.
const PAUSE_FACTOR_MAX: u64 = 10;
/// Growth that is told at once.
const GROWTH: u64 = 10;

/// Where a finding stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing was shown.
    #[default]
    Quiet,
    /// Something was, not enough.
    Candidate,
    /// A finding.
    Open,
    /// A finding nobody could have seen for a week.
    Stale,
    /// Shown to be gone.
    Resolved,
}

impl Phase {
    /// The name in findings and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Quiet => "quiet",
            Phase::Candidate => "candidate",
            Phase::Open => "open",
            Phase::Stale => "stale",
            Phase::Resolved => "resolved",
        }
    }
}

/// What changed, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A finding, for the first time.
    Opened,
    /// Ten times as many as when it was last told.
    Grew,
    /// Seen again today: for the day's digest.
    StillSeen,
    /// Not to be judged any more.
    Stale,
    /// Gone, by contrary evidence.
    Resolved,
    /// Back.
    Regressed,
}

impl Change {
    /// The name in findings and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Opened => "opened",
            Change::Grew => "grew",
            Change::StillSeen => "still_seen",
            Change::Stale => "stale",
            Change::Resolved => "resolved",
            Change::Regressed => "regressed",
        }
    }
}

/// One finding's state; 150 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Where it stands.
    pub phase: Phase,
    /// Event time of the first evaluation that showed it, ms; 0 before.
    pub first_ms: i64,
    /// Event time of the last one, ms.
    pub last_ms: i64,
    /// Event time since which it is a finding, or none any more, ms: that nobody asked for a while changes neither.
    pub changed_ms: i64,
    /// Times it came back.
    pub n_regressed: u32,
    /// Calls that showed it, all its life.
    pub n_bad: u64,
    /// Counts when the window began.
    base: Tally,
    /// Calls that did not show it before the first that did.
    clean_before: u64,
    /// Counts at the last evaluation.
    seen: Tally,
    /// Calls since the last that showed it, that could have.
    pause: u64,
    /// The longest such pause that ended.
    pause_max: u64,
    /// Evaluations that showed it.
    n_sightings: u64,
    /// Event time of the last evaluation with a call that could have shown it, ms.
    asked_ms: i64,
    /// `n_bad` when it was last told.
    told_bad: u64,
    /// Day of the last digest.
    told_day: i64,
}

impl Life {
    /// A life before anything was shown, of a check for which so many calls were counted.
    pub(super) fn after(clean: Tally) -> Life {
        Life {
            base: clean,
            seen: clean,
            pause: clean.of,
            ..Life::default()
        }
    }

    /// Calls of the window: the rate that is told.
    pub fn window(&self) -> Tally {
        self.seen.since(self.base)
    }

    /// The 95 % interval of the rate.
    pub fn rate(&self) -> (f64, f64) {
        wilson(self.window())
    }

    /// Calls that could have shown it and did not, in a row until now, and how many are asked for to resolve it.
    pub fn contrary(&self) -> (u64, u64) {
        (self.pause, self.contrary_needed())
    }

    fn contrary_needed(&self) -> u64 {
        let window = self.window();
        // The rate until the last that showed it: the calls since are what is asked about.
        let shown_in = window.of.saturating_sub(self.pause).max(window.bad).max(1);
        // P(no k+1st in m calls) after k in n, the rate unknown: (n / (n + m))^k. Near (3 + 2 ln s) n / k for many.
        let chances = 3.0 + 2.0 * (self.n_sightings.max(1) as f64).ln();
        let by_rate = shown_in as f64 * (chances / window.bad.max(1) as f64).exp_m1();
        let by_rate = by_rate.ceil() as u64;
        let once = CONTRARY_MIN
            .max(by_rate)
            .max(self.pause_max.saturating_mul(2));
        once.saturating_mul(1 << self.n_regressed.min(DOUBLINGS_MAX))
    }

    /// Takes in what was counted so far; says what changed.
    ///
    /// A check that calls don't decide never leaves [`Phase::Quiet`].
    pub fn observe(&mut self, check: &Check, standing: &Standing<'_>) -> Option<Change> {
        let test = check.test()?;
        let now = standing.counts.tally(check.number);
        let at_ms = standing.at_ms.max(self.asked_ms).max(self.changed_ms);
        if now.of < self.seen.of || now.bad < self.seen.bad {
            // Whoever counted forgot: go on from there.
            let window = self.window();
            self.seen = now;
            self.base = Tally {
                bad: now.bad.saturating_sub(window.bad),
                of: now.of.saturating_sub(window.of),
            };
        }
        let fresh = now.since(self.seen);
        if fresh.of != 0 {
            self.take_in(now, fresh, at_ms);
        }
        let is_after = test.clean_before_min != 0;
        self.step(fresh.bad != 0, is_after, at_ms, |life| {
            is_finding(check, test, life.window(), life.clean_before, standing)
        })
    }

    fn take_in(&mut self, now: Tally, fresh: Tally, at_ms: i64) {
        self.asked_ms = at_ms;
        if fresh.bad == 0 {
            self.pause = self.pause.saturating_add(fresh.of);
            self.seen = now;
            if matches!(self.phase, Phase::Quiet | Phase::Resolved) {
                // A window begins with the evaluation that shows something.
                self.base = now;
            }
            return;
        }
        if matches!(self.phase, Phase::Quiet | Phase::Resolved) {
            self.clean_before = self.pause;
        }
        if self.n_sightings == 0 {
            self.first_ms = at_ms;
        } else {
            let taught = PAUSE_FACTOR_MAX.saturating_mul(self.contrary_needed());
            self.pause_max = self.pause_max.max(self.pause.min(taught));
        }
        (self.pause, self.last_ms) = (0, at_ms);
        self.n_sightings = self.n_sightings.saturating_add(1);
        self.n_bad = self.n_bad.saturating_add(fresh.bad);
        if WINDOW_CALLS_MAX <= self.seen.since(self.base).of {
            self.base = self.seen;
        }
        self.seen = now;
    }

    /// * `is_after`: it is a finding for what was before. Then calls that do not show it say nothing against a candidate: whoever
    ///   has a credential goes on to show it.
    fn step(
        &mut self,
        shown: bool,
        is_after: bool,
        at_ms: i64,
        is_finding: impl Fn(&Life) -> bool,
    ) -> Option<Change> {
        let was_open = self.told_bad != 0;
        match self.phase {
            Phase::Quiet | Phase::Resolved | Phase::Candidate => {
                if shown && self.phase != Phase::Candidate {
                    self.enter(Phase::Candidate, at_ms);
                }
                if self.window().bad != 0 && is_finding(self) {
                    self.n_regressed += u32::from(was_open);
                    self.enter(Phase::Open, at_ms);
                    self.tell(at_ms);
                    return Some(if was_open {
                        Change::Regressed
                    } else {
                        Change::Opened
                    });
                }
                if self.phase == Phase::Candidate && !is_after && self.is_refuted() {
                    let back = if was_open {
                        Phase::Resolved
                    } else {
                        Phase::Quiet
                    };
                    self.enter(back, at_ms);
                    self.base = self.seen;
                }
                None
            }
            Phase::Open | Phase::Stale if shown => {
                self.phase = Phase::Open;
                self.told_again(at_ms)
            }
            Phase::Open | Phase::Stale if self.is_refuted() => {
                self.enter(Phase::Resolved, at_ms);
                self.base = self.seen;
                Some(Change::Resolved)
            }
            Phase::Open if STALE_MS <= at_ms.saturating_sub(self.asked_ms.max(self.changed_ms)) => {
                self.phase = Phase::Stale;
                Some(Change::Stale)
            }
            Phase::Open | Phase::Stale => None,
        }
    }

    fn is_refuted(&self) -> bool {
        self.contrary_needed() <= self.pause
    }

    fn told_again(&mut self, at_ms: i64) -> Option<Change> {
        let grew = self.told_bad.saturating_mul(GROWTH) <= self.n_bad;
        let new_day = self.told_day < at_ms.div_euclid(DAY_MS);
        if grew {
            self.tell(at_ms);
            return Some(Change::Grew);
        }
        new_day.then(|| {
            self.told_day = at_ms.div_euclid(DAY_MS);
            Change::StillSeen
        })
    }

    fn tell(&mut self, at_ms: i64) {
        (self.told_bad, self.told_day) = (self.n_bad, at_ms.div_euclid(DAY_MS));
    }

    fn enter(&mut self, phase: Phase, at_ms: i64) {
        (self.phase, self.changed_ms) = (phase, at_ms);
    }

    /// Makes one life of two, of one fault whose calls were counted apart: the counts have to be added as well.
    pub fn absorb(&mut self, other: &Life) {
        let earliest = |a: i64, b: i64| if a == 0 || (b != 0 && b < a) { b } else { a };
        let sum = |a: Tally, b: Tally| Tally {
            bad: a.bad.saturating_add(b.bad),
            of: a.of.saturating_add(b.of),
        };
        self.pause = match (self.n_sightings, other.n_sightings) {
            (0, 0) => self.pause.saturating_add(other.pause),
            (0, _) => other.pause,
            (_, 0) => self.pause,
            // Whichever showed it last says how long it has not.
            _ => self.pause.min(other.pause),
        };
        self.phase = [Phase::Open, Phase::Stale, Phase::Candidate, Phase::Resolved]
            .into_iter()
            .find(|phase| [self.phase, other.phase].contains(phase))
            .unwrap_or_default();
        self.first_ms = earliest(self.first_ms, other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.changed_ms = self.changed_ms.max(other.changed_ms);
        self.n_regressed = self.n_regressed.max(other.n_regressed);
        self.n_bad = self.n_bad.saturating_add(other.n_bad);
        self.base = sum(self.base, other.base);
        self.seen = sum(self.seen, other.seen);
        self.clean_before = self.clean_before.max(other.clean_before);
        self.pause_max = self.pause_max.max(other.pause_max);
        self.n_sightings = self.n_sightings.saturating_add(other.n_sightings);
        self.asked_ms = self.asked_ms.max(other.asked_ms);
        self.told_bad = self.told_bad.saturating_add(other.told_bad);
        self.told_day = self.told_day.max(other.told_day);
    }
}
