//! A raw line as it may be shown: what could be a credential is left out, by its name or its looks.

use models::secret::{is_secret_name, looks_like_secret, redact_path, redact_query, redact_url};
use serde_json::Value;

use crate::alert::clean;

/// Characters shown of a line.
const CHARS_MAX: usize = 400;
/// Stands for what is not shown.
const HIDDEN: &str = "***";

/// The line, without secrets and control characters, cut.
pub(super) fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let shown = match serde_json::from_str::<Value>(text) {
        Ok(mut value @ (Value::Object(_) | Value::Array(_))) => {
            hide(&mut value);
            value.to_string()
        }
        _ => words(text),
    };
    let shown = clean(&shown);
    match shown.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

/// Hides what is secret in JSON, by the names of members and the looks of texts.
fn hide(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match is_credential(name) && !value.is_null() {
                    true => *value = Value::from(HIDDEN),
                    false => hide(value),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(hide),
        Value::String(text) => *text = words(text),
        _ => (),
    }
}

/// Names under which logs keep credentials, beside those of parameters.
fn is_credential(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let marks = [
        "authorization",
        "cookie",
        "session",
        "token",
        "api_key",
        "api-key",
        "apikey",
        "password",
        "secret",
    ];
    is_secret_name(name) || marks.iter().any(|mark| lower.contains(mark))
}

/// A text with the words that are secret hidden; what follows `Bearer` and its kin is.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_credential_next = false;
    for piece in text.split_inclusive([' ', '\t', '"', ',', ';', '|']) {
        let end = piece.len()
            - piece.chars().next_back().map_or(0, |last| {
                if is_separator(last) {
                    last.len_utf8()
                } else {
                    0
                }
            });
        let (word, separator) = piece.split_at(end);
        match word.split_once(['=', ':']) {
            _ if is_credential_next && !word.is_empty() => out.push_str(HIDDEN),
            _ if looks_like_secret(word) => out.push_str(HIDDEN),
            Some((name, value)) if is_credential(name) && !value.is_empty() => {
                out.push_str(&word[..=name.len()]);
                out.push_str(HIDDEN);
            }
            _ => push_address(word, &mut out),
        }
        out.push_str(separator);
        let is_scheme = ["bearer", "basic", "token"]
            .iter()
            .any(|scheme| word.eq_ignore_ascii_case(scheme));
        is_credential_next = is_scheme || (is_credential_next && word.is_empty());
    }
    out
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '"' | ',' | ';' | '|')
}

/// Appends a word with the secrets of the address it may be left out.
fn push_address(word: &str, out: &mut String) {
    if word.contains("://") {
        redact_url(word, out);
        return;
    }
    match word.split_once('?') {
        Some((path, query)) if path.starts_with('/') => {
            redact_path(path, out);
            out.push('?');
            redact_query(query, out);
        }
        None if word.starts_with('/') => {
            redact_path(word, out);
        }
        _ => out.push_str(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_line_are_not_shown() {
        let rows = [
            (
                r#"{"path":"/a?token=hunter2hunter2","n":1}"#,
                r#"{"path":"/a?token=***","n":1}"#,
            ),
            (
                r#"{"headers":{"Authorization":"Bearer hunter2","x-api-key":"hunter2"}}"#,
                r#"{"headers":{"Authorization":"***","x-api-key":"***"}}"#,
            ),
            (
                r#"{"line":"GET /a Bearer hunter2"}"#,
                r#"{"line":"GET /a Bearer ***"}"#,
            ),
            (
                r#"GET /a?password=hunter2 "Basic hunter2" 200"#,
                r#"GET /a?password=*** "Basic ***" 200"#,
            ),
            (
                r#"t=1 session=hunter2 cookie="#,
                r#"t=1 session=*** cookie="#,
            ),
            ("https://u:hunter2@h/a", "https://***@h/a"),
        ];
        for (text, wanted) in rows {
            assert_eq!(line(text.as_bytes()), wanted, "{text}");
        }
        assert!(!line("a\u{1b}[31m".as_bytes()).contains('\u{1b}'));
        assert_eq!(
            line("a ".repeat(1000).as_bytes()).chars().count(),
            CHARS_MAX + 1
        );
    }
}
