//! One call to its facts: what each check means by "could have shown it" and "did".
//!
//! No allocation, and the order of the checks is that of their list. How each keeps clear of broken clients,
//! monitors, preflights and routes that are public by intent is said beside it there.

use super::answer::Answer;
use super::fact::{Context, Facts, ORIGIN_BUCKETS};
use super::pace::NETWORKS_MAX;
use super::path::{Route, is_respelled};
use super::text::{
    Content, Place, are_kin, content, holds, host_of_url, is_inside_text, is_old_tls, is_personal,
    is_rehearsal, is_run_or_sniffed, names_version, page_size, place, starts,
};
use super::token::Token;
use super::view::CallView;
use crate::agent::protocol::{self, Protocol};

/// Items asked for at once from which a page has no sensible limit.
const PAGE_ITEMS: u64 = 1000;
/// Bytes of an answer that did hold that many, at least.
const PAGE_BYTES: i64 = 100_000;
/// Bytes of a GraphQL schema; a refusal of introspection is far smaller.
const SCHEMA_BYTES: i64 = 2000;
/// Objects in one GraphQL call from which it counts as unlimited.
const GRAPHQL_OBJECTS: i32 = 100;
/// Calls of one caller on one endpoint in a minute at which a limit should be seen: on login and code routes, and elsewhere.
const FAST_LOGIN: u32 = 30;
const FAST: u32 = 600;
/// Networks of one credential in a day from which it is shared.
const NETWORKS: u32 = NETWORKS_MAX as u32;
/// The check that another version of the route decides.
pub(super) const OLD_VERSION: u8 = 38;

/// The facts of one call.
pub fn facts(call: &CallView<'_>) -> Facts {
    let mut facts = Facts::default();
    let seen = Seen::of(call);
    contexts(call, &seen, &mut facts);
    authentication(call, &seen, &mut facts);
    tokens(call, &seen, &mut facts);
    secrets(call, &seen, &mut facts);
    transport(call, &seen, &mut facts);
    if let Some(answer) = call.answer {
        answer_headers(call, answer, &seen, &mut facts);
    }
    answers(call, &seen, &mut facts);
    routes(call, &seen, &mut facts);
    limits(call, &seen, &mut facts);
    facts.judge(46, seen.mcp.is_some(), seen.mcp == Some(true));
    // A client that leaves early has no status either: only a share of such calls is a gap.
    facts.judge(47, true, call.status.is_none());
    facts
}

/// What a call would show of check 38 if a newer version of its route had taken over: [`super::Versions`] knows. Nothing where
/// the call's host or a document has shown it already.
///
/// * `facts`: those of the call.
pub fn if_superseded(call: &CallView<'_>, facts: Facts) -> Facts {
    let mut old = Facts::default();
    let is_judged = facts.has(Facts::eligible(OLD_VERSION));
    if let Some(status) = call.status.filter(|_| !is_judged)
        && is_plain(call.method)
        && is_outside(call)
    {
        old.judge(OLD_VERSION, true, matches!(status, 200..=299));
    }
    old
}

fn is_plain(method: &str) -> bool {
    !matches!(method, "OPTIONS" | "HEAD")
}

fn is_outside(call: &CallView<'_>) -> bool {
    call.client_ip.and_then(is_inside_text) != Some(true)
}

/// What several checks ask.
struct Seen {
    route: Route,
    status: u16,
    success: bool,
    refused: bool,
    /// Neither preflight nor `HEAD`: those carry no credentials by design.
    plain: bool,
    /// The client is, as far as the log tells, outside.
    outside: bool,
    html: bool,
    /// Types of request and answer.
    asked: Option<Content>,
    told: Option<Content>,
    host: Option<Place>,
    /// The call is of MCP or A2A and works on something; true when it was unprotected.
    mcp: Option<bool>,
}

impl Seen {
    fn of(call: &CallView<'_>) -> Seen {
        let status = call.status.unwrap_or(0);
        let success = matches!(status, 200..=299);
        let told = call.response_content_type.map(content);
        let mut seen = Seen {
            route: Route::of(call.path),
            status,
            success,
            refused: matches!(status, 401 | 403),
            plain: is_plain(call.method),
            outside: is_outside(call),
            html: told == Some(Content::Html),
            asked: call.request_content_type.map(content),
            told,
            host: call.host.map(place),
            mcp: None,
        };
        seen.mcp = unprotected(call, &seen);
        seen
    }

    fn is_open(&self) -> bool {
        self.route.is(Route::PUBLIC)
    }

    fn is_public(&self) -> bool {
        matches!(self.host, Some(Place::Name | Place::Address))
    }
}

