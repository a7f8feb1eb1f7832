//! Imperva Cloud WAF (Incapsula): access events in CEF (*Log File Structure* and *Example Logs* of Cloud Application Security,
//! read 2026-11), alone or behind a syslog header.
//!
//! ```text
//! CEF:0|Incapsula|SIEMintegration|1|1|Normal|0| key=value key=value with blanks …
//! ```
//!
//! | event | key |
//! |---|---|
//! | `event_time_ms` | `start` ms; the request's **start** |
//! | `method` | `requestMethod`, `requestmethod` |
//! | `host`, `path`, `query` | `request`, a URL without scheme, and `qstr`; host else `sourceServiceName` |
//! | `scheme` | `app`: `HTTP` or `HTTPS` |
//! | `status` | `cn1` |
//! | `latency_us` | `end` - `start`, up to a day |
//! | `client_ip` | `src` |
//! | `user_agent`, `referer` | `requestClientApplication`, `ref` |
//! | `authorization`, `api_key`, `session`, other headers | `additionalReqHeaders`, a list in JSON, where the site logs them |
//! | response's headers | `additionalResHeaders` |
//! | `request_body` | `postbody` |
//! | `tls_version` | first word of `ver` |
//! | `service` | `siteid` |
//! | `request_id` | `deviceExternalId`, `deviceExternalID` |
//!
//! `=`, `|` and the backslash are escaped by a backslash inside values, so a client cannot write a key; of a key that is there twice the
//! first counts. `in` (*content length*) is not read, as the documents do not say of what. `suid` is the site's owner, not the caller.
//! LEEF, W3C and the events of other Imperva products are other formats.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use memchr::memmem;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::headers::Headers;
use super::json::{Scalar, believe, take_all};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::Event;
use crate::reject::RejectReason;

pub(super) const DESCRIPTION: &str = "Imperva Cloud WAF access events in CEF";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Never,
    tls_version: Presence::Always,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Configured,
    response_headers: Presence::Configured,
    body: Presence::Configured,
};

const MARK: &str = "CEF:0|Incapsula|";
/// Bytes within which a syslog header ends and the event begins.
const SYSLOG_BYTES_MAX: usize = 256;
/// Longest key. Without a bound each sign in a long value would have the whole value searched for its key.
const KEY_BYTES_MAX: usize = 64;
/// Longest time between `start` and `end` that is believed: a day.
const LATENCY_MS_MAX: i64 = 86_400_000;

/// Says whether a line is such an event, behind a syslog header or not.
pub(super) fn looks_like(text: &str) -> bool {
    event_start(text).is_some()
}

/// Where the event begins. Elsewhere in a line the mark may be a client's word.
fn event_start(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [b'<', b'0'..=b'9', ..] => memmem::find(
            &text.as_bytes()[..text.len().min(SYSLOG_BYTES_MAX)],
            MARK.as_bytes(),
        ),
        _ => text.starts_with(MARK).then_some(0),
    }
}

/// The values that are read, raw.
#[derive(Default)]
struct Record<'a> {
    start: &'a str,
    end: &'a str,
    method: &'a str,
    request: &'a str,
    query: &'a str,
    service_name: &'a str,
    app: &'a str,
    status: &'a str,
    src: &'a str,
    user_agent: &'a str,
    referer: &'a str,
    request_headers: &'a str,
    response_headers: &'a str,
    body: &'a str,
    ver: &'a str,
    site: &'a str,
    request_id: &'a str,
}

