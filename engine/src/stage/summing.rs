//! What `profile` tells of endpoints: summaries of their calls, for `govern`.
//!
//! An endpoint's first call in the lane goes out at once. The calls after it are summed up, and go out every
//! [`TELL_EVERY_MS`] of event time; how calls were cut into records makes no difference. What is summed up and not told yet is
//! state: when a stream ends, it waits for the next call on anything.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use models::inventory::{Call, CallObject, Summary};
use models::posture::{CallView, Sample, Shown, facts};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::log::partition_of;
use crate::schema::{self, SummaryRow, SummaryRowsBuilder};
use crate::state::LaneWalk;

/// Event time between two summaries of one endpoint, ms. The inventory is told once a minute; six summaries make one record.
const TELL_EVERY_MS: i64 = 10_000;
/// Endpoints with calls that are not told yet; the next one has all of them told. 2 KiB each, seldom more.
const PENDING_MAX: usize = 2048;
/// Kind of the rows that hold a [`Summary`].
pub const ENDPOINT: &str = "endpoint";
/// Kind of the rows that hold a [`Shown`].
pub const POSTURE: &str = "posture";

/// What is not told yet of one endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pending {
    endpoint: Box<str>,
    summary: Summary,
    shown: Shown,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// By the endpoint's hash.
    pending: BTreeMap<u64, Pending>,
    /// Highest event time of a call, ms.
    clock_ms: i64,
    /// When all were told last.
    told_ms: i64,
}

/// The summaries of one lane.
pub struct Summing {
    state: State,
    /// Offset of the record being read, and rows made of it.
    at: (i64, i32),
    targets: Vec<SummaryRowsBuilder>,
}

impl Summing {
    /// Writes to so many partitions of the endpoints log.
    pub fn new(partitions: usize) -> Summing {
        let targets = (0..partitions.max(1)).map(|_| SummaryRowsBuilder::default());
        Summing {
            state: State {
                clock_ms: i64::MIN,
                told_ms: i64::MIN,
                ..State::default()
            },
            at: (0, 0),
            targets: targets.collect(),
        }
    }

    /// What follows is of the record at this offset.
    pub fn begin(&mut self, offset: i64) {
        self.at = (offset, 0);
    }

    /// Takes one call.
    ///
    /// * `view`, `identity`: the call as the checks see it, and who made it.
    /// * `is_first`: the lane knew of no call of the endpoint.
    pub fn add<'a>(
        &mut self,
        endpoint: &str,
        call: &Call<'_>,
        (view, identity): (&CallView<'_>, &str),
        objects: impl Iterator<Item = CallObject<'a>>,
        is_first: bool,
    ) {
        let state = &mut self.state;
        state.clock_ms = call.at_ms.max(state.clock_ms);
        if TELL_EVERY_MS <= state.clock_ms.saturating_sub(state.told_ms) {
            self.tell_all();
        }
        let key = xxh3_64(endpoint.as_bytes());
        let is_alone = is_first && !self.state.pending.contains_key(&key);
        if PENDING_MAX <= self.state.pending.len() && !self.state.pending.contains_key(&key) {
            self.tell_all();
        }
        let place = self.state.pending.entry(key);
        let pending = place.or_insert_with(|| Pending {
            endpoint: endpoint.into(),
            ..Pending::default()
        });
        pending.summary.add(call, objects);
        let shown = || {
            let status = view.status.unwrap_or(0);
            let text = format!("{} {} {status}", view.method, view.path);
            Sample::new(call.at_ms, call.place, &text, identity)
        };
        pending
            .shown
            .add(facts(view), call.identity, call.at_ms, shown);
        if is_alone && let Some(pending) = self.state.pending.remove(&key) {
            self.push(&pending);
        }
    }

    /// Rows that wait for the log.
    pub fn n_pending(&self) -> usize {
        self.targets.iter().map(SummaryRowsBuilder::len).sum()
    }

    /// Partitions of the endpoints log.
    pub fn partitions(&self) -> usize {
        self.targets.len()
    }

    /// The rows that wait, by partition.
    pub fn flush(&mut self) -> Vec<(usize, RecordBatch)> {
        super::finish(&mut self.targets, SummaryRowsBuilder::len, |target| {
            RecordBatch::try_new(schema::summaries(), target.finish())
        })
    }

    /// Ends a bounded input: tells everything.
    pub fn close(&mut self) {
        // Behind every row of the last record.
        self.at = (self.at.0.saturating_add(1), 0);
        self.tell_all();
    }

    /// Forgets what is not told yet.
    pub fn forget(&mut self) {
        self.state.pending.clear();
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl LaneWalk) {
        walk.copied("profile.summing", &mut self.state);
    }

    fn tell_all(&mut self) {
        self.state.told_ms = self.state.clock_ms;
        for pending in std::mem::take(&mut self.state.pending).into_values() {
            self.push(&pending);
        }
    }

    fn push(&mut self, pending: &Pending) {
        let Pending {
            endpoint,
            summary,
            shown,
        } = pending;
        let host = endpoint.split(' ').nth(1).unwrap_or("-");
        let at = partition_of(xxh3_64(host.as_bytes()), self.targets.len());
        // Postcard has a form for every value of numbers, texts and lists.
        let mut rows = vec![(ENDPOINT, postcard::to_stdvec(summary).unwrap_or_default())];
        if !shown.is_empty() {
            rows.push((POSTURE, postcard::to_stdvec(shown).unwrap_or_default()));
        }
        for (kind, encoded) in rows {
            let (in_offset, in_row) = self.at;
            self.at.1 += 1;
            self.targets[at].push(&SummaryRow {
                in_offset,
                in_row,
                event_time: self.state.clock_ms,
                kind,
                endpoint,
                n_calls: i64::try_from(summary.n_calls).unwrap_or(i64::MAX),
                summary: &encoded,
            });
        }
    }
}
