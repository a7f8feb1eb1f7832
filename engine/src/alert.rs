//! Alerts: findings that are news ([`Cases`] decides), as OCSF 1.8.0 Detection Findings (class 2004).
//!
//! In come findings with the batch they were made on; out goes one line of JSON each. Ids are those of the case, so the same
//! log gives the same bytes. Every sentence of `reasons` is true of the row or window that triggered the alert.

use std::net::IpAddr;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use datafusion::scalar::ScalarValue;
use models::identity::is_unprintable;
use serde_json::{Map, Value, json};

use crate::config::ModelConfig;
use crate::rule::header::plain;
use crate::rule::{Admitted, Cases, Evidence, Finding, RuleCounters, Status, evidence_at};
use crate::state::LaneWalk;

mod raised;
pub mod shed;

pub use raised::Raised;

/// Longest text of a caller's choosing in an alert, in characters.
const TEXT_MAX: usize = 512;

/// One alert, ready for the results topic.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Key of the record: the identity, or what the case is about.
    pub key: String,
    /// What the case is about: the values of its key.
    pub about: String,
    /// Name of the rule.
    pub rule: String,
    /// 1 create, 2 update.
    pub activity_id: u8,
    /// The OCSF finding, one line.
    pub json: String,
    /// Title, for a terminal.
    pub title: String,
    /// True when it is about an identity, false when about an endpoint alone.
    pub about_identity: bool,
    /// Severity, OCSF's number.
    pub severity_id: u8,
    /// Event time of the triggering event, ms.
    pub time_ms: i64,
    /// The triggering event's source position.
    pub position: (String, i32, i64),
    /// Wall time at which the source record was read, ms; 0 when unknown.
    pub read_at_ms: i64,
    /// What rules over `alerts` see of it.
    pub raised: Box<Raised>,
}

/// Turns findings into alerts, for one lane.
#[derive(Debug)]
pub struct Alerter {
    cases: Cases,
    false_alerts_per_million_events: f64,
}

impl Alerter {
    /// An alerter without cases.
    pub fn new(config: &ModelConfig) -> Self {
        Self {
            cases: Cases::new(config.entries(4, Cases::CASE_BYTES, config.cases_max)),
            false_alerts_per_million_events: config.false_alerts_per_million_events,
        }
    }

    /// Appends the alerts of `findings` on `batch`; `samples` gives what a model kept for a row.
    ///
    /// Rules with status `test` or `deprecated` are on trial: they find, are counted, and alert
    /// nobody.
    pub fn raise(
        &mut self,
        findings: &[Finding],
        batch: &RecordBatch,
        mut samples: impl FnMut(usize) -> Vec<Evidence>,
        alerts: &mut Vec<Alert>,
    ) {
        for finding in findings {
            if matches!(
                finding.rule.header.status,
                Status::Test | Status::Deprecated
            ) {
                continue;
            }
            let row = (finding.row < batch.num_rows()).then_some(finding.row);
            let trigger = row
                .map(|row| evidence_at(batch, row))
                .or(finding.evidence.last().cloned());
            let Some(trigger) = trigger else { continue };
            let Some(case) = self.cases.admit(finding, &trigger) else {
                continue;
            };
            // What a model kept for a caller says nothing of an endpoint, and a window shows its own way to the threshold.
            let identity = finding.value("identity");
            let kept = row.filter(|_| identity.is_some() && finding.window.is_none());
            let mut evidence = kept.map(&mut samples).unwrap_or_default();
            if evidence.is_empty() {
                evidence.clone_from(&finding.evidence);
            }
            if evidence.last() != Some(&trigger) {
                evidence.push(trigger.clone());
            }
            let mut numbers = row.map(|row| Numbers::of(batch, row)).unwrap_or_default();
            if identity.is_none() {
                numbers.reasons.clear();
                numbers.first_ms = None;
            }
            let promise = self.false_alerts_per_million_events;
            let alert = alert(finding, &trigger, &evidence, case, promise, numbers, batch);
            alerts.push(alert);
        }
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl LaneWalk) {
        self.cases.walk(walk);
    }

    /// Adds what the cases counted to the counters of the rules.
    pub fn counted(&self, mut counters: Vec<RuleCounters>) -> Vec<RuleCounters> {
        self.cases.count(&mut counters);
        counters
    }
}

