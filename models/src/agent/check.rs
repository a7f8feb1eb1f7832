//! Eight findings about agents and MCP servers, with the life of every other. MCP without authentication is posture's check 46.
//!
//! What a call shows by itself is [`facts`] and [`server_facts`]; what only the merged record shows is [`growth`] and [`listing`], of
//! sums of calls. Their [`Counts`] are kept per agent (or server) apart from those of posture, whose numbers
//! mean other checks, and [`Life::observe`](crate::posture::Life::observe) tells what becomes of them.

use std::fmt::Write as _;

use super::chain::Completed;
use super::record::{AgentRecord, Named, ServerRecord, is_growth};
use super::register::Answering;
use super::{Grade, Kind, Recognition};
use crate::compliance;
use crate::posture::check::{Check, Decided, Scope, Severity, Test, Tier};
use crate::posture::{Counts, Facts, Tally, columns};

/// Number of each check.
mod number {
    pub(super) const NEW_AGENT: u8 = 1;
    pub(super) const UNKNOWN_SERVER: u8 = 2;
    pub(super) const SCOPE_GROWTH: u8 = 3;
    pub(super) const TOOLS_CHANGED: u8 = 4;
    pub(super) const UNLISTED_TOOL: u8 = 5;
    pub(super) const CHAIN: u8 = 6;
    pub(super) const LOOP: u8 = 7;
    pub(super) const OUTSIDE_HABITS: u8 = 8;
}

/// One call of an agent, as far as its order or the register tells of it.
#[derive(Clone, Copy, Debug)]
pub struct AgentStep {
    /// What the call says of the agent.
    pub recognition: Recognition,
    /// True when somebody answers for the agent.
    pub registered: bool,
    /// What the call completed; of tool calls.
    pub completed: Option<Completed>,
    /// Whether the user the agent acts for never acts at that hour, where that is known.
    pub outside: Option<bool>,
}

/// The facts of one call of an agent.
pub fn facts(step: &AgentStep) -> Facts {
    let mut facts = Facts::default();
    let is_agent = is_agent(step.recognition.grade, step.recognition.kind);
    facts.judge(number::NEW_AGENT, is_agent, !step.registered);
    if let Some(completed) = step.completed {
        facts.judge(number::CHAIN, true, completed.chain);
        facts.judge(number::LOOP, true, completed.repeat);
    }
    if let Some(outside) = step.outside {
        facts.judge(number::OUTSIDE_HABITS, true, outside);
    }
    facts
}

/// The facts of one answered call to a server.
pub fn server_facts(grade: Grade, registered: bool) -> Facts {
    let mut facts = Facts::default();
    facts.judge(number::UNKNOWN_SERVER, Grade::Strong <= grade, !registered);
    facts
}

/// Crawlers come to what is public, and a pace alone makes no agent.
fn is_agent(grade: Grade, kind: Kind) -> bool {
    Grade::Claim <= grade && kind != Kind::Crawler
}

/// How many calls of a sum went beyond what the agent did before, and of how many.
///
/// * `sum`: calls since the last look; `record`: all calls, these included.
/// * `declared`: what the register names, if it names the agent.
pub fn growth(sum: &AgentRecord, record: &AgentRecord, declared: Option<&Answering>) -> Counts {
    if !is_agent(record.grade, record.kind) {
        return Counts::default();
    }
    let mut tally = Tally::default();
    let mut judge = |named: &Named, known: Option<&Named>, is_declared: bool| {
        let Some(known) = known else { return };
        tally.of += named.n;
        if is_growth(known, record.first_ms, named.last_ms) && !is_declared {
            tally.bad += named.n;
        }
    };
    for named in sum.endpoints.iter() {
        let is_declared = declared.is_some_and(|one| one.endpoints.contains(&named.name));
        judge(named, record.endpoints.get(&named.name), is_declared);
    }
    for named in sum.tools.iter() {
        let is_declared = declared.is_some_and(|one| one.tools.contains(&named.name));
        judge(named, record.tools.get(&named.name), is_declared);
    }
    counts(number::SCOPE_GROWTH, tally)
}

