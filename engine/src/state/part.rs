//! One file of a snapshot: blocks of tables and values, each compressed, all under one checksum.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `tollwsnp` |
//! | 16 | xxh3-128 of everything behind it, little-endian |
//! | 4 | version, little-endian |
//! | 4 | length of the head, little-endian |
//! | … | the head: name, bytes and bytes compressed of every block (postcard) |
//! | … | the blocks, zstd |
//!
//! A block holds whole entries, so each can be read alone. Reading checks every length before it
//! believes it: a damaged file is told, it ends nothing.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// Version of the layout and of what is in it. Another one is not read: the log is.
pub const VERSION: u32 = 9;

const MAGIC: &[u8; 8] = b"tollwsnp";
/// Bytes of a block before compression, about; one entry may be longer.
const BLOCK_BYTES: usize = 1 << 20;
/// Longest block that is read: no table has an entry of this size.
const BLOCK_BYTES_MAX: u64 = 64 << 20;
/// Compressed bytes after which a file is full.
const PART_BYTES: usize = 64 << 20;
/// zstd's fastest ordinary level: hashes don't compress, and counters do at any.
const LEVEL: i32 = 1;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The file is not one of these, or cut.
    #[error("it is no snapshot file, or cut short")]
    NoPart,
    /// It was changed after it was written.
    #[error("its checksum does not fit")]
    Checksum,
    /// It is of another version of the program.
    #[error("it has version {0}, this program reads {VERSION}")]
    Version(u32),
    /// A block cannot be read.
    #[error("section {0} of it cannot be read")]
    Section(String),
    /// A section the state needs is not there.
    #[error("it has no section {0}")]
    Missing(String),
}

/// A file that cannot be written: compression failed, or who takes the file refuses it.
pub type WriteError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Serialize, Deserialize)]
struct Head {
    name: String,
    n_bytes: u64,
    n_compressed: u64,
}

/// Writes sections one after the other as blocks, and blocks as files.
pub struct PartWriter<'a> {
    heads: Vec<Head>,
    blocks: Vec<u8>,
    name: String,
    block: Vec<u8>,
    /// Takes each finished file.
    take: &'a mut dyn FnMut(Vec<u8>) -> Result<(), WriteError>,
}

impl<'a> PartWriter<'a> {
    /// A writer that hands finished files to `take`.
    pub fn new(take: &'a mut dyn FnMut(Vec<u8>) -> Result<(), WriteError>) -> Self {
        Self {
            heads: Vec::new(),
            blocks: Vec::new(),
            name: String::new(),
            block: Vec::new(),
            take,
        }
    }

    /// Begins a section.
    ///
    /// # Errors
    /// The file that became full could not be written.
    pub fn begin(&mut self, name: &str) -> Result<(), WriteError> {
        self.end_block()?;
        name.clone_into(&mut self.name);
        Ok(())
    }

    /// Adds something to the section, never cut.
    ///
    /// # Errors
    /// As [`PartWriter::begin`].
    pub fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
        let block = std::mem::take(&mut self.block);
        self.block = postcard::to_extend(value, block)?;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    /// Adds encoded bytes to the section, never cut.
    ///
    /// # Errors
    /// As [`PartWriter::begin`].
    pub fn push_encoded(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    /// Ends the last file.
    ///
    /// # Errors
    /// As [`PartWriter::begin`].
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.end_block()?;
        self.end_part()
    }

    fn end_block(&mut self) -> Result<(), WriteError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let compressed = zstd::bulk::compress(&self.block, LEVEL)?;
        self.heads.push(Head {
            name: self.name.clone(),
            n_bytes: self.block.len() as u64,
            n_compressed: compressed.len() as u64,
        });
        self.block.clear();
        self.blocks.extend_from_slice(&compressed);
        if self.blocks.len() >= PART_BYTES {
            self.end_part()?;
        }
        Ok(())
    }

    fn end_part(&mut self) -> Result<(), WriteError> {
        let head = postcard::to_stdvec(&std::mem::take(&mut self.heads))?;
        let mut file = Vec::with_capacity(32 + head.len() + self.blocks.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&[0; 16]);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&(head.len() as u32).to_le_bytes());
        file.extend_from_slice(&head);
        file.append(&mut self.blocks);
        let checksum = xxh3_128(&file[24..]);
        file[8..24].copy_from_slice(&checksum.to_le_bytes());
        (self.take)(file)
    }
}

/// Part of a section, still compressed.
#[derive(Clone, Debug)]
pub struct Block {
    /// The section.
    pub name: String,
    n_bytes: usize,
    compressed: Bytes,
}

