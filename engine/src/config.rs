//! The options of the service: declared once, with unit and bound; unknown keys are refused.
//!
//! A file, `TOLLWATCH_*` environment variables and flags fill the same structures, in that order.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use connectors::kafka::Properties;
use connectors::sink::Secret;
use connectors::value::{self, Values};
use models::agent::register::AgentRegister;
use models::idea::Ideas;
use models::inventory::Documents;
use models::template::TemplateSet;
use serde::Deserialize;

use crate::enrich::{self, EnrichError, Enrichment};
use crate::lake::{Lake, LakeError};
use crate::mapping::{Mapping, MappingConfig, MappingFaults, SourceFormat};
use crate::stage::privacy::{self, Privacy};
use crate::state::{Standby, StateError, Store};
use crate::templates::{self, TemplatesError};

/// What the models are given: the one knob and the bounds of their state, per lane.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// The one knob: false alerts promised per million events, in (0, 1000].
    pub false_alerts_per_million_events: f64,
    /// Event time a lane learns before it judges touches, in hours, at most 336.
    pub warm_up_hours: f64,
    /// Bytes of state a lane holds, at least 16 MiB. Every table has a share; what it holds is the lesser of that and
    /// the bound of its entries.
    pub state_bytes_max: usize,
    /// Identities kept, at least 1000.
    pub identities_max: usize,
    /// Pairs (identity, collection) kept, at least 1000.
    pub streams_max: usize,
    /// Pairs (identity, object) kept, at least 1000; 38 bytes each at most.
    pub pairs_max: usize,
    /// Objects kept, at least 1000; 123 bytes each at most.
    pub objects_max: usize,
    /// Endpoints kept, at least 100; 4 KB each in `profile`, 33 KB at most in `govern`.
    pub endpoints_max: usize,
    /// Open cases kept for deduplication, at least 100.
    pub cases_max: usize,
    /// The ideas in use: all, but in an ablation.
    #[serde(skip)]
    pub ideas: Ideas,
    /// Who answers for which agents and servers; read from [`Config::agents`].
    #[serde(skip)]
    pub register: Arc<AgentRegister>,
    /// What documents promise; read from [`Config::openapi`].
    #[serde(skip)]
    pub documents: Arc<Documents>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            false_alerts_per_million_events: 1.0,
            warm_up_hours: 12.0,
            state_bytes_max: 2 << 30,
            identities_max: 1_000_000,
            streams_max: 4_000_000,
            pairs_max: 50_000_000,
            objects_max: 20_000_000,
            endpoints_max: 20_000,
            cases_max: 100_000,
            ideas: Ideas::default(),
            register: Arc::default(),
            documents: Arc::default(),
        }
    }
}

impl ModelConfig {
    /// The warm-up in milliseconds.
    pub fn warm_up_ms(&self) -> i64 {
        (self.warm_up_hours * 3_600_000.0) as i64
    }

    /// Entries of a table that has so many hundredths of a lane's bytes.
    ///
    /// * `bytes`: what one takes at most, table slack and what it points to included.
    pub fn entries(&self, percent: usize, bytes: usize, entries_max: usize) -> usize {
        (self.state_bytes_max / 100 * percent / bytes.max(1)).clamp(2, entries_max)
    }

    /// Every fault of these options; none when they are sound.
    pub fn faults(&self) -> Vec<String> {
        let f = self.false_alerts_per_million_events;
        let mut faults = Vec::new();
        if !(f > 0.0 && f <= 1000.0) {
            faults.push(format!(
                "models.false_alerts_per_million_events is {f}; it must be above 0 and at most 1000"
            ));
        }
        if !(0.0..=336.0).contains(&self.warm_up_hours) {
            faults.push(format!(
                "models.warm_up_hours is {}; it must be between 0 and 336",
                self.warm_up_hours
            ));
        }
        if self.state_bytes_max < 16 << 20 {
            faults.push(format!(
                "models.state_bytes_max is {}; it must be at least 16777216",
                self.state_bytes_max
            ));
        }
        let bounds = [
            ("identities_max", self.identities_max, 1000),
            ("streams_max", self.streams_max, 1000),
            ("pairs_max", self.pairs_max, 1000),
            ("objects_max", self.objects_max, 1000),
            ("endpoints_max", self.endpoints_max, 100),
            ("cases_max", self.cases_max, 100),
        ];
        for (name, value, least) in bounds {
            if value < least {
                faults.push(format!(
                    "models.{name} is {value}; it must be at least {least}"
                ));
            }
        }
        faults
    }
}

