//! A keyed log's record: one Arrow batch and where it came from.
//!
//! The value is one encapsulated Arrow IPC record-batch message, buffers uncompressed (the producer
//! compresses the whole record); the schema is known by its version. Because the batch is the
//! record, batch boundaries are in the log. Positions are per row, so a stage that writes rows again
//! after a crash, in other batches, writes nothing twice: the next stage drops every row at or below
//! the highest position it has seen from that input partition.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use xxhash_rust::xxh3::xxh3_64;

use crate::briefing::{Briefing, BriefingError};
use crate::rule::RuleTexts;
use crate::rule::shed::Act;
use crate::rule::texts::TextsError;
use crate::schema;

mod shape;

/// Virtual shards of every key: a partition is a run of them, so partitions can grow.
pub const SHARDS: u64 = 256;

/// The logs between the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Log {
    /// Every call, keyed by identity.
    Events,
    /// First touches, keyed by object.
    Touches,
    /// Touches with their owners and visits, keyed by identity.
    Judgements,
    /// What the calls of an endpoint come to, keyed by host.
    Endpoints,
}

impl Log {
    /// The logs in the order of the data.
    pub const ALL: [Log; 4] = [Log::Events, Log::Touches, Log::Judgements, Log::Endpoints];

    /// The log that the stage which reads this one writes; none when it writes results alone. What reads the events writes
    /// [`Log::Endpoints`] beside it.
    pub fn next(self) -> Option<Log> {
        match self {
            Log::Events => Some(Log::Touches),
            Log::Touches => Some(Log::Judgements),
            Log::Judgements | Log::Endpoints => None,
        }
    }

    /// Name of the log, without the deployment's prefix.
    pub fn name(self) -> &'static str {
        match self {
            Log::Events => "events",
            Log::Touches => "touches",
            Log::Judgements => "judgements",
            Log::Endpoints => "endpoints",
        }
    }

    /// The columns that hold a row's position in the log (or source) it was made from.
    pub fn position_columns(self) -> (&'static str, &'static str) {
        match self {
            Log::Events => ("source_offset", "source_row"),
            Log::Touches | Log::Judgements | Log::Endpoints => ("in_offset", "in_row"),
        }
    }
}

/// Position of a row in the log or source it was made from: offset, then row.
pub type RowAt = (i64, i32);

/// Where a record came from and how far event time is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Topic, or file, of the input.
    pub input_topic: Arc<str>,
    /// Partition of the input.
    pub input_partition: i32,
    /// Highest event time of that input so far, ms; `i64::MIN` before the first.
    pub watermark_ms: i64,
    /// True when that input has nothing more for now: its watermark holds nobody back.
    pub idle: bool,
    /// Wall time at which the oldest row's source record was read, ms; 0 when unknown. Measures
    /// latency only.
    pub read_at_ms: i64,
}

/// A record of a keyed log.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Where it came from.
    pub header: Header,
    /// Its rows; none in a heartbeat.
    pub batch: RecordBatch,
}

/// What a message of a log is.
#[derive(Clone, Debug)]
pub enum Item {
    /// A record of rows.
    Record(LogRecord),
    /// The rules by which rows behind it are judged.
    Rules(RuleTexts),
    /// One of these rules is shed behind it, or runs again.
    Act(Act),
    /// What documents and the register of agents say of rows behind it.
    Briefing(Briefing),
}

/// A record that can't be read: the log is damaged, or from another version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The value is no record-batch message.
    #[error("record of log {log} is no Arrow record batch: {reason}")]
    NotABatch {
        /// The log.
        log: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A header is missing or malformed.
    #[error(
        "record of log {log} has no valid header {header}; was the topic written by somebody else?"
    )]
    Header {
        /// The log.
        log: &'static str,
        /// The header.
        header: &'static str,
    },
    /// The rows are of another version.
    #[error("record of log {log} has schema version {found}, this program reads {expected}")]
    Version {
        /// The log.
        log: &'static str,
        /// Version found.
        found: String,
        /// Version read.
        expected: u32,
    },
    /// A set of rules can't be read.
    #[error("record of log {log} should be rules")]
    Rules {
        /// The log.
        log: &'static str,
        /// Why it is none.
        source: TextsError,
    },
    /// What is told of a rule can't be read.
    #[error("record of log {log} should say which rule is shed")]
    Act {
        /// The log.
        log: &'static str,
        /// Why it does not.
        source: postcard::Error,
    },
    /// A briefing can't be read.
    #[error("record of log {log} should be what documents and the register of agents say")]
    Briefing {
        /// The log.
        log: &'static str,
        /// Why it is not.
        source: BriefingError,
    },
    /// Arrow refused.
    #[error("cannot encode a record")]
    Arrow(#[from] arrow::error::ArrowError),
}

