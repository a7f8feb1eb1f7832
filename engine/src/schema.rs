//! The tables of the pipeline: what each log's rows hold, and how rows are written and read.
//!
//! One declaration a table gives its Arrow schema, a builder of batches and a view of rows, so that
//! a stage reads and writes plain structs. Text is `Utf8`, times are `Timestamp(ms, "UTC")`.
//!
//! The header of every log record names [`VERSION`]; a stage refuses rows of another version.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub mod column;
pub mod objects;

use column::Kind;
pub use objects::{ObjectRow, Objects, ObjectsBuilder};

/// Version of the rows in the logs.
pub const VERSION: u32 = 6;

/// A batch whose columns are not those of the table.
#[derive(Debug, thiserror::Error)]
#[error("column {column} of table {table} is missing or has the wrong type")]
pub struct WrongSchema {
    /// The table expected.
    pub table: &'static str,
    /// Its first column that does not fit.
    pub column: &'static str,
}

macro_rules! table {
    (
        $(#[$doc:meta])* $name:literal: $row:ident, $builder:ident, $view:ident {
            $( $(#[$field_doc:meta])* $field:ident: $kind:ident, )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $row<'a> { $( $(#[$field_doc])* pub $field: <column::$kind as Kind>::Value<'a>, )* }

        /// Builds batches of these rows.
        #[derive(Debug, Default)]
        pub struct $builder { $( $field: <column::$kind as Kind>::Builder, )* n_rows: usize }

        impl $builder {
            /// Appends one row.
            pub fn push(&mut self, row: &$row<'_>) {
                $( column::$kind::append(&mut self.$field, row.$field); )*
                self.n_rows += 1;
            }

            /// Rows appended since the last `finish`.
            pub fn len(&self) -> usize { self.n_rows }

            /// True when no row was appended.
            pub fn is_empty(&self) -> bool { self.n_rows == 0 }

            /// The columns of the rows appended, in the schema's order; the builder is empty after.
            pub fn finish(&mut self) -> Vec<ArrayRef> {
                self.n_rows = 0;
                vec![ $( column::$kind::finish(&mut self.$field), )* ]
            }

            /// Fields of the table.
            pub fn fields() -> Vec<Field> {
                vec![ $( Field::new(stringify!($field), column::$kind::data_type(), column::$kind::NULLABLE), )* ]
            }
        }

        /// Reads rows of a batch.
        #[derive(Debug)]
        pub struct $view<'a> { $( $field: &'a <column::$kind as Kind>::Column, )* }

        impl<'a> $view<'a> {
            /// A view of `batch`.
            ///
            /// # Errors
            /// A column is missing or has another type.
            pub fn new(batch: &'a RecordBatch) -> Result<Self, WrongSchema> {
                $( let $field = batch
                    .column_by_name(stringify!($field))
                    .and_then(|column| column.as_any().downcast_ref())
                    .ok_or(WrongSchema { table: $name, column: stringify!($field) })?; )*
                Ok(Self { $( $field, )* })
            }

            /// Row `i` of the batch.
            #[inline(always)]
            pub fn row(&self, i: usize) -> $row<'a> {
                $row { $( $field: column::$kind::value(self.$field, i), )* }
            }
        }
    };
}

