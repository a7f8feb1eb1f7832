//! Batches: events pushed one by one become Arrow columns.
//!
//! A string that lies in the block and is longer than an inline view (12 bytes) becomes a view into it: no copy, but the block lives
//! as long as the batch does, and writing the batch as Arrow IPC needs `gc` first. Other strings (unescaped ones) are copied.
//! Memory per row: 16 bytes and a bit per text column that has a value in the batch, and once for all that have none; 34 bytes of
//! numbers, 16 of position. Most formats fill a third of the columns: the others cost a row nothing.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, StringViewArray, StringViewBuilder,
    TimestampMillisecondBuilder, UInt16Builder,
};
use arrow::buffer::Buffer;

use super::{Event, RowPosition, TEXT_COLUMNS, decoded_schema};
use crate::reject::Reject;

/// Arrow's view offsets are signed 32-bit numbers: strings of a longer block are copied.
const VIEW_END_MAX: usize = i32::MAX as usize;
/// Strings up to here are stored in the view itself.
const INLINE_BYTES_MAX: usize = 12;

/// Decoded events, their positions, and what was rejected on the way.
#[derive(Debug)]
pub struct DecodedBatch {
    /// The events; schema [`decoded_schema`].
    pub batch: RecordBatch,
    /// Position of each row of `batch`.
    pub positions: Vec<RowPosition>,
    /// Records, or elements of records, that are not events.
    pub rejects: Vec<Reject>,
}

/// Collects events into one [`DecodedBatch`].
#[derive(Debug)]
pub struct EventBatchBuilder {
    block: Block,
    /// Rows that a column has room for from its first value on.
    n_events: usize,
    event_time: TimestampMillisecondBuilder,
    status: UInt16Builder,
    request_bytes: Int64Builder,
    response_bytes: Int64Builder,
    latency_us: Int64Builder,
    authenticated_hint: BooleanBuilder,
    texts: [TextColumn; TEXT_COLUMNS.len()],
    positions: Vec<RowPosition>,
    rejects: Vec<Reject>,
}

/// What the payloads lie in.
#[derive(Debug)]
struct Block {
    bytes: Buffer,
    /// Addresses of the block: what lies inside becomes a view.
    addresses: Range<usize>,
}

impl Block {
    fn new(bytes: Buffer) -> Block {
        let start = bytes.as_ptr().addr();
        let n_bytes = match bytes.len() {
            n_bytes @ ..=VIEW_END_MAX => n_bytes,
            _ => 0,
        };
        Block {
            bytes,
            addresses: start..start + n_bytes,
        }
    }

    /// Where a text lies in the block, if it does.
    fn offset_of(&self, text: &str) -> Option<usize> {
        let start = text.as_ptr().addr();
        let is_inside = self.addresses.start <= start && start + text.len() <= self.addresses.end;
        is_inside.then(|| start - self.addresses.start)
    }
}

/// A column up to its last value; the rows after it are null.
#[derive(Debug, Default)]
struct TextColumn {
    /// `None` before the first value.
    views: Option<StringViewBuilder>,
    /// Rows up to the last value.
    n_rows: usize,
    /// Number of the block in this column, once a view needs it.
    block: Option<u32>,
}

impl EventBatchBuilder {
    /// Starts a batch over a block that holds the payloads back to back.
    pub fn new(block: impl Into<Buffer>) -> EventBatchBuilder {
        EventBatchBuilder::with_capacity(block, 0)
    }

    /// As [`EventBatchBuilder::new`], with room for `n_events`.
    pub fn with_capacity(block: impl Into<Buffer>, n_events: usize) -> EventBatchBuilder {
        EventBatchBuilder {
            block: Block::new(block.into()),
            n_events,
            event_time: TimestampMillisecondBuilder::with_capacity(n_events).with_timezone("UTC"),
            status: UInt16Builder::with_capacity(n_events),
            request_bytes: Int64Builder::with_capacity(n_events),
            response_bytes: Int64Builder::with_capacity(n_events),
            latency_us: Int64Builder::with_capacity(n_events),
            authenticated_hint: BooleanBuilder::with_capacity(n_events),
            texts: std::array::from_fn(|_| TextColumn::default()),
            positions: Vec::with_capacity(n_events),
            rejects: Vec::new(),
        }
    }

