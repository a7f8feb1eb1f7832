//! What a rule says: the finding, and the rows it shows for it.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::scalar::ScalarValue;
use serde::{Deserialize, Serialize};

use super::Rule;

/// Bytes of one text of a sample row; longer ones are cut. Paths and user agents are under the caller's control.
const TEXT_MAX: usize = 1024;

/// A rule held: on one row, or in one window of one group.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Row of the batch pushed that made it hold; `usize::MAX` for a window that closed.
    pub row: usize,
    /// Row of the batch pushed at which it was made: that row, or the one whose clock closed the window. Findings come in
    /// this order.
    pub order: usize,
    /// Event time of that row, or the end of the window.
    pub time_ms: i64,
    /// Start and end of the window, half-open.
    pub window: Option<(i64, i64)>,
    /// True when the group was across all along and has grown tenfold since it was last told.
    pub grown: bool,
    /// Output columns.
    pub values: Vec<(String, ScalarValue)>,
    /// Sample rows in log order; the last one is the row that made it hold, or the last of the window.
    pub evidence: Vec<Evidence>,
}

impl Finding {
    /// The value of an output column.
    pub fn value(&self, column: &str) -> Option<&ScalarValue> {
        self.values
            .iter()
            .find(|(name, _)| name == column)
            .map(|(_, value)| value)
    }
}

/// One sample row: where it stands in its source, and what an analyst looks at first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Event time.
    pub time_ms: i64,
    /// Source topic.
    pub topic: String,
    /// Source partition.
    pub partition: i32,
    /// Source offset.
    pub offset: i64,
    /// Row within the source record.
    pub row: i32,
    /// HTTP method.
    pub method: String,
    /// Path as called.
    pub path: String,
    /// Method, host and endpoint template.
    pub endpoint: String,
    /// Status of the answer.
    pub status: Option<i32>,
    /// Address of the caller.
    pub client_ip: Option<String>,
    /// Country of that address.
    pub country: Option<String>,
    /// Number of its network.
    pub asn: Option<u32>,
    /// User agent.
    pub user_agent: Option<String>,
    /// Who called.
    pub identity: String,
}

impl Evidence {
    /// Bytes one sample takes at most: six texts of a caller's choosing, and a country.
    pub const BYTES_MAX: usize = size_of::<Evidence>() + 6 * TEXT_MAX + 2;
    /// Bytes one sample takes, about.
    pub(super) const BYTES: usize = size_of::<Evidence>() + 256;
}

/// Reads the sample of one row by column names; a column the table has not is empty.
pub fn evidence_at(batch: &RecordBatch, row: usize) -> Evidence {
    Evidence {
        time_ms: number(batch, "event_time", row).unwrap_or_default(),
        topic: text(batch, "source_topic", row).unwrap_or_default(),
        partition: small(batch, "source_partition", row).unwrap_or_default(),
        offset: number(batch, "source_offset", row).unwrap_or_default(),
        row: small(batch, "source_row", row).unwrap_or_default(),
        method: text(batch, "method", row).unwrap_or_default(),
        path: text(batch, "path", row).unwrap_or_default(),
        endpoint: text(batch, "endpoint", row).unwrap_or_default(),
        status: small(batch, "status", row),
        client_ip: text(batch, "client_ip", row),
        country: text(batch, "country", row),
        asn: number(batch, "asn", row).and_then(|asn| u32::try_from(asn).ok()),
        user_agent: text(batch, "user_agent", row),
        identity: text(batch, "identity", row).unwrap_or_default(),
    }
}

fn number(batch: &RecordBatch, column: &str, row: usize) -> Option<i64> {
    let one = batch.column_by_name(column)?.slice(row, 1);
    let one = cast(&one, &DataType::Int64).ok()?;
    one.is_valid(0)
        .then(|| one.as_primitive::<Int64Type>().value(0))
}

fn small(batch: &RecordBatch, column: &str, row: usize) -> Option<i32> {
    number(batch, column, row).and_then(|v| i32::try_from(v).ok())
}

fn text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let array = batch.column_by_name(column)?;
    let whole = match array.data_type() {
        DataType::Utf8 => array
            .is_valid(row)
            .then(|| array.as_string::<i32>().value(row).to_owned())?,
        _ => {
            let one = cast(&array.slice(row, 1), &DataType::Utf8).ok()?;
            one.is_valid(0)
                .then(|| one.as_string::<i32>().value(0).to_owned())?
        }
    };
    Some(cut(whole))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}
