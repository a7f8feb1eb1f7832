//! Traefik: the access log, in JSON and in its variant of the common log format (Traefik 2.x and 3.x, observability/access-logs).
//!
//! | event | JSON | CLF |
//! |---|---|---|
//! | `event_time_ms` | `StartUTC`, else `StartLocal`, the request's **start**; else `time`, the line's | time in brackets, 1 s, the start |
//! | `method`, `path`, `query` | `RequestMethod`, `RequestPath` (with query) | request line |
//! | `scheme`, `host` | `RequestScheme`; `RequestAddr` (with port), else `RequestHost` | - |
//! | `status` | `DownstreamStatus`, else `OriginStatus` | the same in 3.x; in 2.x the **origin's**, `-` where Traefik itself answered |
//! | `request_bytes`, `response_bytes` | `RequestContentSize`, `DownstreamContentSize`, **body only** | -, the body |
//! | `latency_us` | `Duration` **ns** | number with `ms` |
//! | `client_ip` | the last of `ClientHost`, which is X-Forwarded-For where trusted (`forwardedHeaders`), else `ClientAddr` | first field, the same |
//! | `peer_ip` | `ClientAddr` | - |
//! | `user_agent`, `referer`, `origin` | `request_User-Agent`, … (`fields.headers`) | quoted, agent and referer |
//! | `principal` | `ClientUsername` | third field |
//! | `authorization`, `api_key` | `request_Authorization`, `request_X-Api-Key` (`fields.headers.names: keep`); `REDACTED` sets `authenticated_hint` | - |
//! | `client_cert` | `TLSClientSubject` | - |
//! | `session` | `request_Mcp-Session-Id`, else a session cookie of `request_Cookie` | - |
//! | `route`, `service` | `RouterName`; `ServiceName` | `"router"`; `"server URL"` |
//! | `tls_version` | `TLSVersion`, as `1.3` | - |
//! | `upstream_scheme` | of `ServiceURL` (3.x) | of `"server URL"` |
//! | `via`, `answer` | `request_Via`, `request_Cdn-Loop`; `downstream_Strict-Transport-Security` and the like, not sent if not there where `downstream_Date` is | - |
//! | `request_id`, `trace_id` | `request_X-Request-Id`; `TraceId`, else `request_Traceparent` | - |
//! | `mcp_method`, `mcp_name`, `mcp_version`, `a2a_version` | `request_Mcp-Method`, `request_Mcp-Name`, `request_Mcp-Protocol-Version`, `request_A2a-Version` | - |
//! | `signature_agent`, `sdk_language` | `request_Signature-Agent`, `request_X-Stainless-Lang` | - |
//! | other headers | `request_X-Http-Method-Override` and kin, `request_X-Forwarded-Host`, `request_X-Original-Url`, `request_X-Rewrite-Url`, `downstream_*` | - |
//!
//! Traps: by default no header is logged, and in JSON none but what `fields.headers` keeps; the path is **not raw** from 2.11.25 and 3.4.1
//! on: escapes are undone where none is needed and made where one is, `.`, `..` and empty segments are gone (`sanitizePath`), and `;`
//! in a query is `&`; `request_*` are the headers **as the service got them**: what a middleware or Traefik itself sets
//! (`X-Forwarded-Host`) is there, and on other routes the client's word under the same name, so `X-Forwarded-User` is not read;
//! `ClientUsername` is whom `headerField` of ForwardAuth says (3.3), the name given to BasicAuth even where it answers 401, and that of
//! an absolute URL (`http://name@host/`), so the client's word on routes without either;
//! `TLSClientSubject` is verified only if `clientAuthType` requires it; a router's name may be a chain
//! (`root@file -> leaf@file`); CLF **escapes nothing**: a query or a user agent may hold quotes, so the line is read from both its ends,
//! and over HTTP/2 a query may hold blanks and forge the status: prefer JSON.

use std::borrow::Cow;

use super::detect::has_any;
use super::json::{Header, Joined, Scalar, Seen, Told, answer, authorization, object, read_into};
use super::target::{self, Target};
use super::words::known;
use super::{Capabilities, Fault, Presence, combined};
use crate::event::{Event, Text};
use crate::reject::RejectReason;

pub(super) const DESCRIPTION: &str = "Traefik's access log, JSON and text";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Configured,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Always,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Never,
};

