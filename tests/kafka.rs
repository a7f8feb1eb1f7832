//! The whole way over a real Apache Kafka, as a user runs it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use connectors::kafka::{Cluster, Outgoing, Properties, Topic, Writer};
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use crate::poison;
use crate::support::{
    json as json_of, lines, read_alerts, root, succeed, tollwatch, tollwatch_telling, write_lines,
};

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A Kafka that ends with this process, however that ends.
pub(crate) struct Kafka {
    pub(crate) bootstrap: String,
    /// Brokers as a service is told them: the listener that asks for a login, where there is one.
    brokers: String,
    n_brokers: usize,
    pub(crate) dir: tempfile::TempDir,
    /// Its standard input: when it closes, the brokers are stopped.
    guard: Mutex<Child>,
}

/// Starts the brokers, then waits for the end of its input and stops them.
const GUARD: &str = r#"
trap '' INT TERM
"$0/up" --brokers "$1" --dir "$2" "${@:3}" || exit 1
echo ready
cat > /dev/null
"$0/down" --dir "$2"
rm -rf "$2"
"#;

impl Kafka {
    pub(crate) fn start(n_brokers: usize) -> Kafka {
        Self::start_with(n_brokers, &[])
    }

    pub(crate) fn start_with(n_brokers: usize, options: &[&str]) -> Kafka {
        let dir = tempfile::tempdir().expect("a folder");
        let mut guard = Command::new("bash")
            .args(["-c", GUARD])
            .arg(root().join("tests/kafka"))
            .arg(n_brokers.to_string())
            .arg(dir.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let told = BufReader::new(guard.stdout.take().expect("a pipe")).lines();
        let told: Vec<String> = told
            .map_while(Result::ok)
            .take_while(|line| line != "ready")
            .collect();
        let bootstrap = told
            .last()
            .expect("Kafka starts: see above why not")
            .clone();
        let secure = std::fs::read_to_string(dir.path().join("bootstrap-secure"));
        let brokers = secure.map_or_else(|_| bootstrap.clone(), |text| text.trim().to_owned());
        Kafka {
            bootstrap,
            brokers,
            n_brokers,
            dir,
            guard: Mutex::new(guard),
        }
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster {
            brokers: self.bootstrap.clone(),
            properties: Properties::default(),
        }
    }

    /// Makes a topic and writes records to it: to `partition`, or where a random key falls.
    pub(crate) fn produce(&self, topic: &str, partitions: i32, lines: &[Vec<u8>]) {
        let cluster = self.cluster();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let made = runtime.block_on(cluster.ensure(&Topic {
            name: topic,
            create: true,
            partitions,
            replication: self.n_brokers as i32,
            min_insync_replicas: 1,
            retention_ms: Some(u64::MAX >> 1),
        }));
        made.expect("the topic is made");
        let writer = cluster.writer().expect("a writer");
        write_to(&writer, topic, 0, lines);
        writer.flush().expect("acknowledged");
    }

    /// Everything in a topic.
    pub(crate) fn read(&self, topic: &str) -> Vec<OwnedMessage> {
        let mut messages = Vec::new();
        let read = self.cluster().read_to_end(topic, |message| {
            messages.push(message.detach());
            Ok::<_, connectors::kafka::Error>(())
        });
        read.expect("everything there is comes");
        messages
    }

    /// What the brokers say of all topics.
    pub(crate) fn topics(&self) -> rdkafka::metadata::Metadata {
        let consumer: rdkafka::consumer::BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .create()
            .expect("a consumer");
        consumer.fetch_metadata(None, PATIENCE).expect("answers")
    }

    /// Records in a topic, 0 when it does not exist.
    pub(crate) fn n_records(&self, topic: &str) -> i64 {
        let ends = self.cluster().watermarks(topic).unwrap_or_default();
        ends.iter().map(|(first, end)| end - first).sum()
    }
}

/// Writes lines, each where a key falls that no other has; `first` is how many came before.
pub(crate) fn write_to(writer: &Writer, topic: &str, first: usize, lines: &[Vec<u8>]) {
    for (i, line) in (first as u64..).zip(lines) {
        let key = i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
        let outgoing = Outgoing {
            topic,
            partition: None,
            key: Some(&key),
            value: line,
        };
        writer.send(outgoing, std::iter::empty()).expect("sent");
    }
}

impl Drop for Kafka {
    /// The brokers are stopped before their folder goes: what knows of them lies there.
    fn drop(&mut self) {
        let guard = self.guard.get_mut();
        let guard = guard.unwrap_or_else(PoisonError::into_inner);
        drop(guard.stdin.take());
        let _ = guard.wait();
    }
}

/// Held by each test with three brokers: two of them at once leave nothing of two cores.
pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn one() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start(1))
}

