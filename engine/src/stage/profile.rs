//! `profile`: per identity, what is new to it; the SQL rules over `events`.
//!
//! Comes in: events. Goes out: first touches of objects, keyed by object, and sightings of callers on their devices,
//! keyed by device; beside them what the calls of each endpoint come to, keyed by host, and its alerts, keyed by identity.
//! Model columns for rules: whether the object is new, how many the caller has seen, what the endpoint usually answers, and
//! the evidence of probing. Posture rules run here, per lane, over what this lane's identities do.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use models::agent::protocol::{self, Request};
use models::agent::watch::{AgentWatch, Call as AgentCall};
use models::arrival::Arrivals;
use models::generations::Generations;
use models::idea::Idea;
use models::identity::{IdentityKind, Quality};
use models::inventory::{Call as Summed, CallObject, fact};
use models::judge::{PAN_READER_OBJECTS, SITTING_GAP_MS};
use models::posture::{Answer, CallView, McpHeaders, Pace, Sample, Token};
use models::probe::{Input, InputRequest, ProbeClass};
use models::probing::{Call, ProbeDetector, class_names};
use models::seen::{Outcome, SeenFilter, Sighting};
use models::sizes::EndpointSizes;
use models::spread::Probe;
use models::volume::Length;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::decode::SDK_CLAIM;
use super::documented::Documented;
use super::judge::{SUSPECTS_MAX, SUSPICION, Samples};
use super::raising::Raising;
use super::summing::Summing;
use super::{Partitions, Recorder, Stage, StageError, StateSize, Watcher, compile};
use crate::alert::{Alert, Alerter};
use crate::briefing::Briefing;
use crate::config::ModelConfig;
use crate::lane::EventTime;
use crate::log::{Log, identity_hash, partition_of};
use crate::rule::{Evidence, Rule, RuleCounters, RuleFault, RuleRunner, RuleSet, evidence_at};
use crate::schema::{
    self, EventModel, EventModelBuilder, EventRow, EventView, ObjectRow, Objects, TouchRow,
    TouchRowsBuilder,
};
use crate::state::{LaneWalk, Loader, Saver};

/// Calls on one collection by one identity.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Usage {
    n_objects: u32,
    /// Known touches since the last one sent: reads, writes.
    n_known: [u32; 2],
    /// Sittings of objects new to it.
    sittings: Length,
    /// When the caller's device was last told of it, ms, 0 before; and of which longest sitting.
    sighted_ms: i64,
    sighted: u32,
}

impl Usage {
    /// True when the caller's device is to be told of it: at first, every hour, and of a sitting twice as long.
    fn sight(&mut self, at_ms: i64) -> bool {
        let longest = self.sittings.longest();
        let due = SIGHTING_MS <= at_ms.saturating_sub(self.sighted_ms)
            || self.sighted.saturating_mul(2) <= longest;
        if due {
            (self.sighted_ms, self.sighted) = (at_ms, longest);
        }
        due
    }
}

/// Event time between two sightings of a caller on its device.
const SIGHTING_MS: i64 = 3_600_000;

/// Address and agent of a caller that may come back under another name: its token is renewed, and nothing else
/// names it.
fn device_of<'a>(event: &EventRow<'a>) -> Option<(&'a str, &'a str)> {
    let device = event.client_ip.zip(event.user_agent);
    device.filter(|_| is_renewed(event))
}

fn is_renewed(event: &EventRow<'_>) -> bool {
    let mut renewed = [IdentityKind::Token, IdentityKind::Session].into_iter();
    renewed.any(|kind| kind.as_str() == event.identity_kind)
}

fn device_hash(ip: &str, agent: &str) -> u64 {
    xxh3_64(ip.as_bytes()) ^ xxh3_64(agent.as_bytes()).rotate_left(7)
}

/// Calls on one endpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Endpoint {
    n: u64,
    n_success: u64,
    n_authenticated: u64,
}

