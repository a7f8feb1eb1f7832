//! Which format a record has: the last one's first, then by keys that only one format has.

use memchr::memmem;

use super::{Fault, Format, decode_as};
use crate::event::Event;
use crate::reject::RejectReason;

/// Decodes a record of any format.
pub(super) fn decode(text: &str, last: Option<Format>) -> Result<(Format, Event<'_>), Fault> {
    let is_json = text.starts_with('{');
    // A text line may begin like JSON: its first field may be the client's word.
    let sticky = last.filter(|format| is_json || *format == Format::Combined);
    let first_try = sticky.map(|format| (format, decode_as(format, text)));
    if let Some((format, Ok(event))) = first_try {
        return Ok((format, event));
    }
    match (signature(text, is_json), first_try) {
        (Some(format), Some((tried, Err(fault)))) if format == tried => Err(fault),
        (Some(format), _) => decode_as(format, text).map(|event| (format, event)),
        (None, _) => Err(Fault::new(
            RejectReason::UnknownFormat,
            "no known format has its keys",
        )),
    }
}

/// Tells the format by cheap marks; no format shares the key that holds its time.
fn signature(text: &str, is_json: bool) -> Option<Format> {
    let has = |mark: &str| memmem::find(text.as_bytes(), mark.as_bytes()).is_some();
    if !is_json {
        // A request in quotes after a time in brackets.
        return has("] \"").then_some(Format::Combined);
    }
    if has("\"started_at\"") || has("\"latencies\"") {
        Some(Format::Kong)
    } else if has("\"start_time\"") || has("\"response_flags\"") {
        Some(Format::Envoy)
    } else if has("\"request_uri\"")
        || has("\"msec\"")
        || has("\"time_iso8601\"")
        || has("\"remote_addr\"")
        || has("\"target\"")
    {
        Some(Format::Nginx)
    } else {
        None
    }
}
