//! HAProxy with a JSON `log-format` (HAProxy 2.0 to 3.2, configuration manual, section 8.2.6).
//!
//! The recommended format (`capture request header` in the frontend gives the captures their numbers; leave out what you do not use):
//!
//! ```text
//! log-format '{"accept_date":"%Tl","client_ip":"%ci","frontend":"%f","backend":"%b","server":"%s","scheme":"%[ssl_fc,iif(https,http)]",\
//!   "method":"%HM","host":"%[capture.req.hdr(0),json(utf8s)]","uri":"%HU","status":"%ST","bytes_uploaded":"%U","bytes_read":"%B","Ta":"%Ta",\
//!   "term":"%tsc","user_agent":"%[capture.req.hdr(1),json(utf8s)]","authorization":"%[capture.req.hdr(2),json(utf8s)]",\
//!   "x_api_key":"%[capture.req.hdr(3),json(utf8s)]","jwt_sub":"%[var(txn.jwt_sub),json(utf8s)]","tls_version":"%sslv","ssl_c_s_dn":"%[ssl_c_s_dn,json(utf8s)]",\
//!   "ssl_c_verify":"%[ssl_c_verify]","request_id":"%ID"}'
//! ```
//!
//! | event | key |
//! |---|---|
//! | `event_time_ms` | `accept_date`, the request's **start** (`%t` is local time without a zone and read as UTC, `%Tl` has one), else `timestamp`, `time`, `ts` |
//! | `method`, `path`, `query` | `method`, `http_method`; `uri`, else `path` with `query`; else from `request`, `http_request` (`%r`) |
//! | `scheme`, `host` | `scheme`; `host`, `http_host` |
//! | `status` | `status`, `status_code`; -1 and 0 are none |
//! | `request_bytes`, `response_bytes` | `bytes_uploaded`; `bytes_read`, both **with** headers |
//! | `latency_us` | `Ta`, `Tt`, `total_time` ms; -1: broken off |
//! | `client_ip`, `peer_ip` | `client_ip`, `client`; `peer_ip` (`%[fc_src]` behind `option forwardfor`-aware rules) |
//! | `authorization`, `api_key`, `token_hash` | `authorization`, else a capture with a scheme in `captured`; `x_api_key`, `api_key`; `token_hash` (`%[…,sha2(256),hex]`) |
//! | `jwt_sub`, `jwt_claims` | `jwt_sub`, `jwt_claims` (`http_auth_bearer,jwt_payload_query('$.sub')` after `jwt_verify`) |
//! | `consumer`, `principal` | `consumer`; `user`, `remote_user`, `http_auth_user` |
//! | `client_cert` | `ssl_c_s_dn`, unless `ssl_c_verify` is there and not 0 |
//! | `session` | `mcp_session_id`, `session` |
//! | `route`, `service` | `frontend` without `~`; `backend` |
//! | `tls_version` | `tls_version`, `sslv`, `ssl_version` |
//! | `request_id`, `trace_id` | `request_id`, `unique_id`; `traceparent`, else a capture of that form |
//! | other headers | `user_agent`, `referer`, `origin`, `content_type`, `sent_content_type`, `x_http_method_override`, `x_http_method`, `x_method_override`, `x_forwarded_host`, `x_original_url`, `x_rewrite_url`, `sent_server`, `allow_origin`, `allow_credentials`, `mcp_method`, `mcp_name`, `mcp_protocol_version`, `a2a_version`, `signature_agent`, `x_stainless_lang` |
//!
//! Traps: without `json()` a client's backslash makes a bad escape, which is mended, and `#XX` stands for quotes; `%{+E}o` escapes quotes
//! as HAProxy's own, not JSON's; of a bad request captures are missing without their quotes, so the line is no JSON; `<BADREQ>` is no request.

use std::borrow::Cow;

use super::detect::has_any;
use super::json::{Joined, Raw, Scalar, Told, answer, authorization, object, read_into};
use super::target::{self, Target};
use super::words::unescape_hash;
use super::{Fault, haproxy};
use crate::event::{Event, Text};
use crate::reject::RejectReason;

