//! Sessions: windows that last as long as a group's rows come.
//!
//! Rows of a group between which less than the gap lies are of one session. Its window begins with its first row and ends the gap
//! after its last, half-open; rows out of order lengthen it at either end and join two into one. A session lasts at most
//! `longest_ms` from its first row to its last: the row that would make it longer begins another, and no row joins two to more than
//! that. It closes once the clock, less the lateness, has reached its end; a row that is in no open session, and could only begin
//! one that is closed, is late. **Invariant:** everything here is decided row by row, so where the log was cut into batches changes
//! nothing. Must not know: expressions, SQL, how a finding looks.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::scalar::ScalarValue;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::aggregate::{Aggregate, Cell, Kind, Scalar};
use super::distinct::DistinctSet;
use super::finding::Evidence;
use super::having::Having;
use super::plan::SessionSpec;
use super::window::{
    Crossing, GROUPS_MAX, GROWTH, GroupBytes, Last, Mode, Reach, Row, WindowCounters, values_max,
};
use crate::state::{LaneWalk, Slab};

#[cfg(test)]
mod laws;

/// The sessions of one rule.
pub(super) struct Sessions {
    spec: SessionSpec,
    lateness_ms: i64,
    /// After this long a session that is still across is told as if anew.
    case_ms: i64,
    mode: Mode,
    aggregates: Arc<[Aggregate]>,
    n_cells: usize,
    n_sets: usize,
    values_max: Vec<usize>,
    evidence_max: usize,
    sessions_max: usize,
    /// Bytes of all sessions; beyond it the one that ends first is dropped, as beyond `sessions_max`.
    bytes_max: usize,
    /// What ends by then is closed.
    closed_ms: i64,
    /// Rows folded so far.
    n_rows: u64,
    /// Sessions by the hash of their group's key; a group may have several.
    index: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    sessions: Slab<Session>,
    free: Vec<u32>,
    /// Sessions by the end they had when they were listed, which is no later than theirs.
    by_end: BTreeMap<(i64, u64), u32>,
    /// Sessions whose last sample is still a row of the batch at hand.
    unsettled: Vec<(u32, u64)>,
    bytes: usize,
    pub(super) counters: WindowCounters,
    /// None while nobody asks: lanes do not.
    pub(super) reach: Option<Reach>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Session {
    key: Box<[u8]>,
    /// Number of the row that began it, which no other has.
    number: u64,
    first_ms: i64,
    last_ms: i64,
    listed_ms: i64,
    cells: Box<[Cell]>,
    sets: Box<[DistinctSet]>,
    /// Bytes its cells hold of their own.
    held: usize,
    fired: bool,
    /// Value of the first term when it was last told, and event time when it was told anew.
    told: f64,
    told_anew_ms: i64,
    /// Samples, and the numbers of their rows.
    samples: Vec<(u64, Evidence)>,
    last: Last,
    last_number: u64,
}

impl Session {
    fn bytes(&self) -> usize {
        let bytes = session_bytes(self.cells.len(), self.sets.len());
        // One that is still to be read counts too: what is forgotten must not depend on where a batch ends.
        let samples = self.samples.len() + usize::from(!matches!(self.last, Last::Sampled));
        let values: usize = self.sets.iter().map(DistinctSet::len).sum();
        bytes.group + self.key.len() + self.held + values * bytes.value + samples * bytes.sample
    }

    /// The value of an aggregate, to compare with a threshold.
    fn number(&self, aggregates: &[Aggregate], at: usize) -> Option<Scalar> {
        let aggregate = &aggregates[at];
        match aggregate.kind {
            Kind::Distinct => Some(Scalar::Int(i128::from(self.sets[aggregate.slot].running()))),
            _ => aggregate.number(&self.cells[aggregate.slot]),
        }
    }

