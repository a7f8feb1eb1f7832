//! Records and how far their source was read, in one transaction: what [`super::transaction`] does for what Kafka keeps the offsets of,
//! for sources it does not know. The places are records of a compacted topic, read back by [`places`].
//!
//! One name is one writer's: whoever opens it ends what the last one left open, and writes a *claim*, so that the last one, which can
//! write no more, learns that it was replaced and not only slow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::transaction::{Entry, is_hopeless};
use super::{Cluster, Deliveries, Error, TIMEOUT, ask, flush};

/// Longest time a broker keeps open a transaction whose writer is gone; readers of committed records wait so long.
const OPEN_MAX: Duration = Duration::from_secs(15);
/// Longest wait for transactions of others to end before a topic of places is read.
const SETTLED_WAIT: Duration = Duration::from_secs(60);
/// Waits before a batch is tried again: the first, and the longest; each is twice as long as the one before.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is visible.
    Committed,
    /// Another writer has taken the name; nothing of the batch is visible, and nothing will be.
    Replaced,
    /// Told to stop before it was visible; nothing of it will be.
    Stopped,
}

/// The last records of every key of a compacted topic that begins with `prefix`, as far as they are committed.
///
/// # Errors
/// The topic does not exist, the brokers don't answer, or somebody keeps a transaction open.
pub fn places(
    cluster: &Cluster,
    topic: &str,
    prefix: &[u8],
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
    settle(cluster, topic)?;
    let mut last = BTreeMap::new();
    cluster.read_to_end(topic, |message| {
        match (message.key(), message.payload()) {
            (Some(key), Some(value)) if key.starts_with(prefix) && !value.is_empty() => {
                last.insert(key.to_vec(), value.to_vec());
            }
            (Some(key), _) => drop(last.remove(key)),
            (None, _) => (),
        }
        Ok::<(), Error>(())
    })?;
    Ok(last)
}

/// Waits until nothing that is in a topic now belongs to an open transaction: behind one, committed records can't be read.
fn settle(cluster: &Cluster, topic: &str) -> Result<(), Error> {
    let mut config = cluster.config();
    config.set("isolation.level", "read_uncommitted");
    let all: rdkafka::consumer::BaseConsumer = config.create().map_err(Error::client)?;
    let n_partitions = cluster.watermarks(topic)?.len() as i32;
    let end = |partition| ask(|| all.fetch_watermarks(topic, partition, TIMEOUT));
    let ends: Vec<(i64, i64)> = (0..n_partitions)
        .map(end)
        .collect::<Result<_, _>>()
        .map_err(|error| cluster.unreachable(&error))?;
    let began = Instant::now();
    loop {
        let stable = cluster.watermarks(topic)?;
        let is_settled = |(end, stable): (&(i64, i64), &(i64, i64))| end.1 <= stable.1;
        if ends.iter().zip(&stable).all(is_settled) {
            return Ok(());
        }
        if SETTLED_WAIT < began.elapsed() {
            let topic = topic.to_owned();
            return Err(Error::Silent { topic });
        }
        std::thread::sleep(AGAIN);
    }
}

/// Writes batches of records with the places they were read up to.
pub struct Atomic {
    cluster: Cluster,
    id: String,
    /// The topic of places, the key under which the writer of this name stands, and which one this is.
    claim: Entry,
    producer: Option<BaseProducer<Deliveries>>,
}

impl Atomic {
    /// A writer.
    ///
    /// * `id`: the `transactional.id`, one writer's alone.
    /// * `claim`: a record of the compacted topic of places, of the name's key and with a value no other writer has.
    pub fn new(cluster: Cluster, id: String, claim: Entry) -> Atomic {
        Atomic {
            cluster,
            id,
            claim,
            producer: None,
        }
    }