// Keys that begin with a capital are compared in lower case.
object! {
    struct Record {
        start: Scalar<'a> = "startutc" | "startlocal",
        time: Scalar<'a> = "time",
        method: Scalar<'a> = "requestmethod",
        path: Scalar<'a> = "requestpath",
        scheme: Scalar<'a> = "requestscheme",
        addr: Scalar<'a> = "requestaddr",
        host: Scalar<'a> = "requesthost",
        status: Scalar<'a> = "downstreamstatus",
        origin_status: Scalar<'a> = "originstatus",
        request_size: Scalar<'a> = "requestcontentsize",
        response_size: Scalar<'a> = "downstreamcontentsize",
        duration: Scalar<'a> = "duration",
        client_host: Scalar<'a> = "clienthost",
        client_addr: Scalar<'a> = "clientaddr",
        username: Scalar<'a> = "clientusername",
        router: Scalar<'a> = "routername",
        service: Scalar<'a> = "servicename",
        tls_version: Scalar<'a> = "tlsversion",
        client_cert: Scalar<'a> = "tlsclientsubject",
        trace: Scalar<'a> = "traceid",
        user_agent: Header<'a> = "request_User-Agent",
        referer: Header<'a> = "request_Referer",
        origin: Header<'a> = "request_Origin",
        authorization: Header<'a> = "request_Authorization",
        api_key: Header<'a> = "request_X-Api-Key" | "request_Apikey" | "request_Api-Key",
        session: Header<'a> = "request_Mcp-Session-Id",
        cookie: Header<'a> = "request_Cookie",
        content_type: Header<'a> = "request_Content-Type",
        request_id: Header<'a> = "request_X-Request-Id",
        traceparent: Header<'a> = "request_Traceparent" | "request_X-B3-Traceid",
        method_override: Joined<'a> = "request_X-Http-Method-Override" | "request_X-Http-Method" | "request_X-Method-Override",
        forwarded_host: Joined<'a> = "request_X-Forwarded-Host",
        rewritten_url: Joined<'a> = "request_X-Original-Url" | "request_X-Rewrite-Url",
        response_content_type: Header<'a> = "downstream_Content-Type",
        allow_origin: Header<'a> = "downstream_Access-Control-Allow-Origin",
        allow_credentials: Header<'a> = "downstream_Access-Control-Allow-Credentials",
        server: Header<'a> = "downstream_Server",
        powered_by: Header<'a> = "downstream_X-Powered-By",
        mcp_method: Header<'a> = "request_Mcp-Method",
        mcp_name: Header<'a> = "request_Mcp-Name",
        mcp_version: Header<'a> = "request_Mcp-Protocol-Version",
        a2a_version: Header<'a> = "request_A2a-Version",
        signature_agent: Header<'a> = "request_Signature-Agent",
        sdk_language: Header<'a> = "request_X-Stainless-Lang",
        via: Header<'a> = "request_Via" | "request_Cdn-Loop" | "request_Cf-Ray" | "request_X-Amz-Cf-Id",
        upstream: Scalar<'a> = "serviceurl",
        every: Seen = "downstream_Date",
        hsts: Told<'a> = "downstream_Strict-Transport-Security",
        content_type_options: Told<'a> = "downstream_X-Content-Type-Options",
        frame_options: Told<'a> = "downstream_X-Frame-Options",
        content_security_policy: Told<'a> = "downstream_Content-Security-Policy",
        cache_control: Told<'a> = "downstream_Cache-Control",
        vary: Told<'a> = "downstream_Vary",
        set_cookie: Told<'a> = "downstream_Set-Cookie",
        location: Told<'a> = "downstream_Location",
        debug_header: Told<'a> = "downstream_X-Debug-Token" | "downstream_X-Debug-Token-Link" | "downstream_X-Clockwork-Id" | "downstream_Phpdebugbar-Id" | "downstream_X-Chromelogger-Data" | "downstream_X-Sourcefiles",
    }
}

/// Says whether a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"RequestPath\"", "\"DownstreamStatus\""])
}

/// Decodes one object or line.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    if text.starts_with('{') {
        return record(text);
    }
    line(text).unwrap_or_else(|| {
        Err(Fault::new(
            RejectReason::Malformed,
            "neither JSON nor Traefik's common log format",
        ))
    })
}

