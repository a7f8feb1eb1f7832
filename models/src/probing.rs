//! Evidence that a caller probes for misconfiguration (OWASP API8), loud or quiet.
//!
//! Comes in: every call of an identity, with its request-local [`ProbeClass`] if it has one. Three
//! classes are decided here, from what *other* identities were answered: a path nobody else reaches,
//! a verb nobody else uses there, and an MCP tool nobody else calls. Goes out: the evidence of a
//! Shiryaev-Roberts e-detector per identity over probe classes.
//!
//! * The null: `p_y = (c_y + 200 m_y) / (n + 200)`, never below 1e-5, where `m_y` is the mean over
//!   identities of the class's share, at most 2 % each. Every identity with a credential votes each
//!   64th call, whether it probed or not.
//! * The alternative: a share e of calls are probes, of class y with `a_y = (k_y + 1) / (k + 14)`,
//!   k the probes of the current run: at first all classes alike, then what this prober prefers.
//!   `a` depends on the past alone and sums to one, so `L_e = e a_y / p_y + 1 - e` keeps its promise.
//! * No warm-up: it judges from the first event. Only tools wait for it: at first each is its first caller's alone.
//!
//! A probe counts once per (identity, class, path): a broken client that repeats one bad call stays
//! one unit. 250 bytes an identity, 16 an endpoint, 9 a probe remembered; all bounded.

use serde::{Deserialize, Serialize};

use crate::generations::Generations;
use crate::probe::ProbeClass;
use crate::walk::Walk;

const SHARES: [f64; 4] = [0.02, 0.1, 0.4, 0.9];
const CLASSES: usize = ProbeClass::ALL.len();
/// Pseudo-calls of the peers' mix in every caller's own.
const KAPPA: f64 = 200.0;
/// Share of calls in a class before any identity is known, and pseudo-identities that say so.
const PRIOR: f64 = 3e-4;
const PRIOR_IDENTITIES: f64 = 20.0;
/// An identity says at most this of its peers, and a class is never rarer than the floor, for anybody: one odd
/// call of the best-known client is odd, and no proof.
const SHARE_MAX: f64 = 0.02;
const SHARE_FLOOR: f64 = 1e-5;
/// Learning a probe never slows below this share, and has slowed to a half at this evidence.
const GATE_FLOOR: f64 = 0.2;
const GATE_R: f64 = 50.0;
/// Weight of this detector in the sum that must not pass one.
pub const PROBE_WEIGHT: f64 = 0.2;
const R_MAX: f64 = 1e30;
/// Counts are halved beyond this, so that a mix can change.
const N_MAX: f32 = 2000.0;
/// Calls between two votes of an identity.
const VOTE_EVERY: u8 = 64;

/// One call as the detector meets it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Hash of the identity.
    pub identity: u64,
    /// Hash of host and template, without the method.
    pub template: u64,
    /// Hash of method, host and template.
    pub endpoint: u64,
    /// Hash of host and template of an MCP server, and of the tool called there; none for other calls.
    pub tool: Option<(u64, u64)>,
    /// Whether a tool nobody else calls is a probe: not while all are new.
    pub judges_tools: bool,
    /// Hash of the raw path, to count a repeated probe once.
    pub path: u64,
    /// Class visible in the request alone.
    pub class: Option<ProbeClass>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Weight of the identity's grade, in (0, 1].
    pub weight: f64,
    /// Whether the caller showed a credential (grades A to C): only then does it say what is usual. Identities
    /// without one cost nothing, and scanners have as many as they like.
    pub votes: bool,
    /// Event time, ms.
    pub at_ms: i64,
}

/// What the detector says of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Probing {
    /// Class of the call, the state's classes included.
    pub class: Option<ProbeClass>,
    /// Weighted evidence, compared with A.
    pub evidence: f64,
    /// True when the evidence reached A on this call; it starts again then.
    pub alarm: bool,
    /// Distinct probes in the current run.
    pub n_probes: u32,
    /// Classes of the current run, bit by [`ProbeClass::ALL`].
    pub classes: u32,
    /// Event time of the run's first probe, ms; 0 without one.
    pub first_ms: i64,
    /// True for a probe this identity has not sent before.
    pub is_fresh: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Identity {
    n: f32,
    counts: [f32; CLASSES],
    voted: [f32; CLASSES],
    has_vote: bool,
    r: [f64; SHARES.len()],
    n_since_vote: u8,
    n_probes: u32,
    by_class: [u16; CLASSES],
    first_ms: i64,
}

