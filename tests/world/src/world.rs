//! A world: APIs, tenants, callers and objects, all drawn from the seed and fixed before the first request.

use crate::api::{self, Api, Collection, CollectionId, NEVER, Object, Sharing};
use crate::dice::{Dice, fold, share};
use crate::ids::Scheme;
use crate::people::{self, Actor, DAY, HOUR, MINUTE, Naming, Role};

/// An owner that is no caller: the firm behind the API.
pub const NOBODY: u32 = u32::MAX;
/// 2026-01-01, the earliest start.
const EARLIEST_MS: i64 = 1_767_225_600_000;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of everything.
    pub seed: u64,
    /// Days the log covers.
    pub days: usize,
    /// People and services together.
    pub callers: usize,
    /// Episodes; none for one in 16 callers.
    pub episodes: Option<usize>,
    /// Only this band of difficulty.
    pub band: Option<u8>,
    /// Only these kinds; all when empty.
    pub kinds: Vec<String>,
    /// Sows misconfigurations and their healthy twins.
    pub posture: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            days: 7,
            callers: 400,
            episodes: None,
            band: None,
            kinds: Vec::new(),
            posture: false,
        }
    }
}

/// A tenant: a firm or a family.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id, as in claims and nested paths.
    pub id: String,
    /// Its members.
    pub members: Vec<u32>,
}

/// What a caller is to an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Access {
    /// There is no such object (any more).
    Missing,
    /// Its own, or its patron's.
    Own,
    /// Shared with it.
    Shared,
    /// Everyone's.
    Public,
    /// Somebody else's, but it is its job.
    Staff,
    /// Somebody else's.
    Foreign,
}

/// A world.
#[derive(Clone, Debug)]
pub struct World {
    /// What was asked for.
    pub options: Options,
    /// First moment.
    pub start_ms: i64,
    /// The moment after the last.
    pub end_ms: i64,
    /// APIs.
    pub apis: Vec<Api>,
    /// Collections of all APIs.
    pub collections: Vec<Collection>,
    /// Tenants of all APIs.
    pub tenants: Vec<Tenant>,
    /// Groups of all tenants.
    pub groups: Vec<Vec<u32>>,
    /// Callers.
    pub actors: Vec<Actor>,
    /// Numbers of the objects an actor owns, by actor and collection of its API, in the order of their making.
    pub owned: Vec<Vec<Vec<u32>>>,
    /// Flash crowds: collection, object, start.
    pub crowds: Vec<(CollectionId, u32, i64)>,
}

impl World {
    /// Draws a world.
    pub fn draw(options: &Options) -> World {
        let mut dice = Dice::of(&[options.seed, 1]);
        let start_ms = EARLIEST_MS + dice.within(0, 300) * DAY;
        let mut world = World {
            options: options.clone(),
            start_ms,
            end_ms: start_ms + options.days as i64 * DAY,
            apis: Vec::new(),
            collections: Vec::new(),
            tenants: Vec::new(),
            groups: Vec::new(),
            actors: Vec::new(),
            owned: Vec::new(),
            crowds: Vec::new(),
        };
        let n_apis = dice.within(2, 4) as usize;
        for at in 0..n_apis {
            let mut api = api::draw(&mut dice, at, &mut world.collections);
            if dice.chance(0.6) {
                api.release_ms = world.moment(&mut dice, 0.35, 0.9);
            }
            if dice.chance(0.6) {
                let outage_ms = world.moment(&mut dice, 0.3, 0.95);
                api.outage_ms = (outage_ms, outage_ms + dice.within(5, 40) * MINUTE);
            }
            world.apis.push(api);
        }
        let shares: Vec<f64> = (0..n_apis).map(|_| dice.lognormal(1.0, 0.7)).collect();
        let sum: f64 = shares.iter().sum();
        for (at, share) in shares.iter().enumerate() {
            let n = (options.callers as f64 * share / sum).max(24.0) as usize;
            world.draw_people(&mut dice, at, n);
        }
        world.owned = vec![Vec::new(); world.actors.len()];
        for at in 0..n_apis {
            world.draw_objects(&mut dice, at);
        }
        world.draw_crowds(&mut dice);
        world
    }

    /// A moment between two shares of the world's time.
    pub fn moment(&self, dice: &mut Dice, from: f64, to: f64) -> i64 {
        self.start_ms + ((self.end_ms - self.start_ms) as f64 * dice.between(from, to)) as i64
    }

