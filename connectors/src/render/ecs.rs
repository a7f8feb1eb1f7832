//! Elastic Common Schema 9.4.0 (elastic/ecs, `generated/csv/fields.csv`); all fields but `tollwatch.*` are also in ECS 8.11.
//!
//! | field | of the alert |
//! |---|---|
//! | `@timestamp`, `event.start`, `event.end` | `time_ms`, `first_ms`, `last_ms` |
//! | `event.kind`, `.category`, `.type` | `alert`, `api` and `intrusion_detection`, `info`; of a finding of posture `state`, `configuration`, `info` |
//! | `event.id`, `.code`, `.action`, `.reason` | `uid`, `rule`, `activity`, `reasons` with `; ` between them |
//! | `event.severity` | 10, 21, 47, 73, 99 as Elastic's own rules have it: informational to critical; fatal 99 |
//! | `event.module`, `.dataset`, `.provider` | `tollwatch`, `tollwatch.alerts` or `tollwatch.findings`, `tollwatch` |
//! | `message`, `tags` | `title`, `tags` |
//! | `rule.id`, `.name`, `.version`, `.description`, `.category`, `.reference`, `.ruleset` | the rule's; `owasp`; the first of `references` |
//! | `threat.framework`, `.tactic.*`, `.technique.*` | `MITRE ATT&CK`, `tactics`, `techniques` |
//! | `user.id`, `related.user` | `identity` |
//! | `source.ip`, `.geo.country_iso_code`, `.as.number`, `related.ip`, `url.domain`, `related.hosts`, `url.path`, `http.*`, `user_agent.original` | the call's |
//! | `observer.*` | the product |
//! | `tollwatch.*` (ours) | `case`, `endpoint`, `reasons`, `n_findings`, `compliance`, `remediation` |
//!
//! A keyword ends at 1024 bytes: Elasticsearch indexes none that is longer (`ignore_above`).

use serde_json::{Map, Value, json};

use super::text::{cut, rfc3339, set};
use super::{Alert, SEVERITIES};

const SEVERITY: [u8; SEVERITIES.len()] = [10, 21, 47, 73, 99, 99];
const KEYWORD_BYTES_MAX: usize = 1_024;

/// Renders an alert as one object.
pub(super) fn render(alert: &Alert) -> Value {
    let mut object = Map::new();
    let mut put = |path: &str, value: Value| set(&mut object, path, value);
    let keyword = |text: &str| json!(cut(text, KEYWORD_BYTES_MAX));
    let keywords = |texts: &[String]| texts.iter().map(|text| keyword(text)).collect::<Value>();
    put("@timestamp", json!(rfc3339(alert.time_ms)));
    put("ecs.version", json!("9.4.0"));
    put("message", json!(alert.title));
    put("tags", keywords(&alert.tags));

    let (kind, category, dataset) = match alert.is_posture {
        true => ("state", json!(["configuration"]), "tollwatch.findings"),
        false => (
            "alert",
            json!(["api", "intrusion_detection"]),
            "tollwatch.alerts",
        ),
    };
    put("event.kind", json!(kind));
    put("event.category", category);
    put("event.type", json!(["info"]));
    put("event.id", keyword(&alert.uid));
    put("event.code", keyword(&alert.rule));
    put("event.action", json!(alert.activity));
    put("event.reason", keyword(&alert.reasons.join("; ")));
    let severity = SEVERITY[usize::from(alert.severity_id) - 1];
    put("event.severity", json!(severity));
    put("event.start", json!(rfc3339(alert.first_ms)));
    put("event.end", json!(rfc3339(alert.last_ms)));
    put("event.module", json!("tollwatch"));
    put("event.dataset", json!(dataset));
    put("event.provider", json!("tollwatch"));

    put("rule.id", keyword(&alert.rule));
    put("rule.name", keyword(alert.rule_title()));
    put("rule.version", keyword(&alert.rule_version));
    put("rule.description", keyword(&alert.description));
    put("rule.category", keyword(&alert.owasp.join(", ")));
    let reference = alert.references.first();
    put(
        "rule.reference",
        reference.map_or(Value::Null, |r| keyword(r)),
    );
    put("rule.ruleset", json!("tollwatch"));

    if !alert.tactics.is_empty() || !alert.techniques.is_empty() {
        put("threat.framework", json!("MITRE ATT&CK"));
    }
    let (ids, names): (Vec<&str>, Vec<&str>) = alert.tactics.iter().copied().unzip();
    put("threat.tactic.id", json!(ids));
    put("threat.tactic.name", json!(names));
    let is_sub = |technique: &&String| technique.contains('.');
    let (subs, whole): (Vec<_>, Vec<_>) = alert.techniques.iter().partition(is_sub);
    put("threat.technique.id", json!(whole));
    put("threat.technique.subtechnique.id", json!(subs));

    let call = &alert.call;
    let ip = call.source_ip.map(|ip| ip.to_string());
    let one_or_none = |value: &str| match value {
        "" => Value::Null,
        value => json!([cut(value, KEYWORD_BYTES_MAX)]),
    };
    put("user.id", keyword(&alert.identity));
    put("source.ip", json!(ip));
    let country = call.country.as_deref();
    put(
        "source.geo.country_iso_code",
        json!(country.map(|code| cut(code, KEYWORD_BYTES_MAX))),
    );
    put("source.as.number", json!(call.asn));
    put("url.domain", keyword(&alert.endpoint.host));
    put("url.path", keyword(&call.path));
    put("http.request.method", keyword(alert.method()));
    put("http.response.status_code", json!(call.status));
    put("user_agent.original", keyword(&call.user_agent));
    put("related.user", one_or_none(&alert.identity));
    put("related.ip", one_or_none(ip.as_deref().unwrap_or_default()));
    put("related.hosts", one_or_none(&alert.endpoint.host));

    put("observer.vendor", json!("tollwatch"));
    put("observer.product", json!("tollwatch"));
    put("observer.type", json!("api-security"));
    put("observer.version", keyword(&alert.product_version));

    put("tollwatch.case", keyword(&alert.case_uid));
    put("tollwatch.endpoint", keyword(&alert.endpoint.uid));
    put("tollwatch.n_findings", json!(alert.n_findings));
    put("tollwatch.reasons", keywords(&alert.reasons));
    put("tollwatch.compliance", keywords(&alert.compliance));
    put("tollwatch.remediation", keyword(&alert.remediation));
    Value::Object(object)
}
