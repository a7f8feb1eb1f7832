//! What others are answered, and what a call tries beside that: the classes of probes that take state.
//!
//! A path nobody else reaches, a verb nobody else uses there and a tool nobody else calls are probes by themselves. What
//! follows departs from what is usual *and from what its caller does*, and is told once a caller and value:
//!
//! * **hosts**: refused at a host where nobody was ever answered; a forwarded host, or an **origin**, of another owner that
//!   nobody else sends. The first of each is its caller's own. Where callers bring origins of their own, as to an API that any
//!   site may use, nothing is said.
//! * **parameters that name one object twice**, where nobody else does.
//! * **an older version**, asked for what the newer one refused (401, 403), on a route where nobody was ever answered in that version.
//!   A client that falls back after a release was told 404 or 410, or goes to a version that was in use.
//! * **errors provoked**: 500 to a form of input that nobody was ever answered, at an endpoint that works for others. One such form
//!   an endpoint is a fault in a release; what a second caller runs into is one, too.

use serde::{Deserialize, Serialize};

use super::Call;
use crate::generations::Generations;
use crate::probe::ProbeClass;
use crate::walk::Walk;

/// What a call tries that takes state to see, and by which value it is counted once.
pub(super) type Departure = (ProbeClass, u64);
/// Departures of one call at most.
const DEPARTURES: usize = 5;
/// Callers that each brought an origin of their own, from which any may.
const BRINGERS: usize = 4;
/// Refusals remembered of one caller, and hours they are.
const REFUSALS: usize = 4;
const REFUSED_HOURS: u32 = 24;

const HOST: u64 = 0x11;
const FORWARDED: u64 = 0x12;
const ORIGIN: u64 = 0x13;
const POLLUTED: u64 = 0x14;
const FAILED: u64 = 0x15;

/// One table holds keys of several kinds.
fn salted(kind: u64, key: u64) -> u64 {
    key ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Who was answered with success there: the first identity, and whether there was another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Reached {
    first: u64,
    others: bool,
}

impl Reached {
    fn by_other_than(&self, identity: u64) -> bool {
        self.others || (self.first != 0 && self.first != identity)
    }

    fn note(&mut self, identity: u64) {
        if self.first == 0 {
            self.first = identity;
        } else if self.first != identity {
            self.others = true;
        }
    }
}

/// Callers that were the first to bring a value of some kind to a host; 0 where there are fewer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Bringers([u64; BRINGERS]);

impl Bringers {
    fn note(&mut self, identity: u64) {
        let free = self.0.iter().position(|by| *by == 0 || *by == identity);
        if let Some(at) = free {
            self.0[at] = identity;
        }
    }

    /// True when callers other than this one have values of their own.
    fn are_many(&self, identity: u64) -> bool {
        let others = self.0.iter().filter(|by| **by != 0 && **by != identity);
        BRINGERS - 1 <= others.count()
    }
}

/// A refusal of a versioned route.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Refusal {
    route: u64,
    version: u32,
    hour: u32,
}

/// What is remembered of one caller: 88 bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ways {
    /// The first host, forwarded host and origin it came with.
    homes: [u64; 3],
    refused: [Refusal; REFUSALS],
}

impl Ways {
    /// True when the value is not the caller's first.
    fn is_away(&mut self, place: usize, value: u64) -> bool {
        let home = &mut self.homes[place];
        if *home == 0 {
            *home = value;
        }
        *home != value
    }

    /// Notes a refusal in the place of an older one, unless a newer version of the route has refused as well.
    fn note_refused(&mut self, version: (u64, u32), hour: u32) {
        if self.was_refused(version, hour) {
            return;
        }
        let (route, version) = version;
        let same = self.refused.iter().position(|r| r.route == route);
        let oldest = (0..REFUSALS).min_by_key(|at| self.refused[*at].hour);
        if let Some(at) = same.or(oldest) {
            self.refused[at] = Refusal {
                route,
                version,
                hour,
            };
        }
    }

    /// True when a newer version of the route refused the caller within a day.
    fn was_refused(&self, (route, version): (u64, u32), hour: u32) -> bool {
        self.refused.iter().any(|refusal| {
            refusal.route == route
                && version < refusal.version
                && hour.saturating_sub(refusal.hour) <= REFUSED_HOURS
        })
    }
}

/// What is usual in one lane.
#[derive(Debug)]
pub(super) struct Usual {
    reached: Generations<u64, Reached>,
    /// Forms of input that were answered with success, whole and in parts.
    inputs: Generations<u64, ()>,
    /// By host and kind of value.
    bringers: Generations<u64, Bringers>,
}