    fn draw_people(&mut self, dice: &mut Dice, api: usize, n_callers: usize) {
        let (naming, salt) = (Naming::draw(dice), dice.bits());
        let tenant_ids = Scheme::draw(dice, "tenant", true);
        let tenant_ids = if dice.chance(0.5) {
            Scheme::Uuid4
        } else {
            tenant_ids
        };
        let is_business = self.apis[api].is_business;
        let n_services = 9 + n_callers / 25;
        let n_people = n_callers.saturating_sub(n_services).max(15);
        let mut n_left = n_people;
        let first = self.actors.len();
        while n_left > 0 {
            let size = match is_business {
                true => (dice.magnitude(3.0, 60.0) as usize).min(n_left),
                false => *dice.pick(&[1, 1, 2, 3, 4, 5].map(|n: usize| n.min(n_left))),
            };
            n_left -= size;
            let tenant = self.tenants.len();
            let id = tenant_ids.id(salt, tenant as i64, 0);
            self.tenants.push(Tenant {
                id,
                members: Vec::new(),
            });
            let office = is_business.then(|| people::residential(dice));
            let zone_ms = dice.within(-8, 9) * HOUR;
            let mut group_left = 0_usize;
            for _ in 0..size {
                if group_left == 0 {
                    group_left = if is_business {
                        dice.within(3, 10) as usize
                    } else {
                        5
                    };
                    self.groups.push(Vec::new());
                }
                group_left -= 1;
                let actor = self.actors.len();
                let mut person = self.draw_person(dice, api, office);
                person.name = naming.name(salt, actor - first);
                person.zone_ms = zone_ms;
                (person.tenant, person.group) = (tenant, self.groups.len() - 1);
                self.tenants[tenant].members.push(actor as u32);
                self.groups[person.group].push(actor as u32);
                self.actors.push(person);
            }
        }
        let people = first..self.actors.len();
        for nth in 0..n_services {
            self.draw_service(dice, api, nth, people.clone(), (naming, salt));
        }
    }

    fn draw_person(&self, dice: &mut Dice, api: usize, office: Option<u32>) -> Actor {
        let role = match dice.below(100) {
            0..=7 => Role::Newcomer,
            8..=10 => Role::Heavy,
            11..=12 => Role::Shared,
            13..=14 => Role::Manager,
            _ => Role::User,
        };
        let app = format!(
            "{}App",
            self.apis[api]
                .host
                .split('.')
                .nth(usize::from(self.apis[api].host.matches('.').count() > 1))
                .unwrap_or("My")
        );
        let n_devices = match role {
            Role::Shared => dice.within(3, 7),
            _ => *dice.pick(&[1, 1, 2, 2, 3]),
        };
        let release_ms = self.apis[api].release_ms;
        let rotation_ms = match dice.below(10) {
            0..=3 => 0,
            4 | 5 => DAY,
            6 | 7 => 12 * HOUR,
            8 => HOUR,
            _ => 15 * MINUTE,
        };
        let is_keyed_by_hash = self.apis[api].credential == api::Credential::Hash;
        Actor {
            name: String::new(),
            role,
            api,
            tenant: 0,
            group: 0,
            zone_ms: 0,
            peak: *dice.pick(&[
                (11.0, 2.5),
                (14.0, 3.0),
                (20.0, 2.5),
                (15.0, 4.5),
                (2.0, 3.0),
            ]),
            weekend: dice.between(0.1, 1.2),
            sessions: dice.lognormal(1.7, 0.8).min(12.0)
                * if matches!(role, Role::Shared | Role::Heavy) {
                    2.5
                } else {
                    1.0
                },
            steps: dice.lognormal(9.0, 0.5).min(40.0),
            devices: (0..n_devices)
                .map(|_| people::device(dice, &app, office))
                .collect(),
            // Without a subject nothing but the token tells who calls: hourly tokens would be nobody.
            rotation_ms: if is_keyed_by_hash && rotation_ms < 12 * HOUR {
                0
            } else {
                rotation_ms
            },
            joined_ms: match role {
                Role::Newcomer if release_ms != NEVER && dice.chance(0.5) => {
                    release_ms + dice.within(0, DAY)
                }
                Role::Newcomer => self.moment(dice, 0.0, 0.95),
                _ => 0,
            },
            promoted_ms: if role == Role::Manager {
                self.moment(dice, 0.3, 0.9)
            } else {
                NEVER
            },
            patron: None,
            salt: dice.bits(),
        }
    }

