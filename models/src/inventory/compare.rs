//! The inventory held against OpenAPI documents.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::document::{Documents, Operation};
use super::entry::Entry;

/// How much a deviation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To know.
    Info,
    /// The document is to be mended.
    Low,
    /// Somebody is to look.
    Medium,
    /// Somebody is to look today.
    High,
}

impl Severity {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// In what an endpoint is not as its document says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deviation {
    /// `shadow`, `undocumented_host`, `zombie`, or a drift: `drift_method`, `drift_status`, `drift_parameter`,
    /// `drift_content_type`, `drift_authentication`.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen, in words.
    pub detail: String,
}

/// A documented operation that nobody called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// Name of the document.
    pub document: String,
    /// `METHOD host /path`.
    pub operation: String,
    /// Always [`Severity::Info`] but for what is deprecated and can go.
    pub severity: Severity,
    /// What to do, in words.
    pub detail: String,
}

/// Holds entries against documents: notes in each whether it is documented, its owner and its deviations; what is documented and
/// was not called comes back.
///
/// Only what was answered with success can be a shadow: a refusal does not show that there is something.
pub fn compare(entries: &mut [Entry], documents: &Documents) -> Vec<Orphan> {
    // Of a source that logs no credential, nothing can be said of authentication.
    let shows_credentials = entries.iter().any(|entry| 0 < entry.authenticated);
    let mut called = vec![false; documents.operations().len()];
    for entry in entries.iter_mut().filter(|entry| entry.kind == "endpoint") {
        let of_path = documents.of_template(&entry.host, &entry.template);
        let operations: Vec<&Operation> = of_path
            .iter()
            .map(|at| &documents.operations()[*at])
            .collect();
        let own = of_path
            .iter()
            .zip(&operations)
            .filter(|(_, operation)| operation.method == entry.method);
        let own: Vec<(usize, &Operation)> = own.map(|(at, operation)| (*at, *operation)).collect();
        entry.deviations.clear();
        entry.owner = own
            .iter()
            .map(|(_, operation)| *operation)
            .chain(operations.iter().copied())
            .find_map(|operation| operation.owner.clone());
        entry.documented = Some(!own.is_empty());
        let mut found = Vec::new();
        if own.is_empty() {
            found.extend(undocumented(entry, &operations, documents));
        } else {
            let own: Vec<&Operation> = own
                .into_iter()
                .map(|(at, operation)| {
                    called[at] |= entry.standing != "missing";
                    operation
                })
                .collect();
            drift(entry, &own, shows_credentials, &mut found);
        }
        entry.deviations = found;
    }
    let orphans = documents.operations().iter().zip(called);
    orphans
        .filter(|(_, called)| !called)
        .map(|(operation, _)| orphan(operation))
        .collect()
}

fn orphan(operation: &Operation) -> Orphan {
    let (severity, detail) = match operation.is_deprecated {
        true => (
            Severity::Low,
            "deprecated and not called: it can be removed",
        ),
        false => (Severity::Info, "documented and not called in what was read"),
    };
    Orphan {
        document: operation.document.clone(),
        operation: format!("{} {} {}", operation.method, operation.host, operation.path),
        severity,
        detail: detail.to_owned(),
    }
}

fn undocumented(
    entry: &mut Entry,
    of_path: &[&Operation],
    documents: &Documents,
) -> Option<Deviation> {
    let is_grave = entry.is_write() || !entry.sensitive.is_empty() || 0 < entry.anonymous_answered;
    let severity = if is_grave {
        Severity::High
    } else {
        Severity::Medium
    };
    let deviation = |kind: &str, severity, detail: String| Deviation {
        kind: kind.to_owned(),
        severity,
        detail,
    };
    if !entry.is_answered() {
        return None;
    }
    if !documents.has_host(&entry.host) {
        let detail = format!("no document speaks of host {}", entry.host);
        return Some(deviation("undocumented_host", severity, detail));
    }
    if of_path.is_empty() {
        let detail = format!("{} calls, and no document has the path", entry.calls);
        return Some(deviation("shadow", severity, detail));
    }
    let has = |method: &str| of_path.iter().any(|operation| operation.method == method);
    // HEAD is GET without a body, and browsers send OPTIONS by themselves.
    if entry.method == "OPTIONS" || (entry.method == "HEAD" && has("GET")) {
        entry.documented = Some(true);
        return None;
    }
    let methods: BTreeSet<&str> = of_path
        .iter()
        .map(|operation| operation.method.as_str())
        .collect();
    let methods: Vec<&str> = methods.into_iter().collect();
    let severity = if entry.is_write() {
        Severity::High
    } else {
        Severity::Medium
    };
    let detail = format!("the document has {} of this path", methods.join(", "));
    Some(deviation("drift_method", severity, detail))
}

