//! JSON alone: the records of `traffic`, in memory, decoded by the means we might use.
//!
//! Both ways take the same eleven fields: a typed, borrowing struct by `sonic-rs`, and Arrow arrays by `arrow-json`.
//! One thread; the best of several rounds counts, since every disturbance only adds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow_json::ReaderBuilder;
use clap::Args;
use serde_json::json;

use crate::Result;
use crate::floor::KongRecord;
use crate::traffic::{Traffic, TrafficConfig};

const BATCH_ROWS: usize = 8192;

/// How much is decoded and how often.
#[derive(Args)]
pub(crate) struct JsonConfig {
    /// Records; a million take 1 GB of memory.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    traffic: TrafficConfig,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Records one after another, a line each.
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// Where each line ends, behind its newline.
    ends: Vec<usize>,
}

impl Lines {
    /// The first records of the traffic.
    pub(crate) fn of(config: &TrafficConfig, n: usize) -> Lines {
        let mut traffic = Traffic::new(config);
        let mut lines = Lines {
            bytes: Vec::new(),
            ends: Vec::with_capacity(n),
        };
        for _ in 0..n {
            traffic.write(&mut lines.bytes);
            lines.bytes.push(b'\n');
            lines.ends.push(lines.bytes.len());
        }
        lines
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Each without its newline.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.bytes[start..end - 1])
    }
}

/// Decodes the same records both ways and prints what one costs.
pub(crate) fn run(config: &JsonConfig) -> Result<()> {
    let lines = Lines::of(&config.traffic, config.events);
    let schema = Arc::new(schema());
    let (mut typed_ns, mut arrow_ns) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..config.rounds {
        typed_ns = typed_ns.min(ns_per_record(config, || typed(&lines))?);
        arrow_ns = arrow_ns.min(ns_per_record(config, || into_arrow(&lines, &schema))?);
    }
    let mean_bytes = lines.bytes.len() as f64 / config.events as f64 - 1.0;
    if config.json {
        println!(
            "{}",
            json!({
                "bench": "json", "events": config.events, "mean_bytes": mean_bytes, "rounds": config.rounds,
                "sonic_typed_ns": typed_ns, "arrow_json_ns": arrow_ns,
            })
        );
    } else {
        println!(
            "json, {} records of {mean_bytes:.0} B, best of {}: sonic-rs typed {typed_ns:.0} ns, \
             arrow-json {arrow_ns:.0} ns per record",
            config.events, config.rounds
        );
    }
    Ok(())
}

/// Runs `decode` once, and holds it to the number of records.
fn ns_per_record(config: &JsonConfig, decode: impl FnOnce() -> Result<usize>) -> Result<f64> {
    let start = Instant::now();
    let n_decoded = decode()?;
    let elapsed = start.elapsed();
    if n_decoded != config.events {
        return Err(format!("{n_decoded} of {} records decoded", config.events).into());
    }
    Ok(elapsed.as_nanos() as f64 / n_decoded as f64)
}

/// Parses every record into the floor's struct.
pub(crate) fn typed(lines: &Lines) -> Result<usize> {
    let (mut n_decoded, mut weight) = (0, 0_u64);
    for line in lines.iter() {
        weight = weight.wrapping_add(sonic_rs::from_slice::<KongRecord<'_>>(line)?.weight());
        n_decoded += 1;
    }
    black_box(weight);
    Ok(n_decoded)
}

fn into_arrow(lines: &Lines, schema: &Arc<Schema>) -> Result<usize> {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(BATCH_ROWS)
        .build_decoder()?;
    let (mut rest, mut n_decoded) = (&lines.bytes[..], 0);
    loop {
        // Stops behind the last byte of a full batch.
        let n_taken = decoder.decode(rest)?;
        rest = &rest[n_taken..];
        match decoder.flush()? {
            Some(batch) => n_decoded += black_box(batch).num_rows(),
            None => return Ok(n_decoded),
        }
    }
}

/// The fields of `KongRecord`; `arrow-json` skips what is not named.
fn schema() -> Schema {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let number = |name| Field::new(name, DataType::Int64, true);
    let object =
        |name, fields: Vec<Field>| Field::new(name, DataType::Struct(Fields::from(fields)), true);
    Schema::new(vec![
        object("request", vec![text("method"), text("uri"), number("size")]),
        object("response", vec![number("status"), number("size")]),
        object(
            "latencies",
            vec![number("request"), number("proxy"), number("kong")],
        ),
        object("consumer", vec![text("id")]),
        text("client_ip"),
        number("started_at"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_decode_every_record() -> Result<()> {
        for escape_slashes in [false, true] {
            let traffic = TrafficConfig {
                seed: 1,
                escape_slashes,
            };
            let config = JsonConfig {
                events: 20_000,
                rounds: 1,
                traffic,
                json: false,
            };
            let lines = Lines::of(&config.traffic, config.events);
            assert_eq!(typed(&lines)?, 20_000);
            assert_eq!(into_arrow(&lines, &Arc::new(schema()))?, 20_000);
        }
        Ok(())
    }
}
