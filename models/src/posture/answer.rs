//! What the headers of an answer say, as far as checks ask.
//!
//! Read where the headers still are, at decode; only these bits go on, as cookies hold secrets and redirects what callers like.
//! What a header that was not logged would say is left open, so that a check is blind there and never content.

use super::cookie::Cookie;
use super::text::{Place, are_kin, host_of_url, place, starts};
use crate::endpoint::decode_query;

/// Seconds HSTS should last at least: half a year.
const HSTS_S_MIN: u64 = 15_552_000;
/// Cookies of one answer that are looked at, and parameters of one query: more are nobody's but a fuzzer's.
const LOOK_MAX: usize = 64;
/// Where the bits of the redirect's host begin, and how many buckets they name.
const BUCKET_SHIFT: u32 = 24;
const BUCKETS: u32 = 8;

/// Headers of one answer and what of its request they are compared with. A header is `None` where the source does not log it,
/// and empty where it does and the answer had none.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerHeaders<'a> {
    /// Strict-Transport-Security.
    pub hsts: Option<&'a str>,
    /// X-Content-Type-Options.
    pub content_type_options: Option<&'a str>,
    /// X-Frame-Options.
    pub frame_options: Option<&'a str>,
    /// Content-Security-Policy.
    pub content_security_policy: Option<&'a str>,
    /// Cache-Control.
    pub cache_control: Option<&'a str>,
    /// Vary.
    pub vary: Option<&'a str>,
    /// Set-Cookie, one a line.
    pub set_cookie: Option<&'a str>,
    /// Location.
    pub location: Option<&'a str>,
    /// X-Debug-Token or another debugger's header.
    pub debug_header: Option<&'a str>,
    /// Via, CDN-Loop or the like of the request.
    pub via: Option<&'a str>,
    /// Host as sent, perhaps with a port.
    pub host: Option<&'a str>,
    /// Raw query.
    pub query: Option<&'a str>,
}

/// Traits of one answer, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer(u32);

impl Answer {
    /// Whether there is HSTS is known.
    pub const HSTS_KNOWN: Answer = Answer(1);
    /// HSTS was sent.
    pub const HSTS_SENT: Answer = Answer(1 << 1);
    /// HSTS that lasts half a year.
    pub const HSTS_LASTS: Answer = Answer(1 << 2);
    /// Whether there is `nosniff` is known.
    pub const SNIFFING_KNOWN: Answer = Answer(1 << 3);
    /// `X-Content-Type-Options: nosniff`.
    pub const NO_SNIFFING: Answer = Answer(1 << 4);
    /// Who may frame it is known.
    pub const FRAMING_KNOWN: Answer = Answer(1 << 5);
    /// Not any site may frame it.
    pub const NO_FRAMING: Answer = Answer(1 << 6);
    /// Sets the cookie of a session.
    pub const SESSION: Answer = Answer(1 << 7);
    /// Of these one without `Secure`.
    pub const NOT_SECURE: Answer = Answer(1 << 8);
    /// Of these one without `HttpOnly`.
    pub const NOT_HTTP_ONLY: Answer = Answer(1 << 9);
    /// Of these one without `SameSite`.
    pub const NO_SAME_SITE: Answer = Answer(1 << 10);
    /// Whether shared caches may keep it for others is known.
    pub const CACHING_KNOWN: Answer = Answer(1 << 11);
    /// Shared caches may.
    pub const SHARED: Answer = Answer(1 << 12);
    /// Whether a debugger sent a header is known.
    pub const DEBUGGING_KNOWN: Answer = Answer(1 << 13);
    /// One did.
    pub const DEBUGGED: Answer = Answer(1 << 14);
    /// Sends the caller on.
    pub const REDIRECT: Answer = Answer(1 << 15);
    /// To a private address or an internal name that the caller did not name.
    pub const TO_INSIDE: Answer = Answer(1 << 16);
    /// Which is the caller's own machine.
    pub const TO_LOOPBACK: Answer = Answer(1 << 17);
    /// A parameter names another owner's host, and whether the answer sends there is known.
    pub const ASKED_ELSEWHERE: Answer = Answer(1 << 18);
    /// The answer sends there; which of eight buckets the host is in is in the bits from the 24th on.
    pub const SENT_ELSEWHERE: Answer = Answer(1 << 19);
    /// The call came by a proxy in front, which may change what the caller is answered.
    pub const RELAYED: Answer = Answer(1 << 20);

