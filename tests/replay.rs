//! Laws of the way over files: the same records give the same alerts, however they come.

use std::io::Write;
use std::sync::Arc;

use connectors::format::{Format, SourceRecord};
use engine::config::ModelConfig;
use engine::pipeline::Pipeline;
use engine::rule::RuleSet;
use engine::stage::decode::DecodeConfig;
use serde_json::Value;

use crate::support::{json, lines, succeed, tollwatch, write_lines};

/// Alerts of a run over records in rounds of these lengths, the last for all that remain.
fn alerts_in_rounds(all: &[Vec<u8>], rounds: &[usize]) -> Vec<String> {
    let resolver = engine::command::resolver(None, false).expect("a resolver");
    let decode = DecodeConfig {
        format: Format::Auto.into(),
        resolver,
        templates: Arc::default(),
        enrichment: Arc::default(),
        privacy: Arc::default(),
        partitions: 1,
    };
    let rules = Arc::new(RuleSet::shipped());
    let mut pipeline =
        Pipeline::new(&decode, &ModelConfig::default(), &rules, 1).expect("sound rules");
    pipeline.open("file:log".into()).expect("opens");
    let mut alerts = Vec::new();
    let mut at = 0;
    let lengths = rounds.iter().copied().chain(std::iter::repeat(4096));
    for length in lengths {
        let end = all.len().min(at + length);
        let records: Vec<_> = (at..end)
            .map(|i| SourceRecord {
                payload: &all[i],
                offset: i as i64 + 1,
                broker_time_ms: None,
            })
            .collect();
        let round = pipeline
            .round(&records)
            .expect("the stages take their own rows");
        alerts.extend(round.alerts);
        at = end;
        if at == all.len() {
            break;
        }
    }
    alerts.extend(pipeline.close().expect("the windows close").alerts);
    // Stages of one round speak one after the other, so the order across stages depends on rounds.
    let mut alerts: Vec<String> = alerts.into_iter().map(|alert| alert.json).collect();
    alerts.sort();
    alerts
}

#[test]
fn alerts_do_not_depend_on_how_records_are_batched() {
    // A slow prober, an enumerator and a scanner are in it.
    let all = lines("vampi.ndjson.xz", 45_000);
    let whole = alerts_in_rounds(&all, &[all.len()]);
    assert!(whole.len() >= 3, "only {} alerts to compare", whole.len());
    let ones = vec![1; 2000];
    let uneven: Vec<usize> = (0..4000).map(|i| 1 + (i * 7919) % 13).collect();
    for rounds in [&ones[..], &uneven, &[]] {
        let alerts = alerts_in_rounds(&all, rounds);
        assert_eq!(alerts.len(), whole.len());
        for (got, expected) in alerts.iter().zip(&whole) {
            assert_eq!(got, expected);
        }
    }
}

#[test]
fn a_compressed_file_is_the_same_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log");
    let all = lines("ledger.log.xz", 40_000);
    write_lines(&log, &all);
    let plain = std::fs::read(&log).expect("the file just written");
    let halves = plain.split_at(plain.len() / 2);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).expect("memory takes it");
    let forms = [
        ("plain", plain.clone()),
        ("gzip", gzip(&plain)),
        ("two gzips", [gzip(halves.0), gzip(halves.1)].concat()),
        ("xz", xz.finish().expect("memory takes it")),
        (
            "zstd",
            zstd::encode_all(&plain[..], 1).expect("memory takes it"),
        ),
    ];
    let mut first: Option<(Value, Vec<u8>)> = None;
    for (form, bytes) in forms {
        // Compression is told by the bytes, so the name can stay and the alerts be equal.
        std::fs::write(&log, bytes).expect("the file can be written");
        let mut replay = tollwatch();
        replay.args([
            "replay", "log", "--lanes", "1", "--json", "--alerts", "alerts",
        ]);
        let mut summary = json(replay.current_dir(dir.path()));
        summary["seconds"].take();
        summary["events_per_second"].take();
        let alerts = std::fs::read(dir.path().join("alerts")).expect("alerts");
        assert!(!alerts.is_empty());
        let (expected, expected_alerts) =
            first.get_or_insert_with(|| (summary.clone(), alerts.clone()));
        assert_eq!(summary, *expected, "{form}");
        assert!(alerts == *expected_alerts, "{form}: alerts differ");
    }
}

#[test]
fn a_file_that_is_not_there_is_told_with_its_name() {
    let output = tollwatch()
        .args(["replay", "no-such.log"])
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("no-such.log") && told.contains("No such file"),
        "{told}"
    );
}

#[test]
fn an_empty_file_is_no_fault() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("log"), "").expect("writes");
    let summary = json(
        tollwatch()
            .args(["replay", "log", "--json"])
            .current_dir(dir.path()),
    );
    assert_eq!(summary["events"], 0);
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let commands = [
        "demo",
        "run",
        "replay",
        "eval",
        "explain",
        "check",
        "verify",
        "rules test",
        "dead-letters list",
        "dead-letters replay",
    ];
    for command in commands {
        let output = succeed(tollwatch().args(command.split(' ')).arg("--help"));
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let examples = help.split("Examples:").nth(1).unwrap_or_default();
        assert!(
            examples.contains(&format!("tollwatch {command}")),
            "{command}: {help}"
        );
    }
}
