//! A vector in chunks, so that it can be saved while it is written.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use models::generations::Chunk;

/// Elements of a chunk: what is copied when one of them is written while it is saved.
const CHUNK: usize = 256;

/// A growing vector; its elements have the same place for ever.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Chunk<Vec<T>>>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Clone + Default> Slab<T> {
    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one at the end.
    pub fn push(&mut self, element: T) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Chunk::Owned(Vec::new()));
        }
        self.chunks[self.len / CHUNK].get_mut().push(element);
        self.len += 1;
    }

    /// All elements as they are now, whatever is written later.
    pub fn share(&mut self) -> Vec<Arc<Vec<T>>> {
        self.chunks.iter_mut().map(Chunk::share).collect()
    }
}

impl<T: Clone + Default> Index<usize> for Slab<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.chunks[at / CHUNK].get()[at % CHUNK]
    }
}

impl<T: Clone + Default> IndexMut<usize> for Slab<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at / CHUNK].get_mut()[at % CHUNK]
    }
}
