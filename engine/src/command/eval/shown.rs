//! The result of an evaluation as tables, sentences and JSON.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde_json::{Value, json};

use crate::command::plain_table;
use crate::evaluation::interval::wilson;
use crate::evaluation::{Evaluation, Group, Promise};

/// One row an episode.
pub fn table(evaluation: &Evaluation) -> Table {
    let mut table = plain_table();
    table.set_header([
        "episode",
        "events",
        "others' objects",
        "found by",
        "exposed before",
        "events before",
        "after",
    ]);
    for (name, episode) in &evaluation.episodes {
        table.add_row([
            name.clone(),
            episode.n_events.to_string(),
            episode.n_objects.to_string(),
            episode.rule.clone().unwrap_or_else(|| "missed".to_owned()),
            episode.n_exposed.to_string(),
            episode.n_events_before.to_string(),
            episode.detect_ms.map_or_else(String::new, duration),
        ]);
    }
    table
}

/// One row a group of episodes.
pub(super) fn groups_table(what: &str, groups: &BTreeMap<&str, Group<'_>>) -> Table {
    let mut table = plain_table();
    table.set_header([
        what,
        "found",
        "of",
        "recall",
        "95 % interval",
        "exposed, median",
        "nine in ten",
        "time to detect, median",
        "nine in ten",
    ]);
    for (name, group) in groups {
        let (found, n) = (group.n_found(), group.len());
        let (low, high) = wilson(found, n);
        let (exposed, took) = (group.exposed(), group.detected());
        table.add_row([
            (*name).to_owned(),
            found.to_string(),
            n.to_string(),
            format!("{:.2}", found as f64 / n.max(1) as f64),
            format!("{low:.2} to {high:.2}"),
            exposed.0.to_string(),
            exposed.1.to_string(),
            or_never(took.0),
            or_never(took.1),
        ]);
    }
    table
}

/// One row a role of benign callers, those without false alerts too.
pub(super) fn roles_table(evaluation: &Evaluation) -> Table {
    let mut table = plain_table();
    table.set_header([
        "benign callers",
        "calls",
        "false alerts",
        "a day",
        "per million calls",
    ]);
    for (name, role) in &evaluation.by_role {
        let name = if name.is_empty() { "of no role" } else { name };
        table.add_row([
            name.to_owned(),
            role.n_events.to_string(),
            role.n_false.to_string(),
            a_day(evaluation, role.n_false).map_or_else(String::new, |n| format!("{n:.2}")),
            format!("{:.1}", per_million(role.n_false, role.n_events)),
        ]);
    }
    table
}

/// Counted in the event time of all files together.
fn a_day(evaluation: &Evaluation, n: usize) -> Option<f64> {
    evaluation.days().map(|days| n as f64 / days)
}

fn per_million(n: usize, n_events: usize) -> f64 {
    n as f64 * 1e6 / n_events.max(1) as f64
}

/// A length of time as people read it.
///
/// * `ms`: never negative.
fn duration(ms: i64) -> String {
    const UNITS: [(f64, &str); 4] = [
        (86_400_000.0, "d"),
        (3_600_000.0, "h"),
        (60_000.0, "min"),
        (1_000.0, "s"),
    ];
    let ms = ms as f64;
    // Of a unit there are at least two, so that a digit behind the point is enough.
    let unit = UNITS.iter().find(|(unit, _)| 2.0 * unit <= ms);
    let (unit, name) = unit.unwrap_or(&UNITS[3]);
    format!("{:.1} {name}", ms / unit)
}

/// A quantile of times to detect: one that falls among the misses is longer than the log.
fn or_never(ms: Option<i64>) -> String {
    ms.map_or_else(|| "missed".to_owned(), duration)
}

