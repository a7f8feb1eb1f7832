//! Rules in SQL: the shipped detections and the users' own, in one form.
//!
//! In come batches of a table (`events`, `touches`), out come [`Finding`]s. The way of a rule: file → [`header`] → [`plan`]
//! (DataFusion parses, resolves, coerces and optimises) → [`compile`] (the plan becomes our push operators, or is refused
//! in words its author can act on) → [`runner`] (once per lane and table) → [`case`].
//!
//! **Invariant:** results do not depend on where the log was cut into batches. Expressions are evaluated batch by batch,
//! state is folded row by row in log order, and the watermark is that of the row.
//!
//! Must not know: where batches come from, what becomes of a finding, the clock.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use models::identity::is_unprintable;

pub mod aggregate;
mod aggregating;
pub mod case;
pub mod check;
pub mod compile;
pub mod distinct;
pub mod finding;
mod frames;
pub mod function;
pub mod having;
pub mod header;
mod input;
mod limit;
pub mod lookup;
pub mod loops;
mod monotone;
pub mod picked;
pub mod plan;
pub mod quantile;
pub mod runner;
pub mod scalar;
mod sequence;
mod session;
pub mod shape;
pub mod shed;
mod sliding;
mod step;
pub mod texts;
pub mod window;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod laws;

pub use case::{Admitted, Cases};
pub use check::{TestOutcome, run_tests};
pub use compile::{Reads, reads};
pub use finding::{Evidence, Finding, evidence_at};
pub use header::{Emit, Header, Severity, Span, Status};
pub use lookup::{Lookup, Lookups};
pub use plan::{Catalog, Windowing};
pub use runner::{RuleCounters, RuleRunner, Stopwatch};
pub use shape::{SequenceShape, Shape, WindowShape, shape};
pub use texts::RuleTexts;
pub use window::Reach;

/// The rules that ship with the program, by file name.
const SHIPPED: [(&str, &str); 13] = [
    ("bola_run.sql", include_str!("../../rules/bola_run.sql")),
    (
        "bola_enumeration.sql",
        include_str!("../../rules/bola_enumeration.sql"),
    ),
    (
        "bola_foreign_write.sql",
        include_str!("../../rules/bola_foreign_write.sql"),
    ),
    (
        "misconfig_probe.sql",
        include_str!("../../rules/misconfig_probe.sql"),
    ),
    (
        "misconfig_probe_answered.sql",
        include_str!("../../rules/misconfig_probe_answered.sql"),
    ),
    (
        "misconfig_probe_spread.sql",
        include_str!("../../rules/misconfig_probe_spread.sql"),
    ),
    (
        "object_flood.sql",
        include_str!("../../rules/object_flood.sql"),
    ),
    (
        "posture_anonymous_success.sql",
        include_str!("../../rules/posture_anonymous_success.sql"),
    ),
    (
        "posture_cors_any_origin.sql",
        include_str!("../../rules/posture_cors_any_origin.sql"),
    ),
    (
        "posture_debug_endpoint.sql",
        include_str!("../../rules/posture_debug_endpoint.sql"),
    ),
    (
        "posture_plaintext_http.sql",
        include_str!("../../rules/posture_plaintext_http.sql"),
    ),
    (
        "posture_secret_in_url.sql",
        include_str!("../../rules/posture_secret_in_url.sql"),
    ),
    (
        "posture_server_banner.sql",
        include_str!("../../rules/posture_server_banner.sql"),
    ),
];

/// One rule: the header and the SELECT of one file.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What SQL has no place for.
    pub header: Header,
    /// The SELECT, without the header.
    pub sql: String,
    /// Where the file is, or its bare name for a shipped rule.
    pub path: PathBuf,
    /// Line of the file on which the SELECT starts.
    pub line: usize,
    /// The whole file.
    pub text: Arc<str>,
    /// XXH3 of the text of the file: two runs with equal hashes ran the same rule.
    pub hash: u64,
}

/// Rules of a folder: as many as a service can load in a minute.
const RULES_MAX: usize = 10_000;
/// Bytes of a rule's file: a list of ten thousand values fits, and whoever has more wants a lookup table.
pub const RULE_BYTES_MAX: usize = 256 << 10;
/// Bytes of a fault's message that are shown: DataFusion repeats what it does not understand.
const MESSAGE_BYTES_MAX: usize = 2000;

