//! Recognises the protocols of agents in one call: MCP and A2A, with and without bodies.
//!
//! | sign | grade |
//! |---|---|
//! | `Mcp-Method` header, `A2A-Version` header, `application/a2a+json` | proof |
//! | JSON-RPC body with a method of MCP or A2A | proof |
//! | `MCP-Protocol-Version` or `Mcp-Session-Id` header | strong |
//! | A2A's paths (`/message:send`), its card under `/.well-known/` | claim |
//! | a path that ends in `/mcp` or `/sse` | hint |
//!
//! Sources: MCP revisions 2024-11-05 to 2026-07-28 (methods, headers), A2A 0.3 and 1.0 (methods, paths, headers).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Grade;
use crate::posture::CallView;

/// Longest name that is kept, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// A protocol of agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Model Context Protocol.
    Mcp,
    /// Agent2Agent.
    A2a,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Greets, looks around, keeps a session: `initialize`, `server/discover`, `ping`, an agent's card.
    Hello,
    /// Asks which tools there are.
    ListTools,
    /// Calls a tool.
    CallTool,
    /// Reads a resource or takes a prompt.
    Read,
    /// Lists resources or prompts.
    List,
    /// Gives an agent a message or a task.
    Message,
    /// Not told, or another.
    Other,
}

impl Operation {
    /// True when the server does something for the caller.
    pub fn works(self) -> bool {
        !matches!(self, Operation::Hello | Operation::Other)
    }
}

/// What one call says of its protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Raw path.
    pub path: &'a str,
    /// JSON-RPC method of the body.
    pub rpc_method: Option<&'a str>,
    /// Tool of the body.
    pub tool: Option<&'a str>,
    /// Content type of the request.
    pub content_type: Option<&'a str>,
    /// Headers, from a source that logs them.
    pub headers: crate::posture::McpHeaders<'a>,
}

impl<'a> Request<'a> {
    /// What of a call says it.
    pub fn of(call: &CallView<'a>) -> Request<'a> {
        Request {
            path: call.path,
            rpc_method: call.rpc_method,
            tool: call.tool,
            content_type: call.request_content_type,
            headers: call.mcp.unwrap_or_default(),
        }
    }
}

/// A call of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised<'a> {
    /// Which.
    pub protocol: Protocol,
    /// How far that is certain.
    pub grade: Grade,
    /// What it does.
    pub operation: Operation,
    /// Tool, resource or prompt, at most [`NAME_BYTES_MAX`] bytes.
    pub name: Option<Cow<'a, str>>,
}

/// The call that headers name, where no body is logged: method and, of a tool's call, the tool.
pub fn of_headers(method: &str, name: Option<&str>) -> (String, Option<String>) {
    let tool = name
        .filter(|_| method == "tools/call")
        .map(|name| bounded(header_name(name)).into_owned());
    (bounded(Cow::Borrowed(method)).into_owned(), tool)
}

/// Recognises a call.
pub fn recognise<'a>(request: &Request<'a>) -> Option<Recognised<'a>> {
    let headers = &request.headers;
    if let Some(method) = headers.method.filter(|method| !method.is_empty()) {
        let name = headers
            .name
            .map(header_name)
            .or(request.tool.map(Cow::Borrowed));
        return Some(Recognised {
            protocol: Protocol::Mcp,
            grade: Grade::Proof,
            operation: mcp_operation(method).unwrap_or(Operation::Other),
            name: name.map(bounded),
        });
    }
    let found = |protocol, grade, operation| Recognised {
        protocol,
        grade,
        operation,
        name: request.tool.map(|tool| bounded(Cow::Borrowed(tool))),
    };
    if let Some(method) = request.rpc_method {
        let mcp =
            mcp_operation(method).map(|operation| found(Protocol::Mcp, Grade::Proof, operation));
        if mcp.is_some() {
            return mcp;
        }
        if is_a2a_method(method) {
            return Some(found(Protocol::A2a, Grade::Proof, Operation::Message));
        }
    }
    if headers.a2a_version.is_some()
        || request
            .content_type
            .is_some_and(|kind| kind.starts_with("application/a2a+json"))
    {
        return Some(found(
            Protocol::A2a,
            Grade::Proof,
            a2a_path(request.path).unwrap_or(Operation::Other),
        ));
    }
    if headers.version.is_some() || headers.session {
        return Some(found(Protocol::Mcp, Grade::Strong, Operation::Other));
    }
    if let Some(operation) = a2a_path(request.path) {
        return Some(found(Protocol::A2a, Grade::Claim, operation));
    }
    let path = request.path.trim_end_matches('/');
    (path.ends_with("/mcp") || path.ends_with("/sse"))
        .then(|| found(Protocol::Mcp, Grade::Hint, Operation::Other))
}

