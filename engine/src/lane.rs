//! A lane: a deterministic chain of operators over one partition of a keyed log.
//!
//! Comes in: the partition's records in order. Goes out: rows for the next log, and alerts. A lane
//! knows how far it has read from each of its inputs (a row at or below that was seen before and is
//! dropped), how far event time is in each, and nothing of Kafka, files or clocks. What it writes is
//! a function of the records it was fed, so it can be restarted from the log's beginning, or from what it
//! was at some offset ([`Lane::save`], [`Lane::load`]), and goes on as if nothing had happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::alert::{self, Alert};
use crate::briefing::Briefing;
use crate::inventory::Record;
use crate::log::{self, Header, Log, LogRecord, RowAt};
use crate::rule::shed::{Act, Shed};
use crate::rule::{Rule, RuleFault, RuleRunner, RuleTexts, Stopwatch};
use crate::schema;
use crate::stage::{Recorder, Stage, StageError, Watcher};
use crate::state::image::Image;
use crate::state::{LaneWalk, Loader, Saver};

/// Rows a lane gathers for one partition of the next log before it writes a record.
pub const ROWS_PER_RECORD: usize = 1024;

/// How far event time is, seen from one row of a batch: the batch's own input goes on with its rows,
/// and the slowest of the other inputs holds it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// Highest event time of the batch's input before the batch, ms.
    pub input_ms: i64,
    /// Lowest watermark among the lane's other inputs that are not idle, ms.
    pub others_ms: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Input {
    highest: RowAt,
    watermark_ms: i64,
    idle: bool,
}

/// What a lane wrote.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Records for partitions of the next log.
    pub records: Vec<(usize, LogRecord)>,
    /// Records for partitions of the endpoints log.
    pub summaries: Vec<(usize, LogRecord)>,
    /// Records for partitions of the judgements log, of a stage that is not the one before its reader.
    pub raised: Vec<(usize, LogRecord)>,
    /// Alerts for the results topic.
    pub alerts: Vec<Alert>,
    /// Records for the inventory topic.
    pub inventory: Vec<Record>,
}

/// Compiles rules for SQL tables, each.
pub type Compile =
    Arc<dyn Fn(&RuleTexts, &[&str]) -> Result<Vec<RuleRunner>, Vec<RuleFault>> + Send + Sync>;

/// One lane of a stage.
pub struct Lane {
    stage: Box<dyn Stage>,
    topic: Arc<str>,
    partition: i32,
    inputs: BTreeMap<(Arc<str>, i32), Input>,
    read_at_ms: i64,
    n_dropped: u64,
    muted: bool,
    /// The last heartbeat.
    told: Option<Header>,
    /// Times it was saved.
    epoch: u32,
    /// The last rules its log told, and their hash; none before, when those run that it was made with.
    rules: Option<(u64, RuleTexts)>,
    compile: Option<Compile>,
    /// Rules of these that its log shed, by name.
    shed: BTreeMap<String, Shed>,
    /// The last briefing its log told, and its hash; none before, when it goes by that it was made with.
    briefing: Option<(u64, Vec<u8>)>,
}

impl Lane {
    /// A lane of `stage` over one partition of the topic (or in-memory log) of its input.
    pub fn new(stage: Box<dyn Stage>, topic: Arc<str>, partition: i32) -> Self {
        let inputs = BTreeMap::new();
        Self {
            stage,
            topic,
            partition,
            inputs,
            read_at_ms: 0,
            n_dropped: 0,
            muted: false,
            told: None,
            epoch: 0,
            rules: None,
            compile: None,
            shed: BTreeMap::new(),
            briefing: None,
        }
    }

    /// The lane, able to run rules that its log tells, or that its snapshot was made with.
    #[must_use]
    pub fn following(mut self, compile: Compile) -> Self {
        self.compile = Some(compile);
        self
    }

    /// Hash of the last rules its log told.
    pub fn rules(&self) -> Option<u64> {
        self.rules.as_ref().map(|(hash, _)| *hash)
    }

