//! The pipeline over Kafka: decoders and lanes as members of consumer groups, topics as logs.
//!
//! Each stage reads its topic as group `<group>.<stage>`; one thread owns some partitions and runs
//! their decoders or lanes. What a thread reads it processes, writes with an idempotent producer, and
//! commits only after every record derived from it is acknowledged; alerts go out in one transaction
//! with the offsets. A lane that is assigned is put back from its newest snapshot, reads its log from
//! there up to the committed offset with its output off, and goes on: state is a function of the log.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use connectors::kafka::{self, Assignments, Cluster, Membership, Outgoing, StartAt, Topic, Writer};

use crate::alert::Alert;
use crate::command::run::ConfigFaults;
use crate::config::{Config, GroupProtocol, ModelConfig, TopicConfig};
use crate::enrich::Enrichment;
use crate::inventory::{OcsfFinding, Record};
use crate::lake;
use crate::log::Log;
use crate::mapping::{MappingFaults, SourceFormat};
use crate::rule::RuleSet;
use crate::schema;
use crate::stage::StageError;
use crate::stage::privacy::Privacy;
use crate::state::{Keeper, StateError, part};
use crate::telemetry::Metrics;
use models::identity::Resolver;
use models::template::TemplateSet;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;

mod briefing;
mod decoding;
mod edge;
mod following;
mod judging;
mod looking;
pub(crate) mod opening;
mod restoring;
mod ruling;
mod shedding;
mod sink;

use briefing::Briefings;
pub(crate) use briefing::of as briefing;
use following::Following;
pub use judging::read;
use ruling::{Ruling, Wanted};
pub use sink::Sink;

/// How often input offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// Longest time rows are gathered under load; when there is nothing more to read they go at once.
const LINGER: Duration = Duration::from_millis(50);
/// Messages taken before the writes of a thread are looked after, and bytes of them: 2000 of the longest would be 2 GB.
const MESSAGES_MAX: usize = 2000;
const MESSAGES_BYTES_MAX: usize = 16 << 20;
/// How often event time is told to logs that had no rows. Every lane tells every partition of the next log, so beyond
/// [`BEAT_LANES`] partitions the time grows with them, and heartbeats only as fast as the partitions do.
const BEAT_EVERY: Duration = Duration::from_millis(500);
const BEAT_LANES: usize = 16;
/// How often a read that fails again and again is told.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// How often a process that waits for its end asks what others of its groups have committed.
const ASK_GROUP_EVERY: Duration = Duration::from_secs(2);
/// How often lag and state are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Names of the stages, in the order of the data.
pub const STAGES: [&str; 5] = ["decode", "profile", "own", "judge", "govern"];

