//! Rivals that compare a caller with what an endpoint's callers usually come to: in SQL they would be an aggregate of aggregates,
//! which a rule can't be. In come calls in the order of the log, out come alerts at every setting of the threshold at once.
//!
//! **Invariant:** a caller is compared with periods that had ended; one pass tells at each threshold what a pass with that
//! threshold alone would, as nothing that is learnt depends on it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Told;

/// How long a period is waited for after its end, in milliseconds; as rules wait by default.
const LATENESS_MS: i64 = 60_000;
/// How long a case stays open, and what is news in it: as with the rules beside.
const CASE_MS: i64 = 86_400_000;
const ENDPOINTS_MAX: usize = 8;
const GROWTH: u64 = 10;

/// What is usual for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usual {
    /// The mean, and so many standard deviations more.
    Sigmas,
    /// So many times what 999 in 1000 stay within.
    Tail,
}

/// A rival's design: objects of an endpoint that a caller touches in a period, against those of all callers and periods that ended.
#[derive(Clone, Copy, Debug)]
pub struct Design {
    /// Its name.
    pub name: &'static str,
    period_ms: i64,
    /// Whether calls count only when they were answered.
    answered_only: bool,
    /// Pairs of caller and period an endpoint needs before anybody is compared.
    sessions_min: u64,
    usual: Usual,
    /// Rising.
    pub thresholds: &'static [f64],
    /// The threshold as published, or as it is taken to be.
    pub default: f64,
}

const TAILS: &[f64] = &[0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 6.0, 12.0, 24.0];

/// Those that are measured.
///
/// * `mean_and_sigmas`: Microsoft Defender for APIs, which compares values of a parameter by address in 20 minutes with 30 days; its
///   cut-off is not published, and three standard deviations stand for it. 30 periods are the fewest of which a deviation says something.
/// * `profile_10000`: Cloudflare API Shield, which profiles sessions of an endpoint from 10,000 on, by what was answered; its threshold is
///   not published, and three times what 999 in 1000 stay within stands for it. A session is a caller's day. `profile_100` is the same
///   from 100 sessions on, a favour.
pub const DESIGNS: [Design; 3] = [
    Design {
        name: "mean_and_sigmas",
        period_ms: 20 * 60_000,
        answered_only: false,
        sessions_min: 30,
        usual: Usual::Sigmas,
        thresholds: &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0],
        default: 3.0,
    },
    Design {
        name: "profile_10000",
        period_ms: 86_400_000,
        answered_only: true,
        sessions_min: 10_000,
        usual: Usual::Tail,
        thresholds: TAILS,
        default: 3.0,
    },
    Design {
        name: "profile_100",
        period_ms: 86_400_000,
        answered_only: true,
        sessions_min: 100,
        usual: Usual::Tail,
        thresholds: TAILS,
        default: 3.0,
    },
];

/// A call on an object as a rival sees it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its line, from 1.
    pub line: i64,
    /// Event time in milliseconds.
    pub at_ms: i64,
    /// Hash of who calls: the identity, or the address.
    pub caller: u64,
    /// Hash of the endpoint.
    pub endpoint: u64,
    /// Hash of the object.
    pub object: u64,
    /// Whether it was answered 2xx.
    pub answered: bool,
}

/// A rival at work. It holds the objects of the periods that are open, 8 bytes each, and a number for each different count an
/// endpoint ever had.
#[derive(Debug)]
pub struct Rival {
    design: Design,
    reached_ms: i64,
    /// By period, endpoint and caller.
    open: BTreeMap<i64, HashMap<(u64, u64), Session>>,
    past: HashMap<u64, Past>,
    /// By threshold and caller.
    cases: Vec<HashMap<u64, Case>>,
    /// By threshold.
    told: Vec<Vec<Told>>,
}

/// What one caller did at one endpoint in one period.
#[derive(Debug, Default)]
struct Session {
    objects: HashSet<u64>,
    /// Thresholds passed.
    n_passed: usize,
}

/// Counts of objects of an endpoint's sessions that ended.
#[derive(Debug, Default)]
struct Past {
    by_count: BTreeMap<u64, u64>,
    n: u64,
    sum: f64,
    sum_of_squares: f64,
}

#[derive(Debug)]
struct Case {
    started_ms: i64,
    n_findings: u64,
    n_told: u64,
    endpoints: Vec<u64>,
}

