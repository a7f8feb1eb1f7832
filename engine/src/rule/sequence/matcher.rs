//! How far the rows of each key have come in a pattern.
//!
//! A *thread* is one way to read the rows so far: the place in the pattern its last row has, and when it began. Of the threads of one
//! place two are kept, the one that began first, which has the longest story to tell, and the one that began last, which
//! stays within the bound the longest: whatever row comes, if any reading of the rows becomes whole, one of these does.
//! So a key takes no more than twice the pattern's places, however many rows it has.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMillisecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::physical_expr::PhysicalExpr;
use models::generations::Generations;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::super::aggregate::{Scalar, column_value};
use super::super::finding::Evidence;
use super::super::input::Values;
use super::super::plan::physical;
use super::super::shape::SequenceShape;
use super::super::step::{batch_of, column, mask};
use super::pattern::{Set, places};
use super::{Sequence, What};
use crate::state::LaneWalk;

/// Keys one rule remembers; beyond it the least recently seen are forgotten, and `evicted` grows.
const KEYS_MAX: usize = 1_000_000;
/// Bytes of a text that FIRST and LAST keep; longer ones are cut.
const TEXT_MAX: usize = 256;

/// One way to read the rows of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Thread {
    place: u8,
    /// Number of its first row among those of the key.
    began: u64,
    started_ms: i64,
    measures: Box<[Slot]>,
}

/// One measure so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Slot {
    Count(i64),
    Value(Option<Scalar>),
}

/// How far one key has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    threads: Vec<Thread>,
    /// Rows that came, from the first that could begin a match.
    n_rows: u64,
    /// The latest rows that went on with a thread.
    samples: Vec<Evidence>,
}

/// A clause compiled for the columns of its stream, and the state of its keys.
pub(in super::super) struct Program {
    sequence: Arc<Sequence>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    converter: RowConverter,
    symbols: Vec<Option<Arc<dyn PhysicalExpr>>>,
    values: Vec<Option<Arc<dyn PhysicalExpr>>>,
    output: SchemaRef,
    /// Names what is matched.
    pub(in super::super) name: u64,
    pub(in super::super) matcher: Matcher,
}

/// The state of all keys.
pub(in super::super) struct Matcher {
    keys: Generations<u64, Progress>,
    samples_max: usize,
    bytes_of_key: usize,
}

/// Rows with what the pattern asks of them.
pub(in super::super) struct Prepared {
    /// Rows of the batch pushed.
    pub(in super::super) rows: Vec<u32>,
    keys: Rows,
    key_columns: Vec<ArrayRef>,
    holds: Vec<Option<BooleanArray>>,
    values: Vec<Values>,
}

/// A match: when it began and ended, what was measured, and its latest rows.
pub(in super::super) struct Match {
    pub(in super::super) started_ms: i64,
    pub(in super::super) ended_ms: i64,
    measures: Box<[Slot]>,
    pub(in super::super) samples: Vec<Evidence>,
}

impl Program {
    /// * `stream`: columns of the rows that come; `output`: those of a match; `samples_max`: rows an alert shows.
    pub(in super::super) fn new(
        sequence: Arc<Sequence>,
        stream: &SchemaRef,
        output: SchemaRef,
        samples_max: usize,
    ) -> Result<Program, DataFusionError> {
        let columns = DFSchema::try_from(stream.as_ref().clone())?;
        let compiled = |expr: &datafusion::logical_expr::Expr| physical(expr, &columns);
        let keys = sequence.partition.iter().map(|(_, key)| compiled(key));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let fields = keys.iter().map(|key| key.data_type(stream));
        let fields = fields.map(|of| of.map(SortField::new));
        let converter = RowConverter::new(fields.collect::<Result<Vec<_>, _>>()?)?;
        let symbols = sequence.symbols.iter();
        let symbols = symbols.map(|(_, condition)| condition.as_ref().map(compiled).transpose());
        let values = sequence.measures.iter().map(|measure| match &measure.what {
            What::Count => Ok(None),
            What::First(column) | What::Last(column) => compiled(column).map(Some),
        });
        let n_threads = 2 * sequence.pattern.symbols.len();
        let slot = size_of::<Slot>() + TEXT_MAX;
        let thread = size_of::<Thread>() + sequence.measures.len() * slot;
        let bytes_of_key = Generations::<u64, Progress>::ENTRY_BYTES
            + n_threads * thread
            + samples_max * Evidence::BYTES;
        Ok(Program {
            filter: sequence.filter.as_ref().map(compiled).transpose()?,
            keys,
            converter,
            symbols: symbols.collect::<Result<Vec<_>, _>>()?,
            values: values.collect::<Result<Vec<_>, _>>()?,
            output,
            name: sequence.name(),
            matcher: Matcher {
                keys: Generations::new(KEYS_MAX),
                samples_max,
                bytes_of_key,
            },
            sequence,
        })
    }

