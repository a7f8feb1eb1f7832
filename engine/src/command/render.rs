//! `render`: alerts of a file as another system takes them.

use std::io::{BufReader, Write, stdin, stdout};
use std::path::{Path, PathBuf};

use clap::Args;
use connectors::file::{Line, Lines, decompress, open};
use connectors::render::{Alert, Format, SEVERITIES, render};

use super::Failure;

/// Faulty lines told one by one; all are counted.
const FAULTS_TOLD: usize = 5;

/// Options of `render`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch replay access.log.gz --alerts alerts.ndjson
  tollwatch render alerts.ndjson --as cef
  tollwatch render alerts.ndjson --as ecs --min-severity high | jq .rule.name
  tollwatch replay access.log.gz --alerts - | tollwatch render - --as leef --rule bola_enumeration

docs/outputs.md has each format's mapping. Exit code 1 when a line is no alert.")]
pub struct RenderArgs {
    /// Alerts, a line each, as `replay --alerts` writes them: plain, .gz, .xz or .zst; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to render, and as what.
    #[command(flatten)]
    pub choice: Choice,
}

/// Which alerts, and as what.
#[derive(Clone, Debug, Args)]
pub struct Choice {
    /// Format: ocsf, ecs, cef, leef, hec (Splunk), asim (Microsoft Sentinel), udm (Google SecOps), json (flat), slack
    #[arg(long = "as", value_name = "FORMAT", default_value = "ocsf", value_parser = format)]
    pub format: Format,
    /// Only alerts at least so severe: informational, low, medium, high, critical, fatal
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    pub min_severity: Option<u8>,
    /// Only alerts of this rule; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub rule: Vec<String>,
}

impl Choice {
    /// True when an alert is wanted.
    pub fn takes(&self, alert: &Alert) -> bool {
        self.min_severity.is_none_or(|min| min <= alert.severity_id)
            && (self.rule.is_empty() || self.rule.contains(&alert.rule))
    }
}

fn format(name: &str) -> Result<Format, String> {
    let names: Vec<&str> = Format::ALL.iter().map(|(name, _)| *name).collect();
    Format::named(name).ok_or_else(|| format!("formats are {}", names.join(", ")))
}

fn severity(name: &str) -> Result<u8, String> {
    let at = SEVERITIES.iter().position(|known| *known == name);
    at.map(|at| at as u8 + 1)
        .ok_or_else(|| format!("severities are {}", SEVERITIES.join(", ")))
}

/// Runs the command.
///
/// # Errors
/// The file can't be read, or standard output can't be written.
pub fn run(args: &RenderArgs) -> Result<u8, Failure> {
    let failed = |error| format!("cannot read {}: {error}", args.file.display());
    let reader = match args.file == Path::new("-") {
        true => decompress(BufReader::new(stdin())).map_err(failed)?,
        false => open(&args.file).map_err(failed)?.reader,
    };
    let (mut out, mut n_faults) = (stdout().lock(), 0);
    for (number, line) in (1..).zip(Lines::new(reader)) {
        let found = match line.map_err(failed)? {
            Line::Bytes { bytes, .. } if bytes.trim_ascii().is_empty() => continue,
            Line::Bytes { bytes, .. } => Alert::parse(&bytes).map_err(|error| error.to_string()),
            Line::Oversized { .. } => Err("it is too long".to_owned()),
        };
        match found {
            Ok(alert) if args.choice.takes(&alert) => {
                writeln!(out, "{}", render(&alert, args.choice.format))?;
            }
            Ok(_) => (),
            Err(fault) => {
                n_faults += 1;
                if n_faults <= FAULTS_TOLD {
                    eprintln!("{}, line {number}: {fault}", args.file.display());
                }
            }
        }
    }
    out.flush()?;
    if n_faults > 0 {
        eprintln!("{n_faults} lines are no alerts");
        return Ok(1);
    }
    Ok(0)
}
