//! What is told of APIs against what is true of them, in one figure a kind: `inventory score`.
//!
//! Here are floors on one small drawn world and on the captures; `tests/world/score.py` measures many worlds, and `docs/inventory.md` and
//! `docs/posture.md` have the figures. The captures' truths (`tests/truth/`) were written by hand from their applications' routes and
//! their labels; nothing is claimed there of what is wrong with them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use world::world::{Options, World};

use crate::support::{root, shared, succeed, tollwatch};

/// The figures of a truth against logs.
fn score(truth: &Path, log: &Path, more: &[&str]) -> Value {
    let output = tollwatch()
        .args(["inventory", "score", "--json", "--truth"])
        .arg(truth)
        .arg("--from")
        .arg(log)
        .args(more)
        .output()
        .expect("the command starts");
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{told}"))
}

/// A drawn world in a folder: its log, and what `templates learn` made of it.
fn drawn(options: &Options, folder: &Path) -> (PathBuf, PathBuf) {
    let create = |name: &str| {
        let file = std::fs::File::create(folder.join(name)).expect("it can be written");
        std::io::BufWriter::new(file)
    };
    let (mut access, mut labels, mut scenarios) = (
        create("access.ndjson"),
        create("labels.tsv"),
        create("scenarios.json"),
    );
    let world = World::draw(options);
    let files = world::play::Files {
        access: &mut access,
        labels: &mut labels,
        scenarios: &mut scenarios,
    };
    let (_, truth, sown) = world::play::write(&world, files).expect("written");
    drop((access, labels, scenarios));
    let (documents, truth) = truth.finish(&world, sown.as_ref());
    std::fs::write(folder.join("truth.json"), truth).expect("written");
    std::fs::create_dir(folder.join("openapi")).expect("a folder");
    for (host, document) in documents {
        let path = folder.join("openapi").join(format!("{host}.json"));
        std::fs::write(path, document).expect("written");
    }
    let (log, learnt) = (folder.join("access.ndjson"), folder.join("learnt.txt"));
    let mut learn = tollwatch();
    succeed(
        learn
            .args(["templates", "learn"])
            .arg(&log)
            .arg("--out")
            .arg(&learnt),
    );
    (log, learnt)
}

/// Every figure is at least this; prints the misses.
fn assert_at_least(report: &Value, what: &str, precision: f64, recall: f64) {
    let scores = report["scores"].as_array().expect("a list");
    let score = scores.iter().find(|score| score["what"] == what);
    let score = score.unwrap_or_else(|| panic!("no figure of {what}: {report:#}"));
    let of = |field: &str| score[field].as_f64().unwrap_or(1.0);
    eprintln!("{score:#}");
    assert!(
        precision <= of("precision") && recall <= of("recall"),
        "{what}: {score:#}"
    );
}

#[test]
fn a_small_world_is_told_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        seed: 951,
        days: 2,
        callers: 160,
        posture: true,
        ..Options::default()
    };
    let (log, learnt) = drawn(&options, folder.path());
    let truth = folder.path().join("truth.json");
    let (learnt, openapi) = (
        learnt.to_str().expect("a name"),
        folder.path().join("openapi"),
    );
    let report = score(&truth, &log, &["--templates", learnt]);
    assert_at_least(&report, "endpoints", 0.95, 0.95);
    assert_at_least(&report, "posture faults", 0.95, 0.9);
    assert_at_least(&report, "AI agents", 1.0, 1.0);
    assert_at_least(&report, "MCP servers", 1.0, 1.0);
    assert_at_least(&report, "MCP tools", 1.0, 1.0);
    let p95_ms = report["discovery"]["p95_ms"].as_f64().expect("a time");
    assert!(p95_ms <= 60_000.0, "{p95_ms} ms to discovery");
    let openapi = openapi.to_str().expect("a name");
    let report = score(&truth, &log, &["--templates", learnt, "--openapi", openapi]);
    assert_at_least(&report, "shadow endpoints", 0.95, 0.95);
    assert_at_least(&report, "undocumented methods", 0.95, 0.95);
    assert_at_least(&report, "documented, not called", 0.95, 0.95);
}

#[test]
fn a_version_that_callers_have_left_is_told_and_a_migration_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        seed: 951,
        days: 10,
        callers: 60,
        posture: true,
        ..Options::default()
    };
    let (log, learnt) = drawn(&options, folder.path());
    let truth = std::fs::read_to_string(folder.path().join("truth.json")).expect("written");
    let truth: Value = serde_json::from_str(&truth).expect("JSON");
    let subjects = |list: &str| -> Vec<String> {
        let of = truth[list].as_array().expect("a list").iter();
        let of = of.filter(|case| case["check"] == "old_version_in_use");
        of.filter_map(|case| case["subject"].as_str())
            .filter(|subject| subject.ends_with("/catalogue"))
            .map(str::to_owned)
            .collect()
    };
    let mut list = tollwatch();
    list.args(["posture", "list", "--json", "--from"]).arg(&log);
    list.arg("--templates").arg(&learnt);
    // It ends with 1: something is open.
    let output = list.output().expect("the command starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let told: Vec<&str> = listed["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|finding| finding["check"] == "old_version_in_use")
        .filter_map(|finding| finding["subject"].as_str())
        .collect();
    let (left, side_by_side) = (subjects("faults"), subjects("healthy"));
    assert!(!left.is_empty() && !side_by_side.is_empty(), "{truth:#}");
    for subject in &left {
        assert!(told.contains(&subject.as_str()), "{subject}: {told:?}");
    }
    for subject in &side_by_side {
        assert!(!told.contains(&subject.as_str()), "{subject}: {told:?}");
    }
}

#[test]
fn a_truth_that_is_none_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let truth = folder.path().join("truth.json");
    std::fs::write(&truth, r#"{"endpoint": []}"#).expect("written");
    let output = tollwatch()
        .args(["inventory", "score", "--from", "none.log", "--truth"])
        .arg(&truth)
        .output()
        .expect("starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("truth.json") && told.contains("docs/inventory.md"),
        "{told}"
    );
}

#[test]
fn the_captures_are_told_as_they_are() {
    for (capture, log) in [
        ("board", "dev-board-nginx/access.ndjson.xz"),
        ("ledger", "dev-ledger-apache/access.log.xz"),
    ] {
        let Some(log) = shared(&format!("captures/{log}")) else {
            return;
        };
        let truth = root().join(format!("tests/truth/{capture}.json"));
        let report = score(&truth, &log, &[]);
        eprintln!("{capture}");
        for what in ["endpoints", "AI agents", "MCP servers", "MCP tools"] {
            assert_at_least(&report, what, 0.97, 0.97);
        }
        let p95_ms = report["discovery"]["p95_ms"].as_f64().expect("a time");
        assert!(p95_ms <= 60_000.0, "{p95_ms} ms to discovery");
    }
}
