//! The inventory's records, ready for their topic.
//!
//! The topic is compacted and keyed by endpoint: of each key the last record counts, and a record is the whole entry
//! ([`models::inventory::Entry`]) as one line of JSON.

use models::compliance;
use models::inventory::Told;
use models::posture::{self, check};
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
    /// True for an endpoint, false for what is unknown.
    pub is_endpoint: bool,
    /// From the first call that showed the endpoint to this, ms of the stream's clock.
    pub discovery_ms: i64,
    /// Wall time at which the source record was read that made it news, ms; 0 when unknown.
    pub read_at_ms: i64,
}

impl From<&Told> for Record {
    fn from(told: &Told) -> Record {
        let entry = &told.entry;
        Record {
            key: entry.key.clone(),
            // An entry has text keys and finite numbers, which always have a JSON form.
            json: serde_json::to_string(entry).unwrap_or_default(),
            is_new: told.is_new,
            is_endpoint: entry.kind == "endpoint",
            discovery_ms: entry.time_to_discovery_ms,
            read_at_ms: 0,
        }
    }
}

impl From<&posture::Told> for Record {
    fn from(told: &posture::Told) -> Record {
        Record {
            key: format!("{FINDING}/{}", told.finding.uid),
            json: finding(told).to_string(),
            is_new: false,
            is_endpoint: false,
            discovery_ms: 0,
            read_at_ms: 0,
        }
    }
}

/// A finding as the world reads it.
pub(crate) fn finding(told: &posture::Told) -> Value {
    let posture::Finding {
        uid,
        check: number,
        subject,
        life,
        n_identities,
        samples,
        owner,
    } = &told.finding;
    let check = check(*number);
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
    let standards: serde_json::Map<String, Value> = compliance::find(check.finding)
        .into_iter()
        .flat_map(|standards| standards.by_framework())
        .map(|(framework, ids)| (framework.to_owned(), json!(ids)))
        .collect();
    json!({
        "schema": FINDING, "kind": "finding", "uid": uid,
        "check": check.id, "title": check.title, "severity": check.severity.as_str(),
        "scope": check.scope.as_str(), "subject": subject, "phase": life.phase.as_str(),
        "change": told.change.as_str(), "at_ms": told.at_ms,
        "first_ms": life.first_ms, "last_ms": life.last_ms, "regressed": life.n_regressed,
        "bad": window.bad, "of": window.of, "rate_low": low, "rate_high": high,
        "contrary": contrary, "contrary_needed": contrary_needed,
        "identities": n_identities, "samples": samples, "owner": owner,
        "remedy": check.remedy, "standards": standards, "caveat": compliance::CAVEAT,
    })
}
