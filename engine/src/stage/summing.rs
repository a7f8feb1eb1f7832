//! What `profile` tells `govern`: what the calls of each endpoint, agent, MCP server and tool come to.
//!
//! An endpoint's first call in the lane goes out at once. The calls after it are summed up, and go out every
//! [`TELL_EVERY_MS`] of event time; how calls were cut into records makes no difference. What is summed up and not told yet is
//! state: when a stream ends, it waits for the next call on anything.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use models::agent::watch::Sums;
use models::generations::Generations;
use models::inventory::{Call, CallObject, Summary};
use models::posture::path::version_of;
use models::posture::{CallView, Sample, Scope, Shown, facts, if_superseded};
use models::spread::Probe;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::log::partition_of;
use crate::schema::{self, SummaryRow, SummaryRowsBuilder};
use crate::state::LaneWalk;

/// Event time between two summaries of one endpoint, ms. The inventory is told once a minute; six summaries make one record.
const TELL_EVERY_MS: i64 = 10_000;
/// Endpoints with calls that are not told yet; the next one has all of them told. 2 KiB each, seldom more.
const PENDING_MAX: usize = 2048;
/// Kind of the rows that hold a [`Summary`].
pub const ENDPOINT: &str = "endpoint";
/// Kind of the rows that hold a [`Shown`].
pub const POSTURE: &str = "posture";
/// Kind of the rows that hold what calls come to if their version of the route is old.
pub const POSTURE_VERSION: &str = "posture_version";
/// Kind of the rows that hold one of an identity.
pub const POSTURE_IDENTITY: &str = "posture_identity";
/// Kind of the rows that hold one of a source.
pub const POSTURE_SOURCE: &str = "posture_source";

/// Kind of the rows that hold an [`AgentSum`](models::agent::watch::AgentSum).
pub const AGENT: &str = "agent";
/// Kind of the rows that hold a [`ServerSum`](models::agent::watch::ServerSum).
pub const SERVER: &str = "mcp_server";
/// Kind of the rows that hold a [`ToolRecord`](models::agent::record::ToolRecord).
pub const TOOL: &str = "mcp_tool";

/// Kind of the rows that hold a [`Probe`].
pub const PROBE: &str = "probe";
/// Probes of one caller told a day: of these the first that is new to the host counts.
const PROBES_A_DAY: u8 = 4;
const DAY_MS: i64 = 86_400_000;

/// What is not told yet of one endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pending {
    endpoint: Box<str>,
    summary: Summary,
    shown: Shown,
    /// What it comes to if its version of the route is old; none where the path names no version.
    outdated: Option<Shown>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// By the endpoint's hash.
    pending: BTreeMap<u64, Pending>,
    /// What is not told yet of sources, and of identities whose credential was shared, by name.
    sources: BTreeMap<Box<str>, Shown>,
    identities: BTreeMap<Box<str>, Shown>,
    /// Of agents, servers and tools.
    agents: Sums,
    /// Highest event time of a call, ms.
    clock_ms: i64,
    /// When all were told last.
    told_ms: i64,
}

/// The summaries of one lane.
pub struct Summing {
    state: State,
    /// Offset of the record being read, and rows made of it.
    at: (i64, i32),
    /// Callers that probe: the day of their last probe told, and how many were that day.
    probers: Generations<u64, (i64, u8)>,
    targets: Vec<SummaryRowsBuilder>,
}

impl Summing {
    /// Bytes of a caller that probes.
    pub const PROBER_BYTES: usize = Generations::<u64, (i64, u8)>::ENTRY_BYTES;

    /// Writes to so many partitions of the endpoints log; remembers so many callers that probe.
    pub fn new(partitions: usize, probers_max: usize) -> Summing {
        let targets = (0..partitions.max(1)).map(|_| SummaryRowsBuilder::default());
        Summing {
            state: State {
                clock_ms: i64::MIN,
                told_ms: i64::MIN,
                ..State::default()
            },
            at: (0, 0),
            probers: Generations::new(probers_max),
            targets: targets.collect(),
        }
    }

