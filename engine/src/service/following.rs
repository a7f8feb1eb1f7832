//! Follows the snapshots of the group's lanes, those of other instances too, so that copies of them are here when a lane
//! comes.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::state::Store;
use crate::telemetry::Metrics;

/// How often the store is asked for newer snapshots: one listing a stage.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);

/// Follows until it is dropped.
pub(super) struct Following {
    _alive: Option<Sender<()>>,
}

/// Starts to follow the lanes of `groups` (`<group>.<stage>`), in a thread of its own; does nothing for a store without copies.
pub(super) fn start(
    store: Arc<Store>,
    groups: Vec<String>,
    metrics: Arc<Metrics>,
) -> std::io::Result<Following> {
    if store.standby().is_none() {
        return Ok(Following { _alive: None });
    }
    let (alive, gone) = channel::<()>();
    let run = move || {
        let mut is_told = false;
        loop {
            is_told = !follow(&store, &groups, &metrics, is_told);
            if gone.recv_timeout(FOLLOW_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    // It ends with its look: nobody waits for copies.
    let thread = std::thread::Builder::new().name("standby".to_owned());
    thread.spawn(run)?;
    Ok(Following {
        _alive: Some(alive),
    })
}

/// Looks once; says whether the store answered. One that stays away is told once.
fn follow(store: &Store, groups: &[String], metrics: &Metrics, is_told: bool) -> bool {
    let Some(standby) = store.standby() else {
        return true;
    };
    match standby.follow(store, groups) {
        Ok(followed) => {
            metrics.standby_bytes.set(followed.n_bytes as i64);
            let n_behind = followed.n_behind as i64;
            metrics.standby_lanes_behind.set(n_behind);
            true
        }
        Err(error) => {
            if !is_told {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "snapshots cannot be copied, trying again"
                );
            }
            false
        }
    }
}
