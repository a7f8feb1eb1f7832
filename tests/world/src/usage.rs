//! What people do: sessions with pages, details, changes, stale links, codes, and app screens that fetch ahead.

use crate::api::{CollectionId, Policy, Sharing};
use crate::ids;
use crate::people::{DAY, MINUTE, SECOND};
use crate::request::{self, Verb};
use crate::scribe::{Caller, Scribe};
use crate::world::{Access, NOBODY};

/// Words people search for.
const WORDS: [&str; 12] = [
    "may", "open", "late", "blue", "q3", "refund", "main", "anna", "north", "draft", "2025", "paid",
];

/// A person's day.
pub fn day(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let world = scribe.world;
    let person = &world.actors[actor as usize];
    for (start_ms, n_steps) in person.sessions(day_ms) {
        let device = person.device_at(start_ms);
        session(scribe, actor, device, start_ms, n_steps);
    }
    creations(scribe, actor, day_ms);
    crowds(scribe, actor, day_ms);
}

fn think(scribe: &mut Scribe<'_>) -> i64 {
    (scribe.dice.lognormal(6.0, 1.0) * SECOND as f64).min(400_000.0) as i64 + 300
}

/// One session: a look at the account, then pages and objects.
pub fn session(scribe: &mut Scribe<'_>, actor: u32, device: u8, start_ms: i64, n_steps: usize) {
    let by = scribe.caller(actor, device, start_ms);
    let person = &scribe.world.actors[actor as usize];
    let api = &scribe.world.apis[person.api];
    let version = scribe.world.version(actor, start_ms);
    let mut now_ms = start_ms;
    if scribe.dice.chance(0.3) {
        let wrong = scribe.dice.chance(0.08);
        let status = if wrong { 401 } else { 200 };
        now_ms = scribe
            .send(
                now_ms,
                &by,
                request::login(api, version),
                status,
                None,
                String::new(),
            )
            .1
            + 900;
    }
    if scribe.dice.chance(0.7) {
        now_ms = scribe
            .send(
                now_ms,
                &by,
                request::me(api, version),
                200,
                None,
                String::new(),
            )
            .1
            + 200;
    }
    for _ in 0..n_steps {
        let at = choose(scribe, actor);
        now_ms = step(scribe, &by, at, now_ms);
        now_ms += think(scribe);
    }
}

/// The collection a person turns to: by the world's taste times its own.
fn choose(scribe: &mut Scribe<'_>, actor: u32) -> CollectionId {
    let world = scribe.world;
    let person = &world.actors[actor as usize];
    let ids = &world.apis[person.api].collections;
    let taste = |at: &CollectionId| {
        let own = crate::dice::share(&[person.salt, *at as u64, 21]);
        world.collections[*at].weight * (0.05 + own * own * 2.0)
    };
    let sum: f64 = ids.iter().map(taste).sum();
    let mut mark = scribe.dice.unit() * sum;
    for at in ids {
        mark -= taste(at);
        if mark <= 0.0 {
            return *at;
        }
    }
    ids[0]
}

