//! The aggregates of windows, and the proof that a HAVING only ever turns true.
//!
//! A [`Cell`] is one aggregate of one group over some panes; a [`DistinctSet`] is `count(DISTINCT x)` of one group over all
//! of its panes at once. Both answer for a running window in constant time and for any other window exactly. Pure state:
//! must not know expressions, windows' ends or lateness.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;
use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// Distinct values one group keeps for one aggregate, 32 bytes each; beyond it further values are not counted, so the
/// count is a lower bound, and `capped` grows.
pub const DISTINCT_MAX: usize = 100_000;

/// What an aggregate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rows, or rows whose argument is not null.
    Count,
    /// Different values of the argument that are not null.
    Distinct,
    /// Sum.
    Sum,
    /// Smallest.
    Min,
    /// Greatest.
    Max,
    /// Mean.
    Avg,
}

/// One aggregate of a compiled rule.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// What it computes.
    pub kind: Kind,
    /// Its argument; nothing for `count(*)`.
    pub arg: Option<Arc<dyn PhysicalExpr>>,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Type of the output column.
    pub output: DataType,
    /// Its place among the distinct sets or the cells.
    pub slot: usize,
}

/// One value an aggregate folds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    /// Integers, flags and times.
    Int(i128),
    /// Floats.
    Float(f64),
    /// Text.
    Text(Box<str>),
}

/// The argument of an aggregate for the rows of one batch, in one of few layouts.
pub(super) enum Values {
    Rows,
    Int(arrow::array::Int64Array),
    UInt(arrow::array::UInt64Array),
    Float(arrow::array::Float64Array),
    Text(arrow::array::StringArray),
    Keys(Vec<Option<u64>>),
}

