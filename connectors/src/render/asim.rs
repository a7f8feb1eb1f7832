//! Microsoft Sentinel, ASIM alert event schema 0.1 (Microsoft, *The Advanced Security Information Model (ASIM) alert event
//! normalization schema reference*, general availability).
//!
//! | column | of the alert |
//! |---|---|
//! | `TimeGenerated`, `EventStartTime`, `EventEndTime` | `time_ms`, `first_ms`, `last_ms` |
//! | `EventUid`, `EventOriginalUid`, `EventCount` | `uid`, `case_uid`, 1: a record is one alert |
//! | `EventVendor`, `EventProduct`, `EventProductVersion`, `EventSchema`, `EventSchemaVersion`, `EventType` | the product; `AlertEvent`, `0.1`, `Alert` |
//! | `EventSubType` | of a finding of posture, and of an alert of API8 without identity, `Compliance Violation`; of another with an identity `Suspicious Activity`; else `Anomaly` |
//! | `EventSeverity`, `EventOriginalSeverity` | `High` for critical and fatal too, as the schema has no more; the word itself |
//! | `AlertName`, `EventMessage`, `AlertStatus`, `AlertOriginalStatus` | rule's title; `title` and `reasons`; `Closed` when closed, else `Active`; `activity` |
//! | `RuleName`, `RuleDescription`, `RuleNumber` | rule, description; its version stands in `AdditionalFields`, as a rule has no number |
//! | `Username`, `UserId`, `UsernameType`, `UserIdType` | `identity`; `Simple`, `Other` |
//! | `Url` | path of the call |
//! | `AttackTactics`, `AttackTechniques`, `AttackRemediationSteps` | `tactics` by name, `techniques` by id, `remediation` |
//! | `DetectionMethod`, `IndicatorType` | `Behavioral Analytics`, none of a finding of posture; `User` with an identity, else `Url` |
//! | `AdditionalFields` | source address (the schema's address is the device's), endpoint, method, status, user agent, owasp, rule version, findings of the case |
//!
//! No column is cut: texts have at most 4 KiB, a column of Log Analytics takes 64 KiB.

use serde_json::{Map, Value, json};

use super::Alert;
use super::text::{rfc3339, set};

/// Renders an alert as one row.
pub(super) fn render(alert: &Alert) -> Value {
    let mut row = Map::new();
    let mut put = |column: &str, value: Value| set(&mut row, column, value);
    let has_identity = !alert.identity.is_empty();
    let is_configuration = alert.owasp.iter().any(|owasp| owasp.starts_with("API8:"));
    put("TimeGenerated", json!(rfc3339(alert.time_ms)));
    put("EventStartTime", json!(rfc3339(alert.first_ms)));
    put("EventEndTime", json!(rfc3339(alert.last_ms)));
    put("EventCount", json!(1));
    put("EventUid", json!(alert.uid));
    put("EventOriginalUid", json!(alert.case_uid));
    put("EventVendor", json!("tollwatch"));
    put("EventProduct", json!("tollwatch"));
    put("EventProductVersion", json!(alert.product_version));
    put("EventSchema", json!("AlertEvent"));
    put("EventSchemaVersion", json!("0.1"));
    put("EventType", json!("Alert"));
    put(
        "EventSubType",
        json!(match (has_identity, is_configuration) {
            _ if alert.is_posture => "Compliance Violation",
            (true, _) => "Suspicious Activity",
            (false, true) => "Compliance Violation",
            (false, false) => "Anomaly",
        }),
    );
    put(
        "EventSeverity",
        json!(match alert.severity_title() {
            "Critical" | "Fatal" => "High",
            severity => severity,
        }),
    );
    put("EventOriginalSeverity", json!(alert.severity_title()));
    put("AlertName", json!(alert.rule_title()));
    let said = std::iter::once(&alert.title).chain(&alert.reasons);
    let said: Vec<&str> = said.map(String::as_str).collect();
    put("EventMessage", json!(said.join("; ")));
    let status = if alert.activity == "close" {
        "Closed"
    } else {
        "Active"
    };
    put("AlertStatus", json!(status));
    put("AlertOriginalStatus", json!(alert.activity));
    put("RuleName", json!(alert.rule));
    put("RuleDescription", json!(alert.description));
    if has_identity {
        put("Username", json!(alert.identity));
        put("UsernameType", json!("Simple"));
        put("UserId", json!(alert.identity));
        put("UserIdType", json!("Other"));
    }
    put("Url", json!(alert.call.path));
    let tactics: Vec<&str> = alert.tactics.iter().map(|(_, name)| *name).collect();
    put("AttackTactics", json!(tactics.join(", ")));
    put("AttackTechniques", json!(alert.techniques.join(", ")));
    put("AttackRemediationSteps", json!(alert.remediation));
    if !alert.is_posture {
        put("DetectionMethod", json!("Behavioral Analytics"));
    }
    let indicator = if has_identity { "User" } else { "Url" };
    put("IndicatorType", json!(indicator));

    let call = &alert.call;
    let ip = call.source_ip.map(|ip| ip.to_string());
    put("AdditionalFields.SourceIpAddr", json!(ip));
    put("AdditionalFields.Endpoint", json!(alert.endpoint.uid));
    put("AdditionalFields.HttpMethod", json!(alert.method()));
    put("AdditionalFields.HttpStatus", json!(call.status));
    put("AdditionalFields.HttpUserAgent", json!(call.user_agent));
    put("AdditionalFields.Owasp", json!(alert.owasp.join(", ")));
    put("AdditionalFields.RuleVersion", json!(alert.rule_version));
    put("AdditionalFields.Findings", json!(alert.n_findings));
    Value::Object(row)
}
