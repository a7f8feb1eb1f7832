//! IBM QRadar Log Event Extended Format 2.0 (IBM, *LEEF event components* and *Predefined LEEF event attributes*, as published in 2026).
//!
//! `LEEF:2.0|tollwatch|tollwatch|<product version>|<rule>|x09|` and attributes with a tab between them:
//!
//! | key | of the alert |
//! |---|---|
//! | `cat`, `sev`, `devTime` | `owasp` (else `rule`), 1 to 10 as in CEF, `time_ms` (13 digits need no `devTimeFormat`) |
//! | `usrName`, `src` | `identity`, `call.source_ip` |
//! | `url`, `resource`, `policy` | path of the call, endpoint, rule |
//! | `alertId`, `caseId`, `activity`, `title`, `reasons` | `uid`, `case_uid`, `activity`, `title`, `reasons` with `; ` between them |
//! | `firstSeen`, `httpMethod`, `httpStatus`, `httpHost`, `userAgent`, `attack`, `ruleTitle` | the same of the alert and its call |
//!
//! The format has no escapes: in a value the delimiter and line ends are spaces, in a header's field `|` too. The document limits only
//! the event id, to 255; here a value ends at 1023 bytes, and so a line at 20 KiB. Usual are 1 to 2 KiB.

use std::fmt::Write;

use super::text::cut;
use super::{Alert, SEVERITIES};

const SEVERITY: [u8; SEVERITIES.len()] = [1, 3, 5, 8, 10, 10];

/// Between attributes; as the header tells it.
const DELIMITER: char = '\t';
const DELIMITER_HEX: &str = "x09";

/// The fields of the header after the version.
pub(super) fn header(alert: &Alert) -> [String; 5] {
    [
        "tollwatch".to_owned(),
        "tollwatch".to_owned(),
        cut(&alert.product_version, 63),
        cut(&alert.rule, 255),
        DELIMITER_HEX.to_owned(),
    ]
}

/// Keys and values of the attributes, before line ends and delimiters are taken out; none is empty.
pub(super) fn attributes(alert: &Alert) -> Vec<(&'static str, String)> {
    let (call, text) = (&alert.call, |text: &str| cut(text, 1_023));
    let cat = match alert.owasp.first() {
        Some(owasp) => text(owasp),
        None => text(&alert.rule),
    };
    let severity = SEVERITY[usize::from(alert.severity_id) - 1];
    let status = call.status.map_or_else(String::new, |s| s.to_string());
    let ip = call.source_ip.map_or_else(String::new, |ip| ip.to_string());
    let mut attributes = vec![
        ("cat", cat),
        ("devTime", alert.time_ms.to_string()),
        ("sev", severity.to_string()),
        ("usrName", text(&alert.identity)),
        ("src", ip),
        ("url", text(&call.path)),
        ("resource", text(&alert.endpoint.uid)),
        ("policy", text(&alert.rule)),
        ("alertId", text(&alert.uid)),
        ("caseId", text(&alert.case_uid)),
        ("activity", alert.activity.to_owned()),
        ("firstSeen", alert.first_ms.to_string()),
        ("httpMethod", text(alert.method())),
        ("httpStatus", status),
        ("httpHost", text(&alert.endpoint.host)),
        ("userAgent", text(&call.user_agent)),
        ("attack", text(&alert.techniques.join(", "))),
        ("ruleTitle", text(alert.rule_title())),
        ("title", text(&alert.title)),
        ("reasons", text(&alert.reasons.join("; "))),
    ];
    attributes.retain(|(_, value)| !value.is_empty());
    attributes
}

/// Renders an alert as one line.
pub(super) fn render(alert: &Alert) -> String {
    let mut line = "LEEF:2.0".to_owned();
    for field in header(alert) {
        line.push('|');
        line.extend(field.chars().map(|c| match c {
            '|' | '\n' | '\r' => ' ',
            c => c,
        }));
    }
    line.push('|');
    for (n, (key, value)) in attributes(alert).iter().enumerate() {
        if n > 0 {
            line.push(DELIMITER);
        }
        // A String takes whatever is written to it.
        let _ = write!(line, "{key}={}", without_ends(value, DELIMITER));
    }
    line
}

/// A value without line ends and the delimiter.
pub(super) fn without_ends(text: &str, delimiter: char) -> String {
    let is_end = |c: char| c == delimiter || c == '\n' || c == '\r';
    let chars = text.chars().map(|c| if is_end(c) { ' ' } else { c });
    chars.collect()
}
