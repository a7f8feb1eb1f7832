//! The endpoints of the hosts of one lane: who is let in, and when there is news to tell.
//!
//! An endpoint is *listed* once it was answered with success. Until then it is a candidate, in a small table of its own: a
//! scanner's paths push out each other and no endpoint. Of candidates those are listed that were refused, since they may be
//! endpoints nobody may use (a few a host, and as many as it has answered ones), and those that twenty callers missed. What is
//! not listed is one record a host: its unknown paths.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::distinct::Distinct;
use super::entry::Entry;
use super::summary::{Standing, Summary};
use crate::generations::Generations;
use crate::walk::Walk;

/// Event time between two records of one endpoint, ms.
const TELL_EVERY_MS: i64 = 60_000;
/// Endpoints of a host that are listed although every answer was a refusal; with as many more as it has answered ones.
const REFUSED_MAX: u32 = 64;
/// The same of all hosts together that have answered nothing: who sprays hosts gets no more.
const REFUSED_ELSEWHERE_MAX: u32 = 256;
/// Share of the listed endpoints that one host may have: one in so many.
const HOST_SHARE: usize = 4;
/// Hosts kept; fewer where there is room for fewer endpoints than four times that.
const HOSTS_MAX: usize = 1000;

/// An endpoint, or the unknown paths of a host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    name: Box<str>,
    summary: Summary,
    /// Of unknown paths: which.
    paths: Distinct,
    /// The earliest clock at which a lane told of it, ms; none until it was told first.
    discovered_ms: Option<i64>,
    /// When it was told last.
    told_ms: i64,
    /// True when there is something to tell, which then waits in `due`.
    is_changed: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Host {
    /// Endpoints answered with success.
    n_answered: u32,
    /// Endpoints listed that were not.
    n_refused: u32,
    unknown: Option<Box<Record>>,
}

/// A record to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The record.
    pub entry: Entry,
    /// True when it is told for the first time.
    pub is_new: bool,
}

/// What waits to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Key {
    Endpoint(u64),
    /// The unknown paths of a host.
    Host(u64),
    Elsewhere,
}

/// The inventory of one lane.
#[derive(Debug)]
pub struct Inventory {
    listed: Generations<u64, Record>,
    candidates: Generations<u64, Record>,
    hosts: Generations<u64, Host>,
    /// Unknown paths of hosts without an endpoint: who sprays hosts makes one record of all of them.
    elsewhere: Record,
    /// When a record may be told next, ms, and which.
    due: BTreeSet<(i64, Key)>,
    listed_max: usize,
    clock_ms: i64,
    /// Clock of the lane that told what is absorbed now, ms: how far other lanes are says nothing of how long it took.
    telling_ms: i64,
    n_refused_elsewhere: u32,
    n_beyond: u64,
}

/// Key of the unknown paths of hosts without an endpoint.
const ELSEWHERE: &str = "* * /**";

impl Inventory {
    /// Bytes of an endpoint at most.
    pub const ENDPOINT_BYTES: usize = Generations::<u64, Record>::ENTRY_BYTES
        + Summary::BYTES_MAX
        + crate::endpoint::ENDPOINT_BYTES_MAX;

    /// Lists at most `endpoints_max` endpoints, and an eighth of that of candidates.
    pub fn new(endpoints_max: usize) -> Inventory {
        Inventory {
            listed: Generations::new(endpoints_max),
            candidates: Generations::new((endpoints_max / 8).max(16)),
            hosts: Generations::new((endpoints_max / 4).clamp(16, HOSTS_MAX))
                .keeping(|host: &Host| f64::from(host.n_answered)),
            elsewhere: Record {
                name: ELSEWHERE.into(),
                ..Record::default()
            },
            due: BTreeSet::new(),
            listed_max: endpoints_max,
            clock_ms: i64::MIN,
            telling_ms: i64::MIN,
            n_refused_elsewhere: 0,
            n_beyond: 0,
        }
    }

