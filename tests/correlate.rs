//! Rules over `alerts`: what stages raise meets in one lane, in the order of event time, once; and rules over `inventory` and
//! `findings`.

use std::path::Path;
use std::sync::Arc;

use connectors::format::{Format, SourceRecord};
use engine::config::ModelConfig;
use engine::pipeline::Pipeline;
use engine::rule::{Rule, RuleSet};
use engine::stage::decode::DecodeConfig;
use models::identity::Resolver;
use models::secret::HashKey;
use serde_json::{Value, json};

use crate::kafka::{Deployment, one};
use crate::support::{read_alerts, succeed, tollwatch, write_lines};

/// A call by `who`, so many seconds from the start.
fn call(second: i64, who: &str, method: &str, path: &str, status: u16) -> Vec<u8> {
    let at_ms = 1_767_571_200_000 + second * 1_000;
    json!({
        "started_at": at_ms, "client_ip": "192.0.2.1", "consumer": {"username": who},
        "request": {"method": method, "uri": path, "url": format!("https://api.example{path}"), "size": "138",
            "headers": {"host": "api.example"}},
        "response": {"status": status, "size": 800, "headers": {}}, "latencies": {"request": 5},
    })
    .to_string()
    .into_bytes()
}

const N: i64 = 6;

/// Callers `c…` are refused, and write ten seconds later; `d…` the other way round; `e…` are refused only. Each once a minute, among
/// calls that say nothing.
fn calls() -> Vec<Vec<u8>> {
    let mut calls = Vec::new();
    for n in 0..N {
        let at = n * 60;
        let object = format!("/orders/{}", 100 + n);
        let other = format!("/orders/{}", 200 + n);
        calls.extend([
            call(at, &format!("c{n}"), "GET", "/admin", 403),
            call(at + 1, &format!("d{n}"), "PUT", &other, 200),
            call(at + 2, &format!("e{n}"), "GET", "/admin", 403),
            call(at + 3, "quiet", "GET", "/orders/7", 200),
            call(at + 10, &format!("c{n}"), "PUT", &object, 200),
            call(at + 11, &format!("d{n}"), "GET", "/admin", 403),
            call(at + 12, "quiet", "GET", "/broken", 500),
        ]);
        let secret = "/reports?access_token=abcdefghijklmnop";
        calls.extend((20..30).map(|n| call(at + n, "quiet", "GET", secret, 200)));
    }
    // Event time goes on, so that nothing waits for it.
    calls.extend((0..4).map(|n| call(3_600 + n, &format!("q{n}"), "GET", "/orders/7", 200)));
    calls
}

/// Rules over `events` and `touches`, and over their alerts.
fn rules() -> Vec<(&'static str, String)> {
    let rules = [
        ("refused", "suppress: {by: [identity], for: 1h}", "SELECT identity, endpoint FROM events WHERE status = 403"),
        ("wrote", "suppress: {by: [identity], for: 1h}", "SELECT identity, endpoint FROM touches WHERE write"),
        ("broken", "suppress: {by: [endpoint], for: 1h, update: true}", "SELECT endpoint FROM events WHERE status = 500"),
        (
            "chain",
            "within: 1m\nsuppress: {by: [identity], for: 1h}\nalert: {title: \"{identity} was refused at {endpoint}, and wrote\"}",
            "SELECT identity, endpoint FROM alerts MATCH_RECOGNIZE (PARTITION BY identity MEASURES FIRST(a.endpoint) AS endpoint
             PATTERN (a b) DEFINE a AS rule = 'refused', b AS rule = 'wrote')",
        ),
        (
            "both",
            "emit: first_crossing\nsuppress: {by: [identity], for: 1h}",
            "SELECT identity, window_start, window_end, count(DISTINCT rule) AS n FROM TUMBLE(alerts, event_time, INTERVAL '1 hour')
             WHERE identity IS NOT NULL GROUP BY identity, window_start, window_end HAVING count(DISTINCT rule) >= 2",
        ),
        (
            "seen",
            "emit: window_close\nsuppress: {by: [who, of], for: 1m}",
            "SELECT about AS who, rule AS of, window_end, count(*) AS n, count(DISTINCT uid) AS cases
             FROM TUMBLE(alerts, event_time, INTERVAL '10 minutes') GROUP BY about, rule, window_end",
        ),
        (
            "appeared",
            "suppress: {by: [endpoint], for: 1d}\nalert: {title: \"{endpoint} answers {calls} calls\"}",
            "SELECT endpoint, host, calls FROM inventory WHERE is_new AND standing = 'answered'",
        ),
        (
            "grew",
            "emit: window_close\nsuppress: {by: [endpoint, window_end], for: 1d}",
            "SELECT endpoint, window_start, window_end, count(*) AS news, max(calls) AS calls
             FROM TUMBLE(inventory, event_time, INTERVAL '30 minutes') GROUP BY endpoint, window_start, window_end",
        ),
        (
            "opened",
            "suppress: {by: [uid], for: 1d}",
            "SELECT uid, endpoint, \"check\", severity, json_get(record, 'phase') AS phase FROM findings WHERE change = 'opened'",
        ),
    ];
    let text = |(at, (name, header, sql)): (usize, (&'static str, &str, &str))| {
        let text = format!(
            "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f1{at}\nname: {name}\nversion: 1\ntitle: t\n\
             status: stable\nseverity: low\ndescription: d\n{header}\n---*/\n{sql}\n"
        );
        (name, text)
    };
    rules.into_iter().enumerate().map(text).collect()
}

