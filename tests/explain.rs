//! `explain` and `--warm-from`: alerts come out again from their lines, a caller is near a rule before it is told, and
//! history teaches without telling.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{
    bundled, json as json_of, lines, read_alerts, succeed, tollwatch, write_lines,
};

/// Replays a log on one lane; its alerts, also in the file named.
fn replay(log: &Path, alerts: &Path, more: &[&str]) -> Vec<Value> {
    let mut command = tollwatch();
    command
        .arg("replay")
        .arg(log)
        .args(["--lanes", "1", "--alerts"]);
    succeed(command.arg(alerts).args(more));
    read_alerts(alerts)
}

fn explain(from: &Path) -> Command {
    let mut command = tollwatch();
    command.args(["explain", "--lanes", "1", "--json", "--from"]);
    command.arg(from);
    command
}

/// A command that may end with 0 or 1 and prints one JSON object.
fn report(command: &mut Command) -> (Option<i32>, Value) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("starts");
    let told = String::from_utf8_lossy(&stderr);
    let report = serde_json::from_slice(&stdout);
    (
        status.code(),
        report.unwrap_or_else(|error| panic!("{error}: {told}")),
    )
}

fn write_alerts(path: &Path, alerts: &[Value]) {
    let lines: Vec<Vec<u8>> = alerts
        .iter()
        .map(|alert| alert.to_string().into_bytes())
        .collect();
    write_lines(path, &lines);
}

fn rule_of(alert: &Value) -> &str {
    alert["finding_info"]["analytic"]["uid"]
        .as_str()
        .expect("a rule")
}

fn line_of(alert: &Value) -> i64 {
    alert["unmapped"]["tollwatch"]["position"]["line"]
        .as_i64()
        .expect("a line")
}

#[test]
fn alerts_come_out_again_byte_for_byte_and_one_that_was_tampered_with_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, alerts) = (bundled("ledger.log.xz"), dir.path().join("alerts"));
    let given = replay(&log, &alerts, &[]);
    // Who explains stands in another folder than who replayed.
    let copy = dir.path().join("ledger.log.xz");
    std::fs::copy(&log, &copy).expect("copied");
    let (code, told) = report(
        explain(&copy)
            .arg("--limit")
            .arg("12")
            .arg("--")
            .arg(&alerts),
    );
    assert_eq!(
        (code, told["different"].as_u64()),
        (Some(0), Some(0)),
        "{:?}",
        told["alerts"]
    );
    assert_eq!(told["equal"], given.len());
    let told = told["alerts"].as_array().expect("alerts");
    for (given, told) in given.iter().zip(told) {
        let rows = told["contributions"]["rows"].as_array().expect("rows");
        assert!((1..=12).contains(&rows.len()), "{told}");
        let n = told["contributions"]["n"].as_u64().expect("a count");
        let left_out = told["contributions"]["left_out"].as_u64().expect("a count");
        assert_eq!(n, left_out + rows.len() as u64);
        let last = rows.last().expect("a row");
        assert_eq!(
            last["position"], given["unmapped"]["tollwatch"]["position"],
            "{told}"
        );
        if rule_of(given) == "bola_enumeration" {
            assert_eq!(
                last["evidence"],
                given["unmapped"]["tollwatch"]["models"]["evidence"]
            );
            let reasons = given["unmapped"]["tollwatch"]["reasons"].to_string();
            assert!(reasons.contains("evidence by source: "), "{reasons}");
            assert_eq!(given["unmapped"]["tollwatch"]["promise"]["alarm_at"], 1e6);
            assert!(last["surprise_nats"].as_f64().expect("nats") > 0.0);
        }
    }
    assert!(
        given
            .iter()
            .any(|alert| rule_of(alert) == "bola_enumeration")
    );

    let mut tampered = vec![given[0].clone(), given[1].clone(), given[2].clone()];
    tampered[1]["unmapped"]["tollwatch"]["reasons"][0] = json!("nothing happened");
    tampered[2]["metadata"]["uid"] = json!("made-up-1");
    tampered[2]["message"] = json!("\u{1b}[31mred");
    write_alerts(&alerts, &tampered);
    let (code, told) = report(explain(&copy).arg("--").arg(&alerts));
    assert_eq!(code, Some(1));
    let told = told["alerts"].as_array().expect("alerts");
    let outcome = |at: usize| (told[at]["equal"].as_bool(), told[at]["derived"].as_bool());
    assert_eq!(outcome(0), (Some(true), Some(true)));
    assert_eq!(outcome(1), (Some(false), Some(true)));
    assert_eq!(outcome(2), (Some(false), Some(false)));
    let differences = told[1]["differences"].as_array().expect("differences");
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert_eq!(differences[0]["field"], "/unmapped/tollwatch/reasons/0");

    let shown = |alerts: &Path| {
        let mut command = tollwatch();
        command
            .args(["explain", "--lanes", "1", "--from"])
            .arg(&copy);
        let Output {
            status,
            stdout,
            stderr,
        } = command.arg("--").arg(alerts).output().expect("starts");
        let text = [stdout, stderr].concat();
        (status.code(), String::from_utf8(text).expect("text"))
    };
    let (code, text) = shown(&alerts);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("NOT DERIVED") && !text.contains('\u{1b}'),
        "{text}"
    );
    tampered[0]["unmapped"]["tollwatch"]["position"] =
        json!({ "topic": "kong", "partition": 0, "offset": 1 });
    write_alerts(&alerts, &tampered);
    let (code, text) = shown(&alerts);
    assert!(
        code == Some(1) && text.contains("was made from topic kong"),
        "{text}"
    );
}

