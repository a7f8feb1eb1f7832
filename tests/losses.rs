//! What is gone, full or wrong when a service comes to it, on a real Kafka: records that retention took, offsets that a group
//! forgot, rules that have changed, disks that take nothing, clocks that are ahead, brokers that acknowledge nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::config::ModelConfig;
use engine::lane::{Lane, Outbox};
use engine::log::{Item, Log, row_at};
use engine::rule::RuleSet;
use engine::stage;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::kafka::{Deployment, Kafka, PATIENCE, Running, free_address, get, one, wait};
use crate::secure::ran;
use crate::support::{lines, read_alerts, succeed};

/// Asks the brokers for something, and waits for it.
pub(crate) fn ask<T, F: Future<Output = rdkafka::error::KafkaResult<T>>>(
    kafka: &Kafka,
    question: impl FnOnce(AdminClient<DefaultClientContext>, AdminOptions) -> F,
) -> T {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.bootstrap);
    let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    runtime.block_on(question(admin, options)).expect("answers")
}

/// Deletes a partition's records before an offset, as retention does.
fn cut(topic: &str, partition: i32, before: i64) {
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(topic, partition, Offset::Offset(before))
        .expect("an offset");
    ask(one(), |admin, options| async move {
        admin.delete_records(&offsets, &options).await
    });
    let first = one().cluster().watermarks(topic).expect("answers");
    assert_eq!(first[partition as usize].0, before);
}

/// Forgets what a service's groups have committed, as brokers do of groups that were empty for a week.
fn forget(service: &str) {
    let groups = engine::service::STAGES.map(|stage| format!("{service}.{stage}"));
    let forgotten = ask(one(), |admin, options| async move {
        let names: Vec<&str> = groups.iter().map(String::as_str).collect();
        admin.delete_groups(&names, &options).await
    });
    assert!(forgotten.iter().all(Result::is_ok), "{forgotten:?}");
}

/// A service that is running, with its metrics and what it has said.
pub(crate) struct Watched {
    pub(crate) run: Running,
    address: String,
    dir: tempfile::TempDir,
}

impl Watched {
    /// Starts a command of a service, whose options have this address to listen on.
    pub(crate) fn start(mut command: Command, address: &str) -> Watched {
        let dir = tempfile::tempdir().expect("a folder");
        let errors = File::create(dir.path().join("errors")).expect("opens");
        let run = command.stderr(Stdio::from(errors)).spawn();
        Watched {
            run: Running(run.expect("starts")),
            address: address.to_owned(),
            dir,
        }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("errors")).expect("reads")
    }

    fn metrics(&self) -> String {
        get(&self.address, "/metrics").unwrap_or_default()
    }

    /// Waits until something is true of the metrics.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let metrics = self.metrics();
            if is_so(&metrics) {
                return metrics;
            }
            let ended = self.run.try_wait().expect("a child");
            assert!(ended.is_none(), "{ended:?}: {}", self.told());
            assert!(began.elapsed() < PATIENCE, "{what}: {metrics}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it, which it does cleanly; what it has said.
    pub(crate) fn terminate(mut self) -> String {
        succeed(Command::new("kill").arg(self.run.id().to_string()));
        assert_eq!(wait(&mut self.run).code(), Some(0), "{}", self.told());
        self.told()
    }
}

