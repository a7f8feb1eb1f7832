//! `deliver`: alerts from their topic, or findings of posture from theirs, to one sink, as the sink takes them.
//!
//! One process is one sink, with a consumer group of its own: a sink that is slow or away holds up no other, and nothing of the
//! detection. Its place in the alerts topic moves only past what the sink has taken, was not wanted, or lies in the dead letters.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use connectors::kafka::transaction::Transactor;
use connectors::sink::{FileSink, Secret, Sink, SinkConfig, Target};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::render::{Choice, Form};
use super::run::{ConfigFaults, RunArgs};
use crate::config::Config;
use crate::service::{self, cluster, process};
use crate::telemetry::{self, Metrics};

use delivering::{Dead, Delivering, Out, Written};

mod delivering;
mod reader;
mod schema;

/// Options of `deliver`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch deliver -c tollwatch.toml --name siem --to tls://siem.example:6514 --as cef
  tollwatch deliver -c tollwatch.toml --name splunk --to https://splunk.example:8088/services/collector/event \\
      --as hec --token-file /run/secrets/hec --dead-letters topic:tollwatch.undelivered
  tollwatch deliver -c tollwatch.toml --name chat --to @/run/secrets/slack-url --as slack --min-severity high
  tollwatch deliver -c tollwatch.toml --name elastic --to topic:soc.alerts-ecs --as ecs
  tollwatch deliver -c tollwatch.toml --findings --name posture --to topic:soc.findings-ecs --as ecs
  tollwatch deliver -c tollwatch.toml --name lake --to topic:soc.alerts-avro --as avro
  tollwatch deliver --brokers broker:9092 --name nightly --to file:alerts.json --as json --once

To a topic each alert comes exactly once, elsewhere at least once: drop what has an id that was seen. Without
--dead-letters nothing is given up: what fails is tried for ever, and an alert that is refused ends the process with its
place kept. docs/outputs.md has the promise of each sink and recipes for SIEMs.")]
pub struct DeliverArgs {
    /// Name of this sink, no other's: its place in the alerts topic is kept under it, as GROUP.deliver.NAME
    #[arg(long, env = "TOLLWATCH_DELIVER_NAME")]
    pub name: String,
    /// Where to: stdout, file:PATH, tcp://HOST:PORT and tls://HOST:PORT (syslog), https://…, topic:NAME; @FILE reads it
    /// from a file, as it may be a secret
    #[arg(
        long,
        value_name = "TARGET",
        env = "TOLLWATCH_DELIVER_TO",
        hide_env_values = true
    )]
    pub to: String,
    /// Which alerts, and as what.
    #[command(flatten)]
    pub choice: Choice,
    /// Delivers the findings of posture, as they change, instead of the alerts
    #[arg(long, conflicts_with = "alerts_topic")]
    pub findings: bool,
    /// Subject of the schema in the registry, with --as avro; TOPIC-value when absent
    #[arg(long, value_name = "NAME", env = "TOLLWATCH_DELIVER_SUBJECT")]
    pub subject: Option<String>,
    /// Only looks the schema up, with --as avro: somebody else registers what `render --avro-schema` prints
    #[arg(long)]
    pub no_register: bool,
    /// Where goes what the sink refuses, or does not take in so many --tries: file:PATH or topic:NAME
    #[arg(long, value_name = "TARGET", env = "TOLLWATCH_DELIVER_DEAD_LETTERS")]
    pub dead_letters: Option<Target>,
    /// Tries before an alert goes to the dead letters; waits between them double from 1 s to 60 s
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub tries: u32,
    /// File with the token of an HTTP sink; or TOLLWATCH_DELIVER_TOKEN
    #[arg(long, value_name = "FILE", env = "TOLLWATCH_DELIVER_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) of authorities to trust, instead of the system's
    #[arg(long, value_name = "FILE", env = "TOLLWATCH_DELIVER_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate chain (PEM) to show to a syslog server
    #[arg(
        long,
        value_name = "FILE",
        env = "TOLLWATCH_DELIVER_TLS_CERT",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "TOLLWATCH_DELIVER_TLS_KEY",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// Ends when what is in the topic is delivered
    #[arg(long)]
    pub once: bool,
    /// Prints one JSON object with the counts at the end
    #[arg(long)]
    pub json: bool,
    /// Configuration file of the service: brokers, [kafka] properties, group and alerts topic are taken from it
    #[arg(short, long, env = "TOLLWATCH_CONFIG")]
    pub config: Option<PathBuf>,
    /// Bootstrap brokers, host:port, comma-separated
    #[arg(long, env = "TOLLWATCH_BROKERS")]
    pub brokers: Option<String>,
    /// Topic to read
    #[arg(long, env = "TOLLWATCH_ALERTS_TOPIC")]
    pub alerts_topic: Option<String>,
    /// Prefix of the name of the topic of findings
    #[arg(long, env = "TOLLWATCH_TOPIC_PREFIX")]
    pub topic_prefix: Option<String>,
    /// The service's group
    #[arg(long, env = "TOLLWATCH_GROUP")]
    pub group: Option<String>,
    /// Name of this instance among several with one --name, the same after a restart
    #[arg(long, env = "TOLLWATCH_INSTANCE")]
    pub instance: Option<String>,
    /// Address of /metrics, /livez and /readyz; none when absent
    #[arg(long, env = "TOLLWATCH_DELIVER_LISTEN")]
    pub listen: Option<String>,
}

