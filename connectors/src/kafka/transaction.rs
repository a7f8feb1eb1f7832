//! Records and the consumed offsets they come from, in one transaction: both are seen, or neither.
//!
//! A batch is begun, sent and committed at once, so no transaction is open while nothing happens. Every
//! call has a time limit: one that hangs, as when the group's coordinator went away, ends with a new
//! producer under the same `transactional.id`, which ends what the old one left open. What a lost
//! answer leaves unknown the group's committed offsets tell, since they are part of the transaction.
//!
//! Who may still consume is for the group's coordinator to say: it refuses offsets of a member of an
//! older generation, and then nothing of the batch is ever seen.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use rdkafka::{Offset, TopicPartitionList};

use super::{Cluster, Deliveries, Error, TIMEOUT, ask, flush};

/// Longest time a broker keeps open a transaction whose producer is gone; readers of committed records wait so long.
const OPEN_MAX: Duration = Duration::from_secs(15);
/// Longest time a batch is tried; the service then stops, and the batch is seen only if its offsets are committed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Wait before a batch is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// One record to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    /// It is visible, and its offsets are committed.
    Committed,
    /// The group does not accept this member's offsets: it has lost partitions, or its view of the group is old.
    /// Nothing of the batch is visible.
    Refused(KafkaError),
}

/// Writes batches of records with their offsets.
pub struct Transactor {
    cluster: Cluster,
    id: String,
    group: String,
    producer: Option<BaseProducer<Deliveries>>,
    /// Asks what the group has committed; never joins it.
    group_reader: Option<BaseConsumer>,
}

impl Transactor {
    /// A transactor of `group`.
    ///
    /// * `id`: the `transactional.id`. The same one after a restart ends what the last one left open, when it is opened;
    ///   two at work with one id fence each other off.
    pub fn new(cluster: Cluster, id: String, group: String) -> Self {
        Self {
            cluster,
            id,
            group,
            producer: None,
            group_reader: None,
        }
    }

    /// Ends what the last one of this id left open, so that nobody waits for it.
    ///
    /// # Errors
    /// The cluster refuses, or does not answer.
    pub fn open(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            match self.producer() {
                Ok(fresh) => {
                    self.producer = Some(fresh);
                    return Ok(());
                }
                // A coordinator that just ended is no reason to.
                Err(source) if is_hopeless(&source) || PATIENCE < began.elapsed() => {
                    return Err(Error::Transaction {
                        id: self.id.clone(),
                        source,
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, id = self.id, "no transactions yet, trying again");
                    std::thread::sleep(AGAIN);
                }
            }
        }
    }

