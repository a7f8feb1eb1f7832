//! Records of any other log: who decodes says what a line's fields are, this module says what becomes of them.
//!
//! ```text
//! record -> lines (envelope.rs) -> values of each line, by a [`Mapping`] -> event
//!             ^--- what an object wraps that is no call itself                 \-> reject, or no call
//! ```
//!
//! A value is read as the decoders read theirs: numbers and times may be texts, `""` and `"-"` are nothing, addresses lose their
//! port, a redacted credential says only that there was one. `path` may be a whole target: its query, host and scheme count where
//! fields of their own have nothing. `request_line` stands for `method` and `path`.

use std::borrow::Cow;

use super::json::{Scalar, authorization, believe};
use super::keys::is_same;
use super::rows::Rows;
use super::{Fault, RECORD_BYTES_MAX, SourceRecord, envelope, target};
use crate::event::{AnswerHeaders, DecodedBatch, Event, EventBatchBuilder, RowPosition};
use crate::reject::{Reject, RejectReason};

/// Envelopes opened one in the other, as for every format.
const ENVELOPES_MAX: u8 = super::ENVELOPES_MAX as u8;

/// Records, or lines, in work at once, and their bytes: bounds what the columns of a mapping take.
const LINES_MAX: usize = 8192;
const BYTES_MAX: usize = 4 << 20;

/// The fields a mapping may give, in the order of [`Values`]. `authenticated`: the gateway knew the caller, but does not say whom.
pub const FIELDS: [&str; 58] = [
    "event_time",
    "request_line",
    "method",
    "path",
    "query",
    "status",
    "scheme",
    "host",
    "request_bytes",
    "response_bytes",
    "latency_us",
    "client_ip",
    "peer_ip",
    "user_agent",
    "authorization",
    "api_key",
    "token_hash",
    "jwt_sub",
    "jwt_claims",
    "consumer",
    "principal",
    "client_cert",
    "session",
    "authenticated",
    "route",
    "service",
    "upstream_scheme",
    "tls_version",
    "request_content_type",
    "response_content_type",
    "request_id",
    "trace_id",
    "referer",
    "origin",
    "method_override",
    "forwarded_host",
    "rewritten_url",
    "via",
    "allow_origin",
    "allow_credentials",
    "server",
    "powered_by",
    "hsts",
    "content_type_options",
    "frame_options",
    "content_security_policy",
    "cache_control",
    "vary",
    "set_cookie",
    "location",
    "debug_header",
    "mcp_method",
    "mcp_name",
    "mcp_version",
    "a2a_version",
    "signature_agent",
    "sdk_language",
    "request_body",
];

/// Place of a field in [`FIELDS`]; computed when this is compiled, so that a name that is none does not compile.
const fn place(name: &str) -> usize {
    let mut at = 0;
    while at < FIELDS.len() {
        if is_same(FIELDS[at].as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("a field of FIELDS")
}

/// One value of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// None.
    #[default]
    Nothing,
    /// A text, which may be a number or a time where one is wanted.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Flag(bool),
    /// Milliseconds since 1970, UTC.
    TimeMs(i64),
}

impl<'a> Value<'a> {
    fn scalar(self) -> Scalar<'a> {
        match self {
            Value::Nothing => Scalar::Absent,
            Value::Text(text) => Scalar::Text(Cow::Borrowed(text)),
            Value::Integer(number) | Value::TimeMs(number) => Scalar::Integer(number),
            Value::Float(number) => Scalar::Float(number),
            Value::Flag(flag) => Scalar::Bool(flag),
        }
    }
}

/// The values of one line, in the order of [`FIELDS`].
pub type Values<'a> = [Value<'a>; FIELDS.len()];

/// A line of which nothing is known.
pub const NO_VALUES: Values<'static> = [Value::Nothing; FIELDS.len()];

/// What a mapping says of one line.
#[derive(Debug)]
pub enum Row {
    /// It is a call, of these values.
    Call,
    /// It is none, as the mapping means it: neither an event nor a reject.
    NoCall,
    /// It can't be read: why, and the name of what failed; never a part of the line.
    Fault(RejectReason, Cow<'static, str>),
}

/// Says what lines mean.
pub trait Mapping {
    /// Its name, which stands for the gateway's.
    fn name(&self) -> &str;
    /// Says whether a text is a line of its own, whatever it begins with.
    fn is_line(&self, text: &str) -> bool;
    /// Reads lines; what comes back has a row for each, in order.
    fn read(&self, lines: &[&str]) -> Box<dyn Lines>;
}

/// Lines that were read.
pub trait Lines {
    /// What one of them says; of a call the values are filled in, and others are left.
    fn row<'a>(&'a self, row: usize, values: &mut Values<'a>) -> Row;
}

/// A text of a record, and what became of it.
struct Node<'a> {
    text: Cow<'a, str>,
    is_partial: bool,
    became: Became,
    /// What it wraps: places of nodes.
    wraps: std::ops::Range<usize>,
}

