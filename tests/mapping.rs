//! Mappings: what they make of logs whose decoders are known, what is proposed of samples, and the commands.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMillisecondType, UInt16Type};
use connectors::event::DecodedBatch;
use connectors::format::{Format, SourceRecord};
use engine::lane::Outbox;
use engine::mapping::suggest::{Proposal, propose};
use engine::mapping::{Mapping, MappingConfig, Reader, SourceFormat};
use engine::schema::EventView;
use engine::stage::decode::{Decode, DecodeConfig};
use models::identity::Resolver;
use models::secret::HashKey;
use serde_json::{Value, json};

use crate::kafka::{Deployment, one};
use crate::support::{json as json_of, lines, shared, succeed, tollwatch, write_lines};

/// Lines of a capture that are dressed as other logs.
const N_LINES: usize = 4000;
/// Share of the calls of which a proposal must say the same as the log's own decoder, of each field. Nineteen in twenty: what a
/// proposal misses more often than that is not worth proposing.
const AGREEMENT_MIN: f64 = 0.95;

fn records(lines: &[Vec<u8>]) -> Vec<SourceRecord<'_>> {
    let record = |(offset, payload)| SourceRecord {
        payload,
        offset,
        broker_time_ms: None,
    };
    (0..)
        .zip(lines.iter().map(Vec::as_slice))
        .map(record)
        .collect()
}

fn mapped(config: &MappingConfig) -> SourceFormat {
    let mapping = Mapping::compile("mine", config).expect("a sound mapping");
    SourceFormat::Mapped(Arc::new(mapping))
}

/// What an nginx log with the capture's `log_format` means, written as a mapping.
const NGINX: &str = r#"
[fields]
event_time = "coalesce(nullif(json_get(raw, 'msec'), ''), json_get(raw, 'time'))"
method = "json_get(raw, 'method')"
path = "json_get(raw, 'request_uri')"
scheme = "json_get(raw, 'scheme')"
host = "json_get(raw, 'host')"
status = "json_get(raw, 'status')"
request_bytes = "json_get(raw, 'request_length')"
response_bytes = "json_get(raw, 'body_bytes_sent')"
latency_us = "json_get_float(raw, 'request_time') * 1000000"
client_ip = "json_get(raw, 'remote_addr')"
peer_ip = "json_get(raw, 'realip_remote_addr')"
user_agent = "json_get(raw, 'user_agent')"
jwt_sub = "json_get(raw, 'jwt_sub')"
principal = "json_get(raw, 'remote_user')"
service = "json_get(raw, 'upstream_addr')"
request_id = "json_get(raw, 'request_id')"
referer = "json_get(raw, 'referer')"
origin = "json_get(raw, 'origin')"
response_content_type = "json_get(raw, 'sent_content_type')"
allow_origin = "split_part(json_get(raw, 'cors'), '|', 1)"
allow_credentials = "split_part(json_get(raw, 'cors'), '|', 2)"
"#;

/// The batch without who says so.
fn without_gateway(decoded: &DecodedBatch) -> RecordBatch {
    let mut batch = decoded.batch.clone();
    let at = batch.schema().index_of("gateway").expect("a column");
    let _ = batch.remove_column(at);
    batch
}

#[test]
fn a_mapping_that_says_what_a_decoder_does_gives_the_same_events() {
    let config: MappingConfig = toml::from_str(NGINX).expect("a mapping");
    let (mut by_mapping, mut by_decoder) = (
        Reader::new(&mapped(&config)),
        Reader::new(&Format::Nginx.into()),
    );
    let whole = lines("vampi.ndjson.xz", 20_000);
    // Each line also without one of its keys, or with nothing in it, a different one each time.
    let odd = whole.iter().take(N_LINES).enumerate().map(|(n, line)| {
        let mut object: serde_json::Map<_, _> = serde_json::from_slice(line).expect("an object");
        let key = object.keys().nth(n % object.len()).expect("a key").clone();
        match n % 3 {
            0 => object.remove(&key),
            1 => object.insert(key, json!("")),
            _ => object.insert(key, json!(null)),
        };
        serde_json::to_vec(&object).expect("JSON")
    });
    let odd: Vec<_> = odd.collect();
    for lines in [&whole, &odd] {
        let (mapped, decoded) = (
            by_mapping.decode(&records(lines)),
            by_decoder.decode(&records(lines)),
        );
        assert!(
            mapped.positions == decoded.positions,
            "{:?}",
            mapped.rejects.first()
        );
        assert_eq!(mapped.rejects.len(), decoded.rejects.len());
        let (mapped, decoded) = (without_gateway(&mapped), without_gateway(&decoded));
        for (field, (got, wanted)) in mapped
            .schema()
            .fields()
            .iter()
            .zip(mapped.columns().iter().zip(decoded.columns()))
        {
            assert_eq!(got, wanted, "{}", field.name());
        }
    }
}

