//! Base64 of RFC 4648, section 4.

/// Decodes a text, padded or not; `None` if it is none.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii().strip_suffix(b"=").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut word = 0_u32;
        for (at, digit) in group.iter().enumerate() {
            word |= sextet(*digit)? << (18 - 6 * at);
        }
        let n_bytes = match group.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        bytes.extend_from_slice(&word.to_be_bytes()[1..1 + n_bytes]);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_rfcs_vectors_decode() {
        let rows = [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm8", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYmFy", Some("foobar")),
            ("Z", None),
            ("Zm9!", None),
            ("...", None),
        ];
        for (text, want) in rows {
            assert_eq!(
                decode(text.as_bytes()).as_deref(),
                want.map(str::as_bytes),
                "{text}"
            );
        }
    }
}