    /// Appends one event.
    pub fn push(&mut self, event: &Event<'_>, position: RowPosition) {
        self.event_time.append_value(event.event_time_ms);
        self.status.append_option(event.status);
        self.request_bytes.append_option(event.request_bytes);
        self.response_bytes.append_option(event.response_bytes);
        self.latency_us.append_option(event.latency_us);
        self.authenticated_hint
            .append_value(event.authenticated_hint);
        let row = self.positions.len();
        event.each_text(|column, text| {
            self.texts[column].push(text, row, self.n_events, &self.block);
        });
        self.positions.push(position);
    }

    /// Notes a record that is not an event.
    pub fn reject(&mut self, reject: Reject) {
        self.rejects.push(reject);
    }

    /// Number of events so far.
    pub fn n_events(&self) -> usize {
        self.positions.len()
    }

    /// Ends the batch.
    pub fn finish(mut self) -> DecodedBatch {
        let numbers: [ArrayRef; 6] = [
            Arc::new(self.event_time.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.request_bytes.finish()),
            Arc::new(self.response_bytes.finish()),
            Arc::new(self.latency_us.finish()),
            Arc::new(self.authenticated_hint.finish()),
        ];
        let n_rows = self.positions.len();
        let nulls: ArrayRef = Arc::new(StringViewArray::new_null(n_rows));
        let texts = self
            .texts
            .into_iter()
            .map(|column| column.finish(n_rows).unwrap_or_else(|| nulls.clone()));
        let columns = numbers.into_iter().chain(texts).collect();
        let batch = RecordBatch::try_new(decoded_schema(), columns)
            .expect("columns follow the schema, one value each per push");
        DecodedBatch {
            batch,
            positions: self.positions,
            rejects: self.rejects,
        }
    }
}

impl TextColumn {
    // One copy for all columns.
    #[inline(never)]
    fn push(&mut self, text: &str, row: usize, n_events: usize, block: &Block) {
        let views = self
            .views
            .get_or_insert_with(|| StringViewBuilder::with_capacity(n_events));
        append_nulls(views, row - self.n_rows);
        self.n_rows = row + 1;
        if INLINE_BYTES_MAX < text.len()
            && let Some(offset) = block.offset_of(text)
        {
            let number = *self
                .block
                .get_or_insert_with(|| views.append_block(block.bytes.clone()));
            // Both fit: the block is no longer than VIEW_END_MAX.
            let pushed = views.try_append_view(number, offset as u32, text.len() as u32);
            if pushed.is_ok() {
                return;
            }
        }
        views.append_value(text);
    }

    /// The column of so many rows; `None` if it has no value.
    fn finish(self, n_rows: usize) -> Option<ArrayRef> {
        let mut views = self.views?;
        append_nulls(&mut views, n_rows - self.n_rows);
        Some(Arc::new(views.finish()))
    }
}