    /// Takes what calls of an endpoint come to; what is to be told at once is appended.
    ///
    /// * `name`: `METHOD host /template`.
    /// * `at_ms`: the clock of the lane that tells, when it told.
    pub fn absorb(&mut self, name: &str, delta: &Summary, at_ms: i64, told: &mut Vec<Told>) {
        (self.telling_ms, self.clock_ms) = (at_ms, at_ms.max(self.clock_ms));
        let (key, host) = (xxh3_64(name.as_bytes()), host_of(name));
        let host_key = xxh3_64(host.as_bytes());
        if self.listed.get(&key).is_some() {
            let record = self.listed.entry(key);
            // A lane that is behind in event time found it earlier than the one that spoke first.
            record.discovered_ms = record.discovered_ms.map(|ms| ms.min(at_ms));
            let summary = &mut record.summary;
            let before = summary.standing();
            summary.merge(delta);
            if before < summary.standing() && summary.standing() == Standing::Answered {
                self.hosts.entry(host_key).n_answered += 1;
            }
            return self.change(Key::Endpoint(key), told);
        }
        let candidate = self.candidates.entry(key);
        if candidate.name.is_empty() {
            candidate.name = name.into();
        }
        candidate.summary.merge(delta);
        let standing = candidate.summary.standing();
        let is_missed = candidate.summary.is_missed();
        // A host is remembered for its endpoints: one that has none is asked for, not made.
        let n_answered = self.hosts.get(&host_key).map_or(0, |host| host.n_answered);
        let is_listed = match standing {
            Standing::Answered => self.admit_answered(host_key, n_answered),
            Standing::Refused => self.admit_refused(host_key, n_answered),
            Standing::Missing => is_missed && self.admit_refused(host_key, n_answered),
        };
        if is_listed {
            let record = std::mem::take(self.candidates.entry(key));
            *self.listed.entry(key) = record;
            return self.change(Key::Endpoint(key), told);
        }
        let (unknown, at) = match n_answered {
            0 => (&mut self.elsewhere, Key::Elsewhere),
            _ => {
                let unknown = self.hosts.entry(host_key).unknown.get_or_insert_with(|| {
                    Box::new(Record {
                        name: format!("* {host} /**").into(),
                        ..Record::default()
                    })
                });
                (&mut **unknown, Key::Host(host_key))
            }
        };
        unknown.summary.merge(delta);
        unknown.paths.insert(key);
        self.change(at, told);
    }

    fn admit_answered(&mut self, host: u64, n_answered: u32) -> bool {
        let is_within = (n_answered as usize) < self.listed_max.div_ceil(HOST_SHARE);
        match is_within {
            true => self.hosts.entry(host).n_answered += 1,
            false => self.n_beyond += 1,
        }
        is_within
    }

    fn admit_refused(&mut self, host: u64, n_answered: u32) -> bool {
        let (n_refused, max) = match n_answered {
            0 => (&mut self.n_refused_elsewhere, REFUSED_ELSEWHERE_MAX),
            _ => (
                &mut self.hosts.entry(host).n_refused,
                REFUSED_MAX.saturating_add(n_answered),
            ),
        };
        let is_within = *n_refused < max;
        *n_refused += u32::from(is_within);
        is_within
    }

    /// Tells what has waited long enough.
    ///
    /// * `reached_ms`: how far event time is.
    pub fn tell(&mut self, reached_ms: i64, told: &mut Vec<Told>) {
        while let Some((due_ms, key)) = self.due.first().copied() {
            if reached_ms < due_ms {
                break;
            }
            self.due.pop_first();
            self.tell_one(key, told);
        }
    }

    /// Tells everything that waits.
    pub fn close(&mut self, told: &mut Vec<Told>) {
        self.tell(i64::MAX, told);
    }

    /// Forgets what waits to be told: another lane has the same, and tells it.
    pub fn forget_news(&mut self) {
        for (_, key) in std::mem::take(&mut self.due) {
            if let Some(record) = self.record(key) {
                record.is_changed = false;
            }
        }
    }

    /// Endpoints, candidates and hosts.
    pub fn n_entries(&self) -> usize {
        self.listed.len() + self.candidates.len() + self.hosts.len()
    }

    /// Bytes, with a kibibyte for what a record points to: most are far below their bound.
    pub fn state_bytes(&self) -> usize {
        let tables =
            self.listed.table_bytes() + self.candidates.table_bytes() + self.hosts.table_bytes();
        tables + 1024 * self.n_entries()
    }

