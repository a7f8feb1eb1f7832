//! What a SIEM gets: OCSF detection findings with every field it searches by, no secret, and nothing a
//! caller wrote that its tools would run.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    bundled, json as json_of, lines, read_alerts, root, shared, tollwatch, write_lines,
};

/// Replays a file; its alerts.
pub(crate) fn alerts_of(log: &Path) -> Vec<Value> {
    let dir = tempfile::tempdir().expect("a folder");
    let alerts = dir.path().join("alerts");
    json_of(
        tollwatch()
            .arg("replay")
            .arg(log)
            .args(["--json", "--alerts"])
            .arg(&alerts),
    );
    read_alerts(&alerts)
}

const JWT_SIGNATURE: &str = "c2lnbmF0dXJlLXRoYXQtbXVzdC1ub3QtbGVhaw";
const SECRETS: [&str; 6] = [
    JWT_SIGNATURE,
    "hunter2-password",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "session-7f3c9a1be0d24",
    "Zm9vOmJhci1iYXNpYy1zZWNyZXQ",
    "AKIAIOSFODNN7EXAMPLE",
];

/// A caller who carries every kind of secret, and probes.
pub(crate) fn secret_traffic() -> Vec<Vec<u8>> {
    let probes = [
        "/.env",
        "/.git/config",
        "/actuator/env",
        "/server-status",
        "/phpinfo.php",
        "/.aws/credentials",
        "/wp-admin/install.php",
        "/debug/pprof/",
        "/console",
        "/backup.sql",
        "/.ssh/id_rsa",
        "/config.json",
        "/swagger.json",
        "/graphql",
        "/admin",
        "/trace.axd",
        "/.DS_Store",
        "/api/v1/pods",
        "/metrics",
        "/etc/passwd",
    ];
    let claims = "eyJzdWIiOiJtYWxsb3J5In0";
    let call = |i: usize| {
        let path = probes[i % probes.len()];
        let hostile = if i.is_multiple_of(3) {
            "\u{1b}[31m<img src=x>\r\nSet-Cookie: a"
        } else {
            "curl/8"
        };
        let uri = format!(
            "{path}?password={}&api_key={}&n={i}&token=eyJhbGciOiJIUzI1NiJ9.{claims}.{JWT_SIGNATURE}",
            SECRETS[1], SECRETS[2]
        );
        json!({
            "started_at": 1_767_571_200_000_i64 + i as i64 * 500,
            "client_ip": "192.0.2.7",
            "request": {
                "method": if i.is_multiple_of(5) { "PROPFIND" } else { "GET" }, "uri": uri, "url": format!("http://api.example{uri}"), "size": "138",
                "headers": {
                    "host": "api.example",
                    "authorization": format!("Bearer eyJhbGciOiJIUzI1NiJ9.{claims}.{JWT_SIGNATURE}"),
                    "proxy-authorization": format!("Basic {}", SECRETS[4]),
                    "x-api-key": SECRETS[2],
                    "cookie": format!("sid={}", SECRETS[3]),
                    "x-amz-security-token": SECRETS[5],
                    "user-agent": hostile,
                },
            },
            "response": { "status": if i.is_multiple_of(4) { 200 } else { 404 }, "size": 827, "headers": { "server": "nginx/1.22.1" } },
            "latencies": { "request": 5 },
        })
        .to_string()
        .into_bytes()
    };
    (0..400).map(call).collect()
}

#[test]
fn no_secret_and_no_control_character_reaches_an_alert() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    write_lines(&log, &secret_traffic());
    let alerts = alerts_of(&log);
    assert!(alerts.len() >= 2, "only {} alerts to look at", alerts.len());
    for alert in &alerts {
        let text = alert.to_string();
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        each_text(alert, &mut |text| {
            assert!(
                !text.chars().any(char::is_control),
                "control character in {text:?}"
            );
        });
    }
}

fn each_text(value: &Value, check: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => check(text),
        Value::Array(values) => values.iter().for_each(|value| each_text(value, check)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            check(name);
            each_text(value, check);
        }),
        _ => (),
    }
}

