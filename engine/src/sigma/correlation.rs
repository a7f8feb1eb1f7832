//! Correlations: how often, of how many values, or in which company rules match within a time.

use serde_json::{Map, Value};

use super::field::{Column, Field, field};
use super::parse::{scalar, texts};
use super::predicate::Predicate;
use super::render::{Query, from};
use crate::rule::Span;

/// Slides a window has: a burst that fits the time span by less than a twentieth can lie across two windows and be missed.
const SLIDES: i64 = 20;
/// Slides a window waits for late rows, at most: with its own they fit into what a window may span.
const LATE_SLIDES: i64 = 40;
/// Longest time span: a group's state lives as long as its window.
const TIMESPAN_MAX_MS: i64 = 90 * 86_400_000;
/// How long it waits otherwise, in milliseconds.
const LATENESS_MS: i64 = 60_000;

/// The rules it is about, by name or id.
pub(super) fn rules(keys: &Map<String, Value>) -> Vec<String> {
    keys.get("rules").map(texts).unwrap_or_default()
}

/// Whether the rules it is about are rules of their own, too.
pub(super) fn keeps_rules(keys: &Map<String, Value>) -> bool {
    keys.get("generate") == Some(&Value::Bool(true))
}

/// The SELECT of a correlation over the predicates of its rules, in their order.
///
/// # Errors
/// What it asks for that a window can't tell.
pub(super) fn query(keys: &Map<String, Value>, rules: &[Predicate]) -> Result<Query, String> {
    let text = |key: &str| keys.get(key).and_then(scalar).unwrap_or_default();
    let size_ms = span_ms(&text("timespan"))?;
    let groups = groups(keys)?;
    let (told, condition, counts_up) = having(&text("type"), keys, rules)?;
    let predicate = Predicate::Any(rules.to_vec()).folded();
    let slide_ms = size_ms / SLIDES;
    let window = format!(
        "HOP(events, event_time, {}, {})",
        interval(slide_ms),
        interval(size_ms)
    );
    let names: Vec<String> = groups.iter().map(|column| column.name()).collect();
    let shown = groups.iter().map(|column| match column.definition() {
        Some(value) => format!("{value} AS {}, ", column.name()),
        None => format!("{}, ", column.name()),
    });
    let shown: String = shown.collect();
    let keys: String = groups
        .iter()
        .map(|column| format!("{}, ", column.value()))
        .collect();
    let mut header = format!(
        "lateness: {}\n",
        Span {
            ms: LATENESS_MS.min(LATE_SLIDES * slide_ms)
        }
    );
    if counts_up {
        header.push_str("emit: first_crossing\n");
    }
    if !names.is_empty() {
        header.push_str(&format!(
            "suppress: {{by: [{}], for: {}, update: true}}\n",
            names.join(", "),
            Span { ms: size_ms }
        ));
    }
    Ok(Query {
        sql: format!(
            "SELECT {shown}window_start, window_end, {}\nFROM {}\nWHERE {}\nGROUP BY {keys}window_start, window_end\nHAVING {}\n",
            told,
            from(&window, &predicate),
            predicate.sql(true, Some(1)),
            condition,
        ),
        requires: predicate.required(),
        header,
        has_identity: groups.contains(&Column::Text("identity")),
    })
}

/// `10m` as milliseconds.
fn span_ms(text: &str) -> Result<i64, String> {
    let fault =
        || format!("`timespan` is `{text}`: a number and s, m, h or d is expected, up to 90d");
    match Span::parse(text).map_err(|_| fault())?.ms {
        ms if (1_000..=TIMESPAN_MAX_MS).contains(&ms) => Ok(ms),
        _ => Err(fault()),
    }
}

fn interval(ms: i64) -> String {
    let units = [
        (86_400_000, "days"),
        (3_600_000, "hours"),
        (60_000, "minutes"),
        (1_000, "seconds"),
    ];
    let (of, unit) = units
        .into_iter()
        .find(|(of, _)| ms % of == 0)
        .unwrap_or((1, "milliseconds"));
    format!("INTERVAL '{} {unit}'", ms / of)
}

