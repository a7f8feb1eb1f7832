//! What every kind of fault needs: callers inside and outside, moments, routes, lines with their usual fields.

use std::collections::BTreeSet;

use super::Line;
use crate::api::Api;
use crate::dice::{Dice, fold};
use crate::people::{DAY, Role};
use crate::world::World;

/// User agents of strangers.
const STRANGERS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36",
    "okhttp/4.12.0",
    "python-requests/2.32.0",
];
/// Members of a small crowd: what a few callers do, and no single one.
const CROWD: usize = 9;

/// Who makes a sown call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Who {
    /// Nobody the gateway knows, from outside.
    Stranger,
    /// A person, by its usual credential, from outside.
    Person,
    /// An AI agent, by its usual credential; nobody calls where the API has none.
    Agent,
    /// A program of the own network, without a credential.
    Inside,
}

/// Sows into one API.
pub(super) struct Sower<'a> {
    pub(super) world: &'a World,
    pub(super) dice: Dice,
    pub(super) lines: Vec<Line>,
    pub(super) hidden: BTreeSet<String>,
    at: usize,
    people: Vec<u32>,
    agents: Vec<u32>,
    salt: u64,
}

impl<'a> Sower<'a> {
    pub(super) fn new(world: &'a World, at: usize, seed: u64) -> Sower<'a> {
        let of = |is_meant: fn(Role) -> bool| -> Vec<u32> {
            let is_there = |actor: &u32| {
                let actor = &world.actors[*actor as usize];
                actor.api == at && is_meant(actor.role) && actor.joined_ms == 0
            };
            (0..world.actors.len() as u32).filter(is_there).collect()
        };
        Sower {
            world,
            dice: Dice::of(&[seed]),
            lines: Vec::new(),
            hidden: BTreeSet::new(),
            at,
            people: of(Role::is_person),
            agents: of(|role| role == Role::Agent),
            salt: seed,
        }
    }

    pub(super) fn api(&self) -> &'a Api {
        &self.world.apis[self.at]
    }

    /// People of the API.
    pub(super) fn n_people(&self) -> usize {
        self.people.len()
    }

    /// The `nth` of them.
    pub(super) fn person(&self, nth: usize) -> u32 {
        self.people[nth]
    }

    /// A path below the API's current version.
    pub(super) fn path(&self, name: &str) -> String {
        let api = self.api();
        format!("{}/{name}", api.base(api.version))
    }

    /// An address on the Internet, the n-th of this kind's crowd; none is routable.
    pub(super) fn address(&self, nth: u64) -> u32 {
        0xc612_0000 + (fold(&[self.salt, nth]) % (1 << 17)) as u32
    }

    /// `n` moments a day, in order, from a share of the world's time on.
    pub(super) fn moments(&mut self, n: usize, from: f64, to: f64) -> Vec<i64> {
        let (start_ms, end_ms) = (self.world.start_ms, self.world.end_ms);
        let at = |share: f64| start_ms + ((end_ms - start_ms) as f64 * share) as i64;
        let (from_ms, to_ms) = (at(from), at(to) - 2);
        let n = (n as f64 * (to_ms - from_ms) as f64 / DAY as f64).ceil() as usize;
        let mut moments: Vec<i64> = (0..n).map(|_| self.dice.within(from_ms, to_ms)).collect();
        moments.sort_unstable();
        moments
    }

    /// A call: GET over https, answered 200 with JSON; the template is the path.
    pub(super) fn line(&mut self, who: Who, end_ms: i64, target: &str) -> Line {
        let member = self.dice.below(CROWD) as u64;
        let crowd = match who {
            Who::Person => &self.people[..],
            Who::Agent => &self.agents[..],
            _ => &[],
        };
        let at = fold(&[self.salt, member]).checked_rem(crowd.len() as u64);
        let actor = at.map(|at| crowd[at as usize]);
        Line {
            end_ms,
            api: self.at,
            method: "GET",
            host: self.api().host.clone(),
            target: target.to_owned(),
            template: Some(target.split('?').next().unwrap_or("/").to_owned()),
            status: 200,
            scheme: "https",
            actor,
            address: match who {
                Who::Inside => 0x0a00_0000 + (fold(&[self.salt, member]) % (1 << 24)) as u32,
                _ => self.address(member),
            },
            agent: STRANGERS[member as usize % STRANGERS.len()],
            tls: "TLSv1.3",
            sent_type: "application/json",
            bytes: 300 + self.dice.below(900) as u64,
            ..Line::default()
        }
    }

    /// `n` calls a day, the whole time, each changed.
    pub(super) fn each(
        &mut self,
        n: usize,
        who: Who,
        target: &str,
        change: impl Fn(&mut Line, usize),
    ) {
        if who == Who::Agent && self.agents.is_empty() {
            return;
        }
        for (nth, end_ms) in self.moments(n, 0.0, 1.0).into_iter().enumerate() {
            let mut line = self.line(who, end_ms, target);
            change(&mut line, nth);
            self.lines.push(line);
        }
    }

    /// The name of an endpoint of this API.
    pub(super) fn key(&self, method: &str, template: &str) -> String {
        format!("{method} {} {template}", self.api().host)
    }

    /// A path that no document has, and that.
    pub(super) fn hide(&mut self, path: &str) {
        self.hidden.insert(path.to_owned());
    }
}