fn append_nulls(views: &mut StringViewBuilder, n_rows: usize) {
    for _ in 0..n_rows {
        views.append_null();
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use arrow::array::{Array, AsArray};
    use proptest::prelude::*;

    use super::*;
    use crate::event::AnswerHeaders;

    #[test]
    fn every_text_lands_in_the_column_of_its_name() {
        let text = |name: &'static str| Some(Cow::Borrowed(name));
        let event = Event {
            event_time_ms: 1,
            gateway: "gateway",
            method: "method".into(),
            scheme: text("scheme"),
            host: text("host"),
            path: "path".into(),
            query: text("query"),
            status: Some(200),
            request_bytes: Some(2),
            response_bytes: Some(3),
            latency_us: Some(4),
            client_ip: text("client_ip"),
            peer_ip: text("peer_ip"),
            user_agent: text("user_agent"),
            authorization: text("authorization"),
            api_key: text("api_key"),
            token_hash: text("token_hash"),
            jwt_sub: text("jwt_sub"),
            jwt_claims: text("jwt_claims"),
            consumer: text("consumer"),
            principal: text("principal"),
            client_cert: text("client_cert"),
            session: text("session"),
            authenticated_hint: true,
            route: text("route"),
            service: text("service"),
            upstream_scheme: text("upstream_scheme"),
            tls_version: text("tls_version"),
            request_content_type: text("request_content_type"),
            response_content_type: text("response_content_type"),
            request_id: text("request_id"),
            trace_id: text("trace_id"),
            referer: text("referer"),
            origin: text("origin"),
            method_override: text("method_override"),
            forwarded_host: text("forwarded_host"),
            rewritten_url: text("rewritten_url"),
            via: text("via"),
            allow_origin: text("allow_origin"),
            allow_credentials: text("allow_credentials"),
            server: text("server"),
            powered_by: text("powered_by"),
            answer: AnswerHeaders {
                hsts: text("hsts"),
                content_type_options: text("content_type_options"),
                frame_options: text("frame_options"),
                content_security_policy: text("content_security_policy"),
                cache_control: text("cache_control"),
                vary: text("vary"),
                set_cookie: text("set_cookie"),
                location: text("location"),
                debug_header: text("debug_header"),
            },
            mcp_method: text("mcp_method"),
            mcp_name: text("mcp_name"),
            mcp_version: text("mcp_version"),
            a2a_version: text("a2a_version"),
            signature_agent: text("signature_agent"),
            sdk_language: text("sdk_language"),
            request_body: text("request_body"),
        };
        let mut builder = EventBatchBuilder::new(Buffer::from_vec(Vec::<u8>::new()));
        builder.push(&event, RowPosition { offset: 0, row: 0 });
        builder.push(&Event::default(), RowPosition { offset: 1, row: 0 });
        let decoded = builder.finish();
        for name in TEXT_COLUMNS {
            let column = decoded
                .batch
                .column_by_name(name)
                .expect(name)
                .as_string_view();
            assert_eq!(column.value(0), name);
            assert_eq!(
                column.is_null(1),
                !matches!(name, "gateway" | "method" | "path"),
                "{name}"
            );
        }
        assert_eq!(decoded.positions.len(), 2);
        assert_eq!(decoded.batch.num_columns(), 58);
    }

    #[test]
    fn a_long_string_of_the_block_is_not_copied_and_others_are() {
        let block = Buffer::from_vec(b"/a/path/longer/than/twelve".to_vec());
        let path = std::str::from_utf8(&block).unwrap();
        let event = Event {
            path: path.into(),
            host: Some("an owned host, long enough".to_owned().into()),
            ..Event::default()
        };
        let mut builder = EventBatchBuilder::new(block.clone());
        builder.push(&event, RowPosition { offset: 0, row: 0 });
        let batch = builder.finish().batch;
        let path = batch.column_by_name("path").unwrap().as_string_view();
        let host = batch.column_by_name("host").unwrap().as_string_view();
        assert_eq!(path.data_buffers()[0].as_ptr(), block.as_ptr());
        assert_eq!(host.value(0), "an owned host, long enough");
        assert_eq!(
            batch
                .column_by_name("query")
                .unwrap()
                .as_string_view()
                .data_buffers()
                .len(),
            0
        );
    }

    proptest! {
        /// Whichever rows have a value, and wherever it lies.
        #[test]
        fn rows_come_out_as_they_went_in(
            rows in prop::collection::vec(
                (prop::option::of("[a-z]{0,20}"), prop::option::weighted(0.1, ".{0,20}")),
                0..70,
            ),
        ) {
            let hosts: String = rows.iter().filter_map(|(host, _)| host.as_deref()).collect();
            let block = Buffer::from_vec(hosts.into_bytes());
            let mut rest = str::from_utf8(&block).unwrap();
            let mut builder = EventBatchBuilder::with_capacity(block.clone(), 3);
            for (row, (host, query)) in (0..).zip(&rows) {
                let mut event = Event {
                    query: query.as_deref().map(Cow::Borrowed),
                    ..Event::default()
                };
                if let Some(host) = host {
                    let (own, after) = rest.split_at(host.len());
                    (event.host, rest) = (Some(own.into()), after);
                }
                builder.push(&event, RowPosition { offset: 0, row });
            }
            let batch = builder.finish().batch;
            let column = |name| batch.column_by_name(name).unwrap().as_string_view();
            for (row, (host, query)) in rows.iter().enumerate() {
                let value = |name| Some(column(name)).filter(|of| of.is_valid(row)).map(|of| of.value(row));
                prop_assert_eq!(value("host"), host.as_deref());
                prop_assert_eq!(value("query"), query.as_deref());
            }
            prop_assert_eq!(column("session").null_count(), rows.len());
            prop_assert_eq!(column("path").null_count(), 0);
        }
    }
}
