//! The windows of one rule, of whichever kind: aligned to the epoch, sessions, or sliding. All are asked the same, so whoever runs a
//! rule need not know which it has. The window of a session, or of a group that slides, is named by its slot.

use datafusion::common::DataFusionError;
use datafusion::scalar::ScalarValue;

use super::finding::Evidence;
use super::plan::Windowing;
use super::session::Sessions;
use super::sliding::Sliding;
use super::window::{Crossing, GroupBytes, Reach, Row, WindowCounters, Windows};
use crate::state::LaneWalk;

/// The windows of one rule.
pub(super) enum Frames {
    /// `TUMBLE` and `HOP`.
    Aligned(Windows),
    /// `SESSION`.
    Sessions(Sessions),
    /// `SLIDING`.
    Sliding(Sliding),
}

/// Asks each kind the same.
macro_rules! of_each {
    ($self:expr, $of:ident => $what:expr) => {
        match $self {
            Frames::Aligned($of) => $what,
            Frames::Sessions($of) => $what,
            Frames::Sliding($of) => $what,
        }
    };
}

impl Frames {
    /// The windows asked for.
    pub(super) fn windowing(&self) -> Windowing {
        match self {
            Frames::Aligned(of) => Windowing::Aligned(of.spec()),
            Frames::Sessions(of) => Windowing::Sessions(of.spec()),
            Frames::Sliding(of) => Windowing::Sliding(of.spec()),
        }
    }

    /// See [`Windows::measure`].
    pub(super) fn measure(&mut self) {
        of_each!(self, of => of.measure());
    }

    /// How near any group came to its threshold, where that is measured.
    pub(super) fn reach(&self) -> Option<Reach> {
        of_each!(self, of => of.reach)
    }

    /// Counts so far.
    pub(super) fn counters(&self) -> WindowCounters {
        of_each!(self, of => of.counters)
    }

    /// Bytes that what a group holds takes.
    pub(super) fn group_bytes(&self) -> GroupBytes {
        of_each!(self, of => of.group_bytes())
    }

    /// Values a group keeps at most, for each `count(DISTINCT …)`; of one that slides times too, for each aggregate.
    pub(super) fn values_max(&self) -> &[usize] {
        of_each!(self, of => of.values_max())
    }

    /// Whether a group is told as soon as it crosses, not when its window closes.
    pub(super) fn speaks_early(&self) -> bool {
        of_each!(self, of => of.speaks_early())
    }

    /// Groups kept; of sessions each is one.
    pub(super) fn n_groups(&self) -> usize {
        of_each!(self, of => of.n_groups())
    }

    /// Bytes kept, about.
    pub(super) fn bytes(&self) -> usize {
        of_each!(self, of => of.bytes())
    }

    /// Encoded key of a group.
    pub(super) fn key(&self, slot: u32) -> &[u8] {
        of_each!(self, of => of.key(slot))
    }

    #[cfg(test)]
    pub(super) fn limit_groups(&mut self, groups_max: usize) {
        of_each!(self, of => of.limit_groups(groups_max));
    }

    /// Holds no more than so many bytes.
    pub(super) fn limit_bytes(&mut self, bytes_max: usize) {
        of_each!(self, of => of.limit_bytes(bytes_max));
    }

    /// Goes over the state; between batches.
    pub(super) fn walk(&mut self, walk: &mut impl LaneWalk) {
        of_each!(self, of => of.walk(walk));
    }

    /// Goes on with the groups of windows that counted the same; what is a crossing, and what is kept of one, is its own.
    pub(super) fn adopt(&mut self, old: Frames) {
        match (self, old) {
            (Frames::Aligned(own), Frames::Aligned(old)) => own.adopt(old),
            (Frames::Sessions(own), Frames::Sessions(old)) => own.adopt(old),
            (Frames::Sliding(own), Frames::Sliding(old)) => own.adopt(old),
            // What counts the same has the same windows.
            _ => (),
        }
    }

    /// Folds one row; says in which window its group crossed.
    pub(super) fn fold(
        &mut self,
        row: &Row<'_>,
        sample: &impl Fn(usize) -> Evidence,
    ) -> Option<Crossing> {
        of_each!(self, of => of.fold(row, sample))
    }

    /// Keeps the last samples that are still rows of the batch at hand.
    pub(super) fn settle(&mut self, sample: &impl Fn(usize) -> Evidence) {
        match self {
            Frames::Aligned(of) => of.settle(sample),
            Frames::Sessions(of) => of.settle(sample),
            // What it shows is read at once.
            Frames::Sliding(_) => (),
        }
    }

    /// Start and end of a window.
    pub(super) fn bounds_ms(&self, window: i64) -> (i64, i64) {
        match self {
            Frames::Aligned(of) => of.bounds_ms(window),
            Frames::Sessions(of) => of.bounds_ms(slot_of(window)),
            Frames::Sliding(of) => of.bounds_ms(slot_of(window)),
        }
    }

    /// Clock at which a window closes.
    pub(super) fn closes_ms(&self, window: i64) -> i64 {
        match self {
            Frames::Aligned(of) => of.closes_ms(window),
            Frames::Sessions(of) => of.closes_ms(slot_of(window)),
            Frames::Sliding(of) => of.bounds_ms(slot_of(window)).1,
        }
    }

    /// The next window that closes at that clock, with its groups. Call [`Frames::closed`] before asking again.
    pub(super) fn close_next(&mut self, clock_ms: i64) -> Option<(i64, Vec<u32>)> {
        match self {
            Frames::Aligned(of) => of.close_next(clock_ms),
            Frames::Sessions(of) => {
                let slot = of.close_next(clock_ms)?;
                Some((i64::from(slot), vec![slot]))
            }
            // It is told at its rows alone.
            Frames::Sliding(of) => {
                of.reach_ms(clock_ms);
                None
            }
        }
    }

    /// Drops what only a closed window needed.
    pub(super) fn closed(&mut self, window: i64) {
        match self {
            Frames::Aligned(of) => of.closed(window),
            Frames::Sessions(of) => of.closed(slot_of(window)),
            Frames::Sliding(_) => (),
        }
    }

    /// The values of the aggregates of a group in a window.
    pub(super) fn outputs(
        &self,
        slot: u32,
        window: i64,
    ) -> Result<Vec<ScalarValue>, DataFusionError> {
        match self {
            Frames::Aligned(of) => of.outputs(slot, window),
            Frames::Sessions(of) => of.outputs(slot),
            Frames::Sliding(of) => of.outputs(slot),
        }
    }

    /// Samples of a group that crossed; they are not shown twice.
    pub(super) fn take_samples(&mut self, slot: u32, window: i64) -> Vec<Evidence> {
        match self {
            Frames::Aligned(of) => of.take_samples(slot, window),
            Frames::Sessions(of) => of.take_samples(slot),
            Frames::Sliding(of) => of.take_samples(slot),
        }
    }

    /// Samples of a group in a window that closes.
    pub(super) fn samples(
        &self,
        slot: u32,
        window: i64,
        sample: &impl Fn(usize) -> Evidence,
    ) -> Vec<Evidence> {
        match self {
            Frames::Aligned(of) => of.samples(slot, window, sample),
            Frames::Sessions(of) => of.samples(slot, sample),
            Frames::Sliding(_) => Vec::new(),
        }
    }
}

fn slot_of(window: i64) -> u32 {
    window as u32
}