/// One service: a name of its own for everything it has on the cluster.
pub(crate) struct Deployment<'a> {
    pub(crate) kafka: &'a Kafka,
    name: &'static str,
    pub(crate) log: &'static str,
    pub(crate) state: tempfile::TempDir,
    sources: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl<'a> Deployment<'a> {
    pub(crate) fn new(
        kafka: &'a Kafka,
        name: &'static str,
        sources: &[&str],
        options: &[&str],
    ) -> Self {
        Self {
            kafka,
            name,
            log: "warn",
            state: tempfile::tempdir().expect("a folder"),
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        }
    }

    pub(crate) fn command(&self, command: &str) -> Command {
        let mut tollwatch = tollwatch_telling(self.log);
        tollwatch
            .args(command.split(' '))
            .args(["--brokers", &self.kafka.brokers])
            .args(["--group", self.name])
            .args(["--topic-prefix", &format!("{}.", self.name)])
            .args(
                self.sources
                    .iter()
                    .flat_map(|s| ["--source-topic", s.as_str()]),
            )
            .arg("--state")
            .arg(self.state.path())
            .args(&self.options);
        let alerts = self.topic("alerts");
        for (option, value) in [("--listen", ""), ("--alerts-topic", alerts.as_str())] {
            if !self.options.iter().any(|given| given == option) {
                tollwatch.args([option, value]);
            }
        }
        tollwatch
    }

    pub(crate) fn topic(&self, log: &str) -> String {
        format!("{}.{log}", self.name)
    }

    /// Runs until everything there is has been read.
    pub(crate) fn catch_up(&self) {
        let mut run = self.command("run");
        let mut run = Running(run.arg("--exit-when-caught-up").spawn().expect("starts"));
        let status = wait(&mut run);
        assert!(status.success(), "run ended with {status}");
    }

    /// Runs until it has written this many records to a log.
    pub(crate) fn run_until(&self, log: &str, n_records: i64) -> Running {
        let mut run = Running(self.command("run").spawn().expect("starts"));
        let began = Instant::now();
        while self.kafka.n_records(&self.topic(log)) < n_records {
            let ended = run.try_wait().expect("a child");
            assert!(ended.is_none(), "run ended by itself: {ended:?}");
            assert!(
                began.elapsed() < PATIENCE,
                "{log} does not reach {n_records}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        run
    }

    /// `verify`'s report, which must say that everything is as it should be.
    pub(crate) fn verify(&self) -> Value {
        let report = json_of(self.command("verify").arg("--json"));
        assert_eq!(report["sound"], true, "{report:#}");
        report
    }

    pub(crate) fn alerts(&self) -> Vec<Value> {
        let messages = self.kafka.read(&self.topic("alerts"));
        let alert = |message: &OwnedMessage| {
            serde_json::from_slice(message.payload().expect("a value")).expect("an alert is JSON")
        };
        messages.iter().map(alert).collect()
    }
}

/// A process that ends with its test, however that ends.
pub(crate) struct Running(pub(crate) Child);

impl std::ops::Deref for Running {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended can't be killed, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn wait(child: &mut Child) -> std::process::ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().expect("a child can be killed");
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Distinct alerts by their own id.
pub(crate) fn uids(alerts: &[Value]) -> BTreeSet<String> {
    let uid = |alert: &Value| alert["metadata"]["uid"].as_str().expect("an id").to_owned();
    alerts.iter().map(uid).collect()
}

#[test]
fn a_capture_in_four_partitions_with_random_keys_loses_and_doubles_nothing() {
    let all = lines("vampi.ndjson.xz", 60_000);
    let (first, second) = all.split_at(35_000);
    one().produce("four", 4, first);
    let service = Deployment::new(one(), "four-service", &["four"], &["--partitions", "3"]);
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], first.len());
    assert!(
        report["stages"]["profile"]["expected"].as_u64() > Some(10_000),
        "{report}"
    );
    assert!(
        report["stages"]["alerts"]["expected"].as_u64() > Some(2),
        "{report}"
    );
    for stage in ["endpoints", "inventory"] {
        let n = report["stages"][stage]["expected"].as_u64();
        assert!(n > Some(5), "{stage}: {report}");
    }
    let n_alerts = service.alerts().len();

    // Nothing new: it ends again, and says nothing again.
    service.catch_up();
    assert_eq!(
        service.alerts().len(),
        n_alerts,
        "a restart alerts no second time"
    );

    one().produce("four", 4, second);
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    assert!(
        service.alerts().len() > n_alerts,
        "what came later was judged"
    );
}

#[test]
fn verify_tells_what_is_missing() {
    one().produce("holes", 1, &lines("vampi.ndjson.xz", 500));
    let service = Deployment::new(one(), "holes-service", &["holes"], &[]);
    service.catch_up();
    service.verify();
    // A record that no service has read, and alerts nobody derived.
    one().produce("holes", 1, &lines("vampi.ndjson.xz", 1));
    one().produce("holes-service.alerts", 4, &[b"{}".to_vec()]);
    let output = service
        .command("verify")
        .arg("--json")
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(report["stages"]["decode"]["missing"], 1, "{report}");
    assert_eq!(report["stages"]["alerts"]["different"], 1, "{report}");
}

/// An alert with positions as line numbers from 0, be they of a file or of a partition.
fn by_line(value: &Value) -> Value {
    match value {
        Value::Object(fields) => match (fields.get("line"), fields.get("offset")) {
            (Some(line), _) => json!(line.as_i64().expect("a number") - 1),
            (_, Some(offset)) => offset.clone(),
            _ => fields
                .iter()
                .map(|(name, value)| (name.clone(), by_line(value)))
                .collect(),
        },
        Value::Array(values) => values.iter().map(by_line).collect(),
        other => other.clone(),
    }
}

#[test]
fn one_partition_through_one_lane_alerts_as_replay_does() {
    let all = lines("vampi.ndjson.xz", 80_000);
    one().produce("single", 1, &all);
    let service = Deployment::new(one(), "single-service", &["single"], &["--partitions", "1"]);
    service.catch_up();

    let dir = tempfile::tempdir().expect("a folder");
    let (log, alerts) = (dir.path().join("log"), dir.path().join("alerts"));
    write_lines(&log, &all);
    let mut replay = tollwatch();
    replay
        .arg("replay")
        .arg(&log)
        .args(["--lanes", "1", "--json"]);
    replay
        .arg("--state")
        .arg(service.state.path())
        .arg("--alerts")
        .arg(&alerts);
    succeed(&mut replay);

    let sorted = |alerts: Vec<Value>| {
        let mut texts: Vec<String> = alerts
            .iter()
            .map(|alert| by_line(alert).to_string())
            .collect();
        texts.sort();
        texts
    };
    let (over_kafka, over_file) = (sorted(service.alerts()), sorted(read_alerts(&alerts)));
    assert!(
        over_file.len() >= 5,
        "only {} alerts to compare",
        over_file.len()
    );
    assert_eq!(over_kafka.len(), over_file.len());
    for (kafka, file) in over_kafka.iter().zip(&over_file) {
        assert_eq!(kafka, file);
    }
}

#[test]
fn a_poisoned_topic_loses_no_good_call_and_stops_nothing() {
    for (format, source, name) in [
        ("kong", "poison-kong", "poison-kong-service"),
        ("envoy", "poison-envoy", "poison-envoy-service"),
        ("nginx", "poison-nginx", "poison-nginx-service"),
        ("combined", "poison-combined", "poison-combined-service"),
    ] {
        let (mut all, mut places) = poison::mixed(format);
        // What a file can't hold: an empty record, and one with line ends in it.
        for bad in [&b""[..], b"\n\n", b"a\nb"] {
            places.insert(all.len() as i64);
            all.push(bad.to_vec());
        }
        all.extend(poison::good(format, 50));
        one().produce(source, 1, &all);
        let service = Deployment::new(one(), name, &[source], &["--format", format]);
        service.catch_up();
        let report = service.verify();
        let letters = one().read(&service.topic("dead-letters"));
        // An array is a batch of records: each of `[1,2,3]` is rejected by itself.
        let n_rows = all.len() - places.len() + letters.len();
        assert_eq!(report["stages"]["decode"]["expected"], n_rows, "{format}");
        let mut told = BTreeSet::new();
        for letter in &letters {
            let found = |name: &str| {
                let headers = letter.headers().expect("headers");
                let found = headers.iter().find(|header| header.key == name);
                let value = found.and_then(|header| header.value)?;
                Some(String::from_utf8(value.to_vec()).expect("text"))
            };
            let header = |name: &str| found(name).expect(name);
            let offset: i64 = header("__connect.errors.offset").parse().expect("a number");
            assert_eq!(header("__connect.errors.topic"), source);
            assert!(!header("tollwatch.reason").is_empty());
            let (record, kept) = (&all[offset as usize], letter.payload().unwrap_or_default());
            match (found("tollwatch.bytes_in"), found("tollwatch.truncated")) {
                // Another letter of the same record has its bytes.
                (Some(_), _) => assert!(kept.is_empty() && told.contains(&offset)),
                (None, Some(n)) => {
                    assert_eq!(n, record.len().to_string());
                    assert!(1_000_000 <= kept.len() && record.starts_with(kept));
                }
                (None, None) => assert_eq!(kept, record),
            }
            told.insert(offset);
        }
        assert_eq!(told, places, "{format}");
    }
}

#[test]
fn long_requests_of_one_caller_stop_nothing() {
    let call = |i: usize| {
        let (path, agent) = (format!("/a/{i}/{}", "p".repeat(20_000)), "u".repeat(20_000));
        let ms = 1_767_571_200_000_i64 + i as i64;
        json!({
            "started_at": ms, "client_ip": "192.0.2.1", "consumer": {"username": "long"},
            "request": {"method": "GET", "uri": path, "url": format!("https://api.example{path}"), "size": "138",
                "headers": {"host": "api.example", "user-agent": agent, "origin": agent}},
            "response": {"status": 200, "size": 827, "headers": {}}, "latencies": {"request": 5},
        })
        .to_string()
        .into_bytes()
    };
    // All of one caller, so in one partition of the log: far more than a broker takes in one record.
    let all: Vec<Vec<u8>> = (0..600).map(call).collect();
    one().produce("long", 1, &all);
    let service = Deployment::new(one(), "long-service", &["long"], &[]);
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
}

#[test]
fn a_source_that_ends_in_a_transactions_marker_is_caught_up_with() {
    let all = lines("vampi.ndjson.xz", 200);
    one().produce("transactional", 1, &[]);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &one().bootstrap)
        .set("transactional.id", "tests")
        .create()
        .expect("a producer");
    producer.init_transactions(PATIENCE).expect("answers");
    producer.begin_transaction().expect("begins");
    for line in &all {
        let record = BaseRecord::<(), [u8]>::to("transactional").payload(line);
        producer.send(record).expect("queued");
    }
    producer.commit_transaction(PATIENCE).expect("commits");
    // The coordinator writes the marker after it has said that the transaction is committed, and an end
    // read before that is the transaction's beginning.
    let asked = Instant::now();
    let with_marker = all.len() as i64 + 1;
    while one().n_records("transactional") != with_marker {
        assert!(asked.elapsed() < PATIENCE, "the marker has an offset");
        std::thread::sleep(Duration::from_millis(50));
    }
    let service = Deployment::new(one(), "marker-service", &["transactional"], &[]);
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
}

