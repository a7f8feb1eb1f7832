//! `eval --sweep`: recall against false alerts, over settings of the knob, and of rivals' thresholds beside it.
//!
//! Each setting of the knob is a pass of its own: what the models learn from a caller depends on the evidence against it and on whether
//! it alarmed, so the highest evidence of one pass does not tell what another setting would have found. Rivals learn nothing from what
//! they tell, so all their settings share one pass.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use comfy_table::Table;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::pass::{Pass, pass};
use super::{EvalArgs, add, over_files, show};
use crate::command::report::curves::picture;
use crate::command::{Failure, RuleFaults, load_rules, plain_table};
use crate::config::ModelConfig;
use crate::evaluation::curve::{Comparison, Curve, Point};
use crate::evaluation::{Evaluation, Labels, Told};
use crate::pipeline::in_parallel;
use crate::rule::header::ParamKind;
use crate::rule::{Rule, RuleSet};

/// Settings of the knob, where none are given. Evidence of a caller who does for the first time what an attack does goes on growing: to
/// tell nothing falsely takes far less than is ever promised.
pub(super) const KNOBS: [f64; 12] = [
    1e-24, 1e-21, 1e-18, 1e-15, 1e-9, 1e-6, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0,
];
/// A rule's settings: its default times these, within the parameter's bounds.
const FACTORS: [f64; 10] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// False alerts per million events at which detectors are compared.
const RATES: [f64; 3] = [0.1, 1.0, 10.0];

/// What was swept.
struct Swept {
    ours: Curve,
    rivals: Vec<Curve>,
    /// What rules of the rivals lost at their bounds.
    n_bounded: u64,
}

