//! What every check says of a call: the fault, the contrary, or nothing.

use models::posture::{
    Answer, AnswerHeaders, CHECKS, CallView, Facts, McpHeaders, Token, check, facts, find,
    if_superseded,
};
use proptest::prelude::*;

/// A plain good call, logged in full.
fn good() -> CallView<'static> {
    CallView {
        method: "GET",
        path: "/api/tasks/7",
        scheme: Some("https"),
        host: Some("api.shop.com"),
        status: Some(200),
        client_ip: Some("198.51.100.7"),
        auth_scheme: Some("bearer"),
        authenticated: true,
        identity_kind: Some("jwt_sub"),
        response_content_type: Some("application/json"),
        tls_version: Some("TLSv1.3"),
        ..CallView::default()
    }
}

fn anonymous() -> CallView<'static> {
    CallView {
        auth_scheme: None,
        authenticated: false,
        identity_kind: Some("ip_ua"),
        ..good()
    }
}

/// Headers of a good answer, all of them logged.
fn headers() -> AnswerHeaders<'static> {
    AnswerHeaders {
        hsts: Some("max-age=31536000; includeSubDomains"),
        content_type_options: Some("nosniff"),
        frame_options: Some(""),
        content_security_policy: Some(""),
        cache_control: Some(""),
        vary: Some(""),
        set_cookie: Some(""),
        location: Some(""),
        debug_header: Some(""),
        via: Some(""),
        host: good().host,
        query: None,
    }
}

/// What a call says of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// It shows the fault.
    Bad,
    /// It could have and did not.
    Fine,
    /// Nothing.
    Nothing,
}
use Says::{Bad, Fine, Nothing};

fn says(number: u8, call: &CallView<'_>) -> Says {
    let facts = facts(call);
    match (
        facts.has(Facts::eligible(number)),
        facts.has(Facts::bad(number)),
    ) {
        (true, true) => Bad,
        (true, false) => Fine,
        (false, _) => Nothing,
    }
}

