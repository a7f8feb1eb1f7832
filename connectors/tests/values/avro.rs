//! Alerts as Avro, and the registry of their schema.

use connectors::render::{Alert, avro};
use connectors::sink::Secret;
use connectors::value::{RegistryConfig, Subject, Unregistered};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::alerts::{check, reader};
use crate::registry::Registry;

const ALERTS: &str = include_str!("../../src/render/alerts.ndjson");

#[test]
fn an_alert_is_read_back_as_it_was_written() {
    let values = reader();
    for line in ALERTS.lines() {
        let alert = Alert::parse(line.as_bytes()).expect("an alert");
        check(&values, &alert);
    }
    check(
        &values,
        &Alert {
            uid: "x".to_owned(),
            case_uid: "x".to_owned(),
            activity: "create",
            rule: "x".to_owned(),
            n_findings: u64::MAX >> 1,
            ..Alert::default()
        },
    );
}

/// Puts `texts` in the places of an alert that hold a text, in turn.
fn fill(value: &mut Value, texts: &mut impl Iterator<Item = String>) {
    match value {
        Value::String(text) => *text = texts.next().unwrap_or_default(),
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, texts)),
        Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, texts)),
        _ => (),
    }
}

#[test]
fn no_text_is_more_than_one_value() {
    let values = reader();
    let piece = prop_oneof![
        Just("\u{0}\u{2}\u{80}".to_owned()),
        Just("\n\"}{,".to_owned()),
        Just("\u{2028}\u{202e}日本".to_owned()),
        Just("Obj\u{1}".to_owned()),
        any::<String>(),
        "[a-z]{5000}",
    ];
    let text = proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    let inputs = (
        proptest::collection::vec(text, 1..24),
        0..ALERTS.lines().count(),
    );
    let mut runner = proptest::test_runner::TestRunner::default();
    let run = runner.run(&inputs, |(texts, which)| {
        let line = ALERTS.lines().nth(which).expect("an alert");
        let mut value: Value = serde_json::from_str(line).expect("JSON");
        fill(&mut value, &mut texts.into_iter().cycle());
        if let Ok(alert) = Alert::parse(value.to_string().as_bytes()) {
            check(&values, &alert);
        }
        Ok(())
    });
    run.expect("holds of every text");
}

fn subject(registry: &Registry, name: &str) -> Subject {
    let config = RegistryConfig {
        url: registry.url.clone(),
        login: Some(("ann".to_owned(), Secret::new("hunter2"))),
        ca: None,
    };
    Subject::new(&config, name).expect("a sound address")
}

#[test]
fn a_schema_is_looked_up_and_registered_only_where_it_is_missing() {
    let registry = Registry::start();
    let named = subject(&registry, "alerts/avro-value");
    let (lookup, versions) = (
        "/subjects/alerts%2Favro-value",
        "/subjects/alerts%2Favro-value/versions",
    );
    let missing = named.id(avro::SCHEMA, false);
    assert!(
        matches!(&missing, Err(Unregistered::Missing { subject, .. }) if subject == "alerts/avro-value"),
        "{missing:?}"
    );
    registry.says(versions, 200, &json!({ "id": 12 }));
    assert_eq!(named.id(avro::SCHEMA, true), Ok(12));
    let known = json!({ "subject": "alerts/avro-value", "id": 12, "version": 1, "schema": "{}" });
    registry.says(lookup, 200, &known);
    assert_eq!(named.id(avro::SCHEMA, false), Ok(12));
    let login = " Basic YW5uOmh1bnRlcjI=";
    let asked = [lookup, lookup, versions, lookup].map(|path| format!("{path}{login}"));
    assert_eq!(registry.asked(), asked);
    let bodies = registry.bodies();
    for body in &bodies {
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body, json!({ "schema": avro::SCHEMA }));
    }
    assert_eq!(bodies.len(), 4);
}

#[test]
fn a_registry_that_does_not_take_the_schema_is_told_from_one_that_is_away() {
    let registry = Registry::start();
    let named = subject(&registry, "t");
    let (lookup, versions) = ("/subjects/t", "/subjects/t/versions");
    let incompatible = json!({ "error_code": 409, "message": "reader\nfield \u{1b}[31m id" });
    registry.says(versions, 409, &incompatible);
    let error = named.id(avro::SCHEMA, true).expect_err("no id");
    assert!(matches!(error, Unregistered::Incompatible { .. }));
    let said = error.to_string();
    assert!(
        said.contains("does not fit") && said.contains("reader field"),
        "{said}"
    );
    assert!(
        !said.contains(['\n', '\u{1b}']) && !said.contains("hunter2"),
        "{said}"
    );
    for (status, code, word) in [
        (401, 40101, "password"),
        (403, 40301, "may do"),
        (422, 42205, "HTTP 422"),
        (404, 404, "look at the url"),
    ] {
        registry.says(lookup, status, &json!({ "error_code": code }));
        let error = named.id(avro::SCHEMA, true).expect_err("no id");
        assert!(matches!(error, Unregistered::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
    }
    for status in [500, 503, 429, 408] {
        registry.says(lookup, status, &json!({}));
        let error = named.id(avro::SCHEMA, true).expect_err("no id");
        assert!(matches!(error, Unregistered::Away(_)), "{error:?}");
    }
    registry.says(lookup, 200, &json!({ "id": -1 }));
    let error = named.id(avro::SCHEMA, true).expect_err("no id");
    assert!(matches!(error, Unregistered::Away(_)), "{error:?}");
}
