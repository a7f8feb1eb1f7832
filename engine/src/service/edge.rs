//! Results and consumed offsets, exactly once: batches for a transaction, committed in a thread of its own.
//!
//! A batch is cut when there are alerts or records of the inventory: everything read so far is processed, what it gave is
//! acknowledged, and the results go out with the offsets they come from. The stage reads on meanwhile; while one batch is
//! under way the next one gathers.

use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TryRecvError, channel, sync_channel,
};
use std::time::{Duration, Instant};

use connectors::kafka::transaction::{Entry, Outcome, Transactor};
use connectors::kafka::{Error, Gate};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;

use super::LaneResult;

/// Results that wait for their transaction; beyond it the stage waits too.
const PENDING_MAX: usize = 10_000;
/// A transaction that takes longer keeps results back: the service is not ready.
pub(super) const STUCK: Duration = Duration::from_secs(20);

/// A result, and the lane it is of: its partition, and which owning of it this is.
pub(super) type Raised = (i32, u64, LaneResult);

/// Results with the offsets that are consumed when they are visible.
pub(super) struct Batch {
    pub(super) results: Vec<Raised>,
    /// Partition and next offset.
    pub(super) offsets: Vec<(i32, i64)>,
}

enum Answer {
    Committed(Batch),
    Refused(Batch, String),
    Failed(Error),
}

type Job = (Batch, Vec<Entry>, TopicPartitionList, ConsumerGroupMetadata);

/// The edge of one thread of a stage.
pub(super) struct Edge {
    jobs: SyncSender<Job>,
    answers: Receiver<Answer>,
    gate: Arc<Gate>,
    is_busy: bool,
    submitted: Instant,
    pending: Vec<Raised>,
}

/// What became of the last batch.
pub(super) enum Settled {
    /// Nothing is under way.
    Idle,
    /// It is under way.
    Busy,
    /// It is visible.
    Committed(Batch),
}

impl Edge {
    /// Starts the thread; a rebalance waits at `gate` for what is under way.
    pub(super) fn start(
        mut transactor: Transactor,
        gate: Arc<Gate>,
        name: String,
    ) -> std::io::Result<Edge> {
        let (jobs, work) = sync_channel::<Job>(1);
        let (answer, answers) = channel();
        let open = gate.clone();
        let run = move || {
            // Who was killed may have left one open, and offsets in it: others wait for these.
            if let Err(error) = transactor.open() {
                let _ = answer.send(Answer::Failed(error));
                return;
            }
            for (batch, entries, offsets, member) in work {
                let done = match transactor.commit(&entries, &offsets, &member) {
                    Ok(Outcome::Committed) => Answer::Committed(batch),
                    Ok(Outcome::Refused(error)) => Answer::Refused(batch, error.to_string()),
                    Err(error) => Answer::Failed(error),
                };
                open.set(false);
                // Nobody listens any more when the stage has failed.
                let _ = answer.send(done);
            }
        };
        // It ends with its last batch; who ends waits for that, and not for ever.
        std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Edge {
            jobs,
            answers,
            gate,
            is_busy: false,
            submitted: Instant::now(),
            pending: Vec::new(),
        })
    }

    /// Takes a result to write with the next batch.
    pub(super) fn raise(&mut self, raised: Raised) {
        self.pending.push(raised);
    }

    /// True when results wait and a batch may be cut.
    pub(super) fn is_due(&self) -> bool {
        !self.is_busy && !self.pending.is_empty()
    }

    /// True while a batch is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// True when what is under way takes so long that results don't get out.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_busy && STUCK < self.submitted.elapsed()
    }

    /// True when nothing more is to be gathered before a batch has gone.
    pub(super) fn is_full(&self) -> bool {
        PENDING_MAX <= self.pending.len()
    }

    /// Forgets results of a lane that is given up: whoever owns it next raises them again.
    pub(super) fn forget(&mut self, partition: i32) {
        self.pending.retain(|(of, _, _)| *of != partition);
    }

    /// The results that wait.
    pub(super) fn take(&mut self) -> Vec<Raised> {
        std::mem::take(&mut self.pending)
    }

    /// Commits a batch in the edge's thread; nothing else is under way.
    pub(super) fn submit(
        &mut self,
        batch: Batch,
        entries: Vec<Entry>,
        offsets: TopicPartitionList,
        member: ConsumerGroupMetadata,
    ) {
        self.gate.set(true);
        self.submitted = Instant::now();
        let sent = self.jobs.send((batch, entries, offsets, member)).is_ok();
        self.is_busy = sent;
        if !sent {
            self.gate.set(false);
        }
    }

    /// Says what became of what is under way, after at most `wait`.
    ///
    /// * `is_owned`: whether a lane is still the one that raised a result; only its results are tried again when the
    ///   group refused them.
    ///
    /// # Errors
    /// The batch can't be written.
    pub(super) fn settle(
        &mut self,
        wait: Duration,
        is_owned: impl Fn(i32, u64) -> bool,
    ) -> Result<Settled, Error> {
        if !self.is_busy {
            return match self.answers.try_recv() {
                Ok(Answer::Failed(error)) => Err(error),
                _ => Ok(Settled::Idle),
            };
        }
        let answer = match self.answers.try_recv() {
            Err(TryRecvError::Empty) if !wait.is_zero() => self.answers.recv_timeout(wait),
            Err(TryRecvError::Empty) => Err(RecvTimeoutError::Timeout),
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Ok(answer) => Ok(answer),
        };
        match answer {
            Err(RecvTimeoutError::Timeout) => return Ok(Settled::Busy),
            // The thread panicked; the stage ends with it.
            Err(RecvTimeoutError::Disconnected) => panic!("the edge's thread is gone"),
            Ok(_) => self.is_busy = false,
        }
        match answer {
            Ok(Answer::Committed(batch)) => Ok(Settled::Committed(batch)),
            Ok(Answer::Refused(batch, reason)) => {
                tracing::info!(
                    reason,
                    "the group changed under a transaction, which is taken back"
                );
                let again = batch.results.into_iter();
                let again = again.filter(|(partition, owning, _)| is_owned(*partition, *owning));
                let newer = std::mem::take(&mut self.pending);
                self.pending = again.chain(newer).collect();
                Ok(Settled::Idle)
            }
            Ok(Answer::Failed(error)) => Err(error),
            Err(_) => Ok(Settled::Busy),
        }
    }
}
