//! Sliding thresholds: how many rows, or different values, a group had in the time before each of its rows.
//!
//! The window of a group ends with its latest row and reaches back by the size: rows of event time in `(latest - size, latest]`. It
//! moves only with the group's rows, and between two of them counts only fall; so a condition on counts that grow can turn true at
//! a row alone, and is asked there. A count keeps the times of its rows, a count of different values the last time each was seen.
//! A row out of order is counted when it is within the window; one that is not, or that event time less the lateness has left
//! behind by more than the size, is late. **Invariant:** everything here is decided row by row, so where the log was cut into
//! batches changes nothing. Must not know: expressions, SQL, how a finding looks.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::scalar::ScalarValue;
use hashbrown::{HashMap, HashTable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::aggregate::{Aggregate, Kind, Scalar};
use super::distinct::DISTINCT_MAX;
use super::finding::Evidence;
use super::having::Having;
use super::plan::SlidingSpec;
use super::window::{
    Crossing, DISTINCT_MIN, GROUPS_MAX, GROWTH, GroupBytes, Mode, Reach, Row, THRESHOLD_REACH,
    WindowCounters,
};
use crate::state::{LaneWalk, Slab};

#[cfg(test)]
mod laws;

/// Bytes of one time of a count, and of one value of a set, with what finds it.
const TIME_BYTES: usize = 16;
const VALUE_BYTES: usize = 72;

/// The windows of one rule.
pub(super) struct Sliding {
    spec: SlidingSpec,
    lateness_ms: i64,
    /// After this long a group that is still across is told as if anew.
    case_ms: i64,
    mode: Mode,
    aggregates: Arc<[Aggregate]>,
    /// Times, or values, that each aggregate keeps of a group at most.
    kept_max: Vec<usize>,
    evidence_max: usize,
    groups_max: usize,
    /// Bytes of all groups; beyond it the one whose latest row is the oldest is dropped, as beyond `groups_max`.
    bytes_max: usize,
    /// Greatest event time, less the lateness.
    closed_ms: i64,
    /// Rows folded so far.
    n_rows: u64,
    index: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    groups: Slab<Group>,
    free: Vec<u32>,
    /// Groups by the latest row they had when they were listed, which is no later than theirs.
    by_last: BTreeMap<(i64, u64), u32>,
    bytes: usize,
    pub(super) counters: WindowCounters,
    /// None while nobody asks: lanes do not.
    pub(super) reach: Option<Reach>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Group {
    key: Box<[u8]>,
    /// Number of the row that began it, which no other has.
    number: u64,
    last_ms: i64,
    listed_ms: i64,
    /// One for each aggregate.
    kept: Box<[Kept]>,
    fired: bool,
    /// Value of the first term when it was last told, and event time when it was told anew.
    told: f64,
    told_anew_ms: i64,
    /// Samples, and their event times.
    samples: Vec<(i64, Evidence)>,
}

/// What one aggregate keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kept {
    Times(Times),
    Values(LastSeen),
}

/// The times of rows, and how many had each: in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Times {
    times: VecDeque<(i64, u32)>,
    n: u64,
}

impl Times {
    /// Adds a row. Comes out: how many rows were given up for it.
    fn fold(&mut self, at_ms: i64, kept_max: usize) -> u64 {
        self.n += 1;
        let place = self.times.partition_point(|(ms, _)| *ms < at_ms);
        match self.times.get_mut(place) {
            Some((ms, n)) if *ms == at_ms && *n < u32::MAX => *n += 1,
            _ => self.times.insert(place, (at_ms, 1)),
        }
        match self.times.len() <= kept_max {
            true => 0,
            // The oldest: it is the first to leave the window.
            false => self.drop_first(),
        }
    }

    fn drop_first(&mut self) -> u64 {
        let n = self.times.pop_front().map_or(0, |(_, n)| u64::from(n));
        self.n -= n;
        n
    }

    /// Gives up the rows up to `gone_ms`.
    fn leave(&mut self, gone_ms: i64) {
        while self.times.front().is_some_and(|(ms, _)| *ms <= gone_ms) {
            self.drop_first();
        }
    }
}

/// When each value was last seen.
#[derive(Clone, Debug, Default)]
struct LastSeen {
    values: HashMap<u64, i64, foldhash::fast::FixedState>,
    by_time: BTreeSet<(i64, u64)>,
}

impl Serialize for LastSeen {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.by_time.serialize(to)
    }
}

impl<'de> Deserialize<'de> for LastSeen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let by_time = BTreeSet::<(i64, u64)>::deserialize(from)?;
        let values = by_time.iter().map(|(ms, value)| (*value, *ms)).collect();
        Ok(Self { values, by_time })
    }
}

