//! What documents say of endpoints while calls come.

use std::collections::HashMap;
use std::sync::Arc;

use models::inventory::Documents;
use xxhash_rust::xxh3::xxh3_64;

/// Endpoints whose operation is remembered; beyond it they are looked for again.
const KNOWN_MAX: usize = 65_536;

/// Documents, and what was found in them. No state: all of it follows from the documents.
#[derive(Debug, Default)]
pub(super) struct Documented {
    documents: Arc<Documents>,
    known: HashMap<u64, Option<bool>>,
}

impl Documented {
    pub(super) fn new(documents: Arc<Documents>) -> Documented {
        Documented {
            documents,
            known: HashMap::new(),
        }
    }

    /// As [`Documents::owner`].
    pub(super) fn owner(&self, endpoint: &str) -> Option<&str> {
        self.documents.owner(endpoint)
    }

    /// As [`Documents::deprecates`].
    pub(super) fn deprecates(&mut self, endpoint: &str) -> Option<bool> {
        if self.documents.is_empty() {
            return None;
        }
        let key = xxh3_64(endpoint.as_bytes());
        if KNOWN_MAX <= self.known.len() && !self.known.contains_key(&key) {
            self.known.clear();
        }
        let known = self.known.entry(key);
        *known.or_insert_with(|| self.documents.deprecates(endpoint))
    }
}
