//! The findings of the endpoints, hosts, identities and sources of one lane, looked at once a minute of event time.
//!
//! Comes in: what calls of an endpoint come to, in any parts. Goes out: findings that changed, at the end of the minute. The
//! looks are at fixed event times, so how calls were summed up and cut makes no difference to any life.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::book::Book;
use super::check::{Check, Scope};
use super::evaluate::Standing;
use super::fact::Counts;
use super::finding::{Finding, covers};
use super::life::Change;
use super::list::{CHECKS, check};
use super::shown::Shown;
use super::versions::Versions;
use crate::generations::Generations;
use crate::walk::Walk;

/// Event time between two looks at what has changed, ms.
const LOOK_EVERY_MS: i64 = 60_000;
/// Hosts kept.
const HOSTS_MAX: usize = 1000;
/// Identities whose credential was shared once, and sources: topics and files.
const IDENTITIES_MAX: usize = 1000;
const SOURCES_MAX: usize = 100;
/// Endpoints of a host whose findings go on under another name when templates change.
const FOUND_MAX: usize = 1024;

/// A finding that changed, as it is now.
#[derive(Clone, Debug)]
pub struct Told {
    /// The finding.
    pub finding: Finding,
    /// Its check.
    pub check: &'static Check,
    /// What changed.
    pub change: Change,
    /// Event time of the look, ms.
    pub at_ms: i64,
}

/// An endpoint, a host, an identity or a source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Subject {
    name: Box<str>,
    shown: Shown,
    book: Book,
    /// Of a host: its endpoints with findings.
    found: Vec<u64>,
}

/// The findings of one lane.
#[derive(Debug)]
pub struct Register {
    endpoints: Generations<u64, Subject>,
    hosts: Generations<u64, Subject>,
    identities: Generations<u64, Subject>,
    sources: Generations<u64, Subject>,
    /// Identities and sources that had calls since the last look; true for a source.
    called: BTreeSet<(bool, u64)>,
    versions: Versions,
    /// Those that had calls since the last look: an endpoint with its host, or a host alone.
    changed: BTreeSet<(u64, Option<u64>)>,
    changed_max: usize,
    clock_ms: i64,
}

impl Register {
    /// Bytes an endpoint takes, about: few have a fault at all.
    pub const ENDPOINT_BYTES: usize = Generations::<u64, Subject>::ENTRY_BYTES + 2048;

    /// Knows at most `endpoints_max` endpoints, of which those without a finding are forgotten first, and `routes_max` routes
    /// whose paths name a version.
    pub fn new(endpoints_max: usize, routes_max: usize) -> Register {
        let has_findings =
            |subject: &Subject| f64::from(u8::from(subject.book.iter().next().is_some()));
        Register {
            endpoints: Generations::new(endpoints_max).keeping(has_findings),
            hosts: Generations::new(HOSTS_MAX).keeping(has_findings),
            identities: Generations::new(IDENTITIES_MAX).keeping(has_findings),
            sources: Generations::new(SOURCES_MAX).keeping(has_findings),
            called: BTreeSet::new(),
            versions: Versions::new(routes_max),
            changed: BTreeSet::new(),
            changed_max: 2 * endpoints_max + HOSTS_MAX,
            clock_ms: i64::MIN,
        }
    }

    /// Takes what calls of an endpoint come to; findings that changed in minutes that are over are appended.
    ///
    /// * `endpoint`: `METHOD host /template`.
    /// * `at_ms`: the stream's clock.
    pub fn absorb(&mut self, endpoint: &str, delta: &Shown, at_ms: i64, told: &mut Vec<Told>) {
        self.reach(at_ms, told);
        if delta.is_empty() {
            return;
        }
        let host = endpoint.split(' ').nth(1).unwrap_or("-");
        let host_key = xxh3_64(host.as_bytes());
        let key = xxh3_64(endpoint.as_bytes());
        if self.endpoints.get(&key).is_none() {
            self.adopt(endpoint, key, host_key);
        }
        for (table, key, name) in [
            (&mut self.endpoints, key, endpoint),
            (&mut self.hosts, host_key, host),
        ] {
            let subject = table.entry(key);
            if subject.name.is_empty() {
                subject.name = name.into();
            }
            subject.shown.merge(delta);
        }
        self.changed.insert((host_key, None));
        self.changed.insert((host_key, Some(key)));
        if self.changed_max < self.changed.len() {
            self.look(told);
        }
    }