impl<'a> Record<'a> {
    fn of(extension: &'a str) -> Record<'a> {
        let mut record = Record::default();
        for (key, value) in pairs(extension) {
            let slot = match key {
                "start" => &mut record.start,
                "end" => &mut record.end,
                "requestMethod" | "requestmethod" => &mut record.method,
                "request" => &mut record.request,
                "qstr" => &mut record.query,
                "sourceServiceName" => &mut record.service_name,
                "app" => &mut record.app,
                "cn1" => &mut record.status,
                "src" => &mut record.src,
                "requestClientApplication" => &mut record.user_agent,
                "ref" => &mut record.referer,
                "additionalReqHeaders" => &mut record.request_headers,
                "additionalResHeaders" => &mut record.response_headers,
                "postbody" => &mut record.body,
                "ver" => &mut record.ver,
                "siteid" => &mut record.site,
                "deviceExternalId" | "deviceExternalID" => &mut record.request_id,
                _ => continue,
            };
            if slot.is_empty() {
                *slot = value;
            }
        }
        record
    }
}

/// Decodes one event.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let broken = || Fault::new(RejectReason::Malformed, "not a CEF event of Imperva's");
    let start = event_start(text).ok_or_else(broken)?;
    let record = Record::of(extension(&text[start..]).ok_or_else(broken)?);
    let scalar = |value| Scalar::Text(unescaped(value));
    let event_time_ms = scalar(record.start).time("start")?;
    let target = target_of(scalar(record.request).required("request")?);
    let mut event = Event {
        event_time_ms,
        gateway: "imperva",
        method: scalar(record.method)
            .method("requestMethod")?
            .ok_or_else(|| Fault::missing("requestMethod"))?,
        scheme: target::http_scheme(record.app),
        host: target
            .host
            .or(scalar(record.service_name).text("sourceServiceName")?),
        path: target.path,
        query: target.query.or(scalar(record.query).text("qstr")?),
        status: scalar(record.status).status("cn1")?,
        latency_us: latency_us(event_time_ms, scalar(record.end)),
        client_ip: scalar(record.src).address("src")?,
        user_agent: scalar(record.user_agent).text("requestClientApplication")?,
        service: scalar(record.site).text("siteid")?,
        tls_version: scalar(record.ver.split(' ').next().unwrap_or_default()).text("ver")?,
        request_id: scalar(record.request_id).text("deviceExternalId")?,
        referer: scalar(record.referer).text("ref")?,
        request_body: scalar(record.body).text("postbody")?,
        ..Event::default()
    };
    headers(record.request_headers).fill_request(&mut event)?;
    headers(record.response_headers).fill_response(&mut event)?;
    Ok(event)
}

/// What follows the seven fields of the header.
fn extension(event: &str) -> Option<&str> {
    let bars = memchr::memchr_iter(b'|', event.as_bytes());
    let is_plain = |at: &usize| !is_escaped(event.as_bytes(), *at);
    let last = bars.filter(is_plain).nth(6)?;
    Some(&event[last + 1..])
}

/// Says whether an odd number of backslashes stands before a byte.
fn is_escaped(bytes: &[u8], at: usize) -> bool {
    let backslashes = bytes[..at].iter().rev().take_while(|b| **b == b'\\');
    backslashes.count() % 2 == 1
}

/// Keys and raw values. A value reaches to the blank before the next key.
fn pairs(extension: &str) -> impl Iterator<Item = (&str, &str)> {
    let bytes = extension.as_bytes();
    let mut signs = memchr::memchr_iter(b'=', bytes)
        .filter(move |at| !is_escaped(bytes, *at))
        .filter_map(move |sign| {
            let near = sign.saturating_sub(KEY_BYTES_MAX + 1);
            let start = match memchr::memrchr(b' ', &bytes[near..sign]) {
                Some(at) => near + at + 1,
                None if near == 0 => 0,
                None => return None,
            };
            let is_key = start < sign && bytes[start..sign].iter().all(u8::is_ascii_alphanumeric);
            is_key.then_some((start, sign))
        })
        .peekable();
    std::iter::from_fn(move || {
        let (start, sign) = signs.next()?;
        let end = signs.peek().map_or(extension.len(), |(start, _)| *start);
        Some((
            &extension[start..sign],
            extension[sign + 1..end].trim_ascii(),
        ))
    })
}

