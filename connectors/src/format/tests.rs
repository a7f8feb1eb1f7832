//! What holds for all formats, and the helpers of the decoders' own tests.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::TimestampMillisecondType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::*;
use crate::event::BODY_BYTES_MAX;

pub(super) const KONG: &str = r#"{"started_at":1767571200003,"client_ip":"10.0.0.9","request":{"method":"GET","uri":"/a/7?x=1","url":"https://api.example:8443/a/7?x=1","size":"138","headers":{"host":"api.example"}},"response":{"status":200,"size":827,"headers":{}},"latencies":{"request":515}}"#;
pub(super) const ENVOY: &str = r#"{":authority":"api.example","method":"GET","response_code":200,"start_time":"2026-01-05T00:00:00.003Z","x-envoy-origin-path":"/a/7?x=1"}"#;
pub(super) const NGINX: &str = r#"{"msec":"1767571200.003","method":"GET","request_uri":"/a/7?x=1","status":200,"remote_addr":"10.0.0.9"}"#;
pub(super) const COMBINED: &str =
    r#"10.0.0.9 - ann [05/Jan/2026:00:00:00 +0000] "GET /a/7?x=1 HTTP/1.1" 200 20 "-" "curl/8""#;

/// Lines of every format, of our own writing; a new format has one here at least.
pub(super) const LINES: &[(Format, &str)] = &[
    (Format::Kong, KONG),
    (Format::Envoy, ENVOY),
    (Format::Nginx, NGINX),
    (Format::Combined, COMBINED),
    (Format::AwsApiGateway, aws_api_gateway::tests::LINE),
    (Format::AwsApiGateway, aws_api_gateway::tests::WEB_SOCKET),
    (Format::AwsAlb, aws_alb::tests::LINE),
    (Format::CloudFront, cloudfront::tests::LINE),
    (Format::CloudFront, cloudfront::tests::JSON),
    (Format::Gcp, gcp::tests::LINE),
    (Format::Gcp, gcp::tests::ENDPOINTS),
    (Format::AzureApim, azure_apim::tests::LINE),
    (Format::AzureApim, azure_apim::tests::ROW),
    (Format::AzureAppGateway, azure_app_gateway::tests::LINE),
    (Format::AzureAppGateway, azure_app_gateway::tests::ROW),
    (Format::Cloudflare, cloudflare::tests::LINE),
    (Format::Akamai, akamai::tests::LINE),
    (Format::Apigee, apigee::tests::LINE),
    (Format::Apigee, apigee::tests::ENTRY),
    (Format::F5, f5::tests::LINE),
    (Format::Imperva, imperva::tests::LINE),
    (Format::AwsWaf, aws_waf::tests::LINE),
    (
        Format::Combined,
        r#"10.0.0.9 - - [05/Jan/2026:00:00:00 +0000] "GET /a/7 HTTP/1.1" 200 59 "-" "curl/8" 89 0.001 [shop-orders-80] [] 10.0.0.5:80 59 0.000 200 529a0079"#,
    ),
    (
        Format::Combined,
        r#"10.0.0.9 - - [05/Jan/2026:00:00:00 +0000] "GET /a/7 HTTP/1.1" 200 59 "-" "curl/8" 89 "orders@docker" "http://10.0.0.5:80" 4ms"#,
    ),
    (
        Format::Haproxy,
        r#"10.0.0.9:33317 [05/Jan/2026:00:00:00.003] in~ orders/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {h|Bearer a.b.c} {} "GET /a/7?x=1 HTTP/1.1""#,
    ),
    (
        Format::Haproxy,
        r#"{"accept_date":"05/Jan/2026:00:00:00.003","client_ip":"10.0.0.9","frontend":"in","backend":"orders","method":"GET","uri":"/a/7?x=1","status":200,"bytes_read":165}"#,
    ),
    (
        Format::Traefik,
        r#"{"ClientHost":"10.0.0.9","DownstreamStatus":200,"Duration":357313,"RequestMethod":"GET","RequestPath":"/a/7?x=1","StartUTC":"2026-01-05T00:00:00.003Z","request_User-Agent":"curl/8"}"#,
    ),
    (
        Format::Caddy,
        r#"{"ts":1767571200.003,"logger":"http.log.access","request":{"remote_ip":"10.0.0.9","method":"GET","host":"api.example","uri":"/a/7?x=1","headers":{}},"user_id":"","duration":0.002,"size":9,"status":200,"resp_headers":{}}"#,
    ),
    (
        Format::Apisix,
        r#"{"client_ip":"10.0.0.9","start_time":1767571200003,"latency":12.5,"route_id":"1","request":{"method":"GET","uri":"/a/7?x=1","url":"http://api.example:80/a/7?x=1","size":90,"querystring":{"x":"1"},"headers":{}},"response":{"status":200,"size":827,"headers":{}}}"#,
    ),
    (
        Format::Tyk,
        r#"{"timestamp":"2026-01-05T00:00:00.003Z","method":"GET","path":"/a/7","raw_path":"/a/7","response_code":200,"alias":"ann","api_key":"k","api_id":"845b","request_time_ms":12,"ip_address":"10.0.0.9"}"#,
    ),
    (
        Format::Krakend,
        r#"[GIN] 2026/01/05 - 00:00:00 | 200 |      4.529µs |      10.0.0.9 | GET      "/a/7?x=1""#,
    ),
    (
        Format::Krakend,
        r#"{"prefix":"[K]","time":"2026/01/05 - 00:00:00.003","status_code":200,"latency":"0.003","client_ip":"10.0.0.9","method":"GET","path":"/a/7"}"#,
    ),
    (
        Format::Envoy,
        r#"[2026-01-05T00:00:00.003Z] "GET /a/7?x=1 HTTP/2" 200 - 0 154 226 100 "10.0.0.9" "curl/8" "q-1" "api.example" "10.0.2.1:80""#,
    ),
    (
        Format::Envoy,
        r#"[2026-01-05T00:00:00.003Z] "GET /a/7 HTTP/1.1" 200 - via_upstream - "-" 0 178 2 1 "-" "curl/8" "q-1" "shop:80" "10.0.2.1:80" inbound|80|| 127.0.0.6:4 10.0.1.5:80 10.0.0.9:5 outbound_.80_._.shop default"#,
    ),
    (
        Format::Otlp,
        r#"{"resourceSpans":[{"resource":{"attributes":[]},"scopeSpans":[{"spans":[{"kind":2,"startTimeUnixNano":"1767571200003000000","attributes":[{"key":"http.request.method","value":{"stringValue":"GET"}},{"key":"url.path","value":{"stringValue":"/a/7"}}]}]}]}]}"#,
    ),
    (
        Format::Otlp,
        r#"{"kind":2,"startTimeUnixNano":"1767571200003000000","attributes":[{"key":"http.method","value":{"stringValue":"GET"}},{"key":"http.target","value":{"stringValue":"/a/7?x=1"}},{"key":"http.status_code","value":{"intValue":"200"}}]}"#,
    ),
    (
        Format::Ecs,
        r#"{"@timestamp":"2026-01-05T00:00:00.003Z","ecs":{"version":"8.11.0"},"http":{"request":{"method":"GET"},"response":{"status_code":200}},"source":{"ip":"10.0.0.9"},"url":{"original":"/a/7?x=1"}}"#,
    ),
    (
        Format::Ocsf,
        r#"{"class_uid":4002,"activity_id":3,"time":1767571200003,"start_time":1767571200003,"src_endpoint":{"ip":"10.0.0.9"},"http_request":{"http_method":"GET","url":{"path":"/a/7"}},"http_response":{"code":200}}"#,
    ),
    (
        Format::Zeek,
        r#"{"ts":1767571200.003,"uid":"C1","id.orig_h":"10.0.0.9","method":"GET","host":"api.example","uri":"/a/7?x=1","status_code":200}"#,
    ),
];