    /// What follows is of the record at this offset.
    pub fn begin(&mut self, offset: i64) {
        self.at = (offset, 0);
    }

    /// Takes one call.
    ///
    /// * `view`, `identity`: the call as the checks see it, and who made it.
    /// * `is_first`: the lane knew of no call of the endpoint. `is_shared`: the identity's credential was used from many networks.
    pub fn add<'a>(
        &mut self,
        endpoint: &str,
        call: &Call<'_>,
        (view, identity): (&CallView<'_>, &str),
        objects: impl Iterator<Item = CallObject<'a>>,
        (is_first, is_shared): (bool, bool),
    ) {
        let state = &mut self.state;
        state.clock_ms = call.at_ms.max(state.clock_ms);
        if TELL_EVERY_MS <= state.clock_ms.saturating_sub(state.told_ms) {
            self.tell_all();
        }
        let key = xxh3_64(endpoint.as_bytes());
        let is_alone = is_first && !self.state.pending.contains_key(&key);
        let State {
            pending,
            sources,
            identities,
            ..
        } = &self.state;
        let has_room = pending.len() < PENDING_MAX || pending.contains_key(&key);
        if !has_room || PENDING_MAX <= sources.len().max(identities.len()) {
            self.tell_all();
        }
        let place = self.state.pending.entry(key);
        let pending = place.or_insert_with(|| Pending {
            endpoint: endpoint.into(),
            outdated: version_of(call.template).map(|_| Shown::default()),
            ..Pending::default()
        });
        pending.summary.add(call, objects);
        let facts = facts(view);
        let shown = |number| {
            let status = view.status.unwrap_or(0);
            let note = view.answer.unwrap_or_default().note(number);
            let text = format!("{} {} {status}{note}", view.method, view.path);
            Sample::new(call.at_ms, call.place, &text, identity)
        };
        pending.shown.add(facts, call.identity, call.at_ms, shown);
        if let Some(outdated) = &mut pending.outdated {
            let facts = if_superseded(view, facts);
            outdated.add(facts, call.identity, call.at_ms, shown);
        }
        let (source, _, _, _) = call.place;
        let sums = [
            (Scope::Source, &mut self.state.sources, source, true),
            (
                Scope::Identity,
                &mut self.state.identities,
                identity,
                is_shared,
            ),
        ];
        for (scope, sums, name, is_told) in sums {
            if is_told {
                let sum = sum_of(sums, name);
                sum.add(facts.of_scope(scope), call.identity, call.at_ms, shown);
            }
        }
        if is_alone && let Some(pending) = self.state.pending.remove(&key) {
            self.push(&pending);
        }
    }

    /// Sums of agents, servers and tools to add a call to; what waits is told first where there is no room for more.
    pub fn agents(&mut self) -> &mut Sums {
        if self.state.agents.is_full() {
            self.tell_agents();
        }
        &mut self.state.agents
    }

    /// Tells a probe nobody has sent before, at once; no more than a few of one caller a day.
    pub fn probe(&mut self, endpoint: &str, probe: &Probe) {
        let day = probe.sample.at_ms.div_euclid(DAY_MS);
        let (of_day, n) = self.probers.entry(probe.identity);
        if *of_day != day {
            (*of_day, *n) = (day, 0);
        }
        if *n < PROBES_A_DAY {
            *n += 1;
            let host = endpoint.split(' ').nth(1).unwrap_or("-");
            self.push_row(PROBE, host, host, 1, encoded(probe));
        }
    }

    /// Rows that wait for the log.
    pub fn n_pending(&self) -> usize {
        self.targets.iter().map(SummaryRowsBuilder::len).sum()
    }

    /// Partitions of the endpoints log.
    pub fn partitions(&self) -> usize {
        self.targets.len()
    }

