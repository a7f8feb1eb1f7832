//! What was measured, each number with the query that gives it again.
//!
//! The queries are of `tollwatch`'s own reports and `jq`; a test runs them and compares.

use models::inventory::Entry;
use serde_json::Value;

use super::alerts::AlertSums;
use crate::command::posture::text;
use crate::command::readiness::quantile;

const DAY_MS: f64 = 86_400_000.0;
const HOUR_MS: f64 = 3_600_000.0;

/// What is counted.
pub(in crate::command) struct Material<'a> {
    pub(in crate::command) entries: &'a [Entry],
    /// True when the entries were held against documents.
    pub(in crate::command) is_compared: bool,
    pub(in crate::command) findings: &'a [Value],
    /// Agents, MCP servers and tools.
    pub(in crate::command) others: [usize; 3],
    /// None when none were read.
    pub(in crate::command) alerts: Option<&'a AlertSums>,
}

/// One number.
pub(in crate::command) struct Measure {
    pub(in crate::command) id: &'static str,
    pub(in crate::command) what: &'static str,
    /// None when the records don't hold it.
    pub(in crate::command) value: Option<f64>,
    pub(in crate::command) unit: &'static str,
    pub(in crate::command) query: String,
    /// What would be needed.
    pub(in crate::command) lacking: &'static str,
}

/// The value of a measure.
pub(super) fn value(measures: &[Measure], id: &str) -> Option<f64> {
    measures.iter().find(|one| one.id == id)?.value
}

