//! What a call sends beside its path: hosts, origins, parameters named twice, the version asked for, the form of its values.
//!
//! Comes in: an [`InputRequest`], as logged. Goes out: an [`Input`] of hashes, in which nothing is judged: whether an origin
//! or a form of input is unknown takes what others send ([`crate::probing`]). 0.2 µs a call, nothing allocated.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::object::name::{Named, named};
use crate::posture::path::version_of;
use crate::posture::{are_kin, host_of_url};

/// Parts of a call's input that are told apart; further ones are not looked at.
pub const PARTS_MAX: usize = 8;
/// Parameters of a query that are looked at.
const PARAMETERS_MAX: usize = 32;
/// Parameters among which one that comes twice is looked for.
const NAMED_MAX: usize = 8;

const VARIABLE: u64 = 1;
const PARAMETER: u64 = 2;
const CONTENT: u64 = 3;

/// One call, as logged.
#[derive(Clone, Copy, Debug, Default)]
pub struct InputRequest<'a> {
    /// `METHOD host /template`.
    pub endpoint: &'a str,
    /// Raw path, without query.
    pub path: &'a str,
    /// Raw query.
    pub query: Option<&'a str>,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// `X-Forwarded-Host` and its like.
    pub forwarded_host: Option<&'a str>,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
}

/// What one call sends, hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The host of the endpoint.
    pub host: u64,
    /// An origin of another owner than the host.
    pub origin: Option<u64>,
    /// A forwarded host of another owner than the host.
    pub forwarded: Option<u64>,
    /// Endpoint's template and the parameter that names one object twice, with different values.
    pub polluted: Option<u64>,
    /// The route with its version left out, and the version.
    pub version: Option<(u64, u32)>,
    /// Endpoint, place and form of each value.
    parts: [u64; PARTS_MAX],
    n_parts: u8,
}

impl Input {
    /// Reads one call.
    pub fn of(request: &InputRequest<'_>) -> Input {
        let (_, route) = request
            .endpoint
            .split_once(' ')
            .unwrap_or(("", request.endpoint));
        let (host, template) = route.split_once(' ').unwrap_or(("-", route));
        let has_host = host != "-";
        let foreign = |name: &str| {
            let is_foreign = has_host && !name.is_empty() && !are_kin(name, host);
            is_foreign.then(|| hash(name))
        };
        let mut input = Input {
            host: hash(host),
            // `null` and what has no host are values like any other.
            origin: request
                .origin
                .and_then(|origin| foreign(host_of_url(origin).unwrap_or(origin))),
            // Each proxy on the way may add its own: the first is what the caller asked for.
            forwarded: request
                .forwarded_host
                .and_then(|hosts| foreign(hosts.split(',').next().unwrap_or(hosts).trim())),
            version: version_of(template).map(|(head, version, tail)| {
                let route = xxh3_64_with_seed(tail.as_bytes(), hash(head) ^ hash(host));
                (route, version)
            }),
            ..Input::default()
        };
        let endpoint = hash(request.endpoint);
        input.read_variables(endpoint, template, request.path);
        if let Some(query) = request.query.filter(|query| !query.is_empty()) {
            input.read_query(endpoint, template, request.path, query);
            input.polluted = input.polluted.map(|name| name ^ hash(route).rotate_left(9));
        }
        if let Some(kind) = request.content_type {
            let kind = kind.split(';').next().unwrap_or(kind).trim_end();
            input.push(endpoint, CONTENT, hash(kind));
        }
        input
    }

    /// Endpoint, place and form of each value.
    pub fn parts(&self) -> &[u64] {
        &self.parts[..usize::from(self.n_parts)]
    }

    /// All parts in one, whatever their order.
    pub fn shape(&self) -> u64 {
        self.parts()
            .iter()
            .fold(0, |shape, part| shape ^ part.rotate_left(32))
    }

    fn push(&mut self, endpoint: u64, place: u64, form: u64) {
        let part = endpoint ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ form.rotate_left(21);
        let n = usize::from(self.n_parts);
        if n < PARTS_MAX && !self.parts[..n].contains(&part) {
            self.parts[n] = part;
            self.n_parts += 1;
        }
    }

    fn read_variables(&mut self, endpoint: u64, template: &str, path: &str) {
        let segments = template.split('/').zip(path.split('/')).enumerate();
        for (at, (_, value)) in segments.filter(|(_, (part, _))| part.starts_with('{')) {
            self.push(endpoint, VARIABLE, form(value) ^ (at as u64) << 8);
        }
    }

    fn read_query(&mut self, endpoint: u64, template: &str, path: &str, query: &str) {
        let mut before: [(u64, &str); NAMED_MAX] = [(0, ""); NAMED_MAX];
        let mut n_before = 0;
        for pair in query.split('&').take(PARAMETERS_MAX) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.is_empty() {
                continue;
            }
            let key = hash(name);
            self.push(endpoint, PARAMETER, key.rotate_left(8) ^ form(value));
            if value.is_empty() || !names_one_object(name) {
                continue;
            }
            let seen = &before[..n_before];
            if seen
                .iter()
                .any(|(other, had)| *other == key && *had != value)
                || names_another(name, value, template, path)
            {
                self.polluted.get_or_insert(key);
            }
            if n_before < NAMED_MAX {
                before[n_before] = (key, value);
                n_before += 1;
            }
        }
    }
}

fn hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// The form of a value: a coarse kind, so that what is like what others send is told from what is not.
fn form(value: &str) -> u64 {
    let bytes = value.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_plain = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+' | b':')
    };
    match bytes {
        [] => 0,
        // What fits into 32 bits, into 64, into none.
        _ if digits == bytes.len() => match digits {
            0..=9 => 1,
            10..=18 => 2,
            _ => 3,
        },
        [b'-', ..] if digits + 1 == bytes.len() => 4,
        _ if !bytes.iter().all(is_plain) => 5,
        _ if 128 < bytes.len() => 6,
        _ => 7,
    }
}

