//! Plays a world day by day: a day's calls are made, merged with those of the episodes, sorted, and written.

use std::io::{self, Write};

use crate::attacks::{self, Episode};
use crate::dice::share;
use crate::labels::{self, Seen};
use crate::log;
use crate::people::DAY;
use crate::posture::{Line, Sown};
use crate::scribe::{Call, Scribe};
use crate::services;
use crate::truth::Truth;
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

/// Where a world is written to.
pub struct Files<'a> {
    /// The log.
    pub access: &'a mut dyn Write,
    /// What is true of each line.
    pub labels: &'a mut dyn Write,
    /// The episodes.
    pub scenarios: &'a mut dyn Write,
}

/// Writes log, labels and scenarios of a world; what is true of its APIs comes back, with what was sown.
///
/// # Errors
/// Something can't be written.
pub fn write(world: &World, files: Files<'_>) -> io::Result<(Summary, Truth, Option<Sown>)> {
    let sown = world.options.posture.then(|| Sown::draw(world));
    let mut writer = Writer {
        world,
        sown: sown.as_ref(),
        files,
        truth: Truth::default(),
        n: 0,
        n_of_episodes: 0,
        seen: Vec::new(),
        line: String::new(),
        label: String::new(),
    };
    writer.files.labels.write_all(labels::HEADER.as_bytes())?;
    let mut waiting = sown.iter().flat_map(|sown| &sown.lines).peekable();
    let mut nth = 0_u64;
    let episodes = play(world, |episodes, call| {
        while let Some(line) = waiting.next_if(|line| line.end_ms <= call.end_ms) {
            writer.sown(line)?;
        }
        nth += 1;
        let fate = share(&[world.options.seed, nth, 41]);
        if fate < LOST {
            return Ok(());
        }
        writer.call(episodes, call, if fate > 1.0 - DOUBLED { 2 } else { 1 })
    })?;
    waiting.try_for_each(|line| writer.sown(line))?;
    let Writer {
        files,
        truth,
        n,
        n_of_episodes,
        mut seen,
        ..
    } = writer;
    seen.resize(episodes.len(), Seen::default());
    files
        .scenarios
        .write_all(labels::scenarios(world, &episodes, &seen).as_bytes())?;
    let summary = Summary {
        n_lines: n,
        n_of_episodes,
        episodes,
        seen,
    };
    Ok((summary, truth, sown))
}

/// Writes lines and labels, and takes note of what is true.
struct Writer<'a, 'f> {
    world: &'a World,
    sown: Option<&'a Sown>,
    files: Files<'f>,
    truth: Truth,
    n: u64,
    n_of_episodes: u64,
    seen: Vec<Seen>,
    line: String,
    label: String,
}

impl Writer<'_, '_> {
    fn call(&mut self, episodes: &[Episode], call: &Call, times: usize) -> io::Result<()> {
        self.seen.resize(episodes.len(), Seen::default());
        self.line.clear();
        log::write(self.world, call, self.n, &mut self.line);
        let mut status = call.status;
        if let Some(sown) = self.sown {
            status = sown.decide(self.world, call, self.n);
            sown.extend(self.world, call, status, &mut self.line);
        }
        for _ in 0..times {
            self.label.clear();
            labels::write(
                self.world,
                episodes,
                call,
                self.n,
                &mut self.seen,
                &mut self.label,
            );
            self.files.access.write_all(self.line.as_bytes())?;
            self.files.labels.write_all(self.label.as_bytes())?;
            self.truth.see(self.world, call, status);
            self.n += 1;
            self.n_of_episodes += u64::from(call.by.episode > 0);
        }
        Ok(())
    }

    fn sown(&mut self, line: &Line) -> io::Result<()> {
        let Some(sown) = self.sown else {
            return Ok(());
        };
        self.line.clear();
        self.label.clear();
        sown.write(self.world, line, self.n, &mut self.line);
        Sown::label(self.world, line, self.n, &mut self.label);
        self.files.access.write_all(self.line.as_bytes())?;
        self.files.labels.write_all(self.label.as_bytes())?;
        self.truth.see_sown(self.world, line);
        self.n += 1;
        Ok(())
    }
}