    /// Runs the rules its log told, but for those that are shed and have the same text still. Comes out: those whose windows
    /// begin empty.
    ///
    /// * `compiled`: those rules for each of the stage's tables, when somebody has compiled them aside.
    ///
    /// # Errors
    /// Another version of the program took these rules; the lane goes on with those it had.
    pub fn follow(
        &mut self,
        rules: RuleTexts,
        compiled: Option<Vec<RuleRunner>>,
    ) -> Result<Vec<Arc<Rule>>, Vec<RuleFault>> {
        let tables = self.stage.tables();
        let runners = match (compiled, &self.compile) {
            (Some(runners), _) => Ok(runners),
            (None, Some(compile)) => compile(&rules, tables),
            (None, None) => Ok(Vec::new()),
        };
        // Told is told: what can't be run here is not asked for again.
        self.rules = Some((rules.hash(), rules));
        let mut runners = runners?;
        let shed = runners.iter_mut().flat_map(|of| of.shed(&self.shed));
        let shed: Vec<Arc<Rule>> = shed.collect();
        self.shed
            .retain(|name, _| shed.iter().any(|rule| rule.header.name == *name));
        let runners = tables.iter().zip(runners);
        let begun = runners.flat_map(|(table, runner)| self.stage.put_rules(table, runner));
        Ok(begun.collect())
    }

    /// Does what the record at `offset` of the lane's partition says of a rule. Comes out: whether it changed anything; a
    /// rule that is not run here, or has another text by now, is left as it is.
    ///
    /// # Errors
    /// A rule that should run again was taken by another version of the program; the lane goes on without it.
    pub fn act(
        &mut self,
        offset: i64,
        act: &Act,
        out: &mut Outbox,
    ) -> Result<bool, Vec<RuleFault>> {
        let (name, shed) = match act {
            Act::Shed(name, shed) => (name, shed),
            Act::Lift(name) => {
                let is_news = self.shed.remove(name).is_some();
                // With the others, whose windows go on.
                if let Some((_, rules)) = self.rules.clone().filter(|_| is_news) {
                    self.follow(rules, None)?;
                }
                return Ok(is_news);
            }
        };
        let one = BTreeMap::from([(name.clone(), shed.clone())]);
        let runners = self.stage.runners().into_iter();
        let Some(rule) = runners.flat_map(|runner| runner.shed(&one)).next() else {
            return Ok(false);
        };
        self.shed.extend(one);
        if !self.muted {
            let time_ms = self.watermark_ms().max(0);
            let position = (&*self.topic, self.partition, offset);
            let alert = alert::shed::alert(&rule, shed, time_ms, position);
            out.alerts.push(alert);
        }
        Ok(true)
    }

    /// True when what it writes depends on what documents and the register of agents say.
    pub fn is_briefed(&self) -> bool {
        self.stage.is_briefed()
    }

    /// Hash of the last briefing its log told.
    pub fn briefing(&self) -> Option<u64> {
        self.briefing.as_ref().map(|(hash, _)| *hash)
    }

    /// Goes by the briefing that its log tells.
    pub fn brief(&mut self, briefing: Briefing) {
        self.stage.brief(&briefing);
        self.briefing = Some((briefing.hash, briefing.encoded));
    }

    /// The rules its log shed, by name.
    pub fn shed(&self) -> &BTreeMap<String, Shed> {
        &self.shed
    }

    /// Measures what each rule costs, from now on. What the lane writes does not depend on it.
    pub fn time_rules(&mut self, stopwatch: &Stopwatch) {
        for runner in self.stage.runners() {
            runner.time(stopwatch.clone());
        }
    }

    /// While muted, a lane learns and writes nothing: it reads again what it had written before.
    pub fn mute(&mut self, muted: bool) {
        if self.muted && !muted {
            // What was gathered while muted was written before.
            drop((
                self.stage.flush(),
                self.stage.flush_summaries(),
                self.stage.flush_raised(),
            ));
            self.read_at_ms = 0;
        }
        self.muted = muted;
    }

