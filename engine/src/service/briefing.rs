//! What lanes are to be told beside rules, and the files it is read from again: OpenAPI documents and the register of agents.
//!
//! As with rules ([`super::ruling`]) a thread looks at the files, reads what has stood still from one look to the next, and what
//! has a fault leaves what was before in force. Whoever has a lane writes what is wanted into the lane's own log.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::Xxh3Default;

use super::{ServiceError, Shared, looking};
use crate::briefing::{Briefing, BriefingError};
use crate::config::{Config, ModelConfig};
use crate::log::VALUE_BYTES_MAX;
use crate::telemetry::OutcomeLabel;
use crate::templates;

/// The wanted briefing, for all threads.
pub(super) struct Briefings(Mutex<Arc<Briefing>>);

impl Briefings {
    pub(super) fn new(wanted: Briefing) -> Briefings {
        Briefings(Mutex::new(Arc::new(wanted)))
    }

    pub(super) fn wanted(&self) -> Arc<Briefing> {
        let wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.clone()
    }

    fn want(&self, wanted: Briefing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(wanted);
    }
}

/// The briefing of what was read at the start.
///
/// # Errors
/// It is more than a log's record takes.
pub(crate) fn of(models: &ModelConfig) -> Result<Briefing, BriefingError> {
    Briefing::new(&models.register, &models.documents, VALUE_BYTES_MAX)
}

/// Looks at the files until the service ends; nothing when there are none, or they are not to be read again.
///
/// # Errors
/// The thread can't be started.
pub(super) fn start(shared: &Arc<Shared>) -> Result<(), ServiceError> {
    let config = &shared.config;
    match config.openapi.is_empty() && config.agents.is_none() {
        true => Ok(()),
        false => looking::start(shared, "documents", look, reload),
    }
}

/// A hash of the names, lengths and times of the files; one of its own for what can't be read.
fn look(config: &Config) -> u64 {
    let mut hash = Xxh3Default::new();
    let mut add = |path: &Path| looking::add(&mut hash, path);
    match templates::files_of(&config.openapi) {
        Ok(files) => files.iter().for_each(|path| add(path)),
        Err(_) => config.openapi.iter().for_each(|path| add(path)),
    }
    if let Some(path) = &config.agents {
        add(path);
    }
    hash.digest()
}

fn reload(shared: &Shared) {
    let outcome = match read(&shared.config) {
        Ok(briefing) if briefing.hash == shared.briefings.wanted().hash => return,
        Ok(briefing) => {
            let (documents, register) = (&briefing.documents, &briefing.register);
            tracing::info!(
                hash = format!("{:016x}", briefing.hash),
                n_operations = documents.operations().len(),
                n_agents = register.agents.len(),
                n_servers = register.servers.len(),
                "new documents or a new register of agents: lanes go by them behind what their logs hold now"
            );
            shared.briefings.want(briefing);
            "taken"
        }
        Err(reason) => {
            tracing::error!(
                reason,
                "new documents or a new register of agents are refused, those before stay in force"
            );
            "refused"
        }
    };
    let label = OutcomeLabel { outcome };
    let reloads = &shared.metrics.document_reloads;
    reloads.get_or_create(&label).inc();
}

/// What the files say now; the reason names the file and the place in it.
fn read(config: &Config) -> Result<Briefing, String> {
    let register = templates::register(config.agents.as_deref()).map_err(|e| e.to_string())?;
    let documents = templates::documents(&config.openapi).map_err(|e| e.to_string())?;
    Briefing::new(&register, &documents, VALUE_BYTES_MAX).map_err(|e| e.to_string())
}
