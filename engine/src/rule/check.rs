//! Runs the tests in a rule's header: rows in, alerts out.
//!
//! Columns are SQL over `i`, the number of the row: `identity: "'mallory'"`, `object: 1000 + i`, `status: 200`. YAML numbers,
//! flags and nulls are what they look like. A column that is not named is null, or empty, zero or false where it must not
//! be null. Every test is run twice, whole and row by row: the answers must be the same.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
    new_null_array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::scalar::ScalarValue;
use serde_json::{Map, Value};

use super::finding::{Evidence, Finding};
use super::header::{Span, Test};
use super::limit::on_deep_stack;
use super::plan::{Catalog, Stream, expression};
use super::step::column;
use super::{Cases, Lookup, Rule, RuleRunner};

/// When a test starts: the first of January 2026, UTC.
pub const TEST_START_MS: i64 = 1_767_225_600_000;
/// Rows of one test: about 1 KB each.
const ROWS_MAX: u64 = 100_000;
/// Cases one test remembers; a test that needs more would be about this limit.
const CASES_MAX: usize = 1_000_000;

/// How one test of one rule went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// Name of the rule.
    pub rule: String,
    /// Name of the test.
    pub test: String,
    /// What differed from what the test expects; nothing if it passed.
    pub failure: Option<String>,
}

/// Runs the tests of a rule.
pub fn run_tests(rule: &Rule, catalog: &Catalog) -> Vec<TestOutcome> {
    let run = |test: &Test| TestOutcome {
        rule: rule.header.name.clone(),
        test: test.name.clone(),
        failure: run_test(rule, test, catalog).err(),
    };
    on_deep_stack(|| rule.header.tests.iter().map(run).collect())
}

fn run_test(rule: &Rule, test: &Test, catalog: &Catalog) -> Result<(), String> {
    let own = test.lookups.iter().map(|(name, csv)| {
        let path = format!("{name}.csv");
        Lookup::parse(path.as_ref(), csv)
    });
    let own = own.collect::<Result<Vec<_>, _>>().map_err(text)?;
    let lookups = catalog.lookups().clone().over(own);
    let catalog = &catalog.clone().with_lookups(&lookups);
    let findings = findings_of(rule, &test.rows, catalog)?;
    compare(test, &created(&findings))
}

fn text(faults: Vec<super::RuleFault>) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// What a rule says of rows given as in a test of its header, until all windows have closed.
///
/// # Errors
/// The rule or the rows are wrong, the rule fails on a row, or the answer depends on how the rows are cut into batches.
pub fn findings_of(rule: &Rule, spec: &Value, catalog: &Catalog) -> Result<Vec<Finding>, String> {
    let (table, _) = RuleRunner::single(rule, catalog).map_err(text)?;
    let stream = catalog.get(&table).ok_or("the rule reads no table")?;
    let rows = rows(spec, stream)?;
    let mut answers = Vec::new();
    for step in [rows.num_rows().max(1), 1] {
        let (_, mut runner) = RuleRunner::single(rule, catalog).map_err(text)?;
        let mut findings = Vec::new();
        for at in (0..rows.num_rows()).step_by(step) {
            runner.push(
                &rows.slice(at, step.min(rows.num_rows() - at)),
                None,
                &mut findings,
            );
        }
        runner.close(&mut findings);
        let n_errors: u64 = runner.counters().iter().map(|c| c.errors).sum();
        if 0 < n_errors {
            return Err(format!("the rule failed on {n_errors} rows"));
        }
        answers.push(findings);
    }
    let single = answers.pop().unwrap_or_default();
    let whole = answers.pop().unwrap_or_default();
    let same = |(a, b): (&Finding, &Finding)| {
        (&a.values, a.time_ms, a.grown) == (&b.values, b.time_ms, b.grown)
    };
    if whole.len() != single.len() || !whole.iter().zip(&single).all(same) {
        return Err("the answer depends on where the log is cut into batches".to_owned());
    }
    Ok(whole)
}

/// The findings that create a case, as in the product.
fn created(findings: &[Finding]) -> Vec<Finding> {
    let mut cases = Cases::new(CASES_MAX);
    let none = Evidence::default();
    findings
        .iter()
        .filter(|finding| {
            let trigger = finding.evidence.last().unwrap_or(&none);
            cases
                .admit(finding, trigger)
                .is_some_and(|case| case.is_new)
        })
        .cloned()
        .collect()
}