fn unescaped(value: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let (mut text, mut rest) = (String::with_capacity(value.len()), value);
    while let Some((plain, after)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = after.chars();
        text.push(match chars.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some(escaped) => escaped,
            None => '\\',
        });
        rest = chars.as_str();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// A URL whose scheme is missing: `shop.example/a?b`.
fn target_of(request: Cow<'_, str>) -> Target<'_> {
    let target = target::split(request);
    if target.host.is_some() || target.path.starts_with('/') {
        return target;
    }
    let path = target.path;
    let host_end = path.find('/').unwrap_or(path.len());
    Target {
        host: Some(target::cut(&path, 0..host_end)),
        path: if host_end < path.len() {
            target::cut(&path, host_end..path.len())
        } else {
            Cow::Borrowed("/")
        },
        ..target
    }
}

fn latency_us(start_ms: i64, end: Scalar<'_>) -> Option<i64> {
    let end_ms = believe(end.time("end").ok()?, "end").ok()?;
    let latency_ms = end_ms - start_ms;
    (0..=LATENCY_MS_MAX)
        .contains(&latency_ms)
        .then_some(latency_ms * 1_000)
}

/// Headers of a list in JSON; none if it is not one, as a long list is cut.
fn headers(value: &str) -> Headers<'static> {
    let mut headers = Headers::default();
    if value.is_empty() {
        return headers;
    }
    let text = unescaped(value);
    if take_all(&mut List(&mut headers), &text) {
        return headers;
    }
    let mut headers = Headers::default();
    let list: Vec<BTreeMap<String, String>> = sonic_rs::from_str(&text).unwrap_or_default();
    for (name, value) in list.into_iter().flatten() {
        headers.put(&name, Scalar::Text(value.into()));
    }
    headers
}

/// Takes a list of objects of one name each, as Imperva writes it; any other is refused.
struct List<'h>(&'h mut Headers<'static>);

impl<'de> DeserializeSeed<'de> for &mut List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of headers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(One(self.0))?.is_some() {}
        Ok(())
    }
}

/// Takes an object of one name; what follows the first is left, so that the object does not end.
struct One<'h>(&'h mut Headers<'static>);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Some(name) = map.next_key::<&'de str>()? {
            let value: String = map.next_value()?;
            self.0.put(name, Scalar::Text(value.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::format::Format::Imperva;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"CEF:0|Incapsula|SIEMintegration|1|1|Normal|0| sourceServiceName=shop.example siteid=150 suid=50005477 requestClientApplication=Mozilla/5.0 (X11; rv\=40.0) a deviceFacility=fra cs7=31.8 cs7Label=latitude start=1767571200003 request=shop.example/a/7 ref=https://r.example/ requestMethod=GET qstr=x\=1&y\=2 cn1=200 app=HTTPS deviceExternalId=33411452762204224 in=54 xff=6.6.6.6 cpt=443 src=192.0.2.7 ver=TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 end=1767571200015 additionalReqHeaders=[{"Authorization":"Bearer a.b.c\="},{"Origin":"https://o.example"}] additionalResHeaders=[{"Content-Type":"text/html; charset\=UTF-8"}]"#;

    #[test]
    fn every_key_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "latency_us=12000",
            "gateway=imperva",
            "method=GET",
            "scheme=https",
            "host=shop.example",
            "path=/a/7",
            "query=x=1&y=2",
            "client_ip=192.0.2.7",
            "user_agent=Mozilla/5.0 (X11; rv=40.0) a",
            "authorization=Bearer a.b.c=",
            "service=150",
            "tls_version=TLSv1.2",
            "response_content_type=text/html; charset=UTF-8",
            "request_id=33411452762204224",
            "referer=https://r.example/",
            "origin=https://o.example",
        ];
        assert_eq!(print(Imperva, LINE), want);
        let syslog = format!("<134>Jan  5 00:00:00 collector {LINE}");
        assert_eq!(print(Imperva, syslog), want);
    }

    #[test]
    fn a_value_forges_no_key() {
        let forged = LINE.replace("rv\\=40.0", r"x cn1\=500 requestMethod\=HEAD \\ =y -=z");
        let want = [
            "status=200",
            "method=GET",
            r"user_agent=Mozilla/5.0 (X11; x cn1=500 requestMethod=HEAD \ =y -=z) a",
        ];
        assert_has(Imperva, &forged, &want);
    }

