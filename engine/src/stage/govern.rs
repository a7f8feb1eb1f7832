//! `govern`: per host, which endpoints there are, and what is wrong with them; the SQL rules over `inventory` and `findings`.
//!
//! Comes in: summaries of calls, from every lane of `profile`. Goes out: the records of the inventory topic, at once when an
//! endpoint is first seen, then at most once a minute of event time; findings of posture when they change; and alerts.
//! [`models::inventory`] and [`models::posture`] decide; here are rows and clocks.

use std::sync::Arc;

use arrow::array::RecordBatch;
use models::inventory::{Inventory, Summary, Told};
use models::posture::{self, Register, Shown};

use super::governing::{Governing, TABLES};
use super::summing::{ENDPOINT, POSTURE};
use super::{Stage, StageError, StateSize, Watcher};
use crate::alert::Alert;
use crate::config::ModelConfig;
use crate::inventory::Record;
use crate::lane::EventTime;
use crate::log::Log;
use crate::rule::{Rule, RuleCounters, RuleFault, RuleRunner, RuleSet};
use crate::schema::SummaryView;
use crate::state::{LaneWalk, Loader, Saver};

/// The stage.
pub struct Govern {
    inventory: Inventory,
    told: Vec<Told>,
    /// Event time at each that is told, ms.
    told_at: Vec<i64>,
    register: Register,
    changed: Vec<posture::Told>,
    /// Highest event time so far, ms.
    clock_ms: i64,
    governing: Governing,
    watcher: Option<Watcher>,
    learns_only: bool,
}

impl Govern {
    /// A lane that has seen nothing.
    ///
    /// # Errors
    /// Every fault of the rules over `inventory` and `findings`.
    pub fn new(config: &ModelConfig, rules: &Arc<RuleSet>) -> Result<Govern, Vec<RuleFault>> {
        let endpoints_max = config.entries(60, Inventory::ENDPOINT_BYTES, config.endpoints_max);
        let judged_max = config.entries(20, Register::ENDPOINT_BYTES, config.endpoints_max);
        Ok(Govern {
            inventory: Inventory::new(endpoints_max),
            told: Vec::new(),
            told_at: Vec::new(),
            register: Register::new(judged_max),
            changed: Vec::new(),
            clock_ms: i64::MIN,
            governing: Governing::new(config, rules)?,
            watcher: None,
            learns_only: false,
        })
    }

    /// Notes when the records that came since the last call were told.
    fn note_told(&mut self) {
        self.told_at.resize(self.told.len(), self.clock_ms);
    }

    /// Lets the rules see what is told and not taken yet.
    fn see(&mut self, reached_ms: i64, alerts: &mut Vec<Alert>) {
        if !self.learns_only {
            let (told, watcher) = ((&*self.told, &*self.told_at), self.watcher.as_ref());
            self.governing
                .see(told, &self.changed, reached_ms, watcher, alerts);
        }
    }

    fn walk(&mut self, walk: &mut impl LaneWalk) {
        self.inventory.walk(walk);
        self.register.walk(walk);
        walk.value("govern.clock_ms", &mut self.clock_ms);
        self.governing.walk(walk);
    }
}

impl Stage for Govern {
    fn input(&self) -> Log {
        Log::Endpoints
    }

    fn process(
        &mut self,
        batch: &RecordBatch,
        _offset: i64,
        time: EventTime,
        alerts: &mut Vec<Alert>,
    ) -> Result<(), StageError> {
        let summaries = SummaryView::new(batch)?;
        let reached_ms = time.input_ms.min(time.others_ms);
        self.clock_ms = self.clock_ms.max(reached_ms);
        self.inventory.tell(reached_ms, &mut self.told);
        self.note_told();
        self.register.reach(reached_ms, &mut self.changed);
        for row in 0..batch.num_rows() {
            let row = summaries.row(row);
            self.clock_ms = self.clock_ms.max(row.event_time);
            let damaged = |source| StageError::Summary {
                endpoint: row.endpoint.to_owned(),
                source,
            };
            match row.kind {
                ENDPOINT => {
                    let summary: Summary = postcard::from_bytes(row.summary).map_err(damaged)?;
                    self.inventory
                        .absorb(row.endpoint, &summary, row.event_time, &mut self.told);
                }
                POSTURE => {
                    let shown: Shown = postcard::from_bytes(row.summary).map_err(damaged)?;
                    self.register
                        .absorb(row.endpoint, &shown, row.event_time, &mut self.changed);
                }
                _ => (),
            }
            self.note_told();
        }
        self.see(reached_ms, alerts);
        Ok(())
    }

