//! Kong: the log object of http-log, file-log, kafka-log, tcp-log (Kong Gateway 2.2 to 3.x, `kong.log.serialize`).
//!
//! | event | Kong |
//! |---|---|
//! | `event_time_ms` | `started_at`, ms, the request's **start** |
//! | `method` | `request.method` |
//! | `path`, `query` | `request.uri` (raw, with query; `querystring` is decoded, so not used), else `request.url` |
//! | `scheme` | `request.url` up to `://` |
//! | `host` | `request.headers.host`, else from `request.url` |
//! | `status` | `response.status`; 0 is none |
//! | `request_bytes`, `response_bytes` | `request.size`, `response.size`, **with** headers; strings in old versions |
//! | `latency_us` | `latencies.request` ms |
//! | `client_ip` | `client_ip` (after Kong's `trusted_ips`) |
//! | `user_agent`, `referer`, `origin`, `request_content_type` | `request.headers.*` |
//! | `authorization` | `request.headers.authorization`; `REDACTED` sets `authenticated_hint` |
//! | `api_key` | `request.headers.x-api-key`, `.apikey`, `.api-key` |
//! | `jwt_sub`, `jwt_claims` | `jwt_sub`, `jwt_claims` (custom fields: `custom_fields_by_lua`, `kong.log.set_serialize_value`) |
//! | `consumer` | `consumer.username`, `.custom_id`, `.id`; else, if `authenticated_entity` is there, `request.headers.x-consumer-username`, `authenticated_entity.consumer_id`, `.id` |
//! | `session` | `request.headers.mcp-session-id`, else a session cookie |
//! | `authenticated_hint` | the header was redacted, or `request.tls.client_verify` is `SUCCESS` |
//! | `route`, `service` | `route.name` else `.id`; `service.name` else `.host` |
//! | `upstream_scheme` | `service.protocol`, if `latencies.proxy` says that the call was passed on, and `service.host` is another machine |
//! | `tls_version` | `request.tls.version` |
//! | `request_id` | `request.id`, else `request.headers.x-request-id`, `.kong-request-id` |
//! | `trace_id` | `trace_id.w3c`, `.b3`, …, else `request.headers.traceparent`, `.x-b3-traceid` |
//! | `method_override` | `request.headers.x-http-method-override`, `.x-http-method`, `.x-method-override`, all that are there |
//! | `forwarded_host` | `request.headers.x-forwarded-host`, all values |
//! | `rewritten_url` | `request.headers.x-original-url`, `.x-rewrite-url`, all that are there |
//! | `mcp_method`, `mcp_name`, `mcp_version`, `a2a_version` | `request.headers.mcp-method`, `.mcp-name`, `.mcp-protocol-version`, `.a2a-version` |
//! | `signature_agent`, `sdk_language` | `request.headers.signature-agent`, `.x-stainless-lang` |
//! | `answer` | `response.headers.*`; with `date` or `connection` all of them are logged, and one that is not there was not sent |
//! | `via` | `request.headers.via`, `.cdn-loop`, `.cf-ray`, `.x-amz-cf-id` |
//! | `response_content_type`, `server`, `powered_by`, `allow_*` | `response.headers.*` |
//! | `request_body` | `request.body` (custom field) |
//!
//! Traps: a record may be an **array** of these; a header sent twice is an array; an empty Lua table is `[]`; a client may send
//! `x-consumer-username` itself on a route without authentication, so it counts only beside an `authenticated_entity`;
//! latencies and sizes of aborted requests are -1; Kong logs at most 100 request headers (`lua_max_req_headers`), so a client that
//! sends more keeps the rest out of the log: the plugins' `consumer` is what it cannot hide.

use super::detect::has_any;
use super::json::{
    Header, Joined, Raw, Scalar, Seen, Told, answer, authorization, expect_objects, object,
    read_into,
};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str =
    "Kong http-log, file-log and kafka-log records, single or in arrays";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Always,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Always,
    upstream_scheme: Presence::Always,
    request_headers: Presence::Always,
    response_headers: Presence::Always,
    body: Presence::Configured,
};

object! {
    struct Record {
        started_at: Scalar<'a> = "started_at",
        client_ip: Scalar<'a> = "client_ip",
        request: Request<'a> = "request",
        response: Response<'a> = "response",
        latencies: Latencies<'a> = "latencies",
        consumer: Consumer<'a> = "consumer",
        entity: Entity<'a> = "authenticated_entity",
        route: Named<'a> = "route",
        service: Service<'a> = "service",
        trace: Trace<'a> = "trace_id",
        jwt_sub: Scalar<'a> = "jwt_sub",
        jwt_claims: Raw<'a> = "jwt_claims" | "jwt_payload",
    }
}

