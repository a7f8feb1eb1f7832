//! OCSF: HTTP Activity (4002) and API Activity (6003) events (OCSF 1.1 to 1.8; Amazon Security Lake, Zeek, WAFs, audit logs).
//!
//! | event | OCSF attribute |
//! |---|---|
//! | `event_time_ms` | `start_time`, else `time`; ms by the schema, seconds in the wild; else `time_dt` |
//! | `method` | `http_request.http_method`, else of `activity_id` (4002: Connect, Delete, Get, …; 6003: Create is `POST`, Read `GET`, Update `PUT`, Delete `DELETE`, else `POST`) |
//! | `path`, `query` | `http_request.url.path`, `.query_string`, else of `.url_string`; of 6003 without a URL: `/` service `/` operation, which is **no** path on the wire |
//! | `scheme`, `host` | `http_request.url.scheme`, `.hostname`, with `.port` left out |
//! | `status` | `http_response.code`, else `http_status`; absent in WAF logs |
//! | `request_bytes`, `response_bytes` | `http_request.length`, else `.body_length`; `http_response.length`, else `.body_length` |
//! | `latency_us` | `duration` ms, else `http_response.latency` ms |
//! | `client_ip` | `src_endpoint.ip` |
//! | `user_agent`, `referer` | `http_request.user_agent`, `.referrer` |
//! | `principal` | `actor.user.uid`, `.name`, `.email_addr`, `.credential_uid`, the first that is there |
//! | `session` | `actor.session.uid` |
//! | `authorization`, `api_key`, other headers | `http_request.http_headers[]`, `http_response.http_headers[]` |
//! | `service` | `dst_endpoint.svc_name`, else `api.service.name` |
//! | `tls_version` | `tls.version` |
//! | `request_id` | `http_request.uid`, else `api.request.uid`, `metadata.uid` |
//! | `trace_id` | `metadata.correlation_uid` |
//!
//! Traps: `time` is seconds in published examples; `x_forwarded_for` is what the client says and is not read; some mappers put the whole
//! header block into one header; an API Activity has an operation, not a path: rules on object ids are blind on it, those on operations
//! and callers are not; an event that a firewall blocked (`disposition_id` 2) is a call all the same, without a status.

use std::borrow::Cow;

use super::detect::has_any;
use super::headers::Headers;
use super::json::{Scalar, expect_objects, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};
use crate::reject::RejectReason;

pub(super) const DESCRIPTION: &str = "OCSF HTTP Activity (4002) and API Activity (6003) events";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Configured,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Never,
};

const HTTP_ACTIVITY: i64 = 4002;
const API_ACTIVITY: i64 = 6003;

object! {
    struct Record {
        class_uid: Scalar<'a> = "class_uid",
        activity_id: Scalar<'a> = "activity_id",
        start_time: Scalar<'a> = "start_time",
        time: Scalar<'a> = "time",
        time_dt: Scalar<'a> = "time_dt",
        duration: Scalar<'a> = "duration",
        request: Request<'a> = "http_request",
        response: Response<'a> = "http_response",
        http_status: Scalar<'a> = "http_status",
        api: Api<'a> = "api",
        actor: Actor<'a> = "actor",
        source: Source<'a> = "src_endpoint",
        target: Service<'a> = "dst_endpoint",
        tls: Tls<'a> = "tls",
        metadata: Metadata<'a> = "metadata",
    }
}

