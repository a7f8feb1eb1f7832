//! `templates`: learns from logs which words in paths are names, and shows what was learnt.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use connectors::format::Format;
use models::template::Learner;
use models::template::learner::{Learnt, Observation};
use models::template::set::{self, TEMPLATES_MAX};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::inputs::listed;
use super::reading::{rounds, source_of};
use super::{Failure, plain_table, resolver};
use crate::alert::clean;
use crate::lane::Outbox;
use crate::mapping::SourceFormat;
use crate::schema::EventView;
use crate::stage::decode::{Decode, DecodeConfig};
use crate::templates::{parse, read};

/// Variables of the table; all are in the file and in `--json`.
const SHOWN_MAX: usize = 50;

/// The forms of `templates`.
#[derive(Debug, Subcommand)]
pub enum TemplatesCommand {
    /// Learns templates from logs
    Learn(LearnArgs),
    /// Shows the templates of a file
    Show(ShowArgs),
}

/// Options of `templates learn`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch templates learn access.log.gz --out templates.txt
  tollwatch templates learn monday.log tuesday.log --json
  tollwatch replay wednesday.log --templates templates.txt

Without --out the templates go to standard output. A day of several callers' calls is a good beginning: what one caller
alone does makes no variable. docs/templates.md has what is found and what is not.")]
pub struct LearnArgs {
    /// Logs to learn from: plain, .gz, .xz or .zst
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// File the templates are written to
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Format of the lines: auto, or a name in docs/formats.md, such as kong or aws-alb
    #[arg(long, default_value = "auto")]
    pub format: Format,
    /// Mapping of the lines, of a format that is none of these (TOML); `FILE#NAME` picks one of several
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub mapping: Option<String>,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Options of `templates show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch templates show templates.txt
  tollwatch templates show templates.txt --json")]
pub struct ShowArgs {
    /// File that `templates learn` wrote
    pub file: PathBuf,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// A file can't be read or written, or is none of templates.
pub fn run(command: &TemplatesCommand) -> Result<u8, Failure> {
    match command {
        TemplatesCommand::Learn(args) => learn(args)?,
        TemplatesCommand::Show(args) => show(args)?,
    }
    Ok(0)
}

/// What was read.
#[derive(Default)]
struct Counts {
    n_events: usize,
    n_rejected: usize,
}

fn learn(args: &LearnArgs) -> Result<(), Failure> {
    let (mut learner, mut counts) = (Learner::default(), Counts::default());
    let format = SourceFormat::given(args.format, args.mapping.as_deref())?;
    for path in &listed(&args.files)? {
        observe(path, format.clone(), &mut learner, &mut counts)?;
    }
    let learnt = learner.learnt();
    if TEMPLATES_MAX < learnt.templates.len() {
        let n = learnt.templates.len();
        return Err(format!(
            "{n} templates were learnt, and a set holds {TEMPLATES_MAX}: learn from the logs of fewer hosts"
        )
        .into());
    }
    let text = set::write(pairs(&learnt));
    if let Some(path) = &args.out {
        std::fs::write(path, &text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    tell(args, &learnt, &counts, learner.n_ignored(), &text)
}

fn observe(
    path: &Path,
    format: SourceFormat,
    learner: &mut Learner,
    counts: &mut Counts,
) -> Result<(), Failure> {
    let config = DecodeConfig {
        format,
        resolver: resolver(None, false)?,
        templates: Arc::default(),
        enrichment: Arc::default(),
        privacy: Arc::default(),
        partitions: 1,
    };
    let mut decode = Decode::new(source_of(path).into(), 0, config);
    // Nobody asks to stop.
    let _ = rounds(path, i64::MAX, |records, _| {
        let mut out = Outbox::default();
        let pushed = decode.push(records, 0, &mut out)?;
        decode.flush(&mut out)?;
        counts.n_events += pushed.n_events;
        counts.n_rejected += pushed.rejects.len();
        for (_, record) in &out.records {
            let events = EventView::new(&record.batch)?;
            for event in (0..record.batch.num_rows()).map(|row| events.row(row)) {
                // The path of an event has no secrets in it: neither has what is learnt.
                learner.observe(&Observation {
                    method: event.method,
                    host: event.host,
                    path: event.path,
                    status: event.status.and_then(|status| status.try_into().ok()),
                    caller: xxh3_64(event.identity.as_bytes()),
                });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(())
}

fn pairs(learnt: &Learnt) -> impl Iterator<Item = (&str, &str)> {
    let templates = learnt.templates.iter();
    templates.map(|(host, template)| (host.as_str(), template.as_str()))
}

fn tell(
    args: &LearnArgs,
    learnt: &Learnt,
    counts: &Counts,
    n_ignored: u64,
    text: &str,
) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if args.json {
        let variables: Vec<Value> = learnt
            .merges
            .iter()
            .map(|merge| {
                json!({
                    "host": merge.host, "template": merge.template, "values": merge.n_values,
                    "calls": merge.n_calls, "examples": merge.examples,
                })
            })
            .collect();
        let told = json!({
            "events": counts.n_events, "rejected": counts.n_rejected, "without_room": n_ignored,
            "variables": variables, "templates": as_json(pairs(learnt)),
        });
        return Ok(writeln!(out, "{told}")?);
    }
    let mut table = plain_table();
    table.set_header(["host", "template", "values", "calls", "examples"]);
    for merge in learnt.merges.iter().take(SHOWN_MAX) {
        let (values, calls) = (merge.n_values.to_string(), merge.n_calls.to_string());
        table.add_row([
            clean(&merge.host),
            clean(&merge.template),
            values,
            calls,
            clean(&merge.examples.join(", ")),
        ]);
    }
    let mut told = format!("{table}\n");
    if SHOWN_MAX < learnt.merges.len() {
        let n = learnt.merges.len() - SHOWN_MAX;
        told.push_str(&format!("and {n} more with fewer calls (--json)\n"));
    }
    told.push_str(&format!(
        "{} variables in {} templates, from {} events; {} records rejected",
        learnt.merges.len(),
        learnt.templates.len(),
        counts.n_events,
        counts.n_rejected
    ));
    if 0 < n_ignored {
        told.push_str(&format!(
            "; {n_ignored} calls of further hosts not learnt from"
        ));
    }
    match &args.out {
        Some(path) => writeln!(out, "{told}; written to {}", path.display())?,
        None => {
            out.write_all(text.as_bytes())?;
            writeln!(std::io::stderr(), "{told}")?;
        }
    }
    Ok(())
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let text = read(&args.file)?;
    let templates = parse(&args.file, &text)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let told = json!({ "templates": as_json(templates.into_iter()) });
        return Ok(writeln!(out, "{told}")?);
    }
    let n = templates.len();
    let mut table = plain_table();
    table.set_header(["host", "template"]);
    for (host, template) in templates {
        table.add_row([clean(host), clean(template)]);
    }
    Ok(writeln!(out, "{table}\n{n} templates")?)
}

fn as_json<'a>(templates: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Value> {
    templates
        .map(|(host, template)| json!({ "host": host, "template": template }))
        .collect()
}
