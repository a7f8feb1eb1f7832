//! Splunk HTTP Event Collector (Splunk, *Format events for HTTP Event Collector*, which has no version of its own), one event.
//!
//! | key | value |
//! |---|---|
//! | `time` | `time_ms`, in seconds |
//! | `source`, `sourcetype` | `tollwatch`, `tollwatch:alert` or, of a finding of posture, `tollwatch:finding`; host and index are the token's |
//! | `event` | the OCSF record as it is |
//! | `fields` | indexed, in the words of Splunk's *Common Information Model, Alerts*: `id`, `app`, `type`, `severity`, `signature`, `signature_id`, `user`, `src`, `dest`, `mitre_technique_id`, `vendor_product`, and `description` |
//!
//! `severity` is `critical` for fatal too, as the model has no more. Indexed values end at 1024 bytes. `event` is as long as the record: give
//! the sourcetypes `TRUNCATE = 0`.

use serde_json::{Map, Value, json};

use super::Alert;
use super::text::{cut, set};

/// Renders an alert as one event.
pub(super) fn render(alert: &Alert) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| set(&mut fields, name, value);
    let text = |text: &str| json!(cut(text, 1_024));
    put("id", text(&alert.uid));
    put("app", json!("tollwatch"));
    put("type", json!("alert"));
    put(
        "severity",
        json!(match alert.severity() {
            "fatal" => "critical",
            severity => severity,
        }),
    );
    put("signature", text(alert.rule_title()));
    put("signature_id", text(&alert.rule));
    put("description", text(&alert.title));
    put("user", text(&alert.identity));
    let ip = alert.call.source_ip.map(|ip| ip.to_string());
    put("src", json!(ip));
    put("dest", text(&alert.endpoint.host));
    put("mitre_technique_id", json!(alert.techniques));
    put("vendor_product", json!("tollwatch"));
    json!({
        "time": alert.time_ms as f64 / 1e3,
        "source": "tollwatch",
        "sourcetype": match alert.is_posture {
            true => "tollwatch:finding",
            false => "tollwatch:alert",
        },
        "event": alert.value,
        "fields": fields,
    })
}
