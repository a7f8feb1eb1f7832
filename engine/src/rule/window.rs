//! Windows over event time: groups, panes, watermark, lateness.
//!
//! Rows come in log order with the group they belong to; out go the windows in which a group crosses, or the windows that
//! close. A window is a run of panes as wide as the slide, named by the number of its last pane; panes are aligned to the
//! epoch. The clock is the greatest event time so far; a window is closed once the clock, less the lateness, has reached
//! its end. **Invariant:** everything here is decided row by row, so where the log was cut into batches changes nothing.
//! Must not know: expressions, SQL, how a finding looks.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::scalar::ScalarValue;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::aggregate::{Aggregate, Cell, Kind, Scalar};
use super::distinct::{DISTINCT_MAX, DistinctSet};
use super::finding::Evidence;
use super::having::Having;
use super::input::Input;
use super::plan::WindowSpec;
use crate::state::{LaneWalk, Slab};

/// Groups one rule keeps; a group of few values takes about 300 bytes. Beyond it the least recently touched group is
/// dropped with its counts, and `evicted` grows.
pub const GROUPS_MAX: usize = 1_000_000;
/// Values a window keeps for a threshold it may cross early, in thresholds: a group is told when it crosses and when it has
/// grown tenfold; more values tell nothing new.
pub(super) const THRESHOLD_REACH: f64 = 10.0;
/// Values a group may keep however small the threshold.
pub(super) const DISTINCT_MIN: f64 = 1024.0;

/// Growth of its count after which a group that is still across is told again.
pub(super) const GROWTH: f64 = super::case::GROWTH as f64;

const NONE: u32 = u32::MAX;

/// When windows speak.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// At the row with which a group crosses in an open window; then not again until its newest window is below, its count
    /// has grown tenfold, or the time of its case is over.
    FirstCrossing(Having),
    /// When they close.
    Close,
}

impl Mode {
    /// Where the measure of how near groups come begins; none where no threshold is grown towards.
    pub(super) fn reach(&self) -> Option<Reach> {
        let Mode::FirstCrossing(having) = self else {
            return None;
        };
        let term = having.first().filter(|term| !term.falls)?;
        let greatest = 0.0;
        term.enough().map(|enough| Reach { greatest, enough })
    }
}

/// Values that each `count(DISTINCT …)` of a group keeps at most; `n_windows`: open at once, without those that overlap.
pub(super) fn values_max(mode: &Mode, aggregates: &[Aggregate], n_windows: i64) -> Vec<usize> {
    let sets = aggregates.iter().enumerate();
    let sets = sets.filter(|(_, a)| a.kind == Kind::Distinct);
    let values = |(at, _)| match mode {
        Mode::Close => DISTINCT_MAX,
        Mode::FirstCrossing(having) => having.bound_max(at).map_or(DISTINCT_MAX, |bound| {
            // A set also holds the values of the windows that wait for stragglers.
            let values = bound * THRESHOLD_REACH * n_windows as f64;
            values.clamp(DISTINCT_MIN, DISTINCT_MAX as f64) as usize
        }),
    };
    sets.map(values).collect()
}

/// One row as windows see it.
pub(super) struct Row<'a> {
    /// Encoded group key.
    pub(super) key: &'a [u8],
    /// Its event time.
    pub(super) time_ms: i64,
    /// Greatest event time so far.
    pub(super) clock_ms: i64,
    /// Arguments of the aggregates, and the row in them.
    pub(super) inputs: &'a [Input],
    pub(super) at: usize,
    /// Row of the batch pushed.
    pub(super) row: usize,
}

/// A group crossed in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crossing {
    pub(super) slot: u32,
    pub(super) window: i64,
    /// True when it was across before and has grown tenfold.
    pub(super) grown: bool,
}

/// How near any group came to the first condition of its HAVING.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// The greatest value in any window.
    pub greatest: f64,
    /// The value that is enough.
    pub enough: f64,
}

/// Counts of one rule's windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WindowCounters {
    /// Rows all of whose windows had closed.
    pub late: u64,
    /// Groups dropped for want of room.
    pub evicted: u64,
    /// Values not kept, or kept less exactly, because their group was full.
    pub capped: u64,
}

