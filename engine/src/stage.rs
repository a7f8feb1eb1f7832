//! The stages, in the order of the data. `decode` is stateless; the others run in lanes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::alert::Alert;
use crate::briefing::Briefing;
use crate::config::ModelConfig;
use crate::inventory::Record;
use crate::lane::{Compile, EventTime};
use crate::log::Log;
use crate::rule::{Catalog, Lookups, Rule, RuleCounters, RuleFault, RuleRunner, RuleSet};
use crate::schema;
use crate::state::{Loader, Saver};

use correlating::ALERTS;

pub mod correlating;
pub mod decode;
mod documented;
pub mod govern;
pub mod governing;
pub mod judge;
pub mod own;
pub mod privacy;
pub mod profile;
pub mod raising;
pub mod summing;

/// Why a stage can't take a record. The log is damaged or from elsewhere: an operator must look.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The columns are not the log's.
    #[error(transparent)]
    Schema(#[from] schema::WrongSchema),
    /// A batch could not be built.
    #[error("cannot build a batch")]
    Arrow(#[from] arrow::error::ArrowError),
    /// What a model kept together can't be read.
    #[error("a summary of endpoint {endpoint} cannot be read")]
    Summary {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        source: postcard::Error,
    },
    /// What an alert is to rules over alerts can't be read.
    #[error("an alert of {identity:?} cannot be read")]
    Raised {
        /// The identity.
        identity: String,
        /// What is wrong.
        source: postcard::Error,
    },
}

/// Is shown the name of an SQL table and a batch of it, model columns included. Lanes call it side by side; the rows of one
/// identity come in order.
pub type Watcher = Arc<dyn Fn(&'static str, &RecordBatch) + Send + Sync>;

/// Is handed each record's offset, how far event time is there, and its rows as the rules over `events` see them, in the order
/// of the lane; those of a lane that is muted too.
pub type Recorder =
    Arc<dyn Fn(i64, EventTime, &RecordBatch) -> Result<(), ArrowError> + Send + Sync>;

/// What a stage does with the batches of one lane.
pub trait Stage: Send {
    /// The log it reads.
    fn input(&self) -> Log;

    /// Processes the rows of the record at `offset`, in order. Rows for the next log are gathered
    /// until `flush`; what they hold depends on the rows fed alone, not on how they were batched.
    ///
    /// # Errors
    /// The batch's columns are not the input's.
    fn process(
        &mut self,
        batch: &RecordBatch,
        offset: i64,
        time: EventTime,
        alerts: &mut Vec<Alert>,
    ) -> Result<(), StageError>;

    /// Rows gathered for the next log.
    fn n_pending(&self) -> usize;

    /// The rows gathered, by partition of the next log.
    fn flush(&mut self) -> Vec<(usize, RecordBatch)>;

    /// The rows gathered for the endpoints log, by partition; they count as pending too.
    fn flush_summaries(&mut self) -> Vec<(usize, RecordBatch)> {
        Vec::new()
    }

    /// Partitions of the endpoints log; 0 when it writes none.
    fn summary_partitions(&self) -> usize {
        0
    }

    /// The rows gathered for the judgements log by a stage that does not write to its reader otherwise; they count as pending too.
    fn flush_raised(&mut self) -> Vec<(usize, RecordBatch)> {
        Vec::new()
    }

    /// Partitions of the judgements log, for those rows; 0 when it writes none.
    fn raised_partitions(&self) -> usize {
        0
    }

    /// The records of the inventory that are news since the last call.
    fn take_inventory(&mut self) -> Vec<Record> {
        Vec::new()
    }

    /// Gives up what it would still tell: the lane it was copied from tells it.
    fn forget_news(&mut self) {}

    /// Ends a bounded input.
    fn close(&mut self, alerts: &mut Vec<Alert>);

    /// Entries and bytes of state.
    fn state(&self) -> StateSize;

    /// Freezes its state; nothing is pending.
    fn save(&mut self, to: &mut Saver);

    /// Puts its state back into a stage that has seen nothing, or what the snapshot before held.
    fn load(&mut self, from: &mut Loader);

    /// Shows `watcher` the rows its rules see, from now on; none ends it.
    fn watch(&mut self, _watcher: Option<Watcher>) {}

    /// Hands `recorder` the rows of the table `events`, from now on.
    fn record(&mut self, _recorder: Recorder) {}

    /// While learning only, no rule runs: nothing is found and no case opens.
    fn learn_only(&mut self, _only: bool) {}

    /// True when what it writes depends on what documents and the register of agents say.
    fn is_briefed(&self) -> bool {
        false
    }

    /// Goes by another briefing from now on.
    fn brief(&mut self, _briefing: &Briefing) {}

    /// The SQL tables its rules read; none where none run.
    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    /// Runs other rules over one of its tables from now on. Comes out: those whose windows begin empty, and are whole a window
    /// later.
    fn put_rules(&mut self, _table: &str, _rules: RuleRunner) -> Vec<Arc<Rule>> {
        Vec::new()
    }

    /// Its rules, table by table.
    fn runners(&mut self) -> Vec<&mut RuleRunner> {
        Vec::new()
    }

    /// What its rules did.
    fn rules(&self) -> Vec<RuleCounters> {
        Vec::new()
    }
}

/// Partitions of the logs a stage writes.
#[derive(Clone, Copy, Debug)]
pub struct Partitions {
    /// Of the next log.
    pub next: usize,
    /// Of the endpoints log.
    pub endpoints: usize,
    /// Of the judgements log.
    pub judgements: usize,
}

impl From<usize> for Partitions {
    /// As many of each.
    fn from(n: usize) -> Self {
        Self {
            next: n,
            endpoints: n,
            judgements: n,
        }
    }
}

/// The stage that reads `input`, for one lane that writes to so many partitions.
///
/// # Errors
/// Every fault of the rules it runs.
pub fn of(
    input: Log,
    models: &ModelConfig,
    rules: &Arc<RuleSet>,
    partitions: impl Into<Partitions>,
) -> Result<Box<dyn Stage>, Vec<RuleFault>> {
    let partitions = partitions.into();
    Ok(match input {
        Log::Events => Box::new(profile::Profile::new(models, rules, partitions)?),
        Log::Touches => Box::new(own::Own::new(models, partitions.next)),
        Log::Judgements => Box::new(judge::Judging::new(models, rules)?),
        Log::Endpoints => Box::new(govern::Govern::new(models, rules)?),
    })
}

/// Size of a lane's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Keys held in all its tables.
    pub n_entries: usize,
    /// Bytes of its tables.
    pub bytes: usize,
    /// Keys forgotten at a bound.
    pub n_evicted: u64,
}

/// The SQL tables rules can read.
pub fn catalog() -> Catalog {
    Catalog::new()
        .with("events", schema::events_table(), "event_time")
        .with("touches", schema::touches_table(), "event_time")
        .with(ALERTS, schema::alerts_table(), "event_time")
        .with("inventory", schema::inventory_table(), "event_time")
        .with("findings", schema::findings_table(), "event_time")
}

/// Hundredths of a lane's bytes that the windows of its rules over one table have.
fn percent(table: &str) -> usize {
    match table {
        "events" | "touches" => 12,
        _ => 6,
    }
}

/// The rules over one table, compiled for one lane.
///
/// # Errors
/// Every fault of every rule over the table.
pub fn compile(
    models: &ModelConfig,
    rules: &Arc<RuleSet>,
    table: &str,
) -> Result<RuleRunner, Vec<RuleFault>> {
    let mut runner = RuleRunner::compile(rules, &catalog(), table)?;
    runner.limit_bytes(models.state_bytes_max / 100 * percent(table));
    Ok(runner)
}

/// Compiles rules that a log tells, with these lookup tables.
pub fn compiling(models: &ModelConfig, lookups: &Lookups) -> Compile {
    let (models, lookups) = (models.clone(), lookups.clone());
    Arc::new(move |texts, tables| {
        let rules = Arc::new(texts.rules(&lookups)?);
        compile_all(&models, &rules, tables)
    })
}

/// The rules over some tables, compiled for one lane.
///
/// # Errors
/// Every fault of every rule over the first table that has one.
pub fn compile_all(
    models: &ModelConfig,
    rules: &Arc<RuleSet>,
    tables: &[&str],
) -> Result<Vec<RuleRunner>, Vec<RuleFault>> {
    tables
        .iter()
        .map(|table| compile(models, rules, table))
        .collect()
}

impl From<(usize, usize, u64)> for StateSize {
    fn from((n_entries, bytes, n_evicted): (usize, usize, u64)) -> Self {
        Self {
            n_entries,
            bytes,
            n_evicted,
        }
    }
}

/// The batches of the targets that have rows.
fn finish<T>(
    targets: &mut [T],
    len: impl Fn(&T) -> usize,
    mut batch: impl FnMut(&mut T) -> Result<RecordBatch, arrow::error::ArrowError>,
) -> Vec<(usize, RecordBatch)> {
    let targets = targets
        .iter_mut()
        .enumerate()
        .filter(|(_, target)| len(target) > 0);
    targets
        .map(|(at, target)| {
            (
                at,
                batch(target).expect("a builder's columns are its own table's"),
            )
        })
        .collect()
}
