//! Kafka: consumers that tell of their assignment, producers that tell of failures, and topics.
//!
//! Everything is librdkafka's; properties pass through as they are. What is fixed here is what the
//! promise needs (idempotent producers, no automatic commits) and what was measured: a
//! `fetch.queue.backoff.ms` of 10, where the default of 1000 quarters the throughput.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, Statistics, TopicPartitionList};

pub mod atomic;
pub mod transaction;

mod properties;

pub use properties::Properties;

/// Longest wait for a broker's answer.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest first wait for an answer; each further one is twice as long. Between them is heard why there is none, so a refused login is
/// told after this.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// Wait before brokers are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Group of who reads a topic to its end: assigned and never committed, so it is a name only.
const READER: &str = "tollwatch-reader";

/// A cluster and the properties of its clients.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Bootstrap brokers.
    pub brokers: String,
    /// Properties passed to librdkafka.
    pub properties: Properties,
}

/// What went wrong with Kafka, on what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A client could not be made: a property is wrong.
    #[error("cannot make a Kafka client: {reason}; check the [kafka] properties")]
    Client {
        /// librdkafka's reason, without values: they may be secrets.
        reason: String,
    },
    /// The brokers don't answer.
    #[error(
        "cannot reach {brokers}: {reason}; are the brokers up, and is the security configuration right?"
    )]
    Unreachable {
        /// The bootstrap brokers.
        brokers: String,
        /// Kafka's reason.
        reason: String,
    },
    /// The brokers do not take the credentials.
    #[error(
        "{brokers} refuse the login: {reason}; check sasl.mechanism, sasl.username and sasl.password in [kafka], [kafka_files] and TOLLWATCH_KAFKA_*"
    )]
    Unauthenticated {
        /// The bootstrap brokers.
        brokers: String,
        /// Kafka's reason.
        reason: String,
    },
    /// The brokers know the user, and do not let it do this.
    #[error("the brokers refuse to let this user {what}; allow it by an ACL")]
    Unauthorised {
        /// What was refused, on what.
        what: String,
        /// Kafka's reason.
        source: KafkaError,
    },
    /// A topic is missing and may not, or can't, be made.
    #[error("topic {topic} is missing and was not made: {reason}")]
    TopicMissing {
        /// The topic.
        topic: String,
        /// Why it was not made.
        reason: String,
    },
    /// A topic was there and is no longer.
    #[error("topic {topics} is gone, or one of them; make it again, or read it no longer")]
    TopicGone {
        /// The topics that were read.
        topics: String,
        /// Kafka's reason.
        source: KafkaError,
    },
    /// A record could not be written; nothing derived from it is committed.
    #[error("cannot write to {topic}: {reason}")]
    Produce {
        /// The topic.
        topic: String,
        /// Kafka's reason.
        reason: String,
    },
    /// A topic has more, and nothing of it came for a minute.
    #[error("topic {topic} went silent before its end")]
    Silent {
        /// The topic.
        topic: String,
    },
    /// Reading failed.
    #[error("cannot read from Kafka")]
    Consume(#[source] KafkaError),
    /// A transaction is not known to be committed; its alerts are visible if its offsets are committed, and only then.
    #[error(
        "cannot write alerts and offsets in the transaction {id}; does the cluster allow it to this user? delivery = \"at_least_once\" needs none"
    )]
    Transaction {
        /// The `transactional.id`.
        id: String,
        /// Kafka's reason.
        source: KafkaError,
    },
    /// Records and the places they are from are not known to be written.
    #[error(
        "cannot write records and places in the transaction {id}; may this user use it and write both topics, and do they take records of 1 MiB?"
    )]
    Places {
        /// The `transactional.id`.
        id: String,
        /// Kafka's reason.
        source: KafkaError,
    },
    /// Offsets could not be committed.
    #[error("cannot commit offsets of group {group}")]
    Commit {
        /// The consumer group.
        group: String,
        /// Kafka's reason.
        source: KafkaError,
    },
}

impl Error {
    /// What a failed read of topics, as a member of a group, means.
    pub fn reading(topics: &str, group: &str, source: KafkaError) -> Error {
        let what = match source.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => format!("read {topics}"),
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => format!("join {group}"),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                let topics = topics.to_owned();
                return Error::TopicGone { topics, source };
            }
            _ => return Error::Consume(source),
        };
        Error::Unauthorised { what, source }
    }

    fn writing(topic: &str, source: KafkaError) -> Error {
        match source.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Error::Unauthorised {
                what: format!("write {topic}"),
                source,
            },
            _ => Error::Produce {
                topic: topic.to_owned(),
                reason: source.to_string(),
            },
        }
    }

    fn client(error: KafkaError) -> Error {
        let reason = properties::fault(&error);
        Error::Client { reason }
    }
}

