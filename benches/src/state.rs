//! What snapshots cost: one lane a stage that knows very many identities is saved, changed, saved again and put back.
//!
//! Each identity first calls some objects of its own; that state is saved whole. Then a share of them calls again, and
//! what changed is saved. `pause` is how long the lane stands still, `write` what the writer's thread needs for
//! encoding, compression and the local disk, `restore` what a new owner needs to have the lane as it was.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use connectors::format::{Format, SourceRecord};
use engine::command::{load_rules, resolver};
use engine::config::ModelConfig;
use engine::lane::{Lane, Outbox};
use engine::log::{Log, LogRecord};
use engine::rule::RuleSet;
use engine::stage;
use engine::stage::decode::{Decode, DecodeConfig};
use engine::state::keeper::{Chain, Restored, Save, restore, write};
use engine::state::{Place, StateError, Store};
use serde_json::json;

use crate::Result;
use crate::usage::Mark;

/// Records decoded at a time.
const RECORDS_PER_PUSH: usize = 2000;
const FINGERPRINT: &str = "bench";

/// How large the state is.
#[derive(Args)]
pub(crate) struct StateConfig {
    /// Identities; a million with four objects each take about 2 GB of memory for three lanes.
    #[arg(long, default_value_t = 1_000_000)]
    identities: usize,
    /// Objects each of them calls.
    #[arg(long, default_value_t = 4)]
    objects: usize,
    /// Print a JSON object for each lane.
    #[arg(long)]
    json: bool,
}

struct Lanes {
    decode: Decode,
    lanes: Vec<(Log, Lane)>,
    next: i64,
    offsets: Vec<i64>,
    record: Vec<Vec<u8>>,
}

impl Lanes {
    fn new(models: &ModelConfig, rules: &Arc<RuleSet>) -> Result<Lanes> {
        let decode = DecodeConfig {
            format: Format::Combined.into(),
            resolver: resolver(None, false)?,
            templates: Arc::default(),
            enrichment: Arc::default(),
            privacy: Arc::default(),
            partitions: 1,
        };
        let lanes = Log::ALL
            .into_iter()
            .map(|log| Ok((log, fresh(log, models, rules)?)));
        Ok(Lanes {
            decode: Decode::new("bench".into(), 0, decode),
            lanes: lanes.collect::<std::result::Result<_, StateError>>()?,
            next: 0,
            offsets: vec![0; Log::ALL.len()],
            record: Vec::new(),
        })
    }

    fn call(&mut self, identity: usize, object: usize) -> Result<()> {
        let at = self.next / 1000 % 86_400;
        let (hour, minute, second) = (at / 3600, at / 60 % 60, at % 60);
        self.next += 1;
        self.record.push(
            format!(
                "192.0.2.7 - u{identity} [05/Jan/2026:{hour:02}:{minute:02}:{second:02} +0000] \
                 \"GET /orders/{object} HTTP/1.1\" 200 512 \"-\" \"bench\""
            )
            .into_bytes(),
        );
        if self.record.len() == RECORDS_PER_PUSH {
            self.push()?;
        }
        Ok(())
    }

    fn push(&mut self) -> Result<()> {
        let lines = std::mem::take(&mut self.record);
        let first = self.next - lines.len() as i64;
        let records: Vec<SourceRecord<'_>> = (first..)
            .zip(&lines)
            .map(|(offset, payload)| SourceRecord {
                payload,
                offset,
                broker_time_ms: None,
            })
            .collect();
        let mut out = Outbox::default();
        let pushed = self.decode.push(&records, 0, &mut out)?;
        if !pushed.rejects.is_empty() {
            return Err("a record was rejected".into());
        }
        self.decode.flush(&mut out)?;
        let mut records: Vec<(usize, LogRecord)> = out.records;
        let (mut summaries, mut raised) = (Vec::new(), Vec::new());
        for ((log, lane), offset) in self.lanes.iter_mut().zip(&mut self.offsets) {
            if *log == Log::Endpoints {
                records = std::mem::take(&mut summaries);
            }
            if *log == Log::Judgements {
                records.append(&mut raised);
            }
            let mut out = Outbox::default();
            for (_, record) in &records {
                lane.feed(*offset, record, &mut out)?;
                *offset += 1;
            }
            lane.flush(&mut out);
            records = out.records;
            summaries.extend(out.summaries);
            raised.extend(out.raised);
        }
        Ok(())
    }
}

fn fresh(
    log: Log,
    models: &ModelConfig,
    rules: &Arc<RuleSet>,
) -> std::result::Result<Lane, StateError> {
    let stage = stage::of(log, models, rules, 1).map_err(|faults| StateError::Encode {
        stage: "bench",
        source: format!("{faults:?}").into(),
    })?;
    Ok(Lane::new(stage, log.name().into(), 0))
}

