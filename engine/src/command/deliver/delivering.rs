//! The way of alerts from the topic to a sink: parsed, chosen, rendered, handed over until taken, and only then committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connectors::kafka::transaction::{Entry, Outcome, Transactor};
use connectors::kafka::{Cluster, Outgoing, Writer};
use connectors::render::{Alert, Format, avro, render};
use connectors::sink::backoff::Backoff;
use connectors::sink::{FileSink, Item, Sink, SinkError};
use serde_json::json;

use super::DeliverArgs;
use super::reader::{Reader, Record};
use crate::command::Failure;
use crate::config::Config;
use crate::telemetry::{Metrics, OutcomeLabel};

/// Records taken at a time: what a crash may have delivered again.
const RECORDS_MAX: usize = 500;
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where alerts go, and as what.
pub(super) enum Out {
    Sink(Sink, Format),
    Topic(String, Box<Transactor>, Written),
}

/// What the values of a topic are.
#[derive(Clone, Copy)]
pub(super) enum Written {
    Text(Format),
    /// Avro, by the schema of this id.
    Avro(u32),
}

impl Written {
    fn value(self, alert: &Alert) -> Vec<u8> {
        match self {
            Written::Text(format) => render(alert, format).into_bytes(),
            Written::Avro(schema_id) => avro::value(alert, schema_id),
        }
    }
}

/// Where goes what can't be delivered.
pub(super) enum Dead {
    Topic(String, Writer),
    File(FileSink),
}

/// What became of the alerts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) delivered: u64,
    pub(super) filtered: u64,
    pub(super) retried: u64,
    pub(super) dead: u64,
}

/// How a pass over records ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    On,
    /// Told to stop, with nothing more committed.
    Stopped,
    /// The group has changed: what was read is read again by whoever is to.
    Refused,
}

/// An alert on its way, with the record it is from.
struct Wanted {
    record: Record,
    alert: Alert,
}

pub(super) struct Delivering<'a> {
    config: &'a Config,
    cluster: Cluster,
    group: String,
    args: &'a DeliverArgs,
    out: Out,
    dead: Option<Dead>,
    backoff: Backoff,
    counts: Counts,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
}

impl<'a> Delivering<'a> {
    pub(super) fn new(
        config: &'a Config,
        cluster: Cluster,
        group: String,
        args: &'a DeliverArgs,
        (out, dead): (Out, Option<Dead>),
        (metrics, stop): (Arc<Metrics>, Arc<AtomicBool>),
    ) -> Self {
        Self {
            config,
            cluster,
            group,
            args,
            out,
            dead,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            counts: Counts::default(),
            metrics,
            stop,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Delivers until told to stop, or with `--once` up to the topic's end.
    ///
    /// # Errors
    /// The sink takes no alerts, one is refused and there are no dead letters, or Kafka refuses.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        loop {
            let mut reader = Reader::join(&self.cluster, self.config, &self.group)?;
            let passed = self.follow(&mut reader);
            self.metrics.set_ready(false);
            reader.leave();
            if passed? != Passed::Refused {
                return Ok(());
            }
            tracing::info!(group = self.group, "the group changed, joining again");
        }
    }