    /// The value of the first term, as people read the title.
    fn value(&self, having: &Having, aggregates: &[Aggregate]) -> Option<f64> {
        let term = having.first().filter(|term| !term.falls)?;
        self.number(aggregates, term.aggregate)?.as_f64()
    }
}

fn session_bytes(n_cells: usize, n_sets: usize) -> GroupBytes {
    let cells = n_cells * size_of::<Cell>() + n_sets * size_of::<DistinctSet>();
    GroupBytes {
        group: size_of::<Session>() + 16 + cells,
        pane: 0,
        value: 32,
        sample: Evidence::BYTES,
    }
}

impl Sessions {
    pub(super) fn new(
        spec: SessionSpec,
        lateness_ms: i64,
        case_ms: i64,
        mode: Mode,
        aggregates: Arc<[Aggregate]>,
        evidence_max: usize,
    ) -> Sessions {
        let sets = aggregates.iter().filter(|a| a.kind == Kind::Distinct);
        let n_sets = sets.count();
        Sessions {
            spec,
            lateness_ms,
            case_ms,
            n_cells: aggregates.len() - n_sets,
            n_sets,
            values_max: values_max(&mode, &aggregates, 1),
            mode,
            aggregates,
            evidence_max,
            sessions_max: GROUPS_MAX,
            bytes_max: usize::MAX,
            closed_ms: i64::MIN,
            n_rows: 0,
            index: HashTable::new(),
            hasher: foldhash::fast::FixedState::default(),
            sessions: Slab::default(),
            free: Vec::new(),
            by_end: BTreeMap::new(),
            unsettled: Vec::new(),
            bytes: 0,
            counters: WindowCounters::default(),
            reach: None,
        }
    }

    /// The sessions asked for.
    pub(super) fn spec(&self) -> SessionSpec {
        self.spec
    }

    /// Keeps [`Sessions::reach`] from now on, where a threshold may be crossed early and is grown towards.
    pub(super) fn measure(&mut self) {
        self.reach = self.mode.reach();
    }

    /// Bytes that what a session holds takes.
    pub(super) fn group_bytes(&self) -> GroupBytes {
        session_bytes(self.n_cells, self.n_sets)
    }

    /// Values a session keeps at most, for each `count(DISTINCT …)`.
    pub(super) fn values_max(&self) -> &[usize] {
        &self.values_max
    }

    /// Whether a session is told as soon as it crosses, not when it closes.
    pub(super) fn speaks_early(&self) -> bool {
        self.mode != Mode::Close
    }

    /// Sessions kept.
    pub(super) fn n_groups(&self) -> usize {
        self.sessions.len() - self.free.len()
    }

    /// Bytes kept, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// First row, and the gap after the last.
    pub(super) fn bounds_ms(&self, slot: u32) -> (i64, i64) {
        let session = &self.sessions[slot as usize];
        (session.first_ms, self.end_ms(session))
    }

    /// Clock at which a session closes.
    pub(super) fn closes_ms(&self, slot: u32) -> i64 {
        self.bounds_ms(slot).1.saturating_add(self.lateness_ms)
    }

    /// Encoded key of the group.
    pub(super) fn key(&self, slot: u32) -> &[u8] {
        &self.sessions[slot as usize].key
    }

    #[cfg(test)]
    pub(super) fn limit_groups(&mut self, sessions_max: usize) {
        self.sessions_max = sessions_max;
    }

