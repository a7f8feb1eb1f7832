//! Where an inventory comes from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use connectors::format::Format;
use models::idea::Ideas;
use models::inventory::Entry;
use rdkafka::message::Message;
use serde::Deserialize;

use crate::command::inputs::listed;
use crate::command::reading::{ReadingArgs, pipeline, read, source_of};
use crate::command::roi::alerts::AlertSums;
use crate::command::run::RunArgs;
use crate::command::{EngineArgs, Failure, NamingArgs};
use crate::config::{Config, SourceConfig};
use crate::inventory::{AGENT, FINDING, SERVER, TOOL};
use crate::mapping::{MappingFaults, SourceFormat};
use crate::pipeline::Round;
use crate::service::cluster;

/// Bytes of a file of entries: a hundred thousand of the usual length.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Options that say where the inventory comes from: logs, a file, or the inventory topic.
#[derive(Clone, Debug, Args)]
pub struct SourceArgs {
    /// Logs to read, in order: plain, .gz, .xz or .zst
    #[arg(long, value_name = "LOGS", num_args = 1.., conflicts_with_all = ["inventory", "brokers"])]
    pub from: Vec<PathBuf>,
    /// File that `inventory list --json` or `export` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["brokers", "config"])]
    pub inventory: Option<PathBuf>,
    /// Bootstrap brokers of the inventory topic, host:port, comma-separated
    #[arg(long)]
    pub brokers: Option<String>,
    /// Configuration file of the service: its brokers, their properties and the topic's prefix; for logs its [privacy] and [enrich]
    #[arg(short, long)]
    pub config: Option<PathBuf>,
    /// Prefix of the inventory topic's name
    #[arg(long)]
    pub topic_prefix: Option<String>,
    /// Format of the logs: auto, or a name in docs/formats.md, such as kong or aws-alb
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// Mapping of the lines, of a format that is none of these (TOML); `FILE#NAME` picks one of several
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub mapping: Option<String>,
    /// File of templates that `templates learn` wrote: which words in the logs' paths are names
    #[arg(long, value_name = "FILE", env = "TOLLWATCH_TEMPLATES")]
    pub templates: Option<PathBuf>,
    /// File that says who answers for which AI agents and MCP servers, for what is read from logs
    #[arg(long, value_name = "FILE", env = "TOLLWATCH_AGENTS")]
    pub agents: Option<PathBuf>,
    /// Lanes of each stage that reads logs; all cores when absent
    #[arg(long)]
    pub lanes: Option<usize>,
    /// Folder with the key of the keyed hashes, as `run` keeps it; a published key when absent
    #[arg(long)]
    pub state: Option<PathBuf>,
}

impl SourceArgs {
    /// The entries, by key; the last of each.
    ///
    /// * `documents`: OpenAPI documents that name the endpoints of logs.
    ///
    /// # Errors
    /// The source can't be read, or none is given.
    pub fn entries(&self, documents: &[PathBuf]) -> Result<Vec<Entry>, Failure> {
        match &self.inventory {
            Some(path) => file(path),
            None => parsed(self.newest(documents)?),
        }
    }

    /// The last record of each key as it stands in the inventory topic, or would.
    ///
    /// # Errors
    /// The source can't be read, or none is given.
    pub fn newest(&self, documents: &[PathBuf]) -> Result<BTreeMap<String, String>, Failure> {
        Ok(self.gathered(documents, false)?.newest)
    }

    /// The same, with what is known of the logs that it comes from.
    ///
    /// * `with_alerts`: counts the alerts, too.
    ///
    /// # Errors
    /// The source can't be read, or none is given.
    pub(in crate::command) fn gathered(
        &self,
        documents: &[PathBuf],
        with_alerts: bool,
    ) -> Result<Gathered, Failure> {
        match (&self.inventory, self.from.is_empty()) {
            (Some(path), _) => Err(format!(
                "{} holds endpoints alone: give --from LOGS, or --brokers HOST:PORT of a running service",
                path.display()
            )
            .into()),
            (None, false) => self.of_logs(documents),
            (None, true) => self.of_topic(with_alerts),
        }
    }

    fn of_logs(&self, documents: &[PathBuf]) -> Result<Gathered, Failure> {
        let engine = EngineArgs {
            naming: NamingArgs {
                templates: self.templates.clone(),
                openapi: documents.to_vec(),
                agents: self.agents.clone(),
            },
            ..EngineArgs::default()
        };
        let reading = ReadingArgs {
            format: self.format,
            mapping: self.mapping.clone(),
            lanes: self.lanes,
            state: self.state.clone(),
            config: self.config.clone(),
        };
        let mut pipeline = pipeline(&engine, &reading, Ideas::default())?;
        let (mut newest, mut formats) = (BTreeMap::new(), Vec::new());
        let mut alerts = AlertSums::default();
        let mut keep = |round: Round| {
            let records = round.inventory.into_iter();
            newest.extend(records.map(|record| (record.key, record.json)));
            round
                .alerts
                .iter()
                .for_each(|alert| alerts.take(&alert.json));
        };
        for path in &listed(&self.from)? {
            let _ = read(
                &mut pipeline,
                path,
                &source_of(path),
                i64::MAX,
                |round, _| {
                    keep(round);
                    Ok(ControlFlow::Continue(()))
                },
            )?;
            let format = pipeline.detected().unwrap_or(self.format.into());
            formats.push((path.display().to_string(), format));
        }
        keep(pipeline.close()?);
        Ok(Gathered {
            newest,
            formats,
            alerts: Some(alerts),
        })
    }

