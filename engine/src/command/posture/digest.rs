//! `posture digest`: what became of findings in the last hours or days, and what is open.
//!
//! Each finding counts once, by where it stands and since when: one that came and went within the period is among the resolved
//! alone. The period ends with the stream's clock, the latest event time in the records, so that the same records say the same.

use std::collections::BTreeMap;

use clap::Args;
use connectors::render::slack_text;
use serde_json::{Value, json};

use super::{SEVERITIES, findings, is_severe, rank, text};
use crate::command::Failure;
use crate::command::inventory::StyleArgs;
use crate::command::inventory::report::{Style, lines, printable, time};
use crate::command::inventory::source::SourceArgs;

/// Subjects that are named.
const TOP_MAX: usize = 10;
/// Findings of each kind that are named in a table, in Markdown and in a message; JSON has them all.
const NAMED_MAX: usize = 20;

/// Options of `posture digest`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch posture digest --brokers broker:9092
  tollwatch posture digest --from monday.log.gz tuesday.log.gz --since 7d --markdown
  tollwatch posture digest -c tollwatch.toml --slack | curl -H 'Content-Type: application/json' -d @- https://hooks.example/…

The period ends with the latest event time in the records. A finding counts once, by where it stands at its end. Exit code 1
when something of severity medium or more is new or back.")]
pub struct DigestArgs {
    /// Where findings come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// How far back: minutes, hours or days, as 90m, 24h, 7d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration_ms)]
    pub since: i64,
    /// Prints a message for Slack's webhooks, and those of Mattermost and Rocket.Chat
    #[arg(long, conflicts_with_all = ["json", "markdown"])]
    pub slack: bool,
    /// How it is printed.
    #[command(flatten)]
    pub style: StyleArgs,
}

/// A duration of minutes, hours or days, in ms.
pub(in crate::command) fn duration_ms(text: &str) -> Result<i64, String> {
    let unit_ms = match text.chars().last() {
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 86_400_000,
        _ => return Err("give minutes, hours or days, as 90m, 24h, 7d".to_owned()),
    };
    let number = text[..text.len() - 1].parse::<u32>();
    match number {
        Ok(n) if 0 < n => Ok(i64::from(n) * unit_ms),
        _ => Err("give a whole number above 0 before the unit, as 24h".to_owned()),
    }
}

/// What became of the findings.
pub(in crate::command) struct Digest {
    pub(in crate::command) from_ms: i64,
    pub(in crate::command) until_ms: i64,
    /// Findings by phase, and the open ones by severity, worst first.
    pub(in crate::command) n_open: usize,
    pub(in crate::command) n_stale: usize,
    pub(in crate::command) n_resolved: usize,
    pub(in crate::command) open_by_severity: [usize; SEVERITIES.len()],
    /// Of the period, worst first: open since then; open again; resolved; stale since then.
    pub(in crate::command) new: Vec<Value>,
    pub(in crate::command) regressed: Vec<Value>,
    pub(in crate::command) resolved: Vec<Value>,
    pub(in crate::command) stale: Vec<Value>,
    /// What has the worst open findings, then the most: subject, worst severity, how many.
    pub(in crate::command) top: Vec<(String, &'static str, usize)>,
}

/// The latest event time in records; none without any.
pub(in crate::command) fn latest_ms(newest: &BTreeMap<String, String>) -> Option<i64> {
    let times = newest.values().filter_map(|record| {
        let record: Value = serde_json::from_str(record).ok()?;
        let times = ["last_seen_ms", "last_ms", "at_ms"].map(|field| record[field].as_i64());
        times.into_iter().flatten().max()
    });
    times.max()
}

impl Digest {
    /// Counts findings, worst first, over a period of `since_ms` until `until_ms`.
    pub(in crate::command) fn of(findings: Vec<Value>, until_ms: i64, since_ms: i64) -> Digest {
        let mut digest = Digest {
            from_ms: until_ms.saturating_sub(since_ms),
            until_ms,
            n_open: 0,
            n_stale: 0,
            n_resolved: 0,
            open_by_severity: [0; SEVERITIES.len()],
            new: Vec::new(),
            regressed: Vec::new(),
            resolved: Vec::new(),
            stale: Vec::new(),
            top: Vec::new(),
        };
        let mut subjects = BTreeMap::<String, (usize, usize)>::new();
        for finding in findings {
            let is_late = |field: &str| {
                let at_ms = finding[field].as_i64();
                at_ms.is_some_and(|at_ms| digest.from_ms <= at_ms)
            };
            let (has_changed, is_told) = (is_late("changed_ms"), is_late("at_ms"));
            match text(&finding, "phase") {
                "open" => {
                    digest.n_open += 1;
                    let rank = rank(&finding);
                    if let Some(n) = digest.open_by_severity.get_mut(rank) {
                        *n += 1;
                    }
                    let subject = text(&finding, "subject").to_owned();
                    let (worst, n) = subjects.entry(subject).or_insert((rank, 0));
                    (*worst, *n) = (rank.min(*worst), *n + 1);
                    let was_before = finding["regressed"].as_u64() > Some(0);
                    match (has_changed, was_before) {
                        (true, false) => digest.new.push(finding),
                        (true, true) => digest.regressed.push(finding),
                        (false, _) => (),
                    }
                }
                "stale" => {
                    digest.n_stale += 1;
                    if is_told {
                        digest.stale.push(finding);
                    }
                }
                "resolved" => {
                    digest.n_resolved += 1;
                    if has_changed {
                        digest.resolved.push(finding);
                    }
                }
                _ => (),
            }
        }
        let mut top: Vec<_> = subjects.into_iter().collect();
        top.sort_by_key(|(subject, (worst, n))| (*worst, usize::MAX - n, subject.clone()));
        let named = top.into_iter().take(TOP_MAX).map(|(subject, (worst, n))| {
            let severity = SEVERITIES.get(worst).copied().unwrap_or("?");
            (subject, severity, n)
        });
        digest.top = named.collect();
        digest
    }

