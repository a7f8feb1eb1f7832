//! `inventory`: which endpoints there are, from the inventory topic, from logs, or from a file that was written before.
//!
//! `source.rs` reads them, `report.rs` prints them. From logs the whole pipeline runs, so it says what `run` would.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use models::inventory::{Entry, Orphan, Severity, changes, compare, openapi};
use serde_json::json;

use self::report::{Report, Style};
use self::source::SourceArgs;
use super::Failure;
use crate::templates;

pub(super) mod report;
pub mod score;
pub(super) mod source;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum InventoryCommand {
    /// Lists the endpoints, and in what they are not as OpenAPI documents say
    List(Box<ListArgs>),
    /// Shows everything known of one endpoint
    Show(Box<ShowArgs>),
    /// Writes the inventory as JSON lines, or as an OpenAPI document of one host
    Export(Box<ExportArgs>),
    /// Compares two inventories that `list --json` or `export` wrote
    Diff(DiffArgs),
    /// Measures what is told of APIs against a file that says what is true of them
    Score(Box<score::ScoreArgs>),
}

/// Options of `inventory list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch inventory list --from access.log.gz
  tollwatch inventory list --from day1.ndjson day2.ndjson --openapi apis/ --json > today.json
  tollwatch inventory list --brokers broker:9092
  tollwatch inventory list --inventory today.json --openapi shop.yaml --markdown

Exit code 1 when something is not as the documents say, of severity medium or high.")]
pub struct ListArgs {
    /// Where the inventory comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// OpenAPI document, or folder of such, to hold the inventory against; may be given more than once
    #[arg(long, value_name = "FILE|DIR", value_delimiter = ',')]
    pub openapi: Vec<PathBuf>,
    /// Only endpoints of this host
    #[arg(long)]
    pub host: Option<String>,
    /// Only endpoints that are not as the documents say
    #[arg(long, requires = "openapi")]
    pub deviating: bool,
    /// How it is printed.
    #[command(flatten)]
    pub style: StyleArgs,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct StyleArgs {
    /// Prints one JSON object
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Prints Markdown
    #[arg(long)]
    pub markdown: bool,
}

impl StyleArgs {
    pub(super) fn style(self) -> Style {
        match (self.json, self.markdown) {
            (true, _) => Style::Json,
            (_, true) => Style::Markdown,
            _ => Style::Table,
        }
    }
}

/// Options of `inventory show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch inventory show 'GET api.example /orders/{id}' --from access.log.gz
  tollwatch inventory show /orders/{id} --brokers broker:9092 --json

Exit code 1 when no endpoint is meant.")]
pub struct ShowArgs {
    /// `METHOD host /template`, or a part of it: every endpoint that has it is shown
    pub endpoint: String,
    /// Where the inventory comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// OpenAPI document, or folder of such, to hold the inventory against
    #[arg(long, value_name = "FILE|DIR", value_delimiter = ',')]
    pub openapi: Vec<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Options of `inventory export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch inventory export --from access.log.gz > inventory.ndjson
  tollwatch inventory export --openapi --host api.example --brokers broker:9092 > api.json")]
pub struct ExportArgs {
    /// Writes an OpenAPI 3.1 document of what was called, instead of the records
    #[arg(long)]
    pub openapi: bool,
    /// The document's host; needed when there are several
    #[arg(long)]
    pub host: Option<String>,
    /// Where the inventory comes from.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Options of `inventory diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch inventory diff monday.json friday.json
  tollwatch inventory diff before.ndjson after.ndjson --markdown

Exit code 1 when there are changes. Counts and times are none.")]
pub struct DiffArgs {
    /// The inventory before
    pub before: PathBuf,
    /// The inventory after
    pub after: PathBuf,
    /// How it is printed.
    #[command(flatten)]
    pub style: StyleArgs,
}

/// Runs the command.
///
/// # Errors
/// The inventory or a document can't be read.
pub fn run(command: &InventoryCommand) -> Result<u8, Failure> {
    match command {
        InventoryCommand::List(args) => list(args),
        InventoryCommand::Show(args) => show(args),
        InventoryCommand::Export(args) => export(args),
        InventoryCommand::Diff(args) => diff(args),
        InventoryCommand::Score(args) => score::run(args),
    }
}

/// The entries of a source, held against documents where there are any, and what these have beside.
fn compared(source: &SourceArgs, paths: &[PathBuf]) -> Result<(Vec<Entry>, Vec<Orphan>), Failure> {
    let documents = templates::documents(paths)?;
    let mut entries = source.entries(paths)?;
    let orphans = match paths.is_empty() {
        true => Vec::new(),
        false => compare(&mut entries, &documents),
    };
    Ok((entries, orphans))
}

fn list(args: &ListArgs) -> Result<u8, Failure> {
    let (mut entries, orphans) = compared(&args.source, &args.openapi)?;
    if let Some(host) = &args.host {
        entries.retain(|entry| entry.host == *host);
    }
    if args.deviating {
        entries.retain(|entry| !entry.deviations.is_empty());
    }
    let report = Report {
        entries,
        orphans,
        is_compared: !args.openapi.is_empty(),
    };
    println!("{}", report.print(args.style.style()));
    let mut deviations = report.entries.iter().flat_map(|entry| &entry.deviations);
    Ok(u8::from(
        deviations.any(|one| Severity::Medium <= one.severity),
    ))
}

fn show(args: &ShowArgs) -> Result<u8, Failure> {
    let (mut entries, _) = compared(&args.source, &args.openapi)?;
    let is_whole = entries.iter().any(|entry| entry.key == args.endpoint);
    entries.retain(|entry| match is_whole {
        true => entry.key == args.endpoint,
        false => entry.key.contains(&args.endpoint),
    });
    if args.json {
        println!("{}", json!({ "inventory": entries }));
    } else {
        for entry in &entries {
            println!("{}\n", report::details(entry));
        }
        if entries.is_empty() {
            eprintln!(
                "no endpoint has `{}` in its name; `inventory list` has them all",
                report::printable(&args.endpoint)
            );
        }
    }
    Ok(u8::from(entries.is_empty()))
}

fn export(args: &ExportArgs) -> Result<u8, Failure> {
    let entries = args.source.entries(&[])?;
    if !args.openapi {
        for entry in &entries {
            if args.host.as_ref().is_none_or(|host| entry.host == *host) {
                println!("{}", serde_json::to_string(entry)?);
            }
        }
        return Ok(0);
    }
    let hosts = openapi::hosts(&entries);
    let host = match (&args.host, hosts.len()) {
        (Some(host), _) if hosts.contains_key(host) => host.clone(),
        (None, 1) => hosts.keys().next().cloned().unwrap_or_default(),
        (None, 0) => {
            return Err(
                "no endpoint was answered with success: there is nothing to describe".into(),
            );
        }
        (asked, _) => {
            let list = hosts
                .iter()
                .map(|(host, n)| format!("  --host {} ({n} endpoints)", report::printable(host)));
            let what = match asked {
                Some(host) => format!("host {} has no answered endpoint", report::printable(host)),
                None => "a document is of one host".to_owned(),
            };
            let list: Vec<String> = list.collect();
            return Err(format!("{what}; give one of\n{}", list.join("\n")).into());
        }
    };
    let document = openapi::export(&entries, &host);
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(0)
}

fn diff(args: &DiffArgs) -> Result<u8, Failure> {
    let (before, after) = (source::file(&args.before)?, source::file(&args.after)?);
    let changes = changes(&before, &after);
    println!("{}", report::changes(&changes, args.style.style()));
    Ok(u8::from(!changes.is_empty()))
}
