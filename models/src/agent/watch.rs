//! What a lane of callers tells of agents and the servers they speak to.
//!
//! Comes in: every call, in the lane's order. Goes out: sums of what each agent, server and tool did since they were told
//! last; [`roster`](super::roster) merges those of all lanes. What needs the order of calls stays here: chains of tools, loops,
//! pace, and the hours at which users act without agents.
//!
//! An agent's **name** is the client of its token, by whatever sign it is recognised: a token that is one agent's in one call is no
//! other's in the next. Without a client it is its identity. Who shows no credential may
//! write any user agent from any address, so all such are one `~family` each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::cadence::Cadence;
use super::chain::Chain;
use super::check::{AgentStep, facts, server_facts};
use super::protocol::{Operation, Recognised};
use super::record::{
    AgentCall, AgentRecord, Habits, ServerCall, ServerRecord, ToolRecord, tool_name,
};
use super::register::AgentRegister;
use super::{AgentView, Grade, Recognition, Signature, recognise_by, signature};
use crate::generations::Generations;
use crate::posture::{Sample, Shown};
use crate::walk::Walk;

/// Agents, servers and tools with calls that are not told yet; the next one has all of them told.
const PENDING_MAX: usize = 512;
/// User agents whose family is at hand.
const FAMILIES: usize = 256;
/// Client of a server that showed no credential.
const ANYBODY: &str = "~anybody";

/// One call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// Event time, ms.
    pub at_ms: i64,
    /// Who calls, and the hash of it.
    pub identity: (&'a str, u64),
    /// Client or actor of the caller's token.
    pub actor: Option<&'a str>,
    /// A credential was shown.
    pub authenticated: bool,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Method as sent.
    pub method: &'a str,
    /// Raw path, secrets blanked.
    pub path: &'a str,
    /// `METHOD host /template`.
    pub endpoint: &'a str,
    /// User agent as sent.
    pub user_agent: Option<&'a str>,
    /// `Signature-Agent` header.
    pub signature_agent: Option<&'a str>,
    /// A model vendor's library says so in a header.
    pub sdk: Option<&'a str>,
    /// Size of the answer, bytes.
    pub response_bytes: Option<i64>,
    /// Hash of the call's first object: tells calls of one tool apart.
    pub object: Option<u64>,
    /// Topic, partition, offset and row of the source record.
    pub place: (&'a str, i32, i64, i32),
}

/// What calls of one agent come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSum {
    /// What it did.
    pub record: AgentRecord,
    /// What they show.
    pub shown: Shown,
}

/// What calls to one server come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSum {
    /// What it did.
    pub record: ServerRecord,
    /// What they show.
    pub shown: Shown,
}

/// What is not told yet, by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Of agents.
    pub agents: BTreeMap<Box<str>, AgentSum>,
    /// Of servers, by `host/path`.
    pub servers: BTreeMap<Box<str>, ServerSum>,
    /// Of tools, by `host/path tool`.
    pub tools: BTreeMap<Box<str>, ToolRecord>,
}

impl Sums {
    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.servers.is_empty() && self.tools.is_empty()
    }

    /// True when all of it has to be told before more is added.
    pub fn is_full(&self) -> bool {
        PENDING_MAX <= self.agents.len() + self.servers.len() + self.tools.len()
    }
}

/// One agent in the order of its calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Watch {
    chain: Chain,
    cadence: Cadence,
}

/// The watch over one lane's callers.
#[derive(Debug)]
pub struct AgentWatch {
    register: Arc<AgentRegister>,
    watches: Generations<u64, Watch>,
    habits: Generations<u64, Habits>,
    /// Families of the latest user agents: found again at once, and no state.
    families: Vec<(u64, Option<&'static Signature>)>,
}

impl AgentWatch {
    /// Bytes of an agent.
    pub const AGENT_BYTES: usize = Generations::<u64, Watch>::ENTRY_BYTES;
    /// Bytes of a user.
    pub const USER_BYTES: usize = Generations::<u64, Habits>::ENTRY_BYTES;

