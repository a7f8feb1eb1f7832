//! Evidence that somebody probes a host through many callers, each too quiet to be told by itself.
//!
//! Comes in: per host how many calls there were, and each caller's first few probes of a day. Goes out: the evidence of an
//! e-detector per host, whose unit is a *caller* that sends a probe nobody has sent to that host before, once a day: a bad link
//! in a release is one unit however many follow it, and one scanner is one unit however loud it is (the callers' own detector,
//! [`probing`](crate::probing), is for that one).
//!
//! * The null: units come at rate `l = (c + 3 sqrt(c + 1) + 5) / (n + 1000)` a call at most, of `c` units in `n` calls of the host's past: what a
//!   Poisson process of that many hardly ever exceeds, as the promise holds for any rate up to the one assumed.
//! * The alternative: at 3, 10, 30 or 100 times that rate. Of Poisson processes, the likelihood ratio of one unit after `m` calls
//!   is `x exp(-(x - 1) l m)`.
//! * Shiryaev-Roberts over units (Shin, Ramdas and Rinaldo, 2023), the mean over the four. By its promise there is one false alarm in
//!   A units at most; units being one call in thousands, one in far more than A calls.
//! * Nothing is judged before the host has been seen for the warm-up: at first each path is new to everybody.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::generations::Generations;
use crate::posture::check::{Check, Decided, Scope, Severity, Test, Tier};
use crate::posture::{Counts, Facts, Finding, Sample, Samples, Standing, Told};
use crate::walk::Walk;

/// Times the usual rate that are looked for.
const RATES: [f64; 4] = [3.0, 10.0, 30.0, 100.0];
/// Units and calls before a host is known.
const PRIOR_UNITS: f64 = 5.0;
const PRIOR_CALLS: f64 = 1000.0;
/// Counts are halved beyond so many calls, so that a rate can change.
const CALLS_MAX: f64 = 4e6;
/// Learning has slowed to a half at this evidence, and never slows below the floor.
const GATE_R: f64 = 50.0;
const GATE_FLOOR: f64 = 0.2;
const R_MAX: f64 = 1e30;
const DAY_MS: i64 = 86_400_000;

/// A caller's probe, as its lane tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Hash of the caller.
    pub identity: u64,
    /// Hash of class and raw path, or tool.
    pub path: u64,
    /// The call.
    pub sample: Sample,
}

