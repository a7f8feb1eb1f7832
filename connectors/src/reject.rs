//! Rejects: records that are not events, with their place and the reason, never with their payload.

use std::fmt;

use crate::event::RowPosition;

/// Characters kept of a reject's detail: enough to name a field and a column, too few to carry a payload.
pub const DETAIL_CHARS_MAX: usize = 200;

/// Why a record was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// Nothing but white space.
    Empty,
    /// Longer than [`crate::format::RECORD_BYTES_MAX`].
    Oversized,
    /// Not UTF-8, and no format takes what is left after replacing the bad bytes.
    InvalidUtf8,
    /// The syntax of its format does not hold.
    Malformed,
    /// A piece, but the last, of a line that a container runtime cut.
    Partial,
    /// A field that every event has is absent or blank.
    MissingField,
    /// A field holds another type than its format says.
    WrongType,
    /// The time lies outside `[2000-01-01, 2100-01-01)`.
    AbsurdTime,
    /// No known format takes it.
    UnknownFormat,
    /// It was written by a schema that the registry does not have, or that can't be used.
    UnknownSchema,
}

impl RejectReason {
    /// Every reason, for metrics that publish zeros.
    pub const ALL: [RejectReason; 10] = [
        RejectReason::Empty,
        RejectReason::Oversized,
        RejectReason::InvalidUtf8,
        RejectReason::Malformed,
        RejectReason::Partial,
        RejectReason::MissingField,
        RejectReason::WrongType,
        RejectReason::AbsurdTime,
        RejectReason::UnknownFormat,
        RejectReason::UnknownSchema,
    ];

    /// The label in metrics and dead letters.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::Empty => "empty",
            RejectReason::Oversized => "oversized",
            RejectReason::InvalidUtf8 => "invalid_utf8",
            RejectReason::Malformed => "malformed",
            RejectReason::Partial => "partial",
            RejectReason::MissingField => "missing_field",
            RejectReason::WrongType => "wrong_type",
            RejectReason::AbsurdTime => "absurd_time",
            RejectReason::UnknownFormat => "unknown_format",
            RejectReason::UnknownSchema => "unknown_schema",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record, or one element of a record's array, that was not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Where it is in the source.
    pub position: RowPosition,
    /// Why it was not decoded.
    pub reason: RejectReason,
    /// What is wrong and where in the record. At most [`DETAIL_CHARS_MAX`] characters, never the payload.
    pub detail: String,
}

impl Reject {
    /// Makes a reject; a longer detail is cut.
    pub fn new(position: RowPosition, reason: RejectReason, detail: &str) -> Reject {
        Reject {
            position,
            reason,
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowPosition { offset, row } = self.position;
        write!(
            f,
            "{} at offset {offset} row {row}: {}",
            self.reason, self.detail
        )
    }
}