/// Sum of a metric over the labels that contain a text.
pub(crate) fn sum(metrics: &str, name: &str, of: &str) -> f64 {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let those = lines.filter(|line| line.contains(of)).filter_map(|line| {
        let (named, value) = line.rsplit_once(' ')?;
        (named.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
    });
    those.sum()
}

/// Offsets of the source records whose calls are in the events log.
fn decoded(service: &Deployment<'_>) -> BTreeSet<i64> {
    let mut offsets = BTreeSet::new();
    for message in one().read(&service.topic("events")) {
        let item = engine::service::read(Log::Events, &message);
        let Item::Record(record) = item.expect("a record of the log") else {
            continue;
        };
        let rows = 0..record.batch.num_rows();
        let at = rows.filter_map(|row| row_at(Log::Events, &record.batch, row));
        offsets.extend(at.map(|(offset, _)| offset));
    }
    offsets
}

#[test]
fn records_that_retention_took_are_counted_and_the_first_left_is_read_on() {
    let all = lines("vampi.ndjson.xz", 3_000);
    let (first, second) = all.split_at(1_000);
    one().produce("cut", 1, first);
    let mut service = Deployment::new(one(), "cut-service", &["cut"], &[]);
    service.catch_up();
    one().produce("cut", 1, second);
    cut("cut", 0, 1_400);
    let address = free_address();
    service
        .options
        .extend(["--listen".to_owned(), address.clone()]);
    let mut watched = Watched::start(service.command("run"), &address);
    let metrics = watched.until("what is left is read", |metrics| {
        sum(metrics, "tollwatch_events_total", "") == 1_600.0
    });
    let lost = sum(&metrics, "tollwatch_records_lost_total", "topic=\"cut\"");
    assert_eq!(lost, 400.0, "{metrics}");
    let told = watched.terminate();
    assert!(told.contains("n_lost=400"), "{told}");
    let expected: BTreeSet<i64> = (0..1_000).chain(1_400..3_000).collect();
    assert_eq!(decoded(&service), expected);
}

#[test]
fn a_log_that_was_cut_is_read_on_unless_only_a_snapshot_knows_what_was_there() {
    let all = lines("vampi.ndjson.xz", 3_000);
    let (first, second) = all.split_at(2_000);
    one().produce("short", 1, first);
    let service = Deployment::new(one(), "short-service", &["short"], &["--partitions", "1"]);
    service.catch_up();
    let events = service.topic("events");
    let ends = one().cluster().watermarks(&events).expect("answers");
    cut(&events, 0, ends[0].1);
    one().produce("short", 1, second);
    let snapshots = service.state.path().join("snapshots");
    let (lane, aside) = (
        snapshots.join("short-service.profile"),
        snapshots.join("aside"),
    );

    // The lane's folder can't be read: going on would forget what only the snapshot knows.
    std::fs::rename(&lane, &aside).expect("there");
    std::fs::write(&lane, "no folder").expect("writes");
    let until_caught_up = || {
        let mut run = service.command("run");
        run.arg("--exit-when-caught-up");
        ran(&mut run)
    };
    let (code, told) = until_caught_up();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("in the snapshot store"), "{told}");

    // It is back: nothing is missed.
    std::fs::remove_file(&lane).expect("there");
    std::fs::rename(&aside, &lane).expect("there");
    let missed = "retention took what the lane would read for its state";
    let (code, told) = until_caught_up();
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains(missed), "{told}");
    assert_eq!(decoded(&service).len(), second.len());

    // It is lost, and readable: the lane goes on with what is left, and says so.
    std::fs::remove_dir_all(&lane).expect("there");
    one().produce("short", 1, first);
    let (code, told) = until_caught_up();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(missed), "{told}");
    assert_eq!(decoded(&service).len(), second.len() + first.len());
}

#[test]
fn offsets_that_the_groups_forgot_are_known_from_the_snapshots() {
    let all = lines("vampi.ndjson.xz", 60_000);
    let (first, second) = all.split_at(35_000);
    one().produce("forgotten", 2, first);
    let service = Deployment::new(one(), "forgotten-service", &["forgotten"], &[]);
    service.catch_up();
    let before = service.alerts();
    assert!(before.len() > 2, "{}", before.len());
    forget("forgotten-service");
    service.catch_up();
    assert_eq!(service.alerts(), before, "nothing is told again");
    let report = service.verify();
    let n_again = report["stages"]["decode"]["rewritten"].as_u64();
    assert!(n_again >= Some(first.len() as u64), "{report}");
    one().produce("forgotten", 2, second);
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
    assert!(service.alerts().len() > before.len(), "what came later is");
}

#[test]
fn other_options_derive_state_from_the_logs_beginning_and_tell_nothing_of_the_past() {
    let all = lines("vampi.ndjson.xz", 80_000);
    let (first, second) = all.split_at(60_000);
    one().produce("other", 1, first);
    let new = |name, options: &[&str]| {
        let options = [&["--partitions", "1"], options].concat();
        Deployment::new(one(), name, &["other"], &options)
    };
    let loud = ["--false-alerts-per-million-events", "50"];
    let mut changed = new("changed-service", &[]);
    let fresh = new("fresh-service", &loud);
    let key = "identity.key";
    let texts = |alerts: &[Value]| -> BTreeSet<String> {
        let texts: BTreeSet<String> = alerts.iter().map(Value::to_string).collect();
        assert_eq!(texts.len(), alerts.len(), "each once");
        texts
    };
    changed.catch_up();
    std::fs::copy(changed.state.path().join(key), fresh.state.path().join(key)).expect("a key");
    fresh.catch_up();
    let quiet_past = texts(&changed.alerts());
    let loud_past = texts(&fresh.alerts());
    assert_ne!(quiet_past, loud_past, "the options matter");

    one().produce("other", 1, second);
    changed.options.extend(loud.map(str::to_owned));
    let mut run = changed.command("run");
    run.arg("--exit-when-caught-up");
    let (code, told) = ran(&mut run);
    assert_eq!(code, Some(0), "{told}");
    for stage in ["profile", "own", "judge"] {
        let refused = format!(
            "snapshot was made with other options, or by another version: not used place=changed-service.{stage}/"
        );
        assert!(told.contains(&refused), "{stage}: {told}");
    }
    fresh.catch_up();
    let news = |now: Vec<Value>, past: &BTreeSet<String>| -> BTreeSet<String> {
        texts(&now).difference(past).cloned().collect()
    };
    let expected = news(fresh.alerts(), &loud_past);
    assert!(!expected.is_empty(), "something happens later");
    assert_eq!(news(changed.alerts(), &quiet_past), expected);
}

