//! `rules`: lists, checks and tests rules; [`import_sigma`] makes them. The workbench, for whoever writes one: [`backtest`],
//! [`diff`], [`docs`] and [`explain`].

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

pub mod backtest;
pub mod diff;
pub mod docs;
pub mod explain;
pub mod functions;
pub mod scored;
pub mod trial;

use super::import_sigma::{self, ImportArgs};
use super::{Failure, RuleFaults, load_rules, plain_table};
use crate::config::ModelConfig;
use crate::rule::{RuleSet, loops, run_tests};
use crate::stage::correlating::ALERTS;
use crate::stage::{catalog, compile};

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Lists the rules
    List(RulesArgs),
    /// Checks every rule and tells all faults at once; exit code 1 when there are any
    Check(RulesArgs),
    /// Runs the tests in the rules' headers; exit code 1 when one fails
    Test(RulesArgs),
    /// Runs rules over files: alerts by day and identity, and where the first are
    Backtest(Box<backtest::BacktestArgs>),
    /// Compares two sets of rules over files; exit code 1 when the alerts differ
    Diff(Box<diff::DiffArgs>),
    /// Writes a Markdown page a rule, and an index
    Docs(docs::DocsArgs),
    /// Shows a rule's plan, keys, columns and state, on which formats it is blind, and what it costs on files
    Explain(explain::RuleArgs),
    /// Shows the functions rules may call
    Functions(functions::FunctionsArgs),
    /// Makes rules of Sigma's for web servers and proxies; exit code 1 when one can't be converted
    ImportSigma(ImportArgs),
}

/// Options of `rules`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch rules test
  tollwatch rules check my-rules --json")]
pub struct RulesArgs {
    /// Folder of rules (.sql); the shipped ones when absent
    pub dir: Option<PathBuf>,
    /// The same; DIR wins where both are given
    #[arg(long, env = "TOLLWATCH_RULES")]
    pub rules: Option<PathBuf>,
    /// Folder of lookup tables (.csv, .parquet) that rules join with; none when absent
    #[arg(long, value_name = "DIR", env = "TOLLWATCH_LOOKUPS")]
    pub lookups: Option<PathBuf>,
    /// Prints JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

impl RulesArgs {
    fn folder(&self) -> Option<&Path> {
        self.dir.as_deref().or(self.rules.as_deref())
    }
}

/// Runs the command.
///
/// # Errors
/// The rules can't be read.
pub fn run(command: &RulesCommand) -> Result<u8, Failure> {
    match command {
        RulesCommand::List(args) => list(args),
        RulesCommand::Check(args) => check(args),
        RulesCommand::Test(args) => test(args),
        RulesCommand::Backtest(args) => backtest::run(args),
        RulesCommand::Diff(args) => diff::run(args),
        RulesCommand::Docs(args) => docs::run(args),
        RulesCommand::Explain(args) => explain::run(args),
        RulesCommand::Functions(args) => functions::run(args),
        RulesCommand::ImportSigma(args) => import_sigma::run(args),
    }
}

pub(super) fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = plain_table();
    table.set_header(header.to_vec());
    table
}

fn list(args: &RulesArgs) -> Result<u8, Failure> {
    let rules = load_rules(args.folder(), args.lookups.as_deref())?;
    let mut shown = table(&["rule", "version", "status", "severity", "title"]);
    let mut listed = Vec::new();
    for rule in &rules.rules {
        let header = &rule.header;
        let (status, severity) = (header.status.as_str(), header.severity.as_str());
        shown.add_row([
            &header.name,
            &header.version.to_string(),
            status,
            severity,
            &header.title,
        ]);
        listed.push(json!({
            "name": header.name, "id": header.id, "version": header.version, "status": status,
            "severity": severity, "title": header.title, "tags": header.tags,
            "hash": format!("{:016x}", rule.hash),
        }));
    }
    if args.json {
        println!("{}", json!({ "rules": listed }))
    } else {
        println!("{shown}")
    }
    Ok(0)
}

/// Every fault of the rules: of their files, and of what they ask of the streams.
///
/// # Errors
/// The faults.
pub fn faults(rules: &std::sync::Arc<RuleSet>) -> Result<(), RuleFaults> {
    let mut all = Vec::new();
    for fault in catalog()
        .tables()
        .filter_map(|table| compile(&ModelConfig::default(), rules, table).err())
        .flatten()
    {
        // A rule that cannot be planned belongs to no table, so each of them tells it.
        if !all.contains(&fault) {
            all.push(fault);
        }
    }
    let catalog = catalog().with_lookups(&rules.lookups);
    all.extend(loops::faults(rules, &catalog, ALERTS));
    if all.is_empty() {
        Ok(())
    } else {
        Err(RuleFaults(all))
    }
}

fn check(args: &RulesArgs) -> Result<u8, Failure> {
    let loaded = load_rules(args.folder(), args.lookups.as_deref());
    let checked = loaded.and_then(|rules| faults(&rules).map(|()| rules.rules.len()));
    match (checked, args.json) {
        (Ok(n), true) => println!("{}", json!({ "rules": n, "faults": [] })),
        (Ok(n), false) => println!("{n} rules, no faults"),
        (Err(RuleFaults(faults)), json) => {
            if json {
                let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
                println!("{}", json!({ "faults": told }));
            } else {
                faults.iter().for_each(|fault| eprintln!("{fault}"));
            }
            return Ok(1);
        }
    }
    Ok(0)
}

fn test(args: &RulesArgs) -> Result<u8, Failure> {
    let rules = load_rules(args.folder(), args.lookups.as_deref())?;
    let mut shown = table(&["rule", "test", "result"]);
    let (mut outcomes, mut n_failed) = (Vec::new(), 0);
    for rule in &rules.rules {
        let tests = run_tests(rule, &catalog().with_lookups(&rules.lookups));
        if tests.is_empty() {
            n_failed += 1;
            shown.add_row([rule.header.name.as_str(), "-", "has no tests"]);
            outcomes.push(
                json!({ "rule": rule.header.name, "passed": false, "message": "has no tests" }),
            );
        }
        for outcome in tests {
            let failure = outcome.failure.as_deref();
            n_failed += usize::from(failure.is_some());
            shown.add_row([
                rule.header.name.as_str(),
                &outcome.test,
                failure.unwrap_or("passed"),
            ]);
            outcomes.push(json!({
                "rule": rule.header.name, "test": outcome.test, "passed": failure.is_none(),
                "message": failure,
            }));
        }
    }
    if args.json {
        println!("{}", json!({ "tests": outcomes, "failed": n_failed }));
    } else {
        println!("{shown}\n{} tests, {n_failed} failed", outcomes.len());
    }
    Ok(u8::from(n_failed > 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rule::Rule;

    #[test]
    fn a_fault_is_told_once_for_all_tables() {
        let text = "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: r\nversion: 1\ntitle: t\nstatus: test\nseverity: low\ndescription: d\n---*/\nSELECT whom FROM events";
        let rule = Rule::parse(Path::new("r.sql"), text).unwrap();
        let rules = Arc::new(RuleSet::new(vec![rule]).unwrap());
        let told = faults(&rules).unwrap_err();
        assert_eq!(told.0.len(), 1, "{told}");
    }

    #[test]
    fn a_folder_without_rules_is_a_fault() {
        let dir = std::env::temp_dir().join(format!("tollwatch-no-rules-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let told = load_rules(Some(&dir), None).unwrap_err().to_string();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(told.contains("no rules in "), "{told}");
    }
}