const HOME_BYTES: usize = Generations::<u64, u64>::ENTRY_BYTES;
const USAGE_BYTES: usize = Generations::<u64, Usage>::ENTRY_BYTES;
const ENDPOINT_BYTES: usize = Generations::<u64, Endpoint>::ENTRY_BYTES
    + EndpointSizes::ENDPOINT_BYTES
    + ProbeDetector::ENDPOINT_BYTES;

/// The SQL table of its rules.
const TABLE: &str = "events";

/// The stage.
pub struct Profile {
    arrivals: Arrivals,
    /// Devices of the first calls of those that nothing but a token names; themselves where the log did not tell.
    homes: Generations<u64, u64>,
    seen: SeenFilter,
    usage: Generations<u64, Usage>,
    endpoints: Generations<u64, Endpoint>,
    sizes: EndpointSizes,
    probes: ProbeDetector,
    judges_tools: bool,
    pace: Pace,
    /// Probes of callers under suspicion.
    samples: Generations<u64, Samples>,
    warm_up_ms: i64,
    started_ms: Option<i64>,
    rules: RuleRunner,
    alerter: Alerter,
    table: SchemaRef,
    watcher: Option<Watcher>,
    recorder: Option<Recorder>,
    learns_only: bool,
    summing: Summing,
    agents: AgentWatch,
    documented: Documented,
    raising: Raising,
    targets: Vec<TouchRowsBuilder>,
}

impl Profile {
    /// A lane that writes to `partitions` partitions of the touches log, the endpoints log and the judgements log.
    ///
    /// # Errors
    /// Every fault of the rules over `events`.
    pub fn new(
        config: &ModelConfig,
        rules: &Arc<RuleSet>,
        partitions: impl Into<Partitions>,
    ) -> Result<Self, Vec<RuleFault>> {
        let partitions = partitions.into();
        let endpoints_max = config.entries(8, ENDPOINT_BYTES, config.endpoints_max);
        let callers_max = config.entries(4, Arrivals::CALLER_BYTES, config.identities_max);
        Ok(Self {
            arrivals: Arrivals::new(callers_max),
            homes: Generations::new(config.entries(2, HOME_BYTES, config.identities_max)),
            seen: SeenFilter::new(config.entries(32, SeenFilter::PAIR_BYTES, config.pairs_max)),
            usage: Generations::new(config.entries(10, USAGE_BYTES, config.streams_max)),
            endpoints: Generations::new(endpoints_max),
            sizes: EndpointSizes::new(endpoints_max),
            probes: ProbeDetector::new(
                config.false_alerts_per_million_events,
                config.entries(16, ProbeDetector::IDENTITY_BYTES, config.identities_max),
                endpoints_max,
            ),
            judges_tools: config.ideas.has(Idea::Tools),
            pace: Pace::new(
                config.entries(1, Pace::MINUTE_BYTES, config.streams_max),
                config.entries(1, Pace::CREDENTIAL_BYTES, config.identities_max),
            ),
            samples: Generations::new(config.entries(5, Samples::BYTES, SUSPECTS_MAX)),
            warm_up_ms: config.warm_up_ms(),
            started_ms: None,
            rules: compile(config, rules, TABLE)?,
            alerter: Alerter::new(config),
            table: schema::events_table(),
            watcher: None,
            recorder: None,
            learns_only: false,
            summing: Summing::new(
                partitions.endpoints,
                config.entries(1, Summing::PROBER_BYTES, config.identities_max),
            ),
            agents: AgentWatch::new(
                config.register.clone(),
                config.entries(1, AgentWatch::AGENT_BYTES, config.identities_max),
                config.entries(2, AgentWatch::USER_BYTES, config.identities_max),
            ),
            documented: Documented::new(config.documents.clone()),
            raising: Raising::new(partitions.judgements),
            targets: (0..partitions.next.max(1))
                .map(|_| TouchRowsBuilder::default())
                .collect(),
        })
    }

