//! OpenTelemetry: HTTP server spans as OTLP JSON (OTLP 1.0 to 1.9, `opentelemetry/proto/trace/v1`; HTTP semantic conventions 1.x stable and up
//! to 1.20 old; the collector's Kafka and file exporters with `encoding: otlp_json`).
//!
//! | event | stable | old |
//! |---|---|---|
//! | `event_time_ms` | `startTimeUnixNano` (text), the request's **start** | same |
//! | `method` | `http.request.method_original` where it is `_OTHER`, else `http.request.method` | `http.method` |
//! | `path`, `query` | `url.path`, `url.query`, else `url.full` | `http.target`, else `http.url` |
//! | `scheme`, `host` | `url.scheme`; `server.address` | `http.scheme`; `http.host`, `net.host.name` |
//! | `status` | `http.response.status_code` | `http.status_code` |
//! | `request_bytes`, `response_bytes` | `http.request.size`, `http.request.body.size`; `http.response.size`, `.body.size` (opt-in) | `http.request_content_length`, `http.response_content_length` |
//! | `latency_us` | `endTimeUnixNano` less the start | same |
//! | `client_ip`, `peer_ip` | `client.address`; `network.peer.address` | `http.client_ip`; `net.peer.ip`, `net.sock.peer.addr` |
//! | `user_agent` | `user_agent.original` | `http.user_agent` |
//! | `principal` | `user.id`, `enduser.id`, `user.name`, `enduser.pseudo.id` | same |
//! | `jwt_sub`, `jwt_claims`, `consumer`, `session` | `jwt.sub`, `jwt_sub`; `jwt.claims`; `consumer`; `mcp.session.id`, `session.id` (attributes of your own) | same |
//! | `authorization`, `api_key`, other headers | `http.request.header.<name>`, `http.response.header.<name>`: arrays (opt-in) | the same, `_` for `-` |
//! | `route` | `http.route`: the framework's template | same |
//! | `service` | resource `service.name` | same |
//! | `tls_version` | `tls.protocol.version` | - |
//! | `request_id`, `trace_id` | header `x-request-id`; `traceId` | same |
//! | `request_body` | `http.request.body.content` (development) | - |
//!
//! A record of a log with these attributes is a call too; [`super::otlp_log`] has what is different of it.
//!
//! A record is one export request: of its many spans each that is a call becomes a row. Only `SERVER` spans (kind 2) are calls: a client
//! span is the same call seen from the other side, and internal ones are none; they are left out without a reject, as nine of ten spans are.
//!
//! Traps: with two instrumented services in a row each has its server span, of one trace: feed the outermost, or tell them by
//! `service.name`; sampling (`tracesampler`) hides calls: sample at 1 for what is to be watched, or every rate is off; frameworks that
//! decode the path put it decoded into `url.path`; `http.route` is absent on 404; `client.address` is the first of X-Forwarded-For, which
//! the client can write: `network.peer.address` is not.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::detect::has_any;
use super::headers::Headers;
use super::json::{Raw, Scalar, Slot, believe, object, read, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence, envelope};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str = "HTTP server spans of OpenTelemetry as OTLP JSON";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Always,
    response_bytes: Presence::Configured,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Configured,
};

object! { struct Request { resources: Raw<'a> = "resourceSpans" | "resource_spans", } }
object! {
    struct ResourceSpans {
        resource: Resource<'a> = "resource",
        scopes: Raw<'a> = "scopeSpans" | "scope_spans" | "instrumentationLibrarySpans",
    }
}
object! { struct Resource { attributes: Attributes<'a> = "attributes", } }
object! { struct ScopeSpans { spans: Raw<'a> = "spans", } }
object! {
    struct Span {
        kind: Scalar<'a> = "kind",
        trace_id: Scalar<'a> = "traceId" | "trace_id",
        start: Scalar<'a> = "startTimeUnixNano" | "start_time_unix_nano",
        end: Scalar<'a> = "endTimeUnixNano" | "end_time_unix_nano",
        attributes: Attributes<'a> = "attributes",
    }
}

/// Attributes, of a resource or a span.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    pairs: Vec<(Cow<'a, str>, Scalar<'a>)>,
}

impl<'a> Attributes<'a> {
    /// Takes the first that is there.
    pub(super) fn take(&mut self, names: &[&str]) -> Scalar<'a> {
        for name in names {
            let found = self.pairs.iter_mut().find(|(key, _)| key == name);
            if let Some((_, value)) = found
                && !value.is_blank()
            {
                return std::mem::take(value);
            }
        }
        Scalar::Absent
    }

