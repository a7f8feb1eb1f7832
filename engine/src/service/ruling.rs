//! The rules that are wanted, and the folders they and their lookup tables are read from again.
//!
//! A thread looks at the folder every few seconds. Once what it holds has stood still from one look to the next it is read and
//! compiled; a set with a fault is told and leaves the one before it in force. A good one becomes the *wanted* set, and
//! each lane's owner writes it into the lane's own log: the lane switches where it reads it there, so that a replay
//! switches at the same place. What can't be read, or is refused, is told once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::{ServiceError, Shared, looking};
use crate::command::{RuleFaults, load_rules};
use crate::config::Config;
use crate::log::VALUE_BYTES_MAX;
use crate::rule::texts::TextsError;
use crate::rule::{RuleSet, RuleTexts};
use crate::telemetry::OutcomeLabel;

/// Faults of one set that are told; `rules check` tells them all.
const FAULTS_MAX: usize = 8;

/// A set of rules, and how a log carries it.
pub(super) struct Wanted {
    pub(super) rules: Arc<RuleSet>,
    pub(super) hash: u64,
    pub(super) encoded: Vec<u8>,
}

impl Wanted {
    /// # Errors
    /// There are more rules than a log's record takes.
    pub(super) fn new(rules: Arc<RuleSet>) -> Result<Arc<Wanted>, TextsError> {
        let texts = RuleTexts::of(&rules);
        Ok(Arc::new(Wanted {
            rules,
            hash: texts.hash(),
            encoded: texts.encode(VALUE_BYTES_MAX)?,
        }))
    }
}

/// The wanted set, for all threads.
pub(super) struct Ruling(Mutex<Arc<Wanted>>);

impl Ruling {
    pub(super) fn new(wanted: Arc<Wanted>) -> Ruling {
        Ruling(Mutex::new(wanted))
    }

    pub(super) fn wanted(&self) -> Arc<Wanted> {
        let wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.clone()
    }

    fn want(&self, wanted: Arc<Wanted>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }
}

/// Looks at the folders until the service ends; nothing when there are none, or they are not to be read again.
///
/// # Errors
/// The thread can't be started.
pub(super) fn start(shared: &Arc<Shared>) -> Result<(), ServiceError> {
    let config = &shared.config;
    match (&config.rules, &config.lookups) {
        (None, None) => Ok(()),
        _ => looking::start(shared, "rules", look, reload),
    }
}

/// A hash of the names and texts of the rules, and of the names, lengths and times of the lookup tables; one of its own for what
/// can't be read.
fn look(config: &Config) -> u64 {
    let mut hash = Xxh3Default::new();
    for path in config.rules.as_deref().map(files).unwrap_or_default() {
        if path.extension().is_some_and(|e| e == "sql") {
            let text = std::fs::read(&path).unwrap_or_default();
            hash.update(&xxh3_64(path.as_os_str().as_encoded_bytes()).to_le_bytes());
            hash.update(&xxh3_64(&text).to_le_bytes());
        }
    }
    for path in config.lookups.as_deref().map(files).unwrap_or_default() {
        looking::add(&mut hash, &path);
    }
    hash.digest()
}

/// The files of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

fn reload(shared: &Shared) {
    let config = &shared.config;
    let outcome = match set(config.rules.as_deref(), config.lookups.as_deref()) {
        Ok(wanted) if wanted.hash == shared.ruling.wanted().hash => return,
        Ok(wanted) => {
            let old = shared.ruling.wanted();
            let (added, changed, removed) = difference(&old.rules, &wanted.rules);
            tracing::info!(
                hash = format!("{:016x}", wanted.hash),
                n_rules = wanted.rules.rules.len(),
                ?added,
                ?changed,
                ?removed,
                "new rules: lanes switch to them behind what their logs hold now"
            );
            shared.ruling.want(wanted);
            "taken"
        }
        Err(faults) => {
            let (told, more) = faults.split_at(faults.len().min(FAULTS_MAX));
            tracing::error!(
                faults = told.join("; "),
                n_more = more.len(),
                "new rules are refused, those before stay in force; `tollwatch rules check` tells every fault"
            );
            "refused"
        }
    };
    let label = OutcomeLabel { outcome };
    shared.metrics.rule_reloads.get_or_create(&label).inc();
}

/// The set of the folders, compiled once to see that it can be.
fn set(rules: Option<&Path>, lookups: Option<&Path>) -> Result<Arc<Wanted>, Vec<String>> {
    let told = |faults: RuleFaults| faults.0.iter().map(ToString::to_string).collect::<Vec<_>>();
    let rules = load_rules(rules, lookups).map_err(told)?;
    crate::command::rules::faults(&rules).map_err(told)?;
    Wanted::new(rules).map_err(|error| vec![error.to_string()])
}

/// Names of the rules that are new, that changed, and that are gone.
fn difference<'a>(
    old: &'a RuleSet,
    new: &'a RuleSet,
) -> (Vec<&'a str>, Vec<&'a str>, Vec<&'a str>) {
    let (mut added, mut changed) = (Vec::new(), Vec::new());
    for rule in &new.rules {
        let name = rule.header.name.as_str();
        match old.get(name) {
            None => added.push(name),
            Some(before) if before.hash != rule.hash => changed.push(name),
            Some(_) => (),
        }
    }
    let gone = old.rules.iter().map(|rule| rule.header.name.as_str());
    let gone = gone.filter(|name| new.get(name).is_none());
    (added, changed, gone.collect())
}
