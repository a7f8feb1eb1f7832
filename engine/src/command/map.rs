//! `map`: a mapping proposed from samples, and what one makes of them.

use clap::Subcommand;

use super::Failure;

mod shown;
mod suggest;
mod test;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum MapCommand {
    /// Proposes a mapping for a log that no decoder knows, from its lines; prints TOML, and the evidence beside it
    Suggest(suggest::SuggestArgs),
    /// Shows what a mapping makes of the lines of a file: rows before and after, rejects, and which rules are blind
    Test(test::TestArgs),
}

/// Runs the command.
///
/// # Errors
/// A file can't be read, or the mapping is wrong.
pub fn run(command: &MapCommand) -> Result<u8, Failure> {
    match command {
        MapCommand::Suggest(args) => suggest::run(args),
        MapCommand::Test(args) => test::run(args),
    }
}