/// Lines of a log.
type Dressed = Vec<Vec<u8>>;

/// One call, to be written as another log writes it.
struct Call {
    time_ms: i64,
    method: String,
    target: String,
    status: u16,
    bytes: i64,
    latency_us: i64,
    ip: String,
    agent: String,
    user: String,
    id: String,
}

/// Calls of the capture.
fn calls() -> Vec<Call> {
    let decoded =
        Reader::new(&Format::Nginx.into()).decode(&records(&lines("vampi.ndjson.xz", N_LINES)));
    let column = |name: &str| {
        decoded
            .batch
            .column_by_name(name)
            .expect("a column")
            .clone()
    };
    let text = |column: &ArrayRef, row: usize| {
        let column = column.as_string_view();
        if column.is_valid(row) {
            column.value(row).to_owned()
        } else {
            String::new()
        }
    };
    let number = |name: &str, row: usize| column(name).as_primitive::<Int64Type>().value(row);
    let [method, path, query, ip, agent, user, id] = [
        "method",
        "path",
        "query",
        "client_ip",
        "user_agent",
        "jwt_sub",
        "request_id",
    ]
    .map(column);
    let (time, status) = (column("event_time"), column("status"));
    let call = |row: usize| Call {
        time_ms: time.as_primitive::<TimestampMillisecondType>().value(row),
        method: text(&method, row),
        target: match text(&query, row) {
            query if query.is_empty() => text(&path, row),
            query => format!("{}?{query}", text(&path, row)),
        },
        status: status.as_primitive::<UInt16Type>().value(row),
        bytes: number("response_bytes", row),
        latency_us: number("latency_us", row),
        ip: text(&ip, row),
        agent: text(&agent, row),
        user: text(&user, row),
        id: format!("{:0>32}", text(&id, row)),
    };
    (0..decoded.batch.num_rows()).map(call).collect()
}

/// A time as RFC 3339 has it, with milliseconds.
fn rfc3339(time_ms: i64) -> String {
    let at = arrow::temporal_conversions::timestamp_ms_to_datetime(time_ms).expect("a time");
    format!("{}Z", at.format("%Y-%m-%dT%H:%M:%S%.3f"))
}

fn kong(call: &Call) -> String {
    let mut log = json!({
        "started_at": call.time_ms, "client_ip": call.ip, "upstream_uri": "/", "upstream_status": call.status.to_string(),
        "request": { "method": call.method, "uri": call.target, "url": format!("https://api.example:8443{}", call.target), "size": 123,
            "querystring": {}, "headers": { "host": "api.example", "user-agent": call.agent, "accept": "*/*" } },
        "response": { "status": call.status, "size": call.bytes, "headers": { "content-type": "application/json" } },
        "latencies": { "request": call.latency_us / 1000, "kong": 1, "proxy": 3 },
        "service": { "id": "0e0c8b2e-7f7a-4b41-9a55-6a2b8d6f3c11", "name": "books", "host": "books.internal", "created_at": 1_767_000_000 },
        "route": { "id": "6a4b1f8e-2c5d-4e0b-8a61-1f2e3d4c5b6a", "name": "books", "updated_at": 1_767_000_000, "paths": ["/"] },
    });
    if !call.user.is_empty() {
        log["consumer"] = json!({ "id": format!("8f6a2c1e-0000-4000-8000-{:0>12x}", call.user.len()), "username": call.user, "created_at": 1_767_000_000 });
    }
    log.to_string()
}