    /// Writes `entries` and commits `offsets` as `member` of the group, both or neither.
    ///
    /// # Errors
    /// It failed for two minutes, or may never be: no authorisation, a topic that is gone.
    pub fn commit(
        &mut self,
        entries: &[Entry],
        offsets: &TopicPartitionList,
        member: &ConsumerGroupMetadata,
    ) -> Result<Outcome, Error> {
        let began = Instant::now();
        loop {
            let failed = match self.attempt(entries, offsets, member) {
                Ok(()) => return Ok(Outcome::Committed),
                Err(failed) => failed,
            };
            tracing::warn!(error = %failed.error, id = self.id, step = failed.step.name(), "transaction failed");
            self.end(&failed);
            if is_refusal(&failed.error) {
                return Ok(Outcome::Refused(failed.error));
            }
            // The answer to the commit may have been lost on its way.
            if failed.step == Step::Commit && self.is_committed(offsets)? {
                return Ok(Outcome::Committed);
            }
            if is_hopeless(&failed.error) || PATIENCE < began.elapsed() {
                return Err(Error::Transaction {
                    id: self.id.clone(),
                    source: failed.error,
                });
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn attempt(
        &mut self,
        entries: &[Entry],
        offsets: &TopicPartitionList,
        member: &ConsumerGroupMetadata,
    ) -> Result<(), Failed> {
        let at = |step| move |error| Failed { step, error };
        let producer = match &self.producer {
            Some(producer) => producer,
            None => {
                let fresh = self.producer().map_err(at(Step::Begin))?;
                self.producer.insert(fresh)
            }
        };
        let began = Instant::now();
        producer.begin_transaction().map_err(at(Step::Begin))?;
        for entry in entries {
            let mut next = BaseRecord::to(&entry.topic)
                .key(entry.key.as_slice())
                .payload(entry.value.as_slice());
            loop {
                match producer.send(next) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        next = back;
                        producer.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => return Err(at(Step::Send)(error)),
                }
            }
        }
        let sent = began.elapsed();
        producer
            .send_offsets_to_transaction(offsets, member, TIMEOUT)
            .map_err(at(Step::Offsets))?;
        let offsets_sent = began.elapsed();
        flush(producer, TIMEOUT).map_err(at(Step::Send))?;
        let committed = Instant::now();
        loop {
            match producer.commit_transaction(TIMEOUT) {
                Ok(()) => {
                    tracing::debug!(id = self.id, n = entries.len(), ?sent, ?offsets_sent, all = ?began.elapsed(), "transaction committed");
                    return Ok(());
                }
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && committed.elapsed() < TIMEOUT => {}
                Err(error) => return Err(at(Step::Commit)(error)),
            }
        }
    }

    fn producer(&self) -> Result<BaseProducer<Deliveries>, KafkaError> {
        let mut config = self.cluster.config();
        config
            .set("transactional.id", &self.id)
            .set("enable.idempotence", "true")
            .set("transaction.timeout.ms", OPEN_MAX.as_millis().to_string())
            // A record is given up with its transaction, never before it.
            .set("message.timeout.ms", OPEN_MAX.as_millis().to_string())
            .set("linger.ms", "0")
            .set("message.max.bytes", "8388608");
        let producer: BaseProducer<Deliveries> =
            config.create_with_context(Deliveries::default())?;
        producer.init_transactions(TIMEOUT)?;
        Ok(producer)
    }

    /// Aborts what failed; where that is not possible, the next producer will.
    fn end(&mut self, failed: &Failed) {
        let Some(producer) = self.producer.take() else {
            return;
        };
        if let KafkaError::Transaction(error) = &failed.error
            && error.txn_requires_abort()
        {
            producer.purge(PurgeConfig::default().queue().inflight());
            producer.poll(Duration::from_millis(10));
            if producer.abort_transaction(TIMEOUT).is_ok() {
                self.producer = Some(producer);
            }
        }
    }

    /// Whether the group has committed these offsets, or later ones.
    fn is_committed(&mut self, offsets: &TopicPartitionList) -> Result<bool, Error> {
        if self.producer.is_none() {
            // The answer is not settled before the coordinator has ended what was left open.
            self.open()?;
        }
        let reader = match &self.group_reader {
            Some(reader) => reader,
            None => {
                let mut config = self.cluster.config();
                config.set("group.id", &self.group);
                let fresh = config.create().map_err(Error::client)?;
                self.group_reader.insert(fresh)
            }
        };
        let mut asked = TopicPartitionList::new();
        for element in offsets.elements() {
            asked.add_partition(element.topic(), element.partition());
        }
        let held = ask(|| {
            let held = reader.committed_offsets(asked.clone(), TIMEOUT)?;
            held.elements().iter().try_for_each(|e| e.error())?;
            Ok(held)
        })
        .map_err(Error::Consume)?;
        let number = |offset| match offset {
            Offset::Offset(offset) => offset,
            _ => -1,
        };
        Ok(offsets.elements().iter().all(|wanted| {
            held.find_partition(wanted.topic(), wanted.partition())
                .is_some_and(|held| number(wanted.offset()) <= number(held.offset()))
        }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Send,
    Offsets,
    Commit,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Begin => "begin",
            Step::Send => "send",
            Step::Offsets => "offsets",
            Step::Commit => "commit",
        }
    }
}

struct Failed {
    step: Step,
    error: KafkaError,
}

fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::StaleMemberEpoch
                | RDKafkaErrorCode::FencedMemberEpoch
        )
    )
}

pub(super) fn is_hopeless(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::UnsupportedFeature
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}
