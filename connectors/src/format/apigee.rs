//! Apigee X, hybrid and Edge: what a `MessageLogging` policy writes in JSON (*MessageLogging policy*, *Flow variables reference*, read
//! 2026-11), alone or as the `jsonPayload` of a Cloud Logging entry.
//!
//! A proxy logs nothing by itself: the policy's message says what, and under which keys. This one, attached to the PostClientFlow:
//!
//! ```text
//! <Message contentType="application/json">{"organization":"{organization.name}","environment":"{environment.name}",
//!  "apiProxy":"{apiproxy.name}","flow":"{current.flow.name}","correlationId":"{messageid}",
//!  "clientReceived":"{client.received.start.timestamp}","proxyResponseSent":"{client.sent.end.timestamp}",
//!  "verb":"{request.verb}","requestUri":"{escapeJSON(request.uri)}","host":"{escapeJSON(request.header.host)}",
//!  "scheme":"{client.scheme}","clientIp":"{client.ip}","proxyResponseCode":"{message.status.code}",
//!  "userAgent":"{escapeJSON(request.header.user-agent)}","origin":"{escapeJSON(request.header.origin)}",
//!  "jwtSub":"{jwt.VERIFY.claim.subject}","developerId":"{developer.id}","developerApp":"{developer.app.name}",
//!  "clientId":"{client_id}","responseSize":"{message.header.content-length}"}</Message>
//! ```
//!
//! `VERIFY` is the name of the proxy's `VerifyJWT` policy. Without `escapeJSON` a client's quote breaks the line, and its call is a dead
//! letter. The keys are those of the *cloud-logging-shared-flow* of Apigee's reference proxies, which logs the first half of them.
//!
//! | event | key |
//! |---|---|
//! | `event_time_ms` | `clientReceived`, `proxyRequestReceived` ms (the request's **start**), else `timestamp` |
//! | `method` | `verb`, `method` |
//! | `path`, `query` | `requestUri`, raw; else `requestUrl`, which is the target's |
//! | `scheme`, `host` | `scheme`; `host` |
//! | `status` | `proxyResponseCode`, `status` |
//! | `response_bytes` | `responseSize` |
//! | `latency_us` | `proxyResponseSent` - `clientReceived` |
//! | `client_ip` | `clientIp` |
//! | `user_agent`, `referer`, `origin`, `authorization` | `userAgent`, `referer`, `origin`, `authorization` |
//! | `jwt_sub`, `jwt_claims` | `jwtSub`; `jwtClaims` |
//! | `consumer` | `developerId` and `developerApp`, as two developers may name their apps alike; either alone |
//! | `api_key` | `clientId`: it **is** the key |
//! | `client_cert` | `clientCertSubject` |
//! | `route`, `service` | `flow`; `apiProxy` |
//! | `tls_version` | `tlsVersion` |
//! | `request_id`, `trace_id` | `correlationId`; `traceparent` |
//!
//! Traps: a variable that is not set is written as an empty text; the reference flow writes the API product's name as `developerApp`,
//! which names no caller: where both are alike it is not read; a policy may have changed `request.uri` by then; `client.ip` is the load
//! balancer's address unless the environment resolves client addresses.

use std::borrow::Cow;

use super::detect::has_any;
use super::json::{Raw, Scalar, authorization, object, read};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str =
    "Apigee MessageLogging in JSON, alone or in a Cloud Logging entry";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Configured,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Configured,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Configured,
    response_headers: Presence::Never,
    body: Presence::Never,
};

object! { struct Entry { payload: Record<'a> = "jsonPayload", } }

object! {
    struct Record {
        received: Scalar<'a> = "clientReceived" | "proxyRequestReceived",
        timestamp: Scalar<'a> = "timestamp",
        sent: Scalar<'a> = "proxyResponseSent",
        verb: Scalar<'a> = "verb" | "method",
        uri: Scalar<'a> = "requestUri",
        url: Scalar<'a> = "requestUrl",
        scheme: Scalar<'a> = "scheme",
        host: Scalar<'a> = "host",
        status: Scalar<'a> = "proxyResponseCode" | "status",
        size: Scalar<'a> = "responseSize",
        client_ip: Scalar<'a> = "clientIp",
        user_agent: Scalar<'a> = "userAgent",
        referer: Scalar<'a> = "referer",
        origin: Scalar<'a> = "origin",
        authorization: Scalar<'a> = "authorization",
        jwt_sub: Scalar<'a> = "jwtSub",
        jwt_claims: Raw<'a> = "jwtClaims",
        product: Scalar<'a> = "apiProduct",
        app: Scalar<'a> = "developerApp",
        developer: Scalar<'a> = "developerId" | "developerEmail",
        client_id: Scalar<'a> = "clientId",
        client_cert: Scalar<'a> = "clientCertSubject",
        flow: Scalar<'a> = "flow",
        proxy: Scalar<'a> = "apiProxy",
        tls_version: Scalar<'a> = "tlsVersion",
        correlation_id: Scalar<'a> = "correlationId",
        trace: Scalar<'a> = "traceparent",
    }
}

/// Says whether a record has a key that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"apiProxy\""])
}

/// Decodes one message or log entry.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let record = record_of(text)?;
    let event_time_ms = record
        .received
        .clone()
        .or(record.timestamp)
        .time("clientReceived")?;
    let url = record.uri.or(record.url).required("requestUri")?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(url);
    let scheme = record.scheme.text("scheme")?.or(scheme);
    let (authorization, authenticated_hint) =
        authorization(record.authorization.text("authorization")?);
    let app = record
        .app
        .text("developerApp")?
        .filter(|app| !matches!(&record.product, Scalar::Text(product) if product == app));
    Ok(Event {
        event_time_ms,
        gateway: "apigee",
        method: record
            .verb
            .method("verb")?
            .ok_or_else(|| Fault::missing("verb"))?,
        scheme: scheme.and_then(|scheme| target::http_scheme(&scheme)),
        host: record.host.text("host")?.or(host),
        path,
        query,
        status: record.status.status("proxyResponseCode")?,
        response_bytes: record.size.count("responseSize")?,
        latency_us: latency_us(&record.received, &record.sent),
        client_ip: record.client_ip.address("clientIp")?,
        user_agent: record.user_agent.text("userAgent")?,
        authorization,
        api_key: record.client_id.text("clientId")?,
        jwt_sub: record.jwt_sub.text("jwtSub")?,
        jwt_claims: record.jwt_claims.0,
        consumer: consumer(record.developer.text("developerId")?, app),
        client_cert: record.client_cert.text("clientCertSubject")?,
        authenticated_hint,
        route: record.flow.text("flow")?,
        service: record.proxy.text("apiProxy")?,
        tls_version: record.tls_version.text("tlsVersion")?,
        request_id: record.correlation_id.text("correlationId")?,
        trace_id: record.trace.text("traceparent")?.map(target::trace_id),
        referer: record.referer.text("referer")?,
        origin: record.origin.text("origin")?,
        ..Event::default()
    })
}

