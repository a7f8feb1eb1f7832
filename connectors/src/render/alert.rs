//! An alert, or a finding of posture, as the renderings see it.
//!
//! | field | in the record |
//! |---|---|
//! | `is_posture` | `class_uid`: 2003 of a finding of posture, 2004 of an alert |
//! | `uid`, `case_uid` | `metadata.uid` (the id to deduplicate by), `finding_info.uid` |
//! | `activity`, `time_ms`, `severity_id` | `activity_id`, `time`, `severity_id` |
//! | `title`, `description`, `first_ms`, `last_ms` | `finding_info.{title, desc, first_seen_time, last_seen_time}` |
//! | `rule`, `rule_title`, `rule_version` | `finding_info.analytic.{uid, name, version}` |
//! | `identity` | `actor.user.uid` |
//! | `endpoint` | `resources[0].uid`: `METHOD host /template` |
//! | `call` | the call that made the alert: of `evidences[]` the one at `unmapped.tollwatch.position`, else the last |
//! | `owasp`, `cwe`, `techniques`, `tactics` | `unmapped.tollwatch.tags` |
//! | `reasons`, `compliance`, `n_findings` | `unmapped.tollwatch.*`; of a finding of posture `compliance.requirements` |
//! | `remediation`, `references` | `remediation.{desc, references}` |
//! | `product_version` | `metadata.product.version` |

use std::net::IpAddr;

use serde_json::Value;

use super::text::clean;
use crate::time::is_plausible;

/// Bytes of a text, and texts of a list, that are looked at. Beside them formats have limits of their own.
const TEXT_BYTES_MAX: usize = 4_096;
const TEXTS_MAX: usize = 32;

/// OCSF's severities, by `severity_id`; what has another is taken for the first.
pub const SEVERITIES: [&str; 6] = [
    "informational",
    "low",
    "medium",
    "high",
    "critical",
    "fatal",
];

/// MITRE ATT&CK tactics (enterprise, version 17): as tags name them, id, name.
const TACTICS: [(&str, &str, &str); 14] = [
    ("reconnaissance", "TA0043", "Reconnaissance"),
    ("resource-development", "TA0042", "Resource Development"),
    ("initial-access", "TA0001", "Initial Access"),
    ("execution", "TA0002", "Execution"),
    ("persistence", "TA0003", "Persistence"),
    ("privilege-escalation", "TA0004", "Privilege Escalation"),
    ("defense-evasion", "TA0005", "Defense Evasion"),
    ("credential-access", "TA0006", "Credential Access"),
    ("discovery", "TA0007", "Discovery"),
    ("lateral-movement", "TA0008", "Lateral Movement"),
    ("collection", "TA0009", "Collection"),
    ("command-and-control", "TA0011", "Command and Control"),
    ("exfiltration", "TA0010", "Exfiltration"),
    ("impact", "TA0040", "Impact"),
];

/// Why a record is no alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but neither an OCSF Detection Finding nor a Compliance Finding.
    #[error("no OCSF Detection or Compliance Finding: {0} is missing or wrong")]
    NotAFinding(&'static str),
}

/// Where it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// All of it: `METHOD host /template`.
    pub uid: String,
    /// The method; empty when the endpoint is not named so.
    pub method: String,
    /// The host; empty when the gateway logs none.
    pub host: String,
}

/// The call that made the alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Who called.
    pub source_ip: Option<IpAddr>,
    /// Country of that address, two letters.
    pub country: Option<String>,
    /// Number of its network.
    pub asn: Option<u32>,
    /// The method, as it was sent.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// The status answered.
    pub status: Option<u16>,
    /// The user agent.
    pub user_agent: String,
}

