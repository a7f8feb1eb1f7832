//! How far one caller is from each rule, and what it usually does.
//!
//! A rule that rests on an alarm of the models (`alarm`, `probe_alarm`, `run_alarm`) is run over the caller's rows a second
//! time with the alarm set: the rows it then holds on are those on which all else held, and the greatest value among them
//! is how near the caller came. So whatever the rule's other conditions are, the distance is this rule's.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, TimestampMillisecondType};
use models::idea::Ideas;
use serde_json::{Value, json};

use super::super::reading::{pipeline, read, source_of};
use super::super::{Failure, load_rules, plain_table};
use super::ExplainArgs;
use super::rows::{flag, number, place, plain, text};
use crate::alert::{clean, position};
use crate::config::ModelConfig;
use crate::rule::{Finding, Lookups, Reads, Rule, RuleFault, RuleRunner, evidence_at, reads};
use crate::stage::{Watcher, catalog};

/// Collections of one caller kept apart; they come from paths, which callers choose.
const COLLECTIONS_MAX: usize = 1000;
const CATEGORIES: [&str; 5] = ["own", "virgin", "foreign_new", "foreign_met", "denied"];

/// What a rule's alarm compares.
#[derive(Clone, Copy)]
struct Measure {
    /// Column that alarms.
    alarm: &'static str,
    name: &'static str,
    value: &'static str,
    /// Column of the limit; none for the evidence at which the knob alarms.
    limit: Option<&'static str>,
}

const MEASURES: [Measure; 4] = [
    Measure {
        alarm: "alarm",
        name: "evidence",
        value: "evidence",
        limit: None,
    },
    Measure {
        alarm: "probe_alarm",
        name: "evidence of probing",
        value: "probe_evidence",
        limit: None,
    },
    Measure {
        alarm: "run_alarm",
        name: "new objects in a sitting",
        value: "run_objects",
        limit: Some("run_limit"),
    },
    Measure {
        alarm: "run_alarm",
        name: "new objects in order",
        value: "run_in_order",
        limit: Some("run_in_order_limit"),
    },
];

/// How near a caller came by one measure.
struct Distance {
    measure: Measure,
    now: f64,
    greatest: f64,
    limit: Option<f64>,
    /// Of the way to the limit, at the row that came nearest; in nats for evidence. From 1 on it is reached.
    share: f64,
    at: Value,
}

impl Distance {
    fn new(measure: Measure, alarm_at: f64) -> Self {
        Self {
            measure,
            now: 0.0,
            greatest: 0.0,
            limit: measure.limit.is_none().then_some(alarm_at),
            share: 0.0,
            at: Value::Null,
        }
    }

    /// Notes a row; `is_near` when all else that the rule asks holds on it.
    fn note(&mut self, batch: &RecordBatch, row: usize, is_near: bool, alarm_at: f64) {
        let Some(now) = number(batch, self.measure.value, row) else {
            return;
        };
        let limit = match self.measure.limit {
            Some(column) => number(batch, column, row),
            None => Some(alarm_at),
        };
        // Evidence that alarmed starts again.
        let is_over = self.measure.limit.is_none() && flag(batch, self.measure.alarm, row);
        self.now = if is_over { 0.0 } else { now };
        let share = limit.map_or(0.0, |limit| match self.measure.limit {
            None => now.ln_1p() / limit.ln_1p(),
            Some(_) => now / limit,
        });
        if is_near && self.share < share {
            (self.share, self.greatest, self.limit) = (share, now, limit);
            self.at = position(&evidence_at(batch, row));
        }
    }

    /// Nats from now to the alarm, for evidence.
    fn nats_left(&self) -> Option<f64> {
        let alarm_at = self.limit.filter(|_| self.measure.limit.is_none())?;
        Some((alarm_at.ln_1p() - self.now.ln_1p()).max(0.0))
    }

