use arrow::array::{Array, AsArray};

use super::*;
use crate::event::decoded_schema;

/// Lines `method path time`; others hold no call if they begin with `#`.
struct Words;

struct Read(Vec<String>);

impl Mapping for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn is_line(&self, text: &str) -> bool {
        text.split(' ').count() == 3
    }

    fn read(&self, lines: &[&str]) -> Box<dyn Lines> {
        Box::new(Read(lines.iter().map(|line| (*line).to_owned()).collect()))
    }
}

impl Lines for Read {
    fn row<'a>(&'a self, row: usize, values: &mut Values<'a>) -> Row {
        let words: Vec<&str> = self.0[row].split(' ').collect();
        match words.as_slice() {
            [method, path, time] => {
                values[place("method")] = Value::Text(method);
                values[place("path")] = Value::Text(path);
                values[place("event_time")] = Value::Text(time);
                Row::Call
            }
            _ if self.0[row].starts_with('#') => Row::NoCall,
            _ => Row::Fault(RejectReason::Malformed, "words".into()),
        }
    }
}

/// Rows and reasons of one record, in the order of their rows.
fn decoded(payload: &str) -> Vec<(i32, String)> {
    let record = SourceRecord {
        payload: payload.as_bytes(),
        offset: 7,
        broker_time_ms: None,
    };
    let decoded = decode(&Words, &[record]);
    let path = decoded.batch.column_by_name("path").unwrap();
    let events = decoded.positions.iter().enumerate();
    let mut rows: Vec<_> = events
        .map(|(row, at)| (at.row, path.as_string_view().value(row).to_owned()))
        .collect();
    rows.extend(
        decoded
            .rejects
            .iter()
            .map(|reject| (reject.position.row, reject.reason.to_string())),
    );
    rows.sort();
    rows
}

