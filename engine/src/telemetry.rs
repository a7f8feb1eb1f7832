//! Logs, metrics and the answers to a load balancer.
//!
//! Labels are stages, topics, partitions, rules and reasons, all from bounded sets of ours: no
//! identity, path or address is ever a label. `docs/metrics.md` lists every metric.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use hdrhistogram::Histogram as Latencies;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::inventory::Record;

/// Sets up logs on standard error.
pub fn log(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // A log that can't be written, as on a full disk, would be told on the same stream, and that panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
}

/// A stage's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    /// `decode`, `profile`, `own`, `judge` or `govern`.
    pub stage: &'static str,
}

/// A reason of a reject.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// One of the decoders' reasons.
    pub reason: &'static str,
}

/// A rule, and what was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AlertLabel {
    /// Name of the rule.
    pub rule: String,
    /// `create` or `update`.
    pub activity: &'static str,
}

/// What became of something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// Of rules `taken` or `refused`; of alerts to a sink `delivered`, `filtered`, `retried` or `dead`; of
    /// requests to a collector `taken`, `put_off` or `refused`.
    pub outcome: &'static str,
}

/// Where a collected record came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OriginLabel {
    /// `file`, `stdin`, `otlp` or `http`.
    pub origin: &'static str,
}

/// What a record of the inventory is about, and what was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InventoryLabel {
    /// As [`Record::kind`].
    pub kind: &'static str,
    /// `create` or `update`.
    pub activity: &'static str,
}

/// A quantile of the time to discovery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DiscoveryLabel {
    /// `wall`: from reading the first call to its record being visible; `stream`: in event time.
    pub clock: &'static str,
    /// `0.5` or `0.95`.
    pub quantile: &'static str,
}

/// What became of a stage's snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SnapshotLabel {
    /// The stage.
    pub stage: &'static str,
    /// `published`, `failed` or `fenced`.
    pub outcome: &'static str,
}

/// What became of a chunk of the lake.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChunkLabel {
    /// `written`, `failed` or `fenced`.
    pub outcome: &'static str,
}

/// The metrics of the lake.
#[derive(Clone, Debug, Default)]
pub struct LakeMetrics {
    /// Chunks, by what became of them.
    pub chunks: Family<ChunkLabel, Counter>,
    /// Files written.
    pub files: Counter,
    /// Rows of them.
    pub rows: Counter,
    /// Bytes of them.
    pub bytes: Counter,
    /// Bytes of rows gathered and waiting.
    pub buffered: Gauge,
    /// How often lanes were held because as much waited as may.
    pub held: Counter,
    /// Records of the lanes' logs that the lake will never have.
    pub missed: Counter,
}

impl LakeMetrics {
    /// Counts a chunk.
    pub fn wrote(&self, outcome: &'static str) {
        self.chunks.get_or_create(&ChunkLabel { outcome }).inc();
    }
}

/// A limit that a rule met.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabel {
    /// Name of the rule.
    pub rule: String,
    /// `evicted` groups, `capped` values, `uncased` findings, `exceptions_expired` rows.
    pub limit: &'static str,
}

/// A partition a stage reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabel {
    /// The stage.
    pub stage: &'static str,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// Milliseconds up to a day.
