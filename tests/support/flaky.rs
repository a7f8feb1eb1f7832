//! An object store in memory that fails, as a seed decides, or is slow, or has lost files, as a test does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// The store.
#[derive(Debug)]
pub(crate) struct Flaky {
    inner: InMemory,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dice: u64,
    resting: bool,
    /// True while writes get no answer.
    holding: bool,
    /// True while files of snapshots, but no manifests, are refused.
    without_parts: bool,
    faults: BTreeMap<&'static str, usize>,
}

impl Flaky {
    pub(crate) fn new(seed: u64) -> Flaky {
        Flaky {
            inner: InMemory::new(),
            state: Mutex::new(State {
                dice: seed.wrapping_mul(0xd134_2543_de82_ef95) | 1,
                resting: false,
                holding: false,
                without_parts: false,
                faults: BTreeMap::new(),
            }),
        }
    }

    /// Fails no more.
    pub(crate) fn rest(&self) {
        self.state().resting = true;
    }

    /// Answers no write until it is told otherwise.
    pub(crate) fn hold(&self, holding: bool) {
        self.state().holding = holding;
    }

    /// Reads no file of a snapshot until it is told otherwise.
    pub(crate) fn lose_parts(&self, without_parts: bool) {
        self.state().without_parts = without_parts;
    }

    /// How often it failed, and how.
    pub(crate) fn faults(&self) -> BTreeMap<&'static str, usize> {
        self.state().faults.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fails(&self, what: &'static str, one_in: u64) -> bool {
        let mut state = self.state();
        state.dice ^= state.dice >> 12;
        state.dice ^= state.dice << 25;
        state.dice ^= state.dice >> 27;
        let rolled = state.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        let fails = !state.resting && rolled.is_multiple_of(one_in);
        if fails {
            *state.faults.entry(what).or_default() += 1;
        }
        fails
    }
}

fn refused() -> Error {
    Error::Generic {
        store: "flaky",
        source: "refused".into(),
    }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

// The trait's methods as they are without the macro that it is declared by.
impl ObjectStore for Flaky {
    fn put_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> BoxFuture<'async_trait, Result<PutResult>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
    {
        Box::pin(async move {
            while self.state().holding {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if self.fails("write refused", 20) {
                return Err(refused());
            }
            if self.fails("write torn", 25) {
                // Acknowledged, and only half of it is there.
                let whole: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
                let half = whole[..whole.len() / 2].to_vec();
                return self.inner.put_opts(location, half.into(), opts).await;
            }
            let done = self.inner.put_opts(location, payload, opts).await;
            // Done, and the answer is lost.
            if self.fails("answer lost", 40) {
                return Err(refused());
            }
            done
        })
    }

    fn put_multipart_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        opts: PutMultipartOptions,
    ) -> BoxFuture<'async_trait, Result<Box<dyn MultipartUpload>>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
    {
        self.inner.put_multipart_opts(location, opts)
    }

    fn get_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        options: GetOptions,
    ) -> BoxFuture<'async_trait, Result<GetResult>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
    {
        Box::pin(async move {
            let is_part = location.filename().is_some_and(|n| n.starts_with("part-"));
            if self.state().without_parts && is_part {
                return Err(refused());
            }
            if self.fails("read refused", 30) {
                return Err(refused());
            }
            self.inner.get_opts(location, options).await
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        if self.fails("delete refused", 20) {
            return futures::stream::once(async { Err(refused()) }).boxed();
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.fails("list refused", 40) {
            return futures::stream::once(async { Err(refused()) }).boxed();
        }
        self.inner.list(prefix)
    }

    fn list_with_delimiter<'life0, 'life1, 'async_trait>(
        &'life0 self,
        prefix: Option<&'life1 Path>,
    ) -> BoxFuture<'async_trait, Result<ListResult>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        from: &'life1 Path,
        to: &'life2 Path,
        options: CopyOptions,
    ) -> BoxFuture<'async_trait, Result<()>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
    {
        self.inner.copy_opts(from, to, options)
    }
}