    /// Takes what calls of an endpoint come to if its version is old: counts where it is.
    ///
    /// * `is_promised`: a document has it and does not deprecate it. Then it is not old, but others may be for it.
    pub fn absorb_version(
        &mut self,
        (endpoint, is_promised): (&str, bool),
        delta: &Shown,
        at_ms: i64,
        told: &mut Vec<Told>,
    ) {
        self.reach(at_ms, told);
        let is_old = self.versions.note(endpoint, delta, self.clock_ms);
        if is_old && !is_promised {
            self.absorb(endpoint, delta, at_ms, told);
        }
    }

    /// Takes what calls of an identity, or of a source, come to.
    ///
    /// * `is_source`: which of the two `name` is of.
    pub fn absorb_of(
        &mut self,
        is_source: bool,
        name: &str,
        delta: &Shown,
        at_ms: i64,
        told: &mut Vec<Told>,
    ) {
        self.reach(at_ms, told);
        let key = xxh3_64(name.as_bytes());
        let table = if is_source {
            &mut self.sources
        } else {
            &mut self.identities
        };
        let subject = table.entry(key);
        if subject.name.is_empty() {
            subject.name = name.into();
        }
        subject.shown.merge(delta);
        self.called.insert((is_source, key));
        if self.changed_max < self.called.len() {
            self.look(told);
        }
    }

    /// Gives a new endpoint the findings of those that it covers: the same calls have another name since templates changed.
    fn adopt(&mut self, endpoint: &str, key: u64, host_key: u64) {
        let found = self
            .hosts
            .get(&host_key)
            .map_or(&[][..], |host| &host.found);
        let is_covered = |old: &&u64| {
            let old = self.endpoints.get(old);
            old.is_some_and(|old| covers(endpoint, &old.name))
        };
        let covered: Vec<u64> = found.iter().filter(is_covered).copied().collect();
        if covered.is_empty() {
            return;
        }
        let mut new = Subject {
            name: endpoint.into(),
            ..Subject::default()
        };
        for old in &covered {
            let old = std::mem::take(self.endpoints.entry(*old));
            new.shown.merge(&old.shown);
            new.book.adopt(old.book, endpoint);
        }
        *self.endpoints.entry(key) = new;
        let found = &mut self.hosts.entry(host_key).found;
        found.retain(|old| !covered.contains(old));
        found.push(key);
    }

    /// Looks at what has changed, when event time has come to the end of a minute.
    pub fn reach(&mut self, at_ms: i64, told: &mut Vec<Told>) {
        let minute = |ms: i64| ms.div_euclid(LOOK_EVERY_MS);
        if minute(self.clock_ms) < minute(at_ms) {
            self.look(told);
        }
        self.clock_ms = at_ms.max(self.clock_ms);
    }

    /// Looks at what has changed: nothing more comes.
    pub fn close(&mut self, told: &mut Vec<Told>) {
        self.look(told);
    }

    /// Endpoints, hosts, identities and sources known.
    pub fn n_entries(&self) -> usize {
        self.tables().map(Generations::len).iter().sum::<usize>() + self.versions.len()
    }

    /// Bytes, about.
    pub fn state_bytes(&self) -> usize {
        let tables = self.tables().map(Generations::table_bytes);
        let n_subjects = self.n_entries() - self.versions.len();
        tables.iter().sum::<usize>() + 512 * n_subjects + self.versions.state_bytes()
    }

    /// Those forgotten at a bound, with their findings.
    pub fn n_evicted(&self) -> u64 {
        let tables = self.tables().map(Generations::n_evicted);
        tables.iter().sum::<u64>() + self.versions.n_evicted()
    }

    fn tables(&self) -> [&Generations<u64, Subject>; 4] {
        [
            &self.endpoints,
            &self.hosts,
            &self.identities,
            &self.sources,
        ]
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("posture.endpoints", &mut self.endpoints);
        walk.table("posture.hosts", &mut self.hosts);
        walk.table("posture.identities", &mut self.identities);
        walk.table("posture.sources", &mut self.sources);
        self.versions.walk(walk);
        walk.value("posture.changed", &mut self.changed);
        walk.value("posture.called", &mut self.called);
        walk.value("posture.clock_ms", &mut self.clock_ms);
    }

