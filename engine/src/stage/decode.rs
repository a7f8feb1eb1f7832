//! `decode`: gateway records to events, keyed by identity.
//!
//! Comes in: the records of one source partition. Goes out: rows of the events log and the rejects.
//! Stateless but for the highest event time seen, so it can start anywhere. Tokens, keys and
//! passwords end here: only keyed hashes and redacted paths go on, and of these what the options of privacy let through.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringViewArray,
};
use arrow::array::{TimestampMillisecondArray, UInt16Array};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMillisecondType, UInt16Type};
use connectors::format::SourceRecord;
use connectors::reject::Reject;
use models::endpoint::{Variable, endpoint_by};
use models::identity::{Credentials, Resolver, address};
use models::object::{Object, Request, Rpc, is_write, objects};
use models::posture::{Answer, AnswerHeaders, TokenReader};
use models::probe::{ProbeRequest, classify};
use models::secret::{redact_path, redact_query, redact_url};
use models::template::TemplateSet;
use models::user_agent::Recent;

use super::StageError;
use super::privacy::{Kept, Privacy};
use crate::enrich::{Enrichment, Place};
use crate::lane::{Outbox, ROWS_PER_RECORD};
use crate::log::{Header, LogRecord, identity_hash, partition_of};
use crate::mapping::{Reader, SourceFormat};
use crate::schema::{self, EventRow, EventRowsBuilder, ObjectRow, ObjectsBuilder};

/// How far ahead of the broker's time an event may be, in milliseconds; later ones are clamped to
/// it and counted. Ten minutes: clocks drift, but a poisoned time must not move a watermark.
pub const FUTURE_MS_MAX: i64 = 600_000;

/// What [`EventRow::agent_claim`] begins with where a model vendor's library says so.
pub const SDK_CLAIM: &str = "sdk ";

/// What `decode` shares between its source partitions.
#[derive(Clone)]
pub struct DecodeConfig {
    /// Format of the source.
    pub format: SourceFormat,
    /// Resolves and hashes identities.
    pub resolver: Arc<Resolver>,
    /// Templates that no single call tells.
    pub templates: Arc<TemplateSet>,
    /// What is known of addresses.
    pub enrichment: Arc<Enrichment>,
    /// What of a call is not kept.
    pub privacy: Arc<Privacy>,
    /// Partitions of the events log.
    pub partitions: usize,
}

/// Counts of one push.
#[derive(Debug, Default)]
pub struct Pushed {
    /// Events decoded.
    pub n_events: usize,
    /// Events whose time was clamped.
    pub n_clamped: usize,
    /// Records, or calls of one, that can't be decoded.
    pub rejects: Vec<Reject>,
}

#[derive(Default)]
struct Target {
    rows: EventRowsBuilder,
    objects: ObjectsBuilder,
}

/// Decodes one source partition.
pub struct Decode {
    topic: Arc<str>,
    partition: i32,
    reader: Reader,
    config: DecodeConfig,
    schema: SchemaRef,
    targets: Vec<Target>,
    watermark_ms: i64,
    read_at_ms: i64,
    tokens: TokenReader,
    agents: Recent,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    identity: String,
    endpoint: String,
    path: String,
    query: String,
    referer: String,
    variables: Vec<Variable>,
    objects: Vec<Object>,
    kept: Kept,
}

impl Decode {
    /// A decoder of one partition of `topic` (a file's name and 0 for a file).
    pub fn new(topic: Arc<str>, partition: i32, config: DecodeConfig) -> Self {
        Self {
            reader: Reader::new(&config.format),
            targets: (0..config.partitions.max(1))
                .map(|_| Target::default())
                .collect(),
            schema: schema::events(),
            topic,
            partition,
            config,
            watermark_ms: i64::MIN,
            read_at_ms: 0,
            tokens: TokenReader::default(),
            agents: Recent::default(),
            scratch: Scratch::default(),
        }
    }

