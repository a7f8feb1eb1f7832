//! Whether a new file is a copy of one that is there.

use std::io;
use std::path::Path;

use super::{Known, MARK_BYTES, Resumed, Tail};

/// A new file beside one that is there and begins alike.
pub(super) enum Beside {
    /// That one was cut.
    Cut,
    /// They are two logs.
    Different,
    /// What the new one has was read of the other.
    Same,
    /// Some of it was not yet.
    Longer,
}

pub(super) fn beside(other: &Known, new: &Tail, size: u64) -> io::Result<Beside> {
    if new.is_compressed() || other.place.finished.is_some() {
        return Ok(Beside::Longer);
    }
    let opened;
    let tail = match &other.tail {
        Some(tail) => tail,
        None => match Tail::resume(Path::new(&other.place.path), &other.place)? {
            Resumed::Here(tail) => {
                opened = tail;
                &opened
            }
            Resumed::Short | Resumed::Other => return Ok(Beside::Cut),
        },
    };
    if !tail.is_whole()? {
        return Ok(Beside::Cut);
    }
    if tail.is_compressed() {
        return Ok(Beside::Longer);
    }
    if tail.state()?.0 < size {
        return Ok(Beside::Different);
    }
    let n = size.min(MARK_BYTES as u64);
    let ends = |tail: &Tail| tail.bytes_at(size - n, n as usize);
    Ok(
        match (ends(new)? == ends(tail)?, size <= other.place.bytes) {
            (false, _) => Beside::Different,
            (true, true) => Beside::Same,
            (true, false) => Beside::Longer,
        },
    )
}
