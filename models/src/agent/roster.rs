//! Agents, servers and tools as all lanes together know them, and what is wrong with them.
//!
//! Comes in: sums of [`watch`](super::watch), from every lane, in any parts. Goes out: records that changed, and findings that
//! did. A record with a new name in it (an agent, an endpoint it uses, a server, a tool) is told at once, other changes at the end
//! of the minute of event time; findings are looked at then, so how calls were summed up makes no difference to any life.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::Grade;
use super::check::{AGENT_CHECKS, growth, listing};
use super::record::{AgentRecord, ServerRecord, ToolRecord};
use super::register::AgentRegister;
use super::watch::{AgentSum, ServerSum};
use crate::generations::Generations;
use crate::posture::check::Scope;
use crate::posture::{Book, Shown, Standing, Told};
use crate::walk::Walk;

/// Event time between two looks at what has changed, ms.
const LOOK_EVERY_MS: i64 = 60_000;

/// An agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Agent {
    name: Box<str>,
    record: Option<AgentRecord>,
    shown: Shown,
    book: Book,
    discovered_ms: i64,
}

/// A server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Server {
    name: Box<str>,
    record: ServerRecord,
    shown: Shown,
    book: Book,
    discovered_ms: i64,
}

/// A tool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Tool {
    name: Box<str>,
    record: ToolRecord,
    discovered_ms: i64,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Key {
    Agent(u64),
    Server(u64),
    Tool(u64),
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// An agent.
    Agent(Box<AgentRecord>),
    /// A server.
    Server(Box<ServerRecord>),
    /// A tool.
    Tool(Box<ToolRecord>),
}

/// A record to tell, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Noticed {
    /// Its name: of a tool, `host/path tool`.
    pub name: Box<str>,
    /// What it is.
    pub subject: Subject,
    /// Who answers for it, where the register says so.
    pub owner: Option<String>,
    /// The telling lane's clock when it was first told, ms.
    pub discovered_ms: i64,
    /// True when it is told for the first time.
    pub is_new: bool,
}

/// What is to be told.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Records that changed.
    pub records: Vec<Noticed>,
    /// Findings that did.
    pub findings: Vec<Told>,
}

/// The agents, servers and tools of one lane.
#[derive(Debug)]
pub struct Roster {
    register: Arc<AgentRegister>,
    agents: Generations<u64, Agent>,
    servers: Generations<u64, Server>,
    tools: Generations<u64, Tool>,
    /// Those that changed since the last look.
    changed: BTreeSet<Key>,
    changed_max: usize,
    clock_ms: i64,
}

impl Roster {
    /// Bytes of an agent at most: 168 names, and what its calls show.
    pub const AGENT_BYTES: usize = Generations::<u64, Agent>::ENTRY_BYTES + (80 << 10);
    /// Bytes of a server at most: 336 names, and what calls to it show.
    pub const SERVER_BYTES: usize = Generations::<u64, Server>::ENTRY_BYTES + (128 << 10);
    /// Bytes of a tool at most: 32 names.
    pub const TOOL_BYTES: usize = Generations::<u64, Tool>::ENTRY_BYTES + (10 << 10);

    /// A roster of at most so many agents, servers and tools; agents that only claim to be some are forgotten first.
    pub fn new(
        register: Arc<AgentRegister>,
        agents_max: usize,
        servers_max: usize,
        tools_max: usize,
    ) -> Roster {
        let strength = |agent: &Agent| {
            let grade = agent.record.as_ref().map(|record| record.grade);
            f64::from(u8::from(Some(Grade::Strong) <= grade))
        };
        Roster {
            register,
            agents: Generations::new(agents_max).keeping(strength),
            servers: Generations::new(servers_max),
            tools: Generations::new(tools_max),
            changed: BTreeSet::new(),
            changed_max: agents_max + servers_max + tools_max,
            clock_ms: i64::MIN,
        }
    }

    /// Goes on by another register: what is told and counted from now on is by it.
    pub fn follow(&mut self, register: Arc<AgentRegister>) {
        self.register = register;
    }

    /// Takes what calls of an agent come to.
    ///
    /// * `at_ms`: the clock of the lane that tells, when it told: the earliest is when the agent was discovered, however far others are.
    pub fn absorb_agent(&mut self, name: &str, sum: &AgentSum, at_ms: i64, news: &mut News) {
        self.reach(at_ms, news);
        let key = xxh3_64(name.as_bytes());
        let agent = self.agents.entry(key);
        let n_names = |record: &AgentRecord| {
            record.endpoints.len() + record.servers.len() + record.tools.len()
        };
        let before = agent.record.as_ref().map_or(0, n_names);
        if agent.record.is_none() {
            (agent.name, agent.discovered_ms) = (name.into(), at_ms);
        }
        agent.discovered_ms = agent.discovered_ms.min(at_ms);
        let record = match &mut agent.record {
            Some(record) => {
                record.merge(&sum.record);
                record
            }
            none => none.insert(sum.record.clone()),
        };
        let is_grown = before < n_names(record);
        agent.shown.merge(&sum.shown);
        let declared = self.register.agent(name);
        agent
            .shown
            .counts
            .merge(&growth(&sum.record, record, declared));
        self.change(Key::Agent(key), is_grown, before == 0, news);
    }

