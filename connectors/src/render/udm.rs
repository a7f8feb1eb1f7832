//! Google SecOps Unified Data Model (Google, *UDM field list* and *Format log data as UDM*, as published in 2026), one event with the names of
//! the ingestion API.
//!
//! | field | of the alert |
//! |---|---|
//! | `metadata.eventType` | `GENERIC_EVENT`: the alert is of many calls |
//! | `metadata.eventTimestamp`, `.productLogId`, `.productEventType`, `.description` | `time_ms`, `uid`, `rule`, `title` |
//! | `metadata.vendorName`, `.productName`, `.productVersion` | the product |
//! | `principal.user.userid`, `.ip` | `identity`, address of the call; without either `principal.application` is the endpoint's host |
//! | `target.hostname`, `.url`, `.resource.name` | host, path of the call, endpoint |
//! | `network.http.method`, `.userAgent`, `.responseCode` | the call's |
//! | `securityResult[0].ruleId`, `.ruleName`, `.ruleVersion`, `.summary`, `.description` | rule, its title and version, `title`, `reasons` |
//! | `securityResult[0].severity`, `.severityDetails` | `HIGH` for critical and fatal too; the word itself |
//! | `securityResult[0].category` | of a finding of posture `POLICY_VIOLATION`; else by `owasp`: API1, API3, API5 `ACL_VIOLATION`; API2 `AUTH_VIOLATION`; API8 with an identity `NETWORK_RECON`, without `POLICY_VIOLATION`; else `UNKNOWN_CATEGORY` |
//! | `securityResult[0].categoryDetails`, `.threatName`, `.firstDiscoveredTime`, `.alertState` | `owasp`, `case_uid`, `first_ms`, `ALERTING` or, of what is closed, `NOT_ALERTING` |
//! | `securityResult[0].detectionFields` | case, activity, `techniques` |
//!
//! No field is cut: texts have at most 4 KiB, an event of the API takes 4 MB.

use serde_json::{Map, Value, json};

use super::Alert;
use super::text::{rfc3339, set};

/// Renders an alert as one event.
pub(super) fn render(alert: &Alert) -> Value {
    let mut event = Map::new();
    let mut put = |path: &str, value: Value| set(&mut event, path, value);
    let (call, endpoint) = (&alert.call, &alert.endpoint);
    put("metadata.eventType", json!("GENERIC_EVENT"));
    put("metadata.eventTimestamp", json!(rfc3339(alert.time_ms)));
    put("metadata.productLogId", json!(alert.uid));
    put("metadata.productEventType", json!(alert.rule));
    put("metadata.description", json!(alert.title));
    put("metadata.vendorName", json!("tollwatch"));
    put("metadata.productName", json!("tollwatch"));
    put("metadata.productVersion", json!(alert.product_version));

    put("principal.user.userid", json!(alert.identity));
    let ip = call.source_ip.map(|ip| ip.to_string());
    put("principal.ip", ip.map_or(Value::Null, |ip| json!([ip])));
    if alert.identity.is_empty() && call.source_ip.is_none() {
        // An event must say who, and a finding about an endpoint alone knows only where.
        let host = match endpoint.host.as_str() {
            "" => "tollwatch",
            host => host,
        };
        put("principal.application", json!(host));
    }
    put("target.hostname", json!(endpoint.host));
    put("target.url", json!(call.path));
    put("target.resource.name", json!(endpoint.uid));
    put("network.http.method", json!(alert.method()));
    put("network.http.userAgent", json!(call.user_agent));
    put("network.http.responseCode", json!(call.status));
    put("securityResult", json!([security_result(alert)]));
    Value::Object(event)
}

fn security_result(alert: &Alert) -> Value {
    let mut result = Map::new();
    let mut put = |path: &str, value: Value| set(&mut result, path, value);
    put("ruleId", json!(alert.rule));
    put("ruleName", json!(alert.rule_title()));
    put("ruleVersion", json!(alert.rule_version));
    put("summary", json!(alert.title));
    put("description", json!(alert.reasons.join("; ")));
    put(
        "severity",
        json!(match alert.severity() {
            "informational" => "INFORMATIONAL",
            "low" => "LOW",
            "medium" => "MEDIUM",
            _ => "HIGH",
        }),
    );
    put("severityDetails", json!(alert.severity_title()));
    put("category", json!([category(alert)]));
    put("categoryDetails", json!(alert.owasp));
    put("threatName", json!(alert.case_uid));
    put("firstDiscoveredTime", json!(rfc3339(alert.first_ms)));
    let state = match alert.activity {
        "close" => "NOT_ALERTING",
        _ => "ALERTING",
    };
    put("alertState", json!(state));
    let techniques = alert.techniques.iter().map(|id| ("technique", id.as_str()));
    let fields = [
        ("case", alert.case_uid.as_str()),
        ("activity", alert.activity),
    ];
    let fields = fields.into_iter().chain(techniques);
    let field = |(key, value)| json!({ "key": key, "value": value });
    put("detectionFields", fields.map(field).collect());
    Value::Object(result)
}

fn category(alert: &Alert) -> &'static str {
    let is = |owasp: &str| alert.owasp.iter().any(|named| named.starts_with(owasp));
    match alert.identity.is_empty() {
        _ if alert.is_posture => "POLICY_VIOLATION",
        _ if is("API1:") || is("API3:") || is("API5:") => "ACL_VIOLATION",
        _ if is("API2:") => "AUTH_VIOLATION",
        false if is("API8:") => "NETWORK_RECON",
        true if is("API8:") => "POLICY_VIOLATION",
        _ => "UNKNOWN_CATEGORY",
    }
}
