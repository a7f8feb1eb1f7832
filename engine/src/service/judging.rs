//! One thread of a stage of lanes: a log's partitions in, the next log and alerts out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use connectors::kafka::{Assignment, Assignments, Error, StartAt, Writer, is_retryable};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::decoding::{Standing, commit, lag, standing, write_log};
use super::{
    COMMIT_EVERY, Complaint, Every, LINGER, MEASURE_EVERY, MESSAGES_MAX, STAGES, ServiceError,
    Shared,
};
use crate::command::RuleFaults;
use crate::lane::{Lane, Outbox};
use crate::log::{self, Log, LogError, LogRecord};
use crate::stage::judge::Judging;
use crate::stage::own::Own;
use crate::stage::profile::Profile;
use crate::stage::{Stage, StateSize};
use crate::telemetry::{LimitLabel, StageLabel};

struct Owned {
    lane: Lane,
    next: i64,
    /// Below this the lane is muted: it was processed before.
    replay_until: i64,
    committed: i64,
    n_dropped: u64,
}

/// Runs the stage's `n`th thread until the stage is stopped.
pub(super) fn run(shared: &Shared, stage: usize, n: usize) -> Result<(), ServiceError> {
    let (name, input) = (STAGES[stage], Log::ALL[stage - 1]);
    let group = format!("{}.{name}", shared.config.group);
    let consumer = shared.consumer(&group, StartAt::Beginning, n)?;
    let topic = shared.config.log_topic(input);
    consumer.subscribe(&[&topic]).map_err(Error::Consume)?;
    let writer = shared.cluster.writer()?;
    let output = Log::ALL
        .get(stage)
        .map(|log| (*log, shared.config.log_topic(*log)));
    let mut thread = Thread {
        shared,
        name,
        input,
        topic,
        group,
        writer,
        output,
        lanes: BTreeMap::new(),
        gathered_since: None,
        ready: false,
        complaint: Complaint::default(),
    };
    let mut commit = Every::new(COMMIT_EVERY);
    let mut beat = Every::new(shared.beat_every(input.next().unwrap_or(input)));
    let mut measure = Every::new(MEASURE_EVERY);
    while !shared.stopped(stage) {
        let more = thread.take(&consumer)?;
        thread.flush(!more)?;
        thread.note_ready();
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
    thread.measure(&consumer);
    thread.commit(&consumer)
}

struct Thread<'a> {
    shared: &'a Shared,
    name: &'static str,
    input: Log,
    topic: String,
    group: String,
    writer: Writer,
    output: Option<(Log, String)>,
    lanes: BTreeMap<i32, Owned>,
    gathered_since: Option<Instant>,
    /// True once every lane has read again what it had read before.
    ready: bool,
    complaint: Complaint,
}