impl Usual {
    pub(super) const ENDPOINT_BYTES: usize = 3 * Generations::<u64, Reached>::ENTRY_BYTES
        + 4 * Generations::<u64, ()>::ENTRY_BYTES
        + Generations::<u64, Bringers>::ENTRY_BYTES / 4;

    pub(super) fn new(endpoints_max: usize) -> Usual {
        Usual {
            reached: Generations::new(endpoints_max.saturating_mul(3)),
            inputs: Generations::new(endpoints_max.saturating_mul(4)),
            bringers: Generations::new((endpoints_max / 4).max(2)),
        }
    }

    /// What the call departs in, the gravest first.
    pub(super) fn departures(
        &mut self,
        call: &Call,
        ways: &mut Ways,
    ) -> [Option<Departure>; DEPARTURES] {
        [
            self.walks(call, ways)
                .then_some((ProbeClass::VersionWalking, call.path)),
            self.strange_host(call, ways)
                .map(|host| (ProbeClass::HostSpray, host)),
            self.strange_origin(call, ways)
                .map(|origin| (ProbeClass::OriginSpray, origin)),
            self.pollution(call)
                .map(|name| (ProbeClass::ParameterPollution, name)),
            self.provoked(call)
                .map(|form| (ProbeClass::ServerError, form)),
        ]
    }

    /// What the answer alone says of a path, verb or tool.
    pub(super) fn unknown(&self, call: &Call) -> Option<ProbeClass> {
        let reached = |key: u64| self.is_reached(key, call.identity);
        if let Some((server, _)) = call.tool
            && call.judges_tools
            && reached(server)
            && !reached(call.template)
        {
            return Some(ProbeClass::UnknownTool);
        }
        match call.status {
            Some(404) if !reached(call.template) => Some(ProbeClass::UnknownPath),
            Some(403..=405 | 501) if reached(call.template) && !reached(call.endpoint) => {
                Some(ProbeClass::UnknownVerb)
            }
            _ => None,
        }
    }

    /// True when nobody was ever answered at the endpoint, the caller included.
    pub(super) fn is_new(&self, endpoint: u64) -> bool {
        self.reached.get(&endpoint).is_none()
    }

    /// Learns from the answer.
    pub(super) fn learn(&mut self, call: &Call, ways: &mut Ways) {
        let input = &call.input;
        match call.status {
            Some(200..=399) => (),
            Some(401 | 403) => {
                if let Some(version) = input.version {
                    ways.note_refused(version, hour(call.at_ms));
                }
                return;
            }
            _ => return,
        }
        self.note(salted(HOST, input.host), call.identity);
        for (kind, value) in [(FORWARDED, input.forwarded), (ORIGIN, input.origin)] {
            let Some(value) = value else { continue };
            let key = salted(kind, value ^ input.host);
            // Callers without a credential are as many as they like.
            if call.votes && self.is_new(key) {
                let host = salted(kind, input.host);
                self.bringers.entry(host).note(call.identity);
            }
            self.note(key, call.identity);
        }
        if let Some(name) = input.polluted {
            self.note(salted(POLLUTED, name), call.identity);
        }
        // Who walks to an old version does not make it one that is in use.
        if call.is_mature && self.walks(call, ways) {
            return;
        }
        self.note(call.template, call.identity);
        self.note(call.endpoint, call.identity);
        if let Some((server, _)) = call.tool {
            self.note(server, call.identity);
        }
        let shape = input.shape() ^ call.endpoint;
        // What was answered in this form before was so in each of its parts.
        if !input.parts().is_empty() && self.inputs.get(&shape).is_none() {
            self.inputs.entry(shape);
            for part in input.parts() {
                self.inputs.entry(*part);
            }
        }
    }

