//! A record of the inventory as the world reads it: JSON in the inventory topic, in files and in reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::compare::Deviation;
use super::fact;
use super::few::{Few, OTHER};
use super::hint::hints;
use super::histogram::Log2Histogram;
use super::summary::{Standing, Summary, bit};
use crate::endpoint::{SegmentKind, segment_kind};

/// Version of the record.
pub(super) const SCHEMA: &str = "inventory/v1";

/// One endpoint, or what was asked for of a host and is not there.
///
/// Fields that a reader does not find have their default: a record of an older version stays readable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// [`SCHEMA`].
    pub schema: String,
    /// `endpoint` or `unknown_paths`.
    pub kind: String,
    /// Key of the record: `METHOD host /template`.
    pub key: String,
    /// Method; `*` of unknown paths.
    pub method: String,
    /// Host; `-` when the log names none, `*` of unknown paths on hosts that have no endpoint.
    pub host: String,
    /// Template of the path.
    pub template: String,
    /// Version in the path: `v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `answered`, `refused` or `missing`.
    pub standing: String,
    /// First call, ms.
    pub first_seen_ms: i64,
    /// Last call, ms.
    pub last_seen_ms: i64,
    /// When the stream's clock stood there, ms, the endpoint came into the inventory.
    pub discovered_ms: i64,
    /// From the first call that showed it to then, ms of the stream's clock.
    pub time_to_discovery_ms: i64,
    /// Calls.
    pub calls: u64,
    /// Calls a minute between the first and the last; none within one minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_minute: Option<f64>,
    /// Calls by status; `none` where the log has no status.
    pub statuses: BTreeMap<String, u64>,
    /// Calls of callers the gateway knew.
    pub authenticated: u64,
    /// Calls of others.
    pub anonymous: u64,
    /// Those of them that were answered with success.
    pub anonymous_answered: u64,
    /// How callers proved who they are.
    pub auth_schemes: Vec<String>,
    /// Calls over TLS.
    pub tls: u64,
    /// Calls in plaintext; of the others the log does not say.
    pub plaintext: u64,
    /// Callers, about.
    pub identities: u64,
    /// Objects, about.
    pub objects: u64,
    /// Collections of the objects.
    pub collections: Vec<String>,
    /// What stands in the place of each variable of the template.
    pub ids: Vec<IdTypes>,
    /// Least and greatest number of an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<(i64, i64)>,
    /// Query parameters of calls that were not refused.
    pub parameters: Vec<Parameter>,
    /// Content types of requests.
    pub request_types: Vec<String>,
    /// Content types of answers.
    pub response_types: Vec<String>,
    /// Sizes of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<Spread>,
    /// Sizes of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_bytes: Option<Spread>,
    /// Durations, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Spread>,
    /// What names say of the data: hints.
    pub sensitive: Vec<String>,
    /// Services the gateway names.
    pub services: Vec<String>,
    /// Routes the gateway names.
    pub routes: Vec<String>,
    /// Calls that show a fact.
    pub facts: BTreeMap<String, u64>,
    /// Where the first calls stand.
    pub samples: Vec<Sample>,
    /// Lists that lack names, since there were more than are kept.
    pub cut: Vec<String>,
    /// Of unknown paths: how many, about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<u64>,
    /// Who answers for it, as its OpenAPI document says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether an OpenAPI document has it; none when it was held against none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documented: Option<bool>,
    /// In what it is not as its document says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<Deviation>,
}

/// What stands in the place of one variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdTypes {
    /// `integer`, `uuid`, ….
    pub types: Vec<String>,
    /// Whether who knows one value can guess another: `yes`, `partly`, `no` or `unknown`.
    pub guessable: String,
}

/// A query parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// Its name; `*` for all that are none.
    pub name: String,
    /// Calls with it.
    pub calls: u64,
    /// `integer`, `word`, …; empty when it never had a value.
    pub types: Vec<String>,
}

/// How values are spread; each is at most a quarter too large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    /// Median.
    pub p50: u64,
    /// 95 in 100 are not above.
    pub p95: u64,
    /// Greatest.
    pub max: u64,
}