    /// What it takes, for whoever reviews the rule.
    pub(in super::super) fn shape(&self) -> SequenceShape {
        let keys = self.sequence.partition.iter();
        SequenceShape {
            keys: keys.map(|(name, _)| name.clone()).collect(),
            n_places: self.sequence.pattern.symbols.len(),
            within_ms: self.sequence.within_ms,
            bytes_of_key: self.matcher.bytes_of_key,
        }
    }

    /// Asks everything of the rows that is asked of each alone.
    ///
    /// * `rows`: the row in the batch pushed, for each row of `batch`.
    ///
    /// # Errors
    /// An expression fails on a row.
    pub(in super::super) fn prepare(
        &self,
        mut batch: RecordBatch,
        mut rows: Vec<u32>,
    ) -> Result<Prepared, DataFusionError> {
        if let Some(filter) = &self.filter {
            let kept = mask(filter, &batch)?;
            batch = filter_record_batch(&batch, &kept)?;
            let mut kept = kept.iter();
            rows.retain(|_| kept.next().flatten() == Some(true));
        }
        let key_columns = self.keys.iter().map(|key| column(key, &batch));
        let key_columns = key_columns.collect::<Result<Vec<_>, _>>()?;
        let holds = self.symbols.iter();
        let holds = holds.map(|condition| condition.as_ref().map(|c| mask(c, &batch)).transpose());
        let values = self.values.iter().map(|value| match value {
            None => Ok(Values::Rows),
            Some(value) => Ok(Values::plain(&column(value, &batch)?)?),
        });
        Ok(Prepared {
            rows,
            keys: self.converter.convert_columns(&key_columns)?,
            holds: holds.collect::<Result<Vec<_>, _>>()?,
            values: values.collect::<Result<Vec<_>, DataFusionError>>()?,
            key_columns,
        })
    }

    /// Takes one row; a match, if it makes one whole.
    ///
    /// * `at`: its number among those prepared; `sample`: what is shown of it.
    pub(in super::super) fn take(
        &mut self,
        prepared: &Prepared,
        at: usize,
        time_ms: i64,
        sample: impl FnOnce() -> Evidence,
    ) -> Option<Match> {
        let mut holds: Set = 0;
        for (symbol, mask) in prepared.holds.iter().enumerate() {
            let is_so = mask.as_ref().is_none_or(|mask| mask.value(at));
            holds |= Set::from(is_so) << symbol;
        }
        let key = xxh3_64(prepared.keys.row(at).as_ref());
        let known = self.matcher.keys.get(&key);
        let begins = self.places_for(self.sequence.pattern.first, holds) != 0;
        // A key is remembered for the rows of a match alone: others would push it out.
        if !begins && known.is_none_or(|progress| progress.threads.is_empty()) {
            return None;
        }
        let samples_max = self.matcher.samples_max;
        let mut progress = std::mem::take(self.matcher.keys.entry(key));
        let threads = self.step(&progress, holds, time_ms, prepared, at);
        progress.n_rows += 1;
        if threads.is_empty() {
            progress.samples.clear();
        } else if 0 < samples_max {
            if progress.samples.len() == samples_max {
                progress.samples.remove(0);
            }
            progress.samples.push(sample());
        }
        let last = self.sequence.pattern.last;
        let whole = threads
            .iter()
            .filter(|thread| last >> thread.place & 1 == 1);
        if let Some(whole) = whole.min_by_key(|thread| thread.began) {
            let (started_ms, measures) = (whole.started_ms, whole.measures.clone());
            // Its entry is empty by now: the next match begins behind this one.
            progress.samples.retain(|row| started_ms <= row.time_ms);
            return Some(Match {
                started_ms,
                ended_ms: time_ms,
                measures,
                samples: progress.samples,
            });
        }
        progress.threads = threads;
        *self.matcher.keys.entry(key) = progress;
        None
    }

