//! `replay`: the same engine over files, without Kafka.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use connectors::file::{Line, Lines, open};
use connectors::format::{Format, SourceRecord};
use connectors::reject::Reject;
use indicatif::{ProgressBar, ProgressStyle};
use models::idea::Ideas;
use serde_json::json;

use super::run::ConfigFaults;
use super::{EngineArgs, Failure, RuleFaults, load_rules, plain_table, resolver};
use crate::alert::{Alert, FILE_PREFIX};
use crate::config::ModelConfig;
use crate::pipeline::Pipeline;
use crate::stage::decode::DecodeConfig;

/// Lines of one round, whatever the number of lanes. Lanes of one round are heard one after the other, so within it who touched
/// an object first depends on the lanes: few enough that this hardly matters, enough to be worth a thread's start.
const LINES_PER_ROUND: usize = 1024;

/// Options of `replay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch replay access.log.xz
  tollwatch replay day1.ndjson.gz day2.ndjson.gz --format kong --alerts alerts.ndjson --json")]
pub struct ReplayArgs {
    /// Files to read, in order: plain, .gz, .xz or .zst
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Format of the lines: auto, kong, envoy (istio), nginx, combined (apache)
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// Writes alerts to this file, one OCSF finding a line; `-` for standard output
    #[arg(long)]
    pub alerts: Option<PathBuf>,
    /// Writes rejected lines' positions and reasons to this file
    #[arg(long)]
    pub rejects: Option<PathBuf>,
    /// Lanes of each stage; all cores when absent
    #[arg(long)]
    pub lanes: Option<usize>,
    /// Folder with the key of the keyed hashes, as `run` keeps it; a published key when absent
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
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
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let n_lanes = args.lanes.unwrap_or(cores).clamp(1, 256);
    let models = ModelConfig {
        ideas: args.ideas,
        ..args.engine.models(&ModelConfig::default())
    };
    let faults = models.faults();
    if !faults.is_empty() {
        return Err(ConfigFaults(faults).into());
    }
    let rules = load_rules(args.engine.rules.as_deref())?;
    let resolver = resolver(args.state.as_deref(), false)?;
    let decode = DecodeConfig {
        format: args.format,
        resolver,
        partitions: n_lanes,
    };
    let mut pipeline = Pipeline::new(&decode, &models, &rules, n_lanes).map_err(RuleFaults)?;
    let mut replayed = Replayed::default();
    let started = Instant::now();
    for path in &args.files {
        let input =
            open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let bar = progress(path, input.file_bytes);
        let n_read = input.read_bytes.clone();
        let ended = pipeline.open(format!("{FILE_PREFIX}{}", path.display()).into())?;
        each(path, &[], &ended)?;
        replayed.alerts.extend(ended);
        let mut lines = Lines::new(input.reader);
        loop {
            let chunk = read_chunk(&mut lines, LINES_PER_ROUND)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            if chunk.is_empty() {
                break;
            }
            let records: Vec<_> = chunk.iter().map(SourceLine::record).collect();
            let round = pipeline.round(&records)?;
            replayed.n_events += round.n_events;
            for reject in &round.rejects {
                *replayed.rejected.entry(reject.reason.as_str()).or_default() += 1;
            }
            each(path, &round.rejects, &round.alerts)?;
            replayed.alerts.extend(round.alerts);
            bar.set_position(n_read.load(Ordering::Relaxed));
        }
        bar.finish_and_clear();
        let format = pipeline.detected().unwrap_or(args.format);
        replayed.formats.push((path.clone(), format.to_string()));
    }
    let last = pipeline.close()?;
    each(
        args.files.last().map_or(Path::new(""), PathBuf::as_path),
        &[],
        &last,
    )?;
    replayed.alerts.extend(last);
    replayed.seconds = started.elapsed().as_secs_f64();
    Ok(replayed)
}

/// One line with its number. An oversized one is kept as such, to be rejected with its position.
pub struct SourceLine {
    bytes: Vec<u8>,
    number: i64,
}

impl SourceLine {
    fn record(&self) -> SourceRecord<'_> {
        SourceRecord {
            payload: &self.bytes,
            offset: self.number,
            broker_time_ms: None,
        }
    }
}

fn read_chunk<R: std::io::BufRead>(
    lines: &mut Lines<R>,
    n_max: usize,
) -> std::io::Result<Vec<SourceLine>> {
    /// A chunk's bytes are bounded, so that a file of long lines is no memory bomb.
    const BYTES_MAX: usize = 64 << 20;
    let (mut chunk, mut n_bytes) = (Vec::new(), 0);
    while chunk.len() < n_max && n_bytes < BYTES_MAX {
        let Some(line) = lines.next().transpose()? else {
            break;
        };
        let (bytes, number) = match line {
            Line::Bytes { number, bytes } => (bytes, number),
            // One byte over the decoders' limit: they say why it is rejected.
            Line::Oversized { number, .. } => (vec![b' '; (1 << 20) + 1], number),
        };
        n_bytes += bytes.len();
        chunk.push(SourceLine {
            bytes,
            number: number as i64,
        });
    }
    Ok(chunk)
}

fn progress(path: &Path, total_bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total_bytes);
    let style =
        ProgressStyle::with_template("{msg} [{bar:30}] {percent} % {binary_bytes_per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(
        path.file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into()),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
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
        });
        let mut out: Box<dyn Write> = match args.alerts.as_deref() {
            // Standard output carries the alerts then.
            Some(path) if path == Path::new("-") => Box::new(std::io::stderr()),
            _ => Box::new(std::io::stdout()),
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
