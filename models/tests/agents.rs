//! Findings about agents: each fires, stays quiet, and has its boundary, over records as a lane would keep them.

use models::agent::chain::Chain;
use models::agent::check::{AgentStep, facts, growth, listing, server_facts};
use models::agent::protocol::Operation;
use models::agent::record::{AgentCall, AgentRecord, Habits, ServerCall, ServerRecord, ToolRecord};
use models::agent::register::Answering;
use models::agent::{AGENT_CHECKS, Grade, Kind, Recognition, Sign};
use models::posture::{Change, Counts, Facts, Life, Phase, Standing, fingerprint};
use proptest::prelude::*;

const DAY_MS: i64 = 86_400_000;
const SERVER: &str = "mcp.x/mcp";

fn recognition(grade: Grade, kind: Kind) -> Recognition {
    Recognition {
        grade,
        sign: Sign::UserAgent,
        family: "",
        operator: "",
        kind,
    }
}

/// An agent's lane in small: its record, its chain, counts and lives of its findings.
struct Lane {
    agent: Option<AgentRecord>,
    chain: Chain,
    server: ServerRecord,
    counts: Counts,
    server_counts: Counts,
    lives: Vec<Life>,
    registered: bool,
    declared: Option<Answering>,
    habits: Option<Habits>,
    changes: Vec<(&'static str, Change)>,
}

/// One call of the agent.
#[derive(Clone, Copy)]
struct Step<'a> {
    at_ms: i64,
    endpoint: &'a str,
    operation: Operation,
    tool: Option<&'a str>,
    listing: Option<&'a str>,
    success: bool,
    arguments: Option<u64>,
}

fn step(at_ms: i64) -> Step<'static> {
    Step {
        at_ms,
        endpoint: "POST mcp.x/mcp",
        operation: Operation::Other,
        tool: None,
        listing: None,
        success: true,
        arguments: None,
    }
}

fn tool(at_ms: i64, tool: &str) -> Step<'_> {
    Step {
        operation: Operation::CallTool,
        tool: Some(tool),
        ..step(at_ms)
    }
}

impl Lane {
    fn new() -> Lane {
        Lane {
            agent: None,
            chain: Chain::default(),
            server: ServerRecord::default(),
            counts: Counts::default(),
            server_counts: Counts::default(),
            lives: vec![Life::default(); AGENT_CHECKS.len()],
            registered: true,
            declared: None,
            habits: None,
            changes: Vec::new(),
        }
    }

    fn call(&mut self, step: Step<'_>) {
        self.call_as(step, recognition(Grade::Strong, Kind::Unknown));
    }

    fn call_as(&mut self, step: Step<'_>, recognition: Recognition) {
        let call = AgentCall {
            at_ms: step.at_ms,
            recognition,
            endpoint: step.endpoint,
            server: Some(SERVER),
            tool: step.tool,
            on_behalf_of: Some("ada"),
        };
        let sum = AgentRecord::new(&call);
        let agent = match &mut self.agent {
            Some(agent) => {
                agent.merge(&sum);
                agent
            }
            none => none.insert(sum.clone()),
        };
        let mut server_sum = ServerRecord::default();
        server_sum.note(&ServerCall {
            at_ms: step.at_ms,
            grade: Grade::Proof,
            operation: step.operation,
            client: "bot",
            authenticated: true,
            success: step.success,
            tool: step.tool,
            listing: step.listing,
        });
        self.server.merge(&server_sum);
        let completed = step
            .tool
            .map(|tool| self.chain.note(tool, step.arguments, step.at_ms));
        let told = AgentStep {
            recognition,
            registered: self.registered,
            completed,
            outside: self
                .habits
                .as_ref()
                .and_then(|habits| habits.is_outside(step.at_ms)),
        };
        self.counts.add(facts(&told));
        self.counts
            .merge(&growth(&sum, agent, self.declared.as_ref()));
        self.server_counts
            .add(server_facts(Grade::Proof, self.registered));
        self.server_counts
            .merge(&listing(&server_sum, &self.server));
        for (check, life) in AGENT_CHECKS.iter().zip(&mut self.lives) {
            let about_server = matches!(
                check.id,
                "mcp_server_unknown" | "mcp_tools_changed" | "mcp_tool_unlisted"
            );
            let counts = if about_server {
                &self.server_counts
            } else {
                &self.counts
            };
            let standing = Standing {
                counts,
                host: None,
                n_identities: 1,
                at_ms: step.at_ms,
            };
            let change = life.observe(check, &standing);
            self.changes.extend(change.map(|change| (check.id, change)));
        }
    }

    fn opened(&self) -> Vec<&'static str> {
        self.changes
            .iter()
            .filter(|(_, change)| *change == Change::Opened)
            .map(|(id, _)| *id)
            .collect()
    }

    fn phase(&self, id: &str) -> Phase {
        let at = AGENT_CHECKS
            .iter()
            .position(|check| check.id == id)
            .expect("a check");
        self.lives[at].phase
    }
}

