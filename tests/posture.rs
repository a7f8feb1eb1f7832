//! What is wrong with the APIs, from their calls: over files, as a user asks for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{bundled, lines, tollwatch, write_lines};

/// The findings of some logs, and the exit code.
pub(crate) fn list(from: &[&Path], options: &[&str]) -> (Vec<Value>, Option<i32>) {
    let mut command: Command = tollwatch();
    command
        .args(["posture", "list", "--json", "--from"])
        .args(from);
    let output = command.args(options).output().expect("the command starts");
    let told = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{told}"));
    let findings = report["findings"].as_array().expect("a list").clone();
    (findings, output.status.code())
}

pub(crate) fn text<'a>(finding: &'a Value, field: &str) -> &'a str {
    finding[field].as_str().expect("a text")
}

fn of<'a>(findings: &'a [Value], check: &str, subject: &str) -> &'a Value {
    let is = |finding: &&Value| {
        text(finding, "check") == check && text(finding, "subject").ends_with(subject)
    };
    let mut those = findings.iter().filter(is);
    let one = those
        .next()
        .unwrap_or_else(|| panic!("{check} of {subject} in {findings:#?}"));
    assert!(those.next().is_none(), "{check} of {subject} is told once");
    one
}

#[test]
fn what_a_capture_shows_is_found_however_many_lanes_read_it() {
    let capture = bundled("vampi.ndjson.xz");
    let (findings, code) = list(&[&capture], &["--lanes", "1"]);
    assert_eq!(code, Some(1), "something is open");
    // The API answers everybody with its users and their passwords.
    let debug = of(&findings, "sensitive_open", "/users/v1/_debug");
    assert_eq!(text(debug, "phase"), "open");
    assert_eq!(debug["samples"].as_array().map(Vec::len), Some(3));
    assert!(text(&debug["samples"][0], "call").starts_with("GET /users/v1/_debug 200"));
    assert_ne!(debug["standards"]["OWASP API"], Value::Null);
    assert!(findings.len() < 10, "few are found: {findings:#?}");
    let names = |findings: &[Value]| -> Vec<String> {
        let name = |finding: &Value| {
            format!(
                "{} {} {}",
                finding["uid"], finding["subject"], finding["phase"]
            )
        };
        findings.iter().map(name).collect()
    };
    let (again, _) = list(&[&capture], &["--lanes", "3"]);
    assert_eq!(names(&again), names(&findings));
}

#[test]
fn a_finding_is_resolved_by_refusals_alone_and_keeps_its_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let (before, after) = (
        dir.path().join("before.ndjson"),
        dir.path().join("after.ndjson"),
    );
    let all = lines("vampi.ndjson.xz", usize::MAX);
    write_lines(&before, &all);
    let debug: Vec<String> = all
        .iter()
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .filter(|line| line.contains("/users/v1/_debug"))
        .collect();
    // The same callers, refused, a day later, again and again.
    let refused = (0..60).flat_map(|hour| {
        debug.iter().map(move |line| {
            let mut call: Value = serde_json::from_str(line).expect("JSON");
            let seconds: f64 = text(&call, "msec").parse().expect("a time");
            call["msec"] =
                format!("{:.3}", seconds + 86_400.0 * 3.0 + 60.0 * f64::from(hour)).into();
            call["time"] = Value::Null;
            call["status"] = 401.into();
            call.to_string().into_bytes()
        })
    });
    write_lines(&after, &refused.collect::<Vec<_>>());
    let name = |findings: &[Value]| {
        text(of(findings, "sensitive_open", "/users/v1/_debug"), "uid").to_owned()
    };
    let (open, _) = list(&[&before], &["--lanes", "1"]);
    let (still, _) = list(&[&before, &after], &["--lanes", "1", "--all"]);
    let debug = of(&still, "sensitive_open", "/users/v1/_debug");
    assert_eq!(text(debug, "phase"), "resolved", "{debug:#}");
    assert_eq!(name(&still), name(&open));
    let is_debug = |finding: &&Value| text(finding, "uid") == name(&open);
    let (now_open, _) = list(&[&before, &after], &["--lanes", "1"]);
    assert_eq!(now_open.iter().filter(is_debug).count(), 0);
}

/// A capture with calls laid between its own: each of `n_callers` users asks once an hour for what nobody asks for.
fn with_quiet_probes(all: &[Vec<u8>], n_callers: usize, hours: u32) -> Vec<Vec<u8>> {
    let seconds = |call: &Value| -> f64 { text(call, "msec").parse().expect("a time") };
    let mut calls: Vec<(f64, Value)> = all
        .iter()
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .map(|call: Value| (seconds(&call), call))
        .collect();
    let begin = calls[0].0 + 30.0 * 3600.0;
    let mut callers = BTreeMap::new();
    for (_, call) in &calls {
        let user = text(call, "jwt_sub");
        if !user.is_empty() && !user.starts_with("svc") {
            callers
                .entry(user.to_owned())
                .or_insert_with(|| call.clone());
        }
    }
    // Every third: not those of one letter alone.
    let callers: Vec<Value> = callers.into_values().step_by(3).take(n_callers).collect();
    assert_eq!(callers.len(), n_callers);
    for hour in 0..hours {
        for (n, call) in callers.iter().enumerate() {
            let at = begin + f64::from(hour) * 3600.0 + n as f64 * 173.0;
            let mut call = call.clone();
            call["msec"] = format!("{at:.3}").into();
            call["time"] = Value::Null;
            call["method"] = "GET".into();
            call["request_uri"] = format!("/internal/part{n}/state{hour}").into();
            call["status"] = 404.into();
            calls.push((at, call));
        }
    }
    calls.sort_by(|a, b| a.0.total_cmp(&b.0));
    calls
        .into_iter()
        .map(|(_, call)| call.to_string().into_bytes())
        .collect()
}

#[test]
fn probing_spread_over_twenty_callers_is_one_finding_and_captures_have_none() {
    let all = lines("vampi.ndjson.xz", usize::MAX);
    let is_spread = |finding: &&Value| text(finding, "check") == "probe_spread";
    for name in ["vampi.ndjson.xz", "ledger.log.xz"] {
        let (findings, _) = list(&[&bundled(name)], &["--all"]);
        let found = findings.iter().filter(is_spread).count();
        assert_eq!(found, 0, "{name}: {findings:#?}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("access.ndjson");
    write_lines(&log, &with_quiet_probes(&all, 20, 8));
    let (findings, _) = list(&[&log], &["--lanes", "3"]);
    let spread: Vec<&Value> = findings.iter().filter(is_spread).collect();
    assert_eq!(spread.len(), 1, "{findings:#?}");
    assert_eq!(text(spread[0], "subject"), "127.0.0.1");
    let n_callers = spread[0]["identities"].as_u64().expect("a number");
    assert!((4..=20).contains(&n_callers), "{n_callers} callers");
}

#[test]
fn every_check_is_listed_and_what_no_log_can_show_says_why() {
    let output = tollwatch().args(["posture", "checks", "--json"]).output();
    let report: Value = serde_json::from_slice(&output.expect("starts").stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("a list");
    assert_eq!(
        checks.len(),
        47 + 8 + 1,
        "of posture, of agents, of probing"
    );
    for check in checks {
        let why = text(check, "why");
        assert_eq!(text(check, "decided") == "calls", why.is_empty(), "{check}");
    }
}
