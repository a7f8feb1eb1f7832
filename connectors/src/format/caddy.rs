//! Caddy: the access log in JSON, its default encoder (Caddy 2.5 to 2.10, `log` directive, logger `http.log.access`).
//!
//! | event | Caddy |
//! |---|---|
//! | `event_time_ms` | `ts`, seconds as a float (or another `time_format`), the request's **end** |
//! | `method`, `path`, `query` | `request.method`, `request.uri` (raw, with query) |
//! | `scheme` | `https` where `request.tls` is there; a plain connection may have been TLS before a proxy, so it says nothing |
//! | `host` | `request.host` |
//! | `status` | `status`; 0: the client left, or nothing answered |
//! | `request_bytes`, `response_bytes` | `bytes_read`, `size`, **body only** |
//! | `latency_us` | `duration`, seconds as a float, or text with a unit (`duration_format string`) |
//! | `client_ip` | `request.client_ip` (after `trusted_proxies`), else `request.remote_ip` |
//! | `peer_ip` | `request.remote_ip` |
//! | `principal` | `user_id` (what an authentication handler found) |
//! | `client_cert` | `request.tls.client_common_name` (verified only if `client_auth` verifies) |
//! | `authorization` | `request.headers.Authorization`; `REDACTED` sets `authenticated_hint` (log it with `log_credentials`) |
//! | `api_key`, `session` | `request.headers.X-Api-Key`, `.Mcp-Session-Id`, a session cookie (`log_credentials`) |
//! | `jwt_sub`, `jwt_claims`, `consumer` | `jwt_sub`, `jwt_claims`, `consumer` (`log_append jwt_sub {http.auth.user.id}`) |
//! | `service`, `route` | `upstream`, `route` (`log_append`) |
//! | `tls_version` | `request.tls.version`, the number of the protocol |
//! | `request_id`, `trace_id` | `uuid`, `request_id` (`log_append`), else `X-Request-Id`; `traceID`, else `Traceparent` |
//! | other headers | `request.headers.*`, `resp_headers.*`, each an array |
//! | `answer` | the headers of the answer are all logged: one that is not there was not sent |
//!
//! Traps: header values are **arrays**; before 2.5 a redacted header is an empty array, which does not tell that there was one; the
//! error log (`http.log.error`) and the other loggers share the file: they are no calls; a `filter` encoder may drop or hash any field.

use super::detect::has_any;
use super::duration;
use super::headers::Headers;
use super::json::{Raw, Scalar, expect_objects, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str = "Caddy's access log in JSON";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Always,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Always,
    response_headers: Presence::Always,
    body: Presence::Never,
};

object! {
    struct Record {
        ts: Scalar<'a> = "ts",
        request: Request<'a> = "request",
        bytes_read: Scalar<'a> = "bytes_read",
        size: Scalar<'a> = "size",
        status: Scalar<'a> = "status",
        duration: Scalar<'a> = "duration",
        user_id: Scalar<'a> = "user_id",
        response: Headers<'a> = "resp_headers",
        jwt_sub: Scalar<'a> = "jwt_sub",
        jwt_claims: Raw<'a> = "jwt_claims",
        consumer: Scalar<'a> = "consumer",
        upstream: Scalar<'a> = "upstream",
        route: Scalar<'a> = "route",
        request_id: Scalar<'a> = "uuid" | "request_id",
        trace: Scalar<'a> = "traceID" | "trace_id",
    }
}

object! {
    struct Request {
        remote_ip: Scalar<'a> = "remote_ip" | "remote_addr",
        client_ip: Scalar<'a> = "client_ip",
        method: Scalar<'a> = "method",
        host: Scalar<'a> = "host",
        uri: Scalar<'a> = "uri",
        headers: Headers<'a> = "headers",
        tls: Tls<'a> = "tls",
    }
}

object! {
    struct Tls {
        version: Scalar<'a> = "version",
        cipher: Scalar<'a> = "cipher_suite",
        client: Scalar<'a> = "client_common_name",
    }
}

/// Says whether a record has marks that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"http.log.access", "\"resp_headers\""])
}