/// One topic to read.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The topic.
    pub topic: String,
    /// Its format: `auto`, or the name of a decoder or of a mapping.
    #[serde(default = "auto")]
    pub format: String,
}

fn auto() -> String {
    "auto".to_owned()
}

/// Topics the service writes, and how they are made when they are missing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicConfig {
    /// Prefix of the logs' and the dead-letter topic's names, so that deployments share a cluster.
    pub prefix: String,
    /// Results topic; `-` for standard output, a path with a slash for a file.
    pub alerts: String,
    /// Writes findings of posture to the topic `<prefix>findings` when they change.
    pub findings: bool,
    /// Makes missing topics; otherwise a missing one is an error.
    pub create: bool,
    /// Partitions of each log, 1 to 256.
    pub partitions: i32,
    /// Replicas of each partition, at least 1.
    pub replication: i32,
    /// `min.insync.replicas` of each topic, at most `replication`.
    pub min_insync_replicas: i32,
    /// Retention of the logs, in hours, at least 1.
    pub retention_hours: u64,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            prefix: "tollwatch.".to_owned(),
            alerts: "tollwatch.alerts".to_owned(),
            findings: true,
            create: true,
            partitions: 4,
            replication: 1,
            min_insync_replicas: 1,
            retention_hours: 168,
        }
    }
}

/// How often an alert is in the results topic when a process ends in the middle of its work.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Delivery {
    /// Once for readers of committed records: alerts and consumed offsets in one transaction.
    #[default]
    ExactlyOnce,
    /// Once or more, always with the same id and bytes; needs no transactions.
    AtLeastOnce,
}

/// How the members of a consumer group agree.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum GroupProtocol {
    /// By one of them, cooperative-sticky.
    #[default]
    Classic,
    /// By the brokers (KIP-848).
    Consumer,
}

/// What lanes leave behind, to be put back quickly.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotConfig {
    /// Where: `file:///folder`, `s3://bucket/prefix`, `gs://…`, `az://…`; the folder `snapshots` in `state` when empty.
    pub url: String,
    /// Time between two snapshots of a lane, in seconds, at least 1.
    pub every_seconds: u64,
    /// Snapshots of a lane that are kept, at least 2.
    pub keep: usize,
    /// Folder of copies of all lanes' newest snapshots, from which a lane that comes here is put back; none when absent.
    pub standby: Option<PathBuf>,
    /// Bytes of copies, at least 16 MiB.
    pub standby_bytes_max: u64,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            every_seconds: 30,
            keep: 3,
            standby: None,
            standby_bytes_max: 8 << 30,
        }
    }
}

/// The event lake.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// Where: `file:///folder`, `s3://bucket/prefix`, `gs://…`, `az://…`; no lake when empty.
    pub url: String,
    /// Time after which a lane's rows are a file, however few, in seconds, at least 1; no more often than snapshots are taken.
    pub every_seconds: u64,
    /// Bytes of rows gathered and waiting, over all lanes, at least 16 MiB; beyond it lanes wait.
    pub bytes_max: usize,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            every_seconds: 300,
            bytes_max: 256 << 20,
        }
    }
}

/// The schema registry of the sources' values, and of what `deliver` writes as Avro.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// Its address, `http://…` or `https://…`, with the path its API lies under; none when empty.
    pub url: String,
    /// User of HTTP's basic authentication; without a login when empty.
    pub user: String,
    /// File that holds the user's password.
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) of authorities to trust; the system's when absent.
    pub ca: Option<PathBuf>,
    /// The user's password: of that file, or of a variable.
    #[serde(skip)]
    pub password: Option<Secret>,
}