/// Rows of check, what it is about, the call, what it says.
#[rustfmt::skip]
fn table() -> Vec<(u8, &'static str, CallView<'static>, Says)> {
    let token = |traits: &[Token]| Some(Token::from_bits(traits.iter().map(|traits| traits.bits()).sum()));
    let with = |changed: AnswerHeaders<'static>| CallView { answer: Answer::read(&changed), agent_class: Some("browser"), ..good() };
    let page = |changed| CallView { response_content_type: Some("text/html; charset=utf-8"), ..with(changed) };
    let cookie = |cookie| with(AnswerHeaders { set_cookie: Some(cookie), ..headers() });
    let sent = |query, location| CallView { query: Some(query), status: Some(302), ..with(AnswerHeaders { query: Some(query), location: Some(location), ..headers() }) };
    let relayed = AnswerHeaders { hsts: Some(""), content_type_options: Some(""), set_cookie: Some("sid=1"), via: Some("1.1 google"), ..headers() };
    let cors = |origin, allowed| CallView { origin: Some(origin), allow_origin: Some(allowed), allow_credentials: Some("true"), ..good() };
    let mcp = CallView { method: "POST", path: "/mcp", rpc_method: Some("tools/call"), tool: Some("get_task"), ..good() };
    let graphql = CallView { method: "POST", path: "/graphql", rpc_method: Some("graphql.query"), tool: Some("__schema"), response_bytes: Some(40_000), ..good() };
    let mut rows = Vec::new();
    for number in 1..=3 {
        rows.push((number, "let in", anonymous(), Bad));
        rows.push((number, "a login", CallView { path: "/api/login", ..anonymous() }, Nothing));
        rows.push((number, "a monitor", CallView { path: "/health", ..anonymous() }, Nothing));
        rows.push((number, "a script of a page", CallView { path: "/app/main.js", ..anonymous() }, Nothing));
        rows.push((number, "the root", CallView { path: "/", ..anonymous() }, Nothing));
        rows.push((number, "a preflight", CallView { method: "OPTIONS", ..anonymous() }, Nothing));
        rows.push((number, "a redirect", CallView { status: Some(302), ..anonymous() }, Nothing));
        rows.push((number, "a missing object", CallView { status: Some(404), ..anonymous() }, Nothing));
    }
    let refused = CallView { status: Some(401), ..anonymous() };
    rows.extend([
        (1, "refused", refused, Fine), (2, "refused", refused, Fine), (3, "refused", refused, Nothing),
        (1, "logged in", good(), Fine), (2, "logged in", good(), Nothing), (3, "logged in", good(), Fine),
        (4, "expired and accepted", CallView { token: token(&[Token::EXPIRED]), ..good() }, Bad),
        (4, "expired and refused", CallView { token: token(&[Token::EXPIRED]), status: Some(401), ..good() }, Fine),
        (4, "in time", CallView { token: token(&[]), ..good() }, Nothing),
        (5, "unsigned and accepted", CallView { token: token(&[Token::UNSIGNED, Token::HAS_HEADER]), ..good() }, Bad),
        (5, "unsigned and refused", CallView { token: token(&[Token::UNSIGNED]), status: Some(403), ..good() }, Fine),
        (5, "signed", CallView { token: token(&[Token::HAS_HEADER]), ..good() }, Nothing),
        (6, "weak", CallView { token: token(&[Token::WEAK_ALGORITHM, Token::HAS_HEADER]), ..good() }, Bad),
        (6, "sound", CallView { token: token(&[Token::HAS_HEADER]), ..good() }, Fine),
        (6, "claims only", CallView { token: token(&[]), ..good() }, Nothing),
        (7, "endless", CallView { token: token(&[Token::ENDLESS]), ..good() }, Bad),
        (7, "short", CallView { token: token(&[]), ..good() }, Fine), (7, "no token", good(), Nothing),
        (8, "wildcard", CallView { token: token(&[Token::WILDCARD]), ..good() }, Bad),
        (8, "good", CallView { token: token(&[]), ..good() }, Fine), (8, "no token", good(), Nothing),
        (10, "basic", CallView { auth_scheme: Some("basic"), ..good() }, Bad), (10, "bearer", good(), Fine), (10, "anonymous", anonymous(), Nothing),
        (10, "wrong password", CallView { auth_scheme: Some("basic"), status: Some(401), ..good() }, Nothing),
        (12, "a token", CallView { url_secret: Some("access_token"), ..good() }, Bad), (12, "none", good(), Fine),
        (12, "a code", CallView { url_secret: Some("code"), ..good() }, Fine), (12, "a signed link", CallView { url_secret: Some("X-Amz-Signature"), ..good() }, Fine),
        (1, "a token in the URL", CallView { url_secret: Some("access_token"), ..anonymous() }, Fine), (2, "a token in the URL", CallView { url_secret: Some("access_token"), ..anonymous() }, Nothing),
        (1, "figures from inside", CallView { path: "/metrics", client_ip: Some("10.2.3.4"), ..anonymous() }, Nothing), (1, "figures from outside", CallView { path: "/metrics", ..anonymous() }, Bad),
        (1, "jobs from inside", CallView { path: "/internal/jobs", client_ip: Some("10.2.3.4"), ..anonymous() }, Nothing), (1, "tasks from inside", CallView { client_ip: Some("10.2.3.4"), ..anonymous() }, Bad),
        (12, "a mailed token", CallView { url_secret: Some("token"), path: "/verify", ..anonymous() }, Fine), (12, "a token elsewhere", CallView { url_secret: Some("token"), ..good() }, Bad), (12, "a password at the login", CallView { url_secret: Some("password"), path: "/login", ..anonymous() }, Bad),
        (12, "a link by mail", CallView { url_secret: Some("path"), path: "/password/reset/***", ..good() }, Fine),
        (12, "refused", CallView { url_secret: Some("access_token"), status: Some(404), ..good() }, Nothing),
        (13, "an address", CallView { query: Some("email=bob%40example.com"), ..good() }, Bad), (13, "none", CallView { query: Some("page=2"), ..good() }, Fine),
        (13, "from a page with a session", CallView { referer: Some("https://a/x?sid=***"), ..good() }, Bad), (13, "refused", CallView { query: Some("email=bob%40example.com"), status: Some(400), ..good() }, Nothing),
        (14, "http", CallView { scheme: Some("http"), ..good() }, Bad), (14, "https", good(), Fine), (14, "redirect", CallView { scheme: Some("http"), status: Some(301), ..good() }, Fine),
        (14, "loopback", CallView { scheme: Some("http"), host: Some("127.0.0.1:80"), ..good() }, Nothing), (14, "in a cluster", CallView { scheme: Some("http"), host: Some("pay.shop.svc.cluster.local"), ..good() }, Nothing),
        (14, "unknown", CallView { scheme: None, ..good() }, Nothing),
        (15, "old", CallView { tls_version: Some("TLSv1.1"), ..good() }, Bad), (15, "new", good(), Fine), (15, "unknown", CallView { tls_version: None, ..good() }, Nothing),
        (16, "certificate", CallView { auth_scheme: Some("mtls"), ..good() }, Nothing), (16, "none", good(), Bad), (16, "refused", CallView { status: Some(403), ..good() }, Fine),
        (16, "turned away", CallView { status: Some(400), ..good() }, Fine), (16, "not there", CallView { status: Some(404), ..good() }, Nothing),
        (17, "plain", CallView { upstream_scheme: Some("http"), ..good() }, Bad), (17, "https", CallView { upstream_scheme: Some("https"), ..good() }, Fine), (17, "unknown", good(), Nothing),
        (18, "missing", with(AnswerHeaders { hsts: Some(""), ..headers() }), Bad), (18, "short", with(AnswerHeaders { hsts: Some("max-age=15551999"), ..headers() }), Bad), (18, "there", with(headers()), Fine),
        (18, "not logged", with(AnswerHeaders { hsts: None, ..headers() }), Nothing), (18, "nothing logged", CallView { agent_class: Some("browser"), ..good() }, Nothing),
        (18, "http", CallView { scheme: Some("http"), ..with(AnswerHeaders { hsts: Some(""), ..headers() }) }, Nothing), (18, "by a proxy", with(relayed), Nothing),
        (18, "to a program", CallView { agent_class: Some("library"), ..with(AnswerHeaders { hsts: Some(""), ..headers() }) }, Nothing), (18, "of an address", CallView { host: Some("203.0.113.10"), ..with(AnswerHeaders { hsts: Some(""), ..headers() }) }, Nothing),
        (18, "a preflight", CallView { method: "OPTIONS", ..with(AnswerHeaders { hsts: Some(""), ..headers() }) }, Nothing), (18, "HEAD", CallView { method: "HEAD", ..with(AnswerHeaders { hsts: Some(""), ..headers() }) }, Nothing),
        (18, "not modified", CallView { status: Some(304), ..with(AnswerHeaders { hsts: Some(""), ..headers() }) }, Nothing), (18, "the gateway's own error", CallView { status: Some(502), ..with(AnswerHeaders { hsts: Some(""), ..headers() }) }, Nothing),
        (19, "a page anybody may frame", page(headers()), Bad), (19, "a page nobody may", page(AnswerHeaders { content_security_policy: Some("frame-ancestors 'none'"), ..headers() }), Fine),
        (19, "a page that is sniffed", page(AnswerHeaders { frame_options: Some("DENY"), content_type_options: Some(""), ..headers() }), Bad), (19, "framing not logged", page(AnswerHeaders { content_security_policy: None, ..headers() }), Nothing),
        (19, "a script", CallView { response_content_type: Some("text/javascript"), ..with(AnswerHeaders { content_type_options: Some(""), ..headers() }) }, Bad), (19, "a script that is not", CallView { response_content_type: Some("application/javascript"), ..with(headers()) }, Fine),
        (19, "JSON", with(AnswerHeaders { content_type_options: Some(""), ..headers() }), Nothing), (19, "a picture", CallView { response_content_type: Some("image/png"), ..with(AnswerHeaders { content_type_options: Some(""), ..headers() }) }, Nothing),
        (19, "not logged", CallView { answer: None, ..page(headers()) }, Nothing), (19, "by a proxy", page(relayed), Nothing), (19, "an error's page", CallView { status: Some(404), ..page(headers()) }, Nothing),
        (19, "no body", CallView { status: Some(204), ..page(headers()) }, Nothing), (19, "a preflight", CallView { method: "OPTIONS", ..page(headers()) }, Nothing), (19, "in a cluster", CallView { host: Some("shop.svc"), ..page(headers()) }, Nothing),
        (20, "bare", cookie("sessionid=1; Path=/"), Bad), (20, "readable", cookie("sessionid=1; Secure; SameSite=Lax"), Bad), (20, "all", cookie("sessionid=1; Secure; HttpOnly; SameSite=Lax"), Fine),
        (20, "at a login", CallView { status: Some(302), path: "/login", ..cookie("sid=1; HttpOnly; SameSite=Lax") }, Bad), (20, "over http", CallView { scheme: Some("http"), ..cookie("sid=1; HttpOnly; SameSite=Lax") }, Fine),
        (20, "against forgery", cookie("csrf_token=1; Secure; SameSite=Strict"), Nothing), (20, "no session", cookie("lang=de"), Nothing), (20, "taken back", cookie("sid=; Max-Age=0"), Nothing), (20, "no cookie", with(headers()), Nothing),
        (20, "not logged", with(AnswerHeaders { set_cookie: None, ..headers() }), Nothing), (20, "by a proxy", with(relayed), Nothing), (20, "refused", CallView { status: Some(403), ..cookie("sid=1") }, Nothing),
        (21, "star", cors("https://a.x.com", "*"), Bad), (21, "reflected", cors("https://evil.example", "https://evil.example"), Bad), (21, "own", cors("https://app.shop.com", "https://app.shop.com"), Fine),
        (21, "without credentials", CallView { allow_credentials: None, ..cors("https://a.x", "*") }, Nothing),
        (22, "shared", with(AnswerHeaders { cache_control: Some("public, max-age=60"), ..headers() }), Bad), (22, "private", with(AnswerHeaders { cache_control: Some("private"), ..headers() }), Fine), (22, "none", with(headers()), Fine),
        (22, "kept apart", with(AnswerHeaders { cache_control: Some("public"), vary: Some("Authorization"), ..headers() }), Fine), (22, "perhaps kept apart", with(AnswerHeaders { cache_control: Some("public"), vary: None, ..headers() }), Nothing),
        (22, "anonymous", CallView { answer: Answer::read(&AnswerHeaders { cache_control: Some("public"), ..headers() }), ..anonymous() }, Nothing), (22, "not logged", with(AnswerHeaders { cache_control: None, ..headers() }), Nothing),
        (22, "a login", CallView { path: "/oauth/token", ..with(AnswerHeaders { cache_control: Some("public"), ..headers() }) }, Nothing), (22, "a write", CallView { method: "POST", ..with(AnswerHeaders { cache_control: Some("public"), ..headers() }) }, Nothing),
        (23, "version", CallView { server: Some("nginx/1.22.1"), ..good() }, Bad), (23, "name", CallView { server: Some("nginx"), ..good() }, Fine), (23, "powered", CallView { powered_by: Some("Express"), ..good() }, Bad), (23, "unknown", good(), Nothing),
        (24, "a header", with(AnswerHeaders { debug_header: Some("f4c2"), ..headers() }), Bad), (24, "none", with(headers()), Fine), (24, "not logged", with(AnswerHeaders { debug_header: None, ..headers() }), Nothing),
        (24, "a parameter", CallView { probe_class: Some("debug_parameter"), ..good() }, Nothing), (24, "from inside", CallView { client_ip: Some("10.0.0.1"), ..with(AnswerHeaders { debug_header: Some("f4c2"), ..headers() }) }, Nothing),
        (25, "page", CallView { status: Some(500), response_content_type: Some("text/html"), ..good() }, Bad), (25, "problem", CallView { status: Some(500), ..good() }, Fine), (25, "the gateway's own", CallView { status: Some(502), response_content_type: Some("text/html"), ..good() }, Nothing),
        (26, "failed", CallView { status: Some(500), probe_class: Some("injection"), ..good() }, Bad), (26, "refused", CallView { status: Some(400), probe_class: Some("injection"), ..good() }, Fine), (26, "ordinary", CallView { status: Some(500), ..good() }, Nothing),
        (27, "private", sent("", "http://10.0.0.5:8080/x"), Bad), (27, "public", sent("", "https://api.shop.com/x"), Fine), (27, "a path", sent("", "/x"), Fine), (27, "none", with(headers()), Nothing),
        (27, "not logged", CallView { status: Some(302), ..with(AnswerHeaders { location: None, ..headers() }) }, Nothing), (27, "from inside", CallView { client_ip: Some("10.0.0.1"), ..sent("", "http://10.0.0.5:8080/x") }, Nothing),
        (27, "on a private host", CallView { host: Some("shop.internal"), ..sent("", "http://10.0.0.5:8080/x") }, Nothing), (27, "named by the caller", sent("to=http://10.0.0.5/x", "http://10.0.0.5/x"), Fine),
        (27, "back to a program", CallView { path: "/login", ..sent("", "http://127.0.0.1:7000/cb") }, Nothing), (27, "to a machine's own", sent("", "http://localhost:8080/x"), Bad),
        (28, "heap", CallView { path: "/actuator/heapdump", ..anonymous() }, Bad), (28, "not there", CallView { path: "/.env", status: Some(404), ..anonymous() }, Fine),
        (28, "a page in place of a file", CallView { path: "/.env", response_content_type: Some("text/html; charset=utf-8"), ..anonymous() }, Fine),
        (28, "from inside", CallView { path: "/actuator/heapdump", client_ip: Some("10.1.1.1"), ..anonymous() }, Nothing), (28, "health", CallView { path: "/actuator/health", ..anonymous() }, Nothing),
        (29, "open", CallView { path: "/swagger-ui/index.html", ..anonymous() }, Bad), (29, "logged in", CallView { path: "/openapi.json", ..good() }, Fine), (29, "ordinary", good(), Nothing),
        (30, "told", graphql, Bad), (30, "refused with 200", CallView { response_bytes: Some(180), ..graphql }, Fine), (30, "a query", CallView { tool: Some("me"), ..graphql }, Nothing),
        (30, "mutation by GET", CallView { method: "GET", rpc_method: Some("graphql.mutation"), tool: Some("save"), ..graphql }, Bad), (30, "mutation", CallView { rpc_method: Some("graphql.mutation"), tool: Some("save"), ..graphql }, Nothing),
        (30, "a hundred", CallView { tool: Some("task"), n_objects: 100, ..graphql }, Bad), (30, "fewer", CallView { tool: Some("task"), n_objects: 99, ..graphql }, Nothing),
        (31, "trace", CallView { method: "TRACE", ..good() }, Bad), (31, "refused", CallView { method: "TRACE", status: Some(405), ..good() }, Fine), (31, "override", CallView { method: "POST", method_override: Some("DELETE"), ..good() }, Bad),
        (31, "the same", CallView { method: "DELETE", method_override: Some("DELETE"), ..good() }, Nothing), (31, "preflight", CallView { method: "OPTIONS", ..good() }, Nothing),
        (32, "xml", CallView { method: "POST", request_content_type: Some("application/xml"), ..good() }, Bad), (32, "refused", CallView { method: "POST", request_content_type: Some("text/xml"), status: Some(415), ..good() }, Fine),
        (32, "json", CallView { method: "POST", request_content_type: Some("application/json"), ..good() }, Nothing), (32, "a token's form", CallView { method: "POST", path: "/oauth/token", request_content_type: Some("application/x-www-form-urlencoded"), ..good() }, Nothing),
        (33, "sorted", CallView { path: "/files/", query: Some("C=M;O=A"), response_content_type: Some("text/html"), ..anonymous() }, Bad), (33, "not there", CallView { path: "/files/", query: Some("C=M;O=A"), status: Some(404), ..anonymous() }, Fine), (33, "an index page", CallView { path: "/", response_content_type: Some("text/html"), ..anonymous() }, Nothing),
        (34, "fast", CallView { calls_this_minute: Some(600), ..good() }, Bad), (34, "stopped", CallView { calls_this_minute: Some(600), status: Some(429), ..good() }, Fine), (34, "slower", CallView { calls_this_minute: Some(599), ..good() }, Nothing),
        (34, "fast at the login", CallView { path: "/login", calls_this_minute: Some(30), ..anonymous() }, Bad), (34, "unknown", good(), Nothing),
        (35, "private behind public", CallView { peer_ip: Some("203.0.113.9"), client_ip: Some("10.0.0.1"), ..good() }, Bad), (35, "public behind public", CallView { peer_ip: Some("203.0.113.9"), ..good() }, Fine), (35, "behind one's own proxy", CallView { peer_ip: Some("10.0.0.2"), client_ip: Some("10.0.0.1"), ..good() }, Nothing),
        (37, "everywhere", CallView { identity_kind: Some("api_key"), caller_networks: Some(20), ..good() }, Bad), (37, "somewhere", CallView { identity_kind: Some("api_key"), caller_networks: Some(19), ..good() }, Fine), (37, "a person who moves", CallView { caller_networks: Some(40), ..good() }, Nothing),
        (38, "deprecated", CallView { deprecated: Some(true), ..good() }, Bad), (38, "gone", CallView { deprecated: Some(true), status: Some(410), ..good() }, Fine), (38, "promised", CallView { deprecated: Some(false), ..good() }, Nothing),
        (38, "staging", CallView { host: Some("api.staging.shop.com"), ..good() }, Bad), (38, "staging from inside", CallView { host: Some("api.staging.shop.com"), client_ip: Some("192.168.1.1"), ..good() }, Nothing),
        (41, "internal", CallView { path: "/internal/jobs", ..good() }, Bad), (41, "refused", CallView { path: "/internal/jobs", status: Some(403), ..good() }, Fine), (41, "from inside", CallView { path: "/internal/jobs", client_ip: Some("10.0.0.1"), ..good() }, Nothing),
        (41, "by address", CallView { host: Some("203.0.113.10"), ..good() }, Bad), (41, "a scanner of addresses", CallView { host: Some("203.0.113.10"), path: "/", ..anonymous() }, Nothing),
        (42, "open", CallView { path: "/api/users/7", object_number: Some(7), ..anonymous() }, Bad), (42, "refused", CallView { path: "/api/users/7", status: Some(403), ..anonymous() }, Fine), (42, "logged in", CallView { path: "/api/users/7", ..good() }, Nothing), (42, "tasks", anonymous(), Nothing),
        (43, "all", CallView { query: Some("limit=1000"), response_bytes: Some(100_000), ..good() }, Bad), (43, "cut", CallView { query: Some("limit=1000"), response_bytes: Some(99_999), ..good() }, Fine), (43, "a page", CallView { query: Some("limit=999"), response_bytes: Some(100_000), ..good() }, Nothing),
        (44, "follows", sent("next=https%3A%2F%2Fevil.example%2F", "https://evil.example/"), Bad), (44, "stays", sent("next=https://evil.example/", "https://api.shop.com/"), Fine),
        (44, "refused", CallView { status: Some(400), ..sent("next=https://evil.example/", "") }, Fine), (44, "made, not sent", CallView { status: Some(201), ..sent("next=https://evil.example/", "https://evil.example/") }, Fine),
        (44, "a login", CallView { path: "/oauth/authorize", ..sent("redirect_uri=https://app.other.com/cb", "https://app.other.com/cb") }, Nothing), (44, "of the same owner", sent("next=https://www.shop.com/", "https://www.shop.com/"), Nothing),
        (44, "not logged", CallView { answer: Answer::read(&AnswerHeaders { location: None, ..headers() }), ..sent("next=https://evil.example/", "https://evil.example/") }, Nothing),
        (45, "respelled", CallView { path: "/x/..;/admin", ..good() }, Bad), (45, "refused", CallView { path: "/x/..;/admin", status: Some(400), ..good() }, Fine), (45, "a doubled slash", CallView { path: "//api//tasks", ..good() }, Nothing),
        (46, "open", CallView { auth_scheme: None, authenticated: false, ..mcp }, Bad), (46, "a session is no credential", CallView { auth_scheme: Some("session"), ..mcp }, Bad), (46, "in the clear", CallView { scheme: Some("http"), ..mcp }, Bad), (46, "session in the URL", CallView { url_secret: Some("sessionId"), ..mcp }, Bad),
        (46, "a subject or a hash alone", CallView { auth_scheme: None, ..mcp }, Fine),
        (46, "closed", mcp, Fine), (46, "refused", CallView { auth_scheme: None, authenticated: false, status: Some(401), ..mcp }, Fine), (46, "a hello", CallView { rpc_method: Some("initialize"), tool: None, auth_scheme: None, authenticated: false, ..mcp }, Nothing),
        (46, "a path alone", CallView { rpc_method: None, tool: None, auth_scheme: None, authenticated: false, ..mcp }, Nothing),
        (46, "by its headers", CallView { rpc_method: None, tool: None, auth_scheme: None, authenticated: false, mcp: Some(McpHeaders { method: Some("tools/call"), ..McpHeaders::default() }), ..mcp }, Bad),
        (47, "none", CallView { status: None, ..good() }, Bad), (47, "there", good(), Fine),
    ]);
    rows
}

