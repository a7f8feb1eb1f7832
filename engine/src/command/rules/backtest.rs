//! `rules backtest`: what rules would have told of logs of the past.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::table;
use super::trial::{self, Trial, TrialArgs, day, is_silent, place, rules_at};
use crate::alert::Alert;
use crate::command::Failure;
use crate::rule::RuleSet;

/// Identities whose alerts are counted, about 150 bytes each; callers may choose their names, and alerts of further ones
/// are counted together.
const IDENTITIES_MAX: usize = 100_000;

/// Options of `rules backtest`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch rules backtest my-rules/export_flood.sql --from monday.log.gz tuesday.log.gz
  tollwatch rules backtest object_flood bola_run --from access.log.xz --samples 20
  tollwatch rules backtest my-rules --from access.log.xz --at-most 5 --json
  tollwatch rules backtest my-rules/probe_then_bola.sql --beside my-rules --from access.log.xz

A rule with status `test` or `deprecated`, which is silent in production, speaks here.
Exit codes: 0 done, 1 a rule failed on a row or more alerts than --at-most, 2 wrong usage.")]
pub struct BacktestArgs {
    /// Rules: files (.sql), folders of such, or names of shipped ones; no others run, but for --beside
    #[arg(required = true, value_name = "RULE")]
    pub rules: Vec<std::path::PathBuf>,
    /// Alerts shown with their lines: the first so many
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub samples: usize,
    /// Identities shown: those with the most alerts
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub top: usize,
    /// Ends with exit code 1 when there are more alerts, updates of cases left aside
    #[arg(long, value_name = "N")]
    pub at_most: Option<usize>,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// What is read.
    #[command(flatten)]
    pub trial: TrialArgs,
}

/// Alerts and updates of cases.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    n_alerts: usize,
    n_updates: usize,
}

/// One of the first alerts.
#[derive(Debug)]
struct Sample {
    rule: String,
    time_ms: i64,
    place: String,
    title: String,
}

/// What was told.
#[derive(Debug, Default)]
struct Found {
    by_rule: BTreeMap<String, Told>,
    by_day: BTreeMap<(String, String), Told>,
    by_identity: HashMap<String, usize>,
    n_others: usize,
    samples: Vec<Sample>,
}

/// Runs the command.
///
/// # Errors
/// A rule is wrong, or a file can't be read.
pub fn run(args: &BacktestArgs) -> Result<u8, Failure> {
    let rules = rules_at(&args.rules, args.trial.lookups.as_deref())?;
    let mut found = Found::default();
    let trial = trial::run(&args.trial, &rules, |alert| {
        found.note(alert, args.samples);
        Ok(())
    })?;
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", report(args, &rules, &found, &trial))?,
        false => show(args, &rules, &found, &trial, &mut out)?,
    }
    let n_alerts: usize = found.by_rule.values().map(|told| told.n_alerts).sum();
    let is_over = args.at_most.is_some_and(|most| most < n_alerts);
    let has_failed = trial.rules.values().any(|counts| 0 < counts.n_failed);
    Ok(u8::from(is_over || has_failed))
}

impl Told {
    fn add(&mut self, is_new: bool) {
        self.n_alerts += usize::from(is_new);
        self.n_updates += usize::from(!is_new);
    }
}

impl Found {
    fn note(&mut self, alert: &Alert, samples_max: usize) {
        let is_new = alert.activity_id == 1;
        let (rule, day) = (alert.rule.clone(), day(alert.time_ms));
        self.by_rule.entry(rule.clone()).or_default().add(is_new);
        self.by_day.entry((day, rule)).or_default().add(is_new);
        if !is_new {
            return;
        }
        if let Some(n) = self.by_identity.get_mut(&alert.key) {
            *n += 1;
        } else if self.by_identity.len() < IDENTITIES_MAX {
            self.by_identity.insert(alert.key.clone(), 1);
        } else {
            self.n_others += 1;
        }
        if self.samples.len() < samples_max {
            self.samples.push(Sample {
                rule: alert.rule.clone(),
                time_ms: alert.time_ms,
                place: place(alert),
                title: alert.title.clone(),
            });
        }
    }

