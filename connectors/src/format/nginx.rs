//! nginx with a JSON `log_format`: a flat one, and a nested one that njs or a shipper writes.
//!
//! The recommended format (`escape=json`; leave out what you do not use, `$jwt_claim_sub` needs nginx Plus or njs):
//!
//! ```text
//! log_format tollwatch escape=json '{"msec":"$msec","request_id":"$request_id","remote_addr":"$remote_addr",'
//!   '"realip_remote_addr":"$realip_remote_addr","remote_user":"$remote_user","jwt_sub":"$jwt_claim_sub","scheme":"$scheme",'
//!   '"method":"$request_method","host":"$host","request_uri":"$request_uri","request":"$request","status":"$status",'
//!   '"request_length":"$request_length","body_bytes_sent":"$body_bytes_sent","request_time":"$request_time","referer":"$http_referer","user_agent":"$http_user_agent",'
//!   '"origin":"$http_origin","content_type":"$content_type","sent_content_type":"$sent_http_content_type",'
//!   '"cors":"$sent_http_access_control_allow_origin|$sent_http_access_control_allow_credentials","ssl_protocol":"$ssl_protocol",'
//!   '"ssl_client_s_dn":"$ssl_client_s_dn","ssl_client_verify":"$ssl_client_verify","traceparent":"$http_traceparent"}';
//! ```
//!
//! | event | flat | nested |
//! |---|---|---|
//! | `event_time_ms` | `msec` (s, ms or text), else `time`, `time_iso8601`, `time_local`, `timestamp`, `ts`; the request's **end** | `@timestamp` |
//! | `method` | `request_method`, `method`, else from `request` | `http.method` |
//! | `path`, `query` | `request_uri` (raw), else `request`, else `uri` (decoded!) with `args` | `http.target`, `.path`, `.uri` |
//! | `scheme`, `host` | `scheme`; `host`, `http_host`, `server_name` | `http.scheme`; `http.host` |
//! | `status` | `status`; 000 is none | `http.status` |
//! | `request_bytes` | `request_length`, line, headers and body | `http.req_bytes` |
//! | `response_bytes` | `body_bytes_sent` (body), else `bytes_sent` (with headers) | `http.resp_bytes` |
//! | `latency_us` | `request_time` s | `http.dur` s |
//! | `client_ip` | `remote_addr` (after the realip module), `client_ip` | `http.ip`, else the **last** entry of `http.xff` |
//! | `peer_ip` | `realip_remote_addr` | `realip_remote_addr` |
//! | `user_agent` | `http_user_agent`, `user_agent` | `http.ua` |
//! | `authorization`, `api_key` | `http_authorization`, `authorization`; `http_x_api_key`, `x_api_key`, `http_apikey`, `api_key` | same |
//! | `token_hash` | `auth_sha256_16`, `auth_sha256`, `token_hash` | same |
//! | `jwt_sub`, `jwt_claims` | `jwt_sub`, `jwt_claim_sub`; `jwt_claims`, `jwt_payload` | same |
//! | `consumer`, `principal` | `consumer`; `remote_user` | same |
//! | `client_cert` | `ssl_client_s_dn`, unless `ssl_client_verify` is there and not `SUCCESS` | same |
//! | `session` | `mcp_session`, `http_mcp_session_id`, `session` | same |
//! | `service`, `route` | `upstream_addr`, `proxy_host`; `route`, `location` | same |
//! | `tls_version` | `ssl_protocol`, `tls_version` | same |
//! | `request_content_type` | `content_type`, `http_content_type` | `http.req_ctype` |
//! | `response_content_type` | `sent_http_content_type`, `sent_content_type` | `http.ctype` |
//! | `request_id`, `trace_id` | `request_id`; `http_traceparent`, `traceparent`, `trace_id` | `trace` is the request id |
//! | `referer`, `origin` | `http_referer`, `referer`; `http_origin`, `origin` | `http.referer`; `http.origin` |
//! | `method_override` | `http_x_http_method_override`, `http_x_http_method`, `http_x_method_override`, all that are there | same |
//! | `forwarded_host` | `http_x_forwarded_host` | same |
//! | `rewritten_url` | `http_x_original_url`, `http_x_rewrite_url`, all that are there | same |
//! | `allow_origin`, `allow_credentials` | `cors` (`origin` or `origin\|credentials`), `sent_http_access_control_allow_origin`, `…_credentials` | same |
//! | `server`, `powered_by` | `sent_http_server`, `upstream_http_server`; `sent_http_x_powered_by`, `upstream_http_x_powered_by` | same |
//! | `answer` | `sent_http_strict_transport_security`, `…_x_content_type_options`, `…_x_frame_options`, `…_content_security_policy`, `…_cache_control`, `…_vary`, `…_set_cookie`, `…_location`, `…_x_debug_token` and kin; there and empty: not sent | same |
//! | `via`, `upstream_scheme` | `http_via`, `http_cdn_loop`; `upstream_scheme` (a text of your own: `https` where `proxy_pass` says so) | same |
//! | `mcp_method`, `mcp_name`, `mcp_version`, `a2a_version` | `http_mcp_method`, `http_mcp_name`, `http_mcp_protocol_version`, `http_a2a_version`; without `http_` too | same |
//! | `signature_agent`, `sdk_language` | `http_signature_agent`, `signature_agent`; `http_x_stainless_lang`, `sdk_language` | same |
//! | `request_body` | `request_body`, `body` | same |
//!
//! Traps: `uri` is decoded and normalised (`/orders/%31%32` and `/a/../orders/12` become `/orders/12`), which hides probes: log
//! `request_uri`, and `request` beside it: of a request that climbs out of the root (`/..%2f..%2fetc`) and is answered with 400 `request_uri`
//! is empty (measured, nginx 1.22). `escape=json` passes raw bytes, so a line may not be UTF-8. A request nginx could not parse has an empty method: no
//! event. `remote_user` is the name in any `Authorization: Basic`, so it is the client's word wherever `auth_basic` does not check it:
//! leave it out there. `x_forwarded_for` of the flat format is what the client says and is not read. Without `remote_addr` the nested format has
//! only `xff`, of which the last entry is the one the proxy in front added; without such a proxy it is the client's word.