/// Every measure, in the order in which it is told.
pub(super) fn measures(material: &Material<'_>) -> Vec<Measure> {
    let inventory = |query: &str| format!("tollwatch inventory list SOURCE --json | jq '{query}'");
    let posture =
        |query: &str| format!("tollwatch posture list SOURCE --all --json | jq '{query}'");
    let agents = |list: &str, name: &str| {
        format!("tollwatch agents {list} SOURCE --json | jq '.{name} | length'")
    };
    let alerts = |query: &str| format!("jq -n '{query}' alerts.ndjson");
    let measure = |id, what, value, unit, query, lacking| Measure {
        id,
        what,
        value,
        unit,
        query,
        lacking,
    };
    const NOTHING: &str = "nothing was read";
    const NO_ALERTS: &str = "give --alerts FILE, or a service whose alerts are in a topic";
    const ENDPOINT: &str = r#".inventory[] | select(.kind == "endpoint")"#;
    let all = material.entries.iter();
    let all: Vec<&Entry> = all.filter(|entry| entry.kind == "endpoint").collect();
    let answered: Vec<&&Entry> = all.iter().filter(|entry| entry.is_answered()).collect();
    let calls: u64 = material.entries.iter().map(|entry| entry.calls).sum();
    let known: u64 = all.iter().map(|entry| entry.authenticated).sum();
    let of_endpoints: u64 = all.iter().map(|entry| entry.calls).sum();
    let is_hidden = |entry: &&&&Entry| {
        let mut kinds = entry.deviations.iter().map(|one| one.kind.as_str());
        kinds.any(|kind| matches!(kind, "shadow" | "undocumented_host"))
    };
    let hidden = answered.iter().filter(is_hidden).count();
    let discovery = |share| {
        let hours = all
            .iter()
            .map(|entry| entry.time_to_discovery_ms as f64 / HOUR_MS);
        quantile(hours, share)
    };
    let discovery_query = |share: &str| {
        inventory(&format!(
            "[{ENDPOINT} | .time_to_discovery_ms] | sort | .[(length * {share} | ceil) - 1] / 3600000"
        ))
    };
    let of_phase = |phase: &str| {
        let findings = material.findings.iter();
        findings
            .filter(|finding| text(finding, "phase") == phase)
            .count() as f64
    };
    let resolved = material
        .findings
        .iter()
        .filter(|one| text(one, "phase") == "resolved");
    let lasted = resolved.map(|one| {
        let at = |field: &str| one[field].as_i64().unwrap_or(0);
        (at("changed_ms") - at("first_ms")) as f64 / DAY_MS
    });
    let exposed = material.alerts.map(AlertSums::exposed);
    let cases = material.alerts.map(|alerts| alerts.n_cases as f64);
    let days = days(material.entries);
    let [n_agents, n_servers, n_tools] = material.others.map(|n| Some(n as f64));
    const EXPOSED: &str = "[inputs | {uid: .finding_info.uid, new: (.activity_id == 1), n: .unmapped.tollwatch.models.n_exposed} | select(.n != null)] \
        | group_by(.uid) | map(select(any(.[]; .new)) | {first: ([.[] | select(.new)][0].n), latest: (map(.n) | max)})";
    vec![
        measure(
            "days",
            "days that were read",
            days,
            "days",
            inventory(
                "([.inventory[].last_seen_ms] | max) - ([.inventory[].first_seen_ms] | min) | . / 86400000",
            ),
            NOTHING,
        ),
        measure(
            "calls",
            "calls covered",
            Some(calls as f64),
            "calls",
            inventory("[.inventory[].calls] | add // 0"),
            NOTHING,
        ),
        measure(
            "calls_known",
            "of those on endpoints, of callers the gateway knew",
            (of_endpoints > 0).then(|| 100.0 * known as f64 / of_endpoints as f64),
            "%",
            inventory(&format!(
                "[{ENDPOINT}] | 100 * (map(.authenticated) | add) / (map(.calls) | add)"
            )),
            NOTHING,
        ),
        measure(
            "endpoints",
            "endpoints discovered that answer",
            Some(answered.len() as f64),
            "endpoints",
            inventory(&format!(
                r#"[{ENDPOINT} | select(.standing == "answered")] | length"#
            )),
            NOTHING,
        ),
        measure(
            "undocumented",
            "of those in no document",
            material.is_compared.then_some(hidden as f64),
            "endpoints",
            inventory(&format!(
                r#"[{ENDPOINT} | select(any(.deviations[]?; .kind == "shadow" or .kind == "undocumented_host"))] | length"#
            )),
            "give --openapi",
        ),
        measure(
            "discovery_p50",
            "from first call to inventory, median",
            discovery(0.5),
            "hours",
            discovery_query("0.5"),
            NOTHING,
        ),
        measure(
            "discovery_p95",
            "the same, 95 of 100 within",
            discovery(0.95),
            "hours",
            discovery_query("0.95"),
            NOTHING,
        ),
        measure(
            "agents",
            "AI agents",
            n_agents,
            "",
            agents("list", "agents"),
            NOTHING,
        ),
        measure(
            "servers",
            "MCP and A2A servers",
            n_servers,
            "",
            agents("servers", "servers"),
            NOTHING,
        ),
        measure(
            "tools",
            "tools that were called",
            n_tools,
            "",
            agents("tools", "tools"),
            NOTHING,
        ),
        measure(
            "findings",
            "findings of posture opened",
            Some(material.findings.len() as f64),
            "findings",
            posture(".findings | length"),
            NOTHING,
        ),
        measure(
            "findings_open",
            "of those open",
            Some(of_phase("open")),
            "findings",
            posture(r#"[.findings[] | select(.phase == "open")] | length"#),
            NOTHING,
        ),
        measure(
            "findings_resolved",
            "of those resolved",
            Some(of_phase("resolved")),
            "findings",
            posture(r#"[.findings[] | select(.phase == "resolved")] | length"#),
            NOTHING,
        ),
        measure(
            "days_to_resolve",
            "from first sight to resolved, median",
            quantile(lasted, 0.5),
            "days",
            posture(
                r#"[.findings[] | select(.phase == "resolved") | .changed_ms - .first_ms] | sort | .[(length * 0.5 | ceil) - 1] / 86400000"#,
            ),
            "none was resolved",
        ),
        measure(
            "alerts",
            "cases that alerts opened",
            cases,
            "cases",
            alerts("[inputs | select(.activity_id == 1)] | length"),
            NO_ALERTS,
        ),
        measure(
            "alerts_per_day",
            "cases an analyst day",
            cases
                .zip(days)
                .filter(|(_, days)| *days > 0.0)
                .map(|(cases, days)| cases / days),
            "a day",
            format!(
                "{} divided by the days that were read",
                alerts("[inputs | select(.activity_id == 1)] | length")
            ),
            NO_ALERTS,
        ),
        measure(
            "exposed_before",
            "others' objects a case had exposed when it was told, all cases",
            exposed.map(|(before, _)| before),
            "objects",
            alerts(&format!("{EXPOSED} | map(.first) | add // 0")),
            NO_ALERTS,
        ),
        measure(
            "exposed_after",
            "and after it was told, as far as updates tell",
            exposed.map(|(_, after)| after),
            "objects",
            alerts(&format!("{EXPOSED} | map(.latest - .first) | add // 0")),
            NO_ALERTS,
        ),
    ]
}

/// Days between the first and the last call; none of less than two moments.
fn days(entries: &[Entry]) -> Option<f64> {
    let first_ms = entries.iter().map(|entry| entry.first_seen_ms).min()?;
    let last_ms = entries.iter().map(|entry| entry.last_seen_ms).max()?;
    (first_ms < last_ms).then(|| (last_ms - first_ms) as f64 / DAY_MS)
}
