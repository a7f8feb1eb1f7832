//! Plays a world day by day: a day's calls are made, merged with those of the episodes, sorted, and written.

use std::io::{self, Write};

use crate::attacks::{self, Episode};
use crate::dice::share;
use crate::labels::{self, Seen};
use crate::log;
use crate::people::DAY;
use crate::scribe::{Call, Scribe};
use crate::services;
use crate::usage;
use crate::world::World;

/// Share of lines that the shipper loses, and that it writes twice.
const LOST: f64 = 0.001;
const DOUBLED: f64 = 0.001;

/// What was written.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Lines.
    pub n_lines: u64,
    /// Lines of episodes.
    pub n_of_episodes: u64,
    /// Episodes, planned.
    pub episodes: Vec<Episode>,
    /// What was seen of each.
    pub seen: Vec<Seen>,
}

/// Calls every call of a world in the log's order. Memory holds one day, and all episodes.
///
/// # Errors
/// Those of `take`.
pub fn play(
    world: &World,
    mut take: impl FnMut(&[Episode], &Call) -> io::Result<()>,
) -> io::Result<Vec<Episode>> {
    let (episodes, mut planned) = attacks::plan(world);
    planned.sort_by_key(|call| call.end_ms);
    let mut planned = planned.into_iter().peekable();
    // Calls that begin on a day and end after midnight wait for the next.
    let mut late: Vec<Call> = Vec::new();
    for nth in 0..world.options.days as u64 {
        let day_ms = world.start_ms + nth as i64 * DAY;
        let mut calls = std::mem::take(&mut late);
        for actor in 0..world.actors.len() as u32 {
            let person = &world.actors[actor as usize];
            let mut scribe = Scribe::new(world, &[person.salt, nth, 31]);
            match person.role.is_person() {
                true => usage::day(&mut scribe, actor, day_ms),
                false => services::day(&mut scribe, actor, day_ms),
            }
            calls.append(&mut scribe.calls);
        }
        while let Some(call) = planned.next_if(|call| call.end_ms < day_ms + DAY) {
            calls.push(call);
        }
        // Stable, and by more than time: the order must not say who was added last.
        calls.sort_by_cached_key(|call| (call.end_ms, call.by.token, call.request.endpoint()));
        let n_today = calls.partition_point(|call| call.end_ms < day_ms + DAY);
        late = calls.split_off(n_today);
        for call in &calls {
            take(&episodes, call)?;
        }
    }
    Ok(episodes)
}

/// Writes log, labels and scenarios of a world.
///
/// # Errors
/// Something can't be written.
pub fn write(
    world: &World,
    access: &mut dyn Write,
    truth: &mut dyn Write,
    scenarios: &mut dyn Write,
) -> io::Result<Summary> {
    let (mut n, mut n_of_episodes) = (0_u64, 0);
    let (mut line, mut label) = (String::new(), String::new());
    let mut seen: Vec<Seen> = Vec::new();
    truth.write_all(labels::HEADER.as_bytes())?;
    let mut nth = 0_u64;
    let episodes = play(world, |episodes, call| {
        seen.resize(episodes.len(), Seen::default());
        nth += 1;
        let fate = share(&[world.options.seed, nth, 41]);
        if fate < LOST {
            return Ok(());
        }
        line.clear();
        log::write(world, call, n, &mut line);
        for _ in 0..if fate > 1.0 - DOUBLED { 2 } else { 1 } {
            label.clear();
            labels::write(world, episodes, call, n, &mut seen, &mut label);
            access.write_all(line.as_bytes())?;
            truth.write_all(label.as_bytes())?;
            n += 1;
            n_of_episodes += u64::from(call.by.episode > 0);
        }
        Ok(())
    })?;
    seen.resize(episodes.len(), Seen::default());
    scenarios.write_all(labels::scenarios(world, &episodes, &seen).as_bytes())?;
    Ok(Summary {
        n_lines: n,
        n_of_episodes,
        episodes,
        seen,
    })
}
