//! Laws of sliding thresholds: what is told is what counting anew at each row tells, however the log is cut and whoever goes on with
//! it; and what is kept has bounds.

use std::collections::{BTreeMap, BTreeSet};

use super::super::laws::{Call, Dice, batch, calls, rule};
use super::super::{Finding, Rule, RuleCounters, RuleRunner, Windowing, shape};
use super::*;

/// Calls whose times move on, jump now and then, and come up to 20 s out of order.
fn random_calls(dice: &mut Dice, n: usize) -> Vec<Call> {
    let mut now_ms = -20_000;
    let call = |_| {
        now_ms += match dice.roll(50) {
            0 => 90_000,
            _ => dice.roll(1_500) as i64,
        };
        let behind_ms = match dice.roll(4) {
            0 => dice.roll(20_000) as i64,
            _ => 0,
        };
        Call {
            time_ms: now_ms - behind_ms,
            who: dice.roll(3),
            object: (dice.roll(5) != 0).then(|| dice.roll(12)),
            amount: dice.roll(10) as i64,
        }
    };
    (0..n).map(call).collect()
}

/// What a HAVING is, in SQL and as a function of `n`, `d` and `f`.
type Condition = (String, Box<dyn Fn([i64; 3]) -> bool>, usize);

fn condition(dice: &mut Dice) -> Condition {
    let [a, b] = [1 + dice.roll(4) as i64, 1 + dice.roll(3) as i64];
    let (n, d, f) = (
        "count(*)",
        "count(DISTINCT object)",
        "count(*) FILTER (WHERE ok)",
    );
    match dice.roll(5) {
        0 => (format!("{n} > {a}"), Box::new(move |v| v[0] > a), 0),
        1 => (format!("{d} >= {a}"), Box::new(move |v| v[1] >= a), 1),
        2 => (format!("{f} > {b}"), Box::new(move |v| v[2] > b), 2),
        3 => (
            format!("{n} > {a} AND {d} > {b}"),
            Box::new(move |v| v[0] > a && v[1] > b),
            0,
        ),
        _ => (
            format!("{f} > {a} OR {d} >= {b}"),
            Box::new(move |v| v[2] > a || v[1] >= b),
            2,
        ),
    }
}

/// Row, group, counts, bounds of the window, and whether the group has grown.
type Told = (usize, u64, [i64; 3], (i64, i64), bool);

/// Counts anew at each row. Comes out: what is told, and how many rows are late.
fn counted_anew(
    calls: &[Call],
    (size_ms, lateness_ms, case_ms): (i64, i64, i64),
    (_, holds, first): &Condition,
) -> (Vec<Told>, u64) {
    #[derive(Default)]
    struct Seen {
        calls: Vec<Call>,
        fired: bool,
        told: i64,
        anew_ms: i64,
    }
    let (mut told, mut n_late, mut clock_ms) = (Vec::new(), 0, i64::MIN);
    let mut seen = BTreeMap::<u64, Seen>::new();
    for (row, call) in calls.iter().enumerate() {
        clock_ms = clock_ms.max(call.time_ms);
        let of = seen.entry(call.who).or_default();
        let last_ms = of.calls.iter().map(|c| c.time_ms).max();
        let ends_ms = call.time_ms + size_ms;
        if ends_ms <= clock_ms - lateness_ms || last_ms.is_some_and(|last_ms| ends_ms <= last_ms) {
            n_late += 1;
            continue;
        }
        let now_ms = last_ms.map_or(call.time_ms, |last_ms| last_ms.max(call.time_ms));
        let count = |calls: &[Call]| {
            let within = calls.iter().filter(|c| now_ms - size_ms < c.time_ms);
            let within: Vec<&Call> = within.collect();
            let objects: BTreeSet<u64> = within.iter().filter_map(|c| c.object).collect();
            let n_ok = within.iter().filter(|c| c.amount % 2 == 0).count();
            [within.len() as i64, objects.len() as i64, n_ok as i64]
        };
        of.fired = of.fired && holds(count(&of.calls));
        of.calls.push(call.clone());
        let counts = count(&of.calls);
        let bounds = (now_ms + 1 - size_ms, now_ms + 1);
        if of.fired {
            let grown = 0 < of.told && 10 * of.told <= counts[*first];
            let anew = case_ms <= call.time_ms - of.anew_ms;
            if grown || anew {
                of.told = counts[*first];
                if anew {
                    of.anew_ms = call.time_ms;
                }
                told.push((row, call.who, counts, bounds, grown));
            }
        } else if holds(counts) {
            (of.fired, of.told, of.anew_ms) = (true, counts[*first], call.time_ms);
            told.push((row, call.who, counts, bounds, false));
        }
    }
    (told, n_late)
}

