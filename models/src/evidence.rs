//! Evidence that a caller left its usual mix: a Shiryaev-Roberts e-detector on touch categories.
//!
//! Each touch is *own*, *virgin*, *foreign-new*, *denied* or *foreign-met*. What is usual is the
//! caller's own mix `c / n`, shrunk to what its peers do: `p(x) = sum_j w_j (c_x + k m_jx) / (n + k)`
//! over three behaviour types j (few, some, mostly non-own touches), whose means `m_j` weigh every
//! identity once, and whose weights `w_j` begin as what those are here who are elsewhere of the caller's type.
//! For the last type new, met and virgin are one, shared out as in the alternative.
//! Under the alternative a share `e` of touches is drawn from [`ALTERNATIVE`]:
//! `L_e = 1 - e + e a(x) / p(x)`, and `R_e <- (1 + R_e) L_e` for four shares e. `E[L | past] = 1`
//! when the mix is as predicted, so the mean R passes A at most once in A touches in expectation.
//!
//! * A stream needs 136 bytes and constant time. It has no window: bursts and one id an hour are
//!   the same test.
//! * Steps are not exchangeable; feed them in log order.
//! * Source: J. Shin, A. Ramdas, A. Rinaldo, *E-detectors*, 2022, with a Dirichlet-mixture
//!   predictive as the null.

use serde::{Deserialize, Serialize};

/// What a touch is to the identity that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Known, owned by the caller or by somebody it shares with in both directions.
    Own,
    /// Nobody touched it before.
    Virgin,
    /// Somebody else's, of an owner the caller never met.
    ForeignNew,
    /// Refused or not there.
    Denied,
    /// Somebody else's, of an owner the caller has met.
    ForeignMet,
}

/// Number of categories.
pub const CATEGORIES: usize = 5;

impl Category {
    /// The name rules and alerts use.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Own => "own",
            Category::Virgin => "virgin",
            Category::ForeignNew => "foreign_new",
            Category::Denied => "denied",
            Category::ForeignMet => "foreign_met",
        }
    }
}

/// The mix of touches of a caller who enumerates: own, virgin, foreign-new, denied, foreign-met.
/// Sums to one, so that the likelihood ratio has mean one. Foreign-met weighs least: teams.
pub const ALTERNATIVE: [f64; CATEGORIES] = [0.0, 0.25, 0.30, 0.25, 0.20];

/// Shares of enumerating touches the alternatives assume: from one in fifty to nearly all.
const SHARES: [f64; 4] = [0.02, 0.1, 0.4, 0.9];

/// Pseudo-touches of the peers' mix in every caller's own.
const KAPPA: f64 = 60.0;

/// Behaviour types: few, some and mostly non-own touches, and the mix assumed before any peer is
/// known.
const TYPES: usize = 3;
/// The type of those whose touches are mostly not their own, and the share of own ones below which a caller is of it.
const BROAD: usize = 2;
const BROAD_OWN: f32 = 0.40;
const PRIOR: [[f64; CATEGORIES]; TYPES] = [
    [0.90, 0.06, 0.01, 0.02, 0.01],
    [0.60, 0.25, 0.05, 0.05, 0.05],
    [0.15, 0.40, 0.20, 0.05, 0.20],
];
const PRIOR_WEIGHT: f64 = 4.0;
/// Pseudo-identities that say what those are here who are of a type elsewhere. Few: a type that none of many showed
/// here is as rare as a change of type within a stream, not one in their number.
const ELSEWHERE_WEIGHT: f64 = 0.01;

/// Evidence is kept below this, so that no sum overflows.
const R_MAX: f64 = 1e30;

/// What the peers of one collection do: the mean mix of each behaviour type, one vote an identity.
///
/// The peers of a collection and the streams that voted there are forgotten apart. A stream that outlives its
/// peers finds another epoch and takes nothing back; the vote of a forgotten stream stays, and counts as one
/// identity more should it come back. `n >= 0` and each sum is `>= 0`, so every mean is a distribution.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Peers {
    sum: [[f64; CATEGORIES]; TYPES],
    n: [f64; TYPES],
    /// Of those whose type elsewhere is known, by that type: how many are of each type here.
    n_by_elsewhere: [[f64; TYPES]; TYPES],
    epoch: u64,
}