fn record(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let event_time_ms = if record.start.is_blank() {
        record.time.time("StartUTC")
    } else {
        record.start.time("StartUTC")
    }?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(record.path.required("RequestPath")?);
    let (authorization, authenticated_hint) =
        authorization(record.authorization.text("request_Authorization")?);
    let cookie = record.cookie.text("request_Cookie")?;
    let session = record.session.text("request_Mcp-Session-Id")?;
    let status = record.status.status("DownstreamStatus")?;
    let peer_ip = record.client_addr.address("ClientAddr")?;
    let client_ip = record
        .client_host
        .text("ClientHost")?
        .and_then(target::last_forwarder);
    let mut answer = answer!(record);
    // Nobody keeps the date alone: all headers are kept (`fields.headers.defaultMode: keep`).
    if record.every.0 {
        answer.are_all();
    }
    // Version 2 writes an object here.
    let upstream_scheme = match record.upstream {
        Scalar::Text(url) => target::upstream_of(&url),
        _ => None,
    };
    Ok(Event {
        event_time_ms,
        gateway: "traefik",
        method: record
            .method
            .method("RequestMethod")?
            .ok_or_else(|| Fault::missing("RequestMethod"))?,
        scheme: record.scheme.text("RequestScheme")?.or(scheme),
        host: match record.addr.text("RequestAddr")? {
            Some(addr) => Some(addr),
            None => record.host.text("RequestHost")?.or(host),
        },
        path,
        query,
        status: match status {
            Some(status) => Some(status),
            None => record.origin_status.status("OriginStatus")?,
        },
        request_bytes: record.request_size.count("RequestContentSize")?,
        response_bytes: record.response_size.count("DownstreamContentSize")?,
        latency_us: record.duration.count("Duration")?.map(|ns| ns / 1_000),
        client_ip: client_ip.or_else(|| peer_ip.clone()),
        peer_ip,
        user_agent: record.user_agent.text("request_User-Agent")?,
        authorization,
        api_key: record
            .api_key
            .text("request_X-Api-Key")?
            .filter(|key| key != "REDACTED"),
        principal: record.username.text("ClientUsername")?,
        client_cert: record.client_cert.text("TLSClientSubject")?,
        session: session
            .or_else(|| cookie.and_then(|cookie| target::session_of(&cookie)))
            .filter(|session| session != "REDACTED"),
        authenticated_hint,
        route: record.router.text("RouterName")?,
        service: record.service.text("ServiceName")?,
        tls_version: record.tls_version.text("TLSVersion")?,
        request_content_type: record.content_type.text("request_Content-Type")?,
        response_content_type: record
            .response_content_type
            .text("downstream_Content-Type")?,
        request_id: record.request_id.text("request_X-Request-Id")?,
        trace_id: match record.trace.text("TraceId")? {
            Some(trace) => Some(trace),
            None => record
                .traceparent
                .text("request_Traceparent")?
                .map(target::trace_id),
        },
        referer: record.referer.text("request_Referer")?,
        origin: record.origin.text("request_Origin")?,
        method_override: record
            .method_override
            .text("request_X-Http-Method-Override")?,
        forwarded_host: record.forwarded_host.text("request_X-Forwarded-Host")?,
        rewritten_url: record.rewritten_url.text("request_X-Original-Url")?,
        allow_origin: record
            .allow_origin
            .text("downstream_Access-Control-Allow-Origin")?,
        allow_credentials: record
            .allow_credentials
            .text("downstream_Access-Control-Allow-Credentials")?,
        server: record.server.text("downstream_Server")?,
        powered_by: record.powered_by.text("downstream_X-Powered-By")?,
        mcp_method: record.mcp_method.text("request_Mcp-Method")?,
        mcp_name: record.mcp_name.text("request_Mcp-Name")?,
        mcp_version: record.mcp_version.text("request_Mcp-Protocol-Version")?,
        a2a_version: record.a2a_version.text("request_A2a-Version")?,
        signature_agent: record.signature_agent.text("request_Signature-Agent")?,
        sdk_language: record.sdk_language.text("request_X-Stainless-Lang")?,
        via: record.via.text("request_Via")?,
        upstream_scheme,
        answer,
        ..Event::default()
    })
}

