//! The lanes under every fault at once, driven by one seed.
//!
//! Two source partitions, a log of two partitions after each stage, one owner a lane. The seed decides who reads how
//! much next and what breaks: a process ends in the middle of its writes, a lane moves while its old owner still
//! believes in it, records come twice, snapshots are torn, refused, lost or cut, the store is away, copies beside the process
//! are damaged, or another file's. At the end everything is read, and each stage's output must be what a fresh lane derives from its input log:
//! nothing lost, nothing twice, nothing different; alerts as readers of committed transactions see them.
//!
//! `TOLLWATCH_SIMULATION_SEEDS=10000` for the long form; `TOLLWATCH_SIMULATION_SEED=n` for one seed.
//!
//! Kafka itself is not simulated: what the service does with its clients is tested over a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use connectors::format::{Format, SourceRecord};
use engine::alert::Alert;
use engine::config::ModelConfig;
use engine::inventory::Record;
use engine::lane::{Lane, Outbox};
use engine::log::{Log, LogRecord, RowAt, row_at};
use engine::rule::{Rule, RuleSet};
use engine::schema;
use engine::stage;
use engine::stage::decode::{Decode, DecodeConfig};
use engine::state::keeper::{Chain, Save, restore, write};
use engine::state::{Place, Standby, StateError, Store};
use models::identity::Resolver;
use models::secret::HashKey;
use object_store::path::Path as Key;

use crate::support::files_below;
use crate::support::flaky::Flaky;

const PARTITIONS: usize = 2;
const STAGES: [Log; 4] = Log::ALL;

/// Seeds whose run once failed; each found a fault.
const KEPT: [u64; 0] = [];

/// xorshift64*: everything random here comes from one of these.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.roll(n) == 0
    }
}

/// Calls of a few callers on what is theirs, and of one who walks through everybody's; some late, some in the future.
fn traffic(dice: &mut Dice, n: usize) -> Vec<Vec<u8>> {
    let mut now_ms = 1_767_571_200_000_i64;
    let mut next = 0;
    let call = |_| {
        now_ms += dice.roll(4000) as i64;
        let caller = dice.roll(8);
        let object = match caller {
            0 => {
                next += 1;
                next % 400
            }
            caller => caller * 50 + dice.roll(12),
        };
        let at_ms = match dice.roll(40) {
            0 => now_ms - 400_000,
            1 => now_ms + 3_600_000,
            _ => now_ms,
        };
        let method = ["GET", "GET", "GET", "PUT"][dice.roll(4)];
        let path = match dice.roll(30) {
            0 => "/.env".to_owned(),
            1 => format!("/orders/{object}/items/{}", dice.roll(9)),
            _ => format!("/orders/{object}"),
        };
        let status = [200, 200, 200, 200, 403, 404, 500][dice.roll(7)];
        serde_json::json!({
            "started_at": at_ms, "client_ip": "192.0.2.1", "consumer": {"username": format!("u{caller}")},
            "request": {"method": method, "uri": path, "url": format!("https://api.example{path}"), "size": "138",
                "headers": {"host": "api.example"}},
            "response": {"status": status, "size": 800 + object, "headers": {}}, "latencies": {"request": 5},
        })
        .to_string()
        .into_bytes()
    };
    (0..n).map(call).collect()
}

