//! Personal texts of a call as they may be kept: pseudonyms, addresses cut to their network, queries without some values.
//!
//! Comes in: texts as logged, secrets blanked. Goes out: copies. A pseudonym is `~` and sixteen letters, a keyed hash: the same
//! text has the same one under a key, so that counts and comparisons of what is kept hold. An e-mail address becomes another
//! one, which nobody can have (`~…@pseudonym.invalid`), so that it is still seen that one stands in a URL.
//! **Invariant**: what is no word of the call's template, no name of a parameter and no value that is asked for leaves a path or
//! query of [`path`] and [`query`] only as a pseudonym; pseudonyms have no digits, so none looks like a number.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::endpoint::{SegmentKind, decode, decode_query, push_encoded, segment_kind};
use crate::identity::address;
use crate::secret::{BLANK, HashKey};

/// Longest literal of a template, in bytes.
const LITERAL_BYTES_MAX: usize = 64;
/// Longest name of a parameter that is kept beside pseudonyms; a longer one is a text somebody typed.
const NAME_BYTES_MAX: usize = 64;

/// Leading bits that are kept of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Of an IPv4 address, at most 32.
    pub ipv4: u8,
    /// Of an IPv6 address, at most 128.
    pub ipv6: u8,
}

/// The network of an address as text, without a port; nothing for what is no address.
///
/// An address of 6to4 (`2002::/16`) holds an IPv4 address behind its first 16 bits, of which no more is kept than of any other.
pub fn truncated(text: &str, widths: Widths) -> Option<IpAddr> {
    let kept = match address(text)? {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(widths.ipv4.min(32)));
            IpAddr::V4(Ipv4Addr::from(u32::from(ip) & mask.unwrap_or(0)))
        }
        IpAddr::V6(ip) => {
            let bits = match ip.segments()[0] {
                0x2002 => widths.ipv6.min(16 + widths.ipv4.min(32)),
                _ => widths.ipv6.min(128),
            };
            let mask = u128::MAX.checked_shl(128 - u32::from(bits));
            IpAddr::V6(Ipv6Addr::from(u128::from(ip) & mask.unwrap_or(0)))
        }
    };
    Some(kept)
}

/// What is kept of the values of queries.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    keep: Option<Vec<String>>,
    drop: Vec<String>,
}

impl Parameters {
    /// Blanks the values of parameters named in `drop`, and with `keep` those of all that are not named there. Names are compared
    /// without case, escapes decoded.
    pub fn new(keep: Option<&[String]>, drop: &[String]) -> Parameters {
        let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect();
        Parameters {
            keep: keep.map(lower),
            drop: lower(drop),
        }
    }

    /// True when every value stays.
    pub fn keeps_all(&self) -> bool {
        self.keep.is_none() && self.drop.is_empty()
    }

    fn of(&self, name: &str) -> Kept {
        if self.keeps_all() {
            return Kept::Unsaid;
        }
        let name = decode_query(name).to_lowercase();
        match &self.keep {
            _ if self.drop.contains(&name) => Kept::Never,
            Some(keep) if keep.contains(&name) => Kept::Always,
            Some(_) => Kept::Not,
            None => Kept::Unsaid,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Nothing is said of it.
    Unsaid,
    Always,
    /// Others are named to be kept.
    Not,
    Never,
}

/// How paths, queries and addresses of the web are kept.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// What is kept of queries.
    pub parameters: &'a Parameters,
    /// The key of pseudonyms; none when texts stay.
    pub key: Option<&'a HashKey>,
}

impl Texts<'_> {
    /// True when every text stays as it is.
    pub fn keep_all(&self) -> bool {
        self.key.is_none() && self.parameters.keeps_all()
    }

