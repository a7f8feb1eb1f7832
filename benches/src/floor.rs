//! The floor: consume a topic of Kong records and parse each into a typed struct, nothing more.
//!
//! No engine that reads the same records with the same clients can use less, so other figures are given as multiples of it.
//! Each thread has a consumer of its own and its share of the partitions.

use std::borrow::Cow;
use std::hint::black_box;
use std::thread;
use std::time::Duration;

use clap::Args;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;
use serde_json::json;

use crate::Result;
use crate::usage::{Mark, Usage};

/// A broker that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is read, and by how many.
#[derive(Args)]
pub(crate) struct FloorConfig {
    /// Bootstrap servers, host:port with commas between.
    #[arg(long)]
    pub(crate) brokers: String,
    /// Topic that `bench generate` filled.
    #[arg(long)]
    pub(crate) topic: String,
    /// Consumers, each on a thread of its own (librdkafka's own threads come on top).
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    /// How often the topic is read; every round is reported.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// Print a JSON object for each round.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The fields a detection over access logs needs at least; the other two thirds of the record are skipped.
#[derive(Deserialize)]
pub(crate) struct KongRecord<'a> {
    #[serde(borrow)]
    pub(crate) request: KongRequest<'a>,
    pub(crate) response: KongResponse,
    pub(crate) latencies: KongLatencies,
    #[serde(borrow)]
    pub(crate) consumer: KongConsumer<'a>,
    #[serde(borrow)]
    pub(crate) client_ip: Cow<'a, str>,
    pub(crate) started_at: i64,
}

/// Kong's `request`.
#[derive(Deserialize)]
pub(crate) struct KongRequest<'a> {
    #[serde(borrow)]
    pub(crate) method: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) uri: Cow<'a, str>,
    pub(crate) size: u64,
}

/// Kong's `response`.
#[derive(Deserialize)]
pub(crate) struct KongResponse {
    pub(crate) status: u16,
    pub(crate) size: u64,
}

/// Kong's `latencies`, in milliseconds.
#[derive(Deserialize)]
pub(crate) struct KongLatencies {
    pub(crate) request: i64,
    pub(crate) proxy: i64,
    pub(crate) kong: i64,
}

/// Kong's `consumer`.
#[derive(Deserialize)]
pub(crate) struct KongConsumer<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
}

impl KongRecord<'_> {
    /// Touches every field, so that none can be optimised away, and costs next to nothing.
    pub(crate) fn weight(&self) -> u64 {
        let texts = [
            &self.request.method,
            &self.request.uri,
            &self.consumer.id,
            &self.client_ip,
        ];
        let times = [
            self.latencies.request,
            self.latencies.proxy,
            self.latencies.kong,
            self.started_at,
        ];
        texts.iter().map(|text| text.len() as u64).sum::<u64>()
            + times.iter().map(|time| time.unsigned_abs()).sum::<u64>()
            + self.request.size
            + self.response.size
            + u64::from(self.response.status)
    }
}

/// Reads the topic from its first record to its last, `rounds` times.
pub(crate) fn run(config: &FloorConfig) -> Result<()> {
    for round in 1..=config.rounds {
        let partitions = partitions(config)?;
        let start = Mark::now()?;
        let n_events = read(config, &partitions)?;
        report(config, round, n_events, &start.until_now()?);
    }
    Ok(())
}

/// The partitions of the topic.
pub(crate) fn partitions(config: &FloorConfig) -> Result<Vec<i32>> {
    let metadata = consumer(config)?.fetch_metadata(Some(&config.topic), SILENCE_MAX)?;
    let topic = metadata
        .topics()
        .first()
        .ok_or("the broker knows no such topic")?;
    let partitions: Vec<i32> = topic
        .partitions()
        .iter()
        .map(|partition| partition.id())
        .collect();
    if partitions.is_empty() {
        return Err(format!(
            "topic {} has no partitions: run `bench generate` first",
            config.topic
        )
        .into());
    }
    Ok(partitions)
}

/// Returns how many records there were.
pub(crate) fn read(config: &FloorConfig, partitions: &[i32]) -> Result<u64> {
    let n_threads = usize::from(config.threads).min(partitions.len());
    let counts: Vec<std::result::Result<u64, String>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads)
            .map(|nth| {
                let share: Vec<i32> = partitions
                    .iter()
                    .copied()
                    .skip(nth)
                    .step_by(n_threads)
                    .collect();
                scope.spawn(move || read_share(config, &share).map_err(|cause| cause.to_string()))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a reading thread does not panic"))
            .collect()
    });
    let mut n_events = 0;
    for count in counts {
        n_events += count?;
    }
    Ok(n_events)
}

fn read_share(config: &FloorConfig, partitions: &[i32]) -> Result<u64> {
    let consumer = consumer(config)?;
    let mut assignment = TopicPartitionList::new();
    for &partition in partitions {
        assignment.add_partition_offset(&config.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let (mut n_open, mut n_events, mut weight) = (partitions.len(), 0, 0_u64);
    while 0 < n_open {
        match consumer.poll(SILENCE_MAX) {
            Some(Ok(message)) => {
                let record: KongRecord<'_> = sonic_rs::from_slice(
                    message.payload().unwrap_or_default(),
                )
                .map_err(|cause| {
                    format!(
                        "record {} of {}: {cause}",
                        message.offset(),
                        message.partition()
                    )
                })?;
                weight = weight.wrapping_add(record.weight());
                n_events += 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => n_open -= 1,
            Some(Err(cause)) => return Err(cause.into()),
            None => return Err("the broker has fallen silent".into()),
        }
    }
    black_box(weight);
    Ok(n_events)
}

fn consumer(config: &FloorConfig) -> Result<BaseConsumer> {
    let consumer = ClientConfig::new()
        .set("bootstrap.servers", &config.brokers)
        .set("group.id", "bench-floor")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // The default of 1000 leaves the cores idle between fetches and quarters the throughput.
        .set("fetch.queue.backoff.ms", "10")
        // The end of a partition is told by an empty answer, for which the default waits 500 ms.
        .set("fetch.wait.max.ms", "10")
        // Larger fetches than by default, and room for them: fewer round trips and fewer stops.
        .set("fetch.message.max.bytes", "4194304")
        .set("queued.max.messages.kbytes", "131072")
        .create()?;
    Ok(consumer)
}

fn report(config: &FloorConfig, round: u32, n_events: u64, used: &Usage) {
    let events_per_s = n_events as f64 / used.seconds;
    let cpu_seconds_per_million = used.cpu_seconds / n_events as f64 * 1e6;
    if config.json {
        println!(
            "{}",
            json!({
                "bench": "floor", "round": round, "threads": config.threads, "events": n_events,
                "seconds": used.seconds, "events_per_s": events_per_s,
                "cpu_seconds_per_million": cpu_seconds_per_million,
                "others_cores": used.others_cores, "rss_peak_mib": used.rss_peak_mib,
            })
        );
    } else {
        println!(
            "floor, round {round}, {} thread(s): {n_events} events, {events_per_s:.0} events/s, \
             {cpu_seconds_per_million:.3} CPU-s per million, peak {:.0} MiB, others used {:.2} cores",
            config.threads, used.rss_peak_mib, used.others_cores
        );
    }
}
