//! A file that grows: its lines, each once, and how far it was read.
//!
//! In come the bytes of one open file, out go whole lines; a last line without an end waits for it. Before a file is read on, the
//! bytes before its place are compared with what was read there, so one that was cut and written anew is not taken for one that
//! grew, even if it is longer by now. Compressed files ([`mod@crate::file`] says which) are read once they are whole; their places
//! count decompressed bytes, so a log that is compressed after it was read is known again. [`watch`] has all files.
//!
//! **Invariant**: a place lies after a line's end, or inside a line that is too long and was told.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::file::decompress;
use crate::format::RECORD_BYTES_MAX;

pub use place::{MARK_BYTES, Mark, Place};

mod place;
pub mod watch;

/// Bytes looked at in one read of a plain file.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a line that is too long that are kept, for whoever looks what it was.
const KEPT_BYTES: usize = 64 << 10;

/// A record in the place of a line longer than [`RECORD_BYTES_MAX`]: its first 64 KiB, filled up with spaces until decoders must
/// reject it as oversized. Compressed, as records are written, it is as small as its beginning.
pub fn oversized(line: &[u8]) -> Vec<u8> {
    let mut record = line[..line.len().min(KEPT_BYTES)].to_vec();
    record.resize(RECORD_BYTES_MAX + 1, b' ');
    record
}

/// A line without its end, or none if it is empty.
pub fn record_of(line: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.len() {
        0 => None,
        n if n <= RECORD_BYTES_MAX => Some(line.into()),
        _ => Some(oversized(line).into()),
    }
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Something, and there may be more.
    More,
    /// Nothing more for now.
    End,
    /// Another text than was read: the file was cut, and perhaps written anew.
    Cut,
}

/// Whether a file goes on from a place.
pub enum Resumed {
    /// It does.
    Here(Box<Tail>),
    /// It begins as the place says, and ends before it.
    Short,
    /// It is another one.
    Other,
}

enum Kind {
    /// Nothing is in it yet, or too little to say.
    Unknown,
    Plain,
    /// With its reader, which stands at the place; none before it is opened.
    Compressed(Option<Box<dyn BufRead + Send>>),
}

/// An open file and how far it was read.
pub struct Tail {
    file: Arc<File>,
    path: PathBuf,
    kind: Kind,
    key: String,
    bytes: u64,
    lines: u64,
    in_line: bool,
    finished: Option<u64>,
    head: Vec<u8>,
    last: Vec<u8>,
    /// Size and time of change, in nanoseconds, when there was nothing more.
    ended: Option<(u64, i128)>,
}

impl Tail {
    /// Opens a file at its beginning; its lines get this key.
    ///
    /// # Errors
    /// It can't be opened or read.
    pub fn open(path: &Path, key: String) -> io::Result<Tail> {
        let mut tail = Tail {
            file: Arc::new(File::open(path)?),
            path: path.to_owned(),
            kind: Kind::Unknown,
            key,
            bytes: 0,
            lines: 0,
            in_line: false,
            finished: None,
            head: Vec::new(),
            last: Vec::new(),
            ended: None,
        };
        tail.learn_kind()?;
        Ok(tail)
    }

    /// Opens a file at a place, if it is the file of that place.
    ///
    /// # Errors
    /// It can't be opened or read.
    pub fn resume(path: &Path, place: &Place) -> io::Result<Resumed> {
        let mut tail = Tail::open(path, place.key.clone())?;
        let reached = match tail.kind {
            Kind::Compressed(_) => tail.skip(place.bytes)?,
            _ => tail.seek(place.bytes)?,
        };
        let begins_so = place.head.n_bytes <= tail.head.len()
            && Mark::of(&tail.head[..place.head.n_bytes]) == place.head;
        if !begins_so {
            return Ok(Resumed::Other);
        }
        if !reached {
            return Ok(Resumed::Short);
        }
        let n_last = place.last.n_bytes.min(tail.last.len());
        if Mark::of(&tail.last[tail.last.len() - n_last..]) != place.last {
            return Ok(Resumed::Other);
        }
        (tail.lines, tail.in_line) = (place.lines, place.in_line);
        Ok(Resumed::Here(Box::new(tail)))
    }

