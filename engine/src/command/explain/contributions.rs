//! The rows that made an alert, picked while the files are read.

use std::collections::HashMap;

use arrow::array::RecordBatch;

use super::rows::{ALERTS, EVENTS, Few, TOUCHES, number, row_of, value};
use crate::schema::{AlertView, EventView, TouchModelView, TouchView};

/// Which rows contribute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pick {
    /// Touches of what is not the caller's own.
    NotOwn,
    /// Probes.
    Probes,
    /// The caller's rows at the endpoint in the window: start and end, half-open, ms.
    Window(i64, i64),
    /// The caller's alerts in the window, whatever their endpoints.
    Alerts(i64, i64),
    /// The triggering row.
    Trigger,
}

/// What an alert's rows are known by.
#[derive(Debug)]
pub(super) struct Watched {
    /// `events`, `touches` or another.
    pub(super) table: String,
    /// Which rows.
    pub(super) pick: Pick,
    /// The caller; none for an alert about an endpoint.
    pub(super) identity: Option<String>,
    /// Its endpoint.
    pub(super) endpoint: String,
    /// When it began.
    pub(super) since_ms: i64,
    /// Source and offset of the triggering row.
    pub(super) source: String,
    /// See `source`.
    pub(super) offset: i64,
}

/// The rows of one alert.
#[derive(Debug)]
pub(super) struct Contributions {
    of: Watched,
    few: Few,
    n_own: usize,
    /// The triggering row was met; rows of other records come too late.
    is_reached: bool,
    is_done: bool,
}

/// One row as all tables have it.
struct Place<'a> {
    identity: &'a str,
    endpoint: &'a str,
    time_ms: i64,
    source: &'a str,
    offset: i64,
}

impl Contributions {
    /// No row yet; at most `limit` are kept.
    pub(super) fn new(of: Watched, limit: usize) -> Self {
        Self {
            of,
            few: Few::new(limit),
            n_own: 0,
            is_reached: false,
            is_done: false,
        }
    }

    /// The table of the rows.
    pub(super) fn table(&self) -> &str {
        &self.of.table
    }

    /// The rows.
    pub(super) fn few(&self) -> &Few {
        &self.few
    }

    /// Touches of the caller's own objects meanwhile, which weaken the evidence.
    pub(super) fn n_own(&self) -> usize {
        self.n_own
    }

    fn note(&mut self, at: &Place<'_>, batch: &RecordBatch, row: usize, category: Option<&str>) {
        let of = &self.of;
        let is_trigger = at.offset == of.offset && at.source == of.source;
        self.is_done |= self.is_reached && !is_trigger;
        self.is_reached |= is_trigger;
        let picked = match of.pick {
            Pick::NotOwn => of.since_ms <= at.time_ms && category != Some("own"),
            Pick::Probes => {
                of.since_ms <= at.time_ms && !value(batch, "probe_classes", row).is_null()
            }
            Pick::Window(start_ms, end_ms) => {
                (start_ms..end_ms).contains(&at.time_ms) && at.endpoint == of.endpoint
            }
            Pick::Alerts(start_ms, end_ms) => (start_ms..end_ms).contains(&at.time_ms),
            Pick::Trigger => is_trigger,
        };
        if self.is_done {
            return;
        }
        if picked {
            let (size, columns) = match (category, of.table.as_str()) {
                (Some(_), _) => ("surprise_nats", &TOUCHES[..]),
                (None, "alerts") => ("severity_id", &ALERTS[..]),
                (None, _) => ("probe_evidence", &EVENTS[..]),
            };
            let size = number(batch, size, row).unwrap_or(0.0);
            self.few.push(size, row_of(batch, row, columns));
        } else if category == Some("own") && of.since_ms <= at.time_ms {
            self.n_own += 1;
        }
        // The alarm starts the evidence anew: what else the record touched is no part of it.
        let alarmed = ["alarm", "probe_alarm", "run_alarm"].iter().any(|alarm| {
            !matches!(
                value(batch, alarm, row),
                serde_json::Value::Null | serde_json::Value::Bool(false)
            )
        });
        self.is_done |= is_trigger && alarmed;
    }
}

/// The rows of many alerts, found by caller, or by line where the alert has none.
#[derive(Debug)]
pub(super) struct Collector {
    all: Vec<Contributions>,
    by_identity: HashMap<String, Vec<usize>>,
    by_offset: HashMap<i64, Vec<usize>>,
}

impl Collector {
    /// Rows for each of the alerts.
    pub(super) fn new(all: Vec<Contributions>) -> Self {
        let mut by_identity = HashMap::<String, Vec<usize>>::new();
        let mut by_offset = HashMap::<i64, Vec<usize>>::new();
        for (at, one) in all.iter().enumerate() {
            match &one.of.identity {
                Some(identity) => by_identity.entry(identity.clone()).or_default().push(at),
                None => by_offset.entry(one.of.offset).or_default().push(at),
            }
        }
        Self {
            all,
            by_identity,
            by_offset,
        }
    }

    /// Takes the rows of a batch that belong to an alert.
    pub(super) fn note(&mut self, table: &str, batch: &RecordBatch) {
        if let (Ok(events), "events") = (EventView::new(batch), table) {
            for row in 0..batch.num_rows() {
                let event = events.row(row);
                let at = Place {
                    identity: event.identity,
                    endpoint: event.endpoint,
                    time_ms: event.event_time,
                    source: event.source_topic,
                    offset: event.source_offset,
                };
                self.note_row(table, &at, batch, row, None);
            }
        }
        if let (Ok(alerts), "alerts") = (AlertView::new(batch), table) {
            for row in 0..batch.num_rows() {
                let alert = alerts.row(row);
                let at = Place {
                    identity: alert.identity.unwrap_or_default(),
                    endpoint: alert.endpoint,
                    time_ms: alert.event_time,
                    source: alert.source_topic,
                    offset: alert.source_offset,
                };
                self.note_row(table, &at, batch, row, None);
            }
        }
        if let (Ok(touches), Ok(models)) = (TouchView::new(batch), TouchModelView::new(batch)) {
            for row in 0..batch.num_rows() {
                let touch = touches.row(row);
                let at = Place {
                    identity: touch.identity,
                    endpoint: touch.endpoint,
                    time_ms: touch.event_time,
                    source: touch.source_topic,
                    offset: touch.source_offset,
                };
                self.note_row(table, &at, batch, row, Some(models.row(row).category));
            }
        }
    }

    fn note_row(
        &mut self,
        table: &str,
        at: &Place<'_>,
        batch: &RecordBatch,
        row: usize,
        category: Option<&str>,
    ) {
        let of_identity = self.by_identity.get(at.identity);
        let of_offset = self.by_offset.get(&at.offset);
        for one in of_identity.into_iter().chain(of_offset).flatten() {
            let one = &mut self.all[*one];
            if !one.is_done && one.of.table == table {
                one.note(at, batch, row, category);
            }
        }
    }

    /// The rows of each alert, in their order.
    pub(super) fn take(&mut self) -> Vec<Contributions> {
        std::mem::take(&mut self.all)
    }
}
