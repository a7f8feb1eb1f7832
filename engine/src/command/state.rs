//! `state`: what lanes have left behind.
//!
//! `inspect` lists the snapshots of every lane and, when asked, reads their files. `reshard` gives the logs more partitions: a
//! key's partition is its shard (of 256) modulo their number, so with k times as many partitions each lane's keys
//! go to k lanes, and each of these begins with all the state of the one lane: what is not its own is never asked for,
//! and forgotten in time.

use std::sync::Arc;

use clap::{Args, Subcommand};
use connectors::kafka::Cluster;
use rdkafka::message::Message;
use serde_json::{Value, json};

use super::run::{ConfigFaults, RunArgs};
use super::{Failure, RuleFaults, load_rules, plain_table};
use crate::config::Config;
use crate::lane::{Lane, Outbox};
use crate::log::{Item, Log, SHARDS};
use crate::rule::RuleSet;
use crate::service::{STAGES, cluster, fingerprint, now_ms, read};
use crate::stage;
use crate::state::keeper::{Chain, Restored, Save, restore, write};
use crate::state::{Place, StateError, Store};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Lists the newest snapshot of every lane
    Inspect(Box<InspectArgs>),
    /// Gives every log more partitions, and their lanes the state they need; the service must be stopped
    Reshard(Box<ReshardArgs>),
}

/// Options of `state inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch state inspect --state /var/lib/tollwatch
  tollwatch state inspect --snapshots-url s3://bucket/tollwatch --read --json

Exit code 1 when --read finds a file that is damaged.")]
pub struct InspectArgs {
    /// The same options the service runs with.
    #[command(flatten)]
    pub run: RunArgs,
    /// Reads every file and checks it
    #[arg(long)]
    pub read: bool,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Options of `state reshard`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch state reshard -c tollwatch.toml --partitions 8

Stop every instance first; start them again with the same number of partitions. It must be a multiple of the present
one, at most 256.")]
pub struct ReshardArgs {
    /// The same options the service runs with; --partitions says how many each log shall have.
    #[command(flatten)]
    pub run: RunArgs,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The store or the cluster can't be read, or the service is not stopped.
pub fn run(command: &StateCommand) -> Result<u8, Failure> {
    match command {
        StateCommand::Inspect(args) => inspect(args),
        StateCommand::Reshard(args) => reshard(args),
    }
}

fn inspect(args: &InspectArgs) -> Result<u8, Failure> {
    let config = args.run.config()?;
    let store = config.open_store()?;
    let mut table = plain_table();
    table.set_header([
        "lane",
        "offset",
        "snapshots",
        "bytes",
        "written",
        "owner",
        "state",
    ]);
    let (mut lanes, mut is_sound) = (Vec::new(), true);
    for place in store.places()? {
        let newest = store.sequences(&place)?.into_iter();
        let mut unreadable = 0;
        let manifest = newest
            .map(|sequence| store.manifest(&place, sequence))
            .inspect(|manifest| unreadable += usize::from(manifest.is_err()))
            .find_map(Result::ok);
        let Some(manifest) = manifest else {
            is_sound = false;
            continue;
        };
        let damage = match args.read {
            true => store
                .load(&place, &manifest)
                .err()
                .map(|error| error.to_string()),
            false => None,
        };
        is_sound &= damage.is_none() && unreadable == 0;
        let state = match (&damage, args.read, unreadable) {
            (Some(damage), _, _) => damage.clone(),
            (None, _, 1..) => format!("{unreadable} newer manifests are damaged"),
            (None, true, _) => "sound".to_owned(),
            (None, false, _) => "not read".to_owned(),
        };
        let written = format!("{} s ago", (now_ms() - manifest.written_at_ms) / 1000);
        let offset = manifest.offset();
        lanes.push(json!({
            "lane": place.to_string(), "offset": offset, "links": manifest.links.len(), "bytes": manifest.n_bytes(),
            "written_at_ms": manifest.written_at_ms, "owner": manifest.owner, "fingerprint": manifest.fingerprint,
            "origin": manifest.origin, "state": state,
        }));
        table.add_row([
            place.to_string(),
            offset.map_or("-".to_owned(), |offset| offset.to_string()),
            manifest.links.len().to_string(),
            manifest.n_bytes().to_string(),
            written,
            manifest.owner.to_string(),
            state,
        ]);
    }
    if args.json {
        println!("{}", json!({ "lanes": lanes, "sound": is_sound }));
    } else {
        println!("{table}");
    }
    Ok(u8::from(!is_sound))
}

struct Resharder {
    config: Config,
    cluster: Cluster,
    store: Store,
    rules: Arc<RuleSet>,
    fingerprint: String,
    partitions: usize,
}

fn reshard(args: &ReshardArgs) -> Result<u8, Failure> {
    let mut config = args.run.config()?;
    config.read_briefing()?;
    let faults = config.faults();
    if !faults.is_empty() {
        return Err(ConfigFaults(faults).into());
    }
    let rules = load_rules(config.rules.as_deref(), config.lookups.as_deref())?;
    let resharder = Resharder {
        cluster: cluster(&config),
        store: config.open_store()?,
        fingerprint: fingerprint(&config),
        partitions: usize::try_from(config.topics.partitions)?,
        rules,
        config,
    };
    let before = resharder.check()?;
    let mut lanes = Vec::new();
    for (stage, (log, n_before)) in Log::ALL.into_iter().zip(before).enumerate() {
        lanes.push(resharder.log(stage + 1, log, n_before)?);
    }
    if args.json {
        println!(
            "{}",
            json!({ "partitions": resharder.partitions, "logs": lanes })
        );
    } else {
        for log in &lanes {
            println!(
                "{}: {} partitions, {} lanes made from {}",
                log["topic"].as_str().unwrap_or_default(),
                resharder.partitions,
                log["made"],
                log["before"]
            );
        }
    }
    Ok(0)
}

impl Resharder {
    /// Partitions each log has now, when nothing stands against giving it more.
    fn check(&self) -> Result<Vec<usize>, Failure> {
        let (mut before, mut faults) = (Vec::new(), Vec::new());
        for (stage, log) in STAGES[1..].iter().zip(Log::ALL) {
            let (topic, group) = (self.config.log_topic(log), self.group(stage));
            let ends = self.cluster.watermarks(&topic)?;
            let (n, wanted) = (ends.len(), self.partitions);
            if !wanted.is_multiple_of(n) || wanted as u64 > SHARDS {
                faults.push(format!(
                    "{topic} has {n} partitions: {wanted} is no multiple of it, or above {SHARDS}"
                ));
            }
            let (committed, n_members) = self.cluster.group(&group, &topic)?;
            if n_members > 0 {
                faults.push(format!(
                    "group {group} has {n_members} members: stop every instance"
                ));
            }
            for (partition, (committed, (_, end))) in committed.iter().zip(&ends).enumerate() {
                if 0 < *end && *committed != Some(*end) {
                    faults.push(format!(
                        "{topic}/{partition} is not read to its end: run the service once with --exit-when-caught-up"
                    ));
                }
            }
            before.push(n);
        }
        match faults.is_empty() {
            true => Ok(before),
            false => Err(format!("not resharded:\n  {}", faults.join("\n  ")).into()),
        }
    }

