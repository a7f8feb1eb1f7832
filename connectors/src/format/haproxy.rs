//! HAProxy: the HTTP log in text, `option httplog` and `option httpslog` (HAProxy 2.0 to 3.2, configuration manual, section 8.2.3 and 8.2.4).
//!
//! ```text
//! 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] https-in~ static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {req captures} {resp captures} "GET /a HTTP/1.1"[ … sni/TLSv1.3/cipher]
//! ```
//!
//! | event | line |
//! |---|---|
//! | `event_time_ms` | time in brackets, ms, the request's **start**, in the machine's **local** time unless a zone is there (`%Tl`) |
//! | `method`, `path`, `query` | request line, raw |
//! | `scheme` | `https` where the frontend's name ends in `~` |
//! | `host` | a word between server and timers, if one is configured there; else the SNI of `httpslog` |
//! | `status` | -1 is none; a status may be HAProxy's own (termination state `PR--`, server `<NOSRV>`) |
//! | `response_bytes` | `%B`, **with** headers; `+` in front with `option logasap` |
//! | `latency_us` | `Ta`, the last timer, ms; -1: broken off |
//! | `client_ip` | first field without its port, IPv6 without brackets; the peer's, whatever `X-Forwarded-For` says |
//! | `session` | a captured cookie (`capture cookie`) whose name says session |
//! | `authorization`, `trace_id` | captured request headers (`capture request header Authorization len 2048`) that have the form |
//! | `route`, `service` | frontend without `~`; backend |
//! | `tls_version` | `httpslog` |
//!
//! Traps: captures `{a|b}` have **no names**, so what has no form of its own (an API key, a consumer, a host) is not taken: log JSON
//! ([`haproxy_json`]) for those; a capture is cut at its `len`: a short one makes one identity of all JWTs with equal headers; a request
//! over `tune.http.logurilen` (1,024 bytes) is cut, too, and of a line over `len` of the `log` line the end is missing; `#XX` stands for a
//! byte that would break the line; without `TZ=UTC` for HAProxy all times are shifted; `<BADREQ>` is no request.

use super::target::{self, Target};
use super::words::{cut_at, unescape_hash};
use super::{Capabilities, Fault, Presence, combined, haproxy_json, json};
use crate::event::{Event, Text};
use crate::reject::RejectReason;
use crate::time;

pub(super) const DESCRIPTION: &str =
    "HAProxy's HTTP log in text (httplog, httpslog), or a JSON log-format";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Configured,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Configured,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Never,
};

/// Bytes of `[dd/Mon/yyyy:HH:MM:SS.mmm`, the zone not counted.
const TIME_BYTES: usize = 25;

/// Says whether a line has a time in brackets with a fraction, a server and five timers, or an object the keys of a log-format.
pub(super) fn looks_like(text: &str) -> bool {
    if text.starts_with('{') {
        return haproxy_json::looks_like(text);
    }
    head(text).is_ok()
}

/// Decodes one line, or one object of a JSON log-format.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    if text.starts_with('{') {
        return haproxy_json::decode(text);
    }
    let head = head(text)?;
    let mut words = head.rest.splitn(8, ' ');
    let mut word = |field| words.next().ok_or_else(|| broken(field));
    let status = match word("status")? {
        "-1" => None,
        status => combined::status(status)?,
    };
    let response_bytes = word("size")?;
    let cookie = word("cookie")?;
    for field in ["response cookie", "state", "connections", "queues"] {
        word(field)?;
    }
    let (request_captures, rest) = captures(word("request")?);
    let (_, rest) = captures(rest);
    let rest = rest.strip_prefix('"').ok_or_else(|| broken("request"))?;
    // What is longer than a log line may be has no closing quote.
    let (request, tail) = rest.split_once('"').unwrap_or((rest, ""));
    let (method, target) = target::request_line(unescape_hash(request))?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(target);
    let (sni, tls_version) = tls(tail);
    let (authorization, trace_id) = known_captures(request_captures);
    let (route, is_tls) = match head.frontend.strip_suffix('~') {
        Some(name) => (name, true),
        None => (head.frontend, false),
    };
    let latency_ms = head.timers.rsplit('/').next().unwrap_or_default();
    Ok(Event {
        event_time_ms: json::believe(head.event_time_ms, "time")?,
        gateway: "haproxy",
        method,
        scheme: if is_tls { Some("https".into()) } else { scheme },
        host: host.or(head.host.map(Into::into)).or(sni),
        path,
        query,
        status,
        response_bytes: count(response_bytes),
        latency_us: count(latency_ms).and_then(|ms| ms.checked_mul(1_000)),
        client_ip: client_ip(head.client),
        authorization,
        session: session(cookie),
        route: known(route),
        service: known(head.backend),
        tls_version,
        trace_id,
        ..Event::default()
    })
}

