//! Envoy in JSON: Istio's default (`accessLogEncoding: JSON`), Envoy Gateway's default, or a configured `json_format`.
//!
//! | event | Istio | Envoy Gateway | also read when configured |
//! |---|---|---|---|
//! | `event_time_ms` | `start_time`, the request's **start** | same | |
//! | `method` | `method` | same | `:method` |
//! | `path`, `query` | `path` | `x-envoy-origin-path` | `:path` (first), `x-envoy-original-path` |
//! | `scheme` | - | - | `scheme`, `:scheme`, `x-forwarded-proto` |
//! | `host` | `authority` | `:authority` | `host` |
//! | `status` | `response_code`; 0: the client left | same | `status` |
//! | `request_bytes`, `response_bytes` | `bytes_received`, `bytes_sent`, **body only** | same | |
//! | `latency_us` | `duration` ms | same | |
//! | `client_ip` | `downstream_remote_address` without port | same | |
//! | `peer_ip` | - | - | `downstream_direct_remote_address` |
//! | `user_agent` | `user_agent` | `user-agent` | |
//! | `authorization`, `api_key` | - | - | `authorization`, `x-api-key` |
//! | `token_hash` | - | - | `auth_sha256_16`, `token_hash` |
//! | `jwt_sub`, `jwt_claims` | - | - | `jwt_sub`, `x-jwt-sub`; `jwt_claims`, `jwt_payload`, e.g. `%DYNAMIC_METADATA(envoy.filters.http.jwt_authn)%` |
//! | `consumer`, `principal` | - | - | `consumer`, `x-consumer-username`; `principal`, `remote_user` |
//! | `client_cert` | - | - | `downstream_peer_subject`, `peer_subject` |
//! | `session` | - | - | `mcp-session-id`, `session` |
//! | `route`, `service` | `route_name`, `upstream_cluster` | same | |
//! | `tls_version` | - | - | `downstream_tls_version`, `tls_version` |
//! | `request_id` | `request_id` | `x-request-id` | |
//! | `trace_id` | - | - | `traceparent`, `trace_id`, `x-b3-traceid` |
//! | headers | - | - | `content-type`, `response_content_type`, `referer`, `origin`, `x-http-method-override`, `x-http-method`, `x-method-override`, `x-forwarded-host`, `x-original-url` and `x-rewrite-url` (`rewritten_url`), `access-control-allow-origin`, `access-control-allow-credentials`, `server`, `x-powered-by` |
//! | `mcp_method`, `mcp_name`, `mcp_version`, `a2a_version` | - | - | `mcp-method`, `mcp-name`, `mcp-protocol-version`, `a2a-version` |
//! | `signature_agent`, `sdk_language` | - | - | `signature-agent`, `x-stainless-lang` |
//! | `answer` | - | - | `strict-transport-security`, `x-content-type-options`, `x-frame-options`, `content-security-policy`, `response_cache_control`, `vary`, `set-cookie`, `location`, `x-debug-token` and kin; there and null or `-`: not sent |
//! | `via` | - | - | `via`, `cdn-loop` |
//! | `upstream_scheme` | - | - | `upstream_tls_version` (`%UPSTREAM_TLS_VERSION%`): `-` is `http`, if `upstream_host` has an address |
//! | `request_body` | - | - | `request_body` |
//!
//! Every hyphenated key is also read with underscores. Set `jwt_sub` and the like only from what Envoy verified, e.g. claims that
//! `jwt_authn` forwards: a plain `%REQ(x-jwt-sub)%` is what the client says, unless a filter removes it.
//!
//! Traps: both defaults log `%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%`, and Envoy removes no such header that a client sends
//! (`cleanInternalHeaders`), so where no route rewrites the path **a client can choose the path logged**: log `":path": "%REQ(:PATH)%"`
//! beside it, which is read first, or remove the header before routing (`early_header_mutation_extensions`);
//! `x-forwarded-for` is not read, as `downstream_remote_address` already holds what Envoy trusts of it; a connection that
//! broke before a request logs `-` as method and path, which is no event; Istio logs a call twice, at the client's and at the server's
//! sidecar, with one `request_id`: feed one of them (`upstream_cluster` begins with `outbound|` or `inbound|`).

