//! Probe classes: what one request alone says about an attempt on the configuration (OWASP API8).
//!
//! Comes in: a [`ProbeRequest`], raw as logged. Goes out: the most severe [`ProbeClass`] visible in it.
//! **Invariant**: precision over reach. What documented APIs serve (`/admin`, `/health`, `/swagger`, `/metrics`)
//! is no probe here; whether a path, verb or origin is *unknown* takes state, which this module must not have.

mod agent;
mod injection;
mod input;
mod known;

pub use agent::is_scanner;
pub use input::{Input, InputRequest, PARTS_MAX};

use crate::endpoint::decode_bytes;

/// Bytes of path and of query that are looked at, each; what lies behind goes unseen.
const LOOK_BYTES_MAX: usize = 4096;

/// What a request tries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProbeClass {
    /// A path only a misconfigured server serves: `/.env`, `/.git/config`, `/actuator/heapdump`, `/backup.sql`.
    KnownBadPath,
    /// A method no API offers: `TRACE`, `DEBUG`, made-up ones.
    MethodTampering,
    /// A header or parameter that asks for another method than the one sent.
    MethodOverride,
    /// A parameter that asks for debugging or privilege: `debug=1`, `__proto__`, `XDEBUG_SESSION_START`.
    DebugParameter,
    /// A spelling that means the same path to the server but not to a filter: `/%2e/`, `/;/`, `//`.
    Normalisation,
    /// A host that is not the service's: metadata address, collaborator domain, broken syntax; by state, hosts and
    /// forwarded hosts that nobody else names.
    HostSpray,
    /// Origins that nobody else comes from, tried one after the other; decided by state.
    OriginSpray,
    /// SQL, script, template or command syntax in path, query or body.
    Injection,
    /// `../`, a null byte, or their encoded forms.
    Traversal,
    /// The user agent of a known scanner.
    ScannerAgent,
    /// A path nobody used with success; decided by state.
    UnknownPath,
    /// A method nobody used on this path with success; decided by state.
    UnknownVerb,
    /// A tool that nobody else calls, at an MCP server others use; decided by state.
    UnknownTool,
    /// Errors of the server provoked by forms of input that were never answered; decided by state.
    ServerError,
    /// An older version that nobody uses, asked for what the newer one refused; decided by state.
    VersionWalking,
    /// A parameter that names one object twice, where nobody else does; decided by state.
    ParameterPollution,
}

impl ProbeClass {
    /// All classes.
    pub const ALL: [ProbeClass; 16] = [
        ProbeClass::KnownBadPath,
        ProbeClass::MethodTampering,
        ProbeClass::MethodOverride,
        ProbeClass::DebugParameter,
        ProbeClass::Normalisation,
        ProbeClass::HostSpray,
        ProbeClass::OriginSpray,
        ProbeClass::Injection,
        ProbeClass::Traversal,
        ProbeClass::ScannerAgent,
        ProbeClass::UnknownPath,
        ProbeClass::UnknownVerb,
        ProbeClass::UnknownTool,
        ProbeClass::ServerError,
        ProbeClass::VersionWalking,
        ProbeClass::ParameterPollution,
    ];

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<ProbeClass> {
        ProbeClass::ALL
            .into_iter()
            .find(|class| class.as_str() == name)
    }

    /// The name in alerts and rules.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeClass::KnownBadPath => "known_bad_path",
            ProbeClass::MethodTampering => "method_tampering",
            ProbeClass::MethodOverride => "method_override",
            ProbeClass::DebugParameter => "debug_parameter",
            ProbeClass::Normalisation => "normalisation",
            ProbeClass::HostSpray => "host_spray",
            ProbeClass::OriginSpray => "origin_spray",
            ProbeClass::Injection => "injection",
            ProbeClass::Traversal => "traversal",
            ProbeClass::ScannerAgent => "scanner_agent",
            ProbeClass::UnknownPath => "unknown_path",
            ProbeClass::UnknownVerb => "unknown_verb",
            ProbeClass::UnknownTool => "unknown_tool",
            ProbeClass::ServerError => "server_error",
            ProbeClass::VersionWalking => "version_walking",
            ProbeClass::ParameterPollution => "parameter_pollution",
        }
    }
}