impl Peers {
    /// Tells peers that were just made from those that had their place before; others keep their epoch.
    ///
    /// * `epoch`: not zero, and never given before.
    pub fn begin(&mut self, epoch: u64) {
        if self.epoch == 0 {
            self.epoch = epoch;
        }
    }

    /// True until [`Peers::begin`].
    pub fn is_fresh(&self) -> bool {
        self.epoch == 0
    }

    /// Identities that have a vote.
    pub fn n_identities(&self) -> f64 {
        self.n.iter().sum()
    }

    fn mean(&self, behaviour: usize) -> [f64; CATEGORIES] {
        let at = |x: usize| {
            (self.sum[behaviour][x] + PRIOR_WEIGHT * PRIOR[behaviour][x])
                / (self.n[behaviour] + PRIOR_WEIGHT)
        };
        // A walker that came first met what nobody had, an auditor that comes later meets others' things: one behaviour.
        let pool: f64 = POOLED.iter().map(|&x| at(x)).sum();
        std::array::from_fn(|x| {
            if behaviour == BROAD && POOLED.contains(&x) {
                pool * pooled_share(x)
            } else {
                at(x)
            }
        })
    }

    fn weights(&self) -> [f64; TYPES] {
        let total = self.n_identities() + 3.0;
        std::array::from_fn(|j| (self.n[j] + 1.0) / total)
    }

    /// Weights for one who comes here with a type it has elsewhere: what those like it are here. Before any is known,
    /// half of them are as elsewhere, and half as anybody is here.
    fn weights_by(&self, elsewhere: usize) -> [f64; TYPES] {
        let anybody = self.weights();
        let n = &self.n_by_elsewhere[elsewhere];
        let total = n.iter().sum::<f64>() + ELSEWHERE_WEIGHT;
        std::array::from_fn(|j| {
            let alike = if j == elsewhere { 0.5 } else { 0.0 };
            (n[j] + ELSEWHERE_WEIGHT * (alike + anybody[j] / 2.0)) / total
        })
    }
}

/// One touch as a stream takes it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// What the touch was to its caller.
    pub category: Category,
    /// Touches on known objects since the one before.
    pub n_known: u32,
    /// Event time, ms.
    pub at_ms: i64,
    /// 1 for a well-known identity, less for a weak one; scales the step in nats. In (0, 1].
    pub weight: f64,
    /// Probability of the category that something else already explains (a catalogue, where
    /// everybody's touches are foreign); the prediction is never below it. In [0, 1].
    pub p_floor: f64,
    /// Share of the alternative's weight this touch keeps. In (0, 1]; below one the alternative is
    /// a sub-distribution, which keeps the promise.
    pub damping: f64,
    /// True for a caller that reads everything: what it has not met yet is news of others, not of itself.
    pub broad: bool,
    /// True for a caller in its first sitting, whose share of misses nobody knows: they teach in full.
    pub newcomer: bool,
    /// The caller's type over all its collections ([`Stream::behaviour`]); none while it is not known, or asked for.
    pub elsewhere: Option<u8>,
    /// True for a caller that was told of: it teaches in full, so that one change of role is one alert.
    pub told: bool,
}

/// What one step said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Probability of the category under the caller's predicted mix.
    pub p: f64,
    /// Probability of the category under the peers' mix alone.
    pub p_peer: f64,
    /// `-ln p`: how surprising the touch was.
    pub surprise_nats: f64,
    /// Evidence after the step: the mean of R over the shares.
    pub evidence: f64,
}

/// The mix and the evidence of one identity on one collection (or over all of them).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stream {
    counts: [f32; CATEGORIES],
    n: f32,
    weights: Option<[f32; TYPES]>,
    r: [f64; SHARES.len()],
    vote: Option<Vote>,
    n_since_vote: u16,
    updated_ms: i64,
    touched_ms: i64,
    denied_ms: i64,
    broad: bool,
}

