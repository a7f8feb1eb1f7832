//! Kinds that are not plain reading: oracles, agents, functions, probing.

use super::Stage;
use crate::api::{Place, Policy};
use crate::dice::fold;
use crate::ids::{self, Scheme};
use crate::people::{Role, SECOND};
use crate::request::{self, Door, Verb};
use crate::scribe::Caller;
use crate::{services, usage};

/// Any person, and the API.
fn anyone(stage: &mut Stage<'_>) -> Option<(u32, usize)> {
    let api = stage.dice().below(64) % stage.world.apis.len();
    Some((stage.person(api)?, api))
}

fn oracle(stage: &mut Stage<'_>, verb: Verb) -> Option<()> {
    let (attacker, at) = anyone(stage)?;
    let world = stage.world;
    let api = &world.apis[at];
    let n = stage.amount();
    let times = stage.times(attacker, n);
    let accounts = &world.collections[api.accounts].objects;
    for now_ms in times {
        let is_hit = stage
            .dice()
            .chance(if verb == Verb::Coupon { 0.05 } else { 0.5 });
        let value = match (verb, is_hit) {
            (Verb::Coupon, _) => usage::code(&mut stage.scribe, api.accounts),
            (_, true) => {
                let owner = stage.dice().pick(accounts).owner;
                usage::mail(&mut stage.scribe, owner)
            }
            _ => {
                let unknown = 500_000 + stage.dice().below(90_000) as u32;
                format!(
                    "{}@{}",
                    ids::person(7, i64::from(unknown)),
                    api.host.replace("api.", "").replace("gw.", "")
                )
            }
        };
        let status = if is_hit { 200 } else { api.oracle_miss };
        let request = request::oracle(api, world.version(attacker, now_ms), verb, &value);
        stage.send(now_ms, attacker, request, status, format!("value:{value}"));
    }
    Some(())
}

pub(super) fn emails(stage: &mut Stage<'_>) -> Option<()> {
    oracle(stage, Verb::Lookup)
}

pub(super) fn resets(stage: &mut Stage<'_>) -> Option<()> {
    oracle(stage, Verb::Reset)
}

pub(super) fn coupons(stage: &mut Stage<'_>) -> Option<()> {
    oracle(stage, Verb::Coupon)
}

/// Moments of an agent's calls: in bursts, fewer and farther apart by band.
fn agent_times(stage: &mut Stage<'_>, n: usize) -> Vec<i64> {
    let (size, gap_s) = stage.by_band([(100, 60), (25, 1200), (8, 7200), (3, 14_000), (1, 30_000)]);
    let mut now_ms = stage.from_ms;
    let mut times = Vec::with_capacity(n);
    while times.len() < n && now_ms < stage.world.end_ms {
        for _ in 0..size {
            times.push(now_ms);
            now_ms += stage.dice().within(80, 1500);
        }
        now_ms += gap_s * stage.dice().within(600, 1400);
    }
    times.truncate(n);
    times
}

pub(super) fn rogue_agent(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.open(|collection| !collection.is_accounts)?;
    let from_ms = stage.from_ms;
    let agent = stage.someone(stage.world.collections[at].api, |actor| {
        actor.role == Role::Agent && actor.joined_ms < from_ms
    })?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(agent, at, n), agent_times(stage, n));
    let calls = services::agent_caller(&mut stage.scribe, agent, from_ms);
    for (number, now_ms) in numbers.iter().zip(&times) {
        let by = Caller {
            session: calls.session,
            ..stage.caller(agent, *now_ms)
        };
        services::agent_read(&mut stage.scribe, &by, at, *number, *now_ms);
    }
    Some(())
}

