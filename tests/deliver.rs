//! Alerts delivered from their topic on a real Apache Kafka, to receivers that fail, close and refuse, by a process that is killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use serde_json::{Value, json};

use crate::kafka::{PATIENCE, Running, free_address, get, one, wait};
use crate::support::{tollwatch, tollwatch_telling};

/// An alert as the service writes it, with an id of its own.
pub(crate) fn alert(i: usize) -> Value {
    let rule = if i.is_multiple_of(4) {
        "misconfig_probe"
    } else {
        "bola_enumeration"
    };
    json!({
        "activity_id": 1, "class_uid": 2004, "time": 1_767_601_459_146_i64 + i as i64,
        "severity_id": 3 + i % 3,
        "metadata": { "version": "1.8.0", "uid": format!("case{i}-1"), "product": { "name": "tollwatch", "version": "0.1.0" } },
        "finding_info": { "uid": format!("case{i}"), "title": format!("alert {i}"), "analytic": { "uid": rule, "type_id": 2 } },
        "actor": { "user": { "uid": format!("user{}", i % 7) } },
    })
}

/// Writes so many alerts to a topic; their ids.
pub(crate) fn produce(topic: &str, n: usize) -> BTreeSet<String> {
    let lines: Vec<Vec<u8>> = (0..n).map(|i| alert(i).to_string().into_bytes()).collect();
    one().produce(topic, 4, &lines);
    (0..n).map(|i| format!("case{i}-1")).collect()
}

/// `deliver` of this topic, with a name so that it comes back at once after a kill.
pub(crate) fn deliver(topic: &str, to: &str, options: &[&str]) -> Command {
    let mut command = tollwatch_telling("error");
    command
        .args([
            "deliver",
            "--brokers",
            &one().bootstrap,
            "--group",
            topic,
            "--name",
            "sink",
        ])
        .args(["--instance", "first", "--alerts-topic", topic, "--to", to])
        .args(options);
    command
}