    /// Says whether one of these is there and not blank.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        let mut pairs = self.pairs.iter();
        pairs.any(|(key, value)| names.contains(&key.as_ref()) && !value.is_blank())
    }
}

impl<'a> Slot<'a> for Attributes<'a> {
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(self)
    }
}

impl<'a> DeserializeSeed<'a> for &mut Attributes<'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for &mut Attributes<'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("attributes")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut pair = Pair::default();
        while seq.next_element_seed(&mut pair)?.is_some() {
            let Pair { key, value, .. } = std::mem::take(&mut pair);
            if let Scalar::Text(key) = key {
                self.pairs.push((key, value.0));
            }
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

object! { struct Pair { key: Scalar<'a> = "key", value: AnyValue<'a> = "value", } }

/// A value in its one-of wrapper: `{"stringValue": …}`; of an array all texts, joined.
#[derive(Debug, Default)]
pub(super) struct AnyValue<'a>(Scalar<'a>);

impl<'a> Slot<'a> for AnyValue<'a> {
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let mut value = Value::default();
        map.next_value_seed(&mut value)?;
        self.0 = if value.scalar.is_blank() {
            value.array.values.0
        } else {
            value.scalar
        };
        Ok(())
    }
}

object! {
    struct Value {
        scalar: Scalar<'a> = "stringValue" | "intValue" | "doubleValue" | "boolValue" | "string_value" | "int_value",
        array: ArrayValue<'a> = "arrayValue" | "array_value",
    }
}
object! { struct ArrayValue { values: Texts<'a> = "values", } }

/// The texts of an array of values, joined by `, `.
#[derive(Debug, Default)]
pub(super) struct Texts<'a>(Scalar<'a>);

impl<'a> Slot<'a> for Texts<'a> {
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(self)
    }
}

impl<'a> DeserializeSeed<'a> for &mut Texts<'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for &mut Texts<'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("values")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut value = Value::default();
        while seq.next_element_seed(&mut value)?.is_some() {
            let scalar = std::mem::take(&mut value).scalar;
            self.0 = std::mem::take(&mut self.0).join(scalar);
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Says whether a record is an export request, or a span by itself.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"resourceSpans\"", "\"startTimeUnixNano\""])
}

/// Says whether a text is an export request, of whose spans many may be calls.
pub(super) fn is_request(text: &str) -> bool {
    text.strip_prefix('{').is_some_and(|text| {
        let text = text.trim_ascii_start();
        text.starts_with("\"resourceSpans\"") || text.starts_with("\"resource_spans\"")
    })
}

/// Decodes a span by itself, or the first call of an export request.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut first = None;
    if is_request(text) {
        decode_all(text, &mut |call| {
            first.get_or_insert(call);
        })?;
    } else {
        first = span(text, None).transpose();
    }
    first.unwrap_or_else(|| Err(Fault::missing("a span of kind 2 (server)")))
}

