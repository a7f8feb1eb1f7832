//! Headers as formats with all of them log them: an object, or a list of names and values.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Fault;
use super::json::{
    ExactKey, Header, Joined, Object, Scalar, Slot, Told, authorization, is_redacted, object,
};
use super::target;
use crate::event::{AnswerHeaders, Event};

/// The headers that an event has a place for; of one message, a request or a response.
///
/// Of a header sent twice the first counts, but of those by which a client hides one value behind another, all do.
#[derive(Debug, Default)]
pub(super) struct Headers<'a> {
    pub(super) host: Scalar<'a>,
    content_type: Scalar<'a>,
    user_agent: Scalar<'a>,
    authorization: Scalar<'a>,
    api_key: Scalar<'a>,
    cookie: Scalar<'a>,
    session: Scalar<'a>,
    request_id: Scalar<'a>,
    trace: Scalar<'a>,
    referer: Scalar<'a>,
    origin: Scalar<'a>,
    method_override: Scalar<'a>,
    forwarded_host: Scalar<'a>,
    rewritten_url: Scalar<'a>,
    allow_origin: Scalar<'a>,
    allow_credentials: Scalar<'a>,
    server: Scalar<'a>,
    powered_by: Scalar<'a>,
    mcp_method: Scalar<'a>,
    mcp_name: Scalar<'a>,
    mcp_version: Scalar<'a>,
    a2a_version: Scalar<'a>,
    signature_agent: Scalar<'a>,
    sdk_language: Scalar<'a>,
    via: Scalar<'a>,
    told: ToldHeaders<'a>,
    is_any: bool,
    is_other: bool,
}

/// The headers of a response that are asked whether they are there.
#[derive(Debug, Default)]
struct ToldHeaders<'a> {
    hsts: Told<'a>,
    content_type_options: Told<'a>,
    frame_options: Told<'a>,
    content_security_policy: Told<'a>,
    cache_control: Told<'a>,
    vary: Told<'a>,
    set_cookie: Told<'a>,
    location: Told<'a>,
    debug_header: Told<'a>,
}

impl<'a> ToldHeaders<'a> {
    /// The place of a header by its name in lower case.
    fn place(&mut self, name: &str) -> Option<&mut Told<'a>> {
        Some(match name {
            "strict-transport-security" => &mut self.hsts,
            "x-content-type-options" => &mut self.content_type_options,
            "x-frame-options" => &mut self.frame_options,
            "content-security-policy" => &mut self.content_security_policy,
            "cache-control" => &mut self.cache_control,
            "vary" => &mut self.vary,
            "set-cookie" => &mut self.set_cookie,
            "location" => &mut self.location,
            "x-debug-token"
            | "x-debug-token-link"
            | "x-clockwork-id"
            | "phpdebugbar-id"
            | "x-chromelogger-data"
            | "x-sourcefiles" => &mut self.debug_header,
            _ => return None,
        })
    }

    fn answer(self) -> AnswerHeaders<'a> {
        AnswerHeaders {
            hsts: self.hsts.0,
            content_type_options: self.content_type_options.0,
            frame_options: self.frame_options.0,
            content_security_policy: self.content_security_policy.0,
            cache_control: self.cache_control.0,
            vary: self.vary.0,
            set_cookie: self.set_cookie.0,
            location: self.location.0,
            debug_header: self.debug_header.0,
        }
    }
}

impl<'a> Headers<'a> {
    /// The place of a header by its name in lower case, and whether all its values count.
    fn place(&mut self, name: &str) -> Option<(&mut Scalar<'a>, bool)> {
        Some(match name {
            "host" => (&mut self.host, false),
            "content-type" => (&mut self.content_type, false),
            "user-agent" => (&mut self.user_agent, false),
            "authorization" => (&mut self.authorization, false),
            "x-api-key" | "apikey" | "api-key" | "ocp-apim-subscription-key" => {
                (&mut self.api_key, false)
            }
            "cookie" => (&mut self.cookie, false),
            "mcp-session-id" => (&mut self.session, false),
            "x-request-id" => (&mut self.request_id, false),
            "traceparent" | "x-b3-traceid" => (&mut self.trace, false),
            "referer" => (&mut self.referer, false),
            "origin" => (&mut self.origin, false),
            "x-http-method-override" | "x-http-method" | "x-method-override" => {
                (&mut self.method_override, true)
            }
            "x-forwarded-host" => (&mut self.forwarded_host, true),
            "x-original-url" | "x-rewrite-url" => (&mut self.rewritten_url, true),
            "access-control-allow-origin" => (&mut self.allow_origin, false),
            "access-control-allow-credentials" => (&mut self.allow_credentials, false),
            "server" => (&mut self.server, false),
            "x-powered-by" => (&mut self.powered_by, false),
            "mcp-method" => (&mut self.mcp_method, false),
            "mcp-name" => (&mut self.mcp_name, false),
            "mcp-protocol-version" => (&mut self.mcp_version, false),
            "a2a-version" => (&mut self.a2a_version, false),
            "signature-agent" => (&mut self.signature_agent, false),
            "x-stainless-lang" => (&mut self.sdk_language, false),
            "via" | "cdn-loop" | "cf-ray" | "x-amz-cf-id" => (&mut self.via, false),
            _ => return None,
        })
    }