    /// Takes the name over: what the last writer left open is ended, and it can write no more.
    ///
    /// # Errors
    /// The cluster refuses, or does not answer.
    pub fn open(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let claim = [self.claim.clone()];
            match self.attempt(&claim) {
                Ok(()) => return Ok(()),
                Err(failed) => {
                    self.end(&failed);
                    if is_hopeless(&failed.error) || TIMEOUT < began.elapsed() {
                        return Err(self.failed(failed.error));
                    }
                    tracing::warn!(error = %failed.error, id = self.id, "no transactions yet, trying again");
                    std::thread::sleep(AGAIN);
                }
            }
        }
    }

    /// Writes a batch, all of it or nothing; tries for as long as it takes, and until told to stop.
    ///
    /// * `entries`: the last one is a place, whose record tells whether the batch was committed when the answer is lost.
    /// * `failing`: told before each further try, with what is wrong.
    ///
    /// # Errors
    /// It may never be written: no authorisation, a topic that is gone, a record that is too large.
    pub fn commit(
        &mut self,
        entries: &[Entry],
        stop: &AtomicBool,
        failing: &dyn Fn(&KafkaError),
    ) -> Result<Outcome, Error> {
        let (mut wait, mut is_doubtful) = (AGAIN, false);
        loop {
            let failed = match self.attempt(entries) {
                Ok(()) => return Ok(Outcome::Committed),
                Err(failed) => failed,
            };
            tracing::warn!(error = %failed.error, id = self.id, step = failed.step, "transaction failed");
            self.end(&failed);
            if is_refused(&failed.error) {
                return Err(self.failed(failed.error));
            }
            failing(&failed.error);
            is_doubtful |= failed.step == COMMIT;
            // A fresh producer first: from then on nobody else of the name can write, so what is read then holds.
            let mut is_unsure = is_doubtful || self.producer.is_none();
            while is_unsure {
                match self
                    .reopen()
                    .and_then(|()| self.found(entries, is_doubtful))
                {
                    Ok(Some(outcome)) => return Ok(outcome),
                    Ok(None) => (is_unsure, is_doubtful) = (false, false),
                    Err(error) if stop.load(Ordering::Relaxed) => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, id = self.id, "not known whether it was written, asking again");
                        std::thread::sleep(wait);
                        wait = (2 * wait).min(AGAIN_MAX);
                    }
                }
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(Outcome::Stopped);
            }
            std::thread::sleep(wait);
            wait = (2 * wait).min(AGAIN_MAX);
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        if self.producer.is_none() {
            let fresh = self.producer().map_err(|source| self.failed(source))?;
            self.producer = Some(fresh);
        }
        Ok(())
    }

    /// What became of a batch meanwhile, if that settles it.
    fn found(&self, entries: &[Entry], is_doubtful: bool) -> Result<Option<Outcome>, Error> {
        // Told by the claim, not by an error: brokers also put an end to who is only slow.
        if self.is_replaced()? {
            return Ok(Some(Outcome::Replaced));
        }
        // The answer to the commit may have been lost on its way.
        let is_written = is_doubtful && self.is_written(entries)?;
        Ok(is_written.then_some(Outcome::Committed))
    }

    /// Whether the batch's last record is the last of its key.
    fn is_written(&self, entries: &[Entry]) -> Result<bool, Error> {
        let Some(place) = entries.last() else {
            return Ok(true);
        };
        let found = places(&self.cluster, &place.topic, &place.key)?;
        Ok(found.get(&place.key).map_or(&[][..], Vec::as_slice) == place.value)
    }

    /// Whether another writer has claimed the name since.
    fn is_replaced(&self) -> Result<bool, Error> {
        let found = places(&self.cluster, &self.claim.topic, &self.claim.key)?;
        let value = found.get(&self.claim.key);
        Ok(value.is_some_and(|value| *value != self.claim.value))
    }

    fn attempt(&mut self, entries: &[Entry]) -> Result<(), Failed> {
        let at = |step| move |error| Failed { step, error };
        let producer = match &self.producer {
            Some(producer) => producer,
            None => {
                let fresh = self.producer().map_err(at("begin"))?;
                self.producer.insert(fresh)
            }
        };
        producer.begin_transaction().map_err(at("begin"))?;
        for entry in entries {
            let mut next: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&entry.topic).key(&entry.key);
            // An empty value is none: it deletes the key of a compacted topic.
            if !entry.value.is_empty() {
                next = next.payload(&entry.value);
            }
            loop {
                match producer.send(next) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        next = back;
                        producer.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => return Err(at("send")(error)),
                }
            }
        }
        flush(producer, TIMEOUT).map_err(at("send"))?;
        // The reason is with the record; the commit would only say that there is one.
        if let Err(error) = first_failure(producer) {
            return Err(at("send")(error));
        }
        let began = Instant::now();
        loop {
            match producer.commit_transaction(TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && began.elapsed() < TIMEOUT => {}
                Err(error) => return Err(at(COMMIT)(error)),
            }
        }
    }

    fn producer(&self) -> Result<BaseProducer<Deliveries>, KafkaError> {
        let mut config = self.cluster.config();
        if self.cluster.properties.get("compression.type").is_none() {
            config.set("compression.type", "lz4");
        }
        config
            .set("transactional.id", &self.id)
            .set("enable.idempotence", "true")
            .set("transaction.timeout.ms", OPEN_MAX.as_millis().to_string())
            // A record is given up with its transaction, never before it.
            .set("message.timeout.ms", OPEN_MAX.as_millis().to_string())
            .set("linger.ms", "2")
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
        let is_sound = match &failed.error {
            KafkaError::Transaction(error) => error.txn_requires_abort(),
            _ => false,
        };
        producer.purge(PurgeConfig::default().queue().inflight());
        producer.poll(Duration::from_millis(10));
        if failed.step != "begin" && !is_fenced(&failed.error) {
            let aborted = producer.abort_transaction(TIMEOUT);
            // A producer that did not deliver something remembers it, so it goes.
            if aborted.is_ok() && is_sound && first_failure(&producer).is_ok() {
                self.producer = Some(producer);
            }
        }
    }

    fn failed(&self, source: KafkaError) -> Error {
        Error::Places {
            id: self.id.clone(),
            source,
        }
    }
}

const COMMIT: &str = "commit";

struct Failed {
    step: &'static str,
    error: KafkaError,
}

/// What the brokers said of the first record they did not take.
fn first_failure(producer: &BaseProducer<Deliveries>) -> Result<(), KafkaError> {
    let first = producer.context().first_failure.lock();
    let first = first.unwrap_or_else(std::sync::PoisonError::into_inner);
    first.clone().map_or(Ok(()), |(_, error)| Err(error))
}

/// Trying again would not help.
fn is_refused(error: &KafkaError) -> bool {
    is_hopeless(error)
        || matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord)
        )
}

/// The writer's number is old: somebody took the name, or the brokers ended a transaction that took too long.
fn is_fenced(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
                | RDKafkaErrorCode::Fatal
        )
    )
}
