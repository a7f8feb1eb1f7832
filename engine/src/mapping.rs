//! Mappings: any other log as events, by SQL over its lines.
//!
//! ```toml
//! [mapping.orders]
//! where = "json_get(raw, 'kind') = 'access'"
//! fields = { event_time = "json_get(raw, 'ts')", method = "json_get(raw, 'verb')", path = "json_get(raw, 'url')" }
//! ```
//!
//! A mapping is named and used like a format. Each expression is planned once, within the bounds of rules, and evaluated on many
//! lines at a time ([`compile`], [`read`]); what its values mean is up to [`connectors::format::mapped`]. **Invariant**: what a
//! record becomes depends on the record alone. Must not know: files, topics, what becomes of events.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use connectors::event::DecodedBatch;
use connectors::format::{Decoder, Format, SourceRecord, mapped};
use serde::Deserialize;

pub mod compile;
pub mod read;
pub mod suggest;

pub use compile::Mapping;

/// Mappings of one configuration or file.
pub type Mappings = BTreeMap<String, MappingConfig>;

/// How the lines of one log become events.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct MappingConfig {
    /// Regular expression whose named groups are text columns; a line it does not match is rejected. None for JSON.
    pub pattern: Option<String>,
    /// Condition in SQL: a line on which it does not hold is no call, neither an event nor a dead letter.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// Fields of the event, each an expression in SQL over `raw`, the line, and the pattern's groups.
    pub fields: BTreeMap<String, String>,
}

/// What is wrong with mappings, all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct MappingFaults(pub Vec<String>);

/// Mappings among other keys, as a file of mappings and a whole configuration have them.
#[derive(Deserialize)]
struct MappingFile {
    #[serde(default)]
    mapping: Mappings,
}

/// The mapping of a file; `FILE#NAME` picks one of several.
///
/// # Errors
/// The file can't be read or is no TOML, it holds none or more than one, or every fault of the mapping.
pub fn load(place: &str) -> Result<Arc<Mapping>, MappingFaults> {
    let fault = |text: String| MappingFaults(vec![text]);
    let (path, wanted) = match place.rsplit_once('#') {
        Some((path, name)) if !Path::new(place).exists() => (path, Some(name)),
        _ => (place, None),
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| fault(format!("cannot read the mapping {path}: {error}")))?;
    // The message alone: the line it would quote may hold a password.
    let file: MappingFile = toml::from_str(&text)
        .map_err(|error| fault(format!("the mapping {path}: {}", error.message())))?;
    let names: Vec<&str> = file.mapping.keys().map(String::as_str).collect();
    let name = match (wanted, names.as_slice()) {
        (Some(name), _) => name,
        (None, [name]) => name,
        (None, []) => {
            return Err(fault(format!(
                "{path} holds no mapping: it wants a table [mapping.NAME] with fields; `tollwatch map suggest` writes one"
            )));
        }
        (None, names) => {
            let names = names.join(", ");
            return Err(fault(format!(
                "{path} holds the mappings {names}: give {path}#NAME"
            )));
        }
    };
    match file.mapping.get(name) {
        Some(config) => Mapping::compile(name, config).map(Arc::new),
        None => Err(fault(format!(
            "{path} holds no mapping {name}, there are: {}",
            names.join(", ")
        ))),
    }
}

/// How a source is read: by a decoder of this program, or by a mapping.
#[derive(Clone, Debug)]
pub enum SourceFormat {
    /// A decoder, or whichever fits.
    Known(Format),
    /// A mapping.
    Mapped(Arc<Mapping>),
}

impl SourceFormat {
    /// The mapping of a place as [`load`] takes it, or else a format.
    ///
    /// # Errors
    /// As [`load`].
    pub fn given(format: Format, mapping: Option<&str>) -> Result<SourceFormat, MappingFaults> {
        match mapping {
            Some(place) => load(place).map(SourceFormat::Mapped),
            None => Ok(format.into()),
        }
    }

    /// The format or mapping of that name.
    ///
    /// # Errors
    /// There is none, or every fault of the mapping.
    pub fn named(name: &str, mappings: &Mappings) -> Result<SourceFormat, MappingFaults> {
        match mappings.get(name) {
            Some(config) => Ok(SourceFormat::Mapped(Arc::new(Mapping::compile(
                name, config,
            )?))),
            None => name.parse().map(SourceFormat::Known).map_err(
                |error: connectors::format::UnknownFormatName| {
                    let names: Vec<&str> = mappings.keys().map(String::as_str).collect();
                    let names = match names.is_empty() {
                        true => "there is no [mapping.NAME]".to_owned(),
                        false => format!("mappings are {}", names.join(", ")),
                    };
                    MappingFaults(vec![format!("{error}; {names}")])
                },
            ),
        }
    }
}

impl From<Format> for SourceFormat {
    fn from(format: Format) -> SourceFormat {
        SourceFormat::Known(format)
    }
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceFormat::Known(format) => format.fmt(f),
            SourceFormat::Mapped(mapping) => f.write_str(mapping.name()),
        }
    }
}

/// Decodes records of one source.
#[derive(Clone, Debug)]
pub enum Reader {
    /// By a decoder.
    Known(Decoder),
    /// By a mapping.
    Mapped(Arc<Mapping>),
}

impl Reader {
    /// A reader that has read nothing.
    pub fn new(format: &SourceFormat) -> Reader {
        match format {
            SourceFormat::Known(format) => Reader::Known(Decoder::new(*format)),
            SourceFormat::Mapped(mapping) => Reader::Mapped(mapping.clone()),
        }
    }

    /// Decodes records into one batch, in order; never fails for one record.
    pub fn decode(&mut self, records: &[SourceRecord<'_>]) -> DecodedBatch {
        match self {
            Reader::Known(decoder) => decoder.decode(records),
            Reader::Mapped(mapping) => mapped::decode(mapping.as_ref(), records),
        }
    }

    /// The format of the last record decoded; none before the first when it is detected.
    pub fn detected(&self) -> Option<SourceFormat> {
        match self {
            Reader::Known(decoder) => decoder.detected().map(SourceFormat::Known),
            Reader::Mapped(mapping) => Some(SourceFormat::Mapped(mapping.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
