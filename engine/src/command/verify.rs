//! `verify`: derives each stage's output again from its input log and compares.
//!
//! Reads the sources, the logs, the dead letters and the results topic to their present ends.
//! Sources: every call of every record, decoded afresh with the same key of the keyed hashes, must be one row of
//! the events log with the same values, or a dead letter with the same reason, once.
//! Stages: a fresh lane over each partition of a log must write the rows the next log holds from
//! it, and the alerts the results topic holds; of each key of the inventory topic the last record must be its last, since
//! compaction may have taken those before. Rows written again after a crash are counted and, as
//! any reader does, dropped.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use clap::Args;
use connectors::dead_letter;
use connectors::format::{Format, SourceRecord};
use connectors::kafka::Cluster;
use connectors::value::Values;
use rdkafka::message::{Message, OwnedMessage};
use serde_json::{Value, json};

use super::run::{ConfigFaults, RunArgs};
use super::{Failure, RuleFaults, dead_letters, load_rules, plain_table, resolver};
use crate::config::Config;
use crate::lane::{Lane, Outbox};
use crate::log::{Item, Log, LogRecord, RowAt, row_at};
use crate::rule::RuleSet;
use crate::schema;
use crate::service::{cluster, opening};
use crate::stage::decode::{Decode, DecodeConfig};
use crate::stage::{self, Partitions};
use crate::state::Place;

/// Options of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch verify --brokers broker:9092 --source-topic gateway-logs
  tollwatch verify -c tollwatch.toml --json")]
pub struct VerifyArgs {
    /// The same options the service ran with.
    #[command(flatten)]
    pub run: RunArgs,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What one comparison found.
#[derive(Debug, Default)]
struct Compared {
    n_expected: usize,
    n_missing: usize,
    n_doubled: usize,
    n_different: usize,
    /// Rows written again and dropped by readers.
    n_rewritten: usize,
    /// Rows whose input retention has taken: nothing can be said of them.
    n_uncovered: usize,
}

impl Compared {
    fn sound(&self) -> bool {
        self.n_missing + self.n_doubled + self.n_different == 0
    }

