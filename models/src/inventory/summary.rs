//! What some calls of one endpoint come to.

use serde::{Deserialize, Serialize};

use super::distinct::Distinct;
use super::few::{Few, OTHER};
use super::histogram::Log2Histogram;
use crate::endpoint::{SegmentKind, decode_query, segment_kind};

/// Query parameters kept. Documented operations have 3 on average, and 99 in 100 fewer than 24.
pub(super) const PARAMETERS_MAX: usize = 32;
/// Names kept of everything else: content types, schemes, collections, services, routes.
pub(super) const NAMES_MAX: usize = 8;
/// Statuses kept apart.
const STATUSES_MAX: usize = 40;
/// Variables of a template that are looked at.
const VARIABLES_MAX: usize = 8;
/// Parameters of one query that are looked at; what stands behind is not.
const QUERY_PARAMETERS_MAX: usize = 64;
/// Places of calls kept as evidence: the earliest.
const PLACES_MAX: usize = 3;
/// Calls of a summary whose values are looked at closely; of more calls only names that are new are.
const LOOKED_AT_MAX: u64 = 16;
/// Callers that make an endpoint that only ever said "not found" worth a record: that many don't guess one path by chance.
const MISSING_CALLERS: u64 = 20;

/// Where a call stands in the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Time of the call, ms.
    pub at_ms: i64,
    /// Topic or file.
    pub topic: Box<str>,
    /// Partition; 0 for a file.
    pub partition: i32,
    /// Offset, or line.
    pub offset: i64,
    /// Call within the record.
    pub row: i32,
    /// Status of the answer; 0 when there was none.
    pub status: u16,
}

/// An object a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallObject<'a> {
    /// Its collection.
    pub collection: &'a str,
    /// Its hash.
    pub hash: u64,
    /// Its number, when it has one.
    pub number: Option<i64>,
}

/// One call, as far as the inventory wants to know it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// Time of the call, ms.
    pub at_ms: i64,
    /// Hash of the caller.
    pub identity: u64,
    /// True when the gateway knew who called.
    pub is_authenticated: bool,
    /// How the caller proved it.
    pub auth_scheme: Option<&'a str>,
    /// True for TLS, false for plaintext; none when the log does not say.
    pub is_secure: Option<bool>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Size of the request.
    pub request_bytes: Option<u64>,
    /// Size of the answer.
    pub response_bytes: Option<u64>,
    /// Duration.
    pub latency_us: Option<u64>,
    /// Template of the endpoint, without method and host.
    pub template: &'a str,
    /// Path as sent.
    pub path: &'a str,
    /// Query as sent.
    pub query: Option<&'a str>,
    /// Content type of the request.
    pub request_type: Option<&'a str>,
    /// Content type of the answer.
    pub response_type: Option<&'a str>,
    /// Service the gateway names.
    pub service: Option<&'a str>,
    /// Route the gateway names.
    pub route: Option<&'a str>,
    /// Bits of [`super::fact`].
    pub facts: u64,
    /// Topic or file of the record, its partition, its offset, and the call within it.
    pub place: (&'a str, i32, i64, i32),
}

/// How sure it is that an endpoint is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Every answer was that there is nothing there, or that the request is none.
    Missing,
    /// No answer was a success, and one was more than that: 401, 403, a redirect, a failure. A gateway may say so of any path.
    Refused,
    /// It was answered with success.
    Answered,
}

impl Standing {
    /// What one status says.
    fn of(status: u16) -> Standing {
        match status {
            200..=299 | 304 => Standing::Answered,
            400 | 404 | 410 | 414 | 421 | 501 => Standing::Missing,
            _ => Standing::Refused,
        }
    }
}

/// What some calls of one endpoint come to. In 8 KiB at most, whatever was called.
///
/// `merge` is associative and commutative; see [`Few`] for names beyond their bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Calls.
    pub n_calls: u64,
    /// Calls of a caller the gateway knew.
    pub n_authenticated: u64,
    /// Calls of nobody it knew that were answered with success.
    pub n_anonymous_answered: u64,
    /// Calls over TLS.
    pub n_secure: u64,
    /// Calls in plaintext.
    pub n_plaintext: u64,
    /// First call, ms.
    pub first_ms: i64,
    /// Last call, ms.
    pub last_ms: i64,
    /// First call that showed that there is something, ms.
    pub first_shown_ms: Option<i64>,
    /// Calls by status, by status; 0 where there was none.
    pub statuses: Vec<(u16, u64)>,
    /// How callers proved who they are.
    pub auth_schemes: Few,
    /// Callers.
    pub identities: Distinct,
    /// Objects.
    pub objects: Distinct,
    /// Collections of the objects.
    pub collections: Few,
    /// Least and greatest number of an object.
    pub numbers: Option<(i64, i64)>,
    /// What the values of each variable of the template looked like, as bits of [`SegmentKind`].
    pub variables: Vec<u16>,
    /// Query parameters of calls that were not refused.
    pub parameters: Few,
    /// Content types of requests.
    pub request_types: Few,
    /// Content types of answers.
    pub response_types: Few,
    /// Services the gateway named.
    pub services: Few,
    /// Routes the gateway named.
    pub routes: Few,
    /// Sizes of requests.
    pub request_bytes: Log2Histogram,
    /// Sizes of answers.
    pub response_bytes: Log2Histogram,
    /// Durations, in microseconds.
    pub latency_us: Log2Histogram,
    /// Calls that show a fact, by its bit.
    pub facts: Vec<(u8, u64)>,
    /// Where the first calls stand.
    pub places: Vec<Place>,
}

