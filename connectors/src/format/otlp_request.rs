//! Export requests of OTLP/HTTP (`/v1/traces`, OTLP 1.0 to 1.9) as records that [`super::otlp`] reads.
//!
//! A request becomes one record a resource and scope, or more where it would be too long for one, in OTLP's JSON whichever way it
//! came. Only server spans are kept, as only they are calls, and of them what the decoder asks for and ids: no events and no links.
//! Of JSON the kept spans stay as they were written.

use super::envelope;
use super::json::{Raw, Scalar, object, read};

mod protobuf;

/// Bytes of spans in one record: with their resource below [`super::RECORD_BYTES_MAX`], and below what brokers take by default.
const SPANS_BYTES_MAX: usize = 768 << 10;
/// Bytes of a resource or scope that is written; a longer one is left out.
const RESOURCE_BYTES_MAX: usize = 128 << 10;

/// What became of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Export requests in JSON, each with some of the spans.
    pub records: Vec<String>,
    /// Server spans in them.
    pub n_spans: u64,
    /// Server spans that are too long for a record, and are in none.
    pub n_too_long: u64,
}

/// Makes records of a request in JSON.
///
/// # Errors
/// It is malformed; what is wrong, without any of it.
pub fn from_json(body: &[u8]) -> Result<Exported, String> {
    let text = std::str::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
    // Whole values are cut out below, so each must be sound before it stands beside others in a record.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| {
        format!(
            "JSON syntax at line {} column {}",
            error.line(),
            error.column()
        )
    })?;
    spans_of_json(text.trim_ascii()).map_err(|fault| fault.detail.into_owned())
}

/// Makes records of a request in protobuf.
///
/// # Errors
/// It is malformed; what is wrong, without any of it.
pub fn from_protobuf(body: &[u8]) -> Result<Exported, String> {
    protobuf::export(body)
}

/// The answer to a request of which so many spans were not taken.
pub fn answer_json(n_too_long: u64) -> String {
    if n_too_long == 0 {
        return "{}".to_owned();
    }
    let partial =
        serde_json::json!({ "rejectedSpans": n_too_long.to_string(), "errorMessage": TOO_LONG });
    serde_json::json!({ "partialSuccess": partial }).to_string()
}

/// The same as `ExportTraceServiceResponse`.
pub fn answer_protobuf(n_too_long: u64) -> Vec<u8> {
    protobuf::answer(n_too_long, TOO_LONG)
}

/// Why a request was not taken, as `google.rpc.Status`.
pub fn status_protobuf(why: &str) -> Vec<u8> {
    protobuf::status(why)
}

const TOO_LONG: &str = "spans that are too long for a record";

object! { struct Request { resources: Raw<'a> = "resourceSpans" | "resource_spans", } }
object! {
    struct ResourceSpans {
        resource: Raw<'a> = "resource",
        scopes: Raw<'a> = "scopeSpans" | "scope_spans" | "instrumentationLibrarySpans",
    }
}
object! { struct ScopeSpans { scope: Raw<'a> = "scope", spans: Raw<'a> = "spans", } }
object! { struct Span { kind: Scalar<'a> = "kind", } }

fn spans_of_json(text: &str) -> Result<Exported, super::Fault> {
    let request: Request<'_> = read(text)?;
    let mut packer = Packer::default();
    for resource in envelope::elements(array(&request.resources)) {
        let resource: ResourceSpans<'_> = read(resource?)?;
        for scope in envelope::elements(array(&resource.scopes)) {
            let scope: ScopeSpans<'_> = read(scope?)?;
            packer.group(object(&resource.resource), object(&scope.scope));
            for span in envelope::elements(array(&scope.spans)) {
                let span = span?;
                let kind = read::<Span<'_>>(span)?.kind;
                let is_server = match kind {
                    Scalar::Text(ref kind) => matches!(kind.as_ref(), "2" | "SPAN_KIND_SERVER"),
                    ref kind => *kind == Scalar::Integer(2),
                };
                if is_server {
                    packer.span(span);
                }
            }
        }
    }
    Ok(packer.finish())
}

fn array<'t>(raw: &'t Raw<'_>) -> &'t str {
    let text = raw.0.as_deref().map_or("", str::trim_ascii);
    if text.starts_with('[') { text } else { "[]" }
}

fn object<'t>(raw: &'t Raw<'_>) -> &'t str {
    let text = raw.0.as_deref().map_or("", str::trim_ascii);
    // A text that holds an object was not looked into with the rest.
    let is_sound = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if text.starts_with('{') && is_sound() {
        text
    } else {
        "{}"
    }
}

/// Gathers spans of one resource and scope into records.
#[derive(Default)]
struct Packer {
    exported: Exported,
    /// What stands before the spans.
    before: String,
    spans: String,
}

impl Packer {
    /// The spans that follow are of this resource and scope, two JSON objects.
    fn group(&mut self, resource: &str, scope: &str) {
        self.flush();
        let short = |text| match text {
            text if str::len(text) <= RESOURCE_BYTES_MAX / 2 => text,
            _ => "{}",
        };
        self.before = format!(
            "{{\"resourceSpans\":[{{\"resource\":{},\"scopeSpans\":[{{\"scope\":{},\"spans\":[",
            short(resource),
            short(scope)
        );
    }

    /// Takes a server span, a JSON object.
    fn span(&mut self, span: &str) {
        if SPANS_BYTES_MAX < span.len() {
            self.exported.n_too_long += 1;
            return;
        }
        if SPANS_BYTES_MAX < self.spans.len() + span.len() {
            self.flush();
        }
        if !self.spans.is_empty() {
            self.spans.push(',');
        }
        self.spans.push_str(span);
        self.exported.n_spans += 1;
    }

    fn flush(&mut self) {
        if !self.spans.is_empty() {
            let record = format!("{}{}]}}]}}]}}", self.before, self.spans);
            self.exported.records.push(record);
            self.spans.clear();
        }
    }

    fn finish(mut self) -> Exported {
        self.flush();
        self.exported
    }
}

#[cfg(test)]
mod tests;
