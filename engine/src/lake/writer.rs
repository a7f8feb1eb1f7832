//! Writes chunks aside of the lanes, one after the other.
//!
//! A lane gathers its rows and hands over a chunk when that is large, spans many hours, or a snapshot is due. What is gathered and
//! what waits has a bound in bytes: at it, [`Writer::is_full`] asks the lanes to wait, because a gap could never be closed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::ledger::{FileEntry, Ledger, Resume};
use super::{Lake, LakeError, rows};
use crate::lane::EventTime;
use crate::stage::Recorder;
use crate::telemetry::LakeMetrics;

/// Most bytes of a chunk, as Arrow holds them: about 60,000 rows.
const CHUNK_BYTES_MAX: usize = 32 << 20;
/// Least, however many lanes share the bound: smaller files cost their readers more than they save here.
const CHUNK_BYTES_MIN: usize = 1 << 20;
/// Most hours of a chunk: each has a file of its own.
const HOURS_MAX: usize = 24;
/// Rows that are worth a file and a snapshot before their time has come.
const ROWS_WORTH: usize = 65_536;
/// Bytes a batch of few rows takes beside their values: an array a column.
const BATCH_BYTES: usize = 16 << 10;
/// Small batches that are put together: a lane with little to do has many records of one row.
const SMALL_MAX: usize = 64;
/// Shortest and longest wait before a chunk that was refused is tried again.
const AGAIN: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

/// How often a chunk that is refused is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until it is taken, or the process ends.
    Forever,
    /// Once: whoever waits for it is told.
    Once,
}

/// What all lanes share.
#[derive(Debug)]
struct Shared {
    lake: Lake,
    schema: SchemaRef,
    patience: Patience,
    bytes_max: usize,
    chunk_bytes: usize,
    /// Bytes gathered and waiting.
    n_bytes: AtomicUsize,
    /// Chunks waiting, or being written.
    n_waiting: AtomicUsize,
    failed: Mutex<Option<LakeError>>,
    metrics: Arc<LakeMetrics>,
}

/// A chunk on its way.
struct Chunk {
    lane: Arc<Lane>,
    first: i64,
    end: i64,
    batches: Vec<RecordBatch>,
    n_bytes: usize,
    /// True when its bounds are in the ledger already.
    is_fixed: bool,
}

/// What the thread and a lane's writer share.
#[derive(Debug)]
struct Lane {
    name: String,
    ledger: Mutex<Ledger>,
    /// The first offset that is not in the lake.
    position: AtomicI64,
    n_waiting: AtomicUsize,
    is_fenced: AtomicBool,
}

/// Writes chunks in a thread of its own.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    chunks: Sender<Chunk>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// * `bytes_max`: of rows gathered and waiting, over all lanes; `n_lanes` of them gather at once.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        lake: Lake,
        bytes_max: usize,
        n_lanes: usize,
        patience: Patience,
        metrics: Arc<LakeMetrics>,
    ) -> Result<Writer, std::io::Error> {
        // Half is for what is gathered, half for what waits.
        let share = bytes_max / 2 / n_lanes.max(1);
        let shared = Arc::new(Shared {
            lake,
            schema: rows::schema(),
            patience,
            bytes_max,
            chunk_bytes: share.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
            n_bytes: AtomicUsize::new(0),
            n_waiting: AtomicUsize::new(0),
            failed: Mutex::default(),
            metrics,
        });
        let (chunks, work) = channel();
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name("lake".to_owned());
        // It ends with its last chunk. Who needs a chunk written looks at its lane's position.
        thread.spawn(move || of_thread.work(&work))?;
        Ok(Writer { shared, chunks })
    }

    /// Claims a lane whose next record is at `next`.
    ///
    /// # Errors
    /// The store fails.
    pub fn lane(&self, name: &str, next: i64) -> Result<LaneWriter, LakeError> {
        let (ledger, resume) = Ledger::claim(&self.shared.lake, name)?;
        let (first, must_end) = begin(name, next, resume, &self.shared.metrics);
        let lane = Lane {
            name: name.to_owned(),
            ledger: Mutex::new(ledger),
            position: AtomicI64::new(first),
            n_waiting: AtomicUsize::new(0),
            is_fenced: AtomicBool::new(false),
        };
        Ok(LaneWriter {
            shared: self.shared.clone(),
            chunks: self.chunks.clone(),
            lane: Arc::new(lane),
            open: Arc::new(Mutex::new(Open {
                first,
                next,
                must_end,
                ..Open::default()
            })),
            is_new: resume.is_new,
            n_rows_cut: 0,
            cut_at: Instant::now(),
        })
    }

    /// True when lanes are to wait: there is as much as may be, and it is on its way.
    pub fn is_full(&self) -> bool {
        let shared = &self.shared;
        shared.bytes_max <= shared.n_bytes.load(Ordering::Relaxed)
            && 0 < shared.n_waiting.load(Ordering::Relaxed)
    }

    /// True when lanes that waited may go on.
    pub fn has_room(&self) -> bool {
        let shared = &self.shared;
        shared.n_bytes.load(Ordering::Relaxed) <= shared.bytes_max / 4 * 3
            || shared.n_waiting.load(Ordering::Relaxed) == 0
    }

    /// Takes what a chunk was refused for, where one is tried once.
    pub fn failure(&self) -> Option<LakeError> {
        lock(&self.shared.failed).take()
    }
}

