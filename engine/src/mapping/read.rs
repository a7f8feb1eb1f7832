//! Evaluates a mapping on lines: columns first, then the condition, then the fields of what is left.
//!
//! An expression that fails fails for one row: the rows it fails on are found by halves, and become rejects that name the field. So a
//! line costs at most twice the logarithm of its neighbours' number.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Float64Builder, Int64Builder,
    RecordBatch, StringArray, StringBuilder, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, concat, filter_record_batch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMillisecondType};
use connectors::format::mapped::{self, FIELDS, Lines, NO_VALUES, Row, Value, Values};
use connectors::reject::RejectReason;
use datafusion::physical_expr::PhysicalExpr;

use super::compile::{Mapping, Reading};
use crate::rule::scalar::{Found, Kind, VALUE_BYTES_MAX, text};

/// What a condition that fails is called in a reject.
const CONDITION: &str = "where";

impl mapped::Mapping for Mapping {
    fn name(&self) -> &str {
        self.name()
    }

    fn is_line(&self, text: &str) -> bool {
        let pattern = self.pattern.as_ref();
        pattern.is_some_and(|pattern| pattern.regex.is_match(text))
    }

    fn read(&self, lines: &[&str]) -> Box<dyn Lines> {
        Box::new(self.evaluate(lines))
    }
}

/// What became of a line, before its fields are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    /// Row of the fields' columns.
    Call(usize),
    NoCall,
    NotMatched,
    ConditionFailed,
}

/// Lines that were read.
struct ReadLines {
    lines: Vec<Became>,
    /// Whether each line is JSON, where JSON is asked for.
    is_json: Option<Vec<bool>>,
    fields: Vec<FieldColumn>,
    /// Fields whose expression failed, by row of the columns; the first of each.
    failed: Vec<Option<&'static str>>,
}

struct FieldColumn {
    /// Its place in [`FIELDS`].
    at: usize,
    reading: Reading,
    values: ArrayRef,
}

impl Lines for ReadLines {
    fn row<'a>(&'a self, line: usize, values: &mut Values<'a>) -> Row {
        let failed = |name: &str| {
            Row::Fault(
                RejectReason::Malformed,
                format!("{name}: its expression fails on the line").into(),
            )
        };
        let row = match self.lines[line] {
            Became::NoCall => return Row::NoCall,
            Became::NotMatched => {
                return Row::Fault(RejectReason::Malformed, "the pattern does not match".into());
            }
            Became::ConditionFailed => return failed(CONDITION),
            Became::Call(row) => row,
        };
        if let Some(field) = self.failed[row] {
            return failed(field);
        }
        for field in &self.fields {
            values[field.at] = field.value(row);
        }
        let is_json = self.is_json.as_ref().is_none_or(|all| all[line]);
        if !is_json && *values == NO_VALUES {
            return Row::Fault(
                RejectReason::Malformed,
                Cow::Borrowed("the line is no JSON"),
            );
        }
        Row::Call
    }
}

impl FieldColumn {
    fn value(&self, row: usize) -> Value<'_> {
        if self.values.is_null(row) {
            return Value::Nothing;
        }
        match self.reading {
            Reading::Text => Value::Text(self.values.as_string::<i32>().value(row)),
            Reading::Integer => Value::Integer(self.values.as_primitive::<Int64Type>().value(row)),
            Reading::Float => Value::Float(self.values.as_primitive::<Float64Type>().value(row)),
            Reading::Flag => Value::Flag(self.values.as_boolean().value(row)),
            Reading::Time => Value::TimeMs(
                self.values
                    .as_primitive::<TimestampMillisecondType>()
                    .value(row),
            ),
        }
    }
}

impl Mapping {
    fn evaluate(&self, lines: &[&str]) -> ReadLines {
        let mut became: Vec<Became> = vec![Became::NoCall; lines.len()];
        let (batch, is_matched, is_json) = self.columns(lines);
        let (condition, exprs) = self
            .compiled
            .exprs
            .split_at(usize::from(self.has_condition));
        let holds = condition.first().map(|expr| {
            let (holds, failed) = evaluate(expr, &batch, &DataType::Boolean);
            (holds.as_boolean().clone(), failed)
        });
        let mut n_calls = 0;
        for (line, became) in became.iter_mut().enumerate() {
            let (is_call, is_failed) = holds.as_ref().map_or((true, false), |(holds, failed)| {
                (holds.is_valid(line) && holds.value(line), failed[line])
            });
            *became = match (is_failed, is_call, is_matched[line]) {
                (true, ..) => Became::ConditionFailed,
                (_, false, _) => Became::NoCall,
                (_, _, false) => Became::NotMatched,
                _ => {
                    n_calls += 1;
                    Became::Call(n_calls - 1)
                }
            };
        }
        let is_call = became
            .iter()
            .map(|became| Some(matches!(became, Became::Call(_))));
        let calls = filter_record_batch(&batch, &BooleanArray::from_iter(is_call))
            .expect("the mask has a value for each row of the batch");
        let mut failed = vec![None; n_calls];
        let fields = self.fields.iter().zip(exprs).map(|((at, reading), expr)| {
            let (values, fails) = evaluate(expr, &calls, &reading.data_type());
            for (row, fails) in failed.iter_mut().zip(fails) {
                if fails {
                    row.get_or_insert(FIELDS[*at]);
                }
            }
            FieldColumn {
                at: *at,
                reading: *reading,
                values,
            }
        });
        let fields = fields.collect();
        ReadLines {
            lines: became,
            is_json,
            fields,
            failed,
        }
    }