pub(super) fn decode_bytes(format: Format, payloads: &[&[u8]]) -> DecodedBatch {
    let records: Vec<_> = (0..)
        .zip(payloads)
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset,
            broker_time_ms: None,
        })
        .collect();
    Decoder::new(format).decode(&records)
}

fn cell(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default();
    match column.as_primitive_opt::<TimestampMillisecondType>() {
        // Arrow prints named zones only with its time zone database, which this crate does without.
        Some(times) => {
            let times = times.clone().with_timezone_opt::<&str>(None);
            format!(
                "{}Z",
                ArrayFormatter::try_new(&times, &options)
                    .unwrap()
                    .value(row)
            )
        }
        None => ArrayFormatter::try_new(column, &options)
            .unwrap()
            .value(row)
            .to_string(),
    }
}

/// One event as `name=value` lines of what is not null, or `reason: detail`.
pub(super) fn print(format: Format, payload: impl AsRef<[u8]>) -> Vec<String> {
    let decoded = decode_bytes(format, &[payload.as_ref()]);
    let mut lines = Vec::new();
    for row in 0..decoded.batch.num_rows() {
        for (field, column) in decoded
            .batch
            .schema()
            .fields()
            .iter()
            .zip(decoded.batch.columns())
        {
            if column.is_valid(row)
                && (field.name() != "authenticated_hint" || cell(column, row) == "true")
            {
                lines.push(format!("{}={}", field.name(), cell(column, row)));
            }
        }
    }
    lines.extend(
        decoded
            .rejects
            .iter()
            .map(|reject| format!("{}: {}", reject.reason, reject.detail)),
    );
    lines
}

