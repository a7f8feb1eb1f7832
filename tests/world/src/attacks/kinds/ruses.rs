//! Reading with a ruse: by several hands, under another's name, by another door.

use super::{Stage, counts};
use crate::api::{Place, Policy};
use crate::dice::fold;
use crate::people::{HOUR, MINUTE, Role, SECOND, residential};
use crate::request::Verb;
use crate::scribe::Caller;
use crate::usage;
use crate::world::NOBODY;

pub(super) fn distributed(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.open(counts)?;
    let api = stage.world.collections[at].api;
    let (k, each) = stage.by_band([(5, 60), (8, 25), (12, 12), (16, 6), (20, 3)]);
    let k = stage.dice().within(k, 2 * k) as usize;
    let numbers = stage.block(at, k * each, 1);
    for part in numbers.chunks(each) {
        let Some(attacker) = stage.person(api) else {
            break;
        };
        let times = stage.times(attacker, each);
        stage.reads(attacker, Verb::Read, at, part, &times);
    }
    Some(())
}

pub(super) fn rotating_tokens(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let (n, every) = (stage.amount(), stage.by_band([60, 30, 8, 3, 1]));
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    let salt = stage.dice().bits();
    for (nth, (number, now_ms)) in numbers.iter().zip(&times).enumerate() {
        let by = Caller {
            token: fold(&[salt, (nth / every) as u64]),
            ..stage.caller(attacker, *now_ms)
        };
        stage.scribe.touch(*now_ms, &by, Verb::Read, at, *number);
    }
    if stage.is_nameless(attacker) && every <= 8 {
        stage.hidden = Some("no subject is logged, and a token makes too few calls");
    }
    Some(())
}

pub(super) fn rotating_addresses(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let (n, every) = (stage.amount(), stage.by_band([20, 10, 4, 2, 1]));
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    let mut address = 0;
    for (nth, (number, now_ms)) in numbers.iter().zip(&times).enumerate() {
        if nth % every == 0 {
            address = residential(stage.dice());
        }
        let by = Caller {
            address,
            ..stage.caller(attacker, *now_ms)
        };
        stage.scribe.touch(*now_ms, &by, Verb::Read, at, *number);
    }
    Some(())
}

pub(super) fn stolen_session(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.open(|_| true)?;
    let api = stage.world.collections[at].api;
    let victim = stage.someone(api, |actor| actor.role == Role::Heavy)?;
    let thief = stage.person(api)?;
    stage.attackers = vec![victim];
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(victim, at, n), stage.times(victim, n));
    for (number, now_ms) in numbers.iter().zip(&times) {
        let tool = stage.caller(thief, *now_ms);
        let by = Caller {
            machine: thief,
            device: tool.device,
            address: tool.address,
            ..stage.caller(victim, *now_ms)
        };
        stage.scribe.touch(*now_ms, &by, Verb::Read, at, *number);
    }
    Some(())
}

pub(super) fn insider(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.field(|collection| !collection.is_accounts)?;
    let insider = stage.someone(stage.world.collections[at].api, |actor| {
        actor.role == Role::Support
    })?;
    let n = stage.amount();
    // At the desk, as with a ticket: by day, and slower the quieter.
    let gap_ms = stage.by_band([SECOND, 10 * SECOND, MINUTE, 10 * MINUTE, HOUR]);
    let mut now_ms = stage.from_ms - stage.from_ms.rem_euclid(24 * HOUR) + 34 * HOUR;
    let numbers = stage.strangers_of_staff(at, n);
    for number in numbers {
        let by = stage.caller(insider, now_ms);
        now_ms = stage.scribe.touch(now_ms, &by, Verb::Read, at, number).1
            + gap_ms * stage.dice().within(50, 200) / 100;
        if now_ms.rem_euclid(24 * HOUR) > 18 * HOUR {
            now_ms += 15 * HOUR;
        }
    }
    if stage.band >= 4 {
        stage.hidden = Some("looks like tickets, of which the log knows nothing");
    }
    Some(())
}