/// Whether a call of an agent protocol that works on something was unprotected; `None` for other calls.
fn unprotected(call: &CallView<'_>, seen: &Seen) -> Option<bool> {
    let found = protocol::recognise(&protocol::Request::of(call))?;
    // A hello may be open; what a server does for strangers is what counts.
    let works = found.operation.works() && matches!(found.protocol, Protocol::Mcp | Protocol::A2a);
    // A gateway that logs a subject or a token's hash need not log the scheme; a session's id is no credential.
    let anonymous = !call.authenticated || call.auth_scheme == Some("session");
    let in_the_clear = call.scheme == Some("http") && seen.is_public();
    let in_url = call.url_secret.is_some_and(|name| holds(name, "session"));
    (works && (seen.success || seen.refused))
        .then_some(seen.success && (anonymous || in_the_clear || in_url))
}

fn contexts(call: &CallView<'_>, seen: &Seen, facts: &mut Facts) {
    let success = seen.success && seen.plain && !seen.is_open();
    facts.note(Context::Success, success);
    facts.note(Context::AuthenticatedSuccess, success && call.authenticated);
    facts.note(
        Context::CertificateSuccess,
        success && call.auth_scheme == Some("mtls"),
    );
    let writes = matches!(call.method, "POST" | "PUT" | "PATCH");
    facts.note(
        Context::TypedWrite,
        writes && seen.success && seen.asked.is_some(),
    );
    facts.note(
        Context::JsonWrite,
        writes && seen.success && seen.asked == Some(Content::Json),
    );
    facts.note(Context::TypedAnswer, seen.success && seen.told.is_some());
    facts.note(
        Context::JsonAnswer,
        seen.success && seen.told == Some(Content::Json),
    );
    facts.note(Context::Failed, seen.status == 500);
    facts.note(Context::Answered, call.status.is_some());
}

fn authentication(call: &CallView<'_>, seen: &Seen, facts: &mut Facts) {
    // Programs of the own network that fetch figures or call internal routes are not everybody: check 41 has who is outside.
    let is_own = !seen.outside && seen.route.is(Route::OPERATION);
    let judged = seen.plain && !seen.is_open() && !is_own;
    // A credential in the URL is one, though in the wrong place: check 12 has that.
    let anonymous = !call.authenticated && call.url_secret.is_none();
    let let_in = seen.success && anonymous;
    facts.judge(
        1,
        judged && (seen.success || (seen.refused && anonymous)),
        let_in,
    );
    facts.judge(
        2,
        judged && anonymous && (seen.success || seen.refused),
        let_in,
    );
    facts.judge(3, judged && seen.success, let_in);
    let scheme = call.auth_scheme;
    facts.judge(
        10,
        seen.success && scheme.is_some(),
        matches!(scheme, Some("basic" | "digest")),
    );
    // Who has a certificate says nothing of whether one is asked for. nginx has 495 and 496 for that, and 400 on the wire.
    let is_turned_away = seen.refused || matches!(seen.status, 400 | 495 | 496);
    facts.judge(
        16,
        judged && scheme != Some("mtls") && (seen.success || is_turned_away),
        seen.success,
    );
    let keyed = matches!(call.identity_kind, Some("api_key")) || scheme == Some("basic");
    if let Some(networks) = call.caller_networks.filter(|_| keyed) {
        facts.judge(37, seen.success, NETWORKS <= networks);
    }
    let guessable = call.object_number.is_some() || call.method == "GET";
    facts.judge(
        42,
        judged
            && guessable
            && anonymous
            && seen.route.is(Route::SENSITIVE)
            && (seen.success || seen.refused),
        let_in,
    );
}

fn tokens(call: &CallView<'_>, seen: &Seen, facts: &mut Facts) {
    let Some(token) = call.token.filter(|_| seen.success || seen.refused) else {
        return;
    };
    let out_of_time = token.is(Token::EXPIRED) || token.is(Token::TOO_EARLY);
    facts.judge(4, out_of_time, seen.success);
    facts.judge(5, token.is(Token::UNSIGNED), seen.success);
    facts.judge(
        6,
        seen.success && token.is(Token::HAS_HEADER),
        token.is(Token::WEAK_ALGORITHM),
    );
    facts.judge(
        7,
        seen.success,
        token.is(Token::ENDLESS) || token.is(Token::LONG_LIVED),
    );
    let claims = [
        Token::NO_AUDIENCE,
        Token::NO_ISSUER,
        Token::WILDCARD,
        Token::CARRIES_SECRET,
    ];
    facts.judge(
        8,
        seen.success,
        claims.into_iter().any(|traits| token.is(traits)),
    );
}

