//! Records of agents, MCP servers and tools.

use models::agent::record::{AgentRecord, Named, Names, ServerRecord, ToolRecord};
use models::agent::roster::{Noticed, Subject};
use serde_json::{Value, json};

use super::Record;

/// Schema of the records of agents; their keys begin with it.
pub const AGENT: &str = "agent/v1";
/// The same of MCP and A2A servers.
pub const SERVER: &str = "mcp_server/v1";
/// The same of tools.
pub const TOOL: &str = "mcp_tool/v1";

impl From<&Noticed> for Record {
    fn from(noticed: &Noticed) -> Record {
        let Noticed {
            name,
            subject,
            owner,
            discovered_ms,
            is_new,
        } = noticed;
        let (schema, kind, first_ms, mut record) = match subject {
            Subject::Agent(record) => (AGENT, "agent", record.first_ms, agent(record)),
            Subject::Server(record) => (SERVER, "mcp_server", record.first_ms, server(record)),
            Subject::Tool(record) => (TOOL, "mcp_tool", record.first_ms, tool(record)),
        };
        let discovery_ms = discovered_ms.saturating_sub(first_ms).max(0);
        record["schema"] = json!(schema);
        record["kind"] = json!(kind);
        record["name"] = json!(name);
        record["owner"] = json!(owner);
        record["time_to_discovery_ms"] = json!(discovery_ms);
        Record {
            key: format!("{schema}/{name}"),
            json: record.to_string(),
            is_new: *is_new,
            kind,
            discovery_ms,
            read_at_ms: 0,
            finding: None,
        }
    }
}

fn agent(record: &AgentRecord) -> Value {
    json!({
        "grade": record.grade.as_str(), "sign": record.sign.as_str(), "agent_kind": record.kind.as_str(),
        "is_machine": record.is_machine, "first_ms": record.first_ms, "last_ms": record.last_ms, "calls": record.n_calls,
        "families": names(&record.families), "on_behalf_of": names(&record.on_behalf_of),
        "endpoints": names(&record.endpoints), "servers": names(&record.servers), "tools": names(&record.tools),
    })
}

fn server(record: &ServerRecord) -> Value {
    json!({
        "grade": record.grade.as_str(), "first_ms": record.first_ms, "last_ms": record.last_ms, "calls": record.n_calls,
        "anonymous": record.n_anonymous, "authenticated": record.n_authenticated,
        "clients": names(&record.clients), "called": names(&record.called), "listed": names(&record.listed),
        "listings": record.listings.len(),
    })
}

fn tool(record: &ToolRecord) -> Value {
    json!({
        "first_ms": record.first_ms, "last_ms": record.last_ms, "calls": record.n_calls,
        "successes": record.n_success, "clients": names(&record.clients),
    })
}

/// The names kept, in the order they came up, and how often others were met.
fn names<const MAX: usize>(names: &Names<MAX>) -> Value {
    let mut kept: Vec<&Named> = names.iter().collect();
    kept.sort_by_key(|named| (named.first_ms, named.name.as_str()));
    let kept = kept.into_iter().map(|named| {
        json!({ "name": named.name, "calls": named.n, "first_ms": named.first_ms, "last_ms": named.last_ms })
    });
    json!({ "kept": kept.collect::<Vec<_>>(), "others": names.n_over() })
}