/// Where a lane's rows begin that are to be written, and the bound of the chunk that is to be written again.
fn begin(lane: &str, next: i64, resume: Resume, metrics: &LakeMetrics) -> (i64, Option<i64>) {
    if next <= resume.next {
        return (resume.next, resume.must_end);
    }
    // The bounds that were fixed stay taken: a chunk of fewer rows must not be written over one of more.
    let first = next.max(resume.must_end.unwrap_or(next));
    match resume.is_new {
        true => tracing::info!(lane, first, "the lake has nothing of this lane yet"),
        false => {
            metrics.missed.inc_by((first - resume.next) as u64);
            tracing::warn!(
                lane,
                first,
                in_lake = resume.next,
                "what the lane would read for the lake is gone: records between are missing there"
            );
        }
    }
    (first, None)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn work(&self, chunks: &Receiver<Chunk>) {
        for chunk in chunks {
            let lane = chunk.lane.clone();
            if let Err(error) = self.write_until_taken(&chunk) {
                // What comes after it would leave a gap.
                lane.is_fenced.store(true, Ordering::Relaxed);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "nothing more of a lane is written to the lake"
                );
                *lock(&self.failed) = Some(error);
            }
            let n_bytes = chunk.n_bytes;
            drop(chunk);
            self.release(n_bytes);
            lane.n_waiting.fetch_sub(1, Ordering::Release);
            self.n_waiting.fetch_sub(1, Ordering::Release);
        }
    }

    fn gather(&self, n_bytes: usize) {
        let before = self.n_bytes.fetch_add(n_bytes, Ordering::Relaxed);
        self.metrics.buffered.set((before + n_bytes) as i64);
    }

    fn release(&self, n_bytes: usize) {
        let before = self.n_bytes.fetch_sub(n_bytes, Ordering::Relaxed);
        self.metrics
            .buffered
            .set(before.saturating_sub(n_bytes) as i64);
    }

    /// Writes a chunk, however long that takes, unless its lane has another writer.
    fn write_until_taken(&self, chunk: &Chunk) -> Result<(), LakeError> {
        let lane = &chunk.lane;
        if lane.is_fenced.load(Ordering::Relaxed) {
            return Ok(());
        }
        let files = rows::files(&lane.name, chunk.first, chunk.end, &chunk.batches);
        let files = files.map_err(|source| LakeError::Encode {
            lane: lane.name.clone(),
            source,
        })?;
        let files: Vec<(FileEntry, Bytes)> = files
            .into_iter()
            .map(|file| {
                let entry = FileEntry {
                    path: file.path,
                    n_rows: file.n_rows,
                    n_bytes: file.bytes.len() as u64,
                };
                (entry, Bytes::from(file.bytes))
            })
            .collect();
        let (mut is_fixed, mut wait) = (chunk.is_fixed, AGAIN[0]);
        loop {
            match self.write(chunk, &files, &mut is_fixed) {
                Ok(()) => {
                    lane.position.store(chunk.end, Ordering::Release);
                    self.metrics.wrote("written");
                    return Ok(());
                }
                Err(error @ LakeError::Fenced { .. }) => {
                    self.metrics.wrote("fenced");
                    lane.is_fenced.store(true, Ordering::Relaxed);
                    tracing::warn!(%error, "a lane's rows are not written here any more");
                    return match self.patience {
                        Patience::Forever => Ok(()),
                        Patience::Once => Err(error),
                    };
                }
                Err(error) if self.patience == Patience::Once => return Err(error),
                Err(error) => {
                    self.metrics.wrote("failed");
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a chunk is not in the lake yet, trying again"
                    );
                }
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(AGAIN[1]);
        }
    }

    fn write(
        &self,
        chunk: &Chunk,
        files: &[(FileEntry, Bytes)],
        is_fixed: &mut bool,
    ) -> Result<(), LakeError> {
        let mut ledger = lock(&chunk.lane.ledger);
        if !*is_fixed {
            let entries: Vec<FileEntry> = files.iter().map(|(entry, _)| entry.clone()).collect();
            ledger.fix(&self.lake, (chunk.first, chunk.end), &entries)?;
            *is_fixed = true;
        }
        for (entry, bytes) in files {
            self.lake.put(&entry.path, bytes)?;
            self.metrics.files.inc();
            self.metrics.rows.inc_by(entry.n_rows as u64);
            self.metrics.bytes.inc_by(entry.n_bytes);
        }
        ledger.prune(&self.lake);
        Ok(())
    }
}