/// True for `id`, `order_id`, `user`; not for `ids`, `id[]`, `tag`.
fn names_one_object(name: &str) -> bool {
    let is_list = name.ends_with(['s', 'S', ']']) || name.contains(['[', '%', '.']);
    !is_list && named(name) != Named::Other
}

/// True when a parameter names the same kind of thing as a variable of the path, and another of them:
/// `/orders/17?order_id=18`.
fn names_another(name: &str, value: &str, template: &str, path: &str) -> bool {
    let Named::Of(noun) = named(name) else {
        return false;
    };
    let mut before = "";
    let mut segments = template.split('/').zip(path.split('/'));
    segments.any(|(part, given)| {
        let is_of_noun = part.starts_with('{') && is_plural_of(before, noun);
        before = part;
        is_of_noun && given != value
    })
}

/// True for a word and its plural: `orders` and `order`, `boxes` and `box`, `companies` and `company`.
fn is_plural_of(plural: &str, noun: &str) -> bool {
    let ends = |stem: &str, tail: &str| {
        plural.len() == stem.len() + tail.len()
            && plural
                .get(..stem.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(stem))
            && plural
                .get(stem.len()..)
                .is_some_and(|rest| rest.eq_ignore_ascii_case(tail))
    };
    !noun.is_empty()
        && (["", "s", "es"].iter().any(|tail| ends(noun, tail))
            || noun
                .strip_suffix(['y', 'Y'])
                .is_some_and(|stem| ends(stem, "ies")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(endpoint: &str, target: &str) -> Input {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Input::of(&InputRequest {
            endpoint,
            path,
            query: Some(query),
            ..InputRequest::default()
        })
    }

    #[test]
    fn a_parameter_that_names_one_object_twice_is_polluted() {
        #[rustfmt::skip]
        let table = [
            ("/orders?id=1&id=2", true), ("/orders?id=1&id=1", false), ("/orders?ids=1&ids=2", false), ("/orders?id[]=1&id[]=2", false),
            ("/orders?tag=a&tag=b", false), ("/orders?user_id=7&x=1&user_id=8", true), ("/orders?id=&id=2", false), ("/orders?id=1,2", false),
            ("/orders/17?order_id=18", true), ("/orders/17?order_id=17", false), ("/orders/17?customer_id=18", false), ("/orders/17?orderId=18", true),
            ("/orders/17?id=18", false), ("/orders/17", false), ("/orders?", false),
        ];
        for (target, want) in table {
            let template = if target.starts_with("/orders/") {
                "GET h /orders/{id}"
            } else {
                "GET h /orders"
            };
            assert_eq!(of(template, target).polluted.is_some(), want, "{target}");
        }
        let one = of("GET h /orders/{id}", "/orders/17?order_id=18").polluted;
        let other = of("GET h /orders/{id}", "/orders/19?order_id=20").polluted;
        assert_eq!(one, other, "counted by route and name");
    }

    #[test]
    fn versions_of_one_route_meet() {
        let version = |template: &str| of(&format!("GET h {template}"), template).version;
        let (new, old) = (
            version("/api/v2/orders/{id}"),
            version("/api/v1/orders/{id}"),
        );
        assert_eq!(new.map(|(route, _)| route), old.map(|(route, _)| route));
        assert_eq!((new.map(|v| v.1), old.map(|v| v.1)), (Some(2), Some(1)));
        assert_ne!(version("/api/v1/users/{id}").map(|v| v.0), old.map(|v| v.0));
        assert_eq!(version("/orders/{id}"), None);
    }

    #[test]
    fn hosts_and_origins_of_the_owner_are_none() {
        #[rustfmt::skip]
        let table = [
            ("https://app.shop.example", false), ("https://evil.example.net", true), ("null", true), ("http://localhost:3000", true),
            ("https://shop.example.evil.net", true), ("", false),
        ];
        for (origin, want) in table {
            let input = Input::of(&InputRequest {
                endpoint: "GET api.shop.example /x",
                path: "/x",
                origin: Some(origin),
                forwarded_host: host_of_url(origin),
                ..InputRequest::default()
            });
            assert_eq!(input.origin.is_some(), want, "{origin}");
            assert_eq!(
                input.forwarded.is_some(),
                want && origin != "null",
                "{origin}"
            );
        }
    }

    #[test]
    fn values_have_forms() {
        let parts = |target: &str| of("GET h /orders/{id}", target).shape();
        assert_eq!(parts("/orders/17?page=2"), parts("/orders/99?page=7"));
        for odd in [
            "/orders/-1?page=2",
            "/orders/99999999999999999999?page=2",
            "/orders/a'b?page=2",
            "/orders/17?page=2&x=1",
            "/orders/17?page=",
            "/orders/17?page=abc",
        ] {
            assert_ne!(parts("/orders/17?page=2"), parts(odd), "{odd}");
        }
        assert_eq!(
            of("GET h /o", "/o?a=1&b=x").shape(),
            of("GET h /o", "/o?b=y&a=2").shape(),
            "whatever the order"
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(endpoint in "\\PC{0,60}|(GET )?[a-z. ]{0,9}[/{}a-zv0-9]{0,40}", target in "\\PC{0,60}|[/?&=%a-z0-9_é]{0,60}", other in "\\PC{0,40}") {
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let input = Input::of(&InputRequest {
                endpoint: &endpoint, path, query: Some(query), origin: Some(&other), forwarded_host: Some(&other), content_type: Some(&other),
            });
            prop_assert!(input.parts().len() <= PARTS_MAX);
        }
    }
}
