//! Decodes the captures and samples that are not part of the project, where they are at hand.

use connectors::file::{self, Line, Lines};
use connectors::format::{Decoder, Format, SourceRecord};
use connectors::reject::RejectReason;

use crate::support::shared;

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
fn samples_decode_but_for_lines_that_are_no_requests() {
    // File, format, events, rejects.
    let rows = [
        ("kong-http-log.ndjson", Format::Kong, 3, 1),
        ("istio-json.ndjson", Format::Envoy, 2, 1),
        ("envoy-gateway-json.ndjson", Format::Envoy, 49, 0),
        ("envoy-gateway-json-cri.log", Format::Envoy, 49, 4),
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