#[test]
fn a_full_disk_ends_a_service_that_alerts_to_a_file_and_loses_none() {
    // One partition throughout: two services then say the same.
    one().produce("full", 1, &lines("vampi.ndjson.xz", 45_000));
    let mut service = Deployment::new(one(), "full-service", &["full"], &[]);
    let to = |service: &mut Deployment<'_>, file: &str| {
        let options = ["--partitions", "1", "--alerts-topic", file];
        service.options = options.map(str::to_owned).to_vec();
    };
    to(&mut service, "/dev/full");
    let (code, told) = ran(&mut service.command("run"));
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("cannot write alerts to /dev/full; make room there"),
        "{told}"
    );
    let alerts = service.state.path().join("alerts");
    to(&mut service, alerts.to_str().expect("text"));
    service.catch_up();
    service.verify();

    // What there is to tell says a service that had room from the beginning.
    let roomy = Deployment::new(one(), "roomy-service", &["full"], &["--partitions", "1"]);
    let key = "identity.key";
    std::fs::copy(service.state.path().join(key), roomy.state.path().join(key)).expect("a key");
    roomy.catch_up();
    let expected = roomy.alerts();
    assert!(expected.len() > 2, "{}", expected.len());
    let cases = |alerts: &[Value]| -> BTreeSet<String> {
        let case = |alert: &Value| format!("{} {}", alert["actor"], alert["finding_info"]["uid"]);
        alerts.iter().map(case).collect()
    };
    assert_eq!(cases(&read_alerts(&alerts)), cases(&expected));
}

#[test]
fn a_full_disk_costs_snapshots_and_nothing_else() {
    let all = lines("vampi.ndjson.xz", 20_000);
    let (first, second) = all.split_at(10_000);
    one().produce("tight", 2, first);
    let address = free_address();
    let options = [
        "--listen",
        address.as_str(),
        "--snapshots-every-seconds",
        "1",
    ];
    let mut service = Deployment::new(one(), "tight-service", &["tight"], &options);
    // Claims are written, and of a snapshot what goes into four KiB.
    let full = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    let run = service.command("run");
    let mut limited = Command::new("bash");
    limited.args(["-c", full]).arg(run.get_program());
    limited.args(run.get_args());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let mut watched = Watched::start(limited, &address);
    let failed = |metrics: &str| sum(metrics, "tollwatch_snapshots_total", "failed");
    let read = |metrics: &str| sum(metrics, "tollwatch_events_total", "");
    watched.until("snapshots fail", |metrics| {
        failed(metrics) > 3.0 && read(metrics) == first.len() as f64
    });
    one().produce("tight", 2, second);
    let metrics = watched.until("the lanes go on", |metrics| {
        read(metrics) == all.len() as f64
            && sum(metrics, "tollwatch_rows_read_total", "profile") >= all.len() as f64
    });
    let published = "stage=\"profile\",outcome=\"published\"";
    let n_published = sum(&metrics, "tollwatch_snapshots_total", published);
    assert_eq!(n_published, 0.0, "{metrics}");
    watched.terminate();

    // With room again they are written, and nothing was lost meanwhile.
    service.options.truncate(0);
    service.catch_up();
    let lanes = crate::support::json(service.command("state inspect").args(["--json", "--read"]));
    assert_eq!(lanes["sound"], true, "{lanes}");
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let all = lines("vampi.ndjson.xz", 2_000);
    one().produce("unheard", 2, &all);
    let mut service = Deployment::new(one(), "unheard-service", &["unheard"], &[]);
    service.log = "debug";
    let full = File::options().write(true).open("/dev/full");
    let mut run = service.command("run");
    run.arg("--exit-when-caught-up");
    run.stderr(full.expect("a device that is full"));
    let status = wait(&mut Running(run.spawn().expect("starts")));
    assert!(status.success(), "it ended with {status}");
    service.log = "warn";
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], all.len());
}

