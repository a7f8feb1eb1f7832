//! `roi`: what was measured of this installation, and what that comes to in money by assumptions that the user writes.
//!
//! The two stay apart. A measured number has the query that gives it again; a modelled one has its formula, and is not estimated
//! while an assumption of it is not filled in: there are no defaults, as a guess would look like a measure. Nothing is extrapolated
//! beyond the days that were read. `alerts.rs` counts alerts, `measured.rs` the rest, `assumptions.rs` reads the file,
//! `modelled.rs` computes.

use std::path::PathBuf;

use clap::Args;
use models::inventory::compare;
use serde_json::{Value, json};

use self::alerts::AlertSums;
use self::assumptions::{Assumptions, TEMPLATE};
use self::measured::{Material, Measure, measures};
use self::modelled::{Estimate, Modelled, modelled};
use super::Failure;
use super::agents::records;
use super::inventory::StyleArgs;
use super::inventory::report::{Style, lines};
use super::inventory::source::{Gathered, SourceArgs, parsed};
use super::posture::findings;
use crate::inventory::{AGENT, SERVER, TOOL};
use crate::templates;

pub(super) mod alerts;
pub(super) mod assumptions;
pub(super) mod measured;
pub(super) mod modelled;

/// Options of `roi`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch roi --template > roi.toml                      # every assumption, none filled in
  tollwatch roi --from access.log.gz --assumptions roi.toml
  tollwatch roi -c tollwatch.toml --openapi apis/ --assumptions roi.toml --markdown
  tollwatch roi --from access.log.gz --alerts alerts.ndjson --json

Without assumptions it tells what was measured alone. docs/roi.md has the formulas.")]
pub struct RoiArgs {
    /// Where it is measured.
    #[command(flatten)]
    pub source: SourceArgs,
    /// OpenAPI document, or folder of such; without any, undocumented endpoints are not counted
    #[arg(long, value_name = "FILE|DIR", value_delimiter = ',')]
    pub openapi: Vec<PathBuf>,
    /// Alerts as `replay --alerts` and sinks of files write them, instead of those of the topic or of the logs
    #[arg(long, value_name = "FILE")]
    pub alerts: Option<PathBuf>,
    /// What things cost and how long they take (TOML), as `--template` writes it
    #[arg(long, value_name = "FILE")]
    pub assumptions: Option<PathBuf>,
    /// Prints a file of assumptions to fill in, and ends
    #[arg(long, exclusive = true)]
    pub template: bool,
    /// How it is printed.
    #[command(flatten)]
    pub style: StyleArgs,
}

/// What is told.
pub(super) struct Roi {
    pub(super) measures: Vec<Measure>,
    pub(super) modelled: Vec<Modelled>,
    pub(super) assumptions: Assumptions,
}

impl Roi {
    /// Of what was measured, by these assumptions.
    pub(super) fn of(material: &Material<'_>, assumptions: Assumptions) -> Roi {
        let measures = measures(material);
        Roi {
            modelled: modelled(&measures, &assumptions),
            measures,
            assumptions,
        }
    }

    /// Rows of what was measured.
    pub(super) fn measured_rows(&self) -> Vec<Vec<String>> {
        let row = |measure: &Measure| {
            let value = match measure.value {
                Some(value) => format!("{} {}", number(value), measure.unit),
                None => format!("not measured: {}", measure.lacking),
            };
            vec![
                measure.what.to_owned(),
                value.trim_end().to_owned(),
                measure.query.clone(),
            ]
        };
        self.measures.iter().map(row).collect()
    }

    /// Rows of what was modelled.
    pub(super) fn modelled_rows(&self) -> Vec<Vec<String>> {
        let row = |one: &Modelled| {
            let unit = one.unit(&self.assumptions.currency);
            let mut row = vec![one.what.to_owned()];
            row.extend(match &one.estimate {
                Ok(Estimate { low, base, high }) => {
                    [low, base, high].map(|value| format!("{} {unit}", number(*value)))
                }
                Err(lacking) => [
                    format!("not estimated: {lacking}"),
                    String::new(),
                    String::new(),
                ],
            });
            row.push(one.formula.to_owned());
            row
        };
        self.modelled.iter().map(row).collect()
    }

    /// Rows of the assumptions that are filled in.
    pub(super) fn assumed_rows(&self) -> Vec<Vec<String>> {
        let row = |(name, one): (&str, &assumptions::Assumption)| {
            let mut row = vec![name.to_owned()];
            row.extend([one.low, one.base, one.high].map(number));
            row.push(one.source.clone());
            row
        };
        self.assumptions.filled().map(row).collect()
    }