object! {
    struct Request {
        method: Scalar<'a> = "method",
        uri: Scalar<'a> = "uri",
        url: Scalar<'a> = "url",
        size: Scalar<'a> = "size",
        id: Scalar<'a> = "id",
        headers: RequestHeaders<'a> = "headers",
        tls: Tls<'a> = "tls",
        body: Raw<'a> = "body",
    }
}

object! {
    struct RequestHeaders {
        host: Header<'a> = "host",
        user_agent: Header<'a> = "user-agent",
        authorization: Header<'a> = "authorization",
        api_key: Header<'a> = "x-api-key" | "apikey" | "api-key",
        consumer: Header<'a> = "x-consumer-username",
        content_type: Header<'a> = "content-type",
        referer: Header<'a> = "referer",
        origin: Header<'a> = "origin",
        request_id: Header<'a> = "x-request-id" | "kong-request-id" | "x-kong-request-id",
        trace: Header<'a> = "traceparent" | "x-b3-traceid",
        session: Header<'a> = "mcp-session-id",
        cookie: Header<'a> = "cookie",
        method_override: Joined<'a> = "x-http-method-override" | "x-http-method" | "x-method-override",
        forwarded_host: Joined<'a> = "x-forwarded-host",
        rewritten_url: Joined<'a> = "x-original-url" | "x-rewrite-url",
        mcp_method: Header<'a> = "mcp-method",
        mcp_name: Header<'a> = "mcp-name",
        mcp_version: Header<'a> = "mcp-protocol-version",
        a2a_version: Header<'a> = "a2a-version",
        signature_agent: Header<'a> = "signature-agent",
        sdk_language: Header<'a> = "x-stainless-lang",
        via: Header<'a> = "via" | "cdn-loop" | "cf-ray" | "x-amz-cf-id",
    }
}

object! {
    struct Response {
        status: Scalar<'a> = "status",
        size: Scalar<'a> = "size",
        headers: ResponseHeaders<'a> = "headers",
    }
}

object! {
    struct ResponseHeaders {
        content_type: Header<'a> = "content-type",
        server: Header<'a> = "server",
        powered_by: Header<'a> = "x-powered-by",
        allow_origin: Header<'a> = "access-control-allow-origin",
        allow_credentials: Header<'a> = "access-control-allow-credentials",
        hsts: Told<'a> = "strict-transport-security",
        content_type_options: Told<'a> = "x-content-type-options",
        frame_options: Told<'a> = "x-frame-options",
        content_security_policy: Told<'a> = "content-security-policy",
        cache_control: Told<'a> = "cache-control",
        vary: Told<'a> = "vary",
        set_cookie: Told<'a> = "set-cookie",
        location: Told<'a> = "location",
        debug_header: Told<'a> = "x-debug-token" | "x-debug-token-link" | "x-clockwork-id" | "phpdebugbar-id" | "x-chromelogger-data" | "x-sourcefiles",
        every: Seen = "connection" | "date",
    }
}

