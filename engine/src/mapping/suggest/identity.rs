//! Who calls: columns whose values repeat, are of several callers, and call more than one endpoint each.
//!
//! A caller's name is on most of its calls and on none of another's: so it repeats, there are several, each calls several endpoints,
//! and it seldom changes from one call of an address to the next. An id of a request never repeats; a pod's name, a route or a version
//! repeats, but is the same for every address, or changes with every endpoint.

use std::collections::{BTreeSet, HashMap};

use super::facts::{Facts, Like};
use super::fields::{Choice, words};
use super::sample::Sample;

/// Candidates told.
const TOLD_MAX: usize = 8;
/// Score from which a candidate is mapped: half of what a perfect one has.
const SCORE_MIN: f64 = 0.5;
/// Share of values that makes a column something else.
const OTHER_MIN: f64 = 0.9;

/// Names of fields that hold who calls, with the field each is mapped to; the first that fits counts.
const NAMES: [(&str, &str); 20] = [
    ("sub", "jwt_sub"),
    ("subject", "jwt_sub"),
    ("consumer", "consumer"),
    ("client id", "consumer"),
    ("application", "consumer"),
    ("app", "consumer"),
    ("subscription", "consumer"),
    ("tenant", "consumer"),
    ("user", "principal"),
    ("username", "principal"),
    ("uid", "principal"),
    ("login", "principal"),
    ("email", "principal"),
    ("account", "principal"),
    ("principal", "principal"),
    ("customer", "principal"),
    ("actor", "principal"),
    ("caller", "principal"),
    ("subject dn", "client_cert"),
    ("client s dn", "client_cert"),
];

/// Fields that say who calls, and are told by their names or looks.
const CREDENTIALS: [&str; 5] = [
    "authorization",
    "jwt_claims",
    "api_key",
    "token_hash",
    "session",
];

/// A column that could say who calls.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Place of the column in the sample.
    pub column: usize,
    /// The column's name.
    pub name: String,
    /// The field it would be mapped to.
    pub field: &'static str,
    /// True for the one that is mapped.
    pub is_mapped: bool,
    /// Share of the lines that have a value.
    pub coverage: f64,
    /// Different values.
    pub n_distinct: usize,
    /// Share of the values that came before.
    pub repeats: f64,
    /// Share of the values that stand in several lines and call several endpoints.
    pub breadth: f64,
    /// Share of the calls of an address whose value is that of its call before; of no address nothing.
    pub stability: Option<f64>,
    /// Whether its name says so.
    pub is_named: bool,
    /// What they are ranked by, in [0, 1].
    pub score: f64,
}

/// The columns that could say who calls, best first.
pub(super) fn rank(sample: &Sample, facts: &[Facts], choices: &[Choice]) -> Vec<Identity> {
    let mapped = |field: &str| {
        let choice = choices
            .iter()
            .find(|choice| choice.is_mapped && choice.field == field);
        choice.map(|choice| sample.columns[choice.column].values.as_slice())
    };
    let endpoints = endpoints(mapped("path").or(mapped("request_line")), sample.n_shaped);
    let addresses = mapped("client_ip");
    let is_taken = |at: usize| {
        choices
            .iter()
            .any(|choice| choice.is_mapped && choice.column == at)
    };
    let columns = sample.columns.iter().zip(facts).enumerate();
    let mut found: Vec<Identity> = columns
        .filter(|(at, (column, facts))| !is_taken(*at) && column.words.len() < 2 && could_be(facts))
        .map(|(at, (column, facts))| {
            let (all, last) = words(&column.name);
            let field = named(&last).or_else(|| named(&all));
            let (repeats, breadth) = (facts.repeats(), breadth(&column.values, &endpoints));
            let stability = addresses.map(|addresses| stability(&column.values, addresses));
            let several = 1.0 - 1.0 / facts.n_distinct as f64;
            // Each says something of its own, and its name counts no more than one of them.
            let terms = [
                facts.coverage(),
                repeats,
                several,
                breadth,
                stability.unwrap_or(breadth),
                if field.is_some() { 1.0 } else { 0.0 },
            ];
            Identity {
                column: at,
                name: column.name.clone(),
                field: field.unwrap_or("principal"),
                is_mapped: false,
                coverage: facts.coverage(),
                n_distinct: facts.n_distinct,
                repeats,
                breadth,
                stability,
                is_named: field.is_some(),
                score: terms.iter().sum::<f64>() / terms.len() as f64,
            }
        })
        .collect();
    // Of an id and the name beside it the name: people read it.
    let is_id = |one: &Identity| OTHER_MIN <= facts[one.column].share(Like::Id);
    found.sort_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score).then(is_id(a).cmp(&is_id(b)));
        by_score.then(a.column.cmp(&b.column))
    });
    found.truncate(TOLD_MAX);
    // By its name; or by its values alone where nothing else says who calls, and more often than not they are of one caller each.
    let is_likely =
        |one: &Identity| 0.5 < one.breadth && one.stability.is_some_and(|share| 0.5 < share);
    let is_known = CREDENTIALS.iter().any(|field| mapped(field).is_some());
    let best = found
        .iter()
        .position(|one| one.is_named && SCORE_MIN <= one.score)
        .or_else(|| {
            found
                .iter()
                .position(|one| !is_known && SCORE_MIN <= one.score && is_likely(one))
        });
    if let Some(best) = best {
        found[best].is_mapped = true;
    }
    found
}