/// When a rule is too slow for its lane, and is shed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SheddingConfig {
    /// Share of its lane's time at which a rule is too slow, in percent, at most 100; 0 sheds none and lifts what is shed.
    pub percent: u64,
    /// Nanoseconds a row at which a rule is too slow, and below which none is whatever its share.
    pub row_ns: u64,
    /// How long a lane's rows must have waited in their log, in seconds; while they wait less no rule is too slow.
    pub behind_seconds: u64,
    /// Time over which that is measured, in seconds, at least 1.
    pub window_seconds: u64,
    /// Names of rules that are never shed; one that is, is lifted.
    pub exempt: Vec<String>,
}

impl Default for SheddingConfig {
    fn default() -> Self {
        Self {
            percent: 25,
            row_ns: 5000,
            behind_seconds: 10,
            window_seconds: 10,
            exempt: Vec::new(),
        }
    }
}

impl SheddingConfig {
    /// True when a rule of that name is never shed.
    pub fn is_exempt(&self, rule: &str) -> bool {
        self.percent == 0 || self.exempt.iter().any(|exempt| exempt == rule)
    }
}

/// Leading bits that are kept of addresses.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct WidthConfig {
    /// Of an IPv4 address, at most 32.
    pub ipv4: u8,
    /// Of an IPv6 address, at most 128.
    pub ipv6: u8,
}

/// What of a call is not kept as it was sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacyConfig {
    /// Keeps identities, and values in paths, queries and referers, as keyed hashes.
    pub pseudonymise: bool,
    /// Cuts addresses to a network, before callers are told apart by them.
    pub truncate_addresses: Option<WidthConfig>,
    /// Columns of `events` that are never stored.
    pub drop: Vec<String>,
    /// Parameters of queries whose value is never stored.
    pub drop_query_params: Vec<String>,
    /// Parameters of queries whose value is stored as it is; no other is then.
    pub keep_query_params: Option<Vec<String>>,
    /// Keeps of what can't be decoded where it was and what is wrong, not its bytes.
    pub blank_dead_letters: bool,
}

/// What is added to calls.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnrichConfig {
    /// What is known of addresses: MMDB databases, and tables of ranges (`.csv`).
    pub files: Vec<PathBuf>,
}

