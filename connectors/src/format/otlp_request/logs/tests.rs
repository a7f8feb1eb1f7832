use serde_json::{Value, json};

use super::super::tests::{bytes, decode, fixed, pair, word};
use super::*;

const LINE: &str =
    r#"192.0.2.7 - bob [05/Jan/2026:00:00:00 +0000] "GET /a/8 HTTP/1.1" 200 17 "-" "curl/8""#;

/// A log record in protobuf with this body and these attributes.
fn record(body: Option<Vec<u8>>, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut out = [
        fixed(1, 1_767_601_459_146_000_000),
        fixed(11, 1_767_601_459_150_000_000),
        // A severity, which is left out.
        vec![2 << 3, 9],
        bytes(9, &[0xab; 16]),
    ]
    .concat();
    if let Some(body) = body {
        out.extend(bytes(5, &body));
    }
    for attribute in attributes {
        out.extend(bytes(6, attribute));
    }
    out
}

fn call() -> Vec<u8> {
    let attributes = [
        pair("http.request.method", word("GET")),
        pair("url.path", word("/a/7")),
        pair("http.response.status_code", vec![3 << 3, 0xc8, 0x01]),
        pair("user.id", word("ada\n\"\u{1}")),
    ];
    record(Some(word("GET /a/7 200")), &attributes)
}

fn request(logs: &[Vec<u8>]) -> Vec<u8> {
    let resource = bytes(1, &bytes(1, &pair("service.name", word("shop"))));
    let scope: Vec<u8> = logs.iter().flat_map(|log| bytes(2, log)).collect();
    bytes(1, &[resource, bytes(2, &scope)].concat())
}

/// A map of protobuf: its pairs.
fn map(pairs: &[Vec<u8>]) -> Vec<u8> {
    let pairs: Vec<u8> = pairs.iter().flat_map(|pair| bytes(1, pair)).collect();
    bytes(6, &pairs)
}

#[test]
fn calls_are_kept_in_requests_and_lines_stand_for_themselves_in_order() {
    let object = map(&[pair("log", word(LINE)), pair("n", vec![3 << 3, 7])]);
    let logs = [
        call(),
        call(),
        record(
            Some(word(LINE)),
            &[pair("log.file.name", word("access.log"))],
        ),
        record(None, &[]),
        record(Some(object), &[]),
        record(Some(bytes(7, LINE.as_bytes())), &[]),
        call(),
    ];
    let exported = from_protobuf(&request(&logs)).expect("a request");
    assert_eq!((exported.records.len(), exported.n_items), (5, 6));
    let first: Value = serde_json::from_str(&exported.records[0]).expect("JSON");
    let logs = &first["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    assert_eq!(logs.as_array().map(Vec::len), Some(2));
    assert_eq!(logs[0]["traceId"], "ab".repeat(16));
    assert_eq!(exported.records[1], LINE);
    assert_eq!(
        exported.records[2],
        json!({ "log": LINE, "n": 7 }).to_string()
    );
    assert_eq!(exported.records[3], LINE);
    let (events, n_rejects) = decode(&exported.records);
    assert_eq!((events.num_rows(), n_rejects), (6, 0));
}

#[test]
fn json_and_protobuf_of_one_request_make_the_same_records() {
    let protobuf = from_protobuf(&request(&[call()])).expect("a request");
    let log: Value = serde_json::from_str(&protobuf.records[0]).expect("JSON");
    let log = &log["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    let body = json!({ "body": { "stringValue": LINE } });
    let json = format!(
        "\n{{ \"resource_logs\": [ {{ \"scopeLogs\": [ {{ \"logRecords\": [ {log}, {body} ], \"scope\": {{\"name\":\"\",\"version\":\"\"}} }} ],
        \"resource\": {{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"shop\"}}}}]}} }} ] }}\n"
    );
    let json = from_json(json.as_bytes()).expect("a request");
    let records = [protobuf.records[0].as_str(), LINE];
    assert_eq!(json.records, records);
    assert_eq!(json.n_items, 2);
}

#[test]
fn what_is_too_long_is_told_and_what_is_too_much_is_refused() {
    let long = record(Some(word(&"x".repeat(800 << 10))), &[]);
    let exported = from_protobuf(&request(&[long, call()])).expect("a request");
    assert_eq!((exported.n_items, exported.n_too_long), (1, 1));
    let told = answer_json(exported.n_too_long);
    assert_eq!(
        told,
        r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too long for a record"}}"#
    );
    assert_eq!(answer_json(0), "{}");
    let many = vec![bytes(5, &word("x")); RECORDS_MAX + 1];
    let error = from_protobuf(&request(&many)).expect_err("too many");
    assert!(error.contains("more than 100000 records"), "{error}");
}

#[test]
fn nothing_but_a_request_is_taken_and_nothing_panics() {
    for text in ["", "[]", "{", r#"{"resourceLogs":[3]}"#, "{} {}"] {
        assert!(from_json(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(from_json(b"{}"), Ok(Exported::default()));
    // As deep as a value can be, and deeper.
    let mut deep = word("x");
    for _ in 0..200 {
        deep = map(&[pair("a", deep)]);
    }
    let exported = from_protobuf(&request(&[record(Some(deep), &[])])).expect("a request");
    assert_eq!(exported.records.len(), 1);
    let whole = request(&[call(), record(Some(word(LINE)), &[])]);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            if let Ok(exported) = from_protobuf(&bent) {
                decode(&exported.records);
            }
        }
    }
}
