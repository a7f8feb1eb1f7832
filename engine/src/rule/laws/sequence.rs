//! Laws of sequences: against a brute-force reference, wherever the log is cut, through a snapshot; and what is refused.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{
    MatchRecognizePattern as Ast, MatchRecognizeSymbol, RepetitionQuantifier,
};
use proptest::prelude::*;

use super::*;
use crate::rule::sequence::pattern::tests::any_pattern;

fn sql(pattern: &str) -> String {
    let conditions = [
        ('a', "a AS amount < 6"),
        ('b', "b AS b.amount >= 3 AND ok"),
        ('c', "c AS object = 2"),
    ];
    let named = conditions
        .iter()
        .filter(|(symbol, _)| pattern.contains(*symbol));
    let named: Vec<&str> = named.map(|(_, condition)| *condition).collect();
    format!(
        "SELECT who, n, since, match_start, match_end FROM calls MATCH_RECOGNIZE (PARTITION BY who MEASURES COUNT(*) AS n, FIRST(source_offset) AS since PATTERN ({pattern}) DEFINE {})",
        named.join(", ")
    )
}

/// Symbols a call may be, as letters.
fn symbols(call: &Call) -> &'static [char] {
    let is = (
        call.amount < 6,
        call.amount >= 3 && call.amount % 2 == 0,
        call.object == Some(2),
    );
    match is {
        (false, false, false) => &[],
        (true, false, false) => &['a'],
        (false, true, false) => &['b'],
        (false, false, true) => &['c'],
        (true, true, false) => &['a', 'b'],
        (true, false, true) => &['a', 'c'],
        (false, true, true) => &['b', 'c'],
        (true, true, true) => &['a', 'b', 'c'],
    }
}

/// Where a pattern may end that begins before the row `from`.
fn ends(ast: &Ast, rows: &[&Call], from: usize) -> BTreeSet<usize> {
    let repeated = |inner: &Ast, least: usize, most: usize| {
        let (mut all, mut now) = (BTreeSet::new(), BTreeSet::from([from]));
        for n in 0..=most.min(rows.len() + least) {
            if least <= n {
                all.extend(now.iter().copied());
            }
            now = now.iter().flat_map(|at| ends(inner, rows, *at)).collect();
            if now.is_empty() {
                break;
            }
        }
        all
    };
    match ast {
        Ast::Symbol(MatchRecognizeSymbol::Named(name)) => {
            let symbol = name.value.chars().next().unwrap();
            let is = rows
                .get(from)
                .is_some_and(|row| symbols(row).contains(&symbol));
            is.then_some(from + 1).into_iter().collect()
        }
        Ast::Group(inner) => ends(inner, rows, from),
        Ast::Concat(parts) => parts.iter().fold(BTreeSet::from([from]), |now, part| {
            now.iter().flat_map(|at| ends(part, rows, *at)).collect()
        }),
        Ast::Alternation(parts) => parts
            .iter()
            .flat_map(|part| ends(part, rows, from))
            .collect(),
        Ast::Repetition(inner, quantifier) => {
            let many = usize::MAX - rows.len();
            match quantifier {
                RepetitionQuantifier::ZeroOrMore => repeated(inner, 0, many),
                RepetitionQuantifier::OneOrMore => repeated(inner, 1, many),
                RepetitionQuantifier::AtMostOne => repeated(inner, 0, 1),
                RepetitionQuantifier::Exactly(n) => repeated(inner, *n as usize, *n as usize),
                RepetitionQuantifier::AtLeast(n) => repeated(inner, *n as usize, many),
                RepetitionQuantifier::AtMost(n) => repeated(inner, 0, *n as usize),
                RepetitionQuantifier::Range(n, m) => repeated(inner, *n as usize, *m as usize),
            }
        }
        other => panic!("{other}"),
    }
}

