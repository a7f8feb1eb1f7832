//! History before the files: the models learn what is usual from it, and nobody is told of it.
//!
//! No rule runs, so no case opens: a caller who is flagged in the history starts without one. What the models hold against
//! it stays, as it would for a lane that goes on. They may have learnt from an attack, so who alarmed is shown.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::inputs::listed;
use super::reading::{read, source_of};
use crate::alert::clean;
use crate::pipeline::Pipeline;
use crate::stage::Watcher;

/// Suspects kept, about 200 bytes each; callers may choose their names, and further ones are counted by alarm alone.
const SUSPECTS_MAX: usize = 10_000;
/// Suspects shown.
const SHOWN: usize = 10;

/// Options of what is learned first.
#[derive(Clone, Debug, Default, Args)]
pub struct WarmArgs {
    /// Files, folders or prefixes (s3://bucket/prefix/) to learn from before the others, in order; give them last, or once a flag. Nothing in them is told
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub warm_from: Vec<PathBuf>,
}

/// What the history held.
#[derive(Debug, Default)]
pub struct History {
    n_events: usize,
    suspects: Suspects,
}

/// Who alarmed, and how.
#[derive(Debug, Default)]
struct Suspects {
    by_name: BTreeMap<String, Suspect>,
    n_alarms_more: usize,
}

#[derive(Debug, Default)]
struct Suspect {
    evidence: f64,
    n_alarms: usize,
    /// Columns that alarmed.
    alarms: Vec<&'static str>,
}

impl WarmArgs {
    /// Runs the history through the lanes; none when there is none.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn learn(&self, pipeline: &mut Pipeline) -> Result<Option<History>, Failure> {
        if self.warm_from.is_empty() {
            return Ok(None);
        }
        let suspects = Arc::new(Mutex::new(Suspects::default()));
        let noted = suspects.clone();
        let watcher: Watcher = Arc::new(move |_, batch| {
            noted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .note(batch);
        });
        pipeline.watch(Some(watcher));
        pipeline.learn_only(true);
        let mut history = History::default();
        for path in &listed(&self.warm_from)? {
            let _ = read(pipeline, path, &source_of(path), i64::MAX, |round, _| {
                history.n_events += round.n_events;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        pipeline.learn_only(false);
        pipeline.watch(None);
        let mut suspects = suspects.lock().unwrap_or_else(PoisonError::into_inner);
        history.suspects = std::mem::take(&mut suspects);
        Ok(Some(history))
    }
}

impl Suspects {
    /// Notes the rows on which a model alarmed.
    fn note(&mut self, batch: &RecordBatch) {
        const ALARMS: [(&str, &str); 3] = [
            ("alarm", "evidence"),
            ("probe_alarm", "probe_evidence"),
            ("run_alarm", "evidence"),
        ];
        for (alarm, evidence) in ALARMS {
            let (Some(alarms), Some(evidence), Some(names)) = (
                batch.column_by_name(alarm),
                batch.column_by_name(evidence),
                batch.column_by_name("identity"),
            ) else {
                continue;
            };
            let (flags, names) = (alarms.as_boolean_opt(), names.as_string::<i32>());
            let evidence = evidence.as_primitive::<Float64Type>();
            let is_set = |row: &usize| match flags {
                Some(flags) => flags.value(*row),
                None => alarms.is_valid(*row),
            };
            for row in (0..batch.num_rows()).filter(is_set) {
                self.alarmed(names.value(row), alarm, evidence.value(row));
            }
        }
    }

    fn alarmed(&mut self, name: &str, alarm: &'static str, evidence: f64) {
        if !self.by_name.contains_key(name) && self.by_name.len() == SUSPECTS_MAX {
            self.n_alarms_more += 1;
            return;
        }
        let suspect = self.by_name.entry(name.to_owned()).or_default();
        suspect.n_alarms += 1;
        suspect.evidence = suspect.evidence.max(evidence);
        if !suspect.alarms.contains(&alarm) {
            suspect.alarms.push(alarm);
        }
    }
}

impl History {
    /// The suspects with the most evidence.
    fn top(&self) -> Vec<(&String, &Suspect)> {
        let mut all: Vec<_> = self.suspects.by_name.iter().collect();
        all.sort_by(|a, b| b.1.evidence.total_cmp(&a.1.evidence));
        all.truncate(SHOWN);
        all
    }

    /// As a field of a report.
    pub fn as_json(&self) -> Value {
        let top: Vec<Value> = self
            .top()
            .into_iter()
            .map(|(name, suspect)| {
                json!({
                    "identity": clean(name), "evidence": suspect.evidence,
                    "n_alarms": suspect.n_alarms, "alarms": suspect.alarms,
                })
            })
            .collect();
        json!({
            "events": self.n_events, "suspects": self.suspects.by_name.len(),
            "alarms_of_others": self.suspects.n_alarms_more, "top": top,
        })
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.suspects.by_name.len();
        write!(
            f,
            "{} events of history, {n} suspicious callers in it",
            self.n_events
        )?;
        if n != 0 {
            f.write_str(", from whom the models may have learnt:")?;
        }
        for (name, suspect) in self.top() {
            let (name, alarms) = (clean(name), suspect.alarms.join(", "));
            let evidence = suspect.evidence;
            write!(f, "\n  {name}: evidence up to {evidence:.3e}; {alarms}")?;
        }
        if SHOWN < n {
            write!(f, "\n  and {} more", n - SHOWN)?;
        }
        if self.suspects.n_alarms_more != 0 {
            write!(
                f,
                "\n  and {} alarms of others",
                self.suspects.n_alarms_more
            )?;
        }
        Ok(())
    }
}
