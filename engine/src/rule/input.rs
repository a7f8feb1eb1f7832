//! What aggregates read of a batch: their arguments, filters and orders, in one of few layouts. Must not know: what is computed of them.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_64;

use super::aggregate::{Kind, Scalar};

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
        match kind {
            Kind::Distinct => distinct_keys(array).map(Values::Keys),
            _ => Values::plain(array),
        }
    }

    /// Values that are folded, or rows are ordered by.
    pub(super) fn plain(array: &ArrayRef) -> Result<Values, ArrowError> {
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
    /// What rows are ordered by inside the aggregate.
    pub(super) by: Option<Values>,
}

impl Input {
    /// The value to fold for a row: nothing when it is null or filtered out.
    pub(super) fn get(&self, row: usize) -> Option<Scalar> {
        self.keeps(row).then(|| self.values.get(row))?
    }

    pub(super) fn keeps(&self, row: usize) -> bool {
        let filter = self.filter.as_ref();
        filter.is_none_or(|f| f.is_valid(row) && f.value(row))
    }
}

/// The layout arguments of that type are folded in.
pub(super) fn layout(of: &DataType) -> DataType {
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
