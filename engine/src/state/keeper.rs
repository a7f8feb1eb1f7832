//! Writes snapshots aside of the lanes, one after the other.
//!
//! A lane gives its frozen state and goes on; while its last snapshot is being written it gives no other. A
//! snapshot that fails costs nothing but a longer replay: the next one holds what changed since the
//! last one that was published.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

use super::image::{Image, Loader};
use super::part::{self, PartWriter};
use super::store::{Link, Manifest, Place, StateError, Store, part_name};

/// Snapshots after a full one before the next full one, at most: each is a few files to read at a restart.
const LINKS_MAX: usize = 32;
/// Snapshots waiting to be written; beyond it a lane tries again a little later.
const WAITING_MAX: usize = 256;

/// What is published of a lane, and as whose.
#[derive(Clone, Debug)]
pub struct Chain {
    place: Place,
    fingerprint: String,
    owner: u64,
    sequence: u64,
    links: Vec<Link>,
    origin: Option<String>,
    /// The lane's epoch of the last snapshot published, or put back.
    epoch: u32,
}

impl Chain {
    /// The chain after a claim, of a lane that was put back from `links`.
    pub fn new(place: Place, fingerprint: &str, claim: &Manifest, links: Vec<Link>) -> Chain {
        Chain {
            place,
            fingerprint: fingerprint.to_owned(),
            owner: claim.owner,
            sequence: claim.sequence,
            links,
            origin: claim.origin.clone(),
            epoch: 0,
        }
    }

    /// The chain of a lane that begins with what another one was.
    #[must_use]
    pub fn from_lane(mut self, origin: &Place) -> Chain {
        self.origin = Some(origin.to_string());
        self
    }

    /// The epoch after which changes are to be saved; none when the next snapshot is a full one.
    ///
    /// A full one when what changed has grown to what there was, so that a restart reads at most twice the state.
    pub fn since(&self) -> Option<u32> {
        let (full, changes) = self.links.split_first()?;
        let n_bytes: u64 = changes.iter().map(|link| link.n_bytes).sum();
        (n_bytes <= full.n_bytes && changes.len() < LINKS_MAX).then_some(self.epoch)
    }

    /// The offset of the last snapshot.
    pub fn offset(&self) -> Option<i64> {
        self.links.last().map(|link| link.offset)
    }
}

/// One snapshot to write.
#[derive(Debug)]
pub struct Save {
    /// What is published already.
    pub chain: Chain,
    /// The frozen state.
    pub image: Image,
    /// True when it holds everything.
    pub is_full: bool,
    /// The lane's epoch it was frozen at.
    pub epoch: u32,
    /// Next offset of the lane's log; it may be ahead of what is committed, and then waits to be used until that is.
    pub offset: i64,
    /// What the group has committed, as far as the lane knows.
    pub committed: i64,
    /// Wall time, ms.
    pub now_ms: i64,
}

/// What became of a snapshot.
#[derive(Debug)]
pub struct Saved {
    /// As it is now.
    pub chain: Chain,
    /// Bytes written.
    pub done: Result<u64, StateError>,
    /// How long it took.
    pub took: Duration,
}

/// Writes snapshots in a thread of its own.
#[derive(Debug)]
pub struct Keeper {
    /// Where they lie.
    pub store: Arc<Store>,
    jobs: SyncSender<(Save, Sender<Saved>)>,
}

impl Keeper {
    /// Starts the thread. Of each lane the newest `keep` snapshots are kept.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(store: Arc<Store>, keep: usize) -> Result<Keeper, std::io::Error> {
        let (jobs, work) = sync_channel::<(Save, Sender<Saved>)>(WAITING_MAX);
        let at = store.clone();
        let run = move || {
            for (save, done) in work {
                // A lane that is gone does not wait for its answer.
                let _ = done.send(write(&at, save, keep));
            }
        };
        let thread = std::thread::Builder::new().name("keeper".to_owned());
        // It ends with its last job. Who needs a snapshot waits for its answer, and not for ever.
        thread.spawn(run)?;
        Ok(Keeper { store, jobs })
    }

    /// Takes a snapshot to write; the answer comes when it is written.
    ///
    /// # Errors
    /// Too many wait: the snapshot comes back.
    pub fn save(&self, save: Save) -> Result<Receiver<Saved>, Box<Save>> {
        let (done, answer) = channel();
        match self.jobs.try_send((save, done)) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full((save, _)) | TrySendError::Disconnected((save, _))) => {
                Err(Box::new(save))
            }
        }
    }
}

/// Writes one snapshot, publishes it, and deletes what is too old.
pub fn write(store: &Store, save: Save, keep: usize) -> Saved {
    let began = Instant::now();
    let mut chain = save.chain.clone();
    let done = publish(store, save, &mut chain);
    if done.is_ok() {
        match store.prune(&chain.place, keep) {
            Ok(n) => tracing::debug!(place = %chain.place, n_deleted = n, "old snapshots deleted"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old snapshots stay, trying again with the next one"
            ),
        }
    }
    Saved {
        chain,
        done,
        took: began.elapsed(),
    }
}

