//! What every attack needs: an attacker, a collection, moments by band, objects of others.

use crate::api::{Collection, CollectionId, Credential, Policy, Sharing};
use crate::dice::Dice;
use crate::people::{Actor, DAY, HOUR, MINUTE, Role, SECOND};
use crate::request::{Request, Verb};
use crate::scribe::{Caller, Scribe};
use crate::world::{Access, World};

/// Where one episode is made up.
pub(super) struct Stage<'a> {
    pub(super) world: &'a World,
    pub(super) scribe: Scribe<'a>,
    pub(super) band: u8,
    pub(super) attackers: Vec<u32>,
    pub(super) hidden: Option<&'static str>,
    /// First moment of the attack.
    pub(super) from_ms: i64,
    /// True when a loud attack begins in the first session there is, not in any.
    pub(super) is_prompt: bool,
    used: &'a [u32],
    episode: u16,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        world: &'a World,
        used: &'a mut Vec<u32>,
        episode: u16,
        band: u8,
        seed: u64,
    ) -> Stage<'a> {
        let scribe = Scribe::new(world, &[seed]);
        let mut stage = Stage {
            world,
            scribe,
            band,
            attackers: Vec::new(),
            hidden: None,
            from_ms: 0,
            is_prompt: false,
            used,
            episode,
        };
        let latest = if band >= 4 { 0.45 } else { 0.8 };
        stage.from_ms = world.moment(&mut stage.scribe.dice, 0.3, latest);
        stage
    }

    pub(super) fn dice(&mut self) -> &mut Dice {
        &mut self.scribe.dice
    }

    /// One of five by band, from loud to quiet.
    pub(super) fn by_band<T: Copy>(&self, values: [T; 5]) -> T {
        values[usize::from(self.band) - 1]
    }

    /// How many objects the attacker wants.
    pub(super) fn amount(&mut self) -> usize {
        let (low, high) = self.by_band([
            (150.0, 600.0),
            (60.0, 250.0),
            (30.0, 90.0),
            (12.0, 40.0),
            (4.0, 14.0),
        ]);
        self.dice().magnitude(low, high) as usize
    }

    /// A collection of people's own objects that answers to anyone and that meets a condition.
    pub(super) fn open(&mut self, meets: impl Fn(&Collection) -> bool) -> Option<CollectionId> {
        self.field(|collection| collection.policy == Policy::Open && meets(collection))
    }

    /// A collection of people's own objects that meets a condition.
    pub(super) fn field(&mut self, meets: impl Fn(&Collection) -> bool) -> Option<CollectionId> {
        let is_fit = |at: &CollectionId| {
            let collection = &self.world.collections[*at];
            collection.sharing != Sharing::Public
                && collection.objects.len() > 60
                && meets(collection)
        };
        let fields: Vec<CollectionId> = (0..self.world.collections.len()).filter(is_fit).collect();
        (!fields.is_empty()).then(|| *self.dice().pick(&fields))
    }

    /// An actor of an API that no other episode uses and that meets a condition.
    pub(super) fn someone(&mut self, api: usize, meets: impl Fn(&Actor) -> bool) -> Option<u32> {
        let is_free = |at: &u32| {
            let actor = &self.world.actors[*at as usize];
            actor.api == api
                && !self.used.contains(at)
                && !self.attackers.contains(at)
                && meets(actor)
        };
        let free: Vec<u32> = (0..self.world.actors.len() as u32)
            .filter(is_free)
            .collect();
        if free.is_empty() {
            return None;
        }
        let attacker = *self.dice().pick(&free);
        self.attackers.push(attacker);
        Some(attacker)
    }

    /// A person of an API who is there when the attack begins.
    pub(super) fn person(&mut self, api: usize) -> Option<u32> {
        let (from_ms, is_quiet) = (self.from_ms, self.band >= 3);
        self.someone(api, |actor| {
            actor.role.is_person()
                && actor.role != Role::Shared
                && actor.joined_ms < from_ms
                && (!is_quiet || actor.sessions >= 1.0)
        })
    }

    /// A person against a collection: the usual pair.
    pub(super) fn pair(
        &mut self,
        meets: impl Fn(&Collection) -> bool,
    ) -> Option<(u32, CollectionId)> {
        let at = self.open(meets)?;
        Some((self.person(self.world.collections[at].api)?, at))
    }

    /// An attacker at a moment, on the device it would have in hand.
    pub(super) fn caller(&mut self, attacker: u32, now_ms: i64) -> Caller {
        let device = self.world.actors[attacker as usize].device_at(now_ms);
        Caller {
            episode: self.episode,
            ..self.scribe.caller(attacker, device, now_ms)
        }
    }

    /// An attacker's sessions from the beginning of the attack on.
    pub(super) fn sessions(&self, attacker: u32) -> Vec<i64> {
        let actor = &self.world.actors[attacker as usize];
        let days = (0..self.world.options.days as i64).map(|nth| self.world.start_ms + nth * DAY);
        let starts = days
            .flat_map(|day_ms| actor.sessions(day_ms))
            .map(|(start_ms, _)| start_ms);
        starts
            .filter(|start_ms| self.from_ms <= *start_ms)
            .collect()
    }

    /// Moments of `n` calls: loud bands in one go, quiet ones within the attacker's own sessions, fewer in each.
    pub(super) fn times(&mut self, attacker: u32, n: usize) -> Vec<i64> {
        let sessions = self.sessions(attacker);
        let gap_ms = self.by_band([
            (60.0, 1000.0),
            (3e3, 2e4),
            (2e4, 9e4),
            (2e4, 2e5),
            (2e4, 4e5),
        ]);
        let mean_ms = self.dice().magnitude(gap_ms.0, gap_ms.1);
        let mut times = Vec::with_capacity(n);
        if self.band <= 2 || sessions.is_empty() {
            let first_ms = match sessions.first() {
                None => self.from_ms,
                Some(first_ms) if self.is_prompt => *first_ms,
                Some(_) => *self.dice().pick(&sessions),
            };
            let room_ms = (self.world.end_ms - first_ms) / 2;
            let mut now_ms = first_ms + self.dice().within(0, 2 * MINUTE);
            while times.len() < n && now_ms < first_ms + room_ms {
                times.push(now_ms);
                now_ms += self.dice().lognormal(mean_ms, 0.5) as i64 + 10;
            }
            return times;
        }
        let per_session = self.by_band([0, 0, 15, 4, 1]);
        for start_ms in sessions {
            if self.band == 5 && self.dice().chance(0.4) {
                continue;
            }
            let mut now_ms = start_ms + self.dice().within(5 * SECOND, 3 * MINUTE);
            for _ in 0..1 + self.dice().below(per_session) {
                times.push(now_ms);
                now_ms += self.dice().lognormal(mean_ms, 0.8) as i64 + SECOND;
            }
        }
        times.truncate(n);
        times
    }

    /// Moments at an even pace, day and night.
    pub(super) fn cadence(&mut self, n: usize, gap_ms: i64) -> Vec<i64> {
        let mut now_ms = self.from_ms;
        let mut times = Vec::with_capacity(n);
        for _ in 0..n {
            times.push(now_ms);
            now_ms += gap_ms * self.dice().within(60, 140) / 100;
        }
        times.retain(|at_ms| *at_ms < self.world.end_ms);
        times
    }

    /// Moments of `per_day` calls a day, counted from the first day, within sessions where there are some.
    pub(super) fn daily(&mut self, attacker: u32, per_day: impl Fn(usize) -> usize) -> Vec<i64> {
        let mut times = Vec::new();
        let first_ms = self.from_ms - (self.from_ms - self.world.start_ms).rem_euclid(DAY);
        for nth in 0..((self.world.end_ms - first_ms) / DAY) as usize {
            let day_ms = first_ms + nth as i64 * DAY;
            let sessions = self.world.actors[attacker as usize].sessions(day_ms);
            for _ in 0..per_day(nth) {
                let start_ms = match sessions.is_empty() {
                    true => day_ms + self.dice().within(8 * HOUR, 20 * HOUR),
                    false => self.dice().pick(&sessions).0,
                };
                times.push(start_ms + self.dice().within(5 * SECOND, 12 * MINUTE));
            }
        }
        times.retain(|at_ms| self.from_ms <= *at_ms);
        times.sort_unstable();
        times
    }

    /// Numbers of `n` distinct objects of others, at random.
    pub(super) fn strangers(&mut self, attacker: u32, at: CollectionId, n: usize) -> Vec<i64> {
        let n_objects = self.world.collections[at].objects.len();
        let now_ms = self.from_ms;
        let mut numbers = Vec::with_capacity(n);
        for _ in 0..n * 12 {
            if numbers.len() == n {
                break;
            }
            let number = self.dice().below(n_objects) as i64;
            if self.world.access(attacker, at, number, now_ms) == Access::Foreign
                && !numbers.contains(&number)
            {
                numbers.push(number);
            }
        }
        numbers
    }

    /// A block of at most `n` numbers, `stride` apart, among the objects that are there when the attack begins.
    pub(super) fn block(&mut self, at: CollectionId, n: usize, stride: i64) -> Vec<i64> {
        let from_ms = self.from_ms;
        let objects = &self.world.collections[at].objects;
        let n_there = objects.partition_point(|object| object.created_ms <= from_ms) as i64;
        let n = (n as i64).min(n_there * 4 / 5 / stride).max(2);
        let first = self.dice().within(0, (n_there - n * stride).max(1));
        (0..n).map(|nth| first + nth * stride).collect()
    }

    /// Reads objects one after the other.
    pub(super) fn reads(
        &mut self,
        attacker: u32,
        verb: Verb,
        at: CollectionId,
        numbers: &[i64],
        times: &[i64],
    ) {
        for (n, now_ms) in numbers.iter().zip(times) {
            let by = self.caller(attacker, *now_ms);
            self.scribe.touch(*now_ms, &by, verb, at, *n);
        }
    }

    /// Sends what has no object of its own, under a name for the labels.
    pub(super) fn send(
        &mut self,
        now_ms: i64,
        attacker: u32,
        request: Request,
        status: u16,
        object: String,
    ) {
        let by = self.caller(attacker, now_ms);
        let is_foreign = (!object.is_empty()).then_some(true);
        self.scribe
            .send(now_ms, &by, request, status, is_foreign, object);
    }

    /// True when nothing but the token's hash tells who calls.
    pub(super) fn is_nameless(&self, attacker: u32) -> bool {
        self.world.apis[self.world.actors[attacker as usize].api].credential == Credential::Hash
    }
}

impl Stage<'_> {
    /// Numbers of `n` objects, whoever owns them, for one who may read them all.
    pub(super) fn strangers_of_staff(&mut self, at: CollectionId, n: usize) -> Vec<i64> {
        let n_objects = self.world.collections[at].objects.len();
        (0..n)
            .map(|_| self.dice().below(n_objects) as i64)
            .collect()
    }
}
