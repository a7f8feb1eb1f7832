//! Dead letters: the headers that travel with a rejected record's untouched bytes.
//!
//! The names are Kafka Connect's (KIP-298), so tools that read its dead letter queues read ours; two of our own follow them.
//!
//! | header | value |
//! |---|---|
//! | `__connect.errors.topic`, `.partition`, `.offset` | where the record was |
//! | `__connect.errors.connector.name`, `.task.id` | `tollwatch`, the partition |
//! | `__connect.errors.stage`, `.class.name` | `VALUE_CONVERTER`, `tollwatch.decode` |
//! | `__connect.errors.exception.class.name`, `.exception.message` | `tollwatch.<reason>`, the detail |
//! | `tollwatch.reason`, `tollwatch.row` | the label in our metrics, the index inside the record |

use crate::reject::Reject;

/// Makes the headers of one dead letter.
pub fn headers(topic: &str, partition: i32, reject: &Reject) -> Vec<(String, Vec<u8>)> {
    let reason = reject.reason.as_str();
    [
        ("__connect.errors.topic", printable(topic)),
        ("__connect.errors.partition", partition.to_string()),
        (
            "__connect.errors.offset",
            reject.position.offset.to_string(),
        ),
        ("__connect.errors.connector.name", "tollwatch".to_owned()),
        ("__connect.errors.task.id", partition.to_string()),
        ("__connect.errors.stage", "VALUE_CONVERTER".to_owned()),
        ("__connect.errors.class.name", "tollwatch.decode".to_owned()),
        (
            "__connect.errors.exception.class.name",
            format!("tollwatch.{reason}"),
        ),
        (
            "__connect.errors.exception.message",
            printable(&reject.detail),
        ),
        ("tollwatch.reason", reason.to_owned()),
        ("tollwatch.row", reject.position.row.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value.into_bytes()))
    .into()
}

/// Replaces control characters, and those that reorder a terminal's text, by `?`: the message ends in somebody's terminal.
fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars()
        .map(|c| if hidden(c) { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RowPosition;
    use crate::reject::RejectReason;

    #[test]
    fn a_dead_letter_says_where_and_why_without_control_characters() {
        let position = RowPosition { offset: 42, row: 3 };
        let reject = Reject::new(
            position,
            RejectReason::WrongType,
            "status\u{1b}[31m is\r\nan object\u{202e}",
        );
        let headers = headers("gateway.logs", 7, &reject);
        let text = |name: &str| {
            let (_, value) = headers.iter().find(|(n, _)| n == name).expect(name);
            String::from_utf8(value.clone()).unwrap()
        };
        assert_eq!(headers.len(), 11);
        assert_eq!(text("__connect.errors.topic"), "gateway.logs");
        assert_eq!(text("__connect.errors.partition"), "7");
        assert_eq!(text("__connect.errors.offset"), "42");
        assert_eq!(
            text("__connect.errors.exception.class.name"),
            "tollwatch.wrong_type"
        );
        assert_eq!(
            text("__connect.errors.exception.message"),
            "status?[31m is??an object?"
        );
        assert_eq!(text("tollwatch.reason"), "wrong_type");
        assert_eq!(text("tollwatch.row"), "3");
    }

    #[test]
    fn a_detail_is_cut_at_its_limit() {
        let reject = Reject::new(
            RowPosition { offset: 0, row: 0 },
            RejectReason::Malformed,
            &"é".repeat(500),
        );
        assert_eq!(reject.detail.chars().count(), 200);
    }
}