/// Two shipped detections, and rules of each kind that hold state, so loud that most runs have alerts.
fn rules() -> RuleSet {
    let shipped = RuleSet::shipped();
    let few = ["bola_enumeration", "misconfig_probe"];
    let mut rules: Vec<Rule> = shipped
        .rules
        .iter()
        .filter(|rule| few.contains(&rule.header.name.as_str()))
        .map(|rule| Rule::clone(rule))
        .collect();
    assert_eq!(rules.len(), few.len());
    let own = [
        (
            "crossing",
            "emit: first_crossing\nlateness: 1m\nsuppress: {by: [identity], for: 5m, update: true}",
            "SELECT identity, window_start, window_end, count(DISTINCT object) AS n, max(response_bytes) AS bytes
             FROM HOP(events, event_time, INTERVAL '10 seconds', INTERVAL '1 minute')
             GROUP BY identity, window_start, window_end HAVING count(DISTINCT object) > 5",
        ),
        (
            "closing",
            "emit: window_close\nlateness: 20s\nsuppress: {by: [endpoint], for: 1m, update: true}",
            "SELECT endpoint, window_start, window_end, count(*) AS n, avg(latency_us) AS latency
             FROM TUMBLE(events, event_time, INTERVAL '30 seconds')
             GROUP BY endpoint, window_start, window_end HAVING count(*) > 8",
        ),
        (
            "foreign",
            "emit: first_crossing\nlateness: 1m\nsuppress: {by: [identity], for: 2m, update: true}",
            "SELECT identity, window_start, window_end, count(*) AS n
             FROM HOP(touches, event_time, INTERVAL '10 seconds', INTERVAL '2 minutes')
             WHERE category <> 'own' GROUP BY identity, window_start, window_end HAVING count(*) > 4",
        ),
        (
            "sliding",
            "lateness: 30s\nsuppress: {by: [identity], for: 3m, update: true}",
            "SELECT identity, window_start, window_end, count(*) AS n, count(DISTINCT object) AS objects
             FROM SLIDING(events, event_time, INTERVAL '40 seconds')
             GROUP BY identity, window_start, window_end HAVING count(*) > 6 OR count(DISTINCT object) > 4",
        ),
        (
            "appeared",
            "suppress: {by: [host], for: 1m, update: true}",
            "SELECT endpoint, host, calls FROM inventory WHERE is_new",
        ),
        (
            "found",
            "emit: window_close\nsuppress: {by: [host], for: 1m, update: true}",
            "SELECT host, window_end, count(*) AS n, count(DISTINCT uid) AS findings
             FROM TUMBLE(findings, event_time, INTERVAL '3 minutes') GROUP BY host, window_end",
        ),
        (
            "together",
            "emit: first_crossing\nsuppress: {by: [identity], for: 5m, update: true}",
            "SELECT identity, window_start, window_end, count(DISTINCT rule) AS n
             FROM TUMBLE(alerts, event_time, INTERVAL '5 minutes')
             GROUP BY identity, window_start, window_end HAVING count(DISTINCT rule) > 1",
        ),
        (
            "chain",
            "within: 10m\nsuppress: {by: [identity], for: 1m, update: true}",
            "SELECT identity, first_rule, last_rule FROM alerts MATCH_RECOGNIZE (
               PARTITION BY identity MEASURES FIRST(a.rule) AS first_rule, LAST(b.rule) AS last_rule
               PATTERN (a other* b) DEFINE a AS rule = 'crossing', b AS rule = 'foreign')",
        ),
        (
            "again",
            "emit: window_close\nsuppress: {by: [about], for: 1m, update: true}",
            "SELECT about, window_start, window_end, count(*) AS n
             FROM HOP(alerts, event_time, INTERVAL '1 minute', INTERVAL '4 minutes')
             GROUP BY about, window_start, window_end HAVING count(*) > 1",
        ),
    ];
    for (at, (name, header, sql)) in own.into_iter().enumerate() {
        let text = format!(
            "/*---\nschema: rule/v1\nid: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f1{at:x}\nname: {name}\nversion: 1\ntitle: t\n\
             status: stable\nseverity: low\ndescription: d\n{header}\n---*/\n{sql}"
        );
        rules.push(Rule::parse(Path::new(name), &text).expect("a sound rule"));
    }
    RuleSet::new(rules).expect("names of their own")
}

/// Records of a source as they are read from it.
fn records(source: &[Vec<u8>], range: std::ops::Range<usize>) -> Vec<SourceRecord<'_>> {
    let record = |offset: usize| SourceRecord {
        payload: source[offset].as_slice(),
        offset: offset as i64,
        // What lies in the future is clamped to a little later.
        broker_time_ms: Some(1_767_571_200_000 + 1_000_000),
    };
    range.map(record).collect()
}