    fn draw_service(
        &mut self,
        dice: &mut Dice,
        api: usize,
        nth: usize,
        people: std::ops::Range<usize>,
        name: (Naming, u64),
    ) {
        let roles = [
            Role::Support,
            Role::Walker,
            Role::Agent,
            Role::Monitor,
            Role::Crawler,
            Role::Auditor,
            Role::Sync,
            Role::Migration,
            Role::Loadtest,
        ];
        let role = match roles.get(nth) {
            // Not every API has all of them.
            Some(_) if nth > 2 && dice.chance(0.3) => return,
            Some(role) => *role,
            None if nth.is_multiple_of(8) => Role::Support,
            None => Role::Agent,
        };
        let patron = people.start + dice.below(people.len());
        let person = self.actors[patron].clone();
        let n = self.actors.len() - people.start;
        let tenant = match role {
            Role::Agent | Role::Migration => person.tenant,
            _ => {
                let id = format!("{}", 900_000 + self.tenants.len());
                self.tenants.push(Tenant {
                    id,
                    members: Vec::new(),
                });
                self.tenants.len() - 1
            }
        };
        self.groups.push(vec![self.actors.len() as u32]);
        let actor = Actor {
            name: if role.is_anonymous() {
                format!("anonymous-{}-{n}", role.name())
            } else {
                name.0.name(name.1, n)
            },
            role,
            tenant,
            group: if role == Role::Agent {
                person.group
            } else {
                self.groups.len() - 1
            },
            sessions: dice.lognormal(3.0, 0.6),
            devices: vec![people::server(dice, role)],
            rotation_ms: if role == Role::Agent {
                person.rotation_ms
            } else {
                0
            },
            joined_ms: if dice.chance(0.2) {
                self.moment(dice, 0.2, 0.7)
            } else {
                0
            },
            promoted_ms: NEVER,
            patron: (role == Role::Agent).then_some(patron as u32),
            salt: dice.bits(),
            ..person
        };
        debug_assert_eq!(actor.api, api);
        self.actors.push(actor);
    }

    fn draw_objects(&mut self, dice: &mut Dice, api: usize) {
        let actors: Vec<u32> = (0..self.actors.len() as u32)
            .filter(|at| self.actors[*at as usize].api == api)
            .collect();
        let ids = self.apis[api].collections.clone();
        for actor in &actors {
            self.owned[*actor as usize] = vec![Vec::new(); ids.len()];
        }
        let release_ms = self.apis[api].release_ms;
        for (local, at) in ids.iter().enumerate() {
            let (sharing, is_accounts, weight) = {
                let collection = &self.collections[*at];
                (
                    collection.sharing,
                    collection.is_accounts,
                    collection.weight,
                )
            };
            let mut made: Vec<(i64, u32)> = Vec::new();
            if sharing == Sharing::Public {
                let n = dice.magnitude(150.0, 2500.0) as usize;
                made = (0..n)
                    .map(|_| (self.start_ms - dice.wait(90.0 * DAY as f64) as i64, NOBODY))
                    .collect();
            } else {
                for actor in &actors {
                    let n = if is_accounts {
                        1
                    } else {
                        self.n_objects(dice, *actor, weight)
                    };
                    self.make(dice, *actor, n, &mut made);
                }
            }
            made.sort_unstable();
            let objects: Vec<Object> = made
                .iter()
                .map(|(created_ms, owner)| {
                    let age_ms = (self.end_ms - created_ms).max(1);
                    let is_deleted = !is_accounts && *owner != NOBODY && dice.chance(0.03);
                    let deleted_ms = if is_deleted {
                        created_ms + dice.within(HOUR, age_ms.max(2 * HOUR))
                    } else {
                        NEVER
                    };
                    Object {
                        owner: *owner,
                        created_ms: *created_ms,
                        deleted_ms,
                    }
                })
                .collect();
            for (n, object) in (0_u32..).zip(&objects) {
                if object.owner != NOBODY {
                    self.owned[object.owner as usize][local].push(n);
                }
            }
            let collection = &mut self.collections[*at];
            collection.objects = objects;
            if release_ms != NEVER && !is_accounts && dice.chance(0.15) {
                collection.scheme_after = Some(Scheme::draw(dice, &collection.noun, false));
            }
        }
    }

    /// How many objects an actor owns in a collection over the whole time.
    fn n_objects(&self, dice: &mut Dice, actor: u32, weight: f64) -> usize {
        let median = 5.0 * weight.clamp(0.3, 3.0);
        match self.actors[actor as usize].role {
            Role::Heavy | Role::Migration => dice.magnitude(50.0, 450.0) as usize,
            Role::Loadtest => 40,
            Role::Shared => dice.lognormal(3.0 * median, 0.7) as usize + 1,
            role if role.is_person() => dice.lognormal(median, 0.9).min(300.0) as usize + 1,
            _ => 0,
        }
    }

