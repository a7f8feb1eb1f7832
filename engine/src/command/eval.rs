//! `eval`: detection measured on a labelled file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::Table;
use indicatif::ProgressBar;
use models::idea::{Idea, Ideas};
use serde_json::{Value, json};

use super::reading::ReadingArgs;
use super::replay::{ReplayArgs, replay};
use super::warm::WarmArgs;
use super::{EngineArgs, Failure, plain_table};
use crate::alert::Alert;
use crate::evaluation::{Evaluation, Labels, Told, wilson};
use crate::pipeline::in_parallel;
use connectors::format::Format;

/// Options of `eval`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch eval access.log.xz --labels labels.tsv.xz
  tollwatch eval access.ndjson.xz --labels labels.tsv.xz --false-alerts-per-million-events 10 --json
  tollwatch eval one.log two.log --labels one.tsv --labels two.tsv --ablate
  tollwatch eval access.log.xz --labels labels.tsv.xz --rules benches/rivals
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

/// An alert as the evaluation sees it.
pub fn told(alert: &Alert, line: i64) -> Told {
    Told {
        line,
        rule: alert.rule.clone(),
        created: alert.activity_id == 1,
        about_identity: alert.about_identity,
        title: alert.title.clone(),
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
    let evaluation = evaluate(args, &labels, Ideas::default())?;
    if args.json {
        println!("{}", as_json(&evaluation));
        return Ok(0);
    }
    show(args, table(&evaluation));
    println!();
    for (what, part) in [("band", 1), ("kind", 0)] {
        let recall = evaluation.by_part(part);
        if !recall.is_empty() {
            show(args, recall_table(what, &recall));
            println!();
        }
    }
    println!("{}", summary(&evaluation));
    for (rule, title) in &evaluation.false_alerts {
        println!("false: {rule}: {title}");
    }
    Ok(0)
}

/// Replays the files, each from nothing, and compares the alerts with the labels.
fn evaluate(args: &EvalArgs, labels: &[Labels], ideas: Ideas) -> Result<Evaluation, Failure> {
    let mut all = Evaluation::default();
    for (file, labels) in args.files.iter().zip(labels) {
        let replay_args = ReplayArgs {
            files: vec![file.clone()],
            alerts: None,
            findings: None,
            rejects: None,
            lake: None,
            json: args.json,
            reading: ReadingArgs {
                format: args.format,
                mapping: args.mapping.clone(),
                lanes: Some(args.lanes),
                state: None,
                config: args.config.clone(),
            },
            warm: args.warm.clone(),
            engine: args.engine.clone(),
            ideas,
        };
        let replayed = replay(&replay_args, |_, _, _| Ok(()))?;
        let told: Vec<Told> = replayed
            .alerts
            .iter()
            .map(|alert| told(alert, alert.position.2))
            .collect();
        let evaluation = Evaluation::of(labels, &told);
        if args.files.len() == 1 {
            return Ok(evaluation);
        }
        let folder = file.parent().and_then(Path::file_name);
        let name = folder.or(file.file_name()).unwrap_or_default();
        all.add(&name.to_string_lossy(), evaluation);
    }
    Ok(all)
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
            evaluation.exposed().0.to_string(),
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

fn recall_table(what: &str, recall: &BTreeMap<String, (usize, usize)>) -> Table {
    let mut table = plain_table();
    table.set_header([what, "found", "of", "95 % interval"]);
    for (part, &(found, n)) in recall {
        let (low, high) = wilson(found, n);
        let interval = format!("{low:.2} to {high:.2}");
        table.add_row([part.clone(), found.to_string(), n.to_string(), interval]);
    }
    table
}

/// One row an episode.
pub fn table(evaluation: &Evaluation) -> Table {
    let mut table = plain_table();
    table.set_header([
        "episode",
        "events",
        "others' objects",
        "found by",
        "exposed before",
        "events before",
    ]);
    for (name, episode) in &evaluation.episodes {
        table.add_row([
            name.clone(),
            episode.n_events.to_string(),
            episode.n_objects.to_string(),
            episode.rule.clone().unwrap_or_else(|| "missed".to_owned()),
            episode.n_exposed.to_string(),
            episode.n_events_before.to_string(),
        ]);
    }
    table
}

/// The result in a few sentences.
pub fn summary(evaluation: &Evaluation) -> String {
    let (median, decile) = evaluation.exposed();
    let roles = evaluation
        .false_by_role
        .iter()
        .filter(|(role, _)| !role.is_empty());
    let roles: Vec<_> = roles.map(|(role, n)| format!("{n} {role}")).collect();
    let roles = if roles.is_empty() {
        String::new()
    } else {
        format!(": {}", roles.join(", "))
    };
    format!(
        "{} of {} episodes found, {} false alerts ({:.1} per million events{roles}), {} posture findings; others' objects \
         exposed before the alert: median {median}, in nine of ten cases at most {decile}",
        evaluation.n_found(),
        evaluation.episodes.len(),
        evaluation.false_alerts.len(),
        evaluation.false_per_million(),
        evaluation.n_posture,
    )
}

/// The result as one object.
pub fn as_json(evaluation: &Evaluation) -> Value {
    let episodes: serde_json::Map<String, Value> = evaluation
        .episodes
        .iter()
        .map(|(name, e)| {
            let row = json!({
                "events": e.n_events, "objects": e.n_objects, "rule": e.rule,
                "exposed_before": e.n_exposed, "events_before": e.n_events_before,
            });
            (name.clone(), row)
        })
        .collect();
    json!({
        "episodes": episodes,
        "found": evaluation.n_found(),
        "false_alerts": evaluation.false_alerts,
        "false_by_role": evaluation.false_by_role,
        "false_per_million": evaluation.false_per_million(),
        "exposed_median": evaluation.exposed().0,
        "exposed_decile": evaluation.exposed().1,
        "posture": evaluation.n_posture,
        "events": evaluation.n_events,
    })
}
