//! A schema registry: schemas by their ids, with all that they refer to.
//!
//! Confluent's API, which Karapace, Apicurio (under its `/apis/ccompat/v7`) and Redpanda have too:
//!
//! | asked | answered |
//! |---|---|
//! | `GET /schemas/ids/{id}`, `GET /schemas/guids/{guid}` | `{"schema", "schemaType", "references": [{"name", "subject", "version"}]}` |
//! | `GET /subjects/{subject}/versions/{version}` | the same of what a schema refers to |
//!
//! | answer | means |
//! |---|---|
//! | 200 | the schema; one that refers to what is not there, or is too long, can't be used |
//! | 404 with an `error_code` of 40400 to 40499 | there is none |
//! | anything else, none in 5 s, no connection | not now. Also a 404 without that code: a wrong address must not make a reject of every record |
//!
//! What is asked of it about a schema that is written by is in [`subject`].
//!
//! **Invariant**: neither user nor password is in an error, in `Debug` or in a log.

mod subject;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Certificate, Client, Method, StatusCode, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;
use url::Url;

use super::SchemaId;
use crate::sink::http::{causes, is_local};
use crate::sink::{Secret, tls};

pub use subject::{Subject, Unregistered};

/// What it takes and gives.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Longest wait for an answer. Who waits holds all partitions of its thread.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Bytes of a schema with all it refers to, and of an answer.
const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// Schemas that one refers to, directly or not, and how far.
const REFERENCES_MAX: usize = 100;
const REFERENCE_DEPTH_MAX: usize = 16;

/// Where a registry is.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Its address, `http` or `https`, with the path that its API lies under.
    pub url: String,
    /// User and password of HTTP's basic authentication.
    pub login: Option<(String, Secret)>,
    /// Certificates (PEM) of authorities to trust; the system's when none.
    pub ca: Option<PathBuf>,
}

/// The registry gives no answer, or none of a registry: to be asked again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema registry {registry} gives no answer: {reason}")]
pub struct Away {
    registry: String,
    reason: String,
}

/// A schema's text, and the name it is referred to by; the schema itself has none.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Avro,
    Protobuf,
    Json,
}

/// What a registry says of an id.
pub(super) enum Found {
    /// The schema, after all those it refers to.
    Schema(Kind, Vec<Text>),
    /// Why it can't be used.
    Refused(String),
}

/// What an answer says, `null` as if it were not there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    schema: String,
    schema_type: Option<String>,
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i32,
}

#[derive(Deserialize)]
struct Fault {
    error_code: Option<u32>,
    message: Option<String>,
}

pub(super) struct Registry {
    url: Url,
    login: Option<(String, Secret)>,
    client: Client,
    runtime: Runtime,
}