    /// Goes over the state.
    pub(super) fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("probing.reached", &mut self.reached);
        walk.table("probing.inputs", &mut self.inputs);
        walk.table("probing.bringers", &mut self.bringers);
    }

    pub(super) fn table_bytes(&self) -> usize {
        self.reached.table_bytes() + self.inputs.table_bytes() + self.bringers.table_bytes()
    }

    fn note(&mut self, key: u64, identity: u64) {
        self.reached.entry(key).note(identity);
    }

    fn is_reached(&self, key: u64, identity: u64) -> bool {
        let reached = self.reached.get(&key);
        reached.is_some_and(|reached| reached.by_other_than(identity))
    }

    fn walks(&self, call: &Call, ways: &Ways) -> bool {
        call.input
            .version
            .is_some_and(|version| ways.was_refused(version, hour(call.at_ms)))
            && self.is_new(call.template)
    }

    /// A host where the caller is refused and nobody was answered, or a forwarded one that nobody else names.
    fn strange_host(&mut self, call: &Call, ways: &mut Ways) -> Option<u64> {
        let host = call.input.host;
        let is_refused = matches!(call.status, Some(400 | 403 | 404 | 421));
        if ways.is_away(0, host) && is_refused && self.is_new(salted(HOST, host)) {
            return Some(host);
        }
        let value = call.input.forwarded?;
        let is_away = ways.is_away(1, value);
        (is_away && self.is_strange(FORWARDED, value, call)).then_some(salted(FORWARDED, value))
    }

    fn strange_origin(&mut self, call: &Call, ways: &mut Ways) -> Option<u64> {
        let value = call.input.origin?;
        let is_away = ways.is_away(2, value);
        (is_away && self.is_strange(ORIGIN, value, call)).then_some(value)
    }

    /// True when nobody else sends the value to the host, and few send one of their own.
    fn is_strange(&self, kind: u64, value: u64, call: &Call) -> bool {
        let host = call.input.host;
        let bringers = self.bringers.get(&salted(kind, host));
        !self.is_reached(salted(kind, value ^ host), call.identity)
            && !bringers.is_some_and(|bringers| bringers.are_many(call.identity))
    }

    fn pollution(&self, call: &Call) -> Option<u64> {
        let name = call.input.polluted?;
        let is_usual = self.is_reached(salted(POLLUTED, name), call.identity);
        // On an endpoint of which nothing is known nobody could have sent it.
        (!is_usual && self.is_reached(call.template, call.identity)).then_some(name)
    }

    /// The parts of the input to which nobody was ever answered, when the server failed on them.
    fn provoked(&mut self, call: &Call) -> Option<u64> {
        if call.status != Some(500) || !self.is_reached(call.endpoint, call.identity) {
            return None;
        }
        let parts = call.input.parts().iter();
        let rare = parts.filter(|part| self.inputs.get(part).is_none());
        let form = rare.fold(0, |form, part| form ^ part.rotate_left(32));
        if form == 0 {
            return None;
        }
        let key = salted(FAILED, form);
        let fails_others = self.is_reached(key, call.identity);
        self.note(key, call.identity);
        (!fails_others).then_some(form)
    }
}

