//! All files of some patterns: which are new, which are renamed, copied or compressed ones that were read under another name.
//!
//! A file is known by its number (device and inode) and by what is in it: [`Mark`]s of its first bytes and of those before its place.
//!
//! | what happened | what is done |
//! |---|---|
//! | it grew, or was renamed | read on |
//! | it was cut, and written anew | read from its beginning; its old place waits for a copy of what it was |
//! | a new file, and the inode is another's that is gone | read from its beginning |
//! | a copy of one that is there (`copytruncate`) | what both have is read once; the rest of the copy when the other was cut |
//! | a copy of one that is gone, compressed or moved to another disk | read on from that one's place |
//!
//! Copies of files of which less than [`COPY_BYTES_MIN`] were read are not recognised: many logs begin with the same few words.
//!
//! Time is an argument, in milliseconds since 1970: it decides when somebody has stopped writing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Found, MARK_BYTES, Mark, Place, Resumed, Tail};
use beside::{Beside, beside};

/// Files open at a time. Beyond it those that grow least are closed when they are read; one of these that is then written and
/// renamed out of the patterns within a second is not read to its end.
pub const OPEN_MAX: usize = 500;
/// Places kept, at about 1 KiB each. Beyond it no further file is read, and that is an error.
pub const PLACES_MAX: usize = 100_000;
/// Bytes that must have been read of a file for a copy of it to be recognised.
pub const COPY_BYTES_MIN: u64 = 256;
/// How long a file that is gone is remembered, for a copy of it may come.
const REMEMBERED_MS: i64 = 24 * 3600 * 1000;
/// After so long without a change nobody writes to a file that was renamed or deleted.
const QUIET_MS: i64 = 60_000;
/// After so long without a change a copy is whole.
const SETTLED_MS: i64 = 2_000;
/// Bytes read of one file before the next has its turn.
const TURN_BYTES: usize = 256 << 10;

mod beside;

/// As in a shell: a name that begins with a dot is found only by who asks for it.
const AS_SHELLS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A file's number: its device and inode.
type Number = (u64, u64);

/// Why files can't be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// A pattern is none.
    #[error("{pattern} is no pattern of files: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// There are too many files.
    #[error(
        "more than {PLACES_MAX} files; name fewer, or delete old ones, or give them to several collectors"
    )]
    TooMany,
}

/// A file that was read, or will be.
struct Known {
    place: Place,
    /// Open while it may grow.
    tail: Option<Tail>,
    /// When it was found to be nowhere.
    gone_since_ms: Option<i64>,
}

impl Known {
    fn number(&self) -> Number {
        (self.place.device, self.place.inode)
    }
}

/// What a file is that was found.
enum Seen {
    Known,
    /// Known, and opened now.
    Opened,
    /// Known, with more in it than was read, and there is no room to open it.
    Grown,
    New,
}

/// What a look at a new file came to.
enum Admitted {
    /// It is known now.
    Yes,
    /// It is too young to say.
    Soon,
    /// It is a copy of one that is still there.
    Later,
}

/// The files of some patterns, and the places of all that were ever read.
pub struct Watch {
    name: String,
    patterns: Vec<String>,
    known: BTreeMap<String, Known>,
    by_number: HashMap<Number, String>,
    n_made: u64,
    /// Places that are not kept yet.
    changed: BTreeSet<String>,
    forgotten: Vec<String>,
    /// Whose turn it is.
    next: String,
    n_soon: usize,
    n_later: usize,
    complained: BTreeSet<String>,
}

impl Watch {
    /// Files of these patterns (`*`, `?`, `[…]`, `**`), or below these folders.
    ///
    /// * `name`: of who reads; keys of lines begin with it.
    /// * `places`: what was read before, by id.
    ///
    /// # Errors
    /// A pattern is none.
    pub fn new(
        name: &str,
        patterns: &[String],
        folders: &[PathBuf],
        places: BTreeMap<String, Place>,
    ) -> Result<Watch, WatchError> {
        let below = |folder: &PathBuf| {
            let folder = glob::Pattern::escape(&folder.display().to_string());
            format!("{}/**/*", folder.trim_end_matches('/'))
        };
        let patterns: Vec<String> = patterns
            .iter()
            .cloned()
            .chain(folders.iter().map(below))
            .collect();
        for pattern in &patterns {
            glob::Pattern::new(pattern).map_err(|error| WatchError::Pattern {
                pattern: pattern.clone(),
                reason: error.msg.to_owned(),
            })?;
        }
        let known = places.into_iter().map(|(id, place)| {
            let known = Known {
                place,
                tail: None,
                gone_since_ms: None,
            };
            (id, known)
        });
        let known: BTreeMap<String, Known> = known.collect();
        let n_made = known
            .keys()
            .filter_map(|id| id.rsplit('-').next()?.parse().ok());
        let n_made = n_made.max().unwrap_or(0);
        // Of two with one number the later one has the file: the other's was deleted or cut before it.
        let by_number = known
            .iter()
            .map(|(id, known)| (known.number(), id.clone()))
            .collect();
        Ok(Watch {
            name: name.to_owned(),
            patterns,
            known,
            by_number,
            n_made,
            changed: BTreeSet::new(),
            forgotten: Vec::new(),
            next: String::new(),
            n_soon: 0,
            n_later: 0,
            complained: BTreeSet::new(),
        })
    }

