//! A map with a bound: two generations, the older forgotten whole.
//!
//! Every keyed state of the models sits in one of these, so memory has a limit that an attacker's
//! choice of keys cannot move, and what is forgotten depends on the order of the log alone.
//!
//! The entries lie in chunks of about a thousand, so that the map can be saved while it is at work:
//! [`Generations::freeze`] shares the chunks that have changed, in a microsecond each, and who writes to
//! a shared chunk copies it first. An entry knows when it last changed, so that what is saved is what
//! has changed since the last time.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::HashTable;

/// Hasher of keys that are already uniform 64-bit hashes: folds them with a fixed seed.
pub type FixedHasher = foldhash::fast::FixedState;

/// Entries of one chunk that is full, about: the unit that is copied when it is written while it is saved.
const CHUNK_ENTRIES: usize = 1024;
/// Chunks of one generation; beyond it they get larger.
const CHUNKS_MAX: usize = 4096;

#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    /// The epoch of the last change.
    changed: u32,
    value: V,
}

type Entries<K, V> = HashTable<Entry<K, V>>;
/// A chunk with the epoch of its last change.
type Dated<K, V> = (u32, Chunk<Entries<K, V>>);

/// Part of a map, of one owner or shared with who saves it.
#[derive(Debug)]
pub enum Chunk<T> {
    /// Written in place.
    Owned(T),
    /// Copied before it is written, unless nobody reads it any more.
    Shared(Arc<T>),
}

impl<T: Clone + Default> Chunk<T> {
    /// To read.
    pub fn get(&self) -> &T {
        match self {
            Chunk::Owned(part) => part,
            Chunk::Shared(part) => part,
        }
    }

    /// To write.
    pub fn get_mut(&mut self) -> &mut T {
        if let Chunk::Shared(_) = self
            && let Chunk::Shared(part) = std::mem::replace(self, Chunk::Owned(T::default()))
        {
            *self = Chunk::Owned(Arc::unwrap_or_clone(part));
        }
        match self {
            Chunk::Owned(part) => part,
            // Made its owner's a line ago.
            Chunk::Shared(part) => Arc::make_mut(part),
        }
    }

    /// As it is now, whatever is written later.
    pub fn share(&mut self) -> Arc<T> {
        let part = match std::mem::replace(self, Chunk::Owned(T::default())) {
            Chunk::Owned(part) => Arc::new(part),
            Chunk::Shared(part) => part,
        };
        *self = Chunk::Shared(part.clone());
        part
    }
}

#[derive(Debug)]
struct Generation<K, V> {
    /// A power of two of them.
    chunks: Box<[Dated<K, V>]>,
    n_entries: usize,
}

impl<K: Hash + Eq + Copy, V: Clone> Generation<K, V> {
    fn new(n_chunks: usize) -> Self {
        let chunk = |_| (0, Chunk::Owned(HashTable::new()));
        Self {
            chunks: (0..n_chunks).map(chunk).collect(),
            n_entries: 0,
        }
    }

    fn place(&self, hash: u64) -> usize {
        // Not the bits the tables in the chunks use: the lowest and the highest seven.
        (hash >> 40) as usize & (self.chunks.len() - 1)
    }

    fn get(&self, hash: u64, key: &K) -> Option<&V> {
        let (_, chunk) = &self.chunks[self.place(hash)];
        let entry = chunk.get().find(hash, |entry| entry.key == *key)?;
        Some(&entry.value)
    }

    /// Chunk and bucket of a key.
    fn find(&self, hash: u64, key: &K) -> Option<(usize, usize)> {
        let place = self.place(hash);
        let (_, chunk) = &self.chunks[place];
        let bucket = chunk
            .get()
            .find_bucket_index(hash, |entry| entry.key == *key)?;
        Some((place, bucket))
    }

    /// The value of a key that lies there. Found first: a chunk is not copied for a key it has not.
    fn at_mut(
        &mut self,
        (place, bucket): (usize, usize),
        hash: u64,
        key: &K,
        epoch: u32,
    ) -> &mut V {
        let (changed, chunk) = &mut self.chunks[place];
        let is_owned = matches!(chunk, Chunk::Owned(_));
        let entries = chunk.get_mut();
        let entry = match is_owned {
            true => entries.get_bucket_mut(bucket),
            // Nobody promises that a copy has it in the same bucket.
            false => entries.find_mut(hash, |entry| entry.key == *key),
        };
        let entry = entry.expect("it was found");
        (entry.changed, *changed) = (epoch, epoch);
        &mut entry.value
    }