    /// Holds no more than so many bytes.
    pub(super) fn limit_bytes(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    fn end_ms(&self, session: &Session) -> i64 {
        session.last_ms.saturating_add(self.spec.gap_ms)
    }

    /// Goes over the state; between batches, so no sample waits to be read from one.
    pub(super) fn walk(&mut self, walk: &mut impl LaneWalk) {
        let mut ends = (self.closed_ms, self.n_rows, self.bytes);
        walk.value("sessions.ends", &mut ends);
        (self.closed_ms, self.n_rows, self.bytes) = ends;
        walk.copied("sessions.free", &mut self.free);
        if walk.slab("sessions.sessions", &mut self.sessions) {
            self.index_again();
        }
    }

    /// See [`super::frames::Frames::adopt`].
    pub(super) fn adopt(&mut self, old: Sessions) {
        let own = std::mem::replace(self, old);
        (self.case_ms, self.mode, self.aggregates) = (own.case_ms, own.mode, own.aggregates);
        (self.values_max, self.evidence_max) = (own.values_max, own.evidence_max);
        (self.sessions_max, self.bytes_max) = (own.sessions_max, own.bytes_max);
        self.reach = own.reach;
    }

    fn index_again(&mut self) {
        (self.index, self.by_end) = (HashTable::new(), BTreeMap::new());
        let free: HashSet<u32> = self.free.iter().copied().collect();
        for slot in (0..self.sessions.len() as u32).filter(|slot| !free.contains(slot)) {
            self.list(slot);
        }
    }

    /// Enters a session where it can be found.
    fn list(&mut self, slot: u32) {
        let end_ms = self.end_ms(&self.sessions[slot as usize]);
        let session = &mut self.sessions[slot as usize];
        session.listed_ms = end_ms;
        self.by_end.insert((end_ms, session.number), slot);
        let (sessions, hasher) = (&self.sessions, &self.hasher);
        let hash = |slot: &u32| hasher.hash_one(&*sessions[*slot as usize].key);
        self.index.insert_unique(hash(&slot), slot, hash);
    }

    fn remove(&mut self, slot: u32) {
        let session = std::mem::take(&mut self.sessions[slot as usize]);
        let hash = self.hasher.hash_one(&*session.key);
        if let Ok(entry) = self.index.find_entry(hash, |s| *s == slot) {
            entry.remove();
        }
        self.by_end.remove(&(session.listed_ms, session.number));
        self.bytes -= session.bytes();
        self.free.push(slot);
    }

    /// The session that ends first.
    fn first(&mut self) -> Option<u32> {
        loop {
            let entry = self.by_end.first_entry()?;
            let slot = *entry.get();
            let end_ms = self.end_ms(&self.sessions[slot as usize]);
            let session = &mut self.sessions[slot as usize];
            if session.listed_ms == end_ms {
                return Some(slot);
            }
            self.by_end.remove(&(session.listed_ms, session.number));
            session.listed_ms = end_ms;
            self.by_end.insert((end_ms, session.number), slot);
        }
    }

    /// The next session that closes at that clock. Call [`Sessions::closed`] before asking again.
    pub(super) fn close_next(&mut self, clock_ms: i64) -> Option<u32> {
        let reached_ms = clock_ms.saturating_sub(self.lateness_ms);
        self.closed_ms = self.closed_ms.max(reached_ms);
        while let Some(slot) = self.first() {
            if self.closed_ms < self.bounds_ms(slot).1 {
                return None;
            }
            if self.mode == Mode::Close {
                return Some(slot);
            }
            self.remove(slot);
        }
        None
    }

    /// Drops a session that closed.
    pub(super) fn closed(&mut self, slot: u32) {
        self.remove(slot);
    }

    /// Folds one row; says which session crossed.
    pub(super) fn fold(
        &mut self,
        row: &Row<'_>,
        sample: &impl Fn(usize) -> Evidence,
    ) -> Option<Crossing> {
        if self.mode != Mode::Close {
            // Sessions that close are closed one by one through `close_next`.
            self.close_next(row.clock_ms);
        }
        self.n_rows += 1;
        while self.bytes_max < self.bytes {
            let Some(slot) = self.first() else { break };
            self.remove(slot);
            self.counters.evicted += 1;
        }
        let slot = self.session(row, sample)?;
        self.bytes -= self.sessions[slot as usize].bytes();
        let crossing = self.fold_into(slot, row, sample);
        let session = &self.sessions[slot as usize];
        self.bytes += session.bytes();
        if let (Some(reach), Mode::FirstCrossing(having)) = (&mut self.reach, &self.mode) {
            let value = session.value(having, &self.aggregates);
            reach.greatest = reach.greatest.max(value.unwrap_or(0.0));
        }
        crossing
    }

    /// The session of a row, begun or joined from two if need be; none when it is late.
    fn session(&mut self, row: &Row<'_>, sample: &impl Fn(usize) -> Evidence) -> Option<u32> {
        let (at_ms, longest_ms) = (row.time_ms, self.spec.longest_ms);
        let (before, after) = self.neighbours(row.key, at_ms);
        let of = |slot: u32| {
            let session = &self.sessions[slot as usize];
            (session.first_ms, session.last_ms)
        };
        if let Some(before) = before {
            let (first_ms, last_ms) = of(before);
            if at_ms <= last_ms {
                return Some(before);
            }
            if let Some(after) = after
                && of(after).1 - first_ms <= longest_ms
            {
                self.join(before, after, sample);
                return Some(before);
            }
            if at_ms - first_ms <= longest_ms {
                return Some(before);
            }
        }
        if let Some(after) = after
            && of(after).1 - at_ms <= longest_ms
        {
            return Some(after);
        }
        if at_ms.saturating_add(self.spec.gap_ms) <= self.closed_ms {
            self.counters.late += 1;
            return None;
        }
        Some(self.begin(row.key, at_ms))
    }

    /// The sessions of a group less than the gap away: the last that begins by then, the first that begins later.
    fn neighbours(&self, key: &[u8], at_ms: i64) -> (Option<u32>, Option<u32>) {
        let mut before: Option<(i64, u32)> = None;
        let mut after: Option<(i64, u32)> = None;
        for slot in self.index.iter_hash(self.hasher.hash_one(key)) {
            let session = &self.sessions[*slot as usize];
            let is_near = session.first_ms.saturating_sub(self.spec.gap_ms) < at_ms
                && at_ms < self.end_ms(session);
            if !is_near || *session.key != *key {
                continue;
            }
            let begins = (session.first_ms, *slot);
            match session.first_ms <= at_ms {
                true => before = before.max(Some(begins)),
                false => after = Some(after.map_or(begins, |after| after.min(begins))),
            }
        }
        (before.map(|(_, slot)| slot), after.map(|(_, slot)| slot))
    }

    fn begin(&mut self, key: &[u8], at_ms: i64) -> u32 {
        if self.sessions_max <= self.n_groups()
            && let Some(slot) = self.first()
        {
            self.remove(slot);
            self.counters.evicted += 1;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sessions.push(Session::default());
            (self.sessions.len() - 1) as u32
        });
        self.sessions[slot as usize] = Session {
            key: key.into(),
            number: self.n_rows,
            first_ms: at_ms,
            last_ms: at_ms,
            cells: vec![Cell::EMPTY; self.n_cells].into_boxed_slice(),
            sets: vec![DistinctSet::default(); self.n_sets].into_boxed_slice(),
            ..Session::default()
        };
        self.bytes += self.sessions[slot as usize].bytes();
        self.list(slot);
        slot
    }

