//! What sessions keep, show and forget. What they say of rows, `differential` holds against SQL and `tests/rules` against data.

use arrow::array::RecordBatch;

use super::super::laws::{Call, Dice, batch, calls, rule};
use super::super::{Finding, RuleCounters, RuleRunner, Windowing, shape};
use super::*;

/// Rows of callers at seconds.
fn rows(of: &[(u64, i64)]) -> RecordBatch {
    let call = |(who, second): &(u64, i64)| Call {
        time_ms: second * 1_000,
        who: *who,
        object: Some(*second as u64),
        amount: *second,
    };
    batch(&of.iter().map(call).collect::<Vec<_>>())
}

fn run(
    header: &str,
    sql: &str,
    log: &RecordBatch,
    limit: impl Fn(&mut RuleRunner),
) -> (Vec<Finding>, RuleCounters) {
    let (_, mut runner) = RuleRunner::single(&rule(header, sql), &calls()).unwrap();
    limit(&mut runner);
    let mut findings = Vec::new();
    for at in 0..log.num_rows() {
        runner.push(&log.slice(at, 1), None, &mut findings);
    }
    let counters = runner.counters().remove(0);
    runner.close(&mut findings);
    (findings, counters)
}

const CLOSING: &str = "SELECT who, count(*) AS n FROM SESSION(calls, event_time, INTERVAL '10 seconds') GROUP BY who, window_start";

fn said(findings: &[Finding]) -> Vec<String> {
    let said = |f: &Finding| format!("{} {}", f.values[0].1, f.values[1].1);
    findings.iter().map(said).collect()
}

#[test]
fn beyond_its_limit_the_session_that_ends_first_goes() {
    let log = rows(&[(0, 0), (1, 1), (0, 2), (2, 3)]);
    let (findings, counters) = run("", CLOSING, &log, |runner| runner.limit_groups(2));
    assert_eq!((counters.groups, counters.evicted), (2, 1));
    assert_eq!(said(&findings), ["who0 2", "who2 1"]);
}

#[test]
fn bytes_beyond_their_limit_end_sessions_too() {
    let of: Vec<(u64, i64)> = (0..50).map(|who| (who, 0)).collect();
    let limit_bytes = 5_000;
    let (findings, counters) = run("", CLOSING, &rows(&of), |runner| {
        runner.limit_bytes(limit_bytes);
    });
    assert!(10 < counters.evicted, "{counters:?}");
    assert!(counters.state_bytes < 2 * limit_bytes as u64);
    assert_eq!(findings.len() as u64, 50 - counters.evicted);
    assert_eq!(
        findings
            .last()
            .map(|f| f.values[0].1.to_string())
            .as_deref(),
        Some("who49")
    );
}

#[test]
fn joined_sessions_show_their_first_rows_and_the_last() {
    let log = rows(&[(0, 0), (0, 1), (0, 18), (0, 2), (0, 19), (0, 20), (0, 9)]);
    let shows = "lateness: 1m\nalert: {evidence: {limit: 4}}";
    let (findings, _) = run(shows, CLOSING, &log, |_| {});
    let offsets = |f: &Finding| f.evidence.iter().map(|e| e.offset).collect::<Vec<_>>();
    assert_eq!(findings.len(), 1);
    let times = |f: &Finding| {
        f.evidence
            .iter()
            .map(|e| e.time_ms / 1_000)
            .collect::<Vec<_>>()
    };
    assert_eq!(offsets(&findings[0]), [0, 1, 2, 6]);
    assert_eq!(times(&findings[0]), [0, 1, 18, 9]);
}

#[test]
fn what_is_forgotten_for_want_of_room_does_not_depend_on_cuts() {
    let mut dice = Dice(1);
    let of = (0..600).map(|i| (dice.roll(20), i / 4));
    let of: Vec<(u64, i64)> = of.collect();
    let log = rows(&of);
    for (emit, windows) in [
        (
            "window_close",
            "SESSION(calls, event_time, INTERVAL '10 seconds')",
        ),
        (
            "first_crossing",
            "SESSION(calls, event_time, INTERVAL '10 seconds')",
        ),
        (
            "window_close",
            "TUMBLE(calls, event_time, INTERVAL '10 seconds')",
        ),
        (
            "first_crossing",
            "TUMBLE(calls, event_time, INTERVAL '10 seconds')",
        ),
    ] {
        let sql = format!(
            "SELECT who, count(*) AS n FROM {windows} GROUP BY who, window_start HAVING count(*) > 1"
        );
        let header = format!("emit: {emit}\nalert: {{evidence: {{limit: 2}}}}");
        let told = |step: usize| {
            let (_, mut runner) = RuleRunner::single(&rule(&header, &sql), &calls()).unwrap();
            runner.limit_bytes(14_000);
            let mut findings = Vec::new();
            for at in (0..log.num_rows()).step_by(step) {
                let n = step.min(log.num_rows() - at);
                runner.push(&log.slice(at, n), None, &mut findings);
            }
            runner.close(&mut findings);
            (said(&findings), runner.counters()[0].evicted)
        };
        let (whole, evicted) = told(600);
        assert!(
            20 < evicted && 5 < whole.len(),
            "{emit} {windows}: {evicted}, {}",
            whole.len()
        );
        for step in [1, 7, 64] {
            assert_eq!(
                told(step),
                (whole.clone(), evicted),
                "{emit} {windows} {step}"
            );
        }
    }
}

#[test]
fn what_cells_keep_of_their_own_is_counted_and_given_back() {
    let of: Vec<(u64, i64)> = (0..400).map(|i| (0, i)).collect();
    for windows in [
        "SESSION(calls, event_time, INTERVAL '10 seconds')",
        "HOP(calls, event_time, INTERVAL '50 seconds', INTERVAL '100 seconds')",
    ] {
        let bytes = |aggregate: &str| {
            let sql = format!("SELECT {aggregate} AS a FROM {windows} GROUP BY window_start");
            let mut state_bytes = Vec::new();
            let (_, mut runner) = RuleRunner::single(&rule("", &sql), &calls()).unwrap();
            let (log, mut findings) = (rows(&of), Vec::new());
            for at in 0..log.num_rows() {
                runner.push(&log.slice(at, 1), None, &mut findings);
                state_bytes.push(runner.counters()[0].state_bytes);
            }
            runner.close(&mut findings);
            assert_eq!(runner.counters()[0].state_bytes, 0, "{aggregate} {windows}");
            state_bytes.into_iter().max().unwrap_or(0)
        };
        let plain = bytes("count(*)");
        assert!(plain + 100 * 8 <= bytes("median(amount)"), "{windows}");
        assert!(plain + 50 * 64 <= bytes("array_agg(who)"), "{windows}");
    }
}

#[test]
fn a_shape_tells_what_aggregates_keep() {
    let sql = "SELECT who, count(DISTINCT object) AS d, median(amount) AS m, array_agg(who) AS l, sum(amount) AS s
               FROM SESSION(calls, event_time, INTERVAL '10 seconds') GROUP BY who, window_start";
    let shape = shape(&rule("", sql), &calls()).unwrap().window.unwrap();
    let spec = SessionSpec {
        gap_ms: 10_000,
        longest_ms: 86_400_000,
    };
    assert_eq!(shape.windowing, Windowing::Sessions(spec));
    assert_eq!(
        (shape.values_max, shape.keys),
        (vec![100_000], vec!["calls.who".to_owned()])
    );
    let kept: Vec<&str> = shape
        .kept_max
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        kept,
        [
            "median(CAST(calls.amount AS Float64))",
            "array_agg(calls.who)"
        ]
    );
}