/// Decodes one log object.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let request = record.request;
    expect_objects(&[(&request, "request"), (&request.tls, "request.tls")])?;
    let tls = request.tls;
    let is_tls = !tls.version.is_blank() || !tls.cipher.is_blank();
    let event_time_ms = record.ts.time("ts")?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(request.uri.required("request.uri")?);
    let peer_ip = request.remote_ip.address("request.remote_ip")?;
    let mut event = Event {
        event_time_ms,
        gateway: "caddy",
        method: request
            .method
            .method("request.method")?
            .ok_or_else(|| Fault::missing("request.method"))?,
        scheme: if is_tls { Some("https".into()) } else { scheme },
        host: request.host.text("request.host")?.or(host),
        path,
        query,
        status: record.status.status("status")?,
        request_bytes: record.bytes_read.count("bytes_read")?,
        response_bytes: record.size.count("size")?,
        latency_us: duration::seconds(&record.duration, "duration")?,
        client_ip: request
            .client_ip
            .address("request.client_ip")?
            .or_else(|| peer_ip.clone()),
        peer_ip,
        jwt_sub: record.jwt_sub.text("jwt_sub")?,
        jwt_claims: record.jwt_claims.0,
        consumer: record.consumer.text("consumer")?,
        principal: record.user_id.text("user_id")?,
        client_cert: tls.client.text("request.tls.client_common_name")?,
        route: record.route.text("route")?,
        service: record.upstream.text("upstream")?,
        tls_version: tls_version(tls.version)?,
        request_id: record.request_id.text("request_id")?,
        trace_id: record.trace.text("traceID")?,
        ..Event::default()
    };
    request.headers.fill_request(&mut event)?;
    record.response.fill_whole_response(&mut event)?;
    Ok(event)
}

/// The protocol's name by its number on the wire (RFC 8446, section 4.1.2).
fn tls_version(version: Scalar<'_>) -> Result<Text<'_>, Fault> {
    let name = match version {
        Scalar::Integer(0x0301) => "TLSv1.0",
        Scalar::Integer(0x0302) => "TLSv1.1",
        Scalar::Integer(0x0303) => "TLSv1.2",
        Scalar::Integer(0x0304) => "TLSv1.3",
        other => return other.text("request.tls.version"),
    };
    Ok(Some(name.into()))
}

#[cfg(test)]
mod tests {
    use crate::format::Format::Caddy;
    use crate::format::tests::{assert_has, assert_lacks, print};

    const FULL: &str = r#"{"level":"info","ts":1767571200.0034,"logger":"http.log.access.log0","msg":"handled request","request":{
        "remote_ip":"10.0.0.9","remote_port":"41234","client_ip":"192.0.2.7","proto":"HTTP/2.0","method":"PUT","host":"shop.example",
        "uri":"/a//%31?x=%20","headers":{"User-Agent":["curl/8"],"Authorization":["REDACTED"],"X-Api-Key":["k-1"],
        "X-Http-Method":["PATCH"],"X-Method-Override":["DELETE","DELETE"],"Content-Type":["application/json"],"Cookie":["REDACTED"],
        "Traceparent":["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]},
        "tls":{"resumed":false,"version":772,"cipher_suite":4865,"proto":"h2","server_name":"shop.example","client_common_name":"ann-laptop"}},
        "bytes_read":12,"user_id":"ann","duration":0.0025,"size":18630,"status":201,
        "resp_headers":{"Content-Type":["text/html"],"Server":["Caddy"],"Access-Control-Allow-Origin":["*"]}}"#;

    #[test]
    fn every_field_of_a_full_record_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=201",
            "request_bytes=12",
            "response_bytes=18630",
            "latency_us=2500",
            "authenticated_hint=true",
            "gateway=caddy",
            "method=PUT",
            "scheme=https",
            "host=shop.example",
            "path=/a//%31",
            "query=x=%20",
            "client_ip=192.0.2.7",
            "peer_ip=10.0.0.9",
            "user_agent=curl/8",
            "api_key=k-1",
            "principal=ann",
            "client_cert=ann-laptop",
            "tls_version=TLSv1.3",
            "request_content_type=application/json",
            "response_content_type=text/html",
            "trace_id=0af7651916cd43dd8448eb211c80319c",
            "method_override=PATCH, DELETE",
            "allow_origin=*",
            "server=Caddy",
            "hsts=",
            "content_type_options=",
            "frame_options=",
            "content_security_policy=",
            "cache_control=",
            "vary=",
            "set_cookie=",
            "location=",
            "debug_header=",
        ];
        assert_eq!(print(Caddy, FULL), want);
    }

    #[test]
    fn other_encoders_settings_are_read() {
        assert_has(
            Caddy,
            &FULL.replace("0.0025,", "\"2.5ms\","),
            &["latency_us=2500"],
        );
        assert_has(
            Caddy,
            &FULL.replace("1767571200.0034", "\"2026/01/05 00:00:00.003\""),
            &["event_time=2026-01-05T00:00:00.003Z"],
        );
        let plain = FULL.replace("\"tls\":{", "\"x\":{");
        assert_lacks(Caddy, &plain, "scheme");
        assert_lacks(Caddy, &FULL.replace("201", "0"), "status");
    }

    #[test]
    fn other_loggers_lines_are_no_calls() {
        let line = r#"{"level":"debug","ts":1767571200.1,"logger":"http.handlers.reverse_proxy","msg":"selected upstream"}"#;
        assert_eq!(print(Caddy, line), ["missing_field: request.uri"]);
    }
}