    /// Endpoints forgotten at a bound, and answers of those beyond a host's share.
    pub fn n_evicted(&self) -> u64 {
        self.listed.n_evicted() + self.n_beyond
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("inventory.listed", &mut self.listed);
        walk.table("inventory.candidates", &mut self.candidates);
        walk.table("inventory.hosts", &mut self.hosts);
        walk.value("inventory.elsewhere", &mut self.elsewhere);
        walk.value("inventory.due", &mut self.due);
        walk.value("inventory.clock_ms", &mut self.clock_ms);
        walk.value(
            "inventory.n_refused_elsewhere",
            &mut self.n_refused_elsewhere,
        );
    }

    fn record(&mut self, key: Key) -> Option<&mut Record> {
        match key {
            Key::Elsewhere => Some(&mut self.elsewhere),
            Key::Host(key) => {
                self.hosts.get(&key)?;
                self.hosts.entry(key).unknown.as_deref_mut()
            }
            Key::Endpoint(key) => {
                self.listed.get(&key)?;
                Some(self.listed.entry(key))
            }
        }
    }

    /// Notes that a record is not what was told of it: tells it at once, or when it may be told again.
    fn change(&mut self, key: Key, told: &mut Vec<Told>) {
        let clock_ms = self.clock_ms;
        let Some(record) = self.record(key) else {
            return;
        };
        if record.is_changed {
            return;
        }
        let due_ms = match record.discovered_ms {
            None => i64::MIN,
            Some(_) => record.told_ms.saturating_add(TELL_EVERY_MS),
        };
        if due_ms <= clock_ms {
            return self.tell_one(key, told);
        }
        record.is_changed = true;
        self.due.insert((due_ms, key));
        // Endpoints that were forgotten and came back wait twice.
        if 2 * self.listed_max + HOSTS_MAX < self.due.len()
            && let Some((_, first)) = self.due.pop_first()
        {
            self.tell_one(first, told);
        }
    }

    fn tell_one(&mut self, key: Key, told: &mut Vec<Told>) {
        let (clock_ms, telling_ms) = (self.clock_ms, self.telling_ms);
        // Forgotten since.
        let Some(record) = self.record(key) else {
            return;
        };
        let is_new = record.discovered_ms.is_none();
        // What is new is told while it is absorbed.
        let discovered_ms = *record.discovered_ms.get_or_insert(telling_ms);
        (record.told_ms, record.is_changed) = (clock_ms, false);
        let mut entry = Entry::of(&record.name, &record.summary, discovered_ms);
        if !matches!(key, Key::Endpoint(_)) {
            "unknown_paths".clone_into(&mut entry.kind);
            entry.paths = Some(record.paths.estimate());
        }
        told.push(Told { entry, is_new });
    }
}

