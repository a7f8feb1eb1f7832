//! `render`: alerts of a file as another system takes them.

use std::io::{BufReader, IsTerminal, Write, stdin, stdout};
use std::path::{Path, PathBuf};

use clap::Args;
use connectors::file::{Line, Lines, decompress, open};
use connectors::render::avro::{self, AvroFile};
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
  tollwatch render alerts.ndjson --as avro > alerts.avro
  tollwatch render --avro-schema > alert.avsc

docs/outputs.md has each format's mapping. Exit code 1 when a line is no alert.")]
pub struct RenderArgs {
    /// Alerts, a line each, as `replay --alerts` writes them: plain, .gz, .xz or .zst; `-` for standard input
    #[arg(value_name = "FILE", required_unless_present = "avro_schema")]
    pub file: Option<PathBuf>,
    /// Prints the schema of `--as avro`, to be registered by hand
    #[arg(long, conflicts_with = "file")]
    pub avro_schema: bool,
    /// What to render, and as what.
    #[command(flatten)]
    pub choice: Choice,
}

/// Which alerts, and as what.
#[derive(Clone, Debug, Args)]
pub struct Choice {
    /// Format: ocsf, ecs, cef, leef, hec (Splunk), asim (Microsoft Sentinel), udm (Google SecOps), json (flat), slack; avro
    #[arg(long = "as", value_name = "FORMAT", default_value = "ocsf", value_parser = form)]
    pub form: Form,
    /// Only alerts at least so severe: informational, low, medium, high, critical, fatal
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    pub min_severity: Option<u8>,
    /// Only alerts of this rule; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub rule: Vec<String>,
}

/// What alerts are rendered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One line of text.
    Text(Format),
    /// Avro, which goes to topics and files of its own.
    Avro,
}

impl Choice {
    /// True when an alert is wanted.
    pub fn takes(&self, alert: &Alert) -> bool {
        self.min_severity.is_none_or(|min| min <= alert.severity_id)
            && (self.rule.is_empty() || self.rule.contains(&alert.rule))
    }
}

fn form(name: &str) -> Result<Form, String> {
    if name == "avro" {
        return Ok(Form::Avro);
    }
    let names: Vec<&str> = Format::ALL.iter().map(|(name, _)| *name).collect();
    let format = Format::named(name);
    format
        .map(Form::Text)
        .ok_or_else(|| format!("formats are {}, avro", names.join(", ")))
}

fn severity(name: &str) -> Result<u8, String> {
    let at = SEVERITIES.iter().position(|known| *known == name);
    at.map(|at| at as u8 + 1)
        .ok_or_else(|| format!("severities are {}", SEVERITIES.join(", ")))
}

/// Where rendered alerts go.
enum Out<W: Write> {
    Lines(W, Format),
    Avro(AvroFile<W>),
}

impl<W: Write> Out<W> {
    fn push(&mut self, alert: &Alert) -> std::io::Result<()> {
        match self {
            Out::Lines(to, format) => writeln!(to, "{}", render(alert, *format)),
            Out::Avro(file) => file.push(alert),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Out::Lines(mut to, _) => to.flush(),
            Out::Avro(file) => file.finish(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The file can't be read, or standard output can't be written.
pub fn run(args: &RenderArgs) -> Result<u8, Failure> {
    let Some(path) = &args.file else {
        write!(stdout(), "{}", avro::SCHEMA)?;
        return Ok(0);
    };
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let reader = match path == Path::new("-") {
        true => decompress(BufReader::new(stdin())).map_err(failed)?,
        false => open(path).map_err(failed)?.reader,
    };
    let (to, mut n_faults) = (stdout().lock(), 0);
    let mut out = match args.choice.form {
        Form::Text(format) => Out::Lines(to, format),
        Form::Avro if to.is_terminal() => {
            return Err("Avro is no text; send it to a file: > alerts.avro".into());
        }
        Form::Avro => Out::Avro(AvroFile::new(to)),
    };
    for (number, line) in (1..).zip(Lines::new(reader)) {
        let found = match line.map_err(failed)? {
            Line::Bytes { bytes, .. } if bytes.trim_ascii().is_empty() => continue,
            Line::Bytes { bytes, .. } => Alert::parse(&bytes).map_err(|error| error.to_string()),
            Line::Oversized { .. } => Err("it is too long".to_owned()),
        };
        match found {
            Ok(alert) if args.choice.takes(&alert) => out.push(&alert)?,
            Ok(_) => (),
            Err(fault) => {
                n_faults += 1;
                if n_faults <= FAULTS_TOLD {
                    eprintln!("{}, line {number}: {fault}", path.display());
                }
            }
        }
    }
    out.finish()?;
    if n_faults > 0 {
        eprintln!("{n_faults} lines are no alerts");
        return Ok(1);
    }
    Ok(0)
}
