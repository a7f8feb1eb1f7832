//! What is kept of agents, MCP servers and tools. Records of one thing made apart are merged, in any order.

use serde::{Deserialize, Serialize};

use super::protocol::Operation;
use super::{Grade, Kind, Recognition, Sign};

/// Longest name kept, in bytes; callers choose some of them.
pub const NAME_BYTES_MAX: usize = 256;
/// Event time for which an agent or server is new, and in which what it does is learnt: a week, in milliseconds.
pub const LEARN_MS: i64 = 7 * 86_400_000;
/// Event time for which something new stays new: thirty days, in milliseconds.
pub const NEW_MS: i64 = 30 * 86_400_000;

/// One name, how often and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name, at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Times it was met; a lower bound once the set has overflowed.
    pub n: u64,
    /// First time, ms.
    pub first_ms: i64,
    /// Last time, ms.
    pub last_ms: i64,
}

/// A set of at most `MAX` names: those met first. What comes later is counted, not kept.
///
/// Which names are kept does not depend on the order of merges, and their counts with the overflow add up to all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names<const MAX: usize> {
    /// By name.
    kept: Vec<Named>,
    n_over: u64,
}

impl<const MAX: usize> Names<MAX> {
    /// Notes a name.
    pub fn note(&mut self, name: &str, at_ms: i64) {
        let end = (0..=name.len().min(NAME_BYTES_MAX))
            .rev()
            .find(|&at| name.is_char_boundary(at))
            .unwrap_or(0);
        self.add(&name[..end], 1, at_ms, at_ms);
    }

    /// Adds what another noted.
    pub fn merge(&mut self, other: &Self) {
        self.n_over = self.n_over.saturating_add(other.n_over);
        other
            .kept
            .iter()
            .for_each(|named| self.add(&named.name, named.n, named.first_ms, named.last_ms));
    }

    fn add(&mut self, name: &str, n: u64, first_ms: i64, last_ms: i64) {
        match self
            .kept
            .binary_search_by(|named| named.name.as_str().cmp(name))
        {
            Ok(at) => {
                let named = &mut self.kept[at];
                named.n = named.n.saturating_add(n);
                named.first_ms = named.first_ms.min(first_ms);
                named.last_ms = named.last_ms.max(last_ms);
            }
            Err(at) => {
                let is_late =
                    |named: &Named| (first_ms, name) >= (named.first_ms, named.name.as_str());
                if MAX <= self.kept.len() && self.kept.iter().all(is_late) {
                    self.n_over = self.n_over.saturating_add(n);
                    return;
                }
                self.kept.insert(
                    at,
                    Named {
                        name: name.to_owned(),
                        n,
                        first_ms,
                        last_ms,
                    },
                );
                self.shed();
            }
        }
    }

    fn shed(&mut self) {
        while MAX < self.kept.len() {
            let rank = |at: &usize| (self.kept[*at].first_ms, self.kept[*at].name.clone());
            let Some(latest) = (0..self.kept.len()).max_by_key(rank) else {
                return;
            };
            self.n_over = self.n_over.saturating_add(self.kept.remove(latest).n);
        }
    }

    /// The name, when it is kept.
    pub fn get(&self, name: &str) -> Option<&Named> {
        let at = self
            .kept
            .binary_search_by(|named| named.name.as_str().cmp(name))
            .ok()?;
        self.kept.get(at)
    }

    /// The names, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Named> {
        self.kept.iter()
    }

    /// Names kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Times a name was met that is not kept; 0 as long as the set is whole.
    pub fn n_over(&self) -> u64 {
        self.n_over
    }

    /// Names first met until then: the scope at a time.
    pub fn at(&self, at_ms: i64) -> usize {
        self.kept
            .iter()
            .filter(|named| named.first_ms <= at_ms)
            .count()
    }
}

/// True when a name came up after the thing that has it was known, and not long ago.
pub fn is_growth(named: &Named, since_ms: i64, at_ms: i64) -> bool {
    LEARN_MS < named.first_ms.saturating_sub(since_ms)
        && at_ms.saturating_sub(named.first_ms) < NEW_MS
}

/// One call of an agent, resolved.
#[derive(Clone, Copy, Debug)]
pub struct AgentCall<'a> {
    /// Event time, ms.
    pub at_ms: i64,
    /// What the call says of the agent.
    pub recognition: Recognition,
    /// `METHOD host /template`.
    pub endpoint: &'a str,
    /// The MCP server (`host/path`), when it is a call to one.
    pub server: Option<&'a str>,
    /// The tool called.
    pub tool: Option<&'a str>,
    /// For whom the agent acts.
    pub on_behalf_of: Option<&'a str>,
}