/// Decodes a line of the common log format, if Traefik wrote it: none other ends with a count, two quoted names and `ms`.
///
/// Read from its end up to the user agent and from its front up to the size, as a quote may stand in what is between.
pub(super) fn line(text: &str) -> Option<Result<Event<'_>, Fault>> {
    let (before, latency_ms) = text.strip_suffix("ms")?.rsplit_once(' ')?;
    let latency_ms: i64 = latency_ms.parse().ok().filter(|ms| 0 <= *ms)?;
    let (before, server) = last_quoted(before)?;
    let (before, router) = last_quoted(before)?;
    let (before, count) = before.rsplit_once(' ')?;
    let is_count = count == "-" || count.bytes().all(|b| b.is_ascii_digit());
    let quoted = before.strip_suffix('"').filter(|_| is_count)?;

    let (prefix, event_time_ms, _) = combined::at_time(text).ok()?;
    let request_start = prefix.len() + "[".len() + combined::CLF_BYTES + "] \"".len();
    let request = quoted.get(request_start..)?;
    let request_end = request_end(request)?;
    let mut words = request[request_end + 2..].splitn(3, ' ');
    let (status, size, rest) = (words.next()?, words.next()?, words.next()?);
    let (referer, user_agent) = rest.strip_prefix('"')?.split_once("\" \"")?;
    Some(event(
        event_time_ms,
        &request[..request_end],
        status,
        combined::caller(prefix),
        Event {
            response_bytes: size.parse().ok(),
            latency_us: latency_ms.checked_mul(1_000),
            referer: known(referer.into()),
            user_agent: known(user_agent.into()),
            route: known(router.into()),
            upstream_scheme: target::upstream_of(server),
            service: known(server.into()),
            ..Event::default()
        },
    ))
}

fn event<'a>(
    event_time_ms: i64,
    request: &'a str,
    status: &str,
    caller: combined::Caller<'a>,
    rest: Event<'a>,
) -> Result<Event<'a>, Fault> {
    let (method, target) = target::request_line(Cow::Borrowed(request))?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(target);
    Ok(Event {
        event_time_ms: super::json::believe(event_time_ms, "time")?,
        gateway: "traefik",
        method,
        scheme,
        host,
        path,
        query,
        status: combined::status(status)?,
        client_ip: caller
            .address
            .and_then(|address| target::address(address.into())),
        principal: caller.user.map(Cow::Borrowed) as Text<'_>,
        ..rest
    })
}

/// Takes the last field off, if it is quoted and holds no quote.
fn last_quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix('"')?.rsplit_once(" \"")
}