use std::borrow::Cow;

use super::detect::has_any;
use super::json::{
    Joined, Raw, Scalar, Told, answer, authorization, expect_objects, object, read_into,
};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str = "nginx with a JSON log_format, flat or nested";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Configured,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Configured,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Configured,
};

object! {
    struct Record {
        msec: Scalar<'a> = "msec" | "@timestamp",
        time: Scalar<'a> = "time" | "time_iso8601" | "time_local" | "timestamp" | "ts",
        http: Http<'a> = "http",
        method: Scalar<'a> = "request_method" | "method",
        request: Scalar<'a> = "request",
        request_uri: Scalar<'a> = "request_uri",
        uri: Scalar<'a> = "uri",
        args: Scalar<'a> = "args" | "query_string",
        scheme: Scalar<'a> = "scheme",
        host: Scalar<'a> = "host" | "http_host" | "server_name",
        status: Scalar<'a> = "status",
        request_length: Scalar<'a> = "request_length",
        body_bytes_sent: Scalar<'a> = "body_bytes_sent",
        bytes_sent: Scalar<'a> = "bytes_sent",
        request_time: Scalar<'a> = "request_time",
        remote_addr: Scalar<'a> = "remote_addr" | "client_ip",
        realip_remote_addr: Scalar<'a> = "realip_remote_addr",
        user_agent: Scalar<'a> = "http_user_agent" | "user_agent",
        authorization: Scalar<'a> = "http_authorization" | "authorization",
        api_key: Scalar<'a> = "http_x_api_key" | "x_api_key" | "http_apikey" | "api_key",
        token_hash: Scalar<'a> = "auth_sha256_16" | "auth_sha256" | "token_hash",
        jwt_sub: Scalar<'a> = "jwt_sub" | "jwt_claim_sub",
        jwt_claims: Raw<'a> = "jwt_claims" | "jwt_payload",
        consumer: Scalar<'a> = "consumer",
        remote_user: Scalar<'a> = "remote_user",
        client_dn: Scalar<'a> = "ssl_client_s_dn",
        client_verify: Scalar<'a> = "ssl_client_verify",
        session: Scalar<'a> = "mcp_session" | "http_mcp_session_id" | "mcp_session_id" | "session",
        route: Scalar<'a> = "route" | "location",
        upstream: Scalar<'a> = "upstream_addr" | "proxy_host",
        ssl_protocol: Scalar<'a> = "ssl_protocol" | "tls_version",
        content_type: Scalar<'a> = "content_type" | "http_content_type",
        sent_content_type: Scalar<'a> = "sent_http_content_type" | "sent_content_type",
        request_id: Scalar<'a> = "request_id" | "http_x_request_id" | "trace",
        trace: Scalar<'a> = "http_traceparent" | "traceparent" | "trace_id",
        referer: Scalar<'a> = "http_referer" | "referer",
        origin: Scalar<'a> = "http_origin" | "origin",
        method_override: Joined<'a> = "http_x_http_method_override" | "http_x_http_method" | "http_x_method_override" | "method_override",
        forwarded_host: Joined<'a> = "http_x_forwarded_host",
        rewritten_url: Joined<'a> = "http_x_original_url" | "http_x_rewrite_url",
        cors: Scalar<'a> = "cors" | "sent_http_access_control_allow_origin",
        credentials: Scalar<'a> = "sent_http_access_control_allow_credentials",
        server: Scalar<'a> = "sent_http_server" | "upstream_http_server",
        powered_by: Scalar<'a> = "sent_http_x_powered_by" | "upstream_http_x_powered_by",
        mcp_method: Scalar<'a> = "http_mcp_method" | "mcp_method",
        mcp_name: Scalar<'a> = "http_mcp_name" | "mcp_name",
        mcp_version: Scalar<'a> = "http_mcp_protocol_version" | "mcp_protocol_version",
        a2a_version: Scalar<'a> = "http_a2a_version" | "a2a_version",
        signature_agent: Scalar<'a> = "http_signature_agent" | "signature_agent",
        sdk_language: Scalar<'a> = "http_x_stainless_lang" | "sdk_language",
        via: Scalar<'a> = "http_via" | "http_cdn_loop",
        upstream_scheme: Scalar<'a> = "upstream_scheme",
        hsts: Told<'a> = "sent_http_strict_transport_security",
        content_type_options: Told<'a> = "sent_http_x_content_type_options",
        frame_options: Told<'a> = "sent_http_x_frame_options",
        content_security_policy: Told<'a> = "sent_http_content_security_policy",
        cache_control: Told<'a> = "sent_http_cache_control",
        vary: Told<'a> = "sent_http_vary",
        set_cookie: Told<'a> = "sent_http_set_cookie",
        location: Told<'a> = "sent_http_location",
        debug_header: Told<'a> = "sent_http_x_debug_token" | "sent_http_x_debug_token_link" | "sent_http_x_clockwork_id" | "sent_http_phpdebugbar_id" | "sent_http_x_chromelogger_data" | "sent_http_x_sourcefiles",
        body: Raw<'a> = "request_body" | "body",
    }
}