    /// Appends a path as it may be kept: words of its template stay, values become pseudonyms. Dots, doubled slashes and blanked
    /// secrets stay, matrix parameters and a query behind the path are treated as those of a query.
    ///
    /// * `template`: of this path, as [`crate::endpoint::endpoint`] gives it behind the host.
    pub fn path(&self, template: &str, path: &str, out: &mut String) {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        for (i, segment) in path.split('/').enumerate() {
            if i != 0 {
                out.push('/');
            }
            let (body, matrix) = match segment.split_once(';') {
                Some((body, matrix)) => (body, Some(matrix)),
                None => (segment, None),
            };
            match self.key {
                Some(key) => push_segment(key, template, body, out),
                None => out.push_str(body),
            }
            for pair in matrix.into_iter().flat_map(|matrix| matrix.split(';')) {
                out.push(';');
                self.pair(pair, out);
            }
        }
        if let Some(query) = query {
            out.push('?');
            self.query(query, out);
        }
    }

    /// Appends a query as it may be kept: names stay, values go by the parameters, and what they don't name becomes pseudonyms.
    pub fn query(&self, query: &str, out: &mut String) {
        for (i, pair) in query.split('&').enumerate() {
            if i != 0 {
                out.push('&');
            }
            for (i, part) in pair.split(';').enumerate() {
                if i != 0 {
                    out.push(';');
                }
                self.pair(part, out);
            }
        }
    }

    fn pair(&self, pair: &str, out: &mut String) {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (pair, None),
        };
        if name.is_empty() && value.is_none() {
            return;
        }
        let kept = self.parameters.of(name);
        if kept == Kept::Always {
            return out.push_str(pair);
        }
        // A word alone is as likely a value as a name.
        let Some(value) = value else {
            return self.value(name, kept, out);
        };
        match self.key {
            Some(key) if !is_name(name) => push_pseudonym(key, &decode_query(name), out),
            _ => out.push_str(name),
        }
        out.push('=');
        self.value(value, kept, out);
    }

    fn value(&self, value: &str, kept: Kept, out: &mut String) {
        if value.is_empty() || value == BLANK {
            return out.push_str(value);
        }
        match (kept, self.key) {
            (Kept::Never, _) | (Kept::Not, None) => out.push_str(BLANK),
            (Kept::Unsaid | Kept::Not, Some(key)) => {
                push_pseudonym(key, &decode_query(value), out);
            }
            (Kept::Always, _) | (Kept::Unsaid, None) => out.push_str(value),
        }
    }

    /// Appends an address of the web as it may be kept: with pseudonyms its path is one, scheme and host stay.
    pub fn url(&self, url: &str, out: &mut String) {
        let (before, query) = match url.split_once('?') {
            Some((before, query)) => (before, Some(query)),
            None => (url, None),
        };
        match self.key {
            Some(key) => {
                let start = before.find("://").map_or(0, |at| at + "://".len());
                let is_end = |c: char| matches!(c, '/' | '#');
                let end = match start {
                    0 => 0,
                    _ => before[start..]
                        .find(is_end)
                        .map_or(before.len(), |at| start + at),
                };
                let (origin, path) = before.split_at(end);
                out.push_str(origin);
                match path.strip_prefix('/') {
                    Some("") => out.push('/'),
                    Some(path) => {
                        out.push('/');
                        push_pseudonym(key, path, out);
                    }
                    None if path.is_empty() => (),
                    None => push_pseudonym(key, path, out),
                }
            }
            None => out.push_str(before),
        }
        if let Some(query) = query {
            out.push('?');
            self.query(query, out);
        }
    }
}

fn push_segment(key: &HashKey, template: &str, segment: &str, out: &mut String) {
    let decoded = decode(segment);
    if matches!(&*decoded, "" | "." | ".." | BLANK) {
        return out.push_str(segment);
    }
    let mut encoded = String::new();
    push_encoded(&decoded, LITERAL_BYTES_MAX, &mut encoded);
    let of_template = template.split('/').find_map(|part| {
        let Some((head, tail)) = part.split_once("{id}") else {
            return (part == encoded && decoded.len() <= LITERAL_BYTES_MAX).then_some(None);
        };
        // `42.json` is `{id}.json`; the bytes of plain heads and tails are those of the segment.
        let value = decoded.strip_prefix(head)?.strip_suffix(tail)?;
        let is_bare = head.is_empty() && tail.is_empty();
        (!is_bare && !value.is_empty()).then_some(Some((head, value, tail)))
    });
    match of_template {
        Some(None) => out.push_str(segment),
        Some(Some((head, value, tail))) => {
            out.push_str(head);
            push_pseudonym(key, value, out);
            out.push_str(tail);
        }
        None => push_pseudonym(key, &decoded, out),
    }
}