fn set() -> Arc<RuleSet> {
    let parse = |(name, text): &(&str, String)| {
        Rule::parse(Path::new(&format!("{name}.sql")), text).expect("a sound rule")
    };
    let rules = rules().iter().map(parse).collect();
    Arc::new(RuleSet::new(rules).expect("names of their own"))
}

fn put_rules(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    for (name, text) in rules() {
        std::fs::write(folder.join(format!("{name}.sql")), text).expect("writes");
    }
}

/// Alerts of the calls, read so many at a time into so many lanes, in the order of their ids.
fn told(n_each: usize, n_lanes: usize) -> Vec<Value> {
    let decode = DecodeConfig {
        format: Format::Kong.into(),
        resolver: Arc::new(Resolver::new(HashKey::new([7; 32]), false)),
        templates: Arc::default(),
        enrichment: Arc::default(),
        privacy: Arc::default(),
        partitions: 1,
    };
    let models = ModelConfig {
        warm_up_hours: 0.0,
        ..ModelConfig::default()
    };
    let mut pipeline = Pipeline::new(&decode, &models, &set(), n_lanes).expect("sound rules");
    let mut lines = pipeline.open("file:calls".into()).expect("opens").alerts;
    let calls = calls();
    let records: Vec<_> = (1..)
        .zip(&calls)
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset,
            broker_time_ms: None,
        })
        .collect();
    for records in records.chunks(n_each) {
        lines.extend(pipeline.round(records).expect("rounds").alerts);
    }
    lines.extend(pipeline.close().expect("closes").alerts);
    let alert = |line: &engine::alert::Alert| serde_json::from_str(&line.json).expect("JSON");
    let mut alerts: Vec<Value> = lines.iter().map(alert).collect();
    alerts.sort_by_key(|alert: &Value| alert["metadata"]["uid"].to_string());
    alerts
}

fn of<'a>(alerts: &'a [Value], rule: &str) -> Vec<&'a Value> {
    let is_of = |alert: &&Value| alert["finding_info"]["analytic"]["uid"] == rule;
    alerts.iter().filter(is_of).collect()
}

/// Who is told of, in order.
fn who(alerts: &[Value], rule: &str) -> Vec<String> {
    let name = |alert: &&Value| {
        let name = alert["actor"]["user"]["uid"].as_str();
        name.expect("an identity").to_owned()
    };
    let mut names: Vec<String> = of(alerts, rule).iter().map(name).collect();
    names.sort();
    names
}

fn names(of: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = of
        .iter()
        .flat_map(|of| (0..N).map(move |n| format!("{of}{n}")))
        .collect();
    names.sort();
    names
}