object! {
    struct Http {
        method: Scalar<'a> = "method",
        target: Scalar<'a> = "target" | "path" | "uri",
        scheme: Scalar<'a> = "scheme",
        host: Scalar<'a> = "host",
        status: Scalar<'a> = "status",
        req_bytes: Scalar<'a> = "req_bytes",
        resp_bytes: Scalar<'a> = "resp_bytes",
        dur: Scalar<'a> = "dur",
        ip: Scalar<'a> = "ip",
        xff: Scalar<'a> = "xff",
        ua: Scalar<'a> = "ua",
        referer: Scalar<'a> = "referer",
        origin: Scalar<'a> = "origin",
        req_ctype: Scalar<'a> = "req_ctype",
        ctype: Scalar<'a> = "ctype",
    }
}

/// Says whether a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(
        text,
        &[
            "\"request_uri\"",
            "\"msec\"",
            "\"time_iso8601\"",
            "\"remote_addr\"",
            "\"target\"",
        ],
    )
}

/// Decodes one log line.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    expect_objects(&[(&record.http, "http")])?;
    let http = record.http;
    let event_time_ms = if record.msec.is_blank() {
        record.time.time("time")
    } else {
        record.msec.time("msec")
    }?;
    let logged = Logged {
        method: or(record.method, http.method).method("method")?,
        target: or(record.request_uri, http.target).text("request_uri")?,
        request: record.request,
        uri: record.uri,
        args: record.args,
    };
    let (
        method,
        Target {
            scheme,
            host,
            path,
            query,
        },
    ) = logged.target()?;
    let (authorization, authenticated_hint) =
        authorization(record.authorization.text("http_authorization")?);
    let (allow_origin, credentials) = cors(record.cors.text("cors")?);
    Ok(Event {
        event_time_ms,
        gateway: "nginx",
        method,
        scheme: or(record.scheme, http.scheme).text("scheme")?.or(scheme),
        host: or(record.host, http.host).text("host")?.or(host),
        path,
        query,
        status: or(record.status, http.status).status("status")?,
        request_bytes: or(record.request_length, http.req_bytes).count("request_length")?,
        response_bytes: or(
            or(record.body_bytes_sent, record.bytes_sent),
            http.resp_bytes,
        )
        .count("body_bytes_sent")?,
        latency_us: or(record.request_time, http.dur).scaled("request_time", 1_000_000)?,
        client_ip: client(or(record.remote_addr, http.ip), http.xff)?,
        peer_ip: record.realip_remote_addr.address("realip_remote_addr")?,
        user_agent: or(record.user_agent, http.ua).text("user_agent")?,
        authorization,
        api_key: record.api_key.text("http_x_api_key")?,
        token_hash: record.token_hash.text("auth_sha256_16")?,
        jwt_sub: record.jwt_sub.text("jwt_sub")?,
        jwt_claims: record.jwt_claims.0,
        consumer: record.consumer.text("consumer")?,
        principal: record.remote_user.text("remote_user")?,
        client_cert: client_cert(record.client_dn, record.client_verify)?,
        session: record.session.text("mcp_session")?,
        authenticated_hint,
        route: record.route.text("route")?,
        upstream_scheme: record
            .upstream_scheme
            .text("upstream_scheme")?
            .and_then(|scheme| target::http_scheme(&scheme)),
        service: record.upstream.text("upstream_addr")?,
        tls_version: record.ssl_protocol.text("ssl_protocol")?,
        request_content_type: or(record.content_type, http.req_ctype).text("content_type")?,
        response_content_type: or(record.sent_content_type, http.ctype)
            .text("sent_http_content_type")?,
        request_id: record.request_id.text("request_id")?,
        trace_id: record.trace.text("traceparent")?.map(target::trace_id),
        referer: or(record.referer, http.referer).text("referer")?,
        origin: or(record.origin, http.origin).text("origin")?,
        method_override: record.method_override.text("http_x_http_method_override")?,
        forwarded_host: record.forwarded_host.text("http_x_forwarded_host")?,
        rewritten_url: record.rewritten_url.text("http_x_original_url")?,
        allow_origin,
        allow_credentials: credentials.or(record
            .credentials
            .text("sent_http_access_control_allow_credentials")?),
        server: record.server.text("sent_http_server")?,
        powered_by: record.powered_by.text("sent_http_x_powered_by")?,
        via: record.via.text("http_via")?,
        answer: answer!(record),
        mcp_method: record.mcp_method.text("http_mcp_method")?,
        mcp_name: record.mcp_name.text("http_mcp_name")?,
        mcp_version: record.mcp_version.text("http_mcp_protocol_version")?,
        a2a_version: record.a2a_version.text("http_a2a_version")?,
        signature_agent: record.signature_agent.text("http_signature_agent")?,
        sdk_language: record.sdk_language.text("http_x_stainless_lang")?,
        request_body: record.body.0,
    })
}

