//! `govern`: per host, which endpoints there are, and what is wrong with them.
//!
//! Comes in: summaries of calls, from every lane of `profile`. Goes out: the records of the inventory topic, at once when an
//! endpoint is first seen, then at most once a minute of event time; and findings of posture when they change.
//! [`models::inventory`] and [`models::posture`] decide; here are rows and clocks.

use arrow::array::RecordBatch;
use models::inventory::{Inventory, Summary, Told};
use models::posture::{self, Register, Shown};

use super::summing::{ENDPOINT, POSTURE};
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
        for row in 0..batch.num_rows() {
            let row = summaries.row(row);
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
        }
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
        endpoints.chain(findings).collect()
    }

    fn forget_news(&mut self) {
        self.inventory.forget_news();
    }

    fn close(&mut self, _alerts: &mut Vec<Alert>) {
        self.inventory.close(&mut self.told);
        self.register.close(&mut self.changed);
    }

    fn state(&self) -> StateSize {
        StateSize {
            n_entries: self.inventory.n_entries() + self.register.n_entries(),
            bytes: self.inventory.state_bytes() + self.register.state_bytes(),
            n_evicted: self.inventory.n_evicted() + self.register.n_evicted(),
        }
    }

    fn save(&mut self, to: &mut Saver) {
        self.inventory.walk(to);
        self.register.walk(to);
    }

    fn load(&mut self, from: &mut Loader) {
        self.inventory.walk(from);
        self.register.walk(from);
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
