//! Where snapshots lie: one folder a lane, under manifests that are never changed.
//!
//! `<group>.<stage>/<topic>-<partition>/manifest-<sequence>` names the files of one snapshot. A manifest is
//! created only if its sequence is free, so of two who think they own a lane one fails. Whoever is
//! assigned a lane claims it with a manifest of its own first: what its predecessor publishes after
//! that comes too late, and tells it so.
//!
//! A reader takes the newest manifest whose files can be read; nothing else has to be repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use xxhash_rust::xxh3::xxh3_128;

use super::address::{address, objects_in};
use super::image::Loader;
use super::part::{self, Block, Damage};
use super::standby::Standby;

/// Longest wait for one object, in seconds; the client tries again within it.
const PATIENCE_S: u64 = 120;
/// Claims tried when others claim the same lane at the same moment.
const CLAIMS_MAX: usize = 10;

/// Why a snapshot cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The address is wrong, or its options.
    #[error("snapshots.url {url} cannot be used")]
    Url {
        /// The address.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The folder of copies can't be made, or can't be written.
    #[error("snapshots.standby {folder} cannot be used")]
    Standby {
        /// The folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// The object store fails.
    #[error("cannot {what} {key} in the snapshot store")]
    Store {
        /// What was tried.
        what: &'static str,
        /// On which object.
        key: String,
        /// Why it failed.
        source: object_store::Error,
    },
    /// The object store does not answer.
    #[error("cannot {what} {key} in the snapshot store: no answer in {PATIENCE_S} s")]
    Slow {
        /// What was tried.
        what: &'static str,
        /// On which object.
        key: String,
    },
    /// A lane's state has no encoding: a fault of this program.
    #[error("cannot encode the state of {stage}")]
    Encode {
        /// The stage, or the lane's folder.
        stage: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file is damaged.
    #[error("snapshot file {key} is damaged: {damage}")]
    Damaged {
        /// The file.
        key: String,
        /// What is wrong.
        damage: Damage,
    },
    /// A manifest is damaged.
    #[error("manifest {key} is damaged")]
    Manifest {
        /// The manifest.
        key: String,
    },
    /// Somebody else owns the lane now.
    #[error("{place} has another owner: its snapshot {sequence} is not ours")]
    Fenced {
        /// The lane's folder.
        place: String,
        /// The sequence that was taken.
        sequence: u64,
        /// By whom.
        owner: u64,
    },
}

/// One snapshot, full or of what changed after the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Next offset of the lane's log.
    pub offset: i64,
    /// Names of its files, in order.
    pub files: Vec<String>,
    /// The checksum that each of them bears: a name alone may be that of another store's file. None in manifests of a
    /// version that made no copies.
    #[serde(default)]
    pub checksums: Vec<String>,
    /// Bytes of its files.
    pub n_bytes: u64,
}

impl Link {
    /// True when it states the checksum of every file.
    pub(super) fn is_checksummed(&self) -> bool {
        self.checksums.len() == self.files.len()
    }
}

/// What a lane's state is made of: a full snapshot and what changed after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its place among the lane's manifests.
    pub sequence: u64,
    /// The sequence of its owner's claim: later owners have greater ones.
    pub owner: u64,
    /// What the state depends on beside the log: options of the models, rules, versions.
    pub fingerprint: String,
    /// An offset that the group had committed by then, at most the true one: what is known when the group forgets.
    pub committed: i64,
    /// The lane whose state this one began with, when it was made by `state reshard`: its log does not hold all of it.
    pub origin: Option<String>,
    /// Wall time, ms.
    pub written_at_ms: i64,
    /// The full snapshot first; none before the first.
    pub links: Vec<Link>,
}

impl Manifest {
    /// Next offset of the lane's log; none without a snapshot.
    pub fn offset(&self) -> Option<i64> {
        self.links.last().map(|link| link.offset)
    }

    /// Bytes of all its files.
    pub fn n_bytes(&self) -> u64 {
        self.links.iter().map(|link| link.n_bytes).sum()
    }
}

/// The folder of one lane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub String);

