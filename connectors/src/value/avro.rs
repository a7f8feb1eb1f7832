//! Avro's binary encoding as JSON, by the schema it was written by.
//!
//! | Avro | JSON |
//! |---|---|
//! | null, boolean, int, long, float, double | the same; a float that is no number is null |
//! | string, bytes, fixed, enum | text; bytes that are no UTF-8 as base64 |
//! | `decimal` of bytes or fixed | a number |
//! | other logical types | as what they stand on: times are numbers, whose unit follows from their magnitude |
//! | record, map | an object |
//! | array | an array |
//! | union | the value alone, without its branch's name |
//!
//! A schema that is one string or one `bytes` is a line of a log: its text stands for itself, without quotes. Confluent's serializer
//! writes such `bytes` without their length.
//!
//! Source: *Apache Avro 1.12.0 Specification*, sections *Schema Declaration* and *Binary encoding*. Own code rather than the project's
//! crate: that builds a tree of each value, and its features of `uuid` and `num-bigint` are others than those DataFusion is built with.
//!
//! **Invariant**: every step of [`Decoder::value`] writes at least one byte, so the bound of the output bounds the work too, also of
//! arrays whose elements take no bytes; depth is bounded by [`DEPTH_MAX`], for schemas that hold themselves.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Refusal;
use super::registry::Text;
use crate::format::RECORD_BYTES_MAX;

/// Values one in the other. Decoders look at three levels or four.
const DEPTH_MAX: usize = 64;

/// Digits after the point of a decimal.
const SCALE_MAX: u64 = 64;

/// A schema: its types, named ones by their place, so that a type can hold itself.
#[derive(Debug)]
pub(super) struct Schema {
    types: Vec<Type>,
    root: usize,
}

#[derive(Clone, Debug)]
enum Type {
    Null,
    Boolean,
    /// `int` and `long`.
    Integer,
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    /// A decimal, of so many bytes or with its length before it, and its digits after the point.
    Decimal(Option<usize>, usize),
    Record(Vec<(String, usize)>),
    Enum(Vec<String>),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
}

impl Schema {
    /// Reads a schema, after those it refers to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(texts: &[Text]) -> Result<Schema, String> {
        let mut parser = Parser::default();
        let mut root = None;
        for text in texts {
            let json: Value =
                serde_json::from_str(&text.text).map_err(|error| format!("is no JSON: {error}"))?;
            root = Some(parser.parse(&json, "")?);
        }
        Ok(Schema {
            root: root.ok_or("is empty")?,
            types: parser.types,
        })
    }

    /// What a value says, as text.
    pub(super) fn text(&self, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut decoder = Decoder {
            types: &self.types,
            rest: bytes,
            out: Vec::with_capacity(2 * bytes.len()),
        };
        match self.types[self.root] {
            Type::Text => {
                let line = decoder.counted()?;
                decoder.out.extend_from_slice(line);
            }
            Type::Bytes => {
                let line = decoder.take(bytes.len())?;
                decoder.out.extend_from_slice(line);
            }
            _ => decoder.value(self.root, 0)?,
        }
        match decoder.rest.len() {
            0 => Ok(decoder.out),
            n => Err(Refusal::malformed(format!(
                "{n} bytes of Avro after the value; its schema is another"
            ))),
        }
    }
}

#[derive(Default)]
struct Parser {
    types: Vec<Type>,
    /// Places of the named types, by their full names.
    names: HashMap<String, usize>,
}

impl Parser {
    fn add(&mut self, of: Type) -> usize {
        self.types.push(of);
        self.types.len() - 1
    }