/// How many answers of a sum listed other tools than before, and how many calls were of tools that are not listed.
///
/// * `sum`: calls since the last look; `record`: all calls, these included.
pub fn listing(sum: &ServerRecord, record: &ServerRecord) -> Counts {
    let (mut changed, mut unlisted) = (Tally::default(), Tally::default());
    for named in sum.listings.iter() {
        // One beyond those kept is told by none: there are too many to say which is new.
        let Some(known) = record.listings.get(&named.name) else {
            continue;
        };
        changed.of += named.n;
        if is_growth(known, record.first_ms, named.last_ms) {
            changed.bad += named.n;
        }
    }
    let is_whole = !record.listed.is_empty() && record.listed.n_over() == 0;
    if is_whole {
        for named in sum.called.iter() {
            unlisted.of += named.n;
            if record.listed.get(&named.name).is_none() {
                unlisted.bad += named.n;
            }
        }
    }
    let mut all = counts(number::TOOLS_CHANGED, changed);
    all.merge(&counts(number::UNLISTED_TOOL, unlisted));
    all
}

fn counts(number: u8, tally: Tally) -> Counts {
    let pairs = [
        (Facts::eligible(number), tally.of),
        (Facts::bad(number), tally.bad),
    ];
    Counts::from_pairs(pairs.into_iter().filter(|(_, n)| *n != 0))
}

const fn declare(
    number: u8,
    id: &'static str,
    title: &'static str,
    severity: Severity,
    scope: Scope,
    test: Test,
    finding: &'static str,
) -> Check {
    Check {
        number,
        id,
        title,
        severity,
        tier: Tier::T0,
        scope,
        needs: &[],
        decided: Decided::Calls(test),
        finding,
        bad: "",
        contrary: "",
        quiet: "",
        remedy: "",
    }
}

