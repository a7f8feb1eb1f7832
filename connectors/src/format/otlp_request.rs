//! Export requests of OTLP (traces here, logs in [`mod@logs`]; OTLP 1.0 to 1.9) as records that [`super::otlp`] reads.
//!
//! A request becomes one record a resource and scope, or more where it would be too long for one, in OTLP's JSON whichever way it
//! came. Only server spans are kept, as only they are calls, and of them what the decoder asks for and ids: no events and no links.
//! Of JSON the kept spans stay as they were written.

use super::envelope;
use super::json::{Raw, Scalar, object, read};

pub mod logs;
mod protobuf;

/// Bytes of spans, or of log records, in one record: with their resource below [`super::RECORD_BYTES_MAX`], and below what brokers take by default.
const ITEMS_BYTES_MAX: usize = 768 << 10;
/// Bytes of a resource or scope that is written; a longer one is left out.
const RESOURCE_BYTES_MAX: usize = 128 << 10;

/// What became of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Export requests in JSON, each with some of the spans or log records; and lines that log records wrap.
    pub records: Vec<String>,
    /// Server spans, or log records, in them.
    pub n_items: u64,
    /// Those that are too long for a record, and are in none.
    pub n_too_long: u64,
}

/// Makes records of a request in JSON.
///
/// # Errors
/// It is malformed; what is wrong, without any of it.
pub fn from_json(body: &[u8]) -> Result<Exported, String> {
    spans_of_json(sound(body)?).map_err(|fault| fault.detail.into_owned())
}

/// A body as JSON without white space around it.
fn sound(body: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
    // Whole values are cut out of it, so each must be sound before it stands beside others in a record.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| {
        format!(
            "JSON syntax at line {} column {}",
            error.line(),
            error.column()
        )
    })?;
    Ok(text.trim_ascii())
}

/// Makes records of a request in protobuf.
///
/// # Errors
/// It is malformed; what is wrong, without any of it.
pub fn from_protobuf(body: &[u8]) -> Result<Exported, String> {
    protobuf::spans(body)
}

/// The answer to a request of which so many spans were not taken.
pub fn answer_json(n_too_long: u64) -> String {
    partial_success("rejectedSpans", n_too_long)
}

fn partial_success(rejected: &str, n_too_long: u64) -> String {
    if n_too_long == 0 {
        return "{}".to_owned();
    }
    let partial = serde_json::json!({ rejected: n_too_long.to_string(), "errorMessage": TOO_LONG });
    serde_json::json!({ "partialSuccess": partial }).to_string()
}

/// The same as `ExportTraceServiceResponse`, whose fields have the numbers of `ExportLogsServiceResponse`.
pub fn answer_protobuf(n_too_long: u64) -> Vec<u8> {
    protobuf::answer(n_too_long, TOO_LONG)
}

/// Why a request was not taken, as `google.rpc.Status`.
pub fn status_protobuf(why: &str) -> Vec<u8> {
    protobuf::status(why)
}

/// The same with a gRPC status code and a `google.rpc.RetryInfo`: how many seconds to wait before it is sent again.
pub fn retry_protobuf(code: u8, why: &str, seconds: u8) -> Vec<u8> {
    protobuf::status_to_retry(code, why, seconds)
}

const TOO_LONG: &str = "too long for a record";

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
    let mut packer = Packer::new(&SPANS);
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
                    packer.item(span);
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

/// What a signal's lists are called in OTLP's JSON, the outermost first.
struct Names([&'static str; 3]);

const SPANS: Names = Names(["resourceSpans", "scopeSpans", "spans"]);

/// Gathers spans, or log records, of one resource and scope into records.
struct Packer {
    names: &'static Names,
    exported: Exported,
    /// What stands before the items.
    before: String,
    items: String,
}

impl Packer {
    fn new(names: &'static Names) -> Packer {
        Packer {
            names,
            exported: Exported::default(),
            before: String::new(),
            items: String::new(),
        }
    }

    /// The items that follow are of this resource and scope, two JSON objects.
    fn group(&mut self, resource: &str, scope: &str) {
        self.flush();
        let short = |text| match text {
            text if str::len(text) <= RESOURCE_BYTES_MAX / 2 => text,
            _ => "{}",
        };
        let Names([resources, scopes, items]) = self.names;
        self.before = format!(
            "{{\"{resources}\":[{{\"resource\":{},\"{scopes}\":[{{\"scope\":{},\"{items}\":[",
            short(resource),
            short(scope)
        );
    }

    /// Takes an item, a JSON object.
    fn item(&mut self, item: &str) {
        if ITEMS_BYTES_MAX < item.len() {
            self.exported.n_too_long += 1;
            return;
        }
        if ITEMS_BYTES_MAX < self.items.len() + item.len() {
            self.flush();
        }
        if !self.items.is_empty() {
            self.items.push(',');
        }
        self.items.push_str(item);
        self.exported.n_items += 1;
    }

    /// Takes a line, which is a record by itself.
    fn line(&mut self, line: String) {
        if ITEMS_BYTES_MAX < line.len() {
            self.exported.n_too_long += 1;
            return;
        }
        // What came before it stays before it.
        self.flush();
        self.exported.records.push(line);
        self.exported.n_items += 1;
    }

    fn flush(&mut self) {
        if !self.items.is_empty() {
            let record = format!("{}{}]}}]}}]}}", self.before, self.items);
            self.exported.records.push(record);
            self.items.clear();
        }
    }

    fn finish(mut self) -> Exported {
        self.flush();
        self.exported
    }
}

#[cfg(test)]
mod tests;
