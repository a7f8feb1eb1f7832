//! Cloudflare Logpush: the dataset `http_requests` (Cloudflare Logs documentation, *HTTP requests* and *Custom fields*, read 2026-11).
//!
//! | event | field |
//! |---|---|
//! | `event_time_ms` | `EdgeStartTimestamp`, RFC 3339, s or ns; else `EdgeEndTimestamp` |
//! | `method` | `ClientRequestMethod` |
//! | `path`, `query` | `ClientRequestURI`, else `ClientRequestPath` (which lacks the query) |
//! | `scheme` | `ClientRequestScheme`; else `ClientSSLProtocol`: `none` is `http` |
//! | `host` | `ClientRequestHost` |
//! | `status` | `EdgeResponseStatus`; 0: none |
//! | `request_bytes`, `response_bytes` | `ClientRequestBytes`, `EdgeResponseBytes`, **with** headers |
//! | `latency_us` | `EdgeTimeToFirstByteMs` |
//! | `client_ip` | `ClientIP` |
//! | `user_agent`, `referer` | `ClientRequestUserAgent`, `ClientRequestReferer` |
//! | `client_cert` | `ClientMTLSAuthCertFingerprint`, if `ClientMTLSAuthStatus` is `ok` |
//! | `session` | a session cookie of `Cookies` (a custom field) |
//! | `authorization`, `api_key`, other headers | `RequestHeaders` (custom fields) |
//! | response's headers | `ResponseHeaders` (custom fields), `EdgeResponseContentType` |
//! | `service` | `ZoneName` |
//! | `upstream_scheme` | `OriginSSLProtocol`: `none` is `http`, if there is an `OriginIP` |
//! | `tls_version` | `ClientSSLProtocol` |
//! | `request_id` | `RayID` |
//!
//! By default nothing says who called. Custom fields (a ruleset of the phase `http_log_custom_fields`) log the headers `authorization`,
//! `x-api-key`, `origin` and `content-type`, session cookies, and of the answer `access-control-allow-origin`, `…-credentials`,
//! `server` and `x-powered-by`; the job's `output_options.field_names` needs `RequestHeaders`, `ResponseHeaders`, `Cookies` and the two
//! of mutual TLS.
//!
//! Traps: a Worker that fetches makes a record of its own (`WorkerSubrequest`, with the client's `ParentRayID`): filter the job with
//! `{"key":"WorkerSubrequest","operator":"eq","value":false}`, or calls count twice; a job may sample (`sample_rate`): leave it at 1.

use super::detect::has_any;
use super::headers::Headers;
use super::json::{Scalar, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str = "Cloudflare Logpush, dataset http_requests";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Always,
    upstream_scheme: Presence::Configured,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Never,
};

object! {
    exact struct Record {
        start: Scalar<'a> = "EdgeStartTimestamp",
        end: Scalar<'a> = "EdgeEndTimestamp",
        method: Scalar<'a> = "ClientRequestMethod",
        uri: Scalar<'a> = "ClientRequestURI",
        path: Scalar<'a> = "ClientRequestPath",
        scheme: Scalar<'a> = "ClientRequestScheme",
        host: Scalar<'a> = "ClientRequestHost",
        status: Scalar<'a> = "EdgeResponseStatus",
        request_bytes: Scalar<'a> = "ClientRequestBytes",
        response_bytes: Scalar<'a> = "EdgeResponseBytes",
        first_byte: Scalar<'a> = "EdgeTimeToFirstByteMs",
        client_ip: Scalar<'a> = "ClientIP",
        user_agent: Scalar<'a> = "ClientRequestUserAgent",
        referer: Scalar<'a> = "ClientRequestReferer",
        cert: Scalar<'a> = "ClientMTLSAuthCertFingerprint",
        cert_status: Scalar<'a> = "ClientMTLSAuthStatus",
        cookies: Cookies<'a> = "Cookies",
        request_headers: Headers<'a> = "RequestHeaders",
        response_headers: Headers<'a> = "ResponseHeaders",
        content_type: Scalar<'a> = "EdgeResponseContentType",
        zone: Scalar<'a> = "ZoneName",
        ssl_protocol: Scalar<'a> = "ClientSSLProtocol",
        origin_protocol: Scalar<'a> = "OriginSSLProtocol",
        origin_ip: Scalar<'a> = "OriginIP",
        ray_id: Scalar<'a> = "RayID",
    }
}

