//! The whole way, from gateway logs in Kafka to alerts in the results topic, beside the floor.
//!
//! Each round reads the topic of `generate` twice, in this process: once by the floor, once by the
//! service with all stages and all shipped rules, its logs and alerts on the same broker. What
//! counts is the ratio of their CPU-seconds: a noisy machine disturbs both.
//!
//! With `--pace` nothing is read beforehand: records are produced at that rate while the service
//! runs, and the time from reading a record to handing over its alert is what is measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use connectors::kafka::{Outgoing, Properties, Topic};
use engine::command::resolver;
use engine::config::{Config, Delivery, ModelConfig, SnapshotConfig, SourceConfig, TopicConfig};
use engine::rule::RuleSet;
use engine::service::{Service, Watcher, cluster};
use serde_json::json;

use crate::Result;
use crate::floor::{self, FloorConfig};
use crate::rules::with_shipped;
use crate::traffic::{Traffic, TrafficConfig};
use crate::usage::{Mark, Usage};

/// What is read, and how.
#[derive(Args)]
pub(crate) struct WayConfig {
    /// Bootstrap servers, host:port with commas between.
    #[arg(long)]
    brokers: String,
    /// Topic that `bench generate` filled; with --pace, one to make.
    #[arg(long)]
    topic: String,
    /// Threads of each stage, and consumers of the floor.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Partitions of each log, so lanes of each stage.
    #[arg(long, default_value_t = 2)]
    partitions: i32,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Compression of the logs: lz4, zstd, gzip, snappy, none
    #[arg(long, default_value = "lz4")]
    compression: String,
    /// Produces this many records a second for 30 s and measures latency instead.
    #[arg(long)]
    pace: Option<u64>,
    #[command(flatten)]
    traffic: TrafficConfig,
    /// Print a JSON object for each round.
    #[arg(long)]
    json: bool,
}

/// Rules whose alerts `--pace` times beside those that the traffic gives cause for.
const PACED_RULES: [(&str, &str); 2] = [
    (
        "paced_events.sql",
        include_str!("../rules/paced_events.sql"),
    ),
    (
        "paced_touches.sql",
        include_str!("../rules/paced_touches.sql"),
    ),
];
/// How long `--pace` produces.
const PACED: Duration = Duration::from_secs(30);

/// Runs the rounds.
pub(crate) fn run(config: &WayConfig) -> Result<()> {
    if let Some(pace) = config.pace {
        return paced(config, pace);
    }
    let floor_config = FloorConfig {
        brokers: config.brokers.clone(),
        topic: config.topic.clone(),
        threads: config.threads,
        rounds: 1,
        json: config.json,
    };
    for round in 1..=config.rounds {
        let partitions = floor::partitions(&floor_config)?;
        let start = Mark::now()?;
        let n_events = floor::read(&floor_config, &partitions)?;
        let floor = start.until_now()?;

        let started = Mark::now()?;
        let whole = service(config, round, Promise::Whole, RuleSet::shipped(), None)?;
        let (shared, threads) = watching_threads(|| whole.finish_when_caught_up())?;
        let shared = shared?;
        let way = started.until_now()?;
        let n_read = shared.metrics.events.get();
        if n_read != n_events {
            return Err(format!("{n_read} of {n_events} events were decoded").into());
        }
        let latency = (
            shared.metrics.latency_ms(0.5),
            shared.metrics.latency_ms(0.99),
        );
        report(config, round, n_events, &floor, &way, &threads, latency);

        let started = Mark::now()?;
        let less = service(config, round, Promise::Less, RuleSet::shipped(), None)?;
        less.finish_when_caught_up()?;
        let less = started.until_now()?;
        report_promise(config, round, n_events, &way, &less);
        for promise in [Promise::Whole, Promise::Less] {
            // Snapshots of a round serve no other.
            let _ = std::fs::remove_dir_all(state(&name(round, promise)));
        }
    }
    Ok(())
}

/// What a round pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Alerts in transactions, a snapshot of every lane each 5 s: six times as often as by default.
    Whole,
    /// Neither.
    Less,
}

fn name(round: u32, promise: Promise) -> String {
    format!("bench-{}-{round}-{promise:?}", std::process::id()).to_lowercase()
}

