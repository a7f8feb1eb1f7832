//! `readiness`: thirty questions about knowing one's APIs, answered by what was measured, from logs or the inventory topic.
//!
//! Each measure is computed from the records as they stand; a question whose answer isn't in them says so, and earns nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use models::compliance::{ANSWERS, Answer, Area, CAVEAT, QUESTIONS, Question, judge};
use models::inventory::{Entry, Orphan, compare};
use serde_json::{Value, json};

use super::Failure;
use super::inventory::StyleArgs;
use super::inventory::report::{Style, lines};
use super::inventory::source::{SourceArgs, parsed};
use crate::inventory::{AGENT, FINDING, SERVER};
use crate::templates;

/// Options of `readiness`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch readiness --from access.log.gz --openapi apis/
  tollwatch readiness --brokers broker:9092 --json
  tollwatch readiness --brokers broker:9092 --agents agents.toml --markdown > readiness.md

The bounds are proposals of ours, no standard's; docs/compliance.md lists them. Exit code 1 when an answer fails.")]
pub struct ReadinessArgs {
    /// Where the inventory comes from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// OpenAPI document, or folder of such, to hold the inventory against; without any, four questions stay open
    #[arg(long, value_name = "FILE|DIR", value_delimiter = ',')]
    pub openapi: Vec<PathBuf>,
    /// How it is printed.
    #[command(flatten)]
    pub style: StyleArgs,
}

/// What is measured.
struct Measured {
    /// Endpoints that were answered with success.
    endpoints: Vec<Entry>,
    /// Documented and not called; none without documents.
    orphans: Option<Vec<Orphan>>,
    findings: Vec<Value>,
    agents: Vec<Value>,
    servers: Vec<Value>,
}