/// Decodes an export request: gives each call, and what is wrong with each span or group of spans that cannot be read.
///
/// # Errors
/// The request as a whole is not JSON, or holds no span of any kind.
pub(super) fn decode_all<'a>(
    text: &'a str,
    each: &mut dyn FnMut(Result<Event<'a>, Fault>),
) -> Result<(), Fault> {
    let request: Request<'a> = read(text)?;
    let mut is_empty = true;
    for resource in elements(request.resources) {
        let read_resource = resource.and_then(read::<ResourceSpans<'a>>);
        let mut spans = match read_resource {
            Ok(spans) => spans,
            Err(fault) => {
                is_empty = false;
                each(Err(fault));
                continue;
            }
        };
        let service = spans.resource.attributes.take(&["service.name"]);
        let service = service.text("service.name").unwrap_or_default();
        for scope in elements(spans.scopes) {
            match scope.and_then(read::<ScopeSpans<'a>>) {
                Ok(scope) => elements(scope.spans).for_each(|text| {
                    is_empty = false;
                    let call = text.and_then(|text| span(text, service.clone()));
                    if let Some(call) = call.transpose() {
                        each(call);
                    }
                }),
                Err(fault) => {
                    is_empty = false;
                    each(Err(fault));
                }
            }
        }
    }
    if is_empty {
        return Err(Fault::missing("spans"));
    }
    Ok(())
}

/// Elements of an array that lies in the record; one that does not has none.
pub(super) fn elements<'a>(array: Raw<'a>) -> impl Iterator<Item = Result<&'a str, Fault>> {
    let text = match array.0 {
        Some(Cow::Borrowed(text)) => text,
        _ => "[]",
    };
    envelope::elements(text)
}

/// Decodes a span; `None` if it is no server's.
fn span<'a>(text: &'a str, service: Text<'a>) -> Result<Option<Event<'a>>, Fault> {
    let mut span = Span::default();
    read_into(&mut span, text)?;
    let is_server = match span.kind {
        Scalar::Text(ref kind) => matches!(kind.as_ref(), "2" | "SPAN_KIND_SERVER"),
        ref kind => *kind == Scalar::Integer(2),
    };
    if !is_server {
        return Ok(None);
    }
    let start_ns = span.start.count("startTimeUnixNano")?;
    let start_ns = start_ns.ok_or_else(|| Fault::missing("startTimeUnixNano"))?;
    let end_ns = span.end.count("endTimeUnixNano")?;
    let latency_us = end_ns
        .and_then(|end_ns| end_ns.checked_sub(start_ns))
        .filter(|ns| 0 <= *ns)
        .map(|ns| ns / 1_000);
    let event_time_ms = believe(start_ns / 1_000_000, "startTimeUnixNano")?;
    let call = call(event_time_ms, span.attributes, span.trace_id, service)?;
    Ok(Some(Event { latency_us, ..call }))
}

/// The call that attributes tell of, of a span or of a log's record.
pub(super) fn call<'a>(
    event_time_ms: i64,
    mut attributes: Attributes<'a>,
    trace_id: Scalar<'a>,
    service: Text<'a>,
) -> Result<Event<'a>, Fault> {
    let of = &mut attributes;
    let target = target_of(of)?;
    let method = of.take(&["http.request.method", "http.method"]);
    let original = of.take(&["http.request.method_original"]);
    let method = match method.method("http.request.method")? {
        Some(method) if method != "_OTHER" => method,
        _ => original.required("http.request.method")?,
    };
    let mut event = Event {
        event_time_ms,
        gateway: "otlp",
        method,
        scheme: text_of(of, &["url.scheme", "http.scheme"], "url.scheme")?.or(target.scheme),
        host: text_of(
            of,
            &["server.address", "http.host", "net.host.name"],
            "server.address",
        )?
        .or(target.host),
        path: target.path,
        query: target.query,
        status: of
            .take(&["http.response.status_code", "http.status_code"])
            .status("http.response.status_code")?,
        request_bytes: of
            .take(&[
                "http.request.size",
                "http.request.body.size",
                "http.request_content_length",
            ])
            .count("http.request.size")?,
        response_bytes: of
            .take(&[
                "http.response.size",
                "http.response.body.size",
                "http.response_content_length",
            ])
            .count("http.response.size")?,
        peer_ip: text_of(
            of,
            &["network.peer.address", "net.sock.peer.addr", "net.peer.ip"],
            "network.peer.address",
        )?,
        user_agent: text_of(
            of,
            &["user_agent.original", "http.user_agent"],
            "user_agent.original",
        )?,
        jwt_sub: text_of(of, &["jwt.sub", "jwt_sub"], "jwt.sub")?,
        jwt_claims: text_of(of, &["jwt.claims", "jwt_claims"], "jwt.claims")?,
        consumer: text_of(of, &["consumer", "consumer.name"], "consumer")?,
        principal: text_of(
            of,
            &["user.id", "enduser.id", "user.name", "enduser.pseudo.id"],
            "user.id",
        )?,
        client_cert: text_of(of, &["tls.client.subject"], "tls.client.subject")?,
        session: text_of(of, &["mcp.session.id", "session.id"], "session.id")?,
        route: text_of(of, &["http.route"], "http.route")?,
        service,
        tls_version: text_of(of, &["tls.protocol.version"], "tls.protocol.version")?,
        trace_id: trace_id.text("traceId")?,
        request_body: text_of(
            of,
            &["http.request.body.content"],
            "http.request.body.content",
        )?,
        ..Event::default()
    };
    let client = text_of(of, &["client.address", "http.client_ip"], "client.address")?;
    event.client_ip = client
        .and_then(target::address)
        .or_else(|| event.peer_ip.clone());
    add_headers(&mut event, attributes)?;
    Ok(event)
}

