//! Envoy and Istio: the default access log in text (Envoy 1.2x to 1.36, observability/access_log/usage; Istio 1.1x to 1.27, `accessLogFormat` not set).
//!
//! ```text
//! [2026-01-05T00:00:00.003Z] "GET /a/7 HTTP/2" 200 - 0 154 15 14 "203.0.113.5" "curl/8" "request id" "authority" "10.0.2.1:80"
//! [2026-01-05T00:00:00.003Z] "GET /a/7 HTTP/1.1" 200 - via_upstream - "-" 0 178 2 1 "-" "curl/8" "request id" "authority" "10.0.2.1:80" inbound|9080|| 127.0.0.6:4 10.0.1.5:9080 10.0.1.7:39696 outbound_.9080_._.shop default
//! ```
//!
//! | event | Envoy | Istio |
//! |---|---|---|
//! | `event_time_ms` | time in brackets, ms, UTC, the request's **start** | same |
//! | `method`, `path`, `query` | request line; the path is `X-ENVOY-ORIGINAL-PATH` if that header is there | same |
//! | `host` | authority | same |
//! | `status` | response code; 0: the client left | same |
//! | `request_bytes`, `response_bytes` | received, sent, **body only** | same |
//! | `latency_us` | duration ms | same |
//! | `client_ip` | the last of `X-Forwarded-For`, which Envoy itself adds with `use_remote_address` | downstream remote address, fourth of the last six |
//! | `user_agent`, `request_id` | quoted | quoted |
//! | `route`, `service` | -; upstream host | route name, last; upstream cluster |
//!
//! Traps: **no identity**, scheme or TLS version: log JSON ([`super::envoy`]) with `jwt_sub` for those; a client may choose the path logged by
//! sending `X-ENVOY-ORIGINAL-PATH` (see there); without `use_remote_address` the forwarders are what the client says; nothing is
//! escaped, so a user agent may hold quotes: the line is read from both its ends; TCP and broken connections log `"- - -"`: no event;
//! Istio logs a call at both sidecars (`outbound|` and `inbound|` clusters) with one request id: feed one of them.

use super::target::{self, Target};
use super::words::known;
use super::{Fault, combined, json};
use crate::event::{Event, Text};
use crate::reject::RejectReason;
use crate::time;

/// Says whether a line begins with a time of RFC 3339 in brackets and a quoted request.
pub(super) fn looks_like(text: &str) -> bool {
    at_time(text).is_some()
}

fn at_time(text: &str) -> Option<(i64, &str)> {
    let (time, rest) = text.strip_prefix('[')?.split_once("] \"")?;
    Some((time::parse_time(time)?, rest)).filter(|_| time.ends_with('Z'))
}

/// Decodes one line.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let (event_time_ms, rest) = at_time(text).ok_or_else(|| broken("time"))?;
    // A path holds no blanks, but may hold quotes.
    let request_end = rest
        .match_indices("\" ")
        .map(|(at, _)| at)
        .find(|at| rest[..*at].split(' ').nth(2).is_some())
        .ok_or_else(|| broken("request"))?;
    let request = &rest[..request_end];
    if request == "- - -" {
        return Err(Fault::missing("request line"));
    }
    let (method, target) = target::request_line(request.into())?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(target);
    let mut words = rest[request_end + 2..].splitn(3, ' ');
    let mut word = |field| words.next().ok_or_else(|| broken(field));
    let status = combined::status(word("status")?)?;
    word("flags")?;
    let Tail {
        numbers,
        forwarders,
        user_agent,
        request_id,
        authority,
        upstream,
        mesh,
    } = tail(word("sizes")?).ok_or_else(|| broken("end"))?;
    let [received, sent, duration] = numbers;
    Ok(Event {
        event_time_ms: json::believe(event_time_ms, "time")?,
        gateway: if mesh.is_some() { "istio" } else { "envoy" },
        method,
        scheme,
        host: known(authority.into()).or(host),
        path,
        query,
        status,
        request_bytes: received,
        response_bytes: sent,
        latency_us: duration.and_then(|ms| ms.checked_mul(1_000)),
        client_ip: match &mesh {
            Some(mesh) => target::address(mesh.remote.into()),
            None => known(forwarders.into()).and_then(target::last_forwarder),
        },
        user_agent: known(user_agent.into()),
        route: mesh.as_ref().and_then(|mesh| known(mesh.route.into())),
        service: mesh.map_or(known(upstream.into()), |mesh| {
            known(mesh.cluster.into()) as Text<'_>
        }),
        request_id: known(request_id.into()),
        ..Event::default()
    })
}

fn broken(field: &'static str) -> Fault {
    Fault::new(
        RejectReason::Malformed,
        format!("no {field} where Envoy's text log has it"),
    )
}

/// What follows the response flags.
struct Tail<'a> {
    /// Bytes received, bytes sent, milliseconds.
    numbers: [Option<i64>; 3],
    forwarders: &'a str,
    user_agent: &'a str,
    request_id: &'a str,
    authority: &'a str,
    upstream: &'a str,
    mesh: Option<Mesh<'a>>,
}