table! {
    /// One API call, in the events log; the SQL table `events` is these columns and [`EventModel`]'s.
    "events": EventRow, EventRowsBuilder, EventView {
        /// Time of the call, clamped to the broker's time and a tolerance.
        event_time: Time,
        /// Name of the decoder.
        gateway: Name,
        /// Method as sent.
        method: Name,
        /// `http` or `https`.
        scheme: Text,
        /// Host as sent.
        host: Text,
        /// Raw path, secrets redacted.
        path: Name,
        /// Raw query, secrets redacted.
        query: Text,
        /// Status of the answer.
        status: Small,
        /// Size of the request, in the source's own measure.
        request_bytes: Integer,
        /// Size of the answer, in the source's own measure.
        response_bytes: Integer,
        /// Duration of the call.
        latency_us: Integer,
        /// Client's address as the gateway determined it.
        client_ip: Text,
        /// Address of the socket's peer.
        peer_ip: Text,
        /// Country of the client's address, two letters; from the files of `enrich`.
        country: Text,
        /// Number of the client's network (autonomous system); as above.
        asn: Integer,
        /// Who runs that network; as above.
        as_org: Text,
        /// User agent as sent.
        user_agent: Text,
        /// What kind of program that says it is: `browser`, `library`, …; a claim.
        agent_class: Text,
        /// `bearer`, `basic`, `api_key`, `mtls`, ….
        auth_scheme: Text,
        /// True when the gateway knew who called.
        authenticated: Flag,
        /// Who calls.
        identity: Name,
        /// What the identity was made from.
        identity_kind: Name,
        /// Grade of the identity, `A` to `D`.
        identity_quality: Name,
        /// The agent or client that acts for the identity.
        actor: Text,
        /// Tenant claimed by the credential.
        tenant: Text,
        /// `METHOD host /template`.
        endpoint: Name,
        /// Route the gateway names.
        route: Text,
        /// Service the gateway names.
        service: Text,
        /// `http` or `https` on the way to the service; none of a call that stayed at the gateway, or on its machine.
        upstream_scheme: Text,
        /// Collection of the call's first object.
        collection: Text,
        /// Hash of the call's first object.
        object: Key,
        /// Its number, when it has one.
        object_number: Integer,
        /// Objects the call names.
        n_objects: Ordinal,
        /// True for PUT, PATCH, DELETE, writing tools and mutations.
        write: Flag,
        /// Probe class visible in the request alone.
        probe_class: Text,
        /// Name of the parameter that carried a secret in the URL.
        url_secret: Text,
        /// Referer header, secrets redacted.
        referer: Text,
        /// Origin header.
        origin: Text,
        /// Access-Control-Allow-Origin of the answer.
        allow_origin: Text,
        /// Access-Control-Allow-Credentials of the answer.
        allow_credentials: Text,
        /// Server header of the answer.
        server: Text,
        /// X-Powered-By of the answer.
        powered_by: Text,
        /// What other headers of the answer say, as bits; none where the log has none of them.
        answer: Integer,
        /// Method override header of the request.
        method_override: Text,
        /// X-Forwarded-Host of the request, all values.
        forwarded_host: Text,
        /// What the caller's JSON web token says of itself, as bits; none where the log has no whole token.
        token: Integer,
        /// TLS version of the client's connection.
        tls_version: Text,
        /// Content type of the request.
        request_content_type: Text,
        /// Content type of the answer.
        response_content_type: Text,
        /// Request id; a client may have chosen it.
        request_id: Text,
        /// Trace id.
        trace_id: Text,
        /// JSON-RPC method or GraphQL operation.
        rpc_method: Text,
        /// MCP tool or GraphQL field.
        tool: Text,
        /// Agents' protocol a header names, with its version: `mcp 2026-07-28`, `a2a 1.0`.
        agent_protocol: Text,
        /// Agent the caller says it is: `Signature-Agent` as sent, else `sdk` and the language of a model vendor's library.
        agent_claim: Text,
        /// Topic or file of the source record.
        source_topic: Name,
        /// Partition of the source record; 0 for a file.
        source_partition: Ordinal,
        /// Offset of the source record; the line, from 1, for a file.
        source_offset: Count,
        /// Index of the call in the source record.
        source_row: Ordinal,
    }
}

table! {
    /// What `profile` adds to an event.
    "events": EventModel, EventModelBuilder, EventModelView {
        /// True when the call's first object is new to its caller.
        object_new: MaybeFlag,
        /// Distinct objects of that collection the caller has touched.
        objects_seen: Count,
        /// 0 while the lane learns, 1 after.
        maturity: Number,
        /// Calls seen on the endpoint.
        endpoint_events: Count,
        /// Share of the successful calls on the endpoint that were authenticated.
        endpoint_authenticated_share: Number,
        /// Share of the endpoint's earlier answers that were smaller.
        response_bytes_quantile: MaybeNumber,
        /// True on the call whose probe reached the alarm.
        probe_alarm: Flag,
        /// Evidence of probing.
        probe_evidence: Number,
        /// Classes of the caller's current run of probes, comma-separated; set on probes only.
        probe_classes: Text,
        /// Distinct probes of the run.
        probe_count: Count,
        /// Probes of the caller's day answered 2xx where nobody ever was, after others were refused.
        probe_answered: Count,
        /// True on the call by which the caller's day has both an alarm and a probe that was answered.
        probe_breach: Flag,
        /// First probe of the run; the call's own time without one.
        probe_first_time: Time,
    }
}

