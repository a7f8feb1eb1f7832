//! What it costs: the whole way and each step of it, beside a bare consume-and-parse.
//!
//! `README.md` says how to repeat the published figures. Every subcommand prints one line for people,
//! or one JSON object with `--json`.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod floor;
mod formats;
mod generate;
mod json;
mod lanes;
mod rules;
mod state;
mod traffic;
mod usage;
mod way;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Benchmarks of tollwatch.
#[derive(Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Creates a topic and fills it with Kong http-log records, the same ones each time.
    Generate(generate::GenerateConfig),
    /// Consumes and parses such a topic and does nothing else: the floor under every other figure.
    Floor(floor::FloorConfig),
    /// Decodes such records in memory, with a typed struct and into Arrow.
    Json(json::JsonConfig),
    /// Decodes records of every format in memory, into Arrow.
    Formats(formats::FormatsConfig),
    /// Takes such records through every stage in memory: what one call costs where.
    Lanes(lanes::LanesConfig),
    /// Takes such records through every stage with more and more rules.
    Rules(rules::RulesConfig),
    /// Saves and puts back lanes of very many identities: what snapshots cost.
    State(state::StateConfig),
    /// Runs the service over such a topic, from gateway log to alert, beside the floor.
    Way(way::WayConfig),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Generate(config) => generate::run(&config),
        Command::Floor(config) => floor::run(&config),
        Command::Json(config) => json::run(&config),
        Command::Formats(config) => formats::run(&config),
        Command::Lanes(config) => lanes::run(&config),
        Command::Rules(config) => rules::run(&config),
        Command::State(config) => state::run(&config),
        Command::Way(config) => way::run(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("bench: {cause}");
            ExitCode::FAILURE
        }
    }
}