/// Partition of a key's hash among `partitions`.
pub fn partition_of(hash: u64, partitions: usize) -> usize {
    (hash % SHARDS) as usize % partitions.max(1)
}

/// Hash of an identity's name; decides where it lives.
pub fn identity_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// Position of row `i` of a batch of `log`.
pub fn row_at(log: Log, batch: &RecordBatch, i: usize) -> Option<RowAt> {
    let (offset, row) = log.position_columns();
    let offset = batch
        .column_by_name(offset)?
        .as_primitive_opt::<Int64Type>()?;
    let row = batch.column_by_name(row)?.as_primitive_opt::<Int32Type>()?;
    (i < batch.num_rows()).then(|| (offset.value(i), row.value(i)))
}

/// Encodes a batch as one encapsulated IPC message.
///
/// # Errors
/// Arrow refuses the batch.
pub fn encode(batch: &RecordBatch) -> Result<Vec<u8>, LogError> {
    let options = IpcWriteOptions::default();
    let (_, encoded) = IpcDataGenerator::default().encode(
        batch,
        &mut DictionaryTracker::new(false),
        &options,
        &mut IpcWriteContext::default(),
    )?;
    let mut value = Vec::with_capacity(encoded.ipc_message.len() + encoded.arrow_data.len() + 16);
    arrow::ipc::writer::write_message(&mut value, encoded, &options)?;
    Ok(value)
}

/// Longest value of a record, in bytes before compression: what a broker takes without settings of its own. Of one row, text is
/// bounded by [`schema::column::TEXT_BYTES_MAX`], so a single row is never longer.
pub const VALUE_BYTES_MAX: usize = 1_000_000;

/// Encodes a record as values a broker takes: one, or halves of halves of its rows.
///
/// Only the last part tells how far event time is: until it is read, rows are still to come.
///
/// # Errors
/// Arrow refuses the batch.
pub fn encode_parts(record: &LogRecord) -> Result<Vec<(LogRecord, Vec<u8>)>, LogError> {
    let value = encode(&record.batch)?;
    let n = record.batch.num_rows();
    if value.len() <= VALUE_BYTES_MAX || n < 2 {
        return Ok(vec![(record.clone(), value)]);
    }
    let first = LogRecord {
        header: Header {
            watermark_ms: i64::MIN,
            idle: false,
            ..record.header.clone()
        },
        batch: record.batch.slice(0, n / 2),
    };
    let second = LogRecord {
        header: record.header.clone(),
        batch: record.batch.slice(n / 2, n - n / 2),
    };
    let mut parts = encode_parts(&first)?;
    parts.extend(encode_parts(&second)?);
    Ok(parts)
}

/// Decodes one encapsulated IPC message of `log`.
///
/// # Errors
/// The bytes are no record batch of that log's schema.
pub fn decode(log: Log, value: &[u8]) -> Result<RecordBatch, LogError> {
    let bad = |reason: &str| LogError::NotABatch {
        log: log.name(),
        reason: reason.to_owned(),
    };
    let prefix: [u8; 8] = value
        .get(..8)
        .and_then(|p| p.try_into().ok())
        .ok_or_else(|| bad("shorter than 8 bytes"))?;
    let length = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]) as usize;
    if prefix[..4] != [0xff; 4] || value.len() < 8 + length {
        return Err(bad("no encapsulated message"));
    }
    let message = arrow::ipc::root_as_message(&value[8..8 + length])
        .map_err(|error| bad(&error.to_string()))?;
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| bad("another kind of message"))?;
    let (body, schema) = (&value[8 + length..], schema::of_log(log));
    shape::check(&batch, &schema, body.len()).map_err(bad)?;
    // Copied once, into memory aligned as Arrow wants it.
    let body = Buffer::from(body);
    arrow::ipc::reader::read_record_batch(
        &body,
        batch,
        schema,
        &HashMap::new(),
        None,
        &message.version(),
    )
    .map_err(|error| bad(&error.to_string()))
}