    fn n_pending(&self) -> usize {
        0
    }

    fn flush(&mut self) -> Vec<(usize, RecordBatch)> {
        Vec::new()
    }

    fn take_inventory(&mut self) -> Vec<Record> {
        self.told_at.clear();
        let endpoints = self.told.drain(..).map(|told| Record::from(&told));
        let findings = self.changed.drain(..).map(|told| Record::from(&told));
        endpoints.chain(findings).collect()
    }

    fn forget_news(&mut self) {
        self.inventory.forget_news();
    }

    fn close(&mut self, alerts: &mut Vec<Alert>) {
        self.inventory.close(&mut self.told);
        self.note_told();
        self.register.close(&mut self.changed);
        self.see(self.clock_ms, alerts);
        self.governing.close(alerts);
    }

    fn state(&self) -> StateSize {
        StateSize {
            n_entries: self.inventory.n_entries() + self.register.n_entries(),
            bytes: self.inventory.state_bytes() + self.register.state_bytes(),
            n_evicted: self.inventory.n_evicted() + self.register.n_evicted(),
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
        &TABLES
    }

    fn put_rules(&mut self, table: &str, rules: RuleRunner) -> Vec<Arc<Rule>> {
        self.governing.put_rules(table, rules)
    }

    fn rules(&self) -> Vec<RuleCounters> {
        self.governing.counters()
    }
}

#[cfg(test)]
mod tests {
    use models::inventory::{Call, CallObject};
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{self, SummaryRow, SummaryRowsBuilder};

    const TIME: EventTime = EventTime {
        input_ms: i64::MIN,
        others_ms: i64::MIN,
    };

    fn fresh() -> Govern {
        Govern::new(&ModelConfig::default(), &Arc::default()).expect("no rules")
    }

    fn batch(summary: &[u8], kind: &str) -> RecordBatch {
        let mut rows = SummaryRowsBuilder::default();
        rows.push(&SummaryRow {
            kind,
            endpoint: "GET h /a/{id}",
            summary,
            ..SummaryRow::default()
        });
        RecordBatch::try_new(schema::summaries(), rows.finish()).expect("the table's columns")
    }

    fn summary() -> Vec<u8> {
        let mut summary = Summary::default();
        for i in 0..300 {
            let call = Call {
                identity: i,
                status: Some(200),
                template: "/a/{id}",
                path: "/a/17",
                query: Some("page=2&q=x"),
                facts: i,
                ..Call::default()
            };
            let object = CallObject {
                collection: "a",
                hash: i,
                number: Some(17),
            };
            summary.add(&call, std::iter::once(object));
        }
        postcard::to_stdvec(&summary).expect("encodes")
    }

    #[test]
    fn rows_of_other_kinds_are_no_endpoints() {
        let mut govern = fresh();
        let other = batch(b"not a summary", "agent");
        let mut none = Vec::new();
        govern.process(&other, 0, TIME, &mut none).expect("left");
        assert!(govern.take_inventory().is_empty());
        let own = batch(&summary(), ENDPOINT);
        govern.process(&own, 1, TIME, &mut none).expect("taken");
        assert_eq!(govern.take_inventory().len(), 1);
    }

    proptest! {
        /// A damaged log is an error at most, and what it made the inventory believe can be told and merged on.
        #[test]
        fn whatever_bytes_a_summary_has_nothing_panics(changes in proptest::collection::vec((0_usize..4000, any::<u8>()), 1..8), length in 0_usize..6000) {
            let mut bytes = summary();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(length);
            let mut govern = fresh();
            let mut none = Vec::new();
            for bytes in [&bytes, &summary()] {
                let _ = govern.process(&batch(bytes, ENDPOINT), 0, TIME, &mut none);
            }
            govern.close(&mut none);
            let records = govern.take_inventory();
            let is_told = records.iter().all(|record| record.json.starts_with('{'));
            prop_assert!(is_told);
        }
    }
}