/// Where the quote is that ends a request line: after its protocol, before a blank.
fn request_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'"', bytes).find(|at| {
        let follows_protocol = [6, 8].into_iter().any(|n_bytes| {
            at.checked_sub(n_bytes + 1)
                .is_some_and(|start| bytes[start..*at].starts_with(b" HTTP/"))
        });
        follows_protocol && bytes.get(at + 1) == Some(&b' ')
    })
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Combined, Traefik};
    use crate::format::tests::{COMBINED, assert_has, assert_lacks, print};

    const JSON: &str = r#"{"ClientAddr":"10.0.0.9:39496","ClientHost":"203.0.113.5, 192.0.2.7","ClientPort":"39496","ClientUsername":"ann",
        "DownstreamContentSize":357,"DownstreamStatus":404,"Duration":357313,"OriginStatus":0,"RequestAddr":"shop.example:8443",
        "RequestContentSize":12,"RequestHost":"shop.example","RequestMethod":"GET","RequestPath":"/a//%31?x=%20","RequestScheme":"https",
        "RouterName":"root@file -> leaf@file","ServiceName":"orders@docker","StartUTC":"2026-01-05T00:00:00.003782192Z",
        "StartLocal":"2026-01-05T01:00:00.003782192+01:00","TLSVersion":"1.3","TLSClientSubject":"CN=a","TraceId":"0af7651916cd43dd",
        "request_User-Agent":"curl/8","request_Authorization":"REDACTED","request_X-Api-Key":"k-1","request_Cookie":"sid=s-1",
        "request_Mcp-Method":"tools/call","request_Mcp-Name":"get_invoice","request_Mcp-Protocol-Version":"2026-07-28",
        "request_A2a-Version":"1.0","request_Signature-Agent":"\"https://agent.example\"","request_X-Stainless-Lang":"python",
        "request_X-Http-Method":"PATCH","request_X-Method-Override":"DELETE","request_X-Forwarded-Host":"evil.example",
        "downstream_Content-Type":"text/plain","downstream_Server":"gunicorn","entryPointName":"web","level":"info","msg":"","time":"2026-01-05T00:00:09Z"}"#;

    #[test]
    fn headers_that_are_kept_and_the_way_behind_are_read() {
        let with = |extra: &str| JSON.replacen('{', &format!("{{{extra},"), 1);
        let some = with(
            r#""downstream_Strict-Transport-Security":"max-age=60","request_Via":"1.1 google","ServiceURL":"http://172.18.0.3:5000""#,
        );
        let want = ["hsts=max-age=60", "via=1.1 google", "upstream_scheme=http"];
        assert_has(Traefik, &some, &want);
        assert_lacks(Traefik, &some, "location");
        let all = with(r#""downstream_Date":"x","ServiceURL":{"Scheme":"http"}"#);
        assert_has(Traefik, &all, &["hsts=", "location=", "debug_header="]);
        assert_lacks(Traefik, &all, "upstream_scheme");
        let line = format!("{COMBINED} 89 \"orders@docker\" \"https://10.0.0.5:80\" 4ms");
        assert_has(Traefik, &line, &["upstream_scheme=https"]);
    }

    #[test]
    fn every_field_of_a_full_record_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=404",
            "request_bytes=12",
            "response_bytes=357",
            "latency_us=357",
            "authenticated_hint=true",
            "gateway=traefik",
            "method=GET",
            "scheme=https",
            "host=shop.example:8443",
            "path=/a//%31",
            "query=x=%20",
            "client_ip=192.0.2.7",
            "peer_ip=10.0.0.9",
            "user_agent=curl/8",
            "api_key=k-1",
            "principal=ann",
            "client_cert=CN=a",
            "session=s-1",
            "route=root@file -> leaf@file",
            "service=orders@docker",
            "tls_version=1.3",
            "response_content_type=text/plain",
            "trace_id=0af7651916cd43dd",
            "method_override=PATCH, DELETE",
            "forwarded_host=evil.example",
            "server=gunicorn",
            "mcp_method=tools/call",
            "mcp_name=get_invoice",
            "mcp_version=2026-07-28",
            "a2a_version=1.0",
            "signature_agent=\"https://agent.example\"",
            "sdk_language=python",
        ];
        assert_eq!(print(Traefik, JSON), want);
    }

    #[test]
    fn a_line_with_dropped_fields_is_a_call_while_the_needed_ones_are_there() {
        let line = r#"{"RequestMethod":"GET","RequestPath":"/a","OriginStatus":201,"time":"2026-01-05T00:00:00Z"}"#;
        assert_has(
            Traefik,
            line,
            &["event_time=2026-01-05T00:00:00Z", "status=201", "path=/a"],
        );
        assert_eq!(
            print(Traefik, line.replace("RequestPath", "X")),
            ["missing_field: RequestPath"]
        );
        assert_eq!(
            print(Traefik, "text"),
            ["malformed: neither JSON nor Traefik's common log format"]
        );
    }

    const CLF: &str = r#"203.0.113.5, 192.0.2.7 - ann [05/Jan/2026:00:00:00 +0000] "GET /a/7?x=1 HTTP/2.0" 200 352 "-" "curl/8" 244 "root@docker -> leaf@docker" "http://172.17.0.3:80" 42ms"#;

    #[test]
    fn the_common_log_is_mapped_whatever_format_the_source_is_said_to_have() {
        let want = [
            "event_time=2026-01-05T00:00:00Z",
            "status=200",
            "response_bytes=352",
            "latency_us=42000",
            "gateway=traefik",
            "method=GET",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "principal=ann",
            "route=root@docker -> leaf@docker",
            "service=http://172.17.0.3:80",
            "upstream_scheme=http",
        ];
        for format in [Traefik, Combined, Auto] {
            assert_eq!(print(format, CLF), want, "{format}");
        }
        let none = CLF.replace("200 352", "- -").replace("244", "-");
        assert_lacks(Traefik, &none, "status");
        assert_lacks(Traefik, COMBINED, "path");
    }

    #[test]
    fn a_quote_in_what_the_client_sends_hides_no_call() {
        for (from, to, want) in [
            ("x=1", "x=\"", "query=x=\""),
            ("x=1", "x=\"\" HTTP/9", "query=x=\"\" HTTP/9"),
            (
                "curl/8",
                "a\" 500 \"b\" \"c",
                "user_agent=a\" 500 \"b\" \"c",
            ),
            ("\"-\"", "\"r\\\"", "referer=r\\"),
        ] {
            let line = CLF.replace(from, to);
            for format in [Traefik, Auto] {
                assert_has(
                    format,
                    &line,
                    &["status=200", "path=/a/7", "latency_us=42000", want],
                );
            }
        }
    }
}
