//! Headers as formats with all of them log them: an object, or a list of names and values.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Fault;
use super::json::{
    Header, Joined, Object, Scalar, Slot, Told, answer, authorization, is_redacted, object,
};
use super::keys::{Case, KeySeed, KeyTable};
use super::target;
use crate::event::Event;

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

/// Where a header goes.
#[derive(Clone, Copy)]
enum Place {
    /// Its first value counts.
    First(for<'h, 'a> fn(&'h mut Headers<'a>) -> &'h mut Scalar<'a>),
    /// All its values count.
    Joined(for<'h, 'a> fn(&'h mut Headers<'a>) -> &'h mut Scalar<'a>),
    /// Whether it is there counts, too.
    Told(for<'h, 'a> fn(&'h mut ToldHeaders<'a>) -> &'h mut Told<'a>),
}

/// Headers by their names; a client writes them in any case.
static NAMES: KeyTable<Place> = KeyTable::new(&[
    ("host", Place::First(|of| &mut of.host)),
    ("content-type", Place::First(|of| &mut of.content_type)),
    ("user-agent", Place::First(|of| &mut of.user_agent)),
    ("authorization", Place::First(|of| &mut of.authorization)),
    ("x-api-key", Place::First(|of| &mut of.api_key)),
    ("apikey", Place::First(|of| &mut of.api_key)),
    ("api-key", Place::First(|of| &mut of.api_key)),
    (
        "ocp-apim-subscription-key",
        Place::First(|of| &mut of.api_key),
    ),
    ("cookie", Place::First(|of| &mut of.cookie)),
    ("mcp-session-id", Place::First(|of| &mut of.session)),
    ("x-request-id", Place::First(|of| &mut of.request_id)),
    ("traceparent", Place::First(|of| &mut of.trace)),
    ("x-b3-traceid", Place::First(|of| &mut of.trace)),
    ("referer", Place::First(|of| &mut of.referer)),
    ("origin", Place::First(|of| &mut of.origin)),
    (
        "x-http-method-override",
        Place::Joined(|of| &mut of.method_override),
    ),
    ("x-http-method", Place::Joined(|of| &mut of.method_override)),
    (
        "x-method-override",
        Place::Joined(|of| &mut of.method_override),
    ),
    (
        "x-forwarded-host",
        Place::Joined(|of| &mut of.forwarded_host),
    ),
    ("x-original-url", Place::Joined(|of| &mut of.rewritten_url)),
    ("x-rewrite-url", Place::Joined(|of| &mut of.rewritten_url)),
    (
        "access-control-allow-origin",
        Place::First(|of| &mut of.allow_origin),
    ),
    (
        "access-control-allow-credentials",
        Place::First(|of| &mut of.allow_credentials),
    ),
    ("server", Place::First(|of| &mut of.server)),
    ("x-powered-by", Place::First(|of| &mut of.powered_by)),
    ("mcp-method", Place::First(|of| &mut of.mcp_method)),
    ("mcp-name", Place::First(|of| &mut of.mcp_name)),
    (
        "mcp-protocol-version",
        Place::First(|of| &mut of.mcp_version),
    ),
    ("a2a-version", Place::First(|of| &mut of.a2a_version)),
    (
        "signature-agent",
        Place::First(|of| &mut of.signature_agent),
    ),
    ("x-stainless-lang", Place::First(|of| &mut of.sdk_language)),
    ("via", Place::First(|of| &mut of.via)),
    ("cdn-loop", Place::First(|of| &mut of.via)),
    ("cf-ray", Place::First(|of| &mut of.via)),
    ("x-amz-cf-id", Place::First(|of| &mut of.via)),
    ("strict-transport-security", Place::Told(|of| &mut of.hsts)),
    (
        "x-content-type-options",
        Place::Told(|of| &mut of.content_type_options),
    ),
    ("x-frame-options", Place::Told(|of| &mut of.frame_options)),
    (
        "content-security-policy",
        Place::Told(|of| &mut of.content_security_policy),
    ),
    ("cache-control", Place::Told(|of| &mut of.cache_control)),
    ("vary", Place::Told(|of| &mut of.vary)),
    ("set-cookie", Place::Told(|of| &mut of.set_cookie)),
    ("location", Place::Told(|of| &mut of.location)),
    ("x-debug-token", Place::Told(|of| &mut of.debug_header)),
    ("x-debug-token-link", Place::Told(|of| &mut of.debug_header)),
    ("x-clockwork-id", Place::Told(|of| &mut of.debug_header)),
    ("phpdebugbar-id", Place::Told(|of| &mut of.debug_header)),
    (
        "x-chromelogger-data",
        Place::Told(|of| &mut of.debug_header),
    ),
    ("x-sourcefiles", Place::Told(|of| &mut of.debug_header)),
]);

impl<'a> Headers<'a> {
    /// Takes a header of a list; the name in any case.
    pub(super) fn put(&mut self, name: &str, value: Scalar<'a>) {
        self.is_any = true;
        match NAMES.find_lower(name) {
            Some(Place::First(of)) => {
                let place = of(self);
                if place.is_blank() {
                    *place = value;
                }
            }
            Some(Place::Joined(of)) => {
                let place = of(self);
                *place = std::mem::take(place).join(value);
            }
            Some(Place::Told(of)) => of(&mut self.told).add(value),
            None => (),
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
        event.answer = answer!(self.told);
        Ok(())
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
        let name = || KeySeed {
            table: &NAMES,
            case: Case::Lower,
        };
        while let Some(place) = map.next_key_seed(name())? {
            self.is_any = true;
            match place {
                Some(Place::First(of)) => {
                    let value = map.next_value::<Header<'a>>()?.0;
                    let place = of(self);
                    if place.is_blank() {
                        *place = value;
                    }
                }
                Some(Place::Joined(of)) => {
                    let place = of(self);
                    *place = std::mem::take(place).join(map.next_value::<Joined<'a>>()?.0);
                }
                Some(Place::Told(of)) => of(&mut self.told).fill(&mut map)?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
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
    use std::borrow::Cow;

    use super::*;
    use crate::event::AnswerHeaders;
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