impl Place {
    /// The place of a lane of `group` (`<group>.<stage>`) over a partition of a topic.
    pub fn new(group: &str, topic: &str, partition: i32) -> Place {
        Place(format!("{group}/{topic}-{partition}"))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object store and its client's threads.
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Key,
    standby: Option<Standby>,
    runtime: Option<Runtime>,
}

impl Drop for Store {
    fn drop(&mut self) {
        // Dropped where waiting is not allowed, it would panic.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.objects, self.root)
    }
}

impl Store {
    /// The store at an address: `file:///folder`, `s3://bucket/prefix`, `gs://…`, `az://…`, `memory:///`. Credentials come from the
    /// environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`), never from the address.
    ///
    /// # Errors
    /// The address is wrong, or the folder cannot be made.
    pub fn open(url: &str) -> Result<Store, StateError> {
        let wrong = |(url, source)| StateError::Url { url, source };
        let (objects, root) = address(url).map_err(wrong)?;
        Self::over(objects, root).map_err(|error| wrong((url.to_owned(), error.into())))
    }

    /// The store in a folder, which is made.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn folder(folder: &Path) -> Result<Store, StateError> {
        let wrong = |source| StateError::Url {
            url: folder.display().to_string(),
            source,
        };
        let objects = objects_in(folder).map_err(wrong)?;
        Self::over(objects, Key::default()).map_err(|error| wrong(error.into()))
    }