impl Cluster {
    /// Every property of this cluster; what is set after it can't be changed by its user.
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        for (property, value) in self.properties.iter() {
            config.set(property, value);
        }
        config
    }

    /// A client that only asks.
    fn asker(&self) -> Result<BaseConsumer<Reasons>, Error> {
        self.config()
            .set("allow.auto.create.topics", "false")
            .create_with_context(Reasons::default())
            .map_err(Error::client)
    }

    /// Asks what topics there are, or about one, until [`TIMEOUT`]; at once tells that the login is refused.
    fn metadata(
        &self,
        asker: &BaseConsumer<Reasons>,
        topic: Option<&str>,
    ) -> Result<Metadata, Error> {
        let (asked, mut wait) = (Instant::now(), FIRST_ANSWER);
        loop {
            let source = match asker.fetch_metadata(topic, wait) {
                Ok(metadata) => return Ok(metadata),
                Err(source) => source,
            };
            // Reasons are told only to who polls, one a call, lines of the log between them.
            let heard = Instant::now();
            while heard.elapsed() < ASK_AGAIN {
                let _ = asker.poll(ASK_AGAIN.saturating_sub(heard.elapsed()));
            }
            let (brokers, why) = (self.brokers.clone(), asker.context().last());
            match why {
                Some((RDKafkaErrorCode::Authentication, reason)) => {
                    return Err(Error::Unauthenticated { brokers, reason });
                }
                why if TIMEOUT <= asked.elapsed() => {
                    let reason = why.map_or_else(|| source.to_string(), |(_, reason)| reason);
                    return Err(Error::Unreachable { brokers, reason });
                }
                _ => (),
            }
            let left = TIMEOUT.saturating_sub(asked.elapsed());
            wait = (2 * wait).min(left).max(ASK_AGAIN);
        }
    }

    fn unreachable(&self, error: &KafkaError) -> Error {
        Error::Unreachable {
            brokers: self.brokers.clone(),
            reason: error.to_string(),
        }
    }

    /// A consumer of `group` that commits only when told to.
    ///
    /// * `membership`: how the members of the group agree on who has what.
    /// * `instance`: name of a static member, one consumer's alone. One that comes back under its name, even
    ///   after a kill, gets its partitions at once; without a name the group waits for the dead one's
    ///   `session.timeout.ms`.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn consumer(
        &self,
        group: &str,
        start_at: StartAt,
        membership: Membership,
        instance: Option<&str>,
    ) -> Result<BaseConsumer<Assignments>, Error> {
        let mut config = self.config();
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        match membership {
            Membership::Classic => {
                config.set("partition.assignment.strategy", "cooperative-sticky")
            }
            Membership::Consumer => config.set("group.protocol", "consumer"),
        };
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            // Tells whether the group is in a rebalance, which nothing else does.
            .set("statistics.interval.ms", "500")
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.wait.max.ms", "20")
            .set("queued.max.messages.kbytes", "32768")
            .set("allow.auto.create.topics", "false");
        config
            .create_with_context(Assignments {
                start_at,
                complaints: Complaints::default(),
                changes: Mutex::default(),
                gate: Arc::default(),
                steady: Mutex::default(),
            })
            .map_err(Error::client)
    }

    /// An idempotent producer.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn writer(&self) -> Result<Writer, Error> {
        let mut config = self.config();
        if self.properties.get("compression.type").is_none() {
            config.set("compression.type", "lz4");
        }
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("batch.size", "1048576")
            .set("message.max.bytes", "8388608")
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "131072");
        let producer = config
            .create_with_context(Deliveries::default())
            .map_err(Error::client)?;
        Ok(Writer { producer })
    }

    /// Partitions of a topic, none when it does not exist.
    ///
    /// # Errors
    /// The brokers don't answer.
    pub fn partitions(&self, topic: &str) -> Result<Option<usize>, Error> {
        let asker = self.asker()?;
        // A topic that was made a moment ago may not be everywhere yet, so all topics are asked for.
        let metadata = self.metadata(&asker, None)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if found.is_none() {
            // One that may not be seen is left out, and named only to who asks for it.
            let named = self.metadata(&asker, Some(topic))?;
            let refused = named.topics().iter().find_map(|found| found.error());
            let refused = refused.map(RDKafkaErrorCode::from);
            if refused == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
                return Err(Error::Unauthorised {
                    what: format!("see {topic}"),
                    source: KafkaError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed),
                });
            }
        }
        Ok(found
            .map(|found| found.partitions().len())
            .filter(|n| *n > 0))
    }

    /// First and next offset of every partition of a topic.
    ///
    /// # Errors
    /// The brokers don't answer, or the topic does not exist.
    pub fn watermarks(&self, topic: &str) -> Result<Vec<(i64, i64)>, Error> {
        let missing = || Error::TopicMissing {
            topic: topic.to_owned(),
            reason: "it is to be read, so somebody must write it".to_owned(),
        };
        let n = self.partitions(topic)?.ok_or_else(missing)?;
        let asker = self.asker()?;
        (0..n as i32)
            .map(|partition| ask(|| asker.fetch_watermarks(topic, partition, TIMEOUT)))
            .collect::<Result<_, _>>()
            .map_err(|error| self.unreachable(&error))
    }

    /// Next offset a group has committed of each partition of a topic, and how many members the group has now.
    ///
    /// # Errors
    /// The brokers don't answer, or the topic does not exist.
    pub fn group(&self, group: &str, topic: &str) -> Result<(Vec<Option<i64>>, usize), Error> {
        let n = self.watermarks(topic)?.len() as i32;
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", group)
            .create()
            .map_err(Error::client)?;
        let mut asked = TopicPartitionList::new();
        for partition in 0..n {
            asked.add_partition(topic, partition);
        }
        let held = ask(|| {
            let held = consumer.committed_offsets(asked.clone(), TIMEOUT)?;
            held.elements().iter().try_for_each(|e| e.error())?;
            Ok(held)
        });
        let held = held.map_err(|error| Error::reading(topic, group, error))?;
        let offset = |partition| match held.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let groups = ask(|| consumer.fetch_group_list(Some(group), TIMEOUT));
        let groups = groups.map_err(|error| Error::reading(topic, group, error))?;
        let members = groups.groups().iter().map(|group| group.members().len());
        Ok(((0..n).map(offset).collect(), members.sum()))
    }

    /// Gives a topic more partitions.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn grow(&self, topic: &str, partitions: usize) -> Result<(), Error> {
        let admin: AdminClient<DefaultClientContext> =
            self.config().create().map_err(Error::client)?;
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let grown = [NewPartitions::new(topic, partitions)];
        let done = admin.create_partitions(&grown, &options).await;
        let refused = |reason: String| Error::Produce {
            topic: topic.to_owned(),
            reason,
        };
        for result in done.map_err(|error| self.unreachable(&error))? {
            result.map_err(|(_, code)| refused(code.to_string()))?;
        }
        for _ in 0..100 {
            if self.partitions(topic)? == Some(partitions) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(refused("its new partitions do not appear".to_owned()))
    }

    /// Hands over every message of a topic up to its present end, partitions mixed, each in order.
    ///
    /// # Errors
    /// The topic does not exist, the brokers don't answer, or `each` fails.
    pub fn read_to_end<E: From<Error>>(
        &self,
        topic: &str,
        mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let ends = self.watermarks(topic)?;
        // Assigned and never committed, so the group is a name only.
        let consumer = self.consumer(READER, StartAt::Committed, Membership::Classic, None)?;
        let mut assigned = TopicPartitionList::new();
        let mut open = BTreeSet::new();
        for (partition, (first, end)) in (0..).zip(&ends) {
            if first < end {
                assigned
                    .add_partition_offset(topic, partition, Offset::Offset(*first))
                    .map_err(Error::Consume)?;
                open.insert(partition);
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        consumer.assign(&assigned).map_err(Error::Consume)?;
        let mut heard = Instant::now();
        while !open.is_empty() {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let end = ends
                        .get(message.partition() as usize)
                        .map_or(0, |ends| ends.1);
                    if message.offset() < end {
                        each(&message)?;
                    }
                    if end <= message.offset() + 1 {
                        open.remove(&message.partition());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) if is_retryable(&error) && heard.elapsed() < TIMEOUT => (),
                Some(Err(error)) => return Err(Error::reading(topic, "a group", error).into()),
                None if 2 * TIMEOUT < heard.elapsed() => {
                    return Err(Error::Silent {
                        topic: topic.to_owned(),
                    }
                    .into());
                }
                None => (),
            }
        }
        Ok(())
    }

    /// Makes a topic unless it exists; says how many partitions it has.
    ///
    /// # Errors
    /// It is missing and `create` is false, or the cluster refuses.
    pub async fn ensure(&self, topic: &Topic<'_>) -> Result<usize, Error> {
        if let Some(n) = self.partitions(topic.name)? {
            return Ok(n);
        }
        let missing = |reason: String| Error::TopicMissing {
            topic: topic.name.to_owned(),
            reason,
        };
        if !topic.create {
            return Err(missing(
                "topics.create is false; make it, or allow it".to_owned(),
            ));
        }
        let admin: AdminClient<DefaultClientContext> =
            self.config().create().map_err(Error::client)?;
        let (retention, in_sync) = (
            topic
                .retention_ms
                .map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX))
                .to_string(),
            topic.min_insync_replicas.to_string(),
        );
        let cleanup = match topic.retention_ms {
            Some(_) => "delete",
            None => "compact",
        };
        let new = NewTopic::new(
            topic.name,
            topic.partitions,
            TopicReplication::Fixed(topic.replication),
        )
        .set("retention.ms", &retention)
        .set("min.insync.replicas", &in_sync)
        .set("cleanup.policy", cleanup)
        .set("max.message.bytes", "8388608")
        .set("compression.type", "producer");
        let new = match topic.retention_ms {
            Some(_) => new,
            // Only whole segments are compacted: of those of a GiB, as brokers make them, all that was ever written would be read.
            None => new.set("segment.bytes", "16777216"),
        };
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let results = admin
            .create_topics([&new], &options)
            .await
            .map_err(|error| self.unreachable(&error))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => (),
                Err((_, code)) => return Err(missing(code.to_string())),
            }
        }
        for _ in 0..100 {
            if let Some(n) = self.partitions(topic.name)? {
                return Ok(n);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(missing("it was made but does not appear".to_owned()))
    }
}

