//! AI agents, MCP servers and tools: found in logs as a user asks for them, and by a drill against a service.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{json as json_of, shared, tollwatch, write_lines};

fn ask(command: &[&str], from: &Path, options: &[&str]) -> Value {
    let output = tollwatch()
        .args(command)
        .args(["--json", "--from"])
        .arg(from)
        .args(options)
        .output()
        .expect("the command starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code < 2), "{told}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{told}"))
}

fn names(report: &Value, list: &str) -> Vec<String> {
    let records = report[list].as_array().expect("a list").iter();
    records
        .map(|record| record["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn kept(record: &Value, field: &str) -> Vec<String> {
    let kept = record[field]["kept"].as_array().expect("a set").iter();
    kept.map(|named| named["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// One call as Kong logs it.
fn call(
    at_ms: i64,
    target: (&str, &str, &str),
    status: u16,
    claims: Value,
    more: Value,
) -> Vec<u8> {
    let (method, host, path) = target;
    let mut headers = json!({ "host": host });
    for (name, value) in more.as_object().into_iter().flatten() {
        headers[name] = value.clone();
    }
    let mut record = json!({
        "started_at": at_ms, "client_ip": "203.0.113.9",
        "request": {
            "method": method, "uri": path, "url": format!("https://{host}{path}"), "size": 300, "headers": headers,
        },
        "response": { "status": status, "size": 900, "headers": {} },
        "latencies": { "request": 12 },
    });
    if !claims.is_null() {
        record["jwt_claims"] = json!(claims.to_string());
    }
    record.to_string().into_bytes()
}

const API: &str = "api.example";
const MCP: &str = "mcp.example";

/// An hour of three agents, a crawler, somebody who only looks like an agent, and people.
fn hour() -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for i in 0..360_i64 {
        let at_ms = 1_767_600_000_000 + i * 10_000;
        let person = json!({ "sub": format!("person-{}", i % 20) });
        let path = format!("/orders/{}", i % 20);
        lines.push(call(at_ms, ("GET", API, &path), 200, person, Value::Null));
        if i % 6 == 0 {
            let claims = json!({ "sub": "ada", "azp": "billing-agent" });
            let path = format!("/invoices/{}", i % 9);
            lines.push(call(
                at_ms + 1,
                ("GET", API, &path),
                200,
                claims,
                Value::Null,
            ));
            let claims = json!({ "sub": "svc-search" });
            let tool = ["find_order", "read_ticket"][(i / 6 % 2) as usize];
            let headers = json!({ "mcp-method": "tools/call", "mcp-name": tool });
            lines.push(call(at_ms + 2, ("POST", MCP, "/mcp"), 200, claims, headers));
            let claims = json!({ "sub": "svc-report" });
            let headers =
                json!({ "user-agent": "Anthropic/Python 0.40", "x-stainless-lang": "python" });
            lines.push(call(
                at_ms + 3,
                ("POST", API, "/reports"),
                201,
                claims,
                headers,
            ));
            let headers = json!({ "user-agent": "GPTBot/1.2" });
            lines.push(call(
                at_ms + 4,
                ("GET", API, "/terms"),
                200,
                Value::Null,
                headers,
            ));
            // Refused: what it shows is nobody's.
            let claims = json!({ "sub": "mallory", "azp": "root-agent" });
            lines.push(call(
                at_ms + 5,
                ("GET", API, "/orders/1"),
                401,
                claims,
                Value::Null,
            ));
            // The server does not speak it.
            let headers = json!({ "mcp-method": "tools/call", "mcp-name": "no_such" });
            let claims = json!({ "sub": "person-3" });
            lines.push(call(
                at_ms + 6,
                ("POST", API, "/nothing"),
                404,
                claims,
                headers,
            ));
        }
    }
    lines
}

#[test]
fn agents_servers_and_tools_of_a_log_are_listed_with_what_they_use() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("access.ndjson");
    write_lines(&log, &hour());
    let agents = ask(&["agents", "list"], &log, &["--lanes", "1"]);
    assert_eq!(
        names(&agents, "agents"),
        ["billing-agent", "svc-report", "svc-search", "~gptbot"]
    );
    let of = |name: &str| {
        let agents = agents["agents"].as_array().expect("a list");
        agents
            .iter()
            .find(|agent| agent["name"] == name)
            .expect("listed")
    };
    let billing = of("billing-agent");
    assert_eq!(billing["grade"], "strong");
    assert_eq!(billing["sign"], "client_name");
    assert_eq!(kept(billing, "on_behalf_of"), ["ada"]);
    assert_eq!(
        kept(billing, "endpoints"),
        ["GET api.example /invoices/{id}"]
    );
    assert_eq!(billing["calls"], 60);
    let search = of("svc-search");
    assert_eq!(
        kept(search, "tools"),
        ["mcp.example/mcp find_order", "mcp.example/mcp read_ticket"]
    );
    assert_eq!(of("svc-report")["grade"], "claim");
    assert_eq!(of("~gptbot")["agent_kind"], "crawler");
    assert!(
        agents["agents"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|agent| agent["time_to_discovery_ms"].as_i64().expect("ms") <= 60_000)
    );
    let servers = ask(&["agents", "servers"], &log, &[]);
    assert_eq!(names(&servers, "servers"), ["mcp.example/mcp"]);
    assert_eq!(servers["servers"][0]["authenticated"], 60);
    let tools = ask(&["agents", "tools"], &log, &[]);
    assert_eq!(
        names(&tools, "tools"),
        ["mcp.example/mcp find_order", "mcp.example/mcp read_ticket"]
    );
    // When a lane tells depends on what else is in it; what it tells does not.
    let timeless = |mut report: Value| {
        let lists = report.as_object_mut().expect("an object").values_mut();
        for record in lists.flat_map(|list| list.as_array_mut().expect("a list")) {
            record["time_to_discovery_ms"] = Value::Null;
        }
        report
    };
    for list in ["list", "servers", "tools"] {
        let of = |lanes: &str| timeless(ask(&["agents", list], &log, &["--lanes", lanes]));
        assert_eq!(of("1"), of("3"), "{list}");
    }
}

#[test]
fn the_register_says_who_answers_and_what_is_not_meant() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, register) = (
        dir.path().join("access.ndjson"),
        dir.path().join("agents.toml"),
    );
    write_lines(&log, &hour());
    let found = |options: &[&str]| {
        let findings = ask(&["posture", "list"], &log, options);
        let findings = findings["findings"].as_array().expect("a list").clone();
        let of = |finding: &Value| {
            let text = |field: &str| finding[field].as_str().unwrap_or("-").to_owned();
            (text("check"), text("subject"), text("owner"))
        };
        let found: BTreeSet<_> = findings.iter().map(of).collect();
        found
    };
    let is_about_agents = |(check, ..): &&(String, String, String)| {
        check.starts_with("agent_") || check.starts_with("mcp_")
    };
    let told = found(&[]);
    let told: Vec<_> = told.iter().filter(is_about_agents).collect();
    let unknown: Vec<(&str, &str)> = told
        .iter()
        .map(|(check, subject, _)| (check.as_str(), subject.as_str()))
        .collect();
    assert_eq!(
        unknown,
        [
            ("agent_new", "billing-agent"),
            ("agent_new", "svc-report"),
            ("agent_new", "svc-search"),
            ("mcp_server_unknown", "mcp.example/mcp"),
        ]
    );
    let text = "[agents.billing-agent]\nowner = \"payments\"\n[agents.svc-search]\nowner = \"search\"\n[agents.svc-report]\nowner = \"reports\"\n\
                [servers.\"mcp.example/mcp\"]\nowner = \"platform\"\ntools = [\"find_order\"]\n";
    std::fs::write(&register, text).expect("writes");
    let options = ["--agents", register.to_str().expect("text")];
    let told = found(&options);
    let told: Vec<_> = told.iter().filter(is_about_agents).collect();
    let want = ("mcp_tool_unlisted", "mcp.example/mcp", "platform");
    assert_eq!(
        told.iter()
            .map(|(check, subject, owner)| (check.as_str(), subject.as_str(), owner.as_str()))
            .collect::<Vec<_>>(),
        [want]
    );
    let unowned = ask(&["agents", "list", "--unowned"], &log, &options);
    assert_eq!(names(&unowned, "agents"), ["~gptbot"]);
    std::fs::write(&register, "[agents.x]\nowns = 1\n").expect("writes");
    let output = tollwatch()
        .args(["agents", "list", "--from"])
        .arg(&log)
        .args(options)
        .output()
        .expect("the command starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && told.contains("agents.toml") && told.contains("owns"),
        "{told}"
    );
}

#[test]
fn every_tool_of_a_capture_is_listed() {
    let Some(capture) = shared("captures/dev-board-nginx/access.ndjson.xz") else {
        return;
    };
    let input = connectors::file::open(&capture).expect("the file opens");
    let mut truth = BTreeSet::new();
    for line in connectors::file::Lines::new(input.reader) {
        let connectors::file::Line::Bytes { bytes, .. } = line.expect("the file is whole") else {
            continue;
        };
        let Ok(record) = serde_json::from_slice::<Value>(&bytes) else {
            continue;
        };
        let is_answered = record["http"]["status"]
            .as_u64()
            .is_some_and(|status| (200..300).contains(&status));
        let body: Value =
            serde_json::from_str(record["body"].as_str().unwrap_or_default()).unwrap_or_default();
        if is_answered
            && body["method"] == "tools/call"
            && let Some(tool) = body["params"]["name"].as_str()
        {
            let path = record["http"]["target"].as_str().expect("a path");
            truth.insert(format!("-{path} {tool}"));
        }
    }
    assert!(!truth.is_empty(), "the capture has tools");
    let tools = ask(&["agents", "tools"], &capture, &[]);
    assert_eq!(
        names(&tools, "tools").into_iter().collect::<BTreeSet<_>>(),
        truth
    );
}

#[test]
fn a_drill_lists_all_that_new_agents_use() {
    let mut drill = tollwatch();
    drill.args(["drill", "agents", "--n", "4", "--seconds", "4", "--json"]);
    let report = json_of(&mut drill);
    assert_eq!(report["missing"], 0, "{report}");
    assert_eq!(report["agents"].as_array().map(Vec::len), Some(4));
    assert!(report["uses"].as_u64().is_some_and(|n| 4 <= n), "{report}");
}

#[test]
fn readiness_is_answered_by_what_was_measured() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("access.ndjson");
    write_lines(&log, &hour());
    let report = ask(&["readiness"], &log, &[]);
    let answers = report["answers"].as_array().expect("a list");
    assert_eq!(answers.len(), 30);
    let of = |id: &str| {
        let answer = answers.iter().find(|answer| answer["id"] == id);
        let answer = answer.expect("a question");
        (
            answer["value"].as_f64(),
            answer["answer"].as_str().expect("an answer"),
        )
    };
    assert_eq!(of("A1"), (Some(0.0), "fail"), "nobody answers for any");
    assert_eq!(of("A3"), (Some(1.0), "warn"), "one server");
    assert_eq!(of("A5"), (Some(0.0), "pass"));
    assert_eq!(of("D4"), (None, "not measurable"), "without a document");
    assert_eq!(of("T1"), (None, "not measurable"));
    let (discovery, answer) = of("D7");
    assert!(discovery.is_some_and(|seconds| seconds <= 60.0) && answer == "pass");
    let n = answers
        .iter()
        .filter(|answer| !answer["value"].is_null())
        .count();
    assert_eq!(report["measured"], n);
}