/// The whole configuration of `run`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bootstrap brokers, `host:port`, comma-separated.
    pub brokers: String,
    /// Topics to read.
    pub sources: Vec<SourceConfig>,
    /// Mappings of logs that no decoder knows, by name.
    pub mapping: BTreeMap<String, MappingConfig>,
    /// Consumer group; each stage reads as `<group>.<stage>`.
    pub group: String,
    /// Name of this instance among those of its group, kept over restarts; empty for none.
    pub instance: String,
    /// How the members of the groups agree on who has which partitions.
    pub group_protocol: GroupProtocol,
    /// Whether an alert can be in the results topic twice.
    pub delivery: Delivery,
    /// Where the key of the keyed hashes is kept, and snapshots unless they have a place of their own.
    pub state: PathBuf,
    /// Folder of rules; the shipped ones when absent.
    pub rules: Option<PathBuf>,
    /// How often that folder is looked at for other rules, and files of documents and of agents for other texts, in seconds; 0 for
    /// never.
    pub rules_reload_seconds: u64,
    /// When a rule is shed.
    pub shedding: SheddingConfig,
    /// Folder of lookup tables that rules join with; none when absent.
    pub lookups: Option<PathBuf>,
    /// File of templates that `templates learn` wrote; none when absent.
    pub templates: Option<PathBuf>,
    /// OpenAPI documents, or folders of such; their routes win over learnt templates.
    pub openapi: Vec<PathBuf>,
    /// File that says who answers for which agents and MCP servers; none when absent.
    pub agents: Option<PathBuf>,
    /// Address of `/metrics`, `/livez` and `/readyz`; none when empty.
    pub listen: String,
    /// Threads per stage, 1 to 64.
    pub threads: usize,
    /// How long an input may be silent before its event time holds nobody back, in ms, at least 100.
    pub idle_ms: u64,
    /// Snapshots of the lanes.
    pub snapshots: SnapshotConfig,
    /// The event lake.
    pub lake: LakeConfig,
    /// The schema registry.
    pub registry: RegistryConfig,
    /// The topics written.
    pub topics: TopicConfig,
    /// The models.
    pub models: ModelConfig,
    /// What of a call is not kept as it was sent.
    pub privacy: PrivacyConfig,
    /// What is added to calls.
    pub enrich: EnrichConfig,
    /// Properties passed to librdkafka as they are, `security.protocol` and its like.
    pub kafka: Properties,
    /// Files that hold the value of a property: a password that is mounted, not written here.
    pub kafka_files: Properties,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            sources: Vec::new(),
            mapping: BTreeMap::new(),
            group: "tollwatch".to_owned(),
            instance: String::new(),
            group_protocol: GroupProtocol::default(),
            delivery: Delivery::default(),
            state: PathBuf::from("tollwatch-state"),
            rules: None,
            rules_reload_seconds: 10,
            shedding: SheddingConfig::default(),
            lookups: None,
            templates: None,
            openapi: Vec::new(),
            agents: None,
            listen: "127.0.0.1:9477".to_owned(),
            threads: 1,
            idle_ms: 2000,
            snapshots: SnapshotConfig::default(),
            lake: LakeConfig::default(),
            registry: RegistryConfig::default(),
            topics: TopicConfig::default(),
            models: ModelConfig::default(),
            privacy: PrivacyConfig::default(),
            enrich: EnrichConfig::default(),
            kafka: Properties::default(),
            kafka_files: Properties::default(),
        }
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The text is no TOML, or has a key that does not exist, with its line.
    pub fn parse(text: &str) -> Result<Config, ParseError> {
        toml::from_str(text).map_err(|error| ParseError::new(text, &error))
    }

    /// Lays the values of [`Config::kafka_files`] over the properties, and over these the variables `TOLLWATCH_KAFKA_<NAME>`;
    /// likewise the registry's password, and `TOLLWATCH_REGISTRY_USER` and `TOLLWATCH_REGISTRY_PASSWORD`.
    ///
    /// # Errors
    /// Every file that can't be read, and every variable that is no text; never a value.
    pub fn lay_secrets(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        for (property, path) in self.kafka_files.iter() {
            match read_secret(path) {
                Ok(value) => self.kafka.set(property, value),
                Err(error) => faults.push(format!("cannot read {property} from {path}: {error}")),
            }
        }
        if let Some(path) = &self.registry.password_file {
            match read_secret(path) {
                Ok(value) => self.registry.password = Some(Secret::new(&value)),
                Err(error) => faults.push(format!(
                    "cannot read the registry's password from {}: {error}",
                    path.display()
                )),
            }
        }
        for (name, value) in variables {
            let Some(secret) = name.to_str().and_then(Named::of) else {
                continue;
            };
            match value.into_string() {
                // As a template leaves it that was given nothing.
                Ok(value) if value.is_empty() => (),
                Ok(value) => match secret {
                    Named::Property(property) => self.kafka.set(&property, value),
                    Named::RegistryUser => self.registry.user = value,
                    Named::RegistryPassword => self.registry.password = Some(Secret::new(&value)),
                },
                Err(_) => faults.push(format!("{} is no UTF-8", name.to_string_lossy())),
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// True when whoever can reach this machine can read the metrics.
    pub fn listens_beyond_loopback(&self) -> bool {
        let host = self
            .listen
            .rsplit_once(':')
            .map_or(self.listen.as_str(), |(host, _)| host);
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        !host.is_empty()
            && host != "localhost"
            && address.map_or(true, |address| !address.is_loopback())
    }

    /// Every fault of the configuration, in words that say what to change; none when it is sound.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.models.faults();
        faults.extend(privacy::faults(&self.privacy));
        if enrich::FILES_MAX < self.enrich.files.len() {
            faults.push(format!(
                "enrich.files has {} files; it must have at most {}",
                self.enrich.files.len(),
                enrich::FILES_MAX
            ));
        }
        if self.brokers.is_empty() {
            faults.push("brokers is empty; give --brokers HOST:PORT".to_owned());
        }
        if self.sources.is_empty() {
            faults.push("there is no source; give --source-topic TOPIC".to_owned());
        }
        for source in &self.sources {
            // A mapping's own faults are told below, once.
            if !self.mapping.contains_key(&source.format)
                && let Err(error) = SourceFormat::named(&source.format, &self.mapping)
            {
                faults.push(format!("source {}: {error}", source.topic));
            }
            if self.written_topics().contains(&source.topic) {
                faults.push(format!(
                    "source {} is a topic this service writes",
                    source.topic
                ));
            }
        }
        for (name, mapping) in &self.mapping {
            let compiled = Mapping::compile(name, mapping);
            faults.extend(compiled.err().into_iter().flat_map(|found| found.0));
        }
        let topics = &self.topics;
        if self.findings_topic().as_ref() == Some(&topics.alerts) {
            faults.push(format!(
                "topics.alerts is {}, where findings go; give one of them another name, or set topics.findings = false",
                topics.alerts
            ));
        }
        if !(1..=256).contains(&topics.partitions) {
            faults.push(format!(
                "topics.partitions is {}; it must be between 1 and 256",
                topics.partitions
            ));
        }
        if topics.retention_hours < 1 {
            faults.push(
                "topics.retention_hours is 0; it must be at least 1, or logs vanish unread"
                    .to_owned(),
            );
        }
        if topics.min_insync_replicas < 1 {
            faults.push(format!(
                "topics.min_insync_replicas is {}; it must be at least 1",
                topics.min_insync_replicas
            ));
        }
        faults.extend(self.open_values().err());
        if self.idle_ms < 100 {
            faults.push(format!(
                "idle_ms is {}; it must be at least 100",
                self.idle_ms
            ));
        }
        if self.snapshots.every_seconds < 1 {
            faults.push("snapshots.every_seconds is 0; it must be at least 1".to_owned());
        }
        if self.snapshots.keep < 2 {
            faults.push(format!(
                "snapshots.keep is {}; it must be at least 2, or a damaged one leaves none",
                self.snapshots.keep
            ));
        }
        if self.snapshots.standby_bytes_max < 16 << 20 {
            faults.push(format!(
                "snapshots.standby_bytes_max is {}; it must be at least 16777216",
                self.snapshots.standby_bytes_max
            ));
        }
        if self.lake.every_seconds < 1 {
            faults.push("lake.every_seconds is 0; it must be at least 1".to_owned());
        }
        if self.lake.bytes_max < 16 << 20 {
            faults.push(format!(
                "lake.bytes_max is {}; it must be at least 16777216",
                self.lake.bytes_max
            ));
        }
        if 100 < self.shedding.percent {
            faults.push(format!(
                "shedding.percent is {}; it must be at most 100, and 0 sheds no rule",
                self.shedding.percent
            ));
        }
        if self.shedding.window_seconds < 1 {
            faults.push("shedding.window_seconds is 0; it must be at least 1".to_owned());
        }
        if topics.replication < 1 || topics.min_insync_replicas > topics.replication {
            faults.push(format!(
                "topics.replication is {} and topics.min_insync_replicas {}; replication must be at least 1 and not below min_insync_replicas",
                topics.replication, topics.min_insync_replicas
            ));
        }
        if !(1..=64).contains(&self.threads) {
            faults.push(format!(
                "threads is {}; it must be between 1 and 64",
                self.threads
            ));
        }
        faults
    }

    /// How each source is read, by topic.
    ///
    /// # Errors
    /// Every fault of a mapping, or a format that does not exist.
    pub fn source_formats(&self) -> Result<BTreeMap<String, SourceFormat>, MappingFaults> {
        let named = |source: &SourceConfig| {
            let format = SourceFormat::named(&source.format, &self.mapping)?;
            Ok((source.topic.clone(), format))
        };
        self.sources.iter().map(named).collect()
    }

    /// The templates that calls are named by.
    ///
    /// # Errors
    /// As [`templates::load`].
    pub fn template_set(&self) -> Result<Arc<TemplateSet>, TemplatesError> {
        templates::load(self.templates.as_deref(), &self.openapi)
    }

    /// Reads what lanes are told beside rules: the register of agents and OpenAPI documents.
    ///
    /// # Errors
    /// As [`templates::register`] and [`templates::documents`].
    pub fn read_briefing(&mut self) -> Result<(), TemplatesError> {
        self.models.register = templates::register(self.agents.as_deref())?;
        self.models.documents = Arc::new(templates::documents(&self.openapi)?);
        Ok(())
    }

    /// What of calls is not kept.
    ///
    /// # Errors
    /// As [`privacy::faults`].
    pub fn privacy(&self) -> Result<Arc<Privacy>, Vec<String>> {
        Privacy::new(&self.privacy).map(Arc::new)
    }

    /// What is known of addresses.
    ///
    /// # Errors
    /// As [`Enrichment::load`].
    pub fn enrichment(&self) -> Result<Arc<Enrichment>, EnrichError> {
        Enrichment::load(&self.enrich.files)
    }

    /// Name of a log's topic.
    pub fn log_topic(&self, log: crate::log::Log) -> String {
        format!("{}{}", self.topics.prefix, log.name())
    }

    /// Where snapshots lie.
    ///
    /// # Errors
    /// The address can't be used.
    pub fn open_store(&self) -> Result<Store, StateError> {
        match self.snapshots.url.as_str() {
            "" => Store::folder(&self.state.join("snapshots")),
            url => Store::open(url),
        }
    }

    /// What opens the sources' values, by the schemas of the registry when there is one.
    ///
    /// # Errors
    /// What must be changed of `[registry]`.
    pub fn open_values(&self) -> Result<Values, String> {
        Values::new(self.schema_registry()?.as_ref())
    }

    /// The schema registry, when there is one.
    ///
    /// # Errors
    /// What must be changed of `[registry]`.
    pub fn schema_registry(&self) -> Result<Option<value::RegistryConfig>, String> {
        let RegistryConfig {
            url,
            user,
            password,
            ca,
            ..
        } = &self.registry;
        if url.is_empty() {
            return Ok(None);
        }
        let login = match (user.as_str(), password) {
            ("", None) => None,
            ("", Some(_)) => return Err("registry.user is empty, and there is a password".to_owned()),
            (_, None) => return Err(
                "registry.user has no password; give registry.password_file or TOLLWATCH_REGISTRY_PASSWORD"
                    .to_owned(),
            ),
            (user, Some(password)) => Some((user.to_owned(), password.clone())),
        };
        Ok(Some(value::RegistryConfig {
            url: url.clone(),
            login,
            ca: ca.clone(),
        }))
    }

    /// The event lake, when there is to be one.
    ///
    /// # Errors
    /// The address can't be used.
    pub fn open_lake(&self) -> Result<Option<Lake>, LakeError> {
        match self.lake.url.as_str() {
            "" => Ok(None),
            url => Lake::open(url).map(Some),
        }
    }

    /// The copies of snapshots, when there are to be any.
    ///
    /// # Errors
    /// Their folder can't be made, or can't be written.
    pub fn open_standby(&self) -> Result<Option<Standby>, StateError> {
        let Some(folder) = &self.snapshots.standby else {
            return Ok(None);
        };
        let opened = Standby::open(folder, self.snapshots.standby_bytes_max);
        opened.map(Some).map_err(|source| StateError::Standby {
            folder: folder.display().to_string(),
            source,
        })
    }

    /// True when alerts and the inventory are written in transactions: alerts go to a topic, and only once.
    pub fn is_transactional(&self) -> bool {
        self.alerts_to_topic() && self.delivery == Delivery::ExactlyOnce
    }

    /// Name of the inventory topic.
    pub fn inventory_topic(&self) -> String {
        format!("{}inventory", self.topics.prefix)
    }

    /// Name of the topic of findings; none when they are not written.
    pub fn findings_topic(&self) -> Option<String> {
        let is_written = self.topics.findings;
        is_written.then(|| format!("{}findings", self.topics.prefix))
    }

    /// Name of the dead-letter topic.
    pub fn dead_letter_topic(&self) -> String {
        format!("{}dead-letters", self.topics.prefix)
    }

    /// True when alerts go to a topic.
    pub fn alerts_to_topic(&self) -> bool {
        self.topics.alerts != "-" && !self.topics.alerts.contains('/')
    }

    fn written_topics(&self) -> Vec<String> {
        let logs = crate::log::Log::ALL.map(|log| self.log_topic(log));
        logs.into_iter()
            .chain([self.dead_letter_topic(), self.inventory_topic()])
            .chain([self.topics.alerts.clone()])
            .chain(self.findings_topic())
            .collect()
    }
}

/// Bytes of a file with a property's value. A bundle of certificates has a few hundred thousand.
const SECRET_BYTES_MAX: u64 = 1 << 20;

fn read_secret(path: impl AsRef<Path>) -> io::Result<String> {
    let mut value = String::new();
    File::open(path)?
        .take(SECRET_BYTES_MAX + 1)
        .read_to_string(&mut value)?;
    // Editors and `echo` end the last line; it is no part of a password.
    let length = value.trim_end_matches(['\r', '\n']).len();
    value.truncate(length);
    let is_too_long = value.len() as u64 > SECRET_BYTES_MAX;
    if value.is_empty() || is_too_long {
        let fault = if is_too_long {
            "longer than 1 MiB"
        } else {
            "empty"
        };
        return Err(io::Error::other(fault));
    }
    Ok(value)
}

/// What an environment variable gives that is, or may be, a secret.
enum Named {
    /// A property of Kafka's.
    Property(String),
    RegistryUser,
    RegistryPassword,
}

impl Named {
    fn of(variable: &str) -> Option<Named> {
        match variable {
            "TOLLWATCH_REGISTRY_USER" => Some(Named::RegistryUser),
            "TOLLWATCH_REGISTRY_PASSWORD" => Some(Named::RegistryPassword),
            variable => property_of(variable).map(Named::Property),
        }
    }
}

/// The property that an environment variable names; none when it names something else.
fn property_of(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("TOLLWATCH_KAFKA_")?;
    // What Kubernetes tells every pod of a service that is named tollwatch-kafka. No property begins like that.
    let is_kubernetes = ["PORT", "SERVICE"].iter().any(|word| {
        name.strip_prefix(word)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    });
    (!is_kubernetes && !name.is_empty()).then(|| name.to_ascii_lowercase().replace('_', "."))
}

/// What is wrong with a configuration's text, and where. The text itself is not shown: a password may stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ParseError {
    line: usize,
    column: usize,
    reason: String,
}

