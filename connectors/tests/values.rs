//! Values as the serializers of others write them, opened by a registry that says what a registry says.
//!
//! `values/values.json` is written by `values/make.py` with the libraries of Confluent, Google and fastavro. A real registry is asked
//! too where there is one to be written to: `TOLLWATCH_TEST_REGISTRY=http://127.0.0.1:8080/apis/ccompat/v7` names it.

#[path = "values/alerts.rs"]
mod alerts;
#[path = "values/avro.rs"]
mod avro;
#[path = "values/registry.rs"]
mod registry;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use connectors::format::{Decoder, Format, RECORD_BYTES_MAX, SourceRecord};
use connectors::reject::RejectReason;
use connectors::sink::Secret;
use connectors::value::{Opened, RegistryConfig, SchemaId, Unopened, Values};
use proptest::prelude::*;
use registry::{Registry, bytes};
use serde_json::{Value, json};

fn values_of(registry: &Registry) -> Values {
    let config = RegistryConfig {
        url: registry.url.clone(),
        login: None,
        ca: None,
    };
    Values::new(Some(&config)).expect("a sound address")
}

struct Written {
    name: String,
    value: Vec<u8>,
    header: Option<Vec<u8>>,
    /// JSON, or a text.
    text: Value,
}

impl Written {
    fn header(&self) -> Option<&[u8]> {
        self.header.as_deref()
    }
}

/// What others wrote, and a registry that knows their schemas.
fn written() -> (Registry, Vec<Written>) {
    let all = registry::by_others();
    let values = all["values"].as_array().expect("values").iter();
    let said = registry::values_by_others().into_iter().zip(values);
    let read = |((name, value), said): ((String, Vec<u8>), &Value)| Written {
        name,
        value,
        header: bytes(&said["header"]),
        text: match said["text"]["numbered"].as_str() {
            Some(line) => (0..said["text"]["n"].as_u64().expect("a count"))
                .map(|n| format!("{n} {line}\n"))
                .collect::<String>()
                .into(),
            None => said["text"].clone(),
        },
    };
    (Registry::written_by_others(), said.map(read).collect())
}

/// Opens a value, whose schema is fetched if it is wanted.
fn open(values: &mut Values, value: &[u8], header: Option<&[u8]>) -> Result<Opened, Unopened> {
    match values.open(value, header) {
        Err(Unopened::Wanted(id)) => {
            values.fetch(id).expect("the registry answers");
            values.open(value, header)
        }
        opened => opened,
    }
}

