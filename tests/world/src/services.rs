//! What is not people: support, audits, walkers, crawlers, monitors, migrations, load tests, AI agents. All of it benign, most of it hard.

use crate::api::{CollectionId, Sharing};
use crate::people::{DAY, HOUR, MINUTE, Role, SECOND};
use crate::request::{self, Door, Verb};
use crate::scribe::{Caller, Scribe};
use crate::usage;

/// Objects a nightly walk reads at most; the rest comes the next night.
const WALK_MAX: usize = 3000;

/// A service's day.
pub fn day(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let service = &scribe.world.actors[actor as usize];
    if service.joined_ms >= day_ms + DAY {
        return;
    }
    match service.role {
        Role::Support => support(scribe, actor, day_ms),
        Role::Auditor => auditor(scribe, actor, day_ms),
        Role::Walker => walker(scribe, actor, day_ms),
        Role::Sync => sync(scribe, actor, day_ms),
        Role::Migration => migration(scribe, actor, day_ms),
        Role::Loadtest => load_test(scribe, actor, day_ms),
        Role::Monitor => monitor(scribe, actor, day_ms),
        Role::Crawler => crawler(scribe, actor, day_ms),
        Role::Agent => agent(scribe, actor, day_ms),
        _ => (),
    }
}

/// The collections of people's own objects that an actor's API has.
pub fn private(scribe: &Scribe<'_>, actor: u32) -> Vec<CollectionId> {
    let world = scribe.world;
    let api = &world.apis[world.actors[actor as usize].api];
    let is_private = |at: &&CollectionId| {
        let collection = &world.collections[**at];
        collection.sharing != Sharing::Public
            && !collection.is_accounts
            && !collection.objects.is_empty()
    };
    api.collections.iter().filter(is_private).copied().collect()
}

/// The collection that is this actor's business, the same every day.
fn own_field(scribe: &Scribe<'_>, actor: u32) -> CollectionId {
    let fields = private(scribe, actor);
    fields[(scribe.world.actors[actor as usize].salt % fields.len() as u64) as usize]
}

/// The people of an actor's API.
fn customers(scribe: &Scribe<'_>, actor: u32) -> Vec<u32> {
    let world = scribe.world;
    let api = world.actors[actor as usize].api;
    let is_customer = |at: &u32| {
        let person = &world.actors[*at as usize];
        person.api == api && person.role.is_person()
    };
    (0..world.actors.len() as u32).filter(is_customer).collect()
}

/// One ticket: the customer's account, then some objects. Returns when it is done.
pub fn ticket(scribe: &mut Scribe<'_>, by: &Caller, customer: u32, start_ms: i64) -> i64 {
    let world = scribe.world;
    let accounts = world.apis[world.actors[by.actor as usize].api].accounts;
    let mut now_ms = start_ms;
    if let Some(account) = world.own(customer, accounts).first() {
        now_ms = scribe
            .touch(now_ms, by, Verb::Read, accounts, i64::from(*account))
            .1
            + 4 * SECOND;
    }
    let fields = private(scribe, by.actor);
    for _ in 0..scribe.dice.within(1, 5) {
        let at = fields[scribe.dice.zipf(fields.len())];
        if let Some(n) = usage::mine(scribe, customer, at, now_ms) {
            now_ms = scribe.touch(now_ms, by, Verb::Read, at, i64::from(n)).1;
        }
        now_ms += scribe.dice.within(3, 60) * SECOND;
    }
    now_ms
}

fn support(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let customers = customers(scribe, actor);
    let mut now_ms = day_ms + 8 * HOUR + scribe.dice.within(0, 2 * HOUR);
    let mean_ms = 8.0 * HOUR as f64 / scribe.dice.between(8.0, 45.0);
    let end_ms = now_ms + 8 * HOUR;
    while now_ms < end_ms {
        let customer = *scribe.dice.pick(&customers);
        let by = scribe.caller(actor, 0, now_ms);
        now_ms = ticket(scribe, &by, customer, now_ms) + scribe.dice.wait(mean_ms) as i64;
    }
}

