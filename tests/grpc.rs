//! OTLP over gRPC and OTLP logs, into a topic of a real Apache Kafka.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rdkafka::message::Message;
use serde_json::{Value, json};

use crate::deliver::until;
use crate::kafka::{Running, free_address, get, one, wait};
use crate::support::{json as json_of, succeed, tollwatch, tollwatch_telling, write_lines};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const LINE: &str =
    r#"192.0.2.7 - bob [05/Jan/2026:00:00:00 +0000] "GET /a/8 HTTP/1.1" 200 17 "-" "curl/8""#;

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// What an answer has.
#[derive(Debug, Default)]
struct Answer {
    http: u16,
    status: String,
    message: String,
    details: Vec<u8>,
    body: Vec<u8>,
}

/// A connection, and what it runs on.
struct Client {
    runtime: tokio::runtime::Runtime,
    sender: SendRequest<Body>,
}

impl Client {
    fn connect(address: &str) -> Client {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address)
                .await
                .expect("listens");
            let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (sender, connection) = shaken.expect("HTTP/2");
            tokio::spawn(connection);
            sender
        });
        Client { runtime, sender }
    }

    /// Sends these pieces, and ends the request unless it `stays` open.
    async fn send(
        mut sender: SendRequest<Body>,
        path: &str,
        headers: &[(&str, &str)],
        pieces: Vec<Vec<u8>>,
        stays: bool,
    ) -> Answer {
        let pieces = pieces
            .into_iter()
            .map(|piece| Ok(Frame::data(Bytes::from(piece))));
        let pieces = futures::stream::iter(pieces);
        let body: Body = match stays {
            true => BodyExt::boxed(StreamBody::new(pieces.chain(futures::stream::pending()))),
            false => BodyExt::boxed(StreamBody::new(pieces)),
        };
        let mut request = hyper::Request::post(format!("http://collector{path}"));
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc+proto");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let answer = sender.send_request(request).await.expect("is answered");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("is whole");
        let trailers = body.trailers().cloned().unwrap_or_default();
        let text = |name: &str| {
            let value = head.headers.get(name).or(trailers.get(name));
            let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            value.unwrap_or_default()
        };
        Answer {
            http: head.status.as_u16(),
            status: text("grpc-status"),
            message: text("grpc-message"),
            details: BASE64_STANDARD_NO_PAD
                .decode(text("grpc-status-details-bin"))
                .expect("base64"),
            body: body.to_bytes().to_vec(),
        }
    }

    fn export(&self, path: &str, headers: &[(&str, &str)], framed: Vec<u8>) -> Answer {
        // In pieces that cut the prefix.
        let pieces = match framed.split_at_checked(3) {
            Some((a, b)) => vec![a.to_vec(), b.to_vec()],
            None => vec![framed],
        };
        let sent = Client::send(self.sender.clone(), path, headers, pieces, false);
        self.runtime.block_on(sent)
    }
}

fn framed(is_packed: bool, message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    [&[u8::from(is_packed)][..], &length, message].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("is taken");
    encoder.finish().expect("is taken")
}

/// A field of protobuf with a length.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
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

fn attribute(number: u8, key: &str, value: &str) -> Vec<u8> {
    let value = field(2, &field(1, value.as_bytes()));
    field(number, &[field(1, key.as_bytes()), value].concat())
}

fn time(number: u8) -> Vec<u8> {
    let ns = 1_767_601_459_146_000_000_u64.to_le_bytes();
    [&[number << 3 | 1][..], &ns].concat()
}

fn request(items: &[Vec<u8>]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|item| field(2, item)).collect();
    field(1, &field(2, &items))
}

fn span(path: &str) -> Vec<u8> {
    let kind = vec![6 << 3, 2];
    let attributes = [
        attribute(9, "http.method", "GET"),
        attribute(9, "http.target", path),
    ];
    [kind, time(7), attributes.concat()].concat()
}

fn log_call(path: &str) -> Vec<u8> {
    let attributes = [
        attribute(6, "http.request.method", "GET"),
        attribute(6, "url.path", path),
    ];
    [time(1), attributes.concat()].concat()
}

fn log_line(line: &str) -> Vec<u8> {
    [time(1), field(5, &field(1, line.as_bytes()))].concat()
}

