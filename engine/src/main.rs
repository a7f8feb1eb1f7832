//! The `tollwatch` command.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use engine::command::{Cli, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    engine::telemetry::log(cli.log_filter(), cli.log_json);
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Where nobody can be told, the exit code still is: `eprintln!` would panic.
            let _ = tell(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn tell(error: &dyn Error) -> std::io::Result<()> {
    let mut to = std::io::stderr().lock();
    writeln!(to, "error: {error}")?;
    let mut source = error.source();
    while let Some(cause) = source {
        writeln!(to, "  because: {cause}")?;
        source = cause.source();
    }
    Ok(())
}
