//! Tyk: the analytics record as the pump sends it (tyk-pump 1.5 to 1.12, `pumps/kafka.go`, `pumps/stdout.go`, `analytics/analytics.go`).
//!
//! | event | Tyk |
//! |---|---|
//! | `event_time_ms` | `timestamp`, RFC 3339, the request's **end** |
//! | `method`, `path`, `query` | `method`; the request line in `raw_request`, else `original_path`, `raw_path`, `path`, none of which has a query |
//! | `host` | `host` |
//! | `status` | `response_code` |
//! | `request_bytes` | `content_length`, body only; -1 is unknown |
//! | `response_bytes` | `network.bytes_out` (the Kafka pump does not send it, and 0 is unknown) |
//! | `latency_us` | `request_time_ms` (Kafka), `request_time`, both ms |
//! | `client_ip` | `ip_address` |
//! | `user_agent` | `user_agent` |
//! | `consumer` | `alias` of the key, else `oauth_id`, the OAuth client |
//! | `api_key` | `api_key`: the key, its hash (`hash_keys`) or its end (`obfuscate_keys`); `00000000` and its kin are keyless |
//! | `authorization`, other headers | of `raw_request` |
//! | `route`, `service` | -; `api_name`, else `api_id` |
//! | `request_body` | of `raw_request` |
//!
//! Records are flat (Kafka pump) or lie under `tyk-analytics-record` (stdout pump).
//!
//! Traps: without detailed recording (`enable_detailed_recording`) there is no query, no header and no body; with it `raw_request` is the
//! whole message in base64, and a credential in it leaves the gateway; `obfuscate_keys` leaves four characters of a key, which many share:
//! set an alias; the time is taken when the record is made; a keyless API has no identity.

use std::borrow::Cow;

use super::base64;
use super::detect::has_any;
use super::headers::Headers;
use super::json::{Scalar, expect_objects, object, read};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str = "Tyk's analytics records, as its pump sends them";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Always,
    scheme: Presence::Never,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Configured,
    tls_version: Presence::Never,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Configured,
    response_headers: Presence::Never,
    body: Presence::Configured,
};

object! {
    struct Wrapper {
        nested: Record<'a> = "tyk-analytics-record",
    }
}

object! {
    struct Record {
        timestamp: Scalar<'a> = "timestamp",
        method: Scalar<'a> = "method",
        original_path: Scalar<'a> = "original_path",
        raw_path: Scalar<'a> = "raw_path",
        path: Scalar<'a> = "path",
        host: Scalar<'a> = "host",
        response_code: Scalar<'a> = "response_code",
        content_length: Scalar<'a> = "content_length",
        request_time: Scalar<'a> = "request_time_ms" | "request_time",
        ip_address: Scalar<'a> = "ip_address",
        user_agent: Scalar<'a> = "user_agent",
        alias: Scalar<'a> = "alias",
        oauth_id: Scalar<'a> = "oauth_id",
        api_key: Scalar<'a> = "api_key",
        api_name: Scalar<'a> = "api_name",
        api_id: Scalar<'a> = "api_id",
        raw_request: Scalar<'a> = "raw_request",
        network: Network<'a> = "network",
    }
}

object! { struct Network { bytes_out: Scalar<'a> = "bytes_out", } }

/// Says whether a record has keys that only this format has beside each other.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"tyk-analytics-record\""])
        || (has_any(text, &["\"api_id\""]) && has_any(text, &["\"raw_path\""]))
}

/// Decodes one record.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let record: Record<'_> = if has_any(text, &["\"tyk-analytics-record\""]) {
        read::<Wrapper<'_>>(text)?.nested
    } else {
        read(text)?
    };
    expect_objects(&[
        (&record, "tyk-analytics-record"),
        (&record.network, "network"),
    ])?;
    let event_time_ms = record.timestamp.time("timestamp")?;
    let path = [record.original_path, record.raw_path]
        .into_iter()
        .find(|path| !path.is_blank())
        .unwrap_or(record.path);
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(path.required("raw_path")?);
    let consumer = match record.alias.text("alias")? {
        Some(alias) => Some(alias),
        None => record.oauth_id.text("oauth_id")?,
    };
    let service = match record.api_name.text("api_name")? {
        Some(name) => Some(name),
        None => record.api_id.text("api_id")?,
    };
    let api_key = record.api_key.text("api_key")?;
    let mut event = Event {
        event_time_ms,
        gateway: "tyk",
        method: record
            .method
            .method("method")?
            .ok_or_else(|| Fault::missing("method"))?,
        scheme,
        host: record.host.text("host")?.or(host),
        path,
        query,
        status: record.response_code.status("response_code")?,
        request_bytes: record.content_length.count("content_length")?,
        response_bytes: record
            .network
            .bytes_out
            .count("network.bytes_out")?
            .filter(|bytes| 0 < *bytes),
        latency_us: record.request_time.scaled("request_time", 1_000)?,
        client_ip: record.ip_address.address("ip_address")?,
        user_agent: record.user_agent.text("user_agent")?,
        // A keyless API's records have a key of zeros.
        api_key: api_key.filter(|key| !key.bytes().all(|b| b == b'0')),
        consumer,
        service,
        ..Event::default()
    };
    if let Some(request) = message(record.raw_request.text("raw_request")?) {
        add_message(&mut event, &request)?;
    }
    Ok(event)
}

