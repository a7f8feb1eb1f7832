//! `count(DISTINCT x)` of one group over all of its panes at once. Pure state: must not know what the values were.

use std::collections::VecDeque;

use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Distinct values one group keeps for one aggregate, 32 bytes each; beyond it further values are not counted, so the
/// count is a lower bound, and `capped` grows.
pub const DISTINCT_MAX: usize = 100_000;

/// Where one value was seen.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Seen {
    /// Newest pane.
    last: i64,
    /// Bit `j`: also seen in pane `last - j`.
    panes: u64,
}

impl Seen {
    /// Whether it was seen in one of the panes `from..=to`.
    fn within(&self, from: i64, to: i64) -> bool {
        let (near, far) = ((self.last - to).max(0), self.last - from);
        if far < 0 || 64 <= near {
            return false;
        }
        let below_far = if 63 <= far {
            u64::MAX
        } else {
            (1 << (far + 1)) - 1
        };
        self.panes & below_far & !((1 << near) - 1) != 0
    }
}

type SeenValues = HashMap<u64, Seen, foldhash::fast::FixedState>;

/// `count(DISTINCT x)` of one group in every window that is still open.
///
/// A value keeps its newest pane and a bit for each pane before it: the running window needs no merge of panes (a value
/// leaves when its newest pane does), any other window is one pass over the values.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DistinctSet {
    #[serde(serialize_with = "values_out", deserialize_with = "values_in")]
    values: SeenValues,
    /// How many values have their newest pane here; panes of the running window only.
    newest: VecDeque<(i64, u32)>,
    /// Values in the running window.
    running: i64,
    sweep_at: usize,
    /// What was kept by the last sweeps of a full set: one sweep a pane, not one a row.
    swept: Option<i64>,
    swept_behind: Option<i64>,
}

fn values_out<S: Serializer>(values: &SeenValues, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values)
}

fn values_in<'de, D: Deserializer<'de>>(from: D) -> Result<SeenValues, D::Error> {
    Ok(Vec::<(u64, Seen)>::deserialize(from)?.into_iter().collect())
}

impl DistinctSet {
    /// Values kept, those of windows behind the running one included: no window has more.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Values in the running window.
    pub fn running(&self) -> i64 {
        self.running
    }

    /// Values in the panes `from..=to`.
    pub fn within(&self, from: i64, to: i64) -> i64 {
        self.values
            .values()
            .filter(|seen| seen.within(from, to))
            .count() as i64
    }

    /// Folds one value of a pane. Says false when the set is full and the value was left out.
    ///
    /// * `oldest`: first pane of the running window. `keep`: panes before it are in no open window.
    pub fn fold(
        &mut self,
        value: u64,
        pane: i64,
        oldest: i64,
        keep: i64,
        values_max: usize,
    ) -> bool {
        if values_max <= self.values.len() && self.swept != Some(keep) {
            self.values.retain(|_, seen| keep <= seen.last);
            self.swept = Some(keep);
        }
        // Values behind the running window serve stragglers alone: they must not keep out what happens now.
        if values_max <= self.values.len() && oldest <= pane && self.swept_behind != Some(oldest) {
            self.values.retain(|_, seen| oldest <= seen.last);
            self.swept_behind = Some(oldest);
        }
        let full = values_max <= self.values.len();
        let seen = match self.values.get_mut(&value) {
            Some(seen) => seen,
            None if full => return false,
            None => {
                self.values.insert(
                    value,
                    Seen {
                        last: pane,
                        panes: 1,
                    },
                );
                if oldest <= pane {
                    self.running += 1;
                    self.count(pane, true);
                }
                return true;
            }
        };
        let last = seen.last;
        if pane <= last {
            if last - pane < 64 {
                seen.panes |= 1 << (last - pane);
            }
            return true;
        }
        seen.panes = if pane - last < 64 {
            seen.panes << (pane - last) | 1
        } else {
            1
        };
        seen.last = pane;
        if oldest <= pane {
            self.count(pane, true);
            match oldest <= last {
                true => self.count(last, false),
                false => self.running += 1,
            }
        }
        true
    }

    /// Folds the values of another set of one pane, the same as this one's. Says how many were left out.
    pub fn join(&mut self, other: &DistinctSet, values_max: usize) -> u64 {
        // In an order of their own: which ones a full set leaves out must not depend on a table's.
        let mut values: Vec<u64> = other.values.keys().copied().collect();
        values.sort_unstable();
        let left_out = values.iter();
        let left_out = left_out.filter(|value| !self.fold(**value, 0, 0, 0, values_max));
        left_out.count() as u64
    }

    /// Moves the running window: its first pane is now `oldest`; panes before `keep` are in no open window.
    pub fn advance(&mut self, oldest: i64, keep: i64) {
        while let Some((_, n)) = self.newest.pop_front_if(|(pane, _)| *pane < oldest) {
            self.running -= i64::from(n);
        }
        if self.sweep_at <= self.values.len() {
            self.values.retain(|_, seen| keep <= seen.last);
            self.sweep_at = 2 * self.values.len() + 32;
            if 4 * self.values.len() + 64 < self.values.capacity() {
                self.values.shrink_to_fit();
            }
        }
    }

    fn count(&mut self, pane: i64, more: bool) {
        let at = self.newest.iter().rposition(|(p, _)| *p <= pane);
        match (at, more) {
            (Some(at), true) if self.newest[at].0 == pane => self.newest[at].1 += 1,
            (Some(at), true) => self.newest.insert(at + 1, (pane, 1)),
            (None, true) => self.newest.push_front((pane, 1)),
            (Some(at), false) if self.newest[at].0 == pane => self.newest[at].1 -= 1,
            (_, false) => debug_assert!(false, "a value leaves a pane it was counted in"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_knows_every_pane_it_was_seen_in() {
        let mut set = DistinctSet::default();
        for (value, pane) in [(1, 10), (2, 10), (1, 12), (3, 11), (1, 9)] {
            assert!(set.fold(value, pane, 8, 0, 100));
        }
        let rows = [
            (8, 8, 0),
            (9, 9, 1),
            (10, 10, 2),
            (11, 11, 1),
            (12, 12, 1),
            (8, 12, 3),
            (13, 20, 0),
        ];
        for (from, to, wanted) in rows {
            assert_eq!(set.within(from, to), wanted, "panes {from} to {to}");
        }
        assert_eq!(set.running(), 3);
        set.advance(11, 9);
        assert_eq!(set.running(), 2, "value 2 was last seen in pane 10");
        set.fold(2, 13, 11, 0, 100);
        assert_eq!(set.running(), 3);
        assert!(!set.fold(9, 13, 11, 0, 3), "full");
    }

    #[test]
    fn a_full_set_drops_what_is_behind_the_running_window() {
        let mut set = DistinctSet::default();
        for value in 0..3 {
            assert!(set.fold(value, 1, 1, 0, 3));
        }
        set.advance(2, 0);
        assert!(set.fold(9, 2, 2, 0, 3), "what waits makes room");
        assert_eq!((set.running(), set.len()), (1, 1));
    }
}
