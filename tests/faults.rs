//! Processes and brokers that end, start and move under load, on a real Kafka of three brokers: nothing is lost,
//! nothing twice, nothing different. The oracle is `verify`: every source record once as event or dead letter, and
//! every stage's output, alerts in committed transactions included, what a fresh lane derives from its input.
//!
//! `TOLLWATCH_KILLS=50` for the long form of the kill test.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::log::Item;
use rdkafka::admin::{AlterConfig, ResourceSpecifier};
use rdkafka::message::{Headers, Message};
use serde_json::Value;

use crate::kafka::{Deployment, Kafka, PATIENCE, Running, alone, free_address, wait, write_to};
use crate::losses::{Watched, ask, sum};
use crate::secure::ran;
use crate::support::{files_below, lines, root, succeed};
use crate::topology::committed;

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

/// Waits for a file of a snapshot that is none of these; all there are then.
fn newer_parts(service: &Deployment<'_>, seen: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let began = Instant::now();
    loop {
        let mut parts = files_below(&service.state.path().join("snapshots"));
        parts.retain(|path| path.to_string_lossy().contains("/part-"));
        let parts: BTreeSet<PathBuf> = parts.into_iter().collect();
        if !parts.is_subset(seen) {
            return parts;
        }
        assert!(began.elapsed() < PATIENCE, "no snapshot is written");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lanes that the instances `a` and `b` have put back, by what their logs say of it.
fn put_back(service: &Deployment<'_>, from: &str) -> usize {
    let logs = format!("{}{}", log_of(service, "a"), log_of(service, "b"));
    let lines = logs.lines();
    let those = lines.filter(|line| line.contains("lane put back") && line.contains(from));
    those.count()
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

/// Two instances under load, of which one or the other is killed, again and again; what `verify` says then.
fn kill_often(
    topic: &'static str,
    name: &'static str,
    n_kills: usize,
    options: &[&str],
) -> (Value, usize) {
    let all = lines("vampi.ndjson.xz", 60_000);
    three().produce(topic, 4, &all[..1000]);
    let service = Deployment::new(three(), name, &[topic], &[&REPLICATED, options].concat());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load(topic, &all[1000..], &stop));
        let mut running = ["a", "b"].map(|name| instance(&service, name));
        // A walk that is the same each time; the moments are the machine's.
        let mut dice = 0x9e37_79b9_u32;
        let mut seen = BTreeSet::new();
        // However slow the machine is, enough of them come when there is something to put back: more are killed until then.
        let is_enough = || n_kills <= 2 * put_back(&service, "snapshot=Some");
        let mut nth = 0;
        while nth < n_kills || (!is_enough() && nth < 4 * n_kills) {
            if nth % 2 == 1 {
                seen = newer_parts(&service, &seen);
            }
            nth += 1;
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
    let put_back = put_back(&service, "snapshot=Some");
    eprintln!(
        "{name}: {n_kills} kills, {rows} rows and {alerts} alerts compared, {put_back} lanes put back from snapshots"
    );
    assert!(alerts > 2, "{report}");
    // One that is told again is the one it was.
    let mut told = std::collections::BTreeMap::new();
    for message in three().read(&service.topic("alerts")) {
        let bytes = |of: Option<&[u8]>| of.expect("a key and a value").to_vec();
        let (key, value) = (bytes(message.key()), bytes(message.payload()));
        let alert: Value = serde_json::from_slice(&value).expect("JSON");
        let uid = alert["metadata"]["uid"].as_str().expect("an id").to_owned();
        let first = told
            .entry(uid)
            .or_insert_with(|| (key.clone(), value.clone()));
        assert_eq!(*first, (key, value));
    }
    assert_eq!(told.len() as u64, alerts, "each has its own id");
    (report, put_back)
}

#[test]
fn whoever_is_killed_whenever_nothing_is_lost_or_doubled() {
    let _alone = alone();
    let n_kills = std::env::var("TOLLWATCH_KILLS").map_or(6, |n| n.parse().expect("a number"));
    let (_, put_back) = kill_often("killed", "killed-service", n_kills, &[]);
    assert!(
        n_kills <= 2 * put_back,
        "only {put_back} lanes were put back from a snapshot"
    );
}

#[test]
fn without_transactions_a_kill_may_repeat_alerts_and_changes_none() {
    let _alone = alone();
    let options = ["--delivery", "at_least_once"];
    let (report, _) = kill_often("repeated", "repeated-service", 3, &options);
    eprintln!(
        "alerts told again: {}",
        report["stages"]["alerts"]["rewritten"]
    );
}

fn signal(run: &Running, name: &str) {
    succeed(Command::new("kill").args([name, &run.id().to_string()]));
}

#[test]
fn whoever_was_stopped_and_declared_dead_does_no_harm_when_it_goes_on() {
    let _alone = alone();
    let all = lines("vampi.ndjson.xz", 60_000);
    three().produce("stopped", 4, &all[..1000]);
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("tollwatch.toml");
    let text = "[kafka]\nsession.timeout.ms = 6000\nheartbeat.interval.ms = 1000\n";
    std::fs::write(&file, text).expect("writes");
    let options = [&REPLICATED[..], &["-c", file.to_str().expect("text")]].concat();
    let service = Deployment::new(three(), "stopped-service", &["stopped"], &options);
    let copies = |name: &str| service.state.path().join(format!("{name}-copies"));
    let start = |name: &str| {
        let log = File::create(service.state.path().join(format!("{name}.log")));
        let mut run = service.command("run");
        run.args(["--log", "info,engine::state=debug", "--snapshots-standby"])
            .arg(copies(name))
            .stderr(Stdio::from(log.expect("a log")));
        Running(run.spawn().expect("starts"))
    };
    let put_back = |name: &str| log_of(&service, name).matches("lane put back").count();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let first = start("a");
        until("the first has all", &|| put_back("a") >= 12);
        let second = start("b");
        until("the second has half", &|| put_back("b") >= 6);
        let (early, late) = all[1000..].split_at(29_000);
        let early = scope.spawn(|| load("stopped", early, &stop));
        std::thread::sleep(Duration::from_secs(2));
        signal(&first, "-STOP");
        until("the second has all", &|| put_back("b") >= 12);
        early.join().expect("it writes");
        let alerts = service.topic("alerts");
        let n_before = three().n_records(&alerts);
        // Alerts of a lane that the first still believes to have: however slow the machine is, what they tell of
        // comes only now.
        let load = scope.spawn(|| load("stopped", late, &stop));
        until("alerts go out", &|| three().n_records(&alerts) > n_before);
        signal(&first, "-CONT");
        std::thread::sleep(Duration::from_secs(4));
        stop.store(true, Ordering::Relaxed);
        load.join().expect("it writes");
        terminate(first);
        terminate(second);
    });
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    let (rows, alerts) = n_compared(&report);
    let fenced = log_of(&service, "a").matches("has another owner").count();
    let log = log_of(&service, "b");
    let n_copies = log.matches("file is read from its copy").count();
    eprintln!(
        "stopped: {rows} rows and {alerts} alerts compared, {fenced} snapshots fenced, {n_copies} files read from copies"
    );
    let lanes = std::fs::read_dir(copies("b").join("stopped-service.profile"));
    assert_eq!(lanes.expect("it copies").count(), 4, "lanes of both");
    assert!(alerts > 2, "{report}");
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
        // However slow the machine is, the last one has had lanes of the others before it ends.
        let began = Instant::now();
        while log_of(&service, "c").matches("lane put back").count() < 4 {
            assert!(
                began.elapsed() < PATIENCE,
                "no lane comes to the last instance"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
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
    // A group that is not told of a member's end waits 45 s for it.
    let longest = pauses.into_iter().max().unwrap_or_default();
    assert!(longest < Duration::from_secs(40), "{pauses:?}");
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
        let partitions: BTreeSet<_> = events.iter().filter_map(input_of).collect();
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
            assert_eq!(lanes["lanes"].as_array().map(Vec::len), Some(16), "{lanes}");
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
    let mut seen = BTreeSet::new();
    for message in service.kafka.read(&service.topic("touches")) {
        let Some(input) = input_of(&message) else {
            continue;
        };
        let item = engine::service::read(engine::log::Log::Touches, &message);
        let Item::Record(record) = item.expect("a record of the log") else {
            continue;
        };
        for i in 0..record.batch.num_rows() {
            let at = engine::log::row_at(engine::log::Log::Touches, &record.batch, i);
            seen.insert((input.clone(), at));
        }
    }
    seen.len()
}

fn kill_broker(id: usize) {
    let pid = three().dir.path().join(format!("broker-{id}.pid"));
    let pid = std::fs::read_to_string(pid).expect("the broker runs");
    let pid = pid.split_whitespace().next().expect("a number").to_owned();
    succeed(Command::new("kill").args(["-9", &pid]));
}

/// Starts the brokers that were killed.
fn start_brokers() {
    let mut up = Command::new(root().join("tests/kafka/up"));
    up.args(["--brokers", "3", "--dir"]).arg(three().dir.path());
    succeed(&mut up);
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
        kill_broker(broker);
        std::thread::sleep(Duration::from_secs(2));
        start_brokers();
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

/// Sets an option of a topic.
fn set(topic: &str, name: &str, value: &str) {
    let done = ask(three(), |admin, options| async move {
        let altered = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        admin.alter_configs([&altered], &options).await
    });
    assert!(done.iter().all(Result::is_ok), "{done:?}");
}

/// Waits until each partition of a topic has so many replicas in sync.
fn in_sync(topic: &str, n: usize) {
    let began = Instant::now();
    loop {
        let topics = three().topics();
        let of = topics.topics().iter().find(|of| of.name() == topic);
        let partitions = of.expect("it is there").partitions();
        if partitions.iter().all(|p| p.isr().len() == n) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{topic} has not {n} in sync");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn offsets_wait_until_their_rows_are_acknowledged() {
    let (_alone, kafka) = (alone(), three());
    let all = lines("vampi.ndjson.xz", 2_000);
    let (first, second) = all.split_at(1_000);
    kafka.produce("waiting", 1, first);
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("tollwatch.toml");
    std::fs::write(&config, "").expect("writes");
    let config = config.to_str().expect("text");
    let address = free_address();
    let own = ["--listen", address.as_str(), "--config", config];
    let options = [&REPLICATED[..], &own].concat();
    let service = Deployment::new(kafka, "waiting-service", &["waiting"], &options);
    service.catch_up();
    let n_committed = || committed(kafka, "waiting-service.decode", "waiting", 1);
    assert_eq!(n_committed(), 1_000);

    // A broker less, and as many are to acknowledge as there were: what is written now waits, offsets don't.
    let events = service.topic("events");
    set(&events, "min.insync.replicas", "3");
    kill_broker(3);
    in_sync(&events, 2);
    kafka.produce("waiting", 1, second);
    let mut watched = Watched::start(service.command("run"), &address);
    watched.until("it reads", |metrics| {
        sum(metrics, "tollwatch_records_total", "decode") > 0.0
    });
    // Six times as long as it takes to commit.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(n_committed(), 1_000, "nothing of it is written");
    watched.run.kill().expect("a running process");
    watched.run.wait().expect("a child");

    // It does not wait for ever.
    std::fs::write(config, "[kafka]\nmessage.timeout.ms = 3000\n").expect("writes");
    let (code, told) = ran(&mut service.command("run"));
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains(&format!("cannot write to {events}")),
        "{told}"
    );
    assert_eq!(n_committed(), 1_000, "nothing of it is written");

    start_brokers();
    set(&events, "min.insync.replicas", "2");
    std::fs::write(config, "").expect("writes");
    service.catch_up();
    assert_eq!(n_committed(), 2_000);
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
}