impl Identity {
    /// Share of the class among the probes of one who probes as this one has so far.
    fn preference(&self, y: usize) -> f64 {
        (f64::from(self.by_class[y]) + 1.0) / (f64::from(self.n_probes) + CLASSES as f64)
    }

    fn note(&mut self, y: usize, at_ms: i64) {
        // A run is over long before: kept equal, so that the preferences sum to one.
        if self.by_class[y] < u16::MAX {
            self.by_class[y] += 1;
            self.n_probes += 1;
        }
        if self.first_ms == 0 {
            self.first_ms = at_ms;
        }
    }

    fn classes(&self) -> u32 {
        let bit = |y: usize| u32::from(self.by_class[y] != 0) << y;
        (0..CLASSES).map(bit).sum()
    }

    fn learn(&mut self, y: Option<usize>, gate: f32) {
        if let Some(y) = y {
            self.counts[y] += gate;
        }
        self.n += if y.is_some() { gate } else { 1.0 };
        if self.n > N_MAX {
            self.n /= 2.0;
            self.counts.iter_mut().for_each(|count| *count /= 2.0);
        }
    }

    fn restart(&mut self) {
        self.r = [0.0; SHARES.len()];
        (self.n_probes, self.by_class, self.first_ms) = (0, [0; CLASSES], 0);
    }

    /// Evidence before its weight: the mean of R over the shares.
    fn evidence(&self) -> f64 {
        self.r.iter().sum::<f64>() / SHARES.len() as f64
    }
}

/// Who was answered with success there: the first identity, and whether there was another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Reached {
    first: u64,
    others: bool,
}

impl Reached {
    fn by_other_than(&self, identity: u64) -> bool {
        self.others || (self.first != 0 && self.first != identity)
    }

    fn note(&mut self, identity: u64) {
        if self.first == 0 {
            self.first = identity;
        } else if self.first != identity {
            self.others = true;
        }
    }
}

/// The detector of one lane.
#[derive(Debug)]
pub struct ProbeDetector {
    alarm_at: f64,
    identities: Generations<u64, Identity>,
    reached: Generations<u64, Reached>,
    counted: Generations<u64, ()>,
    shares: [f64; CLASSES],
    n_identities: f64,
}

impl ProbeDetector {
    /// Bytes an identity takes at most, with its last probes.
    pub const IDENTITY_BYTES: usize =
        Generations::<u64, Identity>::ENTRY_BYTES + Generations::<u64, ()>::ENTRY_BYTES;
    /// Bytes an endpoint takes at most.
    pub const ENDPOINT_BYTES: usize = 2 * Generations::<u64, Reached>::ENTRY_BYTES;

    /// A detector that alarms at evidence `1e6 / false_alerts_per_million_events`.
    pub fn new(
        false_alerts_per_million_events: f64,
        identities_max: usize,
        endpoints_max: usize,
    ) -> Self {
        Self {
            alarm_at: 1e6 / false_alerts_per_million_events,
            identities: Generations::new(identities_max).keeping(|identity: &Identity| {
                // One or two probes are forgotten with who made them.
                if identity.n_probes > 2 {
                    identity.evidence()
                } else {
                    0.0
                }
            }),
            reached: Generations::new(endpoints_max.saturating_mul(2)),
            counted: Generations::new(identities_max),
            shares: [0.0; CLASSES],
            n_identities: 0.0,
        }
    }

    /// Judges one call and learns from it.
    pub fn observe(&mut self, call: &Call) -> Probing {
        let class = self.classify(call);
        if matches!(call.status, Some(200..=399)) {
            self.reached.entry(call.template).note(call.identity);
            self.reached.entry(call.endpoint).note(call.identity);
            if let Some((server, _)) = call.tool {
                self.reached.entry(server).note(call.identity);
            }
        }
        let unit = class.filter(|&class| self.first_of(call, class));
        let m = unit.map_or(0.0, |class| self.mean_share(class));
        let identity = self.identities.entry(call.identity);
        // Under evidence learning slows down, or a prober teaches that probing is usual for it.
        let gate = (1.0 / (1.0 + identity.evidence() / GATE_R)).max(GATE_FLOOR) as f32;
        let mut probing = Probing {
            class,
            is_fresh: unit.is_some(),
            ..Probing::default()
        };
        match unit {
            None => identity.r.iter_mut().zip(SHARES).for_each(|(r, share)| {
                *r = (1.0 + *r) * (1.0 - share);
            }),
            Some(class) => {
                let y = class as usize;
                let p =
                    (f64::from(identity.counts[y]) + KAPPA * m) / (f64::from(identity.n) + KAPPA);
                let lift = identity.preference(y) / p.max(SHARE_FLOOR);
                for (r, share) in identity.r.iter_mut().zip(SHARES) {
                    let ratio = 1.0 - share + share * lift;
                    *r = ((1.0 + *r) * ratio.powf(call.weight)).min(R_MAX);
                }
                identity.note(y, call.at_ms);
            }
        }
        identity.learn(unit.map(|class| class as usize), gate);
        probing.evidence = PROBE_WEIGHT * identity.evidence();
        probing.alarm = unit.is_some() && probing.evidence >= self.alarm_at;
        (probing.n_probes, probing.classes) = (identity.n_probes, identity.classes());
        probing.first_ms = identity.first_ms;
        if probing.alarm {
            identity.restart();
        }
        identity.n_since_vote += u8::from(call.votes);
        if identity.n_since_vote == VOTE_EVERY {
            identity.n_since_vote = 0;
            vote(identity, &mut self.shares, &mut self.n_identities);
        }
        probing
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("probing.identities", &mut self.identities);
        walk.table("probing.reached", &mut self.reached);
        walk.table("probing.counted", &mut self.counted);
        walk.value("probing.shares", &mut self.shares);
        walk.value("probing.n_identities", &mut self.n_identities);
    }

