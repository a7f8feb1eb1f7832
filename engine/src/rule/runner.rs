//! Runs the compiled rules of one table: batches in, findings out. One per lane and table.
//!
//! For each batch: the conditions that rules share are evaluated once each and only when some rule still has rows; the rows
//! left go through the rule's own steps; then either each is a finding, or they are folded into windows one by one. A row
//! on which an expression fails is left out and counted; the rule goes on, and so does the lane.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMillisecondArray, UInt32Array,
    new_null_array,
};
use arrow::compute::{and, cast};
use arrow::datatypes::{Field, Schema, SchemaRef, TimestampMillisecondType};
use arrow::row::Rows;
use datafusion::common::{DFSchema, DataFusionError, plan_datafusion_err};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

use crate::lane::EventTime;

use super::compile::{Cell, Program, WindowProgram, compile, reads};
use super::finding::{Evidence, Finding, evidence_at};
use super::input::{Input, Values};
use super::limit::on_deep_stack;
use super::plan::{Catalog, Stream, physical};
use super::sequence::{Match, Prepared};
use super::shed::Shed;
use super::step::{Step, batch_of, column, mask, taken};
use super::window::{Reach, Row};
use super::{Rule, RuleFault, RuleSet};
use crate::state::LaneWalk;

/// Tells nanoseconds since some moment. What it says is counted and decides nothing here.
pub type Stopwatch = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The rules of one table, compiled.
pub struct RuleRunner {
    stream: Stream,
    /// The stream's columns, all nullable: what a batch lacks is null.
    schema: SchemaRef,
    shared: Vec<Arc<dyn PhysicalExpr>>,
    texts: Arc<[Arc<dyn PhysicalExpr>]>,
    lanes: Vec<Lane>,
    /// Greatest event time so far.
    clock_ms: i64,
    /// Measures what each rule costs; none where nobody asks.
    stopwatch: Option<Stopwatch>,
}

/// Counts of one rule since the runner was made; `groups` and `state_bytes` are of now.
#[derive(Debug, Clone)]
pub struct RuleCounters {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Rows of the table the rule was asked about.
    pub rows: u64,
    /// Nanoseconds they took, where they are measured. A condition that several rules share counts as the first one's.
    pub spent_ns: u64,
    /// Findings made.
    pub findings: u64,
    /// Rows not counted because every window they are in had closed.
    pub late: u64,
    /// Rows left out because an expression failed on them, and results that could not be computed.
    pub errors: u64,
    /// Rows an exception took out.
    pub excepted: u64,
    /// Rows an exception would have taken out, had it not expired.
    pub exceptions_expired: u64,
    /// Groups kept.
    pub groups: u64,
    /// Groups dropped for want of room.
    pub evicted: u64,
    /// Values not kept, or kept less exactly, because their group was full: distinct counts are lower bounds then.
    pub capped: u64,
    /// Bytes of state, an estimate.
    pub state_bytes: u64,
    /// Findings that created no case because the rule had created as many as it may in an hour; see [`super::case`].
    pub uncased: u64,
}

/// Expressions over the stream that rules share, each with its place.
type Places = HashMap<Expr, usize>;

/// The places of expressions, which get one where they have none.
fn placed(exprs: Vec<Expr>, places: &mut Places) -> Vec<usize> {
    let place = |expr| {
        let next = places.len();
        *places.entry(expr).or_insert(next)
    };
    exprs.into_iter().map(place).collect()
}

/// One rule at work.
struct Lane {
    program: Program,
    /// Conditions of the runner the rule needs.
    shared: Vec<usize>,
    /// Texts of the runner its steps read.
    texts: Vec<usize>,
    counters: RuleCounters,
}

/// One batch at work.
struct Load<'a> {
    /// As it was pushed: evidence is read from it.
    batch: &'a RecordBatch,
    /// In the columns of the stream.
    full: RecordBatch,
    times: TimestampMillisecondArray,
    /// Greatest event time up to each row.
    clocks: Vec<i64>,
    /// The runner's texts, and those that some rule has asked for.
    texts: Arc<[Arc<dyn PhysicalExpr>]>,
    made: Vec<OnceCell<ArrayRef>>,
}

/// Rows of a batch after the steps of a rule.
struct Lowered {
    rows: Vec<u32>,
    batch: RecordBatch,
    keys: Option<Rows>,
    inputs: Vec<Input>,
}