/// What a stream said of itself to its peers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Vote {
    behaviour: u8,
    elsewhere: Option<u8>,
    shares: [f32; CATEGORIES],
    epoch: u64,
}

/// Halving time of the counts, in milliseconds of event time: seven days.
const HALF_LIFE_MS: f64 = 7.0 * 86_400_000.0;
/// Counts are halved beyond this, so that a mix can change.
const N_MAX: f32 = 2000.0;
/// Learning never slows below this share: a changed job must end as usual. At 0.2 who reads a little more every day
/// teaches its own excuse.
const GATE_FLOOR: f64 = 0.05;
/// Evidence at which learning has slowed to a half.
const GATE_R: f64 = 20.0;
/// Evidence under which nobody becomes one of those who read everything.
const BROAD_R: f64 = 50.0;
/// Touches nearer than this in time, in milliseconds, are taken for one screen's or one script's.
const CLUMP_MS: i64 = 2000;
/// Misses nearer than this in time, in milliseconds, are one list of ids that are no longer there.
const MISSES_MS: i64 = 10_000;
/// Touches on known objects learned at once, as one part in so many of those known and the peers'; at least two.
const KNOWN_SHARE: f64 = 16.0;
/// Touches on known objects that count, of those since the touch before: halved at [`N_MAX`] a thousand times,
/// nothing is left of an older mix.
const KNOWN_MAX: u32 = 1_000_000;
/// Touches between two votes of an identity in its peers' mix.
const VOTE_EVERY: u16 = 8;

/// Categories between which the boundary moves for those who read everything.
const POOLED: [usize; 3] = [
    Category::Virgin as usize,
    Category::ForeignNew as usize,
    Category::ForeignMet as usize,
];

/// A pooled category's part of the pool.
fn pooled_share(x: usize) -> f64 {
    ALTERNATIVE[x] / POOLED.iter().map(|&y| ALTERNATIVE[y]).sum::<f64>()
}

impl Stream {
    /// Touches learned, decayed.
    pub fn n(&self) -> f64 {
        f64::from(self.n)
    }

    /// Evidence now: the mean of R over the shares.
    pub fn evidence(&self) -> f64 {
        self.r.iter().sum::<f64>() / SHARES.len() as f64
    }

    /// Starts the evidence again, after an alarm; what is usual stays learned.
    pub fn restart(&mut self) {
        self.r = [0.0; SHARES.len()];
    }

    /// The caller's type by what it did so far; none before [`VOTE_EVERY`] touches.
    pub fn behaviour(&self) -> Option<u8> {
        (f32::from(VOTE_EVERY) <= self.n).then(|| self.kind() as u8)
    }

    fn kind(&self) -> usize {
        match 1.0 - self.counts[Category::Own as usize] / self.n {
            non_own if non_own < 0.15 => 0,
            non_own if non_own < 1.0 - BROAD_OWN => 1,
            _ => BROAD,
        }
    }

    /// Probability that the caller's next touch is `category`, as learned so far.
    pub fn usual(&self, category: Category, peers: &Peers) -> f64 {
        let weights = self.weights(peers);
        self.predict(category as usize, &weights, peers).0
    }

