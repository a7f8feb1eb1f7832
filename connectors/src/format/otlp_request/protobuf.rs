//! The protobuf encoding of export requests (`opentelemetry/proto/collector/{trace,logs}/v1`, OTLP 1.9), field by field into JSON.
//!
//! Written out rather than generated: nine messages of which a few fields are wanted, and no copy of what is not. What is not
//! known is passed over, as protobuf asks. **Invariant**: no more nesting than [`DEPTH_MAX`] is followed, and nothing is read
//! outside the bytes of its message.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Exported, Packer, SPANS, logs};

/// Nesting of values that is kept; deeper ones are left empty. A body may be a gateway's whole object, of four or five levels; each
/// is four of JSON.
const DEPTH_MAX: usize = 16;

/// Fields of `Span`, its kind among them; `SPAN_KIND_SERVER`.
const KIND: u64 = 6;
const SERVER: u64 = 2;

/// A field's value as it stands in the bytes.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A message, a text or bytes; of another wire type it is not the field that is meant.
    fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Number(_) => Err("a field of the wrong wire type".to_owned()),
        }
    }

    fn number(self) -> Result<u64, String> {
        match self {
            Value::Number(number) => Ok(number),
            Value::Bytes(_) => Err("a field of the wrong wire type".to_owned()),
        }
    }
}

/// The fields of a message, in order; ends after the first fault.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(n)
            .ok_or("a field ends after its message")?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)? else { break };
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number of more than ten bytes".to_owned())
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let tag = self.varint()?;
        let little_endian = |bytes: &[u8]| {
            let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
            Value::Number(bytes.iter().rev().fold(0, add))
        };
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => little_endian(self.take(8)?),
            2 => {
                let n = self.varint()?;
                let n = usize::try_from(n).map_err(|_| "a field ends after its message")?;
                Value::Bytes(self.take(n)?)
            }
            5 => little_endian(self.take(4)?),
            _ => return Err("a wire type that OTLP does not have".to_owned()),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The messages of a repeated field.
fn each(message: &[u8], wanted: u64) -> impl Iterator<Item = Result<&[u8], String>> {
    Fields(message).filter_map(move |field| match field {
        Ok((number, value)) => (number == wanted).then(|| value.bytes()),
        Err(error) => Some(Err(error)),
    })
}

/// The message of a field that is there once; empty when it is not there.
fn one(message: &[u8], wanted: u64) -> Result<&[u8], String> {
    each(message, wanted).try_fold(&[][..], |_, found| found)
}

pub(super) fn spans(body: &[u8]) -> Result<Exported, String> {
    export(body, Packer::new(&SPANS), |packer, span| {
        if kind(span)? == SERVER {
            packer.item(&span_json(span)?);
        }
        Ok(())
    })
}

pub(super) fn log_records(body: &[u8]) -> Result<Exported, String> {
    export(body, Packer::new(&logs::NAMES), |packer, log| {
        logs::push(packer, &log_json(log)?)
    })
}

/// Both requests have their lists under the same numbers.
fn export(
    body: &[u8],
    mut packer: Packer,
    mut push: impl FnMut(&mut Packer, &[u8]) -> Result<(), String>,
) -> Result<Exported, String> {
    for of_resource in each(body, 1) {
        let of_resource = of_resource?;
        let mut resource = "{\"attributes\":".to_owned();
        attributes(&mut resource, one(of_resource, 1)?, 1)?;
        resource.push('}');
        for of_scope in each(of_resource, 2) {
            let of_scope = of_scope?;
            let scope = one(of_scope, 1)?;
            let mut written = "{\"name\":".to_owned();
            text(&mut written, one(scope, 1)?);
            written.push_str(",\"version\":");
            text(&mut written, one(scope, 2)?);
            written.push('}');
            packer.group(&resource, &written);
            for item in each(of_scope, 2) {
                push(&mut packer, item?)?;
            }
        }
    }
    Ok(packer.finish())
}

/// `partial_success` with what was rejected and why; empty if nothing was.
pub(super) fn answer(n_rejected: u64, why: &str) -> Vec<u8> {
    if n_rejected == 0 {
        return Vec::new();
    }
    let mut partial = vec![1 << 3];
    put_varint(&mut partial, n_rejected);
    put_bytes(&mut partial, 2, why.as_bytes());
    let mut answer = Vec::new();
    put_bytes(&mut answer, 1, &partial);
    answer
}

/// A status of which only `message` is said; the rest HTTP tells.
pub(super) fn status(why: &str) -> Vec<u8> {
    let mut status = Vec::new();
    put_bytes(&mut status, 2, why.as_bytes());
    status
}

