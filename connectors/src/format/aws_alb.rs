//! AWS Application Load Balancer access logs: text (user guide, *Access log entries*, up to the transforms of 2025; older lines are shorter).
//!
//! ```text
//! type time elb client:port target:port request_s target_s response_s elb_status target_status received_bytes sent_bytes
//! "request" "user_agent" ssl_cipher ssl_protocol target_group_arn "trace_id" "domain_name" "cert_arn" priority creation_time
//! "actions_executed" …
//! ```
//!
//! | event | field |
//! |---|---|
//! | `event_time_ms` | time, µs; when the **answer** was made |
//! | `method`, `scheme`, `host`, `path`, `query` | request, whose URL is absolute; the port is dropped if it is the scheme's own, which the balancer always writes |
//! | `status` | elb_status; `-` is none |
//! | `request_bytes`, `response_bytes` | received_bytes, sent_bytes, **with** headers |
//! | `latency_us` | request_s + target_s + response_s; unknown if one is -1 (not dispatched) |
//! | `client_ip` | client, without port |
//! | `user_agent` | user_agent |
//! | `authenticated_hint` | actions_executed has `authenticate` and goes on: OIDC or Cognito let the user in |
//! | `service` | name in target_group_arn |
//! | `tls_version` | ssl_protocol |
//! | `trace_id` | trace_id (`Root=…`), which a client may choose |
//!
//! Nothing says who called: a client certificate's subject is only in the *connection* log. A URL may hold spaces. Of an IPv6 address
//! the port follows after one more colon, with or without brackets. A request that could not be parsed is written as `- http://…- -`:
//! no event. Entries of a Network or a Classic Load Balancer are other formats. Lines come in files of five minutes, so late.

use std::borrow::Cow;

use super::combined::{Fields, known, status};
use super::json::believe;
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};
use crate::reject::RejectReason;
use crate::time;

pub(super) const DESCRIPTION: &str = "AWS Application Load Balancer access logs";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Never,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Always,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Never,
    response_headers: Presence::Never,
    body: Presence::Never,
};

/// Says whether a line begins with a type of listener and a time.
pub(super) fn looks_like(text: &str) -> bool {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    matches!(kind, "http" | "https" | "h2" | "grpcs" | "ws" | "wss")
        && matches!(rest.as_bytes(), [y, _, _, _, b'-', _, _, b'-', _, _, b'T', ..] if y.is_ascii_digit())
}

/// Decodes one line.
pub(super) fn decode(line: &str) -> Result<Event<'_>, Fault> {
    if !looks_like(line) {
        return Err(broken("type and time"));
    }
    let mut fields = Fields { rest: line };
    let mut word = |name| fields.word().ok_or_else(|| broken(name));
    word("type")?;
    let event_time_ms = time::parse_time(word("time")?).ok_or_else(|| broken("time"))?;
    let event_time_ms = believe(event_time_ms, "time")?;
    word("elb")?;
    let client = word("client")?;
    word("target")?;
    let mut seconds = [None; 3];
    for part in &mut seconds {
        *part = latency_us(word("processing time")?)?;
    }
    let status = status(word("elb_status_code")?)?;
    word("target_status_code")?;
    let request_bytes = bytes(word("received_bytes")?)?;
    let response_bytes = bytes(word("sent_bytes")?)?;
    let mut quoted = |name| fields.quoted().ok_or_else(|| broken(name));
    let request = quoted("request")?;
    let user_agent = known(quoted("user_agent")?);
    let (method, target) = request_line(request)?;
    let tail = Tail::of(fields);
    Ok(Event {
        event_time_ms,
        gateway: "aws-alb",
        method,
        host: target
            .host
            .map(|host| without_own_port(host, target.scheme.as_deref())),
        scheme: target
            .scheme
            .and_then(|scheme| target::http_scheme(&scheme)),
        path: target.path,
        query: target.query,
        status,
        request_bytes,
        response_bytes,
        latency_us: seconds.into_iter().sum(),
        client_ip: client_ip(client),
        user_agent,
        authenticated_hint: tail.is_authenticated,
        service: tail.target_group.map(Cow::Borrowed),
        tls_version: tail.tls_version.map(Cow::Borrowed),
        trace_id: tail.trace_id,
        ..Event::default()
    })
}

fn broken(field: &'static str) -> Fault {
    Fault::new(
        RejectReason::Malformed,
        format!("no {field} where the load balancer's log has it"),
    )
}

/// Method and target; a request that the balancer could not parse ends in two dashes.
fn request_line(request: Cow<'_, str>) -> Result<(Cow<'_, str>, Target<'_>), Fault> {
    if request.ends_with("- -") {
        return Err(Fault::new(
            RejectReason::Malformed,
            "the request line is not HTTP",
        ));
    }
    let (method, target) = target::request_line(request)?;
    Ok((method, target::split(target)))
}

fn without_own_port<'a>(host: Cow<'a, str>, scheme: Option<&str>) -> Cow<'a, str> {
    let own = match scheme {
        Some("https" | "wss") => ":443",
        _ => ":80",
    };
    match host.strip_suffix(own).map(str::len) {
        Some(end) => target::cut(&host, 0..end),
        None => host,
    }
}

/// Seconds of a fraction, -1 if there are none.
fn latency_us(word: &str) -> Result<Option<i64>, Fault> {
    let seconds: f64 = word
        .parse()
        .map_err(|_| Fault::wrong_type("processing time", "a number"))?;
    Ok((0.0..1e9)
        .contains(&seconds)
        .then_some((seconds * 1e6).round() as i64))
}

