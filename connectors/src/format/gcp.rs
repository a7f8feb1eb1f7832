//! Google Cloud: log entries of Application Load Balancers, API Gateway and Cloud Endpoints (Cloud Logging `LogEntry` v2 with
//! `HttpRequest`; *Application Load Balancer logging*, *Endpoints logs*, read 2026-11).
//!
//! | event | load balancer, API Gateway | Endpoints (`jsonPayload`) |
//! |---|---|---|
//! | `event_time_ms` | `timestamp`; the request's **start** | same |
//! | `method` | `httpRequest.requestMethod` | `http_method` |
//! | `scheme`, `host`, `path`, `query` | `httpRequest.requestUrl`, absolute, or the path alone | `url` |
//! | `status` | `httpRequest.status` | `http_response_code`, `http_status_code` |
//! | `request_bytes`, `response_bytes` | `httpRequest.requestSize`, `.responseSize`, **with** headers; numbers or text | `request_size_in_bytes`, `response_size_in_bytes` |
//! | `latency_us` | `httpRequest.latency` (`"0.048s"`) | `request_latency_in_ms` |
//! | `client_ip` | `httpRequest.remoteIp`, without port | `client_ip` |
//! | `user_agent`, `referer` | `httpRequest.userAgent`, `.referer` | |
//! | `api_key` | - | `api_key` |
//! | `jwt_sub` | - | `sub=` in `jwt_payload`, `jwt_payloads` (ESPv2 with `--log_jwt_payloads=sub`) |
//! | `tls_version` | `jsonPayload.tls.protocol`, an optional field of the backend service's logging | |
//! | `route` | `resource.labels.matched_url_path_rule`, `.url_map_name` | `api_method` |
//! | `service` | `resource.labels.backend_service_name`, `.gateway_id`, `.service` | `api_name` |
//! | `trace_id`, `request_id` | last part of `trace`; `insertId` | same |
//!
//! Keys are also read in lower case, as some shippers write them.
//!
//! Traps: a load balancer **samples** its log by the backend service's `sampleRate`: set it to 1.0, as the calls left out are not seen;
//! it never says who called: behind Identity-Aware Proxy that is in an audit log, else in the service's own; an entry without
//! `timestamp` or `requestUrl` (a denied connection) is no event.

use super::detect::has_any;
use super::json::{Scalar, expect_objects, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str =
    "Google Cloud load balancer, API Gateway and Endpoints log entries";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Never,
    response_headers: Presence::Never,
    body: Presence::Never,
};

object! {
    struct Record {
        timestamp: Scalar<'a> = "timestamp",
        request: Request<'a> = "httpRequest" | "httprequest",
        payload: Payload<'a> = "jsonPayload" | "jsonpayload",
        resource: Resource<'a> = "resource",
        trace: Scalar<'a> = "trace",
        insert_id: Scalar<'a> = "insertId" | "insertid",
    }
}

object! {
    struct Request {
        method: Scalar<'a> = "requestMethod" | "requestmethod",
        url: Scalar<'a> = "requestUrl" | "requesturl",
        status: Scalar<'a> = "status",
        request_size: Scalar<'a> = "requestSize" | "requestsize",
        response_size: Scalar<'a> = "responseSize" | "responsesize",
        latency: Scalar<'a> = "latency",
        remote_ip: Scalar<'a> = "remoteIp" | "remoteip",
        user_agent: Scalar<'a> = "userAgent" | "useragent",
        referer: Scalar<'a> = "referer",
    }
}

object! {
    struct Payload {
        method: Scalar<'a> = "http_method",
        url: Scalar<'a> = "url",
        status: Scalar<'a> = "http_response_code" | "http_status_code",
        request_size: Scalar<'a> = "request_size_in_bytes",
        response_size: Scalar<'a> = "response_size_in_bytes",
        latency_ms: Scalar<'a> = "request_latency_in_ms",
        client_ip: Scalar<'a> = "client_ip",
        api_key: Scalar<'a> = "api_key",
        jwt_payload: Scalar<'a> = "jwt_payload" | "jwt_payloads",
        api_method: Scalar<'a> = "api_method",
        api_name: Scalar<'a> = "api_name",
        tls: Tls<'a> = "tls",
    }
}

