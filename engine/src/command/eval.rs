//! `eval`: detection measured on a labelled file.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use comfy_table::Table;
use indicatif::ProgressBar;
use models::idea::{Idea, Ideas};
use serde_json::Value;

use self::pass::pass;
use self::shown::summary;
pub use self::shown::{as_json, table};
use super::warm::WarmArgs;
use super::{EngineArgs, Failure, load_rules, plain_table};
use crate::alert::Alert;
use crate::config::ModelConfig;
use crate::evaluation::{Evaluation, Labels, Told};
use crate::pipeline::in_parallel;
use crate::rule::RuleSet;
use connectors::format::Format;

mod pass;
mod shown;
mod sweep;

/// Options of `eval`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch eval access.log.xz --labels labels.tsv.xz
  tollwatch eval access.ndjson.xz --labels labels.tsv.xz --false-alerts-per-million-events 10 --json
  tollwatch eval one.log two.log --labels one.tsv --labels two.tsv --ablate
  tollwatch eval access.log.xz --labels labels.tsv.xz --sweep --rivals benches/rivals --plot curves.svg
  tollwatch eval access.log.xz --labels labels.tsv.xz --sweep=0.1,1,10 --json
  tollwatch eval tuesday.log --labels tuesday.tsv --warm-from monday.log")]
pub struct EvalArgs {
    /// The labelled files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Labels, once a file, in their order: tab-separated, one row a line, columns label, scenario, foreign, object, and role if known
    #[arg(long, required = true)]
    pub labels: Vec<PathBuf>,
    /// Measures each idea of the detection left out, and each detector alone
    #[arg(long)]
    pub ablate: bool,
    /// Measures at several settings of the knob, and recall at 0.1, 1 and 10 false alerts per million events: at those after the
    /// equals sign, or a dozen from 1e-24 to 1000, and at the one in use; a pass over the files for each
    #[arg(
        long,
        value_name = "KNOB,KNOB…",
        require_equals = true,
        conflicts_with = "ablate"
    )]
    pub sweep: Option<Option<Knobs>>,
    /// Folder of rules to measure beside, each swept over its one parameter, with two rivals that no rule can be; docs/detection.md
    #[arg(long, value_name = "DIR", requires = "sweep")]
    pub rivals: Option<PathBuf>,
    /// Draws recall against false alerts into this file (SVG)
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub plot: Option<PathBuf>,
    /// Format of the lines
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// Mapping of the lines, of a format that is none of these (TOML); `FILE#NAME` picks one of several
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub mapping: Option<String>,
    /// Lanes of each stage
    #[arg(long, default_value_t = 1)]
    pub lanes: usize,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// Prints tables as Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Configuration file of the service: what its [privacy] and [enrich] say holds for these calls too; nothing else of it
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// History, before each of the files.
    #[command(flatten)]
    pub warm: WarmArgs,
    /// The models.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Settings of the knob, in (0, 1000].
#[derive(Clone, Debug)]
pub struct Knobs(Vec<f64>);

impl FromStr for Knobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Knobs, String> {
        let knob = |one: &str| {
            let knob: Option<f64> = one.trim().parse().ok();
            let within = knob.filter(|knob| 0.0 < *knob && *knob <= 1000.0);
            within.ok_or_else(|| {
                format!("`{one}` is no setting of the knob: write numbers above 0 and at most 1000, as in 0.1,1,10")
            })
        };
        text.split(',')
            .map(knob)
            .collect::<Result<_, _>>()
            .map(Knobs)
    }
}

/// An alert as the evaluation sees it.
pub fn told(alert: &Alert, line: i64) -> Told {
    Told {
        line,
        rule: alert.rule.clone(),
        created: alert.activity_id == 1,
        about_identity: alert.about_identity,
        title: alert.title.clone(),
        time_ms: alert.time_ms,
    }
}

/// Runs the command.
///
/// # Errors
/// A file can't be read, or has no labels.
pub fn run(args: &EvalArgs) -> Result<u8, Failure> {
    if args.files.len() != args.labels.len() {
        let (files, labels) = (args.files.len(), args.labels.len());
        return Err(
            format!("{files} files and {labels} of labels; give --labels once a file").into(),
        );
    }
    let labels = args.labels.iter().map(|path| {
        Labels::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    });
    let labels = labels.collect::<Result<Vec<_>, _>>()?;
    if args.ablate {
        return ablate(args, &labels);
    }
    if let Some(knobs) = &args.sweep {
        let knobs = knobs.as_ref().map_or(&sweep::KNOBS[..], |knobs| &knobs.0);
        return sweep::sweep(args, &labels, knobs);
    }
    let evaluation = evaluate(args, &labels, Ideas::default())?;
    let models = args.engine.models.over(&ModelConfig::default());
    let promise = evaluation.promise(models.false_alerts_per_million_events);
    if args.json {
        let mut result = as_json(&evaluation);
        result["promise"] = shown::promise_json(&promise);
        println!("{result}");
        return Ok(0);
    }
    show(args, table(&evaluation));
    println!();
    for (what, part) in [("band", 1), ("kind", 0)] {
        let groups = evaluation.by_part(part);
        if !groups.is_empty() {
            show(args, shown::groups_table(what, &groups));
            println!();
        }
    }
    show(args, shown::roles_table(&evaluation));
    println!();
    println!("{}", summary(&evaluation));
    println!("{}", shown::promise_told(&promise));
    for (rule, title) in &evaluation.false_alerts {
        println!("false: {rule}: {title}");
    }
    Ok(0)
}