    fn walk(&mut self, walk: &mut impl LaneWalk) {
        self.arrivals.walk(walk);
        walk.table("profile.homes", &mut self.homes);
        self.seen.walk(walk);
        walk.table("profile.usage", &mut self.usage);
        walk.table("profile.endpoints", &mut self.endpoints);
        self.sizes.walk(walk);
        self.probes.walk(walk);
        self.pace.walk(walk);
        walk.table("profile.samples", &mut self.samples);
        walk.value("profile.started_ms", &mut self.started_ms);
        self.summing.walk(walk);
        self.agents.walk(walk);
        self.alerter.walk(walk);
        self.rules.walk(walk);
    }

    /// The device of the caller's first call, where nothing but a token names it: the same for all its calls, as its
    /// touches must meet in one lane.
    fn home(&mut self, event: &EventRow<'_>, identity: u64, device: Option<u64>) -> Option<u64> {
        if !is_renewed(event) {
            return None;
        }
        let home = self.homes.entry(identity);
        if *home == 0 {
            *home = device.unwrap_or(identity);
        }
        (*home != identity).then_some(*home)
    }

    /// Notes what one event does to its objects; the first object's newness and count come back.
    fn touch<'a>(
        &mut self,
        event: &EventRow<'_>,
        identity: u64,
        at: &mut Position,
        objects: impl Iterator<Item = ObjectRow<'a>>,
    ) -> (Option<bool>, i64) {
        let outcome = Outcome::of(status(event));
        let mut first = (None, 0);
        let device = device_of(event).map(|(ip, agent)| device_hash(ip, agent));
        let home = self.home(event, identity, device);
        let newcomer = self.arrivals.is_newcomer(identity, event.event_time);
        for object in objects {
            let sighting = self
                .seen
                .sight(identity, object.object, event.write, outcome);
            let collection = xxh3_64(object.collection.as_bytes());
            let usage = self.usage.entry(identity ^ collection.rotate_left(23));
            let n_known = &mut usage.n_known[usize::from(event.write)];
            let reminder = match sighting {
                Sighting::New { first } => {
                    usage.n_objects = usage.n_objects.saturating_add(u32::from(first));
                    usage.sittings.touch(true, event.event_time, SITTING_GAP_MS);
                    false
                }
                Sighting::Known { reminder } => {
                    *n_known = n_known.saturating_add(1);
                    reminder
                }
                Sighting::Repeat => false,
            };
            let is_new = matches!(sighting, Sighting::New { .. });
            if first.0.is_none() {
                first = (Some(is_new), i64::from(usage.n_objects));
            }
            let sighted = device.filter(|_| usage.sight(event.event_time));
            let is_sent = is_new || reminder;
            if !is_sent && sighted.is_none() {
                continue;
            }
            let touch = TouchRow {
                in_offset: at.offset,
                in_row: 0,
                reminder,
                denied: outcome == Outcome::Denied,
                n_known: if is_new {
                    std::mem::take(&mut usage.n_known[usize::from(event.write)]) as i32
                } else {
                    0
                },
                sighting: false,
                longest_sitting: i64::from(usage.sittings.longest()),
                pan_reader: usage.n_objects > PAN_READER_OBJECTS,
                newcomer,
                identity_hash: identity,
                home,
                event_time: event.event_time,
                gateway: event.gateway,
                method: event.method,
                path: event.path,
                endpoint: event.endpoint,
                status: event.status,
                identity: event.identity,
                identity_kind: event.identity_kind,
                identity_quality: event.identity_quality,
                client_ip: event.client_ip,
                country: event.country,
                asn: event.asn,
                user_agent: event.user_agent,
                collection: object.collection,
                object: object.object,
                object_number: object.number,
                write: event.write,
                source_topic: event.source_topic,
                source_partition: event.source_partition,
                source_offset: event.source_offset,
                source_row: event.source_row,
            };
            let n_targets = self.targets.len();
            let mut send = |touch: TouchRow<'_>| {
                let in_row = at.next();
                self.targets[partition_of(touch.object, n_targets)]
                    .push(&TouchRow { in_row, ..touch });
            };
            if let Some(device) = sighted {
                send(TouchRow {
                    sighting: true,
                    object: device ^ collection.rotate_left(11),
                    ..touch
                });
            }
            if is_sent {
                send(touch);
            }
        }
        first
    }

    fn model(
        &mut self,
        event: &EventRow<'_>,
        identity: u64,
        (object_new, objects_seen): (Option<bool>, i64),
        sample: impl FnOnce() -> Evidence,
        rows: &mut EventModelBuilder,
        alarms: &mut HashMap<usize, Vec<Evidence>>,
    ) -> bool {
        let started_ms = *self.started_ms.get_or_insert(event.event_time);
        let endpoint = xxh3_64(event.endpoint.as_bytes());
        let tool = event.tool.map_or(0, |tool| xxh3_64(tool.as_bytes()));
        let template = event
            .endpoint
            .split_once(' ')
            .map_or(event.endpoint, |(_, rest)| rest);
        let template = xxh3_64(template.as_bytes());
        let mature = event.event_time - started_ms >= self.warm_up_ms;
        let quality = Quality::from_name(event.identity_quality);
        let probing = self.probes.observe(&Call {
            identity,
            template: template ^ tool,
            endpoint: endpoint ^ tool.rotate_left(1),
            tool: (event.rpc_method == Some("tools/call") && tool != 0).then_some((template, tool)),
            judges_tools: self.judges_tools && mature,
            is_mature: mature,
            path: xxh3_64(event.path.as_bytes()),
            class: event.probe_class.and_then(ProbeClass::from_name),
            input: Input::of(&InputRequest {
                endpoint: event.endpoint,
                path: event.path,
                query: event.query,
                origin: event.origin,
                forwarded_host: event.forwarded_host,
                content_type: event.request_content_type,
            }),
            status: status(event),
            weight: quality.weight(),
            votes: quality != Quality::D,
            at_ms: event.event_time,
        });
        if probing.class.is_some() && probing.evidence >= SUSPICION {
            let samples = self.samples.entry(identity);
            samples.keep(sample());
            if probing.alarm {
                alarms.insert(rows.len(), samples.end());
            }
        }
        if probing.is_fresh
            && quality != Quality::D
            && let Some(class) = probing.class
        {
            let path = event.tool.unwrap_or(event.path);
            let text = format!(
                "{} {} {}",
                event.method,
                event.path,
                event.status.unwrap_or(0)
            );
            let place = (
                event.source_topic,
                event.source_partition,
                event.source_offset,
                event.source_row,
            );
            self.summing.probe(
                event.endpoint,
                &Probe {
                    identity,
                    path: xxh3_64_with_seed(path.as_bytes(), class as u64),
                    sample: Sample::new(event.event_time, place, &text, event.identity),
                },
            );
        }
        let quantile = event
            .response_bytes
            .and_then(|bytes| self.sizes.record(endpoint, u64::try_from(bytes).ok()?));
        let usual = self.endpoints.entry(endpoint);
        usual.n += 1;
        let is_first = usual.n == 1;
        if matches!(event.status, Some(200..=399)) {
            usual.n_success += 1;
            usual.n_authenticated += u64::from(event.authenticated);
        }
        let names = probing.class.map(|_| class_names(probing.classes));
        rows.push(&EventModel {
            object_new,
            objects_seen,
            maturity: f64::from(u8::from(mature)),
            endpoint_events: usual.n as i64,
            endpoint_authenticated_share: usual.n_authenticated as f64
                / usual.n_success.max(1) as f64,
            response_bytes_quantile: quantile,
            probe_alarm: probing.alarm,
            probe_evidence: probing.evidence,
            probe_classes: names.as_deref(),
            probe_count: i64::from(probing.n_probes),
            probe_answered: i64::from(probing.n_answered),
            probe_breach: probing.breach,
            probe_first_time: match probing.first_ms {
                0 => event.event_time,
                first_ms => first_ms,
            },
        });
        is_first
    }
}