/// What is wrong with a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// The file.
    pub file: PathBuf,
    /// Line in it, from 1.
    pub line: usize,
    /// What failed, in words the author can act on.
    pub message: String,
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Texts of a rule are its author's choice, and a fault goes to a terminal or a log.
        let shown = |text: &str| -> String {
            let cut = text.floor_char_boundary(MESSAGE_BYTES_MAX);
            let chars = text[..cut].chars();
            let mut shown: String = chars
                .map(|c| if is_unprintable(c) { ' ' } else { c })
                .collect();
            if cut < text.len() {
                shown.push('…');
            }
            shown
        };
        let (file, message) = (self.file.display().to_string(), shown(&self.message));
        write!(f, "{}:{}: {message}", shown(&file), self.line)
    }
}

impl std::error::Error for RuleFault {}

/// Rules that run together, in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    /// The rules; names and ids are unique.
    pub rules: Vec<Arc<Rule>>,
    /// The tables they look into.
    pub lookups: Lookups,
}

impl Rule {
    /// Reads a file of a rule.
    ///
    /// # Errors
    /// It can't be read, or what [`Rule::parse`] has against it.
    pub fn read(path: &Path) -> Result<Rule, Vec<RuleFault>> {
        let one = |message| {
            vec![RuleFault {
                file: path.to_owned(),
                line: 1,
                message,
            }]
        };
        let bytes = lookup::read_bounded(path, RULE_BYTES_MAX).map_err(one)?;
        let text = String::from_utf8(bytes).map_err(|_| one("is no UTF-8".to_owned()))?;
        Rule::parse(path, &text)
    }
}

impl RuleSet {
    /// Reads every `.sql` file of a directory (not of those below it), without lookup tables.
    ///
    /// # Errors
    /// All faults of all files together: an author fixes them in one go.
    pub fn load(dir: &Path) -> Result<RuleSet, Vec<RuleFault>> {
        let fault = |path: &Path, e: std::io::Error| RuleFault {
            file: path.to_owned(),
            line: 1,
            message: format!("cannot be read: {e}"),
        };
        let entries = std::fs::read_dir(dir).map_err(|e| vec![fault(dir, e)])?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
        paths.retain(|p| p.extension().is_some_and(|e| e == "sql"));
        paths.sort();
        if paths.is_empty() {
            // An empty folder is a mount that failed or a mistyped name, never a wish to detect nothing.
            return Err(vec![RuleFault {
                file: dir.to_owned(),
                line: 1,
                message: format!("no rules in {}: a rule is a .sql file", dir.display()),
            }]);
        }
        if RULES_MAX < paths.len() {
            return Err(vec![RuleFault {
                file: dir.to_owned(),
                line: 1,
                message: format!("{} rules, at most {RULES_MAX} are possible", paths.len()),
            }]);
        }
        let (mut rules, mut faults) = (Vec::new(), Vec::new());
        for path in paths {
            match Rule::read(&path) {
                Ok(rule) => rules.push(rule),
                Err(more) => faults.extend(more),
            }
        }
        match RuleSet::new(rules) {
            Ok(set) if faults.is_empty() => Ok(set),
            Ok(_) => Err(faults),
            Err(more) => Err(faults.into_iter().chain(more).collect()),
        }
    }

    /// The rules that ship with the program.
    ///
    /// # Panics
    /// Never in a released build: a test parses and plans every shipped rule.
    pub fn shipped() -> RuleSet {
        let parse = |(file, text): &(&str, &str)| {
            Rule::parse(Path::new(file), text).expect("shipped rules parse, a test holds it")
        };
        RuleSet::new(SHIPPED.iter().map(parse).collect())
            .expect("shipped rules have names and ids of their own, a test holds it")
    }

    /// Puts rules together.
    ///
    /// # Errors
    /// Names and ids that two rules share.
    pub fn new(mut rules: Vec<Rule>) -> Result<RuleSet, Vec<RuleFault>> {
        rules.sort_by(|a, b| a.header.name.cmp(&b.header.name));
        let mut seen: BTreeMap<&str, &Rule> = BTreeMap::new();
        let mut faults = Vec::new();
        for rule in &rules {
            for (what, key) in [("name", &rule.header.name), ("id", &rule.header.id)] {
                if let Some(other) = seen.insert(key, rule) {
                    let message =
                        format!("{what} `{key}` is already that of {}", other.path.display());
                    faults.push(RuleFault {
                        file: rule.path.clone(),
                        line: 1,
                        message,
                    });
                }
            }
        }
        match faults.is_empty() {
            true => Ok(RuleSet {
                rules: rules.into_iter().map(Arc::new).collect(),
                lookups: Lookups::default(),
            }),
            false => Err(faults),
        }
    }

    /// The same rules, looking into these tables.
    #[must_use]
    pub fn with_lookups(mut self, lookups: Lookups) -> RuleSet {
        self.lookups = lookups;
        self
    }

    /// The rule of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| rule.header.name == name)
    }
}