/// What a method of MCP does; `None` for others. Names of all revisions: those that went are still spoken.
fn mcp_operation(method: &str) -> Option<Operation> {
    match method {
        "tools/list" => Some(Operation::ListTools),
        "tools/call" => Some(Operation::CallTool),
        "resources/read" | "prompts/get" => Some(Operation::Read),
        "resources/list" | "resources/templates/list" | "prompts/list" | "roots/list" => {
            Some(Operation::List)
        }
        "initialize" | "server/discover" | "ping" | "logging/setLevel" => Some(Operation::Hello),
        "completion/complete"
        | "sampling/createMessage"
        | "elicitation/create"
        | "resources/subscribe"
        | "resources/unsubscribe"
        | "subscriptions/listen" => Some(Operation::Other),
        _ if method.starts_with("notifications/") => Some(Operation::Hello),
        _ => None,
    }
}

/// Methods of A2A 1.0 and, behind them, of 0.3. `tasks/list` and `tasks/result` were MCP's for a while and are nobody's proof.
fn is_a2a_method(method: &str) -> bool {
    matches!(
        method,
        "SendMessage"
            | "SendStreamingMessage"
            | "GetTask"
            | "ListTasks"
            | "CancelTask"
            | "SubscribeToTask"
            | "message/send"
            | "message/stream"
            | "tasks/get"
            | "tasks/cancel"
            | "tasks/resubscribe"
    )
}

fn a2a_path(path: &str) -> Option<Operation> {
    if path.ends_with("/message:send") || path.ends_with("/message:stream") {
        return Some(Operation::Message);
    }
    (path.ends_with("/.well-known/agent-card.json") || path.ends_with("/.well-known/agent.json"))
        .then_some(Operation::Hello)
}

/// True for the documents a client reads before it first speaks to a protected MCP server (RFC 9728, RFC 8414).
pub fn is_onboarding(path: &str) -> bool {
    [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server",
        "/.well-known/agent-card.json",
    ]
    .iter()
    .any(|document| path.starts_with(document))
}

/// A name as the header carries it: as it stands, or `=?base64?…?=` where it is not ASCII.
fn header_name(value: &str) -> Cow<'_, str> {
    let coded = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    let name = coded
        .filter(|coded| coded.len() <= 4 * NAME_BYTES_MAX)
        .and_then(|coded| STANDARD.decode(coded).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    name.map_or(Cow::Borrowed(value), Cow::Owned)
}