    fn look(&mut self, told: &mut Vec<Told>) {
        for (host_key, endpoint) in std::mem::take(&mut self.changed) {
            let host = self
                .hosts
                .get(&host_key)
                .map(|host| host.shown.counts.clone());
            let (table, key, scope) = match endpoint {
                Some(key) => (&mut self.endpoints, key, Scope::Endpoint),
                None => (&mut self.hosts, host_key, Scope::Host),
            };
            // Forgotten since.
            if table.get(&key).is_none() {
                continue;
            }
            let subject = table.entry(key);
            let was_clean = subject.book.iter().next().is_none();
            subject.look(scope, host.as_ref(), self.clock_ms, told);
            let book = &subject.book;
            let has_found = was_clean && book.iter().next().is_some();
            if endpoint.is_some() && has_found && self.hosts.get(&host_key).is_some() {
                let found = &mut self.hosts.entry(host_key).found;
                // Those beyond keep what they have under their old name alone.
                if found.len() < FOUND_MAX {
                    found.push(key);
                }
            }
        }
        for (is_source, key) in std::mem::take(&mut self.called) {
            let (table, scope) = if is_source {
                (&mut self.sources, Scope::Source)
            } else {
                (&mut self.identities, Scope::Identity)
            };
            if table.get(&key).is_some() {
                table.entry(key).look(scope, None, self.clock_ms, told);
            }
        }
    }
}

