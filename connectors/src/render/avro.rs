//! Avro: an alert as one record of a schema that is kept beside this file, for Kafka with a schema registry and for files.
//!
//! | name | type | of the alert |
//! |---|---|---|
//! | `id`, `case`, `class`, `activity`, `severity`, `rule` | text | `uid`, `case_uid`, `alert` or `posture`, `activity`, `severity`, `rule` |
//! | `time`, `first_seen`, `last_seen` | milliseconds since 1970 (`timestamp-millis`) | `time_ms`, `first_ms`, `last_ms` |
//! | `severity_id`, `n_findings` | number | the same |
//! | `title`, `rule_title`, `rule_version`, `description`, `identity`, `endpoint`, `host`, `method`, `path`, `user_agent`, `source_ip`, `country`, `remediation`, `product_version` | text or null | the same; null where the alert has none |
//! | `status`, `asn` | number or null | of the call |
//! | `owasp`, `cwe`, `attack`, `compliance`, `reasons` | texts | the same |
//!
//! The names are those of [`super::flat`]. No text is cut: each has at most 4 KiB.
//!
//! A schema that was released is never changed: another is a file of its own, whose fields differ from the one before only in fields
//! that were added or left out. Each field has a default, so that old and new readers and writers understand each other (`FULL`
//! compatibility of a registry).
//!
//! Source: *Apache Avro 1.12.0 Specification*, sections *Binary encoding* and *Object Container Files*; Confluent Platform 8.1,
//! *Wire format*. Own code rather than the project's crate (`apache-avro` 0.22): its features of `uuid` and `num-bigint` are others than
//! those DataFusion is built with, and what is written here is one flat record.

use std::io::{self, Write};

use super::Alert;

/// The schema that is written by, version 1.
pub const SCHEMA: &str = include_str!("avro/alert-1.avsc");

/// Bytes of a file's block before it is written: readers take one at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// A field's value; each variant is one type of the schema.
#[derive(Debug)]
enum Field<'a> {
    Text(&'a str),
    /// Null when it is empty.
    MaybeText(&'a str),
    /// `int`, `long` and times are written alike.
    Number(i64),
    MaybeNumber(Option<i64>),
    Texts(&'a [String]),
}

/// An alert in Confluent's wire format: a zero, the schema's id in the registry, the record in Avro's binary encoding.
pub fn value(alert: &Alert, schema_id: u32) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&schema_id.to_be_bytes());
    record(alert, |_, field| put(&mut out, &field));
    out
}

/// Gives the fields with their names, in the schema's order.
fn record(alert: &Alert, mut each: impl FnMut(&'static str, Field<'_>)) {
    let call = &alert.call;
    let source_ip = call.source_ip.map(|ip| ip.to_string()).unwrap_or_default();
    let class = if alert.is_posture { "posture" } else { "alert" };
    let n_findings = i64::try_from(alert.n_findings).unwrap_or(i64::MAX);
    each("id", Field::Text(&alert.uid));
    each("case", Field::Text(&alert.case_uid));
    each("class", Field::Text(class));
    each("activity", Field::Text(alert.activity));
    each("time", Field::Number(alert.time_ms));
    each("first_seen", Field::Number(alert.first_ms));
    each("last_seen", Field::Number(alert.last_ms));
    each("severity", Field::Text(alert.severity()));
    each("severity_id", Field::Number(alert.severity_id.into()));
    each("n_findings", Field::Number(n_findings));
    each("title", Field::MaybeText(&alert.title));
    each("rule", Field::Text(&alert.rule));
    each("rule_title", Field::MaybeText(alert.rule_title()));
    each("rule_version", Field::MaybeText(&alert.rule_version));
    each("description", Field::MaybeText(&alert.description));
    each("identity", Field::MaybeText(&alert.identity));
    each("endpoint", Field::MaybeText(&alert.endpoint.uid));
    each("host", Field::MaybeText(&alert.endpoint.host));
    each("method", Field::MaybeText(alert.method()));
    each("path", Field::MaybeText(&call.path));
    each("status", Field::MaybeNumber(call.status.map(i64::from)));
    each("source_ip", Field::MaybeText(&source_ip));
    let country = call.country.as_deref().unwrap_or_default();
    each("country", Field::MaybeText(country));
    each("asn", Field::MaybeNumber(call.asn.map(i64::from)));
    each("user_agent", Field::MaybeText(&call.user_agent));
    each("owasp", Field::Texts(&alert.owasp));
    each("cwe", Field::Texts(&alert.cwe));
    each("attack", Field::Texts(&alert.techniques));
    each("compliance", Field::Texts(&alert.compliance));
    each("reasons", Field::Texts(&alert.reasons));
    each("remediation", Field::MaybeText(&alert.remediation));
    each("product_version", Field::MaybeText(&alert.product_version));
}

