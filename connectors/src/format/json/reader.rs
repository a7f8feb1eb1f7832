//! A reader of JSON for serde that knows what gateways write, and gives up on everything else.
//!
//! `sonic_rs` asks for the address of its input at every byte, by a function that is not inlined without link-time optimisation. This
//! reader takes the JSON that nearly all records are made of, and what it takes it reads as `sonic_rs` does, in less time (benches/README.md).
//! What is wrong, and what is rare (exponents, a negative zero, negative fractions, integers beyond 18 digits, half a surrogate pair), it
//! **gives up**: whoever called it then has `sonic_rs` read the record from its beginning, which decides, and says what is wrong and where.
//!
//! **Invariant:** the text that is taken here and the values it gives are a part of those of `sonic_rs`; nothing is judged here.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Name of a newtype whose value is wanted as it stands in the text: [`Visitor::visit_borrowed_str`] gets it with its quotes and brackets.
pub(super) const VERBATIM: &str = "tollwatch::verbatim";

/// Digits of an integer that fit into 64 bits with either sign, whatever they are.
const INTEGER_DIGITS_MAX: usize = 18;
/// Digits of a fraction that a 64-bit float holds exactly before it is divided.
const EXACT_DIGITS_MAX: usize = 15;
/// Powers of ten, all of them exact.
const TENS: [f64; EXACT_DIGITS_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// The text is not JSON, or it is, in a way that is not read here.
#[derive(Debug, PartialEq)]
pub(super) struct GivenUp;

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON that is wrong or rare")
    }
}

impl std::error::Error for GivenUp {}

impl Error for GivenUp {
    fn custom<T: fmt::Display>(_: T) -> GivenUp {
        GivenUp
    }
}

type Taken<T> = Result<T, GivenUp>;

