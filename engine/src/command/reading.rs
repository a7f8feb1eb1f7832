//! Reads files into a pipeline, round by round: what `replay`, `eval`, `explain` and the rules' workbench share, and
//! `templates learn` in part.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use connectors::file::{Line, Lines};
use connectors::format::{Format, SourceRecord};
use indicatif::{ProgressBar, ProgressStyle};
use models::idea::Ideas;

use super::inputs::open;
use super::run::{ConfigFaults, read_config};
use super::{EngineArgs, Failure, NamingArgs, RuleFaults, load_rules, resolver};
use crate::alert::FILE_PREFIX;
use crate::config::{Config, ModelConfig};
use crate::mapping::{MappingFaults, SourceFormat};
use crate::pipeline::{Pipeline, Round};
use crate::rule::RuleSet;
use crate::stage::decode::DecodeConfig;

/// Lines of one round, whatever the number of lanes. Lanes of one round are heard one after the other, so within it who touched
/// an object first depends on the lanes: few enough that this hardly matters, enough to be worth a thread's start.
pub const LINES_PER_ROUND: usize = 1024;

/// Options of every command that reads files into lanes.
#[derive(Clone, Debug, Args)]
pub struct ReadingArgs {
    /// Format of the lines: auto, or a name in docs/formats.md, such as kong or aws-alb
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// Mapping of the lines, of a format that is none of these (TOML); `FILE#NAME` picks one of several. docs/mapping.md says how
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub mapping: Option<String>,
    /// Lanes of each stage; all cores when absent
    #[arg(long)]
    pub lanes: Option<usize>,
    /// Folder with the key of the keyed hashes, as `run` keeps it; a published key when absent
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// Configuration file of the service: what its [privacy] and [enrich] say holds for these calls too; nothing else of it
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ReadingArgs {
    /// How the lines are read.
    ///
    /// # Errors
    /// Every fault of the mapping.
    pub fn source_format(&self) -> Result<SourceFormat, MappingFaults> {
        SourceFormat::given(self.format, self.mapping.as_deref())
    }
}

/// A pipeline that has read nothing.
///
/// # Errors
/// An option or a rule is wrong, or the key can't be read.
pub fn pipeline(
    engine: &EngineArgs,
    reading: &ReadingArgs,
    ideas: Ideas,
) -> Result<Pipeline, Failure> {
    let models = ModelConfig {
        ideas,
        ..engine.models.over(&ModelConfig::default())
    };
    let rules = load_rules(engine.rules.as_deref(), engine.lookups.as_deref())?;
    pipeline_of(&rules, &models, reading, &engine.naming)
}

/// A pipeline that has read nothing, with these rules.
///
/// # Errors
/// An option or a rule is wrong, or the key can't be read.
pub fn pipeline_of(
    rules: &Arc<RuleSet>,
    models: &ModelConfig,
    reading: &ReadingArgs,
    naming: &NamingArgs,
) -> Result<Pipeline, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let n_lanes = reading.lanes.unwrap_or(cores).clamp(1, 256);
    let models = &ModelConfig {
        register: naming.register()?,
        documents: naming.documents()?,
        ..models.clone()
    };
    let faults = models.faults();
    if !faults.is_empty() {
        return Err(ConfigFaults(faults).into());
    }
    let decode = decoding(reading, naming, n_lanes)?;
    Ok(Pipeline::new(&decode, models, rules, n_lanes).map_err(RuleFaults)?)
}

/// How files are decoded into so many partitions.
///
/// # Errors
/// An option is wrong, or a file it names can't be used.
pub fn decoding(
    reading: &ReadingArgs,
    naming: &NamingArgs,
    partitions: usize,
) -> Result<DecodeConfig, Failure> {
    let config = match &reading.config {
        None => Config::default(),
        Some(path) => read_config(path)?,
    };
    Ok(DecodeConfig {
        format: reading.source_format()?,
        resolver: resolver(reading.state.as_deref(), config.privacy.pseudonymise)?,
        templates: naming.template_set()?,
        enrichment: config.enrichment()?,
        privacy: config.privacy().map_err(ConfigFaults)?,
        partitions,
    })
}

/// The source that alerts name for a file.
pub fn source_of(path: &Path) -> String {
    format!("{FILE_PREFIX}{}", path.display())
}

/// Takes a file all the way, up to and with the line `until`; `each` is handed every round with its last line, and says
/// whether to go on.
///
/// # Errors
/// The file can't be read, or `each` fails.
pub fn read(
    pipeline: &mut Pipeline,
    path: &Path,
    source: &str,
    until: i64,
    mut each: impl FnMut(Round, i64) -> Result<ControlFlow<()>, Failure>,
) -> Result<ControlFlow<()>, Failure> {
    let ended = pipeline.open(Arc::from(source))?;
    match each(ended, 0)? {
        ControlFlow::Continue(()) => rounds(path, until, |records, last| {
            each(pipeline.round(records)?, last)
        }),
        ended => Ok(ended),
    }
}

/// Reads a file's lines up to and with `until`, a round at a time; `each` is handed them with the number of the last, and says
/// whether to go on.
///
/// # Errors
/// The file can't be read, or `each` fails.
pub fn rounds(
    path: &Path,
    until: i64,
    mut each: impl FnMut(&[SourceRecord<'_>], i64) -> Result<ControlFlow<()>, Failure>,
) -> Result<ControlFlow<()>, Failure> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let input = open(path).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bar = progress(&name, input.file_bytes);
    let n_read = input.read_bytes.clone();
    let mut flow = ControlFlow::Continue(());
    let (mut lines, mut last) = (Lines::new(input.reader), 0);
    while flow.is_continue() && last < until {
        let n_max =
            usize::try_from(until - last).map_or(LINES_PER_ROUND, |n| n.min(LINES_PER_ROUND));
        let chunk = read_chunk(&mut lines, n_max).map_err(failed)?;
        let Some(line) = chunk.last() else { break };
        last = line.number;
        let records: Vec<_> = chunk.iter().map(SourceLine::record).collect();
        flow = each(&records, last)?;
        bar.set_position(n_read.load(Ordering::Relaxed));
    }
    bar.finish_and_clear();
    Ok(flow)
}

/// One line with its number. An oversized one is kept as such, to be rejected with its position.
pub struct SourceLine {
    bytes: Vec<u8>,
    /// From 1.
    pub number: i64,
}

impl SourceLine {
    /// As decoders take it.
    pub fn record(&self) -> SourceRecord<'_> {
        SourceRecord {
            payload: &self.bytes,
            offset: self.number,
            broker_time_ms: None,
        }
    }
}

/// The next lines, at most so many.
///
/// # Errors
/// They can't be read.
pub fn read_chunk<R: std::io::BufRead>(
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

/// A bar over so many bytes, when somebody looks.
pub fn progress(what: &str, total_bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total_bytes);
    let style =
        ProgressStyle::with_template("{msg} [{bar:30}] {percent} % {binary_bytes_per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
