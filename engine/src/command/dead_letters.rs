//! `dead-letters`: lists what could not be decoded, and puts it back when its cause is mended.
//!
//! A record that is put back is written to its source topic and partition again, at the end: it is decoded there like
//! any other. The dead-letter topic then gets a note, so that a second `replay` leaves it alone. A crash between the
//! two puts a record back twice; nothing else does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use connectors::dead_letter::{Entry, Source, replayed};
use connectors::kafka::{Outgoing, Writer};
use rdkafka::message::{Headers, Message};
use serde::Deserialize;
use serde_json::json;

use super::run::RunArgs;
use super::{Failure, plain_table};
use crate::config::Config;
use crate::service::cluster;

/// Letters listed without `--limit`.
const LISTED: usize = 100;
/// Records put back before their acknowledgement is waited for and noted.
const REPLAYED_PER_NOTE: usize = 1000;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// Lists what was rejected, why and where
    List(ListArgs),
    /// Puts rejected records back into their topics, as they were or corrected
    Replay(ReplayArgs),
}

/// Options of `dead-letters list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch dead-letters list --brokers broker:9092 --source-topic gateway-logs
  tollwatch dead-letters list -c tollwatch.toml --reason wrong_type --json > rejected.ndjson")]
pub struct ListArgs {
    /// The same options the service runs with.
    #[command(flatten)]
    pub run: RunArgs,
    /// Only this reason
    #[arg(long)]
    pub reason: Option<String>,
    /// Letters shown; all are counted
    #[arg(long, default_value_t = LISTED)]
    pub limit: usize,
    /// Prints one JSON object a letter, with the record in `value`, as `replay --from` takes them
    #[arg(long)]
    pub json: bool,
}

/// Options of `dead-letters replay`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollwatch dead-letters replay -c tollwatch.toml --reason unknown_format --dry-run
  tollwatch dead-letters replay -c tollwatch.toml --from corrected.ndjson

Records of a batch (an array) are put back only with --from: their good elements were decoded.")]
pub struct ReplayArgs {
    /// The same options the service runs with.
    #[command(flatten)]
    pub run: RunArgs,
    /// Only this reason
    #[arg(long)]
    pub reason: Option<String>,
    /// Corrected records: the lines of `list --json` with another `value`
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// Says what would be put back and writes nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// The brokers don't answer, or a file can't be read.
pub fn run(command: &DeadLettersCommand) -> Result<u8, Failure> {
    match command {
        DeadLettersCommand::List(args) => list(args),
        DeadLettersCommand::Replay(args) => replay(args),
    }
}

/// What a message of the dead-letter topic says; none when it is somebody else's.
pub(super) fn entry<M: Message>(message: &M) -> Option<Entry> {
    let headers = message.headers()?;
    Entry::read(|name| headers.iter().find(|header| header.key == name)?.value)
}

/// Records that were put back before.
fn notes(config: &Config) -> Result<BTreeSet<Source>, Failure> {
    let mut notes = BTreeSet::new();
    cluster(config).read_to_end(&config.dead_letter_topic(), |message| {
        if let Some(Entry::Replayed(source)) = entry(message) {
            notes.insert(source);
        }
        Ok::<_, Failure>(())
    })?;
    Ok(notes)
}

fn list(args: &ListArgs) -> Result<u8, Failure> {
    let config = args.run.config()?;
    let notes = notes(&config)?;
    let mut counts = BTreeMap::<String, usize>::new();
    let (mut table, mut n_shown) = (plain_table(), 0);
    table.set_header([
        "topic",
        "partition",
        "offset",
        "row",
        "reason",
        "what is wrong",
        "put back",
    ]);
    cluster(&config).read_to_end(&config.dead_letter_topic(), |message| {
        let Some(Entry::Rejected { source, row, reason, detail, is_whole }) = entry(message) else {
            return Ok(());
        };
        if args.reason.as_ref().is_some_and(|asked| *asked != reason) {
            return Ok(());
        }
        *counts.entry(reason.clone()).or_default() += 1;
        let was_replayed = notes.contains(&source);
        if args.json {
            let value = String::from_utf8_lossy(message.payload().unwrap_or_default());
            let Source { topic, partition, offset } = &source;
            println!(
                "{}",
                json!({
                    "topic": topic, "partition": partition, "offset": offset, "row": row, "reason": reason,
                    "detail": detail, "whole": is_whole, "replayed": was_replayed, "value": value,
                })
            );
        } else if n_shown < args.limit {
            n_shown += 1;
            table.add_row([
                source.topic.clone(),
                source.partition.to_string(),
                source.offset.to_string(),
                row.to_string(),
                reason,
                detail,
                if was_replayed { "yes" } else { "" }.to_owned(),
            ]);
        }
        Ok::<_, Failure>(())
    })?;
    if !args.json {
        println!("{table}");
        let n_all: usize = counts.values().sum();
        let counts: Vec<String> = counts
            .iter()
            .map(|(reason, n)| format!("{n} {reason}"))
            .collect();
        println!(
            "{n_all} dead letters: {}",
            if counts.is_empty() {
                "none".to_owned()
            } else {
                counts.join(", ")
            }
        );
        if n_shown < n_all {
            println!("{n_shown} are shown; --limit shows more");
        }
    }
    Ok(0)
}

/// One corrected record.
#[derive(Debug, Deserialize)]
struct Corrected {
    topic: String,
    partition: i32,
    offset: i64,
    value: String,
}

/// What a replay did.
#[derive(Debug, Default)]
struct Replayed {
    n_records: usize,
    n_before: usize,
    n_incomplete: usize,
    n_batches: usize,
}

/// Puts records back and notes it.
struct Replay<'a> {
    config: &'a Config,
    writer: Option<Writer>,
    /// Put back before, or in this run.
    done: BTreeSet<Source>,
    /// Written, and not yet noted.
    open: Vec<Source>,
    counts: Replayed,
}

