//! The inventory's records, ready for their topic.
//!
//! The topic is compacted and keyed by endpoint: of each key the last record counts, and a record is the whole entry
//! ([`models::inventory::Entry`]) as one line of JSON.

use models::inventory::Told;

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
