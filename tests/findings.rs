//! Findings of posture on their way out: as OCSF, over files and over Kafka, as a day's digest, and as a page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rdkafka::message::Message;
use serde_json::{Value, json};

use crate::kafka::{Deployment, one, uids};
use crate::support::{
    bundled, json as json_of, lines, read_alerts, shared, succeed, tollwatch, write_lines,
};

const CAPTURE: &str = "vampi.ndjson.xz";

/// The findings of a log as they change, read by so many lanes.
fn told(logs: &[&Path], lanes: &str) -> Vec<Value> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("findings");
    let mut replay = tollwatch();
    replay.arg("replay").args(logs).args(["--lanes", lanes]);
    json_of(replay.args(["--json", "--findings"]).arg(&file));
    read_alerts(&file)
}

/// The findings of a log as they change.
pub(crate) fn findings_of(log: &Path) -> Vec<Value> {
    told(&[log], "2")
}

fn text<'a>(record: &'a Value, place: &str) -> &'a str {
    record.pointer(place).and_then(Value::as_str).unwrap_or("")
}

/// Name, change and phase of each record.
fn changes(findings: &[Value]) -> Vec<[&str; 3]> {
    let places = [
        "/finding_info/uid",
        "/unmapped/tollwatch/change",
        "/unmapped/tollwatch/phase",
    ];
    findings
        .iter()
        .map(|record| places.map(|place| text(record, place)))
        .collect()
}

/// What a command prints as JSON, whatever its exit code.
fn report(command: &[&str], logs: &[&Path], more: &[&str]) -> Value {
    let mut tollwatch = tollwatch();
    tollwatch.args(command).arg("--from").args(logs).args(more);
    let output = tollwatch.output().expect("the command starts");
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{command:?}: {said}"))
}

