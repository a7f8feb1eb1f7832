//! One thread of `decode`: source partitions in, the events log and dead letters out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use connectors::dead_letter;
use connectors::format::{Format, SourceRecord};
use connectors::kafka::{
    Assignment, Assignments, Error, Outgoing, StartAt, TIMEOUT, Writer, ask, is_retryable,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::opening::{self, Opening, Value};
use super::{
    COMMIT_EVERY, Complaint, Every, LINGER, MEASURE_EVERY, MESSAGES_BYTES_MAX, MESSAGES_MAX,
    ServiceError, Shared, now_ms,
};
use crate::lane::Outbox;
use crate::log::{self, Log, LogRecord};
use crate::stage::StageError;
use crate::stage::decode::{Decode, DecodeConfig};
use crate::telemetry::{PartitionLabel, ReasonLabel, StageLabel};

const STAGE: &str = "decode";

struct Source {
    decode: Decode,
    /// Next offset to read; what lies before it is decoded.
    next: i64,
    committed: i64,
    read_at: Instant,
    /// True when the partition's end was reached, and nothing was read since.
    at_end: bool,
    told_idle: bool,
    /// Event time last told to every partition of the log, ms.
    told_ms: i64,
}

type Sources = BTreeMap<(String, i32), Source>;

/// Runs the stage's `n`th thread until the stage is stopped.
pub(super) fn run(shared: &Shared, n: usize) -> Result<(), ServiceError> {
    let group = format!("{}.{STAGE}", shared.config.group);
    let consumer = shared.consumer(&group, StartAt::Committed, n)?;
    let topics: Vec<&str> = shared
        .config
        .sources
        .iter()
        .map(|s| s.topic.as_str())
        .collect();
    consumer.subscribe(&topics).map_err(Error::Consume)?;
    let writer = shared.cluster.writer()?;
    let values = shared.config.open_values().map_err(ServiceError::Values)?;
    let mut thread = Thread {
        shared,
        writer,
        n,
        group,
        events_topic: shared.config.log_topic(Log::Events),
        dead_letter_topic: shared.config.dead_letter_topic(),
        opening: Opening::new(values, shared.metrics.held.clone()),
        sources: Sources::new(),
        gathered_since: None,
        complaint: Complaint::default(),
    };
    let mut commit = Every::new(COMMIT_EVERY);
    let mut beat = Every::new(shared.beat_every(Log::Events));
    let mut measure = Every::new(MEASURE_EVERY);
    while !shared.stopped(0) {
        thread.opening.resume(&consumer)?;
        let taken = thread.take(&consumer)?;
        thread.decode(&taken)?;
        let more = taken.more;
        drop(taken);
        thread.flush(!more)?;
        if beat.due() {
            thread.beat(&consumer)?;
        }
        if commit.due() || (!more && shared.is_awaited(0)) {
            thread.commit(&consumer)?;
        }
        if measure.due() {
            thread.measure(&consumer);
        }
    }
    thread.rest()?;
    thread.commit(&consumer)?;
    drop(thread);
    shared.leave(&consumer);
    Ok(())
}

/// A message, and what it holds.
struct Record<'c> {
    message: BorrowedMessage<'c>,
    value: Value,
}

/// What one look at the source topics gave.
struct Taken<'c> {
    records: Vec<Record<'c>>,
    /// Partitions whose end was reached, and how many records had come before.
    ends: Vec<(i32, usize)>,
    /// True when there may be more to read at once.
    more: bool,
}

struct Thread<'a> {
    shared: &'a Shared,
    writer: Writer,
    n: usize,
    group: String,
    events_topic: String,
    dead_letter_topic: String,
    opening: Opening,
    sources: Sources,
    gathered_since: Option<Instant>,
    complaint: Complaint,
}