use super::detect::has_any;
use super::json::{Joined, Raw, Scalar, Told, answer, authorization, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence, envoy_text};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str =
    "Envoy, Envoy Gateway and Istio access logs in JSON, Envoy's and Istio's in text";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Configured,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Configured,
};

object! {
    struct Record {
        start_time: Scalar<'a> = "start_time",
        method: Scalar<'a> = "method" | ":method",
        original_path: Scalar<'a> = "x-envoy-original-path" | "x_envoy_original_path" | "x-envoy-origin-path" | "x_envoy_origin_path",
        path: Scalar<'a> = "path",
        pseudo_path: Scalar<'a> = ":path",
        scheme: Scalar<'a> = "scheme" | ":scheme" | "x-forwarded-proto" | "x_forwarded_proto",
        authority: Scalar<'a> = "authority",
        pseudo_authority: Scalar<'a> = ":authority" | "host",
        response_code: Scalar<'a> = "response_code" | "status",
        bytes_received: Scalar<'a> = "bytes_received",
        bytes_sent: Scalar<'a> = "bytes_sent",
        duration: Scalar<'a> = "duration",
        remote: Scalar<'a> = "downstream_remote_address",
        direct_remote: Scalar<'a> = "downstream_direct_remote_address",
        user_agent: Scalar<'a> = "user_agent" | "user-agent",
        authorization: Scalar<'a> = "authorization",
        api_key: Scalar<'a> = "x-api-key" | "x_api_key" | "api_key" | "apikey",
        token_hash: Scalar<'a> = "auth_sha256_16" | "token_hash",
        jwt_sub: Scalar<'a> = "jwt_sub" | "x-jwt-sub" | "x_jwt_sub",
        jwt_claims: Raw<'a> = "jwt_claims" | "jwt_payload" | "jwt_authn",
        consumer: Scalar<'a> = "consumer" | "x-consumer-username" | "x_consumer_username",
        principal: Scalar<'a> = "principal" | "remote_user",
        client_cert: Scalar<'a> = "downstream_peer_subject" | "peer_subject",
        session: Scalar<'a> = "mcp-session-id" | "mcp_session_id" | "mcp_session" | "session",
        route_name: Scalar<'a> = "route_name",
        upstream_cluster: Scalar<'a> = "upstream_cluster",
        server_name: Scalar<'a> = "requested_server_name",
        tls_version: Scalar<'a> = "downstream_tls_version" | "tls_version",
        content_type: Scalar<'a> = "content-type" | "content_type" | "request_content_type",
        response_content_type: Scalar<'a> = "response_content_type" | "response-content-type",
        request_id: Scalar<'a> = "request_id" | "x-request-id" | "x_request_id",
        trace: Scalar<'a> = "traceparent" | "trace_id" | "x-b3-traceid" | "x_b3_traceid",
        referer: Scalar<'a> = "referer",
        origin: Scalar<'a> = "origin",
        method_override: Joined<'a> = "x-http-method-override" | "x_http_method_override" | "x-http-method" | "x_http_method" | "x-method-override" | "x_method_override",
        forwarded_host: Joined<'a> = "x-forwarded-host" | "x_forwarded_host",
        rewritten_url: Joined<'a> = "x-original-url" | "x_original_url" | "x-rewrite-url" | "x_rewrite_url",
        allow_origin: Scalar<'a> = "access-control-allow-origin" | "access_control_allow_origin",
        allow_credentials: Scalar<'a> = "access-control-allow-credentials" | "access_control_allow_credentials",
        server: Scalar<'a> = "server",
        powered_by: Scalar<'a> = "x-powered-by" | "x_powered_by",
        mcp_method: Scalar<'a> = "mcp-method" | "mcp_method",
        mcp_name: Scalar<'a> = "mcp-name" | "mcp_name",
        mcp_version: Scalar<'a> = "mcp-protocol-version" | "mcp_protocol_version",
        a2a_version: Scalar<'a> = "a2a-version" | "a2a_version",
        signature_agent: Scalar<'a> = "signature-agent" | "signature_agent",
        sdk_language: Scalar<'a> = "x-stainless-lang" | "x_stainless_lang",
        via: Scalar<'a> = "via" | "cdn-loop" | "cdn_loop",
        upstream_host: Scalar<'a> = "upstream_host",
        upstream_tls: Told<'a> = "upstream_tls_version",
        hsts: Told<'a> = "strict-transport-security" | "strict_transport_security",
        content_type_options: Told<'a> = "x-content-type-options" | "x_content_type_options",
        frame_options: Told<'a> = "x-frame-options" | "x_frame_options",
        content_security_policy: Told<'a> = "content-security-policy" | "content_security_policy",
        cache_control: Told<'a> = "response_cache_control" | "response-cache-control",
        vary: Told<'a> = "vary",
        set_cookie: Told<'a> = "set-cookie" | "set_cookie",
        location: Told<'a> = "location",
        debug_header: Told<'a> = "x-debug-token" | "x_debug_token" | "x-debug-token-link" | "x_debug_token_link" | "x-clockwork-id" | "x_clockwork_id" | "phpdebugbar-id" | "phpdebugbar_id" | "x-chromelogger-data" | "x_chromelogger_data" | "x-sourcefiles" | "x_sourcefiles",
        request_body: Raw<'a> = "request_body",
    }
}

