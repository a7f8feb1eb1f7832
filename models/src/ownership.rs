//! Who owns an object, and who has touched it.
//!
//! The owner is the first identity that reads (or, apart, writes) an object with success and is no
//! pan-reader: support staff, batch jobs and agents read everything and own nothing. Until somebody
//! has written an object, a write counts against its first reader. Up to four touchers are kept,
//! enough to see teams; a fifth adds nothing (measured on captures).
//!
//! 28 bytes an object, 32 more where it has a second toucher, and table slack; beyond `objects_max` the least recently
//! touched are forgotten, and their next toucher becomes their owner.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::generations::Generations;
use crate::walk::Walk;

/// What an allocator adds to what it is asked for, about.
const ALLOCATION_BYTES: usize = 16;
/// Touchers kept for one object.
pub const TOUCHERS_MAX: usize = 4;

/// An object's history as one toucher meets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The identity that owns the object, none when nobody does yet.
    pub owner: Option<u64>,
    /// Identities that touched it before, in order. The caller is among them where `seen` forgot that it knows
    /// the object.
    pub touchers: [Option<u64>; TOUCHERS_MAX],
    /// True when the object already had four touchers: who shares it says little about any of them.
    pub crowded: bool,
}

impl Standing {
    /// True when `identity` touched the object before.
    pub fn knows(&self, identity: u64) -> bool {
        self.touchers.contains(&Some(identity))
    }

    /// Those who touched it before, without `identity`.
    pub fn others(&self, identity: u64) -> impl Iterator<Item = u64> {
        let touchers = self.touchers.into_iter().flatten();
        touchers.filter(move |toucher| *toucher != identity)
    }
}

/// Most objects have one toucher.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Object {
    /// The first toucher: who owns it.
    owner: Option<NonZeroU64>,
    shared: Option<Box<Shared>>,
}

/// Those who touched an object after its owner.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Shared {
    touchers: [Option<NonZeroU64>; TOUCHERS_MAX - 1],
    crowded: bool,
}

impl Object {
    /// The owner and those who came after it.
    fn touchers(&self) -> [Option<u64>; TOUCHERS_MAX] {
        let later = self.shared.as_ref().map(|shared| shared.touchers);
        let [second, third, fourth] = later.unwrap_or_default();
        [self.owner, second, third, fourth].map(|toucher| toucher.map(NonZeroU64::get))
    }

    fn is_crowded(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.crowded)
    }

    /// Notes one who touched it.
    fn note(&mut self, identity: u64) {
        // Of all hashes one is another's.
        let identity = NonZeroU64::new(identity).unwrap_or(NonZeroU64::MIN);
        let owner = *self.owner.get_or_insert(identity);
        if owner == identity {
            return;
        }
        let shared = self.shared.get_or_insert_default();
        let known =
            |toucher: &&mut Option<NonZeroU64>| toucher.is_none() || **toucher == Some(identity);
        match shared.touchers.iter_mut().find(known) {
            Some(toucher) => *toucher = Some(identity),
            None => shared.crowded = true,
        }
    }
}

/// The objects of one lane.
#[derive(Debug)]
pub struct OwnershipTable {
    objects: Generations<u64, Object>,
}

impl OwnershipTable {
    /// Bytes an object takes at most.
    pub const OBJECT_BYTES: usize =
        Generations::<u64, Object>::ENTRY_BYTES + size_of::<Shared>() + ALLOCATION_BYTES;

    /// A table of at most `objects_max` objects (reads and writes of one object are two).
    pub fn new(objects_max: usize) -> Self {
        Self {
            objects: Generations::new(objects_max),
        }
    }

    /// Says what `object` is to `identity`, then lets a successful call leave its mark.
    ///
    /// A denied call changes nothing: an enumerator's misses must not make it an owner.
    pub fn touch(
        &mut self,
        identity: u64,
        object: u64,
        write: bool,
        success: bool,
        pan_reader: bool,
    ) -> Standing {
        // Until somebody has written the object, a write counts against who owns it by reading.
        let reader = if write {
            self.objects.get(&object).and_then(|read| read.owner)
        } else {
            None
        };
        let object = self.objects.entry(object.rotate_left(u32::from(write)));
        let standing = Standing {
            owner: object.owner.or(reader).map(NonZeroU64::get),
            touchers: object.touchers(),
            crowded: object.is_crowded(),
        };
        if success && !pan_reader {
            object.note(identity);
        }
        standing
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("ownership.objects", &mut self.objects);
    }

    /// Objects held.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True when nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Objects forgotten at the bound.
    pub fn n_evicted(&self) -> u64 {
        self.objects.n_evicted()
    }

    /// Bytes of the table, without those of second touchers.
    pub fn state_bytes(&self) -> usize {
        self.objects.table_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_successful_toucher_that_is_no_pan_reader_owns() {
        let mut table = OwnershipTable::new(100);
        let (alice, bob, batch) = (1, 2, 3);
        assert_eq!(
            table.touch(batch, 9, false, true, true).owner,
            None,
            "nobody yet"
        );
        assert_eq!(
            table.touch(bob, 9, false, false, false).owner,
            None,
            "a pan-reader owns nothing"
        );
        assert_eq!(
            table.touch(alice, 9, false, true, false).owner,
            None,
            "a denial owns nothing"
        );
        let bobs = table.touch(bob, 9, false, true, false);
        assert_eq!(bobs.owner, Some(alice));
        assert_eq!(bobs.touchers[0], Some(alice));
        assert_eq!(
            table.touch(alice, 8, true, true, false).owner,
            None,
            "nobody read or wrote it yet"
        );
        let carol = 3;
        let first_write = table.touch(bob, 9, true, true, false);
        assert_eq!(
            first_write.owner,
            Some(alice),
            "its reader's, until written"
        );
        assert_eq!(
            table.touch(carol, 9, true, true, false).owner,
            Some(bob),
            "writes have their own owner"
        );
    }

    #[test]
    fn four_touchers_are_kept_and_a_fifth_makes_it_crowded() {
        let mut table = OwnershipTable::new(100);
        for identity in 1..=5 {
            assert!(!table.touch(identity, 9, false, true, false).crowded);
        }
        let standing = table.touch(6, 9, false, true, false);
        assert!(standing.crowded);
        assert_eq!(standing.touchers, [Some(1), Some(2), Some(3), Some(4)]);
        let again = table.touch(1, 9, false, true, false);
        assert!(again.knows(1) && !again.knows(6));
        assert_eq!(again.others(1).collect::<Vec<_>>(), [2, 3, 4]);
    }
}
