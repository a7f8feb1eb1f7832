//! Evidence that a caller probes for misconfiguration (OWASP API8), loud or quiet.
//!
//! Comes in: every call of an identity, with its request-local [`ProbeClass`] if it has one. The other
//! classes are decided in `usual.rs`, from what *other* identities were answered: a path nobody else reaches,
//! a verb nobody else uses there, an MCP tool nobody else calls, and departures of several kinds. Goes out: the evidence
//! of a Shiryaev-Roberts e-detector per identity over probe classes.
//!
//! * The null: `p_y = (c_y + 200 m_y) / (n + 200)`, never below 1e-5, where `m_y` is the mean over
//!   identities of the class's share, at most 2 % each. Every identity with a credential votes each
//!   64th call, whether it probed or not.
//! * The alternative: a share e of calls are probes, of class y with `a_y = (k_y + 1) / (k + 14)`, for four classes `(k_y + 1/2) / (k + 14)`,
//!   k the probes of the current run: at first all classes alike, then what this prober prefers.
//!   `a` depends on the past alone and sums to one, so `L_e = e a_y / p_y + 1 - e` keeps its promise.
//! * No warm-up: it judges from the first event. Only tools and departures wait for it: at first each is its first caller's alone.
//! * **Success lifts.** A probe that is answered 2xx where nobody ever was, by a caller whose probes were refused before
//!   that day, and more often than answered, is worth `0.1 / q` more, and one that is refused `0.9 / (1 - q)`: `q` the share
//!   of such probes that were answered in this lane, one in a thousand at least, and one in ten before any is known: then
//!   nothing is lifted. The two are a likelihood ratio, so the promise holds. Left out are classes that the answer decides, and
//!   tools: a server of MCP refuses in the body. When the evidence has reached A that day as well, the case is a breach.
//!
//! A probe counts once per (identity, class, path), a departure once per (identity, class, value): a broken client that repeats
//! one bad call stays one unit. 350 bytes an identity, 150 an endpoint, 9 a probe remembered; all bounded.

mod usual;

use serde::{Deserialize, Serialize};

use self::usual::{Usual, Ways};
use crate::generations::Generations;
use crate::probe::{Input, ProbeClass};
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
/// What is thought of a prober before it has probed, in pseudo-probes of each class: half of one for four, which few
/// probers send and which need more than a request to be seen.
const PREFERENCE: [f64; CLASSES] = {
    let mut of = [1.0; CLASSES];
    of[ProbeClass::OriginSpray as usize] = 0.5;
    of[ProbeClass::ServerError as usize] = 0.5;
    of[ProbeClass::VersionWalking as usize] = 0.5;
    of[ProbeClass::ParameterPollution as usize] = 0.5;
    of
};
/// Their sum.
const PREFERENCES: f64 = CLASSES as f64 - 2.0;
/// Share of a prober's probes that are answered, once some were refused; and the least share of anybody's.
const ANSWERED: f64 = 0.1;
const ANSWERED_MIN: f64 = 1e-3;
/// Event time that refusals, answers and alarms of one caller belong together.
const CASE_MS: i64 = 86_400_000;
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
    /// Whether what departs from what is usual is a probe: not while nothing is usual.
    pub is_mature: bool,
    /// Hash of the raw path, to count a repeated probe once.
    pub path: u64,
    /// Class visible in the request alone.
    pub class: Option<ProbeClass>,
    /// What it sends beside its path.
    pub input: Input,
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
    /// Probes of a day answered with success where nobody ever was, after others were refused.
    pub n_answered: u32,
    /// True when the evidence reached A that day, at this call or before, and a probe was answered: on the call by which both hold.
    pub breach: bool,
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
    case: Case,
    ways: Ways,
}

/// What a caller's probes of a day came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Case {
    started_ms: i64,
    n_refused: u32,
    /// Answered with success, where nobody ever was, after others were refused.
    n_answered: u32,
    has_alarmed: bool,
}

