//! `posture`: what is wrong with the APIs, from logs or from the inventory topic; and what is looked for.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use models::agent::{AGENT_CHECKS, agents_page};
use models::posture::{CHECKS, Check, Decided, checks_page};
use models::spread::PROBE_SPREAD;
use serde_json::{Value, json};

use super::Failure;
use super::inventory::StyleArgs;
use super::inventory::report::{Style, lines, printable, time};
use super::inventory::source::SourceArgs;
use crate::inventory::FINDING;

pub(super) mod digest;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum PostureCommand {
    /// Lists what is wrong with endpoints and hosts
    List(Box<ListArgs>),
    /// Says what became of findings since yesterday: new, back, resolved, and how many are open
    Digest(Box<digest::DigestArgs>),
    /// Lists what is looked for, and what no log can show
    Checks(ChecksArgs),
}

/// Options of `posture list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch posture list --from access.log.gz
  tollwatch posture list --from day1.ndjson day2.ndjson --all --json
  tollwatch posture list --brokers broker:9092 --markdown

Exit code 1 when something is open, of severity medium or more.")]
pub struct ListArgs {
    /// Where findings come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Those that are resolved and stale too
    #[arg(long)]
    pub all: bool,
    /// How it is printed.
    #[command(flatten)]
    pub style: StyleArgs,
}

/// Options of `posture checks`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch posture checks
  tollwatch posture checks --markdown > checks.md")]
pub struct ChecksArgs {
    /// How it is printed.
    #[command(flatten)]
    pub style: StyleArgs,
}

/// Runs the command.
///
/// # Errors
/// The source can't be read.
pub fn run(command: &PostureCommand) -> Result<u8, Failure> {
    match command {
        PostureCommand::List(args) => list(args),
        PostureCommand::Digest(args) => digest::run(args),
        PostureCommand::Checks(args) => checks(args.style.style()),
    }
}

/// The order of severities, worst first.
pub(super) const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", "informational"];

pub(super) fn text<'a>(finding: &'a Value, field: &str) -> &'a str {
    finding[field].as_str().unwrap_or_default()
}

/// Its place in [`SEVERITIES`].
pub(super) fn rank(finding: &Value) -> usize {
    let severity = text(finding, "severity");
    let place = SEVERITIES.iter().position(|name| *name == severity);
    place.unwrap_or(SEVERITIES.len())
}

/// True when it is a medium one or worse.
pub(super) fn is_severe(finding: &Value) -> bool {
    rank(finding) <= 2
}

/// The findings among the last records of each key, worst first.
///
/// # Errors
/// A record is no finding.
pub(super) fn findings(newest: &BTreeMap<String, String>) -> Result<Vec<Value>, Failure> {
    let mut findings = Vec::new();
    for (key, record) in newest {
        if !key.starts_with(FINDING) {
            continue;
        }
        let finding: Value = serde_json::from_str(record).map_err(|error| {
            format!(
                "record {key:?} is no finding: {error}; was the topic written by somebody else?"
            )
        })?;
        findings.push(finding);
    }
    findings.sort_by(|a, b| {
        let key = |finding: &Value| {
            (
                rank(finding),
                text(finding, "check").to_owned(),
                text(finding, "subject").to_owned(),
            )
        };
        key(a).cmp(&key(b))
    });
    Ok(findings)
}

fn list(args: &ListArgs) -> Result<u8, Failure> {
    let mut findings = findings(&args.source.newest(&[])?)?;
    findings.retain(|finding| args.all || text(finding, "phase") == "open");
    let is_bad = |finding: &Value| text(finding, "phase") == "open" && is_severe(finding);
    let code = u8::from(findings.iter().any(is_bad));
    let style = args.style.style();
    if style == Style::Json {
        println!("{}", json!({ "findings": findings }));
        return Ok(code);
    }
    let row = |finding: &Value| {
        let number = |field: &str| finding[field].as_u64().unwrap_or(0);
        let share = |field: &str| 100.0 * finding[field].as_f64().unwrap_or(0.0);
        vec![
            text(finding, "severity").to_owned(),
            text(finding, "check").to_owned(),
            printable(text(finding, "subject")),
            text(finding, "phase").to_owned(),
            format!("{} of {}", number("bad"), number("of")),
            format!("{:.1} to {:.1} %", share("rate_low"), share("rate_high")),
            number("identities").to_string(),
            time(finding["first_ms"].as_i64().unwrap_or(0)),
        ]
    };
    let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
    let header = [
        "severity", "check", "of", "phase", "calls", "rate", "callers", "since",
    ];
    let n_open = findings
        .iter()
        .filter(|finding| text(finding, "phase") == "open");
    let summary = format!(
        "{} open; `tollwatch posture checks` says what each means and what to do",
        n_open.count()
    );
    println!("{}\n\n{summary}", lines(&header, &rows, style));
    Ok(code)
}

/// Every check: of posture, of agents and servers, and of probing that is spread.
fn all() -> impl Iterator<Item = &'static Check> {
    let others = AGENT_CHECKS.iter().chain([&PROBE_SPREAD]);
    CHECKS.iter().copied().chain(others)
}

fn checks(style: Style) -> Result<u8, Failure> {
    let decided = |decided: &Decided| match decided {
        Decided::Calls(_) => ("calls", ""),
        Decided::Elsewhere(by) => ("elsewhere", *by),
        Decided::NotObservable(why) => ("not_observable", *why),
    };
    match style {
        Style::Markdown => println!("{}\n{}", checks_page(), agents_page()),
        Style::Json => {
            let all = all().map(|check| {
                let (by, why) = decided(&check.decided);
                json!({
                    "id": check.id, "title": check.title,
                    "severity": check.severity.as_str(), "tier": check.tier.as_str(),
                    "scope": check.scope.as_str(), "needs": check.needs, "decided": by, "why": why,
                    "bad": check.bad, "contrary": check.contrary, "remedy": check.remedy,
                })
            });
            println!("{}", json!({ "checks": all.collect::<Vec<_>>() }));
        }
        Style::Table => {
            let rows = all().map(|check| {
                let (by, why) = decided(&check.decided);
                vec![
                    check.id.to_owned(),
                    check.severity.as_str().to_owned(),
                    check.title.to_owned(),
                    check.needs.join(", "),
                    if why.is_empty() {
                        by.to_owned()
                    } else {
                        format!("{by}: {why}")
                    },
                ]
            });
            let rows: Vec<Vec<String>> = rows.collect();
            let header = ["check", "severity", "what", "needs", "decided by"];
            println!("{}", lines(&header, &rows, style));
        }
    }
    Ok(0)
}
