//! Combined and common logs of nginx and Apache: text, one line per request.
//!
//! ```text
//! [vhost[:port] ]address ident user [10/Oct/2000:13:55:36 -0700] "GET /a?b HTTP/1.1" 200 2326[ "referer" "user agent"][ trailing …]
//! ```
//!
//! | event | line |
//! |---|---|
//! | `event_time_ms` | time in brackets, 1 s, any offset; Apache: the request's start, nginx: its **end** |
//! | `method`, `path`, `query` | request line, raw |
//! | `scheme`, `host` | of an absolute target; else `host` is the vhost in front, without port |
//! | `status` | three digits; `-` and 000 are none |
//! | `response_bytes` | `%b` or `$body_bytes_sent`, `-` is 0 (body; Apache's `%O` counts headers too) |
//! | `client_ip` | address (a name with Apache's `HostnameLookups`) |
//! | `principal` | user, may hold spaces |
//! | `referer`, `user_agent` | quoted, absent in the common log |
//! | `latency_us` | first trailing field: digits are microseconds (Apache `%D`), a decimal fraction is seconds (`$request_time`) |
//! | `request_id` | trailing field after it: letters and digits, at least 8 (Apache `%{UNIQUE_ID}e`, `$request_id`) |
//!
//! Escapes inside quotes: `\xHH` (both), `\"`, `\\`, `\n`, `\t` … (Apache). Bytes that are not UTF-8 afterwards are replaced.
//!
//! Traps: a request line that is not HTTP (`\x16\x03\x01`: TLS to a plain port) is rejected, not an event; error-log lines have no
//! time of this form; a quoted trailing field is `X-Forwarded-For` in nginx's packaged `main` format: the client's word, not read;
//! the user is the client's word too when the status is 401.

use std::borrow::Cow;

use super::json::believe;
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};
use crate::reject::RejectReason;
use crate::time;

pub(super) const DESCRIPTION: &str =
    "nginx and Apache combined and common logs, with vhost, duration or id if there";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Never,
    host: Presence::Configured,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Never,
    request_headers: Presence::Never,
    response_headers: Presence::Never,
    body: Presence::Never,
};

/// Bytes of `dd/Mon/yyyy:HH:MM:SS +zzzz`.
const CLF_BYTES: usize = 26;

/// Decodes one line.
pub(super) fn decode(line: &str) -> Result<Event<'_>, Fault> {
    let (prefix, event_time_ms, rest) = at_time(line)?;
    let event_time_ms = believe(event_time_ms, "time")?;
    let caller = caller(prefix);
    let mut rest = Fields { rest };
    let request = rest.quoted().ok_or_else(|| broken("request"))?;
    let (method, target) = target::request_line(request)?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(target);
    let status = rest.word().ok_or_else(|| broken("status"))?;
    let status = match status {
        "-" => None,
        digits => Some(
            digits
                .parse::<u16>()
                .map_err(|_| Fault::wrong_type("status", "a number"))?,
        ),
    };
    let response_bytes = match rest.word() {
        None => None,
        Some("-") => Some(0),
        Some(digits) => Some(
            digits
                .parse::<i64>()
                .map_err(|_| Fault::wrong_type("size", "a number"))?,
        ),
    };
    let referer = rest.quoted().and_then(known);
    let user_agent = rest.quoted().and_then(known);
    let trailing = trailing(rest);
    Ok(Event {
        event_time_ms,
        gateway: "combined",
        method,
        scheme,
        host: host.or(caller.vhost.map(Cow::Borrowed)),
        path,
        query,
        status: status.filter(|status| (100..=999).contains(status)),
        response_bytes: response_bytes.filter(|bytes| 0 <= *bytes),
        latency_us: trailing.latency_us,
        client_ip: caller
            .address
            .and_then(|address| target::address(address.into())),
        user_agent,
        principal: caller.user.map(Cow::Borrowed),
        request_id: trailing.request_id.map(Cow::Borrowed),
        referer,
        ..Event::default()
    })
}

fn broken(field: &'static str) -> Fault {
    Fault::new(
        RejectReason::Malformed,
        format!("no {field} where the combined log has it"),
    )
}

/// Cuts the line at its time: what is before it, the time, what is after it.
///
/// A user name may hold brackets, even a time; the real one is followed by the quoted request, which both servers keep a user
/// name from imitating by escaping its quotes.
fn at_time(line: &str) -> Result<(&str, i64, &str), Fault> {
    let bytes = line.as_bytes();
    let found = memchr::memchr_iter(b'[', bytes).find_map(|at| {
        let inner = bytes.get(at + 1..at + 1 + CLF_BYTES)?;
        let rest_start = at + 1 + CLF_BYTES;
        bytes
            .get(rest_start..rest_start + 3)
            .filter(|tail| tail == b"] \"")?;
        Some((at, time::parse_clf(inner)?, rest_start + 2))
    });
    let (at, time_ms, rest_start) = found.ok_or_else(|| broken("time"))?;
    Ok((&line[..at], time_ms, &line[rest_start..]))
}

