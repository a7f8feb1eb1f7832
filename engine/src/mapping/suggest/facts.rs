//! What the values of a column are like: counts of what they could be.

use std::collections::HashMap;
use std::net::IpAddr;

use connectors::format::mapped::is_request_line;
use connectors::time::{is_plausible, parse_time};
use models::secret::looks_like_secret;

use super::sample::Column;

/// What one value could be; it may be several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Like {
    /// A time of this century.
    Time,
    /// A method of HTTP or WebDAV.
    Method,
    /// Method, target and protocol.
    RequestLine,
    /// A path, or a whole address with one.
    Path,
    /// A path with a name in braces or behind a colon: a route.
    Template,
    /// A whole address of the web.
    Url,
    /// A status of HTTP.
    Status,
    /// An IP address, with a port or not.
    Address,
    /// A user agent.
    Agent,
    /// A name of a host, or an address, with a port or not.
    Host,
    /// `http` or `https`.
    Scheme,
    /// A version of TLS.
    Tls,
    /// A type of content.
    Media,
    /// A number.
    Number,
    /// A whole number, zero or above.
    Count,
    /// A UUID, or 16 hexadecimal digits or more.
    Id,
    /// An `Authorization` header.
    Credential,
    /// A JSON object with a subject.
    Claims,
}

impl Like {
    /// Each of them.
    pub const ALL: [Like; 18] = [
        Like::Time,
        Like::Method,
        Like::RequestLine,
        Like::Path,
        Like::Template,
        Like::Url,
        Like::Status,
        Like::Address,
        Like::Agent,
        Like::Host,
        Like::Scheme,
        Like::Tls,
        Like::Media,
        Like::Number,
        Like::Count,
        Like::Id,
        Like::Credential,
        Like::Claims,
    ];

    fn holds(self, text: &str) -> bool {
        match self {
            Like::Time => parse_time(text).is_some_and(is_plausible),
            Like::Method => METHODS.contains(&text),
            Like::RequestLine => is_request_line(text),
            Like::Path => (text.starts_with('/') || Like::Url.holds(text)) && !text.contains(' '),
            Like::Template => {
                text.starts_with('/')
                    && (text.contains('{') || text.contains("/:") || text.contains('*'))
            }
            Like::Url => text.starts_with("http://") || text.starts_with("https://"),
            Like::Status => {
                text.len() == 3
                    && text
                        .parse()
                        .is_ok_and(|status: u16| (100..600).contains(&status))
            }
            Like::Address => address(text),
            Like::Agent => agent(text),
            Like::Host => address(text) || host(text),
            Like::Scheme => text.eq_ignore_ascii_case("http") || text.eq_ignore_ascii_case("https"),
            Like::Tls => text.starts_with("TLS") || text.starts_with("SSLv"),
            Like::Media => MEDIA.iter().any(|kind| text.starts_with(kind)),
            Like::Number => number(text).is_some(),
            Like::Count => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
            Like::Id => id(text),
            Like::Credential => {
                let scheme = text.split(' ').next().unwrap_or_default();
                text.contains(' ')
                    && ["bearer", "basic", "digest", "token"]
                        .iter()
                        .any(|known| scheme.eq_ignore_ascii_case(known))
            }
            Like::Claims => text.starts_with('{') && text.contains("\"sub\""),
        }
    }
}

const METHODS: [&str; 15] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "CONNECT",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
];

const MEDIA: [&str; 7] = [
    "application/",
    "text/",
    "image/",
    "multipart/",
    "audio/",
    "video/",
    "font/",
];

fn number(text: &str) -> Option<f64> {
    let first = text.bytes().next()?;
    let number: f64 = text.parse().ok()?;
    // `inf` and `nan` parse too, and are words.
    (number.is_finite() && (first.is_ascii_digit() || first == b'-')).then_some(number)
}

fn address(text: &str) -> bool {
    let bare = match text.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => text,
    };
    let without_port = bare.rsplit_once(':').map_or(bare, |(address, _)| address);
    bare.parse::<IpAddr>().is_ok() || without_port.parse::<IpAddr>().is_ok()
}

fn host(text: &str) -> bool {
    let name = text.rsplit_once(':').map_or(text, |(name, _)| name);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let has_letter = name.contains(|c: char| c.is_ascii_alphabetic());
    has_letter && name.chars().all(is_name) && (name.contains('.') || name == "localhost")
}

