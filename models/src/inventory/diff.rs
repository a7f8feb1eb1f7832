//! What changed between two inventories.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::entry::Entry;

/// One endpoint that is not in both as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `added`, `removed` or `changed`.
    pub kind: &'static str,
    /// `METHOD host /template`.
    pub key: String,
    /// What changed, in words; empty unless `changed`.
    pub details: Vec<String>,
}

/// Changes from `before` to `after`, by key. Counts and times are no changes; what is there for the first time is.
pub fn changes(before: &[Entry], after: &[Entry]) -> Vec<Change> {
    let by_key = |entries| -> BTreeMap<&str, &Entry> {
        <[Entry]>::iter(entries)
            .filter(|entry| entry.kind == "endpoint")
            .map(|entry| (entry.key.as_str(), entry))
            .collect()
    };
    let (before, after) = (by_key(before), by_key(after));
    let keys: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let change = |key: &str| {
        let (kind, details) = match (before.get(key), after.get(key)) {
            (None, _) => ("added", Vec::new()),
            (_, None) => ("removed", Vec::new()),
            (Some(a), Some(b)) => ("changed", details(a, b)),
        };
        (kind != "changed" || !details.is_empty()).then(|| Change {
            kind,
            key: key.to_owned(),
            details,
        })
    };
    keys.into_iter().filter_map(change).collect()
}

fn details(before: &Entry, after: &Entry) -> Vec<String> {
    let mut details = Vec::new();
    if before.standing != after.standing {
        details.push(format!("was {}, is {}", before.standing, after.standing));
    }
    let names = |entry: &Entry| {
        entry
            .parameters
            .iter()
            .map(|p| p.name.clone())
            .collect::<Vec<_>>()
    };
    let statuses = |entry: &Entry| entry.statuses.keys().cloned().collect::<Vec<_>>();
    for (what, before, after) in [
        ("status", statuses(before), statuses(after)),
        ("parameter", names(before), names(after)),
        (
            "request type",
            before.request_types.clone(),
            after.request_types.clone(),
        ),
        (
            "response type",
            before.response_types.clone(),
            after.response_types.clone(),
        ),
        (
            "credential",
            before.auth_schemes.clone(),
            after.auth_schemes.clone(),
        ),
        (
            "sensitive data",
            before.sensitive.clone(),
            after.sensitive.clone(),
        ),
    ] {
        let new: Vec<&str> = after
            .iter()
            .filter(|text| !before.contains(text))
            .map(String::as_str)
            .collect();
        let gone: Vec<&str> = before
            .iter()
            .filter(|text| !after.contains(text))
            .map(String::as_str)
            .collect();
        for (verb, texts) in [("new", new), ("no more", gone)] {
            if !texts.is_empty() {
                details.push(format!("{verb} {what}: {}", texts.join(", ")));
            }
        }
    }
    for (what, before, after) in [
        (
            "answers callers nobody knows",
            before.anonymous_answered,
            after.anonymous_answered,
        ),
        ("is called in plaintext", before.plaintext, after.plaintext),
    ] {
        match (before, after) {
            (0, 1..) => details.push(format!("now {what}")),
            (1.., 0) => details.push(format!("no more {what}")),
            _ => (),
        }
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_what_is_there_and_what_it_does() {
        let entry = |key: &str, change: fn(&mut Entry)| {
            let mut entry = Entry {
                kind: "endpoint".to_owned(),
                key: key.to_owned(),
                standing: "answered".to_owned(),
                ..Entry::default()
            };
            change(&mut entry);
            entry
        };
        let before = [
            entry("GET h /same", |e| e.calls = 5),
            entry("GET h /gone", |_| ()),
            entry("GET h /weaker", |e| {
                e.response_types = vec!["application/json".to_owned()]
            }),
        ];
        let after = [
            entry("GET h /same", |e| e.calls = 900),
            entry("GET h /new", |_| ()),
            entry("GET h /weaker", |e| {
                (e.anonymous_answered, e.plaintext) = (3, 1)
            }),
            entry("* h /**", |e| e.kind = "unknown_paths".to_owned()),
        ];
        let got: Vec<String> = changes(&before, &after)
            .iter()
            .map(|change| {
                format!(
                    "{} {} {}",
                    change.kind,
                    change.key,
                    change.details.join("; ")
                )
            })
            .collect();
        assert_eq!(
            got,
            [
                "removed GET h /gone ",
                "added GET h /new ",
                "changed GET h /weaker no more response type: application/json; now answers callers nobody knows; now is called in plaintext",
            ]
        );
        assert_eq!(changes(&before, &before), []);
    }
}