    fn remove(&mut self, hash: u64, key: &K) -> Option<V> {
        let place = self.place(hash);
        let (_, chunk) = &mut self.chunks[place];
        chunk.get().find(hash, |entry| entry.key == *key)?;
        let found = chunk
            .get_mut()
            .find_entry(hash, |entry| entry.key == *key)
            .ok()?;
        self.n_entries -= 1;
        Some(found.remove().0.value)
    }

    /// Adds a key that is not there.
    fn insert(&mut self, hasher: &FixedHasher, hash: u64, key: K, value: V, epoch: u32) -> &mut V {
        let place = self.place(hash);
        let (changed, chunk) = &mut self.chunks[place];
        *changed = epoch;
        self.n_entries += 1;
        let entry = Entry {
            key,
            changed: epoch,
            value,
        };
        let entries = chunk.get_mut();
        let entry = entries.insert_unique(hash, entry, |entry| hasher.hash_one(entry.key));
        &mut entry.into_mut().value
    }

    fn capacity(&self) -> usize {
        let chunks = self.chunks.iter();
        chunks.map(|(_, chunk)| chunk.get().capacity()).sum()
    }
}

/// A map of at most `entries_max` entries.
///
/// An entry read or written lives in the young generation. When that holds nearly half of `entries_max`,
/// it becomes the old one and what the old one still held is dropped: the keys least recently used. Where a map has
/// a measure of suspicion, the most suspicious of those stay one turn more, a sixteenth of the map at most: whoever
/// floods it with fresh keys does not hide what was about to be found.
#[derive(Debug)]
pub struct Generations<K, V> {
    young: Generation<K, V>,
    old: Generation<K, V>,
    young_max: usize,
    hasher: FixedHasher,
    /// How suspicious an entry is; 0 when it may be forgotten.
    suspicion: fn(&V) -> f64,
    n_turns: u64,
    n_evicted: u64,
    /// What changes now has changed in this epoch; it grows with every freeze.
    epoch: u32,
}

/// The entries of a map that changed after an epoch, as they were when it was frozen.
#[derive(Debug)]
pub struct Frozen<K, V> {
    n_turns: u64,
    since: Option<u32>,
    /// With whether they are of the young generation.
    chunks: Vec<(bool, Arc<Entries<K, V>>)>,
}

impl<K, V> Frozen<K, V> {
    /// Times the young generation had become the old one: to be given to [`Generations::turn_to`].
    pub fn n_turns(&self) -> u64 {
        self.n_turns
    }

    /// Hands over every entry, with whether it is of the young generation, and lets go of each chunk as it is done.
    ///
    /// # Errors
    /// Those of `each`, at once.
    pub fn for_each<E>(self, mut each: impl FnMut(bool, &K, &V) -> Result<(), E>) -> Result<(), E> {
        for (is_young, chunk) in self.chunks {
            for entry in chunk
                .iter()
                .filter(|entry| self.since < Some(entry.changed))
            {
                each(is_young, &entry.key, &entry.value)?;
            }
        }
        Ok(())
    }
}

impl<K: Hash + Eq + Copy, V: Default + Clone> Generations<K, V> {
    /// A map that never holds more than `entries_max` entries (at least two).
    pub fn new(entries_max: usize) -> Self {
        // What a turn keeps comes on top of the old generation.
        let young_max = (entries_max * 8 / 17).max(1);
        let n_chunks = (young_max / CHUNK_ENTRIES).clamp(1, CHUNKS_MAX);
        let n_chunks = n_chunks.next_power_of_two();
        Self {
            young: Generation::new(n_chunks),
            old: Generation::new(n_chunks),
            young_max,
            hasher: FixedHasher::default(),
            suspicion: |_| 0.0,
            n_turns: 0,
            n_evicted: 0,
            epoch: 1,
        }
    }

    /// Keeps the entries of greatest suspicion a turn longer.
    ///
    /// * `suspicion`: how much there is to lose with an entry, in any unit; 0 when it may be forgotten.
    #[must_use]
    pub fn keeping(mut self, suspicion: fn(&V) -> f64) -> Self {
        self.suspicion = suspicion;
        self
    }