/// Rows that are gathered.
#[derive(Debug, Default)]
struct Open {
    /// First offset of the chunk.
    first: i64,
    /// The offset after the last record that was seen.
    next: i64,
    /// Where the chunk must end, when its bounds are in the ledger already.
    must_end: Option<i64>,
    batches: Vec<(i64, RecordBatch)>,
    /// How many of them, the last, are of few rows.
    n_small: usize,
    hours: BTreeSet<i64>,
    /// Rows gathered since the lane is here.
    n_rows_ever: usize,
    n_bytes: usize,
}

impl Open {
    fn push(&mut self, schema: &SchemaRef, offset: i64, batch: RecordBatch) {
        self.hours
            .extend(rows::times(&batch).iter().map(|ms| rows::hour(*ms)));
        self.n_bytes += rows::n_bytes(&batch) + BATCH_BYTES;
        self.n_small = match batch.num_rows() < SMALL_MAX {
            true => self.n_small + 1,
            false => 0,
        };
        self.batches.push((offset, batch));
        // A chunk that must end within these could not be cut from them any more.
        if self.n_small == SMALL_MAX && self.must_end.is_none_or(|end| offset < end) {
            let from = self.batches.len() - SMALL_MAX;
            let small: Vec<_> = self.batches.drain(from..).map(|(_, batch)| batch).collect();
            // All have the lake's columns, so it can't fail; and if it did, they stay as they are.
            match concat_batches(schema, &small) {
                Ok(together) => {
                    self.n_bytes -= BATCH_BYTES * (SMALL_MAX - 1);
                    self.batches.push((offset, together));
                }
                Err(_) => self
                    .batches
                    .extend(small.into_iter().map(|batch| (offset, batch))),
            }
            self.n_small = 0;
        }
    }
}

/// The writer of one lane, at the lane's side.
#[derive(Debug)]
pub struct LaneWriter {
    shared: Arc<Shared>,
    chunks: Sender<Chunk>,
    lane: Arc<Lane>,
    open: Arc<Mutex<Open>>,
    is_new: bool,
    /// Rows there were at the last cut.
    n_rows_cut: usize,
    cut_at: Instant,
}

impl Drop for LaneWriter {
    /// What a lane gathered that is given up is gathered again by its next owner.
    fn drop(&mut self) {
        self.shared.release(lock(&self.open).n_bytes);
    }
}