    fn of_topic(&self, with_alerts: bool) -> Result<Gathered, Failure> {
        let run = RunArgs {
            config: self.config.clone(),
            brokers: self.brokers.clone(),
            topic_prefix: self.topic_prefix.clone(),
            ..RunArgs::default()
        };
        let config = run.config()?;
        if config.brokers.is_empty() {
            return Err("nothing to read: give --from LOGS, --inventory FILE, or --brokers HOST:PORT of a running service".into());
        }
        // A topic does not say what it was made of; whoever asks may.
        let told = |source: &SourceConfig| {
            let format = SourceFormat::named(&source.format, &config.mapping);
            Ok((source.topic.clone(), format?))
        };
        let formats = match SourceFormat::given(self.format, self.mapping.as_deref())? {
            _ if !config.sources.is_empty() => {
                let told = config.sources.iter().map(told);
                told.collect::<Result<_, MappingFaults>>()?
            }
            SourceFormat::Known(Format::Auto) => Vec::new(),
            format => vec![(config.inventory_topic(), format)],
        };
        let alerts = match with_alerts && config.alerts_to_topic() {
            true => Some(alerts_of(&config)?),
            false => None,
        };
        Ok(Gathered {
            newest: newest_of(&config)?,
            formats,
            alerts,
        })
    }
}

/// What a source gave.
pub(in crate::command) struct Gathered {
    /// The last record of each key.
    pub newest: BTreeMap<String, String>,
    /// The alerts, counted; none where they are in no topic or were not asked for.
    pub alerts: Option<AlertSums>,
    /// The files or topics it was made of, and their formats; `auto` where that is not known.
    pub formats: Vec<(String, SourceFormat)>,
}

/// The last record of each key of a service's inventory topic.
///
/// # Errors
/// The topic can't be read.
pub(in crate::command) fn newest_of(config: &Config) -> Result<BTreeMap<String, String>, Failure> {
    let mut newest = BTreeMap::new();
    cluster(config).read_to_end(&config.inventory_topic(), |message| {
        let text =
            |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let key = text(message.key()).unwrap_or_default();
        match text(message.payload()) {
            Some(json) => newest.insert(key, json),
            // Somebody has taken it out.
            None => newest.remove(&key),
        };
        Ok::<_, Failure>(())
    })?;
    Ok(newest)
}

/// The alerts of a service's topic, counted.
fn alerts_of(config: &Config) -> Result<AlertSums, Failure> {
    let mut sums = AlertSums::default();
    cluster(config).read_to_end(&config.topics.alerts, |message| {
        if let Some(alert) = message.payload() {
            sums.take(&String::from_utf8_lossy(alert));
        }
        Ok::<_, Failure>(())
    })?;
    Ok(sums)
}

/// The endpoints among the records of the topic.
///
/// # Errors
/// A record is none of the inventory.
pub(in crate::command) fn parsed(newest: BTreeMap<String, String>) -> Result<Vec<Entry>, Failure> {
    let entry = |(key, json): (String, String)| {
        serde_json::from_str(&json).map_err(|error| {
            format!("record {key:?} is none of the inventory: {error}; was the topic written by somebody else?").into()
        })
    };
    let others = [FINDING, AGENT, SERVER, TOOL];
    let is_endpoint =
        |(key, _): &(String, String)| !others.iter().any(|schema| key.starts_with(schema));
    newest.into_iter().filter(is_endpoint).map(entry).collect()
}

/// The entries of a file: one object with a list `inventory`, or a line each.
///
/// # Errors
/// The file can't be read, or holds something else.
pub(super) fn file(path: &Path) -> Result<Vec<Entry>, Failure> {
    #[derive(Deserialize)]
    struct Listed {
        inventory: Vec<Entry>,
    }
    let failed = |error: String| format!("{}: {error}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    if FILE_BYTES_MAX < text.len() as u64 {
        return Err(failed(format!("is longer than {FILE_BYTES_MAX} bytes")).into());
    }
    if let Ok(listed) = serde_json::from_str::<Listed>(&text) {
        return Ok(listed.inventory);
    }
    let mut entries = Vec::new();
    for (n, line) in (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let entry: Entry = serde_json::from_str(line)
            .map_err(|error| failed(format!("line {n} is no record of an inventory: {error}")))?;
        if entry.key.is_empty() {
            return Err(failed(format!(
                "line {n} is no record of an inventory: it has no key"
            ))
            .into());
        }
        entries.push(entry);
    }
    Ok(entries)
}
