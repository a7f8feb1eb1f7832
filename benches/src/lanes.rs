//! Each step of the way alone, in memory, on one thread: what one call costs there.
//!
//! The records of `traffic` are parsed (the floor's typed struct), decoded to Arrow by the connector,
//! then taken through the stages, each over everything the one before it wrote. Stages keep state,
//! so every round starts with fresh ones; the best round counts, since every disturbance only adds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use connectors::format::{Decoder, Format, SourceRecord};
use engine::command::{load_rules, resolver};
use engine::config::ModelConfig;
use engine::lane::{Lane, Outbox};
use engine::log::{self, Log, LogRecord};
use engine::rule::RuleSet;
use engine::stage::Stage;
use engine::stage::decode::{Decode, DecodeConfig};
use engine::stage::govern::Govern;
use engine::stage::judge::Judging;
use engine::stage::own::Own;
use engine::stage::profile::Profile;
use serde_json::json;

use crate::Result;
use crate::json::{Lines, typed};
use crate::traffic::TrafficConfig;

/// Records decoded at a time, as many as `run` takes from Kafka at a time.
const RECORDS_PER_PUSH: usize = 2000;

/// How much is taken through, and how often.
#[derive(Args)]
pub(crate) struct LanesConfig {
    /// Records; a million take 1 GB of memory for themselves and about as much for the logs.
    #[arg(long, default_value_t = 500_000)]
    events: usize,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Hours of event time before touches are judged; the traffic spans a minute, so 0 judges all of it.
    #[arg(long, default_value_t = 0.0)]
    warm_up_hours: f64,
    #[command(flatten)]
    traffic: TrafficConfig,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// One step: its name, best time in ns, and the rows it took.
struct Step {
    name: &'static str,
    ns: f64,
    n_rows: usize,
}

/// Takes the same records through every step and prints what one call costs there.
pub(crate) fn run(config: &LanesConfig) -> Result<()> {
    let lines = Lines::of(&config.traffic, config.events);
    let models = ModelConfig {
        warm_up_hours: config.warm_up_hours,
        ..ModelConfig::default()
    };
    let rules = load_rules(None, None)?;
    let mut best: Vec<Step> = Vec::new();
    for _ in 0..config.rounds {
        let steps = round(&lines, &models, &rules)?;
        if best.is_empty() {
            best = steps;
            continue;
        }
        for (best, step) in best.iter_mut().zip(steps) {
            best.ns = best.ns.min(step.ns);
        }
    }
    report(config, &best);
    Ok(())
}

/// Nanoseconds that records take from their bytes through every stage, on one thread.
///
/// # Errors
/// A record can't be decoded, or a rule has a fault.
pub(crate) fn whole_ns(lines: &Lines, models: &ModelConfig, rules: &Arc<RuleSet>) -> Result<f64> {
    let stages = ["decode", "profile", "own", "judge"];
    let steps = round(lines, models, rules)?.into_iter();
    Ok(steps
        .filter(|step| stages.contains(&step.name))
        .map(|step| step.ns)
        .sum())
}

fn round(lines: &Lines, models: &ModelConfig, rules: &Arc<RuleSet>) -> Result<Vec<Step>> {
    let n = lines.len();
    let mut steps = Vec::new();
    let mut step = |name, n_rows, started: Instant| {
        let ns = started.elapsed().as_nanos() as f64;
        steps.push(Step { name, ns, n_rows });
    };
    let started = Instant::now();
    assert_eq!(typed(lines)?, n, "every record parses");
    step("parse alone", n, started);

    let records: Vec<SourceRecord<'_>> = (0..)
        .zip(lines.iter())
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset,
            broker_time_ms: None,
        })
        .collect();
    let mut decoder = Decoder::new(Format::Kong);
    let started = Instant::now();
    for records in records.chunks(RECORDS_PER_PUSH) {
        black_box(decoder.decode(records));
    }
    step("connector", n, started);

    let decode_config = DecodeConfig {
        format: Format::Kong.into(),
        resolver: resolver(None, false)?,
        templates: Arc::default(),
        enrichment: Arc::default(),
        privacy: Arc::default(),
        partitions: 1,
    };
    let mut decode = Decode::new("kong".into(), 0, decode_config);
    let mut events = Outbox::default();
    let started = Instant::now();
    for records in records.chunks(RECORDS_PER_PUSH) {
        let pushed = decode.push(records, 0, &mut events)?;
        assert_eq!(pushed.rejects.len(), 0, "every record decodes");
    }
    decode.flush(&mut events)?;
    step("decode", n, started);

    let started = Instant::now();
    let mut n_bytes = 0;
    for (_, record) in &events.records {
        let value = log::encode(&record.batch)?;
        n_bytes += value.len();
        black_box(log::decode(Log::Events, &value)?);
    }
    step("events log, there and back", n, started);
    black_box(n_bytes);

    let profile = Profile::new(models, rules, 1).map_err(engine::command::RuleFaults)?;
    let judge = Judging::new(models, rules).map_err(engine::command::RuleFaults)?;
    let mut feed = |name, stage: Box<dyn Stage>, records: &[(usize, LogRecord)]| {
        let n_rows = records.iter().map(|(_, r)| r.batch.num_rows()).sum();
        let mut lane = Lane::new(stage, "log".into(), 0);
        let mut out = Outbox::default();
        let started = Instant::now();
        for (offset, (_, record)) in (0..).zip(records) {
            lane.feed(offset, record, &mut out)?;
        }
        lane.flush(&mut out);
        step(name, n_rows, started);
        Ok::<_, engine::stage::StageError>(out)
    };
    let touches = feed("profile", Box::new(profile), &events.records)?;
    let judgements = feed("own", Box::new(Own::new(models, 1)), &touches.records)?;
    black_box(feed("judge", Box::new(judge), &judgements.records)?);
    black_box(feed(
        "govern",
        Box::new(Govern::new(models, rules).map_err(engine::command::RuleFaults)?),
        &touches.summaries,
    )?);
    Ok(steps)
}

fn report(config: &LanesConfig, steps: &[Step]) {
    let per_event = |step: &Step| step.ns / config.events as f64;
    let parse = steps.first().map_or(f64::NAN, per_event);
    if config.json {
        let steps: serde_json::Map<String, serde_json::Value> = steps
            .iter()
            .map(|step| {
                let of = json!({ "ns_per_event": per_event(step), "rows": step.n_rows, "ns_per_row": step.ns / step.n_rows as f64 });
                (step.name.to_owned(), of)
            })
            .collect();
        println!(
            "{}",
            json!({ "bench": "lanes", "events": config.events, "rounds": config.rounds, "steps": steps })
        );
        return;
    }
    println!(
        "{} events, best of {} rounds, one thread",
        config.events, config.rounds
    );
    println!(
        "{:<28} {:>12} {:>14} {:>10} {:>12} {:>8}",
        "step", "ns per event", "events/s", "rows", "ns per row", "x parse"
    );
    for step in steps {
        println!(
            "{:<28} {:>12.0} {:>14.0} {:>10} {:>12.0} {:>8.2}",
            step.name,
            per_event(step),
            1e9 / per_event(step),
            step.n_rows,
            step.ns / step.n_rows as f64,
            per_event(step) / parse
        );
    }
}
