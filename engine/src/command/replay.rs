//! `replay`: the same engine over files, without Kafka.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use connectors::reject::Reject;
use models::idea::Ideas;
use serde_json::json;

use super::inputs::listed;
use super::reading::{ReadingArgs, pipeline, read, source_of};
use super::recording::{Recorded, Recording};
use super::warm::{History, WarmArgs};
use super::{EngineArgs, Failure, plain_table};
use crate::alert::Alert;
use crate::inventory::Record;

/// Options of `replay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch replay access.log.xz
  tollwatch replay day1.ndjson.gz day2.ndjson.gz --format kong --alerts alerts.ndjson --json
  tollwatch replay access.log.xz --findings findings.ndjson
  tollwatch replay today.log --warm-from monday.log.gz tuesday.log.gz
  tollwatch replay 2026-*.log.gz --lake history
  tollwatch replay s3://bucket/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/01/ --format aws-alb
  kubectl logs deploy/gateway | tollwatch replay -")]
pub struct ReplayArgs {
    /// What to read, in order: files, plain, .gz, .xz or .zst; - for standard input; folders, and prefixes of object storage
    /// such as s3://bucket/prefix/, by what is in them, in the order of the names
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Writes alerts to this file, one OCSF finding a line; `-` for standard output
    #[arg(long)]
    pub alerts: Option<PathBuf>,
    /// Writes findings of posture to this file as they change, one OCSF compliance finding a line; `-` for standard output
    #[arg(long)]
    pub findings: Option<PathBuf>,
    /// Writes rejected lines' positions and reasons to this file
    #[arg(long)]
    pub rejects: Option<PathBuf>,
    /// Writes the scored events to an event lake: an empty folder, or file:///…, s3://…, gs://…, az://…
    #[arg(long, value_name = "DIR|URL")]
    pub lake: Option<String>,
    /// Prints one JSON object instead of a table
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
    /// The ideas in use.
    #[arg(skip)]
    pub ideas: Ideas,
}

/// What a replay did.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Calls decoded.
    pub n_events: usize,
    /// Rejected records by reason.
    pub rejected: BTreeMap<&'static str, usize>,
    /// Alerts, in order.
    pub alerts: Vec<Alert>,
    /// Wall time.
    pub seconds: f64,
    /// Format found per file.
    pub formats: Vec<(PathBuf, String)>,
    /// What was learned before; none without history.
    pub history: Option<History>,
    /// What was written to the lake; none without one.
    pub lake: Option<Recorded>,
}

/// Runs the command.
///
/// # Errors
/// A file can't be read or written, or a rule is wrong.
pub fn run(args: &ReplayArgs) -> Result<u8, Failure> {
    let mut writer = args.alerts.as_deref().map(sink).transpose()?;
    let mut rejects = args.rejects.as_deref().map(sink).transpose()?;
    let mut told = BTreeMap::<String, (usize, usize)>::new();
    let replayed = replay(args, |path, rejected, alerts| {
        for reject in rejected {
            if let Some(file) = &mut rejects {
                let (file_name, at) = (path.display().to_string(), reject.position);
                let line = json!({ "file": file_name, "line": at.offset, "row": at.row, "reason": reject.reason.as_str(), "detail": reject.detail });
                writeln!(file, "{line}")?;
            }
        }
        for alert in alerts {
            let counts = told.entry(alert.rule.clone()).or_default();
            if alert.activity_id == 1 {
                counts.0 += 1
            } else {
                counts.1 += 1
            }
            if let Some(file) = &mut writer {
                writeln!(file, "{}", alert.json)?;
            }
        }
        // Whoever ends this early finds whole lines.
        for file in [&mut writer, &mut rejects].into_iter().flatten() {
            file.flush()?;
        }
        Ok(())
    })?;
    report(args, &replayed, &told)?;
    Ok(0)
}