    fn follow(&mut self, reader: &mut Reader) -> Result<Passed, Failure> {
        while !self.stopped() {
            let records = reader.gather(RECORDS_MAX)?;
            if !records.is_empty() {
                match self.pass(reader, records)? {
                    Passed::On => (),
                    ended => return Ok(ended),
                }
            } else if self.args.once && reader.is_at_end() {
                break;
            }
            self.metrics.set_ready(reader.is_member());
        }
        Ok(Passed::Stopped)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn pass(&mut self, reader: &mut Reader, records: Vec<Record>) -> Result<Passed, Failure> {
        let (mut next, mut wanted, mut stray) = (BTreeMap::new(), Vec::new(), None);
        for record in records {
            let (partition, offset) = (record.partition, record.offset);
            match Alert::parse(&record.value) {
                Ok(alert) if self.args.choice.takes(&alert) => {
                    wanted.push(Wanted { record, alert });
                }
                Ok(_) => {
                    self.counts.filtered += 1;
                    self.count("filtered", 1);
                }
                Err(error) => {
                    // What came before it is delivered all the same.
                    if let Err(error) = self.bury(&record, &error.to_string()) {
                        stray = Some(error);
                        break;
                    }
                }
            }
            next.insert(partition, offset + 1);
        }
        let passed = self.deliver(reader, &wanted, &next)?;
        match stray {
            Some(error) if passed == Passed::On => Err(error),
            _ => Ok(passed),
        }
    }

    /// Delivers alerts, and then passes the places of these records.
    fn deliver(
        &mut self,
        reader: &mut Reader,
        wanted: &[Wanted],
        next: &BTreeMap<i32, i64>,
    ) -> Result<Passed, Failure> {
        match &self.out {
            Out::Topic(..) if wanted.is_empty() => (),
            Out::Topic(..) => return self.transact(reader, wanted, next),
            Out::Sink(sink, _) => {
                let (n_max, mut taken) = (sink.items_max(), BTreeMap::new());
                for some in wanted.chunks(n_max) {
                    let passed = self.hand_over(reader, some);
                    if !matches!(passed, Ok(Passed::On)) {
                        // What was taken before it need not be there again.
                        reader.commit(&reader.after(&taken))?;
                        return passed;
                    }
                    let places = some.iter().map(|wanted| &wanted.record);
                    taken.extend(places.map(|record| (record.partition, record.offset + 1)));
                    reader.stay(&self.stop)?;
                }
            }
        }
        reader.commit(&reader.after(next))?;
        Ok(Passed::On)
    }

    /// Hands alerts over until they are taken, or lie in the dead letters.
    fn hand_over(&mut self, reader: &mut Reader, some: &[Wanted]) -> Result<Passed, Failure> {
        let Out::Sink(_, format) = self.out else {
            return Ok(Passed::On);
        };
        let item = |wanted: &Wanted| Item {
            alert: wanted.alert.clone(),
            text: render(&wanted.alert, format),
        };
        let items: Vec<Item> = some.iter().map(item).collect();
        let mut n_tries = 0;
        loop {
            let Out::Sink(sink, _) = &mut self.out else {
                return Ok(Passed::On);
            };
            let error = match sink.send(&items) {
                Ok(()) => {
                    self.backoff.succeeded();
                    self.counts.delivered += some.len() as u64;
                    self.count("delivered", some.len());
                    return Ok(Passed::On);
                }
                Err(error) => error,
            };
            match &error {
                SinkError::Unavailable { after, .. } => {
                    n_tries += 1;
                    let wait = self.backoff.failed(*after);
                    if self.dead.is_some() && self.args.tries <= n_tries {
                        return self.bury_all(some, &error);
                    }
                    self.counts.retried += some.len() as u64;
                    self.count("retried", some.len());
                    self.metrics.set_ready(false);
                    tracing::warn!(%error, n_alerts = some.len(), n_tries, wait_ms = wait.as_millis() as u64, "trying again");
                    reader.rest(wait, &self.stop)?;
                    if self.stopped() {
                        return Ok(Passed::Stopped);
                    }
                }
                // One of them is: each alone tells which.
                SinkError::Refused { .. } if some.len() > 1 => {
                    for one in some.chunks(1) {
                        match self.hand_over(reader, one)? {
                            Passed::On => (),
                            ended => return Ok(ended),
                        }
                    }
                    return Ok(Passed::On);
                }
                SinkError::Refused { .. } if self.dead.is_some() => {
                    return self.bury_all(some, &error);
                }
                _ => return Err(ended(&error)),
            }
        }
    }

    /// Writes alerts and their places in one transaction.
    fn transact(
        &mut self,
        reader: &mut Reader,
        wanted: &[Wanted],
        next: &BTreeMap<i32, i64>,
    ) -> Result<Passed, Failure> {
        let (Out::Topic(topic, transactor, written), Some(member)) =
            (&mut self.out, reader.member())
        else {
            return Ok(Passed::Refused);
        };
        let entry = |wanted: &Wanted| Entry {
            topic: topic.clone(),
            key: wanted.record.key.clone(),
            value: written.value(&wanted.alert),
        };
        let entries: Vec<Entry> = wanted.iter().map(entry).collect();
        match transactor.commit(&entries, &reader.after(next), &member)? {
            Outcome::Committed => {
                self.counts.delivered += wanted.len() as u64;
                self.count("delivered", wanted.len());
                Ok(Passed::On)
            }
            Outcome::Refused(error) => {
                tracing::info!(%error, "a transaction was refused and is taken back");
                Ok(Passed::Refused)
            }
        }
    }

    fn bury_all(&mut self, some: &[Wanted], error: &SinkError) -> Result<Passed, Failure> {
        tracing::warn!(%error, n_alerts = some.len(), "given up, into the dead letters");
        let reason = error.to_string();
        for wanted in some {
            self.bury(&wanted.record, &reason)?;
        }
        Ok(Passed::On)
    }

    /// Writes a record to the dead letters, and waits until it is there.
    fn bury(&mut self, record: &Record, reason: &str) -> Result<(), Failure> {
        let topic = &self.config.topics.alerts;
        let Some(dead) = &mut self.dead else {
            let place = format!("{topic}/{}, offset {}", record.partition, record.offset);
            return Err(format!(
                "{place} is no alert: {reason}; give --dead-letters to go on without it"
            )
            .into());
        };
        let letter = json!({
            "reason": reason, "topic": topic, "partition": record.partition, "offset": record.offset,
            "alert": String::from_utf8_lossy(&record.value),
        });
        match dead {
            Dead::File(file) => file.send_line(&letter.to_string())?,
            Dead::Topic(topic, writer) => {
                let value = letter.to_string();
                let outgoing = Outgoing {
                    topic,
                    partition: None,
                    key: Some(&record.key),
                    value: value.as_bytes(),
                };
                writer.send(outgoing, std::iter::empty())?;
                writer.flush()?;
            }
        }
        self.counts.dead += 1;
        self.count("dead", 1);
        Ok(())
    }

    fn count(&self, outcome: &'static str, n: usize) {
        let deliveries = &self.metrics.deliveries;
        let counter = deliveries.get_or_create(&OutcomeLabel { outcome });
        counter.inc_by(n as u64);
    }
}

/// What ends the process, and what to do then.
fn ended(error: &SinkError) -> Failure {
    match error {
        SinkError::Refused { .. } => {
            format!("{error}; give --dead-letters to go on without it").into()
        }
        error => format!("{error}; nothing is lost: the next start goes on from here").into(),
    }
}
