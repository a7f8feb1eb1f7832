//! Lanes that are being put back, one after the other, in a thread of their own: the group hears of this member
//! meanwhile, and its other lanes go on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::decoding::Standing;
use super::{ServiceError, Shared, now_ms};
use crate::command::RuleFaults;
use crate::config::ModelConfig;
use crate::lake::LaneWriter;
use crate::lane::Lane;
use crate::log::Log;
use crate::stage::{self, Partitions};
use crate::state::Place;
use crate::state::keeper::{Chain, restore};

/// A lane to put back.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) partition: i32,
    /// Which owning of the partition this is.
    pub(super) owning: u64,
    pub(super) standing: Standing,
}

/// A lane put back.
pub(super) struct Ready {
    pub(super) wanted: Wanted,
    pub(super) lane: Lane,
    /// What is published of it; none when the store fails.
    pub(super) chain: Option<Chain>,
    /// Where its rows go; none without a lake.
    pub(super) lake: Option<LaneWriter>,
    /// Next offset whose output is not written yet.
    pub(super) committed: i64,
    pub(super) took: Duration,
}

/// What of a stage is put back.
#[derive(Clone)]
pub(super) struct Kind {
    pub(super) shared: Arc<Shared>,
    pub(super) input: Log,
    pub(super) topic: String,
    pub(super) group: String,
    /// Partitions of the logs it writes.
    pub(super) partitions: Partitions,
}

/// Lanes that wait to be put back.
pub(super) struct Restoring {
    kind: Kind,
    waiting: VecDeque<Wanted>,
    active: Option<Receiver<Result<Ready, ServiceError>>>,
}

impl Restoring {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            waiting: VecDeque::new(),
            active: None,
        }
    }

    pub(super) fn add(&mut self, wanted: Wanted) {
        self.waiting.push_back(wanted);
    }

    /// Forgets a partition that is given up; one under way comes and is not wanted any more.
    pub(super) fn remove(&mut self, partition: i32) {
        self.waiting.retain(|wanted| wanted.partition != partition);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_none() && self.waiting.is_empty()
    }

    /// A lane that was put back since the last call.
    ///
    /// # Errors
    /// One cannot be.
    pub(super) fn next(&mut self) -> Result<Option<Ready>, ServiceError> {
        let answer = match &self.active {
            None => None,
            Some(active) => match active.try_recv() {
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => Some(Err(ServiceError::Panicked("restore"))),
                Ok(answer) => Some(answer),
            },
        };
        self.active = None;
        if let Some(wanted) = self.waiting.pop_front() {
            let (done, answer) = channel();
            let kind = self.kind.clone();
            let run = move || {
                // The stage may have ended meanwhile.
                let _ = done.send(put_back(&kind, wanted));
            };
            std::thread::Builder::new()
                .name("restore".to_owned())
                .spawn(run)?;
            self.active = Some(answer);
        }
        answer.transpose()
    }
}

/// Next offset that a lane reads, put back as it was.
pub(super) fn next_of(chain: Option<&Chain>, standing: &Standing) -> i64 {
    let snapshot = chain.and_then(Chain::offset);
    snapshot.unwrap_or(0).max(standing.first)
}

/// Claims a lane of the events in the lake, when there is one.
///
/// After its snapshot was found: what lies before a snapshot was in the lake when that was published.
fn lake_of(kind: &Kind, partition: i32, next: i64) -> Result<Option<LaneWriter>, ServiceError> {
    let lake = kind
        .shared
        .lake
        .as_ref()
        .filter(|_| kind.input == Log::Events);
    let name = format!("{}-{partition}", kind.topic);
    Ok(lake.map(|lake| lake.lane(&name, next)).transpose()?)
}

fn put_back(kind: &Kind, wanted: Wanted) -> Result<Ready, ServiceError> {
    let began = Instant::now();
    let shared = &kind.shared;
    let fresh = || {
        let (briefing, rules) = (shared.briefings.wanted(), &shared.ruling.wanted().rules);
        let models = &ModelConfig {
            register: briefing.register.clone(),
            documents: briefing.documents.clone(),
            ..shared.config.models.clone()
        };
        let stage = stage::of(kind.input, models, rules, kind.partitions).map_err(RuleFaults)?;
        let lane = Lane::new(stage, kind.topic.as_str().into(), wanted.partition);
        Ok::<_, ServiceError>(lane.following(stage::compiling(models, &rules.lookups)))
    };
    let place = Place::new(&kind.group, &kind.topic, wanted.partition);
    let restored = restore(
        &shared.keeper.store,
        &place,
        &shared.fingerprint,
        wanted.standing.committed,
        now_ms(),
        fresh,
        Lane::load,
    );
    let (mut lane, chain, committed) = match restored {
        Ok(restored) => (restored.lane, Some(restored.chain), restored.committed),
        // The log holds everything from its beginning, so the lane can do without; it leaves no snapshots then.
        Err(ServiceError::State(error)) if wanted.standing.first == 0 => {
            tracing::warn!(
                %place,
                error = &error as &dyn std::error::Error,
                "snapshot store fails: reading the log from its beginning, and saving nothing of this lane"
            );
            (fresh()?, None, wanted.standing.committed.unwrap_or(0))
        }
        Err(error) => return Err(error),
    };
    let next = next_of(chain.as_ref(), &wanted.standing);
    let lake = lake_of(kind, wanted.partition, next)?;
    if let Some(lake) = &lake {
        lane.record(lake.recorder());
    }
    Ok(Ready {
        wanted,
        lane,
        chain,
        lake,
        committed,
        took: began.elapsed(),
    })
}