    /// Feeds the record at `offset` of the lane's partition.
    ///
    /// # Errors
    /// The record's columns are not the log's; nothing of it was processed.
    pub fn feed(
        &mut self,
        offset: i64,
        record: &LogRecord,
        out: &mut Outbox,
    ) -> Result<(), StageError> {
        let header = &record.header;
        let key = (header.input_topic.clone(), header.input_partition);
        let fresh = Input {
            highest: (i64::MIN, 0),
            watermark_ms: i64::MIN,
            idle: false,
        };
        let input = self.inputs.entry(key.clone()).or_insert(fresh);
        let batch = unseen(self.stage.input(), &record.batch, input.highest);
        self.n_dropped += (record.batch.num_rows() - batch.num_rows()) as u64;
        let before_ms = input.watermark_ms;
        input.idle = header.idle;
        input.watermark_ms = before_ms.max(header.watermark_ms);
        // A heartbeat has no rows that its own event time could make late.
        let input_ms = match batch.num_rows() {
            0 => input.watermark_ms,
            _ => before_ms,
        };
        let mut others_ms = self.watermark_without(&key);
        if self.stage.input() != Log::Events {
            // Rows of every source are mixed here: one that is ahead must not make the next one late,
            // so event time is what the writer said it is, not what the rows say.
            others_ms = others_ms.min(input_ms);
        }
        if batch.num_rows() > 0 {
            let last = log::row_at(self.stage.input(), &batch, batch.num_rows() - 1);
            if let (Some(last), Some(input)) = (last, self.inputs.get_mut(&key)) {
                input.highest = last;
            }
            if self.read_at_ms == 0 || header.read_at_ms < self.read_at_ms {
                self.read_at_ms = header.read_at_ms;
            }
        }
        let mut alerts = Vec::new();
        let time = EventTime {
            input_ms,
            others_ms,
        };
        self.stage.process(&batch, offset, time, &mut alerts)?;
        let mut inventory = self.stage.take_inventory();
        if !self.muted {
            alerts
                .iter_mut()
                .for_each(|alert| alert.read_at_ms = header.read_at_ms);
            out.alerts.append(&mut alerts);
            inventory
                .iter_mut()
                .for_each(|record| record.read_at_ms = header.read_at_ms);
            out.inventory.append(&mut inventory);
        }
        if self.stage.n_pending() >= ROWS_PER_RECORD {
            self.flush(out);
        }
        Ok(())
    }

    /// Writes what was gathered as records of the next log.
    pub fn flush(&mut self, out: &mut Outbox) {
        if self.stage.n_pending() == 0 {
            return;
        }
        let header = self.header();
        let (batches, summaries) = (self.stage.flush(), self.stage.flush_summaries());
        let raised = self.stage.flush_raised();
        if !self.muted {
            let record = |batch| LogRecord {
                header: header.clone(),
                batch,
            };
            for (records, batches) in [
                (&mut out.records, batches),
                (&mut out.summaries, summaries),
                (&mut out.raised, raised),
            ] {
                records.extend(batches.into_iter().map(|(at, batch)| (at, record(batch))));
            }
        }
        self.read_at_ms = 0;
    }

    /// The header of a record, or a heartbeat, this lane writes now.
    pub fn header(&self) -> Header {
        let watermark_ms = self.watermark_ms();
        Header {
            input_topic: self.topic.clone(),
            input_partition: self.partition,
            watermark_ms,
            idle: !self.inputs.is_empty() && self.inputs.values().all(|input| input.idle),
            read_at_ms: self.read_at_ms,
        }
    }

    /// Tells every one of `partitions` of the next log, and of the other logs it writes, how far event time is here, when that
    /// is news.
    ///
    /// Until a lane has told so, nobody downstream waits for it; so it tells even before its first row.
    pub fn heartbeat(&mut self, log: Log, partitions: usize, out: &mut Outbox) {
        let header = Header {
            read_at_ms: 0,
            ..self.header()
        };
        if self.muted || self.inputs.is_empty() || self.told.as_ref() == Some(&header) {
            return;
        }
        self.flush(out);
        let summaries = self.stage.summary_partitions();
        let raised = self.stage.raised_partitions();
        for (records, log, partitions) in [
            (&mut out.records, log, partitions),
            (&mut out.summaries, Log::Endpoints, summaries),
            (&mut out.raised, Log::Judgements, raised),
        ] {
            let record = LogRecord {
                header: header.clone(),
                batch: RecordBatch::new_empty(schema::of_log(log)),
            };
            records.extend((0..partitions).map(|at| (at, record.clone())));
        }
        self.told = Some(header);
    }