/// An agent: 168 names, so 52 KiB at most, and some 2 KiB usually.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// How far it is one.
    pub grade: Grade,
    /// By what.
    pub sign: Sign,
    /// What it is for.
    pub kind: Kind,
    /// First call, ms.
    pub first_ms: i64,
    /// Last call, ms.
    pub last_ms: i64,
    /// Calls.
    pub n_calls: u64,
    /// True when its pace is a program's.
    pub is_machine: bool,
    /// Families it named itself after.
    pub families: Names<8>,
    /// For whom it acted.
    pub on_behalf_of: Names<16>,
    /// Endpoints it used.
    pub endpoints: Names<64>,
    /// Servers it used.
    pub servers: Names<16>,
    /// Tools it called, as `server tool`.
    pub tools: Names<64>,
}

impl AgentRecord {
    /// The record of a first call.
    pub fn new(call: &AgentCall<'_>) -> AgentRecord {
        let mut record = AgentRecord {
            grade: call.recognition.grade,
            sign: call.recognition.sign,
            kind: call.recognition.kind,
            first_ms: call.at_ms,
            last_ms: call.at_ms,
            n_calls: 0,
            is_machine: false,
            families: Names::default(),
            on_behalf_of: Names::default(),
            endpoints: Names::default(),
            servers: Names::default(),
            tools: Names::default(),
        };
        record.note(call);
        record
    }

    /// Notes a call.
    pub fn note(&mut self, call: &AgentCall<'_>) {
        self.better(
            call.recognition.grade,
            call.recognition.sign,
            call.recognition.kind,
        );
        self.first_ms = self.first_ms.min(call.at_ms);
        self.last_ms = self.last_ms.max(call.at_ms);
        self.n_calls = self.n_calls.saturating_add(1);
        self.endpoints.note(call.endpoint, call.at_ms);
        if !call.recognition.family.is_empty() {
            self.families.note(call.recognition.family, call.at_ms);
        }
        if let Some(user) = call.on_behalf_of {
            self.on_behalf_of.note(user, call.at_ms);
        }
        if let Some(server) = call.server {
            self.servers.note(server, call.at_ms);
            if let Some(tool) = call.tool {
                self.tools.note(&tool_name(server, tool), call.at_ms);
            }
        }
    }

    /// Adds what another lane knows of it.
    pub fn merge(&mut self, other: &AgentRecord) {
        self.better(other.grade, other.sign, other.kind);
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.n_calls = self.n_calls.saturating_add(other.n_calls);
        self.is_machine |= other.is_machine;
        self.families.merge(&other.families);
        self.on_behalf_of.merge(&other.on_behalf_of);
        self.endpoints.merge(&other.endpoints);
        self.servers.merge(&other.servers);
        self.tools.merge(&other.tools);
    }

    fn better(&mut self, grade: Grade, sign: Sign, kind: Kind) {
        // The best grade; of equal ones the better sign, then the first kind.
        if (self.grade, std::cmp::Reverse((self.sign, self.kind)))
            < (grade, std::cmp::Reverse((sign, kind)))
        {
            (self.grade, self.sign, self.kind) = (grade, sign, kind);
        }
    }
}

/// Name of a tool at a server, as agents' records have it.
pub fn tool_name(server: &str, tool: &str) -> String {
    format!("{server} {tool}")
}

/// One call to an MCP or A2A server.
#[derive(Clone, Copy, Debug)]
pub struct ServerCall<'a> {
    /// Event time, ms.
    pub at_ms: i64,
    /// How far it is such a call.
    pub grade: Grade,
    /// What it does.
    pub operation: Operation,
    /// The caller.
    pub client: &'a str,
    /// A credential was shown; a session's id is none.
    pub authenticated: bool,
    /// Answered with success.
    pub success: bool,
    /// The tool called.
    pub tool: Option<&'a str>,
    /// What tells one list of tools from another: its hash, else its size; of answers to [`Operation::ListTools`].
    pub listing: Option<&'a str>,
}

