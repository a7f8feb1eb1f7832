//! `map suggest`: the proposal on standard output, the evidence on the terminal.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use connectors::format::SourceRecord;
use serde_json::{Value, json};

use crate::alert::clean;
use crate::command::reading::rounds;
use crate::command::{Failure, plain_table};
use crate::mapping::compile::name_fault;
use crate::mapping::suggest::{BYTES_MAX, LINES_MAX, Proposal, propose};
use crate::mapping::{Mapping, Reader, SourceFormat};

/// Options of `map suggest`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch map suggest access.log > orders.toml
  tollwatch map suggest access.log.gz --name orders --json
  tollwatch map test access.log --mapping orders.toml

The first 10,000 lines are looked at. No value of a line is shown, only names and counts.
Exit codes: 0 a mapping is proposed, 1 no column seems to be the time, the method or the path, 2 wrong usage.")]
pub struct SuggestArgs {
    /// The log: JSON lines or text; plain, .gz, .xz or .zst
    pub file: PathBuf,
    /// Name of the mapping
    #[arg(long, default_value = "suggested", value_parser = name)]
    pub name: String,
    /// Prints one JSON object: the mapping as TOML, and the evidence
    #[arg(long)]
    pub json: bool,
}

fn name(text: &str) -> Result<String, String> {
    name_fault(text).map_or(Ok(text.to_owned()), Err)
}

/// Runs the command: 1 when a field that every event has is not found.
///
/// # Errors
/// The file can't be read.
pub(super) fn run(args: &SuggestArgs) -> Result<u8, Failure> {
    let payloads = payloads(args)?;
    if payloads
        .iter()
        .all(|payload| payload.trim_ascii().is_empty())
    {
        return Err(format!(
            "{} holds no line: give a file with some hundred of them",
            args.file.display()
        )
        .into());
    }
    let proposal = propose(&args.name, &payloads);
    let decoded = match proposal.missing.is_empty() {
        true => Some(tried(&args.name, &proposal, &payloads)?),
        false => None,
    };
    if args.json {
        println!("{}", report(&proposal, decoded));
    } else {
        // The table first: on a terminal the mapping stands last, where it is looked for.
        show(&proposal, decoded, &mut std::io::stderr().lock())?;
        print!("{}", proposal.toml);
    }
    Ok(u8::from(!proposal.missing.is_empty()))
}

fn payloads(args: &SuggestArgs) -> Result<Vec<Vec<u8>>, Failure> {
    let (mut payloads, mut n_bytes) = (Vec::new(), 0);
    let _ = rounds(&args.file, LINES_MAX as i64, |records, _| {
        for record in records {
            n_bytes += record.payload.len();
            payloads.push(record.payload.to_vec());
        }
        Ok(match n_bytes < BYTES_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(payloads)
}

/// Events and rejects that the proposal makes of the lines it comes from.
fn tried(name: &str, proposal: &Proposal, payloads: &[Vec<u8>]) -> Result<(usize, usize), Failure> {
    let mapping = Mapping::compile(name, &proposal.config)?;
    let records: Vec<SourceRecord<'_>> = (1..)
        .zip(payloads)
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset,
            broker_time_ms: None,
        })
        .collect();
    let mut reader = Reader::new(&SourceFormat::Mapped(Arc::new(mapping)));
    let decoded = reader.decode(&records);
    Ok((decoded.positions.len(), decoded.rejects.len()))
}

fn report(proposal: &Proposal, decoded: Option<(usize, usize)>) -> Value {
    let fields = proposal.choices.iter().map(|choice| {
        json!({
            "field": choice.field, "column": choice.name, "mapped": choice.is_mapped, "share": choice.share,
            "coverage": choice.coverage, "distinct": choice.n_distinct, "name": choice.by_name, "score": choice.score,
        })
    });
    let identities = proposal.identities.iter().map(|one| {
        json!({
            "column": one.name, "field": one.field, "mapped": one.is_mapped, "coverage": one.coverage,
            "distinct": one.n_distinct, "repeats": one.repeats, "several_endpoints": one.breadth,
            "stability": one.stability, "named": one.is_named, "score": one.score,
        })
    });
    json!({
        "mapping": proposal.toml, "lines": proposal.n_lines, "shaped": proposal.n_shaped, "json": proposal.is_json,
        "fields": fields.collect::<Vec<_>>(), "identities": identities.collect::<Vec<_>>(), "missing": proposal.missing,
        "events": decoded.map(|(n_events, _)| n_events), "rejects": decoded.map(|(_, n_rejects)| n_rejects),
    })
}

fn show(
    proposal: &Proposal,
    decoded: Option<(usize, usize)>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mark = |is_mapped: bool| if is_mapped { "mapped" } else { "" }.to_owned();
    let mut table = plain_table();
    table.set_header([
        "field",
        "column",
        "",
        "such values",
        "of the lines",
        "different",
        "name",
    ]);
    for choice in &proposal.choices {
        table.add_row([
            choice.field.to_owned(),
            clean(&choice.name),
            mark(choice.is_mapped),
            percent(choice.share),
            percent(choice.coverage),
            choice.n_distinct.to_string(),
            format!("{:+.1}", choice.by_name),
        ]);
    }
    writeln!(out, "{table}\n")?;
    let mut table = plain_table();
    table.set_header([
        "who calls",
        "field",
        "",
        "of the lines",
        "different",
        "repeats",
        "several endpoints",
        "same by address",
        "score",
    ]);
    for one in &proposal.identities {
        table.add_row([
            clean(&one.name),
            one.field.to_owned(),
            mark(one.is_mapped),
            percent(one.coverage),
            one.n_distinct.to_string(),
            percent(one.repeats),
            percent(one.breadth),
            one.stability.map_or("-".to_owned(), percent),
            format!("{:.2}", one.score),
        ]);
    }
    writeln!(out, "{table}\n")?;
    match decoded {
        Some((n_events, n_rejects)) => writeln!(
            out,
            "the mapping makes {n_events} events and {n_rejects} rejects of {} lines",
            proposal.n_lines
        ),
        None => writeln!(
            out,
            "no column seems to be {}: add these fields by hand, docs/mapping.md says how",
            proposal.missing.join(", ")
        ),
    }
}
