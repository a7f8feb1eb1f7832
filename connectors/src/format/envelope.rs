//! Envelopes: what shippers put around a gateway's line.
//!
//! A byte order mark, white space, a CRI prefix (`2025-12-31T17:37:40.49+01:00 stdout F `, which Kubernetes' container runtimes write;
//! `P` instead of `F` marks a line they cut), a syslog header, or a JSON array of events (Kong http-log with `max_batch_size` above 1).
//! And what some writers do to JSON: bad escapes. **Invariant**: every byte of a record but white space belongs to an element or makes
//! a fault.
//!
//! A JSON object that is no event of its own may hold the gateway's line, or many ([`unwrap`]):
//!
//! | who wraps | where the line is |
//! |---|---|
//! | Azure diagnostic settings (Event Hubs) | `records[]` |
//! | CloudWatch Logs subscription (`messageType` `DATA_MESSAGE`) | `logEvents[].message` |
//! | Filebeat, Elastic Agent, Logstash | `message`, `event.original` |
//! | Vector, journald (`MESSAGE`) | `message` |
//! | Docker's json-file, Fluent Bit, Fluentd | `log`; `log_processed` (`Merge_Log_Key`) |
//! | Splunk HEC | `event` |
//! | Cloud Logging | `jsonPayload`, `textPayload` |

use std::borrow::Cow;
use std::{iter, mem};

use super::json::{Raw, Scalar, object, read};
use super::words::hex;
use super::{Fault, syslog};
use crate::reject::RejectReason;

/// Bytes within which a CRI prefix ends: a time of up to 35, a stream, a tag.
const CRI_PREFIX_BYTES_MAX: usize = 64;

/// A record without its envelope.
#[derive(Debug, PartialEq)]
pub(super) struct Opened<'a> {
    pub(super) text: &'a str,
    /// The container runtime cut the line here, mostly at 16 KiB: it goes on in the next record (CRI tag `P`). The last piece is tagged
    /// `F` as whole lines are; what came before it is not remembered, so that a record decodes to the same after a restart.
    pub(super) is_partial: bool,
}

/// Removes mark, white space and prefix.
pub(super) fn open(text: &str) -> Opened<'_> {
    let mut text = text.trim_ascii();
    // Seldom there, and looked for by its first byte.
    if text.as_bytes().first() == Some(&0xef) {
        text = text.trim_start_matches('\u{feff}').trim_ascii_start();
    }
    if text.starts_with('{') {
        return Opened {
            text,
            is_partial: false,
        };
    }
    strip_cri(text).unwrap_or_else(|| Opened {
        text: syslog::strip(text).unwrap_or(text),
        is_partial: false,
    })
}

fn strip_cri(text: &str) -> Option<Opened<'_>> {
    let [y1, y2, y3, y4, b'-', ..] = text.as_bytes() else {
        return None;
    };
    if ![y1, y2, y3, y4].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut parts = text.splitn(4, ' ');
    let (time, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
    let is_cri = matches!(stream, "stdout" | "stderr")
        && matches!(tag, "F" | "P")
        && time.len() < CRI_PREFIX_BYTES_MAX;
    is_cri.then(|| Opened {
        // The last piece of a line that ended at the limit is empty.
        text: parts.next().unwrap_or_default().trim_ascii(),
        is_partial: tag == "P",
    })
}

