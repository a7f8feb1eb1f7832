//! The judgement of touches, per identity: category, evidence, alarm.
//!
//! Comes in: touches with their owners, and visits by others, in the order of the log. Goes out: one
//! [`Verdict`] a touch. State: neighbours, one evidence stream per (identity, collection, read or
//! write) with its runs, one stream per identity over all collections, and what is usual for peers. All bounded.
//!
//! Two things alarm: evidence that passes `A`, which the knob sets, and a run too long by what callers do
//! ([`crate::volume`]), which asks little of the objects' owners and so sees what comes first of all.

use serde::{Deserialize, Serialize};

use crate::evidence::{Category, Evidence, Peers, Stream};
use crate::generations::Generations;
use crate::idea::{Idea, Ideas};
use crate::lineage::{Call, Lineage};
use crate::order::Order;
use crate::ownership::Standing;
use crate::sharing::Sharing;
use crate::volume::{Limit, RunPeers, Runs, Step, factor};
use crate::walk::Walk;

/// The one knob and the bounds of the state.
#[derive(Clone, Debug)]
pub struct JudgeConfig {
    /// False alerts promised per million touches, `> 0`. The alarm stands at `1e6 / f`.
    pub false_alerts_per_million_events: f64,
    /// Event time a lane learns before it judges, in milliseconds: a daily habit must have been
    /// seen in part. Very long runs are told from half of it on.
    pub warm_up_ms: i64,
    /// Identities kept; 200 bytes each and up to 1.5 KB of neighbours.
    pub identities_max: usize,
    /// Evidence streams kept; 250 bytes each.
    pub streams_max: usize,
    /// Tokens kept that may be renewed, and pairs of their lines and objects ([`crate::lineage`]).
    pub tokens_max: usize,
    /// See above.
    pub pairs_max: usize,
    /// The ideas in use.
    pub ideas: Ideas,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            false_alerts_per_million_events: 1.0,
            warm_up_ms: 12 * 3_600_000,
            identities_max: 1_000_000,
            streams_max: 4_000_000,
            tokens_max: 1_000_000,
            pairs_max: 10_000_000,
            ideas: Ideas::default(),
        }
    }
}

/// Distinct objects of one collection at which an identity counts as a pan-reader.
pub const PAN_READER_OBJECTS: u32 = 150;

/// One touch as the judge meets it.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// Event time, ms.
    pub at_ms: i64,
    /// Hash of the identity.
    pub identity: u64,
    /// Hash of the address and user agent of its first call, of one that nothing but a token names.
    pub home: Option<u64>,
    /// Hash of the object.
    pub object: u64,
    /// Hash of the collection.
    pub collection: u64,
    /// True for PUT, PATCH, DELETE and writing tools.
    pub write: bool,
    /// True when it was refused or not found.
    pub denied: bool,
    /// Touches on known objects of this collection since the one before.
    pub n_known: u32,
    /// Weight of the identity's grade, in (0, 1].
    pub weight: f64,
    /// True when the identity reads everything: its visits relate nobody.
    pub pan_reader: bool,
    /// True while the identity is in its first sitting ([`crate::arrival`]).
    pub newcomer: bool,
    /// Place of the object among its neighbours, where its id has one.
    pub place: Option<i64>,
    /// What the object is to others.
    pub standing: Standing,
}

/// What the judge says of one touch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What the touch was to its caller.
    pub category: Category,
    /// Surprise of the touch in its collection, in nats.
    pub surprise_nats: f64,
    /// Weighted evidence of the collection and of the identity, compared with A.
    pub evidence: f64,
    /// The identity's part of it: what it did in all collections together.
    pub evidence_identity: f64,
    /// True when the evidence reached A; it starts again from zero then.
    pub alarm: bool,
    /// How usual an own touch is for this caller.
    pub p_own: f64,
    /// Probability of this category among the caller's peers.
    pub p_peer: f64,
    /// 0 while learning, 1 when judged.
    pub maturity: f64,
    /// Counts since the evidence last started.
    pub run: Run,
    /// The run this touch belongs to.
    pub sitting: Sitting,
}

