//! Endpoints: from a request line to `METHOD host /template` and the variables it names.
//!
//! Comes in: method, host and path as logged. Goes out: the endpoint's name, and a [`Variable`] for each
//! segment that names a thing. The path is normalised first (escapes, `//`, dot segments, matrix parameters,
//! trailing slash), so one object has one key however it was written.
//! **Invariant**: an endpoint's name is printable ASCII and at most [`ENDPOINT_BYTES_MAX`] bytes, whatever a
//! caller sends. What only many requests can tell (a word that is somebody's name) is a [`TemplateSet`]'s to decide;
//! where it says nothing, words are literals but for those behind `users` and its like.

mod percent;
mod segment;

use std::borrow::Cow;

pub use percent::{decode, decode_query};
pub(crate) use percent::{decode_bytes, push_encoded};
pub use segment::{SegmentKind, segment_kind};

use crate::object::name;
use crate::secret;
use crate::template::{Decided, TemplateSet};

/// Segments kept of one path; deeper ones become `/**`. Documented APIs stay below 16.
pub const SEGMENTS_MAX: usize = 24;
/// Longest endpoint name, in bytes; a longer one ends in `/**`. It is a key in logs and metrics.
pub const ENDPOINT_BYTES_MAX: usize = 512;
/// Longest literal, in bytes; the rest is cut.
const LITERAL_BYTES_MAX: usize = 64;
/// Longest host, in bytes; the rest is cut.
const HOST_BYTES_MAX: usize = 128;
/// Longest method; a longer one is `OTHER`.
const METHOD_BYTES_MAX: usize = 16;
/// Longest variable value that is kept, in bytes; a longer one is free text and names no object.
const VALUE_BYTES_MAX: usize = 256;

/// A path segment that names a thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// The segment, percent-decoded, without a file suffix. A name that templates find right behind another variable holds
    /// only with it: `owner/repo`.
    pub value: String,
    /// What it looks like; a [`SegmentKind::Word`] is a name behind `users` and its like.
    pub kind: SegmentKind,
    /// What it is one of: the singular of the nearest noun before it; empty if there is none.
    pub collection: String,
}

/// Templates one request: appends `METHOD host /template` to `out` and the path's variables to `variables`.
///
/// * `path` may carry a query or a whole URL; only its path counts. No host is `-`.
/// * Variables come in path order, at most [`SEGMENTS_MAX`].
/// * Broken clients' placeholders (`undefined`, `null`, `{id}`, `:id`) are `{id}` without a variable, and so are
///   secrets: a template goes to logs and alerts.
pub fn endpoint(
    method: &str,
    host: Option<&str>,
    path: &str,
    out: &mut String,
    variables: &mut Vec<Variable>,
) {
    endpoint_by(&TemplateSet::EMPTY, method, host, path, out, variables);
}