fn step(scribe: &mut Scribe<'_>, by: &Caller, at: CollectionId, now_ms: i64) -> i64 {
    let world = scribe.world;
    let collection = &world.collections[at];
    let tenant = world.tenant_of(at, -1, by.actor).to_owned();
    let writer = scribe.writer(by, at, now_ms);
    let person = &world.actors[by.actor as usize];
    let is_managing = person.promoted_ms <= now_ms && scribe.dice.chance(0.4);
    let is_public = collection.sharing == Sharing::Public;
    let mingles = is_public && scribe.dice.chance(0.7)
        || is_managing
        || scribe.dice.chance(world.apis[collection.api].mingling);
    if mingles {
        return match others(scribe, by.actor, at, now_ms, is_managing) {
            Some(n) => scribe.touch(now_ms, by, Verb::Read, at, n).1,
            None => now_ms,
        };
    }
    match scribe.dice.below(100) {
        0..=24 => page(scribe, by, at, now_ms),
        25..=29 => {
            let word = *scribe.dice.pick(&WORDS);
            scribe
                .send(
                    now_ms,
                    by,
                    writer.search(&tenant, word),
                    200,
                    None,
                    String::new(),
                )
                .1
        }
        30..=31 => stray(scribe, by, at, now_ms),
        32..=33 => errand(scribe, by, now_ms),
        34..=39 if !is_public => {
            let Some(n) = mine(scribe, by.actor, at, now_ms) else {
                return now_ms;
            };
            let verb = if scribe.dice.chance(0.06) {
                Verb::Delete
            } else {
                Verb::Update
            };
            // A delete is followed by the list; the object is gone only where the world says so.
            let verb = if verb == Verb::Delete
                && world.collections[at].objects[n as usize].deleted_ms == crate::api::NEVER
            {
                Verb::Update
            } else {
                verb
            };
            scribe.touch(now_ms, by, verb, at, i64::from(n)).1
        }
        40..=44 => {
            let Some(n) = mine(scribe, by.actor, at, now_ms) else {
                return now_ms;
            };
            let verb = if scribe.dice.chance(0.3) {
                Verb::Export
            } else {
                Verb::Part
            };
            scribe.touch(now_ms, by, verb, at, i64::from(n)).1
        }
        45..=46 => {
            let own = world.own(by.actor, at);
            if own.len() < 4 {
                return now_ms;
            }
            let n = scribe.dice.within(2, 12.min(own.len() as i64)) as usize;
            batch(
                scribe,
                by,
                at,
                now_ms,
                &own[own.len() - n..]
                    .iter()
                    .map(|n| i64::from(*n))
                    .collect::<Vec<_>>(),
            )
        }
        _ => match mine(scribe, by.actor, at, now_ms) {
            Some(n) => scribe.touch(now_ms, by, Verb::Read, at, i64::from(n)).1,
            None => now_ms,
        },
    }
}

/// Reads several objects in one request.
pub fn batch(
    scribe: &mut Scribe<'_>,
    by: &Caller,
    at: CollectionId,
    now_ms: i64,
    ns: &[i64],
) -> i64 {
    let world = scribe.world;
    let collection = &world.collections[at];
    let release_ms = world.apis[collection.api].release_ms;
    let ids: Vec<String> = ns.iter().map(|n| collection.id(*n, release_ms)).collect();
    let tenant = world.tenant_of(at, -1, by.actor).to_owned();
    let objects: Vec<String> = ids.iter().map(|id| collection.label(id)).collect();
    let is_foreign = ns
        .iter()
        .any(|n| world.access(by.actor, at, *n, now_ms) == Access::Foreign);
    let status = match (is_foreign, collection.policy) {
        (true, Policy::Forbid) => 403,
        (true, Policy::Hide) => 404,
        _ => 200,
    };
    let request = scribe.writer(by, at, now_ms).batch(&ids, &tenant);
    scribe
        .send(
            now_ms,
            by,
            request,
            status,
            Some(is_foreign),
            objects.join("|"),
        )
        .1
}

