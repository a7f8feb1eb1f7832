//! `rules import-sigma`: makes rules of Sigma's.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;
use serde_json::json;

use super::Failure;
use super::rules::{faults, table};
use crate::rule::{Rule, RuleFault, RuleSet, Status};
use crate::sigma::{Converted, Outcome, Refused, convert};

/// Bytes of one file; SigmaHQ's longest for the web has 8 KiB. A longer one is not read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files read in one go; the whole of SigmaHQ has 4,000. Beyond, nothing is read.
const FILES_MAX: usize = 20_000;

/// Options of `rules import-sigma`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch rules import-sigma web_sql_injection.yml > sigma_sql_injection.sql
  tollwatch rules import-sigma sigma/rules/web sigma/rules-emerging-threats --out my-rules
  tollwatch rules import-sigma sigma/rules/web --out my-rules --status stable && tollwatch rules check my-rules

Without --out one rule goes to standard output, and of several it is only told what they would become.
Exit codes: 0 all converted, 1 some not, 2 wrong usage.")]
pub struct ImportArgs {
    /// Files of Sigma rules, correlations and filters, and folders of such (.yml, .yaml); what belongs together is given together
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// Folder the rules are written to, one file each
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Writes over rules of the same name
    #[arg(long, requires = "out")]
    pub overwrite: bool,
    /// Status of every rule, instead of its own: experimental, test, stable, deprecated; in `test`, as most of SigmaHQ's are, a
    /// rule runs and never alerts
    #[arg(long, value_parser = status)]
    pub status: Option<Status>,
    /// Prints JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

fn status(text: &str) -> Result<Status, String> {
    let read: Result<Status, Error> = Status::deserialize(text.into_deserializer());
    read.map_err(|error| error.to_string())
}

/// Runs the command.
///
/// # Errors
/// A path can't be read, or the folder can't be made.
pub fn run(args: &ImportArgs) -> Result<u8, Failure> {
    let mut paths = Vec::new();
    args.paths
        .iter()
        .try_for_each(|path| list(path, &mut paths))?;
    if paths.is_empty() {
        return Err(
            "there is no .yml or .yaml file to import: name files, or folders that hold some"
                .into(),
        );
    }
    let (mut texts, mut unread) = (Vec::new(), Vec::new());
    for path in &paths {
        let file = path.display().to_string();
        match read(path) {
            Ok(text) => texts.push((file, text)),
            Err(reason) => unread.push(Refused::new(&file, "", &reason)),
        }
    }
    let mut outcome = convert(&texts, args.status);
    outcome.refused.extend(unread);
    let made = std::mem::take(&mut outcome.converted);
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let mut statuses = Vec::new();
    for rule in made {
        let written = checked(&rule).and_then(|status| match &args.out {
            Some(folder) => write(folder, &rule, args.overwrite).map(|()| status),
            None => Ok(status),
        });
        match written {
            Ok(status) => {
                statuses.push(status);
                outcome.converted.push(rule);
            }
            Err(reason) => outcome
                .refused
                .push(Refused::new(&rule.file, &rule.title, &reason)),
        }
    }
    let n_silent = statuses
        .iter()
        .filter(|status| matches!(status, Status::Test | Status::Deprecated))
        .count();
    tell(args, &outcome, n_silent)?;
    Ok(u8::from(!outcome.refused.is_empty()))
}

/// The files of a path, in the order of their names.
fn list(path: &Path, into: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    if FILES_MAX <= into.len() {
        return Err(
            format!("there are more than {FILES_MAX} files: import folders one by one").into(),
        );
    }
    if !path.is_dir() {
        into.push(path.to_owned());
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let kind = entry.file_type().map_err(failed)?;
        let path = entry.path();
        let is_yaml = path
            .extension()
            .is_some_and(|end| end == "yml" || end == "yaml");
        // Links to folders are not followed: they can lead in circles.
        if kind.is_dir() || (is_yaml && !path.is_dir()) {
            list(&path, into)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if FILE_BYTES_MAX < text.len() as u64 {
        return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())
}

/// The status of a rule that passes what `rules check` asks.
fn checked(rule: &Converted) -> Result<Status, String> {
    let told = |faults: &[RuleFault]| {
        let first = faults.first().map_or("", |fault| fault.message.as_str());
        format!("`rules check` would refuse it: {first}")
    };
    let path = PathBuf::from(format!("{}.sql", rule.name));
    let parsed = Rule::parse(&path, &rule.text).map_err(|faults| told(&faults))?;
    let status = parsed.header.status;
    let set = RuleSet::new(vec![parsed]).map_err(|faults| told(&faults))?;
    faults(&Arc::new(set)).map_err(|faults| told(&faults.0))?;
    Ok(status)
}

fn write(folder: &Path, rule: &Converted, overwrite: bool) -> Result<(), String> {
    let path = folder.join(format!("{}.sql", rule.name));
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .create_new(!overwrite);
    let written = options
        .open(&path)
        .and_then(|mut file| file.write_all(rule.text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!(
            "{} is there already: --overwrite replaces it",
            path.display()
        ),
        _ => format!("cannot write {}: {error}", path.display()),
    })
}

fn tell(args: &ImportArgs, outcome: &Outcome, n_silent: usize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if args.json {
        let converted: Vec<_> = outcome.converted.iter().map(|rule| json!({ "file": rule.file, "title": rule.title, "rule": rule.name, "notes": rule.notes })).collect();
        let refused: Vec<_> = outcome
            .refused
            .iter()
            .map(|one| json!({ "file": one.file, "title": one.title, "reason": one.reason }))
            .collect();
        let absorbed: Vec<_> = outcome
            .absorbed
            .iter()
            .map(|one| json!({ "file": one.file, "title": one.title, "part_of": one.of }))
            .collect();
        let told = json!({ "converted": converted, "not_converted": refused, "parts": absorbed, "silent": n_silent });
        return Ok(writeln!(out, "{told}")?);
    }
    let mut shown = table(&["title", "became", "remark"]);
    for rule in &outcome.converted {
        shown.add_row([&rule.title, &rule.name, &rule.notes.join("; ")]);
    }
    for one in &outcome.absorbed {
        shown.add_row([&one.title, "part of", &one.of]);
    }
    for one in &outcome.refused {
        let title = if one.title.is_empty() {
            &one.file
        } else {
            &one.title
        };
        shown.add_row([title, "NOT CONVERTED", &one.reason]);
    }
    let counts = format!(
        "{} converted, {} not, {} part of others",
        outcome.converted.len(),
        outcome.refused.len(),
        outcome.absorbed.len()
    );
    match (&args.out, outcome.converted.as_slice()) {
        (None, [rule]) => {
            write!(out, "{}", rule.text)?;
            eprintln!("{shown}\n{counts}");
        }
        (None, _) => writeln!(
            out,
            "{shown}\n{counts}; nothing is written, --out names a folder for them"
        )?,
        (Some(folder), _) => writeln!(out, "{shown}\n{counts}; written to {}", folder.display())?,
    }
    if 0 < n_silent {
        eprintln!(
            "{n_silent} have a status in which a rule runs and never alerts: --status gives them another"
        );
    }
    Ok(())
}