/// Asserts that the printed record has all these lines.
pub(super) fn assert_has(format: Format, payload: &str, wanted: &[&str]) {
    let lines = print(format, payload);
    for want in wanted {
        assert!(
            lines.iter().any(|line| line == want),
            "{want} is not in {lines:#?}\nof {payload}"
        );
    }
}

/// Asserts that no column of this name has a value.
pub(super) fn assert_lacks(format: Format, payload: &str, column: &str) {
    let lines = print(format, payload);
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with(&format!("{column}="))),
        "{column} is in {lines:#?}"
    );
}

#[test]
fn formats_have_names_and_aliases() {
    for (name, format) in [
        ("auto", Format::Auto),
        ("Kong", Format::Kong),
        ("istio", Format::Envoy),
        ("nginx", Format::Nginx),
        ("apache", Format::Combined),
    ] {
        assert_eq!(name.parse(), Ok(format), "{name}");
    }
    let error = "no-such".parse::<Format>().unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "unknown format \"no-such\", known are auto, {}",
            known_names()
        )
    );
    assert!(error.contains(", envoy (istio), nginx, "), "{error}");
    assert_eq!(
        formats().map(|(name, ..)| name.parse::<Format>().unwrap().to_string()),
        formats().map(|(name, ..)| name)
    );
    for spec in SPECS {
        assert_eq!(spec.format.spec().unwrap().name, spec.name);
    }
}

#[test]
fn every_format_has_lines_and_takes_no_other_formats() {
    for spec in SPECS {
        let own = |(format, _): &&(Format, &str)| *format == spec.format;
        assert!(
            LINES.iter().any(|line| own(&line)),
            "{} has no line",
            spec.name
        );
    }
    for (format, line) in LINES {
        let is_json = line.starts_with('{');
        let takers: Vec<_> = SPECS
            .iter()
            .filter(|spec| spec.shape.fits(is_json) && (spec.looks_like)(line))
            .map(|spec| spec.format)
            .collect();
        assert_eq!(takers, [*format], "{line}");
        // Whatever came before it.
        for spec in SPECS {
            let mut last = Some(spec.format);
            let is_decoded = detect::decode(line, &mut last).is_ok();
            assert!(is_decoded, "after {}: {line}", spec.name);
            assert_eq!(last, Some(*format), "after {}: {line}", spec.name);
        }
    }
}

