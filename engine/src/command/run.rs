//! `run`: the service.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{EngineArgs, Failure, load_rules, resolver};
use crate::config::{Config, Delivery, SourceConfig};
use crate::service::{Service, Watcher};
use crate::telemetry;

/// Options of `run` and `check`: laid over the configuration file.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  tollwatch run --brokers broker:9092 --source-topic gateway-logs
  tollwatch run -c tollwatch.toml --state /var/lib/tollwatch
  tollwatch run --brokers localhost:9092 --source-topic kong --format kong --alerts-topic - --exit-when-caught-up

SIGTERM and Ctrl-C end cleanly: what was acknowledged is committed, exit code 0.")]
pub struct RunArgs {
    /// Configuration file (TOML); docs/configuration.md lists its keys
    #[arg(short, long, env = "TOLLWATCH_CONFIG")]
    pub config: Option<PathBuf>,
    /// Bootstrap brokers, host:port, comma-separated
    #[arg(long, env = "TOLLWATCH_BROKERS")]
    pub brokers: Option<String>,
    /// Topic to read; may be given more than once
    #[arg(long, env = "TOLLWATCH_SOURCE_TOPIC", value_delimiter = ',')]
    pub source_topic: Vec<String>,
    /// Format of the topics given by --source-topic
    #[arg(long, env = "TOLLWATCH_FORMAT", default_value = "auto")]
    pub format: String,
    /// Consumer group; each stage reads as GROUP.STAGE
    #[arg(long, env = "TOLLWATCH_GROUP")]
    pub group: Option<String>,
    /// Name of this instance in its group, the same after a restart and no other's: its partitions come back at once
    #[arg(long, env = "TOLLWATCH_INSTANCE")]
    pub instance: Option<String>,
    /// Whether an alert may be in the results topic twice after a crash
    #[arg(long, env = "TOLLWATCH_DELIVERY")]
    pub delivery: Option<Delivery>,
    /// Where snapshots lie: file:///folder, s3://bucket/prefix, gs://…, az://…; STATE/snapshots without it
    #[arg(long, env = "TOLLWATCH_SNAPSHOTS_URL")]
    pub snapshots_url: Option<String>,
    /// Seconds between two looks at the folder of rules for other ones; 0 for never
    #[arg(long, env = "TOLLWATCH_RULES_RELOAD_SECONDS")]
    pub rules_reload_seconds: Option<u64>,
    /// Seconds between two snapshots of a lane
    #[arg(long, env = "TOLLWATCH_SNAPSHOTS_EVERY_SECONDS")]
    pub snapshots_every_seconds: Option<u64>,
    /// Folder of copies of all lanes' newest snapshots, so that a lane that comes here is put back from this disk
    #[arg(long, env = "TOLLWATCH_SNAPSHOTS_STANDBY")]
    pub snapshots_standby: Option<PathBuf>,
    /// Where the event lake lies: file:///folder, s3://bucket/prefix, gs://…, az://…; no lake without it
    #[arg(long, env = "TOLLWATCH_LAKE_URL")]
    pub lake_url: Option<String>,
    /// Folder of the key of the keyed hashes, and of snapshots
    #[arg(long, env = "TOLLWATCH_STATE")]
    pub state: Option<PathBuf>,
    /// Results topic; `-` for standard output, a path with a slash for a file
    #[arg(long, env = "TOLLWATCH_ALERTS_TOPIC")]
    pub alerts_topic: Option<String>,
    /// Whether findings of posture go to the topic PREFIXfindings when they change
    #[arg(long, env = "TOLLWATCH_FINDINGS")]
    pub findings: Option<bool>,
    /// Prefix of the names of the logs and the dead-letter topic
    #[arg(long, env = "TOLLWATCH_TOPIC_PREFIX")]
    pub topic_prefix: Option<String>,
    /// Partitions of each log, when it is made
    #[arg(long, env = "TOLLWATCH_PARTITIONS")]
    pub partitions: Option<i32>,
    /// Replicas of each topic, when it is made
    #[arg(long, env = "TOLLWATCH_REPLICATION")]
    pub replication: Option<i32>,
    /// `min.insync.replicas` of each topic, when it is made
    #[arg(long, env = "TOLLWATCH_MIN_INSYNC_REPLICAS")]
    pub min_insync_replicas: Option<i32>,
    /// Threads per stage
    #[arg(long, env = "TOLLWATCH_THREADS")]
    pub threads: Option<usize>,
    /// Address of /metrics, /livez and /readyz; empty for none
    #[arg(long, env = "TOLLWATCH_LISTEN")]
    pub listen: Option<String>,
    /// Ends when every partition has been read up to the end it had at the start
    #[arg(long)]
    pub exit_when_caught_up: bool,
    /// The models.
    #[command(flatten)]
    pub engine: EngineArgs,
}