fn broken(field: &'static str) -> Fault {
    Fault::new(
        RejectReason::Malformed,
        format!("no {field} where HAProxy's HTTP log has it"),
    )
}

/// A line up to its timers.
struct Head<'a> {
    client: &'a str,
    event_time_ms: i64,
    frontend: &'a str,
    backend: &'a str,
    host: Option<&'a str>,
    timers: &'a str,
    rest: &'a str,
}

fn head(text: &str) -> Result<Head<'_>, Fault> {
    let (client, rest) = cut_at(text, *b" [").ok_or_else(|| broken("time"))?;
    let (time, rest) = cut_at(rest, *b"] ").ok_or_else(|| broken("time"))?;
    let event_time_ms = Some(time.as_bytes())
        .filter(|time| (TIME_BYTES - 1) <= time.len() && time.get(20) == Some(&b'.'))
        .and_then(time::parse_haproxy)
        .ok_or_else(|| broken("time"))?;
    let (frontend, rest) = rest.split_once(' ').ok_or_else(|| broken("frontend"))?;
    let (server, rest) = rest.split_once(' ').ok_or_else(|| broken("server"))?;
    let (backend, _) = server.rsplit_once('/').ok_or_else(|| broken("server"))?;
    let (mut timers, mut rest) = rest.split_once(' ').ok_or_else(|| broken("timers"))?;
    let mut host = None;
    if !are_timers(timers) {
        host = Some(timers);
        (timers, rest) = rest.split_once(' ').ok_or_else(|| broken("timers"))?;
    }
    if !are_timers(timers) {
        return Err(broken("timers"));
    }
    Ok(Head {
        // Of more words in front the last is the address.
        client: client.rsplit(' ').next().unwrap_or(client),
        event_time_ms,
        frontend,
        backend,
        host,
        timers,
        rest,
    })
}

fn are_timers(word: &str) -> bool {
    const TIMERS: usize = 5;
    let is_timer = |timer: &str| timer.trim_start_matches('+').parse::<i64>().is_ok();
    word.split('/').count() == TIMERS && word.split('/').all(is_timer)
}

/// A count; with `option logasap` it has `+` in front, and negative it is none.
fn count(word: &str) -> Option<i64> {
    let count = word.trim_start_matches('+').parse().ok()?;
    (0 <= count).then_some(count)
}

fn known(text: &str) -> Text<'_> {
    (!matches!(text, "" | "-" | "<NOSRV>")).then_some(text.into())
}

/// The address before the last colon: HAProxy writes IPv6 without brackets.
pub(super) fn client_ip(client: &str) -> Text<'_> {
    let (address, _) = client.rsplit_once(':')?;
    known(address.trim_start_matches('[').trim_end_matches(']'))
        .filter(|address| !address.starts_with("unix"))
}

/// Takes `{…}` off the front.
fn captures(text: &str) -> (&str, &str) {
    // A closing brace inside is written as #7D.
    match text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        Some((captures, rest)) => (captures, rest.trim_ascii_start()),
        None => ("", text),
    }
}

/// What captured headers tell by their form: credentials with a scheme, and a trace.
pub(super) fn known_captures(captures: &str) -> (Text<'_>, Text<'_>) {
    let (mut authorization, mut trace) = (None, None);
    for value in captures.split('|') {
        let scheme = value.split_once(' ').map_or("", |(scheme, _)| scheme);
        let is_scheme = ["bearer", "basic", "digest", "dpop"]
            .into_iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        if is_scheme {
            authorization = authorization.or(Some(unescape_hash(value)));
        } else if is_traceparent(value) {
            trace = trace.or(Some(target::trace_id(value.into())));
        }
    }
    (authorization, trace)
}

fn is_traceparent(value: &str) -> bool {
    let lengths = [2, 32, 16, 2];
    value.len() == lengths.iter().sum::<usize>() + 3
        && value.split('-').zip(lengths).all(|(part, length)| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit())
        })
}

/// Value of a captured cookie, if its name says that it holds a session: any other is shared by many callers.
fn session(cookie: &str) -> Text<'_> {
    let (name, value) = cookie.split_once('=')?;
    let lower = name.to_ascii_lowercase();
    let is_session = lower.contains("sess") || lower.ends_with("sid");
    known(value).filter(|_| is_session)
}