/// [`endpoint`], but what `templates` decides of a segment wins over what it looks like.
pub fn endpoint_by(
    templates: &TemplateSet,
    method: &str,
    host: Option<&str>,
    path: &str,
    out: &mut String,
    variables: &mut Vec<Variable>,
) {
    let start = out.len();
    push_method(method, out);
    out.push(' ');
    let host_start = out.len();
    push_host(host.unwrap_or(""), out);
    let (decoded, separator) = decoded(path_of(path));
    let mut kept = [""; SEGMENTS_MAX];
    let (n_kept, more) = normalise(&decoded, separator, &mut kept);
    let kept = kept.get(..n_kept).unwrap_or(&[]);
    let mut decided = [Decided::default(); SEGMENTS_MAX];
    templates.decide(out.get(host_start..).unwrap_or(""), kept, &mut decided);
    out.push(' ');
    if kept.is_empty() {
        out.push('/');
    }
    // What stands before a segment, without what is known to be a variable: no noun is taken from a name.
    let mut before = [""; SEGMENTS_MAX];
    let mut variable_before = false;
    for (i, (&segment, decided)) in kept.iter().zip(decided).enumerate() {
        // A literal takes at most 64 bytes and a slash, and `/**` must still fit behind it.
        if start + ENDPOINT_BYTES_MAX < out.len() + LITERAL_BYTES_MAX + 4 {
            out.push_str("/**");
            return;
        }
        out.push('/');
        let nouns = before.get(..i).unwrap_or(&[]);
        let part = match decided {
            Decided::Undecided => part(segment, nouns),
            Decided::Literal => Part::Literal,
            Decided::Variable { head, tail } => variable(segment, nouns, head, tail),
        };
        let behind = std::mem::take(&mut variable_before);
        match part {
            Part::Literal => push_encoded(segment, LITERAL_BYTES_MAX, out),
            Part::Placeholder => out.push_str("{id}"),
            Part::Variable {
                head,
                value,
                kind,
                tail,
            } => {
                push_encoded(head, LITERAL_BYTES_MAX / 2 - 4, out);
                out.push_str("{id}");
                push_encoded(tail, LITERAL_BYTES_MAX / 2, out);
                if value.len() <= VALUE_BYTES_MAX {
                    let mut collection = String::new();
                    name::push_collection(nearest_noun(nouns), &mut collection);
                    let is_name = matches!(decided, Decided::Variable { .. }) && is_weak(kind);
                    let of = variables.last().filter(|_| behind && is_name);
                    variables.push(Variable {
                        value: of
                            .map_or_else(|| value.to_owned(), |of| format!("{}/{value}", of.value)),
                        kind,
                        collection,
                    });
                    variable_before = true;
                }
            }
        }
        if let Some(slot) = before.get_mut(i)
            && !matches!(decided, Decided::Variable { .. })
        {
            *slot = segment;
        }
    }
    if more {
        out.push_str("/**");
    }
}

/// Whether two things may have the same id because they are of different parents.
fn is_weak(kind: SegmentKind) -> bool {
    matches!(
        kind,
        SegmentKind::Word | SegmentKind::Version | SegmentKind::Mixed
    )
}

/// A segment that templates call a variable; broken clients' placeholders and secrets are none all the same.
fn variable<'a>(segment: &'a str, before: &[&str], head: usize, tail: usize) -> Part<'a> {
    if is_placeholder(segment)
        || secret::looks_like_secret(segment)
        || secret::is_link_token(before.last().unwrap_or(&""), segment)
    {
        return Part::Placeholder;
    }
    let (rest, tail) = segment
        .split_at_checked(segment.len().saturating_sub(tail))
        .unwrap_or((segment, ""));
    let (head, value) = rest.split_at_checked(head).unwrap_or(("", rest));
    let kind = segment_kind(value);
    Part::Variable {
        head,
        value,
        kind,
        tail,
    }
}

/// Gives `each` the first [`SEGMENTS_MAX`] normalised segments of a path.
pub(crate) fn with_segments<R>(path: &str, each: impl FnOnce(&[&str]) -> R) -> R {
    let (decoded, separator) = decoded(path_of(path));
    let mut kept = [""; SEGMENTS_MAX];
    let (n_kept, _) = normalise(&decoded, separator, &mut kept);
    each(kept.get(..n_kept).unwrap_or(&[]))
}

/// The noun a path ends with, for ids that stand alone in a query or body; empty if there is none.
pub(crate) fn path_noun(path: &str) -> &str {
    path_of(path)
        .rsplit('/')
        .take(SEGMENTS_MAX)
        .find(|segment| {
            segment_kind(segment) == SegmentKind::Word && !segment.contains('%') && is_noun(segment)
        })
        .unwrap_or("")
}

fn nearest_noun<'a>(before: &[&'a str]) -> &'a str {
    let is_literal = |segment: &str| segment_kind(segment) == SegmentKind::Word && is_noun(segment);
    before
        .iter()
        .rev()
        .copied()
        .find(|segment| is_literal(segment))
        .unwrap_or("")
}

fn is_noun(segment: &str) -> bool {
    let noun = name::noun(segment);
    !noun.is_empty()
        && !name::is_transport(segment)
        && segment.bytes().any(|b| b.is_ascii_alphabetic())
}

/// What a segment is in its place.
pub(crate) enum Part<'a> {
    Literal,
    Placeholder,
    /// `head` and `tail` are what stays literal around it: `.json`, `:cancel`.
    Variable {
        head: &'a str,
        value: &'a str,
        kind: SegmentKind,
        tail: &'a str,
    },
}