fn state(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// What transactions and snapshots cost in this round.
fn report_promise(config: &WayConfig, round: u32, n_events: u64, way: &Usage, less: &Usage) {
    let per_million = |usage: &Usage| usage.cpu_seconds / n_events as f64 * 1e6;
    let (with, without) = (per_million(way), per_million(less));
    let (speed, plain) = (
        n_events as f64 / way.seconds,
        n_events as f64 / less.seconds,
    );
    if config.json {
        println!(
            "{}",
            json!({
                "bench": "promise", "round": round, "cpu_seconds_per_million": with,
                "cpu_seconds_per_million_without": without, "events_per_s": speed, "events_per_s_without": plain,
            })
        );
        return;
    }
    println!(
        "  without transactions and snapshots: {without:.2} CPU-s per million, {plain:.0} events/s; with them {:.2} x the \
         CPU, {:.2} x the events/s",
        with / without,
        speed / plain
    );
}

/// A service of its own for each round: new group, new logs.
fn service(
    config: &WayConfig,
    round: u32,
    promise: Promise,
    rules: RuleSet,
    watcher: Option<Watcher>,
) -> Result<Service> {
    let name = name(round, promise);
    let (delivery, every_seconds) = match promise {
        Promise::Whole => (Delivery::ExactlyOnce, 5),
        Promise::Less => (Delivery::AtLeastOnce, u64::MAX / 2),
    };
    let settings = Config {
        brokers: config.brokers.clone(),
        sources: vec![SourceConfig {
            topic: config.topic.clone(),
            format: "kong".to_owned(),
        }],
        group: name.clone(),
        listen: String::new(),
        state: state(&name),
        delivery,
        snapshots: SnapshotConfig {
            every_seconds,
            ..SnapshotConfig::default()
        },
        threads: usize::from(config.threads),
        topics: TopicConfig {
            prefix: format!("{name}."),
            alerts: format!("{name}.alerts"),
            partitions: config.partitions,
            ..TopicConfig::default()
        },
        // The traffic spans minutes of event time: every touch is judged.
        models: ModelConfig {
            warm_up_hours: 0.0,
            ..ModelConfig::default()
        },
        kafka: Properties::from_iter([("compression.type".to_owned(), config.compression.clone())]),
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let started = Service::start(
        settings,
        Arc::new(rules),
        resolver(None, false)?,
        Arc::default(),
        watcher,
    );
    Ok(runtime.block_on(started)?)
}

fn report(
    config: &WayConfig,
    round: u32,
    n_events: u64,
    floor: &Usage,
    way: &Usage,
    threads: &BTreeMap<String, f64>,
    (p50_ms, p99_ms): (u64, u64),
) {
    let per_million = |cpu_seconds: f64| cpu_seconds / n_events as f64 * 1e6;
    let (floor_cpu, way_cpu) = (per_million(floor.cpu_seconds), per_million(way.cpu_seconds));
    let (floor_s, way_s) = (
        n_events as f64 / floor.seconds,
        n_events as f64 / way.seconds,
    );
    if config.json {
        let threads: BTreeMap<_, _> = threads
            .iter()
            .map(|(name, seconds)| (name, per_million(*seconds)))
            .collect();
        println!(
            "{}",
            json!({
                "bench": "way", "round": round, "threads": config.threads, "events": n_events,
                "floor_cpu_seconds_per_million": floor_cpu, "floor_events_per_s": floor_s,
                "way_cpu_seconds_per_million": way_cpu, "way_events_per_s": way_s,
                "ratio": way_cpu / floor_cpu, "others_cores": way.others_cores,
                "rss_peak_mib": way.rss_peak_mib, "cpu_seconds_per_million_by_thread": threads,
                "event_to_alert_p50_ms": p50_ms, "event_to_alert_p99_ms": p99_ms,
            })
        );
        return;
    }
    println!(
        "way, round {round}, {} thread(s) a stage: {n_events} events; floor {floor_cpu:.2} CPU-s per million, \
         {floor_s:.0} events/s; way {way_cpu:.2} CPU-s per million, {way_s:.0} events/s, {:.2} x the floor; \
         peak {:.0} MiB, others used {:.2} cores",
        config.threads,
        way_cpu / floor_cpu,
        way.rss_peak_mib,
        way.others_cores
    );
    for (name, seconds) in threads {
        println!(
            "  {name:<16} {:.2} CPU-s per million",
            per_million(*seconds)
        );
    }
}

/// Produces at a steady rate while the service runs, and tells how late its alerts are.
fn paced(config: &WayConfig, pace: u64) -> Result<()> {
    let kafka = cluster(&Config {
        brokers: config.brokers.clone(),
        ..Config::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(kafka.ensure(&Topic {
        name: &config.topic,
        create: true,
        partitions: 4,
        replication: 1,
        min_insync_replicas: 1,
        retention_ms: Some(3_600_000),
    }))?;
    let rules = PACED_RULES.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let rules = with_shipped(rules.into_iter())?;
    let timed = Arc::new(Mutex::new(BTreeMap::<String, Vec<i64>>::new()));
    let noting = timed.clone();
    let watcher: Watcher = Arc::new(move |alert| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let ms = now.map_or(0, |now| now.as_millis() as i64) - alert.read_at_ms;
        let mut timed = noting.lock().unwrap_or_else(PoisonError::into_inner);
        timed.entry(alert.rule.clone()).or_default().push(ms);
    });
    let service = service(config, 0, Promise::Whole, rules, Some(watcher))?;
    // Groups are formed first: what is read meanwhile waits for the stages behind.
    while !service.shared.metrics.is_ready() && !service.shared.stopping() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let writer = kafka.writer()?;
    let mut traffic = Traffic::new(&config.traffic);
    let (start, started) = (Mark::now()?, Instant::now());
    let (mut record, mut n_sent) = (Vec::with_capacity(2048), 0_u64);
    while started.elapsed() < PACED {
        let due = (started.elapsed().as_secs_f64() * pace as f64) as u64;
        while n_sent < due {
            record.clear();
            let consumer = traffic.write(&mut record);
            let outgoing = Outgoing {
                topic: &config.topic,
                partition: None,
                key: Some(traffic.consumer_ids[consumer].as_bytes()),
                value: &record,
            };
            writer.send(outgoing, std::iter::empty())?;
            n_sent += 1;
        }
        writer.poll()?;
        std::thread::sleep(Duration::from_millis(1));
    }
    writer.flush()?;
    service.finish_when_caught_up()?;
    let used = start.until_now()?;
    let cores = used.cpu_seconds / used.seconds;
    let mut timed = timed.lock().unwrap_or_else(PoisonError::into_inner);
    let rows: Vec<(String, usize, i64, i64)> = timed
        .iter_mut()
        .map(|(rule, ms)| {
            ms.sort_unstable();
            let at = |share: f64| ms[((ms.len() - 1) as f64 * share) as usize];
            (rule.clone(), ms.len(), at(0.5), at(0.99))
        })
        .collect();
    if config.json {
        let rules = rows.iter().map(|(rule, n, p50_ms, p99_ms)| {
            json!({ "rule": rule, "alerts": n, "event_to_alert_p50_ms": p50_ms, "event_to_alert_p99_ms": p99_ms })
        });
        println!(
            "{}",
            json!({
                "bench": "pace", "events_per_s": pace, "events": n_sent, "rules": rules.collect::<Vec<_>>(),
                "cores": cores, "others_cores": used.others_cores,
            })
        );
        return Ok(());
    }
    println!(
        "{pace} events/s for {} s; {cores:.2} cores with the producer, others used {:.2}",
        PACED.as_secs(),
        used.others_cores
    );
    for (rule, n, p50_ms, p99_ms) in rows {
        println!("  {rule:<24} {n} alerts, read to alert p50 {p50_ms} ms, p99 {p99_ms} ms");
    }
    Ok(())
}

/// Runs something, and tells what CPU time this process's threads used meanwhile, by name without its
/// number; librdkafka's are `rdk:…`. Threads are looked at ten times a second, so their last tenth may be lost.
fn watching_threads<T: Send>(run: impl FnOnce() -> T + Send) -> Result<(T, BTreeMap<String, f64>)> {
    let done = AtomicBool::new(false);
    let (value, seen) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = BTreeMap::<String, (String, f64, f64)>::new();
            while !done.load(Ordering::Relaxed) {
                for (id, name, seconds) in threads() {
                    seen.entry(id).or_insert((name, seconds, seconds)).2 = seconds;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            seen
        });
        let value = run();
        done.store(true, Ordering::Relaxed);
        (value, watcher.join())
    });
    let seen = seen.map_err(|_| "the watching thread panicked")?;
    let mut by_name = BTreeMap::new();
    for (name, first, last) in seen.into_values() {
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        // Those that were there before (the runtime's, a clock's) used next to nothing meanwhile.
        *by_name.entry(name.to_owned()).or_insert(0.0) += last - first.min(last);
    }
    by_name.retain(|_, seconds| *seconds >= 0.05);
    Ok((value, by_name))
}

/// Id, name and CPU-seconds of every thread there is.
fn threads() -> Vec<(String, String, f64)> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let task = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let name = fs::read_to_string(path.join("comm")).ok()?;
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let seconds = crate::usage::own_seconds(&stat).ok()?;
        let id = path.file_name()?.to_string_lossy().into_owned();
        Some((id, name.trim().to_owned(), seconds))
    };
    tasks.filter_map(task).collect()
}