table! {
    /// A first touch of an object, in the touches log, keyed by object.
    "touches": TouchRow, TouchRowsBuilder, TouchView {
        /// Offset of the events record it was made from.
        in_offset: Count,
        /// Index among the rows made from that record.
        in_row: Ordinal,
        /// True for a reminder of a known touch: it tells the owner that the object is alive.
        reminder: Flag,
        /// True when the call was refused or not found.
        denied: Flag,
        /// Known objects of the collection touched since the touch before.
        n_known: Ordinal,
        /// True when the caller reads everything.
        pan_reader: Flag,
        /// True while the caller is in its first sitting.
        newcomer: Flag,
        /// True for a sighting of the caller on its device, whose hash is in the object's place.
        sighting: Flag,
        /// Objects new to the caller in its longest sitting.
        longest_sitting: Count,
        /// Hash of the identity.
        identity_hash: Hash,
        /// Hash of the address and user agent of its first call, of one that nothing but a token names.
        home: Key,
        /// Time of the call.
        event_time: Time,
        /// Name of the decoder.
        gateway: Name,
        /// Method as sent.
        method: Name,
        /// Raw path, secrets redacted.
        path: Name,
        /// Endpoint of the call.
        endpoint: Name,
        /// Status of the answer.
        status: Small,
        /// Who calls.
        identity: Name,
        /// What the identity was made from.
        identity_kind: Name,
        /// Grade of the identity.
        identity_quality: Name,
        /// Client's address.
        client_ip: Text,
        /// Country of that address.
        country: Text,
        /// Number of its network.
        asn: Integer,
        /// User agent.
        user_agent: Text,
        /// Collection of the object.
        collection: Name,
        /// Hash of the object.
        object: Hash,
        /// Its number.
        object_number: Integer,
        /// True for a write.
        write: Flag,
        /// Topic or file of the source record.
        source_topic: Name,
        /// Partition of the source record.
        source_partition: Ordinal,
        /// Offset of the source record.
        source_offset: Count,
        /// Index of the call in the source record.
        source_row: Ordinal,
    }
}

table! {
    /// What `own` adds to a touch in the judgements log, keyed by the caller's home, or by identity where it has none. A row with a
    /// `visitor` is a visit: `identity_hash` is then the identity visited, and the touch is the visitor's. A row with an `alert` is
    /// one that `profile` raised, and has an identity and a time beside it. Of another home the home stands for the identity.
    "judgements": JudgementRow, JudgementRowsBuilder, JudgementView {
        /// The identity that touched an object of `identity_hash`.
        visitor: Key,
        /// Hash of the owner.
        owner: Key,
        /// Name of the owner, when it is remembered.
        object_owner: Text,
        /// First toucher before.
        toucher_1: Key,
        /// Second toucher before.
        toucher_2: Key,
        /// Third toucher before.
        toucher_3: Key,
        /// Fourth toucher before.
        toucher_4: Key,
        /// True when more than four touched it.
        crowded: Flag,
        /// The identity that the caller's device had before; the row is then no touch.
        before: Key,
        /// Objects new to it in its longest sitting.
        before_longest: Integer,
        /// [`crate::alert::Raised`] in postcard; empty in every other row.
        alert: Encoded,
    }
}

table! {
    /// What `judge` adds to a touch; the SQL table `touches` is a touch's columns and these.
    "touches": TouchModel, TouchModelBuilder, TouchModelView {
        /// What the touch is to its caller.
        category: Name,
        /// Name of the object's owner.
        object_owner: Text,
        /// Surprise of the touch.
        surprise_nats: Number,
        /// Evidence that the caller enumerates.
        evidence: Number,
        /// Part of it that all the caller's collections together give; the rest is this collection's.
        evidence_identity: Number,
        /// True when the evidence reached the knob's threshold.
        alarm: Flag,
        /// How usual an own touch is for the caller.
        p_own: Number,
        /// How usual this category is for the caller's peers.
        p_peer: Number,
        /// 0 while the lane learns, 1 after.
        maturity: Number,
        /// Touches of the current run of evidence.
        n_touches: Count,
        /// Of objects nobody had touched.
        n_virgin: Count,
        /// Of owners the caller never met.
        n_foreign: Count,
        /// Of owners it had met.
        n_met: Count,
        /// Refused or not there.
        n_denied: Count,
        /// Others' objects answered with success.
        n_exposed: Count,
        /// Others' objects written.
        n_foreign_writes: Count,
        /// First touch of the run that was not own.
        first_evidence_time: Time,
        /// Objects new to the caller in its current sitting.
        run_objects: Count,
        /// How many of the latest of them kept to the order of their ids.
        run_in_order: Count,
        /// Objects that 19 in 20 of the caller's peers never passed in a sitting.
        run_usual: MaybeNumber,
        /// Objects at which the sitting is too long.
        run_limit: Integer,
        /// Objects in order at which it is too long.
        run_in_order_limit: Integer,
        /// `many` or `in_order` on the touch that makes the sitting too long.
        run_alarm: Text,
    }
}

