//! Times as gateways write them, read as milliseconds since 1970 in UTC.
//!
//! | form | example |
//! |---|---|
//! | RFC 3339, any fraction, any offset | `2026-01-05T11:50:05.154+01:00`, `2026-01-05 10:50:05Z` |
//! | the same without a zone, read as UTC | `2026-01-05 10:50:05` |
//! | the same with a colon before the clock (F5 BIG-IP) | `2026-01-05:10:50:05.154Z` |
//! | Go's, with slashes, read as UTC | `2026/01/05 - 10:50:05`, `2026/01/05 10:50:05.154` |
//! | HTTP | `Mon, 05 Jan 2026 10:50:05 GMT` |
//! | CLF | `05/Jan/2026:11:50:05 +0100`, with or without brackets |
//! | HAProxy's, with a fraction, and without a zone read as UTC | `05/Jan/2026:10:50:05.154` |
//! | a number, unit by magnitude | `1767613805`, `1767613805.154`, `1767613805154`, … |
//!
//! Magnitude: from 1e17 nanoseconds, from 1e14 microseconds, from 1e11 milliseconds, else seconds. 1e11 s is the year 5138 and
//! 1e11 ms is 1973, so for times in this century the unit is never in doubt.

/// 2000-01-01T00:00:00Z: no gateway log is older.
pub const EARLIEST_MS: i64 = 946_684_800_000;
/// 2100-01-01T00:00:00Z: half-open end of believable times.
pub const LATEST_MS: i64 = 4_102_444_800_000;

const DAY_MS: i64 = 86_400_000;

/// Says whether a time lies in `[2000-01-01, 2100-01-01)`.
pub fn is_plausible(time_ms: i64) -> bool {
    (EARLIEST_MS..LATEST_MS).contains(&time_ms)
}

/// Reads any of the forms above; `None` if the text is none of them.
pub fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim_ascii();
    let bytes = text.as_bytes();
    match bytes {
        [b'[', inner @ .., b']'] => parse_clf(inner).or_else(|| parse_haproxy(inner)),
        [_, _, _, _, b'-', ..] => parse_rfc3339(bytes),
        [_, _, _, b',', b' ', rest @ ..] => parse_http(rest),
        [_, _, b'/', ..] => parse_clf(bytes).or_else(|| parse_haproxy(bytes)),
        [_, _, _, _, b'/', ..] => parse_slashed(bytes),
        _ => parse_number(text),
    }
}

/// Reads an integer time; the unit follows from the magnitude.
pub fn from_integer(value: i64) -> i64 {
    match value.unsigned_abs() {
        100_000_000_000_000_000.. => value.div_euclid(1_000_000),
        100_000_000_000_000.. => value.div_euclid(1_000),
        100_000_000_000.. => value,
        _ => value.saturating_mul(1_000),
    }
}

/// Reads a fractional time; the unit follows from the magnitude. `None` if not finite.
pub fn from_float(value: f64) -> Option<i64> {
    if !value.is_finite() {
        return None;
    }
    let ms = match value.abs() {
        x if 1e17 <= x => value / 1e6,
        x if 1e14 <= x => value / 1e3,
        x if 1e11 <= x => value,
        _ => value * 1e3,
    };
    Some(ms.round() as i64)
}

fn parse_number(text: &str) -> Option<i64> {
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    match text.parse::<i64>() {
        Ok(value) => Some(from_integer(value)),
        Err(_) => text.parse::<f64>().ok().and_then(from_float),
    }
}

/// Reads `dd/Mon/yyyy:HH:MM:SS +zzzz`, exactly 26 bytes.
pub fn parse_clf(bytes: &[u8]) -> Option<i64> {
    let &[
        d1,
        d2,
        b'/',
        m1,
        m2,
        m3,
        b'/',
        ref year @ ..,
        b':',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
        b' ',
        sign,
        z1,
        z2,
        z3,
        z4,
    ] = bytes
    else {
        return None;
    };
    let month = month([m1, m2, m3])?;
    let year = if year.len() == 4 {
        digits(year)?
    } else {
        return None;
    };
    let day_ms = date_ms(year, month, digits(&[d1, d2])?)?;
    let clock_ms = clock_ms(digits(&[h1, h2])?, digits(&[n1, n2])?, digits(&[s1, s2])?)?;
    Some(day_ms + clock_ms - offset_ms(&[sign, z1, z2, z3, z4])?)
}

