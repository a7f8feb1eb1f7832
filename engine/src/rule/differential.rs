//! Rules against ordinary SQL: a generated rule over a generated log, streamed, must say what DataFusion says of the same rows
//! at rest.
//!
//! The rows are put into windows one by one, those that come too late for one left out of it; then the rule's SELECT is asked of
//! them as of any table ([`oracle`]). With `emit: window_close` the answers must be equal; with `first_crossing` the rows at which
//! groups speak, the windows they speak of and the columns must be those of the prefixes that cross. Each log is run whole and
//! cut at random, in half of the cases saved in the middle and put back into a fresh runner.
//!
//! Every run tries the same cases, the long form others:
//!
//! ```sh
//! TOLLWATCH_FUZZ_CASES=10000 cargo test --release --locked -p engine --lib rule::differential
//! ```
//!
//! A case that fails is made small and printed with its seed, its rule and its rows; `TOLLWATCH_FUZZ_SEED` begins with that one.

mod generate;
mod oracle;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::scalar::ScalarValue;

use self::generate::{Call, Query, batch, calls, stream};
use self::oracle::Oracle;
use super::laws::{Dice, rule};
use super::{Finding, Rule, RuleRunner};
use crate::state::image::{Loader, Saver};
use crate::state::part::{self, PartWriter};

/// Cases of an ordinary run.
const CASES: u64 = 400;

/// Faults after which a run ends.
const FAULTS_MAX: usize = 8;

/// What became of a case.
enum Outcome {
    /// The answers are equal; how many findings there were.
    Equal(usize),
    /// `first_crossing` was refused, its HAVING being none that stays true.
    Refused,
}