#[test]
fn every_check_says_of_a_call_what_it_should() {
    for (number, what, call, want) in table() {
        assert_eq!(
            says(number, &call),
            want,
            "{number} {}: {what}",
            check(number).id
        );
    }
}

#[test]
fn every_check_decided_by_calls_can_show_its_fault_its_contrary_and_nothing() {
    let table = table();
    for check in CHECKS.iter().filter(|check| check.test().is_some()) {
        let said: Vec<Says> = table
            .iter()
            .filter(|row| row.0 == check.number)
            .map(|row| row.3)
            .collect();
        // Every call could lack a status.
        let all: &[Says] = if check.number == 47 {
            &[Bad, Fine]
        } else {
            &[Bad, Fine, Nothing]
        };
        assert!(
            all.iter().all(|says| said.contains(says)),
            "{}: {said:?}",
            check.id
        );
    }
}

#[test]
fn checks_are_numbered_named_and_described() {
    for (at, check) in CHECKS.iter().enumerate() {
        assert_eq!(usize::from(check.number), at + 1);
        assert_eq!(
            find(check.id).map(|found| found.number),
            Some(check.number),
            "ids differ"
        );
        assert!(
            !check.title.is_empty() && !check.remedy.is_empty() && !check.needs.is_empty(),
            "{}",
            check.id
        );
        assert_eq!(
            check.test().is_some(),
            !check.quiet.is_empty() && !check.bad.is_empty() && !check.contrary.is_empty(),
            "{}",
            check.id
        );
    }
    let blind: Vec<_> = check(21).blind_for(|column| column != "origin").collect();
    assert_eq!(blind, ["origin"]);
}