    /// Takes a header of a list; the name in any case.
    pub(super) fn put(&mut self, name: &str, value: Scalar<'a>) {
        self.is_any = true;
        let name = lower(name);
        if let Some((place, is_joined)) = self.place(&name) {
            if is_joined {
                *place = std::mem::take(place).join(value);
            } else if place.is_blank() {
                *place = value;
            }
        } else if let Some(place) = self.told.place(&name) {
            place.add(value);
        }
    }

    /// Fills what a request's headers tell and the event does not have from elsewhere.
    pub(super) fn fill_request(self, event: &mut Event<'a>) -> Result<(), Fault> {
        let (authorization, is_hidden) =
            authorization(self.authorization.text("request header authorization")?);
        event.authorization = event.authorization.take().or(authorization);
        event.authenticated_hint |= is_hidden;
        let cookie = self.cookie.text("request header cookie")?;
        let session = self.session.text("request header mcp-session-id")?;
        let session = session.or_else(|| cookie.as_ref().and_then(target::session_of));
        let trace = self.trace.text("request header traceparent")?;
        for (place, value) in [
            (&mut event.host, self.host.text("request header host")?),
            (
                &mut event.request_content_type,
                self.content_type.text("request header content-type")?,
            ),
            (
                &mut event.user_agent,
                self.user_agent.text("request header user-agent")?,
            ),
            (
                &mut event.api_key,
                self.api_key
                    .text("request header x-api-key")?
                    .filter(|key| !is_redacted(key)),
            ),
            (&mut event.session, session),
            (
                &mut event.request_id,
                self.request_id.text("request header x-request-id")?,
            ),
            (&mut event.trace_id, trace.map(target::trace_id)),
            (
                &mut event.referer,
                self.referer.text("request header referer")?,
            ),
            (
                &mut event.origin,
                self.origin.text("request header origin")?,
            ),
            (
                &mut event.method_override,
                self.method_override
                    .text("request header x-http-method-override")?,
            ),
            (
                &mut event.forwarded_host,
                self.forwarded_host
                    .text("request header x-forwarded-host")?,
            ),
            (
                &mut event.rewritten_url,
                self.rewritten_url.text("request header x-original-url")?,
            ),
            (
                &mut event.mcp_method,
                self.mcp_method.text("request header mcp-method")?,
            ),
            (
                &mut event.mcp_name,
                self.mcp_name.text("request header mcp-name")?,
            ),
            (
                &mut event.mcp_version,
                self.mcp_version
                    .text("request header mcp-protocol-version")?,
            ),
            (
                &mut event.a2a_version,
                self.a2a_version.text("request header a2a-version")?,
            ),
            (
                &mut event.signature_agent,
                self.signature_agent
                    .text("request header signature-agent")?,
            ),
            (
                &mut event.sdk_language,
                self.sdk_language.text("request header x-stainless-lang")?,
            ),
            (&mut event.via, self.via.text("request header via")?),
        ] {
            if place.is_none() {
                *place = value;
            }
        }
        Ok(())
    }

    /// Fills what a response's headers tell, where the source logs all of them: those that are not there were not sent.
    pub(super) fn fill_whole_response(self, event: &mut Event<'a>) -> Result<(), Fault> {
        let is_any = self.is_any;
        self.fill_response(event)?;
        if is_any {
            event.answer.are_all();
        }
        Ok(())
    }

    /// Fills what a response's headers tell.
    pub(super) fn fill_response(self, event: &mut Event<'a>) -> Result<(), Fault> {
        event.response_content_type = self.content_type.text("response header content-type")?;
        event.allow_origin = self
            .allow_origin
            .text("response header access-control-allow-origin")?;
        event.allow_credentials = self
            .allow_credentials
            .text("response header access-control-allow-credentials")?;
        event.server = self.server.text("response header server")?;
        event.powered_by = self.powered_by.text("response header x-powered-by")?;
        event.answer = self.told.answer();
        Ok(())
    }
}

/// A header's name in lower case: a client writes it as it likes.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

impl Object for Headers<'_> {
    fn is_other(&self) -> bool {
        self.is_other
    }
}

impl<'a> Slot<'a> for Headers<'a> {
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(self)
    }
}