impl Identity {
    /// Share of the class among the probes of one who probes as this one has so far.
    fn preference(&self, y: usize) -> f64 {
        (f64::from(self.by_class[y]) + PREFERENCE[y]) / (f64::from(self.n_probes) + PREFERENCES)
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

    /// How much likelier the answer to a probe is for a prober: more than one where it was let in, less where it was
    /// refused, one where neither could be.
    ///
    /// * `is_new`: nobody was ever answered at the endpoint. `lifts`: how often either was the case in the lane.
    fn answer(
        &mut self,
        call: &Call,
        class: ProbeClass,
        is_new: bool,
        lifts: &mut (f64, f64),
    ) -> f64 {
        let case = &mut self.case;
        if CASE_MS <= call.at_ms.saturating_sub(case.started_ms) {
            *case = Case {
                started_ms: call.at_ms,
                ..Case::default()
            };
        }
        let is_refused = matches!(call.status, Some(400..=428 | 430..=499));
        let is_answered = matches!(call.status, Some(200..=299));
        // These classes are what they are by the answer; and a server of MCP refuses inside of it.
        let is_by_answer = matches!(
            class,
            ProbeClass::UnknownPath
                | ProbeClass::UnknownVerb
                | ProbeClass::UnknownTool
                | ProbeClass::HostSpray
                | ProbeClass::ServerError
        );
        // A server that answers most of what it is asked says nothing.
        let could = is_new
            && !is_by_answer
            && case.n_answered < case.n_refused
            && (is_refused || is_answered);
        case.n_refused = case.n_refused.saturating_add(u32::from(is_refused));
        if !could {
            return 1.0;
        }
        let (n, n_answered) = *lifts;
        // The rule of succession: before the lane has seen refusals an answer proves nothing.
        let usual = ((n_answered + 1.0) / (n + 1.0)).clamp(ANSWERED_MIN, ANSWERED);
        if call.votes {
            *lifts = (n + 1.0, n_answered + f64::from(u8::from(is_answered)));
        }
        if is_answered {
            case.n_answered += 1;
            ANSWERED / usual
        } else {
            (1.0 - ANSWERED) / (1.0 - usual)
        }
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

/// The detector of one lane.
#[derive(Debug)]
pub struct ProbeDetector {
    alarm_at: f64,
    identities: Generations<u64, Identity>,
    usual: Usual,
    counted: Generations<u64, ()>,
    shares: [f64; CLASSES],
    n_identities: f64,
    /// Probes after refusals, and of these those that were answered.
    lifts: (f64, f64),
}

impl ProbeDetector {
    /// Bytes an identity takes at most, with its last probes.
    pub const IDENTITY_BYTES: usize =
        Generations::<u64, Identity>::ENTRY_BYTES + Generations::<u64, ()>::ENTRY_BYTES;
    /// Bytes an endpoint takes at most.
    pub const ENDPOINT_BYTES: usize = Usual::ENDPOINT_BYTES;

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
            usual: Usual::new(endpoints_max),
            counted: Generations::new(identities_max),
            shares: [0.0; CLASSES],
            n_identities: 0.0,
            lifts: (0.0, 0.0),
        }
    }

    /// Judges one call and learns from it.
    pub fn observe(&mut self, call: &Call) -> Probing {
        let identity = self.identities.entry(call.identity);
        let (class, is_fresh) = tried(&mut self.usual, &mut self.counted, call, &mut identity.ways);
        let unit = class.filter(|_| is_fresh);
        let is_new = self.usual.is_new(call.endpoint);
        self.usual.learn(call, &mut identity.ways);
        let n_answered = identity.case.n_answered;
        let m = unit.map_or(0.0, |class| {
            mean_share(&self.shares, self.n_identities, class)
        });
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
                let answer = identity.answer(call, class, is_new, &mut self.lifts);
                for (r, share) in identity.r.iter_mut().zip(SHARES) {
                    let ratio = (1.0 - share + share * lift) * answer;
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
        let case = &mut identity.case;
        case.has_alarmed |= probing.alarm;
        probing.n_answered = case.n_answered;
        // At the first alarm after an answer, or the first answer after an alarm.
        probing.breach = case.has_alarmed
            && 0 < case.n_answered
            && (probing.alarm || n_answered < case.n_answered);
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
        self.usual.walk(walk);
        walk.table("probing.counted", &mut self.counted);
        walk.value("probing.shares", &mut self.shares);
        walk.value("probing.n_identities", &mut self.n_identities);
        walk.value("probing.lifts", &mut self.lifts);
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
        self.identities.table_bytes() + self.usual.table_bytes() + self.counted.table_bytes()
    }
}

/// The class of a call, and whether it is the first such probe of its caller.
fn tried(
    usual: &mut Usual,
    counted: &mut Generations<u64, ()>,
    call: &Call,
    ways: &mut Ways,
) -> (Option<ProbeClass>, bool) {
    let departures = usual.departures(call, ways);
    if call.class.is_none() {
        for (class, value) in departures.into_iter().flatten() {
            // An endpoint may fail once: so do releases.
            let is_excused = class == ProbeClass::ServerError
                && is_first(counted, call.identity, class, call.endpoint);
            let is_first = is_first(counted, call.identity, class, value);
            if is_first && !is_excused && call.is_mature {
                return (Some(class), true);
            }
        }
    }
    // All tools of a server have one path.
    let path = call.tool.map_or(call.path, |(_, tool)| call.path ^ tool);
    match call.class.or_else(|| usual.unknown(call)) {
        Some(class) => (Some(class), is_first(counted, call.identity, class, path)),
        None => (None, false),
    }
}

/// Notes a probe, and says whether its caller has not sent it before.
fn is_first(
    counted: &mut Generations<u64, ()>,
    identity: u64,
    class: ProbeClass,
    value: u64,
) -> bool {
    let key = identity ^ value.rotate_left(17) ^ (class as u64) << 56;
    let is_first = counted.get(&key).is_none();
    counted.entry(key);
    is_first
}

fn mean_share(shares: &[f64; CLASSES], n_identities: f64, class: ProbeClass) -> f64 {
    let sum = PRIOR_IDENTITIES * PRIOR + shares[class as usize];
    (sum / (PRIOR_IDENTITIES + n_identities)).max(SHARE_FLOOR)
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
            is_mature: true,
            path,
            class: None,
            input: Input::default(),
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
    fn preferences_are_a_distribution() {
        let mut identity = Identity::default();
        for y in [0, 0, 3, 15] {
            let sum: f64 = (0..CLASSES).map(|y| identity.preference(y)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
            identity.note(y, 1);
        }
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
