//! Rules over the rows of an event lake: what the models knew of each call is in them, so neither logs nor models are needed.
//!
//! Each lane of the lake has its own runner and cases, as it had when it was written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::trial::{Trial, counts};
use crate::alert::{Alert, Alerter};
use crate::command::inputs::holds;
use crate::command::reading::progress;
use crate::command::{Failure, RuleFaults};
use crate::config::ModelConfig;
use crate::lake::{EVENTS, Lake, reading};
use crate::lane::EventTime;
use crate::rule::{RuleRunner, RuleSet, reads};
use crate::schema::{self, EventModelBuilder};
use crate::stage::{catalog, compile};

/// Columns that alerts show, besides those of the models and of the rules.
const SHOWN: [&str; 14] = [
    "event_time",
    "source_topic",
    "source_partition",
    "source_offset",
    "source_row",
    "method",
    "path",
    "endpoint",
    "status",
    "client_ip",
    "user_agent",
    "identity",
    "identity_quality",
    "collection",
];

/// The lake that `--from` names; none when it names files.
///
/// # Errors
/// There is no lake, or there are several things.
pub fn lake_at(from: &[PathBuf]) -> Result<Option<Lake>, Failure> {
    let mut lakes = Vec::new();
    for text in from.iter().filter_map(|path| path.to_str()) {
        // A prefix of object storage may hold logs as well.
        let is_lake = match text.ends_with('/') && text.contains("://") {
            true => holds(text, EVENTS)?,
            false => Lake::is_at(text),
        };
        if is_lake {
            lakes.push(text);
        }
    }
    match (lakes.as_slice(), from.len()) {
        ([one], 1) => Ok(Some(Lake::existing(one)?)),
        ([], _) => Ok(None),
        _ => Err("--from takes files, or one lake and nothing else".into()),
    }
}

/// The columns that rules and their alerts read of a lake.
///
/// # Errors
/// A rule is wrong, or reads what is not in a lake.
pub fn columns(rules: &RuleSet) -> Result<SchemaRef, Failure> {
    let mut names: Vec<String> = SHOWN.map(str::to_owned).to_vec();
    names.extend(
        EventModelBuilder::fields()
            .iter()
            .map(|field| field.name().clone()),
    );
    for rule in &rules.rules {
        let reads = reads(rule, &catalog()).map_err(|fault| RuleFaults(vec![fault]))?;
        if reads.table != EVENTS {
            return Err(format!(
                "rule {} reads `{}`, and a lake holds `events` alone: give --from the logs",
                rule.header.name, reads.table
            )
            .into());
        }
        names.extend(reads.columns);
    }
    Ok(reading::columns(names.iter().map(String::as_str)))
}

/// Hands over the rows of a lake, a lane and its next rows at a time.
///
/// # Errors
/// The lake can't be read, or `each` fails.
pub fn read(
    lake: &Lake,
    columns: &SchemaRef,
    mut each: impl FnMut(&str, EventTime, &RecordBatch) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let chunks = reading::Chunks::of(lake)?;
    let bar = progress("lake", chunks.n_bytes());
    let mut n_rows = 0;
    for chunk in chunks {
        let rows = reading::read(lake, &chunk, columns)?;
        for (time, rows) in reading::runs(&rows) {
            each(&chunk.lane, time, &rows)?;
        }
        n_rows += rows.num_rows();
        bar.inc(chunk.n_bytes);
    }
    bar.finish_and_clear();
    Ok(n_rows)
}

/// The rules of one lane.
struct Lane {
    runner: RuleRunner,
    alerter: Alerter,
}

/// Runs the rules over a lake and hands over each alert.
///
/// # Errors
/// A rule is wrong, the lake can't be read, or `each` fails.
pub fn run(
    lake: &Lake,
    models: &ModelConfig,
    rules: &Arc<RuleSet>,
    mut each: impl FnMut(&Alert) -> Result<(), Failure>,
) -> Result<Trial, Failure> {
    let columns = columns(rules)?;
    let started = Instant::now();
    let mut lanes = BTreeMap::<String, Lane>::new();
    let (mut findings, mut alerts) = (Vec::new(), Vec::new());
    let n_events = read(lake, &columns, |name, time, rows| {
        if !lanes.contains_key(name) {
            let lane = Lane {
                runner: compile(models, rules, EVENTS).map_err(RuleFaults)?,
                alerter: Alerter::new(models),
            };
            lanes.insert(name.to_owned(), lane);
        }
        let Some(lane) = lanes.get_mut(name) else {
            return Ok(());
        };
        lane.runner.push_at(rows, time, &mut findings);
        // Samples that a model kept of a caller's probes are not in the lake: the row itself is shown.
        lane.alerter
            .raise(&findings, rows, |_| Vec::new(), &mut alerts);
        findings.clear();
        alerts.drain(..).try_for_each(|alert| each(&alert))
    })?;
    let nothing = RecordBatch::new_empty(schema::events_table());
    for lane in lanes.values_mut() {
        lane.runner.close(&mut findings);
        lane.alerter
            .raise(&findings, &nothing, |_| Vec::new(), &mut alerts);
        findings.clear();
        alerts.drain(..).try_for_each(|alert| each(&alert))?;
    }
    let counted = lanes
        .values()
        .flat_map(|lane| lane.alerter.counted(lane.runner.counters()));
    Ok(Trial {
        n_events,
        rules: counts(counted),
        seconds: started.elapsed().as_secs_f64(),
        ..Trial::default()
    })
}
