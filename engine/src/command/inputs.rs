//! What commands read: files, standard input (`-`), folders, and objects below a prefix (`s3://bucket/prefix/`).
//!
//! A folder and a prefix are read as the files and objects below them, in the order of their names, each with lines of its own that
//! count from 1; `AWSLogs/<account>/elasticloadbalancing/<region>/2026/01/05/…` is so in the order of time. Objects are read as they
//! come, a few chunks ahead, and whatever is compressed is unpacked, as files are.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Buf, Bytes};
use connectors::file::{self, Input, decompress};
use futures::StreamExt;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Failure;
use crate::state::address::address;

/// Files and objects of one command, about 200 bytes each while it runs.
const INPUTS_MAX: usize = 1_000_000;
/// Chunks of an object that are read ahead, each at most some MiB as the client gives them.
const AHEAD: usize = 4;
/// How often an object is asked for again, from where its stream broke off.
const TRIES: usize = 4;

/// The files and objects that these name, in their order.
///
/// # Errors
/// A folder or a prefix can't be listed, has nothing in it, or too much.
pub fn listed(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for path in given {
        let found = match path.to_str() {
            Some(url) if is_url(url) => match folder_of(url)? {
                Some(path) => below(&path)?,
                None if url.ends_with('/') => objects_below(url)?,
                None => vec![path.clone()],
            },
            _ => below(path)?,
        };
        if found.is_empty() {
            return Err(format!("there is nothing to read in {}", path.display()).into());
        }
        all.extend(found);
        if INPUTS_MAX < all.len() {
            return Err(format!(
                "more than {INPUTS_MAX} files to read; give a narrower folder or prefix"
            )
            .into());
        }
    }
    Ok(all)
}

/// Opens a file, standard input, or an object.
///
/// # Errors
/// It can't be opened, or its compression's header is broken.
pub fn open(path: &Path) -> io::Result<Input> {
    let reader = match path.to_str() {
        Some("-") => {
            static IS_TAKEN: AtomicBool = AtomicBool::new(false);
            if IS_TAKEN.swap(true, Ordering::Relaxed) {
                let what = "standard input can be read once; give a file where it is read again";
                return Err(io::Error::other(what));
            }
            decompress(BufReader::new(io::stdin()))?
        }
        Some(url) if is_url(url) => {
            let (objects, key) = object_at(url).map_err(io::Error::other)?;
            decompress(BufReader::with_capacity(
                1 << 18,
                Object::open(objects, key)?,
            ))?
        }
        _ => return file::open(path),
    };
    Ok(Input {
        reader,
        // Not known before its end.
        file_bytes: 0,
        read_bytes: Arc::default(),
    })
}

fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// The folder or file of a `file://` address.
fn folder_of(url: &str) -> Result<Option<PathBuf>, Failure> {
    if !url.starts_with("file://") {
        return Ok(None);
    }
    let path = url::Url::parse(url)
        .ok()
        .and_then(|url| url.to_file_path().ok());
    let path = path.ok_or_else(|| format!("{url} names no file or folder of this machine"))?;
    Ok(Some(path))
}

/// A file itself, or the files below a folder, in the order of their whole names; hidden ones are none.
fn below(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut files, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        let failed = |error: io::Error| format!("cannot list {}: {error}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            // Links to folders are not followed: they may lead in circles.
            match entry.file_type().map_err(failed)? {
                kind if kind.is_dir() => folders.push(entry.path()),
                _ if entry.path().is_file() => files.push(entry.path()),
                _ => (),
            }
        }
        if INPUTS_MAX < files.len() {
            break;
        }
    }
    files.sort();
    Ok(files)
}

/// The objects below a prefix, as addresses, in the order of their names.
fn objects_below(url: &str) -> Result<Vec<PathBuf>, Failure> {
    let told = |(told, reason)| format!("cannot read {told}: {reason}");
    let (objects, root) = address(url).map_err(told)?;
    let base = base_of(url, &root)
        .ok_or_else(|| format!("cannot list {url}: write its prefix without %"))?;
    let (sender, listed) = std::sync::mpsc::channel();
    runtime()?.spawn(async move {
        // Who asked has gone if it is not taken.
        let _ = sender.send(names(&objects, &root).await);
    });
    let names = listed.recv().map_err(|_| format!("cannot list {url}"))?;
    let names = names.map_err(|error| format!("cannot list {url}: {error}"))?;
    let named = names
        .into_iter()
        .map(|key| PathBuf::from(format!("{base}{key}")));
    Ok(named.collect())
}

/// Whether there is anything in a folder of a prefix.
///
/// # Errors
/// It can't be listed.
pub fn holds(url: &str, folder: &str) -> Result<bool, Failure> {
    if let Some(path) = folder_of(url)? {
        return Ok(path.join(folder).is_dir());
    }
    let told = |(told, reason)| format!("cannot read {told}: {reason}");
    let (objects, root) = address(url).map_err(told)?;
    let below = root.join(folder);
    let (sender, asked) = std::sync::mpsc::channel();
    runtime()?.spawn(async move {
        // Who asked has gone if it is not taken.
        let _ = sender.send(objects.list(Some(&below)).next().await.transpose());
    });
    let first = asked.recv().map_err(|_| format!("cannot list {url}"))?;
    let first = first.map_err(|error| format!("cannot list {url}: {error}"))?;
    Ok(first.is_some())
}

/// What stands before the names of objects in an address.
fn base_of<'u>(url: &'u str, root: &Key) -> Option<&'u str> {
    let base = url.trim_end_matches('/').strip_suffix(root.as_ref())?;
    match root.as_ref() {
        "" => Some(url),
        _ => Some(base),
    }
}