    /// How far it was read.
    ///
    /// # Errors
    /// Its number can't be asked.
    pub fn place(&self) -> io::Result<Place> {
        let metadata = self.file.metadata()?;
        Ok(Place {
            key: self.key.clone(),
            path: self.path.display().to_string(),
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: self.bytes,
            lines: self.lines,
            in_line: self.in_line,
            finished: self.finished,
            head: Mark::of(&self.head),
            last: Mark::of(&self.last),
        })
    }

    /// The file at its beginning again.
    pub fn restart(&mut self) {
        self.kind = Kind::Unknown;
        (self.bytes, self.lines, self.in_line) = (0, 0, false);
        (self.finished, self.ended) = (None, None);
        self.head.clear();
        self.last.clear();
    }

    /// Where it was found last.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes where it is now.
    pub fn moved(&mut self, path: &Path) {
        if self.path != path {
            path.clone_into(&mut self.path);
        }
    }

    /// True when it is no longer where its first line was read.
    pub fn is_moved(&self) -> bool {
        !self.key.ends_with(&self.path.display().to_string())
    }

    /// True for a compressed file.
    pub fn is_compressed(&self) -> bool {
        matches!(self.kind, Kind::Compressed(_))
    }

    /// True when a read found nothing more, and nothing has changed since.
    ///
    /// # Errors
    /// It can't be asked.
    pub fn is_drained(&self) -> io::Result<bool> {
        Ok(self.ended == Some(self.state()?))
    }

    /// Its size on disk, and when it was changed, in nanoseconds since 1970.
    ///
    /// # Errors
    /// It can't be asked.
    pub fn state(&self) -> io::Result<(u64, i128)> {
        let metadata = self.file.metadata()?;
        let changed = i128::from(metadata.mtime()) * 1_000_000_000;
        Ok((metadata.len(), changed + i128::from(metadata.mtime_nsec())))
    }

    /// Bytes on disk behind the place of a plain file; none of a compressed one, of which nobody knows.
    pub fn n_waiting(&self) -> io::Result<u64> {
        match self.kind {
            Kind::Compressed(_) => Ok(0),
            _ => Ok(self.state()?.0.saturating_sub(self.bytes)),
        }
    }

    /// The first bytes of its text, at most [`MARK_BYTES`]; of a compressed file that is not whole yet, what there is.
    ///
    /// # Errors
    /// It can't be read.
    pub fn beginning(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.is_compressed() {
            match self
                .decompressed()
                .and_then(|reader| reader.take(MARK_BYTES as u64).read_to_end(&mut bytes))
            {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                _ => (),
            }
        } else {
            bytes = self.bytes_at(0, MARK_BYTES)?;
        }
        Ok(bytes)
    }

    /// True when what was read is still there, before the place.
    ///
    /// # Errors
    /// It can't be read.
    pub fn is_whole(&self) -> io::Result<bool> {
        if self.is_compressed() {
            return Ok(true);
        }
        let n = self.last.len();
        Ok(self.bytes_at(self.bytes - n as u64, n)? == self.last)
    }

