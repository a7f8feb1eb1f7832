//! Akamai DataStream 2, delivery streams in JSON (*Data set parameters*, *Log format*, stream versions 1 to 3, of 2026-07).
//!
//! | event | field |
//! |---|---|
//! | `event_time_ms` | `reqTimeSec`, text: s with a fraction, or ms; the request's **start** |
//! | `method` | `reqMethod` |
//! | `path`, `query` | `reqPath`, without its leading `/`; blank or left out is `/`; `queryStr` |
//! | `scheme` | `tlsVersion`, if there, is `https`; else `proto` (`HTTPS`), else `reqPort` 443 or 80 |
//! | `host` | `reqHost` |
//! | `status` | `statusCode`, text |
//! | `response_bytes` | `bytes` (body), else `totalBytes` |
//! | `latency_us` | `turnAroundTimeMSec`: from the request's last byte to the answer's first |
//! | `client_ip` | `cliIP` |
//! | `user_agent`, `referer` | `UA`, `referer`, percent-decoded |
//! | `session` | a session cookie of `cookie` |
//! | `jwt_sub`, `consumer`, `token_hash` | `customField`: `sub:`, `consumer:`, `token_hash:` between bars |
//! | `tls_version` | `tlsVersion` |
//! | `response_content_type` | `rspContentType`, percent-decoded |
//! | `request_id` | `reqId` |
//!
//! Keys are also read in lower case, as some shippers write them. A stream needs the fields above, *Request path* before all: one that
//! is not chosen looks like one that is blank, as JSON streams leave blank fields out.
//!
//! By default nothing says who called. The custom log field of the property's behaviour *Log Request Details* can say what the edge
//! verified, e.g. variables that *JWT verification* filled: `sub:{{user.PMUSER_SUB}}|consumer:{{user.PMUSER_APP}}`. Log nothing there
//! that a client sets, a bar least of all: the first of a name counts.
//!
//! Traps: blanks and bytes that are no ASCII are percent-encoded, `%` is not; old streams write the user agent as a form does (`+` for
//! a blank); a stream may sample.

use std::borrow::Cow;

use super::detect::has_any;
use super::json::{Scalar, object, read_into};
use super::target;
use super::{Capabilities, Fault, Presence};
use crate::event::{Event, Text};

pub(super) const DESCRIPTION: &str = "Akamai DataStream 2 delivery logs in JSON";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Configured,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Configured,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Never,
    response_headers: Presence::Configured,
    body: Presence::Never,
};

object! {
    struct Record {
        time: Scalar<'a> = "reqTimeSec" | "reqtimesec",
        method: Scalar<'a> = "reqMethod" | "reqmethod",
        path: Scalar<'a> = "reqPath" | "reqpath",
        query: Scalar<'a> = "queryStr" | "querystr",
        proto: Scalar<'a> = "proto",
        port: Scalar<'a> = "reqPort" | "reqport",
        host: Scalar<'a> = "reqHost" | "reqhost",
        status: Scalar<'a> = "statusCode" | "statuscode",
        bytes: Scalar<'a> = "bytes",
        total_bytes: Scalar<'a> = "totalBytes" | "totalbytes",
        turn_around: Scalar<'a> = "turnAroundTimeMSec" | "turnaroundtimemsec",
        client_ip: Scalar<'a> = "cliIP" | "cliip",
        user_agent: Scalar<'a> = "ua",
        referer: Scalar<'a> = "referer",
        cookie: Scalar<'a> = "cookie",
        custom: Scalar<'a> = "customField" | "customfield",
        tls_version: Scalar<'a> = "tlsVersion" | "tlsversion",
        content_type: Scalar<'a> = "rspContentType" | "rspcontenttype",
        request_id: Scalar<'a> = "reqId" | "reqid",
    }
}

/// Says whether a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"reqTimeSec\"", "\"reqtimesec\""])
}

/// Decodes one record.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let event_time_ms = record.time.time("reqTimeSec")?;
    let method = record
        .method
        .method("reqMethod")?
        .ok_or_else(|| Fault::missing("reqMethod"))?;
    let session = target::decoded(record.cookie.text("cookie")?)
        .and_then(|cookie| target::session_of(&cookie));
    let tls_version = record.tls_version.text("tlsVersion")?;
    let custom = target::decoded(record.custom.text("customField")?);
    let said = |name: &str| custom.as_ref().and_then(|custom| named(custom, name));
    Ok(Event {
        event_time_ms,
        gateway: "akamai",
        method,
        scheme: scheme(
            tls_version.is_some(),
            record.proto.text("proto")?,
            record.port.count("reqPort")?,
        ),
        host: record.host.text("reqHost")?,
        path: path(record.path.text("reqPath")?),
        query: record.query.text("queryStr")?,
        status: record.status.status("statusCode")?,
        response_bytes: record.bytes.or(record.total_bytes).count("bytes")?,
        latency_us: record.turn_around.scaled("turnAroundTimeMSec", 1_000)?,
        client_ip: record.client_ip.address("cliIP")?,
        user_agent: record.user_agent.text("UA")?.map(agent),
        token_hash: said("token_hash"),
        jwt_sub: said("sub"),
        consumer: said("consumer"),
        session,
        tls_version,
        response_content_type: target::decoded(record.content_type.text("rspContentType")?),
        request_id: record.request_id.text("reqId")?,
        referer: target::decoded(record.referer.text("referer")?),
        ..Event::default()
    })
}