    /// Decodes records, in order; `read_at_ms` is the wall time of reading them.
    pub fn push(
        &mut self,
        records: &[SourceRecord<'_>],
        read_at_ms: i64,
        out: &mut Outbox,
    ) -> Result<Pushed, StageError> {
        let decoded = self.reader.decode(records);
        if self.read_at_ms == 0 {
            self.read_at_ms = read_at_ms;
        }
        let columns = Columns::new(&decoded.batch)?;
        let mut n_clamped = 0;
        let mut record = records.iter().peekable();
        for (row, at) in decoded.positions.iter().enumerate() {
            while record
                .peek()
                .is_some_and(|record| record.offset < at.offset)
            {
                record.next();
            }
            // A shipper may stamp its records with 0, or with seconds: that says nothing.
            let latest = record
                .peek()
                .and_then(|record| record.broker_time_ms)
                .filter(|broker_ms| connectors::time::is_plausible(*broker_ms))
                .map(|broker_ms| broker_ms + FUTURE_MS_MAX);
            let time_ms = columns.event_time.value(row);
            let clamped = latest.map_or(time_ms, |latest| time_ms.min(latest));
            n_clamped += usize::from(clamped != time_ms);
            self.event(&columns, row, clamped, (at.offset, at.row));
        }
        if self.n_pending() >= ROWS_PER_RECORD * self.targets.len() {
            self.flush(out)?;
        }
        Ok(Pushed {
            n_events: decoded.positions.len(),
            n_clamped,
            rejects: decoded.rejects,
        })
    }

    fn event(&mut self, columns: &Columns<'_>, row: usize, event_time: i64, at: (i64, i32)) {
        let scratch = &mut self.scratch;
        let text = |column: &'static str| columns.text(column, row);
        let method = text("method").unwrap_or("-");
        let raw_path = text("path").unwrap_or("/");
        let query = text("query");
        let host = text("host");
        let status = columns.status(row);
        let found = match self.config.enrichment.is_empty() {
            true => None,
            false => text("client_ip").and_then(address),
        };
        let place = found.map_or_else(Place::default, |ip| self.config.enrichment.place(ip));
        let privacy = &self.config.privacy;
        let client_ip = text("client_ip").and_then(|ip| privacy.address(ip));
        let peer_ip = text("peer_ip").and_then(|ip| privacy.address(ip));
        let credentials = Credentials {
            client_ip: client_ip.as_deref(),
            ..columns.credentials(row)
        };
        scratch.identity.clear();
        let identity = self
            .config
            .resolver
            .resolve(&credentials, &mut scratch.identity);
        scratch.endpoint.clear();
        scratch.variables.clear();
        endpoint_by(
            &self.config.templates,
            method,
            host,
            raw_path,
            &mut scratch.endpoint,
            &mut scratch.variables,
        );
        scratch.objects.clear();
        let request = Request {
            method,
            path: raw_path,
            path_variables: &scratch.variables,
            query,
            body: text("request_body"),
        };
        let mut rpc = objects(&request, &mut scratch.objects);
        if rpc.rpc_method.is_none()
            && let Some(method) = text("mcp_method")
        {
            rpc = Rpc::of_headers(method, text("mcp_name"));
        }
        let protocol = protocol_of(text("mcp_version"), text("a2a_version"));
        let claim = claim_of(text("signature_agent"), text("sdk_language"));
        scratch.path.clear();
        let secret_in_path = redact_path(raw_path, &mut scratch.path);
        scratch.query.clear();
        let url_secret = query.and_then(|query| redact_query(query, &mut scratch.query));
        scratch.referer.clear();
        let referer = text("referer").map(|referer| redact_url(referer, &mut scratch.referer));
        let agent = text("user_agent").map(|agent| self.agents.read(agent));
        let probe = classify(&ProbeRequest {
            method,
            path: raw_path,
            query,
            body: text("request_body"),
            host,
            origin: text("origin"),
            is_scanner: agent.is_some_and(|agent| agent.is_scanner),
            method_override: text("method_override"),
            forwarded_host: text("forwarded_host"),
            rewritten_url: text("rewritten_url"),
            status,
        });
        let token = credentials
            .authorization
            .and_then(|header| self.tokens.read(header, event_time));
        let answer = Answer::read(&AnswerHeaders {
            hsts: text("hsts"),
            content_type_options: text("content_type_options"),
            frame_options: text("frame_options"),
            content_security_policy: text("content_security_policy"),
            cache_control: text("cache_control"),
            vary: text("vary"),
            set_cookie: text("set_cookie"),
            location: text("location"),
            debug_header: text("debug_header"),
            via: text("via"),
            host,
            query,
        });
        let first = scratch.objects.first();
        let mut event = EventRow {
            event_time,
            gateway: text("gateway").unwrap_or("-"),
            method,
            scheme: text("scheme"),
            host,
            path: &scratch.path,
            query: query.map(|_| scratch.query.as_str()),
            status: status.map(i32::from),
            request_bytes: columns.number("request_bytes", row),
            response_bytes: columns.number("response_bytes", row),
            latency_us: columns.number("latency_us", row),
            client_ip: client_ip.as_deref(),
            peer_ip: peer_ip.as_deref(),
            country: place.country,
            asn: place.asn.map(i64::from),
            as_org: place.as_org,
            user_agent: text("user_agent"),
            agent_class: agent.map(|agent| agent.class.as_str()),
            auth_scheme: identity.auth_scheme,
            authenticated: identity.authenticated,
            identity: &scratch.identity,
            identity_kind: identity.kind.as_str(),
            identity_quality: identity.quality.as_str(),
            actor: identity.actor.as_deref(),
            tenant: identity.tenant.as_deref(),
            endpoint: &scratch.endpoint,
            route: text("route"),
            service: text("service"),
            upstream_scheme: text("upstream_scheme"),
            collection: first.map(|object| object.collection.as_str()),
            object: first.map(|object| object.key),
            object_number: first.and_then(|object| object.number),
            n_objects: scratch.objects.len() as i32,
            write: is_write(method, &rpc),
            probe_class: probe.map(|class| class.as_str()),
            url_secret: url_secret.or(secret_in_path.then_some("path")),
            referer: referer.map(|_| scratch.referer.as_str()),
            origin: text("origin"),
            allow_origin: text("allow_origin"),
            allow_credentials: text("allow_credentials"),
            server: text("server"),
            powered_by: text("powered_by"),
            answer: answer.map(|answer| i64::from(answer.bits())),
            method_override: text("method_override"),
            forwarded_host: text("forwarded_host"),
            token: token.map(|token| i64::from(token.bits())),
            tls_version: text("tls_version"),
            request_content_type: text("request_content_type"),
            response_content_type: text("response_content_type"),
            request_id: text("request_id"),
            trace_id: text("trace_id"),
            rpc_method: rpc.rpc_method.as_deref(),
            tool: rpc.tool.as_deref(),
            agent_protocol: protocol.as_deref(),
            agent_claim: claim.as_deref(),
            source_topic: &self.topic,
            source_partition: self.partition,
            source_offset: at.0,
            source_row: at.1,
        };
        let key = self.config.resolver.pseudonyms();
        privacy.apply(key, &mut event, &mut scratch.kept);
        let at = partition_of(identity_hash(&scratch.identity), self.targets.len());
        let target = &mut self.targets[at];
        target.rows.push(&event);
        target
            .objects
            .push(scratch.objects.iter().map(|object| ObjectRow {
                collection: &object.collection,
                object: object.key,
                number: object.number,
            }));
        self.watermark_ms = self.watermark_ms.max(event_time);
    }

    /// Rows gathered for the events log.
    pub fn n_pending(&self) -> usize {
        self.targets.iter().map(|target| target.rows.len()).sum()
    }

    /// Writes the rows gathered.
    pub fn flush(&mut self, out: &mut Outbox) -> Result<(), StageError> {
        let header = self.header(false);
        for (at, target) in self.targets.iter_mut().enumerate() {
            if target.rows.is_empty() {
                continue;
            }
            let mut columns = target.rows.finish();
            columns.push(target.objects.finish());
            let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
            out.records.push((
                at,
                LogRecord {
                    header: header.clone(),
                    batch,
                },
            ));
        }
        self.read_at_ms = 0;
        Ok(())
    }

    /// A record without rows for every partition: how far event time is here, and whether this
    /// source is idle. What was gathered goes first: event time must not overtake its rows.
    pub fn heartbeat(&mut self, idle: bool, out: &mut Outbox) -> Result<(), StageError> {
        self.flush(out)?;
        let batch = RecordBatch::new_empty(self.schema.clone());
        let record = LogRecord {
            header: self.header(idle),
            batch,
        };
        out.records
            .extend((0..self.targets.len()).map(|at| (at, record.clone())));
        Ok(())
    }

    fn header(&self, idle: bool) -> Header {
        Header {
            input_topic: self.topic.clone(),
            input_partition: self.partition,
            watermark_ms: self.watermark_ms,
            idle,
            read_at_ms: self.read_at_ms,
        }
    }

    /// Event time of the latest call, ms; `i64::MIN` before the first.
    pub fn watermark_ms(&self) -> i64 {
        self.watermark_ms
    }

    /// The format found, when it is detected.
    pub fn detected(&self) -> Option<SourceFormat> {
        self.reader.detected()
    }
}

/// Bytes kept of a header that names a version or an agent; the rest is cut at a character.
const NAMED_BYTES_MAX: usize = 128;

/// The agents' protocol that headers name, with its version.
fn protocol_of(mcp: Option<&str>, a2a: Option<&str>) -> Option<String> {
    let named = |protocol: &str, version: &str| format!("{protocol} {}", cut(version));
    mcp.map(|version| named("mcp", version))
        .or_else(|| a2a.map(|version| named("a2a", version)))
}

/// The agent that a caller says it is in a header of its own.
fn claim_of(signature_agent: Option<&str>, sdk_language: Option<&str>) -> Option<String> {
    signature_agent
        .map(|agent| cut(agent).to_owned())
        .or_else(|| sdk_language.map(|language| format!("{SDK_CLAIM}{}", cut(language))))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(text.len().min(NAMED_BYTES_MAX))]
}

