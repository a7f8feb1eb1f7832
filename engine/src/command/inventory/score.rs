//! `inventory score`: what is told of the APIs, held against a file that says what is true of them.
//!
//! Endpoints, what no document has, AI agents, MCP servers and tools, and what is wrong: of each how much of what is told is true
//! (precision), how much of what is true is told (recall), and every miss by name. `tests/world` writes such files beside its logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use models::inventory::{Entry, compare};
use models::posture::CHECKS;
use serde::Deserialize;
use serde_json::{Value, json};

use super::StyleArgs;
use super::report::{Style, lines, printable};
use super::source::{SourceArgs, parsed};
use crate::command::Failure;
use crate::command::agents::records;
use crate::command::posture::{findings, text};
use crate::command::readiness::quantile;
use crate::inventory::{AGENT, SERVER, TOOL};
use crate::templates;

/// Bytes of a truth: a hundred thousand endpoints.
const TRUTH_BYTES_MAX: u64 = 64 << 20;
/// What precision and recall should be: of the endpoints themselves, and of what is judged of them.
const ENDPOINTS_LEAST: f64 = 0.97;
const JUDGED_LEAST: f64 = 0.95;
/// Time to discovery that 95 of 100 should stay within, ms of the stream's clock.
const DISCOVERY_MS_MOST: f64 = 60_000.0;
/// Names of a list that a table shows.
const SHOWN_MAX: usize = 40;

/// Options of `inventory score`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  world --seed 7 --days 3 --posture --out /tmp/w7         # writes the log, truth.json and openapi/
  tollwatch templates learn /tmp/w7/access.ndjson --out /tmp/w7/learnt.txt
  tollwatch inventory score --truth /tmp/w7/truth.json --from /tmp/w7/access.ndjson --templates /tmp/w7/learnt.txt
  tollwatch inventory score --truth /tmp/w7/truth.json --from /tmp/w7/access.ndjson --openapi /tmp/w7/openapi --json

docs/inventory.md says what a truth holds; what it does not hold is not scored. Exit code 1 when a figure is below what is asked.")]
pub struct ScoreArgs {
    /// What is true (JSON)
    #[arg(long, value_name = "FILE")]
    pub truth: PathBuf,
    /// Where the inventory comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// OpenAPI document, or folder of such; without any, nothing is said of what is undocumented
    #[arg(long, value_name = "FILE|DIR", value_delimiter = ',')]
    pub openapi: Vec<PathBuf>,
    /// How it is printed.
    #[command(flatten)]
    pub style: StyleArgs,
}

/// What is true; a part that is absent is not scored.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Truth {
    endpoints: Option<Vec<Endpoint>>,
    /// Documented and called by nobody: `METHOD host /path`.
    orphans: Option<Vec<String>>,
    agents: Option<Vec<Agent>>,
    servers: Option<Vec<String>>,
    tools: Option<Vec<String>>,
    faults: Option<Vec<Fault>>,
    healthy: Vec<Healthy>,
    /// Checks that are true of every subject but the healthy ones, and asked for of none.
    true_elsewhere: Vec<String>,
}

/// An endpoint that was answered with success.
#[derive(Debug, Deserialize)]
struct Endpoint {
    key: String,
    /// What its documents say: `documented`, `deprecated`, `path` when they lack the method, `host` when they lack the path, `none`
    /// when none is of the host.
    #[serde(default)]
    document: Option<String>,
    #[serde(default, rename = "calls")]
    _calls: u64,
    #[serde(default, rename = "first_ms")]
    _first_ms: i64,
}

/// An agent by any of its names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Agent {
    names: Vec<String>,
    /// Why the log can't show it.
    #[serde(default)]
    hidden: Option<String>,
}

/// Something that is wrong.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    check: String,
    /// `METHOD host /template`, a host, an identity; `*` of any.
    subject: String,
    /// The host of the calls.
    #[serde(default)]
    host: Option<String>,
    /// Checks that are true of the same calls.
    #[serde(default)]
    also: Vec<String>,
    /// Whether so many calls show it that it is asked for.
    #[serde(default = "yes")]
    clear: bool,
}

fn yes() -> bool {
    true
}

/// Something that is not wrong, though it looks so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Healthy {
    check: String,
    subject: String,
}

/// One figure: of so many true ones and so many told ones, how many are the other's.
struct Score {
    what: &'static str,
    /// True ones that are asked for, and those of them that were told.
    asked: BTreeSet<String>,
    hit: usize,
    /// Told ones, and those of them that are true.
    told: usize,
    right: usize,
    missed: Vec<String>,
    invented: Vec<String>,
    least: f64,
}

