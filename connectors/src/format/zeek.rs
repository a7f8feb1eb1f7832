//! Zeek: `http.log` as JSON (Zeek 4 to 8, base/protocols/http/main.zeek, `LogAscii::use_json` or the JSON streaming package).
//!
//! | event | Zeek |
//! |---|---|
//! | `event_time_ms` | `ts`, seconds as a float or ISO, the request's **start** |
//! | `method`, `path`, `query` | `method`, `uri` (raw, with query) |
//! | `scheme` | `http`: what is encrypted is not seen |
//! | `host` | `host` |
//! | `status` | `status_code`; 0 is none |
//! | `request_bytes`, `response_bytes` | `request_body_len`, `response_body_len`, **body only** |
//! | `client_ip` | `id.orig_h` |
//! | `user_agent`, `referer`, `origin` | `user_agent`, `referrer`, `origin` |
//! | `principal` | `username` (Basic authentication as the client sent it, checked or not) |
//! | `response_content_type` | the first of `resp_mime_types`, as Zeek sniffed it |
//! | `request_id` | `uid`, of the connection |
//!
//! Traps: no latency; behind a proxy `id.orig_h` is the proxy, and `proxied` holds what it says, which is not read; a response without
//! its request (`method` absent) is no call; one connection's calls share their `uid`.

use super::detect::has_any;
use super::json::{Header, Scalar, object, read_into};
use super::target::{self, Target};
use super::{Capabilities, Fault, Presence};
use crate::event::Event;

pub(super) const DESCRIPTION: &str = "Zeek's http.log in JSON";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Never,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Configured,
    response_headers: Presence::Never,
    body: Presence::Never,
};

object! {
    struct Record {
        ts: Scalar<'a> = "ts",
        uid: Scalar<'a> = "uid",
        client: Scalar<'a> = "id.orig_h",
        method: Scalar<'a> = "method",
        host: Scalar<'a> = "host",
        uri: Scalar<'a> = "uri",
        referrer: Scalar<'a> = "referrer",
        origin: Scalar<'a> = "origin",
        user_agent: Scalar<'a> = "user_agent",
        username: Scalar<'a> = "username",
        request_len: Scalar<'a> = "request_body_len",
        response_len: Scalar<'a> = "response_body_len",
        status_code: Scalar<'a> = "status_code",
        mime: Header<'a> = "resp_mime_types",
    }
}

/// Says whether a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    has_any(text, &["\"id.orig_h\""])
}

/// Decodes one record.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let mut record = Record::default();
    read_into(&mut record, text)?;
    let event_time_ms = record.ts.time("ts")?;
    let method = record
        .method
        .method("method")?
        .ok_or_else(|| Fault::missing("method"))?;
    let Target {
        scheme,
        host,
        path,
        query,
    } = target::split(record.uri.required("uri")?);
    Ok(Event {
        event_time_ms,
        gateway: "zeek",
        method,
        scheme: scheme.or(Some("http".into())),
        host: record.host.text("host")?.or(host),
        path,
        query,
        status: record.status_code.status("status_code")?,
        request_bytes: record.request_len.count("request_body_len")?,
        response_bytes: record.response_len.count("response_body_len")?,
        client_ip: record.client.text("id.orig_h")?,
        user_agent: record.user_agent.text("user_agent")?,
        principal: record.username.text("username")?,
        response_content_type: record.mime.text("resp_mime_types")?,
        request_id: record.uid.text("uid")?,
        referer: record.referrer.text("referrer")?,
        origin: record.origin.text("origin")?,
        ..Event::default()
    })
}

#[cfg(test)]
mod tests {
    use crate::format::Format::Zeek;
    use crate::format::tests::print;

    #[test]
    fn a_record_is_mapped() {
        let line = r#"{"ts":1767571200.003685,"uid":"CqgZ1","id.orig_h":"192.0.2.7","id.orig_p":1035,"id.resp_h":"10.0.0.2","id.resp_p":80,
            "trans_depth":1,"method":"GET","host":"shop.example","uri":"/a/7?x=1","referrer":"http://r.example/","version":"1.1","user_agent":"curl/8",
            "request_body_len":0,"response_body_len":323,"status_code":200,"status_msg":"OK","tags":[],"username":"ann","resp_mime_types":["text/html"]}"#;
        let want = [
            "event_time=2026-01-05T00:00:00.004Z",
            "status=200",
            "request_bytes=0",
            "response_bytes=323",
            "gateway=zeek",
            "method=GET",
            "scheme=http",
            "host=shop.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=curl/8",
            "principal=ann",
            "response_content_type=text/html",
            "request_id=CqgZ1",
            "referer=http://r.example/",
        ];
        assert_eq!(print(Zeek, line), want);
        let answer = line.replace("\"method\"", "\"x\"");
        assert_eq!(print(Zeek, answer), ["missing_field: method"]);
    }
}
