//! `collect`: logs from where they are written into a source topic, for who has no shipper.
//!
//! Files, standard input, HTTP and gRPC, each with its own promise ([`files`], [`input`], [`receiver`]); one process is one collector,
//! with a name that is its own. What it writes is what a gateway would: the line as it is, or an export request of OTLP.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use connectors::kafka::Topic;
use indicatif::ProgressBar;
use serde_json::json;

use super::Failure;
use super::deliver::{secret_of, stop_on_signals};
use super::run::{ConfigFaults, RunArgs};
use crate::config::Config;
use crate::service::{self, cluster};
use crate::telemetry::{self, Metrics, OriginLabel};

mod files;
mod input;
mod limited;
mod receiver;

/// Longest time that is waited for what is under way when it ends.
const END_WAIT: Duration = Duration::from_secs(30);
/// How often it is looked whether something has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Options of `collect`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch collect --brokers broker:9092 --topic gateway-logs --file '/var/log/nginx/*.json'
  tollwatch collect -c tollwatch.toml --topic alb --directory /mnt/alb --once
  tollwatch collect --brokers broker:9092 --topic spans --listen 127.0.0.1:4318
  tollwatch collect --brokers broker:9092 --topic spans --listen-grpc 127.0.0.1:4317
  tollwatch collect --brokers broker:9092 --topic kong --listen 0.0.0.0:8480 --token-file /run/secrets/token
  kubectl logs -f deploy/gateway | tollwatch collect --brokers broker:9092 --topic gateway-logs -

Of files each line comes exactly once, for readers of committed records, whatever is killed; by HTTP and gRPC at least once; of
standard input once, but for what was read and not written when it is killed. docs/collect.md says more.")]
pub struct CollectArgs {
    /// Standard input, lines
    #[arg(value_name = "-", value_parser = ["-"])]
    pub stdin: Option<String>,
    /// Topic to write; made if it is missing
    #[arg(long, env = "TOLLWATCH_COLLECT_TOPIC")]
    pub topic: String,
    /// Files to follow: a path or a pattern (*, ?, […], **), quoted; may be given more than once
    #[arg(long, value_name = "PATTERN")]
    pub file: Vec<String>,
    /// Folder whose files to follow, those of folders below it too
    #[arg(long, value_name = "DIR")]
    pub directory: Vec<PathBuf>,
    /// Address of the receiver: POST /v1/traces and /v1/logs (OTLP), POST /v1/logs/raw (JSON or text lines)
    #[arg(long, value_name = "ADDRESS", env = "TOLLWATCH_COLLECT_LISTEN")]
    pub listen: Option<String>,
    /// Address of the receiver of OTLP over gRPC, traces and logs
    #[arg(long, value_name = "ADDRESS", env = "TOLLWATCH_COLLECT_LISTEN_GRPC")]
    pub listen_grpc: Option<String>,
    /// File with a token that senders must show (Authorization: Bearer …); or TOLLWATCH_COLLECT_TOKEN
    #[arg(long, value_name = "FILE", env = "TOLLWATCH_COLLECT_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Name of this collector, no other's, the same after a restart: places in files are kept under it; the host's when absent
    #[arg(long, env = "TOLLWATCH_COLLECT_NAME")]
    pub name: Option<String>,
    /// Ends when what is in the files, or in standard input, is written
    #[arg(long)]
    pub once: bool,
    /// Prints one JSON object with the counts at the end
    #[arg(long)]
    pub json: bool,
    /// Configuration file of the service: brokers, [kafka] properties and [topics] are taken from it
    #[arg(short, long, env = "TOLLWATCH_CONFIG")]
    pub config: Option<PathBuf>,
    /// Bootstrap brokers, host:port, comma-separated
    #[arg(long, env = "TOLLWATCH_BROKERS")]
    pub brokers: Option<String>,
    /// Prefix of the topic of places, PREFIXcollected
    #[arg(long, env = "TOLLWATCH_TOPIC_PREFIX")]
    pub topic_prefix: Option<String>,
    /// Address of /metrics, /livez and /readyz; none when absent
    #[arg(long, value_name = "ADDRESS", env = "TOLLWATCH_COLLECT_METRICS")]
    pub metrics: Option<String>,
}

impl CollectArgs {
    fn config(&self) -> Result<Config, Failure> {
        let run = RunArgs {
            config: self.config.clone(),
            brokers: self.brokers.clone(),
            topic_prefix: self.topic_prefix.clone(),
            ..RunArgs::default()
        };
        run.config()
    }

    fn listens(&self) -> bool {
        self.listen.is_some() || self.listen_grpc.is_some()
    }

    fn has_files(&self) -> bool {
        !self.file.is_empty() || !self.directory.is_empty()
    }

    fn name(&self) -> String {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        self.name
            .clone()
            .unwrap_or_else(|| host().trim().to_owned())
    }
}

