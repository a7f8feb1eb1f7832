//! The event lake: every scored event in it once, whatever fails, and rules and queries over it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type};
use engine::lake::reading::{Chunks, columns, read};
use engine::lake::writer::Patience;
use engine::lake::{Lake, LaneWriter, Writer};
use engine::lane::Outbox;
use engine::log::{Log, LogRecord};
use engine::telemetry::LakeMetrics;
use object_store::path::Path as Key;
use serde_json::Value;

use crate::kafka::{Deployment, Running, one};
use crate::snapshots::{CALL, events, lane};
use crate::support::flaky::Flaky;
use crate::support::{bundled, files_below, json, lines, succeed, tollwatch};
use crate::workbench::{LOW, flood};

fn replay_to(lake: &Path, log: &Path, lanes: &str) -> Value {
    let mut replay = tollwatch();
    replay.args(["replay", "--json", "--lanes", lanes]).arg(log);
    json(replay.arg("--lake").arg(lake))
}

fn query(sql: &str, arguments: &[&str]) -> Command {
    let mut query = tollwatch();
    query.args(["query", sql]).args(arguments);
    query
}

fn text(command: &mut Command) -> String {
    String::from_utf8(succeed(command).stdout).expect("text")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[test]
fn a_lake_from_files_holds_the_events_the_rules_saw_each_once_and_always_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = bundled("vampi.ndjson.xz");
    let (lake, again) = (dir.path().join("lake"), dir.path().join("again"));
    let report = replay_to(&lake, &log, "1");
    assert_eq!(report["lake"]["rows"], report["events"]);
    let names: Vec<String> = engine::schema::events_table()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let all = format!(
        "SELECT {} FROM events ORDER BY source_offset, source_row",
        names.join(", ")
    );
    let of_lake = text(&mut query(&all, &["--csv", "--lake", path(&lake)]));
    let of_files = text(&mut query(
        &all,
        &["--csv", "--lanes", "1", "--from", path(&log)],
    ));
    let n_lines = of_lake.lines().count() as u64;
    assert_eq!(Some(n_lines - 1), report["events"].as_u64());
    let differ = of_lake.lines().zip(of_files.lines()).find(|(a, b)| a != b);
    assert!(
        differ.is_none() && of_lake.len() == of_files.len(),
        "{differ:?}"
    );

    replay_to(&again, &log, "1");
    let bytes = |lake: &Path| {
        let files = files_below(&lake.join("events")).into_iter();
        let file = |file: std::path::PathBuf| {
            let bytes = std::fs::read(&file).expect("a file");
            (file.strip_prefix(lake).expect("below").to_owned(), bytes)
        };
        files.map(file).collect::<BTreeMap<_, _>>()
    };
    let (first, second) = (bytes(&lake), bytes(&again));
    assert!(!first.is_empty());
    assert!(first == second, "the same log gives the same files");
    // In Hive's manner, so that readers find date and hour by themselves.
    let name = path(first.keys().next().expect("a file")).to_owned();
    assert!(name.starts_with("events/date=20"), "{name}");
    assert!(
        name.contains("/hour=") && name.contains("/replay-0-0000"),
        "{name}"
    );

    // Positions of another run would be taken for those of this one.
    let mut more = tollwatch();
    let refused = more
        .args(["replay", "--lanes", "1"])
        .arg(&log)
        .arg("--lake")
        .arg(&lake);
    let refused = refused.output().expect("starts");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has rows of lane replay-0 already"));
}

