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
//! | `client_ip` | address (a name with Apache's `HostnameLookups`); of a list of forwarders the last |
//! | `principal` | user; may hold spaces, if ident is `-` and no word of it is |
//! | `referer`, `user_agent` | quoted, absent in the common log |
//! | `latency_us` | trailing: the first decimal fraction, seconds (`$request_time`), or number with `ms`; else the only integer, microseconds (Apache `%D`), if no more than an id follows |
//! | `request_id` | trailing: the first of letters and digits, at least 8 (Apache `%{UNIQUE_ID}e`, `$request_id`) |
//!
//! Escapes inside quotes: `\xHH` (both), `\"`, `\\`, `\n`, `\t` … (Apache). Bytes that are not UTF-8 afterwards are replaced.
//!
//! Traps: a request line that is not HTTP (`\x16\x03\x01`: TLS to a plain port) is rejected, not an event; error-log lines have no
//! time of this form; a quoted trailing field is `X-Forwarded-For` in nginx's packaged `main` format: the client's word, not read;
//! the user is the client's word too when the status is 401, and in nginx wherever `auth_basic` is off. A list of forwarders in front
//! (Apache's `%{X-Forwarded-For}i`) is what the client says, words that look like a host and an address included, but for what proxies
//! add at its end: log `%a` or `%h` first instead (`mod_remoteip`).

use std::borrow::Cow;

use super::json::{STATUS_MAX, believe};
use super::target::{self, Target};
pub(super) use super::words::{Fields, hex, known};
use super::{Capabilities, Fault, Presence, ingress_nginx, traefik};
use crate::event::Event;
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
    upstream_scheme: Presence::Never,
    request_headers: Presence::Never,
    response_headers: Presence::Never,
    body: Presence::Never,
};

/// Bytes of `dd/Mon/yyyy:HH:MM:SS +zzzz`.
pub(super) const CLF_BYTES: usize = 26;

/// Says whether a line has a quoted request after a time in brackets.
pub(super) fn looks_like(text: &str) -> bool {
    at_time(text).is_ok()
}

/// Decodes one line. Traefik's and ingress-nginx' lines are known by how they end.
pub(super) fn decode(line: &str) -> Result<Event<'_>, Fault> {
    if let Some(Ok(event)) = traefik::line(line) {
        return Ok(event);
    }
    let (mut event, rest) = head(line)?;
    if let Some(tail) = ingress_nginx::tail(rest) {
        tail.fill(&mut event);
        return Ok(event);
    }
    let trailing = trailing(Fields { rest });
    event.latency_us = trailing.latency_us;
    event.request_id = trailing.request_id.map(Cow::Borrowed);
    Ok(event)
}

/// Decodes a line up to the user agent, and gives back what follows it.
pub(super) fn head(line: &str) -> Result<(Event<'_>, &str), Fault> {
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
    let status = status(rest.word().ok_or_else(|| broken("status"))?)?;
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
    let event = Event {
        event_time_ms,
        gateway: "combined",
        method,
        scheme,
        host: host.or(caller.vhost.map(Cow::Borrowed)),
        path,
        query,
        status,
        response_bytes: response_bytes.filter(|bytes| 0 <= *bytes),
        client_ip: caller
            .address
            .and_then(|address| target::address(address.into())),
        user_agent,
        principal: caller.user.map(Cow::Borrowed),
        referer,
        ..Event::default()
    };
    Ok((event, rest.rest))
}

fn broken(field: &'static str) -> Fault {
    Fault::new(
        RejectReason::Malformed,
        format!("no {field} where the combined log has it"),
    )
}

/// A status of three digits; `-` and 000 are none.
pub(super) fn status(word: &str) -> Result<Option<u16>, Fault> {
    match (word, word.parse()) {
        ("-", _) | (_, Ok(..100)) => Ok(None),
        (_, Ok(status @ ..=STATUS_MAX)) => Ok(Some(status)),
        _ => Err(Fault::wrong_type("status", "a number of three digits")),
    }
}

/// Cuts the line at its time: what is before it, the time, what is after it.
///
/// A user name may hold brackets, even a time; the real one is followed by the quoted request, which both servers keep a user
/// name from imitating by escaping its quotes.
pub(super) fn at_time(line: &str) -> Result<(&str, i64, &str), Fault> {
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
pub(super) struct Caller<'a> {
    vhost: Option<&'a str>,
    pub(super) address: Option<&'a str>,
    pub(super) user: Option<&'a str>,
}

