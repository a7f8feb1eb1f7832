//! HTTP POST: Splunk's HTTP Event Collector, Slack and its likes, and any other that takes a body and answers 2xx.
//!
//! Splunk's format goes many events a request, as it takes them one after the other; every other one goes alone.
//!
//! | answer | means |
//! |---|---|
//! | 2xx | taken |
//! | 408, 425, 429, 5xx, none in 30 s, no connection | not now; `Retry-After` in seconds is kept to |
//! | 400, 409, 410, 411, 413, 415, 422, 431 | this body is refused |
//! | 3xx and every other | somebody must change the address, the token or the receiver |

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, StatusCode, redirect};
use tokio::runtime::Runtime;
use url::{Host, Url};

use super::{Item, Secret, SinkConfig, SinkError};
use crate::render::{Format, clean};

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Events of one request to Splunk, and bytes after which no further one is put into it: its default limit is 800 MB, proxies' are 1 MB.
const EVENTS_MAX: usize = 100;
const BODY_BYTES: usize = 512 << 10;
/// Bytes of an answer that are told with a refusal.
const SAID_BYTES_MAX: usize = 200;

pub(super) struct HttpSink {
    sink: String,
    url: Url,
    client: Client,
    runtime: Runtime,
    format: Format,
    token: Option<Secret>,
}

impl HttpSink {
    pub(super) fn open(
        sink: String,
        url: &Url,
        config: &SinkConfig,
    ) -> Result<HttpSink, SinkError> {
        let wrong = |reason: String| SinkError::Misconfigured {
            sink: sink.clone(),
            reason,
        };
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::from_static(config.format.media_type());
        headers.insert(CONTENT_TYPE, media_type);
        if let Some(token) = &config.token {
            if url.scheme() == "http" && !is_local(url) {
                return Err(wrong(
                    "a token is not sent without TLS; use https://".to_owned(),
                ));
            }
            let scheme = match config.format {
                Format::Hec => "Splunk",
                _ => "Bearer",
            };
            let value = HeaderValue::from_str(&format!("{scheme} {}", token.text()));
            let mut value =
                value.map_err(|_| wrong("the token has characters no header takes".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = Client::builder()
            .user_agent(concat!("tollwatch/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .timeout(ANSWER_MAX)
            // A redirect would take token and alerts elsewhere.
            .redirect(redirect::Policy::none());
        if let Some(path) = &config.ca {
            builder = builder.tls_built_in_root_certs(false);
            for certificate in super::tls::certificates(path).map_err(wrong)? {
                let certificate = Certificate::from_der(&certificate)
                    .map_err(|error| wrong(format!("{}: {error}", path.display())))?;
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build();
        let client = client.map_err(|error| wrong(error.without_url().to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(HttpSink {
            client,
            runtime,
            url: url.clone(),
            format: config.format,
            token: config.token.clone(),
            sink,
        })
    }

    pub(super) fn items_max(&self) -> usize {
        match self.format {
            Format::Hec => EVENTS_MAX,
            _ => 1,
        }
    }

    pub(super) fn send(&mut self, items: &[Item]) -> Result<(), SinkError> {
        let mut body = String::new();
        for item in items {
            // More items than one only of Splunk's format.
            if !body.is_empty() && BODY_BYTES < body.len() + item.text.len() {
                self.post(std::mem::take(&mut body))?;
            }
            if !body.is_empty() {
                body.push('\n');
            }
            body.push_str(&item.text);
        }
        self.post(body)
    }

    fn post(&self, body: String) -> Result<(), SinkError> {
        let request = self.client.post(self.url.clone()).body(body);
        let answer = self.runtime.block_on(async {
            let mut response = request.send().await?;
            let (status, after) = (response.status(), retry_after(response.headers()));
            let mut said = Vec::new();
            // The body of a success is read for the connection's next use, up to where that is cheap.
            while let Some(chunk) = response.chunk().await? {
                said.extend_from_slice(&chunk);
                if BODY_BYTES < said.len() {
                    break;
                }
            }
            Ok::<_, reqwest::Error>((status, after, said))
        });
        let sink = self.sink.clone();
        let (status, after, said) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                return Err(SinkError::Unavailable {
                    sink,
                    reason: causes(&error.without_url()),
                    after: None,
                });
            }
        };
        let reason = self.told(status, &said);
        match status.as_u16() {
            200..=299 => Ok(()),
            408 | 425 | 429 | 500..=599 => Err(SinkError::Unavailable {
                sink,
                reason,
                after,
            }),
            400 | 409 | 410 | 411 | 413 | 415 | 422 | 431 => {
                Err(SinkError::Refused { sink, reason })
            }
            401 | 403 | 407 => Err(SinkError::Misconfigured {
                sink,
                reason: format!("{reason}; look at the token"),
            }),
            _ => Err(SinkError::Misconfigured {
                sink,
                reason: format!("{reason}; look at the address"),
            }),
        }
    }

    /// The status, and the beginning of what was said with it, on one line and without our secrets.
    fn told(&self, status: StatusCode, said: &[u8]) -> String {
        // Looked for in all of it: a cut could leave the half of one.
        let said = String::from_utf8_lossy(said);
        let path = self.url.path();
        let has_secret = self
            .token
            .iter()
            .map(Secret::text)
            .chain((1 < path.len()).then_some(path))
            .chain(self.url.query())
            .any(|secret| said.contains(secret));
        match clean(&said, SAID_BYTES_MAX) {
            said if said.is_empty() || has_secret => format!("HTTP {status}"),
            said => format!("HTTP {status}: {said}"),
        }
    }
}

/// Seconds a receiver asks for; a date is not read, as then its clock would count.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}

pub(crate) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// An error with what caused it, on one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: String = causes.map(|cause| format!(": {cause}")).collect();
    format!("{error}{causes}")
}