    /// The identities with the most alerts, and how many alerts those not shown have.
    fn top(&self, n_max: usize) -> (Vec<(&String, usize)>, usize) {
        let mut all: Vec<_> = self.by_identity.iter().map(|(who, n)| (who, *n)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let rest: usize = all.iter().skip(n_max).map(|(_, n)| n).sum();
        all.truncate(n_max);
        (all, rest + self.n_others)
    }
}

fn report(args: &BacktestArgs, rules: &RuleSet, found: &Found, trial: &Trial) -> Value {
    let told = |told: Told| json!({ "alerts": told.n_alerts, "updates": told.n_updates });
    let rules: serde_json::Map<String, Value> = rules
        .rules
        .iter()
        .map(|rule| {
            let name = &rule.header.name;
            let mut row = told(found.by_rule.get(name).copied().unwrap_or_default());
            let counts = trial.rules.get(name).copied().unwrap_or_default();
            row["status"] = json!(rule.header.status.as_str());
            row["findings"] = json!(counts.n_findings);
            row["without_case"] = json!(counts.n_uncased);
            row["rows_late"] = json!(counts.n_late);
            row["rows_failed"] = json!(counts.n_failed);
            row["rows_excepted"] = json!(counts.n_excepted);
            (name.clone(), row)
        })
        .collect();
    let days = found.by_day.iter().map(|((day, rule), of)| {
        let mut row = told(*of);
        row["day"] = json!(day);
        row["rule"] = json!(rule);
        row
    });
    let (top, rest) = found.top(args.top);
    let top = top
        .iter()
        .map(|(who, n)| json!({ "identity": who, "alerts": n }));
    let samples = found.samples.iter().map(|one| {
        json!({ "rule": one.rule, "time": one.time_ms, "place": one.place, "title": one.title })
    });
    let mut report = trial.as_json();
    report["rules"] = Value::from(rules);
    report["days"] = days.collect();
    report["top"] = top.collect();
    report["alerts_of_others"] = json!(rest);
    report["samples"] = samples.collect();
    report
}

fn show(
    args: &BacktestArgs,
    rules: &RuleSet,
    found: &Found,
    trial: &Trial,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut shown = table(&[
        "rule",
        "findings",
        "alerts",
        "updates",
        "without a case",
        "rows late",
        "failed",
        "excepted",
    ]);
    for rule in &rules.rules {
        let name = &rule.header.name;
        let told = found.by_rule.get(name).copied().unwrap_or_default();
        let counts = trial.rules.get(name).copied().unwrap_or_default();
        shown.add_row([
            name.clone(),
            counts.n_findings.to_string(),
            told.n_alerts.to_string(),
            told.n_updates.to_string(),
            counts.n_uncased.to_string(),
            counts.n_late.to_string(),
            counts.n_failed.to_string(),
            counts.n_excepted.to_string(),
        ]);
    }
    writeln!(out, "{shown}\n")?;
    if !found.by_day.is_empty() {
        let mut shown = table(&["day", "rule", "alerts", "updates"]);
        for ((day, rule), told) in &found.by_day {
            let (n_alerts, n_updates) = (told.n_alerts.to_string(), told.n_updates.to_string());
            shown.add_row([day, rule, &n_alerts, &n_updates]);
        }
        writeln!(out, "{shown}\n")?;
        let mut shown = table(&["identity", "alerts"]);
        let (top, rest) = found.top(args.top);
        for (who, n) in top {
            shown.add_row([who, &n.to_string()]);
        }
        if 0 < rest {
            shown.add_row(["all others", &rest.to_string()]);
        }
        writeln!(out, "{shown}\n")?;
    }
    for one in &found.samples {
        writeln!(out, "{}: {}: {}", one.place, one.rule, one.title)?;
    }
    writeln!(out, "{}", trial.closing())?;
    let silent = rules.rules.iter().map(|rule| &rule.header);
    for header in silent.filter(|header| is_silent(header.status)) {
        let (name, status) = (&header.name, header.status.as_str());
        writeln!(
            out,
            "{name} has status {status}: in production it alerts nobody"
        )?;
    }
    Ok(())
}