/// A list, and some of what it shows: one by one, or as a screen that fetches ahead.
fn page(scribe: &mut Scribe<'_>, by: &Caller, at: CollectionId, now_ms: i64) -> i64 {
    let world = scribe.world;
    let collection = &world.collections[at];
    let tenant = world.tenant_of(at, -1, by.actor).to_owned();
    let number = 1 + scribe.dice.zipf(6);
    let size = if scribe.dice.chance(0.1) {
        collection.page * 4
    } else {
        collection.page
    };
    let request = scribe.writer(by, at, now_ms).list(&tenant, number, size);
    let mut now_ms = scribe.send(now_ms, by, request, 200, None, String::new()).1;
    let own = world.own(by.actor, at);
    let is_ahead = world.actors[by.machine as usize].devices[usize::from(by.device)].is_mobile
        && scribe.dice.chance(0.4);
    if is_ahead {
        let by = Caller {
            class: "prefetch",
            ..by.clone()
        };
        let n = scribe.dice.within(4, 25) as usize;
        for n in own
            .iter()
            .rev()
            .skip((number - 1) * collection.page)
            .take(n)
            .copied()
            .collect::<Vec<_>>()
        {
            now_ms += scribe.dice.within(8, 90);
            if world.access(by.actor, at, i64::from(n), now_ms) != Access::Missing {
                scribe.touch(now_ms, &by, Verb::Read, at, i64::from(n));
            }
        }
        return now_ms;
    }
    for _ in 0..scribe.dice.below(4) {
        now_ms += think(scribe);
        if let Some(n) = mine(scribe, by.actor, at, now_ms) {
            now_ms = scribe.touch(now_ms, by, Verb::Read, at, i64::from(n)).1;
        }
    }
    now_ms
}

/// One of the own objects that are there: the newest, or a favourite.
pub fn mine(scribe: &mut Scribe<'_>, actor: u32, at: CollectionId, now_ms: i64) -> Option<u32> {
    let world = scribe.world;
    let own = world.own(world.actors[actor as usize].patron.unwrap_or(actor), at);
    let objects = &world.collections[at].objects;
    let n_there = own.partition_point(|n| objects[*n as usize].created_ms <= now_ms);
    if n_there == 0 {
        return None;
    }
    let rank = scribe.dice.zipf(n_there);
    let n = if scribe.dice.chance(0.6) {
        own[n_there - 1 - rank]
    } else {
        own[(rank * 31 + 7) % n_there]
    };
    (now_ms < objects[n as usize].deleted_ms).then_some(n)
}

/// An object of others that one may read: shared, public, or the team's for a manager.
fn others(
    scribe: &mut Scribe<'_>,
    actor: u32,
    at: CollectionId,
    now_ms: i64,
    is_managing: bool,
) -> Option<i64> {
    let world = scribe.world;
    let collection = &world.collections[at];
    if collection.sharing == Sharing::Public {
        let n = scribe.dice.zipf(collection.objects.len());
        return Some((n * 17 % collection.objects.len()) as i64);
    }
    let person = &world.actors[actor as usize];
    let circle = match collection.sharing {
        Sharing::Tenant => &world.tenants[person.tenant].members,
        _ if is_managing => &world.tenants[person.tenant].members,
        _ => &world.groups[person.group],
    };
    for _ in 0..4 {
        let colleague = *scribe.dice.pick(circle);
        let own = world.own(colleague, at);
        if own.is_empty() {
            continue;
        }
        let n = i64::from(own[own.len() - 1 - scribe.dice.zipf(own.len())]);
        if matches!(
            world.access(actor, at, n, now_ms),
            Access::Shared | Access::Own
        ) {
            return Some(n);
        }
    }
    None
}

/// A link that leads nowhere or to what one may not see.
fn stray(scribe: &mut Scribe<'_>, by: &Caller, at: CollectionId, now_ms: i64) -> i64 {
    let collection = &scribe.world.collections[at];
    let own = scribe.world.own(by.actor, at);
    let gone = own
        .iter()
        .rev()
        .find(|n| collection.objects[**n as usize].deleted_ms <= now_ms);
    let n = match gone {
        Some(n) if scribe.dice.chance(0.7) => i64::from(*n),
        _ if collection.policy == Policy::Open
            && collection.sharing != Sharing::Public
            && scribe.dice.chance(0.7) =>
        {
            collection.objects.len() as i64 + scribe.dice.within(1, 5000)
        }
        _ => scribe.dice.below(collection.objects.len()) as i64,
    };
    scribe.touch(now_ms, by, Verb::Read, at, n).1
}