fn secrets(call: &CallView<'_>, seen: &Seen, facts: &mut Facts) {
    // An authorisation code is meant for the URL and good once, and so is what a link sent by mail carries; a signed link is a right in itself.
    let by_design = |name: &str| {
        ["code", "state", "ticket", "sig", "signature"]
            .iter()
            .any(|word| name.eq_ignore_ascii_case(word))
            || starts(name, "x-amz-")
            || starts(name, "x-goog-")
            || (["path", "token"].contains(&name) && seen.route.is(Route::LOGIN))
    };
    facts.judge(
        12,
        seen.success,
        call.url_secret.is_some_and(|name| !by_design(name)),
    );
    let personal = call.query.is_some_and(is_personal) || is_personal(call.path);
    let leaks = call.referer.is_some_and(|referer| referer.contains("=***"));
    facts.judge(13, seen.success, personal || leaks);
}

fn transport(call: &CallView<'_>, seen: &Seen, facts: &mut Facts) {
    let is_public = seen.is_public() && !seen.route.is(Route::HEALTH);
    if let Some(scheme) = call.scheme.filter(|_| is_public) {
        facts.judge(14, call.status.is_some(), scheme == "http" && seen.success);
    }
    if let Some(version) = call.tls_version {
        facts.judge(15, call.status.is_some(), is_old_tls(version));
    }
    if let Some(upstream) = call.upstream_scheme {
        facts.judge(17, call.status.is_some(), upstream == "http");
    }
}

fn answer_headers(call: &CallView<'_>, answer: Answer, seen: &Seen, facts: &mut Facts) {
    browsers(call, answer, seen, facts);
    // A login redirects more often than not.
    let sets = seen.success || matches!(seen.status, 301..=303 | 307 | 308);
    let secure = call.scheme == Some("https");
    facts.judge(
        20,
        sets && is_final(answer, seen) && answer.is(Answer::SESSION),
        answer.is(Answer::NOT_HTTP_ONLY)
            || answer.is(Answer::NO_SAME_SITE)
            || (secure && answer.is(Answer::NOT_SECURE)),
    );
    facts.judge(
        22,
        call.authenticated
            && call.method == "GET"
            && seen.success
            && !seen.is_open()
            && answer.is(Answer::CACHING_KNOWN),
        answer.is(Answer::SHARED),
    );
    facts.judge(
        24,
        seen.outside && seen.success && answer.is(Answer::DEBUGGING_KNOWN),
        answer.is(Answer::DEBUGGED),
    );
    let is_login = seen.route.is(Route::LOGIN);
    // Programs on the caller's own machine are where a login may send it back to (RFC 8252).
    let by_design = is_login && answer.is(Answer::TO_LOOPBACK);
    facts.judge(
        27,
        answer.is(Answer::REDIRECT) && seen.is_public() && seen.outside && !by_design,
        answer.is(Answer::TO_INSIDE),
    );
    let followed = matches!(seen.status, 300..=399) && answer.is(Answer::SENT_ELSEWHERE);
    let asked = answer.is(Answer::ASKED_ELSEWHERE) && !is_login && call.status.is_some();
    facts.judge(44, asked, followed);
    if let Some(bucket) = answer.bucket().filter(|_| asked && followed) {
        facts.set(Facts::context(Context::Redirected) + bucket);
    }
}

/// What protects browsers, on answers that they get.
fn browsers(call: &CallView<'_>, answer: Answer, seen: &Seen, facts: &mut Facts) {
    let judged = seen.success && seen.plain && is_final(answer, seen);
    // An address can't be remembered (RFC 6797, section 8.1.1), and what is no browser remembers nothing.
    facts.judge(
        18,
        judged
            && call.scheme == Some("https")
            && seen.host == Some(Place::Name)
            && call.agent_class == Some("browser")
            && answer.is(Answer::HSTS_KNOWN),
        !answer.is(Answer::HSTS_LASTS),
    );
    let has_body = !matches!(seen.status, 204 | 205);
    let (sniffing, framing) = (
        answer.is(Answer::SNIFFING_KNOWN),
        answer.is(Answer::FRAMING_KNOWN) || !seen.html,
    );
    let bad = (sniffing && !answer.is(Answer::NO_SNIFFING))
        || (seen.html && framing && !answer.is(Answer::NO_FRAMING));
    let shown = seen.html || call.response_content_type.is_some_and(is_run_or_sniffed);
    facts.judge(
        19,
        judged && has_body && shown && (bad || (sniffing && framing)),
        bad,
    );
}

/// True when the answer reaches the caller as it is logged: a proxy in front may add headers and attributes.
fn is_final(answer: Answer, seen: &Seen) -> bool {
    seen.is_public() && !answer.is(Answer::RELAYED)
}

