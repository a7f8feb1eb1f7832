//! Events: one API call as a gateway logged it, and batches of them.
//!
//! An [`Event`] borrows from its record. [`EventBatchBuilder`] makes Arrow columns of many, whose strings are views into the block
//! that holds the records. Credentials ([`Event::authorization`], [`Event::api_key`], …) are transient: whoever reads a decoded batch
//! resolves them to an identity and drops the columns before anything is written.

mod batch;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub use batch::{DecodedBatch, EventBatchBuilder};

/// Bytes of a logged request body that an event keeps; the rest is cut at a character. Ids sit near the front of a body, and a body
/// may be as long as a record.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Text of an event: absent, `""`, `"-"` and null are all `None`.
pub type Text<'a> = Option<Cow<'a, str>>;

/// One API call as the gateway logged it.
#[derive(Default, Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// When, in milliseconds since 1970, UTC: the request's start or its end, as the gateway stamps it (see each decoder).
    pub event_time_ms: i64,
    /// Who logged it: the name of the decoder, or of the product it tells apart (`istio`, `ingress-nginx`, …), or of a mapping.
    pub gateway: &'a str,
    /// Request method, as on the wire.
    pub method: Cow<'a, str>,
    /// `http` or `https`.
    pub scheme: Text<'a>,
    /// Host the client asked for, with the port if the gateway logs one.
    pub host: Text<'a>,
    /// Path as on the wire: not decoded, not normalised, no query.
    pub path: Cow<'a, str>,
    /// Query as on the wire, without `?`.
    pub query: Text<'a>,
    /// Response status; `None` when there was no response (0, 000, -1).
    pub status: Option<u16>,
    /// Request size in bytes; with or without headers, as the gateway counts.
    pub request_bytes: Option<i64>,
    /// Response size in bytes; with or without headers, as the gateway counts.
    pub response_bytes: Option<i64>,
    /// Time the gateway took to answer, in microseconds.
    pub latency_us: Option<i64>,
    /// Client address as the gateway determined it, without port and brackets.
    pub client_ip: Text<'a>,
    /// Address of the socket's peer, when the gateway logs it beside the client's.
    pub peer_ip: Text<'a>,
    /// User-Agent header.
    pub user_agent: Text<'a>,
    /// Authorization header, raw. Transient.
    pub authorization: Text<'a>,
    /// API key header, raw. Transient.
    pub api_key: Text<'a>,
    /// Hash of the credential, when the gateway logs that instead.
    pub token_hash: Text<'a>,
    /// `sub` of the JWT the gateway verified.
    pub jwt_sub: Text<'a>,
    /// Claims of the JWT the gateway verified, as JSON text.
    pub jwt_claims: Text<'a>,
    /// Consumer or application the gateway knows the caller as.
    pub consumer: Text<'a>,
    /// User name of HTTP authentication.
    pub principal: Text<'a>,
    /// Subject of the verified client certificate.
    pub client_cert: Text<'a>,
    /// Session: an MCP session id or a session cookie's value. Transient.
    pub session: Text<'a>,
    /// The gateway says that the caller was authenticated, but not who it was.
    pub authenticated_hint: bool,
    /// Route the gateway matched.
    pub route: Text<'a>,
    /// Service or upstream behind the gateway.
    pub service: Text<'a>,
    /// `http` or `https` on the way to the service, of a call that was passed on to another machine.
    pub upstream_scheme: Text<'a>,
    /// TLS version of the client's connection.
    pub tls_version: Text<'a>,
    /// Content-Type of the request.
    pub request_content_type: Text<'a>,
    /// Content-Type of the response.
    pub response_content_type: Text<'a>,
    /// Request id; a client may have chosen it.
    pub request_id: Text<'a>,
    /// Trace id.
    pub trace_id: Text<'a>,
    /// Referer header.
    pub referer: Text<'a>,
    /// Origin header.
    pub origin: Text<'a>,
    /// `X-HTTP-Method-Override` and its kin; several values are joined by `, `, so that none hides another.
    pub method_override: Text<'a>,
    /// `X-Forwarded-Host`; several values are joined.
    pub forwarded_host: Text<'a>,
    /// `X-Original-URL` and `X-Rewrite-URL`: the URL some frameworks serve instead of the one asked for; several are joined.
    pub rewritten_url: Text<'a>,
    /// `Via`, `CDN-Loop` or what else a proxy in front says of itself in the request. Transient.
    pub via: Text<'a>,
    /// `Access-Control-Allow-Origin` of the response.
    pub allow_origin: Text<'a>,
    /// `Access-Control-Allow-Credentials` of the response.
    pub allow_credentials: Text<'a>,
    /// `Server` header of the response.
    pub server: Text<'a>,
    /// `X-Powered-By` header of the response.
    pub powered_by: Text<'a>,
    /// What else the response's headers say.
    pub answer: AnswerHeaders<'a>,
    /// `Mcp-Method` of the request: the JSON-RPC method, where no body is logged.
    pub mcp_method: Text<'a>,
    /// `Mcp-Name` of the request: the tool, prompt or resource.
    pub mcp_name: Text<'a>,
    /// `MCP-Protocol-Version` of the request.
    pub mcp_version: Text<'a>,
    /// `A2A-Version` of the request.
    pub a2a_version: Text<'a>,
    /// `Signature-Agent` of the request: which agent signed it, as it says itself.
    pub signature_agent: Text<'a>,
    /// `X-Stainless-Lang` of the request, which the model vendors' libraries send.
    pub sdk_language: Text<'a>,
    /// Request body, when logged; at most [`BODY_BYTES_MAX`] bytes.
    pub request_body: Text<'a>,
}

