//! `agents`: which AI agents there are, which MCP servers and tools, from logs or from the inventory topic.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::inventory::StyleArgs;
use super::inventory::report::{Style, lines, printable, time};
use super::inventory::source::SourceArgs;
use crate::inventory::{AGENT, SERVER, TOOL};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// Lists the agents: by what they are known, for whom they act, what they use
    List(Box<AgentListArgs>),
    /// Lists the MCP and A2A servers and who calls them
    Servers(Box<AgentListArgs>),
    /// Lists the tools that were called
    Tools(Box<AgentListArgs>),
    /// Shows everything known of one agent, server or tool
    Show(Box<AgentShowArgs>),
}

/// Options of the lists.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch agents list --from access.log.gz
  tollwatch agents servers --brokers broker:9092 --json
  tollwatch agents tools --from access.log.gz --markdown
  tollwatch agents list --from access.log.gz --agents register.toml

What is wrong with them is in `tollwatch posture list`.")]
pub struct AgentListArgs {
    /// Where the records come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Only those the register names nobody for
    #[arg(long)]
    pub unowned: bool,
    /// How it is printed.
    #[command(flatten)]
    pub style: StyleArgs,
}

/// Options of `agents show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch agents show billing-agent --from access.log.gz
  tollwatch agents show mcp.example/mcp --brokers broker:9092 --json