fn envoy(call: &Call) -> String {
    json!({
        "start_time": rfc3339(call.time_ms), "method": call.method, "path": call.target, "protocol": "HTTP/1.1",
        "response_code": call.status, "response_flags": "-", "bytes_received": 0, "bytes_sent": call.bytes,
        "duration": call.latency_us / 1000, "upstream_service_time": (call.latency_us / 1000).to_string(), "x_forwarded_for": null,
        "user_agent": call.agent, "request_id": call.id, "authority": "api.example", "upstream_host": "10.0.0.7:8080",
        "upstream_cluster": "outbound|80||books", "downstream_local_address": "10.0.0.9:443",
        "downstream_remote_address": format!("{}:53211", call.ip), "route_name": "default",
        "jwt_sub": if call.user.is_empty() { json!(null) } else { json!(call.user) },
    })
    .to_string()
}

/// A log of no gateway: names nobody knows.
fn homemade(call: &Call) -> String {
    json!({
        "lvl": "info", "when": call.time_ms as f64 / 1000.0, "svc": "books",
        "in": { "verb": call.method, "what": call.target, "from": call.ip, "with": call.agent },
        "out": { "code": call.status, "n": call.bytes, "spent_ms": call.latency_us as f64 / 1000.0 },
        "who": { "login": call.user, "plan": if call.user.len().is_multiple_of(2) { "free" } else { "paid" } }, "rid": call.id,
    })
    .to_string()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn logfmt(call: &Call) -> String {
    format!(
        r#"ts={} level=info verb={} uri="{}" code={} bytes={} took={}us ip={} ua="{}" user={} rid={}"#,
        rfc3339(call.time_ms),
        call.method,
        call.target,
        call.status,
        call.bytes,
        call.latency_us,
        call.ip,
        call.agent,
        or_dash(&call.user),
        call.id
    )
}

fn tabs(call: &Call) -> String {
    [
        rfc3339(call.time_ms).as_str(),
        &call.ip,
        or_dash(&call.user),
        &call.method,
        &call.target,
        &call.status.to_string(),
        &call.bytes.to_string(),
        &call.agent,
        &call.id,
    ]
    .join("\t")
}

fn clocked(call: &Call) -> String {
    let time = rfc3339(call.time_ms).replace('T', " ").replace('Z', "");
    format!(
        r#"{time} [http-nio-8080] INFO {} {} "{} {} HTTP/1.1" {} {}"#,
        call.ip,
        or_dash(&call.user),
        call.method,
        call.target,
        call.status,
        call.bytes
    )
}

/// What is compared: by line, the value of each field.
fn compared(
    format: SourceFormat,
    lines: &[Vec<u8>],
) -> BTreeMap<i64, BTreeMap<&'static str, String>> {
    let config = DecodeConfig {
        format,
        resolver: Arc::new(Resolver::new(HashKey::new([7; 32]), false)),
        templates: Arc::default(),
        enrichment: Default::default(),
        privacy: Default::default(),
        partitions: 1,
    };
    let mut decode = Decode::new("lines".into(), 0, config);
    let mut out = Outbox::default();
    decode.push(&records(lines), 0, &mut out).expect("decodes");
    decode.flush(&mut out).expect("rows");
    let mut compared = BTreeMap::new();
    for (_, record) in &out.records {
        let events = EventView::new(&record.batch).expect("events");
        for event in (0..record.batch.num_rows()).map(|row| events.row(row)) {
            let fields = [
                ("event_time", event.event_time.to_string()),
                ("method", event.method.to_owned()),
                ("path", event.path.to_owned()),
                ("query", event.query.unwrap_or_default().to_owned()),
                ("status", event.status.unwrap_or_default().to_string()),
                ("identity", event.identity.to_owned()),
            ];
            compared.insert(event.source_offset, BTreeMap::from(fields));
        }
    }
    compared
}

/// Share of the calls on which two readings agree, by field.
fn agreement(
    proposal: &Proposal,
    lines: &[Vec<u8>],
    by: Format,
    original: &[Vec<u8>],
) -> BTreeMap<&'static str, f64> {
    let wanted = compared(by.into(), original);
    let got = compared(mapped(&proposal.config), lines);
    let mut n_same = BTreeMap::new();
    for (line, fields) in &wanted {
        for (name, value) in fields {
            let is_same = got.get(line).is_some_and(|got| got[name] == *value);
            *n_same.entry(*name).or_insert(0.0) += f64::from(u8::from(is_same));
        }
    }
    assert!(!wanted.is_empty());
    n_same.values_mut().for_each(|n| *n /= wanted.len() as f64);
    n_same
}

