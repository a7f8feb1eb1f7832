//! Copies of snapshots' files in a folder beside the process, of all lanes of its group: whoever takes a lane over reads
//! them from its own disk, and from the store only what is newer.
//!
//! `<group>.<stage>/<topic>-<partition>/<file>.copy`. A copy is what the manifest means when it bears the checksum the
//! manifest states and is whole; any other is no copy, and the store's file is read. So nothing here must be kept, and
//! nothing is waited for: a folder that is lost, full or wrong costs what it would have saved.
//!
//! **Invariant**: the copies never hold more bytes than they may, and what is put back does not depend on them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::part::{self, Block};
use super::store::{Link, Manifest, Objects, Place, StateError, Store, newest_first};

/// Snapshots of a lane that are copied: the newest may be ahead of what is committed, and then the one before is put back.
const MANIFESTS: usize = 2;
/// A lane that was not saved for so long gives way to those that were.
const DAY_MS: i64 = 86_400_000;
/// How a copy's name ends. What ends otherwise is not ours, and is never touched.
const ENDING: &str = ".copy";
/// How a copy's name ends while it is written.
const ENDING_PART: &str = ".copying";

/// Copies in a folder.
#[derive(Debug)]
pub struct Standby {
    folder: PathBuf,
    bytes_max: u64,
    /// The manifests last read, by lane.
    known: Mutex<BTreeMap<Place, Vec<Manifest>>>,
    n_read: AtomicU64,
    n_refused: AtomicU64,
    /// True when it was told that nothing can be written.
    is_told: AtomicBool,
}

/// What one look at the store left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Bytes of the copies.
    pub n_bytes: u64,
    /// Lanes of the group that have a snapshot.
    pub n_lanes: usize,
    /// Of these, lanes whose newest snapshot is not here whole: no room, no answer, or replaced while it was read.
    pub n_behind: usize,
}

/// A file that should be here.
struct Wanted<'a> {
    place: &'a Place,
    name: &'a str,
    checksum: &'a str,
    n_bytes: u64,
    is_newest: bool,
}

/// Everything that should be here.
#[derive(Default)]
struct Plan<'a> {
    n_lanes: usize,
    wanted: Vec<Wanted<'a>>,
    /// Where they are to lie.
    paths: BTreeSet<PathBuf>,
    /// Lanes whose newest snapshot will not be here whole.
    behind: BTreeSet<&'a Place>,
}

impl Standby {
    /// The copies in a folder, which is made; at most `bytes_max` bytes of them.
    ///
    /// # Errors
    /// The folder can't be made, or can't be written.
    pub fn open(folder: &Path, bytes_max: u64) -> io::Result<Standby> {
        std::fs::create_dir_all(folder)?;
        let probe = folder.join(format!("probe-{}{ENDING_PART}", std::process::id()));
        std::fs::write(&probe, "probe")?;
        std::fs::remove_file(&probe)?;
        Ok(Standby {
            folder: folder.to_owned(),
            bytes_max,
            known: Mutex::default(),
            n_read: AtomicU64::new(0),
            n_refused: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
        })
    }

    /// Files that were put back from a copy, and copies that were none and deleted.
    pub fn n_read(&self) -> (u64, u64) {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (of(&self.n_read), of(&self.n_refused))
    }

    fn path(&self, place: &Place, name: &str) -> PathBuf {
        self.folder.join(&place.0).join(format!("{name}{ENDING}"))
    }