/// Rows that make a match whole, each with the rows it may have begun with.
fn reference(ast: &Ast, calls: &[Call], within_ms: i64) -> Vec<(usize, Vec<usize>)> {
    let mut found = Vec::new();
    for who in 0..3 {
        let places: Vec<usize> = (0..calls.len())
            .filter(|at| calls[*at].who == who)
            .collect();
        let rows: Vec<&Call> = places.iter().map(|at| &calls[*at]).collect();
        let mut begin = 0;
        for last in 0..rows.len() {
            let may_begin = |first: &usize| {
                let start_ms = rows[*first].time_ms;
                let near = |row: &&Call| row.time_ms - start_ms <= within_ms;
                rows[*first..=last].iter().all(near)
                    && ends(ast, &rows[..=last], *first).contains(&(last + 1))
            };
            let firsts: Vec<usize> = (begin..=last).filter(may_begin).collect();
            if !firsts.is_empty() {
                begin = last + 1;
                found.push((places[last], firsts.iter().map(|at| places[*at]).collect()));
            }
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn matches_are_those_of_the_reference_wherever_the_log_is_cut(ast in any_pattern(), seed in 1..1000_u64, is_tight in any::<bool>()) {
        let calls = random_calls(seed, 60);
        let within = if is_tight { "5s" } else { "2h" };
        let rule = rule(&format!("within: {within}"), &sql(&ast.to_string()));
        if let Err(faults) = RuleRunner::single(&rule, &self::calls()) {
            let said = faults[0].to_string();
            prop_assert!(said.contains("more than 64 symbols") || said.contains("without a row"), "{}", said);
            return Ok(());
        }
        let log = batch(&calls);
        let (whole, counters) = run(&rule, &log, 0);
        prop_assert_eq!(counters.errors, 0);
        let mut expected = reference(&ast, &calls, if is_tight { 5_000 } else { 7_200_000 });
        let mut told = Vec::new();
        for finding in &whole {
            let ScalarValue::Int64(Some(since)) = finding.value("since").unwrap() else { panic!() };
            told.push((finding.row, *since as usize));
        }
        told.sort_unstable();
        prop_assert_eq!(told.len(), expected.len(), "{}: {:?} {:?}", ast, told, expected);
        for ((row, since), (last, firsts)) in told.iter().zip(&mut expected) {
            prop_assert_eq!(row, last);
            prop_assert!(firsts.contains(since), "{}: {} of {:?}", ast, since, firsts);
            // Where nothing runs out of time, the one that began first is told.
            prop_assert!(is_tight || firsts[0] == *since, "{}: {} of {:?}", ast, since, firsts);
        }
        let said = |f: &Finding| (f.row, text(f), f.evidence.clone());
        let (cut, _) = run(&rule, &log, seed);
        prop_assert_eq!(whole.iter().map(said).collect::<Vec<_>>(), cut.iter().map(said).collect::<Vec<_>>());
    }
}

fn at(second: i64, amount: i64) -> Call {
    Call {
        time_ms: second * 1_000,
        who: 1,
        object: None,
        amount,
    }
}

#[test]
fn a_match_tells_its_measures_and_the_next_begins_behind_it() {
    let text_of = "WITH those AS (SELECT * FROM calls WHERE amount <> 7) SELECT who, lows, first_low, highest, match_start, match_end FROM those MATCH_RECOGNIZE (PARTITION BY who MEASURES COUNT(low.*) AS lows, FIRST(low.amount) AS first_low, LAST(high.who) AS highest PATTERN (low{2,} high) DEFINE low AS amount < $limit, high AS amount > 10) WHERE lows < 4";
    let rule = rule(
        "within: 1m\nparams: {limit: {type: int, default: 5, min: 0, max: 9}}",
        text_of,
    );
    let amounts = [1, 7, 2, 7, 11, 12, 3, 6, 3, 3, 13, 1, 1, 1, 1, 14];
    let calls: Vec<Call> = (0..)
        .zip(amounts)
        .map(|(s, amount)| at(s, amount))
        .collect();
    let (findings, counters) = run(&rule, &batch(&calls), 0);
    assert_eq!(counters.errors, 0);
    let rows: Vec<String> = findings.iter().map(text).collect();
    // 7 takes no part; 12 has no low before it; 6 is neither and ends what began; four lows are left out by WHERE.
    assert_eq!(
        rows,
        [
            "Some(0) who1 2 1 who1 0 4000",
            "Some(8000) who1 2 3 who1 8000 10000"
        ]
    );
    assert_eq!(findings[0].evidence.len(), 3);
    assert_eq!(findings[0].evidence[2].time_ms, 4_000);
    assert_eq!(findings[0].time_ms, 4_000);
}

#[test]
fn beyond_its_bound_a_sequence_is_none_and_a_later_start_still_counts() {
    let rule = rule("within: 10s", &sql("b{2} c"));
    let b = |second| Call {
        amount: 4,
        ..at(second, 0)
    };
    let c = |second| Call {
        object: Some(2),
        amount: 19,
        ..at(second, 0)
    };
    let (findings, _) = run(&rule, &batch(&[b(0), b(5), c(11)]), 0);
    assert!(findings.is_empty());
    let (findings, _) = run(&rule, &batch(&[b(0), b(5), b(6), c(11)]), 0);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].window, Some((5_000, 11_001)));
}