/// A call as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Topic or file.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset, or line from 1.
    pub offset: i64,
    /// Call within the record.
    pub row: i32,
    /// Time, ms.
    pub time_ms: i64,
    /// Status; 0 when there was none.
    pub status: u16,
}

/// Kinds of values: name, JSON type, format, and whether who knows one can guess another.
pub(super) const KINDS: [(SegmentKind, &str, &str, Option<&str>, &str); 10] = [
    (SegmentKind::Word, "word", "string", None, "yes"),
    (SegmentKind::Version, "version", "string", None, "yes"),
    (SegmentKind::Int, "integer", "integer", None, "yes"),
    (SegmentKind::Uuid, "uuid", "string", Some("uuid"), "no"),
    // Both begin with the time they were made at.
    (SegmentKind::Ulid, "ulid", "string", None, "partly"),
    (SegmentKind::ObjectId, "object_id", "string", None, "partly"),
    (SegmentKind::Hex, "hex", "string", None, "unknown"),
    (
        SegmentKind::Email,
        "email",
        "string",
        Some("email"),
        "partly",
    ),
    (SegmentKind::Date, "date", "string", None, "yes"),
    (SegmentKind::Mixed, "mixed", "string", None, "unknown"),
];

/// Names of the kinds whose bits are set.
fn types(kinds: u16) -> Vec<String> {
    let set = KINDS.iter().filter(|(kind, ..)| kinds & bit(*kind) != 0);
    set.map(|(_, name, ..)| (*name).to_owned()).collect()
}

/// The weakest of the kinds decides.
fn guessable(kinds: u16) -> &'static str {
    let set = KINDS.iter().filter(|(kind, ..)| kinds & bit(*kind) != 0);
    let said: Vec<&str> = set.map(|(.., guessable)| *guessable).collect();
    let order = ["yes", "partly", "unknown", "no"];
    order
        .into_iter()
        .find(|word| said.contains(word))
        .unwrap_or("unknown")
}

fn names(few: &Few) -> Vec<String> {
    few.names()
        .iter()
        .map(|named| named.name.to_string())
        .collect()
}

fn spread(histogram: &Log2Histogram) -> Option<Spread> {
    Some(Spread {
        p50: histogram.quantile(0.5)?,
        p95: histogram.quantile(0.95)?,
        max: histogram.quantile(1.0)?,
    })
}