enum Became {
    /// Row of lines that were read.
    Call(usize, usize),
    /// No call; or not read yet.
    NoCall,
    Fault(Fault),
}

/// Decodes records by a mapping, in order; never fails for one record.
pub fn decode(mapping: &dyn Mapping, records: &[SourceRecord<'_>]) -> DecodedBatch {
    let mut batch = EventBatchBuilder::with_capacity(Vec::<u8>::new(), records.len());
    let (mut start, mut n_bytes) = (0, 0);
    for (at, record) in records.iter().enumerate() {
        n_bytes += record.payload.len();
        if start < at && (LINES_MAX <= at - start || BYTES_MAX < n_bytes) {
            decode_some(mapping, &records[start..at], &mut batch);
            (start, n_bytes) = (at, record.payload.len());
        }
    }
    decode_some(mapping, &records[start..], &mut batch);
    batch.finish()
}

/// Decodes as many records as may be in work at once.
fn decode_some(mapping: &dyn Mapping, records: &[SourceRecord<'_>], batch: &mut EventBatchBuilder) {
    let fits = |record: &SourceRecord<'_>| record.payload.len() <= RECORD_BYTES_MAX;
    let text = |record| fits(record).then(|| String::from_utf8_lossy(record.payload));
    let texts: Vec<Option<Cow<'_, str>>> = records.iter().map(text).collect();
    let mut nodes = Vec::with_capacity(records.len());
    let mut of_records = Vec::with_capacity(records.len());
    for text in &texts {
        let start = nodes.len();
        if let Some(text) = text {
            open(mapping, text, &mut nodes);
        }
        of_records.push(start..nodes.len());
    }
    let read = read(mapping, &mut nodes);
    for ((record, text), of_record) in records.iter().zip(&texts).zip(of_records) {
        let Some(text) = text else {
            let n_bytes = record.payload.len();
            let detail = format!("record of {n_bytes} bytes, limit {RECORD_BYTES_MAX}");
            let position = RowPosition {
                offset: record.offset,
                row: 0,
            };
            batch.reject(Reject::new(position, RejectReason::Oversized, &detail));
            continue;
        };
        let is_lossy = matches!(text, Cow::Owned(_));
        let mut rows = Rows::new(batch, record.offset, is_lossy);
        for at in of_record {
            tell(mapping, &nodes, at, &read, &mut rows);
        }
        rows.finish();
    }
}

/// Reads every node, and then what those wrap that are no calls.
fn read(mapping: &dyn Mapping, nodes: &mut Vec<Node<'_>>) -> Vec<Box<dyn Lines>> {
    let mut read = Vec::new();
    let mut level = 0..nodes.len();
    for depth in 0..=ENVELOPES_MAX {
        for lines in chunks(nodes, level.clone()) {
            evaluate(mapping, &mut nodes[lines], &mut read);
        }
        let start = nodes.len();
        if depth < ENVELOPES_MAX {
            for at in level {
                unwrap(mapping, at, nodes);
            }
        }
        level = start..nodes.len();
    }
    read
}

/// Adds the lines of a text without its prefixes: an array's elements, or itself.
fn open<'a>(mapping: &dyn Mapping, text: &'a str, nodes: &mut Vec<Node<'a>>) {
    let opened = envelope::open(text);
    let mut add = |element: Result<&'a str, Fault>| {
        let (text, became) = match element {
            Ok("") => {
                let fault = Fault::new(RejectReason::Empty, "no bytes but white space");
                ("", Became::Fault(fault))
            }
            Ok(text) => (text, Became::NoCall),
            Err(fault) => ("", Became::Fault(fault)),
        };
        nodes.push(Node {
            text: Cow::Borrowed(text),
            is_partial: opened.is_partial,
            became,
            wraps: 0..0,
        });
    };
    if envelope::is_array(opened.text) && !mapping.is_line(opened.text) {
        envelope::elements(opened.text).for_each(add);
    } else {
        add(Ok(opened.text));
    }
}