impl ParseError {
    fn new(text: &str, error: &toml::de::Error) -> ParseError {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            reason: error.message().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_at_once() {
        let text = "threads = 0\nidle_ms = 1\n[snapshots]\nevery_seconds = 0\nkeep = 1\nstandby_bytes_max = 1\n[lake]\nevery_seconds = 0\nbytes_max = 1\n[shedding]\npercent = 101\nwindow_seconds = 0\n[topics]\nretention_hours = 0\nmin_insync_replicas = 0\n[models]\nstate_bytes_max = 1\nfalse_alerts_per_million_events = 0.0\npairs_max = 1\n";
        let faults = Config::parse(text).expect("parses").faults();
        assert_eq!(faults.len(), 16, "{faults:#?}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = Config::parse("brokers = 'a:1'\nbrokerz = 'b'\n").expect_err("unknown key");
        assert_eq!(error.line, 2, "{error}");
        assert!(error.reason.contains("brokerz"), "{error}");
    }

    fn variables(of: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        let all: Vec<_> = of.iter().map(|(n, v)| (n.into(), v.into())).collect();
        all.into_iter()
    }

    #[test]
    fn a_variable_wins_over_a_file_and_a_file_over_the_table() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("writes");
            path.to_str().expect("text").to_owned()
        };
        let (username, password) = (file("u", "by file\r\n"), file("p", "by file"));
        let text = format!(
            "[kafka]\nsasl.username = 'plain'\nsasl.password = 'plain'\nsasl.mechanism = 'PLAIN'\n\
             [kafka_files]\nsasl.username = '{username}'\n'sasl.password' = '{password}'\n"
        );
        let mut config = Config::parse(&text).expect("parses");
        let given = [
            ("TOLLWATCH_KAFKA_SASL_PASSWORD", "by variable"),
            ("TOLLWATCH_KAFKA_SASL_MECHANISM", ""),
            ("TOLLWATCH_KAFKA_PORT_9092_TCP", "tcp://192.0.2.1:9092"),
            ("TOLLWATCH_KAFKA_SERVICE_HOST", "192.0.2.1"),
            ("TOLLWATCH_GROUP", "g"),
        ];
        config.lay_secrets(variables(&given)).expect("sound");
        let all: Vec<_> = config.kafka.iter().collect();
        let expected = [
            ("sasl.mechanism", "PLAIN"),
            ("sasl.password", "by variable"),
            ("sasl.username", "by file"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn the_registrys_password_is_of_a_file_or_a_variable_and_never_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("password");
        std::fs::write(&file, "hunter2\n").expect("writes");
        let text = format!(
            "[registry]\nurl = 'https://registry.example'\nuser = 'u'\npassword_file = '{}'\n",
            file.display()
        );
        for (given, password, user) in [
            (&[][..], "hunter2", "u"),
            (
                &[("TOLLWATCH_REGISTRY_PASSWORD", "hunter3")],
                "hunter3",
                "u",
            ),
            (&[("TOLLWATCH_REGISTRY_USER", "v")], "hunter2", "v"),
        ] {
            let mut config = Config::parse(&text).expect("parses");
            config.lay_secrets(variables(given)).expect("sound");
            let held = config.registry.password.as_ref().map(Secret::text);
            assert_eq!(
                (held, config.registry.user.as_str()),
                (Some(password), user)
            );
            assert!(!format!("{config:?}").contains("hunter"));
            assert_eq!(config.open_values().err(), None);
        }
        for (wrong, word) in [
            (
                "url = 'http://registry.example'\nuser = 'u'",
                "password_file",
            ),
            ("url = 'registry'", "registry"),
            (
                "url = 'https://registry.example'\nca = '/nowhere'",
                "/nowhere",
            ),
        ] {
            let config = Config::parse(&format!("[registry]\n{wrong}\n")).expect("parses");
            let faults = config.faults().join(" ");
            assert!(faults.contains(word), "{wrong}: {faults}");
        }
    }

    #[test]
    fn every_file_that_holds_no_value_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let (absent, empty) = (dir.path().join("absent"), dir.path().join("empty"));
        std::fs::write(&empty, "\n").expect("writes");
        let mut config = Config::default();
        for (property, path) in [("sasl.password", &absent), ("ssl.key.pem", &empty)] {
            let path = path.to_str().expect("text");
            config.kafka_files.set(property, path);
        }
        let faults = config.lay_secrets(variables(&[])).expect_err("two faults");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(
            faults[0].contains("sasl.password") && faults[0].contains("absent"),
            "{faults:?}"
        );
        assert!(faults[1].ends_with("empty"), "{faults:?}");
    }

    #[test]
    fn neither_debug_nor_a_fault_shows_a_password() {
        let sound = "[kafka]\n'sasl.password' = 'hunter2'\n";
        let config = Config::parse(sound).expect("parses");
        assert!(!format!("{config:?}").contains("hunter2"));
        for wrong in [
            "[kafka]\n'sasl.password' = 'hunter2\n",
            "[kafka]\n'sasl.password' = hunter2\n",
            "[kafka]\n'sasl.password' = ['hunter2']\n",
            "[kafka]\n'sasl.password' 'hunter2'\n",
            "kafka = 'hunter2'\n",
            "kafka_files = 'hunter2'\n",
        ] {
            let error = Config::parse(wrong).expect_err("wrong");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{wrong}: {shown}");
        }
    }

    #[test]
    fn only_loopback_listens_unless_told_otherwise() {
        assert!(!Config::default().listens_beyond_loopback());
        for (listen, is_beyond) in [
            ("", false),
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("localhost:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("192.0.2.1:1", true),
            ("metrics.example:1", true),
        ] {
            let config = Config {
                listen: listen.to_owned(),
                ..Config::default()
            };
            assert_eq!(config.listens_beyond_loopback(), is_beyond, "{listen}");
        }
    }
}
