//! The receiver: requests over HTTP/1, and OTLP over gRPC in [`grpc`], each answered well only when Kafka has what was in it.
//!
//! | path | what |
//! |---|---|
//! | `/v1/traces`, `/v1/logs` | OTLP 1.x, `application/json` or `application/x-protobuf`; written by [`otlp_request`] |
//! | `/v1/logs/raw` | lines; of `application/json` the elements of an array, or one object however it is laid out, or lines |
//!
//! Bodies may be `gzip` or `zstd`. What is under way is bounded in bytes before it is read; beyond it senders are told to come again
//! (503 with `Retry-After`). At least once: whose answer is lost sends again. TLS is a proxy's task.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver as Jobs, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use connectors::format::{otlp_request, posted};
use connectors::kafka::{Cluster, Error, Outgoing, Writer};
use connectors::sink::Secret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::limited::Limited;
use super::{LOOK, Shared};
use crate::telemetry::OutcomeLabel;

mod grpc;

/// Bytes of a body, as it comes and unpacked. Senders' batches are below it: the OpenTelemetry Collector's of 8192 spans take about 5 MB.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Bytes of all requests under way, in KiB: read, or waiting for Kafka.
const ROOM_KIB: usize = 64 << 10;
/// Bytes that a record costs beside its own.
const RECORD_COSTS: usize = 64;
/// Longest time for a body to come, and then for Kafka to take it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests that wait to be written.
const JOBS_MAX: usize = 1024;
/// Requests that are written at a time, and wait for one answer of Kafka's.
const JOBS_PER_FLUSH: usize = 256;
/// What a sender is told to wait, in seconds.
const COME_AGAIN_SECONDS: u8 = 1;

/// Records of one request, and who waits for them.
struct Job {
    origin: &'static str,
    records: Vec<Vec<u8>>,
    done: oneshot::Sender<bool>,
    /// Held until they are written.
    _room: OwnedSemaphorePermit,
}

/// What the handlers share.
struct Door {
    jobs: SyncSender<Job>,
    room: Arc<Semaphore>,
    token: Option<Secret>,
    shared: Shared,
}

pub(super) struct Receiver {
    thread: JoinHandle<()>,
}

impl Receiver {
    /// Starts to listen, for HTTP and for gRPC.
    ///
    /// # Errors
    /// An address can't be bound, or the system has no thread left.
    pub(super) async fn start(
        (http, grpc): (Option<&str>, Option<&str>),
        to: (Cluster, String),
        token: Option<Secret>,
        shared: Shared,
    ) -> Result<Receiver, String> {
        let (http, grpc) = (bind(http).await?, bind(grpc).await?);
        let (sender, jobs) = sync_channel(JOBS_MAX);
        let door = Arc::new(Door {
            jobs: sender,
            room: Arc::new(Semaphore::new(ROOM_KIB)),
            token,
            shared: shared.clone(),
        });
        if let Some(listener) = grpc {
            tokio::spawn(grpc::serve(listener, door.clone()));
        }
        if let Some(listener) = http {
            let routes = Router::new()
                .route("/v1/traces", post(traces))
                .route("/v1/logs", post(logs))
                .route("/v1/logs/raw", post(raw))
                .with_state(door);
            tokio::spawn(async move { axum::serve(listener, routes).await });
        }
        let write = move || write(&to.0, &to.1, &jobs, &shared);
        let thread = std::thread::Builder::new().name("receiver".to_owned());
        let thread = thread.spawn(write);
        Ok(Receiver {
            thread: thread.map_err(|error| format!("cannot start a thread: {error}"))?,
        })
    }

    /// Waits for what is under way to be answered.
    pub(super) fn finish(self, patience: Duration) {
        let began = Instant::now();
        while !self.thread.is_finished() && began.elapsed() < patience {
            std::thread::sleep(LOOK);
        }
        // For the last answers to leave.
        std::thread::sleep(LOOK);
    }
}

async fn bind(address: Option<&str>) -> Result<Option<Limited>, String> {
    let Some(address) = address else {
        return Ok(None);
    };
    let bound = Limited::bind(address).await;
    bound.map(Some).map_err(|error| {
        format!(
            "cannot listen on {address}: {error}; give --listen or --listen-grpc another address"
        )
    })
}

/// Writes what comes, many requests at a time, until it is told to stop and nothing waits.
fn write(cluster: &Cluster, topic: &str, jobs: &Jobs<Job>, shared: &Shared) {
    let mut writer = None;
    shared.metrics.set_ready(true);
    loop {
        let first = match jobs.recv_timeout(LOOK) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) if !shared.stopped() => continue,
            Err(_) => return,
        };
        let some: Vec<Job> = std::iter::once(first)
            .chain(jobs.try_iter().take(JOBS_PER_FLUSH - 1))
            .collect();
        let written = writer
            .take()
            .map_or_else(|| cluster.writer(), Ok)
            .and_then(|writer| send(&writer, topic, &some).map(|()| writer));
        let is_written = written.is_ok();
        match written {
            Ok(sound) => writer = Some(sound),
            // It remembers what it did not deliver, so the next requests get another.
            Err(error) => {
                tracing::warn!(%error, n_requests = some.len(), "not written, senders are told to come again");
                shared.metrics.set_ready(false);
            }
        }
        for job in some {
            if is_written {
                let n_bytes = job.records.iter().map(|record| record.len() as u64).sum();
                shared.written(job.origin, job.records.len() as u64, n_bytes);
            }
            // Who does not wait any more sends again.
            let _ = job.done.send(is_written);
        }
    }
}