    /// The blocks of a copy, when there is one and it is what the manifest means.
    pub(super) fn read(&self, place: &Place, name: &str, checksum: &str) -> Option<Vec<Block>> {
        let path = self.path(place, name);
        let file = Bytes::from(std::fs::read(&path).ok()?);
        match part::read_as(&file, Some(checksum)) {
            Ok(blocks) => {
                self.n_read.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(path = %path.display(), "snapshot's file is read from its copy");
                Some(blocks)
            }
            Err(damage) => {
                self.n_refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    path = %path.display(),
                    %damage,
                    "copy of a snapshot's file is not used; reading it from the store"
                );
                // Gone already, or made anew by the next look.
                let _ = std::fs::remove_file(&path);
                None
            }
        }
    }

    /// Looks at the newest manifests of all lanes of `groups` (`<group>.<stage>`), deletes copies that none of them names, and
    /// copies what is missing, as far as there is room: the newest snapshots of all lanes before those before them.
    ///
    /// # Errors
    /// The store fails; the copies that are there stay.
    pub fn follow(&self, store: &Store, groups: &[String]) -> Result<Followed, StateError> {
        let mut objects = Objects::new();
        for group in groups {
            objects.extend(store.objects(group)?);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|place, _| objects.contains_key(place));
        for (place, names) in &objects {
            let newest = newest_first(names.keys());
            let held = known.entry(place.clone()).or_default();
            if held.first().map(|manifest| manifest.sequence) != newest.first().copied() {
                *held = manifests(store, place, &newest)?;
            }
        }
        let mut plan = self.plan(&objects, &known);
        // Before there is more of it.
        for group in groups {
            sweep(&self.folder.join(group), &plan.paths);
        }
        for file in &plan.wanted {
            if !self.copy(store, file)? && file.is_newest {
                plan.behind.insert(file.place);
            }
        }
        let size = |path: &PathBuf| path.metadata().map_or(0, |of| of.len());
        Ok(Followed {
            n_bytes: plan.paths.iter().map(size).sum(),
            n_lanes: plan.n_lanes,
            n_behind: plan.behind.len(),
        })
    }

    /// What should be here.
    fn plan<'a>(&self, objects: &Objects, known: &'a BTreeMap<Place, Vec<Manifest>>) -> Plan<'a> {
        let mut lanes: Vec<(&Place, &Vec<Manifest>)> = known.iter().collect();
        lanes.retain(|(_, manifests)| manifests.first().is_some_and(|m| m.offset().is_some()));
        // Lanes nobody owns any more come last. The others have one order, so that those there is room for stay the same.
        let day = |manifest: &Manifest| manifest.written_at_ms.div_euclid(DAY_MS);
        lanes.sort_by_key(|(place, manifests)| (Reverse(day(&manifests[0])), *place));
        let mut plan = Plan {
            n_lanes: lanes.len(),
            ..Plan::default()
        };
        let mut room = self.bytes_max;
        for at in 0..MANIFESTS {
            for (place, manifests) in &lanes {
                let Some(manifest) = manifests.get(at) else {
                    continue;
                };
                let mut is_whole = manifest.links.iter().all(Link::is_checksummed);
                for (name, checksum) in files(manifest) {
                    let path = self.path(place, name);
                    if plan.paths.contains(&path) {
                        continue;
                    }
                    let size = objects.get(*place).and_then(|names| names.get(name));
                    let Some(n_bytes) = size.copied().filter(|size| *size <= room) else {
                        is_whole = false;
                        continue;
                    };
                    room -= n_bytes;
                    plan.paths.insert(path);
                    plan.wanted.push(Wanted {
                        place,
                        name,
                        checksum,
                        n_bytes,
                        is_newest: at == 0,
                    });
                }
                if at == 0 && !is_whole {
                    plan.behind.insert(*place);
                }
            }
        }
        plan
    }

    /// Copies a file unless it is here; says whether it is here now.
    fn copy(&self, store: &Store, wanted: &Wanted<'_>) -> Result<bool, StateError> {
        let path = self.path(wanted.place, wanted.name);
        if path.metadata().is_ok_and(|of| of.len() == wanted.n_bytes) {
            return Ok(true);
        }
        let file = match store.file(wanted.place, wanted.name) {
            Ok(file) => file,
            // Deleted since it was named: by whoever has published the next one.
            Err(StateError::Store {
                source: object_store::Error::NotFound { .. },
                ..
            }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let fits = file.len() as u64 == wanted.n_bytes;
        if !fits || part::read_as(&file, Some(wanted.checksum)).is_err() {
            return Ok(false);
        }
        let written = write(&path, &file);
        let was_told = self.is_told.swap(written.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (&written, was_told) {
            tracing::warn!(
                path = %path.display(),
                error = error as &dyn std::error::Error,
                "snapshots' files cannot be copied, trying again"
            );
        }
        Ok(written.is_ok())
    }
}

/// The newest of a lane's manifests that can be read.
fn manifests(store: &Store, place: &Place, newest: &[u64]) -> Result<Vec<Manifest>, StateError> {
    let mut manifests = Vec::new();
    for sequence in newest {
        match store.manifest(place, *sequence) {
            Ok(manifest) => manifests.push(manifest),
            Err(StateError::Manifest { .. }) => (),
            Err(StateError::Store {
                source: object_store::Error::NotFound { .. },
                ..
            }) => (),
            Err(error) => return Err(error),
        }
        if manifests.len() == MANIFESTS {
            break;
        }
    }
    Ok(manifests)
}

/// Names and checksums of a manifest's files.
fn files(manifest: &Manifest) -> impl Iterator<Item = (&str, &str)> {
    let links = manifest.links.iter();
    links.flat_map(|link| {
        let names = link.files.iter().map(String::as_str);
        names.zip(link.checksums.iter().map(String::as_str))
    })
}

/// Writes a copy aside and gives it its name, so that it is there whole or not at all.
fn write(path: &Path, file: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Another process may have the same folder.
    let aside = path.with_extension(format!("{}{ENDING_PART}", std::process::id()));
    let written = std::fs::write(&aside, file).and_then(|()| std::fs::rename(&aside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written
}

/// Deletes the copies below a group's folder but those to keep, and what a process that ended left half written.
fn sweep(folder: &Path, keep: &BTreeSet<PathBuf>) {
    let within = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.flatten().map(|entry| entry.path()).collect()
    };
    let lanes: Vec<PathBuf> = within(folder);
    for path in lanes.iter().flat_map(|lane| within(lane)) {
        let name = path.to_string_lossy();
        let ours = name.ends_with(ENDING) || name.ends_with(ENDING_PART);
        if ours && !keep.contains(&path) {
            // The next look tries again.
            let _ = std::fs::remove_file(&path);
        }
    }
}
