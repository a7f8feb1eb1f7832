//! The rules over `alerts`, in the lanes of `judge`: alerts in, in the order of event time, and alerts about them out.
//!
//! A lane has the alerts of its identities from two stages: those it raises itself, and those that `profile` raised and sent
//! through the judgements log. Which comes first in the log says little, so an alert waits until event time has reached it
//! everywhere; then all that were before it are there, and the rules see them in the order in which they were told. What
//! comes later still is seen when it comes.
//!
//! **Invariant**: no rule here sees what a rule here raised, so there are no loops.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Watcher, compile};
use crate::alert::{Alert, Alerter, Raised};
use crate::config::ModelConfig;
use crate::rule::{Finding, Rule, RuleCounters, RuleFault, RuleRunner, RuleSet};
use crate::schema::{self, AlertRowsBuilder};
use crate::state::LaneWalk;

/// The SQL table.
pub const ALERTS: &str = "alerts";
/// Alerts that wait for event time; beyond it the earliest waits no longer, which is counted.
const WAITING_MAX: usize = 10_000;

/// The rules over the alerts of one lane.
pub struct Correlating {
    rules: RuleRunner,
    /// By when they could be told, then in the order of the log.
    waiting: BTreeMap<(i64, u64), Raised>,
    waiting_max: usize,
    n_taken: u64,
    /// Alerts that event time had not reached when the rules saw them.
    n_hurried: u64,
}

impl Correlating {
    /// No alerts yet.
    ///
    /// # Errors
    /// Every fault of the rules over `alerts`.
    pub fn new(config: &ModelConfig, rules: &Arc<RuleSet>) -> Result<Self, Vec<RuleFault>> {
        Ok(Self {
            rules: compile(config, rules, ALERTS)?,
            waiting: BTreeMap::new(),
            waiting_max: config.entries(2, Raised::BYTES_MAX, WAITING_MAX),
            n_taken: 0,
            n_hurried: 0,
        })
    }

    /// Takes one alert.
    pub fn take(&mut self, raised: Raised) {
        self.n_taken += 1;
        self.waiting.insert((raised.told_ms, self.n_taken), raised);
    }

    /// Lets the rules see the alerts that event time has reached, and appends what they raise.
    pub fn reach(
        &mut self,
        reached_ms: i64,
        alerter: &mut Alerter,
        watcher: Option<&Watcher>,
        alerts: &mut Vec<Alert>,
    ) {
        let is_due = |of: &Self| {
            let first = of.waiting.first_key_value();
            first.is_some_and(|((told_ms, _), _)| *told_ms <= reached_ms)
        };
        if self.rules.n_rules() == 0 && watcher.is_none() {
            self.waiting.clear();
            return;
        }
        let mut rows = AlertRowsBuilder::default();
        while is_due(self) || self.waiting_max < self.waiting.len() {
            self.n_hurried += u64::from(!is_due(self));
            if let Some((_, raised)) = self.waiting.pop_first() {
                rows.push(&raised.row());
            }
        }
        let batch = RecordBatch::try_new(schema::alerts_table(), rows.finish())
            .expect("a builder's columns are its own table's");
        if let Some(watcher) = watcher.filter(|_| 0 < batch.num_rows()) {
            watcher(ALERTS, &batch);
        }
        let mut findings = Vec::new();
        self.rules.push(&batch, Some(reached_ms), &mut findings);
        alerter.raise(&findings, &batch, |_| Vec::new(), alerts);
    }

    /// Ends a bounded input: nothing is waited for any more, and every window closes.
    pub fn close(
        &mut self,
        alerter: &mut Alerter,
        watcher: Option<&Watcher>,
        alerts: &mut Vec<Alert>,
    ) {
        // A window of the last alerts closes behind them.
        if let Some(((last_ms, _), _)) = self.waiting.last_key_value() {
            self.reach(*last_ms, alerter, watcher, alerts);
        }
        let mut findings: Vec<Finding> = Vec::new();
        self.rules.close(&mut findings);
        let nothing = RecordBatch::new_empty(schema::alerts_table());
        alerter.raise(&findings, &nothing, |_| Vec::new(), alerts);
    }

    /// Gives up the alerts that wait: the lane it was copied from has them too.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Alerts that wait, the bytes they take at most, and those that did not wait long enough.
    pub fn size(&self) -> (usize, usize, u64) {
        let n = self.waiting.len();
        (n, n * Raised::BYTES_MAX, self.n_hurried)
    }

    /// Runs other rules from now on; those whose windows begin empty come out.
    pub fn put_rules(&mut self, rules: RuleRunner) -> Vec<Arc<Rule>> {
        let old = std::mem::replace(&mut self.rules, rules);
        self.rules.adopt(old)
    }

    /// The rules.
    pub fn runner(&mut self) -> &mut RuleRunner {
        &mut self.rules
    }

    /// What its rules did.
    pub fn counters(&self) -> Vec<RuleCounters> {
        self.rules.counters()
    }

    /// Goes over the state; behind everything else of the stage, since what follows is of the scope of a rule.
    pub fn walk(&mut self, walk: &mut impl LaneWalk) {
        walk.enter(ALERTS);
        walk.copied("waiting", &mut self.waiting);
        walk.value("n_taken", &mut self.n_taken);
        self.rules.walk(walk);
    }
}
