//! From a mapping's texts to expressions that can be evaluated, or everything that is wrong with it.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use connectors::format::{Format, mapped};
use datafusion::physical_expr::PhysicalExpr;
use models::posture::ANSWERED;
use regex::Regex;

use super::{MappingConfig, MappingFaults};
use crate::rule::scalar::{Compiled, RAW, Scalars, on_deep_stack, pattern};

/// Bytes of a mapping's name, which stands as the gateway in every event.
const NAME_BYTES_MAX: usize = 64;
/// Named groups of a pattern.
const GROUPS_MAX: usize = 100;

/// A mapping that can read lines.
#[derive(Debug)]
pub struct Mapping {
    name: String,
    pub(super) pattern: Option<Pattern>,
    pub(super) compiled: Compiled,
    /// True when the first expression is the condition; the others are the fields'.
    pub(super) has_condition: bool,
    /// Per field its place in [`mapped::FIELDS`] and how its values are read.
    pub(super) fields: Vec<(usize, Reading)>,
}

/// A regular expression, and its groups that are columns.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// Numbers of the named groups.
    pub(super) groups: Vec<usize>,
}

/// How the values of an expression are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Text,
    Integer,
    Float,
    Flag,
    Time,
}

impl Reading {
    /// The type that values are cast to.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Reading::Text => DataType::Utf8,
            Reading::Integer => DataType::Int64,
            Reading::Float => DataType::Float64,
            Reading::Flag => DataType::Boolean,
            Reading::Time => DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None),
        }
    }

    /// How values of a type are read for a field.
    fn of(field: &str, given: &DataType) -> Result<Reading, String> {
        let wants = match field {
            "event_time" => "a timestamp, or a text that holds a time",
            "status" | "request_bytes" | "response_bytes" | "latency_us" => {
                "a number, or a text that holds one"
            }
            "authenticated" => "true or false",
            _ => "a text",
        };
        let is_text = given.is_string() || given.is_null();
        let is_number = given.is_numeric();
        let reading = match (field, given) {
            ("event_time", DataType::Timestamp(..)) => Some(Reading::Time),
            ("event_time", _) if is_number => {
                return Err(format!(
                    "is a number ({given}), which has no unit: write to_timestamp_seconds(…), to_timestamp_millis(…), to_timestamp_micros(…) or to_timestamp_nanos(…)"
                ));
            }
            ("event_time", _) => is_text.then_some(Reading::Text),
            ("authenticated", DataType::Boolean) => Some(Reading::Flag),
            ("authenticated", _) => given.is_null().then_some(Reading::Flag),
            (_, DataType::Boolean) if wants == "a text" => Some(Reading::Flag),
            _ if given.is_integer() => Some(Reading::Integer),
            _ if is_number => Some(Reading::Float),
            _ => is_text.then_some(Reading::Text),
        };
        reading.ok_or_else(|| format!("is a {given}, and wants {wants}"))
    }
}

