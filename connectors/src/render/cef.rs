//! ArcSight Common Event Format, version 0 (OpenText, *CEF Implementation Standard*, document version 27, SmartConnectors 25.1).
//!
//! `CEF:0|tollwatch|tollwatch|<product version>|<rule>|<rule's title>|<severity>|` and the extension:
//!
//! | key | of the alert | bytes at most |
//! |---|---|---|
//! | `rt`, `end`, `start` | `time_ms`; `last_ms`; `first_ms` (ms since 1970) | |
//! | `externalId`, `cnt` | `uid`; 1: a record is one alert | 40 |
//! | `cat` | `owasp`, else `rule` | 1023 |
//! | `msg`, `reason` | `title`; `reasons`, `; ` between them | 1023 |
//! | `suid`, `suser` | `identity` | 1023 |
//! | `src`, else `c6a2` with its label | `call.source_ip`: IPv4, IPv6 | |
//! | `app` | `HTTP` | |
//! | `dhost`, `requestMethod`, `request`, `requestClientApplication` | `endpoint.host`, method, path and user agent of `call` | 1023 |
//! | `cs1` rule, `cs2` owasp, `cs3` endpoint, `cs4` attack, `cs5` case, `cs6` activity | each with its label | 4000; here 1023 |
//! | `cn1` http status | `call.status` | |
//!
//! Severity: informational 1, low 3, medium 5, high 8, critical and fatal 10. The header's `Name` holds no value of the call, as the document
//! asks; `msg` does.
//!
//! Header fields: `\` and `|` are escaped by `\`, a line end is a space. Values of the extension: `\` and `=` by `\`, line ends are
//! `\n` and `\r`. Header fields end at 63, 63, 31, 1023 and 512 bytes, and so a line at 33 KiB were every character escaped; usual are 1 to 2 KiB.

use std::fmt::Write;
use std::net::IpAddr;

use super::text::cut;
use super::{Alert, SEVERITIES};

const SEVERITY: [u8; SEVERITIES.len()] = [1, 3, 5, 8, 10, 10];

/// The fields of the header after the version.
pub(super) fn header(alert: &Alert) -> [String; 6] {
    let severity = SEVERITY[usize::from(alert.severity_id) - 1];
    [
        "tollwatch".to_owned(),
        "tollwatch".to_owned(),
        cut(&alert.product_version, 31),
        cut(&alert.rule, 1_023),
        cut(alert.rule_title(), 512),
        severity.to_string(),
    ]
}

/// Keys and values of the extension, before they are escaped; none is empty.
pub(super) fn extension(alert: &Alert) -> Vec<(&'static str, String)> {
    let (call, mut fields) = (&alert.call, Vec::new());
    let text = |text: &str| cut(text, 1_023);
    let cat = match alert.owasp.is_empty() {
        true => text(&alert.rule),
        false => text(&alert.owasp.join(", ")),
    };
    fields.extend([
        ("rt", alert.time_ms.to_string()),
        ("start", alert.first_ms.to_string()),
        ("end", alert.last_ms.to_string()),
        ("cnt", "1".to_owned()),
        ("externalId", cut(&alert.uid, 40)),
        ("cat", cat),
        ("suid", text(&alert.identity)),
        ("suser", text(&alert.identity)),
    ]);
    match call.source_ip {
        Some(IpAddr::V4(ip)) => fields.push(("src", ip.to_string())),
        Some(IpAddr::V6(ip)) => fields.extend([
            ("c6a2Label", "Source IPv6 Address".to_owned()),
            ("c6a2", ip.to_string()),
        ]),
        None => (),
    }
    fields.extend([
        ("app", "HTTP".to_owned()),
        ("dhost", text(&alert.endpoint.host)),
        ("requestMethod", text(alert.method())),
        ("request", text(&call.path)),
        ("requestClientApplication", text(&call.user_agent)),
    ]);
    let techniques = alert.techniques.join(", ");
    for (label, key, name, value) in [
        ("cs1Label", "cs1", "rule", &alert.rule),
        ("cs2Label", "cs2", "owasp", &alert.owasp.join(", ")),
        ("cs3Label", "cs3", "endpoint", &alert.endpoint.uid),
        ("cs4Label", "cs4", "attack", &techniques),
        ("cs5Label", "cs5", "case", &alert.case_uid),
        ("cs6Label", "cs6", "activity", &alert.activity.to_owned()),
    ] {
        if !value.is_empty() {
            fields.extend([(label, name.to_owned()), (key, text(value))]);
        }
    }
    if let Some(status) = call.status {
        let label = ("cn1Label", "http status".to_owned());
        fields.extend([label, ("cn1", status.to_string())]);
    }
    fields.push(("msg", text(&alert.title)));
    fields.push(("reason", text(&alert.reasons.join("; "))));
    fields.retain(|(_, value)| !value.is_empty());
    fields
}

/// Renders an alert as one line.
pub(super) fn render(alert: &Alert) -> String {
    let mut line = "CEF:0".to_owned();
    for field in header(alert) {
        line.push('|');
        escape_header(&field, &mut line);
    }
    line.push('|');
    for (n, (key, value)) in extension(alert).iter().enumerate() {
        let space = if n == 0 { "" } else { " " };
        // A String takes whatever is written to it.
        let _ = write!(line, "{space}{key}=");
        escape_value(value, &mut line);
    }
    line
}

/// Appends a field of the header.
pub(super) fn escape_header(text: &str, line: &mut String) {
    for c in text.chars() {
        match c {
            '\\' | '|' => line.extend(['\\', c]),
            '\n' | '\r' => line.push(' '),
            c => line.push(c),
        }
    }
}

/// Appends a value of the extension.
pub(super) fn escape_value(text: &str, line: &mut String) {
    for c in text.chars() {
        match c {
            '\\' | '=' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            c => line.push(c),
        }
    }
}