/// The request as it was sent, if the record has it.
fn message(raw_request: Text<'_>) -> Option<String> {
    let bytes = base64::decode(raw_request?.as_bytes())?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Adds what only the message has: the query, headers and the body.
fn add_message(event: &mut Event<'_>, message: &str) -> Result<(), Fault> {
    let (head, body) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
    let mut lines = head.split("\r\n");
    let owned = |text: &str| Cow::<'static, str>::Owned(text.to_owned());
    let line = lines.next().unwrap_or_default();
    // The gateway rebuilds the line: where it fits, it is the rawest there is.
    if let Ok((_, target)) = target::request_line(owned(line)) {
        let target = target::split(target);
        event.path = target.path;
        event.query = target.query;
    }
    let mut headers = Headers::default();
    for line in lines {
        if let Some((name, value)) = line.split_once(':') {
            headers.put(name, Scalar::Text(owned(value.trim_ascii())));
        }
    }
    headers.fill_request(event)?;
    event.request_body = (!body.is_empty()).then(|| owned(body));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::format::Format::{Auto, Tyk};
    use crate::format::tests::{assert_has, assert_lacks, print};

    const KAFKA: &str = r#"{"timestamp":"2026-01-05T00:00:00.003782Z","method":"GET","path":"/a/7","raw_path":"/a//%31","response_code":404,"alias":"ann",
        "api_key":"5f3a9c21","api_version":"Non Versioned","api_name":"orders","api_id":"845b8ed1","org_id":"o","oauth_id":"app-1","raw_request":"",
        "request_time_ms":12,"raw_response":"","ip_address":"192.0.2.7","host":"shop.example","content_length":5,"user_agent":"curl/8"}"#;

    #[test]
    fn the_kafka_pumps_record_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=404",
            "request_bytes=5",
            "latency_us=12000",
            "gateway=tyk",
            "method=GET",
            "host=shop.example",
            "path=/a//%31",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "api_key=5f3a9c21",
            "consumer=ann",
            "service=orders",
        ];
        assert_eq!(print(Tyk, KAFKA), want);
        let nested = format!(r#"{{"level":"info","msg":"","tyk-analytics-record":{KAFKA}}}"#);
        for format in [Tyk, Auto] {
            assert_eq!(print(format, &nested), want);
        }
    }

    #[test]
    fn what_stands_for_nothing_is_left_out() {
        let keyless = KAFKA
            .replace("5f3a9c21", "00000000")
            .replace("\"ann\"", "\"\"");
        assert_has(Tyk, &keyless, &["consumer=app-1"]);
        assert_lacks(Tyk, &keyless, "api_key");
        assert_lacks(Tyk, &KAFKA.replace(":5,", ":-1,"), "request_bytes");
        assert_has(Tyk, &KAFKA.replace("raw_path", "x"), &["path=/a/7"]);
    }

    #[test]
    fn detailed_recording_adds_query_headers_and_body() {
        // POST /a//%31?x=1 HTTP/1.1, Host, Authorization: Bearer a.b.c, Content-Type, and a body.
        let raw = "UE9TVCAvYS8vJTMxP3g9MSBIVFRQLzEuMQ0KSG9zdDogeA0KQXV0aG9yaXphdGlvbjogQmVhcmVyIGEuYi5jDQpDb250ZW50LVR5cGU6IGFwcGxpY2F0aW9uL2pzb24NCg0KeyJpZCI6N30=";
        let text = KAFKA.replace(
            "\"raw_request\":\"\"",
            &format!("\"raw_request\":\"{raw}\""),
        );
        assert_has(
            Tyk,
            &text,
            &[
                "path=/a//%31",
                "query=x=1",
                "host=shop.example",
                "authorization=Bearer a.b.c",
                "request_content_type=application/json",
                r#"request_body={"id":7}"#,
            ],
        );
        assert_has(Tyk, &text.replace(raw, "..."), &["path=/a//%31"]);
    }
}
