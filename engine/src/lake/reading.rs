//! The lake read back as its lanes wrote it: chunk by chunk, rows in the order in which they were processed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef, TimestampMillisecondType};
use object_store::path::Path as Key;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{EVENTS, Lake, LakeError, rows};
use crate::lane::EventTime;

/// Rows handed over at once, at least those of one record.
const ROWS_TOGETHER: usize = 8192;

/// The files of one chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The lane.
    pub lane: String,
    /// Bytes of its files.
    pub n_bytes: u64,
    keys: Vec<Key>,
}

/// The chunks of a lake: those of each lane in the order of its log, lanes side by side in the order of their hours.
#[derive(Debug, Default)]
pub struct Chunks {
    lanes: BTreeMap<String, VecDeque<(String, Chunk)>>,
}

/// Lane, and offsets, of a file's name.
fn named(name: &str) -> Option<(&str, i64, i64)> {
    let (rest, end) = name.strip_suffix(".parquet")?.rsplit_once('-')?;
    let (lane, first) = rest.rsplit_once('-')?;
    Some((lane, first.parse().ok()?, end.parse().ok()?))
}

impl Chunks {
    /// Looks what there is.
    ///
    /// # Errors
    /// The store fails, or there is a file that is none of ours: its rows could not be told from those of others.
    pub fn of(lake: &Lake) -> Result<Chunks, LakeError> {
        // By lane and offset; with the first hour.
        let mut chunks = BTreeMap::<(String, i64, i64), (String, Chunk)>::new();
        for object in lake.list(EVENTS)? {
            let key = object.location;
            let Some(name) = key.filename().filter(|name| name.ends_with(".parquet")) else {
                continue;
            };
            let foreign = || LakeError::Foreign {
                key: key.to_string(),
                reason: "its name is not <lane>-<first offset>-<end offset>.parquet".to_owned(),
            };
            let (lane, first, end) = named(name).ok_or_else(foreign)?;
            let hour = key.as_ref().to_owned();
            let at = (lane.to_owned(), first, end);
            let (earliest, chunk) = chunks.entry(at).or_insert_with(|| {
                let chunk = Chunk {
                    lane: lane.to_owned(),
                    ..Chunk::default()
                };
                (hour.clone(), chunk)
            });
            if hour < *earliest {
                *earliest = hour;
            }
            chunk.n_bytes += object.size;
            chunk.keys.push(key);
        }
        let mut lanes = BTreeMap::<String, VecDeque<_>>::new();
        for ((lane, _, _), chunk) in chunks {
            lanes.entry(lane).or_default().push_back(chunk);
        }
        Ok(Chunks { lanes })
    }

    /// Bytes of all files.
    pub fn n_bytes(&self) -> u64 {
        let all = self.lanes.values().flatten();
        all.map(|(_, chunk)| chunk.n_bytes).sum()
    }
}

impl Iterator for Chunks {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let earliest = self
            .lanes
            .values_mut()
            .filter(|chunks| !chunks.is_empty())
            .min_by(|a, b| a.front().map(|at| &at.0).cmp(&b.front().map(|at| &at.0)));
        earliest?.pop_front().map(|(_, chunk)| chunk)
    }
}

/// The columns of these names, and those of a row's place.
pub fn columns<'a>(names: impl IntoIterator<Item = &'a str>) -> SchemaRef {
    let names: Vec<&str> = names.into_iter().chain(rows::PLACE).collect();
    let all = rows::schema();
    let fields = all.fields().iter();
    let wanted = fields.filter(|field| names.contains(&field.name().as_str()));
    Arc::new(Schema::new(wanted.cloned().collect::<Vec<_>>()))
}

/// Reads a chunk, in the order of its lane; a column that a file has not is NULL.
///
/// # Errors
/// The store fails, or a file is damaged.
pub fn read(lake: &Lake, chunk: &Chunk, columns: &SchemaRef) -> Result<RecordBatch, LakeError> {
    let mut batches = Vec::new();
    for key in &chunk.keys {
        let foreign = |reason: String| LakeError::Foreign {
            key: key.to_string(),
            reason,
        };
        let parquet = |error: parquet::errors::ParquetError| foreign(error.to_string());
        let bytes = lake.read(key)?;
        let file = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(parquet)?;
        let names = columns.fields().iter().map(|field| field.name().as_str());
        let mask = ProjectionMask::columns(file.parquet_schema(), names);
        let file = file
            .with_projection(mask)
            .with_batch_size(rows::ROW_GROUP_MAX)
            .build()
            .map_err(parquet)?;
        for batch in file {
            let batch = batch.and_then(|batch| fitted(&batch, columns));
            batches.push(batch.map_err(|error| foreign(error.to_string()))?);
        }
    }
    in_order(columns, &batches).map_err(|error| LakeError::Foreign {
        key: chunk.lane.clone(),
        reason: error.to_string(),
    })
}

fn fitted(
    batch: &RecordBatch,
    columns: &SchemaRef,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let column = |field: &Arc<arrow::datatypes::Field>| match batch.column_by_name(field.name()) {
        Some(column) => arrow::compute::cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    let of = columns.fields().iter().map(column);
    RecordBatch::try_new(columns.clone(), of.collect::<Result<Vec<ArrayRef>, _>>()?)
}

fn in_order(
    columns: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let rows = concat_batches(columns, batches)?;
    let by = ["lane_offset", "lane_row"].iter();
    let by: Vec<SortColumn> = by
        .filter_map(|name| rows.column_by_name(name))
        .map(|values| SortColumn {
            values: values.clone(),
            options: None,
        })
        .collect();
    let order = lexsort_to_indices(&by, None)?;
    take_record_batch(&rows, &order)
}

/// A chunk's rows with the event time of each, as their lane's rules were handed them: a record at once, or several where
/// that is the same.
pub fn runs(rows: &RecordBatch) -> Vec<(EventTime, RecordBatch)> {
    let column = |name: &str| rows.column_by_name(name);
    let time = |name: &str, at: usize, absent: i64| {
        let times = column(name).and_then(|c| c.as_primitive_opt::<TimestampMillisecondType>());
        times
            .filter(|times| times.is_valid(at))
            .map_or(absent, |times| times.value(at))
    };
    let offsets = column("lane_offset").and_then(|c| c.as_primitive_opt::<Int64Type>());
    let offset = |at: usize| offsets.map_or(0, |offsets| offsets.value(at));
    let times = rows::times(rows);
    let mut runs: Vec<(EventTime, RecordBatch)> = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut run: Option<(EventTime, i64)> = None;
    while at < rows.num_rows() {
        let this = offset(at);
        let n = (at..rows.num_rows())
            .take_while(|row| offset(*row) == this)
            .count();
        let of = EventTime {
            input_ms: time("input_reached", at, i64::MIN),
            others_ms: time("others_reached", at, i64::MAX),
        };
        let highest = times[at..at + n].iter().copied().max().unwrap_or(i64::MIN);
        run = match run {
            // The input went on exactly as the rows before say: one clock for both.
            Some((time, reached_ms))
                if of.input_ms == reached_ms
                    && of.others_ms == time.others_ms
                    && at - start < ROWS_TOGETHER =>
            {
                Some((time, reached_ms.max(highest)))
            }
            before => {
                if let Some((time, _)) = before {
                    runs.push((time, rows.slice(start, at - start)));
                }
                start = at;
                Some((of, of.input_ms.max(highest)))
            }
        };
        at += n;
    }
    if let Some((time, _)) = run {
        runs.push((time, rows.slice(start, at - start)));
    }
    runs
}