#[test]
fn auto_follows_a_source_that_changes_its_format() {
    let payloads: Vec<&[u8]> = [KONG, ENVOY, NGINX, COMBINED, COMBINED, KONG]
        .iter()
        .map(|text| text.as_bytes())
        .collect();
    let decoded = decode_bytes(Format::Auto, &payloads);
    assert_eq!(decoded.rejects, []);
    let gateways = decoded.batch.column_by_name("gateway").unwrap();
    let got: Vec<_> = (0..6).map(|row| cell(gateways, row)).collect();
    assert_eq!(
        got,
        ["kong", "envoy", "nginx", "combined", "combined", "kong"]
    );
    let mut decoder = Decoder::new(Format::Auto);
    assert_eq!(decoder.detected(), None);
    decoder.decode(&[SourceRecord {
        payload: COMBINED.as_bytes(),
        offset: 0,
        broker_time_ms: None,
    }]);
    assert_eq!(decoder.detected(), Some(Format::Combined));
}

#[test]
fn what_is_no_event_is_a_reject_with_a_reason() {
    let deep = format!("{}{}", r#"{"started_at":1,"x":"#, "[".repeat(900_000));
    let deep_array = "[".repeat(1_000_000);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(RECORD_BYTES_MAX));
    let rows: [(Format, &[u8], &str); 22] = [
        (Format::Auto, b"", "empty: no bytes but white space"),
        (Format::Kong, b" \r\n", "empty: no bytes but white space"),
        (
            Format::Auto,
            b"hello",
            "unknown_format: no known format has its keys",
        ),
        (
            Format::Auto,
            b"{}",
            "unknown_format: no known format has its keys",
        ),
        (
            Format::Auto,
            b"{\"a\":",
            "unknown_format: no known format has its keys",
        ),
        (
            Format::Kong,
            b"\x00\xff\xfe",
            "invalid_utf8: not a JSON object",
        ),
        (Format::Kong, b"hello", "malformed: not a JSON object"),
        (
            Format::Kong,
            b"{\"started_at\":17",
            "malformed: JSON ends early at line 1 column 16",
        ),
        (
            Format::Kong,
            b"{\"started_at\":x}",
            "malformed: JSON syntax at line 1 column 15",
        ),
        (Format::Kong, b"{}", "missing_field: started_at"),
        (
            Format::Kong,
            b"{\"started_at\":\"soon\"}",
            "wrong_type: started_at is not a time",
        ),
        (
            Format::Kong,
            b"{\"started_at\":{}}",
            "wrong_type: started_at is not a time",
        ),
        (
            Format::Kong,
            b"{\"started_at\":1}",
            "absurd_time: started_at is 1000 ms since 1970",
        ),
        (
            Format::Kong,
            b"{\"started_at\":4102444800000}",
            "absurd_time: started_at is 4102444800000 ms since 1970",
        ),
        (
            Format::Kong,
            b"{\"started_at\":1767571200003}",
            "missing_field: request.uri",
        ),
        (
            Format::Kong,
            b"{\"request\":5}",
            "wrong_type: request is not an object",
        ),
        (
            Format::Kong,
            b"{\"response\":{\"headers\":\"x\"}}",
            "wrong_type: response.headers is not an object",
        ),
        (
            Format::Nginx,
            b"{\"msec\":1767571200.5,\"method\":\"GET\"}",
            "missing_field: request_uri",
        ),
        (
            Format::Nginx,
            b"{\"msec\":1767571200.5,\"request_uri\":\"/\"}",
            "missing_field: method",
        ),
        (
            Format::Envoy,
            deep.as_bytes(),
            "malformed: JSON nested deeper than 128 levels",
        ),
        (
            Format::Auto,
            deep_array.as_bytes(),
            "malformed: the array ends early, or its brackets do not match",
        ),
        (
            Format::Auto,
            long.as_bytes(),
            "oversized: record of 1048584 bytes, limit 1048576",
        ),
    ];
    for (format, payload, want) in rows {
        assert_eq!(
            print(format, payload),
            [want],
            "{format} {:?}",
            String::from_utf8_lossy(&payload[..payload.len().min(60)])
        );
    }
}

