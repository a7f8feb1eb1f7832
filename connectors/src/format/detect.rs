//! Which format a record has: the last one's first, then by marks that only one format has.

use memchr::memmem;

use super::{Fault, Format, SPECS, decode_as};
use crate::event::Event;
use crate::reject::RejectReason;

/// Decodes a record of any format; `last` is the format of the last that was decoded, and becomes this one's.
pub(super) fn decode<'a>(text: &'a str, last: &mut Option<Format>) -> Result<Event<'a>, Fault> {
    let is_json = text.starts_with('{');
    // What a record is must not hang on the one before it: some decoders would take another format's keys.
    let fits = |format: &Format| {
        format
            .spec()
            .is_some_and(|spec| spec.shape.fits(is_json) && (spec.looks_like)(text))
    };
    let mut tried = None;
    if let Some(format) = last.filter(fits) {
        match decode_as(format, text) {
            Ok(event) => return Ok(event),
            Err(fault) => tried = Some((format, fault)),
        }
    }
    let fault = match (signature(text, is_json), tried) {
        (Some(format), Some((tried, fault))) if format == tried => fault,
        (Some(format), _) => match decode_as(format, text) {
            Ok(event) => {
                *last = Some(format);
                return Ok(event);
            }
            Err(fault) => fault,
        },
        (None, _) => Fault::new(RejectReason::UnknownFormat, "no known format has its keys"),
    };
    // A text line may begin like JSON: its first field may be the client's word.
    match is_json.then(|| decode_line(text)).flatten() {
        Some((format, event)) => {
            *last = Some(format);
            Ok(event)
        }
        None => Err(fault),
    }
}

/// Decodes a line of any text format, whatever it begins with.
pub(super) fn decode_line(text: &str) -> Option<(Format, Event<'_>)> {
    let format = signature(text, false)?;
    decode_as(format, text).ok().map(|event| (format, event))
}

/// Tells the format by cheap marks.
fn signature(text: &str, is_json: bool) -> Option<Format> {
    SPECS
        .iter()
        .filter(|spec| spec.shape.fits(is_json))
        .find(|spec| (spec.looks_like)(text))
        .map(|spec| spec.format)
}

/// Says whether a text has one of these marks.
///
/// A JSON key in its quotes is a mark that no client can forge: inside a value its quotes are escaped.
pub(super) fn has_any(text: &str, marks: &[&str]) -> bool {
    marks
        .iter()
        .any(|mark| memmem::find(text.as_bytes(), mark.as_bytes()).is_some())
}