#[test]
fn an_ordinary_call_is_bad_for_nothing_that_is_not_meant() {
    // A route without client certificates is not one for them: the check's condition says so, not the call.
    let bad: Vec<u8> = (1..=47)
        .filter(|number| says(*number, &good()) == Bad)
        .collect();
    assert_eq!(bad, [16]);
    assert!(
        !facts(&CallView {
            status: Some(404),
            ..good()
        })
        .is_bad()
    );
}

#[test]
fn a_call_of_an_old_version_shows_it_unless_something_else_decides() {
    #[rustfmt::skip]
    let table = [
        ("let in", good(), Some(true)), ("gone", CallView { status: Some(410), ..good() }, Some(false)), ("refused", CallView { status: Some(403), ..good() }, Some(false)),
        ("no answer", CallView { status: None, ..good() }, None), ("a preflight", CallView { method: "OPTIONS", ..good() }, None), ("from inside", CallView { client_ip: Some("10.0.0.1"), ..good() }, None),
        ("promised by a document", CallView { deprecated: Some(false), ..good() }, Some(true)), ("deprecated by one", CallView { deprecated: Some(true), ..good() }, None), ("of a rehearsal", CallView { host: Some("api.staging.shop.com"), ..good() }, None),
    ];
    for (name, call, want) in table {
        let old = if_superseded(&call, facts(&call));
        let shown = old
            .has(Facts::eligible(38))
            .then(|| old.has(Facts::bad(38)));
        assert_eq!(shown, want, "{name}");
    }
}

