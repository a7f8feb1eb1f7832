//! `judge`: per identity, what each touch is to it, and the evidence; the SQL rules over `touches` and over `alerts`.
//!
//! Comes in: touches with their owners, visits, whom a device had before, and alerts that `profile` raised. Goes out: alerts.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use models::evidence::Category;
use models::generations::Generations;
use models::identity::Quality;
use models::judge::{Judge, JudgeConfig, TooLong, Touch};
use models::lineage::Lineage;
use models::ownership::Standing;
use models::seen::SeenFilter;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::correlating::{ALERTS, Correlating};
use super::{Stage, StageError, StateSize, Watcher, compile};
use crate::alert::{Alert, Alerter, Raised};
use crate::config::ModelConfig;
use crate::lane::EventTime;
use crate::log::Log;
use crate::rule::{Evidence, Rule, RuleCounters, RuleFault, RuleRunner, RuleSet, evidence_at};
use crate::schema::{
    self, JudgementRow, JudgementView, TouchModel, TouchModelBuilder, TouchRow, TouchView,
};
use crate::state::{LaneWalk, Loader, Saver};

/// Samples kept for one identity under suspicion, and identities with samples.
const SAMPLES_MAX: usize = 5;
pub(super) const SUSPECTS_MAX: usize = 20_000;
/// Evidence, and objects of a sitting, from which samples are kept.
pub(super) const SUSPICION: f64 = 10.0;
const SITTING: u32 = 8;

/// Touches, or probes, that made one identity suspect: the first ones, which show how it began, and the latest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Samples {
    rows: Vec<Evidence>,
    /// True after an alarm: the next suspicion begins anew.
    ended: bool,
}

impl Samples {
    /// Bytes of one identity's samples at most.
    pub(super) const BYTES: usize =
        Generations::<u64, Samples>::ENTRY_BYTES + SAMPLES_MAX * Evidence::BYTES_MAX;

    /// The samples at an alarm.
    pub(super) fn end(&mut self) -> Vec<Evidence> {
        self.ended = true;
        self.rows.clone()
    }

    pub(super) fn keep(&mut self, sample: Evidence) {
        if std::mem::take(&mut self.ended) {
            self.rows.clear();
        }
        if self.rows.len() == SAMPLES_MAX {
            self.rows.pop();
        }
        self.rows.push(sample);
    }
}

/// The SQL table of its rules.
const TABLE: &str = "touches";

/// The stage.
pub struct Judging {
    judge: Judge,
    samples: Generations<u64, Samples>,
    rules: RuleRunner,
    alerter: Alerter,
    correlating: Correlating,
    table: SchemaRef,
    watcher: Option<Watcher>,
    learns_only: bool,
}

impl Judging {
    /// A lane.
    ///
    /// # Errors
    /// Every fault of the rules over `touches` and `alerts`.
    pub fn new(config: &ModelConfig, rules: &Arc<RuleSet>) -> Result<Self, Vec<RuleFault>> {
        let judge = Judge::new(JudgeConfig {
            false_alerts_per_million_events: config.false_alerts_per_million_events,
            warm_up_ms: config.warm_up_ms(),
            identities_max: config.entries(40, Judge::IDENTITY_BYTES, config.identities_max),
            streams_max: config.entries(24, Judge::STREAM_BYTES, config.streams_max),
            tokens_max: config.entries(2, Lineage::TOKEN_BYTES, config.identities_max),
            pairs_max: config.entries(4, SeenFilter::PAIR_BYTES, config.pairs_max),
            ideas: config.ideas,
        });
        Ok(Self {
            judge,
            samples: Generations::new(config.entries(5, Samples::BYTES, SUSPECTS_MAX)),
            rules: compile(config, rules, TABLE)?,
            alerter: Alerter::new(config),
            correlating: Correlating::new(config, rules)?,
            table: schema::touches_table(),
            watcher: None,
            learns_only: false,
        })
    }

    fn walk(&mut self, walk: &mut impl LaneWalk) {
        self.judge.walk(walk);
        walk.table("judge.samples", &mut self.samples);
        self.alerter.walk(walk);
        self.rules.walk(walk);
        self.correlating.walk(walk);
    }

