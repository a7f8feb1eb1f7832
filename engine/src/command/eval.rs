//! `eval`: detection measured on a labelled file.

use std::path::PathBuf;

use clap::Args;
use comfy_table::Table;
use serde_json::{Value, json};

use super::replay::{ReplayArgs, replay};
use super::{EngineArgs, Failure, plain_table};
use crate::alert::Alert;
use crate::evaluation::{Evaluation, Labels, Told};
use connectors::format::Format;

/// Options of `eval`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch eval access.log.xz --labels labels.tsv.xz
  tollwatch eval access.ndjson.xz --labels labels.tsv.xz --false-alerts-per-million-events 10 --json")]
pub struct EvalArgs {
    /// The labelled file
    pub file: PathBuf,
    /// Its labels: tab-separated, one row a line, columns label, scenario, foreign, object
    #[arg(long)]
    pub labels: PathBuf,
    /// Format of the lines
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// Lanes of each stage
    #[arg(long, default_value_t = 1)]
    pub lanes: usize,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// Prints tables as Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
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
/// A file can't be read.
pub fn run(args: &EvalArgs) -> Result<u8, Failure> {
    let labels = Labels::read(&args.labels)
        .map_err(|error| format!("cannot read {}: {error}", args.labels.display()))?;
    let replay_args = ReplayArgs {
        files: vec![args.file.clone()],
        format: args.format,
        alerts: None,
        rejects: None,
        lanes: Some(args.lanes),
        state: None,
        json: args.json,
        engine: args.engine.clone(),
    };
    let replayed = replay(&replay_args, |_, _, _| Ok(()))?;
    let told: Vec<Told> = replayed
        .alerts
        .iter()
        .map(|alert| told(alert, alert.position.2))
        .collect();
    let evaluation = Evaluation::of(&labels, &told);
    if args.json {
        println!("{}", as_json(&evaluation));
    } else {
        let mut table = table(&evaluation);
        if args.markdown {
            table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        }
        println!("{table}\n{}", summary(&evaluation));
        for (rule, title) in &evaluation.false_alerts {
            println!("false: {rule}: {title}");
        }
    }
    Ok(0)
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

/// The result in a sentence.
pub fn summary(evaluation: &Evaluation) -> String {
    format!(
        "{} of {} episodes found, {} false alerts ({:.1} per million events), {} posture findings",
        evaluation.n_found(),
        evaluation.episodes.len(),
        evaluation.false_alerts.len(),
        evaluation.false_per_million(),
        evaluation.n_posture
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
        "false_per_million": evaluation.false_per_million(),
        "posture": evaluation.n_posture,
        "events": evaluation.n_events,
    })
}