/// A topic the service writes.
#[derive(Clone, Copy, Debug)]
pub struct Topic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Makes it when it is missing.
    pub create: bool,
    /// Partitions.
    pub partitions: i32,
    /// Replicas.
    pub replication: i32,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// Retention in milliseconds; none for a compacted topic, which keeps the last record of every key.
    pub retention_ms: Option<u64>,
}

/// What happened to a consumer's assignment, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// These partitions are this consumer's now.
    Assigned(Vec<(String, i32)>),
    /// These are no longer.
    Revoked(Vec<(String, i32)>),
}

/// Where a consumer starts to read a partition it is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the group's committed offset, or the beginning.
    Committed,
    /// Nowhere yet: the partition is paused, to be sought and resumed when its state is there.
    Told,
}

/// How the members of a group agree on who has which partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// By one of them, cooperative-sticky: who keeps a partition goes on reading it meanwhile.
    Classic,
    /// By the brokers (KIP-848), Kafka 4.0 or later.
    Consumer,
}

/// Shut while something must be finished before partitions may be given up.
#[derive(Debug, Default)]
pub struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

/// Longest time a rebalance waits for that; then what is unfinished is refused by the group.
const GATE_WAIT: Duration = Duration::from_secs(10);

impl Gate {
    /// Shuts or opens it.
    pub fn set(&self, shut: bool) {
        *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = shut;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = self
            .opened
            .wait_timeout_while(shut, GATE_WAIT, |shut| *shut);
        drop(opened.unwrap_or_else(PoisonError::into_inner));
    }
}