object! {
    struct Record {
        accept_date: Scalar<'a> = "accept_date",
        time: Scalar<'a> = "timestamp" | "time" | "ts",
        method: Scalar<'a> = "method" | "http_method",
        uri: Scalar<'a> = "uri",
        path: Scalar<'a> = "path",
        query: Scalar<'a> = "query",
        request: Scalar<'a> = "request" | "http_request",
        scheme: Scalar<'a> = "scheme",
        host: Scalar<'a> = "host" | "http_host",
        status: Scalar<'a> = "status" | "status_code",
        bytes_uploaded: Scalar<'a> = "bytes_uploaded",
        bytes_read: Scalar<'a> = "bytes_read",
        total: Scalar<'a> = "ta" | "tt" | "total_time",
        client_ip: Scalar<'a> = "client_ip" | "client",
        peer_ip: Scalar<'a> = "peer_ip",
        frontend: Scalar<'a> = "frontend",
        backend: Scalar<'a> = "backend",
        captured: Scalar<'a> = "captured",
        user_agent: Scalar<'a> = "user_agent",
        authorization: Scalar<'a> = "authorization",
        api_key: Scalar<'a> = "x_api_key" | "api_key",
        token_hash: Scalar<'a> = "token_hash",
        jwt_sub: Scalar<'a> = "jwt_sub",
        jwt_claims: Raw<'a> = "jwt_claims",
        consumer: Scalar<'a> = "consumer",
        user: Scalar<'a> = "user" | "remote_user" | "http_auth_user",
        client_dn: Scalar<'a> = "ssl_c_s_dn",
        client_verify: Scalar<'a> = "ssl_c_verify",
        session: Scalar<'a> = "mcp_session_id" | "session",
        tls_version: Scalar<'a> = "tls_version" | "sslv" | "ssl_version",
        request_id: Scalar<'a> = "request_id" | "unique_id",
        trace: Scalar<'a> = "traceparent",
        referer: Scalar<'a> = "referer",
        origin: Scalar<'a> = "origin",
        content_type: Scalar<'a> = "content_type",
        sent_content_type: Scalar<'a> = "sent_content_type",
        method_override: Joined<'a> = "x_http_method_override" | "x_http_method" | "x_method_override",
        forwarded_host: Joined<'a> = "x_forwarded_host",
        rewritten_url: Joined<'a> = "x_original_url" | "x_rewrite_url",
        server: Scalar<'a> = "sent_server",
        allow_origin: Scalar<'a> = "allow_origin",
        allow_credentials: Scalar<'a> = "allow_credentials",
        mcp_method: Scalar<'a> = "mcp_method",
        mcp_name: Scalar<'a> = "mcp_name",
        mcp_version: Scalar<'a> = "mcp_protocol_version",
        a2a_version: Scalar<'a> = "a2a_version",
        signature_agent: Scalar<'a> = "signature_agent",
        sdk_language: Scalar<'a> = "x_stainless_lang",
        via: Scalar<'a> = "via" | "cdn_loop",
        upstream_scheme: Scalar<'a> = "upstream_scheme",
        hsts: Told<'a> = "sent_strict_transport_security",
        content_type_options: Told<'a> = "sent_x_content_type_options",
        frame_options: Told<'a> = "sent_x_frame_options",
        content_security_policy: Told<'a> = "sent_content_security_policy",
        cache_control: Told<'a> = "sent_cache_control",
        vary: Told<'a> = "sent_vary",
        set_cookie: Told<'a> = "sent_set_cookie",
        location: Told<'a> = "sent_location",
        debug_header: Told<'a> = "sent_x_debug_token" | "sent_x_debug_token_link" | "sent_x_clockwork_id" | "sent_phpdebugbar_id" | "sent_x_chromelogger_data" | "sent_x_sourcefiles",
    }
}

/// Says whether a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"accept_date\"", "\"frontend\""])
}