/// Replays the files, each from nothing, and compares the alerts with the labels.
fn evaluate(args: &EvalArgs, labels: &[Labels], ideas: Ideas) -> Result<Evaluation, Failure> {
    let engine = &args.engine;
    let rules = load_rules(engine.rules.as_deref(), engine.lookups.as_deref())?;
    let models = ModelConfig {
        ideas,
        ..engine.models.over(&ModelConfig::default())
    };
    over_files(args, labels, &rules, &models)
}

/// The files, one after the other, as one result.
fn over_files(
    args: &EvalArgs,
    labels: &[Labels],
    rules: &Arc<RuleSet>,
    models: &ModelConfig,
) -> Result<Evaluation, Failure> {
    let mut all = Evaluation::default();
    for (file, labels) in args.files.iter().zip(labels) {
        let pass = pass(args, file, rules, models, false)?;
        let evaluation = Evaluation::of(labels, &pass.told, &pass.times);
        add(&mut all, args, file, evaluation);
    }
    Ok(all)
}

/// Adds the result of a file. Where there are several its episodes are named after its folder.
fn add(all: &mut Evaluation, args: &EvalArgs, file: &Path, evaluation: Evaluation) {
    if args.files.len() == 1 {
        *all = evaluation;
        return;
    }
    let folder = file.parent().and_then(Path::file_name);
    let name = folder.or(file.file_name()).unwrap_or_default();
    all.add(&name.to_string_lossy(), evaluation);
}

/// What is measured when ideas are left out: all of them, without each, and each detector alone.
fn variants() -> Vec<(String, Ideas)> {
    const DETECTORS: [Idea; 4] = [Idea::Collection, Idea::Identity, Idea::Runs, Idea::Walks];
    let all = Ideas::default();
    let without = Idea::ALL.map(|idea| (format!("without {}", idea.as_str()), all.without(idea)));
    let alone = DETECTORS.map(|detector| {
        let others = DETECTORS.into_iter().filter(|other| *other != detector);
        (
            format!("{} alone", detector.as_str()),
            others.fold(all, Ideas::without),
        )
    });
    let mut variants = vec![("all".to_owned(), all)];
    variants.extend(without);
    variants.extend(alone);
    variants
}

fn ablate(args: &EvalArgs, labels: &[Labels]) -> Result<u8, Failure> {
    let variants = variants();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bar = ProgressBar::new(variants.len() as u64);
    let mut results = Vec::new();
    for some in variants.chunks(cores) {
        results.extend(in_parallel(some.iter(), |(_, ideas)| {
            let evaluation = evaluate(args, labels, *ideas).map_err(|error| error.to_string());
            bar.inc(1);
            evaluation
        }));
    }
    bar.finish_and_clear();
    let results = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    let rows = variants.iter().map(|(name, _)| name).zip(&results);
    if args.json {
        let rows: serde_json::Map<String, Value> = rows
            .map(|(name, evaluation)| (name.clone(), as_json(evaluation)))
            .collect();
        println!("{}", Value::from(rows));
        return Ok(0);
    }
    let mut table = plain_table();
    table.set_header([
        "",
        "found",
        "of",
        "false alerts",
        "per million",
        "exposed, median",
    ]);
    for (name, evaluation) in rows {
        table.add_row([
            name.clone(),
            evaluation.n_found().to_string(),
            evaluation.episodes.len().to_string(),
            evaluation.false_alerts.len().to_string(),
            format!("{:.1}", evaluation.false_per_million()),
            evaluation.all().exposed().0.to_string(),
        ]);
    }
    show(args, table);
    Ok(0)
}

fn show(args: &EvalArgs, mut table: Table) {
    if args.markdown {
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    }
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_knob_are_numbers_it_may_be() {
        let knobs = |text: &str| text.parse::<Knobs>().map(|knobs| knobs.0);
        assert_eq!(knobs("0.1, 1,1e-9"), Ok(vec![0.1, 1.0, 1e-9]));
        for wrong in ["", "0", "1,,2", "nan", "1001", "-1"] {
            assert!(knobs(wrong).is_err(), "{wrong}");
        }
    }
}