pub(crate) fn part<'a>(segment: &'a str, before: &[&str]) -> Part<'a> {
    if is_placeholder(segment) || secret::looks_like_secret(segment) {
        return Part::Placeholder;
    }
    let (value, tail) = split_tail(segment);
    let kind = segment_kind(value);
    match kind {
        SegmentKind::Version => Part::Literal,
        // `/api/2024-01/…` and `/api/1.2/…` are versions.
        SegmentKind::Date | SegmentKind::Mixed
            if is_version_place(before.last().unwrap_or(&"")) && is_numbered(value) =>
        {
            Part::Literal
        }
        // `/rest/api/2/…` is one too. Objects lie below a noun, and no API has come to its hundredth version.
        SegmentKind::Int
            if matches!(before.last(), Some(&("api" | "apis" | "rest"))) && is_small(segment) =>
        {
            Part::Literal
        }
        SegmentKind::Word if is_name_place(before) && is_name(segment) => Part::Variable {
            head: "",
            value: segment,
            kind,
            tail: "",
        },
        SegmentKind::Word if secret::is_link_token(before.last().unwrap_or(&""), segment) => {
            Part::Placeholder
        }
        SegmentKind::Word => Part::Literal,
        _ => Part::Variable {
            head: "",
            value,
            kind,
            tail,
        },
    }
}

fn is_version_place(before: &str) -> bool {
    matches!(before, "api" | "apis" | "rest" | "services" | "service")
}

fn is_small(value: &str) -> bool {
    value.len() <= 2 && !value.starts_with(['0', '-', '+'])
}

fn is_numbered(value: &str) -> bool {
    value.len() <= 10
        && value
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'))
}

/// Splits `42.json`, `42.x` and `42:cancel` behind the variable; a word keeps its tail.
fn split_tail(segment: &str) -> (&str, &str) {
    if let Some(at) = memchr::memrchr(b'.', segment.as_bytes()) {
        let (value, tail) = segment.split_at(at);
        // What has no letter is a number's, an address's or a version's part.
        let suffix = (2..=6).contains(&tail.len())
            && tail.bytes().skip(1).all(|b| b.is_ascii_alphanumeric())
            && tail.bytes().any(|b| b.is_ascii_alphabetic());
        if suffix && is_variable(segment_kind(value)) && segment_kind(segment) != SegmentKind::Email
        {
            return (value, tail);
        }
    }
    if let Some(at) = memchr::memrchr(b':', segment.as_bytes()) {
        let (value, tail) = segment.split_at(at);
        let verb =
            (2..=32).contains(&tail.len()) && tail.bytes().skip(1).all(|b| b.is_ascii_alphabetic());
        if verb && is_variable(segment_kind(value)) {
            return (value, tail);
        }
    }
    (segment, "")
}

fn is_variable(kind: SegmentKind) -> bool {
    !matches!(kind, SegmentKind::Word | SegmentKind::Version)
}

/// What broken clients and route patterns write where an id belongs.
pub(crate) fn is_placeholder(segment: &str) -> bool {
    match segment.as_bytes() {
        [b'{', .., b'}'] | [b'<', .., b'>'] | [b':', b'a'..=b'z' | b'A'..=b'Z', ..] => true,
        [b'u' | b'n' | b'N' | b'[', ..] => {
            matches!(
                segment,
                "undefined" | "null" | "NaN" | "[object Object]" | "nil"
            )
        }
        _ => false,
    }
}

/// Where a person's name stands: right behind `users` and its like, perhaps with a version between.
fn is_name_place(before: &[&str]) -> bool {
    let noun = match before {
        [.., noun, version]
            if version.starts_with(['v', 'V']) && segment_kind(version) == SegmentKind::Version =>
        {
            noun
        }
        [.., noun] => noun,
        [] => "",
    };
    matches!(noun.len(), 4..=9)
        && [
            "users",
            "user",
            "members",
            "profiles",
            "people",
            "persons",
            "employees",
        ]
        .iter()
        .any(|people| people.eq_ignore_ascii_case(noun))
}

