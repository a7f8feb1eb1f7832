//! Keys: which field of a struct a key of an object fills, found in one look instead of one comparison per field.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

/// Slots of a table: a power of two, and at least twice the keys of the largest object, so that a look seldom meets another key.
const SLOTS: usize = 512;

/// Longest key that a table may hold.
const KEY_BYTES_MAX: usize = 64;

/// An open hash table of keys, made when the program is compiled.
pub(super) struct KeyTable<T: 'static> {
    fields: &'static [(&'static str, T)],
    /// Per slot the number of a key, counted from one; 0 is none.
    slots: [u8; SLOTS],
}

impl<T: Copy> KeyTable<T> {
    /// Makes a table.
    ///
    /// # Panics
    /// A key is there twice or too long, or there are too many: when the program is compiled.
    pub(super) const fn new(fields: &'static [(&'static str, T)]) -> KeyTable<T> {
        assert!(fields.len() < SLOTS / 2, "too many keys");
        let mut slots = [0; SLOTS];
        let mut number = 0;
        while number < fields.len() {
            let key = fields[number].0.as_bytes();
            assert!(key.len() <= KEY_BYTES_MAX, "a key is too long");
            let mut slot = slot_of(key);
            while slots[slot] != 0 {
                let other = fields[slots[slot] as usize - 1].0.as_bytes();
                assert!(!is_same(key, other), "a key is there twice");
                slot = (slot + 1) % SLOTS;
            }
            number += 1;
            slots[slot] = number as u8;
        }
        KeyTable { fields, slots }
    }

    /// What a key fills.
    #[inline]
    fn find(&self, key: &[u8]) -> Option<T> {
        let mut slot = slot_of(key);
        // Half of the slots are empty, so this ends.
        loop {
            let number = usize::from(self.slots[slot]).checked_sub(1)?;
            let (known, field) = self.fields[number];
            if known.as_bytes() == key {
                return Some(field);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// What a key fills whose case does not matter: the table's keys are in lower case.
    pub(super) fn find_lower(&self, key: &str) -> Option<T> {
        let mut bytes = [0; KEY_BYTES_MAX];
        // A longer one is none of the table's.
        let lower = bytes.get_mut(..key.len())?;
        lower.copy_from_slice(key.as_bytes());
        lower.make_ascii_lowercase();
        self.find(lower)
    }
}

/// Where the search for a key begins: its length and five of its bytes tell most keys apart.
#[inline]
const fn slot_of(key: &[u8]) -> usize {
    let n_bytes = key.len();
    if n_bytes == 0 {
        return 0;
    }
    let second = key[if n_bytes == 1 { 0 } else { 1 }];
    let (middle, late) = (key[n_bytes / 2], key[n_bytes / 4 * 3]);
    let told_by = [
        n_bytes as u8,
        key[0],
        second,
        middle,
        late,
        key[n_bytes - 1],
        0,
        0,
    ];
    // Fibonacci hashing: the upper bits hang on all of them.
    let upper = u64::BITS - SLOTS.trailing_zeros();
    (u64::from_le_bytes(told_by).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> upper) as usize
}

/// Says whether two keys are the same, when the program is compiled.
pub(super) const fn is_same(left: &[u8], right: &[u8]) -> bool {
    let mut at = 0;
    while at < left.len() && at < right.len() && left[at] == right[at] {
        at += 1;
    }
    at == left.len() && at == right.len()
}

/// In which case an object's keys are compared with those of its table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// As they stand.
    Exact,
    /// In lower case those that begin with a capital, as some writers have header names, and those with escapes.
    Title,
    /// All in lower case.
    Lower,
}

/// Reads a key as what it fills; `None` if nothing.
pub(super) struct KeySeed<T: 'static> {
    pub(super) table: &'static KeyTable<T>,
    pub(super) case: Case,
}

impl<'de, T: Copy> DeserializeSeed<'de> for KeySeed<T> {
    type Value = Option<T>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, T: Copy> Visitor<'de> for KeySeed<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Option<T>, E> {
        let is_title = || key.as_bytes().first().is_some_and(u8::is_ascii_uppercase);
        Ok(match self.case {
            Case::Title if is_title() => self.table.find_lower(key),
            Case::Lower => self.table.find_lower(key),
            Case::Title | Case::Exact => self.table.find(key.as_bytes()),
        })
    }

    /// Reads a key that has escapes.
    fn visit_str<E: Error>(self, key: &str) -> Result<Option<T>, E> {
        Ok(match self.case {
            Case::Title | Case::Lower => self.table.find_lower(key),
            Case::Exact => self.table.find(key.as_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELDS: &[(&str, usize)] = &[
        ("", 0),
        ("a", 1),
        ("b", 2),
        ("x-api-key", 3),
        ("x_api_key", 4),
        // Differ in no byte that tells where the search begins.
        ("abcdefgh", 5),
        ("abxdefgh", 6),
        ("abydefgh", 7),
        ("logEvents", 8),
    ];
    static TABLE: KeyTable<usize> = KeyTable::new(FIELDS);

    fn read(case: Case, json: &str) -> Option<usize> {
        let mut parser = sonic_rs::Deserializer::from_str(json);
        let seed = KeySeed {
            table: &TABLE,
            case,
        };
        seed.deserialize(&mut parser).unwrap()
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        for (key, field) in FIELDS {
            assert_eq!(TABLE.find(key.as_bytes()), Some(*field), "{key}");
        }
        for key in ["c", "abzdefgh", "x-api-kex", "X-Api-Key", &"a".repeat(300)] {
            assert_eq!(TABLE.find(key.as_bytes()), None, "{key}");
        }
        assert_eq!(TABLE.find_lower("X-API-key"), Some(3));
        assert_eq!(TABLE.find_lower(&"A".repeat(65)), None);
    }

    #[test]
    fn cases_are_told_apart() {
        use Case::{Exact, Lower, Title};
        let rows = [
            (r#""X-Api-Key""#, [None, Some(3), Some(3)]),
            (r#""x-Api-key""#, [None, None, Some(3)]),
            (r#""logEvents""#, [Some(8), Some(8), None]),
            (r#""LogEvents""#, [None, None, None]),
            (r#""log\u0045vents""#, [Some(8), None, None]),
            (r#""x-\u0041pi-key""#, [None, Some(3), Some(3)]),
            (r#""""#, [Some(0), Some(0), Some(0)]),
        ];
        for (json, want) in rows {
            assert_eq!(
                [Exact, Title, Lower].map(|case| read(case, json)),
                want,
                "{json}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_look_finds_what_a_search_finds(key in "[a-hxy_-]{0,9}") {
            let searched = FIELDS.iter().find(|(known, _)| *known == key);
            prop_assert_eq!(TABLE.find(key.as_bytes()), searched.map(|(_, field)| *field));
        }
    }
}
