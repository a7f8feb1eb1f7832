//! Which findings are one case: created once, told again when there is news, otherwise only counted.
//!
//! In comes each finding with the row that made it; out goes nothing, or the case it creates or updates. News is tenfold
//! growth, a new endpoint, or another rule that joins. A case is that of one rule and the values of its `suppress.by`, or,
//! where a rule is keyed by identity alone, of the identity and the rule's `owasp.` tag. The product and `rules test` share
//! this. **Invariant:** event time decides, so a replay creates the same cases with the same ids.
//! Must not know: how a case is written or sent, which rules are on trial.

use std::collections::BTreeMap;

use models::generations::Generations;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64, xxh3_128};

use super::finding::{Evidence, Finding};
use super::runner::RuleCounters;
use crate::state::LaneWalk;

/// How long a case stays open when its rule says nothing, in milliseconds of event time.
pub const CASE_MS: i64 = 86_400_000;
/// Endpoints of one case that are told, 8 bytes each; further ones are no news.
pub const ENDPOINTS_MAX: usize = 8;
/// Rules that join one case with an update of their own, 8 bytes each. Further ones are findings of the case like any
/// other, and are told when it grows.
pub const RULES_MAX: usize = 64;
/// Cases one rule creates in one hour of event time, in one lane. A key such as a host is the caller's to choose, and
/// each value would be an alert and push a real case out of memory; beyond the limit a finding creates no case and is
/// counted in [`RuleCounters::uncased`].
pub const CASES_PER_HOUR_MAX: u32 = 1_000;
/// Growth after which a case is told again.
pub const GROWTH: u64 = 10;

const HOUR_MS: i64 = 3_600_000;

/// The case a finding creates or updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Name of the case, the same in every replay.
    pub uid: String,
    /// What it is about, in words: the values of the key.
    pub about: String,
    /// True when the finding creates the case.
    pub is_new: bool,
    /// Findings in it so far.
    pub n_findings: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Case {
    started_ms: i64,
    /// Longest `suppress.for` of the rules in it: a rule with a shorter one does not begin the case anew.
    span_ms: i64,
    n_findings: u64,
    n_told: u64,
    rules: Vec<u64>,
    endpoints: Vec<u64>,
}

impl Case {
    fn is_open(&self, at_ms: i64) -> bool {
        0 < self.n_findings && at_ms.saturating_sub(self.started_ms) < self.span_ms
    }
}

/// Cases one rule has created in its current hour, and findings that created none.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Quota {
    hour: i64,
    n_cases: u32,
    n_uncased: u64,
}

/// The cases of one lane.
#[derive(Debug)]
pub struct Cases {
    cases: Generations<u64, Case>,
    /// By rule: as many as there are rules.
    quotas: BTreeMap<String, Quota>,
}

/// What a finding's case is keyed by.
struct Key {
    hash: u64,
    about: String,
    by_identity: bool,
}

impl Cases {
    /// Bytes a case takes at most.
    pub const CASE_BYTES: usize =
        Generations::<u64, Case>::ENTRY_BYTES + 2 * 8 * (RULES_MAX + ENDPOINTS_MAX);

    /// No case is open; beyond `cases_max` the least recently used is forgotten, and created again by its next finding.
    pub fn new(cases_max: usize) -> Self {
        Self {
            cases: Generations::new(cases_max),
            quotas: BTreeMap::new(),
        }
    }

    /// Decides whether a finding is told; findings come in the order they were made.
    pub fn admit(&mut self, finding: &Finding, trigger: &Evidence) -> Option<Admitted> {
        let header = &finding.rule.header;
        let span_ms = header.suppress.as_ref().map_or(CASE_MS, |s| s.span.ms);
        let updates = header.suppress.as_ref().is_none_or(|s| s.update);
        let key = key(finding, trigger);
        let is_open = self
            .cases
            .get(&key.hash)
            .is_some_and(|case| case.is_open(finding.time_ms));
        // Asked before the case is made: what may not be told must not push out what was.
        if !is_open && !self.may_create(&header.name, finding.time_ms) {
            return None;
        }
        let case = self.cases.entry(key.hash);
        if !is_open {
            *case = Case {
                started_ms: finding.time_ms,
                ..Case::default()
            };
        }
        case.n_findings += 1;
        case.span_ms = case.span_ms.max(span_ms);
        let joins = note(&mut case.rules, RULES_MAX, &header.name);
        let spreads = note(&mut case.endpoints, ENDPOINTS_MAX, &trigger.endpoint);
        let grows = finding.grown || case.n_told.saturating_mul(GROWTH) <= case.n_findings;
        if is_open && (!updates || !(joins || spreads || grows)) {
            return None;
        }
        case.n_told = case.n_findings;
        Some(Admitted {
            uid: key.uid(case),
            about: key.about,
            is_new: !is_open,
            n_findings: case.n_findings,
        })
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl LaneWalk) {
        walk.table("cases", &mut self.cases);
        walk.value("cases.quotas", &mut self.quotas);
    }