    /// A watch over at most so many agents and users.
    pub fn new(register: Arc<AgentRegister>, agents_max: usize, users_max: usize) -> AgentWatch {
        AgentWatch {
            register,
            watches: Generations::new(agents_max),
            habits: Generations::new(users_max),
            families: vec![(0, None); FAMILIES],
        }
    }

    /// Goes on by another register.
    pub fn follow(&mut self, register: Arc<AgentRegister>) {
        self.register = register;
    }

    /// Takes a call in; what it says of agents and servers is added to the sums.
    ///
    /// * `protocol`: the agents' protocol it speaks.
    pub fn note(&mut self, call: &Call<'_>, protocol: Option<&Recognised<'_>>, sums: &mut Sums) {
        let is_rejected = call.status == Some(401);
        let vouched = call.authenticated && !is_rejected;
        let registered = call
            .actor
            .is_some_and(|actor| self.register.agent(actor).is_some());
        let is_success = call
            .status
            .is_some_and(|status| (200..300).contains(&status));
        let view = AgentView {
            user_agent: call.user_agent,
            actor: call.actor,
            authenticated: call.authenticated,
            rejected: is_rejected,
            registered,
            // Anybody can send its headers; who is answered speaks it.
            protocol: protocol
                .filter(|_| is_success)
                .map(|protocol| protocol.grade),
            signature_agent: call.signature_agent,
            signature_verified: false,
            sdk_header: call.sdk,
        };
        let family = self.family(call.user_agent);
        let recognition = recognise_by(&view, family);
        let server = protocol
            .filter(|protocol| Grade::Strong <= protocol.grade && is_success)
            .filter(|_| call.method != "OPTIONS")
            .and_then(|protocol| Some((server_of(call.endpoint)?, protocol)));
        let Some(recognition) = recognition else {
            if vouched && call.actor.is_none() {
                self.habits.entry(call.identity.1).note(call.at_ms);
            }
            if let Some((server, protocol)) = server {
                self.note_server(call, (&server, protocol), ANYBODY, sums);
            }
            return;
        };
        let (name, on_behalf_of) = name_of(call, &recognition, vouched);
        let tool = server
            .as_ref()
            .filter(|(_, protocol)| protocol.operation == Operation::CallTool)
            .and_then(|(_, protocol)| protocol.name.as_deref());
        let told = AgentCall {
            at_ms: call.at_ms,
            recognition,
            endpoint: call.endpoint,
            server: server.as_ref().map(|(server, _)| server.as_str()),
            tool,
            on_behalf_of,
        };
        let place = sums.agents.entry(name.as_ref().into());
        let sum = place
            .and_modify(|sum| sum.record.note(&told))
            .or_insert_with(|| AgentSum {
                record: AgentRecord::new(&told),
                shown: Shown::default(),
            });
        let key = xxh3_64(name.as_bytes()) ^ call.identity.1.rotate_left(17);
        let watch = self.watches.entry(key);
        watch.cadence.note(call.at_ms);
        sum.record.is_machine |= watch.cadence.is_machine();
        let step = AgentStep {
            recognition,
            registered: self.register.agent(&name).is_some(),
            completed: tool.map(|tool| watch.chain.note(tool, call.object, call.at_ms)),
            outside: on_behalf_of.and_then(|_| {
                let habits = self.habits.get(&call.identity.1)?;
                habits.is_outside(call.at_ms)
            }),
        };
        sum.shown
            .add(facts(&step), call.identity.1, call.at_ms, |_| sample(call));
        if let Some((server, protocol)) = server {
            self.note_server(call, (&server, protocol), &name, sums);
        }
    }

