//! What the words of a path say about its route; one pass, no allocation.

/// Kinds of routes, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route(u16);

/// Bytes of a path that are looked at.
const LOOK_BYTES_MAX: usize = 1024;

impl Route {
    /// Logging in, signing up, tokens, links sent by mail: open to callers who have no credential yet.
    pub const LOGIN: Route = Route(1);
    /// Health checks and what monitors ask.
    pub const HEALTH: Route = Route(1 << 1);
    /// The root, and files of a page: scripts, images, fonts.
    pub const STATIC: Route = Route(1 << 2);
    /// Documents that are public by a standard: `/.well-known/`, `robots.txt`.
    pub const STANDARD: Route = Route(1 << 3);
    /// Descriptions of the API and consoles to try it.
    pub const DOCUMENTS: Route = Route(1 << 4);
    /// Management and debugging.
    pub const MANAGEMENT: Route = Route(1 << 5);
    /// Marked as internal.
    pub const INTERNAL: Route = Route(1 << 6);
    /// Named after people, money or health.
    pub const SENSITIVE: Route = Route(1 << 7);
    /// Figures for monitoring, which programs of the own network fetch.
    pub const METRICS: Route = Route(1 << 9);
    /// Meant to be dangerous to serve as a file: a server's page fallback answers HTML in its place.
    pub const FILE: Route = Route(1 << 8);

    /// Routes that are answered to everybody by intent.
    pub const PUBLIC: Route = Route(
        Route::LOGIN.0 | Route::HEALTH.0 | Route::STATIC.0 | Route::STANDARD.0 | Route::DOCUMENTS.0,
    );

    /// Routes of the own network's programs.
    pub const OPERATION: Route = Route(Route::METRICS.0 | Route::MANAGEMENT.0 | Route::INTERNAL.0);

    /// True when any of these kinds holds.
    pub fn is(self, kinds: Route) -> bool {
        self.0 & kinds.0 != 0
    }

    fn with(self, kind: Route) -> Route {
        Route(self.0 | kind.0)
    }

    /// The kinds of a raw path.
    pub fn of(path: &str) -> Route {
        let bytes = path.as_bytes();
        let bytes = bytes.get(..bytes.len().min(LOOK_BYTES_MAX)).unwrap_or(&[]);
        let mut route = Route::default();
        let mut last: &[u8] = b"";
        let segments = bytes
            .split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty());
        for (depth, segment) in segments.enumerate() {
            if matches!(segment[0], b'a'..=b'z' | b'.' | b'_') {
                route = route.with(kind(depth, last, segment));
            }
            last = segment;
        }
        // The root tells strangers what this is.
        if last.is_empty() || is_static(last) {
            route = route.with(Route::STATIC);
        }
        route
    }
}

