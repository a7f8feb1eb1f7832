//! Sinks: where alerts go besides a topic, and what each of them says of having taken one.
//!
//! In come renderings ([`Item`]s), in order; out goes their acknowledgement, as good as the sink has one, or a [`SinkError`] that says
//! whether to try again. Nothing here waits or tries again by itself: [`backoff::Backoff`] says how long to wait, the caller keeps its
//! place in the alerts topic until all are taken.
//!
//! | target | an item is taken when |
//! |---|---|
//! | `stdout` | it is written to the pipe |
//! | `file:PATH` | the file system has it on the disk (`fdatasync`) |
//! | `tcp://HOST:PORT`, `tls://HOST:PORT` | it is written and the connection is still open half a second later: syslog has no answer |
//! | `http://…`, `https://…` | the answer is 2xx |
//!
//! **Invariant**: no secret of a sink (token, path or query of an address, key) is in an error, in `Debug` or in a log.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use crate::render::{Alert, Format};

pub mod backoff;

mod file;
pub(crate) mod http;
mod syslog;
pub(crate) mod tls;

#[cfg(test)]
mod tests;

pub use file::FileSink;

/// Items handed over at once where the sink has no limit of its own: what may be there twice after a failure.
const ITEMS_MAX: usize = 500;

/// Where alerts go.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output, a line each.
    Stdout,
    /// A file that grows, a line each.
    File(PathBuf),
    /// Syslog over TCP, or over TLS.
    Syslog {
        /// Name or address; IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Over TLS.
        tls: bool,
    },
    /// HTTP POST; the address may be a secret.
    Http(Url),
    /// A Kafka topic, which is not written here.
    Topic(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        const FORMS: &str = "a target is stdout, file:PATH, tcp://HOST:PORT, tls://HOST:PORT, http://…, https://… or topic:NAME";
        // The text is not repeated: it may be a secret.
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match (scheme, rest) {
            ("stdout", "") => Ok(Target::Stdout),
            ("file", path) if !path.is_empty() => Ok(Target::File(PathBuf::from(path))),
            ("topic", name) if !name.is_empty() => Ok(Target::Topic(name.to_owned())),
            ("tcp" | "tls" | "http" | "https", _) => address(text),
            _ => Err(FORMS.to_owned()),
        }
    }
}

fn address(text: &str) -> Result<Target, String> {
    let url = Url::parse(text).map_err(|error| format!("the target is no address: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a target has no user and password; give a token by --token-file".to_owned());
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err("the target names no host".to_owned());
    };
    let tls = match url.scheme() {
        "tcp" => false,
        "tls" => true,
        _ => return Ok(Target::Http(url)),
    };
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = url
        .port()
        .ok_or("the target names no port; syslog over TLS is usually 6514, over TCP 601 or 514")?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err("a syslog target is a host and a port and nothing more".to_owned());
    }
    Ok(Target::Syslog { host, port, tls })
}