fn bytes(word: &str) -> Result<Option<i64>, Fault> {
    if word == "-" {
        return Ok(None);
    }
    let count: i64 = word
        .parse()
        .map_err(|_| Fault::wrong_type("size", "a number"))?;
    Ok(Some(count).filter(|count| 0 <= *count))
}

fn client_ip(client: &str) -> Text<'_> {
    let address = client
        .rsplit_once(':')
        .map_or(client, |(address, _)| address);
    let address = address.trim_start_matches('[').trim_end_matches(']');
    known(Cow::Borrowed(address))
}

/// What follows the user agent.
#[derive(Default)]
struct Tail<'a> {
    tls_version: Option<&'a str>,
    target_group: Option<&'a str>,
    trace_id: Text<'a>,
    is_authenticated: bool,
}

impl<'a> Tail<'a> {
    /// Reads as many fields as the line has; a line cut here is a call all the same.
    fn of(mut fields: Fields<'a>) -> Tail<'a> {
        let mut tail = Tail::default();
        let is_known = |word: &&str| *word != "-";
        fields.word();
        tail.tls_version = fields.word().filter(is_known);
        tail.target_group = fields.word().filter(is_known).map(group_name);
        tail.trace_id = fields.quoted().and_then(known);
        let _domain_and_certificate = (fields.quoted(), fields.quoted());
        let _priority_and_creation = (fields.word(), fields.word());
        tail.is_authenticated = fields
            .quoted()
            .is_some_and(|actions| actions.contains("authenticate,"));
        tail
    }
}

/// `my-targets` of `arn:…:targetgroup/my-targets/73e2d6bc24d8a067`.
fn group_name(arn: &str) -> &str {
    arn.split('/').nth(1).unwrap_or(arn)
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::AwsAlb;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"https 2026-01-05T00:00:00.003999Z app/shop/50dc6c495c0c9188 192.0.2.7:2817 10.0.0.1:80 0.001 0.048 0.037 200 200 34 366 "GET https://shop.example:443/a/7?x=1 HTTP/1.1" "curl/8" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/orders/73e2d6bc24d8a067 "Root=1-58337262-36d228ad5d99923122bbe354" "shop.example" "arn:aws:acm:eu-central-1:1:certificate/1" 1 2026-01-05T00:00:00.000000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1"#;

    #[test]
    fn every_field_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "request_bytes=34",
            "response_bytes=366",
            "latency_us=86000",
            "authenticated_hint=true",
            "gateway=aws-alb",
            "method=GET",
            "scheme=https",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "service=orders",
            "tls_version=TLSv1.2",
            "trace_id=Root=1-58337262-36d228ad5d99923122bbe354",
        ];
        assert_eq!(print(AwsAlb, LINE), want);
    }

    #[test]
    fn what_was_not_dispatched_and_odd_addresses_are_read() {
        let rows = [
            (
                ("192.0.2.7:2817", "[2001:db8::7]:2817"),
                "client_ip=2001:db8::7",
            ),
            (
                ("192.0.2.7:2817", "2001:db8::7:2817"),
                "client_ip=2001:db8::7",
            ),
            (
                ("shop.example:443/", "shop.example:8443/"),
                "host=shop.example:8443",
            ),
            (("/a/7?x=1", "/a b/%2e%2E?x= 1"), "path=/a b/%2e%2E"),
            (("GET https", "GET wss"), "scheme=https"),
            (("\"curl/8\"", r#""a\x22 \"b""#), r#"user_agent=a" "b"#),
            (("https 2026", "h2 2026"), "path=/a/7"),
        ];
        for ((from, to), want) in rows {
            assert_has(AwsAlb, &LINE.replacen(from, to, 1), &[want]);
        }
        let undispatched = LINE
            .replace("0.001 0.048 0.037 200 200", "-1 -1 -1 - -")
            .replace("TLSv1.2", "-")
            .replace("authenticate,forward", "authenticate");
        for column in ["status", "latency_us", "tls_version", "authenticated_hint"] {
            assert_lacks(AwsAlb, &undispatched, column);
        }
        // The entry of 2016 ends with the trace id, and a piece of a line may end before.
        for end in [" \"shop.example\"", " ECDHE"] {
            let end = LINE.find(end).unwrap();
            assert_has(AwsAlb, &LINE[..end], &["path=/a/7"]);
        }
    }

    #[test]
    fn what_is_no_request_is_rejected() {
        let rows = [
            (
                LINE.replace(
                    "GET https://shop.example:443/a/7?x=1 HTTP/1.1",
                    "- http://lb:80- -",
                ),
                "malformed: the request line is not HTTP",
            ),
            (
                LINE.replace(" 200 200 ", " OK 200 "),
                "wrong_type: status is not a number of three digits",
            ),
            (
                LINE.replacen("2026-01-05T", "2026-13-05T", 1),
                "malformed: no time where the load balancer's log has it",
            ),
            (
                LINE.replacen("2026-", "1999-", 1),
                "absurd_time: time is 915494400003 ms since 1970",
            ),
            (
                LINE[..60].to_owned(),
                "malformed: no client where the load balancer's log has it",
            ),
            (
                LINE.replacen("https ", "tls ", 1),
                "malformed: no type and time where the load balancer's log has it",
            ),
            (
                LINE.replace(" 34 366 ", " many 366 "),
                "wrong_type: size is not a number",
            ),
        ];
        for (line, want) in rows {
            assert_eq!(print(AwsAlb, &line), [want], "{line}");
        }
    }
}