/// The checks; numbers are theirs alone.
pub static AGENT_CHECKS: [Check; 8] = [
    Check {
        needs: &["identity"],
        bad: "a call of an agent nobody answers for",
        contrary: "a call of it after it was registered or given an owner",
        quiet: "Crawlers are left out, and so is whoever has only the pace of a program. A claimed user agent is enough: the record says that it is a claim.",
        remedy: "Register the agent with its owner and scope, or take its credential away.",
        ..declare(
            number::NEW_AGENT,
            "agent_new",
            "An agent nobody answers for",
            Severity::Low,
            Scope::Identity,
            Test::seen(3, 0),
            "new_ai_agent",
        )
    },
    Check {
        needs: &["rpc_method"],
        bad: "a call answered by a server that speaks MCP or A2A and is not registered",
        contrary: "a call answered by it after it was registered",
        quiet: "A path alone makes no server: the protocol's header or method is needed.",
        remedy: "Register the server with its owner, or take it off.",
        ..declare(
            number::UNKNOWN_SERVER,
            "mcp_server_unknown",
            "An MCP server that is not registered",
            Severity::Medium,
            Scope::Endpoint,
            Test::seen(3, 0),
            "shadow_mcp_server",
        )
    },
    Check {
        needs: &["identity", "endpoint"],
        bad: "a call on an endpoint or tool the agent first used after its first week, within thirty days of that, and not declared",
        contrary: "a call within what it used before or has declared",
        quiet: "What it does in its first week is learnt, and what it has done for a month is its scope. An agent with more than 64 endpoints or tools is not judged by those beyond.",
        remedy: "Ask the owner whether the new use is meant, then declare it, or narrow the agent's credential.",
        ..declare(
            number::SCOPE_GROWTH,
            "agent_scope_growth",
            "An agent does more than it did",
            Severity::Medium,
            Scope::Identity,
            Test::seen(3, 0),
            "ai_agent_scope_growth",
        )
    },
    Check {
        needs: &["rpc_method", "response_bytes"],
        bad: "an answer to `tools/list` unlike those of the server's first week, within thirty days of the first such",
        contrary: "an answer like one known before",
        quiet: "A server may list differently by caller and page: sixteen lists are told apart, by the size of the answer, and all of the first week are approved. A changed description of equal length is not seen.",
        remedy: "Compare the list with the approved one, above all its descriptions: agents obey them.",
        ..declare(
            number::TOOLS_CHANGED,
            "mcp_tools_changed",
            "A server's list of tools changed",
            Severity::Medium,
            Scope::Endpoint,
            Test::seen(2, 0),
            "mcp_tool_list_changed",
        )
    },
    Check {
        needs: &["rpc_method", "tool"],
        bad: "a tool called with success that no list names",
        contrary: "a call of a tool that is listed",
        quiet: "Only where the register names the server's tools: no log holds the answer that lists them.",
        remedy: "Refuse tools that are not listed, and find out who told the caller its name.",
        ..declare(
            number::UNLISTED_TOOL,
            "mcp_tool_unlisted",
            "A tool was called that was never listed",
            Severity::High,
            Scope::Endpoint,
            Test::seen(1, 0),
            "mcp_tool_list_changed",
        )
    },
    Check {
        needs: &["rpc_method", "tool"],
        bad: "within twenty tool calls one that reads what is private, one that reads what strangers wrote, then one that sends out",
        contrary: "a tool call that completes no such chain",
        quiet: "Tools are judged by the words of their names; reading and sending mail alone is none. An agent whose work this is, is told once.",
        remedy: "See what was read and sent in the samples. Ask a person before sending, or part the tools among agents.",
        ..declare(
            number::CHAIN,
            "agent_tool_chain",
            "An agent read private and strange things, then wrote outside",
            Severity::Medium,
            Scope::Identity,
            Test::seen(1, 0),
            "agent_tool_chain",
        )
    },
    Check {
        needs: &["rpc_method", "tool", "object"],
        bad: "the tenth and later equal call of a tool in two minutes",
        contrary: "any other tool call",
        quiet: "Equal are tool and arguments, or the objects in them; without either no loop is seen. Whoever polls more slowly than every 13 s is none.",
        remedy: "Bound the steps of a run, and the calls of a session at the server.",
        ..declare(
            number::LOOP,
            "agent_loop",
            "An agent repeats itself",
            Severity::Low,
            Scope::Identity,
            Test::seen(1, 0),
            "agent_loop",
        )
    },
    Check {
        needs: &["actor", "identity"],
        bad: "a call for a user at an hour at which, and around which, that user was never seen",
        contrary: "a call for a user at the user's own hours",
        quiet: "The user must have been seen 200 times on seven days without an agent. Jobs that a user leaves to an agent overnight look the same: so twenty calls are needed, and it is told once.",
        remedy: "Ask the user; give agents credentials of their own, good for the task and the time.",
        ..declare(
            number::OUTSIDE_HABITS,
            "agent_outside_habits",
            "An agent acts when its user never does",
            Severity::Low,
            Scope::Identity,
            Test::seen(20, 0),
            "ai_agent_scope_growth",
        )
    },
];

/// The checks as Markdown.
pub fn agents_page() -> String {
    let mut page = String::from(
        "| id | check | severity | about | calls | needs |\n|---|---|---|---|---|---|\n",
    );
    for check in &AGENT_CHECKS {
        let opens = check.test().map_or(0, |test| test.bad_min);
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {opens} | {} |",
            check.id,
            check.title,
            check.severity.as_str(),
            check.scope.as_str(),
            columns(check)
        );
    }
    for check in &AGENT_CHECKS {
        let _ = writeln!(
            page,
            "\n**`{}`**: {}.\nShown by {}. Contrary: {}.\n{} *{}*",
            check.id, check.title, check.bad, check.contrary, check.quiet, check.remedy
        );
        if let Some(standards) = compliance::find(check.finding) {
            let _ = writeln!(page, "\n{}", standards.line());
        }
    }
    page
}