/// SNI and TLS version of `httpslog`: ` 0/0/0/0/1 sni/TLSv1.3/cipher`.
fn tls(tail: &str) -> (Text<'_>, Text<'_>) {
    let last = tail.rsplit(' ').next().unwrap_or_default();
    match last.split_once("/TLSv") {
        Some((sni, rest)) => {
            let version = &last[sni.len() + 1..];
            let end = version.find('/').unwrap_or(version.len());
            (
                known(sni),
                (!rest.is_empty()).then(|| version[..end].into()),
            )
        }
        None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Haproxy};
    use crate::format::tests::{assert_has, assert_lacks, print};

    const LINE: &str = r#"10.0.0.9:33317 [05/Jan/2026:00:00:00.003] https-in~ orders/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 "GET /a//%31?x=%20 HTTP/1.1""#;

    #[test]
    fn a_plain_line_is_mapped_behind_any_syslog_prefix() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "response_bytes=2750",
            "latency_us=109000",
            "gateway=haproxy",
            "method=GET",
            "scheme=https",
            "path=/a//%31",
            "query=x=%20",
            "client_ip=10.0.0.9",
            "route=https-in",
            "service=orders",
        ];
        for prefix in [
            "",
            "Jan  5 00:00:00 gw-1 haproxy[14389]: ",
            "<134>Jan  5 00:00:00 haproxy[14389]: ",
            "2026-01-05T00:00:00.1+01:00 gw-1 haproxy[14389]: ",
            "<134>1 2026-01-05T00:00:00.1+01:00 gw-1 haproxy 14389 - [a@1 b=\"]\\\"\"][c] ",
            "<134>1 2026-01-05T00:00:00Z gw-1 haproxy 14389 - - \u{feff}",
        ] {
            for format in [Haproxy, Auto] {
                assert_eq!(print(format, format!("{prefix}{LINE}")), want, "{prefix}");
            }
        }
    }

    #[test]
    fn what_is_configured_is_read() {
        let with = |captures: &str| LINE.replace("\"GET", &format!("{captures} \"GET"));
        let rows = [
            (with("{Bearer a.b.c|}"), "authorization=Bearer a.b.c"),
            (with("{h|Basic YTpi#7C} {x}"), "authorization=Basic YTpi|"),
            (
                with("{|00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01}"),
                "trace_id=0af7651916cd43dd8448eb211c80319c",
            ),
            (LINE.replace("2750 -", "2750 JSESSIONID=s1"), "session=s1"),
            (
                LINE.replace("10.0.0.9", "2001:db8::1"),
                "client_ip=2001:db8::1",
            ),
            (
                LINE.replace("10/0/", "shop.example 10/0/"),
                "host=shop.example",
            ),
            (
                LINE.replace(".003]", ".003 +0100]"),
                "event_time=2026-01-04T23:00:00.003Z",
            ),
            (
                LINE.replace(" 2750", " +2750").replace("/109", "/+109"),
                "response_bytes=2750",
            ),
            (
                format!("{LINE} 0/0/0/0/1 s.example/TLSv1.3/TLS_AES"),
                "tls_version=TLSv1.3",
            ),
            (
                format!("{LINE} 0/0/0/0/1 s.example/TLSv1.3/TLS_AES"),
                "host=s.example",
            ),
            (LINE.replace("%31", "#22#23"), "path=/a//\"#"),
            (
                LINE.trim_end_matches(" HTTP/1.1\"").to_owned(),
                "query=x=%20",
            ),
            (LINE.replace("/srv1", "/<NOSRV>"), "service=orders"),
        ];
        for (line, want) in rows {
            assert_has(Haproxy, &line, &[want, "gateway=haproxy"]);
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_lacks(Haproxy, &LINE.replace("10.0.0.9", "-"), "client_ip");
        assert_lacks(Haproxy, &LINE.replace("in~", "in"), "scheme");
        assert_lacks(Haproxy, &LINE.replace("/109 200", "/-1 -1"), "status");
        assert_lacks(Haproxy, &LINE.replace("/109 200", "/-1 -1"), "latency_us");
        assert_lacks(Haproxy, &LINE.replace("2750 -", "2750 lang=en"), "session");
        let capture = LINE.replace("\"GET", "{k-1234|shop.example} \"GET");
        assert_lacks(Haproxy, &capture, "api_key");
    }

    #[test]
    fn what_is_no_request_is_rejected() {
        let rows = [
            (
                LINE.replace("GET /a//%31?x=%20 HTTP/1.1", "<BADREQ>"),
                "malformed: the request line is not HTTP",
            ),
            (
                "10.0.0.9:1 [05/Jan/2026:00:00:00.003] in/1: SSL handshake failure".to_owned(),
                "malformed: no server where HAProxy's HTTP log has it",
            ),
            (
                "10.0.0.9:1 [05/Jan/2026:00:00:00.003] in be/s 0/0/5 212 -- 1/1/1/1/0 0/0"
                    .to_owned(),
                "malformed: no timers where HAProxy's HTTP log has it",
            ),
            (
                "x".to_owned(),
                "malformed: no time where HAProxy's HTTP log has it",
            ),
        ];
        for (line, want) in rows {
            assert_eq!(print(Haproxy, &line), [want], "{line}");
        }
    }
}
