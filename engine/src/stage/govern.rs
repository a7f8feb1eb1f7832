//! `govern`: which endpoints, agents, MCP servers and tools there are, and what is wrong with them.
//!
//! Comes in: summaries of calls, from every lane of `profile`; of one host, or of one agent, all come to one lane. Goes out: the
//! records of the inventory topic, at once when something is first seen, then at most once a minute of event time; and findings
//! when they change. [`models::inventory`], [`models::posture`] and [`models::agent::roster`] decide; here are rows and clocks.

use arrow::array::RecordBatch;
use models::agent::record::ToolRecord;
use models::agent::roster::{News, Roster};
use models::agent::watch::{AgentSum, ServerSum};
use models::inventory::{Inventory, Summary, Told};
use models::posture::{self, Register, Shown};
use models::spread::{Probe, SpreadDetector};

use super::summing::{AGENT, ENDPOINT, POSTURE, PROBE, SERVER, TOOL};
use super::{Stage, StageError, StateSize};
use crate::alert::Alert;
use crate::config::ModelConfig;
use crate::inventory::Record;
use crate::lane::EventTime;
use crate::log::Log;
use crate::schema::SummaryView;
use crate::state::{Loader, Saver};

/// The stage.
pub struct Govern {
    inventory: Inventory,
    told: Vec<Told>,
    register: Register,
    changed: Vec<posture::Told>,
    roster: Roster,
    noticed: News,
    spread: SpreadDetector,
}

impl Govern {
    /// A lane that has seen nothing.
    pub fn new(config: &ModelConfig) -> Govern {
        let endpoints_max = config.entries(60, Inventory::ENDPOINT_BYTES, config.endpoints_max);
        let judged_max = config.entries(20, Register::ENDPOINT_BYTES, config.endpoints_max);
        Govern {
            inventory: Inventory::new(endpoints_max),
            told: Vec::new(),
            register: Register::new(judged_max),
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
        }
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
        _alerts: &mut Vec<Alert>,
    ) -> Result<(), StageError> {
        let summaries = SummaryView::new(batch)?;
        let reached_ms = time.input_ms.min(time.others_ms);
        self.inventory.tell(reached_ms, &mut self.told);
        self.register.reach(reached_ms, &mut self.changed);
        self.roster.reach(reached_ms, &mut self.noticed);
        for row in 0..batch.num_rows() {
            let row = summaries.row(row);
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
        }
        self.changed.append(&mut self.noticed.findings);
        Ok(())
    }

    fn n_pending(&self) -> usize {
        0
    }

    fn flush(&mut self) -> Vec<(usize, RecordBatch)> {
        Vec::new()
    }

    fn take_inventory(&mut self) -> Vec<Record> {
        let endpoints = self.told.drain(..).map(|told| Record::from(&told));
        let findings = self.changed.drain(..).map(|told| Record::from(&told));
        let records = self.noticed.records.drain(..);
        let noticed = records.map(|record| Record::from(&record));
        endpoints.chain(findings).chain(noticed).collect()
    }

    fn forget_news(&mut self) {
        self.inventory.forget_news();
    }

    fn close(&mut self, _alerts: &mut Vec<Alert>) {
        self.inventory.close(&mut self.told);
        self.register.close(&mut self.changed);
        self.roster.close(&mut self.noticed);
        self.changed.append(&mut self.noticed.findings);
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
        self.inventory.walk(to);
        self.register.walk(to);
        self.roster.walk(to);
        self.spread.walk(to);
    }

    fn load(&mut self, from: &mut Loader) {
        self.inventory.walk(from);
        self.register.walk(from);
        self.roster.walk(from);
        self.spread.walk(from);
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
        let mut govern = Govern::new(&ModelConfig::default());
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
            let mut govern = Govern::new(&ModelConfig::default());
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
