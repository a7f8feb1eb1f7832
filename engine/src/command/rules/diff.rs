//! `rules diff`: which alerts of logs of the past another version of rules gains, loses and moves.
//!
//! Each set of rules has a pass of its own over the files. An alert is known again by its rule, by what its case is about
//! and by its day; a case's uid would not do, because it is made of the time at which the case began.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::table;
use super::trial::{self, Trial, TrialArgs, day, is_silent, place, rules_at};
use crate::alert::Alert;
use crate::command::Failure;
use crate::rule::RuleSet;

/// Alerts kept of each set, about 500 bytes each; a set with more is refused, because a comparison of a part tells nothing.
const ALERTS_MAX: usize = 200_000;

/// Options of `rules diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch rules diff rules my-rules --from access.log.xz
  tollwatch rules diff export_flood.sql new/export_flood.sql --from monday.log.gz tuesday.log.gz --json

Rules of any status speak here, and one that is silent in one set only is told as changed.
Exit codes: 0 the same alerts, 1 other alerts or an error, 2 wrong usage.")]
pub struct DiffArgs {
    /// The rules as they are: a file (.sql), a folder of such, or the name of a shipped one
    pub old: PathBuf,
    /// The rules as they would be
    pub new: PathBuf,
    /// Differences shown at most; --json has all
    #[arg(long, default_value_t = 40, value_name = "N")]
    pub limit: usize,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// What is read.
    #[command(flatten)]
    pub trial: TrialArgs,
}

/// By what an alert is known again; the order is that of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    day: String,
    rule: String,
    about: String,
    is_update: bool,
}

/// One alert of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    /// Event time and position of what triggered it.
    at: (i64, (String, i32, i64)),
    place: String,
    says: Says,
}

/// What a reader of the alert is told, and whether there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Says {
    title: String,
    severity_id: u8,
    silent: bool,
}

impl Says {
    /// The first thing in which it is another.
    fn other_than(&self, other: &Says) -> &'static str {
        match () {
            () if self.silent != other.silent => " (status)",
            () if self.severity_id != other.severity_id => " (severity)",
            () => " (title)",
        }
    }
}

/// An alert before and after.
#[derive(Debug)]
enum Change {
    Gained(Told),
    Lost(Told),
    /// The same case, with another triggering event.
    Moved(Told, Told),
    /// The same event, with another title, severity or status.
    Changed(Told, Told),
}

/// What differs, and what doesn't.
#[derive(Debug, Default)]
struct Difference {
    n_same: usize,
    changes: Vec<(Key, Change)>,
}

/// Runs the command: 1 when the alerts differ.
///
/// # Errors
/// A rule is wrong, a file can't be read, or there are too many alerts to compare.
pub fn run(args: &DiffArgs) -> Result<u8, Failure> {
    // Both before either is run: a fault is told at once.
    let lookups = args.trial.lookups.as_deref();
    let (old, new) = (
        rules_at(&[&args.old], lookups)?,
        rules_at(&[&args.new], lookups)?,
    );
    super::faults(&std::sync::Arc::new(new.clone()))?;
    let (before, _) = told(args, &old)?;
    let (after, trial) = told(args, &new)?;
    let difference = compare(before, after);
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", report(&difference, &trial))?,
        false => show(args, &difference, &trial, &mut out)?,
    }
    Ok(u8::from(!difference.changes.is_empty()))
}

type Alerts = BTreeMap<Key, Vec<Told>>;

fn told(args: &DiffArgs, rules: &RuleSet) -> Result<(Alerts, Trial), Failure> {
    let (mut alerts, mut n) = (Alerts::new(), 0);
    let trial = trial::run(&args.trial, rules, |alert| {
        n += 1;
        if ALERTS_MAX < n {
            return Err(format!(
                "there are more than {ALERTS_MAX} alerts to compare: give fewer files, or rules that alert less"
            )
            .into());
        }
        let rule = rules.get(&alert.rule);
        let silent = rule.is_some_and(|rule| is_silent(rule.header.status));
        let (key, told) = taken(alert, silent);
        alerts.entry(key).or_default().push(told);
        Ok(())
    })?;
    Ok((alerts, trial))
}

