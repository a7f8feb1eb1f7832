//! A mapping proposed from samples: which column of a log is which field, by what its values are first and its name second.
//!
//! ```text
//! lines -> columns (JSON paths, or words of text) -> facts of each -> the best column of each field -> TOML
//!  sample.rs           text.rs                       facts.rs         fields.rs, identity.rs           write.rs
//! ```
//!
//! What is shown of a line are the names of its columns and counts, never a value. Must not know: files, terminals.

use super::MappingConfig;
use sample::Sample;

pub mod facts;
pub mod fields;
pub mod identity;
pub mod sample;
mod text;
mod write;

pub use fields::Choice;
pub use identity::Identity;

/// Lines that are looked at.
pub const LINES_MAX: usize = 10_000;
/// Bytes of lines that are looked at.
pub const BYTES_MAX: usize = 32 << 20;
/// Envelopes of shippers that are tried.
const ENVELOPES_MAX: u8 = 2;

/// What a log seems to be.
#[derive(Debug)]
pub struct Proposal {
    /// The mapping.
    pub config: MappingConfig,
    /// As a table `[mapping.NAME]`, with the evidence in comments.
    pub toml: String,
    /// Lines looked at.
    pub n_lines: usize,
    /// Of these, the lines of the shape that the mapping reads.
    pub n_shaped: usize,
    /// True when lines are JSON objects.
    pub is_json: bool,
    /// The best columns of each field; the first of a field is the one that is mapped.
    pub choices: Vec<Choice>,
    /// The columns that could say who calls, best first.
    pub identities: Vec<Identity>,
    /// Required fields that no column seems to be.
    pub missing: Vec<&'static str>,
}

/// Proposes a mapping for a log.
///
/// * `payloads`: records, of which the first [`LINES_MAX`] lines and [`BYTES_MAX`] bytes are looked at.
pub fn propose(name: &str, payloads: &[Vec<u8>]) -> Proposal {
    let mut first = None;
    for n_envelopes in 0..=ENVELOPES_MAX {
        let sample = Sample::of(payloads, n_envelopes);
        let proposal = of_sample(name, &sample);
        if proposal.missing.is_empty() && 0 < proposal.n_lines {
            return proposal;
        }
        first.get_or_insert(proposal);
    }
    first.unwrap_or_else(|| of_sample(name, &Sample::default()))
}

fn of_sample(name: &str, sample: &Sample) -> Proposal {
    let facts: Vec<facts::Facts> = sample.columns.iter().map(facts::Facts::of).collect();
    let choices = fields::choose(sample, &facts);
    let identities = identity::rank(sample, &facts, &choices);
    let written = write::write(name, sample, &choices, &identities);
    let is_mapped = |field: &str| written.config.fields.contains_key(field);
    let missing = [
        ("event_time", "event_time"),
        ("method", "request_line"),
        ("path", "request_line"),
    ]
    .into_iter()
    .filter(|(field, other)| !is_mapped(field) && !is_mapped(other))
    .map(|(field, _)| field)
    .collect();
    Proposal {
        config: written.config,
        toml: written.toml,
        n_lines: sample.n_lines,
        n_shaped: sample.n_shaped,
        is_json: sample.text.is_none(),
        choices,
        identities,
        missing,
    }
}