/// Replays the files, handing each round's rejects and alerts over as they come.
///
/// # Errors
/// A file can't be read, a rule is wrong, or `each` fails.
pub fn replay(
    args: &ReplayArgs,
    mut each: impl FnMut(&Path, &[Reject], &[Alert]) -> std::io::Result<()>,
) -> Result<Replayed, Failure> {
    let mut pipeline = pipeline(&args.engine, &args.reading, args.ideas)?;
    let mut replayed = Replayed::default();
    let mut findings = args.findings.as_deref().map(sink).transpose()?;
    let started = Instant::now();
    replayed.history = args.warm.learn(&mut pipeline)?;
    let lake = args.lake.as_deref();
    let mut lake = lake
        .map(|place| Recording::start(place, &mut pipeline))
        .transpose()?;
    let files = listed(&args.files)?;
    for path in &files {
        let _ = read(
            &mut pipeline,
            path,
            &source_of(path),
            i64::MAX,
            |round, _| {
                if let Some(lake) = &mut lake {
                    lake.after()?;
                }
                replayed.n_events += round.n_events;
                for reject in &round.rejects {
                    *replayed.rejected.entry(reject.reason.as_str()).or_default() += 1;
                }
                each(path, &round.rejects, &round.alerts)?;
                replayed.alerts.extend(round.alerts);
                write_findings(&mut findings, &round.inventory)?;
                Ok(ControlFlow::Continue(()))
            },
        )?;
        let format = pipeline.detected().map(|format| format.to_string());
        let format = format.unwrap_or_else(|| args.reading.format.to_string());
        replayed.formats.push((path.clone(), format));
    }
    let last = pipeline.close()?;
    write_findings(&mut findings, &last.inventory)?;
    let last = last.alerts;
    each(
        files.last().map_or(Path::new(""), PathBuf::as_path),
        &[],
        &last,
    )?;
    replayed.alerts.extend(last);
    replayed.lake = lake.map(Recording::finish).transpose()?;
    replayed.seconds = started.elapsed().as_secs_f64();
    Ok(replayed)
}

/// Writes the findings that changed, when somebody wants them.
fn write_findings(file: &mut Option<Box<dyn Write>>, records: &[Record]) -> std::io::Result<()> {
    let Some(file) = file else { return Ok(()) };
    for finding in records.iter().filter_map(|record| record.finding.as_ref()) {
        writeln!(file, "{}", finding.json)?;
    }
    file.flush()
}

fn sink(path: &Path) -> Result<Box<dyn Write>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdout().lock()));
    }
    let file =
        File::create(path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

fn report(
    args: &ReplayArgs,
    replayed: &Replayed,
    told: &BTreeMap<String, (usize, usize)>,
) -> Result<(), Failure> {
    let seconds = replayed.seconds;
    if args.json {
        let alerts: BTreeMap<_, _> = told
            .iter()
            .map(|(rule, (created, updated))| {
                (rule, json!({ "created": created, "updated": updated }))
            })
            .collect();
        let formats: BTreeMap<_, _> = replayed
            .formats
            .iter()
            .map(|(path, format)| (path.display().to_string(), format))
            .collect();
        let report = json!({
            "events": replayed.n_events,
            "rejected": replayed.rejected,
            "alerts": alerts,
            "formats": formats,
            "seconds": seconds,
            "history": replayed.history.as_ref().map(History::as_json),
            "lake": replayed.lake.map(Recorded::as_json),
        });
        let mut results = [&args.alerts, &args.findings].into_iter().flatten();
        let mut out: Box<dyn Write> = match results.any(|path| path == Path::new("-")) {
            // Standard output carries the alerts then, or the findings.
            true => Box::new(std::io::stderr()),
            false => Box::new(std::io::stdout()),
        };
        writeln!(out, "{report}")?;
        return Ok(());
    }
    let mut table = plain_table();
    table.set_header(["rule", "alerts", "updates"]);
    for (rule, (created, updated)) in told {
        table.add_row([rule.clone(), created.to_string(), updated.to_string()]);
    }
    for (path, format) in &replayed.formats {
        eprintln!("{}: read as {format}", path.display());
    }
    eprintln!("{table}");
    if let Some(history) = &replayed.history {
        eprintln!("{history}");
    }
    if let Some(lake) = &replayed.lake {
        eprintln!("{lake}");
    }
    for (reason, n) in &replayed.rejected {
        eprintln!("rejected: {n} {reason}");
    }
    eprintln!(
        "{} events in {seconds:.1} s, {:.0} events/s",
        replayed.n_events,
        replayed.n_events as f64 / seconds.max(1e-9)
    );
    Ok(())
}
