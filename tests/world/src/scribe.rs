//! Turns what a caller does into calls as the gateway sees them: the same status, size and latency whoever asks and why.

use crate::api::{CollectionId, Place, Policy};
use crate::dice::{Dice, fold, share};
use crate::people::{HOUR, SECOND, residential};
use crate::request::{Door, Request, Verb, Writer};
use crate::world::{Access, World};

/// One call, with what the labels say of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it ended.
    pub end_ms: i64,
    /// Who called.
    pub by: Caller,
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub status: u16,
    /// Bytes of the answer.
    pub bytes: u64,
    /// Milliseconds it took.
    pub latency_ms: f64,
    /// True when the object is somebody else's; none when there is no object.
    pub is_foreign: Option<bool>,
    /// Object by name, for labels.
    pub object: String,
}

/// Who calls, from where, and as part of what.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The actor whose credential it is.
    pub actor: u32,
    /// Device of the actor whose user agent is sent.
    pub device: u8,
    /// Actor whose device it is, when the credential is stolen.
    pub machine: u32,
    /// Address.
    pub address: u32,
    /// Hash of the token.
    pub token: u64,
    /// MCP session; 0 for none.
    pub session: u64,
    /// Class, for labels.
    pub class: &'static str,
    /// Episode from 1; 0 for none.
    pub episode: u16,
}

/// Writes calls down.
#[derive(Debug)]
pub struct Scribe<'a> {
    /// The world.
    pub world: &'a World,
    /// What it draws from.
    pub dice: Dice,
    /// Calls so far, in no order.
    pub calls: Vec<Call>,
}

impl<'a> Scribe<'a> {
    /// A scribe with its own dice.
    pub fn new(world: &'a World, keys: &[u64]) -> Scribe<'a> {
        Scribe {
            world,
            dice: Dice::of(keys),
            calls: Vec::new(),
        }
    }

    /// An actor on one of its devices at a moment.
    pub fn caller(&mut self, actor: u32, device: u8, now_ms: i64) -> Caller {
        let person = &self.world.actors[actor as usize];
        let thing = &person.devices[usize::from(device)];
        let keys = [
            person.salt,
            u64::from(device),
            now_ms.div_euclid(3 * HOUR) as u64,
        ];
        let is_away = thing.is_mobile && share(&keys) < 0.6;
        let address = if is_away {
            residential(&mut Dice::of(&keys))
        } else {
            thing.address
        };
        Caller {
            actor,
            device,
            machine: actor,
            address,
            token: person.token(device, now_ms),
            session: 0,
            class: person.role.name(),
            episode: 0,
        }
    }

    /// The writer of a collection's requests for a caller at a moment.
    pub fn writer(&self, by: &Caller, at: CollectionId, now_ms: i64) -> Writer<'a> {
        let collection = &self.world.collections[at];
        let door = Door::Version(self.world.version(by.actor, now_ms));
        Writer {
            api: &self.world.apis[collection.api],
            collection,
            at,
            door,
        }
    }

    /// Does something with the n-th object of a collection; returns status and end.
    pub fn touch(
        &mut self,
        now_ms: i64,
        by: &Caller,
        verb: Verb,
        at: CollectionId,
        n: i64,
    ) -> (u16, i64) {
        let writer = self.writer(by, at, now_ms);
        self.touch_by(now_ms, by, verb, writer, n)
    }

    /// The same through a given writer.
    pub fn touch_by(
        &mut self,
        now_ms: i64,
        by: &Caller,
        verb: Verb,
        writer: Writer<'a>,
        n: i64,
    ) -> (u16, i64) {
        let (world, collection) = (self.world, writer.collection);
        let id = writer.id(n);
        let tenant = world.tenant_of(writer.at, n, by.actor);
        let length = 4 + (fold(&[collection.salt, n as u64]) % 60) as usize;
        let request = match verb {
            Verb::Part => writer.part(&id, tenant),
            Verb::Export => writer.export(&id, tenant),
            Verb::Update => writer.update(&id, tenant, length),
            Verb::Delete => writer.delete(&id, tenant),
            _ => writer.read(&id, tenant),
        };
        self.touch_with(now_ms, by, request, n)
    }

    /// The same with a given request.
    pub fn touch_with(&mut self, now_ms: i64, by: &Caller, request: Request, n: i64) -> (u16, i64) {
        let at = request.collection;
        let access = self.world.access(by.actor, at, n, now_ms);
        let status = self.status(access, &request);
        let is_foreign = !matches!(access, Access::Own | Access::Shared | Access::Public);
        let collection = &self.world.collections[at];
        let object = format!(
            "{}:{}",
            collection.name,
            collection.id(n, self.world.apis[collection.api].release_ms)
        );
        self.send(now_ms, by, request, status, Some(is_foreign), object)
    }

