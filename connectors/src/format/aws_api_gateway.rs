//! AWS API Gateway access logs in JSON: REST, HTTP and WebSocket APIs (developer guide, *Variables for access logging for API Gateway*
//! and *Customize HTTP API access logs*, read 2026-11).
//!
//! Which variables are logged, and under which keys, the stage's access log format says. The documented formats lack what matters most:
//! the path (they hold only its template) and who called. The format to use instead (leave out what the API does not have: HTTP APIs
//! have no `resourcePath` and no API keys, WebSocket APIs no path):
//!
//! ```text
//! {"requestTimeEpoch":"$context.requestTimeEpoch","requestId":"$context.requestId","ip":"$context.identity.sourceIp",
//!  "httpMethod":"$context.httpMethod","path":"$context.path","resourcePath":"$context.resourcePath","routeKey":"$context.routeKey",
//!  "status":"$context.status","responseLength":"$context.responseLength","responseLatency":"$context.responseLatency",
//!  "domainName":"$context.domainName","apiId":"$context.apiId","userAgent":"$context.identity.userAgent",
//!  "sub":"$context.authorizer.claims.sub","principalId":"$context.authorizer.principalId","userArn":"$context.identity.userArn",
//!  "cognitoIdentityId":"$context.identity.cognitoIdentityId","apiKeyId":"$context.identity.apiKeyId",
//!  "clientCertSubjectDN":"$context.identity.clientCert.subjectDN","eventType":"$context.eventType",
//!  "connectionId":"$context.connectionId","xrayTraceId":"$context.xrayTraceId"}
//! ```
//!
//! A key is the variable's last word, as above, or the whole variable (`identity.userAgent`, `authorizer.claims.sub`), flat or nested.
//!
//! | event | key |
//! |---|---|
//! | `event_time_ms` | `requestTimeEpoch` ms, else `requestTime` (CLF); the request's **start** |
//! | `method` | `httpMethod`; WebSocket: `eventType` (`CONNECT`, `MESSAGE`, `DISCONNECT`) |
//! | `path` | `path` (with the stage in front, unless a custom domain hides it); else the **template** of `resourcePath` or `routeKey`; WebSocket: `/` and `routeKey` |
//! | `scheme` | always `https`: API Gateway serves nothing else |
//! | `host` | `domainName` |
//! | `status` | `status`, text |
//! | `response_bytes` | `responseLength`, text; body |
//! | `latency_us` | `responseLatency` ms |
//! | `client_ip` | `ip`, `sourceIp`, `identity.sourceIp` |
//! | `user_agent` | `userAgent` |
//! | `jwt_sub`, `jwt_claims` | `sub`, `claims.sub`, `authorizer.claims.sub`; `claims`, `authorizer.claims` if an object |
//! | `principal` | `principalId` of a Lambda authorizer, `cognitoIdentityId`, `userArn`, `user`, `caller` |
//! | `consumer` | `apiKeyId`, where none of the above is there: a key is an application's, not a user's |
//! | `api_key` | `apiKey` |
//! | `client_cert` | `clientCertSubjectDN`, `clientCert.subjectDN` (mutual TLS, verified by the gateway) |
//! | `session` | `connectionId` |
//! | `route`, `service` | `resourcePath` else `routeKey`; `apiId` |
//! | `request_id`, `trace_id` | `requestId`, `extendedRequestId`; `xrayTraceId` |
//!
//! Traps: `$context.authorizer.claims` itself is logged as null, each claim has its own variable; every user of an identity pool has
//! one `userArn`, so `cognitoIdentityId` comes first; a client can choose the `requestId` of a REST API; with a template as path there
//! are no object ids: log `$context.path`. No variable holds the query, the request's size or a header but the user agent. An HTTP
//! API's `$default` route without `path` is no event.

use std::borrow::Cow;

use super::detect::has_any;
use super::json::{Raw, Scalar, object, read_into};
use super::target;
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str =
    "AWS API Gateway access logs in JSON, of REST, HTTP and WebSocket APIs";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Always,
    host: Presence::Configured,
    raw_path: Presence::Configured,
    template: Presence::Always,
    response_bytes: Presence::Always,
    tls_version: Presence::Never,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Never,
    response_headers: Presence::Never,
    body: Presence::Never,
};