/// Why the service stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Kafka failed.
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
    /// A log holds what this program did not write.
    #[error("stage {stage} cannot read {topic}/{partition} at offset {offset}")]
    Log {
        /// The stage.
        stage: &'static str,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// What is wrong there.
        source: crate::log::LogError,
    },
    /// A stage met rows that are not its input's.
    #[error("stage {stage} failed")]
    Stage {
        /// The stage.
        stage: &'static str,
        /// Why.
        source: StageError,
    },
    /// An alert could not be written.
    #[error(
        "cannot write alerts to {target}; make room there, or give --alerts-topic another place: what was not written is written after a restart"
    )]
    Sink {
        /// File or stream.
        target: String,
        /// Why.
        source: std::io::Error,
    },
    /// The values of the sources cannot be opened.
    #[error("cannot use [registry]: {0}")]
    Values(String),
    /// A lane's state cannot be put back.
    #[error(transparent)]
    State(#[from] StateError),
    /// The lake cannot be used, or a lane of it be claimed.
    #[error(transparent)]
    Lake(#[from] crate::lake::LakeError),
    /// A mapping has faults.
    #[error(transparent)]
    Mapping(#[from] MappingFaults),
    /// A file of what is known of addresses can't be used.
    #[error(transparent)]
    Enrich(#[from] crate::enrich::EnrichError),
    /// An option is wrong.
    #[error(transparent)]
    Options(#[from] ConfigFaults),
    /// The rules have faults.
    #[error(transparent)]
    Rules(#[from] crate::command::RuleFaults),
    /// No log takes that many rules.
    #[error(transparent)]
    Texts(#[from] crate::rule::texts::TextsError),
    /// No log takes that many documents.
    #[error(transparent)]
    Briefing(#[from] crate::briefing::BriefingError),
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
    /// A thread panicked: a fault of this program.
    #[error("a thread of stage {0} panicked; nothing it had not finished was committed")]
    Panicked(&'static str),
}

/// What a lane tells the world: written once, with the offsets it comes from.
#[derive(Clone, Debug)]
enum LaneResult {
    Alert(Alert),
    Inventory(Record),
    /// With the topic it goes to.
    Finding(String, Box<OcsfFinding>),
}

impl LaneResult {
    /// A record of the inventory, and beside it what goes to the topic of findings, where there is one.
    fn of(mut record: Record, findings: Option<&String>) -> impl Iterator<Item = LaneResult> {
        let finding = record.finding.take().zip(findings.cloned());
        let finding = finding.map(|(finding, topic)| LaneResult::Finding(topic, finding));
        std::iter::once(LaneResult::Inventory(record)).chain(finding)
    }
}

/// Told of every alert, on the thread that wrote it.
pub type Watcher = Arc<dyn Fn(&Alert) + Send + Sync>;

/// What the threads share.
pub struct Shared {
    config: Config,
    cluster: Cluster,
    ruling: Ruling,
    briefings: Briefings,
    resolver: Arc<Resolver>,
    templates: Arc<TemplateSet>,
    /// How each source is read, by topic.
    formats: BTreeMap<String, SourceFormat>,
    enrichment: Arc<Enrichment>,
    privacy: Arc<Privacy>,
    /// Tells this process from others that have no name either.
    process: u64,
    sink: Sink,
    keeper: Keeper,
    lake: Option<lake::Writer>,
    _following: Following,
    /// What state depends on beside the logs.
    fingerprint: String,
    watcher: Option<Watcher>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    partitions: HashMap<&'static str, usize>,
    stops: [AtomicBool; STAGES.len()],
    /// Stages whose end somebody waits for: they commit as soon as there is nothing to read.
    awaited: [AtomicBool; STAGES.len()],
    /// What this process committed, or found committed when it came to a partition.
    reached: Mutex<HashMap<(&'static str, String, i32), i64>>,
    /// Whether each thread has its partitions, put back and caught up.
    ready: Mutex<BTreeMap<(&'static str, usize), bool>>,
}

impl Shared {
    fn stopped(&self, stage: usize) -> bool {
        self.stops[stage].load(Ordering::Relaxed)
    }

    fn is_awaited(&self, stage: usize) -> bool {
        self.awaited[stage].load(Ordering::Relaxed)
    }

    /// Ends every stage; threads finish what they have read.
    pub fn stop(&self) {
        self.stops
            .iter()
            .for_each(|stop| stop.store(true, Ordering::Relaxed));
    }

    /// True when every stage was told to end, or one has failed.
    pub fn stopping(&self) -> bool {
        self.stopped(STAGES.len() - 1)
    }

    /// A consumer of one thread: a static member of the stage's group when the instance has a name.
    fn consumer(
        &self,
        group: &str,
        start_at: StartAt,
        n: usize,
    ) -> Result<BaseConsumer<Assignments>, kafka::Error> {
        let instance = match self.config.instance.as_str() {
            "" => None,
            instance => Some(format!("{instance}.{n}")),
        };
        let membership = match self.config.group_protocol {
            GroupProtocol::Classic => Membership::Classic,
            GroupProtocol::Consumer => Membership::Consumer,
        };
        self.cluster
            .consumer(group, start_at, membership, instance.as_deref())
    }

    /// Leaves a thread's group. One with a name stays a member, and comes back.
    fn leave(&self, consumer: &BaseConsumer<Assignments>) {
        if self.config.instance.is_empty() {
            kafka::leave(consumer);
        }
    }

    /// Name of this process among those of its group: the instance's, or one of its own.
    fn member(&self) -> String {
        match self.config.instance.as_str() {
            "" => format!("{:016x}", self.process),
            instance => instance.to_owned(),
        }
    }

    fn n_partitions(&self, log: Log) -> usize {
        self.partitions.get(log.name()).copied().unwrap_or(1)
    }

    /// How often a stage that writes `log` tells it how far event time is.
    fn beat_every(&self, log: Log) -> Duration {
        let n = self.n_partitions(log);
        BEAT_EVERY * n.div_ceil(BEAT_LANES).max(1) as u32
    }

    fn reach(&self, stage: &'static str, topic: &str, partition: i32, next: i64) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let at = reached
            .entry((stage, topic.to_owned(), partition))
            .or_insert(next);
        *at = next.max(*at);
    }

    /// Offset up to which everything that a stage makes of a partition is written, and committed.
    pub fn reached(&self, stage: &'static str, topic: &str, partition: i32) -> i64 {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached
            .get(&(stage, topic.to_owned(), partition))
            .copied()
            .unwrap_or(0)
    }

    /// Writes a result outside of a transaction.
    fn write(&self, writer: &Writer, result: &LaneResult) -> Result<(), ServiceError> {
        match result {
            LaneResult::Alert(alert) => {
                self.sink.write(writer, &self.config.topics.alerts, alert)?
            }
            LaneResult::Inventory(record) => {
                let topic = self.config.inventory_topic();
                send(writer, &topic, &record.key, &record.json)?;
            }
            LaneResult::Finding(topic, finding) => {
                send(writer, topic, &finding.key, &finding.json)?;
            }
        }
        self.note(result);
        Ok(())
    }

    /// Counts a result that was written.
    fn note(&self, result: &LaneResult) {
        match result {
            LaneResult::Alert(alert) => self.note_alert(alert),
            LaneResult::Inventory(record) => self.metrics.inventory_record(record, now_ms()),
            // Counted as a record of the inventory.
            LaneResult::Finding(..) => (),
        }
    }

    /// Counts an alert that was written.
    fn note_alert(&self, alert: &Alert) {
        if alert.read_at_ms > 0 {
            self.metrics.alert_after(now_ms() - alert.read_at_ms);
        }
        let activity = if alert.activity_id == 1 {
            "create"
        } else {
            "update"
        };
        let label = crate::telemetry::AlertLabel {
            rule: alert.rule.clone(),
            activity,
        };
        self.metrics.alerts.get_or_create(&label).inc();
        if let Some(watcher) = &self.watcher {
            watcher(alert);
        }
    }

    /// Notes whether a stage's `n`th thread is where it should be; the service is ready when all are.
    fn note_ready(&self, stage: &'static str, n: usize, is_ready: bool) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.insert((stage, n), is_ready) != Some(is_ready) {
            let n_threads = STAGES.len() * self.config.threads;
            let all = ready.len() == n_threads && ready.values().all(|is_ready| *is_ready);
            self.metrics.set_ready(all);
        }
    }
}

/// Hands a record to a writer.
fn send(writer: &Writer, topic: &str, key: &str, value: &str) -> Result<(), kafka::Error> {
    let outgoing = Outgoing {
        topic,
        partition: None,
        key: Some(key.as_bytes()),
        value: value.as_bytes(),
    };
    writer.send(outgoing, std::iter::empty())
}

/// A number no other process has.
pub(crate) fn process() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

/// The topics of a configuration, made when they are missing and that is allowed; partitions of
/// each log by its name.
///
/// # Errors
/// A topic is missing, or the brokers don't answer.
pub async fn ensure_topics(
    config: &Config,
    cluster: &Cluster,
) -> Result<HashMap<&'static str, usize>, kafka::Error> {
    let topics = &config.topics;
    for source in &config.sources {
        cluster.watermarks(&source.topic)?;
    }
    let mut partitions = HashMap::new();
    for log in Log::ALL {
        let name = config.log_topic(log);
        let n = cluster
            .ensure(&topic(topics, &name, topics.partitions))
            .await?;
        partitions.insert(log.name(), n);
    }
    let dead_letters = config.dead_letter_topic();
    cluster.ensure(&topic(topics, &dead_letters, 1)).await?;
    let inventory = config.inventory_topic();
    let compacted = Topic {
        retention_ms: None,
        ..topic(topics, &inventory, topics.partitions)
    };
    cluster.ensure(&compacted).await?;
    if config.alerts_to_topic() {
        cluster
            .ensure(&topic(topics, &topics.alerts, topics.partitions))
            .await?;
    }
    if let Some(findings) = config.findings_topic() {
        let findings = topic(topics, &findings, topics.partitions);
        cluster.ensure(&findings).await?;
    }
    Ok(partitions)
}

/// A topic as the options have it made.
pub(crate) fn topic<'a>(config: &TopicConfig, name: &'a str, partitions: i32) -> Topic<'a> {
    Topic {
        name,
        create: config.create,
        partitions,
        replication: config.replication,
        min_insync_replicas: config.min_insync_replicas,
        retention_ms: Some(config.retention_hours * 3_600_000),
    }
}

/// The cluster of a configuration.
pub fn cluster(config: &Config) -> Cluster {
    Cluster {
        brokers: config.brokers.clone(),
        properties: config.kafka.clone(),
    }
}

/// What a lane's state depends on beside its log, in few characters: the layout of what is saved, the columns of the logs,
/// and the options of the models. The rules and the briefing it was made with are in it.
pub fn fingerprint(config: &Config) -> String {
    let options = ModelConfig {
        register: Arc::default(),
        documents: Arc::default(),
        ..config.models.clone()
    };
    let text = format!("{} {} {options:?}", part::VERSION, schema::VERSION);
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// A service that runs.
pub struct Service {
    /// What its threads share.
    pub shared: Arc<Shared>,
    threads: Vec<(usize, std::thread::JoinHandle<Result<(), ServiceError>>)>,
}

impl Service {
    /// Starts every stage's threads.
    ///
    /// # Errors
    /// A topic is missing, a rule is wrong, or the brokers don't answer.
    pub async fn start(
        config: Config,
        rules: Arc<RuleSet>,
        resolver: Arc<Resolver>,
        templates: Arc<TemplateSet>,
        watcher: Option<Watcher>,
    ) -> Result<Service, ServiceError> {
        crate::command::rules::faults(&rules)?;
        let privacy = config.privacy().map_err(ConfigFaults)?;
        let enrichment = config.enrichment()?;
        let cluster = cluster(&config);
        let partitions = ensure_topics(&config, &cluster).await?;
        let sink = Sink::open(&config)?;
        let mut store = config.open_store()?;
        if let Some(standby) = config.open_standby()? {
            store = store.with_standby(standby);
        }
        let store = Arc::new(store);
        let metrics = Arc::new(Metrics::new());
        let groups = STAGES[1..].iter();
        let groups = groups.map(|stage| format!("{}.{stage}", config.group));
        let following = following::start(store.clone(), groups.collect(), metrics.clone())?;
        let keeper = Keeper::start(store, config.snapshots.keep)?;
        let fingerprint = fingerprint(&config);
        let ruling = Ruling::new(Wanted::new(rules)?);
        let briefings = Briefings::new(briefing::of(&config.models)?);
        let n_lanes = partitions.get(Log::Events.name()).copied().unwrap_or(1);
        let lake = match config.open_lake()? {
            None => None,
            Some(lake) => Some(lake::Writer::start(
                lake,
                config.lake.bytes_max,
                n_lanes,
                lake::writer::Patience::Forever,
                metrics.lake.clone(),
            )?),
        };
        let shared = Arc::new(Shared {
            cluster,
            ruling,
            briefings,
            resolver,
            templates,
            formats: config.source_formats()?,
            enrichment,
            privacy,
            process: process(),
            sink,
            keeper,
            lake,
            _following: following,
            fingerprint,
            watcher,
            metrics,
            partitions,
            stops: Default::default(),
            awaited: Default::default(),
            reached: Mutex::default(),
            ready: Mutex::default(),
            config,
        });
        ruling::start(&shared)?;
        briefing::start(&shared)?;
        let mut threads = Vec::new();
        for (stage, name) in STAGES.into_iter().enumerate() {
            for n in 0..shared.config.threads {
                let shared = shared.clone();
                let run = move || {
                    let _ends = OnPanic(|| shared.stop());
                    let done = match stage {
                        0 => decoding::run(&shared, n),
                        _ => judging::run(&shared, stage, n),
                    };
                    if done.is_err() {
                        shared.stop();
                    }
                    done
                };
                let thread = std::thread::Builder::new().name(format!("{name}-{n}"));
                threads.push((stage, thread.spawn(run)?));
            }
        }
        Ok(Service { shared, threads })
    }

    /// Waits until every stage has committed what its input held: the sources up to their ends now, each
    /// log up to its end when the stage before it is done, be it by other members of its group; then ends.
    ///
    /// # Errors
    /// What stopped a stage.
    pub fn finish_when_caught_up(mut self) -> Result<Arc<Shared>, ServiceError> {
        let sources: Vec<String> = self
            .shared
            .config
            .sources
            .iter()
            .map(|source| source.topic.clone())
            .collect();
        for stage in 0..STAGES.len() {
            let topics = match stage {
                0 => sources.clone(),
                _ => vec![self.shared.config.log_topic(Log::ALL[stage - 1])],
            };
            self.shared.awaited[stage].store(true, Ordering::Relaxed);
            for topic in topics {
                self.await_end(stage, &topic)?;
            }
            self.shared.stops[stage].store(true, Ordering::Relaxed);
            self.join(stage)?;
        }
        Ok(self.shared)
    }

    /// Waits until a stage has committed what a topic holds now, or has stopped.
    fn await_end(&self, stage: usize, topic: &str) -> Result<(), ServiceError> {
        let (shared, name) = (&self.shared, STAGES[stage]);
        let ends = shared.cluster.watermarks(topic)?;
        let mut asked = Every::new(ASK_GROUP_EVERY);
        for (partition, (first, end)) in (0..).zip(ends) {
            while first < end && shared.reached(name, topic, partition) < end {
                if shared.stopped(stage) {
                    return Ok(());
                }
                if asked.due() {
                    let group = format!("{}.{name}", shared.config.group);
                    // No answer for now is no reason to end: the stages go on by themselves as well.
                    let committed = shared.cluster.group(&group, topic);
                    let committed = committed.map_or_else(|_| Vec::new(), |(next, _)| next);
                    for (partition, next) in (0..).zip(committed) {
                        if let Some(next) = next {
                            shared.reach(name, topic, partition, next);
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// Waits until the service is stopped, or a stage fails.
    ///
    /// # Errors
    /// What stopped a stage.
    pub fn finish(mut self) -> Result<Arc<Shared>, ServiceError> {
        for stage in 0..STAGES.len() {
            self.join(stage)?;
        }
        Ok(self.shared)
    }

    fn join(&mut self, stage: usize) -> Result<(), ServiceError> {
        let (these, others) = std::mem::take(&mut self.threads)
            .into_iter()
            .partition(|(s, _)| *s == stage);
        self.threads = others;
        for (_, thread) in these {
            let done = thread
                .join()
                .unwrap_or(Err(ServiceError::Panicked(STAGES[stage])));
            if let Err(error) = done {
                self.shared.stop();
                // The others end at once; the first reason is the one that counts.
                self.threads
                    .drain(..)
                    .for_each(|(_, thread)| drop(thread.join()));
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Does something when its thread panics: the others would go on without that stage, and nobody would be told.
struct OnPanic<F: Fn()>(F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

/// A timer that is due every so often.
struct Every {
    period: Duration,
    last: Instant,
}

impl Every {
    fn new(period: Duration) -> Every {
        Every {
            period,
            last: Instant::now(),
        }
    }

    fn due(&mut self) -> bool {
        let due = self.last.elapsed() >= self.period;
        if due {
            self.last = Instant::now();
        }
        due
    }
}

/// Says that a read failed and is tried again, not too often.
#[derive(Default)]
struct Complaint {
    last: Option<Instant>,
}

impl Complaint {
    fn tell(&mut self, error: &KafkaError, stage: &'static str) {
        if self.last.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.last = Some(Instant::now());
            tracing::warn!(%error, stage, "read failed, trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_tells_the_others_and_an_end_does_not() {
        for panics in [false, true] {
            let is_told = Arc::new(AtomicBool::new(false));
            let tell = is_told.clone();
            let run = move || {
                let _ends = OnPanic(|| tell.store(true, Ordering::Relaxed));
                assert!(!panics, "on purpose");
            };
            assert_eq!(std::thread::spawn(run).join().is_err(), panics);
            assert_eq!(is_told.load(Ordering::Relaxed), panics);
        }
    }
}