    /// Bytes an entry takes at most, without what it points to: a table grows by doubling, to seven eighths.
    pub const ENTRY_BYTES: usize = (size_of::<Entry<K, V>>() + 1) * 16 / 7;

    /// The entry of `key`, made by default when it is not there.
    pub fn entry(&mut self, key: K) -> &mut V {
        let (hash, epoch) = (self.hasher.hash_one(key), self.epoch);
        if let Some(at) = self.young.find(hash, &key) {
            return self.young.at_mut(at, hash, &key, epoch);
        }
        // Taken first: a key that is asked for must not go with the generation it lies in.
        let value = self.old.remove(hash, &key).unwrap_or_default();
        if self.young.n_entries >= self.young_max {
            self.turn();
        }
        self.young.insert(&self.hasher, hash, key, value, epoch)
    }

    /// The entry of `key`, if there is one; does not make it younger.
    pub fn get(&self, key: &K) -> Option<&V> {
        let hash = self.hasher.hash_one(key);
        let young = self.young.get(hash, key);
        young.or_else(|| self.old.get(hash, key))
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.young.n_entries + self.old.n_entries
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
        (self.young.capacity() + self.old.capacity()) * (size_of::<Entry<K, V>>() + 1)
    }

    fn turn(&mut self) {
        let dropped = self.turn_over();
        let mut kept = Vec::new();
        for (_, chunk) in &dropped.chunks {
            let entries = chunk.get().iter();
            let suspects = entries.map(|entry| ((self.suspicion)(&entry.value), entry));
            kept.extend(suspects.filter(|(suspicion, _)| 0.0 < *suspicion));
        }
        let kept_max = self.young_max / 8;
        if kept_max < kept.len() {
            // By key where suspicion is equal: the order in a table is no part of the state.
            let order = |(suspicion, entry): &(f64, &Entry<K, V>)| {
                (
                    std::cmp::Reverse(suspicion.to_bits()),
                    self.hasher.hash_one(entry.key),
                )
            };
            kept.sort_unstable_by_key(order);
            kept.truncate(kept_max);
        }
        self.n_evicted += (dropped.n_entries - kept.len()) as u64;
        for (_, entry) in kept {
            let hash = self.hasher.hash_one(entry.key);
            let value = entry.value.clone();
            self.old
                .insert(&self.hasher, hash, entry.key, value, self.epoch);
        }
    }

    /// The young generation becomes the old one, which comes back.
    fn turn_over(&mut self) -> Generation<K, V> {
        let fresh = Generation::new(self.young.chunks.len());
        self.n_turns += 1;
        std::mem::replace(&mut self.old, std::mem::replace(&mut self.young, fresh))
    }

    /// What changed after epoch `since`, as it is now; what changes from now on, changes in `epoch + 1`.
    ///
    /// * `since`: none for everything. Takes a microsecond a changed chunk, whatever is in it.
    pub fn freeze(&mut self, since: Option<u32>, epoch: u32) -> Frozen<K, V> {
        self.epoch = epoch + 1;
        let mut chunks = Vec::new();
        for (is_young, generation) in [(true, &mut self.young), (false, &mut self.old)] {
            let changed = generation
                .chunks
                .iter_mut()
                .filter(|(at, _)| since < Some(*at));
            chunks.extend(changed.map(|(_, chunk)| (is_young, chunk.share())));
        }
        Frozen {
            n_turns: self.n_turns,
            since,
            chunks,
        }
    }

    /// First step of putting back what was frozen: the generations turn as often as they had turned there.
    ///
    /// The map must be as it was at the epoch the frozen one is `since`, or new. An entry that changed after it is put
    /// back by [`Generations::put`]. All others that lived were in the young generation once more, or have not moved: so
    /// one turn carries them over as it did then, and after two none is left. Those kept for their suspicion have changed.
    pub fn turn_to(&mut self, n_turns: u64) {
        let n = n_turns.saturating_sub(self.n_turns);
        for _ in 0..n.min(2) {
            drop(self.turn_over());
        }
        (self.n_turns, self.n_evicted) = (n_turns, 0);
    }