object! {
    exact struct Cookies {
        session: Scalar<'a> = "JSESSIONID" | "PHPSESSID" | "connect.sid" | "sessionid" | "session" | "session_id" | "sid" | "ASP.NET_SessionId" | "laravel_session",
    }
}

/// Says whether a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"ClientRequestMethod\"", "\"EdgeStartTimestamp\""])
}

/// Decodes one record.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let event_time_ms = record.start.or(record.end).time("EdgeStartTimestamp")?;
    let Target { path, query, .. } =
        target::split(record.uri.or(record.path).required("ClientRequestURI")?);
    let ssl_protocol = record.ssl_protocol.text("ClientSSLProtocol")?;
    let is_plain = ssl_protocol.as_deref() == Some("none");
    let inferred = || {
        ssl_protocol
            .as_ref()
            .map(|_| if is_plain { "http" } else { "https" }.into())
    };
    let scheme: Text<'_> = match record.scheme.text("ClientRequestScheme")? {
        Some(scheme) => target::http_scheme(&scheme),
        None => inferred(),
    };
    let is_verified = matches!(&record.cert_status, Scalar::Text(status) if status == "ok");
    let mut event = Event {
        event_time_ms,
        gateway: "cloudflare",
        method: record
            .method
            .method("ClientRequestMethod")?
            .ok_or_else(|| Fault::missing("ClientRequestMethod"))?,
        scheme,
        host: record.host.text("ClientRequestHost")?,
        path,
        query,
        status: record.status.status("EdgeResponseStatus")?,
        request_bytes: record.request_bytes.count("ClientRequestBytes")?,
        response_bytes: record.response_bytes.count("EdgeResponseBytes")?,
        latency_us: record.first_byte.scaled("EdgeTimeToFirstByteMs", 1_000)?,
        client_ip: record.client_ip.address("ClientIP")?,
        user_agent: record.user_agent.text("ClientRequestUserAgent")?,
        client_cert: record
            .cert
            .text("ClientMTLSAuthCertFingerprint")?
            .filter(|_| is_verified),
        session: record.cookies.session.text("Cookies")?,
        upstream_scheme: upstream_scheme(
            record.origin_protocol.text("OriginSSLProtocol")?,
            record.origin_ip.is_blank(),
        ),
        service: record.zone.text("ZoneName")?,
        tls_version: ssl_protocol.filter(|_| !is_plain),
        request_id: record.ray_id.text("RayID")?,
        referer: record.referer.text("ClientRequestReferer")?,
        ..Event::default()
    };
    record.request_headers.fill_request(&mut event)?;
    record.response_headers.fill_response(&mut event)?;
    if event.response_content_type.is_none() {
        event.response_content_type = record.content_type.text("EdgeResponseContentType")?;
    }
    Ok(event)
}