impl LastSeen {
    /// Notes a value. Says false when the set is full and the value was left out.
    fn fold(&mut self, value: u64, at_ms: i64, kept_max: usize) -> bool {
        let is_full = kept_max <= self.values.len();
        match self.values.get_mut(&value) {
            Some(last_ms) => {
                if *last_ms < at_ms {
                    self.by_time.remove(&(*last_ms, value));
                    self.by_time.insert((at_ms, value));
                    *last_ms = at_ms;
                }
            }
            None if is_full => return false,
            None => {
                self.values.insert(value, at_ms);
                self.by_time.insert((at_ms, value));
            }
        }
        true
    }

    /// Gives up the values last seen up to `gone_ms`.
    fn leave(&mut self, gone_ms: i64) {
        while let Some((_, value)) = self.by_time.first().filter(|(ms, _)| *ms <= gone_ms) {
            self.values.remove(value);
            self.by_time.pop_first();
        }
    }
}

impl Kept {
    fn of(kind: Kind) -> Kept {
        match kind {
            Kind::Distinct => Kept::Values(LastSeen::default()),
            _ => Kept::Times(Times::default()),
        }
    }

    fn n(&self) -> i64 {
        let n = match self {
            Kept::Times(times) => times.n,
            Kept::Values(seen) => seen.values.len() as u64,
        };
        i64::try_from(n).unwrap_or(i64::MAX)
    }

    fn leave(&mut self, gone_ms: i64) {
        match self {
            Kept::Times(times) => times.leave(gone_ms),
            Kept::Values(seen) => seen.leave(gone_ms),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Kept::Times(times) => times.times.len() * TIME_BYTES,
            Kept::Values(seen) => seen.values.len() * VALUE_BYTES,
        }
    }
}

impl Group {
    fn bytes(&self) -> usize {
        let kept: usize = self.kept.iter().map(Kept::bytes).sum();
        let samples = self.samples.len() * Evidence::BYTES;
        group_bytes(self.kept.len()) + self.key.len() + kept + samples
    }

    fn number(&self, at: usize) -> Option<Scalar> {
        Some(Scalar::Int(i128::from(self.kept[at].n())))
    }

    fn holds(&self, having: &Having) -> bool {
        having.holds(&|at| self.number(at))
    }

    /// The value of the first term, as people read the title.
    fn value(&self, having: &Having) -> Option<f64> {
        let term = having.first()?;
        self.number(term.aggregate)?.as_f64()
    }
}

fn group_bytes(n_kept: usize) -> usize {
    size_of::<Group>() + 16 + n_kept * size_of::<Kept>()
}

impl Sliding {
    /// * `mode`: a first crossing; a window that moves with each row never closes.
    pub(super) fn new(
        spec: SlidingSpec,
        lateness_ms: i64,
        case_ms: i64,
        mode: Mode,
        aggregates: Arc<[Aggregate]>,
        evidence_max: usize,
    ) -> Sliding {
        let kept_max = |at| {
            let bound = match &mode {
                Mode::FirstCrossing(having) => having.bound_max(at),
                Mode::Close => None,
            };
            let enough = bound.map(|bound| bound * THRESHOLD_REACH);
            let enough = enough.map(|n| n.clamp(DISTINCT_MIN, DISTINCT_MAX as f64) as usize);
            enough.unwrap_or(DISTINCT_MAX)
        };
        Sliding {
            spec,
            lateness_ms,
            case_ms,
            kept_max: (0..aggregates.len()).map(kept_max).collect(),
            mode,
            aggregates,
            evidence_max,
            groups_max: GROUPS_MAX,
            bytes_max: usize::MAX,
            closed_ms: i64::MIN,
            n_rows: 0,
            index: HashTable::new(),
            hasher: foldhash::fast::FixedState::default(),
            groups: Slab::default(),
            free: Vec::new(),
            by_last: BTreeMap::new(),
            bytes: 0,
            counters: WindowCounters::default(),
            reach: None,
        }
    }

    /// The windows asked for.
    pub(super) fn spec(&self) -> SlidingSpec {
        self.spec
    }

    /// Keeps [`Sliding::reach`] from now on.
    pub(super) fn measure(&mut self) {
        self.reach = self.mode.reach();
    }

    /// Bytes that what a group holds takes: as a pane, a time of a count.
    pub(super) fn group_bytes(&self) -> GroupBytes {
        GroupBytes {
            group: group_bytes(self.aggregates.len()),
            pane: TIME_BYTES,
            value: VALUE_BYTES,
            sample: Evidence::BYTES,
        }
    }

    /// Times or values a group keeps at most, for each aggregate.
    pub(super) fn values_max(&self) -> &[usize] {
        &self.kept_max
    }