#[test]
fn streamed_rules_say_what_sql_says_of_the_rows_at_rest() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} is a number")),
        )
    };
    let (asked, seed) = (
        number("TOLLWATCH_FUZZ_CASES"),
        number("TOLLWATCH_FUZZ_SEED"),
    );
    let first = match (asked, seed) {
        (_, Some(seed)) => seed,
        (None, None) => 1,
        (Some(_), None) => std::time::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_secs()) << 32,
    };
    let oracle = Oracle::new();
    let (mut n_findings, mut n_told, mut n_refused) = (0, 0, 0);
    let n_cases = asked.unwrap_or(CASES);
    let mut faults = Vec::new();
    for seed in first..first + n_cases {
        match tried(&oracle, seed) {
            Ok(Outcome::Equal(n)) => {
                n_findings += n;
                n_told += u64::from(0 < n);
            }
            Ok(Outcome::Refused) => n_refused += 1,
            Err(fault) => faults.push(fault),
        }
        if FAULTS_MAX <= faults.len() {
            break;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    println!("{n_cases} cases: {n_told} with {n_findings} findings, {n_refused} refused");
    // What finds nothing tests nothing.
    assert!(
        n_cases < 50 || n_cases < 3 * n_told && n_refused * 5 < n_cases,
        "{n_told} {n_refused}"
    );
}

#[test]
fn sessions_of_rows_in_order_are_those_of_lag_and_sum() {
    let oracle = Oracle::new();
    let streamed = rule(
        "lateness: 0s\nemit: window_close",
        "SELECT who, window_start, window_end, count(*) AS n, array_agg(source_offset) AS rows
         FROM SESSION(calls, event_time, INTERVAL '3 seconds') GROUP BY who, window_start, window_end",
    );
    let at_rest = "
        WITH timed AS (SELECT who, source_offset, CAST(event_time AS BIGINT) AS ms FROM calls),
        marked AS (SELECT *, CASE WHEN ms - lag(ms) OVER in_order < 3000 THEN 0 ELSE 1 END AS begins
                   FROM timed WINDOW in_order AS (PARTITION BY who ORDER BY ms, source_offset)),
        numbered AS (SELECT *, sum(begins) OVER (PARTITION BY who ORDER BY ms, source_offset) AS session FROM marked)
        SELECT who, to_timestamp_millis(min(ms)), to_timestamp_millis(max(ms) + 3000), count(*),
               array_agg(source_offset ORDER BY source_offset)
        FROM numbered GROUP BY who, session";
    let mut n_sessions = 0;
    for seed in 1..60 {
        let log = batch(&calls(&mut Dice(seed), 0));
        let (found, n_late) = run(&streamed, &log, None).unwrap();
        let text = |value: &ScalarValue| match value {
            ScalarValue::TimestampMillisecond(Some(ms), _) => ms.to_string(),
            other => other.to_string(),
        };
        let found = found
            .iter()
            .map(|f| f.values.iter().map(|(_, v)| text(v)).collect());
        let mut found: Vec<Vec<String>> = found.collect();
        let wanted = oracle.ask(log, at_rest).unwrap();
        let mut wanted: Vec<Vec<String>> = wanted
            .iter()
            .map(|row| row.iter().map(text).collect())
            .collect();
        found.sort();
        wanted.sort();
        n_sessions += found.len();
        assert_eq!((found, n_late), (wanted, 0), "seed {seed}");
    }
    assert!(500 < n_sessions, "{n_sessions}");
}

/// Tries the case of one seed.
///
/// # Errors
/// How the answers differ, the rule and the fewest rows for which they do.
fn tried(oracle: &Oracle, seed: u64) -> Result<Outcome, String> {
    let mut dice = Dice(seed);
    let query = Query::draw(&mut dice);
    let back_ms = query.back_ms(&mut dice);
    let mut log = calls(&mut dice, back_ms);
    let judge = |log: &[Call]| {
        let judged = catch_unwind(AssertUnwindSafe(|| judged(oracle, &query, log, seed)));
        judged.unwrap_or_else(|_| Err("panicked, see above".to_owned()))
    };
    let mut fault = match judge(&log) {
        Ok(outcome) => return Ok(outcome),
        Err(fault) => fault,
    };
    let mut at = 0;
    while at < log.len() {
        let mut fewer = log.clone();
        fewer.remove(at);
        match judge(&fewer) {
            Err(smaller) => (log, fault) = (fewer, smaller),
            Ok(_) => at += 1,
        }
    }
    let (header, sql) = query.rule();
    let rows: Vec<String> = log.iter().map(|call| format!("{call:?}")).collect();
    let rows = rows.join("\n");
    Err(format!("seed {seed}: {fault}\n{header}\n{sql}\n{rows}"))
}

fn judged(oracle: &Oracle, query: &Query, calls: &[Call], seed: u64) -> Result<Outcome, String> {
    let (header, sql) = query.rule();
    let (rule, log) = (rule(&header, &sql), batch(calls));
    if let Err(faults) = RuleRunner::single(&rule, &stream()) {
        let expected = query.is_early && !query.is_monotone;
        return match faults[0]
            .message
            .contains("a HAVING that stays true once it is")
            && expected
        {
            true => Ok(Outcome::Refused),
            false => Err(format!("refused: {}", faults[0])),
        };
    }
    let (whole, n_late) = run(&rule, &log, None)?;
    let cut = run(&rule, &log, Some(Dice(seed)))?;
    let said = |of: &[Finding]| -> Vec<_> {
        let said = |f: &Finding| {
            let told = (f.row, f.order, f.time_ms, f.window, f.grown);
            format!("{told:?} {:?} {:?}", f.values, f.evidence)
        };
        of.iter().map(said).collect()
    };
    if (said(&whole), n_late) != (said(&cut.0), cut.1) {
        return Err(format!(
            "the answer depends on cuts: {:#?}\n{:#?}",
            (said(&whole), n_late),
            (said(&cut.0), cut.1)
        ));
    }
    match query.windowing {
        None => {
            let wanted = oracle.ask(log, &query.at_rest(""))?;
            same_rows(&whole, &wanted)?;
        }
        Some(windowing) if query.is_early => {
            let grown = whole.iter().filter(|f| f.grown);
            let grown: Vec<usize> = grown.map(|f| f.row).collect();
            let wanted = oracle.crossed(query, windowing, calls, &log, &grown)?;
            let found = whole.iter().filter(|f| !f.grown);
            let found: Vec<Finding> = found.cloned().collect();
            let places = |f: &Finding| (f.row, f.window.unwrap_or_default().0);
            let places: Vec<_> = found.iter().map(places).collect();
            let wanted_places: Vec<_> = wanted.iter().map(|c| (c.row, c.start_ms)).collect();
            if places != wanted_places {
                return Err(format!("crossed at {places:?}, not at {wanted_places:?}"));
            }
            let wanted: Vec<_> = wanted.into_iter().map(|c| c.values).collect();
            same_rows(&found, &wanted)?;
        }
        Some(windowing) => {
            let (wanted, wanted_late) = oracle.closed(query, windowing, calls, &log)?;
            if n_late != wanted_late {
                return Err(format!("{n_late} rows were late, not {wanted_late}"));
            }
            same_groups(&whole, &wanted, query.n_names())?;
        }
    }
    Ok(Outcome::Equal(whole.len()))
}

/// What a rule says of a log, whole or cut at random places and perhaps saved at one of them; and how many rows were late.
fn run(rule: &Rule, log: &RecordBatch, cuts: Option<Dice>) -> Result<(Vec<Finding>, u64), String> {
    let fresh = || {
        let single = RuleRunner::single(rule, &stream());
        single
            .map(|(_, runner)| runner)
            .map_err(|f| f[0].to_string())
    };
    let (mut runner, mut dice) = (fresh()?, cuts);
    let (mut findings, mut n_late, mut at) = (Vec::new(), 0, 0);
    let mut save_at = dice
        .as_mut()
        .map_or(u64::MAX, |dice| dice.roll(2 * log.num_rows() as u64 + 1));
    let late = |runner: &RuleRunner| runner.counters()[0].late;
    while at < log.num_rows() {
        let n = match &mut dice {
            None => log.num_rows(),
            Some(dice) => (dice.roll(9) as usize).min(log.num_rows() - at),
        };
        let before = findings.len();
        runner.push(&log.slice(at, n), None, &mut findings);
        for finding in &mut findings[before..] {
            finding.row = finding.row.saturating_add(at);
            finding.order = finding.order.saturating_add(at);
        }
        at += n;
        if save_at <= at as u64 {
            save_at = u64::MAX;
            n_late += late(&runner);
            runner = restored(&mut runner, fresh()?)?;
        }
    }
    runner.close(&mut findings);
    let counters = runner.counters().remove(0);
    if counters.errors + counters.evicted + counters.capped != 0 {
        return Err(format!("left something out: {counters:?}"));
    }
    let closes =
        rule.sql.contains(" GROUP BY ") && rule.header.emit == Some(super::Emit::WindowClose);
    if closes && (counters.groups, counters.state_bytes) != (0, 0) {
        return Err(format!("keeps something when all is closed: {counters:?}"));
    }
    Ok((findings, n_late + counters.late))
}

/// A fresh runner with the state of another.
fn restored(of: &mut RuleRunner, mut fresh: RuleRunner) -> Result<RuleRunner, String> {
    let mut saver = Saver::new(None, 1);
    of.walk(&mut saver);
    let image = saver.finish().map_err(|e| e.to_string())?;
    let mut files = Vec::new();
    let mut take = |file| {
        files.push(Bytes::from(file));
        Ok(())
    };
    image
        .write(PartWriter::new(&mut take))
        .map_err(|e| e.to_string())?;
    let mut loader = Loader::default();
    loader.add(files.iter().flat_map(|file| part::read(file).unwrap()));
    fresh.walk(&mut loader);
    loader.finish().map_err(|e| e.to_string())?;
    Ok(fresh)
}

/// Holds findings against rows, in their order.
fn same_rows(found: &[Finding], wanted: &[Vec<ScalarValue>]) -> Result<(), String> {
    if found.len() != wanted.len() {
        return Err(format!("{} findings, not {}", found.len(), wanted.len()));
    }
    for (found, wanted) in found.iter().zip(wanted) {
        same(found, wanted)?;
    }
    Ok(())
}

/// Holds findings against rows, by the `n_names` columns that name a group and its window.
fn same_groups(
    found: &[Finding],
    wanted: &[Vec<ScalarValue>],
    n_names: usize,
) -> Result<(), String> {
    let mut left: BTreeMap<String, &Vec<ScalarValue>> = BTreeMap::new();
    for row in wanted {
        left.insert(shown(&row[..n_names]), row);
    }
    for finding in found {
        let names = finding.values[..n_names].iter().map(|(_, v)| v.clone());
        let name = shown(&names.collect::<Vec<_>>());
        let wanted = left.remove(&name);
        same(
            finding,
            wanted.ok_or(format!("{name} was found, and is not there"))?,
        )?;
    }
    match left.pop_first() {
        None => Ok(()),
        Some((name, row)) => Err(format!("{name} was not found: {}", shown(row))),
    }
}

fn shown(values: &[ScalarValue]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

fn same(found: &Finding, wanted: &[ScalarValue]) -> Result<(), String> {
    let values: Vec<ScalarValue> = found.values.iter().map(|(_, v)| v.clone()).collect();
    match values.len() == wanted.len() && values.iter().zip(wanted).all(|(a, b)| is_same(a, b)) {
        true => Ok(()),
        false => Err(format!("found {}, not {}", shown(&values), shown(wanted))),
    }
}

/// Equal; floats but for what rounding in another order makes of them.
fn is_same(found: &ScalarValue, wanted: &ScalarValue) -> bool {
    match (found, wanted) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => {
            (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
        }
        (a, b) => a.to_string() == b.to_string(),
    }
}