impl Thread<'_> {
    /// Takes what is there to read.
    fn take<'c>(
        &mut self,
        consumer: &'c BaseConsumer<Assignments>,
    ) -> Result<Taken<'c>, ServiceError> {
        let mut taken = Taken {
            records: Vec::new(),
            ends: Vec::new(),
            more: true,
        };
        let (mut wait, mut n_bytes) = (Duration::from_millis(10), 0);
        while taken.records.len() < MESSAGES_MAX && n_bytes < MESSAGES_BYTES_MAX {
            let polled = consumer.poll(wait);
            self.assign(consumer, &mut taken.records)?;
            wait = Duration::ZERO;
            match polled {
                None => {
                    taken.more = false;
                    break;
                }
                Some(Ok(message)) => {
                    if let Some(value) = self.open(consumer, &message)? {
                        n_bytes += message.payload_len() + value.n_bytes();
                        taken.records.push(Record { message, value });
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    taken.ends.push((partition, taken.records.len()));
                }
                Some(Err(error)) if is_retryable(&error) => self.complaint.tell(&error, STAGE),
                Some(Err(error)) => return Err(self.failed(error).into()),
            }
        }
        Ok(taken)
    }

    /// What a message holds; none when its partition is held before it.
    fn open(
        &mut self,
        consumer: &BaseConsumer<Assignments>,
        message: &BorrowedMessage<'_>,
    ) -> Result<Option<Value>, ServiceError> {
        let (topic, partition) = (message.topic(), message.partition());
        if self.opening.holds(topic, partition) {
            return Ok(None);
        }
        let schema = match self.opening.open(message) {
            Ok(value) => return Ok(Some(value)),
            Err(schema) => schema,
        };
        if let Some(source) = self.sources.get_mut(&(topic.to_owned(), partition)) {
            self.opening.hold(consumer, message, schema)?;
            // It has something to say, so nobody is to go on without it.
            (source.at_end, source.told_idle, source.told_ms) = (false, false, i64::MIN);
        }
        Ok(None)
    }

    fn failed(&self, error: KafkaError) -> Error {
        let sources = &self.shared.config.sources;
        let topics: Vec<&str> = sources.iter().map(|source| source.topic.as_str()).collect();
        let group = format!("group {}", self.group);
        Error::reading(&topics.join(", "), &group, error)
    }

    fn assign(
        &mut self,
        consumer: &BaseConsumer<Assignments>,
        records: &mut Vec<Record<'_>>,
    ) -> Result<(), ServiceError> {
        for change in consumer.context().take() {
            match change {
                Assignment::Assigned(partitions) => {
                    tracing::info!(stage = STAGE, ?partitions, "partitions assigned");
                    for key in partitions {
                        let mut source = self.source(consumer, &key)?;
                        // Nobody downstream waits for a source it has not heard of.
                        let mut out = Outbox::default();
                        source.decode.heartbeat(false, &mut out).map_err(failed)?;
                        write(self.shared, &self.writer, &self.events_topic, &out)?;
                        self.opening.assigned(consumer, &key)?;
                        self.sources.insert(key, source);
                    }
                    self.shared.note_ready(STAGE, self.n, true);
                }
                Assignment::Revoked(partitions) => {
                    tracing::info!(stage = STAGE, ?partitions, "partitions revoked");
                    // What was gathered and not written is decoded again by the next owner. That may be
                    // this thread, in a moment: what it had taken must not go before what it had not.
                    for key in partitions {
                        let (topic, partition) = (key.0.as_str(), key.1);
                        records.retain(|Record { message, .. }| {
                            (message.topic(), message.partition()) != (topic, partition)
                        });
                        self.opening.revoked(&key);
                        self.sources.remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    fn source(
        &self,
        consumer: &BaseConsumer<Assignments>,
        (topic, partition): &(String, i32),
    ) -> Result<Source, ServiceError> {
        let Standing { first, committed } =
            standing(self.shared, consumer, STAGE, topic, *partition)?;
        let committed = committed.unwrap_or(first).max(first);
        // What is committed is done, even if nothing more is ever written.
        self.shared.reach(STAGE, topic, *partition, committed);
        let format = self.shared.formats.get(topic).cloned();
        let format = format.unwrap_or(Format::Auto.into());
        let partitions = self
            .shared
            .partitions
            .get(Log::Events.name())
            .copied()
            .unwrap_or(1);
        let config = DecodeConfig {
            format,
            resolver: self.shared.resolver.clone(),
            templates: self.shared.templates.clone(),
            enrichment: self.shared.enrichment.clone(),
            privacy: self.shared.privacy.clone(),
            partitions,
        };
        Ok(Source {
            decode: Decode::new(topic.as_str().into(), *partition, config),
            next: committed,
            committed,
            read_at: Instant::now(),
            at_end: false,
            told_idle: false,
            told_ms: i64::MIN,
        })
    }

    fn decode(&mut self, taken: &Taken<'_>) -> Result<(), ServiceError> {
        self.events(&taken.records)?;
        for (partition, n_before) in &taken.ends {
            let mut after = taken.records[*n_before..].iter();
            if after.any(|record| record.message.partition() == *partition) {
                continue;
            }
            let those = self.sources.iter_mut().filter(|((_, p), _)| p == partition);
            those.for_each(|(_, source)| source.at_end = true);
        }
        Ok(())
    }

    fn events(&mut self, taken: &[Record<'_>]) -> Result<(), ServiceError> {
        let mut by_partition = BTreeMap::<(&str, i32), Vec<&Record<'_>>>::new();
        for record in taken {
            let message = &record.message;
            by_partition
                .entry((message.topic(), message.partition()))
                .or_default()
                .push(record);
        }
        let stage = StageLabel { stage: STAGE };
        for ((topic, partition), taken) in by_partition {
            let Some(source) = self.sources.get_mut(&(topic.to_owned(), partition)) else {
                continue;
            };
            let started = Instant::now();
            let metrics = &self.shared.metrics;
            let (mut records, mut refused) = (Vec::with_capacity(taken.len()), Vec::new());
            for Record { message, value } in &taken {
                match value {
                    Value::Opened(opened) => records.push(SourceRecord {
                        payload: opened.text(message.payload().unwrap_or_default()),
                        offset: message.offset(),
                        broker_time_ms: message.timestamp().to_millis(),
                    }),
                    Value::Refused(refusal) => {
                        refused.push(opening::reject(message.offset(), refusal));
                    }
                    Value::Tombstone => {
                        metrics.tombstones.inc();
                    }
                }
            }
            let mut out = Outbox::default();
            let mut pushed = source
                .decode
                .push(&records, now_ms(), &mut out)
                .map_err(failed)?;
            (source.read_at, source.at_end, source.told_idle) = (started, false, false);
            source.next = taken
                .last()
                .map_or(source.next, |record| record.message.offset() + 1);
            metrics
                .records
                .get_or_create(&stage)
                .inc_by(taken.len() as u64);
            metrics
                .rows
                .get_or_create(&stage)
                .inc_by(taken.len() as u64);
            metrics.events.inc_by(pushed.n_events as u64);
            metrics.clamped.inc_by(pushed.n_clamped as u64);
            pushed.rejects.extend(refused);
            pushed.rejects.sort_by_key(|reject| reject.position.offset);
            for reject in &pushed.rejects {
                let label = ReasonLabel {
                    reason: reject.reason.as_str(),
                };
                metrics.rejects.get_or_create(&label).inc();
            }
            let payload_of = |offset| {
                let at = taken.binary_search_by_key(&offset, |record| record.message.offset());
                let message = at.ok().and_then(|at| taken[at].message.payload());
                message.unwrap_or_default()
            };
            let bytes_max = match self.shared.config.privacy.blank_dead_letters {
                true => 0,
                false => dead_letter::LETTER_BYTES_MAX,
            };
            let rejects = &pushed.rejects;
            let letters = dead_letter::letters(topic, partition, rejects, payload_of, bytes_max);
            for letter in letters {
                let outgoing = Outgoing {
                    topic: &self.dead_letter_topic,
                    partition: Some(0),
                    key: None,
                    value: letter.value,
                };
                let headers = letter.headers.iter();
                self.writer
                    .send(outgoing, headers.map(|(k, v)| (k.as_str(), v.as_slice())))?;
            }
            if let Some(first) = pushed.rejects.first() {
                let (n_rejects, offset) = (pushed.rejects.len(), first.position.offset);
                tracing::warn!(
                    topic,
                    partition,
                    n_rejects,
                    offset,
                    reason = first.reason.as_str(),
                    "records rejected"
                );
            }
            metrics
                .batch_seconds
                .get_or_create(&stage)
                .observe(started.elapsed().as_secs_f64());
            self.gathered_since.get_or_insert(started);
            write(self.shared, &self.writer, &self.events_topic, &out)?;
        }
        Ok(())
    }

    /// Writes what was gathered when it is time to.
    fn flush(&mut self, now: bool) -> Result<(), ServiceError> {
        self.writer.poll()?;
        let due = self
            .gathered_since
            .is_some_and(|since| now || since.elapsed() >= LINGER);
        if !due {
            return Ok(());
        }
        self.gathered_since = None;
        for source in self.sources.values_mut() {
            let mut out = Outbox::default();
            source.decode.flush(&mut out).map_err(failed)?;
            write(self.shared, &self.writer, &self.events_topic, &out)?;
        }
        Ok(())
    }

    /// Tells every partition of the log how far event time is, and which sources are silent: at
    /// their end, with nothing new for a while. A source with a backlog is never silent, however long
    /// this thread was busy elsewhere.
    fn beat(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        let idle = Duration::from_millis(self.shared.config.idle_ms);
        for ((topic, partition), source) in &mut self.sources {
            if source.told_idle {
                continue;
            }
            let is_held = self.opening.holds(topic, *partition);
            let mut silent = source.at_end && !is_held && source.read_at.elapsed() >= idle;
            if silent {
                // The end is told without a topic's name: of several topics it may be another's.
                let ends = consumer.fetch_watermarks(topic, *partition, Duration::from_secs(1));
                match ends {
                    Ok((_, end)) if self.shared.config.sources.len() == 1 || end <= source.next => {
                        // Beyond the last message there may be a transaction's marker.
                        if source.next <= source.committed {
                            self.shared.reach(STAGE, topic, *partition, end);
                        }
                    }
                    _ => silent = false,
                }
            }
            if silent || source.decode.watermark_ms() != source.told_ms {
                source.told_ms = source.decode.watermark_ms();
                source.told_idle = silent;
                let mut out = Outbox::default();
                source.decode.heartbeat(silent, &mut out).map_err(failed)?;
                write(self.shared, &self.writer, &self.events_topic, &out)?;
            }
        }
        Ok(())
    }

    /// Writes what was gathered, and lets nobody wait for sources that have ended.
    fn rest(&mut self) -> Result<(), ServiceError> {
        self.flush(true)?;
        for ((topic, partition), source) in &mut self.sources {
            if !source.at_end || self.opening.holds(topic, *partition) {
                continue;
            }
            let mut out = Outbox::default();
            source.decode.heartbeat(true, &mut out).map_err(failed)?;
            write(self.shared, &self.writer, &self.events_topic, &out)?;
        }
        Ok(())
    }

    fn commit(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        self.flush(true)?;
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), source) in &self.sources {
            if source.next > source.committed {
                // An offset is never negative here, so it is always accepted.
                let _ =
                    offsets.add_partition_offset(topic, *partition, Offset::Offset(source.next));
            }
        }
        self.writer.flush()?;
        if commit(consumer, &offsets, &self.group, STAGE, self.shared)? {
            for ((topic, partition), source) in &mut self.sources {
                source.committed = source.committed.max(source.next);
                self.shared
                    .reach(STAGE, topic, *partition, source.committed);
            }
        }
        Ok(())
    }

    fn measure(&self, consumer: &BaseConsumer<Assignments>) {
        for ((topic, partition), source) in &self.sources {
            lag(self.shared, consumer, STAGE, topic, *partition, source.next);
        }
    }
}

fn failed(source: StageError) -> ServiceError {
    ServiceError::Stage {
        stage: STAGE,
        source,
    }
}

/// Where a group stands in a partition.
#[derive(Debug)]
pub(super) struct Standing {
    /// The oldest offset that is still there.
    pub(super) first: i64,
    /// The next offset the group has to read, at most the partition's end; none when it never committed.
    pub(super) committed: Option<i64>,
}

/// Asks where a group stands, and says what was lost before it came to it.
pub(super) fn standing(
    shared: &Shared,
    consumer: &BaseConsumer<Assignments>,
    stage: &'static str,
    topic: &str,
    partition: i32,
) -> Result<Standing, ServiceError> {
    let reading = |error| Error::reading(topic, &format!("the group of stage {stage}"), error);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let committed = ask(|| {
        let answer = consumer.committed_offsets(asked.clone(), TIMEOUT)?;
        let mut committed = None;
        for element in answer.elements() {
            // An error is no answer: taken for "never committed", every alert would be told again.
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                committed = Some(offset);
            }
        }
        Ok(committed)
    });
    let mut committed = committed.map_err(reading)?;
    let ends = ask(|| consumer.fetch_watermarks(topic, partition, TIMEOUT));
    let (first, end) = ends.map_err(reading)?;
    if let Some(committed) = committed.as_mut().filter(|committed| **committed > end) {
        tracing::warn!(
            stage,
            topic,
            partition,
            committed = *committed,
            end,
            "the topic ends before what was read of it: it was made anew, or lost records. What it holds now is read from its beginning, and taken for seen before up to the offset that was read: give the service another group and topic prefix"
        );
        *committed = end;
    }
    if let Some(committed) = committed.filter(|committed| *committed < first) {
        let n_lost = first - committed;
        let label = PartitionLabel {
            stage,
            topic: topic.to_owned(),
            partition,
        };
        let lost = &shared.metrics.lost;
        lost.get_or_create(&label).inc_by(n_lost as u64);
        tracing::warn!(
            stage,
            topic,
            partition,
            n_lost,
            "retention took records before they were read: raise it, or read faster"
        );
    }
    Ok(Standing { first, committed })
}

/// Commits offsets of what is written and acknowledged. A refusal during a rebalance is no fault:
/// the next owner writes the rows again and they are dropped. False then: it is to be tried again.
pub(super) fn commit(
    consumer: &BaseConsumer<Assignments>,
    offsets: &TopicPartitionList,
    group: &str,
    stage: &'static str,
    shared: &Shared,
) -> Result<bool, ServiceError> {
    if offsets.count() == 0 {
        return Ok(true);
    }
    match consumer.commit(offsets, CommitMode::Sync) {
        Ok(()) => {
            let commits = &shared.metrics.commits;
            commits.get_or_create(&StageLabel { stage }).inc();
            Ok(true)
        }
        Err(error) if is_retryable(&error) => {
            tracing::warn!(%error, group, "commit refused, trying again");
            Ok(false)
        }
        Err(source) => Err(Error::Commit {
            group: group.to_owned(),
            source,
        }
        .into()),
    }
}

/// Writes the records of an outbox to a log's topic.
fn write(shared: &Shared, writer: &Writer, topic: &str, out: &Outbox) -> Result<(), ServiceError> {
    write_log(shared, writer, topic, Log::Events, STAGE, &out.records)
}

/// Writes records to the topic of `log`.
pub(super) fn write_log(
    shared: &Shared,
    writer: &Writer,
    topic: &str,
    log: Log,
    stage: &'static str,
    records: &[(usize, LogRecord)],
) -> Result<(), ServiceError> {
    for (partition, record) in records {
        let partition = *partition as i32;
        let n_rows = record.batch.num_rows() as u64;
        let failed = |source| ServiceError::Log {
            stage,
            topic: topic.to_owned(),
            partition,
            offset: -1,
            source,
        };
        for (part, value) in log::encode_parts(record).map_err(failed)? {
            let headers = log::headers(log, stage, &part);
            let outgoing = Outgoing {
                topic,
                partition: Some(partition),
                key: None,
                value: &value,
            };
            writer.send(
                outgoing,
                headers
                    .iter()
                    .map(|(name, value)| (*name, value.as_bytes())),
            )?;
        }
        // Rows of the endpoints log are written beside the next log's, which are what a reader is behind of.
        if log != Log::Endpoints {
            let written = &shared.metrics.rows_written;
            written.get_or_create(&StageLabel { stage }).inc_by(n_rows);
        }
    }
    Ok(())
}

/// Measures how far a partition's end is.
pub(super) fn lag(
    shared: &Shared,
    consumer: &BaseConsumer<Assignments>,
    stage: &'static str,
    topic: &str,
    partition: i32,
    next: i64,
) {
    if let Ok((_, end)) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(1)) {
        let label = PartitionLabel {
            stage,
            topic: topic.to_owned(),
            partition,
        };
        shared
            .metrics
            .lag
            .get_or_create(&label)
            .set((end - next.max(0)).max(0));
    }
}
