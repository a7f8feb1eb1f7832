use super::*;
use crate::format::{Decoder, Format, SourceRecord};

/// A field of protobuf with a length.
pub(super) fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut n = value.len();
    while 0x80 <= n {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend_from_slice(value);
    out
}

pub(super) fn fixed(number: u8, value: u64) -> Vec<u8> {
    [vec![number << 3 | 1], value.to_le_bytes().to_vec()].concat()
}

pub(super) fn pair(key: &str, value: Vec<u8>) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, &value)].concat()
}

pub(super) fn word(value: &str) -> Vec<u8> {
    bytes(1, value.as_bytes())
}

fn server_span(path: &str) -> Vec<u8> {
    let header = bytes(5, &bytes(1, &word("secret-key")));
    let attributes = [
        pair("http.request.method", word("GET")),
        pair("url.path", word(path)),
        pair("url.scheme", word("https")),
        // 200 as a varint.
        pair("http.response.status_code", vec![3 << 3, 0xc8, 0x01]),
        pair("http.request.header.x-api-key", header),
        pair("user.id", word("ada\n\"\u{1}")),
    ];
    let mut span = [
        bytes(1, &[0xab; 16]),
        bytes(2, &[0xcd; 8]),
        bytes(5, b"GET /x"),
        vec![6 << 3, 2],
        fixed(7, 1_767_601_459_146_000_000),
        fixed(8, 1_767_601_459_150_000_000),
    ]
    .concat();
    for attribute in attributes {
        span.extend(bytes(9, &attribute));
    }
    // An event, which is left out.
    span.extend(bytes(11, &bytes(2, b"something happened")));
    span
}

fn request(spans: &[Vec<u8>]) -> Vec<u8> {
    let resource = bytes(1, &bytes(1, &pair("service.name", word("shop"))));
    let mut scope = bytes(1, &bytes(1, b"http"));
    for span in spans {
        scope.extend(bytes(2, span));
    }
    // The resource after its spans: order is free.
    bytes(1, &[bytes(2, &scope), resource].concat())
}

/// Decodes records; events and rejects.
pub(super) fn decode(records: &[String]) -> (arrow::record_batch::RecordBatch, usize) {
    let records: Vec<SourceRecord<'_>> = records
        .iter()
        .map(|record| SourceRecord {
            payload: record.as_bytes(),
            offset: 1,
            broker_time_ms: None,
        })
        .collect();
    let decoded = Decoder::new(Format::Auto).decode(&records);
    (decoded.batch, decoded.rejects.len())
}

#[test]
fn a_protobuf_request_becomes_what_the_decoder_reads() {
    let mut client = server_span("/internal");
    let kind = client.windows(2).position(|w| w == [6 << 3, 2]).unwrap();
    client[kind + 1] = 3;
    let exported = from_protobuf(&request(&[server_span("/accounts/42"), client])).unwrap();
    assert_eq!((exported.records.len(), exported.n_items), (1, 1));
    let value: serde_json::Value = serde_json::from_str(&exported.records[0]).unwrap();
    let span = &value["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "ab".repeat(16));
    assert_eq!(
        span["attributes"][5]["value"]["stringValue"],
        "ada\n\"\u{1}"
    );
    let (events, n_rejects) = decode(&exported.records);
    assert_eq!((events.num_rows(), n_rejects), (1, 0));
}

#[test]
fn json_and_protobuf_of_one_request_decode_alike() {
    let protobuf = from_protobuf(&request(&[server_span("/accounts/42")])).unwrap();
    // Written back to front, with spaces, snake case and a client's span beside it.
    let span = serde_json::from_str::<serde_json::Value>(&protobuf.records[0]).unwrap();
    let span = &span["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let json = format!(
        "\n{{ \"resource_spans\": [ {{ \"scopeSpans\": [ {{ \"spans\": [ {{\"kind\": 3}}, {span} ], \"scope\": {{\"name\":\"http\",\"version\":\"\"}} }} ],
        \"resource\": {{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"shop\"}}}}]}} }} ] }}\n"
    );
    let json = from_json(json.as_bytes()).unwrap();
    assert_eq!(json, protobuf);
}

#[test]
fn a_large_request_is_cut_into_records_that_are_taken() {
    let spans: Vec<Vec<u8>> = (0..4_000)
        .map(|i| server_span(&format!("/accounts/{i}")))
        .collect();
    let exported = from_protobuf(&request(&spans)).unwrap();
    assert!(2 < exported.records.len(), "{}", exported.records.len());
    assert!(
        exported
            .records
            .iter()
            .all(|record| record.len() < 1_000_000)
    );
    let (events, n_rejects) = decode(&exported.records);
    assert_eq!((events.num_rows(), n_rejects), (4_000, 0));
    let long = server_span(&"x".repeat(ITEMS_BYTES_MAX));
    let exported = from_protobuf(&request(&[long, server_span("/a")])).unwrap();
    assert_eq!((exported.n_items, exported.n_too_long), (1, 1));
}

#[test]
fn nothing_but_a_request_is_taken_and_nothing_panics() {
    for text in ["", "[]", "{", "{\"resourceSpans\":[3]}", "{} {}", "\u{0}"] {
        assert!(from_json(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(from_json(b"{}"), Ok(Exported::default()));
    assert_eq!(from_protobuf(b""), Ok(Exported::default()));
    let whole = request(&[server_span("/accounts/42")]);
    for n in 1..whole.len() {
        // Cut anywhere its outermost length is wrong.
        assert!(from_protobuf(&whole[..n]).is_err(), "{n}");
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            if let Ok(exported) = from_protobuf(&bent) {
                for record in exported.records {
                    serde_json::from_str::<serde_json::Value>(&record).unwrap();
                }
            }
        }
    }
    let mut deep = word("x");
    for _ in 0..1_000 {
        deep = bytes(5, &bytes(1, &deep));
    }
    let mut span = server_span("/a");
    span.extend(bytes(9, &pair("deep", deep)));
    assert_eq!(from_protobuf(&request(&[span])).unwrap().n_items, 1);
}
