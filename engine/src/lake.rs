//! The event lake: decoded, scored events as Parquet in object storage, each once, by position.
//!
//! In come the rows that the rules over `events` see, lane by lane; out go files that any reader of Parquet understands:
//!
//! ```text
//! events/date=2026-01-05/hour=10/<lane>-<first offset>-<end offset>.parquet
//! _lanes/<lane>/<sequence>.json
//! ```
//!
//! A *chunk* is a run of a lane's log, half-open: [`rows`] makes its files, one an hour of event time. [`ledger`] is the lane's
//! record of its chunks, [`writer`] the thread that writes them, [`reading`] the way back, in the order of the lanes.
//!
//! **Invariant**: a chunk's bounds are in the ledger before any of its files is written, and nobody else's bounds overlap
//! them; so whoever writes the chunk, and however often, writes the same files.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use tokio::runtime::Runtime;

use crate::state::address::{Reason, address, objects_in};

pub mod ledger;
pub mod reading;
pub mod rows;
pub mod writer;

pub use ledger::Ledger;
pub use writer::{LaneWriter, Writer};

/// Folder of the files of events.
pub const EVENTS: &str = "events";
/// Folder of the ledgers. Readers of folders in Hive's manner pass over names that begin like this.
const LANES: &str = "_lanes";
/// Longest wait for one object, in seconds; the client tries again within it.
const PATIENCE_S: u64 = 120;

/// Why the lake cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LakeError {
    /// The address is wrong, or its options.
    #[error(
        "the lake's address {url} cannot be used; give a folder, file:///…, s3://…, gs://… or az://…"
    )]
    Url {
        /// The address.
        url: String,
        /// Why.
        source: Reason,
    },
    /// The object store fails.
    #[error("cannot {what} {key} in the lake")]
    Store {
        /// What was tried.
        what: &'static str,
        /// On which object.
        key: String,
        /// Why it failed.
        source: object_store::Error,
    },
    /// The object store does not answer.
    #[error("cannot {what} {key} in the lake: no answer in {PATIENCE_S} s")]
    Slow {
        /// What was tried.
        what: &'static str,
        /// On which object.
        key: String,
    },
    /// The store holds something else than what it took.
    #[error("{key} in the lake has {found} bytes, {written} were written")]
    Torn {
        /// The object.
        key: String,
        /// Bytes written.
        written: u64,
        /// Bytes there.
        found: u64,
    },
    /// Somebody else writes the lane now.
    #[error("lane {lane} has another writer: entry {sequence} of its ledger is not ours")]
    Fenced {
        /// The lane.
        lane: String,
        /// The entry that was taken.
        sequence: u64,
    },
    /// A file is none of ours, or damaged.
    #[error("{key} is no file of this lake: {reason}")]
    Foreign {
        /// The file.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Rows could not be made into a file: a fault of this program.
    #[error("cannot encode events of lane {lane}")]
    Encode {
        /// The lane.
        lane: String,
        /// Why.
        source: parquet::errors::ParquetError,
    },
}

/// An object store with a lake in it, and its client's threads.
pub struct Lake {
    objects: Arc<dyn ObjectStore>,
    root: Key,
    runtime: Option<Runtime>,
}

impl Drop for Lake {
    fn drop(&mut self) {
        // Dropped where waiting is not allowed, it would panic.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.objects, self.root)
    }
}

impl Lake {
    /// The lake at an address, or in a folder, which is made.
    ///
    /// # Errors
    /// The address is wrong, or the folder cannot be made.
    pub fn open(place: &str) -> Result<Lake, LakeError> {
        let wrong = |(url, source)| LakeError::Url { url, source };
        let (objects, root) = match place.contains("://") {
            true => address(place),
            false => objects_in(Path::new(place))
                .map(|objects| (objects, Key::default()))
                .map_err(|source| (place.to_owned(), source)),
        }
        .map_err(wrong)?;
        Self::over(objects, root).map_err(|error| wrong((place.to_owned(), error.into())))
    }

    /// A lake that is there already.
    ///
    /// # Errors
    /// There is none.
    pub fn existing(place: &str) -> Result<Lake, LakeError> {
        let folder = place.strip_prefix("file://").unwrap_or(place);
        if !folder.contains("://") && !Path::new(folder).join(EVENTS).is_dir() {
            return Err(LakeError::Url {
                url: place.to_owned(),
                source: format!("there is no folder `{EVENTS}` in it; `tollwatch replay --lake` and `[lake]` of the service make one").into(),
            });
        }
        Self::open(place)
    }

    /// True when a path or address is that of a lake, not of a file.
    pub fn is_at(place: &str) -> bool {
        place.contains("://") || Path::new(place).join(EVENTS).is_dir()
    }

