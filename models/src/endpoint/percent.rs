//! Percent-encoding, both ways.

use std::borrow::Cow;

/// Decodes `%hh`; a broken escape stays as it is, bytes that are no UTF-8 become replacement characters.
pub fn decode(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    decode_bytes(text.as_bytes(), &mut bytes);
    match String::from_utf8(bytes) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

/// Decodes a query name or value: as [`decode`], and `+` is a space.
pub fn decode_query(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'+', text.as_bytes()).is_none() {
        return decode(text);
    }
    Cow::Owned(decode(&text.replace('+', " ")).into_owned())
}

/// Appends the decoded bytes of `text`.
pub(crate) fn decode_bytes(text: &[u8], out: &mut Vec<u8>) {
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        match (
            byte,
            text.get(i + 1).and_then(hex),
            text.get(i + 2).and_then(hex),
        ) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4) | low);
                i += 3;
            }
            _ => {
                out.push(byte);
                i += 1;
            }
        }
    }
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).map(|value| value as u8)
}

/// Appends `text` with everything but printable ASCII, and the characters templates use themselves, encoded.
pub(crate) fn push_encoded(text: &str, bytes_max: usize, out: &mut String) {
    if text.len() <= bytes_max && text.bytes().all(is_plain) {
        return out.push_str(text);
    }
    let end = out.len() + bytes_max;
    for byte in text.bytes() {
        let plain = is_plain(byte);
        let width = if plain { 1 } else { 3 };
        if end < out.len() + width {
            break;
        }
        if plain {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                out.push(
                    char::from_digit(u32::from(digit), 16)
                        .unwrap_or('0')
                        .to_ascii_uppercase(),
                );
            }
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(byte, b'%' | b'{' | b'}' | b'/' | b'?' | b'#' | b'"' | b'\\')
}