impl Rival {
    /// A rival that has seen nothing.
    pub fn new(design: Design) -> Rival {
        let n = design.thresholds.len();
        Rival {
            design,
            reached_ms: i64::MIN,
            open: BTreeMap::new(),
            past: HashMap::new(),
            cases: (0..n).map(|_| HashMap::new()).collect(),
            told: vec![Vec::new(); n],
        }
    }

    /// Sees a call; calls come in the order of the log. One that is late for its period counts no more.
    pub fn see(&mut self, call: &Call) {
        if self.design.answered_only && !call.answered {
            return;
        }
        self.reached_ms = self.reached_ms.max(call.at_ms);
        self.end_periods();
        let period = call.at_ms.div_euclid(self.design.period_ms);
        if self.has_ended(period) {
            return;
        }
        let sessions = self.open.entry(period).or_default();
        let session = sessions.entry((call.endpoint, call.caller)).or_default();
        if !session.objects.insert(call.object) {
            return;
        }
        let Some(past) = self.past.get(&call.endpoint) else {
            return;
        };
        let n = session.objects.len() as f64;
        let before = session.n_passed;
        for threshold in &self.design.thresholds[before..] {
            match past.limit(&self.design, *threshold) {
                Some(limit) if limit < n => session.n_passed += 1,
                _ => break,
            }
        }
        for at in before..session.n_passed {
            self.find(at, call);
        }
    }

    /// How it decides.
    pub fn design(&self) -> &Design {
        &self.design
    }

    /// The alerts at each threshold, in the order of the thresholds.
    pub fn told(&self) -> &[Vec<Told>] {
        &self.told
    }

    fn has_ended(&self, period: i64) -> bool {
        let end_ms = period
            .saturating_add(1)
            .saturating_mul(self.design.period_ms);
        end_ms.saturating_add(LATENESS_MS) <= self.reached_ms
    }

    fn end_periods(&mut self) {
        while let Some(period) = self.open.keys().next().copied()
            && self.has_ended(period)
        {
            let ended = self.open.remove(&period).unwrap_or_default();
            for ((endpoint, _), session) in ended {
                let past = self.past.entry(endpoint).or_default();
                past.add(session.objects.len() as u64);
            }
        }
    }

    /// Tells what is news of the caller's case.
    fn find(&mut self, at: usize, call: &Call) {
        let cases = &mut self.cases[at];
        let is_open = |case: &Case| call.at_ms.saturating_sub(case.started_ms) < CASE_MS;
        let open = cases.get_mut(&call.caller).filter(|case| is_open(case));
        let created = open.is_none();
        let is_news = match open {
            Some(case) => case.is_news(call.endpoint),
            None => {
                let case = Case {
                    started_ms: call.at_ms,
                    n_findings: 1,
                    n_told: 1,
                    endpoints: vec![call.endpoint],
                };
                cases.insert(call.caller, case);
                true
            }
        };
        if is_news {
            self.told[at].push(Told {
                line: call.line,
                rule: self.design.name.to_owned(),
                created,
                about_identity: true,
                title: String::new(),
                time_ms: call.at_ms,
            });
        }
    }
}

impl Case {
    fn is_news(&mut self, endpoint: u64) -> bool {
        self.n_findings += 1;
        let spreads = !self.endpoints.contains(&endpoint) && self.endpoints.len() < ENDPOINTS_MAX;
        if spreads {
            self.endpoints.push(endpoint);
        }
        let is_news = spreads || self.n_told * GROWTH <= self.n_findings;
        if is_news {
            self.n_told = self.n_findings;
        }
        is_news
    }
}

impl Past {
    fn add(&mut self, count: u64) {
        *self.by_count.entry(count).or_default() += 1;
        let of = count as f64;
        self.n += 1;
        self.sum += of;
        self.sum_of_squares += of * of;
    }