    /// A lake below `root` of an object store.
    ///
    /// # Errors
    /// Its threads cannot be started.
    pub fn over(objects: Arc<dyn ObjectStore>, root: Key) -> Result<Lake, std::io::Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lake-store")
            .enable_all()
            .build()?;
        Ok(Lake {
            objects,
            root,
            runtime: Some(runtime),
        })
    }

    /// The object store, and the folder of the events in it.
    pub fn events(&self) -> (Arc<dyn ObjectStore>, Key) {
        (self.objects.clone(), self.root.clone().join(EVENTS))
    }

    fn key(&self, below: &str) -> Key {
        let parts = below.split('/').filter(|part| !part.is_empty());
        parts.fold(self.root.clone(), |key, part| key.join(part))
    }

    fn wait<T>(
        &self,
        what: &'static str,
        key: &Key,
        answer: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, LakeError> {
        let slow = || LakeError::Slow {
            what,
            key: key.to_string(),
        };
        let runtime = self.runtime.as_ref().ok_or_else(slow)?;
        let patience = Duration::from_secs(PATIENCE_S);
        let answered = runtime.block_on(async { tokio::time::timeout(patience, answer).await });
        answered
            .map_err(|_| slow())?
            .map_err(|source| LakeError::Store {
                what,
                key: key.to_string(),
                source,
            })
    }

    /// Objects below a folder.
    fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>, LakeError> {
        let key = self.key(folder);
        self.wait("list", &key, self.objects.list(Some(&key)).try_collect())
    }

    fn read(&self, key: &Key) -> Result<Bytes, LakeError> {
        let read = async { self.objects.get(key).await?.bytes().await };
        self.wait("read", key, read)
    }

    /// Creates an object; false when there is one already.
    fn create(&self, below: &str, bytes: Bytes) -> Result<bool, LakeError> {
        let key = self.key(below);
        let options = PutOptions::from(PutMode::Create);
        let put = self.objects.put_opts(&key, bytes.into(), options);
        match self.wait("create", &key, put) {
            Ok(_) => Ok(true),
            Err(LakeError::Store {
                source: object_store::Error::AlreadyExists { .. },
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes an object that whoever writes it writes the same, and looks whether it is there whole: a torn file would be
    /// missed for good. What is whole already stays, so that one who writes it late can't tear it and be gone.
    fn put(&self, below: &str, bytes: &Bytes) -> Result<(), LakeError> {
        let written = bytes.len() as u64;
        if !self.create(below, bytes.clone())?
            && let Some(torn) = self.head(below)?.filter(|found| found.size != written)
        {
            self.mend(torn, bytes)?;
        }
        match self.head(below)? {
            Some(found) if found.size == written => Ok(()),
            found => Err(LakeError::Torn {
                key: self.key(below).to_string(),
                written,
                found: found.map_or(0, |found| found.size),
            }),
        }
    }

    /// Writes over an object as long as it is the torn one that was seen, where the store can be told so.
    fn mend(&self, torn: ObjectMeta, bytes: &Bytes) -> Result<(), LakeError> {
        let key = torn.location;
        let put = |mode| {
            let options = PutOptions::from(mode);
            let put = self.objects.put_opts(&key, bytes.clone().into(), options);
            self.wait("write", &key, put)
        };
        let seen = UpdateVersion {
            e_tag: torn.e_tag,
            version: torn.version,
        };
        let done = match put(PutMode::Update(seen)) {
            Err(LakeError::Store {
                source: object_store::Error::NotImplemented { .. },
                ..
            }) => put(PutMode::Overwrite),
            done => done,
        };
        match done {
            Ok(_) => Ok(()),
            // Somebody else has mended it.
            Err(LakeError::Store {
                source: object_store::Error::Precondition { .. },
                ..
            }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Bytes of an object; none when it is not there.
    fn size(&self, below: &str) -> Result<Option<u64>, LakeError> {
        Ok(self.head(below)?.map(|meta| meta.size))
    }

    /// What the store says of an object; none when it is not there.
    fn head(&self, below: &str) -> Result<Option<ObjectMeta>, LakeError> {
        let key = self.key(below);
        match self.wait("look for", &key, self.objects.head(&key)) {
            Ok(meta) => Ok(Some(meta)),
            Err(LakeError::Store {
                source: object_store::Error::NotFound { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object, tries to create it once more, and deletes it.
    ///
    /// # Errors
    /// The store fails, or takes the second one: then two writers of a lane could not be told from one.
    pub fn probe(&self) -> Result<(), LakeError> {
        let name = format!("{LANES}/probe-{:016x}", crate::service::process());
        let probe = || self.create(&name, Bytes::from_static(b"probe"));
        let (_, is_second) = (probe()?, probe()?);
        self.delete(&name)?;
        match is_second {
            false => Ok(()),
            true => Err(LakeError::Url {
                url: format!("{self:?}"),
                source:
                    "it writes over an object that must be created: it has no conditional writes"
                        .into(),
            }),
        }
    }

    fn delete(&self, below: &str) -> Result<(), LakeError> {
        let key = self.key(below);
        self.wait("delete", &key, self.objects.delete(&key))
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn what_is_whole_is_not_written_again_and_what_is_torn_is() {
        let objects = Arc::new(InMemory::new());
        let lake = Lake::over(objects, Key::default()).expect("threads");
        let of = |text: &'static str| Bytes::from_static(text.as_bytes());
        let tag = || {
            lake.head("file")
                .expect("it answers")
                .expect("it is there")
                .e_tag
        };
        lake.put("file", &of("whole")).expect("it is written");
        let first = tag();
        lake.put("file", &of("whole")).expect("it is there");
        assert_eq!(tag(), first, "a late writer wrote over it");
        let key = lake.key("file");
        let tear = lake.objects.put(&key, of("who").into());
        lake.wait("write", &key, tear).expect("it is torn");
        lake.put("file", &of("whole")).expect("it is mended");
        assert_eq!(lake.read(&key).expect("it answers"), of("whole"));
    }
}
