//! Sigma rules into rules of our own: web servers' and proxies' logs, filters and correlations.
//!
//! In come texts of YAML, out come rule files, and for every document that has none the reason. The way of a document:
//! [`parse`] → [`selection`] ([`field`], [`pattern`], [`network`]) and [`condition`] → [`predicate`] → [`correlation`] →
//! [`render`]. Sigma: specification 2.1.0, <https://github.com/SigmaHQ/sigma-specification>.
//!
//! **Invariant:** a rule that comes out matches what its author wrote; where it can't, for want of a field, that is told. Nothing is
//! left out in silence. Must not know: files, the compiler of rules.

use std::collections::{BTreeMap, BTreeSet};

use models::identity::is_unprintable;
use serde_json::{Map, Value};

use crate::rule::Status;

mod condition;
mod correlation;
mod field;
mod network;
mod parse;
mod pattern;
mod predicate;
mod render;
mod selection;

use condition::{Selections, TESTS_MAX, condition};
use parse::{Body, Document, Meta, documents, scalar, texts};
use predicate::Predicate;
use render::Exception;

/// Characters of a file's stem: what metrics and tables show.
const STEM_CHARS_MAX: usize = 64;
/// Characters of a reason that are told: rules are others' text.
const REASON_CHARS_MAX: usize = 200;

/// What became of the documents, in their order.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Rules.
    pub converted: Vec<Converted>,
    /// Documents that became no rule.
    pub refused: Vec<Refused>,
    /// Documents that are part of others: rules of correlations, and filters.
    pub absorbed: Vec<Absorbed>,
}

/// One rule.
#[derive(Debug)]
pub struct Converted {
    /// Where it comes from.
    pub file: String,
    /// Its title.
    pub title: String,
    /// Stem of its file.
    pub name: String,
    /// Text of its file.
    pub text: String,
    /// What it can't see, or sees otherwise than its author meant.
    pub notes: Vec<String>,
}

/// One document that became no rule.
#[derive(Debug)]
pub struct Refused {
    /// Where it comes from.
    pub file: String,
    /// Its title, when it has one.
    pub title: String,
    /// Why.
    pub reason: String,
}

/// One document that is part of others.
#[derive(Debug)]
pub struct Absorbed {
    /// Where it comes from.
    pub file: String,
    /// Its title.
    pub title: String,
    /// What it is part of.
    pub of: String,
}

impl Refused {
    /// Says why a document became no rule, in words that can be shown.
    pub fn new(file: &str, title: &str, reason: &str) -> Refused {
        Refused {
            file: shown(file),
            title: shown(title),
            reason: shown(reason),
        }
    }
}

/// A text of a rule's author as it can be shown.
fn shown(text: &str) -> String {
    let shown = text.chars().take(REASON_CHARS_MAX);
    shown
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect()
}

/// A document and the file it is from.
type Placed<'a> = (&'a str, &'a Document);

/// Converts the documents of files, given as name and text; `status` replaces that of every rule.
pub fn convert(files: &[(String, String)], status: Option<Status>) -> Outcome {
    let mut out = Outcome::default();
    let mut all: Vec<(&str, Document)> = Vec::new();
    for (file, text) in files {
        match documents(text) {
            Ok(read) => {
                for document in read {
                    match document {
                        Ok(document) => all.push((file, document)),
                        Err((title, reason)) => {
                            out.refused.push(Refused::new(file, &title, &reason))
                        }
                    }
                }
            }
            Err(reason) => out.refused.push(Refused::new(file, "", &reason)),
        }
    }
    let mut by_key: BTreeMap<&str, Placed<'_>> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let mut unique = Vec::new();
    for (file, document) in &all {
        let meta = &document.meta;
        let keys = || {
            [&meta.id, &meta.name]
                .into_iter()
                .filter(|key| !key.is_empty())
        };
        if let Some((other, _)) = keys().find_map(|key| by_key.get(key.as_str())) {
            let reason = format!("its `id` or `name` is already that of a document in {other}");
            out.refused.push(Refused::new(file, &meta.title, &reason));
            continue;
        }
        keys().for_each(|key| {
            by_key.insert(key, (file, document));
        });
        unique.push((*file, document));
    }
    let converter = Converter {
        all: &unique,
        by_key: &by_key,
        status,
    };
    for (file, document) in &unique {
        match converter.document(document, &mut taken) {
            Ok(Made::Rule(name, text, notes)) => out.converted.push(Converted {
                file: shown(file),
                title: shown(&document.meta.title),
                name,
                text,
                notes: notes.iter().map(|note| shown(note)).collect(),
            }),
            Ok(Made::Part(of)) => out.absorbed.push(Absorbed {
                file: shown(file),
                title: shown(&document.meta.title),
                of: shown(&of),
            }),
            Err(reason) => out
                .refused
                .push(Refused::new(file, &document.meta.title, &reason)),
        }
    }
    out
}