impl RuleRunner {
    /// Compiles the rules that read `table`.
    ///
    /// # Errors
    /// The faults of all rules of the set that read the table, or whose table cannot be told.
    pub fn compile(
        rules: &RuleSet,
        catalog: &Catalog,
        table: &str,
    ) -> Result<RuleRunner, Vec<RuleFault>> {
        on_deep_stack(|| RuleRunner::compile_here(rules, catalog, table))
    }

    fn compile_here(
        rules: &RuleSet,
        catalog: &Catalog,
        table: &str,
    ) -> Result<RuleRunner, Vec<RuleFault>> {
        let catalog = &match rules.lookups.tables().next() {
            Some(_) => catalog.clone().with_lookups(&rules.lookups),
            None => catalog.clone(),
        };
        let Some(stream) = catalog.get(table) else {
            return Err(vec![RuleFault {
                file: table.into(),
                line: 1,
                message: format!("there is no table `{table}`"),
            }]);
        };
        let (mut lanes, mut faults) = (Vec::new(), Vec::new());
        let (mut conditions, mut texts) = (Places::new(), Places::new());
        for rule in &rules.rules {
            match compile(rule, catalog, table) {
                Err(more) => faults.extend(more),
                Ok(None) => {}
                Ok(Some(mut program)) => {
                    lanes.push(Lane {
                        shared: placed(std::mem::take(&mut program.shared), &mut conditions),
                        texts: placed(std::mem::take(&mut program.texts), &mut texts),
                        program,
                        counters: RuleCounters::new(rule.clone()),
                    });
                }
            }
        }
        let fault = |e: DataFusionError| {
            vec![RuleFault {
                file: table.into(),
                line: 1,
                message: e.strip_backtrace(),
            }]
        };
        let qualified =
            DFSchema::try_from_qualified_schema(table, &stream.schema).map_err(fault)?;
        let compiled = |places: Places| {
            let mut exprs: Vec<(Expr, usize)> = places.into_iter().collect();
            exprs.sort_by_key(|(_, place)| *place);
            let exprs = exprs.iter().map(|(e, _)| physical(e, &qualified));
            exprs.collect::<Result<Vec<_>, _>>().map_err(fault)
        };
        let (shared, texts) = (compiled(conditions)?, compiled(texts)?);
        if !faults.is_empty() {
            return Err(faults);
        }
        let fields: Vec<Field> = stream
            .schema
            .fields()
            .iter()
            .map(|f| f.as_ref().clone().with_nullable(true))
            .collect();
        Ok(RuleRunner {
            stream: stream.clone(),
            schema: Arc::new(Schema::new(fields)),
            shared,
            texts: texts.into(),
            lanes,
            clock_ms: i64::MIN,
            stopwatch: None,
        })
    }

    /// Compiles one rule for the table it reads.
    ///
    /// # Errors
    /// Why it cannot run.
    pub fn single(rule: &Rule, catalog: &Catalog) -> Result<(String, RuleRunner), Vec<RuleFault>> {
        let table = reads(rule, catalog).map_err(|fault| vec![fault])?.table;
        let set = RuleSet {
            rules: vec![Arc::new(rule.clone())],
            lookups: catalog.lookups().clone(),
        };
        RuleRunner::compile(&set, catalog, &table).map(|runner| (table, runner))
    }

