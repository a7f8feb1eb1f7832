//! `map test`: lines before and after a mapping.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use connectors::format::SourceRecord;
use serde_json::{Map, Value, json};

use super::shown;
use crate::alert::clean;
use crate::command::check::blind_by_mapping;
use crate::command::explain::shown_fields;
use crate::command::reading::rounds;
use crate::command::{Failure, load_rules, plain_table, resolver};
use crate::lane::Outbox;
use crate::mapping::{Mapping, Reader, SourceFormat, load};
use crate::schema::EventView;
use crate::stage::decode::{Decode, DecodeConfig};

/// Kinds of rejects that are told apart.
const KINDS_MAX: usize = 100;

/// Options of `map test`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch map test access.log --mapping orders.toml
  tollwatch map test access.log.gz --mapping tollwatch.toml#orders --rows 20
  tollwatch map test access.log --mapping orders.toml --json

What could be a credential is shown by its length alone, in a line as in its fields.
Exit codes: 0 every line is a call or none, 1 some lines are rejected, 2 wrong usage.")]
pub struct TestArgs {
    /// The log: plain, .gz, .xz or .zst
    pub file: PathBuf,
    /// File with the mapping (TOML); `FILE#NAME` picks one of several
    #[arg(long, value_name = "FILE")]
    pub mapping: String,
    /// Lines that are read
    #[arg(long, default_value_t = 10_000)]
    pub lines: u32,
    /// Lines that are shown, and as many of the rejected ones
    #[arg(long, default_value_t = 5)]
    pub rows: usize,
    /// Folder of rules (.sql), to say which are blind; the shipped ones when absent
    #[arg(long, env = "TOLLWATCH_RULES")]
    pub rules: Option<PathBuf>,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// What the lines became.
#[derive(Default)]
struct Tested {
    n_lines: usize,
    n_events: usize,
    /// Lines that are neither events nor rejects.
    n_no_calls: usize,
    /// Rejects by reason and detail: how many, and the first line.
    rejects: BTreeMap<(&'static str, String), (usize, i64)>,
    /// Callers, up to a bound.
    identities: BTreeSet<String>,
    shown: Vec<Value>,
    shown_rejects: Vec<Value>,
}

/// Callers that are counted.
const IDENTITIES_MAX: usize = 100_000;

/// Runs the command: 1 when a line is rejected.
///
/// # Errors
/// The file can't be read, or every fault of the mapping.
pub(super) fn run(args: &TestArgs) -> Result<u8, Failure> {
    let mapping = load(&args.mapping)?;
    let rules = load_rules(args.rules.as_deref(), None)?;
    let format = SourceFormat::Mapped(mapping.clone());
    let mut reader = Reader::new(&format);
    let config = DecodeConfig {
        format,
        resolver: resolver(None, false)?,
        templates: Default::default(),
        enrichment: Default::default(),
        privacy: Default::default(),
        partitions: 1,
    };
    let mut decode = Decode::new("file".into(), 0, config);
    let mut tested = Tested::default();
    let _ = rounds(&args.file, i64::from(args.lines), |records, _| {
        tested.take(args, records, &mut reader, &mut decode)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let blind = blind_by_mapping(&rules, &mapping);
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", tested.report(&mapping, &blind))?,
        false => tested.show(&mapping, &blind, &mut out)?,
    }
    Ok(u8::from(!tested.rejects.is_empty()))
}

impl Tested {
    fn take(
        &mut self,
        args: &TestArgs,
        records: &[SourceRecord<'_>],
        reader: &mut Reader,
        decode: &mut Decode,
    ) -> Result<(), Failure> {
        let decoded = reader.decode(records);
        let mut out = Outbox::default();
        decode.push(records, 0, &mut out)?;
        decode.flush(&mut out)?;
        self.n_lines += records.len();
        self.n_events += decoded.positions.len();
        let mut offsets: BTreeSet<i64> = decoded.positions.iter().map(|at| at.offset).collect();
        let line = |offset: i64| {
            let record = records.iter().find(|record| record.offset == offset);
            record.map_or(&[][..], |record| record.payload)
        };
        for reject in &decoded.rejects {
            let at = reject.position.offset;
            offsets.insert(at);
            if self.shown_rejects.len() < args.rows {
                self.shown_rejects.push(json!({
                    "line": at, "row": reject.position.row, "before": shown::line(line(at)),
                    "reason": reject.reason.as_str(), "detail": clean(&reject.detail),
                }));
            }
            let kind = (reject.reason.as_str(), clean(&reject.detail));
            if self.rejects.len() < KINDS_MAX || self.rejects.contains_key(&kind) {
                self.rejects.entry(kind).or_insert((0, at)).0 += 1;
            }
        }
        self.n_no_calls += records.len() - offsets.len();
        // The stage gives a row for each that was decoded, in the same order.
        let Some((_, written)) = out.records.first() else {
            return Ok(());
        };
        let events = EventView::new(&written.batch)?;
        for (row, at) in decoded.positions.iter().enumerate() {
            let event = events.row(row);
            if self.identities.len() < IDENTITIES_MAX {
                self.identities.insert(event.identity.to_owned());
            }
            if args.rows <= self.shown.len() {
                continue;
            }
            let mut fields: Map<String, Value> = shown_fields(&decoded.batch, row);
            // As the stage writes them, without secrets.
            fields.insert("path".to_owned(), json!(clean(event.path)));
            for (name, text) in [("query", event.query), ("referer", event.referer)] {
                if let Some(text) = text {
                    fields.insert(name.to_owned(), json!(clean(text)));
                }
            }
            self.shown.push(json!({
                "line": at.offset, "row": at.row, "before": shown::line(line(at.offset)), "after": fields,
                "identity": clean(event.identity), "identity_kind": event.identity_kind, "endpoint": clean(event.endpoint),
            }));
        }
        Ok(())
    }

    /// Events among the rows that are calls or rejects; 1 of none.
    fn share(&self) -> f64 {
        let n_rejects: usize = self.rejects.values().map(|(n, _)| n).sum();
        self.n_events as f64 / (self.n_events + n_rejects).max(1) as f64
    }

    fn report(&self, mapping: &Mapping, blind: &[(String, Vec<String>)]) -> Value {
        let rejects = self.rejects.iter().map(|((reason, detail), (n, first))| {
            json!({ "reason": reason, "detail": detail, "lines": n, "first": first })
        });
        let blind: Map<String, Value> = blind
            .iter()
            .map(|(rule, columns)| (rule.clone(), json!(columns)))
            .collect();
        json!({
            "mapping": mapping.name(), "lines": self.n_lines, "events": self.n_events, "no_calls": self.n_no_calls,
            "share": self.share(), "identities": self.identities.len(), "rejects": rejects.collect::<Vec<_>>(),
            "rows": self.shown, "rejected_rows": self.shown_rejects, "blind": blind,
        })
    }

    fn show(
        &self,
        mapping: &Mapping,
        blind: &[(String, Vec<String>)],
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        let text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        for row in &self.shown {
            writeln!(out, "line {}: {}", row["line"], text(&row["before"]))?;
            let mut table = plain_table();
            for (name, value) in row["after"].as_object().into_iter().flatten() {
                table.add_row([name.clone(), text(value)]);
            }
            for name in ["identity", "identity_kind", "endpoint"] {
                table.add_row([format!("-> {name}"), text(&row[name])]);
            }
            writeln!(out, "{table}\n")?;
        }
        for row in &self.shown_rejects {
            writeln!(out, "line {}: {}", row["line"], text(&row["before"]))?;
            writeln!(
                out,
                "  rejected: {}: {}\n",
                text(&row["reason"]),
                text(&row["detail"])
            )?;
        }
        if !self.rejects.is_empty() {
            let mut table = plain_table();
            table.set_header(["rejected", "detail", "rows", "first line"]);
            for ((reason, detail), (n, first)) in &self.rejects {
                table.add_row([
                    (*reason).to_owned(),
                    detail.clone(),
                    n.to_string(),
                    first.to_string(),
                ]);
            }
            writeln!(out, "{table}\n")?;
        }
        for (rule, columns) in blind {
            writeln!(
                out,
                "rule {rule} is blind: no field tells {}",
                columns.join(", ")
            )?;
        }
        writeln!(
            out,
            "mapping {}: {} lines, {} events of {} callers, {} no calls, {:.1} % of calls decoded",
            mapping.name(),
            self.n_lines,
            self.n_events,
            self.identities.len(),
            self.n_no_calls,
            100.0 * self.share()
        )
    }
}