object! { struct Latencies { request: Scalar<'a> = "request", proxy: Scalar<'a> = "proxy", } }
object! { struct Tls { version: Scalar<'a> = "version", client_verify: Scalar<'a> = "client_verify", } }
object! { struct Named { name: Scalar<'a> = "name", id: Scalar<'a> = "id", } }
object! { struct Service { name: Scalar<'a> = "name", host: Scalar<'a> = "host", protocol: Scalar<'a> = "protocol", } }
object! { struct Entity { id: Scalar<'a> = "id", consumer_id: Scalar<'a> = "consumer_id", } }
object! {
    struct Consumer {
        username: Scalar<'a> = "username",
        custom_id: Scalar<'a> = "custom_id",
        id: Scalar<'a> = "id",
    }
}
object! { struct Trace { id: Scalar<'a> = "w3c" | "b3" | "jaeger" | "ot" | "aws" | "gcp" | "datadog", } }

/// Says whether a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"started_at\"", "\"latencies\""])
}

/// Decodes one log object.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    expect_objects(&[
        (&record.request, "request"),
        (&record.request.headers, "request.headers"),
        (&record.request.tls, "request.tls"),
        (&record.response, "response"),
        (&record.response.headers, "response.headers"),
        (&record.latencies, "latencies"),
        (&record.consumer, "consumer"),
        (&record.entity, "authenticated_entity"),
        (&record.route, "route"),
        (&record.service, "service"),
    ])?;
    let (request, response) = (record.request, record.response);
    let (asked, answered, tls) = (request.headers, response.headers, request.tls);
    let event_time_ms = record.started_at.time("started_at")?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target_of(request.uri, request.url)?;
    let (authorization, is_redacted) =
        authorization(asked.authorization.text("request.headers.authorization")?);
    let cookie = asked.cookie.text("request.headers.cookie")?;
    let session = asked
        .session
        .text("request.headers.mcp-session-id")?
        .or_else(|| {
            cookie.and_then(|cookie| {
                target::session_cookie(&cookie).map(|part| target::cut(&cookie, part))
            })
        });
    let trace = record.trace.id.text("trace_id")?;
    let service_host = record.service.host.text("service.host")?;
    // Kong says -1 of calls that it answered itself.
    let is_passed_on = record.latencies.proxy.count("latencies.proxy")?.is_some();
    let upstream_scheme = record
        .service
        .protocol
        .text("service.protocol")?
        .filter(|_| is_passed_on);
    let mut answer = answer!(answered);
    // Every answer has one of these headers: where neither is logged, some may have been left out.
    if answered.every.0 {
        answer.are_all();
    }
    Ok(Event {
        event_time_ms,
        gateway: "kong",
        method: request
            .method
            .method("request.method")?
            .ok_or_else(|| Fault::missing("request.method"))?,
        scheme,
        host: asked.host.text("request.headers.host")?.or(host),
        path,
        query,
        status: response.status.status("response.status")?,
        request_bytes: request.size.count("request.size")?,
        response_bytes: response.size.count("response.size")?,
        latency_us: record
            .latencies
            .request
            .scaled("latencies.request", 1_000)?,
        client_ip: record.client_ip.address("client_ip")?,
        peer_ip: None,
        user_agent: asked.user_agent.text("request.headers.user-agent")?,
        authorization,
        api_key: asked
            .api_key
            .text("request.headers.x-api-key")?
            .filter(|key| key != "REDACTED"),
        token_hash: None,
        jwt_sub: record.jwt_sub.text("jwt_sub")?,
        jwt_claims: record.jwt_claims.0,
        consumer: consumer_of(record.consumer, record.entity, asked.consumer)?,
        principal: None,
        client_cert: None,
        session,
        authenticated_hint: is_redacted || tls.client_verify == Scalar::Text("SUCCESS".into()),
        route: first(
            record.route.name.text("route.name")?,
            record.route.id,
            "route.id",
        )?,
        upstream_scheme: upstream_scheme.and_then(|scheme| {
            target::upstream_scheme(&scheme, service_host.as_deref().unwrap_or_default())
        }),
        service: record.service.name.text("service.name")?.or(service_host),
        tls_version: tls.version.text("request.tls.version")?,
        request_content_type: asked.content_type.text("request.headers.content-type")?,
        response_content_type: answered
            .content_type
            .text("response.headers.content-type")?,
        request_id: first(
            request.id.text("request.id")?,
            asked.request_id.0,
            "request.headers.x-request-id",
        )?,
        trace_id: first(trace, asked.trace.0, "request.headers.traceparent")?.map(target::trace_id),
        referer: asked.referer.text("request.headers.referer")?,
        origin: asked.origin.text("request.headers.origin")?,
        method_override: asked
            .method_override
            .text("request.headers.x-http-method-override")?,
        forwarded_host: asked
            .forwarded_host
            .text("request.headers.x-forwarded-host")?,
        rewritten_url: asked.rewritten_url.text("request.headers.x-original-url")?,
        via: asked.via.text("request.headers.via")?,
        answer,
        allow_origin: answered
            .allow_origin
            .text("response.headers.access-control-allow-origin")?,
        allow_credentials: answered
            .allow_credentials
            .text("response.headers.access-control-allow-credentials")?,
        server: answered.server.text("response.headers.server")?,
        powered_by: answered.powered_by.text("response.headers.x-powered-by")?,
        mcp_method: asked.mcp_method.text("request.headers.mcp-method")?,
        mcp_name: asked.mcp_name.text("request.headers.mcp-name")?,
        mcp_version: asked
            .mcp_version
            .text("request.headers.mcp-protocol-version")?,
        a2a_version: asked.a2a_version.text("request.headers.a2a-version")?,
        signature_agent: asked
            .signature_agent
            .text("request.headers.signature-agent")?,
        sdk_language: asked
            .sdk_language
            .text("request.headers.x-stainless-lang")?,
        request_body: request.body.0,
    })
}