    /// Files that are there.
    pub fn n_files(&self) -> usize {
        let is_there = |known: &&Known| known.gone_since_ms.is_none();
        self.known.values().filter(is_there).count()
    }

    /// New files that will be known in a moment.
    pub fn n_soon(&self) -> usize {
        self.n_soon
    }

    /// Copies of files that are still there, which are not read before those are cut or gone.
    pub fn n_later(&self) -> usize {
        self.n_later
    }

    /// Bytes of open files that were not read, a last line that has no end among them.
    pub fn n_waiting(&self) -> u64 {
        let tails = self.known.values().filter_map(|known| known.tail.as_ref());
        tails.map(|tail| tail.n_waiting().unwrap_or(0)).sum()
    }

    /// Looks which files there are.
    ///
    /// # Errors
    /// There are too many.
    pub fn scan(&mut self, now_ms: i64) -> Result<(), WatchError> {
        let (mut seen, mut new, mut n_grown) = (HashSet::new(), Vec::new(), 0);
        let mut n_open = self.n_open();
        for path in self.paths() {
            let metadata = match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => metadata,
                Ok(_) => continue,
                Err(error) => {
                    self.complain(&path, &error);
                    continue;
                }
            };
            let number = (metadata.dev(), metadata.ino());
            // A link to a file is that file.
            if !seen.insert(number) {
                continue;
            }
            match self.known_as(&path, number, metadata.len(), n_open < OPEN_MAX) {
                Seen::Known => (),
                Seen::Opened => n_open += 1,
                Seen::Grown => n_grown += 1,
                Seen::New => new.push((metadata.mtime(), metadata.mtime_nsec(), path, number)),
            }
        }
        self.note_gone(&seen, now_ms);
        self.make_room(new.len() + n_grown);
        // Older ones first: they were written first.
        new.sort();
        (self.n_soon, self.n_later) = (n_grown, 0);
        let mut n_open = self.n_open();
        for (_, _, path, number) in new {
            if PLACES_MAX <= self.known.len() {
                return Err(WatchError::TooMany);
            }
            if OPEN_MAX <= n_open {
                self.n_soon += 1;
                continue;
            }
            n_open += 1;
            match self.admit(&path, number, now_ms) {
                Ok(Admitted::Yes) => (),
                Ok(Admitted::Soon) => self.n_soon += 1,
                Ok(Admitted::Later) => self.n_later += 1,
                Err(error) => self.complain(&path, &error),
            }
        }
        Ok(())
    }

    /// Reads of all files in turn, about so many bytes at most; `each` is handed a key and a record. Says whether there is more.
    ///
    /// * `is_last`: nobody is waited for, as nothing is read after this.
    pub fn read(
        &mut self,
        bytes_max: usize,
        now_ms: i64,
        is_last: bool,
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> bool {
        let with_tail = |(id, known): (&String, &Known)| known.tail.is_some().then(|| id.clone());
        let after = self.known.range(self.next.clone()..).filter_map(with_tail);
        let before = self.known.range(..self.next.clone()).filter_map(with_tail);
        let ids: Vec<String> = after.chain(before).collect();
        let (mut n_bytes, mut is_more) = (0, false);
        for id in ids {
            if bytes_max <= n_bytes {
                self.next = id;
                return true;
            }
            let (n, more) = self.read_one(&id, now_ms, is_last, each);
            n_bytes += n;
            is_more |= more;
        }
        is_more
    }

    /// Places that are not kept yet, by id.
    pub fn changed(&mut self) -> Vec<(String, Place)> {
        let changed = std::mem::take(&mut self.changed);
        let place = |id: String| Some((id.clone(), self.known.get(&id)?.place.clone()));
        changed.into_iter().filter_map(place).collect()
    }

    /// Ids that are no longer needed.
    pub fn forgotten(&mut self) -> Vec<String> {
        std::mem::take(&mut self.forgotten)
    }

    fn paths(&mut self) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        for pattern in self.patterns.clone() {
            // Looked at when it was given.
            let Ok(found) = glob::glob_with(&pattern, AS_SHELLS) else {
                continue;
            };
            for path in found {
                match path {
                    Ok(path) => drop(paths.insert(path)),
                    Err(error) => {
                        let path = error.path().to_owned();
                        self.complain(&path, error.error());
                    }
                }
            }
        }
        paths
    }

    /// Says what is wrong with a file, each thing once.
    fn complain(&mut self, path: &Path, error: &io::Error) {
        // Gone since it was listed, and that is told by its absence.
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        let what = format!("{}: {error}", path.display());
        if self.complained.len() < 1000 && self.complained.insert(what.clone()) {
            tracing::warn!(what, "cannot read a file, trying again");
        }
    }

    /// Says whether this is a file that is known; one that has grown is opened, if there is room.
    fn known_as(&mut self, path: &Path, number: Number, size: u64, is_room: bool) -> Seen {
        let Some(id) = self.by_number.get(&number).cloned() else {
            return Seen::New;
        };
        let Some(known) = self.known.get_mut(&id) else {
            return Seen::New;
        };
        known.gone_since_ms = None;
        if let Some(tail) = &mut known.tail {
            tail.moved(path);
            return Seen::Known;
        }
        if known.place.finished.unwrap_or(known.place.bytes) == size {
            return Seen::Known;
        }
        if !is_room {
            return Seen::Grown;
        }
        match Tail::resume(path, &known.place) {
            Ok(Resumed::Here(tail)) => {
                known.tail = Some(*tail);
                Seen::Opened
            }
            Ok(Resumed::Short | Resumed::Other) => {
                self.by_number.remove(&number);
                Seen::New
            }
            Err(error) => {
                self.complain(path, &error);
                Seen::Known
            }
        }
    }

    fn n_open(&self) -> usize {
        self.known.values().filter(|k| k.tail.is_some()).count()
    }

    /// Notes which files are nowhere, closes those nobody writes to, and forgets the oldest.
    fn note_gone(&mut self, seen: &HashSet<Number>, now_ms: i64) {
        let mut gone = Vec::new();
        for (id, known) in &mut self.known {
            let number = known.number();
            let is_owner = self.by_number.get(&number) == Some(id);
            if is_owner && seen.contains(&number) {
                continue;
            }
            let since = *known.gone_since_ms.get_or_insert(now_ms);
            // At the second look: between the two what stands behind its last line's end was taken.
            if since < now_ms && known.tail.as_ref().is_some_and(|t| is_quiet(t, now_ms)) {
                known.tail = None;
            }
            if is_owner && known.tail.is_none() {
                self.by_number.remove(&number);
            }
            if known.tail.is_none() && REMEMBERED_MS <= now_ms - since {
                gone.push(id.clone());
            }
        }
        for id in gone {
            self.known.remove(&id);
            self.forgotten.push(id);
        }
    }

    /// Closes what was read to its end when too many are open.
    fn make_room(&mut self, n_new: usize) {
        let n_open = self.n_open();
        if n_open + n_new <= OPEN_MAX {
            return;
        }
        let drained = |(id, known): (&String, &Known)| {
            let tail = known.tail.as_ref()?;
            let is_drained = tail.is_drained().ok()?;
            (is_drained && known.gone_since_ms.is_none())
                .then_some((tail.state().ok()?.1, id.clone()))
        };
        let mut drained: Vec<_> = self.known.iter().filter_map(drained).collect();
        drained.sort();
        // Half of them: not anew at every look.
        for (_, id) in drained.into_iter().take(n_open.max(2) / 2) {
            if let Some(known) = self.known.get_mut(&id) {
                known.tail = None;
            }
        }
    }

    /// Decides what a file is that has a number nobody has.
    fn admit(&mut self, path: &Path, number: Number, now_ms: i64) -> io::Result<Admitted> {
        let key = format!("{}:{}", self.name, path.display());
        let mut tail = Tail::open(path, key)?;
        let (size, changed_ns) = tail.state()?;
        let is_settled = SETTLED_MS <= now_ms - ms_of(changed_ns);
        let beginning = tail.beginning()?;
        if beginning.len() < MARK_BYTES && !is_settled {
            return Ok(Admitted::Soon);
        }
        for id in self.like(&beginning) {
            let Some(other) = self.known.get(&id) else {
                continue;
            };
            if self.by_number.get(&other.number()) == Some(&id) {
                match beside(other, &tail, size)? {
                    Beside::Cut => self.cut(&id),
                    Beside::Different => continue,
                    _ if !is_settled => return Ok(Admitted::Soon),
                    Beside::Same if tail.seek(size)? => {
                        self.add(number, tail)?;
                        return Ok(Admitted::Yes);
                    }
                    // Cut just now.
                    Beside::Same => return Ok(Admitted::Soon),
                    Beside::Longer => return Ok(Admitted::Later),
                }
            }
            let Some(other) = self.known.get(&id) else {
                continue;
            };
            match Tail::resume(path, &other.place)? {
                Resumed::Here(tail) => {
                    self.take_over(id, number, *tail)?;
                    return Ok(Admitted::Yes);
                }
                Resumed::Short if now_ms - ms_of(changed_ns) < QUIET_MS => {
                    return Ok(Admitted::Later);
                }
                Resumed::Short | Resumed::Other => (),
            }
        }
        self.add(number, tail)?;
        Ok(Admitted::Yes)
    }

    /// Files of which enough was read, and that begin like this.
    fn like(&self, beginning: &[u8]) -> Vec<String> {
        let mut marks: BTreeMap<usize, Mark> = BTreeMap::new();
        let mut begins_so = |place: &Place| {
            let n = place.head.n_bytes;
            let is_enough = COPY_BYTES_MIN <= place.bytes && n <= beginning.len();
            is_enough && *marks.entry(n).or_insert_with(|| Mark::of(&beginning[..n])) == place.head
        };
        let like = self.known.iter().filter(|(_, k)| begins_so(&k.place));
        like.map(|(id, _)| id.clone()).collect()
    }

    fn add(&mut self, number: Number, tail: Tail) -> io::Result<()> {
        self.n_made += 1;
        let id = format!("{:x}-{:x}-{:010}", number.0, number.1, self.n_made);
        self.put(id, number, tail)
    }

    /// Another file is now what this one was.
    fn take_over(&mut self, id: String, number: Number, tail: Tail) -> io::Result<()> {
        tracing::info!(path = %tail.path().display(), "goes on where a file was that is gone");
        self.put(id, number, tail)
    }

    fn put(&mut self, id: String, number: Number, tail: Tail) -> io::Result<()> {
        let place = tail.place()?;
        if 0 < place.bytes {
            self.changed.insert(id.clone());
        }
        self.by_number.insert(number, id.clone());
        let known = Known {
            place,
            tail: Some(tail),
            gone_since_ms: None,
        };
        self.known.insert(id, known);
        Ok(())
    }

    /// A file was cut: it begins anew under another id, and its place stays for a copy of what it was.
    fn cut(&mut self, id: &str) {
        let Some(known) = self.known.get_mut(id) else {
            return;
        };
        let number = known.number();
        let tail = known.tail.take();
        self.by_number.remove(&number);
        if let Some(mut tail) = tail {
            tracing::info!(path = %tail.path().display(), "a file was cut, reading from its beginning");
            tail.restart();
            let path = tail.path().to_owned();
            if let Err(error) = self.add(number, tail) {
                self.complain(&path, &error);
            }
        }
    }

    fn read_one(
        &mut self,
        id: &str,
        now_ms: i64,
        is_last: bool,
        each: &mut dyn FnMut(&str, &[u8]),
    ) -> (usize, bool) {
        let Some(known) = self.known.get_mut(id) else {
            return (0, false);
        };
        let Some(tail) = &mut known.tail else {
            return (0, false);
        };
        let key = known.place.key.clone();
        let mut tell = |record: &[u8]| each(&key, record);
        let mut found = tail.read(TURN_BYTES, &mut tell);
        if matches!(found, Ok(Found::End))
            && (is_last || known.gone_since_ms.is_some() || tail.is_moved())
            && tail.n_waiting().is_ok_and(|n_bytes| 0 < n_bytes)
            && tail
                .state()
                .is_ok_and(|(_, ns)| QUIET_MS <= now_ms - ms_of(ns))
            && let Err(error) = tail.take_rest(&mut tell)
        {
            found = Err(error);
        }
        let path = tail.path().to_owned();
        let place = match tail.place() {
            Ok(place) => place,
            Err(error) => {
                self.complain(&path, &error);
                return (0, false);
            }
        };
        let n_bytes = place.bytes.saturating_sub(known.place.bytes) as usize;
        if known.place != place {
            known.place = place;
            self.changed.insert(id.to_owned());
        }
        let is_finished = known.place.finished.is_some();
        match found {
            Ok(Found::More) => return (n_bytes, true),
            Ok(Found::End) if is_finished => known.tail = None,
            Ok(Found::End) => (),
            Ok(Found::Cut) => {
                self.cut(id);
                return (n_bytes, true);
            }
            Err(error) => self.complain(&path, &error),
        }
        (n_bytes, false)
    }
}

fn ms_of(ns: i128) -> i64 {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

/// True when it was read to its end and nobody has written to it for long.
fn is_quiet(tail: &Tail, now_ms: i64) -> bool {
    let is_old = |(_, ns): (u64, i128)| QUIET_MS <= now_ms - ms_of(ns);
    tail.is_drained().unwrap_or(true) && tail.state().is_ok_and(is_old)
}

#[cfg(test)]
mod tests;
