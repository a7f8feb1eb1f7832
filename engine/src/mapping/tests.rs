use arrow::array::{Array, AsArray};
use arrow::datatypes::{TimestampMillisecondType, UInt16Type};
use connectors::format::mapped::FIELDS;
use connectors::reject::RejectReason;
use proptest::prelude::*;

use super::*;

/// The mapping of a table of TOML.
fn config(toml: &str) -> MappingConfig {
    toml::from_str(toml).expect("a mapping")
}

fn faults(name: &str, toml: &str) -> String {
    match Mapping::compile(name, &config(toml)) {
        Ok(_) => "none".to_owned(),
        Err(faults) => faults.to_string(),
    }
}

fn reader(toml: &str) -> Reader {
    let mapping = Mapping::compile("mine", &config(toml)).expect("a sound mapping");
    Reader::new(&SourceFormat::Mapped(Arc::new(mapping)))
}

fn decode(reader: &mut Reader, lines: &[&str]) -> DecodedBatch {
    let record = |(offset, line): (i64, &&str)| (offset, line.as_bytes().to_vec());
    let payloads: Vec<_> = (0..).zip(lines).map(record).collect();
    let records: Vec<_> = payloads
        .iter()
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset: *offset,
            broker_time_ms: None,
        })
        .collect();
    reader.decode(&records)
}

/// `path status time` of each event, or the reason and detail of each reject, by line.
fn told(decoded: &DecodedBatch) -> Vec<(i64, String)> {
    let column = |name: &str| {
        decoded
            .batch
            .column_by_name(name)
            .expect("a column")
            .clone()
    };
    let (path, status, time) = (column("path"), column("status"), column("event_time"));
    let mut told: Vec<_> = decoded
        .positions
        .iter()
        .enumerate()
        .map(|(row, at)| {
            let status = status.as_primitive::<UInt16Type>();
            let status = status.is_valid(row).then(|| status.value(row));
            let time = time.as_primitive::<TimestampMillisecondType>().value(row);
            let path = path.as_string_view().value(row);
            (at.offset, format!("{path} {} {time}", status.unwrap_or(0)))
        })
        .collect();
    let rejects = decoded.rejects.iter();
    told.extend(rejects.map(|reject| {
        (
            reject.position.offset,
            format!("{}: {}", reject.reason, reject.detail),
        )
    }));
    told.sort();
    told
}

const PLAIN: &str = "[fields]\nevent_time = \"json_get(raw, 'ts')\"\nmethod = \"json_get(raw, 'm')\"\npath = \"json_get(raw, 'p')\"\n";