/// Takes the words before the time apart.
///
/// The user is an identity, so it counts only where the words fit: a first field that the client fills (`%{X-Forwarded-For}i`) would
/// else make one of what is left over.
pub(super) fn caller(prefix: &str) -> Caller<'_> {
    let (vhost, rest) = vhost(prefix.trim_ascii());
    let (address, rest) = last_forwarder(rest);
    Caller {
        vhost,
        address: Some(address).filter(|text| !matches!(*text, "" | "-")),
        user: user(rest),
    }
}

fn next_word(text: &str) -> (&str, &str) {
    memchr::memchr(b' ', text.as_bytes()).map_or((text, ""), |at| (&text[..at], &text[at + 1..]))
}

/// Takes off the host that was called: a word before an address, or a name with a port before three more words.
fn vhost(prefix: &str) -> (Option<&str>, &str) {
    let is_ip = |text: &str| target::address(text.into()).is_some_and(|text| target::is_ip(&text));
    let (first, rest) = next_word(prefix);
    // Most lines begin with the address.
    if target::is_ip(first) || first.contains([',', '"']) {
        return (None, prefix);
    }
    let (second, after_second) = next_word(rest);
    let (third, after_third) = next_word(after_second);
    let (name, port) = first.rsplit_once(':').unwrap_or((first, ""));
    // A client's name with a port stands before `- user`.
    let is_name_and_port = port.parse::<u16>().is_ok()
        && !is_ip(first)
        && !after_third.is_empty()
        && (second != "-" || third == "-");
    let is_before_address = is_ip(second.split(',').next().unwrap_or(second));
    if is_before_address || is_name_and_port {
        (Some(name), rest)
    } else {
        (None, prefix)
    }
}

/// Takes off the address; of a list of forwarders the last, which the proxy in front added.
fn last_forwarder(prefix: &str) -> (&str, &str) {
    let (mut word, mut rest) = next_word(prefix);
    while word.ends_with(',') && !rest.is_empty() {
        (word, rest) = next_word(rest);
    }
    let last = word.rsplit(',').next().unwrap_or(word);
    (last.trim_matches('"'), rest)
}

/// The user of `ident user`; one whose name holds blanks only after the ident `-`, and if no word of it is another `-`.
fn user(words: &str) -> Option<&str> {
    let (ident, user) = words.split_once(' ')?;
    let user = user.trim_ascii();
    let fits = !user.contains(' ') || (ident == "-" && user.split(' ').all(|word| word != "-"));
    Some(user).filter(|user| fits && !matches!(*user, "" | "-" | "\"\""))
}

/// What may follow the user agent.
#[derive(Debug, Default)]
struct Trailing<'a> {
    latency_us: Option<i64>,
    request_id: Option<&'a str>,
}

/// Reads the fields after the user agent, in which nothing but their form tells what they are.
///
/// A duration with its unit counts wherever it is. An integer alone is one (`%D`) only if an id or nothing follows: before a
/// duration it is the request's length, before quotes a counter, beside another integer `%I %O`.
fn trailing(mut fields: Fields<'_>) -> Trailing<'_> {
    let (mut with_unit, mut integer) = (None, None);
    let (mut n_integers, mut is_last, mut request_id) = (0, true, None);
    while !fields.rest.trim_ascii_start().is_empty() {
        let Some(word) = fields.word() else {
            is_last &= n_integers == 0;
            if fields.quoted().is_none() {
                break;
            }
            continue;
        };
        if let Ok(number) = word.parse::<i64>() {
            n_integers += 1;
            integer = integer.or(Some(number).filter(|number| 0 <= *number));
        } else if let Some(latency_us) = latency_us(word) {
            with_unit = with_unit.or(Some(latency_us));
        } else if is_id(word) {
            request_id = request_id.or(Some(word));
        } else if word != "-" {
            is_last &= n_integers == 0;
        }
    }
    Trailing {
        latency_us: with_unit.or(integer.filter(|_| n_integers == 1 && is_last)),
        request_id,
    }
}

fn is_id(word: &str) -> bool {
    const ID_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
    let is_part =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'@' | b'+' | b'/');
    ID_BYTES.contains(&word.len()) && word.bytes().all(is_part)
}