impl Mapping {
    /// Compiles a mapping.
    ///
    /// # Errors
    /// Everything that is wrong with it, with the names of the fields.
    pub fn compile(name: &str, config: &MappingConfig) -> Result<Mapping, MappingFaults> {
        let compiled = on_deep_stack(|| compile(name, config));
        compiled.map_err(|faults| {
            let told = faults
                .into_iter()
                .map(|fault| format!("mapping {}: {fault}", shown(name)));
            MappingFaults(told.collect())
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when it gives a field.
    pub fn has(&self, field: &str) -> bool {
        self.fields
            .iter()
            .any(|(at, _)| mapped::FIELDS[*at] == field)
    }

    /// Whether its events can hold what a column of `events` is made from.
    pub fn holds(&self, column: &str) -> bool {
        /// Fields that say who calls.
        const CREDENTIALS: [&str; 10] = [
            "authorization",
            "api_key",
            "token_hash",
            "jwt_sub",
            "jwt_claims",
            "consumer",
            "principal",
            "client_cert",
            "session",
            "authenticated",
        ];
        match column {
            "identity" | "authenticated" | "auth_scheme" | "actor" | "tenant" => {
                CREDENTIALS.iter().any(|field| self.has(field))
            }
            "rpc_method" | "tool" => self.has("request_body") || self.has("mcp_method"),
            "response_bytes_quantile" => self.has("response_bytes"),
            "answer" => ANSWERED.iter().any(|field| self.has(field)),
            // Both may stand in the path, and a time and a method every event has.
            "query" | "path" | "method" => true,
            column => !mapped::FIELDS.contains(&column) || self.has(column),
        }
    }
}

fn compile(name: &str, config: &MappingConfig) -> Result<Mapping, Vec<String>> {
    let mut faults = Vec::new();
    faults.extend(name_fault(name));
    let (pattern, groups) = match config.pattern.as_deref().map(grouped) {
        None => (None, Vec::new()),
        Some(Ok((pattern, groups))) => (Some(pattern), groups),
        Some(Err(fault)) => {
            faults.push(fault);
            return Err(faults);
        }
    };
    let mut scalars = Scalars::new(&groups);
    if let Some(condition) = &config.condition
        && let Err(fault) = scalars.add(condition)
    {
        faults.push(format!("where: {fault}"));
    }
    let mut fields = Vec::new();
    for (field, sql) in &config.fields {
        match mapped::FIELDS.iter().position(|known| known == field) {
            None => faults.push(unknown(field)),
            Some(at) => match scalars.add(sql) {
                Ok(()) => fields.push((field.as_str(), at)),
                Err(fault) => faults.push(format!("field {field}: {fault}")),
            },
        }
    }
    let is_given = |field: &str| config.fields.contains_key(field);
    for (field, other) in [
        ("event_time", None),
        ("method", Some("request_line")),
        ("path", Some("request_line")),
    ] {
        if !is_given(field) && !other.is_some_and(is_given) {
            let or = other.map_or(String::new(), |other| format!(" (or {other})"));
            faults.push(format!(
                "field {field}{or} is missing: without it no line is a call"
            ));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let compiled = scalars.compile().map_err(|fault| vec![fault])?;
    let has_condition = config.condition.is_some();
    let (condition, exprs) = compiled.exprs.split_at(usize::from(has_condition));
    for expr in condition {
        match type_of(expr, &compiled.schema) {
            Ok(DataType::Boolean) => (),
            Ok(other) => faults.push(format!("where: is a {other}, and wants true or false")),
            Err(fault) => faults.push(format!("where: {fault}")),
        }
    }
    let mut readings = Vec::new();
    for ((field, at), expr) in fields.into_iter().zip(exprs) {
        let reading = type_of(expr, &compiled.schema).and_then(|given| Reading::of(field, &given));
        match reading {
            Ok(reading) => readings.push((at, reading)),
            Err(fault) => faults.push(format!("field {field}: {fault}")),
        }
    }
    match faults.is_empty() {
        true => Ok(Mapping {
            name: name.to_owned(),
            pattern,
            compiled,
            has_condition,
            fields: readings,
        }),
        false => Err(faults),
    }
}

fn type_of(expr: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Result<DataType, String> {
    let of = expr
        .data_type(schema)
        .map_err(|error| error.strip_backtrace())?;
    Ok(match of {
        DataType::Dictionary(_, of) => *of,
        of => of,
    })
}

/// What is wrong with a mapping's name.
pub(crate) fn name_fault(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || NAME_BYTES_MAX < name.len() || !name.chars().all(is_plain) {
        return Some(format!(
            "a name has 1 to {NAME_BYTES_MAX} of the characters a-z, 0-9, - and _"
        ));
    }
    let is_taken = name.parse::<Format>().is_ok();
    is_taken.then(|| "a format has this name already: give it another".to_owned())
}

/// A name as a message shows it: it may be anything.
fn shown(name: &str) -> String {
    let kept = name.chars().take(NAME_BYTES_MAX);
    kept.map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A pattern and the names of its groups.
fn grouped(text: &str) -> Result<(Pattern, Vec<String>), String> {
    let regex = pattern(text).map_err(|fault| format!("pattern: {fault}"))?;
    let (mut groups, mut names) = (Vec::new(), Vec::new());
    for (at, name) in regex.capture_names().enumerate() {
        let Some(name) = name else { continue };
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name == RAW || !name.chars().all(is_plain) {
            return Err(format!(
                "pattern: the group `{name}` can't be a column: name it by a-z, 0-9 and _, and not `{RAW}`"
            ));
        }
        groups.push(at);
        names.push(name.to_owned());
    }
    match names.len() {
        0 => Err("pattern: it has no named group: write (?P<method>[A-Z]+) and its like, whose texts are columns".to_owned()),
        n if GROUPS_MAX < n => Err(format!("pattern: it has {n} named groups, at most {GROUPS_MAX} are possible")),
        _ => Ok((Pattern { regex, groups }, names)),
    }
}

fn unknown(field: &str) -> String {
    let nearest = mapped::FIELDS
        .iter()
        .min_by_key(|known| distance(field, known));
    match nearest.filter(|known| distance(field, known) <= 1 + field.len() / 3) {
        Some(known) => format!("there is no field {}, did you mean {known}?", shown(field)),
        None => format!(
            "there is no field {}, there are: {}",
            shown(field),
            mapped::FIELDS.join(", ")
        ),
    }
}

/// Letters to insert, delete or change to make one name of the other (Levenshtein); only the front of a long name counts.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(NAME_BYTES_MAX).collect();
    let right: Vec<char> = right.chars().take(NAME_BYTES_MAX).collect();
    let mut before: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.iter().enumerate() {
        let mut now = vec![row + 1];
        for (at, to) in right.iter().enumerate() {
            let change = before[at] + usize::from(from != to);
            now.push(change.min(before[at + 1] + 1).min(now[at] + 1));
        }
        before = now;
    }
    before[right.len()]
}
