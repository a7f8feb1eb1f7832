//! Azure API Management: the resource log `GatewayLogs` (*Gateway log schema reference*, read 2026-11), as a diagnostic setting sends it to
//! an event hub or a storage account, or a row of the table `ApiManagementGatewayLogs`, whose names begin with capitals.
//!
//! | event | `GatewayLogs`; names of the table are the same in title case |
//! |---|---|
//! | `event_time_ms` | `time`, `TimeGenerated`; the request's **start** |
//! | `method` | `properties.method` |
//! | `scheme`, `host`, `path`, `query` | `properties.url`, absolute |
//! | `status` | `properties.responseCode`; 0: the client left |
//! | `request_bytes`, `response_bytes` | `properties.requestSize`, `.responseSize` |
//! | `latency_us` | `durationMs`, `TotalTime` ms, the client's part included |
//! | `client_ip` | `callerIpAddress`, the socket's peer |
//! | `jwt_sub` | `properties.backendRequestHeaders.x-jwt-sub`: policies set it, after the client |
//! | `consumer` | `properties.apimSubscriptionId` |
//! | `principal` | `properties.userId`, the owner of the subscription |
//! | `authorization`, `api_key`, `user_agent`, other headers | `properties.requestHeaders`; key: `ocp-apim-subscription-key`, `x-api-key` |
//! | response's headers | `properties.responseHeaders` |
//! | `request_body` | `properties.requestBody` |
//! | `route`, `service` | `properties.operationId`, `.apiId` |
//! | `upstream_scheme` | `properties.backendUrl` |
//! | `tls_version` | `properties.clientTlsVersion` (`1.2`) |
//! | `request_id` | `correlationId` |
//!
//! Headers and bodies are logged where the API's diagnostic setting lists them (at most 8 KiB of a body).
//!
//! Traps: a subscription is an **application**: where users sign in behind one, all of them are one consumer unless the inbound policy
//! says `<set-header name="x-jwt-sub" exists-action="override">` with the subject of the token that `validate-jwt` checked, and the
//! diagnostic setting logs that header of the *backend* request; with `override` a client cannot set it. `master` is the built-in
//! subscription of administrators. Behind Application Gateway or Front Door the caller's address is the proxy's. The sampling
//! percentage of the diagnostic setting has to be 100. Records come minutes late.

use super::detect::has_any;
use super::headers::Headers;
use super::json::{Header, Raw, Scalar, expect_objects, object, read, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::Event;

pub(super) const DESCRIPTION: &str = "Azure API Management gateway logs";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Always,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Always,
    upstream_scheme: Presence::Always,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Configured,
};

object! {
    exact struct Record {
        time: Scalar<'a> = "time" | "TimeGenerated",
        caller: Scalar<'a> = "callerIpAddress" | "CallerIpAddress",
        duration: Scalar<'a> = "durationMs" | "DurationMs" | "TotalTime",
        correlation_id: Scalar<'a> = "correlationId" | "CorrelationId",
        properties: Properties<'a> = "properties",
    }
}

object! {
    exact struct Properties {
        method: Scalar<'a> = "method" | "Method",
        url: Scalar<'a> = "url" | "Url",
        status: Scalar<'a> = "responseCode" | "ResponseCode",
        request_size: Scalar<'a> = "requestSize" | "RequestSize",
        response_size: Scalar<'a> = "responseSize" | "ResponseSize",
        subscription: Scalar<'a> = "apimSubscriptionId" | "ApimSubscriptionId",
        user: Scalar<'a> = "userId" | "UserId",
        operation: Scalar<'a> = "operationId" | "OperationId",
        api: Scalar<'a> = "apiId" | "ApiId",
        tls_version: Scalar<'a> = "clientTlsVersion" | "ClientTlsVersion",
        backend: Scalar<'a> = "backendUrl" | "BackendUrl",
        request_headers: Headers<'a> = "requestHeaders" | "RequestHeaders",
        response_headers: Headers<'a> = "responseHeaders" | "ResponseHeaders",
        backend_headers: BackendHeaders<'a> = "backendRequestHeaders" | "BackendRequestHeaders",
        request_body: Raw<'a> = "requestBody" | "RequestBody",
    }
}

