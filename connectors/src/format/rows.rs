//! The rows of one record: events and rejects with their places.

use super::{Fault, REJECTS_PER_RECORD_MAX, target};
use crate::event::{BODY_BYTES_MAX, Event, EventBatchBuilder, RowPosition};
use crate::reject::{Reject, RejectReason};

/// Where the rows of one record go: numbered one after the other, whatever arrays and envelopes they lie in.
pub(super) struct Rows<'b> {
    batch: &'b mut EventBatchBuilder,
    offset: i64,
    /// Rows so far, events and rejects.
    n_rows: i32,
    n_rejects: usize,
    row_last: i32,
    is_lossy: bool,
}

impl<'b> Rows<'b> {
    /// Starts the record at an offset; `is_lossy`: its bytes were no UTF-8.
    pub(super) fn new(batch: &'b mut EventBatchBuilder, offset: i64, is_lossy: bool) -> Rows<'b> {
        Rows {
            batch,
            offset,
            n_rows: 0,
            n_rejects: 0,
            row_last: 0,
            is_lossy,
        }
    }

    fn place(&mut self) -> RowPosition {
        let row = self.n_rows;
        self.n_rows += 1;
        RowPosition {
            offset: self.offset,
            row,
        }
    }

    /// Adds an event, within the limits that hold for all formats.
    pub(super) fn push(&mut self, event: &mut Event<'_>) {
        if let Some(body) = &mut event.request_body
            && BODY_BYTES_MAX < body.len()
        {
            let end = body.floor_char_boundary(BODY_BYTES_MAX);
            *body = target::cut(body, 0..end);
        }
        let position = self.place();
        self.batch.push(event, position);
    }

    /// Adds a reject, unless there are too many: then it only counts.
    pub(super) fn reject(&mut self, fault: &Fault) {
        let position = self.place();
        self.n_rejects += 1;
        self.row_last = position.row;
        if self.n_rejects <= REJECTS_PER_RECORD_MAX {
            self.batch
                .reject(Reject::new(position, self.reason(fault), &fault.detail));
        }
    }

    /// What fails after replacing bad bytes most likely fails because of them; a piece, because it is one.
    fn reason(&self, fault: &Fault) -> RejectReason {
        if self.is_lossy && fault.reason != RejectReason::Partial {
            RejectReason::InvalidUtf8
        } else {
            fault.reason
        }
    }

    /// Counts the rejects over the limit in one more.
    pub(super) fn finish(self) {
        if self.n_rejects <= REJECTS_PER_RECORD_MAX {
            return;
        }
        let n_more = self.n_rejects - REJECTS_PER_RECORD_MAX;
        let position = RowPosition {
            offset: self.offset,
            row: self.row_last,
        };
        let detail = format!("{n_more} more elements rejected, up to this row");
        self.batch
            .reject(Reject::new(position, RejectReason::Malformed, &detail));
    }
}