#[test]
fn lines_are_taken_out_of_what_shippers_put_around_them() {
    let rows: [(&str, &[(i32, &str)]); 13] = [
        ("GET /a 1767613805", &[(0, "/a")]),
        (
            "2026-01-05T11:50:05.1Z stdout F GET /a 1767613805",
            &[(0, "/a")],
        ),
        (
            "2026-01-05T11:50:05.1Z stdout P GET /a 176",
            &[(0, "partial")],
        ),
        ("# comment", &[]),
        ("nonsense", &[(0, "malformed")]),
        ("", &[(0, "empty")]),
        (
            r#"["GET /a 1767613805", nonsense, {"message": "GET /b 1767613805"}]"#,
            &[(0, "wrong_type"), (1, "malformed"), (2, "/b")],
        ),
        (r#"{"message": "GET /a 1767613805"}"#, &[(0, "/a")]),
        (r##"{"message": "#comment"}"##, &[(0, "malformed")]),
        (r#"{"message": "nonsense"}"#, &[(0, "malformed")]),
        (r#"{"message": "GET /a yesterday"}"#, &[(0, "wrong_type")]),
        (
            r#"{"records": [{"log": "GET /a 1767613805"}, {"log": "GET /b 1"}]}"#,
            &[(0, "/a"), (1, "absurd_time")],
        ),
        (
            r#"{"log": "{\"message\": \"{\\\"log\\\": \\\"GET /deep 1767613805\\\"}\"}"}"#,
            &[(0, "malformed")],
        ),
    ];
    for (payload, wanted) in rows {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(row, what)| (*row, (*what).to_owned()))
            .collect();
        assert_eq!(decoded(payload), wanted, "{payload}");
    }
}

#[test]
fn a_bad_record_costs_its_neighbours_nothing() {
    let long = vec![b' '; RECORD_BYTES_MAX + 1];
    let payloads: [&[u8]; 5] = [
        b"GET /a 1767613805",
        &long,
        b"\xff\xfe",
        b"GET /\xff 1767613805",
        b"GET /b 1767613805",
    ];
    let records: Vec<_> = (0..)
        .zip(payloads)
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset,
            broker_time_ms: None,
        })
        .collect();
    let decoded = decode(&Words, &records);
    let offsets: Vec<_> = decoded.positions.iter().map(|at| at.offset).collect();
    assert_eq!(offsets, [0, 3, 4]);
    let reasons: Vec<_> = decoded.rejects.iter().map(|reject| reject.reason).collect();
    assert_eq!(
        reasons,
        [RejectReason::Oversized, RejectReason::InvalidUtf8]
    );
}

#[test]
fn every_field_lands_in_the_column_of_its_name() {
    // Those whose value is not the text itself.
    let special = [
        ("event_time", "1767613805"),
        ("request_line", ""),
        ("scheme", "https"),
        ("status", "201"),
        ("request_bytes", "2"),
        ("response_bytes", "3"),
        ("latency_us", "4"),
        ("client_ip", "192.0.2.1:99"),
        ("peer_ip", "[2001:db8::1]:99"),
        ("upstream_scheme", "HTTPS"),
    ];
    let mut values = NO_VALUES;
    for (value, name) in values.iter_mut().zip(FIELDS) {
        let given = special.iter().find(|(special, _)| *special == name);
        *value = Value::Text(given.map_or(name, |(_, text)| text));
    }
    values[place("authenticated")] = Value::Flag(true);
    let mut batch = EventBatchBuilder::new(Vec::<u8>::new());
    let position = RowPosition { offset: 0, row: 0 };
    batch.push(&event("mine", &values).unwrap(), position);
    let batch = batch.finish().batch;
    for field in decoded_schema().fields() {
        let name = field.name().as_str();
        let column = batch.column_by_name(name).unwrap();
        assert!(column.is_valid(0), "{name}");
        let Some(texts) = column.as_string_view_opt() else {
            continue;
        };
        let wanted = match name {
            "gateway" => "mine",
            "scheme" | "upstream_scheme" => "https",
            "client_ip" => "192.0.2.1",
            "peer_ip" => "2001:db8::1",
            name => name,
        };
        assert_eq!(texts.value(0), wanted);
    }
}

#[test]
fn values_are_read_as_decoders_read_theirs() {
    let of = |given: &[(&str, Value<'static>)]| {
        let mut values = NO_VALUES;
        values[place("event_time")] = Value::TimeMs(1_767_613_805_154);
        values[place("request_line")] = Value::Text("PUT https://h:8443/a?b=c HTTP/1.1");
        for (name, value) in given {
            values[place(name)] = *value;
        }
        event("mine", &values)
            .map(|event| format!("{event:?}"))
            .unwrap_or_else(|fault| format!("{}: {}", fault.reason, fault.detail))
    };
    let rows: [(&[(&str, Value<'static>)], &str); 15] = [
        (
            &[],
            r#"method: "PUT", scheme: Some("https"), host: Some("h:8443"), path: "/a", query: Some("b=c")"#,
        ),
        (
            &[
                ("path", Value::Text("/x?y")),
                ("method", Value::Text("GET")),
            ],
            r#"method: "GET""#,
        ),
        (
            &[("path", Value::Text("/x?y")), ("query", Value::Text("?z"))],
            r#"path: "/x", query: Some("z")"#,
        ),
        (&[("status", Value::Text("000"))], "status: None"),
        (
            &[("status", Value::Text("2OO"))],
            "wrong_type: status is not a number",
        ),
        (&[("status", Value::Float(404.0))], "status: Some(404)"),
        (
            &[("response_bytes", Value::Text("-"))],
            "response_bytes: None",
        ),
        (
            &[("response_bytes", Value::Integer(-1))],
            "response_bytes: None",
        ),
        (
            &[("latency_us", Value::Float(1234.4))],
            "latency_us: Some(1234)",
        ),
        (
            &[("authorization", Value::Text("***"))],
            "authenticated_hint: true",
        ),
        (
            &[("consumer", Value::Integer(42))],
            r#"consumer: Some("42")"#,
        ),
        (
            &[("hsts", Value::Text("-"))],
            r#"hsts: Some(""), content_type_options: None"#,
        ),
        (
            &[("upstream_scheme", Value::Text("grpcs"))],
            r#"upstream_scheme: Some("https")"#,
        ),
        (
            &[("event_time", Value::Nothing)],
            "missing_field: event_time",
        ),
        (
            &[("event_time", Value::TimeMs(1))],
            "absurd_time: event_time is 1 ms since 1970",
        ),
    ];
    for (given, wanted) in rows {
        let got = of(given);
        assert!(got.contains(wanted), "{given:?}: {got}");
    }
    let nothing = event("mine", &NO_VALUES).unwrap_err();
    assert_eq!(nothing.detail, "path");
}