    /// A store below `root` of an object store.
    ///
    /// # Errors
    /// Its threads cannot be started.
    pub fn over(objects: Arc<dyn ObjectStore>, root: Key) -> Result<Store, std::io::Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("snapshots")
            .enable_all()
            .build()?;
        Ok(Store {
            objects,
            root,
            standby: None,
            runtime: Some(runtime),
        })
    }

    /// The store with copies of its files beside this process: a file is read from its copy while that is what a manifest
    /// means.
    #[must_use]
    pub fn with_standby(mut self, standby: Standby) -> Store {
        self.standby = Some(standby);
        self
    }

    /// The copies, if there are to be any.
    pub fn standby(&self) -> Option<&Standby> {
        self.standby.as_ref()
    }

    fn key(&self, place: &Place, name: &str) -> Key {
        let below = [place.0.as_str(), name].join("/");
        let parts = below.split('/').filter(|part| !part.is_empty());
        parts.fold(self.root.clone(), |key, part| key.join(part))
    }

    fn wait<T>(
        &self,
        what: &'static str,
        key: &Key,
        answer: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, StateError> {
        let Some(runtime) = &self.runtime else {
            return Err(StateError::Slow {
                what,
                key: key.to_string(),
            });
        };
        let patience = Duration::from_secs(PATIENCE_S);
        let answered = runtime.block_on(async { tokio::time::timeout(patience, answer).await });
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(StateError::Store {
                what,
                key: key.to_string(),
                source,
            }),
            Err(_) => Err(StateError::Slow {
                what,
                key: key.to_string(),
            }),
        }
    }

    /// The objects below a folder.
    fn list(&self, folder: &Key) -> Result<Vec<ObjectMeta>, StateError> {
        self.wait(
            "list",
            folder,
            self.objects.list(Some(folder)).try_collect(),
        )
    }

    /// Names of the objects in a lane's folder.
    fn names(&self, place: &Place) -> Result<Vec<String>, StateError> {
        let folder = self.key(place, "");
        let names = self.list(&folder)?.into_iter();
        Ok(names
            .filter_map(|object| object.location.filename().map(str::to_owned))
            .collect())
    }

    /// Sequences of a lane's manifests, the newest first.
    ///
    /// # Errors
    /// The store fails.
    pub fn sequences(&self, place: &Place) -> Result<Vec<u64>, StateError> {
        Ok(newest_first(&self.names(place)?))
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// The store fails, or the manifest is damaged.
    pub fn manifest(&self, place: &Place, sequence: u64) -> Result<Manifest, StateError> {
        let key = self.key(place, &manifest_name(sequence));
        let text = self.read(&key)?;
        let damaged = || StateError::Manifest {
            key: key.to_string(),
        };
        let (checksum, json) = text.split_at_checked(33).ok_or_else(damaged)?;
        if checksum != format!("{:032x}\n", xxh3_128(json)).as_bytes() {
            return Err(damaged());
        }
        let manifest: Manifest = serde_json::from_slice(json).map_err(|_| damaged())?;
        (manifest.sequence == sequence)
            .then_some(manifest)
            .ok_or_else(damaged)
    }

    /// Names and bytes of all objects in the folders of a group's lanes.
    pub(super) fn objects(&self, group: &str) -> Result<Objects, StateError> {
        let folder = self.key(&Place(group.to_owned()), "");
        let listed = self.list(&folder)?;
        let n_folder = folder.parts().count();
        let mut objects = Objects::new();
        for object in listed {
            let parts: Vec<_> = object.location.parts().skip(n_folder).collect();
            if let [lane, name] = parts.as_slice() {
                let place = Place(format!("{group}/{}", lane.as_ref()));
                let names = objects.entry(place).or_default();
                names.insert(name.as_ref().to_owned(), object.size);
            }
        }
        Ok(objects)
    }

    /// Reads a snapshot's file, without looking into it.
    pub(super) fn file(&self, place: &Place, name: &str) -> Result<Bytes, StateError> {
        self.read(&self.key(place, name))
    }

    fn read(&self, key: &Key) -> Result<Bytes, StateError> {
        let read = async { self.objects.get(key).await?.bytes().await };
        self.wait("read", key, read)
    }

    /// Publishes a manifest under its sequence.
    ///
    /// # Errors
    /// The sequence is taken by another owner, or the store fails.
    pub fn publish(&self, place: &Place, manifest: &Manifest) -> Result<(), StateError> {
        let json = serde_json::to_string_pretty(manifest).unwrap_or_default();
        let text = format!("{:032x}\n{json}", xxh3_128(json.as_bytes()));
        let key = self.key(place, &manifest_name(manifest.sequence));
        let options = PutOptions::from(PutMode::Create);
        let put = self.objects.put_opts(&key, text.into(), options);
        match self.wait("publish", &key, put) {
            Ok(_) => Ok(()),
            Err(StateError::Store {
                source: object_store::Error::AlreadyExists { .. },
                ..
            }) => {
                // An answer may have been lost on the way, and the client may have tried again.
                let held = self.manifest(place, manifest.sequence)?;
                if held == *manifest {
                    return Ok(());
                }
                Err(StateError::Fenced {
                    place: place.to_string(),
                    sequence: manifest.sequence,
                    owner: held.owner,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a snapshot's file.
    ///
    /// # Errors
    /// The store fails.
    pub fn put(&self, place: &Place, name: &str, file: Vec<u8>) -> Result<(), StateError> {
        let key = self.key(place, name);
        self.wait("write", &key, self.objects.put(&key, file.into()))?;
        Ok(())
    }

    /// Claims a lane: the manifest that is published keeps what the newest one names.
    ///
    /// # Errors
    /// The store fails, or others claim the lane faster.
    pub fn claim(
        &self,
        place: &Place,
        fingerprint: &str,
        now_ms: i64,
    ) -> Result<Manifest, StateError> {
        let mut fenced = None;
        for _ in 0..CLAIMS_MAX {
            let sequences = self.sequences(place)?;
            let newest = sequences.first().copied().unwrap_or(0);
            let readable = sequences
                .iter()
                .find_map(|sequence| self.manifest(place, *sequence).ok());
            let links = readable.as_ref().map(|manifest| manifest.links.clone());
            let manifest = Manifest {
                sequence: newest + 1,
                owner: newest + 1,
                // What the links hold was made with the options of their time.
                fingerprint: readable
                    .as_ref()
                    .map_or_else(|| fingerprint.to_owned(), |m| m.fingerprint.clone()),
                committed: readable.as_ref().map_or(0, |manifest| manifest.committed),
                origin: readable.and_then(|manifest| manifest.origin),
                written_at_ms: now_ms,
                links: links.unwrap_or_default(),
            };
            match self.publish(place, &manifest) {
                Err(error @ StateError::Fenced { .. }) => fenced = Some(error),
                done => return done.map(|()| manifest),
            }
        }
        Err(fenced.unwrap_or(StateError::Fenced {
            place: place.to_string(),
            sequence: 0,
            owner: 0,
        }))
    }

    /// The files of a manifest, to be put back.
    ///
    /// # Errors
    /// The store fails, or a file is damaged.
    pub fn load(&self, place: &Place, manifest: &Manifest) -> Result<Loader, StateError> {
        let mut loader = Loader::default();
        for link in &manifest.links {
            let mut blocks = Vec::new();
            for (at, name) in link.files.iter().enumerate() {
                let checksum = link.checksums.get(at).map(String::as_str);
                blocks.extend(self.blocks(place, name, checksum)?);
            }
            loader.add(blocks);
        }
        Ok(loader)
    }

    /// The blocks of a file: of its copy, or else of the store's.
    fn blocks(
        &self,
        place: &Place,
        name: &str,
        checksum: Option<&str>,
    ) -> Result<Vec<Block>, StateError> {
        if let (Some(standby), Some(checksum)) = (&self.standby, checksum)
            && let Some(blocks) = standby.read(place, name, checksum)
        {
            return Ok(blocks);
        }
        let file = self.file(place, name)?;
        part::read_as(&file, checksum).map_err(|damage| StateError::Damaged {
            key: self.key(place, name).to_string(),
            damage,
        })
    }

    /// Deletes what is not needed for the newest `keep` snapshots; returns how many objects.
    ///
    /// # Errors
    /// The store fails; what was left is deleted the next time.
    pub fn prune(&self, place: &Place, keep: usize) -> Result<usize, StateError> {
        let names = self.names(place)?;
        let sequences = newest_first(&names);
        let Some(newest) = sequences.first().copied() else {
            return Ok(0);
        };
        let (mut kept, mut needed, mut stale) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for sequence in sequences {
            if kept.len() >= keep.max(1) {
                stale.push(manifest_name(sequence));
                continue;
            }
            // One that cannot be read restores nothing: it takes no room among those kept.
            if let Ok(manifest) = self.manifest(place, sequence) {
                kept.extend(manifest.offset());
                needed.extend(manifest.links.into_iter().flat_map(|link| link.files));
            }
        }
        // Files of a later sequence are being written, before their manifest.
        let written = |name: &str| part_sequence_of(name).is_some_and(|at| at <= newest);
        let parts = names
            .iter()
            .filter(|name| written(name) && !needed.contains(*name));
        stale.extend(parts.cloned());
        for name in &stale {
            let key = self.key(place, name);
            match self.wait("delete", &key, self.objects.delete(&key)) {
                Ok(())
                | Err(StateError::Store {
                    source: object_store::Error::NotFound { .. },
                    ..
                }) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(stale.len())
    }

    /// Writes an object that must not be there, tries to write it once more, and deletes it.
    ///
    /// # Errors
    /// The store fails, or takes the second one: then a zombie's snapshots could not be told from an owner's.
    pub fn probe(&self) -> Result<(), StateError> {
        let key = self.key(
            &Place("probe".to_owned()),
            &format!("{:016x}", crate::service::process()),
        );
        let put = || {
            let options = PutOptions::from(PutMode::Create);
            self.wait(
                "write",
                &key,
                self.objects.put_opts(&key, "probe".into(), options),
            )
        };
        put()?;
        let second = put();
        self.wait("delete", &key, self.objects.delete(&key))?;
        match second {
            Err(StateError::Store {
                source: object_store::Error::AlreadyExists { .. },
                ..
            }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(StateError::Url {
                url: format!("{self:?}"),
                source:
                    "it writes over an object that must be created: it has no conditional writes"
                        .into(),
            }),
        }
    }

    /// Every lane's folder below a group's prefix that has a manifest.
    ///
    /// # Errors
    /// The store fails.
    pub fn places(&self) -> Result<Vec<Place>, StateError> {
        let objects = self.list(&self.root)?;
        let n_root = self.root.parts().count();
        let places: BTreeSet<Place> = objects
            .iter()
            .filter_map(|object| {
                let parts: Vec<_> = object.location.parts().skip(n_root).collect();
                let [group, lane, name] = parts.as_slice() else {
                    return None;
                };
                sequence_of(name.as_ref())?;
                Some(Place(format!("{}/{}", group.as_ref(), lane.as_ref())))
            })
            .collect();
        Ok(places.into_iter().collect())
    }
}

fn manifest_name(sequence: u64) -> String {
    format!("manifest-{sequence:020}")
}

/// Name of a snapshot's file. No other attempt has it, of this owner or a zombie: a manifest may be there already that
/// names what an earlier one wrote.
pub fn part_name(sequence: u64, owner: u64, epoch: u32, at: usize) -> String {
    format!("part-{sequence:020}-{owner}-{epoch}-{at:04}")
}

/// Bytes of objects by name, by lane.
pub(super) type Objects = BTreeMap<Place, BTreeMap<String, u64>>;

/// Sequences of the manifests among a folder's names.
pub(super) fn newest_first<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<u64> {
    let names = names.into_iter();
    let mut sequences: Vec<u64> = names.filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable_by(|a, b| b.cmp(a));
    sequences
}

fn sequence_of(name: &str) -> Option<u64> {
    name.strip_prefix("manifest-")?.parse().ok()
}

fn part_sequence_of(name: &str) -> Option<u64> {
    name.strip_prefix("part-")?.get(..20)?.parse().ok()
}
