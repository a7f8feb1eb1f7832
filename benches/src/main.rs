//! What it costs: bare consume-and-parse beside which everything else is measured, and JSON decoding alone.
//!
//! `README.md` says how to repeat the published figures. Every subcommand prints one line for people,
//! or one JSON object with `--json`.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod floor;
mod generate;
mod json;
mod traffic;
mod usage;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Benchmarks of tollwatch.
#[derive(Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

// `lanes` (each lane alone, in memory) and `way` (gateway log to alert, through a broker) belong here.
#[derive(Subcommand)]
enum Command {
    /// Creates a topic and fills it with Kong http-log records, the same ones each time.
    Generate(generate::GenerateConfig),
    /// Consumes and parses such a topic and does nothing else: the floor under every other figure.
    Floor(floor::FloorConfig),
    /// Decodes such records in memory, with a typed struct and into Arrow.
    Json(json::JsonConfig),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Generate(config) => generate::run(&config),
        Command::Floor(config) => floor::run(&config),
        Command::Json(config) => json::run(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("bench: {cause}");
            ExitCode::FAILURE
        }
    }
}
