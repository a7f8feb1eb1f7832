//! Dead letters: what is kept of a rejected record, its bytes and headers that say where it was and what is wrong.
//!
//! A record that is an array may make a letter per element: the first carries the bytes, the others say which one does, so a record
//! is written once however many of its elements are bad. **Invariant**: letters are in the order of the rejects, one each.
//!
//! The headers' names are Kafka Connect's (KIP-298), so tools that read its dead letter queues read ours; those of our own follow them.
//!
//! | header | value |
//! |---|---|
//! | `__connect.errors.topic`, `.partition`, `.offset` | where the record was |
//! | `__connect.errors.connector.name`, `.task.id` | `tollwatch`, the partition |
//! | `__connect.errors.stage`, `.class.name` | `VALUE_CONVERTER`, `tollwatch.decode` |
//! | `__connect.errors.exception.class.name`, `.exception.message` | `tollwatch.<reason>`, the detail |
//! | `tollwatch.reason`, `tollwatch.row` | the label in our metrics, the index inside the record |
//! | `tollwatch.bytes_in` | only without bytes: `tollwatch.row` of the letter, of the same offset, that has them |
//! | `tollwatch.truncated` | only when cut: length of the record in bytes |
//!
//! A record that was put back into its topic is noted here by a message without a value, whose one header, `tollwatch.replayed`, is
//! `topic/partition/offset` of the record: [`Entry::read`] tells the two apart.

use crate::reject::Reject;

/// Bytes of a record that its letter keeps. Brokers take messages of 1,048,588 bytes by default (`message.max.bytes`), headers
/// included; a letter's headers are below 2 KiB. A longer record is cut, and says so in `tollwatch.truncated`.
pub const LETTER_BYTES_MAX: usize = 1_000_000;

/// Names and values of a letter's headers.
pub type Headers = Vec<(String, Vec<u8>)>;

/// One dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter<'a> {
    /// Names and values, in this order.
    pub headers: Headers,
    /// The record, or its beginning; empty when another letter has it.
    pub value: &'a [u8],
}

/// Makes the dead letters of a partition's rejects, one each and in their order.
///
/// * `rejects`: as [`crate::event::DecodedBatch::rejects`] has them: those of one record side by side.
/// * `payload_of`: the bytes of the record at an offset; asked once per record.
/// * `bytes_max`: bytes of a value, usually [`LETTER_BYTES_MAX`].
pub fn letters<'a>(
    topic: &str,
    partition: i32,
    rejects: &[Reject],
    payload_of: impl Fn(i64) -> &'a [u8],
    bytes_max: usize,
) -> impl Iterator<Item = Letter<'a>> {
    let of_one_record = |a: &Reject, b: &Reject| a.position.offset == b.position.offset;
    rejects.chunk_by(of_one_record).flat_map(move |rejects| {
        let first = rejects[0].position;
        let payload = payload_of(first.offset);
        rejects.iter().enumerate().map(move |(at, reject)| {
            let headers = headers(topic, partition, reject);
            match at {
                0 => with_bytes(headers, payload, bytes_max),
                _ => without_bytes(headers, first.row),
            }
        })
    })
}

fn with_bytes(mut headers: Headers, payload: &[u8], bytes_max: usize) -> Letter<'_> {
    if bytes_max < payload.len() {
        let n_bytes = payload.len().to_string();
        headers.push(("tollwatch.truncated".to_owned(), n_bytes.into_bytes()));
    }
    Letter {
        headers,
        value: &payload[..payload.len().min(bytes_max)],
    }
}

fn without_bytes(mut headers: Headers, bytes_in: i32) -> Letter<'static> {
    let row = bytes_in.to_string();
    headers.push(("tollwatch.bytes_in".to_owned(), row.into_bytes()));
    Letter {
        headers,
        value: &[],
    }
}

/// Makes the headers that every dead letter has.
pub fn headers(topic: &str, partition: i32, reject: &Reject) -> Headers {
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

const REPLAYED: &str = "tollwatch.replayed";

/// Where a record was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

/// What a message of the dead-letter topic says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A record, or a row of it, was rejected.
    Rejected {
        /// Where the record was.
        source: Source,
        /// The row inside it.
        row: i32,
        /// The reason's label.
        reason: String,
        /// What was wrong.
        detail: String,
        /// True when the message's value is the whole record.
        is_whole: bool,
    },
    /// The record was put back.
    Replayed(Source),
}

impl Entry {
    /// Reads a message by its headers; none when this project did not write it.
    pub fn read<'h>(header: impl Fn(&str) -> Option<&'h [u8]>) -> Option<Entry> {
        let text = |name: &str| std::str::from_utf8(header(name)?).ok();
        if let Some(replayed) = text(REPLAYED) {
            let (rest, offset) = replayed.rsplit_once('/')?;
            let (topic, partition) = rest.rsplit_once('/')?;
            return Some(Entry::Replayed(Source {
                topic: topic.to_owned(),
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            }));
        }
        Some(Entry::Rejected {
            source: Source {
                topic: text("__connect.errors.topic")?.to_owned(),
                partition: text("__connect.errors.partition")?.parse().ok()?,
                offset: text("__connect.errors.offset")?.parse().ok()?,
            },
            row: text("tollwatch.row").map_or(Some(0), |row| row.parse().ok())?,
            reason: text("tollwatch.reason")?.to_owned(),
            detail: text("__connect.errors.exception.message")
                .unwrap_or_default()
                .to_owned(),
            is_whole: text("tollwatch.truncated").is_none() && text("tollwatch.bytes_in").is_none(),
        })
    }
}