    /// Joins a session to the one before it.
    fn join(&mut self, slot: u32, other: u32, sample: &impl Fn(usize) -> Evidence) {
        let theirs = self.sessions[other as usize].clone();
        self.remove(other);
        let session = &mut self.sessions[slot as usize];
        self.bytes -= session.bytes();
        session.last_ms = session.last_ms.max(theirs.last_ms);
        for aggregate in self.aggregates.iter() {
            let at = aggregate.slot;
            match aggregate.kind {
                Kind::Distinct => {
                    let n_left_out = session.sets[at].join(&theirs.sets[at], self.values_max[at]);
                    self.counters.capped += n_left_out;
                }
                kind => session.cells[at].merge(kind, &theirs.cells[at]),
            }
        }
        session.held = session.cells.iter().map(Cell::bytes).sum();
        session.fired |= theirs.fired;
        session.told = session.told.max(theirs.told);
        session.told_anew_ms = session.told_anew_ms.max(theirs.told_anew_ms);
        let mut samples = std::mem::take(&mut session.samples);
        samples.extend(theirs.samples);
        for (last, number) in [
            (&session.last, session.last_number),
            (&theirs.last, theirs.last_number),
        ] {
            match last {
                Last::Sampled => {}
                Last::Row(row) => samples.push((number, sample(*row))),
                Last::Kept(kept) => samples.push((number, (**kept).clone())),
            }
        }
        samples.sort_by_key(|(number, _)| *number);
        let rest = samples.split_off(samples.len().min(self.evidence_max - 1));
        session.samples = samples;
        session.last = Last::Sampled;
        if let Some((number, last)) = rest.into_iter().next_back()
            && self.mode == Mode::Close
        {
            (session.last, session.last_number) = (Last::Kept(Box::new(last)), number);
        }
        self.bytes += session.bytes();
    }