fn send(writer: &Writer, topic: &str, jobs: &[Job]) -> Result<(), Error> {
    for value in jobs.iter().flat_map(|job| &job.records) {
        let outgoing = Outgoing {
            topic,
            partition: None,
            key: None,
            value,
        };
        writer.send(outgoing, std::iter::empty())?;
    }
    writer.flush()
}

/// Why a request is not taken.
struct Refusal {
    status: StatusCode,
    why: String,
}

fn refuse<T>(status: StatusCode, why: impl Into<String>) -> Result<T, Refusal> {
    let why = why.into();
    Err(Refusal { status, why })
}

fn come_again<T>(why: &str) -> Result<T, Refusal> {
    refuse(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn too_large<T>() -> Result<T, Refusal> {
    let why = format!("a body has at most {BODY_BYTES_MAX} bytes, unpacked too");
    refuse(StatusCode::PAYLOAD_TOO_LARGE, why)
}

fn too_slow<T>() -> Result<T, Refusal> {
    refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long")
}

/// What a request's body is said to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Json,
    Protobuf,
    Other,
}

fn content(headers: &HeaderMap) -> Content {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|text| text.to_str().ok());
    let kind = text.unwrap_or_default().split(';').next();
    match kind
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "application/json" => Content::Json,
        "application/x-protobuf" => Content::Protobuf,
        _ => Content::Other,
    }
}

/// What an export request of OTLP has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signal {
    Traces,
    Logs,
}

/// Records of an export request, and how much of it is in none of them.
fn exported(
    signal: Signal,
    kind: Content,
    body: &[u8],
    n_too_long: &mut u64,
) -> Result<Vec<Vec<u8>>, Refusal> {
    let exported = match (kind, signal) {
        (Content::Json, Signal::Traces) => otlp_request::from_json(body),
        (Content::Json, Signal::Logs) => otlp_request::logs::from_json(body),
        (Content::Protobuf, Signal::Traces) => otlp_request::from_protobuf(body),
        (Content::Protobuf, Signal::Logs) => otlp_request::logs::from_protobuf(body),
        (Content::Other, _) => {
            let why = "the content type is application/json or application/x-protobuf";
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
        }
    };
    let exported = exported.or_else(|why| refuse(StatusCode::BAD_REQUEST, why))?;
    *n_too_long = exported.n_too_long;
    let records = exported.records.into_iter();
    Ok(records.map(String::into_bytes).collect())
}

async fn traces(State(door): State<Arc<Door>>, headers: HeaderMap, body: Body) -> Response {
    export(&door, Signal::Traces, &headers, body).await
}

async fn logs(State(door): State<Arc<Door>>, headers: HeaderMap, body: Body) -> Response {
    export(&door, Signal::Logs, &headers, body).await
}

async fn export(door: &Door, signal: Signal, headers: &HeaderMap, body: Body) -> Response {
    let kind = content(headers);
    let mut n_too_long = 0;
    let parse = |bytes: &[u8]| exported(signal, kind, bytes, &mut n_too_long);
    let taken = door.take("otlp", headers, body, parse).await;
    let is_protobuf = kind == Content::Protobuf;
    match taken {
        Ok(()) => {
            let body = match (is_protobuf, signal) {
                (true, _) => otlp_request::answer_protobuf(n_too_long),
                (false, Signal::Traces) => otlp_request::answer_json(n_too_long).into_bytes(),
                (false, Signal::Logs) => otlp_request::logs::answer_json(n_too_long).into_bytes(),
            };
            answer(StatusCode::OK, is_protobuf, body)
        }
        Err(refusal) => {
            let body = match is_protobuf {
                true => otlp_request::status_protobuf(&refusal.why),
                false => serde_json::json!({ "message": refusal.why })
                    .to_string()
                    .into_bytes(),
            };
            answer(refusal.status, is_protobuf, body)
        }
    }
}

async fn raw(State(door): State<Arc<Door>>, headers: HeaderMap, body: Body) -> Response {
    let is_json = content(&headers) == Content::Json;
    let parse = |bytes: &[u8]| {
        posted::records(bytes, is_json).or_else(|why| refuse(StatusCode::BAD_REQUEST, why))
    };
    match door.take("http", &headers, body, parse).await {
        Ok(()) => answer(StatusCode::OK, false, b"{}".to_vec()),
        Err(refusal) => {
            let body = serde_json::json!({ "message": refusal.why }).to_string();
            answer(refusal.status, false, body.into_bytes())
        }
    }
}