/// The raw target from `uri`; scheme and host, which `uri` lacks, from `url`.
fn target_of<'a>(uri: Scalar<'a>, url: Scalar<'a>) -> Result<Target<'a>, Fault> {
    let url = url.text("request.url")?.map(target::split);
    match (uri.text("request.uri")?.map(target::split), url) {
        (Some(uri), Some(url)) => Ok(Target {
            scheme: url.scheme,
            host: url.host,
            ..uri
        }),
        (Some(target), None) | (None, Some(target)) => Ok(target),
        (None, None) => Err(Fault::missing("request.uri")),
    }
}

fn consumer_of<'a>(
    consumer: Consumer<'a>,
    entity: Entity<'a>,
    header: Header<'a>,
) -> Result<Text<'a>, Fault> {
    let name = first(
        consumer.username.text("consumer.username")?,
        consumer.custom_id,
        "consumer.custom_id",
    )?;
    let name = first(name, consumer.id, "consumer.id")?;
    if name.is_some() || (entity.id.is_blank() && entity.consumer_id.is_blank()) {
        return Ok(name);
    }
    let name = first(
        header.text("request.headers.x-consumer-username")?,
        entity.consumer_id,
        "authenticated_entity.consumer_id",
    )?;
    first(name, entity.id, "authenticated_entity.id")
}

fn first<'a>(found: Text<'a>, other: Scalar<'a>, field: &'static str) -> Result<Text<'a>, Fault> {
    match found {
        Some(text) => Ok(Some(text)),
        None => other.text(field),
    }
}

#[cfg(test)]
mod tests {
    use crate::format::Format::Kong;
    use crate::format::tests::{KONG, assert_has, assert_lacks, print};

