//! Lookup tables and functions from the command line, and what `docs/rules.md` says of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::command::rules::functions::markdown;
use engine::rule::{Lookup, Lookups, Rule, RuleRunner, RuleSet};
use engine::stage::catalog;

use crate::support::{bundled, json, root, succeed, tollwatch};

const RULE: &str = r#"/*---
schema: rule/v1
id: 0b9a2f63-5d0e-4f0c-8a43-0c6f4f5a7d11
name: batch_flood
version: 1
title: Flood of a team's caller
status: stable
severity: low
description: More objects in five minutes than the tier of the caller allows.
suppress: {by: [identity], for: 24h}
alert: {title: "{identity} of {team} read {objects} objects"}
tests:
  - name: a caller of a tier that allows less
    lookups: {owners: "identity,team,tier:int\nmallory,red,2\n"}
    rows: {generate: {n: 40, every: 1s, identity: "'mallory'", object: i, status: 200}}
    expect: {alerts: 1, title: "mallory of red read 31 objects"}
  - name: a caller who is on no list
    lookups: {owners: "identity,team,tier:int\nmallory,red,2\n"}
    rows: {generate: {n: 40, every: 1s, identity: "'alice'", object: i, status: 200}}
    expect: {alerts: 0}
---*/
SELECT e.identity, o.team, window_start, window_end, count(DISTINCT object) AS objects
FROM TUMBLE(events, event_time, INTERVAL '5 minutes') e JOIN owners o ON e.identity = o.identity
WHERE o.tier >= 2 AND status < 400
GROUP BY e.identity, o.team, window_start, window_end
HAVING count(DISTINCT object) > 30
"#;

/// A folder with the rule, and one with a table.
fn folders(dir: &Path, owners: &str) -> (PathBuf, PathBuf) {
    let (rules, tables) = (dir.join("rules"), dir.join("tables"));
    for folder in [&rules, &tables] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    std::fs::write(rules.join("batch_flood.sql"), RULE).expect("a rule");
    std::fs::write(tables.join("owners.csv"), owners).expect("a table");
    (rules, tables)
}

#[test]
fn a_rule_knows_what_a_table_says_of_callers() {
    let dir = tempfile::tempdir().expect("a folder");
    let owners = "identity,team,tier:int\nerp_batch,billing,2\nglobex_h3054,sales,1\n";
    let (rules, tables) = folders(dir.path(), owners);
    let run = |arguments: &[&str]| {
        let mut command = tollwatch();
        command.args(arguments).arg("--lookups").arg(&tables);
        command
    };
    let rules = rules.to_str().expect("a path");
    succeed(&mut run(&["rules", "check", rules]));
    succeed(&mut run(&["rules", "test", rules]));
    let log = bundled("ledger.log.xz");
    let log = log.to_str().expect("a path");
    let report = json(&mut run(&[
        "rules", "backtest", rules, "--json", "--from", log,
    ]));
    let identities = report["identities"]
        .as_object()
        .map(|of| of.keys().cloned().collect::<Vec<_>>());
    assert!(
        report
            .to_string()
            .contains("erp_batch of billing read 31 objects"),
        "{report}"
    );
    assert!(
        !report.to_string().contains("globex_h3054"),
        "{identities:?}"
    );

    let alerts = dir.path().join("alerts.ndjson");
    let mut replay = run(&["replay", log, "--rules", rules]);
    succeed(replay.arg("--alerts").arg(&alerts));
    let told = std::fs::read_to_string(&alerts).expect("alerts");
    assert!(
        told.lines()
            .any(|line| line.contains("erp_batch of billing read")),
        "{told}"
    );
    assert!(
        told.lines().all(|line| line.contains("of billing read")),
        "{told}"
    );
}

#[test]
fn a_rule_without_its_table_says_where_tables_come_from() {
    let dir = tempfile::tempdir().expect("a folder");
    let (rules, tables) = folders(dir.path(), "identity,team,tier:int\na,red,two\n");
    let mut check = tollwatch();
    let output = check
        .args(["rules", "check"])
        .arg(&rules)
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("there is no table `owners`, there are: alerts, events, findings, inventory, touches; lookup tables come from --lookups"), "{told}");
    let output = check
        .arg("--lookups")
        .arg(&tables)
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("owners.csv:2: tier: the value is no int"),
        "{told}"
    );
}

fn documentation() -> String {
    std::fs::read_to_string(root().join("docs/rules.md")).expect("docs/rules.md")
}

#[test]
fn the_documentation_has_the_functions_as_the_program_prints_them() {
    let mut command = tollwatch();
    command.args(["rules", "functions", "--markdown"]);
    let printed = String::from_utf8_lossy(&succeed(&mut command).stdout).into_owned();
    assert_eq!(printed, markdown());
    assert!(
        documentation().contains(&printed),
        "put this into docs/rules.md:\n{printed}"
    );
}

/// Each refusal of the documentation is the program's own, word by word.
#[test]
fn the_documentation_has_the_refusals_as_the_program_says_them() {
    let text = documentation();
    let section = text
        .split("\n## ")
        .find(|part| part.starts_with("What is refused"));
    let rows = section.expect("a section on what is refused").lines();
    let rows: Vec<(&str, &str)> = rows
        .filter_map(|row| row.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(sql, told)| Some((sql, told.strip_suffix(" |")?)))
        .collect();
    assert!(20 <= rows.len(), "{} rows", rows.len());
    let owners = Lookup::parse(Path::new("owners.csv"), "identity,team,tier:int\na,red,1\n");
    let gaps = Lookup::parse(
        Path::new("gaps.csv"),
        "identity,team\na,red\n,blue\na,green\n",
    );
    let lookups = Lookups::default().over([owners.expect("a table"), gaps.expect("a table")]);
    let header = RULE.split("tests:").next().expect("a header");
    let header = header.split("suppress:").next().expect("a header");
    let mut faults = Vec::new();
    for (sql, wanted) in rows {
        let text = format!("{header}---*/\n{}", sql.replace("\\|", "|"));
        let rule = Rule::parse(Path::new("batch_flood.sql"), &text);
        let told = rule.and_then(|rule| {
            let set = RuleSet {
                rules: vec![Arc::new(rule)],
                lookups: lookups.clone(),
            };
            RuleRunner::compile(&set, &catalog(), "events").map(drop)
        });
        let told = told
            .err()
            .map_or("accepted".to_owned(), |faults| faults[0].message.clone());
        if told.replace('|', "\\|") != wanted {
            faults.push(format!("| `{sql}` | {} |", told.replace('|', "\\|")));
        }
    }
    assert!(
        faults.is_empty(),
        "put these into docs/rules.md:\n{}",
        faults.join("\n")
    );
}