    /// Always.
    pub(super) fn speaks_early(&self) -> bool {
        true
    }

    /// Groups kept.
    pub(super) fn n_groups(&self) -> usize {
        self.groups.len() - self.free.len()
    }

    /// Bytes kept, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The size before its latest row, and that row, half-open.
    pub(super) fn bounds_ms(&self, slot: u32) -> (i64, i64) {
        let end_ms = self.groups[slot as usize].last_ms.saturating_add(1);
        (end_ms.saturating_sub(self.spec.size_ms), end_ms)
    }

    /// Encoded key of the group.
    pub(super) fn key(&self, slot: u32) -> &[u8] {
        &self.groups[slot as usize].key
    }

    #[cfg(test)]
    pub(super) fn limit_groups(&mut self, groups_max: usize) {
        self.groups_max = groups_max;
    }

    /// Holds no more than so many bytes.
    pub(super) fn limit_bytes(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Goes over the state; between batches.
    pub(super) fn walk(&mut self, walk: &mut impl LaneWalk) {
        let mut ends = (self.closed_ms, self.n_rows, self.bytes);
        walk.value("sliding.ends", &mut ends);
        (self.closed_ms, self.n_rows, self.bytes) = ends;
        walk.copied("sliding.free", &mut self.free);
        if walk.slab("sliding.groups", &mut self.groups) {
            (self.index, self.by_last) = (HashTable::new(), BTreeMap::new());
            let free: HashSet<u32> = self.free.iter().copied().collect();
            for slot in (0..self.groups.len() as u32).filter(|slot| !free.contains(slot)) {
                self.list(slot);
            }
        }
    }

    /// See [`super::frames::Frames::adopt`].
    pub(super) fn adopt(&mut self, old: Sliding) {
        let own = std::mem::replace(self, old);
        (self.case_ms, self.mode, self.aggregates) = (own.case_ms, own.mode, own.aggregates);
        (self.kept_max, self.evidence_max) = (own.kept_max, own.evidence_max);
        (self.groups_max, self.bytes_max) = (own.groups_max, own.bytes_max);
        self.reach = own.reach;
    }

    /// Enters a group where it can be found.
    fn list(&mut self, slot: u32) {
        let group = &mut self.groups[slot as usize];
        group.listed_ms = group.last_ms;
        self.by_last.insert((group.last_ms, group.number), slot);
        let (groups, hasher) = (&self.groups, &self.hasher);
        let hash = |slot: &u32| hasher.hash_one(&*groups[*slot as usize].key);
        self.index.insert_unique(hash(&slot), slot, hash);
    }

    fn remove(&mut self, slot: u32) {
        let group = std::mem::take(&mut self.groups[slot as usize]);
        let hash = self.hasher.hash_one(&*group.key);
        if let Ok(entry) = self.index.find_entry(hash, |s| *s == slot) {
            entry.remove();
        }
        self.by_last.remove(&(group.listed_ms, group.number));
        self.bytes -= group.bytes();
        self.free.push(slot);
    }

    /// The group whose latest row is the oldest.
    fn first(&mut self) -> Option<u32> {
        loop {
            let slot = *self.by_last.first_entry()?.get();
            let group = &mut self.groups[slot as usize];
            if group.listed_ms == group.last_ms {
                return Some(slot);
            }
            self.by_last.remove(&(group.listed_ms, group.number));
            group.listed_ms = group.last_ms;
            self.by_last.insert((group.last_ms, group.number), slot);
        }
    }

    /// Forgets the groups that no row to come can have in its window.
    pub(super) fn reach_ms(&mut self, clock_ms: i64) {
        self.closed_ms = self
            .closed_ms
            .max(clock_ms.saturating_sub(self.lateness_ms));
        let span_ms = self.spec.size_ms.saturating_mul(2);
        while let Some(slot) = self.first() {
            // A row that is not late comes after `closed - size`, and its window begins the size before it.
            if self.closed_ms < self.groups[slot as usize].last_ms.saturating_add(span_ms) {
                return;
            }
            self.remove(slot);
        }
    }

    /// Folds one row; says whether its group crossed.
    pub(super) fn fold(
        &mut self,
        row: &Row<'_>,
        sample: &impl Fn(usize) -> Evidence,
    ) -> Option<Crossing> {
        self.reach_ms(row.clock_ms);
        self.n_rows += 1;
        while self.bytes_max < self.bytes {
            let Some(slot) = self.first() else { break };
            self.remove(slot);
            self.counters.evicted += 1;
        }
        let slot = self.group(row)?;
        self.bytes -= self.groups[slot as usize].bytes();
        let crossing = self.fold_into(slot, row, sample);
        let group = &self.groups[slot as usize];
        self.bytes += group.bytes();
        if let (Some(reach), Mode::FirstCrossing(having)) = (&mut self.reach, &self.mode) {
            reach.greatest = reach.greatest.max(group.value(having).unwrap_or(0.0));
        }
        crossing
    }

    /// The group of a row, begun if need be; none when the row is late.
    fn group(&mut self, row: &Row<'_>) -> Option<u32> {
        let ends_ms = row.time_ms.saturating_add(self.spec.size_ms);
        let hash = self.hasher.hash_one(row.key);
        let known = self
            .index
            .find(hash, |s| *self.groups[*s as usize].key == *row.key);
        let known = known.copied();
        let last_ms = known.map_or(i64::MIN, |slot| self.groups[slot as usize].last_ms);
        if ends_ms <= self.closed_ms || ends_ms <= last_ms {
            self.counters.late += 1;
            return None;
        }
        if known.is_some() {
            return known;
        }
        if self.groups_max <= self.n_groups()
            && let Some(slot) = self.first()
        {
            self.remove(slot);
            self.counters.evicted += 1;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.groups.push(Group::default());
            (self.groups.len() - 1) as u32
        });
        self.groups[slot as usize] = Group {
            key: row.key.into(),
            number: self.n_rows,
            last_ms: row.time_ms,
            kept: self.aggregates.iter().map(|a| Kept::of(a.kind)).collect(),
            ..Group::default()
        };
        self.bytes += self.groups[slot as usize].bytes();
        self.list(slot);
        Some(slot)
    }