/// Decodes one object.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    // The other keys are common: without one of these any flat log would pass.
    if record.accept_date.is_blank() && record.frontend.is_blank() {
        return Err(Fault::missing("accept_date"));
    }
    let event_time_ms = if record.accept_date.is_blank() {
        record.time.time("accept_date")
    } else {
        record.accept_date.time("accept_date")
    }?;
    let asked = Asked {
        method: record.method.method("method")?,
        uri: record.uri.text("uri")?,
        path: record.path.text("path")?,
        query: record.query.text("query")?,
        request: record.request.text("request")?,
    };
    let (method, target) = asked.target()?;
    let captured = record.captured.text("captured")?.unwrap_or_default();
    let (from_capture, capture_trace) = known_captures(&captured);
    let (authorization, authenticated_hint) =
        authorization(record.authorization.text("authorization")?);
    let is_refused = record
        .client_verify
        .text("ssl_c_verify")?
        .is_some_and(|verify| verify != "0");
    let client_cert = record.client_dn.text("ssl_c_s_dn")?;
    let frontend = record.frontend.text("frontend")?.map(|name| {
        let length = name.strip_suffix('~').unwrap_or(&name).len();
        target::cut(&name, 0..length)
    });
    Ok(Event {
        event_time_ms,
        gateway: "haproxy",
        method,
        scheme: record.scheme.text("scheme")?.or(target.scheme),
        host: record.host.text("host")?.or(target.host),
        path: target.path,
        query: target.query,
        status: record.status.status("status")?,
        request_bytes: record.bytes_uploaded.count("bytes_uploaded")?,
        response_bytes: record.bytes_read.count("bytes_read")?,
        latency_us: record.total.scaled("Ta", 1_000)?,
        client_ip: record.client_ip.text("client_ip")?,
        peer_ip: record.peer_ip.text("peer_ip")?,
        user_agent: record.user_agent.text("user_agent")?,
        authorization: authorization.or(from_capture),
        api_key: record.api_key.text("x_api_key")?,
        token_hash: record.token_hash.text("token_hash")?,
        jwt_sub: record.jwt_sub.text("jwt_sub")?,
        jwt_claims: record.jwt_claims.0,
        consumer: record.consumer.text("consumer")?,
        principal: record.user.text("user")?,
        client_cert: client_cert.filter(|_| !is_refused),
        session: record.session.text("session")?,
        authenticated_hint,
        route: frontend,
        service: record.backend.text("backend")?,
        tls_version: record.tls_version.text("tls_version")?,
        request_content_type: record.content_type.text("content_type")?,
        response_content_type: record.sent_content_type.text("sent_content_type")?,
        request_id: record.request_id.text("request_id")?,
        trace_id: record
            .trace
            .text("traceparent")?
            .map(target::trace_id)
            .or(capture_trace),
        referer: record.referer.text("referer")?,
        origin: record.origin.text("origin")?,
        method_override: record.method_override.text("x_http_method_override")?,
        forwarded_host: record.forwarded_host.text("x_forwarded_host")?,
        rewritten_url: record.rewritten_url.text("x_original_url")?,
        server: record.server.text("sent_server")?,
        allow_origin: record.allow_origin.text("allow_origin")?,
        allow_credentials: record.allow_credentials.text("allow_credentials")?,
        mcp_method: record.mcp_method.text("mcp_method")?,
        mcp_name: record.mcp_name.text("mcp_name")?,
        mcp_version: record.mcp_version.text("mcp_protocol_version")?,
        a2a_version: record.a2a_version.text("a2a_version")?,
        signature_agent: record.signature_agent.text("signature_agent")?,
        sdk_language: record.sdk_language.text("x_stainless_lang")?,
        via: record.via.text("via")?,
        upstream_scheme: record
            .upstream_scheme
            .text("upstream_scheme")?
            .and_then(|scheme| target::http_scheme(&scheme)),
        answer: answer!(record),
        ..Event::default()
    })
}

/// What a record says of the request line, in up to five fields.
struct Asked<'a> {
    method: Text<'a>,
    uri: Text<'a>,
    path: Text<'a>,
    query: Text<'a>,
    request: Text<'a>,
}

impl<'a> Asked<'a> {
    fn target(self) -> Result<(Cow<'a, str>, Target<'a>), Fault> {
        let (line_method, line_target) = match self.request {
            Some(line) => {
                let (method, target) = target::request_line(unhash(line))?;
                (Some(method), Some(target))
            }
            None => (None, None),
        };
        let method = self.method.or(line_method);
        let method = method.ok_or_else(|| Fault::missing("method"))?;
        if method == "<BADREQ>" {
            return Err(Fault::new(
                RejectReason::Malformed,
                "the request line is not HTTP",
            ));
        }
        if let Some(uri) = self.uri.map(unhash).or(line_target) {
            return Ok((method, target::split(uri)));
        }
        let path = self.path.ok_or_else(|| Fault::missing("uri"))?;
        let mut target = target::split(unhash(path));
        // HAProxy's %HQ begins with its question mark.
        let query = self.query.map(unhash).map(|query| {
            let start = usize::from(query.starts_with('?'));
            target::cut(&query, start..query.len())
        });
        target.query = query.filter(|query| !query.is_empty()).or(target.query);
        Ok((method, target))
    }
}

fn unhash(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => unescape_hash(text),
        Cow::Owned(text) => Cow::Owned(unescape_hash(&text).into_owned()),
    }
}