#[test]
fn a_proposal_says_what_the_log_s_own_decoder_does() {
    let calls = calls();
    let original = lines("vampi.ndjson.xz", N_LINES);
    let dressed = |dress: fn(&Call) -> String| -> Vec<Vec<u8>> {
        calls.iter().map(|call| dress(call).into_bytes()).collect()
    };
    // Without a decoder for a log, what it is compared with is the log it was made from.
    let mut rows: Vec<(&str, Dressed, Option<Format>)> = vec![
        ("nginx", original.clone(), Some(Format::Nginx)),
        (
            "apache",
            lines("ledger.log.xz", N_LINES),
            Some(Format::Combined),
        ),
        ("kong", dressed(kong), Some(Format::Kong)),
        ("envoy", dressed(envoy), Some(Format::Envoy)),
        ("homemade JSON", dressed(homemade), None),
        ("key=value", dressed(logfmt), None),
        ("tabs", dressed(tabs), None),
    ];
    if let Some(board) = shared("captures/dev-board-nginx/access.ndjson.xz") {
        let input = connectors::file::open(&board).expect("opens");
        let lines = connectors::file::Lines::new(input.reader).take(N_LINES);
        let lines = lines.filter_map(|line| match line.expect("whole") {
            connectors::file::Line::Bytes { bytes, .. } => Some(bytes),
            connectors::file::Line::Oversized { .. } => None,
        });
        rows.push(("nested nginx", lines.collect(), Some(Format::Nginx)));
    }
    let mut told = String::new();
    let mut n_below = 0;
    for (name, lines, decoder) in &rows {
        let proposal = propose("mine", lines);
        assert_eq!(proposal.missing, [""; 0], "{name}: {}", proposal.toml);
        let (by, original) = decoder.map_or((Format::Nginx, &original), |format| (format, lines));
        let shares = agreement(&proposal, lines, by, original);
        let shown: Vec<_> = shares
            .iter()
            .map(|(field, share)| format!("{field} {share:.3}"))
            .collect();
        told += &format!("{name}: {}\n", shown.join(", "));
        n_below += shares
            .values()
            .filter(|share| **share < AGREEMENT_MIN)
            .count();
    }
    eprintln!("{told}");
    assert_eq!(n_below, 0, "below {AGREEMENT_MIN}:\n{told}");
}

#[test]
fn headers_of_answers_are_proposed_by_their_names() {
    let line = |(n, call): (usize, &Call)| {
        let mut log: Value = serde_json::from_str(&homemade(call)).expect("JSON");
        let is_redirect = n.is_multiple_of(50);
        log["in"]["headers"] = json!({ "Cache-Control": "no-cache", "Via": "1.1 edge" });
        log["out"]["headers"] = json!({
            "Strict-Transport-Security": "max-age=600", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "",
            "Content-Security-Policy": "default-src 'self'", "Content-Security-Policy-Report-Only": "default-src *", "Cache-Control": "private",
            "Vary": "Accept", "Set-Cookie": "-", "Location": if is_redirect { "/login" } else { "" }, "X-Debug-Token": "",
        });
        log["place"] = json!({ "location": "Lisbon" });
        log.to_string().into_bytes()
    };
    let lines: Vec<Vec<u8>> = calls().iter().enumerate().map(line).collect();
    let proposal = propose("mine", &lines);
    #[rustfmt::skip]
    let wanted = [
        ("hsts", "Strict-Transport-Security"), ("content_type_options", "X-Content-Type-Options"), ("frame_options", "X-Frame-Options"),
        ("content_security_policy", "Content-Security-Policy"), ("cache_control", "Cache-Control"), ("vary", "Vary"), ("set_cookie", "Set-Cookie"),
        ("location", "Location"), ("debug_header", "X-Debug-Token"),
    ];
    for (field, header) in wanted {
        let expression = proposal.config.fields.get(field).map_or("", String::as_str);
        let is_right = expression.contains(&format!("out.headers.{header}"));
        assert!(is_right, "{field}: {expression:?}\n{}", proposal.toml);
    }
    let decoded = Reader::new(&mapped(&proposal.config)).decode(&records(&lines));
    assert_eq!(decoded.rejects, []);
}