    /// Reads a type within a namespace; says where it is.
    fn parse(&mut self, json: &Value, namespace: &str) -> Result<usize, String> {
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|of| self.parse(of, namespace));
                let branches = branches.collect::<Result<_, _>>()?;
                Ok(self.add(Type::Union(branches)))
            }
            Value::Object(of) => self.declared(of, namespace),
            _ => Err("has a type that is neither text, object nor array".to_owned()),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<usize, String> {
        let simple = match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" | "long" => Type::Integer,
            "float" => Type::Float,
            "double" => Type::Double,
            "string" => Type::Text,
            "bytes" => Type::Bytes,
            name => {
                let found = self.names.get(&full_name(name, namespace));
                let found = found.or_else(|| self.names.get(name)).copied();
                return found.ok_or_else(|| format!("names a type {name:?} that it does not have"));
            }
        };
        Ok(self.add(simple))
    }

    fn declared(&mut self, of: &Map<String, Value>, namespace: &str) -> Result<usize, String> {
        let kind = match of.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(inner) => return self.parse(inner, namespace),
            None => return Err("has a type without \"type\"".to_owned()),
        };
        let decimal = match of.get("logicalType").and_then(Value::as_str) {
            Some("decimal") => Some(of.get("scale").and_then(Value::as_u64).unwrap_or(0)),
            _ => None,
        };
        if decimal.is_some_and(|scale| SCALE_MAX < scale) {
            return Err(format!(
                "has a decimal of more than {SCALE_MAX} digits after its point"
            ));
        }
        let scale = decimal.map(|scale| scale as usize);
        match kind {
            "record" | "error" | "enum" | "fixed" => self.definition(kind, of, scale, namespace),
            "array" => {
                let items = of.get("items").ok_or("has an array without \"items\"")?;
                let items = self.parse(items, namespace)?;
                Ok(self.add(Type::Array(items)))
            }
            "map" => {
                let values = of.get("values").ok_or("has a map without \"values\"")?;
                let values = self.parse(values, namespace)?;
                Ok(self.add(Type::Map(values)))
            }
            "bytes" if scale.is_some() => Ok(self.add(Type::Decimal(None, scale.unwrap_or(0)))),
            name => self.named(name, namespace),
        }
    }

    fn definition(
        &mut self,
        kind: &str,
        of: &Map<String, Value>,
        scale: Option<usize>,
        namespace: &str,
    ) -> Result<usize, String> {
        let name = of.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| format!("has a {kind} without \"name\""))?;
        let own = of.get("namespace").and_then(Value::as_str);
        let name = full_name(name, own.unwrap_or(namespace));
        // The place is known before what is there: a record may hold itself.
        let at = self.add(Type::Null);
        self.names.insert(name.clone(), at);
        let within = name.rsplit_once('.').map_or("", |(within, _)| within);
        self.types[at] = match kind {
            "enum" => {
                let symbols = of.get("symbols").and_then(Value::as_array);
                let symbols = symbols.into_iter().flatten().filter_map(Value::as_str);
                Type::Enum(symbols.map(str::to_owned).collect())
            }
            "fixed" => {
                let size = of.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("has a fixed without \"size\"")?;
                scale.map_or(Type::Fixed(size), |scale| Type::Decimal(Some(size), scale))
            }
            _ => {
                let fields = of.get("fields").and_then(Value::as_array);
                let fields = fields.ok_or("has a record without \"fields\"")?;
                let field = |field: &Value| {
                    let name = field.get("name").and_then(Value::as_str);
                    let name = name.ok_or("has a field without \"name\"")?;
                    let of = field.get("type").ok_or("has a field without \"type\"")?;
                    Ok::<_, String>((name.to_owned(), self.parse(of, within)?))
                };
                Type::Record(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
        };
        Ok(at)
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match namespace {
        _ if name.contains('.') => name.to_owned(),
        "" => name.to_owned(),
        namespace => format!("{namespace}.{name}"),
    }
}

struct Decoder<'a> {
    types: &'a [Type],
    rest: &'a [u8],
    out: Vec<u8>,
}

