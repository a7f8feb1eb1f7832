//! Processes and brokers that end, start and move under load, on a real Kafka of three brokers: nothing is lost,
//! nothing twice, nothing different. The oracle is `verify`: every source record once as event or dead letter, and
//! every stage's output, alerts in committed transactions included, what a fresh lane derives from its input.
//!
//! `TOLLWATCH_KILLS=50` for the long form of the kill test.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::message::{Headers, Message};
use serde_json::Value;

use crate::kafka::{Deployment, Kafka, PATIENCE, Running, alone, wait, write_to};
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
    let _alone = alone();
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

/// 1, 3, 2, 1 instances under load. A static member that leaves keeps its partitions for its return, so these have no names.
fn move_lanes(topic: &'static str, name: &'static str, options: &[&str]) {
    let _alone = alone();
    let all = lines("vampi.ndjson.xz", 60_000);
    three().produce(topic, 4, &all[..1000]);
    let options = [&REPLICATED[..], options].concat();
    let service = Deployment::new(three(), name, &[topic], &options);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load(topic, &all[1000..], &stop));
        let pause = || std::thread::sleep(Duration::from_secs(3));
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
    let pauses = ["events", "touches", "judgements"].map(|log| longest_pause(&service, log));
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    let (rows, alerts) = n_compared(&report);
    assert!(alerts > 2, "{report}");
    eprintln!(
        "{name}: {rows} rows and {alerts} alerts compared; longest pauses of events, touches, judgements: {pauses:?}"
    );
    let moved = log_of(&service, "c").matches("lane put back").count();
    assert!(moved >= 4, "{moved} lanes came to the last instance");
    // A group that is not told of a member's end waits 45 s for it.
    let longest = pauses.into_iter().max().unwrap_or_default();
    assert!(longest < Duration::from_secs(30), "{pauses:?}");
}

#[test]
fn lanes_that_move_lose_and_double_nothing() {
    move_lanes("moved", "moved-service", &[]);
}

#[test]
fn lanes_that_the_brokers_place_lose_and_double_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("tollwatch.toml");
    std::fs::write(&file, "group_protocol = 'consumer'\n").expect("a file");
    let options = ["-c", file.to_str().expect("text")];
    move_lanes("placed", "placed-service", &options);
}

#[test]
fn a_source_that_grows_is_read_on() {
    let _alone = alone();
    let all = lines("vampi.ndjson.xz", 4000);
    three().produce("growing", 1, &all[..1000]);
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("tollwatch.toml");
    std::fs::write(
        &file,
        "[kafka]\n\"topic.metadata.refresh.interval.ms\" = \"1000\"\n",
    )
    .expect("a file");
    let options = [&REPLICATED[..], &["-c", file.to_str().expect("text")]].concat();
    let service = Deployment::new(three(), "growing-service", &["growing"], &options);
    let run = service.run_until("events", 1);
    grow("growing", 3);
    three().produce("growing", 3, &all[1000..]);
    let began = Instant::now();
    loop {
        let events = three().read(&service.topic("events"));
        let partitions: std::collections::BTreeSet<_> =
            events.iter().filter_map(input_of).collect();
        if partitions.len() == 3 {
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "the new partitions are not read: {partitions:?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    terminate(run);
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
}

fn grow(topic: &str, partitions: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let grown = runtime
        .expect("a runtime")
        .block_on(three().cluster().grow(topic, partitions));
    grown.expect("the topic grows");
}

/// Which partition of its input a log's record comes from.
fn input_of(message: &rdkafka::message::OwnedMessage) -> Option<String> {
    let headers = message.headers()?;
    let header = headers
        .iter()
        .find(|header| header.key == "tollwatch.input.partition")?;
    Some(String::from_utf8_lossy(header.value?).into_owned())
}

#[test]
fn logs_that_get_more_partitions_take_their_state_along() {
    let _alone = alone();
    let all = lines("vampi.ndjson.xz", 50_000);
    let (first, second) = all.split_at(40_000);
    let touches = |topic: &str, name: &'static str, grow: bool| {
        three().produce(topic, 1, first);
        let with = |n: &'static str| {
            let mut options = REPLICATED.to_vec();
            options[5] = n;
            options
        };
        let mut service = Deployment::new(three(), name, &[topic], &with("2"));
        service.catch_up();
        let rows = |service: &Deployment<'_>| n_touches(service);
        let before = rows(&service);
        if grow {
            service.options = with("4").into_iter().map(str::to_owned).collect();
            let report = crate::support::json(service.command("state reshard").arg("--json"));
            assert_eq!(report["logs"][0]["made"], 2, "{report}");
            let lanes =
                crate::support::json(service.command("state inspect").args(["--json", "--read"]));
            assert_eq!(lanes["lanes"].as_array().map(Vec::len), Some(12), "{lanes}");
            assert_eq!(lanes["sound"], true);
        }
        three().produce(topic, 1, second);
        service.catch_up();
        if grow {
            let report = crate::support::json(service.command("verify").arg("--json"));
            assert_eq!(report["sound"], true, "{report}");
            assert_eq!(report["stages"]["decode"]["expected"], all.len());
            assert!(report["not_compared"]["profile"].is_string(), "{report}");
        }
        rows(&service) - before
    };
    let (plain, grown) = (
        touches("same", "same-service", false),
        touches("grown", "grown-service", true),
    );
    // Whoever forgot what callers know would send nearly every call on as a first touch.
    assert!(plain > 100 && grown > 100, "{plain} {grown}");
    assert!(
        grown * 10 < plain * 11 && plain * 10 < grown * 11,
        "{plain} without, {grown} with"
    );
}

/// First touches sent on to `own`, by the positions in the records' headers: those written again once.
fn n_touches(service: &Deployment<'_>) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    for message in service.kafka.read(&service.topic("touches")) {
        let Some(input) = input_of(&message) else {
            continue;
        };
        let Ok(record) = engine::service::read(engine::log::Log::Touches, &message) else {
            panic!("a record of the log")
        };
        for i in 0..record.batch.num_rows() {
            let at = engine::log::row_at(engine::log::Log::Touches, &record.batch, i);
            seen.insert((input.clone(), at));
        }
    }
    seen.len()
}

#[test]
fn each_broker_may_be_lost_in_turn() {
    let (_alone, kafka) = (alone(), three());
    let all = lines("vampi.ndjson.xz", 30_000);
    kafka.produce("turns", 4, &all);
    let service = Deployment::new(kafka, "turns-service", &["turns"], &REPLICATED);
    let run = service.run_until("events", 4);
    let metadata = kafka.topics();
    let events = service.topic("events");
    let events = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == events);
    let replicas = events
        .expect("made")
        .partitions()
        .iter()
        .map(|p| p.replicas().len());
    assert!(
        replicas.clone().all(|n| n == 3),
        "{:?}",
        replicas.collect::<Vec<_>>()
    );
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