object! { struct Tls { protocol: Scalar<'a> = "protocol", } }
object! { struct Resource { labels: Labels<'a> = "labels", } }
object! {
    struct Labels {
        path_rule: Scalar<'a> = "matched_url_path_rule",
        url_map: Scalar<'a> = "url_map_name",
        backend: Scalar<'a> = "backend_service_name",
        gateway: Scalar<'a> = "gateway_id",
        service: Scalar<'a> = "service",
    }
}

/// Says whether a record has keys that only this format has; AWS WAF has an `httpRequest` too, but no `requestMethod` in it.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(
        text,
        &[
            "\"requestMethod\"",
            "\"requestmethod\"",
            "\"producer_project_id\"",
        ],
    )
}

/// Decodes one log entry.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    expect_objects(&[
        (&record.request, "httpRequest"),
        (&record.resource, "resource"),
        (&record.resource.labels, "resource.labels"),
    ])?;
    let (request, payload, labels) = (record.request, record.payload, record.resource.labels);
    let event_time_ms = record.timestamp.time("timestamp")?;
    let method = request.method.or(payload.method);
    let url = request.url.or(payload.url).required("requestUrl")?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(url);
    let latency_us = match latency_us(&request.latency)? {
        None => payload.latency_ms.scaled("request_latency_in_ms", 1_000)?,
        latency_us => latency_us,
    };
    Ok(Event {
        event_time_ms,
        gateway: "gcp",
        method: method
            .method("requestMethod")?
            .ok_or_else(|| Fault::missing("requestMethod"))?,
        scheme: scheme.and_then(|scheme| target::http_scheme(&scheme)),
        host,
        path,
        query,
        status: request.status.or(payload.status).status("status")?,
        request_bytes: request
            .request_size
            .or(payload.request_size)
            .count("requestSize")?,
        response_bytes: request
            .response_size
            .or(payload.response_size)
            .count("responseSize")?,
        latency_us,
        client_ip: request
            .remote_ip
            .or(payload.client_ip)
            .address("remoteIp")?,
        user_agent: request.user_agent.text("userAgent")?,
        api_key: payload.api_key.text("api_key")?,
        jwt_sub: payload.jwt_payload.text("jwt_payload")?.and_then(subject),
        route: payload
            .api_method
            .or(labels.path_rule)
            .or(labels.url_map)
            .text("url_map_name")?,
        service: labels
            .backend
            .or(labels.gateway)
            .or(labels.service)
            .or(payload.api_name)
            .text("backend_service_name")?,
        tls_version: payload.tls.protocol.text("tls.protocol")?,
        request_id: record.insert_id.text("insertId")?,
        trace_id: record.trace.text("trace")?.map(|trace| {
            let start = trace.rfind('/').map_or(0, |at| at + 1);
            target::cut(&trace, start..trace.len())
        }),
        referer: request.referer.text("referer")?,
        ..Event::default()
    })
}

/// Seconds with their unit (`"0.048180s"`, the JSON form of a protobuf `Duration`).
fn latency_us(latency: &Scalar<'_>) -> Result<Option<i64>, Fault> {
    match latency {
        Scalar::Text(text) => {
            let seconds = text.strip_suffix('s').unwrap_or(text);
            Scalar::Text(seconds.into()).scaled("latency", 1_000_000)
        }
        other => other.scaled("latency", 1_000_000),
    }
}

