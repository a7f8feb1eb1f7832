//! `rules explain`: how a rule is run, on what it is blind, and what it costs on given files.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use clap::Args;
use connectors::format::{Format, formats};
use serde_json::{Map, Value, json};

use super::scored::{self, lake_at};
use super::trial::{rules_at, rules_beside};
use crate::command::check::missing;
use crate::command::inputs::listed;
use crate::command::reading::{ReadingArgs, pipeline_of, read, source_of};
use crate::command::{Failure, ModelArgs, NamingArgs, RuleFaults};
use crate::config::ModelConfig;
use crate::lake::{EVENTS, Lake};
use crate::rule::{Finding, Rule, RuleRunner, RuleSet, Shape, Span, WindowShape, Windowing, shape};
use crate::stage::{Watcher, catalog, compile};

/// Options of `rules explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch rules explain object_flood
  tollwatch rules explain my-rules/export_flood.sql --from access.log.xz --json

Exit codes: 0 done, 1 the rule is wrong or a file can't be read, 2 wrong usage.")]
pub struct RuleArgs {
    /// The rule: a file (.sql), or the name of a shipped one
    pub rule: PathBuf,
    /// Files to measure it on, in order: plain, .gz, .xz or .zst; or an event lake: its folder, file:///…, s3://…, gs://…, az://…
    #[arg(long, num_args = 1.., value_name = "FILE|LAKE")]
    pub from: Vec<PathBuf>,
    /// Format of the lines: auto, or a name in docs/formats.md, such as kong or aws-alb
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// Mapping of the lines, of a format that is none of these (TOML); `FILE#NAME` picks one of several
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub mapping: Option<String>,
    /// Folder of lookup tables (.csv, .parquet) that rules join with; none when absent
    #[arg(long, value_name = "DIR", env = "TOLLWATCH_LOOKUPS")]
    pub lookups: Option<PathBuf>,
    /// Rules whose alerts a rule over `alerts` is measured on: files, folders or names; the shipped ones when absent
    #[arg(long, num_args = 1.., value_name = "RULE")]
    pub beside: Vec<PathBuf>,
    /// Prints one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// What names endpoints.
    #[command(flatten)]
    pub naming: NamingArgs,
    /// The models.
    #[command(flatten)]
    pub models: ModelArgs,
}

/// A rule at work on the rows the models hand over.
struct Bench {
    table: String,
    runner: RuleRunner,
    findings: Vec<Finding>,
    measured: Measured,
}

/// What a rule cost on files, in one lane.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    n_events: usize,
    n_rows: usize,
    n_findings: usize,
    took: Duration,
    groups_max: u64,
    state_bytes_max: u64,
}

/// Runs the command.
///
/// # Errors
/// The rule is wrong, or a file can't be read.
pub fn run(args: &RuleArgs) -> Result<u8, Failure> {
    let rules = rules_at(&[&args.rule], args.lookups.as_deref())?;
    let [rule] = rules.rules.as_slice() else {
        let n = rules.rules.len();
        return Err(format!("there are {n} rules: give one file, or one name").into());
    };
    let shape = shape(rule, &catalog().with_lookups(&rules.lookups)).map_err(RuleFaults)?;
    let measured = match args.from.is_empty() {
        true => None,
        false => Some(measure(args, &rules, &shape.reads.table)?),
    };
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", report(rule, &shape, measured))?,
        false => show(rule, &shape, measured, &mut out)?,
    }
    Ok(0)
}