/// Reads `yyyy/mm/dd hh:mm:ss[.fraction]`, with ` - ` in the middle as gin writes it.
fn parse_slashed(bytes: &[u8]) -> Option<i64> {
    let (date, tail) = bytes.split_at_checked(10)?;
    let clock = tail.strip_prefix(b" - ").or(tail.strip_prefix(b" "))?;
    let mut text = [0; 32];
    let length = date.len() + 1 + clock.len();
    text.get_mut(..10)?.copy_from_slice(date);
    text.get_mut(11..length)?.copy_from_slice(clock);
    (text[4], text[7], text[10]) = match (text[4], text[7]) {
        (b'/', b'/') => (b'-', b'-', b'T'),
        _ => return None,
    };
    parse_rfc3339(&text[..length])
}

fn month(name: [u8; 3]) -> Option<i64> {
    Some(match &name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// Reads `dd Mon yyyy hh:mm:ss GMT` (RFC 9110, section 5.6.7), which follows the day of the week.
fn parse_http(bytes: &[u8]) -> Option<i64> {
    let &[
        d1,
        d2,
        b' ',
        m1,
        m2,
        m3,
        b' ',
        y1,
        y2,
        y3,
        y4,
        b' ',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
        b' ',
        b'G',
        b'M',
        b'T',
    ] = bytes
    else {
        return None;
    };
    let day_ms = date_ms(
        digits(&[y1, y2, y3, y4])?,
        month([m1, m2, m3])?,
        digits(&[d1, d2])?,
    )?;
    Some(day_ms + clock_ms(digits(&[h1, h2])?, digits(&[n1, n2])?, digits(&[s1, s2])?)?)
}

/// Reads `dd/Mon/yyyy:HH:MM:SS[.fraction][ +zzzz]`.
pub fn parse_haproxy(bytes: &[u8]) -> Option<i64> {
    let (head, tail) = bytes.split_at_checked(20)?;
    let (fraction, zone) = match tail {
        [b'.', rest @ ..] => rest.split_at(rest.iter().take_while(|b| b.is_ascii_digit()).count()),
        zone => (&b"0"[..], zone),
    };
    let zone = if zone.is_empty() { b" +0000" } else { zone };
    let mut clf = [0; 26];
    clf[..20].copy_from_slice(head);
    clf[20..].copy_from_slice(zone.get(..6).filter(|_| zone.len() == 6)?);
    Some(parse_clf(&clf)? + millis(fraction)?)
}

/// Reads `yyyy-mm-ddThh:mm:ss[.fraction][zone]`; `T` may be a space or a colon, the zone `Z`, `±hh:mm`, `±hhmm`, `±hh` or absent.
fn parse_rfc3339(bytes: &[u8]) -> Option<i64> {
    let (head, tail) = bytes.split_at_checked(19)?;
    let &[
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T' | b't' | b' ' | b'_' | b':',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
    ] = head
    else {
        return None;
    };
    let (fraction_ms, zone) = match tail {
        [b'.' | b',', rest @ ..] => {
            let n_digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let (fraction, zone) = rest.split_at(n_digits);
            (millis(fraction)?, zone)
        }
        zone => (0, zone),
    };
    let zone_ms = match zone {
        [] | [b'Z' | b'z'] => 0,
        [b' ', b'U', b'T', b'C'] => 0,
        [b' ', zone @ ..] | zone => offset_ms(zone)?,
    };
    let day_ms = date_ms(
        digits(&[y1, y2, y3, y4])?,
        digits(&[m1, m2])?,
        digits(&[d1, d2])?,
    )?;
    let clock_ms = clock_ms(digits(&[h1, h2])?, digits(&[n1, n2])?, digits(&[s1, s2])?)?;
    Some(day_ms + clock_ms + fraction_ms - zone_ms)
}

fn millis(fraction: &[u8]) -> Option<i64> {
    match fraction {
        [] => None,
        [a] => Some(digits(&[*a])? * 100),
        [a, b] => Some(digits(&[*a, *b])? * 10),
        [a, b, c, ..] => digits(&[*a, *b, *c]),
    }
}

fn offset_ms(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match *zone {
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => {
            (sign, digits(&[h1, h2])?, digits(&[m1, m2])?)
        }
        [sign, h1, h2] => (sign, digits(&[h1, h2])?, 0),
        _ => return None,
    };
    let ahead_ms = (hours <= 23 && minutes <= 59).then_some((hours * 60 + minutes) * 60_000)?;
    match sign {
        b'+' => Some(ahead_ms),
        b'-' => Some(-ahead_ms),
        _ => None,
    }
}

fn clock_ms(hour: i64, minute: i64, second: i64) -> Option<i64> {
    // 60 is a leap second; it counts as the next minute's first.
    (hour <= 23 && minute <= 59 && second <= 60)
        .then_some(((hour * 60 + minute) * 60 + second) * 1_000)
}

/// Milliseconds from 1970 to the start of a day.
///
/// * Source: H. Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `days_from_civil`, for years from 0 on.
fn date_ms(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let n_days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=n_days).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era - 719_468) * DAY_MS)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |sum, b| {
        b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clock_seen_so_far_reads_as_utc_milliseconds() {
        let rows = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00Z", Some(951_825_600_000)),
            ("2022-09-08T12:51:05.656Z", Some(1_662_641_465_656)),
            (
                "2022-09-08T14:51:05.656999999+02:00",
                Some(1_662_641_465_656),
            ),
            ("2022-09-08T12:51:05.6+0000", Some(1_662_641_465_600)),
            ("2022-09-08 12:51:05", Some(1_662_641_465_000)),
            ("2022-09-08 12:51:05 UTC", Some(1_662_641_465_000)),
            ("2022-09-08 14:51:05 +0200", Some(1_662_641_465_000)),
            ("2022/09/08 12:51:05", Some(1_662_641_465_000)),
            ("2026/01/05 - 00:00:00", Some(1_767_571_200_000)),
            ("2026/01-05 00:00:00", None),
            ("2022-09-08:12:51:05.656Z", Some(1_662_641_465_656)),
            ("Thu, 08 Sep 2022 12:51:05 GMT", Some(1_662_641_465_000)),
            ("Thu, 08 Foo 2022 12:51:05 GMT", None),
            ("Thu, 08 Sep 2022 12:51:05 CET", None),
            ("10/Oct/2000:13:55:36 -0700", Some(971_211_336_000)),
            ("[10/Oct/2000:13:55:36 -0700]", Some(971_211_336_000)),
            ("10/Oct/2000:13:55:36", Some(971_186_136_000)),
            ("10/Oct/2000:13:55:36 +0545", Some(971_165_436_000)),
            ("14/Jan/2015:12:48:57.127", Some(1_421_239_737_127)),
            ("[14/Jan/2015:12:48:57.127]", Some(1_421_239_737_127)),
            ("14/Jan/2015:13:48:57.1 +0100", Some(1_421_239_737_100)),
            ("2026/01/05 - 00:00:00", Some(1_767_571_200_000)),
            ("2026/01/05 00:00:00.25", Some(1_767_571_200_250)),
            ("1767571200", Some(1_767_571_200_000)),
            ("1767571200.003", Some(1_767_571_200_003)),
            ("1767571200003", Some(1_767_571_200_003)),
            ("1767571200003.7", Some(1_767_571_200_004)),
            ("1767571200003999", Some(1_767_571_200_003)),
            ("1767571200003999999", Some(1_767_571_200_003)),
            ("0", Some(0)),
            ("", None),
            ("-", None),
            (".", None),
            ("1e9", None),
            ("inf", None),
            ("2022-02-29T00:00:00Z", None),
            ("2022-13-01T00:00:00Z", None),
            ("2022-09-08T25:00:00Z", None),
            ("2022-09-08T12:51:05.Z", None),
            ("2022-09-08T12:51:05+99:00", None),
            ("10/Foo/2000:13:55:36 -0700", None),
            ("10/Oct/2000:13:55:36.", None),
            ("10/Oct/2000:13:55:36.1 +0", None),
            ("2026/01/05 - 00:00", None),
            ("2026/01/05 - 00:00:00.00000000000000000000000", None),
        ];
        for (text, want) in rows {
            assert_eq!(parse_time(text), want, "{text}");
        }
    }

    #[test]
    fn the_edges_of_belief_are_half_open() {
        assert_eq!(parse_time("2000-01-01T00:00:00Z"), Some(EARLIEST_MS));
        assert_eq!(parse_time("2100-01-01T00:00:00Z"), Some(LATEST_MS));
        assert!(is_plausible(EARLIEST_MS) && !is_plausible(EARLIEST_MS - 1));
        assert!(is_plausible(LATEST_MS - 1) && !is_plausible(LATEST_MS));
    }
}