/// The run of new objects a touch belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sitting {
    /// Objects new to the caller in it.
    pub n_objects: u32,
    /// How many of the latest kept to the order of the ids.
    pub n_in_order: u32,
    /// Objects in a run that 19 in 20 peers never passed; none while too few peers are known.
    pub n_usual: Option<f64>,
    /// Objects at which it is too long; none while too few peers are known.
    pub too_long_at: Option<u32>,
    /// Objects in order at which it is too long; none while too few peers are known.
    pub too_long_in_order_at: Option<u32>,
    /// Set on the touch that makes it too long.
    pub alarm: Option<TooLong>,
}

/// What a run has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// New objects.
    Many,
    /// New objects in the order of their ids.
    InOrder,
}

impl TooLong {
    /// The name rules and alerts use.
    pub fn as_str(self) -> &'static str {
        match self {
            TooLong::Many => "many",
            TooLong::InOrder => "in_order",
        }
    }
}

/// What an identity did in one collection since its evidence last started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Touches judged.
    pub n_touches: u32,
    /// By category.
    pub n_virgin: u32,
    /// Of owners never met.
    pub n_foreign: u32,
    /// Of owners met.
    pub n_met: u32,
    /// Refused or not there.
    pub n_denied: u32,
    /// Others' objects answered with success.
    pub n_exposed: u32,
    /// Others' objects written with success.
    pub n_foreign_writes: u32,
    /// Event time of the first touch that was not own, ms; 0 when there is none.
    pub first_ms: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Identity {
    sharing: Sharing,
    overall: Stream,
    /// Event time of the last alarm, ms.
    told_ms: Option<i64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Collection {
    stream: Stream,
    run: Run,
    many: Runs,
    order: Order,
    walk: Runs,
}

/// What is usual for the callers of one collection, or of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cohort {
    mix: Peers,
    many: RunPeers,
    walk: RunPeers,
}

/// Weights of the collection's evidence and the identity's in the sum; what is left to one is the
/// probe detector's and later models'.
const COLLECTION_WEIGHT: f64 = 0.4;
const IDENTITY_WEIGHT: f64 = 0.3;
/// Above this evidence an identity's visits relate nobody.
const SHARING_EVIDENCE_MAX: f64 = 50.0;

/// Event time between two touches that ends a sitting, in milliseconds.
pub const SITTING_GAP_MS: i64 = 3_600_000;

/// Share of the warm-up after which runs are judged, which only need others' to compare with; and how many times as long
/// they must be until its end, as the day's jobs and auditors have not been seen at work.
const RUNS_AFTER: f64 = 0.5;
const EARLY_RUN: f64 = 5.0 / 3.0;

/// Runs of reads and of writes that are never too long, and the time that ends one. Agents fan out to some 25
/// objects at once, and almost nobody writes what is not its own.
const READS_MIN: u32 = 30;
const WRITES_MIN: u32 = 10;
/// Runs in order: people turn pages, and a walk goes on the next morning where it ended.
const WALK_MIN: u32 = 40;
const WALK_GAP_MS: i64 = 12 * 3_600_000;

/// Event time after an alarm in which what the caller does is taken for its new habit, in milliseconds: its case is open.
const TOLD_MS: i64 = 86_400_000;

/// Collections whose peers are kept, at most.
const PEERS_MAX: usize = 100_000;
/// Evidence that one or two odd touches give, and that may be forgotten.
const SUSPICION_MIN: f64 = 5.0;

fn suspicion(evidence: f64) -> f64 {
    if SUSPICION_MIN < evidence {
        evidence
    } else {
        0.0
    }
}

/// The judge of one lane.
#[derive(Debug)]
pub struct Judge {
    config: JudgeConfig,
    identities: Generations<u64, Identity>,
    collections: Generations<(u64, u64), Collection>,
    peers: Generations<u64, Cohort>,
    lineage: Lineage,
    /// Runs of reads, and of writes, which are shorter. The mix of all touches is with the reads.
    peers_overall: [Cohort; 2],
    n_epochs: u64,
    started_ms: Option<i64>,
    /// How many times what is usual makes a run too long.
    factor: f64,
}