impl Score {
    /// What is true against what is told, each as names that are compared.
    fn of(
        what: &'static str,
        least: f64,
        asked: BTreeSet<String>,
        told: &BTreeSet<String>,
    ) -> Score {
        let hit = asked.intersection(told).count();
        Score {
            what,
            hit,
            told: told.len(),
            right: hit,
            missed: asked.difference(told).cloned().collect(),
            invented: told.difference(&asked).cloned().collect(),
            asked,
            least,
        }
    }

    /// None of nothing told.
    fn precision(&self) -> Option<f64> {
        (self.told > 0).then(|| self.right as f64 / self.told as f64)
    }

    /// None of nothing true.
    fn recall(&self) -> Option<f64> {
        let n = self.asked.len();
        (n > 0).then(|| self.hit as f64 / n as f64)
    }

    fn is_met(&self) -> bool {
        let is_met = |share: Option<f64>| share.is_none_or(|share| self.least <= share);
        is_met(self.precision()) && is_met(self.recall())
    }

    fn as_json(&self) -> Value {
        json!({
            "what": self.what, "true": self.asked.len(), "found": self.hit, "told": self.told, "right": self.right,
            "precision": self.precision(), "recall": self.recall(), "least": self.least, "met": self.is_met(),
            "missed": self.missed, "invented": self.invented,
        })
    }
}

/// Runs the command.
///
/// # Errors
/// The truth, the source or a document can't be read.
pub fn run(args: &ScoreArgs) -> Result<u8, Failure> {
    let truth = read(&args.truth)?;
    let newest = args.source.newest(&args.openapi)?;
    let mut entries = parsed(newest.clone())?;
    let mut scores = Vec::new();
    if let Some(endpoints) = &truth.endpoints {
        let asked = endpoints.iter().map(|endpoint| plain(&endpoint.key));
        let told = answered(&entries).map(|entry| plain(&entry.key)).collect();
        scores.push(Score::of(
            "endpoints",
            ENDPOINTS_LEAST,
            asked.collect(),
            &told,
        ));
    }
    if !args.openapi.is_empty() {
        let documents = templates::documents(&args.openapi)?;
        let orphans = compare(&mut entries, &documents);
        scores.extend(documented(&truth, &entries));
        if let Some(asked) = &truth.orphans {
            let asked = asked.iter().map(|name| plain(name)).collect();
            let told = orphans.iter().map(|orphan| plain(&orphan.operation));
            scores.push(Score::of(
                "documented, not called",
                JUDGED_LEAST,
                asked,
                &told.collect(),
            ));
        }
    }
    let all = findings(&newest)?;
    scores.extend(
        truth
            .faults
            .as_ref()
            .map(|faults| posture(&truth, faults, &all)),
    );
    let names = |schema| -> Result<Vec<String>, Failure> {
        let records = records(&newest, &[schema])?;
        Ok(records
            .iter()
            .map(|record| text(record, "name").to_owned())
            .collect())
    };
    if let Some(agents) = &truth.agents {
        scores.push(agents_score(agents, &names(AGENT)?));
    }
    for (what, asked, schema) in [
        ("MCP servers", &truth.servers, SERVER),
        ("MCP tools", &truth.tools, TOOL),
    ] {
        if let Some(asked) = asked {
            let told = names(schema)?.into_iter().collect();
            scores.push(Score::of(what, 1.0, asked.iter().cloned().collect(), &told));
        }
    }
    let times = discovery(&entries, &records(&newest, &[AGENT, SERVER, TOOL])?);
    print(args.style.style(), &scores, &times);
    let is_late = times.1.is_some_and(|p95_ms| DISCOVERY_MS_MOST < p95_ms);
    Ok(u8::from(is_late || !scores.iter().all(Score::is_met)))
}

fn read(path: &Path) -> Result<Truth, Failure> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut text = String::new();
    file.take(TRUTH_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| failed(&error))?;
    if TRUTH_BYTES_MAX < text.len() as u64 {
        return Err(failed(&format!("is longer than {TRUTH_BYTES_MAX} bytes")).into());
    }
    serde_json::from_str(&text).map_err(|error| {
        failed(&format!(
            "is no truth: {error}; docs/inventory.md says what one holds"
        ))
        .into()
    })
}

/// A name in which variables count alike, whatever they are called.
fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(open) = rest.find('{') {
        let close = rest[open..]
            .find('}')
            .map_or(rest.len(), |at| open + at + 1);
        out.push_str(&rest[..open]);
        out.push_str("{}");
        rest = &rest[close..];
    }
    out + rest
}

fn answered(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    let is_endpoint = |entry: &&Entry| entry.kind == "endpoint" && entry.is_answered();
    entries.iter().filter(is_endpoint)
}

