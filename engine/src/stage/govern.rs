//! `govern`: which endpoints, agents, MCP servers and tools there are, and what is wrong with them; the SQL rules over `inventory`
//! and `findings`.
//!
//! Comes in: summaries of calls, from every lane of `profile`; of one host, or of one agent, all come to one lane. Goes out: the
//! records of the inventory topic, at once when something is first seen, then at most once a minute of event time; findings when they
//! change; and alerts. [`models::inventory`], [`models::posture`], [`models::agent::roster`] and [`models::spread`] decide; here are rows
//! and clocks.

use std::sync::Arc;

use arrow::array::RecordBatch;
use models::agent::record::ToolRecord;
use models::agent::roster::{News, Roster};
use models::agent::watch::{AgentSum, ServerSum};
use models::inventory::{Inventory, Summary, Told};
use models::posture::{self, Register, Scope, Shown, Versions};
use models::spread::{Probe, SpreadDetector};

use super::documented::Documented;
use super::governing::{Governing, TABLES};
use super::summing::{
    AGENT, ENDPOINT, POSTURE, POSTURE_IDENTITY, POSTURE_SOURCE, POSTURE_VERSION, PROBE, SERVER,
    TOOL,
};
use super::{Stage, StageError, StateSize, Watcher};
use crate::alert::Alert;
use crate::briefing::Briefing;
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
    roster: Roster,
    noticed: News,
    spread: SpreadDetector,
    /// Highest event time so far, ms.
    clock_ms: i64,
    documented: Documented,
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
        let endpoints_max = config.entries(50, Inventory::ENDPOINT_BYTES, config.endpoints_max);
        let judged_max = config.entries(20, Register::ENDPOINT_BYTES, config.endpoints_max);
        let routes_max = config.entries(3, Versions::ROUTE_BYTES, config.endpoints_max);
        Ok(Govern {
            inventory: Inventory::new(endpoints_max),
            told: Vec::new(),
            told_at: Vec::new(),
            register: Register::new(judged_max, routes_max),
            changed: Vec::new(),
            roster: Roster::new(
                config.register.clone(),
                config.entries(7, Roster::AGENT_BYTES, config.endpoints_max),
                config.entries(5, Roster::SERVER_BYTES, config.endpoints_max),
                config.entries(5, Roster::TOOL_BYTES, config.endpoints_max),
            ),
            noticed: News::default(),
            spread: SpreadDetector::new(
                config.false_alerts_per_million_events,
                config.warm_up_ms(),
                config.entries(1, SpreadDetector::HOST_BYTES, config.endpoints_max),
                config.entries(2, SpreadDetector::PROBE_BYTES, config.identities_max),
            ),
            clock_ms: i64::MIN,
            documented: Documented::new(config.documents.clone()),
            governing: Governing::new(config, rules)?,
            watcher: None,
            learns_only: false,
        })
    }

    /// Notes when the records that came since the last call were told, and who answers for them.
    fn note_told(&mut self) {
        for told in &mut self.told[self.told_at.len()..] {
            let owner = self.documented.owner(&told.entry.key);
            told.entry.owner = owner.map(str::to_owned);
        }
        self.told_at.resize(self.told.len(), self.clock_ms);
    }

    /// Notes who answers for the endpoints whose findings changed.
    fn note_owners(&mut self) {
        let changed = self.changed.iter_mut();
        for told in changed.filter(|told| told.finding.owner.is_none()) {
            if told.check.scope == Scope::Endpoint {
                let owner = self.documented.owner(&told.finding.subject);
                told.finding.set_owner(owner);
            }
        }
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
        self.roster.walk(walk);
        self.spread.walk(walk);
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
        self.roster.reach(reached_ms, &mut self.noticed);
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
                    let host = row.endpoint.split(' ').nth(1).unwrap_or("-");
                    self.spread.calls(host, summary.n_calls, row.event_time);
                    self.inventory
                        .absorb(row.endpoint, &summary, row.event_time, &mut self.told);
                }
                POSTURE => {
                    let shown: Shown = postcard::from_bytes(row.summary).map_err(damaged)?;
                    self.register
                        .absorb(row.endpoint, &shown, row.event_time, &mut self.changed);
                }
                POSTURE_VERSION => {
                    let shown: Shown = postcard::from_bytes(row.summary).map_err(damaged)?;
                    let is_promised = self.documented.deprecates(row.endpoint) == Some(false);
                    self.register.absorb_version(
                        (row.endpoint, is_promised),
                        &shown,
                        row.event_time,
                        &mut self.changed,
                    );
                }
                POSTURE_IDENTITY | POSTURE_SOURCE => {
                    let shown: Shown = postcard::from_bytes(row.summary).map_err(damaged)?;
                    self.register.absorb_of(
                        row.kind == POSTURE_SOURCE,
                        row.endpoint,
                        &shown,
                        row.event_time,
                        &mut self.changed,
                    );
                }
                PROBE => {
                    let probe: Probe = postcard::from_bytes(row.summary).map_err(damaged)?;
                    self.changed
                        .extend(self.spread.observe(row.endpoint, &probe));
                }
                AGENT => {
                    let sum: AgentSum = postcard::from_bytes(row.summary).map_err(damaged)?;
                    self.roster
                        .absorb_agent(row.endpoint, &sum, row.event_time, &mut self.noticed);
                }
                SERVER => {
                    let sum: ServerSum = postcard::from_bytes(row.summary).map_err(damaged)?;
                    self.roster.absorb_server(
                        row.endpoint,
                        &sum,
                        row.event_time,
                        &mut self.noticed,
                    );
                }
                TOOL => {
                    let record: ToolRecord = postcard::from_bytes(row.summary).map_err(damaged)?;
                    self.roster.absorb_tool(
                        row.endpoint,
                        &record,
                        row.event_time,
                        &mut self.noticed,
                    );
                }
                _ => (),
            }
            self.note_told();
        }
        self.changed.append(&mut self.noticed.findings);
        self.note_owners();
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
        let records = self.noticed.records.drain(..);
        let noticed = records.map(|record| Record::from(&record));
        endpoints.chain(findings).chain(noticed).collect()
    }

    fn forget_news(&mut self) {
        self.inventory.forget_news();
    }

    fn close(&mut self, alerts: &mut Vec<Alert>) {
        self.inventory.close(&mut self.told);
        self.note_told();
        self.register.close(&mut self.changed);
        self.roster.close(&mut self.noticed);
        self.changed.append(&mut self.noticed.findings);
        self.note_owners();
        self.see(self.clock_ms, alerts);
        self.governing.close(alerts);
    }

    fn state(&self) -> StateSize {
        StateSize {
            n_entries: self.inventory.n_entries()
                + self.register.n_entries()
                + self.roster.n_entries()
                + self.spread.len(),
            bytes: self.inventory.state_bytes()
                + self.register.state_bytes()
                + self.roster.state_bytes()
                + self.spread.state_bytes(),
            n_evicted: self.inventory.n_evicted()
                + self.register.n_evicted()
                + self.roster.n_evicted()
                + self.spread.n_evicted(),
        }
    }

    fn save(&mut self, to: &mut Saver) {
        self.walk(to);
    }

    fn load(&mut self, from: &mut Loader) {
        self.walk(from);
    }

    fn is_briefed(&self) -> bool {
        true
    }

    fn brief(&mut self, briefing: &Briefing) {
        self.roster.follow(briefing.register.clone());
        self.documented = Documented::new(briefing.documents.clone());
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

    fn runners(&mut self) -> Vec<&mut RuleRunner> {
        self.governing.runners().into()
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
        let other = batch(b"not a summary", "something else");
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
