//! The kinds of faults, in the order of the checks that tell them.

use super::sower::{Sower, Who};
use super::{Kind, Line};
use crate::api::Sharing;
use crate::dice::fold;
use crate::ids;

const SECOND: i64 = 1000;
const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
/// Bursts at a login, and calls of each within a minute: a limit would be met.
const BURSTS: usize = 9;
const BURST: i64 = 170;

/// What is true of every endpoint of a world, but for the healthy ones that are told: nothing limits callers or pages, and old
/// versions answer on.
pub(super) const TRUE_ELSEWHERE: [&str; 3] =
    ["no_rate_limit", "unbounded_page", "old_version_in_use"];

const fn kind(
    check: &'static str,
    also: &'static [&'static str],
    sow: fn(&mut Sower<'_>, bool) -> Option<String>,
) -> Kind {
    Kind { check, also, sow }
}

/// Strangers who are let in are that, however few.
const LET_IN: &[&str] = &["auth_missing", "auth_mixed", "auth_dropped"];

/// Statuses that the gateway does not log, and a header that names the software: of every line, not sown.
pub(super) const LOG_GAP: Kind = kind("log_gap", &[], |_, _| None);
pub(super) const VERSION: Kind = kind("version_disclosed", &[], |_, _| None);

/// Versions of a route: sown where the log is long enough to tell a migration from its end.
pub(super) const SUPERSEDED: Kind = kind("old_version_in_use", &[], superseded);
pub(super) const SUPERSEDED_DAYS: usize = 9;

/// Kinds that are sown.
pub(super) const KINDS: [Kind; 32] = [
    kind("auth_missing", &[], auth_missing),
    kind("auth_mixed", LET_IN, auth_mixed),
    kind("auth_dropped", LET_IN, auth_dropped),
    kind("token_out_of_time", &[], expired),
    kind("token_unsigned", &["token_algorithm"], unsigned),
    kind("token_algorithm", &[], algorithm),
    kind("token_lifetime", &[], lifetime),
    kind("token_claims", &[], claims),
    kind("basic_auth", &[], basic),
    kind("secret_in_url", &[], secret_in_url),
    kind("plaintext_http", &[], plaintext),
    kind("old_tls", &[], old_tls),
    kind("certificate_optional", LET_IN, certificate),
    kind("cors_any_origin", &[], cors),
    kind("verbose_error", &[], verbose),
    kind("unhandled_error", &[], unhandled),
    kind("management_open", LET_IN, management),
    kind("console_open", LET_IN, console),
    kind("graphql_open", &[], graphql),
    kind("method_open", LET_IN, trace),
    kind("method_open", &[], overridden),
    kind("content_type_loose", &[], loose),
    kind("directory_listing", LET_IN, listing),
    kind("no_rate_limit", &[], rate),
    kind("forwarded_believed", &[], forwarded),
    kind("shared_credential", &["basic_auth"], shared),
    kind("old_version_in_use", &[], rehearsal),
    kind("internal_route_open", &[], internal),
    kind("sensitive_open", LET_IN, sensitive),
    kind("unbounded_page", &[], page),
    kind("respelled_path", &[], respelled),
    kind("agent_protocol_open", LET_IN, agent_protocol),
];

/// What a service answers where the fault lets callers in and its twin does not.
const fn refused(is_faulty: bool, otherwise: u16) -> u16 {
    if is_faulty { 200 } else { otherwise }
}

fn auth_missing(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("quotes");
    s.each(70, Who::Stranger, &path, |line, _| {
        line.status = refused(is_faulty, 401)
    });
    if !is_faulty {
        s.each(40, Who::Person, &path, |_, _| ());
    }
    Some(s.key("GET", &path))
}

fn auth_mixed(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("forecasts");
    s.each(160, Who::Person, &path, |_, _| ());
    s.each(12, Who::Stranger, &path, |line, nth| {
        line.status = refused(is_faulty && nth % 2 == 0, 401);
    });
    Some(s.key("GET", &path))
}

fn auth_dropped(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("allotments");
    s.each(420, Who::Person, &path, |_, _| ());
    for end_ms in s.moments(16, 0.6, 1.0) {
        let mut line = s.line(Who::Stranger, end_ms, &path);
        line.status = refused(is_faulty, 401);
        s.lines.push(line);
    }
    Some(s.key("GET", &path))
}

