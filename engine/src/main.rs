//! The `tollwatch` command.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use engine::command::{Cli, run, with_causes};

fn main() -> ExitCode {
    let cli = Cli::parse();
    engine::telemetry::log(cli.log_filter(), cli.log_json);
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Where nobody can be told, the exit code still is: `eprintln!` would panic.
            let _ = writeln!(std::io::stderr(), "error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
