//! What `profile` tells `judge` of its alerts: rows of the judgements log, for the rules over `alerts`.
//!
//! Comes in: the alerts of one record. Goes out: a row each, in the lane of the alert's identity (its home, where it has one), or of what its case is about;
//! so the alerts of one identity meet in one lane, whichever stage raised them.

use arrow::array::RecordBatch;
use models::generations::Generations;

use crate::alert::Alert;
use crate::log::partition_of;
use crate::schema::{self, JudgementRow, JudgementRowsBuilder, TouchRow, TouchRowsBuilder};

#[derive(Default)]
struct Target {
    touches: TouchRowsBuilder,
    judgements: JudgementRowsBuilder,
}

/// The alerts of one lane that wait for the log.
pub struct Raising {
    targets: Vec<Target>,
}

impl Raising {
    /// Writes to so many partitions of the judgements log.
    pub fn new(partitions: usize) -> Raising {
        let targets = (0..partitions.max(1)).map(|_| Target::default());
        Raising {
            targets: targets.collect(),
        }
    }

    /// Takes the alerts of the events record at `offset`, all of them.
    ///
    /// * `homes`: of identities, by which their lanes are known.
    pub fn add(&mut self, offset: i64, alerts: &[Alert], homes: &Generations<u64, u64>) {
        for (in_row, alert) in (0..).zip(alerts) {
            let raised = &alert.raised;
            let lane = homes.get(&raised.hash).copied().unwrap_or(raised.hash);
            let at = partition_of(lane, self.targets.len());
            // Postcard has a form for every value of numbers and texts.
            let encoded = postcard::to_stdvec(raised).unwrap_or_default();
            let target = &mut self.targets[at];
            target.touches.push(&TouchRow {
                in_offset: offset,
                in_row,
                identity_hash: raised.hash,
                identity: raised.identity.as_deref().unwrap_or_default(),
                event_time: raised.told_ms,
                ..TouchRow::default()
            });
            target.judgements.push(&JudgementRow {
                alert: &encoded,
                ..JudgementRow::default()
            });
        }
    }

    /// Rows that wait for the log.
    pub fn n_pending(&self) -> usize {
        self.targets.iter().map(|target| target.touches.len()).sum()
    }

    /// Partitions of the judgements log.
    pub fn partitions(&self) -> usize {
        self.targets.len()
    }

    /// The rows that wait, by partition.
    pub fn flush(&mut self) -> Vec<(usize, RecordBatch)> {
        let len = |target: &Target| target.touches.len();
        super::finish(&mut self.targets, len, |target| {
            let columns = [target.touches.finish(), target.judgements.finish()].concat();
            RecordBatch::try_new(schema::judgements(), columns)
        })
    }
}