fn known_captures<'a>(captured: &Cow<'a, str>) -> (Text<'a>, Text<'a>) {
    let inner = |text: &'_ str| text.trim_matches(['{', '}']).len();
    match captured {
        Cow::Borrowed(text) if inner(text) > 0 => {
            haproxy::known_captures(text.trim_matches(['{', '}']))
        }
        Cow::Owned(text) => {
            let (authorization, trace) = haproxy::known_captures(text.trim_matches(['{', '}']));
            let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
            (authorization.map(own), trace.map(own))
        }
        Cow::Borrowed(_) => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Haproxy};
    use crate::format::tests::{assert_has, assert_lacks, print};

    const FULL: &str = r#"{"accept_date":"05/Jan/2026:01:00:00.003 +0100","client_ip":"10.0.0.9","frontend":"https-in~","backend":"orders","server":"s1",
        "scheme":"https","method":"POST","host":"shop.example","uri":"/a//%31?x=%20","status":"201","bytes_uploaded":"192","bytes_read":"165",
        "Ta":"12","term":"----","user_agent":"curl/8","authorization":"Bearer a.b.c","x_api_key":"k-1","jwt_sub":"u1","consumer":"app","user":"ann",
        "tls_version":"TLSv1.3","ssl_c_s_dn":"/CN=a","ssl_c_verify":"0","request_id":"q-1","x_method_override":"PUT","x_http_method":"DELETE"}"#;

    #[test]
    fn every_field_of_a_full_record_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=201",
            "request_bytes=192",
            "response_bytes=165",
            "latency_us=12000",
            "gateway=haproxy",
            "method=POST",
            "scheme=https",
            "host=shop.example",
            "path=/a//%31",
            "query=x=%20",
            "client_ip=10.0.0.9",
            "user_agent=curl/8",
            "authorization=Bearer a.b.c",
            "api_key=k-1",
            "jwt_sub=u1",
            "consumer=app",
            "principal=ann",
            "client_cert=/CN=a",
            "route=https-in",
            "service=orders",
            "tls_version=TLSv1.3",
            "request_id=q-1",
            "method_override=PUT, DELETE",
        ];
        for format in [Haproxy, Auto] {
            assert_eq!(print(format, FULL), want, "{format}");
        }
    }

    #[test]
    fn a_header_of_the_answer_is_logged_as_empty_or_not_at_all() {
        let line = FULL.replacen(
            '{',
            r#"{"sent_set_cookie":"sid=*; Secure","sent_location":"","cdn_loop":"cdn","upstream_scheme":"http","#,
            1,
        );
        let want = [
            "set_cookie=sid=*; Secure",
            "location=",
            "via=cdn",
            "upstream_scheme=http",
        ];
        assert_has(Haproxy, &line, &want);
        assert_lacks(Haproxy, &line, "hsts");
    }

    #[test]
    fn other_keys_and_what_haproxy_writes_into_them_are_read() {
        let with = |fields: &str| {
            format!(r#"{{"accept_date":"05/Jan/2026:00:00:00.003","backend":"b",{fields}}}"#)
        };
        let rows = [
            (
                r#""method":"GET","path":"/a/7","query":"?x=1""#,
                "query=x=1",
            ),
            (r#""method":"GET","path":"/a/7","query":"""#, "path=/a/7"),
            (r#""request":"GET /a#22 HTTP/1.1""#, "path=/a\""),
            (
                r#""method":"GET","uri":"/a","captured":"{h|Bearer a.b.c}""#,
                "authorization=Bearer a.b.c",
            ),
            (
                r#""method":"GET","uri":"/a","captured":"{\u0041|Bearer a.b.c}""#,
                "authorization=Bearer a.b.c",
            ),
            (r#""method":"GET","uri":"/a","Ta":-1,"Tt":7"#, "path=/a"),
            (
                r#""method":"POST","uri":"/mcp","mcp_method":"tools/call""#,
                "mcp_method=tools/call",
            ),
        ];
        for (fields, want) in rows {
            assert_has(Haproxy, &with(fields), &[want]);
        }
        assert_lacks(
            Haproxy,
            &FULL.replace(r#"verify":"0"#, r#"verify":"18"#),
            "client_cert",
        );
        assert_eq!(
            print(Haproxy, with(r#""method":"<BADREQ>","uri":"<BADREQ>""#)),
            ["malformed: the request line is not HTTP"]
        );
    }
}
