//! Measures decoding: `cargo run --release -p connectors --example decode_speed -- FILE [FORMAT] [LINES_MAX]`.
//!
//! Prints nanoseconds per record, the mean size of a record, and how many were rejected. One thread; the file is read beforehand.

use std::time::Instant;

use connectors::file::{self, Line, Lines};
use connectors::format::{Decoder, Format, SourceRecord};

const BATCH_RECORDS: usize = 4_096;
const N_PASSES: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: decode_speed FILE [FORMAT] [LINES_MAX]")?;
    let format: Format = arguments.next().as_deref().unwrap_or("auto").parse()?;
    let n_lines_max: usize = arguments.next().as_deref().unwrap_or("100000").parse()?;
    let mut payloads = Vec::new();
    for line in Lines::new(file::open(path.as_ref())?.reader).take(n_lines_max) {
        if let Line::Bytes { bytes, .. } = line? {
            payloads.push(bytes);
        }
    }
    // A short file is repeated, so that there is something to measure.
    let n_once = payloads.len().max(1);
    let payloads: Vec<_> = payloads
        .into_iter()
        .cycle()
        .take(n_once.max(n_lines_max))
        .collect();
    let records: Vec<_> = (0..)
        .zip(&payloads)
        .map(|(offset, payload)| SourceRecord {
            payload,
            offset,
            broker_time_ms: None,
        })
        .collect();
    let n_bytes: usize = payloads.iter().map(Vec::len).sum();
    for pass in 1..=N_PASSES {
        let mut decoder = Decoder::new(format);
        let started = Instant::now();
        let (mut n_events, mut n_rejects) = (0, 0);
        for records in records.chunks(BATCH_RECORDS) {
            let decoded = decoder.decode(records);
            n_events += decoded.batch.num_rows();
            n_rejects += decoded.rejects.len();
        }
        let elapsed_ns = started.elapsed().as_nanos() as f64;
        let n_records = records.len() as f64;
        println!(
            "pass {pass}: {:.0} ns/record, {:.0} bytes/record, {:.2} GB/s, {n_events} events, {n_rejects} rejects",
            elapsed_ns / n_records,
            n_bytes as f64 / n_records,
            n_bytes as f64 / elapsed_ns,
        );
    }
    Ok(())
}