#[test]
fn a_wrong_type_names_its_field() {
    let rows = [
        (
            KONG.replace("\"status\":200", "\"status\":{}"),
            "wrong_type: response.status is not a number",
        ),
        (
            KONG.replace("\"status\":200", "\"status\":true"),
            "wrong_type: response.status is not a number",
        ),
        (
            KONG.replace("\"status\":200", "\"status\":99999999999"),
            "wrong_type: response.status is not a number of three digits",
        ),
        (
            KONG.replace("\"status\":200", "\"status\":\"1000\""),
            "wrong_type: response.status is not a number of three digits",
        ),
        (
            KONG.replace("\"GET\"", "7"),
            "wrong_type: request.method is not text",
        ),
        (
            KONG.replace("\"138\"", "\"many\""),
            "wrong_type: request.size is not a number",
        ),
        (
            KONG.replace("\"GET\"", "[\"GET\"]"),
            "wrong_type: request.method is not text",
        ),
        (
            KONG.replace("\"latencies\":{\"request\":515}", "\"latencies\":7"),
            "wrong_type: latencies is not an object",
        ),
    ];
    for (text, want) in rows {
        assert_eq!(print(Format::Kong, text), [want]);
    }
}

#[test]
fn a_status_that_is_none_is_no_reject() {
    for status in ["0", "\"000\"", "\"-\"", "-1", "99", "null"] {
        let text = KONG.replace("\"status\":200", &format!("\"status\":{status}"));
        assert_has(Format::Kong, &text, &["method=GET"]);
        assert_lacks(Format::Kong, &text, "status");
    }
}

#[test]
fn a_method_that_looks_blank_hides_no_call() {
    for (format, text) in [
        (Format::Kong, KONG.replace("\"GET\"", "\"-\"")),
        (Format::Envoy, ENVOY.replace("\"GET\"", "\"-\"")),
        (Format::Nginx, NGINX.replace("\"GET\"", "\"-\"")),
        (Format::Combined, COMBINED.replace("\"GET ", "\"- ")),
    ] {
        assert_has(format, &text, &["method=-", "path=/a/7"]);
    }
}

#[test]
fn no_header_hides_another_that_does_the_same() {
    let kong = KONG.replace(
        "{\"host\"",
        r#"{"x-rewrite-url":"/b","x-forwarded-host":["a.example","a.example","169.254.169.254"],"x-original-url":"/a",
            "x-method-override":["-","GET"],"x-http-method":"DELETE","host""#,
    );
    let flat = |prefix: &str, hyphen: &str| {
        [
            ("x-original-url", "/a"),
            ("x-rewrite-url", "/b"),
            ("x-forwarded-host", "a.example, 169.254.169.254"),
            ("x-method-override", "GET"),
            ("x-http-method", "DELETE"),
        ]
        .map(|(name, value)| format!("\"{prefix}{}\":\"{value}\",", name.replace('-', hyphen)))
        .concat()
    };
    let with = |line: &str, fields: String| line.replacen('{', &format!("{{{fields}"), 1);
    for (format, line, urls, methods) in [
        (Format::Kong, kong, "/b, /a", "GET, DELETE"),
        (
            Format::Nginx,
            with(NGINX, flat("http_", "_")),
            "/a, /b",
            "GET, DELETE",
        ),
        (
            Format::Envoy,
            with(ENVOY, flat("", "-")),
            "/a, /b",
            "GET, DELETE",
        ),
        (
            Format::Envoy,
            with(ENVOY, flat("", "_")),
            "/a, /b",
            "GET, DELETE",
        ),
    ] {
        let want = [
            format!("rewritten_url={urls}"),
            format!("method_override={methods}"),
            "forwarded_host=a.example, 169.254.169.254".to_owned(),
        ];
        assert_has(format, &line, &want.each_ref().map(String::as_str));
    }
}