impl<'a> DeserializeSeed<'a> for &mut Headers<'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for &mut Headers<'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("headers")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<ExactKey<'a>>()? {
            self.is_any = true;
            let name = lower(&key.0);
            match self.place(&name) {
                Some((place, true)) => {
                    *place = std::mem::take(place).join(map.next_value::<Joined<'a>>()?.0);
                }
                Some((place, false)) => {
                    let value = map.next_value::<Header<'a>>()?.0;
                    if place.is_blank() {
                        *place = value;
                    }
                }
                None => match self.told.place(&name) {
                    Some(place) => place.fill(&mut map)?,
                    None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                },
            }
        }
        Ok(())
    }

    /// Reads `[{"name": …, "value": …}]`, as OCSF has it; Lua writes an empty object as `[]`.
    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut pair = Pair::default();
        while seq.next_element_seed(&mut pair)?.is_some() {
            let Pair { name, value, .. } = std::mem::take(&mut pair);
            match name {
                Scalar::Text(name) => self.put(&name, value.0),
                _ => self.is_other = true,
            }
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.is_other = true;
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.is_other = true;
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.is_other = true;
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.is_other = true;
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.is_other = true;
        Ok(())
    }
}

object! {
    struct Pair {
        name: Scalar<'a> = "name" | "key",
        value: Header<'a> = "value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::json::{object, read};

    object! { struct Record { headers: Headers<'a> = "headers", } }

    fn event_of(headers: &str) -> Event<'static> {
        let text: &'static str = format!("{{\"headers\":{headers}}}").leak();
        let mut event = Event {
            host: Some("kept".into()),
            ..Event::default()
        };
        let record: Record<'_> = read(text).unwrap();
        record.headers.fill_request(&mut event).unwrap();
        let record: Record<'_> = read(text).unwrap();
        record.headers.fill_response(&mut event).unwrap();
        event
    }

    #[test]
    fn objects_and_lists_say_the_same() {
        let want = Event {
            host: Some("kept".into()),
            user_agent: Some("curl/8".into()),
            session: Some("s1".into()),
            forwarded_host: Some("a, b".into()),
            mcp_method: Some("tools/call".into()),
            mcp_name: Some("get_task".into()),
            mcp_version: Some("2026-07-28".into()),
            a2a_version: Some("1.0".into()),
            signature_agent: Some("a.example".into()),
            sdk_language: Some("python".into()),
            server: Some("x/1".into()),
            authenticated_hint: true,
            ..Event::default()
        };
        for headers in [
            r#"{"Host":"h","uSER-Agent":["curl/8","x"],"Authorization":"REDACTED","X-FORWARDED-host":["a","b"],"cookie":"sid=s1","SERVER":"x/1","accept":{},
                "Mcp-Method":"tools/call","Mcp-Name":"get_task","MCP-Protocol-Version":"2026-07-28","A2A-Version":"1.0","Signature-Agent":"a.example","X-Stainless-Lang":"python"}"#,
            r#"[{"name":"Host","value":"h"},{"name":"User-Agent","value":"curl/8"},{"value":"[REDACTED]","name":"authorization"},
                {"name":"x-forwarded-host","value":"a"},{"name":"X-Forwarded-Host","value":"b"},{"name":"Cookie","value":"sid=s1"},
                {"name":"server","value":"x/1"},{"name":"Mcp-Method","value":"tools/call"},{"name":"Mcp-Name","value":"get_task"},{"name":"MCP-Protocol-Version","value":"2026-07-28"},
                {"name":"A2A-Version","value":"1.0"},{"name":"Signature-Agent","value":"a.example"},{"name":"X-Stainless-Lang","value":"python"},{"name":"user-agent","value":"second"}]"#,
        ] {
            assert_eq!(event_of(headers), want, "{headers}");
        }
    }

    #[test]
    fn a_header_that_was_not_sent_is_told_from_one_that_is_not_logged() {
        let answer_of = |headers: &str, is_whole: bool| {
            let text: &'static str = format!("{{\"headers\":{headers}}}").leak();
            let record: Record<'_> = read(text).unwrap();
            let mut event = Event::default();
            match is_whole {
                true => record.headers.fill_whole_response(&mut event).unwrap(),
                false => record.headers.fill_response(&mut event).unwrap(),
            }
            event.answer
        };
        let headers =
            r#"{"Set-Cookie":["a=1","b=2; Expires=Mon, 05 Jan 2026"],"VARY":"","location":null}"#;
        let cookies: Option<Cow<'_, str>> = Some("a=1\nb=2; Expires=Mon, 05 Jan 2026".into());
        let some = answer_of(headers, false);
        assert_eq!((&some.set_cookie, &some.vary), (&cookies, &Some("".into())));
        assert_eq!((some.hsts, some.location), (None, Some("".into())));
        let all = answer_of(headers, true);
        assert_eq!((all.set_cookie, all.hsts), (cookies, Some("".into())));
        // Without any header the log has none, whatever was sent.
        assert_eq!(answer_of("{}", true), AnswerHeaders::default());
    }

    #[test]
    fn what_is_no_header_is_left_out() {
        for headers in [
            "null",
            "\"text\"",
            "5",
            "{}",
            "[]",
            "[{}]",
            r#"{"host":""}"#,
        ] {
            let event = event_of(headers);
            assert_eq!(
                (event.host.as_deref(), event.user_agent),
                (Some("kept"), None),
                "{headers}"
            );
        }
    }
}