    /// Identities held.
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// True before the first call.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Bytes held.
    pub fn state_bytes(&self) -> usize {
        self.identities.table_bytes() + self.reached.table_bytes() + self.counted.table_bytes()
    }

    fn classify(&self, call: &Call) -> Option<ProbeClass> {
        if call.class.is_some() {
            return call.class;
        }
        let reached = |key: &u64| {
            self.reached
                .get(key)
                .is_some_and(|r| r.by_other_than(call.identity))
        };
        if let Some((server, _)) = &call.tool
            && call.judges_tools
            && reached(server)
            && !reached(&call.template)
        {
            return Some(ProbeClass::UnknownTool);
        }
        match call.status {
            Some(404) if !reached(&call.template) => Some(ProbeClass::UnknownPath),
            Some(403..=405 | 501) if reached(&call.template) && !reached(&call.endpoint) => {
                Some(ProbeClass::UnknownVerb)
            }
            _ => None,
        }
    }

    fn first_of(&mut self, call: &Call, class: ProbeClass) -> bool {
        // All tools of a server have one path.
        let path = call.tool.map_or(call.path, |(_, tool)| call.path ^ tool);
        let key = call.identity ^ path.rotate_left(17) ^ (class as u64) << 56;
        let first = self.counted.get(&key).is_none();
        self.counted.entry(key);
        first
    }

    fn mean_share(&self, class: ProbeClass) -> f64 {
        let sum = PRIOR_IDENTITIES * PRIOR + self.shares[class as usize];
        (sum / (PRIOR_IDENTITIES + self.n_identities)).max(SHARE_FLOOR)
    }
}

fn vote(identity: &mut Identity, shares: &mut [f64; CLASSES], n_identities: &mut f64) {
    if !identity.has_vote {
        identity.has_vote = true;
        *n_identities += 1.0;
    }
    for ((voted, count), share) in identity.voted.iter_mut().zip(identity.counts).zip(shares) {
        let now = f64::from(count / identity.n.max(1.0)).min(SHARE_MAX);
        *share = (*share + now - f64::from(*voted)).max(0.0);
        *voted = now as f32;
    }
}

