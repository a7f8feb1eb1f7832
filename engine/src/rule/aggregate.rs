//! The aggregates of windows.
//!
//! A [`Cell`] is one aggregate of one group over some panes: cells of panes are merged, and taken back from a running window where
//! that is exact; where it is not (floats, spreads, quantiles, lists) the panes that stay are merged anew, so nothing drifts.
//! Pure state: must not know windows' ends or lateness.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;
use serde::{Deserialize, Serialize};

use super::input::{Input, layout};
use super::picked::{List, Order, Picked, Place};
use super::quantile::{BUCKETS_MAX, Sketch};
use crate::schema::column::TEXT_BYTES_MAX;

/// What an aggregate computes.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// Mean square of the distances from the mean, and its root.
    Spread {
        /// Over one less than there are values, as of a sample.
        is_sample: bool,
        /// The root of it.
        is_root: bool,
    },
    /// The value below which that share of the values is, in `[0, 1]`.
    Quantile(f64),
    /// The value of the first row, or of the last.
    Picked {
        /// Of the rows.
        order: Order,
        /// The last.
        is_last: bool,
        /// Without rows whose value is null.
        skips_nulls: bool,
    },
    /// The first values.
    List {
        /// Of the rows.
        order: Order,
        /// Equal values once.
        is_distinct: bool,
        /// Without nulls.
        skips_nulls: bool,
    },
}

impl Kind {
    /// Whether a cell of it may be compared with a threshold before its window closes.
    pub(super) fn has_threshold(self) -> bool {
        matches!(self, Kind::Count | Kind::Sum | Kind::Min | Kind::Max)
    }
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
    /// `ORDER BY` inside the aggregate.
    pub by: Option<Arc<dyn PhysicalExpr>>,
    /// What stands between the values of a list that is one text.
    pub between: Option<Box<str>>,
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

/// One aggregate of one group over a run of panes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Rows folded.
    n: i64,
    held: Held,
}

/// What a cell holds besides a count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Held {
    /// Nothing yet.
    Nothing,
    /// Sum or extreme.
    Value(Scalar),
    /// Mean, and the sum of the squares of the distances from it.
    Spread(f64, f64),
    // Boxed, so that the cells of counts and sums stay small.
    Sketch(Box<Sketch>),
    Picked(Box<Picked>),
    List(Box<List>),
}

/// What became of a cell when a row was folded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Folded {
    /// Bytes it holds of its own, before and after.
    pub(super) before: usize,
    pub(super) after: usize,
    /// True when a value was left out, or values were told apart less well from then on.
    pub(super) is_capped: bool,
}

impl Cell {
    /// Before any row.
    pub const EMPTY: Cell = Cell {
        n: 0,
        held: Held::Nothing,
    };

    /// Folds a row of a batch; `number`: of the row among all of the rule.
    pub(super) fn fold_row(
        &mut self,
        kind: Kind,
        input: &Input,
        row: usize,
        number: u64,
    ) -> Folded {
        let before = self.bytes();
        let mut is_capped = false;
        match kind {
            Kind::Picked { skips_nulls, .. } | Kind::List { skips_nulls, .. } => {
                let value = input.get(row);
                if (value.is_some() || !skips_nulls) && input.keeps(row) {
                    let by = input.by.as_ref().and_then(|by| by.get(row));
                    self.n += 1;
                    is_capped = self.pick(kind, Picked::new(Place { by, row: number }, value));
                }
            }
            _ => {
                if let Some(value) = input.get(row) {
                    is_capped = self.fold(kind, &value);
                }
            }
        }
        Folded {
            before,
            after: self.bytes(),
            is_capped,
        }
    }

    /// Folds one value. Says true when values are told apart less well from now on.
    pub fn fold(&mut self, kind: Kind, value: &Scalar) -> bool {
        self.n += 1;
        match (kind, &mut self.held) {
            (Kind::Count, _) => {}
            (Kind::Spread { .. }, held) => {
                let (value, n) = (value.as_f64().unwrap_or(f64::NAN), self.n as f64);
                let (mean, squares) = match held {
                    Held::Spread(mean, squares) => (*mean, *squares),
                    _ => (0.0, 0.0),
                };
                let next = mean + (value - mean) / n;
                *held = Held::Spread(next, squares + (value - mean) * (value - next));
            }
            (Kind::Quantile(_), held) => {
                if !matches!(held, Held::Sketch(_)) {
                    *held = Held::Sketch(Box::default());
                }
                if let Held::Sketch(sketch) = held {
                    return sketch.add(value.as_f64().unwrap_or(f64::NAN));
                }
            }
            _ => self.take(kind, value),
        }
        false
    }