/// What a call shows, as bits of [`fact`].
fn facts(event: &EventRow<'_>) -> u64 {
    let shows = |shows: bool, fact: u64| if shows { fact } else { 0 };
    shows(event.probe_class.is_some(), fact::PROBE)
        | shows(event.url_secret.is_some(), fact::URL_SECRET)
        | shows(event.method_override.is_some(), fact::METHOD_OVERRIDE)
}

/// A call as the inventory wants to know it.
fn summed<'a>(event: &EventRow<'a>, identity: u64) -> Summed<'a> {
    let size = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    Summed {
        at_ms: event.event_time,
        identity,
        is_authenticated: event.authenticated,
        auth_scheme: event.auth_scheme,
        is_secure: match (event.scheme, event.tls_version) {
            (Some("https"), _) | (None, Some(_)) => Some(true),
            (Some("http"), _) => Some(false),
            _ => None,
        },
        status: status(event),
        request_bytes: size(event.request_bytes),
        response_bytes: size(event.response_bytes),
        latency_us: size(event.latency_us),
        template: event.endpoint.rsplit(' ').next().unwrap_or("/"),
        path: event.path,
        query: event.query,
        request_type: event.request_content_type,
        response_type: event.response_content_type,
        service: event.service,
        route: event.route,
        facts: facts(event),
        place: (
            event.source_topic,
            event.source_partition,
            event.source_offset,
            event.source_row,
        ),
    }
}

