//! A selection of a rule: fields, modifiers and values as one predicate.

use regex::RegexBuilder;
use serde_json::Value;

use super::field::{Column, Field, field};
use super::network::network;
use super::pattern::{Encoding, Pattern, quoted};
use super::predicate::{Piece, Predicate};

/// Bytes a compiled regular expression may take; DataFusion compiles it again for every batch.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Reads a selection: a map whose entries all hold, a list of which one does, or keywords.
///
/// # Errors
/// The first field, modifier or value that has no form in SQL.
pub(super) fn selection(value: &Value) -> Result<Predicate, String> {
    match value {
        Value::Object(entries) if !entries.is_empty() => entries
            .iter()
            .map(|(key, value)| item(key, value))
            .collect::<Result<_, _>>()
            .map(Predicate::All),
        Value::Array(parts) if !parts.is_empty() => parts
            .iter()
            .map(|part| match part {
                Value::Object(_) => selection(part),
                keyword => item("", keyword),
            })
            .collect::<Result<_, _>>()
            .map(Predicate::Any),
        Value::Object(_) | Value::Array(_) | Value::Null => Err("a selection is empty".to_owned()),
        keyword => item("", keyword),
    }
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Text,
    Regex,
    Network,
    Exists,
    Field,
    Order(&'static str),
}

/// The modifiers of one field.
#[derive(Debug)]
struct Modifiers {
    compare: Compare,
    /// Whether anything may stand before and behind the text.
    open: [bool; 2],
    all: bool,
    cased: bool,
    negated: bool,
    dashes: bool,
    encodings: Vec<Encoding>,
    /// Flags of a regular expression.
    flags: String,
}

impl Modifiers {
    fn read<'a>(words: impl Iterator<Item = &'a str>) -> Result<Modifiers, String> {
        let mut read = Modifiers {
            compare: Compare::Text,
            open: [false; 2],
            all: false,
            cased: false,
            negated: false,
            dashes: false,
            encodings: Vec::new(),
            flags: String::new(),
        };
        for word in words {
            match word {
                "contains" => read.open = [true; 2],
                "startswith" => read.open = [false, true],
                "endswith" => read.open = [true, false],
                "all" => read.all = true,
                "cased" => read.cased = true,
                "neq" => read.negated = true,
                "windash" => read.dashes = true,
                "wide" | "utf16le" => read.encodings.push(Encoding::Utf16Le),
                "utf16be" => read.encodings.push(Encoding::Utf16Be),
                "utf16" => read.encodings.push(Encoding::Utf16),
                "base64" => read.encodings.push(Encoding::Base64),
                "base64offset" => read.encodings.push(Encoding::Base64Offset),
                "re" => read.compare = Compare::Regex,
                "i" | "m" | "s" if read.compare == Compare::Regex => read.flags.push_str(word),
                "cidr" => read.compare = Compare::Network,
                "exists" => read.compare = Compare::Exists,
                "fieldref" => read.compare = Compare::Field,
                "lt" => read.compare = Compare::Order("<"),
                "lte" => read.compare = Compare::Order("<="),
                "gt" => read.compare = Compare::Order(">"),
                "gte" => read.compare = Compare::Order(">="),
                "expand" => {
                    return Err(
                        "modifier `expand`: placeholders have no values here, write them out"
                            .to_owned(),
                    );
                }
                other => return Err(format!("modifier `{other}` is not supported")),
            }
        }
        Ok(read)
    }
}

/// One entry of a selection; a keyword has no field.
fn item(key: &str, value: &Value) -> Result<Predicate, String> {
    let mut words = key.split('|');
    let name = words.next().unwrap_or_default();
    let mut modifiers = Modifiers::read(words)?;
    let known = match name {
        "" => {
            modifiers.open = [true; 2];
            Field::Seen(Column::Line)
        }
        name => field(name).ok_or_else(|| {
            format!("field `{name}` is not one of Sigma's for web servers and proxies")
        })?,
    };
    let values = match value {
        Value::Array(values) if values.is_empty() => return Err(format!("`{key}` has no values")),
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    let column = match known {
        Field::Seen(column) => column,
        Field::Unseen(why)
            if modifiers.compare == Compare::Exists || values.contains(&Value::Null) =>
        {
            return Err(format!("it asks whether a call has a `{name}`: {why}"));
        }
        Field::Unseen(why) => {
            return Ok(Predicate::Unseen(format!("`{name}` is not seen: {why}")));
        }
    };
    let tests = values.iter().map(|value| test(column, &modifiers, value));
    let tests = tests
        .collect::<Result<Vec<_>, _>>()
        .map_err(|reason| match name {
            "" => format!("a keyword: {reason}"),
            _ => format!("`{key}`: {reason}"),
        })?;
    let joined = match modifiers.all {
        true => Predicate::All(tests),
        false => Predicate::Any(tests),
    };
    Ok(match modifiers.negated {
        true => Predicate::Not(Box::new(joined)),
        false => joined,
    })
}

fn test(column: Column, modifiers: &Modifiers, value: &Value) -> Result<Predicate, String> {
    let text = match value {
        Value::Null => return absent(column),
        Value::Bool(flag) if modifiers.compare == Compare::Exists => {
            let absent = absent(column)?;
            return Ok(match flag {
                true => Predicate::Not(Box::new(absent)),
                false => absent,
            });
        }
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            return Err("a value is neither text nor number".to_owned());
        }
    };
    match modifiers.compare {
        Compare::Exists => Err("`exists` takes true or false".to_owned()),
        Compare::Regex => regex(column, &modifiers.flags, &text),
        Compare::Network => Ok(Predicate::test(
            column,
            format!("~ {}", quoted(&network(&text)?)?),
        )),
        Compare::Field => same_as(column, modifiers, &text),
        Compare::Order(operator) => match (column, text.parse::<i64>()) {
            (Column::Number(_), Ok(number)) => {
                Ok(Predicate::test(column, format!("{operator} {number}")))
            }
            (Column::Number(_), Err(_)) => Err(format!("`{text}` is no whole number")),
            _ => Err("it is text, which has no order".to_owned()),
        },
        Compare::Text => match (column, text.parse::<i64>()) {
            (Column::Number(_), Ok(number)) if modifiers.open == [false; 2] => {
                Ok(Predicate::test(column, format!("= {number}")))
            }
            _ => texts(column, modifiers, &text),
        },
    }
}