    fn as_json(&self) -> Value {
        json!({
            "measure": self.measure.name, "now": self.now, "greatest": self.greatest, "limit": self.limit,
            "share": self.share, "nats_left": self.nats_left(), "at": self.at,
        })
    }
}

/// One rule over the caller's rows.
struct Watched {
    rule: Arc<Rule>,
    reads: Reads,
    runner: RuleRunner,
    /// The rule with its alarms set.
    near: RuleRunner,
    distances: Vec<Distance>,
    n_findings: usize,
    first: Value,
}

impl Watched {
    fn new(rule: &Arc<Rule>, lookups: &Lookups, alarm_at: f64) -> Result<Self, Vec<RuleFault>> {
        let catalog = catalog().with_lookups(lookups);
        let reads = reads(rule, &catalog).map_err(|fault| vec![fault])?;
        let (_, mut runner) = RuleRunner::single(rule, &catalog)?;
        let (_, near) = RuleRunner::single(rule, &catalog)?;
        runner.measure();
        let rests_on = |measure: &Measure| reads.columns.iter().any(|c| c == measure.alarm);
        let measures = MEASURES.into_iter().filter(rests_on);
        let distances = measures.map(|measure| Distance::new(measure, alarm_at));
        Ok(Self {
            distances: distances.collect(),
            rule: rule.clone(),
            reads,
            runner,
            near,
            n_findings: 0,
            first: Value::Null,
        })
    }

    fn note(&mut self, batch: &RecordBatch, alarmed: &RecordBatch, alarm_at: f64) {
        let mut findings = Vec::new();
        self.runner.push(batch, None, &mut findings);
        self.n_findings += findings.len();
        if let Some(evidence) = findings.first().map(|finding| shown_for(finding, batch))
            && self.first.is_null()
        {
            self.first = evidence;
        }
        if self.distances.is_empty() {
            return;
        }
        let mut near = Vec::new();
        self.near.push(alarmed, None, &mut near);
        let near: HashSet<usize> = near.iter().map(|finding| finding.row).collect();
        for row in 0..batch.num_rows() {
            let is_near = near.contains(&row);
            for distance in &mut self.distances {
                distance.note(batch, row, is_near, alarm_at);
            }
        }
    }

    fn is_about_callers(&self) -> bool {
        self.reads.output.iter().any(|column| column == "identity")
    }

    /// What is said where no measure is.
    fn remark(&self) -> Option<&'static str> {
        let is_measured = !self.distances.is_empty() || self.runner.reach().is_some();
        match (self.is_about_callers(), self.reads.is_windowed) {
            (false, _) => Some("about endpoints, not callers"),
            _ if is_measured => None,
            (true, true) => Some("not measured: its windows speak when they close"),
            (true, false) => Some("holds on a row or does not"),
        }
    }

    fn as_json(&self) -> Value {
        let mut measures: Vec<Value> = self.distances.iter().map(Distance::as_json).collect();
        measures.extend(self.runner.reach().map(|reach| {
            json!({
                "measure": "first condition of its windows", "greatest": reach.greatest,
                "limit": reach.enough, "share": reach.greatest / reach.enough,
            })
        }));
        json!({
            "rule": self.rule.header.name, "about_callers": self.is_about_callers(), "measures": measures,
            "findings": self.n_findings, "first_finding": self.first, "remark": self.remark(),
        })
    }
}

fn shown_for(finding: &Finding, batch: &RecordBatch) -> Value {
    let row = (finding.row < batch.num_rows()).then(|| evidence_at(batch, finding.row));
    let evidence = row.or_else(|| finding.evidence.last().cloned());
    evidence.map_or(Value::Null, |evidence| position(&evidence))
}

/// Touches of one collection, reads or writes apart, by category.
#[derive(Default)]
struct Usual {
    by_category: [usize; CATEGORIES.len()],
    n_known: usize,
    p_own: Option<f64>,
}