impl Entry {
    /// The record of an endpoint.
    ///
    /// * `name`: `METHOD host /template`.
    /// * `discovered_ms`: the stream's clock when it came into the inventory.
    pub fn of(name: &str, summary: &Summary, discovered_ms: i64) -> Entry {
        let (method, rest) = name.split_once(' ').unwrap_or(("-", name));
        let (host, template) = rest.split_once(' ').unwrap_or((rest, "/"));
        let version = template
            .split('/')
            .find(|segment| segment_kind(segment) == SegmentKind::Version);
        let standing = match summary.standing() {
            Standing::Missing => "missing",
            Standing::Refused => "refused",
            Standing::Answered => "answered",
        };
        let shown_ms = summary.first_shown_ms.unwrap_or(summary.first_ms);
        let minutes = (summary.last_ms.saturating_sub(summary.first_ms)) as f64 / 60_000.0;
        let parameters = summary.parameters.names().iter().map(|named| Parameter {
            name: named.name.to_string(),
            calls: named.n,
            types: types(named.kinds),
        });
        let ids = summary.variables.iter().map(|kinds| IdTypes {
            types: types(*kinds),
            guessable: guessable(*kinds).to_owned(),
        });
        let status = |status: u16| match status {
            0 => "none".to_owned(),
            status => status.to_string(),
        };
        let samples = summary.places.iter().map(|place| Sample {
            topic: place.topic.to_string(),
            partition: place.partition,
            offset: place.offset,
            row: place.row,
            time_ms: place.at_ms,
            status: place.status,
        });
        let lists = [
            ("auth_schemes", &summary.auth_schemes),
            ("collections", &summary.collections),
            ("parameters", &summary.parameters),
            ("request_types", &summary.request_types),
            ("response_types", &summary.response_types),
            ("services", &summary.services),
            ("routes", &summary.routes),
        ];
        let cut = lists.into_iter().filter(|(_, few)| few.is_cut());
        let hinting = summary
            .parameters
            .names()
            .iter()
            .chain(summary.collections.names());
        let hinting = hinting.map(|named| &*named.name).chain([template]);
        Entry {
            schema: SCHEMA.to_owned(),
            kind: "endpoint".to_owned(),
            key: name.to_owned(),
            method: method.to_owned(),
            host: host.to_owned(),
            template: template.to_owned(),
            version: version.map(str::to_owned),
            standing: standing.to_owned(),
            first_seen_ms: summary.first_ms,
            last_seen_ms: summary.last_ms,
            discovered_ms,
            time_to_discovery_ms: discovered_ms.saturating_sub(shown_ms).max(0),
            calls: summary.n_calls,
            calls_per_minute: (minutes >= 1.0)
                .then(|| (summary.n_calls as f64 / minutes * 1000.0).round() / 1000.0),
            statuses: summary
                .statuses
                .iter()
                .map(|(code, n)| (status(*code), *n))
                .collect(),
            authenticated: summary.n_authenticated,
            anonymous: summary.n_calls.saturating_sub(summary.n_authenticated),
            anonymous_answered: summary.n_anonymous_answered,
            auth_schemes: names(&summary.auth_schemes),
            tls: summary.n_secure,
            plaintext: summary.n_plaintext,
            identities: summary.identities.estimate(),
            objects: summary.objects.estimate(),
            collections: names(&summary.collections),
            ids: ids.collect(),
            numbers: summary.numbers,
            parameters: parameters.collect(),
            request_types: names(&summary.request_types),
            response_types: names(&summary.response_types),
            request_bytes: spread(&summary.request_bytes),
            response_bytes: spread(&summary.response_bytes),
            latency_us: spread(&summary.latency_us),
            sensitive: hints(hinting.filter(|name| *name != OTHER)),
            services: names(&summary.services),
            routes: names(&summary.routes),
            facts: summary
                .facts
                .iter()
                .map(|(bit, n)| (fact::name(*bit), *n))
                .collect(),
            samples: samples.collect(),
            cut: cut.map(|(name, _)| name.to_owned()).collect(),
            ..Entry::default()
        }
    }

    /// True for an endpoint that was answered with success: what surely is there.
    pub fn is_answered(&self) -> bool {
        self.kind == "endpoint" && self.standing == "answered"
    }

    /// True for a method that changes something.
    pub fn is_write(&self) -> bool {
        ["POST", "PUT", "PATCH", "DELETE"].contains(&self.method.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Call, CallObject};

    #[test]
    fn a_record_says_what_its_calls_were() {
        let mut summary = Summary::default();
        for i in 0..90_u64 {
            let path = format!("/v2/cards/{}", 100 + i);
            let call = Call {
                at_ms: 1000 * i as i64,
                identity: i % 3,
                is_authenticated: i % 3 != 0,
                is_secure: Some(true),
                status: Some([200, 200, 403][(i % 3) as usize]),
                response_bytes: Some(500),
                template: "/v2/cards/{id}",
                path: &path,
                query: Some("expand=owner&page=2"),
                place: ("logs", 1, i as i64, 0),
                ..Call::default()
            };
            let object = CallObject {
                collection: "card",
                hash: i,
                number: Some(100 + i as i64),
            };
            summary.add(&call, std::iter::once(object));
        }
        let entry = Entry::of("GET api.example /v2/cards/{id}", &summary, 2500);
        assert_eq!(
            (entry.method.as_str(), entry.host.as_str()),
            ("GET", "api.example")
        );
        assert_eq!(entry.version.as_deref(), Some("v2"));
        assert_eq!(entry.standing, "answered");
        assert_eq!(
            (entry.calls, entry.authenticated, entry.anonymous_answered),
            (90, 60, 30)
        );
        assert_eq!(entry.ids[0].types, ["integer"]);
        assert_eq!(entry.ids[0].guessable, "yes");
        assert_eq!(entry.numbers, Some((100, 189)));
        assert_eq!(entry.identities, 3);
        assert_eq!(entry.sensitive, ["payment"]);
        assert_eq!(entry.time_to_discovery_ms, 2500);
        assert_eq!(entry.samples.len(), 3);
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
    }
}
