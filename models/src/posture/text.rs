//! Small questions about values of a call: hosts, addresses, parameters, personal data. No allocation.

use std::net::IpAddr;

/// Bytes of a query or path in which personal data is looked for.
const LOOK_BYTES_MAX: usize = 512;

/// True when `value` begins with `prefix`, whatever the case.
pub(super) fn starts(value: &str, prefix: &str) -> bool {
    let head = value.as_bytes().get(..prefix.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// True when `value` ends with `suffix`, whatever the case.
pub(super) fn ends(value: &str, suffix: &str) -> bool {
    let start = value.len().checked_sub(suffix.len());
    let tail = start.and_then(|start| value.as_bytes().get(start..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(suffix.as_bytes()))
}

/// True when `value` holds `part`, whatever the case.
pub(super) fn holds(value: &str, part: &str) -> bool {
    value
        .as_bytes()
        .windows(part.len())
        .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

/// The address without port and brackets.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next()?.parse().ok();
    }
    match text.split_once(':') {
        Some((head, tail)) if !tail.contains(':') => head.parse().ok(),
        _ => text.parse().ok(),
    }
}

/// True for an address that no stranger on the internet has; `None` for what is no address.
pub(super) fn is_inside_text(text: &str) -> Option<bool> {
    // Most addresses are written plainly: the first two numbers tell.
    let mut numbers = [0u32; 2];
    let (mut at, mut n_dots) = (0, 0);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' if n_dots < 2 => {
                numbers[n_dots] = (numbers[n_dots] * 10 + u32::from(byte - b'0')).min(999)
            }
            b'0'..=b'9' => (),
            b'.' => n_dots += 1,
            _ => return address(text).map(is_inside),
        }
        at += 1;
    }
    if n_dots != 3 || at < 7 {
        return address(text).map(is_inside);
    }
    Some(match numbers {
        [0 | 10 | 127, _] | [192, 168] | [169, 254] => true,
        [172, second] => (16..32).contains(&second),
        [100, second] => (64..128).contains(&second),
        _ => false,
    })
}

/// True for an address that no stranger on the internet has.
pub(super) fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_inside(IpAddr::V4(v4)),
            None => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || matches!(v6.segments()[0], 0xfc00..=0xfdff | 0xfe80..=0xfebf)
            }
        },
    }
}

/// Where a host name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// This machine, a private network, a cluster.
    Inside,
    /// A public address in a name's place.
    Address,
    /// A public name.
    Name,
}

/// Where a host belongs, its port left aside.
pub(super) fn place(host: &str) -> Place {
    let name = host.split(':').next().unwrap_or(host);
    // No address ends in a letter but one of version 6, which has brackets or several colons.
    if !name.ends_with(|c: char| c.is_ascii_alphabetic()) || host.starts_with('[') {
        return match address(host) {
            Some(address) if is_inside(address) => Place::Inside,
            Some(_) => Place::Address,
            None if name.contains('.') => Place::Name,
            None => Place::Inside,
        };
    }
    let Some((_, tail)) = name.rsplit_once('.') else {
        return Place::Inside;
    };
    match tail.len() {
        // The commonest are none of these.
        2 => Place::Name,
        _ if ["com", "net", "org", "dev", "app"].contains(&tail) => Place::Name,
        _ => {
            let inside = [
                "local",
                "localhost",
                "internal",
                "svc",
                "lan",
                "intranet",
                "home",
                "corp",
                "test",
                "invalid",
            ];
            if inside.iter().any(|word| tail.eq_ignore_ascii_case(word)) {
                Place::Inside
            } else {
                Place::Name
            }
        }
    }
}

/// True for a host that is named as one of development or test: a whole word of its first labels.
pub(super) fn is_rehearsal(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or(host);
    // The last two labels are the owner's name.
    let mut dots = memchr::memrchr_iter(b'.', name.as_bytes());
    let Some(owner) = dots.nth(1) else {
        return false;
    };
    name[..owner].split(['.', '-']).any(|word| {
        matches!(
            word,
            "dev"
                | "develop"
                | "development"
                | "test"
                | "testing"
                | "stage"
                | "staging"
                | "stg"
                | "uat"
                | "qa"
                | "sandbox"
                | "preprod"
                | "nonprod"
        )
    })
}

/// The host of an origin or an absolute URL, without scheme, user and port.
pub(crate) fn host_of_url(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = if host.starts_with('[') {
        host
    } else {
        host.split(':').next()?
    };
    (!host.is_empty()).then_some(host)
}

/// True when both names end in the same two labels: most likely one owner.
pub(crate) fn are_kin(one: &str, other: &str) -> bool {
    fn owner(host: &str) -> &str {
        let host = host.split(':').next().unwrap_or(host);
        let mut dots = memchr::memrchr_iter(b'.', host.as_bytes());
        let second = dots.nth(1);
        second.map_or(host, |dot| &host[dot + 1..])
    }
    owner(one).eq_ignore_ascii_case(owner(other))
}

