//! Rows as they are shown: chosen columns of a batch, and of many rows the first, the most surprising and the last.

use std::collections::VecDeque;

use arrow::array::{Array, RecordBatch};
use arrow::temporal_conversions::timestamp_ms_to_datetime;
use datafusion::scalar::ScalarValue;
use serde_json::{Map, Value, json};

use crate::alert::{clean, json_of, position};
use crate::rule::evidence_at;

/// Columns of `touches` that are shown.
pub(super) const TOUCHES: [&str; 22] = [
    "event_time",
    "method",
    "endpoint",
    "path",
    "status",
    "collection",
    "object",
    "object_number",
    "write",
    "category",
    "object_owner",
    "n_known",
    "surprise_nats",
    "evidence",
    "evidence_identity",
    "p_own",
    "p_peer",
    "maturity",
    "run_objects",
    "run_in_order",
    "run_usual",
    "run_limit",
];

/// Columns of `events` that are shown.
pub(super) const EVENTS: [&str; 10] = [
    "event_time",
    "method",
    "endpoint",
    "path",
    "status",
    "objects_seen",
    "probe_class",
    "probe_classes",
    "probe_count",
    "probe_evidence",
];

/// Columns of `alerts` that are shown.
pub(super) const ALERTS: [&str; 7] = [
    "event_time",
    "rule",
    "severity",
    "severity_id",
    "uid",
    "endpoint",
    "title",
];

/// One row: chosen columns by name, without control characters, and `position`.
pub(super) type Row = Map<String, Value>;

/// Reads a row of an SQL table.
pub(super) fn row_of(batch: &RecordBatch, row: usize, columns: &[&str]) -> Row {
    let mut shown: Row = columns
        .iter()
        .map(|name| ((*name).to_owned(), value(batch, name, row)))
        .filter(|(_, value)| !value.is_null())
        .collect();
    shown.insert("position".to_owned(), position(&evidence_at(batch, row)));
    shown
}

/// The value of a column in a row; null where the table has no such column.
pub(super) fn value(batch: &RecordBatch, column: &str, row: usize) -> Value {
    let scalar = batch
        .column_by_name(column)
        .filter(|array| array.is_valid(row))
        .and_then(|array| ScalarValue::try_from_array(array, row).ok());
    scalar.map_or(Value::Null, |scalar| json_of(&scalar))
}

/// The number in a column of a row.
pub(super) fn number(batch: &RecordBatch, column: &str, row: usize) -> Option<f64> {
    value(batch, column, row).as_f64()
}

/// The text in a column of a row, without control characters.
pub(super) fn text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    value(batch, column, row).as_str().map(str::to_owned)
}

/// The flag in a column of a row; false where it has none.
pub(super) fn flag(batch: &RecordBatch, column: &str, row: usize) -> bool {
    value(batch, column, row).as_bool().unwrap_or(false)
}

/// Event time as people read it, in UTC.
pub(super) fn time(ms: i64) -> String {
    timestamp_ms_to_datetime(ms).map_or_else(|| ms.to_string(), |time| time.to_string())
}

/// `file:line` or `topic/partition@offset`.
pub(super) fn place(position: &Value) -> String {
    match (&position["file"], &position["line"]) {
        (Value::String(file), line) => format!("{}:{line}", clean(file)),
        _ => format!(
            "{}/{}@{}",
            clean(position["topic"].as_str().unwrap_or("?")),
            position["partition"],
            position["offset"]
        ),
    }
}

/// A number of a row as people read it; `-` where it has none.
pub(super) fn shown(row: &Row, column: &str) -> String {
    match row.get(column) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(n)) if n.is_f64() => plain(n.as_f64().unwrap_or_default()),
        Some(other) => other.to_string(),
    }
}

/// A number with three significant digits.
pub(super) fn plain(n: f64) -> String {
    match n.abs() {
        big if 1e4 <= big => format!("{n:.2e}"),
        small if small < 1e-2 && small != 0.0 => format!("{n:.1e}"),
        _ => format!("{n:.2}"),
    }
}

/// Of many rows the first, the biggest and the last, a third of the limit each.
#[derive(Debug)]
pub(super) struct Few {
    limit: usize,
    n: usize,
    first: Vec<(usize, Row)>,
    biggest: Vec<(f64, usize, Row)>,
    last: VecDeque<(f64, usize, Row)>,
}

impl Few {
    /// Keeps at most `limit` rows, at least one.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            n: 0,
            first: Vec::new(),
            biggest: Vec::new(),
            last: VecDeque::new(),
        }
    }

    /// Notes the next row; `size` says what is big.
    pub(super) fn push(&mut self, size: f64, row: Row) {
        let third = self.limit / 3;
        let at = self.n;
        self.n += 1;
        if self.first.len() < third {
            self.first.push((at, row));
            return;
        }
        self.last.push_back((size, at, row));
        if self.limit - 2 * third < self.last.len()
            && let Some(row) = self.last.pop_front()
        {
            // Whatever is as big came before.
            let place = self.biggest.partition_point(|other| row.0 <= other.0);
            self.biggest.insert(place, row);
            self.biggest.truncate(third);
        }
    }

    /// Rows noted.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// The rows kept, in order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let first = self.first.iter().map(|(at, row)| (*at, row));
        let biggest = self.biggest.iter().map(|(_, at, row)| (*at, row));
        let last = self.last.iter().map(|(_, at, row)| (*at, row));
        let mut rows: Vec<_> = first.chain(biggest).chain(last).collect();
        rows.sort_by_key(|(at, _)| *at);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// Rows shown and left out, for a report.
pub(super) fn as_json(few: &Few) -> Value {
    let rows = few.rows();
    json!({ "n": few.n(), "left_out": few.n() - rows.len(), "rows": rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_rows_the_first_the_biggest_and_the_last_are_kept_in_order() {
        let kept = |n: u64, limit| {
            let mut few = Few::new(limit);
            for i in 0..n {
                let size = if i == 50 { 9.0 } else { 1.0 };
                few.push(size, Row::from_iter([("i".to_owned(), json!(i))]));
            }
            assert_eq!(few.n() as u64, n);
            let rows = few.rows();
            rows.iter()
                .map(|row| row["i"].as_u64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(5, 9), [0, 1, 2, 3, 4], "few enough");
        assert_eq!(kept(100, 3), [0, 50, 99]);
        assert_eq!(kept(100, 1), [99]);
        assert_eq!(kept(1_000, 6), [0, 1, 2, 50, 998, 999]);
    }
}