impl Usual {
    fn n(&self) -> usize {
        self.by_category.iter().sum()
    }
}

/// One caller as the files show it.
struct Caller {
    identity: String,
    until_ms: i64,
    alarm_at: f64,
    rules: Vec<Watched>,
    n_events: usize,
    n_touches: usize,
    kind: Option<String>,
    quality: Option<String>,
    maturity: f64,
    usual: BTreeMap<(String, bool), Usual>,
    n_touches_elsewhere: usize,
    /// An event of the round was not too late.
    is_within: bool,
}

impl Caller {
    fn note(&mut self, table: &str, batch: &RecordBatch) {
        let (Some(names), Some(times)) = (
            batch.column_by_name("identity"),
            batch.column_by_name("event_time"),
        ) else {
            return;
        };
        let (names, times) = (
            names.as_string::<i32>(),
            times.as_primitive::<TimestampMillisecondType>(),
        );
        let is_within = |row: usize| times.value(row) <= self.until_ms;
        let within = (0..batch.num_rows()).any(is_within);
        let mask: BooleanArray = (0..batch.num_rows())
            .map(|row| Some(names.value(row) == self.identity && is_within(row)))
            .collect();
        self.is_within |= within;
        if mask.true_count() == 0 {
            return;
        }
        let Ok(own) = filter_record_batch(batch, &mask) else {
            return;
        };
        self.note_own(table, &own);
        let alarmed = alarmed(&own);
        for rule in self
            .rules
            .iter_mut()
            .filter(|rule| rule.reads.table == table)
        {
            rule.note(&own, &alarmed, self.alarm_at);
        }
    }

    fn note_own(&mut self, table: &str, batch: &RecordBatch) {
        let last = batch.num_rows() - 1;
        self.kind = text(batch, "identity_kind", last).or(self.kind.take());
        self.quality = text(batch, "identity_quality", last).or(self.quality.take());
        self.maturity = number(batch, "maturity", last).unwrap_or(self.maturity);
        if table == "events" {
            self.n_events += batch.num_rows();
            return;
        }
        if table != "touches" {
            return;
        }
        self.n_touches += batch.num_rows();
        for row in 0..batch.num_rows() {
            let collection = text(batch, "collection", row).unwrap_or_default();
            let key = (collection, flag(batch, "write", row));
            if !self.usual.contains_key(&key) && self.usual.len() == COLLECTIONS_MAX {
                self.n_touches_elsewhere += 1;
                continue;
            }
            let usual = self.usual.entry(key).or_default();
            let category = text(batch, "category", row).unwrap_or_default();
            if let Some(at) = CATEGORIES.iter().position(|name| *name == category) {
                usual.by_category[at] += 1;
            }
            usual.n_known += number(batch, "n_known", row).unwrap_or(0.0) as usize;
            usual.p_own = number(batch, "p_own", row);
        }
    }

    /// What is usual, by number of touches.
    fn usual(&self) -> Vec<(&(String, bool), &Usual)> {
        let mut usual: Vec<_> = self.usual.iter().collect();
        usual.sort_by_key(|(_, usual)| std::cmp::Reverse(usual.n()));
        usual
    }
}