/// An MCP or A2A server: `host/path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// How far it is one.
    pub grade: Grade,
    /// First call, ms; 0 before.
    pub first_ms: i64,
    /// Last call, ms.
    pub last_ms: i64,
    /// Calls.
    pub n_calls: u64,
    /// Working calls answered with success to callers without a credential.
    pub n_anonymous: u64,
    /// Calls with a credential, answered with success.
    pub n_authenticated: u64,
    /// Callers.
    pub clients: Names<64>,
    /// Tools called with success, or at all where none was.
    pub called: Names<128>,
    /// Tools listed or declared, where that is known.
    pub listed: Names<128>,
    /// Lists of tools told apart.
    pub listings: Names<16>,
}

impl ServerRecord {
    /// Notes a call.
    pub fn note(&mut self, call: &ServerCall<'_>) {
        self.seen(call.grade, call.at_ms, call.at_ms);
        self.n_calls = self.n_calls.saturating_add(1);
        self.n_authenticated += u64::from(call.success && call.authenticated);
        self.n_anonymous +=
            u64::from(call.success && !call.authenticated && call.operation.works());
        self.clients.note(call.client, call.at_ms);
        if let Some(tool) = call
            .tool
            .filter(|_| call.operation == Operation::CallTool && call.success)
        {
            self.called.note(tool, call.at_ms);
        }
        if let Some(listing) = call
            .listing
            .filter(|_| call.operation == Operation::ListTools && call.success)
        {
            self.listings.note(listing, call.at_ms);
        }
    }

    /// Notes a tool that the server's list or a document names.
    pub fn list(&mut self, tool: &str, at_ms: i64) {
        self.listed.note(tool, at_ms);
    }

    /// Adds what another lane knows of it.
    pub fn merge(&mut self, other: &ServerRecord) {
        if other.n_calls != 0 {
            self.seen(other.grade, other.first_ms, other.last_ms);
        }
        self.n_calls = self.n_calls.saturating_add(other.n_calls);
        self.n_anonymous = self.n_anonymous.saturating_add(other.n_anonymous);
        self.n_authenticated = self.n_authenticated.saturating_add(other.n_authenticated);
        self.clients.merge(&other.clients);
        self.called.merge(&other.called);
        self.listed.merge(&other.listed);
        self.listings.merge(&other.listings);
    }

    fn seen(&mut self, grade: Grade, first_ms: i64, last_ms: i64) {
        self.grade = self.grade.max(grade);
        self.first_ms = if self.n_calls == 0 {
            first_ms
        } else {
            self.first_ms.min(first_ms)
        };
        self.last_ms = self.last_ms.max(last_ms);
    }
}

/// A tool at a server, by its own record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRecord {
    /// First call, ms; 0 before.
    pub first_ms: i64,
    /// Last call, ms.
    pub last_ms: i64,
    /// Calls.
    pub n_calls: u64,
    /// Of these, answered with success.
    pub n_success: u64,
    /// Callers.
    pub clients: Names<32>,
}

impl ToolRecord {
    /// Notes a call.
    pub fn note(&mut self, client: &str, success: bool, at_ms: i64) {
        self.first_ms = if self.n_calls == 0 {
            at_ms
        } else {
            self.first_ms.min(at_ms)
        };
        self.last_ms = self.last_ms.max(at_ms);
        self.n_calls = self.n_calls.saturating_add(1);
        self.n_success += u64::from(success);
        self.clients.note(client, at_ms);
    }

    /// Adds what another lane knows of it.
    pub fn merge(&mut self, other: &ToolRecord) {
        if other.n_calls == 0 {
            return;
        }
        self.first_ms = if self.n_calls == 0 {
            other.first_ms
        } else {
            self.first_ms.min(other.first_ms)
        };
        self.last_ms = self.last_ms.max(other.last_ms);
        self.n_calls = self.n_calls.saturating_add(other.n_calls);
        self.n_success = self.n_success.saturating_add(other.n_success);
        self.clients.merge(&other.clients);
    }
}

/// When a user acts, without agents: hours of the day and days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Habits {
    hours: [u32; 24],
    /// Days of the last sixty-four, by their number.
    days: u64,
    n: u64,
}

impl Habits {
    const DAY_MS: i64 = 86_400_000;
    /// Calls and days from which habits are known.
    const CALLS_MIN: u64 = 200;
    const DAYS_MIN: u32 = 7;

    /// Notes a call of the user's own.
    pub fn note(&mut self, at_ms: i64) {
        self.hours[Self::hour(at_ms)] = self.hours[Self::hour(at_ms)].saturating_add(1);
        self.days |= 1 << at_ms.div_euclid(Self::DAY_MS).rem_euclid(64);
        self.n = self.n.saturating_add(1);
    }