/// A call as the checks of posture see it; what no column has they are blind to.
fn viewed<'a>(event: &EventRow<'a>) -> CallView<'a> {
    CallView {
        method: event.method,
        path: event.path,
        scheme: event.scheme,
        host: event.host,
        query: event.query,
        status: status(event),
        response_bytes: event.response_bytes,
        client_ip: event.client_ip,
        peer_ip: event.peer_ip,
        auth_scheme: event.auth_scheme,
        authenticated: event.authenticated,
        identity_kind: Some(event.identity_kind),
        object_number: event.object_number,
        n_objects: event.n_objects,
        probe_class: event.probe_class,
        url_secret: event.url_secret,
        referer: event.referer,
        origin: event.origin,
        allow_origin: event.allow_origin,
        allow_credentials: event.allow_credentials,
        server: event.server,
        powered_by: event.powered_by,
        method_override: event.method_override,
        upstream_scheme: event.upstream_scheme,
        answer: event
            .answer
            .and_then(|bits| Some(Answer::from_bits(u32::try_from(bits).ok()?))),
        agent_class: event.agent_class,
        token: event
            .token
            .and_then(|bits| Some(Token::from_bits(u16::try_from(bits).ok()?))),
        tls_version: event.tls_version,
        request_content_type: event.request_content_type,
        response_content_type: event.response_content_type,
        rpc_method: event.rpc_method,
        tool: event.tool,
        mcp: event.agent_protocol.and_then(|named| {
            let (protocol, version) = named.split_once(' ')?;
            let version = Some(version);
            Some(match protocol {
                "mcp" => McpHeaders {
                    version,
                    ..McpHeaders::default()
                },
                _ => McpHeaders {
                    a2a_version: version,
                    ..McpHeaders::default()
                },
            })
        }),
        ..CallView::default()
    }
}

/// What the calls before say of a call.
struct Paced {
    calls_this_minute: u32,
    networks: Option<u32>,
    was_shared: bool,
}

