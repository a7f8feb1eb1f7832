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
    /// `decode`, `profile`, `own` or `judge`.
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

/// What became of a stage's snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SnapshotLabel {
    /// The stage.
    pub stage: &'static str,
    /// `published`, `failed` or `fenced`.
    pub outcome: &'static str,
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
    latencies_ms: Mutex<Latencies<u64>>,
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
            registry,
            latencies_ms: Mutex::new(
                Latencies::new_with_bounds(1, 86_400_000, 3).expect("bounds are valid"),
            ),
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

    /// Alerts whose latency was noted.
    pub fn n_timed_alerts(&self) -> u64 {
        self.latencies_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
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
        let ready = ready.ready.load(Ordering::Relaxed);
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