    /// Freezes what the lane is after the last record it was fed, in well under a millisecond a million keys; with it the
    /// epoch that the next one may be saved `since`.
    ///
    /// * `since`: what changed after that epoch; none for everything.
    ///
    /// # Errors
    /// A value has no encoding, which would be a fault of this program.
    pub fn save(&mut self, since: Option<u32>) -> Result<(Image, u32), postcard::Error> {
        debug_assert_eq!(self.stage.n_pending(), 0, "written before it is saved");
        self.epoch += 1;
        let mut saver = Saver::new(since, self.epoch);
        self.walk(&mut saver);
        self.stage.save(&mut saver);
        Ok((saver.finish()?, self.epoch))
    }

    /// Puts back what was saved; whether it all could be is for the loader to say.
    pub fn load(&mut self, loader: &mut Loader) {
        self.walk(loader);
        if let Some((_, rules)) = self.rules.take()
            && let Err(faults) = self.follow(rules, None)
        {
            let n_faults = faults.len();
            tracing::warn!(
                topic = %self.topic,
                partition = self.partition,
                n_faults,
                first = faults.first().map(ToString::to_string),
                "this version can't run the rules of the snapshot: it goes on with those it was given"
            );
        }
        for runner in self.stage.runners() {
            runner.shed(&self.shed);
        }
        if let Some((_, encoded)) = &self.briefing {
            match Briefing::decode(encoded) {
                Ok(briefing) => self.stage.brief(&briefing),
                Err(error) => tracing::warn!(
                    topic = %self.topic,
                    partition = self.partition,
                    %error,
                    "this version can't read the briefing of the snapshot: the lane goes by that it was made with"
                ),
            }
        }
        self.stage.load(loader);
    }

    fn walk(&mut self, walk: &mut impl LaneWalk) {
        let inputs = self.inputs.iter();
        let mut inputs: Vec<(String, i32, Input)> = inputs
            .map(|((topic, partition), input)| (topic.to_string(), *partition, input.clone()))
            .collect();
        walk.value("lane.inputs", &mut inputs);
        let put = |(topic, partition, input): (String, i32, Input)| {
            ((Arc::from(topic), partition), input)
        };
        self.inputs = inputs.into_iter().map(put).collect();
        walk.copied("lane.rules", &mut self.rules);
        walk.value("lane.shed", &mut self.shed);
        walk.copied("lane.briefing", &mut self.briefing);
    }

    /// Ends a bounded input: every window closes.
    pub fn close(&mut self, out: &mut Outbox) {
        self.stage.close(&mut out.alerts);
        out.inventory.append(&mut self.stage.take_inventory());
        self.flush(out);
    }

    /// Gives up what it would still tell: the lane it was copied from tells it.
    pub fn forget_news(&mut self) {
        self.stage.forget_news();
    }

    /// Shows `watcher` the rows the stage's rules see, from now on; none ends it.
    pub fn watch(&mut self, watcher: Option<Watcher>) {
        self.stage.watch(watcher);
    }

    /// Hands `recorder` each record's rows of the table `events`, from now on.
    pub fn record(&mut self, recorder: Recorder) {
        self.stage.record(recorder);
    }

    /// While learning only, the stage's rules do not run.
    pub fn learn_only(&mut self, only: bool) {
        self.stage.learn_only(only);
    }

    /// The stage, for its counters.
    pub fn stage(&self) -> &dyn Stage {
        self.stage.as_ref()
    }

    /// Rows dropped because they had been seen.
    pub fn n_dropped(&self) -> u64 {
        self.n_dropped
    }

    /// Lowest watermark among the inputs that are not idle (all of them when all are), ms.
    pub fn watermark_ms(&self) -> i64 {
        let active = self
            .inputs
            .values()
            .filter(|input| !input.idle)
            .map(|input| input.watermark_ms);
        let all = || self.inputs.values().map(|input| input.watermark_ms).max();
        active.min().or_else(all).unwrap_or(i64::MIN)
    }

    fn watermark_without(&self, key: &(Arc<str>, i32)) -> i64 {
        let others = self
            .inputs
            .iter()
            .filter(|(other, input)| *other != key && !input.idle);
        others
            .map(|(_, input)| input.watermark_ms)
            .min()
            .unwrap_or(i64::MAX)
    }
}