/// What stands before the time.
#[derive(Debug, Default, PartialEq)]
struct Caller<'a> {
    vhost: Option<&'a str>,
    address: Option<&'a str>,
    user: Option<&'a str>,
}

fn caller(prefix: &str) -> Caller<'_> {
    let known = |text: &'_ str| !matches!(text, "" | "-");
    let is_ip = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
    let prefix = prefix.trim_ascii();
    let (first, after_first) = prefix.split_once(' ').unwrap_or((prefix, ""));
    let (second, after_second) = after_first.split_once(' ').unwrap_or((after_first, ""));
    let has_vhost = !is_ip(first) && is_ip(second);
    let (vhost, address, rest) = if has_vhost {
        (Some(first), second, after_second)
    } else {
        (None, first, after_first)
    };
    // Then ident and user; one word alone is the user.
    let user = rest
        .split_once(' ')
        .map_or(rest, |(_, user)| user)
        .trim_ascii();
    Caller {
        vhost: vhost.map(|name| name.rsplit_once(':').map_or(name, |(name, _)| name)),
        address: Some(address).filter(|text| known(text)),
        user: Some(user).filter(|text| known(text)),
    }
}

/// The fields after the time, one after the other.
struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Fields<'a> {
    /// Takes a word without quotes.
    fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_ascii_start();
        if rest.is_empty() || rest.starts_with('"') {
            return None;
        }
        let end = memchr::memchr(b' ', rest.as_bytes()).unwrap_or(rest.len());
        self.rest = &rest[end..];
        Some(&rest[..end])
    }

    /// Takes a quoted text, without quotes and escapes; `None` if the next field is not quoted or never ends.
    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let inner = self.rest.trim_ascii_start().strip_prefix('"')?;
        let bytes = inner.as_bytes();
        let (mut at, mut is_escaped) = (0, false);
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                break;
            }
            is_escaped = true;
            at += 2;
        }
        self.rest = &inner[at + 1..];
        let text = &inner[..at];
        Some(if is_escaped {
            unescape(text)
        } else {
            Cow::Borrowed(text)
        })
    }
}

fn known(text: Cow<'_, str>) -> Text<'_> {
    (!matches!(text.as_ref(), "" | "-")).then_some(text)
}

fn unescape(text: &str) -> Cow<'_, str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match *rest {
            [] => break,
            [b'\\', b'x', high, low, ref rest @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex(high) << 4 | hex(low));
                rest
            }
            [b'\\', escape, ref rest @ ..] => {
                bytes.push(match escape {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    b'v' => 11,
                    other => other,
                });
                rest
            }
            [byte, ref rest @ ..] => {
                bytes.push(byte);
                rest
            }
        };
    }
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into(),
    }
}

/// Value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// What may follow the user agent.
#[derive(Debug, Default)]
struct Trailing<'a> {
    latency_us: Option<i64>,
    request_id: Option<&'a str>,
}

fn trailing(mut fields: Fields<'_>) -> Trailing<'_> {
    const ID_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
    let mut trailing = Trailing::default();
    while !fields.rest.trim_ascii_start().is_empty() {
        let Some(word) = fields.word() else {
            if fields.quoted().is_none() {
                break;
            }
            continue;
        };
        let is_id =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'@' | b'+' | b'/');
        if trailing.latency_us.is_none()
            && trailing.request_id.is_none()
            && latency_us(word).is_some()
        {
            trailing.latency_us = latency_us(word);
        } else if trailing.request_id.is_none()
            && ID_BYTES.contains(&word.len())
            && word.bytes().all(is_id)
        {
            trailing.request_id = Some(word);
        }
    }
    trailing
}