impl Registry {
    pub(super) fn new(config: &RegistryConfig) -> Result<Registry, String> {
        let url = Url::parse(&config.url)
            .map_err(|error| format!("the schema registry's url is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the schema registry's url is neither http:// nor https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "the schema registry's url has no user and password; give them beside it"
                    .to_owned(),
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the schema registry's url ends with its path".to_owned());
        }
        if config.login.is_some() && url.scheme() == "http" && !is_local(&url) {
            return Err(
                "a password is not sent to a schema registry without TLS; use https://".to_owned(),
            );
        }
        let mut builder = Client::builder()
            .user_agent(concat!("tollwatch/", env!("CARGO_PKG_VERSION")))
            .timeout(ANSWER_MAX)
            // A redirect would take the password elsewhere.
            .redirect(redirect::Policy::none());
        if let Some(path) = &config.ca {
            builder = builder.tls_built_in_root_certs(false);
            for certificate in tls::certificates(path)? {
                let certificate = Certificate::from_der(&certificate)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Ok(Registry {
            url,
            login: config.login.clone(),
            client: client.map_err(|error| error.without_url().to_string())?,
            runtime: runtime.map_err(|error| error.to_string())?,
        })
    }

    /// Asks for a schema and all it refers to.
    ///
    /// # Errors
    /// There is no answer to one of the questions.
    pub(super) fn schema(&self, id: SchemaId) -> Result<Found, Away> {
        let (by, id) = match id {
            SchemaId::Number(_) => ("ids", id.to_string()),
            SchemaId::Guid(_) => ("guids", id.to_string()),
        };
        let answer = match self.get(&["schemas", by, &id])? {
            Got::Answer(answer) => answer,
            Got::Nothing => return Ok(Found::Refused("is not in the registry".to_owned())),
            Got::Unusable(why) => return Ok(Found::Refused(why)),
        };
        let kind = match answer.schema_type.as_deref() {
            None | Some("AVRO") => Kind::Avro,
            Some("PROTOBUF") => Kind::Protobuf,
            Some("JSON") => Kind::Json,
            Some(other) => return Ok(Found::Refused(format!("is of the type {other:?}"))),
        };
        let mut gathered = Gathered::default();
        // What JSON may be says nothing of what it is.
        let referred = match kind {
            Kind::Json => None,
            _ => self.refer(answer.references, 0, &mut gathered)?,
        };
        if let Some(why) = referred {
            return Ok(Found::Refused(why));
        }
        gathered.add(String::new(), answer.schema);
        if SCHEMA_BYTES_MAX < gathered.n_bytes {
            return Ok(Found::Refused(format!(
                "has more than {SCHEMA_BYTES_MAX} bytes with what it refers to"
            )));
        }
        Ok(Found::Schema(kind, gathered.texts))
    }

    /// Gathers what a schema refers to, the farthest first; says why that can't be.
    fn refer(
        &self,
        references: Option<Vec<Reference>>,
        depth: usize,
        gathered: &mut Gathered,
    ) -> Result<Option<String>, Away> {
        for reference in references.unwrap_or_default() {
            if !gathered.names.insert(reference.name.clone()) {
                continue;
            }
            if REFERENCES_MAX < gathered.names.len()
                || REFERENCE_DEPTH_MAX <= depth
                || SCHEMA_BYTES_MAX < gathered.n_bytes
            {
                return Ok(Some("refers to too much".to_owned()));
            }
            let (subject, version) = (&reference.subject, reference.version.to_string());
            match self.get(&["subjects", subject, "versions", &version])? {
                Got::Answer(answer) => {
                    let referred = self.refer(answer.references, depth + 1, gathered)?;
                    if referred.is_some() {
                        return Ok(referred);
                    }
                    gathered.add(reference.name, answer.schema);
                }
                Got::Nothing => {
                    let why =
                        format!("refers to {subject:?} version {version}, which is not there");
                    return Ok(Some(why));
                }
                Got::Unusable(why) => return Ok(Some(why)),
            }
        }
        Ok(None)
    }

    fn get(&self, path: &[&str]) -> Result<Got, Away> {
        let (status, body) = self.ask(Method::GET, path, None)?;
        match status {
            StatusCode::OK if SCHEMA_BYTES_MAX < body.len() => Ok(Got::Unusable(format!(
                "has more than {SCHEMA_BYTES_MAX} bytes"
            ))),
            StatusCode::OK => serde_json::from_slice(&body)
                .map(Got::Answer)
                .map_err(|_| self.away("its answer is no schema; look at the url".to_owned())),
            StatusCode::NOT_FOUND if says_there_is_none(&body) => Ok(Got::Nothing),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.away(format!("HTTP {status}; look at the user and the password")))
            }
            StatusCode::NOT_FOUND => Err(self.away(format!(
                "HTTP {status} that no registry says; look at the url"
            ))),
            status => Err(self.away(format!("HTTP {status}"))),
        }
    }

    /// Asks; the answer's status and the beginning of its body, at most one piece more than [`SCHEMA_BYTES_MAX`].
    fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>), Away> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each is escaped: a subject may have a slash.
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.client.request(method, url).header(ACCEPT, MEDIA_TYPE);
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password.text()));
        }
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, MEDIA_TYPE)
                .body(body.to_string());
        }
        let answer = self.runtime.block_on(async {
            let mut response = request.send().await?;
            let (status, mut body) = (response.status(), Vec::new());
            while let Some(chunk) = response.chunk().await? {
                body.extend_from_slice(&chunk);
                if SCHEMA_BYTES_MAX < body.len() {
                    break;
                }
            }
            Ok::<_, reqwest::Error>((status, body))
        });
        answer.map_err(|error| self.away(causes(&error.without_url())))
    }

    fn away(&self, reason: String) -> Away {
        Away {
            registry: self.url.origin().ascii_serialization(),
            reason,
        }
    }
}

/// Whether an answer's body is a registry's, that it does not have what was asked for.
fn says_there_is_none(body: &[u8]) -> bool {
    let fault = serde_json::from_slice::<Fault>(body).ok();
    let code = fault.and_then(|fault| fault.error_code);
    code.is_some_and(|code| (40_400..40_500).contains(&code))
}

enum Got {
    Answer(Answer),
    Nothing,
    Unusable(String),
}

#[derive(Default)]
struct Gathered {
    texts: Vec<Text>,
    names: HashSet<String>,
    n_bytes: usize,
}

impl Gathered {
    fn add(&mut self, name: String, text: String) {
        self.n_bytes += text.len();
        self.texts.push(Text { name, text });
    }
}
