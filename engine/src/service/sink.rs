//! Where alerts go: a topic, standard output or a file.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use connectors::kafka::{Outgoing, Writer};

use super::ServiceError;
use crate::alert::Alert;
use crate::config::Config;

/// Where alerts go.
pub enum Sink {
    /// The results topic, keyed by identity.
    Topic,
    /// One line an alert, flushed at once.
    Stream(String, Mutex<Box<dyn Write + Send>>),
}

impl Sink {
    /// The sink of a configuration: `-` is standard output, a path with a slash a file.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn open(config: &Config) -> Result<Sink, ServiceError> {
        let target = config.topics.alerts.clone();
        if config.alerts_to_topic() {
            return Ok(Sink::Topic);
        }
        let stream: Box<dyn Write + Send> = if target == "-" {
            Box::new(io::stdout())
        } else {
            let file = File::options().append(true).create(true).open(&target);
            Box::new(file.map_err(|source| ServiceError::Sink {
                target: target.clone(),
                source,
            })?)
        };
        Ok(Sink::Stream(target, Mutex::new(stream)))
    }

    /// Writes one alert.
    ///
    /// # Errors
    /// The topic, or the file, refuses.
    pub fn write(&self, writer: &Writer, topic: &str, alert: &Alert) -> Result<(), ServiceError> {
        match self {
            Sink::Topic => {
                let (key, value) = (Some(alert.key.as_bytes()), alert.json.as_bytes());
                writer.send(
                    Outgoing {
                        topic,
                        partition: None,
                        key,
                        value,
                    },
                    std::iter::empty(),
                )?;
                Ok(())
            }
            Sink::Stream(target, stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                let line = format!("{}\n", alert.json);
                let written = stream
                    .write_all(line.as_bytes())
                    .and_then(|()| stream.flush());
                written.map_err(|source| ServiceError::Sink {
                    target: target.clone(),
                    source,
                })
            }
        }
    }
}