/// Builds the state, saves it, changes it, saves what changed, and puts it back.
pub(crate) fn run(config: &StateConfig) -> Result<()> {
    let models = ModelConfig {
        warm_up_hours: 0.0,
        state_bytes_max: 16 << 30,
        identities_max: 4 * config.identities.max(1000),
        ..ModelConfig::default()
    };
    let rules = load_rules(None, None)?;
    let folder = std::env::temp_dir().join(format!("bench-state-{}", std::process::id()));
    let store = Store::folder(&folder)?;
    let mut lanes = Lanes::new(&models, &rules)?;
    for at in 0..config.objects {
        for identity in 0..config.identities {
            lanes.call(identity, identity * config.objects + at)?;
        }
    }
    lanes.push()?;
    let mut chains: Vec<Option<Chain>> = lanes.lanes.iter().map(|_| None).collect();
    save(config, &store, &mut lanes, &mut chains, "full")?;
    // As many calls as a lane takes in half a minute at a few thousand a second.
    for call in 0..100_000 {
        let identity = call * 7919 % config.identities;
        lanes.call(identity, identity * config.objects + call % config.objects)?;
    }
    lanes.push()?;
    save(config, &store, &mut lanes, &mut chains, "changes")?;
    drop(lanes);
    let started = Mark::now()?;
    for log in Log::ALL {
        let began = Instant::now();
        let restored: Restored<Lane> = restore(
            &store,
            &place(log),
            FINGERPRINT,
            Some(i64::MAX),
            0,
            || fresh(log, &models, &rules),
            Lane::load,
        )?;
        if restored.chain.offset().is_none() {
            return Err(format!("{} was not put back", log.name()).into());
        }
        let seconds = began.elapsed().as_secs_f64();
        let n_entries = restored.lane.stage().state().n_entries;
        if config.json {
            println!(
                "{}",
                json!({ "bench": "restore", "log": log.name(), "entries": n_entries, "seconds": seconds })
            );
        } else {
            println!(
                "restore of the lane over {}: {n_entries} entries in {seconds:.2} s",
                log.name()
            );
        }
    }
    let used = started.until_now()?;
    if !config.json {
        println!(
            "all three, one after the other: {:.2} s, {:.2} CPU-s",
            used.seconds, used.cpu_seconds
        );
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn place(log: Log) -> Place {
    Place::new("bench", log.name(), 0)
}

fn save(
    config: &StateConfig,
    store: &Store,
    lanes: &mut Lanes,
    chains: &mut [Option<Chain>],
    what: &str,
) -> Result<()> {
    for (((log, lane), offset), chain) in lanes.lanes.iter_mut().zip(&lanes.offsets).zip(chains) {
        let held = match chain.take() {
            Some(chain) => chain,
            None => {
                let claim = store.claim(&place(*log), FINGERPRINT, 0)?;
                Chain::new(place(*log), FINGERPRINT, &claim, Vec::new())
            }
        };
        let size = lane.stage().state();
        let since = held.since();
        let began = Instant::now();
        let (image, epoch) = lane.save(since)?;
        let pause_ms = began.elapsed().as_secs_f64() * 1000.0;
        let started = Mark::now()?;
        let saved = write(
            store,
            Save {
                chain: held,
                image,
                is_full: since.is_none(),
                epoch,
                offset: *offset,
                committed: *offset,
                now_ms: 0,
            },
            3,
        );
        let n_bytes = saved.done?;
        *chain = Some(saved.chain);
        let used = started.until_now()?;
        let per_identity = n_bytes as f64 / config.identities as f64;
        if config.json {
            println!(
                "{}",
                json!({
                    "bench": "snapshot", "log": log.name(), "what": what, "entries": size.n_entries,
                    "state_bytes": size.bytes, "pause_ms": pause_ms, "bytes": n_bytes,
                    "bytes_per_identity": per_identity, "seconds": used.seconds, "cpu_seconds": used.cpu_seconds,
                })
            );
        } else {
            println!(
                "{what} snapshot of the lane over {}: {} entries, {} MiB of tables; pause {pause_ms:.1} ms; {:.1} MB, \
                 {per_identity:.0} B an identity, written in {:.2} s, {:.2} CPU-s",
                log.name(),
                size.n_entries,
                size.bytes >> 20,
                n_bytes as f64 / 1e6,
                used.seconds,
                used.cpu_seconds
            );
        }
    }
    Ok(())
}