/// The result in a few sentences.
pub(super) fn summary(evaluation: &Evaluation) -> String {
    let all = evaluation.all();
    let (median, decile) = all.exposed();
    let roles = evaluation
        .by_role
        .iter()
        .filter(|(role, of)| !role.is_empty() && 0 < of.n_false);
    let roles: Vec<_> = roles
        .map(|(role, of)| format!("{} {role}", of.n_false))
        .collect();
    let roles = if roles.is_empty() {
        String::new()
    } else {
        format!(": {}", roles.join(", "))
    };
    let (found, n) = (all.n_found(), all.len());
    let (low, high) = wilson(found, n);
    let days = evaluation.days().map_or_else(String::new, |days| {
        let a_day = evaluation.false_alerts.len() as f64 / days;
        format!(", {a_day:.2} a day of {days:.1}")
    });
    let (took, took_most) = all.detected();
    let took = match evaluation.days() {
        None => String::new(),
        Some(_) => format!(
            "\ntime from the first call to the alert: median {}, in nine of ten cases at most {} ({} misses counted as longer than any)",
            or_never(took),
            or_never(took_most),
            n - found,
        ),
    };
    format!(
        "{found} of {n} episodes found (95 %: {low:.2} to {high:.2}), {} false alerts ({:.1} per million events{days}{roles}), \
         {} posture findings\nothers' objects exposed before the alert: median {median}, in nine of ten cases at most {decile} (a miss exposes \
         all){took}",
        evaluation.false_alerts.len(),
        evaluation.false_per_million(),
        evaluation.n_posture,
    )
}

/// What was promised against what was counted, in a sentence.
pub(super) fn promise_told(promise: &Promise) -> String {
    let Promise {
        promised,
        n_false,
        interval: (low, high),
        ratio: [ratio, ratio_low, ratio_high],
    } = promise;
    format!(
        "{promised:.2} false alerts promised, {n_false} counted (95 %: {low:.1} to {high:.1}), which is {ratio:.1} times the promise \
         ({ratio_low:.1} to {ratio_high:.1})"
    )
}

/// The same as an object.
pub(super) fn promise_json(promise: &Promise) -> Value {
    let [ratio, low, high] = promise.ratio;
    json!({
        "promised": promise.promised, "counted": promise.n_false,
        "counted_interval": [promise.interval.0, promise.interval.1],
        "ratio": ratio, "ratio_interval": [low, high],
    })
}

fn groups_json(groups: &BTreeMap<&str, Group<'_>>) -> Value {
    let row = |group: &Group<'_>| {
        let (found, n) = (group.n_found(), group.len());
        let (low, high) = wilson(found, n);
        let (exposed, took) = (group.exposed(), group.detected());
        json!({
            "found": found, "episodes": n, "recall_interval": [low, high],
            "exposed_median": exposed.0, "exposed_decile": exposed.1,
            "detect_ms_median": took.0, "detect_ms_decile": took.1,
        })
    };
    let rows = groups
        .iter()
        .map(|(name, group)| ((*name).to_owned(), row(group)));
    Value::Object(rows.collect())
}

/// The result as one object. Times are null where they are not known, or where a miss stands in the place of the quantile.
pub fn as_json(evaluation: &Evaluation) -> Value {
    let episodes: serde_json::Map<String, Value> = evaluation
        .episodes
        .iter()
        .map(|(name, e)| {
            let row = json!({
                "events": e.n_events, "objects": e.n_objects, "rule": e.rule,
                "exposed_before": e.n_exposed, "events_before": e.n_events_before, "detect_ms": e.detect_ms,
            });
            (name.clone(), row)
        })
        .collect();
    let roles: serde_json::Map<String, Value> = evaluation
        .by_role
        .iter()
        .map(|(name, of)| {
            let row = json!({
                "events": of.n_events, "false_alerts": of.n_false,
                "false_per_day": a_day(evaluation, of.n_false),
                "false_per_million": per_million(of.n_false, of.n_events),
            });
            (name.clone(), row)
        })
        .collect();
    let all = evaluation.all();
    let (exposed, took) = (all.exposed(), all.detected());
    let (low, high) = wilson(all.n_found(), all.len());
    json!({
        "episodes": episodes,
        "found": all.n_found(),
        "recall_interval": [low, high],
        "by_kind": groups_json(&evaluation.by_part(0)),
        "by_band": groups_json(&evaluation.by_part(1)),
        "false_alerts": evaluation.false_alerts,
        "benign": roles,
        "false_per_million": evaluation.false_per_million(),
        "false_per_day": a_day(evaluation, evaluation.false_alerts.len()),
        "days": evaluation.days(),
        "exposed_median": exposed.0,
        "exposed_decile": exposed.1,
        "detect_ms_median": took.0,
        "detect_ms_decile": took.1,
        "posture": evaluation.n_posture,
        "events": evaluation.n_events,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_in_the_unit_they_are_of() {
        for (ms, text) in [
            (0, "0.0 s"),
            (90_000, "90.0 s"),
            (120_000, "2.0 min"),
            (7_200_000, "2.0 h"),
            (129_600_000, "36.0 h"),
            (216_000_000, "2.5 d"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
