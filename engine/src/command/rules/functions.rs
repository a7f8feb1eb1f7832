//! `rules functions`: what rules may call.

use std::io::{IsTerminal, Write};

use clap::Args;
use serde_json::json;

use super::table;
use crate::command::Failure;
use crate::rule::function::FUNCTIONS;
use crate::rule::plan::other_functions;

/// Options of `rules functions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch rules functions
  tollwatch rules functions --markdown
  tollwatch rules functions --json")]
pub struct FunctionsArgs {
    /// Prints Markdown, as in docs/rules.md
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Prints JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// Nothing can be written.
pub fn run(args: &FunctionsArgs) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    let others = other_functions();
    if args.json {
        let told = |f: &&crate::rule::function::Function| {
            json!({
                "name": f.name, "form": f.form, "gives": f.gives, "about": f.about,
                "example": f.example, "answer": f.answer,
            })
        };
        let own: Vec<_> = FUNCTIONS.iter().map(told).collect();
        writeln!(out, "{}", json!({ "functions": own, "datafusion": others }))?;
    } else if args.markdown {
        write!(out, "{}", markdown())?;
    } else {
        let mut shown = table(&["function", "gives", "about"]);
        if !out.is_terminal() {
            shown.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        }
        for f in FUNCTIONS {
            shown.add_row([f.form, f.gives, f.about]);
        }
        writeln!(out, "{shown}\n\nof DataFusion: {}", others.join(", "))?;
    }
    Ok(0)
}

/// The functions as the documentation shows them.
pub fn markdown() -> String {
    let mut text = "| function | gives | what | example |\n|---|---|---|---|\n".to_owned();
    let cell = |text: &str| text.replace('|', "\\|");
    for f in FUNCTIONS {
        text.push_str(&format!(
            "| `{}` | {} | {} | `{}` is `{}` |\n",
            cell(f.form),
            f.gives,
            cell(f.about),
            cell(f.example),
            cell(f.answer)
        ));
    }
    let others: Vec<String> = other_functions()
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    text.push_str("\nAnd these of DataFusion: ");
    text.push_str(&others.join(", "));
    text.push_str(".\n");
    text
}