#[test]
fn dead_letters_are_listed_and_put_back_once() {
    let mut all = lines("vampi.ndjson.xz", 20);
    let good = all.remove(7);
    all.insert(7, b"garbage".to_vec());
    all.push(b"{\"msec\":\"never\"}".to_vec());
    one().produce("mended", 1, &all);
    let service = Deployment::new(one(), "mended-service", &["mended"], &[]);
    service.catch_up();
    let letters = |command: &str, options: &[&str]| {
        let output = succeed(service.command(command).args(options));
        String::from_utf8(output.stdout).expect("text")
    };
    let listed = letters("dead-letters list", &["--json"]);
    let listed: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let offsets: Vec<i64> = listed
        .iter()
        .filter_map(|letter| letter["offset"].as_i64())
        .collect();
    assert_eq!(offsets, [7, 20]);
    assert_eq!(listed[0]["value"], "garbage");

    let count = |options: &[&str]| -> Value {
        serde_json::from_str(&letters("dead-letters replay", options)).expect("one JSON object")
    };
    assert_eq!(count(&["--json", "--dry-run"])["replayed"], 2);
    let mut mended = listed[0].clone();
    mended["value"] = json!(String::from_utf8(good).expect("text"));
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("mended.ndjson");
    std::fs::write(&file, format!("{mended}\n")).expect("writes");
    let from = ["--json", "--from", file.to_str().expect("text")];
    assert_eq!(count(&from)["replayed"], 1);
    let again = count(&from);
    assert_eq!(
        (&again["replayed"], &again["replayed_before"]),
        (&json!(0), &json!(1))
    );
    mended["topic"] = json!("mended-service.events");
    std::fs::write(&file, format!("{mended}\n")).expect("writes");
    let elsewhere = service
        .command("dead-letters replay")
        .args(from)
        .output()
        .expect("starts");
    assert_eq!(elsewhere.status.code(), Some(1), "only a source is written");

    service.catch_up();
    let report = service.verify();
    let decode = &report["stages"]["decode"];
    assert_eq!(
        decode["expected"],
        all.len() + 1,
        "the mended record is one more: {report}"
    );
    let told = letters("dead-letters list", &[]);
    assert!(
        told.contains("2 dead letters") && told.contains("yes"),
        "{told}"
    );
}