/// A status with a `RetryInfo` among its details.
pub(super) fn status_to_retry(code: u8, why: &str, seconds: u8) -> Vec<u8> {
    let mut delay = vec![1 << 3];
    put_varint(&mut delay, seconds.into());
    let (mut retry, mut any) = (Vec::new(), Vec::new());
    put_bytes(&mut retry, 1, &delay);
    put_bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
    put_bytes(&mut any, 2, &retry);
    let mut out = vec![1 << 3];
    put_varint(&mut out, code.into());
    put_bytes(&mut out, 2, why.as_bytes());
    put_bytes(&mut out, 3, &any);
    out
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while 0x80 <= number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn kind(span: &[u8]) -> Result<u64, String> {
    let mut kind = 0;
    for field in Fields(span) {
        if let (KIND, value) = field? {
            kind = value.number()?;
        }
    }
    Ok(kind)
}

fn span_json(span: &[u8]) -> Result<String, String> {
    let mut out = "{".to_owned();
    for field in Fields(span) {
        let (number, value) = field?;
        match number {
            1 => hex(&mut out, "traceId", value.bytes()?),
            2 => hex(&mut out, "spanId", value.bytes()?),
            4 => hex(&mut out, "parentSpanId", value.bytes()?),
            5 => {
                out.push_str("\"name\":");
                text(&mut out, value.bytes()?);
                out.push(',');
            }
            7 => time(&mut out, "startTimeUnixNano", value.number()?),
            8 => time(&mut out, "endTimeUnixNano", value.number()?),
            _ => (),
        }
    }
    out.push_str("\"kind\":2,\"attributes\":");
    attributes(&mut out, span, 9)?;
    out.push('}');
    Ok(out)
}

fn log_json(log: &[u8]) -> Result<String, String> {
    let (mut out, mut body) = ("{".to_owned(), None);
    for field in Fields(log) {
        let (number, value) = field?;
        match number {
            1 => time(&mut out, "timeUnixNano", value.number()?),
            11 => time(&mut out, "observedTimeUnixNano", value.number()?),
            9 => hex(&mut out, "traceId", value.bytes()?),
            10 => hex(&mut out, "spanId", value.bytes()?),
            // Of one that is there twice the last counts.
            5 => body = Some(value.bytes()?),
            _ => (),
        }
    }
    if let Some(body) = body {
        out.push_str("\"body\":");
        any_value(&mut out, body, 0)?;
        out.push(',');
    }
    out.push_str("\"attributes\":");
    attributes(&mut out, log, 6)?;
    out.push('}');
    Ok(out)
}

fn hex(out: &mut String, name: &str, bytes: &[u8]) {
    // Ids have 8 or 16 bytes.
    let digits: String = bytes.iter().take(16).map(|b| format!("{b:02x}")).collect();
    out.push_str(&format!("\"{name}\":\"{digits}\","));
}

fn time(out: &mut String, name: &str, ns: u64) {
    out.push_str(&format!("\"{name}\":\"{ns}\","));
}

/// A text as JSON; bytes that are no UTF-8 are replaced.
fn text(out: &mut String, bytes: &[u8]) {
    let value = serde_json::Value::String(String::from_utf8_lossy(bytes).into_owned());
    out.push_str(&value.to_string());
}

/// An array of `KeyValue`, which are this field of a message.
fn attributes(out: &mut String, message: &[u8], field: u64) -> Result<(), String> {
    out.push('[');
    key_values(out, message, field, 0)?;
    out.push(']');
    Ok(())
}

fn key_values(out: &mut String, message: &[u8], field: u64, depth: usize) -> Result<(), String> {
    for (at, pair) in each(message, field).enumerate() {
        let pair = pair?;
        out.push_str(if at == 0 { "{\"key\":" } else { ",{\"key\":" });
        text(out, one(pair, 1)?);
        out.push_str(",\"value\":");
        any_value(out, one(pair, 2)?, depth)?;
        out.push('}');
    }
    Ok(())
}

fn any_value(out: &mut String, message: &[u8], depth: usize) -> Result<(), String> {
    // Of a one-of the last counts.
    let last = Fields(message).try_fold(None, |_, field| field.map(Some))?;
    match last {
        Some((1, value)) => {
            out.push_str("{\"stringValue\":");
            text(out, value.bytes()?);
            out.push('}');
        }
        Some((2, value)) => {
            let is_true = value.number()? != 0;
            out.push_str(&format!("{{\"boolValue\":{is_true}}}"));
        }
        Some((3, value)) => {
            let number = value.number()?.cast_signed();
            out.push_str(&format!("{{\"intValue\":\"{number}\"}}"));
        }
        Some((4, value)) => {
            let number = f64::from_bits(value.number()?);
            let number = serde_json::Value::from(number);
            out.push_str(&format!("{{\"doubleValue\":{number}}}"));
        }
        Some((5, value)) if depth < DEPTH_MAX => {
            out.push_str("{\"arrayValue\":{\"values\":[");
            for (at, value) in each(value.bytes()?, 1).enumerate() {
                if at != 0 {
                    out.push(',');
                }
                any_value(out, value?, depth + 1)?;
            }
            out.push_str("]}}");
        }
        Some((6, value)) if depth < DEPTH_MAX => {
            out.push_str("{\"kvlistValue\":{\"values\":[");
            key_values(out, value.bytes()?, 1, depth + 1)?;
            out.push_str("]}}");
        }
        Some((7, value)) => {
            let bytes = BASE64_STANDARD.encode(value.bytes()?);
            out.push_str(&format!("{{\"bytesValue\":\"{bytes}\"}}"));
        }
        // What is too deep, or of no type.
        _ => out.push_str("{}"),
    }
    Ok(())
}
