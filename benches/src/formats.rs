//! Every decoder alone, and a mapping beside nginx': records of its format, in memory, into Arrow.
//!
//! The records are those of `tests/corpus`, written for the tests: of each format those that decode whole, over and over. One
//! thread; the best of several rounds counts, since every disturbance only adds. A short record costs more a byte than a long one of
//! the same format, so compare formats by records of like length.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use connectors::event::DecodedBatch;
use connectors::format::{Decoder, Format, SourceRecord, formats};
use engine::mapping::{Mapping, MappingConfig, Reader, SourceFormat};
use serde_json::json;

use crate::Result;

const BATCH_ROWS: usize = 8192;

/// What an nginx log in JSON means, in SQL: as many fields as its usual line has.
const MAPPING: [(&str, &str); 16] = [
    (
        "event_time",
        "coalesce(nullif(json_get(raw, 'msec'), ''), json_get(raw, 'time_iso8601'))",
    ),
    (
        "method",
        "coalesce(json_get(raw, 'request_method'), json_get(raw, 'method'))",
    ),
    ("path", "json_get(raw, 'request_uri')"),
    ("scheme", "json_get(raw, 'scheme')"),
    ("host", "json_get(raw, 'host')"),
    ("status", "json_get(raw, 'status')"),
    ("request_bytes", "json_get(raw, 'request_length')"),
    ("response_bytes", "json_get(raw, 'body_bytes_sent')"),
    (
        "latency_us",
        "try_cast(json_get(raw, 'request_time') AS double) * 1000000",
    ),
    ("client_ip", "json_get(raw, 'remote_addr')"),
    (
        "user_agent",
        "coalesce(json_get(raw, 'http_user_agent'), json_get(raw, 'user_agent'))",
    ),
    ("jwt_sub", "json_get(raw, 'jwt_sub')"),
    ("service", "json_get(raw, 'upstream_addr')"),
    ("request_id", "json_get(raw, 'request_id')"),
    ("referer", "json_get(raw, 'referer')"),
    (
        "response_content_type",
        "json_get(raw, 'sent_content_type')",
    ),
];

/// How much is decoded and how often.
#[derive(Args)]
pub(crate) struct FormatsConfig {
    /// Records of each format and round.
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Has each record's format found out instead of given.
    #[arg(long)]
    auto: bool,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// One format's figures.
struct Figures {
    name: &'static str,
    n_records: usize,
    mean_bytes: f64,
    ns: f64,
}

impl Figures {
    /// Megabytes a second.
    fn mb_per_second(&self) -> f64 {
        self.mean_bytes / self.ns * 1000.0
    }
}

/// Decodes the records of each format and prints what one costs.
pub(crate) fn run(config: &FormatsConfig) -> Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let mut all = Vec::new();
    for (name, ..) in formats() {
        let format: Format = name.parse()?;
        let records = whole(&corpus.join(name), format)?;
        if records.is_empty() {
            return Err(format!("tests/corpus/{name} has no record that decodes whole").into());
        }
        let format = if config.auto { Format::Auto } else { format };
        let n_bytes: usize = records.iter().map(Vec::len).sum();
        let mut readers = vec![(name, Reader::Known(Decoder::new(format)))];
        if name == "nginx" {
            readers.push(("nginx by mapping", Reader::new(&mapping()?)));
        }
        for (name, mut reader) in readers {
            let mut ns = f64::INFINITY;
            for _ in 0..config.rounds {
                let mut decode = |records: &[SourceRecord<'_>]| reader.decode(records);
                ns = ns.min(ns_per_record(&records, &mut decode, config.events)?);
            }
            all.push(Figures {
                name,
                n_records: records.len(),
                mean_bytes: n_bytes as f64 / records.len() as f64,
                ns,
            });
        }
    }
    if config.json {
        let formats = all.iter().map(|one| {
            json!({ "format": one.name, "records": one.n_records, "mean_bytes": one.mean_bytes, "ns": one.ns, "mb_per_second": one.mb_per_second() })
        });
        println!(
            "{}",
            json!({ "bench": "formats", "events": config.events, "rounds": config.rounds, "auto": config.auto, "formats": formats.collect::<Vec<_>>() })
        );
        return Ok(());
    }
    println!("format               bytes    ns a record    MB/s");
    for one in &all {
        println!(
            "{:<18} {:>7.0} {:>14.0} {:>7.0}",
            one.name,
            one.mean_bytes,
            one.ns,
            one.mb_per_second()
        );
    }
    Ok(())
}

fn mapping() -> Result<SourceFormat> {
    let config = MappingConfig {
        fields: MAPPING
            .map(|(field, sql)| (field.to_owned(), sql.to_owned()))
            .into(),
        ..MappingConfig::default()
    };
    let mapping = Mapping::compile("nginx-by-mapping", &config)?;
    Ok(SourceFormat::Mapped(Arc::new(mapping)))
}

/// The records of a folder that give one event each.
fn whole(folder: &Path, format: Format) -> Result<Vec<Vec<u8>>> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        format!(
            "{}: {error}; run it from the project's own build",
            folder.display()
        )
    })?;
    let mut paths: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    paths.sort();
    let mut records = Vec::new();
    for path in paths {
        let bytes = std::fs::read(&path)?;
        let record = SourceRecord {
            payload: &bytes,
            offset: 0,
            broker_time_ms: None,
        };
        let decoded = Decoder::new(format).decode(&[record]);
        if decoded.positions.len() == 1 && decoded.rejects.is_empty() {
            records.push(bytes);
        }
    }
    Ok(records)
}

/// Decodes so many records once, and holds it to their number.
fn ns_per_record(
    records: &[Vec<u8>],
    decode: &mut dyn FnMut(&[SourceRecord<'_>]) -> DecodedBatch,
    n_events: usize,
) -> Result<f64> {
    let batch: Vec<SourceRecord<'_>> = (0..)
        .zip(records.iter().cycle().take(BATCH_ROWS))
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset,
            broker_time_ms: None,
        })
        .collect();
    let (mut n_decoded, start) = (0, Instant::now());
    while n_decoded < n_events {
        let decoded = decode(&batch);
        if decoded.positions.len() != batch.len() {
            return Err(format!(
                "{} of {} records decoded",
                decoded.positions.len(),
                batch.len()
            )
            .into());
        }
        n_decoded += decoded.positions.len();
    }
    Ok(start.elapsed().as_nanos() as f64 / n_decoded as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_records_that_decode_whole() -> Result<()> {
        for auto in [false, true] {
            run(&FormatsConfig {
                events: 1,
                rounds: 1,
                auto,
                json: true,
            })?;
        }
        Ok(())
    }
}
