//! Rules over files, without their being put to work: what `backtest` and `diff` share.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::temporal_conversions::timestamp_ms_to_datetime;
use clap::Args;
use serde_json::{Value, json};

use super::scored::{self, lake_at};
use crate::alert::{Alert, FILE_PREFIX, clean};
use crate::command::inputs::listed;
use crate::command::reading::{ReadingArgs, pipeline_of, read, source_of};
use crate::command::warm::{History, WarmArgs};
use crate::command::{Failure, ModelArgs, NamingArgs, RuleFaults};
use crate::config::ModelConfig;
use crate::pipeline::Round;
use crate::rule::{Lookups, Rule, RuleCounters, RuleFault, RuleSet, Status, reads};
use crate::stage::catalog;
use crate::stage::correlating::ALERTS;

/// Options of every trial.
#[derive(Clone, Debug, Args)]
pub struct TrialArgs {
    /// What to read, in order: files, plain, .gz, .xz or .zst; - for standard input; folders; prefixes of object storage that end
    /// in a slash, such as s3://bucket/prefix/; or an event lake: its folder, file:///…, s3://…, gs://…, az://…
    #[arg(long, required = true, num_args = 1.., value_name = "FILE|LAKE")]
    pub from: Vec<PathBuf>,
    /// How the files are read.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// History.
    #[command(flatten)]
    pub warm: WarmArgs,
    /// Folder of lookup tables (.csv, .parquet) that rules join with; none when absent
    #[arg(long, value_name = "DIR", env = "TOLLWATCH_LOOKUPS")]
    pub lookups: Option<PathBuf>,
    /// Rules whose alerts a rule over `alerts` sees beside those it is given with: files, folders or names; the shipped ones
    /// when absent
    #[arg(long, num_args = 1.., value_name = "RULE")]
    pub beside: Vec<PathBuf>,
    /// What names endpoints.
    #[command(flatten)]
    pub naming: NamingArgs,
    /// The models.
    #[command(flatten)]
    pub models: ModelArgs,
}

/// What a trial did.
#[derive(Debug, Default)]
pub struct Trial {
    /// Calls decoded.
    pub n_events: usize,
    /// Rejected records by reason.
    pub rejected: BTreeMap<&'static str, usize>,
    /// What each rule did, by name.
    pub rules: BTreeMap<String, Counts>,
    /// Wall time.
    pub seconds: f64,
    /// What was learned before; none without history.
    pub history: Option<History>,
}

/// What one rule did, in all lanes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Rows and groups it held on.
    pub n_findings: u64,
    /// Findings beyond the cases a rule may create in an hour.
    pub n_uncased: u64,
    /// Rows that came after their windows had closed.
    pub n_late: u64,
    /// Rows on which an expression failed.
    pub n_failed: u64,
    /// Rows an exception took out.
    pub n_excepted: u64,
}

/// The rules of files and folders, and the shipped ones that are called by name, with the lookup tables of a folder.
///
/// # Errors
/// Every fault of every file.
pub fn rules_at<P: AsRef<Path>>(
    places: &[P],
    lookups: Option<&Path>,
) -> Result<RuleSet, RuleFaults> {
    let shipped = RuleSet::shipped();
    let (mut rules, mut faults) = (Vec::new(), Vec::new());
    for place in places.iter().map(AsRef::as_ref) {
        let named = place.to_str().and_then(|name| shipped.get(name));
        let found = match named {
            Some(rule) if !place.exists() => Ok(vec![Rule::clone(rule)]),
            _ if place.is_dir() => RuleSet::load(place)
                .map(|set| set.rules.iter().map(|rule| Rule::clone(rule)).collect()),
            _ => rule_of(place).map(|rule| vec![rule]),
        };
        match found {
            Ok(more) => rules.extend(more),
            Err(more) => faults.extend(more),
        }
    }
    let lookups = lookups.map_or_else(|| Ok(Lookups::default()), Lookups::load);
    let lookups = lookups.unwrap_or_else(|more| {
        faults.extend(more);
        Lookups::default()
    });
    match RuleSet::new(rules) {
        Ok(set) if faults.is_empty() => Ok(set.with_lookups(lookups)),
        Ok(_) => Err(RuleFaults(faults)),
        Err(more) => Err(RuleFaults(faults.into_iter().chain(more).collect())),
    }
}

fn rule_of(path: &Path) -> Result<Rule, Vec<RuleFault>> {
    Rule::read(path).map_err(|mut faults| {
        if !path.exists() {
            let told = "; give a .sql file, a folder of them, or a name `rules list` shows";
            faults
                .iter_mut()
                .for_each(|fault| fault.message.push_str(told));
        }
        faults
    })
}

/// The rules that run beside those given, for rules over `alerts` among these to see their alerts; none where there are no
/// such rules.
///
/// * `beside`: where they are; the shipped ones when empty.
///
/// # Errors
/// A rule has a fault.
pub fn rules_beside(given: &RuleSet, beside: &[PathBuf]) -> Result<Vec<Arc<Rule>>, RuleFaults> {
    let catalog = catalog().with_lookups(&given.lookups);
    let correlates = |rule: &Arc<Rule>| {
        // A rule that cannot be planned is told of where it is compiled.
        reads(rule, &catalog).is_ok_and(|reads| reads.table == ALERTS)
    };
    if !given.rules.iter().any(correlates) {
        return Ok(Vec::new());
    }
    let others = match beside {
        [] => RuleSet::shipped(),
        places => rules_at(places, None)?,
    };
    let is_given = |rule: &Arc<Rule>| {
        let (name, id) = (&rule.header.name, &rule.header.id);
        let mut all = given.rules.iter().map(|rule| &rule.header);
        all.any(|of| of.name == *name || of.id == *id)
    };
    let others = others.rules.into_iter().filter(|rule| !is_given(rule));
    Ok(others.filter(|rule| !correlates(rule)).collect())
}

