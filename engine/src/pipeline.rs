//! The whole way: from a raw gateway log to a right alert.
//!
//! [`Pipeline::round`] is the way over in-memory logs, in deterministic rounds: each stage takes what
//! the one before it wrote, partitions in order, on as many threads as there are lanes. `replay`,
//! `demo`'s evaluation and the benchmarks run it. [`crate::service`] runs the same decoders and lanes
//! over Kafka, where the logs are topics and each arrow is a consumer group.

use std::sync::Arc;

use connectors::format::SourceRecord;
use connectors::reject::Reject;

use crate::alert::Alert;
use crate::config::ModelConfig;
use crate::inventory::Record;
use crate::lane::{Lane, Outbox};
use crate::log::{Log, LogRecord};
use crate::mapping::SourceFormat;
use crate::rule::{RuleFault, RuleSet};
use crate::stage::decode::{Decode, DecodeConfig};
use crate::stage::{self, Recorder, StageError, Watcher};

/// What one round gave.
#[derive(Debug, Default)]
pub struct Round {
    /// Calls decoded.
    pub n_events: usize,
    /// Records that can't be decoded, by position and reason.
    pub rejects: Vec<Reject>,
    /// Alerts, in the order of lanes and rows.
    pub alerts: Vec<Alert>,
    /// Records of the inventory, in the order of lanes and rows.
    pub inventory: Vec<Record>,
}

/// The stages over in-memory logs.
pub struct Pipeline {
    config: DecodeConfig,
    decoders: Vec<Decode>,
    profile: Lanes,
    own: Lanes,
    judge: Lanes,
    govern: Lanes,
}

impl Pipeline {
    /// A pipeline of `n_lanes` lanes a stage.
    ///
    /// # Errors
    /// Every fault of the rules.
    pub fn new(
        config: &DecodeConfig,
        models: &ModelConfig,
        rules: &Arc<RuleSet>,
        n_lanes: usize,
    ) -> Result<Self, Vec<RuleFault>> {
        let n = n_lanes.max(1);
        let config = DecodeConfig {
            partitions: n,
            ..config.clone()
        };
        Ok(Self {
            config,
            decoders: Vec::new(),
            profile: Lanes::new(Log::Events, n, models, rules)?,
            own: Lanes::new(Log::Touches, n, models, rules)?,
            judge: Lanes::new(Log::Judgements, n, models, rules)?,
            govern: Lanes::new(Log::Endpoints, n, models, rules)?,
        })
    }

    /// Opens a source: a file's name or a topic's. The records of the next rounds are its; the one
    /// that was open has ended, and its event time holds nobody back any more.
    ///
    /// # Errors
    /// As [`Pipeline::round`].
    pub fn open(&mut self, source: Arc<str>) -> Result<Round, StageError> {
        let (mut ended, mut round) = (Outbox::default(), Round::default());
        if let Some(decoder) = self.decoders.first_mut() {
            decoder.heartbeat(true, &mut ended)?;
        }
        self.pass_on(ended.records, &mut round)?;
        let decode = |_| Decode::new(source.clone(), 0, self.config.clone());
        self.decoders = (0..self.config.partitions).map(decode).collect();
        Ok(round)
    }

    /// The format found in the open source, when it is detected.
    pub fn detected(&self) -> Option<SourceFormat> {
        self.decoders.first().and_then(Decode::detected)
    }

    /// Takes the next records of the open source all the way.
    ///
    /// # Errors
    /// A stage met rows that are not its input's, which would be a fault of this program.
    pub fn round(&mut self, records: &[SourceRecord<'_>]) -> Result<Round, StageError> {
        let (mut round, events) = self.decode(records)?;
        self.pass_on(events, &mut round)?;
        Ok(round)
    }

    /// Takes records of the events log all the way.
    fn pass_on(
        &mut self,
        events: Vec<(usize, LogRecord)>,
        round: &mut Round,
    ) -> Result<(), StageError> {
        let profiled = self.profile.feed(events, round)?;
        let mut judgements = self.own.feed(profiled.next, round)?.next;
        judgements.extend(profiled.raised);
        self.judge.feed(rows_first(judgements), round)?;
        self.govern.feed(profiled.summaries, round)?;
        Ok(())
    }

    /// Ends the source: windows close.
    ///
    /// # Errors
    /// As [`Pipeline::round`].
    pub fn close(&mut self) -> Result<Round, StageError> {
        let mut round = Round::default();
        let profiled = self.profile.close(&mut round);
        let mut judgements = self.own.feed(profiled.next, &mut round)?.next;
        judgements.extend(self.own.close(&mut round).next);
        judgements.extend(profiled.raised);
        self.judge.feed(rows_first(judgements), &mut round)?;
        self.judge.close(&mut round);
        self.govern.feed(profiled.summaries, &mut round)?;
        self.govern.close(&mut round);
        Ok(round)
    }

    /// Shows `watcher` the rows the rules see, from now on; none ends it.
    pub fn watch(&mut self, watcher: Option<Watcher>) {
        self.lanes_mut()
            .for_each(|lane| lane.watch(watcher.clone()));
    }

    /// Hands each lane's recorder its rows of the table `events`, from now on; `of` makes the recorder of a lane whose next
    /// record is at an offset.
    ///
    /// # Errors
    /// Those of `of`.
    pub fn record<E>(
        &mut self,
        mut of: impl FnMut(usize, i64) -> Result<Recorder, E>,
    ) -> Result<(), E> {
        let lanes = self.profile.lanes.iter_mut().zip(&self.profile.next);
        for (at, (lane, next)) in lanes.enumerate() {
            lane.record(of(at, *next)?);
        }
        Ok(())
    }

    /// Lanes of each stage.
    pub fn n_lanes(&self) -> usize {
        self.profile.lanes.len()
    }

    /// While learning only, the models learn and no rule runs: nothing is found and no case opens.
    pub fn learn_only(&mut self, only: bool) {
        self.lanes_mut().for_each(|lane| lane.learn_only(only));
    }

    fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        let stages = [
            &mut self.profile,
            &mut self.own,
            &mut self.judge,
            &mut self.govern,
        ];
        stages.into_iter().flat_map(|stage| &mut stage.lanes)
    }

