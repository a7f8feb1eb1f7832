//! A rule set as text, the way it stands in a log: what a lane switches to at an offset, and a replay there again.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | bytes before compression, little-endian |
//! | … | zstd of the names and texts of the files (postcard) |

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Lookups, Rule, RuleFault, RuleSet};

/// Bytes of all rules together that a log takes: some ten thousand rules.
pub const BYTES_MAX: usize = 16 << 20;
/// zstd's default: a set is written once, and read by every lane.
const LEVEL: i32 = 3;

/// A rule set that no log can carry, or bytes that are none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextsError {
    /// There is too much of it.
    #[error(
        "the rules are {bytes} bytes, at most {max} are possible: give some of them to another deployment"
    )]
    TooLong {
        /// Bytes of it.
        bytes: usize,
        /// Bytes possible.
        max: usize,
    },
    /// The bytes are not such a set.
    #[error("it is no set of rules: {0}")]
    NoRules(String),
}

/// Names and texts of rules, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTexts {
    files: Vec<(String, String)>,
    /// Name and hash of each lookup table: the tables themselves are too long for a log.
    lookups: Vec<(String, u64)>,
}

impl RuleTexts {
    /// The texts of a set.
    pub fn of(rules: &RuleSet) -> RuleTexts {
        let file = |rule: &Arc<Rule>| {
            let name = rule.path.file_name().unwrap_or(rule.path.as_os_str());
            (name.to_string_lossy().into_owned(), rule.text.to_string())
        };
        let lookups = rules.lookups.tables();
        RuleTexts {
            files: rules.rules.iter().map(file).collect(),
            lookups: lookups
                .map(|table| (table.name.clone(), table.hash))
                .collect(),
        }
    }

    /// XXH3 over names, texts and tables: equal for equal sets, wherever their files lie.
    pub fn hash(&self) -> u64 {
        let files = self.files.iter();
        let files =
            files.flat_map(|(name, text)| [xxh3_64(name.as_bytes()), xxh3_64(text.as_bytes())]);
        let lookups = self.lookups.iter();
        let lookups = lookups.flat_map(|(name, hash)| [xxh3_64(name.as_bytes()), *hash]);
        let hashes = files.chain([0]).chain(lookups);
        xxh3_64(&hashes.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    }

    /// The set, with the lookup tables of whoever asks.
    ///
    /// # Errors
    /// What this version of the program has against them.
    pub fn rules(&self, lookups: &Lookups) -> Result<RuleSet, Vec<RuleFault>> {
        let (mut rules, mut faults) = (Vec::new(), Vec::new());
        for (name, text) in &self.files {
            match Rule::parse(Path::new(name), text) {
                Ok(rule) => rules.push(rule),
                Err(more) => faults.extend(more),
            }
        }
        match faults.is_empty() {
            true => Ok(RuleSet::new(rules)?.with_lookups(lookups.clone())),
            false => Err(faults),
        }
    }

    /// As bytes of a log's record, at most `bytes_max`.
    ///
    /// # Errors
    /// There is more of it.
    pub fn encode(&self, bytes_max: usize) -> Result<Vec<u8>, TextsError> {
        let too_long = |bytes, max| TextsError::TooLong { bytes, max };
        let refused = |reason: String| TextsError::NoRules(reason);
        let plain = postcard::to_stdvec(self).map_err(|e| refused(e.to_string()))?;
        let length = u32::try_from(plain.len()).ok();
        let Some(length) = length.filter(|_| plain.len() <= BYTES_MAX) else {
            return Err(too_long(plain.len(), BYTES_MAX));
        };
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(zstd::bulk::compress(&plain, LEVEL).map_err(|e| refused(e.to_string()))?);
        match bytes.len() <= bytes_max {
            true => Ok(bytes),
            false => Err(too_long(bytes.len(), bytes_max)),
        }
    }

    /// From the bytes of a log's record.
    ///
    /// # Errors
    /// They are no such set, or one that is too long.
    pub fn decode(bytes: &[u8]) -> Result<RuleTexts, TextsError> {
        let refused = |reason: &str| TextsError::NoRules(reason.to_owned());
        let (length, compressed) = bytes
            .split_first_chunk()
            .ok_or_else(|| refused("shorter than 4 bytes"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if BYTES_MAX < length {
            let (bytes, max) = (length, BYTES_MAX);
            return Err(TextsError::TooLong { bytes, max });
        }
        let plain = zstd::bulk::decompress(compressed, length)
            .map_err(|error| TextsError::NoRules(error.to_string()))?;
        postcard::from_bytes(&plain).map_err(|error| TextsError::NoRules(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_comes_back_from_its_texts_wherever_its_files_lie() {
        let shipped = RuleSet::shipped();
        let texts = RuleTexts::of(&shipped);
        let bytes = texts.encode(1 << 20).unwrap();
        let back = RuleTexts::decode(&bytes).unwrap();
        assert_eq!(back, texts);
        let rules = back.rules(&Lookups::default()).unwrap();
        let hashes = |set: &RuleSet| set.rules.iter().map(|r| r.hash).collect::<Vec<_>>();
        assert_eq!(hashes(&rules), hashes(&shipped));
        let elsewhere = shipped.rules.iter().map(|rule| {
            let path = Path::new("/elsewhere").join(&rule.path);
            Rule::parse(&path, &rule.text).unwrap()
        });
        let elsewhere = RuleSet::new(elsewhere.collect()).unwrap();
        assert_eq!(RuleTexts::of(&elsewhere).hash(), texts.hash());
        let fewer = RuleSet {
            rules: shipped.rules[1..].to_vec(),
            ..RuleSet::default()
        };
        assert_ne!(RuleTexts::of(&fewer).hash(), texts.hash());
    }

    #[test]
    fn what_is_too_long_or_damaged_is_refused() {
        let bytes = RuleTexts::of(&RuleSet::shipped()).encode(1 << 20).unwrap();
        let error = RuleTexts::of(&RuleSet::shipped()).encode(100).unwrap_err();
        assert!(matches!(error, TextsError::TooLong { max: 100, .. }));
        for at in 0..bytes.len() {
            assert!(RuleTexts::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let mut bomb = bytes;
        bomb[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = RuleTexts::decode(&bomb).unwrap_err();
        assert!(matches!(error, TextsError::TooLong { max: BYTES_MAX, .. }));
    }
}