/// Faults of the options that can be told before anything is opened.
fn faults(args: &CollectArgs, config: &Config, places: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if config.brokers.is_empty() {
        faults.push("brokers is empty: say where Kafka is, with --brokers or -c".to_owned());
    }
    if !args.has_files() && args.stdin.is_none() && !args.listens() {
        faults.push(
            "nothing to collect: give --file, --directory, --listen, --listen-grpc, or - for standard input"
                .to_owned(),
        );
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name = args.name();
    if args.has_files() && (name.is_empty() || !name.chars().all(is_word)) {
        faults.push("--name takes letters, digits, `.`, `-` and `_`".to_owned());
    }
    let prefix = &config.topics.prefix;
    if args.topic == places || (!prefix.is_empty() && args.topic.starts_with(prefix)) {
        faults.push(format!(
            "topics that begin with {prefix} are tollwatch's own; give --topic another name"
        ));
    }
    if args.once && args.listens() {
        faults.push("--once ends, and a receiver never does; give one of them".to_owned());
    }
    faults
}

/// What the parts of a collector share.
#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    n_records: Arc<AtomicU64>,
    n_bytes: Arc<AtomicU64>,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Counts records that Kafka has.
    fn written(&self, origin: &'static str, n_records: u64, n_bytes: u64) {
        self.n_records.fetch_add(n_records, Ordering::Relaxed);
        self.n_bytes.fetch_add(n_bytes, Ordering::Relaxed);
        let label = OriginLabel { origin };
        let metrics = &self.metrics;
        metrics.collected.get_or_create(&label).inc_by(n_records);
        metrics
            .collected_bytes
            .get_or_create(&label)
            .inc_by(n_bytes);
        metrics.set_ready(true);
    }
}

/// Runs the command.
///
/// # Errors
/// An option is wrong, the brokers don't answer, or a source fails.
pub fn run(args: &CollectArgs) -> Result<u8, Failure> {
    let config = args.config()?;
    let places = format!("{}collected", config.topics.prefix);
    let faults = faults(args, &config, &places);
    if !faults.is_empty() {
        return Err(ConfigFaults(faults).into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let shared = Shared {
        metrics: Arc::new(Metrics::new()),
        stop: Arc::new(AtomicBool::new(false)),
        n_records: Arc::default(),
        n_bytes: Arc::default(),
    };
    runtime.block_on(stop_on_signals(&shared.stop))?;
    if let Some(listen) = &args.metrics {
        let served = runtime.block_on(telemetry::serve(listen, shared.metrics.clone()));
        served.map_err(|error| {
            format!("cannot listen on {listen}: {error}; give --metrics another address")
        })?;
    }
    let cluster = cluster(&config);
    let topic = service::topic(&config.topics, &args.topic, config.topics.partitions);
    runtime.block_on(cluster.ensure(&topic))?;
    let began = Instant::now();
    let bar = progress();
    let input = match &args.stdin {
        Some(_) => Some(input::Input::start(&cluster, &args.topic, shared.clone())?),
        None => None,
    };
    let receiver = match args.listens() {
        true => {
            let token = match (&args.token_file, std::env::var("TOLLWATCH_COLLECT_TOKEN")) {
                (Some(path), _) => Some(secret_of(path)?),
                (None, Ok(token)) if !token.trim().is_empty() => {
                    Some(connectors::sink::Secret::new(&token))
                }
                (None, _) => None,
            };
            let listen = (args.listen.as_deref(), args.listen_grpc.as_deref());
            let to = (cluster.clone(), args.topic.clone());
            let start = receiver::Receiver::start(listen, to, token, shared.clone());
            Some(runtime.block_on(start)?)
        }
        false => None,
    };
    let mut n_files = 0;
    if args.has_files() {
        let compacted = Topic {
            retention_ms: None,
            ..service::topic(&config.topics, &places, 1)
        };
        runtime.block_on(cluster.ensure(&compacted))?;
        let to = files::To {
            topic: args.topic.clone(),
            places,
            group: config.group.clone(),
            name: args.name(),
        };
        let mut files = files::Files::open(&cluster, to, args, shared.clone())?;
        files.run(args.once, &bar)?;
        n_files = files.n_files();
    }
    // What has no files ends with its input, or when it is told to.
    while !shared.stopped() {
        let is_input_over = input.as_ref().is_none_or(input::Input::is_over);
        if is_input_over && receiver.is_none() {
            break;
        }
        std::thread::sleep(LOOK);
    }
    shared.stop.store(true, Ordering::Relaxed);
    if let Some(receiver) = receiver {
        receiver.finish(END_WAIT);
    }
    if let Some(input) = input {
        input.finish(END_WAIT)?;
    }
    bar.finish_and_clear();
    runtime.shutdown_background();
    let (n, n_bytes) = (
        shared.n_records.load(Ordering::Relaxed),
        shared.n_bytes.load(Ordering::Relaxed),
    );
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        println!(
            "{}",
            json!({ "topic": args.topic, "records": n, "bytes": n_bytes, "files": n_files, "seconds": seconds })
        );
    } else {
        eprintln!(
            "{n} records, {n_bytes} bytes, into {} in {seconds:.1} s; {n_files} files",
            args.topic
        );
    }
    Ok(0)
}

/// A line on the terminal, when somebody looks.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
