//! The rule file: header and SELECT.
//!
//! **Invariant:** no text of a Sigma rule ends the comment it stands in, opens another or hides what it says: texts of the header are
//! quoted in one line, a star and a slash are parted, and what can't be shown is a space. Those of the SELECT went through
//! [`super::pattern::quoted`].

use std::collections::BTreeSet;
use std::fmt::Write;

use models::identity::is_unprintable;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::parse::Meta;
use super::predicate::Predicate;
use crate::rule::Status;
use crate::rule::header::is_uuid;

/// What is said of the licence of a rule that names none.
const LICENSE: &str = "none named; SigmaHQ's rules (https://github.com/SigmaHQ/sigma) are under the Detection Rule License 1.1, https://github.com/SigmaHQ/Detection-Rule-License";
/// Columns of a finding of a rule without a window.
const OUTPUT: &str = "identity, endpoint, method, host, path, query, status, client_ip, user_agent";

/// What a rule needs beside its metadata.
#[derive(Debug)]
pub(super) struct Query {
    /// The SELECT.
    pub(super) sql: String,
    /// Columns without which it is blind.
    pub(super) requires: BTreeSet<&'static str>,
    /// Header lines about windows and cases.
    pub(super) header: String,
    /// Whether findings tell an identity.
    pub(super) has_identity: bool,
}

/// A known and accepted case, from a filter.
#[derive(Debug)]
pub(super) struct Exception {
    pub(super) when: String,
    pub(super) reason: String,
    pub(super) owner: String,
}

/// The rule over single events on which a predicate holds.
pub(super) fn each(predicate: &Predicate) -> Query {
    Query {
        sql: format!(
            "SELECT {OUTPUT}\nFROM {}\nWHERE {}\n",
            from("events", predicate),
            predicate.sql(true, Some(1))
        ),
        requires: predicate.required(),
        header: String::new(),
        has_identity: true,
    }
}

/// What stands behind FROM: the table, with the texts made of its columns that a predicate reads.
pub(super) fn from(table: &str, predicate: &Predicate) -> String {
    let mut columns = Vec::new();
    predicate.made(&mut columns);
    let made = columns.iter().map(|column| {
        let (value, name) = (column.value(), column.name());
        format!(", lower({value}) AS {name}")
    });
    let made: String = made.collect();
    match made.is_empty() {
        true => table.to_owned(),
        false => format!("(SELECT *{made} FROM {table})"),
    }
}

/// The text of the file called `name`.
///
/// # Errors
/// Its author says that it can't be used.
pub(super) fn file(
    name: &str,
    meta: &Meta,
    query: &Query,
    exceptions: &[Exception],
    status: Option<Status>,
) -> Result<String, String> {
    let status = match (meta.status.as_str(), status) {
        ("unsupported", _) => {
            return Err("its author says that it can't be used: status `unsupported`".to_owned());
        }
        (_, Some(status)) => status.as_str(),
        (known @ ("stable" | "test" | "deprecated"), None) => known,
        _ => "experimental",
    };
    let severity = match meta.level.as_str() {
        known @ ("informational" | "low" | "high" | "critical") => known,
        _ => "medium",
    };
    let license = match meta.license.as_str() {
        "" => LICENSE,
        license => license,
    };
    // The licence asks for the author's name wherever a match is told. Braces in a title stand for columns.
    let by = match meta.author.as_str() {
        "" => "a Sigma rule".to_owned(),
        author => format!("Sigma rule by {author}"),
    };
    let title = format!("{} ({by})", meta.title)
        .replace('{', "(")
        .replace('}', ")");
    let title = match query.has_identity {
        true => format!("{{identity}}: {title}"),
        false => title,
    };
    let mut text = "/*---\n".to_owned();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key}: {value}");
    };
    line("# Converted from", yaml(&by));
    line("# Licence", yaml(license));
    line("schema", "rule/v1".to_owned());
    line("id", uuid(&meta.id, name));
    line("name", name.to_owned());
    line("version", "1".to_owned());
    line("title", yaml(&meta.title));
    line("status", status.to_owned());
    line("severity", severity.to_owned());
    line("description", yaml(&meta.description));
    line("author", yaml(&meta.author));
    for (key, day) in [("date", &meta.date), ("modified", &meta.modified)] {
        if !day.is_empty() {
            line(key, yaml(day));
        }
    }
    for (key, texts) in [
        ("tags", &meta.tags),
        ("references", &meta.references),
        ("falsepositives", &meta.falsepositives),
    ] {
        if !texts.is_empty() {
            let texts: Vec<String> = texts.iter().map(|text| yaml(text)).collect();
            line(key, format!("[{}]", texts.join(", ")));
        }
    }
    if !query.requires.is_empty() {
        let columns: Vec<&str> = query.requires.iter().copied().collect();
        line("requires", format!("[{}]", columns.join(", ")));
    }
    if !exceptions.is_empty() {
        let exceptions: Vec<String> = exceptions.iter().map(exception).collect();
        line("exceptions", format!("[{}]", exceptions.join(",")));
    }
    line("alert", format!("{{title: {}}}", yaml(&title)));
    if let Some(tests) = &meta.tests {
        line("tests", flow(tests));
    }
    let _ = write!(text, "{}---*/\n{}", query.header, query.sql);
    Ok(text)
}

/// Sigma's filters have no end.
fn exception(exception: &Exception) -> String {
    format!(
        "\n  {{when: {}, reason: {}, owner: {}, expires: \"9999-12-31\"}}",
        yaml(&exception.when),
        yaml(&exception.reason),
        yaml(&exception.owner)
    )
}

/// A text as a double-quoted scalar of YAML in one line that ends no comment.
fn yaml(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    let mut before = None;
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '/' if before == Some('*') => quoted.push_str("\\/"),
            '*' if before == Some('/') => quoted.push_str("\\x2a"),
            c if is_unprintable(c) => quoted.push(' '),
            c => quoted.push(c),
        }
        before = Some(c);
    }
    quoted.push('"');
    quoted
}

/// A value in YAML's flow form.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => yaml(text),
        Value::Array(parts) => {
            let parts: Vec<String> = parts.iter().map(flow).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::Object(entries) => {
            let entries = entries.iter();
            let entries: Vec<String> = entries
                .map(|(key, value)| format!("{}: {}", yaml(key), flow(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        plain => plain.to_string(),
    }
}

/// The rule's own id, or one made of its name.
fn uuid(id: &str, name: &str) -> String {
    if is_uuid(id) {
        return id.to_owned();
    }
    // Version 8, variant 1: made by a rule of one's own.
    let bits = xxh3_128(name.as_bytes()) & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    let digits = format!("{bits:032x}");
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}
