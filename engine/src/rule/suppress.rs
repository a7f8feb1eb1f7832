//! Which findings are one case: opened once, told again when it has grown tenfold, otherwise silent.
//!
//! Event time decides, so a replay opens the same cases. Must not know: how a case is written or sent.

use std::collections::VecDeque;

use hashbrown::HashMap;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::Finding;

/// Cases kept open, 80 bytes each; beyond it the one opened first is forgotten, and a repetition would open another.
pub const CASES_MAX: usize = 1_000_000;
/// Growth after which a case is told again.
const GROWTH: u64 = 10;

/// What becomes of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It opens a case.
    Open {
        /// Name of the case, the same in every replay.
        case: u64,
    },
    /// It belongs to a case that has grown tenfold since it was last told.
    Update {
        /// Name of the case.
        case: u64,
        /// Findings in it so far.
        count: u64,
    },
    /// It belongs to a case and says nothing new.
    Suppressed,
}

/// Remembers open cases.
#[derive(Debug, Default)]
pub struct Suppressor {
    cases: HashMap<u128, Case, foldhash::fast::FixedState>,
    /// In the order they were opened.
    order: VecDeque<(u128, i64)>,
    /// Cases forgotten for want of room.
    pub forgotten: u64,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    id: u64,
    opened_ms: i64,
    ends_ms: i64,
    count: u64,
    told: u64,
}

impl Suppressor {
    /// No case is open.
    pub fn new() -> Suppressor {
        Suppressor::default()
    }

    /// Cases remembered.
    pub fn n_cases(&self) -> usize {
        self.cases.len()
    }

    /// Decides on a finding; findings come in the order of their rows.
    pub fn decide(&mut self, finding: &Finding) -> Decision {
        let Some(suppress) = &finding.rule.header.suppress else {
            return Decision::Open {
                case: case_of_row(finding),
            };
        };
        let key = key(finding, &suppress.by);
        if let Some(case) = self
            .cases
            .get_mut(&key)
            .filter(|case| finding.time_ms < case.ends_ms)
        {
            case.count += 1;
            if suppress.update && case.told.saturating_mul(GROWTH) <= case.count {
                case.told = case.count;
                return Decision::Update {
                    case: case.id,
                    count: case.count,
                };
            }
            return Decision::Suppressed;
        }
        self.make_room(finding.time_ms);
        let id = xxh3_64(&[&key.to_le_bytes()[..], &finding.time_ms.to_le_bytes()].concat());
        let ends_ms = finding.time_ms.saturating_add(suppress.span.ms);
        self.cases.insert(
            key,
            Case {
                id,
                opened_ms: finding.time_ms,
                ends_ms,
                count: 1,
                told: 1,
            },
        );
        self.order.push_back((key, finding.time_ms));
        Decision::Open { case: id }
    }

    /// Forgets cases that have ended, and the first opened if there are too many.
    fn make_room(&mut self, now_ms: i64) {
        while let Some((key, opened_ms)) = self.order.front().copied() {
            // A key may have been opened again since; then this entry is not its own.
            let case = self
                .cases
                .get(&key)
                .filter(|case| case.opened_ms == opened_ms);
            let ended = case.is_none_or(|case| case.ends_ms <= now_ms);
            let full = CASES_MAX <= self.cases.len();
            if !ended && !full {
                return;
            }
            self.forgotten += u64::from(!ended);
            if case.is_some() {
                self.cases.remove(&key);
            }
            self.order.pop_front();
        }
    }
}

/// 128 bits of a rule and the values of some of its columns: no two of a million cases share one.
fn key(finding: &Finding, by: &[String]) -> u128 {
    let mut hash = Xxh3Default::new();
    hash.update(finding.rule.header.id.as_bytes());
    for column in by {
        let text = finding
            .value(column)
            .filter(|v| !v.is_null())
            .map(ToString::to_string);
        // Lengths keep ("a", "bc") and ("ab", "c") apart, and null from the empty text.
        hash.update(
            &text
                .as_ref()
                .map_or(u64::MAX, |t| t.len() as u64)
                .to_le_bytes(),
        );
        hash.update(text.unwrap_or_default().as_bytes());
    }
    hash.digest128()
}

/// The case of a finding that is a case of its own: its rule, place and time.
fn case_of_row(finding: &Finding) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(
        &key(
            finding,
            &finding
                .values
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>(),
        )
        .to_le_bytes(),
    );
    hash.update(&finding.time_ms.to_le_bytes());
    if let Some(last) = finding.evidence.last() {
        hash.update(last.topic.as_bytes());
        hash.update(&last.partition.to_le_bytes());
        hash.update(&last.offset.to_le_bytes());
        hash.update(&last.row.to_le_bytes());
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use datafusion::scalar::ScalarValue;

    use super::*;
    use crate::rule::Rule;

    fn finding(rule: &Arc<Rule>, time_ms: i64, who: &str) -> Finding {
        let values = vec![("who".to_owned(), ScalarValue::Utf8(Some(who.to_owned())))];
        Finding {
            rule: rule.clone(),
            row: 0,
            time_ms,
            window: None,
            values,
            evidence: Vec::new(),
        }
    }

    fn rule(suppress: &str) -> Arc<Rule> {
        let text = format!(
            "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10\nname: r\nversion: 1\ntitle: t\nstatus: test\nseverity: low\ndescription: d\n{suppress}\n---*/\nSELECT 1"
        );
        Arc::new(Rule::parse(Path::new("r.sql"), &text).unwrap())
    }

    #[test]
    fn a_case_is_told_at_each_tenfold_growth_until_it_ends() {
        let rule = rule("suppress: {by: [who], for: 1h, update: true}");
        let mut suppressor = Suppressor::new();
        let mut told = Vec::new();
        for n in 1..=1_200_u64 {
            match suppressor.decide(&finding(&rule, n as i64 * 1_000, "a")) {
                Decision::Open { .. } => told.push((n, 1)),
                Decision::Update { count, .. } => told.push((n, count)),
                Decision::Suppressed => {}
            }
        }
        assert_eq!(told, [(1, 1), (10, 10), (100, 100), (1_000, 1_000)]);
        assert!(matches!(
            suppressor.decide(&finding(&rule, 2_000, "b")),
            Decision::Open { .. }
        ));
        assert_eq!(
            suppressor.decide(&finding(&rule, 3_600_999, "a")),
            Decision::Suppressed
        );
        assert!(matches!(
            suppressor.decide(&finding(&rule, 3_601_000, "a")),
            Decision::Open { .. }
        ));
        assert_eq!(suppressor.n_cases(), 2);
    }

    #[test]
    fn without_suppress_every_finding_is_a_case() {
        let rule = rule("tags: []");
        let mut suppressor = Suppressor::new();
        let cases: Vec<Decision> = (0..3)
            .map(|n| suppressor.decide(&finding(&rule, n, "a")))
            .collect();
        assert!(
            cases.iter().all(|d| matches!(d, Decision::Open { .. })) && cases[0] != cases[1],
            "{cases:?}"
        );
    }
}
