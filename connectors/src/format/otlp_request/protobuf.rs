//! The protobuf encoding of export requests (`opentelemetry/proto/collector/trace/v1`, OTLP 1.9), field by field into JSON.
//!
//! Written out rather than generated: seven messages of which a few fields are wanted, and no copy of what is not. What is not
//! known is passed over, as protobuf asks. **Invariant**: no more nesting than [`DEPTH_MAX`] is followed, and nothing is read
//! outside the bytes of its message.

use super::{Exported, Packer};

/// Nesting of attributes that is kept; deeper values are left empty. Headers are an array of texts: two levels.
const DEPTH_MAX: usize = 4;

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

pub(super) fn export(body: &[u8]) -> Result<Exported, String> {
    let mut packer = Packer::default();
    for resource_spans in each(body, 1) {
        let resource_spans = resource_spans?;
        let mut resource = "{\"attributes\":".to_owned();
        attributes(&mut resource, one(resource_spans, 1)?, 1)?;
        resource.push('}');
        for scope_spans in each(resource_spans, 2) {
            let scope_spans = scope_spans?;
            let scope = one(scope_spans, 1)?;
            let mut written = "{\"name\":".to_owned();
            text(&mut written, one(scope, 1)?);
            written.push_str(",\"version\":");
            text(&mut written, one(scope, 2)?);
            written.push('}');
            packer.group(&resource, &written);
            for span in each(scope_spans, 2) {
                let span = span?;
                if kind(span)? == SERVER {
                    packer.span(&span_json(span)?);
                }
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
        // Bytes, which no call has, and what is too deep.
        _ => out.push_str("{}"),
    }
    Ok(())
}
