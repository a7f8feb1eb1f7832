//! What further rules cost: the whole way in memory with the shipped rules alone, and beside so many more.
//!
//! The further rules are simple ones, in four shapes by turns, each with constants of its own so that nothing but what their authors
//! would share is shared: a filter of columns, a search for a text in the path, a threshold of an identity in five
//! minutes, and distinct objects of an identity in an hour.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use engine::command::rules::faults;
use engine::config::ModelConfig;
use engine::rule::{Rule, RuleSet};
use serde_json::json;

use crate::Result;
use crate::json::Lines;
use crate::lanes;
use crate::traffic::TrafficConfig;

/// How many rules, over how much.
#[derive(Args)]
pub(crate) struct RulesConfig {
    /// Records; a million take 1 GB of memory for themselves and about as much for the logs.
    #[arg(long, default_value_t = 300_000)]
    events: usize,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Numbers of further rules.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000])]
    rules: Vec<usize>,
    #[command(flatten)]
    traffic: TrafficConfig,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// The shipped rules and `n` simple ones.
///
/// # Errors
/// One has a fault, which would be one of this file.
pub(crate) fn with_simple(n: usize) -> Result<RuleSet> {
    with_shipped((0..n).map(|i| (format!("simple_{i}.sql"), simple(i))))
}

/// The shipped rules and others, by file and text.
///
/// # Errors
/// One has a fault.
pub(crate) fn with_shipped(others: impl Iterator<Item = (String, String)>) -> Result<RuleSet> {
    let shipped = RuleSet::shipped().rules;
    let mut rules: Vec<Rule> = shipped.iter().map(|rule| rule.as_ref().clone()).collect();
    for (path, text) in others {
        let parsed = Rule::parse(Path::new(&path), &text);
        rules.push(parsed.map_err(|faults| faults[0].to_string())?);
    }
    Ok(RuleSet::new(rules).map_err(|faults| faults[0].to_string())?)
}

fn simple(i: usize) -> String {
    let select = match i % 4 {
        0 => format!(
            "SELECT identity, endpoint FROM events WHERE method = 'DELETE' AND status = {} AND request_bytes > {i}",
            400 + i % 100
        ),
        1 => {
            format!("SELECT identity, endpoint FROM events WHERE lower(path) LIKE '%secret-{i}%'")
        }
        2 => format!(
            "SELECT identity, window_start, window_end, count(*) AS calls FROM TUMBLE(events, event_time, INTERVAL '5 minutes') WHERE status >= {} GROUP BY identity, window_start, window_end HAVING count(*) > {}",
            400 + i % 100,
            1_000_000 + i
        ),
        _ => format!(
            "SELECT identity, window_start, window_end, count(DISTINCT object) AS objects FROM TUMBLE(events, event_time, INTERVAL '1 hour') WHERE method = 'PATCH' AND response_bytes > {i} GROUP BY identity, window_start, window_end HAVING count(DISTINCT object) > {}",
            90_000 + i
        ),
    };
    format!(
        "/*---\nschema: rule/v1\nid: 00000000-0000-4000-8000-{i:012}\nname: simple_{i}\nversion: 1\ntitle: simple\nstatus: test\nseverity: low\ndescription: measured\n---*/\n{select}\n"
    )
}

/// Takes the same records through all steps, with more and more rules.
pub(crate) fn run(config: &RulesConfig) -> Result<()> {
    let lines = Lines::of(&config.traffic, config.events);
    let models = ModelConfig {
        warm_up_hours: 0.0,
        ..ModelConfig::default()
    };
    let mut sets = vec![(0, Arc::new(RuleSet::shipped()), 0.0)];
    for n in &config.rules {
        let started = Instant::now();
        let set = Arc::new(with_simple(*n)?);
        faults(&set)?;
        sets.push((*n, set, started.elapsed().as_secs_f64()));
    }
    let mut best = vec![f64::INFINITY; sets.len()];
    // Each round has every set, so that a slow moment of the machine is not that of one of them.
    for _ in 0..config.rounds {
        for ((_, set, _), best) in sets.iter().zip(&mut best) {
            *best = best.min(lanes::whole_ns(&lines, &models, set)? / config.events as f64);
        }
    }
    if config.json {
        let rows = sets.iter().zip(&best).map(|((n, _, load_s), ns)| {
            json!({ "rules": n, "ns_per_event": ns, "times": ns / best[0], "load_s": load_s })
        });
        let rows: Vec<serde_json::Value> = rows.collect();
        println!(
            "{}",
            json!({ "bench": "rules", "events": config.events, "rounds": config.rounds, "sets": rows })
        );
        return Ok(());
    }
    println!(
        "{} events, best of {} rounds, one thread: decode, profile, own and judge",
        config.events, config.rounds
    );
    println!(
        "{:>14} {:>14} {:>12} {:>8} {:>22}",
        "further rules", "ns per event", "events/s", "times", "read and compiled in s"
    );
    for ((n, _, load_s), ns) in sets.iter().zip(&best) {
        println!(
            "{n:>14} {ns:>14.0} {:>12.0} {:>8.2} {load_s:>22.2}",
            1e9 / ns,
            ns / best[0]
        );
    }
    Ok(())
}