    /// What the service answers to an access.
    fn status(&self, access: Access, request: &Request) -> u16 {
        let collection = &self.world.collections[request.collection];
        let policy = match request.verb {
            Verb::Update | Verb::Delete => collection.policy_writes,
            Verb::Part | Verb::Export => collection.policy_parts,
            _ => collection.policy,
        };
        let answer = match (access, policy) {
            (Access::Missing, _) | (Access::Foreign, Policy::Hide) => 404,
            (Access::Foreign, Policy::Forbid) => 403,
            _ if request.verb == Verb::Delete => 204,
            _ => 200,
        };
        // GraphQL and MCP tell faults in the body.
        let is_wrapped = !request.body.is_empty() && request.verb == Verb::Read;
        if is_wrapped { 200 } else { answer }
    }

    /// Sends a request, again when the service is ill; returns the last status and end.
    pub fn send(
        &mut self,
        now_ms: i64,
        by: &Caller,
        request: Request,
        status: u16,
        is_foreign: Option<bool>,
        object: String,
    ) -> (u16, i64) {
        let api = &self.world.apis[self.world.collections[request.collection].api];
        let is_ill = api.outage_ms.0 <= now_ms && now_ms < api.outage_ms.1;
        let (mut start_ms, mut class) = (now_ms, by.class);
        for attempt in 0..6 {
            let fails = self.dice.chance(if is_ill { 0.6 } else { 0.002 });
            let status = match fails {
                true => *self.dice.pick(&[502, 503, 504]),
                false => status,
            };
            let call = self.answer(
                start_ms,
                Caller {
                    class,
                    ..by.clone()
                },
                request.clone(),
                status,
                is_foreign,
                object.clone(),
            );
            let end_ms = call.end_ms;
            self.calls.push(call);
            if !fails || attempt == 5 || self.dice.chance(0.2) {
                return (status, end_ms);
            }
            start_ms = end_ms + (SECOND << attempt) / 2 + self.dice.within(0, 300);
            class = if by.episode == 0 { "retry" } else { by.class };
        }
        unreachable!("the sixth attempt is the last")
    }

    fn answer(
        &mut self,
        start_ms: i64,
        by: Caller,
        request: Request,
        status: u16,
        is_foreign: Option<bool>,
        object: String,
    ) -> Call {
        let collection = &self.world.collections[request.collection];
        let (bytes, spread) = collection.bytes;
        let of_object = fold(&[collection.salt, fold_text(&object)]);
        let typical = bytes * (spread * Dice::of(&[of_object]).normal()).exp();
        let factor = match request.verb {
            Verb::Read => 1.0,
            Verb::Part => 1.6,
            Verb::Export => 18.0,
            Verb::List => 0.4 * listed(&request).unwrap_or(collection.page) as f64,
            Verb::Search => 0.4 * collection.page as f64,
            Verb::Batch => 0.4 * (1 + object.matches('|').count()) as f64,
            _ => 0.3,
        };
        let is_denied_within = status == 200
            && request.verb == Verb::Read
            && (collection.place == Place::Graph || !request.body.is_empty())
            && is_foreign == Some(true)
            && collection.policy != Policy::Open;
        let bytes = match status {
            204 => 0.0,
            400.. => (40 + fold(&[collection.salt >> 32, u64::from(status)]) % 160) as f64,
            _ if is_denied_within => 92.0,
            _ => typical * factor * (1.0 + 0.02 * self.dice.normal()),
        };
        let slow = match request.verb {
            Verb::Export | Verb::List | Verb::Search | Verb::Batch => 2.0,
            _ => 1.0,
        };
        let latency_ms = self
            .dice
            .lognormal(collection.latency.0 * slow, collection.latency.1)
            .clamp(1.0, 20_000.0);
        Call {
            end_ms: start_ms + latency_ms as i64,
            by,
            request,
            status,
            bytes: bytes.max(0.0) as u64,
            latency_ms,
            is_foreign,
            object,
        }
    }
}

/// Objects that a list was asked for; its size is its last parameter.
fn listed(request: &Request) -> Option<usize> {
    request.target.rsplit_once('=')?.1.parse().ok()
}

fn fold_text(text: &str) -> u64 {
    text.bytes()
        .fold(7, |sum, byte| fold(&[sum, u64::from(byte)]))
}