fn publish(store: &Store, save: Save, chain: &mut Chain) -> Result<u64, StateError> {
    let mut sequence = chain.sequence + 1;
    let (mut files, mut checksums) = (Vec::new(), Vec::new());
    let (mut n_bytes, mut refused) = (0, None);
    let mut take = |file: Vec<u8>| {
        let name = part_name(sequence, chain.owner, save.epoch, files.len());
        n_bytes += file.len() as u64;
        checksums.extend(part::checksum(&file));
        match store.put(&chain.place, &name, file) {
            Ok(()) => files.push(name),
            Err(error) => {
                refused = Some(error);
                return Err("refused".into());
            }
        }
        Ok(())
    };
    let written = save.image.write(PartWriter::new(&mut take));
    if let Err(error) = written {
        return Err(refused.unwrap_or_else(|| StateError::Encode {
            stage: "a lane",
            source: error,
        }));
    }
    let link = Link {
        offset: save.offset,
        files,
        checksums,
        n_bytes,
    };
    let mut links = match save.is_full {
        true => Vec::new(),
        false => chain.links.clone(),
    };
    links.push(link);
    loop {
        let manifest = Manifest {
            sequence,
            owner: chain.owner,
            fingerprint: chain.fingerprint.clone(),
            committed: save.committed,
            origin: chain.origin.clone(),
            written_at_ms: save.now_ms,
            links: links.clone(),
        };
        match store.publish(&chain.place, &manifest) {
            // Our own, of an attempt whose answer was lost: this one comes after it.
            Err(StateError::Fenced { owner, .. }) if owner == chain.owner => sequence += 1,
            done => break done?,
        }
    }
    (chain.sequence, chain.links, chain.epoch) = (sequence, links, save.epoch);
    Ok(n_bytes)
}

/// What was put back.
#[derive(Debug)]
pub struct Restored<T> {
    /// The lane, as it was at the chain's offset; as it was made when nothing was found.
    pub lane: T,
    /// What is published of it.
    pub chain: Chain,
    /// Next offset whose output is not written yet.
    pub committed: i64,
}

/// Claims a lane's place and puts the lane back from the newest snapshot that can be read and is not beyond `committed`.
///
/// * `committed`: next offset the group will read; none when the group knows none, and then what the manifests know of it
///   counts: offsets of a group that was idle for a week are forgotten, and nothing is to be told twice for that.
/// * `fresh`, `put_back`: make a lane, and let it take its state.
///
/// # Errors
/// The store fails, or a lane cannot be made. A snapshot that is damaged is skipped for the one before it, with a warning.
pub fn restore<T, E: From<StateError>>(
    store: &Store,
    place: &Place,
    fingerprint: &str,
    committed: Option<i64>,
    now_ms: i64,
    fresh: impl Fn() -> Result<T, E>,
    put_back: impl Fn(&mut T, &mut Loader),
) -> Result<Restored<T>, E> {
    let claim = store.claim(place, fingerprint, now_ms)?;
    let chain = |links| Chain::new(place.clone(), fingerprint, &claim, links);
    let (mut manifests, mut tried) = (Vec::new(), Vec::new());
    for sequence in store.sequences(place)? {
        match store.manifest(place, sequence) {
            Ok(manifest) => manifests.push(manifest),
            Err(error @ StateError::Manifest { .. }) => skip(place, sequence, &error),
            Err(error) => return Err(error.into()),
        }
    }
    let known = manifests.iter().map(|manifest| manifest.committed).max();
    let committed = committed.or(known).unwrap_or(0);
    for manifest in manifests {
        let sequence = manifest.sequence;
        let Some(offset) = manifest.offset() else {
            continue;
        };
        if tried.contains(&manifest.links) {
            continue;
        }
        if manifest.fingerprint != fingerprint {
            tracing::warn!(
                %place,
                sequence,
                offset,
                "snapshot was made with other options, or by another version: not used"
            );
            continue;
        }
        if committed < offset {
            tracing::info!(%place, sequence, offset, committed, "snapshot is ahead of what is committed: not used");
            continue;
        }
        let mut lane = fresh()?;
        let loaded = store.load(place, &manifest).and_then(|mut loader| {
            put_back(&mut lane, &mut loader);
            loader.finish().map_err(|damage| StateError::Damaged {
                key: format!("{place}, snapshot {sequence}"),
                damage,
            })
        });
        match loaded {
            Ok(()) => {
                let chain = chain(manifest.links);
                return Ok(Restored {
                    lane,
                    chain,
                    committed,
                });
            }
            Err(error @ StateError::Damaged { .. }) => skip(place, sequence, &error),
            // A store that is away is no reason to go on without what it holds.
            Err(error) => return Err(error.into()),
        }
        tried.push(manifest.links);
    }
    Ok(Restored {
        lane: fresh()?,
        chain: chain(Vec::new()),
        committed,
    })
}

fn skip(place: &Place, sequence: u64, error: &StateError) {
    tracing::warn!(
        %place,
        sequence,
        error = error as &dyn std::error::Error,
        "snapshot cannot be read, trying the one before"
    );
}
