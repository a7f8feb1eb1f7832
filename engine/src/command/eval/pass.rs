//! One pass over a labelled file: alerts as the evaluation sees them, when each line was called, and what rivals that are no rules say.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMillisecondType, UInt64Type};
use xxhash_rust::xxh3::xxh3_64;

use super::EvalArgs;
use crate::alert::Alert;
use crate::command::Failure;
use crate::command::reading::{ReadingArgs, pipeline_of, read, source_of};
use crate::config::ModelConfig;
use crate::evaluation::Told;
use crate::evaluation::rival::{Call, DESIGNS, Rival};
use crate::evaluation::times::Times;
use crate::rule::RuleSet;
use crate::stage::Watcher;

/// What a caller is taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The identity that tollwatch finds.
    Identity,
    /// The client's address.
    Address,
}

/// What a pass gave.
#[derive(Default)]
pub(super) struct Pass {
    /// Alerts, in order.
    pub(super) told: Vec<Told>,
    /// When each line was called.
    pub(super) times: Times,
    /// The rivals with what they told, by what they take callers by; none where they were not asked.
    pub(super) rivals: Vec<(Caller, Rival)>,
    /// Groups that rules forgot and findings that created no case, at their bounds.
    pub(super) n_bounded: u64,
}

/// What is heard of the rows.
#[derive(Default)]
struct Heard {
    times: Times,
    rivals: Vec<(Caller, Rival)>,
}

impl Caller {
    const ALL: [Caller; 2] = [Caller::Identity, Caller::Address];

    fn column(self) -> &'static str {
        match self {
            Caller::Identity => "identity",
            Caller::Address => "client_ip",
        }
    }

    /// The end of a rival's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Caller::Identity => "",
            Caller::Address => "_by_address",
        }
    }
}

/// Replays a file from nothing, with these rules and models.
///
/// * `rivals`: whether those that are no rules are asked too. They count callers of all lanes together, so there must be one.
///
/// # Errors
/// It can't be read, or an option or a rule is wrong.
pub(super) fn pass(
    args: &EvalArgs,
    file: &Path,
    rules: &Arc<RuleSet>,
    models: &ModelConfig,
    rivals: bool,
) -> Result<Pass, Failure> {
    let reading = ReadingArgs {
        format: args.format,
        mapping: args.mapping.clone(),
        lanes: Some(args.lanes),
        state: None,
        config: args.config.clone(),
    };
    let mut pipeline = pipeline_of(rules, models, &reading, &args.engine.naming)?;
    args.warm.learn(&mut pipeline)?;
    let designs = DESIGNS.into_iter().filter(|_| rivals);
    let by_caller = |design| Caller::ALL.map(|caller| (caller, Rival::new(design)));
    let heard = Arc::new(Mutex::new(Heard {
        rivals: designs.flat_map(by_caller).collect(),
        ..Heard::default()
    }));
    let hearing = heard.clone();
    let watcher: Watcher = Arc::new(move |table, batch| {
        if table == "events" {
            let mut heard = hearing.lock().unwrap_or_else(PoisonError::into_inner);
            heard.note(batch);
        }
    });
    pipeline.watch(Some(watcher));
    let mut pass = Pass::default();
    let mut note = |alerts: &[Alert]| {
        let told = alerts
            .iter()
            .map(|alert| super::told(alert, alert.position.2));
        pass.told.extend(told);
    };
    let _ = read(
        &mut pipeline,
        file,
        &source_of(file),
        i64::MAX,
        |round, _| {
            note(&round.alerts);
            Ok(ControlFlow::Continue(()))
        },
    )?;
    note(&pipeline.close()?.alerts);
    let lanes = pipeline.stages().into_iter().flat_map(|(_, lanes)| lanes);
    let counters = lanes.flat_map(|lane| lane.stage().rules());
    pass.n_bounded = counters.map(|of| of.evicted + of.uncased).sum();
    pipeline.watch(None);
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    pass.times = std::mem::take(&mut heard.times);
    pass.rivals = std::mem::take(&mut heard.rivals);
    Ok(pass)
}

/// The columns of `events` that are read here.
struct Columns<'a> {
    at_ms: &'a arrow::array::TimestampMillisecondArray,
    line: &'a Int64Array,
    endpoint: &'a StringArray,
    object: &'a UInt64Array,
    status: &'a Int32Array,
}

impl<'a> Columns<'a> {
    /// None where the table has other columns.
    fn of(batch: &'a RecordBatch) -> Option<Columns<'a>> {
        Some(Columns {
            at_ms: batch
                .column_by_name("event_time")?
                .as_primitive_opt::<TimestampMillisecondType>()?,
            line: batch
                .column_by_name("source_offset")?
                .as_primitive_opt::<Int64Type>()?,
            endpoint: batch.column_by_name("endpoint")?.as_string_opt()?,
            object: batch
                .column_by_name("object")?
                .as_primitive_opt::<UInt64Type>()?,
            status: batch
                .column_by_name("status")?
                .as_primitive_opt::<Int32Type>()?,
        })
    }
}

impl Heard {
    fn note(&mut self, batch: &RecordBatch) {
        let columns = Columns::of(batch).expect("the table of events has these columns");
        for row in 0..batch.num_rows() {
            let (line, at_ms) = (columns.line.value(row), columns.at_ms.value(row));
            self.times.note(line, at_ms);
        }
        if self.rivals.is_empty() {
            return;
        }
        for caller in Caller::ALL {
            let names = batch.column_by_name(caller.column());
            let names: &StringArray = names
                .and_then(|names| names.as_string_opt())
                .expect("the table of events names callers");
            for row in (0..batch.num_rows())
                .filter(|row| names.is_valid(*row) && columns.object.is_valid(*row))
            {
                let status = columns
                    .status
                    .is_valid(row)
                    .then(|| columns.status.value(row));
                let call = Call {
                    line: columns.line.value(row),
                    at_ms: columns.at_ms.value(row),
                    caller: xxh3_64(names.value(row).as_bytes()),
                    endpoint: xxh3_64(columns.endpoint.value(row).as_bytes()),
                    object: columns.object.value(row),
                    answered: status.is_some_and(|status| (200..300).contains(&status)),
                };
                let asked = self.rivals.iter_mut().filter(|(of, _)| *of == caller);
                asked.for_each(|(_, rival)| rival.see(&call));
            }
        }
    }
}
