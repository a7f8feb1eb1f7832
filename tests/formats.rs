//! Decodes the captures and samples that are not part of the project, where they are at hand.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use connectors::file::{self, Line, Lines};
use connectors::format::{Decoder, Format, SourceRecord};
use connectors::reject::RejectReason;

use crate::support::{lines, shared};

/// What became of a file: events, distinct values of a few columns, rejects by reason.
struct Outcome {
    n_lines: usize,
    n_events: usize,
    n_identified: usize,
    rejects: Vec<(RejectReason, String)>,
    detected: Option<Format>,
}

fn decode(name: &str, format: Format, n_lines_max: usize) -> Option<Outcome> {
    let input = file::open(&shared(name)?).expect("the file opens");
    let lines: Vec<_> = Lines::new(input.reader)
        .take(n_lines_max)
        .filter_map(|line| match line.expect("the file is whole") {
            Line::Bytes { bytes, .. } => Some(bytes),
            Line::Oversized { .. } => None,
        })
        .collect();
    let mut decoder = Decoder::new(format);
    let mut outcome = Outcome {
        n_lines: lines.len(),
        n_events: 0,
        n_identified: 0,
        rejects: Vec::new(),
        detected: None,
    };
    let records: Vec<_> = (0..)
        .zip(&lines)
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset,
            broker_time_ms: None,
        })
        .collect();
    for records in records.chunks(8_192) {
        let decoded = decoder.decode(records);
        outcome.n_events += decoded.batch.num_rows();
        outcome.n_identified += ["jwt_sub", "token_hash", "principal", "consumer"]
            .iter()
            .map(|name| {
                let column = decoded
                    .batch
                    .column_by_name(name)
                    .expect("a column of the schema");
                column.len() - column.null_count()
            })
            .sum::<usize>();
        outcome.rejects.extend(
            decoded
                .rejects
                .into_iter()
                .map(|reject| (reject.reason, reject.detail)),
        );
    }
    outcome.detected = decoder.detected();
    Some(outcome)
}

#[test]
fn captures_decode_without_a_reject() {
    let rows = [
        ("captures/dev-vampi-nginx/access.ndjson.xz", Format::Nginx),
        ("captures/dev-board-nginx/access.ndjson.xz", Format::Nginx),
        ("captures/dev-ledger-apache/access.log.xz", Format::Combined),
    ];
    for (name, format) in rows {
        let Some(outcome) = decode(name, Format::Auto, 40_000) else {
            continue;
        };
        assert_eq!(outcome.rejects, [], "{name}");
        assert_eq!(outcome.n_events, outcome.n_lines, "{name}");
        assert_eq!(outcome.detected, Some(format), "{name}");
        assert!(
            outcome.n_events / 2 < outcome.n_identified,
            "{name}: {} identified",
            outcome.n_identified
        );
    }
}

#[test]
fn a_bundled_text_capture_keeps_durations_ids_and_callers() {
    let lines = lines("ledger.log.xz", 20_000);
    let records: Vec<_> = (0..)
        .zip(&lines)
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset,
            broker_time_ms: None,
        })
        .collect();
    let decoded = Decoder::new(Format::Auto).decode(&records);
    assert_eq!(decoded.rejects, []);
    let column = |name: &str| {
        let column = decoded.batch.column_by_name(name);
        column.expect("a column of the schema")
    };
    let (latency, ids) = (column("latency_us"), column("request_id"));
    let (users, addresses) = (column("principal"), column("client_ip"));
    for (row, line) in lines.iter().enumerate() {
        // address - user [time] "request" status bytes "referer" "agent" microseconds id
        let line = str::from_utf8(line).expect("a capture is text");
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let text = |column: &ArrayRef| column.as_string_view().value(row).to_owned();
        let latency_us = latency.as_primitive::<Int64Type>().value(row);
        assert_eq!(latency_us.to_string(), words[words.len() - 2], "{line}");
        assert_eq!(text(ids), words[words.len() - 1], "{line}");
        assert_eq!(text(addresses), words[0], "{line}");
        assert_eq!(text(users), words[2].trim_matches('-'), "{line}");
    }
}

#[test]
fn samples_decode_but_for_lines_that_are_no_requests() {
    // File, format, events, rejects.
    let rows = [
        ("kong-http-log.ndjson", Format::Kong, 3, 1),
        ("istio-json.ndjson", Format::Envoy, 2, 1),
        ("envoy-gateway-json.ndjson", Format::Envoy, 49, 0),
        ("envoy-gateway-json-cri.log", Format::Envoy, 53, 0),
        ("nginx-json-generated.ndjson", Format::Nginx, 14, 1),
        ("nginx-combined.log", Format::Combined, 53, 13),
        ("nginx-combined-generated.log", Format::Combined, 14, 1),
        ("apache-combined.log", Format::Combined, 187, 13),
    ];
    for (name, format, n_events, n_rejects) in rows {
        for format in [format, Format::Auto] {
            let Some(outcome) = decode(&format!("samples/{name}"), format, usize::MAX) else {
                continue;
            };
            let got = (outcome.n_events, outcome.rejects.len());
            assert_eq!(
                got,
                (n_events, n_rejects),
                "{name} as {format}: {:#?}",
                outcome.rejects
            );
        }
    }
}