pub(super) fn cross_tenant(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let world = stage.world;
    let api = world.collections[at].api;
    let tenant = world.actors[attacker as usize].tenant;
    let victims: Vec<usize> = (0..world.tenants.len())
        .filter(|other| {
            *other != tenant
                && world.tenants[*other]
                    .members
                    .first()
                    .is_some_and(|m| world.actors[*m as usize].api == api)
        })
        .collect();
    if victims.is_empty() {
        return None;
    }
    // The largest of a few that came up: a loud attack wants something to take.
    let drawn: Vec<usize> = (0..4).map(|_| *stage.dice().pick(&victims)).collect();
    let taken = |tenant: usize| -> Vec<i64> {
        let owned = world.tenants[tenant]
            .members
            .iter()
            .flat_map(|member| world.own(*member, at));
        owned.map(|n| i64::from(*n)).collect()
    };
    let mut numbers = drawn.into_iter().map(taken).max_by_key(Vec::len)?;
    stage.dice().shuffle(&mut numbers);
    let n = stage.amount().min(numbers.len());
    let times = stage.times(attacker, n);
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn denied_then_allowed(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.field(|collection| {
        collection.policy != Policy::Open
            && collection.policy_parts == Policy::Open
            && collection.place != Place::Graph
    })?;
    let attacker = stage.person(stage.world.collections[at].api)?;
    let n = stage.amount();
    let n_denied = n / 4 + 2;
    let numbers = stage.strangers(attacker, at, n);
    let times = stage.times(attacker, n);
    let n_denied = n_denied.min(numbers.len()).min(times.len());
    stage.reads(
        attacker,
        Verb::Read,
        at,
        &numbers[..n_denied],
        &times[..n_denied],
    );
    let rest = times[n_denied..].to_vec();
    stage.reads(attacker, Verb::Part, at, &numbers, &rest);
    Some(())
}

pub(super) fn writes(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.field(|collection| collection.policy_writes == Policy::Open)?;
    let attacker = stage.person(stage.world.collections[at].api)?;
    let n = (stage.amount() / 3).max(3);
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    for (number, now_ms) in numbers.iter().zip(&times) {
        let verb = if stage.dice().chance(0.2) {
            Verb::Delete
        } else {
            Verb::Update
        };
        stage.reads(attacker, verb, at, &[*number], &[*now_ms]);
    }
    Some(())
}

pub(super) fn harvest(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|collection| !collection.scheme.is_guessable())?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    let tenant = stage.world.tenant_of(at, -1, attacker).to_owned();
    for (nth, (number, now_ms)) in numbers.iter().zip(&times).enumerate() {
        if nth % 20 == 0 {
            let by = stage.caller(attacker, *now_ms);
            let writer = stage.scribe.writer(&by, at, *now_ms);
            let request = writer.list(&tenant, 1 + nth / 20, writer.collection.page);
            stage.send(*now_ms - 2 * SECOND, attacker, request, 200, String::new());
        }
        stage.reads(attacker, Verb::Read, at, &[*number], &[*now_ms]);
    }
    Some(())
}

pub(super) fn batches(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|collection| collection.place != Place::Graph)?;
    let (n, size) = (stage.amount(), stage.by_band([50, 20, 10, 5, 3]));
    let numbers = stage.strangers(attacker, at, n);
    let times = stage.times(attacker, n.div_ceil(size));
    for (part, now_ms) in numbers.chunks(size).zip(&times) {
        let by = stage.caller(attacker, *now_ms);
        usage::batch(&mut stage.scribe, &by, at, *now_ms, part);
    }
    Some(())
}

pub(super) fn paging(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|collection| collection.place != Place::Graph)?;
    let collection = &stage.world.collections[at];
    let size = collection.page * stage.by_band([20, 8, 4, 1, 1]);
    let n = stage.amount() / 2;
    let times = stage.times(attacker, n);
    let tenant = stage.world.tenant_of(at, -1, attacker).to_owned();
    for (nth, now_ms) in times.iter().enumerate() {
        let by = stage.caller(attacker, *now_ms);
        let request = stage
            .scribe
            .writer(&by, at, *now_ms)
            .list(&tenant, nth + 1, size);
        stage.send(
            *now_ms,
            attacker,
            request,
            200,
            format!("{}:page-{nth}", collection.name),
        );
    }
    Some(())
}

pub(super) fn exports(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.field(|collection| {
        collection.policy_parts == Policy::Open && collection.place != Place::Graph
    })?;
    let attacker = stage.person(stage.world.collections[at].api)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    stage.reads(attacker, Verb::Export, at, &numbers, &times);
    Some(())
}

pub(super) fn nested(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|collection| collection.place == Place::Nested)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    let tenant = stage.world.tenant_of(at, -1, attacker).to_owned();
    for (number, now_ms) in numbers.iter().zip(&times) {
        let by = stage.caller(attacker, *now_ms);
        let writer = stage.scribe.writer(&by, at, *now_ms);
        let request = writer.read(&writer.id(*number), &tenant);
        stage.scribe.touch_with(*now_ms, &by, request, *number);
    }
    Some(())
}

