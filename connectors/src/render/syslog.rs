//! Syslog messages as of RFC 5424, in frames with their length as of RFC 6587 section 3.4.1 (octet counting).
//!
//! `<PRI>1 TIMESTAMP HOSTNAME APP-NAME - MSGID [origin software="tollwatch" swVersion="…"] MSG`
//!
//! | part | value |
//! |---|---|
//! | `PRI` | facility local0 (16) times 8, and: informational 6, low 5, medium 4, high 3, critical 2, fatal 1 |
//! | `TIMESTAMP` | the alert's time |
//! | `HOSTNAME`, `APP-NAME`, `MSGID` | of the sender; `tollwatch`; the rule. Printable ASCII, at most 255, 48, 32 characters; others are `?` |
//! | structured data | `origin` as section 7.2 registers it; in a value `"`, `\` and `]` are escaped by `\` |
//! | `MSG` | the rendering: UTF-8 without a byte order mark, which CEF's and LEEF's readers don't take |
//!
//! Octet counting has no limit of its own: a message is as long as its rendering, and a receiver that allows less cuts it.

use super::text::{cut, rfc3339};
use super::{Alert, SEVERITIES};

const FACILITY_LOCAL0: u8 = 16;
const LEVEL: [u8; SEVERITIES.len()] = [6, 5, 4, 3, 2, 1];

/// Puts a rendering into a message.
pub fn message(alert: &Alert, host: &str, rendering: &str) -> String {
    let priority = FACILITY_LOCAL0 * 8 + LEVEL[usize::from(alert.severity_id) - 1];
    format!(
        "<{priority}>1 {} {} tollwatch - {} [origin software=\"tollwatch\" swVersion=\"{}\"] {rendering}",
        rfc3339(alert.time_ms),
        word(host, 255),
        word(&alert.rule, 32),
        escape(&cut(&alert.product_version, 32)),
    )
}

/// Puts a message into a frame.
pub fn frame(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// A part of the header: printable ASCII without spaces, `-` for none.
fn word(text: &str, n_max: usize) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    match text {
        "" => "-".to_owned(),
        text => text.chars().take(n_max).map(printable).collect(),
    }
}

/// A value of structured data, without its quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