/// What one document becomes: a rule's name, text and notes, or a part of others.
enum Made {
    Rule(String, String, BTreeSet<String>),
    Part(String),
}

struct Converter<'a> {
    all: &'a [Placed<'a>],
    by_key: &'a BTreeMap<&'a str, Placed<'a>>,
    status: Option<Status>,
}

impl Converter<'_> {
    fn document(&self, document: &Document, taken: &mut BTreeSet<String>) -> Result<Made, String> {
        let meta = &document.meta;
        let mut notes = BTreeSet::new();
        let (query, exceptions) = match &document.body {
            Body::Filter(keys) => return self.filter(meta, keys).map(Made::Part),
            Body::Rule(detection) => {
                if let Some(of) = self.correlation_of(meta) {
                    return Ok(Made::Part(of));
                }
                let predicate = asked(meta, detection, &mut notes)?;
                (render::each(&predicate), self.exceptions(meta, &mut notes)?)
            }
            Body::Correlation(keys) => {
                let rules = correlation::rules(keys);
                if rules.is_empty() {
                    return Err("`rules` names none".to_owned());
                }
                let rules = rules.iter().map(|key| self.correlated(key, &mut notes));
                let rules = rules.collect::<Result<Vec<_>, _>>()?;
                if TESTS_MAX < rules.iter().map(Predicate::n_tests).sum() {
                    return Err(format!("its rules make more than {TESTS_MAX} tests"));
                }
                let query = correlation::query(keys, &rules)?;
                if !query.has_identity {
                    notes.insert(
                        "not grouped by `cs-username`: each lane counts its own callers' calls"
                            .to_owned(),
                    );
                }
                (query, Vec::new())
            }
        };
        let name = stem(&meta.title, taken);
        let text = render::file(&name, meta, &query, &exceptions, self.status)?;
        taken.insert(name.clone());
        Ok(Made::Rule(name, text, notes))
    }

    /// The correlation a rule is a part of, unless one wants it to be a rule, too.
    fn correlation_of(&self, meta: &Meta) -> Option<String> {
        let of = |(_, document): &Placed<'_>| match &document.body {
            Body::Correlation(keys) if names(&correlation::rules(keys), meta) => {
                Some((document.meta.title.clone(), correlation::keeps_rules(keys)))
            }
            _ => None,
        };
        let (of, keeps): (Vec<_>, Vec<_>) = self.all.iter().filter_map(of).unzip();
        match keeps.contains(&true) {
            true => None,
            false => of.first().map(|title| format!("correlation `{title}`")),
        }
    }

    /// What a rule of a correlation asks, without what filters take out.
    fn correlated(&self, key: &str, notes: &mut BTreeSet<String>) -> Result<Predicate, String> {
        match self
            .by_key
            .get(key)
            .map(|(_, document)| (&document.meta, &document.body))
        {
            Some((meta, Body::Rule(detection))) => {
                let mut parts = vec![
                    asked(meta, detection, notes)
                        .map_err(|reason| format!("rule `{key}`: {reason}"))?,
                ];
                for (_, kept) in self.filters_of(meta)? {
                    parts.push(kept);
                }
                Ok(Predicate::All(parts).folded())
            }
            Some((_, Body::Correlation(_))) => Err(format!(
                "`{key}` is a correlation itself: rules read events, not alerts"
            )),
            Some((_, Body::Filter(_))) => Err(format!("`{key}` is a filter")),
            None => Err(format!("there is no rule `{key}` among the files")),
        }
    }

    /// The filters of a rule, and what each of them keeps.
    fn filters_of(&self, meta: &Meta) -> Result<Vec<(&Meta, Predicate)>, String> {
        let mut filters = Vec::new();
        for (_, document) in self.all {
            let Body::Filter(keys) = &document.body else {
                continue;
            };
            if names(&filtered(keys), meta) {
                let named = |reason: String| format!("filter `{}`: {reason}", document.meta.title);
                filters.push((&document.meta, selected(keys).map_err(named)?));
            }
        }
        Ok(filters)
    }

    fn exceptions(
        &self,
        meta: &Meta,
        notes: &mut BTreeSet<String>,
    ) -> Result<Vec<Exception>, String> {
        let mut exceptions = Vec::new();
        for (filter, kept) in self.filters_of(meta)? {
            kept.unseen(notes);
            match Predicate::Not(Box::new(kept)).folded() {
                Predicate::Unseen(_) => (),
                Predicate::All(parts) if parts.is_empty() => {
                    return Err(format!("filter `{}` leaves nothing of it", filter.title));
                }
                excepted => exceptions.push(Exception {
                    when: excepted.sql(false, None),
                    reason: format!("Sigma filter: {}", filter.title),
                    owner: filter.author.clone(),
                }),
            }
        }
        Ok(exceptions)
    }

    /// What a filter is part of.
    fn filter(&self, meta: &Meta, keys: &Map<String, Value>) -> Result<String, String> {
        selected(keys)?;
        let rules = filtered(keys);
        let of = |(_, document): &&Placed<'_>| {
            matches!(document.body, Body::Rule(_)) && names(&rules, &document.meta)
        };
        match self.all.iter().filter(of).count() {
            0 => Err(format!(
                "filter `{}` names no rule among the files",
                meta.title
            )),
            1 => Ok("exceptions of 1 rule".to_owned()),
            n => Ok(format!("exceptions of {n} rules")),
        }
    }
}