/// Runs the sweep.
///
/// # Errors
/// A file can't be read or written, or an option or a rule is wrong.
pub(super) fn sweep(args: &EvalArgs, labels: &[Labels], knobs: &[f64]) -> Result<u8, Failure> {
    if args.lanes != 1 && args.rivals.is_some() {
        return Err("rivals count what a caller does in all lanes: leave --lanes out".into());
    }
    let swept = swept(args, labels, knobs)?;
    if let Some(path) = &args.plot {
        let drawn = picture(&swept.ours, &swept.rivals);
        std::fs::write(path, drawn)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    match args.json {
        true => println!("{}", as_json(&swept)),
        false => tell(args, &swept),
    }
    Ok(0)
}

fn swept(args: &EvalArgs, labels: &[Labels], knobs: &[f64]) -> Result<Swept, Failure> {
    let models = args.engine.models.over(&ModelConfig::default());
    let knob = models.false_alerts_per_million_events;
    let mut knobs: Vec<f64> = knobs.iter().copied().chain([knob]).collect();
    knobs.sort_by(f64::total_cmp);
    knobs.dedup();
    let (lookups, rules) = (args.engine.lookups.as_deref(), args.engine.rules.as_deref());
    let rules = load_rules(rules, lookups)?;
    let settings = args.rivals.as_deref().map(settings).transpose()?;
    let bar = ProgressBar::new((knobs.len() + usize::from(settings.is_some())) as u64);
    let at_knob = |at: &f64| {
        let models = ModelConfig {
            false_alerts_per_million_events: *at,
            ..models.clone()
        };
        let evaluation = over_files(args, labels, &rules, &models);
        bar.inc(1);
        evaluation.map_err(|error| error.to_string())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut points = Vec::new();
    for some in knobs.chunks(cores) {
        for (at, evaluation) in some.iter().zip(in_parallel(some.iter(), at_knob)) {
            points.push(Point::of(*at, *at == knob, &evaluation?));
        }
    }
    let (rivals, n_bounded) = match settings {
        None => (Vec::new(), 0),
        Some(settings) => rivals(args, labels, &models, &settings)?,
    };
    bar.finish_and_clear();
    Ok(Swept {
        ours: Curve {
            name: "tollwatch".to_owned(),
            points,
        },
        rivals,
        n_bounded,
    })
}

/// A rival's rule at one setting of its parameter.
#[derive(Debug)]
struct Setting {
    /// Name of the rival.
    rival: String,
    threshold: f64,
    is_default: bool,
    rule: Rule,
}

/// The rules of a folder, each over the settings of its one parameter.
///
/// # Errors
/// A rule has a fault, or not one parameter that is a number.
fn settings(folder: &Path) -> Result<Vec<Setting>, Failure> {
    let rules = RuleSet::load(folder).map_err(RuleFaults)?;
    let mut all = Vec::new();
    for rule in &rules.rules {
        all.extend(settings_of(rule)?);
    }
    Ok(all)
}

fn settings_of(rule: &Rule) -> Result<Vec<Setting>, Failure> {
    let rival = &rule.header.name;
    let is_number = |kind| matches!(kind, ParamKind::Int | ParamKind::Float);
    let mut numbers = rule
        .header
        .params
        .iter()
        .filter(|(_, of)| is_number(of.kind));
    let (Some((param, of)), None) = (numbers.next(), numbers.next()) else {
        return Err(format!(
            "{}: {rival} has not one threshold to sweep: give it one parameter of type int or float",
            rule.path.display()
        )
        .into());
    };
    let default = of.default.as_f64().unwrap_or_default();
    let mut thresholds: Vec<f64> = FACTORS.iter().map(|factor| default * factor).collect();
    if of.kind == ParamKind::Int {
        thresholds.iter_mut().for_each(|t| *t = t.round());
        thresholds.dedup();
    }
    let mut settings = Vec::new();
    for threshold in thresholds {
        let value = match of.kind {
            ParamKind::Int => json!(threshold as i64),
            _ => json!(threshold),
        };
        let mut rule = rule.clone();
        if rule.set_param(param, value).is_err() {
            // Beyond what the parameter may be.
            continue;
        }
        let name = format!("{rival}_{threshold}");
        rule.hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
        rule.header.id = format!("{}_{threshold}", rule.header.id);
        rule.header.name = name;
        // Rules of one tactic share a case, and would hide each other.
        rule.header.tags.clear();
        settings.push(Setting {
            rival: rival.clone(),
            threshold,
            is_default: threshold == default,
            rule,
        });
    }
    Ok(settings)
}

/// One setting of a rival and what came of it.
struct Outcome {
    rival: String,
    threshold: f64,
    is_default: bool,
    told: Vec<Told>,
}

/// All settings of all rivals in one pass over each file; and what rules lost at their bounds.
fn rivals(
    args: &EvalArgs,
    labels: &[Labels],
    models: &ModelConfig,
    settings: &[Setting],
) -> Result<(Vec<Curve>, u64), Failure> {
    let rules = settings.iter().map(|setting| setting.rule.clone());
    let rules = Arc::new(RuleSet::new(rules.collect()).map_err(RuleFaults)?);
    // Rules share a part of a lane's memory. Each setting has what it would have alone.
    let models = ModelConfig {
        state_bytes_max: models.state_bytes_max.saturating_mul(settings.len()),
        ..models.clone()
    };
    let (mut sums, mut n_bounded) = (Vec::<(Outcome, Evaluation)>::new(), 0);
    for (file, labels) in args.files.iter().zip(labels) {
        let pass = pass(args, file, &rules, &models, true)?;
        n_bounded += pass.n_bounded;
        for (at, outcome) in outcomes(&pass, settings).into_iter().enumerate() {
            let evaluation = Evaluation::of(labels, &outcome.told, &pass.times);
            // Files have the same settings in the same order.
            if sums.len() == at {
                sums.push((outcome, Evaluation::default()));
            }
            add(&mut sums[at].1, args, file, evaluation);
        }
    }
    let mut curves = Vec::<Curve>::new();
    for (of, evaluation) in &sums {
        let point = Point::of(of.threshold, of.is_default, evaluation);
        match curves.last_mut().filter(|curve| curve.name == of.rival) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve {
                name: of.rival.clone(),
                points: vec![point],
            }),
        }
    }
    Ok((curves, n_bounded))
}

