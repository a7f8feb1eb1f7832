//! Azure Application Gateway: the resource log `ApplicationGatewayAccessLog` (*Diagnostic logs*, *AGWAccessLogs*, read 2026-11), as a
//! diagnostic setting sends it, or a row of the table `AGWAccessLogs`, whose names begin with capitals.
//!
//! | event | v2 | v1 |
//! |---|---|---|
//! | `event_time_ms` | `timeStamp`, `timestamp`, `time`; `TimeGenerated` | same |
//! | `method` | `properties.httpMethod` | same |
//! | `path`, `query` | `properties.originalRequestUriWithArgs`; else `requestUri` and `requestQuery` (both after a rewrite) | `requestUri`; its `requestQuery` is the gateway's own |
//! | `scheme` | `properties.sslEnabled`: `on` or `off` | same |
//! | `host` | `properties.originalHost`, `host` | `host` |
//! | `status` | `properties.httpStatus`; 0: the client left | same |
//! | `request_bytes`, `response_bytes` | `properties.receivedBytes`, `.sentBytes` | same |
//! | `latency_us` | `properties.timeTaken`, **s** | `timeTaken`, **ms** |
//! | `client_ip` | `properties.clientIP`, `clientIp`: the socket's peer | same |
//! | `user_agent` | `properties.userAgent` | same |
//! | `client_cert` | `properties.sslClientCertificateFingerprint`, if `sslClientVerify` is `SUCCESS` | - |
//! | `tls_version` | `properties.sslProtocol` | same |
//! | `route`, `service` | `properties.ruleName`; `backendPoolName`, else `serverRouted` | |
//! | `request_id` | `properties.transactionId` | |
//!
//! v1 is told by its `instanceId` (`ApplicationGatewayRole_IN_0`). Nothing but a client certificate says who called. Records of the
//! firewall's log have neither a method nor a status: they are rejected.

use super::detect::has_any;
use super::json::{Scalar, expect_objects, object, read, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str = "Azure Application Gateway access logs, v1 and v2";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
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

object! {
    exact struct Record {
        time: Scalar<'a> = "timeStamp" | "timestamp" | "time" | "TimeGenerated",
        properties: Properties<'a> = "properties",
    }
}

object! {
    exact struct Properties {
        instance: Scalar<'a> = "instanceId" | "InstanceId",
        method: Scalar<'a> = "httpMethod" | "HttpMethod",
        original_uri: Scalar<'a> = "originalRequestUriWithArgs" | "OriginalRequestUriWithArgs",
        uri: Scalar<'a> = "requestUri" | "RequestUri",
        query: Scalar<'a> = "requestQuery" | "RequestQuery",
        ssl_enabled: Scalar<'a> = "sslEnabled" | "SslEnabled",
        original_host: Scalar<'a> = "originalHost" | "OriginalHost",
        host: Scalar<'a> = "host" | "Host",
        status: Scalar<'a> = "httpStatus" | "HttpStatus",
        received: Scalar<'a> = "receivedBytes" | "ReceivedBytes",
        sent: Scalar<'a> = "sentBytes" | "SentBytes",
        time_taken: Scalar<'a> = "timeTaken" | "TimeTaken",
        client_ip: Scalar<'a> = "clientIP" | "clientIp" | "ClientIp" | "ClientIP",
        user_agent: Scalar<'a> = "userAgent" | "UserAgent",
        fingerprint: Scalar<'a> = "sslClientCertificateFingerprint" | "SslClientCertificateFingerprint",
        verify: Scalar<'a> = "sslClientVerify" | "SslClientVerify",
        ssl_protocol: Scalar<'a> = "sslProtocol" | "SslProtocol",
        rule: Scalar<'a> = "ruleName" | "RuleName",
        pool: Scalar<'a> = "backendPoolName" | "BackendPoolName",
        server: Scalar<'a> = "serverRouted" | "ServerRouted",
        transaction: Scalar<'a> = "transactionId" | "TransactionId",
    }
}

/// Says whether a record has words that only this format has, the firewall's log included, which [`decode`] rejects by name.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(
        text,
        &[
            "\"ApplicationGatewayAccessLog\"",
            "\"ApplicationGatewayFirewallLog\"",
            "\"AGWAccessLogs\"",
        ],
    )
}

/// Decodes one record.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    expect_objects(&[(&record.properties, "properties")])?;
    if record.properties.method.is_blank() {
        // A row of the table has everything on one level.
        record.properties = read(text)?;
    }
    let properties = record.properties;
    let event_time_ms = record.time.time("time")?;
    let method = properties
        .method
        .method("httpMethod")?
        .ok_or_else(|| Fault::missing("httpMethod"))?;
    let is_v1 = matches!(&properties.instance, Scalar::Text(name) if name.starts_with("ApplicationGatewayRole"));
    let target = target_of(
        properties.original_uri,
        properties.uri,
        properties.query,
        is_v1,
    )?;
    let is_tls = properties.ssl_enabled.text("sslEnabled")?;
    let is_verified = properties
        .verify
        .text("sslClientVerify")?
        .is_some_and(|verdict| verdict == "SUCCESS");
    Ok(Event {
        event_time_ms,
        gateway: "azure-app-gateway",
        method,
        scheme: match is_tls.as_deref() {
            Some("on") => Some("https".into()),
            Some("off") => Some("http".into()),
            _ => None,
        },
        host: properties
            .original_host
            .or(properties.host)
            .text("originalHost")?,
        path: target.path,
        query: target.query,
        status: properties.status.status("httpStatus")?,
        request_bytes: properties.received.count("receivedBytes")?,
        response_bytes: properties.sent.count("sentBytes")?,
        latency_us: properties
            .time_taken
            .scaled("timeTaken", if is_v1 { 1_000 } else { 1_000_000 })?,
        client_ip: properties.client_ip.address("clientIP")?,
        user_agent: properties.user_agent.text("userAgent")?,
        client_cert: properties
            .fingerprint
            .text("sslClientCertificateFingerprint")?
            .filter(|_| is_verified),
        route: properties.rule.text("ruleName")?,
        service: properties
            .pool
            .or(properties.server)
            .text("backendPoolName")?,
        tls_version: properties.ssl_protocol.text("sslProtocol")?,
        request_id: properties.transaction.text("transactionId")?,
        ..Event::default()
    })
}