    /// The lanes of each stage, in the order of the data.
    pub fn stages(&self) -> [(&'static str, &[Lane]); 4] {
        [
            ("profile", &self.profile.lanes),
            ("own", &self.own.lanes),
            ("judge", &self.judge.lanes),
            ("govern", &self.govern.lanes),
        ]
    }

    /// Decodes a round's records: one run of them a decoder, so that their order is kept.
    fn decode(
        &mut self,
        records: &[SourceRecord<'_>],
    ) -> Result<(Round, Vec<(usize, LogRecord)>), StageError> {
        let run = records.len().div_ceil(self.decoders.len().max(1)).max(1);
        let runs = self.decoders.iter_mut().zip(records.chunks(run));
        let parts = in_parallel(runs, |(decoder, records)| {
            let mut out = Outbox::default();
            let pushed = decoder.push(records, 0, &mut out)?;
            decoder.flush(&mut out)?;
            Ok::<_, StageError>((pushed, out))
        });
        let (mut round, mut events) = (Round::default(), Vec::new());
        for part in parts {
            let (pushed, out) = part?;
            round.n_events += pushed.n_events;
            round.rejects.extend(pushed.rejects);
            events.extend(out.records);
        }
        Ok((round, events))
    }
}

/// What the lanes of a stage wrote, by partition.
#[derive(Default)]
struct Written {
    /// To the next log.
    next: Vec<(usize, LogRecord)>,
    /// To the endpoints log.
    summaries: Vec<(usize, LogRecord)>,
    /// To the judgements log, from another stage than the one before its reader.
    raised: Vec<(usize, LogRecord)>,
}

impl Written {
    /// Takes what a lane wrote; its results go to the round.
    fn take(&mut self, out: Outbox, round: &mut Round) {
        self.next.extend(out.records);
        self.summaries.extend(out.summaries);
        self.raised.extend(out.raised);
        round.alerts.extend(out.alerts);
        round.inventory.extend(out.inventory);
    }
}

/// The lanes of one stage and the next offset of each one's partition.
struct Lanes {
    lanes: Vec<Lane>,
    next: Vec<i64>,
    /// The log they write; none after the last stage.
    output: Option<Log>,
}

impl Lanes {
    fn new(
        log: Log,
        n: usize,
        models: &ModelConfig,
        rules: &Arc<RuleSet>,
    ) -> Result<Lanes, Vec<RuleFault>> {
        let lane = |partition| {
            let stage = stage::of(log, models, rules, n)?;
            Ok(Lane::new(stage, log.name().into(), partition))
        };
        let lanes = (0..n as i32)
            .map(lane)
            .collect::<Result<_, Vec<RuleFault>>>()?;
        Ok(Lanes {
            lanes,
            next: vec![0; n],
            output: log.next(),
        })
    }

    fn feed(
        &mut self,
        records: Vec<(usize, LogRecord)>,
        round: &mut Round,
    ) -> Result<Written, StageError> {
        let mut by_lane: Vec<Vec<LogRecord>> = self.lanes.iter().map(|_| Vec::new()).collect();
        records
            .into_iter()
            .for_each(|(at, record)| by_lane[at].push(record));
        let (n, output) = (self.lanes.len(), self.output);
        let work = self.lanes.iter_mut().zip(&mut self.next).zip(by_lane);
        let outs = in_parallel(work, |((lane, next), records)| {
            let mut out = Outbox::default();
            for record in records {
                lane.feed(*next, &record, &mut out)?;
                *next += 1;
            }
            lane.flush(&mut out);
            if let Some(log) = output {
                lane.heartbeat(log, n, &mut out);
            }
            Ok::<_, StageError>(out)
        });
        let mut written = Written::default();
        for out in outs {
            written.take(out?, round);
        }
        Ok(written)
    }

    fn close(&mut self, round: &mut Round) -> Written {
        let (mut out, mut written) = (Outbox::default(), Written::default());
        self.lanes.iter_mut().for_each(|lane| lane.close(&mut out));
        written.take(out, round);
        written
    }
}

/// The same records, those that only tell event time behind those with rows: two stages write them, and in a round both are done.
fn rows_first(records: Vec<(usize, LogRecord)>) -> Vec<(usize, LogRecord)> {
    let has_rows = |(_, record): &(usize, LogRecord)| 0 < record.batch.num_rows();
    let (mut all, beats): (Vec<_>, Vec<_>) = records.into_iter().partition(has_rows);
    all.extend(beats);
    all
}

/// Runs one thread a piece of work; results in the order of the work.
pub(crate) fn in_parallel<W: Send, R: Send>(
    work: impl ExactSizeIterator<Item = W>,
    each: impl Fn(W) -> R + Sync,
) -> Vec<R> {
    if work.len() <= 1 {
        return work.map(each).collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = work.map(|piece| scope.spawn(|| each(piece))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, R>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}
