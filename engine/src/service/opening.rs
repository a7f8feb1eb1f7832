//! The sources' values opened, and partitions held while the schema registry gives no answer.
//!
//! A partition whose next value was written by a schema that can't be had yet is paused, and read again from that value on when
//! the schema is there: nothing is skipped, the other partitions go on, and the thread stays a member of its group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use connectors::event::RowPosition;
use connectors::kafka::{Assignments, Error, TIMEOUT, ask};
use connectors::reject::Reject;
use connectors::sink::backoff::Backoff;
use connectors::value::{Opened, Refusal, SCHEMA_HEADER, SchemaId, Unopened, Values};
use prometheus_client::metrics::gauge::Gauge;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

/// Waits between two questions to a registry that gave no answer.
const ASK_AGAIN: Duration = Duration::from_millis(500);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(30);

/// What a message holds.
pub(crate) enum Value {
    /// Nothing: a key of a compacted topic that is deleted, and no record of a log.
    Tombstone,
    /// What a decoder reads.
    Opened(Opened),
    /// What is a dead letter.
    Refused(Refusal),
}

impl Value {
    /// Bytes held beside the message.
    pub(super) fn n_bytes(&self) -> usize {
        match self {
            Value::Opened(opened) => opened.n_bytes(),
            Value::Tombstone | Value::Refused(_) => 0,
        }
    }
}

/// The reject of a record that was refused.
pub(crate) fn reject(offset: i64, refusal: &Refusal) -> Reject {
    let position = RowPosition { offset, row: 0 };
    Reject::new(position, refusal.reason, &refusal.detail)
}

/// Opens what a message holds; `fetch` is asked for a schema that is not there.
///
/// # Errors
/// Those of `fetch`.
pub(crate) fn open<M: Message, E>(
    values: &mut Values,
    message: &M,
    mut fetch: impl FnMut(&mut Values, SchemaId) -> Result<(), E>,
) -> Result<Value, E> {
    let Some(payload) = message.payload() else {
        return Ok(Value::Tombstone);
    };
    let headers = if values.has_registry() {
        message.headers()
    } else {
        None
    };
    let header = headers.and_then(|headers| {
        let mut headers = headers.iter();
        headers.find(|header| header.key == SCHEMA_HEADER)?.value
    });
    loop {
        match values.open(payload, header) {
            Ok(opened) => return Ok(Value::Opened(opened)),
            Err(Unopened::Refused(refusal)) => return Ok(Value::Refused(refusal)),
            Err(Unopened::Wanted(id)) => fetch(values, id)?,
        }
    }
}

/// Where a partition is held, and for what.
struct Held {
    offset: i64,
    schema: SchemaId,
}

/// When the registry is asked.
struct Asking {
    backoff: Backoff,
    again_at: Option<Instant>,
}

impl Asking {
    /// Asks for a schema, unless it is too early to.
    fn ask(&mut self, values: &mut Values, id: SchemaId) -> Result<(), SchemaId> {
        if self.again_at.is_some_and(|at| Instant::now() < at) {
            return Err(id);
        }
        match values.fetch(id) {
            Ok(()) => {
                self.backoff.succeeded();
                self.again_at = None;
                Ok(())
            }
            Err(away) => {
                let wait = self.backoff.failed(None);
                self.again_at = Some(Instant::now() + wait);
                let again_in_ms = wait.as_millis() as u64;
                tracing::warn!(%away, schema = %id, again_in_ms, "records wait for their schema");
                Err(id)
            }
        }
    }
}

/// Opens the values of one thread's partitions.
pub(super) struct Opening {
    values: Values,
    asking: Asking,
    held: BTreeMap<(String, i32), Held>,
    /// Partitions that were paused and not resumed: those held, and those that were taken away meanwhile.
    paused: BTreeSet<(String, i32)>,
    /// Partitions held by all threads.
    n_held: Gauge,
}

impl Opening {
    pub(super) fn new(values: Values, n_held: Gauge) -> Opening {
        Opening {
            values,
            asking: Asking {
                backoff: Backoff::new(ASK_AGAIN, ASK_AGAIN_MAX),
                again_at: None,
            },
            held: BTreeMap::new(),
            paused: BTreeSet::new(),
            n_held,
        }
    }

    /// Opens what a message holds; else the schema that its partition is to be held for.
    pub(super) fn open(&mut self, message: &impl Message) -> Result<Value, SchemaId> {
        let asking = &mut self.asking;
        open(&mut self.values, message, |values, id| {
            asking.ask(values, id)
        })
    }

    /// True while a partition is held: what comes of it is read again.
    pub(super) fn holds(&self, topic: &str, partition: i32) -> bool {
        !self.held.is_empty() && self.held.contains_key(&(topic.to_owned(), partition))
    }

    /// Reads a partition no further than to this message, until the schema is there.
    pub(super) fn hold(
        &mut self,
        consumer: &BaseConsumer<Assignments>,
        message: &impl Message,
        schema: SchemaId,
    ) -> Result<(), Error> {
        let key = (message.topic().to_owned(), message.partition());
        consumer.pause(&one(&key)).map_err(Error::Consume)?;
        let offset = message.offset();
        self.paused.insert(key.clone());
        self.held.insert(key, Held { offset, schema });
        self.n_held.inc();
        Ok(())
    }

    /// Reads on where a schema is there now.
    pub(super) fn resume(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), Error> {
        let wanted: BTreeSet<SchemaId> = self.held.values().map(|held| held.schema).collect();
        for schema in wanted {
            if self.asking.ask(&mut self.values, schema).is_err() {
                return Ok(());
            }
            let of_schema = self.held.extract_if(.., |_, held| held.schema == schema);
            for (key, held) in of_schema {
                let next = Offset::Offset(held.offset);
                ask(|| consumer.seek(&key.0, key.1, next, TIMEOUT))
                    .and_then(|()| consumer.resume(&one(&key)))
                    .map_err(Error::Consume)?;
                self.paused.remove(&key);
                self.n_held.dec();
            }
        }
        Ok(())
    }

    /// A partition came to this thread: one that was paused when it left is not any more.
    pub(super) fn assigned(
        &mut self,
        consumer: &BaseConsumer<Assignments>,
        key: &(String, i32),
    ) -> Result<(), Error> {
        match self.paused.remove(key) {
            true => consumer.resume(&one(key)).map_err(Error::Consume),
            false => Ok(()),
        }
    }

    /// A partition was taken from this thread.
    pub(super) fn revoked(&mut self, key: &(String, i32)) {
        if self.held.remove(key).is_some() {
            self.n_held.dec();
        }
    }
}

fn one((topic, partition): &(String, i32)) -> TopicPartitionList {
    let mut those = TopicPartitionList::new();
    those.add_partition(topic, *partition);
    those
}