#[test]
fn a_date_and_a_clock_beside_each_other_are_one_time() {
    let calls = calls();
    let lines: Vec<Vec<u8>> = calls
        .iter()
        .map(|call| clocked(call).into_bytes())
        .collect();
    let proposal = propose("mine", &lines);
    assert_eq!(proposal.missing, [""; 0], "{}", proposal.toml);
    let decoded = Reader::new(&mapped(&proposal.config)).decode(&records(&lines));
    assert_eq!(decoded.rejects, []);
    let time = decoded
        .batch
        .column_by_name("event_time")
        .expect("a column");
    let time = time.as_primitive::<TimestampMillisecondType>();
    for (row, call) in calls.iter().enumerate() {
        assert_eq!(time.value(row), call.time_ms);
    }
}

#[test]
fn no_value_of_a_line_is_in_a_proposal() {
    let calls = calls();
    for dress in [kong, homemade, logfmt] {
        let lines: Vec<Vec<u8>> = calls
            .iter()
            .take(500)
            .map(|call| dress(call).into_bytes())
            .collect();
        let proposal = propose("mine", &lines);
        let shown = format!("{proposal:?}");
        for call in calls.iter().take(500).filter(|call| call.user.len() > 6) {
            assert!(!shown.contains(&call.user), "{}", call.user);
        }
        assert!(!shown.contains("/books/v1"));
    }
}

#[test]
fn logs_that_are_none_lead_to_no_proposal_and_no_panic() {
    let odd: Vec<Vec<Vec<u8>>> = vec![
        vec![],
        vec![b"".to_vec(); 10],
        vec![b"\xff\xfe\x00".to_vec(); 10],
        vec![b"{}".to_vec(); 10],
        vec![b"[[[[".to_vec(); 10],
        vec![b"\"\"\"\"".to_vec(); 10],
        vec![b"a=b=c= =d".to_vec(); 10],
        vec![vec![b'"'; 100_000]],
        vec![b"{\"a\":".repeat(10_000)],
        (0..2000)
            .map(|n| format!("{{\"k{n}\":{n}}}").into_bytes())
            .collect(),
        vec![b"starting, ready, stopping".to_vec(); 100],
    ];
    for lines in odd {
        let proposal = propose("mine", &lines);
        assert!(!proposal.missing.is_empty(), "{}", proposal.toml);
        // What is proposed is TOML all the same, to be completed by hand.
        let parsed: toml::Value = toml::from_str(&proposal.toml).expect("TOML");
        assert!(parsed["mapping"]["mine"].get("fields").is_some());
    }
}

/// A folder with a log of no gateway, its proposal, and where they are.
fn homemade_log(folder: &Path) -> (String, String) {
    let log = folder.join("access.log");
    let lines: Vec<Vec<u8>> = calls()
        .iter()
        .map(|call| homemade(call).into_bytes())
        .collect();
    write_lines(&log, &lines);
    let toml = folder.join("mine.toml");
    let log = log.to_str().expect("text").to_owned();
    let output = succeed(tollwatch().args(["map", "suggest", &log, "--name", "books"]));
    std::fs::write(&toml, output.stdout).expect("writes");
    let evidence = String::from_utf8_lossy(&output.stderr);
    assert!(
        evidence.contains("who.login") && evidence.contains("4000 events and 0 rejects"),
        "{evidence}"
    );
    (log, toml.to_str().expect("text").to_owned())
}

