//! Alerts: findings after deduplication, as OCSF 1.8.0 Detection Findings (class 2004).
//!
//! One case a rule and key, or, where a rule is keyed by identity, one case an identity and tactic
//! (its `owasp.` tag), for as long as the rule's `suppress.for` says (a day of event time when it
//! says nothing). A case is created once and updated on tenfold growth, on a new endpoint or when
//! another rule joins it; all else is counted. Ids are a hash of the case, so the same log gives the
//! same bytes. `cases_max` cases are kept, the least recently used forgotten: a forgotten case is
//! created again.

use std::net::IpAddr;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use datafusion::scalar::ScalarValue;
use models::generations::Generations;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::config::ModelConfig;
use crate::rule::{Evidence, Finding, Rule, Status, evidence_at};

/// How long a case stays open when its rule says nothing, in milliseconds of event time.
const CASE_MS: i64 = 86_400_000;
/// Endpoints of one case that are told; further ones are no news.
const ENDPOINTS_MAX: usize = 8;
/// Longest text of a caller's choosing in an alert, in characters.
const TEXT_MAX: usize = 512;

/// One alert, ready for the results topic.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Key of the record: the identity, or what the case is about.
    pub key: String,
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
}

#[derive(Debug, Default)]
struct Case {
    started_ms: Option<i64>,
    n_findings: u64,
    n_told: u64,
    rules: Vec<u64>,
    endpoints: Vec<u64>,
}

/// Turns findings into alerts, for one lane.
#[derive(Debug)]
pub struct Alerter {
    cases: Generations<u64, Case>,
    false_alerts_per_million_events: f64,
}

impl Alerter {
    /// An alerter without cases.
    pub fn new(config: &ModelConfig) -> Self {
        Self {
            cases: Generations::new(config.cases_max),
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
            let (key, about) = case_key(finding, &trigger);
            let Some((activity_id, case)) = self.admit(key, finding, &trigger) else {
                continue;
            };
            let mut evidence = row.map(&mut samples).unwrap_or_default();
            if evidence.is_empty() {
                evidence.clone_from(&finding.evidence);
            }
            if evidence.last() != Some(&trigger) {
                evidence.push(trigger.clone());
            }
            let uid = format!(
                "{:032x}",
                xxh3_128(format!("{key:016x}:{}", case.0).as_bytes())
            );
            let numbers = row.map(|row| Numbers::of(batch, row)).unwrap_or_default();
            let promise = self.false_alerts_per_million_events;
            let told = Told {
                uid,
                activity_id,
                n_findings: case.1,
                promise,
            };
            alerts.push(alert(finding, &trigger, &evidence, about, &told, &numbers));
        }
    }

    /// Decides whether a finding is told; the case's start and count come back.
    fn admit(
        &mut self,
        key: u64,
        finding: &Finding,
        trigger: &Evidence,
    ) -> Option<(u8, (i64, u64))> {
        let window_ms = finding
            .rule
            .header
            .suppress
            .as_ref()
            .map_or(CASE_MS, |s| s.span.ms);
        let case = self.cases.entry(key);
        let open = case
            .started_ms
            .is_some_and(|start| finding.time_ms - start < window_ms);
        if !open {
            *case = Case {
                started_ms: Some(finding.time_ms),
                ..Case::default()
            };
        }
        case.n_findings += 1;
        let joins = note(
            &mut case.rules,
            xxh3_64(finding.rule.header.name.as_bytes()),
        );
        let spreads = note(&mut case.endpoints, xxh3_64(trigger.endpoint.as_bytes()));
        let grows = case.n_findings >= case.n_told * 10;
        if open && !joins && !spreads && !grows {
            return None;
        }
        if open && !updates(&finding.rule) {
            return None;
        }
        case.n_told = case.n_findings;
        let start = case.started_ms.unwrap_or(finding.time_ms);
        Some((if open { 2 } else { 1 }, (start, case.n_findings)))
    }
}

fn updates(rule: &Rule) -> bool {
    rule.header
        .suppress
        .as_ref()
        .is_none_or(|suppress| suppress.update)
}

/// Adds a value to a short list; true when it is new and there is room.
fn note(list: &mut Vec<u64>, value: u64) -> bool {
    let new = !list.contains(&value) && list.len() < ENDPOINTS_MAX;
    if new {
        list.push(value);
    }
    new
}

