//! The inventory as a table, as Markdown and as JSON.

use arrow::temporal_conversions::timestamp_ms_to_datetime;
use hdrhistogram::Histogram;
use models::identity::is_unprintable;
use models::inventory::{Change, Deviation, Entry, Orphan};
use serde_json::{Value, json};

use crate::command::plain_table;

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Style {
    Table,
    Markdown,
    Json,
}

/// What `inventory list` tells.
pub(super) struct Report {
    pub(super) entries: Vec<Entry>,
    pub(super) orphans: Vec<Orphan>,
    /// True when the entries were held against documents.
    pub(super) is_compared: bool,
}

impl Report {
    pub(super) fn print(&self, style: Style) -> String {
        if style == Style::Json {
            let (p50, p95) = self.discovery_ms();
            let mut report = json!({
                "inventory": self.entries,
                "discovery": { "endpoints": self.endpoints().count(), "p50_ms": p50, "p95_ms": p95 },
            });
            if self.is_compared {
                report["orphans"] = json!(self.orphans);
            }
            return report.to_string();
        }
        let mut parts = vec![lines(&self.header(), &self.rows(), style)];
        if self.is_compared {
            let deviations = self.deviations();
            if !deviations.is_empty() {
                let header = ["severity", "what", "endpoint", "seen"];
                parts.push(lines(&header, &deviations, style));
            }
            let orphans = self.orphans.iter().map(|orphan| {
                let Orphan {
                    severity,
                    operation,
                    detail,
                    ..
                } = orphan;
                vec![
                    severity.as_str().to_owned(),
                    operation.clone(),
                    detail.clone(),
                ]
            });
            let orphans: Vec<_> = orphans.collect();
            if !orphans.is_empty() {
                parts.push(lines(
                    &["severity", "operation nobody called", "why told"],
                    &orphans,
                    style,
                ));
            }
        }
        parts.push(self.summary());
        parts.join("\n\n")
    }

    fn endpoints(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.kind == "endpoint")
    }

    fn header(&self) -> Vec<&'static str> {
        let mut header = vec![
            "endpoint",
            "standing",
            "calls",
            "callers",
            "known callers",
            "plaintext",
            "statuses",
            "hints",
            "first seen",
        ];
        if self.is_compared {
            header.push("documented");
        }
        header
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row = |entry: &Entry| {
            let name = match entry.paths {
                Some(n) => format!("{} (about {n} unknown paths)", entry.key),
                None => entry.key.clone(),
            };
            let statuses: Vec<String> = entry
                .statuses
                .iter()
                .map(|(status, n)| format!("{status}: {n}"))
                .collect();
            let mut row = vec![
                name,
                entry.standing.clone(),
                entry.calls.to_string(),
                entry.identities.to_string(),
                share(entry.authenticated, entry.calls),
                match entry.tls + entry.plaintext {
                    0 => "?".to_owned(),
                    known => share(entry.plaintext, known),
                },
                statuses.join(", "),
                entry.sensitive.join(", "),
                time(entry.first_seen_ms),
            ];
            if self.is_compared {
                row.push(match entry.documented {
                    Some(true) => "yes".to_owned(),
                    Some(false) => "no".to_owned(),
                    None => "-".to_owned(),
                });
            }
            row
        };
        self.entries.iter().map(row).collect()
    }

    /// The worst first.
    fn deviations(&self) -> Vec<Vec<String>> {
        let all = self.entries.iter();
        let all = all.flat_map(|entry| entry.deviations.iter().map(move |one| (one, entry)));
        let mut all: Vec<(&Deviation, &Entry)> = all.collect();
        all.sort_by_key(|(one, _)| std::cmp::Reverse(one.severity));
        all.into_iter()
            .map(|(one, entry)| {
                vec![
                    one.severity.as_str().to_owned(),
                    one.kind.clone(),
                    entry.key.clone(),
                    one.detail.clone(),
                ]
            })
            .collect()
    }

    /// Median and 95th percentile of the time to discovery, in ms of the stream's clock; none without endpoints.
    fn discovery_ms(&self) -> (Option<u64>, Option<u64>) {
        let Ok(mut times) = Histogram::<u64>::new(3) else {
            return (None, None);
        };
        for entry in self.endpoints() {
            times.saturating_record(u64::try_from(entry.time_to_discovery_ms).unwrap_or(0));
        }
        match times.is_empty() {
            true => (None, None),
            false => (
                Some(times.value_at_quantile(0.5)),
                Some(times.value_at_quantile(0.95)),
            ),
        }
    }

    fn summary(&self) -> String {
        let n = self.endpoints().count();
        let n_answered = self
            .entries
            .iter()
            .filter(|entry| entry.is_answered())
            .count();
        let discovery = match self.discovery_ms() {
            (Some(p50), Some(p95)) => format!(
                "; from first call to inventory {p50} ms (p50), {p95} ms (p95) of the stream's clock"
            ),
            _ => String::new(),
        };
        format!("{n} endpoints, {n_answered} of them answered with success{discovery}")
    }
}