    /// Lets the windows and sequences of all rules together hold no more than so many bytes, each rule the same share.
    pub fn limit_bytes(&mut self, bytes_max: usize) {
        let has_state =
            |lane: &&mut Lane| lane.program.window.is_some() || lane.program.sequence.is_some();
        let those: Vec<&mut Lane> = self.lanes.iter_mut().filter(has_state).collect();
        let share = bytes_max / those.len().max(1);
        for lane in those {
            if let Some(window) = &mut lane.program.window {
                window.windows.limit_bytes(share);
            }
            if let Some(sequence) = &mut lane.program.sequence {
                sequence.matcher.limit_bytes(share);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn limit_groups(&mut self, groups_max: usize) {
        let windows = self
            .lanes
            .iter_mut()
            .filter_map(|lane| lane.program.window.as_mut());
        windows.for_each(|window| window.windows.limit_groups(groups_max));
    }

    /// Measures what each rule costs, from now on and in the rules that take its place.
    pub fn time(&mut self, stopwatch: Stopwatch) {
        self.stopwatch = Some(stopwatch);
    }

    /// Gives up the rules of these names and texts, with their state; comes out: which of them it ran.
    pub fn shed(&mut self, rules: &BTreeMap<String, Shed>) -> Vec<Arc<Rule>> {
        let is_shed = |lane: &mut Lane| {
            let rule = &lane.counters.rule;
            let shed = rules.get(&rule.header.name);
            shed.is_some_and(|shed| shed.hash == rule.hash)
        };
        let gone = self.lanes.extract_if(.., is_shed);
        gone.map(|lane| lane.counters.rule).collect()
    }

    /// Keeps how near groups come to their thresholds, from now on.
    pub fn measure(&mut self) {
        let windows = self
            .lanes
            .iter_mut()
            .filter_map(|lane| lane.program.window.as_mut());
        windows.for_each(|window| window.windows.measure());
    }

    /// How near any group came to the threshold of the first rule that has windows; none where that is not measured.
    pub fn reach(&self) -> Option<Reach> {
        let mut windows = self
            .lanes
            .iter()
            .filter_map(|lane| lane.program.window.as_ref());
        windows.next()?.windows.reach()
    }

    /// Rules it runs.
    pub fn n_rules(&self) -> usize {
        self.lanes.len()
    }

    /// Runs the rules over one batch of the table, in log order, where the rows are all there is.
    ///
    /// * `watermark_ms`: event time the source has reached, where it knows more than the rows say; it counts after the batch.
    /// * `findings`: are appended by row, then by rule. A window that closed stands at the row whose clock closed it, before
    ///   the findings of its rule on that row.
    pub fn push(
        &mut self,
        batch: &RecordBatch,
        watermark_ms: Option<i64>,
        findings: &mut Vec<Finding>,
    ) {
        let time = EventTime {
            input_ms: i64::MIN,
            others_ms: i64::MAX,
        };
        self.push_at(batch, time, findings);
        if let Some(watermark_ms) = watermark_ms {
            self.clock_ms = self.clock_ms.max(watermark_ms);
            let idle = batch.slice(0, 0);
            self.push_at(&idle, time, findings);
        }
    }

    /// Runs the rules over one batch of one of several inputs, in log order.
    ///
    /// Event time at a row is that of its input, rows before it included, held back by the slowest
    /// of the other inputs: a partition that lags never makes its rows late by another's haste.
    pub fn push_at(&mut self, batch: &RecordBatch, time: EventTime, findings: &mut Vec<Finding>) {
        let load = match self.load(batch, time) {
            Ok(load) => load,
            Err(error) => {
                tracing::warn!(%error, n_rows = batch.num_rows(), "batch has no event time, rules skip it");
                self.lanes
                    .iter_mut()
                    .for_each(|lane| lane.counters.errors += batch.num_rows() as u64);
                return;
            }
        };
        let reached_ms = time.input_ms.min(time.others_ms);
        self.clock_ms = load
            .clocks
            .last()
            .copied()
            .unwrap_or(self.clock_ms)
            .max(reached_ms);
        let mut masks: Vec<Option<BooleanArray>> = vec![None; self.shared.len()];
        let mut fresh: Vec<Finding> = Vec::new();
        let mut began_ns = self.stopwatch.as_ref().map_or(0, |stopwatch| stopwatch());
        for lane in &mut self.lanes {
            lane.counters.rows += batch.num_rows() as u64;
            if let Some(rows) = lane.select(&self.shared, &mut masks, &load) {
                lane.run(rows, &load, &mut fresh);
            }
            let (clock_ms, sample) = (self.clock_ms, |row| evidence_at(batch, row));
            lane.advance(clock_ms, &load.clocks, &sample, &mut fresh);
            lane.settle(batch);
            if let Some(stopwatch) = &self.stopwatch {
                let now_ns = stopwatch();
                lane.counters.spent_ns += now_ns.saturating_sub(began_ns);
                began_ns = now_ns;
            }
        }
        // Stable: rules were run in order, and windows of one rule close in order.
        fresh.sort_by_key(|finding| finding.order);
        findings.append(&mut fresh);
    }

    /// Ends a bounded input: every window closes.
    pub fn close(&mut self, findings: &mut Vec<Finding>) {
        for lane in &mut self.lanes {
            lane.advance(i64::MAX, &[], &|_| Evidence::default(), findings);
        }
    }

    /// Goes over the state: windows that are open. Counts are of this process and begin anew. A rule that was not there, or
    /// counted something else, begins with no windows.
    pub fn walk(&mut self, walk: &mut impl LaneWalk) {
        walk.value("rules.clock_ms", &mut self.clock_ms);
        for lane in &mut self.lanes {
            if let Some(program) = &mut lane.program.window {
                let name = &lane.counters.rule.header.name;
                if walk.enter(&format!("{name}@{:016x}", program.counted)) {
                    program.windows.walk(walk);
                }
            }
            if let Some(program) = &mut lane.program.sequence {
                let name = &lane.counters.rule.header.name;
                if walk.enter(&format!("{name}@{:016x}", program.name)) {
                    program.matcher.walk(walk);
                }
            }
        }
    }

    /// Takes the place of the rules before: event time goes on, and so do the counters and windows of each rule of the same
    /// name that counts the same. The others, whose windows begin empty here, are named.
    pub fn adopt(&mut self, old: RuleRunner) -> Vec<Arc<Rule>> {
        self.clock_ms = self.clock_ms.max(old.clock_ms);
        self.stopwatch = old.stopwatch;
        let by_name = |lane: Lane| (lane.counters.rule.header.name.clone(), lane);
        let mut old: HashMap<String, Lane> = old.lanes.into_iter().map(by_name).collect();
        let mut begun = Vec::new();
        for lane in &mut self.lanes {
            let rule = lane.counters.rule.clone();
            let (mut windows, mut sequence) = (None, None);
            if let Some(before) = old.remove(&rule.header.name) {
                (windows, sequence) = (before.program.window, before.program.sequence);
                lane.counters = RuleCounters {
                    rule: rule.clone(),
                    ..before.counters
                };
            }
            let mut begins = false;
            if let Some(program) = &mut lane.program.window {
                match windows.filter(|windows| windows.counted == program.counted) {
                    Some(windows) => program.windows.adopt(windows.windows),
                    None => begins = true,
                }
            }
            if let Some(program) = &mut lane.program.sequence {
                match sequence.filter(|sequence| sequence.name == program.name) {
                    Some(sequence) => program.matcher.adopt(sequence.matcher),
                    None => begins = true,
                }
            }
            if begins {
                begun.push(rule);
            }
        }
        begun
    }

    /// Counts of each rule, in the order of their names.
    pub fn counters(&self) -> Vec<RuleCounters> {
        self.lanes.iter().map(Lane::counters).collect()
    }

    fn load<'a>(
        &self,
        batch: &'a RecordBatch,
        time: EventTime,
    ) -> Result<Load<'a>, DataFusionError> {
        let n = batch.num_rows();
        let full = match Arc::ptr_eq(&batch.schema(), &self.stream.schema) {
            true => batch.clone(),
            false => {
                let columns = self.schema.fields().iter().map(|field| {
                    match batch.column_by_name(field.name()) {
                        Some(array) if array.data_type() == field.data_type() => array.clone(),
                        Some(array) => cast(array, field.data_type())
                            .unwrap_or_else(|_| new_null_array(field.data_type(), n)),
                        None => new_null_array(field.data_type(), n),
                    }
                });
                batch_of(&self.schema, columns.collect(), n)?
            }
        };
        let event_time = full
            .column_by_name(&self.stream.time)
            .ok_or_else(|| plan_datafusion_err!("no column {}", self.stream.time))?;
        let times = match event_time.as_primitive_opt::<TimestampMillisecondType>() {
            Some(times) if times.null_count() == 0 => times.clone(),
            _ => {
                return Err(plan_datafusion_err!(
                    "{} is not a time in every row",
                    self.stream.time
                ));
            }
        };
        let (mut clock_ms, mut input_ms) = (self.clock_ms, time.input_ms);
        let clocks = times.values().iter().map(|row_ms| {
            input_ms = input_ms.max(*row_ms);
            clock_ms = clock_ms.max(input_ms.min(time.others_ms));
            clock_ms
        });
        Ok(Load {
            batch,
            clocks: clocks.collect(),
            full,
            times,
            texts: self.texts.clone(),
            made: vec![OnceCell::new(); self.texts.len()],
        })
    }
}

impl Load<'_> {
    /// One of the runner's texts, a value a row.
    fn text(&self, place: usize) -> Result<&ArrayRef, DataFusionError> {
        if let Some(made) = self.made[place].get() {
            return Ok(made);
        }
        let made = column(&self.texts[place], &self.full)?;
        Ok(self.made[place].get_or_init(|| made))
    }
}

