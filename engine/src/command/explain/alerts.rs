//! Alerts derived again from their lines: equal or not, and the rows that made them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use connectors::file::{Line, Lines, open};
use models::idea::Ideas;
use serde_json::{Value, json};

use super::super::reading::{pipeline, read, source_of};
use super::super::{Failure, load_rules, plain_table};
use super::ExplainArgs;
use super::contributions::{Contributions, Pick, Watched};
use super::rows::{Row, as_json, place, shown, time};
use crate::alert::{Alert, FILE_PREFIX, clean};
use crate::rule::{RuleSet, reads};
use crate::stage::{Watcher, catalog};

/// Alerts explained at once, some 10 KB each and the rows they show.
const ALERTS_MAX: usize = 10_000;
/// Fields told of an alert that comes out otherwise.
const DIFFERENCES_MAX: usize = 20;

/// An alert that was given, and what became of it.
struct Given {
    line: String,
    alert: Value,
    file: String,
    line_number: i64,
    derived: Option<String>,
    /// True of a rule over what stages tell: it may speak long after the line it names.
    is_told_later: bool,
}

impl Given {
    fn parse(line: String) -> Result<Given, String> {
        let alert: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let position = &alert["unmapped"]["tollwatch"]["position"];
        if let Some(topic) = position["topic"].as_str() {
            let topic = clean(topic);
            return Err(format!(
                "was made from topic {topic}; only alerts that `replay` made from files can be derived again"
            ));
        }
        let (file, number) = (position["file"].as_str(), position["line"].as_i64());
        let (Some(file), Some(line_number), Some(_)) = (file, number, uid(&alert)) else {
            return Err("is no alert as `replay --alerts` writes them".to_owned());
        };
        let file = file.to_owned();
        Ok(Given {
            line,
            file,
            line_number,
            alert,
            derived: None,
            is_told_later: false,
        })
    }

    fn is_equal(&self) -> bool {
        self.derived.as_ref() == Some(&self.line)
    }

    fn window(&self) -> Option<(i64, i64)> {
        let window = &self.alert["unmapped"]["tollwatch"]["window"];
        window["start"].as_i64().zip(window["end"].as_i64())
    }

    /// True when nothing that comes later can be this alert: one of an identity comes from one lane, and one without a
    /// window in the round of its line.
    fn is_settled(&self, source: &str, last: i64) -> bool {
        let of_identity = self.alert["actor"]["user"]["uid"].is_string();
        let is_past = source == self.source() && self.line_number <= last;
        self.is_equal()
            || (of_identity && self.derived.is_some())
            || (self.window().is_none() && !self.is_told_later && is_past)
    }

    fn source(&self) -> String {
        format!("{FILE_PREFIX}{}", self.file)
    }

    /// The rows that made it, to be looked for.
    fn contributions(&self, rules: &RuleSet, limit: usize) -> Result<Contributions, Failure> {
        let name = self.alert["finding_info"]["analytic"]["uid"].as_str();
        let rule = name.and_then(|name| rules.get(name)).ok_or_else(|| {
            let name = clean(name.unwrap_or("-"));
            format!("no rule is called {name}; give the folder with --rules")
        })?;
        let reads = reads(rule, &catalog().with_lookups(&rules.lookups))?;
        let probes = reads.columns.iter().any(|c| c.starts_with("probe_"));
        let pick = match self.window() {
            Some((start_ms, end_ms)) if reads.table == "alerts" => Pick::Alerts(start_ms, end_ms),
            Some((start_ms, end_ms)) => Pick::Window(start_ms, end_ms),
            None if reads.table == "touches" => Pick::NotOwn,
            None if probes => Pick::Probes,
            None => Pick::Trigger,
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Contributions::new(
            Watched {
                table: reads.table,
                pick,
                identity: text(&self.alert["actor"]["user"]["uid"]),
                endpoint: text(&self.alert["resources"][0]["uid"]).unwrap_or_default(),
                since_ms: self.alert["finding_info"]["first_seen_time"]
                    .as_i64()
                    .unwrap_or(i64::MIN),
                source: self.source(),
                offset: self.line_number,
            },
            limit,
        ))
    }
}