impl Values {
    /// The argument of an aggregate of that kind.
    pub(super) fn new(kind: Kind, array: &ArrayRef) -> Result<Values, ArrowError> {
        if kind == Kind::Distinct {
            return distinct_keys(array).map(Values::Keys);
        }
        Ok(match layout(array.data_type()) {
            DataType::Int64 => Values::Int(
                cast(array, &DataType::Int64)?
                    .as_primitive::<Int64Type>()
                    .clone(),
            ),
            DataType::UInt64 => Values::UInt(
                cast(array, &DataType::UInt64)?
                    .as_primitive::<UInt64Type>()
                    .clone(),
            ),
            DataType::Float64 => Values::Float(
                cast(array, &DataType::Float64)?
                    .as_primitive::<Float64Type>()
                    .clone(),
            ),
            _ => Values::Text(cast(array, &DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    /// The value of a row, unless it is null.
    pub(super) fn get(&self, row: usize) -> Option<Scalar> {
        match self {
            Values::Rows => Some(Scalar::Int(1)),
            Values::Int(a) => a
                .is_valid(row)
                .then(|| Scalar::Int(i128::from(a.value(row)))),
            Values::UInt(a) => a
                .is_valid(row)
                .then(|| Scalar::Int(i128::from(a.value(row)))),
            Values::Float(a) => a.is_valid(row).then(|| Scalar::Float(a.value(row))),
            Values::Text(a) => a.is_valid(row).then(|| Scalar::Text(a.value(row).into())),
            Values::Keys(keys) => keys[row].map(|key| Scalar::Int(i128::from(key))),
        }
    }
}

/// The argument and filter of one aggregate over one batch.
pub(super) struct Input {
    pub(super) values: Values,
    pub(super) filter: Option<BooleanArray>,
}

impl Input {
    /// The value to fold for a row: nothing when it is null or filtered out.
    pub(super) fn get(&self, row: usize) -> Option<Scalar> {
        let kept = self
            .filter
            .as_ref()
            .is_none_or(|f| f.is_valid(row) && f.value(row));
        if kept { self.values.get(row) } else { None }
    }
}

/// The layout arguments of that type are folded in.
fn layout(of: &DataType) -> DataType {
    match of {
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            DataType::UInt64
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            DataType::Utf8
        }
        _ => DataType::Int64,
    }
}

/// Whether `min`, `max`, `sum` and `avg` can fold that type.
pub(super) fn is_foldable(of: &DataType) -> bool {
    use DataType::{
        Boolean, Date32, Date64, Float16, Float32, Float64, LargeUtf8, Timestamp, Utf8, Utf8View,
    };
    of.is_integer()
        || matches!(
            of,
            Float16
                | Float32
                | Float64
                | Utf8
                | LargeUtf8
                | Utf8View
                | Boolean
                | Timestamp(..)
                | Date32
                | Date64
        )
}

/// A 64-bit name of each value: integers are their own, all else is hashed with XXH3 (two of a million texts collide once in 37 million).
fn distinct_keys(array: &ArrayRef) -> Result<Vec<Option<u64>>, ArrowError> {
    let n = array.len();
    match array.data_type() {
        DataType::UInt64 => Ok(array.as_primitive::<UInt64Type>().iter().collect()),
        t if t.is_integer() && layout(t) == DataType::Int64 => {
            let ints = cast(array, &DataType::Int64)?;
            Ok(ints
                .as_primitive::<Int64Type>()
                .iter()
                .map(|v| v.map(|v| v as u64))
                .collect())
        }
        DataType::Utf8 => Ok(array
            .as_string::<i32>()
            .iter()
            .map(|v| v.map(|v| xxh3_64(v.as_bytes())))
            .collect()),
        t => {
            let rows = RowConverter::new(vec![SortField::new(t.clone())])?
                .convert_columns(std::slice::from_ref(array))?;
            Ok((0..n)
                .map(|row| array.is_valid(row).then(|| xxh3_64(rows.row(row).as_ref())))
                .collect())
        }
    }
}

/// One aggregate of one group over a run of panes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Rows folded.
    n: i64,
    /// Sum or extreme, nothing before the first row.
    value: Option<Scalar>,
}

impl Cell {
    /// Before any row.
    pub const EMPTY: Cell = Cell { n: 0, value: None };

    /// Folds one value.
    pub fn fold(&mut self, kind: Kind, value: &Scalar) {
        self.n += 1;
        if kind != Kind::Count {
            self.take(kind, value);
        }
    }

    /// Folds what another cell has folded.
    pub fn merge(&mut self, kind: Kind, other: &Cell) {
        self.n += other.n;
        if let Some(value) = &other.value {
            self.take(kind, value);
        }
    }

    /// A cell that has this value.
    pub(super) fn holding(value: Option<Scalar>) -> Cell {
        let n = i64::from(value.is_some());
        Cell { n, value }
    }

    /// Takes back what another cell has folded, if that is exact; otherwise the cell is left as it was.
    pub fn unmerge(&mut self, kind: Kind, other: &Cell) -> bool {
        match (kind, &mut self.value, &other.value) {
            (_, _, None) => {}
            (Kind::Sum | Kind::Avg, Some(Scalar::Int(sum)), Some(Scalar::Int(gone))) => {
                *sum -= gone
            }
            // Floats would keep what rounding left, and the extreme may be the one that goes.
            (Kind::Min | Kind::Max, Some(kept), Some(gone)) if kept != gone => {}
            _ => return false,
        }
        self.n -= other.n;
        if self.n == 0 {
            self.value = None;
        }
        true
    }

    fn take(&mut self, kind: Kind, value: &Scalar) {
        let Some(kept) = &mut self.value else {
            self.value = Some(value.clone());
            return;
        };
        match (kind, kept, value) {
            (Kind::Sum | Kind::Avg, Scalar::Int(sum), Scalar::Int(value)) => *sum += value,
            (Kind::Sum | Kind::Avg, Scalar::Float(sum), Scalar::Float(value)) => *sum += value,
            (Kind::Min, kept, value) if precedes(value, kept) => *kept = value.clone(),
            (Kind::Max, kept, value) if precedes(kept, value) => *kept = value.clone(),
            _ => {}
        }
    }

    /// The value to compare with a threshold, nothing before the first row.
    fn number(&self, kind: Kind) -> Option<Scalar> {
        match kind {
            Kind::Count => Some(Scalar::Int(i128::from(self.n))),
            _ => self.value.clone(),
        }
    }

    /// The value of the output column.
    ///
    /// # Errors
    /// A value that does not fit the type.
    pub fn output(
        &self,
        kind: Kind,
        output: &DataType,
    ) -> Result<ScalarValue, datafusion::common::DataFusionError> {
        let value = match (kind, &self.value) {
            (Kind::Count, _) => ScalarValue::Int64(Some(self.n)),
            (_, None) => return ScalarValue::try_from(output),
            (Kind::Avg, Some(Scalar::Float(sum))) => {
                ScalarValue::Float64(Some(sum / self.n as f64))
            }
            (Kind::Avg, Some(Scalar::Int(sum))) => {
                ScalarValue::Float64(Some(*sum as f64 / self.n as f64))
            }
            (_, Some(Scalar::Float(value))) => ScalarValue::Float64(Some(*value)),
            (_, Some(Scalar::Text(value))) => ScalarValue::Utf8(Some(value.to_string())),
            (_, Some(Scalar::Int(value))) if output.is_unsigned_integer() => {
                ScalarValue::UInt64(Some(u64::try_from(*value).unwrap_or(u64::MAX)))
            }
            (_, Some(Scalar::Int(value))) => ScalarValue::Int64(Some(
                (*value).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64,
            )),
        };
        value.cast_to(output)
    }
}

/// Order within one type; floats in IEEE total order, as SQL's `min` and `max` have it here.
fn precedes(a: &Scalar, b: &Scalar) -> bool {
    match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => a < b,
        (Scalar::Float(a), Scalar::Float(b)) => a.total_cmp(b).is_lt(),
        (Scalar::Text(a), Scalar::Text(b)) => a < b,
        _ => false,
    }
}

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

/// A HAVING that once true stays true while rows come, so it may be asked at every row.
#[derive(Debug, Clone, PartialEq)]
pub enum Having {
    /// All of these.
    All(Vec<Having>),
    /// One of these.
    Any(Vec<Having>),
    /// One aggregate against one literal.
    Term(Term),
}

/// One aggregate against one literal.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Which aggregate.
    pub aggregate: usize,
    /// The literal.
    pub bound: Scalar,
    /// Whether the bound itself is enough.
    pub inclusive: bool,
    /// Whether the aggregate falls (`min`) rather than grows.
    pub falls: bool,
}

impl Having {
    /// Whether it holds, given the value of each aggregate.
    pub fn holds(&self, value: &impl Fn(usize) -> Option<Scalar>) -> bool {
        match self {
            Having::All(terms) => terms.iter().all(|t| t.holds(value)),
            Having::Any(terms) => terms.iter().any(|t| t.holds(value)),
            Having::Term(term) => value(term.aggregate).is_some_and(|v| term.holds(&v)),
        }
    }