    /// Bytes of a plain file from an offset on; fewer at its end.
    ///
    /// # Errors
    /// It can't be read.
    pub fn bytes_at(&self, offset: u64, n_bytes: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; n_bytes];
        let n = read_at(&self.file, &mut bytes, offset)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    /// Reads lines, of about so many bytes at most, and hands each over as a record.
    ///
    /// # Errors
    /// It can't be read, or its compression is damaged. What was handed over before counts as read.
    pub fn read(&mut self, bytes_max: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<Found> {
        let state = self.state()?;
        if self.ended == Some(state) {
            return Ok(Found::End);
        }
        if matches!(self.kind, Kind::Unknown) {
            self.learn_kind()?;
        }
        let found = match self.kind {
            Kind::Unknown => Ok(Found::End),
            Kind::Plain => self.read_plain(bytes_max, each),
            Kind::Compressed(_) => self.read_compressed(state.0, bytes_max, each),
        };
        // As it was before: what came meanwhile is for the next read. A damaged file is not read again before it changes.
        self.ended = (!matches!(found, Ok(Found::More | Found::Cut))).then_some(state);
        found
    }

    /// Hands over what stands behind the last line's end: nobody is to end it any more.
    ///
    /// # Errors
    /// It can't be read.
    pub fn take_rest(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        if !matches!(self.kind, Kind::Plain) {
            return Ok(false);
        }
        let rest = self.bytes_at(self.bytes, RECORD_BYTES_MAX + 2)?;
        if rest.is_empty() || rest.contains(&b'\n') {
            return Ok(false);
        }
        self.tell(&rest, each);
        self.advance(&rest);
        Ok(true)
    }

    fn read_plain(&mut self, bytes_max: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<Found> {
        let (mut n_read, mut n_wanted) = (0, CHUNK_BYTES);
        while n_read < bytes_max {
            let n_last = self.last.len();
            let bytes = self.bytes_at(self.bytes - n_last as u64, n_last + n_wanted)?;
            let Some(text) = bytes.strip_prefix(self.last.as_slice()) else {
                return Ok(Found::Cut);
            };
            let is_end = text.len() < n_wanted;
            let n_used = match memchr::memrchr(b'\n', text) {
                Some(end) => {
                    self.tell_lines(&text[..end], each);
                    end + 1
                }
                None if self.in_line => text.len(),
                None if is_end => 0,
                // A line's end may be two bytes.
                None if n_wanted < RECORD_BYTES_MAX + 2 => {
                    n_wanted = RECORD_BYTES_MAX + 2;
                    continue;
                }
                None => {
                    self.tell(text, each);
                    self.in_line = true;
                    text.len()
                }
            };
            self.advance(&text[..n_used]);
            n_read += n_used;
            if is_end {
                return Ok(Found::End);
            }
            n_wanted = CHUNK_BYTES;
        }
        Ok(Found::More)
    }

    /// Tells lines; the last one's end follows the text.
    fn tell_lines(&mut self, text: &[u8], each: &mut dyn FnMut(&[u8])) {
        let mut rest = text;
        loop {
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            match std::mem::take(&mut self.in_line) {
                true => (),
                false => self.tell(line, each),
            }
            match end {
                Some(end) => rest = &rest[end + 1..],
                None => return,
            }
        }
    }

    fn tell(&mut self, line: &[u8], each: &mut dyn FnMut(&[u8])) {
        self.lines += 1;
        if let Some(record) = record_of(line) {
            each(&record);
        }
    }

    fn read_compressed(
        &mut self,
        size: u64,
        bytes_max: usize,
        each: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Found> {
        if self.finished == Some(size) {
            return Ok(Found::End);
        }
        if matches!(self.kind, Kind::Compressed(None)) {
            let before = (self.bytes, self.head.clone(), self.last.clone());
            let skipped = self.skip(before.0);
            let is_same = self.head == before.1 && self.last == before.2;
            (self.bytes, self.head, self.last) = before;
            match skipped {
                Ok(true) if is_same => (),
                Ok(_) => return Ok(Found::Cut),
                Err(error) => return waits(error),
            }
        }
        let Kind::Compressed(Some(mut reader)) =
            std::mem::replace(&mut self.kind, Kind::Compressed(None))
        else {
            return Ok(Found::End);
        };
        let (mut n_read, mut line) = (0, Vec::new());
        while n_read < bytes_max {
            line.clear();
            let n_max = RECORD_BYTES_MAX as u64 + 2;
            let n = match reader.by_ref().take(n_max).read_until(b'\n', &mut line) {
                Ok(n) => n,
                // It is opened again when there is more of it; this line is read again then.
                Err(error) => return waits(error),
            };
            if n == 0 {
                self.finished = Some(size);
                return Ok(Found::End);
            }
            match line.strip_suffix(b"\n") {
                Some(whole) => self.tell_lines(whole, each),
                None if self.in_line => (),
                None => {
                    self.tell(&line, each);
                    self.in_line = n as u64 == n_max;
                }
            }
            self.advance(&line);
            n_read += n;
        }
        self.kind = Kind::Compressed(Some(reader));
        Ok(Found::More)
    }

    /// Notes that these bytes were read.
    fn advance(&mut self, read: &[u8]) {
        self.bytes += read.len() as u64;
        let n_head = read.len().min(MARK_BYTES - self.head.len());
        self.head.extend_from_slice(&read[..n_head]);
        if read.len() >= MARK_BYTES {
            self.last.clear();
        }
        self.last
            .extend_from_slice(&read[read.len() - read.len().min(MARK_BYTES)..]);
        let n_old = self.last.len().saturating_sub(MARK_BYTES);
        self.last.drain(..n_old);
    }

    /// Goes to an offset of a plain file, whose lines up to there were read elsewhere; false if it ends before.
    ///
    /// # Errors
    /// It can't be read.
    pub fn seek(&mut self, bytes: u64) -> io::Result<bool> {
        self.head = self.bytes_at(0, bytes.min(MARK_BYTES as u64) as usize)?;
        if self.state()?.0 < bytes {
            return Ok(false);
        }
        let n_last = bytes.min(MARK_BYTES as u64);
        self.last = self.bytes_at(bytes - n_last, n_last as usize)?;
        self.bytes = bytes;
        Ok(self.last.len() as u64 == n_last)
    }

    /// Goes to an offset of a compressed file's text; false if that ends before, for now or for ever.
    fn skip(&mut self, bytes: u64) -> io::Result<bool> {
        (self.bytes, self.finished) = (0, None);
        self.head.clear();
        self.last.clear();
        let mut reader = self.decompressed()?;
        while self.bytes < bytes {
            let chunk = match reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                chunk => chunk?,
            };
            if chunk.is_empty() {
                return Ok(false);
            }
            let left = usize::try_from(bytes - self.bytes).unwrap_or(usize::MAX);
            let n = chunk.len().min(left);
            let skipped = chunk[..n].to_vec();
            reader.consume(n);
            self.advance(&skipped);
        }
        self.kind = Kind::Compressed(Some(reader));
        Ok(true)
    }

    fn decompressed(&self) -> io::Result<Box<dyn BufRead + Send>> {
        let at = At {
            file: Arc::clone(&self.file),
            offset: 0,
        };
        decompress(BufReader::with_capacity(CHUNK_BYTES, at))
    }

    fn learn_kind(&mut self) -> io::Result<()> {
        const MAGICS: [&[u8]; 3] = [
            &[0x1f, 0x8b],
            &[0xfd, b'7', b'z', b'X', b'Z', 0],
            &[0x28, 0xb5, 0x2f, 0xfd],
        ];
        let first = self.bytes_at(0, 6)?;
        self.kind = if MAGICS.iter().any(|magic| first.starts_with(magic)) {
            Kind::Compressed(None)
        } else if MAGICS.iter().any(|magic| magic.starts_with(&first)) {
            Kind::Unknown
        } else {
            Kind::Plain
        };
        Ok(())
    }
}

/// A compressed file that ends in the middle is still being written.
fn waits(error: io::Error) -> io::Result<Found> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Ok(Found::End),
        _ => Err(error),
    }
}

/// A reader with an offset of its own: the file's is shared by all that read it.
struct At {
    file: Arc<File>,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(into, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

/// Fills the buffer from an offset on; says how far, which is less only at the file's end.
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut n_read = 0;
    while n_read < into.len() {
        match file.read_at(&mut into[n_read..], offset + n_read as u64) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(n_read)
}

#[cfg(test)]
mod tests;