    fn json(&self) -> Value {
        json!({
            "expected": self.n_expected, "missing": self.n_missing, "doubled": self.n_doubled,
            "different": self.n_different, "rewritten": self.n_rewritten, "uncovered": self.n_uncovered,
        })
    }
}

/// Runs the command; 1 when something is missing, doubled or different.
///
/// # Errors
/// The topics can't be read.
pub fn run(args: &VerifyArgs) -> Result<u8, Failure> {
    let mut config = args.run.config()?;
    config.read_briefing()?;
    let faults = config.faults();
    if !faults.is_empty() {
        return Err(ConfigFaults(faults).into());
    }
    let rules = load_rules(config.rules.as_deref(), config.lookups.as_deref())?;
    let verifier = Verifier {
        cluster: cluster(&config),
        config,
        rules,
    };
    let (results, not_compared) = verifier.verify()?;
    let sound = results.iter().all(|(_, compared)| compared.sound());
    if args.json {
        let stages: serde_json::Map<String, Value> = results
            .iter()
            .map(|(name, compared)| ((*name).to_owned(), compared.json()))
            .collect();
        println!(
            "{}",
            json!({ "sound": sound, "stages": stages, "not_compared": not_compared })
        );
    } else {
        let mut table = plain_table();
        table.set_header([
            "stage",
            "expected",
            "missing",
            "doubled",
            "different",
            "written again",
            "not covered",
        ]);
        for (name, c) in &results {
            let counts = [
                c.n_expected,
                c.n_missing,
                c.n_doubled,
                c.n_different,
                c.n_rewritten,
                c.n_uncovered,
            ];
            table.add_row(std::iter::once((*name).to_owned()).chain(counts.map(|n| n.to_string())));
        }
        println!("{table}");
        for (stage, why) in &not_compared {
            println!("{stage} was not compared: {why}");
        }
        println!("{}", if sound { "sound" } else { "not sound" });
    }
    Ok(u8::from(!sound))
}

/// What each stage's comparison found, in the order of the data.
type Results = Vec<(&'static str, Compared)>;

/// Why a stage could not be compared.
type NotCompared = BTreeMap<&'static str, String>;

struct Verifier {
    cluster: Cluster,
    config: Config,
    rules: Arc<RuleSet>,
}

/// Rows of a log by partition, then input, as any reader sees them.
type Rows = BTreeMap<(i32, String, i32), RecordBatch>;

/// What fresh lanes of a stage write.
struct Derived {
    /// To the next log.
    next: Rows,
    /// To the endpoints log.
    summaries: Rows,
    /// To the judgements log, beside the stage before its reader.
    raised: Rows,
}

/// What a log tells of rules, by partition, each with its offset.
type Switches = BTreeMap<i32, VecDeque<(i64, Item)>>;

/// What fresh lanes tell the world.
#[derive(Default)]
struct LaneResults {
    /// Keys and lines.
    alerts: BTreeSet<(String, String)>,
    /// Lines of each key, in order.
    inventory: BTreeMap<String, Vec<String>>,
    /// Keys and lines of findings.
    findings: BTreeSet<(String, String)>,
}

/// Reasons of rejected rows, by topic, partition and position of the source.
type Letters = BTreeMap<(String, i32, RowAt), String>;

impl Verifier {
    fn verify(&self) -> Result<(Results, NotCompared), Failure> {
        let (mut results, mut not_compared) = (Vec::new(), NotCompared::new());
        let (mut logs, mut switches) = (BTreeMap::new(), BTreeMap::new());
        let mut cut = BTreeSet::new();
        for log in Log::ALL {
            let ends = self.cluster.watermarks(&self.config.log_topic(log))?;
            if ends.iter().any(|(first, _)| 0 < *first) {
                cut.insert(log.name());
            }
            let messages = self.read(&self.config.log_topic(log))?;
            let mut records = Vec::new();
            let told = switches.entry(log.name()).or_insert_with(Switches::new);
            for message in &messages {
                let (partition, offset) = (message.partition(), message.offset());
                match crate::service::read(log, message)? {
                    Item::Record(record) => records.push((partition, offset, record)),
                    item => told.entry(partition).or_default().push_back((offset, item)),
                }
            }
            logs.insert(log.name(), records);
        }
        results.push(("decode", self.sources(&logs[Log::Events.name()])?));
        let mut results_of_lanes = LaneResults::default();
        for (stage, input, output) in [
            ("profile", Log::Events, Some(Log::Touches)),
            ("own", Log::Touches, Some(Log::Judgements)),
            ("judge", Log::Judgements, None),
            ("govern", Log::Endpoints, None),
        ] {
            if cut.contains(input.name()) {
                let why = format!("retention took the beginning of log {}", input.name());
                not_compared.insert(stage, why);
                continue;
            }
            if let Some(origin) = self.resharded(stage, input) {
                not_compared.insert(stage, origin);
                continue;
            }
            let told = switches.remove(input.name()).unwrap_or_default();
            let records = &logs[input.name()];
            let derived = self.derive(input, output, records, told, &mut results_of_lanes)?;
            let topic = self.config.log_topic(input);
            let compared = |log: Log, expected: &Rows| {
                // Two stages write the judgements: each is held to what it read.
                let of_stage = |record: &LogRecord| *record.header.input_topic == topic;
                let held = logs[log.name()].iter();
                let held: Vec<_> = held
                    .filter(|(.., record)| of_stage(record))
                    .cloned()
                    .collect();
                compare(log, expected, &held, false, |_, _, _| true)
            };
            if let Some(output) = output {
                results.push((stage, compared(output, &derived.next)?));
            }
            if input == Log::Events {
                results.push(("endpoints", compared(Log::Endpoints, &derived.summaries)?));
                results.push(("raised", compared(Log::Judgements, &derived.raised)?));
            }
        }
        if not_compared.contains_key("govern") {
            let why = "`govern` was not derived".to_owned();
            not_compared.insert("findings", why.clone());
            not_compared.insert("inventory", why);
        } else {
            let compared = self.inventory(&results_of_lanes.inventory)?;
            results.push(("inventory", compared));
            match self.config.findings_topic() {
                Some(topic) => {
                    let compared = self.told(&topic, &results_of_lanes.findings)?;
                    results.push(("findings", compared));
                }
                None => {
                    not_compared.insert("findings", "they are not written".to_owned());
                }
            }
        }
        let is_derived = |stage| !not_compared.contains_key(stage);
        if !self.config.alerts_to_topic() {
            not_compared.insert("alerts", "they don't go to a topic".to_owned());
        } else if ["profile", "own", "judge"].into_iter().all(is_derived) {
            let compared = self.told(&self.config.topics.alerts, &results_of_lanes.alerts)?;
            results.push(("alerts", compared));
        } else {
            not_compared.insert("alerts", "not every stage was derived".to_owned());
        }
        Ok((results, not_compared))
    }

    /// Why a stage's output can't be derived from its log alone: some of its lanes began with what another one was.
    fn resharded(&self, stage: &str, input: Log) -> Option<String> {
        // Without snapshots there was no resharding either.
        let store = self.config.open_store().ok()?;
        let (group, topic) = (
            format!("{}.{stage}", self.config.group),
            self.config.log_topic(input),
        );
        let partitions = self.cluster.partitions(&topic).ok()??;
        let origin = |partition| {
            let place = Place::new(&group, &topic, partition);
            let sequences = store.sequences(&place).ok()?.into_iter();
            let newest = sequences
                .filter_map(|at| store.manifest(&place, at).ok())
                .next()?;
            let origin = newest.origin?;
            Some(format!("`state reshard` made {place} of what {origin} was"))
        };
        (0..partitions as i32).find_map(origin)
    }

    /// Every record of the sources, decoded afresh, against the events log and the dead letters.
    fn sources(&self, events: &[(i32, i64, LogRecord)]) -> Result<Compared, Failure> {
        let log_topic = self.config.log_topic(Log::Events);
        let config = DecodeConfig {
            format: Format::Auto.into(),
            resolver: resolver(Some(&self.config.state), self.config.privacy.pseudonymise)?,
            templates: self.config.template_set()?,
            enrichment: self.config.enrichment()?,
            privacy: self.config.privacy().map_err(ConfigFaults)?,
            partitions: self.cluster.partitions(&log_topic)?.unwrap_or(1),
        };
        let mut firsts = BTreeMap::<(String, i32), i64>::new();
        let (mut written, mut rejected) = (Vec::new(), Letters::new());
        let mut values = self.config.open_values()?;
        let formats = self.config.source_formats()?;
        for source in &self.config.sources {
            for (partition, (first, _)) in (0..).zip(self.cluster.watermarks(&source.topic)?) {
                firsts.insert((source.topic.clone(), partition), first);
            }
            let mut decoders = BTreeMap::<i32, Decode>::new();
            for message in self.read(&source.topic)? {
                let config = DecodeConfig {
                    format: formats[&source.topic].clone(),
                    ..config.clone()
                };
                let partition = message.partition();
                let decode = decoders.entry(partition).or_insert_with(|| {
                    Decode::new(source.topic.as_str().into(), partition, config)
                });
                let mut out = Outbox::default();
                let rejects = match opening::open(&mut values, &message, Values::fetch)? {
                    opening::Value::Tombstone => continue,
                    opening::Value::Refused(refusal) => {
                        vec![opening::reject(message.offset(), &refusal)]
                    }
                    opening::Value::Opened(opened) => {
                        let record = SourceRecord {
                            payload: opened.text(message.payload().unwrap_or_default()),
                            offset: message.offset(),
                            broker_time_ms: message.timestamp().to_millis(),
                        };
                        decode.push(&[record], 0, &mut out)?.rejects
                    }
                };
                written.extend(out.records);
                for reject in rejects {
                    let at = (reject.position.offset, reject.position.row);
                    let key = (source.topic.clone(), partition, at);
                    rejected.insert(key, reject.reason.as_str().to_owned());
                }
            }
            let mut out = Outbox::default();
            for decode in decoders.values_mut() {
                decode.flush(&mut out)?;
            }
            written.extend(out.records);
        }
        let written: Vec<_> = written
            .into_iter()
            .map(|(at, record)| (at as i32, 0, record))
            .collect();
        let expected = rows(Log::Events, &written, &mut 0)?;
        // What retention took from a source can't be derived again.
        let covered = |topic: &str, partition: i32, at: RowAt| {
            firsts
                .get(&(topic.to_owned(), partition))
                .is_none_or(|first| *first <= at.0)
        };
        // Rows of before a log got more partitions lie where they would not lie now.
        let anywhere = self.resharded("profile", Log::Events).is_some();
        let mut compared = compare(Log::Events, &expected, events, anywhere, covered)?;
        let mut held = Letters::new();
        for letter in self.read(&self.config.dead_letter_topic())? {
            let (source, row, reason) = match dead_letters::entry(&letter) {
                Some(dead_letter::Entry::Rejected {
                    source,
                    row,
                    reason,
                    ..
                }) => (source, row, reason),
                Some(dead_letter::Entry::Replayed(_)) => continue,
                None => return Err("the dead-letter topic holds a message of somebody else".into()),
            };
            let (topic, partition, at) = (source.topic, source.partition, (source.offset, row));
            if !covered(&topic, partition, at) {
                compared.n_uncovered += 1;
                continue;
            }
            // A letter written again after a crash says the same of the same record.
            if held.insert((topic, partition, at), reason).is_some() {
                compared.n_rewritten += 1;
            }
        }
        compared.n_expected += rejected.len();
        for (key, reason) in &rejected {
            match held.remove(key) {
                None => compared.n_missing += 1,
                Some(told) if told != *reason => compared.n_different += 1,
                Some(_) => (),
            }
        }
        compared.n_different += held.len();
        Ok(compared)
    }

    /// What fresh lanes write from a log.
    fn derive(
        &self,
        input: Log,
        output: Option<Log>,
        records: &[(i32, i64, LogRecord)],
        mut switches: Switches,
        results: &mut LaneResults,
    ) -> Result<Derived, Failure> {
        let topic: Arc<str> = self.config.log_topic(input).into();
        let n_partitions = |log| -> Result<usize, Failure> {
            let n = self.cluster.partitions(&self.config.log_topic(log))?;
            Ok(n.unwrap_or(1))
        };
        let partitions = Partitions {
            next: output.map_or(Ok(1), n_partitions)?,
            endpoints: n_partitions(Log::Endpoints)?,
            judgements: n_partitions(Log::Judgements)?,
        };
        let mut lanes = BTreeMap::<i32, Lane>::new();
        let (mut written, mut summaries, mut raised) = (Vec::new(), Vec::new(), Vec::new());
        for (partition, offset, record) in records {
            let told = switches.entry(*partition).or_default();
            let lane = match lanes.entry(*partition) {
                Entry::Occupied(lane) => lane.into_mut(),
                Entry::Vacant(place) => {
                    let (models, lookups) = (&self.config.models, &self.rules.lookups);
                    // What ran before the log first told its rules were the rules that it then told.
                    let first = told.iter().find_map(|(_, item)| match item {
                        Item::Rules(rules) => Some(rules),
                        _ => None,
                    });
                    let rules = match first {
                        Some(first) => &Arc::new(first.rules(lookups).map_err(RuleFaults)?),
                        None => &self.rules,
                    };
                    let stage = stage::of(input, models, rules, partitions);
                    let lane = Lane::new(stage.map_err(RuleFaults)?, topic.clone(), *partition);
                    let lane = place.insert(lane.following(stage::compiling(models, lookups)));
                    // And so with what documents and the register said.
                    let first = told.iter().find_map(|(_, item)| match item {
                        Item::Briefing(briefing) => Some(briefing.clone()),
                        _ => None,
                    });
                    if let Some(briefing) = first {
                        lane.brief(briefing);
                    }
                    lane
                }
            };
            let mut out = Outbox::default();
            while let Some((at, item)) = told.pop_front_if(|(at, _)| *at < *offset) {
                obey(lane, at, item, &mut out)?;
            }
            lane.feed(*offset, record, &mut out)?;
            lane.flush(&mut out);
            let alerts = out.alerts.into_iter();
            results
                .alerts
                .extend(alerts.map(|alert| (alert.key, alert.json)));
            for record in out.inventory {
                let finding = record.finding.map(|finding| (finding.key, finding.json));
                results.findings.extend(finding);
                let told = results.inventory.entry(record.key).or_default();
                told.push(record.json);
            }
            let place = |(at, record): (usize, LogRecord)| (at as i32, 0, record);
            written.extend(out.records.into_iter().map(place));
            summaries.extend(out.summaries.into_iter().map(place));
            raised.extend(out.raised.into_iter().map(place));
        }
        // Behind the last row too, a lane may tell that a rule is shed.
        for (partition, lane) in &mut lanes {
            let mut out = Outbox::default();
            for (at, item) in switches.remove(partition).unwrap_or_default() {
                obey(lane, at, item, &mut out)?;
            }
            let alerts = out.alerts.into_iter();
            results
                .alerts
                .extend(alerts.map(|alert| (alert.key, alert.json)));
        }
        let next = match output {
            Some(output) => rows(output, &written, &mut 0)?,
            None => Rows::new(),
        };
        Ok(Derived {
            next,
            summaries: rows(Log::Endpoints, &summaries, &mut 0)?,
            raised: rows(Log::Judgements, &raised, &mut 0)?,
        })
    }

    /// The inventory topic against the records of each key in order.
    fn inventory(&self, expected: &BTreeMap<String, Vec<String>>) -> Result<Compared, Failure> {
        let mut held = BTreeMap::<String, Vec<String>>::new();
        for message in self.read(&self.config.inventory_topic())? {
            let text = |bytes: Option<&[u8]>| {
                String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
            };
            let records = held.entry(text(message.key())).or_default();
            records.push(text(message.payload()));
        }
        let mut compared = Compared::default();
        for (key, expected) in expected {
            compared.n_expected += expected.len();
            let Some(held) = held.remove(key) else {
                compared.n_missing += 1;
                continue;
            };
            compared.n_missing += usize::from(held.last() != expected.last());
            compared.n_uncovered += expected.iter().filter(|one| !held.contains(one)).count();
            let mut once = BTreeSet::new();
            for record in &held {
                if !expected.contains(record) {
                    compared.n_different += 1;
                } else if !once.insert(record) {
                    match self.config.is_transactional() {
                        true => compared.n_doubled += 1,
                        false => compared.n_rewritten += 1,
                    }
                }
            }
        }
        compared.n_different += held.values().map(Vec::len).sum::<usize>();
        Ok(compared)
    }

    /// A topic of alerts or findings against what lanes told, by key and line.
    fn told(
        &self,
        topic: &str,
        expected: &BTreeSet<(String, String)>,
    ) -> Result<Compared, Failure> {
        let mut compared = Compared {
            n_expected: expected.len(),
            ..Compared::default()
        };
        let mut held = BTreeMap::<(String, String), usize>::new();
        for message in self.read(topic)? {
            let text = |bytes: Option<&[u8]>| {
                String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
            };
            *held
                .entry((text(message.key()), text(message.payload())))
                .or_default() += 1;
        }
        for one in expected {
            match held.remove(one) {
                None => compared.n_missing += 1,
                Some(n) if self.config.is_transactional() => compared.n_doubled += n - 1,
                // At least once: a crash between result and commit tells it again, with the same id.
                Some(n) => compared.n_rewritten += n - 1,
            }
        }
        compared.n_different = held.len();
        Ok(compared)
    }

    /// Every message of a topic up to its present end, partitions apart, in order.
    fn read(&self, topic: &str) -> Result<Vec<OwnedMessage>, Failure> {
        let mut messages = Vec::new();
        self.cluster.read_to_end(topic, |message| {
            messages.push(message.detach());
            Ok::<_, Failure>(())
        })?;
        messages.sort_by_key(|message| (message.partition(), message.offset()));
        Ok(messages)
    }
}

/// The rows of a log by partition and input, those at or below the highest position seen dropped.
fn rows(
    log: Log,
    records: &[(i32, i64, LogRecord)],
    n_dropped: &mut usize,
) -> Result<Rows, Failure> {
    let mut parts = BTreeMap::<(i32, String, i32), (RowAt, Vec<RecordBatch>)>::new();
    for (partition, _, record) in records {
        if record.batch.num_rows() == 0 {
            continue;
        }
        let header = &record.header;
        let key = (
            *partition,
            header.input_topic.to_string(),
            header.input_partition,
        );
        let (highest, batches) = parts.entry(key).or_insert(((i64::MIN, 0), Vec::new()));
        let n = record.batch.num_rows();
        let fresh = (0..n).find(|i| row_at(log, &record.batch, *i).is_some_and(|at| at > *highest));
        let from = fresh.unwrap_or(n);
        *n_dropped += from;
        if from < n {
            batches.push(record.batch.slice(from, n - from));
            *highest = row_at(log, &record.batch, n - 1).unwrap_or(*highest);
        }
    }
    let schema = schema::of_log(log);
    let whole = |(key, (_, batches)): (_, (RowAt, Vec<RecordBatch>))| {
        Ok((key, concat_batches(&schema, &batches)?))
    };
    parts.into_iter().map(whole).collect()
}

/// The rows of all partitions as if there were one.
fn together(log: Log, rows: Rows) -> Result<Rows, Failure> {
    let mut inputs = BTreeMap::<(String, i32), Vec<RecordBatch>>::new();
    for ((_, topic, partition), batch) in rows {
        inputs.entry((topic, partition)).or_default().push(batch);
    }
    let whole = |((topic, partition), batches): ((String, i32), Vec<RecordBatch>)| {
        let whole = concat_batches(&schema::of_log(log), &batches)?;
        Ok(((0, topic, partition), whole))
    };
    inputs.into_iter().map(whole).collect()
}

/// Compares a log with what it should hold.
///
/// * `anywhere`: whatever partition a row is in.
fn compare(
    log: Log,
    expected: &Rows,
    records: &[(i32, i64, LogRecord)],
    anywhere: bool,
    covered: impl Fn(&str, i32, RowAt) -> bool,
) -> Result<Compared, Failure> {
    let mut compared = Compared::default();
    let mut held = rows(log, records, &mut compared.n_rewritten)?;
    let mut expected = expected.clone();
    if anywhere {
        (held, expected) = (together(log, held)?, together(log, expected)?);
    }
    let keys: BTreeSet<_> = expected.keys().chain(held.keys()).collect();
    let empty = RecordBatch::new_empty(schema::of_log(log));
    for key in keys {
        let (expected, held) = (
            expected.get(key).unwrap_or(&empty),
            held.get(key).unwrap_or(&empty),
        );
        compared.n_expected += expected.num_rows();
        if expected == held {
            continue;
        }
        let places = |batch: &RecordBatch| -> BTreeMap<RowAt, usize> {
            (0..batch.num_rows())
                .filter_map(|i| Some((row_at(log, batch, i)?, i)))
                .collect()
        };
        let (wanted, found) = (places(expected), places(held));
        compared.n_doubled += held.num_rows() - found.len();
        for (at, i) in &wanted {
            match found.get(at) {
                None => compared.n_missing += 1,
                Some(j) if expected.slice(*i, 1) != held.slice(*j, 1) => compared.n_different += 1,
                Some(_) => (),
            }
        }
        let (_, input, partition) = key;
        for at in found.keys().filter(|at| !wanted.contains_key(at)) {
            match covered(input, *partition, *at) {
                true => compared.n_different += 1,
                false => compared.n_uncovered += 1,
            }
        }
    }
    Ok(compared)
}

/// Does to a lane what its log tells of rules.
fn obey(lane: &mut Lane, offset: i64, item: Item, out: &mut Outbox) -> Result<(), Failure> {
    match item {
        Item::Rules(rules) => drop(lane.follow(rules, None).map_err(RuleFaults)?),
        Item::Act(act) => drop(lane.act(offset, &act, out).map_err(RuleFaults)?),
        Item::Briefing(briefing) => lane.brief(briefing),
        Item::Record(_) => (),
    }
    Ok(())
}