impl Block {
    /// What was pushed, one after the other.
    ///
    /// # Errors
    /// The block does not hold what the file's head says.
    pub fn bytes(&self) -> Result<Vec<u8>, Damage> {
        zstd::bulk::decompress(&self.compressed, self.n_bytes)
            .ok()
            .filter(|bytes| bytes.len() == self.n_bytes)
            .ok_or_else(|| Damage::Section(self.name.clone()))
    }
}

/// The checksum that a file bears; whether it fits the rest of the file, [`read`] tells.
pub fn checksum(file: &[u8]) -> Option<String> {
    let stated = file.get(8..24)?.try_into().ok()?;
    Some(format!("{:032x}", u128::from_le_bytes(stated)))
}

/// The blocks of a file that must bear a checksum, when one is known.
///
/// # Errors
/// What is wrong with it; it may be sound, and another file.
pub fn read_as(file: &Bytes, expected: Option<&str>) -> Result<Vec<Block>, Damage> {
    let blocks = read(file)?;
    match expected {
        Some(expected) if checksum(file).as_deref() != Some(expected) => Err(Damage::Checksum),
        _ => Ok(blocks),
    }
}

/// The blocks of a file.
///
/// # Errors
/// What is wrong with it.
pub fn read(file: &Bytes) -> Result<Vec<Block>, Damage> {
    let number = |from: usize| {
        let bytes = file.get(from..from + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if file.get(..8) != Some(MAGIC) || file.len() < 32 {
        return Err(Damage::NoPart);
    }
    if xxh3_128(&file[24..]).to_le_bytes() != file[8..24] {
        return Err(Damage::Checksum);
    }
    let (version, n_head) = (number(24), number(28));
    let version = version.ok_or(Damage::NoPart)?;
    if version != VERSION {
        return Err(Damage::Version(version));
    }
    let mut at = 32 + n_head.ok_or(Damage::NoPart)? as usize;
    let head = file.get(32..at).ok_or(Damage::NoPart)?;
    let heads: Vec<Head> = postcard::from_bytes(head).map_err(|_| Damage::NoPart)?;
    let mut blocks = Vec::new();
    for head in heads {
        let n_compressed = usize::try_from(head.n_compressed).map_err(|_| Damage::NoPart)?;
        let end = at.checked_add(n_compressed).ok_or(Damage::NoPart)?;
        if file.len() < end || head.n_bytes > BLOCK_BYTES_MAX {
            return Err(Damage::Section(head.name));
        }
        blocks.push(Block {
            name: head.name,
            n_bytes: head.n_bytes as usize,
            compressed: file.slice(at..end),
        });
        at = end;
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Bytes {
        let mut files = Vec::new();
        let mut take = |file| {
            files.push(Bytes::from(file));
            Ok(())
        };
        let mut writer = PartWriter::new(&mut take);
        writer.begin("numbers").unwrap();
        (0..1000_u64).for_each(|n| writer.push(&n).unwrap());
        writer.begin("text").unwrap();
        writer.push("a text").unwrap();
        writer.finish().unwrap();
        assert_eq!(files.len(), 1);
        files.remove(0)
    }

    #[test]
    fn what_was_written_is_read() {
        let blocks = read(&file()).unwrap();
        let names: Vec<_> = blocks.iter().map(|block| block.name.as_str()).collect();
        assert_eq!(names, ["numbers", "text"]);
        let text = blocks[1].bytes().unwrap();
        assert_eq!(postcard::from_bytes::<String>(&text).unwrap(), "a text");
    }

    #[test]
    fn a_long_section_is_several_blocks_and_files() {
        let mut files = Vec::new();
        let mut take = |file| {
            files.push(Bytes::from(file));
            Ok(())
        };
        let mut writer = PartWriter::new(&mut take);
        writer.begin("noise").unwrap();
        let mut noise = 1_u64;
        for _ in 0..9_000_000 {
            noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            writer.push(&(noise ^ (noise >> 31))).unwrap();
        }
        writer.finish().unwrap();
        assert!(files.len() > 1, "{}", files.len());
        let n_bytes = files
            .iter()
            .map(|file| read(file).unwrap().len())
            .sum::<usize>();
        assert!(n_bytes > 64, "{n_bytes}");
    }

    #[test]
    fn every_single_changed_byte_and_every_cut_is_noticed() {
        let whole = file();
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 0x40;
            assert!(read(&Bytes::from(changed)).is_err(), "byte {at}");
            assert!(read(&whole.slice(..at)).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_version_is_told_by_its_number() {
        let mut other = file().to_vec();
        let next = VERSION + 1;
        other[24..28].copy_from_slice(&next.to_le_bytes());
        let checksum = xxh3_128(&other[24..]).to_le_bytes();
        other[8..24].copy_from_slice(&checksum);
        assert_eq!(
            read(&Bytes::from(other)).unwrap_err(),
            Damage::Version(next)
        );
    }
}