impl Summary {
    /// Bytes it points to at most: the two sets, 32 + 7 * 8 names of 64 bytes, three histograms, statuses, places.
    pub const BYTES_MAX: usize = 2 * Distinct::BYTES_MAX + (32 + 7 * 8) * 160 + 3 * 252 * 16 + 4096;

    /// Adds a call.
    pub fn add<'a>(&mut self, call: &Call<'_>, objects: impl Iterator<Item = CallObject<'a>>) {
        let status = call.status.unwrap_or(0);
        let standing = Standing::of(status);
        let looks = self.n_calls < LOOKED_AT_MAX;
        self.see(call.at_ms, call.at_ms);
        self.n_calls = self.n_calls.saturating_add(1);
        self.n_authenticated += u64::from(call.is_authenticated);
        self.n_anonymous_answered +=
            u64::from(!call.is_authenticated && standing == Standing::Answered);
        self.n_secure += u64::from(call.is_secure == Some(true));
        self.n_plaintext += u64::from(call.is_secure == Some(false));
        if standing != Standing::Missing {
            self.first_shown_ms = earlier(self.first_shown_ms, Some(call.at_ms));
        }
        count(&mut self.statuses, status, 1, STATUSES_MAX);
        self.identities.insert(call.identity);
        let at_ms = call.at_ms;
        for object in objects {
            self.objects.insert(object.hash);
            self.collections
                .note(object.collection, at_ms, NAMES_MAX, false, || 0);
            if let Some(number) = object.number {
                self.numbers = wider(self.numbers, Some((number, number)));
            }
        }
        for (few, name) in [
            (&mut self.auth_schemes, call.auth_scheme),
            (&mut self.request_types, call.request_type.map(media_type)),
            (&mut self.response_types, call.response_type.map(media_type)),
            (&mut self.services, call.service),
            (&mut self.routes, call.route),
        ] {
            if let Some(name) = name {
                few.note(name, at_ms, NAMES_MAX, false, || 0);
            }
        }
        for (histogram, value) in [
            (&mut self.request_bytes, call.request_bytes),
            (&mut self.response_bytes, call.response_bytes),
            (&mut self.latency_us, call.latency_us),
        ] {
            if let Some(value) = value {
                histogram.record(value);
            }
        }
        // A refused query says what its caller guessed, not what the API takes.
        if let Some(query) = call.query.filter(|_| status < 400) {
            self.add_query(query, at_ms, looks);
        }
        if looks {
            self.look_at(call.template, call.path);
        }
        let mut facts = call.facts;
        while facts != 0 {
            count(&mut self.facts, facts.trailing_zeros() as u8, 1, 64);
            facts &= facts - 1;
        }
        let is_news = self.places.len() < PLACES_MAX
            || self.places.last().is_some_and(|last| at_ms <= last.at_ms);
        if is_news {
            let (topic, partition, offset, row) = call.place;
            self.places.push(Place {
                at_ms,
                topic: topic.into(),
                partition,
                offset,
                row,
                status,
            });
            self.places.sort_unstable();
            self.places.truncate(PLACES_MAX);
        }
    }

    /// Adds what other calls of the endpoint come to.
    pub fn merge(&mut self, other: &Summary) {
        if other.n_calls == 0 {
            return;
        }
        self.see(other.first_ms, other.last_ms);
        for (own, more) in [
            (&mut self.n_calls, other.n_calls),
            (&mut self.n_authenticated, other.n_authenticated),
            (&mut self.n_anonymous_answered, other.n_anonymous_answered),
            (&mut self.n_secure, other.n_secure),
            (&mut self.n_plaintext, other.n_plaintext),
        ] {
            *own = own.saturating_add(more);
        }
        self.first_shown_ms = earlier(self.first_shown_ms, other.first_shown_ms);
        for (status, n) in &other.statuses {
            count(&mut self.statuses, *status, *n, STATUSES_MAX);
        }
        for (bit, n) in &other.facts {
            count(&mut self.facts, *bit, *n, 64);
        }
        self.identities.merge(&other.identities);
        self.objects.merge(&other.objects);
        self.numbers = wider(self.numbers, other.numbers);
        let n_variables = other.variables.len().min(VARIABLES_MAX);
        if self.variables.len() < n_variables {
            self.variables.resize(n_variables, 0);
        }
        for (own, more) in self.variables.iter_mut().zip(&other.variables) {
            *own |= more;
        }
        self.parameters.merge(&other.parameters, PARAMETERS_MAX);
        for (own, more) in [
            (&mut self.auth_schemes, &other.auth_schemes),
            (&mut self.collections, &other.collections),
            (&mut self.request_types, &other.request_types),
            (&mut self.response_types, &other.response_types),
            (&mut self.services, &other.services),
            (&mut self.routes, &other.routes),
        ] {
            own.merge(more, NAMES_MAX);
        }
        for (own, more) in [
            (&mut self.request_bytes, &other.request_bytes),
            (&mut self.response_bytes, &other.response_bytes),
            (&mut self.latency_us, &other.latency_us),
        ] {
            own.merge(more);
        }
        self.places.extend_from_slice(&other.places);
        self.places.sort_unstable();
        self.places.truncate(PLACES_MAX);
    }

    /// How sure it is that the endpoint is there.
    pub fn standing(&self) -> Standing {
        let statuses = self.statuses.iter();
        statuses
            .map(|(status, _)| Standing::of(*status))
            .max()
            .unwrap_or(Standing::Missing)
    }

    /// True when so many callers asked for what is not there that it is worth a record.
    pub(super) fn is_missed(&self) -> bool {
        MISSING_CALLERS <= self.identities.estimate()
    }

    fn see(&mut self, first_ms: i64, last_ms: i64) {
        (self.first_ms, self.last_ms) = match self.n_calls {
            0 => (first_ms, last_ms),
            _ => (first_ms.min(self.first_ms), last_ms.max(self.last_ms)),
        };
    }

    fn add_query(&mut self, query: &str, at_ms: i64, looks: bool) {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        for pair in pairs.take(QUERY_PARAMETERS_MAX) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded;
            let name = if self.parameters.has(name) {
                name
            } else {
                decoded = decode_query(name);
                if is_name(&decoded) { &*decoded } else { OTHER }
            };
            let kinds = || match value {
                "" => 0,
                value => bit(segment_kind(&decode_query(value))),
            };
            self.parameters
                .note(name, at_ms, PARAMETERS_MAX, looks, kinds);
        }
    }

    /// Notes what the values in the variables' places look like, where the path has as many segments as the template.
    fn look_at(&mut self, template: &str, path: &str) {
        let path = path.split(['?', '#', ';']).next().unwrap_or(path);
        let segments = |text| str::split(text, '/').filter(|segment| !segment.is_empty());
        if !template.contains('{') || segments(template).count() != segments(path).count() {
            return;
        }
        let variables = segments(template)
            .zip(segments(path))
            .filter(|(variable, _)| variable.contains("{id}"));
        for (at, (variable, value)) in variables.take(VARIABLES_MAX).enumerate() {
            // `{id}.json`: the suffix is no part of the value.
            let suffix = variable.rsplit_once('}').map_or("", |(_, suffix)| suffix);
            let value = value.strip_suffix(suffix).unwrap_or(value);
            if self.variables.len() <= at {
                self.variables.push(0);
            }
            self.variables[at] |= bit(segment_kind(&decode_query(value)));
        }
    }
}