impl Judge {
    /// Bytes an identity takes at most, with its neighbours.
    pub const IDENTITY_BYTES: usize =
        Generations::<u64, Identity>::ENTRY_BYTES + Sharing::BYTES_MAX;
    /// Bytes a stream takes at most, with a share of the peers of its collection.
    pub const STREAM_BYTES: usize = Generations::<(u64, u64), Collection>::ENTRY_BYTES
        + Generations::<u64, Cohort>::ENTRY_BYTES / 8;

    /// A judge that has seen nothing.
    pub fn new(config: JudgeConfig) -> Self {
        Self {
            identities: Generations::new(config.identities_max)
                .keeping(|identity: &Identity| suspicion(identity.overall.evidence())),
            collections: Generations::new(config.streams_max)
                .keeping(|collection: &Collection| suspicion(collection.stream.evidence())),
            // A collection comes from paths and field names: attackers choose them.
            peers: Generations::new(config.streams_max.min(PEERS_MAX)),
            lineage: Lineage::new(config.tokens_max, config.pairs_max),
            peers_overall: Default::default(),
            n_epochs: 0,
            started_ms: None,
            factor: factor(config.false_alerts_per_million_events),
            config,
        }
    }

    /// Evidence at which an alarm is raised: `A = 1e6 / f`.
    pub fn alarm_at(&self) -> f64 {
        1e6 / self.config.false_alerts_per_million_events
    }

    /// Goes over the state.
    pub fn walk(&mut self, walk: &mut impl Walk) {
        walk.table("judge.identities", &mut self.identities);
        walk.table("judge.collections", &mut self.collections);
        walk.table("judge.peers", &mut self.peers);
        self.lineage.walk(walk);
        walk.value("judge.peers_overall", &mut self.peers_overall);
        walk.value("judge.n_epochs", &mut self.n_epochs);
        walk.value("judge.started_ms", &mut self.started_ms);
    }

    /// Entries, bytes of the tables and evictions.
    pub fn state(&self) -> (usize, usize, u64) {
        (
            self.identities.len() + self.collections.len() + self.peers.len() + self.lineage.len(),
            self.identities.table_bytes()
                + self.collections.table_bytes()
                + self.peers.table_bytes()
                + self.lineage.state_bytes(),
            self.identities.n_evicted()
                + self.collections.n_evicted()
                + self.peers.n_evicted()
                + self.lineage.n_evicted(),
        )
    }

    /// Notes that `by` touched an object `identity` had touched before.
    pub fn visited(&mut self, identity: u64, by: u64) {
        let (identity, by) = (self.lineage.root(identity), self.lineage.root(by));
        if identity != by {
            self.identities.entry(identity).sharing.visited(by);
        }
    }

    /// The touch as one of its caller's line: by its root, and with what other tokens of the line did as its own.
    fn of_line(&mut self, touch: &Touch) -> Touch {
        let mut touch = *touch;
        let Some(home) = touch.home.filter(|_| self.config.ideas.has(Idea::Linking)) else {
            return touch;
        };
        let place = self.lineage.touch(&Call {
            identity: touch.identity,
            home,
            at_ms: touch.at_ms,
            object: touch.object,
            write: touch.write,
            denied: touch.denied,
            newcomer: touch.newcomer,
        });
        touch.identity = place.root;
        touch.newcomer = place.newcomer;
        let standing = &mut touch.standing;
        let named = standing
            .owner
            .iter_mut()
            .chain(standing.touchers.iter_mut().flatten());
        named.for_each(|identity| *identity = self.lineage.root(*identity));
        if place.known {
            standing.touchers[0] = Some(place.root);
        }
        touch
    }