fn target_of<'a>(
    original: Scalar<'a>,
    uri: Scalar<'a>,
    query: Scalar<'a>,
    is_v1: bool,
) -> Result<Target<'a>, Fault> {
    if let Some(original) = original.text("originalRequestUriWithArgs")? {
        return Ok(target::split(original));
    }
    let target = target::split(uri.required("requestUri")?);
    let query: Text<'a> = query.text("requestQuery")?.filter(|_| !is_v1);
    Ok(Target {
        query: target.query.or(query),
        ..target
    })
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::AzureAppGateway;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"{"resourceId":"/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.NETWORK/APPLICATIONGATEWAYS/GW","operationName":"ApplicationGatewayAccess","timeStamp":"2026-01-05T00:00:00+00:00","category":"ApplicationGatewayAccessLog","properties":{"instanceId":"appgw_1","clientIP":"192.0.2.7","clientPort":46886,"httpMethod":"GET","originalRequestUriWithArgs":"/a/7?x=1","requestUri":"/b","requestQuery":"y=2","userAgent":"curl/8","httpStatus":200,"httpVersion":"HTTP/1.1","receivedBytes":65,"sentBytes":553,"timeTaken":0.205,"transactionId":"t-1","sslEnabled":"on","sslProtocol":"TLSv1.2","sslClientVerify":"SUCCESS","sslClientCertificateFingerprint":"ab12","serverRouted":"10.0.0.4:80","host":"internal.example","originalHost":"shop.example","ruleName":"rule-1","backendPoolName":"orders"}}"#;
    pub(in crate::format) const ROW: &str = r#"{"TimeGenerated":"2026-01-05T00:00:00Z","Type":"AGWAccessLogs","InstanceId":"appgw_1","ClientIp":"192.0.2.7","HttpMethod":"GET","RequestUri":"/a/7","RequestQuery":"x=1","HttpStatus":200,"TimeTaken":0.205,"SslEnabled":"off","Host":"shop.example"}"#;

    #[test]
    fn every_field_of_v2_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00Z",
            "status=200",
            "request_bytes=65",
            "response_bytes=553",
            "latency_us=205000",
            "gateway=azure-app-gateway",
            "method=GET",
            "scheme=https",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "client_cert=ab12",
            "route=rule-1",
            "service=orders",
            "tls_version=TLSv1.2",
            "request_id=t-1",
        ];
        assert_eq!(print(AzureAppGateway, LINE), want);
        assert_lacks(
            AzureAppGateway,
            &LINE.replace("\"SUCCESS\"", "\"FAILED\""),
            "client_cert",
        );
        assert_has(
            AzureAppGateway,
            ROW,
            &["path=/a/7", "query=x=1", "latency_us=205000", "scheme=http"],
        );
    }

    #[test]
    fn v1_has_its_own_unit_and_its_own_query() {
        let v1 = LINE
            .replace("appgw_1", "ApplicationGatewayRole_IN_0")
            .replace("\"originalRequestUriWithArgs\":\"/a/7?x=1\",", "")
            .replace("0.205", "205")
            .replace("\"clientIP\"", "\"clientIp\"")
            .replace("timeStamp", "time")
            .replace(
                "y=2",
                "X-AzureApplicationGateway-CACHE-HIT=0&SERVER-ROUTED=10.0.0.4",
            );
        let want = ["path=/b", "latency_us=205000", "client_ip=192.0.2.7"];
        assert_has(AzureAppGateway, &v1, &want);
        assert_lacks(AzureAppGateway, &v1, "query");
    }

    #[test]
    fn the_firewalls_log_is_no_access_log() {
        let firewall = r#"{"operationName":"ApplicationGatewayFirewall","time":"2026-01-05T00:00:00Z","category":"ApplicationGatewayFirewallLog","properties":{"clientIp":"192.0.2.7","requestUri":"/.env","action":"Matched"}}"#;
        for format in [AzureAppGateway, crate::format::Format::Auto] {
            assert_eq!(print(format, firewall), ["missing_field: httpMethod"]);
        }
        let rows = [
            ("\"timeStamp\"", "missing_field: time"),
            ("\"httpMethod\"", "missing_field: httpMethod"),
        ];
        for (key, want) in rows {
            assert_eq!(
                print(AzureAppGateway, LINE.replace(key, "\"absent\"")),
                [want]
            );
        }
    }
}