/// A question, its measure where the records hold it, and what that answers.
pub(super) type Answered = (&'static Question, Option<f64>, Answer);

/// Every question, answered by the last records of each key.
///
/// # Errors
/// A record or a document can't be read.
pub(super) fn answers(
    newest: BTreeMap<String, String>,
    openapi: &[PathBuf],
) -> Result<Vec<Answered>, Failure> {
    let measured = Measured::of(newest, openapi)?;
    let answered = QUESTIONS.iter().map(|question| {
        let value = measured.answer(question.id);
        (question, value, judge(question, value))
    });
    Ok(answered.collect())
}

/// Runs the command.
///
/// # Errors
/// The source or a document can't be read.
pub fn run(args: &ReadinessArgs) -> Result<u8, Failure> {
    let answers = answers(args.source.newest(&args.openapi)?, &args.openapi)?;
    let n_of = |answer: Answer| answers.iter().filter(|(.., one)| *one == answer).count();
    let code = u8::from(n_of(Answer::Fail) > 0);
    let points: f64 = answers.iter().map(|(.., answer)| answer.points()).sum();
    let n_measured = answers.len() - n_of(Answer::NotMeasurable);
    if args.style.style() == Style::Json {
        let answers = answers.iter().map(|(question, value, answer)| {
            json!({
                "id": question.id, "area": question.area.as_str(), "question": question.text,
                "measure": question.measure, "unit": question.unit, "value": value, "answer": answer.as_str(),
                "evidence": question.evidence,
            })
        });
        println!(
            "{}",
            json!({
                "answers": answers.collect::<Vec<_>>(), "points": points, "measured": n_measured,
                "questions": QUESTIONS.len(), "caveat": CAVEAT,
            })
        );
        return Ok(code);
    }
    let counts = ANSWERS.map(|answer| format!("{} {}", n_of(answer), answer.as_str()));
    let areas = [Area::Discovery, Area::Governance, Area::Ai, Area::Threat].map(|area| {
        let of = answers
            .iter()
            .filter(|(question, ..)| question.area == area);
        let (n, points) = of.fold((0, 0.0), |(n, points), (.., answer)| {
            (n + 1, points + answer.points())
        });
        format!("{} {points} of {n}", area.as_str())
    });
    println!(
        "{}\n\n{points} points of {}: {}. {}.\n{CAVEAT}",
        lines(&HEADER, &rows(&answers), args.style.style()),
        QUESTIONS.len(),
        counts.join(", "),
        areas.join(", "),
    );
    Ok(code)
}

/// Header of [`rows`].
pub(super) const HEADER: [&str; 5] = ["no", "question", "measured", "answer", "evidence"];

/// The answers as a table has them.
pub(super) fn rows(answers: &[Answered]) -> Vec<Vec<String>> {
    let row = |(question, value, answer): &Answered| {
        vec![
            question.id.to_owned(),
            question.text.to_owned(),
            value.map_or("-".to_owned(), |value| shown(value, question.unit)),
            answer.as_str().to_owned(),
            question.evidence.to_owned(),
        ]
    };
    answers.iter().map(row).collect()
}

/// A measure as people read it.
fn shown(value: f64, unit: &str) -> String {
    match unit {
        "share" => format!("{:.2} %", 100.0 * value),
        unit => format!("{value:.1} {unit}"),
    }
}

impl Measured {
    fn of(newest: BTreeMap<String, String>, openapi: &[PathBuf]) -> Result<Measured, Failure> {
        let records = |schema: &str| -> Result<Vec<Value>, Failure> {
            let those = newest.iter().filter(|(key, _)| key.starts_with(schema));
            those
                .map(|(key, json)| {
                    serde_json::from_str(json)
                        .map_err(|error| format!("record {key:?} can't be read: {error}").into())
                })
                .collect()
        };
        let (findings, agents, servers) = (records(FINDING)?, records(AGENT)?, records(SERVER)?);
        let mut entries = parsed(newest)?;
        let documents = templates::documents(openapi)?;
        let orphans = (!openapi.is_empty()).then(|| compare(&mut entries, &documents));
        entries.retain(|entry| entry.kind == "endpoint" && entry.is_answered());
        Ok(Measured {
            endpoints: entries,
            orphans,
            findings,
            agents,
            servers,
        })
    }

    /// The measure of a question; none where the records don't hold it.
    fn answer(&self, id: &str) -> Option<f64> {
        let endpoints = &self.endpoints;
        let count = |holds: &dyn Fn(&Entry) -> bool| endpoints.iter().filter(|e| holds(e)).count();
        let calls = |entries: &dyn Fn(&Entry) -> u64| endpoints.iter().map(entries).sum::<u64>();
        let is_shadow = |entry: &Entry| {
            let mut kinds = entry.deviations.iter().map(|one| one.kind.as_str());
            kinds.any(|kind| matches!(kind, "shadow" | "undocumented_host"))
        };
        let drifts = |entry: &Entry| {
            entry
                .deviations
                .iter()
                .any(|one| one.kind.starts_with("drift"))
        };
        let is_documented = |entry: &Entry| entry.documented == Some(true);
        let n_documented = count(&is_documented);
        let all = calls(&|entry| entry.calls);
        match id {
            "D4" => self
                .orphans
                .as_ref()
                .and_then(|_| share(count(&is_shadow) as u64, endpoints.len() as u64)),
            "D5" => self.orphans.as_ref().and_then(|_| {
                let hidden = endpoints.iter().filter(|e| is_shadow(e)).map(|e| e.calls);
                share(hidden.sum(), all)
            }),
            "D6" => self.orphans.as_ref().and_then(|orphans| {
                share(orphans.len() as u64, (orphans.len() + n_documented) as u64)
            }),
            "D7" => quantile(
                endpoints
                    .iter()
                    .map(|entry| entry.time_to_discovery_ms as f64 / 1000.0),
                0.95,
            ),
            "D9" => share(
                count(&|entry| entry.owner.is_some()) as u64,
                endpoints.len() as u64,
            ),
            "G1" => {
                // A route on which nobody ever showed a credential is a public one.
                let closed = || endpoints.iter().filter(|entry| entry.authenticated > 0);
                share(
                    closed().map(|entry| entry.authenticated).sum(),
                    closed().map(|entry| entry.calls).sum(),
                )
            }
            "G2" => Some(self.n_open(&["auth_missing", "auth_mixed"])),
            "G4" => share(
                calls(&|entry| entry.facts.get("url_secret").copied().unwrap_or(0)),
                all,
            ),
            "G5" => Some(self.n_open(&["cors_any_origin"])),
            "G6" => self
                .orphans
                .as_ref()
                .and_then(|_| share(count(&drifts) as u64, n_documented as u64)),
            "G7" => {
                let now_ms = endpoints.iter().map(|entry| entry.last_seen_ms).max()?;
                let severe = self.open().filter(|finding| {
                    matches!(finding["severity"].as_str(), Some("high" | "critical"))
                });
                let ages = severe.filter_map(|finding| finding["first_ms"].as_i64());
                let ages = ages.map(|first_ms| (now_ms - first_ms) as f64 / 86_400_000.0);
                // None open is none that waits.
                Some(quantile(ages, 0.5).unwrap_or(0.0))
            }
            "A1" => share(
                self.agents
                    .iter()
                    .filter(|agent| !agent["owner"].is_null())
                    .count() as u64,
                self.agents.len() as u64,
            ),
            "A2" => {
                let n = |agent: &Value| agent["calls"].as_u64().unwrap_or(0);
                let stable = self
                    .agents
                    .iter()
                    .filter(|agent| matches!(agent["grade"].as_str(), Some("strong" | "proof")));
                share(stable.map(n).sum(), self.agents.iter().map(n).sum())
            }
            "A3" => Some(
                self.servers
                    .iter()
                    .filter(|server| server["owner"].is_null())
                    .count() as f64,
            ),
            "A4" => share(
                self.n_open(&["agent_scope_growth"]) as u64,
                self.agents.len() as u64,
            ),
            "A5" => {
                let sum = |field: &str| -> u64 {
                    let n = |server: &Value| server[field].as_u64().unwrap_or(0);
                    self.servers.iter().map(n).sum()
                };
                share(sum("anonymous"), sum("anonymous") + sum("authenticated"))
            }
            _ => None,
        }
    }

    fn open(&self) -> impl Iterator<Item = &Value> {
        self.findings
            .iter()
            .filter(|finding| finding["phase"] == "open")
    }

    fn n_open(&self, checks: &[&str]) -> f64 {
        let of = |finding: &&Value| {
            finding["check"]
                .as_str()
                .is_some_and(|c| checks.contains(&c))
        };
        self.open().filter(of).count() as f64
    }
}

/// A share; none of nothing.
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// A quantile by the nearest rank; none of nothing.
pub(super) fn quantile(values: impl Iterator<Item = f64>, share: f64) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_there_is() {
        let of = |n: u32, share| quantile((1..=n).map(f64::from), share);
        assert_eq!(of(0, 0.95), None);
        assert_eq!(
            (of(1, 0.5), of(4, 0.5), of(100, 0.95)),
            (Some(1.0), Some(2.0), Some(95.0))
        );
    }
}
