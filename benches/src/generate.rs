//! Fills a topic with the records of `traffic`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use serde_json::json;

use crate::Result;
use crate::traffic::{Traffic, TrafficConfig};
use crate::usage::Mark;

/// Where the records go and how many.
#[derive(Args)]
pub(crate) struct GenerateConfig {
    /// Bootstrap servers, host:port with commas between.
    #[arg(long)]
    brokers: String,
    /// Topic to create; one that exists is refused, so that its records are only these.
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    #[command(flatten)]
    traffic: TrafficConfig,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Creates the topic and fills it.
pub(crate) fn run(config: &GenerateConfig) -> Result<()> {
    create_topic(config)?;
    let producer: BaseProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", &config.brokers)
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        // Idempotent, so that a retry neither doubles nor reorders records.
        .set("enable.idempotence", "true")
        .set("linger.ms", "50")
        .set("batch.size", "262144")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "262144")
        .create_with_context(Deliveries::default())?;

    let mut traffic = Traffic::new(&config.traffic);
    let mut record = Vec::with_capacity(2048);
    let mut n_bytes = 0;
    let start = Mark::now()?;
    for _ in 0..config.events {
        record.clear();
        let consumer = traffic.write(&mut record);
        n_bytes += record.len() as u64;
        send(
            &producer,
            &config.topic,
            &traffic.consumer_ids[consumer],
            &record,
        )?;
    }
    producer.flush(Duration::from_secs(120))?;
    let used = start.until_now()?;

    let n_failed = producer.context().n_failed.load(Ordering::Relaxed);
    if n_failed != 0 {
        return Err(format!("{n_failed} records were not acknowledged").into());
    }
    let mean_bytes = n_bytes as f64 / config.events as f64;
    let events_per_s = config.events as f64 / used.seconds;
    if config.json {
        println!(
            "{}",
            json!({
                "bench": "generate", "events": config.events, "partitions": config.partitions,
                "seconds": used.seconds, "events_per_s": events_per_s, "mean_bytes": mean_bytes,
            })
        );
    } else {
        println!(
            "generated {} records of {mean_bytes:.0} B in {:.1} s: {events_per_s:.0} events/s",
            config.events, used.seconds
        );
    }
    Ok(())
}

fn create_topic(config: &GenerateConfig) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &config.brokers)
        .create()?;
    // -1: the broker's default.
    let topic = NewTopic::new(
        &config.topic,
        config.partitions,
        TopicReplication::Fixed(-1),
    );
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let results = runtime.block_on(admin.create_topics([&topic], &options))?;
    for result in results {
        result.map_err(|(topic, code)| format!("cannot create topic {topic}: {code}"))?;
    }
    Ok(())
}

/// Hands a record to the producer, and waits while its queue is full: the broker sets the pace.
fn send(producer: &BaseProducer<Deliveries>, topic: &str, key: &str, value: &[u8]) -> Result<()> {
    let mut record = BaseRecord::to(topic).key(key).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                record = unsent;
                producer.poll(Duration::from_millis(20));
            }
            Err((cause, _)) => return Err(cause.into()),
        }
    }
}

/// Counts records that the broker did not take.
#[derive(Default)]
struct Deliveries {
    n_failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.n_failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