    /// The traits, and what each says.
    pub const TRAITS: [(Answer, &'static str); 21] = [
        (
            Answer::HSTS_KNOWN,
            "whether Strict-Transport-Security was sent is known",
        ),
        (Answer::HSTS_SENT, "it was"),
        (Answer::HSTS_LASTS, "it lasts half a year"),
        (
            Answer::SNIFFING_KNOWN,
            "whether X-Content-Type-Options was sent is known",
        ),
        (Answer::NO_SNIFFING, "it is `nosniff`"),
        (Answer::FRAMING_KNOWN, "who may frame it is known"),
        (Answer::NO_FRAMING, "not any site"),
        (Answer::SESSION, "it sets the cookie of a session"),
        (Answer::NOT_SECURE, "without `Secure`"),
        (Answer::NOT_HTTP_ONLY, "without `HttpOnly`"),
        (Answer::NO_SAME_SITE, "without `SameSite`"),
        (
            Answer::CACHING_KNOWN,
            "whether shared caches may keep it is known",
        ),
        (Answer::SHARED, "they may"),
        (
            Answer::DEBUGGING_KNOWN,
            "whether a debugger sent a header is known",
        ),
        (Answer::DEBUGGED, "one did"),
        (Answer::REDIRECT, "it has a Location"),
        (
            Answer::TO_INSIDE,
            "on a private address or an internal name that no parameter named",
        ),
        (Answer::TO_LOOPBACK, "which is the caller's own machine"),
        (
            Answer::ASKED_ELSEWHERE,
            "a parameter names another owner's host, and the Location is known",
        ),
        (Answer::SENT_ELSEWHERE, "it is there"),
        (
            Answer::RELAYED,
            "the call came by a proxy (`Via`, `CDN-Loop`)",
        ),
    ];

    /// True when any of these traits holds.
    pub fn is(self, traits: Answer) -> bool {
        self.0 & traits.0 != 0
    }

    /// The bits, as a column holds them.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The traits of these bits.
    pub fn from_bits(bits: u32) -> Answer {
        Answer(bits)
    }

    /// The bucket of the host that a parameter named and the answer sends to.
    pub(super) fn bucket(self) -> Option<u8> {
        let bucket = (self.0 >> BUCKET_SHIFT) % BUCKETS;
        self.is(Answer::SENT_ELSEWHERE).then_some(bucket as u8)
    }

    fn set(&mut self, traits: Answer, holds: bool) {
        if holds {
            self.0 |= traits.0;
        }
    }

    /// Reads the headers of one answer; `None` when the source logs none of them.
    pub fn read(headers: &AnswerHeaders<'_>) -> Option<Answer> {
        let mut answer = Answer::default();
        answer.browsers(headers);
        if let Some(cookies) = headers.set_cookie {
            let cookies = cookies.split('\n').take(LOOK_MAX).filter_map(Cookie::read);
            // What is taken back needs no protection.
            let sessions = cookies.filter(|cookie| cookie.is_session() && !cookie.is_taken_back());
            sessions.for_each(|cookie| answer.cookie(&cookie));
        }
        if let Some(control) = headers.cache_control {
            answer.caching(control, headers.vary);
        }
        if let Some(debugger) = headers.debug_header {
            answer.set(Answer::DEBUGGING_KNOWN, true);
            answer.set(Answer::DEBUGGED, !debugger.is_empty());
        }
        if let Some(location) = headers.location {
            answer.redirect(location, headers);
        }
        // Nothing is said of a source that logs a cookie or a redirect where there is one, and there was none.
        let is_logged = answer != Answer::default()
            || headers.set_cookie.is_some()
            || headers.location.is_some()
            || headers.cache_control.is_some();
        answer.set(
            Answer::RELAYED,
            headers.via.is_some_and(|via| !via.is_empty()),
        );
        is_logged.then_some(answer)
    }

    fn browsers(&mut self, headers: &AnswerHeaders<'_>) {
        if let Some(hsts) = headers.hsts {
            self.set(Answer::HSTS_KNOWN, true);
            self.set(Answer::HSTS_SENT, !hsts.is_empty());
            self.set(Answer::HSTS_LASTS, hsts_lasts(hsts));
        }
        if let Some(options) = headers.content_type_options {
            self.set(Answer::SNIFFING_KNOWN, true);
            let first = parts(options).next();
            self.set(
                Answer::NO_SNIFFING,
                first.is_some_and(|first| first.eq_ignore_ascii_case("nosniff")),
            );
        }
        let (options, policy) = (headers.frame_options, headers.content_security_policy);
        let refused = options.is_some_and(refuses_frames) || policy.is_some_and(names_framers);
        let known = options.is_some() && policy.is_some();
        self.set(Answer::FRAMING_KNOWN, refused || known);
        self.set(Answer::NO_FRAMING, refused);
    }

    fn cookie(&mut self, cookie: &Cookie<'_>) {
        self.set(Answer::SESSION, true);
        self.set(Answer::NOT_SECURE, !cookie.has("secure"));
        self.set(Answer::NOT_HTTP_ONLY, !cookie.has("httponly"));
        self.set(Answer::NO_SAME_SITE, !cookie.has("samesite"));
    }

    /// What shared caches may do by RFC 9111. An answer that is kept apart for each credential is nobody else's.
    fn caching(&mut self, control: &str, vary: Option<&str>) {
        let (mut public, mut kept_s, mut shared_s, mut refused) = (false, None, None, false);
        for (name, value) in parts(control).map(name_of) {
            let seconds = || value.trim_matches('"').parse::<u64>().ok();
            match name {
                _ if name.eq_ignore_ascii_case("public") => public = true,
                _ if name.eq_ignore_ascii_case("max-age") => kept_s = seconds(),
                _ if name.eq_ignore_ascii_case("s-maxage") => shared_s = seconds(),
                _ => {
                    let refuses = ["private", "no-store", "no-cache"];
                    refused |= refuses.iter().any(|word| name.eq_ignore_ascii_case(word));
                }
            }
        }
        let kept = shared_s.map_or(public && kept_s != Some(0), |seconds| 0 < seconds);
        let apart = |vary: &str| {
            let keys = ["authorization", "cookie", "x-api-key", "apikey", "*"];
            parts(vary).any(|name| keys.iter().any(|key| name.eq_ignore_ascii_case(key)))
        };
        let (may, known) = match vary {
            _ if !kept || refused => (false, true),
            Some(vary) => (!apart(vary), true),
            None => (false, false),
        };
        self.set(Answer::CACHING_KNOWN, known);
        self.set(Answer::SHARED, may);
    }

    fn redirect(&mut self, location: &str, headers: &AnswerHeaders<'_>) {
        let sent = host_of_target(location);
        let mut named = false;
        if let Some(own) = headers.host {
            for asked in hosts_named(headers.query.unwrap_or_default()) {
                let follows = sent.is_some_and(|sent| sent.eq_ignore_ascii_case(&asked));
                named |= follows;
                if are_kin(&asked, own) {
                    continue;
                }
                self.set(Answer::ASKED_ELSEWHERE, true);
                if follows && !self.is(Answer::SENT_ELSEWHERE) {
                    self.set(Answer::SENT_ELSEWHERE, true);
                    let hash = xxhash_rust::xxh3::xxh3_64(asked.to_ascii_lowercase().as_bytes());
                    self.0 |= ((hash % u64::from(BUCKETS)) as u32) << BUCKET_SHIFT;
                }
            }
        }
        self.set(Answer::REDIRECT, !location.is_empty());
        let inside = sent.filter(|sent| !named && place(sent) == Place::Inside);
        self.set(Answer::TO_INSIDE, inside.is_some());
        self.set(Answer::TO_LOOPBACK, inside.is_some_and(is_loopback));
    }

    /// What of check `number` a sample of the call should say: the call alone does not show it.
    pub fn note(self, number: u8) -> String {
        let lacks = |known, wanted| self.is(known) && !self.is(wanted);
        let notes = [
            (
                18,
                !self.is(Answer::HSTS_SENT),
                "no Strict-Transport-Security",
            ),
            (
                18,
                lacks(Answer::HSTS_SENT, Answer::HSTS_LASTS),
                "Strict-Transport-Security is short",
            ),
            (
                19,
                lacks(Answer::SNIFFING_KNOWN, Answer::NO_SNIFFING),
                "no nosniff",
            ),
            (
                19,
                lacks(Answer::FRAMING_KNOWN, Answer::NO_FRAMING),
                "any site may frame it",
            ),
            (20, self.is(Answer::NOT_SECURE), "no Secure"),
            (20, self.is(Answer::NOT_HTTP_ONLY), "no HttpOnly"),
            (20, self.is(Answer::NO_SAME_SITE), "no SameSite"),
        ];
        let said = notes
            .into_iter()
            .filter(|(of, holds, _)| *of == number && *holds);
        said.map(|(_, _, note)| format!(", {note}")).collect()
    }
}

/// The parts of a header that is a list.
fn parts(header: &str) -> impl Iterator<Item = &str> {
    header.split([',', '\n']).map(str::trim)
}

/// `name=value`, or a name alone.
pub(super) fn name_of(part: &str) -> (&str, &str) {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    (name.trim(), value.trim())
}

/// Browsers take the first of several such headers.
fn hsts_lasts(hsts: &str) -> bool {
    let first = hsts.split('\n').next().unwrap_or_default();
    let mut ages = first.split([';', ',']).map(name_of);
    let age = ages.find(|(name, _)| name.eq_ignore_ascii_case("max-age"));
    age.is_some_and(|(_, age)| {
        let age = age.trim_matches('"').parse();
        age.is_ok_and(|age: u64| HSTS_S_MIN <= age)
    })
}

/// `ALLOW-FROM` is obsolete, and no browser heeds it.
fn refuses_frames(options: &str) -> bool {
    let refuses = |part: &str| ["deny", "sameorigin"].map(|word| part.eq_ignore_ascii_case(word));
    parts(options).any(|part| refuses(part).contains(&true))
}

/// True when a policy says who may frame the page, and does not say that anybody may.
fn names_framers(policy: &str) -> bool {
    let is_anybody =
        |source: &str| matches!(source, "*" | "http:" | "https:" | "http://*" | "https://*");
    let directives = policy.split([';', ',', '\n']).map(str::trim);
    let mut framers = directives.filter(|directive| starts(directive, "frame-ancestors"));
    framers.any(|directive| !directive.split_ascii_whitespace().any(is_anybody))
}

/// The host a browser goes to for a target, absolute or with the scheme left out; to browsers a backslash is a slash.
fn host_of_target(target: &str) -> Option<&str> {
    if starts(target, "http://") || starts(target, "https://") {
        return host_of_url(target);
    }
    let mut chars = target.chars();
    let is_slash = |c: Option<char>| matches!(c, Some('/' | '\\'));
    if !is_slash(chars.next()) || !is_slash(chars.next()) {
        return None;
    }
    let authority = chars.as_str().split(['/', '\\', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.starts_with('[') {
        true => host,
        false => host.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

/// True for a host on the caller's own machine.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.starts_with("127.") || host == "[::1]"
}

/// The hosts that values of a query name.
fn hosts_named(query: &str) -> impl Iterator<Item = String> {
    // A target with a host has slashes, as they are or escaped.
    let has_any = memchr::memchr3(b'/', b'%', b'\\', query.as_bytes()).is_some();
    let pairs = if has_any { query } else { "" }.split('&').take(LOOK_MAX);
    let values = pairs.filter_map(|pair| Some(pair.split_once('=')?.1));
    let targets = values.filter(|value| value.starts_with(['h', 'H', '/', '\\', '%']));
    targets.filter_map(|value| host_of_target(&decode_query(value)).map(str::to_owned))
}

#[cfg(test)]
mod tests;
