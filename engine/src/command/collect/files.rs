//! Files, each line exactly once: records and the places they were read up to are written in one transaction.
//!
//! Places are records of a compacted topic, of key `<name>/<id>`; they are read when it starts, and a batch is tried until it is
//! written, so no place is ahead of its lines or behind them. A second collector of the same name replaces the first.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use connectors::kafka::Cluster;
use connectors::kafka::atomic::{Atomic, Outcome, places};
use connectors::kafka::transaction::Entry;
use connectors::tail::Place;
use connectors::tail::watch::Watch;
use indicatif::ProgressBar;
use serde_json::json;

use super::{CollectArgs, Shared};
use crate::command::Failure;
use crate::service::process;

/// Bytes of lines of one transaction. More make it no faster.
const BATCH_BYTES: usize = 2 << 20;
/// How often it is looked which files there are.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether they have grown: the longest a line waits here.
const READ_EVERY: Duration = Duration::from_millis(100);

/// Where lines and places go, and whose they are.
pub(super) struct To {
    pub(super) topic: String,
    /// The topic of places.
    pub(super) places: String,
    pub(super) group: String,
    pub(super) name: String,
}

pub(super) struct Files {
    to: To,
    watch: Watch,
    atomic: Atomic,
    shared: Shared,
}

impl Files {
    /// Takes the name over, and finds how far its files were read.
    ///
    /// # Errors
    /// Kafka refuses, or a pattern is none.
    pub(super) fn open(
        cluster: &Cluster,
        to: To,
        args: &CollectArgs,
        shared: Shared,
    ) -> Result<Files, Failure> {
        let claim = Entry {
            topic: to.places.clone(),
            key: to.name.clone().into_bytes(),
            value: json!({ "writer": format!("{:016x}", process()), "at_ms": now_ms() })
                .to_string()
                .into_bytes(),
        };
        let id = format!("{}.collect.{}", to.group, to.name);
        let mut atomic = Atomic::new(cluster.clone(), id, claim);
        atomic.open()?;
        let prefix = format!("{}/", to.name);
        let mut known = BTreeMap::new();
        for (key, value) in places(cluster, &to.places, prefix.as_bytes())? {
            let id = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            let place: Place = serde_json::from_slice(&value).map_err(|error| {
                let topic = &to.places;
                format!("{topic} holds a place of {id} that is none ({error}); was it written by a later version?")
            })?;
            known.insert(id, place);
        }
        tracing::info!(name = to.name, n_places = known.len(), "collecting files");
        let watch = Watch::new(&to.name, &args.file, &args.directory, known)?;
        Ok(Files {
            to,
            watch,
            atomic,
            shared,
        })
    }

    pub(super) fn n_files(&self) -> usize {
        self.watch.n_files()
    }

    /// Collects until told to stop, or with `once` what there is.
    ///
    /// # Errors
    /// Kafka will never take it, or another collector of this name has begun.
    pub(super) fn run(&mut self, once: bool, bar: &ProgressBar) -> Result<(), Failure> {
        let mut scanned: Option<Instant> = None;
        while !self.shared.stopped() {
            let now_ms = now_ms();
            if scanned.is_none_or(|at| SCAN_EVERY <= at.elapsed()) {
                self.watch.scan(now_ms)?;
                scanned = Some(Instant::now());
                self.tell(bar);
            }
            let is_more = self.pass(now_ms, once)?;
            if is_more {
                continue;
            }
            if once && self.watch.n_soon() == 0 {
                break;
            }
            std::thread::sleep(READ_EVERY);
        }
        if once && 0 < self.watch.n_later() {
            let n = self.watch.n_later();
            tracing::warn!(
                n,
                "files look like copies of others that are still there, and were not read"
            );
        }
        Ok(())
    }

    /// Reads and writes one batch; says whether there is more.
    fn pass(&mut self, now_ms: i64, once: bool) -> Result<bool, Failure> {
        let (topic, mut entries, mut n_bytes) = (&self.to.topic, Vec::new(), 0);
        let mut each = |key: &str, record: &[u8]| {
            n_bytes += record.len() as u64;
            entries.push(Entry {
                topic: topic.clone(),
                key: key.as_bytes().to_vec(),
                value: record.to_vec(),
            });
        };
        let is_more = self.watch.read(BATCH_BYTES, now_ms, once, &mut each);
        let n_records = entries.len() as u64;
        let of_place = |id: &str, value: Vec<u8>| Entry {
            topic: self.to.places.clone(),
            key: format!("{}/{id}", self.to.name).into_bytes(),
            value,
        };
        for id in self.watch.forgotten() {
            entries.push(of_place(&id, Vec::new()));
        }
        for (id, place) in self.watch.changed() {
            entries.push(of_place(&id, serde_json::to_vec(&place)?));
        }
        if entries.is_empty() {
            self.shared.metrics.set_ready(true);
            return Ok(is_more);
        }
        let metrics = self.shared.metrics.clone();
        let failing = move |_: &_| metrics.set_ready(false);
        match self.atomic.commit(&entries, &self.shared.stop, &failing)? {
            Outcome::Committed => self.shared.written("file", n_records, n_bytes),
            // Read again by the next one of this name, from the places that are kept.
            Outcome::Stopped => (),
            Outcome::Replaced => {
                let name = &self.to.name;
                return Err(format!(
                    "another collector of the name {name} has begun and goes on from here; give each its own --name"
                )
                .into());
            }
        }
        Ok(is_more)
    }

    fn tell(&self, bar: &ProgressBar) {
        let (n_files, n_waiting) = (self.watch.n_files(), self.watch.n_waiting());
        let metrics = &self.shared.metrics;
        metrics.collect_files.set(n_files as i64);
        metrics.collect_waiting.set(n_waiting as i64);
        let n = self.shared.n_records.load(Ordering::Relaxed);
        bar.set_message(format!(
            "{n} records of {n_files} files written, {n_waiting} bytes to read"
        ));
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