object! { struct BackendHeaders { jwt_sub: Header<'a> = "x-jwt-sub", } }

/// Says whether a record has words that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"GatewayLogs\"", "\"ApiManagementGatewayLogs\""])
}

/// Decodes one record.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    expect_objects(&[(&record.properties, "properties")])?;
    if record.properties.url.is_blank() {
        // A row of the table has everything on one level.
        record.properties = read(text)?;
    }
    let properties = record.properties;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(properties.url.required("url")?);
    let mut event = Event {
        event_time_ms: record.time.time("time")?,
        gateway: "azure-apim",
        method: properties
            .method
            .method("method")?
            .ok_or_else(|| Fault::missing("method"))?,
        scheme: scheme.and_then(|scheme| target::http_scheme(&scheme)),
        host,
        path,
        query,
        status: properties.status.status("responseCode")?,
        request_bytes: properties.request_size.count("requestSize")?,
        response_bytes: properties.response_size.count("responseSize")?,
        latency_us: record.duration.scaled("durationMs", 1_000)?,
        client_ip: record.caller.address("callerIpAddress")?,
        jwt_sub: properties.backend_headers.jwt_sub.text("x-jwt-sub")?,
        consumer: properties.subscription.text("apimSubscriptionId")?,
        principal: properties.user.text("userId")?,
        route: properties.operation.text("operationId")?,
        service: properties.api.text("apiId")?,
        upstream_scheme: properties
            .backend
            .text("backendUrl")?
            .and_then(|url| target::upstream_of(&url)),
        tls_version: properties.tls_version.text("clientTlsVersion")?,
        request_id: record.correlation_id.text("correlationId")?,
        request_body: properties.request_body.0,
        ..Event::default()
    };
    properties.request_headers.fill_request(&mut event)?;
    properties.response_headers.fill_response(&mut event)?;
    Ok(event)
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::AzureApim;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"{"Level":4,"isRequestSuccess":true,"time":"2026-01-05T00:00:00.0030000Z","operationName":"Microsoft.ApiManagement/GatewayLogs","category":"GatewayLogs","durationMs":152,"callerIpAddress":"192.0.2.7","correlationId":"c-1","location":"West Europe","properties":{"method":"GET","url":"https://shop.azure-api.net/a/7?x=1","backendResponseCode":200,"responseCode":200,"responseSize":41583,"requestSize":526,"apiId":"shop","operationId":"get-order","apimSubscriptionId":"partner-1","userId":"1","clientTlsVersion":"1.2"}}"#;
    pub(in crate::format) const ROW: &str = r#"{"TimeGenerated":"2026-01-05T00:00:00.003Z","Type":"ApiManagementGatewayLogs","CallerIpAddress":"192.0.2.7","CorrelationId":"c-1","TotalTime":152,"Method":"GET","Url":"https://shop.azure-api.net/a/7?x=1","ResponseCode":200,"RequestSize":526,"ResponseSize":41583,"ApiId":"shop","OperationId":"get-order","ApimSubscriptionId":"partner-1","UserId":"1","ClientTlsVersion":"1.2"}"#;

    #[test]
    fn a_record_and_a_row_of_the_table_say_the_same() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "request_bytes=526",
            "response_bytes=41583",
            "latency_us=152000",
            "gateway=azure-apim",
            "method=GET",
            "scheme=https",
            "host=shop.azure-api.net",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "consumer=partner-1",
            "principal=1",
            "route=get-order",
            "service=shop",
            "tls_version=1.2",
            "request_id=c-1",
        ];
        assert_eq!(print(AzureApim, LINE), want);
        assert_eq!(print(AzureApim, ROW), want);
    }

    #[test]
    fn the_way_behind_is_that_of_the_backend() {
        let with = LINE.replace(
            "\"method\"",
            r#""backendUrl":"http://orders.internal/a/7","method""#,
        );
        assert_has(AzureApim, &with, &["upstream_scheme=http"]);
        assert_lacks(AzureApim, LINE, "upstream_scheme");
    }

    #[test]
    fn logged_headers_and_bodies_are_read() {
        let with = LINE.replace(
            "\"method\"",
            r#""requestHeaders":{"Authorization":"Bearer a.b.c","User-Agent":"curl/8","Ocp-Apim-Subscription-Key":"k-1","Origin":"https://o.example"},
               "backendRequestHeaders":{"X-JWT-Sub":"u-1"},"responseHeaders":{"Content-Type":"application/json","Server":"Kestrel"},
               "requestBody":"{\"id\":1}","method""#,
        );
        assert_has(
            AzureApim,
            &with,
            &[
                "authorization=Bearer a.b.c",
                "user_agent=curl/8",
                "api_key=k-1",
                "jwt_sub=u-1",
                "origin=https://o.example",
                "response_content_type=application/json",
                "server=Kestrel",
                r#"request_body={"id":1}"#,
            ],
        );
        // The client's own header is not the policy's.
        let forged = LINE.replace(
            "\"method\"",
            r#""requestHeaders":{"x-jwt-sub":"admin"},"method""#,
        );
        assert_lacks(AzureApim, &forged, "jwt_sub");
    }

    #[test]
    fn what_every_call_has_may_not_be_missing() {
        let rows = [
            ("\"time\"", "missing_field: time"),
            ("\"url\"", "missing_field: url"),
            ("\"method\"", "missing_field: method"),
        ];
        for (key, want) in rows {
            assert_eq!(print(AzureApim, LINE.replace(key, "\"absent\"")), [want]);
        }
        let masked = LINE.replace("2026-01-05T00:00:00.0030000Z", "2026-10-14T17:xx:xx.xx");
        assert_eq!(print(AzureApim, masked), ["wrong_type: time is not a time"]);
    }
}