    /// Puts back one entry.
    pub fn put(&mut self, is_young: bool, key: K, value: V) {
        let hash = self.hasher.hash_one(key);
        self.young.remove(hash, &key);
        self.old.remove(hash, &key);
        let generation = match is_young {
            true => &mut self.young,
            false => &mut self.old,
        };
        // Saved already, in an epoch before the first.
        generation.insert(&self.hasher, hash, key, value, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

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
        let mut map: Generations<u64, u32> = Generations::new(5);
        *map.entry(1) += 1;
        map.entry(2);
        // A full young generation turns old; 1 lies in it.
        map.entry(3);
        map.entry(4);
        *map.entry(1) += 1;
        assert_eq!(*map.entry(1), 2);
    }

    #[test]
    fn a_flood_of_fresh_keys_pushes_out_no_suspect_and_not_the_bound() {
        let mut map: Generations<u64, f64> = Generations::new(1000).keeping(|r| *r);
        (0..40).for_each(|key| *map.entry(key) = 100.0 + key as f64);
        for key in 1000..51_000 {
            map.entry(key);
            assert!(map.len() <= 1000);
        }
        assert!((0..40).all(|key| map.get(&key).is_some()));
        // More suspects than there is room for: the greatest stay.
        (100..1000).for_each(|key| *map.entry(key) = key as f64);
        (100_000..103_000).for_each(|key| *map.entry(key) = 0.0);
        assert!(map.len() <= 1000);
        assert!(map.get(&999).is_some() && map.get(&0).is_none());
    }

    type Held = BTreeMap<u64, (bool, u32)>;

    fn held(frozen: Frozen<u64, u32>) -> Held {
        let mut all = Held::new();
        let noted = frozen.for_each(|is_young, key, value| {
            assert!(all.insert(*key, (is_young, *value)).is_none(), "twice");
            Ok::<_, Infallible>(())
        });
        noted.unwrap();
        all
    }

    fn put_back(map: &mut Generations<u64, u32>, n_turns: u64, entries: &Held) {
        map.turn_to(n_turns);
        for (key, (is_young, value)) in entries {
            map.put(*is_young, *key, *value);
        }
    }

    #[test]
    fn what_is_frozen_stays_as_it_was_while_the_map_goes_on() {
        let mut map: Generations<u64, u32> = Generations::new(100_000);
        (0..10_000).for_each(|key| *map.entry(key) = 1);
        let frozen = map.freeze(None, 1);
        (0..20_000).for_each(|key| *map.entry(key) += 10);
        let entries = held(frozen);
        assert_eq!(entries.len(), 10_000);
        assert!(entries.values().all(|(_, value)| *value == 1));
        assert_eq!(map.get(&5), Some(&11));
    }

    /// Everything in a map, with the generation it is in.
    fn all(map: &Generations<u64, u32>) -> Held {
        let mut all = Held::new();
        for (is_young, generation) in [(true, &map.young), (false, &map.old)] {
            let before = all.len();
            let entries = generation.chunks.iter().flat_map(|(_, chunk)| chunk.get());
            all.extend(entries.map(|entry| (entry.key, (is_young, entry.value))));
            assert_eq!(all.len() - before, generation.n_entries);
        }
        all
    }

    proptest! {
        /// A map put together from what was frozen, at any moments and in chains of any length, holds what the first
        /// one holds, in the same generations: so it forgets the same from then on.
        #[test]
        fn a_map_put_back_is_the_map(
            keys in proptest::collection::vec(0_u64..60, 0..600),
            every in 1_usize..90,
            chain in 1_usize..6,
        ) {
            // Some are suspicious, so that turns keep them.
            let fresh = || Generations::new(40).keeping(|value: &u32| f64::from(value % 3));
            let (mut map, mut copy) = (fresh(), fresh());
            let mut epoch = 0;
            for (n, key) in keys.iter().enumerate() {
                *map.entry(*key) += n as u32;
                if n % every != 0 {
                    continue;
                }
                let is_full = (n / every).is_multiple_of(chain);
                if is_full {
                    copy = fresh();
                }
                let frozen = map.freeze((!is_full).then_some(epoch), epoch + 1);
                epoch += 1;
                put_back(&mut copy, frozen.n_turns(), &held(frozen));
                prop_assert_eq!(all(&copy), all(&map));
                prop_assert!(held(copy.freeze(Some(0), 0)).is_empty(), "what was put back counts as saved");
            }
        }
    }
}