/// What only Istio writes, at the end.
struct Mesh<'a> {
    cluster: &'a str,
    remote: &'a str,
    route: &'a str,
}

fn tail(text: &str) -> Option<Tail<'_>> {
    let (quoted, mesh) = match text.strip_suffix('"') {
        Some(quoted) => (quoted, None),
        None => mesh(text)?,
    };
    let (rest, upstream) = quoted.rsplit_once("\" \"")?;
    let (rest, authority) = rest.rsplit_once("\" \"")?;
    let (rest, request_id) = rest.rsplit_once("\" \"")?;
    // Istio has details of the response before the sizes, one of them quoted.
    let rest = match mesh {
        Some(_) => details(rest)?,
        None => rest,
    };
    let (numbers, rest) = rest.split_once('"')?;
    let (forwarders, user_agent) = rest.split_once("\" \"")?;
    let mut numbers = numbers.split(' ');
    let mut number = || Some(numbers.next()?.parse::<i64>().ok().filter(|n| 0 <= *n));
    Some(Tail {
        numbers: [number()?, number()?, number()?],
        forwarders,
        user_agent,
        request_id,
        authority,
        upstream,
        mesh,
    })
}

/// Takes Istio's six words off the end.
fn mesh(text: &str) -> Option<(&str, Option<Mesh<'_>>)> {
    let mut words = text.rsplitn(7, ' ');
    let route = words.next()?;
    let _server_name = words.next()?;
    let remote = words.next()?;
    let (_downstream_local, _upstream_local) = (words.next()?, words.next()?);
    let cluster = words.next()?;
    let quoted = words.next()?.strip_suffix('"')?;
    Some((
        quoted,
        Some(Mesh {
            cluster,
            remote,
            route,
        }),
    ))
}

/// Takes `via_upstream - "-" ` off the front: why the response was as it was, and why the upstream's transport failed.
fn details(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('"')?;
    let (_, rest) = rest.split_once("\" ")?;
    Some(rest)
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Envoy};
    use crate::format::tests::{assert_has, assert_lacks, print};

    const ENVOY: &str = r#"[2026-01-05T00:00:00.003Z] "POST /a//%31?x=1 HTTP/2" 204 - 154 7 226 100 "6.6.6.6,203.0.113.5" "curl/8" "q-1" "shop.example" "tcp://10.0.2.1:80""#;
    const ISTIO: &str = r#"[2026-01-05T00:00:00.003Z] "GET /a/7 HTTP/1.1" 200 - via_upstream - "-" 0 178 2 1 "6.6.6.6" "curl/8" "q-1" "shop:9080" "10.68.2.10:9080" inbound|9080|| 127.0.0.6:47889 10.68.2.10:9080 [2001:db8::7]:39696 outbound_.9080_._.shop default"#;

    #[test]
    fn envoys_default_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=204",
            "request_bytes=154",
            "response_bytes=7",
            "latency_us=226000",
            "gateway=envoy",
            "method=POST",
            "host=shop.example",
            "path=/a//%31",
            "query=x=1",
            "client_ip=203.0.113.5",
            "user_agent=curl/8",
            "service=tcp://10.0.2.1:80",
            "request_id=q-1",
        ];
        for format in [Envoy, Auto] {
            assert_eq!(print(format, ENVOY), want, "{format}");
        }
    }

    #[test]
    fn istios_default_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "request_bytes=0",
            "response_bytes=178",
            "latency_us=2000",
            "gateway=istio",
            "method=GET",
            "host=shop:9080",
            "path=/a/7",
            "client_ip=2001:db8::7",
            "user_agent=curl/8",
            "route=default",
            "service=inbound|9080||",
            "request_id=q-1",
        ];
        assert_eq!(print(Auto, ISTIO), want);
        let failed = ISTIO.replace(
            "via_upstream - \"-\"",
            "upstream_reset{connection_failure} - \"TLS error: 1 2\"",
        );
        assert_has(Auto, &failed, &["response_bytes=178", "latency_us=2000"]);
    }

    #[test]
    fn quotes_of_the_client_hide_no_call() {
        for (from, to, want) in [
            ("curl/8", "a\" \"b", "request_id=q-1"),
            ("curl/8", "\"", "user_agent=\""),
            ("%31", "\"\"", "path=/a//\"\""),
        ] {
            assert_has(
                Auto,
                &ENVOY.replace(from, to),
                &["status=204", "host=shop.example", want],
            );
        }
    }

    #[test]
    fn what_is_no_call_is_rejected() {
        assert_eq!(
            print(Envoy, ENVOY.replace("POST /a//%31?x=1 HTTP/2", "- - -")),
            ["missing_field: request line"]
        );
        assert_eq!(
            print(Envoy, &ENVOY[..60]),
            ["malformed: no end where Envoy's text log has it"]
        );
        assert_lacks(Envoy, &ENVOY.replace("204", "0"), "status");
    }
}