    /// The rows that wait, by partition.
    pub fn flush(&mut self) -> Vec<(usize, RecordBatch)> {
        super::finish(&mut self.targets, SummaryRowsBuilder::len, |target| {
            RecordBatch::try_new(schema::summaries(), target.finish())
        })
    }

    /// Ends a bounded input: tells everything.
    pub fn close(&mut self) {
        // Behind every row of the last record.
        self.at = (self.at.0.saturating_add(1), 0);
        self.tell_all();
    }

    /// Forgets what is not told yet.
    pub fn forget(&mut self) {
        self.state.pending.clear();
        self.state.sources.clear();
        self.state.identities.clear();
        self.state.agents = Sums::default();
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl LaneWalk) {
        walk.copied("profile.summing", &mut self.state);
        walk.table("profile.probers", &mut self.probers);
    }

    fn tell_all(&mut self) {
        self.state.told_ms = self.state.clock_ms;
        for pending in std::mem::take(&mut self.state.pending).into_values() {
            self.push(&pending);
        }
        self.tell_subjects();
        self.tell_agents();
    }

    fn tell_subjects(&mut self) {
        let sources = std::mem::take(&mut self.state.sources);
        let identities = std::mem::take(&mut self.state.identities);
        for (kind, sums) in [(POSTURE_SOURCE, sources), (POSTURE_IDENTITY, identities)] {
            for (name, shown) in sums.iter().filter(|(_, shown)| !shown.is_empty()) {
                self.push_row(kind, name, name, 0, encoded(shown));
            }
        }
    }

    fn tell_agents(&mut self) {
        let Sums {
            agents,
            servers,
            tools,
        } = std::mem::take(&mut self.state.agents);
        for (name, sum) in agents {
            self.push_row(AGENT, &name, &name, sum.record.n_calls, encoded(&sum));
        }
        for (name, sum) in servers {
            let n_calls = sum.record.n_calls;
            self.push_row(SERVER, host_of(&name), &name, n_calls, encoded(&sum));
        }
        for (name, record) in tools {
            self.push_row(
                TOOL,
                host_of(&name),
                &name,
                record.n_calls,
                encoded(&record),
            );
        }
    }

    fn push(&mut self, pending: &Pending) {
        let Pending {
            endpoint,
            summary,
            shown,
            outdated,
        } = pending;
        let host = endpoint.split(' ').nth(1).unwrap_or("-");
        self.push_row(ENDPOINT, host, endpoint, summary.n_calls, encoded(summary));
        if !shown.is_empty() {
            self.push_row(POSTURE, host, endpoint, summary.n_calls, encoded(shown));
        }
        if let Some(outdated) = outdated.as_ref().filter(|shown| !shown.is_empty()) {
            let sum = encoded(outdated);
            self.push_row(POSTURE_VERSION, host, endpoint, summary.n_calls, sum);
        }
    }

    /// Writes a row to the partition of `key`.
    fn push_row(&mut self, kind: &str, key: &str, name: &str, n_calls: u64, summary: Vec<u8>) {
        let at = partition_of(xxh3_64(key.as_bytes()), self.targets.len());
        let (in_offset, in_row) = self.at;
        self.at.1 += 1;
        self.targets[at].push(&SummaryRow {
            in_offset,
            in_row,
            event_time: self.state.clock_ms,
            kind,
            endpoint: name,
            n_calls: i64::try_from(n_calls).unwrap_or(i64::MAX),
            summary: &summary,
        });
    }
}

/// The sum of that name; a name is copied once a sum.
fn sum_of<'s>(sums: &'s mut BTreeMap<Box<str>, Shown>, name: &str) -> &'s mut Shown {
    if !sums.contains_key(name) {
        sums.insert(name.into(), Shown::default());
    }
    sums.get_mut(name).expect("it was put there")
}

/// Postcard has a form for every value of numbers, texts and lists.
fn encoded(sum: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(sum).unwrap_or_default()
}

/// The host of a server or tool.
fn host_of(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}