/// The windows of one rule.
pub(super) struct Windows {
    spec: WindowSpec,
    lateness_ms: i64,
    /// After this long a group that is still across is told as if anew.
    case_ms: i64,
    mode: Mode,
    aggregates: Arc<[Aggregate]>,
    n_cells: usize,
    n_sets: usize,
    values_max: Vec<usize>,
    evidence_max: usize,
    groups_max: usize,
    /// Bytes of all groups; beyond it the group least recently touched is dropped, as beyond `groups_max`.
    bytes_max: usize,
    /// Last pane of the first window that is open.
    first_open: i64,
    /// Rows folded so far.
    n_rows: u64,
    index: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    groups: Slab<Group>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    /// Which groups have a pane, in the order they first had a row in it. Windows that close only.
    by_pane: BTreeMap<i64, Vec<(u32, u32)>>,
    /// Panes whose last sample is still a row of the batch at hand.
    unsettled: Vec<(u32, u32, i64)>,
    bytes: usize,
    pub(super) counters: WindowCounters,
    /// None while nobody asks: lanes do not.
    pub(super) reach: Option<Reach>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Group {
    key: Box<[u8]>,
    hash: u64,
    /// Grows each time the slot is given to another group.
    generation: u32,
    panes: VecDeque<Pane>,
    /// Last pane of the running window.
    current: i64,
    running: Box<[Cell]>,
    sets: Box<[DistinctSet]>,
    /// Bytes that its cells hold of their own.
    held: usize,
    fired: bool,
    /// Value of the first term when the group was last told, and event time when it was told anew.
    told: f64,
    told_anew_ms: i64,
    /// The newest window that fired.
    last_fired: Option<i64>,
    samples: Vec<(i64, Evidence)>,
    /// Samples its panes hold.
    n_pane_samples: usize,
    /// Neighbours in the order of touch, towards the newest and the oldest.
    newer: u32,
    older: u32,
    /// Last window this group was listed for.
    listed: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pane {
    at: i64,
    cells: Box<[Cell]>,
    samples: Vec<Evidence>,
    last: Last,
}

/// The last row of a pane, when it is not among its first ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) enum Last {
    #[default]
    Sampled,
    Row(usize),
    Kept(Box<Evidence>),
}

/// Bytes that what a group holds takes, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBytes {
    /// The group, without its key.
    pub group: usize,
    /// A pane it has rows in.
    pub pane: usize,
    /// A value of a `count(DISTINCT …)`.
    pub value: usize,
    /// A sample row.
    pub sample: usize,
}

impl GroupBytes {
    fn of(n_cells: usize, n_sets: usize) -> GroupBytes {
        let cells = n_cells * size_of::<Cell>();
        GroupBytes {
            group: size_of::<Group>() + 16 + cells + n_sets * size_of::<DistinctSet>(),
            pane: size_of::<Pane>() + cells,
            value: 32,
            sample: Evidence::BYTES,
        }
    }
}

impl Group {
    /// Bytes the group takes, about.
    fn bytes(&self) -> usize {
        let bytes = GroupBytes::of(self.running.len(), self.sets.len());
        let samples = self.samples.len() + self.n_pane_samples;
        let values: usize = self.sets.iter().map(DistinctSet::len).sum();
        bytes.group
            + self.key.len()
            + self.panes.len() * bytes.pane
            + self.held
            + values * bytes.value
            + samples * bytes.sample
    }

    /// The pane of that number, made if it is new; says whether it was.
    fn pane(&mut self, at: i64) -> (&mut Pane, bool) {
        let place = self
            .panes
            .iter()
            .rposition(|p| p.at <= at)
            .map_or(0, |p| p + 1);
        let known = 0 < place && self.panes[place - 1].at == at;
        if !known {
            let cells = vec![Cell::EMPTY; self.running.len()].into_boxed_slice();
            self.panes.insert(
                place,
                Pane {
                    at,
                    cells,
                    samples: Vec::new(),
                    last: Last::Sampled,
                },
            );
        }
        (
            &mut self.panes[if known { place - 1 } else { place }],
            !known,
        )
    }