/// Whether a rule runs in production and alerts nobody.
pub fn is_silent(status: Status) -> bool {
    matches!(status, Status::Test | Status::Deprecated)
}

/// Runs the rules over the files and hands over each alert. Rules that are silent in production speak here.
///
/// # Errors
/// An option or a rule is wrong, a file can't be read, or `each` fails.
pub fn run(
    args: &TrialArgs,
    rules: &RuleSet,
    mut each: impl FnMut(&Alert) -> Result<(), Failure>,
) -> Result<Trial, Failure> {
    let mut rules = rules.clone();
    for rule in &mut rules.rules {
        Arc::make_mut(rule).header.status = Status::Stable;
    }
    let beside = rules_beside(&rules, &args.beside)?;
    let given: Vec<String> = rules.rules.iter().map(|r| r.header.name.clone()).collect();
    rules.rules.extend(beside);
    let mut each = |alert: &Alert| match given.contains(&alert.rule) {
        true => each(alert),
        false => Ok(()),
    };
    let models = args.models.over(&ModelConfig::default());
    if let Some(lake) = lake_at(&args.from)? {
        args.only_of_files()?;
        return scored::run(&lake, &models, &Arc::new(rules), each);
    }
    let mut pipeline = pipeline_of(&Arc::new(rules), &models, &args.reading, &args.naming)?;
    let mut trial = Trial {
        history: args.warm.learn(&mut pipeline)?,
        ..Trial::default()
    };
    let started = Instant::now();
    for path in &listed(&args.from)? {
        let source = source_of(path);
        let _ = read(&mut pipeline, path, &source, i64::MAX, |round, _| {
            trial.count(&round);
            round.alerts.iter().try_for_each(&mut each)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    pipeline.close()?.alerts.iter().try_for_each(&mut each)?;
    trial.seconds = started.elapsed().as_secs_f64();
    let lanes = pipeline.stages().into_iter().flat_map(|(_, lanes)| lanes);
    trial.rules = counts(lanes.flat_map(|lane| lane.stage().rules()));
    trial.rules.retain(|name, _| given.contains(name));
    Ok(trial)
}

impl TrialArgs {
    /// Refuses what makes no difference to rows that are decoded and scored already.
    fn only_of_files(&self) -> Result<(), Failure> {
        let given = [
            ("--warm-from", !self.warm.warm_from.is_empty()),
            ("--lanes", self.reading.lanes.is_some()),
            ("--state", self.reading.state.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((option, _)) => Err(format!(
                "{option} is for logs: the rows of a lake are decoded and scored already"
            )
            .into()),
        }
    }
}

/// The counts of all lanes, by rule.
pub(super) fn counts(of: impl Iterator<Item = RuleCounters>) -> BTreeMap<String, Counts> {
    let mut counts = BTreeMap::<String, Counts>::new();
    for of in of {
        let sum = counts.entry(of.rule.header.name.clone()).or_default();
        sum.n_findings += of.findings;
        sum.n_uncased += of.uncased;
        sum.n_late += of.late;
        sum.n_failed += of.errors;
        sum.n_excepted += of.excepted;
    }
    counts
}

impl Trial {
    fn count(&mut self, round: &Round) {
        self.n_events += round.n_events;
        for reject in &round.rejects {
            *self.rejected.entry(reject.reason.as_str()).or_default() += 1;
        }
    }

    /// Calls and seconds, and what was rejected, a line each.
    pub fn closing(&self) -> String {
        let rejected = self.rejected.iter();
        let rejected: String = rejected
            .map(|(reason, n)| format!("rejected: {n} {reason}\n"))
            .collect();
        let history = self.history.as_ref();
        let history = history.map_or_else(String::new, |history| format!("{history}\n"));
        let (n, seconds) = (self.n_events, self.seconds);
        let speed = n as f64 / seconds.max(1e-9);
        format!("{history}{rejected}{n} events in {seconds:.1} s, {speed:.0} events/s")
    }

    /// The same as fields of a report.
    pub fn as_json(&self) -> Value {
        json!({
            "events": self.n_events, "rejected": self.rejected, "seconds": self.seconds,
            "history": self.history.as_ref().map(History::as_json),
        })
    }
}

/// Day of an event time, in UTC.
pub fn day(ms: i64) -> String {
    timestamp_ms_to_datetime(ms).map_or_else(|| ms.to_string(), |time| time.date().to_string())
}

/// Where the line or record that triggered an alert stands: `file:line`, or `topic/partition@offset`.
pub fn place(alert: &Alert) -> String {
    let (topic, partition, offset) = &alert.position;
    match topic.strip_prefix(FILE_PREFIX) {
        Some(file) => format!("{}:{offset}", clean(file)),
        None => format!("{}/{partition}@{offset}", clean(topic)),
    }
}
