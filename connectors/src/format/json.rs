//! JSON objects with loose types: what the JSON formats share.
//!
//! Gateways write numbers as strings and leave things out as `null`, `""`, `"-"`, `-1`, `0`. So every field is read as a [`Scalar`],
//! which never fails, and its meaning is taken out of it by the decoder, which knows the field's name. [`object!`] declares a struct
//! with one line per field and the keys it is found under: the mapping table as code.

mod reader;

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{Fault, target};
use crate::event::Text;
use crate::reject::RejectReason;
use crate::time;
use reader::Reader;

/// Largest status: three digits is all that HTTP has room for.
pub(super) const STATUS_MAX: u16 = 999;

/// Nesting of a record. The parser recurses once per level, so this bounds its stack; gateways nest four or five levels.
const DEPTH_MAX: usize = 128;

/// Refuses a text that nests deeper than [`DEPTH_MAX`].
fn check_depth(text: &str) -> Result<(), Fault> {
    // Fewer opening brackets than levels allowed: the usual case, and a loop that vectorises.
    let n_open: usize = text
        .as_bytes()
        .chunks(255)
        .map(|chunk| {
            usize::from(
                chunk
                    .iter()
                    .map(|byte| u8::from(byte | 0x20 == b'{'))
                    .sum::<u8>(),
            )
        })
        .sum();
    if n_open <= DEPTH_MAX || depth(text.as_bytes()) <= DEPTH_MAX {
        return Ok(());
    }
    Err(Fault::new(
        RejectReason::Malformed,
        format!("JSON nested deeper than {DEPTH_MAX} levels"),
    ))
}

fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    deepest
}

/// Reads one JSON object.
pub(super) fn read<'a, T: Default>(text: &'a str) -> Result<T, Fault>
where
    for<'r> &'r mut T: DeserializeSeed<'a, Value = ()>,
{
    let mut record = T::default();
    read_into(&mut record, text).map(|()| record)
}

/// As [`read`], in place: a record is some kilobytes large, and giving it back would copy it.
pub(super) fn read_into<'a, T: Default>(record: &mut T, text: &'a str) -> Result<(), Fault>
where
    for<'r> &'r mut T: DeserializeSeed<'a, Value = ()>,
{
    if !text.starts_with('{') {
        return Err(Fault::new(RejectReason::Malformed, "not a JSON object"));
    }
    check_depth(text)?;
    if take_all(record, text) {
        return Ok(());
    }
    *record = T::default();
    read_rare(record, text)
}

/// Reads a text by [`Reader`] alone; says whether it was not given up. If it was, a part of it may have been read. What reads any value,
/// or skips it, recurses as deep as the text nests: [`check_depth`] first.
pub(super) fn take_all<'a, T>(into: &mut T, text: &'a str) -> bool
where
    for<'r> &'r mut T: DeserializeSeed<'a, Value = ()>,
{
    let mut reader = Reader::new(text);
    into.deserialize(&mut reader)
        .and_then(|()| reader.end())
        .is_ok()
}

/// As [`read_into`], of a text that [`Reader`] gave up.
#[cold]
fn read_rare<'a, T>(record: &mut T, text: &'a str) -> Result<(), Fault>
where
    for<'r> &'r mut T: DeserializeSeed<'a, Value = ()>,
{
    let mut parser = sonic_rs::Deserializer::from_str(text);
    record
        .deserialize(&mut parser)
        .and_then(|()| parser.end())
        .map_err(|error| syntax(&error))
}

/// Describes a syntax error by its place only: the parser's own message quotes the payload.
fn syntax(error: &sonic_rs::Error) -> Fault {
    let what = if error.is_eof() {
        "JSON ends early"
    } else {
        "JSON syntax"
    };
    Fault::new(
        RejectReason::Malformed,
        format!("{what} at line {} column {}", error.line(), error.column()),
    )
}