fn answer(status: StatusCode, is_protobuf: bool, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    let kind = match is_protobuf {
        true => "application/x-protobuf",
        false => "application/json",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, u16::from(COME_AGAIN_SECONDS).into());
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

impl Door {
    /// Takes a request over HTTP/1 all the way into Kafka.
    async fn take(
        &self,
        origin: &'static str,
        headers: &HeaderMap,
        body: Body,
        parse: impl FnOnce(&[u8]) -> Result<Vec<Vec<u8>>, Refusal>,
    ) -> Result<(), Refusal> {
        self.counted(self.pass(origin, headers, body, parse).await)
    }

    /// Counts a request by what became of it.
    fn counted(&self, taken: Result<(), Refusal>) -> Result<(), Refusal> {
        let outcome = match &taken {
            Ok(()) => "taken",
            Err(refusal) if refusal.status == StatusCode::SERVICE_UNAVAILABLE => "put_off",
            Err(_) => "refused",
        };
        let requests = &self.shared.metrics.collect_requests;
        requests.get_or_create(&OutcomeLabel { outcome }).inc();
        taken
    }

    async fn pass(
        &self,
        origin: &'static str,
        headers: &HeaderMap,
        body: Body,
        parse: impl FnOnce(&[u8]) -> Result<Vec<Vec<u8>>, Refusal>,
    ) -> Result<(), Refusal> {
        self.admit(headers)?;
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|text| text.to_str().ok());
        let length = length
            .and_then(|text| text.parse().ok())
            .unwrap_or(BODY_BYTES_MAX);
        if BODY_BYTES_MAX < length {
            return too_large();
        }
        let room = self.room(length)?;
        let bytes = match timeout(PATIENCE, to_bytes(body, BODY_BYTES_MAX)).await {
            Ok(Ok(bytes)) => bytes,
            // Longer than it says it is not, so what can be wrong of one that is there is its length.
            Ok(Err(_)) => return too_large(),
            Err(_) => return too_slow(),
        };
        let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        let records = parse(&unpack(encoding, bytes)?)?;
        self.write(origin, records, (room, length)).await
    }

    /// Has records written, for which room was taken that so many bytes need.
    async fn write(
        &self,
        origin: &'static str,
        records: Vec<Vec<u8>>,
        (mut room, n_held): (OwnedSemaphorePermit, usize),
    ) -> Result<(), Refusal> {
        if records.is_empty() {
            return Ok(());
        }
        let n_bytes: usize = records
            .iter()
            .map(|record| record.len() + RECORD_COSTS)
            .sum();
        if n_held < n_bytes {
            room.merge(self.room(n_bytes - n_held)?);
        }
        let (done, written) = oneshot::channel();
        let job = Job {
            origin,
            records,
            done,
            _room: room,
        };
        match self.jobs.try_send(job) {
            Ok(()) => (),
            Err(mpsc::TrySendError::Full(_)) => {
                return come_again("too many requests wait for Kafka");
            }
            Err(mpsc::TrySendError::Disconnected(_)) => {
                return come_again("this collector is stopping");
            }
        }
        match timeout(PATIENCE, written).await {
            Ok(Ok(true)) => Ok(()),
            _ => come_again("Kafka has not taken it"),
        }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if !self.is_welcome(headers) {
            return refuse(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
        }
        if self.shared.stop.load(Ordering::Relaxed) {
            return come_again("this collector is stopping");
        }
        Ok(())
    }

    fn is_welcome(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let shown = shown.and_then(|shown| shown.split_at_checked(7));
        shown.is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case(b"bearer ") && token.is(shown)
        })
    }

    /// Room for so many bytes of what is under way.
    fn room(&self, n_bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        // Small ones cost something, too.
        let kib = u32::try_from(n_bytes / 1024 + 1).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(kib);
        room.or_else(|_| come_again("too much waits for Kafka"))
    }
}

/// The body without its encoding, which its magic number must bear out.
fn unpack(encoding: Option<&[u8]>, bytes: Bytes) -> Result<Bytes, Refusal> {
    let magic: &[u8] = match encoding {
        None | Some(b"" | b"identity") => return Ok(bytes),
        Some(b"gzip") => &[0x1f, 0x8b],
        Some(b"zstd") => &[0x28, 0xb5, 0x2f, 0xfd],
        Some(_) => {
            let why = "the content encoding is gzip, zstd or none";
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
        }
    };
    if !bytes.starts_with(magic) {
        let why = "the body's compression is not what its content encoding says";
        return refuse(StatusCode::BAD_REQUEST, why);
    }
    let mut unpacked = Vec::new();
    let read = connectors::file::decompress(std::io::Cursor::new(bytes)).and_then(|reader| {
        reader
            .take(BODY_BYTES_MAX as u64 + 1)
            .read_to_end(&mut unpacked)
    });
    match read {
        Ok(n) if BODY_BYTES_MAX < n => too_large(),
        Ok(_) => Ok(unpacked.into()),
        Err(_) => refuse(StatusCode::BAD_REQUEST, "the body's compression is damaged"),
    }
}
