use super::*;
use crate::format::Format::{Auto, Combined, Kong, Otlp};
use crate::format::tests::print;

/// A call by its attributes, of the stable names.
const CALL: &str = r#"{"timeUnixNano":"1767571200003685000","observedTimeUnixNano":"1","traceId":"0af7","body":{"stringValue":"GET /a/7 201"},
    "attributes":[{"key":"http.request.method","value":{"stringValue":"GET"}},{"key":"url.path","value":{"stringValue":"/a/7"}},
    {"key":"http.response.status_code","value":{"intValue":"201"}},{"key":"user.id","value":{"stringValue":"ann"}}]}"#;
const LINE: &str = r#"192.0.2.7 - bob [05/Jan/2026:00:00:00 +0000] \"GET /a/8?x=1 HTTP/1.1\" 200 17 \"-\" \"curl/8\""#;

fn request(logs: &[&str]) -> String {
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"orders"}}}}]}},"scopeLogs":[{{"scope":{{}},"logRecords":[{}]}}]}}]}}"#,
        logs.join(",")
    )
}

fn of_body(body: &str) -> String {
    format!(
        r#"{{"observedTimeUnixNano":"1767571200003685000","body":{body},"attributes":[{{"key":"log.file.name","value":{{"stringValue":"a"}}}}]}}"#
    )
}

#[test]
fn a_log_record_with_http_attributes_is_a_call() {
    let want = [
        "event_time=2026-01-05T00:00:00.003Z",
        "status=201",
        "gateway=otlp",
        "method=GET",
        "path=/a/7",
        "principal=ann",
        "service=orders",
        "trace_id=0af7",
    ];
    for format in [Otlp, Auto] {
        assert_eq!(print(format, request(&[CALL])), want);
    }
    let unknown = CALL.replace(
        "\"timeUnixNano\":\"1767571200003685000\",\"observedTimeUnixNano\":\"1\"",
        "\"timeUnixNano\":\"0\",\"observedTimeUnixNano\":\"1767571200003685000\"",
    );
    assert_eq!(print(Auto, request(&[&unknown])), want);
    let timeless = CALL.replace("imeUnixNano", "x");
    assert_eq!(
        print(Auto, request(&[&timeless])),
        ["missing_field: timeUnixNano"]
    );
}

#[test]
fn a_body_is_the_line_or_the_object_that_it_says() {
    let bytes = "MTkyLjAuMi43IC0gYm9iIFswNS9KYW4vMjAyNjowMDowMDowMCArMDAwMF0gIkdFVCAvYS84P3g9MSBIVFRQLzEuMSIgMjAwIDE3ICItIiAiY3VybC84Ig==";
    let object = r#"{"kvlistValue":{"values":[{"key":"log","value":{"stringValue":"LINE\n"}},{"key":"stream","value":{"stringValue":"stdout"}}]}}"#;
    let bodies = [
        format!(r#"{{"stringValue":"{LINE}"}}"#),
        format!(r#"{{"stringValue":"2026-01-05T00:00:00Z stdout F {LINE}"}}"#),
        format!(r#"{{"bytesValue":"{bytes}"}}"#),
        object.replace("LINE", LINE),
    ];
    for body in bodies {
        for format in [Auto, Combined] {
            let lines = print(format, request(&[&of_body(&body)]));
            let has = |line: &str| lines.iter().any(|of| of == line);
            assert!(
                has("path=/a/8") && has("principal=bob"),
                "{body}: {lines:?}"
            );
        }
    }
}

#[test]
fn of_many_log_records_each_is_what_it_is() {
    let line = of_body(&format!(r#"{{"stringValue":"{LINE}"}}"#));
    let chatter = of_body(r#"{"stringValue":"connection pool is full"}"#);
    let empty = r#"{"timeUnixNano":"5","attributes":[]}"#;
    let lines = print(Auto, request(&[CALL, &line, empty, &chatter, CALL]));
    let of = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!(
        (
            of("path=/a/7"),
            of("path=/a/8"),
            of("unknown_format"),
            of("empty: a log record")
        ),
        (2, 1, 1, 1),
        "{lines:?}"
    );
    assert_eq!(
        print(Auto, request(&[])),
        ["empty: an envelope without records"]
    );
    // Where the gateway is told, its lines are read and nothing else is taken for one.
    let lines = print(Kong, request(&[CALL]));
    assert_eq!(lines.len(), 1, "{lines:?}");
    // Requests in requests end.
    let mut nested = request(&[&line]);
    for _ in 0..4 {
        let text = serde_json::Value::String(nested).to_string();
        nested = request(&[&of_body(&format!(r#"{{"stringValue":{text}}}"#))]);
    }
    let lines = print(Auto, nested);
    assert!(
        lines.len() == 1 && lines[0].starts_with("unknown_format"),
        "{lines:?}"
    );
}

#[test]
fn values_are_what_their_wrappers_hold() {
    let rows = [
        (r#"{"stringValue":"a"}"#, r#""a""#),
        (r#"{"intValue":"42"}"#, "42"),
        (r#"{"intValue":42}"#, "42"),
        (r#"{"intValue":"x"}"#, r#""x""#),
        (r#"{"doubleValue":1.5}"#, "1.5"),
        (r#"{"boolValue":false}"#, "false"),
        (r#"{"bytesValue":"/w=="}"#, "\"\u{fffd}\""),
        (
            r#"{"arrayValue":{"values":[{"stringValue":"a"},{}]}}"#,
            r#"["a",null]"#,
        ),
        (r#"{"arrayValue":{}}"#, "[]"),
        (
            r#"{"kvlistValue":{"values":[{"key":"a","value":{"kvlistValue":{"values":[]}}},{"key":"b"},{"value":{}}]}}"#,
            r#"{"a":{},"b":null}"#,
        ),
        ("{}", "null"),
        ("[]", "null"),
    ];
    for (any, want) in rows {
        let any: Value = serde_json::from_str(any).expect("JSON");
        assert_eq!(plain(&any).to_string(), want, "{any}");
    }
}

#[test]
fn what_wraps_nothing_is_empty_and_what_is_no_object_a_fault() {
    for text in [
        "{}",
        r#"{"body":{}}"#,
        r#"{"body":{"stringValue":" "}}"#,
        r#"{"body":null,"attributes":null}"#,
    ] {
        assert!(matches!(log(text, true), Ok(Log::Empty)), "{text}");
    }
    for text in ["", "[]", "3", "{"] {
        assert!(log(text, true).is_err(), "{text}");
    }
    let attributes = r#"{"attributes":[{"key":"a","value":{"intValue":"1"}}]}"#;
    assert!(matches!(log(attributes, true), Ok(Log::Line(line)) if line == r#"{"a":1}"#));
    assert!(matches!(log(CALL, true), Ok(Log::Call(_))));
    assert!(matches!(log(CALL, false), Ok(Log::Line(line)) if line == "GET /a/7 201"));
}