    /// Judges one touch and learns from it.
    pub fn judge(&mut self, touch: &Touch) -> Verdict {
        let touch = &self.of_line(touch);
        let started_ms = *self.started_ms.get_or_insert(touch.at_ms);
        let since_ms = touch.at_ms - started_ms;
        let mature = since_ms >= self.config.warm_up_ms;
        let ideas = self.config.ideas;
        let identity = self.identities.entry(touch.identity);
        let category = categorise(touch, &identity.sharing, ideas);
        let key = touch.collection.rotate_left(u32::from(touch.write));
        let collection = self.collections.entry((touch.identity, key));
        let cohort = self.peers.entry(key);
        if cohort.mix.is_fresh() {
            self.n_epochs += 1;
            cohort.mix.begin(self.n_epochs);
        }
        let evidence = Evidence {
            category,
            n_known: touch.n_known,
            at_ms: touch.at_ms,
            weight: touch.weight,
            p_floor: 0.0,
            damping: damping(touch, category, &identity.sharing),
            broad: touch.pan_reader && ideas.has(Idea::BroadReaders),
            newcomer: touch.newcomer,
            elsewhere: identity
                .overall
                .behaviour()
                .filter(|_| ideas.has(Idea::Elsewhere)),
            told: identity
                .told_ms
                .is_some_and(|told_ms| touch.at_ms < told_ms + TOLD_MS),
        };
        let step = collection.stream.step(&evidence, mature, &mut cohort.mix);
        // Where a category is common in its collection, for this caller or for all, it is no news
        // about the caller as a whole.
        let overall = Evidence {
            p_floor: step.p.max(step.p_peer),
            elsewhere: None,
            ..evidence
        };
        let [reads, writes] = &mut self.peers_overall;
        let overall = identity.overall.step(&overall, mature, &mut reads.mix);
        let everybody = if touch.write { writes } else { reads };
        if !touch.denied
            && !touch.pan_reader
            && !touch.standing.crowded
            && step.evidence < SHARING_EVIDENCE_MAX
        {
            let others = touch.standing.others(touch.identity);
            others.for_each(|v| identity.sharing.visit(v));
        }
        collection.run.note(touch, category);
        let weighted = |idea, weight: f64, evidence: f64| {
            if ideas.has(idea) {
                weight * evidence
            } else {
                0.0
            }
        };
        let evidence_identity = weighted(Idea::Identity, IDENTITY_WEIGHT, overall.evidence);
        let evidence =
            weighted(Idea::Collection, COLLECTION_WEIGHT, step.evidence) + evidence_identity;
        let alarm = mature
            && category != Category::Own
            && evidence >= 1e6 / self.config.false_alerts_per_million_events;
        let sitting = Met {
            category,
            others: others_share(touch, category, &identity.sharing),
            judged: mature || since_ms as f64 >= RUNS_AFTER * self.config.warm_up_ms as f64,
            factor: self.factor * if mature { 1.0 } else { EARLY_RUN },
        };
        let sitting = collection.sitting(touch, &sitting, [cohort, everybody], ideas);
        if alarm || sitting.alarm.is_some() {
            identity.told_ms = Some(touch.at_ms);
        }
        let run = collection.run;
        let p_own = collection.stream.usual(Category::Own, &cohort.mix);
        if alarm {
            collection.stream.restart();
            identity.overall.restart();
            collection.run = Run::default();
        }
        Verdict {
            category,
            surprise_nats: step.surprise_nats,
            evidence,
            evidence_identity,
            alarm,
            p_own,
            p_peer: step.p_peer,
            maturity: if mature { 1.0 } else { 0.0 },
            run,
            sitting,
        }
    }

    /// Notes that `identity` goes on where `before` ended, whose longest sitting in `collection` was of
    /// `longest` objects: its objects are the caller's own, and as long a run is usual for it.
    pub fn goes_on(&mut self, identity: u64, collection: u64, before: u64, longest: u32) {
        let (identity, before) = (self.lineage.root(identity), self.lineage.root(before));
        if !self.config.ideas.has(Idea::Linking) || identity == before {
            return;
        }
        self.identities.entry(identity).sharing.relate(before);
        let collection = self.collections.entry((identity, collection));
        collection.many.inherit(longest);
        // Who reads everything does it in order as well; others' walks are not known.
        if PAN_READER_OBJECTS < longest {
            collection.walk.inherit(longest);
        }
    }
}