/// A collector into this topic; what it listens on, and where it tells how it is.
fn collector(topic: &str, options: &[&str]) -> (Running, String, String) {
    let (address, metrics) = (free_address(), free_address());
    let mut command = tollwatch_telling("error");
    command
        .args(["collect", "--brokers", &one().bootstrap, "--topic", topic])
        .args(["--listen-grpc", &address, "--metrics", &metrics])
        .args(options);
    let running = Running(command.spawn().expect("starts"));
    until("the receiver", || TcpStream::connect(&address).is_ok());
    (running, address, metrics)
}

#[test]
fn what_is_exported_over_grpc_is_in_the_topic_when_it_is_answered() {
    let dir = tempfile::tempdir().expect("a folder");
    let token = dir.path().join("token");
    std::fs::write(&token, "right\n").expect("written");
    let token = token.display().to_string();
    let (mut running, address, metrics) = collector("rpc", &["--token-file", &token]);
    let client = Client::connect(&address);
    let right = ("authorization", "Bearer right");
    let taken = |path: &str, headers: &[(&str, &str)], framed: Vec<u8>| {
        client.export(path, &[headers, &[right]].concat(), framed)
    };
    let n = || one().read("rpc").len();
    let answer = taken(
        TRACES,
        &[],
        framed(false, &request(&[span("/a/1"), span("/a/2")])),
    );
    assert_eq!(
        (answer.http, &*answer.status, &*answer.body),
        (200, "0", &[0; 5][..]),
        "{answer:?}"
    );
    assert_eq!(n(), 1, "they are there when it is answered");
    let logs = request(&[log_call("/a/3"), log_line(LINE), log_line("{\"a\":1}")]);
    let packed = framed(true, &gzip(&logs));
    let answer = taken(LOGS, &[("grpc-encoding", "gzip")], packed.clone());
    assert_eq!(answer.status, "0", "{answer:?}");
    assert_eq!(n(), 4);
    let zstd = framed(
        true,
        &zstd::encode_all(&request(&[log_line(LINE)])[..], 1).expect("packs"),
    );
    assert_eq!(taken(LOGS, &[("grpc-encoding", "zstd")], zstd).status, "0");
    assert_eq!(
        taken(TRACES, &[], framed(false, b"")).status,
        "0",
        "nothing is a request, too"
    );
    // What is too long for a record is told, and the rest is there.
    let long = request(&[log_line(&"x".repeat(800 << 10)), log_line(LINE)]);
    let answer = taken(LOGS, &[], framed(false, &long));
    assert_eq!(
        (&*answer.status, &answer.body[5..9]),
        ("0", &[1 << 3 | 2, 25, 1 << 3, 1][..]),
        "{answer:?}"
    );
    assert_eq!(n(), 6);

    // What is wrong is refused with its status, and none of it is there.
    let good = framed(false, &logs);
    let twice = [good.clone(), good.clone()].concat();
    let bomb = framed(true, &gzip(&vec![0; 9 << 20]));
    for (path, headers, body, status) in [
        (LOGS, &[][..], good[..good.len() - 1].to_vec(), "3"),
        (LOGS, &[], twice, "3"),
        (LOGS, &[], b"\0\0".to_vec(), "3"),
        (LOGS, &[], framed(false, &logs[..9]), "3"),
        (LOGS, &[], packed, "3"),
        (LOGS, &[("grpc-encoding", "gzip")], framed(true, &logs), "3"),
        (LOGS, &[], framed(false, &vec![0; (8 << 20) + 1]), "8"),
        (LOGS, &[("grpc-encoding", "gzip")], bomb, "8"),
        (LOGS, &[("grpc-encoding", "br")], framed(true, b"x"), "12"),
        (
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            &[],
            good.clone(),
            "12",
        ),
    ] {
        let answer = taken(path, headers, body);
        assert_eq!((answer.http, &*answer.status), (200, status), "{answer:?}");
        assert!(
            !answer.message.is_empty() && answer.details.is_empty(),
            "{answer:?}"
        );
    }
    assert_eq!(client.export(LOGS, &[], good.clone()).status, "16");
    let json = [("content-type", "application/json"), right];
    assert_eq!(client.export(LOGS, &json, good).http, 415);
    assert_eq!(n(), 6);

    let said = get(&metrics, "/metrics").expect("metrics");
    let collected = "tollwatch_collected_records_total{origin=\"otlp\"} 6";
    assert!(said.contains(collected), "{said}");
    let refused = "tollwatch_collect_requests_total{outcome=\"refused\"} 10";
    assert!(said.contains(refused), "{said}");
    succeed(std::process::Command::new("kill").args(["-TERM", &running.id().to_string()]));
    assert!(wait(&mut running).success());
    let values: Vec<Vec<u8>> = one()
        .read("rpc")
        .iter()
        .map(|message| message.payload().expect("a value").to_vec())
        .collect();
    let log = dir.path().join("log");
    write_lines(&log, &values);
    let replayed = json_of(tollwatch().args(["replay", "--json"]).arg(&log));
    assert_eq!(replayed["events"], 2 + 1 + 3, "{replayed}");
}

