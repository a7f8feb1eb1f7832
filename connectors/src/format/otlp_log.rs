//! OpenTelemetry: access logs as records of OTLP logs (OTLP 1.0 to 1.9, `opentelemetry/proto/logs/v1`, as JSON; the collector's Kafka and
//! file exporters with `encoding: otlp_json`).
//!
//! A record is one export request. What one of its log records is, is decided in this order:
//!
//! | log record | is |
//! |---|---|
//! | attributes of the HTTP conventions: a method (`http.request.method`, `http.method`) and a target (`url.path`, `url.full`, `http.target`, `http.url`) | a call, mapped as [`super::otlp`] does a span; `timeUnixNano`, else `observedTimeUnixNano`, is its time; no latency |
//! | a body that is a text or bytes | the line of a gateway that a shipper wrapped, of any format |
//! | a body that is a map or an array | the JSON that says the same, of any format |
//! | attributes and no body | the JSON object of the attributes, of any format |
//! | neither | nothing, and a reject |
//!
//! Traps: a line has no time but its own, as that of the log record may be when it was read; what else an application logs has no HTTP
//! attributes and is rejected as of an unknown format: send access logs only; a service that has both spans and such logs tells of each
//! call twice.

use serde_json::{Map, Value};

use super::envelope;
use super::json::{Raw, Scalar, believe, object, read};
use super::otlp::{self, Attributes, Resource, elements};
use super::{Fault, base64};
use crate::event::{Event, Text};
use crate::reject::RejectReason;

/// What a log record is that is nothing.
pub(super) const EMPTY: &str = "a log record without body and attributes";

const METHODS: [&str; 2] = ["http.request.method", "http.method"];
const TARGETS: [&str; 4] = ["url.path", "url.full", "http.target", "http.url"];

