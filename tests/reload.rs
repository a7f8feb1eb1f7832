//! Rules that change while a service runs, on a real Kafka: what is judged by which is in the logs, and nothing else changes.

use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::message::{Headers, Message};
use serde_json::Value;

use crate::kafka::{Deployment, PATIENCE, free_address, one, write_to};
use crate::losses::{Watched, sum};
use crate::support::lines;

/// A rule of its own that counts calls of an identity in windows of ten days, so that one window sees all.
fn counting(name: &str, more_than: usize) -> String {
    format!(
        "/*---
schema: rule/v1
id: 6f1c2f0e-2f62-4c0c-9f0c-{:012}
name: {name}
version: 1
title: t
status: stable
severity: low
description: counts
emit: first_crossing
suppress: {{by: [identity], for: 1000d}}
---*/
SELECT identity, window_start, window_end, count(*) AS calls
FROM TUMBLE(events, event_time, INTERVAL '100 days')
GROUP BY identity, window_start, window_end
HAVING count(*) > {more_than}
",
        name.bytes().map(u64::from).sum::<u64>()
    )
}

fn put(folder: &Path, name: &str, text: &str) {
    // As a mount does: the file is there whole, or not.
    let aside = folder.join(format!("{name}.new"));
    std::fs::write(&aside, text).expect("writes");
    std::fs::rename(aside, folder.join(format!("{name}.sql"))).expect("moves");
}

/// Alerts by rule: identities, and the number of calls that each was told with.
fn told<'a>(alerts: &'a [Value], rule: &str) -> Vec<(&'a str, u64)> {
    let of = |alert: &&Value| alert["finding_info"]["analytic"]["uid"] == rule;
    let text = |alert: &'a Value| {
        let calls = &alert["unmapped"]["tollwatch"]["columns"]["calls"];
        let who = alert["actor"]["user"]["uid"].as_str().expect("a name");
        (who, calls.as_u64().expect("a number"))
    };
    alerts.iter().filter(of).map(text).collect()
}

/// Distinct sets of rules that a log tells, by partition.
fn switches(service: &Deployment<'_>, log: &str) -> Vec<(i32, String)> {
    let mut told = Vec::new();
    for message in service.kafka.read(&service.topic(log)) {
        let headers = message.headers();
        let mut headers =
            (0..headers.map_or(0, Headers::count)).filter_map(|i| headers?.try_get(i));
        if let Some(rules) = headers.find(|header| header.key == "tollwatch.rules") {
            let hash = String::from_utf8_lossy(rules.value.unwrap_or_default());
            told.push((message.partition(), hash.into_owned()));
        }
    }
    told.sort();
    let n = told.len();
    told.dedup();
    assert_eq!(told.len(), n, "each lane is told a set once");
    told
}

#[test]
fn rules_change_under_load_and_a_kill_changes_nothing() {
    let all = lines("vampi.ndjson.xz", 40_000);
    let (first, rest) = all.split_at(10_000);
    let (second, third) = rest.split_at(10_000);
    one().produce("reload", 2, first);
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path();
    put(rules, "never", &counting("never", 1_000_000));
    put(rules, "early", &counting("early", 3));
    let address = free_address();
    let options = [
        "--partitions",
        "2",
        "--rules",
        rules.to_str().expect("text"),
        "--rules-reload-seconds",
        "1",
        "--snapshots-every-seconds",
        "1",
        "--instance",
        "a",
        "--listen",
        &address,
    ];
    let service = Deployment::new(one(), "reload-service", &["reload"], &options);
    let writer = one().cluster().writer().expect("a writer");
    let mut write = {
        let mut n = first.len();
        move |lines: &[Vec<u8>]| {
            for part in lines.chunks(500) {
                write_to(&writer, "reload", n, part);
                n += part.len();
                std::thread::sleep(Duration::from_millis(50));
            }
            writer.flush().expect("acknowledged");
        }
    };
    let quiet = |metrics: &str| sum(metrics, "tollwatch_rules_waiting", "") == 0.0;
    let read = |metrics: &str, n: usize| {
        sum(metrics, "tollwatch_rows_read_total", "profile") >= n as f64 && quiet(metrics)
    };
    let mut run = Watched::start(service.command("run"), &address);
    run.until("the first part is read", |metrics| read(metrics, 10_000));
    assert_eq!(told(&service.alerts(), "never"), []);

    // A broken set changes nothing, and says so.
    put(
        rules,
        "early",
        &counting("early", 3).replace("HAVING", "HAVNG"),
    );
    let refused = |metrics: &str| sum(metrics, "tollwatch_rule_reloads_total", "refused") == 1.0;
    run.until("a broken set is refused", refused);
    // A lower threshold of one, a new one, and one that is gone, while calls come.
    let n_early = told(&service.alerts(), "early").len();
    assert!(n_early > 2, "{n_early}");
    std::fs::remove_file(rules.join("early.sql")).expect("removes");
    put(rules, "never", &counting("never", 100));
    put(rules, "arrived", &counting("arrived", 100));
    write(second);
    run.until("the new set is taken", |metrics| {
        sum(metrics, "tollwatch_rule_reloads_total", "taken") == 1.0 && read(metrics, 20_000)
    });

    // Killed with a snapshot before the switch or behind it, and with another set when it is started again.
    drop(run);
    put(rules, "never", &counting("never", 101));
    let again = Watched::start(service.command("run"), &address);
    write(third);
    let began = Instant::now();
    const LOGS: [&str; 3] = ["events", "judgements", "endpoints"];
    while LOGS.map(|log| switches(&service, log).len()) != [6, 6, 6] {
        assert!(
            began.elapsed() < PATIENCE,
            "lanes are not told the third set"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    again.terminate();
    service.catch_up();

    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    let alerts = service.alerts();
    let (never, arrived) = (told(&alerts, "never"), told(&alerts, "arrived"));
    assert!(!arrived.is_empty(), "the new rule speaks");
    // What was counted under the old threshold counts under the new one, so it comes before who begins at nothing.
    assert!(never.len() >= arrived.len(), "{never:?} {arrived:?}");
    assert!(
        never.iter().any(|(_, calls)| *calls == 101 || *calls > 102),
        "{never:?}"
    );
    for log in LOGS {
        let switches = switches(&service, log);
        let lanes: std::collections::BTreeSet<i32> = switches.iter().map(|(at, _)| *at).collect();
        assert_eq!((lanes.len(), switches.len()), (2, 6), "{log}: {switches:?}");
    }
}