/// Any value of a field, looked at later.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    #[default]
    Absent,
    Integer(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Bool(bool),
    /// An object or an array.
    Compound,
}

/// A field of an [`object!`]; filled more than once if the record has several of its keys.
pub(super) trait Slot<'a> {
    /// Reads the value of the key just read.
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error>;
}

impl<'a> Slot<'a> for Scalar<'a> {
    /// Keeps the first value that is not blank.
    #[inline]
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let value = map.next_value()?;
        if self.is_blank() {
            *self = value;
        }
        Ok(())
    }
}

impl<'a> Scalar<'a> {
    #[inline]
    pub(super) fn is_blank(&self) -> bool {
        match self {
            Scalar::Absent => true,
            Scalar::Text(text) => is_blank(text),
            _ => false,
        }
    }

    /// The value, or another if it is blank.
    pub(super) fn or(self, other: Scalar<'a>) -> Scalar<'a> {
        if self.is_blank() && !other.is_blank() {
            other
        } else {
            self
        }
    }

    /// Both texts, if they differ; else the one that is not blank.
    pub(super) fn join(self, other: Scalar<'a>) -> Scalar<'a> {
        self.join_by(other, ", ")
    }

    fn join_by(self, other: Scalar<'a>, separator: &str) -> Scalar<'a> {
        match (self, other) {
            (first, second) if second.is_blank() || first == second => first,
            (first, second) if first.is_blank() => second,
            (Scalar::Text(first), Scalar::Text(second)) => {
                let mut both = first.into_owned();
                both.push_str(separator);
                both.push_str(&second);
                Scalar::Text(both.into())
            }
            (first, _) => first,
        }
    }

    /// The value as text; a number is written out.
    // Most fields of most records are absent: asking for them is one comparison, and no call.
    #[inline(always)]
    pub(super) fn text(self, field: &'static str) -> Result<Text<'a>, Fault> {
        match self {
            Scalar::Absent => Ok(None),
            present => present.present_text(field),
        }
    }

    #[inline(never)]
    fn present_text(self, field: &'static str) -> Result<Text<'a>, Fault> {
        match self {
            Scalar::Text(text) => Ok(Some(text).filter(|text| !is_blank(text))),
            other => other.written_out(field).map(Some),
        }
    }

    fn written_out(self, field: &'static str) -> Result<Cow<'a, str>, Fault> {
        match self {
            Scalar::Integer(number) => Ok(number.to_string().into()),
            Scalar::Float(number) => Ok(number.to_string().into()),
            Scalar::Bool(true) => Ok("true".into()),
            Scalar::Bool(false) => Ok("false".into()),
            _ => Err(Fault::wrong_type(field, "text")),
        }
    }

    /// The value as text that every event has.
    pub(super) fn required(self, field: &'static str) -> Result<Cow<'a, str>, Fault> {
        self.text(field)?.ok_or_else(|| Fault::missing(field))
    }

    fn number(&self, field: &'static str) -> Result<Option<f64>, Fault> {
        let number = match self {
            blank if blank.is_blank() => return Ok(None),
            Scalar::Integer(number) => *number as f64,
            Scalar::Float(number) => *number,
            Scalar::Text(text) => text
                .trim_ascii()
                .parse()
                .map_err(|_| Fault::wrong_type(field, "a number"))?,
            _ => return Err(Fault::wrong_type(field, "a number")),
        };
        Ok(number.is_finite().then_some(number))
    }

    /// The value as a count, times a factor; negative means not known.
    pub(super) fn scaled(&self, field: &'static str, factor: i64) -> Result<Option<i64>, Fault> {
        let scaled = match self {
            Scalar::Integer(number) => Some(number.saturating_mul(factor)),
            other => other
                .number(field)?
                .map(|number| (number * factor as f64).round() as i64),
        };
        Ok(scaled.filter(|number| 0 <= *number))
    }

    /// The value as a count; negative means not known.
    pub(super) fn count(&self, field: &'static str) -> Result<Option<i64>, Fault> {
        self.scaled(field, 1)
    }

    /// The value as a response status; below 100, as 0 and -1, it means none, and above 999 it is none that HTTP has.
    pub(super) fn status(&self, field: &'static str) -> Result<Option<u16>, Fault> {
        match self.count(field)? {
            None | Some(..100) => Ok(None),
            Some(status) => u16::try_from(status)
                .ok()
                .filter(|status| *status <= STATUS_MAX)
                .map(Some)
                .ok_or_else(|| Fault::wrong_type(field, "a number of three digits")),
        }
    }

    /// The request's method. It is never a number, and `-` is one: nginx and Apache let it through to the service.
    pub(super) fn method(self, field: &'static str) -> Result<Text<'a>, Fault> {
        match self {
            Scalar::Absent => Ok(None),
            Scalar::Text(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            _ => Err(Fault::wrong_type(field, "text")),
        }
    }

    /// The value as an address, without port and brackets.
    #[inline]
    pub(super) fn address(self, field: &'static str) -> Result<Text<'a>, Fault> {
        Ok(self.text(field)?.and_then(target::address))
    }

    /// The value as a time that every event has.
    pub(super) fn time(&self, field: &'static str) -> Result<i64, Fault> {
        let time_ms = match self {
            blank if blank.is_blank() => return Err(Fault::missing(field)),
            Scalar::Integer(number) => Some(time::from_integer(*number)),
            Scalar::Float(number) => time::from_float(*number),
            Scalar::Text(text) => time::parse_time(text),
            _ => None,
        };
        believe(
            time_ms.ok_or_else(|| Fault::wrong_type(field, "a time"))?,
            field,
        )
    }
}

#[inline]
fn is_blank(text: &str) -> bool {
    matches!(text, "" | "-")
}

/// Refuses a time outside `[2000-01-01, 2100-01-01)`.
pub(super) fn believe(time_ms: i64, field: &'static str) -> Result<i64, Fault> {
    let absurd = || {
        Fault::new(
            RejectReason::AbsurdTime,
            format!("{field} is {time_ms} ms since 1970"),
        )
    };
    time::is_plausible(time_ms)
        .then_some(time_ms)
        .ok_or_else(absurd)
}

/// What an array stands for where a scalar is read: headers sent twice come as one.
const REFUSED: u8 = 0;
const FIRST: u8 = 1;
const JOINED: u8 = 2;
const LINES: u8 = 3;

/// Reads a scalar.
struct ScalarVisitor<const ARRAY: u8>;

impl<'de, const ARRAY: u8> Visitor<'de> for ScalarVisitor<ARRAY> {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    #[inline]
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(i64::try_from(number).map_or(Scalar::Float(number as f64), Scalar::Integer))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Float(number))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        let mut value = Scalar::Absent;
        match ARRAY {
            FIRST => value = seq.next_element()?.unwrap_or_default(),
            JOINED | LINES => {
                let separator = if ARRAY == LINES { "\n" } else { ", " };
                while let Some(next) = seq.next_element()? {
                    value = value.join_by(next, separator);
                }
            }
            _ => value = Scalar::Compound,
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Compound)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar<'a>, D::Error> {
        deserializer.deserialize_any(ScalarVisitor::<REFUSED>)
    }
}

/// A header's value: text, or an array of texts of which the first counts.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Header<'a>(pub(super) Scalar<'a>);

impl<'a> Slot<'a> for Header<'a> {
    #[inline]
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let value: Header<'a> = map.next_value()?;
        if self.0.is_blank() {
            *self = value;
        }
        Ok(())
    }
}

impl<'a> Header<'a> {
    /// The value as text.
    #[inline(always)]
    pub(super) fn text(self, field: &'static str) -> Result<Text<'a>, Fault> {
        self.0.text(field)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Header<'a> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header<'a>, D::Error> {
        deserializer
            .deserialize_any(ScalarVisitor::<FIRST>)
            .map(Header)
    }
}

/// A header that a client may send twice, or under several names, to hide one value behind another: all of them, joined by `, `.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Joined<'a>(pub(super) Scalar<'a>);

impl<'a> Slot<'a> for Joined<'a> {
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let value: Joined<'a> = map.next_value()?;
        self.0 = std::mem::take(&mut self.0).join(value.0);
        Ok(())
    }
}

impl<'a> Joined<'a> {
    /// The values as text.
    #[inline(always)]
    pub(super) fn text(self, field: &'static str) -> Result<Text<'a>, Fault> {
        self.0.text(field)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Joined<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Joined<'a>, D::Error> {
        deserializer
            .deserialize_any(ScalarVisitor::<JOINED>)
            .map(Joined)
    }
}

/// A header of a response: `None` where the record has no place for it, and empty where it says that there was none. Several values
/// are one a line, as those of `Set-Cookie` have commas in them.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Told<'a>(pub(super) Text<'a>);

impl<'a> Slot<'a> for Told<'a> {
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let value: Lines<'a> = map.next_value()?;
        self.add(value.0);
        Ok(())
    }
}

impl<'a> Told<'a> {
    /// Takes one more value.
    pub(super) fn add(&mut self, value: Scalar<'a>) {
        let before = self.0.take().map_or(Scalar::Absent, Scalar::Text);
        let lines = before.join_by(value, "\n").text("a header");
        // What is no text is not known.
        self.0 = lines.ok().map(Option::unwrap_or_default);
    }
}

/// The headers of an answer, of a record whose fields of their names are [`Told`].
macro_rules! answer {
    ($record:expr) => {
        $crate::event::AnswerHeaders {
            hsts: $record.hsts.0,
            content_type_options: $record.content_type_options.0,
            frame_options: $record.frame_options.0,
            content_security_policy: $record.content_security_policy.0,
            cache_control: $record.cache_control.0,
            vary: $record.vary.0,
            set_cookie: $record.set_cookie.0,
            location: $record.location.0,
            debug_header: $record.debug_header.0,
        }
    };
}
pub(super) use answer;

/// Texts, one a line.
struct Lines<'a>(Scalar<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Lines<'a> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lines<'a>, D::Error> {
        deserializer
            .deserialize_any(ScalarVisitor::<LINES>)
            .map(Lines)
    }
}

/// Whether the record has a key.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Seen(pub(super) bool);

impl<'a> Slot<'a> for Seen {
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        self.0 = true;
        map.next_value::<IgnoredAny>().map(|_| ())
    }
}

/// JSON kept as text: an object as it stands, or a string that holds one.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Raw<'a>(pub(super) Text<'a>);

impl<'a> Slot<'a> for Raw<'a> {
    fn fill<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let value = map.next_value()?;
        if self.0.is_none() {
            *self = value;
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw<'a>, D::Error> {
        deserializer.deserialize_newtype_struct(reader::VERBATIM, RawVisitor)
    }
}

/// Reads a value as it stands, of a reader that has it at hand or of `sonic_rs`.
struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Raw<'de>, E> {
        raw(Cow::Borrowed(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Raw<'de>, D::Error> {
        raw(sonic_rs::LazyValue::deserialize(deserializer)?.as_raw_cow())
    }
}

/// A value as it stands, without the quotes and escapes of a string; only of a string, an object or an array.
fn raw<E: Error>(value: Cow<'_, str>) -> Result<Raw<'_>, E> {
    let text = match value.as_bytes().first() {
        Some(b'"') if !value.contains('\\') => target::cut(&value, 1..value.len() - 1),
        Some(b'"') => Cow::Owned(sonic_rs::from_str(&value).map_err(Error::custom)?),
        Some(b'{' | b'[') => value,
        _ => return Ok(Raw(None)),
    };
    Ok(Raw((!matches!(text.as_ref(), "" | "-")).then_some(text)))
}

/// Declares a struct read from a JSON object: per field its type and the keys it is found under, of which the first that is not blank
/// counts. Other keys are skipped. A value that is no object leaves the fields empty and sets `is_other`.
///
/// Keys that begin with a capital are read in lower case, as header names are; those of an `exact struct` as they stand, which costs
/// nothing where a writer's names all begin with one.
macro_rules! object {
    ($(#[$doc:meta])* struct $($rest:tt)+) => {
        $crate::format::json::object! { @ Title; $(#[$doc])* struct $($rest)+ }
    };
    ($(#[$doc:meta])* exact struct $($rest:tt)+) => {
        $crate::format::json::object! { @ Exact; $(#[$doc])* struct $($rest)+ }
    };
    (@ $case:ident; $(#[$doc:meta])* struct $name:ident { $($field:ident: $type:ty = $($key:literal)|+,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name<'a> {
            $(pub(super) $field: $type,)+
            is_other: bool,
        }

        impl $crate::format::json::Object for $name<'_> {
            fn is_other(&self) -> bool {
                self.is_other
            }
        }

        impl<'a> $crate::format::json::Slot<'a> for $name<'a> {
            fn fill<A: serde::de::MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
                map.next_value_seed(self)
            }
        }

        // Read in place: a record is some kilobytes large, and each level of the parser would move it.
        impl<'a> serde::de::DeserializeSeed<'a> for &mut $name<'a> {
            type Value = ();

            fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_any(self)
            }
        }

        impl<'a> serde::de::Visitor<'a> for &mut $name<'a> {
            type Value = ();

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
                use $crate::format::keys::{Case, KeySeed, KeyTable};

                #[derive(Clone, Copy)]
                #[expect(non_camel_case_types, reason = "named as the struct's fields are")]
                enum Field {
                    $($field,)+
                }
                static KEYS: KeyTable<Field> = KeyTable::new(&[$($(($key, Field::$field),)+)+]);
                const SEED: KeySeed<Field> = KeySeed { table: &KEYS, case: Case::$case };

                while let Some(field) = map.next_key_seed(SEED)? {
                    match field {
                        $(Some(Field::$field) => $crate::format::json::Slot::fill(&mut self.$field, &mut map)?,)+
                        None => {
                            map.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(())
            }

            fn visit_seq<A: serde::de::SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
                // Lua writes an empty table as an empty array.
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    self.is_other = true;
                }
                Ok(())
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
                Ok(())
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
                self.is_other = true;
                Ok(())
            }

            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
                self.is_other = true;
                Ok(())
            }

            fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
                self.is_other = true;
                Ok(())
            }

            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
                self.is_other = true;
                Ok(())
            }

            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
                self.is_other = true;
                Ok(())
            }
        }
    };
}
pub(super) use object;

/// A struct made by [`object!`].
pub(super) trait Object {
    /// The value was there but was no object.
    fn is_other(&self) -> bool;
}

/// Refuses a record in which one of these is there but no object.
pub(super) fn expect_objects(objects: &[(&dyn Object, &'static str)]) -> Result<(), Fault> {
    match objects.iter().find(|(object, _)| object.is_other()) {
        Some((_, field)) => Err(Fault::wrong_type(field, "an object")),
        None => Ok(()),
    }
}

/// An Authorization header as logged, and whether the gateway hid it: `REDACTED` says that there was one.
pub(super) fn authorization(header: Text<'_>) -> (Text<'_>, bool) {
    match header {
        Some(text) if is_redacted(&text) => (None, true),
        header => (header, false),
    }
}

/// Says whether a gateway wrote this in place of a secret.
pub(super) fn is_redacted(text: &str) -> bool {
    text.eq_ignore_ascii_case("redacted")
        || text.eq_ignore_ascii_case("[redacted]")
        || text.bytes().all(|b| b == b'*')
}