/// What a touch is to a run of them.
struct Met {
    category: Category,
    /// How much of the object is another's, in [0, 1].
    others: f64,
    judged: bool,
    factor: f64,
}

impl Collection {
    fn sitting(
        &mut self,
        touch: &Touch,
        met: &Met,
        [peers, all]: [&mut Cohort; 2],
        ideas: Ideas,
    ) -> Sitting {
        let mut alarm = None;
        let limit = Limit {
            factor: met.factor,
            least: if touch.write { WRITES_MIN } else { READS_MIN },
            gap_ms: SITTING_GAP_MS,
        };
        let walk_limit = Limit {
            least: WALK_MIN,
            gap_ms: WALK_GAP_MS,
            ..limit
        };
        if met.category != Category::Own {
            let step = Step {
                goes_on: true,
                at_ms: touch.at_ms,
                others: met.others,
                newcomer: touch.newcomer,
            };
            let judged = met.judged && ideas.has(Idea::Runs);
            let many = [&mut peers.many, &mut all.many];
            if self.many.touch(step, judged, limit, many) {
                alarm = Some(TooLong::Many);
            }
            if let Some(place) = touch.place {
                let step = Step {
                    goes_on: self.order.is_step(place),
                    ..step
                };
                let judged = met.judged && ideas.has(Idea::Walks);
                let walks = [&mut peers.walk, &mut all.walk];
                if self.walk.touch(step, judged, walk_limit, walks) {
                    alarm = Some(TooLong::InOrder);
                }
            }
        }
        let n_usual = peers.many.usual().or_else(|| all.many.usual());
        let in_order = peers.walk.usual().or_else(|| all.walk.usual());
        Sitting {
            n_objects: self.many.n(),
            n_in_order: self.walk.n(),
            n_usual,
            too_long_at: self.many.too_long_at(limit, n_usual),
            too_long_in_order_at: self.walk.too_long_at(walk_limit, in_order),
            alarm,
        }
    }
}

/// The owner and those who touched the object, without the caller.
fn others(touch: &Touch) -> impl Iterator<Item = u64> {
    let owner = touch.standing.owner.into_iter();
    owner
        .filter(|owner| *owner != touch.identity)
        .chain(touch.standing.others(touch.identity))
}

/// Visits that go back to few owners weigh less: the more concentrated, the less an enumeration.
fn damping(touch: &Touch, category: Category, sharing: &Sharing) -> f64 {
    if category != Category::ForeignMet {
        return 1.0;
    }
    let most = others(touch)
        .map(|v| sharing.concentration(v))
        .fold(0.0, f64::max);
    if most > 1.0 { 1.0 / most } else { 1.0 }
}

/// How much of a touched object is another's: nothing of one that nobody had, all of a stranger's or a refused one, and
/// the less of an acquaintance's the more of the caller's visits it gets: whose things were moved, or shared by one.
fn others_share(touch: &Touch, category: Category, sharing: &Sharing) -> f64 {
    match category {
        Category::Own | Category::Virgin => 0.0,
        Category::ForeignNew | Category::Denied => 1.0,
        Category::ForeignMet => 1.0 - others(touch).map(|v| sharing.share(v)).fold(0.0, f64::max),
    }
}

fn categorise(touch: &Touch, sharing: &Sharing, ideas: Ideas) -> Category {
    let standing = &touch.standing;
    if standing.owner == Some(touch.identity)
        || standing.knows(touch.identity)
        || (ideas.has(Idea::Sharing) && others(touch).any(|v| sharing.related(v)))
    {
        return Category::Own;
    }
    if touch.denied {
        return Category::Denied;
    }
    match standing.owner {
        None => Category::Virgin,
        Some(_) if others(touch).any(|v| sharing.met(v)) => Category::ForeignMet,
        Some(_) => Category::ForeignNew,
    }
}

