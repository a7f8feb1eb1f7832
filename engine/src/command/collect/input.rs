//! Standard input, line by line: what it gives is gone, so a kill loses what was read and not acknowledged, 64 KiB as pipes are made.
//!
//! It is read no faster than Kafka takes it, and whoever writes to it waits.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use connectors::format::RECORD_BYTES_MAX;
use connectors::kafka::{Cluster, Error, Outgoing, Writer};
use connectors::tail::record_of;

use super::{LOOK, Shared};
use crate::command::Failure;

/// Bytes asked of it at a time.
const CHUNK_BYTES: usize = 256 << 10;

pub(super) struct Input {
    thread: JoinHandle<Result<(), Failure>>,
    /// True while it waits for somebody to write, with nothing in hand but a line that has no end yet.
    is_idle: Arc<AtomicBool>,
}

impl Input {
    /// Starts to read.
    ///
    /// # Errors
    /// A Kafka property is wrong.
    pub(super) fn start(cluster: &Cluster, topic: &str, shared: Shared) -> Result<Input, Failure> {
        let is_idle = Arc::new(AtomicBool::new(true));
        let mut lines = Lines {
            writer: cluster.writer()?,
            topic: topic.to_owned(),
            pending: Vec::new(),
            in_line: false,
        };
        let idle = is_idle.clone();
        let run = move || {
            let done = follow(&mut lines, &idle, &shared);
            if done.is_err() {
                shared.stop.store(true, Ordering::Relaxed);
            }
            done
        };
        let thread = std::thread::Builder::new().name("stdin".to_owned());
        Ok(Input {
            thread: thread.spawn(run)?,
            is_idle,
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for what was read to be written.
    ///
    /// # Errors
    /// It could not be read or written.
    pub(super) fn finish(self, patience: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        while !self.is_over() && !self.is_idle.load(Ordering::Relaxed) {
            if patience < began.elapsed() {
                return Err(
                    "what was read of standard input could not be written in time, and is lost"
                        .into(),
                );
            }
            std::thread::sleep(LOOK);
        }
        match self.thread.is_finished() {
            true => self
                .thread
                .join()
                .unwrap_or_else(|_| Err("the thread of standard input is gone".into())),
            false => Ok(()),
        }
    }
}

fn follow(lines: &mut Lines, is_idle: &AtomicBool, shared: &Shared) -> Result<(), Failure> {
    let (mut stdin, mut chunk) = (std::io::stdin().lock(), vec![0; CHUNK_BYTES]);
    loop {
        is_idle.store(true, Ordering::Relaxed);
        let n = match stdin.read(&mut chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            n => n.map_err(|error| format!("cannot read standard input: {error}"))?,
        };
        is_idle.store(false, Ordering::Relaxed);
        let (n_records, n_bytes) = match n {
            0 => lines.rest()?,
            n => lines.take(&chunk[..n])?,
        };
        lines.writer.flush()?;
        shared.written("stdin", n_records, n_bytes);
        if n == 0 || shared.stopped() {
            return Ok(());
        }
    }
}

struct Lines {
    writer: Writer,
    topic: String,
    /// The beginning of a line.
    pending: Vec<u8>,
    /// Inside a line that is too long and was told.
    in_line: bool,
}

impl Lines {
    /// Sends the lines that end in this chunk; how many, and their bytes.
    fn take(&mut self, chunk: &[u8]) -> Result<(u64, u64), Error> {
        let (mut sent, mut rest) = ((0, 0), chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let n = self.rest()?;
            sent = (sent.0 + n.0, sent.1 + n.1);
        }
        if !self.in_line {
            self.pending.extend_from_slice(rest);
        }
        // A line's end may be two bytes.
        if RECORD_BYTES_MAX + 1 < self.pending.len() {
            let n = self.rest()?;
            sent = (sent.0 + n.0, sent.1 + n.1);
            self.in_line = true;
        }
        Ok(sent)
    }

    /// Sends the line that is pending.
    fn rest(&mut self) -> Result<(u64, u64), Error> {
        let line = std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.in_line) {
            return Ok((0, 0));
        }
        let Some(record) = record_of(&line) else {
            return Ok((0, 0));
        };
        let outgoing = Outgoing {
            topic: &self.topic,
            partition: None,
            key: None,
            value: &record,
        };
        self.writer.send(outgoing, std::iter::empty())?;
        Ok((1, record.len() as u64))
    }
}
