//! Documents and the register of agents that change while a service runs, on a real Kafka: what is judged by which is in the logs.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::message::{Headers, Message};
use serde_json::{Value, json};

use crate::findings::calls;
use crate::kafka::{Deployment, PATIENCE, free_address, one, write_to};
use crate::losses::{Watched, sum};
use crate::support::tollwatch;

/// A document of the endpoint that is called.
fn document(is_deprecated: bool, owner: &str) -> String {
    let get = json!({"deprecated": is_deprecated, "x-owner": owner, "responses": {"200": {}}});
    json!({"openapi": "3.0.0", "paths": {"/users/list": {"get": get}}}).to_string()
}

fn put(path: &Path, text: &str) {
    // As a mount does: the file is there whole, or not.
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).expect("writes");
    std::fs::rename(aside, path).expect("moves");
}

/// Hashes of the briefings that a log tells, by partition, in its order.
fn told(service: &Deployment<'_>, log: &str) -> Vec<(i32, String)> {
    let mut told = Vec::new();
    for message in service.kafka.read(&service.topic(log)) {
        let headers = message.headers();
        let mut headers =
            (0..headers.map_or(0, Headers::count)).filter_map(|i| headers?.try_get(i));
        if let Some(briefing) = headers.find(|header| header.key == "tollwatch.briefing") {
            let hash = String::from_utf8_lossy(briefing.value.unwrap_or_default());
            told.push((message.partition(), hash.into_owned()));
        }
    }
    told
}

