//! OTLP over gRPC: `TraceService` and `LogsService`, whose one method is a request and an answer.
//!
//! | of gRPC | here |
//! |---|---|
//! | request | `POST` over HTTP/2 without TLS; one message: a flag, its length in 4 bytes, and so many bytes of protobuf |
//! | `grpc-encoding` | `gzip`, `zstd` or `identity`, of messages whose flag is 1 |
//! | answer | a message, then `grpc-status: 0` in the trailers |
//! | what is not taken | `grpc-status` and `grpc-message` in the headers, and no message; with status 14 also `grpc-status-details-bin` |
//!
//! | status | when |
//! |---|---|
//! | 3 INVALID_ARGUMENT | malformed: none of it is written, and sending it again mends nothing |
//! | 4 DEADLINE_EXCEEDED | the message takes too long to come |
//! | 8 RESOURCE_EXHAUSTED | the message is too large; without a `RetryInfo`, so it is not sent again |
//! | 12 UNIMPLEMENTED | another service, method or encoding |
//! | 14 UNAVAILABLE with `RetryInfo` | too much is under way, Kafka does not take it, or the collector ends: come again |
//! | 16 UNAUTHENTICATED | the token is missing or wrong |
//!
//! Source: *gRPC over HTTP2*, grpc/grpc `doc/PROTOCOL-HTTP2.md`; *OpenTelemetry Protocol Specification 1.9*, section *OTLP/gRPC*. On hyper,
//! which is built already, rather than tonic: that asks for features of hyper-util and tower by which DataFusion would be built again,
//! and of a service with one method it spares these lines.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::serve::Listener;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use connectors::format::otlp_request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{
    BODY_BYTES_MAX, COME_AGAIN_SECONDS, Content, Door, PATIENCE, Refusal, Signal, exported, refuse,
    too_large, too_slow, unpack,
};
use crate::command::collect::limited::Limited;

/// Requests under way on one connection: exporters have one or a few.
const STREAMS_MAX: u32 = 64;
/// Bytes that a sender may have on the way before they are read, of one request and of all on a connection.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of a request's headers.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// Bytes before a message.
const PREFIX_BYTES: usize = 5;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

const UNAVAILABLE: u8 = 14;

/// Serves connections for ever.
pub(super) async fn serve(mut listener: Limited, door: Arc<Door>) {
    loop {
        let (connection, _) = listener.accept().await;
        let door = door.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let door = door.clone();
                async move { Ok::<_, Infallible>(call(&door, request).await) }
            });
            let served = http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(STREAMS_MAX)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_header_list_size(HEADERS_BYTES_MAX)
                .serve_connection(TokioIo::new(connection), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection of gRPC ended");
            }
        });
    }
}

async fn call(door: &Door, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !kind.is_some_and(|kind| kind.starts_with(GRPC.as_bytes())) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let signal = match head.uri.path() {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Signal::Traces,
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Signal::Logs,
        _ => {
            return failed(&Refusal {
                status: StatusCode::NOT_IMPLEMENTED,
                why: "traces and logs are taken, by Export".to_owned(),
            });
        }
    };
    let mut n_too_long = 0;
    let taken = take(door, signal, &head.headers, body, &mut n_too_long).await;
    match door.counted(taken) {
        Ok(()) => answered(&otlp_request::answer_protobuf(n_too_long)),
        Err(refusal) => failed(&refusal),
    }
}

/// Takes a request all the way into Kafka.
async fn take(
    door: &Door,
    signal: Signal,
    headers: &HeaderMap,
    body: Incoming,
    n_too_long: &mut u64,
) -> Result<(), Refusal> {
    door.admit(headers)?;
    let read = timeout(PATIENCE, message(door, body)).await;
    let (room, is_packed, bytes) = read.unwrap_or_else(|_| too_slow())?;
    let n_held = bytes.len();
    let encoding = headers.get(ENCODING).map(HeaderValue::as_bytes);
    let message = match (is_packed, encoding) {
        (false, _) => bytes,
        (true, None) => {
            let why = "the message is compressed, and grpc-encoding does not say how";
            return refuse(StatusCode::BAD_REQUEST, why);
        }
        (true, encoding) => unpack(encoding, bytes)?,
    };
    let records = exported(signal, Content::Protobuf, &message, n_too_long)?;
    door.write("otlp", records, (room, n_held)).await
}

/// Reads the one message of a request, once there is room for what it says is its length; and whether it is compressed.
async fn message(
    door: &Door,
    mut body: Incoming,
) -> Result<(OwnedSemaphorePermit, bool, Bytes), Refusal> {
    let (mut bytes, mut awaited) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.or_else(|_| refuse(StatusCode::BAD_REQUEST, "the request broke off"))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        bytes.extend_from_slice(&piece);
        if awaited.is_none()
            && let Some((prefix, _)) = bytes.split_first_chunk::<PREFIX_BYTES>()
        {
            let [_, length @ ..] = *prefix;
            let length = u32::from_be_bytes(length) as usize;
            if BODY_BYTES_MAX < length {
                return too_large();
            }
            awaited = Some((door.room(length)?, PREFIX_BYTES + length));
        }
        let is_over = |(_, end): &(_, usize)| *end < bytes.len();
        if awaited.as_ref().is_some_and(is_over) {
            return refuse(StatusCode::BAD_REQUEST, "more than one message");
        }
    }
    match awaited {
        Some((room, end)) if bytes.len() == end => {
            let is_packed = bytes[0] == 1;
            Ok((room, is_packed, Bytes::from(bytes).slice(PREFIX_BYTES..)))
        }
        _ => refuse(StatusCode::BAD_REQUEST, "the message ends early"),
    }
}

fn answered(message: &[u8]) -> Response<Body> {
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(framed)).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

fn failed(refusal: &Refusal) -> Response<Body> {
    let code: u8 = match refusal.status {
        StatusCode::BAD_REQUEST => 3,
        StatusCode::REQUEST_TIMEOUT => 4,
        StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::NOT_IMPLEMENTED => 12,
        StatusCode::UNAUTHORIZED => 16,
        _ => UNAVAILABLE,
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(STATUS, u16::from(code).into());
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip,zstd"));
    if let Ok(message) = HeaderValue::from_str(&escaped(&refusal.why)) {
        headers.insert(MESSAGE, message);
    }
    if code == UNAVAILABLE {
        let details = otlp_request::retry_protobuf(code, &refusal.why, COME_AGAIN_SECONDS);
        if let Ok(details) = HeaderValue::from_str(&BASE64_STANDARD_NO_PAD.encode(details)) {
            headers.insert(DETAILS, details);
        }
    }
    response
}

/// A text as `grpc-message` has it: printable ASCII, everything else as `%XX`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(byte.into()),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