fn drift(
    entry: &Entry,
    operations: &[&Operation],
    shows_credentials: bool,
    found: &mut Vec<Deviation>,
) {
    let mut note = |kind: &str, severity, detail: String| {
        found.push(Deviation {
            kind: kind.to_owned(),
            severity,
            detail,
        });
    };
    if entry.is_answered() && operations.iter().all(|operation| operation.is_deprecated) {
        let detail = format!("deprecated, and called {} times", entry.calls);
        note("zombie", Severity::Medium, detail);
    }
    let any = |has: fn(&Operation, &str) -> bool, text: &str| {
        operations.iter().any(|operation| has(operation, text))
    };
    let missing = |has: fn(&Operation, &str) -> bool, texts: &mut dyn Iterator<Item = &String>| {
        let texts: Vec<&str> = texts
            .filter(|text| !any(has, text))
            .map(String::as_str)
            .collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    };
    // Gateways answer with these by themselves, whatever is behind them.
    let of_gateways = [
        "none", "304", "400", "401", "403", "404", "405", "408", "413", "414", "429", "499",
    ];
    let mut statuses = entry
        .statuses
        .keys()
        .filter(|status| !of_gateways.contains(&status.as_str()) && !status.starts_with('5'));
    if let Some(statuses) = missing(has_status, &mut statuses) {
        note(
            "drift_status",
            Severity::Low,
            format!("answers {statuses}, which the document has not"),
        );
    }
    let mut names = entry
        .parameters
        .iter()
        .map(|parameter| &parameter.name)
        .filter(|name| *name != "*");
    if let Some(names) = missing(
        |operation, name| operation.parameters.contains(name),
        &mut names,
    ) {
        note(
            "drift_parameter",
            Severity::Low,
            format!("takes {names}, which the document has not"),
        );
    }
    for (what, types, has) in [
        (
            "requests",
            &entry.request_types,
            has_request_type as fn(&Operation, &str) -> bool,
        ),
        ("answers", &entry.response_types, has_response_type),
    ] {
        if let Some(types) = missing(has, &mut types.iter().filter(|name| *name != "*")) {
            note(
                "drift_content_type",
                Severity::Low,
                format!("{what} of {types}, which the document has not"),
            );
        }
    }
    if shows_credentials
        && 0 < entry.anonymous_answered
        && operations.iter().all(|operation| operation.is_protected)
    {
        let detail = format!(
            "{} calls without a known caller were answered; the document asks for a credential",
            entry.anonymous_answered
        );
        note("drift_authentication", Severity::High, detail);
    }
}

fn has_status(operation: &Operation, status: &str) -> bool {
    let class = format!("{}XX", status.get(..1).unwrap_or_default());
    let has = |text: &str| operation.statuses.contains(text);
    operation.statuses.is_empty() || has(status) || has(&class) || has("default")
}

fn has_request_type(operation: &Operation, name: &str) -> bool {
    // A request without a described body may carry what it likes: many clients send a type with every call.
    operation.request_types.is_empty() || fits(&operation.request_types, name)
}

fn has_response_type(operation: &Operation, name: &str) -> bool {
    // Failures come as the gateway likes; documents seldom describe them.
    operation.response_types.is_empty()
        || fits(&operation.response_types, name)
        || name == "text/html"
}