impl RuleCounters {
    pub(crate) fn new(rule: Arc<Rule>) -> RuleCounters {
        RuleCounters {
            rule,
            rows: 0,
            spent_ns: 0,
            findings: 0,
            late: 0,
            errors: 0,
            excepted: 0,
            exceptions_expired: 0,
            groups: 0,
            evicted: 0,
            capped: 0,
            state_bytes: 0,
            uncased: 0,
        }
    }
}

impl Lane {
    fn counters(&self) -> RuleCounters {
        let mut counters = self.counters.clone();
        if let Some(window) = &self.program.window {
            let of = window.windows.counters();
            (counters.late, counters.evicted, counters.capped) = (of.late, of.evicted, of.capped);
            counters.groups = window.windows.n_groups() as u64;
            counters.state_bytes = window.windows.bytes() as u64;
        }
        if let Some(sequence) = &self.program.sequence {
            let (n_keys, bytes, n_evicted) = sequence.matcher.size();
            (counters.groups, counters.state_bytes) = (n_keys as u64, bytes as u64);
            counters.evicted = n_evicted;
        }
        counters
    }

    /// The rows the shared conditions leave, if there are any.
    fn select(
        &mut self,
        shared: &[Arc<dyn PhysicalExpr>],
        masks: &mut [Option<BooleanArray>],
        load: &Load<'_>,
    ) -> Option<Vec<u32>> {
        let n = load.full.num_rows();
        let mut kept: Option<BooleanArray> = None;
        for place in &self.shared {
            if masks[*place].is_none() {
                match mask(&shared[*place], &load.full) {
                    Ok(array) => masks[*place] = Some(array),
                    Err(error) => {
                        self.fail(n, &error);
                        return None;
                    }
                }
            }
            let one = masks[*place].as_ref()?;
            let both = match &kept {
                None => one.clone(),
                Some(kept) => and(kept, one).ok()?,
            };
            if both.true_count() == 0 {
                return None;
            }
            kept = Some(both);
        }
        match kept {
            Some(kept) => Some(kept.values().set_indices().map(|row| row as u32).collect()),
            None if n == 0 => None,
            None => Some((0..n as u32).collect()),
        }
    }