#[test]
fn faults_are_told_all_at_once_with_the_names_of_the_fields() {
    let text = "where = \"json_get(raw, 'n')\"\n[fields]\nevent_time = \"json_get_int(raw, 'ts')\"\nmetod = \"'GET'\"\npath = \"json_get(raw, \"\nstatus = \"statuz\"\n";
    let told = faults("kong", text);
    for wanted in [
        "a format has this name",
        "there is no field metod, did you mean method?",
        "field path:",
        "field status: No field named statuz",
        "field method (or request_line) is missing",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    let typed = faults(
        "mine",
        "where = \"json_get(raw, 'n')\"\n[fields]\nevent_time = \"json_get_int(raw, 'ts')\"\nrequest_line = \"make_array(1)\"\nstatus = \"true\"\nlatency_us = \"json_get_float(raw, 'd') * 1e6\"\n",
    );
    for wanted in [
        "where: is a Utf8",
        "field event_time: is a number (Int64), which has no unit: write to_timestamp_seconds",
        "field request_line: is a List",
        "field status: is a Boolean",
    ] {
        assert!(typed.contains(wanted), "{wanted}: {typed}");
    }
    assert!(!typed.contains("latency_us"), "{typed}");
}

#[test]
fn what_one_line_does_not_tell_is_refused_with_the_reason() {
    let rows = [
        ("cast(now() AS text)", "now() changes from call to call"),
        (
            "cast(random() AS text)",
            "random() changes from call to call",
        ),
        ("cast(current_date AS text)", "changes from call to call"),
        ("uuid()", "changes from call to call"),
        ("max(raw)", "max() puts rows together"),
        ("first_value(raw) OVER ()", "looks at other rows"),
        ("(SELECT 'x')", "a mapping sees one line and no table"),
        (
            "CASE WHEN raw IN (SELECT 'x') THEN 'a' END",
            "a mapping sees one line and no table",
        ),
        ("$value", "is a parameter"),
        ("identity", "No field named identity"),
        ("raw; DROP TABLE x", "a rule is one SELECT"),
        ("json_get(raw, 'a..b')", "is no path"),
        ("json_get(json_get(raw, 'a'), raw)", "takes constants"),
        (
            "regexp_replace(raw, '(a{500}){500}', '')",
            "becomes more than",
        ),
        ("regexp_like(raw, raw)", "could be a caller's"),
        ("repeat(raw, 1000)", "at most"),
        (
            "array_to_string(range(1, 1000000000), '')",
            "makes lists of any length",
        ),
    ];
    for (sql, wanted) in rows {
        let text = format!(
            "[fields]\nevent_time = \"json_get(raw, 'ts')\"\nmethod = \"'GET'\"\npath = \"{sql}\"\n"
        );
        let told = faults("mine", &text);
        assert!(
            told.contains("field path: ") && told.contains(wanted),
            "{sql}: {told}"
        );
    }
    let deep = format!("{}raw{}", "(".repeat(2000), ")".repeat(2000));
    let wide = vec!["raw"; 5000].join(" || ");
    for sql in [deep, wide] {
        let told = faults("mine", &PLAIN.replace("json_get(raw, 'p')", &sql));
        assert!(told.contains("field path: "), "{told}");
    }
}

#[test]
fn a_pattern_s_groups_are_columns_or_it_is_refused() {
    let fields = "[fields]\nevent_time = 't'\nmethod = 'm'\npath = 'p'\n";
    let rows = [
        ("(?P<t>a)(?P<m>b)(?P<p>c)", "none"),
        ("(a)(b)", "it has no named group"),
        ("(?P<t>a", "is no regular expression"),
        ("(?P<raw>a)", "the group `raw` can't be a column"),
        ("(?P<T>a)", "the group `T` can't be a column"),
        ("(?P<t>a)(?P<m>b)", "field path: No field named p"),
        ("(?P<t>(a{500}){500})", "becomes more than"),
    ];
    for (pattern, wanted) in rows {
        let told = faults("mine", &format!("pattern = '{pattern}'\n{fields}"));
        assert!(told.contains(wanted), "{pattern}: {told}");
    }
    // Every field's name is a column's too: `map suggest` calls groups so.
    let groups: String = FIELDS
        .iter()
        .map(|field| format!("(?P<{field}>a)"))
        .collect();
    let same = FIELDS
        .iter()
        .filter(|field| **field != "authenticated")
        .map(|field| format!("{field} = '{field}'\n"));
    let text = format!(
        "pattern = '{groups}'\n[fields]\n{}",
        same.collect::<String>()
    );
    assert_eq!(faults("mine", &text), "none");
}

#[test]
fn lines_become_events_and_rejects_that_name_the_field() {
    let mut reader = reader(&format!(
        "where = \"coalesce(json_get(raw, 'kind'), 'access') = 'access'\"\n{PLAIN}status = \"cast(json_get(raw, 's') AS int)\"\n"
    ));
    let rows = [
        (
            r#"{"ts":"2026-01-05T11:50:05Z","m":"GET","p":"/a?b","s":200}"#,
            "/a 200 1767613805000",
        ),
        (
            r#"{"ts":1767613805.154,"m":"GET","p":"/a"}"#,
            "/a 0 1767613805154",
        ),
        (
            r#"{"ts":"05/Jan/2026:11:50:05 +0000","m":"GET","p":"/a","s":"404"}"#,
            "/a 404 1767613805000",
        ),
        (
            r#"{"ts":1767613805,"m":"GET","p":"/a","s":"secret"}"#,
            "malformed: status: its expression fails on the line",
        ),
        (r#"{"ts":1767613805,"m":"GET"}"#, "missing_field: path"),
        (r#"{"ts":1767613805,"p":"/a"}"#, "missing_field: method"),
        (r#"{"m":"GET","p":"/a"}"#, "missing_field: event_time"),
        (
            r#"{"ts":"secret","m":"GET","p":"/a"}"#,
            "wrong_type: event_time is not a time",
        ),
        (
            r#"{"ts":17,"m":"GET","p":"/a"}"#,
            "absurd_time: event_time is 17000 ms since 1970",
        ),
        (r#"{"kind":"debug","p":"secret"}"#, ""),
        ("secret", "malformed: the line is no JSON"),
        (
            r#"{"ts":1767613805,"m":"GET","p":"/a\x22\c"}"#,
            "/a\"\\c 0 1767613805000",
        ),
        (
            r#"{"message":"{\"ts\":1767613805,\"m\":\"GET\",\"p\":\"/in\"}"}"#,
            "/in 0 1767613805000",
        ),
        (
            r#"{"kind":"debug","message":"{\"ts\":1767613805,\"m\":\"GET\",\"p\":\"/in\"}"}"#,
            "/in 0 1767613805000",
        ),
        (r#"{"kind":"debug","message":"starting"}"#, ""),
    ];
    let lines: Vec<&str> = rows.iter().map(|(line, _)| *line).collect();
    let told = told(&decode(&mut reader, &lines));
    let wanted: Vec<_> = (0..)
        .zip(rows)
        .filter(|(_, (_, wanted))| !wanted.is_empty())
        .map(|(at, (_, wanted))| (at, wanted.to_owned()))
        .collect();
    for (got, wanted) in told.iter().zip(&wanted) {
        assert_eq!(got, wanted);
    }
    assert_eq!(told.len(), wanted.len());
    assert!(!format!("{told:?}").contains("secret"));
}

#[test]
fn a_pattern_reads_text_and_what_it_does_not_match_is_rejected() {
    let text = r#"
pattern = '^(?P<ip>\S+) (?P<time>\d+) "(?P<line>[^"]*)" (?P<code>\d+|-)$'
where = "raw NOT LIKE '#%'"
[fields]
event_time = "to_timestamp_seconds(cast(\"time\" AS bigint))"
request_line = "line"
status = "code"
client_ip = "ip"
"#;
    let lines = [
        r#"192.0.2.1 1767613805 "GET /a?b HTTP/1.1" 200"#,
        r#"192.0.2.1 1767613805 "POST /a HTTP/1.1" -"#,
        "# comment",
        "nonsense",
        r#"192.0.2.1 99999999999999999999 "GET /a HTTP/1.1" 200"#,
        r#"[192.0.2.1] 1767613805 "GET /list HTTP/1.1" 200"#,
    ];
    let told = told(&decode(&mut reader(text), &lines));
    let wanted = [
        (0, "/a 200 1767613805000"),
        (1, "/a 0 1767613805000"),
        (3, "malformed: the pattern does not match"),
        (4, "malformed: event_time: its expression fails on the line"),
        (5, "/list 200 1767613805000"),
    ];
    assert_eq!(told, wanted.map(|(at, text)| (at, text.to_owned())));
}

#[test]
fn a_file_holds_one_mapping_or_says_which() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("maps.toml");
    let table = |name: &str| {
        format!("[mapping.{name}.fields]\nevent_time = \"raw\"\nmethod = \"raw\"\npath = \"raw\"\n")
    };
    let place = path.to_str().expect("text");
    let rows = [
        (String::new(), String::new(), "holds no mapping"),
        (table("a"), String::new(), "a"),
        (format!("brokers = 'x'\n{}", table("a")), String::new(), "a"),
        (
            table("a") + &table("b"),
            String::new(),
            "holds the mappings a, b",
        ),
        (table("a") + &table("b"), "#b".to_owned(), "b"),
        (table("a"), "#c".to_owned(), "holds no mapping c"),
        (
            "[mapping.a]\npassword = 'hunter2'\n".to_owned(),
            String::new(),
            "unknown field",
        ),
        ("mapping = hunter2".to_owned(), String::new(), "the mapping"),
    ];
    for (text, suffix, wanted) in rows {
        std::fs::write(&path, &text).expect("writes");
        let told = match load(&format!("{place}{suffix}")) {
            Ok(mapping) => mapping.name().to_owned(),
            Err(faults) => faults.to_string(),
        };
        assert!(
            told.contains(wanted) && !told.contains("hunter2"),
            "{text}: {told}"
        );
    }
    assert!(
        load("nowhere.toml")
            .expect_err("absent")
            .to_string()
            .contains("nowhere.toml")
    );
}

#[test]
fn a_mapping_holds_the_columns_of_its_fields() {
    let mapping =
        |more: &str| Mapping::compile("mine", &config(&format!("{PLAIN}{more}"))).expect("sound");
    let bare = mapping("");
    for (column, holds) in [
        ("identity", false),
        ("path", true),
        ("object", true),
        ("host", false),
        ("query", true),
        ("event_time", true),
        ("rpc_method", false),
        ("endpoint", true),
    ] {
        assert_eq!(bare.holds(column), holds, "{column}");
    }
    assert!(mapping("consumer = \"raw\"\n").holds("identity"));
    assert!(mapping("mcp_method = \"raw\"\n").holds("tool"));
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#"{"ts":1767613805,"m":"GET","p":"/a","s":"200"}"#.to_owned()),
        Just(r#"{"ts":1767613805,"m":"GET","p":"/a","s":"bad"}"#.to_owned()),
        Just(r#"{"ts":"never","m":"GET","p":"/a"}"#.to_owned()),
        Just(r#"{"m":"GET"}"#.to_owned()),
        Just(
            r#"{"log":"{\"ts\":1767613805,\"m\":\"GET\",\"p\":\"/in\",\"s\":\"1x\"}"}"#.to_owned()
        ),
        Just(
            r#"[{"ts":1767613805,"m":"GET","p":"/1"},{},{"ts":1767613805,"m":"GET","p":"/2"}]"#
                .to_owned()
        ),
        "\\PC{0,40}",
        "[{}\\[\\]\":,a-z0-9\\\\]{0,40}",
    ]
}

proptest! {
    #[test]
    fn what_a_record_becomes_does_not_hang_on_its_neighbours(lines in proptest::collection::vec(line(), 1..40)) {
        let mut reader = reader(&format!("{PLAIN}status = \"cast(json_get(raw, 's') AS int)\"\n"));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let whole = told(&decode(&mut reader, &lines));
        let mut alone = Vec::new();
        for (at, line) in (0..).zip(&lines) {
            let told = told(&decode(&mut reader, &[line]));
            alone.extend(told.into_iter().map(|(_, told)| (at, told)));
        }
        alone.sort();
        prop_assert_eq!(whole, alone);
    }
}

#[test]
fn a_record_that_is_too_long_is_rejected_as_such() {
    let long = "x".repeat(connectors::format::RECORD_BYTES_MAX + 1);
    let decoded = decode(&mut reader(PLAIN), &[&long]);
    assert_eq!(decoded.rejects[0].reason, RejectReason::Oversized);
}

#[test]
fn values_are_cut_and_a_long_line_is_read_all_the_same() {
    let long = "é".repeat(100_000);
    let line = format!(r#"{{"ts":1767613805,"m":"GET","pad":"{long}","p":"/{long}"}}"#);
    let decoded = decode(&mut reader(PLAIN), &[&line]);
    let path = decoded.batch.column_by_name("path").expect("a column");
    assert_eq!(
        path.as_string_view().value(0).len(),
        crate::rule::scalar::VALUE_BYTES_MAX - 1
    );
}
