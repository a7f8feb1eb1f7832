//! A cookie as an answer sets it: whose it is, and how it is protected. Its value is looked at for nothing but whether there is one.

use super::answer::name_of;
use super::text::{ends, holds, starts};

/// One Set-Cookie header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cookie<'a> {
    name: &'a str,
    value: &'a str,
    attributes: &'a str,
}

/// Names of a session's cookie.
const SESSIONS: [&str; 6] = ["sid", "connect.sid", "sess", "auth", "token", "jwt"];
/// Ends of such names: `JSESSIONID`, `laravel_session`, `__Host-access_token`.
const ENDS: [&str; 15] = [
    "session",
    "sessionid",
    "session_id",
    "session-id",
    "sessid",
    "_sid",
    "accesstoken",
    "access_token",
    "access-token",
    "refreshtoken",
    "refresh_token",
    "id_token",
    "authtoken",
    "auth_token",
    "remember_token",
];

impl<'a> Cookie<'a> {
    /// Reads one; `None` for what is none, as what a gateway writes in its place.
    pub(super) fn read(header: &'a str) -> Option<Cookie<'a>> {
        let (pair, attributes) = header.split_once(';').unwrap_or((header, ""));
        // A log without the value may leave the sign out as well, and then attributes tell.
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, value.trim().trim_matches('"')),
            None if !attributes.is_empty() => (pair, "*"),
            None => return None,
        };
        Some(Cookie {
            name: name.trim(),
            value,
            attributes,
        })
    }

    /// True when the name says that it is a session or a token of one. Those against forgery are not: scripts read them by design.
    pub(super) fn is_session(&self) -> bool {
        let prefixes = ["__host-", "__secure-"];
        let prefix = prefixes
            .into_iter()
            .find(|prefix| starts(self.name, prefix));
        let name = &self.name[prefix.map_or(0, str::len)..];
        let is_named = SESSIONS
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
            || ENDS.iter().any(|end| ends(name, end));
        is_named && !holds(name, "csrf") && !holds(name, "xsrf")
    }

    /// True when it is deleted: emptied, or expired when it is set.
    pub(super) fn is_taken_back(&self) -> bool {
        let is_past = |(name, value): (&str, &str)| {
            (name.eq_ignore_ascii_case("max-age") && (value.starts_with('-') || value == "0"))
                || (name.eq_ignore_ascii_case("expires") && holds(value, "1970"))
        };
        matches!(self.value, "" | "deleted") || self.attributes.split(';').map(name_of).any(is_past)
    }

    /// True when it has an attribute.
    pub(super) fn has(&self, attribute: &str) -> bool {
        let mut names = self.attributes.split(';').map(|part| name_of(part).0);
        names.any(|name| name.eq_ignore_ascii_case(attribute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_by_its_name() {
        #[rustfmt::skip]
        let table = [
            ("JSESSIONID=1", true), ("PHPSESSID=1", true), ("connect.sid=1", true), ("__Host-sid=1", true), ("laravel_session=1", true), ("access_token=1", true),
            ("sid; Secure", true), ("XSRF-TOKEN=1", false), ("csrf_session=1", false), ("lang=de", false), ("author=1", false), ("side=1", false),
            ("assessments=1", false), ("_ga=1", false), ("visitor_token=1", false), ("=1", false),
        ];
        for (header, want) in table {
            let cookie = Cookie::read(header).expect("a cookie");
            assert_eq!(cookie.is_session(), want, "{header}");
        }
    }

    #[test]
    fn what_is_no_cookie_or_one_taken_back_is_told() {
        assert!(
            ["", "REDACTED", "***"]
                .iter()
                .all(|header| Cookie::read(header).is_none())
        );
        #[rustfmt::skip]
        let table = [
            ("sid=1; Max-Age=60", false), ("sid=1; max-age=0", true), ("sid=1; Max-Age=-1", true), ("sid=", true), ("sid=\"\"; Path=/", true),
            ("sid=deleted", true), ("sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT", true), ("sid=x; Expires=Thu, 01 Jan 2027 00:00:00 GMT", false),
            ("sid=***; Secure", false), ("sid; Secure", false),
        ];
        for (header, want) in table {
            let cookie = Cookie::read(header).expect("a cookie");
            assert_eq!(cookie.is_taken_back(), want, "{header}");
        }
    }
}