    fn run(&mut self, rows: Vec<u32>, load: &Load<'_>, findings: &mut Vec<Finding>) {
        if self.program.sequence.is_some() {
            return self.follow(rows, load, findings);
        }
        let mut parts = Vec::with_capacity(1);
        self.lower(rows, load, &mut parts);
        for part in parts {
            let accepted = self.accepted(&part.rows, load);
            match self.program.window.is_some() {
                true => self.fold(&part, &accepted, load, findings),
                false => self.each(&part, &accepted, load, findings),
            }
        }
    }

    /// Runs the steps; where an expression fails, halves the rows until only those it fails on are left out.
    fn lower(&mut self, rows: Vec<u32>, load: &Load<'_>, parts: &mut Vec<Lowered>) {
        match self.program.lowered(&rows, &self.texts, load) {
            Ok(part) if part.rows.is_empty() => {}
            Ok(part) => parts.push(part),
            Err(error) if rows.len() == 1 => self.fail(1, &error),
            Err(_) => {
                let (left, right) = rows.split_at(rows.len() / 2);
                self.lower(left.to_vec(), load, parts);
                self.lower(right.to_vec(), load, parts);
            }
        }
    }

    fn fail(&mut self, n_rows: usize, error: &DataFusionError) {
        if self.counters.errors == 0 {
            tracing::warn!(rule = %self.counters.rule.header.name, %error, "rule fails on a row, which is left out; more are only counted");
        }
        self.counters.errors += n_rows as u64;
    }

    /// For each row, whether no exception takes it out.
    fn accepted(&mut self, rows: &[u32], load: &Load<'_>) -> Vec<bool> {
        let mut accepted = vec![true; rows.len()];
        if self.program.exceptions.is_empty() {
            return accepted;
        }
        let picked = UInt32Array::from(rows.to_vec());
        let thinned = match arrow::compute::take_record_batch(&load.full, &picked) {
            Ok(thinned) => thinned,
            Err(error) => {
                self.fail(rows.len(), &error.into());
                return accepted;
            }
        };
        for at in 0..self.program.exceptions.len() {
            let (mut holds, mut failed) = (Vec::new(), Vec::new());
            let exception = &self.program.exceptions[at];
            holding(&exception.predicate, &thinned, 0, &mut holds, &mut failed);
            for at in holds {
                if load.times.value(rows[at] as usize) < exception.expires_ms {
                    self.counters.excepted += u64::from(accepted[at]);
                    accepted[at] = false;
                } else {
                    self.counters.exceptions_expired += 1;
                }
            }
            // An exception that cannot be asked of a row does not take it out.
            failed.iter().for_each(|error| self.fail(1, error));
        }
        accepted
    }