fn compare(test: &Test, alerts: &[Finding]) -> Result<(), String> {
    let shown = |f: &Finding| {
        f.values
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    if alerts.len() != test.expect.alerts {
        let shown: Vec<String> = alerts.iter().take(3).map(shown).collect();
        return Err(format!(
            "{} alerts, expected {}: {}",
            alerts.len(),
            test.expect.alerts,
            shown.join(" | ")
        ));
    }
    for (wanted, alert) in test.expect.rows.iter().zip(alerts) {
        for (name, wanted) in wanted {
            let value = alert
                .value(name)
                .ok_or_else(|| format!("there is no output column `{name}`"))?;
            if !is_value(value, wanted) {
                return Err(format!("{name} is {value}, expected {wanted}"));
            }
        }
    }
    if test.expect.rows.len() > alerts.len() {
        return Err(format!(
            "{} rows are expected of {} alerts",
            test.expect.rows.len(),
            alerts.len()
        ));
    }
    match (&test.expect.title, alerts.first()) {
        (Some(wanted), Some(alert)) if *wanted != alert.rule.title(&alert.values) => Err(format!(
            "the title is `{}`, expected `{wanted}`",
            alert.rule.title(&alert.values)
        )),
        _ => Ok(()),
    }
}

fn is_value(value: &ScalarValue, wanted: &Value) -> bool {
    match wanted {
        Value::Null => value.is_null(),
        Value::String(text) => value.to_string() == *text,
        Value::Number(number) => {
            let float = value.cast_to(&DataType::Float64);
            matches!(float, Ok(ScalarValue::Float64(Some(v))) if number.as_f64().is_some_and(|n| (v - n).abs() <= 1e-9 * n.abs().max(1.0)))
        }
        Value::Bool(flag) => *value == ScalarValue::Boolean(Some(*flag)),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// The rows of a test as one batch of the stream.
fn rows(spec: &Value, stream: &Stream) -> Result<RecordBatch, String> {
    let parts: Vec<&Value> = match spec {
        Value::Array(parts) => parts.iter().collect(),
        one => vec![one],
    };
    let (mut batches, mut start_ms, mut n_rows) = (Vec::new(), TEST_START_MS, 0);
    for part in parts {
        let Value::Object(part) = part else {
            return Err(format!(
                "{part} is no row: write {{column: value}} or {{generate: …}}"
            ));
        };
        let batch = match part.get("generate") {
            Some(Value::Object(generate)) if part.len() == 1 => {
                let n = generate
                    .get("n")
                    .and_then(Value::as_u64)
                    .ok_or("generate needs n, the number of rows")?;
                if ROWS_MAX < n.saturating_add(n_rows as u64) {
                    return Err(format!("a test has at most {ROWS_MAX} rows"));
                }
                let every_ms = span_ms(generate, "every")?.unwrap_or(1_000);
                start_ms = span_ms(generate, "start")?.map_or(start_ms, |ms| TEST_START_MS + ms);
                part_batch(
                    generate,
                    &["n", "every", "start"],
                    n as i64,
                    start_ms,
                    every_ms,
                    n_rows,
                    stream,
                )?
            }
            Some(_) => {
                return Err(
                    "generate stands alone: {generate: {n: 60, every: 500ms, column: expression}}"
                        .to_owned(),
                );
            }
            None => {
                start_ms = span_ms(part, "at")?.map_or(start_ms, |ms| TEST_START_MS + ms);
                part_batch(part, &["at"], 1, start_ms, 1_000, n_rows, stream)?
            }
        };
        n_rows += batch.num_rows() as i64;
        start_ms = last_ms(&batch, stream).map_or(start_ms, |ms| ms + 1_000);
        batches.push(batch);
    }
    concat_batches(&stream.schema, &batches).map_err(|e| e.to_string())
}

fn last_ms(batch: &RecordBatch, stream: &Stream) -> Option<i64> {
    let times = batch.column_by_name(&stream.time)?;
    let times = times.as_any().downcast_ref::<TimestampMillisecondArray>()?;
    times.values().last().copied()
}

fn span_ms(of: &Map<String, Value>, key: &str) -> Result<Option<i64>, String> {
    match of.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Span::parse(text).map(|span| Some(span.ms)),
        Some(other) => Err(format!("{key}: {other} is not a duration such as 500ms")),
    }
}

fn part_batch(
    columns: &Map<String, Value>,
    own: &[&str],
    n: i64,
    start_ms: i64,
    every_ms: i64,
    first_row: i64,
    stream: &Stream,
) -> Result<RecordBatch, String> {
    let named = |name: &&String| !own.contains(&name.as_str());
    if let Some(name) = columns
        .keys()
        .filter(named)
        .find(|name| stream.schema.index_of(name).is_err())
    {
        return Err(format!("the table has no column `{name}`"));
    }
    let i: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n));
    let input = Schema::new(vec![Field::new("i", DataType::Int64, false)]);
    let input = RecordBatch::try_new(Arc::new(input), vec![i]).map_err(|e| e.to_string())?;
    let made = stream.schema.fields().iter().map(|field| {
        let array: ArrayRef = match (columns.get(field.name()), field.name().as_str()) {
            (Some(value), _) => evaluated(value, &input)
                .map_err(|e| format!("{}: {}", field.name(), e.strip_backtrace()))?,
            (None, name) if name == stream.time => {
                let times = (0..n).map(|i| start_ms.saturating_add(i.saturating_mul(every_ms)));
                Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            (None, "source_topic") => {
                Arc::new(StringArray::from_iter_values((0..n).map(|_| "test")))
            }
            (None, "source_offset") => {
                Arc::new(Int64Array::from_iter_values(first_row..first_row + n))
            }
            (None, _) if field.is_nullable() => new_null_array(field.data_type(), n as usize),
            (None, _) => neutral(field.data_type(), n as usize).map_err(|e| e.strip_backtrace())?,
        };
        cast(&array, field.data_type()).map_err(|e| format!("{}: {e}", field.name()))
    });
    RecordBatch::try_new(stream.schema.clone(), made.collect::<Result<Vec<_>, _>>()?)
        .map_err(|e| e.to_string())
}

/// Empty, zero or false.
fn neutral(of: &DataType, n: usize) -> Result<ArrayRef, DataFusionError> {
    let value = match of {
        DataType::Utf8 => ScalarValue::Utf8(Some(String::new())),
        DataType::Boolean => ScalarValue::Boolean(Some(false)),
        other => ScalarValue::Int64(Some(0)).cast_to(other)?,
    };
    value.to_array_of_size(n)
}

fn evaluated(value: &Value, input: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    let sql = match value {
        Value::String(sql) => sql.clone(),
        other => other.to_string(),
    };
    let schema = DFSchema::try_from(input.schema())?;
    column(&expression(&sql, &schema)?, input)
}