    /// Makes an actor's objects, three in ten of them in runs.
    fn make(&self, dice: &mut Dice, actor: u32, n: usize, made: &mut Vec<(i64, u32)>) {
        let joined_ms = self.actors[actor as usize].joined_ms;
        let (mut n_left, mut moment) = (n, 0);
        let mut run_left = 0_usize;
        while n_left > 0 {
            n_left -= 1;
            if run_left > 0 {
                run_left -= 1;
                moment += dice.within(200, 4000);
            } else {
                let newest = if joined_ms > 0 {
                    joined_ms
                } else {
                    self.start_ms
                };
                moment = match (joined_ms > 0, dice.chance(0.15)) {
                    (false, false) => self.start_ms - dice.wait(60.0 * DAY as f64) as i64,
                    _ => dice.within(
                        newest + MINUTE,
                        (newest + 2 * MINUTE).max(self.end_ms - MINUTE),
                    ),
                };
                if dice.chance(0.06) {
                    run_left = dice.within(3, 12) as usize;
                }
            }
            made.push((moment, actor));
        }
    }

    fn draw_crowds(&mut self, dice: &mut Dice) {
        for (at, collection) in self.collections.iter().enumerate() {
            if collection.sharing == Sharing::Public && dice.chance(0.7) {
                let object = dice.below(collection.objects.len()) as u32;
                let moment_ms = self.moment(dice, 0.3, 0.95);
                self.crowds.push((at, object, moment_ms));
            }
        }
    }

    /// Numbers of the objects of a collection that an actor owns.
    pub fn own(&self, actor: u32, at: CollectionId) -> &[u32] {
        let api = self.collections[at].api;
        let local = self.apis[api].collections.iter().position(|c| *c == at);
        local
            .and_then(|local| self.owned[actor as usize].get(local))
            .map_or(&[], Vec::as_slice)
    }

    /// What an actor is to an object at a moment.
    pub fn access(&self, actor: u32, at: CollectionId, n: i64, now_ms: i64) -> Access {
        let collection = &self.collections[at];
        let Some(object) = usize::try_from(n)
            .ok()
            .and_then(|n| collection.objects.get(n))
        else {
            return Access::Missing;
        };
        if now_ms < object.created_ms || object.deleted_ms <= now_ms {
            return Access::Missing;
        }
        let caller = &self.actors[actor as usize];
        if object.owner == actor || Some(object.owner) == caller.patron {
            return Access::Own;
        }
        if object.owner == NOBODY || collection.sharing == Sharing::Public {
            return Access::Public;
        }
        let owner = &self.actors[object.owner as usize];
        let is_shared = match collection.sharing {
            Sharing::Some(part) => {
                owner.group == caller.group && share(&[collection.salt, n as u64, 5]) < part
            }
            Sharing::Group => owner.group == caller.group,
            _ => owner.tenant == caller.tenant,
        };
        let is_manager = caller.promoted_ms <= now_ms && owner.tenant == caller.tenant;
        let is_staff = matches!(
            caller.role,
            Role::Support | Role::Auditor | Role::Walker | Role::Sync
        );
        match (is_shared || is_manager, is_staff) {
            (true, _) => Access::Shared,
            (_, true) => Access::Staff,
            _ => Access::Foreign,
        }
    }

    /// The version an actor's client calls at a moment: after a release clients follow within a day and a half.
    pub fn version(&self, actor: u32, now_ms: i64) -> u32 {
        let caller = &self.actors[actor as usize];
        let api = &self.apis[caller.api];
        let lag_ms = (fold(&[caller.salt, 7]) % (36 * HOUR as u64)) as i64;
        api.version + u32::from(api.release_ms != NEVER && api.release_ms + lag_ms <= now_ms)
    }

    /// The id of a tenant that an object lies under; the caller's where nobody owns it.
    pub fn tenant_of(&self, at: CollectionId, n: i64, caller: u32) -> &str {
        let object = usize::try_from(n)
            .ok()
            .and_then(|n| self.collections[at].objects.get(n));
        let owner = object.map_or(NOBODY, |object| object.owner);
        let actor = if owner == NOBODY { caller } else { owner };
        &self.tenants[self.actors[actor as usize].tenant].id
    }
}
