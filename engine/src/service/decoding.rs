//! One thread of `decode`: source partitions in, the events log and dead letters out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use connectors::dead_letter;
use connectors::format::{Format, SourceRecord};
use connectors::kafka::{
    Assignment, Assignments, Error, Outgoing, StartAt, TIMEOUT, Writer, is_retryable,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::{
    COMMIT_EVERY, Every, LINGER, MEASURE_EVERY, MESSAGES_MAX, ServiceError, Shared, now_ms,
};
use crate::lane::Outbox;
use crate::log::{self, Log};
use crate::stage::decode::{Decode, DecodeConfig};
use crate::telemetry::{PartitionLabel, ReasonLabel, StageLabel};

const STAGE: &str = "decode";

struct Source {
    decode: Decode,
    /// Next offset to read; what lies before it is decoded.
    next: i64,
    committed: i64,
    read_at: Instant,
    told_idle: bool,
}

type Sources = BTreeMap<(String, i32), Source>;

/// Runs until the stage is stopped.
pub(super) fn run(shared: &Shared) -> Result<(), ServiceError> {
    let group = format!("{}.{STAGE}", shared.config.group);
    let consumer = shared.cluster.consumer(&group, StartAt::Committed)?;
    let topics: Vec<&str> = shared
        .config
        .sources
        .iter()
        .map(|s| s.topic.as_str())
        .collect();
    consumer.subscribe(&topics).map_err(Error::Consume)?;
    let writer = shared.cluster.writer()?;
    let mut thread = Thread {
        shared,
        writer,
        group,
        events_topic: shared.config.log_topic(Log::Events),
        dead_letter_topic: shared.config.dead_letter_topic(),
        sources: Sources::new(),
        gathered_since: None,
    };
    let (mut commit, mut beat) = (
        Every::new(COMMIT_EVERY),
        Every::new(Duration::from_millis(500)),
    );
    let mut measure = Every::new(MEASURE_EVERY);
    while !shared.stopped(0) {
        let (messages, more) = thread.take(&consumer)?;
        thread.decode(&messages)?;
        drop(messages);
        thread.flush(!more)?;
        if beat.due() {
            thread.beat()?;
        }
        if commit.due() {
            thread.commit(&consumer)?;
        }
        if measure.due() {
            thread.measure(&consumer);
        }
    }
    thread.flush(true)?;
    thread.commit(&consumer)
}

struct Thread<'a> {
    shared: &'a Shared,
    writer: Writer,
    group: String,
    events_topic: String,
    dead_letter_topic: String,
    sources: Sources,
    gathered_since: Option<Instant>,
}