/// How often one client says what is wrong with its brokers; librdkafka tries again several times a second.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Says what librdkafka reports beside its results, the same complaint not too often.
#[derive(Debug, Default)]
struct Complaints {
    last: Mutex<Option<(Option<RDKafkaErrorCode>, Instant)>>,
}

impl Complaints {
    fn tell(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|(said, at)| said == code && at.elapsed() < TELL_EVERY) {
            return;
        }
        *last = Some((code, Instant::now()));
        let is_tried_again = is_retryable(error);
        tracing::warn!(%error, reason, is_tried_again, "Kafka client");
    }
}

/// Keeps why a client gets no answer: the last reason that says more than that there is none.
#[derive(Debug, Default)]
struct Reasons(Mutex<Option<(RDKafkaErrorCode, String)>>);

impl Reasons {
    fn last(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ClientContext for Reasons {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else {
            return;
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |kept: &(RDKafkaErrorCode, String)| {
            code == RDKafkaErrorCode::AllBrokersDown || kept.0 == RDKafkaErrorCode::Authentication
        };
        if !kept.as_ref().is_some_and(is_known) {
            *kept = Some((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Reasons {}

/// Collects changes of assignment; the reader takes them after each poll.
#[derive(Debug)]
pub struct Assignments {
    start_at: StartAt,
    complaints: Complaints,
    changes: Mutex<Vec<Assignment>>,
    gate: Arc<Gate>,
    /// Whether the group was in no rebalance, and when that was.
    steady: Mutex<Option<(bool, Instant)>>,
}

impl Assignments {
    fn is_steady(&self) -> Option<(bool, Instant)> {
        *self.steady.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a revocation waits for.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    /// The changes since the last call.
    pub fn take(&self) -> Vec<Assignment> {
        std::mem::take(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, change: Assignment) {
        self.changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(change);
    }
}

/// How old a look at the group may be for a member to leave it at once.
const STEADY_FRESH: Duration = Duration::from_secs(1);
/// Longest time a member waits for a rebalance to end before it leaves, and then for the group to hear of it.
const LEAVE_WAIT: Duration = Duration::from_secs(15);
const LEFT_WAIT: Duration = Duration::from_secs(2);

/// Leaves a consumer's group before the consumer is dropped. librdkafka's own end says no word to the group in the middle of
/// a rebalance, nor for a member that has no partition; the group would then wait for it until its
/// `session.timeout.ms`, and so would partitions that are on their way to it. What is read meanwhile is dropped.
pub fn leave(consumer: &BaseConsumer<Assignments>) {
    if let Ok(assigned) = consumer.assignment() {
        // It ends either way; paused, it reads less.
        let _ = consumer.pause(&assigned);
    }
    let wait_for = |is_steady: bool, patience: Duration| {
        let began = Instant::now();
        while began.elapsed() < patience {
            match consumer.context().is_steady() {
                Some((found, at)) if found == is_steady && at.elapsed() < STEADY_FRESH => return,
                _ => drop(consumer.poll(Duration::from_millis(50))),
            }
        }
    };
    wait_for(true, LEAVE_WAIT);
    consumer.unsubscribe();
    wait_for(false, LEFT_WAIT);
}

impl ClientContext for Assignments {
    fn stats(&self, statistics: Statistics) {
        if let Some(group) = statistics.cgrp {
            let is_steady = group.state == "up" && group.join_state == "steady";
            let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
            *steady = Some((is_steady, Instant::now()));
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.tell(&error, reason);
    }
}

impl ConsumerContext for Assignments {
    /// As librdkafka's own, but that partitions whose state is still to come are paused at once, and that none is
    /// given up while a transaction is open.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let named = |list: &TopicPartitionList| {
            list.elements()
                .iter()
                .map(|e| (e.topic().to_owned(), e.partition()))
                .collect()
        };
        let incremental = matches!(
            consumer.rebalance_protocol(),
            RebalanceProtocol::Cooperative
        );
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.note(Assignment::Assigned(named(partitions)));
                let assigned = if incremental {
                    consumer.incremental_assign(partitions)
                } else {
                    consumer.assign(partitions)
                };
                match self.start_at {
                    StartAt::Committed => assigned,
                    // Never restored here: the group would wait for it.
                    StartAt::Told => assigned.and_then(|()| consumer.pause(partitions)),
                }
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.gate.wait();
                self.note(Assignment::Revoked(named(partitions)));
                if incremental {
                    consumer.incremental_unassign(partitions)
                } else {
                    consumer.unassign()
                }
            }
            other => return tracing::warn!(error = ?other, "rebalance failed, going on"),
        };
        if let Err(error) = done {
            tracing::error!(%error, "partitions could not be taken or given up");
        }
    }
}

/// Counts what was not delivered.
#[derive(Debug, Default)]
pub struct Deliveries {
    n_failed: AtomicU64,
    first_failure: Mutex<Option<(String, KafkaError)>>,
    complaints: Complaints,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.tell(&error, reason);
    }
}

/// librdkafka's own log: what matters of it comes as an error too, so it is for who looks closely.
fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    tracing::debug!(?level, facility, message, "librdkafka");
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut first = self
                .first_failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| (message.topic().to_owned(), error.clone()));
            self.n_failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An idempotent producer that never drops a record silently.
pub struct Writer {
    producer: BaseProducer<Deliveries>,
}

/// One record to write.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; by key when none.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: &'a [u8],
}

impl Writer {
    /// Hands a record over; waits while the queue is full.
    ///
    /// # Errors
    /// The record can't be sent, or an earlier one was not delivered.
    pub fn send<'h>(
        &self,
        record: Outgoing<'_>,
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    ) -> Result<(), Error> {
        let headers = headers.fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(value),
            })
        });
        let mut next = BaseRecord::<[u8], [u8]>::to(record.topic)
            .payload(record.value)
            .headers(headers);
        next.partition = record.partition;
        next.key = record.key;
        loop {
            match self.producer.send(next) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    next = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(Error::writing(record.topic, error)),
            }
        }
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    /// Waits until every record handed over is acknowledged.
    ///
    /// # Errors
    /// One was not, within librdkafka's `message.timeout.ms`.
    pub fn flush(&self) -> Result<(), Error> {
        loop {
            let flushed = flush(&self.producer, TIMEOUT);
            self.check()?;
            match flushed {
                Ok(()) => return Ok(()),
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => (),
                Err(error) => {
                    return Err(Error::Produce {
                        topic: "-".to_owned(),
                        reason: error.to_string(),
                    });
                }
            }
        }
    }

    /// Serves delivery reports.
    ///
    /// # Errors
    /// A record was not delivered.
    pub fn poll(&self) -> Result<(), Error> {
        self.producer.poll(Duration::ZERO);
        self.check()
    }

    fn check(&self) -> Result<(), Error> {
        let context = self.producer.context();
        if context.n_failed.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let first = context
            .first_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        first.map_or(Ok(()), |(topic, error)| Err(Error::writing(&topic, error)))
    }
}