/// The rows with every alarm of the models set.
fn alarmed(batch: &RecordBatch) -> RecordBatch {
    let n = batch.num_rows();
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| -> ArrayRef {
        match (
            MEASURES.iter().any(|m| m.alarm == field.name()),
            field.data_type(),
        ) {
            (true, DataType::Boolean) => Arc::new(BooleanArray::from(vec![true; n])),
            (true, DataType::Utf8) => Arc::new(StringArray::from(vec!["many"; n])),
            _ => column.clone(),
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap_or_else(|_| batch.clone())
}

/// Reads the files and shows the caller's distances.
pub(super) fn explain_identity(args: &ExplainArgs, identity: &str) -> Result<u8, Failure> {
    let models = args.engine.models.over(&ModelConfig::default());
    let alarm_at = 1e6 / models.false_alerts_per_million_events;
    let (rules, lookups) = (&args.engine.rules, &args.engine.lookups);
    let rules = load_rules(rules.as_deref(), lookups.as_deref())?;
    let watched = |rule| Watched::new(rule, &rules.lookups, alarm_at);
    let rules = rules.rules.iter().map(watched);
    let rules = rules.collect::<Result<Vec<_>, _>>();
    let caller = Arc::new(Mutex::new(Caller {
        identity: identity.to_owned(),
        until_ms: args.until.unwrap_or(i64::MAX),
        alarm_at,
        rules: rules.map_err(super::super::RuleFaults)?,
        n_events: 0,
        n_touches: 0,
        kind: None,
        quality: None,
        maturity: 0.0,
        usual: BTreeMap::new(),
        n_touches_elsewhere: 0,
        is_within: false,
    }));
    follow(args, &caller)?;
    let caller = caller.lock().unwrap_or_else(PoisonError::into_inner);
    if caller.n_events == 0 {
        let identity = clean(identity);
        return Err(format!(
            "{identity} makes no call up to there; give the name as alerts show it, or find it with --line FILE:LINE"
        )
        .into());
    }
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", report(&caller))?,
        false => show(&caller, args.limit, &mut out)?,
    }
    Ok(0)
}

/// Reads the files up to where the caller is looked at.
fn follow(args: &ExplainArgs, caller: &Arc<Mutex<Caller>>) -> Result<(), Failure> {
    let mut pipeline = pipeline(&args.engine, &args.reading, Ideas::default())?;
    args.warm.learn(&mut pipeline)?;
    let noted = caller.clone();
    let watcher: Watcher = Arc::new(move |table, batch| {
        let mut caller = noted.lock().unwrap_or_else(PoisonError::into_inner);
        caller.note(table, batch);
    });
    pipeline.watch(Some(watcher));
    let mut n_lines = 0;
    for path in &args.from {
        let at = args.at.as_ref().filter(|at| at.file == *path);
        let until = at.map_or(i64::MAX, |at| at.number);
        let flow = read(
            &mut pipeline,
            path,
            &source_of(path),
            until,
            |round, last| {
                let mut caller = caller.lock().unwrap_or_else(PoisonError::into_inner);
                let is_within = std::mem::take(&mut caller.is_within);
                n_lines = last;
                Ok(
                    match args.until.is_some() && round.n_events != 0 && !is_within {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    },
                )
            },
        )?;
        match at {
            Some(at) if n_lines < at.number => return Err(too_short(path, n_lines).into()),
            Some(_) => return Ok(()),
            None if flow.is_break() => return Ok(()),
            None => (),
        }
    }
    match &args.at {
        Some(at) => {
            let file = clean(&at.file.to_string_lossy());
            Err(format!("{file} is not among the files of --from").into())
        }
        None => Ok(()),
    }
}

/// What is said of a line behind a file's end.
pub(super) fn too_short(path: &Path, n_lines: i64) -> String {
    format!("{} has only {n_lines} lines", path.display())
}

fn report(caller: &Caller) -> Value {
    let usual = caller
        .usual()
        .into_iter()
        .map(|((collection, write), usual)| {
            let counts = CATEGORIES.iter().zip(usual.by_category);
            let mut row: serde_json::Map<String, Value> = counts
                .map(|(name, n)| ((*name).to_owned(), json!(n)))
                .collect();
            row.insert("collection".to_owned(), json!(collection));
            row.insert("write".to_owned(), json!(write));
            row.insert("known".to_owned(), json!(usual.n_known));
            row.insert("p_own".to_owned(), json!(usual.p_own));
            Value::from(row)
        });
    json!({
        "identity": clean(&caller.identity), "kind": caller.kind, "quality": caller.quality,
        "maturity": caller.maturity, "events": caller.n_events, "touches": caller.n_touches,
        "rules": caller.rules.iter().map(Watched::as_json).collect::<Vec<_>>(),
        "usual": usual.collect::<Vec<_>>(), "touches_of_further_collections": caller.n_touches_elsewhere,
    })
}

fn show(caller: &Caller, limit: usize, out: &mut impl Write) -> std::io::Result<()> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    writeln!(
        out,
        "{}: {}, grade {}, {}; {} calls, {} first touches of objects",
        clean(&caller.identity),
        text(&caller.kind),
        text(&caller.quality),
        if caller.maturity < 1.0 {
            "not judged yet: the lane still learns"
        } else {
            "judged"
        },
        caller.n_events,
        caller.n_touches,
    )?;
    let mut table = plain_table();
    table.set_header([
        "rule",
        "measure",
        "now",
        "greatest",
        "limit",
        "share",
        "nats left",
        "nearest at",
        "findings",
    ]);
    let (callers, endpoints): (Vec<_>, Vec<_>) = caller
        .rules
        .iter()
        .partition(|rule| rule.is_about_callers());
    for rule in callers {
        rows(rule).into_iter().for_each(|row| {
            table.add_row(row);
        });
    }
    writeln!(out, "{table}")?;
    let endpoints: Vec<&str> = endpoints
        .iter()
        .map(|rule| rule.rule.header.name.as_str())
        .collect();
    if !endpoints.is_empty() {
        writeln!(
            out,
            "about endpoints, not callers: {}",
            endpoints.join(", ")
        )?;
    }
    let mut table = plain_table();
    table.set_header(
        ["collection", "", "known"]
            .into_iter()
            .chain(CATEGORIES)
            .chain(["own, usually"]),
    );
    for ((collection, write), usual) in caller.usual().into_iter().take(limit) {
        let what = if *write { "writes" } else { "reads" };
        let head = [
            collection.clone(),
            what.to_owned(),
            usual.n_known.to_string(),
        ];
        let counts = usual.by_category.iter().map(ToString::to_string);
        let p_own = usual
            .p_own
            .map_or_else(|| "-".to_owned(), |p| format!("{:.0} %", 100.0 * p));
        table.add_row(head.into_iter().chain(counts).chain([p_own]));
    }
    writeln!(out, "{table}")?;
    let n_more = caller.usual.len().saturating_sub(limit);
    if n_more != 0 {
        writeln!(out, "{n_more} more collections (--limit)")?;
    }
    Ok(())
}