object! {
    struct Record {
        epoch: Scalar<'a> = "requestTimeEpoch",
        time: Scalar<'a> = "requestTime",
        method: Scalar<'a> = "httpMethod",
        event_type: Scalar<'a> = "eventType",
        path: Scalar<'a> = "path",
        resource_path: Scalar<'a> = "resourcePath",
        route_key: Scalar<'a> = "routeKey",
        domain: Scalar<'a> = "domainName",
        status: Scalar<'a> = "status",
        length: Scalar<'a> = "responseLength",
        latency: Scalar<'a> = "responseLatency",
        ip: Scalar<'a> = "ip" | "sourceIp" | "identity.sourceIp",
        user_agent: Scalar<'a> = "userAgent" | "identity.userAgent",
        sub: Scalar<'a> = "sub" | "claims.sub" | "authorizer.claims.sub",
        claims: Raw<'a> = "claims" | "authorizer.claims",
        principal_id: Scalar<'a> = "principalId" | "authorizer.principalId",
        cognito_id: Scalar<'a> = "cognitoIdentityId" | "identity.cognitoIdentityId",
        user_arn: Scalar<'a> = "userArn" | "identity.userArn",
        user: Scalar<'a> = "user" | "identity.user",
        caller: Scalar<'a> = "caller" | "identity.caller",
        api_key_id: Scalar<'a> = "apiKeyId" | "identity.apiKeyId",
        api_key: Scalar<'a> = "apiKey" | "identity.apiKey",
        client_cert: Scalar<'a> = "clientCertSubjectDN" | "clientCert.subjectDN" | "identity.clientCert.subjectDN",
        connection_id: Scalar<'a> = "connectionId",
        api_id: Scalar<'a> = "apiId",
        request_id: Scalar<'a> = "requestId",
        extended_id: Scalar<'a> = "extendedRequestId",
        trace: Scalar<'a> = "xrayTraceId",
        authorizer: Authorizer<'a> = "authorizer",
        identity: Identity<'a> = "identity",
    }
}

object! {
    struct Authorizer {
        sub: Scalar<'a> = "sub",
        claims: Raw<'a> = "claims",
        principal_id: Scalar<'a> = "principalId",
    }
}

object! {
    struct Identity {
        ip: Scalar<'a> = "sourceIp",
        user_agent: Scalar<'a> = "userAgent",
        cognito_id: Scalar<'a> = "cognitoIdentityId",
        user_arn: Scalar<'a> = "userArn",
        user: Scalar<'a> = "user",
        caller: Scalar<'a> = "caller",
        api_key_id: Scalar<'a> = "apiKeyId",
        api_key: Scalar<'a> = "apiKey",
    }
}

/// Says whether a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"requestTime\"", "\"requestTimeEpoch\""])
}

/// Decodes one log line.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let (authorizer, identity) = (record.authorizer, record.identity);
    let event_time_ms = if record.epoch.is_blank() {
        record.time.time("requestTime")
    } else {
        record.epoch.time("requestTimeEpoch")
    }?;
    let event_type = record.event_type.text("eventType")?;
    let route_key = record.route_key.text("routeKey")?;
    let template = record.resource_path.text("resourcePath")?;
    let path = path(
        record.path.text("path")?,
        &template,
        &route_key,
        event_type.is_some(),
    )?;
    let jwt_sub = record.sub.or(authorizer.sub).text("sub")?;
    let jwt_claims = record.claims.0.or(authorizer.claims.0);
    let principal = [
        record.principal_id.or(authorizer.principal_id),
        record.cognito_id.or(identity.cognito_id),
        record.user_arn.or(identity.user_arn),
        record.user.or(identity.user),
        record.caller.or(identity.caller),
    ]
    .into_iter()
    .fold(Scalar::Absent, Scalar::or)
    .text("principalId")?;
    let is_named = jwt_sub.is_some() || jwt_claims.is_some() || principal.is_some();
    Ok(Event {
        event_time_ms,
        gateway: "aws-api-gateway",
        method: record
            .method
            .method("httpMethod")?
            .or(event_type)
            .ok_or_else(|| Fault::missing("httpMethod"))?,
        scheme: Some(Cow::Borrowed("https")),
        host: record.domain.text("domainName")?,
        path,
        status: record.status.status("status")?,
        response_bytes: record.length.count("responseLength")?,
        latency_us: record.latency.scaled("responseLatency", 1_000)?,
        client_ip: record.ip.or(identity.ip).address("ip")?,
        user_agent: record
            .user_agent
            .or(identity.user_agent)
            .text("userAgent")?,
        api_key: record.api_key.or(identity.api_key).text("apiKey")?,
        jwt_sub,
        jwt_claims,
        consumer: record
            .api_key_id
            .or(identity.api_key_id)
            .text("apiKeyId")?
            .filter(|_| !is_named),
        principal,
        client_cert: record.client_cert.text("clientCertSubjectDN")?,
        session: record.connection_id.text("connectionId")?,
        route: template.or(route_key),
        service: record.api_id.text("apiId")?,
        request_id: record.request_id.or(record.extended_id).text("requestId")?,
        trace_id: record.trace.text("xrayTraceId")?,
        ..Event::default()
    })
}

