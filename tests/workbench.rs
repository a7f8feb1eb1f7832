//! The rules' workbench: what a back-test, a comparison, a page and an explanation of rules say.

use std::path::{Path, PathBuf};
use std::process::Command;

use engine::rule::RuleSet;
use serde_json::Value;

use crate::support::{bundled, json, root, succeed, tollwatch};

fn workbench(arguments: &[&str]) -> Command {
    let mut command = tollwatch();
    command.arg("rules").args(arguments);
    command
}

/// `object_flood` with other texts, in a folder of its own.
pub(crate) fn flood(folder: &Path, changes: &[(&str, &str)]) -> PathBuf {
    let shipped = root().join("rules/object_flood.sql");
    let mut text = std::fs::read_to_string(shipped).expect("the shipped rule");
    for (from, to) in changes {
        assert!(text.contains(from), "the rule says {from}");
        text = text.replace(from, to);
    }
    std::fs::create_dir_all(folder).expect("a folder");
    let path = folder.join("object_flood.sql");
    std::fs::write(&path, text).expect("a rule");
    path
}

/// The exit code and the report of a command that may find something.
fn told(command: &mut Command) -> (Option<i32>, Value) {
    let output = command.output().expect("the command starts");
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

fn list<'a>(report: &'a Value, key: &str) -> &'a [Value] {
    report[key].as_array().expect("a list")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

pub(crate) const LOW: (&str, &str) = ("default: 500", "default: 30");

#[test]
fn a_back_test_tells_what_a_replay_would() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = bundled("ledger.log.xz");
    // In status `test` it speaks in a back-test only; made stable, it speaks in a replay too.
    let silent = flood(&dir.path().join("silent"), &[LOW]);
    let stable = dir.path().join("stable");
    flood(&stable, &[LOW, ("status: test", "status: stable")]);
    let back_test = |more: &[&str]| {
        let mut command = workbench(&["backtest", "--json", "--lanes", "1"]);
        told(command.arg(&silent).arg("--from").arg(&log).args(more))
    };
    let (code, report) = back_test(&[]);
    assert_eq!(code, Some(0), "{report:#}");
    let mut replay = tollwatch();
    replay.args(["replay", "--json", "--lanes", "1", "--rules"]);
    let replayed = json(replay.arg(&stable).arg(&log));

    let (of, wanted) = (
        &report["rules"]["object_flood"],
        &replayed["alerts"]["object_flood"],
    );
    assert!(0 < number(&of["alerts"]), "{report:#}");
    assert_eq!(of["alerts"], wanted["created"]);
    assert_eq!(of["updates"], wanted["updated"]);
    assert_eq!(of["status"], "test");
    assert_eq!(report["events"], replayed["events"]);
    let sum = |rows: &[Value]| rows.iter().map(|row| number(&row["alerts"])).sum::<u64>();
    assert_eq!(sum(list(&report, "days")), number(&of["alerts"]));
    let others = number(&report["alerts_of_others"]);
    assert_eq!(sum(list(&report, "top")) + others, number(&of["alerts"]));

    // The line named is one of the caller's.
    let sample = &list(&report, "samples")[0];
    let place = sample["place"].as_str().expect("a place");
    let line = json(tollwatch().args(["explain", "--json", "--line", place]));
    let title = sample["title"].as_str().expect("a title");
    let who = title.split(' ').next().expect("a caller");
    assert!(line.to_string().contains(who), "{title} {line:#}");

    assert_eq!(back_test(&["--at-most", "0"]).0, Some(1));
    let many = of["alerts"].to_string();
    assert_eq!(back_test(&["--at-most", &many]).0, Some(0));
}

#[test]
fn a_comparison_tells_alerts_that_are_gained_lost_moved_and_changed() {
    let dir = tempfile::tempdir().expect("a folder");
    let old = flood(&dir.path().join("old"), &[LOW]);
    let diff = |new: &Path| {
        let mut command = workbench(&["diff", "--json"]);
        let command = command.args([&old, new]).arg("--from");
        told(command.arg(bundled("ledger.log.xz")))
    };
    let (code, same) = diff(&old);
    assert_eq!(code, Some(0), "{same:#}");
    assert!(0 < number(&same["same"]), "there is something to compare");
    assert!(list(&same, "changes").is_empty(), "{same:#}");

    // Change of the rule, and what it must bring about.
    let table = [
        (("default: 30", "default: 20"), "gained"),
        (("default: 30", "default: 20"), "moved"),
        (("default: 30", "default: 60"), "lost"),
        (("severity: low", "severity: high"), "changed"),
        (("status: test", "status: stable"), "changed"),
    ];
    for (at, (change, wanted)) in table.into_iter().enumerate() {
        let new = flood(&dir.path().join(at.to_string()), &[LOW, change]);
        let (code, report) = diff(&new);
        assert_eq!(code, Some(1), "{change:?}");
        assert!(0 < number(&report[wanted]), "{change:?}: {report:#}");
        let n_old = ["same", "lost", "moved", "changed"].map(|key| number(&report[key]));
        let n_before = number(&same["same"]);
        assert_eq!(n_old.iter().sum::<u64>(), n_before, "each is told once");
    }
}