impl Run {
    fn note(&mut self, touch: &Touch, category: Category) {
        self.n_touches += 1;
        let counter = match category {
            Category::Own => return,
            Category::Virgin => &mut self.n_virgin,
            Category::ForeignNew => &mut self.n_foreign,
            Category::Denied => &mut self.n_denied,
            Category::ForeignMet => &mut self.n_met,
        };
        *counter += 1;
        if matches!(category, Category::ForeignNew | Category::ForeignMet) {
            self.n_exposed += 1;
            self.n_foreign_writes += u32::from(touch.write);
        }
        if self.first_ms == 0 {
            self.first_ms = touch.at_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A successful read of an object that nobody had before.
    fn touch(identity: u64, at_ms: i64) -> Touch {
        Touch {
            at_ms,
            identity,
            home: None,
            object: 1,
            collection: 1,
            write: false,
            denied: false,
            n_known: 0,
            weight: 1.0,
            pan_reader: false,
            newcomer: false,
            place: None,
            standing: Standing::default(),
        }
    }

    #[test]
    fn what_a_caller_touched_before_is_its_own_though_another_owns_it() {
        let of = |touchers| Touch {
            standing: Standing {
                owner: Some(1),
                touchers,
                crowded: false,
            },
            ..touch(7, 1)
        };
        for (row, touchers, category) in [
            (
                "a foreign object",
                [Some(1), None, None, None],
                Category::ForeignNew,
            ),
            (
                "a forgotten pair",
                [Some(1), Some(7), None, None],
                Category::Own,
            ),
        ] {
            let mut judge = Judge::new(JudgeConfig::default());
            assert_eq!(judge.judge(&of(touchers)).category, category, "{row}");
            assert!(
                !judge.identities.entry(7).sharing.met(7),
                "{row}: nobody visits itself"
            );
        }
    }

    /// Touches of objects of as many owners, by `identity`, until a sitting is too long.
    fn sitting(
        judge: &mut Judge,
        identity: u64,
        mut places: impl Iterator<Item = i64>,
    ) -> Option<(u32, TooLong)> {
        const DAY_MS: i64 = 86_400_000;
        places.find_map(|place| {
            let read = Touch {
                place: Some(place),
                standing: Standing {
                    owner: Some(1_000_000 + place.unsigned_abs()),
                    ..Standing::default()
                },
                ..touch(identity, DAY_MS + place % 1000)
            };
            let sitting = judge.judge(&read).sitting;
            sitting.alarm.map(|alarm| (sitting.n_objects, alarm))
        })
    }

    /// A judge past its warm-up, that knows a hundred callers with sittings of five objects.
    fn settled() -> Judge {
        let mut judge = Judge::new(JudgeConfig::default());
        for at_hours in [0, 2, 20] {
            for identity in 1..=100 {
                for i in 0..5 {
                    judge.judge(&Touch {
                        place: Some(identity as i64 * 1_000_003 + i * 977),
                        ..touch(identity, at_hours * 3_600_000 + i)
                    });
                }
            }
        }
        judge
    }

    #[test]
    fn a_newcomers_first_sitting_is_too_long_in_number_or_in_order_and_not_what_is_usual_on_its_device()
     {
        let leaps = |i: i64| i * i * 7919;
        let found = sitting(&mut settled(), 500, (1..1000).map(leaps));
        assert_eq!(found, Some((30, TooLong::Many)));
        let found = sitting(&mut settled(), 500, 1..1000);
        assert!(found.is_some_and(|(n, _)| n <= 41), "{found:?}");
        let mut judge = settled();
        judge.goes_on(500, 1, 499, 5000);
        assert_eq!(sitting(&mut judge, 500, (1..1000).map(leaps)), None);
    }

    #[test]
    fn a_very_long_run_is_told_before_the_warm_up_ends_and_a_long_one_is_not() {
        const HOUR_MS: i64 = 3_600_000;
        for (row, hours, n, is_told) in [
            ("in its first half", 5, 1000, false),
            ("very long", 7, 1000, true),
            ("long", 7, 45, false),
            ("long, behind it", 13, 45, true),
        ] {
            let mut judge = Judge::new(JudgeConfig::default());
            for at_ms in [0, 2 * HOUR_MS] {
                for identity in 1..=100 {
                    for i in 0..10 {
                        judge.judge(&touch(identity, at_ms + i));
                    }
                }
            }
            let told = (0..n).find(|i| {
                let read = Touch {
                    standing: Standing {
                        owner: Some(1_000_000 + i),
                        ..Standing::default()
                    },
                    ..touch(500, hours * HOUR_MS + *i as i64)
                };
                judge.judge(&read).sitting.alarm.is_some()
            });
            assert_eq!(told.is_some(), is_told, "{row}: {told:?}");
        }
    }

    #[test]
    fn a_run_of_writes_where_few_write_is_too_long_by_what_writers_do_and_not_readers() {
        let mut judge = Judge::new(JudgeConfig::default());
        for (at_hours, collection, write, n) in [(0, 1, false, 60), (1, 2, true, 2)] {
            for identity in 1..=100 {
                // The second round ends the first one's run.
                for i in (0..n).chain([7_200_000]) {
                    judge.judge(&Touch {
                        collection,
                        write,
                        ..touch(identity, at_hours * 3_600_000 + i)
                    });
                }
            }
        }
        let told = (1..200).find_map(|i| {
            let write = Touch {
                collection: 3,
                write: true,
                standing: Standing {
                    owner: Some(1_000_000 + i),
                    ..Standing::default()
                },
                ..touch(500, 86_400_000 + i as i64)
            };
            let sitting = judge.judge(&write).sitting;
            sitting.alarm.map(|_| sitting.n_objects)
        });
        assert_eq!(told, Some(WRITES_MIN), "readers' runs are of 60");
    }

    #[test]
    fn things_of_one_acquaintance_are_no_run_through_others_things() {
        let mut judge = settled();
        let of_one = |i: i64| Touch {
            place: Some(i * i * 7919),
            standing: Standing {
                owner: Some(77),
                ..Standing::default()
            },
            ..touch(500, 86_400_000 + i)
        };
        judge.identities.entry(500).sharing.visit(77);
        let is_told = (1..200).any(|i| judge.judge(&of_one(i)).sitting.alarm.is_some());
        assert!(!is_told, "as after a move of all things of one owner");
    }

    /// The day on which a caller is found who from the third day on reads so many more of strangers' every day, with so
    /// many touches of its own between; the others read one of another's on one day in `others_every`.
    fn found_on(n_known: u32, others_every: i64, more_a_day: i64) -> Option<i64> {
        const DAY_MS: i64 = 86_400_000;
        let mut judge = Judge::new(JudgeConfig::default());
        let (mut found, mut n_strangers) = (None, 0);
        for day in 0..10 {
            // A hundred callers read forty known things and a new one a day.
            for identity in 1..=100u64 {
                let at_ms = day * DAY_MS + identity as i64 * 1000;
                let is_other = (identity as i64 * 37 + day) % others_every == 0;
                let verdict = judge.judge(&Touch {
                    n_known: 40,
                    standing: Standing {
                        owner: is_other.then_some(9000 + identity),
                        ..Standing::default()
                    },
                    ..touch(identity, at_ms)
                });
                assert!(!verdict.alarm, "caller {identity} on day {day}");
            }
            for n in 0..(day - 2).max(0) * more_a_day {
                n_strangers += 1;
                let verdict = judge.judge(&Touch {
                    n_known,
                    pan_reader: PAN_READER_OBJECTS < n_strangers,
                    standing: Standing {
                        owner: Some(10_000 + u64::from(n_strangers)),
                        ..Standing::default()
                    },
                    ..touch(42, day * DAY_MS + 40_000_000 + n * 600_000)
                });
                if verdict.alarm {
                    found = found.or(Some(day));
                }
            }
        }
        found
    }

    #[test]
    fn a_patient_attacker_who_reads_more_every_day_is_found_within_the_week() {
        for (row, n_known, others_every, more_a_day) in [
            ("28 in a week", 8, 100, 1),
            ("28 in a week, among twice the own", 20, 50, 1),
            ("112 in a week, where all read others'", 20, 5, 4),
            ("224 in a week, until it reads as much as a job", 20, 5, 8),
        ] {
            let found = found_on(n_known, others_every, more_a_day);
            assert!(found.is_some(), "{row}");
        }
    }
}