/// The path, or what comes nearest to it.
fn path<'a>(
    path: Text<'a>,
    template: &Text<'a>,
    route_key: &Text<'a>,
    is_web_socket: bool,
) -> Result<Cow<'a, str>, Fault> {
    if let Some(path) = path.or_else(|| template.clone()) {
        return Ok(target::split(path).path);
    }
    let missing = || Fault::missing("path");
    let key = route_key.as_ref().ok_or_else(missing)?;
    if is_web_socket {
        return Ok(Cow::Owned(format!("/{key}")));
    }
    // `GET /pets/{petId}`, or `$default`.
    let start = key.find(" /").ok_or_else(missing)? + 1;
    Ok(target::cut(key, start..key.len()))
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::AwsApiGateway;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"{"requestTimeEpoch":"1767571200003","requestId":"r-1","ip":"192.0.2.7","httpMethod":"GET","path":"/prod/pets/7","resourcePath":"/pets/{petId}","status":"200","responseLength":"184","principalId":"ann"}"#;
    pub(in crate::format) const WEB_SOCKET: &str = r#"{"requestId":"r-2","ip":"192.0.2.7","caller":"-","user":"-","requestTime":"05/Jan/2026:00:00:00 +0000","eventType":"MESSAGE","routeKey":"sendOrder","status":"200","connectionId":"Lw0dIeXsIAMCJAw="}"#;

    #[test]
    fn every_variable_is_mapped() {
        let line = r#"{"requestTimeEpoch":"1767571200003","requestTime":"05/Jan/2026:00:00:00 +0000","requestId":"r-1",
            "extendedRequestId":"x-1","ip":"192.0.2.7","httpMethod":"POST","path":"/prod/pets/%31","resourcePath":"/pets/{petId}",
            "status":"201","protocol":"HTTP/1.1","responseLength":"184","responseLatency":"12","integrationLatency":"9",
            "domainName":"api.example","stage":"prod","apiId":"a1b2","userAgent":"curl/8","sub":"u-1","principalId":"ann",
            "userArn":"arn:aws:iam::1:user/ann","apiKeyId":"k-1","apiKey":"secret","clientCertSubjectDN":"CN=svc",
            "xrayTraceId":"1-5e6722a7-cc56xmpl46db7ae02d4da47e"}"#;
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=201",
            "response_bytes=184",
            "latency_us=12000",
            "gateway=aws-api-gateway",
            "method=POST",
            "scheme=https",
            "host=api.example",
            "path=/prod/pets/%31",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "api_key=secret",
            "jwt_sub=u-1",
            "principal=ann",
            "client_cert=CN=svc",
            "route=/pets/{petId}",
            "service=a1b2",
            "request_id=r-1",
            "trace_id=1-5e6722a7-cc56xmpl46db7ae02d4da47e",
        ];
        assert_eq!(print(AwsApiGateway, line), want);
    }

    #[test]
    fn nested_and_dotted_keys_name_the_caller() {
        let with = |fields: &str| LINE.replace("\"principalId\":\"ann\"", fields);
        let rows = [
            (
                r#""authorizer":{"claims":{"sub":"u-1"}}"#,
                r#"jwt_claims={"sub":"u-1"}"#,
            ),
            (r#""authorizer":{"principalId":"ann"}"#, "principal=ann"),
            (r#""authorizer.claims.sub":"u-1""#, "jwt_sub=u-1"),
            (r#""claims.sub":"u-1""#, "jwt_sub=u-1"),
            (r#""identity":{"apiKeyId":"k-1"}"#, "consumer=k-1"),
            (r#""identity.userAgent":"curl/8""#, "user_agent=curl/8"),
            (
                r#""userArn":"arn:aws:sts::1:assumed-role/R/CognitoIdentityCredentials","cognitoIdentityId":"eu-1:a""#,
                "principal=eu-1:a",
            ),
            (r#""user":"AIDA1","caller":"AIDA1""#, "principal=AIDA1"),
        ];
        for (fields, want) in rows {
            assert_has(AwsApiGateway, &with(fields), &[want]);
        }
        assert_lacks(
            AwsApiGateway,
            &with(r#""user":"ann","apiKeyId":"k-1""#),
            "consumer",
        );
    }

    #[test]
    fn the_documented_formats_are_read() {
        let rest = r#"{"requestId":"r-1","ip":"192.0.2.7","caller":"-","user":"-","requestTime":"05/Jan/2026:01:00:00 +0100","httpMethod":"GET","resourcePath":"/pets/{petId}","status":"200","protocol":"HTTP/1.1","responseLength":"-"}"#;
        assert_has(
            AwsApiGateway,
            rest,
            &[
                "path=/pets/{petId}",
                "route=/pets/{petId}",
                "event_time=2026-01-05T00:00:00Z",
            ],
        );
        for column in ["principal", "response_bytes"] {
            assert_lacks(AwsApiGateway, rest, column);
        }
        let http = rest.replace(
            "\"resourcePath\":\"/pets/{petId}\"",
            "\"routeKey\":\"GET /pets/{petId}\"",
        );
        assert_has(
            AwsApiGateway,
            &http,
            &["path=/pets/{petId}", "route=GET /pets/{petId}"],
        );
        let default = http.replace("GET /pets/{petId}", "$default");
        assert_eq!(print(AwsApiGateway, default), ["missing_field: path"]);
        assert_has(
            AwsApiGateway,
            WEB_SOCKET,
            &[
                "method=MESSAGE",
                "path=/sendOrder",
                "route=sendOrder",
                "session=Lw0dIeXsIAMCJAw=",
            ],
        );
    }
}