impl fmt::Display for Target {
    /// Names the target without what may be secret of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Stdout => f.write_str("stdout"),
            Target::File(path) => write!(f, "file:{}", path.display()),
            Target::Topic(name) => write!(f, "topic:{name}"),
            Target::Syslog { host, port, tls } => {
                let scheme = if *tls { "tls" } else { "tcp" };
                match host.contains(':') {
                    true => write!(f, "{scheme}://[{host}]:{port}"),
                    false => write!(f, "{scheme}://{host}:{port}"),
                }
            }
            Target::Http(url) => f.write_str(&url.origin().ascii_serialization()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret without space around it, as files have it at their end.
    pub fn new(text: &str) -> Secret {
        Secret(text.trim().to_owned())
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether this is what somebody shows; how long that takes says nothing of how much of it is right.
    pub fn is(&self, shown: &[u8]) -> bool {
        // The hashes are compared in constant time.
        blake3::hash(self.0.as_bytes()) == blake3::hash(shown)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What a sink is told besides its target.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// What the items are rendered as.
    pub format: Format,
    /// Sent as `Authorization`: `Splunk …` for Splunk's format, else `Bearer …`.
    pub token: Option<Secret>,
    /// Certificates (PEM) of authorities to trust; the system's when none.
    pub ca: Option<PathBuf>,
    /// Certificate chain and key (PEM) to show to a syslog server.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// An alert on its way.
#[derive(Clone, Debug)]
pub struct Item {
    /// The alert.
    pub alert: Alert,
    /// Its rendering, one line.
    pub text: String,
}

/// Why items were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Not now. None of the items is known to be taken.
    #[error("{sink} takes no alerts now: {reason}")]
    Unavailable {
        /// The target.
        sink: String,
        /// What happened.
        reason: String,
        /// How long the sink asks to be left alone.
        after: Option<Duration>,
    },
    /// Never: these items are wrong to the sink, or one of them is.
    #[error("{sink} refuses an alert: {reason}")]
    Refused {
        /// The target.
        sink: String,
        /// What it said.
        reason: String,
    },
    /// No item will be taken before somebody changes something.
    #[error("{sink} takes no alerts: {reason}")]
    Misconfigured {
        /// The target.
        sink: String,
        /// What to look at.
        reason: String,
    },
}

/// An open sink.
pub struct Sink(Kind);

enum Kind {
    Stdout(std::io::Stdout),
    File(FileSink),
    Syslog(Box<syslog::SyslogSink>),
    Http(Box<http::HttpSink>),
}

impl Sink {
    /// Opens a sink. Network sinks connect when there is something to send.
    ///
    /// # Errors
    /// A file can't be opened, or an option is wrong. A topic is no sink of this kind.
    pub fn open(target: &Target, config: &SinkConfig) -> Result<Sink, SinkError> {
        let wrong = |reason: &str| SinkError::Misconfigured {
            sink: target.to_string(),
            reason: reason.to_owned(),
        };
        let is_network = matches!(target, Target::Http(_) | Target::Syslog { tls: true, .. });
        if config.ca.is_some() && !is_network {
            return Err(wrong("certificates are for https:// and tls://"));
        }
        if config.client.is_some() && !matches!(target, Target::Syslog { tls: true, .. }) {
            return Err(wrong("a certificate of the client is for tls://"));
        }
        if config.token.is_some() && !matches!(target, Target::Http(_)) {
            return Err(wrong("a token is for https://"));
        }
        Ok(Sink(match target {
            Target::Stdout => Kind::Stdout(std::io::stdout()),
            Target::File(path) => Kind::File(FileSink::open(path)?),
            Target::Syslog { host, port, tls } => {
                let sink = target.to_string();
                let opened = syslog::SyslogSink::open(sink, host, *port, *tls, config)?;
                Kind::Syslog(Box::new(opened))
            }
            Target::Http(url) => {
                let sink = target.to_string();
                Kind::Http(Box::new(http::HttpSink::open(sink, url, config)?))
            }
            Target::Topic(_) => return Err(wrong("a topic is written in transactions")),
        }))
    }

    /// Items to hand over at once, at most.
    pub fn items_max(&self) -> usize {
        match &self.0 {
            Kind::Http(http) => http.items_max(),
            _ => ITEMS_MAX,
        }
    }

    /// Hands items over, in order.
    ///
    /// # Errors
    /// Not all were taken; some may have been.
    pub fn send(&mut self, items: &[Item]) -> Result<(), SinkError> {
        match &mut self.0 {
            Kind::Stdout(stdout) => file::write_lines(stdout, items)
                .map_err(|error| file::unavailable("stdout".to_owned(), &error)),
            Kind::File(file) => file.send(items),
            Kind::Syslog(syslog) => syslog.send(items),
            Kind::Http(http) => http.send(items),
        }
    }
}