/// The page of some logs.
fn page(logs: &[&Path], more: &[&str]) -> String {
    let mut command = tollwatch();
    command.args(["report", "--html", "-", "--from"]).args(logs);
    let output = succeed(command.args(more));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Calls of one path that answers everybody over plain HTTP, a second apart.
pub(crate) fn calls(n_calls: usize, host: &str, path: &str, agent: &str) -> Vec<Vec<u8>> {
    let call = |n: usize| {
        let at = 1_767_571_200.0 + n as f64;
        let call = json!({
            "msec": format!("{at:.3}"), "remote_addr": format!("203.0.113.{}", n % 200), "remote_user": "",
            "jwt_sub": if n.is_multiple_of(3) { agent } else { "" }, "scheme": "http", "server_protocol": "HTTP/1.1",
            "method": "GET", "request_uri": path, "args": "", "status": 200, "body_bytes_sent": 271,
            "request_length": 123, "request_time": 0.003, "host": host, "user_agent": agent,
            "sent_content_type": "application/json",
        });
        call.to_string().into_bytes()
    };
    (0..n_calls).map(call).collect()
}

/// A capture and, three days later, the calls of one endpoint refused again and again.
fn mended(dir: &Path) -> [std::path::PathBuf; 2] {
    let (before, after) = (dir.join("before.ndjson"), dir.join("after.ndjson"));
    let all = lines(CAPTURE, usize::MAX);
    write_lines(&before, &all);
    let debug = all
        .iter()
        .map(|line| String::from_utf8_lossy(line))
        .filter(|line| line.contains("/users/v1/_debug"));
    let debug: Vec<_> = debug.collect();
    let refused = (0..60).flat_map(|minute| {
        debug.iter().map(move |line| {
            let mut call: Value = serde_json::from_str(line).expect("JSON");
            let seconds: f64 = text(&call, "/msec").parse().expect("a time");
            let later = seconds + 86_400.0 * 3.0 + 60.0 * f64::from(minute);
            call["msec"] = format!("{later:.3}").into();
            call["time"] = Value::Null;
            call["status"] = 401.into();
            call.to_string().into_bytes()
        })
    });
    write_lines(&after, &refused.collect::<Vec<_>>());
    [before, after]
}

#[test]
fn a_finding_is_told_as_it_changes_under_one_name_until_it_is_closed() {
    let dir = tempfile::tempdir().expect("a folder");
    let [before, after] = mended(dir.path());
    let logs = [before.as_path(), after.as_path()];
    let findings = told(&logs, "1");
    assert_eq!(uids(&findings).len(), findings.len(), "an id each");
    let mut lives = BTreeMap::<&str, Vec<&Value>>::new();
    for record in &findings {
        let uid = text(record, "/finding_info/uid");
        lives.entry(uid).or_default().push(record);
    }
    for (uid, life) in &lives {
        let activities: Vec<_> = life.iter().map(|r| r["activity_id"].as_i64()).collect();
        assert_eq!(activities[0], Some(1), "{uid} begins: {activities:?}");
        let n_created = activities.iter().filter(|id| **id == Some(1)).count();
        assert_eq!(n_created, 1, "{uid}: {activities:?}");
        let days = life
            .iter()
            .filter(|record| text(record, "/status_detail") == "still_seen")
            .map(|record| record["time"].as_i64().expect("a time") / 86_400_000);
        let days: Vec<_> = days.collect();
        let distinct: BTreeSet<_> = days.iter().collect();
        assert_eq!(days.len(), distinct.len(), "{uid}: once a day at most");
    }
    let mut debug = findings.iter().filter(|record| {
        text(record, "/metadata/event_code") == "sensitive_open"
            && text(record, "/resources/0/uid").ends_with("/users/v1/_debug")
    });
    let last = debug.next_back().expect("told");
    let closed = json!([3, 4, "Resolved", "Pass"]);
    let found = json!([
        last["activity_id"],
        last["status_id"],
        last["status"],
        last["compliance"]["status"]
    ]);
    assert_eq!(found, closed, "{last:#}");
    // What a reader that keeps the last record of each holds is what `posture list` says.
    let listed = report(
        &["posture", "list", "--all", "--json"],
        &logs,
        &["--lanes", "1"],
    );
    let listed = listed["findings"].as_array().expect("a list").iter();
    let listed: BTreeMap<&str, &str> = listed
        .map(|finding| (text(finding, "/uid"), text(finding, "/phase")))
        .collect();
    let held: BTreeMap<&str, &str> = changes(&findings)
        .into_iter()
        .map(|[uid, _, phase]| (uid, phase))
        .collect();
    assert_eq!(held, listed);
}

#[test]
fn what_is_told_does_not_depend_on_the_lanes() {
    let capture = bundled(CAPTURE);
    let (one, three) = (told(&[&capture], "1"), told(&[&capture], "3"));
    let sorted = |findings: &[Value]| {
        let mut changes: Vec<String> = changes(findings).iter().map(|c| c.join(" ")).collect();
        changes.sort();
        changes
    };
    assert!(!one.is_empty());
    assert_eq!(sorted(&one), sorted(&three));
}

#[test]
fn over_kafka_findings_are_written_once_and_delivered() {
    let all = calls(3_000, "api.example", "/users/list/_debug", "curl/8");
    one().produce("postured", 2, &all);
    let service = Deployment::new(
        one(),
        "postured-service",
        &["postured"],
        &["--partitions", "2"],
    );
    // Killed as soon as something is told of an endpoint, and again.
    drop(service.run_until("inventory", 1));
    drop(service.run_until("findings", 1));
    service.catch_up();
    let report = service.verify();
    let n = report["stages"]["findings"]["expected"].as_u64();
    assert!(Some(1) <= n, "{report}");
    let messages = one().read(&service.topic("findings"));
    let records: Vec<Value> = messages
        .iter()
        .map(|message| {
            let record: Value =
                serde_json::from_slice(message.payload().expect("a value")).expect("JSON");
            let key = message.key().expect("a key");
            assert_eq!(key, text(&record, "/finding_info/uid").as_bytes());
            record
        })
        .collect();
    assert_eq!(uids(&records).len(), records.len(), "none twice");
    let alerts = service.alerts();
    let is_alert = |alert: &Value| alert["class_uid"] == 2004;
    assert!(alerts.iter().all(is_alert), "the alerts are alerts alone");

    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("delivered");
    let to = format!("file:{}", file.display());
    let mut deliver = tollwatch();
    deliver.args([
        "deliver",
        "--findings",
        "--once",
        "--json",
        "--name",
        "posture",
    ]);
    deliver.args(["--brokers", &one().bootstrap, "--to", &to, "--as", "json"]);
    deliver.args([
        "--group",
        "postured-service",
        "--topic-prefix",
        "postured-service.",
    ]);
    let counts = json_of(&mut deliver);
    assert_eq!(counts["delivered"], records.len());
    let delivered = read_alerts(&file);
    let ids: BTreeSet<String> = delivered
        .iter()
        .map(|flat| text(flat, "/id").to_owned())
        .collect();
    assert_eq!(ids, uids(&records));
    assert!(delivered.iter().all(|flat| flat["class"] == "posture"));
}

#[test]
fn who_wants_no_findings_gets_none() {
    let all = lines(CAPTURE, 5_000);
    one().produce("unpostured", 1, &all);
    let options = ["--partitions", "1", "--findings", "false"];
    let service = Deployment::new(one(), "unpostured-service", &["unpostured"], &options);
    service.catch_up();
    let report = service.verify();
    assert!(report["not_compared"]["findings"].is_string(), "{report}");
    let topics = one().topics();
    let is_there = |topic: &&str| topics.topics().iter().any(|known| known.name() == *topic);
    let (findings, inventory) = (service.topic("findings"), service.topic("inventory"));
    let there: Vec<&str> = [findings.as_str(), inventory.as_str()]
        .into_iter()
        .filter(is_there)
        .collect();
    assert_eq!(there, [inventory.as_str()]);
}

#[test]
fn a_digest_counts_what_a_recount_counts() {
    let dir = tempfile::tempdir().expect("a folder");
    let [before, after] = mended(dir.path());
    let logs = [before.as_path(), after.as_path()];
    let listed = report(
        &["posture", "list", "--all", "--json"],
        &logs,
        &["--lanes", "2"],
    );
    let listed = listed["findings"].as_array().expect("a list");
    let n_with = |holds: &dyn Fn(&Value) -> bool| listed.iter().filter(|f| holds(f)).count();
    let phase = |finding: &Value, phase: &str| text(finding, "/phase") == phase;
    for since in ["24h", "7d", "90m"] {
        let options = ["--lanes", "2", "--since", since];
        let digest = report(&["posture", "digest", "--json"], &logs, &options);
        let from_ms = digest["from_ms"].as_i64().expect("a time");
        let is_late = |finding: &Value| Some(from_ms) <= finding["changed_ms"].as_i64();
        let is_new = |finding: &Value| {
            phase(finding, "open") && is_late(finding) && finding["regressed"] == 0
        };
        let is_back = |finding: &Value| {
            phase(finding, "open") && is_late(finding) && finding["regressed"] != 0
        };
        let is_mended = |finding: &Value| phase(finding, "resolved") && is_late(finding);
        let n = |name: &str| digest["period"][name].as_array().map_or(0, Vec::len);
        assert_eq!(n("new"), n_with(&is_new), "{since}");
        assert_eq!(n("regressed"), n_with(&is_back), "{since}");
        assert_eq!(n("resolved"), n_with(&is_mended), "{since}");
        for name in ["open", "stale", "resolved"] {
            assert_eq!(digest[name], n_with(&|f| phase(f, name)), "{since} {name}");
        }
        for severity in ["critical", "high", "medium", "low", "informational"] {
            let of = |f: &Value| phase(f, "open") && text(f, "/severity") == severity;
            assert_eq!(digest["open_by_severity"][severity], n_with(&of), "{since}");
        }
        assert!(since != "24h" || 0 < n("resolved"), "{digest:#}");
        assert!(since != "7d" || 0 < n("new"), "{digest:#}");
    }
}

/// Tags of a page, in order; quoted values are no part of them.
fn tags(page: &str) -> Vec<String> {
    let (mut tags, mut tag, mut is_quoted) = (Vec::new(), None::<String>, false);
    for c in page.chars() {
        match (&mut tag, c) {
            (None, '<') => tag = Some(String::new()),
            (None, _) => (),
            (Some(_), '>') if !is_quoted => tags.extend(tag.take()),
            (Some(_), '"') => is_quoted = !is_quoted,
            (Some(name), c) if !is_quoted => name.push(c),
            (Some(_), _) => (),
        }
    }
    assert!(tag.is_none(), "every tag ends");
    tags
}

#[test]
fn the_page_of_a_capture_has_each_finding_once_and_needs_nothing_else() {
    let capture = bundled(CAPTURE);
    let logs = [capture.as_path()];
    let listed = report(&["posture", "list", "--json"], &logs, &["--lanes", "2"]);
    let listed = listed["findings"].as_array().expect("a list");
    assert!(!listed.is_empty());
    let documents = shared("captures/dev-vampi-nginx/openapi.yml");
    let documents = documents.map(|path| path.display().to_string());
    let mut options = vec!["--lanes", "2"];
    options.extend(
        documents
            .iter()
            .flat_map(|path| ["--openapi", path.as_str()]),
    );
    let html = page(&logs, &options);
    let rows = tags(&html).iter().filter(|tag| *tag == "tr id=").count();
    assert_eq!(rows, listed.len());
    for finding in listed {
        let row = format!("<tr id=\"{}\">", text(finding, "/uid"));
        assert_eq!(html.matches(&row).count(), 1, "{finding}");
    }
    for loaded in [
        "<script", "<img", "<link", "<iframe", "src=", "href=", "url(", "@import", "http://",
        "https://",
    ] {
        assert!(!html.contains(loaded), "{loaded}");
    }
    for part in [
        "Findings that are open",
        "Inventory",
        "AI agents and MCP",
        "What can be seen",
        "Readiness",
        "Time to discovery",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // The same as JSON.
    let told = report(&["report", "--json"], &logs, &options);
    assert_eq!(
        told["findings"].as_array().map(Vec::len),
        Some(listed.len())
    );
    assert_eq!(told["coverage"][0]["format"], "nginx");
    assert_eq!(
        told["coverage"][0]["checks"].as_array().map(Vec::len),
        Some(47)
    );
    assert_eq!(told["readiness"].as_array().map(Vec::len), Some(30));
    let calls: u64 = told["calls_by_status"]
        .as_object()
        .expect("an object")
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(told["inventory"]["calls"], calls);
}

#[test]
fn nothing_a_caller_sends_is_markup_on_the_page() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("access.ndjson");
    let written = |host: &str, path: &str, agent: &str| {
        write_lines(&log, &calls(400, host, path, agent));
        page(&[&log], &["--lanes", "1"])
    };
    let tame = written("api.example", "/users/list/_debug", "claude-user/1.0");
    let wild = written(
        "a\"><script>alert(1)</script>",
        "/users/<img/src=x onerror=alert(1)>\"'&lt;/_debug",
        "claude-user/1.0 <svg/onload=alert(1)>\u{202e}\" x=\"",
    );
    assert!(
        tame.contains("<tr id=") && wild.contains("<tr id="),
        "something is found"
    );
    // Other findings than of the tame log may be there, but no other markup.
    let names = |page: &str| tags(page).into_iter().collect::<BTreeSet<_>>();
    let (wild_names, tame_names) = (names(&wild), names(&tame));
    let strange: Vec<_> = wild_names.difference(&tame_names).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(wild.contains("&lt;script&gt;") && !wild.contains('\u{202e}'));
}