    fn group(&self, stage: &str) -> String {
        format!("{}.{stage}", self.config.group)
    }

    fn log(&self, stage: usize, log: Log, n_before: usize) -> Result<Value, Failure> {
        let topic = self.config.log_topic(log);
        let group = self.group(STAGES[stage]);
        // Before the partitions are there: a lane that can't be copied leaves everything as it was.
        for partition in n_before..self.partitions {
            self.copy(&group, log, &topic, partition % n_before, partition)?;
        }
        if n_before < self.partitions {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(self.cluster.grow(&topic, self.partitions))?;
        }
        Ok(json!({ "topic": topic, "before": n_before, "made": self.partitions - n_before }))
    }

    /// Leaves to a lane that is to be what another one is now.
    fn copy(
        &self,
        group: &str,
        log: Log,
        topic: &str,
        from: usize,
        to: usize,
    ) -> Result<(), Failure> {
        let place = Place::new(group, topic, from as i32);
        let fresh = || {
            let models = &self.config.models;
            // All logs have as many partitions when this is done.
            let stage = stage::of(log, models, &self.rules, self.partitions);
            let stage = stage.map_err(RuleFaults)?;
            let lane = Lane::new(stage, topic.into(), to as i32);
            Ok::<_, Failure>(lane.following(stage::compiling(models, &self.rules.lookups)))
        };
        let Restored {
            mut lane, chain, ..
        } = restore(
            &self.store,
            &place,
            &self.fingerprint,
            Some(i64::MAX),
            now_ms(),
            fresh,
            Lane::load,
        )?;
        // What the log holds after the snapshot; nothing after a clean end.
        let mut next = chain.offset().unwrap_or(0);
        lane.mute(true);
        self.cluster.read_to_end(topic, |message| {
            if message.partition() == from as i32 && next <= message.offset() {
                match read(log, message)? {
                    Item::Record(record) => {
                        lane.feed(message.offset(), &record, &mut Outbox::default())?;
                        lane.flush(&mut Outbox::default());
                    }
                    Item::Rules(rules) => drop(lane.follow(rules, None).map_err(RuleFaults)?),
                    Item::Act(act) => {
                        let (offset, mut out) = (message.offset(), Outbox::default());
                        lane.act(offset, &act, &mut out).map_err(RuleFaults)?;
                    }
                    Item::Briefing(briefing) => lane.brief(briefing),
                }
                next = message.offset() + 1;
            }
            Ok::<_, Failure>(())
        })?;
        lane.mute(false);
        lane.forget_news();
        let made = Place::new(group, topic, to as i32);
        let claim = self.store.claim(&made, &self.fingerprint, now_ms())?;
        let chain = Chain::new(made, &self.fingerprint, &claim, Vec::new()).from_lane(&place);
        let (image, epoch) = lane.save(None).map_err(|source| StateError::Encode {
            stage: STAGES[0],
            source: source.into(),
        })?;
        let saved = write(
            &self.store,
            Save {
                chain,
                image,
                is_full: true,
                epoch,
                offset: 0,
                committed: 0,
                now_ms: now_ms(),
            },
            self.config.snapshots.keep,
        );
        saved.done?;
        Ok(())
    }
}
