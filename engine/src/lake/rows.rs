//! Rows of the lake, and their files.
//!
//! A row is what a rule over `events` saw, and before it where in its lane it stood and how far event time was there: enough to
//! run a rule over it again as the lane would have.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::temporal_conversions::timestamp_ms_to_datetime;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::EVENTS;
use crate::lane::EventTime;
use crate::schema;
use crate::schema::column::time_type;

/// Rows of a row group: what a reader must hold at once, and what a filter on identities can leave out.
pub const ROW_GROUP_MAX: usize = 65_536;
/// False hits of a row group's filter on identities. It is made for all different, and folded to as many as there were.
const FALSE_HITS: f64 = 0.01;
/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;

/// Columns of a row's place in its lane.
pub const PLACE: [&str; 5] = [
    "lane",
    "lane_offset",
    "lane_row",
    "input_reached",
    "others_reached",
];

fn place_fields() -> Vec<Field> {
    let types = [
        DataType::Utf8,
        DataType::Int64,
        DataType::Int32,
        time_type(),
        time_type(),
    ];
    let fields = PLACE.iter().zip(types);
    fields
        .map(|(name, data_type)| Field::new(*name, data_type, true))
        .collect()
}

/// Columns of every file. All may be NULL, so that files of a version that lacked one can be read with the others.
pub fn schema() -> SchemaRef {
    let table = schema::events_table();
    let of_events = table
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(
        place_fields()
            .into_iter()
            .chain(of_events)
            .collect::<Vec<_>>(),
    ))
}

/// The rows of one record as the rules of a lane saw them, with their place.
///
/// # Errors
/// The columns are not those of the table.
pub fn placed(
    schema: &SchemaRef,
    lane: &str,
    offset: i64,
    time: EventTime,
    table: &RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    let n = table.num_rows();
    let reached = |ms: i64| -> ArrayRef {
        let known = ms != i64::MIN && ms != i64::MAX;
        let column: TimestampMillisecondArray =
            std::iter::repeat_n(known.then_some(ms), n).collect();
        Arc::new(column.with_timezone("UTC"))
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(lane, n))),
        Arc::new(Int64Array::from_value(offset, n)),
        Arc::new(Int32Array::from_iter_values(0..n as i32)),
        reached(time.input_ms),
        reached(time.others_ms),
    ];
    columns.extend_from_slice(table.columns());
    RecordBatch::try_new(schema.clone(), columns)
}

/// Bytes of a batch's own values; its buffers may be parts of larger ones.
pub fn n_bytes(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(0))
        .sum()
}

/// The event times of a batch.
pub(super) fn times(batch: &RecordBatch) -> &[i64] {
    let column = batch.column_by_name("event_time");
    let column = column.and_then(|column| column.as_primitive_opt::<TimestampMillisecondType>());
    column.map_or(&[], |column| column.values())
}

/// The hour of an event time, counted from 1970.
pub fn hour(ms: i64) -> i64 {
    ms.div_euclid(HOUR_MS)
}

/// One file of a chunk.
#[derive(Debug)]
pub struct File {
    /// Its path below the lake.
    pub path: String,
    /// Its rows.
    pub n_rows: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Path of the file that holds a chunk's rows of one hour.
///
/// * `first`, `end`: the chunk's offsets, half-open.
fn path(lane: &str, first: i64, end: i64, hour: i64) -> String {
    let at = timestamp_ms_to_datetime(hour * HOUR_MS).unwrap_or_default();
    let folder = at.format("date=%Y-%m-%d/hour=%H");
    format!("{EVENTS}/{folder}/{lane}-{first:020}-{end:020}.parquet")
}

/// The files of a chunk, by hour: the same rows give the same bytes.
///
/// # Errors
/// The columns are not the lake's, which would be a fault of this program.
pub fn files(
    lane: &str,
    first: i64,
    end: i64,
    batches: &[RecordBatch],
) -> Result<Vec<File>, ParquetError> {
    let rows = concat_batches(&schema(), batches)?;
    let hours = Int64Array::from_iter_values(times(&rows).iter().map(|ms| hour(*ms)));
    let order = {
        let named = ["identity", "event_time", "lane_offset", "lane_row"];
        let named = named.iter().filter_map(|name| rows.column_by_name(name));
        let hours: ArrayRef = Arc::new(hours.clone());
        let columns = std::iter::once(hours).chain(named.cloned());
        let columns: Vec<SortColumn> = columns
            .map(|values| SortColumn {
                values,
                options: None,
            })
            .collect();
        lexsort_to_indices(&columns, None)?
    };
    let mut files = Vec::new();
    let of = |at: usize| hours.value(order.value(at) as usize);
    let mut start = 0;
    while start < order.len() {
        let this = of(start);
        let n = (start..order.len())
            .take_while(|at| of(*at) == this)
            .count();
        let part: UInt32Array = order.slice(start, n);
        let part = take_record_batch(&rows, &part)?;
        files.push(File {
            path: path(lane, first, end, this),
            n_rows: n,
            bytes: encode(&part)?,
        });
        start += n;
    }
    Ok(files)
}

fn encode(rows: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let index = |name: &str| rows.schema().index_of(name).map(|at| at as i32);
    let sorted = ["identity", "event_time"].map(|name| {
        index(name).map(|column_idx| SortingColumn {
            column_idx,
            descending: false,
            nulls_first: true,
        })
    });
    let sorted = sorted.into_iter().collect::<Result<Vec<_>, _>>()?;
    let identity = ColumnPath::from("identity");
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("tollwatch ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_MAX))
        .set_sorting_columns(Some(sorted))
        .set_column_bloom_filter_enabled(identity.clone(), true)
        .set_column_bloom_filter_max_ndv(identity.clone(), ROW_GROUP_MAX as u64)
        .set_column_bloom_filter_fpp(identity, FALSE_HITS);
    // Numbers that grow along the rows, or nearly: their differences are small, and no two are the same.
    for name in ["event_time", "source_offset"] {
        let column = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties.build()))?;
    writer.write(rows)?;
    writer.into_inner()
}