    /// Drops the panes before `keep`.
    fn drop_panes(&mut self, keep: i64) {
        while let Some(pane) = self.panes.pop_front_if(|p| p.at < keep) {
            self.n_pane_samples -= pane.n_samples();
            self.held -= held(&pane.cells);
        }
    }

    fn panes_within(&self, from: i64, to: i64) -> impl Iterator<Item = &Pane> {
        self.panes
            .iter()
            .filter(move |p| from <= p.at && p.at <= to)
    }
}

impl Pane {
    fn n_samples(&self) -> usize {
        // One that is still to be read counts too: what is forgotten must not depend on where a batch ends.
        self.samples.len() + usize::from(!matches!(self.last, Last::Sampled))
    }
}

impl Windows {
    pub(super) fn new(
        spec: WindowSpec,
        lateness_ms: i64,
        case_ms: i64,
        mode: Mode,
        aggregates: Arc<[Aggregate]>,
        evidence_max: usize,
    ) -> Windows {
        let n_sets = aggregates
            .iter()
            .filter(|a| a.kind == Kind::Distinct)
            .count();
        let n_cells = aggregates.len() - n_sets;
        let n_windows = 1 + (lateness_ms + spec.size_ms - 1) / spec.size_ms;
        let values_max = values_max(&mode, &aggregates, n_windows);
        Windows {
            spec,
            lateness_ms,
            case_ms,
            mode,
            aggregates,
            n_cells,
            n_sets,
            values_max,
            evidence_max,
            groups_max: GROUPS_MAX,
            bytes_max: usize::MAX,
            first_open: i64::MIN,
            n_rows: 0,
            index: HashTable::new(),
            hasher: foldhash::fast::FixedState::default(),
            groups: Slab::default(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            by_pane: BTreeMap::new(),
            unsettled: Vec::new(),
            bytes: 0,
            counters: WindowCounters::default(),
            reach: None,
        }
    }

    /// Keeps [`Windows::reach`] from now on, where a threshold may be crossed early and is grown towards.
    pub(super) fn measure(&mut self) {
        self.reach = self.mode.reach();
    }

    fn measured(&mut self, slot: u32) {
        let (Some(reach), Mode::FirstCrossing(having)) = (&mut self.reach, &self.mode) else {
            return;
        };
        let (group, n_panes) = (&self.groups[slot as usize], self.spec.n_panes());
        let value = having.first().and_then(|term| {
            number(
                group,
                &self.aggregates,
                term.aggregate,
                group.current,
                n_panes,
            )?
            .as_f64()
        });
        reach.greatest = reach.greatest.max(value.unwrap_or(0.0));
    }

    /// Bytes that what a group holds takes.
    pub(super) fn group_bytes(&self) -> GroupBytes {
        GroupBytes::of(self.n_cells, self.n_sets)
    }

    /// The windows asked for.
    pub(super) fn spec(&self) -> WindowSpec {
        self.spec
    }

    /// Values a group keeps at most, for each `count(DISTINCT …)`.
    pub(super) fn values_max(&self) -> &[usize] {
        &self.values_max
    }

    /// Whether a group is told as soon as it crosses, not when its window closes.
    pub(super) fn speaks_early(&self) -> bool {
        self.mode != Mode::Close
    }

    /// Groups kept.
    pub(super) fn n_groups(&self) -> usize {
        self.groups.len() - self.free.len()
    }

    /// Bytes kept, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Start and end of a window.
    pub(super) fn bounds_ms(&self, window: i64) -> (i64, i64) {
        let end_ms = window.saturating_add(1).saturating_mul(self.spec.slide_ms);
        (end_ms.saturating_sub(self.spec.size_ms), end_ms)
    }

    /// Clock at which a window closes.
    pub(super) fn closes_ms(&self, window: i64) -> i64 {
        self.bounds_ms(window).1.saturating_add(self.lateness_ms)
    }

    /// Encoded key of a group.
    pub(super) fn key(&self, slot: u32) -> &[u8] {
        &self.groups[slot as usize].key
    }

    #[cfg(test)]
    pub(super) fn limit_groups(&mut self, groups_max: usize) {
        self.groups_max = groups_max;
    }

    fn first_open_at(&self, clock_ms: i64) -> i64 {
        clock_ms
            .saturating_sub(self.lateness_ms)
            .div_euclid(self.spec.slide_ms)
    }

    /// First pane of a window.
    fn oldest_pane(&self, window: i64) -> i64 {
        window.saturating_sub(self.spec.n_panes() - 1)
    }

    /// Holds no more than so many bytes.
    pub(super) fn limit_bytes(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Goes over the state; between batches, so no sample waits to be read from one.
    pub(super) fn walk(&mut self, walk: &mut impl LaneWalk) {
        let mut ends = (
            self.first_open,
            self.newest,
            self.oldest,
            self.bytes,
            self.n_rows,
        );
        walk.value("windows.ends", &mut ends);
        (
            self.first_open,
            self.newest,
            self.oldest,
            self.bytes,
            self.n_rows,
        ) = ends;
        walk.copied("windows.free", &mut self.free);
        walk.copied("windows.by_pane", &mut self.by_pane);
        if walk.slab("windows.groups", &mut self.groups) {
            self.index_again();
        }
    }

    /// See [`super::frames::Frames::adopt`].
    pub(super) fn adopt(&mut self, old: Windows) {
        let own = std::mem::replace(self, old);
        (self.case_ms, self.mode, self.aggregates) = (own.case_ms, own.mode, own.aggregates);
        (self.values_max, self.evidence_max) = (own.values_max, own.evidence_max);
        (self.groups_max, self.bytes_max) = (own.groups_max, own.bytes_max);
        self.reach = own.reach;
    }

    fn index_again(&mut self) {
        self.index.clear();
        let free: HashSet<u32> = self.free.iter().copied().collect();
        for slot in (0..self.groups.len() as u32).filter(|slot| !free.contains(slot)) {
            let hash = self.hasher.hash_one(&*self.groups[slot as usize].key);
            self.groups[slot as usize].hash = hash;
            self.index
                .insert_unique(hash, slot, |s| self.groups[*s as usize].hash);
        }
    }

    /// The next window that closes at that clock, with its groups in the order of their first rows in it.
    ///
    /// Call [`Windows::closed`] before asking again.
    pub(super) fn close_next(&mut self, clock_ms: i64) -> Option<(i64, Vec<u32>)> {
        let target = self.first_open_at(clock_ms);
        if self.mode != Mode::Close {
            self.first_open = self.first_open.max(target);
            self.forget_old();
            return None;
        }
        if target <= self.first_open {
            return None;
        }
        let first = self
            .by_pane
            .first_key_value()
            .map_or(target, |(pane, _)| (*pane).max(self.first_open));
        if target <= first {
            self.first_open = target;
            return None;
        }
        let from = self.oldest_pane(first);
        let mut slots = Vec::new();
        for (slot, generation) in self
            .by_pane
            .range(from..=first)
            .flat_map(|(_, groups)| groups)
        {
            let group = &mut self.groups[*slot as usize];
            if group.generation == *generation && group.listed != first {
                group.listed = first;
                slots.push(*slot);
            }
        }
        self.first_open = first;
        Some((first, slots))
    }

    /// Drops what only a closed window needed.
    pub(super) fn closed(&mut self, window: i64) {
        self.first_open = window + 1;
        let keep = self.oldest_pane(self.first_open);
        while let Some(entry) = self.by_pane.first_entry().filter(|e| *e.key() < keep) {
            for (slot, generation) in entry.remove() {
                let group = &mut self.groups[slot as usize];
                if group.generation != generation {
                    continue;
                }
                self.bytes -= group.bytes();
                group.drop_panes(keep);
                group
                    .sets
                    .iter_mut()
                    .for_each(|set| set.advance(i64::MAX, keep));
                self.bytes += group.bytes();
                if group.panes.is_empty() {
                    self.remove(slot);
                }
            }
        }
    }

    /// Drops groups whose windows have all closed, oldest touch first.
    fn forget_old(&mut self) {
        while self.oldest != NONE {
            let group = &self.groups[self.oldest as usize];
            let newest_pane = group.panes.back().map_or(i64::MIN, |p| p.at);
            if self.oldest_pane(self.first_open) <= newest_pane {
                return;
            }
            self.remove(self.oldest);
        }
    }

    /// Folds one row; says in which window its group crossed.
    pub(super) fn fold(
        &mut self,
        row: &Row<'_>,
        sample: &impl Fn(usize) -> Evidence,
    ) -> Option<Crossing> {
        if self.mode != Mode::Close {
            // Windows that close are closed one by one through `close_next`.
            self.first_open = self.first_open.max(self.first_open_at(row.clock_ms));
        }
        self.n_rows += 1;
        let pane = row.time_ms.div_euclid(self.spec.slide_ms);
        if pane.saturating_add(self.spec.n_panes() - 1) < self.first_open {
            self.counters.late += 1;
            return None;
        }
        while self.bytes_max < self.bytes && self.oldest != NONE {
            self.remove(self.oldest);
            self.counters.evicted += 1;
        }
        let slot = self.slot(row.key, pane);
        self.bytes -= self.groups[slot as usize].bytes();
        let crossing = match self.mode {
            Mode::Close => {
                self.fold_closing(slot, pane, row, sample);
                None
            }
            Mode::FirstCrossing(_) => self.fold_crossing(slot, pane, row, sample),
        };
        self.bytes += self.groups[slot as usize].bytes();
        self.measured(slot);
        crossing
    }

    fn fold_closing(
        &mut self,
        slot: u32,
        at: i64,
        row: &Row<'_>,
        sample: &impl Fn(usize) -> Evidence,
    ) {
        let keep = self.oldest_pane(self.first_open);
        let per_pane = (self.evidence_max - 1).div_ceil(self.spec.n_panes() as usize);
        let group = &mut self.groups[slot as usize];
        let generation = group.generation;
        self.counters.capped += fold_values(
            group,
            &self.aggregates,
            at,
            row,
            i64::MAX,
            keep,
            &self.values_max,
        );
        let (pane, is_new) = group.pane(at);
        if is_new {
            self.by_pane.entry(at).or_default().push((slot, generation));
        }
        let all = |kind| kind != Kind::Distinct;
        let folded = fold_cells(&mut pane.cells, &self.aggregates, row, self.n_rows, all);
        let n_before = pane.n_samples();
        if pane.samples.len() < per_pane {
            pane.samples.push(sample(row.row));
        } else {
            if !matches!(pane.last, Last::Row(_)) {
                self.unsettled.push((slot, generation, at));
            }
            pane.last = Last::Row(row.row);
        }
        let n_after = pane.n_samples();
        group.n_pane_samples = group.n_pane_samples + n_after - n_before;
        group.held = group.held + folded.after - folded.before;
        self.counters.capped += folded.n_capped;
    }

    fn fold_crossing(
        &mut self,
        slot: u32,
        at: i64,
        row: &Row<'_>,
        sample: &impl Fn(usize) -> Evidence,
    ) -> Option<Crossing> {
        let Mode::FirstCrossing(having) = &self.mode else {
            return None;
        };
        let n_panes = self.spec.n_panes();
        let (first_open, keep) = (self.first_open, self.first_open.saturating_sub(n_panes - 1));
        let group = &mut self.groups[slot as usize];
        let current = group.current.max(at).max(first_open);
        if group.current < current {
            advance(group, &self.aggregates, current, n_panes, keep);
            group.fired = group.fired && holds(having, group, &self.aggregates, current, n_panes);
        }
        let oldest = group.current - (n_panes - 1);
        self.counters.capped += fold_values(
            group,
            &self.aggregates,
            at,
            row,
            oldest,
            keep,
            &self.values_max,
        );
        if oldest <= at {
            // Of the others no condition asks before a window closes, and what is told is that of the panes.
            let asked = Kind::has_threshold;
            let folded = fold_cells(
                &mut group.running,
                &self.aggregates,
                row,
                self.n_rows,
                asked,
            );
            group.held = group.held + folded.after - folded.before;
        }
        let (pane, _) = group.pane(at);
        let all = |kind| kind != Kind::Distinct;
        let folded = fold_cells(&mut pane.cells, &self.aggregates, row, self.n_rows, all);
        group.held = group.held + folded.after - folded.before;
        self.counters.capped += folded.n_capped;
        // Of the first term, as people read the title: how far across the group is now.
        let value = |group: &Group, window: i64| {
            let term = having.first().filter(|term| !term.falls)?;
            let value = number(group, &self.aggregates, term.aggregate, window, n_panes)?;
            value.as_f64()
        };
        if group.fired {
            let now = value(group, group.current).unwrap_or(0.0);
            let grown = 0.0 < group.told && GROWTH * group.told <= now;
            let anew = self.case_ms <= row.time_ms.saturating_sub(group.told_anew_ms);
            if !grown && !anew {
                return None;
            }
            if anew {
                group.told_anew_ms = row.time_ms;
            }
            group.told = now;
            group.last_fired = Some(group.current);
            let window = group.current;
            return Some(Crossing {
                slot,
                window,
                grown,
            });
        }
        let window = crossed(having, group, &self.aggregates, at, first_open, n_panes);
        if let Some(window) = window {
            group.last_fired = Some(window);
            group.told = value(group, window).unwrap_or(0.0);
            group.told_anew_ms = row.time_ms;
            group.fired = window == group.current
                || holds(having, group, &self.aggregates, group.current, n_panes);
        } else if group.samples.len() + 1 < self.evidence_max {
            // Samples are spread over the way to the threshold: they show the run, and a group far below holds none.
            let due = (group.samples.len() + 1) as f64 / self.evidence_max as f64;
            let progress = having.first().map_or(0.0, |term| {
                number(
                    group,
                    &self.aggregates,
                    term.aggregate,
                    group.current,
                    n_panes,
                )
                .map_or(0.0, |v| term.progress(&v))
            });
            if due <= progress {
                group.samples.push((at, sample(row.row)));
            }
        }
        let grown = false;
        window.map(|window| Crossing {
            slot,
            window,
            grown,
        })
    }

    /// The values of the aggregates of a group in a window.
    pub(super) fn outputs(
        &self,
        slot: u32,
        window: i64,
    ) -> Result<Vec<ScalarValue>, DataFusionError> {
        let group = &self.groups[slot as usize];
        let from = self.oldest_pane(window);
        let output = |a: &Aggregate| match a.kind {
            Kind::Distinct => Ok(ScalarValue::Int64(Some(
                group.sets[a.slot].within(from, window),
            ))),
            _ => a.output(&exact(group, a, from, window)),
        };
        self.aggregates.iter().map(output).collect()
    }

    /// Samples of a group that crossed, before the row that made it cross; they are not shown twice.
    pub(super) fn take_samples(&mut self, slot: u32, window: i64) -> Vec<Evidence> {
        let (from, group) = (self.oldest_pane(window), &mut self.groups[slot as usize]);
        self.bytes -= group.bytes();
        let samples = std::mem::take(&mut group.samples);
        self.bytes += group.bytes();
        samples
            .into_iter()
            .filter(|(pane, _)| from <= *pane && *pane <= window)
            .map(|(_, sample)| sample)
            .collect()
    }

    /// Samples of a group in a window that closes: the first ones and the last.
    pub(super) fn samples(
        &self,
        slot: u32,
        window: i64,
        sample: &impl Fn(usize) -> Evidence,
    ) -> Vec<Evidence> {
        let (from, group) = (self.oldest_pane(window), &self.groups[slot as usize]);
        let first = group.panes_within(from, window).flat_map(|p| &p.samples);
        let mut samples: Vec<Evidence> = first.take(self.evidence_max - 1).cloned().collect();
        let Some(newest) = group.panes_within(from, window).last() else {
            return samples;
        };
        let last = match &newest.last {
            Last::Row(row) => Some(sample(*row)),
            Last::Kept(kept) => Some((**kept).clone()),
            Last::Sampled => newest.samples.last().cloned(),
        };
        if let Some(last) = last.filter(|last| samples.last() != Some(last)) {
            samples.push(last);
        }
        samples
    }

    /// Keeps the last samples that are still rows of the batch at hand; to be called before it goes.
    pub(super) fn settle(&mut self, sample: &impl Fn(usize) -> Evidence) {
        for (slot, generation, at) in std::mem::take(&mut self.unsettled) {
            let group = &mut self.groups[slot as usize];
            if group.generation != generation {
                continue;
            }
            if let Some(pane) = group.panes.iter_mut().find(|p| p.at == at)
                && let Last::Row(row) = pane.last
            {
                pane.last = Last::Kept(Box::new(sample(row)));
            }
        }
    }

    /// The slot of a group, touched; the group is made if it is new.
    fn slot(&mut self, key: &[u8], pane: i64) -> u32 {
        let hash = self.hasher.hash_one(key);
        if let Some(slot) = self
            .index
            .find(hash, |s| *self.groups[*s as usize].key == *key)
            .copied()
        {
            self.unlink(slot);
            self.link(slot);
            return slot;
        }
        if self.groups_max <= self.n_groups() {
            self.remove(self.oldest);
            self.counters.evicted += 1;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.groups.push(Group::default());
            (self.groups.len() - 1) as u32
        });
        let generation = self.groups[slot as usize].generation;
        self.groups[slot as usize] = Group {
            key: key.into(),
            hash,
            generation,
            current: pane.max(self.first_open),
            running: vec![Cell::EMPTY; self.n_cells].into_boxed_slice(),
            sets: vec![DistinctSet::default(); self.n_sets].into_boxed_slice(),
            listed: i64::MIN,
            newer: NONE,
            older: NONE,
            ..Group::default()
        };
        self.bytes += self.groups[slot as usize].bytes();
        self.index
            .insert_unique(hash, slot, |s| self.groups[*s as usize].hash);
        self.link(slot);
        slot
    }

    fn remove(&mut self, slot: u32) {
        self.unlink(slot);
        let group = &mut self.groups[slot as usize];
        if let Ok(entry) = self.index.find_entry(group.hash, |s| *s == slot) {
            entry.remove();
        }
        self.bytes -= group.bytes();
        *group = Group {
            generation: group.generation.wrapping_add(1),
            ..Group::default()
        };
        self.free.push(slot);
    }

    fn link(&mut self, slot: u32) {
        let before = std::mem::replace(&mut self.newest, slot);
        let group = &mut self.groups[slot as usize];
        (group.newer, group.older) = (NONE, before);
        match before {
            NONE => self.oldest = slot,
            _ => self.groups[before as usize].newer = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let (newer, older) = (
            self.groups[slot as usize].newer,
            self.groups[slot as usize].older,
        );
        match newer {
            NONE => self.newest = older,
            _ => self.groups[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            _ => self.groups[older as usize].newer = newer,
        }
    }
}

/// Moves the running window of a group.
fn advance(group: &mut Group, aggregates: &[Aggregate], current: i64, n_panes: i64, keep: i64) {
    let (was_oldest, oldest) = (group.current - (n_panes - 1), current - (n_panes - 1));
    group.current = current;
    group
        .sets
        .iter_mut()
        .for_each(|set| set.advance(oldest, keep));
    group.samples.retain(|(pane, _)| oldest <= *pane);
    for aggregate in aggregates.iter().filter(|a| a.kind.has_threshold()) {
        let (kind, slot) = (aggregate.kind, aggregate.slot);
        let mut running = std::mem::replace(&mut group.running[slot], Cell::EMPTY);
        group.held -= running.bytes();
        let leaving = group
            .panes
            .iter()
            .filter(|p| was_oldest <= p.at && p.at < oldest);
        let is_exact = leaving
            .map(|p| &p.cells[slot])
            .all(|cell| running.unmerge(kind, cell));
        group.running[slot] = if is_exact {
            running
        } else {
            exact(group, aggregate, oldest, current)
        };
        group.held += group.running[slot].bytes();
    }
    group.drop_panes(keep);
}

/// Folds a row into the distinct sets of its group; says how many values were left out.
fn fold_values(
    group: &mut Group,
    aggregates: &[Aggregate],
    at: i64,
    row: &Row<'_>,
    oldest: i64,
    keep: i64,
    values_max: &[usize],
) -> u64 {
    let mut n_capped = 0;
    for (aggregate, input) in aggregates
        .iter()
        .zip(row.inputs)
        .filter(|(a, _)| a.kind == Kind::Distinct)
    {
        if let Some(Scalar::Int(value)) = input.get(row.at) {
            let set = &mut group.sets[aggregate.slot];
            n_capped +=
                u64::from(!set.fold(value as u64, at, oldest, keep, values_max[aggregate.slot]));
        }
    }
    n_capped
}

/// What became of the cells of a pane when a row was folded.
struct FoldedCells {
    before: usize,
    after: usize,
    n_capped: u64,
}

/// Folds a row into the cells of a pane or of the running window, those of the kinds that are wanted; `number`: of the row.
fn fold_cells(
    cells: &mut [Cell],
    aggregates: &[Aggregate],
    row: &Row<'_>,
    number: u64,
    wanted: impl Fn(Kind) -> bool,
) -> FoldedCells {
    let (mut before, mut after, mut n_capped) = (0, 0, 0);
    let aggregates = aggregates.iter().zip(row.inputs);
    for (aggregate, input) in aggregates.filter(|(a, _)| wanted(a.kind)) {
        let folded = cells[aggregate.slot].fold_row(aggregate.kind, input, row.at, number);
        (before, after) = (before + folded.before, after + folded.after);
        n_capped += u64::from(folded.is_capped);
    }
    FoldedCells {
        before,
        after,
        n_capped,
    }
}

/// Bytes that cells hold of their own.
fn held(cells: &[Cell]) -> usize {
    cells.iter().map(Cell::bytes).sum()
}

/// An aggregate over the panes `from..=to`.
fn exact(group: &Group, aggregate: &Aggregate, from: i64, to: i64) -> Cell {
    let mut cell = Cell::EMPTY;
    for pane in group.panes_within(from, to) {
        cell.merge(aggregate.kind, &pane.cells[aggregate.slot]);
    }
    cell
}

/// The value of an aggregate in a window, to compare with a threshold.
fn number(
    group: &Group,
    aggregates: &[Aggregate],
    at: usize,
    window: i64,
    n_panes: i64,
) -> Option<Scalar> {
    let aggregate = &aggregates[at];
    let from = window - (n_panes - 1);
    match (aggregate.kind, window == group.current) {
        (Kind::Distinct, true) => Some(Scalar::Int(i128::from(
            group.sets[aggregate.slot].running(),
        ))),
        (Kind::Distinct, false) => Some(Scalar::Int(i128::from(
            group.sets[aggregate.slot].within(from, window),
        ))),
        (_, true) => aggregate.number(&group.running[aggregate.slot]),
        (_, false) => aggregate.number(&exact(group, aggregate, from, window)),
    }
}

fn holds(
    having: &Having,
    group: &Group,
    aggregates: &[Aggregate],
    window: i64,
    n_panes: i64,
) -> bool {
    // A group without a row in a window is not in it, whatever the condition says of nothing.
    let mut rows = group.panes_within(window - (n_panes - 1), window);
    having.holds(&|at| number(group, aggregates, at, window, n_panes)) && rows.next().is_some()
}

/// Whether it could hold in any window at all: asked of everything the group keeps, which no window exceeds.
fn may_hold(having: &Having, group: &Group, aggregates: &[Aggregate]) -> bool {
    having.holds(&|at| match aggregates[at].kind {
        Kind::Distinct => Some(Scalar::Int(group.sets[aggregates[at].slot].len() as i128)),
        _ => aggregates[at].number(&exact(group, &aggregates[at], i64::MIN, i64::MAX)),
    })
}

/// The first open window with a row of pane `at` in which the group is across, and which is newer than the last that fired.
///
/// A row in the newest pane changes the running window and those after it, which hold no more than it does. A row out of
/// order also changes windows behind it; these are looked at one by one, if the group has enough in all to cross.
fn crossed(
    having: &Having,
    group: &Group,
    aggregates: &[Aggregate],
    at: i64,
    first_open: i64,
    n_panes: i64,
) -> Option<i64> {
    let to = group.current.min(at + n_panes - 1);
    let from = at
        .max(first_open)
        .max(group.last_fired.map_or(i64::MIN, |w| w + 1));
    if from < group.current.min(to + 1) && !may_hold(having, group, aggregates) {
        return None;
    }
    (from..=to).find(|window| holds(having, group, aggregates, *window, n_panes))
}