impl DeliverArgs {
    fn config(&self) -> Result<Config, Failure> {
        let run = RunArgs {
            config: self.config.clone(),
            brokers: self.brokers.clone(),
            alerts_topic: self.alerts_topic.clone(),
            topic_prefix: self.topic_prefix.clone(),
            group: self.group.clone(),
            instance: self.instance.clone(),
            ..RunArgs::default()
        };
        let mut config = run.config()?;
        if self.findings {
            let topic = config.findings_topic();
            config.topics.alerts = topic.ok_or(
                "findings are not written, as topics.findings is false; `posture list` has them from the inventory topic",
            )?;
        }
        Ok(config)
    }

    fn target(&self) -> Result<Target, Failure> {
        let text = match self.to.strip_prefix('@') {
            Some(path) => secret_of(Path::new(path))?.text().to_owned(),
            None => self.to.clone(),
        };
        Ok(text.parse()?)
    }

    fn token(&self) -> Result<Option<Secret>, Failure> {
        match (&self.token_file, std::env::var("TOLLWATCH_DELIVER_TOKEN")) {
            (Some(path), _) => Ok(Some(secret_of(path)?)),
            (None, Ok(token)) if !token.trim().is_empty() => Ok(Some(Secret::new(&token))),
            (None, _) => Ok(None),
        }
    }
}

/// A secret from its file.
pub(super) fn secret_of(path: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    match Secret::new(&text) {
        secret if secret.text().is_empty() => Err(format!("{} is empty", path.display()).into()),
        secret => Ok(secret),
    }
}

