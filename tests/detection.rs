//! What is found in labelled captures, and what is told falsely. `docs/detection.md` has the table.

use std::path::Path;

use serde_json::Value;

use crate::support::{bundled, json, shared, tollwatch};

/// False alerts per million events that the promise allows; the default knob promises 1.
const FALSE_PER_MILLION_MAX: f64 = 20.0;

fn eval(log: &Path, labels: &Path) -> Value {
    json(
        tollwatch()
            .arg("eval")
            .arg(log)
            .arg("--labels")
            .arg(labels)
            .arg("--json"),
    )
}

fn found(result: &Value) -> Vec<String> {
    let episodes = result["episodes"].as_object().expect("episodes");
    let found = episodes
        .iter()
        .filter(|(_, episode)| episode["rule"].is_string());
    found.map(|(name, _)| name.clone()).collect()
}

#[test]
fn attacks_are_found_in_the_bundled_captures() {
    let captures = [("vampi", "vampi.ndjson.xz"), ("ledger", "ledger.log.xz")];
    let (mut n_found, mut n_episodes, mut n_false, mut n_events) = (0, 0, 0, 0);
    for (name, log) in captures {
        let result = eval(&bundled(log), &bundled(&format!("{name}.labels.tsv.xz")));
        n_found += found(&result).len();
        n_episodes += result["episodes"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        n_false += result["false_alerts"].as_array().map_or(0, Vec::len);
        n_events += result["events"].as_u64().unwrap_or(0);
    }
    assert!(
        n_found * 4 >= n_episodes * 3,
        "{n_found} of {n_episodes} found"
    );
    let per_million = n_false as f64 * 1e6 / n_events as f64;
    // On so few events one false alert is 4.3 per million.
    assert!(
        per_million <= FALSE_PER_MILLION_MAX,
        "{n_false} false in {n_events}"
    );
}

/// Loud: fast enumeration and scanners, at a call a second or more.
fn loud(scenarios: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(scenarios).expect("readable");
    let scenarios: Vec<Value> = serde_json::from_str(&text).expect("a list of scenarios");
    let seconds = |scenario: &Value, key: &str| {
        let text = scenario[key].as_str().expect("a time");
        let ms = connectors::time::parse_time(text).expect("a time");
        ms as f64 / 1000.0
    };
    let is_loud = |scenario: &&Value| {
        let events = scenario["events"].as_f64().expect("a count");
        let duration = seconds(scenario, "end") - seconds(scenario, "start");
        events >= 50.0 && events >= duration
    };
    let name = |scenario: &Value| scenario["id"].as_str().expect("an id").to_owned();
    scenarios.iter().filter(is_loud).map(name).collect()
}

#[test]
fn the_goals_are_met_on_every_capture() {
    let captures = [
        ("dev-vampi-nginx", "access.ndjson.xz"),
        ("dev-board-nginx", "access.ndjson.xz"),
        ("dev-ledger-apache", "access.log.xz"),
    ];
    let (mut n_found, mut n_episodes, mut n_false, mut n_events) = (0, 0, 0, 0);
    let mut quiet_misses = Vec::new();
    for (capture, log) in captures {
        let file = |name: &str| shared(&format!("captures/{capture}/{name}"));
        let (Some(log), Some(labels)) = (file(log), file("labels.tsv.xz")) else {
            return;
        };
        let result = eval(&log, &labels);
        let found = found(&result);
        let loud = loud(&file("scenarios.json").expect("beside the log"));
        assert!(loud.len() >= 3, "{capture}: {loud:?} are all the loud ones");
        for name in &loud {
            assert!(
                found.contains(name),
                "{capture}: {name} is loud and was missed"
            );
        }
        let all = result["episodes"].as_object().expect("episodes");
        quiet_misses.extend(all.keys().filter(|name| !found.contains(name)).cloned());
        n_found += found.len();
        n_episodes += all.len();
        n_false += result["false_alerts"].as_array().map_or(0, Vec::len);
        n_events += result["events"].as_u64().unwrap_or(0);
    }
    eprintln!(
        "{n_found} of {n_episodes} found, {n_false} false in {n_events}; missed {quiet_misses:?}"
    );
    assert_eq!(n_episodes, 41);
    assert!(n_found >= 36, "{n_found} of {n_episodes} found");
    let per_million = n_false as f64 * 1e6 / n_events as f64;
    assert!(
        per_million <= FALSE_PER_MILLION_MAX,
        "{per_million} per million events"
    );
}