object! {
    struct Request {
        method: Scalar<'a> = "http_method",
        url: Url<'a> = "url",
        length: Scalar<'a> = "length",
        body_length: Scalar<'a> = "body_length",
        user_agent: Scalar<'a> = "user_agent",
        referrer: Scalar<'a> = "referrer",
        uid: Scalar<'a> = "uid",
        headers: Headers<'a> = "http_headers",
    }
}
object! {
    struct Url {
        url_string: Scalar<'a> = "url_string" | "text",
        path: Scalar<'a> = "path",
        query_string: Scalar<'a> = "query_string",
        scheme: Scalar<'a> = "scheme",
        hostname: Scalar<'a> = "hostname",
    }
}
object! {
    struct Response {
        code: Scalar<'a> = "code",
        length: Scalar<'a> = "length",
        body_length: Scalar<'a> = "body_length",
        latency: Scalar<'a> = "latency",
        headers: Headers<'a> = "http_headers",
    }
}
object! {
    struct Api {
        operation: Scalar<'a> = "operation",
        service: Named<'a> = "service",
        request: Uid<'a> = "request",
    }
}
object! { struct Actor { user: User<'a> = "user", session: Uid<'a> = "session", } }
object! {
    struct User {
        uid: Scalar<'a> = "uid",
        name: Scalar<'a> = "name",
        email_addr: Scalar<'a> = "email_addr",
        credential_uid: Scalar<'a> = "credential_uid",
    }
}
object! { struct Named { name: Scalar<'a> = "name", } }
object! { struct Uid { uid: Scalar<'a> = "uid", } }
object! { struct Source { ip: Scalar<'a> = "ip", } }
object! { struct Service { svc_name: Scalar<'a> = "svc_name", } }
object! { struct Tls { version: Scalar<'a> = "version", } }
object! {
    struct Metadata {
        uid: Scalar<'a> = "uid",
        correlation_uid: Scalar<'a> = "correlation_uid",
    }
}

/// Says whether a record has a key that every OCSF event has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"class_uid\""])
}

/// Decodes one event.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    expect_objects(&[
        (&record.request, "http_request"),
        (&record.request.url, "http_request.url"),
        (&record.response, "http_response"),
        (&record.actor, "actor"),
        (&record.api, "api"),
    ])?;
    let class_uid = record.class_uid.count("class_uid")?;
    if !matches!(class_uid, Some(HTTP_ACTIVITY | API_ACTIVITY)) {
        let detail = "class_uid is neither 4002 (HTTP Activity) nor 6003 (API Activity)";
        return Err(Fault::new(RejectReason::UnknownFormat, detail));
    }
    let is_api = class_uid == Some(API_ACTIVITY);
    let event_time_ms = [record.start_time, record.time]
        .into_iter()
        .find(|time| !time.is_blank())
        .unwrap_or(record.time_dt)
        .time("time")?;
    let (request, response) = (record.request, record.response);
    let activity = record.activity_id.count("activity_id")?;
    let method = match request.method.method("http_request.http_method")? {
        Some(method) => method,
        None => method_of(activity, is_api)
            .ok_or_else(|| Fault::missing("http_request.http_method"))?
            .into(),
    };
    let api_service = record.api.service.name.text("api.service.name")?;
    let url = match target_of(request.url)? {
        Some(url) => url,
        None if is_api => {
            let operation = record.api.operation.required("api.operation")?;
            Target {
                path: operation_path(api_service.as_deref(), &operation).into(),
                ..Target::default()
            }
        }
        None => return Err(Fault::missing("http_request.url.path")),
    };
    let latency_us = match record.duration.scaled("duration", 1_000)? {
        Some(latency_us) => Some(latency_us),
        None => response.latency.scaled("http_response.latency", 1_000)?,
    };
    let mut event = Event {
        event_time_ms,
        gateway: "ocsf",
        method,
        scheme: url.scheme,
        host: url.host,
        path: url.path,
        query: url.query,
        status: or(response.code, record.http_status).status("http_response.code")?,
        request_bytes: or(request.length, request.body_length).count("http_request.length")?,
        response_bytes: or(response.length, response.body_length).count("http_response.length")?,
        latency_us,
        client_ip: record.source.ip.address("src_endpoint.ip")?,
        user_agent: request.user_agent.text("http_request.user_agent")?,
        principal: principal(record.actor.user)?,
        session: record.actor.session.uid.text("actor.session.uid")?,
        service: record
            .target
            .svc_name
            .text("dst_endpoint.svc_name")?
            .or(api_service),
        tls_version: record.tls.version.text("tls.version")?,
        request_id: or(or(request.uid, record.api.request.uid), record.metadata.uid)
            .text("http_request.uid")?,
        trace_id: record
            .metadata
            .correlation_uid
            .text("metadata.correlation_uid")?,
        referer: request.referrer.text("http_request.referrer")?,
        ..Event::default()
    };
    request.headers.fill_request(&mut event)?;
    response.headers.fill_response(&mut event)?;
    Ok(event)
}

fn or<'a>(first: Scalar<'a>, second: Scalar<'a>) -> Scalar<'a> {
    if first.is_blank() { second } else { first }
}

fn method_of(activity: Option<i64>, is_api: bool) -> Option<&'static str> {
    Some(match (activity?, is_api) {
        (1, true) => "POST",
        (2, true) => "GET",
        (3, true) => "PUT",
        (4, true) => "DELETE",
        (_, true) => "POST",
        (1, false) => "CONNECT",
        (2, false) => "DELETE",
        (3, false) => "GET",
        (4, false) => "HEAD",
        (5, false) => "OPTIONS",
        (6, false) => "POST",
        (7, false) => "PUT",
        (8, false) => "TRACE",
        (9, false) => "PATCH",
        _ => return None,
    })
}

/// The parts of a URL, which the schema has apart, or the whole of it.
fn target_of(url: Url<'_>) -> Result<Option<Target<'_>>, Fault> {
    let whole = url.url_string.text("http_request.url.url_string")?;
    let whole = whole.map(target::split);
    let scheme = url.scheme.text("http_request.url.scheme")?;
    let host = url.hostname.text("http_request.url.hostname")?;
    let query = url.query_string.text("http_request.url.query_string")?;
    let part = match url.path.text("http_request.url.path")? {
        // Some mappers leave the query in the path.
        Some(path) => target::split(path),
        None => match whole {
            Some(whole) => whole,
            None => return Ok(None),
        },
    };
    Ok(Some(Target {
        scheme: scheme.or(part.scheme),
        host: host.or(part.host),
        path: part.path,
        query: query.or(part.query),
    }))
}

fn operation_path(service: Option<&str>, operation: &str) -> String {
    match service {
        Some(service) => format!("/{service}/{operation}"),
        None => format!("/{operation}"),
    }
}

fn principal(user: User<'_>) -> Result<Text<'_>, Fault> {
    for (value, field) in [
        (user.uid, "actor.user.uid"),
        (user.name, "actor.user.name"),
        (user.email_addr, "actor.user.email_addr"),
        (user.credential_uid, "actor.user.credential_uid"),
    ] {
        let text: Option<Cow<'_, str>> = value.text(field)?;
        if text.is_some() {
            return Ok(text);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Ocsf};
    use crate::format::tests::{assert_has, assert_lacks, print};

    const HTTP: &str = r#"{"class_uid":4002,"activity_id":3,"category_uid":4,"time":1767571200003,"duration":12,"severity_id":1,
        "src_endpoint":{"ip":"192.0.2.7","port":4711},"dst_endpoint":{"svc_name":"orders"},"tls":{"version":"1.3"},
        "actor":{"user":{"uid":"u1","name":"ann"},"session":{"uid":"s-1"}},
        "http_request":{"http_method":"POST","uid":"q-1","length":28,"referrer":"https://r.example/","user_agent":"curl/8","x_forwarded_for":["6.6.6.6"],
        "url":{"scheme":"https","hostname":"shop.example","path":"/a/7","query_string":"x=1"},
        "http_headers":[{"name":"X-Api-Key","value":"k-1"},{"name":"Origin","value":"https://o.example"},{"name":"X-Original-URL","value":"/admin"}]},
        "http_response":{"code":404,"length":279,"http_headers":[{"name":"Server","value":"nginx"}]},"metadata":{"uid":"m-1","correlation_uid":"t-1"}}"#;

    #[test]
    fn an_http_activity_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=404",
            "request_bytes=28",
            "response_bytes=279",
            "latency_us=12000",
            "gateway=ocsf",
            "method=POST",
            "scheme=https",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "api_key=k-1",
            "principal=u1",
            "session=s-1",
            "service=orders",
            "tls_version=1.3",
            "request_id=q-1",
            "trace_id=t-1",
            "referer=https://r.example/",
            "origin=https://o.example",
            "rewritten_url=/admin",
            "server=nginx",
        ];
        for format in [Ocsf, Auto] {
            assert_eq!(print(format, HTTP), want);
        }
        let sparse = HTTP
            .replace("\"http_method\"", "\"x\"")
            .replace("1767571200003", "1767571200");
        assert_has(
            Ocsf,
            &sparse,
            &["method=GET", "event_time=2026-01-05T00:00:00Z"],
        );
    }

    #[test]
    fn an_api_activity_is_a_call_of_its_operation() {
        let line = r#"{"class_uid":6003,"activity_id":4,"time":1767571200003,"api":{"operation":"DeleteCard","service":{"name":"cards.example"},
            "request":{"uid":"q-1"}},"actor":{"user":{"name":"ann","credential_uid":"AKIA1"}},"src_endpoint":{"ip":"192.0.2.7"}}"#;
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "gateway=ocsf",
            "method=DELETE",
            "path=/cards.example/DeleteCard",
            "client_ip=192.0.2.7",
            "principal=ann",
            "service=cards.example",
            "request_id=q-1",
        ];
        assert_eq!(print(Ocsf, line), want);
        assert_lacks(Ocsf, line, "status");
    }

    #[test]
    fn other_classes_are_no_calls() {
        let line = HTTP.replace("4002", "3002");
        assert_eq!(
            print(Ocsf, &line),
            ["unknown_format: class_uid is neither 4002 (HTTP Activity) nor 6003 (API Activity)"]
        );
        assert_eq!(
            print(Ocsf, HTTP.replace("\"url\"", "\"x\"")),
            ["missing_field: http_request.url.path"]
        );
    }
}
