//! The kinds of attack, one function each: whom, what, when.

use super::Kind;
use super::stage::Stage;
use crate::api::{Collection, Place, Policy};
use crate::dice::fold;
use crate::ids::{self, Scheme};
use crate::people::{HOUR, MINUTE, Role, SECOND, residential};
use crate::request::{self, Door, Verb};
use crate::scribe::Caller;
use crate::services;
use crate::usage;
use crate::world::NOBODY;

mod others;

macro_rules! kind {
    ($run:path, $name:literal, $family:literal, $low:literal..=$high:literal, $what:literal) => {
        Kind {
            name: $name,
            family: $family,
            bands: ($low, $high),
            what: $what,
            run: $run,
        }
    };
}

/// Every kind.
pub static KINDS: [Kind; 46] = [
    kind!(
        sequential,
        "sequential",
        "bola",
        1..=5,
        "reads neighbouring ids upwards"
    ),
    kind!(
        descending,
        "descending",
        "bola",
        1..=5,
        "reads neighbouring ids downwards"
    ),
    kind!(strided, "strided", "bola", 1..=5, "reads every k-th id"),
    kind!(
        shuffled,
        "shuffled",
        "bola",
        1..=5,
        "reads a block of ids in random order"
    ),
    kind!(
        sparse,
        "sparse",
        "bola",
        1..=5,
        "reads random ids of the whole range, some of which do not exist"
    ),
    kind!(
        bisect,
        "bisect",
        "bola",
        1..=3,
        "finds the end of the ids by doubling and halving, then reads the newest"
    ),
    kind!(
        cadence,
        "cadence",
        "bola",
        3..=5,
        "reads one object an hour or a day at an even pace"
    ),
    kind!(ramp, "ramp", "bola", 2..=5, "reads more every day"),
    kind!(
        low_and_slow,
        "low_and_slow",
        "bola",
        3..=5,
        "reads a few objects every day"
    ),
    kind!(
        hidden,
        "hidden",
        "bola",
        3..=5,
        "mixes single foreign reads into every one of the own sessions"
    ),
    kind!(night, "night", "bola", 2..=4, "reads at night only"),
    kind!(
        bursts,
        "bursts",
        "bola",
        1..=3,
        "reads in short bursts with hours between"
    ),
    kind!(
        leaked,
        "leaked_ids",
        "bola",
        1..=5,
        "reads objects whose ids can't be guessed, from a leaked list"
    ),
    kind!(
        distributed,
        "distributed",
        "bola",
        1..=5,
        "shares a block of ids among several accounts"
    ),
    kind!(
        rotating_tokens,
        "rotating_tokens",
        "bola",
        2..=5,
        "takes a new token every few calls"
    ),
    kind!(
        rotating_addresses,
        "rotating_addresses",
        "bola",
        1..=5,
        "calls from a new address every few calls"
    ),
    kind!(
        stolen_session,
        "stolen_session",
        "bola",
        2..=5,
        "uses the token of one with many objects on another machine"
    ),
    kind!(
        insider,
        "insider_support",
        "bola",
        2..=5,
        "support reads customers without a ticket"
    ),
    kind!(
        cross_tenant,
        "cross_tenant",
        "bola",
        1..=5,
        "reads objects of one other tenant"
    ),
    kind!(
        denied_then_allowed,
        "denied_then_allowed",
        "bola",
        1..=4,
        "is refused on objects, then reads their parts"
    ),
    kind!(
        writes,
        "write_others",
        "bola",
        2..=5,
        "changes and deletes others' objects"
    ),
    kind!(
        harvest,
        "harvest",
        "bola",
        1..=5,
        "takes ids out of lists and searches, then fetches them"
    ),
    kind!(
        batches,
        "batch_ids",
        "bola",
        1..=4,
        "reads several foreign ids a request"
    ),
    kind!(
        paging,
        "paging",
        "bola",
        1..=4,
        "pages through a list that shows everyone's objects"
    ),
    kind!(
        exports,
        "export_scrape",
        "bola",
        1..=5,
        "fetches others' printed forms"
    ),
    kind!(
        nested,
        "nested_tampering",
        "bola",
        1..=5,
        "names others' objects below the own tenant"
    ),
    kind!(
        others::emails,
        "email_enumeration",
        "oracle",
        1..=5,
        "asks which addresses have accounts"
    ),
    kind!(
        others::resets,
        "reset_enumeration",
        "oracle",
        1..=5,
        "asks for others' new passwords"
    ),
    kind!(
        others::coupons,
        "coupon_guessing",
        "oracle",
        1..=5,
        "tries codes"
    ),
    kind!(
        others::rogue_agent,
        "rogue_agent",
        "agent",
        1..=5,
        "an AI agent reads beyond its user"
    ),
    kind!(
        others::tool_crawl,
        "tool_crawl",
        "agent",
        1..=5,
        "an AI agent calls tools it was never shown"
    ),
    kind!(
        new_account,
        "new_account",
        "bola",
        1..=4,
        "enumerates from the account's first minutes on"
    ),
    kind!(
        warm_up,
        "warm_up",
        "bola",
        1..=5,
        "begins within the first hours of the log"
    ),
    kind!(
        rare,
        "rare_collection",
        "bola",
        1..=5,
        "reads the collection that fewest people use"
    ),
    kind!(
        others::functions,
        "staff_functions",
        "bfla",
        1..=5,
        "calls functions that only staff calls"
    ),
    kind!(
        others::methods,
        "method_tampering",
        "bfla",
        1..=5,
        "sends methods that no client sends"
    ),
    kind!(
        others::paths,
        "path_probing",
        "probing",
        1..=2,
        "asks for configuration, debug and admin paths, fast"
    ),
    kind!(
        others::quiet_paths,
        "quiet_probing",
        "probing",
        3..=5,
        "asks for such paths now and then"
    ),
    kind!(
        others::versions,
        "version_walking",
        "bola",
        1..=4,
        "asks the old version for what the new one refuses"
    ),
    kind!(
        others::polluted,
        "polluted_ids",
        "bola",
        2..=5,
        "names the own object in the path and another's in the query"
    ),
    kind!(
        others::normalised,
        "path_tricks",
        "probing",
        1..=4,
        "writes others' paths with dots, slashes and percents"
    ),
    kind!(
        befriended,
        "befriended",
        "bola",
        3..=5,
        "two accounts visit each other for days, then the same victims"
    ),
    kind!(
        first_toucher,
        "first_toucher",
        "bola",
        3..=5,
        "reads new objects before their owners do"
    ),
    kind!(
        neighbours,
        "time_neighbours",
        "bola",
        1..=4,
        "guesses ids around the own by their time"
    ),
    kind!(
        graph,
        "graphql_nodes",
        "bola",
        1..=5,
        "asks GraphQL for others' nodes"
    ),
    kind!(
        single,
        "single_victim",
        "bola",
        4..=5,
        "comes back to a few objects of one person"
    ),
];