/// What each setting told in a pass.
fn outcomes(pass: &Pass, settings: &[Setting]) -> Vec<Outcome> {
    let mut by_rule = BTreeMap::<&str, Vec<Told>>::new();
    for told in &pass.told {
        by_rule.entry(&told.rule).or_default().push(told.clone());
    }
    let of_rules = settings.iter().map(|setting| Outcome {
        rival: setting.rival.clone(),
        threshold: setting.threshold,
        is_default: setting.is_default,
        told: by_rule
            .remove(setting.rule.header.name.as_str())
            .unwrap_or_default(),
    });
    let mut outcomes: Vec<Outcome> = of_rules.collect();
    for (caller, rival) in &pass.rivals {
        let design = rival.design();
        for (threshold, told) in design.thresholds.iter().zip(rival.told()) {
            outcomes.push(Outcome {
                rival: format!("{}{}", design.name, caller.suffix()),
                threshold: *threshold,
                is_default: *threshold == design.default,
                told: told.clone(),
            });
        }
    }
    outcomes
}

/// A number as people read it, however small.
fn short(number: f64) -> String {
    match number {
        n if n != 0.0 && n.abs() < 0.001 => format!("{n:e}"),
        n => format!("{n}"),
    }
}

/// Found and the setting that found it.
fn found(point: Option<&Point>) -> String {
    point.map_or_else(
        || "0 (none as quiet)".to_owned(),
        |point| format!("{} ({})", point.n_found, short(point.threshold)),
    )
}

fn tell(args: &EvalArgs, swept: &Swept) {
    show(args, curve_table(&swept.ours));
    println!();
    if swept.rivals.is_empty() {
        return;
    }
    show(args, detectors_table(swept));
    println!();
    show(args, comparison_table(swept));
    let n = swept.n_bounded;
    if 0 < n {
        println!();
        println!(
            "{n} times rivals' rules forgot a group or opened no case, at their bounds: they may find less than they could"
        );
    }
}

fn curve_table(curve: &Curve) -> Table {
    let mut table = plain_table();
    table.set_header([
        "knob",
        "found",
        "of",
        "recall",
        "95 % interval",
        "false alerts",
        "per million",
        "promised",
        "exposed, median",
    ]);
    for point in &curve.points {
        let (low, high) = point.interval();
        let promised = point.threshold * point.n_events as f64 / 1e6;
        table.add_row([
            knob(point),
            point.n_found.to_string(),
            point.n_episodes.to_string(),
            format!("{:.2}", point.recall()),
            format!("{low:.2} to {high:.2}"),
            point.n_false.to_string(),
            format!("{:.1}", point.per_million()),
            format!("{promised:.3}"),
            point.exposed_median.to_string(),
        ]);
    }
    table
}

fn knob(point: &Point) -> String {
    let mark = if point.is_default { " (in use)" } else { "" };
    format!("{}{mark}", short(point.threshold))
}

/// Every detector at its default and at each number of false alerts, found and the setting.
fn detectors_table(swept: &Swept) -> Table {
    let mut table = plain_table();
    let mut header = vec![
        "detector".to_owned(),
        "found at its default".to_owned(),
        "false alerts".to_owned(),
        "per million".to_owned(),
    ];
    header.extend(RATES.map(|rate| format!("found at {rate} per million")));
    table.set_header(header);
    for curve in std::iter::once(&swept.ours).chain(&swept.rivals) {
        let default = curve.at_default();
        let mut row = vec![curve.name.clone(), found(default)];
        row.push(default.map_or_else(String::new, |p| p.n_false.to_string()));
        row.push(default.map_or_else(String::new, |p| format!("{:.1}", p.per_million())));
        row.extend(RATES.map(|rate| found(curve.best_at(rate))));
        table.add_row(row);
    }
    table
}

/// The numbers of false alerts at which detectors are compared: the round ones, and what ours tells as it is set.
fn rates(ours: &Curve) -> Vec<f64> {
    let set = ours.at_default().map(Point::per_million);
    let mut rates: Vec<f64> = RATES.into_iter().chain(set).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    rates
}