/// How often a producer's threads are told that somebody waits for them.
const FLUSH_AGAIN: Duration = Duration::from_millis(100);
/// Delivery reports taken at a look; each is of a batch.
const REPORTS_PER_LOOK: usize = 16;

/// Waits until all that a producer has is acknowledged or given up. The client's own way looks only every 100 ms, which every
/// commit and every alert would wait for.
fn flush(producer: &BaseProducer<Deliveries>, patience: Duration) -> Result<(), KafkaError> {
    let began = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        // Each call wakes every broker's thread, so it is not made at each look.
        if told.is_none_or(|at| at.elapsed() >= FLUSH_AGAIN) || producer.in_flight_count() == 0 {
            told = Some(Instant::now());
            match producer.flush(Duration::ZERO) {
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut))
                    if began.elapsed() < patience => {}
                done => return done,
            }
        }
        // Not in the client's poll: below a millisecond it waits by turning.
        std::thread::sleep(Duration::from_millis(1));
        (0..REPORTS_PER_LOOK).for_each(|_| producer.poll(Duration::ZERO));
    }
}

/// Asks brokers, again while the answer is that it may be asked again: for a moment after a broker's end nobody leads its
/// partitions, and that is no reason to stop.
///
/// # Errors
/// The answer is no, or there is none within [`TIMEOUT`].
pub fn ask<T>(mut question: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let asked = Instant::now();
    loop {
        match question() {
            Err(error) if is_retryable(&error) && asked.elapsed() < TIMEOUT => {
                std::thread::sleep(ASK_AGAIN);
            }
            answer => return answer,
        }
    }
}

/// True when a failed read may be tried again: librdkafka goes on by itself.
pub fn is_retryable(error: &KafkaError) -> bool {
    const FATAL: [RDKafkaErrorCode; 6] = [
        RDKafkaErrorCode::Fatal,
        RDKafkaErrorCode::TopicAuthorizationFailed,
        RDKafkaErrorCode::GroupAuthorizationFailed,
        RDKafkaErrorCode::ClusterAuthorizationFailed,
        RDKafkaErrorCode::UnknownTopicOrPartition,
        RDKafkaErrorCode::Authentication,
    ];
    error
        .rdkafka_error_code()
        .is_none_or(|code| !FATAL.contains(&code))
        && error.rdkafka_error_code()
            != Some(RDKafkaErrorCode::from(
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__FATAL,
            ))
}
