//! The objects a call names: the list column of the events log.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, Int64Builder, ListArray, RecordBatch, StringArray,
    StringBuilder, StructArray, UInt64Array, UInt64Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, UInt64Type};

use super::WrongSchema;

/// One object of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRow<'a> {
    /// Its collection, singular and lower-case.
    pub collection: &'a str,
    /// Hash of collection and value.
    pub object: u64,
    /// Its number, when it has one.
    pub number: Option<i64>,
}

fn children() -> Fields {
    Fields::from(vec![
        Field::new("collection", DataType::Utf8, false),
        Field::new("object", DataType::UInt64, false),
        Field::new("number", DataType::Int64, true),
    ])
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(children()), false))
}

/// The list column.
pub fn field() -> Field {
    Field::new("objects", DataType::List(item()), false)
}

/// Builds the list column.
#[derive(Debug)]
pub struct ObjectsBuilder {
    collection: StringBuilder,
    object: UInt64Builder,
    number: Int64Builder,
    ends: Vec<i32>,
    n_objects: i32,
}

impl Default for ObjectsBuilder {
    fn default() -> Self {
        Self {
            collection: StringBuilder::new(),
            object: UInt64Builder::new(),
            number: Int64Builder::new(),
            ends: vec![0],
            n_objects: 0,
        }
    }
}

impl ObjectsBuilder {
    /// Appends the objects of one call.
    pub fn push<'a>(&mut self, objects: impl Iterator<Item = ObjectRow<'a>>) {
        for object in objects {
            self.collection.append_value(object.collection);
            self.object.append_value(object.object);
            self.number.append_option(object.number);
            self.n_objects += 1;
        }
        self.ends.push(self.n_objects);
    }

    /// The column; the builder is empty after.
    pub fn finish(&mut self) -> ArrayRef {
        let values = StructArray::new(
            children(),
            vec![
                Arc::new(self.collection.finish()),
                Arc::new(self.object.finish()),
                Arc::new(self.number.finish()),
            ],
            None,
        );
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        self.n_objects = 0;
        Arc::new(ListArray::new(
            item(),
            OffsetBuffer::new(ends.into()),
            Arc::new(values),
            None,
        ))
    }
}

/// Reads the list column.
#[derive(Debug)]
pub struct Objects<'a> {
    ends: &'a [i32],
    collection: &'a StringArray,
    object: &'a UInt64Array,
    number: &'a Int64Array,
}

impl<'a> Objects<'a> {
    /// The objects of `batch`.
    ///
    /// # Errors
    /// The column is missing or has another type.
    pub fn new(batch: &'a RecordBatch) -> Result<Self, WrongSchema> {
        let wrong = || WrongSchema {
            table: "events",
            column: "objects",
        };
        let list = batch
            .column_by_name("objects")
            .and_then(|c| c.as_list_opt::<i32>())
            .ok_or_else(wrong)?;
        let values = list.values().as_struct_opt().ok_or_else(wrong)?;
        Ok(Self {
            ends: list.value_offsets(),
            collection: values.column(0).as_string_opt::<i32>().ok_or_else(wrong)?,
            object: values
                .column(1)
                .as_primitive_opt::<UInt64Type>()
                .ok_or_else(wrong)?,
            number: values
                .column(2)
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(wrong)?,
        })
    }

    /// The objects of row `i`.
    pub fn row(&self, i: usize) -> impl Iterator<Item = ObjectRow<'a>> + use<'a> {
        let (collection, object, number) = (self.collection, self.object, self.number);
        (self.ends[i] as usize..self.ends[i + 1] as usize).map(move |at| ObjectRow {
            collection: collection.value(at),
            object: object.value(at),
            number: number.is_valid(at).then(|| number.value(at)),
        })
    }
}