/// A duration that tells its unit: a decimal fraction is seconds, `ms` follows milliseconds.
fn latency_us(word: &str) -> Option<i64> {
    const LATENCY_US_MAX: f64 = 1e12;
    let (number, unit_us) = match word.strip_suffix("ms") {
        Some(number) => (number, 1e3),
        None if word.contains('.') => (word, 1e6),
        None => return None,
    };
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let latency_us = number.parse::<f64>().ok()? * unit_us;
    (latency_us < LATENCY_US_MAX).then_some(latency_us.round() as i64)
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
            (r#" 200 1 "r" "u" 0.25"#, "latency_us=250000"),
            (r#" 200 1 "r" "u" 5647"#, "latency_us=5647"),
            (r#" 200 1 "r" "u" 5647 -"#, "latency_us=5647"),
            (r#" 200 1 "r" "u" "6.6.6.6" 5647"#, "latency_us=5647"),
            // ingress-nginx: length of the request, its seconds, the upstream, its length, seconds and status, the id.
            (
                r#" 200 1 "r" "u" 89 0.001 [ns-svc-80] [] 10.0.0.1:80 12 0.002 200 c4d4357a590edf52"#,
                "latency_us=1000",
            ),
            (
                r#" 200 1 "r" "u" 89 0.001 [ns-svc-80] [] 10.0.0.1:80 12 0.002 200 c4d4357a590edf52"#,
                "request_id=c4d4357a590edf52",
            ),
            // Traefik: a counter, the router, the server, the time.
            (
                r#" 200 1 "r" "u" 500 "api@docker" "http://10.0.0.1:80" 7ms"#,
                "latency_us=7000",
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
        for tail in [
            // Apache's combinedio: bytes in, bytes out.
            r#" 200 1 "r" "u" 512 1024"#,
            r#" 200 1 "r" "u" 512 1024 c4d4357a590edf52"#,
            r#" 200 1 "r" "u" 500 "api@docker" "http://10.0.0.1:80""#,
            r#" 200 1 "r" "u" 512 TLSv1.3"#,
            r#" 200 1 "r" "u" 10.0.0.1 5..1 ms .ms"#,
        ] {
            assert_lacks(Combined, &format!("{head}{tail}"), "latency_us");
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
            // A list of forwarders in front: its last entry is what the proxy in front added.
            (
                "6.6.6.6, 7.7.7.7, 8.8.8.8 - -",
                (None, Some("8.8.8.8"), None),
            ),
            (
                "6.6.6.6,7.7.7.7,8.8.8.8 - bob",
                (None, Some("8.8.8.8"), Some("bob")),
            ),
            (
                "\"6.6.6.6, 8.8.8.8:80\" - bob van dyk",
                (None, Some("8.8.8.8:80"), Some("bob van dyk")),
            ),
            ("x - admin, 8.8.8.8 - -", (None, Some("x"), None)),
            (
                "6.6.6.6, unknown - bob",
                (None, Some("unknown"), Some("bob")),
            ),
            (
                "6.6.6.6, 8.8.8.8 - dyk, bob",
                (None, Some("8.8.8.8"), Some("dyk, bob")),
            ),
            (
                "a.example:443 6.6.6.6, 8.8.8.8 - -",
                (Some("a.example"), Some("8.8.8.8"), None),
            ),
            // A name and port in front is the host that was called, whatever the client's address is.
            (
                "a.example:443 client.example - -",
                (Some("a.example"), Some("client.example"), None),
            ),
            (
                "a.example:443 client.example - bob",
                (Some("a.example"), Some("client.example"), Some("bob")),
            ),
            ("a.example:443 - - -", (Some("a.example"), None, None)),
            (
                "a.example:443 2a02::36 - -",
                (Some("a.example"), Some("2a02::36"), None),
            ),
            (
                "client.example:4711 - bob",
                (None, Some("client.example:4711"), Some("bob")),
            ),
            (
                "10.0.0.1:4711 - bob",
                (None, Some("10.0.0.1:4711"), Some("bob")),
            ),
            // A first field that the client fills makes no user.
            ("6.6.6.6 x admin - -", (None, Some("6.6.6.6"), None)),
            ("6.6.6.6 - admin - -", (None, Some("6.6.6.6"), None)),
            ("6.6.6.6 - admin - bob", (None, Some("6.6.6.6"), None)),
            ("6.6.6.6 7.7.7.7 - -", (None, Some("6.6.6.6"), None)),
            ("a b admin - -", (None, Some("a"), None)),
            ("10.0.0.1 - [10.0.0.1] - -", (None, Some("10.0.0.1"), None)),
            ("10.0.0.1 admin", (None, Some("10.0.0.1"), None)),
            ("10.0.0.1 - \"\"", (None, Some("10.0.0.1"), None)),
            ("- - -", (None, None, None)),
            ("- - bob", (None, None, Some("bob"))),
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
                "wrong_type: status is not a number of three digits",
            ),
            (
                COMBINED.replace(" 200 20", " 99999999999 20"),
                "wrong_type: status is not a number of three digits",
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