/// What one segment says at its depth, behind the one before it.
fn kind(depth: usize, before: &[u8], segment: &[u8]) -> Route {
    match segment {
        b"login" | b"signin" | b"sign-in" | b"logout" | b"signup" | b"sign-up" | b"register"
        | b"registration" | b"token" | b"tokens" | b"oauth" | b"oauth2" | b"authorize"
        | b"auth" | b"sso" | b"saml" | b"oidc" | b"callback" | b"forgot" | b"forgot-password"
        | b"reset" | b"reset-password" | b"password-reset" | b"verify" | b"verification"
        | b"invite" | b"invitation" | b"confirm" | b"confirmation" | b"activate" | b"magic"
        | b"unsubscribe" | b"otp" | b"mfa" | b"jwks" | b"jwks.json" | b"captcha" | b"webhook"
        | b"webhooks" => Route::LOGIN,
        b"health" | b"healthz" | b"healthcheck" | b"livez" | b"readyz" | b"liveness"
        | b"readiness" | b"ping" | b"heartbeat" => Route::HEALTH,
        // Further down these are properties of things: `/orders/7/status`.
        b"ready" | b"live" | b"status" | b"up" | b"version" if depth == 0 => Route::HEALTH,
        b"metrics" if depth == 0 => Route::METRICS,
        b".well-known" | b"robots.txt" | b"favicon.ico" | b"sitemap.xml" | b"llms.txt"
        | b"security.txt" | b"manifest.json" => Route::STANDARD,
        b"public" if depth == 0 => Route::STATIC,
        b"static" | b"assets" | b"images" | b"img" | b"css" | b"fonts" | b"_next" => Route::STATIC,
        b"openapi.json" | b"openapi.yaml" | b"openapi.yml" | b"openapi" | b"swagger.json"
        | b"swagger.yaml" | b"swagger" | b"swagger-ui" | b"swagger-ui.html" | b"api-docs"
        | b"redoc" | b"graphiql" | b"playground" | b"altair" | b"voyager" | b"wsdl" => {
            Route::DOCUMENTS
        }
        b"docs" if depth < 2 => Route::DOCUMENTS,
        b"internal" | b"_internal" | b"private" | b"_private" | b"intranet" | b"backoffice" => {
            Route::INTERNAL
        }
        b"env" | b"heapdump" | b"threaddump" | b"beans" | b"configprops" | b"mappings"
        | b"loggers" | b"httptrace" | b"shutdown" | b"logfile" | b"gateway" | b"auditevents"
        | b"jolokia" | b"prometheus" | b"metrics"
            if before == b"actuator" || before == b"manage" || before == b"management" =>
        {
            Route::MANAGEMENT
        }
        b"pprof" | b"vars" if before == b"debug" => Route::MANAGEMENT,
        b"server-status" | b"server-info" | b"phpinfo.php" | b"h2-console" | b"jolokia"
        | b"jmx-console" | b"_profiler" | b"_ignition" | b"heapdump" | b"elmah.axd"
        | b"trace.axd" => Route::MANAGEMENT,
        b".git" | b".svn" | b".hg" | b".env" | b".aws" | b".ssh" | b".htpasswd" | b".npmrc"
        | b".docker" => Route::MANAGEMENT.with(Route::FILE),
        b"users" | b"user" | b"accounts" | b"account" | b"customers" | b"customer"
        | b"patients" | b"patient" | b"employees" | b"employee" | b"payments" | b"payment"
        | b"invoices" | b"invoice" | b"orders" | b"order" | b"cards" | b"card"
        | b"transactions" | b"statements" | b"payroll" | b"salaries" | b"profiles" | b"profile"
        | b"addresses" | b"address" | b"documents" | b"prescriptions" | b"claims" | b"admin" => {
            Route::SENSITIVE
        }
        _ if segment.starts_with(b".env") => Route::MANAGEMENT.with(Route::FILE),
        _ => Route::default(),
    }
}

fn is_static(name: &[u8]) -> bool {
    let tail = name.rsplitn(2, |byte| *byte == b'.').next().unwrap_or(&[]);
    tail.len() < name.len()
        && matches!(
            tail,
            b"js"
                | b"mjs"
                | b"css"
                | b"map"
                | b"png"
                | b"jpg"
                | b"jpeg"
                | b"gif"
                | b"svg"
                | b"ico"
                | b"webp"
                | b"woff"
                | b"woff2"
                | b"ttf"
                | b"html"
                | b"htm"
        )
}

/// Splits the version off a template: `/api/v2/orders/{id}` is `/api/`, 2 and `/orders/{id}`.
///
/// Two templates of one host whose heads and tails are equal are versions of one route.
pub fn version_of(template: &str) -> Option<(&str, u32, &str)> {
    let mut at = 0;
    for segment in template.split('/') {
        let digits = segment.strip_prefix(['v', 'V']);
        if let Some(version) = digits
            .filter(|digits| digits.len() <= 3)
            .and_then(|digits| digits.parse().ok())
        {
            return Some((&template[..at], version, &template[at + segment.len()..]));
        }
        at += segment.len() + 1;
    }
    None
}