fn uid(alert: &Value) -> Option<&str> {
    alert["metadata"]["uid"].as_str()
}

/// Derives the alerts again and shows them; 1 when one comes out otherwise or not at all.
pub(super) fn explain_alerts(args: &ExplainArgs, alerts: &Path) -> Result<u8, Failure> {
    let mut given = read_alerts(args, alerts)?;
    let (rules, lookups) = (&args.engine.rules, &args.engine.lookups);
    let rules = load_rules(rules.as_deref(), lookups.as_deref())?;
    let wanted = given
        .iter()
        .map(|given| given.contributions(&rules, args.limit))
        .collect::<Result<Vec<_>, _>>()?;
    for (given, rows) in given.iter_mut().zip(&wanted) {
        given.is_told_later = !matches!(rows.table(), "events" | "touches");
    }
    let rows = derive(args, &mut given, wanted)?;
    let n_equal = given.iter().filter(|given| given.is_equal()).count();
    let n_different = given.len() - n_equal;
    // Whoever closes it early, as `head` does, is an error and no panic.
    let mut out = std::io::stdout().lock();
    if args.json {
        let alerts: Vec<Value> = given.iter().zip(&rows).map(report).collect();
        let report = json!({ "alerts": alerts, "equal": n_equal, "different": n_different });
        writeln!(out, "{report}")?;
    } else {
        for (given, rows) in given.iter().zip(&rows) {
            show(given, rows, &mut out)?;
        }
        writeln!(
            out,
            "{n_equal} of {} alerts are equal byte for byte",
            given.len()
        )?;
    }
    Ok(u8::from(n_different != 0))
}

fn read_alerts(args: &ExplainArgs, path: &Path) -> Result<Vec<Given>, Failure> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let reader: Box<dyn BufRead> = match path == Path::new("-") {
        true => Box::new(BufReader::new(std::io::stdin())),
        false => open(path).map_err(failed)?.reader,
    };
    let mut given = Vec::new();
    for line in Lines::new(reader) {
        let (number, bytes) = match line.map_err(failed)? {
            Line::Bytes { number, bytes } => (number, bytes),
            Line::Oversized { number, .. } => (number, Vec::new()),
        };
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let alert = Given::parse(text)
            .map_err(|what| format!("line {number} of {}: {what}", path.display()))?;
        let case = alert.alert["finding_info"]["uid"].as_str();
        let asked = args.uid.as_deref().unwrap_or("");
        let is_asked_for = [uid(&alert.alert), case]
            .iter()
            .flatten()
            .any(|uid| uid.starts_with(asked));
        if is_asked_for {
            given.push(alert);
        }
        if ALERTS_MAX < given.len() {
            return Err(format!("more than {ALERTS_MAX} alerts; choose some with --uid").into());
        }
    }
    match (given.is_empty(), &args.uid) {
        (false, _) => Ok(given),
        (true, None) => Err(format!("no alerts in {}", path.display()).into()),
        (true, Some(uid)) => Err(format!("no alert of {} is {uid}", path.display()).into()),
    }
}