#[test]
fn who_sends_too_much_at_once_is_told_to_come_again() {
    let (_running, address, _) = collector("rpc-full", &[]);
    let client = Client::connect(&address);
    // Each says that it sends as much as is taken, and does not.
    let prefix = [&[0][..], &(8_u32 << 20).to_be_bytes()].concat();
    let stays = |_| {
        let sender = client.sender.clone();
        let sent = Client::send(sender, LOGS, &[], vec![prefix.clone()], true);
        let sent = async move { tokio::time::timeout(Duration::from_secs(3), sent).await };
        client.runtime.spawn(sent)
    };
    let all: Vec<_> = (0..12).map(stays).collect();
    let answers = client
        .runtime
        .block_on(async { futures::future::join_all(all).await });
    let answers: Vec<Answer> = answers
        .into_iter()
        .filter_map(|answer| answer.expect("no panic").ok())
        .collect();
    // 64 MiB hold seven of them, with what each costs beside.
    assert_eq!(answers.len(), 12 - 7, "{answers:?}");
    for answer in &answers {
        assert_eq!(answer.status, "14", "{answer:?}");
        let retry = b"type.googleapis.com/google.rpc.RetryInfo";
        let at = answer
            .details
            .windows(retry.len())
            .position(|part| part == retry);
        let after = &answer.details[at.expect("a RetryInfo") + retry.len()..];
        // Field 2 of Any holds field 1 of RetryInfo, a Duration of a second.
        assert_eq!(after, [2 << 3 | 2, 4, 1 << 3 | 2, 2, 1 << 3, 1]);
    }
    // Who was not answered has gone; there is room again.
    until("room", || {
        let one = framed(false, &request(&[log_line(LINE)]));
        client.export(LOGS, &[], one).status == "0"
    });
}

#[test]
fn logs_over_http_are_taken_as_json_and_as_protobuf() {
    let listen = free_address();
    let (_running, _, _) = collector("posted-logs", &["--listen", &listen]);
    until("the receiver", || TcpStream::connect(&listen).is_ok());
    let post = |kind: &str, body: &[u8]| {
        crate::collect::post(&listen, "/v1/logs", &[("content-type", kind)], body)
    };
    let logs = request(&[log_call("/a/3"), log_line(LINE)]);
    assert_eq!(post("application/x-protobuf", &logs), (200, Vec::new()));
    let record = |body: Value| json!({ "timeUnixNano": "1767601459146000000", "body": body });
    let json = |records: &[Value]| {
        json!({ "resourceLogs": [ { "scopeLogs": [ { "logRecords": records } ] } ] }).to_string()
    };
    let line = record(json!({ "stringValue": LINE }));
    let long = record(json!({ "stringValue": "x".repeat(800 << 10) }));
    assert_eq!(
        post(
            "application/json",
            json(std::slice::from_ref(&line)).as_bytes()
        ),
        (200, b"{}".to_vec())
    );
    let (status, body) = post("application/json", json(&[long, line]).as_bytes());
    let told: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (status, &told["partialSuccess"]["rejectedLogRecords"]),
        (200, &json!("1"))
    );
    assert_eq!(post("application/json", b"{\"resourceLogs\":[").0, 400);
    assert_eq!(post("application/x-protobuf", &logs[..9]).0, 400);
    assert_eq!(post("text/plain", b"x").0, 415);
    let lines = one().read("posted-logs");
    let is_line = |m: &&rdkafka::message::OwnedMessage| m.payload() == Some(LINE.as_bytes());
    assert_eq!((lines.len(), lines.iter().filter(is_line).count()), (4, 3));
}