/// The models' numbers of the triggering row, where its table has them.
#[derive(Debug, Default)]
struct Numbers {
    values: Map<String, Value>,
    reasons: Vec<String>,
    /// Of evidence and probing: name, value, and whether it reached the alarm on this row.
    evidence: Option<(&'static str, f64, bool)>,
    first_ms: Option<i64>,
}

impl Numbers {
    fn of(batch: &RecordBatch, row: usize) -> Numbers {
        let number = |column: &str| {
            let array = batch.column_by_name(column)?;
            let array =
                arrow::compute::cast(&array.slice(row, 1), &arrow::datatypes::DataType::Float64)
                    .ok()?;
            let array = array.as_primitive_opt::<Float64Type>()?;
            array.is_valid(0).then(|| array.value(0))
        };
        let text = |column: &str| {
            let array = batch.column_by_name(column)?.as_string_opt::<i32>()?;
            array.is_valid(row).then(|| array.value(row).to_owned())
        };
        let flag = |column: &str| {
            let array = batch
                .column_by_name(column)
                .and_then(|c| c.as_boolean_opt());
            array.is_some_and(|array| array.is_valid(row) && array.value(row))
        };
        let mut numbers = Numbers::default();
        const KEPT: [&str; 25] = [
            "evidence",
            "evidence_identity",
            "run_objects",
            "run_in_order",
            "run_usual",
            "run_limit",
            "run_in_order_limit",
            "surprise_nats",
            "p_own",
            "p_peer",
            "maturity",
            "n_touches",
            "n_virgin",
            "n_foreign",
            "n_met",
            "n_denied",
            "n_exposed",
            "n_foreign_writes",
            "probe_evidence",
            "probe_count",
            "probe_answered",
            "endpoint_events",
            "endpoint_authenticated_share",
            "objects_seen",
            "response_bytes_quantile",
        ];
        for column in KEPT {
            if let Some(value) = number(column) {
                numbers.values.insert(column.to_owned(), json!(value));
            }
        }
        for column in [
            "category",
            "object_owner",
            "probe_classes",
            "collection",
            "identity_quality",
        ] {
            if let Some(value) = text(column) {
                numbers
                    .values
                    .insert(column.to_owned(), json!(clean(&value)));
            }
        }
        let get = |column: &str| number(column).unwrap_or(0.0);
        if let Some(collection) = text("collection").filter(|_| number("n_touches").is_some()) {
            let collection = clean(&collection);
            numbers.first_ms = number("first_evidence_time").map(|ms| ms as i64);
            numbers.reasons.push(format!(
                "{} touches of {collection} since the evidence began: {} of owners never met, {} of owners met, {} nobody had touched, {} refused or not found",
                get("n_touches"), get("n_foreign"), get("n_met"), get("n_virgin"), get("n_denied")
            ));
            numbers.reasons.push(format!(
                "usual for this caller: {:.0} % of touches on its own {collection}; a touch like the last one has probability {:.4} for it and {:.4} among its peers",
                100.0 * get("p_own"), (-get("surprise_nats")).exp(), get("p_peer")
            ));
        }
        if let Some(usual) = number("run_usual") {
            let in_order = number("run_in_order_limit");
            let in_order = in_order.map_or_else(String::new, |n| format!(", {n} in order"));
            numbers.reasons.push(format!(
                "{} objects new to it in this sitting, the latest {} in the order of their ids; 19 in 20 of its peers never passed {usual:.0}, and {} are too many{in_order}",
                get("run_objects"), get("run_in_order"), get("run_limit")
            ));
        }
        if let Some(evidence) = number("evidence") {
            numbers.evidence = Some(("evidence", evidence, flag("alarm")));
            let identity = get("evidence_identity");
            let nats = |evidence: f64| evidence.max(1.0).ln();
            numbers.reasons.push(format!(
                "evidence by source: {:.1} nats from this collection, {:.1} from all its collections together",
                nats(evidence - identity), nats(identity)
            ));
        }
        if let Some(classes) = text("probe_classes") {
            numbers
                .reasons
                .push(format!("{} distinct probes: {classes}", get("probe_count")));
            let n_answered = get("probe_answered");
            if 0.0 < n_answered {
                numbers.reasons.push(format!(
                    "{n_answered} probes of the day were answered where nobody ever was, after others were refused"
                ));
            }
            let alarm = flag("probe_alarm");
            numbers.evidence = Some(("probe evidence", get("probe_evidence"), alarm));
            if alarm {
                numbers.first_ms = number("probe_first_time").map(|ms| ms as i64);
            }
        }
        numbers
    }
}

/// What held, in the finding's own numbers.
fn held(finding: &Finding) -> String {
    let when = match finding.window {
        Some((start_ms, end_ms)) => format!("in {} s", (end_ms - start_ms) / 1_000),
        None => "on one call".to_owned(),
    };
    // Told in fields of their own.
    let own = ["identity", "endpoint", "window_start", "window_end"];
    let columns: Vec<String> = finding
        .values
        .iter()
        .filter(|(name, value)| !own.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| format!("{name} {}", plain(value)))
        .collect();
    match columns.is_empty() {
        true => format!("the rule's condition held {when}"),
        false => format!("the rule's condition held {when}: {}", columns.join(", ")),
    }
}

fn reasons(finding: &Finding, numbers: &Numbers, promise: f64) -> Vec<String> {
    let mut reasons = Vec::new();
    if finding.window.is_some() || numbers.reasons.is_empty() {
        reasons.push(held(finding));
    }
    if numbers.reasons.is_empty() {
        return reasons;
    }
    reasons.extend(numbers.reasons.iter().cloned());
    if let Some((name, evidence, alarm)) = numbers.evidence {
        let alarm_at = 1e6 / promise;
        reasons.push(match alarm {
            true => format!("{name} {evidence:.3e} reached {alarm_at:.3e}: {promise} false alerts promised per million events"),
            false => format!("{name} is {evidence:.3e} of the {alarm_at:.3e} at which it alarms"),
        });
    }
    reasons
}

/// When what the finding tells began.
fn first_ms(finding: &Finding, evidence: &[Evidence], numbers: &Numbers) -> i64 {
    let sampled = evidence.first().map(|sample| sample.time_ms);
    let begun = match finding.window {
        Some((start_ms, _)) => sampled.or(Some(start_ms)),
        None => numbers.first_ms.or(sampled),
    };
    begun.unwrap_or(finding.time_ms).min(finding.time_ms)
}

fn alert(
    finding: &Finding,
    trigger: &Evidence,
    evidence: &[Evidence],
    case: Admitted,
    promise: f64,
    numbers: Numbers,
    batch: &RecordBatch,
) -> Alert {
    let header = &finding.rule.header;
    let title = clean(&finding.rule.title(&finding.values));
    let identity = finding
        .value("identity")
        .map(|value| clean(&value.to_string()));
    let endpoint = finding.value("endpoint").map(ToString::to_string);
    let endpoint = endpoint.unwrap_or_else(|| trigger.endpoint.clone());
    let first_ms = first_ms(finding, evidence, &numbers);
    let activity_id: u8 = if case.is_new { 1 } else { 2 };
    let severity_id = header.severity as u8 + 1;
    let columns: Map<String, Value> = finding
        .values
        .iter()
        .map(|(name, value)| (name.clone(), json_of(value)))
        .collect();
    let n_evidence = evidence.len();
    let raised = Raised::new(
        finding, trigger, &case, batch, first_ms, &columns, n_evidence,
    );
    let mut tollwatch = json!({
        "position": position(trigger),
        "rule_hash": format!("{:016x}", finding.rule.hash),
        "rule_version": header.version,
        "n_findings": case.n_findings,
        "detection_latency_ms": finding.time_ms - first_ms,
        "reasons": reasons(finding, &numbers, promise),
        "columns": columns,
        "models": numbers.values,
        "tags": header.tags,
        "compliance": header.compliance,
    });
    if identity.is_some() && numbers.evidence.is_some() {
        tollwatch["promise"] =
            json!({ "false_alerts_per_million_events": promise, "alarm_at": 1e6 / promise });
    }
    if let Some((start_ms, end_ms)) = finding.window {
        tollwatch["window"] = json!({ "start": start_ms, "end": end_ms });
    }
    let mut ocsf = json!({
        "activity_id": activity_id,
        "activity_name": if case.is_new { "Create" } else { "Update" },
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200_400 + i64::from(activity_id),
        "time": finding.time_ms,
        "severity_id": severity_id,
        "status_id": 1,
        "is_alert": true,
        "message": title,
        "metadata": {
            "version": "1.8.0",
            "uid": format!("{}-{}", case.uid, case.n_findings),
            "product": { "name": "tollwatch", "vendor_name": "tollwatch", "version": env!("CARGO_PKG_VERSION") },
        },
        "finding_info": {
            "uid": case.uid,
            "title": title,
            "desc": header.description,
            "analytic": {
                "uid": header.name,
                "name": header.title,
                "version": header.version.to_string(),
                "type_id": 2,
            },
            "first_seen_time": first_ms,
            "last_seen_time": finding.time_ms,
        },
        "resources": [{ "uid": clean(&endpoint), "name": clean(&endpoint), "type": "api_endpoint" }],
        "evidences": evidence.iter().map(sample).collect::<Vec<_>>(),
        "unmapped": { "tollwatch": tollwatch },
    });
    if let Some(identity) = &identity {
        ocsf["actor"] = json!({ "user": { "uid": identity } });
    }
    if !header.remediation.is_empty() {
        ocsf["remediation"] =
            json!({ "desc": header.remediation, "references": header.references });
    }
    let about = clean(&case.about);
    Alert {
        about_identity: identity.is_some(),
        key: identity.unwrap_or_else(|| about.clone()),
        about,
        rule: header.name.clone(),
        activity_id,
        json: ocsf.to_string(),
        title,
        severity_id,
        time_ms: finding.time_ms,
        position: (trigger.topic.clone(), trigger.partition, trigger.offset),
        read_at_ms: 0,
        raised: Box::new(raised),
    }
}

/// Source position: `{file, line}` for a file, `{topic, partition, offset}` for a topic.
pub(crate) fn position(sample: &Evidence) -> Value {
    let mut position = match sample.topic.strip_prefix(FILE_PREFIX) {
        Some(file) => json!({ "file": file, "line": sample.offset }),
        None => json!({
            "topic": sample.topic, "partition": sample.partition, "offset": sample.offset
        }),
    };
    if sample.row > 0 {
        position["row"] = json!(sample.row);
    }
    position
}

/// Marks the `source_topic` of rows read from a file.
pub const FILE_PREFIX: &str = "file:";

/// The methods OCSF knows; any other a caller sends is told as data alone.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

/// A call, as OCSF's evidence.
pub(crate) fn sample(sample: &Evidence) -> Value {
    let mut value = json!({
        "api": { "operation": clean(&sample.endpoint) },
        "url": { "path": clean(&sample.path) },
        "http_request": {},
        "data": {
            "time": sample.time_ms,
            "position": position(sample),
            "method": clean(&sample.method),
        },
    });
    if METHODS.contains(&sample.method.as_str()) {
        value["http_request"]["http_method"] = json!(sample.method);
    }
    if let Some(status) = sample.status {
        value["http_response"] = json!({ "code": status });
    }
    if let Some(agent) = &sample.user_agent {
        value["http_request"]["user_agent"] = json!(clean(agent));
    }
    if let Some(ip) = sample
        .client_ip
        .as_deref()
        .and_then(|ip| ip.parse::<IpAddr>().ok())
    {
        value["src_endpoint"] = json!({ "ip": ip.to_string() });
        if let Some(country) = &sample.country {
            value["src_endpoint"]["location"] = json!({ "country": clean(country) });
        }
        if let Some(asn) = sample.asn {
            value["src_endpoint"]["autonomous_system"] = json!({ "number": asn });
        }
    }
    if !sample.identity.is_empty() {
        value["actor"] = json!({ "user": { "uid": clean(&sample.identity) } });
    }
    value
}

/// Text of a caller's choosing without what hides or reorders it on a terminal, and not too long.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX)
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect()
}