/// The scheme on the way to the origin. From the cache, or from a Worker, nothing was asked of one.
fn upstream_scheme(protocol: Text<'_>, is_kept: bool) -> Text<'static> {
    match protocol.as_deref()? {
        _ if is_kept => None,
        "none" => Some("http".into()),
        version if version.starts_with("TLS") => Some("https".into()),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::Cloudflare;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"{"ClientIP":"192.0.2.7","ClientMTLSAuthCertFingerprint":"ab12","ClientMTLSAuthStatus":"ok","ClientRequestBytes":2407,"ClientRequestHost":"shop.example","ClientRequestMethod":"GET","ClientRequestPath":"/a/7","ClientRequestReferer":"https://r.example/","ClientRequestScheme":"https","ClientRequestURI":"/a/7?x=1","ClientRequestUserAgent":"curl/8","ClientSSLProtocol":"TLSv1.3","Cookies":{"sid":"s1"},"EdgeEndTimestamp":"2026-01-05T00:00:01Z","EdgeResponseBodyBytes":17000,"EdgeResponseBytes":17826,"EdgeResponseContentType":"text/html","EdgeResponseStatus":200,"EdgeStartTimestamp":"2026-01-05T00:00:00Z","EdgeTimeToFirstByteMs":53,"OriginResponseTime":52000000,"ParentRayID":"00","RayID":"707c283ab88274cd","WorkerSubrequest":false,"ZoneName":"shop.example"}"#;

    #[test]
    fn every_field_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00Z",
            "status=200",
            "request_bytes=2407",
            "response_bytes=17826",
            "latency_us=53000",
            "gateway=cloudflare",
            "method=GET",
            "scheme=https",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "client_cert=ab12",
            "session=s1",
            "service=shop.example",
            "tls_version=TLSv1.3",
            "response_content_type=text/html",
            "request_id=707c283ab88274cd",
            "referer=https://r.example/",
        ];
        assert_eq!(print(Cloudflare, LINE), want);
    }

    #[test]
    fn the_way_to_the_origin_is_told_where_there_was_one() {
        let with = |extra: &str| LINE.replacen('{', &format!("{{{extra},"), 1);
        let plain = with(r#""OriginSSLProtocol":"none","OriginIP":"192.0.2.9""#);
        assert_has(Cloudflare, &plain, &["upstream_scheme=http"]);
        let secure = with(r#""OriginSSLProtocol":"TLSv1.3","OriginIP":"192.0.2.9""#);
        assert_has(Cloudflare, &secure, &["upstream_scheme=https"]);
        for extra in [
            r#""OriginSSLProtocol":"none","OriginIP":"""#,
            r#""OriginSSLProtocol":"unknown","OriginIP":"192.0.2.9""#,
        ] {
            assert_lacks(Cloudflare, &with(extra), "upstream_scheme");
        }
    }

    #[test]
    fn three_clocks_and_two_schemes_are_read() {
        for time in [
            "\"2026-01-05 00:00:00\"",
            "1767571200",
            "\"1767571200000000000\"",
        ] {
            let line = LINE.replace("\"2026-01-05T00:00:00Z\"", time);
            assert_has(Cloudflare, &line, &["event_time=2026-01-05T00:00:00Z"]);
        }
        let without = LINE.replace("\"ClientRequestScheme\":\"https\",", "");
        assert_has(Cloudflare, &without, &["scheme=https"]);
        let plain = without.replace("\"TLSv1.3\"", "\"none\"");
        assert_has(Cloudflare, &plain, &["scheme=http"]);
        assert_lacks(Cloudflare, &plain, "tls_version");
        assert_lacks(
            Cloudflare,
            &LINE.replace("\"ok\"", "\"untrusted\""),
            "client_cert",
        );
        assert_lacks(Cloudflare, &LINE.replace(":200,", ":0,"), "status");
    }

    #[test]
    fn custom_fields_name_the_caller() {
        let line = LINE.replace(
            "\"RayID\"",
            r#""RequestHeaders":{"authorization":"Bearer a.b.c","origin":"https://o.example"},
               "ResponseHeaders":{"server":"x/1","access-control-allow-origin":"*"},"RayID""#,
        );
        let want = [
            "authorization=Bearer a.b.c",
            "origin=https://o.example",
            "server=x/1",
            "allow_origin=*",
        ];
        assert_has(Cloudflare, &line, &want);
    }

    #[test]
    fn what_every_call_has_may_not_be_missing() {
        let no_path = LINE
            .replace("\"/a/7?x=1\"", "\"\"")
            .replace("\"/a/7\"", "\"\"");
        assert_eq!(
            print(Cloudflare, no_path),
            ["missing_field: ClientRequestURI"]
        );
        let no_method = LINE.replace("\"GET\"", "\"\"");
        assert_eq!(
            print(Cloudflare, no_method),
            ["missing_field: ClientRequestMethod"]
        );
        assert_eq!(
            print(Cloudflare, "{}"),
            ["missing_field: EdgeStartTimestamp"]
        );
    }
}