/// What an object holds that wraps others.
#[derive(Debug, PartialEq)]
pub(super) enum Wrapped<'a> {
    /// A line, an object or a JSON array of them, in an envelope of its own or not.
    Text(Cow<'a, str>),
    /// Nothing that could be a call, and what it is.
    Nothing(&'static str),
}

object! {
    struct Wrapper {
        records: Raw<'a> = "records",
        log_events: Raw<'a> = "logEvents",
        message_type: Scalar<'a> = "messageType",
        processed: Raw<'a> = "log_processed",
        message: Raw<'a> = "message",
        log: Raw<'a> = "log",
        event: Raw<'a> = "event" | "original",
        payload: Raw<'a> = "jsonPayload" | "textPayload",
    }
}

/// What an envelope is that wraps no record.
pub(super) const WITHOUT_RECORDS: &str = "an envelope without records";

/// Opens an object that is no event; `None` if it wraps nothing.
pub(super) fn unwrap(text: &str) -> Option<Wrapped<'_>> {
    let wrapper: Wrapper<'_> = read(text).ok()?;
    if wrapper.message_type == Scalar::Text("CONTROL_MESSAGE".into()) {
        return Some(Wrapped::Nothing("a control message of CloudWatch Logs"));
    }
    for array in [wrapper.records, wrapper.log_events] {
        if let Some(array) = array.0.filter(|array| array.starts_with('[')) {
            let is_empty = array[1..].trim_ascii_start().starts_with(']');
            return Some(if is_empty {
                Wrapped::Nothing(WITHOUT_RECORDS)
            } else {
                Wrapped::Text(array)
            });
        }
    }
    // Filebeat's `log` is about the file where `message` is the line.
    [
        wrapper.processed,
        wrapper.message,
        wrapper.event,
        wrapper.payload,
        wrapper.log,
    ]
    .into_iter()
    .find_map(|line| line.0)
    .map(Wrapped::Text)
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

/// Yields an array's elements as text, in order, then a fault if the array does not end where the record does.
///
/// Elements are cut at commas outside strings and brackets, and not looked into: one with a bad escape or a missing value is mended or
/// rejected by its decoder, and its neighbours stay events. Only when a quote or a bracket is missing nobody knows where the next
/// begins: that ends the array.
pub(super) fn elements(text: &str) -> impl Iterator<Item = Result<&str, Fault>> {
    let fault = |detail| Some(Err(Fault::new(RejectReason::Malformed, detail)));
    let mut rest = text.strip_prefix('[');
    let (mut after, mut is_first) = ("", true);
    iter::from_fn(move || {
        if let Some(from) = rest.take() {
            let Some(end) = element_end(from.as_bytes()) else {
                return fault("the array ends early, or its brackets do not match");
            };
            match from[end..].strip_prefix(',') {
                Some(next) => rest = Some(next),
                None => after = from[end + 1..].trim_ascii(),
            }
            let element = from[..end].trim_ascii();
            let is_array_empty = mem::take(&mut is_first) && rest.is_none() && element.is_empty();
            if !is_array_empty {
                return Some(Ok(element));
            }
        }
        match mem::take(&mut after) {
            "" => None,
            _ => fault("there is more after the array"),
        }
    })
}

/// Where the comma or bracket is that ends an element; `None` if there is none.
fn element_end(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at + 1)?,
            b'{' | b'[' => depth += 1,
            b',' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => (),
        }
        at += 1;
    }
}

