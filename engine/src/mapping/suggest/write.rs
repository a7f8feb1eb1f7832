//! The proposal as TOML, with the evidence for each field beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::super::MappingConfig;
use super::fields::Choice;
use super::identity::Identity;
use super::sample::{Column, Sample};

/// A proposal in both forms.
pub(super) struct Written {
    pub(super) config: MappingConfig,
    pub(super) toml: String,
}

/// One field to be written.
struct Mapped<'a> {
    field: &'static str,
    column: &'a Column,
    why: String,
}

pub(super) fn write(
    name: &str,
    sample: &Sample,
    choices: &[Choice],
    identities: &[Identity],
) -> Written {
    let by_field = choices
        .iter()
        .filter(|choice| choice.is_mapped)
        .map(|choice| Mapped {
            field: choice.field,
            column: &sample.columns[choice.column],
            why: format!(
                "in {} of the lines, {} different, {} of them as such a field's are",
                percent(choice.coverage),
                choice.n_distinct,
                percent(choice.share)
            ),
        });
    let mut mapped: Vec<Mapped<'_>> = by_field.collect();
    let best = identities.iter().find(|one| one.is_mapped);
    mapped.extend(best.map(|one| Mapped {
        field: one.field,
        column: &sample.columns[one.column],
        why: format!(
            "who calls: in {} of the lines, {} different, {} of these call several endpoints{}",
            percent(one.coverage),
            one.n_distinct,
            percent(one.breadth),
            match one.name.contains("header") {
                true => "; a header is the client's word unless the gateway sets it",
                false => "",
            }
        ),
    }));
    let groups = groups(&mapped);
    let pattern = sample.text.as_ref().map(|shape| shape.pattern(&groups));
    let fields: Vec<(String, String, String)> = mapped
        .iter()
        .map(|one| {
            let value = value(one.column, sample, &groups);
            let (sql, unit) = in_unit(one, value);
            let from = match sample.text {
                None => String::new(),
                Some(_) => format!("{}: ", plain(&one.column.name)),
            };
            (
                one.field.to_owned(),
                sql,
                format!("{from}{}{unit}", one.why),
            )
        })
        .collect();
    let toml = toml(name, sample, pattern.as_deref(), &fields, best.is_none());
    let config = MappingConfig {
        pattern,
        condition: None,
        fields: fields
            .into_iter()
            .map(|(field, sql, _)| (field, sql))
            .collect(),
    };
    Written { config, toml }
}

/// Names of groups, by the word each stands for.
fn groups(mapped: &[Mapped<'_>]) -> BTreeMap<usize, String> {
    let mut names = BTreeMap::new();
    for one in mapped {
        for (n, word) in one.column.words.iter().enumerate() {
            let name = match one.column.words.len() {
                1 => one.field.to_owned(),
                _ => format!("{}_{}", one.field, n + 1),
            };
            names.entry(*word).or_insert(name);
        }
    }
    names
}

/// A column's value in SQL.
fn value(column: &Column, sample: &Sample, groups: &BTreeMap<usize, String>) -> String {
    if sample.text.is_none() {
        return format!("json_get(raw, '{}')", column.name.replace('\'', "''"));
    }
    let words = column.words.iter().filter_map(|word| groups.get(word));
    words.cloned().collect::<Vec<_>>().join(" || ' ' || ")
}

/// A duration in microseconds, by the unit its name says, or else its values suggest; and that it was guessed.
fn in_unit(one: &Mapped<'_>, value: String) -> (String, &'static str) {
    if one.field != "latency_us" {
        return (value, "");
    }
    let (all, _) = super::fields::words(&one.column.name);
    let all: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    let has = |names: &[&str]| names.iter().any(|name| all.contains(name));
    let number = format!("try_cast({value} AS double)");
    let numbers = one
        .column
        .values
        .iter()
        .flatten()
        .filter_map(|text| text.parse::<f64>().ok());
    let has_fraction = one
        .column
        .values
        .iter()
        .flatten()
        .any(|text| text.contains('.'));
    let largest = numbers.fold(0.0, f64::max);
    match () {
        () if has(&["us", "micros", "microseconds", "usec"]) => (value, ""),
        () if has(&["ns", "nanos", "nanoseconds", "nsec"]) => (format!("{number} / 1000"), ""),
        () if has(&["ms", "millis", "milliseconds", "msec"]) => (format!("{number} * 1000"), ""),
        () if has(&["s", "sec", "seconds"]) => (format!("{number} * 1000000"), ""),
        // A gateway gives up after some minutes: what has a fraction and is small is seconds.
        () if has_fraction && largest < 1000.0 => {
            (format!("{number} * 1000000"), "; seconds is a guess")
        }
        () => (format!("{number} * 1000"), "; milliseconds is a guess"),
    }
}

fn toml(
    name: &str,
    sample: &Sample,
    pattern: Option<&str>,
    fields: &[(String, String, String)],
    is_anonymous: bool,
) -> String {
    let mut text = String::new();
    let what = if sample.text.is_none() {
        "JSON objects"
    } else {
        "lines of one shape"
    };
    // Writing into a text never fails.
    let _ = writeln!(
        text,
        "# Proposed from {} lines, {} of them {what}. Look at it with `tollwatch map test`.",
        sample.n_lines, sample.n_shaped
    );
    let _ = writeln!(text, "[mapping.{name}]");
    if let Some(pattern) = pattern {
        let _ = writeln!(text, "pattern = {}", quoted(pattern));
    }
    let _ = writeln!(text, "\n[mapping.{name}.fields]");
    for (field, sql, why) in fields {
        let _ = writeln!(text, "# {why}\n{field} = {}", quoted(sql));
    }
    if is_anonymous {
        let _ = writeln!(
            text,
            "# No column seems to say who calls: callers are told apart by address and user agent, and no case of object\n# enumeration opens. Map jwt_sub, consumer, principal, api_key or authorization if one of them does."
        );
    }
    text
}

/// A text of TOML, in the form that needs fewest escapes.
fn quoted(text: &str) -> String {
    let is_plain = !text.contains(|c: char| c.is_control());
    match () {
        () if is_plain && !text.contains('\'') => format!("'{text}'"),
        () if is_plain && !text.contains(['"', '\\']) => format!("\"{text}\""),
        () => toml::Value::String(text.to_owned()).to_string(),
    }
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