    const FULL: &str = r#"{
        "service":{"host":"orders.internal","id":"s-1","name":"orders","tags":["a"]},
        "route":{"id":"r-1","name":null,"paths":["/v2"]},
        "request":{"id":"0a1b","method":"POST","uri":"/v2//orders/%31?x=%20&y","url":"https://shop.example:8443/v2/orders/1","size":"412",
            "querystring":{"x":" "},"tls":{"version":"TLSv1.3","cipher":"X","client_verify":"SUCCESS"},"body":{"id":7},
            "headers":{"host":"shop.example","user-agent":["a long enough agent","b"],"authorization":"REDACTED","x-api-key":"k-1234567890123",
                "content-type":"application/json","referer":"https://r.example/","origin":"https://o.example","x-consumer-username":"forged",
                "traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","cookie":"a=b; connect.sid=s1","x-http-method-override":"DELETE",
                "x-original-url":"/admin"}},
        "response":{"status":"201","size":827,"headers":{"content-type":"application/json","server":"gunicorn/19.9.0","x-powered-by":"PHP/8",
            "access-control-allow-origin":"*","access-control-allow-credentials":true}},
        "latencies":{"request":515.25,"kong":58,"proxy":-1},"client_ip":"192.0.2.7","consumer":{"id":"c-1","username":"ann","custom_id":"17"},
        "jwt_claims":{"sub":"u1","roles":["x"]},"jwt_sub":"u1","tries":[{"ip":"10.0.0.1"}],"started_at":1767571200003}"#;

    #[test]
    fn every_field_of_a_full_record_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=201",
            "request_bytes=412",
            "response_bytes=827",
            "latency_us=515250",
            "authenticated_hint=true",
            "gateway=kong",
            "method=POST",
            "scheme=https",
            "host=shop.example",
            "path=/v2//orders/%31",
            "query=x=%20&y",
            "client_ip=192.0.2.7",
            "user_agent=a long enough agent",
            "api_key=k-1234567890123",
            "jwt_sub=u1",
            r#"jwt_claims={"sub":"u1","roles":["x"]}"#,
            "consumer=ann",
            "session=s1",
            "route=r-1",
            "service=orders",
            "tls_version=TLSv1.3",
            "request_content_type=application/json",
            "response_content_type=application/json",
            "request_id=0a1b",
            "trace_id=0af7651916cd43dd8448eb211c80319c",
            "referer=https://r.example/",
            "origin=https://o.example",
            "method_override=DELETE",
            "rewritten_url=/admin",
            "allow_origin=*",
            "allow_credentials=true",
            "server=gunicorn/19.9.0",
            "powered_by=PHP/8",
            r#"request_body={"id":7}"#,
        ];
        assert_eq!(print(Kong, FULL), want);
    }

    #[test]
    fn headers_of_an_answer_are_there_or_not_where_all_are_logged() {
        let with =
            |headers: &str| KONG.replace("\"headers\":{}", &format!("\"headers\":{{{headers}}}"));
        let some = with(
            r#""strict-transport-security":"max-age=60","set-cookie":["a=b; Secure","c=d, e"],"x-debug-token":"f4""#,
        );
        assert_has(
            Kong,
            &some,
            &[
                "hsts=max-age=60",
                "set_cookie=a=b; Secure\nc=d, e",
                "debug_header=f4",
            ],
        );
        for column in ["content_type_options", "location", "vary"] {
            assert_lacks(Kong, &some, column);
        }
        let all = with(r#""Date":"Mon, 05 Jan 2026 00:00:00 GMT","Location":"/b","vary":"-""#);
        assert_has(
            Kong,
            &all,
            &[
                "hsts=",
                "set_cookie=",
                "location=/b",
                "vary=",
                "debug_header=",
            ],
        );
    }

    #[test]
    fn the_way_behind_is_told_of_calls_that_were_passed_on_to_another_machine() {
        let with = |service: &str, proxy: &str| {
            let service = format!("\"service\":{{{service}}},\"client_ip\"");
            let latencies = format!("\"latencies\":{{\"proxy\":{proxy},");
            KONG.replace("\"client_ip\"", &service)
                .replace("\"latencies\":{", &latencies)
        };
        let plain = r#""host":"orders.internal","protocol":"http""#;
        assert_has(Kong, &with(plain, "3"), &["upstream_scheme=http"]);
        let grpc = r#""host":"orders.internal","protocol":"grpcs""#;
        assert_has(Kong, &with(grpc, "3"), &["upstream_scheme=https"]);
        assert_lacks(Kong, &with(plain, "-1"), "upstream_scheme");
        let own = r#""host":"localhost","protocol":"http""#;
        assert_lacks(Kong, &with(own, "3"), "upstream_scheme");
        assert_lacks(Kong, KONG, "upstream_scheme");
    }

    #[test]
    fn a_consumer_header_counts_only_beside_an_authenticated_entity() {
        let spoofed = KONG.replace("{\"host\"", "{\"x-consumer-username\":\"bob\",\"host\"");
        assert_lacks(Kong, &spoofed, "consumer");
        let rows = [
            (
                r#""authenticated_entity":{"id":"e-1"},"client_ip""#,
                "consumer=bob",
            ),
            (
                r#""consumer":{"username":"","custom_id":null,"id":"c-9"},"client_ip""#,
                "consumer=c-9",
            ),
            (
                r#""consumer":[],"authenticated_entity":{"id":"e-1"},"client_ip""#,
                "consumer=bob",
            ),
        ];
        for (extra, want) in rows {
            assert_has(Kong, &spoofed.replace("\"client_ip\"", extra), &[want]);
        }
        assert_has(
            Kong,
            &KONG.replace("\"client_ip\"", rows[0].0),
            &["consumer=e-1"],
        );
    }

    #[test]
    fn what_old_and_broken_records_hold_is_read_or_left_out() {
        assert_has(
            Kong,
            KONG,
            &[
                "request_bytes=138",
                "latency_us=515000",
                "scheme=https",
                "host=api.example",
            ],
        );
        let aborted = KONG
            .replace(":200", ":0")
            .replace(":515", ":-1")
            .replace(":827", ":\"-\"");
        for column in [
            "status",
            "latency_us",
            "response_bytes",
            "user_agent",
            "authenticated_hint",
        ] {
            assert_lacks(Kong, &aborted, column);
        }
        assert_has(
            Kong,
            &KONG.replace("\"uri\":\"/a/7?x=1\",", ""),
            &["path=/a/7", "query=x=1"],
        );
        assert_has(Kong, &KONG.replace("/a/7", "/\\u0061\\/7"), &["path=/a/7"]);
        assert_has(
            Kong,
            &KONG.replace("{\"host\"", "{\"authorization\":\"Bearer x.y.z\",\"host\""),
            &["authorization=Bearer x.y.z"],
        );
    }
}