Exit code 1 when nothing has that name.")]
pub struct AgentShowArgs {
    /// Name of an agent, server or tool, or a part of it: all that have it are shown
    pub name: String,
    /// Where the records come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The source can't be read.
pub fn run(command: &AgentsCommand) -> Result<u8, Failure> {
    match command {
        AgentsCommand::List(args) => list(args, &AGENTS),
        AgentsCommand::Servers(args) => list(args, &SERVERS),
        AgentsCommand::Tools(args) => list(args, &TOOLS),
        AgentsCommand::Show(args) => show(args),
    }
}

/// A column: its header, and its cell of a record.
type Column = (&'static str, fn(&Value) -> String);

/// One list.
pub(super) struct List {
    pub(super) schema: &'static str,
    /// Its name in JSON.
    pub(super) name: &'static str,
    columns: &'static [Column],
}

impl List {
    pub(super) fn header(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
    }

    pub(super) fn rows(&self, records: &[Value]) -> Vec<Vec<String>> {
        let row = |record| self.columns.iter().map(|(_, cell)| cell(record)).collect();
        records.iter().map(row).collect()
    }
}

fn name(record: &Value) -> String {
    printable(text(record, "name"))
}

const GRADE: Column = ("grade", |record| text(record, "grade").to_owned());
const CALLS: Column = ("calls", |record| number(record, "calls"));
const CLIENTS: Column = ("clients", |record| some(record, "clients"));
const OWNER: Column = ("owner", |record| {
    printable(record["owner"].as_str().unwrap_or("-"))
});
const FIRST_SEEN: Column = ("first seen", |record| {
    time(record["first_ms"].as_i64().unwrap_or(0))
});
const LISTED_AFTER: Column = ("listed after", seconds);

pub(super) const AGENTS: List = List {
    schema: AGENT,
    name: "agents",
    columns: &[
        ("agent", name),
        GRADE,
        ("by", |record| text(record, "sign").to_owned()),
        ("kind", |record| text(record, "agent_kind").to_owned()),
        CALLS,
        ("for", |record| some(record, "on_behalf_of")),
        ("endpoints", |record| some(record, "endpoints")),
        ("tools", |record| some(record, "tools")),
        OWNER,
        FIRST_SEEN,
        LISTED_AFTER,
    ],
};

pub(super) const SERVERS: List = List {
    schema: SERVER,
    name: "servers",
    columns: &[
        ("server", name),
        GRADE,
        CALLS,
        ("without credential", |record| number(record, "anonymous")),
        CLIENTS,
        ("tools called", |record| some(record, "called")),
        OWNER,
        FIRST_SEEN,
        LISTED_AFTER,
    ],
};

pub(super) const TOOLS: List = List {
    schema: TOOL,
    name: "tools",
    columns: &[
        ("tool", name),
        CALLS,
        CLIENTS,
        OWNER,
        FIRST_SEEN,
        LISTED_AFTER,
    ],
};

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_default()
}

fn number(record: &Value, field: &str) -> String {
    record[field].as_u64().unwrap_or(0).to_string()
}

fn seconds(record: &Value) -> String {
    let ms = record["time_to_discovery_ms"].as_i64().unwrap_or(0);
    format!("{:.1} s", ms as f64 / 1000.0)
}

/// The first three names of a set, and how many more.
fn some(record: &Value, field: &str) -> String {
    let names = record[field]["kept"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let shown = names
        .iter()
        .take(3)
        .map(|named| printable(text(named, "name")));
    let shown: Vec<String> = shown.collect();
    let more = match (
        names.len() - shown.len(),
        record[field]["others"].as_u64().unwrap_or(0),
    ) {
        (0, 0) => String::new(),
        (n, 0) => format!(", and {n} more"),
        (n, _) => format!(", and more than {n} more"),
    };
    match shown.is_empty() {
        true => "-".to_owned(),
        false => format!("{}{more}", shown.join(", ")),
    }
}

/// The records of some schemas among the last of each key, by key.
///
/// # Errors
/// A record can't be read.
pub(super) fn records(
    newest: &BTreeMap<String, String>,
    schemas: &[&str],
) -> Result<Vec<Value>, Failure> {
    let mut records = Vec::new();
    for (key, record) in newest {
        if !schemas.iter().any(|schema| key.starts_with(schema)) {
            continue;
        }
        records.push(serde_json::from_str(record).map_err(|error| {
            format!(
                "record {key:?} can't be read: {error}; was the topic written by somebody else?"
            )
        })?);
    }
    Ok(records)
}

fn list(args: &AgentListArgs, list: &List) -> Result<u8, Failure> {
    let mut records = records(&args.source.newest(&[])?, &[list.schema])?;
    if args.unowned {
        records.retain(|record| record["owner"].is_null());
    }
    let style = args.style.style();
    if style == Style::Json {
        println!("{}", json!({ list.name: records }));
        return Ok(0);
    }
    println!("{}", lines(&list.header(), &list.rows(&records), style));
    Ok(0)
}

fn show(args: &AgentShowArgs) -> Result<u8, Failure> {
    let mut records = records(&args.source.newest(&[])?, &[AGENT, SERVER, TOOL])?;
    let is_whole = records
        .iter()
        .any(|record| text(record, "name") == args.name);
    records.retain(|record| match is_whole {
        true => text(record, "name") == args.name,
        false => text(record, "name").contains(&args.name),
    });
    if args.json {
        println!("{}", json!({ "records": records }));
        return Ok(u8::from(records.is_empty()));
    }
    for record in &records {
        println!("{}\n", details(record));
    }
    if records.is_empty() {
        eprintln!(
            "no agent, server or tool has `{}` in its name; `agents list` has the agents",
            printable(&args.name)
        );
    }
    Ok(u8::from(records.is_empty()))
}

/// Everything of one record.
fn details(record: &Value) -> String {
    let mut text_lines = vec![format!(
        "{} {}",
        text(record, "kind"),
        printable(text(record, "name"))
    )];
    for (field, value) in record.as_object().into_iter().flatten() {
        match value {
            Value::Object(set) => {
                let names = set.get("kept").and_then(Value::as_array);
                let names = names.map_or(&[][..], Vec::as_slice);
                text_lines.push(format!("  {field}:"));
                text_lines.extend(names.iter().map(|named| {
                    format!(
                        "    {}  {} calls, {} to {}",
                        printable(text(named, "name")),
                        number(named, "calls"),
                        time(named["first_ms"].as_i64().unwrap_or(0)),
                        time(named["last_ms"].as_i64().unwrap_or(0)),
                    )
                }));
                match set.get("others").and_then(Value::as_u64).unwrap_or(0) {
                    0 => (),
                    n => text_lines.push(format!("    others  {n} calls")),
                }
            }
            Value::Number(ms) if field == "first_ms" || field == "last_ms" => {
                text_lines.push(format!("  {field}: {}", time(ms.as_i64().unwrap_or(0))));
            }
            Value::String(value) if field != "name" && field != "kind" && field != "schema" => {
                text_lines.push(format!("  {field}: {}", printable(value)));
            }
            Value::Number(_) | Value::Bool(_) => text_lines.push(format!("  {field}: {value}")),
            _ => (),
        }
    }
    text_lines.join("\n")
}
