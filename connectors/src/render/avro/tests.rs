use serde_json::{Value, json};

use super::*;

const ALERTS: &str = include_str!("../alerts.ndjson");

fn alerts() -> Vec<Alert> {
    let parse = |line: &str| Alert::parse(line.as_bytes()).expect("an alert");
    ALERTS.lines().map(parse).collect()
}

/// What the schema calls a field's type.
fn fits(field: &Field<'_>, of: &Value) -> bool {
    let time = json!({ "type": "long", "logicalType": "timestamp-millis" });
    match field {
        Field::Text(_) => *of == "string",
        Field::MaybeText(_) => *of == json!(["null", "string"]),
        Field::Number(_) => *of == "int" || *of == "long" || *of == time,
        Field::MaybeNumber(_) => *of == json!(["null", "int"]) || *of == json!(["null", "long"]),
        Field::Texts(_) => *of == json!({ "type": "array", "items": "string" }),
    }
}

/// Whether a default is of the type, or of a union's first branch.
fn is_of(default: &Value, of: &Value) -> bool {
    match of {
        Value::Array(branches) => is_of(default, &branches[0]),
        Value::Object(of) if of["type"] == "array" => *default == json!([]),
        Value::Object(of) => is_of(default, &of["type"]),
        of if *of == "null" => default.is_null(),
        of if *of == "string" => default.is_string(),
        _ => default.is_i64(),
    }
}

#[test]
fn the_schema_says_what_is_written_and_can_grow() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let declared = schema["fields"].as_array().expect("fields");
    let alert = &alerts()[0];
    let mut at = declared.iter();
    record(alert, |name, field| {
        let declared = at
            .next()
            .unwrap_or_else(|| panic!("{name} is not declared"));
        assert_eq!(declared["name"], name);
        assert!(fits(&field, &declared["type"]), "{declared}, and {field:?}");
        // Without one a reader that knows the field can't read what an older or newer version wrote.
        assert!(is_of(&declared["default"], &declared["type"]), "{declared}");
        assert!(declared["doc"].is_string(), "{declared}");
    });
    assert!(at.next().is_none(), "a field is declared and not written");
    let mut names: Vec<&Value> = declared.iter().map(|field| &field["name"]).collect();
    names.dedup();
    assert_eq!(names.len(), declared.len());
    assert_eq!(schema["name"], "Alert");
}

#[test]
fn numbers_are_written_as_the_specification_has_them() {
    let rows: [(i64, &[u8]); 8] = [
        (0, &[0]),
        (-1, &[1]),
        (1, &[2]),
        (-64, &[0x7f]),
        (64, &[0x80, 0x01]),
        (8_192, &[0x80, 0x80, 0x01]),
        (
            i64::MAX,
            &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ),
        (
            i64::MIN,
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ),
    ];
    for (number, want) in rows {
        let mut got = Vec::new();
        put_long(&mut got, number);
        assert_eq!(got, want, "{number}");
    }
}

/// What a file holds: blocks, each with how many records it says it has.
fn blocks(file: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let mut rest = file.strip_prefix(b"Obj\x01").expect("the first bytes");
    let long = |rest: &mut &[u8]| {
        let (mut bits, mut shift) = (0_u64, 0);
        loop {
            let (byte, after) = rest.split_first().expect("a number");
            *rest = after;
            bits |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                return (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed();
            }
        }
    };
    let take = |rest: &mut &[u8], n: i64| {
        let (taken, after) = rest.split_at(usize::try_from(n).expect("a length"));
        *rest = after;
        taken.to_vec()
    };
    let mut meta = Vec::new();
    assert_eq!(long(&mut rest), 2);
    for _ in 0..4 {
        let n = long(&mut rest);
        meta.push(String::from_utf8(take(&mut rest, n)).expect("text"));
    }
    assert_eq!(long(&mut rest), 0);
    assert_eq!(meta, ["avro.schema", SCHEMA, "avro.codec", "null"]);
    let mark = take(&mut rest, 16);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (n, length) = (long(&mut rest), long(&mut rest));
        found.push((n, take(&mut rest, length)));
        assert_eq!(take(&mut rest, 16), mark);
    }
    found
}

#[test]
fn a_file_holds_the_schema_and_every_alert_in_order() {
    let alerts = alerts();
    for n_times in [0, 1, 200] {
        let (mut file, mut want) = (Vec::new(), Vec::new());
        let mut writer = AvroFile::new(&mut file);
        for _ in 0..n_times {
            for alert in &alerts {
                writer.push(alert).expect("a vector takes it");
                want.extend_from_slice(&value(alert, 7)[5..]);
            }
        }
        writer.finish().expect("a vector takes it");
        let blocks = blocks(&file);
        let n: i64 = blocks.iter().map(|(n, _)| n).sum();
        assert_eq!(n, (n_times * alerts.len()) as i64);
        let got: Vec<u8> = blocks.iter().flat_map(|(_, block)| block.clone()).collect();
        assert_eq!(got, want);
        assert!(n_times < 200 || 2 < blocks.len(), "several blocks");
        assert!(
            blocks
                .iter()
                .all(|(_, block)| block.len() < 2 * BLOCK_BYTES)
        );
    }
}