/// What no document has, what lacks its method there, what is deprecated and called.
fn documented(truth: &Truth, entries: &[Entry]) -> Vec<Score> {
    let Some(endpoints) = &truth.endpoints else {
        return Vec::new();
    };
    if endpoints.iter().all(|endpoint| endpoint.document.is_none()) {
        return Vec::new();
    }
    let kinds: [(&str, &[&str], &[&str]); 3] = [
        (
            "shadow endpoints",
            &["host", "none"],
            &["shadow", "undocumented_host"],
        ),
        ("undocumented methods", &["path"], &["drift_method"]),
        ("deprecated, in use", &["deprecated"], &["zombie"]),
    ];
    let score = |(what, standings, deviations): (&'static str, &[&str], &[&str])| {
        let is_asked = |endpoint: &&Endpoint| {
            let document = endpoint.document.as_deref();
            document.is_some_and(|standing| standings.contains(&standing))
        };
        let is_told = |entry: &&Entry| {
            let mut kinds = entry.deviations.iter().map(|one| one.kind.as_str());
            kinds.any(|kind| deviations.contains(&kind))
        };
        let asked = endpoints.iter().filter(is_asked);
        let told = entries.iter().filter(is_told);
        Score::of(
            what,
            JUDGED_LEAST,
            asked.map(|endpoint| plain(&endpoint.key)).collect(),
            &told.map(|entry| plain(&entry.key)).collect(),
        )
    };
    kinds.map(score).into()
}

/// What is wrong: told of faults, of what they entail, and of what is said to be true everywhere.
fn posture(truth: &Truth, faults: &[Fault], all: &[Value]) -> Score {
    let is_told = |finding: &&Value| {
        let is_decided = CHECKS
            .iter()
            .any(|check| check.id == text(finding, "check"));
        is_decided && ["open", "stale"].contains(&text(finding, "phase"))
    };
    let told: Vec<(&str, String)> = all
        .iter()
        .filter(is_told)
        .map(|finding| (text(finding, "check"), plain(text(finding, "subject"))))
        .collect();
    let is_of = |fault: &Fault, (check, subject): &(&str, String)| {
        fault.check == *check && (fault.subject == "*" || plain(&fault.subject) == *subject)
    };
    let entails = |fault: &Fault, (check, subject): &(&str, String)| {
        let is_same =
            plain(&fault.subject) == *subject || fault.host.as_deref() == Some(subject.as_str());
        is_same && fault.also.iter().any(|also| also == check)
    };
    let is_right = |one: &(&str, String)| {
        let is_healthy = truth
            .healthy
            .iter()
            .any(|healthy| healthy.check == one.0 && plain(&healthy.subject) == one.1);
        let is_everywhere = truth.true_elsewhere.iter().any(|check| check == one.0);
        faults
            .iter()
            .any(|fault| is_of(fault, one) || entails(fault, one))
            || (is_everywhere && !is_healthy)
    };
    let name = |fault: &Fault| format!("{} of {}", fault.check, fault.subject);
    let clear = || faults.iter().filter(|fault| fault.clear);
    let is_missed = |fault: &&Fault| !told.iter().any(|one| is_of(fault, one));
    let missed: BTreeSet<String> = clear().filter(is_missed).map(name).collect();
    let asked: BTreeSet<String> = clear().map(name).collect();
    let invented = told.iter().filter(|one| !is_right(one));
    Score {
        what: "posture faults",
        hit: asked.len() - missed.len(),
        asked,
        told: told.len(),
        right: told.iter().filter(|one| is_right(one)).count(),
        missed: missed.into_iter().collect(),
        invented: invented
            .map(|(check, subject)| format!("{check} of {subject}"))
            .collect(),
        least: JUDGED_LEAST,
    }
}

/// Agents by any of their names; one that the log can't show is not asked for, and right when told.
fn agents_score(agents: &[Agent], told: &[String]) -> Score {
    let is_of = |agent: &Agent, name: &String| agent.names.contains(name);
    let shown = || agents.iter().filter(|agent| agent.hidden.is_none());
    let name = |agent: &Agent| agent.names.join(", ");
    let is_missed = |agent: &&Agent| !told.iter().any(|name| is_of(agent, name));
    let missed: BTreeSet<String> = shown().filter(is_missed).map(name).collect();
    let asked: BTreeSet<String> = shown().map(name).collect();
    let is_invented = |name: &&String| !agents.iter().any(|agent| is_of(agent, name));
    let invented: Vec<String> = told.iter().filter(is_invented).cloned().collect();
    Score {
        what: "AI agents",
        hit: asked.len() - missed.len(),
        asked,
        told: told.len(),
        right: told.len() - invented.len(),
        missed: missed.into_iter().collect(),
        invented,
        least: 1.0,
    }
}

