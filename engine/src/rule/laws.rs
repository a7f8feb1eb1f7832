//! Laws of rules: refusals, windows against a brute-force reference, batches that may be cut anywhere, the shipped rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::scalar::ScalarValue;

use super::{Catalog, Finding, Rule, RuleFault, RuleRunner, RuleSet, Status, run_tests};
use crate::alert::Alerter;
use crate::config::ModelConfig;
use crate::stage::catalog;

mod change;
mod sequence;

/// Columns as `name type`, `?` for nullable.
pub(super) fn schema(columns: &str) -> SchemaRef {
    let field = |column: &str| {
        let (name, kind) = column.trim().split_once(' ').unwrap();
        let of = match kind.trim_end_matches('?') {
            "time" => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            "text" => DataType::Utf8,
            "i32" => DataType::Int32,
            "i64" => DataType::Int64,
            "u64" => DataType::UInt64,
            "f64" => DataType::Float64,
            "bool" => DataType::Boolean,
            other => panic!("{other}"),
        };
        Field::new(name, of, kind.ends_with('?'))
    };
    Arc::new(Schema::new(
        columns.split(',').map(field).collect::<Vec<_>>(),
    ))
}

/// A narrow stream for windows.
pub(super) fn calls() -> Catalog {
    Catalog::new().with("calls", schema("event_time time, who text, object u64?, amount i64, ok bool, source_offset i64, status i32?"), "event_time")
}

pub(super) fn rule(header: &str, sql: &str) -> Rule {
    let text = format!(
        "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: r\nversion: 1\ntitle: t\nstatus: test\nseverity: low\ndescription: d\n{header}\n---*/\n{sql}"
    );
    Rule::parse(Path::new("r.sql"), &text).unwrap()
}

fn refused(header: &str, sql: &str) -> String {
    match RuleRunner::single(&rule(header, sql), &calls()) {
        Ok(_) => "accepted".to_owned(),
        Err(faults) => faults
            .iter()
            .map(RuleFault::to_string)
            .collect::<Vec<_>>()
            .join("; "),
    }
}

#[test]
fn every_shipped_rule_passes_its_tests() {
    let (set, catalog) = (RuleSet::shipped(), catalog());
    let mut failures = Vec::new();
    for rule in &set.rules {
        let outcomes = run_tests(rule, &catalog);
        assert!(
            3 <= outcomes.len(),
            "{} has {} tests, at least fires, stays quiet and boundary",
            rule.header.name,
            outcomes.len()
        );
        failures.extend(
            outcomes
                .into_iter()
                .filter_map(|o| o.failure.map(|f| format!("{} / {}: {f}", o.rule, o.test))),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for (table, n_rules) in [("events", 9), ("touches", 3)] {
        let runner = RuleRunner::compile(&set, &catalog, table)
            .map_err(|f| f[0].to_string())
            .unwrap();
        assert_eq!(runner.n_rules(), n_rules, "{table}");
    }
}

/// The folder of the shipped rules.
fn folder() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut either = ["../rules", "rules"].iter().map(|d| dir.join(d));
    either.find(|d| d.is_dir()).unwrap()
}

#[test]
fn every_rule_of_every_pack_passes_its_tests() {
    let mut all: Vec<Rule> = Vec::new();
    for pack in std::fs::read_dir(folder().join("packs")).unwrap() {
        let pack = pack.unwrap().path();
        let set = RuleSet::load(&pack)
            .map_err(|f| f.iter().map(ToString::to_string).collect::<Vec<_>>())
            .unwrap();
        for rule in &set.rules {
            let outcomes = run_tests(rule, &catalog());
            assert!(3 <= outcomes.len(), "{} has few tests", rule.header.name);
            let failures = outcomes
                .into_iter()
                .filter_map(|o| Some((o.test, o.failure?)));
            assert_eq!(failures.collect::<Vec<_>>(), [], "{}", rule.header.name);
        }
        all.extend(set.rules.iter().map(|rule| rule.as_ref().clone()));
    }
    assert!(8 < all.len(), "{}", all.len());
    // So that any of them can lie in one folder with the shipped ones.
    all.extend(
        RuleSet::shipped()
            .rules
            .iter()
            .map(|rule| rule.as_ref().clone()),
    );
    RuleSet::new(all).map_err(|f| f[0].to_string()).unwrap();
}

#[test]
fn shipped_rules_are_the_files_of_the_directory() {
    let dir = folder();
    let loaded = RuleSet::load(&dir)
        .map_err(|f| f.iter().map(ToString::to_string).collect::<Vec<_>>())
        .unwrap();
    let names = |set: &RuleSet| {
        set.rules
            .iter()
            .map(|r| (r.header.name.clone(), r.hash))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&loaded), names(&RuleSet::shipped()));
}

