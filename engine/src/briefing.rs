//! What operators tell lanes beside rules: what documents promise, and who answers for which agents and servers.
//!
//! Files are the truth, as of rules, and a lane's log says from where on: whoever has a lane writes a briefing into its log, and
//! the lane goes by it where it reads it. On the log:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | bytes before compression, little-endian |
//! | … | zstd of the register and the promises (postcard) |

use std::sync::Arc;

use models::agent::register::AgentRegister;
use models::inventory::{Documents, Promise};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a briefing before compression: some 150,000 operations.
pub const BYTES_MAX: usize = 16 << 20;
/// zstd's default: a briefing is written once, and read by every lane.
const LEVEL: i32 = 3;

/// A briefing that no log can carry, or bytes that are none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BriefingError {
    /// There is too much of it.
    #[error(
        "what lanes are told of {n_operations} operations of OpenAPI documents and of the register of agents comes to {bytes} bytes, \
         at most {max} are possible: give some of the documents to another deployment"
    )]
    TooLong {
        /// Operations of all documents; 0 where they were not read.
        n_operations: usize,
        /// Bytes of it.
        bytes: usize,
        /// Bytes possible.
        max: usize,
    },
    /// The bytes are no briefing.
    #[error("it is no briefing: {0}")]
    NoBriefing(String),
}

/// What a lane is told.
#[derive(Clone, Debug)]
pub struct Briefing {
    /// XXH3 of what it says: equal for equal documents, wherever their files lie.
    pub hash: u64,
    /// As a log carries it.
    pub encoded: Vec<u8>,
    /// Who answers for which agents and servers.
    pub register: Arc<AgentRegister>,
    /// What documents promise.
    pub documents: Arc<Documents>,
}

#[derive(Serialize, Deserialize)]
struct Text {
    register: AgentRegister,
    promises: Vec<Promise>,
}

impl Briefing {
    /// A briefing of at most `bytes_max` on the log.
    ///
    /// # Errors
    /// There is more of it.
    pub fn new(
        register: &AgentRegister,
        documents: &Documents,
        bytes_max: usize,
    ) -> Result<Briefing, BriefingError> {
        let refused = |reason: String| BriefingError::NoBriefing(reason);
        let text = Text {
            register: register.clone(),
            promises: documents.promises(),
        };
        let n_operations = text.promises.len();
        let too_long = |bytes, max| BriefingError::TooLong {
            n_operations,
            bytes,
            max,
        };
        let plain = postcard::to_stdvec(&text).map_err(|e| refused(e.to_string()))?;
        let length = u32::try_from(plain.len()).ok();
        let Some(length) = length.filter(|_| plain.len() <= BYTES_MAX) else {
            return Err(too_long(plain.len(), BYTES_MAX));
        };
        let mut encoded = length.to_le_bytes().to_vec();
        encoded.extend(zstd::bulk::compress(&plain, LEVEL).map_err(|e| refused(e.to_string()))?);
        if bytes_max < encoded.len() {
            return Err(too_long(encoded.len(), bytes_max));
        }
        Ok(Briefing::of(&plain, text, encoded))
    }

    /// From the bytes of a log's record.
    ///
    /// # Errors
    /// They are no briefing, or one that is too long.
    pub fn decode(encoded: &[u8]) -> Result<Briefing, BriefingError> {
        let refused = |reason: &str| BriefingError::NoBriefing(reason.to_owned());
        let (length, compressed) = encoded
            .split_first_chunk()
            .ok_or_else(|| refused("shorter than 4 bytes"))?;
        let bytes = u32::from_le_bytes(*length) as usize;
        if BYTES_MAX < bytes {
            return Err(BriefingError::TooLong {
                n_operations: 0,
                bytes,
                max: BYTES_MAX,
            });
        }
        let plain = zstd::bulk::decompress(compressed, bytes)
            .map_err(|error| refused(&error.to_string()))?;
        let text = postcard::from_bytes(&plain).map_err(|error| refused(&error.to_string()))?;
        Ok(Briefing::of(&plain, text, encoded.to_vec()))
    }

    fn of(plain: &[u8], text: Text, encoded: Vec<u8>) -> Briefing {
        Briefing {
            hash: xxh3_64(plain),
            encoded,
            register: Arc::new(text.register),
            documents: Arc::new(Documents::of_promises(&text.promises)),
        }
    }
}

#[cfg(test)]
mod tests {
    use models::agent::register::Answering;
    use serde_json::json;

    use super::*;

    fn briefing(owner: &str, bytes_max: usize) -> Result<Briefing, BriefingError> {
        let mut register = AgentRegister::default();
        let answering = Answering {
            owner: owner.to_owned(),
            ..Answering::default()
        };
        register.agents.insert("bot".to_owned(), answering);
        let mut documents = Documents::default();
        let document =
            json!({"openapi": "3.0.0", "paths": {"/v1/a": {"get": {"deprecated": true}}}});
        documents.add("a.json", &document).expect("a document");
        Briefing::new(&register, &documents, bytes_max)
    }

    #[test]
    fn a_briefing_survives_the_log_and_has_the_name_of_what_it_says() {
        let told = briefing("ada", 1 << 20).unwrap();
        let read = Briefing::decode(&told.encoded).unwrap();
        assert_eq!(read.hash, told.hash);
        assert_eq!(read.register, told.register);
        assert_eq!(read.documents.deprecates("GET x /v1/a"), Some(true));
        assert_ne!(briefing("bob", 1 << 20).unwrap().hash, told.hash);
    }

    #[test]
    fn what_is_too_long_or_damaged_is_refused() {
        let error = briefing("ada", 10).unwrap_err();
        assert!(matches!(
            error,
            BriefingError::TooLong {
                n_operations: 1,
                max: 10,
                ..
            }
        ));
        let bytes = briefing("ada", 1 << 20).unwrap().encoded;
        for at in 0..bytes.len() {
            assert!(Briefing::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let mut bomb = bytes;
        bomb[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = Briefing::decode(&bomb).unwrap_err();
        assert!(matches!(
            error,
            BriefingError::TooLong { max: BYTES_MAX, .. }
        ));
    }
}
