//! ECS: web access as Elastic's agents write it (ECS 1.x to 9.x; Filebeat's and Elastic Agent's nginx, apache, traefik, haproxy, envoyproxy and
//! IIS modules, Packetbeat, ECS logging libraries).
//!
//! | event | ECS field, nested or dotted |
//! |---|---|
//! | `event_time_ms` | `event.start`, else `@timestamp` (what the module parsed out of the line: see its format) |
//! | `method`, `path`, `query` | `http.request.method`; `url.original` (raw), else `url.full`, else `url.path` with `url.query` |
//! | `scheme`, `host` | `url.scheme`; `url.domain` |
//! | `status` | `http.response.status_code` |
//! | `request_bytes`, `response_bytes` | `http.request.bytes`, `http.response.bytes`, else `….body.bytes` |
//! | `latency_us` | `event.duration` **ns** |
//! | `client_ip` | `client.ip`, `source.ip`, `source.address` |
//! | `user_agent`, `referer` | `user_agent.original`; `http.request.referrer` |
//! | `principal` | `user.name`, `.id`, `.email` (also `client.user.*`, `source.user.*`) |
//! | `jwt_sub`, `consumer`, `api_key`, `session` | `labels.jwt_sub`, `.consumer`, `.api_key`, `.session` (a processor of your own) |
//! | `client_cert` | `tls.client.subject` |
//! | `authorization`, other headers | `http.request.headers.*`, `http.response.headers.*` (Packetbeat `send_headers`) |
//! | `service`, `tls_version` | `service.name`; `tls.version` |
//! | `request_id`, `trace_id` | `http.request.id`; `trace.id` |
//! | `request_content_type`, `response_content_type` | `http.request.mime_type`, `http.response.mime_type` |
//! | `request_body` | `http.request.body.content` |
//!
//! Traps: modules put the raw request into `url.original`, and a decoded, cut one into `url.path`; `source.ip` may be taken out of
//! X-Forwarded-For by the module (`nginx.access.remote_ip_list`); an event that holds the raw line (`message`) and nothing parsed is an
//! envelope, not ECS; `host.name` is the machine that ships, not the host called; application logs have no `http.request.method`.

use super::detect::has_any;
use super::headers::Headers;
use super::json::{Header, Raw, Scalar, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str = "Web access in the Elastic Common Schema";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Configured,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Configured,
};

object! {
    struct Record {
        timestamp: Scalar<'a> = "@timestamp",
        event: EventFields<'a> = "event",
        http: Http<'a> = "http",
        url: Url<'a> = "url",
        client: Endpoint<'a> = "client",
        source: Endpoint<'a> = "source",
        user: User<'a> = "user",
        user_agent: Original<'a> = "user_agent",
        service: Named<'a> = "service",
        tls: Tls<'a> = "tls",
        trace: Id<'a> = "trace",
        labels: Labels<'a> = "labels",
        // The same with dots, as libraries write it.
        start: Scalar<'a> = "event.start",
        duration: Scalar<'a> = "event.duration",
        method: Scalar<'a> = "http.request.method",
        status_code: Scalar<'a> = "http.response.status_code",
        request_bytes: Scalar<'a> = "http.request.bytes" | "http.request.body.bytes",
        response_bytes: Scalar<'a> = "http.response.bytes" | "http.response.body.bytes",
        referrer: Scalar<'a> = "http.request.referrer",
        request_id: Scalar<'a> = "http.request.id",
        original: Scalar<'a> = "url.original" | "url.full",
        path: Scalar<'a> = "url.path",
        query: Scalar<'a> = "url.query",
        scheme: Scalar<'a> = "url.scheme",
        domain: Scalar<'a> = "url.domain",
        client_ip: Scalar<'a> = "client.ip" | "source.ip",
        user_name: Scalar<'a> = "user.name" | "user.id" | "user.email",
        agent: Scalar<'a> = "user_agent.original",
        service_name: Scalar<'a> = "service.name",
        trace_id: Scalar<'a> = "trace.id",
    }
}

