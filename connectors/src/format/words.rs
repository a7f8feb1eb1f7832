//! Words of text logs: bare, or in quotes with the escapes of nginx and Apache.

use std::borrow::Cow;

use crate::event::Text;

/// The fields of a line, one after the other.
pub(super) struct Fields<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Fields<'a> {
    /// Takes a word without quotes.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_ascii_start();
        if rest.is_empty() || rest.starts_with('"') {
            return None;
        }
        let end = memchr::memchr(b' ', rest.as_bytes()).unwrap_or(rest.len());
        self.rest = &rest[end..];
        Some(&rest[..end])
    }

    /// Takes a quoted text, without quotes and escapes; `None` if the next field is not quoted or never ends.
    pub(super) fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let inner = self.rest.trim_ascii_start().strip_prefix('"')?;
        let bytes = inner.as_bytes();
        let (mut at, mut is_escaped) = (0, false);
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                break;
            }
            is_escaped = true;
            at += 2;
        }
        self.rest = &inner[at + 1..];
        let text = &inner[..at];
        Some(if is_escaped {
            unescape(text)
        } else {
            Cow::Borrowed(text)
        })
    }
}

/// Cuts a text at the first of two signs that stand beside each other; both are ASCII. The library's search is made for long ones.
pub(super) fn cut_at(text: &str, signs: [u8; 2]) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let at =
        memchr::memchr_iter(signs[0], bytes).find(|at| bytes.get(at + 1) == Some(&signs[1]))?;
    Some((&text[..at], &text[at + 2..]))
}

/// A field's text; `-` and nothing are none.
pub(super) fn known(text: Cow<'_, str>) -> Text<'_> {
    (!matches!(text.as_ref(), "" | "-")).then_some(text)
}

fn unescape(text: &str) -> Cow<'_, str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match *rest {
            [] => break,
            [b'\\', b'x', high, low, ref rest @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex(high) << 4 | hex(low));
                rest
            }
            [b'\\', escape, ref rest @ ..] => {
                bytes.push(match escape {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    b'v' => 11,
                    other => other,
                });
                rest
            }
            [byte, ref rest @ ..] => {
                bytes.push(byte);
                rest
            }
        };
    }
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into(),
    }
}

/// Value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Replaces the `#XX` by which HAProxy writes bytes that would break its lines.
pub(super) fn unescape_hash(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'#', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match *rest {
            [] => break,
            [b'#', high, low, ref rest @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex(high) << 4 | hex(low));
                rest
            }
            [byte, ref rest @ ..] => {
                bytes.push(byte);
                rest
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::cut_at;

    #[test]
    fn two_signs_cut_as_a_search_for_both_does() {
        for text in ["", " ", "[", " [", "a [b", "  [[", "[ ", "a[ b [", " x [ ["] {
            assert_eq!(cut_at(text, *b" ["), text.split_once(" ["), "{text:?}");
        }
    }
}
