//! The inventory's records, ready for their topic.
//!
//! The topic is compacted: of each key the last record counts, and a record is the whole entry as one line of JSON. The key of an
//! endpoint ([`models::inventory::Entry`]) is its name; findings, agents, servers and tools have their schema in front of it.

mod agents;
mod compliance;

pub use agents::{AGENT, SERVER, TOOL};
use models::compliance::{CAVEAT, find};
use models::inventory::Told;
use models::posture;
use serde_json::{Value, json};

/// Schema of the records that are findings; their keys begin with it.
pub const FINDING: &str = "posture/v1";

/// One record of the inventory topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Key of the record: the endpoint.
    pub key: String,
    /// The entry, one line.
    pub json: String,
    /// True when the endpoint came into the inventory with it.
    pub is_new: bool,
    /// What it is about: `endpoint`, `unknown_paths`, `finding`, `agent`, `mcp_server` or `mcp_tool`.
    pub kind: &'static str,
    /// From the first call that showed it to this, ms of the stream's clock.
    pub discovery_ms: i64,
    /// Wall time at which the source record was read that made it news, ms; 0 when unknown.
    pub read_at_ms: i64,
    /// Of a finding: what is told of it to systems that take OCSF.
    pub finding: Option<Box<OcsfFinding>>,
}

/// A finding as a record of the findings topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcsfFinding {
    /// Key of the record: the finding's name, whatever becomes of it.
    pub key: String,
    /// OCSF Compliance Finding (class 2003), one line.
    pub json: String,
}

impl From<&Told> for Record {
    fn from(told: &Told) -> Record {
        let entry = &told.entry;
        Record {
            key: entry.key.clone(),
            // An entry has text keys and finite numbers, which always have a JSON form.
            json: serde_json::to_string(entry).unwrap_or_default(),
            is_new: told.is_new,
            kind: match entry.kind == "endpoint" {
                true => "endpoint",
                false => "unknown_paths",
            },
            discovery_ms: entry.time_to_discovery_ms,
            read_at_ms: 0,
            finding: None,
        }
    }
}

impl From<&posture::Told> for Record {
    fn from(told: &posture::Told) -> Record {
        Record {
            key: format!("{FINDING}/{}", told.finding.uid),
            json: finding(told).to_string(),
            is_new: false,
            kind: "finding",
            discovery_ms: 0,
            read_at_ms: 0,
            finding: Some(Box::new(OcsfFinding {
                key: told.finding.uid.clone(),
                json: compliance::finding(told).to_string(),
            })),
        }
    }
}

/// A finding as the world reads it.
pub(crate) fn finding(told: &posture::Told) -> Value {
    let posture::Finding {
        uid,
        check: _,
        subject,
        life,
        n_identities,
        samples,
        owner,
    } = &told.finding;
    let check = told.check;
    let (window, (low, high)) = (life.window(), life.rate());
    let (contrary, contrary_needed) = life.contrary();
    let samples: Vec<Value> = samples
        .iter()
        .map(|sample| {
            json!({
                "at_ms": sample.at_ms, "topic": sample.topic, "partition": sample.partition,
                "offset": sample.offset, "row": sample.row, "call": sample.call, "identity": sample.identity,
            })
        })
        .collect();
    let standards: serde_json::Map<String, Value> = find(check.finding)
        .into_iter()
        .flat_map(|standards| standards.by_framework())
        .map(|(framework, ids)| (framework.to_owned(), json!(ids)))
        .collect();
    json!({
        "schema": FINDING, "kind": "finding", "uid": uid,
        "check": check.id, "title": check.title, "severity": check.severity.as_str(),
        "scope": check.scope.as_str(), "subject": subject, "phase": life.phase.as_str(),
        "change": told.change.as_str(), "at_ms": told.at_ms,
        "first_ms": life.first_ms, "last_ms": life.last_ms, "changed_ms": life.changed_ms, "regressed": life.n_regressed,
        "bad": window.bad, "of": window.of, "rate_low": low, "rate_high": high,
        "contrary": contrary, "contrary_needed": contrary_needed,
        "identities": n_identities, "samples": samples, "owner": owner,
        "remedy": check.remedy, "standards": standards, "caveat": CAVEAT,
    })
}