table! {
    /// What some calls of an endpoint come to, in the endpoints log, keyed by host.
    "summaries": SummaryRow, SummaryRowsBuilder, SummaryView {
        /// Offset of the events record that made it due.
        in_offset: Count,
        /// Index among the summaries made from that record.
        in_row: Ordinal,
        /// The lane's event time when it was made: that of its latest call.
        event_time: Time,
        /// What is summed up: `endpoint`, `posture`, `agent`, `mcp_server`, `mcp_tool` or `probe`.
        kind: Name,
        /// Its name: of endpoints and posture `METHOD host /template`.
        endpoint: Name,
        /// Calls summed up.
        n_calls: Count,
        /// The sum in postcard; [`crate::stage::summing`] says of what type.
        summary: Encoded,
    }
}

table! {
    /// An alert as rules over `alerts` see it.
    "alerts": AlertRow, AlertRowsBuilder, AlertView {
        /// When it could be told: the time of the call that made it, or the end of its window and the rule's lateness.
        event_time: Time,
        /// Name of the rule.
        rule: Name,
        /// Title, its columns filled in.
        title: Name,
        /// `informational`, `low`, `medium`, `high` or `critical`.
        severity: Name,
        /// The same as a number, 1 to 5.
        severity_id: Ordinal,
        /// The rule's confidence, a share.
        confidence: Number,
        /// The rule's first `owasp.` tag, without its beginning: `api1-2023`.
        tactic: Text,
        /// The rule's first `attack.t…` tag, without its beginning: `t1213`.
        technique: Text,
        /// All tags of the rule, comma-separated.
        tags: Name,
        /// True when it opened its case, false when it is an update.
        is_new: Flag,
        /// Name of its case.
        uid: Name,
        /// Findings in its case so far.
        n_findings: Count,
        /// Values of the case's key.
        about: Name,
        /// Who called; none in an alert about an endpoint.
        identity: Text,
        /// What the identity was made from; none where the alert tells a window that closed.
        identity_kind: Text,
        /// Grade of the identity, `A` to `D`; none as above.
        identity_quality: Text,
        /// Endpoint it names.
        endpoint: Name,
        /// Host of that endpoint; none where the log has none.
        host: Text,
        /// When what it tells began.
        first_time: Time,
        /// Output columns of the rule as JSON, for `json_get`; none beyond 4 KiB.
        columns: Text,
        /// Sample rows it shows.
        n_evidence: Ordinal,
        /// Method of the call that made it.
        method: Name,
        /// Raw path of that call, secrets redacted.
        path: Name,
        /// Status of its answer.
        status: Small,
        /// Its client's address.
        client_ip: Text,
        /// Its user agent.
        user_agent: Text,
        /// Topic or file of its source record.
        source_topic: Name,
        /// Partition of the source record.
        source_partition: Ordinal,
        /// Offset of the source record.
        source_offset: Count,
        /// Index of the call in the source record.
        source_row: Ordinal,
    }
}

table! {
    /// What became news of an endpoint, or of the unknown paths of a host, as rules over `inventory` see it.
    "inventory": InventoryRow, InventoryRowsBuilder, InventoryView {
        /// Event time when it was told: at the endpoint's first call, then at most once a minute.
        event_time: Time,
        /// `endpoint`, or `unknown_paths`.
        kind: Name,
        /// `METHOD host /template`.
        endpoint: Name,
        /// Method; `*` of unknown paths.
        method: Name,
        /// Host; `-` where the log names none.
        host: Name,
        /// Template of the path.
        template: Name,
        /// Version in the path.
        version: Text,
        /// `answered`, `refused` or `missing`.
        standing: Name,
        /// True when it is told for the first time.
        is_new: Flag,
        /// First call.
        first_time: Time,
        /// Last call.
        last_time: Time,
        /// Calls so far.
        calls: Count,
        /// Calls a minute between the first and the last; none within one minute.
        calls_per_minute: MaybeNumber,
        /// Calls answered 2xx.
        n_success: Count,
        /// Calls answered 4xx.
        n_client_errors: Count,
        /// Calls answered 5xx.
        n_server_errors: Count,
        /// Calls of callers the gateway knew.
        authenticated: Count,
        /// Calls of others.
        anonymous: Count,
        /// Those of them that were answered with success.
        anonymous_answered: Count,
        /// How callers proved who they are, comma-separated.
        auth_schemes: Text,
        /// Calls over TLS.
        tls: Count,
        /// Calls in plaintext.
        plaintext: Count,
        /// Callers, about.
        identities: Count,
        /// Objects, about.
        objects: Count,
        /// Of unknown paths: how many, about.
        paths: Integer,
        /// What names hint at, comma-separated: `payment`, `health`, ….
        sensitive: Text,
        /// Collections of the objects, comma-separated.
        collections: Text,
        /// Services the gateway names, comma-separated.
        services: Text,
        /// Routes the gateway names, comma-separated.
        routes: Text,
        /// The record of the inventory topic, for `json_get`; none beyond 16 KiB.
        record: Text,
        /// Topic or file of the first call that is kept as a sample.
        source_topic: Name,
        /// Its partition.
        source_partition: Ordinal,
        /// Its offset.
        source_offset: Count,
        /// Index of the call in its record.
        source_row: Ordinal,
    }
}