/// Waits until each lane was told so many different briefings.
fn until_told(service: &Deployment<'_>, n: usize) {
    let began = Instant::now();
    let is_told = |log: &&str| {
        let distinct: BTreeSet<_> = told(service, log).into_iter().collect();
        distinct.len() == 2 * n
    };
    while !["events", "endpoints"].iter().all(&is_told) {
        assert!(
            began.elapsed() < PATIENCE,
            "lanes are not told {n} briefings"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Changes and owners of the findings that a check told of an endpoint.
fn changes(service: &Deployment<'_>, check: &str) -> Vec<(String, String)> {
    let messages = service.kafka.read(&service.topic("findings"));
    let records = messages.iter().map(|message| {
        let record: Value =
            serde_json::from_slice(message.payload().expect("a value")).expect("JSON");
        record
    });
    let of = |record: &Value| record["metadata"]["event_code"] == check;
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    records
        .filter(of)
        .map(|record| {
            let owner = text(&record["resources"][0]["owner"]["name"]);
            (text(&record["unmapped"]["tollwatch"]["change"]), owner)
        })
        .collect()
}

#[test]
fn documents_and_the_register_change_under_load_and_a_kill_changes_nothing() {
    let all = calls(9_000, "api.example", "/users/list", "claude-user/1.0");
    let (first, rest) = all.split_at(3_000);
    let (second, third) = rest.split_at(3_000);
    one().produce("briefed", 2, first);
    let folder = tempfile::tempdir().expect("a folder");
    let (api, register) = (
        folder.path().join("api.json"),
        folder.path().join("agents.toml"),
    );
    put(&api, &document(false, "team users"));
    put(&register, "");
    let address = free_address();
    let options = [
        "--partitions",
        "2",
        "--openapi",
        api.to_str().expect("text"),
        "--agents",
        register.to_str().expect("text"),
        "--rules-reload-seconds",
        "1",
        "--snapshots-every-seconds",
        "1",
        "--instance",
        "a",
        "--listen",
        &address,
    ];
    let service = Deployment::new(one(), "briefed-service", &["briefed"], &options);
    let writer = one().cluster().writer().expect("a writer");
    let read =
        |metrics: &str, n: usize| sum(metrics, "tollwatch_rows_read_total", "profile") >= n as f64;
    let reloads =
        |metrics: &str, outcome: &str| sum(metrics, "tollwatch_document_reloads_total", outcome);
    let mut run = Watched::start(service.command("run"), &address);
    run.until("the first part is read", |metrics| read(metrics, 3_000));
    until_told(&service, 1);

    // What is broken changes nothing, and says so with its place.
    put(&api, "{\"openapi\": \"3.0.0\",\n\"paths\": 7}");
    run.until("a broken document is refused", |metrics| {
        reloads(metrics, "refused") == 1.0
    });
    put(&api, &document(false, "team users"));
    put(&register, "[agents.x]\nowns = 1\n");
    run.until("a broken register is refused", |metrics| {
        reloads(metrics, "refused") == 2.0
    });
    assert_eq!(changes(&service, "old_version_in_use"), []);

    // The endpoint is deprecated, and somebody answers for its caller.
    put(&api, &document(true, "team legacy"));
    put(
        &register,
        "[agents.\"claude-user/1.0\"]\nowner = \"research\"\n",
    );
    run.until("the new files are taken", |metrics| {
        reloads(metrics, "taken") == 1.0
    });
    until_told(&service, 2);
    write_to(&writer, "briefed", 3_000, second);
    writer.flush().expect("acknowledged");
    run.until("the second part is read", |metrics| read(metrics, 6_000));
    let began = Instant::now();
    while changes(&service, "old_version_in_use").is_empty() {
        assert!(
            began.elapsed() < PATIENCE,
            "nothing is found of what is deprecated"
        );
        std::thread::sleep(Duration::from_millis(100));
    }

    // Killed, and started again with the same files and snapshots of before and behind the change.
    drop(run);
    write_to(&writer, "briefed", 6_000, third);
    writer.flush().expect("acknowledged");
    let mut again = Watched::start(service.command("run"), &address);
    again.until("the third part is read", |metrics| read(metrics, 3_000));
    let said = again.terminate();
    assert!(!said.contains("refused"), "{said}");
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    let old = changes(&service, "old_version_in_use");
    let n_opened = old.iter().filter(|(change, _)| change == "opened").count();
    assert_eq!(n_opened, 1, "told once, whatever was killed: {old:?}");
    assert!(
        old.iter().all(|(_, owner)| owner == "team legacy"),
        "{old:?}"
    );
    for log in ["events", "endpoints"] {
        let told = told(&service, log);
        let distinct: BTreeSet<_> = told.iter().collect();
        assert_eq!((told.len(), distinct.len()), (4, 4), "{log}: {told:?}");
    }
    for log in ["touches", "judgements"] {
        assert_eq!(told(&service, log), [], "{log}");
    }
    let inventory = service.kafka.read(&service.topic("inventory"));
    let records = inventory.iter().map(|message| {
        let record: Value =
            serde_json::from_slice(message.payload().expect("a value")).expect("JSON");
        record
    });
    let agents: Vec<Value> = records
        .filter(|record| record["kind"] == "agent" && record["name"] == "claude-user/1.0")
        .collect();
    let owners: Vec<_> = agents.iter().map(|agent| agent["owner"].as_str()).collect();
    assert_eq!(owners.first(), Some(&None), "{owners:?}");
    assert_eq!(owners.last(), Some(&Some("research")), "{owners:?}");
}

#[test]
fn what_a_file_says_wrongly_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let (api, register) = (
        folder.path().join("api.yaml"),
        folder.path().join("agents.toml"),
    );
    std::fs::write(&api, document(false, "x")).expect("writes");
    std::fs::write(&register, "[agents.x]\nowns = 1\n").expect("writes");
    let mut check = tollwatch();
    check.args(["check", "--source-topic", "t", "--state"]);
    check.arg(folder.path().join("state"));
    check
        .arg("--openapi")
        .arg(&api)
        .arg("--agents")
        .arg(&register);
    let output = check.output().expect("starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("agents.toml") && said.contains("line 2") && said.contains("owns"),
        "{said}"
    );
}