fn or<'a>(first: Scalar<'a>, second: Scalar<'a>) -> Scalar<'a> {
    if first.is_blank() && !second.is_blank() {
        second
    } else {
        first
    }
}

/// What a line says of the request line, in up to five fields.
struct Logged<'a> {
    method: Text<'a>,
    target: Text<'a>,
    request: Scalar<'a>,
    uri: Scalar<'a>,
    args: Scalar<'a>,
}

impl<'a> Logged<'a> {
    /// Method and target, the rawest first.
    fn target(self) -> Result<(Cow<'a, str>, Target<'a>), Fault> {
        let (method, target) = match (self.method, self.target) {
            (Some(method), Some(target)) => (method, target),
            // Beside no target, `-` may be nginx's word for a request it could not read: the line knows better.
            (method, target) => match (
                self.request
                    .text("request")?
                    .map(target::request_line)
                    .transpose()?,
                method,
            ) {
                (Some((line_method, line_target)), method) => (
                    method.filter(|method| method != "-").unwrap_or(line_method),
                    target.unwrap_or(line_target),
                ),
                (None, None) => return Err(Fault::missing("method")),
                (None, Some(method)) => {
                    let uri = target::split(self.uri.required("request_uri")?);
                    return Ok((
                        method,
                        Target {
                            query: self.args.text("args")?,
                            ..uri
                        },
                    ));
                }
            },
        };
        Ok((method, target::split(target)))
    }
}

