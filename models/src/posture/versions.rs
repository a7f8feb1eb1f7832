//! Which versions of a route are old: their callers have gone over to a newer one.
//!
//! Comes in: what calls of endpoints come to for check 38, each as if it were old ([`super::if_superseded`]). Goes out: whether
//! it is. Two versions side by side are how migrations go, and for some APIs all there ever is. So a version is old while
//!
//! * a newer one of the same method, host and route was first answered [`SETTLED_MS`] ago, and
//! * on the last whole day twice as many callers were answered there, and at least two.
//!
//! What a document says decides before: what it deprecates does not come in here, and what it promises is in use, and not old.
//!
//! **Invariant**: days are of event time, and the day that is not over decides nothing. So how the calls of a day were summed up
//! makes no difference.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::call::OLD_VERSION;
use super::path::version_of;
use super::shown::Shown;
use crate::generations::Generations;
use crate::inventory::Distinct;
use crate::walk::Walk;

/// Event time since a version's first success after which it is no trial any more, ms: a week, in which who calls on one day of it
/// has called.
const SETTLED_MS: i64 = 7 * DAY_MS;
const DAY_MS: i64 = 86_400_000;
/// As many times the callers of the old version have gone over.
const TAKEN_OVER: u64 = 2;
/// Callers of the newer version, at least: one alone tries it.
const CALLERS_MIN: u64 = 2;
/// Versions of one route; of more the one with the fewest callers gives way. A server that answers any version makes no more.
const VERSIONS_MAX: usize = 4;

/// One version of a route.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Version {
    number: u32,
    /// Event time of its first success, ms.
    first_ms: i64,
    /// The day of its last success, in days of the epoch; who was answered on it, and how many on the day before.
    day: i64,
    callers: Distinct,
    n_before: u64,
}

impl Version {
    fn first(number: u32, callers: &Distinct, at_ms: i64) -> Version {
        Version {
            number,
            first_ms: at_ms,
            day: at_ms.div_euclid(DAY_MS),
            callers: callers.clone(),
            n_before: 0,
        }
    }

    /// Callers answered on a whole day.
    fn on(&self, day: i64) -> u64 {
        match self.day - day {
            0 => self.callers.estimate(),
            1 => self.n_before,
            _ => 0,
        }
    }

    fn note(&mut self, callers: &Distinct, day: i64) {
        if self.day < day {
            self.n_before = self.on(day - 1);
            (self.day, self.callers) = (day, Distinct::default());
        }
        self.callers.merge(callers);
    }
}

/// The versions of one route, in no order.
type Route = Vec<Version>;

/// The routes of a lane whose paths name a version.
#[derive(Debug)]
pub struct Versions {
    routes: Generations<u64, Route>,
}

impl Versions {
    /// Bytes of a route at most.
    pub const ROUTE_BYTES: usize = Generations::<u64, Route>::ENTRY_BYTES
        + VERSIONS_MAX * (size_of::<Version>() + Distinct::BYTES_MAX);

    /// Knows at most so many routes; those least recently called are forgotten.
    pub fn new(routes_max: usize) -> Versions {
        Versions {
            routes: Generations::new(routes_max),
        }
    }

    /// Takes what calls of an endpoint come to; true when the endpoint is an old version of its route.
    ///
    /// * `endpoint`: `METHOD host /template`. `at_ms`: the stream's clock, which never goes back.
    pub fn note(&mut self, endpoint: &str, delta: &Shown, at_ms: i64) -> bool {
        let Some((key, number)) = route_of(endpoint) else {
            return false;
        };
        let today = at_ms.div_euclid(DAY_MS);
        if delta.counts.tally(OLD_VERSION).bad != 0 {
            let route = self.routes.entry(key);
            let own = route.iter_mut().find(|version| version.number == number);
            match own {
                Some(version) => version.note(&delta.callers, today),
                None => add(route, Version::first(number, &delta.callers, at_ms), today),
            }
        }
        let versions = self.routes.get(&key).map_or(&[][..], Vec::as_slice);
        let own = versions.iter().find(|version| version.number == number);
        let n_own = own.map_or(0, |version| version.on(today - 1));
        versions.iter().any(|newer| {
            let n_newer = newer.on(today - 1);
            number < newer.number
                && SETTLED_MS <= at_ms.saturating_sub(newer.first_ms)
                && CALLERS_MIN <= n_newer
                && TAKEN_OVER * n_own <= n_newer
        })
    }

    /// Routes known.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// True when no route is known.
    pub fn is_empty(&self) -> bool {
        self.routes.len() == 0
    }

    /// Bytes, about: most versions have few callers a day.
    pub fn state_bytes(&self) -> usize {
        self.routes.table_bytes() + 256 * self.routes.len()
    }

    /// Routes forgotten at the bound.
    pub fn n_evicted(&self) -> u64 {
        self.routes.n_evicted()
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("posture.versions", &mut self.routes);
    }
}

/// Adds a version in the place of the one with the fewest callers, where there is no room.
fn add(route: &mut Route, version: Version, today: i64) {
    if route.len() < VERSIONS_MAX {
        return route.push(version);
    }
    let rank = |of: &Version| (of.on(today).max(of.on(today - 1)), of.number);
    if let Some(weakest) = route.iter_mut().min_by_key(|of| rank(of)) {
        *weakest = version;
    }
}