#[test]
fn what_a_sequence_cannot_be_is_refused_with_what_to_write() {
    let clause = |inner: &str| format!("SELECT * FROM calls MATCH_RECOGNIZE ({inner})");
    let whole = "PARTITION BY who PATTERN (a b) DEFINE a AS amount < 5, b AS ok";
    let rows = [
        ("", clause(whole), "write `within: 10m` in the header"),
        ("within: 1m", "SELECT who FROM calls".to_owned(), "there is none: remove it"),
        ("within: 1m", clause("PATTERN (a) DEFINE a AS ok"), "write PARTITION BY"),
        ("within: 1m", clause("PARTITION BY who ORDER BY event_time PATTERN (a) DEFINE a AS ok"), "order of the log; remove it"),
        ("within: 1m", clause("PARTITION BY who ALL ROWS PER MATCH PATTERN (a) DEFINE a AS ok"), "a match is one row"),
        ("within: 1m", clause("PARTITION BY who AFTER MATCH SKIP TO NEXT ROW PATTERN (a) DEFINE a AS ok"), "PAST LAST ROW"),
        ("within: 1m", clause("PARTITION BY who PATTERN (a{65}) DEFINE a AS ok"), "more than 64 symbols"),
        ("within: 1m", clause("PARTITION BY who PATTERN (a*) DEFINE a AS ok"), "without a row"),
        ("within: 1m", clause("PARTITION BY who PATTERN (a) DEFINE a AS ok, b AS ok"), "which PATTERN does not"),
        ("within: 1m", clause("PARTITION BY who PATTERN (a b) DEFINE a AS ok, b AS b.amount > a.amount"), "No field named a.amount"),
        ("within: 1m", clause("PARTITION BY who PATTERN (a) DEFINE a AS amount"), "is not a condition"),
        ("within: 1m", clause("PARTITION BY who MEASURES SUM(a.amount) AS s PATTERN (a) DEFINE a AS ok"), "write FIRST(symbol.column)"),
        ("within: 1m", clause("PARTITION BY who MEASURES FIRST(z.amount) AS s PATTERN (a) DEFINE a AS ok"), "MEASURES names `z`"),
        ("within: 1m", clause("PARTITION BY who MEASURES COUNT(*) AS who PATTERN (a) DEFINE a AS ok"), "another name with AS"),
        ("within: 1m", "SELECT who, count(*) FROM calls MATCH_RECOGNIZE (PARTITION BY who PATTERN (a) DEFINE a AS ok) GROUP BY who".to_owned(), "COUNT in MEASURES"),
        ("within: 1m", "SELECT * FROM TUMBLE(calls, event_time, INTERVAL '1 minute') MATCH_RECOGNIZE (PARTITION BY who PATTERN (a) DEFINE a AS ok)".to_owned(), "takes the place of TUMBLE"),
        ("within: 1m", "WITH some AS (SELECT who, ok FROM calls) SELECT * FROM some MATCH_RECOGNIZE (PARTITION BY who PATTERN (a) DEFINE a AS ok)".to_owned(), "SELECT * FROM table WHERE …"),
    ];
    for (header, sql, words) in rows {
        let said = refused(header, &sql);
        assert!(said.contains(words), "{sql}: {said}");
    }
    assert_eq!(refused("within: 1m", &clause(whole)), "accepted");
}
