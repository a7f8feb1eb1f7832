//! Protobuf's binary encoding as JSON, by the schema it was written by.
//!
//! The JSON is that of Protobuf's own mapping, so times are RFC 3339, durations seconds, enums names, bytes base64, wrappers what they
//! wrap; but for two things, as a log that was JSON before has them:
//!
//! - Fields have the names of the schema's text, or their `json_name` where it has one: `request_uri`, not `requestUri`.
//! - Numbers of 64 bits are numbers.
//!
//! Fields that a message does not have are left out, but those that can't be told from a zero: a scalar of proto3 without `optional`
//! is there, so a status of 0 is one.
//!
//! Source: Google, *ProtoJSON Format*; Confluent's *Wire format* for the message indexes.
//!
//! **Invariant**: the JSON is bounded while it is written; depth is bounded by prost's 100.

use std::io::{self, Write};

use prost_reflect::prost_types::{DescriptorProto, FileDescriptorSet};
use prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor, SerializeOptions};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::Refusal;
use super::registry::Text;
use crate::format::RECORD_BYTES_MAX;

/// Name of the schema itself among the files it imports; a file of that name can't be one of them.
const MAIN: &str = "tollwatch/value.proto";

/// Brackets one in the other in a schema's text: the compiler calls itself for each.
const BRACKETS_MAX: usize = 64;

const OPTIONS: SerializeOptions = SerializeOptions::new()
    .stringify_64_bit_integers(false)
    .skip_default_fields(false);

/// A schema: a file of messages.
#[derive(Debug)]
pub(super) struct Schema {
    file: FileDescriptor,
}

struct Files(Vec<Text>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let text = match name {
            MAIN => self.0.last(),
            name => self.0.iter().rev().skip(1).find(|text| text.name == name),
        };
        let text = text.ok_or_else(|| protox::Error::file_not_found(name))?;
        File::from_source(name, &text.text)
    }
}

impl Schema {
    /// Reads a schema, which comes after those it imports.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(texts: &[Text]) -> Result<Schema, String> {
        if texts.iter().any(|text| BRACKETS_MAX < depth(&text.text)) {
            return Err(format!(
                "has more than {BRACKETS_MAX} brackets one in the other"
            ));
        }
        let mut resolver = ChainFileResolver::new();
        resolver.add(Files(texts.to_vec()));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        let compiled = compiler.open_file(MAIN);
        let mut files = compiled
            .map_err(|error| format!("can't be compiled: {error}"))?
            .file_descriptor_set();
        name_as_written(&mut files);
        let pool = DescriptorPool::from_file_descriptor_set(files);
        let pool = pool.map_err(|error| format!("can't be compiled: {error}"))?;
        let file = pool.get_file_by_name(MAIN).ok_or("is empty")?;
        Ok(Schema { file })
    }

    /// What a value says, as JSON. Which message it is stands in the header's `indexes`, or before it.
    pub(super) fn text(&self, indexes: Option<&[u8]>, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut before = indexes.unwrap_or(body);
        let path = message_indexes(&mut before)
            .ok_or_else(|| Refusal::malformed("the indexes of the Protobuf message end early"))?;
        let body = if indexes.is_some() { body } else { before };
        let (first, nested) = path.split_first().unwrap_or((&0, &[]));
        let message = self.file.messages().nth(*first).and_then(|message| {
            let mut nested = nested.iter();
            nested.try_fold(message, |within, n| within.child_messages().nth(*n))
        });
        let message = message.ok_or_else(|| {
            Refusal::malformed("the indexes name a message that the Protobuf schema does not have")
        })?;
        let message = DynamicMessage::decode(message, body)
            .map_err(|error| Refusal::malformed(format!("no such Protobuf message: {error}")))?;
        let mut out = Bounded(Vec::with_capacity(2 * body.len()));
        let mut serializer = serde_json::Serializer::new(&mut out);
        match message.serialize_with_options(&mut serializer, &OPTIONS) {
            Ok(()) => Ok(out.0),
            Err(error) if error.is_io() => Err(Refusal::oversized("the value as text")),
            Err(error) => Err(Refusal::malformed(format!("no JSON of it: {error}"))),
        }
    }
}

/// Gives fields their names as written, unless they were given one for JSON.
fn name_as_written(files: &mut FileDescriptorSet) {
    let mut messages: Vec<&mut DescriptorProto> = files
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type)
        .collect();
    while let Some(message) = messages.pop() {
        for field in &mut message.field {
            if field.json_name.as_deref() == Some(&camel(field.name())) {
                field.json_name.clone_from(&field.name);
            }
        }
        messages.extend(&mut message.nested_type);
    }
}

/// The name that Protobuf gives a field in JSON: no underscores, and what follows one in upper case.
fn camel(name: &str) -> String {
    let mut is_upper = false;
    let mut named = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '_' => is_upper = true,
            c if is_upper => {
                named.push(c.to_ascii_uppercase());
                is_upper = false;
            }
            c => named.push(c),
        }
    }
    named
}

/// Most brackets one in the other. Those of comments and texts count too, which no schema has many of.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' | b'(' | b'<' => depth += 1,
            b'}' | b']' | b')' | b'>' => depth = depth.saturating_sub(1),
            _ => (),
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Which message of a file it is, and which in that, and so on; none for the first.
fn message_indexes(rest: &mut &[u8]) -> Option<Vec<usize>> {
    let n = zigzag(rest)?;
    // One a byte at least, so no more than there are bytes.
    (0..n).map(|_| zigzag(rest)).collect()
}

/// A zigzag number, the lowest 7 bits first; `None` below 0, and beyond 32 bits.
fn zigzag(rest: &mut &[u8]) -> Option<usize> {
    let mut bits = 0_u64;
    for shift in (0..35).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        bits |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return (bits & 1 == 0).then(|| usize::try_from(bits >> 1).ok())?;
        }
    }
    None
}

/// Takes what is written, up to the length of a record.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if RECORD_BYTES_MAX < self.0.len() + bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