    /// Takes what calls to a server come to.
    pub fn absorb_server(&mut self, name: &str, sum: &ServerSum, at_ms: i64, news: &mut News) {
        self.reach(at_ms, news);
        let key = xxh3_64(name.as_bytes());
        let server = self.servers.entry(key);
        let is_new = server.record.n_calls == 0;
        if is_new {
            (server.name, server.discovered_ms) = (name.into(), at_ms);
        }
        server.discovered_ms = server.discovered_ms.min(at_ms);
        // The register may have changed since the last start.
        let declared = self.register.server(name);
        for tool in declared.into_iter().flat_map(|declared| &declared.tools) {
            if server.record.listed.get(tool).is_none() {
                server.record.list(tool, at_ms);
            }
        }
        let before = server.record.called.len();
        server.record.merge(&sum.record);
        let is_grown = is_new || before < server.record.called.len();
        server.shown.merge(&sum.shown);
        server
            .shown
            .counts
            .merge(&listing(&sum.record, &server.record));
        self.change(Key::Server(key), is_grown, is_new, news);
    }

    /// Takes what calls of a tool come to.
    pub fn absorb_tool(&mut self, name: &str, sum: &ToolRecord, at_ms: i64, news: &mut News) {
        self.reach(at_ms, news);
        let key = xxh3_64(name.as_bytes());
        let tool = self.tools.entry(key);
        let is_new = tool.record.n_calls == 0;
        if is_new {
            (tool.name, tool.discovered_ms) = (name.into(), at_ms);
        }
        tool.discovered_ms = tool.discovered_ms.min(at_ms);
        tool.record.merge(sum);
        self.change(Key::Tool(key), is_new, is_new, news);
    }

    /// Looks at what has changed, when event time has come to the end of a minute.
    pub fn reach(&mut self, at_ms: i64, news: &mut News) {
        let minute = |ms: i64| ms.div_euclid(LOOK_EVERY_MS);
        if minute(self.clock_ms) < minute(at_ms) {
            self.look(news);
        }
        self.clock_ms = at_ms.max(self.clock_ms);
    }

    /// Looks at what has changed: nothing more comes.
    pub fn close(&mut self, news: &mut News) {
        self.look(news);
    }

    /// Agents, servers and tools.
    pub fn n_entries(&self) -> usize {
        self.agents.len() + self.servers.len() + self.tools.len()
    }

    /// Bytes, about: most are far below their bound.
    pub fn state_bytes(&self) -> usize {
        let tables =
            self.agents.table_bytes() + self.servers.table_bytes() + self.tools.table_bytes();
        tables + 2048 * self.n_entries()
    }

    /// Agents, servers and tools forgotten at a bound.
    pub fn n_evicted(&self) -> u64 {
        self.agents.n_evicted() + self.servers.n_evicted() + self.tools.n_evicted()
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("roster.agents", &mut self.agents);
        walk.table("roster.servers", &mut self.servers);
        walk.table("roster.tools", &mut self.tools);
        walk.value("roster.changed", &mut self.changed);
        walk.value("roster.clock_ms", &mut self.clock_ms);
    }

    /// Notes that something is not as it was told.
    fn change(&mut self, key: Key, is_news: bool, is_new: bool, news: &mut News) {
        if is_news {
            news.records.extend(self.record(key, is_new));
        }
        // Findings are looked at later in any case.
        self.changed.insert(key);
        if self.changed_max < self.changed.len() {
            self.look(news);
        }
    }

    fn record(&mut self, key: Key, is_new: bool) -> Option<Noticed> {
        let (name, subject, owner, discovered_ms) = match key {
            Key::Agent(key) => {
                let agent = self.agents.get(&key)?;
                let owner = self.register.agent(&agent.name);
                let record = Box::new(agent.record.clone()?);
                (
                    &agent.name,
                    Subject::Agent(record),
                    owner,
                    agent.discovered_ms,
                )
            }
            Key::Server(key) => {
                let server = self.servers.get(&key)?;
                let owner = self.register.server(&server.name);
                let record = Box::new(server.record.clone());
                (
                    &server.name,
                    Subject::Server(record),
                    owner,
                    server.discovered_ms,
                )
            }
            Key::Tool(key) => {
                let tool = self.tools.get(&key)?;
                let server = tool.name.split(' ').next().unwrap_or_default();
                let owner = self.register.server(server);
                let record = Box::new(tool.record.clone());
                (&tool.name, Subject::Tool(record), owner, tool.discovered_ms)
            }
        };
        Some(Noticed {
            name: name.clone(),
            subject,
            owner: owner.map(|answering| answering.owner.clone()),
            discovered_ms,
            is_new,
        })
    }