/// Cuts a range of nodes where there are too many, or too long ones, to be read at once.
fn chunks(nodes: &[Node<'_>], range: std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
    let (mut chunks, mut start, mut n_bytes) = (Vec::new(), range.start, 0);
    for at in range.clone() {
        n_bytes += nodes[at].text.len();
        if start < at && (LINES_MAX <= at - start || BYTES_MAX < n_bytes) {
            chunks.push(start..at);
            (start, n_bytes) = (at, nodes[at].text.len());
        }
    }
    chunks.push(start..range.end);
    chunks
}

fn evaluate(mapping: &dyn Mapping, nodes: &mut [Node<'_>], read: &mut Vec<Box<dyn Lines>>) {
    let at: Vec<usize> = (0..nodes.len())
        .filter(|at| matches!(nodes[*at].became, Became::NoCall))
        .collect();
    if at.is_empty() {
        return;
    }
    let texts: Vec<&str> = at.iter().map(|at| nodes[*at].text.as_ref()).collect();
    let lines = mapping.read(&texts);
    for (row, at) in at.into_iter().enumerate() {
        let mut values = NO_VALUES;
        nodes[at].became = match lines.row(row, &mut values) {
            Row::NoCall => Became::NoCall,
            Row::Fault(reason, detail) => Became::Fault(Fault { reason, detail }),
            Row::Call => match event(mapping.name(), &values) {
                Ok(_) => Became::Call(read.len(), row),
                Err(fault) => Became::Fault(fault),
            },
        };
    }
    read.push(lines);
}

/// Adds what a node wraps that is no call itself. Its texts are copied: shippers' envelopes are the slow way.
fn unwrap(mapping: &dyn Mapping, at: usize, nodes: &mut Vec<Node<'_>>) {
    let node = &nodes[at];
    if matches!(node.became, Became::Call(..)) || !node.text.starts_with('{') {
        return;
    }
    let inner = match envelope::unwrap(&node.text) {
        Some(envelope::Wrapped::Text(inner)) => inner.into_owned(),
        _ => return,
    };
    let is_partial = node.is_partial;
    let mut wrapped = Vec::new();
    open(mapping, &inner, &mut wrapped);
    let start = nodes.len();
    nodes.extend(wrapped.into_iter().map(|node| Node {
        text: Cow::Owned(node.text.into_owned()),
        is_partial: node.is_partial || is_partial,
        ..node
    }));
    nodes[at].wraps = start..nodes.len();
}

/// Says what a node became, in the order of its record: what it wraps, if that is more of a line than the node itself.
fn tell(
    mapping: &dyn Mapping,
    nodes: &[Node<'_>],
    at: usize,
    read: &[Box<dyn Lines>],
    rows: &mut Rows<'_>,
) {
    let node = &nodes[at];
    if node.wraps.clone().any(|at| is_known(mapping, nodes, at)) {
        for at in node.wraps.clone() {
            tell(mapping, nodes, at, read, rows);
        }
        return;
    }
    match &node.became {
        Became::NoCall => (),
        Became::Fault(fault) if node.is_partial => rows.reject(&Fault {
            reason: RejectReason::Partial,
            detail: fault.detail.clone(),
        }),
        Became::Fault(fault) => rows.reject(fault),
        Became::Call(lines, row) => {
            let mut values = NO_VALUES;
            if matches!(read[*lines].row(*row, &mut values), Row::Call)
                && let Ok(mut event) = event(mapping.name(), &values)
            {
                rows.push(&mut event);
            }
        }
    }
}

/// Says whether a wrapped text is a line of this log, though it may be one that can't be read.
fn is_known(mapping: &dyn Mapping, nodes: &[Node<'_>], at: usize) -> bool {
    let node = &nodes[at];
    match node.became {
        Became::Call(..) => true,
        Became::NoCall => node.wraps.clone().any(|at| is_known(mapping, nodes, at)),
        Became::Fault(_) => node.text.starts_with('{') || mapping.is_line(&node.text),
    }
}

/// The event of a line's values.
fn event<'a>(gateway: &'a str, values: &Values<'a>) -> Result<Event<'a>, Fault> {
    macro_rules! scalar {
        ($name:literal) => {
            values[const { place($name) }].scalar()
        };
    }
    macro_rules! text {
        ($name:literal) => {
            scalar!($name).text($name)?
        };
    }
    // Empty says that the response had none; nothing, that this is not known.
    macro_rules! told {
        ($name:literal) => {
            match values[const { place($name) }] {
                Value::Text("" | "-") => Some(Cow::Borrowed("")),
                value => value.scalar().text($name)?,
            }
        };
    }
    let line = text!("request_line")
        .map(target::request_line)
        .transpose()?;
    let (line_method, line_target) = line.unzip();
    let method = scalar!("method").method("method")?;
    let path = text!("path").or(line_target);
    let target = target::split(path.ok_or_else(|| Fault::missing("path"))?);
    let (authorization, is_redacted) = authorization(text!("authorization"));
    let hint = matches!(scalar!("authenticated"), Scalar::Bool(true));
    let event_time_ms = match values[const { place("event_time") }] {
        Value::TimeMs(ms) => believe(ms, "event_time")?,
        other => other.scalar().time("event_time")?,
    };
    let query = text!("query").map(|query| match query.strip_prefix('?') {
        Some(query) => Cow::Owned(query.to_owned()),
        None => query,
    });
    Ok(Event {
        event_time_ms,
        gateway,
        method: method
            .or(line_method)
            .ok_or_else(|| Fault::missing("method"))?,
        scheme: text!("scheme")
            .and_then(|scheme| target::http_scheme(&scheme))
            .or(target.scheme),
        host: text!("host").or(target.host),
        path: target.path,
        query: query.filter(|query| !query.is_empty()).or(target.query),
        status: scalar!("status").status("status")?,
        request_bytes: scalar!("request_bytes").count("request_bytes")?,
        response_bytes: scalar!("response_bytes").count("response_bytes")?,
        latency_us: scalar!("latency_us").count("latency_us")?,
        client_ip: scalar!("client_ip").address("client_ip")?,
        peer_ip: scalar!("peer_ip").address("peer_ip")?,
        user_agent: text!("user_agent"),
        authorization,
        api_key: text!("api_key"),
        token_hash: text!("token_hash"),
        jwt_sub: text!("jwt_sub"),
        jwt_claims: text!("jwt_claims"),
        consumer: text!("consumer"),
        principal: text!("principal"),
        client_cert: text!("client_cert"),
        session: text!("session"),
        authenticated_hint: hint || is_redacted,
        route: text!("route"),
        service: text!("service"),
        upstream_scheme: text!("upstream_scheme").and_then(|scheme| target::http_scheme(&scheme)),
        tls_version: text!("tls_version"),
        request_content_type: text!("request_content_type"),
        response_content_type: text!("response_content_type"),
        request_id: text!("request_id"),
        trace_id: text!("trace_id").map(target::trace_id),
        referer: text!("referer"),
        origin: text!("origin"),
        method_override: text!("method_override"),
        forwarded_host: text!("forwarded_host"),
        rewritten_url: text!("rewritten_url"),
        via: text!("via"),
        allow_origin: text!("allow_origin"),
        allow_credentials: text!("allow_credentials"),
        server: text!("server"),
        powered_by: text!("powered_by"),
        answer: AnswerHeaders {
            hsts: told!("hsts"),
            content_type_options: told!("content_type_options"),
            frame_options: told!("frame_options"),
            content_security_policy: told!("content_security_policy"),
            cache_control: told!("cache_control"),
            vary: told!("vary"),
            set_cookie: told!("set_cookie"),
            location: told!("location"),
            debug_header: told!("debug_header"),
        },
        mcp_method: text!("mcp_method"),
        mcp_name: text!("mcp_name"),
        mcp_version: text!("mcp_version"),
        a2a_version: text!("a2a_version"),
        signature_agent: text!("signature_agent"),
        sdk_language: text!("sdk_language"),
        request_body: text!("request_body"),
    })
}

/// JSON with a writer's bad escapes mended, as for every format; `None` if there are none.
pub fn mended(text: &str) -> Option<String> {
    envelope::repair(text)
}

/// The lines of a record as a mapping sees them, without those that are blank; envelopes are opened so many times.
pub fn lines(payload: &[u8], n_envelopes: u8) -> Vec<String> {
    let text = String::from_utf8_lossy(payload);
    let mut lines = of_text(&text);
    for _ in 0..n_envelopes.min(ENVELOPES_MAX) {
        let inner = lines.iter().flat_map(|line| match envelope::unwrap(line) {
            Some(envelope::Wrapped::Text(inner)) => of_text(&inner),
            _ => Vec::new(),
        });
        lines = inner.collect();
    }
    lines
}

fn of_text(text: &str) -> Vec<String> {
    let text = envelope::open(text).text;
    let elements: Vec<&str> = match envelope::is_array(text) {
        true => envelope::elements(text).filter_map(Result::ok).collect(),
        false => vec![text],
    };
    let blank = |line: &&str| !line.is_empty();
    elements
        .into_iter()
        .filter(blank)
        .map(str::to_owned)
        .collect()
}

/// Says whether a text is the first line of a request: method, target, protocol.
pub fn is_request_line(text: &str) -> bool {
    let has_protocol = text
        .rsplit_once(' ')
        .is_some_and(|(_, last)| last.starts_with("HTTP/"));
    has_protocol && target::request_line(Cow::Borrowed(text)).is_ok()
}

#[cfg(test)]
mod tests;
