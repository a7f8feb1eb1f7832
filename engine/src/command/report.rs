//! `report`: everything that is known of the APIs, as one HTML page that stands alone, or as JSON.
//!
//! It gathers what `posture`, `inventory`, `agents` and `readiness` tell, from the same records, and adds which checks the logs
//! allow. `page.rs` lays it out, `html.rs` keeps texts of callers' choosing texts, `plot.rs` draws, `coverage.rs` says what is seen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use models::compliance::CAVEAT;
use models::inventory::{Entry, Orphan, compare};
use serde_json::{Value, json};

use self::coverage::Coverage;
use super::Failure;
use super::agents::{AGENTS, List, SERVERS, TOOLS, records};
use super::inventory::source::{Gathered, SourceArgs, parsed};
use super::posture::digest::{Digest, duration_ms, latest_ms};
use super::posture::{findings, text};
use super::readiness::{self, Answered, quantile};
use super::roi::Roi;
use super::roi::assumptions::Assumptions;
use super::roi::measured::Material;
use crate::templates;

mod coverage;
pub(super) mod curves;
mod html;
mod page;
mod plot;

/// Options of `report`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch report --from access.log.gz --html report.html
  tollwatch report --brokers broker:9092 --format kong --openapi apis/ --html report.html
  tollwatch report -c tollwatch.toml --since 30d --json > report.json
  tollwatch report --from access.log.gz --assumptions roi.toml --html report.html

The page needs no network, no script and no other file. docs/reports.md says what is in it.")]
pub struct ReportArgs {
    /// Where it is told from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// OpenAPI document, or folder of such, to hold the inventory against; without any, nothing is said of shadows
    #[arg(long, value_name = "FILE|DIR", value_delimiter = ',')]
    pub openapi: Vec<PathBuf>,
    /// How far back changes of findings are told: minutes, hours or days, as 24h, 7d
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration_ms)]
    pub since: i64,
    /// Assumptions of `roi` (TOML): the page says what they come to
    #[arg(long, value_name = "FILE")]
    pub assumptions: Option<PathBuf>,
    /// Writes the page to this file; `-` for standard output
    #[arg(long, value_name = "FILE", required_unless_present = "json")]
    pub html: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long, conflicts_with = "html")]
    pub json: bool,
}

/// Classes of statuses; what has none is the last.
const STATUS_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
/// Bounds of the times to discovery that are drawn, in ms of the stream's clock.
const DISCOVERY_BOUNDS: [(&str, i64); 5] = [
    ("up to 1 s", 1_000),
    ("up to 10 s", 10_000),
    ("up to 1 min", 60_000),
    ("up to 10 min", 600_000),
    ("longer", i64::MAX),
];

