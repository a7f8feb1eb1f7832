//! Envelopes: what shippers put around a gateway's line.
//!
//! A byte order mark, white space, a CRI prefix (`2025-12-31T17:37:40.49+01:00 stdout F `, which Kubernetes' container runtimes write),
//! or a JSON array of events (Kong http-log with `max_batch_size` above 1). And what some writers do to JSON: bad escapes.

use std::borrow::Cow;

use sonic_rs::LazyValue;

use super::{Fault, combined, json};

/// Bytes within which a CRI prefix ends: a time of up to 35, a stream, a tag.
const CRI_PREFIX_BYTES_MAX: usize = 64;

/// Removes mark, white space and prefix.
pub(super) fn open(text: &str) -> &str {
    let text = text
        .trim_ascii()
        .trim_start_matches('\u{feff}')
        .trim_ascii_start();
    strip_cri(text).unwrap_or(text)
}

fn strip_cri(text: &str) -> Option<&str> {
    let [y1, y2, y3, y4, b'-', ..] = text.as_bytes() else {
        return None;
    };
    if ![y1, y2, y3, y4].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut parts = text.splitn(4, ' ');
    let (time, stream, tag, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_cri = matches!(stream, "stdout" | "stderr")
        && matches!(tag, "F" | "P")
        && time.len() < CRI_PREFIX_BYTES_MAX;
    is_cri.then(|| rest.trim_ascii())
}

/// Says whether a record is a JSON array rather than a line that begins with a bracketed time.
pub(super) fn is_array(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[') else {
        return false;
    };
    matches!(
        inner.trim_ascii_start().as_bytes().first(),
        Some(b'{' | b']' | b'[' | b'"' | b',' | b'n') | None
    ) || (text.ends_with(']') && !inner.contains("] "))
}

/// Yields an array's elements as text; an element that is broken JSON ends the array, as nobody knows where the next begins.
pub(super) fn elements<'a>(text: &'a str) -> impl Iterator<Item = Result<Cow<'a, str>, Fault>> {
    let too_deep = json::check_depth(text).err();
    let elements = too_deep.is_none().then(|| sonic_rs::to_array_iter(text));
    let raw = |element: Result<LazyValue<'a>, sonic_rs::Error>| match element {
        Ok(element) => Ok(element.as_raw_cow()),
        Err(error) => Err(json::syntax(&error)),
    };
    too_deep
        .into_iter()
        .map(Err)
        .chain(elements.into_iter().flatten().map(raw))
}

/// Mends escapes that JSON does not have; `None` if there are none.
///
/// nginx without `escape=json` writes `\x22` for a quote, HAProxy `\c`: without this, a quote in a client's header would make the
/// record unreadable, and the call unseen. `\xHH` becomes its byte, any other bad escape an escaped backslash.
pub(super) fn repair(text: &str) -> Option<String> {
    let mut mended = Vec::with_capacity(text.len() + 16);
    let mut is_mended = false;
    let mut rest = text.as_bytes();
    loop {
        rest = match *rest {
            [] => break,
            [b'\\', b'x', high, low, ref rest @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                is_mended = true;
                match combined::hex(high) << 4 | combined::hex(low) {
                    byte @ (0..0x20 | b'"' | b'\\') => {
                        mended.extend_from_slice(format!("\\u00{byte:02x}").as_bytes())
                    }
                    byte => mended.push(byte),
                }
                rest
            }
            [
                b'\\',
                escape @ (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u'),
                ref rest @ ..,
            ] => {
                mended.extend_from_slice(&[b'\\', escape]);
                rest
            }
            [b'\\', ref rest @ ..] => {
                is_mended = true;
                mended.extend_from_slice(b"\\\\");
                rest
            }
            [byte, ref rest @ ..] => {
                mended.push(byte);
                rest
            }
        };
    }
    is_mended.then(|| String::from_utf8_lossy(&mended).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_taken_off() {
        let rows = [
            ("  {\"a\":1}\r\n", "{\"a\":1}"),
            ("\u{feff}{\"a\":1}", "{\"a\":1}"),
            (
                "2025-12-31T17:37:40.493035218+01:00 stdout F {\"a\":1}\n",
                "{\"a\":1}",
            ),
            ("2025-12-31T17:37:40Z stderr P {\"a\":", "{\"a\":"),
            (
                "2025-12-31T17:37:40Z stdout X {}",
                "2025-12-31T17:37:40Z stdout X {}",
            ),
            ("10.0.0.1 - - [x]", "10.0.0.1 - - [x]"),
            (" \t\n", ""),
        ];
        for (text, want) in rows {
            assert_eq!(open(text), want, "{text:?}");
        }
    }

    #[test]
    fn arrays_are_told_from_bracketed_times() {
        let rows = [
            ("[{\"a\":1}]", true),
            ("[ ]", true),
            ("[1,2]", true),
            ("[", true),
            (
                "[Thu Oct 13 12:24:49.880562 2022] [auth_basic:error] [pid 10] [client 10.0.0.1]",
                false,
            ),
            ("[2016-04-15T20:17:00.310Z] \"GET / HTTP/1.1\" 200", false),
            ("{}", false),
        ];
        for (text, want) in rows {
            assert_eq!(is_array(text), want, "{text:?}");
        }
    }

    #[test]
    fn bad_escapes_are_mended_and_good_ones_stay() {
        let rows = [
            (r#"{"a":"\x22b\xC3\xA9"}"#, Some(r#"{"a":"\u0022bé"}"#)),
            (r#"{"a":"\\x22"}"#, None),
            (r#"{"a":"\c"}"#, Some(r#"{"a":"\\c"}"#)),
            (r#"{"a":"\n\u00e9\""}"#, None),
        ];
        for (text, want) in rows {
            assert_eq!(repair(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_broken_element_ends_its_array() {
        let n_ok = |text| elements(text).filter(Result::is_ok).count();
        let n_bad = |text| elements(text).filter(Result::is_err).count();
        assert_eq!((n_ok("[{},{}]"), n_bad("[{},{}]")), (2, 0));
        assert_eq!(
            (n_ok("[{},{\"a\":}, {}]"), n_bad("[{},{\"a\":}, {}]")),
            (1, 1)
        );
        assert_eq!((n_ok("[{},"), n_bad("[{},")), (1, 1));
    }
}
