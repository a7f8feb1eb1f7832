//! Id schemes: how the n-th object of a collection is called.

use crate::dice::{Dice, fold};

/// How a collection numbers its objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    /// Whole numbers, `first + step * n`.
    Number {
        /// Number of the first object.
        first: u64,
        /// Distance of neighbours.
        step: u64,
    },
    /// `INV-000042`.
    Padded {
        /// Letters before the number.
        prefix: String,
        /// Number of the first object.
        first: u64,
    },
    /// Random UUID.
    Uuid4,
    /// UUID that begins with its time.
    Uuid7,
    /// ULID, base 32 with its time first.
    Ulid,
    /// 24 hex digits: time, machine, counter.
    ObjectId,
    /// 41 bits of time, machine, counter.
    Snowflake,
    /// Words and a number.
    Slug,
    /// Prefix and random letters, `doc_x8Kq2…`.
    Opaque {
        /// Letters before the `_`.
        prefix: String,
    },
    /// An address out of names.
    Email {
        /// Domain after the `@`.
        domain: String,
    },
}

const FIRST_NAMES: [&str; 32] = [
    "ada", "ben", "cora", "dan", "eli", "fay", "gus", "hana", "ivo", "jan", "kim", "leo", "mia",
    "nora", "otto", "pia", "quin", "rosa", "sam", "tess", "uma", "vic", "wes", "xena", "yara",
    "zed", "amir", "bea", "chen", "dina", "emil", "femi",
];
const LAST_NAMES: [&str; 32] = [
    "adler", "berg", "costa", "diaz", "egger", "fox", "grant", "hahn", "ito", "jones", "khan",
    "lee", "moore", "novak", "okafor", "park", "quist", "rossi", "silva", "tran", "ueda", "vogel",
    "weber", "xu", "young", "zhou", "abel", "brun", "cruz", "dahl", "ekman", "faria",
];
const SLUG_WORDS: [&str; 24] = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "jade",
    "kiln", "lunar", "maple", "north", "ocean", "pearl", "quartz", "river", "stone", "tidal",
    "umber", "vale", "willow", "zephyr",
];
const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CROCKFORD: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Start of the snowflakes' time, 2020-01-01.
const SNOWFLAKE_EPOCH_MS: i64 = 1_577_836_800_000;

impl Scheme {
    /// Draws a scheme for a collection with this singular noun.
    pub fn draw(dice: &mut Dice, noun: &str, guessable: bool) -> Scheme {
        let first = dice.magnitude(100.0, 4e6) as u64;
        if guessable {
            return match dice.below(4) {
                0 | 1 => Scheme::Number { first, step: 1 },
                2 => Scheme::Number {
                    first,
                    step: dice.within(2, 23) as u64,
                },
                _ => Scheme::Padded {
                    prefix: noun[..3.min(noun.len())].to_uppercase(),
                    first: first % 200_000,
                },
            };
        }
        match dice.below(8) {
            0 | 1 => Scheme::Uuid4,
            2 => Scheme::Uuid7,
            3 => Scheme::Ulid,
            4 => Scheme::ObjectId,
            5 => Scheme::Snowflake,
            6 => Scheme::Slug,
            _ => Scheme::Opaque {
                prefix: noun[..3.min(noun.len())].to_owned(),
            },
        }
    }

    /// True when neighbours can be counted out.
    pub fn is_guessable(&self) -> bool {
        matches!(self, Scheme::Number { .. } | Scheme::Padded { .. })
    }

    /// True when an id tells when it was made.
    pub fn is_timed(&self) -> bool {
        matches!(
            self,
            Scheme::Uuid7 | Scheme::Ulid | Scheme::ObjectId | Scheme::Snowflake
        )
    }