fn hour(at_ms: i64) -> u32 {
    u32::try_from(at_ms.div_euclid(3_600_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::{ProbeDetector, Probing};
    use super::*;
    use crate::probe::{Input, InputRequest};
    use xxhash_rust::xxh3::xxh3_64;

    const HOST_NAME: &str = "api.shop.example";
    const DAY_MS: i64 = 86_400_000;

    /// A call as its text says it: `GET /v2/orders/17?page=2 200`, at a template and a host.
    struct Try<'a> {
        identity: u64,
        host: &'a str,
        template: &'a str,
        target: &'a str,
        status: u16,
        origin: Option<&'a str>,
        forwarded: Option<&'a str>,
        is_mature: bool,
        at_ms: i64,
    }

    fn get<'a>(identity: u64, template: &'a str, target: &'a str, status: u16) -> Try<'a> {
        Try {
            identity,
            host: HOST_NAME,
            template,
            target,
            status,
            origin: None,
            forwarded: None,
            is_mature: true,
            at_ms: DAY_MS,
        }
    }

    fn send(detector: &mut ProbeDetector, tried: &Try<'_>) -> Probing {
        let endpoint = format!("GET {} {}", tried.host, tried.template);
        let (path, query) = tried
            .target
            .split_once('?')
            .map_or((tried.target, None), |(path, query)| (path, Some(query)));
        detector.observe(&Call {
            identity: tried.identity,
            template: xxh3_64(&endpoint.as_bytes()[4..]),
            endpoint: xxh3_64(endpoint.as_bytes()),
            tool: None,
            judges_tools: false,
            is_mature: tried.is_mature,
            path: xxh3_64(path.as_bytes()),
            class: crate::probe::classify(&crate::probe::ProbeRequest {
                method: "GET",
                path,
                query,
                ..Default::default()
            }),
            input: Input::of(&InputRequest {
                endpoint: &endpoint,
                path,
                query,
                origin: tried.origin,
                forwarded_host: tried.forwarded,
                content_type: None,
            }),
            status: Some(tried.status),
            weight: 1.0,
            votes: true,
            at_ms: tried.at_ms,
        })
    }

    /// A detector that knows twenty callers of two endpoints in their second version, number 7 among them.
    fn settled() -> ProbeDetector {
        let mut detector = ProbeDetector::new(1.0, 10_000, 1000);
        for identity in 1..=20 {
            for n in 0..40 {
                let at_ms = n * 1000;
                let order = format!("/v2/orders/{}", 10 + n);
                for (template, target) in [
                    ("/v2/orders/{id}", order.as_str()),
                    ("/v2/orders", "/v2/orders?page=1"),
                ] {
                    let tried = Try {
                        at_ms,
                        ..get(identity, template, target, 200)
                    };
                    assert_eq!(send(&mut detector, &tried).class, None);
                }
            }
        }
        detector
    }

    /// The classes of some calls, and whether any alarms.
    fn classes<'a>(
        detector: &mut ProbeDetector,
        calls: impl IntoIterator<Item = Try<'a>>,
    ) -> (Vec<Option<ProbeClass>>, bool) {
        let mut alarms = false;
        let mut of = |tried: Try<'a>| {
            let probing = send(detector, &tried);
            alarms |= probing.alarm;
            probing.class
        };
        let classes = calls.into_iter().map(&mut of).collect();
        (classes, alarms)
    }

    #[test]
    fn an_old_version_asked_for_what_the_new_one_refused_is_walked_to() {
        let mut detector = settled();
        let walk = Some(ProbeClass::VersionWalking);
        let targets: Vec<String> = (0..8).map(|n| format!("/v1/orders/{n}")).collect();
        let refused = get(7, "/v2/orders/{id}", "/v2/orders/99", 403);
        // The first is refused there as well.
        let walks = targets.iter().enumerate().map(|(n, target)| {
            let status = if n == 0 { 403 } else { 200 };
            get(7, "/v1/orders/{id}", target, status)
        });
        let (found, alarms) = classes(&mut detector, [refused].into_iter().chain(walks));
        assert_eq!(found[0], None);
        assert!(found[1..].iter().all(|class| *class == walk), "{found:?}");
        assert!(alarms, "eight objects of an unused version");
    }

    #[test]
    fn clients_that_fall_back_after_a_release_and_versions_in_use_are_no_walks() {
        let version = |status: u16, template: &'static str| get(7, template, "/v/orders/1", status);
        // A release without the route, or an old version that is gone: 404 and 410 are no refusals.
        for status in [404, 410, 500] {
            let mut detector = settled();
            let calls = [
                version(status, "/v3/orders/{id}"),
                get(7, "/v1/orders/{id}", "/v1/orders/1", 200),
            ];
            let (found, _) = classes(&mut detector, calls);
            assert_eq!(found[1], None, "after {status}");
        }
        // To a version that others use, or that the caller used itself, or a newer one.
        for (row, before, refused, after) in [
            (
                "others use it",
                Some(3),
                "/v2/orders/{id}",
                "/v1/orders/{id}",
            ),
            ("it used it", Some(7), "/v2/orders/{id}", "/v1/orders/{id}"),
            ("a newer one", None, "/v2/orders/{id}", "/v3/orders/{id}"),
        ] {
            let mut detector = settled();
            if let Some(identity) = before {
                send(&mut detector, &get(identity, after, "/v/orders/5", 200));
            }
            let calls = [version(403, refused), get(7, after, "/v/orders/1", 200)];
            assert_eq!(classes(&mut detector, calls).0[1], None, "{row}");
        }
        // A day later nobody remembers.
        let mut detector = settled();
        send(&mut detector, &version(403, "/v2/orders/{id}"));
        let late = Try {
            at_ms: 3 * DAY_MS,
            ..get(7, "/v1/orders/{id}", "/v1/orders/1", 200)
        };
        assert_eq!(send(&mut detector, &late).class, None);
    }

    #[test]
    fn origins_tried_one_after_the_other_are_a_spray_and_one_of_its_own_is_none() {
        let mut detector = settled();
        let origins = [
            "https://own.example.net",
            "https://evil.net",
            "null",
            "https://shop.example.evil.net",
            "http://localhost",
            "https://other.net",
            "https://third.net",
            "https://evil.net",
        ];
        let calls = origins.map(|origin| Try {
            origin: Some(origin),
            ..get(7, "/v2/orders", "/v2/orders?page=1", 200)
        });
        let (found, alarms) = classes(&mut detector, calls);
        let spray = Some(ProbeClass::OriginSpray);
        assert_eq!(
            found,
            [None, spray, spray, spray, spray, spray, spray, None]
        );
        assert!(alarms);
    }

    #[test]
    fn an_api_for_any_site_and_the_origins_of_others_and_of_the_owner_are_no_spray() {
        let from = |identity, origin| Try {
            origin: Some(origin),
            ..get(identity, "/v2/orders", "/v2/orders?page=1", 200)
        };
        let mut detector = settled();
        send(&mut detector, &from(3, "https://partner.net"));
        let (found, _) = classes(
            &mut detector,
            [
                "https://own.net",
                "https://partner.net",
                "https://www.shop.example",
            ]
            .map(|origin| from(7, origin)),
        );
        assert_eq!(
            found, [None; 3],
            "one that others come from, one of the owner"
        );
        for (identity, origin) in [
            (4, "https://a.net"),
            (5, "https://b.net"),
            (6, "https://c.net"),
        ] {
            send(&mut detector, &from(identity, origin));
        }
        let (found, _) = classes(
            &mut detector,
            ["https://d.net", "https://e.net", "https://f.net"].map(|origin| from(7, origin)),
        );
        assert_eq!(found, [None; 3], "callers have sites of their own");
    }

    #[test]
    fn hosts_where_nobody_was_answered_are_a_spray_and_a_new_host_that_answers_is_none() {
        let hosts = [
            "localhost",
            "admin.shop.example",
            "10.0.0.1",
            "dev.shop.example",
        ];
        let tried = |status: u16| {
            hosts.map(|host| Try {
                host,
                ..get(7, "/", "/", status)
            })
        };
        let (found, alarms) = classes(&mut settled(), tried(404));
        assert_eq!(found, [Some(ProbeClass::HostSpray); 4]);
        assert!(alarms);
        let (found, alarms) = classes(&mut settled(), tried(200));
        assert_eq!((found, alarms), (vec![None; 4], false), "tenants' hosts");
        // On a host that is its first, every path counts as before.
        let calls = ["/a", "/b"].map(|path| Try {
            host: "10.0.0.1",
            ..get(99, path, path, 404)
        });
        let (found, _) = classes(&mut settled(), calls);
        assert_eq!(found, [Some(ProbeClass::UnknownPath); 2]);
    }

    #[test]
    fn forwarded_hosts_nobody_names_are_a_spray_and_those_of_a_proxy_are_none() {
        let by = |identity, forwarded| Try {
            forwarded: Some(forwarded),
            ..get(identity, "/v2/orders", "/v2/orders?page=1", 200)
        };
        let mut detector = settled();
        let names = ["first.net", "other.net", "third.net", "fourth.net"];
        let (found, _) = classes(&mut detector, names.map(|name| by(7, name)));
        let spray = Some(ProbeClass::HostSpray);
        assert_eq!(found, [None, spray, spray, spray]);
        let mut detector = settled();
        for identity in 1..10 {
            let (found, _) = classes(
                &mut detector,
                ["shop.brand", "cdn.net"].map(|name| by(identity, name)),
            );
            let want = if identity == 1 { spray } else { None };
            assert_eq!(found, [None, want], "a proxy's, by {identity}");
        }
    }

    #[test]
    fn an_object_named_twice_is_pollution_where_nobody_else_does_so() {
        let mut detector = settled();
        let twice = "/v2/orders/17?order_id=18";
        let (found, _) = classes(
            &mut detector,
            [
                get(7, "/v2/orders/{id}", twice, 200),
                get(7, "/v2/orders", "/v2/orders?id=1&id=2", 200),
                get(7, "/v2/orders", "/v2/orders?id=1&id=3", 200),
                get(8, "/v2/orders/{id}", "/v2/orders/19?order_id=20", 200),
                get(9, "/v2/new", "/v2/new?id=1&id=2", 200),
            ],
        );
        let pollution = Some(ProbeClass::ParameterPollution);
        assert_eq!(found, [pollution, pollution, None, None, None]);
    }

    #[test]
    fn errors_on_forms_nobody_was_answered_are_provoked_and_those_of_a_release_are_not() {
        let fails = |identity, target| get(identity, "/v2/orders/{id}", target, 500);
        let mut detector = settled();
        let odd = [
            "/v2/orders/-1",
            "/v2/orders/99999999999999999999",
            "/v2/orders/a~b'",
            "/v2/orders/17?x=1",
        ];
        let (found, _) = classes(&mut detector, odd.map(|target| fails(7, target)));
        let error = Some(ProbeClass::ServerError);
        assert_eq!(
            found,
            [None, error, error, error],
            "the first may be a fault"
        );
        let (found, _) = classes(&mut detector, odd.map(|target| fails(8, target)));
        assert_eq!(found, [None; 4], "others run into it as well");
        // An outage: usual calls fail, of one caller alone.
        let mut detector = settled();
        let targets: Vec<String> = (0..500).map(|n| format!("/v2/orders/{n}")).collect();
        let (found, _) = classes(&mut detector, targets.iter().map(|target| fails(7, target)));
        assert!(found.iter().all(Option::is_none));
        // A release whose clients send a new parameter everywhere, and the server fails on it.
        let targets: Vec<String> = (0..500)
            .map(|n| format!("/v2/orders/{n}?expand=1"))
            .collect();
        let (found, _) = classes(&mut detector, targets.iter().map(|target| fails(9, target)));
        assert!(found.iter().all(Option::is_none));
    }

    #[test]
    fn what_a_caller_did_while_all_was_new_is_its_own() {
        let mut detector = settled();
        let origins = [
            "https://a.net",
            "https://b.net",
            "https://c.net",
            "https://d.net",
        ];
        for is_mature in [false, true] {
            let calls = origins.map(|origin| Try {
                origin: Some(origin),
                is_mature,
                ..get(7, "/v2/orders", "/v2/orders?id=1&id=2", 200)
            });
            assert_eq!(classes(&mut detector, calls), (vec![None; 4], false));
        }
    }

    #[test]
    fn a_probe_let_in_after_refusals_lifts_and_one_that_is_let_in_everywhere_does_not() {
        // The lane knows that odd calls are refused.
        let known = || {
            let mut detector = settled();
            for identity in 100..160 {
                for n in 0..10 {
                    let path = format!("/old/{identity}/{n}.bak");
                    send(&mut detector, &get(identity, &path, &path, 404));
                }
            }
            detector
        };
        let evidence = |statuses: [u16; 4]| {
            let mut detector = known();
            let paths = ["/.env", "/.git/config", "/a;/b", "/actuator/env"];
            let mut last = Probing::default();
            let mut breach = false;
            for (path, status) in paths.into_iter().zip(statuses) {
                last = send(&mut detector, &get(7, path, path, status));
                breach |= last.breach;
            }
            (last.evidence, last.n_answered, breach)
        };
        let (refused, let_in, all) = (
            evidence([404; 4]),
            evidence([404, 404, 404, 200]),
            evidence([200; 4]),
        );
        assert!(20.0 * refused.0 < let_in.0, "{refused:?} {let_in:?}");
        assert_eq!((refused.1, let_in.1, all.1), (0, 1, 0));
        assert!(!refused.2 && !all.2, "nothing was refused before");
        assert!(let_in.2, "told, and let in");
    }

    #[test]
    fn what_others_are_answered_there_is_no_breach() {
        let mut detector = settled();
        let mut breach = false;
        for n in 0..20 {
            let path = format!("/none/{n}");
            breach |= send(&mut detector, &get(7, &path, &path, 404)).breach;
            let target = format!("/v2/orders?debug={}", 1 + n % 2);
            breach |= send(&mut detector, &get(7, "/v2/orders", &target, 200)).breach;
        }
        assert!(!breach, "a service overlooks a parameter it does not know");
    }

    #[test]
    fn a_million_values_stay_within_the_bounds() {
        let mut detector = ProbeDetector::new(1.0, 1000, 100);
        for n in 0..200_000_u64 {
            let (host, origin) = (format!("h{n}.net"), format!("https://o{n}.net"));
            let target = format!("/v2/orders/{n}?id=1&id=2&p{n}=1");
            send(
                &mut detector,
                &Try {
                    host: if n % 2 == 0 { HOST_NAME } else { &host },
                    origin: Some(&origin),
                    forwarded: Some(&host),
                    ..get(
                        n % 5000,
                        "/v2/orders/{id}",
                        &target,
                        [200, 500, 403, 404][n as usize % 4],
                    )
                },
            );
        }
        let usual = &detector.usual;
        assert!(usual.reached.len() <= 300 && usual.inputs.len() <= 400);
        assert!(usual.bringers.len() <= 25);
        assert!(detector.counted.len() <= 1000 && detector.len() <= 1000);
    }
}