/// What the report tells.
struct Report {
    /// The files or topics.
    sources: Vec<String>,
    digest: Digest,
    /// The findings that are open, worst first.
    open: Vec<Value>,
    entries: Vec<Entry>,
    /// Documented and not called; none without documents.
    orphans: Option<Vec<Orphan>>,
    /// Agents, MCP servers and tools, each with how it is listed.
    agents: [(&'static List, Vec<Value>); 3],
    coverage: Vec<Coverage>,
    answers: Vec<Answered>,
    /// None without assumptions.
    roi: Option<Roi>,
}

/// How long things of a kind took from their first call to the inventory.
struct Discovery {
    what: &'static str,
    /// In ms of the stream's clock.
    times_ms: Vec<i64>,
}

impl Discovery {
    /// Median or another quantile, in seconds; none of nothing.
    fn seconds(&self, share: f64) -> Option<f64> {
        quantile(self.times_ms.iter().map(|ms| *ms as f64 / 1e3), share)
    }
}

impl Report {
    fn of(args: &ReportArgs) -> Result<Report, Failure> {
        let assumptions = args.assumptions.as_deref().map(Assumptions::read);
        let assumptions = assumptions.transpose()?;
        let Gathered {
            newest,
            formats,
            alerts,
        } = args.source.gathered(&args.openapi, assumptions.is_some())?;
        let until_ms = latest_ms(&newest).ok_or("there is no record: nothing was read yet")?;
        let all = findings(&newest)?;
        let is_open = |finding: &&Value| text(finding, "phase") == "open";
        let open = all.iter().filter(is_open).cloned().collect();
        let of = |list: &'static List| records(&newest, &[list.schema]).map(|all| (list, all));
        let agents = [of(&AGENTS)?, of(&SERVERS)?, of(&TOOLS)?];
        let answers = readiness::answers(newest.clone(), &args.openapi)?;
        let mut entries = parsed(newest)?;
        let documents = templates::documents(&args.openapi)?;
        let is_compared = !args.openapi.is_empty();
        let orphans = is_compared.then(|| compare(&mut entries, &documents));
        let roi = assumptions.map(|assumptions| {
            let material = Material {
                entries: &entries,
                is_compared,
                findings: &all,
                others: agents.each_ref().map(|(_, records)| records.len()),
                alerts: alerts.as_ref(),
            };
            Roi::of(&material, assumptions)
        });
        Ok(Report {
            roi,
            sources: formats.iter().map(|(name, _)| name.clone()).collect(),
            digest: Digest::of(all, until_ms, args.since),
            open,
            entries,
            orphans,
            agents,
            coverage: formats
                .iter()
                .map(|(source, format)| Coverage::of(source, format))
                .collect(),
            answers,
        })
    }

    fn endpoints(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.kind == "endpoint")
    }

    /// Calls by class of status, in the order of [`STATUS_CLASSES`].
    fn statuses(&self) -> [u64; STATUS_CLASSES.len()] {
        let mut counts = [0; STATUS_CLASSES.len()];
        let all = self.entries.iter().flat_map(|entry| &entry.statuses);
        for (status, n) in all {
            let is_of = |class: &&str| status.as_bytes().first() == class.as_bytes().first();
            let at = STATUS_CLASSES[..5].iter().position(is_of);
            counts[at.unwrap_or(STATUS_CLASSES.len() - 1)] += *n;
        }
        counts
    }

    fn discoveries(&self) -> Vec<Discovery> {
        let endpoints = self.endpoints().map(|entry| entry.time_to_discovery_ms);
        let mut all = vec![Discovery {
            what: "endpoints",
            times_ms: endpoints.collect(),
        }];
        for (list, records) in &self.agents {
            let times = records.iter();
            let times = times.filter_map(|record| record["time_to_discovery_ms"].as_i64());
            all.push(Discovery {
                what: list.name,
                times_ms: times.collect(),
            });
        }
        all
    }

    /// Endpoints that documents do not have, and other deviations from these: entry and place of the deviation, worst first.
    fn deviations(&self) -> Vec<(&Entry, usize)> {
        let of = |entry: &'_ Entry| 0..entry.deviations.len();
        let all = self.entries.iter();
        let all = all.flat_map(|entry| of(entry).map(move |at| (entry, at)));
        let mut all: Vec<(&Entry, usize)> = all.collect();
        all.sort_by_key(|(entry, at)| std::cmp::Reverse(entry.deviations[*at].severity));
        all
    }

    /// Endpoints, answered ones, hosts and calls.
    fn counts(&self) -> [(&'static str, u64); 4] {
        let hosts: std::collections::BTreeSet<&str> =
            self.endpoints().map(|entry| entry.host.as_str()).collect();
        let answered = self.entries.iter().filter(|entry| entry.is_answered());
        [
            ("endpoints", self.endpoints().count() as u64),
            ("answered with success", answered.count() as u64),
            ("hosts", hosts.len() as u64),
            (
                "calls",
                self.entries.iter().map(|entry| entry.calls).sum::<u64>(),
            ),
        ]
    }

    fn as_json(&self) -> Value {
        let named = |pairs: &mut dyn Iterator<Item = (&'static str, Value)>| -> Value {
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
            Value::Object(pairs.collect())
        };
        let statuses = STATUS_CLASSES.into_iter().zip(self.statuses());
        let discovery = self.discoveries().into_iter().map(|one| {
            let told = json!({ "n": one.times_ms.len(), "p50_s": one.seconds(0.5), "p95_s": one.seconds(0.95) });
            (one.what, told)
        });
        let deviations = self
            .deviations()
            .into_iter()
            .map(|(entry, at)| json!({ "endpoint": entry.key, "deviation": entry.deviations[at] }));
        let answers = self.answers.iter().map(|(question, value, answer)| {
            json!({ "id": question.id, "question": question.text, "value": value, "unit": question.unit, "answer": answer.as_str() })
        });
        let mut report = json!({
            "sources": self.sources,
            "as_of_ms": self.digest.until_ms,
            "findings": self.open,
            "digest": self.digest.as_json(),
            "inventory": named(&mut self.counts().into_iter().map(|(name, n)| (name, json!(n)))),
            "calls_by_status": named(&mut statuses.map(|(class, n)| (class, json!(n)))),
            "discovery": named(&mut discovery.into_iter()),
            "coverage": self.coverage.iter().map(Coverage::as_json).collect::<Vec<_>>(),
            "readiness": answers.collect::<Vec<_>>(),
            "caveat": CAVEAT,
        });
        for (list, records) in &self.agents {
            report[list.name] = json!(records);
        }
        if let Some(orphans) = &self.orphans {
            report["deviations"] = deviations.collect();
            report["orphans"] = json!(orphans);
        }
        if let Some(roi) = &self.roi {
            report["roi"] = roi.as_json();
        }
        report
    }
}

/// Runs the command.
///
/// # Errors
/// The source or a document can't be read, or the page can't be written.
pub fn run(args: &ReportArgs) -> Result<u8, Failure> {
    let report = Report::of(args)?;
    let Some(path) = &args.html else {
        println!("{}", report.as_json());
        return Ok(0);
    };
    let page = page::page(&report);
    if path == Path::new("-") {
        print!("{page}");
        return Ok(0);
    }
    let failed = |error| format!("cannot write {}: {error}", path.display());
    let mut file = File::create(path).map_err(failed)?;
    file.write_all(page.as_bytes()).map_err(failed)?;
    println!("{}: {}", path.display(), report.digest.summary());
    Ok(0)
}

/// Endpoints, calls, callers, calls without credential and plaintext ones of each host.
fn hosts(report: &Report) -> BTreeMap<&str, [u64; 5]> {
    let mut hosts = BTreeMap::<&str, [u64; 5]>::new();
    for entry in report.endpoints() {
        let of = hosts.entry(entry.host.as_str()).or_default();
        let counted = [1, entry.calls, entry.anonymous, entry.tls, entry.plaintext];
        of.iter_mut().zip(counted).for_each(|(sum, n)| *sum += n);
    }
    hosts
}
