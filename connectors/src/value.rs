//! Values: what a record of a topic holds becomes the text that a decoder reads.
//!
//! ```text
//! value -> packed? unpacked, once -> written by a schema of a registry? the JSON that says the same -> text, for a decoder
//! ```
//!
//! | value | told by | becomes |
//! |---|---|---|
//! | gzip, zstd, LZ4, Snappy | its first bytes, which neither JSON nor text begins with | what was packed |
//! | Confluent's wire format | a zero, then the schema's id in 4 bytes, big endian | by its schema: [Avro](avro), [Protobuf](protobuf) as JSON; JSON as it is |
//! | the same, the schema told by a header | [`SCHEMA_HEADER`]: a one, then the schema's GUID in 16 bytes; or a zero and an id | likewise |
//! | anything else | | as it is |
//!
//! Source: Confluent Platform 8.1, *Formats, Serializers, and Deserializers for Schema Registry*, section *Wire format*.
//!
//! What a value becomes depends on the value alone: a registry never gives an id to another schema. Nothing here waits: a schema
//! that is not there yet is an [`Unopened::Wanted`], [`Values::fetch`] asks for it once, and the caller keeps its place meanwhile.
//!
//! **Invariant**: no value makes more than [`RECORD_BYTES_MAX`] bytes, however it is packed or written.

mod avro;
mod compressed;
mod protobuf;
mod registry;
mod snappy;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use crate::format::RECORD_BYTES_MAX;
use crate::reject::{DETAIL_CHARS_MAX, RejectReason};
use registry::{Found, Kind, Registry};

pub use registry::{Away, RegistryConfig, Subject, Unregistered};

/// Header of a record that names the schema of its value.
pub const SCHEMA_HEADER: &str = "__value_schema_id";

/// Schemas kept. A topic has a few; beyond it those that were fetched first are fetched again when they are needed.
const SCHEMAS_MAX: usize = 256;

/// How long a schema is taken for missing, or for unusable, before it is asked for again: whoever mends it need not restart anything.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Which schema a value was written by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaId {
    /// Its number in the registry.
    Number(u32),
    /// Its number in all registries.
    Guid(u128),
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaId::Number(id) => write!(f, "{id}"),
            SchemaId::Guid(guid) => {
                let digits = format!("{guid:032x}");
                let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
                f.write_str(&parts.join("-"))
            }
        }
    }
}

/// A value that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is the text itself.
    AsItIs,
    /// The text it became, at most [`RECORD_BYTES_MAX`] bytes.
    Text(Vec<u8>),
}

impl Opened {
    /// The text of a value that was opened.
    pub fn text<'a>(&'a self, value: &'a [u8]) -> &'a [u8] {
        match self {
            Opened::AsItIs => value,
            Opened::Text(text) => text,
        }
    }

    /// Bytes that it holds beside the value.
    pub fn n_bytes(&self) -> usize {
        match self {
            Opened::AsItIs => 0,
            Opened::Text(text) => text.len(),
        }
    }
}

/// Why a value was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// It never will be: the record is a reject.
    Refused(Refusal),
    /// Its schema is to be fetched first.
    Wanted(SchemaId),
}

/// What is wrong with a value, or with its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why it can't be opened.
    pub reason: RejectReason,
    /// What is wrong.
    pub detail: String,
}

impl Refusal {
    fn malformed(detail: impl Into<String>) -> Refusal {
        Refusal {
            reason: RejectReason::Malformed,
            detail: detail.into(),
        }
    }

    fn oversized(what: &str) -> Refusal {
        Refusal {
            reason: RejectReason::Oversized,
            detail: format!("{what} is more than {RECORD_BYTES_MAX} bytes"),
        }
    }
}

/// A schema, ready for use, or what a value is refused for that names it.
enum Schema {
    Avro(avro::Schema),
    Protobuf(protobuf::Schema),
    Json,
    /// Why it can't be used, and when it is asked for again.
    Refused(String, Instant),
}

/// Opens the values of topics.
pub struct Values {
    registry: Option<Registry>,
    schemas: HashMap<SchemaId, Schema>,
    /// The schemas, in the order they came in.
    ids: VecDeque<SchemaId>,
}

impl Values {
    /// Opens values by the schemas of a registry, or without one.
    ///
    /// # Errors
    /// What must be changed of the registry's address, password or certificates.
    pub fn new(registry: Option<&RegistryConfig>) -> Result<Values, String> {
        Ok(Values {
            registry: registry.map(Registry::new).transpose()?,
            schemas: HashMap::new(),
            ids: VecDeque::new(),
        })
    }

