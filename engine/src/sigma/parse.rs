//! YAML documents of Sigma: rules, correlations and filters.
//!
//! Keys that are not Sigma's are passed over, as the specification asks, but for `tests`: these go into the rule's header.

use serde_json::{Map, Value};

use crate::rule::header::day_ms;

/// One document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) meta: Meta,
    pub(super) body: Body,
}

/// What it says about events.
#[derive(Debug)]
pub(super) enum Body {
    Rule(Map<String, Value>),
    Correlation(Map<String, Value>),
    Filter(Map<String, Value>),
}

/// What it says about itself; texts are empty where it says nothing.
#[derive(Debug, Default)]
pub(super) struct Meta {
    pub(super) title: String,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) level: String,
    pub(super) description: String,
    pub(super) license: String,
    pub(super) author: String,
    pub(super) date: String,
    pub(super) modified: String,
    pub(super) tags: Vec<String>,
    pub(super) references: Vec<String>,
    pub(super) falsepositives: Vec<String>,
    pub(super) source: Map<String, Value>,
    pub(super) tests: Option<Value>,
}

/// What is wrong with a document: its title, and why it is none of Sigma's.
pub(super) type Fault = (String, String);

/// The documents of a file, each by itself: one that is not Sigma's costs the others nothing.
///
/// # Errors
/// The file is not YAML, or one that grows as it is read.
pub(super) fn documents(text: &str) -> Result<Vec<Result<Document, Fault>>, String> {
    let read: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let told = error.to_string();
        format!("not YAML: {}", told.lines().next().unwrap_or_default())
    })?;
    let written = read.into_iter().filter(|document| !document.is_null());
    Ok(written.map(document).collect())
}

fn document(value: Value) -> Result<Document, Fault> {
    let Value::Object(mut keys) = value else {
        return Err((String::new(), "it is no map of keys".to_owned()));
    };
    let meta = meta(&keys);
    let fault = |reason: &str| Err((meta.title.clone(), reason.to_owned()));
    if keys.contains_key("action") {
        return fault("`action` is of a form Sigma has given up: write the documents out");
    }
    let bodies = ["detection", "correlation", "filter"].map(|key| keys.remove(key));
    let body = match bodies {
        [Some(Value::Object(body)), None, None] => Body::Rule(body),
        [None, Some(Value::Object(body)), None] => Body::Correlation(body),
        [None, None, Some(Value::Object(body))] => Body::Filter(body),
        _ => return fault("it has not one map of `detection`, `correlation` and `filter`"),
    };
    match meta.title.trim() {
        "" => fault("it has no `title`"),
        _ => Ok(Document { meta, body }),
    }
}

fn meta(keys: &Map<String, Value>) -> Meta {
    let text = |key: &str| keys.get(key).and_then(scalar).unwrap_or_default();
    let texts = |key: &str| keys.get(key).map(texts).unwrap_or_default();
    let day = |key: &str| {
        let day = text(key).replace('/', "-");
        day_ms(&day).map(|_| day).unwrap_or_default()
    };
    Meta {
        title: text("title"),
        id: text("id"),
        name: text("name"),
        status: text("status"),
        level: text("level"),
        description: text("description"),
        license: text("license"),
        author: texts("author").join(", "),
        date: day("date"),
        modified: day("modified"),
        tags: texts("tags"),
        references: texts("references"),
        falsepositives: texts("falsepositives"),
        source: match keys.get("logsource") {
            Some(Value::Object(source)) => source.clone(),
            _ => Map::new(),
        },
        tests: keys.get("tests").cloned(),
    }
}

/// A scalar as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A scalar, or a list of such, as texts.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(parts) => parts.iter().filter_map(scalar).collect(),
        one => scalar(one).into_iter().collect(),
    }
}