/// Runs the models alone over the files, and the rule beside them: one lane, so that its time is of one thread.
fn measure(args: &RuleArgs, rules: &RuleSet, table: &str) -> Result<Measured, Failure> {
    let models = args.models.over(&ModelConfig::default());
    if let Some(lake) = lake_at(&args.from)? {
        return measure_lake(&lake, &models, rules);
    }
    let reading = ReadingArgs {
        format: args.format,
        mapping: args.mapping.clone(),
        lanes: Some(1),
        state: None,
        config: None,
    };
    let beside = RuleSet {
        rules: rules_beside(rules, &args.beside)?,
        lookups: rules.lookups.clone(),
    };
    let mut pipeline = pipeline_of(&Arc::new(beside), &models, &reading, &args.naming)?;
    let bench = Arc::new(Mutex::new(Bench::new(&models, rules, table)?));
    let watching = bench.clone();
    let watcher: Watcher = Arc::new(move |table, batch| {
        let mut bench = watching.lock().unwrap_or_else(PoisonError::into_inner);
        bench.push(table, batch);
    });
    pipeline.watch(Some(watcher));
    let mut n_events = 0;
    for path in &listed(&args.from)? {
        let source = source_of(path);
        let _ = read(&mut pipeline, path, &source, i64::MAX, |round, _| {
            n_events += round.n_events;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    pipeline.close()?;
    let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
    bench.close();
    Ok(Measured {
        n_events,
        ..bench.measured
    })
}

/// Runs the rule over a lake, in each of its lanes; groups and bytes are those of all together.
fn measure_lake(lake: &Lake, models: &ModelConfig, rules: &RuleSet) -> Result<Measured, Failure> {
    let columns = scored::columns(rules)?;
    let mut benches = BTreeMap::<String, Bench>::new();
    let n_events = scored::read(lake, &columns, |lane, _, rows| {
        if !benches.contains_key(lane) {
            benches.insert(lane.to_owned(), Bench::new(models, rules, EVENTS)?);
        }
        if let Some(bench) = benches.get_mut(lane) {
            bench.push(EVENTS, rows);
        }
        Ok(())
    })?;
    let mut all = Measured {
        n_events,
        ..Measured::default()
    };
    for bench in benches.values_mut() {
        bench.close();
        let of = bench.measured;
        all.n_rows += of.n_rows;
        all.n_findings += of.n_findings;
        all.took += of.took;
        all.groups_max += of.groups_max;
        all.state_bytes_max += of.state_bytes_max;
    }
    Ok(all)
}

impl Bench {
    fn new(models: &ModelConfig, rules: &RuleSet, table: &str) -> Result<Bench, Failure> {
        Ok(Bench {
            table: table.to_owned(),
            runner: compile(models, &Arc::new(rules.clone()), table).map_err(RuleFaults)?,
            findings: Vec::new(),
            measured: Measured::default(),
        })
    }

    fn push(&mut self, table: &str, batch: &RecordBatch) {
        if table != self.table {
            return;
        }
        let started = Instant::now();
        self.runner.push(batch, None, &mut self.findings);
        self.measured.took += started.elapsed();
        self.measured.n_rows += batch.num_rows();
        self.note();
    }

    fn close(&mut self) {
        let started = Instant::now();
        self.runner.close(&mut self.findings);
        self.measured.took += started.elapsed();
        self.note();
    }

    fn note(&mut self) {
        self.measured.n_findings += self.findings.len();
        self.findings.clear();
        for of in self.runner.counters() {
            self.measured.groups_max = self.measured.groups_max.max(of.groups);
            self.measured.state_bytes_max = self.measured.state_bytes_max.max(of.state_bytes);
        }
    }
}

impl Measured {
    fn ns_per_event(&self) -> f64 {
        self.took.as_nanos() as f64 / self.n_events.max(1) as f64
    }

    fn ns_per_row(&self) -> f64 {
        self.took.as_nanos() as f64 / self.n_rows.max(1) as f64
    }
}

/// On which formats the rule sees nothing: never, or unless the gateway is configured to log more.
fn blindness(rule: &Rule) -> Vec<(&'static str, Vec<String>, Vec<String>)> {
    let of = |(name, has, _): (&'static str, _, _)| {
        let (never, unless) = missing(rule, &has);
        (name, never, unless)
    };
    formats().into_iter().map(of).collect()
}

fn report(rule: &Rule, shape: &Shape, measured: Option<Measured>) -> Value {
    let formats: Map<String, Value> = blindness(rule)
        .into_iter()
        .map(|(name, never, unless)| {
            let lacks = json!({ "never": never, "unless_configured": unless });
            (name.to_owned(), lacks)
        })
        .collect();
    let window = shape.window.as_ref().map(|window| {
        let (size_ms, slide_ms, gap_ms, longest_ms) = match window.windowing {
            Windowing::Aligned(of) => (Some(of.size_ms), Some(of.slide_ms), None, None),
            Windowing::Sessions(of) => (None, None, Some(of.gap_ms), Some(of.longest_ms)),
            Windowing::Sliding(of) => (Some(of.size_ms), None, None, None),
        };
        let kept_max = window.kept_max.iter().cloned();
        let kept_max: Map<String, Value> = kept_max.map(|(of, n)| (of, json!(n))).collect();
        json!({
            "keys": window.keys, "aggregates": window.aggregates,
            "size_ms": size_ms, "slide_ms": slide_ms, "gap_ms": gap_ms, "longest_ms": longest_ms,
            "lateness_ms": window.lateness_ms, "panes_max": window.panes_max,
            "emit": emit(window),
            "values_max": window.values_max, "kept_max": kept_max,
            "bytes": {
                "group": window.bytes.group, "pane": window.bytes.pane,
                "value": window.bytes.value, "sample": window.bytes.sample,
            },
        })
    });
    let sequence = shape.sequence.as_ref().map(|sequence| {
        json!({
            "keys": sequence.keys, "places": sequence.n_places,
            "within_ms": sequence.within_ms, "bytes_of_key_max": sequence.bytes_of_key,
        })
    });
    let measured = measured.map(|of| {
        json!({
            "events": of.n_events, "rows": of.n_rows, "findings": of.n_findings,
            "ns_per_event": of.ns_per_event(), "ns_per_row": of.ns_per_row(),
            "groups_max": of.groups_max, "state_bytes_max": of.state_bytes_max,
        })
    });
    json!({
        "rule": rule.header.name, "table": shape.reads.table, "columns": shape.reads.columns,
        "output": shape.reads.output, "plan": shape.plan, "window": window, "sequence": sequence,
        "formats": formats, "measured": measured,
    })
}

fn emit(window: &WindowShape) -> &'static str {
    match window.is_early {
        true => "first_crossing",
        false => "window_close",
    }
}

fn show(
    rule: &Rule,
    shape: &Shape,
    measured: Option<Measured>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let reads = &shape.reads;
    writeln!(out, "{}\n{}\n", rule.header.name, shape.plan)?;
    writeln!(
        out,
        "reads      {}: {}",
        reads.table,
        reads.columns.join(", ")
    )?;
    writeln!(out, "gives      {}", reads.output.join(", "))?;
    match (&shape.window, &shape.sequence) {
        (Some(window), _) => show_window(window, out)?,
        (None, Some(sequence)) => writeln!(
            out,
            "groups by  {}\nfollows    a pattern of {} symbols within {}\nstate      {} bytes a key at most, whatever its rows",
            sequence.keys.join(", "),
            sequence.n_places,
            Span {
                ms: sequence.within_ms
            },
            sequence.bytes_of_key
        )?,
        (None, None) => writeln!(out, "finds      each row that passes; it keeps no state")?,
    }
    for (format, never, unless) in blindness(rule) {
        let blind = match (never.as_slice(), unless.as_slice()) {
            ([], []) => "sees what the rule requires".to_owned(),
            ([], unless) => format!("blind unless it is configured to log {}", unless.join(", ")),
            (never, _) => format!("blind, it never holds {}", never.join(", ")),
        };
        writeln!(out, "{format:<10} {blind}")?;
    }
    let Some(of) = measured else { return Ok(()) };
    writeln!(
        out,
        "measured   {:.0} ns an event, {:.0} ns a row it read: {} rows of {} events, {} findings",
        of.ns_per_event(),
        of.ns_per_row(),
        of.n_rows,
        of.n_events,
        of.n_findings
    )?;
    if shape.window.is_some() || shape.sequence.is_some() {
        let each = of.state_bytes_max / of.groups_max.max(1);
        writeln!(
            out,
            "           at most {} groups and {} bytes at once, about {each} bytes a group",
            of.groups_max, of.state_bytes_max
        )?;
    }
    Ok(())
}

fn show_window(window: &WindowShape, out: &mut impl Write) -> Result<(), Failure> {
    let keys = match window.keys.is_empty() {
        true => "nothing: there is one group".to_owned(),
        false => window.keys.join(", "),
    };
    let span = |ms| Span { ms };
    let bytes = window.bytes;
    writeln!(out, "groups by  {keys}")?;
    writeln!(out, "counts     {}", window.aggregates.join(", "))?;
    let (lateness, emit) = (span(window.lateness_ms), emit(window));
    match window.windowing {
        Windowing::Aligned(of) => writeln!(
            out,
            "windows    of {} every {}, open {lateness} longer; {emit}, at most {} panes a group",
            span(of.size_ms),
            span(of.slide_ms),
            window.panes_max
        )?,
        Windowing::Sessions(of) => writeln!(
            out,
            "windows    sessions that {} without a row end, {} at most, open {lateness} longer; {emit}",
            span(of.gap_ms),
            span(of.longest_ms)
        )?,
        Windowing::Sliding(of) => writeln!(
            out,
            "windows    of {} before each row of a group, rows out of order counted for {lateness} longer; {emit}",
            span(of.size_ms)
        )?,
    }
    let (group, pane) = match window.windowing {
        Windowing::Aligned(_) => ("group", format!("{} a pane, ", bytes.pane)),
        Windowing::Sessions(_) => ("session", String::new()),
        Windowing::Sliding(_) => ("group", format!("{} a time of a row, ", bytes.pane)),
    };
    write!(
        out,
        "state      {} bytes a {group} and its key, {pane}{} a sample row",
        bytes.group, bytes.sample
    )?;
    match window.windowing {
        Windowing::Sliding(_) => {
            writeln!(out, ", {} a distinct value", bytes.value)?;
            for (aggregate, kept_max) in window.aggregates.iter().zip(&window.values_max) {
                let line = format!("{aggregate}: at most {kept_max} times or values a group");
                writeln!(out, "           {line}")?;
            }
        }
        _ => {
            for values_max in &window.values_max {
                write!(
                    out,
                    ", {} a distinct value (at most {values_max})",
                    bytes.value
                )?;
            }
            writeln!(out)?;
        }
    }
    for (aggregate, bytes_max) in &window.kept_max {
        let of = match window.windowing {
            Windowing::Aligned(_) => "pane",
            Windowing::Sessions(_) => "session",
            Windowing::Sliding(_) => "group",
        };
        writeln!(
            out,
            "           {aggregate}: at most {bytes_max} bytes a {of}"
        )?;
    }
    Ok(())
}