/// The finding it tells, once a host and day.
pub static PROBE_SPREAD: Check = Check {
    number: 1,
    id: "probe_spread",
    title: "Many callers probe a host, each a little",
    severity: Severity::High,
    tier: Tier::T0,
    scope: Scope::Host,
    needs: &["identity", "status"],
    decided: Decided::Calls(Test::seen(1, 0)),
    finding: "debug_or_admin_path_open",
    bad: "callers with credentials that send probes nobody has sent to the host before, at a rate that its past makes as unlikely as the promise asks",
    contrary: "nothing: a case that is over is no fault that was mended",
    quiet: "A caller counts once a day and a probe once ever, so one bad link or one scanner is one. Nothing is judged in the host's first hours (`models.warm_up_hours`).",
    remedy: "Look at the samples: accounts that were taken over in a row? Lock them, and look at what they were answered.",
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Host {
    started_ms: Option<i64>,
    n_calls: f64,
    n_units: f64,
    /// Calls since the last unit.
    n_since: f64,
    r: [f64; RATES.len()],
    /// Callers of the run.
    n_callers: u64,
    /// A call each of the run's first and latest callers.
    samples: Samples,
    /// What was told of it, and how often the evidence reached A.
    finding: Option<Box<Finding>>,
    n_alarms: u64,
}

impl Host {
    fn evidence(&self) -> f64 {
        self.r.iter().sum::<f64>() / RATES.len() as f64
    }
}

/// The detector of one lane of hosts.
#[derive(Debug)]
pub struct SpreadDetector {
    alarm_at: f64,
    warm_up_ms: i64,
    hosts: Generations<u64, Host>,
    /// Probes sent to a host before.
    known: Generations<u64, ()>,
    /// When a caller was a unit of a host last, ms.
    counted: Generations<u64, i64>,
}

impl SpreadDetector {
    /// Bytes of a host at most.
    pub const HOST_BYTES: usize = Generations::<u64, Host>::ENTRY_BYTES + 6144;
    /// Bytes of a probe remembered.
    pub const PROBE_BYTES: usize =
        Generations::<u64, ()>::ENTRY_BYTES + Generations::<u64, i64>::ENTRY_BYTES;

    /// A detector that alarms at evidence `1e6 / false_alerts_per_million_events`, on hosts seen for `warm_up_ms`.
    pub fn new(
        false_alerts_per_million_events: f64,
        warm_up_ms: i64,
        hosts_max: usize,
        probes_max: usize,
    ) -> SpreadDetector {
        SpreadDetector {
            alarm_at: 1e6 / false_alerts_per_million_events,
            warm_up_ms,
            hosts: Generations::new(hosts_max).keeping(Host::evidence),
            known: Generations::new(probes_max),
            counted: Generations::new(probes_max),
        }
    }

    /// Notes calls to a host.
    pub fn calls(&mut self, host: &str, n: u64, at_ms: i64) {
        let host = self.hosts.entry(xxh3_64(host.as_bytes()));
        host.started_ms.get_or_insert(at_ms);
        host.n_calls += n as f64;
        host.n_since += n as f64;
        if CALLS_MAX < host.n_calls {
            host.n_calls /= 2.0;
            host.n_units /= 2.0;
        }
    }

    /// Takes a probe in; what is to be told comes out.
    pub fn observe(&mut self, name: &str, probe: &Probe) -> Option<Told> {
        let at_ms = probe.sample.at_ms;
        let key = xxh3_64(name.as_bytes());
        let path = key ^ probe.path.rotate_left(13);
        let is_known = self.known.get(&path).is_some();
        self.known.entry(path);
        let caller = key ^ probe.identity.rotate_left(29);
        let is_counted = self
            .counted
            .get(&caller)
            .is_some_and(|last_ms| (at_ms - last_ms).abs() < DAY_MS);
        if is_known || is_counted {
            return None;
        }
        *self.counted.entry(caller) = at_ms;
        let (alarm_at, warm_up_ms) = (self.alarm_at, self.warm_up_ms);
        let host = self.hosts.entry(key);
        let started_ms = *host.started_ms.get_or_insert(at_ms);
        let units = host.n_units + 3.0 * (host.n_units + 1.0).sqrt() + PRIOR_UNITS;
        let rate = units / (host.n_calls + PRIOR_CALLS);
        let gate = (1.0 / (1.0 + host.evidence() / GATE_R)).max(GATE_FLOOR);
        host.n_units += gate;
        let n_since = std::mem::take(&mut host.n_since);
        if at_ms - started_ms < warm_up_ms {
            return None;
        }
        for (r, times) in host.r.iter_mut().zip(RATES) {
            let ratio = times * (-(times - 1.0) * rate * n_since).exp();
            *r = ((1.0 + *r) * ratio).min(R_MAX);
        }
        if host.evidence() < 1.0 {
            // What was before says nothing any more.
            (host.n_callers, host.samples) = (0, Samples::default());
        }
        host.n_callers = host.n_callers.saturating_add(1);
        host.samples.keep(probe.sample.clone());
        if host.evidence() < alarm_at {
            return None;
        }
        host.r = [0.0; RATES.len()];
        host.n_alarms += 1;
        let n_callers = std::mem::take(&mut host.n_callers);
        let mut finding = match host.finding.take() {
            Some(finding) => finding,
            None => Box::new(Finding::new(&PROBE_SPREAD, name)),
        };
        finding.samples = std::mem::take(&mut host.samples);
        finding.n_identities = n_callers;
        let facts = [
            Facts::eligible(PROBE_SPREAD.number),
            Facts::bad(PROBE_SPREAD.number),
        ];
        let counts = Counts::from_pairs(facts.into_iter().map(|fact| (fact, host.n_alarms)));
        let standing = Standing {
            counts: &counts,
            host: None,
            n_identities: n_callers,
            at_ms,
        };
        let change = finding.life.observe(&PROBE_SPREAD, &standing);
        let told = change.map(|change| Told {
            finding: Finding::clone(&finding),
            check: &PROBE_SPREAD,
            change,
            at_ms,
        });
        host.finding = Some(finding);
        told
    }

    /// Hosts held.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// True before the first call.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Bytes, about.
    pub fn state_bytes(&self) -> usize {
        self.hosts.table_bytes() + self.known.table_bytes() + self.counted.table_bytes()
    }

    /// Hosts forgotten at a bound.
    pub fn n_evicted(&self) -> u64 {
        self.hosts.n_evicted()
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("spread.hosts", &mut self.hosts);
        walk.table("spread.known", &mut self.known);
        walk.table("spread.counted", &mut self.counted);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::posture::Change;

    const HOUR_MS: i64 = 3_600_000;

    fn probe(identity: u64, path: u64, at_ms: i64) -> Probe {
        Probe {
            identity,
            path,
            sample: Sample::new(at_ms, ("t", 0, at_ms, 0), "GET /x 404", "somebody"),
        }
    }

    fn detector() -> SpreadDetector {
        SpreadDetector::new(1.0, 12 * HOUR_MS, 100, 100_000)
    }

    /// Days of a host with `n_calls` calls an hour, and a unit every `every_hours`.
    fn settled(n_calls: u64, every_hours: i64, days: i64) -> (SpreadDetector, u64) {
        let (mut detector, mut alarms) = (detector(), 0);
        for hour in 0..days * 24 {
            let at_ms = hour * HOUR_MS;
            detector.calls("h", n_calls, at_ms);
            if hour % every_hours == 0 {
                let n = hour as u64;
                let told = detector.observe("h", &probe(n % 300, 1_000_000 + n, at_ms));
                alarms += u64::from(told.is_some());
            }
        }
        (detector, alarms)
    }

    #[test]
    fn twenty_callers_with_a_probe_an_hour_each_are_one_case() {
        let (mut detector, alarms) = settled(2000, 6, 4);
        assert_eq!(alarms, 0);
        let mut found = None;
        for n in 0..40_u64 {
            let at_ms = 96 * HOUR_MS + n as i64 * HOUR_MS / 20;
            detector.calls("h", 100, at_ms);
            let told = detector.observe("h", &probe(5000 + n % 20, 9_000_000 + n, at_ms));
            if let Some(told) = told {
                found.get_or_insert((n + 1, told));
            }
        }
        let (n, told) = found.expect("found");
        assert!(n <= 20, "at probe {n}");
        assert_eq!(told.change, Change::Opened);
        assert!(4 <= told.finding.n_identities && told.finding.n_identities <= n);
        assert_eq!(told.finding.samples.iter().count(), 3);
    }

    #[test]
    fn one_bad_link_and_one_scanner_are_a_unit_each() {
        let (mut detector, _) = settled(2000, 6, 4);
        let at_ms = 97 * HOUR_MS;
        let mut alarms = 0;
        for n in 0..500_u64 {
            for probe in [
                probe(n, 77, at_ms + n as i64),
                probe(9, 8_000_000 + n, at_ms + n as i64),
            ] {
                let told = detector.observe("h", &probe);
                alarms += u64::from(told.is_some());
            }
        }
        assert_eq!(alarms, 0);
    }

    #[test]
    fn nothing_is_judged_while_all_is_new() {
        let mut detector = detector();
        for n in 0..500 {
            detector.calls("h", 1, n as i64);
            assert!(detector.observe("h", &probe(n, n, n as i64)).is_none());
        }
    }

    #[test]
    fn a_million_callers_and_paths_stay_within_the_bounds() {
        let mut detector = SpreadDetector::new(1.0, 0, 10, 1000);
        for n in 0..1_000_000_u64 {
            let host = format!("h{}", n % 1000);
            detector.observe(&host, &probe(n, n, n as i64));
        }
        assert!(detector.len() <= 10 && detector.known.len() <= 1000);
        assert!(detector.counted.len() <= 1000);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
        /// Units that come by chance, at whatever rate the host has, raise no alarm in a month.
        #[test]
        fn the_promise_holds_where_units_come_by_chance(seed in any::<u64>(), per_thousand in 1_u64..200) {
            let mut detector = detector();
            let mut state = seed;
            let mut next = || { state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407); state >> 33 };
            let mut alarms = 0;
            for minute in 0..30 * 24 * 60_i64 {
                let at_ms = minute * 60_000;
                detector.calls("h", 20, at_ms);
                if next() % 1000 < per_thousand {
                    let told = detector.observe("h", &probe(next(), next(), at_ms));
                    alarms += u64::from(told.is_some());
                }
            }
            prop_assert_eq!(alarms, 0);
        }
    }
}