/// The names of the objects below a prefix, sorted: not every store lists them so. Empty ones, as folders are made of, are none.
async fn names(objects: &dyn ObjectStore, root: &Key) -> Result<Vec<Key>, object_store::Error> {
    let (mut names, mut found) = (Vec::new(), objects.list(Some(root)));
    while let Some(object) = found.next().await {
        let object = object?;
        if 0 < object.size && names.len() <= INPUTS_MAX {
            names.push(object.location);
        }
    }
    names.sort();
    Ok(names)
}

/// The store of an object and its name there. The client of the last one is kept: a prefix has thousands of them.
fn object_at(url: &str) -> Result<(Arc<dyn ObjectStore>, Key), String> {
    static LAST: Mutex<Option<(String, Arc<dyn ObjectStore>)>> = Mutex::new(None);
    let parsed = url::Url::parse(url).map_err(|error| format!("cannot read {url}: {error}"))?;
    let (_, key) = object_store::ObjectStoreScheme::parse(&parsed)
        .map_err(|error| format!("cannot read {url}: {error}"))?;
    let base = base_of(url, &key).unwrap_or(url);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, objects)) = &*last
        && of == base
    {
        return Ok((objects.clone(), key));
    }
    let (objects, key) =
        address(url).map_err(|(told, why)| format!("cannot read {told}: {why}"))?;
    *last = Some((base.to_owned(), objects.clone()));
    Ok((objects, key))
}

/// The threads of the stores' clients.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("objects")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// An object's bytes as they come.
struct Object {
    chunks: Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Object {
    fn open(objects: Arc<dyn ObjectStore>, key: Key) -> io::Result<Object> {
        let (sender, chunks) = channel(AHEAD);
        runtime()?.spawn(async move { fetch(&objects, &key, &sender).await });
        Ok(Object {
            chunks,
            chunk: Bytes::new(),
        })
    }
}

impl Read for Object {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let n = into.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut into[..n]);
        Ok(n)
    }
}

/// Sends an object's chunks; a stream that breaks off is taken up where it was, if the object is still the same.
async fn fetch(objects: &dyn ObjectStore, key: &Key, chunks: &Sender<io::Result<Bytes>>) {
    let (mut offset, mut tag, mut n_tries) = (0, None, 0);
    loop {
        let failed = match stream(objects, key, &mut offset, &mut tag, chunks).await {
            Ok(()) => return,
            Err(error) => error,
        };
        n_tries += 1;
        if n_tries == TRIES || matches!(failed, object_store::Error::NotFound { .. }) {
            // Who reads has gone if it is not taken.
            let _ = chunks.send(Err(io::Error::other(failed))).await;
            return;
        }
        tracing::warn!(error = %failed, %key, offset, "an object's stream broke off, asking again");
    }
}

async fn stream(
    objects: &dyn ObjectStore,
    key: &Key,
    offset: &mut u64,
    tag: &mut Option<String>,
    chunks: &Sender<io::Result<Bytes>>,
) -> Result<(), object_store::Error> {
    let options = GetOptions {
        range: (0 < *offset).then_some(GetRange::Offset(*offset)),
        if_match: tag.clone(),
        ..GetOptions::default()
    };
    let got = objects.get_opts(key, options).await?;
    let size = got.meta.size;
    tag.clone_from(&got.meta.e_tag);
    let mut stream = got.into_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        *offset += chunk.len() as u64;
        if chunks.send(Ok(chunk)).await.is_err() || size <= *offset {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use connectors::file::{Line, Lines};
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn objects_are_read_in_the_order_of_their_names_compressed_or_not() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let zst = zstd::encode_all(&b"three\nfour\n"[..], 1).expect("compresses");
        let runtime = runtime().expect("threads");
        let put = |name: &str, bytes: Vec<u8>| {
            let key = Key::from(name);
            let put = objects.put(&key, bytes.into());
            runtime.block_on(put).expect("is taken");
        };
        put("logs/2026/01/02/b.log.zst", zst);
        put("logs/2026/01/02/a.log", vec![b'x'; 3 << 20]);
        put("logs/2026/01/01/z.log", b"one\ntwo".to_vec());
        put("logs/2026/", Vec::new());
        put("other/a.log", b"no\n".to_vec());
        let found = runtime.block_on(names(&objects, &Key::from("logs")));
        let mut read = Vec::new();
        for key in found.expect("can be listed") {
            let object = Object::open(objects.clone(), key).expect("opens");
            let reader = decompress(BufReader::new(object)).expect("is whole");
            for line in Lines::new(reader) {
                match line.expect("is read") {
                    Line::Bytes { number, bytes } => read.push((number, bytes.len())),
                    Line::Oversized { .. } => panic!("no line is too long"),
                }
            }
        }
        assert_eq!(read, [(1, 3), (2, 3), (1, 3 << 20), (1, 5), (2, 4)]);
        let missing = Object::open(objects, Key::from("missing")).expect("opens");
        assert!(decompress(BufReader::new(missing)).is_err());
    }

    #[test]
    fn an_address_is_its_base_and_a_name() {
        let rows = [
            ("s3://bucket/a/b/", "a/b", Some("s3://bucket/")),
            ("s3://bucket/", "", Some("s3://bucket/")),
            (
                "https://s3.eu-west-1.amazonaws.com/bucket/a/",
                "a",
                Some("https://s3.eu-west-1.amazonaws.com/bucket/"),
            ),
            ("s3://bucket/a%20b/", "a b", None),
        ];
        for (url, root, want) in rows {
            assert_eq!(base_of(url, &Key::from(root)), want, "{url}");
        }
    }
}