    /// Judges one touch, after `n_known` touches on known objects that were not sent, and learns it.
    ///
    /// * `mature`: false while the mix of the caller or of its peers is not known well enough; then
    ///   the touch is learned in full and gives no evidence.
    pub fn step(&mut self, touch: &Evidence, mature: bool, peers: &mut Peers) -> Step {
        let Evidence {
            category,
            n_known,
            at_ms,
            ..
        } = *touch;
        self.decay(at_ms);
        if let (None, Some(elsewhere)) = (self.weights, touch.elsewhere) {
            let weights = peers.weights_by(usize::from(elsewhere));
            self.weights = Some(weights.map(|weight| weight as f32));
        }
        if n_known > 0 {
            self.known(n_known, mature, touch.elsewhere, peers);
        }
        let x = category as usize;
        let weights = self.weights(peers);
        let (p, by_type) = self.predict(x, &weights, peers);
        let p = p.max(touch.p_floor);
        self.broad |= touch.broad && self.may_be_broad();
        let p = if touch.broad && self.broad {
            p.max(self.share_of_news(category))
        } else {
            p
        };
        let p_peer = (0..TYPES)
            .map(|j| weights[j] * peers.mean(j)[x])
            .sum::<f64>()
            .max(1e-9);
        let weight = touch.weight * self.clump(category, at_ms) * self.miss(category, at_ms);
        if mature {
            for (r, share) in self.r.iter_mut().zip(SHARES) {
                let ratio = 1.0 - share + share * ALTERNATIVE[x] * touch.damping / p;
                *r = ((1.0 + *r) * ratio.powf(weight)).min(R_MAX);
            }
        }
        let gate = if touch.told || touch.newcomer && category == Category::Denied {
            1.0
        } else {
            self.gate(mature)
        };
        self.learn(x, 1.0, gate, &by_type, &weights);
        self.vote(1, touch.elsewhere, peers);
        Step {
            p,
            p_peer,
            surprise_nats: -p.ln(),
            evidence: self.evidence(),
        }
    }

    /// Folds `k` touches on known objects. The evidence in closed form, for `L = 1 - e` whatever p is:
    /// `R_k = R q^k + q (1 - q^k) / (1 - q)` with `q = 1 - e`. What is usual in steps that move the mix by less
    /// than a sixteenth, so that bound, gate and types come out as they do one by one; a few nanoseconds each.
    fn known(&mut self, k: u32, mature: bool, elsewhere: Option<u8>, peers: &mut Peers) {
        let mut n_left = k.min(KNOWN_MAX);
        while n_left != 0 {
            // No step goes past the bound where the counts are halved.
            let room = f64::from(N_MAX - self.n) / self.gate(mature) + 1.0;
            let step = ((f64::from(self.n) + KAPPA) / KNOWN_SHARE).min(room);
            let step = n_left.min((step as u32).max(1));
            n_left -= step;
            let n = f64::from(step);
            if mature {
                for (r, share) in self.r.iter_mut().zip(SHARES) {
                    let q = 1.0 - share;
                    let q_n = q.powf(n);
                    *r = *r * q_n + q * (1.0 - q_n) / (1.0 - q);
                }
            }
            let gate = self.gate(mature);
            let weights = self.weights(peers);
            let (_, by_type) = self.predict(Category::Own as usize, &weights, peers);
            self.learn(Category::Own as usize, n, gate, &by_type, &weights);
        }
        self.vote(k.min(u32::from(u16::MAX)) as u16, elsewhere, peers);
    }

    /// Weight of a touch among its neighbours in time. A screen loads many things at once, so what
    /// comes within [`CLUMP_MS`] of the touch before is half a step of its own.
    fn clump(&mut self, category: Category, at_ms: i64) -> f64 {
        let gap_ms = (at_ms - self.touched_ms).abs();
        self.touched_ms = at_ms;
        if category != Category::Own && gap_ms < CLUMP_MS {
            0.5
        } else {
            1.0
        }
    }

    /// Weight of a touch among the misses: one stale list is one miss, however long it is. (Long ones are a run,
    /// which [`crate::volume`] sees.)
    fn miss(&mut self, category: Category, at_ms: i64) -> f64 {
        if category != Category::Denied {
            return 1.0;
        }
        let gap_ms = (at_ms - self.denied_ms).abs();
        self.denied_ms = at_ms;
        if gap_ms < MISSES_MS { 0.0 } else { 1.0 }
    }