impl Thread<'_> {
    /// Takes what is there to read; says whether there may be more.
    fn take<'c>(
        &mut self,
        consumer: &'c BaseConsumer<Assignments>,
    ) -> Result<(Vec<BorrowedMessage<'c>>, bool), ServiceError> {
        let mut messages = Vec::new();
        let mut wait = Duration::from_millis(10);
        while messages.len() < MESSAGES_MAX {
            let polled = consumer.poll(wait);
            self.assign(consumer)?;
            wait = Duration::ZERO;
            match polled {
                None => return Ok((messages, false)),
                Some(Ok(message)) => messages.push(message),
                Some(Err(KafkaError::PartitionEOF(_))) => (),
                Some(Err(error)) if is_retryable(&error) => {
                    tracing::warn!(%error, stage = STAGE, "read failed, going on")
                }
                Some(Err(error)) => return Err(Error::Consume(error).into()),
            }
        }
        Ok((messages, true))
    }

    fn assign(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        for change in consumer.context().take() {
            match change {
                Assignment::Assigned(partitions) => {
                    tracing::info!(stage = STAGE, ?partitions, "partitions assigned");
                    for key in partitions {
                        let source = self.source(consumer, &key)?;
                        self.sources.insert(key, source);
                    }
                    self.shared.note_assigned(STAGE);
                }
                Assignment::Revoked(partitions) => {
                    tracing::info!(stage = STAGE, ?partitions, "partitions revoked");
                    // What was gathered and not written is decoded again by the next owner.
                    partitions
                        .iter()
                        .for_each(|key| drop(self.sources.remove(key)));
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
        let committed = committed(consumer, topic, *partition)?;
        // What is committed is done, even if nothing more is ever written.
        self.shared.reach(STAGE, topic, *partition, committed);
        let configured = self
            .shared
            .config
            .sources
            .iter()
            .find(|source| source.topic == *topic);
        let format = configured
            .and_then(|source| source.format.parse().ok())
            .unwrap_or(Format::Auto);
        let partitions = self
            .shared
            .partitions
            .get(Log::Events.name())
            .copied()
            .unwrap_or(1);
        let config = DecodeConfig {
            format,
            resolver: self.shared.resolver.clone(),
            partitions,
        };
        Ok(Source {
            decode: Decode::new(topic.as_str().into(), *partition, config),
            next: committed,
            committed,
            read_at: Instant::now(),
            told_idle: false,
        })
    }

    fn decode(&mut self, messages: &[BorrowedMessage<'_>]) -> Result<(), ServiceError> {
        let mut by_partition = BTreeMap::<(&str, i32), Vec<&BorrowedMessage<'_>>>::new();
        for message in messages {
            by_partition
                .entry((message.topic(), message.partition()))
                .or_default()
                .push(message);
        }
        let stage = StageLabel { stage: STAGE };
        for ((topic, partition), messages) in by_partition {
            let Some(source) = self.sources.get_mut(&(topic.to_owned(), partition)) else {
                continue;
            };
            let started = Instant::now();
            let records: Vec<SourceRecord<'_>> = messages
                .iter()
                .map(|message| SourceRecord {
                    payload: message.payload().unwrap_or_default(),
                    offset: message.offset(),
                    broker_time_ms: message.timestamp().to_millis(),
                })
                .collect();
            let mut out = Outbox::default();
            let failed = |source| ServiceError::Stage {
                stage: STAGE,
                source,
            };
            let pushed = source
                .decode
                .push(&records, now_ms(), &mut out)
                .map_err(failed)?;
            (source.read_at, source.told_idle) = (started, false);
            source.next = records
                .last()
                .map_or(source.next, |record| record.offset + 1);
            let metrics = &self.shared.metrics;
            metrics
                .records
                .get_or_create(&stage)
                .inc_by(records.len() as u64);
            metrics
                .rows
                .get_or_create(&stage)
                .inc_by(records.len() as u64);
            metrics.events.inc_by(pushed.n_events as u64);
            metrics.clamped.inc_by(pushed.n_clamped as u64);
            for reject in &pushed.rejects {
                let label = ReasonLabel {
                    reason: reject.reason.as_str(),
                };
                metrics.rejects.get_or_create(&label).inc();
                let at = records.binary_search_by_key(&reject.position.offset, |r| r.offset);
                let headers = dead_letter::headers(topic, partition, reject);
                let letter = Outgoing {
                    topic: &self.dead_letter_topic,
                    partition: Some(0),
                    key: None,
                    value: at.map_or(&[][..], |at| records[at].payload),
                };
                self.writer.send(
                    letter,
                    headers.iter().map(|(k, v)| (k.as_str(), v.as_slice())),
                )?;
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
        for ((topic, partition), source) in &mut self.sources {
            let mut out = Outbox::default();
            let failed = |source| ServiceError::Stage {
                stage: STAGE,
                source,
            };
            source.decode.flush(&mut out).map_err(failed)?;
            write(self.shared, &self.writer, &self.events_topic, &out)?;
            self.shared.reach(STAGE, topic, *partition, source.next);
        }
        Ok(())
    }

    /// Tells every partition of the log how far event time is, and which sources are silent.
    fn beat(&mut self) -> Result<(), ServiceError> {
        let idle = Duration::from_millis(self.shared.config.idle_ms);
        for source in self.sources.values_mut().filter(|source| !source.told_idle) {
            let silent = source.read_at.elapsed() >= idle;
            if silent || source.decode.has_read() {
                let mut out = Outbox::default();
                source.decode.heartbeat(silent, &mut out);
                source.told_idle = silent;
                write(self.shared, &self.writer, &self.events_topic, &out)?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        self.flush(true)?;
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), source) in &mut self.sources {
            if source.next > source.committed {
                source.committed = source.next;
                // An offset is never negative here, so it is always accepted.
                let _ =
                    offsets.add_partition_offset(topic, *partition, Offset::Offset(source.next));
            }
        }
        self.writer.flush()?;
        commit(consumer, &offsets, &self.group, STAGE, self.shared)
    }

    fn measure(&self, consumer: &BaseConsumer<Assignments>) {
        for ((topic, partition), source) in &self.sources {
            lag(self.shared, consumer, STAGE, topic, *partition, source.next);
        }
    }
}

/// The next offset a group has to read, 0 when it has never committed.
pub(super) fn committed(
    consumer: &BaseConsumer<Assignments>,
    topic: &str,
    partition: i32,
) -> Result<i64, ServiceError> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let answer = consumer
        .committed_offsets(asked, TIMEOUT)
        .map_err(Error::Consume)?;
    Ok(match answer.elements().first().map(|e| e.offset()) {
        Some(Offset::Offset(offset)) => offset,
        _ => 0,
    })
}

/// Commits offsets of what is written and acknowledged. A refusal during a rebalance is no fault:
/// the next owner writes the rows again and they are dropped.
pub(super) fn commit(
    consumer: &BaseConsumer<Assignments>,
    offsets: &TopicPartitionList,
    group: &str,
    stage: &'static str,
    shared: &Shared,
) -> Result<(), ServiceError> {
    if offsets.count() == 0 {
        return Ok(());
    }
    match consumer.commit(offsets, CommitMode::Sync) {
        Ok(()) => {
            shared
                .metrics
                .commits
                .get_or_create(&StageLabel { stage })
                .inc();
        }
        Err(error) if is_retryable(&error) => {
            tracing::warn!(%error, group, "commit refused, going on")
        }
        Err(source) => {
            return Err(Error::Commit {
                group: group.to_owned(),
                source,
            }
            .into());
        }
    }
    Ok(())
}

/// Writes the records of an outbox to a log's topic.
fn write(shared: &Shared, writer: &Writer, topic: &str, out: &Outbox) -> Result<(), ServiceError> {
    write_log(shared, writer, topic, Log::Events, STAGE, out)
}

/// Writes the records of an outbox to the topic of `log`.
pub(super) fn write_log(
    shared: &Shared,
    writer: &Writer,
    topic: &str,
    log: Log,
    stage: &'static str,
    out: &Outbox,
) -> Result<(), ServiceError> {
    for (partition, record) in &out.records {
        let partition = *partition as i32;
        let failed = |source| ServiceError::Log {
            stage,
            topic: topic.to_owned(),
            partition,
            offset: -1,
            source,
        };
        let value = log::encode(&record.batch).map_err(failed)?;
        let headers = log::headers(log, stage, record);
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
        let written = shared
            .metrics
            .rows_written
            .get_or_create(&StageLabel { stage });
        written.inc_by(record.batch.num_rows() as u64);
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
