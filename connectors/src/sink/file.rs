//! Lines to a file that somebody else rotates, or to a pipe.
//!
//! Before each batch the file at the path is looked at: when it is another than the open one, as after logrotate has moved that away, it is
//! opened anew, so no signal is needed. What a crash or a full disk cut off in the middle of a line is ended, so that no line grows together with the
//! next.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Item, SinkError};

/// A file that grows.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    file: File,
}

impl FileSink {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn open(path: &Path) -> Result<FileSink, SinkError> {
        let file = open(path).map_err(|error| SinkError::Misconfigured {
            sink: format!("file:{}", path.display()),
            reason: error.to_string(),
        })?;
        Ok(FileSink {
            path: path.to_owned(),
            file,
        })
    }

    /// Writes the items' texts and waits until they are on the disk.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn send(&mut self, items: &[Item]) -> Result<(), SinkError> {
        self.write(|file| write_lines(file, items))
    }

    /// Writes one line and waits until it is on the disk.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn send_line(&mut self, line: &str) -> Result<(), SinkError> {
        self.write(|file| file.write_all(format!("{line}\n").as_bytes()))
    }

    fn write(&mut self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), SinkError> {
        let written = self
            .follow()
            .and_then(|()| end_line(&mut self.file))
            .and_then(|()| write(&mut self.file))
            .and_then(|()| sync(&self.file));
        written.map_err(|error| unavailable(format!("file:{}", self.path.display()), &error))
    }

    /// Opens the file anew when another one, or none, is at its path.
    fn follow(&mut self) -> io::Result<()> {
        let open_one = self.file.metadata()?;
        let id = |file: &std::fs::Metadata| (file.dev(), file.ino());
        match std::fs::metadata(&self.path) {
            Ok(found) if id(&found) == id(&open_one) => Ok(()),
            _ => {
                self.file = open(&self.path)?;
                Ok(())
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .append(true)
        .read(true)
        .create(true)
        .open(path)
}

/// Ends a line that was cut off.
fn end_line(file: &mut File) -> io::Result<()> {
    // A pipe or a device has no end to look at.
    if !file.metadata()?.is_file() || file.seek(SeekFrom::End(0))? == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    match last {
        [b'\n'] => Ok(()),
        _ => file.write_all(b"\n"),
    }
}

fn sync(file: &File) -> io::Result<()> {
    match file.metadata()?.is_file() {
        true => file.sync_data(),
        false => Ok(()),
    }
}

pub(super) fn write_lines(out: &mut impl Write, items: &[Item]) -> io::Result<()> {
    for item in items {
        out.write_all(format!("{}\n", item.text).as_bytes())?;
    }
    out.flush()
}

pub(super) fn unavailable(sink: String, error: &io::Error) -> SinkError {
    let reason = error.to_string();
    match error.kind() {
        // Nobody reads there any more.
        io::ErrorKind::BrokenPipe => SinkError::Misconfigured { sink, reason },
        _ => SinkError::Unavailable {
            sink,
            reason,
            after: None,
        },
    }
}