/// Says whether a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    if text.starts_with('[') {
        return envoy_text::looks_like(text);
    }
    // APISIX and OCSF have a start time, too.
    has_any(text, &["\"start_time\"", "\"response_flags\""])
        && !has_any(text, &["\"querystring\"", "\"class_uid\""])
}

/// Decodes one log line; of the text format, too, which is the default.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    if text.starts_with('[') {
        return envoy_text::decode(text);
    }
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let event_time_ms = record.start_time.time("start_time")?;
    // Only Istio's default names the host without a colon beside the name asked for in TLS (null on a plain connection).
    let upstream = record.upstream_cluster.text("upstream_cluster")?;
    let is_mesh = upstream
        .as_deref()
        .is_some_and(|name| name.starts_with("inbound|") || name.starts_with("outbound|"));
    let is_istio = !record.authority.is_blank() && (is_mesh || !record.server_name.is_blank());
    let authority = record.authority.text("authority")?;
    let host = if authority.is_some() {
        authority
    } else {
        record.pseudo_authority.text(":authority")?
    };
    let path = [record.pseudo_path, record.original_path]
        .into_iter()
        .find(|path| !path.is_blank())
        .unwrap_or(record.path);
    let Target {
        scheme,
        host: target_host,
        path,
        query,
    } = target::split(path.required("path")?);
    let (authorization, authenticated_hint) =
        authorization(record.authorization.text("authorization")?);
    let upstream_host = record.upstream_host.text("upstream_host")?;
    // Behind a sidecar is its own pod.
    let upstream_scheme = match &upstream {
        Some(cluster) if cluster.starts_with("inbound|") => None,
        _ => upstream_scheme(&record.upstream_tls.0, &upstream_host),
    };
    Ok(Event {
        event_time_ms,
        gateway: if is_istio { "istio" } else { "envoy" },
        method: record
            .method
            .method("method")?
            .ok_or_else(|| Fault::missing("method"))?,
        scheme: record.scheme.text("scheme")?.or(scheme),
        host: host.or(target_host),
        path,
        query,
        status: record.response_code.status("response_code")?,
        request_bytes: record.bytes_received.count("bytes_received")?,
        response_bytes: record.bytes_sent.count("bytes_sent")?,
        latency_us: record.duration.scaled("duration", 1_000)?,
        client_ip: record.remote.address("downstream_remote_address")?,
        peer_ip: record
            .direct_remote
            .address("downstream_direct_remote_address")?,
        user_agent: record.user_agent.text("user_agent")?,
        authorization,
        api_key: record.api_key.text("x-api-key")?,
        token_hash: record.token_hash.text("token_hash")?,
        jwt_sub: record.jwt_sub.text("jwt_sub")?,
        jwt_claims: record.jwt_claims.0,
        consumer: record.consumer.text("consumer")?,
        principal: record.principal.text("principal")?,
        client_cert: record.client_cert.text("downstream_peer_subject")?,
        session: record.session.text("session")?,
        authenticated_hint,
        route: record.route_name.text("route_name")?,
        upstream_scheme,
        service: upstream,
        tls_version: record.tls_version.text("tls_version")?,
        request_content_type: record.content_type.text("content-type")?,
        response_content_type: record.response_content_type.text("response_content_type")?,
        request_id: record.request_id.text("request_id")?,
        trace_id: record.trace.text("traceparent")?.map(target::trace_id),
        referer: record.referer.text("referer")?,
        origin: record.origin.text("origin")?,
        method_override: record.method_override.text("x-http-method-override")?,
        forwarded_host: record.forwarded_host.text("x-forwarded-host")?,
        rewritten_url: record.rewritten_url.text("x-original-url")?,
        allow_origin: record.allow_origin.text("access-control-allow-origin")?,
        allow_credentials: record
            .allow_credentials
            .text("access-control-allow-credentials")?,
        server: record.server.text("server")?,
        powered_by: record.powered_by.text("x-powered-by")?,
        via: record.via.text("via")?,
        answer: answer!(record),
        mcp_method: record.mcp_method.text("mcp-method")?,
        mcp_name: record.mcp_name.text("mcp-name")?,
        mcp_version: record.mcp_version.text("mcp-protocol-version")?,
        a2a_version: record.a2a_version.text("a2a-version")?,
        signature_agent: record.signature_agent.text("signature-agent")?,
        sdk_language: record.sdk_language.text("x-stainless-lang")?,
        request_body: record.request_body.0,
    })
}