impl Paced {
    fn of(pace: &mut Pace, event: &EventRow<'_>, identity: u64) -> Paced {
        let endpoint = xxh3_64(event.endpoint.as_bytes());
        // People move, and so do their tokens; keys and passwords of programs stay.
        let is_kept = event.identity_kind == IdentityKind::ApiKey.as_str()
            || event.auth_scheme == Some("basic");
        let spread = event
            .client_ip
            .filter(|_| is_kept)
            .and_then(|ip| pace.place(identity, ip, event.event_time));
        Paced {
            calls_this_minute: pace.call(identity, endpoint, event.event_time),
            networks: spread.map(|spread| spread.networks),
            was_shared: spread.is_some_and(|spread| spread.was_shared),
        }
    }

    fn view<'a>(&self, event: &EventRow<'a>) -> CallView<'a> {
        CallView {
            calls_this_minute: Some(self.calls_this_minute),
            caller_networks: self.networks,
            ..viewed(event)
        }
    }
}

/// A call as far as it says who acts.
fn acted<'a>(event: &EventRow<'a>, identity: u64) -> AgentCall<'a> {
    let sdk = event
        .agent_claim
        .filter(|claim| claim.starts_with(SDK_CLAIM));
    AgentCall {
        at_ms: event.event_time,
        identity: (event.identity, identity),
        actor: event.actor,
        authenticated: event.authenticated,
        status: status(event),
        method: event.method,
        path: event.path,
        endpoint: event.endpoint,
        user_agent: event.user_agent,
        signature_agent: event.agent_claim.filter(|_| sdk.is_none()),
        sdk,
        response_bytes: event.response_bytes,
        object: event.object,
        place: (
            event.source_topic,
            event.source_partition,
            event.source_offset,
            event.source_row,
        ),
    }
}