    /// As one object.
    pub(super) fn as_json(&self) -> Value {
        let measures = self.measures.iter().map(|measure| {
            json!({
                "id": measure.id, "what": measure.what, "value": measure.value, "unit": measure.unit,
                "query": measure.query, "lacking": measure.value.is_none().then_some(measure.lacking),
            })
        });
        let modelled = self.modelled.iter().map(|one| {
            let (estimate, lacking) = match &one.estimate {
                Ok(Estimate { low, base, high }) => (json!({ "low": low, "base": base, "high": high }), None),
                Err(lacking) => (Value::Null, Some(lacking)),
            };
            json!({
                "id": one.id, "what": one.what, "unit": one.unit(&self.assumptions.currency), "estimate": estimate,
                "formula": one.formula, "not_estimated": lacking,
            })
        });
        let assumed = self.assumptions.filled().map(|(name, one)| {
            (
                name.to_owned(),
                json!({ "low": one.low, "base": one.base, "high": one.high, "source": one.source }),
            )
        });
        json!({
            "measured": measures.collect::<Vec<_>>(), "modelled": modelled.collect::<Vec<_>>(),
            "assumptions": assumed.collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// Headers of the three tables.
pub(super) const MEASURED: [&str; 3] = ["measured", "value", "query"];
pub(super) const MODELLED: [&str; 5] = ["modelled", "low", "base", "high", "is"];
pub(super) const ASSUMED: [&str; 5] = ["assumption", "low", "base", "high", "source"];
/// What is to be known before anything of it is believed.
pub(super) const CAVEAT: &str = "Measured is what the records hold, over the days that were read. Modelled is arithmetic on assumptions that somebody wrote \
down; it shows neither that a loss would have happened nor that it did not.";

/// A number as people read it.
fn number(value: f64) -> String {
    let text = match value.abs() {
        n if n >= 100.0 || n.fract() == 0.0 => format!("{value:.0}"),
        n if n >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    if text == "-0" { "0".to_owned() } else { text }
}

/// Runs the command.
///
/// # Errors
/// The source, the alerts, a document or the assumptions can't be read.
pub fn run(args: &RoiArgs) -> Result<u8, Failure> {
    if args.template {
        print!("{TEMPLATE}");
        return Ok(0);
    }
    let assumptions = args
        .assumptions
        .as_deref()
        .map(Assumptions::read)
        .transpose()?;
    let of_file = args.alerts.as_deref().map(AlertSums::of_file).transpose()?;
    let Gathered { newest, alerts, .. } = args.source.gathered(&args.openapi, of_file.is_none())?;
    let alerts = of_file.or(alerts);
    let findings = findings(&newest)?;
    let count = |schema| records(&newest, &[schema]).map(|records| records.len());
    let others = [count(AGENT)?, count(SERVER)?, count(TOOL)?];
    let mut entries = parsed(newest)?;
    let is_compared = !args.openapi.is_empty();
    if is_compared {
        compare(&mut entries, &templates::documents(&args.openapi)?);
    }
    let material = Material {
        entries: &entries,
        is_compared,
        findings: &findings,
        others,
        alerts: alerts.as_ref(),
    };
    let roi = Roi::of(&material, assumptions.unwrap_or_default());
    let style = args.style.style();
    if style == Style::Json {
        let mut report = roi.as_json();
        report["caveat"] = json!(CAVEAT);
        println!("{report}");
        return Ok(0);
    }
    let mut measured = roi.measured_rows();
    match style {
        // Queries are longer than any terminal is wide.
        Style::Table => {
            let queries: Vec<String> = measured.iter_mut().filter_map(Vec::pop).collect();
            println!("{}\n", lines(&MEASURED[..2], &measured, style));
            for (row, query) in measured.iter().zip(queries) {
                println!("{}:\n  {query}", row[0]);
            }
            println!();
        }
        _ => println!("{}\n", lines(&MEASURED, &measured, style)),
    }
    println!("{}\n", lines(&MODELLED, &roi.modelled_rows(), style));
    let assumed = roi.assumed_rows();
    match assumed.is_empty() {
        true => println!(
            "no assumption is filled in: `tollwatch roi --template` writes a file to fill in\n"
        ),
        false => println!("{}\n", lines(&ASSUMED, &assumed, style)),
    }
    println!("{CAVEAT}\nSOURCE in a query stands for the options that say where it is measured.");
    Ok(0)
}