fn taken(alert: &Alert, silent: bool) -> (Key, Told) {
    let key = Key {
        day: day(alert.time_ms),
        rule: alert.rule.clone(),
        about: alert.about.clone(),
        is_update: alert.activity_id != 1,
    };
    let says = Says {
        title: alert.title.clone(),
        severity_id: alert.severity_id,
        silent,
    };
    let told = Told {
        at: (alert.time_ms, alert.position.clone()),
        place: place(alert),
        says,
    };
    (key, told)
}

fn compare(mut old: Alerts, mut new: Alerts) -> Difference {
    let keys: BTreeSet<Key> = old.keys().chain(new.keys()).cloned().collect();
    let mut difference = Difference::default();
    for key in keys {
        let (old, new) = (old.remove(&key), new.remove(&key));
        difference.pair(&key, old.unwrap_or_default(), new.unwrap_or_default());
    }
    difference
}

impl Difference {
    /// Pairs the alerts of one key: those of one event first, then what is left in the order of time.
    fn pair(&mut self, key: &Key, mut old: Vec<Told>, mut new: Vec<Told>) {
        old.sort_by(|a, b| a.at.cmp(&b.at));
        new.sort_by(|a, b| a.at.cmp(&b.at));
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        let (mut lost, mut gained) = (Vec::new(), Vec::new());
        while let (Some(before), Some(after)) = (old.peek(), new.peek()) {
            match before.at.cmp(&after.at) {
                std::cmp::Ordering::Less => lost.extend(old.next()),
                std::cmp::Ordering::Greater => gained.extend(new.next()),
                std::cmp::Ordering::Equal => match (old.next(), new.next()) {
                    (Some(before), Some(after)) if before.says != after.says => {
                        self.changes
                            .push((key.clone(), Change::Changed(before, after)));
                    }
                    _ => self.n_same += 1,
                },
            }
        }
        let mut lost = lost.into_iter().chain(old);
        let mut gained = gained.into_iter().chain(new);
        loop {
            let change = match (lost.next(), gained.next()) {
                (Some(before), Some(after)) => Change::Moved(before, after),
                (Some(before), None) => Change::Lost(before),
                (None, Some(after)) => Change::Gained(after),
                (None, None) => break,
            };
            self.changes.push((key.clone(), change));
        }
    }

    /// How many changes of that name, of one rule or of all.
    fn count(&self, name: &str, rule: Option<&str>) -> usize {
        let of = |(key, change): &&(Key, Change)| {
            change.name() == name && rule.is_none_or(|rule| key.rule == rule)
        };
        self.changes.iter().filter(of).count()
    }
}

impl Change {
    const NAMES: [&str; 4] = ["gained", "lost", "moved", "changed"];

    fn name(&self) -> &'static str {
        match self {
            Change::Gained(_) => "gained",
            Change::Lost(_) => "lost",
            Change::Moved(..) => "moved",
            Change::Changed(..) => "changed",
        }
    }

    fn sides(&self) -> (Option<&Told>, Option<&Told>) {
        match self {
            Change::Gained(after) => (None, Some(after)),
            Change::Lost(before) => (Some(before), None),
            Change::Moved(before, after) | Change::Changed(before, after) => {
                (Some(before), Some(after))
            }
        }
    }
}

fn report(difference: &Difference, trial: &Trial) -> Value {
    let side = |told: Option<&Told>| {
        told.map(|told| {
            json!({
                "time": told.at.0, "place": told.place, "title": told.says.title,
                "severity_id": told.says.severity_id, "silent": told.says.silent,
            })
        })
    };
    let changes = difference.changes.iter().map(|(key, change)| {
        let (old, new) = change.sides();
        json!({
            "change": change.name(), "day": key.day, "rule": key.rule, "about": key.about,
            "update": key.is_update, "old": side(old), "new": side(new),
        })
    });
    let mut report = trial.as_json();
    report["same"] = json!(difference.n_same);
    for name in Change::NAMES {
        report[name] = json!(difference.count(name, None));
    }
    report["changes"] = changes.collect();
    report
}