    fn fold_into(
        &mut self,
        slot: u32,
        row: &Row<'_>,
        sample: &impl Fn(usize) -> Evidence,
    ) -> Option<Crossing> {
        let session = &mut self.sessions[slot as usize];
        session.first_ms = session.first_ms.min(row.time_ms);
        session.last_ms = session.last_ms.max(row.time_ms);
        for (aggregate, input) in self.aggregates.iter().zip(row.inputs) {
            let at = aggregate.slot;
            if aggregate.kind != Kind::Distinct {
                let folded = session.cells[at].fold_row(aggregate.kind, input, row.at, self.n_rows);
                session.held = session.held + folded.after - folded.before;
                self.counters.capped += u64::from(folded.is_capped);
            } else if let Some(Scalar::Int(value)) = input.get(row.at) {
                let is_kept = session.sets[at].fold(value as u64, 0, 0, 0, self.values_max[at]);
                self.counters.capped += u64::from(!is_kept);
            }
        }
        let Mode::FirstCrossing(having) = &self.mode else {
            if session.samples.len() + 1 < self.evidence_max {
                session.samples.push((self.n_rows, sample(row.row)));
            } else {
                if !matches!(session.last, Last::Row(_)) {
                    self.unsettled.push((slot, session.number));
                }
                (session.last, session.last_number) = (Last::Row(row.row), self.n_rows);
            }
            return None;
        };
        let value = session.value(having, &self.aggregates).unwrap_or(0.0);
        let told = |grown| {
            let window = i64::from(slot);
            Some(Crossing {
                slot,
                window,
                grown,
            })
        };
        if session.fired {
            let grown = 0.0 < session.told && GROWTH * session.told <= value;
            let anew = self.case_ms <= row.time_ms.saturating_sub(session.told_anew_ms);
            if !grown && !anew {
                return None;
            }
            if anew {
                session.told_anew_ms = row.time_ms;
            }
            session.told = value;
            return told(grown);
        }
        if having.holds(&|at| session.number(&self.aggregates, at)) {
            session.fired = true;
            (session.told, session.told_anew_ms) = (value, row.time_ms);
            return told(false);
        }
        if session.samples.len() + 1 < self.evidence_max {
            // Samples are spread over the way to the threshold, as those of other windows are.
            let due = (session.samples.len() + 1) as f64 / self.evidence_max as f64;
            let progress = having.first().map_or(0.0, |term| {
                let value = session.number(&self.aggregates, term.aggregate);
                value.map_or(0.0, |v| term.progress(&v))
            });
            if due <= progress {
                session.samples.push((self.n_rows, sample(row.row)));
            }
        }
        None
    }

    /// The values of the aggregates of a session.
    pub(super) fn outputs(&self, slot: u32) -> Result<Vec<ScalarValue>, DataFusionError> {
        let session = &self.sessions[slot as usize];
        let output = |a: &Aggregate| match a.kind {
            Kind::Distinct => Ok(ScalarValue::Int64(Some(session.sets[a.slot].running()))),
            _ => a.output(&session.cells[a.slot]),
        };
        self.aggregates.iter().map(output).collect()
    }

    /// Samples of a session that crossed, before the row that made it cross; they are not shown twice.
    pub(super) fn take_samples(&mut self, slot: u32) -> Vec<Evidence> {
        let session = &mut self.sessions[slot as usize];
        self.bytes -= session.bytes();
        let samples = std::mem::take(&mut session.samples);
        self.bytes += session.bytes();
        samples.into_iter().map(|(_, sample)| sample).collect()
    }

    /// Samples of a session that closes: the first ones and the last.
    pub(super) fn samples(&self, slot: u32, sample: &impl Fn(usize) -> Evidence) -> Vec<Evidence> {
        let session = &self.sessions[slot as usize];
        let first = session.samples.iter().map(|(_, sample)| sample.clone());
        let last = match &session.last {
            Last::Sampled => None,
            Last::Row(row) => Some(sample(*row)),
            Last::Kept(kept) => Some((**kept).clone()),
        };
        first.chain(last).collect()
    }

    /// Keeps the last samples that are still rows of the batch at hand; to be called before it goes.
    pub(super) fn settle(&mut self, sample: &impl Fn(usize) -> Evidence) {
        for (slot, number) in std::mem::take(&mut self.unsettled) {
            let session = &mut self.sessions[slot as usize];
            if session.number != number {
                continue;
            }
            if let Last::Row(row) = session.last {
                session.last = Last::Kept(Box::new(sample(row)));
            }
        }
    }
}
