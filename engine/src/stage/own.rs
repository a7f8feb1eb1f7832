//! `own`: per object, who owns it and who has touched it.
//!
//! Comes in: first touches, and sightings of identities on their devices. Goes out, keyed by home or identity: the touch
//! with its owner and touchers, to be judged; a visit for each of those, so that both sides of a shared object
//! learn of it; and to a device's new identity, whom it had before.
//!
//! Tokens of one home meet in one lane of `judge`, which knows whose they are. To all other lanes their home stands for
//! them, as it stays when they change.

use arrow::array::RecordBatch;
use models::device::Devices;
use models::generations::Generations;
use models::ownership::OwnershipTable;
use serde::{Deserialize, Serialize};

use super::{Stage, StageError, StateSize};
use crate::alert::Alert;
use crate::config::ModelConfig;
use crate::lane::EventTime;
use crate::log::{Log, partition_of};
use crate::schema::{
    self, JudgementRow, JudgementRowsBuilder, TouchRow, TouchRowsBuilder, TouchView,
};
use crate::state::{LaneWalk, Loader, Saver};

#[derive(Default)]
struct Target {
    touches: TouchRowsBuilder,
    judgements: JudgementRowsBuilder,
}

/// Bytes of an identity's name that an alert may tell as an owner's; longer ones are a client's to choose, and cut.
const NAME_BYTES_MAX: usize = 128;
const NAMED_BYTES: usize = Generations::<u64, Caller>::ENTRY_BYTES + NAME_BYTES_MAX;

/// An identity that touched something.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Caller {
    name: Box<str>,
    /// By which its lane is known: its home, or itself.
    lane: u64,
}

/// The stage.
pub struct Own {
    objects: OwnershipTable,
    /// Identities that touched something: names, for alerts, which say nothing of a forgotten one; and lanes.
    callers: Generations<u64, Caller>,
    /// Devices and the identities they had.
    devices: Devices,
    targets: Vec<Target>,
}

impl Own {
    /// A lane that writes to `partitions` partitions of the judgements log.
    pub fn new(config: &ModelConfig, partitions: usize) -> Self {
        Self {
            objects: OwnershipTable::new(config.entries(
                60,
                OwnershipTable::OBJECT_BYTES,
                config.objects_max,
            )),
            callers: Generations::new(config.entries(25, NAMED_BYTES, config.identities_max)),
            devices: Devices::new(config.entries(10, Devices::DEVICE_BYTES, config.streams_max)),
            targets: (0..partitions.max(1)).map(|_| Target::default()).collect(),
        }
    }

    fn walk(&mut self, walk: &mut impl LaneWalk) {
        self.objects.walk(walk);
        walk.table("own.callers", &mut self.callers);
        self.devices.walk(walk);
    }

    /// By what an identity's lane is known.
    fn lane(&self, identity: u64) -> u64 {
        self.callers
            .get(&identity)
            .map_or(identity, |caller| caller.lane)
    }

    /// What an identity is called in a lane: its home, unless the lane is its own.
    fn called(&self, identity: u64, in_lane: u64) -> u64 {
        let lane = self.lane(identity);
        if lane == in_lane { identity } else { lane }
    }

    fn send(&mut self, lane: u64, touch: &TouchRow<'_>, judgement: &JudgementRow<'_>) {
        let at = partition_of(lane, self.targets.len());
        self.targets[at].touches.push(touch);
        self.targets[at].judgements.push(judgement);
    }
}

impl Stage for Own {
    fn input(&self) -> Log {
        Log::Touches
    }

    fn process(
        &mut self,
        batch: &RecordBatch,
        offset: i64,
        _time: EventTime,
        _alerts: &mut Vec<Alert>,
    ) -> Result<(), StageError> {
        let touches = TouchView::new(batch)?;
        let mut in_row = 0;
        for row in 0..batch.num_rows() {
            let touch = touches.row(row);
            let mut next = || {
                in_row += 1;
                in_row - 1
            };
            let lane = touch.home.unwrap_or(touch.identity_hash);
            if touch.sighting {
                let longest = u32::try_from(touch.longest_sitting).unwrap_or(u32::MAX);
                let identity = touch.identity_hash;
                let (object, at_ms) = (touch.object, touch.event_time);
                if let Some(before) = self.devices.sight(object, identity, longest, at_ms) {
                    let told = TouchRow {
                        in_offset: offset,
                        in_row: next(),
                        ..touch
                    };
                    let judgement = JudgementRow {
                        before: Some(self.called(before.identity, lane)),
                        before_longest: Some(i64::from(before.longest)),
                        ..JudgementRow::default()
                    };
                    self.send(lane, &told, &judgement);
                }
                continue;
            }
            let caller = self.callers.entry(touch.identity_hash);
            if caller.name.is_empty() {
                let end = touch.identity.floor_char_boundary(NAME_BYTES_MAX);
                caller.name = touch.identity[..end].into();
            }
            caller.lane = lane;
            let standing = self.objects.touch(
                touch.identity_hash,
                touch.object,
                touch.write,
                !touch.denied,
                touch.pan_reader,
            );
            if touch.reminder {
                continue;
            }
            let owner_name = standing
                .owner
                .and_then(|owner| self.callers.get(&owner))
                .map(|owner| owner.name.clone());
            let called = |identity: Option<u64>| Some(self.called(identity?, lane));
            let [toucher_1, toucher_2, toucher_3, toucher_4] = standing.touchers.map(called);
            let judged = TouchRow {
                in_offset: offset,
                in_row: next(),
                ..touch
            };
            let judgement = JudgementRow {
                visitor: None,
                owner: called(standing.owner),
                object_owner: owner_name.as_deref(),
                toucher_1,
                toucher_2,
                toucher_3,
                toucher_4,
                crowded: standing.crowded,
                ..JudgementRow::default()
            };
            self.send(lane, &judged, &judgement);
            if touch.denied || touch.pan_reader || standing.crowded {
                continue;
            }
            for toucher in standing.others(touch.identity_hash) {
                let visit = TouchRow {
                    in_offset: offset,
                    in_row: next(),
                    identity_hash: toucher,
                    event_time: touch.event_time,
                    ..TouchRow::default()
                };
                let visited = self.lane(toucher);
                let judgement = JudgementRow {
                    visitor: Some(self.called(touch.identity_hash, visited)),
                    ..JudgementRow::default()
                };
                self.send(visited, &visit, &judgement);
            }
        }
        Ok(())
    }

    fn n_pending(&self) -> usize {
        self.targets.iter().map(|target| target.touches.len()).sum()
    }

    fn flush(&mut self) -> Vec<(usize, RecordBatch)> {
        super::finish(
            &mut self.targets,
            |target| target.touches.len(),
            |target| {
                let columns = [target.touches.finish(), target.judgements.finish()].concat();
                RecordBatch::try_new(schema::judgements(), columns)
            },
        )
    }

    fn close(&mut self, _alerts: &mut Vec<Alert>) {}

    fn state(&self) -> StateSize {
        StateSize {
            n_entries: self.objects.len() + self.callers.len() + self.devices.len(),
            bytes: self.objects.state_bytes()
                + self.callers.table_bytes()
                + self.devices.state_bytes(),
            n_evicted: self.objects.n_evicted() + self.callers.n_evicted(),
        }
    }

    fn save(&mut self, to: &mut Saver) {
        self.walk(to);
    }

    fn load(&mut self, from: &mut Loader) {
        self.walk(from);
    }
}