    /// What is worth a title: names and findings of the period.
    pub(in crate::command) fn changes(&self) -> [(&'static str, &[Value]); 4] {
        [
            ("new", &self.new),
            ("back again", &self.regressed),
            ("resolved", &self.resolved),
            ("stale, nobody asked for a week", &self.stale),
        ]
    }

    pub(in crate::command) fn as_json(&self) -> Value {
        let by_severity: serde_json::Map<String, Value> = SEVERITIES
            .iter()
            .zip(self.open_by_severity)
            .map(|(severity, n)| ((*severity).to_owned(), json!(n)))
            .collect();
        let top = self.top.iter().map(
            |(subject, severity, n)| json!({ "subject": subject, "severity": severity, "open": n }),
        );
        json!({
            "from_ms": self.from_ms, "until_ms": self.until_ms,
            "open": self.n_open, "stale": self.n_stale, "resolved": self.n_resolved,
            "open_by_severity": by_severity,
            "period": {
                "new": self.new, "regressed": self.regressed, "resolved": self.resolved, "stale": self.stale,
            },
            "top": top.collect::<Vec<_>>(),
        })
    }

    /// How many are open, on a line.
    pub(in crate::command) fn summary(&self) -> String {
        let by_severity = SEVERITIES.iter().zip(self.open_by_severity);
        let by_severity = by_severity.filter(|(_, n)| 0 < *n);
        let by_severity: Vec<String> = by_severity
            .map(|(severity, n)| format!("{n} {severity}"))
            .collect();
        let of = match by_severity.is_empty() {
            true => String::new(),
            false => format!(" ({})", by_severity.join(", ")),
        };
        format!(
            "{} open{of}, {} stale, {} resolved; since {}: {} new, {} back, {} resolved",
            self.n_open,
            self.n_stale,
            self.n_resolved,
            time(self.from_ms),
            self.new.len(),
            self.regressed.len(),
            self.resolved.len(),
        )
    }

    fn print(&self, style: Style) -> String {
        let mut parts = vec![format!(
            "Findings of posture, {} to {}",
            time(self.from_ms),
            time(self.until_ms)
        )];
        parts.push(self.summary());
        let rows = self.changes().into_iter().flat_map(|(what, findings)| {
            let named = findings.iter().take(NAMED_MAX).map(move |finding| {
                let cells = ["severity", "check", "subject"].map(|field| text(finding, field));
                std::iter::once(what)
                    .chain(cells)
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            });
            let over = findings.len().saturating_sub(NAMED_MAX);
            let over = (0 < over).then(|| {
                let more = format!("and {over} more; --json has them");
                vec![what.to_owned(), String::new(), String::new(), more]
            });
            named.chain(over)
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if !rows.is_empty() {
            let header = ["what", "severity", "check", "of"];
            parts.push(lines(&header, &rows, style));
        }
        let top = self.top.iter().map(|(subject, severity, n)| {
            vec![subject.clone(), (*severity).to_owned(), n.to_string()]
        });
        let top: Vec<Vec<String>> = top.collect();
        if !top.is_empty() {
            parts.push(lines(&["most wrong with", "worst", "open"], &top, style));
        }
        parts.join("\n\n")
    }

    /// The body of a webhook's call.
    fn message(&self) -> Value {
        let code = |finding: &Value, field| slack_text(&printable(text(finding, field)));
        let mut said = vec![format!("*Findings of posture*: {}", self.summary())];
        for (what, findings) in self.changes() {
            for finding in findings.iter().take(NAMED_MAX) {
                let [severity, title, subject] =
                    ["severity", "title", "subject"].map(|field| code(finding, field));
                said.push(format!("• {what}, {severity}: {title} {subject}"));
            }
            if NAMED_MAX < findings.len() {
                let over = findings.len() - NAMED_MAX;
                said.push(format!("• {what}: and {over} more"));
            }
        }
        json!({ "text": said.join("\n") })
    }
}

pub(super) fn run(args: &DigestArgs) -> Result<u8, Failure> {
    let newest = args.source.newest(&[])?;
    let until_ms = latest_ms(&newest).ok_or("there is no record: nothing was read yet")?;
    let digest = Digest::of(findings(&newest)?, until_ms, args.since);
    match args.style.style() {
        _ if args.slack => println!("{}", digest.message()),
        Style::Json => println!("{}", digest.as_json()),
        style => println!("{}", digest.print(style)),
    }
    let mut bad = digest.new.iter().chain(&digest.regressed);
    Ok(u8::from(bad.any(is_severe)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: &str, phase: &str, regressed: u64, changed_ms: i64) -> Value {
        json!({
            "severity": severity, "phase": phase, "regressed": regressed, "changed_ms": changed_ms, "at_ms": changed_ms,
            "subject": format!("GET h /{severity}`<!channel>\u{1b}"), "check": "c", "title": "t",
        })
    }

    #[test]
    fn a_finding_counts_once_by_where_it_stands() {
        let all = vec![
            finding("high", "open", 0, 95),
            finding("high", "open", 0, 80),
            finding("medium", "open", 2, 90),
            finding("low", "resolved", 0, 91),
            finding("low", "resolved", 0, 10),
            finding("low", "stale", 0, 99),
        ];
        let digest = Digest::of(all, 100, 10);
        let counts = digest.changes().map(|(_, findings)| findings.len());
        assert_eq!(counts, [1, 1, 1, 1]);
        let phases = (digest.n_open, digest.n_stale, digest.n_resolved);
        assert_eq!(phases, (3, 1, 2));
        assert_eq!(digest.open_by_severity, [0, 2, 1, 0, 0]);
        let (_, severity, n) = &digest.top[0];
        assert_eq!((*severity, *n), ("high", 2));
    }

    #[test]
    fn what_callers_chose_makes_no_link_mention_or_colour() {
        let digest = Digest::of(vec![finding("high", "open", 0, 95)], 100, 10);
        for style in [Style::Table, Style::Markdown, Style::Json] {
            let printed = match style {
                Style::Json => digest.as_json().to_string(),
                style => digest.print(style),
            };
            assert!(!printed.contains('\u{1b}'), "{printed}");
        }
        let message = digest.message()["text"].to_string();
        assert!(!message.contains(['<', '\u{1b}']), "{message}");
        let ticks = message.matches('`').count();
        assert_eq!(ticks % 2, 0, "{message}");
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration_ms("90m"), Ok(5_400_000));
        assert_eq!(duration_ms("24h"), Ok(86_400_000));
        assert_eq!(duration_ms("7d"), Ok(7 * 86_400_000));
        for wrong in ["", "h", "24", "0h", "-1h", "1.5h", "4294967296d", "7ä"] {
            assert!(duration_ms(wrong).is_err(), "{wrong}");
        }
    }
}