impl Thread<'_> {
    /// Reads and processes what is there; says whether there may be more.
    fn take(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<bool, ServiceError> {
        let mut wait = Duration::from_millis(10);
        for _ in 0..MESSAGES_MAX {
            let polled = consumer.poll(wait);
            wait = Duration::ZERO;
            self.assign(consumer)?;
            match polled {
                None => return Ok(false),
                Some(Ok(message)) => self.feed(&message)?,
                Some(Err(KafkaError::PartitionEOF(_))) => (),
                Some(Err(error)) if is_retryable(&error) => self.complaint.tell(&error, self.name),
                Some(Err(error)) => return Err(Error::Consume(error).into()),
            }
        }
        Ok(true)
    }

    /// Follows changes of assignment.
    fn assign(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        for change in consumer.context().take() {
            match change {
                Assignment::Assigned(partitions) => {
                    tracing::info!(stage = self.name, ?partitions, "partitions assigned");
                    for (_, partition) in partitions {
                        let owned = self.restore(consumer, partition)?;
                        self.lanes.insert(partition, owned);
                    }
                }
                Assignment::Revoked(partitions) => {
                    tracing::info!(stage = self.name, ?partitions, "partitions revoked");
                    partitions
                        .iter()
                        .for_each(|(_, partition)| drop(self.lanes.remove(partition)));
                }
            }
        }
        Ok(())
    }

    fn note_ready(&mut self) {
        let caught_up = |owned: &Owned| owned.replay_until <= owned.next;
        if !self.ready && !self.lanes.is_empty() && self.lanes.values().all(caught_up) {
            self.ready = true;
            self.shared.note_assigned(self.name);
        }
    }

    /// A lane at the beginning of its log, muted up to what was committed.
    fn restore(
        &self,
        consumer: &BaseConsumer<Assignments>,
        partition: i32,
    ) -> Result<Owned, ServiceError> {
        let Standing { first, committed } = standing(consumer, self.name, &self.topic, partition)?;
        let mut lane = Lane::new(self.stage()?, self.topic.as_str().into(), partition);
        if first < committed {
            tracing::info!(
                stage = self.name,
                partition,
                first,
                committed,
                "reading the log again for its state"
            );
            lane.mute(true);
        }
        Ok(Owned {
            lane,
            next: first,
            replay_until: committed,
            committed,
            n_dropped: 0,
        })
    }

    fn stage(&self) -> Result<Box<dyn Stage>, ServiceError> {
        let (models, rules) = (&self.shared.config.models, &self.shared.rules);
        let partitions = self
            .output
            .as_ref()
            .and_then(|(log, _)| self.shared.partitions.get(log.name()));
        let partitions = partitions.copied().unwrap_or(1);
        Ok(match self.input {
            Log::Events => Box::new(Profile::new(models, rules, partitions).map_err(RuleFaults)?),
            Log::Touches => Box::new(Own::new(models, partitions)),
            Log::Judgements => Box::new(Judging::new(models, rules).map_err(RuleFaults)?),
        })
    }

    fn feed(&mut self, message: &BorrowedMessage<'_>) -> Result<(), ServiceError> {
        let (partition, offset) = (message.partition(), message.offset());
        let Some(owned) = self.lanes.get_mut(&partition) else {
            return Ok(());
        };
        let started = Instant::now();
        let failed = |source| ServiceError::Log {
            stage: self.name,
            topic: message.topic().to_owned(),
            partition,
            offset,
            source,
        };
        let record = read(self.input, message).map_err(failed)?;
        if offset >= owned.replay_until {
            owned.lane.mute(false);
        }
        let mut out = Outbox::default();
        owned
            .lane
            .feed(offset, &record, &mut out)
            .map_err(|source| ServiceError::Stage {
                stage: self.name,
                source,
            })?;
        owned.next = offset + 1;
        self.gathered_since.get_or_insert(started);
        let stage = StageLabel { stage: self.name };
        let metrics = &self.shared.metrics;
        metrics.records.get_or_create(&stage).inc();
        metrics
            .rows
            .get_or_create(&stage)
            .inc_by(record.batch.num_rows() as u64);
        metrics
            .batch_seconds
            .get_or_create(&stage)
            .observe(started.elapsed().as_secs_f64());
        self.send(&out)
    }

    fn send(&self, out: &Outbox) -> Result<(), ServiceError> {
        if let Some((log, topic)) = &self.output {
            write_log(self.shared, &self.writer, topic, *log, self.name, out)?;
        }
        out.alerts
            .iter()
            .try_for_each(|alert| self.shared.alert(&self.writer, alert))
    }

    fn flush(&mut self, now: bool) -> Result<(), ServiceError> {
        self.writer.poll()?;
        if !self
            .gathered_since
            .is_some_and(|since| now || since.elapsed() >= LINGER)
        {
            return Ok(());
        }
        self.gathered_since = None;
        let mut out = Outbox::default();
        self.lanes
            .values_mut()
            .for_each(|owned| owned.lane.flush(&mut out));
        self.send(&out)?;
        for (partition, owned) in &self.lanes {
            self.shared
                .reach(self.name, &self.topic, *partition, owned.next);
        }
        Ok(())
    }

    /// Tells every partition of the next log how far event time is, when that has changed.
    fn beat(&mut self) -> Result<(), ServiceError> {
        let Some((log, _)) = self.output else {
            return Ok(());
        };
        let partitions = self.shared.partitions.get(log.name()).copied().unwrap_or(1);
        let mut out = Outbox::default();
        self.lanes
            .values_mut()
            .for_each(|owned| owned.lane.heartbeat(log, partitions, &mut out));
        self.send(&out)
    }

    fn commit(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        self.flush(true)?;
        self.writer.flush()?;
        let mut offsets = TopicPartitionList::new();
        for (partition, owned) in &self.lanes {
            if owned.next > owned.committed && owned.next > owned.replay_until {
                // An offset is never negative here, so it is always accepted.
                let _ = offsets.add_partition_offset(
                    &self.topic,
                    *partition,
                    Offset::Offset(owned.next),
                );
            }
        }
        if commit(consumer, &offsets, &self.group, self.name, self.shared)? {
            for owned in self.lanes.values_mut() {
                owned.committed = owned.committed.max(owned.next);
            }
        }
        Ok(())
    }

    fn measure(&mut self, consumer: &BaseConsumer<Assignments>) {
        let stage = StageLabel { stage: self.name };
        let metrics = &self.shared.metrics;
        let (mut size, mut n_late, mut n_errors) = (StateSize::default(), 0, 0);
        let mut limits = BTreeMap::<(String, &'static str), u64>::new();
        for (partition, owned) in &mut self.lanes {
            lag(
                self.shared,
                consumer,
                self.name,
                &self.topic,
                *partition,
                owned.next,
            );
            let of = owned.lane.stage().state();
            size.n_entries += of.n_entries;
            size.bytes += of.bytes;
            size.n_evicted += of.n_evicted;
            for rule in owned.lane.stage().rules() {
                n_late += rule.late;
                n_errors += rule.errors;
                size.n_entries += rule.groups as usize;
                size.bytes += rule.state_bytes as usize;
                for (limit, n) in [
                    ("evicted", rule.evicted),
                    ("capped", rule.capped),
                    ("uncased", rule.uncased),
                    ("exceptions_expired", rule.exceptions_expired),
                ] {
                    *limits
                        .entry((rule.rule.header.name.clone(), limit))
                        .or_default() += n;
                }
            }
            let n_dropped = owned.lane.n_dropped();
            metrics
                .dropped
                .get_or_create(&stage)
                .inc_by(n_dropped - owned.n_dropped);
            owned.n_dropped = n_dropped;
        }
        for ((rule, limit), n) in limits {
            let label = LimitLabel { rule, limit };
            metrics.rule_limits.get_or_create(&label).set(n as i64);
        }
        metrics
            .state_entries
            .get_or_create(&stage)
            .set(size.n_entries as i64);
        metrics
            .state_bytes
            .get_or_create(&stage)
            .set(size.bytes as i64);
        metrics
            .state_evicted
            .get_or_create(&stage)
            .set(size.n_evicted as i64);
        metrics.late.get_or_create(&stage).set(n_late as i64);
        metrics
            .rule_errors
            .get_or_create(&stage)
            .set(n_errors as i64);
    }
}

/// Reads a log's record from a message.
///
/// # Errors
/// The message was not written by this program.
pub(crate) fn read<M: Message>(log: Log, message: &M) -> Result<LogRecord, LogError> {
    let headers = message.headers();
    let pairs = (0..headers.map_or(0, Headers::count)).filter_map(|i| {
        let header = headers?.get(i);
        Some((header.key, header.value?))
    });
    log::read(log, message.payload().unwrap_or_default(), pairs)
}