#[test]
fn a_new_agent_and_server_are_told_until_somebody_answers_for_them() {
    let mut lane = Lane::new();
    lane.registered = false;
    (0..2).for_each(|i| lane.call(step(i)));
    assert!(lane.opened().is_empty(), "two calls");
    lane.call(step(2));
    assert_eq!(lane.opened(), ["agent_new", "mcp_server_unknown"]);
    lane.registered = true;
    (3..23).for_each(|i| lane.call(step(i)));
    assert_eq!(
        (lane.phase("agent_new"), lane.phase("mcp_server_unknown")),
        (Phase::Resolved, Phase::Resolved)
    );
    lane.registered = false;
    (23..30).for_each(|i| lane.call(step(i)));
    assert!(
        lane.changes.contains(&("agent_new", Change::Regressed)),
        "no longer registered"
    );
}

#[test]
fn crawlers_and_mere_paces_are_no_agents() {
    for (grade, kind, want) in [
        (Grade::Claim, Kind::Crawler, false),
        (Grade::Hint, Kind::Unknown, false),
        (Grade::Claim, Kind::Assistant, true),
    ] {
        let mut lane = Lane::new();
        lane.registered = false;
        (0..9).for_each(|i| lane.call_as(step(i), recognition(grade, kind)));
        assert_eq!(
            lane.opened().contains(&"agent_new"),
            want,
            "{grade:?} {kind:?}"
        );
    }
}

#[test]
fn an_agent_that_does_more_than_in_its_first_week_is_told_and_then_known() {
    let new = |at_ms| Step {
        endpoint: "GET api.x/salaries",
        ..step(at_ms)
    };
    let mut lane = Lane::new();
    lane.call(step(0));
    (0..9).for_each(|i| lane.call(new(7 * DAY_MS - i)));
    assert!(lane.opened().is_empty(), "within the week");
    let mut lane = Lane::new();
    lane.call(step(0));
    (1..3).for_each(|i| lane.call(new(8 * DAY_MS + i)));
    assert!(lane.opened().is_empty(), "two calls");
    lane.call(new(8 * DAY_MS + 3));
    assert_eq!(lane.opened(), ["agent_scope_growth"]);
    (0..60).for_each(|i| lane.call(new(39 * DAY_MS + i)));
    assert_eq!(
        lane.phase("agent_scope_growth"),
        Phase::Resolved,
        "a month later it is its scope"
    );
    let mut lane = Lane::new();
    lane.declared = Some(Answering {
        endpoints: ["GET api.x/salaries".to_owned()].into(),
        ..Answering::default()
    });
    lane.call(step(0));
    (0..9).for_each(|i| lane.call(new(8 * DAY_MS + i)));
    assert!(lane.opened().is_empty(), "declared");
    let mut lane = Lane::new();
    lane.call(tool(0, "get_task"));
    (0..3).for_each(|i| lane.call(tool(8 * DAY_MS + i, "delete_task")));
    assert_eq!(
        lane.opened(),
        ["agent_scope_growth"],
        "a tool counts as well"
    );
}

#[test]
fn a_list_of_tools_that_changes_after_the_first_week_is_told() {
    let list = |at_ms, listing| Step {
        operation: Operation::ListTools,
        listing: Some(listing),
        ..step(at_ms)
    };
    let mut lane = Lane::new();
    for i in 0..20 {
        lane.call(list(i * DAY_MS / 4, if i % 2 == 0 { "a" } else { "b" }));
    }
    lane.call(list(8 * DAY_MS, "b"));
    assert!(
        lane.opened().is_empty(),
        "two pages, known from the first week"
    );
    lane.call(list(9 * DAY_MS, "c"));
    assert!(lane.opened().is_empty());
    lane.call(list(9 * DAY_MS + 1, "c"));
    assert_eq!(lane.opened(), ["mcp_tools_changed"]);
    let mut lane = Lane::new();
    lane.call(list(0, "a"));
    (0..9).for_each(|i| {
        lane.call(Step {
            success: false,
            ..list(9 * DAY_MS + i, "c")
        })
    });
    assert!(lane.opened().is_empty(), "a refusal is no list");
}

#[test]
fn a_tool_is_unlisted_where_the_list_is_known_and_whole() {
    let mut lane = Lane::new();
    (0..9).for_each(|i| lane.call(tool(i, "get_task")));
    assert!(lane.opened().is_empty(), "no list is known");
    lane.server.list("get_task", 0);
    lane.call(tool(10, "get_task"));
    lane.call(Step {
        success: false,
        ..tool(11, "drop_all")
    });
    assert!(lane.opened().is_empty(), "listed, or refused");
    lane.call(tool(12, "drop_all"));
    assert_eq!(lane.opened(), ["mcp_tool_unlisted"]);
    let mut lane = Lane::new();
    (0..129).for_each(|i| lane.server.list(&format!("t{i}"), 0));
    lane.call(tool(1, "drop_all"));
    assert!(
        lane.opened().is_empty(),
        "the list is longer than what is kept"
    );
}

