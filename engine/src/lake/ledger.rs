//! The ledger of a lane: which of its log's offsets are in the lake, and who writes the next.
//!
//! Entries are numbered, never changed, and made only where none is yet, so of two who think they write a lane one fails.
//! Whoever is given the lane claims it with an entry of its own first. An entry that names a chunk is published before the
//! chunk's files are written: it fixes the chunk's bounds. The newest entry's files are there whole, or are written again
//! from the log; those of all before it are there.
//!
//! An entry that can't be read was torn when it was written: its writer has read it back, and has published another.

use bytes::Bytes;
use object_store::path::Path as Key;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::{LANES, Lake, LakeError};

/// Claims tried when others claim the same lane at the same moment, and entries tried when the store tears them.
const TRIES_MAX: usize = 10;
/// Entries kept: the newest one is all that is needed.
const KEPT: u64 = 32;

/// A file of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path below the lake.
    pub path: String,
    /// Its rows.
    pub n_rows: usize,
    /// Its bytes.
    pub n_bytes: u64,
}

/// One entry: a chunk, half-open. A claim repeats the chunk before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub sequence: u64,
    /// The number of its writer's claim.
    pub owner: u64,
    /// First offset of the chunk.
    pub first: i64,
    /// The offset after its last.
    pub end: i64,
    /// Its files; none when it has no rows.
    pub files: Vec<FileEntry>,
}

/// Where a lane's writer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The first offset that is not in the lake.
    pub next: i64,
    /// The bound of the chunk that is to be written again; none when all is there.
    pub must_end: Option<i64>,
    /// True when nothing was written before.
    pub is_new: bool,
}

/// The ledger of one lane, claimed.
#[derive(Debug)]
pub struct Ledger {
    lane: String,
    owner: u64,
    sequence: u64,
}

fn folder(lane: &str) -> String {
    format!("{LANES}/{lane}")
}

fn path(lane: &str, sequence: u64) -> String {
    format!("{}/{sequence:020}.json", folder(lane))
}

fn sequence_of(key: &Key) -> Option<u64> {
    key.filename()?.strip_suffix(".json")?.parse().ok()
}

fn read(lake: &Lake, lane: &str, sequence: u64) -> Result<Option<Entry>, LakeError> {
    let text = lake.read(&lake.key(&path(lane, sequence)))?;
    let Some((checksum, json)) = text.split_at_checked(33) else {
        return Ok(None);
    };
    let is_whole = checksum == format!("{:032x}\n", xxh3_128(json)).as_bytes();
    let entry = serde_json::from_slice::<Entry>(json).ok();
    Ok(entry.filter(|entry| is_whole && entry.sequence == sequence))
}

/// What became of an entry that was to be published.
enum Published {
    /// It is there, and the newest.
    Ours,
    /// Its number is another's, or others came after it.
    Taken,
    /// The store tore it: nobody can read it, and the next number takes its place.
    Torn,
}

fn publish(lake: &Lake, lane: &str, entry: &Entry) -> Result<Published, LakeError> {
    let json = serde_json::to_string_pretty(entry).unwrap_or_default();
    let text = format!("{:032x}\n{json}", xxh3_128(json.as_bytes()));
    // Where the answer was lost the client may have tried again, and met its own.
    lake.create(&path(lane, entry.sequence), Bytes::from(text))?;
    Ok(match read(lake, lane, entry.sequence)? {
        None => Published::Torn,
        Some(held) if held != *entry => Published::Taken,
        // Who comes back after a long time finds its number free again: what took it was deleted.
        Some(_) if sequences(lake, lane)?.first() != Some(&entry.sequence) => Published::Taken,
        Some(_) => Published::Ours,
    })
}

/// Numbers of a lane's entries, the newest first.
fn sequences(lake: &Lake, lane: &str) -> Result<Vec<u64>, LakeError> {
    let objects = lake.list(&folder(lane))?;
    let mut sequences: Vec<u64> = objects
        .iter()
        .filter_map(|object| sequence_of(&object.location))
        .collect();
    sequences.sort_unstable_by(|a, b| b.cmp(a));
    Ok(sequences)
}

impl Ledger {
    /// Claims a lane; says where its writer goes on.
    ///
    /// # Errors
    /// The store fails, or others claim the lane faster.
    pub fn claim(lake: &Lake, lane: &str) -> Result<(Ledger, Resume), LakeError> {
        let mut sequence = 0;
        for _ in 0..TRIES_MAX {
            let sequences = sequences(lake, lane)?;
            let mut newest = None;
            for sequence in &sequences {
                newest = read(lake, lane, *sequence)?;
                if newest.is_some() {
                    break;
                }
            }
            let is_new = newest.is_none();
            sequence = sequences.first().copied().unwrap_or(0) + 1;
            let claim = Entry {
                sequence,
                owner: sequence,
                ..newest.unwrap_or_default()
            };
            if let Published::Ours = publish(lake, lane, &claim)? {
                let is_whole = is_whole(lake, &claim)?;
                let resume = Resume {
                    next: if is_whole { claim.end } else { claim.first },
                    must_end: (!is_whole).then_some(claim.end),
                    is_new,
                };
                let ledger = Ledger {
                    lane: lane.to_owned(),
                    owner: sequence,
                    sequence,
                };
                return Ok((ledger, resume));
            }
        }
        Err(LakeError::Fenced {
            lane: lane.to_owned(),
            sequence,
        })
    }

    /// Fixes the bounds and files of the next chunk.
    ///
    /// # Errors
    /// The lane has another writer, or the store fails.
    pub fn fix(
        &mut self,
        lake: &Lake,
        (first, end): (i64, i64),
        files: &[FileEntry],
    ) -> Result<(), LakeError> {
        for _ in 0..TRIES_MAX {
            let entry = Entry {
                sequence: self.sequence + 1,
                owner: self.owner,
                first,
                end,
                files: files.to_vec(),
            };
            match publish(lake, &self.lane, &entry)? {
                Published::Ours => {
                    self.sequence = entry.sequence;
                    return Ok(());
                }
                Published::Taken => break,
                Published::Torn => self.sequence = entry.sequence,
            }
        }
        Err(LakeError::Fenced {
            lane: self.lane.clone(),
            sequence: self.sequence + 1,
        })
    }

    /// Deletes the entry that is no longer needed; what stays costs room and nothing else.
    pub fn prune(&self, lake: &Lake) {
        let Some(stale) = self.sequence.checked_sub(KEPT).filter(|stale| 0 < *stale) else {
            return;
        };
        if let Err(error) = lake.delete(&path(&self.lane, stale)) {
            tracing::debug!(%error, "an old entry of a ledger stays");
        }
    }
}

/// True when all files of an entry are there, and as long as they should be.
fn is_whole(lake: &Lake, entry: &Entry) -> Result<bool, LakeError> {
    for file in &entry.files {
        if lake.size(&file.path)? != Some(file.n_bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}
