//! Properties of librdkafka, passwords among them.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// Properties by name. Any value may be a secret: `Debug` shows names alone, and a fault of a property never its value.
///
/// In a file they are a table. Dots may be quoted or not: `"sasl.username" = "a"` and `sasl.username = "a"` are one property.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Gives a property a value, in place of one it had.
    pub fn set(&mut self, property: &str, value: impl Into<String>) {
        self.0.insert(property.to_owned(), value.into());
    }

    /// The value of a property.
    pub fn get(&self, property: &str) -> Option<&str> {
        self.0.get(property).map(String::as_str)
    }

    /// Each property with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(property, value)| (property.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(properties: I) -> Properties {
        Properties(properties.into_iter().collect())
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self
            .0
            .keys()
            .map(|property| (property, format_args!("***")));
        f.debug_map().entries(hidden).finish()
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut properties = Properties::default();
        match Node::deserialize(deserializer)? {
            Node::Table(nodes) => flatten("", nodes, &mut properties),
            // What was found instead is not told: it may be the secret.
            Node::Value(_) => return Err(D::Error::custom("a table of properties is expected")),
        }
        Ok(properties)
    }
}

fn flatten(prefix: &str, nodes: BTreeMap<String, Node>, properties: &mut Properties) {
    for (name, node) in nodes {
        match node {
            Node::Value(value) => properties.set(&format!("{prefix}{name}"), value),
            Node::Table(nodes) => flatten(&format!("{prefix}{name}."), nodes, properties),
        }
    }
}

/// A value, or a table that unquoted dots made.
enum Node {
    Value(String),
    Table(BTreeMap<String, Node>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// Takes every type that has a text, as serde's refusal of a type tells the value.
struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, or true or false")
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Value(value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Value(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Value(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Value(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Value(value.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut nodes = BTreeMap::new();
        while let Some((name, node)) = map.next_entry()? {
            nodes.insert(name, node);
        }
        Ok(Node::Table(nodes))
    }
}

/// Why librdkafka makes no client, without a value: its own words hold it.
pub(super) fn fault(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, property, _) => {
            format!("there is no property {property}")
        }
        KafkaError::ClientConfig(_, _, property, _) => {
            format!("property {property} has a value that it can't have")
        }
        KafkaError::Nul(_) => "a property or its value holds a NUL character".to_owned(),
        KafkaError::ClientCreation(reason) => reason.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Properties, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn dots_are_dots_quoted_or_not_and_values_become_text() {
        let quoted = parse(r#"{"sasl.username": "a", "session.timeout.ms": 45000, "x": true}"#);
        let unquoted = parse(
            r#"{"sasl": {"username": "a"}, "session": {"timeout": {"ms": "45000"}}, "x": "true"}"#,
        );
        assert!(quoted.is_ok());
        assert_eq!(quoted, unquoted);
    }

    #[test]
    fn debug_and_faults_show_no_value() {
        let properties = parse(r#"{"sasl.password": "hunter2"}"#).expect("parses");
        let shown = format!("{properties:?} {properties:#?}");
        assert!(
            shown.contains("sasl.password") && !shown.contains("hunter2"),
            "{shown}"
        );
        for wrong in [r#""hunter2""#, r#"["hunter2"]"#, r#"{"a": ["hunter2"]}"#] {
            let error = parse(wrong).expect_err("no table of properties");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