fn told(finding: &Finding) -> Told {
    let number = |name: &str| match finding.value(name) {
        Some(ScalarValue::Int64(Some(n))) => *n,
        other => panic!("{name}: {other:?}"),
    };
    let who = finding.value("who").expect("a column").to_string();
    let who = who.strip_prefix("who").and_then(|n| n.parse().ok());
    let counts = [number("n"), number("d"), number("f")];
    let window = finding.window.expect("a window");
    (
        finding.row,
        who.expect("a number"),
        counts,
        window,
        finding.grown,
    )
}

/// What a rule says of calls cut at random places, gone on with by another runner of the same rule in the middle.
fn streamed(of: &Rule, calls_: &[Call], dice: &mut Dice) -> (Vec<Told>, RuleCounters) {
    let fresh = || RuleRunner::single(of, &calls()).expect("compiles").1;
    let (log, mut runner) = (batch(calls_), fresh());
    let (mut all, mut at) = (Vec::new(), 0);
    let cut = dice.roll(2) == 0;
    while at < log.num_rows() {
        let n = match cut {
            true => 1 + dice.roll(40) as usize,
            false => log.num_rows(),
        };
        let n = n.min(log.num_rows() - at);
        let mut findings = Vec::new();
        runner.push(&log.slice(at, n), None, &mut findings);
        all.extend(findings.iter().map(|finding| {
            let mut told = told(finding);
            told.0 += at;
            told
        }));
        at += n;
        if dice.roll(10) == 0 {
            let mut next = fresh();
            assert!(next.adopt(runner).is_empty(), "it counts the same");
            runner = next;
        }
    }
    let counters = runner.counters().remove(0);
    let mut closing = Vec::new();
    runner.close(&mut closing);
    assert!(closing.is_empty(), "a sliding window never closes");
    (all, counters)
}

#[test]
fn what_is_told_is_what_counting_anew_at_each_row_tells() {
    let (mut n_told, mut n_late, mut n_grown) = (0, 0, 0);
    let n_cases = std::env::var("TOLLWATCH_FUZZ_CASES");
    let n_cases = n_cases.ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    for seed in 0..n_cases {
        let mut dice = Dice(seed);
        let size_ms = [1, 700, 5_000, 30_000, 120_000][dice.roll(5) as usize];
        let lateness_ms = [0, 1_000, 15_000, 60_000][dice.roll(4) as usize];
        let case_ms = [10_000, 1_000_000_000][dice.roll(2) as usize];
        let condition = condition(&mut dice);
        let header =
            format!("lateness: {lateness_ms}ms\nsuppress: {{by: [who], for: {case_ms}ms}}");
        let sql = format!(
            "SELECT who, window_start, window_end, count(*) AS n, count(DISTINCT object) AS d, count(*) FILTER (WHERE ok) AS f
             FROM SLIDING(calls, event_time, INTERVAL '{size_ms} milliseconds') GROUP BY who, window_start, window_end HAVING {}",
            condition.0
        );
        let log = random_calls(&mut dice, 250);
        let expected = counted_anew(&log, (size_ms, lateness_ms, case_ms), &condition);
        let (streamed, counters) = streamed(&rule(&header, &sql), &log, &mut dice);
        assert_eq!(streamed, expected.0, "seed {seed}: {header}\n{sql}");
        assert_eq!(counters.late, expected.1, "seed {seed}");
        assert_eq!(counters.capped, 0, "seed {seed}");
        n_told += streamed.len();
        n_late += counters.late;
        n_grown += streamed.iter().filter(|told| told.4).count();
    }
    // What never happens is not tested.
    assert!(
        n_cases < 300 || 1_000 < n_told && 100 < n_late && 10 < n_grown,
        "{n_told} {n_late} {n_grown}"
    );
}