/// The measures of a rule that are measured for a caller at a line.
fn measures(log: &Path, identity: &str, line: i64, rule: &str) -> (Vec<f64>, u64) {
    let at = format!("{}:{line}", log.display());
    let told = json_of(explain(log).args(["--identity", identity, "--at", &at]));
    let rules = told["rules"].as_array().expect("rules");
    let rule = rules
        .iter()
        .find(|told| told["rule"] == rule)
        .expect("the rule");
    let measures = rule["measures"].as_array().expect("measures");
    let shares = measures
        .iter()
        .map(|measure| measure["share"].as_f64().expect("a share"));
    (
        shares.collect(),
        rule["findings"].as_u64().expect("a count"),
    )
}

#[test]
fn a_caller_comes_nearer_to_a_rule_until_it_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = bundled("ledger.log.xz");
    let alerts = replay(&log, &dir.path().join("alerts"), &[]);
    for rule in ["bola_enumeration", "bola_run", "misconfig_probe"] {
        let created = |alert: &&Value| rule_of(alert) == rule && alert["activity_id"] == 1;
        let alert = alerts.iter().find(created).expect("an alert of the rule");
        let identity = alert["actor"]["user"]["uid"].as_str().expect("a caller");
        let samples = alert["evidences"].as_array().expect("samples").iter();
        let lines = samples.filter_map(|sample| sample["data"]["position"]["line"].as_i64());
        let first = lines.min().expect("a sample");
        let alarm = line_of(alert);
        let mut before = vec![0.0; 2];
        for line in [first, (first + alarm) / 2, alarm - 1] {
            let (shares, n_findings) = measures(&log, identity, line, rule);
            assert_eq!(n_findings, 0, "{rule} at {line}");
            for (share, before) in shares.iter().zip(&mut before) {
                assert!(
                    *before <= *share && *share < 1.0,
                    "{rule} at {line}: {share} after {before}"
                );
                *before = *share;
            }
        }
        assert!(
            before.iter().any(|share| 0.0 < *share),
            "{rule} has come nearer"
        );
        let (shares, n_findings) = measures(&log, identity, alarm, rule);
        assert!(
            shares.iter().any(|share| 1.0 <= *share),
            "{rule}: {shares:?}"
        );
        assert_eq!(n_findings, 1, "{rule}");
        // A rule over windows, which this much does not yet reach.
        let (shares, n_findings) = measures(&log, identity, alarm, "object_flood");
        assert!(
            shares.len() == 1 && shares[0] < 1.0 && n_findings == 0,
            "{shares:?}"
        );
        assert!(rule != "bola_run" || 0.0 < shares[0], "{shares:?}");
    }
}

/// Writes a log and labels that belong to its lines.
fn write_labelled(log: &Path, lines: &[Vec<u8>], labels: &Path, header: &[u8], rows: &[Vec<u8>]) {
    write_lines(log, lines);
    write_lines(labels, &[&[header.to_owned()], rows].concat());
}

