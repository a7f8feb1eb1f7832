//! A lake from files: what `replay --lake` does beside the replay.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use crate::lake::writer::Patience;
use crate::lake::{Lake, LaneWriter, Writer};
use crate::pipeline::Pipeline;
use crate::telemetry::LakeMetrics;

/// Bytes of rows gathered and waiting.
const BYTES_MAX: usize = 256 << 20;
/// How often it is asked whether the lake has room.
const LOOK: Duration = Duration::from_millis(5);

/// Rows of a pipeline on their way into a lake.
pub struct Recording {
    writer: Writer,
    lanes: Vec<LaneWriter>,
    metrics: Arc<LakeMetrics>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recorded {
    /// Rows.
    pub n_rows: u64,
    /// Files.
    pub n_files: u64,
    /// Bytes of them.
    pub n_bytes: u64,
}

impl Recording {
    /// Begins to write what the pipeline's lanes read from now on to a lake that has nothing of them yet.
    ///
    /// # Errors
    /// The lake can't be used, or has rows of such lanes: they would be taken for those of this run.
    pub fn start(place: &str, pipeline: &mut Pipeline) -> Result<Recording, Failure> {
        let metrics = Arc::new(LakeMetrics::default());
        let n_lanes = pipeline.n_lanes();
        let lake = Lake::open(place)?;
        let writer = Writer::start(lake, BYTES_MAX, n_lanes, Patience::Once, metrics.clone())?;
        let mut lanes = Vec::new();
        pipeline.record(|at, next| {
            let name = format!("replay-{at}");
            let lane = writer.lane(&name, next)?;
            if !lane.is_new() {
                return Err(Failure::from(format!(
                    "the lake {place} has rows of lane {name} already; give an empty folder, or delete this one"
                )));
            }
            let recorder = lane.recorder();
            lanes.push(lane);
            Ok(recorder)
        })?;
        Ok(Recording {
            writer,
            lanes,
            metrics,
        })
    }

    /// Hands over what is due after a round, and waits while the lake has no room.
    ///
    /// # Errors
    /// Something could not be written.
    pub fn after(&mut self) -> Result<(), Failure> {
        self.lanes
            .iter_mut()
            .for_each(|lane| lane.after(lane.next()));
        while self.writer.is_full() {
            std::thread::sleep(LOOK);
        }
        self.writer
            .failure()
            .map_or(Ok(()), |error| Err(error.into()))
    }

    /// Writes the rest, and waits until it is there.
    ///
    /// # Errors
    /// Something could not be written.
    pub fn finish(mut self) -> Result<Recorded, Failure> {
        self.lanes
            .iter_mut()
            .for_each(|lane| lane.close(lane.next()));
        while !self.lanes.iter().all(LaneWriter::is_idle) {
            std::thread::sleep(LOOK);
        }
        if let Some(error) = self.writer.failure() {
            return Err(error.into());
        }
        Ok(Recorded {
            n_rows: self.metrics.rows.get(),
            n_files: self.metrics.files.get(),
            n_bytes: self.metrics.bytes.get(),
        })
    }
}

impl Recorded {
    /// As a field of a report.
    pub fn as_json(self) -> Value {
        json!({ "rows": self.n_rows, "files": self.n_files, "bytes": self.n_bytes })
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.n_bytes as f64 / self.n_rows.max(1) as f64;
        write!(
            f,
            "lake: {} rows in {} files, {each:.0} bytes a row",
            self.n_rows, self.n_files
        )
    }
}