/// Whether a column's values could be names of callers: several, some of which repeat, and nothing that is something else.
fn could_be(facts: &Facts) -> bool {
    let others = [
        Like::Time,
        Like::Method,
        Like::Path,
        Like::Url,
        Like::Address,
        Like::Agent,
        Like::Scheme,
        Like::Tls,
        Like::Media,
        Like::RequestLine,
        Like::Claims,
    ];
    let is_other = others.iter().any(|like| OTHER_MIN <= facts.share(*like));
    // A size or a duration: numbers, most of which are different or have a fraction.
    let is_measure =
        OTHER_MIN <= facts.share(Like::Number) && (0 < facts.n_fractions || facts.repeats() < 0.5);
    let is_status = OTHER_MIN <= facts.share(Like::Status);
    2 <= facts.n_distinct
        && facts.n_distinct < facts.n_present
        && !is_other
        && !is_measure
        && !is_status
}

/// The field that words of a name say.
fn named(words: &[String]) -> Option<&'static str> {
    let fits = |name: &str| {
        name.split(' ')
            .all(|word| words.iter().any(|of| of == word))
    };
    let found = NAMES.iter().find(|(name, _)| fits(name));
    found.map(|(_, field)| *field)
}

/// The endpoint of each line: its path without its query, numbers and ids.
fn endpoints(paths: Option<&[Option<String>]>, n_lines: usize) -> Vec<Option<String>> {
    let Some(paths) = paths else {
        return vec![None; n_lines];
    };
    let endpoint = |path: &String| {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let is_name = |segment: &&str| !segment.contains(|c: char| c.is_ascii_digit());
        path.split('/')
            .map(|segment| if is_name(&segment) { segment } else { "*" })
            .collect::<Vec<_>>()
            .join("/")
    };
    paths
        .iter()
        .map(|path| path.as_ref().map(endpoint))
        .collect()
}

/// Share of the values in several lines that call several endpoints.
fn breadth(values: &[Option<String>], endpoints: &[Option<String>]) -> f64 {
    let mut of = HashMap::<&str, (usize, BTreeSet<&str>)>::new();
    for (value, endpoint) in values.iter().zip(endpoints) {
        if let Some(value) = value {
            let entry = of.entry(value).or_default();
            entry.0 += 1;
            entry.1.extend(endpoint.as_deref());
        }
    }
    let repeated = of.values().filter(|(n_lines, _)| 1 < *n_lines);
    let broad = repeated
        .clone()
        .filter(|(_, endpoints)| 1 < endpoints.len())
        .count();
    broad as f64 / repeated.count().max(1) as f64
}

/// Share of the calls of an address whose value is that of its call before.
fn stability(values: &[Option<String>], addresses: &[Option<String>]) -> f64 {
    let mut last = HashMap::<&str, &str>::new();
    let (mut n_again, mut n_same) = (0_usize, 0_usize);
    for (value, address) in values.iter().zip(addresses) {
        let (Some(value), Some(address)) = (value, address) else {
            continue;
        };
        if let Some(before) = last.insert(address, value) {
            n_again += 1;
            n_same += usize::from(before == value);
        }
    }
    n_same as f64 / n_again.max(1) as f64
}