    /// Asks the registry, when there is one, for a schema that it does not have, to see that it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn probe(&self) -> Result<(), Away> {
        let no_schema = SchemaId::Number(i32::MAX as u32);
        match &self.registry {
            Some(registry) => registry.schema(no_schema).map(drop),
            None => Ok(()),
        }
    }

    /// Opens a value; `header` is that of [`SCHEMA_HEADER`].
    ///
    /// # Errors
    /// It can't be opened, or not before its schema is there.
    pub fn open(&self, value: &[u8], header: Option<&[u8]>) -> Result<Opened, Unopened> {
        // Without a registry a header says nothing: what it tells the schema of may be JSON all the same.
        let header = header.filter(|_| self.has_registry());
        let unpacked = compressed::unpack(value, header.is_some()).map_err(Unopened::Refused)?;
        let packed = unpacked.as_deref().unwrap_or(value);
        let Some(framed) = Framed::read(packed, header) else {
            return Ok(unpacked.map_or(Opened::AsItIs, Opened::Text));
        };
        if !self.has_registry() {
            return Err(Unopened::Refused(Refusal {
                reason: RejectReason::UnknownSchema,
                detail: "written by a schema of a registry, and [registry] has no url".to_owned(),
            }));
        }
        self.written(&framed)
    }

    /// True when there is a registry, and so a header to be looked at.
    pub fn has_registry(&self) -> bool {
        self.registry.is_some()
    }

    fn written(&self, framed: &Framed<'_>) -> Result<Opened, Unopened> {
        let text = match self.schemas.get(&framed.id) {
            None => return Err(Unopened::Wanted(framed.id)),
            Some(Schema::Refused(_, until)) if *until <= Instant::now() => {
                return Err(Unopened::Wanted(framed.id));
            }
            Some(Schema::Refused(why, _)) => Err(Refusal {
                reason: RejectReason::UnknownSchema,
                detail: format!("schema {} {why}", framed.id),
            }),
            Some(Schema::Json) => Ok(framed.body.to_vec()),
            Some(Schema::Avro(schema)) => schema.text(framed.body),
            Some(Schema::Protobuf(schema)) => schema.text(framed.indexes, framed.body),
        };
        match text {
            Ok(text) if RECORD_BYTES_MAX < text.len() => {
                Err(Unopened::Refused(Refusal::oversized("the value as text")))
            }
            Ok(text) => Ok(Opened::Text(text)),
            Err(refusal) => Err(Unopened::Refused(refusal)),
        }
    }

    /// Asks the registry for a schema, once. What it says is kept, that there is none too.
    ///
    /// # Errors
    /// It does not answer, or not as a registry: to be tried again later.
    pub fn fetch(&mut self, id: SchemaId) -> Result<(), Away> {
        let Some(registry) = &self.registry else {
            return Ok(());
        };
        let made = match registry.schema(id)? {
            Found::Schema(Kind::Avro, texts) => avro::Schema::parse(&texts).map(Schema::Avro),
            Found::Schema(Kind::Protobuf, texts) => {
                protobuf::Schema::parse(&texts).map(Schema::Protobuf)
            }
            Found::Schema(Kind::Json, _) => Ok(Schema::Json),
            Found::Refused(why) => Err(why),
        };
        let refused = |why: String| {
            // It is said of each value.
            let why = why.chars().take(DETAIL_CHARS_MAX).collect();
            Schema::Refused(why, Instant::now() + REFUSED_FOR)
        };
        let schema = made.unwrap_or_else(refused);
        if self.schemas.insert(id, schema).is_none() {
            self.ids.push_back(id);
        }
        if SCHEMAS_MAX < self.ids.len()
            && let Some(oldest) = self.ids.pop_front()
        {
            self.schemas.remove(&oldest);
        }
        Ok(())
    }
}

/// A value taken apart.
struct Framed<'a> {
    id: SchemaId,
    /// Where the header says which message of a Protobuf schema it is; else the body says it.
    indexes: Option<&'a [u8]>,
    body: &'a [u8],
}

impl<'a> Framed<'a> {
    /// `None` when the value names no schema.
    fn read(value: &'a [u8], header: Option<&'a [u8]>) -> Option<Framed<'a>> {
        if let Some((id, rest)) = header.and_then(schema_id) {
            return Some(Framed {
                id,
                indexes: Some(rest),
                body: value,
            });
        }
        let (id, body) = schema_id(value)?;
        // Only in a header: a text may begin with a one.
        matches!(id, SchemaId::Number(_)).then_some(Framed {
            id,
            indexes: None,
            body,
        })
    }
}

/// The id that some bytes begin with, and the rest.
fn schema_id(bytes: &[u8]) -> Option<(SchemaId, &[u8])> {
    match bytes.split_first()? {
        (0, rest) => {
            let (id, rest) = rest.split_first_chunk()?;
            Some((SchemaId::Number(u32::from_be_bytes(*id)), rest))
        }
        (1, rest) => {
            let (guid, rest) = rest.split_first_chunk()?;
            Some((SchemaId::Guid(u128::from_be_bytes(*guid)), rest))
        }
        _ => None,
    }
}
