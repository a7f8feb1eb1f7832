//! A map with a bound: two generations, the older forgotten whole.
//!
//! Every keyed state of the models sits in one of these, so memory has a limit that an attacker's
//! choice of keys cannot move, and what is forgotten depends on the order of the log alone.

use std::hash::Hash;

use hashbrown::HashMap;

/// Hasher of keys that are already uniform 64-bit hashes: folds them with a fixed seed.
pub type FixedHasher = foldhash::fast::FixedState;

/// A map of at most `entries_max` entries.
///
/// An entry read or written lives in the young generation. When that holds half of `entries_max`,
/// it becomes the old one and what the old one still held is dropped: the keys least recently used.
#[derive(Debug)]
pub struct Generations<K, V> {
    young: HashMap<K, V, FixedHasher>,
    old: HashMap<K, V, FixedHasher>,
    young_max: usize,
    n_evicted: u64,
}

impl<K: Hash + Eq + Copy, V: Default> Generations<K, V> {
    /// A map that never holds more than `entries_max` entries (at least two).
    pub fn new(entries_max: usize) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            young_max: (entries_max / 2).max(1),
            n_evicted: 0,
        }
    }

    /// The entry of `key`, made by default when it is not there.
    pub fn entry(&mut self, key: K) -> &mut V {
        if !self.young.contains_key(&key) {
            // Taken first: a key that is asked for must not go with the generation it lies in.
            let value = self.old.remove(&key).unwrap_or_default();
            if self.young.len() >= self.young_max {
                let dropped = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
                self.n_evicted += dropped.len() as u64;
            }
            self.young.insert(key, value);
        }
        self.young.entry(key).or_default()
    }

    /// The entry of `key`, if there is one; does not make it younger.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries dropped since the beginning.
    pub fn n_evicted(&self) -> u64 {
        self.n_evicted
    }

    /// Bytes of the tables themselves, without what the values point to.
    pub fn table_bytes(&self) -> usize {
        (self.young.capacity() + self.old.capacity()) * (size_of::<(K, V)>() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_holds_more_than_the_bound_and_keeps_what_is_used() {
        let mut map: Generations<u64, u32> = Generations::new(100);
        for key in 0..10_000u64 {
            *map.entry(7) += 1;
            *map.entry(key + 1000) += 1;
            assert!(map.len() <= 100, "bound at key {key}");
        }
        assert_eq!(*map.entry(7), 10_000, "a key in use is never forgotten");
        assert!(map.get(&1000).is_none(), "an old key is forgotten");
        assert!(map.n_evicted() > 9_000);
    }

    #[test]
    fn a_key_of_the_old_generation_survives_the_turn_it_causes() {
        let mut map: Generations<u64, u32> = Generations::new(4);
        *map.entry(1) += 1;
        map.entry(2);
        // A full young generation turns old; 1 lies in it.
        map.entry(3);
        map.entry(4);
        *map.entry(1) += 1;
        assert_eq!(*map.entry(1), 2);
    }
}