/// A place in a text. Recurses once per level: the caller bounds how deep the text nests.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0 }
    }

    /// Takes white space up to the end of the text.
    pub(super) fn end(&mut self) -> Taken<()> {
        self.skip_blanks();
        self.must(self.at == self.text.len())
    }

    #[inline]
    fn must(&self, holds: bool) -> Taken<()> {
        if holds { Ok(()) } else { Err(GivenUp) }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The next byte that is no white space; it is not taken.
    #[inline]
    fn token(&mut self) -> Taken<u8> {
        self.skip_blanks();
        self.peek().ok_or(GivenUp)
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Taken<()> {
        let found = self.token()?;
        self.at += 1;
        self.must(found == byte)
    }

    #[inline]
    fn take_literal(&mut self, literal: &str) -> Taken<()> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += literal.len();
        self.must(rest.starts_with(literal.as_bytes()))
    }

    /// Takes what is left of a string after its first quote, up to a quote or a backslash.
    #[inline]
    fn take_plain(&mut self) -> Taken<(&'a str, u8)> {
        let start = self.at;
        let end = string_stop(self.text.as_bytes(), start);
        let stop = *self.text.as_bytes().get(end).ok_or(GivenUp)?;
        self.at = end + 1;
        self.must(matches!(stop, b'"' | b'\\'))?;
        Ok((&self.text[start..end], stop))
    }

    /// Takes a string, whose first quote is next, and gives it to a visitor.
    #[inline]
    fn take_string<V: Visitor<'a>>(&mut self, visitor: V) -> Taken<V::Value> {
        self.at += 1;
        match self.take_plain()? {
            (text, b'"') => visitor.visit_borrowed_str(text),
            (text, _) => visitor.visit_str(&self.take_escaped(text)?),
        }
    }

    /// Takes the rest of a string in which a backslash was just taken, after `head`.
    #[cold]
    fn take_escaped(&mut self, head: &str) -> Taken<String> {
        let mut text = String::with_capacity(head.len() + 16);
        text.push_str(head);
        loop {
            text.push(self.take_escape()?);
            let (plain, stop) = self.take_plain()?;
            text.push_str(plain);
            if stop == b'"' {
                return Ok(text);
            }
        }
    }

    /// Takes what follows a backslash.
    fn take_escape(&mut self) -> Taken<char> {
        let escape = self.peek().ok_or(GivenUp)?;
        self.at += 1;
        Ok(match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.take_code_points(),
            _ => return Err(GivenUp),
        })
    }

    /// Takes what follows `\u`: four digits, or a surrogate pair.
    fn take_code_points(&mut self) -> Taken<char> {
        let first = self.take_code_unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(GivenUp);
        }
        self.take_literal("\\u")?;
        let second = self.take_code_unit()?;
        self.must((0xdc00..0xe000).contains(&second))?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10 | (second - 0xdc00))).ok_or(GivenUp)
    }

    fn take_code_unit(&mut self) -> Taken<u32> {
        let digits = self
            .text
            .as_bytes()
            .get(self.at..self.at + 4)
            .ok_or(GivenUp)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit).to_digit(16).ok_or(GivenUp)?;
            Ok(unit << 4 | digit)
        })
    }

    fn skip_string(&mut self) -> Taken<()> {
        self.at += 1;
        while self.take_plain()?.1 == b'\\' {
            self.take_escape()?;
        }
        Ok(())
    }

    /// Takes digits, and says how many and what they come to; more than [`INTEGER_DIGITS_MAX`] come to nothing sensible.
    #[inline]
    fn take_digits(&mut self, mut sum: u64) -> (usize, u64) {
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            sum = sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        (self.at - start, sum)
    }

    /// Takes a number of digits, a sign in front and a fraction behind.
    fn take_number(&mut self) -> Taken<Number> {
        let start = self.at;
        let is_negative = self.peek() == Some(b'-');
        self.at += usize::from(is_negative);
        let has_zero = self.peek() == Some(b'0');
        let (n_digits, integer) = self.take_digits(0);
        self.must(1 <= n_digits && !(has_zero && 1 < n_digits))?;
        match self.peek() {
            Some(b'.') => (),
            Some(b'e' | b'E') => return Err(GivenUp),
            _ => {
                // A negative zero is a float to `sonic_rs`.
                self.must(n_digits <= INTEGER_DIGITS_MAX && !(is_negative && integer == 0))?;
                return Ok(match is_negative {
                    true => Number::Negative(-(integer as i64)),
                    false => Number::Unsigned(integer),
                });
            }
        }
        self.at += 1;
        let (n_decimals, all) = self.take_digits(integer);
        let is_plain = 1 <= n_decimals && !matches!(self.peek(), Some(b'e' | b'E'));
        self.must(is_plain && !is_negative)?;
        Ok(Number::Float(
            if n_digits + n_decimals <= EXACT_DIGITS_MAX {
                // Both are exact, so their quotient is the float next to the decimal.
                all as f64 / TENS[n_decimals]
            } else {
                self.text[start..self.at].parse().map_err(|_| GivenUp)?
            },
        ))
    }

    /// Skips a value of any kind.
    fn skip_value(&mut self) -> Taken<()> {
        match self.token()? {
            b'"' => self.skip_string(),
            b'{' => {
                let mut members = Members::of(self);
                while members.is_next()? {
                    members.reader.skip_string()?;
                    members.reader.take(b':')?;
                    members.reader.skip_value()?;
                }
                self.take(b'}')
            }
            b'[' => {
                let mut elements = Elements::of(self);
                while elements.is_next()? {
                    elements.reader.skip_value()?;
                }
                self.take(b']')
            }
            b'-' | b'0'..=b'9' => self.take_number().map(|_| ()),
            _ => self.take_word().map(|_| ()),
        }
    }

    /// Takes `true`, `false` or `null`, which is `None`.
    fn take_word(&mut self) -> Taken<Option<bool>> {
        match self.peek() {
            Some(b't') => self.take_literal("true").map(|()| Some(true)),
            Some(b'f') => self.take_literal("false").map(|()| Some(false)),
            _ => self.take_literal("null").map(|()| None),
        }
    }
}

