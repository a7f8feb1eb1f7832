//! Texts: what may be in them, how they are cut, and times as text.

use serde_json::{Map, Value};

/// Ends a text that was cut.
const MARK: char = '…';

/// Control characters, line ends of Unicode, and marks that reorder or hide text.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A text of at most `bytes_max` bytes on one line, without space around it, a space for each character that is not to be printed.
pub(crate) fn clean(text: &str, bytes_max: usize) -> String {
    // Cut before it is looked at: a text may have megabytes, and some characters become shorter.
    let looked_at = &text[..text.floor_char_boundary(4 * bytes_max)];
    let mut printed: String = looked_at
        .chars()
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect();
    if looked_at.len() < text.len() {
        printed.push(MARK);
    }
    cut(printed.trim(), bytes_max)
}

/// A text of at most `bytes_max` bytes, which ends in `…` when some of it is missing.
///
/// * `bytes_max`: at least 3, the length of the mark. Bytes, since documents that say characters are kept to as well.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let kept = text.floor_char_boundary(bytes_max - MARK.len_utf8());
    format!("{}{MARK}", text[..kept].trim_end())
}

/// A time as RFC 3339 in UTC, with milliseconds.
///
/// * `time_ms`: since 1970, of the years 1 to 9999.
pub(super) fn rfc3339(time_ms: i64) -> String {
    let (days, ms) = (
        time_ms.div_euclid(86_400_000),
        time_ms.rem_euclid(86_400_000),
    );
    // Days since 1 March of year 0 into eras of 400 years: H. Hinnant, chrono-compatible low-level date algorithms, civil_from_days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + 400 * era + i64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        ms % 1_000
    )
}

/// Sets `value` at a dotted path of objects, unless it is null, an empty text or an empty array.
pub(super) fn set(object: &mut Map<String, Value>, path: &str, value: impl Into<Value>) {
    let value = value.into();
    let is_empty = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    };
    if is_empty {
        return;
    }
    match path.split_once('.') {
        None => {
            object.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = object
                .entry(first)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_time;

    #[test]
    fn a_time_as_text_is_the_time() {
        for (time_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_767_601_459_146, "2026-01-05T08:24:19.146Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(time_ms), text);
        }
        for day in 0..36_500 {
            let time_ms = 946_684_800_000 + day * 86_400_000 + 12_345;
            assert_eq!(parse_time(&rfc3339(time_ms)), Some(time_ms));
        }
    }

    #[test]
    fn what_is_cut_fits_and_says_so() {
        for (text, bytes_max, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abc…"),
            ("日本語", 8, "日…"),
            ("ab cdefg", 6, "ab…"),
        ] {
            let found = cut(text, bytes_max);
            assert_eq!(found, expected);
            assert!(found.len() <= bytes_max);
        }
        assert_eq!(clean(" a\u{202e}b\r\nc\u{0} ", 99), "a b  c");
    }
}