/// The columns of `group-by`; an alias stands for the same column in every rule.
fn groups(keys: &Map<String, Value>) -> Result<Vec<Column>, String> {
    let mut groups = Vec::new();
    for name in keys.get("group-by").map(texts).unwrap_or_default() {
        let fields = match keys.get("aliases").and_then(|aliases| aliases.get(&name)) {
            Some(Value::Object(fields)) => fields.values().filter_map(scalar).collect(),
            _ => vec![name.clone()],
        };
        let mut columns = fields
            .iter()
            .map(|name| column(name))
            .collect::<Result<Vec<_>, _>>()?;
        columns.dedup();
        let [column] = columns[..] else {
            return Err(format!(
                "`group-by` names `{name}`, which is another column in each rule"
            ));
        };
        if !groups.contains(&column) {
            groups.push(column);
        }
    }
    Ok(groups)
}

fn column(name: &str) -> Result<Column, String> {
    match field(name) {
        Some(Field::Seen(column)) => Ok(column),
        Some(Field::Unseen(why)) => Err(format!("field `{name}`: {why}")),
        None => Err(format!(
            "field `{name}` is not one of Sigma's for web servers and proxies"
        )),
    }
}

/// What makes a group a finding: the column that is told, the condition, and whether this stays true while calls come.
fn having(
    kind: &str,
    keys: &Map<String, Value>,
    rules: &[Predicate],
) -> Result<(String, String, bool), String> {
    let condition = match keys.get("condition") {
        Some(Value::Object(condition)) => condition.clone(),
        _ => Map::new(),
    };
    let of = || match condition
        .get("field")
        .map(texts)
        .unwrap_or_default()
        .as_slice()
    {
        [name] => column(name),
        _ => Err("`condition` names no single `field`".to_owned()),
    };
    let each = |rule: &Predicate| format!("FILTER (WHERE {})", rule.sql(true, None));
    match kind {
        "event_count" => compared("count(*)", &condition),
        "value_count" => compared(&format!("count(DISTINCT {})", of()?.value()), &condition),
        "value_sum" | "value_avg" => {
            let column @ Column::Number(_) = of()? else {
                return Err("it sums a field that is no number".to_owned());
            };
            let value = format!("{}({})", &kind["value_".len()..], column.name());
            let (value, condition, _) = compared(&value, &condition)?;
            Ok((value, condition, false))
        }
        "temporal" | "temporal_ordered" if !condition.is_empty() => {
            Err("a temporal correlation with a `condition` is not supported".to_owned())
        }
        "temporal" => {
            let matched = rules
                .iter()
                .map(|rule| format!("count(*) {} >= 1", each(rule)));
            let matched: Vec<String> = matched.collect();
            Ok(("count(*) AS n".to_owned(), matched.join("\n  AND "), true))
        }
        "temporal_ordered" => match rules {
            [first, then] => {
                let (first, then) = (each(first), each(then));
                let condition = format!("min(event_time) {first}\n  < max(event_time) {then}");
                Ok(("count(*) AS n".to_owned(), condition, false))
            }
            _ => {
                Err("rules have no sequences: two in their order can be told, not more".to_owned())
            }
        },
        other => Err(format!(
            "rules have no aggregate for a correlation of type `{other}`"
        )),
    }
}

/// A value and its comparisons.
fn compared(value: &str, condition: &Map<String, Value>) -> Result<(String, String, bool), String> {
    let (mut terms, mut counts_up) = (Vec::new(), true);
    for (key, bound) in condition.iter().filter(|(key, _)| *key != "field") {
        let operator = match key.as_str() {
            "gt" => ">",
            "gte" => ">=",
            "lt" => "<",
            "lte" => "<=",
            "eq" => "=",
            "neq" => "<>",
            other => {
                return Err(format!(
                    "`condition` asks for `{other}`, which is not known"
                ));
            }
        };
        let Some(bound) = bound.as_i64() else {
            return Err(format!(
                "`condition` compares with `{bound}`, which is no whole number"
            ));
        };
        counts_up &= operator.starts_with('>');
        terms.push(format!("{value} {operator} {bound}"));
    }
    match terms.is_empty() {
        true => Err("`condition` compares with nothing".to_owned()),
        false => Ok((format!("{value} AS n"), terms.join(" AND "), counts_up)),
    }
}
