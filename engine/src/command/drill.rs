//! `drill`: exercises, run end to end against a service.
//!
//! "Ten new agents tomorrow: how long until we know which APIs they use?" [`agents`] makes ten, lets them call APIs and tools, and
//! watches the inventory topic until all they used is in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use connectors::kafka::{Outgoing, Writer};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rdkafka::mocking::MockCluster;
use serde_json::{Value, json};

use super::demo::embedded;
use super::inventory::source::newest_of;
use super::run::RunArgs;
use super::{Failure, load_rules, plain_table, resolver};
use crate::config::Config;
use crate::inventory::{AGENT, SERVER, TOOL};
use crate::service::{Service, cluster};

use exercise::{Exercise, Use};

mod exercise;

/// How often calls are written.
const TICK: Duration = Duration::from_millis(200);
/// How often the topic is looked at: what is measured is at most this too long.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The exercises.
#[derive(Debug, Subcommand)]
pub enum DrillCommand {
    /// New AI agents: how long until each API and tool they use is listed as theirs
    Agents(AgentDrillArgs),
}

/// Options of `drill agents`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch drill agents --n 10
  tollwatch drill agents --brokers broker:9092 --source-topic kong-logs --topic-prefix tollwatch.
  tollwatch drill agents --n 3 --seconds 5 --json

Without --brokers a service runs on an embedded broker. With it, calls that look like Kong's are written to a source
topic of a service that runs: their hosts end in `.drill.example`, their callers begin with `drill-`, and both stay in
its inventory.

Exit code 1 when something is not listed in time.")]
pub struct AgentDrillArgs {
    /// Agents, 1 to 50
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub n: u8,
    /// Time in which they appear, in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub seconds: u16,
    /// Time to wait for what is not listed when all have appeared, in seconds
    #[arg(long, default_value_t = 120)]
    pub patience_seconds: u16,
    /// What they use is drawn from this
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Bootstrap brokers of a running service, host:port, comma-separated
    #[arg(long, requires = "source_topic")]
    pub brokers: Option<String>,
    /// Configuration file of the running service, for its brokers' properties and the topic's prefix
    #[arg(short, long)]
    pub config: Option<PathBuf>,
    /// Source topic of the running service to write calls to
    #[arg(long)]
    pub source_topic: Option<String>,
    /// Prefix of the running service's topics
    #[arg(long)]
    pub topic_prefix: Option<String>,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The broker can't be reached, or the service fails.
pub fn run(command: &DrillCommand) -> Result<u8, Failure> {
    match command {
        DrillCommand::Agents(args) => agents(args),
    }
}

fn agents(args: &AgentDrillArgs) -> Result<u8, Failure> {
    if let Some(topic) = &args.source_topic {
        let run = RunArgs {
            config: args.config.clone(),
            brokers: args.brokers.clone(),
            topic_prefix: args.topic_prefix.clone(),
            ..RunArgs::default()
        };
        let config = run.config()?;
        if config.brokers.is_empty() {
            return Err(
                "--source-topic needs --brokers HOST:PORT, or a --config that names them".into(),
            );
        }
        return drilled(args, &config, topic);
    }
    let topic = "drill";
    let broker = MockCluster::new(1).map_err(|error| format!("no broker: {error}"))?;
    let config = embedded(&broker, topic)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let service = Service::start(
        config.clone(),
        load_rules(None, None)?,
        resolver(None, false)?,
        Arc::default(),
        None,
    );
    let service = runtime.block_on(service)?;
    let code = drilled(args, &config, topic)?;
    service.finish_when_caught_up()?;
    Ok(code)
}

/// What is known of one use.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// When its first call was written.
    called: Option<Instant>,
    /// When it was listed.
    listed: Option<Instant>,
}

impl Seen {
    fn took(&self) -> Option<Duration> {
        Some(self.listed?.saturating_duration_since(self.called?))
    }
}

fn drilled(args: &AgentDrillArgs, config: &Config, topic: &str) -> Result<u8, Failure> {
    let now_ms = wall_ms();
    let exercise = Exercise::new(usize::from(args.n), args.seed, now_ms as u64);
    let uses: Vec<&Use> = exercise.uses().collect();
    let writer = cluster(config).writer()?;
    let (began, stop) = (Instant::now(), AtomicBool::new(false));
    let length = Duration::from_secs(args.seconds.into());
    let until = length + Duration::from_secs(args.patience_seconds.into());
    let seen = std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(&exercise, &writer, topic, length, &stop));
        let looked = look(config, &uses, began, until, args.json);
        stop.store(true, Ordering::Relaxed);
        let called = sender
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let listed = looked?;
        let seen = called.into_iter().zip(listed);
        Ok::<_, Failure>(
            seen.map(|(called, listed)| Seen { called, listed })
                .collect::<Vec<_>>(),
        )
    })?;
    let report = Report::new(&exercise, &seen)?;
    match args.json {
        true => println!("{}", report.json()),
        false => println!("{}", report.table()),
    }
    Ok(u8::from(report.n_missing > 0))
}