#[test]
fn alerts_have_what_a_siem_needs_and_validate_against_ocsf() {
    let mut alerts = alerts_of(&bundled("vampi.ndjson.xz"));
    alerts.extend(alerts_of(&bundled("ledger.log.xz")));
    // The captures log no response headers, so their posture is unknown.
    let dir = tempfile::tempdir().expect("a folder");
    write_lines(&dir.path().join("log"), &secret_traffic());
    alerts.extend(alerts_of(&dir.path().join("log")));
    let rules: BTreeMap<&str, usize> = alerts.iter().fold(BTreeMap::new(), |mut counts, alert| {
        let rule = alert["finding_info"]["analytic"]["uid"]
            .as_str()
            .expect("a rule");
        *counts.entry(rule).or_default() += 1;
        counts
    });
    assert!(rules.len() >= 5, "alerts of several rules: {rules:?}");
    let mut open = BTreeMap::<String, i64>::new();
    for alert in &alerts {
        let uid = alert["finding_info"]["uid"]
            .as_str()
            .expect("a case")
            .to_owned();
        let tollwatch = &alert["unmapped"]["tollwatch"];
        let position = &tollwatch["position"];
        assert!(
            position["file"].is_string() && position["line"].is_i64(),
            "{position}"
        );
        assert!(!alert["evidences"].as_array().expect("evidence").is_empty());
        let reasons = tollwatch["reasons"].as_array().expect("reasons");
        assert!(!reasons.is_empty() && tollwatch["rule_hash"].is_string());
        assert!(
            tollwatch["detection_latency_ms"]
                .as_i64()
                .is_some_and(|ms| ms >= 0)
        );
        let time = alert["time"].as_i64().expect("a time");
        match alert["activity_id"].as_i64() {
            Some(1) => {
                let known = open.insert(uid, time).is_some();
                // Each lane sees an endpoint: it gives the case the same name.
                let is_posture = alert.get("actor").is_none();
                assert!(!known || is_posture, "a case is created once: {alert}");
            }
            Some(2) => assert!(
                open.contains_key(&uid),
                "an update is of an open case: {alert}"
            ),
            other => panic!("activity {other:?}"),
        }
    }
    let Some(schema) = shared("standards/ocsf/1.8.0/detection_finding.schema.json") else {
        return;
    };
    let text = std::fs::read_to_string(schema).expect("readable");
    let schema: Value = serde_json::from_str(&text).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for alert in &alerts {
        let faults: Vec<String> = validator
            .iter_errors(alert)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{faults:#?}\n{alert:#}");
    }
    // The check can fail.
    let mut wrong = alerts[0].clone();
    wrong["severity_id"] = json!("high");
    assert!(!validator.is_valid(&wrong));
}

fn rule_of(alert: &Value) -> &str {
    alert["finding_info"]["analytic"]["uid"]
        .as_str()
        .expect("a rule")
}

#[test]
fn a_prober_is_shown_by_its_probes_and_their_evidence() {
    let alerts = alerts_of(&bundled("vampi.ndjson.xz"));
    let probes: Vec<&Value> = alerts
        .iter()
        .filter(|alert| rule_of(alert) == "misconfig_probe")
        .collect();
    assert!(probes.len() >= 5, "{} alerts to look at", probes.len());
    let mut latency_ms = 0;
    for alert in probes {
        let n_samples = alert["evidences"].as_array().map_or(0, Vec::len);
        assert!((2..=6).contains(&n_samples), "{n_samples} in {alert}");
        let tollwatch = &alert["unmapped"]["tollwatch"];
        let reasons = tollwatch["reasons"].to_string();
        assert!(reasons.contains("distinct probes"), "{reasons}");
        assert!(reasons.contains("reached 1.000e6: 1 false"), "{reasons}");
        latency_ms += tollwatch["detection_latency_ms"].as_i64().expect("ms");
    }
    assert!(latency_ms > 0, "counted from the first probe of the run");
}

#[test]
fn rules_that_hold_on_one_touch_show_the_same_samples() {
    let dir = tempfile::tempdir().expect("a folder");
    let (rules, alerts) = (dir.path().join("rules"), dir.path().join("alerts"));
    std::fs::create_dir(&rules).expect("a folder");
    let text = std::fs::read_to_string(root().join("rules/bola_enumeration.sql")).expect("a rule");
    std::fs::write(rules.join("bola_enumeration.sql"), &text).expect("written");
    let twin = text
        .replace("name: bola_enumeration", "name: twin")
        .replace("id: 3dc2a2fc", "id: 4dc2a2fc");
    std::fs::write(rules.join("twin.sql"), twin).expect("written");
    json_of(
        tollwatch()
            .arg("replay")
            .arg(bundled("vampi.ndjson.xz"))
            .args(["--json", "--alerts"])
            .arg(&alerts)
            .arg("--rules")
            .arg(&rules),
    );
    let alerts = read_alerts(&alerts);
    let samples = |rule: &str| -> BTreeMap<String, Value> {
        let of = alerts.iter().filter(|alert| rule_of(alert) == rule);
        of.map(|alert| {
            let position = alert["unmapped"]["tollwatch"]["position"].to_string();
            (position, alert["evidences"].clone())
        })
        .collect()
    };
    let (first, twin) = (samples("bola_enumeration"), samples("twin"));
    assert!(twin.len() >= 3, "{} alerts to compare", twin.len());
    for (position, samples) in &twin {
        assert_eq!(first.get(position), Some(samples), "{position}");
    }
}

#[test]
fn the_same_file_gives_the_same_alerts() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    write_lines(&log, &lines("vampi.ndjson.xz", 45_000));
    let (first, second) = (alerts_of(&log), alerts_of(&log));
    assert!(!first.is_empty());
    assert_eq!(first, second);
}