enum Number {
    Unsigned(u64),
    Negative(i64),
    Float(f64),
}

/// Where the first byte is, from `at` on, that a string cannot hold as it stands: a quote, a backslash, a control character.
#[inline]
fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const TOPS: u64 = ONES * 0x80;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        // Bit tricks on eight bytes (H. Warren, Hacker's Delight, section 6-1): the lowest byte that is marked is one that is meant.
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let marked = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if marked & TOPS != 0 {
            return at + (marked & TOPS).trailing_zeros() as usize / 8;
        }
        at += size_of::<u64>();
    }
    let is_stop = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(is_stop).unwrap_or(rest.len())
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = GivenUp;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Taken<V::Value> {
        match self.token()? {
            b'"' => self.take_string(visitor),
            b'{' => {
                let value = visitor.visit_map(Members::of(self))?;
                self.take(b'}').map(|()| value)
            }
            b'[' => {
                let value = visitor.visit_seq(Elements::of(self))?;
                self.take(b']').map(|()| value)
            }
            b'-' | b'0'..=b'9' => match self.take_number()? {
                Number::Unsigned(number) => visitor.visit_u64(number),
                Number::Negative(number) => visitor.visit_i64(number),
                Number::Float(number) => visitor.visit_f64(number),
            },
            _ => match self.take_word()? {
                Some(value) => visitor.visit_bool(value),
                None => visitor.visit_unit(),
            },
        }
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Taken<V::Value> {
        self.skip_value()?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Taken<V::Value> {
        if name != VERBATIM {
            return visitor.visit_newtype_struct(self);
        }
        self.skip_blanks();
        let start = self.at;
        self.skip_value()?;
        visitor.visit_borrowed_str(&self.text[start..self.at])
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

/// The members of an object, whose brace is taken.
struct Members<'r, 'a> {
    reader: &'r mut Reader<'a>,
    is_first: bool,
}

impl<'r, 'a> Members<'r, 'a> {
    #[inline]
    fn of(reader: &'r mut Reader<'a>) -> Members<'r, 'a> {
        reader.at += 1;
        Members {
            reader,
            is_first: true,
        }
    }

    /// Goes to the next key, of which the quote is not taken, or to the brace that ends the object.
    #[inline]
    fn is_next(&mut self) -> Taken<bool> {
        let mut token = self.reader.token()?;
        if token == b'}' {
            return Ok(false);
        }
        if !std::mem::take(&mut self.is_first) {
            self.reader.take(b',')?;
            token = self.reader.token()?;
        }
        self.reader.must(token == b'"')?;
        Ok(true)
    }
}

impl<'a> MapAccess<'a> for Members<'_, 'a> {
    type Error = GivenUp;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Taken<Option<K::Value>> {
        if !self.is_next()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Taken<V::Value> {
        self.reader.take(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

/// The elements of an array, whose bracket is taken.
struct Elements<'r, 'a> {
    reader: &'r mut Reader<'a>,
    is_first: bool,
}

impl<'r, 'a> Elements<'r, 'a> {
    fn of(reader: &'r mut Reader<'a>) -> Elements<'r, 'a> {
        reader.at += 1;
        Elements {
            reader,
            is_first: true,
        }
    }

    /// Goes to the next element, or to the bracket that ends the array.
    fn is_next(&mut self) -> Taken<bool> {
        if self.reader.token()? == b']' {
            return Ok(false);
        }
        if !std::mem::take(&mut self.is_first) {
            self.reader.take(b',')?;
        }
        Ok(true)
    }
}

impl<'a> SeqAccess<'a> for Elements<'_, 'a> {
    type Error = GivenUp;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Taken<Option<T::Value>> {
        if !self.is_next()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

#[cfg(test)]
mod tests;