/// The lines of one rule: one a measure.
fn rows(rule: &Watched) -> Vec<[String; 9]> {
    let (name, dash) = (rule.rule.header.name.clone(), || "-".to_owned());
    let n = rule.n_findings.to_string();
    let mut rows: Vec<[String; 9]> = rule
        .distances
        .iter()
        .map(|distance| {
            [
                name.clone(),
                distance.measure.name.to_owned(),
                plain(distance.now),
                plain(distance.greatest),
                distance.limit.map_or_else(dash, plain),
                format!("{:.2}", distance.share),
                distance
                    .nats_left()
                    .map_or_else(dash, |nats| format!("{nats:.1}")),
                if distance.at.is_null() {
                    dash()
                } else {
                    place(&distance.at)
                },
                n.clone(),
            ]
        })
        .collect();
    rows.extend(rule.runner.reach().map(|reach| {
        let measure = "first condition of its windows".to_owned();
        let share = format!("{:.2}", reach.greatest / reach.enough);
        let (greatest, limit) = (plain(reach.greatest), plain(reach.enough));
        [
            name.clone(),
            measure,
            dash(),
            greatest,
            limit,
            share,
            dash(),
            dash(),
            n.clone(),
        ]
    }));
    rows.extend(rule.remark().map(|remark| {
        let remark = remark.to_owned();
        [
            name.clone(),
            remark,
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
            n.clone(),
        ]
    }));
    rows
}