/// Faults of the options that can be told before anything is opened.
fn faults(args: &DeliverArgs, config: &Config, target: &Target) -> Vec<String> {
    let mut faults = Vec::new();
    let topic = &config.topics.alerts;
    if config.brokers.is_empty() {
        faults.push("brokers is empty: say where Kafka is, with --brokers or -c".to_owned());
    }
    if !config.alerts_to_topic() {
        faults.push(format!(
            "alerts go to {topic}, and are read from a topic; give --alerts-topic"
        ));
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if args.name.is_empty() || !args.name.chars().all(is_word) {
        faults.push("--name takes letters, digits, `.`, `-` and `_`".to_owned());
    }
    for target in std::iter::once(target).chain(&args.dead_letters) {
        if *target == Target::Topic(topic.clone()) {
            faults.push(format!("{topic} is read, so nothing is written to it"));
        }
    }
    match &args.dead_letters {
        None | Some(Target::File(_) | Target::Topic(_)) => (),
        Some(_) => faults.push("--dead-letters takes file:PATH or topic:NAME".to_owned()),
    }
    if args.choice.form == Form::Avro {
        if !matches!(target, Target::Topic(_)) {
            faults.push(schema::TO_TOPICS.to_owned());
        }
        if config.registry.url.is_empty() {
            faults.push("--as avro writes by a schema of a registry, and registry.url is empty; give it in the file of -c".to_owned());
        }
    } else if args.subject.is_some() || args.no_register {
        faults.push("--subject and --no-register are for --as avro".to_owned());
    }
    if args.json && *target == Target::Stdout {
        faults.push("--json prints counts where the alerts go; deliver them to a file".to_owned());
    }
    faults
}

/// Runs the command.
///
/// # Errors
/// An option is wrong, the brokers don't answer, or the sink takes no alerts.
pub fn run(args: &DeliverArgs) -> Result<u8, Failure> {
    let (config, target) = (args.config()?, args.target()?);
    let faults = faults(args, &config, &target);
    if !faults.is_empty() {
        return Err(ConfigFaults(faults).into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (metrics, stop) = (Arc::new(Metrics::new()), Arc::new(AtomicBool::new(false)));
    runtime.block_on(stop_on_signals(&stop))?;
    if let Some(listen) = &args.listen {
        let served = runtime.block_on(telemetry::serve(listen, metrics.clone()));
        served.map_err(|error| {
            format!("cannot listen on {listen}: {error}; give --listen another address")
        })?;
    }
    let cluster = cluster(&config);
    let group = format!("{}.deliver.{}", config.group, args.name);
    // Named here if it is missing; reading it would only wait.
    cluster.watermarks(&config.topics.alerts)?;
    for written in std::iter::once(&target).chain(&args.dead_letters) {
        if let Target::Topic(name) = written {
            let topic = service::topic(&config.topics, name, config.topics.partitions);
            runtime.block_on(cluster.ensure(&topic))?;
        }
    }
    let out = match (&target, args.choice.form) {
        (Target::Topic(topic), form) => {
            let written = match form {
                Form::Text(format) => Written::Text(format),
                Form::Avro => match schema::id(args, &config, topic, (&metrics, &stop))? {
                    Some(id) => Written::Avro(id),
                    // Told to stop before the registry answered.
                    None => return Ok(0),
                },
            };
            let member = match config.instance.as_str() {
                "" => format!("{:016x}", process()),
                instance => instance.to_owned(),
            };
            let id = format!("{group}.{member}");
            let mut transactor = Transactor::new(cluster.clone(), id, group.clone());
            transactor.open()?;
            Out::Topic(topic.clone(), Box::new(transactor), written)
        }
        (_, Form::Avro) => return Err(schema::TO_TOPICS.into()),
        (target, Form::Text(format)) => {
            let sink = SinkConfig {
                format,
                token: args.token()?,
                ca: args.tls_ca.clone(),
                client: args.tls_cert.clone().zip(args.tls_key.clone()),
            };
            Out::Sink(Sink::open(target, &sink)?, format)
        }
    };
    let dead = match &args.dead_letters {
        Some(Target::Topic(topic)) => Some(Dead::Topic(topic.clone(), cluster.writer()?)),
        Some(Target::File(path)) => Some(Dead::File(FileSink::open(path)?)),
        _ => None,
    };
    let mut delivering =
        Delivering::new(&config, cluster, group, args, (out, dead), (metrics, stop));
    let done = delivering.run();
    runtime.shutdown_background();
    done?;
    let counts = delivering.counts();
    if args.json {
        println!(
            "{}",
            json!({
                "sink": target.to_string(), "delivered": counts.delivered, "filtered": counts.filtered,
                "retried": counts.retried, "dead": counts.dead,
            })
        );
    } else if target != Target::Stdout {
        let what = if args.findings { "findings" } else { "alerts" };
        println!(
            "{} {what} delivered to {target}, {} not wanted, {} dead letters",
            counts.delivered, counts.filtered, counts.dead
        );
    }
    Ok(0)
}

/// Has `stop` set on SIGTERM and SIGINT. SIGHUP, which rotators of logs send, changes nothing: files are followed by their name.
pub(super) async fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let listen = |kind, name: &str| {
        signal(kind).map_err(|error| format!("cannot listen for {name}: {error}"))
    };
    let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
    let mut hang_up = listen(SignalKind::hangup(), "SIGHUP")?;
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => (),
            }
        }
        tracing::info!("stopping: finishing what was read");
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}
