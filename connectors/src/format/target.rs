//! Request targets and addresses: the small texts inside fields that every format has.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

use super::Fault;
use super::combined::hex;
use crate::event::Text;
use crate::reject::RejectReason;

/// A request target, taken apart.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Target<'a> {
    pub(super) scheme: Text<'a>,
    pub(super) host: Text<'a>,
    pub(super) path: Cow<'a, str>,
    pub(super) query: Text<'a>,
}

/// Cuts a part out of a text without copying what is borrowed.
pub(super) fn cut<'a>(text: &Cow<'a, str>, part: Range<usize>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[part]),
        Cow::Owned(text) => Cow::Owned(text[part].to_owned()),
    }
}

/// Takes a target apart: `/path?query`, `any://host/path?query` or `*`; the path stays as it is.
pub(super) fn split<'a>(target: Cow<'a, str>) -> Target<'a> {
    let some = |part: Range<usize>| (!part.is_empty()).then(|| cut(&target, part));
    let (scheme, host, path_start) = match absolute(&target) {
        Some((scheme_end, host_end)) => (
            known_scheme(&target[..scheme_end]).map(Cow::Borrowed),
            some(scheme_end + 3..host_end),
            host_end,
        ),
        None => (None, None, 0),
    };
    let path_end = memchr::memchr(b'?', &target.as_bytes()[path_start..])
        .map_or(target.len(), |at| path_start + at);
    let query = some((path_end + 1).min(target.len())..target.len());
    let path = match some(path_start..path_end) {
        Some(_) if path_start == 0 && path_end == target.len() => target,
        Some(path) => path,
        None => Cow::Borrowed("/"),
    };
    Target {
        scheme,
        host,
        path,
        query,
    }
}

/// Ends of the scheme and of the host in an absolute target.
///
/// Any scheme of RFC 3986, section 3.1, in any case: nginx serves `x://host/path` as it does `/path`, and a target not known here would
/// hide the call.
fn absolute(target: &str) -> Option<(usize, usize)> {
    if !target.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let scheme_end = target.bytes().position(|b| !is_scheme(&b))?;
    let after_scheme = target[scheme_end..].strip_prefix("://")?;
    let host_end = memchr::memchr3(b'/', b'?', b'#', after_scheme.as_bytes())
        .map_or(target.len(), |at| scheme_end + 3 + at);
    Some((scheme_end, host_end))
}

/// The scheme, when it is one that a gateway serves; another one is what the client made up.
fn known_scheme(scheme: &str) -> Option<&'static str> {
    ["http", "https", "ws", "wss"]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known))
}

/// The scheme of a call that is passed on to a host, perhaps with a port; none where that is the gateway's own machine, or a socket of
/// it: no wire leads there.
pub(super) fn upstream_scheme(scheme: &str, host: &str) -> Option<Cow<'static, str>> {
    let name = host.split(':').next().unwrap_or_default();
    let is_own = name.eq_ignore_ascii_case("localhost")
        || host.starts_with("127.")
        || host.starts_with('/')
        || host == "::1"
        || host.starts_with("[::1]");
    http_scheme(scheme).filter(|_| !is_own)
}

/// The same of a URL.
pub(super) fn upstream_of(url: &str) -> Option<Cow<'static, str>> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    upstream_scheme(scheme, &rest[..end])
}

/// `http` or `https`, of a scheme that may be one of WebSocket or gRPC.
pub(super) fn http_scheme(scheme: &str) -> Option<Cow<'static, str>> {
    let names = [
        ("https", "https"),
        ("http", "http"),
        ("wss", "https"),
        ("ws", "http"),
        ("grpcs", "https"),
        ("grpc", "http"),
    ];
    names
        .into_iter()
        .find(|(name, _)| scheme.eq_ignore_ascii_case(name))
        .map(|(_, scheme)| Cow::Borrowed(scheme))
}

