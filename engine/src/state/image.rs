//! A lane frozen, and put back.
//!
//! A lane goes over its state with a [`LaneWalk`]: with a [`Saver`], tables give what has changed and go
//! on at once, to be encoded aside; with a [`Loader`], they take back what a chain of snapshots
//! holds, the full one first.

use std::collections::HashMap;
use std::hash::Hash;

use models::generations::Generations;
use models::walk::Walk;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::part::{Block, Damage, PartWriter, WriteError};
use super::slab::Slab;

/// Goes over the state of a lane, models and rules.
pub trait LaneWalk: Walk {
    /// What follows is of this scope, until the next one; false when nothing was saved of it.
    fn enter(&mut self, scope: &str) -> bool;

    /// A vector, saved whole each time. True when it was put back, so that what follows from it can be.
    fn slab<T>(&mut self, name: &'static str, slab: &mut Slab<T>) -> bool
    where
        T: Clone + Default + Send + Sync + Serialize + DeserializeOwned + 'static;

    /// Anything that is copied faster than encoded, saved whole each time.
    fn copied<T>(&mut self, name: &'static str, value: &mut T)
    where
        T: Clone + Send + Serialize + DeserializeOwned + 'static;
}

type Encode = Box<dyn FnOnce(&mut PartWriter<'_>) -> Result<(), WriteError> + Send>;

/// A lane's state, frozen: holds it as it was until it is written.
pub struct Image {
    sections: Vec<(String, Encode)>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.sections.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Image {
    /// Writes every section.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(self, mut to: PartWriter<'_>) -> Result<(), WriteError> {
        for (name, encode) in self.sections {
            to.begin(&name)?;
            encode(&mut to)?;
        }
        to.finish()
    }
}

/// Freezes what it goes over.
pub struct Saver {
    since: Option<u32>,
    epoch: u32,
    scope: String,
    sections: Vec<(String, Encode)>,
    fault: Option<postcard::Error>,
}

impl Saver {
    /// Saves what changed after the epoch `since`, none for everything; what changes later changes after `epoch`.
    pub fn new(since: Option<u32>, epoch: u32) -> Self {
        Self {
            since,
            epoch,
            scope: String::new(),
            sections: Vec::new(),
            fault: None,
        }
    }

    /// What was frozen.
    ///
    /// # Errors
    /// A value has no encoding.
    pub fn finish(self) -> Result<Image, postcard::Error> {
        match self.fault {
            None => Ok(Image {
                sections: self.sections,
            }),
            Some(fault) => Err(fault),
        }
    }

    fn later(
        &mut self,
        name: &str,
        encode: impl FnOnce(&mut PartWriter<'_>) -> Result<(), WriteError> + Send + 'static,
    ) {
        let name = format!("{}{name}", self.scope);
        self.sections.push((name, Box::new(encode)));
    }
}

impl Walk for Saver {
    fn table<K, V>(&mut self, name: &'static str, table: &mut Generations<K, V>)
    where
        K: Hash + Eq + Copy + Send + Sync + Serialize + DeserializeOwned + 'static,
        V: Default + Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    {
        let frozen = table.freeze(self.since, self.epoch);
        self.later(name, move |to| {
            to.push(&frozen.n_turns())?;
            frozen.for_each(|is_young, key, value| to.push(&(is_young, key, value)))
        });
    }

    fn value<T: Serialize + DeserializeOwned>(&mut self, name: &'static str, value: &mut T) {
        match postcard::to_stdvec(value) {
            Ok(bytes) => self.later(name, move |to| to.push_encoded(&bytes)),
            Err(fault) => self.fault = Some(fault),
        }
    }
}

impl LaneWalk for Saver {
    fn enter(&mut self, scope: &str) -> bool {
        self.scope = format!("{scope}/");
        true
    }

    fn slab<T>(&mut self, name: &'static str, slab: &mut Slab<T>) -> bool
    where
        T: Clone + Default + Send + Sync + Serialize + DeserializeOwned + 'static,
    {
        let chunks = slab.share();
        self.later(name, move |to| {
            to.push(&(chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>()))?;
            for chunk in chunks {
                chunk.iter().try_for_each(|element| to.push(element))?;
            }
            Ok(())
        });
        false
    }

    fn copied<T>(&mut self, name: &'static str, value: &mut T)
    where
        T: Clone + Send + Serialize + DeserializeOwned + 'static,
    {
        let value = value.clone();
        self.later(name, move |to| to.push(&value));
    }
}

/// Puts back what it goes over, from a chain of snapshots: a full one, then what changed after it.
#[derive(Default)]
pub struct Loader {
    /// Blocks of each snapshot by section.
    links: Vec<HashMap<String, Vec<Block>>>,
    scope: String,
    fault: Option<Damage>,
}

impl Loader {
    /// Adds the next snapshot of the chain.
    pub fn add(&mut self, blocks: impl IntoIterator<Item = Block>) {
        let mut link = HashMap::<String, Vec<Block>>::new();
        for block in blocks {
            link.entry(block.name.clone()).or_default().push(block);
        }
        self.links.push(link);
    }

    /// Says whether everything was put back.
    ///
    /// # Errors
    /// What was wrong; the lane is not to be used.
    pub fn finish(self) -> Result<(), Damage> {
        self.fault.map_or(Ok(()), Err)
    }

    /// Goes on with the blocks of a section in one snapshot, while nothing is wrong.
    fn section(
        &mut self,
        at: usize,
        name: &str,
        read: impl FnOnce(&mut Section) -> Result<(), Damage>,
    ) -> bool {
        if self.fault.is_some() {
            return false;
        }
        let name = format!("{}{name}", self.scope);
        let done = match self.links.get_mut(at).and_then(|link| link.remove(&name)) {
            None => Err(Damage::Missing(name)),
            Some(blocks) => {
                let mut section = Section {
                    name,
                    blocks: blocks.into_iter(),
                    bytes: Vec::new(),
                    at: 0,
                };
                read(&mut section)
            }
        };
        self.fault = done.err();
        self.fault.is_none()
    }

    fn last(&self) -> usize {
        self.links.len().saturating_sub(1)
    }
}

/// A section being read: what was pushed, one after the other.
struct Section {
    name: String,
    blocks: std::vec::IntoIter<Block>,
    bytes: Vec<u8>,
    at: usize,
}

impl Section {
    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Damage> {
        if self.at == self.bytes.len() {
            let Some(block) = self.blocks.next() else {
                return Ok(None);
            };
            (self.bytes, self.at) = (block.bytes()?, 0);
        }
        match postcard::take_from_bytes::<T>(&self.bytes[self.at..]) {
            Ok((value, rest)) => {
                self.at = self.bytes.len() - rest.len();
                Ok(Some(value))
            }
            Err(_) => Err(Damage::Section(self.name.clone())),
        }
    }

    fn one<T: DeserializeOwned>(&mut self) -> Result<T, Damage> {
        let value = self.next()?;
        value.ok_or_else(|| Damage::Section(self.name.clone()))
    }
}

impl Walk for Loader {
    fn table<K, V>(&mut self, name: &'static str, table: &mut Generations<K, V>)
    where
        K: Hash + Eq + Copy + Send + Sync + Serialize + DeserializeOwned + 'static,
        V: Default + Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    {
        for at in 0..self.links.len() {
            self.section(at, name, |section| {
                table.turn_to(section.one()?);
                while let Some((is_young, key, value)) = section.next()? {
                    table.put(is_young, key, value);
                }
                Ok(())
            });
        }
    }

    fn value<T: Serialize + DeserializeOwned>(&mut self, name: &'static str, value: &mut T) {
        self.section(self.last(), name, |section| {
            *value = section.one()?;
            Ok(())
        });
    }
}

impl LaneWalk for Loader {
    fn enter(&mut self, scope: &str) -> bool {
        self.scope = format!("{scope}/");
        let last = self.links.last();
        last.is_some_and(|link| link.keys().any(|name| name.starts_with(&self.scope)))
    }

    fn slab<T>(&mut self, name: &'static str, slab: &mut Slab<T>) -> bool
    where
        T: Clone + Default + Send + Sync + Serialize + DeserializeOwned + 'static,
    {
        self.section(self.last(), name, |section| {
            let mut fresh = Slab::default();
            for _ in 0..section.one::<u64>()? {
                fresh.push(section.one()?);
            }
            *slab = fresh;
            Ok(())
        })
    }

    fn copied<T>(&mut self, name: &'static str, value: &mut T)
    where
        T: Clone + Send + Serialize + DeserializeOwned + 'static,
    {
        self.value(name, value);
    }
}