fn put(out: &mut Vec<u8>, field: &Field<'_>) {
    match field {
        Field::Text(text) => put_bytes(out, text.as_bytes()),
        // Of a union the branch comes first: null is the one with number 0.
        Field::MaybeText("") | Field::MaybeNumber(None) => put_long(out, 0),
        Field::MaybeText(text) => {
            put_long(out, 1);
            put_bytes(out, text.as_bytes());
        }
        Field::Number(number) => put_long(out, *number),
        Field::MaybeNumber(Some(number)) => {
            put_long(out, 1);
            put_long(out, *number);
        }
        Field::Texts(texts) => {
            // One block, and the empty one that ends an array.
            if !texts.is_empty() {
                put_long(out, texts.len() as i64);
                texts
                    .iter()
                    .for_each(|text| put_bytes(out, text.as_bytes()));
            }
            put_long(out, 0);
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// A zigzag number, the lowest 7 bits first.
fn put_long(out: &mut Vec<u8>, number: i64) {
    let mut bits = (number << 1 ^ number >> 63).cast_unsigned();
    while 0x80 <= bits {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// An object container file: the schema, then alerts in blocks. The same alerts give the same bytes.
pub struct AvroFile<W> {
    to: W,
    block: Vec<u8>,
    n_in_block: i64,
    /// What stands between blocks; made of the first.
    mark: Option<[u8; 16]>,
}

impl<W: Write> AvroFile<W> {
    /// Begins a file.
    pub fn new(to: W) -> AvroFile<W> {
        AvroFile {
            to,
            block: Vec::new(),
            n_in_block: 0,
            mark: None,
        }
    }

    /// Adds an alert.
    ///
    /// # Errors
    /// Those of writing.
    pub fn push(&mut self, alert: &Alert) -> io::Result<()> {
        record(alert, |_, field| put(&mut self.block, &field));
        self.n_in_block += 1;
        match BLOCK_BYTES <= self.block.len() {
            true => self.write_block(),
            false => Ok(()),
        }
    }

    /// Writes what is left; a file without alerts has its schema all the same.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> io::Result<()> {
        if self.n_in_block != 0 || self.mark.is_none() {
            self.write_block()?;
        }
        self.to.flush()
    }

    fn write_block(&mut self) -> io::Result<()> {
        let mark = match self.mark {
            Some(mark) => mark,
            None => self.begin()?,
        };
        if self.n_in_block != 0 {
            let mut head = Vec::new();
            put_long(&mut head, self.n_in_block);
            put_long(&mut head, self.block.len() as i64);
            self.to.write_all(&head)?;
            self.to.write_all(&self.block)?;
            self.to.write_all(&mark)?;
        }
        self.block.clear();
        self.n_in_block = 0;
        Ok(())
    }

    fn begin(&mut self) -> io::Result<[u8; 16]> {
        // Whoever writes a text that stands in the block can't also write what its hash is.
        let hash = blake3::hash(&self.block);
        let mut mark = [0; 16];
        mark.copy_from_slice(&hash.as_bytes()[..16]);
        let mut head = b"Obj\x01".to_vec();
        put_long(&mut head, 2);
        for (key, value) in [("avro.schema", SCHEMA), ("avro.codec", "null")] {
            put_bytes(&mut head, key.as_bytes());
            put_bytes(&mut head, value.as_bytes());
        }
        put_long(&mut head, 0);
        head.extend_from_slice(&mark);
        self.to.write_all(&head)?;
        self.mark = Some(mark);
        Ok(mark)
    }
}

#[cfg(test)]
mod tests;
