//! The pace of one identity, as a hint that a program acts: hours of the day, and how even its gaps are.
//!
//! Comes in: event times of one identity's calls, as its lane meets them. 88 bytes. A batch job and a monitor keep such a
//! pace as well: it is no sign of an agent by itself, only of no person.

use serde::{Deserialize, Serialize};

const HOUR_MS: i64 = 3_600_000;
/// Hours of a day in which somebody who sleeps does not act.
const AWAKE_HOURS_MAX: u32 = 20;
/// Days in a row that must have been so.
const DAYS_MIN: u32 = 2;
/// Gaps that must be known before their evenness says something.
const GAPS_MIN: u32 = 64;
/// Share of gaps in one octave from which they are even.
const EVEN_SHARE: f64 = 0.95;
/// Gaps beyond are between sittings and left out.
const GAP_MS_MAX: i64 = HOUR_MS;
const OCTAVES: usize = 22;
/// Counts are halved at this, so that a pace can change.
const HALVE_AT: u16 = 4096;

/// The pace of one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cadence {
    last_ms: i64,
    day: i64,
    hours: u32,
    n_sleepless: u32,
    gaps: [u16; OCTAVES],
}

impl Cadence {
    /// Takes in a call. An earlier one than the last moves no clock back.
    pub fn note(&mut self, at_ms: i64) {
        let (day, hour) = (
            at_ms.div_euclid(24 * HOUR_MS),
            at_ms.rem_euclid(24 * HOUR_MS) / HOUR_MS,
        );
        if self.last_ms == 0 || self.day < day {
            let sleepless = AWAKE_HOURS_MAX < self.hours.count_ones();
            let next = self.last_ms != 0 && self.day + 1 == day;
            self.n_sleepless = match (sleepless, next) {
                (true, true) => self.n_sleepless.saturating_add(1),
                (true, false) => 1,
                (false, _) => 0,
            };
            (self.day, self.hours) = (day, 0);
        }
        if self.day == day {
            self.hours |= 1 << hour;
        }
        let gap = at_ms.saturating_sub(self.last_ms);
        if self.last_ms != 0 && (1..GAP_MS_MAX).contains(&gap) {
            let slot = &mut self.gaps[gap.ilog2() as usize];
            *slot += 1;
            if *slot == HALVE_AT {
                self.gaps.iter_mut().for_each(|n| *n /= 2);
            }
        }
        self.last_ms = self.last_ms.max(at_ms);
    }

    /// True when it has acted in more hours of two whole days in a row than anybody is awake.
    pub fn never_sleeps(&self) -> bool {
        DAYS_MIN <= self.n_sleepless
    }

    /// True when its gaps are even: nearly all within a factor of two, or of the next such.
    pub fn is_even(&self) -> bool {
        let total: u32 = self.gaps.iter().map(|n| u32::from(*n)).sum();
        // A pace near the border of two octaves falls into both.
        let most = self
            .gaps
            .windows(2)
            .map(|pair| u32::from(pair[0]) + u32::from(pair[1]))
            .max()
            .unwrap_or(0);
        GAPS_MIN <= total && EVEN_SHARE * f64::from(total) <= f64::from(most)
    }

    /// True when a program acts, as far as the pace can tell.
    pub fn is_machine(&self) -> bool {
        self.never_sleeps() || self.is_even()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_is_even_and_a_person_is_not() {
        let (mut monitor, mut person) = (Cadence::default(), Cadence::default());
        let mut at = 1;
        for i in 0..200i64 {
            monitor.note(1 + i * 60_000 + i % 7);
            at += [900, 12_000, 3000, 45_000, 150_000, 7000, 700_000][(i % 7) as usize];
            person.note(at);
        }
        assert!(monitor.is_even() && monitor.is_machine());
        assert!(!person.is_machine(), "{person:?}");
    }

    #[test]
    fn two_sleepless_days_are_needed_and_one_night_ends_them() {
        let mut cadence = Cadence::default();
        // Gaps that no octave holds.
        let jitter = |hour: i64| (hour * hour * 7919) % 3_000_000;
        let mut day = |day: i64, hours: std::ops::Range<i64>| {
            hours.for_each(|hour| cadence.note(1 + (24 * day + hour) * HOUR_MS + jitter(hour)));
            cadence.never_sleeps()
        };
        assert!(
            !day(0, 0..24) && !day(1, 0..24) && day(2, 0..24),
            "the first two are known on the third"
        );
        assert!(day(3, 8..22), "the third was whole as well");
        assert!(!day(4, 0..1), "there was a night");
    }

    #[test]
    fn time_that_goes_back_or_far_does_no_harm() {
        let mut cadence = Cadence::default();
        for at in [5, i64::MAX / 2, 3, -9, 0, 4_000_000_000] {
            cadence.note(at);
        }
        assert!(!cadence.is_machine());
    }
}
