//! Apache APISIX: the default log object of kafka-logger, http-logger, file-logger and their kin (APISIX 2.5 to 3.13,
//! `apisix/utils/log-util.lua`, `meta_format: default`, no `log_format`).
//!
//! | event | APISIX |
//! |---|---|
//! | `event_time_ms` | `start_time` ms, the request's **start** |
//! | `method`, `path`, `query` | `request.method`, `request.uri` (raw, with query), else `request.url` |
//! | `scheme`, `host` | `request.url`; `request.headers.host`, else `request.url` |
//! | `status` | `response.status` |
//! | `request_bytes`, `response_bytes` | `request.size`, `response.size`: `$request_length`, `$bytes_sent`, **with** headers, strings in some versions |
//! | `latency_us` | `latency` ms |
//! | `client_ip` | `client_ip` (after the real-ip plugin) |
//! | `consumer` | `consumer.username` |
//! | `jwt_sub`, `jwt_claims` | `jwt_sub`, `jwt_claims` (a `serverless-post-function` that adds them) |
//! | `authorization`, `api_key`, `session` | `request.headers.authorization`, `.apikey`, `.x-api-key`, `.mcp-session-id`, a session cookie |
//! | `route`, `service` | `route_id`, `service_id`, which is the **host** where no route matched |
//! | `request_id`, `trace_id` | `request.headers.x-request-id`, `.traceparent` |
//! | `request_body` | `request.body` (`include_req_body`, at most 524,288 bytes) |
//! | other headers | `request.headers.*`, `response.headers.*` |
//! | `answer` | the headers of the answer are all logged: one that is not there was not sent |
//!
//! Traps: `include_req_body_expr` and batches: a record may be an **array** of these; `meta_format: origin` sends the request's raw text,
//! which is no JSON and has no status: not read; a `log_format` of one's own is flat: name its keys as the `nginx` format has them;
//! plugins that hide credentials (`hide_credentials`) run before the log is written, so the header may be gone while the consumer is there.

use super::detect::has_any;
use super::headers::Headers;
use super::json::{Raw, Scalar, expect_objects, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::Event;

pub(super) const DESCRIPTION: &str =
    "APISIX kafka-logger, http-logger and file-logger records, single or in arrays";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Always,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Never,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Always,
    response_headers: Presence::Always,
    body: Presence::Configured,
};

object! {
    struct Record {
        start_time: Scalar<'a> = "start_time",
        latency: Scalar<'a> = "latency",
        client_ip: Scalar<'a> = "client_ip",
        route_id: Scalar<'a> = "route_id",
        service_id: Scalar<'a> = "service_id",
        consumer: Consumer<'a> = "consumer",
        request: Request<'a> = "request",
        response: Response<'a> = "response",
        jwt_sub: Scalar<'a> = "jwt_sub",
        jwt_claims: Raw<'a> = "jwt_claims",
    }
}

object! {
    struct Request {
        method: Scalar<'a> = "method",
        uri: Scalar<'a> = "uri",
        url: Scalar<'a> = "url",
        size: Scalar<'a> = "size",
        headers: Headers<'a> = "headers",
        body: Raw<'a> = "body",
    }
}

object! {
    struct Response {
        status: Scalar<'a> = "status",
        size: Scalar<'a> = "size",
        headers: Headers<'a> = "headers",
    }
}