pub(super) fn tool_crawl(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.field(|_| true)?;
    let api = &stage.world.apis[stage.world.collections[at].api];
    api.rpc?;
    let from_ms = stage.from_ms;
    let agent = stage.someone(stage.world.collections[at].api, |actor| {
        actor.role == Role::Agent && actor.joined_ms < from_ms
    })?;
    let names = [
        "list_users",
        "run_sql",
        "read_env",
        "delete_all",
        "get_secrets",
        "exec",
        "export_all",
        "admin_login",
        "set_role",
        "debug_dump",
        "list_tools",
        "http_get",
    ];
    let n = stage.amount().min(60);
    let session = services::agent_caller(&mut stage.scribe, agent, from_ms).session;
    for (nth, now_ms) in agent_times(stage, n).into_iter().enumerate() {
        let by = Caller {
            session,
            ..stage.caller(agent, now_ms)
        };
        let mut writer = stage.scribe.writer(&by, at, now_ms);
        writer.door = Door::Rpc(nth as u64 + 1);
        let name = format!(
            "{}{}",
            names[nth % names.len()],
            if nth < names.len() {
                String::new()
            } else {
                format!("_{}", nth / names.len())
            }
        );
        let request = writer.named_tool(&name);
        stage
            .scribe
            .send(now_ms, &by, request, 200, None, String::new());
    }
    Some(())
}

pub(super) fn functions(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) = anyone(stage)?;
    let accounts = stage.world.apis[at].accounts;
    let n = (stage.amount() / 3).max(3);
    let (numbers, times) = (
        stage.strangers(attacker, accounts, n),
        stage.times(attacker, n),
    );
    let status = if stage.world.collections[accounts].policy_writes == Policy::Open {
        200
    } else {
        403
    };
    for (nth, (number, now_ms)) in numbers.iter().zip(&times).enumerate() {
        let by = stage.caller(attacker, *now_ms);
        let writer = stage.scribe.writer(&by, accounts, *now_ms);
        let id = writer.id(*number);
        let request = writer.staff(&id, nth);
        stage.send(
            *now_ms,
            attacker,
            request,
            status,
            writer.collection.label(&id),
        );
    }
    Some(())
}

pub(super) fn methods(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.field(|collection| collection.place != Place::Graph)?;
    let attacker = stage.person(stage.world.collections[at].api)?;
    let n = (stage.amount() / 4).max(3);
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    for (number, now_ms) in numbers.iter().zip(&times) {
        let by = stage.caller(attacker, *now_ms);
        let writer = stage.scribe.writer(&by, at, *now_ms);
        let id = writer.id(*number);
        let target = writer
            .read(&id, stage.world.tenant_of(at, *number, attacker))
            .target;
        let method = *stage
            .dice()
            .pick(&["PUT", "DELETE", "TRACE", "OPTIONS", "PATCH", "PROPFIND"]);
        let status = *stage.dice().pick(&[405, 405, 403, 200, 404]);
        let request = request::any(writer.api, method, Verb::Probe, target);
        stage.send(
            *now_ms,
            attacker,
            request,
            status,
            writer.collection.label(&id),
        );
    }
    Some(())
}

const PATHS: [&str; 40] = [
    "/.env",
    "/.git/config",
    "/.git/HEAD",
    "/actuator",
    "/actuator/env",
    "/actuator/heapdump",
    "/metrics",
    "/debug/pprof",
    "/debug/vars",
    "/swagger.json",
    "/swagger-ui.html",
    "/openapi.json",
    "/v2/api-docs",
    "/admin",
    "/admin/users",
    "/internal/config",
    "/config.json",
    "/config.php",
    "/phpinfo.php",
    "/server-status",
    "/console",
    "/h2-console",
    "/jolokia/list",
    "/graphiql",
    "/trace",
    "/env",
    "/backup.zip",
    "/db.sql",
    "/.aws/credentials",
    "/.DS_Store",
    "/web.config",
    "/wp-login.php",
    "/manage/health",
    "/api/internal/users",
    "/api/debug",
    "/api/admin/settings",
    "/_debug",
    "/status?full=1",
    "/robots.txt",
    "/.well-known/security.txt",
];

fn probe(stage: &mut Stage<'_>, n: usize) -> Option<()> {
    let (attacker, at) = anyone(stage)?;
    let times = stage.times(attacker, n);
    let mut paths = PATHS;
    stage.dice().shuffle(&mut paths);
    for (nth, now_ms) in times.iter().enumerate() {
        let path = paths[nth % paths.len()];
        let path = match nth / paths.len() {
            0 => path.to_owned(),
            1 => format!("{}{path}", stage.world.apis[at].base(2)),
            round => format!(
                "{path}.{}",
                ["bak", "old", "txt", "json", "1", "save", "orig", "swp"][round % 8]
            ),
        };
        let status = *stage.dice().pick(&[404, 404, 404, 404, 404, 403, 401, 200]);
        let request = request::any(&stage.world.apis[at], "GET", Verb::Probe, path);
        stage.send(*now_ms, attacker, request, status, String::new());
    }
    Some(())
}