/// The subject in `sub=u1;project_id=p`.
fn subject(claims: std::borrow::Cow<'_, str>) -> Text<'_> {
    let start = claims
        .split(';')
        .find_map(|claim| claim.trim_ascii().strip_prefix("sub="))
        .filter(|sub| !sub.is_empty())?;
    let at = start.as_ptr().addr() - claims.as_ptr().addr();
    Some(target::cut(&claims, at..at + start.len()))
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::Gcp;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"{"insertId":"i-1","jsonPayload":{"@type":"type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry","statusDetails":"response_sent_by_backend","tls":{"protocol":"TLSv1.3"}},"httpRequest":{"requestMethod":"GET","requestUrl":"https://api.example:8443/a/7?x=1","requestSize":"577","status":200,"responseSize":157,"userAgent":"curl/8","remoteIp":"192.0.2.7:9989","latency":"0.048180s","referer":"https://r.example/"},"resource":{"type":"http_load_balancer","labels":{"url_map_name":"map","backend_service_name":"orders"}},"timestamp":"2026-01-05T00:00:00.003651Z","trace":"projects/p/traces/241d69833e64b3bf83fabac8c873d992"}"#;
    pub(in crate::format) const ENDPOINTS: &str = r#"{"insertId":"i-2","jsonPayload":{"api_key":"k-1","api_method":"1.shop.Get","api_name":"shop","client_ip":"192.0.2.7","http_method":"GET","http_response_code":200,"jwt_payload":"iss=x;sub=u-1","producer_project_id":"p","request_latency_in_ms":"12","request_size_in_bytes":"10","response_size_in_bytes":"20","url":"/a/7?x=1"},"resource":{"type":"api","labels":{}},"timestamp":"2026-01-05T00:00:00.003Z"}"#;

    #[test]
    fn every_field_of_a_load_balancer_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "request_bytes=577",
            "response_bytes=157",
            "latency_us=48180",
            "gateway=gcp",
            "method=GET",
            "scheme=https",
            "host=api.example:8443",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "route=map",
            "service=orders",
            "tls_version=TLSv1.3",
            "request_id=i-1",
            "trace_id=241d69833e64b3bf83fabac8c873d992",
            "referer=https://r.example/",
        ];
        assert_eq!(print(Gcp, LINE), want);
        let lower = LINE
            .replace("httpRequest", "httprequest")
            .replace("jsonPayload", "jsonpayload")
            .replace("requestMethod", "requestmethod")
            .replace("requestUrl", "requesturl")
            .replace("2026-01-05T00:00:00.003651Z", "2026-01-05 00:00:00.003");
        assert_has(
            Gcp,
            &lower,
            &["path=/a/7", "event_time=2026-01-05T00:00:00.003Z"],
        );
    }

    #[test]
    fn endpoints_name_the_caller() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "request_bytes=10",
            "response_bytes=20",
            "latency_us=12000",
            "gateway=gcp",
            "method=GET",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "api_key=k-1",
            "jwt_sub=u-1",
            "route=1.shop.Get",
            "service=shop",
            "request_id=i-2",
        ];
        assert_eq!(print(Gcp, ENDPOINTS), want);
        for payload in ["iss=x", "sub=", ""] {
            assert_lacks(Gcp, &ENDPOINTS.replace("iss=x;sub=u-1", payload), "jwt_sub");
        }
    }

    #[test]
    fn what_every_call_has_may_not_be_missing() {
        let rows = [
            ("\"timestamp\"", "missing_field: timestamp"),
            ("\"requestUrl\"", "missing_field: requestUrl"),
            ("\"requestMethod\"", "missing_field: requestMethod"),
        ];
        for (key, want) in rows {
            assert_eq!(print(Gcp, LINE.replace(key, "\"absent\"")), [want]);
        }
        let slow = LINE.replace("0.048180s", "soon");
        assert_eq!(print(Gcp, slow), ["wrong_type: latency is not a number"]);
        let other = LINE.replace("\"resource\":{", "\"resource\":5,\"x\":{");
        assert_eq!(print(Gcp, other), ["wrong_type: resource is not an object"]);
    }
}
