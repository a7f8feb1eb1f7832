//! What is found in labelled captures, and what is told falsely. `docs/detection.md` has the table.

use std::path::Path;

use serde_json::Value;

use crate::support::{bundled, json, lines, shared, tollwatch, write_lines};

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

/// Loud attacks of worlds that nobody looked at while the models were made: most of them are found, and what is told
/// falsely stays within what `docs/detection.md` says of such worlds.
#[test]
fn loud_attacks_of_drawn_worlds_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut n_found, mut n_episodes, mut n_false, mut n_events) = (0, 0, 0, 0);
    for seed in [701, 702] {
        let options = world::world::Options {
            seed,
            band: Some(1),
            ..world::world::Options::default()
        };
        let paths = ["log", "labels", "scenarios"].map(|name| folder.path().join(name));
        let mut files = paths.iter().map(|path| {
            std::io::BufWriter::new(std::fs::File::create(path).expect("it can be written"))
        });
        let mut next = || files.next().expect("three files");
        let (mut log, mut labels, mut scenarios) = (next(), next(), next());
        let drawn = world::world::World::draw(&options);
        let files = world::play::Files {
            access: &mut log,
            labels: &mut labels,
            scenarios: &mut scenarios,
        };
        world::play::write(&drawn, files).expect("written");
        drop((log, labels, scenarios));
        let result = eval(&paths[0], &paths[1]);
        n_found += found(&result).len();
        n_episodes += result["episodes"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        n_false += result["false_alerts"].as_array().map_or(0, Vec::len);
        n_events += result["events"].as_u64().unwrap_or(0) as usize;
    }
    eprintln!("{n_found} of {n_episodes} found, {n_false} false in {n_events}");
    assert!(30 <= n_episodes, "{n_episodes} episodes");
    assert!(
        n_found * 10 >= n_episodes * 7,
        "{n_found} of {n_episodes} found"
    );
    assert!(n_false * 10_000 <= n_events, "{n_false} in {n_events}");
}

/// Gateways write lines as calls end, shippers mix them: neighbours that change places change nothing of what is found.
#[test]
fn lines_out_of_order_within_a_few_seconds_change_nothing_of_what_is_found() {
    const NEIGHBOURS: usize = 12;
    let folder = tempfile::tempdir().expect("a folder");
    let (log, labels) = (folder.path().join("log"), folder.path().join("labels"));
    let ordered = eval(&bundled("ledger.log.xz"), &bundled("ledger.labels.tsv.xz"));
    let mut rows = lines("ledger.labels.tsv.xz", usize::MAX);
    let header = rows.remove(0);
    let mut log_lines = lines("ledger.log.xz", usize::MAX);
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for start in (0..log_lines.len()).step_by(NEIGHBOURS) {
        let end = (start + NEIGHBOURS).min(log_lines.len());
        for at in (start + 1..end).rev() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let other = start + (dice >> 33) as usize % (at - start + 1);
            log_lines.swap(at, other);
            rows.swap(at, other);
        }
    }
    // Rows are of lines by their order.
    rows.insert(0, header);
    write_lines(&log, &log_lines);
    write_lines(&labels, &rows);
    let mixed = eval(&log, &labels);
    assert_eq!(found(&mixed), found(&ordered));
    let n_false = |result: &Value| result["false_alerts"].as_array().map_or(0, Vec::len);
    assert_eq!(n_false(&mixed), n_false(&ordered));
}