impl LaneWriter {
    /// What the lane's stage is to hand each record's rows to. Rows that are in the lake are passed over.
    pub fn recorder(&self) -> Recorder {
        let (shared, open) = (self.shared.clone(), self.open.clone());
        let lane = self.lane.clone();
        Arc::new(move |offset: i64, time: EventTime, table: &RecordBatch| {
            let mut open = lock(&open);
            open.next = offset + 1;
            if offset < open.first
                || table.num_rows() == 0
                || lane.is_fenced.load(Ordering::Relaxed)
            {
                return Ok(());
            }
            let batch = rows::placed(&shared.schema, &lane.name, offset, time, table)?;
            let before = open.n_bytes;
            open.n_rows_ever += batch.num_rows();
            open.push(&shared.schema, offset, batch);
            let after = open.n_bytes;
            drop(open);
            match after.checked_sub(before) {
                Some(more) => shared.gather(more),
                None => shared.release(before - after),
            }
            Ok(())
        })
    }

    /// Hands over what was gathered when that is due, after the record before `next`.
    pub fn after(&mut self, next: i64) {
        let open = lock(&self.open);
        let is_due = match open.must_end {
            Some(end) => end <= next,
            None => self.shared.chunk_bytes <= open.n_bytes || HOURS_MAX <= open.hours.len(),
        };
        drop(open);
        if is_due {
            self.close(next);
        }
    }

    /// Hands over what was gathered of the records before `next`; nothing while a chunk must still grow to its bound.
    pub fn close(&mut self, next: i64) {
        while self.close_one(next) {}
    }

    fn close_one(&mut self, next: i64) -> bool {
        let mut open = lock(&self.open);
        let end = open.must_end.unwrap_or(next);
        if next < end || end <= open.first {
            return false;
        }
        let before = std::mem::take(&mut *open);
        let (inside, beyond): (Vec<_>, Vec<_>) = before
            .batches
            .into_iter()
            .partition(|(offset, _)| *offset < end);
        (open.first, open.next) = (end, before.next);
        open.n_rows_ever = before.n_rows_ever;
        for (offset, batch) in beyond {
            open.push(&self.shared.schema, offset, batch);
        }
        let n_bytes = before.n_bytes.saturating_sub(open.n_bytes);
        drop(open);
        self.lane.n_waiting.fetch_add(1, Ordering::Relaxed);
        self.shared.n_waiting.fetch_add(1, Ordering::Relaxed);
        let chunk = Chunk {
            lane: self.lane.clone(),
            first: before.first,
            end,
            batches: inside.into_iter().map(|(_, batch)| batch).collect(),
            n_bytes,
            is_fixed: before.must_end.is_some(),
        };
        // The thread is there as long as a sender is.
        let _ = self.chunks.send(chunk);
        true
    }

    /// Hands over what was gathered of the records before `next` when the last cut is so old.
    pub fn cut_if_old(&mut self, next: i64, every: Duration) {
        if every <= self.cut_at.elapsed() {
            self.cut(next);
        }
    }

    /// Hands over what was gathered of the records before `next`, few as they may be.
    pub fn cut(&mut self, next: i64) {
        self.close(next);
        self.cut_at = Instant::now();
        self.n_rows_cut = lock(&self.open).n_rows_ever;
    }

    /// True when what came since the last cut is worth a file.
    pub fn is_worth(&self) -> bool {
        ROWS_WORTH <= lock(&self.open).n_rows_ever - self.n_rows_cut
    }

    /// The offset after the last record whose rows were handed over to the recorder.
    pub fn next(&self) -> i64 {
        lock(&self.open).next
    }

    /// The first offset that is not in the lake.
    pub fn position(&self) -> i64 {
        self.lane.position.load(Ordering::Acquire)
    }

    /// True when nothing that was handed over waits.
    pub fn is_idle(&self) -> bool {
        self.lane.n_waiting.load(Ordering::Acquire) == 0
    }

    /// True when somebody else writes the lane.
    pub fn is_fenced(&self) -> bool {
        self.lane.is_fenced.load(Ordering::Relaxed)
    }

    /// True when the lake had nothing of the lane.
    pub fn is_new(&self) -> bool {
        self.is_new
    }
}