fn comparison_table(swept: &Swept) -> Table {
    let mut table = plain_table();
    table.set_header([
        "false alerts per million, at most",
        "tollwatch found",
        "best rival",
        "found",
        "times as many",
    ]);
    for rate in rates(&swept.ours) {
        let at = Comparison::at(rate, &swept.ours, &swept.rivals);
        let ratio = at.ratio();
        table.add_row([
            short((rate * 100.0).round() / 100.0),
            found(at.ours),
            at.rival
                .map_or("none as quiet", |(name, _)| name)
                .to_owned(),
            found(at.rival.map(|(_, point)| point)),
            ratio.map_or_else(|| "no rival finds any".to_owned(), |r| format!("{r:.1}")),
        ]);
    }
    table
}

fn point_json(point: &Point) -> Value {
    let (low, high) = point.interval();
    json!({
        "threshold": point.threshold, "default": point.is_default,
        "found": point.n_found, "episodes": point.n_episodes,
        "recall": point.recall(), "recall_interval": [low, high],
        "false_alerts": point.n_false, "events": point.n_events,
        "false_per_million": point.per_million(), "exposed_median": point.exposed_median,
    })
}

fn curve_json(curve: &Curve) -> Value {
    let at = RATES.map(|rate| (rate.to_string(), json!(curve.best_at(rate).map(point_json))));
    let points: Vec<Value> = curve.points.iter().map(point_json).collect();
    let at: serde_json::Map<String, Value> = at.into_iter().collect();
    json!({ "name": curve.name, "points": points, "at_false_per_million": at })
}

fn as_json(swept: &Swept) -> Value {
    let rivals: Vec<Value> = swept.rivals.iter().map(curve_json).collect();
    let compared: Vec<Value> = rates(&swept.ours)
        .into_iter()
        .map(|rate| {
            let at = Comparison::at(rate, &swept.ours, &swept.rivals);
            json!({
                "false_per_million": rate, "ratio": at.ratio(),
                "tollwatch": at.ours.map(point_json),
                "rival": at.rival.map(|(name, point)| json!({ "name": name, "at": point_json(point) })),
            })
        })
        .collect();
    json!({
        "tollwatch": curve_json(&swept.ours), "rivals": rivals, "compared": compared,
        "rivals_bounded": swept.n_bounded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(params: &str, sql: &str) -> Rule {
        let text = format!(
            "/*---\nschema: rule/v1\nid: 2f0c9a8e-5f0b-4f43-9d5e-1c7c1a5e9b11\nname: some\nversion: 1\ntitle: t\nstatus: stable\nseverity: low\ndescription: d\ntags: [owasp.api1-2023]\nparams:\n{params}---*/\n{sql}\n"
        );
        Rule::parse(Path::new("some.sql"), &text).expect("a rule")
    }

    #[test]
    fn a_rule_is_swept_over_its_parameter_within_its_bounds() {
        let swept = rule(
            "  most: {type: int, default: 10, min: 2, max: 100}\n",
            "SELECT identity FROM events WHERE status > $most",
        );
        let settings = settings_of(&swept).expect("it has one");
        let thresholds: Vec<_> = settings.iter().map(|s| s.threshold).collect();
        // 10 over eight is 1.25, below the least; over four, 2.5, is 3. Sixteen times is beyond the most.
        assert_eq!(thresholds, [3.0, 5.0, 10.0, 20.0, 40.0, 80.0]);
        let defaults = settings.iter().filter(|setting| setting.is_default);
        assert_eq!(defaults.map(|s| s.threshold).collect::<Vec<_>>(), [10.0]);
        let rules: Vec<Rule> = settings.into_iter().map(|s| s.rule).collect();
        assert!(rules.iter().all(|rule| rule.header.tags.is_empty()));
        let set = RuleSet::new(rules).expect("names and ids of their own");
        assert_eq!(set.rules.len(), 6);
    }

    #[test]
    fn a_rule_without_one_threshold_is_refused() {
        let two = "  a: {type: int, default: 1}\n  b: {type: float, default: 1.5}\n";
        let sql = "SELECT identity FROM events WHERE status > $a AND status < $b";
        let told = settings_of(&rule(two, sql)).map_err(|error| error.to_string());
        let told = told.expect_err("two thresholds");
        assert!(told.contains("give it one parameter"), "{told}");
    }
}