    fn fold_into(
        &mut self,
        slot: u32,
        row: &Row<'_>,
        sample: &impl Fn(usize) -> Evidence,
    ) -> Option<Crossing> {
        let Mode::FirstCrossing(having) = &self.mode else {
            return None;
        };
        let group = &mut self.groups[slot as usize];
        if group.last_ms < row.time_ms {
            group.last_ms = row.time_ms;
            let gone_ms = row.time_ms.saturating_sub(self.spec.size_ms);
            group.kept.iter_mut().for_each(|kept| kept.leave(gone_ms));
            group.samples.retain(|(ms, _)| gone_ms < *ms);
            group.fired = group.fired && group.holds(having);
        }
        for (at, (aggregate, input)) in self.aggregates.iter().zip(row.inputs).enumerate() {
            let kept_max = self.kept_max[at];
            match &mut group.kept[at] {
                Kept::Times(times) if input.get(row.at).is_some() => {
                    self.counters.capped += times.fold(row.time_ms, kept_max);
                }
                Kept::Values(seen) if aggregate.kind == Kind::Distinct => {
                    if let Some(Scalar::Int(value)) = input.get(row.at) {
                        let is_kept = seen.fold(value as u64, row.time_ms, kept_max);
                        self.counters.capped += u64::from(!is_kept);
                    }
                }
                _ => (),
            }
        }
        let value = group.value(having).unwrap_or(0.0);
        let window = i64::from(slot);
        let told = |grown| {
            Some(Crossing {
                slot,
                window,
                grown,
            })
        };
        if group.fired {
            let grown = 0.0 < group.told && GROWTH * group.told <= value;
            let anew = self.case_ms <= row.time_ms.saturating_sub(group.told_anew_ms);
            if !grown && !anew {
                return None;
            }
            if anew {
                group.told_anew_ms = row.time_ms;
            }
            group.told = value;
            return told(grown);
        }
        if group.holds(having) {
            group.fired = true;
            (group.told, group.told_anew_ms) = (value, row.time_ms);
            return told(false);
        }
        if group.samples.len() + 1 < self.evidence_max {
            // Samples are spread over the way to the threshold, as those of other windows are.
            let due = (group.samples.len() + 1) as f64 / self.evidence_max as f64;
            let progress = having.first().map_or(0.0, |term| {
                let value = group.number(term.aggregate);
                value.map_or(0.0, |v| term.progress(&v))
            });
            if due <= progress {
                group.samples.push((row.time_ms, sample(row.row)));
            }
        }
        None
    }

    /// The values of the aggregates of a group.
    pub(super) fn outputs(&self, slot: u32) -> Result<Vec<ScalarValue>, DataFusionError> {
        let kept = self.groups[slot as usize].kept.iter();
        Ok(kept.map(|of| ScalarValue::Int64(Some(of.n()))).collect())
    }

    /// Samples of a group that crossed, before the row that made it cross; they are not shown twice.
    pub(super) fn take_samples(&mut self, slot: u32) -> Vec<Evidence> {
        let group = &mut self.groups[slot as usize];
        self.bytes -= group.bytes();
        let samples = std::mem::take(&mut group.samples);
        self.bytes += group.bytes();
        samples.into_iter().map(|(_, sample)| sample).collect()
    }
}