#[test]
fn a_killed_service_goes_on_as_if_nothing_had_happened() {
    let all = lines("ledger.log.xz", 60_000);
    one().produce("killed", 2, &all);
    let service = Deployment::new(one(), "killed-service", &["killed"], &["--partitions", "2"]);
    for (log, n) in [("events", 4), ("events", 30), ("judgements", 40)] {
        let mut run = service.run_until(log, n);
        run.kill().expect("a running process");
        run.wait().expect("a child");
    }
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    let alerts = service.alerts();
    assert_eq!(
        uids(&alerts).len() as u64,
        report["stages"]["alerts"]["expected"]
            .as_u64()
            .expect("a count"),
        "an alert told twice has the id it had"
    );
}

#[test]
fn a_named_instance_that_was_killed_need_not_be_declared_dead() {
    one().produce("named", 2, &lines("ledger.log.xz", 20_000));
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("tollwatch.toml");
    // Longer than anybody waits here: only its name can give the instance its partitions back.
    let text =
        "[kafka]\n\"session.timeout.ms\" = \"600000\"\n\"max.poll.interval.ms\" = \"600000\"\n";
    std::fs::write(&config, text).expect("writes");
    let config = config.to_str().expect("text");
    let options = ["--instance", "a", "--config", config];
    let service = Deployment::new(one(), "named-service", &["named"], &options);
    let mut run = service.run_until("judgements", 4);
    run.kill().expect("a running process");
    run.wait().expect("a child");
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], 20_000);
}

