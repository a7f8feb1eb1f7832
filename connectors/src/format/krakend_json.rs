//! KrakenD Enterprise with its access log in JSON: `access_log_format` `json`, or `custom` with these keys (KrakenD 2.7 to 2.13, docs/logging).
//!
//! ```text
//! "access_log_custom_format": "{\"prefix\":\"%{prefix}\",\"time\":\"%{time}\",\"status_code\":%{statusCode},\"latency\":\"%{latency}\",\"client_ip\":\"%{clientIP}\",\"method\":\"%{method}\",\"host\":\"%{host}\",\"scheme\":\"%{scheme}\",\"jwt_sub\":\"%{jwt.sub}\",\"path\":\"%{path}\",\"query\":\"%{query}\",\"user_agent\":\"%{header.User-Agent}\"}\n"
//! ```
//!
//! | event | key |
//! |---|---|
//! | `event_time_ms` | `time`, ms, **local** without a zone and read as UTC, the request's **end** |
//! | `method`, `path`, `query` | `method`, `path` (decoded), `query` |
//! | `scheme`, `host` | `scheme`, `host` |
//! | `status` | `status_code` |
//! | `latency_us` | `latency`, seconds, or as Go prints durations; `latency_ms` |
//! | `client_ip` | `client_ip` |
//! | `jwt_sub`, `consumer`, `principal` | `jwt_sub`; `consumer` (`%{jwt.client_id}`); `user` |
//! | `authorization`, `api_key`, `session` | `authorization`, `api_key`, `session` (`%{header.Authorization}`, …) |
//! | `user_agent`, `referer`, `origin`, `trace_id`, `request_id` | `user_agent`, `referer`, `origin`, `traceparent`, `request_id` |
//!
//! Traps: the pattern **escapes nothing**: a decoded path or a header may hold quotes and so further keys. The first of equal keys counts:
//! put `path`, `query` and headers behind what the gateway says, as above. `%{jwt.sub}` is what the validator checked only on endpoints
//! with `auth/validator`.

use super::detect::has_any;
use super::json::{Scalar, authorization, object, read_into};
use super::target::{self, Target};
use super::{Fault, duration};
use crate::event::Event;

object! {
    struct Record {
        prefix: Scalar<'a> = "prefix",
        time: Scalar<'a> = "time",
        status: Scalar<'a> = "status_code",
        latency: Scalar<'a> = "latency",
        latency_ms: Scalar<'a> = "latency_ms",
        client_ip: Scalar<'a> = "client_ip",
        method: Scalar<'a> = "method",
        path: Scalar<'a> = "path",
        query: Scalar<'a> = "query",
        scheme: Scalar<'a> = "scheme",
        host: Scalar<'a> = "host",
        jwt_sub: Scalar<'a> = "jwt_sub",
        consumer: Scalar<'a> = "consumer",
        user: Scalar<'a> = "user",
        authorization: Scalar<'a> = "authorization",
        api_key: Scalar<'a> = "api_key",
        session: Scalar<'a> = "session",
        user_agent: Scalar<'a> = "user_agent",
        referer: Scalar<'a> = "referer",
        origin: Scalar<'a> = "origin",
        trace: Scalar<'a> = "traceparent",
        request_id: Scalar<'a> = "request_id",
    }
}

/// Says whether a record has the keys that Enterprise's pattern begins with.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"prefix\""]) && has_any(text, &["\"status_code\""])
}

/// Decodes one object.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    // May be empty; the other keys are common, and without it any flat log would pass.
    if record.prefix == Scalar::Absent {
        return Err(Fault::missing("prefix"));
    }
    let event_time_ms = record.time.time("time")?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(record.path.required("path")?);
    let (authorization, authenticated_hint) =
        authorization(record.authorization.text("authorization")?);
    let latency_us = match duration::seconds(&record.latency, "latency")? {
        Some(latency_us) => Some(latency_us),
        None => record.latency_ms.scaled("latency_ms", 1_000)?,
    };
    Ok(Event {
        event_time_ms,
        gateway: "krakend",
        method: record
            .method
            .method("method")?
            .ok_or_else(|| Fault::missing("method"))?,
        scheme: record.scheme.text("scheme")?.or(scheme),
        host: record.host.text("host")?.or(host),
        path,
        query: record.query.text("query")?.or(query),
        status: record.status.status("status_code")?,
        latency_us,
        client_ip: record
            .client_ip
            .text("client_ip")?
            .and_then(target::last_forwarder),
        user_agent: record.user_agent.text("user_agent")?,
        authorization,
        api_key: record.api_key.text("api_key")?,
        jwt_sub: record.jwt_sub.text("jwt_sub")?,
        consumer: record.consumer.text("consumer")?,
        principal: record.user.text("user")?,
        session: record.session.text("session")?,
        authenticated_hint,
        request_id: record.request_id.text("request_id")?,
        trace_id: record.trace.text("traceparent")?.map(target::trace_id),
        referer: record.referer.text("referer")?,
        origin: record.origin.text("origin")?,
        ..Event::default()
    })
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Krakend};
    use crate::format::tests::{assert_has, print};

    const FULL: &str = r#"{"prefix":"[SHOP]","time":"2026/01/05 - 00:00:00.003","status_code":201,"latency":"0.250","client_ip":"192.0.2.7",
        "method":"GET","host":"shop.example","scheme":"https","jwt_sub":"u1","path":"/a/7","query":"x=1","user_agent":"curl/8"}"#;

    #[test]
    fn every_field_of_a_full_record_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=201",
            "latency_us=250000",
            "gateway=krakend",
            "method=GET",
            "scheme=https",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "jwt_sub=u1",
        ];
        for format in [Krakend, Auto] {
            assert_eq!(print(format, FULL), want, "{format}");
        }
    }

    #[test]
    fn a_path_that_forges_keys_changes_none_before_it() {
        let line = FULL.replace(
            "/a/7",
            r#"/a/7","jwt_sub":"admin","status_code":"500","x":""#,
        );
        assert_has(Krakend, &line, &["jwt_sub=u1", "status=201"]);
    }
}
