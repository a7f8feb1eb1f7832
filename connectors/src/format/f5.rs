//! F5 BIG-IP LTM: request logging through Telemetry Streaming in JSON (AS3 `Traffic_Log_Profile`, *Request Logging* of BIG-IP; the
//! keys are those of F5's and Elastic's example templates).
//!
//! Which variables are logged, and under which keys, the logging profile's template says. This one of the *response*, whose status the
//! template of the request does not know yet:
//!
//! ```text
//! event_source="request_logging",event_timestamp="$DATE_HTTP",client_ip="$CLIENT_IP",http_method="$HTTP_METHOD",http_uri="$HTTP_URI",
//! http_host="${Host}",http_status="$HTTP_STATCODE",req_elapsed_time="$RESPONSE_MSECS",bytes_out="$RESPONSE_SIZE",virtual_name="$VIRTUAL_NAME",
//! server_pool="$VIRTUAL_POOL_NAME",user="${X-Forwarded-User}",http_user_agent="${User-agent}",http_content_type="${Content-type}"
//! ```
//!
//! | event | key |
//! |---|---|
//! | `event_time_ms` | `req_start_time`, `event_timestamp`, else `res_start_time` |
//! | `method` | `http_method` |
//! | `path`, `query` | `http_uri` (raw, with query), else `http_url` |
//! | `host` | `http_host` |
//! | `status` | `http_status`, `http_statcode`, `response_code` |
//! | `request_bytes`, `response_bytes` | `bytes_in`, `bytes_out` |
//! | `latency_us` | `req_elapsed_time`, `response_ms` ms |
//! | `client_ip` | `client_ip`, `src_ip` |
//! | `principal` | `user`: the user of a Basic header, or what APM put into the header that the template names |
//! | `authorization`, `session` | `authorization`; a session cookie of `cookie` |
//! | `user_agent`, `referer`, `request_content_type`, `origin` | `http_user_agent`; `http_referrer`, `http_referer`; `http_content_type`; `http_origin` |
//! | `route`, `service` | `virtual_server`, `virtual_name`; `server_pool`, `node`, `server_ip` |
//!
//! Traps: `$DATE_YYYY/…` forms and `$TIME_*` are the unit's **local time** without a zone, read as UTC: log `$DATE_HTTP`, or set the unit
//! to UTC; the template does not escape: a client's quote in a header ends its value, and Telemetry Streaming takes what follows as keys,
//! so log `$HTTP_URI` and what the unit itself knows before any header (the first of a key counts); a header's value is the client's
//! word, the user's least of all to be believed, unless an iRule or APM drops what the client sent and sets it. ASM's, AFM's and APM's events are other formats.

use super::detect::has_any;
use super::json::{Scalar, authorization, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::Event;

pub(super) const DESCRIPTION: &str =
    "F5 BIG-IP LTM request logging through Telemetry Streaming in JSON";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Never,
    host: Presence::Configured,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Configured,
    tls_version: Presence::Never,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Configured,
    response_headers: Presence::Never,
    body: Presence::Never,
};

object! {
    struct Record {
        started: Scalar<'a> = "req_start_time" | "event_timestamp",
        answered: Scalar<'a> = "res_start_time",
        method: Scalar<'a> = "http_method",
        uri: Scalar<'a> = "http_uri",
        url: Scalar<'a> = "http_url",
        host: Scalar<'a> = "http_host",
        status: Scalar<'a> = "http_status" | "http_statcode" | "response_code",
        bytes_in: Scalar<'a> = "bytes_in",
        bytes_out: Scalar<'a> = "bytes_out",
        elapsed: Scalar<'a> = "req_elapsed_time" | "response_ms",
        client_ip: Scalar<'a> = "client_ip" | "src_ip",
        user: Scalar<'a> = "user",
        authorization: Scalar<'a> = "authorization",
        cookie: Scalar<'a> = "cookie",
        user_agent: Scalar<'a> = "http_user_agent",
        referer: Scalar<'a> = "http_referrer" | "http_referer",
        content_type: Scalar<'a> = "http_content_type",
        origin: Scalar<'a> = "http_origin",
        virtual_server: Scalar<'a> = "virtual_server" | "virtual_name",
        pool: Scalar<'a> = "server_pool" | "node" | "server_ip",
    }
}