    /// Adds what was counted here to the counters of the rules.
    pub fn count(&self, counters: &mut [RuleCounters]) {
        for of in counters {
            let quota = self.quotas.get(&of.rule.header.name);
            of.uncased = quota.map_or(0, |quota| quota.n_uncased);
        }
    }

    fn may_create(&mut self, rule: &str, at_ms: i64) -> bool {
        if !self.quotas.contains_key(rule) {
            self.quotas.insert(rule.to_owned(), Quota::default());
        }
        let Some(quota) = self.quotas.get_mut(rule) else {
            return true;
        };
        // An hour that comes late counts towards the newest: old times must not open a quota again.
        let hour = at_ms.div_euclid(HOUR_MS);
        if quota.n_cases == 0 || quota.hour < hour {
            (quota.hour, quota.n_cases) = (hour, 0);
        }
        let may = quota.n_cases < CASES_PER_HOUR_MAX;
        quota.n_cases += u32::from(may);
        quota.n_uncased += u64::from(!may);
        may
    }
}

impl Key {
    /// A case of an identity is named by its first finding. One without is seen by every lane, at slightly different
    /// times: it is named by its span of event time, so that the lanes give it one name.
    fn uid(&self, case: &Case) -> String {
        let start = match self.by_identity {
            true => case.started_ms,
            false => case.started_ms.div_euclid(case.span_ms.max(1)),
        };
        format!(
            "{:032x}",
            xxh3_128(format!("{:016x}:{start}", self.hash).as_bytes())
        )
    }
}

/// Adds a name to a short list; true when it is new and there is room.
fn note(list: &mut Vec<u64>, max: usize, name: &str) -> bool {
    let value = xxh3_64(name.as_bytes());
    let new = !list.contains(&value) && list.len() < max;
    if new {
        list.push(value);
    }
    new
}