    /// What a count must exceed; none while too little is known.
    fn limit(&self, design: &Design, threshold: f64) -> Option<f64> {
        if self.n < design.sessions_min {
            return None;
        }
        let n = self.n as f64;
        match design.usual {
            Usual::Sigmas => {
                let mean = self.sum / n;
                // Of a sample. Sums of squares of whole numbers are exact.
                let variance = (self.sum_of_squares - n * mean * mean) / (n - 1.0);
                Some(mean + threshold * variance.max(0.0).sqrt())
            }
            Usual::Tail => {
                let mut n_within = 0;
                let rank = (self.n as f64 * 0.999).ceil() as u64;
                let tail = self.by_count.iter().find(|(_, n)| {
                    n_within += **n;
                    rank <= n_within
                });
                tail.map(|(count, _)| *count as f64 * threshold)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn call(line: i64, at_ms: i64, caller: u64, object: u64) -> Call {
        Call {
            line,
            at_ms,
            caller,
            endpoint: 1,
            object,
            answered: true,
        }
    }

    /// 30 callers in one period, half with one object and half with three: mean 2, deviation sqrt(30 / 29) = 1.017.
    fn seen(design: Design) -> Rival {
        let mut rival = Rival::new(design);
        for caller in 0..30 {
            for object in 0..1 + 2 * (caller % 2) {
                rival.see(&call(1, 0, caller, object));
            }
        }
        rival
    }

    #[test]
    fn mean_and_sigmas_are_those_of_periods_that_ended() {
        let mut rival = seen(DESIGNS[0]);
        // 21 minutes on the first period has ended. Three deviations are at 5.05, four at 6.07, six at 8.10.
        for object in 1..=8 {
            rival.see(&call(100 + object, 21 * MINUTE_MS, 99, object as u64));
        }
        let lines: Vec<Vec<i64>> = rival
            .told()
            .iter()
            .map(|told| told.iter().map(|told| told.line).collect())
            .collect();
        // At 1 deviation (3.02) the 4th, at 2 (4.03) the 5th, at 3 the 6th, at 4 the 7th; 6 are not passed.
        let expected = [vec![104], vec![105], vec![106], vec![107], vec![]];
        assert_eq!(lines[..5], expected);
        assert!(lines[5..].iter().all(Vec::is_empty));
    }

    #[test]
    fn a_period_is_waited_for_and_what_is_late_counts_no_more() {
        let mut rival = seen(DESIGNS[0]);
        // Nobody is compared while the first period is waited for: it may still grow.
        for object in 0..20 {
            rival.see(&call(200, 20 * MINUTE_MS + 59_999, 98, object));
        }
        assert!(rival.told.iter().all(Vec::is_empty));
        rival.see(&call(201, 22 * MINUTE_MS, 97, 0));
        for object in 100..200 {
            rival.see(&call(202, MINUTE_MS, 0, object));
        }
        assert!(rival.told.iter().all(Vec::is_empty), "late");
    }

    #[test]
    fn a_case_is_told_once_a_day_but_for_news() {
        let mut rival = seen(DESIGNS[0]);
        let walk = |rival: &mut Rival, line, endpoint, at_ms| {
            for object in 0..100 {
                rival.see(&Call {
                    endpoint,
                    ..call(line, at_ms, 99, object)
                });
            }
        };
        walk(&mut rival, 301, 1, 30 * MINUTE_MS);
        walk(&mut rival, 302, 1, 50 * MINUTE_MS);
        walk(&mut rival, 303, 1, CASE_MS + 31 * MINUTE_MS);
        let told: Vec<_> = rival.told[0].iter().map(|t| (t.line, t.created)).collect();
        assert_eq!(told, [(301, true), (303, true)]);
    }

    #[test]
    fn a_profile_waits_for_its_sessions() {
        let (small, large) = (DESIGNS[2], DESIGNS[1]);
        assert_eq!((small.sessions_min, large.sessions_min), (100, 10_000));
        for (design, found) in [(small, vec![401]), (large, vec![])] {
            let mut rival = Rival::new(design);
            // 1000 callers of a day with one object, but one with two: 999 in 1000 stay within one.
            for caller in 0..1_000 {
                rival.see(&call(1, 0, caller, 0));
            }
            rival.see(&call(1, 0, 0, 1));
            // Three times that are passed by the fourth object; refused ones don't count.
            for object in 0..4 {
                let refused = Call {
                    answered: false,
                    ..call(400, CASE_MS + 2 * MINUTE_MS, 9_999, 10 + object)
                };
                rival.see(&refused);
                rival.see(&call(
                    398 + object as i64,
                    CASE_MS + 2 * MINUTE_MS,
                    9_999,
                    object,
                ));
            }
            let at = design.thresholds.iter().position(|t| *t == design.default);
            let told = &rival.told[at.expect("the default is among them")];
            assert_eq!(told.iter().map(|t| t.line).collect::<Vec<_>>(), found);
        }
    }
}
