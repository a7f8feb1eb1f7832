//! The `tollwatch` command.

use std::process::ExitCode;

use clap::Parser;
use engine::command::{Cli, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    engine::telemetry::log(cli.log_filter(), cli.log_json);
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
