//! Headers of a call where a gateway logs many of them, as an object or as a list.
//!
//! ```text
//! {"User-Agent": "curl", "Accept": ["a", "b"]}
//! [{"name": "User-Agent", "value": "curl"}]
//! [{"User-Agent": "curl"}]
//! ```

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Fault;
use super::json::{ExactKey, Header, Joined, Scalar, Slot, authorization, is_redacted};
use super::target;
use crate::event::{Event, Text};

/// The headers that an event has columns for. Names count in any case; of a header sent twice the first counts, but of those that a
/// client may hide behind another all do.
#[derive(Debug, Default)]
pub(super) struct Headers<'a> {
    host: Scalar<'a>,
    user_agent: Scalar<'a>,
    authorization: Scalar<'a>,
    api_key: Scalar<'a>,
    content_type: Scalar<'a>,
    referer: Scalar<'a>,
    origin: Scalar<'a>,
    request_id: Scalar<'a>,
    trace: Scalar<'a>,
    mcp_session: Scalar<'a>,
    cookie: Scalar<'a>,
    method_override: Joined<'a>,
    forwarded_host: Joined<'a>,
    rewritten_url: Joined<'a>,
    server: Scalar<'a>,
    powered_by: Scalar<'a>,
    allow_origin: Scalar<'a>,
    allow_credentials: Scalar<'a>,
}

/// Says whether a header is one that a client may send twice to hide one value behind another.
fn is_joined(name: &str) -> bool {
    matches!(
        name,
        "x-http-method-override"
            | "x-http-method"
            | "x-method-override"
            | "x-forwarded-host"
            | "x-original-url"
            | "x-rewrite-url"
    )
}

impl<'a> Headers<'a> {
    /// Takes one header, whose name is in lower case.
    pub(super) fn take(&mut self, name: &str, value: Scalar<'a>) {
        let slot = match name {
            "host" => &mut self.host,
            "user-agent" => &mut self.user_agent,
            "authorization" => &mut self.authorization,
            "x-api-key" | "apikey" | "api-key" | "ocp-apim-subscription-key" => &mut self.api_key,
            "content-type" => &mut self.content_type,
            "referer" => &mut self.referer,
            "origin" => &mut self.origin,
            "x-request-id" => &mut self.request_id,
            "traceparent" | "x-b3-traceid" => &mut self.trace,
            "mcp-session-id" => &mut self.mcp_session,
            "cookie" => &mut self.cookie,
            "server" => &mut self.server,
            "x-powered-by" => &mut self.powered_by,
            "access-control-allow-origin" => &mut self.allow_origin,
            "access-control-allow-credentials" => &mut self.allow_credentials,
            name if is_joined(name) => {
                let joined = match name {
                    "x-forwarded-host" => &mut self.forwarded_host,
                    "x-original-url" | "x-rewrite-url" => &mut self.rewritten_url,
                    _ => &mut self.method_override,
                };
                return joined.add(value);
            }
            _ => return,
        };
        if slot.is_blank() {
            *slot = value;
        }
    }

    /// Gives what the request's headers say to an event, where it says nothing else already.
    pub(super) fn request(self, event: &mut Event<'a>) -> Result<(), Fault> {
        let (authorization, is_hidden) = authorization(self.authorization.text("authorization")?);
        event.authenticated_hint |= is_hidden;
        let session = self.mcp_session.text("mcp-session-id")?.or_else(|| {
            let cookie = match self.cookie {
                Scalar::Text(cookie) => cookie,
                _ => return None,
            };
            Some(target::cut(&cookie, target::session_cookie(&cookie)?))
        });
        let texts = [
            (&mut event.host, self.host.text("host")?),
            (&mut event.user_agent, self.user_agent.text("user-agent")?),
            (&mut event.authorization, authorization),
            (
                &mut event.api_key,
                self.api_key
                    .text("x-api-key")?
                    .filter(|key| !is_redacted(key)),
            ),
            (&mut event.session, session),
            (
                &mut event.request_content_type,
                self.content_type.text("content-type")?,
            ),
            (&mut event.referer, self.referer.text("referer")?),
            (&mut event.origin, self.origin.text("origin")?),
            (&mut event.request_id, self.request_id.text("x-request-id")?),
            (
                &mut event.trace_id,
                self.trace.text("traceparent")?.map(target::trace_id),
            ),
            (
                &mut event.method_override,
                self.method_override.text("x-http-method-override")?,
            ),
            (
                &mut event.forwarded_host,
                self.forwarded_host.text("x-forwarded-host")?,
            ),
            (
                &mut event.rewritten_url,
                self.rewritten_url.text("x-original-url")?,
            ),
        ];
        fill(texts);
        Ok(())
    }

