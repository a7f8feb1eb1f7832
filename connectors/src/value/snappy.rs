//! Values packed by Snappy: in its own frames, in those of snappy-java's streams, and as a block without a frame.
//!
//! | | told by | written by |
//! |---|---|---|
//! | framing format (`framing_format.txt`, 2013), with its checksums | `ff 06 00 00 73 4e 61 50 70 59` | `SnappyFramedOutputStream`, python-snappy's streams, Go's `snappy.Writer` |
//! | snappy-java's stream, one after the other | `82 53 4e 41 50 50 59 00`, two versions, then blocks after their length in 4 bytes, big endian | `SnappyOutputStream` |
//! | a block (`format_description.txt`, 2011) | below | `Snappy.compress`, python-snappy's `compress`, Go's `snappy.Encode` |
//!
//! A block has no mark; it begins with the length of what is packed. It is taken for one if all holds: 128 bytes or more are packed
//! (its first byte is then none that a line begins with), no more than [`RECORD_BYTES_MAX`], the value is no UTF-8, and it unpacks to
//! just that length. A client that can make a whole record of its own choice, its first bytes included, could make one; no gateway
//! logs that way. What a block is not is left as it is.

use snap::raw::{Decoder, decompress_len};
use snap::read::FrameDecoder;

use super::Refusal;
use super::compressed::bounded;
use crate::format::RECORD_BYTES_MAX;

const FRAMED: &[u8] = b"\xff\x06\x00\x00sNaPpY";

const STREAM: &[u8] = b"\x82SNAPPY\0";
/// The mark, the version and the oldest that can read it.
const STREAM_HEADER_BYTES: usize = 16;

/// How many times its own length a block may unpack to: 64 bytes by each copy of three bytes. One that says more lies, and no room
/// is made for it.
const GROWTH_MAX: usize = 22;

/// Unpacks a value; `None` if it is not packed by Snappy. `may_be_block`: a block without a frame is looked for, too.
pub(super) fn unpack(value: &[u8], may_be_block: bool) -> Result<Option<Vec<u8>>, Refusal> {
    if value.starts_with(FRAMED) {
        return bounded(FrameDecoder::new(value))
            .map(Some)
            .map_err(|error| broken(&error.to_string()));
    }
    if value.starts_with(STREAM) {
        return stream(value).map(Some);
    }
    let is_block = may_be_block && 0x80 <= value.first().copied().unwrap_or_default();
    Ok(Some(value)
        .filter(|value| is_block && str::from_utf8(value).is_err())
        .and_then(|value| {
            let mut unpacked = Vec::new();
            block(value, &mut unpacked).ok().map(|()| unpacked)
        }))
}

fn broken(error: &str) -> Refusal {
    Refusal::malformed(format!("Snappy that is broken: {error}"))
}

fn stream(value: &[u8]) -> Result<Vec<u8>, Refusal> {
    let early = || broken("it ends early");
    let (mut unpacked, mut rest) = (Vec::new(), value);
    while !rest.is_empty() {
        if rest.starts_with(STREAM) {
            rest = rest.get(STREAM_HEADER_BYTES..).ok_or_else(early)?;
            continue;
        }
        let (length, after) = rest.split_first_chunk().ok_or_else(early)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (packed, after) = after.split_at_checked(length).ok_or_else(early)?;
        block(packed, &mut unpacked)?;
        rest = after;
    }
    Ok(unpacked)
}

/// Unpacks a block behind what came before it.
fn block(packed: &[u8], unpacked: &mut Vec<u8>) -> Result<(), Refusal> {
    let n_bytes = decompress_len(packed).map_err(|error| broken(&error.to_string()))?;
    if GROWTH_MAX * packed.len() < n_bytes {
        return Err(broken("a block is shorter than it says"));
    }
    let start = unpacked.len();
    if RECORD_BYTES_MAX < start + n_bytes {
        return Err(Refusal::oversized("what is packed"));
    }
    unpacked.resize(start + n_bytes, 0);
    Decoder::new()
        .decompress(packed, &mut unpacked[start..])
        .map(drop)
        .map_err(|error| broken(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use snap::raw::Encoder;

    use super::*;
    use crate::reject::RejectReason;

    fn packed(text: &[u8]) -> Vec<u8> {
        Encoder::new().compress_vec(text).unwrap()
    }

    /// A stream of one block.
    fn streamed(block: &[u8]) -> Vec<u8> {
        let length = u32::try_from(block.len()).unwrap();
        [
            STREAM,
            &[0, 0, 0, 1, 0, 0, 0, 1],
            &length.to_be_bytes(),
            block,
        ]
        .concat()
    }

    #[test]
    fn a_block_is_told_from_what_merely_begins_like_one() {
        let text = [b'a'; 128];
        let block = packed(&text);
        assert_eq!(unpack(&block, true), Ok(Some(text.to_vec())));
        let longer = [&block[..], b"\x00b"].concat();
        for (what, value) in [
            ("a short one", packed(&text[..127])),
            ("a long one", packed(&vec![b'a'; RECORD_BYTES_MAX + 1])),
            ("one cut off", block[..block.len() - 1].to_vec()),
            ("one with more behind", longer),
            ("a length alone", vec![0xff, 0xff, 0x3f]),
            ("nothing", Vec::new()),
        ] {
            assert_eq!(unpack(&value, true), Ok(None), "{what}");
        }
        assert_eq!(
            unpack(&block, false),
            Ok(None),
            "where a header names a schema"
        );
    }

    #[test]
    fn broken_and_long_streams_are_refused() {
        let whole = streamed(&packed(&[b'a'; 300]));
        for (what, value) in [
            ("cut in its header", whole[..12].to_vec()),
            ("cut in a length", whole[..18].to_vec()),
            ("cut in a block", whole[..whole.len() - 1].to_vec()),
            ("no block", streamed(&[])),
            ("a block that lies", streamed(&[0xff, 0xff, 0x3f, 0])),
        ] {
            let refusal = unpack(&value, true).unwrap_err();
            assert_eq!(refusal.reason, RejectReason::Malformed, "{what}");
        }
        let long = streamed(&packed(&vec![0; RECORD_BYTES_MAX + 1]));
        let refusal = unpack(&long, true).unwrap_err();
        assert_eq!(refusal.reason, RejectReason::Oversized);
    }

    proptest! {
        #[test]
        fn no_text_is_a_block(text in ".{0,300}") {
            prop_assert_eq!(unpack(text.as_bytes(), true), Ok(None));
        }

        #[test]
        fn what_is_packed_comes_out(text in prop::collection::vec(any::<u8>(), 128..600)) {
            prop_assert_eq!(unpack(&streamed(&packed(&text)), true), Ok(Some(text)));
        }
    }
}
