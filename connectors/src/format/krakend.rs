//! KrakenD: the access log in text, gin's of the open source and the default of Enterprise (KrakenD 2.1 to 2.13, docs/logging).
//!
//! ```text
//! [GIN] 2026/01/05 - 00:00:00 | 200 |       4.529µs |      172.17.0.1 | GET      "/user/foo?a=b"
//! [PREFIX] 2026/01/05 - 00:00:00.003 [AccessLog] |200| 4.529 | 172.17.0.1 | GET /user/foo
//! ```
//!
//! | event | line |
//! |---|---|
//! | `event_time_ms` | date and time, **local** without a zone and read as UTC, gin 1 s, the request's **end** |
//! | `method`, `path`, `query` | last field |
//! | `status` | second field |
//! | `latency_us` | third field, as Go prints durations (`4.529µs`, `1.2s`), or milliseconds as a number |
//! | `client_ip` | fourth field: X-Forwarded-For where `forwarded_by_client_ip` trusts it |
//!
//! Traps: **no identity at all**: Enterprise can log `%{jwt.sub}` in JSON ([`krakend_json`]); the path is **decoded** (`%2F` is `/`, so the
//! path of an encoded id is longer), and gin's has the query behind it; colours of a terminal are taken off; without `TZ=UTC` all times are
//! shifted; lines of the application log (`▶ INFO …`) share the output: they are no calls.

use std::borrow::Cow;

use super::target::{self, Target};
use super::words::Fields;
use super::{Capabilities, Fault, Presence, combined, duration, json, krakend_json};
use crate::event::{Event, Text};
use crate::reject::RejectReason;
use crate::time;

pub(super) const DESCRIPTION: &str =
    "KrakenD's access log in text (gin, or Enterprise's default), or Enterprise's in JSON";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Configured,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Never,
    tls_version: Presence::Never,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Configured,
    response_headers: Presence::Never,
    body: Presence::Never,
};

/// Says whether a line begins with gin's tag or has Enterprise's, or an object the keys of Enterprise's pattern.
pub(super) fn looks_like(text: &str) -> bool {
    if text.starts_with('{') {
        return krakend_json::looks_like(text);
    }
    cut_time(text).is_some()
}

/// Decodes one line, or one object of Enterprise's `json`.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    if text.starts_with('{') {
        return krakend_json::decode(text);
    }
    let (time, fields) = cut_time(text).ok_or_else(|| broken("time"))?;
    let event_time_ms = time::parse_time(time).ok_or_else(|| broken("time"))?;
    let mut fields = fields.splitn(4, '|').map(plain);
    let mut field = |name| fields.next().ok_or_else(|| broken(name));
    let status = combined::status(field("status")?)?;
    let latency_us = latency_us(field("latency")?);
    let client_ip = field("address")?;
    let (method, target) = request(field("request")?)?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(target);
    Ok(Event {
        event_time_ms: json::believe(event_time_ms, "time")?,
        gateway: "krakend",
        method,
        scheme,
        host,
        path,
        query,
        status,
        latency_us,
        client_ip: known(client_ip).and_then(target::last_forwarder),
        ..Event::default()
    })
}

fn broken(field: &'static str) -> Fault {
    Fault::new(
        RejectReason::Malformed,
        format!("no {field} where KrakenD's access log has it"),
    )
}

fn known(text: &str) -> Text<'_> {
    (!matches!(text, "" | "-")).then_some(text.into())
}

/// The time, and the fields after it.
fn cut_time(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix("[GIN] ") {
        let (time, rest) = rest.split_once('|')?;
        return Some((time.trim_ascii(), rest));
    }
    // The operator's prefix, then the time.
    let (head, rest) = text.split_once(" [AccessLog] |")?;
    let time_start = head.len().checked_sub("2026/01/05 - 00:00:00.003".len())?;
    let time = head.get(time_start..)?;
    time::parse_time(time).map(|_| (time, rest))
}