#[test]
fn chains_and_loops_are_told_once_for_each_agent() {
    let mut lane = Lane::new();
    for (i, name) in ["read_email", "fetch_url", "calculate", "send_email"]
        .into_iter()
        .enumerate()
    {
        assert!(lane.opened().is_empty());
        lane.call(tool(i as i64, name));
    }
    assert_eq!(lane.opened(), ["agent_tool_chain"]);
    let mut lane = Lane::new();
    (0..9).for_each(|i| {
        lane.call(Step {
            arguments: Some(7),
            ..tool(i * 1000, "get_task")
        })
    });
    assert!(lane.opened().is_empty());
    lane.call(Step {
        arguments: Some(7),
        ..tool(9000, "get_task")
    });
    assert_eq!(lane.opened(), ["agent_loop"]);
    let mut lane = Lane::new();
    (0..500).for_each(|i| {
        lane.call(Step {
            arguments: Some(i),
            ..tool(i as i64 * 100, "get_task")
        })
    });
    assert!(lane.opened().is_empty(), "a busy agent");
}

#[test]
fn an_agent_at_night_is_outside_the_habits_of_a_user_of_the_day() {
    let mut habits = Habits::default();
    (0..300).for_each(|i| habits.note((i % 10) * DAY_MS + (9 + i % 8) * 3_600_000));
    let night = |i: i64| 10 * DAY_MS + 3 * 3_600_000 + i;
    let run = |habits: Option<&Habits>, at: fn(i64) -> i64, n| {
        let mut lane = Lane::new();
        lane.habits = habits.cloned();
        (0..n).for_each(|i| lane.call(step(at(i))));
        lane.opened()
    };
    assert_eq!(night(0), 874_800_000);
    assert_eq!(
        run(Some(&habits), |i| 874_800_000 + i, 20),
        ["agent_outside_habits"]
    );
    assert!(run(Some(&habits), |i| 874_800_000 + i, 19).is_empty());
    assert!(
        run(Some(&habits), |i| 896_400_000 + i, 99).is_empty(),
        "at nine in the morning"
    );
    assert!(
        run(None, |i| 874_800_000 + i, 99).is_empty(),
        "nothing is known of the user"
    );
    assert!(run(Some(&Habits::default()), |i| 874_800_000 + i, 99).is_empty());
}

#[test]
fn ids_and_numbers_of_agents_findings_differ_from_those_of_posture() {
    for (at, check) in AGENT_CHECKS.iter().enumerate() {
        assert_eq!(usize::from(check.number), at + 1);
        assert!(
            models::posture::find(check.id).is_none()
                && !check.quiet.is_empty()
                && !check.needs.is_empty()
        );
        let posture = models::posture::check(check.number);
        assert_ne!(fingerprint(check, "x"), fingerprint(posture, "x"));
        assert!(usize::from(Facts::bad(check.number)) < models::posture::FACTS);
    }
}

fn call(at_ms: i64, n: usize) -> AgentCall<'static> {
    let endpoints = ["GET a/x", "GET a/y", "POST a/z"];
    let tools = [None, Some("get_task"), Some("send_email")];
    let grades = [Grade::Hint, Grade::Claim, Grade::Strong];
    let kinds = [Kind::Unknown, Kind::Coding, Kind::Assistant];
    AgentCall {
        at_ms,
        recognition: recognition(grades[n % 3], kinds[n / 3 % 3]),
        endpoint: endpoints[n % 3],
        server: n.is_multiple_of(2).then_some(SERVER),
        tool: tools[n % 3],
        on_behalf_of: n.is_multiple_of(5).then_some("ada"),
    }
}

proptest! {
    #[test]
    fn records_made_apart_are_merged_in_any_order(calls in prop::collection::vec((0i64..99, 0usize..30), 3..40), cut in 1usize..39) {
        let cut = cut.min(calls.len() - 1).max(1);
        let agent = |part: &[(i64, usize)]| {
            let mut record = AgentRecord::new(&call(part[0].0, part[0].1));
            part[1..].iter().for_each(|(at, n)| record.note(&call(*at, *n)));
            record
        };
        let (mut one, mut two) = (agent(&calls[..cut]), agent(&calls[cut..]));
        let second = two.clone();
        two.merge(&one);
        one.merge(&second);
        prop_assert_eq!(&one, &agent(&calls));
        prop_assert_eq!(&one, &two);

        let server = |part: &[(i64, usize)]| {
            let (mut record, mut tool) = (ServerRecord::default(), ToolRecord::default());
            for (at, n) in part {
                let operation = if n % 2 == 0 { Operation::CallTool } else { Operation::ListTools };
                record.note(&ServerCall { at_ms: *at, grade: Grade::Strong, operation, client: "x", authenticated: n % 3 == 0, success: n % 4 != 0, tool: Some("t"), listing: Some("a") });
                tool.note("x", n % 4 != 0, *at);
            }
            (record, tool)
        };
        let ((mut a, mut s), (b, t)) = (server(&calls[..cut]), server(&calls[cut..]));
        a.merge(&b);
        s.merge(&t);
        s.merge(&ToolRecord::default());
        a.merge(&ServerRecord::default());
        prop_assert_eq!((a, s), server(&calls));
    }
}