    /// Takes the alerts its own rules raised, and lets the rules over alerts see those that event time has reached.
    fn correlate(&mut self, reached_ms: i64, n_before: usize, alerts: &mut Vec<Alert>) {
        for alert in &alerts[n_before..] {
            self.correlating.take(Raised::clone(&alert.raised));
        }
        let watcher = self.watcher.as_ref();
        self.correlating
            .reach(reached_ms, &mut self.alerter, watcher, alerts);
    }

    fn judge(
        &mut self,
        touch: &TouchRow<'_>,
        judgement: &JudgementRow<'_>,
        sample: impl FnOnce() -> Evidence,
        rows: &mut TouchModelBuilder,
        alarms: &mut HashMap<usize, Vec<Evidence>>,
    ) {
        let verdict = self.judge.judge(&Touch {
            at_ms: touch.event_time,
            identity: touch.identity_hash,
            home: touch.home,
            object: touch.object,
            collection: xxh3_64(touch.collection.as_bytes()),
            write: touch.write,
            denied: touch.denied,
            n_known: u32::try_from(touch.n_known).unwrap_or(0),
            weight: Quality::from_name(touch.identity_quality).weight(),
            pan_reader: touch.pan_reader,
            newcomer: touch.newcomer,
            place: touch.object_number,
            standing: Standing {
                owner: judgement.owner,
                touchers: [
                    judgement.toucher_1,
                    judgement.toucher_2,
                    judgement.toucher_3,
                    judgement.toucher_4,
                ],
                crowded: judgement.crowded,
            },
        });
        let sitting = verdict.sitting;
        let suspect = SUSPICION <= verdict.evidence || SITTING <= sitting.n_objects;
        if suspect && verdict.category != Category::Own {
            let samples = self.samples.entry(touch.identity_hash);
            samples.keep(sample());
            if verdict.alarm || sitting.alarm.is_some() {
                alarms.insert(rows.len(), samples.end());
            }
        }
        let run = verdict.run;
        rows.push(&TouchModel {
            category: verdict.category.as_str(),
            object_owner: judgement.object_owner,
            surprise_nats: verdict.surprise_nats,
            evidence: verdict.evidence,
            evidence_identity: verdict.evidence_identity,
            alarm: verdict.alarm,
            p_own: verdict.p_own,
            p_peer: verdict.p_peer,
            maturity: verdict.maturity,
            n_touches: i64::from(run.n_touches),
            n_virgin: i64::from(run.n_virgin),
            n_foreign: i64::from(run.n_foreign),
            n_met: i64::from(run.n_met),
            n_denied: i64::from(run.n_denied),
            n_exposed: i64::from(run.n_exposed),
            n_foreign_writes: i64::from(run.n_foreign_writes),
            first_evidence_time: if run.first_ms == 0 {
                touch.event_time
            } else {
                run.first_ms
            },
            run_objects: i64::from(sitting.n_objects),
            run_in_order: i64::from(sitting.n_in_order),
            run_usual: sitting.n_usual,
            run_limit: sitting.too_long_at.map(i64::from),
            run_in_order_limit: sitting.too_long_in_order_at.map(i64::from),
            run_alarm: sitting.alarm.map(TooLong::as_str),
        });
    }
}

impl Stage for Judging {
    fn input(&self) -> Log {
        Log::Judgements
    }

