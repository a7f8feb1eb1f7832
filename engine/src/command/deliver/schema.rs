//! The schema that alerts are written by as Avro: its id in the registry, before the first alert is read.
//!
//! An id stays a schema's for ever, so the registry is asked once in a process's life; what it does after that holds up nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connectors::render::avro;
use connectors::sink::backoff::Backoff;
use connectors::value::{Subject, Unregistered};

use super::DeliverArgs;
use super::delivering::{FIRST_WAIT, LONGEST_WAIT};
use crate::command::Failure;
use crate::config::Config;
use crate::telemetry::Metrics;

/// What is wrong with another target.
pub(super) const TO_TOPICS: &str =
    "--as avro goes to topic:NAME; `tollwatch render --as avro` makes a file";

/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until the registry says the schema's id; none when it is told to stop before.
///
/// # Errors
/// The registry does not have the schema, or does not take it.
pub(super) fn id(
    args: &DeliverArgs,
    config: &Config,
    topic: &str,
    (metrics, stop): (&Metrics, &AtomicBool),
) -> Result<Option<u32>, Failure> {
    let wrong = |fault| format!("cannot use [registry]: {fault}");
    let registry = config.schema_registry().map_err(wrong)?;
    let registry = registry.ok_or("registry.url is empty")?;
    // As Confluent's TopicNameStrategy has it, which consumers expect.
    let name = args.subject.clone();
    let name = name.unwrap_or_else(|| format!("{topic}-value"));
    let subject = Subject::new(&registry, &name).map_err(wrong)?;
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    while !stop.load(Ordering::Relaxed) {
        match subject.id(avro::SCHEMA, !args.no_register) {
            Ok(id) => {
                tracing::info!(subject = name, id, "alerts are written by this schema");
                return Ok(Some(id));
            }
            Err(Unregistered::Away(away)) => {
                metrics.set_ready(false);
                let wait = backoff.failed(None);
                tracing::warn!(%away, wait_ms = wait.as_millis() as u64, "alerts wait for the id of their schema");
                rest(wait, stop);
            }
            Err(refused) => return Err(ended(&refused)),
        }
    }
    Ok(None)
}

fn rest(wait: Duration, stop: &AtomicBool) {
    let until = Instant::now() + wait;
    while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
    }
}

/// What ends the process, and what to do then.
fn ended(error: &Unregistered) -> Failure {
    let todo = match error {
        Unregistered::Missing { .. } => {
            "register there what `tollwatch render --avro-schema` prints, or leave out --no-register"
        }
        Unregistered::Incompatible { .. } => {
            "give --subject another name or --to another topic, or have the subject's compatibility changed"
        }
        _ => "nothing is lost: the next start goes on from here",
    };
    format!("{error}; {todo}").into()
}