/// Headers of a response that are asked whether they are there. Each is `None` where the source does not log it, and **empty** where it
/// does and the response had none. Transient: they hold secrets, and whoever writes a link may steer them.
#[derive(Default, Debug, Clone, PartialEq)]
pub struct AnswerHeaders<'a> {
    /// `Strict-Transport-Security`.
    pub hsts: Text<'a>,
    /// `X-Content-Type-Options`.
    pub content_type_options: Text<'a>,
    /// `X-Frame-Options`.
    pub frame_options: Text<'a>,
    /// `Content-Security-Policy`.
    pub content_security_policy: Text<'a>,
    /// `Cache-Control`.
    pub cache_control: Text<'a>,
    /// `Vary`.
    pub vary: Text<'a>,
    /// `Set-Cookie`, one a line.
    pub set_cookie: Text<'a>,
    /// `Location`.
    pub location: Text<'a>,
    /// What a debugger sends: `X-Debug-Token`, `X-Clockwork-Id` and the like.
    pub debug_header: Text<'a>,
}

impl<'a> AnswerHeaders<'a> {
    /// Says that the source logs all headers: those that are not there were not sent.
    pub(crate) fn are_all(&mut self) {
        for header in [
            &mut self.hsts,
            &mut self.content_type_options,
            &mut self.frame_options,
            &mut self.content_security_policy,
            &mut self.cache_control,
            &mut self.vary,
            &mut self.set_cookie,
            &mut self.location,
            &mut self.debug_header,
        ] {
            header.get_or_insert(Cow::Borrowed(""));
        }
    }
}

const fn last(names: &[&'static str]) -> &'static str {
    names[names.len() - 1]
}

/// Declares the text columns by the fields of [`Event`], in their order; a column is named by the last part of `field.of`.
macro_rules! text_columns {
    ($($field:ident $(.$of:ident)?),+ $(,)?) => {
        /// Text columns in the order of [`Event`]'s fields.
        pub(crate) const TEXT_COLUMNS: [&str; N_TEXT_COLUMNS] = [$(last(&[stringify!($field) $(, stringify!($of))?])),+];

        impl Event<'_> {
            /// Gives each text that is there, with its place in [`TEXT_COLUMNS`].
            #[inline]
            pub(crate) fn each_text(&self, mut give: impl FnMut(usize, &str)) {
                // Counted by the compiler: a text that is not there costs one comparison.
                let mut n_columns = 0;
                $(
                    if let Some(text) = self.$field $(.$of)?.as_text() {
                        give(n_columns, text);
                    }
                    n_columns += 1;
                )+
                debug_assert_eq!(n_columns, N_TEXT_COLUMNS);
            }
        }
    };
}

const N_TEXT_COLUMNS: usize = 52;

text_columns! {
    gateway,
    method,
    scheme,
    host,
    path,
    query,
    client_ip,
    peer_ip,
    user_agent,
    authorization,
    api_key,
    token_hash,
    jwt_sub,
    jwt_claims,
    consumer,
    principal,
    client_cert,
    session,
    route,
    service,
    upstream_scheme,
    tls_version,
    request_content_type,
    response_content_type,
    request_id,
    trace_id,
    referer,
    origin,
    method_override,
    forwarded_host,
    rewritten_url,
    via,
    allow_origin,
    allow_credentials,
    server,
    powered_by,
    answer.hsts,
    answer.content_type_options,
    answer.frame_options,
    answer.content_security_policy,
    answer.cache_control,
    answer.vary,
    answer.set_cookie,
    answer.location,
    answer.debug_header,
    mcp_method,
    mcp_name,
    mcp_version,
    a2a_version,
    signature_agent,
    sdk_language,
    request_body,
}

/// A field's text, if it is there.
trait AsText {
    fn as_text(&self) -> Option<&str>;
}

impl AsText for &str {
    fn as_text(&self) -> Option<&str> {
        Some(self)
    }
}

impl AsText for Cow<'_, str> {
    fn as_text(&self) -> Option<&str> {
        Some(self)
    }
}

impl AsText for Text<'_> {
    fn as_text(&self) -> Option<&str> {
        self.as_deref()
    }
}

/// Place of an event in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowPosition {
    /// Offset of the record.
    pub offset: i64,
    /// Index inside the record: 0, or the element of a record that is an array.
    pub row: i32,
}

/// Arrow schema of decoded events: one column per field of [`Event`], with its name; `event_time_ms` is the timestamp `event_time`.
///
/// The numbers come first (`event_time`, `status`, `request_bytes`, `response_bytes`, `latency_us`, `authenticated_hint`), then the
/// text columns in the order of the struct. Columns are meant to be taken by name.
pub fn decoded_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let numbers = [
            Field::new("event_time", time, false),
            Field::new("status", DataType::UInt16, true),
            Field::new("request_bytes", DataType::Int64, true),
            Field::new("response_bytes", DataType::Int64, true),
            Field::new("latency_us", DataType::Int64, true),
            Field::new("authenticated_hint", DataType::Boolean, false),
        ];
        let texts = TEXT_COLUMNS.map(|name| {
            let required = matches!(name, "gateway" | "method" | "path");
            Field::new(name, DataType::Utf8View, !required)
        });
        Arc::new(Schema::new(
            numbers.into_iter().chain(texts).collect::<Vec<_>>(),
        ))
    });
    SCHEMA.clone()
}
