//! `explain`: why an alert was raised, how far a caller is from each rule, what one line says.
//!
//! Nothing is looked up: the files are read through the same lanes as `replay` reads them, and what is shown are the
//! columns that rules see. So an alert that comes out again, byte for byte, was made from those lines and no others.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use self::alerts::explain_alerts;
use self::distance::explain_identity;
use self::line::explain_line;
use super::reading::ReadingArgs;
use super::warm::WarmArgs;
use super::{EngineArgs, Failure};

mod alerts;
mod contributions;
mod distance;
mod line;
mod rows;

pub(super) use line::fields as shown_fields;

/// Options of `explain`.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["alerts", "identity", "line"])),
    after_help = "Examples:
  tollwatch explain alerts.ndjson --from access.log.gz
  tollwatch explain alerts.ndjson --uid 5a0e1a5ca4a5b0a1 --from day1.log day2.log --limit 100
  tollwatch explain --identity alice --from access.log.gz --until 2026-01-06T12:00:00Z
  tollwatch explain --line access.log.gz:4711

Alerts come out as they are only with the options of the `replay` that made them: --lanes, --rules, the knob, the
files before theirs. Exit code 1 when an alert comes out otherwise, or not at all."
)]
pub struct ExplainArgs {
    /// Alerts as `replay --alerts` writes them, to be derived again; `-` for standard input
    pub alerts: Option<PathBuf>,
    /// Only alerts whose uid, or whose case's, begins with this
    #[arg(long, requires = "alerts")]
    pub uid: Option<String>,
    /// The caller whose distance to each rule is shown
    #[arg(long)]
    pub identity: Option<String>,
    /// Reads up to and with this line, FILE:LINE with FILE as in --from
    #[arg(long, requires = "identity", conflicts_with = "until", value_parser = line_at)]
    pub at: Option<LineAt>,
    /// Reads up to this event time, as in 2026-01-06T12:00:00Z
    #[arg(long, requires = "identity", value_parser = time_at)]
    pub until: Option<i64>,
    /// One line to decode, FILE:LINE
    #[arg(long, value_parser = line_at)]
    pub line: Option<LineAt>,
    /// The files the alerts or the caller's calls come from, in order: plain, .gz, .xz or .zst
    #[arg(long, num_args = 1.., value_name = "FILE", required_unless_present = "line")]
    pub from: Vec<PathBuf>,
    /// Rows shown of one alert at most: the first, the most surprising and the last
    #[arg(long, default_value_t = 40)]
    pub limit: usize,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// How the files are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// History.
    #[command(flatten)]
    pub warm: WarmArgs,
    /// The models.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// A line of a file, from 1.
#[derive(Clone, Debug)]
pub struct LineAt {
    file: PathBuf,
    number: i64,
}

fn line_at(text: &str) -> Result<LineAt, String> {
    let parts = text.rsplit_once(':');
    let number = parts.and_then(|(_, number)| number.parse().ok().filter(|n| 1 <= *n));
    match (parts, number) {
        (Some((file, _)), Some(number)) => Ok(LineAt {
            file: file.into(),
            number,
        }),
        _ => Err("give FILE:LINE, with lines from 1".to_owned()),
    }
}

fn time_at(text: &str) -> Result<i64, String> {
    let time = connectors::time::parse_time(text);
    time.ok_or_else(|| "give a time as in 2026-01-06T12:00:00Z".to_owned())
}

/// Runs the command: 1 when an alert is not derived as it was.
///
/// # Errors
/// A file can't be read, or what is asked for is not in it.
pub fn run(args: &ExplainArgs) -> Result<u8, Failure> {
    match (&args.alerts, &args.identity, &args.line) {
        (Some(alerts), ..) => explain_alerts(args, alerts),
        (_, Some(identity), _) => explain_identity(args, identity),
        (.., Some(line)) => explain_line(args, line),
        _ => Err("give alerts, --identity or --line".into()),
    }
}