    /// The columns of a match.
    ///
    /// # Errors
    /// A value does not fit its column, which would be a fault of this program.
    pub(in super::super) fn row(
        &self,
        prepared: &Prepared,
        at: usize,
        found: &Match,
    ) -> Result<RecordBatch, DataFusionError> {
        let keys = prepared.key_columns.iter();
        let mut columns: Vec<ArrayRef> = keys.map(|key| key.slice(at, 1)).collect();
        for (slot, measure) in found.measures.iter().zip(&self.sequence.measures) {
            let value = match slot {
                Slot::Count(n) => Some(&Scalar::Int(i128::from(*n))),
                Slot::Value(value) => value.as_ref(),
            };
            columns.push(column_value(value, &measure.of)?.to_array()?);
        }
        for ms in [found.started_ms, found.ended_ms] {
            let at = TimestampMillisecondArray::from_value(ms, 1).with_timezone("UTC");
            columns.push(Arc::new(at));
        }
        batch_of(&self.output, columns, 1)
    }

    /// The places of a set whose symbol the row is.
    fn places_for(&self, set: Set, holds: Set) -> Set {
        let symbols = &self.sequence.pattern.symbols;
        let is = |place: &usize| holds >> symbols[*place] & 1 == 1;
        places(set)
            .filter(is)
            .fold(0, |all, place| all | 1 << place)
    }

    /// The threads after a row.
    fn step(
        &self,
        progress: &Progress,
        holds: Set,
        time_ms: i64,
        prepared: &Prepared,
        at: usize,
    ) -> Vec<Thread> {
        let pattern = &self.sequence.pattern;
        let is_within =
            |thread: &&Thread| time_ms.saturating_sub(thread.started_ms) <= self.sequence.within_ms;
        let fresh = Thread {
            place: 0,
            began: progress.n_rows,
            started_ms: time_ms,
            measures: self.slots(),
        };
        let old = progress.threads.iter().filter(is_within);
        let ways = old.map(|thread| (thread, pattern.follow[usize::from(thread.place)]));
        let ways = ways.chain([(&fresh, pattern.first)]);
        let ways: Vec<(&Thread, Set)> = ways
            .map(|(from, next)| (from, self.places_for(next, holds)))
            .collect();
        let mut next = Vec::new();
        for place in places(ways.iter().fold(0, |all, (_, set)| all | set)) {
            let those = ways.iter().filter(|(_, set)| set >> place & 1 == 1);
            let those = those.map(|(from, _)| *from);
            let first = those.clone().min_by_key(|from| from.began);
            let latest = those.max_by_key(|from| (from.started_ms, from.began));
            let latest = latest.filter(|latest| first.is_some_and(|f| f.began != latest.began));
            for from in first.into_iter().chain(latest) {
                let mut thread = from.clone();
                thread.place = place as u8;
                self.measure(&mut thread, pattern.symbols[place], prepared, at);
                next.push(thread);
            }
        }
        next
    }

    fn slots(&self) -> Box<[Slot]> {
        let slot = |measure: &super::Measure| match measure.what {
            What::Count => Slot::Count(0),
            What::First(_) | What::Last(_) => Slot::Value(None),
        };
        self.sequence.measures.iter().map(slot).collect()
    }

    fn measure(&self, thread: &mut Thread, symbol: usize, prepared: &Prepared, at: usize) {
        let measures = self.sequence.measures.iter().zip(&prepared.values);
        for (slot, (measure, values)) in thread.measures.iter_mut().zip(measures) {
            if measure.symbol.is_some_and(|of| of != symbol) {
                continue;
            }
            match (slot, &measure.what) {
                (Slot::Count(n), _) => *n += 1,
                (Slot::Value(Some(_)), What::First(_)) => (),
                (Slot::Value(value), _) => *value = values.get(at).map(cut),
            }
        }
    }
}

impl Matcher {
    /// Lets the keys take no more than so many bytes; asked before the first row.
    pub(in super::super) fn limit_bytes(&mut self, bytes_max: usize) {
        let keys_max = (bytes_max / self.bytes_of_key).clamp(1, KEYS_MAX);
        self.keys = Generations::new(keys_max);
    }

    /// Keys remembered, their bytes at most, and those forgotten for want of room.
    pub(in super::super) fn size(&self) -> (usize, usize, u64) {
        let n = self.keys.len();
        (n, n * self.bytes_of_key, self.keys.n_evicted())
    }

    /// Goes over the state.
    pub(in super::super) fn walk(&mut self, walk: &mut impl LaneWalk) {
        walk.table("sequence.keys", &mut self.keys);
    }

    /// Goes on with the keys of one that matched the same.
    pub(in super::super) fn adopt(&mut self, old: Matcher) {
        self.keys = old.keys;
    }
}

fn cut(value: Scalar) -> Scalar {
    match value {
        Scalar::Text(text) if TEXT_MAX < text.len() => {
            Scalar::Text(text[..text.floor_char_boundary(TEXT_MAX)].into())
        }
        other => other,
    }
}