pub(super) fn new_account(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.open(counts)?;
    let world = stage.world;
    let attacker = stage.someone(world.collections[at].api, |actor| {
        actor.role == Role::Newcomer
            && actor.joined_ms < world.end_ms - 30 * HOUR
            && actor.joined_ms > world.start_ms
    })?;
    stage.from_ms = world.actors[attacker as usize].joined_ms;
    stage.is_prompt = true;
    let n = stage.amount();
    let (numbers, times) = (stage.block(at, n, 1), stage.times(attacker, n));
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn warm_up(stage: &mut Stage<'_>) -> Option<()> {
    stage.from_ms = stage.world.start_ms + stage.scribe.dice.within(0, 6 * HOUR);
    stage.is_prompt = true;
    let (attacker, at) = stage.pair(|_| true)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn rare(stage: &mut Stage<'_>) -> Option<()> {
    let least = stage
        .world
        .collections
        .iter()
        .filter(|c| c.policy == Policy::Open && c.objects.len() > 60)
        .map(|c| c.weight);
    let least = least.fold(f64::INFINITY, f64::min) * 1.01;
    let (attacker, at) = stage.pair(|collection| collection.weight <= least)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn befriended(stage: &mut Stage<'_>) -> Option<()> {
    stage.from_ms = stage.world.moment(&mut stage.scribe.dice, 0.05, 0.3);
    let (first, at) = stage.pair(|collection| !collection.is_accounts)?;
    let second = stage.person(stage.world.collections[at].api)?;
    let n = stage.amount();
    let victims = stage.strangers(first, at, n);
    for (attacker, friend) in [(first, second), (second, first)] {
        let friendly: Vec<i64> = stage
            .world
            .own(friend, at)
            .iter()
            .take(6)
            .map(|n| i64::from(*n))
            .collect();
        let mut numbers = friendly;
        numbers.extend(&victims);
        let times = stage.times(attacker, numbers.len());
        stage.reads(attacker, Verb::Read, at, &numbers, &times);
    }
    Some(())
}

pub(super) fn first_toucher(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) =
        stage.pair(|collection| collection.scheme.is_guessable() && !collection.is_accounts)?;
    let world = stage.world;
    let new = (0_i64..).zip(&world.collections[at].objects);
    let new: Vec<(i64, i64)> = new
        .filter(|(_, object)| {
            object.created_ms > stage.from_ms && object.owner != attacker && object.owner != NOBODY
        })
        .map(|(n, object)| (n, object.created_ms))
        .collect();
    let n = stage.amount().min(new.len());
    for (number, created_ms) in new.into_iter().take(n) {
        let now_ms = created_ms + stage.dice().within(300, 2500);
        stage.reads(attacker, Verb::Read, at, &[number], &[now_ms]);
    }
    if stage.band == 5 {
        stage.hidden = Some("the first to touch an object is taken for its owner");
    }
    Some(())
}

pub(super) fn neighbours(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) =
        stage.pair(|collection| collection.scheme.is_timed() && !collection.is_accounts)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    let collection = &stage.world.collections[at];
    for (number, now_ms) in numbers.iter().zip(&times) {
        if stage.dice().chance(0.25) {
            stage.reads(attacker, Verb::Read, at, &[*number], &[*now_ms]);
            continue;
        }
        // A guess that misses: the right time, the wrong rest.
        let made_ms =
            collection.objects[*number as usize].created_ms + stage.dice().within(-50, 50);
        let id = collection
            .scheme
            .id(collection.salt, *number + 5_000_000, made_ms);
        let tenant = stage.world.tenant_of(at, -1, attacker).to_owned();
        let by = stage.caller(attacker, *now_ms);
        let request = stage.scribe.writer(&by, at, *now_ms).read(&id, &tenant);
        let status = if request.body.is_empty() { 404 } else { 200 };
        stage.send(*now_ms, attacker, request, status, collection.label(&id));
    }
    Some(())
}

pub(super) fn graph(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|collection| collection.place == Place::Graph)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

pub(super) fn single(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let n = stage.amount();
    let victims = stage.strangers(attacker, at, stage.by_band([9, 7, 5, 3, 1]));
    let numbers: Vec<i64> = victims.iter().cycle().take(n).copied().collect();
    let times = stage.times(attacker, n);
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    if stage.band == 5 {
        stage.hidden = Some("one object shared with one other looks the same");
    }
    Some(())
}
