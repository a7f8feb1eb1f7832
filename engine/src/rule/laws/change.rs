//! Laws of rules that change while they run: what counts the same goes on, what counts something else begins empty.

use bytes::Bytes;

use super::*;
use crate::state::part::{self, PartWriter};
use crate::state::{Loader, Saver};

const TUMBLE: &str = "FROM TUMBLE(calls, event_time, INTERVAL '1 minute')";

fn named(name: &str, header: &str, sql: &str) -> Rule {
    let plain = rule(header, sql);
    let text = plain.text.replace("name: r\n", &format!("name: {name}\n"));
    let id = format!(
        "6f1c2f0e-2f62-4c0c-9f0c-{:012}",
        name.bytes().map(u64::from).sum::<u64>()
    );
    let text = text.replace(&plain.header.id, &id);
    Rule::parse(Path::new(&format!("{name}.sql")), &text).unwrap()
}

fn compiled(rules: &[Rule]) -> RuleRunner {
    let set = RuleSet::new(rules.to_vec()).unwrap();
    RuleRunner::compile(&set, &calls(), "calls")
        .map_err(|f| f[0].to_string())
        .unwrap()
}

/// The bytes of a runner's state, put into another.
fn put_back(from: &mut RuleRunner, into: &mut RuleRunner) {
    let mut saver = Saver::new(None, 1);
    from.walk(&mut saver);
    let mut files = Vec::new();
    let mut take = |file| {
        files.push(Bytes::from(file));
        Ok(())
    };
    let image = saver.finish().unwrap();
    image.write(PartWriter::new(&mut take)).unwrap();
    let mut loader = Loader::default();
    loader.add(files.iter().flat_map(|file| part::read(file).unwrap()));
    into.walk(&mut loader);
    loader.finish().unwrap();
}

fn one_call(second: i64) -> RecordBatch {
    let call = Call {
        time_ms: second * 1_000,
        who: 1,
        object: Some(second as u64),
        amount: second,
    };
    batch(&[call])
}

/// Three calls by the rules before, the fourth by those after: what the fourth makes, and which rules began empty.
fn fourth(before: &[Rule], after: &[Rule], by_snapshot: bool) -> (Vec<String>, Vec<String>) {
    let (mut old, mut new) = (compiled(before), compiled(after));
    let mut findings = Vec::new();
    (1..4).for_each(|second| old.push(&one_call(second), None, &mut findings));
    findings.clear();
    let mut begun = Vec::new();
    match by_snapshot {
        true => put_back(&mut old, &mut new),
        false => begun = new.adopt(old),
    }
    new.push(&one_call(4), None, &mut findings);
    let name = |rule: &Arc<Rule>| rule.header.name.clone();
    let said = findings.iter().map(|f| name(&f.rule));
    (said.collect(), begun.iter().map(name).collect())
}

#[test]
fn a_change_of_threshold_or_header_keeps_what_was_counted() {
    let counting = |header: &str, where_: &str, having: &str| {
        let sql = format!(
            "SELECT who, count(*) AS n {TUMBLE} {where_} GROUP BY who, window_start HAVING {having}"
        );
        named("counts", header, &sql)
    };
    let old = counting("", "", "count(*) > 100");
    let rows = [
        ("the same", counting("", "", "count(*) > 100"), true, false),
        ("lower", counting("", "", "count(*) > 3"), true, true),
        (
            "severer",
            counting("tags: [cwe.639]", "", "count(*) > 3"),
            true,
            true,
        ),
        (
            "other rows",
            counting("", "WHERE amount > 0", "count(*) > 3"),
            false,
            false,
        ),
        (
            "a parameter of the rows",
            counting(
                "params: {least: {type: int, default: 0, min: 0, max: 9}}",
                "WHERE amount > $least",
                "count(*) > 3",
            ),
            false,
            false,
        ),
        (
            "later rows",
            counting("lateness: 9s", "", "count(*) > 3"),
            false,
            false,
        ),
        (
            "at the end",
            counting("emit: window_close", "", "count(*) > 3"),
            false,
            false,
        ),
    ];
    for (what, new, is_kept, fires) in rows {
        let fires: &[&str] = if fires { &["counts"] } else { &[] };
        let begins: &[&str] = if is_kept { &[] } else { &["counts"] };
        let (old, new) = ([old.clone()], [new]);
        let (said, begun) = fourth(&old, &new, false);
        assert_eq!(begun, begins, "{what}");
        assert_eq!(said, fires, "{what}");
        let (said, _) = fourth(&old, &new, true);
        assert_eq!(said, fires, "{what}, by a snapshot");
    }
}

#[test]
fn rules_that_come_and_go_leave_the_others_alone() {
    let counting = |name: &str| {
        let sql = format!(
            "SELECT who, count(*) AS n {TUMBLE} GROUP BY who, window_start HAVING count(*) > 3"
        );
        named(name, "", &sql)
    };
    for by_snapshot in [false, true] {
        let (before, after) = (
            [counting("gone"), counting("stays")],
            [counting("stays"), counting("arrived")],
        );
        let (said, begun) = fourth(&before, &after, by_snapshot);
        assert_eq!(said, ["stays"]);
        assert!(by_snapshot || begun == ["arrived"], "{begun:?}");
    }
}

#[test]
fn a_runner_that_is_replaced_by_its_like_or_put_back_anywhere_says_the_same() {
    let hop = "FROM HOP(calls, event_time, INTERVAL '10 seconds', INTERVAL '1 minute')";
    let rules = [
        named(
            "crosses",
            "lateness: 7s",
            &format!(
                "SELECT who, count(DISTINCT object) AS d, sum(amount) AS s {hop} WHERE amount >= 0 GROUP BY who, window_start HAVING count(DISTINCT object) > 4"
            ),
        ),
        named(
            "follows",
            "within: 2m",
            "SELECT who, n, since FROM calls MATCH_RECOGNIZE (PARTITION BY who MEASURES COUNT(*) AS n, FIRST(low.object) AS since PATTERN (low{2,} high) DEFINE low AS amount < 5, high AS amount > 10)",
        ),
        named(
            "ends",
            "lateness: 7s\nemit: window_close",
            &format!("SELECT count(*) AS n, max(amount) AS hi {hop} GROUP BY window_start"),
        ),
    ];
    for seed in 1..20 {
        let log = batch(&random_calls(seed, 200));
        let mut said = Vec::new();
        for replaces in [false, true] {
            let (mut runner, mut findings, mut at) = (compiled(&rules), Vec::new(), 0);
            let mut dice = Dice(seed);
            while at < log.num_rows() {
                let n = (dice.roll(9) as usize).min(log.num_rows() - at);
                let place = dice.roll(4);
                if replaces && place < 2 {
                    let mut old = std::mem::replace(&mut runner, compiled(&rules));
                    match place {
                        0 => assert_eq!(runner.adopt(old).len(), 0),
                        _ => put_back(&mut old, &mut runner),
                    }
                }
                runner.push(&log.slice(at, n), None, &mut findings);
                at += n;
            }
            runner.close(&mut findings);
            for rule in &rules {
                let of = |f: &&Finding| f.rule.header.name == rule.header.name;
                assert_ne!(findings.iter().filter(of).count(), 0);
            }
            said.push(findings.iter().map(text).collect::<Vec<_>>());
        }
        assert_eq!(said[0], said[1], "seed {seed}");
    }
}