/// Digits are microseconds, a decimal fraction is seconds.
fn latency_us(word: &str) -> Option<i64> {
    if !word.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    match word.parse::<i64>() {
        Ok(latency_us) => Some(latency_us),
        Err(_) => word
            .parse::<f64>()
            .ok()
            .filter(|s| *s < 1e6)
            .map(|seconds| (seconds * 1e6).round() as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::caller;
    use crate::format::Format::Combined;
    use crate::format::tests::{COMBINED, assert_has, assert_lacks, print};

    #[test]
    fn an_apache_line_with_duration_and_id_is_mapped() {
        // From the captures.
        let line = r#"198.18.216.125 - umbra_a3915 [02/Mar/2026:14:17:29 +0000] "GET /api/orders?customerId=7016&_page=3 HTTP/1.1" 200 2 "-" "Mozilla/5.0 (Macintosh)" 5647 13IZOPQAAAE0"#;
        let want = [
            "event_time=2026-03-02T14:17:29Z",
            "status=200",
            "response_bytes=2",
            "latency_us=5647",
            "gateway=combined",
            "method=GET",
            "path=/api/orders",
            "query=customerId=7016&_page=3",
            "client_ip=198.18.216.125",
            "user_agent=Mozilla/5.0 (Macintosh)",
            "principal=umbra_a3915",
            "request_id=13IZOPQAAAE0",
        ];
        assert_eq!(print(Combined, line), want);
    }

    #[test]
    fn common_logs_offsets_and_trailing_fields_are_read() {
        let head = r#"10.0.0.9 - - [05/Jan/2026:00:00:00 +0545] "GET /a HTTP/1.0""#;
        let rows = [
            (" 200 1513", "response_bytes=1513"),
            (" 200 1513", "event_time=2026-01-04T18:15:00Z"),
            (" 200 -", "response_bytes=0"),
            (r#" 200 1 "r" "u""#, "referer=r"),
            (r#" 200 1 "r" "u" "6.6.6.6""#, "client_ip=10.0.0.9"),
            (r#" 200 1 "r" "u" "6.6.6.6" 0.004"#, "latency_us=4000"),
            (
                r#" 200 1 "r" "u" 0.004 c4d4357a590edf52"#,
                "request_id=c4d4357a590edf52",
            ),
            (r#" 404 1 "a\"b\\c" "u""#, r#"referer=a"b\c"#),
            (
                r#" 404 1 "-" "a\x22b\x5Cc\xC3\xA9\x3""#,
                r#"user_agent=a"b\céx3"#,
            ),
            (r#" 404 1 "-" "\xFF""#, "user_agent=\u{fffd}"),
            (r#" 404 1 "-" "never ends"#, "status=404"),
        ];
        for (tail, want) in rows {
            assert_has(Combined, &format!("{head}{tail}"), &[want]);
        }
        assert_lacks(Combined, &format!("{head} 000 1"), "status");
        assert_lacks(Combined, &format!("{head} - 1"), "status");
    }

    #[test]
    fn who_called_is_told_from_the_host_that_was_called() {
        let rows = [
            ("10.0.0.1 - -", (None, Some("10.0.0.1"), None)),
            ("10.0.0.1 - bob", (None, Some("10.0.0.1"), Some("bob"))),
            (
                "10.0.0.1 - bob van dyk",
                (None, Some("10.0.0.1"), Some("bob van dyk")),
            ),
            ("10.0.0.1 -", (None, Some("10.0.0.1"), None)),
            ("::1 - -", (None, Some("::1"), None)),
            (
                "www.a.example 10.0.0.1 - -",
                (Some("www.a.example"), Some("10.0.0.1"), None),
            ),
            (
                "www.a.example:443 10.0.0.1 - bob",
                (Some("www.a.example"), Some("10.0.0.1"), Some("bob")),
            ),
            (
                "client.example - bob",
                (None, Some("client.example"), Some("bob")),
            ),
            ("", (None, None, None)),
        ];
        for (prefix, want) in rows {
            let got = caller(prefix);
            assert_eq!((got.vhost, got.address, got.user), want, "{prefix}");
        }
    }

    #[test]
    fn a_user_name_cannot_forge_the_time() {
        let line = COMBINED.replace(
            "ann",
            r#"x [01/Jan/2020:00:00:00 +0000] \"GET /forged HTTP/1.1\""#,
        );
        assert_has(
            Combined,
            &line,
            &["event_time=2026-01-05T00:00:00Z", "path=/a/7"],
        );
    }

    #[test]
    fn what_is_no_request_is_rejected() {
        let with = |request: &str| COMBINED.replace("GET /a/7?x=1 HTTP/1.1", request);
        let rows = [
            (
                with(r"\x16\x03\x01\x02 garbage"),
                "malformed: the request line is not HTTP",
            ),
            (
                with(r"lv|'|'|VHJvamFu"),
                "malformed: the request line is not HTTP",
            ),
            (with("-"), "missing_field: request line"),
            (with(""), "missing_field: request line"),
            (
                COMBINED.replace("05/Jan", "35/Jan"),
                "malformed: no time where the combined log has it",
            ),
            (
                COMBINED.replace("2026", "1999"),
                "absurd_time: time is 915494400000 ms since 1970",
            ),
            (
                COMBINED.replace(" 200 20", " OK 20"),
                "wrong_type: status is not a number",
            ),
            (
                COMBINED.replace(" 200 20 ", " "),
                "malformed: no status where the combined log has it",
            ),
            (
                "[Thu Oct 13 12:24:49.880562 2022] [core:error] [client 10.0.0.1:1] AH: x"
                    .to_owned(),
                "malformed: no time where the combined log has it",
            ),
        ];
        for (line, want) in rows {
            assert_eq!(print(Combined, &line), [want], "{line}");
        }
        assert_has(
            Combined,
            &with(r"GET /api/\xFF\xFE HTTP/1.1"),
            &["path=/api/\u{fffd}\u{fffd}"],
        );
        assert_has(
            Combined,
            &with("GET http://h.example/a?b HTTP/1.1"),
            &["host=h.example", "path=/a", "scheme=http"],
        );
    }
}