/// An address nobody listens on.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn sigterm_ends_cleanly_and_metrics_tell_what_was_done() {
    let all = lines("vampi.ndjson.xz", 20_000);
    one().produce("terminated", 2, &all);
    let address = free_address();
    let options = ["--listen", address.as_str()];
    let service = Deployment::new(one(), "terminated-service", &["terminated"], &options);
    let mut run = Running(service.command("run").spawn().expect("starts"));
    let began = Instant::now();
    let metrics = loop {
        assert!(began.elapsed() < PATIENCE, "the events are not read");
        let text = get(&address, "/metrics").unwrap_or_default();
        // The stages behind `decode` read what it has written in their own time.
        let is_read = text.contains(&format!("tollwatch_events_total {}", all.len()));
        if is_read && text.contains("tollwatch_records_total{stage=\"profile\"}") {
            break text;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(get(&address, "/livez").expect("answers").contains("200 OK"));
    while !get(&address, "/readyz")
        .expect("answers")
        .contains("200 OK")
    {
        assert!(began.elapsed() < PATIENCE, "the stages don't get ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Users of the capture are named like this.
    assert!(
        !metrics.contains("name") && !metrics.contains("bookTitle"),
        "{metrics}"
    );

    let terminated = Command::new("kill").arg(run.id().to_string()).status();
    assert!(terminated.expect("kill is there").success());
    assert_eq!(wait(&mut run).code(), Some(0));

    // What was acknowledged was committed: nothing is written again.
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["rewritten"], 0, "{report}");
}

/// Keys, calls and statuses of the endpoints that were answered.
fn endpoints(report: &Value) -> Vec<(String, Value, Value)> {
    let entries = report["inventory"].as_array().expect("a list").iter();
    let answered = entries.filter(|entry| entry["standing"] == "answered");
    answered
        .map(|entry| {
            let key = entry["key"].as_str().expect("a key").to_owned();
            (key, entry["calls"].clone(), entry["statuses"].clone())
        })
        .collect()
}

#[test]
fn an_endpoint_is_in_the_inventory_topic_within_a_minute_and_once_whatever_ends() {
    let all = lines("vampi.ndjson.xz", 30_000);
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    write_lines(&log, &all);
    let list = ["inventory", "list", "--json"];
    let of_files = json_of(tollwatch().args(list).arg("--from").arg(&log));
    let expected = endpoints(&of_files);
    assert!(5 < expected.len(), "{expected:?}");

    one().produce("governed", 2, &all);
    let address = free_address();
    let options = ["--listen", address.as_str(), "--partitions", "2"];
    let service = Deployment::new(one(), "governed-service", &["governed"], &options);
    // Killed in the middle of its work, and as soon as it tells of endpoints.
    drop(service.run_until("events", 10));
    drop(service.run_until("inventory", 4));
    let began = Instant::now();
    let mut run = Running(service.command("run").spawn().expect("starts"));
    let of_topic = || {
        let prefix = format!("{}.", service.name);
        let mut listed = tollwatch();
        listed.args(list).args(["--brokers", &one().brokers]);
        json_of(listed.args(["--topic-prefix", &prefix]))
    };
    let keys = |all: &[(String, Value, Value)]| -> BTreeSet<String> {
        all.iter().map(|(key, _, _)| key.clone()).collect()
    };
    while keys(&endpoints(&of_topic())) != keys(&expected) {
        assert!(began.elapsed() < PATIENCE, "endpoints are missing");
        std::thread::sleep(Duration::from_millis(200));
    }
    // A new one, at a service that runs.
    let line = String::from_utf8(all[0].clone()).expect("text");
    let fresh = line.replace("\"request_uri\":\"/\"", "\"request_uri\":\"/fresh\"");
    assert_ne!(fresh, line);
    let began = Instant::now();
    one().produce("governed", 2, &[fresh.into_bytes()]);
    while !keys(&endpoints(&of_topic()))
        .iter()
        .any(|key| key.ends_with("/fresh"))
    {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "not within a minute"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    eprintln!(
        "listed {} ms after it was produced",
        began.elapsed().as_millis()
    );
    let metrics = get(&address, "/metrics").expect("answers");
    assert!(
        metrics.contains("tollwatch_inventory_records_total{kind=\"endpoint\""),
        "{metrics}"
    );
    let terminated = Command::new("kill").arg(run.id().to_string()).status();
    assert!(terminated.expect("kill is there").success());
    assert_eq!(wait(&mut run).code(), Some(0));

    service.catch_up();
    let report = service.verify();
    for stage in ["endpoints", "inventory"] {
        let n = report["stages"][stage]["expected"].as_u64();
        assert!(Some(expected.len() as u64) <= n, "{stage}: {report}");
    }
    assert_eq!(report["stages"]["inventory"]["uncovered"], 0, "{report}");
    // Nothing is counted twice: what is not told yet is what was called in the last minute.
    let counted = endpoints(&of_topic()).into_iter();
    for ((key, calls, _), (_, of_files, _)) in counted
        .filter(|(key, ..)| !key.ends_with("/fresh"))
        .zip(&expected)
    {
        let (calls, of_files) = (calls.as_u64(), of_files.as_u64());
        assert!(
            calls <= of_files && Some(1) <= calls,
            "{key}: {calls:?} of {of_files:?}"
        );
    }
}

#[test]
fn a_missing_topic_is_told_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("tollwatch.toml");
    std::fs::write(&config, "[topics]\ncreate = false\n").expect("writes");
    one().produce("present", 1, &lines("vampi.ndjson.xz", 1));
    let told = |service: &Deployment<'_>, config: Option<&Path>| {
        let mut run = service.command("run");
        run.arg("--exit-when-caught-up");
        if let Some(config) = config {
            run.arg("--config").arg(config);
        }
        let output = run.output().expect("starts");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let absent = Deployment::new(one(), "absent-service", &["absent"], &[]);
    let error = told(&absent, None);
    assert!(error.contains("topic absent is missing"), "{error}");
    let strict = Deployment::new(one(), "strict-service", &["present"], &[]);
    let error = told(&strict, Some(&config));
    assert!(
        error.contains("topic strict-service.events is missing"),
        "{error}"
    );
    assert!(
        error.contains("topics.create"),
        "the error says what to change: {error}"
    );
}

#[test]
fn check_tells_every_fault_and_a_sound_set_up_has_none() {
    one().produce("checked", 1, &lines("vampi.ndjson.xz", 1));
    let dir = tempfile::tempdir().expect("a folder");
    let copies = dir.path().join("copies");
    let options = ["--snapshots-standby", copies.to_str().expect("text")];
    let sound = Deployment::new(one(), "checked-service", &["checked"], &options);
    let output = succeed(&mut sound.command("check"));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("no faults"), "{told}");
    assert!(told.contains("copies of snapshots, at most"), "{told}");
    let wrong = Deployment::new(
        one(),
        "wrong-service",
        &["not-there"],
        &[
            "--partitions",
            "0",
            "--threads",
            "0",
            "--snapshots-standby",
            "/dev/null/copies",
        ],
    );
    let output = wrong.command("check").output().expect("starts");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    for fault in [
        "not-there",
        "topics.partitions",
        "threads",
        "snapshots.standby /dev/null/copies",
    ] {
        assert!(told.contains(fault), "{fault} is told: {told}");
    }
}