/// The scheme behind Envoy by the TLS version there; a call without an upstream's address was not passed on.
fn upstream_scheme(tls_version: &Text<'_>, host: &Text<'_>) -> Text<'static> {
    let is_plain = tls_version.as_deref()?.is_empty();
    let scheme = if is_plain { "http" } else { "https" };
    target::upstream_scheme(scheme, host.as_deref()?)
}

#[cfg(test)]
mod tests {
    use crate::format::Format::Envoy;
    use crate::format::tests::{ENVOY, assert_has, assert_lacks, print};

    #[test]
    fn istios_default_is_mapped() {
        let line = r#"{"authority":"shop:9080","bytes_received":5,"bytes_sent":358,"connection_termination_details":null,
            "downstream_local_address":"10.0.1.5:9080","downstream_remote_address":"[2001:db8::36]:5000","duration":15,"method":"GET",
            "path":"/reviews/0?a=b","protocol":"HTTP/1.1","request_id":"9fcc7101-13bd","requested_server_name":"outbound_.9080_._.shop",
            "response_code":200,"response_flags":"-","route_name":"default","start_time":"2026-01-05T00:00:00.003Z",
            "upstream_cluster":"inbound|9080||","upstream_service_time":"14","user_agent":"curl/8","x_forwarded_for":"203.0.113.5"}"#;
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "request_bytes=5",
            "response_bytes=358",
            "latency_us=15000",
            "gateway=istio",
            "method=GET",
            "host=shop:9080",
            "path=/reviews/0",
            "query=a=b",
            "client_ip=2001:db8::36",
            "user_agent=curl/8",
            "route=default",
            "service=inbound|9080||",
            "request_id=9fcc7101-13bd",
        ];
        assert_eq!(print(Envoy, line), want);
    }

    #[test]
    fn headers_of_the_answer_and_the_way_behind_are_read() {
        let with = |extra: &str| ENVOY.replacen('{', &format!("{{{extra},"), 1);
        let line = with(
            r#""strict-transport-security":null,"x_frame_options":"DENY","vary":"-","cache-control":"no-cache","via":"1.1 google""#,
        );
        assert_has(
            Envoy,
            &line,
            &["hsts=", "frame_options=DENY", "vary=", "via=1.1 google"],
        );
        // That is the request's.
        assert_lacks(Envoy, &line, "cache_control");
        #[rustfmt::skip]
        let rows = [
            (r#""upstream_host":"10.0.0.5:80","upstream_tls_version":"-""#, Some("http")), (r#""upstream_host":"10.0.0.5:443","upstream_tls_version":"TLSv1.3""#, Some("https")),
            (r#""upstream_host":"127.0.0.1:80","upstream_tls_version":"-""#, None), (r#""upstream_host":"-","upstream_tls_version":"-""#, None),
            (r#""upstream_host":"10.0.0.5:80""#, None), (r#""upstream_cluster":"inbound|80||","upstream_host":"10.0.0.5:80","upstream_tls_version":"-""#, None), (r#""upstream_host":"/run/app.sock","upstream_tls_version":null"#, None),
        ];
        for (extra, scheme) in rows {
            match scheme {
                Some(scheme) => {
                    let want = format!("upstream_scheme={scheme}");
                    assert_has(Envoy, &with(extra), &[&want]);
                }
                None => assert_lacks(Envoy, &with(extra), "upstream_scheme"),
            }
        }
    }

    #[test]
    fn envoy_gateways_names_are_mapped() {
        let line = r#"{":authority":"www.example","bytes_sent":12,"downstream_remote_address":"192.0.2.1:59292","duration":0,"method":"GET",
            "response_code":0,"route_name":"httproute/app/x","start_time":"2026-01-05T00:00:00Z","upstream_cluster":null,"user-agent":"curl/8",
            "x-envoy-origin-path":"/.env","x-forwarded-for":"198.51.100.1","x-request-id":"id-1"}"#;
        let want = [
            "event_time=2026-01-05T00:00:00Z",
            "response_bytes=12",
            "latency_us=0",
            "gateway=envoy",
            "method=GET",
            "host=www.example",
            "path=/.env",
            "client_ip=192.0.2.1",
            "user_agent=curl/8",
            "route=httproute/app/x",
            "request_id=id-1",
        ];
        assert_eq!(print(Envoy, line), want);
    }

    #[test]
    fn configured_keys_are_read_with_hyphens_and_underscores() {
        let rows = [
            (r#""x-jwt-sub":"u1""#, "jwt_sub=u1"),
            (r#""x_jwt_sub":"u1""#, "jwt_sub=u1"),
            (
                r#""jwt_payload":{"sub":"u1","n":[1]}"#,
                r#"jwt_claims={"sub":"u1","n":[1]}"#,
            ),
            (
                r#""jwt_payload":"{\"sub\":\"u1\"}""#,
                r#"jwt_claims={"sub":"u1"}"#,
            ),
            (
                r#""authorization":"Basic YTpi""#,
                "authorization=Basic YTpi",
            ),
            (r#""authorization":"REDACTED""#, "authenticated_hint=true"),
            (r#""x-api-key":"k""#, "api_key=k"),
            (
                r#""downstream_peer_subject":"CN=a,O=b""#,
                "client_cert=CN=a,O=b",
            ),
            (
                r#""downstream_tls_version":"TLSv1.2""#,
                "tls_version=TLSv1.2",
            ),
            (
                r#""downstream_direct_remote_address":"10.0.0.1:80""#,
                "peer_ip=10.0.0.1",
            ),
            (r#""request_body":"{\"id\":1}""#, r#"request_body={"id":1}"#),
            (
                r#""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01""#,
                "trace_id=0af7651916cd43dd8448eb211c80319c",
            ),
            (r#""x-envoy-original-path":"/before""#, "path=/before"),
            (
                r#""x-envoy-original-path":"/forged",":path":"/asked""#,
                "path=/asked",
            ),
            (r#""response_code":"404","x":1"#, "status=404"),
        ];
        for (extra, want) in rows {
            assert_has(
                Envoy,
                &ENVOY
                    .replacen('{', &format!("{{{extra},"), 1)
                    .replace(",\"response_code\":200", ""),
                &[want],
            );
        }
    }

    #[test]
    fn a_connection_that_broke_before_a_request_is_no_event() {
        assert_eq!(
            print(Envoy, ENVOY.replace("/a/7?x=1", "-")),
            ["missing_field: path"]
        );
        assert_eq!(
            print(Envoy, ENVOY.replace("\"GET\"", "null")),
            ["missing_field: method"]
        );
        assert_lacks(
            Envoy,
            &ENVOY.replace("{", r#"{"x-forwarded-for":"1.2.3.4","#),
            "client_ip",
        );
    }
}