object! { struct EventFields { start: Scalar<'a> = "start", duration: Scalar<'a> = "duration", } }
object! {
    struct Http {
        request: Request<'a> = "request",
        response: Response<'a> = "response",
    }
}
object! {
    struct Request {
        method: Scalar<'a> = "method",
        id: Scalar<'a> = "id",
        bytes: Scalar<'a> = "bytes",
        body: Body<'a> = "body",
        referrer: Scalar<'a> = "referrer",
        mime_type: Scalar<'a> = "mime_type",
        headers: Headers<'a> = "headers",
    }
}
object! {
    struct Response {
        status_code: Scalar<'a> = "status_code",
        bytes: Scalar<'a> = "bytes",
        body: Body<'a> = "body",
        mime_type: Scalar<'a> = "mime_type",
        headers: Headers<'a> = "headers",
    }
}
object! { struct Body { bytes: Scalar<'a> = "bytes", content: Raw<'a> = "content", } }
object! {
    struct Url {
        original: Scalar<'a> = "original",
        full: Scalar<'a> = "full",
        path: Scalar<'a> = "path",
        query: Scalar<'a> = "query",
        scheme: Scalar<'a> = "scheme",
        domain: Scalar<'a> = "domain",
    }
}
object! {
    struct Endpoint {
        ip: Scalar<'a> = "ip",
        address: Scalar<'a> = "address",
        user: User<'a> = "user",
    }
}
object! {
    struct User {
        name: Scalar<'a> = "name",
        id: Header<'a> = "id",
        email: Scalar<'a> = "email",
    }
}
object! { struct Original { original: Scalar<'a> = "original", } }
object! { struct Named { name: Scalar<'a> = "name", } }
object! { struct Id { id: Scalar<'a> = "id", } }
object! { struct Tls { version: Scalar<'a> = "version", client: TlsClient<'a> = "client", } }
object! { struct TlsClient { subject: Scalar<'a> = "subject", } }
object! {
    struct Labels {
        jwt_sub: Scalar<'a> = "jwt_sub",
        consumer: Scalar<'a> = "consumer",
        api_key: Scalar<'a> = "api_key",
        session: Scalar<'a> = "session",
    }
}

/// Says whether a record has keys that only this format has beside each other.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"@timestamp\""])
        && (has_any(text, &["\"http.request.method\""])
            || (has_any(text, &["\"http\""]) && has_any(text, &["\"url\""])))
}

/// Decodes one document.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let (request, response) = (record.http.request, record.http.response);
    let event_time_ms =
        first([record.event.start, record.start, record.timestamp]).time("@timestamp")?;
    let method = first([request.method, record.method])
        .method("http.request.method")?
        .ok_or_else(|| Fault::missing("http.request.method"))?;
    let raw = first([record.url.original, record.original, record.url.full]);
    let Target {
        scheme,
        host,
        path,
        query,
    } = match raw.text("url.original")? {
        Some(raw) => target::split(raw),
        None => {
            let path = first([record.url.path, record.path]).required("url.path")?;
            Target {
                query: first([record.url.query, record.query]).text("url.query")?,
                ..target::split(path)
            }
        }
    };
    let mut event = Event {
        event_time_ms,
        gateway: "ecs",
        method,
        scheme: first([record.url.scheme, record.scheme])
            .text("url.scheme")?
            .or(scheme),
        host: first([record.url.domain, record.domain])
            .text("url.domain")?
            .or(host),
        path,
        query,
        status: first([response.status_code, record.status_code])
            .status("http.response.status_code")?,
        request_bytes: first([request.bytes, request.body.bytes, record.request_bytes])
            .count("http.request.bytes")?,
        response_bytes: first([response.bytes, response.body.bytes, record.response_bytes])
            .count("http.response.bytes")?,
        latency_us: first([record.event.duration, record.duration])
            .count("event.duration")?
            .map(|ns| ns / 1_000),
        client_ip: first([
            record.client.ip,
            record.source.ip,
            record.source.address,
            record.client_ip,
        ])
        .address("source.ip")?,
        user_agent: first([record.user_agent.original, record.agent])
            .text("user_agent.original")?,
        api_key: record.labels.api_key.text("labels.api_key")?,
        jwt_sub: record.labels.jwt_sub.text("labels.jwt_sub")?,
        consumer: record.labels.consumer.text("labels.consumer")?,
        principal: user([record.user, record.client.user, record.source.user])?
            .or(record.user_name.text("user.name")?),
        client_cert: record.tls.client.subject.text("tls.client.subject")?,
        session: record.labels.session.text("labels.session")?,
        service: first([record.service.name, record.service_name]).text("service.name")?,
        tls_version: record.tls.version.text("tls.version")?,
        request_content_type: request.mime_type.text("http.request.mime_type")?,
        request_id: first([request.id, record.request_id]).text("http.request.id")?,
        trace_id: first([record.trace.id, record.trace_id]).text("trace.id")?,
        referer: first([request.referrer, record.referrer]).text("http.request.referrer")?,
        request_body: request.body.content.0,
        ..Event::default()
    };
    request.headers.fill_request(&mut event)?;
    response.headers.fill_response(&mut event)?;
    let mime_type = response.mime_type.text("http.response.mime_type")?;
    event.response_content_type = event.response_content_type.or(mime_type);
    Ok(event)
}

fn first<'a, const N: usize>(values: [Scalar<'a>; N]) -> Scalar<'a> {
    values
        .into_iter()
        .find(|value| !value.is_blank())
        .unwrap_or_default()
}

fn user(users: [User<'_>; 3]) -> Result<Text<'_>, Fault> {
    for user in users {
        let name = first([user.name, user.id.0, user.email]).text("user.name")?;
        if name.is_some() {
            return Ok(name);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Ecs};
    use crate::format::tests::{assert_has, print};

    const FULL: &str = r#"{"@timestamp":"2026-01-05T00:00:00.003Z","ecs":{"version":"8.11.0"},"event":{"dataset":"nginx.access","duration":12345678,"outcome":"success"},
        "host":{"name":"shipper-1"},"http":{"request":{"method":"POST","referrer":"https://r.example/","id":"q-1","body":{"bytes":12},
        "headers":{"Authorization":"Bearer a.b.c","x-http-method":"PUT"}},"response":{"status_code":201,"body":{"bytes":97},"mime_type":"text/html"},"version":"1.1"},
        "message":"10.0.0.9 - - [05/Jan/2026:00:00:00 +0000] \"GET /other HTTP/1.1\" 200 1 \"-\" \"-\"",
        "source":{"ip":"192.0.2.7"},"url":{"original":"/a//%31?x=1","path":"/a/1","domain":"shop.example","scheme":"https"},"user":{"name":"ann","id":["7"]},
        "labels":{"jwt_sub":"u1"},"user_agent":{"original":"curl/8","name":"curl"},"service":{"name":"orders"},"tls":{"version":"1.3","client":{"subject":"CN=a"}},"trace":{"id":"0af7"}}"#;

    #[test]
    fn every_field_of_a_full_document_is_mapped_and_its_message_is_not_opened() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=201",
            "request_bytes=12",
            "response_bytes=97",
            "latency_us=12345",
            "gateway=ecs",
            "method=POST",
            "scheme=https",
            "host=shop.example",
            "path=/a//%31",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "authorization=Bearer a.b.c",
            "jwt_sub=u1",
            "principal=ann",
            "client_cert=CN=a",
            "service=orders",
            "tls_version=1.3",
            "response_content_type=text/html",
            "request_id=q-1",
            "trace_id=0af7",
            "referer=https://r.example/",
            "method_override=PUT",
        ];
        for format in [Ecs, Auto] {
            assert_eq!(print(format, FULL), want);
        }
    }

    #[test]
    fn dotted_names_are_read() {
        let line = r#"{"@timestamp":"2026-01-05T00:00:00Z","http.request.method":"GET","url.path":"/a","url.query":"x=1","http.response.status_code":404,"user.id":"7"}"#;
        assert_has(
            Auto,
            line,
            &[
                "gateway=ecs",
                "path=/a",
                "query=x=1",
                "status=404",
                "principal=7",
            ],
        );
    }

    #[test]
    fn an_applications_log_is_no_call() {
        let line = r#"{"@timestamp":"2026-01-05T00:00:00Z","log.level":"info","log.logger":"a"}"#;
        assert_eq!(print(Ecs, line), ["missing_field: http.request.method"]);
    }
}
