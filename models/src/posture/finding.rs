//! A finding: which fault of what, its life, some calls that showed it.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::check::{Check, Scope};
use super::life::Life;

/// Calls kept of one finding.
pub const SAMPLES_MAX: usize = 3;
/// Longest text of a sample, in bytes; the rest is cut at a character.
const SAMPLE_BYTES_MAX: usize = 256;
/// Longest owner's label, in bytes.
const OWNER_BYTES_MAX: usize = 128;

/// One fault of one endpoint, host, identity or source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name for good, whatever its subject is called later.
    pub uid: String,
    /// Number of the check.
    pub check: u8,
    /// What it is about: `GET host /template`, a host, an identity, a topic.
    pub subject: String,
    /// Its life.
    pub life: Life,
    /// Identities that showed it, estimated.
    pub n_identities: u64,
    /// Calls that showed it.
    pub samples: Samples,
    /// Who answers for the subject.
    pub owner: Option<String>,
}

impl Finding {
    /// A finding with nothing seen yet.
    pub fn new(check: &Check, subject: &str) -> Finding {
        Finding {
            uid: fingerprint(check, subject),
            check: check.number,
            subject: subject.to_owned(),
            life: Life::default(),
            n_identities: 0,
            samples: Samples::default(),
            owner: None,
        }
    }

    /// Names who answers for the subject.
    pub fn set_owner(&mut self, owner: Option<&str>) {
        self.owner = owner.map(|owner| cut(owner, OWNER_BYTES_MAX));
    }

    /// Takes over the findings of endpoints that are one endpoint now, in any order.
    ///
    /// The name stays that of the one that was told first, so that what a SIEM holds open is what is closed later.
    pub fn adopt(mut self, other: Finding, subject: &str) -> Finding {
        let rank = |finding: &Finding| {
            let since = if finding.life.first_ms == 0 {
                i64::MAX
            } else {
                finding.life.first_ms
            };
            (since, finding.uid.clone())
        };
        if rank(&other) < rank(&self) {
            self.uid = other.uid;
        }
        self.subject = subject.to_owned();
        self.life.absorb(&other.life);
        // Estimates of overlapping crowds: the larger is certain.
        self.n_identities = self.n_identities.max(other.n_identities);
        self.samples.merge(&other.samples);
        self.owner = match (self.owner, other.owner) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self
    }
}

/// The name of a finding: 16 hex digits of check and subject.
///
/// Variables count alike whatever they are called, so `{id}` that becomes `{orderId}` is the same. A template whose words
/// become variables is another name: then the findings of what it [`covers`] are adopted, and the first one's name stays.
pub fn fingerprint(check: &Check, subject: &str) -> String {
    let mut hash = Xxh3::new();
    hash.update(check.id.as_bytes());
    hash.update(&[0, check.scope as u8]);
    if check.scope == Scope::Endpoint {
        let mut rest = subject;
        while let Some(open) = rest.find('{') {
            let close = rest[open..]
                .find('}')
                .map_or(rest.len(), |at| open + at + 1);
            hash.update(&rest.as_bytes()[..open]);
            hash.update(b"{}");
            rest = &rest[close..];
        }
        hash.update(rest.as_bytes());
    } else {
        hash.update(subject.as_bytes());
    }
    format!("{:016x}", hash.digest())
}

/// True when every call of endpoint `old` (`METHOD host /template`) is one of `new`, which is another: segment by segment
/// equal or a variable of `new`.
pub fn covers(new: &str, old: &str) -> bool {
    let (Some((new_head, new_path)), Some((old_head, old_path))) =
        (new.split_once('/'), old.split_once('/'))
    else {
        return false;
    };
    let mut pairs = 0;
    let fits = new_head == old_head
        && new != old
        && new_path.split('/').count() == old_path.split('/').count()
        && new_path
            .split('/')
            .zip(old_path.split('/'))
            .all(|(new, old)| {
                pairs += 1;
                new == old || (new.starts_with('{') && new.ends_with('}'))
            });
    fits && 0 < pairs
}

/// A call that showed the fault: where it lies and what may be told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sample {
    /// Event time, ms.
    pub at_ms: i64,
    /// Topic or file of the source record.
    pub topic: String,
    /// Partition of it.
    pub partition: i32,
    /// Offset, or line.
    pub offset: i64,
    /// Index of the call in the record.
    pub row: i32,
    /// `METHOD /path status`, secrets blanked.
    pub call: String,
    /// Name of the identity, as the events carry it.
    pub identity: String,
}

impl Sample {
    /// A sample with its texts cut to 256 bytes and without control characters.
    pub fn new(
        at_ms: i64,
        (topic, partition, offset, row): (&str, i32, i64, i32),
        call: &str,
        identity: &str,
    ) -> Sample {
        let text = |text: &str| cut(text, SAMPLE_BYTES_MAX);
        Sample {
            at_ms,
            topic: text(topic),
            partition,
            offset,
            row,
            call: text(call),
            identity: text(identity),
        }
    }
}