fn show(
    args: &DiffArgs,
    difference: &Difference,
    trial: &Trial,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let changes = &difference.changes;
    if !changes.is_empty() {
        let mut shown = table(&["rule", "gained", "lost", "moved", "changed"]);
        let rules: BTreeSet<&str> = changes.iter().map(|(key, _)| key.rule.as_str()).collect();
        for rule in rules {
            let counts = Change::NAMES.map(|name| difference.count(name, Some(rule)).to_string());
            shown.add_row(std::iter::once(rule.to_owned()).chain(counts));
        }
        writeln!(out, "{shown}\n")?;
        let mut shown = table(&["", "day", "old", "new", "alert"]);
        for (key, change) in changes.iter().take(args.limit) {
            let (old, new) = change.sides();
            let place = |told: Option<&Told>| told.map_or("-".to_owned(), |t| t.place.clone());
            let title = new.or(old).map_or("", |told| &told.says.title);
            let update = if key.is_update { " (update)" } else { "" };
            let what = match change {
                Change::Changed(before, after) => before.says.other_than(&after.says),
                _ => "",
            };
            shown.add_row([
                change.name().to_owned(),
                key.day.clone(),
                place(old),
                place(new),
                format!("{}: {title}{update}{what}", key.rule),
            ]);
        }
        writeln!(out, "{shown}\n")?;
        if args.limit < changes.len() {
            let n_more = changes.len() - args.limit;
            writeln!(out, "and {n_more} more; --limit or --json shows them")?;
        }
    }
    let counts = Change::NAMES.map(|name| format!("{} {name}", difference.count(name, None)));
    writeln!(
        out,
        "{} alerts the same, {}",
        difference.n_same,
        counts.join(", ")
    )?;
    writeln!(out, "{}", trial.closing())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alerts of one case of a rule on one day: event times, and what each says.
    fn alerts(told: &[(i64, &str)]) -> Alerts {
        let told = told.iter().map(|(time_ms, title)| Told {
            at: (*time_ms, ("file:log".to_owned(), 0, *time_ms)),
            place: String::new(),
            says: Says {
                title: (*title).to_owned(),
                severity_id: 2,
                silent: false,
            },
        });
        let key = Key {
            day: "2026-01-05".to_owned(),
            rule: "r".to_owned(),
            about: "mallory".to_owned(),
            is_update: false,
        };
        BTreeMap::from([(key, told.collect())])
    }

    #[test]
    fn alerts_are_paired_by_event_first_and_then_by_time() {
        type Case<'a> = (
            &'a [(i64, &'a str)],
            &'a [(i64, &'a str)],
            usize,
            &'a [&'a str],
        );
        let table: [Case<'_>; 6] = [
            (&[(1, "t")], &[(1, "t")], 1, &[]),
            (&[], &[(1, "t")], 0, &["gained"]),
            (&[(1, "t"), (2, "t")], &[(2, "t")], 1, &["lost"]),
            (&[(5, "t"), (9, "t")], &[(3, "t"), (9, "t")], 1, &["moved"]),
            (&[(1, "t")], &[(1, "u")], 0, &["changed"]),
            // Two alerts of one event are two alerts.
            (&[(1, "t"), (1, "t")], &[(1, "t")], 1, &["lost"]),
        ];
        for (old, new, n_same, names) in table {
            let difference = compare(alerts(old), alerts(new));
            let got: Vec<_> = difference.changes.iter().map(|(_, c)| c.name()).collect();
            assert_eq!(
                (difference.n_same, &got[..]),
                (n_same, names),
                "{old:?} {new:?}"
            );
        }
    }
}
