//! JSON without nesting: every field of an alert under one name, for systems with no schema of their own.
//!
//! | name | of the alert |
//! |---|---|
//! | `time`, `first_seen`, `last_seen` | `time_ms`, `first_ms`, `last_ms`, RFC 3339 |
//! | `id`, `case`, `activity`, `n_findings` | `uid`, `case_uid`, `activity`, `n_findings` |
//! | `class` | `posture` or `alert` |
//! | `severity`, `severity_id`, `title` | OCSF's word and number, `title` |
//! | `rule`, `rule_title`, `rule_version`, `description` | the rule's |
//! | `identity`, `endpoint`, `host`, `method`, `path`, `status`, `source_ip`, `country`, `asn`, `user_agent` | who, where, and the call that made the alert |
//! | `owasp`, `cwe`, `attack`, `compliance`, `reasons` | arrays of texts |
//! | `remediation`, `product`, `product_version` | what to do; `tollwatch` |
//!
//! What an alert has not is left out. No field is cut: texts have at most 4 KiB.

use serde_json::{Map, Value, json};

use super::Alert;
use super::text::{rfc3339, set};

/// Renders an alert as one object.
pub(super) fn render(alert: &Alert) -> Value {
    let mut object = Map::new();
    let call = &alert.call;
    for (name, value) in [
        ("time", json!(rfc3339(alert.time_ms))),
        ("id", json!(alert.uid)),
        ("case", json!(alert.case_uid)),
        ("activity", json!(alert.activity)),
        (
            "class",
            json!(if alert.is_posture { "posture" } else { "alert" }),
        ),
        ("severity", json!(alert.severity())),
        ("severity_id", json!(alert.severity_id)),
        ("title", json!(alert.title)),
        ("rule", json!(alert.rule)),
        ("rule_title", json!(alert.rule_title())),
        ("rule_version", json!(alert.rule_version)),
        ("description", json!(alert.description)),
        ("identity", json!(alert.identity)),
        ("endpoint", json!(alert.endpoint.uid)),
        ("host", json!(alert.endpoint.host)),
        ("method", json!(alert.method())),
        ("path", json!(call.path)),
        ("status", json!(call.status)),
        ("source_ip", json!(call.source_ip)),
        ("country", json!(call.country)),
        ("asn", json!(call.asn)),
        ("user_agent", json!(call.user_agent)),
        ("first_seen", json!(rfc3339(alert.first_ms))),
        ("last_seen", json!(rfc3339(alert.last_ms))),
        ("n_findings", json!(alert.n_findings)),
        ("owasp", json!(alert.owasp)),
        ("cwe", json!(alert.cwe)),
        ("attack", json!(alert.techniques)),
        ("compliance", json!(alert.compliance)),
        ("reasons", json!(alert.reasons)),
        ("remediation", json!(alert.remediation)),
        ("product", json!("tollwatch")),
        ("product_version", json!(alert.product_version)),
    ] {
        set(&mut object, name, value);
    }
    Value::Object(object)
}