    /// Folds what another cell has folded.
    pub fn merge(&mut self, kind: Kind, other: &Cell) {
        match (&mut self.held, &other.held) {
            (_, Held::Nothing) => {}
            (_, Held::Value(value)) => self.take(kind, value),
            (held @ Held::Nothing, theirs) => *held = theirs.clone(),
            (Held::Spread(mean, squares), Held::Spread(their_mean, their_squares)) => {
                // T. Chan, G. Golub, R. LeVeque, *Updating formulae and a pairwise algorithm*, 1979.
                let (n, more) = (self.n as f64, other.n as f64);
                let apart = their_mean - *mean;
                *mean += apart * more / (n + more);
                *squares += their_squares + apart * apart * n * more / (n + more);
            }
            (Held::Sketch(sketch), Held::Sketch(theirs)) => sketch.merge(theirs),
            (Held::Picked(_), Held::Picked(theirs)) => {
                self.pick(kind, (**theirs).clone());
            }
            (Held::List(_), Held::List(theirs)) => {
                for entry in theirs.entries() {
                    self.pick(kind, entry.clone());
                }
            }
            _ => debug_assert!(false, "cells of one aggregate hold the same"),
        }
        self.n += other.n;
    }

    /// Takes back what another cell has folded, if that is exact; otherwise the cell is left as it was.
    pub fn unmerge(&mut self, kind: Kind, other: &Cell) -> bool {
        match (kind, &mut self.held, &other.held) {
            (_, _, Held::Nothing) => {}
            (
                Kind::Sum | Kind::Avg,
                Held::Value(Scalar::Int(sum)),
                Held::Value(Scalar::Int(gone)),
            ) => *sum -= gone,
            // Floats would keep what rounding left, and the extreme may be the one that goes.
            (Kind::Min | Kind::Max, Held::Value(kept), Held::Value(gone)) if kept != gone => {}
            _ => return false,
        }
        self.n -= other.n;
        if self.n == 0 {
            self.held = Held::Nothing;
        }
        true
    }

    /// Bytes it holds of its own.
    pub(super) fn bytes(&self) -> usize {
        match &self.held {
            Held::Nothing | Held::Spread(..) => 0,
            Held::Value(Scalar::Text(text)) => text.len(),
            Held::Value(_) => 0,
            Held::Sketch(sketch) => size_of::<Sketch>() + sketch.bytes(),
            Held::Picked(picked) => picked.bytes(),
            Held::List(list) => size_of::<List>() + list.bytes(),
        }
    }

