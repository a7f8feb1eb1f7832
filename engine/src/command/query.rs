//! `query`: SQL over the event lake, or over the calls of files.
//!
//! DataFusion reads, and nothing else: one table, no statements that change or write, no paths as tables, bounded memory. What
//! sorts or groups beyond that goes to temporary files.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::{Args, ValueEnum};
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use models::identity::is_unprintable;
use serde_json::{Map, Value, json};

use super::inputs::listed;
use super::reading::{ReadingArgs, pipeline_of, read, source_of};
use super::{Failure, ModelArgs, NamingArgs, plain_table};
use crate::alert::clean;
use crate::config::ModelConfig;
use crate::lake::{EVENTS, Lake, rows};
use crate::rule::RuleSet;
use crate::schema;
use crate::stage::Watcher;

/// Rows shown as a table unless told otherwise: somebody looks at them.
const SHOWN: usize = 100;

/// Options of `query`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch query \"SELECT identity, count(DISTINCT object) AS n FROM events GROUP BY 1 ORDER BY 2 DESC\" --lake s3://bucket/lake
  tollwatch query \"SELECT * FROM events WHERE identity = 'sub:mallory' AND date >= '2026-01-05'\" --lake history --csv
  tollwatch query \"SELECT status, count(*) FROM events GROUP BY 1\" --from access.log.xz --json

The table is `events`: the columns rules see (docs/rules.md), and of a lake `date`, `hour` and a row's place (docs/lake.md). Conditions
on `date` and `hour` leave files out, those on `identity` parts of files.
Exit codes: 0 done, 1 the query is wrong or fails, 2 wrong usage.")]
pub struct QueryArgs {
    /// One SELECT
    #[arg(value_name = "SQL")]
    pub sql: String,
    /// The lake: a folder, or file:///…, s3://…, gs://…, az://…
    #[arg(
        long,
        env = "TOLLWATCH_LAKE_URL",
        value_name = "DIR|URL",
        required_unless_present = "from"
    )]
    pub lake: Option<String>,
    /// Asks these files instead, in order: plain, .gz, .xz or .zst; their calls must fit into --bytes-max
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub from: Vec<PathBuf>,
    /// Rows at most; a table has 100 when absent, JSON and CSV all
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Bytes the query may hold, at least 16777216; beyond it goes to temporary files, or fails
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(16 << 20..))]
    pub bytes_max: u64,
    /// Prints a JSON object a row
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Prints comma-separated values with a header
    #[arg(long)]
    pub csv: bool,
    /// How the files are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// What names endpoints in the files.
    #[command(flatten)]
    pub naming: NamingArgs,
    /// The models over the files.
    #[command(flatten)]
    pub models: ModelArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Table,
    Json,
    Csv,
}

/// Runs the command.
///
/// # Errors
/// The query is wrong, or what it reads can't be read.
pub fn run(args: &QueryArgs) -> Result<u8, Failure> {
    let shape = match (args.json, args.csv) {
        (true, _) => Shape::Json,
        (_, true) => Shape::Csv,
        _ => Shape::Table,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let session = session(usize::try_from(args.bytes_max)?)?;
    match &args.lake {
        _ if !args.from.is_empty() => register_files(&session, args)?,
        Some(place) => register_lake(&session, &Lake::existing(place)?)?,
        None => return Err("give --lake or --from".into()),
    }
    runtime.block_on(answer(&session, args, shape))?;
    Ok(0)
}

/// A session that holds so many bytes.
///
/// # Errors
/// It cannot be made.
fn session(bytes_max: usize) -> Result<SessionContext, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(bytes_max)))
        .build_arc()?;
    let mut config = SessionConfig::new();
    // Conditions are checked while rows are read: of columns that are not asked for nothing is decoded.
    config.options_mut().execution.parquet.pushdown_filters = true;
    config.options_mut().execution.parquet.reorder_filters = true;
    let session = SessionContext::new_with_config_rt(config, runtime);
    register_functions(&session);
    Ok(session)
}

/// Functions of ours that a query may call besides DataFusion's: those of rules.
fn register_functions(session: &SessionContext) {
    for function in crate::rule::function::all() {
        session.register_udf(function.as_ref().clone());
    }
}

/// The lake as the table `events`.
///
/// # Errors
/// It can't be read.
fn register_lake(session: &SessionContext, lake: &Lake) -> Result<(), Failure> {
    let (objects, folder) = lake.events();
    // A name of its own, so that nothing but the lake can be reached by it.
    let base = url::Url::parse("lake://lake")?;
    session.register_object_store(&base, objects);
    let place = ListingTableUrl::parse(format!("lake://lake/{folder}/"))?;
    let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
        .with_file_extension(".parquet")
        .with_table_partition_cols(vec![
            ("date".to_owned(), DataType::Date32),
            ("hour".to_owned(), DataType::Int32),
        ]);
    let config = ListingTableConfig::new(place)
        .with_listing_options(options)
        .with_schema(rows::schema());
    session.register_table(EVENTS, Arc::new(ListingTable::try_new(config)?))?;
    Ok(())
}

