//! The id of a schema that values are written by: looked up under its subject, and registered there if it is missing.
//!
//! | asked | answered |
//! |---|---|
//! | `POST /subjects/{subject}` with `{"schema"}` | `{"id"}` of the schema if the subject has it |
//! | `POST /subjects/{subject}/versions` with the same | `{"id"}`, of a version that is new or was there |
//!
//! | answer | means |
//! |---|---|
//! | 200 | the id, which stays the schema's for ever |
//! | 404 with an `error_code` of 40400 to 40499 | the subject or the schema is not there |
//! | 409 | the schema does not fit the subject's compatibility; who owns the subject decides |
//! | 400, 401, 403, 405, 422 and another 404 | nothing that waiting mends: a login without the right, a registry that is read only, a wrong address |
//! | anything else, none in 5 s, no connection | not now |

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{Away, Fault, Registry, RegistryConfig, says_there_is_none};
use crate::render::clean;

/// Bytes of what a registry says that are repeated.
const SAID_BYTES_MAX: usize = 512;

/// Why a schema has no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unregistered {
    /// The registry gives no answer: to be asked again later.
    #[error(transparent)]
    Away(#[from] Away),
    /// It is not there, and was not to be registered.
    #[error("the subject {subject:?} of the schema registry {registry} does not have the schema")]
    Missing {
        /// The registry's address.
        registry: String,
        /// The subject.
        subject: String,
    },
    /// The subject has schemas that it does not go with.
    #[error(
        "the schema does not fit what the subject {subject:?} of the schema registry {registry} has: {said}"
    )]
    Incompatible {
        /// The registry's address.
        registry: String,
        /// The subject.
        subject: String,
        /// What the registry says.
        said: String,
    },
    /// The registry takes no such question.
    #[error("the schema registry {registry} refuses the schema of the subject {subject:?}: {said}")]
    Refused {
        /// The registry's address.
        registry: String,
        /// The subject.
        subject: String,
        /// What the registry says.
        said: String,
    },
}

#[derive(Deserialize)]
struct Id {
    id: u32,
}

/// A subject of a registry, under which a schema is.
pub struct Subject {
    registry: Registry,
    name: String,
}

impl Subject {
    /// Names the subject; nothing is asked yet.
    ///
    /// # Errors
    /// What must be changed of the registry's address, password or certificates.
    pub fn new(config: &RegistryConfig, name: &str) -> Result<Subject, String> {
        Ok(Subject {
            registry: Registry::new(config)?,
            name: name.to_owned(),
        })
    }

    /// The id of an Avro schema; what is missing is registered if it may be.
    ///
    /// # Errors
    /// There is none, or none now.
    pub fn id(&self, schema: &str, may_register: bool) -> Result<u32, Unregistered> {
        // Looked up first, for which a login needs only the right to read.
        if let Some(id) = self.ask(&["subjects", &self.name], schema)? {
            return Ok(id);
        }
        let missing = || Unregistered::Missing {
            registry: self.registry(),
            subject: self.name.clone(),
        };
        if !may_register {
            return Err(missing());
        }
        let id = self.ask(&["subjects", &self.name, "versions"], schema)?;
        id.ok_or_else(missing)
    }

    fn ask(&self, path: &[&str], schema: &str) -> Result<Option<u32>, Unregistered> {
        let question = json!({ "schema": schema });
        let (status, body) = self.registry.ask(Method::POST, path, Some(&question))?;
        match status {
            StatusCode::OK => {
                let answer = serde_json::from_slice::<Id>(&body);
                let no_id = |_| self.registry.away("its answer is no id".to_owned());
                Ok(Some(answer.map_err(no_id)?.id))
            }
            StatusCode::NOT_FOUND if says_there_is_none(&body) => Ok(None),
            StatusCode::CONFLICT => Err(Unregistered::Incompatible {
                registry: self.registry(),
                subject: self.name.clone(),
                said: said(status, &body, ""),
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.refused(said(
                status,
                &body,
                "; look at the user, the password and what they may do",
            ))),
            StatusCode::NOT_FOUND => Err(self.refused(said(
                status,
                &body,
                ", that no registry says; look at the url",
            ))),
            StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::UNPROCESSABLE_ENTITY => Err(self.refused(said(status, &body, ""))),
            status => Err(self.registry.away(format!("HTTP {status}")).into()),
        }
    }

    fn refused(&self, said: String) -> Unregistered {
        Unregistered::Refused {
            registry: self.registry(),
            subject: self.name.clone(),
            said,
        }
    }

    fn registry(&self) -> String {
        self.registry.url.origin().ascii_serialization()
    }
}

/// The status, the registry's own words on one line, and what to look at.
fn said(status: StatusCode, body: &[u8], hint: &str) -> String {
    let fault = serde_json::from_slice::<Fault>(body).ok();
    let message = fault.and_then(|fault| fault.message).unwrap_or_default();
    match clean(&message, SAID_BYTES_MAX) {
        message if message.is_empty() => format!("HTTP {status}{hint}"),
        message => format!("HTTP {status}: {message}{hint}"),
    }
}