object! { struct Consumer { username: Scalar<'a> = "username", } }

/// Says whether a record has keys that only this format has beside each other.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"start_time\""]) && has_any(text, &["\"querystring\""])
}

/// Decodes one log object.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let (request, response) = (record.request, record.response);
    expect_objects(&[
        (&request, "request"),
        (&response, "response"),
        (&record.consumer, "consumer"),
    ])?;
    let event_time_ms = record.start_time.time("start_time")?;
    let url = request.url.text("request.url")?.map(target::split);
    let uri = request.uri.text("request.uri")?.map(target::split);
    let Target {
        scheme,
        host,
        path,
        query,
    } = match (uri, url) {
        (Some(uri), Some(url)) => Target {
            scheme: url.scheme,
            host: url.host,
            ..uri
        },
        (Some(target), None) | (None, Some(target)) => target,
        (None, None) => return Err(Fault::missing("request.uri")),
    };
    let mut event = Event {
        event_time_ms,
        gateway: "apisix",
        method: request
            .method
            .method("request.method")?
            .ok_or_else(|| Fault::missing("request.method"))?,
        scheme,
        path,
        query,
        status: response.status.status("response.status")?,
        request_bytes: request.size.count("request.size")?,
        response_bytes: response.size.count("response.size")?,
        latency_us: record.latency.scaled("latency", 1_000)?,
        client_ip: record.client_ip.address("client_ip")?,
        jwt_sub: record.jwt_sub.text("jwt_sub")?,
        jwt_claims: record.jwt_claims.0,
        consumer: record.consumer.username.text("consumer.username")?,
        route: record.route_id.text("route_id")?,
        service: record.service_id.text("service_id")?,
        request_body: request.body.0,
        ..Event::default()
    };
    request.headers.fill_request(&mut event)?;
    event.host = event.host.or(host);
    response.headers.fill_whole_response(&mut event)?;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use crate::format::Format::Apisix;
    use crate::format::tests::{assert_has, print};

    const FULL: &str = r#"{"client_ip":"192.0.2.7","upstream":"10.0.0.2:80","start_time":1767571200003,"latency":12.5,"upstream_latency":9,
        "apisix_latency":3.5,"route_id":"r-1","service_id":"s-1","consumer":{"username":"ann"},
        "request":{"method":"GET","uri":"/a/7?x=1","url":"http://shop.example:9080/a/7?x=1","size":"138","querystring":{"x":"1"},"body":"{\"id\":7}",
        "headers":{"host":"shop.example","user-agent":"curl/8","authorization":"Bearer a.b.c","apikey":"k-1","x-request-id":"q-1",
        "cookie":"a=b; sid=s-1","x-original-url":["/admin","/b"]}},
        "response":{"status":200,"size":827,"headers":{"server":"APISIX/3.9.0","content-type":"application/json"}},
        "server":{"hostname":"gw","version":"3.9.0"}}"#;

    #[test]
    fn every_field_of_a_full_record_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "request_bytes=138",
            "response_bytes=827",
            "latency_us=12500",
            "gateway=apisix",
            "method=GET",
            "scheme=http",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "authorization=Bearer a.b.c",
            "api_key=k-1",
            "consumer=ann",
            "session=s-1",
            "route=r-1",
            "service=s-1",
            "response_content_type=application/json",
            "request_id=q-1",
            "rewritten_url=/admin, /b",
            "server=APISIX/3.9.0",
            "hsts=",
            "content_type_options=",
            "frame_options=",
            "content_security_policy=",
            "cache_control=",
            "vary=",
            "set_cookie=",
            "location=",
            "debug_header=",
            r#"request_body={"id":7}"#,
        ];
        assert_eq!(print(Apisix, FULL), want);
    }

    #[test]
    fn what_old_versions_and_empty_tables_look_like_is_read() {
        let text = FULL
            .replace(
                r#"{"server":"APISIX/3.9.0","content-type":"application/json"}"#,
                "[]",
            )
            .replace(r#""uri":"/a/7?x=1","#, "")
            .replace("\"consumer\":{\"username\":\"ann\"}", "\"consumer\":[]");
        assert_has(Apisix, &text, &["path=/a/7", "query=x=1"]);
        assert_eq!(
            print(Apisix, FULL.replace("1767571200003", "null")),
            ["missing_field: start_time"]
        );
        assert_eq!(
            print(
                Apisix,
                FULL.replace("\"response\":{", "\"response\":5,\"x\":{")
            ),
            ["wrong_type: response is not an object"]
        );
    }
}