/// The calls of files, decoded and scored, as the table `events`.
///
/// # Errors
/// A file can't be read, or there are more calls than may be held.
fn register_files(session: &SessionContext, args: &QueryArgs) -> Result<(), Failure> {
    let models = args.models.over(&ModelConfig::default());
    let rules = Arc::new(RuleSet::default());
    let mut pipeline = pipeline_of(&rules, &models, &args.reading, &args.naming)?;
    let held = Arc::new(Mutex::new((Vec::new(), 0)));
    let holding = held.clone();
    let watcher: Watcher = Arc::new(move |table, batch| {
        if table == EVENTS {
            let mut held = holding.lock().unwrap_or_else(PoisonError::into_inner);
            held.1 += rows::n_bytes(batch);
            held.0.push(batch.clone());
        }
    });
    pipeline.watch(Some(watcher));
    for path in &listed(&args.from)? {
        let _ = read(&mut pipeline, path, &source_of(path), i64::MAX, |_, _| {
            let held = held.lock().unwrap_or_else(PoisonError::into_inner);
            if args.bytes_max < held.1 as u64 {
                return Err(format!(
                    "the calls of these files take more than --bytes-max {}: make a lake of them with `tollwatch replay FILE … --lake DIR`, and ask that with --lake DIR",
                    args.bytes_max
                )
                .into());
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    let batches = std::mem::take(&mut held.0);
    let table = MemTable::try_new(schema::events_table(), vec![batches])?;
    session.register_table(EVENTS, Arc::new(table))?;
    Ok(())
}

async fn answer(session: &SessionContext, args: &QueryArgs, shape: Shape) -> Result<(), Failure> {
    let only_reads = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let told = |error: DataFusionError| {
        let error = error.strip_backtrace();
        let shown = error.chars().map(|c| {
            if is_unprintable(c) && c != '\n' {
                ' '
            } else {
                c
            }
        });
        format!(
            "{}\n  the one table is `events`, and only a SELECT is answered",
            shown.collect::<String>()
        )
    };
    let asked = session.sql_with_options(&args.sql, only_reads).await;
    let mut asked = asked.map_err(told)?;
    let limit = args.limit.or((shape == Shape::Table).then_some(SHOWN));
    if let Some(limit) = limit {
        // One more, to know whether there are more.
        asked = asked.limit(0, Some(limit.saturating_add(1)))?;
    }
    let began = Instant::now();
    let bar = progress();
    let mut answer = asked.execute_stream().await.map_err(told)?;
    let names: Vec<String> = answer
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let mut out = Answer::new(shape, names);
    let (mut n_rows, mut is_cut) = (0, false);
    while let Some(batch) = answer.next().await {
        let batch = batch.map_err(told)?;
        let left = limit.map_or(usize::MAX, |limit| limit - n_rows);
        is_cut |= left < batch.num_rows();
        let batch = batch.slice(0, left.min(batch.num_rows()));
        n_rows += batch.num_rows();
        out.push(&batch)?;
        bar.set_message(format!("{n_rows} rows"));
    }
    bar.finish_and_clear();
    out.finish()?;
    let seconds = began.elapsed().as_secs_f64();
    if is_cut {
        eprintln!("the first {n_rows} rows; --limit shows more");
    } else if shape == Shape::Table {
        eprintln!("{n_rows} rows in {seconds:.1} s");
    }
    Ok(())
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Rows on their way out.
struct Answer {
    shape: Shape,
    names: Vec<String>,
    table: comfy_table::Table,
    out: std::io::BufWriter<std::io::Stdout>,
    is_begun: bool,
}

impl Answer {
    fn new(shape: Shape, names: Vec<String>) -> Answer {
        let mut table = plain_table();
        table.set_header(names.iter().map(|name| clean(name)));
        Answer {
            shape,
            names,
            table,
            out: std::io::BufWriter::new(std::io::stdout()),
            is_begun: false,
        }
    }

    fn begin(&mut self) -> std::io::Result<()> {
        if !self.is_begun && self.shape == Shape::Csv {
            let names = self.names.iter().map(|name| csv(name));
            writeln!(self.out, "{}", names.collect::<Vec<_>>().join(","))?;
        }
        self.is_begun = true;
        Ok(())
    }

    fn push(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.begin()?;
        let options = FormatOptions::default().with_null("");
        let texts = batch.columns().iter();
        let texts = texts.map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let text = texts.iter().map(|text| text.value(row).to_string());
            match self.shape {
                Shape::Table => {
                    self.table.add_row(text.map(|text| clean(&text)));
                }
                Shape::Csv => {
                    let line: Vec<String> = text.map(|text| csv(&text)).collect();
                    writeln!(self.out, "{}", line.join(","))?;
                }
                Shape::Json => {
                    let columns = batch.columns().iter().zip(text);
                    let values = columns.map(|(column, text)| value(column, row, text));
                    let object: Map<String, Value> =
                        self.names.iter().cloned().zip(values).collect();
                    writeln!(self.out, "{}", Value::from(object))?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> std::io::Result<()> {
        self.begin()?;
        if self.shape == Shape::Table {
            writeln!(self.out, "{}", self.table)?;
        }
        self.out.flush()
    }
}

/// A value of JSON: numbers and truths as such, all else as text.
fn value(column: &ArrayRef, row: usize, text: String) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Int32 => json!(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => json!(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => json!(column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => json!(column.as_primitive::<Float64Type>().value(row)),
        _ => Value::from(text),
    }
}

/// A field of a line; control characters of a caller's choosing are spaces.
fn csv(text: &str) -> String {
    let shown: String = text
        .chars()
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect();
    match shown.contains([',', '"']) {
        true => format!("\"{}\"", shown.replace('"', "\"\"")),
        false => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_line_stays_one() {
        let table = [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines\u{1b}[2J", "two lines [2J"),
        ];
        for (text, wanted) in table {
            assert_eq!(csv(text), wanted);
        }
    }
}