    /// Rows are followed in the pattern of a sequence, one by one.
    fn follow(&mut self, rows: Vec<u32>, load: &Load<'_>, findings: &mut Vec<Finding>) {
        let accepted = self.accepted(&rows, load);
        let mut accepted = accepted.into_iter();
        let rows = rows.into_iter().filter(|_| accepted.next() == Some(true));
        let mut parts = Vec::with_capacity(1);
        self.prepare(rows.collect(), load, &mut parts);
        for part in parts {
            for at in 0..part.rows.len() {
                let row = part.rows[at] as usize;
                let time_ms = load.times.value(row);
                let Some(sequence) = &mut self.program.sequence else {
                    return;
                };
                let sample = || evidence_at(load.batch, row);
                let Some(found) = sequence.take(&part, at, time_ms, sample) else {
                    continue;
                };
                match self.program.matched(&part, at, &found) {
                    Ok(None) => {}
                    Ok(Some(values)) => {
                        self.counters.findings += 1;
                        let mut evidence = found.samples;
                        if evidence.is_empty() {
                            evidence.push(evidence_at(load.batch, row));
                        }
                        findings.push(Finding {
                            rule: self.counters.rule.clone(),
                            row,
                            order: row,
                            time_ms,
                            window: Some((
                                found.started_ms.min(found.ended_ms),
                                found.started_ms.max(found.ended_ms).saturating_add(1),
                            )),
                            grown: false,
                            values,
                            evidence,
                        });
                    }
                    Err(error) => self.fail(1, &error),
                }
            }
        }
    }

    /// Asks of rows what a sequence asks of each; where that fails, halves them until only those it fails on are left out.
    fn prepare(&mut self, rows: Vec<u32>, load: &Load<'_>, parts: &mut Vec<Prepared>) {
        let Some(sequence) = &self.program.sequence else {
            return;
        };
        let picked = UInt32Array::from(rows.clone());
        let prepared = match rows.len() == load.full.num_rows() {
            true => Ok(load.full.clone()),
            false => arrow::compute::take_record_batch(&load.full, &picked),
        };
        match prepared
            .map_err(DataFusionError::from)
            .and_then(|batch| sequence.prepare(batch, rows.clone()))
        {
            Ok(part) if part.rows.is_empty() => {}
            Ok(part) => parts.push(part),
            Err(error) if rows.len() <= 1 => self.fail(1, &error),
            Err(_) => {
                let (left, right) = rows.split_at(rows.len() / 2);
                self.prepare(left.to_vec(), load, parts);
                self.prepare(right.to_vec(), load, parts);
            }
        }
    }

    /// Every row is a finding.
    fn each(
        &mut self,
        part: &Lowered,
        accepted: &[bool],
        load: &Load<'_>,
        findings: &mut Vec<Finding>,
    ) {
        for (at, row) in part
            .rows
            .iter()
            .map(|r| *r as usize)
            .enumerate()
            .filter(|(at, _)| accepted[*at])
        {
            match values(&self.program.output, &part.batch, at) {
                Ok(values) => {
                    self.counters.findings += 1;
                    let (rule, time_ms) = (self.counters.rule.clone(), load.times.value(row));
                    findings.push(Finding {
                        rule,
                        row,
                        order: row,
                        time_ms,
                        window: None,
                        grown: false,
                        values,
                        evidence: vec![evidence_at(load.batch, row)],
                    });
                }
                Err(error) => self.fail(1, &error),
            }
        }
    }