fn cut(text: &str, bytes_max: usize) -> String {
    let text = &text[..text.floor_char_boundary(bytes_max)];
    // As nearly all are.
    if text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Event time within which one late call is as good as another, ms: texts are made of the first of each such span alone.
const SPAN_MS: i64 = 10_000;

/// Some calls: the first two, and of those after them the first of the latest ten seconds that had one; by event time and
/// position, whatever the order they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Keeps a call, perhaps.
    pub fn keep(&mut self, sample: Sample) {
        let Err(at) = self.0.binary_search(&sample) else {
            return;
        };
        self.0.insert(at, sample);
        let Some((_, rest)) = self.0.split_at_mut_checked(SAMPLES_MAX - 1) else {
            return;
        };
        let span = |sample: &Sample| sample.at_ms.div_euclid(SPAN_MS);
        if let Some(latest) = rest.last().map(span) {
            rest.swap(0, rest.partition_point(|sample| span(sample) < latest));
            self.0.truncate(SAMPLES_MAX);
        }
    }

    /// True when a call of that time would be kept: so that its texts need not be made.
    pub fn wants(&self, at_ms: i64) -> bool {
        let [_, second, third] = self.0.as_slice() else {
            return true;
        };
        let (span, latest) = (at_ms.div_euclid(SPAN_MS), third.at_ms.div_euclid(SPAN_MS));
        at_ms <= second.at_ms || latest < span || (latest == span && at_ms <= third.at_ms)
    }

    /// Keeps another's.
    pub fn merge(&mut self, other: &Samples) {
        other.0.iter().for_each(|sample| self.keep(sample.clone()));
    }

    /// The calls, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::check;
    use proptest::prelude::*;

    #[test]
    fn a_finding_keeps_its_name_when_variables_are_renamed_and_not_when_paths_differ() {
        let auth = check(1);
        let name = |subject: &str| fingerprint(auth, subject);
        assert_eq!(
            name("GET api.x/orders/{id}/items/{id2}"),
            name("GET api.x/orders/{orderId}/items/{x}")
        );
        assert_ne!(
            name("GET api.x/orders/{id}"),
            name("GET api.x/orders/{id}/items")
        );
        assert_ne!(name("GET api.x/orders/{id}"), name("PUT api.x/orders/{id}"));
        assert_ne!(name("GET api.x/a"), fingerprint(check(2), "GET api.x/a"));
        assert_eq!(
            fingerprint(auth, "GET api.x/a{"),
            fingerprint(auth, "GET api.x/a{b"),
            "an open brace is harmless"
        );
    }

    #[test]
    fn a_template_covers_what_its_variables_stand_for() {
        #[rustfmt::skip]
        let table = [
            ("GET x/users/{name}", "GET x/users/ada", true), ("GET x/users/{name}", "GET x/users/{name}", false), ("GET x/users/{name}", "GET y/users/ada", false),
            ("GET x/users/{name}", "PUT x/users/ada", false), ("GET x/users/{name}", "GET x/users/ada/books", false), ("GET x/{a}/{b}", "GET x/users/{name}", true),
            ("GET x/users/ada", "GET x/users/{name}", false), ("x", "y", false),
        ];
        for (new, old, want) in table {
            assert_eq!(covers(new, old), want, "{new} {old}");
        }
    }

    #[test]
    fn findings_of_endpoints_that_became_one_keep_the_first_ones_name() {
        let told = |subject: &str, first_ms| {
            let mut finding = Finding::new(check(1), subject);
            finding.life.first_ms = first_ms;
            finding
        };
        let (ada, bob, new) = (
            told("GET x/users/ada", 50),
            told("GET x/users/bob", 20),
            told("GET x/users/{name}", 0),
        );
        let name = bob.uid.clone();
        let one = new
            .clone()
            .adopt(ada.clone(), "GET x/users/{name}")
            .adopt(bob.clone(), "GET x/users/{name}");
        let two = bob
            .adopt(new, "GET x/users/{name}")
            .adopt(ada, "GET x/users/{name}");
        assert_eq!((&one.uid, &one), (&name, &two));
    }

    #[test]
    fn texts_of_callers_are_cut_and_have_no_control_characters() {
        let sample = Sample::new(
            1,
            ("t", 0, 1, 0),
            &format!("GET /a\n\u{1b}[31m{}", "ä".repeat(300)),
            "x\u{7}",
        );
        assert!(
            sample.call.len() <= SAMPLE_BYTES_MAX
                && !sample.call.contains(char::is_control)
                && sample.identity == "x "
        );
    }

    proptest! {
        #[test]
        fn samples_are_the_same_in_any_order(times in prop::collection::vec((0i64..9, 0i64..9), 0..12), at in 0usize..12) {
            // Two or three of the times are in one span.
            let ms = |time: i64| time * SPAN_MS * 2 / 5;
            let sample = |(at, offset): &(i64, i64)| Sample::new(ms(*at), ("t", 0, *offset, 0), "GET / 200", "x");
            let mut all = Samples::default();
            times.iter().for_each(|time| all.keep(sample(time)));
            let (head, tail) = times.split_at(at.min(times.len()));
            let (mut one, mut two) = (Samples::default(), Samples::default());
            head.iter().rev().for_each(|time| one.keep(sample(time)));
            tail.iter().for_each(|time| two.keep(sample(time)));
            two.merge(&one);
            prop_assert_eq!(&two, &all);
            for time in &times {
                let mut with = one.clone();
                with.keep(sample(time));
                prop_assert!(one.wants(ms(time.0)) || with == one, "what is not wanted is not kept");
            }
            let mut sorted: Vec<(i64, i64)> = times.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let span = |n: usize| ms(sorted[n].0).div_euclid(SPAN_MS);
            let late = (2..sorted.len()).find(|n| span(*n) == span(sorted.len() - 1));
            let kept = (0..sorted.len()).filter(|n| *n < 2 || Some(*n) == late);
            let want: Vec<Sample> = kept.map(|n| sample(&sorted[n])).collect();
            prop_assert_eq!(all.iter().cloned().collect::<Vec<_>>(), want);
        }
    }
}