/// Names of the classes in a run's bits, comma-separated.
pub fn class_names(classes: u32) -> String {
    let names: Vec<_> = ProbeClass::ALL
        .iter()
        .enumerate()
        .filter(|(bit, _)| classes & (1 << bit) != 0)
        .map(|(_, class)| class.as_str())
        .collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(identity: u64, path: u64, status: u16) -> Call {
        Call {
            identity,
            template: path,
            endpoint: path ^ 1,
            tool: None,
            judges_tools: true,
            path,
            class: None,
            status: Some(status),
            weight: 1.0,
            votes: true,
            at_ms: 1,
        }
    }

    fn settled() -> ProbeDetector {
        let mut detector = ProbeDetector::new(1.0, 1000, 1000);
        for identity in 1..=20 {
            for path in 100..110 {
                detector.observe(&call(identity, path, 200));
            }
        }
        detector
    }

    /// Calls `probe` after every `n_normal` known calls, at most twenty times; which one alarms, from one.
    fn probes_to_alarm(
        detector: &mut ProbeDetector,
        n_normal: u64,
        probe: impl Fn(u64) -> Call,
    ) -> Option<u64> {
        (1..=20).find(|&i| {
            for k in 0..n_normal {
                detector.observe(&call(7, 100 + k % 10, 200));
            }
            detector.observe(&probe(i)).alarm
        })
    }

    #[test]
    fn a_quiet_prober_is_found_after_a_few_unknown_paths_among_normal_use() {
        let n = probes_to_alarm(&mut settled(), 5, |i| call(7, 1000 + i, 404));
        let n = n.expect("twenty quiet probes are enough");
        assert!((3..15).contains(&n), "alarm at probe {n}");
    }

    #[test]
    fn a_prober_of_many_classes_is_found_though_a_hundred_clean_callers_vote() {
        let mut detector = settled();
        for identity in 100..200 {
            for i in 0..128 {
                detector.observe(&call(identity, 100 + i % 10, 200));
            }
        }
        let n = probes_to_alarm(&mut detector, 5, |i| Call {
            class: Some(ProbeClass::ALL[i as usize % 5]),
            ..call(7, 1000 + i, 404)
        });
        let n = n.expect("twenty quiet probes are enough");
        assert!((3..9).contains(&n), "alarm at probe {n}");
    }

    #[test]
    fn a_loud_scanner_is_found_within_a_dozen_calls() {
        let n = probes_to_alarm(&mut settled(), 0, |i| call(7, 1000 + i, 404));
        let n = n.expect("twenty calls are enough");
        assert!((3..=12).contains(&n), "alarm at probe {n}");
    }

    #[test]
    fn one_odd_call_of_a_good_client_of_years_is_no_alarm() {
        let mut detector = settled();
        for identity in 7..40 {
            for i in 0..100_000 {
                detector.observe(&call(identity, 100 + i % 10, 200));
            }
        }
        let odd = Call {
            class: Some(ProbeClass::Injection),
            ..call(7, 1000, 404)
        };
        let probing = detector.observe(&odd);
        assert!(!probing.alarm && probing.evidence < 1e4, "{probing:?}");
        assert!(detector.identities.entry(7).n <= N_MAX);
    }

    #[test]
    fn only_callers_with_credentials_say_what_is_usual_and_all_at_one_pace() {
        let mut detector = settled();
        for bot in 1000..2000 {
            detector.observe(&Call {
                votes: false,
                ..call(bot, bot, 404)
            });
        }
        assert_eq!(detector.n_identities, 0.0, "bots have no vote");
        for (identity, probes) in [(7, false), (8, true)] {
            for i in 0..u64::from(VOTE_EVERY) {
                let path = if probes { 5000 + i } else { 100 };
                detector.observe(&call(identity, path, if probes { 404 } else { 200 }));
            }
        }
        assert_eq!(detector.n_identities, 2.0, "probing or not");
    }

    #[test]
    fn a_broken_client_repeating_one_bad_call_stays_quiet() {
        let mut detector = settled();
        for _ in 0..10_000 {
            assert!(!detector.observe(&call(7, 999, 404)).alarm);
        }
    }

    #[test]
    fn a_path_others_reach_is_no_probe_and_a_verb_nobody_uses_there_is() {
        let mut detector = settled();
        assert_eq!(
            detector.observe(&call(7, 105, 404)).class,
            None,
            "a missing object"
        );
        let mut verb = call(7, 105, 405);
        verb.endpoint = 4711;
        assert_eq!(detector.observe(&verb).class, Some(ProbeClass::UnknownVerb));
    }

    #[test]
    fn an_agent_that_tries_tools_nobody_else_calls_is_found_once_others_tools_are_known() {
        let tool = |identity, tool: u64, at_ms| Call {
            template: 70 ^ tool,
            endpoint: 71 ^ tool,
            tool: Some((70, tool)),
            judges_tools: 1000 < at_ms,
            at_ms,
            ..call(identity, 70, 200)
        };
        let mut detector = ProbeDetector::new(1.0, 1000, 1000);
        for identity in 1..20 {
            for i in 0..100 {
                let probing = detector.observe(&tool(identity, 1 << (8 + i % 5), 10));
                assert_eq!(probing.class, None, "all tools are new at first");
            }
        }
        assert_eq!(
            detector.observe(&tool(30, 1 << 8, 5000)).class,
            None,
            "others call it"
        );
        let found = (1..=10).find(|i| detector.observe(&tool(7, i << 20, 5000 + *i as i64)).alarm);
        assert!(found.is_some_and(|n| n > 2), "{found:?}");
        let again = detector.observe(&tool(7, 1 << 20, 9000));
        assert!(!again.alarm && again.n_probes == 0, "each counts once");
    }
}