#[test]
fn a_chain_over_two_stages_is_in_the_order_of_event_time_however_the_log_is_cut() {
    let whole = told(usize::MAX, 1);
    assert_eq!(who(&whole, "refused"), names(&["c", "d", "e"]));
    assert_eq!(who(&whole, "wrote"), names(&["c", "d"]));
    // The alerts of `d…` are the same two in the other order.
    assert_eq!(who(&whole, "chain"), names(&["c"]));
    assert_eq!(who(&whole, "both"), names(&["c", "d"]));
    let chain = of(&whole, "chain")[0];
    let title = chain["finding_info"]["title"].as_str().expect("a title");
    assert!(title.contains("was refused at GET api.example /admin, and wrote"));
    // It stands at the call that made the last alert, and shows both.
    let place = &chain["unmapped"]["tollwatch"]["position"];
    let lines: Vec<i64> = chain["evidences"]
        .as_array()
        .expect("evidence")
        .iter()
        .map(|sample| sample["data"]["position"]["line"].as_i64().expect("a line"))
        .collect();
    assert_eq!(lines.len(), 2, "{chain:#}");
    assert_eq!(place["line"], lines[1]);
    for (n_each, n_lanes) in [(1, 1), (3, 1), (7, 2), (1, 4), (usize::MAX, 4)] {
        let other = told(n_each, n_lanes);
        for rule in ["chain", "both"] {
            let of_whole = of(&whole, rule);
            assert_eq!(
                of(&other, rule),
                of_whole,
                "{rule}, {n_each} in {n_lanes} lanes"
            );
        }
    }
}

#[test]
fn no_rule_over_alerts_sees_what_one_raised_and_a_case_of_several_lanes_is_one() {
    for n_lanes in [1, 3] {
        let alerts = told(5, n_lanes);
        let columns = of(&alerts, "seen");
        let columns = columns
            .iter()
            .map(|alert| &alert["unmapped"]["tollwatch"]["columns"]);
        let columns: Vec<&Value> = columns.collect();
        assert!(columns.len() > 10);
        for seen in &columns {
            let rule = seen["of"].as_str().expect("a rule");
            assert!(["refused", "wrote", "broken"].contains(&rule), "{seen}");
            assert_eq!(seen["cases"], 1, "{seen}");
        }
        let broken = columns.iter().filter(|seen| seen["of"] == "broken");
        assert_eq!(
            broken.count(),
            1,
            "an alert about an endpoint is seen by one lane"
        );
    }
}

