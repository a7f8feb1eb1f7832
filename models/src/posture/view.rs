//! One call as the posture checks see it: borrowed, and absent where the log says nothing.

use super::answer::Answer;
use super::token::Token;

/// One call. A field is `None` where the source does not log it: then the checks that need it are blind, not content.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallView<'a> {
    /// Method as sent.
    pub method: &'a str,
    /// Raw path, secrets blanked, without query.
    pub path: &'a str,
    /// `http` or `https`.
    pub scheme: Option<&'a str>,
    /// Host as sent, perhaps with a port.
    pub host: Option<&'a str>,
    /// Raw query, secrets blanked.
    pub query: Option<&'a str>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Size of the answer, in the source's own measure.
    pub response_bytes: Option<i64>,
    /// Client's address as the gateway determined it.
    pub client_ip: Option<&'a str>,
    /// Address of the socket's peer, where it is logged beside the client's.
    pub peer_ip: Option<&'a str>,
    /// `bearer`, `basic`, `digest`, `api_key`, `mtls`, `session`, ….
    pub auth_scheme: Option<&'a str>,
    /// A credential was shown; whether it was accepted is the status's to tell.
    pub authenticated: bool,
    /// What the identity was made from: `api_key`, `jwt_sub`, `ip_ua`, ….
    pub identity_kind: Option<&'a str>,
    /// Number of the call's first object, when it has one.
    pub object_number: Option<i64>,
    /// Objects the call names.
    pub n_objects: i32,
    /// Probe class visible in the request alone.
    pub probe_class: Option<&'a str>,
    /// Name of the parameter that carried a secret in the URL; `path` for a segment.
    pub url_secret: Option<&'a str>,
    /// Referer header, secrets blanked.
    pub referer: Option<&'a str>,
    /// Origin header.
    pub origin: Option<&'a str>,
    /// Access-Control-Allow-Origin of the answer.
    pub allow_origin: Option<&'a str>,
    /// Access-Control-Allow-Credentials of the answer.
    pub allow_credentials: Option<&'a str>,
    /// Server header of the answer.
    pub server: Option<&'a str>,
    /// X-Powered-By header of the answer.
    pub powered_by: Option<&'a str>,
    /// Method override header of the request.
    pub method_override: Option<&'a str>,
    /// TLS version of the client's connection.
    pub tls_version: Option<&'a str>,
    /// Content type of the request.
    pub request_content_type: Option<&'a str>,
    /// Content type of the answer.
    pub response_content_type: Option<&'a str>,
    /// JSON-RPC method or GraphQL operation.
    pub rpc_method: Option<&'a str>,
    /// MCP tool or GraphQL field.
    pub tool: Option<&'a str>,
    /// `http` or `https` between the gateway and the service.
    pub upstream_scheme: Option<&'a str>,
    /// What the caller's token says of itself; made where the token is still there ([`super::TokenReader`]).
    pub token: Option<Token>,
    /// What the headers of the answer say; made where they still are ([`Answer::read`]).
    pub answer: Option<Answer>,
    /// What kind of program the caller says it is: `browser`, `library`, ….
    pub agent_class: Option<&'a str>,
    /// Calls of this caller on this endpoint in this minute, this one included ([`super::Pace`]).
    pub calls_this_minute: Option<u32>,
    /// Networks (IPv4 /24, IPv6 /48) this credential was used from today.
    pub caller_networks: Option<u32>,
    /// What a document says of the operation: true when it is to be used no more, false when it is promised.
    pub deprecated: Option<bool>,
    /// MCP headers of the request, from a source that logs them.
    pub mcp: Option<McpHeaders<'a>>,
}

/// Headers that MCP and A2A put beside the body.
#[derive(Clone, Copy, Debug, Default)]
pub struct McpHeaders<'a> {
    /// `Mcp-Method`, since revision 2026-07-28.
    pub method: Option<&'a str>,
    /// `Mcp-Name`: tool, resource or prompt, since revision 2026-07-28.
    pub name: Option<&'a str>,
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a str>,
    /// True when there was an `Mcp-Session-Id`.
    pub session: bool,
    /// `A2A-Version`.
    pub a2a_version: Option<&'a str>,
}