/// Undoes percent encoding once; what is not UTF-8 afterwards is replaced.
pub(super) fn percent_decoded(text: Cow<'_, str>) -> Cow<'_, str> {
    let source = text.as_bytes();
    let mut signs = memchr::memchr_iter(b'%', source).peekable();
    if signs.peek().is_none() {
        return text;
    }
    let (mut bytes, mut start) = (Vec::with_capacity(source.len()), 0);
    for sign in signs {
        let Some(&[high, low]) = source.get(sign + 1..sign + 3) else {
            break;
        };
        if start <= sign && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() {
            bytes.extend_from_slice(&source[start..sign]);
            bytes.push(hex(high) << 4 | hex(low));
            start = sign + 3;
        }
    }
    bytes.extend_from_slice(&source[start..]);
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into(),
    }
}

/// As [`percent_decoded`], of a text that may be absent.
pub(super) fn decoded(text: Text<'_>) -> Text<'_> {
    text.map(percent_decoded)
}

/// Takes a request line apart: method and target.
///
/// A method that is no token of RFC 9110, section 5.6.2, or a target that is no path, URL or `*`, is not HTTP: TLS to a plain port, a
/// worm. Methods that do not exist (`CONNECT2`), however long, are events: servers pass them on and probes use them. White space may
/// be doubled, trail, or be a tab, and the protocol in any case: some server takes each of these.
pub(super) fn request_line<'a>(line: Cow<'a, str>) -> Result<(Cow<'a, str>, Cow<'a, str>), Fault> {
    let garbage = || Fault::new(RejectReason::Malformed, "the request line is not HTTP");
    let text = line.trim_ascii();
    if matches!(text, "" | "-") {
        return Err(Fault::missing("request line"));
    }
    let is_blank = u8::is_ascii_whitespace;
    let method_end = text
        .bytes()
        .position(|b| is_blank(&b))
        .ok_or_else(garbage)?;
    let (method, rest) = (&text[..method_end], &text[method_end + 1..]);
    if !method.bytes().all(is_token) {
        return Err(garbage());
    }
    // A target may hold spaces; the protocol ends the line, except in HTTP/0.9.
    let target = match rest.as_bytes().iter().rposition(is_blank) {
        Some(end) if is_protocol(&rest[end + 1..]) => &rest[..end],
        _ => rest,
    }
    .trim_ascii();
    let is_target = target.starts_with('/')
        || target == "*"
        || absolute(target).is_some()
        || method == "CONNECT";
    if !is_target || target.is_empty() || is_protocol(target) {
        return Err(garbage());
    }
    let part = |part: &str| {
        let start = part.as_ptr().addr() - line.as_ptr().addr();
        cut(&line, start..start + part.len())
    };
    Ok((part(method), part(target)))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_protocol(word: &str) -> bool {
    word.as_bytes()
        .get(..5)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"HTTP/"))
}