/// Writes the calls of agents and of everybody else until told to stop; when each use was first called.
fn send(
    exercise: &Exercise,
    writer: &Writer,
    topic: &str,
    length: Duration,
    stop: &AtomicBool,
) -> Result<Vec<Option<Instant>>, Failure> {
    let began = Instant::now();
    let n_ticks = (length.as_millis() / TICK.as_millis()).max(1) as usize;
    let mut called = vec![None; exercise.uses().count()];
    let mut tick = 0;
    while !stop.load(Ordering::Relaxed) {
        let calls = exercise.calls(tick, n_ticks);
        for (of, line) in calls.iter().map(|call| (call.of, call.line(wall_ms()))) {
            let outgoing = Outgoing {
                topic,
                partition: None,
                key: None,
                value: line.as_bytes(),
            };
            writer.send(outgoing, std::iter::empty())?;
            if let Some(of) = of {
                called[of].get_or_insert_with(Instant::now);
            }
        }
        tick += 1;
        std::thread::sleep((began + TICK * tick as u32).saturating_duration_since(Instant::now()));
    }
    writer.flush()?;
    Ok(called)
}

/// Looks at the topic until every use is listed; when each was.
fn look(
    config: &Config,
    uses: &[&Use],
    began: Instant,
    until: Duration,
    quiet: bool,
) -> Result<Vec<Option<Instant>>, Failure> {
    let mut listed = vec![None; uses.len()];
    let bar = progress(uses.len() as u64, quiet);
    while began.elapsed() < until && listed.contains(&None) {
        std::thread::sleep(LOOK_EVERY);
        let newest = newest_of(config)?;
        let now = Instant::now();
        let records = parsed(&newest);
        for (listed, used) in listed.iter_mut().zip(uses) {
            if listed.is_none() && is_listed(&records, &newest, used) {
                *listed = Some(now);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(listed)
}

fn progress(n_uses: u64, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(n_uses), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("  [{bar:30}] {pos} of {len} listed, {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The records of agents, by key.
fn parsed(newest: &BTreeMap<String, String>) -> BTreeMap<&str, Value> {
    let agents = newest.range(format!("{AGENT}/drill-")..);
    agents
        .take_while(|(key, _)| key.starts_with(AGENT))
        .filter_map(|(key, json)| Some((key.as_str(), serde_json::from_str(json).ok()?)))
        .collect()
}

/// Whether a use is in the agent's record, and what it uses has a record itself.
fn is_listed(
    records: &BTreeMap<&str, Value>,
    newest: &BTreeMap<String, String>,
    used: &Use,
) -> bool {
    let Some(agent) = records.get(format!("{AGENT}/{}", used.agent).as_str()) else {
        return false;
    };
    let has = |field: &str, name: &str| {
        let kept = agent[field]["kept"].as_array();
        kept.is_some_and(|kept| kept.iter().any(|named| named["name"] == *name))
    };
    let is_known = |schema: &str, name: &str| newest.contains_key(&format!("{schema}/{name}"));
    match &used.tool {
        Some((server, tool)) => {
            let name = format!("{server} {tool}");
            has("tools", &name) && is_known(TOOL, &name) && is_known(SERVER, server)
        }
        None => has("endpoints", &used.endpoint) && newest.contains_key(&used.endpoint),
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// What came of it.
struct Report {
    /// Agent, how it is known, its uses, and how long each took, ms.
    rows: Vec<(String, &'static str, usize, Vec<Option<u64>>)>,
    times: Histogram<u64>,
    n_missing: usize,
}

impl Report {
    fn new(exercise: &Exercise, seen: &[Seen]) -> Result<Report, Failure> {
        let mut rows: Vec<(String, &'static str, usize, Vec<Option<u64>>)> = Vec::new();
        // Up to two hours, the longest drill there is, in three digits.
        let mut times = Histogram::new_with_max(7_200_000, 3)?;
        let mut n_missing = 0;
        for (used, seen) in exercise.uses().zip(seen) {
            let ms = seen.took().map(|took| took.as_millis() as u64);
            match ms {
                Some(ms) => times.saturating_record(ms.max(1)),
                None => n_missing += 1,
            }
            match rows.last_mut().filter(|row| row.0 == used.agent) {
                Some(row) => {
                    row.2 += 1;
                    row.3.push(ms);
                }
                None => rows.push((used.agent.clone(), used.known_by, 1, vec![ms])),
            }
        }
        Ok(Report {
            rows,
            times,
            n_missing,
        })
    }

    fn quantile(&self, share: f64) -> f64 {
        self.times.value_at_quantile(share) as f64 / 1000.0
    }

    fn table(&self) -> String {
        let mut table = plain_table();
        table.set_header(["agent", "known by", "APIs and tools", "all listed after"]);
        for (agent, known_by, n, took) in &self.rows {
            let all = took.iter().copied().collect::<Option<Vec<u64>>>();
            let all = all.and_then(|took| took.into_iter().max());
            table.add_row([
                agent.clone(),
                (*known_by).to_owned(),
                n.to_string(),
                all.map_or("not in time".to_owned(), |ms| {
                    format!("{:.1} s", ms as f64 / 1000.0)
                }),
            ]);
        }
        let n = self.times.len() + self.n_missing as u64;
        format!(
            "{table}\n\n{} agents, {n} APIs and tools: {} listed, p50 {:.1} s, p95 {:.1} s, the last after {:.1} s from its first call",
            self.rows.len(),
            self.times.len(),
            self.quantile(0.5),
            self.quantile(0.95),
            self.quantile(1.0),
        )
    }

    fn json(&self) -> Value {
        let agents = self.rows.iter().map(|(agent, known_by, n, took)| {
            json!({ "agent": agent, "known_by": known_by, "uses": n, "listed_after_ms": took })
        });
        json!({
            "agents": agents.collect::<Vec<_>>(), "uses": self.times.len() + self.n_missing as u64, "missing": self.n_missing,
            "p50_seconds": self.quantile(0.5), "p95_seconds": self.quantile(0.95), "max_seconds": self.quantile(1.0),
        })
    }
}