/// Says whether a name of a parameter is one as programs choose them, `filter[name]` too, and no text of somebody.
pub fn is_name(name: &str) -> bool {
    let name = decode_query(name);
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']' | b'$' | b':')
        })
}

fn push_pseudonym(key: &HashKey, text: &str, out: &mut String) {
    let tag = key.tag(text);
    out.push('~');
    for shift in (0..16).rev() {
        let digit = (tag >> (4 * shift)) as u8 & 0xf;
        out.push(char::from(b'a' + digit));
    }
    if segment_kind(text) == SegmentKind::Email {
        let _ = write!(out, "@pseudonym.invalid");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::endpoint::endpoint;

    const KEY: [u8; 32] = [7; 32];

    fn pseudonym(text: &str) -> String {
        let mut out = String::new();
        push_pseudonym(&HashKey::new(KEY), text, &mut out);
        out
    }

    fn template(path: &str) -> String {
        let (mut name, mut variables) = (String::new(), Vec::new());
        endpoint("GET", None, path, &mut name, &mut variables);
        name.rsplit(' ').next().unwrap_or_default().to_owned()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_address_keeps_its_leading_bits_and_no_port() {
        let widths = Widths { ipv4: 24, ipv6: 48 };
        for (text, kept) in [
            ("203.0.113.77", Some("203.0.113.0")),
            ("203.0.113.77:4711", Some("203.0.113.0")),
            ("203.0.113.77, 10.0.0.1", Some("203.0.113.0")),
            ("::ffff:203.0.113.77", Some("203.0.113.0")),
            ("2001:db8:1:2:3::4", Some("2001:db8:1::")),
            ("[2001:db8:1:2::4]:443", Some("2001:db8:1::")),
            // 6to4 of 203.0.113.77.
            ("2002:cb00:714d::1", Some("2002:cb00:7100::")),
            ("unknown", None),
            ("", None),
        ] {
            let found = truncated(text, widths).map(|ip| ip.to_string());
            assert_eq!(found.as_deref(), kept, "{text}");
        }
        for (widths, v4, v6) in [
            (
                Widths {
                    ipv4: 32,
                    ipv6: 128,
                },
                "203.0.113.77",
                "2001:db8::4",
            ),
            (Widths { ipv4: 0, ipv6: 0 }, "0.0.0.0", "::"),
        ] {
            let text = |text| truncated(text, widths).map(|ip| ip.to_string());
            assert_eq!(text("203.0.113.77").as_deref(), Some(v4));
            assert_eq!(text("2001:db8::4").as_deref(), Some(v6));
        }
    }

    #[test]
    fn words_of_the_template_stay_and_values_become_pseudonyms() {
        let parameters = Parameters::default();
        let key = HashKey::new(KEY);
        let texts = Texts {
            parameters: &parameters,
            key: Some(&key),
        };
        let (p, email) = (pseudonym, "alice@example.com");
        for (path, kept) in [
            ("/orders/4711/items", format!("/orders/{}/items", p("4711"))),
            (
                "/users/v1/alice/email",
                format!("/users/v1/{}/email", p("alice")),
            ),
            ("/orders/42.json", format!("/orders/{}.json", p("42"))),
            (
                "/c//./b/%2e%2e/d/***",
                format!("/c//./{}/%2e%2e/d/***", p("b")),
            ),
            ("/users/alice%40example.com", format!("/users/{}", p(email))),
            (
                "/orders/42;jsessionid=***;who=alice?of=bob",
                format!(
                    "/orders/{};jsessionid=***;who={}?of={}",
                    p("42"),
                    p("alice"),
                    p("bob")
                ),
            ),
            ("/", "/".to_owned()),
        ] {
            let mut out = String::new();
            texts.path(&template(path), path, &mut out);
            assert_eq!(out, kept, "{path}");
        }
        assert!(p(email).ends_with("@pseudonym.invalid"));
        assert_eq!(p("x"), p("x"));
        assert_ne!(p("x"), p("y"));
        // A word no template calls a value is part of the endpoint's name.
        let mut out = String::new();
        texts.path("/reports/summer", "/reports/winter", &mut out);
        assert_eq!(out, format!("/reports/{}", p("winter")));
    }

    #[test]
    fn values_of_a_query_go_by_name_and_the_rest_by_pseudonym() {
        let p = pseudonym;
        type Lists = (Option<&'static [&'static str]>, &'static [&'static str]);
        let (plain, drop, keep): (Lists, Lists, Lists) = (
            (None, &[]),
            (None, &["EMail"]),
            (Some(&["page"]), &["email"]),
        );
        let query = "email=a%40b.de&page=2&q=alice+smith&bob&%65mail=c&token=***&x=&a@b.de=1";
        for (lists, hashed, kept) in [
            (plain, false, query.to_owned()),
            (
                drop,
                false,
                "email=***&page=2&q=alice+smith&bob&%65mail=***&token=***&x=&a@b.de=1".to_owned(),
            ),
            (
                keep,
                false,
                "email=***&page=2&q=***&***&%65mail=***&token=***&x=&a@b.de=***".to_owned(),
            ),
            (
                plain,
                true,
                format!(
                    "email={}&page={}&q={}&{}&%65mail={}&token=***&x=&{}={}",
                    p("a@b.de"),
                    p("2"),
                    p("alice smith"),
                    p("bob"),
                    p("c"),
                    p("a@b.de"),
                    p("1")
                ),
            ),
            (
                keep,
                true,
                format!(
                    "email=***&page=2&q={}&{}&%65mail=***&token=***&x=&{}={}",
                    p("alice smith"),
                    p("bob"),
                    p("a@b.de"),
                    p("1")
                ),
            ),
        ] {
            let kept_names = lists.0.map(names);
            let parameters = Parameters::new(kept_names.as_deref(), &names(lists.1));
            let key = HashKey::new(KEY);
            let texts = Texts {
                parameters: &parameters,
                key: hashed.then_some(&key),
            };
            let mut out = String::new();
            texts.query(query, &mut out);
            assert_eq!(out, kept, "{lists:?} {hashed}");
            assert_eq!(texts.keep_all(), kept == query);
        }
    }

    #[test]
    fn of_a_referer_its_origin_stays() {
        let parameters = Parameters::default();
        let key = HashKey::new(KEY);
        let texts = Texts {
            parameters: &parameters,
            key: Some(&key),
        };
        let p = pseudonym;
        for (url, kept) in [
            ("https://shop.example/", "https://shop.example/".to_owned()),
            ("https://shop.example", "https://shop.example".to_owned()),
            (
                "https://shop.example/users/alice?token=***&of=bob",
                format!(
                    "https://shop.example/{}?token=***&of={}",
                    p("users/alice"),
                    p("bob")
                ),
            ),
            (
                "https://shop.example#alice",
                format!("https://shop.example{}", p("#alice")),
            ),
            ("alice", p("alice")),
            ("/alice", format!("/{}", p("alice"))),
        ] {
            let mut out = String::new();
            texts.url(url, &mut out);
            assert_eq!(out, kept, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_left_whatever_stands_around_it(
            before in "[a-z/;=&?%#.]{0,12}", value in "[A-Z]{3}[0-9]{9}", after in "[a-z/;=&?%#.]{0,12}", path in "[a-z/=%#.]{0,12}",
        ) {
            let parameters = Parameters::default();
            let key = HashKey::new(KEY);
            let texts = Texts { parameters: &parameters, key: Some(&key) };
            let text = format!("/{before}={value}{after}");
            let mut out = String::new();
            texts.query(&text, &mut out);
            prop_assert!(!out.contains(&value), "{text}: {out}");
            let (text, mut out) = (format!("/orders/{value}/{after}"), String::new());
            texts.path(&template(&text), &text, &mut out);
            prop_assert!(!out.contains(&value), "{text}: {out}");
            let (text, mut out) = (format!("https://x/{path}{value}{after}"), String::new());
            texts.url(&text, &mut out);
            prop_assert!(!out.contains(&value), "{text}: {out}");
        }
    }
}