#[test]
fn rules_over_a_lake_find_what_they_find_over_its_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = bundled("ledger.log.xz");
    let rules = [
        "misconfig_probe",
        "posture_anonymous_success",
        "posture_plaintext_http",
    ];
    let low = flood(&dir.path().join("low"), &[LOW]);
    let back_test = |from: &Path, more: &[&str]| {
        let mut command = tollwatch();
        command.args([
            "rules",
            "backtest",
            "--json",
            "--samples",
            "1000",
            "--top",
            "1000",
        ]);
        command.args(rules).arg(&low).arg("--from").arg(from);
        let mut report = json(command.args(more));
        report["seconds"] = Value::Null;
        // Lanes of a round are heard one after the other, those of a lake by the hour.
        let samples = report["samples"].as_array_mut().expect("a list");
        samples.sort_by_key(|sample| sample.to_string());
        report
    };
    for lanes in ["1", "3"] {
        let lake = dir.path().join(lanes);
        replay_to(&lake, &log, lanes);
        let (files, scored) = (back_test(&log, &["--lanes", lanes]), back_test(&lake, &[]));
        let n_alerts = files["samples"].as_array().map_or(0, Vec::len);
        assert!(20 < n_alerts, "{n_alerts} alerts to compare");
        assert_eq!(files, scored, "{lanes} lanes");
    }
    let lake = dir.path().join("1");
    let mut diff = tollwatch();
    diff.args(["rules", "diff", "object_flood"])
        .arg(&low)
        .arg("--from")
        .arg(&lake);
    assert_eq!(
        diff.output().expect("starts").status.code(),
        Some(1),
        "the alerts differ"
    );
    let mut explain = tollwatch();
    explain.args(["rules", "explain", "object_flood", "--json", "--from"]);
    let measured = &json(explain.arg(&lake))["measured"];
    assert_eq!(
        measured["rows"],
        back_test(&log, &["--lanes", "1"])["events"]
    );

    let table: [(&[&str], &str); 3] = [
        (&["bola_enumeration", "--from", "LAKE"], "reads `touches`"),
        (
            &["object_flood", "--from", "LAKE", "LAKE"],
            "one lake and nothing else",
        ),
        (
            &["object_flood", "--lanes", "2", "--from", "LAKE"],
            "is for logs",
        ),
    ];
    for (arguments, wanted) in table {
        let arguments = arguments.iter().map(|argument| match *argument {
            "LAKE" => path(&lake),
            other => other,
        });
        let output = tollwatch()
            .args(["rules", "backtest"])
            .args(arguments)
            .output();
        let output = output.expect("starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_query_answers_a_select_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("access.log");
    let call = |hour: usize, user: &str| {
        let call = CALL.replace("05/Jan/2026:10", &format!("05/Jan/2026:{hour}"));
        call.replace("alice", user).into_bytes()
    };
    let calls = [(10, "alice"), (10, "bob"), (11, "alice"), (12, "eve,\"x\"")];
    let calls: Vec<Vec<u8>> = calls.iter().map(|(hour, user)| call(*hour, user)).collect();
    crate::support::write_lines(&log, &calls);
    let lake = dir.path().join("lake");
    replay_to(&lake, &log, "1");
    assert_eq!(files_below(&lake.join("events")).len(), 3, "a file an hour");
    let place = ["--lake", path(&lake)];
    let asked = |sql: &str, shape: &str| text(query(sql, &place).arg(shape));

    let by_hour = "SELECT date, hour, count(*) AS n, min(event_time) AS first FROM events GROUP BY date, hour ORDER BY hour";
    assert_eq!(
        asked(by_hour, "--csv"),
        "date,hour,n,first\n2026-01-05,10,2,2026-01-05T10:00:00Z\n2026-01-05,11,1,2026-01-05T11:00:00Z\n2026-01-05,12,1,2026-01-05T12:00:00Z\n"
    );
    assert_eq!(
        asked(
            "SELECT identity, status, write, referer FROM events WHERE hour = 11",
            "--json"
        ),
        "{\"identity\":\"alice\",\"status\":200,\"write\":false,\"referer\":null}\n"
    );
    let shown =
        text(query("SELECT hour FROM events ORDER BY event_time", &place).args(["--limit", "2"]));
    assert_eq!(shown.matches("10").count(), 2, "{shown}");
    assert!(!shown.contains("11"), "{shown}");
    // Only the files of the hour are looked at.
    let plan = asked(
        "EXPLAIN SELECT identity FROM events WHERE date = '2026-01-05' AND hour = 11",
        "--json",
    );
    assert!(
        plan.contains("hour=11") && !plan.contains("hour=10"),
        "{plan}"
    );

    let file = files_below(&lake.join("events"))[0].clone();
    let refused = [
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "DROP TABLE events".to_owned(),
        "INSERT INTO events SELECT * FROM events".to_owned(),
        format!(
            "COPY events TO '{}'",
            path(&dir.path().join("copy.parquet"))
        ),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        format!(
            "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'",
            path(&file)
        ),
        format!("SELECT * FROM '{}'", path(&file)),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "SELECT nothing FROM events".to_owned(),
    ];
    let before = files_below(dir.path());
    for sql in &refused {
        let output = query(sql, &place).output().expect("starts");
        assert_eq!(output.status.code(), Some(1), "{sql}");
        assert!(output.stdout.is_empty(), "{sql}");
    }
    assert_eq!(files_below(dir.path()), before, "nothing was written");
    for (arguments, code, wanted) in [
        (
            &["--lake", "no-such-folder"][..],
            1,
            "there is no folder `events`",
        ),
        (&[][..], 2, "--lake"),
        (&["--lake", "x", "--bytes-max", "1"][..], 2, "16777216"),
    ] {
        let output = query("SELECT 1", arguments).output().expect("starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(wanted), "{error}");
    }
    // More than may be held is told, with what to do.
    let large = bundled("vampi.ndjson.xz");
    let mut query = query("SELECT 1", &["--bytes-max", "16777216", "--from"]);
    let output = query.arg(large).output().expect("starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("make a lake of them"), "{error}");
}

/// Calls of some users, an hour of them and a few late ones.
fn calls(n: usize) -> Vec<String> {
    let call = |i: usize| {
        let minute = match i % 17 {
            0 => format!("09:{:02}", i % 60),
            _ => format!("10:{:02}", (i / 40).min(59)),
        };
        let call = CALL.replace("10:00:00", &format!("{minute}:00"));
        call.replace("alice", &format!("u{}", i % 7))
            .replace("/17", &format!("/{i}"))
    };
    (0..n).map(call).collect()
}

fn writer(store: &Arc<Flaky>, bytes_max: usize, patience: Patience) -> Writer {
    let lake = Lake::over(store.clone(), Key::default()).expect("threads");
    let metrics = Arc::new(LakeMetrics::default());
    Writer::start(lake, bytes_max, 1, patience, metrics).expect("a thread")
}

/// Where each row of a lane's lake stands, in the order of its log.
fn places(store: &Arc<Flaky>) -> Vec<(i64, i32, i64)> {
    let lake = Lake::over(store.clone(), Key::default()).expect("threads");
    let schema = columns(["source_offset"]);
    let chunks = Chunks::of(&lake).expect("it answers");
    let chunks: Vec<RecordBatch> = chunks
        .map(|chunk| read(&lake, &chunk, &schema).expect("whole"))
        .collect();
    let all = concat_batches(&schema, &chunks).expect("of one schema");
    let number = |name: &str| all.column_by_name(name).expect("a column").clone();
    let (offset, row) = (number("lane_offset"), number("lane_row"));
    let source = number("source_offset");
    let source = source.as_primitive::<Int64Type>().values().iter();
    let offset = offset.as_primitive::<Int64Type>().values().iter();
    let row = row.as_primitive::<Int32Type>().values().iter();
    offset
        .zip(row)
        .zip(source)
        .map(|((o, r), s)| (*o, *r, *s))
        .collect()
}

fn expected(records: &[LogRecord]) -> Vec<(i64, i32, i64)> {
    let mut all = Vec::new();
    for (offset, record) in (0..).zip(records) {
        let source = record
            .batch
            .column_by_name("source_offset")
            .expect("a column");
        let source = source.as_primitive::<Int64Type>().values().iter();
        all.extend(
            (0..)
                .zip(source)
                .map(|(row, source)| (offset, row, *source)),
        );
    }
    all
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn whoever_writes_ends_or_is_replaced_each_row_is_in_the_lake_once() {
    let records = events(&calls(2400), 20);
    let mut n_faults = 0;
    for seed in 1..=12_u64 {
        let store = Arc::new(Flaky::new(seed));
        let mut dice = seed;
        let mut roll = |below: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) as usize % below
        };
        // What a snapshot would hold: rows before it are in the lake.
        let mut saved = 0;
        let mut zombies: Vec<(Writer, LaneWriter)> = Vec::new();
        while saved < records.len() {
            // Half of them end in the middle of the first chunk that fails, the others try it until it is taken.
            let patience = [Patience::Once, Patience::Forever][roll(2)];
            let writer = writer(&store, 1 << 30, patience);
            // A store that fails at a claim ends the process, which comes again.
            let Ok(mut lake) = writer.lane("events-0", saved as i64) else {
                continue;
            };
            let mut lane = lane(Log::Events);
            let mut out = Outbox::default();
            for (offset, record) in (0..).zip(&records[..saved]) {
                lane.feed(offset, record, &mut out)
                    .expect("rows of the log");
            }
            lane.record(lake.recorder());
            let n = 1 + roll(60);
            for (offset, record) in (saved as i64..).zip(&records[saved..]).take(n) {
                lane.feed(offset, record, &mut out)
                    .expect("rows of the log");
                if roll(5) == 0 {
                    lake.close(offset + 1);
                }
            }
            let next = (saved + n).min(records.len());
            let is_last = next == records.len();
            match roll(3) {
                0 if !is_last => (),
                _ => {
                    lake.close(next as i64);
                    until("it is written", || lake.is_idle() || lake.is_fenced());
                }
            }
            // A snapshot at what is in the lake, or an older one.
            let position = lake.position().max(0) as usize;
            if roll(2) == 0 || is_last {
                saved = saved.max(position.min(next));
            }
            zombies.push((writer, lake));
        }
        // Owners that were replaced go on with what they had: it is refused, or is what is there.
        for (_, lake) in &mut zombies {
            lake.close(lake.next());
        }
        until("all have ended", || {
            zombies.iter().all(|(_, lake)| lake.is_idle())
        });
        store.rest();
        n_faults += store.faults().values().sum::<usize>();
        assert!(places(&store) == expected(&records), "seed {seed}");
    }
    assert!(50 < n_faults, "the store failed {n_faults} times");
}

#[test]
fn whoever_comes_back_when_its_number_is_free_again_is_refused() {
    let records = events(&calls(1200), 20);
    let store = Arc::new(Flaky::new(1));
    store.rest();
    let feed = |lake: &LaneWriter, lane: &mut engine::lane::Lane, offset: usize| {
        lane.record(lake.recorder());
        let mut out = Outbox::default();
        lane.feed(offset as i64, &records[offset], &mut out)
            .expect("rows of the log");
    };
    let (first, second) = (
        writer(&store, 1 << 30, Patience::Forever),
        writer(&store, 1 << 30, Patience::Forever),
    );
    let mut stopped = first.lane("events-0", 0).expect("it answers");
    feed(&stopped, &mut lane(Log::Events), 0);
    let mut owner = second.lane("events-0", 0).expect("it answers");
    let mut of_owner = lane(Log::Events);
    // More entries than are kept: the one that took the other's number is gone.
    for offset in 0..records.len() {
        feed(&owner, &mut of_owner, offset);
        owner.close(offset as i64 + 1);
    }
    until("all is written", || owner.is_idle());
    stopped.close(stopped.next());
    until("it has ended", || stopped.is_idle());
    assert!(stopped.is_fenced() && stopped.position() == 0);
    assert!(!owner.is_fenced());
    assert!(places(&store) == expected(&records));
}

#[test]
fn a_store_that_is_away_holds_up_no_lane_and_bounds_what_waits() {
    let records = events(&calls(4000), 20);
    let store = Arc::new(Flaky::new(1));
    store.rest();
    let writer = writer(&store, 2 << 20, Patience::Forever);
    let mut lake = writer.lane("events-0", 0).expect("it answers");
    store.hold(true);
    let (mut lane, mut out) = (lane(Log::Events), Outbox::default());
    lane.record(lake.recorder());
    let mut n_fed = 0;
    for (offset, record) in (0..).zip(&records) {
        if writer.is_full() {
            break;
        }
        lane.feed(offset, record, &mut out)
            .expect("rows of the log");
        lake.after(offset + 1);
        n_fed += 1;
    }
    assert!(
        writer.is_full() && n_fed < records.len(),
        "after {n_fed} records it asks to wait"
    );
    assert!(!writer.has_room() && lake.position() == 0);
    store.hold(false);
    until("it has room again", || writer.has_room());
    for (offset, record) in (n_fed as i64..).zip(&records[n_fed..]) {
        lane.feed(offset, record, &mut out)
            .expect("rows of the log");
    }
    lake.close(records.len() as i64);
    until("all is written", || lake.is_idle());
    assert_eq!(lake.position(), records.len() as i64);
    assert!(places(&store) == expected(&records));
}

#[test]
fn whoever_is_killed_each_event_is_in_the_lake_once() {
    let all = lines("vampi.ndjson.xz", 40_000);
    one().produce("laked", 2, &all[..2000]);
    let dir = tempfile::tempdir().expect("a folder");
    let (file, place) = (dir.path().join("tollwatch.toml"), dir.path().join("lake"));
    let url = format!("file://{}", place.display());
    let text =
        format!("[snapshots]\nevery_seconds = 1\n[lake]\nurl = '{url}'\nevery_seconds = 1\n");
    std::fs::write(&file, text).expect("writes");
    // With a name its partitions come back at once.
    let options = ["--partitions", "2", "--instance", "a", "-c", path(&file)];
    let service = Deployment::new(one(), "laked-service", &["laked"], &options);
    let mut n_seen = 0;
    for part in all[2000..].chunks(9500) {
        let mut run = Running(service.command("run").spawn().expect("starts"));
        one().produce("laked", 2, part);
        // Killed while there is more to write than was written.
        let began = Instant::now();
        while files_below(&place.join("events")).len() <= n_seen {
            assert!(
                began.elapsed() < crate::kafka::PATIENCE,
                "no file is written"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        run.kill().expect("a child");
        run.wait().expect("a child");
        n_seen = files_below(&place.join("events")).len();
    }
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    let sql = "SELECT count(*) AS n, count(DISTINCT concat_ws(' ', source_topic, source_partition, source_offset, source_row)) AS places,
               count(DISTINCT concat_ws(' ', lane, lane_offset, lane_row)) AS rows FROM events";
    let counted = json(&mut query(sql, &["--json", "--lake", &url]));
    for column in ["n", "places", "rows"] {
        assert_eq!(counted[column], all.len(), "{column}: {counted}");
    }
    assert!(2 < n_seen, "{n_seen} files were there before the last kill");
}
