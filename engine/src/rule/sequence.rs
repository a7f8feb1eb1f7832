//! `MATCH_RECOGNIZE`: rows of one key that follow a pattern, within a span of event time.
//!
//! Comes in: rows of a stream in the order of the log. Goes out: a row a match, with the key, what MEASURES name, and when it
//! began and ended. [`plan`] reads the clause, [`pattern`] makes an automaton of it, [`matcher`] keeps for each key how far
//! its rows have come. A match is told at the first row that makes it whole, and the next one begins behind it: a quantifier at
//! the end takes as few rows as it may. Rows in between that no symbol takes end what had begun, as SQL says; a
//! WITH in front leaves out the rows that are none of the sequence.
//! Must not know: suppression, what a finding becomes.

use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;

mod matcher;
pub(super) mod pattern;
pub(super) mod plan;

pub(super) use matcher::{Match, Prepared, Program};

/// First and last event time of a match, as columns.
pub(super) const MATCH_START: &str = "match_start";
pub(super) const MATCH_END: &str = "match_end";

/// A clause as it was planned: expressions are over the columns of the stream.
#[derive(Debug)]
pub(super) struct Sequence {
    /// Rows that take part; all without it.
    filter: Option<Expr>,
    /// Name and expression of each part of the key.
    partition: Vec<(String, Expr)>,
    /// Name and condition of each symbol; one without a condition is any row.
    symbols: Vec<(String, Option<Expr>)>,
    pattern: pattern::Pattern,
    measures: Vec<Measure>,
    /// Event time from the first row of a match to its last, in milliseconds.
    within_ms: i64,
}

impl Sequence {
    /// Columns of the stream it reads, in the order of their names.
    pub(super) fn columns(&self) -> Vec<String> {
        let of_measure = |measure: &'_ Measure| match &measure.what {
            What::Count => None,
            What::First(column) | What::Last(column) => Some(column.clone()),
        };
        let keys = self.partition.iter().map(|(_, key)| key.clone());
        let conditions = self
            .symbols
            .iter()
            .filter_map(|(_, condition)| condition.clone());
        let all = keys.chain(conditions).chain(self.filter.clone());
        let all = all.chain(self.measures.iter().filter_map(of_measure));
        let names = all.flat_map(|expr| {
            let columns = expr.column_refs().into_iter();
            columns
                .map(|column| column.name.clone())
                .collect::<Vec<_>>()
        });
        let names: std::collections::BTreeSet<String> = names.collect();
        names.into_iter().collect()
    }

    /// Names what is matched: state made under one name may be gone on with under the same one.
    fn name(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(format!("{self:?}").as_bytes())
    }
}

/// One column that a match puts out.
#[derive(Clone, Debug)]
struct Measure {
    name: String,
    what: What,
    /// Number of the symbol whose rows count; all of them without it.
    symbol: Option<usize>,
    of: DataType,
}

/// What is measured.
#[derive(Clone, Debug)]
enum What {
    /// Rows.
    Count,
    /// The value of the first row.
    First(Expr),
    /// The value of the last row.
    Last(Expr),
}