/// Reads the files until every alert is settled; the rows of each come back.
fn derive(
    args: &ExplainArgs,
    given: &mut [Given],
    wanted: Vec<Contributions>,
) -> Result<Vec<Contributions>, Failure> {
    let sources = sources(args, given)?;
    let mut pipeline = pipeline(&args.engine, &args.reading, Ideas::default())?;
    args.warm.learn(&mut pipeline)?;
    let rows = Arc::new(Mutex::new(super::contributions::Collector::new(wanted)));
    let noted = rows.clone();
    let watcher: Watcher = Arc::new(move |table, batch| {
        let mut rows = noted.lock().unwrap_or_else(PoisonError::into_inner);
        rows.note(table, batch);
    });
    pipeline.watch(Some(watcher));
    let mut by_uid = HashMap::<String, Vec<usize>>::new();
    for (at, given) in given.iter().enumerate() {
        let uid = uid(&given.alert).unwrap_or_default();
        by_uid.entry(uid.to_owned()).or_default().push(at);
    }
    let mut flow = ControlFlow::Continue(());
    for (path, source) in args.from.iter().zip(&sources) {
        flow = read(&mut pipeline, path, source, i64::MAX, |round, last| {
            compare(&round.alerts, &by_uid, given);
            let all = given.iter().all(|given| given.is_settled(source, last));
            Ok(match all {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        if flow.is_break() {
            break;
        }
    }
    if flow.is_continue() {
        compare(&pipeline.close()?.alerts, &by_uid, given);
    }
    pipeline.watch(None);
    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(rows.take())
}

/// The source of each file, as the alerts name it: who made them may have stood in another folder.
fn sources(args: &ExplainArgs, given: &[Given]) -> Result<Vec<String>, Failure> {
    let mut sources = Vec::<String>::new();
    for path in &args.from {
        let is_free = |given: &&Given| {
            let named = Path::new(&given.file);
            let is_moved = named.file_name() == path.file_name()
                && !args.from.iter().any(|from| from == named)
                && !sources.contains(&given.source());
            is_moved || named == path
        };
        let named = given.iter().find(is_free);
        sources.push(named.map_or_else(|| source_of(path), Given::source));
    }
    match given
        .iter()
        .find(|given| !sources.contains(&given.source()))
    {
        Some(missing) => Err(format!(
            "an alert was made from {}, which is not among the files of --from",
            clean(&missing.file)
        )
        .into()),
        None => Ok(sources),
    }
}

fn compare(alerts: &[Alert], by_uid: &HashMap<String, Vec<usize>>, given: &mut [Given]) {
    for alert in alerts {
        let value: Value = serde_json::from_str(&alert.json).unwrap_or_default();
        let at = uid(&value).and_then(|uid| by_uid.get(uid));
        for at in at.into_iter().flatten() {
            let given = &mut given[*at];
            // Lanes give an endpoint's alert one name: theirs is it if any is.
            if given.derived.is_none() || given.line == alert.json {
                given.derived = Some(alert.json.clone());
            }
        }
    }
}

/// Fields that differ: name, given, derived.
fn differences(given: &Value, derived: &Value, name: &str, found: &mut Vec<[String; 3]>) {
    if given == derived || DIFFERENCES_MAX <= found.len() {
        return;
    }
    match (given, derived) {
        (Value::Object(one), Value::Object(other)) => {
            let more = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(more) {
                let name = format!("{name}/{}", clean(key));
                differences(&given[key], &derived[key], &name, found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                differences(one, other, &format!("{name}/{at}"), found);
            }
        }
        _ => {
            let [given, derived] = [given, derived].map(|value| clean(&value.to_string()));
            found.push([name.to_owned(), given, derived]);
        }
    }
}

/// What differs between the alert and the one derived.
fn differing(given: &Given) -> Vec<[String; 3]> {
    let mut found = Vec::new();
    if let Some(derived) = &given.derived {
        let derived = serde_json::from_str(derived).unwrap_or_default();
        differences(&given.alert, &derived, "", &mut found);
    }
    found
}

/// In a sentence, whether it came out again.
fn outcome(given: &Given, n_fields: usize) -> &'static str {
    match (&given.derived, n_fields) {
        _ if given.is_equal() => "equal byte for byte",
        (None, _) => {
            "NOT DERIVED: these files, options and rules do not give it; --lanes, --rules, the knob and the files before must be those of its replay"
        }
        (Some(_), 0) => "DIFFERENT: the same fields in other bytes",
        (Some(_), _) => "DIFFERENT",
    }
}

/// The alert as derived, or as given where it was not.
fn told(given: &Given) -> Value {
    let derived = given.derived.as_deref();
    let derived = derived.and_then(|derived| serde_json::from_str(derived).ok());
    derived.unwrap_or_else(|| given.alert.clone())
}

fn report((given, rows): (&Given, &Contributions)) -> Value {
    let differing: Vec<Value> = differing(given)
        .into_iter()
        .map(
            |[field, given, derived]| json!({ "field": field, "given": given, "derived": derived }),
        )
        .collect();
    json!({
        "uid": uid(&given.alert), "outcome": outcome(given, differing.len()), "equal": given.is_equal(),
        "derived": given.derived.is_some(), "differences": differing, "alert": told(given),
        "contributions": as_json(rows.few()), "own_touches": rows.n_own(),
    })
}

fn show(given: &Given, rows: &Contributions, out: &mut impl Write) -> std::io::Result<()> {
    let alert = told(given);
    let text = |value: &Value| clean(value.as_str().unwrap_or("-"));
    let tollwatch = &alert["unmapped"]["tollwatch"];
    writeln!(out, "{}", text(&alert["message"]))?;
    writeln!(
        out,
        "  {} {} of rule {} at {}, {}",
        text(&alert["activity_name"]),
        text(&alert["metadata"]["uid"]),
        text(&alert["finding_info"]["analytic"]["uid"]),
        time(alert["time"].as_i64().unwrap_or_default()),
        place(&tollwatch["position"]),
    )?;
    for reason in tollwatch["reasons"].as_array().into_iter().flatten() {
        writeln!(out, "  - {}", text(reason))?;
    }
    let promise = &tollwatch["promise"];
    if promise.is_object() {
        writeln!(
            out,
            "  - the promise: {} false alerts per million events, so evidence alarms at {}",
            promise["false_alerts_per_million_events"], promise["alarm_at"]
        )?;
    }
    let (few, shown) = (rows.few(), rows.few().rows());
    match rows.table() {
        "touches" => writeln!(out, "{}", touches(&shown))?,
        "alerts" => writeln!(out, "{}", alerts(&shown))?,
        _ => writeln!(out, "{}", events(&shown))?,
    }
    let n_left_out = few.n() - shown.len();
    let own = match rows.n_own() {
        0 => String::new(),
        n => format!("; {n} touches of its own objects between them"),
    };
    let less = match n_left_out {
        0 => String::new(),
        n => format!(", {n} of them left out (--limit)"),
    };
    writeln!(out, "{} rows{less}{own}", few.n())?;
    let differing = differing(given);
    writeln!(out, "{}", outcome(given, differing.len()))?;
    for [field, given, derived] in &differing {
        writeln!(out, "  {field}: given {given}, derived {derived}")?;
    }
    writeln!(out,)?;
    Ok(())
}

fn touches(rows: &[&Row]) -> comfy_table::Table {
    let mut table = plain_table();
    table.set_header([
        "time",
        "line",
        "endpoint",
        "object",
        "category",
        "owner",
        "nats",
        "evidence",
        "sitting",
        "too long at",
    ]);
    for row in rows {
        let number = match row.contains_key("object_number") {
            true => shown(row, "object_number"),
            false => shown(row, "object"),
        };
        table.add_row([
            time(row["event_time"].as_i64().unwrap_or_default()),
            place(&row["position"]),
            shown(row, "endpoint"),
            format!("{} {number}", shown(row, "collection")),
            shown(row, "category"),
            shown(row, "object_owner"),
            shown(row, "surprise_nats"),
            shown(row, "evidence"),
            shown(row, "run_objects"),
            shown(row, "run_limit"),
        ]);
    }
    table
}

fn alerts(rows: &[&Row]) -> comfy_table::Table {
    let mut table = plain_table();
    table.set_header(["time", "line", "rule", "severity", "alert"]);
    for row in rows {
        table.add_row([
            time(row["event_time"].as_i64().unwrap_or_default()),
            place(&row["position"]),
            shown(row, "rule"),
            shown(row, "severity"),
            shown(row, "title"),
        ]);
    }
    table
}

fn events(rows: &[&Row]) -> comfy_table::Table {
    let mut table = plain_table();
    table.set_header([
        "time", "line", "method", "path", "status", "probe", "probes", "evidence",
    ]);
    for row in rows {
        table.add_row([
            time(row["event_time"].as_i64().unwrap_or_default()),
            place(&row["position"]),
            shown(row, "method"),
            shown(row, "path"),
            shown(row, "status"),
            shown(row, "probe_class"),
            shown(row, "probe_count"),
            shown(row, "probe_evidence"),
        ]);
    }
    table
}