fn scheme(is_tls: bool, proto: Text<'_>, port: Option<i64>) -> Text<'static> {
    let known = proto.and_then(|proto| target::http_scheme(&proto));
    match (is_tls, known, port) {
        (true, ..) => Some("https".into()),
        (false, Some(scheme), _) => Some(scheme),
        (false, None, Some(443)) => Some("https".into()),
        (false, None, Some(80)) => Some("http".into()),
        _ => None,
    }
}

fn path(path: Text<'_>) -> Cow<'_, str> {
    match path {
        None => Cow::Borrowed("/"),
        Some(path) if path.starts_with('/') => path,
        Some(path) => Cow::Owned(format!("/{path}")),
    }
}

/// A user agent in either encoding.
fn agent(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_form = text.contains('+') && !text.contains(' ') && !text.contains("%20");
    target::percent_decoded(if is_form {
        Cow::Owned(text.replace('+', " "))
    } else {
        text
    })
}

/// What follows a name and a colon, up to the next bar.
fn named<'a>(custom: &Cow<'a, str>, name: &str) -> Text<'a> {
    let value = custom.split('|').find_map(|part| {
        let (key, value) = part.split_once(':')?;
        (key == name).then_some(value)
    })?;
    let start = value.as_ptr().addr() - custom.as_ptr().addr();
    let value = target::cut(custom, start..start + value.len());
    (!matches!(value.as_ref(), "" | "-")).then_some(value)
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::Akamai;
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = r#"{"version":"3","reqTimeSec":"1767571200.003","reqId":"1239f220","cliIP":"192.0.2.7","reqMethod":"GET","proto":"HTTP/2","reqHost":"shop.example","reqPort":"443","reqPath":"a/7","queryStr":"x=1","statusCode":"200","bytes":"25510","totalBytes":"27489","turnAroundTimeMSec":"83","UA":"Mozilla/5.0%20(X11)%20a+b","referer":"https://r.example/","cookie":"a=b;%20sid=s1","tlsVersion":"TLSv1.3","rspContentType":"text/html;%20charset=utf-8","customField":"sub:u-1%7cconsumer:shop|token_hash:-"}"#;

    #[test]
    fn every_field_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00.003Z",
            "status=200",
            "response_bytes=25510",
            "latency_us=83000",
            "gateway=akamai",
            "method=GET",
            "scheme=https",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=Mozilla/5.0 (X11) a+b",
            "jwt_sub=u-1",
            "consumer=shop",
            "session=s1",
            "tls_version=TLSv1.3",
            "response_content_type=text/html; charset=utf-8",
            "request_id=1239f220",
            "referer=https://r.example/",
        ];
        assert_eq!(print(Akamai, LINE), want);
        let body = LINE
            .split_once('{')
            .unwrap()
            .1
            .replace("turnAroundTimeMSec", "turnaroundtimemsec");
        let names = [
            "reqTimeSec",
            "reqMethod",
            "reqPath",
            "statusCode",
            "cliIP",
            "UA",
        ];
        let lower = names.iter().fold(format!("{{{body}"), |line, name| {
            line.replace(name, &name.to_ascii_lowercase())
        });
        let want = [
            "path=/a/7",
            "status=200",
            "latency_us=83000",
            "client_ip=192.0.2.7",
        ];
        assert_has(Akamai, &lower, &want);
    }

    #[test]
    fn clocks_paths_agents_and_schemes_come_in_several_ways() {
        let rows = [
            (
                ("\"1767571200.003\"", "\"1767571200003\""),
                "event_time=2026-01-05T00:00:00.003Z",
            ),
            (("\"a/7\"", "\"/a/7\""), "path=/a/7"),
            (("\"a/7\"", "\"a%2F7\""), "path=/a%2F7"),
            (("\"a/7\"", "\"-\""), "path=/"),
            (("\"reqPath\":\"a/7\",", ""), "path=/"),
            (
                ("Mozilla/5.0%20(X11)%20a+b", "Mozilla%2F5.0+%28X11%29"),
                "user_agent=Mozilla/5.0 (X11)",
            ),
            (("\"bytes\":\"25510\",", ""), "response_bytes=27489"),
        ];
        for ((from, to), want) in rows {
            assert_has(Akamai, &LINE.replace(from, to), &[want]);
        }
        let no_tls = LINE.replace("\"TLSv1.3\"", "\"-\"");
        assert_has(Akamai, &no_tls, &["scheme=https"]);
        let http = no_tls.replace("\"443\"", "\"80\"");
        assert_has(Akamai, &http, &["scheme=http"]);
        assert_has(Akamai, &http.replace("HTTP/2", "HTTPS"), &["scheme=https"]);
        assert_lacks(Akamai, &http.replace("\"80\"", "\"8080\""), "scheme");
    }

    #[test]
    fn the_first_of_a_name_in_the_custom_field_counts() {
        let twice = LINE.replace("sub:u-1", "a,sub:no|sub:u-1|sub:u-2");
        assert_has(Akamai, &twice, &["jwt_sub=u-1"]);
        assert_lacks(Akamai, LINE, "token_hash");
    }

    #[test]
    fn what_every_call_has_may_not_be_missing() {
        for key in ["reqTimeSec", "reqMethod"] {
            let line = LINE.replace(&format!("\"{key}\""), "\"absent\"");
            assert_eq!(print(Akamai, line), [format!("missing_field: {key}")]);
        }
    }
}