/// A token as partners send it.
#[derive(Clone, Copy)]
struct Token {
    algorithm: &'static str,
    age_s: i64,
    lifetime_s: i64,
    claims: &'static str,
}

const SOUND: Token = Token {
    algorithm: "RS256",
    age_s: 60,
    lifetime_s: HOUR_S,
    claims: r#""aud":"partners","scope":"feed.read","#,
};

impl Token {
    fn header(self, line: &Line, nth: usize) -> String {
        let issued_s = line.end_ms / SECOND - self.age_s;
        let claims = format!(
            r#"{{"iss":"https://id.{}",{}"sub":"partner-{}","iat":{issued_s},"exp":{}}}"#,
            line.host,
            self.claims,
            nth % 5,
            issued_s + self.lifetime_s
        );
        let signature = match self.algorithm {
            "none" => String::new(),
            _ => ids::base62(fold(&[nth as u64]), fold(&[nth as u64, 1]), 43),
        };
        let head = format!(r#"{{"alg":"{}","typ":"JWT"}}"#, self.algorithm);
        format!(
            "Bearer {}.{}.{signature}",
            base64(head.as_bytes(), true),
            base64(claims.as_bytes(), true)
        )
    }
}

/// Partners' calls with such tokens, and with sound ones beside them.
fn tokens(s: &mut Sower<'_>, (name, n): (&str, usize), token: Token, status: u16) -> String {
    let path = s.path(name);
    s.each(n, Who::Stranger, &path, |line, nth| {
        line.authorization = token.header(line, nth);
        line.status = status;
    });
    s.each(25, Who::Stranger, &path, |line, nth| {
        line.authorization = SOUND.header(line, nth)
    });
    path
}

fn expired(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let token = Token {
        age_s: 3 * HOUR_S,
        ..SOUND
    };
    let path = tokens(s, ("partner-feed", 8), token, refused(is_faulty, 401));
    Some(s.key("GET", &path))
}

fn unsigned(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let token = Token {
        algorithm: "none",
        ..SOUND
    };
    let path = tokens(s, ("partner-stock", 4), token, refused(is_faulty, 401));
    Some(s.key("GET", &path))
}

fn of_host(s: &mut Sower<'_>, name: &str, token: Token) -> Option<String> {
    tokens(s, (name, 40), token, 200);
    Some(s.api().host.clone())
}

fn algorithm(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let algorithm = if is_faulty { "RS1" } else { "ES256" };
    of_host(s, "partner-news", Token { algorithm, ..SOUND })
}

fn lifetime(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let lifetime_s = if is_faulty { 90 * DAY_S } else { HOUR_S / 4 };
    of_host(
        s,
        "partner-rates",
        Token {
            lifetime_s,
            ..SOUND
        },
    )
}

fn claims(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let claims = if is_faulty {
        r#""scope":"*","#
    } else {
        SOUND.claims
    };
    of_host(s, "partner-terms", Token { claims, ..SOUND })
}

fn basic(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("legacy-sync");
    s.each(30, Who::Stranger, &path, |line, nth| {
        line.authorization = password(&format!("depot-{}", nth % 6));
        line.status = refused(is_faulty, 401);
    });
    Some(s.api().host.clone())
}

fn password(user: &str) -> String {
    format!(
        "Basic {}",
        base64(format!("{user}:tide-and-timber").as_bytes(), false)
    )
}

fn secret_in_url(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("downloads");
    let template = format!("{path}/{{id}}");
    s.each(25, Who::Stranger, &path, |line, nth| {
        let key = ids::base62(fold(&[nth as u64, 5]), fold(&[nth as u64, 6]), 32);
        line.target = format!("{path}/{}?access_token={key}", 4000 + 7 * nth);
        line.template = Some(template.clone());
        line.status = refused(is_faulty, 401);
    });
    Some(s.key("GET", &template))
}

fn plaintext(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("rates");
    s.each(30, Who::Person, &path, |line, _| {
        line.scheme = "http";
        line.tls = "";
        line.status = refused(is_faulty, 301);
    });
    Some(s.api().host.clone())
}

fn old_tls(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("rates");
    s.each(10, Who::Person, &path, |line, _| {
        line.tls = if is_faulty { "TLSv1.1" } else { "TLSv1.2" };
    });
    Some(s.api().host.clone())
}

fn certificate(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("clearing-feed");
    s.each(200, Who::Stranger, &path, |line, nth| {
        line.certificate = format!("CN=branch-{},O=Example", nth % 7);
    });
    s.each(2, Who::Stranger, &path, |line, _| {
        line.status = refused(is_faulty, 400)
    });
    Some(s.key("GET", &path))
}

fn cors(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("rates");
    let own = format!("https://app.{}", s.api().host);
    s.each(16, Who::Person, &path, |line, nth| {
        line.origin = match (is_faulty, nth % 8) {
            (true, _) => format!("https://page.site{}.example", nth % 12),
            (false, 0) => "https://shop.partner-one.example".to_owned(),
            (false, 1) => "https://desk.partner-two.example".to_owned(),
            _ => own.clone(),
        };
        line.cors = format!("{}|true", line.origin);
    });
    Some(s.api().host.clone())
}

fn verbose(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("tariffs");
    s.each(60, Who::Person, &path, |line, nth| match nth % 20 {
        0 => {
            line.status = 500;
            line.sent_type = if is_faulty {
                "text/html; charset=utf-8"
            } else {
                "application/problem+json"
            };
        }
        // The gateway's own page.
        1 => {
            line.status = 502;
            line.sent_type = "text/html";
        }
        _ => (),
    });
    Some(s.key("GET", &path))
}

fn unhandled(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("measures");
    s.each(160, Who::Person, &format!("{path}?unit=kg"), |_, _| ());
    s.each(4, Who::Person, &path, |line, nth| {
        let input = [
            "1%27%20OR%20%271%27%3D%271",
            "%3Cscript%3Ealert(1)%3C/script%3E",
            "..%2f..%2fetc%2fpasswd",
        ];
        line.target = format!("{path}?unit={}", input[nth % input.len()]);
        line.status = if is_faulty { 500 } else { 400 };
    });
    Some(s.key("GET", &path))
}

fn management(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    s.hide("/actuator/env");
    s.each(3, Who::Stranger, "/actuator/env", |line, _| {
        line.status = refused(is_faulty, 403)
    });
    s.each(5, Who::Stranger, "/", |line, nth| {
        let others = [
            "/actuator/heapdump",
            "/.git/config",
            "/.env",
            "/debug/pprof/heap",
            "/server-status",
        ];
        line.target = others[nth % others.len()].to_owned();
        line.template = Some(line.target.clone());
        line.status = 404;
    });
    Some(s.key("GET", "/actuator/env"))
}

fn console(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    s.hide("/openapi.json");
    s.each(4, Who::Stranger, "/openapi.json", |line, _| {
        line.status = refused(is_faulty, 401)
    });
    Some(s.key("GET", "/openapi.json"))
}

fn graphql(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let graph = s.api().graph.filter(|_| s.api().has_bodies)?;
    s.each(4, Who::Person, graph, |line, _| {
        line.method = "POST";
        line.content_type = "application/json";
        line.body = r#"{"operationName":"IntrospectionQuery","query":"query IntrospectionQuery { __schema { types { name fields { name } } } }"}"#.to_owned();
        line.bytes = if is_faulty { 48_000 } else { 170 };
    });
    Some(s.key("POST", graph))
}

fn trace(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("rates");
    s.each(4, Who::Stranger, &path, |line, _| {
        line.method = "TRACE";
        line.status = refused(is_faulty, 405);
    });
    Some(s.key("TRACE", &path))
}

fn overridden(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("drafts");
    let template = format!("{path}/{{id}}");
    s.each(5, Who::Person, &path, |line, nth| {
        line.method = "POST";
        line.content_type = "application/json";
        line.target = format!("{path}/{}", 100 + nth);
        line.template = Some(template.clone());
        line.method_override = "DELETE";
        line.status = refused(is_faulty, 405);
    });
    Some(s.key("POST", &template))
}

fn loose(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("intake");
    s.each(64, Who::Person, &path, |line, nth| {
        line.method = "POST";
        line.status = 201;
        line.content_type = "application/json";
        if nth % 16 == 0 {
            line.content_type = "application/x-www-form-urlencoded";
            line.status = if is_faulty { 201 } else { 415 };
        }
    });
    Some(s.key("POST", &path))
}

fn listing(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    s.hide("/files");
    s.each(3, Who::Stranger, "/files/", |line, nth| {
        line.target = format!("/files/?C={};O=A", ["N", "M", "S"][nth % 3]);
        line.template = Some("/files".to_owned());
        line.sent_type = "text/html";
        line.status = refused(is_faulty, 403);
    });
    Some(s.key("GET", "/files"))
}

fn rate(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("login");
    for first_ms in s.moments(BURSTS, 0.0, 1.0).into_iter().take(BURSTS) {
        // Within one minute of the clock.
        let first_ms = first_ms - first_ms.rem_euclid(60 * SECOND);
        let source = s.line(Who::Stranger, first_ms, &path);
        for nth in 0..BURST {
            let mut line = source.clone();
            line.method = "POST";
            line.end_ms = first_ms + nth * 340;
            line.status = if is_faulty || nth < 20 { 401 } else { 429 };
            s.lines.push(line);
        }
    }
    Some(s.key("POST", &path))
}

fn forwarded(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("rates");
    s.each(5, Who::Person, &path, |line, nth| {
        line.peer = format!("203.0.113.{}", 10 + nth % 40);
        if is_faulty {
            line.address = 0x0a01_0203;
        }
    });
    Some("*".to_owned())
}

fn shared(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("label-print");
    let user = format!("printer-{}", s.api().host.replace('.', "-"));
    for (nth, end_ms) in s.moments(70, 0.0, 1.0).into_iter().enumerate() {
        let mut line = s.line(Who::Stranger, end_ms, &path);
        line.authorization = password(&user);
        line.address = s.address(1000 + nth as u64 % if is_faulty { 60 } else { 4 });
        if !is_faulty {
            // A key of one printer, from a few places.
            line.authorization = format!("ApiKey {}", ids::base62(fold(&[nth as u64 % 3]), 9, 30));
        }
        s.lines.push(line);
    }
    Some(if is_faulty { user } else { "*".to_owned() })
}

fn rehearsal(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("rates");
    let host = format!("staging-{}", s.api().host);
    for end_ms in s.moments(30, 0.0, 1.0) {
        let mut line = s.line(Who::Person, end_ms, &path);
        line.host = host.clone();
        if !is_faulty {
            line.address = 0x0a00_0000 + (fold(&[end_ms as u64 % 7]) % (1 << 24)) as u32;
        }
        s.lines.push(line);
    }
    Some(format!("GET {host} {path}"))
}

/// A list in two versions: all but two callers have gone over to the newer one, or hardly any has.
fn superseded(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let api = s.api();
    let (old, new) = (api.base(api.version - 1), s.path("catalogue"));
    let n_people = s.n_people().min(9);
    if !api.base.contains("v{v}") || n_people < 6 {
        return None;
    }
    let old = format!("{old}/catalogue");
    let (n_old, n_new) = if is_faulty {
        (2, n_people)
    } else {
        (n_people, 2)
    };
    for (path, n_callers) in [(&old, n_old), (&new, n_new)] {
        for (nth, end_ms) in s.moments(60, 0.0, 1.0).into_iter().enumerate() {
            let mut line = s.line(Who::Person, end_ms, path);
            line.actor = Some(s.person(nth % n_callers));
            s.lines.push(line);
        }
    }
    s.hide(&old);
    Some(s.key("GET", &old))
}

fn internal(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    s.hide("/internal/jobs");
    s.each(7, Who::Person, "/internal/jobs", |line, _| {
        line.status = refused(is_faulty, 403)
    });
    s.each(30, Who::Inside, "/internal/jobs", |_, _| ());
    Some(s.key("GET", "/internal/jobs"))
}

fn sensitive(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("patients");
    let template = format!("{path}/{{id}}");
    for (n, who, status) in [
        (60, Who::Person, 200),
        (10, Who::Stranger, refused(is_faulty, 401)),
    ] {
        s.each(n, who, &path, |line, nth| {
            line.target = format!("{path}/{}", 70_000 + 13 * nth);
            line.template = Some(template.clone());
            line.status = status;
        });
    }
    Some(s.key("GET", &template))
}

fn page(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("postings");
    s.each(20, Who::Person, &format!("{path}?limit=50"), |_, _| ());
    s.each(
        4,
        Who::Person,
        &format!("{path}?limit=5000"),
        |line, nth| {
            line.bytes = if is_faulty { 700_000 } else { 14_000 } + nth as u64;
        },
    );
    Some(s.key("GET", &path))
}

fn respelled(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = s.path("%2e/rates");
    s.each(6, Who::Person, &path, |line, _| {
        line.template = None;
        line.status = refused(is_faulty, 404);
    });
    Some(s.api().host.clone())
}

fn agent_protocol(s: &mut Sower<'_>, is_faulty: bool) -> Option<String> {
    let path = "/assistants/mcp";
    s.each(6, Who::Stranger, path, |line, _| {
        tool(line, "find_order");
        line.status = refused(is_faulty, 401);
    });
    s.each(12, Who::Agent, path, |line, _| tool(line, "find_order"));
    Some(s.key("POST", path))
}

/// Makes a line a call of an MCP tool.
fn tool(line: &mut Line, name: &str) {
    line.method = "POST";
    line.content_type = "application/json";
    line.tool = Some(name.to_owned());
}

/// What is open by intent, and what only looks like a fault.
pub(super) fn innocents(s: &mut Sower<'_>) {
    let (login, rates, hook) = (s.path("login"), s.path("rates"), s.path("webhooks/parcel"));
    s.each(60, Who::Person, &rates, |_, _| ());
    s.each(20, Who::Stranger, &login, |line, _| line.method = "POST");
    s.each(20, Who::Stranger, &rates, |line, _| {
        line.method = "OPTIONS";
        line.status = 204;
        line.sent_type = "";
    });
    s.each(
        20,
        Who::Stranger,
        "/.well-known/openid-configuration",
        |_, _| (),
    );
    s.each(30, Who::Stranger, "/favicon.ico", |line, nth| {
        line.status = if nth % 3 == 0 { 200 } else { 304 };
        line.sent_type = "image/x-icon";
    });
    let form = |line: &mut Line| {
        line.method = "POST";
        line.content_type = "application/x-www-form-urlencoded";
    };
    s.each(15, Who::Stranger, "/oauth/token", |line, _| form(line));
    s.each(12, Who::Stranger, &hook, |line, _| form(line));
    s.each(8, Who::Stranger, "/oauth/callback", |line, nth| {
        line.target = format!(
            "/oauth/callback?code={}&state=x{nth}",
            ids::base62(fold(&[nth as u64]), 3, 24)
        );
        line.status = 302;
    });
    // A link sent by mail.
    s.each(25, Who::Stranger, "/verify", |line, nth| {
        line.target = format!("/verify?token={}", ids::base62(fold(&[nth as u64]), 4, 32));
    });
    s.each(40, Who::Inside, "/metrics", |line, _| {
        line.agent = "Prometheus/2.53.0"
    });
    s.each(10, Who::Stranger, "/", |line, _| {
        (line.scheme, line.tls, line.status) = ("http", "", 301);
    });
    // Sixteen digits that are no card's: the check digit is wrong.
    s.each(
        12,
        Who::Person,
        &format!("{rates}?ref=4111111111111112"),
        |_, _| (),
    );
    catalogue(s);
    mcp(s);
}

/// The open catalogue, which callers with a credential read too.
fn catalogue(s: &mut Sower<'_>) {
    let (world, api) = (s.world, s.api());
    let is_hub = |at: &&usize| world.collections[**at].sharing == Sharing::Public;
    let Some(hub) = api.collections.iter().find(is_hub) else {
        return;
    };
    let hub = &world.collections[*hub];
    let path = s.path(&hub.name);
    let template = format!("{path}/{{id}}");
    s.each(60, Who::Stranger, &path, |line, nth| {
        let n = (nth * 17 % hub.objects.len().max(1)) as i64;
        line.target = format!(
            "{path}/{}",
            crate::request::escape(&hub.id(n, api.release_ms))
        );
        line.template = Some(template.clone());
    });
}

/// An MCP server whose callers show who they are.
fn mcp(s: &mut Sower<'_>) {
    s.each(12, Who::Agent, "/tools/mcp", |line, nth| {
        tool(line, ["find_parcel", "list_parcels"][nth % 2]);
    });
}

/// Base 64; for tokens with the alphabet of URLs and without padding.
fn base64(bytes: &[u8], is_url: bool) -> String {
    let letters: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let n =
            part.iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for at in 0..=part.len() {
            let letter = letters[(n >> (18 - 6 * at) & 63) as usize] as char;
            out.push(match letter {
                '+' if is_url => '-',
                '/' if is_url => '_',
                letter => letter,
            });
        }
        if !is_url {
            out.push_str(&"=".repeat(3 - part.len()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let table = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ];
        for (text, want) in table {
            assert_eq!(base64(text.as_bytes(), false), want, "{text}");
        }
        assert_eq!(base64(b"\xfb\xff", true), "-_8");
    }
}