/// A path spelled so that a filter and a server may read it differently: dots, slashes or backslashes as escapes, `..;`.
/// A doubled slash is none: too many clients write it.
pub(super) fn is_respelled(path: &str) -> bool {
    let bytes = path.as_bytes();
    if memchr::memchr3(b'%', b';', b'\\', bytes).is_none() {
        return false;
    }
    let escape = |at: usize| {
        let pair = bytes.get(at + 1..at + 3).unwrap_or(&[]);
        pair.eq_ignore_ascii_case(b"2e")
            || pair.eq_ignore_ascii_case(b"5c")
            || (pair.eq_ignore_ascii_case(b"2f")
                && (bytes.get(at + 3) == Some(&b'/')
                    || bytes.get(at.wrapping_sub(1)) == Some(&b'/')))
            || (pair == b"25"
                && bytes
                    .get(at + 3..at + 5)
                    .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
    };
    memchr::memchr_iter(b'%', bytes).any(escape)
        || bytes.contains(&b'\\')
        || path.contains("..;")
        || path.contains("/;/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_path_say_what_its_route_is_for() {
        #[rustfmt::skip]
        let table = [
            ("/oauth2/token", Route::LOGIN, true), ("/users/v1/login", Route::LOGIN, true),
            ("/tokenise", Route::LOGIN, false), ("/healthz", Route::HEALTH, true), ("/health/7", Route::HEALTH, true),
            ("/healthcare/7", Route::HEALTH, false), ("/app/main.4f.js", Route::STATIC, true), ("/orders/7.json", Route::STATIC, false),
            ("/.well-known/openid-configuration", Route::STANDARD, true), ("/v3/api-docs", Route::DOCUMENTS, true),
            ("/swagger-ui/index.html", Route::DOCUMENTS, true), ("/actuator/heapdump", Route::MANAGEMENT, true),
            ("/actuator/health", Route::MANAGEMENT, false), ("/actuator/env/x", Route::MANAGEMENT, true),
            ("/app/actuator/metrics", Route::MANAGEMENT, true), ("/metrics", Route::MANAGEMENT, false), ("/metrics", Route::METRICS, true),
            ("/api/metrics", Route::METRICS, false), ("/environments/env", Route::MANAGEMENT, false),
            ("/debug/pprof/heap", Route::MANAGEMENT, true), ("/.git/config", Route::FILE, true), ("/.env.local", Route::FILE, true),
            ("/internal/users", Route::INTERNAL, true), ("/international", Route::INTERNAL, false),
            ("/api/users/7", Route::SENSITIVE, true), ("/api/tasks/7", Route::SENSITIVE, false), ("", Route::PUBLIC, true), ("/", Route::PUBLIC, true),
        ];
        for (path, kind, want) in table {
            assert_eq!(Route::of(path).is(kind), want, "{path} {kind:?}");
        }
    }

    #[test]
    fn versions_of_one_route_have_equal_heads_and_tails() {
        #[rustfmt::skip]
        let table = [
            ("/api/v2/orders/{id}", Some(("/api/", 2, "/orders/{id}"))), ("/v1", Some(("/", 1, ""))),
            ("/orders/{id}", None), ("/vat/v", None), ("/users/v1/{name}", Some(("/users/", 1, "/{name}"))), ("/v1234/x", None),
        ];
        for (template, want) in table {
            assert_eq!(version_of(template), want, "{template}");
        }
    }

    #[test]
    fn a_doubled_slash_is_no_trick_and_an_escaped_dot_is() {
        #[rustfmt::skip]
        let table = [
            ("//orders//7", false), ("/orders/a%20b", false), ("/files/a%2Fb", false), ("/x%2e%2e/admin", true), ("/..;/admin", true),
            ("/a/%2f/admin", true), ("/a;jsessionid=***", false), ("/;/admin", true), ("/a\\b", true), ("/%252e/x", true), ("/100%25", false),
        ];
        for (path, want) in table {
            assert_eq!(is_respelled(path), want, "{path}");
        }
    }
}
