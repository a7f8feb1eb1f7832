//! AWS WAF web ACL traffic logs (developer guide, *Log fields for web ACL traffic*, format version 1).
//!
//! | event | field |
//! |---|---|
//! | `event_time_ms` | `timestamp` ms, or text |
//! | `method` | `httpRequest.httpMethod` |
//! | `path`, `query` | `httpRequest.uri`, `.args` |
//! | `scheme`, `host` | `httpRequest.scheme`, `.host`; else the header |
//! | `status` | `responseCodeSent`, which is only there for what WAF answered itself; else 403 for the action `BLOCK` |
//! | `client_ip` | `httpRequest.clientIp`, the peer of the protected resource |
//! | `authorization`, `api_key`, `session`, `user_agent`, other headers | `httpRequest.headers`, a list of names and values |
//! | `service` | `httpSourceId` |
//! | `request_id` | `httpRequest.requestId` |
//!
//! All headers are logged unless the logging configuration redacts them; a redacted `authorization` still says that there was one.
//!
//! Traps: the log is written **before** the resource answers, so what WAF lets through has no status and no size: whether an object was
//! given out cannot be seen. Feed it beside the log of the resource, as probes are seen here, or not at all; the two count each call
//! twice. The `requestId` of an API Gateway or CloudFront is that of its own log.

use super::detect::has_any;
use super::headers::Headers;
use super::json::{Scalar, expect_objects, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::Event;

pub(super) const DESCRIPTION: &str = "AWS WAF web ACL traffic logs";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Always,
    scheme: Presence::Configured,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Never,
    tls_version: Presence::Never,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Always,
    response_headers: Presence::Never,
    body: Presence::Never,
};

object! {
    struct Record {
        timestamp: Scalar<'a> = "timestamp",
        action: Scalar<'a> = "action",
        code: Scalar<'a> = "responseCodeSent",
        source: Scalar<'a> = "httpSourceId",
        request: Request<'a> = "httpRequest",
    }
}

object! {
    struct Request {
        client_ip: Scalar<'a> = "clientIp",
        method: Scalar<'a> = "httpMethod",
        uri: Scalar<'a> = "uri",
        args: Scalar<'a> = "args",
        scheme: Scalar<'a> = "scheme",
        host: Scalar<'a> = "host",
        id: Scalar<'a> = "requestId",
        headers: Headers<'a> = "headers",
    }
}

/// Says whether a record has a key that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"webaclId\""])
}

/// Decodes one record.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    expect_objects(&[(&record.request, "httpRequest")])?;
    let request = record.request;
    let target = target::split(request.uri.required("httpRequest.uri")?);
    let Target { path, query, .. } = target;
    let is_blocked = matches!(&record.action, Scalar::Text(action) if action == "BLOCK");
    let scheme = request.scheme.text("httpRequest.scheme")?;
    let mut event = Event {
        event_time_ms: record.timestamp.time("timestamp")?,
        gateway: "aws-waf",
        method: request
            .method
            .method("httpRequest.httpMethod")?
            .ok_or_else(|| Fault::missing("httpRequest.httpMethod"))?,
        scheme: scheme.and_then(|scheme| target::http_scheme(&scheme)),
        host: request.host.text("httpRequest.host")?,
        path,
        query: query.or(request.args.text("httpRequest.args")?),
        status: record
            .code
            .status("responseCodeSent")?
            .or(is_blocked.then_some(403)),
        client_ip: request.client_ip.address("httpRequest.clientIp")?,
        service: record.source.text("httpSourceId")?,
        request_id: request.id.text("httpRequest.requestId")?,
        ..Event::default()
    };
    request.headers.fill_request(&mut event)?;
    Ok(event)
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::AwsWaf;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"{"timestamp":1767571200003,"formatVersion":1,"webaclId":"arn:aws:wafv2:eu-central-1:1:regional/webacl/shop/1","terminatingRuleId":"Default_Action","action":"ALLOW","httpSourceName":"ALB","httpSourceId":"1-app/shop/1","responseCodeSent":null,"httpRequest":{"clientIp":"192.0.2.7","country":"DE","headers":[{"name":"Host","value":"shop.example"},{"name":"Authorization","value":"Bearer a.b.c"},{"name":"user-agent","value":"curl/8"}],"uri":"/a/7","args":"x=1","httpVersion":"HTTP/1.1","httpMethod":"GET","requestId":"1-6877bf1e","scheme":"https"}}"#;

    #[test]
    fn every_field_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "gateway=aws-waf",
            "method=GET",
            "scheme=https",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "authorization=Bearer a.b.c",
            "service=1-app/shop/1",
            "request_id=1-6877bf1e",
        ];
        assert_eq!(print(AwsWaf, LINE), want);
        assert_lacks(AwsWaf, LINE, "status");
        let blocked = LINE.replace("ALLOW", "BLOCK");
        assert_has(AwsWaf, &blocked, &["status=403"]);
        let coded = blocked.replace("\"responseCodeSent\":null", "\"responseCodeSent\":405");
        assert_has(AwsWaf, &coded, &["status=405"]);
        let redacted = LINE.replace("Bearer a.b.c", "REDACTED");
        assert_has(AwsWaf, &redacted, &["authenticated_hint=true"]);
    }

    #[test]
    fn what_every_call_has_may_not_be_missing() {
        let rows = [
            ("\"timestamp\"", "missing_field: timestamp"),
            ("\"uri\"", "missing_field: httpRequest.uri"),
            ("\"httpMethod\"", "missing_field: httpRequest.httpMethod"),
        ];
        for (key, want) in rows {
            assert_eq!(print(AwsWaf, LINE.replace(key, "\"absent\"")), [want]);
        }
    }
}