impl Subject {
    /// Looks at the checks of a scope again; findings that changed are appended.
    fn look(&mut self, scope: Scope, host: Option<&Counts>, at_ms: i64, told: &mut Vec<Told>) {
        let Subject {
            name, shown, book, ..
        } = self;
        let standing = Standing {
            counts: &shown.counts,
            host,
            n_identities: shown.callers.estimate(),
            at_ms,
        };
        let samples = &shown.samples;
        book.observe(CHECKS, (scope, name), &standing, |finding, change| {
            let those = samples.iter().find(|(number, _)| *number == finding.check);
            if let Some((_, samples)) = those {
                finding.samples.merge(samples);
            }
            told.push(Told {
                finding: finding.clone(),
                check: check(finding.check),
                change,
                at_ms,
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::posture::{CallView, Phase, Sample, facts, if_superseded};

    const ENDPOINT: &str = "GET shop.example /orders/{id}";

    /// A call with a session over plaintext HTTP from outside, or over TLS.
    fn call(n: u64, at_ms: i64, is_plain: bool) -> Shown {
        let view = CallView {
            method: "GET",
            path: "/orders/17",
            scheme: Some(if is_plain { "http" } else { "https" }),
            host: Some("shop.example"),
            status: Some(200),
            client_ip: Some("203.0.113.7"),
            auth_scheme: Some("bearer"),
            authenticated: true,
            ..CallView::default()
        };
        let mut shown = Shown::default();
        let sample = |_| Sample::new(at_ms, ("t", 0, n as i64, 0), "GET /orders/17 200", "alice");
        shown.add(facts(&view), n % 5, at_ms, sample);
        shown
    }

    fn phases(told: &[Told]) -> Vec<(&str, Change)> {
        let of = |told: &Told| (CHECKS[usize::from(told.finding.check) - 1].id, told.change);
        told.iter().map(of).collect()
    }

    #[test]
    fn a_fault_opens_at_the_end_of_its_minute_and_is_resolved_by_contrary_calls_alone() {
        let (mut register, mut told) = (Register::new(100, 100), Vec::new());
        for n in 0..50 {
            register.absorb(ENDPOINT, &call(n, 1000, true), 1000, &mut told);
        }
        register.reach(59_999, &mut told);
        assert!(told.is_empty());
        register.reach(60_000, &mut told);
        let opened = phases(&told);
        assert!(!opened.is_empty() && opened.iter().all(|(_, change)| *change == Change::Opened));
        let uids: Vec<String> = told.iter().map(|told| told.finding.uid.clone()).collect();
        assert!(
            told.iter()
                .all(|told| told.finding.samples.iter().count() == 3)
        );
        told.clear();
        // Days without a call resolve nothing.
        register.reach(3 * 86_400_000, &mut told);
        assert!(
            told.iter()
                .all(|told| told.finding.life.phase != Phase::Resolved)
        );
        told.clear();
        for n in 0..5000 {
            let at_ms = 4 * 86_400_000 + n as i64;
            register.absorb(ENDPOINT, &call(n, at_ms, false), at_ms, &mut told);
        }
        register.close(&mut told);
        let resolved = told.iter().filter(|told| told.change == Change::Resolved);
        let resolved: Vec<String> = resolved.map(|told| told.finding.uid.clone()).collect();
        assert_eq!(resolved, uids, "under the names they were opened by");
    }

    #[test]
    fn an_endpoint_that_covers_others_goes_on_with_their_findings() {
        let (mut register, mut told) = (Register::new(100, 100), Vec::new());
        let view = CallView {
            method: "GET",
            path: "/users/ada",
            query: Some("token="),
            url_secret: Some("token"),
            status: Some(200),
            ..CallView::default()
        };
        let shown_to =
            |register: &mut Register, endpoint: &str, from: u64, told: &mut Vec<Told>| {
                for n in from..from + 50 {
                    let at_ms = n as i64 * 100;
                    let mut shown = Shown::default();
                    let sample = |_| Sample::new(at_ms, ("t", 0, n as i64, 0), "GET /users", "x");
                    shown.add(facts(&view), n % 5, at_ms, sample);
                    register.absorb(endpoint, &shown, at_ms, told);
                }
                register.close(told);
            };
        for (at, name) in ["ada", "bob"].into_iter().enumerate() {
            let endpoint = format!("GET shop.example /users/{name}");
            shown_to(&mut register, &endpoint, at as u64 * 50, &mut told);
        }
        let of_endpoints = |told: &[Told]| -> Vec<(String, Change)> {
            let told = told
                .iter()
                .filter(|told| told.check.scope == Scope::Endpoint);
            told.map(|told| (told.finding.uid.clone(), told.change))
                .collect()
        };
        let opened = of_endpoints(&told);
        assert_eq!(opened.len(), 2, "a secret in the URL of either");
        assert!(opened.iter().all(|(_, change)| *change == Change::Opened));
        told.clear();
        let whole = "GET shop.example /users/{name}";
        shown_to(&mut register, whole, 1000, &mut told);
        assert_eq!(of_endpoints(&told), [], "nothing is new under the new name");
        // Ten times as many are told, by the name of the one that was first.
        (0..30).for_each(|n| shown_to(&mut register, whole, 2000 + n * 50, &mut told));
        let grew = of_endpoints(&told);
        assert!(!grew.is_empty() && told.iter().any(|told| told.finding.subject == whole));
        assert!(
            grew.iter()
                .all(|(uid, _)| opened.iter().any(|(old, _)| old == uid))
        );
    }

    #[test]
    fn an_old_version_is_a_finding_once_its_callers_have_gone_over_and_resolved_when_it_is_gone() {
        let of = |caller: u64, status| {
            let view = CallView {
                method: "GET",
                path: "/v1/orders/17",
                status: Some(status),
                client_ip: Some("203.0.113.7"),
                ..CallView::default()
            };
            let mut shown = Shown::default();
            let sample = |_| Sample::new(0, ("t", 0, 0, 0), "GET /v1/orders/17 200", "bob");
            shown.add(if_superseded(&view, facts(&view)), caller, 0, sample);
            shown
        };
        let (old, new) = (
            "GET shop.example /v1/orders/{id}",
            "GET shop.example /v2/orders/{id}",
        );
        let (mut register, mut told) = (Register::new(100, 100), Vec::new());
        let mut days = |days: std::ops::Range<i64>, status, promised: &[&str]| {
            for hour in days.start * 24..days.end * 24 {
                let at_ms = hour * 3_600_000;
                for caller in 0..12 {
                    let (endpoint, status) = match caller {
                        0..3 => (old, status),
                        _ => (new, 200),
                    };
                    let endpoint = (endpoint, promised.contains(&endpoint));
                    register.absorb_version(endpoint, &of(caller, status), at_ms, &mut told);
                }
            }
            register.close(&mut told);
            std::mem::take(&mut told)
        };
        assert_eq!(
            phases(&days(0..7, 200, &[new])),
            [],
            "a week of both is a migration"
        );
        assert_eq!(
            phases(&days(7..9, 200, &[new, old])),
            [],
            "both are promised"
        );
        let opened = days(9..11, 200, &[new]);
        assert_eq!(
            phases(&opened)[0],
            ("old_version_in_use", Change::Opened),
            "{opened:?}"
        );
        let finding = &opened[0].finding;
        assert_eq!((finding.subject.as_str(), finding.n_identities), (old, 3));
        assert_eq!(finding.samples.iter().next().unwrap().identity, "bob");
        let resolved = days(11..40, 410, &[]);
        assert_eq!(
            phases(&resolved),
            [("old_version_in_use", Change::Resolved)]
        );
    }

    /// A call of a source without a status, or from a public peer whose client is said to be private.
    fn of_source(n: u64, is_bad: bool) -> Shown {
        let view = CallView {
            method: "GET",
            path: "/orders/17",
            status: Some(200),
            peer_ip: Some("203.0.113.9"),
            client_ip: Some(if is_bad { "10.0.0.1" } else { "198.51.100.7" }),
            ..CallView::default()
        };
        let mut shown = Shown::default();
        let sample = |_| Sample::new(0, ("t", 0, n as i64, 0), "GET /orders/17 200", "alice");
        shown.add(facts(&view).of_scope(Scope::Source), n, 0, sample);
        shown
    }

    #[test]
    fn faults_of_sources_and_identities_have_lives_of_their_own() {
        let (mut register, mut told) = (Register::new(100, 100), Vec::new());
        let minute = |n: u64| n as i64 * 60_000;
        for n in 0..6 {
            register.absorb_of(
                true,
                "gateway-logs",
                &of_source(n, true),
                minute(n),
                &mut told,
            );
            register.absorb_of(
                true,
                "other-logs",
                &of_source(n, false),
                minute(n),
                &mut told,
            );
        }
        register.close(&mut told);
        assert_eq!(phases(&told), [("forwarded_believed", Change::Opened)]);
        assert_eq!(told[0].finding.subject, "gateway-logs");
        assert_eq!(told[0].finding.samples.iter().count(), 3);
        told.clear();
        for n in 6..2000 {
            register.absorb_of(
                true,
                "gateway-logs",
                &of_source(n, false),
                minute(n),
                &mut told,
            );
        }
        let resolved = told.iter().any(|told| told.change == Change::Resolved);
        assert!(resolved, "{told:?}");
        for n in 0..10_000_u64 {
            let name = format!("key-{n}");
            register.absorb_of(false, &name, &of_source(n, false), minute(2000), &mut told);
        }
        assert!(register.identities.len() <= IDENTITIES_MAX);
    }

    proptest! {
        #[test]
        fn how_calls_were_summed_up_makes_no_difference(cuts in prop::collection::vec(1_usize..20, 1..40), clean in 1_u64..9) {
            let calls: Vec<(i64, Shown)> = (0..400_u64).map(|n| {
                let at_ms = n as i64 * 700;
                (at_ms, call(n, at_ms, n % clean == 0 && n < 200))
            }).collect();
            let told_of = |cuts: &[usize]| {
                let (mut register, mut told) = (Register::new(100, 100), Vec::new());
                let (mut at, mut cut) = (0, 0);
                while at < calls.len() {
                    // Parts of one minute, as summaries are: told no later than its end.
                    let minute = calls[at].0 / LOOK_EVERY_MS;
                    let n = cuts[cut % cuts.len()];
                    let part: Vec<_> = calls[at..].iter().take(n).take_while(|(ms, _)| ms / LOOK_EVERY_MS == minute).collect();
                    let mut sum = Shown::default();
                    part.iter().for_each(|(_, shown)| sum.merge(shown));
                    register.absorb(ENDPOINT, &sum, calls[at].0, &mut told);
                    at += part.len();
                    cut += 1;
                }
                register.close(&mut told);
                let of = |told: Told| (told.finding.uid, told.change, told.finding.life.window(), told.finding.samples);
                told.into_iter().map(of).collect::<Vec<_>>()
            };
            let one_by_one = told_of(&[1]);
            prop_assert!(!one_by_one.is_empty());
            prop_assert_eq!(one_by_one, told_of(&cuts));
        }
    }
}