    /// Probability of a category among touches of what the caller had not met, own and known ones aside.
    ///
    /// A job that walks a whole collection again meets mostly what it knows, and then, at the end, what others have
    /// made since: for it that is no departure. As in [`Stream::broad_reader`], but whatever share is its own.
    fn share_of_news(&self, category: Category) -> f64 {
        let not_own = self.counts.iter().skip(Category::Own as usize + 1);
        let news: f64 = not_own.map(|count| f64::from(*count)).sum();
        let share = |x: usize| f64::from(self.counts[x]) / (1.0 + news);
        match category {
            Category::Own => 0.0,
            Category::Denied => share(category as usize),
            _ => POOLED.iter().map(|&x| share(x)).sum::<f64>() * pooled_share(category as usize),
        }
    }

    /// True unless the caller has come to read everything while it left what is usual for it: who takes a little more
    /// every day has met as much as a job some day.
    fn may_be_broad(&self) -> bool {
        let own = self.counts[Category::Own as usize];
        self.evidence() < BROAD_R || own < BROAD_OWN * self.n
    }

    fn gate(&self, mature: bool) -> f64 {
        if mature {
            (1.0 / (1.0 + self.evidence() / GATE_R)).max(GATE_FLOOR)
        } else {
            1.0
        }
    }

    fn weights(&self, peers: &Peers) -> [f64; TYPES] {
        self.weights
            .map_or_else(|| peers.weights(), |w| w.map(f64::from))
    }

    fn predict(&self, x: usize, weights: &[f64; TYPES], peers: &Peers) -> (f64, [f64; TYPES]) {
        let n = f64::from(self.n);
        let by_type: [f64; TYPES] = std::array::from_fn(|j| {
            (f64::from(self.counts[x]) + KAPPA * peers.mean(j)[x]) / (n + KAPPA)
        });
        let p = (0..TYPES).map(|j| weights[j] * by_type[j]).sum::<f64>();
        (
            p.max(self.broad_reader(x, weights, peers)).clamp(1e-9, 1.0),
            by_type,
        )
    }

    /// Probability of a non-own category for a caller whose touches are mostly not its own.
    ///
    /// What is virgin today is somebody's tomorrow: for those who read everything the boundary
    /// between virgin, foreign-new and foreign-met moves by itself, so the three are pooled and
    /// shared out as in the alternative, the more the less the caller's touches are its own.
    fn broad_reader(&self, x: usize, weights: &[f64; TYPES], peers: &Peers) -> f64 {
        let (own, n) = (
            f64::from(self.counts[Category::Own as usize]),
            f64::from(self.n),
        );
        let breadth = (n - 2.0 * own) / (n + KAPPA / 2.0);
        if breadth <= 0.0 || !POOLED.contains(&x) {
            return 0.0;
        }
        let at = |y: usize| {
            let by_type = |j: usize| f64::from(self.counts[y]) + KAPPA * peers.mean(j)[y];
            (0..TYPES).map(|j| weights[j] * by_type(j)).sum::<f64>() / (n + KAPPA)
        };
        let pool: f64 = POOLED.iter().map(|&y| at(y)).sum();
        breadth * pool * pooled_share(x)
    }

    fn learn(
        &mut self,
        x: usize,
        k: f64,
        gate: f64,
        by_type: &[f64; TYPES],
        weights: &[f64; TYPES],
    ) {
        // Chance that the caller changes its type at one touch, and so within k.
        let hazard = if self.n > 50.0 { 1e-6 } else { 1e-4 };
        let hazard = (hazard * k).min(1.0);
        let scaled: [f64; TYPES] =
            std::array::from_fn(|j| weights[j] * by_type[j].max(1e-9).powf(gate * k));
        let total: f64 = scaled.iter().sum::<f64>().max(1e-300);
        self.weights = Some(std::array::from_fn(|j| {
            ((1.0 - hazard) * scaled[j] / total + hazard / TYPES as f64) as f32
        }));
        self.counts[x] += (gate * k) as f32;
        self.n += (gate * k) as f32;
        if self.n > N_MAX {
            self.scale(0.5);
        }
    }