#[test]
fn a_gateway_whose_clock_is_ahead_is_clamped_and_makes_nobody_late() {
    const START_MS: i64 = 1_767_571_200_000;
    const N: i64 = 600;
    const STEP_MS: i64 = 400;
    const HOUR_MS: i64 = 3_600_000;
    one().produce("clocks", 2, &[]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &one().bootstrap);
    let producer: BaseProducer = config.create().expect("a producer");
    let call = |partition: i32, nth: i64, at_ms: i64, broker_ms: i64| {
        let path = format!("/orders/{}", 1000 + nth);
        let text = json!({
            "started_at": at_ms, "client_ip": "192.0.2.1", "consumer": {"username": format!("u{partition}")},
            "request": {"method": "GET", "uri": path, "url": format!("https://api.example{path}"), "size": "138",
                "headers": {"host": "api.example"}},
            "response": {"status": 200, "size": 800, "headers": {}}, "latencies": {"request": 5},
        })
        .to_string();
        let record = BaseRecord::<(), String>::to("clocks")
            .partition(partition)
            .timestamp(broker_ms)
            .payload(&text);
        producer.send(record).expect("queued");
    };
    // Two gateways, one an hour ahead, and at each somebody who reads more in four minutes than is usual.
    for nth in 0..N {
        let now_ms = START_MS + nth * STEP_MS;
        call(0, nth, now_ms + HOUR_MS, now_ms);
        call(1, nth, now_ms, now_ms);
    }
    producer.flush(PATIENCE).expect("acknowledged");
    let address = free_address();
    let options = ["--listen", address.as_str()];
    let service = Deployment::new(one(), "clocks-service", &["clocks"], &options);
    let mut watched = Watched::start(service.command("run"), &address);
    let late = |metrics: &str| sum(metrics, "tollwatch_rows_late", "");
    let read = |metrics: &str| sum(metrics, "tollwatch_rows_read_total", "profile");
    let metrics = watched.until("all is read", |metrics| read(metrics) >= 2.0 * N as f64);
    assert_eq!(sum(&metrics, "tollwatch_clamped_times_total", ""), N as f64);
    // Each source tells every lane that it is there, how far it is, and that it is silent; before that nobody is late.
    watched.until("silence is told", |metrics| {
        sum(metrics, "tollwatch_records_total", "profile") >= 26.0
    });
    // A call of an hour ago is late, so the metric works; it is of the one whose clock is right.
    call(1, 17, START_MS - HOUR_MS, START_MS + N * STEP_MS);
    producer.flush(PATIENCE).expect("acknowledged");
    let metrics = watched.until("the late one is late", |metrics| late(metrics) > 0.0);
    // Each rule may count it.
    let n_late = late(&metrics);
    assert!(n_late <= RuleSet::shipped().rules.len() as f64, "{n_late}");
    watched.terminate();

    let mut latest_ms = [i64::MIN; 2];
    for message in one().read(&service.topic("events")) {
        let item = engine::service::read(Log::Events, &message);
        let Item::Record(record) = item.expect("a record of the log") else {
            continue;
        };
        let of = &mut latest_ms[record.header.input_partition as usize];
        *of = record.header.watermark_ms.max(*of);
    }
    let last_ms = START_MS + (N - 1) * STEP_MS;
    assert_eq!(
        latest_ms,
        [last_ms + 600_000, last_ms],
        "ten minutes ahead at most"
    );
    // Lanes over the log find both who read too much, whatever the other's clock says.
    let rules = Arc::new(RuleSet::shipped());
    let (mut n_found, mut n_late) = (0, 0);
    for partition in 0..4 {
        let stage = stage::of(Log::Events, &ModelConfig::default(), &rules, 4);
        let mut lane = Lane::new(stage.expect("sound rules"), "events".into(), partition);
        for message in one().read(&service.topic("events")) {
            let item = engine::service::read(Log::Events, &message);
            let Item::Record(record) = item.expect("a record of the log") else {
                continue;
            };
            if message.partition() == partition {
                let fed = lane.feed(message.offset(), &record, &mut Outbox::default());
                fed.expect("rows of the log");
            }
        }
        let counters = lane.stage().rules();
        let mut those = counters.iter();
        let flood = those.find(|rule| rule.rule.header.name == "object_flood");
        let flood = flood.expect("a shipped rule");
        n_found += flood.findings;
        n_late += flood.late;
    }
    assert_eq!((n_found, n_late), (2, 1));
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], 2 * N + 1);
}