impl RunArgs {
    /// The configuration: the file's, with these flags laid over it.
    ///
    /// # Errors
    /// The file, or one that holds a secret, can't be read.
    pub fn config(&self) -> Result<Config, Failure> {
        let mut config = match &self.config {
            None => Config::default(),
            Some(path) => read_config(path)?,
        };
        fn lay<T: Clone>(flag: &Option<T>, option: &mut T) {
            if let Some(value) = flag {
                option.clone_from(value);
            }
        }
        lay(&self.brokers, &mut config.brokers);
        lay(&self.group, &mut config.group);
        lay(&self.instance, &mut config.instance);
        lay(&self.delivery, &mut config.delivery);
        lay(&self.rules_reload_seconds, &mut config.rules_reload_seconds);
        lay(&self.snapshots_url, &mut config.snapshots.url);
        lay(
            &self.snapshots_every_seconds,
            &mut config.snapshots.every_seconds,
        );
        lay(&self.lake_url, &mut config.lake.url);
        lay(&self.state, &mut config.state);
        lay(&self.alerts_topic, &mut config.topics.alerts);
        lay(&self.findings, &mut config.topics.findings);
        lay(&self.topic_prefix, &mut config.topics.prefix);
        lay(&self.partitions, &mut config.topics.partitions);
        lay(&self.replication, &mut config.topics.replication);
        lay(
            &self.min_insync_replicas,
            &mut config.topics.min_insync_replicas,
        );
        lay(&self.threads, &mut config.threads);
        lay(&self.listen, &mut config.listen);
        if self.engine.rules.is_some() {
            config.rules.clone_from(&self.engine.rules);
        }
        if self.engine.lookups.is_some() {
            config.lookups.clone_from(&self.engine.lookups);
        }
        if self.engine.naming.templates.is_some() {
            config.templates.clone_from(&self.engine.naming.templates);
        }
        if !self.engine.naming.openapi.is_empty() {
            config.openapi.clone_from(&self.engine.naming.openapi);
        }
        if self.engine.naming.agents.is_some() {
            config.agents.clone_from(&self.engine.naming.agents);
        }
        if self.snapshots_standby.is_some() {
            let standby = &mut config.snapshots.standby;
            standby.clone_from(&self.snapshots_standby);
        }
        if !self.source_topic.is_empty() {
            let source = |topic: &String| SourceConfig {
                topic: topic.clone(),
                format: self.format.clone(),
            };
            config.sources = self.source_topic.iter().map(source).collect();
        }
        config.models = self.engine.models.over(&config.models);
        config
            .lay_secrets(std::env::vars_os())
            .map_err(ConfigFaults)?;
        Ok(config)
    }
}

/// The configuration of a file.
///
/// # Errors
/// It can't be read, or is none.
pub fn read_config(path: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(Config::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// Faults of a configuration as one error.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has faults:\n  {}", .0.join("\n  "))]
pub struct ConfigFaults(pub Vec<String>);

/// Runs the command.
///
/// # Errors
/// Whatever stopped the service.
pub fn run(args: &RunArgs) -> Result<u8, Failure> {
    run_service(args.config()?, args.exit_when_caught_up, None)?;
    Ok(0)
}

/// Runs the service until it is stopped, or has caught up.
///
/// # Errors
/// Whatever stopped it.
pub fn run_service(
    mut config: Config,
    exit_when_caught_up: bool,
    watcher: Option<Watcher>,
) -> Result<(), Failure> {
    let faults = config.faults();
    if !faults.is_empty() {
        return Err(ConfigFaults(faults).into());
    }
    let rules = load_rules(config.rules.as_deref(), config.lookups.as_deref())?;
    let resolver = resolver(Some(&config.state), config.privacy.pseudonymise)?;
    let templates = config.template_set()?;
    config.read_briefing()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let listen = config.listen.clone();
    // Caught from the beginning: a signal while topics are made must not end the process half-way.
    let _guard = runtime.enter();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| format!("cannot listen for SIGTERM: {error}"))?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .map_err(|error| format!("cannot listen for SIGINT: {error}"))?;
    let service = runtime.block_on(Service::start(config, rules, resolver, templates, watcher))?;
    let shared = service.shared.clone();
    if !listen.is_empty() {
        let served = runtime.block_on(telemetry::serve(&listen, shared.metrics.clone()));
        served.map_err(|error| {
            format!("cannot listen on {listen}: {error}; give --listen another address")
        })?;
    }
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
        tracing::info!("stopping: finishing what was read");
        shared.stop();
    });
    let done = if exit_when_caught_up {
        service.finish_when_caught_up()
    } else {
        service.finish()
    };
    runtime.shutdown_background();
    done?;
    Ok(())
}
