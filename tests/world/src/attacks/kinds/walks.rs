//! Plain reading: which ids in which order, and at what pace.

use super::{Stage, counts};
use crate::people::{HOUR, MINUTE, SECOND};
use crate::request::Verb;

/// Reads these numbers of a collection in the band's pace.
fn enumerate(
    stage: &mut Stage<'_>,
    order: fn(&mut Stage<'_>, usize, usize) -> Vec<i64>,
) -> Option<()> {
    let (attacker, at) = stage.pair(counts)?;
    let n = stage.amount();
    let numbers = order(stage, at, n);
    let times = stage.times(attacker, n);
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn sequential(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| stage.block(at, n, 1))
}

pub(super) fn descending(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| {
        stage.block(at, n, 1).into_iter().rev().collect()
    })
}

pub(super) fn strided(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| {
        let n_objects = stage.world.collections[at].objects.len();
        let stride = stage
            .dice()
            .within(2, 2 + (n_objects / n / 2).min(35) as i64);
        stage.block(at, n, stride)
    })
}

pub(super) fn shuffled(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| {
        let mut numbers = stage.block(at, n, 1);
        stage.dice().shuffle(&mut numbers);
        numbers
    })
}

pub(super) fn sparse(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| {
        let n_objects = stage.world.collections[at].objects.len();
        (0..n)
            .map(|_| stage.dice().below(n_objects + n_objects / 8) as i64)
            .collect()
    })
}

pub(super) fn bisect(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(counts)?;
    let n_objects = stage.world.collections[at].objects.len() as i64;
    let n = stage.amount();
    let (mut low, mut step) = (stage.dice().within(0, n_objects / 2), 1);
    let mut numbers = vec![low];
    while low + step < n_objects {
        low += step;
        step *= 2;
        numbers.push(low);
    }
    while step > 1 {
        numbers.push(low + step);
        step /= 2;
        if low + step < n_objects {
            low += step;
        }
    }
    numbers.extend((0..n as i64).map(|nth| low - nth).filter(|n| *n >= 0));
    let times = stage.times(attacker, numbers.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn cadence(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(counts)?;
    let (low, high) = stage.by_band([
        (0, 0),
        (0, 0),
        (20 * MINUTE, HOUR),
        (HOUR, 4 * HOUR),
        (8 * HOUR, 24 * HOUR),
    ]);
    let gap_ms = stage.dice().within(low, high);
    let n = stage.amount();
    let numbers = stage.block(at, n, 1);
    let times = stage.cadence(n, gap_ms);
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn ramp(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let (base, growth) = stage.by_band([(8, 3.0), (4, 2.6), (2, 2.2), (1, 1.7), (1, 1.25)]);
    let times = stage.daily(attacker, |nth| {
        (f64::from(base) * f64::powi(growth, nth as i32)).min(400.0) as usize
    });
    let numbers = stage.strangers(attacker, at, times.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn low_and_slow(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let per_day = stage.by_band([40, 20, 10, 4, 2]);
    let times = stage.daily(attacker, |_| per_day);
    let numbers = stage.strangers(attacker, at, times.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn hidden(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let per_session = stage.by_band([0, 0, 4, 2, 1]);
    let mut times = Vec::new();
    for start_ms in stage.sessions(attacker) {
        for _ in 0..per_session {
            times.push(start_ms + stage.dice().within(20 * SECOND, 4 * MINUTE));
        }
    }
    let numbers = stage.strangers(attacker, at, times.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn night(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let zone_ms = stage.world.actors[attacker as usize].zone_ms;
    let n = stage.amount();
    let per_night = stage.by_band([200, 60, 12, 5, 2]);
    let first_ms = stage.from_ms - (stage.from_ms + zone_ms).rem_euclid(24 * HOUR) + 24 * HOUR;
    let times: Vec<i64> = (0..n)
        .map(|nth| {
            let night_ms = first_ms + (nth / per_night) as i64 * 24 * HOUR;
            night_ms + HOUR + stage.dice().within(0, 3 * HOUR)
        })
        .collect();
    let numbers = stage.strangers(attacker, at, times.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn bursts(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let (n, size) = (stage.amount(), stage.by_band([60, 25, 10, 5, 3]));
    let gap_ms = stage.dice().within(HOUR, 3 * HOUR);
    let from_ms = stage.from_ms;
    let times: Vec<i64> = (0..n)
        .map(|nth| from_ms + (nth / size) as i64 * gap_ms + stage.dice().within(0, 20 * SECOND))
        .collect();
    let numbers = stage.strangers(attacker, at, n);
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn leaked(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) =
        stage.pair(|collection| !collection.scheme.is_guessable() && !collection.is_accounts)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}