table! {
    /// A finding of posture that changed, as rules over `findings` see it.
    "findings": FindingRow, FindingRowsBuilder, FindingView {
        /// Event time of the look at which it had changed.
        event_time: Time,
        /// Its name for good.
        uid: Name,
        /// The check: `anonymous_success`, ….
        check: Name,
        /// Title of the check.
        title: Name,
        /// Severity of the check.
        severity: Name,
        /// `endpoint` or `host`: what it is about.
        scope: Name,
        /// The endpoint or host.
        subject: Name,
        /// The endpoint; `* host /**` where it is about a host.
        endpoint: Name,
        /// The host; none where the log has none.
        host: Text,
        /// Where it stands: `candidate`, `open`, `stale` or `resolved`.
        phase: Name,
        /// What changed: `opened`, `grew`, `still_seen`, `stale`, `resolved` or `regressed`.
        change: Name,
        /// First evaluation that showed it.
        first_time: Time,
        /// Last one.
        last_time: Time,
        /// Times it came back.
        regressed: Count,
        /// Calls of its window that showed it.
        bad: Count,
        /// Calls of its window that could have.
        of: Count,
        /// Lower end of the 95 % interval of their share.
        rate_low: Number,
        /// Upper end.
        rate_high: Number,
        /// Callers that showed it, about.
        identities: Count,
        /// Who answers for the subject.
        owner: Text,
        /// The record of the inventory topic, for `json_get`; none beyond 16 KiB.
        record: Text,
        /// Topic or file of its first sample.
        source_topic: Name,
        /// Its partition.
        source_partition: Ordinal,
        /// Its offset.
        source_offset: Count,
        /// Index of the call in its record.
        source_row: Ordinal,
    }
}

/// A schema, made once: readers ask for it with every record.
macro_rules! once {
    ($($parts:expr),+) => {{
        static SCHEMA: LazyLock<SchemaRef> =
            LazyLock::new(|| Arc::new(Schema::new([$($parts),+].concat())));
        SCHEMA.clone()
    }};
}

/// Schema of the events log.
pub fn events() -> SchemaRef {
    once!(EventRowsBuilder::fields(), vec![objects::field()])
}

/// Schema of the SQL table `events`.
pub fn events_table() -> SchemaRef {
    once!(EventRowsBuilder::fields(), EventModelBuilder::fields())
}

/// Schema of the touches log.
pub fn touches() -> SchemaRef {
    once!(TouchRowsBuilder::fields())
}

/// Schema of the judgements log.
pub fn judgements() -> SchemaRef {
    once!(TouchRowsBuilder::fields(), JudgementRowsBuilder::fields())
}

/// Schema of the endpoints log.
pub fn summaries() -> SchemaRef {
    once!(SummaryRowsBuilder::fields())
}

/// Schema of the SQL table `touches`.
pub fn touches_table() -> SchemaRef {
    once!(TouchRowsBuilder::fields(), TouchModelBuilder::fields())
}

/// Schema of the SQL table `alerts`.
pub fn alerts_table() -> SchemaRef {
    once!(AlertRowsBuilder::fields())
}

/// Schema of the SQL table `inventory`.
pub fn inventory_table() -> SchemaRef {
    once!(InventoryRowsBuilder::fields())
}

/// Schema of the SQL table `findings`.
pub fn findings_table() -> SchemaRef {
    once!(FindingRowsBuilder::fields())
}

/// Schema of one of the logs by its stage's name.
pub fn of_log(log: crate::log::Log) -> SchemaRef {
    match log {
        crate::log::Log::Events => events(),
        crate::log::Log::Touches => touches(),
        crate::log::Log::Judgements => judgements(),
        crate::log::Log::Endpoints => summaries(),
    }
}

/// True when the batch has a text column of this name with a value anywhere: what a rule needs to
/// see on a source.
pub fn has_values(batch: &RecordBatch, column: &str) -> bool {
    batch
        .column_by_name(column)
        .is_some_and(|column| match column.data_type() {
            DataType::Boolean => column.as_boolean().true_count() > 0,
            _ => column.null_count() < column.len(),
        })
}