/// What is fixed in a run.
struct World {
    models: ModelConfig,
    rules: Arc<RuleSet>,
    decode: DecodeConfig,
    store: Store,
    flaky: Arc<Flaky>,
    /// Where copies of snapshots lie.
    copies: tempfile::TempDir,
    sources: Vec<Vec<Vec<u8>>>,
}

impl World {
    fn fresh(&self, log: Log, partition: usize) -> Lane {
        let stage = stage::of(log, &self.models, &self.rules, PARTITIONS).expect("sound rules");
        Lane::new(stage, log.name().into(), partition as i32)
    }
}

/// One lane's owner.
struct Owner {
    lane: Lane,
    next: usize,
    /// Of which owner in a row: the group refuses offsets and alerts of an older one.
    generation: u64,
    replay_until: usize,
    chain: Option<Chain>,
    /// Raised, and not yet in a transaction.
    alerts: Vec<Alert>,
    /// Records of the inventory, as long.
    inventory: Vec<Record>,
    /// True for one that was replaced and has not noticed.
    is_zombie: bool,
}

/// What outlives every process.
#[derive(Default)]
struct Durable {
    /// Records of each log by partition.
    logs: BTreeMap<(&'static str, usize), Vec<LogRecord>>,
    committed: BTreeMap<(&'static str, usize), usize>,
    generations: BTreeMap<(&'static str, usize), u64>,
    /// Alerts of committed transactions.
    alerts: Vec<(String, String)>,
    /// Their records of the inventory.
    inventory: Vec<(String, String)>,
}

impl Durable {
    fn len(&self, log: Log, partition: usize) -> usize {
        self.logs.get(&(log.name(), partition)).map_or(0, Vec::len)
    }

    fn append(&mut self, log: Log, records: Vec<(usize, LogRecord)>) {
        for (partition, record) in records {
            self.logs
                .entry((log.name(), partition))
                .or_default()
                .push(record);
        }
    }
}

struct Simulation {
    world: World,
    dice: Dice,
    durable: Durable,
    decoders: Vec<(Decode, usize)>,
    owners: BTreeMap<(usize, usize), Owner>,
    zombies: Vec<((usize, usize), Owner)>,
    n: BTreeMap<&'static str, usize>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut dice = Dice::new(seed);
        let rules = Arc::new(rules());
        let flaky = Arc::new(Flaky::new(seed));
        let copies = tempfile::tempdir().expect("a folder");
        // Room for some of the lanes, in most runs.
        let bytes_max = 1 << (14 + dice.roll(5));
        let standby = Standby::open(copies.path(), bytes_max).expect("a folder");
        let store = Store::over(flaky.clone(), Key::default()).expect("threads");
        let world = World {
            models: ModelConfig {
                // Loud, and small enough to forget.
                false_alerts_per_million_events: 1000.0,
                warm_up_hours: 0.0,
                identities_max: 1000,
                streams_max: 1000,
                pairs_max: 1000,
                objects_max: 1000,
                endpoints_max: 100,
                cases_max: 100,
                ..ModelConfig::default()
            },
            rules,
            decode: DecodeConfig {
                format: Format::Kong.into(),
                resolver: Arc::new(Resolver::new(HashKey::new([7; 32]), false)),
                templates: Arc::default(),
                enrichment: Arc::default(),
                privacy: Arc::default(),
                partitions: PARTITIONS,
            },
            store: store.with_standby(standby),
            flaky,
            copies,
            sources: (0..PARTITIONS).map(|_| traffic(&mut dice, 200)).collect(),
        };
        let mut simulation = Simulation {
            decoders: Vec::new(),
            owners: BTreeMap::new(),
            zombies: Vec::new(),
            n: BTreeMap::new(),
            durable: Durable::default(),
            dice,
            world,
        };
        simulation.decoders = (0..PARTITIONS).map(|at| simulation.decoder(at)).collect();
        simulation
    }

    fn note(&mut self, what: &'static str) {
        *self.n.entry(what).or_default() += 1;
    }

    fn decoder(&self, partition: usize) -> (Decode, usize) {
        let decode = Decode::new("source".into(), partition as i32, self.world.decode.clone());
        let committed = self.durable.committed.get(&("source", partition));
        (decode, committed.copied().unwrap_or(0))
    }

    /// Takes over a lane, as a new owner does.
    fn assign(&mut self, stage: usize, partition: usize) {
        let log = STAGES[stage];
        let generation = self
            .durable
            .generations
            .entry((log.name(), partition))
            .or_default();
        *generation += 1;
        let generation = *generation;
        let committed = self
            .durable
            .committed
            .get(&(log.name(), partition))
            .copied();
        let place = Place::new(&format!("s.{stage}"), log.name(), partition as i32);
        let world = &self.world;
        let restored = restore(
            &world.store,
            &place,
            "f",
            committed.map(|committed| committed as i64),
            0,
            || Ok::<_, StateError>(world.fresh(log, partition)),
            Lane::load,
        );
        let (lane, chain, replay_until) = match restored {
            Ok(restored) => (
                restored.lane,
                Some(restored.chain),
                restored.committed as usize,
            ),
            Err(_) => (world.fresh(log, partition), None, committed.unwrap_or(0)),
        };
        let from = chain.as_ref().and_then(Chain::offset).unwrap_or(0) as usize;
        self.note(match from {
            0 => "put back from the log",
            _ => "put back from a snapshot",
        });
        let mut owner = Owner {
            lane,
            next: from,
            generation,
            replay_until,
            chain,
            alerts: Vec::new(),
            inventory: Vec::new(),
            is_zombie: false,
        };
        owner.lane.mute(from < replay_until);
        self.owners.insert((stage, partition), owner);
    }

    /// Decodes some records of a source, and writes them.
    fn decode(&mut self, partition: usize, n: usize) {
        let fresh = self.decoder(partition);
        let (mut decode, next) = std::mem::replace(&mut self.decoders[partition], fresh);
        let source = &self.world.sources[partition];
        let end = (next + n).min(source.len());
        let records = records(source, next..end);
        let mut out = Outbox::default();
        decode.push(&records, 0, &mut out).expect("decodes");
        decode.flush(&mut out).expect("decodes");
        if self.dice.one_in(4) {
            decode
                .heartbeat(self.dice.one_in(3), &mut out)
                .expect("tells");
        }
        let written = self
            .dice
            .one_in(10)
            .then(|| self.dice.roll(out.records.len() + 1));
        if let Some(n) = written {
            // Ended in the middle of its writes: some of them are there, and are written again.
            out.records.truncate(n);
        }
        self.durable.append(Log::Events, out.records);
        if written.is_some() {
            self.note("decode ended in its writes");
            self.decoders[partition] = self.decoder(partition);
            return;
        }
        if self.dice.one_in(2) {
            self.durable.committed.insert(("source", partition), end);
        }
        self.decoders[partition] = (decode, end);
    }

    /// Lets a lane read some records and write what comes of them; says whether it was still at its owner's.
    fn run(&mut self, at: (usize, usize), owner: &mut Owner, n: usize) -> bool {
        let log = STAGES[at.0];
        let end = (owner.next + n).min(self.durable.len(log, at.1));
        let mut out = Outbox::default();
        while owner.next < end {
            if owner.next >= owner.replay_until {
                owner.lane.mute(false);
            }
            let record = self.durable.logs[&(log.name(), at.1)][owner.next].clone();
            let offset = owner.next as i64;
            owner
                .lane
                .feed(offset, &record, &mut out)
                .expect("rows of the log");
            owner.next += 1;
        }
        owner.lane.flush(&mut out);
        if let Some(next) = log.next().filter(|_| self.dice.one_in(4)) {
            owner.lane.heartbeat(next, PARTITIONS, &mut out);
        }
        owner.alerts.append(&mut out.alerts);
        owner.inventory.append(&mut out.inventory);
        let cut = self
            .dice
            .one_in(15)
            .then(|| self.dice.roll(out.records.len() + 1));
        if let Some(n) = cut {
            out.records.truncate(n);
            let n = self.dice.roll(out.summaries.len() + 1);
            out.summaries.truncate(n);
            let n = self.dice.roll(out.raised.len() + 1);
            out.raised.truncate(n);
        }
        if let Some(next) = log.next() {
            self.durable.append(next, out.records);
        }
        self.durable.append(Log::Endpoints, out.summaries);
        self.durable.append(Log::Judgements, out.raised);
        cut.is_none()
    }

    /// Alerts and offset in one transaction, as the group's coordinator has it.
    fn commit(&mut self, at: (usize, usize), owner: &mut Owner) {
        let log = STAGES[at.0];
        let key = (log.name(), at.1);
        if self.durable.generations[&key] != owner.generation {
            assert!(owner.is_zombie, "a lane was given to two");
            self.note("a zombie's transaction refused");
            return;
        }
        let committed = self.durable.committed.entry(key).or_insert(0);
        if *committed < owner.next && owner.replay_until <= owner.next {
            *committed = owner.next;
            let alerts = owner.alerts.drain(..);
            self.durable
                .alerts
                .extend(alerts.map(|alert| (alert.key, alert.json)));
            let records = owner.inventory.drain(..);
            self.durable
                .inventory
                .extend(records.map(|record| (record.key, record.json)));
        }
    }

    fn snapshot(&mut self, at: (usize, usize), owner: &mut Owner) {
        let Some(chain) = owner.chain.take() else {
            return;
        };
        if owner.next < owner.replay_until || chain.offset() == Some(owner.next as i64) {
            owner.chain = Some(chain);
            return;
        }
        let since = chain.since();
        let (image, epoch) = owner.lane.save(since).expect("encodes");
        let save = Save {
            chain,
            image,
            is_full: since.is_none(),
            epoch,
            offset: owner.next as i64,
            committed: self
                .durable
                .committed
                .get(&(STAGES[at.0].name(), at.1))
                .map_or(0, |c| *c as i64),
            now_ms: 0,
        };
        let saved = write(&self.world.store, save, 2);
        match saved.done {
            Ok(_) => self.note("snapshot"),
            Err(StateError::Fenced { .. }) => {
                self.note("a snapshot fenced");
                return;
            }
            Err(_) => self.note("snapshot failed"),
        }
        owner.chain = Some(saved.chain);
    }

    /// Copies what is new of all lanes, and now and then somebody damages a copy.
    fn follow(&mut self) {
        let groups: Vec<String> = (0..STAGES.len())
            .map(|stage| format!("s.{stage}"))
            .collect();
        let standby = self.world.store.standby().expect("a standby");
        match standby.follow(&self.world.store, &groups) {
            Ok(followed) if 0 < followed.n_behind => self.note("copies without room"),
            Ok(_) => (),
            Err(_) => self.note("copies without a store"),
        }
        let copies = files_below(self.world.copies.path());
        if copies.is_empty() || !self.dice.one_in(3) {
            return;
        }
        let path = &copies[self.dice.roll(copies.len())];
        let mut copy = std::fs::read(path).expect("a copy");
        let at = self.dice.roll(copy.len());
        match self.dice.roll(3) {
            0 => copy.truncate(at),
            1 => copy[at] ^= 1 << self.dice.roll(8),
            // Sound, and not what its name says.
            _ => {
                let other = &copies[self.dice.roll(copies.len())];
                copy = std::fs::read(other).expect("a copy");
            }
        }
        std::fs::write(path, copy).expect("writes");
    }

    fn step(&mut self) {
        if self.dice.one_in(8) {
            self.follow();
        }
        match self.dice.roll(10) {
            0 | 1 => {
                let (partition, n) = (self.dice.roll(PARTITIONS), 1 + self.dice.roll(40));
                self.decode(partition, n);
            }
            2 if !self.zombies.is_empty() => {
                // One who was replaced still does what it was about to do.
                let which = self.dice.roll(self.zombies.len());
                let (at, mut owner) = self.zombies.swap_remove(which);
                let n = self.dice.roll(10);
                // What was not written is not committed; and nothing keeps it from saving its state.
                if self.run(at, &mut owner, n) {
                    self.commit(at, &mut owner);
                }
                self.snapshot(at, &mut owner);
            }
            _ => {
                let at = (self.dice.roll(STAGES.len()), self.dice.roll(PARTITIONS));
                if !self.owners.contains_key(&at) {
                    self.assign(at.0, at.1);
                }
                let Some(mut owner) = self.owners.remove(&at) else {
                    return;
                };
                let n = 1 + self.dice.roll(12);
                if !self.run(at, &mut owner, n) {
                    return self.note("a lane ended in its writes");
                }
                if self.dice.one_in(3) {
                    self.commit(at, &mut owner);
                }
                if self.dice.one_in(4) {
                    self.snapshot(at, &mut owner);
                }
                match self.dice.roll(25) {
                    0 => self.note("a lane ended"),
                    1 => {
                        owner.is_zombie = true;
                        self.zombies.push((at, owner));
                    }
                    _ => drop(self.owners.insert(at, owner)),
                }
            }
        }
    }

    /// Reads everything to its end, without faults.
    fn drain(&mut self) {
        self.world.flaky.rest();
        for partition in 0..PARTITIONS {
            self.decoders[partition] = self.decoder(partition);
            let source = &self.world.sources[partition];
            let (decode, next) = &mut self.decoders[partition];
            let records = records(source, *next..source.len());
            let mut out = Outbox::default();
            decode.push(&records, 0, &mut out).expect("decodes");
            decode.flush(&mut out).expect("decodes");
            self.durable.append(Log::Events, out.records);
        }
        for (stage, log) in STAGES.into_iter().enumerate() {
            for partition in 0..PARTITIONS {
                let at = (stage, partition);
                loop {
                    if !self.owners.contains_key(&at) {
                        self.assign(stage, partition);
                    }
                    let mut owner = self.owners.remove(&at).expect("assigned");
                    let done = self.run(at, &mut owner, usize::MAX / 2);
                    if done {
                        self.commit(at, &mut owner);
                        let end = self.durable.len(log, partition);
                        assert_eq!(
                            self.durable
                                .committed
                                .get(&(log.name(), partition))
                                .copied()
                                .unwrap_or(0),
                            end
                        );
                        break;
                    }
                }
            }
        }
    }

    /// Compares every stage with a fresh derivation from its input.
    fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for ((log, _), records) in &self.durable.logs {
            if *log != "events" {
                continue;
            }
            for record in records {
                for i in 0..record.batch.num_rows() {
                    seen.insert((
                        record.header.input_partition,
                        row_at(Log::Events, &record.batch, i),
                    ));
                }
            }
        }
        let n_source: usize = self.world.sources.iter().map(Vec::len).sum();
        if seen.len() != n_source {
            return Err(format!("{} of {n_source} records are events", seen.len()));
        }
        let (mut expected_alerts, mut expected_inventory) = (Vec::new(), Vec::new());
        for log in STAGES {
            let (mut expected, mut summaries, mut raised) = (Vec::new(), Vec::new(), Vec::new());
            for partition in 0..PARTITIONS {
                let mut lane = self.world.fresh(log, partition);
                let mut out = Outbox::default();
                let records = self.durable.logs.get(&(log.name(), partition));
                let records = records.map(|records| once(log, records));
                for (offset, record) in records.iter().flatten().enumerate() {
                    lane.feed(offset as i64, record, &mut out)
                        .expect("rows of the log");
                }
                lane.flush(&mut out);
                expected.extend(out.records);
                summaries.extend(out.summaries);
                raised.extend(out.raised);
                let records = out.inventory.into_iter();
                expected_inventory.extend(records.map(|record| (record.key, record.json)));
                expected_alerts.extend(out.alerts.into_iter().map(|alert| (alert.key, alert.json)));
            }
            let mut written: Vec<(Log, Vec<(usize, LogRecord)>)> = Vec::new();
            written.extend(log.next().map(|next| (next, expected)));
            if log == Log::Events {
                written.push((Log::Endpoints, summaries));
                written.push((Log::Judgements, raised));
            }
            for (next, expected) in written {
                let held = self.durable.logs.iter();
                let held = held.filter(|((name, _), _)| *name == next.name());
                let held =
                    held.flat_map(|((_, at), records)| records.iter().map(|r| (*at, r.clone())));
                // Two stages write the judgements: each is held to what it read.
                let of_stage = |r: &LogRecord| *r.header.input_topic == *log.name();
                let held = held.filter(|(_, record)| of_stage(record));
                let (expected, held) = (rows(next, expected), rows(next, held.collect()));
                if let Some(where_) = difference(next, &expected, &held) {
                    return Err(format!("log {}: {where_}", next.name()));
                }
            }
        }
        for (what, held, mut expected) in [
            ("alerts", &self.durable.alerts, expected_alerts),
            (
                "records of the inventory",
                &self.durable.inventory,
                expected_inventory,
            ),
        ] {
            let mut held = held.clone();
            held.sort();
            expected.sort();
            if held != expected {
                let (n_held, n) = (held.len(), expected.len());
                return Err(format!("{n_held} {what} are visible, {n} are right"));
            }
        }
        Ok(())
    }
}

/// The rows of a log by partition and input as a reader sees them: those at or below the highest position dropped.
fn rows(log: Log, records: Vec<(usize, LogRecord)>) -> BTreeMap<(usize, i32), RecordBatch> {
    let mut parts = BTreeMap::<(usize, i32), (RowAt, Vec<RecordBatch>)>::new();
    for (partition, record) in records {
        let key = (partition, record.header.input_partition);
        for i in 0..record.batch.num_rows() {
            let (highest, batches) = parts.entry(key).or_insert(((i64::MIN, 0), Vec::new()));
            let at = row_at(log, &record.batch, i).expect("a position");
            if *highest < at {
                *highest = at;
                batches.push(record.batch.slice(i, 1));
            }
        }
    }
    let whole = |(key, (_, batches)): (_, (RowAt, Vec<RecordBatch>))| {
        (
            key,
            concat_batches(&schema::of_log(log), &batches).expect("one schema"),
        )
    };
    parts.into_iter().map(whole).collect()
}

/// A partition of a log without the rows that a reader has seen before. A lane is not asked for it: as its own oracle
/// it would read twice what it must not.
fn once(log: Log, records: &[LogRecord]) -> Vec<LogRecord> {
    let mut highest = BTreeMap::<(Arc<str>, i32), RowAt>::new();
    let unseen = |record: &LogRecord| {
        let header = &record.header;
        let highest = highest.entry((header.input_topic.clone(), header.input_partition));
        let highest = highest.or_insert((i64::MIN, 0));
        let mut rows = Vec::new();
        for i in 0..record.batch.num_rows() {
            let at = row_at(log, &record.batch, i).expect("a position");
            if *highest < at {
                *highest = at;
                rows.push(record.batch.slice(i, 1));
            }
        }
        LogRecord {
            header: record.header.clone(),
            batch: concat_batches(&schema::of_log(log), &rows).expect("one schema"),
        }
    };
    records.iter().map(unseen).collect()
}

/// Where a log first differs from what it should hold.
fn difference(
    log: Log,
    expected: &BTreeMap<(usize, i32), RecordBatch>,
    held: &BTreeMap<(usize, i32), RecordBatch>,
) -> Option<String> {
    let empty = RecordBatch::new_empty(schema::of_log(log));
    let keys: BTreeSet<_> = expected.keys().chain(held.keys()).collect();
    for key in keys {
        let of = |rows: &BTreeMap<_, _>| rows.get(key).unwrap_or(&empty).clone();
        let (expected, held) = (of(expected), of(held));
        for i in 0..expected.num_rows().max(held.num_rows()) {
            let (wanted, found) = (row_at(log, &expected, i), row_at(log, &held, i));
            if wanted != found {
                return Some(format!(
                    "partition and input {key:?}, row {i}: at {found:?}, not {wanted:?}"
                ));
            }
            if expected.slice(i, 1) != held.slice(i, 1) {
                let names = expected.schema();
                let columns = names
                    .fields()
                    .iter()
                    .zip(expected.columns())
                    .zip(held.columns());
                let differ = columns.filter(|((_, a), b)| a.slice(i, 1) != b.slice(i, 1));
                let differ: Vec<_> = differ.map(|((field, _), _)| field.name().clone()).collect();
                return Some(format!(
                    "partition and input {key:?}, row {i} at {wanted:?}: other {differ:?}"
                ));
            }
        }
    }
    None
}

/// Runs one seed; what happened in it, or what went wrong.
fn simulate(seed: u64) -> Result<(BTreeMap<&'static str, usize>, usize), String> {
    let mut simulation = Simulation::new(seed);
    for _ in 0..250 {
        simulation.step();
    }
    simulation.drain();
    simulation.check()?;
    let mut n = simulation.n.clone();
    for (what, times) in simulation.world.flaky.faults() {
        *n.entry(what).or_default() += times;
    }
    let standby = simulation.world.store.standby().expect("a standby");
    let (n_read, n_refused) = standby.n_read();
    *n.entry("copy read").or_default() += n_read as usize;
    *n.entry("copy refused").or_default() += n_refused as usize;
    *n.entry("record of the inventory").or_default() += simulation.durable.inventory.len();
    Ok((n, simulation.durable.alerts.len()))
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number")),
    )
}