/// One alert. No text has a control character, space around it, or more than 4096 bytes; no list more than 32 texts.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    missing_docs,
    reason = "the module's table says what each is and where it stands"
)]
pub struct Alert {
    /// The record as it is, on one line.
    pub line: String,
    /// The record.
    pub value: Value,
    pub is_posture: bool,
    pub uid: String,
    pub case_uid: String,
    pub activity: &'static str,
    pub time_ms: i64,
    pub first_ms: i64,
    pub last_ms: i64,
    /// 1 to 6, an index into [`SEVERITIES`] plus one.
    pub severity_id: u8,
    pub title: String,
    pub description: String,
    pub rule: String,
    pub rule_title: String,
    pub rule_version: String,
    pub identity: String,
    pub endpoint: Endpoint,
    pub call: Call,
    /// As `API1:2023`.
    pub owasp: Vec<String>,
    /// As `CWE-639`.
    pub cwe: Vec<String>,
    /// As `T1595.002`.
    pub techniques: Vec<String>,
    /// Id and name.
    pub tactics: Vec<(&'static str, &'static str)>,
    pub tags: Vec<String>,
    pub compliance: Vec<String>,
    pub reasons: Vec<String>,
    pub n_findings: u64,
    pub remediation: String,
    pub references: Vec<String>,
    pub product_version: String,
}

impl Alert {
    /// Reads a record of the alerts topic, or of the topic of findings.
    ///
    /// # Errors
    /// It is no OCSF Detection Finding and no Compliance Finding, or has no id, rule or time. Whatever else is missing is empty.
    pub fn parse(record: &[u8]) -> Result<Alert, RenderError> {
        let value: Value = serde_json::from_slice(record)
            .map_err(|error| RenderError::NotJson(error.to_string()))?;
        let missing = RenderError::NotAFinding;
        let is_posture = match value["class_uid"].as_u64() {
            Some(2003) => true,
            Some(2004) => false,
            _ => return Err(missing("class_uid")),
        };
        let activity = match value["activity_id"].as_u64() {
            Some(1) => "create",
            Some(2) => "update",
            Some(3) => "close",
            _ => return Err(missing("activity_id")),
        };
        let time_ms = value["time"].as_i64().filter(|ms| is_plausible(*ms));
        let time_ms = time_ms.ok_or(missing("time"))?;
        let required = |field: &Value, name| match text(field) {
            text if text.is_empty() => Err(missing(name)),
            text => Ok(text),
        };
        let (finding, tollwatch) = (&value["finding_info"], &value["unmapped"]["tollwatch"]);
        let seen = |field: &Value| field.as_i64().filter(|ms| is_plausible(*ms));
        let tags = texts(&tollwatch["tags"]);
        let severity_id = value["severity_id"].as_u64();
        let line = std::str::from_utf8(record).unwrap_or_default().trim();
        let alert = Alert {
            line: match line.contains(['\n', '\r']) {
                true => value.to_string(),
                false => line.to_owned(),
            },
            is_posture,
            uid: required(&value["metadata"]["uid"], "metadata.uid")?,
            case_uid: required(&finding["uid"], "finding_info.uid")?,
            activity,
            time_ms,
            first_ms: seen(&finding["first_seen_time"]).unwrap_or(time_ms),
            last_ms: seen(&finding["last_seen_time"]).unwrap_or(time_ms),
            severity_id: severity_id
                .and_then(|id| u8::try_from(id).ok())
                .filter(|id| (1..=SEVERITIES.len() as u8).contains(id))
                .unwrap_or(1),
            title: text(&finding["title"]),
            description: text(&finding["desc"]),
            rule: required(&finding["analytic"]["uid"], "finding_info.analytic.uid")?,
            rule_title: text(&finding["analytic"]["name"]),
            rule_version: text(&finding["analytic"]["version"]),
            identity: text(&value["actor"]["user"]["uid"]),
            endpoint: endpoint(&text(&value["resources"][0]["uid"])),
            call: call(&value["evidences"], &tollwatch["position"]),
            owasp: tagged(&tags, "owasp.", |tag| {
                tag.replacen('-', ":", 1).to_uppercase()
            }),
            cwe: tagged(&tags, "cwe.", |tag| format!("CWE-{tag}")),
            techniques: tagged(&tags, "attack.", str::to_uppercase)
                .into_iter()
                .filter(|tag| is_technique(tag))
                .collect(),
            tactics: tactics(&tags),
            compliance: texts(match is_posture {
                true => &value["compliance"]["requirements"],
                false => &tollwatch["compliance"],
            }),
            reasons: texts(&tollwatch["reasons"]),
            n_findings: tollwatch["n_findings"].as_u64().unwrap_or(1),
            remediation: text(&value["remediation"]["desc"]),
            references: texts(&value["remediation"]["references"]),
            product_version: text(&value["metadata"]["product"]["version"]),
            tags,
            value,
        };
        Ok(alert)
    }