const SCHEMA: &str = "tollwatch.schema";
const STAGE: &str = "tollwatch.stage";
const INPUT_TOPIC: &str = "tollwatch.input.topic";
const INPUT_PARTITION: &str = "tollwatch.input.partition";
const FIRST: &str = "tollwatch.first";
const LAST: &str = "tollwatch.last";
const WATERMARK: &str = "tollwatch.watermark";
const IDLE: &str = "tollwatch.idle";
const READ_AT: &str = "tollwatch.read_at";
const RULES: &str = "tollwatch.rules";
const ACT: &str = "tollwatch.rule.act";
const BRIEFING: &str = "tollwatch.briefing";

/// The headers of a record that is rules.
pub fn rules_headers(stage: &str, hash: u64) -> Vec<(&'static str, String)> {
    vec![
        (SCHEMA, schema::VERSION.to_string()),
        (STAGE, stage.to_owned()),
        (RULES, format!("{hash:016x}")),
    ]
}

/// The headers of a record that is an act on a rule.
pub fn act_headers(stage: &str) -> Vec<(&'static str, String)> {
    vec![
        (SCHEMA, schema::VERSION.to_string()),
        (STAGE, stage.to_owned()),
        (ACT, "1".to_owned()),
    ]
}

/// The headers of a record that is a briefing.
pub fn briefing_headers(stage: &str, hash: u64) -> Vec<(&'static str, String)> {
    vec![
        (SCHEMA, schema::VERSION.to_string()),
        (STAGE, stage.to_owned()),
        (BRIEFING, format!("{hash:016x}")),
    ]
}

/// The headers of a record as Kafka carries them: text, so that any tool can read them.
pub fn headers(log: Log, stage: &str, record: &LogRecord) -> Vec<(&'static str, String)> {
    let Header {
        input_topic,
        input_partition,
        watermark_ms,
        idle,
        read_at_ms,
    } = &record.header;
    let at = |i: usize| {
        row_at(log, &record.batch, i)
            .map_or(String::new(), |(offset, row)| format!("{offset}:{row}"))
    };
    vec![
        (SCHEMA, schema::VERSION.to_string()),
        (STAGE, stage.to_owned()),
        (INPUT_TOPIC, input_topic.to_string()),
        (INPUT_PARTITION, input_partition.to_string()),
        (FIRST, at(0)),
        (LAST, at(record.batch.num_rows().saturating_sub(1))),
        (WATERMARK, watermark_ms.to_string()),
        (IDLE, u8::from(*idle).to_string()),
        (READ_AT, read_at_ms.to_string()),
    ]
}