#[test]
fn headers_of_agents_are_read_wherever_they_are_logged() {
    let headers = [
        ("mcp-method", "tools/call", "mcp_method"),
        ("mcp-name", "get_task", "mcp_name"),
        ("mcp-protocol-version", "2026-07-28", "mcp_version"),
        ("a2a-version", "1.0", "a2a_version"),
        ("signature-agent", "agent.example", "signature_agent"),
        ("x-stainless-lang", "python", "sdk_language"),
    ];
    let fields = |prefix: &str, hyphen: &str| {
        headers
            .map(|(name, value, _)| {
                format!("\"{prefix}{}\":\"{value}\",", name.replace('-', hyphen))
            })
            .concat()
    };
    let in_front = |line: &str, fields: String| line.replacen('{', &format!("{{{fields}"), 1);
    let kong = KONG.replace(
        "\"headers\":{\"host\"",
        &format!("\"headers\":{{{}\"host\"", fields("", "-")),
    );
    for (format, line) in [
        (Format::Kong, kong),
        (Format::Nginx, in_front(NGINX, fields("http_", "_"))),
        (Format::Envoy, in_front(ENVOY, fields("", "-"))),
        (Format::Envoy, in_front(ENVOY, fields("", "_"))),
    ] {
        let want = headers.map(|(_, value, column)| format!("{column}={value}"));
        assert_has(format, &line, &want.each_ref().map(String::as_str));
    }
}

#[test]
fn one_bad_element_of_an_array_is_rejected_alone() {
    let text = format!(" [{KONG}, {{}}, 5, {KONG}] ");
    let decoded = decode_bytes(Format::Auto, &[b"{}", text.as_bytes()]);
    let place = |row| RowPosition { offset: 1, row };
    assert_eq!(decoded.positions, [place(0), place(3)]);
    let rejected: Vec<_> = decoded
        .rejects
        .iter()
        .map(|reject| (reject.position, reject.reason))
        .collect();
    let unknown = RejectReason::UnknownFormat;
    assert_eq!(
        rejected,
        [
            (RowPosition { offset: 0, row: 0 }, unknown),
            (place(1), unknown),
            (place(2), unknown)
        ]
    );
}

/// What became of one record: rows of the events, and rows and reasons of the rejects.
fn rows(format: Format, payload: &str) -> (Vec<i32>, Vec<(i32, RejectReason)>) {
    let decoded = decode_bytes(format, &[payload.as_bytes()]);
    let rejected = |reject: &Reject| (reject.position.row, reject.reason);
    (
        decoded.positions.iter().map(|place| place.row).collect(),
        decoded.rejects.iter().map(rejected).collect(),
    )
}