/// One or more plain words none of which is an action, a part or a view of a user collection.
///
/// Camel humps (`bulkInvite`) and a leading mark (`_debug`) are a programmer's, not a person's.
fn is_name(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let plain = bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'\''))
        && !bytes
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()));
    plain && 3 <= bytes.len() && !segment.split(['.', '_', '-']).any(is_action)
}

/// Words documented APIs have right behind `users`, `members`, `people`: 97 literals of 577 APIs, and our own.
fn is_action(word: &str) -> bool {
    let mut lower = [0u8; 16];
    let Some(slot) = lower.get_mut(..word.len()) else {
        return false;
    };
    slot.copy_from_slice(word.as_bytes());
    slot.make_ascii_lowercase();
    let slot: &[u8] = slot;
    let singular = slot.strip_suffix(b"s").unwrap_or(slot);
    name::is_verb(word)
        || name::is_transport(word)
        || name::is_wrapper(word)
        || name::is_entity(word)
        || matches!(
            singular,
            b"catalog"
                | b"key"
                | b"following"
                | b"gpg"
                | b"ssh"
                | b"installation"
                | b"starred"
                | b"marketplace"
                | b"email"
                | b"invitation"
                | b"membership"
                | b"analytic"
                | b"follower"
                | b"migration"
                | b"current"
                | b"me"
                | b"disassociate"
                | b"associate"
                | b"legacy"
                | b"tracking"
                | b"invite"
                | b"lov"
                | b"third"
                | b"party"
                | b"token"
                | b"block"
                | b"unblock"
                | b"federate"
                | b"rule"
                | b"based"
                | b"matche"
                | b"match"
                | b"history"
                | b"removal"
                | b"re"
                | b"toggle"
                | b"suspend"
                | b"unsuspend"
                | b"password"
                | b"reset"
                | b"clear"
                | b"del"
                | b"tag"
                | b"available"
                | b"exist"
                | b"reminder"
                | b"insight"
                | b"review"
                | b"login"
                | b"logout"
                | b"connect"
                | b"activate"
                | b"deactivate"
                | b"reactivate"
                | b"compliance"
                | b"personalized"
                | b"trend"
                | b"name"
                | b"autocomplete"
                | b"many"
                | b"cursor"
                | b"register"
                | b"registration"
                | b"signup"
                | b"signin"
                | b"signout"
                | b"sign"
                | b"verify"
                | b"verification"
                | b"confirm"
                | b"confirmation"
                | b"enable"
                | b"disable"
                | b"setting"
                | b"preference"
                | b"permission"
                | b"role"
                | b"admin"
                | b"all"
                | b"online"
                | b"active"
                | b"inactive"
                | b"statu"
                | b"stat"
                | b"statistic"
                | b"summary"
                | b"metric"
                | b"avatar"
                | b"sync"
                | b"session"
                | b"auth"
                | b"authenticate"
                | b"oauth"
                | b"mfa"
                | b"otp"
                | b"sso"
                | b"feed"
                | b"notification"
                | b"favorite"
                | b"favourite"
                | b"like"
                | b"addresse"
                | b"addres"
                | b"address"
                | b"activity"
                | b"activitie"
                | b"audit"
                | b"username"
                | b"phone"
                | b"type"
                | b"department"
                | b"default"
                | b"recent"
                | b"top"
                | b"popular"
                | b"suggestion"
                | b"recommended"
                | b"random"
                | b"pending"
                | b"blocked"
                | b"banned"
                | b"deleted"
                | b"archived"
                | b"nearby"
                | b"leaderboard"
                | b"ranking"
                | b"schema"
                | b"field"
                | b"metadata"
                | b"config"
                | b"health"
                | b"test"
                | b"debug"
                | b"dashboard"
                | b"home"
                | b"index"
                | b"public"
                | b"credential"
                | b"whoami"
                | b"identity"
                | b"identitie"
                | b"link"
                | b"access"
                | b"accept"
                | b"decline"
                | b"export"
                | b"guest"
                | b"friend"
                | b"log"
                | b"list"
                | b"unread"
                | b"quota"
                | b"usage"
                | b"billing"
                | b"plan"
                | b"consent"
                | b"otherwise"
                | b"root"
                | b"system"
                | b"anonymou"
                | b"forgot"
                | b"change"
                | b"recover"
                | b"magic"
                | b"page"
                | b"cache"
                | b"sort"
                | b"order"
                | b"delta"
                | b"me.json"
                | b"robot"
                | b"favicon"
                | b"html"
                | b"php"
                | b"json"
                | b"xml"
                | b"txt"
                | b"csv"
                | b"ico"
                | b"png"
                | b"bak"
                | b"old"
                | b"sql"
                | b"zip"
        )
}