    fn look(&mut self, news: &mut News) {
        for key in std::mem::take(&mut self.changed) {
            // Forgotten since.
            let Some(record) = self.record(key, false) else {
                continue;
            };
            news.records.push(record);
            let (scope, owner, name, shown, book) = match key {
                Key::Agent(key) => {
                    let Agent {
                        name, shown, book, ..
                    } = self.agents.entry(key);
                    let owner = self.register.agent(name);
                    (Scope::Identity, owner, name, shown, book)
                }
                Key::Server(key) => {
                    let Server {
                        name, shown, book, ..
                    } = self.servers.entry(key);
                    let owner = self.register.server(name);
                    (Scope::Endpoint, owner, name, shown, book)
                }
                Key::Tool(_) => continue,
            };
            let standing = Standing {
                counts: &shown.counts,
                host: None,
                n_identities: shown.callers.estimate().max(1),
                at_ms: self.clock_ms,
            };
            let owner = owner.map(|answering| answering.owner.as_str());
            book.observe(
                &AGENT_CHECKS,
                (scope, name),
                &standing,
                |finding, change| {
                    let samples = shown.samples.iter();
                    for (_, samples) in samples.filter(|(number, _)| *number == finding.check) {
                        finding.samples.merge(samples);
                    }
                    finding.set_owner(owner);
                    let check = AGENT_CHECKS
                        .iter()
                        .find(|check| check.number == finding.check);
                    news.findings.extend(check.map(|check| Told {
                        finding: finding.clone(),
                        check,
                        change,
                        at_ms: standing.at_ms,
                    }));
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::protocol::Operation;
    use crate::agent::record::{AgentCall, ServerCall};
    use crate::agent::register::Answering;
    use crate::agent::{Kind, Recognition, Sign};
    use crate::posture::Change;

    fn sum(endpoint: &str, at_ms: i64) -> AgentSum {
        let record = AgentRecord::new(&AgentCall {
            at_ms,
            recognition: Recognition {
                grade: Grade::Strong,
                sign: Sign::Protocol,
                family: "",
                operator: "",
                kind: Kind::Unknown,
            },
            endpoint,
            server: None,
            tool: None,
            on_behalf_of: None,
        });
        AgentSum {
            record,
            shown: Shown::default(),
        }
    }

    fn roster(register: AgentRegister) -> Roster {
        Roster::new(Arc::new(register), 100, 100, 100)
    }

    fn told_of(news: &mut News) -> Vec<(String, bool)> {
        let records = std::mem::take(news).records.into_iter();
        records
            .map(|record| (record.name.into_string(), record.is_new))
            .collect()
    }

    #[test]
    fn news_is_told_at_once_and_counts_once_a_minute() {
        let (mut roster, mut told) = (roster(AgentRegister::default()), News::default());
        roster.absorb_agent("bot", &sum("GET a /x", 1000), 1000, &mut told);
        assert_eq!(told_of(&mut told), [("bot".to_owned(), true)]);
        roster.absorb_agent("bot", &sum("GET a /x", 2000), 2000, &mut told);
        assert_eq!(told_of(&mut told), []);
        roster.absorb_agent("bot", &sum("GET a /y", 3000), 3000, &mut told);
        assert_eq!(
            told_of(&mut told),
            [("bot".to_owned(), false)],
            "another endpoint"
        );
        roster.reach(59_999, &mut told);
        assert_eq!(told_of(&mut told), []);
        roster.reach(60_000, &mut told);
        assert_eq!(told_of(&mut told), [("bot".to_owned(), false)]);
        roster.close(&mut told);
        assert_eq!(told_of(&mut told), [], "nothing has changed since");
    }

    #[test]
    fn tools_the_register_does_not_name_are_findings_of_their_server() {
        let answering = Answering {
            owner: "search team".into(),
            tools: ["find".to_owned()].into(),
            ..Answering::default()
        };
        let mut register = AgentRegister::default();
        register.servers.insert("m.x/mcp".into(), answering);
        let (mut roster, mut told) = (roster(register), News::default());
        for (at_ms, tool) in [(1, "find"), (2, "drop_all")] {
            let mut sum = ServerSum::default();
            sum.record.note(&ServerCall {
                at_ms,
                grade: Grade::Proof,
                operation: Operation::CallTool,
                client: "bot",
                authenticated: true,
                success: true,
                tool: Some(tool),
                listing: None,
            });
            roster.absorb_server("m.x/mcp", &sum, at_ms, &mut told);
        }
        roster.close(&mut told);
        let findings = told.findings.iter();
        let found: Vec<_> = findings
            .map(|told| (told.check.id, told.change, told.finding.owner.as_deref()))
            .collect();
        assert_eq!(
            found,
            [("mcp_tool_unlisted", Change::Opened, Some("search team"))]
        );
    }

    #[test]
    fn a_million_names_stay_within_the_bounds_and_strong_ones_stay() {
        let (mut roster, mut told) = (roster(AgentRegister::default()), News::default());
        roster.absorb_agent("bot", &sum("GET a /x", 0), 0, &mut told);
        let mut weak = sum("GET a /x", 0);
        weak.record.grade = Grade::Claim;
        for i in 0..100_000 {
            roster.absorb_agent(&format!("a{i}"), &weak, i, &mut told);
            told = News::default();
        }
        assert!(roster.n_entries() <= 100 && roster.changed.len() <= 301);
        assert!(roster.agents.get(&xxh3_64(b"bot")).is_some());
    }
}