/// Says whether a record has a mark of Telemetry Streaming's.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"telemetryEventCategory\""])
}

/// Decodes one record.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let event_time_ms = record.started.or(record.answered).time("event_timestamp")?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(record.uri.or(record.url).required("http_uri")?);
    let (authorization, authenticated_hint) =
        authorization(record.authorization.text("authorization")?);
    let session = record
        .cookie
        .text("cookie")?
        .and_then(|cookie| target::session_of(&cookie));
    Ok(Event {
        event_time_ms,
        gateway: "f5",
        method: record
            .method
            .method("http_method")?
            .ok_or_else(|| Fault::missing("http_method"))?,
        scheme: scheme.and_then(|scheme| target::http_scheme(&scheme)),
        host: record.host.text("http_host")?.or(host),
        path,
        query,
        status: record.status.status("http_status")?,
        request_bytes: record.bytes_in.count("bytes_in")?,
        response_bytes: record.bytes_out.count("bytes_out")?,
        latency_us: record.elapsed.scaled("req_elapsed_time", 1_000)?,
        client_ip: record.client_ip.address("client_ip")?,
        user_agent: record.user_agent.text("http_user_agent")?,
        authorization,
        principal: record.user.text("user")?,
        session,
        authenticated_hint,
        route: record.virtual_server.text("virtual_name")?,
        service: record.pool.text("server_pool")?,
        request_content_type: record.content_type.text("http_content_type")?,
        referer: record.referer.text("http_referrer")?,
        origin: record.origin.text("http_origin")?,
        ..Event::default()
    })
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::F5;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"{"event_source":"request_logging","event_timestamp":"Mon, 05 Jan 2026 00:00:00 GMT","hostname":"bigip-1","client_ip":"192.0.2.7","http_method":"GET","http_uri":"/a/7?x=1","http_host":"shop.example","http_status":"200","req_elapsed_time":"5","bytes_in":"12","bytes_out":"45","virtual_name":"/Common/app/vs","server_pool":"/Common/app/pool","user":"ann","http_user_agent":"curl/8","http_content_type":"application/json","http_referrer":"https://r.example/","cookie":"sid=s1","telemetryEventCategory":"LTM"}"#;

    #[test]
    fn every_key_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00Z",
            "status=200",
            "request_bytes=12",
            "response_bytes=45",
            "latency_us=5000",
            "gateway=f5",
            "method=GET",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "principal=ann",
            "session=s1",
            "route=/Common/app/vs",
            "service=/Common/app/pool",
            "request_content_type=application/json",
            "referer=https://r.example/",
        ];
        assert_eq!(print(F5, LINE), want);
    }

    #[test]
    fn clocks_and_names_of_other_templates_are_read() {
        let time = "Mon, 05 Jan 2026 00:00:00 GMT";
        for other in ["2026/01/05 00:00:00", "2026-01-05:00:00:00.000Z"] {
            assert_has(
                F5,
                &LINE.replace(time, other),
                &["event_time=2026-01-05T00:00:00Z"],
            );
        }
        let other = LINE
            .replace("event_timestamp", "req_start_time")
            .replace("client_ip", "src_ip")
            .replace("http_uri", "http_url")
            .replace("\"http_status\":\"200\",", "");
        assert_has(F5, &other, &["path=/a/7", "client_ip=192.0.2.7"]);
        assert_lacks(F5, &other, "status");
    }

    #[test]
    fn what_every_call_has_may_not_be_missing() {
        for key in ["event_timestamp", "http_uri", "http_method"] {
            let line = LINE.replace(&format!("\"{key}\""), "\"absent\"");
            assert_eq!(print(F5, line), [format!("missing_field: {key}")]);
        }
        let system = r#"{"system":{"hostname":"bigip-1"},"telemetryEventCategory":"systemInfo"}"#;
        assert_eq!(print(F5, system), ["missing_field: event_timestamp"]);
    }
}
