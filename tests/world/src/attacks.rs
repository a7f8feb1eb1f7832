//! Attacks: which are planned in a world, by whom, how hard to see.
//!
//! An episode is one attack instance: a kind, a band of difficulty, one or more attackers who else live as before. Its calls go through
//! the same scribe as everyone's, so that status, size, latency, agent and address say nothing by themselves.

mod kinds;
mod stage;

pub use kinds::KINDS;

use crate::dice::Dice;
use crate::request::Verb;
use crate::scribe::Call;
use crate::world::World;
use stage::Stage;

/// Calls below which an episode is told to be hidden: stale links alone make as many a day.
const N_CALLS_SEEN: usize = 4;

/// A kind of attack.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it is an instance of: `bola`, `bfla`, `probing`, `oracle` or `agent`.
    pub family: &'static str,
    /// Lowest and highest band it comes in.
    pub bands: (u8, u8),
    /// What the attacker does.
    pub what: &'static str,
    /// Plans its calls; none when the world has nothing it could be done to.
    run: fn(&mut Stage<'_>) -> Option<()>,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// One attack instance.
#[derive(Clone, Debug)]
pub struct Episode {
    /// `kind.b3.007`.
    pub name: String,
    /// Its kind.
    pub kind: &'static Kind,
    /// Its band, 1 (loud) to 5 (near the limit of what a log can show).
    pub band: u8,
    /// Actors whose credentials are used.
    pub attackers: Vec<u32>,
    /// Why the log can't show it; none where it can.
    pub hidden: Option<&'static str>,
}

/// True when a call names its object in a body that is not logged.
fn is_unseen(world: &World, call: &Call) -> bool {
    let has_bodies = world.apis[world.collections[call.request.collection].api].has_bodies;
    !has_bodies
        && matches!(call.request.verb, Verb::Read | Verb::Tool)
        && !call.request.body.is_empty()
}

/// Draws a world's episodes and their calls.
pub fn plan(world: &World) -> (Vec<Episode>, Vec<Call>) {
    let mut dice = Dice::of(&[world.options.seed, 51]);
    let options = &world.options;
    let n_episodes = options.episodes.unwrap_or((options.callers / 16).max(6));
    let is_wanted = |kind: &&'static Kind| {
        let has_band = options
            .band
            .is_none_or(|band| (kind.bands.0..=kind.bands.1).contains(&band));
        has_band && (options.kinds.is_empty() || options.kinds.iter().any(|name| name == kind.name))
    };
    let mut deck: Vec<&'static Kind> = Vec::new();
    let (mut episodes, mut calls, mut used) = (Vec::new(), Vec::new(), Vec::new());
    // A kind that the world has no room for is passed over; some kinds come twice before all came once, never thrice.
    for _ in 0..n_episodes * 4 {
        if episodes.len() == n_episodes {
            break;
        }
        if deck.is_empty() {
            deck = KINDS.iter().filter(is_wanted).collect();
            dice.shuffle(&mut deck);
        }
        let Some(kind) = deck.pop() else { break };
        let band = options
            .band
            .unwrap_or(dice.within(i64::from(kind.bands.0), i64::from(kind.bands.1)) as u8);
        let at = episodes.len() as u16 + 1;
        let mut stage = Stage::new(world, &mut used, at, band, dice.bits());
        if (kind.run)(&mut stage).is_none() || stage.scribe.calls.is_empty() {
            continue;
        }
        let n_unseen = stage
            .scribe
            .calls
            .iter()
            .filter(|call| is_unseen(world, call))
            .count();
        if n_unseen * 2 > stage.scribe.calls.len() {
            stage.hidden = Some("ids are in bodies, which this gateway does not log");
        }
        if stage.scribe.calls.len() < N_CALLS_SEEN && kind.family != "probing" {
            stage.hidden = stage
                .hidden
                .or(Some("so few calls as anyone makes by mistake"));
        }
        episodes.push(Episode {
            name: format!("{}.b{band}.{at:03}", kind.name),
            kind,
            band,
            attackers: stage.attackers.clone(),
            hidden: stage.hidden,
        });
        calls.append(&mut stage.scribe.calls);
        let attackers = stage.attackers;
        used.extend(attackers);
    }
    calls.retain(|call: &Call| world.start_ms <= call.end_ms && call.end_ms < world.end_ms);
    (episodes, calls)
}