/// A product and its version, as the words of a user agent begin.
fn agent(text: &str) -> bool {
    let Some((product, rest)) = text.split_once('/') else {
        return false;
    };
    let is_product = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    let begins = product.starts_with(|c: char| c.is_ascii_alphabetic());
    let has_version = rest.starts_with(|c: char| c.is_ascii_digit() || c == 'v');
    begins && product.chars().all(is_product) && has_version && !text.starts_with("HTTP/")
}

fn id(text: &str) -> bool {
    let n_digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let n_dashes = text.bytes().filter(|byte| *byte == b'-').count();
    16 <= n_digits && n_digits + n_dashes == text.len() && n_dashes <= 4
}

/// What is known of a column.
#[derive(Debug)]
pub struct Facts {
    /// Lines that have a value.
    pub n_present: usize,
    /// Lines.
    pub n_lines: usize,
    /// Different values.
    pub n_distinct: usize,
    /// Values that look like a secret.
    pub n_secret: usize,
    /// Values with a fraction.
    pub n_fractions: usize,
    /// Values that are not below the one before: a clock seldom goes back.
    pub n_rising: usize,
    counts: [usize; Like::ALL.len()],
}

impl Facts {
    /// Looks at every value of a column.
    pub fn of(column: &Column) -> Facts {
        let mut distinct = HashMap::<&str, usize>::new();
        let mut facts = Facts {
            n_present: 0,
            n_lines: column.values.len(),
            n_distinct: 0,
            n_secret: 0,
            n_fractions: 0,
            n_rising: 0,
            counts: [0; Like::ALL.len()],
        };
        let mut latest = i64::MIN;
        for value in column.values.iter().flatten() {
            facts.n_present += 1;
            *distinct.entry(value).or_default() += 1;
            facts.n_secret += usize::from(looks_like_secret(value));
            facts.n_fractions += usize::from(value.contains('.') && number(value).is_some());
            for (count, like) in facts.counts.iter_mut().zip(Like::ALL) {
                *count += usize::from(like.holds(value));
            }
            if let Some(ms) = parse_time(value) {
                facts.n_rising += usize::from(latest <= ms);
                latest = ms;
            }
        }
        facts.n_distinct = distinct.len();
        facts
    }

    /// Share of the values that could be this; 0 of no values.
    pub fn share(&self, like: Like) -> f64 {
        let at = Like::ALL.iter().position(|known| *known == like);
        let count = at.map_or(0, |at| self.counts[at]);
        count as f64 / self.n_present.max(1) as f64
    }

    /// Share of the lines that have a value.
    pub fn coverage(&self) -> f64 {
        self.n_present as f64 / self.n_lines.max(1) as f64
    }

    /// How different the values are, in [0, 1]: 0 when all are one, 1 when each is another.
    pub fn diversity(&self) -> f64 {
        let (distinct, present) = (self.n_distinct as f64, self.n_present as f64);
        if self.n_present < 2 {
            return 0.0;
        }
        distinct.max(1.0).ln() / present.ln()
    }

    /// Share of the values that came before.
    pub fn repeats(&self) -> f64 {
        1.0 - self.n_distinct as f64 / self.n_present.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_by_what_they_look_like() {
        let rows = [
            ("GET", vec![Like::Method]),
            ("GET /a HTTP/1.1", vec![Like::RequestLine]),
            ("/a/{id}", vec![Like::Path, Like::Template]),
            ("https://h/a", vec![Like::Path, Like::Url]),
            ("404", vec![Like::Status, Like::Number, Like::Count]),
            ("0.25", vec![Like::Number]),
            ("192.0.2.1:443", vec![Like::Address, Like::Host]),
            ("[2001:db8::1]:443", vec![Like::Address, Like::Host]),
            ("curl/8.1.2", vec![Like::Agent]),
            ("api.example:8443", vec![Like::Host]),
            ("text/html; charset=utf-8", vec![Like::Media]),
            // A host by its looks: so hosts want a name, too.
            ("TLSv1.3", vec![Like::Host, Like::Tls]),
            ("2026-01-05T11:50:05Z", vec![Like::Time]),
            ("1767613805", vec![Like::Time, Like::Number, Like::Count]),
            ("6f1d3f3e-0c9e-4f2b-9a57-2a4b6c8d0e1f", vec![Like::Id]),
            ("Bearer abc", vec![Like::Credential]),
            ("alice", vec![]),
            ("nan", vec![]),
        ];
        for (text, wanted) in rows {
            let got: Vec<Like> = Like::ALL
                .into_iter()
                .filter(|like| like.holds(text))
                .collect();
            assert_eq!(got, wanted, "{text}");
        }
    }
}