#[test]
fn all_faults_of_a_directory_are_told_together() {
    let dir = std::env::temp_dir().join(format!("tollwatch-rules-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("a.sql"), "SELECT 1").unwrap();
    std::fs::write(dir.join("b.sql"), "/*---\nschema: 7\n---*/").unwrap();
    std::fs::write(dir.join("c.txt"), "no rule").unwrap();
    let faults = RuleSet::load(&dir).unwrap_err();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn what_a_stream_cannot_answer_is_refused_with_what_to_write() {
    let hop = "FROM HOP(calls, event_time, INTERVAL '10 seconds', INTERVAL '1 minute') GROUP BY who, window_start, window_end";
    let rows: &[(&str, &str, &str)] = &[
        (
            "",
            "SELECT a.who FROM calls a JOIN calls b ON a.who = b.who",
            "streams can't be joined",
        ),
        (
            "",
            "SELECT who FROM calls ORDER BY who",
            "ORDER BY has no meaning",
        ),
        ("", "SELECT who FROM calls LIMIT 5", "use `suppress`"),
        (
            "",
            "SELECT who FROM calls UNION ALL SELECT who FROM calls",
            "one rule for each part",
        ),
        ("", "SELECT DISTINCT who FROM calls", "use `suppress`"),
        (
            "",
            "SELECT who, count(*) OVER (PARTITION BY who) FROM calls",
            "OVER (…) is not supported",
        ),
        (
            "",
            "SELECT who, count(*) FROM calls GROUP BY who",
            "an aggregate needs a window",
        ),
        (
            "",
            "SELECT who FROM calls WHERE object IN (SELECT object FROM calls)",
            "streams can't be joined",
        ),
        (
            "",
            "SELECT who FROM calls WHERE event_time < now()",
            "use event_time",
        ),
        ("", "SELECT who FROM calls WHERE false", "never true"),
        ("", "SELECT 1", "reads no table"),
        (
            "",
            "SELECT who FROM visits",
            "there is no table `visits`, there are: calls",
        ),
        ("", "SELECT whom FROM calls", "whom"),
        ("", "SELECT who FROM calls WHERE object > $floor", "floor"),
        (
            "params: {floor: {type: int, default: 1}}",
            "SELECT who FROM calls",
            "`floor` is not used",
        ),
        (
            "",
            "SELECT who FROM TUMBLE(calls, event_time, INTERVAL '1 minute')",
            "need a GROUP BY",
        ),
        (
            "",
            "SELECT who FROM TUMBLE(calls, amount, INTERVAL '1 minute') GROUP BY who, window_start",
            "write event_time",
        ),
        (
            "",
            "SELECT who FROM TUMBLE(calls, event_time, INTERVAL '1 month') GROUP BY who, window_start",
            "months",
        ),
        (
            "",
            "SELECT who FROM TUMBLE(calls, event_time) GROUP BY who, window_start",
            "takes other arguments",
        ),
        (
            "",
            "SELECT who FROM HOP(calls, event_time, INTERVAL '1 minute', INTERVAL '10 seconds') GROUP BY who, window_start",
            "multiple of its slide",
        ),
        (
            "",
            "SELECT who FROM HOP(calls, event_time, INTERVAL '1 second', INTERVAL '1 hour') GROUP BY who, window_start",
            "widen the slide",
        ),
        (
            "",
            "SELECT who FROM CUMULATE(calls, event_time, INTERVAL '1 minute') GROUP BY who, window_start",
            "use TUMBLE or HOP",
        ),
        (
            "",
            "SELECT who FROM TUMBLE(calls, event_time, INTERVAL '1 minute') WHERE window_start > event_time GROUP BY who, window_start",
            "a row may be in more than one window",
        ),
        (
            "",
            &format!("SELECT who, corr(amount, object) {hop}"),
            "corr() is not supported",
        ),
        (
            "",
            &format!("SELECT who, stddev(DISTINCT amount) {hop}"),
            "DISTINCT goes with count",
        ),
        (
            "",
            &format!("SELECT who, sum(DISTINCT amount) {hop}"),
            "DISTINCT goes with count",
        ),
        (
            "emit: each",
            &format!("SELECT who, count(*) {hop}"),
            "window_close",
        ),
        (
            "emit: first_crossing",
            "SELECT who FROM calls",
            "fires at each row",
        ),
        (
            "emit: first_crossing",
            &format!("SELECT who {hop} HAVING avg(amount) > 3"),
            "a mean rises and falls",
        ),
        (
            "emit: first_crossing",
            &format!("SELECT who {hop} HAVING count(*) < 3"),
            "> and >= stay true",
        ),
        (
            "emit: first_crossing",
            &format!("SELECT who {hop} HAVING count(*) = 3"),
            "may turn false again",
        ),
        (
            "emit: first_crossing",
            &format!("SELECT who {hop} HAVING sum(amount) > 3"),
            "add `column >= 0` to WHERE",
        ),
        (
            "emit: first_crossing",
            &format!("SELECT who {hop} HAVING count(*) > min(amount)"),
            "not a comparison of an aggregate with a number",
        ),
        (
            "",
            &format!("SELECT who {hop} HAVING count(DISTINCT object) > 100000"),
            "which it never reaches",
        ),
        (
            "suppress: {by: [whom], for: 1h}",
            "SELECT who FROM calls",
            "suppress.by names `whom`",
        ),
        (
            "alert: {title: \"{whom}\"}",
            "SELECT who FROM calls",
            "alert.title names `whom`",
        ),
        (
            "requires: [body]",
            "SELECT who FROM calls",
            "requires names `body`",
        ),
        (
            "exceptions: [{when: \"whom = 'x'\", reason: r, owner: o, expires: 2026-01-01}]",
            "SELECT who FROM calls",
            "exception `whom = 'x'`",
        ),
        ("", "DELETE FROM calls", "a rule is one SELECT"),
    ];
    let mut faults = Vec::new();
    for (header, sql, wanted) in rows {
        let message = refused(header, sql);
        if !message.contains(wanted) || !message.starts_with("r.sql:") {
            faults.push(format!("{sql}\n  wanted {wanted}\n  was    {message}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_a_stream_can_answer_is_accepted() {
    let tumble = "FROM TUMBLE(calls, event_time, INTERVAL '1 minute')";
    let rows = [
        ("", "SELECT * FROM calls WHERE amount / 2 > 3".to_owned()),
        ("", "WITH busy AS (SELECT who, amount * 2 AS twice FROM calls WHERE ok) SELECT who FROM busy b WHERE b.twice > 3".to_owned()),
        ("", format!("SELECT who, count(*) AS n {tumble} GROUP BY who, window_start")),
        ("", format!("SELECT count(*) AS n, window_end {tumble} GROUP BY window_end HAVING avg(amount) > 3")),
        ("emit: first_crossing", format!("SELECT t.who {tumble} t WHERE t.amount >= 0 GROUP BY t.who, t.window_start HAVING sum(t.amount) > 3 AND (max(t.amount) >= 7 OR 2 < count(t.object))")),
        ("emit: first_crossing", format!("SELECT upper(who) AS caller {tumble} GROUP BY upper(who), window_start HAVING sum(CASE WHEN ok THEN 1 ELSE 0 END) > 3 AND min(amount) < 2")),
        ("params: {wide: {type: duration, default: 2m}, n: {type: float, default: 1.5}}", "SELECT who FROM HOP(calls, event_time, INTERVAL '10' SECOND, $wide) GROUP BY who, window_start HAVING count(*) > $n".to_owned()),
    ];
    for (header, sql) in rows {
        assert_eq!(refused(header, &sql), "accepted", "{sql}");
    }
}

/// A small generator: the same seed gives the same rows.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) time_ms: i64,
    pub(super) who: u64,
    pub(super) object: Option<u64>,
    pub(super) amount: i64,
}

/// Rows whose times move on, jump now and then, and come up to 15 s out of order.
fn random_calls(seed: u64, n: usize) -> Vec<Call> {
    let mut dice = Dice(seed);
    let mut now_ms = -30_000; // Across the epoch: panes are Euclidean.
    let call = |_| {
        now_ms += if dice.roll(60) == 0 {
            70_000
        } else {
            dice.roll(1_500) as i64
        };
        let back_ms = if dice.roll(3) == 0 {
            dice.roll(15_000) as i64
        } else {
            0
        };
        let object = (dice.roll(8) != 0).then(|| dice.roll(7));
        Call {
            time_ms: now_ms - back_ms,
            who: dice.roll(3),
            object,
            amount: dice.roll(20) as i64 - 5,
        }
    };
    (0..n).map(call).collect()
}

pub(super) fn batch(calls: &[Call]) -> RecordBatch {
    let stream = self::calls();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            TimestampMillisecondArray::from_iter_values(calls.iter().map(|c| c.time_ms))
                .with_timezone("UTC"),
        ),
        Arc::new(StringArray::from_iter_values(
            calls.iter().map(|c| format!("who{}", c.who)),
        )),
        Arc::new(UInt64Array::from_iter(calls.iter().map(|c| c.object))),
        Arc::new(Int64Array::from_iter_values(calls.iter().map(|c| c.amount))),
        Arc::new(BooleanArray::from_iter(
            calls.iter().map(|c| Some(c.amount % 2 == 0)),
        )),
        Arc::new(Int64Array::from_iter_values(0..calls.len() as i64)),
        Arc::new(Int32Array::from_iter_values(calls.iter().map(|_| 200))),
    ];
    RecordBatch::try_new(stream.get("calls").unwrap().schema.clone(), columns).unwrap()
}

/// What a rule says of a log cut into batches at random places; `seed` zero leaves it whole.
fn run(rule: &Rule, log: &RecordBatch, seed: u64) -> (Vec<Finding>, super::RuleCounters) {
    let (_, mut runner) = RuleRunner::single(rule, &calls())
        .map_err(|f| f[0].to_string())
        .unwrap();
    let (mut findings, mut at, mut dice) = (Vec::new(), 0, Dice(seed));
    while at < log.num_rows() {
        let n = if seed == 0 {
            log.num_rows()
        } else {
            (dice.roll(9) as usize).min(log.num_rows() - at)
        };
        let before = findings.len();
        runner.push(&log.slice(at, n), None, &mut findings);
        for finding in &mut findings[before..] {
            finding.row = finding.row.saturating_add(at);
            finding.order = finding.order.saturating_add(at);
        }
        at += n;
    }
    runner.close(&mut findings);
    let counters = runner.counters().remove(0);
    (findings, counters)
}

fn text(finding: &Finding) -> String {
    let values: Vec<String> = finding.values.iter().map(|(_, v)| v.to_string()).collect();
    format!("{:?} {}", finding.window.map(|w| w.0), values.join(" "))
}

const SLIDE_MS: i64 = 10_000;
const LATENESS_MS: i64 = 7_000;

/// The greatest event time up to each row, less the lateness: windows that end by then are closed.
fn watermarks(calls: &[Call]) -> Vec<i64> {
    let clock = |clock: &mut i64, call: &Call| {
        *clock = (*clock).max(call.time_ms);
        Some(*clock - LATENESS_MS)
    };
    calls.iter().scan(i64::MIN, clock).collect()
}

#[test]
fn windows_that_close_equal_the_brute_force_reference() {
    for n_panes in [1, 3, 6] {
        let sql = format!(
            "SELECT who, count(*) AS n, count(object) AS objects, count(DISTINCT object) AS d, sum(amount) AS s, min(amount) AS lo, max(amount) AS hi, avg(amount) AS mean,
                    count(*) FILTER (WHERE ok) AS oks, window_start
             FROM HOP(calls, event_time, INTERVAL '10 seconds', INTERVAL '{} seconds') WHERE amount <> 3
             GROUP BY who, window_start, window_end HAVING count(*) <> 2",
            10 * n_panes
        );
        let rule = rule("lateness: 7s\nemit: window_close", &sql);
        for seed in 1..25 {
            let calls = random_calls(seed, 300);
            let (findings, counters) = run(&rule, &batch(&calls), 0);
            let (wanted, late) = closing_reference(&calls, n_panes);
            let found: Vec<String> = findings.iter().map(text).collect();
            assert_eq!(found, wanted, "seed {seed}, {n_panes} panes");
            assert_eq!(counters.late, late, "seed {seed}");
            assert_eq!(
                (counters.groups, counters.state_bytes),
                (0, 0),
                "everything closed, seed {seed}"
            );
        }
    }
}

fn closing_reference(calls: &[Call], n_panes: i64) -> (Vec<String>, u64) {
    let (mut out, mut late) = (Vec::new(), 0);
    let watermarks = watermarks(calls);
    let kept: Vec<(usize, i64)> = calls
        .iter()
        .enumerate()
        .filter(|(_, c)| c.amount != 3)
        .map(|(i, c)| (i, c.time_ms.div_euclid(SLIDE_MS)))
        .collect();
    late += kept
        .iter()
        .filter(|(i, pane)| (pane + n_panes) * SLIDE_MS <= watermarks[*i])
        .count() as u64;
    let windows: BTreeSet<i64> = kept
        .iter()
        .flat_map(|(_, pane)| *pane..pane + n_panes)
        .collect();
    for window in windows {
        let end_ms = (window + 1) * SLIDE_MS;
        let inside: Vec<(i64, usize)> = kept
            .iter()
            .filter(|(i, pane)| {
                window - n_panes < *pane && *pane <= window && watermarks[*i] < end_ms
            })
            .map(|(i, pane)| (*pane, *i))
            .collect();
        let mut order = inside.clone();
        order.sort();
        let mut whos = Vec::new();
        for (_, i) in order {
            if !whos.contains(&calls[i].who) {
                whos.push(calls[i].who);
            }
        }
        for who in whos {
            let of: Vec<&Call> = inside
                .iter()
                .map(|(_, i)| &calls[*i])
                .filter(|c| c.who == who)
                .collect();
            if of.len() == 2 {
                continue;
            }
            let objects = of.iter().filter_map(|c| c.object);
            let sum: i64 = of.iter().map(|c| c.amount).sum();
            let values: [ScalarValue; 9] = [
                format!("who{who}").as_str().into(),
                (of.len() as i64).into(),
                (objects.clone().count() as i64).into(),
                (objects.collect::<BTreeSet<_>>().len() as i64).into(),
                sum.into(),
                of.iter().map(|c| c.amount).min().into(),
                of.iter().map(|c| c.amount).max().into(),
                (sum as f64 / of.len() as f64).into(),
                (of.iter().filter(|c| c.amount % 2 == 0).count() as i64).into(),
            ];
            let start_ms = end_ms - n_panes * SLIDE_MS;
            let start = ScalarValue::TimestampMillisecond(Some(start_ms), Some("UTC".into()));
            let shown: Vec<String> = values
                .iter()
                .chain([&start])
                .map(ToString::to_string)
                .collect();
            out.push(format!("Some({start_ms}) {}", shown.join(" ")));
        }
    }
    (out, late)
}

#[test]
fn first_crossings_equal_the_brute_force_reference() {
    let mut n_fired = 0;
    for n_panes in [1, 3, 6] {
        let sql = format!(
            "SELECT who, count(DISTINCT object) AS d, count(*) AS n FROM HOP(calls, event_time, INTERVAL '10 seconds', INTERVAL '{} seconds')
             GROUP BY who, window_start, window_end HAVING count(DISTINCT object) >= 3 AND count(*) > 4",
            10 * n_panes
        );
        let rule = rule("lateness: 7s\nemit: first_crossing", &sql);
        for seed in 1..40 {
            let calls = random_calls(seed, 300);
            let (findings, _) = run(&rule, &batch(&calls), 0);
            let found: Vec<(usize, i64, String)> = findings
                .iter()
                .map(|f| {
                    (
                        f.row,
                        f.window.unwrap().1 / SLIDE_MS - 1,
                        f.values[1].1.to_string(),
                    )
                })
                .collect();
            let wanted = crossing_reference(&calls, n_panes);
            assert_eq!(found, wanted, "seed {seed}, {n_panes} panes");
            n_fired += found.len();
        }
    }
    assert!(500 < n_fired, "{n_fired}");
}

/// Rows and windows of crossings, counting every window from its rows each time.
fn crossing_reference(calls: &[Call], n_panes: i64) -> Vec<(usize, i64, String)> {
    struct Group {
        rows: Vec<(i64, Option<u64>)>,
        current: i64,
        fired: bool,
        last_fired: i64,
    }
    let mut groups: std::collections::BTreeMap<u64, Group> = Default::default();
    let count = |group: &Group, window: i64| {
        let inside = group
            .rows
            .iter()
            .filter(|(pane, _)| window - n_panes < *pane && *pane <= window);
        (
            inside
                .clone()
                .filter_map(|(_, o)| *o)
                .collect::<BTreeSet<_>>()
                .len(),
            inside.count(),
        )
    };
    let holds =
        |group: &Group, window: i64| matches!(count(group, window), (d, n) if 3 <= d && 4 < n);
    let mut out = Vec::new();
    for (i, (call, watermark)) in calls.iter().zip(watermarks(calls)).enumerate() {
        let (pane, first_open) = (
            call.time_ms.div_euclid(SLIDE_MS),
            watermark.div_euclid(SLIDE_MS),
        );
        if pane + n_panes - 1 < first_open {
            continue;
        }
        let group = groups.entry(call.who).or_insert(Group {
            rows: Vec::new(),
            current: pane.max(first_open),
            fired: false,
            last_fired: i64::MIN,
        });
        let current = group.current.max(pane).max(first_open);
        if group.current < current {
            group.current = current;
            group.fired = group.fired && holds(group, current);
        }
        group.rows.push((pane, call.object));
        if group.fired {
            continue;
        }
        let from = pane.max(first_open).max(group.last_fired.saturating_add(1));
        if let Some(window) = (from..pane + n_panes).find(|w| holds(group, *w)) {
            group.last_fired = window;
            group.fired = window == group.current || holds(group, group.current);
            out.push((i, window, count(group, window).0.to_string()));
        }
    }
    out
}

#[test]
fn where_the_log_is_cut_changes_nothing() {
    let hop = "FROM HOP(calls, event_time, INTERVAL '10 seconds', INTERVAL '1 minute')";
    let rules = [
        rule(
            "",
            "SELECT who, amount / object AS share FROM calls WHERE amount > 4",
        ),
        rule(
            "lateness: 7s",
            &format!(
                "SELECT who, count(DISTINCT object) AS d, sum(amount) AS s, avg(amount) AS a {hop} WHERE amount >= 0 GROUP BY who, window_start HAVING count(DISTINCT object) > 4"
            ),
        ),
        rule(
            "lateness: 7s\nemit: window_close\nalert: {evidence: {limit: 3}}",
            &format!(
                "SELECT count(*) AS n, max(amount) AS hi, window_start {hop} GROUP BY window_start"
            ),
        ),
        rule(
            "lateness: 7s\nexceptions: [{when: who = 'who1', reason: r, owner: o, expires: 1970-01-01}]",
            &format!(
                "SELECT who, max(amount) AS hi {hop} GROUP BY who, window_end HAVING max(amount) >= 14"
            ),
        ),
    ];
    for (at, rule) in rules.iter().enumerate() {
        for seed in 1..20 {
            let log = batch(&random_calls(seed, 200));
            let (whole, counters) = run(rule, &log, 0);
            let (cut, cut_counters) = run(rule, &log, seed);
            let said = |f: &Finding| (f.row, f.order, text(f), f.evidence.clone());
            assert_eq!(
                whole.iter().map(said).collect::<Vec<_>>(),
                cut.iter().map(said).collect::<Vec<_>>(),
                "rule {at}, seed {seed}"
            );
            let of = |c: &super::RuleCounters| {
                (
                    c.findings,
                    c.late,
                    c.errors,
                    c.excepted,
                    c.exceptions_expired,
                    c.state_bytes,
                )
            };
            assert_eq!(of(&counters), of(&cut_counters), "rule {at}, seed {seed}");
            assert!(!whole.is_empty(), "rule {at}");
        }
    }
}

/// What two rules say of a log cut at random places, as alerts: rules that share a case see each other's findings.
fn alerts(rules: &[Rule], log: &RecordBatch, seed: u64) -> Vec<String> {
    let set = RuleSet::new(rules.to_vec())
        .map_err(|f| f[0].to_string())
        .unwrap();
    let mut runner = RuleRunner::compile(&set, &calls(), "calls")
        .map_err(|f| f[0].to_string())
        .unwrap();
    let (mut alerter, mut dice) = (Alerter::new(&ModelConfig::default()), Dice(seed));
    let (mut alerts, mut at) = (Vec::new(), 0);
    while at < log.num_rows() {
        let n = if seed == 0 {
            log.num_rows()
        } else {
            (dice.roll(9) as usize).min(log.num_rows() - at)
        };
        let (batch, mut findings) = (log.slice(at, n), Vec::new());
        runner.push(&batch, None, &mut findings);
        alerter.raise(&findings, &batch, |_| Vec::new(), &mut alerts);
        at += n;
    }
    let mut findings = Vec::new();
    runner.close(&mut findings);
    alerter.raise(&findings, &log.slice(0, 0), |_| Vec::new(), &mut alerts);
    alerts.into_iter().map(|alert| alert.json).collect()
}

#[test]
fn where_the_log_is_cut_changes_no_alert_of_rules_that_share_a_case() {
    let named = |name: &str, id: u8, header: &str, sql: &str| {
        let header = format!(
            "tags: [owasp.api1-2023]\nlateness: 7s\nsuppress: {{by: [identity], for: 5m, update: true}}\n{header}"
        );
        let mut rule = rule(&header, sql);
        rule.header.status = Status::Stable;
        (rule.header.name, rule.header.id) = (name.to_owned(), id.to_string());
        rule
    };
    let rules = [
        named(
            "each",
            1,
            "",
            "SELECT who AS identity, amount FROM calls WHERE amount > 12",
        ),
        named(
            "closing",
            2,
            "emit: window_close",
            "SELECT who AS identity, count(*) AS n, window_end FROM TUMBLE(calls, event_time, INTERVAL '10 seconds') GROUP BY who, window_end",
        ),
    ];
    for seed in 1..20 {
        let log = batch(&random_calls(seed, 200));
        let whole = alerts(&rules, &log, 0);
        assert!(2 < whole.len(), "seed {seed}");
        assert_eq!(whole, alerts(&rules, &log, seed), "seed {seed}");
    }
}

#[test]
fn only_the_row_an_exception_fails_on_loses_it() {
    let calls: Vec<Call> = (0..8)
        .map(|i| Call {
            time_ms: i * 1_000,
            who: 0,
            object: Some(i as u64),
            amount: 8,
        })
        .collect();
    let rule = rule(
        "exceptions: [{when: 8 / object >= 2, reason: r, owner: o, expires: 1970-01-01}]",
        "SELECT who FROM calls",
    );
    for seed in 0..5 {
        let (findings, counters) = run(&rule, &batch(&calls), seed);
        let rows: Vec<usize> = findings.iter().map(|f| f.row).collect();
        assert_eq!(rows, [0, 5, 6, 7], "seed {seed}");
        assert_eq!((counters.excepted, counters.errors), (4, 1), "seed {seed}");
    }
}

#[test]
fn a_group_still_across_speaks_at_tenfold_growth_and_when_its_case_is_over() {
    let call = |i: i64| Call {
        time_ms: i * 1_000,
        who: 0,
        object: Some(i as u64),
        amount: 1,
    };
    let sql = "SELECT who, count(DISTINCT object) AS d FROM HOP(calls, event_time, INTERVAL '10 minutes', INTERVAL '8 hours') GROUP BY who, window_start HAVING count(DISTINCT object) >= 50";
    let log: Vec<Call> = (0..7_000).map(call).collect();
    let told = |header: &str| {
        let (findings, _) = run(&rule(header, sql), &batch(&log), 0);
        let said = |f: &Finding| (f.row, f.value("d").unwrap().to_string(), f.grown);
        findings.iter().map(said).collect::<Vec<_>>()
    };
    let (first, tenfold) = ((49, "50".to_owned(), false), (499, "500".to_owned(), true));
    assert_eq!(
        told("suppress: {by: [who], for: 24h, update: true}"),
        [first.clone(), tenfold.clone()],
        "the set keeps ten thresholds, not a hundred"
    );
    let anew = (3_649, "1024".to_owned(), false);
    assert_eq!(
        told("suppress: {by: [who], for: 1h, update: true}"),
        [first, tenfold, anew]
    );
}

#[test]
fn values_of_windows_that_wait_for_stragglers_do_not_hide_a_burst() {
    // Below the threshold in each window, and more in all than one window's set may hold.
    let filler = (0..60).flat_map(|window: i64| {
        (0..190).map(move |i| Call {
            time_ms: window * 10_000 + i,
            who: 0,
            object: Some((window * 190 + i) as u64),
            amount: 1,
        })
    });
    let burst = (0..300).map(|i| Call {
        time_ms: 600_000 + i,
        who: 0,
        object: Some(1_000_000 + i as u64),
        amount: 1,
    });
    let log: Vec<Call> = filler.chain(burst).collect();
    let sql = "SELECT who, count(DISTINCT object) AS d FROM TUMBLE(calls, event_time, INTERVAL '10 seconds') GROUP BY who, window_start HAVING count(DISTINCT object) >= 200";
    let rule = rule("lateness: 9m\nemit: first_crossing", sql);
    let (findings, counters) = run(&rule, &batch(&log), 0);
    let rows: Vec<usize> = findings.iter().map(|f| f.row).collect();
    assert_eq!((rows, counters.capped), (vec![60 * 190 + 199], 0));
}

#[test]
fn a_row_on_which_an_expression_fails_is_left_out_and_counted() {
    let calls: Vec<Call> = (0..10)
        .map(|i| Call {
            time_ms: i * 1_000,
            who: 0,
            object: Some((i % 5) as u64),
            amount: i,
        })
        .collect();
    let (findings, counters) = run(
        &rule("", "SELECT who, amount / object AS share FROM calls"),
        &batch(&calls),
        0,
    );
    assert_eq!((findings.len(), counters.errors, counters.rows), (8, 2, 10));
    let rows: Vec<usize> = findings.iter().map(|f| f.row).collect();
    assert_eq!(rows, [1, 2, 3, 4, 6, 7, 8, 9]);
}

#[test]
fn an_exception_ends_with_its_last_day_of_event_time() {
    let day_ms = 86_400_000;
    let calls: Vec<Call> = [0, day_ms - 1, day_ms, day_ms + 1]
        .iter()
        .map(|t| Call {
            time_ms: *t,
            who: 1,
            object: None,
            amount: 1,
        })
        .collect();
    let excepting = rule(
        "exceptions: [{when: who = 'who1', reason: r, owner: o, expires: 1970-01-01}]",
        "SELECT who FROM calls",
    );
    let (findings, counters) = run(&excepting, &batch(&calls), 0);
    assert_eq!(
        findings.iter().map(|f| f.time_ms).collect::<Vec<_>>(),
        [day_ms, day_ms + 1]
    );
    assert_eq!((counters.excepted, counters.exceptions_expired), (2, 2));
}

#[test]
fn a_crossing_speaks_before_its_window_closes_and_shows_the_way_there() {
    let calls: Vec<Call> = (0..40)
        .map(|i| Call {
            time_ms: i * 1_000,
            who: 0,
            object: Some(i as u64),
            amount: 1,
        })
        .collect();
    let sql = "SELECT who, count(DISTINCT object) AS d, window_end FROM TUMBLE(calls, event_time, INTERVAL '1 minute') GROUP BY who, window_start, window_end HAVING count(DISTINCT object) >= 10";
    let (first, _) = run(&rule("emit: first_crossing", sql), &batch(&calls), 0);
    let (closed, _) = run(&rule("emit: window_close", sql), &batch(&calls), 0);
    let said = |f: &Finding| {
        (
            f.row,
            f.time_ms,
            f.value("d").unwrap().to_string(),
            f.evidence.iter().map(|e| e.offset).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        first.iter().map(said).collect::<Vec<_>>(),
        [(9, 9_000, "10".to_owned(), vec![1, 3, 5, 7, 9])]
    );
    assert_eq!(
        closed.iter().map(said).collect::<Vec<_>>(),
        [(usize::MAX, 60_000, "40".to_owned(), vec![0, 1, 2, 3, 39])]
    );
    assert_eq!(first[0].window, Some((0, 60_000)));
}

#[test]
fn a_group_speaks_again_only_after_it_was_quiet() {
    let burst = |from: i64, n: i64| {
        (0..n).map(move |i| Call {
            time_ms: from + i * 100,
            who: 0,
            object: Some(i as u64),
            amount: 1,
        })
    };
    let calls: Vec<Call> = burst(0, 20)
        .chain(burst(15_000, 20))
        .chain(burst(200_000, 20))
        .collect();
    let sql = "SELECT who FROM HOP(calls, event_time, INTERVAL '10 seconds', INTERVAL '1 minute') GROUP BY who, window_start HAVING count(*) >= 15";
    let (findings, _) = run(&rule("lateness: 0s", sql), &batch(&calls), 0);
    assert_eq!(
        findings.iter().map(|f| f.time_ms).collect::<Vec<_>>(),
        [1_400, 201_400]
    );
}

#[test]
fn the_watermark_of_the_source_closes_windows_without_rows() {
    let calls: Vec<Call> = (0..3)
        .map(|i| Call {
            time_ms: i,
            who: 0,
            object: None,
            amount: 1,
        })
        .collect();
    let sql = "SELECT who, count(*) AS n FROM TUMBLE(calls, event_time, INTERVAL '10 seconds') GROUP BY who, window_start";
    let (_, mut runner) = RuleRunner::single(&rule("lateness: 5s", sql), &self::calls()).unwrap();
    let mut findings = Vec::new();
    runner.push(&batch(&calls), Some(14_999), &mut findings);
    assert_eq!(findings.len(), 0);
    runner.push(&batch(&[]), Some(15_000), &mut findings);
    assert_eq!(findings.len(), 1);
    runner.push(&batch(&calls), None, &mut findings);
    runner.close(&mut findings);
    assert_eq!((findings.len(), runner.counters()[0].late), (1, 3));
}

#[test]
fn a_batch_that_lacks_columns_or_has_more_is_read_by_name() {
    let log = batch(&random_calls(1, 10));
    let other = log.project(&[3, 1, 0]).unwrap();
    let (_, mut runner) = RuleRunner::single(
        &rule(
            "",
            "SELECT who, object FROM calls WHERE amount > 0 OR object > 3",
        ),
        &calls(),
    )
    .unwrap();
    let (mut findings, mut without) = (Vec::new(), Vec::new());
    runner.push(&log, None, &mut findings);
    runner.push(&other, None, &mut without);
    assert!(!without.is_empty() && without.len() <= findings.len());
    assert!(without.iter().all(|f| f.value("object").unwrap().is_null()));
    runner.push(&log.project(&[1]).unwrap(), None, &mut without);
    assert_eq!(runner.counters()[0].errors, 10);
}

#[test]
fn findings_come_by_row_then_by_rule() {
    let named = |name: &str, id: u8, sql: &str| {
        let mut rule = rule("", sql);
        rule.header.name = name.to_owned();
        rule.header.id = format!("{id}");
        rule
    };
    let set = RuleSet::new(vec![
        named("b", 1, "SELECT who FROM calls WHERE amount > 0"),
        named("a", 2, "SELECT who FROM calls WHERE amount > 1"),
    ])
    .unwrap();
    let mut runner = RuleRunner::compile(&set, &calls(), "calls").unwrap();
    let calls: Vec<Call> = (0..3)
        .map(|i| Call {
            time_ms: i,
            who: 0,
            object: None,
            amount: i,
        })
        .collect();
    let mut findings = Vec::new();
    runner.push(&batch(&calls), None, &mut findings);
    let order: Vec<(usize, &str)> = findings
        .iter()
        .map(|f| (f.row, f.rule.header.name.as_str()))
        .collect();
    assert_eq!(order, [(1, "b"), (2, "a"), (2, "b")]);
    let log = concat_batches(&batch(&calls).schema(), &[batch(&calls)]).unwrap();
    assert_eq!(log.num_rows(), 3);
}

#[test]
fn texts_that_rules_share_change_no_finding() {
    let window = "FROM TUMBLE(calls, event_time, INTERVAL '10 seconds')";
    let rules: Vec<Rule> = [
        "SELECT who, amount FROM calls WHERE contains(upper(who), 'O1') OR upper(who) = 'WHO2'".to_owned(),
        "SELECT amount, text FROM (SELECT *, lower(concat(who, '/', CAST(amount AS VARCHAR))) AS text FROM calls) WHERE amount > 3 AND (contains(text, '2/1') OR ends_with(upper(who), 'O0')) AND upper(who) <> 'WHO2'".to_owned(),
        format!("SELECT window_start, count(*) AS n {window} WHERE concat(who, '/') || CAST(amount AS VARCHAR) LIKE '%/_' AND contains(upper(who), '2') GROUP BY window_start, window_end"),
    ]
    .iter()
    .zip(["a", "b", "c"])
    .map(|(sql, name)| {
        let mut rule = rule("", sql);
        (rule.header.name, rule.header.id) = (name.to_owned(), format!("id {name}"));
        rule
    })
    .collect();
    let log = batch(&random_calls(7, 400));
    let told = |rules: &[Rule]| {
        let set = RuleSet::new(rules.to_vec()).unwrap();
        let mut runner = RuleRunner::compile(&set, &calls(), "calls").unwrap();
        let mut findings = Vec::new();
        runner.push(&log, None, &mut findings);
        runner.close(&mut findings);
        assert!(runner.counters().iter().all(|c| c.errors == 0));
        let told = findings.iter();
        let mut told: Vec<String> = told
            .map(|f| format!("{} {} {}", f.rule.header.name, f.row, text(f)))
            .collect();
        told.sort();
        told
    };
    let alone: Vec<Vec<String>> = rules
        .iter()
        .map(|rule| told(std::slice::from_ref(rule)))
        .collect();
    assert!(alone.iter().all(|told| 3 < told.len()), "{alone:?}");
    assert!(
        alone[0].iter().all(|told| !told.contains("who0")),
        "{alone:?}"
    );
    let mut alone = alone.concat();
    alone.sort();
    assert_eq!(told(&rules), alone);
}

#[test]
fn names_and_ids_are_unique() {
    let faults = RuleSet::new(vec![rule("", "SELECT 1"), rule("", "SELECT 2")]).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn beyond_its_limit_the_least_recently_touched_group_goes() {
    let calls: Vec<Call> = [0, 1, 0, 2, 0, 1]
        .iter()
        .enumerate()
        .map(|(i, who)| Call {
            time_ms: i as i64,
            who: *who,
            object: Some(i as u64),
            amount: 1,
        })
        .collect();
    let sql = "SELECT who, count(*) AS n FROM TUMBLE(calls, event_time, INTERVAL '1 minute') GROUP BY who, window_start";
    let (_, mut runner) = RuleRunner::single(&rule("", sql), &self::calls()).unwrap();
    runner.limit_groups(2);
    let mut findings = Vec::new();
    runner.push(&batch(&calls), None, &mut findings);
    let counters = runner.counters().remove(0);
    assert_eq!(
        (counters.groups, counters.evicted),
        (2, 2),
        "1 goes for 2, then 2 for 1"
    );
    assert!(0 < counters.state_bytes && counters.state_bytes < 20_000);
    runner.close(&mut findings);
    let said: Vec<String> = findings
        .iter()
        .map(|f| format!("{} {}", f.values[0].1, f.values[1].1))
        .collect();
    assert_eq!(said, ["who0 3", "who1 1"]);
}