pub(crate) fn json_of(value: &ScalarValue) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    match value {
        ScalarValue::Boolean(Some(flag)) => json!(flag),
        ScalarValue::Int32(Some(n)) => json!(n),
        ScalarValue::Int64(Some(n)) => json!(n),
        ScalarValue::UInt64(Some(n)) => json!(format!("{n:016x}")),
        ScalarValue::Float64(Some(n)) => json!(n),
        ScalarValue::TimestampMillisecond(Some(ms), _) => json!(ms),
        ScalarValue::List(list) if list.len() == 1 => {
            let values = list.value(0);
            let value = |at| ScalarValue::try_from_array(&values, at).ok();
            let values = (0..values.len()).filter_map(value);
            values.map(|value| json_of(&value)).collect()
        }
        other => json!(clean(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use arrow::datatypes::DataType;

    use super::*;
    use crate::rule::Rule;
    use crate::schema::{self, TouchModel, TouchModelBuilder, TouchRow, TouchRowsBuilder};

    #[test]
    fn a_list_is_an_array_of_its_values() {
        let values = [ScalarValue::from("a\u{7}b"), ScalarValue::Utf8(None)];
        let list = ScalarValue::new_list_nullable(&values, &DataType::Utf8);
        assert_eq!(json_of(&ScalarValue::List(list)), json!(["a b", null]));
    }

    fn rule(header: &str) -> Arc<Rule> {
        let text = format!(
            "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: r\nversion: 1\ntitle: t\nstatus: stable\nseverity: low\ndescription: >\n  folded\n{header}\n---*/\nSELECT 1"
        );
        Arc::new(Rule::parse(Path::new("r.sql"), &text).unwrap())
    }

    fn touches(touch: TouchRow<'_>, model: TouchModel<'_>) -> RecordBatch {
        let (mut touches, mut models) = (TouchRowsBuilder::default(), TouchModelBuilder::default());
        touches.push(&touch);
        models.push(&model);
        let columns = [touches.finish(), models.finish()].concat();
        RecordBatch::try_new(schema::touches_table(), columns).unwrap()
    }

    fn finding(values: &[(&str, &str)]) -> Finding {
        let value = |(name, text): &(&str, &str)| ((*name).to_owned(), ScalarValue::from(*text));
        Finding {
            rule: rule("tags: [owasp.api1-2023]"),
            row: 0,
            order: 0,
            time_ms: 10_000,
            window: None,
            grown: false,
            values: values.iter().map(value).collect(),
            evidence: Vec::new(),
        }
    }

    fn raised(finding: &Finding, batch: &RecordBatch) -> Value {
        let (mut alerter, mut alerts) = (Alerter::new(&ModelConfig::default()), Vec::new());
        alerter.raise(
            std::slice::from_ref(finding),
            batch,
            |_| Vec::new(),
            &mut alerts,
        );
        serde_json::from_str(&alerts[0].json).unwrap()
    }

    fn reasons(alert: &Value) -> String {
        alert["unmapped"]["tollwatch"]["reasons"].to_string()
    }

    #[test]
    fn only_an_alarm_is_said_to_have_reached_the_threshold() {
        for (alarm, said, unsaid) in [
            (true, "reached", "at which"),
            (false, "at which", "reached"),
        ] {
            let model = TouchModel {
                evidence: 12.0,
                alarm,
                ..TouchModel::default()
            };
            let batch = touches(TouchRow::default(), model);
            let told = reasons(&raised(&finding(&[("identity", "mallory")]), &batch));
            assert!(told.contains(said) && !told.contains(unsaid), "{told}");
        }
    }

    #[test]
    fn a_method_ocsf_does_not_know_is_data() {
        for (method, known) in [("GET", true), ("get", false), ("PROPFIND", false)] {
            let touch = TouchRow {
                method,
                ..TouchRow::default()
            };
            let batch = touches(touch, TouchModel::default());
            let alert = raised(&finding(&[("identity", "mallory")]), &batch);
            let sample = &alert["evidences"][0];
            assert_eq!(sample["data"]["method"], method);
            let http = sample["http_request"].get("http_method");
            assert_eq!(http.is_some(), known, "{method}");
        }
    }

    #[test]
    fn nothing_hidden_or_reordered_reaches_an_alert() {
        let touch = TouchRow {
            path: "/a\u{202e}b\u{200b}c\u{2066}d\u{7}",
            method: "G\u{202e}ET",
            ..TouchRow::default()
        };
        let batch = touches(touch, TouchModel::default());
        let alert = raised(&finding(&[("identity", "m\u{202e}allory")]), &batch).to_string();
        let alert: Value = serde_json::from_str(&alert).unwrap();
        let path = alert["evidences"][0]["url"]["path"].as_str().unwrap();
        assert_eq!(path, "/a b c d ");
        assert_eq!(alert["finding_info"]["desc"], "folded");
        assert!(!alert.to_string().contains(is_unprintable));
    }

    #[test]
    fn a_window_began_with_its_first_sample_and_says_what_held() {
        let mut found = finding(&[("identity", "mallory"), ("objects", "151")]);
        let sample = |time_ms| Evidence {
            time_ms,
            ..Evidence::default()
        };
        (found.row, found.window) = (usize::MAX, Some((0, 300_000)));
        found.evidence = vec![sample(4_000), sample(10_000)];
        let alert = raised(&found, &RecordBatch::new_empty(schema::touches_table()));
        assert_eq!(alert["finding_info"]["first_seen_time"], 4_000);
        assert_eq!(
            alert["unmapped"]["tollwatch"]["detection_latency_ms"],
            6_000
        );
        assert!(reasons(&alert).contains("held in 300 s: objects 151"));
    }

    #[test]
    fn a_finding_about_an_endpoint_has_a_reason() {
        let batch = touches(TouchRow::default(), TouchModel::default());
        let alert = raised(&finding(&[("host", "api.x")]), &batch);
        assert_eq!(
            reasons(&alert),
            r#"["the rule's condition held on one call: host api.x"]"#
        );
        assert!(alert.get("actor").is_none());
    }
}