fn auditor(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let nth = (day_ms - scribe.world.start_ms) / DAY;
    let phase = (scribe.world.actors[actor as usize].salt % 4) as i64;
    if nth % 4 != phase && nth % 4 != (phase + 1) % 4 {
        return;
    }
    let (at, mut now_ms) = (own_field(scribe, actor), day_ms + 9 * HOUR);
    let n_objects = scribe.world.collections[at].objects.len();
    let by = scribe.caller(actor, 0, now_ms);
    let is_ordered = scribe.dice.chance(0.5);
    let first = scribe.dice.below(n_objects);
    for nth in 0..scribe.dice.within(80, 500) as usize {
        let n = if is_ordered {
            (first + nth) % n_objects
        } else {
            scribe.dice.below(n_objects)
        };
        now_ms = scribe.touch(now_ms, &by, Verb::Read, at, n as i64).1
            + scribe.dice.within(2, 70) * SECOND;
    }
}

fn walker(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let at = own_field(scribe, actor);
    let salt = scribe.world.actors[actor as usize].salt;
    let mut now_ms = day_ms + (salt % 6) as i64 * HOUR + scribe.dice.within(0, 4 * MINUTE);
    let n_objects = scribe.world.collections[at].objects.len();
    let by = scribe.caller(actor, 0, now_ms);
    let nth = ((day_ms - scribe.world.start_ms) / DAY) as usize;
    let first = if n_objects > WALK_MAX {
        nth * WALK_MAX % n_objects
    } else {
        0
    };
    for n in first..(first + WALK_MAX).min(n_objects) {
        if scribe.world.collections[at].objects[n].created_ms > now_ms {
            break;
        }
        now_ms = scribe.touch(now_ms, &by, Verb::Read, at, n as i64).1 + scribe.dice.within(1, 90);
    }
}

fn sync(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let at = own_field(scribe, actor);
    let period_ms = (1 + (scribe.world.actors[actor as usize].salt % 4) as i64) * HOUR;
    let mut now_ms = day_ms + scribe.dice.within(0, 10 * MINUTE);
    while now_ms < day_ms + DAY {
        let by = scribe.caller(actor, 0, now_ms);
        let request =
            scribe
                .writer(&by, at, now_ms)
                .list(scribe.world.tenant_of(at, -1, actor), 1, 100);
        scribe.send(now_ms, &by, request, 200, None, String::new());
        let objects = &scribe.world.collections[at].objects;
        let n_there = objects.partition_point(|object| object.created_ms <= now_ms);
        let n_before = objects.partition_point(|object| object.created_ms <= now_ms - period_ms);
        for n in n_before..n_there {
            now_ms =
                scribe.touch(now_ms, &by, Verb::Read, at, n as i64).1 + scribe.dice.within(5, 60);
        }
        // What changed without being new.
        for _ in 0..scribe.dice.below(12) {
            let n = scribe.dice.below(n_there.max(1)) as i64;
            now_ms = scribe.touch(now_ms, &by, Verb::Read, at, n).1 + scribe.dice.within(5, 60);
        }
        now_ms += period_ms;
    }
}

fn migration(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let world = scribe.world;
    let n_days = ((world.end_ms - world.start_ms) / DAY).max(1);
    let nth = (day_ms - world.start_ms) / DAY;
    if nth != (world.actors[actor as usize].salt % n_days as u64) as i64 {
        return;
    }
    let mut now_ms = day_ms + scribe.dice.within(0, 18 * HOUR);
    let by = scribe.caller(actor, 0, now_ms);
    for at in private(scribe, actor) {
        for n in world.own(actor, at) {
            if world.collections[at].objects[*n as usize].created_ms > now_ms {
                continue;
            }
            now_ms = scribe.touch(now_ms, &by, Verb::Read, at, i64::from(*n)).1
                + scribe.dice.within(10, 400);
        }
    }
}

fn load_test(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    if !scribe.dice.chance(0.35) {
        return;
    }
    let at = own_field(scribe, actor);
    let start_ms = day_ms + scribe.dice.within(10, 20) * HOUR;
    let by = scribe.caller(actor, 0, start_ms);
    for nth in 0..scribe.dice.within(300, 2500) {
        let now_ms = start_ms + nth * 70 + scribe.dice.within(0, 60);
        if let Some(n) = usage::mine(scribe, actor, at, now_ms) {
            scribe.touch(now_ms, &by, Verb::Read, at, i64::from(n));
        }
    }
}