/// A field without blanks and without the colours that gin gives a terminal (`ESC [ 97;42 m`).
fn plain(field: &str) -> &str {
    let mut text = field.trim_ascii();
    while let Some(rest) = text.strip_prefix("\u{1b}[") {
        let Some((_, rest)) = rest.split_once('m') else {
            break;
        };
        text = rest.trim_ascii_start();
    }
    match text.rfind("\u{1b}[") {
        Some(end) if text.ends_with('m') => text[..end].trim_ascii_end(),
        _ => text,
    }
}

fn latency_us(field: &str) -> Option<i64> {
    match field.parse::<f64>() {
        Ok(_) => duration::of_go(&format!("{field}ms")),
        Err(_) => duration::of_go(field),
    }
}

/// Method and target, the target quoted as Go does or bare.
fn request(field: &str) -> Result<(Cow<'_, str>, Cow<'_, str>), Fault> {
    let (method, rest) = field
        .split_once([' ', '\u{1b}'])
        .ok_or_else(|| broken("request"))?;
    let rest = match rest.strip_prefix("[0m") {
        Some(rest) => rest.trim_ascii(),
        None => plain(rest),
    };
    let mut fields = Fields { rest };
    let target = match rest.strip_prefix('"') {
        Some(_) => fields.quoted().ok_or_else(|| broken("request"))?,
        None => Cow::Borrowed(rest),
    };
    if method.is_empty() || !target.starts_with('/') {
        return Err(broken("request"));
    }
    Ok((Cow::Borrowed(method), target))
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Krakend};
    use crate::format::tests::{assert_has, print};

    const GIN: &str = "[GIN] 2026/01/05 - 00:00:00 | 200 |      4.529µs |      172.17.0.1 | GET      \"/a/7?x=1\"";

    #[test]
    fn a_line_of_gin_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00Z",
            "status=200",
            "latency_us=5",
            "gateway=krakend",
            "method=GET",
            "path=/a/7",
            "query=x=1",
            "client_ip=172.17.0.1",
        ];
        let coloured = GIN
            .replace("| 200 |", "|\u{1b}[97;42m 200 \u{1b}[0m|")
            .replace("| GET      ", "|\u{1b}[97;44m GET     \u{1b}[0m ");
        for line in [GIN, &coloured] {
            for format in [Krakend, Auto] {
                assert_eq!(print(format, line), want, "{line:?}");
            }
        }
    }

    #[test]
    fn odd_lines_are_read() {
        let rows = [
            (GIN.replace("4.529µs", "1m2.5s"), "latency_us=62500000"),
            (GIN.replace("a/7", "a|b/\\\"7"), "path=/a|b/\"7"),
            (
                GIN.replace("172.17.0.1", "2001:db8::1"),
                "client_ip=2001:db8::1",
            ),
        ];
        for (line, want) in rows {
            assert_has(Auto, &line, &[want, "gateway=krakend"]);
        }
    }

    #[test]
    fn enterprises_default_is_mapped() {
        let line =
            "[SHOP] 2026/01/05 - 00:00:00.003 [AccessLog] |404| 4.529 | 172.17.0.1 | DELETE /a/7";
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=404",
            "latency_us=4529",
            "gateway=krakend",
            "method=DELETE",
            "path=/a/7",
            "client_ip=172.17.0.1",
        ];
        assert_eq!(print(Auto, line), want);
    }

    #[test]
    fn other_lines_are_no_calls() {
        let rows = [
            (
                GIN.replace("2026/01/05", "yyyy/mm/dd"),
                "malformed: no time where KrakenD's access log has it",
            ),
            (
                "2026/01/05 00:00:00 KRAKEND INFO: [SERVICE: Gin] Building the router".to_owned(),
                "malformed: no time where KrakenD's access log has it",
            ),
            (
                GIN[..60].to_owned(),
                "malformed: no request where KrakenD's access log has it",
            ),
        ];
        for (line, want) in rows {
            assert_eq!(print(Krakend, &line), [want], "{line}");
        }
    }
}