/// Everything of one entry.
pub(super) fn details(entry: &Entry) -> String {
    let mut table = plain_table();
    table.set_header(["field", "value"]);
    let Ok(Value::Object(fields)) = serde_json::to_value(entry) else {
        return printable(&entry.key);
    };
    for (name, value) in fields {
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Array(values) if values.is_empty() => continue,
            Value::Array(values) => {
                let texts = values.iter().map(|value| {
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                });
                texts.collect::<Vec<_>>().join("\n")
            }
            Value::Object(values) if values.is_empty() => continue,
            Value::Object(values) => {
                let texts = values
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"));
                texts.collect::<Vec<_>>().join("\n")
            }
            Value::Number(n) if name.ends_with("_seen_ms") || name == "discovered_ms" => {
                format!("{n} ({})", time(n.as_i64().unwrap_or(0)))
            }
            value => value.to_string(),
        };
        let text: Vec<String> = text.lines().map(printable).collect();
        table.add_row([name, text.join("\n")]);
    }
    table.to_string()
}

/// What changed between two inventories.
pub(super) fn changes(changes: &[Change], style: Style) -> String {
    if style == Style::Json {
        return json!({ "changes": changes }).to_string();
    }
    if changes.is_empty() {
        return "no changes".to_owned();
    }
    let rows: Vec<_> = changes
        .iter()
        .map(|change| {
            vec![
                change.kind.to_owned(),
                change.key.clone(),
                change.details.join("; "),
            ]
        })
        .collect();
    lines(&["change", "endpoint", "what"], &rows, style)
}

pub(in crate::command) fn lines(header: &[&str], rows: &[Vec<String>], style: Style) -> String {
    if style == Style::Markdown {
        let line = |cells: &mut dyn Iterator<Item = String>| {
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let mut lines = vec![
            line(&mut header.iter().map(|cell| (*cell).to_owned())),
            line(&mut header.iter().map(|_| "---".to_owned())),
        ];
        lines.extend(
            rows.iter()
                .map(|row| line(&mut row.iter().map(|cell| markdown(cell)))),
        );
        return lines.join("\n");
    }
    let mut table = plain_table();
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    table.to_string()
}

/// Text of a caller's choosing, for a terminal.
pub(in crate::command) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_unprintable(c) { '?' } else { c })
        .collect()
}

/// Text of a caller's choosing, for a cell of a Markdown table.
fn markdown(text: &str) -> String {
    let mut cell = String::new();
    for c in printable(text).chars() {
        if "\\`*_[]<>|~&".contains(c) {
            cell.push('\\');
        }
        cell.push(c);
    }
    cell
}

fn share(part: u64, of: u64) -> String {
    format!("{:.0} %", part as f64 * 100.0 / of.max(1) as f64)
}

/// Seconds, UTC.
pub(in crate::command) fn time(at_ms: i64) -> String {
    timestamp_ms_to_datetime(at_ms).map_or_else(
        || "?".to_owned(),
        |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_chose_can_harm_no_terminal_and_no_table() {
        let entry = Entry {
            kind: "endpoint".to_owned(),
            key: "GET h /a|b\u{1b}[31m<script>".to_owned(),
            ..Entry::default()
        };
        let report = Report {
            entries: vec![entry.clone()],
            orphans: Vec::new(),
            is_compared: false,
        };
        for style in [Style::Table, Style::Markdown, Style::Json] {
            assert!(!report.print(style).contains('\u{1b}'), "{style:?}");
        }
        assert!(
            report
                .print(Style::Markdown)
                .contains("/a\\|b?\\[31m\\<script\\>")
        );
        assert!(!details(&entry).contains('\u{1b}'));
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_767_571_200_003), "2026-01-05 00:00:00Z");
    }
}
