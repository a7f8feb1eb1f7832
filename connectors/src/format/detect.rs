//! Which format a record has: the last one's first, then by marks that only one format has.

use memchr::memmem;

use super::{Fault, Format, SPECS, decode_as};
use crate::event::Event;
use crate::reject::RejectReason;

/// Decodes a record of any format.
pub(super) fn decode(text: &str, last: Option<Format>) -> Result<(Format, Event<'_>), Fault> {
    let is_json = text.starts_with('{');
    // What a record is must not hang on the one before it: some decoders would take another format's keys.
    let fits = |format: &Format| {
        format
            .spec()
            .is_some_and(|spec| spec.shape.fits(is_json) && (spec.looks_like)(text))
    };
    let first_try = last
        .filter(fits)
        .map(|format| (format, decode_as(format, text)));
    if let Some((format, Ok(event))) = first_try {
        return Ok((format, event));
    }
    let found = match (signature(text, is_json), first_try) {
        (Some(format), Some((tried, Err(fault)))) if format == tried => Err(fault),
        (Some(format), _) => decode_as(format, text).map(|event| (format, event)),
        (None, _) => Err(Fault::new(
            RejectReason::UnknownFormat,
            "no known format has its keys",
        )),
    };
    // A text line may begin like JSON: its first field may be the client's word.
    found.or_else(|fault| {
        let line = is_json.then(|| decode_line(text)).flatten();
        line.ok_or(fault)
    })
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