object! { struct Request { resources: Raw<'a> = "resourceLogs" | "resource_logs", } }
object! {
    struct ResourceLogs {
        resource: Resource<'a> = "resource",
        scopes: Raw<'a> = "scopeLogs" | "scope_logs" | "instrumentationLibraryLogs",
    }
}
object! { struct ScopeLogs { logs: Raw<'a> = "logRecords" | "log_records", } }
object! {
    struct LogRecord {
        time: Scalar<'a> = "timeUnixNano" | "time_unix_nano",
        observed: Scalar<'a> = "observedTimeUnixNano" | "observed_time_unix_nano",
        trace_id: Scalar<'a> = "traceId" | "trace_id",
        body: Raw<'a> = "body",
        attributes: Attributes<'a> = "attributes",
    }
}
object! { struct AttributesOnly { attributes: Raw<'a> = "attributes", } }

/// What a log record is.
#[derive(Debug)]
pub(super) enum Log<C> {
    /// A call that its attributes tell of.
    Call(C),
    /// A line, or an object, that it wraps.
    Line(String),
    /// Nothing.
    Empty,
}

/// Says whether a text is an export request of logs.
pub(super) fn is_request(text: &str) -> bool {
    text.strip_prefix('{').is_some_and(|text| {
        let text = text.trim_ascii_start();
        text.starts_with("\"resourceLogs\"") || text.starts_with("\"resource_logs\"")
    })
}

/// Gives what each log record is, or what is wrong with it, or with a group of them.
///
/// # Errors
/// The request as a whole is not JSON, or holds no log record.
pub(super) fn decode_all<'a>(
    text: &'a str,
    takes_calls: bool,
    each: &mut dyn FnMut(Result<Log<Event<'a>>, Fault>),
) -> Result<(), Fault> {
    let request: Request<'a> = read(text)?;
    let mut is_empty = true;
    for resource in elements(request.resources) {
        let mut logs = match resource.and_then(read::<ResourceLogs<'a>>) {
            Ok(logs) => logs,
            Err(fault) => {
                is_empty = false;
                each(Err(fault));
                continue;
            }
        };
        let service = logs.resource.attributes.take(&["service.name"]);
        let service = service.text("service.name").unwrap_or_default();
        for scope in elements(logs.scopes) {
            match scope.and_then(read::<ScopeLogs<'a>>) {
                Ok(scope) => elements(scope.logs).for_each(|text| {
                    is_empty = false;
                    let log = text.and_then(|text| log(text, takes_calls));
                    each(log.and_then(|log| match log {
                        Log::Call(record) => call(record, service.clone()).map(Log::Call),
                        Log::Line(line) => Ok(Log::Line(line)),
                        Log::Empty => Ok(Log::Empty),
                    }));
                }),
                Err(fault) => {
                    is_empty = false;
                    each(Err(fault));
                }
            }
        }
    }
    if is_empty {
        return Err(Fault::new(RejectReason::Empty, envelope::WITHOUT_RECORDS));
    }
    Ok(())
}

/// Tells what a log record is.
///
/// # Errors
/// It is no JSON object.
pub(super) fn log(text: &str, takes_calls: bool) -> Result<Log<LogRecord<'_>>, Fault> {
    let record: LogRecord<'_> = read(text)?;
    let is_call = record.attributes.has(&METHODS) && record.attributes.has(&TARGETS);
    if takes_calls && is_call {
        return Ok(Log::Call(record));
    }
    let line = wrapped(text, &record.body)?;
    Ok(line.map_or(Log::Empty, Log::Line))
}

fn call<'a>(record: LogRecord<'a>, service: Text<'a>) -> Result<Event<'a>, Fault> {
    // A zero is how a time is written that is not known.
    let time_ns = match record.time.count("timeUnixNano")? {
        None | Some(0) => record.observed.count("observedTimeUnixNano")?,
        known => known,
    };
    let time_ns = time_ns.ok_or_else(|| Fault::missing("timeUnixNano"))?;
    let event_time_ms = believe(time_ns / 1_000_000, "timeUnixNano")?;
    otlp::call(event_time_ms, record.attributes, record.trace_id, service)
}

/// The line that a log record wraps: its body, else its attributes.
fn wrapped(text: &str, body: &Raw<'_>) -> Result<Option<String>, Fault> {
    if let Some(body) = &body.0
        && let Some(line) = line_of(plain(&value(body)?))
    {
        return Ok(Some(line));
    }
    let attributes = read::<AttributesOnly<'_>>(text)?.attributes.0;
    match attributes
        .map(|attributes| value(&attributes))
        .transpose()?
    {
        Some(Value::Array(pairs)) if !pairs.is_empty() => Ok(line_of(map(&pairs))),
        _ => Ok(None),
    }
}

fn value(text: &str) -> Result<Value, Fault> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let place = format!("JSON syntax at line {line} column {column}");
        Fault::new(RejectReason::Malformed, place)
    })
}

fn line_of(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(line) => Some(line).filter(|line| !line.trim_ascii().is_empty()),
        value => Some(value.to_string()),
    }
}

/// A value without its one-of wrapper: `{"stringValue": "a"}` is `"a"`. Recurses as deep as the parser of `value` did.
fn plain(any: &Value) -> Value {
    let of = |names: [&str; 2]| names.iter().find_map(|name| any.get(name));
    let scalars = [
        ["stringValue", "string_value"],
        ["boolValue", "bool_value"],
        ["doubleValue", "double_value"],
    ];
    if let Some(scalar) = scalars.into_iter().find_map(of) {
        return scalar.clone();
    }
    if let Some(number) = of(["intValue", "int_value"]) {
        // OTLP writes 64 bits as text.
        let read = number.as_str().and_then(|text| text.parse::<i64>().ok());
        return read.map_or_else(|| number.clone(), Value::from);
    }
    if let Some(bytes) = of(["bytesValue", "bytes_value"]) {
        let bytes =
            base64::decode(bytes.as_str().unwrap_or_default().as_bytes()).unwrap_or_default();
        return String::from_utf8_lossy(&bytes).into();
    }
    if let Some(array) = of(["arrayValue", "array_value"]) {
        return values(array).iter().map(plain).collect();
    }
    match of(["kvlistValue", "kvlist_value"]) {
        Some(pairs) => map(values(pairs)),
        None => Value::Null,
    }
}

fn values(of: &Value) -> &[Value] {
    let values = of.get("values").and_then(Value::as_array);
    values.map_or(&[], Vec::as_slice)
}

fn map(pairs: &[Value]) -> Value {
    let pair = |pair: &Value| {
        let key = pair.get("key")?.as_str()?.to_owned();
        Some((key, plain(pair.get("value").unwrap_or(&Value::Null))))
    };
    Value::Object(pairs.iter().filter_map(pair).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests;