#[test]
fn a_proposal_is_tested_replayed_and_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, toml) = homemade_log(folder.path());
    let tested = json_of(tollwatch().args(["map", "test", &log, "--mapping", &toml, "--json"]));
    assert_eq!(
        (&tested["events"], &tested["share"]),
        (&json!(4000), &json!(1.0))
    );
    assert_eq!(tested["rows"].as_array().map(Vec::len), Some(5));
    assert_eq!(tested["rows"][1]["after"]["principal"], "svc-sync");
    assert!(
        tested["blind"].get("posture_cors_any_origin").is_some(),
        "{tested}"
    );
    assert!(
        tested["blind"].get("bola_enumeration").is_none(),
        "{tested}"
    );
    let replayed = json_of(tollwatch().args(["replay", &log, "--mapping", &toml, "--json"]));
    assert_eq!(
        (&replayed["events"], &replayed["rejected"]),
        (&json!(4000), &json!({}))
    );
    assert_eq!(replayed["formats"][&log], "books");
    let line = format!("{log}:2");
    let explained =
        json_of(tollwatch().args(["explain", "--line", &line, "--mapping", &toml, "--json"]));
    assert_eq!(explained["format"], "books");
    assert_eq!(explained["calls"][0]["event"]["identity"], "svc-sync");
    assert_eq!(explained["calls"][0]["event"]["gateway"], "books");
    // A table on a terminal, and the exit code of rejects.
    let mut text = std::fs::read(&log).expect("reads");
    text.extend_from_slice(b"{\"when\":1,\"token\":\"hunter2\"}\nhunter2 Bearer hunter2\n");
    std::fs::write(&log, text).expect("writes");
    let output = tollwatch()
        .args(["map", "test", &log, "--mapping", &toml])
        .output()
        .expect("starts");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("missing_field") && shown.contains("the line is no JSON"),
        "{shown}"
    );
    assert!(
        !shown.contains("Bearer hunter2") && !shown.contains("\"hunter2\""),
        "{shown}"
    );
}

#[test]
fn check_tells_the_faults_of_mappings_and_which_rules_are_blind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tollwatch.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).expect("writes");
        let output = tollwatch()
            .arg("check")
            .arg("-c")
            .arg(&path)
            .output()
            .expect("starts");
        let told = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&told).into_owned()
    };
    let head = format!(
        "state = '{}'\n[[sources]]\ntopic = 'logs'\nformat = 'books'\n",
        folder.path().display()
    );
    let sound = format!(
        "{head}[mapping.books]\nfields = {{ event_time = \"json_get(raw, 't')\", method = \"json_get(raw, 'm')\", path = \"json_get(raw, 'p')\" }}\n"
    );
    let told = check(&sound);
    assert!(told.contains("source logs: rule bola_enumeration is blind, mapping books has no field that tells identity"), "{told}");
    assert!(
        !told.contains("fault: mapping") && !told.contains("fault: source"),
        "{told}"
    );
    let told = check(
        &sound
            .replace("'t')\"", "'t')\", statos = \"now()\"")
            .replace("method", "methud"),
    );
    for wanted in [
        "did you mean status?",
        "did you mean method?",
        "field method (or request_line) is missing",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    let told = check(&head);
    assert!(
        told.contains("unknown format \"books\"") && told.contains("there is no [mapping.NAME]"),
        "{told}"
    );
}

#[test]
fn a_mapped_topic_is_read_and_every_record_accounted_for() {
    let mut lines: Vec<Vec<u8>> = calls()
        .iter()
        .take(300)
        .map(|call| homemade(call).into_bytes())
        .collect();
    lines.insert(100, b"no JSON".to_vec());
    lines.insert(200, br#"{"lvl":"debug","text":"no call"}"#.to_vec());
    one().produce("mapped", 1, &lines);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tollwatch.toml");
    let text = r#"
[[sources]]
topic = "mapped"
format = "books"
[mapping.books]
where = "coalesce(json_get(raw, 'lvl'), 'info') = 'info'"
[mapping.books.fields]
event_time = "json_get(raw, 'when')"
method = "json_get(raw, 'in.verb')"
path = "json_get(raw, 'in.what')"
principal = "json_get(raw, 'who.login')"
"#;
    std::fs::write(&path, text).expect("writes");
    let options = ["--config", path.to_str().expect("text")];
    let service = Deployment::new(one(), "mapped-service", &[], &options);
    service.catch_up();
    let report = service.verify();
    assert_eq!(report["stages"]["decode"]["expected"], 301, "{report:#}");
    assert_eq!(one().n_records(&service.topic("dead-letters")), 1);
}