    /// Rows are folded into windows, one by one.
    fn fold(
        &mut self,
        part: &Lowered,
        accepted: &[bool],
        load: &Load<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let sample = |row: usize| evidence_at(load.batch, row);
        for (at, row) in part
            .rows
            .iter()
            .map(|r| *r as usize)
            .enumerate()
            .filter(|(at, _)| accepted[*at])
        {
            let clock_ms = load.clocks[row];
            self.advance(clock_ms, &load.clocks, &sample, findings);
            let key = part.keys.as_ref().map(|keys| keys.row(at));
            let key = key.as_ref().map_or(&[][..], |key| key.as_ref());
            let time_ms = load.times.value(row);
            let Some(window) = &mut self.program.window else {
                return;
            };
            let Some(crossing) = window.windows.fold(
                &Row {
                    key,
                    time_ms,
                    clock_ms,
                    inputs: &part.inputs,
                    at,
                    row,
                },
                &sample,
            ) else {
                continue;
            };
            let mut evidence = window.windows.take_samples(crossing.slot, crossing.window);
            evidence.push(sample(row));
            let bounds = window.windows.bounds_ms(crossing.window);
            let results =
                window
                    .results(&[crossing.slot], crossing.window)
                    .and_then(|(batch, kept)| {
                        kept.first()
                            .map(|_| values(&self.program.output, &batch, 0))
                            .transpose()
                    });
            match results {
                Ok(None) => {}
                Ok(Some(values)) => {
                    self.counters.findings += 1;
                    let rule = self.counters.rule.clone();
                    findings.push(Finding {
                        rule,
                        row,
                        order: row,
                        time_ms,
                        window: Some(bounds),
                        grown: crossing.grown,
                        values,
                        evidence,
                    });
                }
                Err(error) => self.fail(1, &error),
            }
        }
    }

    /// Closes the windows that end at that clock.
    ///
    /// * `clocks`: that of each row of the batch at hand; they tell at which row a window closed, however the log was cut.
    fn advance(
        &mut self,
        clock_ms: i64,
        clocks: &[i64],
        sample: &impl Fn(usize) -> Evidence,
        findings: &mut Vec<Finding>,
    ) {
        let Some(program) = &mut self.program.window else {
            return;
        };
        let mut failed = None;
        while let Some((window, slots)) = program.windows.close_next(clock_ms) {
            let bounds = program.windows.bounds_ms(window);
            let closes_ms = program.windows.closes_ms(window);
            let order = match clocks {
                [] => usize::MAX,
                clocks => clocks.partition_point(|clock_ms| *clock_ms < closes_ms),
            };
            match program.results(&slots, window) {
                Ok((batch, kept)) => {
                    for (at, slot) in kept.iter().enumerate() {
                        let evidence =
                            program
                                .windows
                                .samples(slots[*slot as usize], window, sample);
                        let Ok(values) = values(&self.program.output, &batch, at) else {
                            continue;
                        };
                        self.counters.findings += 1;
                        let rule = self.counters.rule.clone();
                        findings.push(Finding {
                            rule,
                            row: usize::MAX,
                            order,
                            time_ms: bounds.1,
                            window: Some(bounds),
                            grown: false,
                            values,
                            evidence,
                        });
                    }
                }
                Err(error) => failed = Some(error),
            }
            program.windows.closed(window);
        }
        if let Some(error) = failed {
            self.fail(1, &error);
        }
    }

    fn settle(&mut self, batch: &RecordBatch) {
        if let Some(program) = &mut self.program.window {
            program.windows.settle(&|row| evidence_at(batch, row));
        }
    }
}

impl Program {
    /// The output columns of a match; nothing when the steps leave it out.
    fn matched(
        &self,
        part: &Prepared,
        at: usize,
        found: &Match,
    ) -> Result<Option<Vec<(String, ScalarValue)>>, DataFusionError> {
        let Some(sequence) = &self.sequence else {
            return Ok(None);
        };
        let whole = sequence.row(part, at, found)?;
        let columns = self.scan.iter().flatten();
        let columns = columns.map(|place| whole.column(*place).clone()).collect();
        let batch = batch_of(&self.scan_schema, columns, 1)?;
        let (batch, kept) = Step::apply(&self.steps, batch, vec![0])?;
        let first = kept.first().map(|_| values(&self.output, &batch, 0));
        first.transpose()
    }