    fn process(
        &mut self,
        batch: &RecordBatch,
        _offset: i64,
        time: EventTime,
        alerts: &mut Vec<Alert>,
    ) -> Result<(), StageError> {
        let (touches, judgements) = (TouchView::new(batch)?, JudgementView::new(batch)?);
        let mut model = TouchModelBuilder::default();
        let mut alarms = HashMap::new();
        let mut is_touch = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let (touch, judgement) = (touches.row(row), judgements.row(row));
            let is_alert = !judgement.alert.is_empty();
            let is_other = judgement.visitor.is_some() || judgement.before.is_some();
            is_touch.push(!is_alert && !is_other);
            if is_alert {
                let raised = postcard::from_bytes::<Raised>(judgement.alert);
                let damaged = |source| StageError::Raised {
                    identity: touch.identity.to_owned(),
                    source,
                };
                self.correlating.take(raised.map_err(damaged)?);
                continue;
            }
            match (judgement.visitor, judgement.before) {
                (Some(visitor), _) => self.judge.visited(touch.identity_hash, visitor),
                (None, Some(before)) => {
                    let collection = xxh3_64(touch.collection.as_bytes());
                    let longest = judgement.before_longest.unwrap_or(0);
                    let longest = u32::try_from(longest).unwrap_or(u32::MAX);
                    let identity = touch.identity_hash;
                    self.judge.goes_on(identity, collection, before, longest);
                }
                (None, None) => {
                    let sample = || evidence_at(batch, row);
                    self.judge(&touch, &judgement, sample, &mut model, &mut alarms);
                }
            }
        }
        let judged = filter_record_batch(batch, &BooleanArray::from(is_touch))?;
        let n = schema::TouchRowsBuilder::fields().len();
        let mut columns = judged.columns()[..n].to_vec();
        columns.extend(model.finish());
        let table = RecordBatch::try_new(self.table.clone(), columns)?;
        if let Some(watcher) = &self.watcher {
            watcher(TABLE, &table);
        }
        if self.learns_only {
            return Ok(());
        }
        let (mut findings, n_before) = (Vec::new(), alerts.len());
        self.rules.push_at(&table, time, &mut findings);
        self.alerter.raise(
            &findings,
            &table,
            |row| alarms.get(&row).cloned().unwrap_or_default(),
            alerts,
        );
        self.correlate(time.input_ms.min(time.others_ms), n_before, alerts);
        Ok(())
    }

    fn n_pending(&self) -> usize {
        0
    }

    fn flush(&mut self) -> Vec<(usize, RecordBatch)> {
        Vec::new()
    }

    fn close(&mut self, alerts: &mut Vec<Alert>) {
        let (mut findings, n_before) = (Vec::new(), alerts.len());
        self.rules.close(&mut findings);
        self.alerter.raise(
            &findings,
            &RecordBatch::new_empty(self.table.clone()),
            |_| Vec::new(),
            alerts,
        );
        for alert in &alerts[n_before..] {
            self.correlating.take(Raised::clone(&alert.raised));
        }
        let watcher = self.watcher.as_ref();
        self.correlating.close(&mut self.alerter, watcher, alerts);
    }

    fn forget_news(&mut self) {
        self.correlating.forget();
    }

    fn state(&self) -> StateSize {
        let of = StateSize::from(self.judge.state());
        let (n_waiting, bytes, n_hurried) = self.correlating.size();
        StateSize {
            n_entries: of.n_entries + n_waiting,
            bytes: of.bytes + bytes,
            n_evicted: of.n_evicted + n_hurried,
        }
    }

    fn save(&mut self, to: &mut Saver) {
        self.walk(to);
    }

    fn load(&mut self, from: &mut Loader) {
        self.walk(from);
    }

    fn watch(&mut self, watcher: Option<Watcher>) {
        self.watcher = watcher;
    }

    fn learn_only(&mut self, only: bool) {
        self.learns_only = only;
    }

    fn tables(&self) -> &'static [&'static str] {
        &[TABLE, ALERTS]
    }

    fn put_rules(&mut self, table: &str, rules: RuleRunner) -> Vec<Arc<Rule>> {
        if table == ALERTS {
            return self.correlating.put_rules(rules);
        }
        let old = std::mem::replace(&mut self.rules, rules);
        self.rules.adopt(old)
    }

    fn runners(&mut self) -> Vec<&mut RuleRunner> {
        vec![&mut self.rules, self.correlating.runner()]
    }

    fn rules(&self) -> Vec<RuleCounters> {
        let mut counters = self.rules.counters();
        counters.extend(self.correlating.counters());
        self.alerter.counted(counters)
    }
}
