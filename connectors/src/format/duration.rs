//! Durations as Go prints them, and seconds as numbers.

use super::Fault;
use super::json::Scalar;

/// Longest duration believed, in microseconds: 11 days.
const DURATION_US_MAX: f64 = 1e12;

/// Reads `time.Duration` as Go prints it: `4.529µs`, `1.5ms`, `1m2.3s`; in microseconds. `None` if it is none, or negative.
pub(super) fn of_go(text: &str) -> Option<i64> {
    let (mut sum_us, mut rest) = (0.0, text.trim_ascii());
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let n_digits = rest
            .bytes()
            .take_while(|b| b.is_ascii_digit() || *b == b'.');
        let (number, unit_and_rest) = rest.split_at(n_digits.count());
        let n_unit = unit_and_rest
            .bytes()
            .take_while(|b| !b.is_ascii_digit() && *b != b'.');
        let (unit, next) = unit_and_rest.split_at(n_unit.count());
        let unit_us = match unit {
            "ns" => 1e-3,
            // The micro sign and the Greek letter.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "m" => 60e6,
            "h" => 3_600e6,
            _ => return None,
        };
        sum_us += number.parse::<f64>().ok()? * unit_us;
        rest = next;
    }
    (sum_us < DURATION_US_MAX).then_some(sum_us.round() as i64)
}

/// Reads seconds as digits and a point, `0.004`; in microseconds.
pub(super) fn of_seconds(text: &str) -> Option<i64> {
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let us = text.parse::<f64>().ok()? * 1e6;
    (us < DURATION_US_MAX).then_some(us.round() as i64)
}

/// Seconds as a number, or text as Go prints a duration; in microseconds.
pub(super) fn seconds(value: &Scalar<'_>, field: &'static str) -> Result<Option<i64>, Fault> {
    match value {
        Scalar::Text(text) if text.ends_with(['s', 'm', 'h']) => of_go(text)
            .map(Some)
            .ok_or_else(|| Fault::wrong_type(field, "a duration")),
        other => other.scaled(field, 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_any_unit() {
        let rows = [
            ("4.529µs", Some(5)),
            ("100ns", Some(0)),
            ("1.5ms", Some(1_500)),
            ("0s", Some(0)),
            ("1m2.5s", Some(62_500_000)),
            ("2h0m0s", Some(7_200_000_000)),
            ("", None),
            ("5", None),
            ("ms", None),
            ("-1ms", None),
            ("1.2.3s", None),
            ("99999999h", None),
        ];
        for (text, want) in rows {
            assert_eq!(of_go(text), want, "{text}");
        }
        assert_eq!(
            seconds(&Scalar::Text("0.25".into()), "d").ok(),
            Some(Some(250_000))
        );
    }
}
