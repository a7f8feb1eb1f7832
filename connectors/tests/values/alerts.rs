//! Alerts as Avro, read back by the schema that a registry has of them.

use connectors::render::{Alert, Format, avro, render};
use connectors::time::parse_time;
use connectors::value::{RegistryConfig, SchemaId, Values};
use serde_json::{Value, json};

use super::registry::Registry;

/// The schema's id in the registry of [`reader`].
pub(crate) const ID: u32 = 0x0102_0304;

/// A reader that knows the schema.
pub(crate) fn reader() -> Values {
    let registry = Registry::start();
    let path = format!("/schemas/ids/{ID}");
    registry.says(&path, 200, &json!({ "schema": avro::SCHEMA }));
    let config = RegistryConfig {
        url: registry.url.clone(),
        login: None,
        ca: None,
    };
    let mut values = Values::new(Some(&config)).expect("a sound address");
    values.fetch(SchemaId::Number(ID)).expect("it answers");
    values
}

/// Holds that an alert's Avro says what `render --as json` says of it.
pub(crate) fn check(values: &Values, alert: &Alert) {
    check_value(values, alert, &avro::value(alert, ID));
}

/// Holds the same of a value.
pub(crate) fn check_value(values: &Values, alert: &Alert, value: &[u8]) {
    assert_eq!(value[..5], [0, 1, 2, 3, 4]);
    let opened = values.open(value, None).expect("a value of the schema");
    let got: Value = serde_json::from_slice(opened.text(value)).expect("JSON");
    let mut want: Value = serde_json::from_str(&render(alert, Format::Json)).expect("JSON");
    for (name, got) in got.as_object().expect("a record") {
        let want = &mut want[name];
        if let ("time" | "first_seen" | "last_seen", Some(text)) = (&**name, want.as_str()) {
            *want = json!(parse_time(text).expect("a time"));
        }
        if got.as_array().is_some_and(Vec::is_empty) && want.is_null() {
            continue;
        }
        assert_eq!(got, want, "{name}");
    }
    let names = got.as_object().map(serde_json::Map::len);
    for name in want.as_object().into_iter().flat_map(|want| want.keys()) {
        let is_there = got.get(name).is_some() || name == "product";
        assert!(is_there, "{name} is not among {names:?} fields");
    }
}