/// Something small: a code, a colleague's address, a new password.
fn errand(scribe: &mut Scribe<'_>, by: &Caller, now_ms: i64) -> i64 {
    let (world, version) = (scribe.world, scribe.world.version(by.actor, now_ms));
    let person = &world.actors[by.actor as usize];
    let api = &world.apis[person.api];
    let verb = *scribe.dice.pick(&[
        Verb::Lookup,
        Verb::Lookup,
        Verb::Reset,
        Verb::Coupon,
        Verb::Coupon,
    ]);
    let hit = scribe.dice.chance(0.6);
    let value = match verb {
        Verb::Coupon => code(scribe, api.accounts),
        _ => mail(
            scribe,
            *scribe.world.groups[person.group]
                .first()
                .unwrap_or(&by.actor),
        ),
    };
    let status = if hit { 200 } else { api.oracle_miss };
    scribe
        .send(
            now_ms,
            by,
            request::oracle(api, version, verb, &value),
            status,
            None,
            String::new(),
        )
        .1
}

/// A code as shops print them.
pub fn code(scribe: &mut Scribe<'_>, at: CollectionId) -> String {
    let style = scribe.world.collections[at].salt;
    let (bits, more) = (scribe.dice.bits(), scribe.dice.bits());
    match style % 3 {
        0 => format!("SAVE{:04}", bits % 10_000),
        1 => ids::base62(bits, more, 8).to_uppercase(),
        _ => format!(
            "{}-{:05}",
            ["SPRING", "VIP", "HELLO"][(more % 3) as usize],
            bits % 100_000
        ),
    }
}

/// The address of an actor, or of nobody.
pub fn mail(scribe: &mut Scribe<'_>, actor: u32) -> String {
    let api = &scribe.world.apis[scribe.world.actors[actor as usize].api];
    let domain = api.host.replace("api.", "").replace("gw.", "");
    format!(
        "{}@{domain}",
        ids::person(
            scribe.world.collections[api.accounts].salt,
            i64::from(actor)
        )
    )
}

/// What an actor makes on a day, when the world says so.
fn creations(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let world = scribe.world;
    let person = &world.actors[actor as usize];
    for at in &world.apis[person.api].collections {
        let collection = &world.collections[*at];
        if collection.is_accounts {
            continue;
        }
        let own = world.own(actor, *at);
        let from = own.partition_point(|n| collection.objects[*n as usize].created_ms < day_ms);
        for n in &own[from..] {
            let created_ms = collection.objects[*n as usize].created_ms;
            if created_ms >= day_ms + DAY {
                break;
            }
            let by = scribe.caller(actor, 0, created_ms);
            let tenant = world.tenant_of(*at, i64::from(*n), actor).to_owned();
            let length = scribe.dice.within(4, 60) as usize;
            let request = scribe.writer(&by, *at, created_ms).create(&tenant, length);
            let end_ms = scribe
                .send(created_ms, &by, request, 201, None, String::new())
                .1;
            if scribe.dice.chance(0.7) {
                scribe.touch(end_ms + 400, &by, Verb::Read, *at, i64::from(*n));
            }
        }
    }
}

/// The link everyone follows.
fn crowds(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let world = scribe.world;
    let person = &world.actors[actor as usize];
    for (at, n, moment_ms) in &world.crowds {
        let is_here =
            world.collections[*at].api == person.api && (day_ms..day_ms + DAY).contains(moment_ms);
        debug_assert!(world.collections[*at].objects[*n as usize].owner == NOBODY);
        if is_here && person.joined_ms < *moment_ms && scribe.dice.chance(0.5) {
            let now_ms = moment_ms + scribe.dice.wait(40.0 * MINUTE as f64) as i64;
            let by = Caller {
                class: "crowd",
                ..scribe.caller(actor, 0, now_ms)
            };
            for _ in 0..=scribe.dice.below(3) {
                let reload_ms = now_ms + scribe.dice.within(0, 20_000);
                scribe.touch(reload_ms, &by, Verb::Read, *at, i64::from(*n));
            }
        }
    }
}