fn monitor(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let api = &scribe.world.apis[scribe.world.actors[actor as usize].api];
    let period_ms = [2, 3, 5][(scribe.world.actors[actor as usize].salt % 3) as usize] * MINUTE;
    for nth in 0..DAY / period_ms {
        let now_ms = day_ms + nth * period_ms + scribe.dice.within(0, 400);
        let by = scribe.caller(actor, 0, now_ms);
        let (target, status) = if nth % 5 == 4 {
            ("/readyz", 404)
        } else {
            ("/healthz", 200)
        };
        let request = request::any(api, "GET", Verb::Health, target.to_owned());
        scribe.send(now_ms, &by, request, status, None, String::new());
    }
}

fn crawler(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let world = scribe.world;
    let api = &world.apis[world.actors[actor as usize].api];
    let hub = api
        .collections
        .iter()
        .find(|at| world.collections[**at].sharing == Sharing::Public);
    let Some(at) = hub.copied() else { return };
    let n_objects = world.collections[at].objects.len();
    for _ in 0..scribe.dice.within(40, 500) {
        let now_ms = day_ms + scribe.dice.within(0, DAY - MINUTE);
        let by = scribe.caller(actor, 0, now_ms);
        let n = scribe.dice.below(n_objects) as i64;
        scribe.touch(now_ms, &by, Verb::Read, at, n);
    }
}

fn agent(scribe: &mut Scribe<'_>, actor: u32, day_ms: i64) {
    let n_tasks = {
        let mean = scribe.world.actors[actor as usize].sessions;
        scribe.dice.count(mean)
    };
    for _ in 0..n_tasks {
        let start_ms = day_ms + 6 * HOUR + scribe.dice.within(0, 16 * HOUR);
        task(scribe, actor, start_ms);
    }
}

/// An agent as it calls: through MCP where there is one, in a session.
pub fn agent_caller(scribe: &mut Scribe<'_>, actor: u32, now_ms: i64) -> Caller {
    let session = crate::dice::fold(&[scribe.world.actors[actor as usize].salt, now_ms as u64]) | 1;
    Caller {
        session,
        ..scribe.caller(actor, 0, now_ms)
    }
}

/// An agent reads one object.
pub fn agent_read(
    scribe: &mut Scribe<'_>,
    by: &Caller,
    at: CollectionId,
    n: i64,
    now_ms: i64,
) -> i64 {
    let mut writer = scribe.writer(by, at, now_ms);
    if writer.api.rpc.is_some() {
        writer.door = Door::Rpc(1 + scribe.dice.below(60) as u64);
    }
    scribe.touch_by(now_ms, by, Verb::Read, writer, n).1
}

/// One task of an agent: a list, a fan of its patron's objects, thinking, some more, now and then an id made up.
fn task(scribe: &mut Scribe<'_>, actor: u32, start_ms: i64) {
    let by = agent_caller(scribe, actor, start_ms);
    let fields = private(scribe, actor);
    let mut now_ms = start_ms;
    for _ in 0..scribe.dice.within(1, 5) {
        let at = fields[scribe.dice.zipf(fields.len())];
        let mut writer = scribe.writer(&by, at, now_ms);
        if writer.api.rpc.is_some() {
            writer.door = Door::Rpc(1 + scribe.dice.below(60) as u64);
        }
        let request = writer.list(
            scribe.world.tenant_of(at, -1, actor),
            1,
            writer.collection.page,
        );
        now_ms = scribe
            .send(now_ms, &by, request, 200, None, String::new())
            .1;
        for _ in 0..scribe.dice.within(2, 20) {
            let n = match usage::mine(scribe, actor, at, now_ms) {
                Some(_) if scribe.dice.chance(0.02) => {
                    scribe.world.collections[at].objects.len() as i64 + scribe.dice.within(1, 900)
                }
                Some(n) => i64::from(n),
                None => break,
            };
            agent_read(scribe, &by, at, n, now_ms);
            now_ms += scribe.dice.within(30, 700);
        }
        now_ms += (scribe.dice.lognormal(7.0, 0.8) * SECOND as f64) as i64;
    }
}
