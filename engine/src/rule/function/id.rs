//! What a text looks like: an id, or something random.

use models::endpoint::segment_kind;
use models::object::ObjectKind;

use super::super::header;
use super::{Constants, Each, Function};

pub(super) const ENTROPY: Function = Function {
    name: "entropy",
    form: "entropy(text)",
    gives: "float",
    about: "Shannon entropy of the text's bytes in bits per byte, from 0 (one byte over and over) to 8. Short texts have little: n bytes at most log2(n).",
    example: "entropy('abcdabcd')",
    answer: "2",
    constants: Constants::None,
    prepare: |_| Ok(Each::Float(Box::new(|text| Some(entropy(text.as_bytes()))))),
};

pub(super) const IS_UUID: Function = Function {
    name: "is_uuid",
    form: "is_uuid(text)",
    gives: "bool",
    about: "True for 8-4-4-4-12 hex digits, of any version and case.",
    example: "is_uuid('6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10')",
    answer: "true",
    constants: Constants::None,
    prepare: |_| Ok(Each::Flag(Box::new(|text| Some(header::is_uuid(text))))),
};

pub(super) const ID_KIND: Function = Function {
    name: "id_kind",
    form: "id_kind(text)",
    gives: "text",
    about: "What an id looks like: `int`, `uuid`, `ulid`, `object_id`, `hex`, `email`, `date`, `mixed`, or `text` for a word.",
    example: "id_kind('507f1f77bcf86cd799439011')",
    answer: "object_id",
    constants: Constants::None,
    prepare: |_| {
        Ok(Each::Text(Box::new(|text, out| {
            out.push_str(ObjectKind::from(segment_kind(text)).as_str());
            true
        })))
    },
};

/// C. E. Shannon, *A Mathematical Theory of Communication*, 1948, section 6, over bytes.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let n = bytes.len() as f64;
    let terms = counts.iter().filter(|count| 0 < **count).map(|count| {
        let share = f64::from(*count) / n;
        share * share.log2()
    });
    // Adding zero turns the -0 of a single byte into 0.
    -terms.sum::<f64>() + 0.0
}