impl Replay<'_> {
    fn put_back(&mut self, source: Source, value: &[u8]) -> Result<(), Failure> {
        // Whoever can write dead letters, or the file, must not write elsewhere through us.
        let mut known = self.config.sources.iter();
        if !known.any(|known| known.topic == source.topic) {
            let topic = &source.topic;
            return Err(
                format!("{topic} is no source topic here; give it with --source-topic").into(),
            );
        }
        if !self.done.insert(source.clone()) {
            self.counts.n_before += 1;
            return Ok(());
        }
        self.counts.n_records += 1;
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let (name, from) = replayed(&source);
        let outgoing = Outgoing {
            topic: &source.topic,
            partition: Some(source.partition),
            key: None,
            value,
        };
        writer.send(outgoing, std::iter::once((name, from.as_bytes())))?;
        self.open.push(source);
        if self.open.len() == REPLAYED_PER_NOTE {
            self.note()?;
        }
        Ok(())
    }

    /// Notes what is acknowledged.
    fn note(&mut self) -> Result<(), Failure> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        writer.flush()?;
        let topic = self.config.dead_letter_topic();
        for source in self.open.drain(..) {
            let (name, from) = replayed(&source);
            let note = Outgoing {
                topic: &topic,
                partition: Some(0),
                key: None,
                value: &[],
            };
            writer.send(note, std::iter::once((name, from.as_bytes())))?;
        }
        Ok(writer.flush()?)
    }
}

fn replay(args: &ReplayArgs) -> Result<u8, Failure> {
    let config = args.run.config()?;
    let cluster = cluster(&config);
    let mut replay = Replay {
        done: notes(&config)?,
        writer: if args.dry_run {
            None
        } else {
            Some(cluster.writer()?)
        },
        config: &config,
        open: Vec::new(),
        counts: Replayed::default(),
    };
    match &args.from {
        Some(path) => corrected(path, &mut replay)?,
        None => cluster.read_to_end(&config.dead_letter_topic(), |message| {
            let Some(Entry::Rejected {
                source,
                reason,
                is_whole,
                ..
            }) = entry(message)
            else {
                return Ok(());
            };
            if args.reason.as_ref().is_some_and(|asked| *asked != reason) {
                return Ok(());
            }
            let value = message.payload().unwrap_or_default();
            if !is_whole {
                replay.counts.n_incomplete += 1;
            } else if value.trim_ascii_start().starts_with(b"[") {
                replay.counts.n_batches += 1;
            } else {
                replay.put_back(source, value)?;
            }
            Ok::<_, Failure>(())
        })?,
    }
    replay.note()?;
    let Replayed {
        n_records,
        n_before,
        n_incomplete,
        n_batches,
    } = replay.counts;
    if args.json {
        println!(
            "{}",
            json!({
                "dry_run": args.dry_run, "replayed": n_records, "replayed_before": n_before,
                "incomplete": n_incomplete, "batches": n_batches,
            })
        );
    } else {
        let what = if args.dry_run {
            "would be put back"
        } else {
            "put back"
        };
        println!("{n_records} records {what}; {n_before} were before");
        if 0 < n_incomplete + n_batches {
            println!(
                "left: {n_incomplete} letters without the whole record, {n_batches} of batches; give them corrected, with --from"
            );
        }
    }
    Ok(0)
}

fn corrected(path: &Path, replay: &mut Replay<'_>) -> Result<(), Failure> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        let record: Corrected = serde_json::from_str(&line)
            .map_err(|error| format!("{}, line {number}: {error}", path.display()))?;
        let source = Source {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
        };
        replay.put_back(source, record.value.as_bytes())?;
    }
    Ok(())
}