#[test]
fn every_rule_has_a_page_and_a_hostile_title_makes_none_of_its_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("pages");
    succeed(workbench(&["docs", "--out"]).arg(&out));
    let page = |name: &str| {
        let path = out.join(format!("{name}.md"));
        std::fs::read_to_string(path).expect("a page")
    };
    let index = page("README");
    for rule in &RuleSet::shipped().rules {
        let (name, text) = (&rule.header.name, page(&rule.header.name));
        assert!(index.contains(&format!("({name}.md)")), "{name}");
        assert!(text.contains(&rule.sql), "{name}");
        let rows = text.split("\n## Tests\n").nth(1).expect("tests").lines();
        let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
        assert_eq!(rows.count(), 2 + rule.header.tests.len(), "{name}");
    }
    let hostile = "title: \"<script>alert(1)</script> | [x](javascript:y)\"";
    let rules = dir.path().join("rules");
    let title = "title: One identity reads very many objects of one endpoint";
    flood(&rules, &[(title, hostile)]);
    let shown = succeed(workbench(&["docs", "--out", "-"]).arg(&rules));
    let shown = String::from_utf8(shown.stdout).expect("text");
    let heading = "# &lt;script&gt;alert(1)&lt;/script&gt; \\| \\[x\\](javascript:y)\n";
    assert!(shown.contains(heading), "{shown}");
    let outside_sql = shown.split("```").step_by(2).collect::<String>();
    assert!(!outside_sql.contains('<'), "{outside_sql}");
}

#[test]
fn an_explanation_names_columns_keys_state_and_cost() {
    let mut command = workbench(&["explain", "object_flood", "--json", "--from"]);
    let report = json(command.arg(bundled("ledger.log.xz")));
    let texts = |value: &Value| {
        let texts = value.as_array().expect("a list").iter();
        let texts = texts.map(|text| text.as_str().expect("a text").to_owned());
        texts.collect::<Vec<_>>()
    };
    let columns = texts(&report["columns"]);
    for column in ["identity", "endpoint", "object", "status"] {
        assert!(columns.contains(&column.to_owned()), "{columns:?}");
    }
    let window = &report["window"];
    assert_eq!(
        texts(&window["keys"]),
        ["events.identity", "events.endpoint"]
    );
    assert_eq!(window["slide_ms"], 10_000);
    assert_eq!(window["emit"], "first_crossing");
    assert!(
        report["plan"]
            .as_str()
            .expect("a plan")
            .contains("Aggregate")
    );
    let lacks = &report["formats"]["combined"];
    assert_eq!(texts(&lacks["unless_configured"]), ["identity"]);
    let measured = &report["measured"];
    assert_eq!(measured["rows"], measured["events"], "it reads every call");
    let (groups, bytes) = (&measured["groups_max"], &measured["state_bytes_max"]);
    let least = number(groups) * number(&window["bytes"]["group"]);
    assert!(0 < least && least < number(bytes), "{measured}");
    assert!(measured["ns_per_event"].as_f64().is_some_and(|ns| 0.0 < ns));
}

#[test]
fn what_is_no_rule_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = bundled("ledger.log.xz");
    let table: [(&[&str], i32, &str); 5] = [
        (
            &["backtest", "object_flod", "--from", "LOG"],
            1,
            "rules list",
        ),
        (
            &["backtest", "object_flood", "object_flood", "--from", "LOG"],
            1,
            "already that of",
        ),
        (&["backtest", "object_flood"], 2, "--from"),
        (&["diff", "object_flood", "--from", "LOG"], 2, "<NEW>"),
        (&["explain", "DIR"], 1, "no rules in"),
    ];
    for (arguments, code, wanted) in table {
        let arguments = arguments.iter().map(|argument| match *argument {
            "LOG" => log.as_path(),
            "DIR" => dir.path(),
            other => Path::new(other),
        });
        let output = tollwatch().arg("rules").args(arguments).output();
        let output = output.expect("the command starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(wanted), "{error}");
    }
}