impl<'a> Decoder<'a> {
    /// Writes the next value.
    fn value(&mut self, at: usize, depth: usize) -> Result<(), Refusal> {
        if RECORD_BYTES_MAX < self.out.len() {
            return Err(Refusal::oversized("the value as text"));
        }
        if DEPTH_MAX <= depth {
            return Err(Refusal::malformed(format!(
                "more than {DEPTH_MAX} values of Avro one in the other"
            )));
        }
        match &self.types[at] {
            Type::Null => self.write(&()),
            Type::Boolean => {
                let is_true = self.take(1)? != [0];
                self.write(&is_true);
            }
            Type::Integer => {
                let number = self.long()?;
                self.write(&number);
            }
            Type::Float => {
                let bytes = self.array()?;
                self.write(&f32::from_le_bytes(bytes));
            }
            Type::Double => {
                let bytes = self.array()?;
                self.write(&f64::from_le_bytes(bytes));
            }
            Type::Text | Type::Bytes => {
                let bytes = self.counted()?;
                self.write_text(bytes);
            }
            Type::Fixed(size) => {
                let bytes = self.take(*size)?;
                self.write_text(bytes);
            }
            Type::Decimal(size, scale) => {
                let bytes = match size {
                    Some(size) => self.take(*size)?,
                    None => self.counted()?,
                };
                match decimal(bytes, *scale) {
                    Some(number) => self.out.extend_from_slice(number.as_bytes()),
                    None => self.write(&BASE64_STANDARD.encode(bytes)),
                }
            }
            Type::Enum(symbols) => {
                let symbol = self.choice(symbols, "symbol of an enum")?;
                self.write(symbol);
            }
            Type::Union(branches) => {
                let branch = *self.choice(branches, "branch of a union")?;
                self.value(branch, depth + 1)?;
            }
            Type::Record(fields) => {
                self.out.push(b'{');
                for (n, (name, of)) in fields.iter().enumerate() {
                    self.key(n, name.as_bytes());
                    self.value(*of, depth + 1)?;
                }
                self.out.push(b'}');
            }
            Type::Array(items) => {
                self.out.push(b'[');
                self.blocks(|decoder, n| {
                    if n != 0 {
                        decoder.out.push(b',');
                    }
                    decoder.value(*items, depth + 1)
                })?;
                self.out.push(b']');
            }
            Type::Map(values) => {
                self.out.push(b'{');
                self.blocks(|decoder, n| {
                    let key = decoder.counted()?;
                    decoder.key(n, key);
                    decoder.value(*values, depth + 1)
                })?;
                self.out.push(b'}');
            }
        }
        Ok(())
    }

    /// Reads the blocks of an array or a map: `each` is told the number of its element.
    fn blocks(
        &mut self,
        mut each: impl FnMut(&mut Self, usize) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut n = 0;
        loop {
            let count = self.long()?;
            if count < 0 {
                // The block's length, for who skips it.
                self.long()?;
            }
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count.unsigned_abs() {
                each(self, n)?;
                n += 1;
            }
        }
    }

    fn choice<'t, T>(&mut self, of: &'t [T], what: &str) -> Result<&'t T, Refusal> {
        let n = self.long()?;
        let chosen = usize::try_from(n).ok().and_then(|n| of.get(n));
        chosen.ok_or_else(|| Refusal::malformed(format!("there is no {what} with number {n}")))
    }

    fn key(&mut self, n: usize, name: &[u8]) {
        if n != 0 {
            self.out.push(b',');
        }
        self.write(&String::from_utf8_lossy(name));
        self.out.push(b':');
    }

    fn write_text(&mut self, bytes: &[u8]) {
        match str::from_utf8(bytes) {
            Ok(text) => self.write(text),
            Err(_) => self.write(&BASE64_STANDARD.encode(bytes)),
        }
    }

    fn write(&mut self, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(&mut self.out, value).expect("a vector takes every number and text");
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Refusal> {
        let taken = self.rest.split_at_checked(n);
        let (taken, rest) = taken.ok_or_else(|| Refusal::malformed("the Avro value ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("as many as were asked for"))
    }

    /// Bytes with their length before them.
    fn counted(&mut self) -> Result<&'a [u8], Refusal> {
        let n = self.long()?;
        let n = usize::try_from(n);
        self.take(n.map_err(|_| Refusal::malformed("a length of Avro is below 0"))?)
    }

    /// A zigzag number of up to 10 bytes, the lowest 7 bits first.
    fn long(&mut self) -> Result<i64, Refusal> {
        let mut bits = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        Err(Refusal::malformed(
            "a number of Avro has more than 10 bytes",
        ))
    }
}

/// A two's-complement number, big endian, with so many digits after its point; `None` beyond 16 bytes.
fn decimal(bytes: &[u8], scale: usize) -> Option<String> {
    let first = *bytes.first()?;
    if 16 < bytes.len() {
        return None;
    }
    let sign = if first < 0x80 { 0 } else { -1 };
    let number = bytes
        .iter()
        .fold(sign, |number: i128, byte| number << 8 | i128::from(*byte));
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let minus = if number < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    Some(format!("{minus}{whole}{point}{fraction}"))
}
