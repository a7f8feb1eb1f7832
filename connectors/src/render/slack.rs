//! A message for Slack's incoming webhooks, and those of Mattermost and Rocket.Chat, which take the same (Slack, *Formatting text for app
//! surfaces*, which has no version): one `text`.
//!
//! `&`, `<` and `>` are escaped as Slack asks, so that nothing of a caller's choosing becomes a link or mentions a channel; other marks
//! (`*`, `_`, `~`, backticks) are put out of use by code spans, in which backticks are apostrophes. A text ends at 512 bytes and there are ten at
//! most, four of them reasons: Slack takes 40,000 characters.

use serde_json::{Value, json};

use super::Alert;
use super::text::cut;

/// Renders an alert as the body of a webhook.
pub(super) fn render(alert: &Alert) -> Value {
    let word = alert.severity().to_uppercase();
    let mut text = format!(
        "*{word}* ({}) {}\n{}",
        alert.activity,
        code(alert.rule_title()),
        code(&alert.title)
    );
    for (name, value) in [
        ("who", &alert.identity),
        ("where", &alert.endpoint.uid),
        ("rule", &alert.rule),
        ("id", &alert.uid),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("\n{name}: {}", code(value)));
        }
    }
    for reason in alert.reasons.iter().take(4) {
        text.push_str(&format!("\n• {}", code(reason)));
    }
    json!({ "text": text })
}

/// A text as Slack shows it and nothing else: neither link, mention nor mark. At most 512 bytes before it is escaped.
pub fn code(text: &str) -> String {
    let text = cut(text, 512).replace('`', "'");
    let text = text.replace('&', "&amp;");
    format!("`{}`", text.replace('<', "&lt;").replace('>', "&gt;"))
}