pub(super) fn paths(stage: &mut Stage<'_>) -> Option<()> {
    let n = stage.amount();
    probe(stage, n)
}

pub(super) fn quiet_paths(stage: &mut Stage<'_>) -> Option<()> {
    let n = stage.amount().min(40);
    probe(stage, n)
}

pub(super) fn versions(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.field(|collection| {
        collection.policy != Policy::Open && matches!(collection.place, Place::Path | Place::Nested)
    })?;
    let api = &stage.world.apis[stage.world.collections[at].api];
    if !api.base.contains("{v}") {
        return None;
    }
    let attacker = stage.person(stage.world.collections[at].api)?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    for (nth, (number, now_ms)) in numbers.iter().zip(&times).enumerate() {
        if nth < 3 {
            stage.reads(attacker, Verb::Read, at, &[*number], &[*now_ms]);
            continue;
        }
        let by = stage.caller(attacker, *now_ms);
        let mut writer = stage.scribe.writer(&by, at, *now_ms);
        writer.door = Door::Version(1);
        let id = writer.id(*number);
        let request = writer.read(&id, stage.world.tenant_of(at, *number, attacker));
        stage.send(
            *now_ms,
            attacker,
            request,
            200,
            writer.collection.label(&id),
        );
    }
    Some(())
}

pub(super) fn polluted(stage: &mut Stage<'_>) -> Option<()> {
    let (attacker, at) =
        stage.pair(|collection| matches!(collection.place, Place::Path | Place::Nested))?;
    let n = stage.amount();
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    for (number, now_ms) in numbers.iter().zip(&times) {
        let Some(own) = usage::mine(&mut stage.scribe, attacker, at, *now_ms) else {
            continue;
        };
        let by = stage.caller(attacker, *now_ms);
        let writer = stage.scribe.writer(&by, at, *now_ms);
        let (own, id) = (writer.id(i64::from(own)), writer.id(*number));
        let mut request = writer.read(&own, stage.world.tenant_of(at, *number, attacker));
        request.target = format!(
            "{}?{}_id={}",
            request.target,
            writer.collection.noun,
            request::escape(&id)
        );
        stage.scribe.touch_with(*now_ms, &by, request, *number);
    }
    Some(())
}

pub(super) fn normalised(stage: &mut Stage<'_>) -> Option<()> {
    let at = stage.field(|collection| {
        matches!(collection.place, Place::Path | Place::Nested)
            && !matches!(collection.scheme, Scheme::Email { .. })
    })?;
    let attacker = stage.person(stage.world.collections[at].api)?;
    let n = (stage.amount() / 3).max(4);
    let (numbers, times) = (stage.strangers(attacker, at, n), stage.times(attacker, n));
    let salt = stage.dice().bits();
    for (nth, (number, now_ms)) in numbers.iter().zip(&times).enumerate() {
        let by = stage.caller(attacker, *now_ms - SECOND);
        let writer = stage.scribe.writer(&by, at, *now_ms);
        let id = writer.id(*number);
        let mut request = writer.read(&id, stage.world.tenant_of(at, *number, attacker));
        let slash = request.target.rfind('/').unwrap_or(0);
        let (before, after) = (&request.target[..slash], &request.target[slash + 1..]);
        request.target = match fold(&[salt, nth as u64]) % 6 {
            0 => format!("{before}//{after}"),
            1 => format!("{before}/./{after}"),
            2 => format!("{before}/x/..;/{after}"),
            3 => format!("{before}/%2e/{after}"),
            4 => format!("{before}/{after}.json"),
            _ => format!("{before}/{after}%2f"),
        };
        let status = *stage.dice().pick(&[404, 404, 400, 403, 200]);
        request.verb = Verb::Probe;
        stage.send(
            *now_ms,
            attacker,
            request,
            status,
            writer.collection.label(&id),
        );
    }
    Some(())
}