    /// Gives what the response's headers say to an event, where it says nothing else already.
    pub(super) fn response(self, event: &mut Event<'a>) -> Result<(), Fault> {
        let texts = [
            (
                &mut event.response_content_type,
                self.content_type.text("content-type")?,
            ),
            (&mut event.server, self.server.text("server")?),
            (&mut event.powered_by, self.powered_by.text("x-powered-by")?),
            (
                &mut event.allow_origin,
                self.allow_origin.text("access-control-allow-origin")?,
            ),
            (
                &mut event.allow_credentials,
                self.allow_credentials
                    .text("access-control-allow-credentials")?,
            ),
        ];
        fill(texts);
        Ok(())
    }
}

fn fill<'a, const N: usize>(texts: [(&mut Text<'a>, Text<'a>); N]) {
    for (column, text) in texts {
        if column.is_none() {
            *column = text;
        }
    }
}

impl<'a> Slot<'a> for Headers<'a> {
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        *self = map.next_value()?;
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Headers<'a>, D::Error> {
        deserializer.deserialize_any(HeadersVisitor)
    }
}

/// A value that is neither an object nor a list has no headers.
struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers<'de>, A::Error> {
        let mut headers = Headers::default();
        while let Some(name) = map.next_key::<ExactKey<'de>>()? {
            let name = lower(&name.0);
            let value = value(&name, &mut map)?;
            headers.take(&name, value);
        }
        Ok(headers)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Headers<'de>, A::Error> {
        let mut headers = Headers::default();
        while let Some(element) = seq.next_element::<Element<'de>>()? {
            headers.take(&lower(&element.name), element.value);
        }
        Ok(headers)
    }

    fn visit_unit<E: Error>(self) -> Result<Headers<'de>, E> {
        Ok(Headers::default())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Headers<'de>, E> {
        Ok(Headers::default())
    }
}

/// All values of a header that hides none, else the first.
fn value<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<Scalar<'de>, A::Error> {
    if is_joined(name) {
        Ok(map.next_value::<Joined<'de>>()?.0)
    } else {
        Ok(map.next_value::<Header<'de>>()?.0)
    }
}

fn lower<'a>(name: &'a str) -> Cow<'a, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// One header of a list: under `name` and `value`, or under its own name.
#[derive(Default)]
struct Element<'a> {
    name: Cow<'a, str>,
    value: Scalar<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Element<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Element<'a>, D::Error> {
        struct ElementVisitor;
        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a header")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element<'de>, A::Error> {
                let mut element = Element::default();
                while let Some(key) = map.next_key::<ExactKey<'de>>()? {
                    match (key.0.as_ref(), map.next_value::<Header<'de>>()?.0) {
                        ("name", Scalar::Text(name)) => element.name = name,
                        ("value", value) => element.value = value,
                        (_, value) => (element.name, element.value) = (key.0, value),
                    }
                }
                Ok(element)
            }
        }
        deserializer.deserialize_map(ElementVisitor)
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
        record.headers.request(&mut event).unwrap();
        let record: Record<'_> = read(text).unwrap();
        record.headers.response(&mut event).unwrap();
        event
    }

    #[test]
    fn objects_and_lists_say_the_same() {
        let want = Event {
            host: Some("kept".into()),
            user_agent: Some("curl/8".into()),
            session: Some("s1".into()),
            forwarded_host: Some("a, b".into()),
            server: Some("x/1".into()),
            authenticated_hint: true,
            ..Event::default()
        };
        for headers in [
            r#"{"Host":"h","uSER-Agent":["curl/8","x"],"Authorization":"REDACTED","X-FORWARDED-host":["a","b"],"cookie":"sid=s1","SERVER":"x/1","accept":{}}"#,
            r#"[{"name":"Host","value":"h"},{"name":"User-Agent","value":"curl/8"},{"value":"[REDACTED]","name":"authorization"},
                {"name":"x-forwarded-host","value":"a"},{"name":"X-Forwarded-Host","value":"b"},{"name":"Cookie","value":"sid=s1"},
                {"name":"server","value":"x/1"},{"name":"user-agent","value":"second"}]"#,
            r#"[{"Host":"h"},{"User-Agent":"curl/8"},{"Authorization":"***"},{"X-Forwarded-Host":"a"},{"x-forwarded-host":"b"},{"Cookie":"sid=s1"},{"Server":"x/1"},{}]"#,
        ] {
            assert_eq!(event_of(headers), want, "{headers}");
        }
    }

    #[test]
    fn what_is_no_header_is_left_out() {
        for headers in ["null", "\"text\"", "{}", "[]", r#"{"host":""}"#] {
            let event = event_of(headers);
            assert_eq!(
                (event.host.as_deref(), event.user_agent),
                (Some("kept"), None),
                "{headers}"
            );
        }
    }
}