#[test]
fn history_teaches_the_models_and_is_not_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let (all, labels) = (
        lines("ledger.log.xz", 200_000),
        lines("ledger.labels.tsv.xz", 200_000),
    );
    let (header, labels) = labels.split_first().expect("a header");
    assert_eq!(all.len(), labels.len());
    let half = all.len() / 2;
    write_lines(&path("history"), &all[..half]);
    write_labelled(
        &path("log"),
        &all[half..],
        &path("labels"),
        header,
        &labels[half..],
    );

    let scenario = |row: &Vec<u8>| {
        let row = String::from_utf8(row.clone()).expect("text");
        row.split('\t').nth(2).expect("a column").to_owned()
    };
    let before: BTreeSet<String> = labels[..half].iter().map(scenario).collect();
    let eval = |warm: bool| {
        let mut command = tollwatch();
        command
            .arg("eval")
            .arg(path("log"))
            .arg("--labels")
            .arg(path("labels"))
            .arg("--json");
        if warm {
            command.arg("--warm-from").arg(path("history"));
        }
        let episodes = json_of(&mut command)["episodes"].clone();
        let episodes = episodes.as_object().expect("episodes").clone();
        let new = episodes
            .into_iter()
            .filter(|(name, _)| !before.contains(name));
        let (found, missed): (Vec<_>, Vec<_>) = new.partition(|(_, told)| told["rule"].is_string());
        let exposed = found
            .iter()
            .filter_map(|(_, told)| told["exposed_before"].as_u64());
        (found.len(), missed.len(), exposed.sum::<u64>())
    };
    let (cold, warm) = (eval(false), eval(true));
    assert!(
        warm.0 >= 3 && warm.1 == 0,
        "all that begin there are found: {warm:?}"
    );
    assert!(
        cold.0 < warm.0 || warm.2 < cold.2,
        "sooner, or more: {cold:?} {warm:?}"
    );

    let history = path("history");
    let history = history.to_str().expect("a path of text");
    let told = replay(
        &path("log"),
        &path("alerts"),
        &["--json", "--warm-from", history],
    );
    let is_of_history = |alert: &Value| {
        let position = &alert["unmapped"]["tollwatch"]["position"];
        position["file"]
            .as_str()
            .is_none_or(|file| file.ends_with("history"))
    };
    assert!(!told.is_empty() && !told.iter().any(is_of_history));
    assert!(
        told.iter().all(|alert| alert["activity_id"] != 2
            || told.iter().any(|first| first["activity_id"] == 1
                && first["finding_info"]["uid"] == alert["finding_info"]["uid"])),
        "no case was opened by the history"
    );
    let mut command = tollwatch();
    command
        .arg("replay")
        .arg(path("log"))
        .args(["--json", "--warm-from", history]);
    let report = json_of(&mut command);
    assert_eq!(report["history"]["events"], half);
    let top = report["history"]["top"].as_array().expect("suspects");
    assert!(
        !top.is_empty()
            && top.len() as u64 <= report["history"]["suspects"].as_u64().expect("a count")
    );
}

#[test]
fn one_line_is_decoded_with_every_field_who_calls_and_no_secret() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    let call = json!({
        "started_at": 1_767_571_200_000_i64, "client_ip": "192.0.2.7",
        "request": {
            "method": "GET", "uri": "/orders/42?api_key=sk_live_4eC39HqLyjWDarjtT1zdp7dc", "url": "http://api.x/orders/42", "size": "138",
            "headers": {
                "host": "api.x", "user-agent": "\u{1b}[31mcurl",
                "x-api-key": "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "authorization": "Basic YWxpY2U6aHVudGVyMg==",
            },
        },
        "response": { "status": 200, "size": 827, "headers": {} },
        "latencies": { "request": 5 },
    });
    write_lines(
        &log,
        &[
            call.to_string().into_bytes(),
            b"no gateway writes this".to_vec(),
        ],
    );
    let line = |number: i64| format!("{}:{number}", log.display());
    let told = json_of(tollwatch().args(["explain", "--json", "--line", &line(1)]));
    assert!(
        !told.to_string().contains("4eC39HqLyjWDarjtT1zdp7dc")
            && !told.to_string().contains("YWxpY2U6")
    );
    let call = &told["calls"][0];
    assert_eq!(call["event"]["endpoint"], "GET api.x /orders/{id}");
    assert_eq!(call["event"]["identity"], "alice");
    assert_eq!(call["objects"][0]["collection"], "order");
    let chain: Vec<_> = call["identity_chain"]
        .as_array()
        .expect("a chain")
        .iter()
        .map(|step| (step["field"].as_str(), step["remark"].as_str()))
        .collect();
    let lower = Some("ranks lower");
    assert_eq!(
        chain,
        [
            (Some("authorization"), Some("won")),
            (Some("api_key"), lower),
            (Some("client_ip"), lower)
        ]
    );
    let shown = succeed(tollwatch().args(["explain", "--line", &line(1)])).stdout;
    assert!(!String::from_utf8_lossy(&shown).contains('\u{1b}'));

    let (code, told) = report(tollwatch().args(["explain", "--json", "--line", &line(2)]));
    assert_eq!(
        (code, &told["rejects"][0]["reason"]),
        (Some(1), &json!("unknown_format"))
    );
    let output = tollwatch()
        .args(["explain", "--line", &line(3)])
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has only 2 lines"));
}