fn push_method(method: &str, out: &mut String) {
    let plain = (1..=METHOD_BYTES_MAX).contains(&method.len())
        && method.bytes().all(|b| b.is_ascii_alphabetic());
    match plain {
        true => out.extend(method.chars().map(|c| c.to_ascii_uppercase())),
        false => out.push_str("OTHER"),
    }
}

pub(crate) fn push_host(host: &str, out: &mut String) {
    let host = host.trim();
    let host = host
        .strip_suffix(":443")
        .or_else(|| host.strip_suffix(":80"))
        .unwrap_or(host);
    let host = host.trim_end_matches('.');
    if host.is_empty() {
        return out.push('-');
    }
    let start = out.len();
    push_encoded(host, HOST_BYTES_MAX, out);
    if let Some(tail) = out.get_mut(start..) {
        tail.make_ascii_lowercase();
    }
}

/// The path of a request target: no scheme, authority, query or fragment.
fn path_of(target: &str) -> &str {
    let end = memchr::memchr2(b'?', b'#', target.as_bytes()).unwrap_or(target.len());
    let path = target.get(..end).unwrap_or(target);
    if path.starts_with('/') {
        return path;
    }
    match path.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            memchr::memchr(b'/', rest.as_bytes())
                .and_then(|at| rest.get(at..))
                .unwrap_or("")
        }
        _ => path,
    }
}

/// Stands between decoded segments, where a slash may be part of one.
const UNIT_SEPARATOR: char = '\u{1f}';

/// The path with its escapes decoded segment by segment, and what then separates the segments.
fn decoded(path: &str) -> (Cow<'_, str>, char) {
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        return (Cow::Borrowed(path), '/');
    }
    let mut out = String::with_capacity(path.len());
    for segment in path.split('/') {
        out.push(UNIT_SEPARATOR);
        // The matrix parameters go first: `%3B` is a character of the segment, `;` is not.
        let plain = segment.split(';').next().unwrap_or("");
        out.push_str(&decode(plain).replace([UNIT_SEPARATOR, ';'], "\u{fffd}"));
    }
    (Cow::Owned(out), UNIT_SEPARATOR)
}

