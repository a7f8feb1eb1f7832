//! Packed values: gzip, zstd, LZ4 frames and Snappy, told by their first bytes.
//!
//! Batches that Kafka's own clients compress are unpacked by them; this is for values that their writer packed. One packed value
//! inside another is not looked for. What is unpacked is bounded, whatever the value says of its length.
//!
//! | | begins with |
//! |---|---|
//! | gzip (RFC 1952), members one after the other | `1f 8b` |
//! | zstd (RFC 8878), frames one after the other, windows up to 8 MiB (levels up to 19) | `28 b5 2f fd` |
//! | LZ4 frames (*LZ4 Frame Format*, 1.6.4), one | `04 22 4d 18` |
//! | Snappy | see [`snappy`] |

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::{Refusal, snappy};
use crate::format::RECORD_BYTES_MAX;

/// Binary logarithm of the window that a zstd frame may ask for: what unpacking it takes in memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Unpacks a value; `None` if it is not packed. `has_header`: a header names the schema of what may be binary as it is, so that a
/// block of Snappy, which has no mark, is not looked for.
pub(super) fn unpack(value: &[u8], has_header: bool) -> Result<Option<Vec<u8>>, Refusal> {
    let broken =
        |how: &str, error: &str| Refusal::malformed(format!("{how} that is broken: {error}"));
    let unpacked = match value {
        [0x1f, 0x8b, ..] => bounded(MultiGzDecoder::new(value))
            .map_err(|error| broken("gzip", &error.to_string()))?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd(value)
            .and_then(bounded)
            .map_err(|error| broken("zstd", &error.to_string()))?,
        _ => match value.strip_prefix(&LZ4_MAGIC) {
            Some(frame) => {
                lz4(frame).ok_or_else(|| broken("LZ4", "it ends early, or points nowhere"))?
            }
            None => match snappy::unpack(value, !has_header)? {
                Some(unpacked) => unpacked,
                None => return Ok(None),
            },
        },
    };
    if RECORD_BYTES_MAX < unpacked.len() {
        return Err(Refusal::oversized("what is packed"));
    }
    Ok(Some(unpacked))
}

fn zstd(value: &[u8]) -> io::Result<impl Read> {
    let mut decoder = ZstdDecoder::with_buffer(value)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Reads to the end, or one byte beyond the limit.
pub(super) fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    reader
        .take(RECORD_BYTES_MAX as u64 + 1)
        .read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

/// Unpacks an LZ4 frame after its magic; `None` if it is broken. Its checksums are not looked at: Kafka has its own over each batch.
///
/// Own code: `lz4_flex`, which is built for Arrow here, is built without the checks that strange input needs.
fn lz4(frame: &[u8]) -> Option<Vec<u8>> {
    let (flags, rest) = frame.split_first()?;
    let has = |bit: u8| flags & 1 << bit != 0;
    let version_ok = flags >> 6 == 1;
    // A dictionary would have to come from elsewhere.
    if !version_ok || has(0) {
        return None;
    }
    let (has_block_checksum, has_size) = (has(4), has(3));
    // Block size, content size if there, checksum of the header.
    let mut rest = rest.get(2 + if has_size { 8 } else { 0 }..)?;
    let mut out = Vec::new();
    loop {
        let (length, after) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        if length == 0 {
            return Some(out);
        }
        let (block, after) = after.split_at_checked((length & 0x7fff_ffff) as usize)?;
        if length >> 31 == 1 {
            out.extend_from_slice(block);
        } else {
            lz4_block(block, &mut out)?;
        }
        if RECORD_BYTES_MAX < out.len() {
            return Some(out);
        }
        rest = after.get(if has_block_checksum { 4 } else { 0 }..)?;
    }
}

/// Unpacks a block behind what came before it; ends early beyond the limit.
fn lz4_block(block: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = block;
    loop {
        let (token, after) = rest.split_first()?;
        rest = after;
        let n_literals = lz4_length(token >> 4, &mut rest)?;
        let (literals, after) = rest.split_at_checked(n_literals)?;
        out.extend_from_slice(literals);
        // The last sequence has literals alone.
        if after.is_empty() || RECORD_BYTES_MAX < out.len() {
            return Some(());
        }
        let (distance, after) = after.split_first_chunk()?;
        rest = after;
        let distance = usize::from(u16::from_le_bytes(*distance));
        let n_matched = lz4_length(token & 15, &mut rest)?.checked_add(4)?;
        let from = out.len().checked_sub(distance).filter(|_| distance != 0)?;
        // A match may reach into what it writes, so byte by byte.
        for at in (from..).take(n_matched.min(RECORD_BYTES_MAX + 1)) {
            out.push(out[at]);
        }
    }
}

/// A length of which a token has the beginning.
fn lz4_length(of_token: u8, rest: &mut &[u8]) -> Option<usize> {
    let mut length = usize::from(of_token);
    if of_token < 15 {
        return Some(length);
    }
    loop {
        let (more, after) = rest.split_first()?;
        *rest = after;
        length = length.checked_add(usize::from(*more))?;
        if *more < 255 {
            return Some(length);
        }
    }
}