/// A text with wildcards, in each of its encodings.
fn texts(column: Column, modifiers: &Modifiers, text: &str) -> Result<Predicate, String> {
    let patterns = Pattern::encoded(text, &modifiers.encodings)?;
    let is_whole = modifiers.open == [false; 2] && patterns.iter().all(Pattern::is_plain);
    if column == Column::Extension && !is_whole {
        return Err("parts of an extension can't be compared, only whole ones".to_owned());
    }
    let tests = patterns.into_iter().map(|mut pattern| {
        if modifiers.dashes {
            pattern = pattern.with_any_dash();
        }
        let [before, behind] = modifiers.open;
        pattern.open(before, behind);
        if column == Column::Extension {
            pattern.behind(".");
            pattern.open(true, false);
            return pattern.test(Column::Text("path"), modifiers.cased);
        }
        let column = meant(column, &pattern);
        match pattern.is_empty() {
            true => Ok(Predicate::Any(vec![
                absent(column)?,
                Predicate::test(column, "= ''"),
            ])),
            false => pattern.test(column, modifiers.cased),
        }
    });
    tests.collect::<Result<_, _>>().map(Predicate::Any)
}

/// The column a value is meant for: a request target begins with `/`, a URL does not.
fn meant(column: Column, pattern: &Pattern) -> Column {
    match (column, pattern.first()) {
        (Column::Target, Some(first)) if first != '/' => Column::Text("query"),
        (Column::Target, None) if pattern.is_empty() => Column::Text("query"),
        (Column::Url, Some('/')) => Column::Target,
        (Column::Number(column), _) => Column::Digits(column),
        _ => column,
    }
}

fn absent(column: Column) -> Result<Predicate, String> {
    match column {
        Column::Target => Ok(Predicate::absent(Column::Text("query"))),
        Column::Text(_) | Column::Number(_) | Column::Digits(_) => Ok(Predicate::absent(column)),
        Column::Url | Column::Extension | Column::Line => {
            Err("it asks whether there is one, which is not kept".to_owned())
        }
    }
}

fn regex(column: Column, flags: &str, text: &str) -> Result<Predicate, String> {
    let text = match flags {
        "" => text.to_owned(),
        flags => format!("(?{flags}){text}"),
    };
    let compiled = RegexBuilder::new(&text).size_limit(REGEX_BYTES_MAX).build();
    if let Err(error) = compiled {
        let told = error.to_string();
        let last = told.lines().last().unwrap_or_default();
        return Err(format!(
            "not a regular expression of Rust's: {}",
            last.trim_start_matches("error: ")
        ));
    }
    let column = match column {
        Column::Number(column) => Column::Digits(column),
        column => column,
    };
    Ok(Predicate::test(column, format!("~ {}", quoted(&text)?)))
}

/// Compares with another field of the same call.
fn same_as(column: Column, modifiers: &Modifiers, name: &str) -> Result<Predicate, String> {
    let Some(Field::Seen(other)) = field(name) else {
        return Err(format!("field `{name}` is not in the events"));
    };
    let sql = |text: &str| Piece::Sql(text.to_owned());
    let (before, between, behind) = match modifiers.open {
        [false, false] => ("", " = ", ""),
        [false, true] => ("starts_with(", ", ", ")"),
        [true, false] => ("ends_with(", ", ", ")"),
        [true, true] => ("contains(", ", ", ")"),
    };
    let of = |column: Column| match (column, modifiers.cased) {
        (Column::Number(column), _) => Piece::Column(Column::Digits(column)),
        (column, true) => Piece::Column(column),
        (column, false) => Piece::Folded(column),
    };
    Ok(Predicate::Leaf {
        text: vec![
            sql(before),
            of(column),
            sql(between),
            of(other),
            sql(behind),
        ],
        needs: true,
    })
}