    /// The first term, which paces the samples of evidence.
    pub fn first(&self) -> Option<&Term> {
        match self {
            Having::All(terms) | Having::Any(terms) => terms.iter().find_map(Having::first),
            Having::Term(term) => Some(term),
        }
    }

    /// Greatest literal a count of distinct values is compared with.
    pub fn bound_max(&self, aggregate: usize) -> Option<f64> {
        match self {
            Having::All(terms) | Having::Any(terms) => terms
                .iter()
                .filter_map(|t| t.bound_max(aggregate))
                .reduce(f64::max),
            Having::Term(term) if term.aggregate == aggregate => term.bound.as_f64(),
            Having::Term(_) => None,
        }
    }
}

impl Scalar {
    /// As a float, unless it is text.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Scalar::Int(v) => Some(*v as f64),
            Scalar::Float(v) => Some(*v),
            Scalar::Text(_) => None,
        }
    }
}

impl Term {
    fn holds(&self, value: &Scalar) -> bool {
        let (low, high) = if self.falls {
            (value, &self.bound)
        } else {
            (&self.bound, value)
        };
        let order = match (low, high) {
            (Scalar::Int(low), Scalar::Int(high)) => Some(low.cmp(high)),
            (Scalar::Text(low), Scalar::Text(high)) => Some(low.cmp(high)),
            (low, high) => low
                .as_f64()
                .zip(high.as_f64())
                .map(|(low, high)| low.total_cmp(&high)),
        };
        order.is_some_and(|o| o.is_lt() || (self.inclusive && o.is_eq()))
    }

    /// The value that is enough: the next whole number where the bound itself is not.
    pub fn enough(&self) -> Option<f64> {
        match self.bound {
            Scalar::Int(bound) if !self.inclusive => Some(bound.saturating_add(1) as f64),
            _ => self.bound.as_f64(),
        }
    }

    /// Share of the way to the bound, for counts and sums that start at zero.
    pub fn progress(&self, value: &Scalar) -> f64 {
        match (value.as_f64(), self.bound.as_f64()) {
            (Some(value), Some(bound)) if !self.falls && 0.0 < bound => value / bound,
            _ => 1.0,
        }
    }
}

impl Aggregate {
    /// The value of a cell to compare with a threshold.
    pub(super) fn number(&self, cell: &Cell) -> Option<Scalar> {
        cell.number(self.kind)
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

    #[test]
    fn what_was_merged_is_taken_back_or_left_alone() {
        let of = |kind, values: &[i128]| {
            let mut cell = Cell::EMPTY;
            values
                .iter()
                .for_each(|v| cell.fold(kind, &Scalar::Int(*v)));
            cell
        };
        for (kind, exact) in [
            (Kind::Count, true),
            (Kind::Sum, true),
            (Kind::Max, false),
            (Kind::Min, true),
        ] {
            let (gone, kept) = (of(kind, &[7, 9]), of(kind, &[3, 4]));
            let mut running = gone.clone();
            running.merge(kind, &kept);
            assert_eq!(running.unmerge(kind, &gone), exact, "{kind:?}");
            if exact {
                assert_eq!(running, kept, "{kind:?}");
            }
        }
    }
}
