//! How a model's state is saved and put back.
//!
//! A model names its tables and numbers once, in its `walk`, and the one who walks reads or writes them: so what is saved
//! is what is put back, in the same order. What a model computes from its configuration is not its state.

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::generations::Generations;

/// Goes over a model's state, to save it or to put it back.
pub trait Walk {
    /// A table. Of a saved one only what changed may be meant, so it must hold what it held then.
    ///
    /// * `name`: the same in every version that can read the other's.
    fn table<K, V>(&mut self, name: &'static str, table: &mut Generations<K, V>)
    where
        K: Hash + Eq + Copy + Send + Sync + Serialize + DeserializeOwned + 'static,
        V: Default + Clone + Send + Sync + Serialize + DeserializeOwned + 'static;

    /// Anything else, saved whole each time: small.
    fn value<T: Serialize + DeserializeOwned>(&mut self, name: &'static str, value: &mut T);
}