fn key(finding: &Finding, trigger: &Evidence) -> Key {
    let header = &finding.rule.header;
    let by: Vec<&str> = match &header.suppress {
        Some(suppress) => suppress.by.iter().map(String::as_str).collect(),
        None if finding.value("identity").is_some() => vec!["identity"],
        None => vec!["endpoint"],
    };
    let value = |column: &&str| match finding.value(column) {
        Some(value) => (!value.is_null()).then(|| value.to_string()),
        None if *column == "identity" => Some(trigger.identity.clone()),
        None => Some(trigger.endpoint.clone()),
    };
    let values: Vec<Option<String>> = by.iter().map(value).collect();
    let tactic = header.tags.iter().find(|tag| tag.starts_with("owasp."));
    let scope = match tactic {
        Some(tactic) if by == ["identity"] => tactic,
        _ => &header.name,
    };
    let mut hash = Xxh3Default::new();
    for text in std::iter::once(Some(scope.as_str())).chain(values.iter().map(Option::as_deref)) {
        // Lengths keep ("a b", "c") and ("a", "b c") apart, and null from the empty text.
        let length = text.map_or(u64::MAX, |text| text.len() as u64);
        hash.update(&length.to_le_bytes());
        hash.update(text.unwrap_or_default().as_bytes());
    }
    let shown: Vec<&str> = values.iter().map(|v| v.as_deref().unwrap_or("-")).collect();
    Key {
        hash: hash.digest(),
        about: shown.join(" "),
        by_identity: by.contains(&"identity"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use datafusion::scalar::ScalarValue;

    use super::*;
    use crate::rule::Rule;

    fn finding(rule: &Arc<Rule>, time_ms: i64, values: &[(&str, &str)]) -> Finding {
        let value = |(name, text): &(&str, &str)| ((*name).to_owned(), ScalarValue::from(*text));
        Finding {
            rule: rule.clone(),
            row: 0,
            order: 0,
            time_ms,
            window: None,
            grown: false,
            values: values.iter().map(value).collect(),
            evidence: Vec::new(),
        }
    }

    fn rule(name: &str, header: &str) -> Arc<Rule> {
        let text = format!(
            "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: {name}\nversion: 1\ntitle: t\nstatus: stable\nseverity: low\ndescription: d\n{header}\n---*/\nSELECT 1"
        );
        let path = format!("{name}.sql");
        Arc::new(Rule::parse(Path::new(&path), &text).unwrap())
    }

    fn admit(cases: &mut Cases, finding: &Finding) -> Option<Admitted> {
        cases.admit(finding, &Evidence::default())
    }

    #[test]
    fn a_case_is_told_at_each_tenfold_growth_until_it_ends() {
        let rule = rule("r", "suppress: {by: [who], for: 1h, update: true}");
        let mut cases = Cases::new(100);
        let told: Vec<(u64, bool)> = (1..=1_200)
            .filter_map(|n| admit(&mut cases, &finding(&rule, n * 1_000, &[("who", "a")])))
            .map(|case| (case.n_findings, case.is_new))
            .collect();
        assert_eq!(told, [(1, true), (10, false), (100, false), (1_000, false)]);
        let of = |time_ms, who| finding(&rule, time_ms, &[("who", who)]);
        assert!(admit(&mut cases, &of(2_000, "b")).unwrap().is_new);
        assert_eq!(admit(&mut cases, &of(3_600_999, "a")), None);
        assert!(admit(&mut cases, &of(3_601_000, "a")).unwrap().is_new);
    }

    #[test]
    fn a_group_that_has_grown_is_news_by_itself() {
        let rule = rule("r", "suppress: {by: [who], for: 1h, update: true}");
        let mut cases = Cases::new(100);
        let first = finding(&rule, 0, &[("who", "a")]);
        let grown = Finding {
            grown: true,
            ..first.clone()
        };
        assert!(admit(&mut cases, &first).unwrap().is_new);
        assert_eq!(admit(&mut cases, &first), None);
        assert!(!admit(&mut cases, &grown).unwrap().is_new);
    }

    #[test]
    fn values_of_a_key_do_not_run_into_each_other() {
        let rule = rule("r", "suppress: {by: [x, y], for: 1h}");
        let mut cases = Cases::new(100);
        for (x, y) in [("a b", "c"), ("a", "b c"), ("", "a b c"), ("a b c", "")] {
            let case = admit(&mut cases, &finding(&rule, 0, &[("x", x), ("y", y)]));
            assert!(case.is_some_and(|case| case.is_new), "{x:?} {y:?}");
        }
    }

    #[test]
    fn rules_of_one_case_keep_its_longest_span() {
        let of = |name, span| {
            rule(
                name,
                &format!(
                    "tags: [owasp.api1-2023]\nsuppress: {{by: [identity], for: {span}, update: true}}"
                ),
            )
        };
        let (long, short) = (of("long", "24h"), of("short", "1h"));
        let mut cases = Cases::new(100);
        let hour = 3_600_000;
        let mut at = |rule, ms| admit(&mut cases, &finding(rule, ms, &[("identity", "mallory")]));
        let created = at(&short, 0).unwrap();
        let joined = at(&long, hour / 2).unwrap();
        assert!(created.is_new && !joined.is_new && created.uid == joined.uid);
        assert_eq!(at(&short, 2 * hour), None, "the case is still open");
        assert_eq!(at(&long, 23 * hour), None);
        assert!(at(&short, 24 * hour).unwrap().is_new);
    }

    #[test]
    fn more_rules_than_endpoints_may_join_a_case() {
        let mut cases = Cases::new(100);
        for n in 0..20 {
            let rule = rule(
                &format!("r{n}"),
                "tags: [owasp.api1-2023]\nsuppress: {by: [identity], for: 1h, update: true}",
            );
            let told = admit(&mut cases, &finding(&rule, n, &[("identity", "mallory")]));
            assert!(told.is_some(), "rule {n}");
        }
    }

    #[test]
    fn a_rule_creates_only_so_many_cases_an_hour() {
        let (rule, other) = (
            rule("r", "suppress: {by: [host], for: 24h}"),
            rule("other", "suppress: {by: [host], for: 24h}"),
        );
        let mut cases = Cases::new(1_000_000);
        let of = |rule, n: i64| finding(rule, n, &[("host", &format!("h{n}"))]);
        let n_told = (0..3_000)
            .filter(|n| admit(&mut cases, &of(&rule, *n)).is_some())
            .count();
        assert_eq!(n_told, CASES_PER_HOUR_MAX as usize);
        assert_eq!(cases.cases.len(), n_told, "the rest takes no room");
        assert!(admit(&mut cases, &of(&other, 0)).is_some());
        assert!(admit(&mut cases, &of(&rule, HOUR_MS)).is_some());
        let mut counters = [RuleCounters::new(rule.clone()), RuleCounters::new(other)];
        cases.count(&mut counters);
        assert_eq!([counters[0].uncased, counters[1].uncased], [2_000, 0]);
    }

    #[test]
    fn lanes_give_a_case_without_an_identity_one_name() {
        let rule = rule("r", "suppress: {by: [host], for: 24h}");
        let uid = |time_ms| {
            let found = finding(&rule, time_ms, &[("host", "api.x")]);
            admit(&mut Cases::new(10), &found).unwrap().uid
        };
        assert_eq!(uid(1_000), uid(7_000_000));
        assert_ne!(uid(1_000), uid(86_400_000));
    }
}