    fn take(&mut self, kind: Kind, value: &Scalar) {
        let Held::Value(kept) = &mut self.held else {
            self.held = Held::Value(value.clone());
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

    /// Takes in a row that may be told as it is. Says true when one was left out.
    fn pick(&mut self, kind: Kind, row: Picked) -> bool {
        match (kind, &mut self.held) {
            (Kind::Picked { order, is_last, .. }, Held::Picked(kept)) => {
                kept.take(order, is_last, row);
            }
            (Kind::Picked { .. }, held) => *held = Held::Picked(Box::new(row)),
            (
                Kind::List {
                    order, is_distinct, ..
                },
                Held::List(list),
            ) => {
                return list.take(order, is_distinct, row);
            }
            (
                Kind::List {
                    order, is_distinct, ..
                },
                held,
            ) => {
                let mut list = Box::<List>::default();
                list.take(order, is_distinct, row);
                *held = Held::List(list);
            }
            _ => {}
        }
        false
    }

    /// The value to compare with a threshold, nothing before the first row.
    fn number(&self, kind: Kind) -> Option<Scalar> {
        match (kind, &self.held) {
            (Kind::Count, _) => Some(Scalar::Int(i128::from(self.n))),
            (_, Held::Value(value)) => Some(value.clone()),
            _ => None,
        }
    }

    /// The value as a float where it is one that is made of what the cell holds.
    fn made(&self, kind: Kind) -> Option<f64> {
        match (kind, &self.held) {
            (Kind::Avg, Held::Value(Scalar::Float(sum))) => Some(sum / self.n as f64),
            (Kind::Avg, Held::Value(Scalar::Int(sum))) => Some(*sum as f64 / self.n as f64),
            (Kind::Spread { is_sample, is_root }, Held::Spread(_, squares)) => {
                let n = self.n - i64::from(is_sample);
                let square = (0 < n).then(|| squares / n as f64)?;
                Some(if is_root { square.sqrt() } else { square })
            }
            (Kind::Quantile(share), Held::Sketch(sketch)) => sketch.quantile(share),
            _ => None,
        }
    }
}

/// The value of a column of that type; none is null.
pub(super) fn column_value(
    value: Option<&Scalar>,
    output: &DataType,
) -> Result<ScalarValue, datafusion::common::DataFusionError> {
    let value = match value {
        None => return ScalarValue::try_from(output),
        Some(Scalar::Float(value)) => ScalarValue::Float64(Some(*value)),
        Some(Scalar::Text(value)) => ScalarValue::Utf8(Some(value.to_string())),
        Some(Scalar::Int(value)) if output.is_unsigned_integer() => {
            ScalarValue::UInt64(Some(u64::try_from(*value).unwrap_or(u64::MAX)))
        }
        Some(Scalar::Int(value)) => ScalarValue::Int64(Some(
            (*value).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64,
        )),
    };
    value.cast_to(output)
}

/// Order within one type; floats in IEEE total order, as SQL's `min` and `max` have it here.
pub(super) fn compared(a: &Scalar, b: &Scalar) -> Ordering {
    match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
        (Scalar::Float(a), Scalar::Float(b)) => a.total_cmp(b),
        (Scalar::Text(a), Scalar::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

fn precedes(a: &Scalar, b: &Scalar) -> bool {
    compared(a, b).is_lt()
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

impl Aggregate {
    /// Bytes it may keep in each pane besides a number, of columns as they are.
    pub fn bytes_max(&self) -> usize {
        let is_text = layout(&self.output) == DataType::Utf8;
        let text_bytes = if is_text { TEXT_BYTES_MAX } else { 0 };
        match self.kind {
            Kind::Quantile(_) => BUCKETS_MAX * size_of::<(i32, u32)>(),
            Kind::List { .. } => List::BYTES_MAX,
            Kind::Picked { .. } => size_of::<Picked>() + text_bytes,
            Kind::Min | Kind::Max => text_bytes,
            _ => 0,
        }
    }

    /// The value of a cell to compare with a threshold.
    pub(super) fn number(&self, cell: &Cell) -> Option<Scalar> {
        cell.number(self.kind)
    }

    /// The value of the output column.
    ///
    /// # Errors
    /// A value that does not fit the type.
    pub(super) fn output(
        &self,
        cell: &Cell,
    ) -> Result<ScalarValue, datafusion::common::DataFusionError> {
        match (self.kind, &cell.held, &self.output) {
            (Kind::Count, ..) => ScalarValue::Int64(Some(cell.n)).cast_to(&self.output),
            (Kind::Avg | Kind::Spread { .. } | Kind::Quantile(_), ..) => {
                ScalarValue::Float64(cell.made(self.kind)).cast_to(&self.output)
            }
            (Kind::Picked { .. }, Held::Picked(picked), of) => column_value(picked.value(), of),
            (Kind::List { .. }, Held::List(list), DataType::List(item)) => {
                let values = list.values().map(|v| column_value(v, item.data_type()));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                let array = ScalarValue::new_list(&values, item.data_type(), item.is_nullable());
                Ok(ScalarValue::List(array))
            }
            (Kind::List { .. }, Held::List(list), of) => {
                let texts = list.values().filter_map(|value| match value {
                    Some(Scalar::Text(text)) => Some(text.as_ref()),
                    _ => None,
                });
                let texts: Vec<&str> = texts.collect();
                let between = self.between.as_deref().unwrap_or_default();
                ScalarValue::from(texts.join(between)).cast_to(of)
            }
            (_, Held::Value(value), of) => column_value(Some(value), of),
            (.., of) => ScalarValue::try_from(of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_larger_than_a_count_and_a_value() {
        assert!(size_of::<Cell>() <= 16 + size_of::<Scalar>());
    }

    #[test]
    fn what_was_merged_is_taken_back_or_left_alone() {
        let of = |kind, values: &[i128]| {
            let mut cell = Cell::EMPTY;
            for value in values {
                cell.fold(kind, &Scalar::Int(*value));
            }
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