    /// The id of the n-th object; `n` may lie outside of what exists.
    pub fn id(&self, salt: u64, n: i64, created_ms: i64) -> String {
        let bits = fold(&[salt, n as u64]);
        let more = fold(&[bits, 1]);
        let time = created_ms.max(0) as u64;
        match self {
            Scheme::Number { first, step } => format!("{}", number(*first, *step, n)),
            Scheme::Padded { prefix, first } => format!("{prefix}-{:06}", number(*first, 1, n)),
            Scheme::Uuid4 => uuid(bits >> 16, 4, bits & 0xfff, more),
            Scheme::Uuid7 => uuid(time, 7, bits & 0xfff, more),
            Scheme::Ulid => {
                let value =
                    (u128::from(time) << 80) | (u128::from(bits) << 16) | u128::from(more & 0xffff);
                let digit = |at: u32| CROCKFORD[((value >> (5 * at)) & 31) as usize] as char;
                (0..26).rev().map(digit).collect()
            }
            Scheme::ObjectId => format!(
                "{:08x}{:010x}{:06x}",
                time / 1000,
                mix_machine(salt),
                (salt.wrapping_add(n as u64)) & 0xff_ffff
            ),
            Scheme::Snowflake => {
                let since = (created_ms - SNOWFLAKE_EPOCH_MS).max(0) as u64;
                format!("{}", (since << 22) | ((salt & 31) << 12) | (bits & 0xfff))
            }
            Scheme::Slug => format!(
                "{}-{}-{}",
                SLUG_WORDS[(bits % 24) as usize],
                SLUG_WORDS[(more % 24) as usize],
                (n.rem_euclid(1 << 30)) * 7 % 9973 + n / 9973
            ),
            Scheme::Opaque { prefix } => format!("{prefix}_{}", base62(bits, more, 14)),
            Scheme::Email { domain } => format!("{}@{domain}", person(salt, n)),
        }
    }
}

/// The n-th person's name, unique by its number.
pub fn person(salt: u64, n: i64) -> String {
    let bits = fold(&[salt, n as u64, 2]);
    let mark = ["", ".", "_"][(bits >> 20) as usize % 3];
    let (first, last) = (bits as usize % 32, (bits >> 8) as usize % 32);
    format!("{}{mark}{}{n}", FIRST_NAMES[first], LAST_NAMES[last])
}

/// Random letters and digits.
pub fn base62(bits: u64, more: u64, n_letters: usize) -> String {
    let mut value = (u128::from(bits) << 64) | u128::from(more);
    let mut letter = || {
        let at = (value % 62) as usize;
        value /= 62;
        BASE62[at] as char
    };
    (0..n_letters).map(|_| letter()).collect()
}

/// A UUID of a version: 48 bits, 12 bits, 62 bits.
pub fn uuid(high: u64, version: u8, middle: u64, low: u64) -> String {
    let high = high & 0xffff_ffff_ffff;
    let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{version}{:03x}-{:04x}-{:012x}",
        high >> 16,
        high & 0xffff,
        middle & 0xfff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

fn number(first: u64, step: u64, n: i64) -> i64 {
    (first as i64 + step as i64 * n).max(1)
}

fn mix_machine(salt: u64) -> u64 {
    fold(&[salt, 3]) & 0xff_ffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_have_their_form_and_are_distinct() {
        let number = Scheme::Number { first: 10, step: 3 };
        assert_eq!(number.id(1, 2, 0), "16");
        let padded = Scheme::Padded {
            prefix: "INV".into(),
            first: 40,
        };
        assert_eq!(padded.id(1, 2, 0), "INV-000042");
        assert_eq!(Scheme::Uuid7.id(1, 2, 1 << 40).len(), 36);
        assert_eq!(Scheme::ObjectId.id(1, 2, 1 << 40).len(), 24);
        assert_eq!(Scheme::Ulid.id(1, 2, 1 << 40).len(), 26);
        for scheme in [Scheme::Uuid4, Scheme::Ulid, Scheme::ObjectId, Scheme::Slug] {
            let ids: BTreeSet<String> = (0..5000)
                .map(|n| scheme.id(9, n, 1_700_000_000_000))
                .collect();
            assert!(ids.len() >= 4990, "{scheme:?}: {}", ids.len());
        }
    }
}