fn answers(call: &CallView<'_>, seen: &Seen, facts: &mut Facts) {
    origins(call, facts);
    if call.server.is_some() || call.powered_by.is_some() {
        facts.judge(
            23,
            true,
            call.powered_by.is_some() || call.server.is_some_and(names_version),
        );
    }
    facts.judge(
        25,
        seen.status == 500 && call.response_content_type.is_some(),
        seen.html,
    );
    facts.judge(
        26,
        call.probe_class.is_some() && call.status.is_some(),
        seen.status == 500,
    );
    let loose = seen.asked == Some(Content::Loose) && !seen.is_open();
    facts.judge(
        32,
        loose && (seen.success || matches!(seen.status, 400 | 415)),
        seen.success,
    );
}

fn origins(call: &CallView<'_>, facts: &mut Facts) {
    let Some(allowed) = call.allow_origin.filter(|_| {
        call.allow_credentials
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }) else {
        return;
    };
    let any = matches!(allowed, "*" | "null");
    let own = call.host.unwrap_or_default();
    let strange = call.origin == Some(allowed)
        && host_of_url(allowed).is_some_and(|host| !are_kin(host, own));
    facts.judge(21, true, any || strange);
    facts.note(Context::AnyOrigin, any);
    if strange && !any {
        let bucket = xxhash_rust::xxh3::xxh3_64(allowed.as_bytes()) % ORIGIN_BUCKETS as u64;
        facts.set(Facts::context(Context::Reflected) + bucket as u8);
    }
}

fn routes(call: &CallView<'_>, seen: &Seen, facts: &mut Facts) {
    let answered = call.status.is_some() && seen.plain;
    if seen.outside && answered {
        let managed =
            seen.route.is(Route::MANAGEMENT) || call.probe_class == Some("known_bad_path");
        // A page in place of a file is the server's answer to anything.
        let fallback =
            seen.html && (seen.route.is(Route::FILE) || !seen.route.is(Route::MANAGEMENT));
        facts.judge(28, managed, seen.success && !fallback);
        facts.judge(
            29,
            seen.route.is(Route::DOCUMENTS),
            seen.success && !call.authenticated,
        );
        let direct = seen.host == Some(Place::Address) && call.path != "/";
        facts.judge(
            41,
            seen.route.is(Route::INTERNAL) || direct,
            seen.success && !seen.html,
        );
        let rehearsal = seen.host == Some(Place::Name) && call.host.is_some_and(is_rehearsal);
        let is_old = rehearsal || call.deprecated == Some(true);
        facts.judge(OLD_VERSION, is_old, seen.success);
    }
    let override_to = call
        .method_override
        .filter(|wanted| matches!(*wanted, "PUT" | "PATCH" | "DELETE") && *wanted != call.method);
    let odd = matches!(call.method, "TRACE" | "TRACK" | "DEBUG" | "CONNECT");
    facts.judge(31, odd || override_to.is_some(), seen.success);
    // What a list of files links to, to be sorted another way.
    let sorted = call
        .query
        .is_some_and(|query| query.starts_with("C=") && query.contains("O="));
    facts.judge(
        33,
        sorted && call.path.ends_with('/'),
        seen.success && seen.html,
    );
    facts.judge(45, is_respelled(call.path), seen.success && !seen.html);
    graphql(call, seen, facts);
}

fn graphql(call: &CallView<'_>, seen: &Seen, facts: &mut Facts) {
    let Some(operation) = call
        .rpc_method
        .filter(|method| method.starts_with("graphql."))
    else {
        return;
    };
    let introspects = matches!(call.tool, Some("__schema" | "__type"));
    let mutates = operation == "graphql.mutation" && call.method == "GET";
    let wide = GRAPHQL_OBJECTS <= call.n_objects;
    let told = introspects
        && call
            .response_bytes
            .is_some_and(|bytes| SCHEMA_BYTES <= bytes);
    facts.judge(
        30,
        introspects || mutates || wide,
        seen.success && (told || mutates || wide),
    );
}

fn limits(call: &CallView<'_>, seen: &Seen, facts: &mut Facts) {
    if let Some(calls) = call.calls_this_minute {
        let most = if seen.route.is(Route::LOGIN) {
            FAST_LOGIN
        } else {
            FAST
        };
        facts.judge(
            34,
            most <= calls && call.status.is_some(),
            seen.status != 429,
        );
    }
    if call.peer_ip.and_then(is_inside_text) == Some(false)
        && let Some(inside) = call.client_ip.and_then(is_inside_text)
    {
        facts.judge(35, true, inside);
    }
    let asked = call.query.and_then(page_size);
    let large = asked.is_some_and(|items| PAGE_ITEMS <= items);
    facts.judge(
        43,
        large && (seen.success || matches!(seen.status, 400 | 422)),
        seen.success && call.response_bytes.is_some_and(|bytes| PAGE_BYTES <= bytes),
    );
}
