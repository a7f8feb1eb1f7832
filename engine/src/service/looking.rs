//! Files that are read again while the service runs: looked at every few seconds, and read once they have stood still from one look
//! to the next.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3Default;

use super::{ServiceError, Shared};
use crate::config::Config;

/// How often the thread looks whether the service ends.
const STEP: Duration = Duration::from_millis(100);

/// Looks at files every `rules_reload_seconds` until the service ends; nothing when they are not to be read again.
///
/// * `name`: of the thread. `look`: a hash of the files as they are. `reload`: reads them.
///
/// # Errors
/// The thread can't be started.
pub(super) fn start(
    shared: &Arc<Shared>,
    name: &str,
    look: fn(&Config) -> u64,
    reload: fn(&Shared),
) -> Result<(), ServiceError> {
    let every = Duration::from_secs(shared.config.rules_reload_seconds);
    if every.is_zero() {
        return Ok(());
    }
    let shared = shared.clone();
    let run = move || watch(&shared, every, look, reload);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)?;
    Ok(())
}

fn watch(shared: &Shared, every: Duration, look: fn(&Config) -> u64, reload: fn(&Shared)) {
    // What was read at the start may have changed since: the first look reads it again.
    let (mut read, mut seen, mut waited) = (None, None, Duration::ZERO);
    while !shared.stopping() {
        std::thread::sleep(STEP);
        waited += STEP;
        if waited < every {
            continue;
        }
        waited = Duration::ZERO;
        let now = look(&shared.config);
        let stands_still = seen == Some(now);
        seen = Some(now);
        if stands_still && read != Some(now) {
            read = Some(now);
            reload(shared);
        }
    }
}

/// Adds a file's name, length and time to a hash; that it can't be read, too.
pub(super) fn add(hash: &mut Xxh3Default, path: &Path) {
    let of = std::fs::metadata(path).map(|of| (of.len(), of.modified().ok()));
    hash.update(format!("{} {:?}", path.display(), of.ok()).as_bytes());
}