/// The message, alone or in a log entry.
fn record_of(text: &str) -> Result<Record<'_>, Fault> {
    if has_any(text, &["\"jsonPayload\""]) {
        let entry: Entry<'_> = read(text)?;
        if !entry.payload.verb.is_blank() {
            return Ok(entry.payload);
        }
    }
    read(text)
}

/// From the request's first byte to the answer's last; unknown where either stamp is.
fn latency_us(received: &Scalar<'_>, sent: &Scalar<'_>) -> Option<i64> {
    let (received_ms, sent_ms) = (received.time("").ok()?, sent.time("").ok()?);
    Some((sent_ms - received_ms) * 1_000).filter(|latency_us| 0 <= *latency_us)
}

fn consumer<'a>(developer: Text<'a>, app: Text<'a>) -> Text<'a> {
    match (developer, app) {
        (Some(developer), Some(app)) => Some(Cow::Owned(format!("{developer}/{app}"))),
        (developer, app) => developer.or(app),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::Apigee;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"{"organization":"acme","environment":"prod","apiProxy":"orders","apiProduct":"shop","flow":"get-order","correlationId":"c-1","clientReceived":"1767571200003","proxyResponseSent":"1767571200015","verb":"GET","requestUri":"/v1/a/7?x=1","host":"shop.example","scheme":"https","clientIp":"192.0.2.7","proxyResponseCode":"200","userAgent":"curl/8","jwtSub":"u-1","developerId":"d-1","developerApp":"web","clientId":"k-1","origin":"","responseSize":"20"}"#;
    pub(in crate::format) const ENTRY: &str = r#"{"insertId":"i-1","logName":"projects/p/logs/apigee-runtime","resource":{"type":"api","labels":{}},"timestamp":"2026-01-05T00:00:01Z","jsonPayload":{"organization":"acme","apiProxy":"orders","apiProduct":"shop","developerApp":"shop","clientId":"k-1","developerId":"d-1","requestUri":"/v1/a/7","requestUrl":"http://target/a/7","verb":"GET","correlationId":"c-1","proxyRequestReceived":"1767571200003","proxyResponseCode":"404"}}"#;

    #[test]
    fn every_key_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "response_bytes=20",
            "latency_us=12000",
            "gateway=apigee",
            "method=GET",
            "scheme=https",
            "host=shop.example",
            "path=/v1/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "api_key=k-1",
            "jwt_sub=u-1",
            "consumer=d-1/web",
            "route=get-order",
            "service=orders",
            "request_id=c-1",
        ];
        assert_eq!(print(Apigee, LINE), want);
    }

    #[test]
    fn an_entry_of_the_reference_flow_is_read() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=404",
            "path=/v1/a/7",
            // The product's name is no caller's.
            "consumer=d-1",
            "api_key=k-1",
        ];
        assert_has(Apigee, ENTRY, &want);
        assert_lacks(Apigee, ENTRY, "latency_us");
        let anonymous = ENTRY.replace("\"d-1\"", "\"\"").replace("\"k-1\"", "\"\"");
        for column in ["consumer", "api_key"] {
            assert_lacks(Apigee, &anonymous, column);
        }
    }

    #[test]
    fn what_every_call_has_may_not_be_missing() {
        let rows = [
            ("\"clientReceived\"", "missing_field: clientReceived"),
            ("\"requestUri\"", "missing_field: requestUri"),
            ("\"verb\"", "missing_field: verb"),
        ];
        for (key, want) in rows {
            assert_eq!(print(Apigee, LINE.replace(key, "\"absent\"")), [want]);
        }
        let backwards = LINE.replace("1767571200015", "1767571200001");
        assert_lacks(Apigee, &backwards, "latency_us");
    }
}
