//! One thread of a stage of lanes: a log's partitions in, the next logs and results out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use connectors::kafka::transaction::{Entry, Transactor};
use connectors::kafka::{
    Assignment, Assignments, Error, Outgoing, StartAt, TIMEOUT, Writer, ask, is_retryable,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::decoding::{commit, lag, standing, write_log};
use super::edge::{Batch, Edge, STUCK, Settled};
use super::restoring::{Kind, Ready, Restoring, Wanted, next_of};
use super::ruling;
use super::shedding::{Clock, Shedding};
use super::{
    COMMIT_EVERY, Complaint, Every, LINGER, LaneResult, MEASURE_EVERY, MESSAGES_MAX, STAGES,
    ServiceError, Shared, now_ms,
};
use crate::lake::{self, LaneWriter};
use crate::lane::{Lane, Outbox};
use crate::log::{self, Item, Log, LogError, LogRecord};
use crate::rule::shed::Act;
use crate::rule::{RuleFault, RuleRunner, RuleTexts};
use crate::stage::{Partitions, StateSize};
use crate::state::keeper::{Chain, Save, Saved};
use crate::state::{Keeper, StateError};
use crate::telemetry::{LimitLabel, SnapshotLabel, StageLabel};

/// How often lanes are asked whether a snapshot is due.
const SNAPSHOT_LOOK: Duration = Duration::from_millis(200);
/// How often lanes are asked whether a rule is too slow.
const SHED_LOOK: Duration = Duration::from_secs(1);
/// After this long, rules or a briefing that were written and not read are written again.
const RULES_AGAIN: Duration = Duration::from_secs(600);
/// Longest time a stage that ends waits for its last transaction and its last snapshots.
const END_WAIT: Duration = Duration::from_secs(60);
/// How often a stage that ends looks whether its rows are in the lake.
const LAKE_LOOK: Duration = Duration::from_millis(10);
/// How long a stage that has more results than may wait looks at its transaction before it looks elsewhere.
const EDGE_WAIT: Duration = Duration::from_millis(100);

struct Owned {
    lane: Lane,
    /// Which owning of the partition this is, among all of this thread.
    owning: u64,
    next: i64,
    /// Below this the lane is muted: it was processed before.
    replay_until: i64,
    committed: i64,
    n_dropped: u64,
    /// What is published of it; none while that is being written, and when it can't be.
    chain: Option<Chain>,
    saving: Option<Receiver<Saved>>,
    saved_at: Instant,
    /// The rules written into its log, until they are read there.
    told: Option<Told>,
    /// Hash of the briefing written into its log, and when.
    briefed: Option<(u64, Instant)>,
    shedding: Shedding,
    /// Where its rows go; none without a lake.
    lake: Option<LaneWriter>,
    /// A snapshot that waits until what lies before it is in the lake.
    held: Option<Box<Save>>,
}

/// Rules for each table of a stage.
type Compiled = Result<Vec<RuleRunner>, Vec<RuleFault>>;

/// Rules on their way through a lane's log.
struct Told {
    hash: u64,
    at: Instant,
    /// They are compiled meanwhile.
    compiled: Receiver<Compiled>,
}

/// Runs the stage's `n`th thread until the stage is stopped.
pub(super) fn run(shared: &Arc<Shared>, stage: usize, n: usize) -> Result<(), ServiceError> {
    let (name, input) = (STAGES[stage], Log::ALL[stage - 1]);
    let group = format!("{}.{name}", shared.config.group);
    let consumer = shared.consumer(&group, StartAt::Told, n)?;
    let topic = shared.config.log_topic(input);
    let writer = shared.cluster.writer()?;
    let output = input.next().map(|log| (log, shared.config.log_topic(log)));
    let partitions = Partitions {
        next: input.next().map_or(1, |log| shared.n_partitions(log)),
        endpoints: shared.n_partitions(Log::Endpoints),
        judgements: shared.n_partitions(Log::Judgements),
    };
    let restoring = Restoring::new(Kind {
        shared: shared.clone(),
        input,
        topic: topic.clone(),
        group: group.clone(),
        partitions,
    });
    // `own` has no results.
    let edge = match shared.config.is_transactional() && input != Log::Touches {
        true => {
            let id = format!("{group}.{}.{n}", shared.member());
            let transactor = Transactor::new(shared.cluster.clone(), id, group.clone());
            let gate = consumer.context().gate();
            Some(Edge::start(transactor, gate, format!("{name}-{n}-edge"))?)
        }
        false => None,
    };
    consumer.subscribe(&[&topic]).map_err(Error::Consume)?;
    let mut thread = Thread {
        summaries: shared.config.log_topic(Log::Endpoints),
        raised: shared.config.log_topic(Log::Judgements),
        shared,
        name,
        n,
        input,
        topic,
        group,
        writer,
        output,
        edge,
        restoring,
        lanes: BTreeMap::new(),
        owned: BTreeMap::new(),
        n_ownings: 0,
        gathered_since: None,
        is_member: false,
        held_since: None,
        complaint: Complaint::default(),
        clock: Clock::start(),
    };
    let mut commit = Every::new(COMMIT_EVERY);
    let mut beat = Every::new(shared.beat_every(input.next().unwrap_or(input)));
    let mut measure = Every::new(MEASURE_EVERY);
    let mut snapshot = Every::new(SNAPSHOT_LOOK);
    let mut shed = Every::new(SHED_LOOK);
    while !shared.stopped(stage) {
        let more = thread.take(&consumer)?;
        thread.hold(&consumer)?;
        thread.restored(&consumer)?;
        thread.flush(!more)?;
        thread.note_ready();
        if beat.due() {
            thread.beat()?;
        }
        let settled = thread.settle(Duration::ZERO)?;
        let is_due = settled && thread.edge.as_ref().is_some_and(Edge::is_due);
        if commit.due() || is_due || (!more && shared.is_awaited(stage)) {
            thread.commit(&consumer)?;
        }
        thread.tell_rules()?;
        thread.tell_briefing()?;
        if shed.due() {
            thread.shed_rules()?;
        }
        if snapshot.due() {
            thread.snapshot(false)?;
        }
        if measure.due() {
            thread.measure(&consumer);
        }
    }
    thread.flush(true)?;
    thread.measure(&consumer);
    thread.end(&consumer)?;
    drop(thread);
    shared.leave(&consumer);
    Ok(())
}

impl Owned {
    /// Has the snapshot written that was taken, once what lies before it is in the lake: a lane that is put back from it
    /// reads nothing before it again.
    fn release(&mut self, keeper: &Keeper) {
        let Some(save) = self.held.take() else {
            return;
        };
        match &self.lake {
            // Whoever writes the lane's rows now has its snapshots too.
            Some(lake) if lake.is_fenced() => (),
            Some(lake) if lake.position() < save.offset => self.held = Some(save),
            _ => match keeper.save(*save) {
                Ok(saving) => self.saving = Some(saving),
                // What changed is saved with the next one.
                Err(save) => self.chain = Some(save.chain),
            },
        }
    }
}

struct Thread<'a> {
    shared: &'a Shared,
    name: &'static str,
    n: usize,
    input: Log,
    topic: String,
    group: String,
    writer: Writer,
    output: Option<(Log, String)>,
    /// Topic of the endpoints log.
    summaries: String,
    /// Topic of the judgements log.
    raised: String,
    /// Where results go in transactions.
    edge: Option<Edge>,
    restoring: Restoring,
    lanes: BTreeMap<i32, Owned>,
    /// Partitions assigned, with which owning it is; their lanes may still be on their way.
    owned: BTreeMap<i32, u64>,
    n_ownings: u64,
    gathered_since: Option<Instant>,
    /// True once the group has answered, be it that there is no partition for this thread.
    is_member: bool,
    /// Since when its lanes wait for the lake; none when they don't.
    held_since: Option<Instant>,
    complaint: Complaint,
    clock: Clock,
}

