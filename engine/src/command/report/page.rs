//! The page: its parts, in the order of who reads: what is wrong, what changed, what there is, what can't be seen.

use models::compliance::CAVEAT;
use models::posture::CHECKS;
use serde_json::Value;

use super::coverage::Sight;
use super::html::Html;
use super::plot::bars;
use super::{DISCOVERY_BOUNDS, Report, STATUS_CLASSES, hosts};
use crate::command::inventory::report::time;
use crate::command::posture::{SEVERITIES, text};
use crate::command::readiness::{HEADER, rows};
use crate::command::roi::{ASSUMED, CAVEAT as MODELLED_CAVEAT, MEASURED, MODELLED};

/// The page's head. No address is loaded from it, and a reader's program is told to load none.
const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tollwatch: report of APIs</title>
<style>
:root { color-scheme: light dark; --line: #8886; --bar: #3b6ea5; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; list-style: none; }
.tiles li { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem 1rem; }
.tiles b { display: block; font-size: 1.5rem; }
.critical, .high { color: #c22; font-weight: 600; } .medium { color: #b60; }
figure { margin: 1rem 0; } figcaption { font-weight: 600; } svg { max-width: 100%; } svg text { font-size: 12px; fill: currentColor; } rect { fill: var(--bar); }
code { font-size: 12px; overflow-wrap: anywhere; } footer { margin-top: 3rem; font-size: 13px; }
@media print { details > * { display: block; } }
</style></head><body>
"#;

/// Lays a report out.
pub(super) fn page(report: &Report) -> String {
    let mut html = Html::default();
    html.raw(HEAD);
    summary(report, &mut html);
    findings(report, &mut html);
    changes(report, &mut html);
    inventory(report, &mut html);
    documents(report, &mut html);
    agents(report, &mut html);
    discovery(report, &mut html);
    coverage(report, &mut html);
    readiness(report, &mut html);
    roi(report, &mut html);
    html.raw("<footer><p>").text(CAVEAT);
    html.raw("</p></footer>\n</body></html>\n");
    html.finish()
}

fn summary(report: &Report, html: &mut Html) {
    html.raw("<h1>Report of APIs</h1>\n<p>As of ")
        .text(&time(report.digest.until_ms))
        .raw(", the latest event in the records");
    if !report.sources.is_empty() {
        html.raw(", from ").text(&report.sources.join(", "));
    }
    html.raw(".</p>\n<ul class=\"tiles\">");
    let agents = report.agents.iter();
    let agents = agents.map(|(list, records)| (list.name, records.len() as u64));
    let open = ("open findings", report.open.len() as u64);
    for (name, n) in std::iter::once(open).chain(report.counts()).chain(agents) {
        html.element("<li><b>", &n.to_string(), "</b>");
        html.text(name).raw("</li>");
    }
    html.raw("</ul>\n");
    let severities = SEVERITIES.iter().copied();
    let severities = severities.zip(report.digest.open_by_severity.map(|n| n as u64));
    bars(
        html,
        "Open findings by severity",
        &severities.collect::<Vec<_>>(),
    );
    let statuses: Vec<_> = STATUS_CLASSES.into_iter().zip(report.statuses()).collect();
    bars(html, "Calls by status", &statuses);
}

/// Opens a cell in the colour of a severity.
fn severity_cell(severity: &str) -> &'static str {
    match severity {
        "critical" => "<td class=\"critical\">",
        "high" => "<td class=\"high\">",
        "medium" => "<td class=\"medium\">",
        _ => "<td>",
    }
}

fn findings(report: &Report, html: &mut Html) {
    html.raw("<h2>Findings that are open</h2>\n");
    if report.open.is_empty() {
        html.raw("<p>None. What can't be seen is below.</p>\n");
        return;
    }
    html.head(&[
        "severity",
        "what",
        "of",
        "calls",
        "rate",
        "callers",
        "since",
        "owner",
        "what to do",
    ]);
    for finding in Html::shown(&report.open) {
        finding_row(finding, html);
    }
    html.foot(report.open.len());
}

fn finding_row(finding: &Value, html: &mut Html) {
    let number = |field: &str| finding[field].as_u64().unwrap_or(0);
    let percent = |field: &str| 100.0 * finding[field].as_f64().unwrap_or(0.0);
    let severity = text(finding, "severity");
    html.raw("<tr id=\"").text(text(finding, "uid")).raw("\">");
    html.element(severity_cell(severity), severity, "</td>");
    html.element("<td>", text(finding, "title"), "<br><code>");
    html.element("", text(finding, "check"), "</code></td>");
    html.element("<td><code>", text(finding, "subject"), "</code></td>");
    let cells = [
        format!("{} of {}", number("bad"), number("of")),
        format!(
            "{:.1} to {:.1} %",
            percent("rate_low"),
            percent("rate_high")
        ),
        number("identities").to_string(),
        time(finding["first_ms"].as_i64().unwrap_or(0)),
        finding["owner"].as_str().unwrap_or("-").to_owned(),
    ];
    for cell in &cells {
        html.element("<td>", cell, "</td>");
    }
    html.element("<td>", text(finding, "remedy"), "<details><summary>");
    html.raw("calls and standards</summary>");
    let samples = finding["samples"].as_array();
    for sample in samples.into_iter().flatten() {
        let at = time(sample["at_ms"].as_i64().unwrap_or(0));
        let place = format!(
            "{at}, {} in {}/{} at {}",
            text(sample, "identity"),
            text(sample, "topic"),
            sample["partition"].as_i64().unwrap_or(0),
            sample["offset"].as_i64().unwrap_or(0),
        );
        html.element("<p><code>", text(sample, "call"), "</code><br>");
        html.element("", &place, "</p>");
    }
    let standards = finding["standards"].as_object().into_iter().flatten();
    let standards = standards.map(|(framework, ids)| {
        let ids = ids.as_array().into_iter().flatten();
        let ids: Vec<&str> = ids.filter_map(Value::as_str).collect();
        format!("{framework} {}", ids.join(", "))
    });
    let standards: Vec<String> = standards.collect();
    html.element("<p>", &standards.join(" · "), "</p></details></td></tr>\n");
}

fn changes(report: &Report, html: &mut Html) {
    let digest = &report.digest;
    html.element("<h2>Changes since ", &time(digest.from_ms), "</h2>\n");
    html.element("<p>", &digest.summary(), ".</p>\n");
    for (what, findings) in digest.changes() {
        if findings.is_empty() {
            continue;
        }
        html.element("<h3>", what, "</h3>\n");
        let row = |finding: &Value| {
            let cells = ["severity", "title", "subject"].map(|field| text(finding, field));
            cells.map(str::to_owned).to_vec()
        };
        let rows: Vec<_> = findings.iter().map(row).collect();
        html.table(&["severity", "what", "of"], &rows);
    }
    html.raw("<h3>Most wrong with</h3>\n");
    let row = |(subject, severity, n): &(String, &str, usize)| {
        vec![subject.clone(), (*severity).to_owned(), n.to_string()]
    };
    let rows: Vec<_> = digest.top.iter().map(row).collect();
    html.table(&["endpoint or host", "worst", "open"], &rows);
}

fn inventory(report: &Report, html: &mut Html) {
    let share = |part: u64, of: u64| match of {
        0 => "?".to_owned(),
        of => format!("{:.1} %", 100.0 * part as f64 / of as f64),
    };
    html.raw("<h2>Inventory</h2>\n<h3>Hosts</h3>\n");
    let row = |(host, [endpoints, calls, anonymous, tls, plaintext]): (&str, [u64; 5])| {
        vec![
            host.to_owned(),
            endpoints.to_string(),
            calls.to_string(),
            share(anonymous, calls),
            share(plaintext, tls + plaintext),
        ]
    };
    let rows: Vec<_> = hosts(report).into_iter().map(row).collect();
    html.table(
        &[
            "host",
            "endpoints",
            "calls",
            "without credential",
            "plaintext",
        ],
        &rows,
    );
    html.raw("<h3>Endpoints, the most called first</h3>\n");
    let mut entries: Vec<_> = report.endpoints().collect();
    entries.sort_by_key(|entry| (std::cmp::Reverse(entry.calls), entry.key.as_str()));
    let rows: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            vec![
                entry.key.clone(),
                entry.standing.clone(),
                entry.calls.to_string(),
                entry.identities.to_string(),
                share(entry.anonymous, entry.calls),
                entry.sensitive.join(", "),
                time(entry.first_seen_ms),
                time(entry.last_seen_ms),
                entry.owner.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let header = [
        "endpoint",
        "standing",
        "calls",
        "callers",
        "without credential",
        "hints",
        "first seen",
        "last seen",
        "owner",
    ];
    html.table(&header, &rows);
}

fn documents(report: &Report, html: &mut Html) {
    html.raw("<h2>Against the documents</h2>\n");
    let Some(orphans) = &report.orphans else {
        html.raw("<p>Not compared: no OpenAPI document was given (<code>--openapi</code>), so nothing is known of shadow or undocumented APIs.</p>\n");
        return;
    };
    let row = |(entry, at): &(&models::inventory::Entry, usize)| {
        let deviation = &entry.deviations[*at];
        vec![
            deviation.severity.as_str().to_owned(),
            deviation.kind.clone(),
            entry.key.clone(),
            deviation.detail.clone(),
        ]
    };
    let rows: Vec<_> = report.deviations().iter().map(row).collect();
    html.raw("<h3>Shadow, undocumented and drifted</h3>\n");
    html.table(&["severity", "what", "endpoint", "seen"], &rows);
    html.raw("<h3>Documented and not called</h3>\n");
    let rows: Vec<_> = orphans
        .iter()
        .map(|orphan| vec![orphan.operation.clone(), orphan.detail.clone()])
        .collect();
    html.table(&["operation", "why told"], &rows);
}

fn agents(report: &Report, html: &mut Html) {
    html.raw("<h2>AI agents and MCP</h2>\n");
    for (list, records) in &report.agents {
        html.element("<h3>", list.name, "</h3>\n");
        html.table(&list.header(), &list.rows(records));
    }
}

fn discovery(report: &Report, html: &mut Html) {
    let discoveries = report.discoveries();
    html.raw("<h2>Time to discovery</h2>\n<p>From the first call to the inventory, in seconds of the stream's clock.</p>\n");
    let seconds = |value: Option<f64>| value.map_or("-".to_owned(), |s| format!("{s:.1}"));
    let rows: Vec<_> = discoveries
        .iter()
        .map(|one| {
            vec![
                one.what.to_owned(),
                one.times_ms.len().to_string(),
                seconds(one.seconds(0.5)),
                seconds(one.seconds(0.95)),
            ]
        })
        .collect();
    html.table(&["what", "how many", "p50", "p95"], &rows);
    let times = discoveries.iter().flat_map(|one| &one.times_ms);
    let mut counts = DISCOVERY_BOUNDS.map(|(name, _)| (name, 0));
    for ms in times {
        let at = DISCOVERY_BOUNDS.iter().position(|(_, most)| ms <= most);
        // The last bound is above everything.
        if let Some((_, n)) = at.and_then(|at| counts.get_mut(at)) {
            *n += 1;
        }
    }
    bars(
        html,
        "Endpoints, agents, servers and tools by time to discovery",
        &counts,
    );
}

fn coverage(report: &Report, html: &mut Html) {
    html.raw("<h2>What can be seen</h2>\n");
    if report.coverage.is_empty() {
        html.raw("<p>Not known: the inventory topic does not tell which gateway's logs it was made of. Give <code>--format</code>, or <code>-c</code> with the service's sources.</p>\n");
    }
    for source in &report.coverage {
        html.element("<h3>", &source.source, " (");
        html.text(&source.format).raw(")</h3>\n");
        if source.checks.is_empty() {
            html.raw("<p>Not known: the format is detected by the service as it reads. Give <code>--format</code>.</p>\n");
            continue;
        }
        let counts = Sight::ALL.map(|sight| format!("{} {}", source.n_of(sight), sight.as_str()));
        let said = format!("{} checks: {}.", CHECKS.len(), counts.join(", "));
        html.element("<p>", &said, "</p>\n");
        let lacking = source.checks.iter();
        let lacking = lacking.filter(|(_, sight, _)| *sight != Sight::Sees);
        let rows: Vec<_> = lacking
            .map(|(check, sight, why)| {
                let cells = [check.id, check.title, sight.as_str(), why.as_str()];
                cells.map(str::to_owned).to_vec()
            })
            .collect();
        html.table(&["check", "what", "sight", "why"], &rows);
    }
}

fn readiness(report: &Report, html: &mut Html) {
    let points: f64 = report
        .answers
        .iter()
        .map(|(.., answer)| answer.points())
        .sum();
    html.raw("<h2>Readiness</h2>\n");
    let said = format!(
        "{points} points of {}. The bounds are proposals of ours, no standard's.",
        report.answers.len()
    );
    html.element("<p>", &said, "</p>\n");
    html.table(&HEADER, &rows(&report.answers));
}

fn roi(report: &Report, html: &mut Html) {
    html.raw("<h2>Return on investment</h2>\n");
    let Some(roi) = &report.roi else {
        html.raw(
            "<p>Not told: no record holds what a finding costs or what a review of your own would have found, and a guess would look \
             like a measure. Write what you assume to a file (<code>tollwatch roi --template</code>) and give it with \
             <code>--assumptions</code>.</p>\n",
        );
        return;
    };
    html.table(&MEASURED, &roi.measured_rows());
    html.raw("<h3>Modelled</h3>\n");
    html.table(&MODELLED, &roi.modelled_rows());
    html.raw("<h3>Assumptions</h3>\n");
    html.table(&ASSUMED, &roi.assumed_rows());
    html.element("<p>", MODELLED_CAVEAT, "</p>\n");
}