/// The host in an endpoint's name.
fn host_of(name: &str) -> &str {
    name.split(' ').nth(1).unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Call;

    /// What one call comes to.
    fn call(identity: u64, status: u16, at_ms: i64) -> Summary {
        let mut summary = Summary::default();
        let call = Call {
            at_ms,
            identity,
            status: Some(status),
            ..Call::default()
        };
        summary.add(&call, std::iter::empty());
        summary
    }

    fn keys(told: &[Told]) -> Vec<(&str, bool, u64)> {
        told.iter()
            .map(|t| (t.entry.key.as_str(), t.is_new, t.entry.calls))
            .collect()
    }

    #[test]
    fn a_first_call_is_told_at_once_and_changes_once_a_minute() {
        let mut inventory = Inventory::new(100);
        let mut told = Vec::new();
        inventory.absorb("GET h /a", &call(1, 200, 1000), 1000, &mut told);
        assert_eq!(keys(&told), [("GET h /a", true, 1)]);
        assert_eq!(told[0].entry.time_to_discovery_ms, 0);
        told.clear();
        inventory.absorb("GET h /a", &call(1, 200, 2000), 2000, &mut told);
        inventory.absorb("GET h /a", &call(2, 200, 3000), 3000, &mut told);
        inventory.tell(60_999, &mut told);
        assert!(told.is_empty(), "{told:?}");
        inventory.tell(61_000, &mut told);
        assert_eq!(keys(&told), [("GET h /a", false, 3)]);
        told.clear();
        inventory.tell(i64::MAX, &mut told);
        assert!(told.is_empty(), "nothing has changed since");
        // Refused ones too, and what is missing only when many miss it.
        inventory.absorb("GET h /admin", &call(1, 403, 70_000), 70_000, &mut told);
        assert_eq!(keys(&told), [("GET h /admin", true, 1)]);
        told.clear();
        for identity in 0..40 {
            let at_ms = 70_000 + identity as i64;
            inventory.absorb("GET h /gone", &call(identity, 404, at_ms), at_ms, &mut told);
        }
        assert_eq!(told[0].entry.key, "* h /**");
        assert_eq!(told[1].entry.key, "GET h /gone");
        assert_eq!(told[1].entry.standing, "missing");
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn an_endpoint_first_asked_for_in_vain_is_discovered_when_it_is_there() {
        let mut inventory = Inventory::new(100);
        let mut told = Vec::new();
        inventory.absorb("GET h /soon", &call(1, 404, 1000), 1000, &mut told);
        assert_eq!(told[0].entry.key, ELSEWHERE);
        told.clear();
        inventory.absorb(
            "GET h /soon",
            &call(1, 200, 9_000_000),
            9_000_500,
            &mut told,
        );
        assert_eq!(keys(&told), [("GET h /soon", true, 2)]);
        assert_eq!(told[0].entry.time_to_discovery_ms, 500);
    }

    /// Sprays a million paths with an answer; how many records were told, of which no more than `endpoints`.
    fn sprayed(status: u16, hosts: u64) -> (Inventory, usize) {
        let mut inventory = Inventory::new(1000);
        let mut told = Vec::new();
        for i in 0..20 {
            let name = format!("GET shop.example /real/{i}");
            inventory.absorb(&name, &call(i, 200, 0), 0, &mut told);
        }
        told.clear();
        let mut n_told = 0;
        for i in 0..1_000_000_u64 {
            let host = match i % hosts {
                0 => "shop.example".to_owned(),
                n => format!("h{n}.example"),
            };
            let at_ms = i as i64;
            let name = format!("GET {host} /p{i}");
            inventory.absorb(&name, &call(7, status, at_ms), at_ms, &mut told);
            inventory.tell(at_ms, &mut told);
            n_told += told.len();
            told.clear();
        }
        inventory.close(&mut told);
        (inventory, n_told + told.len())
    }

    #[test]
    fn a_million_paths_grow_neither_the_inventory_nor_memory() {
        // Status, hosts, and records at most: the endpoints, and one a minute of 1000 s of what is unknown.
        for (status, hosts, told_max) in [
            (404, 1, 20),
            (403, 1, REFUSED_MAX as usize + 20 + 20),
            (302, 1, REFUSED_MAX as usize + 20 + 20),
            (200, 1, 1000 / HOST_SHARE + 20),
            (404, 1_000_000, 40),
        ] {
            let (inventory, n_told) = sprayed(status, hosts);
            assert!(n_told <= told_max, "{status} on {hosts}: {n_told} told");
            assert!(inventory.n_entries() <= 1000 + 125 + HOSTS_MAX, "{status}");
            assert!(inventory.due.len() <= inventory.n_entries() + 1, "{status}");
            for i in 0..20 {
                let key = xxh3_64(format!("GET shop.example /real/{i}").as_bytes());
                assert!(
                    inventory.listed.get(&key).is_some(),
                    "{status}: {i} was pushed out"
                );
            }
        }
    }

    #[test]
    fn unknown_paths_are_counted() {
        let (mut inventory, _) = sprayed(404, 1);
        let mut told = Vec::new();
        inventory.absorb(
            "GET shop.example /x",
            &call(1, 404, i64::MAX / 2),
            i64::MAX / 2,
            &mut told,
        );
        let unknown = &told[0].entry;
        assert_eq!(unknown.key, "* shop.example /**");
        assert_eq!(unknown.calls, 1_000_001);
        let paths = unknown.paths.unwrap();
        assert!((900_000..1_100_000).contains(&paths), "{paths}");
        assert_eq!(unknown.identities, 2);
    }
}