/// The rows above `highest`. Rows of one record are in order, so those seen before come first.
fn unseen(log: Log, batch: &RecordBatch, highest: RowAt) -> RecordBatch {
    let n = batch.num_rows();
    let seen = |i: usize| log::row_at(log, batch, i).is_some_and(|at| at <= highest);
    if n == 0 || !seen(0) {
        return batch.clone();
    }
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = (low + high) / 2;
        if seen(middle) {
            low = middle + 1
        } else {
            high = middle
        }
    }
    batch.slice(low, n - low)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::schema::{JudgementRow, JudgementRowsBuilder, TouchRow, TouchRowsBuilder};
    use crate::stage::StateSize;

    /// A stage that notes the event time it was given.
    struct Recorder(Arc<Mutex<Vec<EventTime>>>);

    impl Stage for Recorder {
        fn input(&self) -> Log {
            Log::Judgements
        }
        fn process(
            &mut self,
            _batch: &RecordBatch,
            _offset: i64,
            time: EventTime,
            _alerts: &mut Vec<Alert>,
        ) -> Result<(), StageError> {
            self.0.lock().unwrap().push(time);
            Ok(())
        }
        fn n_pending(&self) -> usize {
            0
        }
        fn flush(&mut self) -> Vec<(usize, RecordBatch)> {
            Vec::new()
        }
        fn close(&mut self, _alerts: &mut Vec<Alert>) {}
        fn state(&self) -> StateSize {
            StateSize::default()
        }
        fn save(&mut self, _to: &mut Saver) {}
        fn load(&mut self, _from: &mut Loader) {}
    }

    /// A record of an `own` lane: one row of event time `row_ms`, or a heartbeat.
    fn record(partition: i32, watermark_ms: i64, idle: bool, row_ms: Option<i64>) -> LogRecord {
        let (mut touches, mut judgements) =
            (TouchRowsBuilder::default(), JudgementRowsBuilder::default());
        if let Some(event_time) = row_ms {
            let touch = TouchRow {
                in_offset: event_time,
                event_time,
                ..TouchRow::default()
            };
            touches.push(&touch);
            judgements.push(&JudgementRow::default());
        }
        let columns = [touches.finish(), judgements.finish()].concat();
        let header = Header {
            input_topic: "touches".into(),
            input_partition: partition,
            watermark_ms,
            idle,
            read_at_ms: 0,
        };
        LogRecord {
            header,
            batch: RecordBatch::try_new(schema::judgements(), columns).unwrap(),
        }
    }

    #[test]
    fn behind_own_event_time_is_what_the_writers_say_and_the_slowest_holds_back() {
        let times = Arc::new(Mutex::new(Vec::new()));
        let mut lane = Lane::new(Box::new(Recorder(times.clone())), "judgements".into(), 0);
        // Record, and how far event time may be at its rows: never what the row itself says.
        let steps = [
            (record(0, 100, false, Some(900)), i64::MIN),
            (record(0, 200, false, Some(950)), 100),
            (record(1, i64::MIN, false, None), i64::MIN),
            (record(0, 300, false, Some(960)), i64::MIN),
            (record(1, 50, false, None), 50),
            (record(0, 400, false, Some(970)), 50),
            (record(1, 50, true, None), 50),
            (record(0, 500, false, Some(980)), 400),
        ];
        let mut out = Outbox::default();
        for (offset, (record, want)) in (0..).zip(steps) {
            lane.feed(offset, &record, &mut out).unwrap();
            let time = times.lock().unwrap()[offset as usize];
            let reached_ms = time.input_ms.max(i64::MAX - 1).min(time.others_ms);
            assert_eq!(reached_ms, want, "record {offset}: {time:?}");
        }
    }

    #[test]
    fn a_heartbeat_is_told_once_and_only_by_a_lane_that_has_heard() {
        let mut lane = Lane::new(Box::new(Recorder(Arc::default())), "judgements".into(), 0);
        let mut out = Outbox::default();
        lane.heartbeat(Log::Touches, 3, &mut out);
        assert!(out.records.is_empty(), "nothing is known of event time");
        lane.feed(0, &record(0, i64::MIN, false, None), &mut out)
            .unwrap();
        lane.heartbeat(Log::Touches, 3, &mut out);
        lane.heartbeat(Log::Touches, 3, &mut out);
        assert_eq!(out.records.len(), 3, "once to every partition");
        lane.feed(1, &record(0, 7, false, None), &mut out).unwrap();
        lane.heartbeat(Log::Touches, 3, &mut out);
        assert_eq!(out.records.len(), 6);
        assert_eq!(out.records[5].1.header.watermark_ms, 7);
    }
}