/// The bit of a kind of value.
pub(super) fn bit(kind: SegmentKind) -> u16 {
    1 << kind as u16
}

/// What a parameter may be called; what else stands there may be a value, a secret or an attack.
fn is_name(name: &str) -> bool {
    let is_plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-.[]$:@~".contains(&b));
    let is_word = || {
        !matches!(
            segment_kind(name),
            SegmentKind::Int
                | SegmentKind::Uuid
                | SegmentKind::Ulid
                | SegmentKind::ObjectId
                | SegmentKind::Hex
                | SegmentKind::Email
                | SegmentKind::Date
        )
    };
    !name.is_empty() && is_plain && is_word()
}

/// `application/json; charset=utf-8`, without what stands behind.
fn media_type(text: &str) -> &str {
    text.split(';').next().unwrap_or(text).trim()
}

fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

fn wider(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

/// Counts a key among at most `max`; beyond it the greatest keys are dropped, whatever the order they came in.
fn count<K: Ord + Copy>(counts: &mut Vec<(K, u64)>, key: K, n: u64, max: usize) {
    match counts.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(at) => counts[at].1 = counts[at].1.saturating_add(n),
        Err(at) => {
            counts.insert(at, (key, n));
            counts.truncate(max);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a call of a test is drawn from.
    type Drawn = (i64, u64, u16, u8, bool);

    fn add(summary: &mut Summary, (at_ms, identity, status, shape, flag): Drawn) {
        let path = format!("/orders/{}", [17, 18, 400][usize::from(shape % 3)]);
        let query = format!("page={shape}&q{}=x", shape % 7);
        let call = Call {
            at_ms,
            identity,
            is_authenticated: flag,
            auth_scheme: flag.then_some("bearer"),
            is_secure: [None, Some(true), Some(false)][usize::from(shape % 3)],
            status: (status > 0).then_some(status),
            request_bytes: Some(u64::from(shape)),
            response_bytes: flag.then_some(u64::from(shape) * 100),
            latency_us: Some(identity * 1000),
            template: "/orders/{id}",
            path: &path,
            query: Some(&query),
            response_type: Some("application/json; charset=utf-8"),
            facts: u64::from(shape),
            place: ("logs", 0, at_ms * 3 + i64::from(shape), 0),
            ..Call::default()
        };
        let object = CallObject {
            collection: "order",
            hash: identity.wrapping_mul(31) + u64::from(shape),
            number: Some(i64::from(shape)),
        };
        summary.add(&call, std::iter::once(object));
    }

    fn of(calls: &[Drawn]) -> Summary {
        let mut summary = Summary::default();
        calls.iter().for_each(|call| add(&mut summary, *call));
        summary
    }

    fn calls() -> impl Strategy<Value = Vec<Drawn>> {
        // Fewer than are looked at closely: what was looked at of more depends on how they are cut.
        let status = prop_oneof![
            Just(0),
            Just(200),
            Just(304),
            Just(403),
            Just(404),
            100_u16..600
        ];
        proptest::collection::vec(
            (0_i64..1000, 0_u64..50, status, 0_u8..20, any::<bool>()),
            0..5,
        )
    }

    proptest! {
        #[test]
        fn however_calls_are_cut_and_merged_they_come_to_the_same(a in calls(), b in calls(), c in calls()) {
            let whole = of(&[a.clone(), b.clone(), c.clone()].concat());
            let [a, b, c] = [of(&a), of(&b), of(&c)];
            let merged = |parts: [&Summary; 3]| {
                let mut all = Summary::default();
                parts.iter().for_each(|part| all.merge(part));
                all
            };
            prop_assert_eq!(&merged([&a, &b, &c]), &whole);
            prop_assert_eq!(&merged([&c, &a, &b]), &whole);
            let mut bc = b.clone();
            bc.merge(&c);
            let mut abc = a.clone();
            abc.merge(&bc);
            prop_assert_eq!(&abc, &whole);
        }

        #[test]
        fn any_query_and_path_are_safe_and_bounded(query in "\\PC{0,300}|([a-z]{1,3}=[0-9]?&){0,90}", path in "\\PC{0,80}") {
            let mut summary = Summary::default();
            for at_ms in 0..3 {
                let call = Call { at_ms, template: "/a/{id}", path: &path, query: Some(&query), status: Some(200), ..Call::default() };
                summary.add(&call, std::iter::empty());
            }
            prop_assert!(summary.parameters.names().len() <= PARAMETERS_MAX);
        }
    }

    #[test]
    fn names_of_parameters_are_names() {
        for (query, want) in [
            ("page=2&limit=10", vec!["limit", "page"]),
            ("a%5B%5D=1&filter[status]=x", vec!["a[]", "filter[status]"]),
            ("1234567=x&%3Cscript%3E=1", vec!["*"]),
            ("4f2a9c1e77aa4be0=x", vec!["*"]),
            ("&&=x", vec!["*"]),
        ] {
            let mut summary = Summary::default();
            let call = Call {
                query: Some(query),
                status: Some(200),
                ..Call::default()
            };
            summary.add(&call, std::iter::empty());
            let names: Vec<&str> = summary
                .parameters
                .names()
                .iter()
                .map(|n| &*n.name)
                .collect();
            assert_eq!(names, want, "{query}");
        }
        let mut refused = Summary::default();
        let call = Call {
            query: Some("debug=1"),
            status: Some(403),
            ..Call::default()
        };
        refused.add(&call, std::iter::empty());
        assert!(
            refused.parameters.names().is_empty(),
            "what was refused is a guess"
        );
    }

    #[test]
    fn statuses_say_how_sure_an_endpoint_is() {
        for (statuses, want) in [
            (vec![404, 400], Standing::Missing),
            (vec![404, 403], Standing::Refused),
            (vec![302], Standing::Refused),
            (vec![404, 200], Standing::Answered),
            (vec![304], Standing::Answered),
            (vec![0], Standing::Refused),
        ] {
            let calls: Vec<Drawn> = statuses
                .iter()
                .map(|status| (0, 1, *status, 0, true))
                .collect();
            assert_eq!(of(&calls).standing(), want, "{statuses:?}");
        }
    }
}