#[test]
fn whatever_breaks_nothing_is_lost_doubled_or_different() {
    let seeds: Vec<u64> = match number("TOLLWATCH_SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => {
            let n = number("TOLLWATCH_SIMULATION_SEEDS").unwrap_or(200);
            KEPT.into_iter().chain(0..n).collect()
        }
    };
    let failed = Mutex::new(Vec::new());
    let total = Mutex::new((BTreeMap::<&str, usize>::new(), 0));
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) =
                    seeds.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    match simulate(*seed) {
                        Ok((n, n_alerts)) => {
                            let mut total = total.lock().expect("no panic");
                            n.into_iter().for_each(|(what, times)| {
                                *total.0.entry(what).or_default() += times
                            });
                            total.1 += n_alerts;
                        }
                        Err(why) => failed.lock().expect("no panic").push((*seed, why)),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic");
    assert!(
        failed.is_empty(),
        "{} of {} seeds failed; the first: TOLLWATCH_SIMULATION_SEED={} fails: {}",
        failed.len(),
        seeds.len(),
        failed[0].0,
        failed[0].1
    );
    let (n, n_alerts) = total.into_inner().expect("no panic");
    eprintln!(
        "simulation: {} seeds, {n_alerts} alerts, {n:?}",
        seeds.len()
    );
    if seeds.len() >= 100 {
        // A fault that never happens proves nothing.
        for what in [
            "a lane ended",
            "a lane ended in its writes",
            "a snapshot fenced",
            "a zombie's transaction refused",
            "copies without room",
            "copy read",
            "copy refused",
            "decode ended in its writes",
            "put back from a snapshot",
            "put back from the log",
            "snapshot",
            "snapshot failed",
            "write refused",
            "write torn",
            "read refused",
            "record of the inventory",
        ] {
            assert!(
                n.get(what).is_some_and(|times| *times > 20),
                "{what}: {n:?}"
            );
        }
        assert!(n_alerts > 2 * seeds.len(), "{n_alerts} alerts");
    }
}
