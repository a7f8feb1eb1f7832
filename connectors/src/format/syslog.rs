//! Syslog headers in front of a line: RFC 5424, RFC 3164 and what rsyslog writes to files.
//!
//! ```text
//! <134>1 2026-01-05T00:00:00.1+01:00 gw-1 haproxy 14389 - [meta@1 a="b"] line
//! <134>Jan  5 00:00:00 gw-1 haproxy[14389]: line        (PRI and host may be missing)
//! 2026-01-05T00:00:00.1+01:00 gw-1 haproxy[14389]: line
//! ```
//!
//! The header's time is not used: the line has its own.

/// Bytes of `Jan  5 00:00:00`.
const TIME_3164_BYTES: usize = 15;
/// Bytes of a host's name and of a program's with its process: a longer word is none.
const WORD_BYTES_MAX: usize = 255;

/// Takes a header off; `None` if there is none.
pub(super) fn strip(text: &str) -> Option<&str> {
    let (rest, has_priority) = match priority(text) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let line = match rest.strip_prefix("1 ").filter(|_| has_priority) {
        Some(rest) => after_5424(rest),
        None => after_tag(after_time(rest)?),
    }?;
    let line = line.trim_start_matches('\u{feff}').trim_ascii_start();
    Some(
        line.strip_prefix("@cee:")
            .map_or(line, str::trim_ascii_start),
    )
}

/// Takes `<134>` off.
fn priority(text: &str) -> Option<&str> {
    const DIGITS_MAX: usize = 3;
    let (digits, rest) = text.strip_prefix('<')?.split_once('>')?;
    let is_number = digits.len() <= DIGITS_MAX && digits.parse::<u8>().is_ok();
    is_number.then_some(rest)
}

/// Takes time, host, program, process, message id and structured data off.
fn after_5424(text: &str) -> Option<&str> {
    let mut rest = text;
    for _ in 0..5 {
        (_, rest) = word(rest)?;
    }
    if let Some(rest) = rest.strip_prefix("- ") {
        return Some(rest);
    }
    while rest.starts_with('[') {
        rest = &rest[element_end(rest.as_bytes())? + 1..];
    }
    rest.strip_prefix(' ')
}

/// Where a structured data element ends: brackets in its values are escaped or quoted.
fn element_end(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut in_quotes) = (1, false);
    loop {
        match bytes.get(at)? {
            b'\\' => at += 1,
            b'"' => in_quotes = !in_quotes,
            b']' if !in_quotes => return Some(at),
            _ => (),
        }
        at += 1;
    }
}

/// Takes a time of RFC 3164, or of RFC 3339, off.
fn after_time(text: &str) -> Option<&str> {
    if let [
        b'A'..=b'Z',
        b'a'..=b'z',
        b'a'..=b'z',
        b' ',
        day,
        _,
        b' ',
        _,
        _,
        b':',
        _,
        _,
        b':',
        ..,
    ] = text.as_bytes()
        && matches!(day, b' ' | b'0'..=b'3')
    {
        return text.get(TIME_3164_BYTES..)?.strip_prefix(' ');
    }
    let (time, rest) = word(text)?;
    let is_time = matches!(
        time.as_bytes(),
        [b'0'..=b'9', _, _, _, b'-', _, _, b'-', _, _, b'T', ..]
    );
    is_time.then_some(rest)
}

/// Takes `host program[1]: ` or `program[1]: ` off.
fn after_tag(text: &str) -> Option<&str> {
    let (first, rest) = word(text)?;
    if first.ends_with(':') {
        return Some(rest);
    }
    let (second, rest) = word(rest)?;
    second.ends_with(':').then_some(rest)
}

fn word(text: &str) -> Option<(&str, &str)> {
    text.split_once(' ')
        .filter(|(word, _)| !word.is_empty() && word.len() <= WORD_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::strip;

    #[test]
    fn headers_are_taken_off_and_lines_that_look_alike_stay() {
        let rows = [
            ("Jan  5 00:00:00 gw-1 haproxy[1]: x y", Some("x y")),
            ("<134>Jan 25 00:00:00 haproxy[1]: x", Some("x")),
            (
                "<190>Jan  5 00:00:00 gw-1 nginx: {\"a\":1}",
                Some("{\"a\":1}"),
            ),
            ("2026-01-05T00:00:00+01:00 gw-1 nginx: x", Some("x")),
            ("<13>1 2026-01-05T00:00:00Z gw app 1 - - x", Some("x")),
            ("<13>1 - - - - - - \u{feff}x", Some("x")),
            ("<13>1 - gw app 1 ID [a b=\"]\\\"\"][c] x y", Some("x y")),
            ("<13>Jan  5 00:00:00 gw a: @cee: {}", Some("{}")),
            ("<999>Jan  5 00:00:00 gw a: x", None),
            ("<13>1 - gw app 1 ID [a", None),
            ("Jan  5 00:00:00 gw-1 no tag", None),
            ("2026-01-05T00:00:00Z stdout F x", None),
            (
                "10.0.0.9 - - [05/Jan/2026:00:00:00 +0000] \"GET / HTTP/1.1\"",
                None,
            ),
            ("<", None),
            ("", None),
        ];
        for (text, want) in rows {
            assert_eq!(strip(text), want, "{text}");
        }
    }
}
