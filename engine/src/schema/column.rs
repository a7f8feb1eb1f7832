//! The kinds of column a table is declared with: the type a row has, and how it is stored.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder,
    Float64Array, Float64Builder, Int32Array, Int32Builder, Int64Array, Int64Builder, StringArray,
    StringBuilder, TimestampMillisecondArray, TimestampMillisecondBuilder, UInt64Array,
    UInt64Builder,
};
use arrow::datatypes::{DataType, TimeUnit};

/// Longest text a column keeps, in bytes; the rest of a longer one is dropped. Callers choose paths, queries and agents, and a
/// row must fit into a record of its log whatever they chose. Objects, probes and secrets are found before this.
pub const TEXT_BYTES_MAX: usize = 16 << 10;

/// Bytes of texts that a builder has room for before any comes, at most.
const ROOM_BYTES_MAX: usize = 1 << 20;

/// A column of texts; its builder has room for as many and as long ones again, as batches are much alike.
fn finish_texts(builder: &mut StringBuilder) -> ArrayRef {
    let n_bytes = builder.values_slice().len().min(ROOM_BYTES_MAX);
    let column = builder.finish();
    *builder = StringBuilder::with_capacity(column.len(), n_bytes);
    Arc::new(column)
}

#[inline(always)]
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// Builds a column that may have no values: nulls are counted, and written when a value follows them. A source lacks most columns,
/// and so do its rows throughout.
#[derive(Debug, Default)]
pub struct Sparse<B> {
    builder: B,
    n_nulls: usize,
}

/// A builder that appends many nulls at once.
pub trait Nulls {
    /// Appends `n` nulls.
    fn append_nulls(&mut self, n: usize);
}

impl Nulls for StringBuilder {
    fn append_nulls(&mut self, n: usize) {
        StringBuilder::append_nulls(self, n);
    }
}

impl<B: Nulls> Sparse<B> {
    /// The builder, all nulls so far in it.
    #[inline(always)]
    fn written(&mut self) -> &mut B {
        if self.n_nulls != 0 {
            self.builder.append_nulls(std::mem::take(&mut self.n_nulls));
        }
        &mut self.builder
    }
}