impl Thread<'_> {
    /// Reads and processes what is there; says whether there may be more.
    fn take(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<bool, ServiceError> {
        let is_full = |thread: &Self| thread.edge.as_ref().is_some_and(Edge::is_full);
        if is_full(self) && !self.settle(EDGE_WAIT)? {
            return Ok(true);
        }
        let began = Instant::now();
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
                Some(Err(error)) => {
                    return Err(Error::reading(&self.topic, &self.group, error).into());
                }
            }
            // With a rule that is slow enough, few messages take as long as many.
            let is_long = COMMIT_EVERY <= began.elapsed();
            if is_long || is_full(self) || (self.held_since.is_none() && self.lake_is_full()) {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// True when the lake takes no more for now.
    fn lake_is_full(&self) -> bool {
        let lake = self.shared.lake.as_ref();
        self.input == Log::Events && lake.is_some_and(lake::Writer::is_full)
    }

    /// Stops reading while the lake takes no more, and reads on when it does. The group hears of this member meanwhile.
    fn hold(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        let failed = |thread: &Self, error| Error::reading(&thread.topic, &thread.group, error);
        let mut those = TopicPartitionList::new();
        for partition in self.lanes.keys() {
            those.add_partition(&self.topic, *partition);
        }
        match self.held_since {
            None if self.lake_is_full() => {
                tracing::warn!(
                    stage = self.name,
                    "the lake is slow or away: reading waits for it"
                );
                self.shared.metrics.lake.held.inc();
                self.held_since = Some(Instant::now());
                consumer
                    .pause(&those)
                    .map_err(|error| failed(self, error))?;
            }
            Some(_) if self.shared.lake.as_ref().is_none_or(lake::Writer::has_room) => {
                self.held_since = None;
                consumer
                    .resume(&those)
                    .map_err(|error| failed(self, error))?;
            }
            _ => (),
        }
        Ok(())
    }

    /// Follows changes of assignment.
    fn assign(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        for change in consumer.context().take() {
            match change {
                Assignment::Assigned(partitions) => {
                    self.is_member = true;
                    tracing::info!(stage = self.name, ?partitions, "partitions assigned");
                    for (_, partition) in partitions {
                        self.n_ownings += 1;
                        self.owned.insert(partition, self.n_ownings);
                        self.restoring.add(Wanted {
                            partition,
                            owning: self.n_ownings,
                            standing: standing(
                                self.shared,
                                consumer,
                                self.name,
                                &self.topic,
                                partition,
                            )?,
                        });
                    }
                }
                Assignment::Revoked(partitions) => {
                    tracing::info!(stage = self.name, ?partitions, "partitions revoked");
                    for (_, partition) in partitions {
                        self.owned.remove(&partition);
                        self.restoring.remove(partition);
                        self.lanes.remove(&partition);
                        if let Some(edge) = &mut self.edge {
                            edge.forget(partition);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Ready: its lanes are put back and have caught up with what was committed, and results find their way out.
    fn note_ready(&self) {
        let caught_up = |owned: &Owned| owned.replay_until <= owned.next;
        let is_ready = self.is_member
            && self.restoring.is_empty()
            && self.lanes.values().all(caught_up)
            && self.edge.as_ref().is_none_or(|edge| !edge.is_stuck())
            && self.held_since.is_none_or(|since| since.elapsed() < STUCK);
        self.shared.note_ready(self.name, self.n, is_ready);
    }

    /// Takes lanes that were put back, and reads on where their snapshots stand: muted up to what was committed.
    fn restored(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        while let Some(ready) = self.restoring.next()? {
            let Ready {
                wanted,
                mut lane,
                chain,
                lake,
                committed,
                took,
            } = ready;
            let partition = wanted.partition;
            if self.owned.get(&partition) != Some(&wanted.owning) {
                continue;
            }
            let first = wanted.standing.first;
            let snapshot = chain.as_ref().and_then(Chain::offset);
            let replay_until = committed;
            let next = next_of(chain.as_ref(), &wanted.standing);
            if 0 < first && snapshot.unwrap_or(0) < first {
                tracing::warn!(
                    stage = self.name,
                    partition,
                    first,
                    ?snapshot,
                    "retention took what the lane would read for its state: it knows only what came later"
                );
            }
            tracing::info!(
                stage = self.name,
                partition,
                ?snapshot,
                next,
                replay_until,
                took_ms = took.as_millis() as u64,
                "lane put back"
            );
            lane.mute(next < replay_until);
            if self.shared.config.shedding.percent != 0 {
                lane.time_rules(&self.clock.stopwatch());
            }
            let label = StageLabel { stage: self.name };
            let metrics = &self.shared.metrics;
            metrics
                .restore_seconds
                .get_or_create(&label)
                .observe(took.as_secs_f64());
            let owned = Owned {
                lane,
                owning: wanted.owning,
                next,
                replay_until,
                committed: replay_until,
                n_dropped: 0,
                chain,
                saving: None,
                saved_at: Instant::now(),
                told: None,
                briefed: None,
                shedding: Shedding::default(),
                lake,
                held: None,
            };
            self.lanes.insert(partition, owned);
            self.shared
                .reach(self.name, &self.topic, partition, next.max(replay_until));
            self.resume(consumer, partition, next)?;
        }
        Ok(())
    }

    /// Reads a paused partition from `next` on, at once or when the lake has room.
    fn resume(
        &self,
        consumer: &BaseConsumer<Assignments>,
        partition: i32,
        next: i64,
    ) -> Result<(), ServiceError> {
        let mut those = TopicPartitionList::new();
        those.add_partition(&self.topic, partition);
        // The partition may not be at work yet, and then can't be sought in.
        ask(|| consumer.seek(&self.topic, partition, Offset::Offset(next), TIMEOUT))
            .and_then(|()| match self.held_since {
                None => consumer.resume(&those),
                Some(_) => Ok(()),
            })
            .map_err(|error| Error::reading(&self.topic, &self.group, error).into())
    }

    fn feed(&mut self, message: &BorrowedMessage<'_>) -> Result<(), ServiceError> {
        let (partition, offset) = (message.partition(), message.offset());
        // What was fetched before the partition was paused, or sought in, is read in its turn.
        let owned = self.lanes.get_mut(&partition);
        let Some(owned) = owned.filter(|owned| owned.next <= offset) else {
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
        let item = read(self.input, message).map_err(failed)?;
        if offset >= owned.replay_until {
            owned.lane.mute(false);
        }
        if !matches!(item, Item::Record(_)) {
            owned.next = offset + 1;
            if let Some(lake) = &mut owned.lake {
                lake.after(owned.next);
            }
            self.gathered_since.get_or_insert(started);
        }
        let record = match item {
            Item::Record(record) => record,
            Item::Rules(texts) => {
                switch(self.name, partition, offset, owned, texts);
                return Ok(());
            }
            Item::Briefing(briefing) => {
                tracing::info!(
                    stage = self.name,
                    partition,
                    offset,
                    hash = format!("{:016x}", briefing.hash),
                    n_operations = briefing.documents.operations().len(),
                    "lane goes by the documents and the register that its log tells"
                );
                owned.lane.brief(briefing);
                return Ok(());
            }
            Item::Act(act) => {
                let owning = owned.owning;
                let out = obey(self.name, partition, offset, owned, &act);
                return self.send(out, (partition, owning));
            }
        };
        let mut out = Outbox::default();
        owned
            .lane
            .feed(offset, &record, &mut out)
            .map_err(|source| ServiceError::Stage {
                stage: self.name,
                source,
            })?;
        owned.next = offset + 1;
        if let Some(lake) = &mut owned.lake {
            lake.after(owned.next);
        }
        let written_ms = message.timestamp().to_millis();
        let waited_ms = written_ms.map_or(0, |written_ms| now_ms() - written_ms);
        let waited_ms = u64::try_from(waited_ms).unwrap_or(0);
        owned
            .shedding
            .fed(started.elapsed(), waited_ms, &mut self.clock);
        let owning = owned.owning;
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
        self.send(out, (partition, owning))
    }

    /// Writes an outbox; its results are of the lane `raised_by`: its partition, and which owning it is.
    fn send(&mut self, out: Outbox, raised_by: (i32, u64)) -> Result<(), ServiceError> {
        self.write(&out)?;
        let alerts = out.alerts.into_iter().map(LaneResult::Alert);
        let findings = self.shared.config.findings_topic();
        let records = out.inventory.into_iter();
        let records = records.flat_map(|record| LaneResult::of(record, findings.as_ref()));
        for result in alerts.chain(records) {
            match &mut self.edge {
                Some(edge) => edge.raise((raised_by.0, raised_by.1, result)),
                None => self.shared.write(&self.writer, &result)?,
            }
        }
        Ok(())
    }

    /// Writes the records of an outbox to their logs.
    fn write(&self, out: &Outbox) -> Result<(), ServiceError> {
        let write = |log, topic: &str, records: &[(usize, LogRecord)]| {
            write_log(self.shared, &self.writer, topic, log, self.name, records)
        };
        if let Some((log, topic)) = &self.output {
            write(*log, topic, &out.records)?;
        }
        write(Log::Endpoints, &self.summaries, &out.summaries)?;
        write(Log::Judgements, &self.raised, &out.raised)
    }

    /// Writes the wanted rules into the log of each lane that has caught up and was told others.
    fn tell_rules(&mut self) -> Result<(), ServiceError> {
        let wanted = self.shared.ruling.wanted();
        let mut n_waiting = 0;
        for (partition, owned) in &mut self.lanes {
            let tables = owned.lane.stage().tables();
            if tables.is_empty() {
                return Ok(());
            }
            if owned.lane.rules() == Some(wanted.hash) {
                continue;
            }
            n_waiting += 1;
            let is_told = |told: &Told| told.hash == wanted.hash && told.at.elapsed() < RULES_AGAIN;
            if owned.next < owned.replay_until || owned.told.as_ref().is_some_and(is_told) {
                continue;
            }
            let headers = log::rules_headers(self.name, wanted.hash);
            tell(
                &self.writer,
                (&self.topic, *partition),
                &headers,
                &wanted.encoded,
            )?;
            owned.told = Some(Told {
                hash: wanted.hash,
                at: Instant::now(),
                compiled: compiled(self.shared, &wanted, tables)?,
            });
        }
        let waiting = &self.shared.metrics.rules_waiting;
        let label = StageLabel { stage: self.name };
        waiting.get_or_create(&label).set(n_waiting);
        Ok(())
    }

    /// Writes the wanted briefing into the log of each lane that goes by one, has caught up, and was told another.
    fn tell_briefing(&mut self) -> Result<(), ServiceError> {
        let wanted = self.shared.briefings.wanted();
        for (partition, owned) in &mut self.lanes {
            let is_told =
                |(hash, at): &(u64, Instant)| *hash == wanted.hash && at.elapsed() < RULES_AGAIN;
            if !owned.lane.is_briefed()
                || owned.lane.briefing() == Some(wanted.hash)
                || owned.next < owned.replay_until
                || owned.briefed.as_ref().is_some_and(is_told)
            {
                continue;
            }
            let headers = log::briefing_headers(self.name, wanted.hash);
            tell(
                &self.writer,
                (&self.topic, *partition),
                &headers,
                &wanted.encoded,
            )?;
            owned.briefed = Some((wanted.hash, Instant::now()));
        }
        Ok(())
    }

    /// Writes an act on a rule into the log of each lane that has one that is too slow, or that need not be shed any more.
    fn shed_rules(&mut self) -> Result<(), ServiceError> {
        let (config, wanted) = (&self.shared.config.shedding, self.shared.ruling.wanted());
        for (partition, owned) in &mut self.lanes {
            // A lane on its way back does again what it did; one that waits for other rules may be rid of this one by them.
            let is_settled = owned.replay_until <= owned.next;
            if !is_settled || owned.lane.rules() != Some(wanted.hash) {
                continue;
            }
            let Some(act) = owned.shedding.due(config, &owned.lane, &self.clock) else {
                continue;
            };
            tracing::warn!(
                stage = self.name,
                partition,
                ?act,
                "a rule is too slow, or no longer shed: its lane hears of it behind what its log holds now"
            );
            let headers = log::act_headers(self.name);
            tell(
                &self.writer,
                (&self.topic, *partition),
                &headers,
                &act.encode(),
            )?;
        }
        Ok(())
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
        self.write(&out)
    }

    /// Tells every partition of the next log how far event time is, when that has changed.
    fn beat(&mut self) -> Result<(), ServiceError> {
        let Some((log, _)) = self.output else {
            return Ok(());
        };
        let partitions = self.shared.n_partitions(log);
        let mut out = Outbox::default();
        self.lanes
            .values_mut()
            .for_each(|owned| owned.lane.heartbeat(log, partitions, &mut out));
        self.write(&out)
    }

    /// Commits what is processed: offsets alone, or with the results that came of it.
    fn commit(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        self.flush(true)?;
        self.writer.flush()?;
        if !self.settle(Duration::ZERO)? {
            return Ok(());
        }
        let done = |owned: &Owned| owned.next > owned.committed && owned.next > owned.replay_until;
        let lanes = self.lanes.iter().filter(|(_, owned)| done(owned));
        let next: Vec<(i32, i64)> = lanes.map(|(at, owned)| (*at, owned.next)).collect();
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in &next {
            // An offset is never negative here, so it is always accepted.
            let _ = offsets.add_partition_offset(&self.topic, *partition, Offset::Offset(*next));
        }
        if let Some(edge) = self.edge.as_mut().filter(|edge| edge.is_due()) {
            // Fetched for each batch: after a rebalance an old one would be refused. None while there is no group.
            let Some(member) = consumer.group_metadata() else {
                return Ok(());
            };
            let results = edge.take();
            let entry = |result: &LaneResult| {
                let (topic, key, value) = match result {
                    LaneResult::Alert(alert) => (
                        self.shared.config.topics.alerts.clone(),
                        &alert.key,
                        &alert.json,
                    ),
                    LaneResult::Inventory(record) => (
                        self.shared.config.inventory_topic(),
                        &record.key,
                        &record.json,
                    ),
                    LaneResult::Finding(topic, finding) => {
                        (topic.clone(), &finding.key, &finding.json)
                    }
                };
                Entry {
                    topic,
                    key: key.clone().into_bytes(),
                    value: value.clone().into_bytes(),
                }
            };
            let entries = results.iter().map(|(_, _, result)| entry(result)).collect();
            let batch = Batch {
                results,
                offsets: next,
            };
            edge.submit(batch, entries, offsets, member);
            return Ok(());
        }
        if commit(consumer, &offsets, &self.group, self.name, self.shared)? {
            self.committed(&next);
        }
        Ok(())
    }

    fn committed(&mut self, offsets: &[(i32, i64)]) {
        for (partition, next) in offsets {
            if let Some(owned) = self.lanes.get_mut(partition) {
                owned.committed = owned.committed.max(*next);
                self.shared
                    .reach(self.name, &self.topic, *partition, owned.committed);
            }
        }
    }

    /// Looks, for at most `wait`, at what became of the last transaction; true when none is under way.
    fn settle(&mut self, wait: Duration) -> Result<bool, ServiceError> {
        let Some(edge) = &mut self.edge else {
            return Ok(true);
        };
        let is_owned = |partition, owning| {
            let owned = self.lanes.get(&partition);
            owned.is_some_and(|owned| owned.owning == owning)
        };
        match edge.settle(wait, is_owned)? {
            Settled::Idle => Ok(true),
            Settled::Busy => Ok(false),
            Settled::Committed(batch) => {
                let stage = StageLabel { stage: self.name };
                let metrics = &self.shared.metrics;
                metrics.transactions.get_or_create(&stage).inc();
                metrics.commits.get_or_create(&stage).inc();
                let results = batch.results.iter();
                results.for_each(|(_, _, result)| self.shared.note(result));
                self.committed(&batch.offsets);
                Ok(true)
            }
        }
    }

    /// Commits all there is, and leaves a last snapshot.
    fn end(&mut self, consumer: &BaseConsumer<Assignments>) -> Result<(), ServiceError> {
        let began = Instant::now();
        loop {
            self.settle(END_WAIT)?;
            self.commit(consumer)?;
            let waits = |edge: &Edge| edge.is_busy() || edge.is_due();
            if !self.edge.as_ref().is_some_and(waits) {
                break;
            }
            if END_WAIT < began.elapsed() {
                tracing::warn!(
                    stage = self.name,
                    "ends without its last results: Kafka has not taken them, and whoever comes next writes them"
                );
                break;
            }
            // Without its group the thread can commit nothing.
            consumer.poll(Duration::from_millis(10));
        }
        for owned in self.lanes.values_mut() {
            if let Some(lake) = &mut owned.lake {
                lake.close(owned.next);
            }
        }
        let in_lake = |owned: &Owned| owned.lake.as_ref().is_none_or(LaneWriter::is_idle);
        while !self.lanes.values().all(in_lake) && began.elapsed() < END_WAIT {
            std::thread::sleep(LAKE_LOOK);
        }
        self.snapshot(true)?;
        for owned in self.lanes.values_mut() {
            let left = END_WAIT.saturating_sub(began.elapsed());
            if let Some(Ok(saved)) = owned.saving.take().map(|saving| saving.recv_timeout(left)) {
                saved_as(self.shared, self.name, owned, saved);
            }
        }
        Ok(())
    }

    /// Takes snapshots that are due, one lane after the other.
    ///
    /// * `last`: those of all lanes that have changed, for whoever comes next.
    fn snapshot(&mut self, last: bool) -> Result<(), ServiceError> {
        let every = Duration::from_secs(self.shared.config.snapshots.every_seconds);
        let every_file = Duration::from_secs(self.shared.config.lake.every_seconds);
        let keeper = &self.shared.keeper;
        for owned in self.lanes.values_mut() {
            // Whether or not the snapshots' store takes any.
            if let Some(lake) = &mut owned.lake {
                lake.cut_if_old(owned.next, every_file);
            }
            owned.release(keeper);
        }
        for owned in self.lanes.values_mut() {
            match owned.saving.take() {
                None => (),
                Some(saving) if last => match saving.recv_timeout(END_WAIT) {
                    Ok(saved) => saved_as(self.shared, self.name, owned, saved),
                    Err(_) => continue,
                },
                Some(saving) => match saving.try_recv() {
                    Ok(saved) => saved_as(self.shared, self.name, owned, saved),
                    Err(TryRecvError::Empty) => owned.saving = Some(saving),
                    Err(TryRecvError::Disconnected) => (),
                },
            }
        }
        // Each leaves a file in the lake, and small files cost their readers.
        let is_worth = |owned: &Owned| {
            let lake = owned.lake.as_ref();
            every_file <= owned.saved_at.elapsed() || lake.is_none_or(LaneWriter::is_worth)
        };
        let due = |owned: &Owned| {
            let since = owned.chain.as_ref().map(|chain| chain.offset());
            let changed = since.is_some_and(|offset| offset.unwrap_or(0) < owned.next);
            changed
                && owned.replay_until <= owned.next
                && (last || every <= owned.saved_at.elapsed())
                && (last || is_worth(owned))
        };
        if !self.lanes.values().any(due) {
            return Ok(());
        }
        // Rows that wait are not in a snapshot: they are written before it is believed, which is when they are committed.
        self.flush(true)?;
        for owned in self.lanes.values_mut().filter(|owned| due(owned)) {
            let Some(chain) = owned.chain.take() else {
                continue;
            };
            owned.saved_at = Instant::now();
            let since = chain.since();
            let (image, epoch) = owned.lane.save(since).map_err(|error| StateError::Encode {
                stage: self.name,
                source: error.into(),
            })?;
            let label = StageLabel { stage: self.name };
            let pauses = &self.shared.metrics.snapshot_pause_seconds;
            let pause = owned.saved_at.elapsed().as_secs_f64();
            pauses.get_or_create(&label).observe(pause);
            let save = Save {
                chain,
                image,
                is_full: since.is_none(),
                epoch,
                offset: owned.next,
                committed: owned.committed,
                now_ms: now_ms(),
            };
            if let Some(lake) = &mut owned.lake {
                lake.cut(owned.next);
            }
            owned.held = Some(Box::new(save));
            owned.release(keeper);
        }
        Ok(())
    }

    fn measure(&mut self, consumer: &BaseConsumer<Assignments>) {
        let stage = StageLabel { stage: self.name };
        let metrics = &self.shared.metrics;
        let (mut size, mut n_late, mut n_errors, mut n_shed) = (StateSize::default(), 0, 0, 0);
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
            n_shed += owned.lane.shed().len();
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
        metrics.rules_shed.get_or_create(&stage).set(n_shed as i64);
        metrics
            .rule_errors
            .get_or_create(&stage)
            .set(n_errors as i64);
    }
}

/// Writes into a lane's own log what it is told beside rows.
fn tell(
    writer: &Writer,
    (topic, partition): (&str, i32),
    headers: &[(&str, String)],
    value: &[u8],
) -> Result<(), Error> {
    let outgoing = Outgoing {
        topic,
        partition: Some(partition),
        key: None,
        value,
    };
    let headers = headers.iter().map(|(name, text)| (*name, text.as_bytes()));
    writer.send(outgoing, headers)
}

/// Compiles the wanted rules for a lane, aside.
fn compiled(
    shared: &Shared,
    wanted: &Arc<ruling::Wanted>,
    tables: &'static [&'static str],
) -> Result<Receiver<Compiled>, ServiceError> {
    let (done, compiled) = std::sync::mpsc::channel();
    let (models, wanted) = (shared.config.models.clone(), wanted.clone());
    let run = move || {
        // The lane may be gone meanwhile.
        let _ = done.send(crate::stage::compile_all(&models, &wanted.rules, tables));
    };
    std::thread::Builder::new()
        .name("compile".to_owned())
        .spawn(run)?;
    Ok(compiled)
}

/// Lets a lane go on with the rules that its log tells from `offset` on.
fn switch(stage: &'static str, partition: i32, offset: i64, owned: &mut Owned, texts: RuleTexts) {
    let hash = texts.hash();
    let told = owned.told.take_if(|told| told.hash == hash);
    let compiled = told.and_then(|told| told.compiled.recv().ok()?.ok());
    match owned.lane.follow(texts, compiled) {
        Ok(begun) => {
            let begun: Vec<&str> = begun.iter().map(|rule| &*rule.header.name).collect();
            tracing::info!(
                stage,
                partition,
                offset,
                hash = format!("{hash:016x}"),
                windows_begin_empty = ?begun,
                "lane runs the rules that its log tells"
            );
        }
        Err(faults) => tracing::error!(
            stage,
            partition,
            offset,
            first = faults.first().map(ToString::to_string),
            "this version can't run the rules that the lane's log tells: it goes on with those before"
        ),
    }
}

/// Does to a lane what its log tells of one rule.
fn obey(stage: &'static str, partition: i32, offset: i64, owned: &mut Owned, act: &Act) -> Outbox {
    let mut out = Outbox::default();
    owned.shedding.read(act);
    match owned.lane.act(offset, act, &mut out) {
        Ok(false) => (),
        Ok(true) => tracing::warn!(
            stage,
            partition,
            offset,
            ?act,
            "lane sheds a rule, or lifts one"
        ),
        Err(faults) => tracing::error!(
            stage,
            partition,
            offset,
            first = faults.first().map(ToString::to_string),
            "this version can't run the rules of the lane: it goes on without the one that was lifted"
        ),
    }
    out
}

/// Notes what became of a lane's snapshot.
fn saved_as(shared: &Shared, stage: &'static str, owned: &mut Owned, saved: Saved) {
    let outcome = match &saved.done {
        Ok(n_bytes) => {
            let written = &shared.metrics.snapshot_bytes;
            written
                .get_or_create(&StageLabel { stage })
                .inc_by(*n_bytes);
            tracing::debug!(
                stage,
                offset = saved.chain.offset(),
                n_bytes,
                took_ms = saved.took.as_millis() as u64,
                "snapshot written"
            );
            "published"
        }
        Err(StateError::Fenced { .. }) => "fenced",
        Err(_) => "failed",
    };
    if let Err(error) = &saved.done {
        tracing::warn!(
            stage,
            error = error as &dyn std::error::Error,
            "snapshot not written; a restart reads more of the log"
        );
    }
    // Another owner's snapshots follow: ours would only be in its way.
    owned.chain = (outcome != "fenced").then_some(saved.chain);
    let label = SnapshotLabel { stage, outcome };
    shared.metrics.snapshots.get_or_create(&label).inc();
}

/// Reads a log's record from a message.
///
/// # Errors
/// The message was not written by this program.
pub fn read<M: Message>(log: Log, message: &M) -> Result<Item, LogError> {
    let headers = message.headers();
    let pairs = (0..headers.map_or(0, Headers::count)).filter_map(|i| {
        let header = headers?.get(i);
        Some((header.key, header.value?))
    });
    log::read(log, message.payload().unwrap_or_default(), pairs)
}