proptest! {
    #[test]
    fn facts_never_panic(text in "\\PC{0,60}|[/.;%2eF@:?&=a-z0-9]{0,60}", other in "\\PC{0,40}", status in proptest::option::of(any::<u16>()), n in any::<i64>()) {
        let (text, other) = (text.as_str(), other.as_str());
        let _ = facts(&CallView {
            method: other, path: text, scheme: Some("http"), host: Some(other), query: Some(text), status, response_bytes: Some(n), client_ip: Some(text), peer_ip: Some(other),
            auth_scheme: Some(other), authenticated: n % 2 == 0, identity_kind: Some(other), object_number: Some(n), n_objects: n as i32, probe_class: Some(other), url_secret: Some(text),
            referer: Some(text), origin: Some(text), allow_origin: Some(text), allow_credentials: Some("true"), server: Some(text), powered_by: None, method_override: Some(other), tls_version: Some(text),
            request_content_type: Some(text), response_content_type: Some(other), rpc_method: Some(text), tool: Some(other), upstream_scheme: Some(text), token: Some(Token::from_bits(n as u16)), answer: Some(Answer::from_bits(n as u32)), agent_class: Some(other),
            calls_this_minute: Some(n as u32), caller_networks: Some(n as u32), deprecated: Some(true), mcp: None,
        });
    }
}