    fn decay(&mut self, at_ms: i64) {
        let elapsed_ms = at_ms - self.updated_ms;
        // An hour's decay is 0.4 %: below that the counts are left alone.
        if self.updated_ms != 0 && elapsed_ms < 3_600_000 {
            return;
        }
        if self.updated_ms != 0 {
            self.scale((-(elapsed_ms as f64) / HALF_LIFE_MS * std::f64::consts::LN_2).exp());
        }
        self.updated_ms = at_ms;
    }

    fn scale(&mut self, by: f64) {
        self.counts.iter_mut().for_each(|c| *c *= by as f32);
        self.n *= by as f32;
    }

    /// Replaces this identity's vote in its peers' mix now and then: one vote, whatever its traffic.
    fn vote(&mut self, n_touches: u16, elsewhere: Option<u8>, peers: &mut Peers) {
        self.n_since_vote = self.n_since_vote.saturating_add(n_touches);
        if self.n_since_vote < VOTE_EVERY || self.n < f32::from(VOTE_EVERY) {
            return;
        }
        self.n_since_vote = 0;
        if let Some(vote) = self.vote.take().filter(|vote| vote.epoch == peers.epoch) {
            let behaviour = usize::from(vote.behaviour);
            peers.n[behaviour] = (peers.n[behaviour] - 1.0).max(0.0);
            if let Some(elsewhere) = vote.elsewhere {
                let n = &mut peers.n_by_elsewhere[usize::from(elsewhere)][behaviour];
                *n = (*n - 1.0).max(0.0);
            }
            for (sum, share) in peers.sum[behaviour].iter_mut().zip(vote.shares) {
                *sum = (*sum - f64::from(share)).max(0.0);
            }
        }
        let shares = self.counts.map(|c| c / self.n);
        let behaviour = self.kind();
        peers.n[behaviour] += 1.0;
        if let Some(elsewhere) = elsewhere {
            peers.n_by_elsewhere[usize::from(elsewhere)][behaviour] += 1.0;
        }
        for (sum, share) in peers.sum[behaviour].iter_mut().zip(shares) {
            *sum += f64::from(share);
        }
        self.vote = Some(Vote {
            behaviour: behaviour as u8,
            elsewhere,
            shares,
            epoch: peers.epoch,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generations::Generations;
    use proptest::prelude::*;

    fn touch(category: Category, at_ms: i64) -> Evidence {
        Evidence {
            category,
            n_known: 0,
            at_ms,
            weight: 1.0,
            p_floor: 0.0,
            damping: 1.0,
            broad: false,
            newcomer: false,
            elsewhere: None,
            told: false,
        }
    }

    #[test]
    fn the_alternative_is_a_distribution() {
        assert!((ALTERNATIVE.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        for prior in PRIOR {
            assert!((prior.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn known_touches_in_closed_form_equal_single_steps() {
        let mut peers = Peers::default();
        let (mut one_by_one, mut at_once) = (Stream::default(), Stream::default());
        for stream in [&mut one_by_one, &mut at_once] {
            for _ in 0..5 {
                stream.step(&touch(Category::ForeignNew, 1), true, &mut peers);
            }
        }
        for _ in 0..30 {
            one_by_one.step(&touch(Category::Own, 1), true, &mut peers);
        }
        at_once.known(30, true, None, &mut peers);
        let ratio = one_by_one.evidence() / at_once.evidence();
        assert!((ratio - 1.0).abs() < 1e-9, "evidence differs by {ratio}");
    }

    #[test]
    fn ten_thousand_known_touches_teach_as_much_as_one_by_one() {
        let (mut peers, mut others) = (Peers::default(), Peers::default());
        let (mut one_by_one, mut at_once) = (Stream::default(), Stream::default());
        for i in 0..60 {
            let category = match i % 3 {
                0 => Category::ForeignNew,
                1 => Category::Virgin,
                _ => Category::Own,
            };
            one_by_one.step(&touch(category, 1), true, &mut peers);
            at_once.step(&touch(category, 1), true, &mut others);
        }
        for _ in 0..10_000 {
            one_by_one.step(&touch(Category::Own, 1), true, &mut peers);
        }
        at_once.known(10_000, true, None, &mut others);
        let near = |row: &str, single: f32, whole: f32, off: f32| {
            assert!((single - whole).abs() <= off, "{row}: {single} {whole}");
        };
        assert!(at_once.n <= N_MAX, "{}", at_once.n);
        near("n", one_by_one.n, at_once.n, 0.02 * N_MAX);
        for (x, (single, whole)) in one_by_one.counts.iter().zip(at_once.counts).enumerate() {
            near(&format!("count {x}"), *single, whole, 0.02 * N_MAX);
        }
        let weights = one_by_one.weights.into_iter().flatten();
        for (j, (single, whole)) in weights
            .zip(at_once.weights.into_iter().flatten())
            .enumerate()
        {
            near(&format!("weight {j}"), single, whole, 1e-3);
        }
        at_once.known(u32::MAX, true, None, &mut others);
        assert!(at_once.n <= N_MAX, "{}", at_once.n);
        assert!((at_once.counts.iter().sum::<f32>() - at_once.n).abs() < 1.0);
    }

    #[test]
    fn an_enumerator_passes_a_million_within_two_dozen_objects_and_its_usual_self_does_not() {
        let mut peers = Peers::default();
        let mut stream = Stream::default();
        for i in 0..300 {
            let category = if i % 20 == 0 {
                Category::Virgin
            } else {
                Category::Own
            };
            let step = stream.step(&touch(category, i * 10_000), true, &mut peers);
            assert!(
                step.evidence < 1e3,
                "usual touch {i} gave {}",
                step.evidence
            );
        }
        let n = (1..=24)
            .find(|_| {
                stream
                    .step(&touch(Category::ForeignNew, 4_000_000), true, &mut peers)
                    .evidence
                    > 1e6
            })
            .expect("two dozen foreign objects are enough");
        assert!((3..=24).contains(&n), "alarm after {n} foreign objects");
    }

    proptest! {
        #[test]
        fn votes_that_outlive_their_peers_leave_a_distribution(steps in prop::collection::vec((0..40u64, 0..8u64, 0..5usize, 0..20u32, 0..4u8), 1..600)) {
            const ALL: [Category; CATEGORIES] = [Category::Own, Category::Virgin, Category::ForeignNew, Category::Denied, Category::ForeignMet];
            let mut streams: Generations<u64, Stream> = Generations::new(120);
            let mut peers: Generations<u64, Peers> = Generations::new(6);
            let mut epoch = 0;
            for (identity, collection, x, n_known, elsewhere) in steps {
                let peers = peers.entry(collection);
                epoch += 1;
                peers.begin(epoch);
                let stream = streams.entry(identity << 8 | collection);
                let step = stream.step(&Evidence { n_known, elsewhere: Some(elsewhere).filter(|at| usize::from(*at) < TYPES), ..touch(ALL[x], 1) }, true, peers);
                prop_assert!(0.0 < step.p && step.p <= 1.0, "{step:?}");
                prop_assert!(0.0 < step.p_peer && step.p_peer <= 1.0 + 1e-9, "{step:?}");
                prop_assert!(step.evidence < R_MAX, "{step:?}");
                prop_assert!(peers.n.iter().all(|n| *n >= 0.0), "{peers:?}");
                for j in 0..TYPES {
                    prop_assert!(peers.n_by_elsewhere[j].iter().all(|n| *n >= 0.0), "{peers:?}");
                    let weights: f64 = peers.weights_by(j).iter().sum();
                    prop_assert!((weights - 1.0).abs() < 1e-9, "{weights} {peers:?}");
                    // Shares are kept as f32: a sum of a few hundred is off by as many roundings.
                    let total: f64 = peers.mean(j).iter().sum();
                    prop_assert!((total - 1.0).abs() < 1e-4, "{total} {peers:?}");
                }
            }
        }
    }

    /// Evidence after so many touches of strangers' objects in a collection where the caller is new and peers are: each of
    /// the first type elsewhere, and here of the type that so many strangers' objects of forty make.
    fn new_here(n_foreign_of_peers: usize, elsewhere: Option<u8>) -> f64 {
        let mut peers = Peers::default();
        for _ in 0..40 {
            let mut peer = Stream::default();
            for i in 0..40 {
                let category = if i < n_foreign_of_peers {
                    Category::ForeignNew
                } else {
                    Category::Own
                };
                let step = Evidence {
                    elsewhere: Some(0),
                    ..touch(category, i as i64 * 60_000)
                };
                peer.step(&step, false, &mut peers);
            }
        }
        let mut caller = Stream::default();
        (0..12).fold(0.0, |_, i| {
            let step = Evidence {
                elsewhere,
                ..touch(Category::ForeignNew, i * 60_000)
            };
            caller.step(&step, true, &mut peers).evidence
        })
    }

    #[test]
    fn who_comes_to_a_collection_is_taken_for_what_its_like_are_there() {
        let (alike, unknown) = (new_here(1, Some(0)), new_here(1, None));
        assert!(1e6 < alike && unknown < 1e3, "{alike} {unknown}");
        let catalogue = new_here(36, Some(0));
        assert!(
            catalogue < 1e3,
            "where its like read strangers' things: {catalogue}"
        );
        let others = new_here(1, Some(BROAD as u8));
        assert!(others < 1e4, "nobody like it is known here: {others}");
    }

    /// What is usual for a caller after forty own touches and thirty of a category.
    fn usual_after(category: Category, with: impl Fn(Evidence) -> Evidence) -> f64 {
        let (mut peers, mut stream) = (Peers::default(), Stream::default());
        for i in 0..70 {
            let category = if i < 40 { Category::Own } else { category };
            stream.step(&with(touch(category, i * 60_000)), true, &mut peers);
        }
        stream.usual(category, &peers)
    }

    #[test]
    fn under_evidence_only_who_was_told_of_and_a_newcomers_misses_teach_in_full() {
        let told = |step| Evidence { told: true, ..step };
        let newcomer = |step| Evidence {
            newcomer: true,
            ..step
        };
        for (row, category, slowed, full) in [
            (
                "told",
                Category::ForeignNew,
                usual_after(Category::ForeignNew, |step| step),
                usual_after(Category::ForeignNew, told),
            ),
            (
                "a newcomer's misses",
                Category::Denied,
                usual_after(Category::Denied, |step| step),
                usual_after(Category::Denied, newcomer),
            ),
        ] {
            assert!(2.0 * slowed < full, "{row}: {category:?} {slowed} {full}");
        }
        let foreign = |with: fn(Evidence) -> Evidence| usual_after(Category::ForeignNew, with);
        assert_eq!(
            foreign(|step| Evidence {
                newcomer: true,
                ..step
            }),
            foreign(|step| step),
            "a newcomer's foreign objects teach as anybody's"
        );
    }

    #[test]
    fn nobody_comes_to_read_everything_while_it_leaves_what_is_usual() {
        for (row, n_own, n_foreign, is_let_off) in [
            ("one that reads its own", 200, 20, false),
            ("one that reads others' things anyway", 0, 20, true),
        ] {
            let (mut peers, mut stream) = (Peers::default(), Stream::default());
            for i in 0..n_own + n_foreign {
                let category = if i < n_own {
                    Category::Own
                } else {
                    Category::ForeignNew
                };
                stream.step(&touch(category, i * 60_000), true, &mut peers);
            }
            let broad = Evidence {
                broad: true,
                ..touch(Category::ForeignNew, 1_000_000_000)
            };
            stream.step(&broad, true, &mut peers);
            assert_eq!(stream.broad, is_let_off, "{row}: {}", stream.evidence());
        }
    }

    #[test]
    fn an_immature_stream_learns_and_gives_no_evidence() {
        let mut peers = Peers::default();
        let mut stream = Stream::default();
        for i in 0..100 {
            let step = stream.step(&touch(Category::ForeignNew, i), false, &mut peers);
            assert_eq!(step.evidence, 0.0);
        }
        assert!(stream.usual(Category::ForeignNew, &peers) > 0.5);
    }
}
