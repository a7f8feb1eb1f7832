//! What a record-batch message says of its own lengths, checked before Arrow's reader believes it.
//!
//! That reader checks what the values are (offsets, UTF-8, nulls), but it panics where a length reaches beyond the message, and
//! makes room for what a compressed buffer says it holds. This program writes neither.

use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::{Buffer, FieldNode, RecordBatch};

/// Where a buffer may begin: Arrow's format asks for it, and no value of a table is wider.
const BUFFER_ALIGNMENT: i64 = 8;

/// Checks a message's lengths against its body and the table's columns.
///
/// # Errors
/// What does not fit.
pub(super) fn check(
    batch: &RecordBatch<'_>,
    schema: &Schema,
    n_bytes: usize,
) -> Result<(), &'static str> {
    if batch.compression().is_some() {
        return Err("its buffers are compressed");
    }
    if batch
        .variadicBufferCounts()
        .is_some_and(|counts| !counts.is_empty())
    {
        return Err("it has views");
    }
    let mut columns = Columns {
        nodes: batch.nodes().into_iter().flatten(),
        buffers: batch.buffers().into_iter().flatten(),
        n_bytes: i64::try_from(n_bytes).map_err(|_| "it is too long")?,
    };
    for field in schema.fields() {
        let n_rows = columns.column(field)?;
        if n_rows != batch.length() {
            return Err("its columns are not of one length");
        }
    }
    if columns.nodes.next().is_some() || columns.buffers.next().is_some() {
        return Err("it has more columns than the table");
    }
    Ok(())
}

/// The columns of a message that are not looked at yet.
struct Columns<N, B> {
    nodes: N,
    buffers: B,
    n_bytes: i64,
}

impl<'a, N: Iterator<Item = &'a FieldNode>, B: Iterator<Item = &'a Buffer>> Columns<N, B> {
    /// Checks the next column, and those within it; its number of values comes back.
    fn column(&mut self, field: &Field) -> Result<i64, &'static str> {
        let node = self
            .nodes
            .next()
            .ok_or("it has fewer columns than the table")?;
        let (n, n_nulls) = (node.length(), node.null_count());
        // A value takes a bit at least, and a column of none nothing.
        if !(0..=self.n_bytes.saturating_mul(8)).contains(&n) || !(0..=n).contains(&n_nulls) {
            return Err("a column has an impossible length");
        }
        let n_null_bytes = self.buffer()?;
        if n_nulls > 0 && n_null_bytes < n.div_euclid(8) + i64::from(n % 8 > 0) {
            return Err("a column has fewer null bits than values");
        }
        match field.data_type() {
            DataType::Struct(fields) => {
                for field in fields {
                    if self.column(field)? != n {
                        return Err("a struct's columns are not of one length");
                    }
                }
            }
            DataType::List(item) => {
                self.offsets()?;
                self.column(item)?;
            }
            DataType::Utf8 | DataType::Binary => {
                self.offsets()?;
                self.buffer()?;
            }
            _ => {
                self.buffer()?;
            }
        }
        Ok(n)
    }

    /// Checks the next buffer, which holds whole offsets.
    fn offsets(&mut self) -> Result<(), &'static str> {
        if self.buffer()? % size_of::<i32>() as i64 == 0 {
            Ok(())
        } else {
            Err("an offset is cut")
        }
    }

    /// Checks the next buffer; its length comes back.
    fn buffer(&mut self) -> Result<i64, &'static str> {
        let buffer = self
            .buffers
            .next()
            .ok_or("it has fewer buffers than the table")?;
        let (offset, length) = (buffer.offset(), buffer.length());
        let is_within = 0 <= offset
            && offset % BUFFER_ALIGNMENT == 0
            && 0 <= length
            && offset
                .checked_add(length)
                .is_some_and(|end| end <= self.n_bytes);
        if is_within {
            Ok(length)
        } else {
            Err("a buffer is not within the record, or not aligned")
        }
    }
}