    /// The severity's word.
    pub fn severity(&self) -> &'static str {
        SEVERITIES[usize::from(self.severity_id.clamp(1, SEVERITIES.len() as u8)) - 1]
    }

    /// The severity's word with a capital.
    pub(super) fn severity_title(&self) -> &'static str {
        const TITLES: [&str; SEVERITIES.len()] = [
            "Informational",
            "Low",
            "Medium",
            "High",
            "Critical",
            "Fatal",
        ];
        TITLES[usize::from(self.severity_id.clamp(1, SEVERITIES.len() as u8)) - 1]
    }

    /// What the rule is called, or its name when it has no title.
    pub(super) fn rule_title(&self) -> &str {
        match self.rule_title.as_str() {
            "" => &self.rule,
            title => title,
        }
    }

    /// The method of the call, else of the endpoint.
    pub(super) fn method(&self) -> &str {
        match self.call.method.as_str() {
            "" => &self.endpoint.method,
            method => method,
        }
    }
}

fn text(value: &Value) -> String {
    clean(value.as_str().unwrap_or_default(), TEXT_BYTES_MAX)
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().map_or(&[][..], Vec::as_slice);
    let texts = values.iter().take(TEXTS_MAX).map(text);
    texts.filter(|text| !text.is_empty()).collect()
}

fn tagged(tags: &[String], prefix: &str, name: impl Fn(&str) -> String) -> Vec<String> {
    let tags = tags.iter().filter_map(|tag| tag.strip_prefix(prefix));
    tags.map(name).collect()
}

/// `T` and four digits, and perhaps a sub-technique's three.
fn is_technique(tag: &str) -> bool {
    let is_number = |text: &str, n| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = tag.strip_prefix('T') else {
        return false;
    };
    match number.split_once('.') {
        None => is_number(number, 4),
        Some((technique, sub)) => is_number(technique, 4) && is_number(sub, 3),
    }
}

fn tactics(tags: &[String]) -> Vec<(&'static str, &'static str)> {
    let named = |tag: &String| {
        let name = tag.strip_prefix("attack.")?.replace('_', "-");
        let found = TACTICS.iter().find(|(known, _, _)| *known == name)?;
        Some((found.1, found.2))
    };
    tags.iter().filter_map(named).collect()
}

fn endpoint(uid: &str) -> Endpoint {
    let mut parts = uid.splitn(3, ' ');
    let (method, host, template) = (parts.next(), parts.next(), parts.next());
    let is_named = template.is_some_and(|template| template.starts_with('/'));
    let part = |part: Option<&str>| part.filter(|_| is_named).unwrap_or_default().to_owned();
    Endpoint {
        // So it is written of a whole host.
        method: part(method.filter(|method| *method != "*")),
        // So it is written where the gateway logs none.
        host: part(host.filter(|host| *host != "-")),
        uid: uid.to_owned(),
    }
}

fn call(evidences: &Value, position: &Value) -> Call {
    let all = evidences.as_array().map_or(&[][..], Vec::as_slice);
    let triggered = |sample: &&Value| sample["data"]["position"] == *position;
    let Some(sample) = all.iter().find(triggered).or(all.last()) else {
        return Call::default();
    };
    let status = sample["http_response"]["code"].as_u64();
    let source = &sample["src_endpoint"];
    let ip = source["ip"].as_str();
    let country = text(&source["location"]["country"]);
    let asn = source["autonomous_system"]["number"].as_u64();
    Call {
        source_ip: ip.and_then(|ip| ip.parse().ok()),
        country: (!country.is_empty()).then_some(country),
        asn: asn.and_then(|asn| u32::try_from(asn).ok()),
        method: text(&sample["data"]["method"]),
        path: text(&sample["url"]["path"]),
        status: status.and_then(|status| u16::try_from(status).ok()),
        user_agent: text(&sample["http_request"]["user_agent"]),
    }
}
