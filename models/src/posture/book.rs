//! The findings of one endpoint, host, identity or source, kept only for what was ever shown.

use serde::{Deserialize, Serialize};

use super::check::{Check, Scope};
use super::evaluate::Standing;
use super::fact::Counts;
use super::finding::{Finding, Sample};
use super::life::{Change, Life};

/// The findings of one subject, by check, and what was counted when they were last looked at.
///
/// 0.3 KiB, and 0.4 KiB a check that was ever shown (47 at most) beside its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    findings: Vec<Finding>,
    seen: Counts,
}

impl Book {
    /// Looks at the counts again, with the checks of a scope; tells `each` finding that changed.
    pub fn observe<'c>(
        &mut self,
        checks: impl IntoIterator<Item = &'c Check>,
        (scope, subject): (Scope, &str),
        standing: &Standing<'_>,
        mut each: impl FnMut(&mut Finding, Change),
    ) {
        for check in checks {
            if check.scope != scope || standing.counts.tally(check.number).bad == 0 {
                continue;
            }
            let at = self
                .findings
                .binary_search_by_key(&check.number, |finding| finding.check);
            let at = at.unwrap_or_else(|at| {
                let mut finding = Finding::new(check, subject);
                // Nothing was shown until now: so all that was counted before was clean.
                finding.life = Life::after(self.seen.tally(check.number));
                self.findings.insert(at, finding);
                at
            });
            let finding = &mut self.findings[at];
            finding.n_identities = finding.n_identities.max(standing.n_identities);
            if let Some(change) = finding.life.observe(check, standing) {
                each(finding, change);
            }
        }
        self.seen = standing.counts.clone();
    }

    /// Keeps a call that showed a check, once the check was looked at.
    pub fn keep(&mut self, number: u8, sample: Sample) {
        if let Ok(at) = self
            .findings
            .binary_search_by_key(&number, |finding| finding.check)
        {
            self.findings[at].samples.keep(sample);
        }
    }

    /// The findings, candidates and resolved ones among them.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    /// Takes over another's, of a subject that is part of this one now; the counts have to be added as well.
    pub fn adopt(&mut self, other: Book, subject: &str) {
        for theirs in other.findings {
            match self
                .findings
                .binary_search_by_key(&theirs.check, |finding| finding.check)
            {
                Ok(at) => {
                    let ours = self.findings.remove(at);
                    self.findings.insert(at, ours.adopt(theirs, subject));
                }
                Err(at) => {
                    // What was counted here without it was clean.
                    let mut ours = Finding {
                        subject: subject.to_owned(),
                        ..theirs
                    };
                    ours.life.absorb(&Life::after(self.seen.tally(ours.check)));
                    self.findings.insert(at, ours);
                }
            }
        }
        for finding in &mut self.findings {
            if other.seen.tally(finding.check).bad == 0 {
                finding
                    .life
                    .absorb(&Life::after(other.seen.tally(finding.check)));
            }
        }
        self.seen.merge(&other.seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::{CHECKS, Facts, Phase, Tally, check};
    use proptest::prelude::*;

    fn counts(tally: Tally) -> Counts {
        let pairs = [(Facts::eligible(12), tally.of), (Facts::bad(12), tally.bad)];
        Counts::from_pairs(pairs.into_iter())
    }

    fn look(book: &mut Book, tally: Tally, at_ms: i64) -> Vec<Change> {
        let counts = counts(tally);
        let standing = Standing {
            counts: &counts,
            host: None,
            n_identities: 2,
            at_ms,
        };
        let mut changes = Vec::new();
        book.observe(
            CHECKS,
            (Scope::Endpoint, "GET x/a"),
            &standing,
            |_, change| changes.push(change),
        );
        changes
    }

    #[test]
    fn a_clean_subject_costs_nothing_and_parts_of_one_become_one() {
        let (mut ada, mut bob) = (Book::default(), Book::default());
        look(&mut ada, Tally { bad: 0, of: 50 }, 1);
        assert_eq!(ada.iter().count(), 0);
        assert_eq!(look(&mut bob, Tally { bad: 2, of: 9 }, 2), [Change::Opened]);
        bob.keep(12, Sample::new(2, ("t", 0, 1, 0), "GET /a 200", "x"));
        let name = bob.iter().next().map(|finding| finding.uid.clone());
        ada.adopt(bob, "GET x/{name}");
        let finding = ada.iter().next().expect("adopted");
        assert_eq!(
            (
                Some(finding.uid.clone()),
                finding.life.phase,
                finding.subject.as_str()
            ),
            (name, Phase::Open, "GET x/{name}")
        );
        assert_eq!(finding.samples.iter().count(), 1);
        assert!(
            look(&mut ada, Tally { bad: 2, of: 59 }, 3).is_empty(),
            "the sum is nothing new"
        );
        assert_eq!(
            look(&mut ada, Tally { bad: 2, of: 159 }, 4),
            [Change::Resolved]
        );
    }

    proptest! {
        #[test]
        fn a_book_tells_what_lives_kept_from_the_beginning_tell(hours in prop::collection::vec((0u64..3, 0u64..40), 1..60)) {
            let (mut book, mut life, mut tally) = (Book::default(), Life::default(), Tally::default());
            for (hour, (bad, clean)) in hours.into_iter().enumerate() {
                // Most hours are clean.
                let bad = if hour % 3 == 2 { bad } else { 0 };
                tally = Tally { bad: tally.bad + bad, of: tally.of + bad + clean };
                let at_ms = hour as i64 * 3_600_000;
                let counts = counts(tally);
                let alone = life.observe(check(12), &Standing { counts: &counts, host: None, n_identities: 2, at_ms });
                prop_assert_eq!(look(&mut book, tally, at_ms), alone.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