/// The rules a filter is for.
fn filtered(filter: &Map<String, Value>) -> Vec<String> {
    filter.get("rules").map(texts).unwrap_or_default()
}

/// Whether a list of names and ids names a document.
fn names(list: &[String], meta: &Meta) -> bool {
    let is_named = |key: &String| !key.is_empty() && (*key == meta.id || *key == meta.name);
    list.iter().any(is_named)
}

/// What a rule asks of an event.
fn asked(
    meta: &Meta,
    detection: &Map<String, Value>,
    notes: &mut BTreeSet<String>,
) -> Result<Predicate, String> {
    let of = |key: &str| meta.source.get(key).and_then(scalar).unwrap_or_default();
    let (category, product, service) = (of("category"), of("product"), of("service"));
    let is_server = |name: &str| matches!(name, "apache" | "nginx");
    match category.as_str() {
        "webserver" | "proxy" => (),
        "" if is_server(&product) || is_server(&service) => {
            notes.insert("its log may be an error log: only access logs are read".to_owned());
        }
        _ => {
            let words = [category, product, service];
            let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
            return Err(format!(
                "log source `{}` is not that of a web server or proxy",
                words.join("/")
            ));
        }
    }
    let selected = selected(detection)?;
    selected.unseen(notes);
    match selected.folded() {
        Predicate::Unseen(reason) => Err(format!("it can never match: {reason}")),
        Predicate::All(parts) if parts.is_empty() => Err("it matches every call".to_owned()),
        predicate => Ok(predicate),
    }
}

/// What selections and their condition ask of an event.
fn selected(detection: &Map<String, Value>) -> Result<Predicate, String> {
    let selections: Selections = detection
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "condition" | "timeframe" | "rules"))
        .map(|(key, value)| (key.clone(), selection::selection(value)))
        .collect();
    let conditions = detection.get("condition").map(texts).unwrap_or_default();
    match conditions.as_slice() {
        [] => Err("it has no `condition`".to_owned()),
        [one] => condition(one, &selections),
        several => condition(&format!("({})", several.join(") or (")), &selections),
    }
}

/// A stem of the title's letters that no other rule has.
fn stem(title: &str, taken: &BTreeSet<String>) -> String {
    let mut stem = "sigma".to_owned();
    for word in title
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        if STEM_CHARS_MAX < stem.len() + 1 + word.len() {
            break;
        }
        stem.push('_');
        stem.push_str(&word.to_ascii_lowercase());
    }
    let free = |name: &String| !taken.contains(name);
    let numbered = (2..).map(|n| format!("{stem}_{n}"));
    std::iter::once(stem.clone())
        .chain(numbered)
        .find(free)
        .unwrap_or(stem)
}