/// Median and 95th of 100 of the times to discovery, of endpoints and of other records, in ms.
fn discovery(entries: &[Entry], others: &[Value]) -> (Option<f64>, Option<f64>) {
    // What is not there is listed once twenty callers asked for it: that is no discovery.
    let is_there = |entry: &&Entry| entry.kind == "endpoint" && entry.standing != "missing";
    let endpoints = entries.iter().filter(is_there);
    let times = endpoints.map(|entry| entry.time_to_discovery_ms as f64);
    let others = others
        .iter()
        .filter_map(|record| record["time_to_discovery_ms"].as_f64());
    let times: Vec<f64> = times.chain(others).collect();
    let of = |share| quantile(times.iter().copied(), share);
    (of(0.5), of(0.95))
}

fn print(style: Style, scores: &[Score], (p50_ms, p95_ms): &(Option<f64>, Option<f64>)) {
    if style == Style::Json {
        let scores: Vec<Value> = scores.iter().map(Score::as_json).collect();
        let discovery = json!({ "p50_ms": p50_ms, "p95_ms": p95_ms, "most_ms": DISCOVERY_MS_MOST });
        println!("{}", json!({ "scores": scores, "discovery": discovery }));
        return;
    }
    let share = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{share:.3}"));
    let row = |score: &Score| {
        vec![
            score.what.to_owned(),
            score.asked.len().to_string(),
            score.told.to_string(),
            share(score.precision()),
            share(score.recall()),
            format!("{:.2}", score.least),
            if score.is_met() { "met" } else { "not met" }.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = scores.iter().map(row).collect();
    let header = [
        "what",
        "true",
        "told",
        "precision",
        "recall",
        "asked for",
        "",
    ];
    println!("{}", lines(&header, &rows, style));
    let mut names = BTreeMap::new();
    for score in scores {
        names.insert((score.what, "missed"), &score.missed);
        names.insert((score.what, "not so"), &score.invented);
    }
    for ((what, why), names) in names {
        for name in names.iter().take(SHOWN_MAX) {
            println!("{what}, {why}: {}", printable(name));
        }
        if SHOWN_MAX < names.len() {
            println!(
                "{what}, {why}: {} more; --json has them all",
                names.len() - SHOWN_MAX
            );
        }
    }
    let seconds = |ms: &Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{:.1} s", ms / 1e3));
    println!(
        "time to discovery: p50 {}, p95 {}; asked for: at most {:.0} s",
        seconds(p50_ms),
        seconds(p95_ms),
        DISCOVERY_MS_MOST / 1e3
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_count_alike() {
        #[rustfmt::skip]
        let table = [
            ("GET h /a/{id}/b/{id2}", "GET h /a/{}/b/{}"), ("GET h /{id}.json", "GET h /{}.json"), ("GET h /a", "GET h /a"), ("/{open", "/{}"),
        ];
        for (name, want) in table {
            assert_eq!(plain(name), want, "{name}");
        }
    }

    #[test]
    fn what_follows_from_a_fault_is_right_and_what_is_healthy_is_not() {
        let truth: Truth = serde_json::from_value(json!({
            "faults": [
                {"check": "auth_missing", "subject": "GET h /a/{id}", "also": ["sensitive_open"]},
                {"check": "log_gap", "subject": "*"},
                {"check": "old_tls", "subject": "h"},
                {"check": "console_open", "subject": "GET h /docs", "clear": false},
            ],
            "healthy": [{"check": "no_rate_limit", "subject": "POST h /login"}],
            "true_elsewhere": ["no_rate_limit"],
        }))
        .expect("a truth");
        let finding = |check: &str, subject: &str| json!({"check": check, "subject": subject, "phase": "open"});
        let all = [
            finding("auth_missing", "GET h /a/{name}"),
            finding("sensitive_open", "GET h /a/{name}"),
            finding("log_gap", "a topic"),
            finding("no_rate_limit", "GET h /b"),
            finding("no_rate_limit", "POST h /login"),
            finding("sensitive_open", "GET h /c"),
            finding("agent_new", "somebody"),
        ];
        let faults = truth.faults.as_ref().expect("faults");
        let score = posture(&truth, faults, &all);
        assert_eq!(
            (score.told, score.right, score.hit, score.asked.len()),
            (6, 4, 2, 3)
        );
        assert_eq!(score.missed, ["old_tls of h"]);
        assert_eq!(
            score.invented,
            [
                "no_rate_limit of POST h /login",
                "sensitive_open of GET h /c"
            ]
        );
    }
}
