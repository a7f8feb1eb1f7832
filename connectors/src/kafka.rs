//! Kafka: consumers that tell of their assignment, producers that tell of failures, and topics.
//!
//! Everything is librdkafka's; properties pass through as they are. What is fixed here is what the
//! promise needs (idempotent producers, no automatic commits) and what was measured: a
//! `fetch.queue.backoff.ms` of 10, where the default of 1000 quarters the throughput.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, Statistics, TopicPartitionList};

pub mod transaction;

/// Longest wait for a broker's answer.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Wait before brokers are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A cluster and the properties of its clients.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Bootstrap brokers.
    pub brokers: String,
    /// Properties passed to librdkafka.
    pub properties: BTreeMap<String, String>,
}

/// What went wrong with Kafka, on what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A client could not be made: a property is wrong.
    #[error("cannot make a Kafka client; check the [kafka] properties")]
    Client(#[source] KafkaError),
    /// The brokers don't answer.
    #[error("cannot reach {brokers}; are the brokers up, and is the security configuration right?")]
    Unreachable {
        /// The bootstrap brokers.
        brokers: String,
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
    /// A transaction could not be committed; nothing of it is visible.
    #[error(
        "cannot write alerts and offsets in the transaction {id}; does the cluster allow it to this user? delivery = \"at_least_once\" needs none"
    )]
    Transaction {
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

impl Cluster {
    /// Every property of this cluster; what is set after it can't be changed by its user.
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        for (property, value) in &self.properties {
            config.set(property, value);
        }
        config
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
            .map_err(Error::Client)
    }

    /// An idempotent producer.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn writer(&self) -> Result<Writer, Error> {
        let mut config = self.config();
        if !self.properties.contains_key("compression.type") {
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
            .map_err(Error::Client)?;
        Ok(Writer { producer })
    }

    /// Partitions of a topic, none when it does not exist.
    ///
    /// # Errors
    /// The brokers don't answer.
    pub fn partitions(&self, topic: &str) -> Result<Option<usize>, Error> {
        let consumer: BaseConsumer = self.config().create().map_err(Error::Client)?;
        let unreachable = |source| Error::Unreachable {
            brokers: self.brokers.clone(),
            source,
        };
        // A topic that was made a moment ago may not be everywhere yet, so all topics are asked for.
        let metadata = consumer
            .fetch_metadata(None, TIMEOUT)
            .map_err(unreachable)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
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
        let consumer: BaseConsumer = self.config().create().map_err(Error::Client)?;
        (0..n as i32)
            .map(|partition| ask(|| consumer.fetch_watermarks(topic, partition, TIMEOUT)))
            .collect::<Result<_, _>>()
            .map_err(|source| Error::Unreachable {
                brokers: self.brokers.clone(),
                source,
            })
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
        let consumer = self.consumer(
            "tollwatch-reader",
            StartAt::Committed,
            Membership::Classic,
            None,
        )?;
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
                Some(Err(error)) => return Err(Error::Consume(error).into()),
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
            self.config().create().map_err(Error::Client)?;
        let (retention, in_sync) = (
            topic.retention_ms.to_string(),
            topic.min_insync_replicas.to_string(),
        );
        let new = NewTopic::new(
            topic.name,
            topic.partitions,
            TopicReplication::Fixed(topic.replication),
        )
        .set("retention.ms", &retention)
        .set("min.insync.replicas", &in_sync)
        .set("cleanup.policy", "delete")
        .set("max.message.bytes", "8388608")
        .set("compression.type", "producer");
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let results = admin
            .create_topics([&new], &options)
            .await
            .map_err(|source| Error::Unreachable {
                brokers: self.brokers.clone(),
                source,
            })?;
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
    /// Retention in milliseconds.
    pub retention_ms: u64,
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
        tracing::warn!(%error, reason, "Kafka client, trying again");
    }
}

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
const STEADY_FRESH: Duration = Duration::from_millis(1000);
/// Longest time a member waits for a rebalance to end before it leaves.
const LEAVE_WAIT: Duration = Duration::from_secs(15);

/// Waits until a consumer can leave its group: librdkafka says no word to a group that is in a rebalance, which would then
/// wait for the member until its `session.timeout.ms`. What is read meanwhile is dropped, so nothing may be processed after.
pub fn before_leaving(consumer: &BaseConsumer<Assignments>) {
    if let Ok(assigned) = consumer.assignment() {
        // It ends either way; paused, it reads less.
        let _ = consumer.pause(&assigned);
    }
    let began = Instant::now();
    while began.elapsed() < LEAVE_WAIT {
        match consumer.context().is_steady() {
            Some((true, at)) if at.elapsed() < STEADY_FRESH => return,
            _ => drop(consumer.poll(Duration::from_millis(50))),
        }
    }
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
    first_failure: Mutex<Option<(String, String)>>,
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
            self.n_failed.fetch_add(1, Ordering::Relaxed);
            let mut first = self
                .first_failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| (message.topic().to_owned(), error.to_string()));
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
                Err((error, _)) => {
                    let reason = error.to_string();
                    return Err(Error::Produce {
                        topic: record.topic.to_owned(),
                        reason,
                    });
                }
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
            match self.producer.flush(TIMEOUT) {
                Ok(()) => return self.check(),
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => self.check()?,
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
        let (topic, reason) = first.unwrap_or_default();
        Err(Error::Produce { topic, reason })
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
    const FATAL: [RDKafkaErrorCode; 5] = [
        RDKafkaErrorCode::Fatal,
        RDKafkaErrorCode::TopicAuthorizationFailed,
        RDKafkaErrorCode::GroupAuthorizationFailed,
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