fn latencies() -> Latencies<u64> {
    Latencies::new_with_bounds(1, 86_400_000, 3).expect("bounds are valid")
}

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    /// Records read.
    pub records: Family<StageLabel, Counter>,
    /// Rows read: for `decode` records, for the others rows of their log.
    pub rows: Family<StageLabel, Counter>,
    /// Rows written to the next log.
    pub rows_written: Family<StageLabel, Counter>,
    /// Calls decoded.
    pub events: Counter,
    /// Records sent to the dead-letter topic.
    pub rejects: Family<ReasonLabel, Counter>,
    /// Messages without a value.
    pub tombstones: Counter,
    /// Source partitions that wait for the schema registry.
    pub held: Gauge,
    /// Event times clamped because they lay in the future.
    pub clamped: Counter,
    /// Rows seen before and dropped.
    pub dropped: Family<StageLabel, Counter>,
    /// Rows too late for their window, by stage.
    pub late: Family<StageLabel, Gauge>,
    /// Rows on which a rule's expression failed, by stage.
    pub rule_errors: Family<StageLabel, Gauge>,
    /// How often a rule met one of its limits.
    pub rule_limits: Family<LimitLabel, Gauge>,
    /// Alerts written.
    pub alerts: Family<AlertLabel, Counter>,
    /// Records not yet read.
    pub lag: Family<PartitionLabel, Gauge>,
    /// Records that retention took before they were read.
    pub lost: Family<PartitionLabel, Counter>,
    /// Time to process one batch of records, in seconds.
    pub batch_seconds: Family<StageLabel, Histogram>,
    /// Time from reading the source record to its alert being committed, or handed over where there is no transaction, in
    /// seconds.
    pub event_to_alert_seconds: Histogram,
    /// Keys held by a stage's lanes.
    pub state_entries: Family<StageLabel, Gauge>,
    /// Bytes of their tables.
    pub state_bytes: Family<StageLabel, Gauge>,
    /// Keys forgotten at a bound.
    pub state_evicted: Family<StageLabel, Gauge>,
    /// Transactions of alerts and offsets committed, by stage.
    pub transactions: Family<StageLabel, Counter>,
    /// Snapshots of lanes, by stage and what became of them.
    pub snapshots: Family<SnapshotLabel, Counter>,
    /// Times other rules were read.
    pub rule_reloads: Family<OutcomeLabel, Counter>,
    /// Times other documents or another register of agents stood in their files, by what became of them.
    pub document_reloads: Family<OutcomeLabel, Counter>,
    /// Alerts on their way to a sink, by what became of them.
    pub deliveries: Family<OutcomeLabel, Counter>,
    /// Records a collector has written, by where they came from.
    pub collected: Family<OriginLabel, Counter>,
    /// Bytes of them.
    pub collected_bytes: Family<OriginLabel, Counter>,
    /// Files a collector follows.
    pub collect_files: Gauge,
    /// Bytes of open files that were not read.
    pub collect_waiting: Gauge,
    /// Requests to a collector, by what became of them.
    pub collect_requests: Family<OutcomeLabel, Counter>,
    /// Lanes that do not run the wanted rules yet.
    pub rules_waiting: Family<StageLabel, Gauge>,
    /// Rules that are shed, over the lanes of a stage.
    pub rules_shed: Family<StageLabel, Gauge>,
    /// Bytes of snapshots written.
    pub snapshot_bytes: Family<StageLabel, Counter>,
    /// Time a lane stood still to be saved, in seconds.
    pub snapshot_pause_seconds: Family<StageLabel, Histogram>,
    /// Time to put a lane back from its snapshot, in seconds.
    pub restore_seconds: Family<StageLabel, Histogram>,
    /// Bytes of copies of snapshots.
    pub standby_bytes: Gauge,
    /// Lanes of the group whose newest snapshot has no whole copy here.
    pub standby_lanes_behind: Gauge,
    /// Commits of input offsets.
    pub commits: Family<StageLabel, Counter>,
    /// Records of the inventory written.
    pub inventory_records: Family<InventoryLabel, Counter>,
    /// Time from the first call of an endpoint being read to its record being visible, in seconds.
    pub first_call_to_inventory_seconds: Histogram,
    /// Quantiles of the time to discovery, in milliseconds.
    pub discovery_ms: Family<DiscoveryLabel, Gauge>,
    /// The lake.
    pub lake: Arc<LakeMetrics>,
    latencies_ms: Mutex<Latencies<u64>>,
    /// Time to discovery by the wall clock, and by the stream's.
    discoveries_ms: Mutex<[Latencies<u64>; 2]>,
    ready: AtomicBool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tollwatch");
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        let seconds = || {
            Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
            ])
        };
        let short_seconds = || {
            let buckets = [
                0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5,
            ];
            Histogram::new(buckets)
        };
        Self {
            records: register!("records", "Records read", Family::default()),
            rows: register!("rows_read", "Rows read", Family::default()),
            rows_written: register!(
                "rows_written",
                "Rows written to the next log",
                Family::default()
            ),
            events: register!("events", "Calls decoded", Counter::default()),
            rejects: register!(
                "rejects",
                "Records sent to the dead-letter topic",
                Family::default()
            ),
            tombstones: register!(
                "tombstones",
                "Messages without a value, passed over",
                Counter::default()
            ),
            held: register!(
                "partitions_held",
                "Source partitions that wait for the schema registry",
                Gauge::default()
            ),
            clamped: register!(
                "clamped_times",
                "Event times clamped because they lay in the future",
                Counter::default()
            ),
            dropped: register!(
                "rows_dropped",
                "Rows seen before and dropped",
                Family::default()
            ),
            late: register!(
                "rows_late",
                "Rows too late for their window",
                Family::default()
            ),
            rule_errors: register!(
                "rule_errors",
                "Rows on which a rule failed",
                Family::default()
            ),
            rule_limits: register!(
                "rule_limits",
                "How often a rule met one of its limits",
                Family::default()
            ),
            alerts: register!("alerts", "Alerts written", Family::default()),
            lag: register!("lag_records", "Records not yet read", Family::default()),
            lost: register!(
                "records_lost",
                "Records that retention took before they were read",
                Family::default()
            ),
            batch_seconds: register!(
                "batch_seconds",
                "Time to process one batch",
                Family::new_with_constructor(seconds as fn() -> Histogram)
            ),
            event_to_alert_seconds: register!(
                "event_to_alert_seconds",
                "Time from reading a record to its alert being visible",
                seconds()
            ),
            state_entries: register!("state_entries", "Keys held", Family::default()),
            state_bytes: register!(
                "state_bytes",
                "Bytes of the tables of state",
                Family::default()
            ),
            state_evicted: register!(
                "state_evicted",
                "Keys forgotten at a bound",
                Family::default()
            ),
            transactions: register!(
                "transactions",
                "Transactions of alerts and offsets committed",
                Family::default()
            ),
            rule_reloads: register!(
                "rule_reloads",
                "Times other rules were found in the folder of rules",
                Family::default()
            ),
            document_reloads: register!(
                "document_reloads",
                "Times other OpenAPI documents or another register of agents were found in their files",
                Family::default()
            ),
            deliveries: register!(
                "deliveries",
                "Alerts on their way to a sink, by what became of them",
                Family::default()
            ),
            collected: register!(
                "collected_records",
                "Records a collector has written",
                Family::default()
            ),
            collected_bytes: register!("collected_bytes", "Bytes of them", Family::default()),
            collect_files: register!(
                "collect_files",
                "Files a collector follows",
                Gauge::default()
            ),
            collect_waiting: register!(
                "collect_waiting_bytes",
                "Bytes of files that were not read",
                Gauge::default()
            ),
            collect_requests: register!(
                "collect_requests",
                "Requests to a collector, by what became of them",
                Family::default()
            ),
            rules_waiting: register!(
                "rules_waiting",
                "Lanes that do not run the wanted rules yet",
                Family::default()
            ),
            rules_shed: register!(
                "rules_shed",
                "Rules that are shed, each lane's counted",
                Family::default()
            ),
            snapshots: register!(
                "snapshots",
                "Snapshots of lanes by what became of them: published, failed, fenced",
                Family::default()
            ),
            snapshot_bytes: register!(
                "snapshot_bytes",
                "Bytes of snapshots written",
                Family::default()
            ),
            snapshot_pause_seconds: register!(
                "snapshot_pause_seconds",
                "Time a lane stood still to be saved",
                Family::new_with_constructor(short_seconds as fn() -> Histogram)
            ),
            restore_seconds: register!(
                "restore_seconds",
                "Time to put a lane back from its snapshot",
                Family::new_with_constructor(seconds as fn() -> Histogram)
            ),
            standby_bytes: register!(
                "standby_bytes",
                "Bytes of copies of snapshots",
                Gauge::default()
            ),
            standby_lanes_behind: register!(
                "standby_lanes_behind",
                "Lanes whose newest snapshot has no whole copy here",
                Gauge::default()
            ),
            commits: register!("commits", "Commits of input offsets", Family::default()),
            lake: Arc::new(LakeMetrics {
                chunks: register!(
                    "lake_chunks",
                    "Chunks of the lake by what became of them: written, failed, fenced",
                    Family::default()
                ),
                files: register!(
                    "lake_files",
                    "Files of the lake written",
                    Counter::default()
                ),
                rows: register!("lake_rows", "Rows of files of the lake", Counter::default()),
                bytes: register!(
                    "lake_bytes",
                    "Bytes of files of the lake",
                    Counter::default()
                ),
                buffered: register!(
                    "lake_buffered_bytes",
                    "Bytes of rows that are not in the lake yet",
                    Gauge::default()
                ),
                held: register!(
                    "lake_held",
                    "How often lanes waited for the lake",
                    Counter::default()
                ),
                missed: register!(
                    "lake_records_missed",
                    "Records whose rows the lake will never have",
                    Counter::default()
                ),
            }),
            inventory_records: register!(
                "inventory_records",
                "Records of the inventory written",
                Family::default()
            ),
            first_call_to_inventory_seconds: register!(
                "first_call_to_inventory_seconds",
                "Time from reading the first call of an endpoint, agent, MCP server or tool to its record being visible",
                seconds()
            ),
            discovery_ms: register!(
                "discovery_ms",
                "Quantiles of the time from the first call of an endpoint, agent, MCP server or tool to its record",
                Family::default()
            ),
            registry,
            latencies_ms: Mutex::new(latencies()),
            discoveries_ms: Mutex::new([latencies(), latencies()]),
            ready: AtomicBool::new(false),
        }
    }

    /// Notes how long an alert took, in milliseconds.
    pub fn alert_after(&self, ms: i64) {
        let ms = u64::try_from(ms).unwrap_or(0).max(1);
        self.event_to_alert_seconds.observe(ms as f64 / 1000.0);
        self.latencies_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record(ms);
    }

    /// Counts a record of the inventory that became visible at `now_ms`, and how long its endpoint took to be discovered.
    pub fn inventory_record(&self, record: &Record, now_ms: i64) {
        let label = InventoryLabel {
            kind: record.kind,
            activity: if record.is_new { "create" } else { "update" },
        };
        self.inventory_records.get_or_create(&label).inc();
        if !record.is_new || record.kind == "unknown_paths" {
            return;
        }
        let noted = |ms: i64| u64::try_from(ms).unwrap_or(0).max(1);
        let discoveries = self.discoveries_ms.lock();
        let [wall, stream] = &mut *discoveries.unwrap_or_else(PoisonError::into_inner);
        stream.saturating_record(noted(record.discovery_ms));
        if record.read_at_ms > 0 {
            let ms = noted(now_ms - record.read_at_ms);
            self.first_call_to_inventory_seconds
                .observe(ms as f64 / 1000.0);
            wall.saturating_record(ms);
        }
        for (clock, times) in [("wall", wall), ("stream", stream)] {
            for (quantile, share) in [("0.5", 0.5), ("0.95", 0.95)] {
                let label = DiscoveryLabel { clock, quantile };
                let ms = times.value_at_quantile(share);
                self.discovery_ms.get_or_create(&label).set(ms as i64);
            }
        }
    }

    /// Quantile of the time from reading an endpoint's first call to its record being visible, in milliseconds.
    pub fn discovery_ms(&self, quantile: f64) -> u64 {
        let discoveries = self.discoveries_ms.lock();
        discoveries.unwrap_or_else(PoisonError::into_inner)[0].value_at_quantile(quantile)
    }

    /// Quantile of the time from record read to alert, in milliseconds.
    pub fn latency_ms(&self, quantile: f64) -> u64 {
        self.latencies_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .value_at_quantile(quantile)
    }

    /// Whether the workers have their partitions, as of now.
    pub fn set_ready(&self, is_ready: bool) {
        self.ready.store(is_ready, Ordering::Relaxed);
    }

    /// What [`Metrics::set_ready`] said last.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Prometheus' text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Serves `/metrics`, `/livez` and `/readyz` until the process ends.
///
/// # Errors
/// The address can't be bound.
pub async fn serve(listen: &str, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let (text, ready) = (metrics.clone(), metrics);
    let readyz = move || {
        let ready = ready.is_ready();
        async move {
            if ready {
                (StatusCode::OK, "ready")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not yet")
            }
        }
    };
    let routes = Router::new()
        .route("/metrics", get(move || async move { text.text() }))
        .route("/livez", get(|| async { "alive" }))
        .route("/readyz", get(readyz));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(())
}
