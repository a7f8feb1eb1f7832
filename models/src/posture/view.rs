//! One call as the posture checks see it: borrowed, and absent where the log says nothing.

use super::token::Token;

/// One call. A field is `None` where the source does not log it: then the checks that need it are blind, not content.
///
/// No column of the events carries `upstream_scheme`, `headers` and `superseded` today.
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
    /// Headers of the answer, from a source that logs them: then a header that is not there is missing.
    pub headers: Option<ResponseHeaders<'a>>,
    /// Calls of this caller on this endpoint in this minute, this one included ([`super::Pace`]).
    pub calls_this_minute: Option<u32>,
    /// Networks (IPv4 /24, IPv6 /48) this credential was used from today.
    pub caller_networks: Option<u32>,
    /// True when a newer version of the same route is served ([`super::path::version_of`] pairs them).
    pub superseded: Option<bool>,
    /// MCP headers of the request, from a source that logs them.
    pub mcp: Option<McpHeaders<'a>>,
}

/// Headers of an answer that checks look at; `None` where the answer had none.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHeaders<'a> {
    /// Strict-Transport-Security.
    pub hsts: Option<&'a str>,
    /// X-Content-Type-Options.
    pub content_type_options: Option<&'a str>,
    /// X-Frame-Options.
    pub frame_options: Option<&'a str>,
    /// Content-Security-Policy.
    pub content_security_policy: Option<&'a str>,
    /// Cache-Control.
    pub cache_control: Option<&'a str>,
    /// Set-Cookie without its value: `session; Secure; HttpOnly; SameSite=Lax`.
    pub set_cookie: Option<&'a str>,
    /// Location.
    pub location: Option<&'a str>,
    /// X-Debug-Token, X-Debug-Token-Link or a like header.
    pub debug: Option<&'a str>,
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