#[test]
fn no_call_of_a_damaged_array_vanishes() {
    let escaped = NGINX.replace("\"status\"", r#""user_agent":"a\x22],{ \c","status""#);
    let hole = NGINX.replace("200", "");
    let deep = format!("{{\"x\":{}0{}}}", "[".repeat(200), "]".repeat(200));
    let malformed = RejectReason::Malformed;
    let cases = [
        (format!("[{NGINX},{escaped},{NGINX}]"), vec![0, 1, 2], None),
        (format!("[{NGINX},{hole},{NGINX}]"), vec![0, 2], Some(1)),
        (format!("[{NGINX},{deep},{NGINX}]"), vec![0, 2], Some(1)),
        (format!("[{NGINX}] [{NGINX},{NGINX}]"), vec![0], Some(1)),
        (format!("[{NGINX}]{NGINX}"), vec![0], Some(1)),
        (format!("[] {NGINX}"), vec![], Some(0)),
        (format!("[{NGINX},{}", &NGINX[..30]), vec![0], Some(1)),
        (format!("[{NGINX},{NGINX}"), vec![0], Some(1)),
    ];
    for (text, events, reject) in cases {
        let rejects = reject.map(|row| (row, malformed)).into_iter().collect();
        assert_eq!(rows(Format::Nginx, &text), (events, rejects), "{text}");
    }
}

#[test]
fn a_first_field_that_looks_like_json_hides_no_text_line() {
    // Apache with %{X-Forwarded-For}i in front: the client fills it.
    for forged in ["[{", "{", "[\"a\"", "[]", "{\"msec\":", "[null]"] {
        let line = COMBINED.replacen("10.0.0.9", forged, 1);
        for format in [Format::Combined, Format::Auto] {
            assert_has(format, &line, &["path=/a/7", "gateway=combined"]);
        }
    }
}

#[test]
fn a_line_that_goes_on_in_the_next_record_is_rejected_as_partial() {
    let cri = |tag: &str, text: &str| format!("2025-12-31T17:37:40.49Z stdout {tag} {text}");
    let (head, tail) = NGINX.split_at(40);
    let text_head = &COMBINED[..COMBINED.len() - 5];
    let partial = ["partial: JSON ends early at line 1 column 40"];
    assert_eq!(print(Format::Nginx, cri("P", head)), partial);
    for (text, reason) in [
        (cri("P", head), "partial"),
        (cri("P", "the middle"), "partial"),
        (cri("P", "[{\"a\":"), "partial"),
        // Nobody can tell the last piece from a line that is broken.
        (cri("F", tail), "unknown_format"),
        (cri("F", ""), "empty"),
    ] {
        let lines = print(Format::Auto, &text);
        assert!(lines[0].starts_with(reason), "{text}: {lines:?}");
    }
    // A piece that is a call is one.
    assert_has(Format::Auto, &cri("P", text_head), &["path=/a/7"]);
    assert_has(Format::Auto, &cri("P", NGINX), &["path=/a/7"]);
}

#[test]
fn an_array_of_rubbish_makes_a_bounded_number_of_rejects() {
    let text = format!("[{}0]", "0,".repeat(400_000));
    let decoded = decode_bytes(Format::Kong, &[text.as_bytes()]);
    assert_eq!(decoded.rejects.len(), REJECTS_PER_RECORD_MAX + 1);
    let last = &decoded.rejects[REJECTS_PER_RECORD_MAX];
    assert_eq!(
        (last.position.row, last.detail.as_str()),
        (400_000, "399901 more elements rejected, up to this row")
    );
}

#[test]
fn an_empty_array_is_no_event_and_no_reject() {
    let decoded = decode_bytes(Format::Auto, &[b"[]"]);
    assert_eq!((decoded.batch.num_rows(), decoded.rejects.len()), (0, 0));
}

#[test]
fn envelopes_do_not_matter() {
    let plain = print(Format::Auto, KONG);
    assert!(!plain.is_empty());
    for text in [
        format!("\u{feff}{KONG}\r\n"),
        format!("  {KONG}  "),
        format!("[{KONG}]"),
        format!("2025-12-31T17:37:40.493035218+01:00 stdout F {KONG}"),
    ] {
        assert_eq!(print(Format::Auto, &text), plain, "{text}");
    }
}

#[test]
fn bad_utf8_inside_a_good_line_is_replaced() {
    let mut line = NGINX.replace("/a/7", "/a/?").into_bytes();
    let at = line.iter().position(|b| *b == b'?').unwrap();
    line[at] = 0xff;
    assert!(print(Format::Auto, &line).contains(&"path=/a/\u{fffd}".to_owned()));
}

#[test]
fn a_client_cannot_hide_behind_a_bad_escape() {
    let line = NGINX.replace("\"status\"", r#""user_agent":"a\x22 \c","status""#);
    assert_has(Format::Auto, &line, &["path=/a/7", r#"user_agent=a" \c"#]);
    assert_has(Format::Auto, &format!("[{NGINX}]"), &["path=/a/7"]);
    for bad in [r"\u12", r"\ud800", r"\udcff\u0041", "\u{1}"] {
        let line = NGINX.replace("\"status\"", &format!(r#""user_agent":"{bad}","status""#));
        assert_has(Format::Auto, &line, &["path=/a/7"]);
    }
}

#[test]
fn a_record_of_a_megabyte_works_and_its_body_is_cut() {
    let body = "é".repeat(500_000);
    let text = NGINX.replace(
        "\"status\"",
        &format!("\"request_body\":\"{body}\",\"status\""),
    );
    assert!(text.len() > 1_000_000);
    let lines = print(Format::Auto, &text);
    let body = lines
        .iter()
        .find_map(|line| line.strip_prefix("request_body="))
        .unwrap();
    assert_eq!(body.len(), BODY_BYTES_MAX);
}

#[test]
fn every_required_field_missing_is_named() {
    for (text, field, want) in [
        (KONG, "\"started_at\"", "missing_field: started_at"),
        (KONG, "\"method\"", "missing_field: request.method"),
        (ENVOY, "\"start_time\"", "missing_field: start_time"),
        (ENVOY, "\"method\"", "missing_field: method"),
        (ENVOY, "\"x-envoy-origin-path\"", "missing_field: path"),
        (NGINX, "\"msec\"", "missing_field: time"),
        (NGINX, "\"method\"", "missing_field: method"),
    ] {
        let format = if text == KONG {
            Format::Kong
        } else if text == ENVOY {
            Format::Envoy
        } else {
            Format::Nginx
        };
        assert_eq!(
            print(format, text.replace(field, "\"absent\"")),
            [want],
            "{field}"
        );
    }
}

fn any_format() -> impl Strategy<Value = Format> {
    let formats: Vec<_> = SPECS.iter().map(|spec| spec.format).collect();
    prop_oneof![Just(Format::Auto), prop::sample::select(formats)]
}

fn any_line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(LINES).prop_map(|(_, line)| line)
}

proptest! {
    #[test]
    fn decoding_never_panics_on_bytes(format in any_format(), payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4)) {
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let decoded = decode_bytes(format, &payloads);
        prop_assert_eq!(decoded.batch.num_rows(), decoded.positions.len());
    }

    #[test]
    fn decoding_never_panics_on_a_damaged_line(
        format in any_format(),
        line in any_line(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut line = line.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(line.len());
            line[at] = byte;
        }
        if is_cut {
            line.truncate(cut.index(line.len()));
        }
        let decoded = decode_bytes(format, &[&line]);
        // An empty array is no call; of an export request's spans none may be a server's.
        let may_be_nothing = line.starts_with(b"[") || String::from_utf8_lossy(&line).contains("esourceSpans");
        prop_assert!(decoded.positions.len() + decoded.rejects.len() >= 1 || may_be_nothing);
    }

    #[test]
    fn json_like_text_never_panics(text in r#"[\[{]["\\{}\[\]:,a0.x u/-]{0,60}[\]}]?"#, format in any_format()) {
        decode_bytes(format, &[text.as_bytes()]);
    }

    #[test]
    fn splitting_a_batch_changes_nothing(
        lines in prop::collection::vec(prop_oneof![4 => any_line(), 1 => Just("{}"), 1 => Just("junk")], 1..12),
        at in any::<prop::sample::Index>(),
    ) {
        let records: Vec<_> = (0..).zip(&lines).map(|(offset, line)| SourceRecord { payload: line.as_bytes(), offset, broker_time_ms: None }).collect();
        let whole = Decoder::new(Format::Auto).decode(&records);
        let (left, right) = records.split_at(at.index(records.len()));
        let mut decoder = Decoder::new(Format::Auto);
        let parts = [decoder.decode(left), decoder.decode(right)];
        let joined = arrow::compute::concat_batches(&whole.batch.schema(), parts.iter().map(|part| &part.batch)).unwrap();
        prop_assert_eq!(joined, whole.batch);
        prop_assert_eq!([&parts[0].rejects[..], &parts[1].rejects[..]].concat(), whole.rejects);
    }
}

mod envelopes;