/// What a case is about: its hash, and the key of the alert's record.
fn case_key(finding: &Finding, trigger: &Evidence) -> (u64, String) {
    let header = &finding.rule.header;
    let by: Vec<&str> = match &header.suppress {
        Some(suppress) => suppress.by.iter().map(String::as_str).collect(),
        None if finding.value("identity").is_some() => vec!["identity"],
        None => vec!["endpoint"],
    };
    let value = |column: &str| match finding.value(column) {
        Some(value) => value.to_string(),
        None if column == "identity" => trigger.identity.clone(),
        None => trigger.endpoint.clone(),
    };
    let about = by
        .iter()
        .map(|column| value(column))
        .collect::<Vec<_>>()
        .join(" ");
    let tactic = header.tags.iter().find(|tag| tag.starts_with("owasp."));
    let scope = match tactic {
        Some(tactic) if by == ["identity"] => tactic,
        _ => &header.name,
    };
    (xxh3_64(format!("{scope}\0{about}").as_bytes()), about)
}

/// The models' numbers of the triggering row, where its table has them.
#[derive(Debug, Default)]
struct Numbers {
    values: Map<String, Value>,
    reasons: Vec<String>,
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
        let mut numbers = Numbers::default();
        const KEPT: [&str; 18] = [
            "evidence",
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
        if let Some(classes) = text("probe_classes") {
            numbers
                .reasons
                .push(format!("{} distinct probes: {classes}", get("probe_count")));
        }
        numbers
    }
}

struct Told {
    uid: String,
    activity_id: u8,
    n_findings: u64,
    promise: f64,
}

fn alert(
    finding: &Finding,
    trigger: &Evidence,
    evidence: &[Evidence],
    about: String,
    told: &Told,
    numbers: &Numbers,
) -> Alert {
    let header = &finding.rule.header;
    let title = clean(&finding.rule.title(&finding.values));
    let identity = finding
        .value("identity")
        .map(|value| clean(&value.to_string()));
    let endpoint = finding.value("endpoint").map(ToString::to_string);
    let endpoint = endpoint.unwrap_or_else(|| trigger.endpoint.clone());
    let first_ms = numbers
        .first_ms
        .or(finding.window.map(|window| window.0))
        .or(evidence.first().map(|sample| sample.time_ms))
        .unwrap_or(finding.time_ms)
        .min(finding.time_ms);
    let severity_id = header.severity as u8 + 1;
    let mut reasons = numbers.reasons.clone();
    if let Some(evidence) = numbers.values.get("evidence").and_then(Value::as_f64) {
        let alarm = 1e6 / told.promise;
        reasons.push(format!(
            "evidence {evidence:.3e} reached {alarm:.3e}: {} false alerts promised per million events",
            told.promise
        ));
    }
    let columns: Map<String, Value> = finding
        .values
        .iter()
        .map(|(name, value)| (name.clone(), json_of(value)))
        .collect();
    let mut tollwatch = json!({
        "position": position(trigger),
        "rule_hash": format!("{:016x}", finding.rule.hash),
        "rule_version": header.version,
        "n_findings": told.n_findings,
        "detection_latency_ms": finding.time_ms - first_ms,
        "reasons": reasons,
        "columns": columns,
        "models": numbers.values,
        "tags": header.tags,
        "compliance": header.compliance,
    });
    if let Some((start_ms, end_ms)) = finding.window {
        tollwatch["window"] = json!({ "start": start_ms, "end": end_ms });
    }
    let mut ocsf = json!({
        "activity_id": told.activity_id,
        "activity_name": if told.activity_id == 1 { "Create" } else { "Update" },
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200_400 + i64::from(told.activity_id),
        "time": finding.time_ms,
        "severity_id": severity_id,
        "status_id": 1,
        "is_alert": true,
        "message": title,
        "metadata": {
            "version": "1.8.0",
            "uid": format!("{}-{}", told.uid, told.n_findings),
            "product": { "name": "tollwatch", "vendor_name": "tollwatch", "version": env!("CARGO_PKG_VERSION") },
        },
        "finding_info": {
            "uid": told.uid,
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
    Alert {
        about_identity: identity.is_some(),
        key: identity.unwrap_or(about),
        rule: header.name.clone(),
        activity_id: told.activity_id,
        json: ocsf.to_string(),
        title,
        severity_id,
        time_ms: finding.time_ms,
        position: (trigger.topic.clone(), trigger.partition, trigger.offset),
        read_at_ms: 0,
    }
}

/// Source position: `{file, line}` for a file, `{topic, partition, offset}` for a topic.
fn position(sample: &Evidence) -> Value {
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

fn sample(sample: &Evidence) -> Value {
    let mut value = json!({
        "api": { "operation": clean(&sample.endpoint) },
        "url": { "path": clean(&sample.path) },
        "http_request": { "http_method": clean(&sample.method) },
        "data": { "time": sample.time_ms, "position": position(sample) },
    });
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
    }
    if !sample.identity.is_empty() {
        value["actor"] = json!({ "user": { "uid": clean(&sample.identity) } });
    }
    value
}

/// Text of a caller's choosing without control characters, and not too long.
fn clean(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn json_of(value: &ScalarValue) -> Value {
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
        other => json!(clean(&other.to_string())),
    }
}
