//! Files: logs at rest, plain or compressed, as lines.
//!
//! Compression is told by the first bytes, never by the name: gzip `1f 8b`, xz `fd 37 7a 58 5a 00`, zstd `28 b5 2f fd`. Files made
//! by appending compressed files to each other are read to their end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// Bytes of one line, without its end: four records of the largest size. A longer one is skipped and marked.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// Memory an xz file may ask for: `xz -9` needs 65 MiB. A file that wants more fails to open rather than ending the process.
pub const XZ_MEMORY_BYTES_MAX: u64 = 256 << 20;

const BUFFER_BYTES: usize = 256 << 10;

/// An open log file.
pub struct Input {
    /// The text, decompressed.
    pub reader: Box<dyn BufRead + Send>,
    /// Length of the file on disk, in bytes.
    pub file_bytes: u64,
    /// Bytes read of the file so far; with `file_bytes` the progress.
    pub read_bytes: Arc<AtomicU64>,
}

/// Opens a log file.
///
/// # Errors
///
/// The file cannot be opened or read, or its compression's header is broken.
pub fn open(path: &Path) -> io::Result<Input> {
    let file = File::open(path)?;
    let file_bytes = file.metadata()?.len();
    let read_bytes = Arc::new(AtomicU64::new(0));
    let counted = Counted {
        inner: file,
        read_bytes: Arc::clone(&read_bytes),
    };
    let reader = decompress(BufReader::with_capacity(BUFFER_BYTES, counted))?;
    Ok(Input {
        reader,
        file_bytes,
        read_bytes,
    })
}

/// Wraps a reader by what its first bytes say.
///
/// # Errors
///
/// Reading fails, or the compression's header is broken.
pub fn decompress(
    mut reader: impl BufRead + Send + 'static,
) -> io::Result<Box<dyn BufRead + Send>> {
    let buffered = |inner| -> Box<dyn BufRead + Send> {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, inner))
    };
    let inner: Box<dyn Read + Send> = match reader.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(reader)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES_MAX, CONCATENATED)
                .map_err(io::Error::from)?;
            Box::new(XzDecoder::new_stream(reader, stream))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        _ => return Ok(Box::new(reader)),
    };
    Ok(buffered(inner))
}

struct Counted {
    inner: File,
    read_bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.inner.read(into)?;
        self.read_bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
        Ok(n_bytes)
    }
}

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Raw bytes, without the line's end.
    Bytes {
        /// From 1.
        number: u64,
        /// Not necessarily UTF-8.
        bytes: Vec<u8>,
    },
    /// A line longer than [`LINE_BYTES_MAX`], skipped.
    Oversized {
        /// From 1.
        number: u64,
        /// Its length.
        n_bytes: u64,
    },
}

/// Yields lines; ends after the first error.
pub struct Lines<R> {
    reader: R,
    number: u64,
    is_done: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads lines from the reader's place on.
    pub fn new(reader: R) -> Lines<R> {
        Lines {
            reader,
            number: 0,
            is_done: false,
        }
    }

    fn read_line(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let mut n_bytes = 0_u64;
        let mut is_ended = false;
        while !is_ended {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                break;
            }
            let end = memchr::memchr(b'\n', chunk);
            is_ended = end.is_some();
            let part = &chunk[..end.unwrap_or(chunk.len())];
            n_bytes += part.len() as u64;
            if n_bytes <= LINE_BYTES_MAX as u64 {
                bytes.extend_from_slice(part);
            }
            let n_used = part.len() + usize::from(is_ended);
            self.reader.consume(n_used);
        }
        if n_bytes == 0 && !is_ended {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        if n_bytes > LINE_BYTES_MAX as u64 {
            return Ok(Some(Line::Oversized { number, n_bytes }));
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Ok(Some(Line::Bytes { number, bytes }))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        if self.is_done {
            return None;
        }
        let line = self.read_line().transpose();
        self.is_done = !matches!(line, Some(Ok(_)));
        line
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(text: &[u8]) -> Vec<Line> {
        Lines::new(text).map(Result::unwrap).collect()
    }

    fn line(number: u64, bytes: &[u8]) -> Line {
        Line::Bytes {
            number,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn lines_are_numbered_from_one_and_lose_their_ends() {
        assert_eq!(lines(b""), []);
        assert_eq!(
            lines(b"a\r\n\n\xff"),
            [line(1, b"a"), line(2, b""), line(3, b"\xff")]
        );
        assert_eq!(lines(b"a\n"), [line(1, b"a")]);
    }

    #[test]
    fn an_oversized_line_is_marked_and_the_next_is_read() {
        let mut text = vec![b'x'; LINE_BYTES_MAX];
        text.extend_from_slice(b"\ny");
        assert_eq!(lines(&text)[1], line(2, b"y"));
        assert!(
            matches!(&lines(&text)[0], Line::Bytes { number: 1, bytes } if bytes.len() == LINE_BYTES_MAX)
        );
        text.insert(0, b'x');
        let n_bytes = LINE_BYTES_MAX as u64 + 1;
        assert_eq!(
            lines(&text),
            [Line::Oversized { number: 1, n_bytes }, line(2, b"y")]
        );
    }

    #[test]
    fn compression_is_told_by_the_first_bytes_and_concatenation_is_read_through() {
        let text = b"one\ntwo\n";
        let gzip = || {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let xz = || {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let zst = || zstd::encode_all(text.as_slice(), 1).unwrap();
        for (name, once) in [
            ("plain", text.to_vec()),
            ("gzip", gzip()),
            ("xz", xz()),
            ("zstd", zst()),
        ] {
            let twice = [once.clone(), once].concat();
            let reader = decompress(io::Cursor::new(twice)).unwrap();
            let got: Vec<_> = Lines::new(reader).map(Result::unwrap).collect();
            assert_eq!(
                got,
                [
                    line(1, b"one"),
                    line(2, b"two"),
                    line(3, b"one"),
                    line(4, b"two")
                ],
                "{name}"
            );
        }
    }

    #[test]
    fn a_truncated_file_yields_its_lines_and_then_one_failure() {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder
            .write_all("line\n".repeat(100_000).as_bytes())
            .unwrap();
        let mut bytes = encoder.finish().unwrap();
        bytes.truncate(bytes.len() / 2);
        let results: Vec<_> = Lines::new(decompress(io::Cursor::new(bytes)).unwrap()).collect();
        assert!(results.last().unwrap().is_err());
        assert!(results[..results.len() - 1].iter().all(Result::is_ok));
    }

    #[test]
    fn progress_ends_at_the_files_length() {
        let path = std::env::temp_dir().join(format!("tollwatch-file-test-{}", std::process::id()));
        std::fs::write(&path, "a\nb\n".repeat(10_000)).unwrap();
        let input = open(&path).unwrap();
        assert_eq!(Lines::new(input.reader).count(), 20_000);
        assert_eq!(input.read_bytes.load(Ordering::Relaxed), input.file_bytes);
        std::fs::remove_file(&path).unwrap();
    }
}