    fn note_server(
        &self,
        call: &Call<'_>,
        (server, protocol): (&str, &Recognised<'_>),
        client: &str,
        sums: &mut Sums,
    ) {
        let tool = protocol
            .name
            .as_deref()
            .filter(|_| protocol.operation == Operation::CallTool);
        let listing = call.response_bytes.map(|bytes| format!("{bytes} B"));
        let sum = sums.servers.entry(server.into()).or_default();
        sum.record.note(&ServerCall {
            at_ms: call.at_ms,
            grade: protocol.grade,
            operation: protocol.operation,
            client,
            authenticated: call.authenticated,
            success: true,
            tool,
            listing: listing.as_deref(),
        });
        let facts = server_facts(protocol.grade, self.register.server(server).is_some());
        sum.shown
            .add(facts, call.identity.1, call.at_ms, |_| sample(call));
        if let Some(tool) = tool {
            let record = sums
                .tools
                .entry(tool_name(server, tool).into())
                .or_default();
            record.note(client, true, call.at_ms);
        }
    }

    fn family(&mut self, user_agent: Option<&str>) -> Option<&'static Signature> {
        let user_agent = user_agent?;
        let hash = xxh3_64(user_agent.as_bytes());
        let slot = &mut self.families[hash as usize % FAMILIES];
        if slot.0 != hash {
            *slot = (hash, signature::of_user_agent(user_agent));
        }
        slot.1
    }

    /// Agents and users.
    pub fn n_entries(&self) -> usize {
        self.watches.len() + self.habits.len()
    }

    /// Bytes.
    pub fn state_bytes(&self) -> usize {
        self.watches.table_bytes() + self.habits.table_bytes()
    }

    /// Agents and users forgotten at a bound.
    pub fn n_evicted(&self) -> u64 {
        self.watches.n_evicted() + self.habits.n_evicted()
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("agents.watches", &mut self.watches);
        walk.table("agents.habits", &mut self.habits);
    }
}

/// Name of the agent, and for whom it acts.
fn name_of<'a>(
    call: &Call<'a>,
    recognition: &Recognition,
    vouched: bool,
) -> (Cow<'a, str>, Option<&'a str>) {
    match (call.actor, vouched) {
        (Some(actor), true) => {
            let user = Some(call.identity.0).filter(|identity| *identity != actor);
            (actor.into(), user)
        }
        (_, true) => (call.identity.0.into(), None),
        (_, false) if recognition.family.is_empty() => ("~unnamed".into(), None),
        (_, false) => (format!("~{}", recognition.family).into(), None),
    }
}

/// The server of an endpoint: `host/template`.
fn server_of(endpoint: &str) -> Option<String> {
    let mut parts = endpoint.splitn(3, ' ').skip(1);
    Some(format!("{}{}", parts.next()?, parts.next()?))
}