fn fits(types: &BTreeSet<String>, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let range = format!("{}/*", name.split('/').next().unwrap_or_default());
    types.contains(&name) || types.contains(&range) || types.contains("*/*")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(key: &str, change: impl FnOnce(&mut Entry)) -> Entry {
        let mut parts = key.splitn(3, ' ').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let mut entry = Entry {
            kind: "endpoint".to_owned(),
            key: key.to_owned(),
            method: next(),
            host: next(),
            template: next(),
            standing: "answered".to_owned(),
            calls: 10,
            authenticated: 10,
            ..Entry::default()
        };
        entry.statuses.insert("200".to_owned(), 10);
        change(&mut entry);
        entry
    }

    #[test]
    fn what_is_not_as_documented_is_told_with_how_much_it_matters() {
        let mut documents = Documents::default();
        let document = json!({
            "openapi": "3.1.0", "info": {"title": "Shop"}, "servers": [{"url": "https://shop.example"}],
            "security": [{"key": []}],
            "paths": {
                "/orders/{id}": {
                    "get": {"parameters": [{"name": "expand", "in": "query"}],
                        "responses": {"200": {"content": {"application/json": {}}}}},
                    "delete": {"deprecated": true},
                },
                "/old": {"get": {"deprecated": true, "responses": {"200": {}}}},
                "/unused": {"get": {}},
            },
        });
        documents.add("shop.json", &document).expect("a document");
        let get = "GET shop.example /orders/{id}";
        for (entry, want) in [
            (entry(get, |_| ()), vec![]),
            (entry("HEAD shop.example /orders/{id}", |_| ()), vec![]),
            (entry("OPTIONS shop.example /orders/{id}", |_| ()), vec![]),
            (
                entry("GET shop.example /secret", |_| ()),
                vec![("shadow", Severity::Medium)],
            ),
            (
                entry("POST shop.example /secret", |_| ()),
                vec![("shadow", Severity::High)],
            ),
            (
                entry("GET shop.example /guess", |e| {
                    e.standing = "refused".to_owned()
                }),
                vec![],
            ),
            (
                entry("GET other.example /orders/{id}", |_| ()),
                vec![("undocumented_host", Severity::Medium)],
            ),
            (
                entry("PUT shop.example /orders/{id}", |_| ()),
                vec![("drift_method", Severity::High)],
            ),
            (
                entry("GET shop.example /old", |_| ()),
                vec![("zombie", Severity::Medium)],
            ),
            (
                entry(get, |e| {
                    e.statuses.insert("206".to_owned(), 1);
                    e.statuses.insert("404".to_owned(), 1);
                    e.statuses.insert("503".to_owned(), 1);
                }),
                vec![("drift_status", Severity::Low)],
            ),
            (
                entry(get, |e| {
                    for name in ["expand", "debug", "*"] {
                        let name = name.to_owned();
                        e.parameters.push(super::super::Parameter {
                            name,
                            ..Default::default()
                        });
                    }
                }),
                vec![("drift_parameter", Severity::Low)],
            ),
            (
                entry(get, |e| {
                    e.response_types = vec!["application/json".to_owned(), "text/csv".to_owned()]
                }),
                vec![("drift_content_type", Severity::Low)],
            ),
            (
                entry(get, |e| e.anonymous_answered = 2),
                vec![("drift_authentication", Severity::High)],
            ),
        ] {
            let mut entries = [entry];
            let orphans = compare(&mut entries, &documents);
            let [entry] = entries;
            let got: Vec<_> = entry
                .deviations
                .iter()
                .map(|d| (d.kind.as_str(), d.severity))
                .collect();
            assert_eq!(got, want, "{entry:?}");
            assert!(
                orphans
                    .iter()
                    .any(|orphan| orphan.operation == "GET shop.example /unused")
            );
            let severity = |key: &str| {
                orphans
                    .iter()
                    .find(|o| o.operation == key)
                    .map(|o| o.severity)
            };
            assert_eq!(
                severity("DELETE shop.example /orders/{id}"),
                Some(Severity::Low)
            );
            let is_called = entry.key == get;
            assert_eq!(severity(get).is_none(), is_called, "{}", entry.key);
        }
    }

    #[test]
    fn a_log_without_credentials_says_nothing_of_authentication() {
        let mut documents = Documents::default();
        let document =
            json!({"openapi": "3.1.0", "security": [{"key": []}], "paths": {"/a": {"get": {}}}});
        documents.add("a.json", &document).expect("a document");
        let mut entries = [entry("GET h /a", |e| {
            (e.authenticated, e.anonymous_answered) = (0, 10)
        })];
        compare(&mut entries, &documents);
        assert_eq!(entries[0].deviations, []);
    }
}
