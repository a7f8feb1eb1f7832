//! What files say of addresses, on its way from a call to rules and alerts.

use std::path::Path;

use models::user_agent::families_page;
use serde_json::{Value, json};

use crate::outputs::{ecs, ocsf, rendered};
use crate::support::{root, succeed, tollwatch, write_lines};

const RULE: &str = r#"/*---
schema: rule/v1
id: 3c1a6f0e-5a8f-4b53-9d5e-6f2d7a1e4b90
name: far_away
version: 1
title: A call from a country nobody works in
status: stable
severity: low
description: A known caller calls from a country on no list.
suppress: {by: [identity], for: 24h}
alert: {title: "{identity} calls from {country}, {as_org}, by {agent_class}"}
tests:
  - name: from elsewhere
    rows: [{identity: "'mallory'", country: "'FR'", asn: 64501, as_org: "'Two'", agent_class: "'script'"}]
    expect: {alerts: 1, title: "mallory calls from FR, Two, by script"}
  - name: from here
    rows: [{identity: "'alice'", country: "'DE'", asn: 64500}]
    expect: {alerts: 0}
  - name: from nowhere
    rows: [{identity: "'bob'"}]
    expect: {alerts: 0}
---*/
SELECT identity, country, asn, as_org, agent_class FROM events WHERE country <> 'DE'
"#;

fn call(minute: u8, name: &str, ip: &str, agent: &str) -> Vec<u8> {
    let line = json!({
        "time": format!("2026-01-05T10:{minute:02}:00+00:00"), "remote_addr": ip, "remote_user": name, "scheme": "https",
        "method": "GET", "request_uri": "/books/17", "args": "", "status": 200, "body_bytes_sent": 100, "host": "api.example",
        "user_agent": agent,
    });
    line.to_string().into_bytes()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

#[test]
fn a_rule_and_an_alert_know_where_a_call_came_from() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("rules")).expect("a folder");
    write(&at("rules/far_away.sql"), RULE);
    let networks = "network,asn,as_org\n203.0.113.0/24,64500,One\n198.51.100.0/24,AS64501,Two\n";
    write(&at("networks.csv"), networks);
    let countries =
        "start,end,country\n203.0.113.0,203.0.113.255,DE\n198.51.100.0,198.51.100.255,FR\n";
    write(&at("countries.csv"), countries);
    // What is cut off an address is cut off after it was looked up.
    let config = format!(
        "[enrich]\nfiles = ['{}', '{}']\n[privacy]\ntruncate_addresses = {{ipv4 = 8, ipv6 = 8}}\n",
        at("countries.csv").display(),
        at("networks.csv").display()
    );
    write(&at("tollwatch.toml"), &config);
    let calls = [
        call(0, "alice", "203.0.113.9", "Mozilla/5.0 Firefox/128.0"),
        call(1, "mallory", "198.51.100.9", "curl/8.5.0"),
        call(2, "bob", "192.0.2.9", ""),
    ];
    write_lines(&at("log"), &calls);
    let tested = tollwatch()
        .args(["rules", "test"])
        .arg(at("rules"))
        .output();
    let tested = tested.expect("starts");
    assert!(
        tested.status.success(),
        "{}",
        String::from_utf8_lossy(&tested.stdout)
    );

    let mut replay = tollwatch();
    replay
        .arg("replay")
        .arg(at("log"))
        .arg("--rules")
        .arg(at("rules"));
    replay.arg("--config").arg(at("tollwatch.toml"));
    succeed(replay.arg("--alerts").arg(at("alerts")));
    let alerts = std::fs::read_to_string(at("alerts")).expect("alerts");
    let alerts: Vec<Value> = alerts
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let [alert] = alerts.as_slice() else {
        panic!("{alerts:#?}")
    };
    assert_eq!(alert["message"], "mallory calls from FR, Two, by script");
    let source = json!({ "ip": "198.0.0.0", "location": { "country": "FR" }, "autonomous_system": { "number": 64_501 } });
    assert_eq!(alert["evidences"][0]["src_endpoint"], source);
    ocsf()(&alert.to_string()).expect("valid");
    let line = &rendered(&at("alerts"), "ecs")[0];
    ecs()(line).expect("valid");
    let rendered: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(rendered["source"]["geo"]["country_iso_code"], "FR");
    assert_eq!(rendered["source"]["as"]["number"], 64_501);

    let mut query = tollwatch();
    let sql = "SELECT client_ip, country, asn, as_org, agent_class FROM events ORDER BY event_time";
    query.args(["query", sql, "--csv", "--from"]).arg(at("log"));
    let told = succeed(query.arg("--config").arg(at("tollwatch.toml")));
    let told = String::from_utf8(told.stdout).expect("text");
    let rows: Vec<&str> = told.lines().skip(1).collect();
    assert_eq!(
        rows,
        [
            "203.0.0.0,DE,64500,One,browser",
            "198.0.0.0,FR,64501,Two,script",
            "192.0.0.0,,,,"
        ]
    );
}

#[test]
fn the_documentation_has_the_list_of_user_agents() {
    let text =
        std::fs::read_to_string(root().join("docs/enrichment.md")).expect("docs/enrichment.md");
    let page = families_page();
    assert!(
        text.contains(&page),
        "put this into docs/enrichment.md:\n{page}"
    );
}
