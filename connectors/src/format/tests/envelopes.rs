//! Lines of every format in what shippers put around them.

use super::{COMBINED, LINES, NGINX, assert_has, print, rows};
use crate::format::Format;
use crate::reject::RejectReason;

/// One line or object in what shippers make of it.
fn shipped(line: &str) -> Vec<String> {
    let text = sonic_rs::to_string(line).unwrap();
    vec![
        format!(r#"{{"log":{text},"stream":"stdout","time":"2026-01-05T00:00:01Z"}}"#),
        format!(
            r#"{{"@timestamp":"2026-01-05T00:00:01.003Z","log":{{"file":{{"path":"/var/log/a"}},"offset":7}},"message":{text},
                "input":{{"type":"log"}},"kubernetes":{{"pod":{{"name":"gw"}}}},"host":{{"name":"n1"}},"ecs":{{"version":"8.0.0"}},"agent":{{"type":"filebeat"}}}}"#
        ),
        format!(
            r#"{{"message":{text},"source_type":"kubernetes_logs","timestamp":"2026-01-05T00:00:01Z"}}"#
        ),
        format!(r#"{{"event":{{"original":{text}}},"@timestamp":"2026-01-05T00:00:01Z"}}"#),
        format!(r#"{{"MESSAGE":{text},"_SYSTEMD_UNIT":"gw.service"}}"#),
        format!(
            r#"{{"messageType":"DATA_MESSAGE","logGroup":"gw","logEvents":[{{"id":"1","timestamp":1767571201000,"message":{text}}}]}}"#
        ),
        format!("<190>Jan  5 00:00:01 gw-1 gateway[7]: {line}"),
        format!("<190>1 2026-01-05T00:00:01Z gw-1 gateway 7 - - {line}"),
        format!(
            r#"{{"log":{}}}"#,
            sonic_rs::to_string(&format!("<190>Jan  5 00:00:01 gw-1 gateway: {line}\n")).unwrap()
        ),
        format!("2026-01-05T00:00:01Z stdout F {line}"),
    ]
}

#[test]
fn what_shippers_put_around_a_line_does_not_matter() {
    for (format, line) in LINES {
        let plain = print(*format, line);
        assert!(
            plain.iter().any(|line| line.starts_with("path=")),
            "{plain:?}"
        );
        let mut all = shipped(line);
        if line.starts_with('{') {
            all.push(format!("[{line}]"));
            all.push(format!(r#"{{"records":[{line}]}}"#));
            all.push(format!(
                r#"{{"log":"","log_processed":{line},"kubernetes":{{}}}}"#
            ));
        }
        for text in all {
            assert_eq!(print(*format, &text), plain, "{format} {text}");
            assert_eq!(print(Format::Auto, &text), plain, "auto {text}");
        }
    }
}

#[test]
fn envelopes_are_opened_so_deep_and_no_deeper() {
    let wrap = |text: &str| format!(r#"{{"log":{}}}"#, sonic_rs::to_string(text).unwrap());
    let twice = wrap(&wrap(NGINX));
    assert_has(Format::Auto, &twice, &["path=/a/7"]);
    assert_eq!(
        print(Format::Auto, wrap(&twice)),
        ["unknown_format: no known format has its keys"]
    );
}

#[test]
fn the_lines_of_an_envelope_are_rows() {
    let event = |line: &str| format!(r#"{{"message":{}}}"#, sonic_rs::to_string(line).unwrap());
    let text = format!(
        r#"{{"messageType":"DATA_MESSAGE","logEvents":[{},{},{{"message":{NGINX}}},{}]}}"#,
        event(COMBINED),
        event("junk"),
        event(&format!("[{NGINX},{NGINX}]")),
    );
    let unknown = RejectReason::UnknownFormat;
    assert_eq!(
        rows(Format::Auto, &text),
        (vec![0, 2, 3, 4], vec![(1, unknown)])
    );
    for (text, want) in [
        (r#"{"records":[]}"#, "empty: an envelope without records"),
        (r#"{"log":[]}"#, "empty: an envelope without records"),
        (
            r#"{"message":" [ ]"}"#,
            "empty: an envelope without records",
        ),
        (
            r#"{"messageType":"CONTROL_MESSAGE","logEvents":[{"message":"x"}]}"#,
            "empty: a control message of CloudWatch Logs",
        ),
        (r#"{"log":"\n"}"#, "empty: no bytes but white space"),
        (
            r#"{"log":"2026-01-05T00:00:01Z stdout P {\"msec\":"}"#,
            "partial: JSON ends early at line 1 column 8",
        ),
    ] {
        assert_eq!(print(Format::Auto, text), [want], "{text}");
    }
}

#[test]
fn a_bad_escape_in_an_envelope_hides_no_call() {
    let text = format!(r#"{{"x":"\c","records":[{NGINX}]}}"#);
    assert_has(Format::Auto, &text, &["path=/a/7"]);
}