#[test]
fn what_is_news_of_a_host_is_told_by_rules_over_it_however_the_log_is_cut() {
    let whole = told(usize::MAX, 1);
    let about = |alerts: &[Value], rule: &str| -> Vec<String> {
        let of = of(alerts, rule);
        let name = |alert: &&Value| alert["resources"][0]["uid"].as_str().map(str::to_owned);
        let mut names: Vec<String> = of.iter().filter_map(name).collect();
        names.sort();
        names
    };
    // `/admin` is refused and `/broken` fails: neither answers.
    let answered = [
        "GET api.example /orders/{id}",
        "GET api.example /reports",
        "PUT api.example /orders/{id}",
    ];
    assert_eq!(about(&whole, "appeared"), answered);
    let appeared = of(&whole, "appeared")[0];
    assert!(appeared["actor"].is_null(), "{appeared:#}");
    let place = &appeared["unmapped"]["tollwatch"]["position"];
    assert!(place["line"].as_i64() > Some(0), "{appeared:#}");
    // When a finding is looked at depends on how far event time is, what it says does not.
    let opened = |alerts: &[Value]| -> Vec<String> {
        let of = of(alerts, "opened").into_iter();
        let columns = of.map(|alert| alert["unmapped"]["tollwatch"]["columns"].to_string());
        columns.collect()
    };
    let opened_whole = opened(&whole);
    assert!(!opened_whole.is_empty());
    assert!(opened_whole[0].contains(r#""check":"secret_in_url""#));
    assert!(opened_whole[0].contains(r#""phase":"open""#));
    for (n_each, n_lanes) in [(1, 1), (7, 2), (5, 4)] {
        let other = told(n_each, n_lanes);
        assert_eq!(about(&other, "appeared"), answered);
        assert_eq!(opened(&other), opened_whole, "{n_each} in {n_lanes} lanes");
        // An endpoint's calls of half an hour, whoever counted them.
        let calls = |alerts: &[Value]| {
            let of = of(alerts, "grew").into_iter();
            let max =
                of.filter_map(|alert| alert["unmapped"]["tollwatch"]["columns"]["calls"].as_i64());
            max.max()
        };
        assert_eq!(calls(&other), calls(&whole));
    }
}

#[test]
fn a_replay_a_back_test_and_an_explanation_tell_the_same_and_loops_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, folder, out) = (
        dir.path().join("calls.ndjson"),
        dir.path().join("rules"),
        dir.path().join("alerts"),
    );
    write_lines(&log, &calls());
    put_rules(&folder);
    let mut replay = tollwatch();
    replay.arg("replay").arg(&log).arg("--rules").arg(&folder);
    succeed(
        replay
            .arg("--alerts")
            .arg(&out)
            .args(["--warm-up-hours", "0"]),
    );
    let replayed = read_alerts(&out);
    assert_eq!(who(&replayed, "chain"), names(&["c"]));

    let back_test = |more: &[&str]| -> Value {
        let mut command = tollwatch();
        command.args(["rules", "backtest", "--json", "--warm-up-hours", "0"]);
        command
            .arg(folder.join("chain.sql"))
            .arg("--from")
            .arg(&log);
        let output = succeed(command.args(more));
        serde_json::from_slice(&output.stdout).expect("a report")
    };
    let report = back_test(&["--beside", folder.to_str().expect("text")]);
    assert_eq!(report["rules"]["chain"]["alerts"], N, "{report:#}");
    let n_rules = report["rules"].as_object().map(serde_json::Map::len);
    assert_eq!(n_rules, Some(1), "{report:#}");
    // The shipped rules raise nothing here that it waits for.
    assert_eq!(back_test(&[])["rules"]["chain"]["alerts"], 0);

    let mut explain = tollwatch();
    explain.args(["rules", "explain", "--json", "--warm-up-hours", "0"]);
    explain.arg(folder.join("both.sql")).arg("--from").arg(&log);
    let report = succeed(explain.arg("--beside").arg(&folder));
    let report: Value = serde_json::from_slice(&report.stdout).expect("a report");
    // Refused are c, d and e, c and d wrote, and one endpoint is broken.
    assert_eq!(report["measured"]["rows"], 5 * N + 1, "{report:#}");
    assert_eq!(report["measured"]["findings"], 2 * N, "{report:#}");

    // Each comes out again, from the lines it names and those before.
    let mut explain = tollwatch();
    explain.arg("explain").arg(&out).arg("--from").arg(&log);
    explain
        .arg("--rules")
        .arg(&folder)
        .args(["--json", "--warm-up-hours", "0"]);
    let report = succeed(&mut explain);
    let report: Value = serde_json::from_slice(&report.stdout).expect("a report");
    assert_eq!(report["equal"], replayed.len(), "{report:#}");

    let of = folder.join("chain.sql");
    let text = std::fs::read_to_string(&of).expect("reads");
    std::fs::write(&of, text.replace("'wrote'", "'both'")).expect("writes");
    let mut check = tollwatch();
    let refused = check
        .args(["rules", "check"])
        .arg(&folder)
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("rule `both` reads `alerts` itself"), "{told}");
}

#[test]
fn over_kafka_alerts_meet_once_whatever_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    put_rules(folder.path());
    let rules = folder.path().to_str().expect("text");
    let options = [
        "--partitions",
        "2",
        "--rules",
        rules,
        "--snapshots-every-seconds",
        "1",
    ];
    one().produce("correlate", 2, &calls());
    let service = Deployment::new(one(), "correlate-service", &["correlate"], &options);
    // Killed when some of its alerts are on their way.
    drop(service.run_until("judgements", 12));
    service.catch_up();
    let report = service.verify();
    let n_raised = report["stages"]["raised"]["expected"].as_u64();
    assert!(n_raised >= Some(3 * N as u64 + 1), "{report:#}");
    let alerts = service.alerts();
    assert_eq!(who(&alerts, "refused"), names(&["c", "d", "e"]));
    assert_eq!(who(&alerts, "both"), names(&["c", "d"]));
    assert!(of(&alerts, "appeared").len() >= 2);
}