fn bounded(name: Cow<'_, str>) -> Cow<'_, str> {
    let is_fit = name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
    if is_fit {
        return name;
    }
    let end = (0..=name.len().min(NAME_BYTES_MAX))
        .rev()
        .find(|&at| name.is_char_boundary(at))
        .unwrap_or(0);
    Cow::Owned(
        name[..end]
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::McpHeaders;
    use proptest::prelude::*;

    type Told<'a> = Option<(Protocol, Grade, Operation, Option<&'a str>)>;

    fn check(request: Request<'_>, want: Told<'_>) {
        let found = recognise(&request);
        let found = found.as_ref().map(|found| {
            (
                found.protocol,
                found.grade,
                found.operation,
                found.name.as_deref(),
            )
        });
        assert_eq!(found, want, "{request:?}");
    }

    #[test]
    fn every_revision_of_mcp_is_recognised_with_and_without_a_body() {
        let path = "/v1/chat";
        let headers = |method, name| McpHeaders {
            method: Some(method),
            name,
            version: Some("2026-07-28"),
            ..McpHeaders::default()
        };
        let mcp = |grade, operation, name| Some((Protocol::Mcp, grade, operation, name));
        check(
            Request {
                path,
                headers: headers("tools/call", Some("get_task")),
                ..Request::default()
            },
            mcp(Grade::Proof, Operation::CallTool, Some("get_task")),
        );
        check(
            Request {
                path,
                headers: headers("tools/call", Some("=?base64?w6RiYw==?=")),
                ..Request::default()
            },
            mcp(Grade::Proof, Operation::CallTool, Some("äbc")),
        );
        check(
            Request {
                path,
                headers: headers("tools/call", Some("=?base64?%%?=")),
                ..Request::default()
            },
            mcp(Grade::Proof, Operation::CallTool, Some("=?base64?%%?=")),
        );
        check(
            Request {
                path,
                headers: headers("vendor/x", None),
                ..Request::default()
            },
            mcp(Grade::Proof, Operation::Other, None),
        );
        check(
            Request {
                path,
                rpc_method: Some("tools/call"),
                tool: Some("x"),
                ..Request::default()
            },
            mcp(Grade::Proof, Operation::CallTool, Some("x")),
        );
        check(
            Request {
                path,
                rpc_method: Some("initialize"),
                ..Request::default()
            },
            mcp(Grade::Proof, Operation::Hello, None),
        );
        check(
            Request {
                path,
                rpc_method: Some("notifications/initialized"),
                ..Request::default()
            },
            mcp(Grade::Proof, Operation::Hello, None),
        );
        check(
            Request {
                path,
                headers: McpHeaders {
                    session: true,
                    ..McpHeaders::default()
                },
                ..Request::default()
            },
            mcp(Grade::Strong, Operation::Other, None),
        );
        check(
            Request {
                path: "/mcp/",
                ..Request::default()
            },
            mcp(Grade::Hint, Operation::Other, None),
        );
        check(
            Request {
                path: "/mcp-docs",
                ..Request::default()
            },
            None,
        );
    }

    #[test]
    fn a2a_is_recognised_and_other_rpc_is_not() {
        let a2a = |grade, operation| Some((Protocol::A2a, grade, operation, None));
        check(
            Request {
                path: "/a/message:send",
                ..Request::default()
            },
            a2a(Grade::Claim, Operation::Message),
        );
        check(
            Request {
                path: "/.well-known/agent-card.json",
                ..Request::default()
            },
            a2a(Grade::Claim, Operation::Hello),
        );
        check(
            Request {
                path: "/rpc",
                rpc_method: Some("message/stream"),
                ..Request::default()
            },
            a2a(Grade::Proof, Operation::Message),
        );
        check(
            Request {
                path: "/a/tasks/7",
                content_type: Some("application/a2a+json; charset=utf-8"),
                ..Request::default()
            },
            a2a(Grade::Proof, Operation::Other),
        );
        check(
            Request {
                path: "/rpc",
                rpc_method: Some("eth_call"),
                ..Request::default()
            },
            None,
        );
        check(
            Request {
                path: "/graphql",
                rpc_method: Some("graphql.query"),
                tool: Some("me"),
                ..Request::default()
            },
            None,
        );
    }

    proptest! {
        #[test]
        fn recognising_never_panics_and_keeps_names_short(text in "\\PC{0,300}|=\\?base64\\?[A-Za-z0-9=]{0,99}\\?=", method in "tools/call|\\PC{0,9}") {
            let headers = McpHeaders { method: Some(&method), name: Some(&text), ..McpHeaders::default() };
            if let Some(found) = recognise(&Request { path: &text, rpc_method: Some(&text), tool: Some(&text), content_type: Some(&text), headers }) {
                let name = found.name.unwrap_or_default();
                prop_assert!(name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control));
            }
        }
    }
}