    /// The columns of lines: the line, the pattern's groups, what is asked of it as JSON. Which lines the pattern matches, and which
    /// are JSON.
    fn columns(&self, lines: &[&str]) -> (RecordBatch, Vec<bool>, Option<Vec<bool>>) {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(lines))];
        let mut is_matched = vec![true; lines.len()];
        if let Some(pattern) = &self.pattern {
            let mut groups: Vec<StringBuilder> = pattern
                .groups
                .iter()
                .map(|_| StringBuilder::new())
                .collect();
            for (line, is_matched) in lines.iter().zip(&mut is_matched) {
                let found = pattern.regex.captures(line);
                *is_matched = found.is_some();
                for (column, group) in groups.iter_mut().zip(&pattern.groups) {
                    let text = found.as_ref().and_then(|found| found.get(*group));
                    column.append_option(text.map(|text| cut(text.as_str())));
                }
            }
            columns.extend(
                groups
                    .iter_mut()
                    .map(|column| Arc::new(column.finish()) as ArrayRef),
            );
        }
        let is_json = (!self.compiled.paths.is_empty()).then(|| {
            let mut json: Vec<JsonColumn> = self
                .compiled
                .json
                .iter()
                .map(|(_, kind)| JsonColumn::new(*kind))
                .collect();
            let mut found = Found::new();
            let is_json = lines.iter().map(|line| {
                let is_json =
                    self.compiled.paths.read(line, &mut found) || self.mended(line, &mut found);
                for (column, (place, _)) in json.iter_mut().zip(&self.compiled.json) {
                    column.push(found[*place].as_ref());
                }
                is_json
            });
            let is_json = is_json.collect();
            columns.extend(json.into_iter().map(JsonColumn::finish));
            is_json
        });
        let batch = RecordBatch::try_new(self.compiled.schema.clone(), columns)
            .expect("a column for each of the schema, of its type, with a value for each line");
        (batch, is_matched, is_json)
    }

    /// Reads JSON with a writer's bad escapes: a client could hide behind them.
    fn mended(&self, line: &str, found: &mut Found) -> bool {
        line.starts_with('{')
            && mapped::mended(line).is_some_and(|mended| self.compiled.paths.read(&mended, found))
    }
}

/// A text as long as a column's may be.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(text.len().min(VALUE_BYTES_MAX))]
}

/// Values at one path, wanted as one kind.
enum JsonColumn {
    Text(StringBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Flag(BooleanBuilder),
}

impl JsonColumn {
    fn new(kind: Kind) -> JsonColumn {
        match kind {
            Kind::Text => JsonColumn::Text(StringBuilder::new()),
            Kind::Integer => JsonColumn::Integer(Int64Builder::new()),
            Kind::Float => JsonColumn::Float(Float64Builder::new()),
            Kind::Flag => JsonColumn::Flag(BooleanBuilder::new()),
        }
    }

    fn push(&mut self, value: Option<&serde_json::Value>) {
        match self {
            JsonColumn::Text(column) => match value {
                Some(serde_json::Value::String(text)) => column.append_value(cut(text)),
                value => column.append_option(value.cloned().and_then(text).as_deref().map(cut)),
            },
            JsonColumn::Integer(column) => {
                column.append_option(value.and_then(|value| value.as_i64()))
            }
            JsonColumn::Float(column) => {
                column.append_option(value.and_then(|value| value.as_f64()))
            }
            JsonColumn::Flag(column) => {
                column.append_option(value.and_then(|value| value.as_bool()))
            }
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            JsonColumn::Text(mut column) => Arc::new(column.finish()),
            JsonColumn::Integer(mut column) => Arc::new(column.finish()),
            JsonColumn::Float(mut column) => Arc::new(column.finish()),
            JsonColumn::Flag(mut column) => Arc::new(column.finish()),
        }
    }
}

/// Values of an expression, and on which rows it fails; there they are null.
fn evaluate(
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
    wanted: &DataType,
) -> (ArrayRef, Vec<bool>) {
    let n_rows = batch.num_rows();
    if n_rows == 0 {
        return (new_null_array(wanted, 0), Vec::new());
    }
    if let Some(values) = values(expr, batch, wanted) {
        return (values, vec![false; n_rows]);
    }
    if n_rows == 1 {
        return (new_null_array(wanted, 1), vec![true]);
    }
    let half = n_rows / 2;
    let (left, mut failed) = evaluate(expr, &batch.slice(0, half), wanted);
    let (right, fails) = evaluate(expr, &batch.slice(half, n_rows - half), wanted);
    failed.extend(fails);
    let values = concat(&[left.as_ref(), right.as_ref()]).expect("both halves have one type");
    (values, failed)
}

/// Values of an expression, unless it fails on some row.
fn values(
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
    wanted: &DataType,
) -> Option<ArrayRef> {
    let given = expr.evaluate(batch).ok()?;
    let given = given.into_array(batch.num_rows()).ok()?;
    // A value that does not fit fails its row, as in SQL.
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(&given, wanted, &strict).ok()
}