fn refusal(opened: Result<Opened, Unopened>) -> (RejectReason, String) {
    match opened {
        Err(Unopened::Refused(refusal)) => (refusal.reason, refusal.detail),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn what_the_serializers_of_others_write_is_read() {
    let (registry, written) = written();
    assert!(31 <= written.len(), "the file is whole");
    let mut values = values_of(&registry);
    for of in &written {
        let opened = open(&mut values, &of.value, of.header());
        let opened = opened.unwrap_or_else(|why| panic!("{}: {why:?}", of.name));
        let text = str::from_utf8(opened.text(&of.value)).expect("text");
        match &of.text {
            Value::String(want) => assert_eq!(text, want, "{}", of.name),
            want => {
                let got: Value = serde_json::from_str(text).expect(&of.name);
                assert_eq!(&got, want, "{}", of.name);
            }
        }
    }
    // A schema is asked for once, with what it refers to.
    let mut asked = registry.asked();
    asked.sort_unstable();
    let n_asked = asked.len();
    asked.dedup();
    assert_eq!(
        asked.len() + 1,
        n_asked,
        "what two schemas refer to, twice: {asked:?}"
    );
}

#[test]
fn a_call_is_the_same_whatever_it_was_written_as() {
    let (registry, written) = written();
    let mut values = values_of(&registry);
    let mut n_events = 0;
    for of in &written {
        let text = match &of.text {
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let opened = open(&mut values, &of.value, of.header()).expect(&of.name);
        let decode = |payload: &[u8]| {
            let record = SourceRecord {
                payload,
                offset: 7,
                broker_time_ms: None,
            };
            Decoder::new(Format::Auto).decode(&[record])
        };
        let (got, want) = (decode(opened.text(&of.value)), decode(text.as_bytes()));
        assert_eq!(got.batch, want.batch, "{}", of.name);
        assert_eq!(got.rejects, want.rejects, "{}", of.name);
        n_events += got.positions.len();
    }
    assert!(14 <= n_events, "only {n_events} of the values are calls");
}

#[test]
fn without_a_registry_a_value_of_one_is_refused_by_name_and_all_else_is_read() {
    let (_, written) = written();
    let values = Values::new(None).expect("nothing to be wrong");
    for of in &written {
        let opened = values.open(&of.value, of.header());
        if of.value[0] == 0 && of.header.is_none() {
            let (reason, detail) = refusal(opened);
            assert_eq!(reason, RejectReason::UnknownSchema, "{}", of.name);
            assert!(detail.contains("[registry]"), "{detail}");
        } else if of.name == "avro: packed by gzip" {
            assert_eq!(refusal(opened).0, RejectReason::UnknownSchema);
        } else {
            opened.expect(&of.name);
        }
    }
    for text in ["", "\0", "\0\0\0\0", "{\"a\":1}", "(\u{b5}", "\u{4}\"M"] {
        assert_eq!(
            values.open(text.as_bytes(), None),
            Ok(Opened::AsItIs),
            "{text:?}"
        );
    }
}

#[test]
fn only_a_registry_that_says_so_has_no_schema() {
    let registry = Registry::start();
    let mut values = values_of(&registry);
    let value = |id: u8| [&[0, 0, 0, 0, id][..], b"{}"].concat();
    let (reason, detail) = refusal(open(&mut values, &value(1), None));
    assert_eq!(reason, RejectReason::UnknownSchema);
    assert_eq!(detail, "schema 1 is not in the registry");
    // Known to be unknown, it is not asked for again and again.
    refusal(open(&mut values, &value(1), None));
    assert_eq!(registry.asked(), ["/schemas/ids/1"]);

    let not_now = [
        (
            404,
            json!({"error_code": 404, "message": "HTTP 404 Not Found"}),
            "url",
        ),
        (404, json!("not found"), "url"),
        (200, json!({"hello": "world"}), "url"),
        (401, json!({"error_code": 401}), "password"),
        (302, json!({}), "302"),
        (500, json!({"error_code": 50001}), "500"),
    ];
    for (status, body, word) in not_now {
        registry.says("/schemas/ids/2", status, &body);
        let wanted = Unopened::Wanted(SchemaId::Number(2));
        assert_eq!(values.open(&value(2), None), Err(wanted), "{status} {body}");
        let away = values.fetch(SchemaId::Number(2)).expect_err("no answer");
        assert!(away.to_string().contains(word), "{status} {body}: {away}");
    }
    registry.says(
        "/schemas/ids/2",
        200,
        &json!({"schema": "{}", "schemaType": "JSON"}),
    );
    assert_eq!(
        open(&mut values, &value(2), None),
        Ok(Opened::Text(b"{}".to_vec()))
    );
}

/// Registers a schema; its id.
fn register(url: &str, subject: &str, schema: &Value) -> u32 {
    let (host, path) = url
        .strip_prefix("http://")
        .and_then(|url| url.split_once('/'))
        .expect("http://HOST:PORT/PATH");
    let body = schema.to_string();
    let mut stream = TcpStream::connect(host).expect("a registry");
    let length = body.len();
    write!(
        stream,
        "POST /{path}/subjects/{subject}/versions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    let said: Value = serde_json::from_str(body).expect(&answer);
    said["id"]
        .as_u64()
        .and_then(|id| u32::try_from(id).ok())
        .expect(&answer)
}

#[test]
fn a_real_registry_is_understood() {
    let Ok(url) = std::env::var("TOLLWATCH_TEST_REGISTRY") else {
        eprintln!("skipped: TOLLWATCH_TEST_REGISTRY names no registry");
        return;
    };
    let (_, written) = written();
    let all = registry::by_others();
    let run = std::process::id();
    // Subjects of this run, each with one version; those that are referred to first.
    let named = |subject: &str| format!("run-{run}-{}", subject.replace('/', "%2F"));
    let told = |answer: &Value| {
        let mut answer = answer.clone();
        if answer["schemaType"].is_null() {
            answer["schemaType"] = "AVRO".into();
        }
        for reference in answer["references"].as_array_mut().into_iter().flatten() {
            let subject = reference["subject"].as_str().expect("a subject");
            reference["subject"] = format!("run-{run}-{subject}").into();
            reference["version"] = 1.into();
        }
        answer
    };
    for path in [
        "host%2Fvalue/versions/1",
        "client/versions/3",
        "common/versions/1",
    ] {
        let subject = path.split_once("/versions").expect("a version").0;
        let answer = &all["answers"][&format!("/subjects/{path}")];
        register(&url, &named(&subject.replace("%2F", "/")), &told(answer));
    }
    let config = RegistryConfig {
        url: url.clone(),
        login: None,
        ca: None,
    };
    let mut values = Values::new(Some(&config)).expect("a sound address");
    values.probe().expect("it answers");
    let mut n_opened = 0;
    for of in &written {
        let [0, a, b, c, d, ref body @ ..] = of.value[..] else {
            continue;
        };
        let id = u32::from_be_bytes([a, b, c, d]);
        // The schema of JSON refers to what is nowhere, which a registry does not take.
        let mut answer = told(&all["answers"][&format!("/schemas/ids/{id}")]);
        if answer["schemaType"] == "JSON" {
            answer["references"] = json!([]);
        }
        let id = register(&url, &named(&format!("main-{id}")), &answer);
        let value = [&[0][..], &id.to_be_bytes(), body].concat();
        let opened =
            open(&mut values, &value, None).unwrap_or_else(|why| panic!("{}: {why:?}", of.name));
        let text = str::from_utf8(opened.text(&value)).expect("text");
        match &of.text {
            Value::String(want) => assert_eq!(text, want, "{}", of.name),
            want => assert_eq!(
                &serde_json::from_str::<Value>(text).expect("JSON"),
                want,
                "{}",
                of.name
            ),
        }
        n_opened += 1;
    }
    assert_eq!(n_opened, 8);
}

#[test]
fn a_registry_that_is_not_there_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let config = RegistryConfig {
        url: url.clone(),
        login: None,
        ca: None,
    };
    let mut values = Values::new(Some(&config)).expect("a sound address");
    let away = values.fetch(SchemaId::Number(1)).expect_err("nobody there");
    assert!(away.to_string().contains(&url), "{away}");
}

#[test]
fn a_login_is_sent_and_never_told() {
    let registry = Registry::start();
    let config = RegistryConfig {
        login: Some(("user".to_owned(), Secret::new("hunter2\n"))),
        url: format!("{}/apis/ccompat/v7/", registry.url),
        ca: None,
    };
    assert!(!format!("{config:?}").contains("hunter2"));
    let mut values = Values::new(Some(&config)).expect("loopback needs no TLS");
    values.fetch(SchemaId::Number(1)).expect("an answer");
    let asked = ["/apis/ccompat/v7/schemas/ids/1 Basic dXNlcjpodW50ZXIy"];
    assert_eq!(registry.asked(), asked);
    registry.says("/apis/ccompat/v7/schemas/ids/2", 401, &json!("hunter2"));
    let away = values.fetch(SchemaId::Number(2)).expect_err("refused");
    assert!(!format!("{away} {away:?}").contains("hunter2"), "{away}");

    let login = || Some(("user".to_owned(), Secret::new("hunter2")));
    let wrong = [
        ("http://registry.example:8081", login(), "https://"),
        ("https://user:hunter2@registry.example", None, "beside it"),
        ("registry:8081", None, "neither"),
        ("https://registry.example/?a=hunter2", None, "path"),
        ("", None, "no address"),
    ];
    for (url, login, word) in wrong {
        let url = url.to_owned();
        let ca = None;
        let made = Values::new(Some(&RegistryConfig { url, login, ca }));
        let fault = made.err().expect("a fault");
        assert!(
            fault.contains(word) && !fault.contains("hunter2"),
            "{fault}"
        );
    }
}

#[test]
fn schemas_that_mean_harm_are_refused() {
    let registry = Registry::start();
    let mut values = values_of(&registry);
    let own = r#"{"type":"record","name":"A","fields":[{"name":"a","type":"A"}]}"#;
    let wide = |n: usize| {
        // Each type holds the one before it ten times, and no byte of the value.
        let of = |n: usize| match n {
            0 => json!({"type": "record", "name": "T0", "fields": []}),
            n => {
                let field = |at| json!({"name": format!("f{at}"), "type": format!("T{}", n - 1)});
                let fields: Vec<Value> = (0..10).map(field).collect();
                json!({"type": "record", "name": format!("T{n}"), "fields": fields})
            }
        };
        let mut all: Vec<Value> = (0..=n).map(of).collect();
        all.rotate_right(1);
        let fields: Vec<Value> = (0..=n)
            .map(|at| json!({"name": format!("g{at}"), "type": of(at)}))
            .collect();
        json!({"type": "record", "name": "Root", "fields": fields}).to_string()
    };
    let deep = "[".repeat(200) + &"]".repeat(200);
    let nested = "message A {".repeat(70_000) + &"}".repeat(70_000);
    let rows: Vec<(&str, String, &[u8], RejectReason, &str)> = vec![
        (
            "AVRO",
            own.to_owned(),
            b"",
            RejectReason::Malformed,
            "one in the other",
        ),
        ("AVRO", wide(12), b"", RejectReason::Oversized, "1048576"),
        ("AVRO", deep, b"", RejectReason::UnknownSchema, "no JSON"),
        (
            "AVRO",
            "\"nothing\"".to_owned(),
            b"",
            RejectReason::UnknownSchema,
            "nothing",
        ),
        (
            "AVRO",
            r#"{"type":"array","items":"null"}"#.to_owned(),
            // 2^62 elements that take no bytes.
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
            RejectReason::Oversized,
            "1048576",
        ),
        (
            "AVRO",
            r#"{"type":"fixed","name":"F","size":18446744073709551615}"#.to_owned(),
            b"",
            RejectReason::Malformed,
            "ends early",
        ),
        (
            "PROTOBUF",
            nested,
            b"\0",
            RejectReason::UnknownSchema,
            "brackets",
        ),
        (
            "PROTOBUF",
            "syntax = \"proto3\"; message A { B b = 1; }".to_owned(),
            b"\0",
            RejectReason::UnknownSchema,
            "B",
        ),
        (
            "PROTOBUF",
            "import \"tollwatch/value.proto\"; message A {}".to_owned(),
            b"\0",
            RejectReason::UnknownSchema,
            "",
        ),
        (
            "PROTOBUF",
            "message A {}".to_owned(),
            b"\x02\x02",
            RejectReason::Malformed,
            "indexes",
        ),
        (
            "PROTOBUF",
            "message A {}".to_owned(),
            b"\xfe\xff\xff\xff\x1f",
            RejectReason::Malformed,
            "indexes",
        ),
        (
            "THRIFT",
            String::new(),
            b"",
            RejectReason::UnknownSchema,
            "THRIFT",
        ),
        (
            "AVRO",
            " ".repeat(RECORD_BYTES_MAX + 1),
            b"",
            RejectReason::UnknownSchema,
            "1048576",
        ),
    ];
    for (id, (kind, schema, body, reason, word)) in (1_u8..).zip(rows) {
        let answer = json!({"schema": schema, "schemaType": kind});
        registry.says(&format!("/schemas/ids/{id}"), 200, &answer);
        let value = [&[0, 0, 0, 0, id][..], body].concat();
        let (got, detail) = refusal(open(&mut values, &value, None));
        assert_eq!(got, reason, "{kind} {id}: {detail}");
        assert!(detail.contains(word), "{kind} {id}: {detail}");
    }
    // Schemas that refer to each other, one that refers to nothing, and a chain without end.
    let refers = |to: &str| json!({"schema": "\"int\"", "references": [{"name": to, "subject": to, "version": 1}]});
    registry.says("/subjects/a/versions/1", 200, &refers("b"));
    registry.says("/subjects/b/versions/1", 200, &refers("a"));
    registry.says("/schemas/ids/100", 200, &refers("a"));
    assert_eq!(
        open(&mut values, b"\0\0\0\0\x64\x02", None),
        Ok(Opened::Text(b"1".to_vec())),
        "a circle is gone round once"
    );
    registry.says("/schemas/ids/101", 200, &refers("gone"));
    let (reason, detail) = refusal(open(&mut values, b"\0\0\0\0\x65\x02", None));
    assert_eq!(reason, RejectReason::UnknownSchema);
    assert!(detail.contains("gone"), "{detail}");
    for n in 0..20 {
        registry.says(
            &format!("/subjects/c{n}/versions/1"),
            200,
            &refers(&format!("c{}", n + 1)),
        );
    }
    registry.says("/schemas/ids/102", 200, &refers("c0"));
    let (_, detail) = refusal(open(&mut values, b"\0\0\0\0\x66\x02", None));
    assert!(detail.contains("too much"), "{detail}");
}

#[test]
fn what_is_packed_is_bounded() {
    let values = Values::new(None).expect("nothing to be wrong");
    let zeros = vec![b'0'; 64 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&zeros).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(&zeros[..], 19).expect("memory");
    // One literal, then a match that reaches a byte back and goes on for 255 times the bytes of its length.
    let mut block = vec![0x1f, b'0', 1, 0];
    block.resize(block.len() + (60 << 10), 255);
    block.extend_from_slice(&[0, 0]);
    let mut lz4 = vec![0x04, 0x22, 0x4d, 0x18, 0x40, 0x70, 0];
    lz4.extend_from_slice(&(block.len() as u32).to_le_bytes());
    lz4.extend_from_slice(&block);
    lz4.extend_from_slice(&[0; 5]);
    // A Snappy block grows at most 22-fold.
    let mut snappy = snap::write::FrameEncoder::new(Vec::new());
    snappy.write_all(&zeros[..3 << 19]).expect("memory");
    let snappy = snappy.into_inner().expect("memory");
    for (name, packed) in [
        ("gzip", gzip),
        ("zstd", zstd),
        ("lz4", lz4),
        ("snappy", snappy),
    ] {
        assert!(packed.len() < 100 << 10, "{name}: {}", packed.len());
        let (reason, _) = refusal(values.open(&packed, None));
        assert_eq!(reason, RejectReason::Oversized, "{name}");
    }
    // A window of 128 MiB is not made room for.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00];
    assert_eq!(refusal(values.open(&wide, None)).0, RejectReason::Malformed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever becomes of a value's bytes on the way, it is opened within the limits or refused.
    #[test]
    fn no_byte_makes_a_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut: prop::sample::Index) {
        let (registry, written) = written();
        let mut values = values_of(&registry);
        for of in &written {
            for is_cut in [false, true] {
                let mut value = of.value.clone();
                let length = value.len();
                // The id stays, or every value is of an unknown schema.
                for (at, byte) in &changes {
                    let at = at.index(length);
                    if 5 <= at { value[at] = *byte; }
                }
                if is_cut { value.truncate(cut.index(length)); }
                match open(&mut values, &value, of.header()) {
                    Ok(opened) => prop_assert!(opened.n_bytes() <= RECORD_BYTES_MAX),
                    Err(Unopened::Refused(_)) => (),
                    Err(Unopened::Wanted(id)) => prop_assert!(false, "{} wants {id} again", of.name),
                }
            }
        }
    }
}