/// Delivers to the end; what it counted.
fn once(topic: &str, to: &str, options: &[&str]) -> Value {
    let mut command = deliver(topic, to, options);
    let output = command.args(["--once", "--json"]).output().expect("starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn id_of(line: &[u8]) -> String {
    let alert: Value = serde_json::from_slice(line).expect("JSON");
    alert["id"].as_str().expect("an id").to_owned()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill_when(mut running: Running, what: &str, is_so: impl FnMut() -> bool) {
    until(what, is_so);
    running.kill().expect("it runs");
    running.wait().expect("it ends");
}

#[test]
fn to_a_topic_nothing_is_lost_or_doubled_whenever_it_is_killed() {
    let ids = produce("exact", 4_000);
    let target = "topic:exact-ecs";
    for n in [1, 900, 2_500] {
        let running = Running(
            deliver("exact", target, &["--as", "json"])
                .spawn()
                .expect("starts"),
        );
        kill_when(running, "a transaction", || {
            n <= one().n_records("exact-ecs")
        });
    }
    once("exact", target, &["--as", "json"]);
    let found = one().read("exact-ecs");
    let found: Vec<String> = found
        .iter()
        .map(|m| id_of(m.payload().unwrap_or_default()))
        .collect();
    assert_eq!(found.len(), ids.len(), "none twice");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ids);
    let counts = once("exact", target, &["--as", "json"]);
    assert_eq!(counts["delivered"], 0, "its place is kept");
}

/// What a receiver has taken, in order.
type Taken = Arc<Mutex<Vec<String>>>;

fn taken(taken: &Taken) -> Vec<String> {
    taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// An HTTP server: `answer` says the status for the nth request and its body; what gets 200 is taken.
fn receiver(answer: impl Fn(usize, &str) -> u16 + Send + 'static) -> (String, Taken) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let all = Taken::default();
    let kept = all.clone();
    std::thread::spawn(move || {
        let mut n = 0;
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            while let Some(body) = body(&mut reader) {
                let status = answer(n, &body);
                n += 1;
                if status == 200 {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(body);
                }
                let answer =
                    format!("HTTP/1.1 {status} So\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
                if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    (format!("http://{address}/hook"), all)
}

fn body(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

#[test]
fn a_server_that_fails_asks_for_time_and_refuses_gets_every_alert_it_takes() {
    let ids = produce("flaky", 30);
    let (url, all) = receiver(|n, body| match n {
        0 => 500,
        1 => 429,
        2 => 503,
        _ if body.contains("\"case7-1\"") => 400,
        _ => 200,
    });
    let began = Instant::now();
    let counts = once(
        "flaky",
        &url,
        &["--as", "json", "--dead-letters", "topic:flaky-dead"],
    );
    assert!(
        began.elapsed() >= Duration::from_secs(3),
        "it was asked to wait, three times"
    );
    assert_eq!(
        [&counts["delivered"], &counts["dead"], &counts["retried"]],
        [29, 1, 3]
    );
    let found: Vec<String> = taken(&all)
        .iter()
        .map(|body| id_of(body.as_bytes()))
        .collect();
    let expected: BTreeSet<String> = ids.into_iter().filter(|id| id != "case7-1").collect();
    assert_eq!((found.len(), found.into_iter().collect()), (29, expected));
    let letters = one().read("flaky-dead");
    let letter = letters[0].payload().expect("a value");
    let letter: Value = serde_json::from_slice(letter).expect("JSON");
    assert!(
        letters.len() == 1 && letter["reason"].to_string().contains("400"),
        "{letter}"
    );
    let alert: Value =
        serde_json::from_str(letter["alert"].as_str().expect("a text")).expect("JSON");
    assert_eq!(
        (&alert["metadata"]["uid"], &letter["topic"]),
        (&json!("case7-1"), &json!("flaky"))
    );
}

#[test]
fn a_refused_alert_ends_it_and_nothing_before_it_comes_again() {
    let ids = produce("refused", 30);
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = is_mended.clone();
    let (url, all) = receiver(move |_, body| {
        let is_bad = body.contains("\"case7-1\"") && !mended.load(Ordering::Relaxed);
        if is_bad { 400 } else { 200 }
    });
    let output = deliver("refused", &url, &["--as", "json", "--once"]).output();
    let output = output.expect("starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("refuses an alert") && said.contains("--dead-letters"),
        "{said}"
    );
    assert!(
        !said.contains("/hook"),
        "the address may be a secret: {said}"
    );
    is_mended.store(true, Ordering::Relaxed);
    once("refused", &url, &["--as", "json"]);
    let found: Vec<String> = taken(&all)
        .iter()
        .map(|body| id_of(body.as_bytes()))
        .collect();
    assert_eq!((found.len(), found.into_iter().collect()), (30, ids));
}

#[test]
fn killed_in_the_middle_nothing_is_lost() {
    let ids = produce("killed-sink", 120);
    let (url, all) = receiver(|_, _| {
        std::thread::sleep(Duration::from_millis(5));
        200
    });
    for n in [1, 40] {
        let running = Running(
            deliver("killed-sink", &url, &["--as", "json"])
                .spawn()
                .expect("starts"),
        );
        kill_when(running, "an alert", || n <= taken(&all).len());
    }
    once("killed-sink", &url, &["--as", "json"]);
    let found = taken(&all);
    assert!(
        ids.len() < found.len(),
        "it was in the middle: {}",
        found.len()
    );
    let found: BTreeSet<String> = found.iter().map(|body| id_of(body.as_bytes())).collect();
    assert_eq!(found, ids);
}

#[test]
fn a_syslog_server_that_closes_gets_everything() {
    let ids = produce("closing", 60);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let all = Taken::default();
    let kept = all.clone();
    std::thread::spawn(move || {
        // The first connections end after a few messages, with more on their way.
        for (n, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut reader = BufReader::with_capacity(256, stream);
            for m in 0.. {
                if n < 3 && n * 10 < m {
                    break;
                }
                let Some(message) = framed(&mut reader) else {
                    break;
                };
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(message);
            }
        }
    });
    let counts = once("closing", &format!("tcp://{address}"), &["--as", "cef"]);
    assert_eq!(counts["delivered"], 60);
    assert!(counts["retried"].as_u64() > Some(0), "{counts}");
    let id = |message: &String| {
        let after = message.split("externalId=").nth(1).expect("an id");
        after.split(' ').next().expect("an id").to_owned()
    };
    let found: BTreeSet<String> = taken(&all).iter().map(id).collect();
    assert_eq!(found, ids);
}

fn framed(reader: &mut impl BufRead) -> Option<String> {
    let mut length = Vec::new();
    reader.read_until(b' ', &mut length).ok()?;
    let mut message = vec![0; std::str::from_utf8(&length).ok()?.trim().parse().ok()?];
    reader.read_exact(&mut message).ok()?;
    String::from_utf8(message).ok()
}

fn lines_of(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_service_of_its_own_chooses_follows_a_moved_file_and_tells_how_it_is() {
    produce("chosen", 40);
    let dir = tempfile::tempdir().expect("a folder");
    let (file, moved) = (dir.path().join("alerts"), dir.path().join("alerts.1"));
    let listen = free_address();
    let to = format!("file:{}", file.display());
    let chosen = [
        "--as",
        "json",
        "--rule",
        "bola_enumeration",
        "--min-severity",
        "high",
    ];
    let mut command = deliver("chosen", &to, &chosen);
    let mut running = Running(command.args(["--listen", &listen]).spawn().expect("starts"));
    let wanted = |i: &usize| !i.is_multiple_of(4) && 1 <= i % 3;
    let expected = (0..40).filter(wanted).count();
    until("what was chosen", || lines_of(&file).len() == expected);
    let metric = format!("tollwatch_deliveries_total{{outcome=\"delivered\"}} {expected}\n");
    until("its count", || {
        get(&listen, "/metrics").is_some_and(|text| text.contains(&metric))
    });
    until("ready", || {
        get(&listen, "/readyz").is_some_and(|text| text.contains("200 OK"))
    });
    std::fs::rename(&file, &moved).expect("moved");
    let pid = running.id().to_string();
    // As rotators do, which must not end it.
    assert!(
        Command::new("kill")
            .args(["-HUP", &pid])
            .status()
            .expect("kill")
            .success()
    );
    produce("chosen", 8);
    until("the new file", || {
        lines_of(&file).len() == (0..8).filter(wanted).count()
    });
    assert_eq!(lines_of(&moved).len(), expected);
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill")
            .success()
    );
    assert!(wait(&mut running).success(), "it ends cleanly");
}

#[test]
fn what_is_no_alert_stops_it_or_is_a_dead_letter() {
    let before = alert(0).to_string().into_bytes();
    one().produce("stray", 1, &[before, b"{\"hello\":1}".to_vec()]);
    let dir = tempfile::tempdir().expect("a folder");
    let (file, dead) = (dir.path().join("out"), dir.path().join("dead"));
    let to = format!("file:{}", file.display());
    let mut command = deliver("stray", &to, &["--once"]);
    let output = command.output().expect("starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("stray/0, offset 1 is no alert"), "{said}");
    assert_eq!(lines_of(&file).len(), 1, "what came before it is delivered");
    assert!(said.contains("--dead-letters"), "{said}");
    let letters = format!("file:{}", dead.display());
    let counts = once("stray", &to, &["--dead-letters", &letters]);
    assert_eq!([&counts["delivered"], &counts["dead"]], [0, 1]);
    let letter: Value = serde_json::from_str(&lines_of(&dead)[0]).expect("JSON");
    assert_eq!(
        (&letter["offset"], &letter["alert"]),
        (&json!(1), &json!("{\"hello\":1}"))
    );
}

#[test]
fn what_is_wrong_is_told_before_anything_is_read_and_without_secrets() {
    let dir = tempfile::tempdir().expect("a folder");
    let secret = dir.path().join("url");
    std::fs::write(&secret, "https://user:hunter2@hooks.example/T0/hunter2\n").expect("written");
    let from_file = format!("@{}", secret.display());
    for (options, said) in [
        (vec!["--to", "ftp://hunter2"], "a target is stdout"),
        (
            vec!["--to", &from_file],
            "a target has no user and password",
        ),
        (
            vec!["--to", "topic:tollwatch.alerts"],
            "is read, so nothing is written to it",
        ),
        (vec!["--to", "stdout", "--json"], "--json prints counts"),
        (
            vec!["--to", "stdout", "--dead-letters", "tcp://hunter2:1"],
            "--dead-letters takes",
        ),
        (vec!["--to", "stdout", "--name", "a b"], "--name takes"),
        (vec!["--to", "@/nowhere/url"], "cannot read"),
    ] {
        let mut command = tollwatch();
        command.args(["deliver", "--brokers", "127.0.0.1:1"]);
        if !options.contains(&"--name") {
            command.args(["--name", "x"]);
        }
        command.env("TOLLWATCH_DELIVER_TOKEN", "hunter2");
        let output = command
            .args(&options)
            .stdout(Stdio::null())
            .output()
            .expect("starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{options:?}: {told}");
        assert!(told.contains(said), "{options:?}: {told}");
        assert!(!told.contains("hunter2"), "{options:?}: {told}");
    }
}