/// Method, host and path without its version as one hash, and the version. Variables count alike whatever they are called.
fn route_of(endpoint: &str) -> Option<(u64, u32)> {
    let (of, template) = endpoint.split_at_checked(endpoint.find('/')?)?;
    let (head, number, tail) = version_of(template)?;
    let mut hash = Xxh3::new();
    for part in [of, head, tail] {
        for segment in part.split('/') {
            let is_variable = segment.starts_with('{') && segment.ends_with('}');
            hash.update(if is_variable { "{}" } else { segment }.as_bytes());
            hash.update(b"/");
        }
        hash.update(&[0]);
    }
    Some((hash.digest(), number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::posture::{CallView, Sample, facts, if_superseded};

    const V1: &str = "GET shop.example /api/v1/orders/{id}";
    const V2: &str = "GET shop.example /api/v2/orders/{orderId}";

    fn day(n: i64) -> i64 {
        n * DAY_MS
    }

    /// What calls of some callers come to, each once.
    fn calls(callers: std::ops::Range<u64>, status: u16) -> Shown {
        let view = CallView {
            method: "GET",
            path: "/",
            status: Some(status),
            client_ip: Some("203.0.113.7"),
            authenticated: true,
            ..CallView::default()
        };
        let mut shown = Shown::default();
        for caller in callers {
            let sample = |_| Sample::new(0, ("t", 0, 0, 0), "GET / 200", "x");
            shown.add(if_superseded(&view, facts(&view)), caller, 0, sample);
        }
        shown
    }

    /// Days of callers of the first and the second version; whether the first is old, by day.
    fn old_by_day(days: &[(u64, u64)], status: u16) -> Vec<bool> {
        let mut versions = Versions::new(10);
        let of_day = |(n, (first, second)): (usize, &(u64, u64))| {
            let at_ms = day(n as i64);
            versions.note(V2, &calls(100..100 + second, status), at_ms);
            versions.note(V1, &calls(0..*first, 200), at_ms + 1)
        };
        days.iter().enumerate().map(of_day).collect()
    }

    #[test]
    fn a_version_is_old_when_most_have_gone_over_to_one_that_is_no_trial() {
        let n_old = |days: &[(u64, u64)], status| {
            let old = old_by_day(days, status);
            (old.iter().position(|is_old| *is_old), *old.last().unwrap())
        };
        // From the eighth day on: the newer one was first answered at its beginning, a week ago.
        assert_eq!(n_old(&[(10, 40); 12], 200), (Some(7), true));
        assert_eq!(n_old(&[(10, 20); 12], 200), (Some(7), true));
        // A migration that most have before them, a trial of one, one that refuses, one that is given up.
        assert_eq!(n_old(&[(10, 19); 12], 200).0, None);
        assert_eq!(n_old(&[(0, 1); 12], 200).0, None);
        assert_eq!(n_old(&[(10, 40); 12], 403).0, None);
        let given_up = [[(10, 40); 10], [(10, 0); 10]].concat();
        assert_eq!(n_old(&given_up, 200), (Some(7), false));
        // The newest is never old, nor is what has no other.
        let mut versions = Versions::new(10);
        for n in 0..20 {
            versions.note(V1, &calls(0..40, 200), day(n));
            assert!(!versions.note(V2, &calls(0..2, 200), day(n)));
            assert!(!versions.note(
                "GET shop.example /api/v3/invoices",
                &calls(0..9, 200),
                day(n)
            ));
        }
    }

    #[test]
    fn versions_are_of_one_method_host_and_path() {
        let same = [V1, V2, "GET shop.example /api/v17/orders/{x}"];
        #[rustfmt::skip]
        let others = [
            "POST shop.example /api/v1/orders/{id}", "GET other.example /api/v1/orders/{id}", "GET shop.example /v1/orders/{id}", "GET shop.example /api/v1/orders", "GET shop.example /api/v1/orders/id",
        ];
        let key = |endpoint: &str| route_of(endpoint).expect("a version").0;
        assert!(same.iter().all(|endpoint| key(endpoint) == key(V1)));
        assert!(others.iter().all(|endpoint| key(endpoint) != key(V1)));
        for none in [
            "GET shop.example /orders",
            "GET shop.example /value/x",
            "x",
            "",
        ] {
            assert_eq!(route_of(none), None, "{none}");
        }
    }

    #[test]
    fn a_server_that_answers_any_version_makes_no_more_and_hides_none() {
        let mut versions = Versions::new(100);
        for n in 0..12 {
            for number in 3..500 {
                let endpoint = format!("GET shop.example /api/v{number}/orders/{{id}}");
                versions.note(&endpoint, &calls(7..8, 200), day(n));
            }
            versions.note(V2, &calls(100..140, 200), day(n));
            let is_old = versions.note(V1, &calls(0..10, 200), day(n));
            assert_eq!(is_old, 7 <= n, "day {n}");
        }
        let route = versions.routes.get(&route_of(V1).unwrap().0).unwrap();
        assert_eq!(route.len(), VERSIONS_MAX);
        for n in 0..1000 {
            let endpoint = format!("GET shop.example /v1/{n}");
            versions.note(&endpoint, &calls(0..2, 200), day(12));
        }
        assert!(versions.len() <= 100 && 0 < versions.n_evicted());
    }

    proptest! {
        #[test]
        fn how_the_calls_of_a_day_were_summed_up_makes_no_difference(days in prop::collection::vec((0_u64..9, 0_u64..20), 1..20), part in 1_u64..5) {
            let told = |part: u64| {
                let mut versions = Versions::new(10);
                let mut told = Vec::new();
                for (n, (first, second)) in days.iter().enumerate() {
                    let at_ms = day(n as i64);
                    for (endpoint, from, callers) in [(V2, 100, *second), (V1, 0, *first)] {
                        let mut at = 0;
                        while at < callers {
                            let end = callers.min(at + part);
                            let is_old = versions.note(endpoint, &calls(from + at..from + end, 200), at_ms);
                            told.extend((at..end).map(|caller| (n, endpoint, caller, is_old)));
                            at = end;
                        }
                    }
                }
                told
            };
            prop_assert_eq!(told(100), told(part));
        }
    }
}