/// Removes port and brackets of an address; a Unix socket is no address.
pub(super) fn address(text: Cow<'_, str>) -> Text<'_> {
    let part = match text.as_bytes() {
        [b'[', ..] => 1..text.find(']')?,
        bytes => match memchr::memchr(b':', bytes) {
            None => return (!text.is_empty()).then_some(text),
            // A second colon: IPv6 without brackets, hence without port.
            Some(at) if memchr::memchr(b':', &bytes[at + 1..]).is_some() => return Some(text),
            Some(_) if text.starts_with("unix:") => return None,
            Some(at) => 0..at,
        },
    };
    let address = cut(&text, part);
    (!matches!(address.as_ref(), "" | "-")).then_some(address)
}

/// Says whether a text is an IP address, without a port.
pub(super) fn is_ip(text: &str) -> bool {
    // Most are IPv4, which takes a tenth of the time that telling all forms apart does.
    is_ipv4(text.as_bytes()) || text.parse::<IpAddr>().is_ok()
}

fn is_ipv4(bytes: &[u8]) -> bool {
    let (mut n_dots, mut n_digits, mut part) = (0, 0, 0);
    for byte in bytes {
        match byte {
            b'0'..=b'9' if n_digits == 0 || (n_digits < 3 && part != 0) => {
                part = part * 10 + u32::from(byte - b'0');
                n_digits += 1;
            }
            b'.' if 1 <= n_digits && part <= 255 => {
                n_dots += 1;
                (n_digits, part) = (0, 0);
            }
            _ => return false,
        }
    }
    n_dots == 3 && 1 <= n_digits && part <= 255
}

/// Address of the last in a list of forwarders: the one that the proxy in front added.
pub(super) fn last_forwarder(list: Cow<'_, str>) -> Text<'_> {
    let start = list.rfind(',').map_or(0, |at| at + 1);
    let last = list[start..].trim_ascii();
    let start = last.as_ptr().addr() - list.as_ptr().addr();
    address(cut(&list, start..start + last.len()))
}

/// Trace id of a W3C `traceparent` (`00-<32 hex>-<16 hex>-01`); another text is taken whole.
pub(super) fn trace_id(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_parent = text.len() >= 55
        && text.is_char_boundary(35)
        && [2, 35].iter().all(|at| text.as_bytes()[*at] == b'-');
    if is_parent { cut(&text, 3..35) } else { text }
}

/// Value of the first cookie that holds a session in the usual frameworks.
pub(super) fn session_cookie(cookies: &str) -> Option<Range<usize>> {
    const NAMES: [&str; 9] = [
        "JSESSIONID",
        "PHPSESSID",
        "connect.sid",
        "sessionid",
        "session",
        "session_id",
        "sid",
        "ASP.NET_SessionId",
        "laravel_session",
    ];
    cookies.split(';').find_map(|pair| {
        let (name, value) = pair.trim_ascii().split_once('=')?;
        let start = value.as_ptr().addr() - cookies.as_ptr().addr();
        (NAMES.contains(&name) && !matches!(value, "" | "REDACTED"))
            .then_some(start..start + value.len())
    })
}

/// As [`session_cookie`], cut out.
pub(super) fn session_of<'a>(cookies: &Cow<'a, str>) -> Text<'a> {
    session_cookie(cookies).map(|part| cut(cookies, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split_and_paths_stay_raw() {
        let rows = [
            ("/a/b", (None, None, "/a/b", None)),
            ("/a?b=c?d", (None, None, "/a", Some("b=c?d"))),
            ("/a?", (None, None, "/a", None)),
            (
                "//api//v1/./orders/../12;x=1",
                (None, None, "//api//v1/./orders/../12;x=1", None),
            ),
            ("/a/%2e%2E/%00", (None, None, "/a/%2e%2E/%00", None)),
            (
                "http://h:80/a?b",
                (Some("http"), Some("h:80"), "/a", Some("b")),
            ),
            ("https://h", (Some("https"), Some("h"), "/", None)),
            (
                "https://h?x=1",
                (Some("https"), Some("h"), "/", Some("x=1")),
            ),
            ("/r?u=http://x/y", (None, None, "/r", Some("u=http://x/y"))),
            ("hTTp://h/a?b", (Some("http"), Some("h"), "/a", Some("b"))),
            ("x://h/a", (None, Some("h"), "/a", None)),
            ("a+b-c.1://h:1?q", (None, Some("h:1"), "/", Some("q"))),
            ("1x://h/a", (None, None, "1x://h/a", None)),
            ("x:/a", (None, None, "x:/a", None)),
            ("*", (None, None, "*", None)),
            ("?a", (None, None, "/", Some("a"))),
        ];
        for (text, (scheme, host, path, query)) in rows {
            let target = split(text.into());
            let got = (
                target.scheme.as_deref(),
                target.host.as_deref(),
                target.path.as_ref(),
                target.query.as_deref(),
            );
            assert_eq!(got, (scheme, host, path, query), "{text}");
        }
    }

    #[test]
    fn request_lines_are_told_from_garbage() {
        let rows = [
            ("GET /a HTTP/1.1", Some(("GET", "/a"))),
            ("GET /a b c HTTP/1.1", Some(("GET", "/a b c"))),
            ("GET /a", Some(("GET", "/a"))),
            ("OPTIONS * HTTP/1.1", Some(("OPTIONS", "*"))),
            (
                "M-SEARCH http://h/ HTTP/1.1",
                Some(("M-SEARCH", "http://h/")),
            ),
            ("CONNECT h:443 HTTP/1.1", Some(("CONNECT", "h:443"))),
            ("CONNECT2 /a HTTP/1.1", Some(("CONNECT2", "/a"))),
            ("GET x://h/a/5 HTTP/1.1", Some(("GET", "x://h/a/5"))),
            ("GET hTTp://h/a/5 HTTP/1.1", Some(("GET", "hTTp://h/a/5"))),
            ("GET   /a HTTP/1.1  ", Some(("GET", "/a"))),
            ("GET\t/a\thttp/1.1", Some(("GET", "/a"))),
            ("- /a HTTP/1.1", Some(("-", "/a"))),
            ("G!T /a HTTP/1.1", Some(("G!T", "/a"))),
            (
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /a HTTP/1.1",
                Some(("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "/a")),
            ),
            ("GET  HTTP/1.1", None),
            ("GET 1://h/ HTTP/1.1", None),
            ("GET x:/a HTTP/1.1", None),
            ("G(T /a HTTP/1.1", None),
            ("GET", None),
            ("-", None),
            ("", None),
            ("\u{16}\u{3}\u{1} garbage", None),
            ("lv|'|'|VHJv", None),
            ("SSH-2.0-Go", None),
            ("GET nopath HTTP/1.1", None),
        ];
        for (line, want) in rows {
            let got = request_line(line.into()).ok();
            let got = got
                .as_ref()
                .map(|(method, target)| (method.as_ref(), target.as_ref()));
            assert_eq!(got, want, "{line:?}");
        }
    }

    #[test]
    fn addresses_lose_port_and_brackets() {
        let rows = [
            ("10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1:4711", Some("10.0.0.1")),
            ("[2a02::36]:5000", Some("2a02::36")),
            ("[2a02::36]", Some("2a02::36")),
            ("2a02::36", Some("2a02::36")),
            ("::1", Some("::1")),
            ("-:80", None),
            ("unix:", None),
            ("[", None),
            ("[]:80", None),
        ];
        for (text, want) in rows {
            assert_eq!(address(text.into()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn ip_addresses_are_those_of_the_standard_library() {
        let parts = [
            "", "0", "9", "00", "01", "10", "255", "256", "0255", "1a", "-1",
        ];
        let rows = [
            "::1",
            "1.2.3",
            "1.2.3.4.5",
            ".1.2.3.4",
            "1.2.3.4.",
            "1.2.3.4:5",
            "[::1]",
        ];
        let of_parts = parts
            .iter()
            .flat_map(|a| parts.map(|b| format!("{a}.1.{b}.{a}")));
        for text in of_parts.chain(rows.map(str::to_owned)) {
            assert_eq!(is_ip(&text), text.parse::<IpAddr>().is_ok(), "{text}");
        }
    }

    #[test]
    fn percent_encoding_is_undone_once_and_broken_ones_stay() {
        let rows = [
            ("a b+c", "a b+c"),
            ("Mozilla/5.0%20(X11;%20x)", "Mozilla/5.0 (X11; x)"),
            ("%2520", "%20"),
            ("%C3%A9", "é"),
            ("%ff%", "\u{fffd}%"),
            ("%4", "%4"),
            ("%%41%4%41", "%A%4A"),
            ("%é1", "%é1"),
        ];
        for (text, want) in rows {
            assert_eq!(percent_decoded(text.into()), want, "{text}");
        }
        assert_eq!(http_scheme("WSS").as_deref(), Some("https"));
        assert_eq!(http_scheme("h2"), None);
    }

    #[test]
    fn trace_ids_and_session_cookies_are_cut_out() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_id(parent.into()), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace_id("abc".into()), "abc");
        let cookies = Cow::Borrowed("theme=dark; JSESSIONID=ab=c; x");
        assert_eq!(
            session_cookie(&cookies).map(|part| &cookies[part]),
            Some("ab=c")
        );
        assert_eq!(session_cookie("sid=; a=b"), None);
    }
}