/// How one kind of column is written and read.
pub trait Kind {
    /// What a row holds.
    type Value<'a>;
    /// What builds the column.
    type Builder: Default;
    /// The column.
    type Column: Array + 'static;
    /// True when a value may be absent.
    const NULLABLE: bool;
    /// Arrow's type.
    fn data_type() -> DataType;
    /// Appends a value.
    fn append(builder: &mut Self::Builder, value: Self::Value<'_>);
    /// Reads a value.
    fn value(column: &Self::Column, row: usize) -> Self::Value<'_>;
    /// The column built; the builder is empty after, with room for as many rows again where there were values.
    fn finish(builder: &mut Self::Builder) -> ArrayRef;
}

macro_rules! kinds {
    ($( $(#[$doc:meta])* $name:ident: $value:ty, $builder:ty, $column:ty, $data_type:expr,
        required; )*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl Kind for $name {
            type Value<'a> = $value;
            type Builder = $builder;
            type Column = $column;
            const NULLABLE: bool = false;
            fn data_type() -> DataType { $data_type }
            #[inline(always)]
            fn append(builder: &mut $builder, value: $value) { builder.append_value(value); }
            #[inline(always)]
            fn value(column: &$column, row: usize) -> $value { column.value(row) }
            fn finish(builder: &mut $builder) -> ArrayRef {
                let column = builder.finish();
                *builder = <$builder>::with_capacity(column.len());
                Arc::new(column)
            }
        }
    )*};
    ($( $(#[$doc:meta])* $name:ident: $value:ty, $builder:ty, $column:ty, $data_type:expr,
        optional; )*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl Kind for $name {
            type Value<'a> = Option<$value>;
            type Builder = Sparse<$builder>;
            type Column = $column;
            const NULLABLE: bool = true;
            fn data_type() -> DataType { $data_type }
            #[inline(always)]
            fn append(to: &mut Sparse<$builder>, value: Option<$value>) {
                match value {
                    Some(value) => to.written().append_value(value),
                    None => to.n_nulls += 1,
                }
            }
            #[inline(always)]
            fn value(column: &$column, row: usize) -> Option<$value> {
                column.is_valid(row).then(|| column.value(row))
            }
            fn finish(to: &mut Sparse<$builder>) -> ArrayRef {
                let has_values = !to.builder.is_empty();
                let column = to.written().finish();
                if has_values {
                    to.builder = <$builder>::with_capacity(column.len());
                }
                Arc::new(column)
            }
        }
        impl Nulls for $builder {
            fn append_nulls(&mut self, n: usize) { <$builder>::append_nulls(self, n); }
        }
    )*};
}

kinds! {
    /// A count or an offset.
    Count: i64, Int64Builder, Int64Array, DataType::Int64, required;
    /// A small index or partition.
    Ordinal: i32, Int32Builder, Int32Array, DataType::Int32, required;
    /// A 64-bit hash.
    Hash: u64, UInt64Builder, UInt64Array, DataType::UInt64, required;
    /// A real number.
    Number: f64, Float64Builder, Float64Array, DataType::Float64, required;
    /// True or false.
    Flag: bool, BooleanBuilder, BooleanArray, DataType::Boolean, required;
}

kinds! {
    /// A number that may be absent.
    Integer: i64, Int64Builder, Int64Array, DataType::Int64, optional;
    /// A small number that may be absent.
    Small: i32, Int32Builder, Int32Array, DataType::Int32, optional;
    /// A 64-bit hash that may be absent.
    Key: u64, UInt64Builder, UInt64Array, DataType::UInt64, optional;
    /// A real number that may be absent.
    MaybeNumber: f64, Float64Builder, Float64Array, DataType::Float64, optional;
    /// True, false or unknown.
    MaybeFlag: bool, BooleanBuilder, BooleanArray, DataType::Boolean, optional;
}

/// Text that is always there.
#[derive(Debug)]
pub struct Name;

impl Kind for Name {
    type Value<'a> = &'a str;
    type Builder = StringBuilder;
    type Column = StringArray;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    #[inline(always)]
    fn append(builder: &mut StringBuilder, value: &str) {
        builder.append_value(cut(value));
    }
    #[inline(always)]
    fn value(column: &StringArray, row: usize) -> &str {
        column.value(row)
    }
    fn finish(builder: &mut StringBuilder) -> ArrayRef {
        finish_texts(builder)
    }
}

/// Text that may be absent.
#[derive(Debug)]
pub struct Text;

impl Kind for Text {
    type Value<'a> = Option<&'a str>;
    type Builder = Sparse<StringBuilder>;
    type Column = StringArray;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    #[inline(always)]
    fn append(to: &mut Sparse<StringBuilder>, value: Option<&str>) {
        match value {
            Some(value) => to.written().append_value(cut(value)),
            None => to.n_nulls += 1,
        }
    }
    #[inline(always)]
    fn value(column: &StringArray, row: usize) -> Option<&str> {
        column.is_valid(row).then(|| column.value(row))
    }
    fn finish(to: &mut Sparse<StringBuilder>) -> ArrayRef {
        let has_values = !to.builder.is_empty();
        match has_values {
            true => finish_texts(to.written()),
            false => Arc::new(to.written().finish()),
        }
    }
}

/// Bytes that are always there: what a model keeps together, encoded. Who writes them bounds them.
#[derive(Debug)]
pub struct Encoded;

impl Kind for Encoded {
    type Value<'a> = &'a [u8];
    type Builder = BinaryBuilder;
    type Column = BinaryArray;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Binary
    }
    #[inline(always)]
    fn append(builder: &mut BinaryBuilder, value: &[u8]) {
        builder.append_value(value);
    }
    #[inline(always)]
    fn value(column: &BinaryArray, row: usize) -> &[u8] {
        column.value(row)
    }
    fn finish(builder: &mut BinaryBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

/// A time in milliseconds, UTC.
#[derive(Debug)]
pub struct Time;

/// Arrow's type of every time column.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

impl Kind for Time {
    type Value<'a> = i64;
    type Builder = TimestampMillisecondBuilder;
    type Column = TimestampMillisecondArray;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        time_type()
    }
    #[inline(always)]
    fn append(builder: &mut TimestampMillisecondBuilder, value: i64) {
        builder.append_value(value);
    }
    #[inline(always)]
    fn value(column: &TimestampMillisecondArray, row: usize) -> i64 {
        column.value(row)
    }
    fn finish(builder: &mut TimestampMillisecondBuilder) -> ArrayRef {
        let column = builder.finish().with_timezone("UTC");
        *builder = TimestampMillisecondBuilder::with_capacity(column.len());
        Arc::new(column)
    }
}