    #[test]
    fn urls_sizes_and_times_may_be_odd() {
        let rows = [
            (
                ("request=shop.example/a/7", "request=/a/7"),
                "host=shop.example",
            ),
            (
                (
                    "request=shop.example/a/7",
                    "request=https://h.example:8443/a/7",
                ),
                "host=h.example:8443",
            ),
            (
                ("request=shop.example/a/7", "request=h.example/a/7?z\\=3"),
                "query=z=3",
            ),
            (("requestMethod", "requestmethod"), "method=GET"),
            (("app=HTTPS", "app=HTTP"), "scheme=http"),
        ];
        for ((from, to), want) in rows {
            assert_has(Imperva, &LINE.replace(from, to), &["path=/a/7", want]);
        }
        let root = LINE.replace("request=shop.example/a/7", "request=h.example");
        assert_has(Imperva, &root, &["host=h.example", "path=/"]);
        assert_lacks(
            Imperva,
            &LINE.replace("end=1767571200015", "end=1867571200015"),
            "latency_us",
        );
        // A list that was cut has no headers.
        assert_lacks(
            Imperva,
            &LINE.replace("\"}] additionalRes", " additionalRes"),
            "authorization",
        );
    }

    #[test]
    fn what_is_no_access_event_is_rejected() {
        let rows = [
            (
                LINE.replace("|Normal|0|", "|Normal"),
                "malformed: not a CEF event of Imperva's",
            ),
            (
                LINE.replace("|Incapsula|", "|Other|"),
                "malformed: not a CEF event of Imperva's",
            ),
            (LINE.replace("start=", "begin="), "missing_field: start"),
            (
                LINE.replace("request=shop.example/a/7", ""),
                "missing_field: request",
            ),
            (
                LINE.replace("requestMethod=GET", ""),
                "missing_field: requestMethod",
            ),
            (
                LINE.replace("cn1=200", "cn1=ok"),
                "wrong_type: cn1 is not a number",
            ),
        ];
        for (line, want) in rows {
            assert_eq!(print(Imperva, &line), [want], "{line}");
        }
    }

    #[test]
    fn keys_and_values_are_cut_where_the_next_key_begins() {
        let got: Vec<_> = pairs(r" a=1 b=x y=\= z c= d=e\\=f").collect();
        assert_eq!(
            got,
            [
                ("a", "1"),
                ("b", "x"),
                ("y", r"\= z"),
                ("c", ""),
                ("d", r"e\\=f")
            ]
        );
        assert_eq!(pairs("no keys").count(), 0);
        let long = |n_bytes| format!(" {}=1", "k".repeat(n_bytes));
        assert_eq!(pairs(&long(KEY_BYTES_MAX)).count(), 1);
        assert_eq!(pairs(&long(KEY_BYTES_MAX + 1)).count(), 0);
    }

    #[test]
    fn lists_of_headers_are_read_whole_or_not_at_all() {
        let rows = [
            (r#"[{"X-Api-Key":"k"},{"Origin":"o"}]"#, Some("k")),
            (r#" [ {} , {"X-Api-Key":"k\n"} ] "#, Some("k\n")),
            // Of several names in one object the first in their order counts.
            (r#"[{"X-Api-Key":"x","Api-Key":"a"}]"#, Some("a")),
            (r#"[{"x-\u0061pi-key":"k"}]"#, Some("k")),
            (r#"[{"X-Api-Key":"k"},{"Origin":1}]"#, None),
            (r#"[{"X-Api-Key":"k"},["a"]]"#, None),
            (r#"[[{"X-Api-Key":"k"}]]"#, None),
            (r#"{"X-Api-Key":"k"}"#, None),
            (r#"[{"X-Api-Key":"k"}"#, None),
        ];
        for (list, want) in rows {
            let mut event = Event::default();
            let escaped = list.replace('\\', "\\\\");
            headers(&escaped).fill_request(&mut event).expect("texts");
            assert_eq!(event.api_key.as_deref(), want, "{list}");
        }
    }
}