fn text_of<'a>(
    attributes: &mut Attributes<'a>,
    names: &[&str],
    field: &'static str,
) -> Result<Text<'a>, Fault> {
    attributes.take(names).text(field)
}

/// The target: path and query apart, both in one, or the whole URL.
fn target_of<'a>(attributes: &mut Attributes<'a>) -> Result<Target<'a>, Fault> {
    let whole = attributes.take(&["http.target", "url.full", "http.url"]);
    let whole = whole.text("url.full")?.map(target::split);
    let query = text_of(attributes, &["url.query"], "url.query")?;
    let path = text_of(attributes, &["url.path"], "url.path")?;
    match (path, whole) {
        (Some(path), whole) => {
            let whole = whole.unwrap_or_default();
            let path = target::split(path);
            Ok(Target {
                scheme: whole.scheme,
                host: whole.host,
                path: path.path,
                query: query.or(path.query).or(whole.query),
            })
        }
        (None, Some(whole)) => Ok(whole),
        (None, None) => Err(Fault::missing("url.path")),
    }
}

/// Headers, which are attributes of their own; the old names have `_` for `-`.
fn add_headers<'a>(event: &mut Event<'a>, attributes: Attributes<'a>) -> Result<(), Fault> {
    let (mut asked, mut answered) = (Headers::default(), Headers::default());
    for (key, value) in attributes.pairs {
        if let Some(name) = key.strip_prefix("http.request.header.") {
            asked.put(&name.replace('_', "-"), value);
        } else if let Some(name) = key.strip_prefix("http.response.header.") {
            answered.put(&name.replace('_', "-"), value);
        }
    }
    asked.fill_request(event)?;
    answered.fill_response(event)
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Otlp};
    use crate::format::tests::{assert_has, print};

    const STABLE: &str = r#"{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"3daec661f183cb7a","name":"POST /a/{id}","kind":2,
        "startTimeUnixNano":"1767571200003685000","endTimeUnixNano":"1767571200015685000","attributes":[
        {"key":"http.request.method","value":{"stringValue":"POST"}},{"key":"url.scheme","value":{"stringValue":"https"}},
        {"key":"server.address","value":{"stringValue":"shop.example"}},{"key":"url.path","value":{"stringValue":"/a/7"}},
        {"key":"url.query","value":{"stringValue":"x=1"}},{"key":"client.address","value":{"stringValue":"203.0.113.5"}},
        {"key":"network.peer.address","value":{"stringValue":"10.0.0.9"}},{"key":"user_agent.original","value":{"stringValue":"curl/8"}},
        {"key":"http.route","value":{"stringValue":"/a/{id}"}},{"value":{"intValue":"201"},"key":"http.response.status_code"},
        {"key":"user.id","value":{"stringValue":"u1"}},{"key":"http.response.body.size","value":{"intValue":97}},
        {"key":"http.request.header.authorization","value":{"arrayValue":{"values":[{"stringValue":"Bearer a.b.c"}]}}},
        {"key":"http.request.header.x_original_url","value":{"arrayValue":{"values":[{"stringValue":"/admin"},{"stringValue":"/b"}]}}},
        {"key":"http.response.header.server","value":{"stringValue":"nginx"}},{"key":"x","value":{"kvlistValue":{"values":[]}}}],"status":{}}"#;

    fn request(spans: &[&str]) -> String {
        format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"scope":{{"name":"s"}},"spans":[{}]}}],"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"orders"}}}}]}}}}]}}"#,
            spans.join(",")
        )
    }

    #[test]
    fn a_span_with_the_stable_names_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=201",
            "response_bytes=97",
            "latency_us=12000",
            "gateway=otlp",
            "method=POST",
            "scheme=https",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=203.0.113.5",
            "peer_ip=10.0.0.9",
            "user_agent=curl/8",
            "authorization=Bearer a.b.c",
            "principal=u1",
            "route=/a/{id}",
            "service=orders",
            "trace_id=0af7651916cd43dd8448eb211c80319c",
            "rewritten_url=/admin, /b",
            "server=nginx",
        ];
        for format in [Otlp, Auto] {
            assert_eq!(print(format, request(&[STABLE])), want);
        }
        let alone: Vec<_> = want
            .iter()
            .filter(|line| !line.starts_with("service"))
            .collect();
        assert_eq!(print(Auto, STABLE).iter().collect::<Vec<_>>(), alone);
    }

    #[test]
    fn a_span_with_the_old_names_is_mapped() {
        let span = r#"{"traceId":"0af7","kind":"SPAN_KIND_SERVER","startTimeUnixNano":1767571200003685000,"endTimeUnixNano":1,"attributes":[
            {"key":"http.method","value":{"stringValue":"GET"}},{"key":"http.scheme","value":{"stringValue":"http"}},
            {"key":"http.host","value":{"stringValue":"shop.example"}},{"key":"http.target","value":{"stringValue":"/a/7?x=1"}},
            {"key":"net.peer.ip","value":{"stringValue":"192.0.2.7"}},{"key":"http.status_code","value":{"intValue":"404"}},
            {"key":"enduser.id","value":{"stringValue":"ann"}}]}"#;
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=404",
            "gateway=otlp",
            "method=GET",
            "scheme=http",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "peer_ip=192.0.2.7",
            "principal=ann",
            "service=orders",
            "trace_id=0af7",
        ];
        assert_eq!(print(Otlp, request(&[span])), want);
    }

    #[test]
    fn of_many_spans_each_servers_is_a_row() {
        let client = STABLE.replace("\"kind\":2", "\"kind\":3");
        let bad = STABLE.replace("http.request.method", "x");
        let lines = print(Auto, request(&[&client, STABLE, &bad, &client, STABLE]));
        let of = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
        assert_eq!(of("path=/a/7"), 2);
        assert_eq!(of("missing_field: http.request.method"), 1);
        assert_eq!(print(Otlp, request(&[&client])), Vec::<String>::new());
        assert_eq!(print(Otlp, request(&[])), ["missing_field: spans"]);
    }

    #[test]
    fn methods_that_are_not_known_are_those_on_the_wire() {
        let span = STABLE.replace("\"POST\"}", "\"_OTHER\"}").replace(
            "\"key\":\"x\",\"value\":{",
            "\"key\":\"http.request.method_original\",\"value\":{\"stringValue\":\"PURGE\",",
        );
        assert_has(Otlp, &request(&[&span]), &["method=PURGE"]);
    }
}