/// Fills `kept` with the segments; returns how many, and whether there were more.
fn normalise<'a>(
    path: &'a str,
    separator: char,
    kept: &mut [&'a str; SEGMENTS_MAX],
) -> (usize, bool) {
    let mut n_kept = 0usize;
    for raw in path.split(separator) {
        let segment = raw.split(';').next().unwrap_or(raw);
        match segment {
            "" | "." => (),
            ".." => n_kept = n_kept.saturating_sub(1),
            _ => match kept.get_mut(n_kept) {
                Some(slot) => {
                    *slot = segment;
                    n_kept += 1;
                }
                None => return (n_kept, true),
            },
        }
    }
    (n_kept, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn template(path: &str) -> (String, Vec<Variable>) {
        let (mut out, mut variables) = (String::new(), Vec::new());
        endpoint("GET", None, path, &mut out, &mut variables);
        (
            out.strip_prefix("GET - ").unwrap_or(&out).to_owned(),
            variables,
        )
    }

    #[test]
    fn paths_become_templates() {
        type Row = (
            &'static str,
            &'static str,
            &'static [(&'static str, &'static str)],
        );
        #[rustfmt::skip]
        let table: [Row; 48] = [
            ("/accounts/42/cards/7", "/accounts/{id}/cards/{id}", &[("account", "42"), ("card", "7")]),
            ("/api/tasks/33/comments", "/api/tasks/{id}/comments", &[("task", "33")]),
            ("/books/v1/bookTitle301", "/books/v1/{id}", &[("book", "bookTitle301")]),
            ("/books/v1/bookTitle1", "/books/v1/{id}", &[("book", "bookTitle1")]),
            ("/users/v1/ada.weber", "/users/v1/{id}", &[("user", "ada.weber")]),
            ("/users/v1/ada_berg/email", "/users/v1/{id}/email", &[("user", "ada_berg")]),
            ("/users/v1/login", "/users/v1/login", &[]),
            ("/users/v1/_debug", "/users/v1/_debug", &[]),
            ("/users/me/repos", "/users/me/repos", &[]),
            ("/users/bulkInvite", "/users/bulkInvite", &[]),
            ("/v2.1/orders/ORD-2024-0042", "/v2.1/orders/{id}", &[("order", "ORD-2024-0042")]),
            ("/oauth2/token", "/oauth2/token", &[]),
            ("/hash/sha256", "/hash/sha256", &[]),
            ("/files/dee7aa27-97ad-4f83-8164-d88dba320279", "/files/{id}", &[("file", "dee7aa27-97ad-4f83-8164-d88dba320279")]),
            ("/x/507f1f77bcf86cd799439011", "/x/{id}", &[("x", "507f1f77bcf86cd799439011")]),
            ("/mail/a.b@c.org", "/mail/{id}", &[("mail", "a.b@c.org")]),
            ("/api/2024-01/shops", "/api/2024-01/shops", &[]),
            ("/rest/api/2/issue/10042", "/rest/api/2/issue/{id}", &[("issue", "10042")]),
            ("/rest/4/orders/17", "/rest/4/orders/{id}", &[("order", "17")]),
            ("/rates/2024-01-31", "/rates/{id}", &[("rate", "2024-01-31")]),
            ("//api//v1/./orders/../orders/12;x=1", "/api/v1/orders/{id}", &[("order", "12")]),
            ("/orders/%31%32", "/orders/{id}", &[("order", "12")]),
            ("/orders/12/", "/orders/{id}", &[("order", "12")]),
            ("/orders/12?x=1#y", "/orders/{id}", &[("order", "12")]),
            ("https://h.example:8080/orders/12", "/orders/{id}", &[("order", "12")]),
            ("orders/12.json", "/orders/{id}.json", &[("order", "12")]),
            ("/tasks/7.JSON", "/tasks/{id}.JSON", &[("task", "7")]),
            ("/tasks/12.x", "/tasks/{id}.x", &[("task", "12")]),
            ("/tasks/12.5", "/tasks/{id}", &[("task", "12.5")]),
            ("/files/openapi.json", "/files/openapi.json", &[]),
            ("/videos/dQw4w9WgXcQ", "/videos/{id}", &[("video", "dQw4w9WgXcQ")]),
            ("/videos/dQw4w9WgXcQ.mp4", "/videos/{id}.mp4", &[("video", "dQw4w9WgXcQ")]),
            ("/rpc/getUserV2", "/rpc/getUserV2", &[]),
            ("/models/iPhone15Pro", "/models/iPhone15Pro", &[]),
            ("/orders/12:cancel", "/orders/{id}:cancel", &[("order", "12")]),
            ("/tasks/get/12", "/tasks/get/{id}", &[("task", "12")]),
            ("/api/files/null", "/api/files/{id}", &[]),
            ("/orders/{orderId}", "/orders/{id}", &[]),
            ("/keys/AKIAIOSFODNN7EXAMPLE", "/keys/{id}", &[]),
            ("/keys/xoxb-abcdefghijkl", "/keys/{id}", &[]),
            ("/password/reset/abcDEFghijKLmnop", "/password/reset/{id}", &[]),
            ("/password/reset/instructions", "/password/reset/instructions", &[]),
            ("/books/v1/bookTitle%2012", "/books/v1/{id}", &[("book", "bookTitle 12")]),
            ("/categories/5/people/6", "/categories/{id}/people/{id}", &[("category", "5"), ("person", "6")]),
            ("/", "/", &[]),
            ("", "/", &[]),
            ("/../..", "/", &[]),
            ("/caf\u{e9}", "/caf%C3%A9", &[]),
        ];
        for (path, want, objects) in table {
            let (got, variables) = template(path);
            assert_eq!(got, want, "{path}");
            let found: Vec<_> = variables
                .iter()
                .map(|v| (v.collection.as_str(), v.value.as_str()))
                .collect();
            assert_eq!(found, objects, "{path}");
        }
    }

    #[test]
    fn segments_have_kinds() {
        for (segment, kind) in [
            ("tasks", SegmentKind::Word),
            ("v1", SegmentKind::Version),
            ("v2.1", SegmentKind::Version),
            ("v1beta2", SegmentKind::Version),
            ("0042", SegmentKind::Int),
            ("-7", SegmentKind::Int),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", SegmentKind::Ulid),
            ("deadbee1", SegmentKind::Hex),
            ("deadbeef", SegmentKind::Word),
            ("u0155", SegmentKind::Mixed),
            ("log4j", SegmentKind::Word),
            ("OAuth2Token", SegmentKind::Word),
            ("getUserV2", SegmentKind::Word),
            ("iPhone15Pro", SegmentKind::Word),
            ("E2ETests", SegmentKind::Word),
            ("P2PTransfer", SegmentKind::Word),
            ("K8sCluster", SegmentKind::Word),
            ("S3BucketPolicy", SegmentKind::Word),
            ("base64UrlDecode", SegmentKind::Word),
            ("dQw4w9WgXcQ", SegmentKind::Mixed),
            ("aB3xK9pQ", SegmentKind::Mixed),
            ("V1StGXR8_Z5jdHi6B-myT", SegmentKind::Mixed),
            ("bookTitleV301", SegmentKind::Mixed),
            ("oauth2", SegmentKind::Word),
            ("base64", SegmentKind::Word),
            ("utf8", SegmentKind::Word),
            ("ipv6", SegmentKind::Word),
            ("md5", SegmentKind::Word),
            ("http2", SegmentKind::Word),
            ("ec2", SegmentKind::Word),
            ("x509", SegmentKind::Word),
            ("2fa", SegmentKind::Word),
            ("mfa2", SegmentKind::Word),
            ("VGFzazozMzgwMw==", SegmentKind::Mixed),
            ("2026-13", SegmentKind::Mixed),
            ("2026-12", SegmentKind::Date),
            ("a@b.c", SegmentKind::Email),
            ("", SegmentKind::Word),
            ("it's", SegmentKind::Mixed),
            ("10.0.0.1", SegmentKind::Mixed),
            ("v12345", SegmentKind::Mixed),
        ] {
            assert_eq!(segment_kind(segment), kind, "{segment}");
        }
    }

    #[test]
    fn methods_and_hosts_are_bounded() {
        for (method, host, want) in [
            ("get", Some("API.Example.com:443"), "GET api.example.com /"),
            ("GE T", Some(""), "OTHER - /"),
            ("", None, "OTHER - /"),
            ("AAAAAAAAAAAAAAAAA", Some("a b\n"), "OTHER a%20b /"),
        ] {
            let mut out = String::new();
            endpoint(method, host, "/", &mut out, &mut Vec::new());
            assert_eq!(out, want, "{method} {host:?}");
        }
        let (deep, variables) = template(&"/a/1".repeat(40));
        assert!(
            deep.ends_with("/**") && variables.len() <= SEGMENTS_MAX,
            "{deep}"
        );
    }

    proptest! {
        #[test]
        fn endpoints_are_short_printable_ascii(method in "\\PC{0,20}", host in "\\PC{0,200}", path in "\\PC{0,300}|(/[a-zé%0-9.;@:{}-]{0,50}){0,40}") {
            let (mut out, mut variables) = (String::new(), Vec::new());
            endpoint(&method, Some(&host), &path, &mut out, &mut variables);
            prop_assert!(out.len() <= ENDPOINT_BYTES_MAX, "{}", out.len());
            prop_assert!(out.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
            prop_assert!(variables.len() <= SEGMENTS_MAX);
            // A slash at the end names nothing, and neither does a dot segment.
            if !path.contains(['?', '#']) && path.starts_with('/') {
                let (mut again, mut same) = (String::new(), Vec::new());
                endpoint(&method, Some(&host), &format!("/.{path}/"), &mut again, &mut same);
                prop_assert_eq!(out, again);
                prop_assert_eq!(variables, same);
            }
        }
    }
}