/// Where the quote is that ends a string.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Mends escapes that JSON does not have; `None` if there are none.
///
/// nginx without `escape=json` writes `\x22` for a quote, HAProxy `\c`: without this, a quote in a client's header would make the
/// record unreadable, and the call unseen. `\xHH` becomes its byte, half a surrogate pair (bytes that were no UTF-8, as Python writes
/// them) U+FFFD, a control character in a string its escape, any other bad escape an escaped backslash.
pub(super) fn repair(text: &str) -> Option<String> {
    let mut mended = Vec::with_capacity(text.len() + 16);
    let (mut is_mended, mut in_string) = (false, false);
    let mut rest = text.as_bytes();
    loop {
        rest = match *rest {
            [] => break,
            [b'\\', b'x', high, low, ref rest @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                is_mended = true;
                match hex(high) << 4 | hex(low) {
                    byte @ (0..0x20 | b'"' | b'\\') => push_escaped(&mut mended, byte),
                    byte => mended.push(byte),
                }
                rest
            }
            [b'\\', b'u', ..] if code_unit(rest).is_some() => {
                let n_bytes = match (code_unit(rest), code_unit(&rest[6..])) {
                    (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
                    (Some(0xd800..0xe000), _) => 0,
                    _ => 6,
                };
                mended.extend_from_slice(&rest[..n_bytes]);
                if n_bytes == 0 {
                    is_mended = true;
                    mended.extend_from_slice("\u{fffd}".as_bytes());
                }
                &rest[n_bytes.max(6)..]
            }
            [
                b'\\',
                escape @ (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'),
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
            [byte @ ..0x20, ref rest @ ..] if in_string => {
                is_mended = true;
                push_escaped(&mut mended, byte);
                rest
            }
            [byte, ref rest @ ..] => {
                in_string ^= byte == b'"';
                mended.push(byte);
                rest
            }
        };
    }
    is_mended.then(|| String::from_utf8_lossy(&mended).into_owned())
}

fn push_escaped(text: &mut Vec<u8>, byte: u8) {
    text.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
}

/// The UTF-16 code unit that a text begins with as `\uHHHH`.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| {
        digit
            .is_ascii_hexdigit()
            .then(|| unit << 4 | u16::from(hex(*digit)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_taken_off() {
        let rows = [
            ("  {\"a\":1}\r\n", "{\"a\":1}", false),
            ("\u{feff}{\"a\":1}", "{\"a\":1}", false),
            (
                "2025-12-31T17:37:40.493035218+01:00 stdout F {\"a\":1}\n",
                "{\"a\":1}",
                false,
            ),
            ("2025-12-31T17:37:40Z stderr P {\"a\":", "{\"a\":", true),
            ("2025-12-31T17:37:40Z stdout F \n", "", false),
            (
                "2025-12-31T17:37:40Z stdout X {}",
                "2025-12-31T17:37:40Z stdout X {}",
                false,
            ),
            ("10.0.0.1 - - [x]", "10.0.0.1 - - [x]", false),
            (" \t\n", "", false),
        ];
        for (text, want, is_partial) in rows {
            assert_eq!(
                open(text),
                Opened {
                    text: want,
                    is_partial
                },
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_an_object_wraps_is_found() {
        let line = |text: &'static str| Some(Wrapped::Text(text.into()));
        let rows = [
            (
                r#"{"log":"a \"b\"\n","stream":"stdout"}"#,
                line("a \"b\"\n"),
            ),
            (r#"{"log":{"file":{"path":"p"}},"message":"a"}"#, line("a")),
            (r#"{"MESSAGE":"a","_PID":"1"}"#, line("a")),
            (r#"{"event":{"original":"a"}}"#, line(r#"{"original":"a"}"#)),
            (r#"{"event":"a","sourcetype":"x"}"#, line("a")),
            (r#"{"message":"","log":"a"}"#, line("a")),
            (
                r#"{"jsonPayload":{"a":1},"resource":{}}"#,
                line(r#"{"a":1}"#),
            ),
            (
                r#"{"records":[{"a":1}]}"#,
                Some(Wrapped::Text(r#"[{"a":1}]"#.into())),
            ),
            (
                r#"{"messageType":"DATA_MESSAGE","logEvents":[{"message":"a"}]}"#,
                Some(Wrapped::Text(r#"[{"message":"a"}]"#.into())),
            ),
            (
                r#"{"messageType":"CONTROL_MESSAGE","logEvents":[{"message":"a"}]}"#,
                Some(Wrapped::Nothing("a control message of CloudWatch Logs")),
            ),
            (
                r#"{"records":[ ]}"#,
                Some(Wrapped::Nothing("an envelope without records")),
            ),
            (r#"{"records":5,"message":7}"#, None),
            (r#"{"a":1}"#, None),
            (r#"{"log":"#, None),
        ];
        for (text, want) in rows {
            assert_eq!(unwrap(text), want, "{text}");
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
            (r#"{"a":"\ud83d\ude00"}"#, None),
            (
                r#"{"a":"\ud83dx\uDe00"}"#,
                Some("{\"a\":\"\u{fffd}x\u{fffd}\"}"),
            ),
            (
                r#"{"a":"\ud83d\u0041"}"#,
                Some("{\"a\":\"\u{fffd}\\u0041\"}"),
            ),
            (r#"{"a":"\u12"}"#, Some(r#"{"a":"\\u12"}"#)),
            (
                "{\t\"a\":\"\t\\\"\u{1}\"\n}",
                Some("{\t\"a\":\"\\u0009\\\"\\u0001\"\n}"),
            ),
            ("{\t\"a\":\"\"\n}", None),
        ];
        for (text, want) in rows {
            assert_eq!(repair(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn arrays_are_cut_into_elements_and_what_is_left_is_a_fault() {
        const EARLY: &str = "the array ends early, or its brackets do not match";
        const MORE: &str = "there is more after the array";
        let rows: [(&str, &[&str], Option<&str>); 16] = [
            ("[]", &[], None),
            ("[ ]", &[], None),
            (
                "[1, {\"a\":[2,3]} ,\"x\"]",
                &["1", "{\"a\":[2,3]}", "\"x\""],
                None,
            ),
            ("[\"]\", \",\\\"]\"]", &["\"]\"", "\",\\\"]\""], None),
            (
                "[\"\\x22\",\"\\\\\",1]",
                &["\"\\x22\"", "\"\\\\\"", "1"],
                None,
            ),
            ("[{},{\"a\":}, {}]", &["{}", "{\"a\":}", "{}"], None),
            ("[{},]", &["{}", ""], None),
            ("[,]", &["", ""], None),
            ("[{}] [{},{}]", &["{}"], Some(MORE)),
            ("[]]", &[], Some(MORE)),
            ("[{},", &["{}"], Some(EARLY)),
            ("[{},{\"a", &["{}"], Some(EARLY)),
            ("[{},{\"a\\", &["{}"], Some(EARLY)),
            ("[{},}]", &["{}"], Some(EARLY)),
            ("[", &[], Some(EARLY)),
            ("[[[", &[], Some(EARLY)),
        ];
        for (text, want, fault) in rows {
            let (mut got, mut faults) = (Vec::new(), Vec::new());
            for element in elements(text) {
                match element {
                    Ok(element) => got.push(element),
                    Err(fault) => faults.push(fault.detail.into_owned()),
                }
            }
            assert_eq!(got, want, "{text}");
            assert_eq!(faults, Vec::from_iter(fault), "{text}");
        }
    }
}