/// Items a query asks for at once, by the usual names of that parameter.
pub(super) fn page_size(query: &str) -> Option<u64> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let asks = matches!(
            name,
            "limit"
                | "per_page"
                | "perPage"
                | "page_size"
                | "pageSize"
                | "pagesize"
                | "size"
                | "count"
                | "top"
                | "$top"
                | "%24top"
                | "first"
                | "max_results"
                | "maxResults"
        );
        if asks { value.parse().ok() } else { None }
    })
}

/// What a content type is, as far as checks ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// JSON, or of its family.
    Json,
    /// A page.
    Html,
    /// XML or a form.
    Loose,
    /// Anything else.
    Other,
}

/// What a content type is.
pub(super) fn content(kind: &str) -> Content {
    let kind = kind.split(';').next().unwrap_or(kind).trim_end();
    match kind {
        "application/json" => Content::Json,
        _ if kind.eq_ignore_ascii_case("text/html") => Content::Html,
        _ if holds(kind, "json") => Content::Json,
        _ if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") => Content::Loose,
        _ if holds(kind, "xml") && !holds(kind, "xhtml") => Content::Loose,
        _ => Content::Other,
    }
}

/// True for a type that browsers run, or make a page of where it looks like one: JSON and pictures are none.
pub(super) fn is_run_or_sniffed(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or(kind).trim_end();
    kind.eq_ignore_ascii_case("text/plain")
        || kind.eq_ignore_ascii_case("text/css")
        || ends(kind, "javascript")
}

/// True when a text holds an e-mail address or a payment card's number.
pub(super) fn is_personal(text: &str) -> bool {
    let bytes = text.as_bytes();
    let bytes = bytes.get(..bytes.len().min(LOOK_BYTES_MAX)).unwrap_or(&[]);
    holds_address(bytes) || holds_card(bytes)
}

/// `a@b.cd`, the sign perhaps escaped: letters before it, a dot with two letters behind it.
fn holds_address(bytes: &[u8]) -> bool {
    memchr::memchr2_iter(b'@', b'%', bytes).any(|at| {
        let behind = match bytes[at] {
            b'@' => at + 1,
            _ if bytes.get(at + 1..at + 3) == Some(b"40") => at + 3,
            _ => return false,
        };
        let is_local = at
            .checked_sub(1)
            .is_some_and(|before| bytes[before].is_ascii_alphanumeric());
        let domain = bytes.get(behind..).unwrap_or(&[]);
        let end = domain
            .iter()
            .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')))
            .unwrap_or(domain.len());
        let domain = &domain[..end];
        is_local
            && memchr::memrchr(b'.', domain).is_some_and(|dot| {
                let tail = &domain[dot + 1..];
                dot != 0
                    && (2..=24).contains(&tail.len())
                    && tail.iter().all(u8::is_ascii_alphabetic)
            })
    })
}

/// 13 to 19 digits alone, of an issuer's range, whose check digit is right.
fn holds_card(bytes: &[u8]) -> bool {
    // So many digits in a row pass over one of these places.
    if !bytes.iter().skip(12).step_by(13).any(u8::is_ascii_digit) {
        return false;
    }
    bytes.split(|byte| !byte.is_ascii_digit()).any(|digits| {
        let issued = match (digits.len(), digits.first()) {
            (16, Some(b'2' | b'4' | b'5' | b'6')) | (15, Some(b'3')) | (13 | 19, Some(b'4')) => {
                true
            }
            _ => return false,
        };
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(at, digit)| match (u32::from(digit - b'0'), at % 2) {
                (digit, 0) => digit,
                (digit, _) => (2 * digit) / 10 + (2 * digit) % 10,
            })
            .sum();
        issued && sum.is_multiple_of(10)
    })
}

/// True when a product header names a version: a digit behind a slash or a blank.
pub(super) fn names_version(product: &str) -> bool {
    product
        .as_bytes()
        .windows(2)
        .any(|pair| matches!(pair[0], b'/' | b' ') && pair[1].is_ascii_digit())
}

