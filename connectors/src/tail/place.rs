//! How far a file was read, as it is kept between two lives of a process.

use serde::{Deserialize, Serialize};

/// Bytes at a file's beginning, and before its place, that tell it from others.
pub const MARK_BYTES: usize = 1024;

/// A hash of some bytes of a file; of those, only how many there are is kept beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// How many, at most [`MARK_BYTES`].
    pub n_bytes: usize,
    /// 16 bytes of BLAKE3, in hexadecimal: callers choose much of what stands in a log, and must not be able to make two alike.
    pub hash: String,
}

impl Mark {
    /// The mark of these bytes.
    pub fn of(bytes: &[u8]) -> Mark {
        let hash = blake3::hash(bytes).to_hex();
        Mark {
            n_bytes: bytes.len(),
            hash: hash[..32].to_owned(),
        }
    }
}

/// How far a file was read, and what it is known by: 350 bytes as JSON, and its path twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it was found first: what its lines have as their key, whatever it is called later.
    pub key: String,
    /// Where it was found last.
    pub path: String,
    /// Its file system.
    pub device: u64,
    /// Its number there, which another file may have after it.
    pub inode: u64,
    /// Bytes of text that were read, decompressed.
    pub bytes: u64,
    /// Lines that end before them.
    pub lines: u64,
    /// True inside a line that is too long: what is left of it is skipped.
    pub in_line: bool,
    /// Of a compressed file that was read to its end, its length on disk.
    pub finished: Option<u64>,
    /// Of its first bytes.
    pub head: Mark,
    /// Of the bytes before the place.
    pub last: Mark,
}