/// The client's address; of a list of forwarders only the last, which the proxy in front added.
fn client<'a>(address: Scalar<'a>, forwarders: Scalar<'a>) -> Result<Text<'a>, Fault> {
    if !address.is_blank() {
        return address.address("remote_addr");
    }
    let last = forwarders.text("xff")?.map(|list| {
        let start = list.rfind(',').map_or(0, |at| at + 1);
        let start = start + list[start..].len() - list[start..].trim_ascii_start().len();
        target::cut(&list, start..start + list[start..].trim_ascii_end().len())
    });
    Ok(last.and_then(target::address))
}

/// The certificate's subject, unless nginx says that it did not verify it (`ssl_verify_client optional_no_ca`).
fn client_cert<'a>(subject: Scalar<'a>, verify: Scalar<'a>) -> Result<Text<'a>, Fault> {
    let is_refused = verify
        .text("ssl_client_verify")?
        .is_some_and(|verdict| verdict != "SUCCESS");
    Ok(subject.text("ssl_client_s_dn")?.filter(|_| !is_refused))
}

/// Takes `origin|credentials` apart.
fn cors(text: Text<'_>) -> (Text<'_>, Text<'_>) {
    let Some(text) = text else {
        return (None, None);
    };
    let Some(bar) = text.find('|') else {
        return (Some(text), None);
    };
    let some = |part: std::ops::Range<usize>| {
        Some(target::cut(&text, part)).filter(|part| !matches!(part.as_ref(), "" | "-"))
    };
    (some(0..bar), some(bar + 1..text.len()))
}

#[cfg(test)]
mod tests {
    use crate::format::Format::Nginx;
    use crate::format::tests::{NGINX, assert_has, assert_lacks, print};

    fn with(extra: &str) -> String {
        NGINX.replacen('{', &format!("{{{extra},"), 1)
    }