fn counts(collection: &Collection) -> bool {
    collection.scheme.is_guessable() && collection.scheme_after.is_none()
}

/// Reads these numbers of a collection in the band's pace.
fn enumerate(
    stage: &mut Stage<'_>,
    order: fn(&mut Stage<'_>, usize, usize) -> Vec<i64>,
) -> Option<()> {
    let (attacker, at) = stage.pair(counts)?;
    let n = stage.amount();
    let numbers = order(stage, at, n);
    let times = stage.times(attacker, n);
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn sequential(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| stage.block(at, n, 1))
}

fn descending(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| {
        stage.block(at, n, 1).into_iter().rev().collect()
    })
}

fn strided(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| {
        let stride = stage.dice().within(2, 37);
        stage.block(at, n, stride)
    })
}

fn shuffled(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| {
        let mut numbers = stage.block(at, n, 1);
        stage.dice().shuffle(&mut numbers);
        numbers
    })
}

fn sparse(stage: &mut Stage<'_>) -> Option<()> {
    enumerate(stage, |stage, at, n| {
        let n_objects = stage.world.collections[at].objects.len();
        (0..n)
            .map(|_| stage.dice().below(n_objects + n_objects / 8) as i64)
            .collect()
    })
}

fn bisect(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(counts)?;
    let n_objects = stage.world.collections[at].objects.len() as i64;
    let n = stage.amount();
    let (mut low, mut step) = (stage.dice().within(0, n_objects / 2), 1);
    let mut numbers = vec![low];
    while low + step < n_objects {
        low += step;
        step *= 2;
        numbers.push(low);
    }
    while step > 1 {
        numbers.push(low + step);
        step /= 2;
        if low + step < n_objects {
            low += step;
        }
    }
    numbers.extend((0..n as i64).map(|nth| low - nth).filter(|n| *n >= 0));
    let times = stage.times(attacker, numbers.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn cadence(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(counts)?;
    let (low, high) = stage.by_band([
        (0, 0),
        (0, 0),
        (20 * MINUTE, HOUR),
        (HOUR, 4 * HOUR),
        (8 * HOUR, 24 * HOUR),
    ]);
    let gap_ms = stage.dice().within(low, high);
    let n = stage.amount();
    let numbers = stage.block(at, n, 1);
    let times = stage.cadence(n, gap_ms);
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn ramp(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let (base, growth) = stage.by_band([(8, 3.0), (4, 2.6), (2, 2.2), (1, 1.7), (1, 1.25)]);
    let times = stage.daily(attacker, |nth| {
        (f64::from(base) * f64::powi(growth, nth as i32)).min(400.0) as usize
    });
    let numbers = stage.strangers(attacker, at, times.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn low_and_slow(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let per_day = stage.by_band([40, 20, 10, 4, 2]);
    let times = stage.daily(attacker, |_| per_day);
    let numbers = stage.strangers(attacker, at, times.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn hidden(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let per_session = stage.by_band([0, 0, 4, 2, 1]);
    let mut times = Vec::new();
    for start_ms in stage.sessions(attacker) {
        for _ in 0..per_session {
            times.push(start_ms + stage.dice().within(20 * SECOND, 4 * MINUTE));
        }
    }
    let numbers = stage.strangers(attacker, at, times.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn night(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let zone_ms = stage.world.actors[attacker as usize].zone_ms;
    let n = stage.amount();
    let per_night = stage.by_band([200, 60, 12, 5, 2]);
    let first_ms = stage.from_ms - (stage.from_ms + zone_ms).rem_euclid(24 * HOUR) + 24 * HOUR;
    let times: Vec<i64> = (0..n)
        .map(|nth| {
            let night_ms = first_ms + (nth / per_night) as i64 * 24 * HOUR;
            night_ms + HOUR + stage.dice().within(0, 3 * HOUR)
        })
        .collect();
    let numbers = stage.strangers(attacker, at, times.len());
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn bursts(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|_| true)?;
    let (n, size) = (stage.amount(), stage.by_band([60, 25, 10, 5, 3]));
    let gap_ms = stage.dice().within(HOUR, 3 * HOUR);
    let from_ms = stage.from_ms;
    let times: Vec<i64> = (0..n)
        .map(|nth| from_ms + (nth / size) as i64 * gap_ms + stage.dice().within(0, 20 * SECOND))
        .collect();
    let numbers = stage.strangers(attacker, at, n);
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn leaked(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) =
        stage.pair(|collection| !collection.scheme.is_guessable() && !collection.is_accounts)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn distributed(stage: &mut Stage<'_>) -> Option<()> {
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

fn rotating_tokens(stage: &mut Stage<'_>) -> Option<()> {
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

fn rotating_addresses(stage: &mut Stage<'_>) -> Option<()> {
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

fn stolen_session(stage: &mut Stage<'_>) -> Option<()> {
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

fn insider(stage: &mut Stage<'_>) -> Option<()> {
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

fn cross_tenant(stage: &mut Stage<'_>) -> Option<()> {
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
    let victim = *stage.dice().pick(&victims);
    let mut numbers: Vec<i64> = world.tenants[victim]
        .members
        .iter()
        .flat_map(|member| world.own(*member, at))
        .map(|n| i64::from(*n))
        .collect();
    stage.dice().shuffle(&mut numbers);
    let n = stage.amount().min(numbers.len());
    let times = stage.times(attacker, n);
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn denied_then_allowed(stage: &mut Stage<'_>) -> Option<()> {
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

fn writes(stage: &mut Stage<'_>) -> Option<()> {
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

fn harvest(stage: &mut Stage<'_>) -> Option<()> {
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

fn batches(stage: &mut Stage<'_>) -> Option<()> {
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

fn paging(stage: &mut Stage<'_>) -> Option<()> {
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

fn exports(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.field(|collection| {
        collection.policy_parts == Policy::Open && collection.place != Place::Graph
    })?;
    let attacker = stage.person(stage.world.collections[at].api)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    stage.reads(attacker, Verb::Export, at, &numbers, &times);
    Some(())
}

fn nested(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|collection| collection.place == Place::Nested)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    let tenant = stage.world.tenant_of(at, -1, attacker).to_owned();
    for (number, now_ms) in numbers.iter().zip(&times) {
        let by = stage.caller(attacker, *now_ms);
        let writer = stage.scribe.writer(&by, at, *now_ms);
        let request = writer.read(
            &writer.collection.id(*number, writer.api.release_ms),
            &tenant,
        );
        stage.scribe.touch_with(*now_ms, &by, request, *number);
    }
    Some(())
}

fn new_account(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.open(counts)?;
    let world = stage.world;
    let attacker = stage.someone(world.collections[at].api, |actor| {
        actor.role == Role::Newcomer
            && actor.joined_ms < world.end_ms - 30 * HOUR
            && actor.joined_ms > world.start_ms
    })?;
    stage.from_ms = world.actors[attacker as usize].joined_ms;
    let n = stage.amount();
    let (numbers, times) = (stage.block(at, n, 1), stage.times(attacker, n));
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn warm_up(stage: &mut Stage<'_>) -> Option<()> {
    stage.from_ms = stage.world.start_ms + stage.scribe.dice.within(0, 6 * HOUR);
    let (attacker, at) = stage.pair(|_| true)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn rare(stage: &mut Stage<'_>) -> Option<()> {
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

fn befriended(stage: &mut Stage<'_>) -> Option<()> {
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

fn first_toucher(stage: &mut Stage<'_>) -> Option<()> {
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

fn neighbours(stage: &mut Stage<'_>) -> Option<()> {
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
        stage.send(
            *now_ms,
            attacker,
            request,
            status,
            format!("{}:{id}", collection.name),
        );
    }
    Some(())
}

fn graph(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = stage.pair(|collection| collection.place == Place::Graph)?;
    stage.needs_bodies(at);
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    stage.reads(attacker, Verb::Read, at, &numbers, &times);
    Some(())
}

fn single(stage: &mut Stage<'_>) -> Option<()> {
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
