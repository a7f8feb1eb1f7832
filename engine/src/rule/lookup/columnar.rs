//! A Parquet file as the CSV text of the same table.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{BYTES_MAX, COLUMNS_MAX, ROWS_MAX, type_name};

/// Rows read at once.
const BATCH_ROWS: usize = 1024;

/// # Errors
/// It is no Parquet, too large, or has a column of a type lookup tables have not.
pub(super) fn as_csv(bytes: Vec<u8>) -> Result<String, String> {
    let refused = |e: parquet::errors::ParquetError| format!("is no Parquet that can be read: {e}");
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).map_err(refused)?;
    let groups = reader.metadata().row_groups().iter();
    let unpacked: i64 = groups.map(|group| group.total_byte_size().max(0)).sum();
    let n_rows = reader.metadata().file_metadata().num_rows();
    if ROWS_MAX as i64 <= n_rows.saturating_sub(1) {
        return Err(format!("{n_rows} rows, at most {ROWS_MAX} are possible"));
    }
    if BYTES_MAX as i64 <= unpacked {
        return Err(format!(
            "{unpacked} bytes once unpacked, at most {BYTES_MAX} are possible"
        ));
    }
    let schema = reader.schema().clone();
    if COLUMNS_MAX < schema.fields().len() {
        let n = schema.fields().len();
        return Err(format!("{n} columns, at most {COLUMNS_MAX} are possible"));
    }
    let mut types = Vec::new();
    for field in schema.fields() {
        let of = plain_type(field.data_type()).ok_or_else(|| {
            let (name, of) = (field.name(), field.data_type());
            format!("column `{name}` is a {of}: lookup tables have texts, numbers, flags and times")
        })?;
        types.push(of);
    }
    let columns = schema.fields().iter().zip(&types);
    let header: Vec<String> = columns
        .map(|(field, of)| quoted(&format!("{}:{}", field.name(), type_name(of))))
        .collect();
    let mut text = header.join(",");
    text.push('\n');
    for batch in reader
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(refused)?
    {
        let batch = batch.map_err(|e| format!("is no Parquet that can be read: {e}"))?;
        push_rows(&batch, &types, &mut text)?;
        if BYTES_MAX < text.len() {
            return Err(format!("more than {BYTES_MAX} bytes as CSV"));
        }
    }
    Ok(text)
}

/// The type of a lookup table's column a type becomes.
fn plain_type(of: &DataType) -> Option<DataType> {
    Some(match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, of) => return plain_type(of),
        DataType::Boolean => DataType::Boolean,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
        }
        of if of.is_integer() => DataType::Int64,
        of if of.is_floating() || matches!(of, DataType::Decimal128(..)) => DataType::Float64,
        _ => return None,
    })
}

fn push_rows(batch: &RecordBatch, types: &[DataType], text: &mut String) -> Result<(), String> {
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let shown = FormatOptions::default();
    let columns = batch.columns().iter().zip(types);
    let columns = columns.map(|(array, of)| cast_with_options(array, of, &exact));
    let columns = columns
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    let formatters = columns
        .iter()
        .map(|array| ArrayFormatter::try_new(array, &shown));
    let formatters = formatters
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| e.to_string())?;
    for row in 0..batch.num_rows() {
        for (at, array) in columns.iter().enumerate() {
            if 0 < at {
                text.push(',');
            }
            match array.as_string_opt::<i32>() {
                _ if array.is_null(row) => (),
                Some(texts) => text.push_str(&quoted(texts.value(row))),
                None => text.push_str(&formatters[at].value(row).to_string()),
            }
        }
        text.push('\n');
    }
    Ok(())
}

/// A text as a field: in quotes where it would be taken for something else.
fn quoted(text: &str) -> String {
    match text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