/// What one row of a decoded batch says about its caller.
///
/// # Errors
/// The batch is none of a decoder's.
pub fn credentials(batch: &RecordBatch, row: usize) -> Result<Credentials<'_>, StageError> {
    Ok(Columns::new(batch)?.credentials(row))
}

impl<'a> Columns<'a> {
    fn status(&self, row: usize) -> Option<u16> {
        self.status.is_valid(row).then(|| self.status.value(row))
    }

    #[inline(always)]
    fn credentials(&self, row: usize) -> Credentials<'a> {
        let text = |column: &'static str| self.text(column, row);
        Credentials {
            authorization: text("authorization"),
            api_key: text("api_key"),
            token_hash: text("token_hash"),
            jwt_sub: text("jwt_sub"),
            jwt_claims: text("jwt_claims"),
            consumer: text("consumer"),
            principal: text("principal"),
            client_cert: text("client_cert"),
            session: text("session"),
            client_ip: text("client_ip"),
            user_agent: text("user_agent"),
            authenticated_hint: self.authenticated_hint.value(row),
            status: self.status(row),
        }
    }
}

macro_rules! columns {
    (text: $($text:ident),*; number: $($number:ident),*) => {
        /// The columns of a decoded batch, found once.
        #[allow(non_snake_case)]
        struct Columns<'a> {
            event_time: &'a TimestampMillisecondArray,
            status: &'a UInt16Array,
            authenticated_hint: &'a BooleanArray,
            $($text: &'a StringViewArray,)*
            $($number: &'a Int64Array,)*
        }

        impl<'a> Columns<'a> {
            fn new(batch: &'a RecordBatch) -> Result<Self, schema::WrongSchema> {
                fn find<'a, T>(
                    batch: &'a RecordBatch,
                    column: &'static str,
                    cast: impl Fn(&'a ArrayRef) -> Option<&'a T>,
                ) -> Result<&'a T, schema::WrongSchema> {
                    batch
                        .column_by_name(column)
                        .and_then(cast)
                        .ok_or(schema::WrongSchema { table: "decoded", column })
                }
                Ok(Self {
                    event_time: find(batch, "event_time", |c| c.as_primitive_opt::<TimestampMillisecondType>())?,
                    status: find(batch, "status", |c| c.as_primitive_opt::<UInt16Type>())?,
                    authenticated_hint: find(batch, "authenticated_hint", |c| c.as_boolean_opt())?,
                    $($text: find(batch, stringify!($text), |c| c.as_string_view_opt())?,)*
                    $($number: find(batch, stringify!($number), |c| c.as_primitive_opt::<Int64Type>())?,)*
                })
            }

            #[inline(always)]
            fn text(&self, column: &'static str, row: usize) -> Option<&'a str> {
                let array = match column {
                    $(stringify!($text) => self.$text,)*
                    _ => return None,
                };
                array.is_valid(row).then(|| array.value(row))
            }

            #[inline(always)]
            fn number(&self, column: &'static str, row: usize) -> Option<i64> {
                let array = match column {
                    $(stringify!($number) => self.$number,)*
                    _ => return None,
                };
                array.is_valid(row).then(|| array.value(row))
            }
        }
    };
}

columns! {
    text: gateway, method, scheme, host, path, query, client_ip, peer_ip, user_agent,
        authorization, api_key, token_hash, jwt_sub, jwt_claims, consumer, principal, client_cert,
        session, route, service, upstream_scheme, tls_version, request_content_type, response_content_type,
        request_id, trace_id, referer, origin, method_override, forwarded_host, rewritten_url, via, allow_origin,
        allow_credentials, server, powered_by, hsts, content_type_options, frame_options, content_security_policy,
        cache_control, vary, set_cookie, location, debug_header, mcp_method, mcp_name, mcp_version, a2a_version,
        signature_agent, sdk_language, request_body;
    number: request_bytes, response_bytes, latency_us
}