/// One request, raw as logged.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProbeRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, not decoded, without query.
    pub path: &'a str,
    /// The query, not decoded, without `?`.
    pub query: Option<&'a str>,
    /// The body, where the gateway logs it.
    pub body: Option<&'a str>,
    /// The `Host` header.
    pub host: Option<&'a str>,
    /// The `Origin` header; not used here.
    pub origin: Option<&'a str>,
    /// Whether the `User-Agent` header is a scanner's, by [`is_scanner`].
    pub is_scanner: bool,
    /// `X-HTTP-Method-Override` and its like.
    pub method_override: Option<&'a str>,
    /// `X-Forwarded-Host` and its like.
    pub forwarded_host: Option<&'a str>,
    /// `X-Original-URL` and its like. A proxy may set it, so that it is there says nothing; the path in it may.
    pub rewritten_url: Option<&'a str>,
    /// The status; not used here.
    pub status: Option<u16>,
}

/// Finds the most severe class visible in the request alone.
///
/// Severity falls in this order: injection, traversal, known bad path, host spray, method override, method
/// tampering, debug parameter, normalisation, scanner agent.
pub fn classify(request: &ProbeRequest<'_>) -> Option<ProbeClass> {
    let (path, inline_query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let path = head(path);
    let query = head(request.query.unwrap_or(inline_query));
    let odd_path = Oddness::of(path);
    let odd_query = Oddness::of(query);
    // Most requests hold none of the bytes an injection or a traversal needs.
    if odd_path.is_odd || odd_query.is_odd || odd_query.is_escaped || odd_path.is_escaped {
        let class = decoded(path, query);
        if class.is_some() {
            return class;
        }
    }
    if request
        .body
        .is_some_and(|body| injection::in_body(head(body)))
    {
        return Some(ProbeClass::Injection);
    }
    if known::is_bad(path)
        || request
            .rewritten_url
            .is_some_and(|url| known::is_bad(head(url)))
    {
        return Some(ProbeClass::KnownBadPath);
    }
    if [request.host, request.forwarded_host]
        .into_iter()
        .flatten()
        .any(is_foreign_host)
    {
        return Some(ProbeClass::HostSpray);
    }
    if overrides(request, query) {
        return Some(ProbeClass::MethodOverride);
    }
    if is_tampered(request.method) {
        return Some(ProbeClass::MethodTampering);
    }
    if !query.is_empty() && query.split('&').any(is_debug_parameter) {
        return Some(ProbeClass::DebugParameter);
    }
    if is_denormal(path, &odd_path) {
        return Some(ProbeClass::Normalisation);
    }
    request.is_scanner.then_some(ProbeClass::ScannerAgent)
}

fn head(text: &str) -> &str {
    let end = (0..=text.len().min(LOOK_BYTES_MAX))
        .rev()
        .find(|&i| text.is_char_boundary(i));
    text.get(..end.unwrap_or(0)).unwrap_or("")
}

/// What one pass over the raw bytes tells.
struct Oddness {
    /// Holds a byte that injections need.
    is_odd: bool,
    /// Holds a percent sign or a plus.
    is_escaped: bool,
    /// Holds `//`, `/.`, `;`, a backslash or a control byte, or ends in a dot.
    is_denormal: bool,
}

impl Oddness {
    fn of(text: &str) -> Oddness {
        let mut oddness = Oddness {
            is_odd: false,
            is_escaped: false,
            is_denormal: false,
        };
        let mut previous = 0u8;
        for byte in text.bytes() {
            match byte {
                b'\'' | b'"' | b'<' | b'>' | b'(' | b')' | b'$' | b'{' | b'|' | b'`' | b'['
                | b' ' | b'*' => {
                    oddness.is_odd = true;
                }
                b'%' | b'+' => oddness.is_escaped = true,
                b';' => {
                    oddness.is_odd = true;
                    oddness.is_denormal = true;
                }
                b'\\' | 0..=0x1f | 0x7f => {
                    oddness.is_odd = true;
                    oddness.is_denormal = true;
                }
                b'/' if previous == b'/' => oddness.is_denormal = true,
                b'.' if previous == b'.' => oddness.is_odd = true,
                b'.' if previous == b'/' => oddness.is_denormal = true,
                _ => (),
            }
            previous = byte;
        }
        oddness.is_denormal |= previous == b'.';
        oddness
    }
}

/// Looks at path and query as written, decoded once and decoded twice.
fn decoded(path: &str, query: &str) -> Option<ProbeClass> {
    let mut once = Vec::with_capacity(path.len() + query.len());
    let mut twice = Vec::new();
    let mut traverses = false;
    for (text, is_query) in [(path, false), (query, true)] {
        once.clear();
        decode_bytes(text.as_bytes(), &mut once);
        once.make_ascii_lowercase();
        if is_query {
            once.iter_mut()
                .filter(|byte| **byte == b'+')
                .for_each(|byte| *byte = b' ');
        }
        twice.clear();
        decode_bytes(&once, &mut twice);
        twice.make_ascii_lowercase();
        for text in [&once, &twice] {
            if injection::is_injection(text) {
                return Some(ProbeClass::Injection);
            }
            traverses |= if is_query {
                traverses_query(text)
            } else {
                traverses_path(text)
            };
        }
    }
    traverses.then_some(ProbeClass::Traversal)
}

/// A segment that is `..` (with a matrix parameter, too), or a null byte.
fn traverses_path(path: &[u8]) -> bool {
    path.contains(&0)
        || path.split(|b| matches!(b, b'/' | b'\\')).any(|segment| {
            matches!(
                segment,
                b".." | [b'.', b'.', b';', ..] | [b'.', b'.', 0x80..=0xff, ..]
            )
        })
}

fn traverses_query(query: &[u8]) -> bool {
    query.contains(&0)
        || [
            "../",
            "..\\",
            "/etc/passwd",
            "/etc/shadow",
            "/proc/self/",
            "win.ini",
            "boot.ini",
        ]
        .iter()
        .any(|mark| memchr::memmem::find(query, mark.as_bytes()).is_some())
}

fn is_denormal(path: &str, oddness: &Oddness) -> bool {
    if oddness.is_denormal {
        let plain = path.split('/').skip(1).all(|segment| {
            // An application server's session and a hidden file's name are spelled so by everybody.
            !matches!(segment, "." | "..")
                && !segment.ends_with('.')
                && !segment.contains('\\')
                && !segment.bytes().any(|b| b.is_ascii_control())
                && segment
                    .split_once(';')
                    .is_none_or(|(head, matrix)| !head.is_empty() && matrix.contains('='))
        });
        if !plain || path.contains("//") {
            return true;
        }
    }
    oddness.is_escaped && path.split('/').any(is_denormal_escape)
}

/// Escapes nobody needs: of dots and backslashes, of a slash at the segment's edge, of control bytes, of the percent
/// sign before two hex digits, of a blank at the end.
fn is_denormal_escape(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    memchr::memchr_iter(b'%', bytes).any(|at| {
        let (high, low) = (
            bytes.get(at + 1),
            bytes.get(at + 2).map(u8::to_ascii_lowercase),
        );
        let at_edge = at == 0 || at + 3 == bytes.len();
        match (high, low) {
            (Some(b'2'), Some(b'e')) | (Some(b'5'), Some(b'c')) | (Some(b'0' | b'1'), Some(_)) => {
                true
            }
            (Some(b'2'), Some(b'f')) => at_edge,
            (Some(b'2'), Some(b'0')) => at + 3 == bytes.len(),
            (Some(b'2'), Some(b'5')) => {
                bytes.get(at + 3).is_some_and(u8::is_ascii_hexdigit)
                    && bytes.get(at + 4).is_some_and(u8::is_ascii_hexdigit)
            }
            _ => false,
        }
    })
}

/// A link-local or metadata address, a domain made for call-backs, or what no host name may hold.
fn is_foreign_host(host: &str) -> bool {
    let host = host.trim();
    let mut lower = [0u8; 96];
    let length = host.len().min(lower.len());
    let Some(slot) = lower.get_mut(..length) else {
        return false;
    };
    slot.copy_from_slice(host.as_bytes().get(..length).unwrap_or(&[]));
    slot.make_ascii_lowercase();
    let slot: &[u8] = slot;
    let name = slot.split(|b| *b == b':').next().unwrap_or(&[]);
    slot.iter().any(|b| {
        matches!(
            b,
            b'/' | b'@' | b' ' | b'\\' | b'<' | b'"' | b'\'' | b'{' | b'%'
        ) || b.is_ascii_control()
    }) || name.starts_with(b"169.254.")
        || name == b"metadata.google.internal"
        || [
            &b".oastify.com"[..],
            b".burpcollaborator.net",
            b".interact.sh",
            b".oast.fun",
            b".oast.pro",
            b".oast.live",
            b".oast.site",
            b".oast.online",
            b".oast.me",
            b".dnslog.cn",
            b".ceye.io",
            b".nip.io",
        ]
        .iter()
        .any(|tail| name.ends_with(tail))
        || [
            &b"evil.com"[..],
            b"attacker.com",
            b"evil.example",
            b"attacker.example",
        ]
        .iter()
        .any(|bad| {
            name == *bad
                || (name.ends_with(bad)
                    && name.len() > bad.len()
                    && name[name.len() - bad.len() - 1] == b'.')
        })
}

fn overrides(request: &ProbeRequest<'_>, query: &str) -> bool {
    let differs = |wanted: &str| {
        let wanted = wanted.trim();
        !wanted.is_empty() && wanted != "-" && !wanted.eq_ignore_ascii_case(request.method)
    };
    if request.method_override.is_some_and(differs) {
        return true;
    }
    // Forms may only be posted, so `_method` on a POST is a framework's own way.
    let reads = ["GET", "HEAD", "OPTIONS"]
        .iter()
        .any(|read| request.method.eq_ignore_ascii_case(read));
    !query.is_empty()
        && query.split('&').any(|pair| match pair.split_once('=') {
            Some((name, wanted)) if name.eq_ignore_ascii_case("_method") => {
                reads && differs(wanted)
            }
            Some((name, wanted)) => {
                name.eq_ignore_ascii_case("x-http-method-override") && differs(wanted)
            }
            None => false,
        })
}

/// `TRACE` and its like, or none of the methods anybody registered.
fn is_tampered(method: &str) -> bool {
    let mut upper = [0u8; 20];
    let Some(slot) = upper.get_mut(..method.len()) else {
        return true;
    };
    slot.copy_from_slice(method.as_bytes());
    slot.make_ascii_uppercase();
    !matches!(
        &*slot,
        b"GET"
            | b"POST"
            | b"PUT"
            | b"PATCH"
            | b"DELETE"
            | b"HEAD"
            | b"OPTIONS"
            | b""
            | b"-"
            | b"QUERY"
            | b"PURGE"
            | b"LINK"
            | b"UNLINK"
            | b"PROPFIND"
            | b"PROPPATCH"
            | b"MKCOL"
            | b"COPY"
            | b"MOVE"
            | b"LOCK"
            | b"UNLOCK"
            | b"REPORT"
            | b"SEARCH"
            | b"MKCALENDAR"
            | b"ACL"
            | b"BIND"
            | b"MERGE"
            | b"CHECKOUT"
            | b"MKACTIVITY"
            | b"VERSION-CONTROL"
            | b"BASELINE-CONTROL"
            | b"PRI"
            | b"OTHER"
    )
}

fn is_debug_parameter(pair: &str) -> bool {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let mut lower = [0u8; 32];
    let length = name.len().min(lower.len());
    let Some(slot) = lower.get_mut(..length) else {
        return false;
    };
    slot.copy_from_slice(name.as_bytes().get(..length).unwrap_or(&[]));
    slot.make_ascii_lowercase();
    let on = matches!(value, "" | "1" | "true" | "on" | "yes" | "True" | "TRUE");
    match &*slot {
        b"debug" | b"_debug" | b"debugmode" | b"debug_mode" | b"isdebug" => {
            on || matches!(value, "2" | "all")
        }
        b"admin" | b"isadmin" | b"is_admin" | b"_admin" | b"root" | b"test" | b"testmode"
        | b"trace" | b"_trace" => on && !value.is_empty(),
        b"phpinfo" | b"_profiler" => true,
        name => {
            name.starts_with(b"xdebug_")
                || name.starts_with(b"__proto__")
                || name.starts_with(b"constructor[prototype]")
                || name.starts_with(b"constructor.prototype")
                || name.starts_with(b"__debug")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(method: &str, target: &str) -> Option<ProbeClass> {
        classify(&ProbeRequest {
            method,
            path: target,
            ..ProbeRequest::default()
        })
    }

    #[test]
    fn requests_have_classes() {
        use ProbeClass as P;
        #[rustfmt::skip]
        let table = [
            ("GET /.env", Some(P::KnownBadPath)), ("GET /.git/config", Some(P::KnownBadPath)), ("GET /%2eenv", Some(P::KnownBadPath)),
            ("GET /actuator/heapdump", Some(P::KnownBadPath)), ("GET /actuator/health", None), ("GET /api/tasks/1.bak", Some(P::KnownBadPath)),
            ("GET /backup.zip", Some(P::KnownBadPath)), ("GET /exports/2024.zip", None), ("GET /users/v1/_debug", None), ("GET /_debug", Some(P::KnownBadPath)),
            ("GET /admin", None), ("GET /metrics", None), ("GET /.well-known/openid-configuration", None), ("GET /openapi.json", None),
            ("TRACE /", Some(P::MethodTampering)), ("CONNECT2 /a", Some(P::MethodTampering)), ("PROPFIND /a", None), ("get /a", None),
            ("GET /a?_method=DELETE", Some(P::MethodOverride)), ("POST /a?_method=DELETE", None),
            ("GET /a?debug=1", Some(P::DebugParameter)), ("GET /a?debug=false", None), ("GET /a?__proto__[x]=1", Some(P::DebugParameter)),
            ("GET /a?XDEBUG_SESSION_START=1", Some(P::DebugParameter)), ("GET /a?test=results", None),
            ("GET //admin", Some(P::Normalisation)), ("GET /%2e/admin", Some(P::Normalisation)), ("GET /;/admin", Some(P::Normalisation)),
            ("GET /a;jsessionid=1", None), ("GET /projects/group%2Fname", None), ("GET /%2fadmin", Some(P::Normalisation)), ("GET /a%20b", None),
            ("GET /a/../b", Some(P::Traversal)), ("GET /..;/admin", Some(P::Traversal)), ("GET /%252e%252e/x", Some(P::Traversal)),
            ("GET /a%00", Some(P::Traversal)), ("GET /a?f=../../etc/passwd", Some(P::Traversal)), ("GET /a/1...3", None),
            ("GET /u/a%27%20OR%201=1--", Some(P::Injection)), ("GET /a?q=1+UNION+ALL+SELECT+NULL", Some(P::Injection)),
            ("GET /a?q=<script>", Some(P::Injection)), ("GET /a?q=${jndi:ldap://x}", Some(P::Injection)), ("GET /a?q=1)+AND+12=12+AND+(3=3", Some(P::Injection)),
            ("GET /a?q=%2527%2520or%25201%253D1", Some(P::Injection)), ("GET /a?u[$ne]=1", Some(P::Injection)), ("GET /a?q=SLEEP(5)", Some(P::Injection)),
            ("GET /a?q=it's+and+that's", None), ("GET /a?q='rock'+and+'roll'", None), ("GET /a?q=O'Brien", None), ("GET /a?q=select+a+union", None),
            ("GET /a?q=rock+and+roll", None), ("GET /a?filter=name+eq+'bob'+and+age+gt+5", None), ("GET /a?q=order+by+date", None),
        ];
        for (line, want) in table {
            let (method, target) = line.split_once(' ').unwrap_or(("", ""));
            assert_eq!(class(method, target), want, "{line}");
        }
    }

    #[test]
    fn headers_and_bodies_have_classes() {
        let get = ProbeRequest {
            method: "GET",
            path: "/a",
            ..ProbeRequest::default()
        };
        #[rustfmt::skip]
        let table = [
            (ProbeRequest { is_scanner: is_scanner("Fuzz Faster U Fool v1.1.0"), ..get }, Some(ProbeClass::ScannerAgent)),
            (ProbeRequest { is_scanner: is_scanner("Mozilla/5.0 (Nikto/2.1)"), ..get }, Some(ProbeClass::ScannerAgent)),
            (ProbeRequest { is_scanner: is_scanner("Mozilla/5.0 (X11) Chrome/1 technikton"), ..get }, None),
            (ProbeRequest { method_override: Some("DELETE"), ..get }, Some(ProbeClass::MethodOverride)),
            (ProbeRequest { method_override: Some("GET"), ..get }, None),
            (ProbeRequest { forwarded_host: Some("169.254.169.254"), ..get }, Some(ProbeClass::HostSpray)),
            (ProbeRequest { host: Some("x.oastify.com"), ..get }, Some(ProbeClass::HostSpray)),
            (ProbeRequest { rewritten_url: Some("/.env"), ..get }, Some(ProbeClass::KnownBadPath)),
            (ProbeRequest { rewritten_url: Some("/orders/7"), ..get }, None),
            (ProbeRequest { host: Some("127.0.0.1:8080"), ..get }, None),
            (ProbeRequest { body: Some(r#"{"boardId":"501) AND 8590=9605 AND (2137=2137"}"#), ..get }, Some(ProbeClass::Injection)),
            (ProbeRequest { body: Some(r#"{"text":"it's 'fine' and we (mostly) agree; select one"}"#), ..get }, None),
            (ProbeRequest { body: Some(r#"{"query":"query($id:ID!){task(id:$id){id title}}"}"#), ..get }, None),
        ];
        for (request, want) in table {
            assert_eq!(classify(&request), want, "{request:?}");
        }
    }

    proptest! {
        #[test]
        fn classifying_never_panics(path in "\\PC{0,80}|[/.;%2efEF0-9a-z'\" ()=-]{0,60}", query in "\\PC{0,60}", body in "\\PC{0,60}") {
            let _ = classify(&ProbeRequest {
                method: &query, path: &path, query: Some(&path), body: Some(&body), host: Some(&query), origin: None,
                is_scanner: is_scanner(&body), method_override: Some(&path), forwarded_host: Some(&path), rewritten_url: Some(&body), status: None,
            });
        }
    }
}