    /// Adds what another lane knows.
    pub fn merge(&mut self, other: &Habits) {
        self.hours
            .iter_mut()
            .zip(other.hours)
            .for_each(|(n, other)| *n = n.saturating_add(other));
        self.days |= other.days;
        self.n = self.n.saturating_add(other.n);
    }

    /// Whether the user never acts around that hour; `None` while too little is known.
    pub fn is_outside(&self, at_ms: i64) -> Option<bool> {
        let known = Self::CALLS_MIN <= self.n && Self::DAYS_MIN <= self.days.count_ones();
        known.then(|| {
            let hour = Self::hour(at_ms);
            [hour + 23, hour, hour + 1]
                .iter()
                .all(|hour| self.hours[hour % 24] == 0)
        })
    }

    fn hour(at_ms: i64) -> usize {
        (at_ms.rem_euclid(Self::DAY_MS) / 3_600_000) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_set_keeps_what_came_first_and_counts_the_rest() {
        let mut names = Names::<2>::default();
        for (name, at) in [("b", 5), ("a", 6), ("c", 7), ("b", 9), ("c", 8)] {
            names.note(name, at);
        }
        let kept: Vec<_> = names
            .iter()
            .map(|named| (named.name.as_str(), named.n, named.first_ms, named.last_ms))
            .collect();
        assert_eq!(
            (kept, names.n_over()),
            (vec![("a", 1, 6, 6), ("b", 2, 5, 9)], 2)
        );
        names.note("early", 1);
        assert!(
            names.get("early").is_some() && names.get("a").is_none() && names.n_over() == 3,
            "late rows come early"
        );
        assert_eq!((names.at(0), names.at(4), names.at(5)), (0, 1, 2));
    }

    #[test]
    fn growth_is_what_came_after_the_first_week_and_within_a_month() {
        let named = |first_ms| Named {
            name: String::new(),
            n: 1,
            first_ms,
            last_ms: 0,
        };
        let day = 86_400_000;
        assert!(!is_growth(&named(7 * day), 0, 8 * day), "learnt");
        assert!(is_growth(&named(7 * day + 1), 0, 8 * day));
        assert!(
            is_growth(&named(8 * day), 0, 38 * day - 1) && !is_growth(&named(8 * day), 0, 38 * day),
            "old by now"
        );
    }

    #[test]
    fn habits_need_a_week_and_know_the_hours_beside() {
        let mut habits = Habits::default();
        let (day, hour) = (86_400_000, 3_600_000);
        for i in 0..240 {
            habits.note((i % 8) * day + (9 + i % 9) * hour);
            assert_eq!(habits.is_outside(0).is_some(), 199 <= i);
        }
        let outside = |at| habits.is_outside(at);
        assert_eq!(
            [8, 9, 18, 19, 3].map(|h| outside(h * hour)),
            [
                Some(false),
                Some(false),
                Some(false),
                Some(true),
                Some(true)
            ]
        );
    }

    proptest! {
        #[test]
        fn names_are_the_same_however_they_are_merged(notes in prop::collection::vec((0usize..9, 0i64..40), 0..40), cuts in (0usize..40, 0usize..40)) {
            let all = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
            let noted = |part: &[(usize, i64)]| {
                let mut names = Names::<4>::default();
                part.iter().for_each(|(name, at)| names.note(all[*name], *at));
                names
            };
            let (one, two) = (cuts.0.min(cuts.1).min(notes.len()), cuts.0.max(cuts.1).min(notes.len()));
            let (a, b, c) = (noted(&notes[..one]), noted(&notes[one..two]), noted(&notes[two..]));
            let merged = |parts: [&Names<4>; 3]| {
                let mut names = Names::<4>::default();
                parts.iter().for_each(|part| names.merge(part));
                names
            };
            let (left, right, whole) = (merged([&a, &b, &c]), merged([&c, &a, &b]), noted(&notes));
            let kept = |names: &Names<4>| names.iter().map(|named| (named.name.clone(), named.first_ms)).collect::<Vec<_>>();
            prop_assert_eq!(kept(&left), kept(&right));
            prop_assert_eq!(kept(&left), kept(&whole));
            for names in [left, right, whole] {
                prop_assert_eq!(names.n_over() + names.iter().map(|named| named.n).sum::<u64>(), notes.len() as u64);
            }
        }
    }
}