fn call_object(object: ObjectRow<'_>) -> CallObject<'_> {
    CallObject {
        collection: object.collection,
        hash: object.object,
        number: object.number,
    }
}

fn status(event: &EventRow<'_>) -> Option<u16> {
    event.status.and_then(|status| u16::try_from(status).ok())
}

/// Position of the rows made from one record.
struct Position {
    offset: i64,
    row: i32,
}

impl Position {
    fn next(&mut self) -> i32 {
        self.row += 1;
        self.row - 1
    }
}

impl Stage for Profile {
    fn input(&self) -> Log {
        Log::Events
    }

    fn process(
        &mut self,
        batch: &RecordBatch,
        offset: i64,
        time: EventTime,
        alerts: &mut Vec<Alert>,
    ) -> Result<(), StageError> {
        let (events, objects) = (EventView::new(batch)?, Objects::new(batch)?);
        let mut at = Position { offset, row: 0 };
        self.summing.begin(offset);
        let mut model = EventModelBuilder::default();
        let mut alarms = HashMap::new();
        for row in 0..batch.num_rows() {
            let event = events.row(row);
            let identity = identity_hash(event.identity);
            let first = self.touch(&event, identity, &mut at, objects.row(row));
            let sample = || evidence_at(batch, row);
            let is_first = self.model(&event, identity, first, sample, &mut model, &mut alarms);
            let objects = objects.row(row).map(call_object);
            let call = summed(&event, identity);
            let paced = Paced::of(&mut self.pace, &event, identity);
            let view = CallView {
                deprecated: self.documented.deprecates(event.endpoint),
                ..paced.view(&event)
            };
            let view = (&view, event.identity);
            let news = (is_first, paced.was_shared);
            self.summing.add(event.endpoint, &call, view, objects, news);
            let protocol = protocol::recognise(&Request::of(view.0));
            self.agents.note(
                &acted(&event, identity),
                protocol.as_ref(),
                self.summing.agents(),
            );
        }
        let mut columns = batch.columns()[..batch.num_columns() - 1].to_vec();
        columns.extend(model.finish());
        let table = RecordBatch::try_new(self.table.clone(), columns)?;
        if let Some(watcher) = &self.watcher {
            watcher(TABLE, &table);
        }
        if let Some(recorder) = &self.recorder {
            recorder(offset, time, &table)?;
        }
        if self.learns_only {
            return Ok(());
        }
        let (mut findings, n_before) = (Vec::new(), alerts.len());
        self.rules.push_at(&table, time, &mut findings);
        self.alerter.raise(
            &findings,
            &table,
            |row| alarms.get(&row).cloned().unwrap_or_default(),
            alerts,
        );
        self.raising.add(offset, &alerts[n_before..], &self.homes);
        Ok(())
    }

    fn n_pending(&self) -> usize {
        let n_touches: usize = self.targets.iter().map(TouchRowsBuilder::len).sum();
        n_touches + self.summing.n_pending() + self.raising.n_pending()
    }

    fn flush(&mut self) -> Vec<(usize, RecordBatch)> {
        super::finish(&mut self.targets, TouchRowsBuilder::len, |target| {
            RecordBatch::try_new(schema::touches(), target.finish())
        })
    }

    fn is_briefed(&self) -> bool {
        true
    }

    fn brief(&mut self, briefing: &Briefing) {
        self.agents.follow(briefing.register.clone());
        self.documented = Documented::new(briefing.documents.clone());
    }

    fn flush_summaries(&mut self) -> Vec<(usize, RecordBatch)> {
        self.summing.flush()
    }

    fn summary_partitions(&self) -> usize {
        self.summing.partitions()
    }

    fn flush_raised(&mut self) -> Vec<(usize, RecordBatch)> {
        self.raising.flush()
    }

    fn raised_partitions(&self) -> usize {
        self.raising.partitions()
    }

    fn forget_news(&mut self) {
        self.summing.forget();
    }

    fn close(&mut self, alerts: &mut Vec<Alert>) {
        self.summing.close();
        let (mut findings, n_before) = (Vec::new(), alerts.len());
        self.rules.close(&mut findings);
        self.alerter.raise(
            &findings,
            &RecordBatch::new_empty(self.table.clone()),
            |_| Vec::new(),
            alerts,
        );
        // Behind every row of the log.
        self.raising.add(i64::MAX, &alerts[n_before..], &self.homes);
    }

    fn state(&self) -> StateSize {
        StateSize {
            n_entries: self.arrivals.len()
                + self.homes.len()
                + self.seen.len()
                + self.usage.len()
                + self.endpoints.len()
                + self.sizes.len()
                + self.probes.len()
                + self.pace.n_entries()
                + self.agents.n_entries(),
            bytes: self.arrivals.state_bytes()
                + self.homes.table_bytes()
                + self.seen.state_bytes()
                + self.usage.table_bytes()
                + self.endpoints.table_bytes()
                + self.sizes.state_bytes()
                + self.probes.state_bytes()
                + self.pace.state_bytes()
                + self.agents.state_bytes(),
            n_evicted: self.arrivals.n_evicted()
                + self.homes.n_evicted()
                + self.seen.n_evicted()
                + self.usage.n_evicted()
                + self.endpoints.n_evicted()
                + self.agents.n_evicted(),
        }
    }

    fn save(&mut self, to: &mut Saver) {
        self.walk(to);
    }

    fn load(&mut self, from: &mut Loader) {
        self.walk(from);
    }

    fn watch(&mut self, watcher: Option<Watcher>) {
        self.watcher = watcher;
    }

    fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    fn learn_only(&mut self, only: bool) {
        self.learns_only = only;
    }

    fn tables(&self) -> &'static [&'static str] {
        &[TABLE]
    }

    fn put_rules(&mut self, _table: &str, rules: RuleRunner) -> Vec<Arc<Rule>> {
        let old = std::mem::replace(&mut self.rules, rules);
        self.rules.adopt(old)
    }

    fn runners(&mut self) -> Vec<&mut RuleRunner> {
        vec![&mut self.rules]
    }

    fn rules(&self) -> Vec<RuleCounters> {
        self.alerter.counted(self.rules.counters())
    }
}