    #[test]
    fn the_flat_format_is_mapped() {
        // From the captures (format A), shortened.
        let line = r#"{"time":"2026-01-05T11:50:05+00:00","msec":"1767613805.154","request_id":"39a2d89374c9","remote_addr":"198.19.82.169",
            "realip_remote_addr":"127.0.0.1","remote_user":"","jwt_sub":"fay_novak","scheme":"http","server_protocol":"HTTP/1.1","method":"GET",
            "request_uri":"/me?a=1","args":"a=1","status":200,"body_bytes_sent":107,"request_length":355,"request_time":0.012,
            "upstream_addr":"127.0.0.1:5101","upstream_status":"200","host":"127.0.0.1","referer":"","user_agent":"Mozilla/5.0 (X11)",
            "origin":"https://o.example","sent_content_type":"application/json","cors":"https://o.example|true"}"#;
        let want = [
            "event_time=2026-01-05T11:50:05.154Z",
            "status=200",
            "request_bytes=355",
            "response_bytes=107",
            "latency_us=12000",
            "gateway=nginx",
            "method=GET",
            "scheme=http",
            "host=127.0.0.1",
            "path=/me",
            "query=a=1",
            "client_ip=198.19.82.169",
            "peer_ip=127.0.0.1",
            "user_agent=Mozilla/5.0 (X11)",
            "jwt_sub=fay_novak",
            "service=127.0.0.1:5101",
            "response_content_type=application/json",
            "request_id=39a2d89374c9",
            "origin=https://o.example",
            "allow_origin=https://o.example",
            "allow_credentials=true",
        ];
        assert_eq!(print(Nginx, line), want);
    }

    #[test]
    fn a_header_of_the_answer_is_logged_as_empty_or_not_at_all() {
        let line = with(
            r#""sent_http_strict_transport_security":"","sent_http_vary":"-","sent_http_location":"/b","http_via":"","http_cdn_loop":"cdn","upstream_scheme":"HTTPS""#,
        );
        assert_has(
            Nginx,
            &line,
            &[
                "hsts=",
                "vary=",
                "location=/b",
                "via=cdn",
                "upstream_scheme=https",
            ],
        );
        for column in ["content_type_options", "set_cookie", "debug_header"] {
            assert_lacks(Nginx, &line, column);
        }
    }

    #[test]
    fn the_nested_format_is_mapped() {
        // From the captures (format B), shortened.
        let line = r#"{"@timestamp":"1768222923.064","trace":"78c4fef6b097","http":{"method":"POST","target":"/api/search?q","status":200,
            "proto":"HTTP/1.1","resp_bytes":1647,"dur":0.001,"ua":"ShelfApp/4.2.0","xff":"100.76.188.19","origin":"","ctype":"application/json"},
            "auth_sha256_16":"4e9d6f837913950d","mcp_session":"m-1","body":"{\"boardId\":635,\"q\":\"x\"}"}"#;
        let want = [
            "event_time=2026-01-12T13:02:03.064Z",
            "status=200",
            "response_bytes=1647",
            "latency_us=1000",
            "gateway=nginx",
            "method=POST",
            "path=/api/search",
            "query=q",
            "client_ip=100.76.188.19",
            "user_agent=ShelfApp/4.2.0",
            "token_hash=4e9d6f837913950d",
            "session=m-1",
            "response_content_type=application/json",
            "request_id=78c4fef6b097",
            r#"request_body={"boardId":635,"q":"x"}"#,
        ];
        assert_eq!(print(Nginx, line), want);
    }

    #[test]
    fn aliases_and_blanks_are_read() {
        let rows = [
            (
                r#""http_authorization":"Bearer a.b.c""#,
                "authorization=Bearer a.b.c",
            ),
            (r#""http_x_api_key":"k""#, "api_key=k"),
            (
                r#""http_user_agent":"-","user_agent":"curl""#,
                "user_agent=curl",
            ),
            (
                r#""sent_http_access_control_allow_origin":"*""#,
                "allow_origin=*",
            ),
            (r#""cors":"|true""#, "allow_credentials=true"),
            (r#""cors":"*""#, "allow_origin=*"),
            (r#""ssl_client_s_dn":"CN=a""#, "client_cert=CN=a"),
            (
                r#""ssl_client_s_dn":"CN=a","ssl_client_verify":"SUCCESS""#,
                "client_cert=CN=a",
            ),
            (r#""ssl_protocol":"TLSv1.3""#, "tls_version=TLSv1.3"),
            (r#""remote_user":"bob""#, "principal=bob"),
            (r#""bytes_sent":"174""#, "response_bytes=174"),
            (
                r#""bytes_sent":174,"body_bytes_sent":20"#,
                "response_bytes=20",
            ),
            (r#""request_time":"0.363""#, "latency_us=363000"),
            (r#""sent_http_server":"nginx/1.22""#, "server=nginx/1.22"),
            (r#""request_body":"{\"a\":1}""#, r#"request_body={"a":1}"#),
        ];
        for (extra, want) in rows {
            assert_has(Nginx, &with(extra), &[want]);
        }
        assert_lacks(
            Nginx,
            &with(r#""ssl_client_s_dn":"CN=a","ssl_client_verify":"FAILED:x""#),
            "client_cert",
        );
        assert_lacks(
            Nginx,
            &with(r#""x_forwarded_for":"1.1.1.1","remote_addr":"unix:""#),
            "client_ip",
        );
    }

    #[test]
    fn the_rawest_target_wins() {
        let rows = [
            (
                r#""msec":1767571200.003,"request_method":"GET","request_uri":"/a/%31","uri":"/a/1""#,
                "path=/a/%31",
            ),
            (
                r#""time":"2026-01-05T00:00:00Z","request":"GET /a/%31?q HTTP/1.1","uri":"/a/1""#,
                "path=/a/%31",
            ),
            (
                r#""time_local":"05/Jan/2026:00:00:00 +0000","method":"GET","uri":"/a/1","args":"q=2""#,
                "query=q=2",
            ),
        ];
        for (fields, want) in rows {
            assert_has(Nginx, &format!("{{{fields}}}"), &[want, "method=GET"]);
        }
        let garbage =
            r#"{"msec":1767571200.003,"request_method":"","request":"\u0016\u0003","status":400}"#;
        assert_eq!(
            print(Nginx, garbage),
            ["malformed: the request line is not HTTP"]
        );
    }

    #[test]
    fn of_a_list_of_forwarders_only_the_last_counts() {
        let line = |xff: &str| {
            format!(
                r#"{{"@timestamp":1768176043.1,"http":{{"method":"GET","target":"/","xff":"{xff}"}}}}"#
            )
        };
        assert_has(
            Nginx,
            &line("6.6.6.6, 10.1.1.1 ,192.0.2.3 "),
            &["client_ip=192.0.2.3"],
        );
        assert_has(Nginx, &line("192.0.2.3"), &["client_ip=192.0.2.3"]);
        assert_lacks(Nginx, &line("6.6.6.6, "), "client_ip");
    }
}