    /// The rows left by the rule's own steps, with what its aggregates read.
    fn lowered(
        &self,
        rows: &[u32],
        texts: &[usize],
        load: &Load<'_>,
    ) -> Result<Lowered, DataFusionError> {
        let whole = rows.len() == load.full.num_rows();
        let picked = UInt32Array::from(if whole { Vec::new() } else { rows.to_vec() });
        let thinned = |column: &ArrayRef| match whole {
            true => Ok(column.clone()),
            false => taken(column, &picked),
        };
        let columns = self
            .scan
            .iter()
            .zip(self.scan_schema.fields())
            .map(|(place, field)| match place {
                None => Ok(new_null_array(field.data_type(), rows.len())),
                Some(place) => thinned(load.full.column(*place)),
            });
        let texts = texts.iter().map(|place| thinned(load.text(*place)?));
        let batch = batch_of(
            &self.scan_schema,
            columns.chain(texts).collect::<Result<Vec<_>, _>>()?,
            rows.len(),
        )?;
        let (batch, rows) = Step::apply(&self.steps, batch, rows.to_vec())?;
        let (mut keys, mut inputs) = (None, Vec::new());
        if let Some(window) = self.window.as_ref().filter(|_| !rows.is_empty()) {
            if let Some(converter) = &window.converter {
                let columns = window
                    .keys
                    .iter()
                    .map(|key| column(key, &batch))
                    .collect::<Result<Vec<_>, _>>()?;
                keys = Some(converter.convert_columns(&columns)?);
            }
            inputs = window.inputs(&batch)?;
        }
        Ok(Lowered {
            rows,
            batch,
            keys,
            inputs,
        })
    }
}

impl WindowProgram {
    fn inputs(&self, batch: &RecordBatch) -> Result<Vec<Input>, DataFusionError> {
        let input = |aggregate: &super::aggregate::Aggregate| {
            let values = match &aggregate.arg {
                None => Values::Rows,
                Some(arg) => Values::new(aggregate.kind, &column(arg, batch)?)?,
            };
            let filter = aggregate
                .filter
                .as_ref()
                .map(|f| mask(f, batch))
                .transpose()?;
            let by = aggregate
                .by
                .as_ref()
                .map(|by| Ok::<_, DataFusionError>(Values::plain(&column(by, batch)?)?))
                .transpose()?;
            Ok(Input { values, filter, by })
        };
        self.aggregates.iter().map(input).collect()
    }

    /// HAVING and SELECT over groups in a window: the results, and the place of each among the slots.
    fn results(
        &self,
        slots: &[u32],
        window: i64,
    ) -> Result<(RecordBatch, Vec<u32>), DataFusionError> {
        let mut outputs: Vec<Vec<ScalarValue>> =
            vec![Vec::with_capacity(slots.len()); self.aggregates.len()];
        for slot in slots {
            for (column, value) in outputs.iter_mut().zip(self.windows.outputs(*slot, window)?) {
                column.push(value);
            }
        }
        let mut keys = Vec::new();
        if let Some(converter) = &self.converter {
            let parser = converter.parser();
            keys = converter.convert_rows(
                slots
                    .iter()
                    .map(|slot| parser.parse(self.windows.key(*slot))),
            )?;
        }
        let (start_ms, end_ms) = self.windows.bounds_ms(window);
        let at = |ms: i64| -> ArrayRef {
            Arc::new(TimestampMillisecondArray::from_value(ms, slots.len()).with_timezone("UTC"))
        };
        let columns = self.columns.iter().map(|cell| match cell {
            Cell::Key(key) => Ok(keys[*key].clone()),
            Cell::Start => Ok(at(start_ms)),
            Cell::End => Ok(at(end_ms)),
            Cell::Aggregate(aggregate) => {
                ScalarValue::iter_to_array(outputs[*aggregate].iter().cloned())
            }
        });
        let batch = batch_of(
            &self.schema,
            columns.collect::<Result<Vec<_>, DataFusionError>>()?,
            slots.len(),
        )?;
        Step::apply(&self.steps, batch, (0..slots.len() as u32).collect())
    }
}

/// The rows of a batch a condition holds on, from `first` up; where it fails, the rows are halved until only those it
/// fails on are left out.
fn holding(
    predicate: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
    first: usize,
    holds: &mut Vec<usize>,
    failed: &mut Vec<DataFusionError>,
) {
    let n = batch.num_rows();
    match mask(predicate, batch) {
        Ok(mask) => holds.extend(mask.values().set_indices().map(|at| first + at)),
        Err(error) if n <= 1 => failed.push(error),
        Err(_) => {
            let (left, right) = (batch.slice(0, n / 2), batch.slice(n / 2, n - n / 2));
            holding(predicate, &left, first, holds, failed);
            holding(predicate, &right, first + n / 2, holds, failed);
        }
    }
}

/// The output columns of one row.
fn values(
    names: &[String],
    batch: &RecordBatch,
    row: usize,
) -> Result<Vec<(String, ScalarValue)>, DataFusionError> {
    let value = |(name, array): (&String, &ArrayRef)| {
        Ok((name.clone(), ScalarValue::try_from_array(array, row)?))
    };
    names.iter().zip(batch.columns()).map(value).collect()
}
