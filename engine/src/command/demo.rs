//! `demo`: the service over captured traffic on a broker inside the process.
//!
//! The broker is librdkafka's mock cluster: the same client code, the same topics and consumer groups
//! as `run`, without a machine to set up. It keeps 5 MiB a partition and forgets the oldest beyond
//! that, so the captures are produced no faster than the stages read.

use std::fs::File;
use std::io::{BufRead, BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::Table;
use connectors::file::{Line, Lines, decompress};
use connectors::kafka::{Outgoing, Writer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};

use super::eval::{self, told};
use super::{Failure, load_rules, plain_table, resolver};
use crate::alert::Alert;
use crate::config::{Config, Delivery, SnapshotConfig, SourceConfig, TopicConfig};
use crate::evaluation::times::Times;
use crate::evaluation::{Evaluation, Labels, Told};
use crate::log::Log;
use crate::service::{STAGES, Service, Shared, Watcher, cluster};
use crate::telemetry::StageLabel;

/// Options of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch demo
  tollwatch demo --alerts alerts.ndjson
  tollwatch demo --json

The captures: a day's worth of calls to two vulnerable APIs, of customers, jobs and attackers with
accounts of their own. Every call is labelled, so what is missed and what is false is counted too.")]
pub struct DemoArgs {
    /// Writes the alerts to this file as a SIEM gets them, one OCSF finding a line
    #[arg(long)]
    pub alerts: Option<PathBuf>,
    /// Rules to run (.sql); the shipped ones when absent
    #[arg(long)]
    pub rules: Option<PathBuf>,
    /// Folder of lookup tables (.csv, .parquet) that rules join with; none when absent
    #[arg(long, value_name = "DIR")]
    pub lookups: Option<PathBuf>,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

struct Capture {
    name: &'static str,
    what: &'static str,
    n_lines: u64,
    lines: &'static [u8],
    labels: &'static [u8],
}

const CAPTURES: [Capture; 2] = [
    Capture {
        name: "ledger",
        what: "an invoice API behind Apache, combined log",
        n_lines: 96_263,
        lines: include_bytes!("../../demo/ledger.log.xz"),
        labels: include_bytes!("../../demo/ledger.labels.tsv.xz"),
    },
    Capture {
        name: "vampi",
        what: "a user and book API behind NGINX, JSON log",
        n_lines: 137_000,
        lines: include_bytes!("../../demo/vampi.ndjson.xz"),
        labels: include_bytes!("../../demo/vampi.labels.tsv.xz"),
    },
];

/// Rows a stage may be behind the one before it: a partition of 5 MiB holds them uncompressed.
const ROWS_BEHIND_MAX: u64 = 4096;

/// Runs the command.
///
/// # Errors
/// The broker does not start, a rule is wrong, or the alerts can't be written.
pub fn run(args: &DemoArgs) -> Result<u8, Failure> {
    let alerts = match &args.alerts {
        None => None,
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            Some(Arc::new(Mutex::new(BufWriter::new(file))))
        }
    };
    let broker = MockCluster::new(1).map_err(|error| format!("no broker: {error}"))?;
    let mut shown = Vec::new();
    for capture in &CAPTURES {
        if !args.json {
            println!("\n{}: {}", capture.name, capture.what);
        }
        let result = show(capture, &broker, args, alerts.clone())?;
        if !args.json {
            println!("{}", eval::table(&result.evaluation));
        }
        shown.push(result);
    }
    if let Some(file) = alerts {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush()?;
    }
    if args.json {
        println!("{}", as_json(&shown));
    } else {
        println!("\n{}\n{}", table(&shown), summary(&shown));
    }
    Ok(0)
}

/// One capture's result.
struct Shown {
    name: &'static str,
    evaluation: Evaluation,
    seconds: f64,
    p50_ms: u64,
    p99_ms: u64,
}

/// The configuration of a service that reads one topic of an embedded broker, whose topics are made.
pub(super) fn embedded(
    broker: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>,
    topic: &str,
) -> Result<Config, Failure> {
    let prefix = format!("{topic}.");
    let config = Config {
        brokers: broker.bootstrap_servers(),
        sources: vec![SourceConfig {
            topic: topic.to_owned(),
            format: "auto".to_owned(),
        }],
        group: topic.to_owned(),
        topics: TopicConfig {
            alerts: format!("{prefix}alerts"),
            prefix,
            create: false,
            partitions: 1,
            ..TopicConfig::default()
        },
        // The embedded broker has no transactions, and nothing is to stay behind.
        delivery: Delivery::AtLeastOnce,
        snapshots: SnapshotConfig {
            url: "memory:///".to_owned(),
            ..SnapshotConfig::default()
        },
        ..Config::default()
    };
    broker.create_topic(topic, 1, 1)?;
    for log in Log::ALL {
        broker.create_topic(&config.log_topic(log), 1, 1)?;
    }
    broker.create_topic(&config.dead_letter_topic(), 1, 1)?;
    broker.create_topic(&config.inventory_topic(), 1, 1)?;
    if let Some(topic) = config.findings_topic() {
        broker.create_topic(&topic, 1, 1)?;
    }
    broker.create_topic(&config.topics.alerts, 1, 1)?;
    Ok(config)
}

/// Sends a capture through a service of its own; services share the broker by their prefixes.
fn show(
    capture: &Capture,
    broker: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>,
    args: &DemoArgs,
    alerts: Option<Arc<Mutex<BufWriter<File>>>>,
) -> Result<Shown, Failure> {
    let labels = Labels::parse(decompress(capture.labels)?)?;
    let config = embedded(broker, capture.name)?;
    let bar = progress(capture.n_lines, args.json);
    let heard = Arc::new(Mutex::new(Vec::<Told>::new()));
    let watcher: Watcher = {
        let (bar, heard, quiet) = (bar.clone(), heard.clone(), args.json);
        Arc::new(move |alert: &Alert| {
            if let Some(file) = &alerts {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                // A full disk shows when the file is flushed at the end.
                let _ = writeln!(file, "{}", alert.json);
            }
            if !quiet && alert.activity_id == 1 {
                let line = format!(
                    "  {:<9} {:<26} {}",
                    severity(alert),
                    alert.rule,
                    alert.title
                );
                bar.suspend(|| println!("{line}"));
            }
            // One partition holds the lines in order; labels count them from 1.
            let line = alert.position.2 + 1;
            heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(told(alert, line));
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rules = load_rules(args.rules.as_deref(), args.lookups.as_deref())?;
    let writer = cluster(&config).writer()?;
    let service = Service::start(
        config,
        rules,
        resolver(None, false)?,
        Arc::default(),
        Some(watcher),
    );
    let service = runtime.block_on(service)?;
    let started = Instant::now();
    produce(capture, &writer, &service.shared, &bar)?;
    let shared = service.finish_when_caught_up()?;
    let seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();

    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Shown {
        name: capture.name,
        evaluation: Evaluation::of(&labels, &heard, &Times::default()),
        seconds,
        p50_ms: shared.metrics.latency_ms(0.5),
        p99_ms: shared.metrics.latency_ms(0.99),
    })
}

/// Writes a capture's lines, no faster than they are read.
fn produce(
    capture: &Capture,
    writer: &Writer,
    shared: &Shared,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let reader: Box<dyn BufRead + Send> = decompress(capture.lines)?;
    let mut n_sent = 0;
    for line in Lines::new(reader) {
        let Line::Bytes { bytes, .. } = line? else {
            return Err(format!("{}: a line is too long", capture.name).into());
        };
        let outgoing = Outgoing {
            topic: capture.name,
            partition: Some(0),
            key: None,
            value: &bytes,
        };
        writer.send(outgoing, std::iter::empty())?;
        n_sent += 1;
        if n_sent % 256 == 0 {
            bar.set_position(n_sent);
            // A service that has failed says why when it is joined.
            while rows_behind(shared, n_sent) > ROWS_BEHIND_MAX && !shared.stopping() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    Ok(writer.flush()?)
}

/// How far the slowest stage is behind the one before it.
fn rows_behind(shared: &Shared, n_sent: u64) -> u64 {
    let metrics = &shared.metrics;
    let stage = |at: usize| StageLabel { stage: STAGES[at] };
    let behind = |at: usize| {
        let written = metrics.rows_written.get_or_create(&stage(at - 1)).get();
        written.saturating_sub(metrics.rows.get_or_create(&stage(at)).get())
    };
    let decode = n_sent.saturating_sub(metrics.rows.get_or_create(&stage(0)).get());
    (1..STAGES.len()).map(behind).fold(decode, u64::max)
}

fn severity(alert: &Alert) -> &'static str {
    match alert.severity_id {
        1 => "info",
        2 => "low",
        3 => "medium",
        4 => "high",
        _ => "critical",
    }
}

fn progress(n_lines: u64, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(n_lines), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("  [{bar:30}] {human_pos} calls, {per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn table(shown: &[Shown]) -> Table {
    let mut table = plain_table();
    table.set_header([
        "capture",
        "calls",
        "found",
        "false alerts",
        "posture",
        "calls/s",
        "event to alert p50",
        "p99",
    ]);
    for capture in shown {
        let evaluation = &capture.evaluation;
        table.add_row([
            capture.name.to_owned(),
            evaluation.n_events.to_string(),
            format!("{} of {}", evaluation.n_found(), evaluation.episodes.len()),
            evaluation.false_alerts.len().to_string(),
            evaluation.n_posture.to_string(),
            format!("{:.0}", evaluation.n_events as f64 / capture.seconds),
            format!("{} ms", capture.p50_ms),
            format!("{} ms", capture.p99_ms),
        ]);
    }
    table
}

fn summary(shown: &[Shown]) -> String {
    let sum = |of: fn(&Evaluation) -> usize| shown.iter().map(|s| of(&s.evaluation)).sum::<usize>();
    format!(
        "{} of {} attack episodes found, {} false alerts in {} calls. Latency is under full load.",
        sum(Evaluation::n_found),
        sum(|evaluation| evaluation.episodes.len()),
        sum(|evaluation| evaluation.false_alerts.len()),
        sum(|evaluation| evaluation.n_events),
    )
}

fn as_json(shown: &[Shown]) -> Value {
    let captures = shown.iter().map(|capture| {
        let mut value = eval::as_json(&capture.evaluation);
        value["seconds"] = json!(capture.seconds);
        value["event_to_alert_p50_ms"] = json!(capture.p50_ms);
        value["event_to_alert_p99_ms"] = json!(capture.p99_ms);
        (capture.name.to_owned(), value)
    });
    Value::Object(captures.collect())
}