/// True for SSL and TLS before 1.2: `TLSv1`, `TLSv1.1`, `1.0`, `SSLv3`, 769; unknown spellings are not.
pub(super) fn is_old_tls(version: &str) -> bool {
    let version = version.trim();
    if version.ends_with(".3") || version.ends_with(".2") {
        return starts(version, "ssl");
    }
    if starts(version, "ssl") {
        return true;
    }
    let number = version
        .trim_start_matches(|c: char| c.is_ascii_alphabetic())
        .trim_start_matches(['_', ' ', '-']);
    matches!(
        number,
        "1" | "1.0" | "1.1" | "1_0" | "1_1" | "769" | "770" | "0x0301" | "0x0302"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_and_addresses_have_a_place() {
        #[rustfmt::skip]
        let table = [
            ("127.0.0.1:8080", Place::Inside), ("[::1]:443", Place::Inside), ("10.1.2.3", Place::Inside), ("api", Place::Inside),
            ("pay.svc", Place::Inside), ("a.b.cluster.local:80", Place::Inside), ("api.example.com:443", Place::Name),
            ("8.8.8.8", Place::Address), ("[2001:db8::1]", Place::Address), ("100.64.1.1", Place::Inside), ("::ffff:10.0.0.1", Place::Inside),
        ];
        for (host, want) in table {
            assert_eq!(place(host), want, "{host}");
        }
    }

    #[test]
    fn an_address_is_inside_however_it_is_read() {
        for text in [
            "10.1.2.3",
            "127.0.0.1:80",
            "192.168.0.1",
            "172.16.0.1",
            "172.31.255.1",
            "100.64.0.1",
            "169.254.169.254",
            "::1",
            "[fd00::1]:443",
            "fe80::1",
            "0.0.0.0",
        ] {
            assert_eq!(is_inside_text(text), Some(true), "{text}");
        }
        for text in [
            "11.1.2.3",
            "198.51.100.7:4711",
            "172.32.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "2001:db8::1",
            "1.2.3.4",
        ] {
            assert_eq!(is_inside_text(text), Some(false), "{text}");
        }
        for text in ["", "-", "unknown", "1.2.3", "1...", "a.b.c.d"] {
            assert_eq!(is_inside_text(text), None, "{text}");
        }
    }

    #[test]
    fn contents_and_pages_are_told() {
        for (kind, want) in [
            ("application/json; charset=utf-8", Content::Json),
            ("application/problem+json", Content::Json),
            ("Text/HTML", Content::Html),
            ("text/xml", Content::Loose),
            ("application/xhtml+xml", Content::Other),
            ("multipart/form-data; boundary=x", Content::Other),
            ("application/x-www-form-urlencoded", Content::Loose),
            ("", Content::Other),
        ] {
            assert_eq!(content(kind), want, "{kind}");
        }
        for (query, want) in [
            ("page=2&limit=5000", Some(5000)),
            ("limit=x&size=3", Some(3)),
            ("limits=5", None),
            ("", None),
        ] {
            assert_eq!(page_size(query), want, "{query}");
        }
    }

    #[test]
    fn rehearsals_and_kin_are_whole_words_of_names() {
        for (host, want) in [
            ("api-dev.shop.com", true),
            ("staging.api.shop.com:8443", true),
            ("test.com", false),
            ("developer.shop.com", false),
            ("qa.x", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(is_rehearsal(host), want, "{host}");
        }
        for (one, other, want) in [
            ("app.shop.com", "api.shop.com:443", true),
            ("shop.com", "api.shop.com", true),
            ("evil.com", "shop.com", false),
            ("a", "a", true),
        ] {
            assert_eq!(are_kin(one, other), want, "{one} {other}");
        }
        assert_eq!(
            host_of_url("https://u:p@evil.example:8/x?y"),
            Some("evil.example")
        );
        assert_eq!((host_of_url("null"), host_of_url("https://")), (None, None));
    }

    #[test]
    fn personal_data_is_recognised_by_its_form() {
        #[rustfmt::skip]
        let table = [
            ("email=bob@example.com", true), ("email=bob%40example.com", true), ("q=@example.com", false), ("q=a@b", false), ("u=a@b.c", false),
            ("n=4111111111111111", true), ("n=4111111111111112", false), ("id=1234567890123456", false), ("n=378282246310005", true), ("t=1767571200003", false), ("", false),
        ];
        for (text, want) in table {
            assert_eq!(is_personal(text), want, "{text}");
        }
    }

    #[test]
    fn versions_are_told() {
        for (text, want) in [
            ("nginx/1.22.1", true),
            ("nginx", false),
            ("Apache/2", true),
            ("istio-envoy", false),
            ("PHP 8.1", true),
        ] {
            assert_eq!(names_version(text), want, "{text}");
        }
        for (text, want) in [
            ("TLSv1.2", false),
            ("TLSv1.1", true),
            ("TLSv1", true),
            ("1.0", true),
            ("TLS1.3", false),
            ("SSLv3", true),
            ("771", false),
            ("769", true),
            ("?", false),
            ("TLS_1_1", true),
        ] {
            assert_eq!(is_old_tls(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,60}|[@%40.a:/\\[\\]0-9]{0,60}") {
            let _ = (is_personal(&text), place(&text), host_of_url(&text), is_rehearsal(&text), are_kin(&text, &text), names_version(&text), is_old_tls(&text), holds(&text, "a="), content(&text), page_size(&text));
            if let Some(inside) = is_inside_text(&text) { prop_assert!(address(&text).is_none_or(|address| is_inside(address) == inside)); }
        }
    }
}