fn at(second: i64, who: u64) -> Call {
    Call {
        time_ms: second * 1_000,
        who,
        object: Some(second as u64),
        amount: 0,
    }
}

fn sliding(having: &str) -> Rule {
    let sql = format!(
        "SELECT who, window_end, count(*) AS n, count(DISTINCT object) AS d, count(*) FILTER (WHERE ok) AS f
         FROM SLIDING(calls, event_time, INTERVAL '1 minute') GROUP BY who, window_end HAVING {having}"
    );
    rule("", &sql)
}

#[test]
fn groups_that_no_row_can_meet_any_more_are_forgotten() {
    let (of, mut dice) = (sliding("count(*) > 100"), Dice(1));
    let mut log: Vec<Call> = (0..50).map(|who| at(who as i64, who)).collect();
    let (_, counters) = streamed(&of, &log, &mut dice);
    assert_eq!(counters.groups, 50);
    // Twice the size and the lateness of a minute behind the last of them.
    log.push(at(49 + 120 + 60, 99));
    let (_, counters) = streamed(&of, &log, &mut dice);
    assert_eq!((counters.groups, counters.evicted), (1, 0));
}

#[test]
fn beyond_its_limits_the_group_heard_of_least_recently_goes_wherever_batches_end() {
    let of = sliding("count(*) > 3");
    let mut dice = Dice(7);
    let calls_: Vec<Call> = (0..2_000).map(|i| at(i / 40, dice.roll(60))).collect();
    let log = batch(&calls_);
    let told_in = |step: usize, limit: &dyn Fn(&mut RuleRunner)| {
        let (_, mut runner) = RuleRunner::single(&of, &calls()).expect("compiles");
        limit(&mut runner);
        let mut findings = Vec::new();
        for at in (0..log.num_rows()).step_by(step) {
            let n = step.min(log.num_rows() - at);
            runner.push(&log.slice(at, n), None, &mut findings);
        }
        let who = |finding: &Finding| (finding.values[0].1.to_string(), finding.time_ms);
        let who: Vec<_> = findings.iter().map(who).collect();
        (who, runner.counters().remove(0))
    };
    let limits: [&dyn Fn(&mut RuleRunner); 2] = [&|runner| runner.limit_groups(10), &|runner| {
        runner.limit_bytes(20_000)
    }];
    for limit in limits {
        let (whole, counters) = told_in(2_000, limit);
        assert!(100 < counters.evicted && !whole.is_empty(), "{counters:?}");
        assert!(counters.state_bytes < 25_000, "{counters:?}");
        for step in [1, 7, 100] {
            let (cut, of_cut) = told_in(step, limit);
            assert_eq!(
                (cut, of_cut.evicted),
                (whole.clone(), counters.evicted),
                "{step}"
            );
        }
    }
}

#[test]
fn counts_are_lower_bounds_beyond_what_a_group_keeps() {
    let of = sliding("count(*) > 2");
    // Ten thresholds of two, at least 1024: of a minute with a row each 10 ms, the latest are kept.
    let calls_: Vec<Call> = (0..3_000)
        .map(|i| Call {
            time_ms: i * 10,
            who: 0,
            object: Some(i as u64),
            amount: 0,
        })
        .collect();
    let (told, counters) = streamed(&of, &calls_, &mut Dice(3));
    assert_eq!(
        told.len(),
        3,
        "at three, thirty and three hundred: {told:?}"
    );
    assert_eq!(counters.capped, 3_000 - 1_024);
    assert!(counters.state_bytes < 400_000, "{counters:?}");
}

#[test]
fn its_shape_is_told() {
    let shape = shape(&sliding("count(*) > 2"), &calls()).expect("compiles");
    let window = shape.window.expect("a window");
    assert_eq!(
        window.windowing,
        Windowing::Sliding(SlidingSpec { size_ms: 60_000 })
    );
    assert!(window.is_early);
}
