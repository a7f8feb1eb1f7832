//! A member of a sink's group: alerts in, in order, and their places committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connectors::kafka::{
    Assignment, Assignments, Cluster, Error, Membership, StartAt, is_retryable, leave,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::config::{Config, GroupProtocol};

/// Longest look for a first alert.
const LOOK: Duration = Duration::from_millis(100);
/// The group drops a member it does not hear of for `max.poll.interval.ms`, five minutes; so often it is told while a sink works.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// A record of the alerts topic.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Record {
    fn of(message: &BorrowedMessage<'_>) -> Record {
        Record {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().unwrap_or_default().to_vec(),
        }
    }
}

pub(super) struct Reader {
    consumer: BaseConsumer<Assignments>,
    topic: String,
    group: String,
    is_named: bool,
    assigned: BTreeSet<i32>,
    /// Of these everything was read.
    at_end: BTreeSet<i32>,
    is_member: bool,
    /// Read while the sink was waited for.
    backlog: VecDeque<Record>,
    polled: Instant,
}

impl Reader {
    pub(super) fn join(cluster: &Cluster, config: &Config, group: &str) -> Result<Reader, Error> {
        let membership = match config.group_protocol {
            GroupProtocol::Classic => Membership::Classic,
            GroupProtocol::Consumer => Membership::Consumer,
        };
        let instance = Some(config.instance.as_str()).filter(|instance| !instance.is_empty());
        let consumer = cluster.consumer(group, StartAt::Committed, membership, instance)?;
        let topic = config.topics.alerts.clone();
        consumer.subscribe(&[&topic]).map_err(Error::Consume)?;
        Ok(Reader {
            consumer,
            topic,
            group: group.to_owned(),
            is_named: instance.is_some(),
            assigned: BTreeSet::new(),
            at_end: BTreeSet::new(),
            is_member: false,
            backlog: VecDeque::new(),
            polled: Instant::now(),
        })
    }

    /// True once the group has said which partitions are this member's.
    pub(super) fn is_member(&self) -> bool {
        self.is_member
    }

    /// True when everything of its partitions was gathered.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_member && self.backlog.is_empty() && self.assigned.is_subset(&self.at_end)
    }

    /// The next records, at most `n_max`, of partitions that are still this member's.
    pub(super) fn gather(&mut self, n_max: usize) -> Result<Vec<Record>, Error> {
        let mut wait = LOOK;
        while self.backlog.len() < n_max {
            if !self.poll(wait)? {
                break;
            }
            wait = Duration::ZERO;
        }
        let n = self.backlog.len().min(n_max);
        Ok(self.backlog.drain(..n).collect())
    }

    /// Polls once; false when nothing came. What is read waits in the backlog.
    fn poll(&mut self, wait: Duration) -> Result<bool, Error> {
        let polled = match self.consumer.poll(wait) {
            None => None,
            Some(Ok(message)) => Some(Ok(Record::of(&message))),
            Some(Err(error)) => Some(Err(error)),
        };
        self.polled = Instant::now();
        // Before what was read with it: that is of the partitions as they are now.
        for change in self.consumer.context().take() {
            match change {
                Assignment::Assigned(partitions) => {
                    self.is_member = true;
                    self.assigned.extend(partitions.iter().map(|(_, p)| *p));
                }
                Assignment::Revoked(partitions) => {
                    for (_, partition) in &partitions {
                        self.assigned.remove(partition);
                        self.at_end.remove(partition);
                    }
                    // Whoever has them now reads them again.
                    let assigned = &self.assigned;
                    self.backlog.retain(|r| assigned.contains(&r.partition));
                }
            }
        }
        match polled {
            None => Ok(false),
            Some(Ok(record)) => {
                self.at_end.remove(&record.partition);
                if self.assigned.contains(&record.partition) {
                    self.backlog.push_back(record);
                }
                Ok(true)
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.at_end.insert(partition);
                Ok(true)
            }
            Some(Err(error)) if is_retryable(&error) => Ok(false),
            Some(Err(error)) => Err(Error::reading(&self.topic, &self.group, error)),
        }
    }

    /// Stays a member for `wait` without reading on; ends early when told to stop.
    pub(super) fn rest(&mut self, wait: Duration, stop: &AtomicBool) -> Result<(), Error> {
        let until = Instant::now() + wait;
        loop {
            // Anew each time: partitions may have come meanwhile.
            if let Ok(assigned) = self.consumer.assignment() {
                // Unpaused it reads on into the backlog, which is no harm.
                let _ = self.consumer.pause(&assigned);
            }
            let left = until.saturating_duration_since(Instant::now());
            self.poll(left.min(LOOK))?;
            if left.is_zero() || stop.load(Ordering::Relaxed) {
                break;
            }
        }
        match self.consumer.assignment() {
            Ok(assigned) => self.consumer.resume(&assigned).map_err(Error::Consume),
            Err(_) => Ok(()),
        }
    }

    /// Stays a member while a sink takes its time.
    pub(super) fn stay(&mut self, stop: &AtomicBool) -> Result<(), Error> {
        match ALIVE_EVERY < self.polled.elapsed() {
            true => self.rest(Duration::ZERO, stop),
            false => Ok(()),
        }
    }

    /// Where the group stands after these records, of partitions that are still this member's.
    pub(super) fn after(&self, next: &BTreeMap<i32, i64>) -> TopicPartitionList {
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in next {
            if self.assigned.contains(partition) {
                // An offset is never negative here, so it is always accepted.
                let offset = Offset::Offset(*next);
                let _ = offsets.add_partition_offset(&self.topic, *partition, offset);
            }
        }
        offsets
    }

    /// Commits; a refusal is no fault, since a later one covers it, or another member delivers again.
    pub(super) fn commit(&self, offsets: &TopicPartitionList) -> Result<(), Error> {
        if offsets.count() == 0 {
            return Ok(());
        }
        match self.consumer.commit(offsets, CommitMode::Sync) {
            Ok(()) => Ok(()),
            Err(error) if is_retryable(&error) => {
                tracing::warn!(%error, group = self.group, "commit refused, going on");
                Ok(())
            }
            Err(source) => Err(Error::Commit {
                group: self.group.clone(),
                source,
            }),
        }
    }

    /// This member, for a transaction; none while there is no group.
    pub(super) fn member(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }

    /// Leaves the group; a member with a name stays, and comes back.
    pub(super) fn leave(self) {
        if !self.is_named {
            leave(&self.consumer);
        }
    }
}