/// The header that notes a record as put back.
pub fn replayed(source: &Source) -> (&'static str, String) {
    let Source {
        topic,
        partition,
        offset,
    } = source;
    (REPLAYED, format!("{topic}/{partition}/{offset}"))
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
    use crate::format::{Decoder, Format, SourceRecord};
    use crate::reject::RejectReason;

    #[test]
    fn what_is_written_is_read_again() {
        let position = RowPosition { offset: 42, row: 3 };
        let reject = Reject::new(position, RejectReason::WrongType, "status is an object");
        let source = Source {
            topic: "gateway/logs".to_owned(),
            partition: 7,
            offset: 42,
        };
        let letter = |bytes_max| {
            let payload_of = |_| &b"{\"status\":{}}"[..];
            let mut all = letters(
                &source.topic,
                7,
                std::slice::from_ref(&reject),
                payload_of,
                bytes_max,
            );
            all.next().unwrap()
        };
        for (bytes_max, whole) in [(1000, true), (5, false)] {
            let headers = letter(bytes_max).headers;
            let find = |name: &str| {
                headers
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, value)| &value[..])
            };
            let want = Entry::Rejected {
                source: source.clone(),
                row: 3,
                reason: "wrong_type".to_owned(),
                detail: "status is an object".to_owned(),
                is_whole: whole,
            };
            assert_eq!(Entry::read(find), Some(want));
        }
        let (name, value) = replayed(&source);
        let find = |asked: &str| (asked == name).then_some(value.as_bytes());
        assert_eq!(Entry::read(find), Some(Entry::Replayed(source)));
        assert_eq!(Entry::read(|_| None), None, "somebody else's message");
    }

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
    fn a_record_is_written_once_and_cut_at_its_limit() {
        let reject = |offset, row| {
            let position = RowPosition { offset, row };
            Reject::new(position, RejectReason::Malformed, "x")
        };
        let payload_of = |offset| -> &[u8] {
            match offset {
                7 => b"[bad,bad,bad]",
                8 => b"8 bytes.",
                _ => b"9 bytes..",
            }
        };
        let rejects = [
            reject(7, 1),
            reject(7, 2),
            reject(7, 4),
            reject(8, 0),
            reject(9, 0),
        ];
        let got: Vec<_> = letters("t", 3, &rejects, payload_of, 8)
            .map(|letter| {
                let text = |name: &str| {
                    let (_, value) = letter.headers.iter().find(|(n, _)| n == name)?;
                    Some(String::from_utf8(value.clone()).unwrap())
                };
                (
                    text("__connect.errors.offset").unwrap()
                        + " "
                        + &text("tollwatch.row").unwrap(),
                    String::from_utf8(letter.value.to_vec()).unwrap(),
                    text("tollwatch.bytes_in"),
                    text("tollwatch.truncated"),
                )
            })
            .collect();
        let row = |place: &str, value: &str, bytes_in: Option<&str>, truncated: Option<&str>| {
            (
                place.to_owned(),
                value.to_owned(),
                bytes_in.map(str::to_owned),
                truncated.map(str::to_owned),
            )
        };
        let want = [
            row("7 1", "[bad,bad", None, Some("13")),
            row("7 2", "", Some("1"), None),
            row("7 4", "", Some("1"), None),
            row("8 0", "8 bytes.", None, None),
            row("9 0", "9 bytes.", None, Some("9")),
        ];
        assert_eq!(got, want);
        assert_eq!(letters("t", 3, &[], payload_of, 8).count(), 0);
        // Of what may not be kept the length stays, so that nobody takes the letter for the record.
        let mut blank = letters("t", 3, &rejects, payload_of, 0);
        let is_cut = |letter: Letter<'_>| {
            let mut names = letter.headers.iter().map(|(name, _)| name.as_str());
            let says = names.any(|n| matches!(n, "tollwatch.truncated" | "tollwatch.bytes_in"));
            letter.value.is_empty() && says
        };
        assert!(blank.all(is_cut));
    }

    #[test]
    fn letters_of_a_hostile_array_stay_near_the_size_of_the_record() {
        let payload = format!("[{}0]", "0,".repeat(400_000));
        let rejects = Decoder::new(Format::Auto)
            .decode(&[SourceRecord {
                payload: payload.as_bytes(),
                offset: 0,
                broker_time_ms: None,
            }])
            .rejects;
        let n_bytes: usize = letters("t", 0, &rejects, |_| payload.as_bytes(), LETTER_BYTES_MAX)
            .map(|letter| letter.value.len())
            .sum();
        assert_eq!((rejects.len(), n_bytes), (101, payload.len()));
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