/// Reads a record from Kafka's value and headers.
///
/// # Errors
/// It was not written by this program, or by another version.
pub fn read<'a>(
    log: Log,
    value: &[u8],
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<Item, LogError> {
    let texts: HashMap<&str, &str> = headers
        .filter_map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?)))
        .collect();
    let get = |header: &'static str| {
        texts.get(header).copied().ok_or(LogError::Header {
            log: log.name(),
            header,
        })
    };
    let version = get(SCHEMA)?;
    if version != schema::VERSION.to_string() {
        let found = version.chars().take(16).collect();
        return Err(LogError::Version {
            log: log.name(),
            found,
            expected: schema::VERSION,
        });
    }
    if texts.contains_key(RULES) {
        return match RuleTexts::decode(value) {
            Ok(texts) => Ok(Item::Rules(texts)),
            Err(source) => Err(LogError::Rules {
                log: log.name(),
                source,
            }),
        };
    }
    if texts.contains_key(ACT) {
        let log = log.name();
        return match Act::decode(value) {
            Ok(act) => Ok(Item::Act(act)),
            Err(source) => Err(LogError::Act { log, source }),
        };
    }
    if texts.contains_key(BRIEFING) {
        let log = log.name();
        return match Briefing::decode(value) {
            Ok(briefing) => Ok(Item::Briefing(briefing)),
            Err(source) => Err(LogError::Briefing { log, source }),
        };
    }
    fn number<T: std::str::FromStr>(
        log: Log,
        text: &str,
        header: &'static str,
    ) -> Result<T, LogError> {
        text.parse().map_err(|_| LogError::Header {
            log: log.name(),
            header,
        })
    }
    let header = Header {
        input_topic: Arc::from(get(INPUT_TOPIC)?),
        input_partition: number(log, get(INPUT_PARTITION)?, INPUT_PARTITION)?,
        watermark_ms: number(log, get(WATERMARK)?, WATERMARK)?,
        idle: get(IDLE)? == "1",
        read_at_ms: number(log, get(READ_AT)?, READ_AT)?,
    };
    let batch = decode(log, value)?;
    Ok(Item::Record(LogRecord { header, batch }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{TouchRow, TouchRowsBuilder};

    fn record() -> LogRecord {
        let mut rows = TouchRowsBuilder::default();
        for in_row in 0..3 {
            let row = TouchRow {
                in_offset: 7,
                in_row,
                identity: "alice",
                path: "/a",
                ..Default::default()
            };
            rows.push(&row);
        }
        let batch =
            RecordBatch::try_new(schema::touches(), rows.finish()).expect("the table's columns");
        let header = Header {
            input_topic: "tollwatch.events".into(),
            input_partition: 2,
            watermark_ms: 1234,
            idle: false,
            read_at_ms: 99,
        };
        LogRecord { header, batch }
    }

    #[test]
    fn a_record_survives_the_log() {
        let record = record();
        let value = encode(&record.batch).expect("encodes");
        let headers = headers(Log::Touches, "profile", &record);
        let pairs = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        let Item::Record(back) = read(Log::Touches, &value, pairs).expect("reads") else {
            panic!("a record of rows");
        };
        assert_eq!(back.header, record.header);
        assert_eq!(back.batch, record.batch);
        assert_eq!(row_at(Log::Touches, &back.batch, 2), Some((7, 2)));
    }

    #[test]
    fn rules_and_acts_on_them_survive_the_log_and_damaged_ones_are_an_error() {
        let texts = RuleTexts::of(&crate::rule::RuleSet::shipped());
        let value = texts.encode(VALUE_BYTES_MAX).expect("short enough");
        let headers = rules_headers("judge", texts.hash());
        let pairs = || headers.iter().map(|(name, text)| (*name, text.as_bytes()));
        let Item::Rules(back) = read(Log::Events, &value, pairs()).expect("reads") else {
            panic!("rules");
        };
        assert_eq!(back, texts);
        let act = Act::Lift("some_rule".to_owned());
        let (value_of_act, of_act) = (act.encode(), act_headers("judge"));
        let pairs_of_act = || of_act.iter().map(|(name, text)| (*name, text.as_bytes()));
        let Item::Act(back) = read(Log::Events, &value_of_act, pairs_of_act()).expect("reads")
        else {
            panic!("an act");
        };
        assert_eq!(back, act);
        let error = read(Log::Events, &value_of_act[..5], pairs_of_act()).expect_err("cut");
        assert!(matches!(error, LogError::Act { log: "events", .. }));
        let error = read(Log::Events, &value[..9], pairs()).expect_err("cut");
        assert!(matches!(error, LogError::Rules { log: "events", .. }));
    }

    #[test]
    fn a_record_of_long_rows_is_cut_into_values_a_broker_takes() {
        let long = "p".repeat(1 << 20);
        let mut rows = TouchRowsBuilder::default();
        for in_row in 0..500 {
            let row = TouchRow {
                in_row,
                path: &long,
                user_agent: Some(&long),
                ..Default::default()
            };
            rows.push(&row);
        }
        let batch =
            RecordBatch::try_new(schema::touches(), rows.finish()).expect("the table's columns");
        let whole = LogRecord { batch, ..record() };
        let parts = encode_parts(&whole).expect("encodes");
        assert!(parts.len() > 8, "{} parts", parts.len());
        let mut n = 0;
        for (part, value) in &parts {
            assert!(value.len() <= VALUE_BYTES_MAX, "{} bytes", value.len());
            let back = decode(Log::Touches, value).expect("reads");
            assert_eq!(back, whole.batch.slice(n, back.num_rows()));
            n += back.num_rows();
            let last = n == 500;
            assert_eq!(part.header.watermark_ms == whole.header.watermark_ms, last);
        }
        assert_eq!(n, 500);
    }

    #[test]
    fn damaged_and_foreign_records_are_errors_and_never_panics() {
        let record = record();
        let value = encode(&record.batch).expect("encodes");
        for length in 0..value.len().min(400) {
            let _ = decode(Log::Touches, &value[..length]);
        }
        assert!(decode(Log::Touches, b"{\"not\": \"ours\"}").is_err());
        // A message that is whole, but for the end of its body.
        let error = decode(Log::Touches, &value[..value.len() - 128]).expect_err("cut");
        assert!(
            error.to_string().contains("not within the record"),
            "{error}"
        );
        assert!(
            read(Log::Touches, &value, std::iter::empty()).is_err(),
            "no headers"
        );
    }
}