fn sample(call: &Call<'_>) -> Sample {
    let status = call.status.unwrap_or(0);
    let text = format!("{} {} {status}", call.method, call.path);
    Sample::new(call.at_ms, call.place, &text, call.identity.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Kind;
    use crate::agent::protocol::{Request, recognise};
    use crate::agent::register::Answering;

    fn call<'a>(identity: &'a str, at_ms: i64) -> Call<'a> {
        Call {
            at_ms,
            identity: (identity, xxh3_64(identity.as_bytes())),
            authenticated: true,
            status: Some(200),
            method: "POST",
            path: "/mcp",
            endpoint: "POST mcp.x /mcp",
            place: ("t", 0, 1, 0),
            ..Call::default()
        }
    }

    fn noted(calls: &[(Call<'_>, Request<'_>)]) -> Sums {
        let mut register = AgentRegister::default();
        register.agents.insert("till".into(), Answering::default());
        let mut watch = AgentWatch::new(Arc::new(register), 100, 100);
        let mut sums = Sums::default();
        for (call, request) in calls {
            watch.note(call, recognise(request).as_ref(), &mut sums);
        }
        sums
    }

    const PLAIN: fn() -> Request<'static> = Request::default;

    fn rpc<'a>(method: &'a str, tool: Option<&'a str>) -> Request<'a> {
        Request {
            path: "/mcp",
            rpc_method: Some(method),
            tool,
            ..Request::default()
        }
    }

    #[test]
    fn agents_are_named_by_client_identity_or_family() {
        let claude = Some("Claude-User/1.0");
        #[rustfmt::skip]
        let table = [
            (Call { actor: Some("bill-agent"), ..call("ada", 1) }, PLAIN(), Some(("bill-agent", Some("ada")))),
            (Call { actor: Some("till"), ..call("ada", 1) }, PLAIN(), Some(("till", Some("ada")))),
            (Call { actor: Some("app"), ..call("ada", 1) }, PLAIN(), None),
            (Call { actor: Some("app"), ..call("ada", 1) }, rpc("tools/list", None), Some(("app", Some("ada")))),
            (call("bot", 1), rpc("tools/list", None), Some(("bot", None))),
            (Call { user_agent: claude, ..call("ada", 1) }, PLAIN(), Some(("ada", None))),
            (Call { user_agent: claude, actor: Some("app"), ..call("ada", 1) }, PLAIN(), Some(("app", Some("ada")))),
            (Call { user_agent: claude, authenticated: false, ..call("1.2.3.4", 1) }, PLAIN(), Some(("~claude-user", None))),
            (Call { user_agent: claude, status: Some(401), actor: Some("bill-agent"), ..call("ada", 1) }, PLAIN(), Some(("~claude-user", None))),
            (Call { sdk: Some("python"), authenticated: false, ..call("1.2.3.4", 1) }, PLAIN(), Some(("~unnamed", None))),
            (call("ada", 1), PLAIN(), None),
        ];
        for (call, request, want) in table {
            let sums = noted(&[(call, request)]);
            let found = sums.agents.iter().next().map(|(name, sum)| {
                let user = sum.record.on_behalf_of.iter().next();
                (&**name, user.map(|user| user.name.as_str()))
            });
            assert_eq!(found, want, "{call:?}");
        }
    }

    #[test]
    fn only_answered_calls_of_the_protocol_make_a_server() {
        let list = rpc("tools/list", None);
        let hint = Request {
            path: "/mcp",
            ..Request::default()
        };
        #[rustfmt::skip]
        let table = [
            (call("bot", 1), list, true),
            (Call { authenticated: false, ..call("bot", 1) }, list, true),
            (Call { status: Some(404), ..call("bot", 1) }, list, false),
            (Call { status: None, ..call("bot", 1) }, list, false),
            (Call { method: "OPTIONS", ..call("bot", 1) }, list, false),
            (call("bot", 1), hint, false),
        ];
        for (call, request, want) in table {
            let sums = noted(&[(call, request)]);
            assert_eq!(sums.servers.contains_key("mcp.x/mcp"), want, "{call:?}");
        }
    }

    #[test]
    fn tools_and_chains_are_noted_in_their_order() {
        let steps = ["read_email", "fetch_url", "send_email"];
        let calls: Vec<_> = (1..)
            .zip(steps)
            .map(|(at, tool)| (call("bot", at), rpc("tools/call", Some(tool))))
            .collect();
        let sums = noted(&calls);
        let bot = &sums.agents["bot"];
        assert_eq!(bot.record.kind, Kind::Unknown);
        assert_eq!(bot.record.tools.len(), 3);
        let chain = crate::agent::AGENT_CHECKS
            .iter()
            .find(|check| check.id == "agent_tool_chain");
        let tally = bot.shown.counts.tally(chain.expect("a check").number);
        assert_eq!((tally.bad, tally.of), (1, 3));
        let record = &sums.tools["mcp.x/mcp send_email"];
        assert_eq!((record.n_calls, record.first_ms), (1, 3));
        let mut backwards = calls.clone();
        backwards.reverse();
        let none = noted(&backwards).agents["bot"].shown.counts.tally(6);
        assert_eq!(none.bad, 0);
    }

    #[test]
    fn callers_without_a_credential_add_no_names() {
        let agents: Vec<String> = (0..1000).map(|i| format!("10.0.0.{i}")).collect();
        let calls: Vec<_> = agents
            .iter()
            .map(|identity| {
                let call = Call {
                    user_agent: Some("GPTBot/1.2"),
                    authenticated: false,
                    ..call(identity, 5)
                };
                (call, rpc("tools/list", None))
            })
            .collect();
        let sums = noted(&calls);
        assert_eq!((sums.agents.len(), sums.servers.len()), (1, 1));
        assert_eq!(sums.agents["~gptbot"].record.n_calls, 1000);
    }
}
