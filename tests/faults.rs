//! Processes and brokers that end, start and move under load, on a real Kafka of three brokers: nothing is lost,
//! nothing twice, nothing different. The oracle is `verify`: every source record once as event or dead letter, and
//! every stage's output, alerts in committed transactions included, what a fresh lane derives from its input.
//!
//! `TOLLWATCH_KILLS=50` for the long form of the kill test.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use serde_json::Value;

use crate::kafka::{Deployment, Kafka, PATIENCE, Running, wait, write_to};
use crate::support::{lines, root, succeed};

fn three() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start(3))
}

const REPLICATED: [&str; 8] = [
    "--replication",
    "3",
    "--min-insync-replicas",
    "2",
    "--partitions",
    "4",
    "--snapshots-every-seconds",
    "1",
];

/// Writes a capture to a topic, some thousand records a second, and all that is left when told to stop.
fn load(topic: &str, all: &[Vec<u8>], stop: &AtomicBool) {
    let writer = three().cluster().writer().expect("a writer");
    for (n, part) in all.chunks(250).enumerate() {
        write_to(&writer, topic, n * 250, part);
        if !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(80));
        }
    }
    writer.flush().expect("acknowledged");
}

/// An instance with a name, telling on standard error what it does.
fn instance(service: &Deployment<'_>, name: &str) -> Running {
    let log = service.state.path().join(format!("{name}.log"));
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log");
    let mut run = service.command("run");
    run.args(["--instance", name, "--log", "info"])
        .stderr(Stdio::from(log));
    Running(run.spawn().expect("starts"))
}

fn log_of(service: &Deployment<'_>, name: &str) -> String {
    std::fs::read_to_string(service.state.path().join(format!("{name}.log"))).unwrap_or_default()
}

fn terminate(mut run: Running) {
    succeed(Command::new("kill").arg(run.id().to_string()));
    let status = wait(&mut run);
    assert!(status.success(), "it ended with {status}");
}

/// Rows of a stage's output that were compared, and alerts.
fn n_compared(report: &Value) -> (u64, u64) {
    let n = |stage: &str| report["stages"][stage]["expected"].as_u64().unwrap_or(0);
    (n("decode") + n("profile") + n("own"), n("alerts"))
}

/// Longest time between two records of one partition of a log, as their broker saw them.
fn longest_pause(service: &Deployment<'_>, log: &str) -> Duration {
    let messages = service.kafka.read(&service.topic(log));
    let mut last = std::collections::BTreeMap::new();
    let mut longest = 0;
    for message in messages {
        let at = message.timestamp().to_millis().unwrap_or(0);
        if let Some(before) = last.insert(message.partition(), at) {
            longest = longest.max(at - before);
        }
    }
    Duration::from_millis(longest.max(0) as u64)
}

#[test]
fn whoever_is_killed_whenever_nothing_is_lost_or_doubled() {
    let n_kills = std::env::var("TOLLWATCH_KILLS").map_or(6, |n| n.parse().expect("a number"));
    let all = lines("vampi.ndjson.xz", 60_000);
    three().produce("killed", 4, &all[..1000]);
    let service = Deployment::new(three(), "killed-service", &["killed"], &REPLICATED);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load("killed", &all[1000..], &stop));
        let mut running = ["a", "b"].map(|name| instance(&service, name));
        // A walk that is the same each time; the moments are the machine's.
        let mut dice = 0x9e37_79b9_u32;
        for _ in 0..n_kills {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            std::thread::sleep(Duration::from_millis(u64::from(200 + (dice >> 8) % 2500)));
            let which = (dice >> 20) as usize % 2;
            let ended = running[which].try_wait().expect("a child");
            let name = ["a", "b"][which];
            assert!(
                ended.is_none(),
                "{name} ended by itself: {}",
                log_of(&service, name)
            );
            running[which].kill().expect("a child");
            running[which].wait().expect("a child");
            running[which] = instance(&service, name);
        }
        stop.store(true, Ordering::Relaxed);
        load.join().expect("it writes");
        running.into_iter().for_each(terminate);
    });
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    let (rows, alerts) = n_compared(&report);
    let logs = format!("{}{}", log_of(&service, "a"), log_of(&service, "b"));
    let put_back = logs
        .lines()
        .filter(|line| line.contains("lane put back") && line.contains("snapshot=Some"))
        .count();
    eprintln!(
        "kills: {n_kills}, {rows} rows and {alerts} alerts compared, {put_back} lanes put back from snapshots"
    );
    assert!(alerts > 2, "{report}");
    assert!(
        put_back > n_kills,
        "only {put_back} lanes were put back from a snapshot: {logs}"
    );
}

#[test]
fn lanes_that_move_lose_and_double_nothing() {
    let all = lines("vampi.ndjson.xz", 60_000);
    three().produce("moved", 4, &all[..1000]);
    let service = Deployment::new(three(), "moved-service", &["moved"], &REPLICATED);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load("moved", &all[1000..], &stop));
        let pause = || std::thread::sleep(Duration::from_secs(3));
        // 1, 3, 2, 1. A static member that leaves keeps its partitions for its return, so these have no names.
        let start = |log: &str| {
            let log = service.state.path().join(log);
            let log = std::fs::File::create(log).expect("a log");
            let mut run = service.command("run");
            run.args(["--log", "info"]).stderr(Stdio::from(log));
            Running(run.spawn().expect("starts"))
        };
        let first = start("a.log");
        pause();
        let (second, third) = (start("b.log"), start("c.log"));
        // One that has just come may go again, in the middle of the others' moves.
        pause();
        terminate(second);
        pause();
        terminate(first);
        pause();
        stop.store(true, Ordering::Relaxed);
        load.join().expect("it writes");
        terminate(third);
    });
    let pause = ["events", "touches", "judgements"].map(|log| longest_pause(&service, log));
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    let (rows, alerts) = n_compared(&report);
    assert!(alerts > 2, "{report}");
    eprintln!(
        "moves: {rows} rows and {alerts} alerts compared; longest pauses of events, touches, judgements: {pause:?}"
    );
    let moved = ["b", "c"].map(|name| log_of(&service, name).matches("lane put back").count());
    assert!(
        moved.iter().all(|n| *n > 0),
        "lanes moved to each: {moved:?}"
    );
}

#[test]
fn each_broker_may_be_lost_in_turn() {
    // Of its own: the other tests' brokers stay.
    let kafka = Kafka::start(3);
    let all = lines("vampi.ndjson.xz", 30_000);
    kafka.produce("turns", 4, &all);
    let service = Deployment::new(&kafka, "turns-service", &["turns"], &REPLICATED);
    let run = service.run_until("events", 4);
    for broker in 1..=3 {
        let pid = kafka.dir.path().join(format!("broker-{broker}.pid"));
        let pid = std::fs::read_to_string(pid).expect("the broker runs");
        let pid = pid.split_whitespace().next().expect("a number").to_owned();
        succeed(Command::new("kill").args(["-9", &pid]));
        std::thread::sleep(Duration::from_secs(2));
        let up = root().join("tests/kafka/up");
        succeed(
            Command::new(up)
                .args(["--brokers", "3", "--dir"])
                .arg(kafka.dir.path()),
        );
    }
    let began = Instant::now();
    let events = service.topic("events");
    while kafka.n_records(&events) < 8 {
        assert!(began.elapsed() < PATIENCE, "it goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    terminate(run);
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
}
