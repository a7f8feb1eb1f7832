//! Rules as data: what each rule of `tests/rules/*.test` says of its rows, or why it is refused.
//!
//! A record is `rule` or `refused`, lines of the header, `sql` and the SELECT, `rows` as in the tests of a header, and after `----`
//! what comes out: a finding a line, with times from the start of the test, or the message. Records are parted by blank lines, and
//! `#` begins a comment. After a change that is meant, `TOLLWATCH_COMPLETE=1` writes what comes out into the files; read the
//! difference as code.

use std::path::Path;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use engine::rule::check::{TEST_START_MS, findings_of};
use engine::rule::{Finding, Rule, RuleRunner};
use engine::stage::catalog;

use crate::support::root;

#[test]
fn rules_say_what_their_files_say() {
    let folder = root().join("tests/rules");
    let listed = std::fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<_> = listed.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let (mut n_rules, mut n_refused) = (0, 0);
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("reads");
        let records: Vec<&str> = text.trim_end().split("\n\n").collect();
        n_rules += records.iter().filter(|r| has_line(r, "rule")).count();
        n_refused += records.iter().filter(|r| has_line(r, "refused")).count();
        let completed: Vec<String> = records.iter().map(|record| completed(record)).collect();
        let completed = completed.join("\n\n") + "\n";
        if std::env::var_os("TOLLWATCH_COMPLETE").is_some() {
            std::fs::write(&path, completed).expect("writes");
            continue;
        }
        let differs = completed
            .lines()
            .zip(text.lines())
            .find(|(now, then)| now != then);
        assert!(
            completed == text,
            "{}: what comes out is another\n  now  {:?}\n{completed}",
            path.display(),
            differs
        );
    }
    assert!(
        40 <= n_rules && 40 <= n_refused,
        "{n_rules} rules, {n_refused} refused"
    );
}

/// Columns and types of each table, as the documentation has them.
#[test]
fn the_documentation_has_the_columns_of_every_table() {
    let text = std::fs::read_to_string(root().join("docs/rules.md")).expect("docs/rules.md");
    let catalog = catalog();
    for table in catalog.tables() {
        let section = text.split("\n## ");
        let mut section = section.filter(|part| part.starts_with(&format!("`{table}`\n")));
        let rows = section.next().expect("a section of its own").lines();
        let rows = rows.filter_map(|row| row.strip_prefix("| `")?.split_once("` | "));
        let told: Vec<(&str, &str)> = rows
            .filter_map(|(name, rest)| Some((name, rest.split_once(" | ")?.0)))
            .collect();
        let stream = catalog.get(table).expect("a table of the catalogue");
        let name = |of: &DataType| match of {
            DataType::Utf8 => "text",
            DataType::Boolean => "bool",
            DataType::Float64 => "float",
            DataType::UInt64 => "hash",
            DataType::Int32 | DataType::Int64 => "int",
            DataType::Timestamp(..) => "time",
            _ => "?",
        };
        let fields = stream.schema.fields();
        let types: Vec<String> = fields
            .iter()
            .map(|field| {
                let may_lack = if field.is_nullable() { "?" } else { "" };
                format!("{}{may_lack}", name(field.data_type()))
            })
            .collect();
        let has = fields.iter().zip(&types);
        let has: Vec<(&str, &str)> = has
            .map(|(f, of)| (f.name().as_str(), of.as_str()))
            .collect();
        assert_eq!(told, has, "{table}");
    }
}

fn has_line(record: &str, line: &str) -> bool {
    record.lines().any(|l| l == line)
}

/// A record with what comes out, whatever it says.
fn completed(record: &str) -> String {
    let given = record
        .split_once("\n----")
        .map_or(record, |(given, _)| given);
    let part = |from: &str, to: Option<&str>| {
        let lines = given.lines().skip_while(|line| *line != from).skip(1);
        let lines = lines.take_while(|line| Some(*line) != to);
        lines.collect::<Vec<_>>()
    };
    let refused = has_line(given, "refused");
    if !refused && !has_line(given, "rule") {
        assert!(
            given.lines().all(|line| line.starts_with('#')),
            "no record: {given}"
        );
        return record.to_owned();
    }
    let header = part(if refused { "refused" } else { "rule" }, Some("sql"));
    let sql = part("sql", Some("rows"));
    let rows: Vec<String> = part("rows", None)
        .iter()
        .map(|row| format!("      {row}"))
        .collect();
    let tests = match rows.as_slice() {
        [] => String::new(),
        rows => format!(
            "tests:\n  - name: rows\n    rows:\n{}\n    expect: {{alerts: 0}}\n",
            rows.join("\n")
        ),
    };
    let text = format!(
        "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: r\nversion: 1\ntitle: t\nstatus: test\nseverity: low\n\
         description: d\n{}\n{tests}---*/\n{}",
        header.join("\n"),
        sql.join("\n")
    );
    let rule = Rule::parse(Path::new("r.sql"), &text).unwrap_or_else(|f| panic!("{given}\n{f:?}"));
    let told = match refused {
        true => match RuleRunner::single(&rule, &catalog()) {
            Ok(_) => "accepted".to_owned(),
            // DataFusion lists the columns there are behind it.
            Err(faults) => faults[0]
                .message
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        },
        false => match findings_of(&rule, &rule.header.tests[0].rows, &catalog()) {
            Ok(findings) => findings.iter().map(shown).collect::<Vec<_>>().join("\n"),
            Err(fault) => fault,
        },
    };
    let told = told.trim_end();
    match told {
        "" => format!("{given}\n----"),
        told => format!("{given}\n----\n{told}"),
    }
}

fn shown(finding: &Finding) -> String {
    let mut line = seconds(finding.time_ms);
    for (name, value) in &finding.values {
        let value = match value {
            value if value.is_null() => "-".to_owned(),
            ScalarValue::TimestampMillisecond(Some(ms), _) => seconds(*ms),
            other => other.to_string(),
        };
        line += &format!(" {name}={value}");
    }
    match finding.grown {
        true => line + " (grown)",
        false => line,
    }
}

/// A time, in seconds from the start of the test.
fn seconds(ms: i64) -> String {
    format!("{}s", (ms - TEST_START_MS) as f64 / 1_000.0)
}
